//! The mappings of a file that describes a cluster. They are no part of the language, and of no schema.

use super::{Holds, Key, Shape};
use crate::place::{DESCRIBED_CPUS_MAX, DESCRIBED_MEMORY_MIB_MAX};

/// Slowest and fastest of workers.
const SPEED_LEAST: f64 = 0.01;
const SPEED_MOST: f64 = 100.0;
/// Slowest and fastest of links, in bytes a second: 1 KB/s, and 1 TB/s.
const BYTES_PER_S_LEAST: u64 = 1000;
const BYTES_PER_S_MOST: u64 = 1_000_000_000_000;
/// The same in MiB a second, to within rounding.
const MIB_PER_S_LEAST: f64 = 0.001;
const MIB_PER_S_MOST: f64 = 1_000_000.0;
/// Longest latency, in microseconds: a minute.
const LATENCY_US_MOST: f64 = 60_000_000.0;

const fn key(name: &'static str, about: &'static str, holds: Holds) -> Key {
    Key { name, about, holds }
}

const BANDWIDTH_MIB: Key = key(
    "bandwidth_mib_per_s",
    "MiB that it carries a second",
    Holds::Number {
        least: MIB_PER_S_LEAST,
        most: MIB_PER_S_MOST,
    },
);
const BANDWIDTH_BYTES: Key = key(
    "bytes_per_s",
    "Bytes that it carries a second",
    Holds::Whole {
        least: BYTES_PER_S_LEAST,
        most: BYTES_PER_S_MOST,
    },
);
const LATENCY: Key = key(
    "latency_us",
    "Microseconds until what is sent arrives, one way",
    Holds::Number {
        least: 0.0,
        most: LATENCY_US_MOST,
    },
);

/// The file.
pub(in crate::definition) const CLUSTER: Shape = Shape {
    slug: "cluster",
    what: "a cluster file",
    keys: &[
        key(
            "workers",
            "What is known of workers, by their names",
            Holds::Named(&Holds::Keys(&CLUSTER_WORKER)),
        ),
        key(
            "link",
            "What lies between two workers of which nothing else is said",
            Holds::Keys(&CLUSTER_LINK),
        ),
        key(
            "links",
            "What lies between two workers",
            Holds::List(&Holds::Keys(&CLUSTER_PAIR)),
        ),
    ],
    ..Shape::PLAIN
};

/// What is known of a worker.
pub(in crate::definition) const CLUSTER_WORKER: Shape = Shape {
    slug: "cluster_worker",
    what: "a worker",
    keys: &[
        key(
            "cpus",
            "CPUs, as its `--cpus` has them",
            Holds::Whole {
                least: 1,
                most: DESCRIBED_CPUS_MAX as u64,
            },
        ),
        key(
            "memory_mib",
            "Memory, as its `--memory` has it, in MiB",
            Holds::Whole {
                least: 1,
                most: DESCRIBED_MEMORY_MIB_MAX,
            },
        ),
        key(
            "lanes",
            "Engine threads, as its `--lanes` has them",
            Holds::Whole {
                least: 1,
                most: u8::MAX as u64,
            },
        ),
        key(
            "speed",
            "How fast it runs what a worker of speed 1 runs in the time that profiles say",
            Holds::Number {
                least: SPEED_LEAST,
                most: SPEED_MOST,
            },
        ),
    ],
    ..Shape::PLAIN
};

/// What lies between workers.
pub(in crate::definition) const CLUSTER_LINK: Shape = Shape {
    slug: "cluster_link",
    what: "`link`",
    keys: &[BANDWIDTH_MIB, BANDWIDTH_BYTES, LATENCY],
    ..Shape::PLAIN
};

/// What lies between two workers.
pub(in crate::definition) const CLUSTER_PAIR: Shape = Shape {
    slug: "cluster_pair",
    what: "a link",
    keys: &[
        key(
            "between",
            "Two workers, for both ways",
            Holds::List(&Holds::Text),
        ),
        key("from", "The worker that sends, for one way", Holds::Text),
        key("to", "The worker that receives", Holds::Text),
        BANDWIDTH_MIB,
        BANDWIDTH_BYTES,
        LATENCY,
    ],
    ..Shape::PLAIN
};
