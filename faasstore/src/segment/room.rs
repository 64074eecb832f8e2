//! How much memory a segment may have without driving the machine out of memory.
//!
//! The kernel allocates what `fallocate` asks for, page by page, and ends processes when no page is left: an error
//! comes too late, if at all. So a segment is compared with what is available before it is asked for. Two processes
//! that look at once can both find the same room; against that, each worker keeps within its own `--memory`.

use std::fs::read_to_string;
use std::path::Path;

/// Where control groups of version 2 are, and those of version 1 that count memory.
const ROOT: &str = "/sys/fs/cgroup";
const ROOT_V1: &str = "/sys/fs/cgroup/memory";

/// Bytes that could be had now, by the machine and by each control group that this process is in. What cannot be read does
/// not limit.
pub(super) fn bytes_available() -> u64 {
    let machine = read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| machine_bytes(&text));
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    machine
        .unwrap_or(u64::MAX)
        .min(group_bytes(&groups).unwrap_or(u64::MAX))
}

fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// Files that say what a group has: its limit, what it uses, and of that the cache that can go, in its `memory.stat`.
struct Files {
    root: &'static str,
    limit: &'static str,
    used: &'static str,
    cache: &'static str,
}

const FILES: Files = Files {
    root: ROOT,
    limit: "memory.max",
    used: "memory.current",
    cache: "inactive_file ",
};
const FILES_V1: Files = Files {
    root: ROOT_V1,
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cache: "total_inactive_file ",
};

/// What the tightest has left of the groups in this `/proc/self/cgroup` and those above them.
fn group_bytes(groups: &str) -> Option<u64> {
    let lines = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let files = match controllers {
            "" => FILES,
            _ if controllers.split(',').any(|one| one == "memory") => FILES_V1,
            _ => return None,
        };
        Some((files, path.trim_start_matches('/')))
    });
    let rooms = lines.flat_map(|(files, path)| {
        let above = Path::new(path).ancestors();
        above.filter_map(move |group| files.room(group))
    });
    rooms.min()
}

impl Files {
    fn room(&self, group: &Path) -> Option<u64> {
        let folder = Path::new(self.root).join(group);
        let number = |file: &str| {
            let text = read_to_string(folder.join(file)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        let limit = number(self.limit)?;
        let stat = read_to_string(folder.join("memory.stat")).unwrap_or_default();
        Some(group_room(limit, number(self.used)?, &stat, self.cache))
    }
}

/// What is left of a group's limit, once the kernel has dropped the file cache that it can drop.
fn group_room(max: u64, current: u64, stat: &str, cache: &str) -> u64 {
    let cache = stat.lines().find_map(|line| line.strip_prefix(cache));
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
        let stat = "anon 50\ninactive_file 30\ntotal_inactive_file 40\n";
        assert_eq!(group_room(100, 80, stat, FILES.cache), 50);
        assert_eq!(group_room(100, 80, stat, FILES_V1.cache), 60);
        assert_eq!(group_room(100, 120, "", FILES.cache), 0);
    }
}
