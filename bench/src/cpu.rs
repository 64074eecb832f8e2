//! Which CPUs there are for this process, and how work is put on one of them.

use core_affinity::CoreId;
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use thiserror::Error;

/// Why work could not be put on a CPU.
#[derive(Debug, Error)]
pub enum CpuError {
    /// There is no such CPU for this process.
    #[error(
        "CPU {cpu} cannot be used by this process, which may use {allowed:?}; choose among those, or widen its set with taskset"
    )]
    NotAllowed {
        /// The CPU asked for.
        cpu: usize,
        /// Those that may be used.
        allowed: Vec<usize>,
    },
    /// Another process could not be put on a CPU.
    #[error("process {pid} cannot be put on CPU {cpu}: {error}")]
    Other {
        /// The process.
        pid: u32,
        /// The CPU asked for.
        cpu: usize,
        /// From the kernel.
        #[source]
        error: Errno,
    },
}

/// The CPUs that the calling thread may use, rising: those of the process, unless it is bound.
#[must_use]
pub fn allowed() -> Vec<usize> {
    let mut cpus: Vec<usize> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .iter()
        .map(|core| core.id)
        .collect();
    cpus.sort_unstable();
    cpus
}

/// Checks that the calling thread may use `cpu`: for work that another process is to do there.
///
/// # Errors
/// If it may not.
pub fn check(cpu: usize) -> Result<(), CpuError> {
    let allowed = allowed();
    if allowed.contains(&cpu) {
        Ok(())
    } else {
        Err(CpuError::NotAllowed { cpu, allowed })
    }
}

/// Binds the calling thread to `cpu`.
///
/// # Errors
/// If this process may not use it.
pub fn pin(cpu: usize) -> Result<(), CpuError> {
    if core_affinity::set_for_current(CoreId { id: cpu }) {
        Ok(())
    } else {
        Err(CpuError::NotAllowed {
            cpu,
            allowed: allowed(),
        })
    }
}

/// Binds the first thread of another process to `cpu`: that which runs an executor's functions.
///
/// # Errors
/// If there is no such process or CPU, or it is another user's.
pub fn pin_process(pid: u32, cpu: usize) -> Result<(), CpuError> {
    let mut set = CpuSet::new();
    set.set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(pid as i32), &set))
        .map_err(|error| CpuError::Other { pid, cpu, error })
}

/// Runs `work` on a thread of its own that is bound to `cpu`, and returns what it returns. The caller stays unbound.
///
/// # Errors
/// If this process may not use that CPU.
///
/// # Panics
/// If `work` does.
pub fn on<T: Send>(cpu: usize, work: impl FnOnce() -> T + Send) -> Result<T, CpuError> {
    let bound = || pin(cpu).map(|()| work());
    std::thread::scope(|scope| scope.spawn(bound).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
