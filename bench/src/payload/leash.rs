//! A program that ends with this one, however this one ends: started through it, by the hidden subcommand [`LEASH_COMMAND`].

use crate::partition::namespaces::Namespace;
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The hidden subcommand that becomes another program. What follows it are the arguments of [`leash_main`].
pub const LEASH_COMMAND: &str = "leashed";

/// A command by which a program is started that ends with the calling thread. With a network namespace it enters that by itself:
/// a thread that has entered one does not live long enough.
pub(super) fn leashed(program: &str, network: Option<&Namespace>) -> Command {
    if cfg!(test) && network.is_none() {
        // This executable knows no subcommands then.
        return Command::new(program);
    }
    let mut command = Command::new("/proc/self/exe");
    let parent = std::process::id().to_string();
    let network = network.map(Namespace::path).unwrap_or_default();
    command.args([LEASH_COMMAND, &parent, &network, program]);
    command
}

/// Asks the kernel to end this process with its parent, enters the network namespace that the arguments name behind the parent's
/// id, if they do, and becomes the program that they name then.
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
    let [parent, network, program, rest @ ..] = arguments else {
        return Err(wrong());
    };
    let parent = parent.parse().map(Pid::from_raw).map_err(|_| wrong())?;
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != parent {
        return Err(wrong());
    }
    if !network.is_empty() {
        setns(File::open(network)?, CloneFlags::CLONE_NEWNET)?;
    }
    Err(Command::new(program).args(rest).exec())
}
