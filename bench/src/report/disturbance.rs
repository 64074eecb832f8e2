//! What the host did to a run: time that the hypervisor took away, and context switches that nobody asked for.
//!
//! Read from /proc/stat and getrusage before and after. Steal is counted in the kernel's ticks (as a rule of 10 ms), over
//! all CPUs of the host.

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};
use serde::Serialize;
use std::time::Instant;

/// Place of the steal time in the line `cpu` of /proc/stat, after the label; see proc_stat(5).
const STEAL_FIELD: usize = 7;

/// What disturbed a run.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Disturbances {
    /// How long the run took, in nanoseconds.
    pub elapsed_ns: u64,
    /// Time that the hypervisor gave to others while this host wanted it, over all CPUs, in nanoseconds; none where
    /// /proc/stat cannot be read.
    pub steal_ns: Option<u64>,
    /// Involuntary context switches of this process and of those that it has started and reaped.
    pub involuntary_switches: u64,
    /// Voluntary ones.
    pub voluntary_switches: u64,
}

/// A run in progress.
#[derive(Debug)]
pub struct Watch {
    started: Instant,
    before: Counts,
}

#[derive(Clone, Copy, Debug)]
struct Counts {
    steal_ns: Option<u64>,
    involuntary: u64,
    voluntary: u64,
}

impl Watch {
    /// Begins to watch.
    #[must_use]
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
            before: Counts::read(),
        }
    }

    /// What has happened since.
    #[must_use]
    pub fn finish(&self) -> Disturbances {
        let (before, after) = (self.before, Counts::read());
        Disturbances {
            elapsed_ns: self.started.elapsed().as_nanos() as u64,
            steal_ns: after
                .steal_ns
                .zip(before.steal_ns)
                .map(|(after, before)| after.saturating_sub(before)),
            involuntary_switches: after.involuntary - before.involuntary,
            voluntary_switches: after.voluntary - before.voluntary,
        }
    }
}

impl Counts {
    fn read() -> Self {
        let (mut involuntary, mut voluntary) = (0, 0);
        for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
            if let Ok(usage) = getrusage(who) {
                involuntary += usage.involuntary_context_switches() as u64;
                voluntary += usage.voluntary_context_switches() as u64;
            }
        }
        let ticks = std::fs::read_to_string("/proc/stat")
            .ok()
            .and_then(|stat| steal_ticks(&stat));
        Self {
            steal_ns: ticks.zip(tick_ns()).map(|(ticks, ns)| ticks * ns),
            involuntary,
            voluntary,
        }
    }
}

fn tick_ns() -> Option<u64> {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten()?;
    1_000_000_000_u64.checked_div(per_second as u64)
}

fn steal_ticks(stat: &str) -> Option<u64> {
    let fields = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    fields.split_whitespace().nth(STEAL_FIELD)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_read_from_the_line_of_all_cpus() {
        assert_eq!(
            steal_ticks("cpu  1 2 3 4 5 6 7 88 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n"),
            Some(88)
        );
        assert_eq!(steal_ticks("cpu0 1 2 3"), None);
        assert_eq!(steal_ticks("cpu  1 2 3"), None);
    }
}
