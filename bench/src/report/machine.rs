//! Where a figure was taken: CPU, kernel, memory, versions, and how the run was set up.

use super::Disturbances;
use crate::cpu;
use nix::sys::utsname::uname;
use serde::Serialize;

/// How a run was set up, so far as it says something about its figures.
#[derive(Serialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Setup {
    /// The wait strategy, if the product ran.
    pub wait: Option<String>,
    /// Which CPUs what ran on, for people and in full.
    pub placement: Option<String>,
    /// The workers' driver: `io_uring` or `epoll`.
    pub driver: Option<String>,
}

/// Where a figure was taken.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    /// The CPU's own name.
    pub cpu_model: Option<String>,
    /// CPUs that this process may use.
    pub cpus: Vec<usize>,
    /// Kernel release.
    pub kernel: String,
    /// Memory of the host, in bytes.
    pub memory_bytes: Option<u64>,
    /// Whether the kernel gives huge pages unasked (`always`), on request (`madvise`) or not (`never`).
    pub huge_pages: Option<String>,
    /// The same of shared memory, which segments are made of.
    pub huge_pages_shared: Option<String>,
    /// Huge pages of 2 MiB that the reserved pool has left: what segments may be made of with `--huge-pages reserved`.
    pub huge_pages_pool_free: Option<u64>,
    /// The kernel's clock source: with another than `tsc` or `kvm-clock` a reading may take a microsecond.
    pub clock_source: Option<String>,
    /// The hypervisor's flag among the CPU's.
    pub virtual_machine: bool,
    /// This program's version.
    pub version: &'static str,
    /// How the run was set up.
    #[serde(flatten)]
    pub setup: Setup,
    /// What the host did to the run.
    pub disturbances: Disturbances,
}

impl Machine {
    /// Reads what the kernel says; what it does not say is absent.
    #[must_use]
    pub fn read(setup: Setup) -> Self {
        let cpu_information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let flags = field(&cpu_information, "flags").unwrap_or_default();
        Self {
            cpu_model: field(&cpu_information, "model name").map(str::to_owned),
            cpus: cpu::allowed(),
            kernel: uname()
                .map(|name| name.release().to_string_lossy().into_owned())
                .unwrap_or_default(),
            memory_bytes: memory_bytes(),
            huge_pages: chosen("/sys/kernel/mm/transparent_hugepage/enabled"),
            huge_pages_shared: chosen("/sys/kernel/mm/transparent_hugepage/shmem_enabled"),
            huge_pages_pool_free: line("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
                .and_then(|pages| pages.parse().ok()),
            clock_source: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            virtual_machine: flags.split(' ').any(|flag| flag == "hypervisor"),
            version: env!("CARGO_PKG_VERSION"),
            setup,
            disturbances: Disturbances::default(),
        }
    }
}

/// The value of the first `name : value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// Memory of this host, if the kernel says so.
pub(crate) fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kibibytes: u64 = field(&text, "MemTotal")?
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    kibibytes.checked_mul(1024)
}

fn line(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

/// The word in brackets.
fn chosen(path: &str) -> Option<String> {
    let text = line(path)?;
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}
