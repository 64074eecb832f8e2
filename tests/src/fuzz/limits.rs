//! What one input may take, enforced by the kernel on the process that plays it.

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use std::io;
use std::time::Duration;

/// Memory of a process that plays inputs, in bytes: its private data, the stacks of its threads included.
pub const MEMORY_BYTES_MAX: u64 = 512 << 20;
/// CPU time for an input, unless the caller says otherwise.
pub const CPU_TIME_MAX: Duration = Duration::from_secs(2);
/// Stack of the thread that plays: what Rust gives threads, and so what a lane has.
pub const STACK_BYTES: usize = 2 << 20;

/// Bounds the memory of this process for the rest of its life: what exceeds it fails to be allocated, which aborts.
///
/// # Errors
/// If the kernel refuses.
pub fn bound_memory() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_DATA, MEMORY_BYTES_MAX, MEMORY_BYTES_MAX)?;
    // A dead child is news, its core is not.
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    Ok(())
}

/// Ends this process by SIGALRM when it has used so much CPU time since it was last told that an input begins.
#[derive(Debug)]
pub struct Watchdog {
    timer: Timer,
    time: Duration,
}

impl Watchdog {
    /// One that is not running yet.
    ///
    /// # Errors
    /// If the kernel has no timer left.
    pub fn new(time: Duration) -> io::Result<Self> {
        let signal = SigEvent::new(SigevNotify::SigevSignal {
            signal: Signal::SIGALRM,
            si_value: 0,
        });
        let timer = Timer::new(ClockId::CLOCK_PROCESS_CPUTIME_ID, signal)?;
        Ok(Self { timer, time })
    }

    /// Another input begins.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn begin(&mut self) -> io::Result<()> {
        let expiration = Expiration::OneShot(self.time.into());
        self.timer.set(expiration, TimerSetTimeFlags::empty())?;
        Ok(())
    }
}
