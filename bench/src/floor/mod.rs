//! Floors: what the machine itself takes for the parts of a hop, measured with code that owes nothing to the product.
//!
//! Nothing in this folder may use `faasstore`, `engine` or `master`. Every floor but those of memory, disk and Redis is measured
//! between two processes: this program starts itself once more with the hidden subcommand [`PARTNER_COMMAND`], which must lead
//! to [`partner_main`]. Both sides are bound to the CPUs that the caller names, so that a floor can be taken just before
//! and just after a figure of the product, in the same placement.
//!
//! Figures are nanoseconds in histograms of three significant digits; the first tenth of the samples warms up and is
//! dropped.

mod beside;
mod board;
mod disk;
mod memory;
mod partner;
mod redis;
mod slots;
mod stream;
mod tcp;
mod wake;

pub use beside::{Beside, tcp_beside};
pub use disk::{Disk, DiskError, Way};
pub use memory::{Pages, copy_private, last_cache_bytes, read_cold, read_private, sum_bytes};
pub use partner::{PARTNER_COMMAND, partner_main};
pub use redis::{BareRedis, RedisFloorError};
pub use slots::slot_transfer;
pub use stream::{Stream, tcp_stream};
pub use tcp::tcp_round_trip;
pub use wake::{eventfd_wake, futex_wake};

use crate::cpu::CpuError;
use hdrhistogram::Histogram;
use memory::{HugeMemory, private_memory};
use std::io;
use thiserror::Error;

/// Longest time that a histogram can hold; a longer one is counted as this.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// How long the other side may stay silent before it is given up.
const PATIENCE_NS: u64 = 5_000_000_000;

/// Why a floor could not be measured.
#[derive(Debug, Error, miette::Diagnostic)]
pub enum FloorError {
    /// A side could not be put on its CPU.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// Two spinning sides on one CPU would measure the scheduler.
    #[error(
        "two spinning processes need two CPUs, and both were to run on CPU {cpu}; name two, or measure a wake"
    )]
    OneCpu {
        /// The CPU named twice.
        cpu: usize,
    },
    /// The operating system refused something.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it was refused.
        #[source]
        error: io::Error,
    },
    /// The other process went silent.
    #[error("the other process of the floor said nothing for {} s; is it stopped, or its CPU taken?", PATIENCE_NS / 1_000_000_000)]
    Silent,
    /// The other process was started with arguments that it cannot read.
    #[error(
        "the other process of a floor was called wrongly: {0}; it is started by this program alone"
    )]
    Call(String),
    /// Not one sample counted: the sleeper was always awake before it was woken.
    #[error("the sleeper never slept in {samples} tries; is another process taking its CPU?")]
    NeverSlept {
        /// How many were tried.
        samples: u64,
    },
}

impl FloorError {
    fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System { what, error }
    }
}

/// An empty histogram of nanoseconds, up to a minute, with three significant digits.
///
/// # Panics
/// Never: its bounds are constants that hdrhistogram takes.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("constant bounds are valid")
}

/// Samples to take so that `samples` are left when the first tenth is dropped, and how many those are.
const fn with_warm_up(samples: u64) -> (u64, u64) {
    let warm_up = samples / 10 + 1;
    (samples + warm_up, warm_up)
}
