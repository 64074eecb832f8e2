//! The second process of a floor: how it is started, how it is told what to do, and how it ends.
//!
//! It inherits the shared page as its standard input and, where there is one, the eventfd as its standard output, so
//! that no descriptor has to survive `exec` under a number. It ends with the thread that started it.

use super::board::Board;
use super::{FloorError, beside, slots, stream, tcp, wake};
use crate::cpu;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

/// The hidden subcommand that makes a program the second process of a floor. What follows it are the arguments of
/// [`partner_main`].
pub const PARTNER_COMMAND: &str = "floor-partner";

/// What the second process does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Sends each slot back.
    Slots,
    /// Sleeps on a futex.
    Futex,
    /// Sleeps on an eventfd.
    Eventfd,
    /// Answers on a TCP connection.
    Tcp,
    /// Reads from a TCP connection.
    Sink,
    /// Receives payloads on a TCP connection.
    Stream,
}

const ROLES: [(Role, &str); 6] = [
    (Role::Slots, "slots"),
    (Role::Futex, "futex"),
    (Role::Eventfd, "eventfd"),
    (Role::Tcp, "tcp"),
    (Role::Sink, "sink"),
    (Role::Stream, "stream"),
];

/// A running second process; dropping it ends the process.
#[derive(Debug)]
pub(super) struct Partner {
    child: Child,
}

impl Partner {
    /// Starts one on `cpu`. It dies with the calling thread, which therefore has to be the one that measures.
    pub(super) fn start(
        role: Role,
        cpu: usize,
        board: &Board,
        eventfd: Option<&OwnedFd>,
    ) -> Result<Self, FloorError> {
        let duplicate = "duplicate a descriptor for the other process of a floor";
        let stdout = match eventfd {
            Some(eventfd) => {
                Stdio::from(eventfd.try_clone().map_err(FloorError::system(duplicate))?)
            }
            None => Stdio::null(),
        };
        let name = ROLES
            .iter()
            .find(|(known, _)| *known == role)
            .map_or("", |(_, name)| name);
        let child = Command::new("/proc/self/exe")
            .args([
                PARTNER_COMMAND,
                name,
                &cpu.to_string(),
                &std::process::id().to_string(),
            ])
            .stdin(board.descriptor().map_err(FloorError::system(duplicate))?)
            .stdout(stdout)
            .spawn()
            .map_err(FloorError::system("start the other process of a floor"))?;
        Ok(Self { child })
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        // Both fail only if it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The second process of a floor; `arguments` are those behind [`PARTNER_COMMAND`]. Returns when the parent is through,
/// though as a rule it is ended before.
///
/// # Errors
/// If it was not started by this program, or cannot do its part.
pub fn partner_main(arguments: &[String]) -> Result<(), FloorError> {
    let wrong = || FloorError::Call(format!("arguments {arguments:?}"));
    let [role, cpu, parent] = arguments else {
        return Err(wrong());
    };
    let role = ROLES
        .iter()
        .find(|(_, name)| name == role)
        .map(|(role, _)| *role)
        .ok_or_else(wrong)?;
    let cpu = cpu.parse().map_err(|_| wrong())?;
    let parent = Pid::from_raw(parent.parse().map_err(|_| wrong())?);

    let signal = prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from);
    signal.map_err(FloorError::system("ask to end with the parent"))?;
    if getppid() != parent {
        return Err(FloorError::Call("the parent has ended".to_owned()));
    }
    cpu::pin(cpu)?;
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let board = stdin
        .and_then(Board::open)
        .map_err(FloorError::system("map the page of a floor"))?;
    match role {
        Role::Slots => slots::answer(&board),
        Role::Futex => wake::sleep_on_futex(&board),
        Role::Eventfd => {
            let eventfd = io::stdout().as_fd().try_clone_to_owned();
            wake::sleep_on_eventfd(
                &board,
                &eventfd.map_err(FloorError::system("take the eventfd of a floor"))?,
            )
        }
        Role::Tcp => tcp::answer(&board),
        Role::Sink => beside::sink(&board),
        Role::Stream => stream::answer(&board),
    }
}
