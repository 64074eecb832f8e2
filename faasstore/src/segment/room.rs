//! How much memory a segment may have without driving the machine out of memory.
//!
//! The kernel allocates what `fallocate` asks for, page by page, and ends processes when no page is left: an error
//! comes too late, if at all. So a segment is compared with what is available before it is asked for. Two processes
//! that look at once can both find the same room; against that, each worker keeps within its own `--memory`.

use std::fs::read_to_string;
use std::path::Path;

const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Bytes that could be had now, by the machine and by the control group of this process (version 2). What cannot be
/// read does not limit.
pub(super) fn bytes_available() -> u64 {
    let machine = read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| machine_bytes(&text));
    machine
        .unwrap_or(u64::MAX)
        .min(group_bytes().unwrap_or(u64::MAX))
}

fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

fn group_bytes() -> Option<u64> {
    let groups = read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let folder = Path::new(CGROUP_ROOT).join(group);
    let number = |file: &str| {
        read_to_string(folder.join(file))
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    };
    let stat = read_to_string(folder.join("memory.stat")).unwrap_or_default();
    Some(group_room(
        number("memory.max")?,
        number("memory.current")?,
        &stat,
    ))
}

/// What is left of a group's limit, once the kernel has dropped the file cache that it can drop.
fn group_room(max: u64, current: u64, stat: &str) -> u64 {
    let cache = stat
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file "));
    let cache = cache
        .and_then(|bytes| bytes.trim().parse::<u64>().ok())
        .unwrap_or(0);
    max.saturating_sub(current.saturating_sub(cache))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_limits_what_may_be_asked_for() {
        assert_eq!(
            machine_bytes("MemTotal: 9 kB\nMemAvailable:    3 kB\n"),
            Some(3 << 10)
        );
        assert_eq!(machine_bytes("MemTotal: 9 kB\n"), None);
        assert!(bytes_available() < 1 << 50, "no machine has a pebibyte");
    }

    #[test]
    fn a_group_limits_it_too_apart_from_cache_that_can_go() {
        assert_eq!(group_room(100, 80, "anon 50\ninactive_file 30\n"), 50);
        assert_eq!(group_room(100, 120, ""), 0);
    }
}
