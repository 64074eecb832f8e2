//! What the host has and lets this process use: CPUs and memory, cgroup limits included; and what the process holds.

use crate::trace::ClockId;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// CPUs that this process may run on, rising; empty if the kernel does not say.
#[must_use]
pub fn allowed_cpus() -> Vec<u32> {
    let ids = core_affinity::get_core_ids().unwrap_or_default();
    ids.into_iter()
        .filter_map(|core| u32::try_from(core.id).ok())
        .collect()
}

/// Whether the host has a CPU of this number, even if this process may not run on it.
#[must_use]
pub fn cpu_exists(cpu: u32) -> bool {
    Path::new(&format!("/sys/devices/system/cpu/cpu{cpu}")).exists()
}

/// Identity of the monotonic clock that this process reads: of the running kernel, and of the time namespace that this
/// process lives in, which may have an offset of its own. [`ClockId::UNKNOWN`] if the kernel does not say.
#[must_use]
pub fn clock_id() -> ClockId {
    let Ok(boot) = std::fs::read_to_string("/proc/sys/kernel/random/boot_id") else {
        return ClockId::UNKNOWN;
    };
    // A kernel without time namespaces has no such file, and no offsets.
    let offsets = std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    clock_id_of(&boot, &offsets)
}

fn clock_id_of(boot: &str, offsets: &str) -> ClockId {
    let offset = offsets
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .find(|line| line.starts_with("monotonic "))
        .unwrap_or_else(|| "monotonic 0 0".to_owned());
    let digest = Sha256::digest(format!("{}\n{offset}", boot.trim()));
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    // Zero stands for an unknown clock.
    ClockId(u64::from_le_bytes(first).max(1))
}

/// How much memory this process may have at most, and who says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryBound {
    /// Bytes.
    pub bytes: u64,
    /// For people: the host, or a cgroup's file.
    pub set_by: String,
}

/// The tightest bound on this process's memory: the host's, or that of a cgroup above it. `None` if the kernel does
/// not say.
#[must_use]
pub fn memory_bound() -> Option<MemoryBound> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let host = MemoryBound {
        bytes: meminfo_bytes(&meminfo, "MemTotal:")?,
        set_by: "this host".to_owned(),
    };
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = cgroup_limit_files(&groups).into_iter().filter_map(|file| {
        let bytes = std::fs::read_to_string(&file).ok()?.trim().parse().ok()?;
        Some(MemoryBound {
            bytes,
            set_by: format!("the cgroup limit in {}", file.display()),
        })
    });
    std::iter::once(host)
        .chain(limits)
        .min_by_key(|bound| bound.bytes)
}

/// Memory that could be used now without any swapping, as the kernel estimates it for the host, in bytes; at most what
/// [`memory_bound`] allows.
#[must_use]
pub fn memory_available() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let host = meminfo_bytes(&meminfo, "MemAvailable:")?;
    Some(memory_bound().map_or(host, |bound| bound.bytes.min(host)))
}

fn meminfo_bytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Bytes that a process has for itself, shared memory and files left out; none if it has gone.
pub(super) fn private_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// What makes the kernel end a process before all others when memory runs out (proc(5), `oom_score_adj`).
const FIRST_TO_END: &str = "1000";

/// Has the kernel end this process before its worker when the host, or a control group, has no memory left: the worker counts
/// what all of its executors share with it, and would often be the largest.
pub(super) fn offer_to_oom_killer(pid: u32) {
    if let Err(error) = std::fs::write(format!("/proc/{pid}/oom_score_adj"), FIRST_TO_END) {
        // Such as one that runs as somebody else by its file's mode.
        tracing::debug!("executor {pid} is not the first to end without memory: {error}");
    }
}

/// Files that may hold a memory limit for a process with this `/proc/self/cgroup`: its own group's and those above it,
/// in cgroup version 2 (`0::/path`) and version 1 (`N:memory:/path`). In a container the path may be that of the
/// host while the mount shows the container's own group at its root; the root is looked at in any case.
fn cgroup_limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|c| c == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            files.push(Path::new(root).join(group).join(name));
        }
    }
    files
}

/// File descriptors that this process has open; 0 if the kernel does not say.
#[must_use]
pub fn open_descriptors() -> u64 {
    // The listing itself holds one open, which is not counted.
    let Ok(listing) = std::fs::read_dir("/proc/self/fd") else {
        return 0;
    };
    (listing.count() as u64).saturating_sub(1)
}

/// Resident memory of this process in bytes; 0 if the kernel does not say.
#[must_use]
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .trim()
            .strip_suffix("kB")?
            .trim()
            .parse::<u64>()
            .ok()
    });
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_known_by_its_kernel_and_its_offset() {
        let at = |seconds: &str| format!("monotonic  {seconds}         0\nboottime 5 0\n");
        let one = clock_id_of("abc\n", &at("0"));
        assert_eq!(one, clock_id_of("abc", ""));
        assert_ne!(one, clock_id_of("abd", &at("0")));
        assert_ne!(one, clock_id_of("abc", &at("7")));
        assert!(one.is_shared_with(clock_id_of("abc", "monotonic 0 0\nboottime 9 0\n")));
    }

    #[test]
    fn the_limits_of_every_group_above_count() {
        let files = cgroup_limit_files("0::/a/b\n");
        let expected = ["a/b/memory.max", "a/memory.max", "memory.max"]
            .map(|f| Path::new("/sys/fs/cgroup").join(f));
        assert_eq!(files, expected);
        let files = cgroup_limit_files("5:cpu,cpuacct:/x\n4:memory:/y\n");
        let expected = ["y/memory.limit_in_bytes", "memory.limit_in_bytes"]
            .map(|f| Path::new("/sys/fs/cgroup/memory").join(f));
        assert_eq!(files, expected);
        assert_eq!(cgroup_limit_files("garbage"), Vec::<PathBuf>::new());
    }

    #[test]
    fn the_total_is_read_in_bytes() {
        assert_eq!(
            meminfo_bytes("MemFree: 1 kB\nMemTotal:       8000 kB\n", "MemTotal:"),
            Some(8_192_000)
        );
        assert_eq!(meminfo_bytes("nothing", "MemTotal:"), None);
    }

    #[test]
    fn this_process_holds_something() {
        assert!(open_descriptors() >= 3);
        assert!(resident_bytes() > 0);
        let bound = memory_bound().unwrap().bytes;
        assert!(memory_available().is_some_and(|bytes| bytes > 0 && bytes <= bound));
        assert!(allowed_cpus().iter().all(|&cpu| cpu_exists(cpu)));
    }
}
