//! What an activation takes of its CPUs, as the kernel counts it.
//!
//! | what | from | costs, measured |
//! | --- | --- | --- |
//! | the time | CLOCK_MONOTONIC | 22 ns |
//! | CPU time of this process, which is one executor, with all threads that a function has started | CLOCK_PROCESS_CPUTIME_ID | 550 ns |
//! | CPU time of the processes that a function has started and waited for | getrusage(RUSAGE_CHILDREN) | 220 ns |
//! | how long this thread could have run, and waited for a CPU | the second figure of `/proc/thread-self/schedstat`, read where it is open | 830 ns |
//!
//! The first figure of that file is not used: of what runs just now it lacks all that has run since the last tick of the
//! scheduler, and so most of a short function. Threads and processes that a function has started wait for CPUs, too; that is
//! not known, and looks as if the function waited for something else. Where the kernel counts no waits they count as none.

use crate::descriptor::CpuUse;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Where the kernel says of the thread that opens it how long it has run and waited.
const SCHEDSTAT: &str = "/proc/thread-self/schedstat";
/// Three numbers of 64 bits at most, each with a blank behind it.
const SCHEDSTAT_BYTES: usize = 64;

/// Reads the counters of its process, and of the thread that it was used in first.
#[derive(Debug, Default)]
pub(super) struct Meter {
    schedstat: Schedstat,
}

#[derive(Debug, Default)]
enum Schedstat {
    #[default]
    Unopened,
    Open(File),
    /// The kernel has none, or no /proc is there.
    None,
}

/// What the counters said at one moment, all in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reading {
    at_ns: u64,
    cpu_ns: u64,
    waited_ns: u64,
}

impl Meter {
    /// What the counters say; none if this kernel does not have them.
    pub(super) fn read(&mut self) -> Option<Reading> {
        let of = |clock| Some(nanoseconds(clock_gettime(clock).ok()?.into()));
        let children = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
        let children = [children.user_time(), children.system_time()];
        let children_ns = children.map(|time| u64::try_from(time.num_nanoseconds()).unwrap_or(0));
        Some(Reading {
            cpu_ns: of(ClockId::CLOCK_PROCESS_CPUTIME_ID)? + children_ns[0] + children_ns[1],
            waited_ns: self.waited_ns(),
            at_ns: of(ClockId::CLOCK_MONOTONIC)?,
        })
    }

    fn waited_ns(&mut self) -> u64 {
        if let Schedstat::Unopened = self.schedstat {
            self.schedstat = File::open(SCHEDSTAT).map_or(Schedstat::None, Schedstat::Open);
        }
        let Schedstat::Open(file) = &self.schedstat else {
            return 0;
        };
        let mut text = [0; SCHEDSTAT_BYTES];
        let read = file.read_at(&mut text, 0).unwrap_or(0);
        waited_ns(&text[..read]).unwrap_or(0)
    }
}

/// The second of the numbers in a thread's `schedstat`.
fn waited_ns(text: &[u8]) -> Option<u64> {
    let mut numbers = text.split(u8::is_ascii_whitespace);
    std::str::from_utf8(numbers.nth(1)?).ok()?.parse().ok()
}

impl Reading {
    /// What was taken since an earlier reading.
    pub(super) fn since(&self, began: &Self) -> CpuUse {
        let waited_ns = self.waited_ns.saturating_sub(began.waited_ns);
        let took_ns = self.at_ns.saturating_sub(began.at_ns);
        CpuUse {
            cpu_ns: self.cpu_ns.saturating_sub(began.cpu_ns),
            alone_ns: took_ns.saturating_sub(waited_ns),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_number_is_the_wait() {
        assert_eq!(waited_ns(b"467842167 33702565 104\n"), Some(33_702_565));
        for wrong in [&b""[..], b"\n", b"12", b"12 ", b"12 x 3\n", b"12 -4 3\n"] {
            assert_eq!(waited_ns(wrong), None, "{wrong:?}");
        }
        let longest = format!("{0} {0} {0}\n", u64::MAX);
        assert!(longest.len() <= SCHEDSTAT_BYTES);
        assert_eq!(waited_ns(longest.as_bytes()), Some(u64::MAX));
    }

    #[test]
    fn counters_that_go_back_are_no_time() {
        let reading = |at_ns, cpu_ns, waited_ns| Reading {
            at_ns,
            cpu_ns,
            waited_ns,
        };
        let took = |now: Reading| {
            let CpuUse { cpu_ns, alone_ns } = now.since(&reading(100, 50, 20));
            (cpu_ns, alone_ns)
        };
        assert_eq!(took(reading(160, 75, 30)), (25, 50));
        assert_eq!(took(reading(160, 40, 10)), (0, 60));
        assert_eq!(took(reading(160, 50, 90)), (0, 0));
        assert_eq!(took(reading(90, 50, 20)), (0, 0));
    }
}
