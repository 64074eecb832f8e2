//! A program that ends with this one, however this one ends: started through it, by the hidden subcommand [`LEASH_COMMAND`].

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The hidden subcommand that becomes another program. What follows it are the arguments of [`leash_main`].
pub const LEASH_COMMAND: &str = "leashed";

/// A command by which a program is started that ends with the calling thread.
pub(super) fn leashed(program: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args([LEASH_COMMAND, &std::process::id().to_string(), program]);
    command
}

/// Asks the kernel to end this process with its parent, and becomes the program that the arguments name behind the parent's id.
///
/// # Errors
/// If it was not started by this program, or the other cannot be. It does not return otherwise.
pub fn leash_main(arguments: &[String]) -> io::Result<()> {
    let wrong = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "this is started by this program alone",
        )
    };
    let [parent, program, rest @ ..] = arguments else {
        return Err(wrong());
    };
    let parent = parent.parse().map(Pid::from_raw).map_err(|_| wrong())?;
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != parent {
        return Err(wrong());
    }
    Err(Command::new(program).args(rest).exec())
}
