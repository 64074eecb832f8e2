//! Network namespaces, and a link between two of them that is as slow as is wanted.
//!
//! They have no names: they are there as long as this process holds them open, or a worker lives in them. So none is left
//! behind, however this process ends.

use crate::session::SessionError;
use engine::greeting::KeyError;
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::thread;
use thiserror::Error;

/// Addresses of the two ends: of a range that is for tests of this kind (RFC 2544).
pub const ADDRESSES: [&str; 2] = ["198.18.0.1", "198.18.0.2"];
/// The interface, which has one name in all namespaces.
pub(crate) const INTERFACE: &str = "faasflow0";
/// How much may pass at once, and how long packets may wait before they are dropped.
const BURST: &str = "32kb";
const QUEUE: &str = "50ms";

/// How slow the link is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Throttle {
    /// Megabits a second, each way.
    pub mbit: u32,
    /// Milliseconds that each packet waits, each way, where the kernel can do that.
    pub delay_ms: u32,
}

/// Why there is no such link.
#[derive(Debug, Error)]
pub enum NamespaceError {
    /// Not permitted, or the kernel has none.
    #[error("no network namespace can be made: {0}; run as root, where the kernel has them")]
    Namespace(#[source] io::Error),
    /// A program of the system refused.
    #[error("`{call}` failed: {said}")]
    Tool {
        /// What was called.
        call: String,
        /// What it said.
        said: String,
    },
    /// A worker did not start.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A file of its own could not be made.
    #[error(
        "no folder for the workers can be made: {0}; set TMPDIR to a folder that may be written"
    )]
    Folder(#[source] io::Error),
    /// Signals cannot be waited for.
    #[error("signals cannot be waited for: {0}")]
    Signals(#[source] nix::Error),
    /// The key that was written cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A worker ended at once.
    #[error("worker {0} did not become ready; what it printed above says why")]
    NotReady(String),
}

/// A network namespace, as long as it is open.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// A new one, with nothing in it but a loopback interface that is down.
    ///
    /// # Errors
    /// If that is not permitted, or the kernel has none.
    pub fn new() -> io::Result<Self> {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        });
        made.join()
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
            .map(Self)
    }

    /// Runs something in it: on a thread of its own, since a thread that has entered it stays there. What that starts stays
    /// there, too.
    ///
    /// # Errors
    /// If it may not be entered.
    ///
    /// # Panics
    /// If that does which is run.
    pub fn run<T: Send>(&self, what: impl FnOnce() -> T + Send) -> io::Result<T> {
        thread::scope(|scope| {
            let ran = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET)?;
                Ok(what())
            });
            ran.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// By which other programs name it.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Runs a program of the system in it.
    pub(crate) fn tool(&self, call: &str) -> Result<(), NamespaceError> {
        self.run(|| tool(call)).map_err(NamespaceError::Namespace)?
    }
}

fn tool(call: &str) -> Result<(), NamespaceError> {
    let mut words = call.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    let failed = |said: String| NamespaceError::Tool {
        call: call.to_owned(),
        said,
    };
    let output = command.args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}

/// Two namespaces with a link between them, whose ends have the [`ADDRESSES`].
#[derive(Debug)]
pub struct TwoNamespaces {
    /// Both.
    pub namespaces: [Namespace; 2],
    /// Whether packets are delayed, not only held back by the rate.
    pub delayed: Result<(), String>,
}

impl TwoNamespaces {
    /// Makes them, and the link as slow as is wanted, each way.
    ///
    /// # Errors
    /// If that is not permitted here, or a tool is missing.
    pub fn new(throttle: Throttle) -> Result<Self, NamespaceError> {
        let namespace = || Namespace::new().map_err(NamespaceError::Namespace);
        let namespaces = [namespace()?, namespace()?];
        let [near, far] = &namespaces;
        let peer = far.path();
        near.tool(&format!(
            "ip link add {INTERFACE} type veth peer name {INTERFACE} netns {peer}"
        ))?;
        let mut delayed = Ok(());
        for (namespace, address) in namespaces.iter().zip(ADDRESSES) {
            namespace.tool(&format!("ip address add {address}/30 dev {INTERFACE}"))?;
            namespace.tool("ip link set lo up")?;
            namespace.tool(&format!("ip link set {INTERFACE} up"))?;
            let mbit = throttle.mbit;
            namespace.tool(&format!(
                "tc qdisc add dev {INTERFACE} root handle 1: tbf rate {mbit}mbit burst {BURST} latency {QUEUE}"
            ))?;
            if throttle.delay_ms > 0 && delayed.is_ok() {
                let delay_ms = throttle.delay_ms;
                let delay = namespace.tool(&format!(
                    "tc qdisc add dev {INTERFACE} parent 1:1 handle 10: netem delay {delay_ms}ms limit 10000"
                ));
                delayed = delay.map_err(|error| error.to_string());
            }
        }
        Ok(Self {
            namespaces,
            delayed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which namespace this thread is in.
    fn identity() -> String {
        let target = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        target.display().to_string()
    }

    #[test]
    fn what_runs_in_a_namespace_leaves_the_others_where_they_are() {
        let outside = identity();
        let Ok(namespace) = Namespace::new() else {
            println!("SKIPPED: network namespaces: they may not be made here; run as root");
            return;
        };
        let inside = namespace.run(identity).unwrap();
        assert_ne!(inside, outside);
        assert_eq!(identity(), outside);
        assert!(namespace.run(|| tool("ip link show lo")).unwrap().is_ok());
    }

    #[test]
    fn a_tool_that_is_not_there_is_named() {
        let error = tool("no-such-tool at all").unwrap_err().to_string();
        assert!(error.contains("no-such-tool at all"), "{error}");
    }
}
