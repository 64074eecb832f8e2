//! A Redis server of a test's own: started, stopped, killed and restarted as the test says.

use crate::cluster::Setup;
use crate::process::{Guarded, until};
use crate::skip::skip;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A server on loopback, which ends with this.
#[derive(Debug)]
pub struct Server {
    process: Guarded,
    port: u16,
    /// Where it keeps what it holds, if it does.
    folder: Option<TempDir>,
}

impl Server {
    /// Starts one that keeps nothing on disk, and waits until it listens. None if it is not installed, which the test `name` then
    /// says.
    ///
    /// # Panics
    /// If it does not come to listen.
    #[must_use]
    #[track_caller]
    pub fn start(name: &str) -> Option<Self> {
        Self::start_in(name, None)
    }

    /// The same, of one that has on disk whatever it has answered, and after a kill still has it.
    ///
    /// # Panics
    /// If it does not come to listen, or has no folder.
    #[must_use]
    #[track_caller]
    pub fn start_persistent(name: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self::start_in(name, Some(folder))
    }

    #[track_caller]
    fn start_in(name: &str, folder: Option<TempDir>) -> Option<Self> {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = free.local_addr().expect("it listens").port();
        drop(free);
        let Some(process) = spawn(port, folder.as_ref()) else {
            skip(name, "no redis-server is installed");
            return None;
        };
        let server = Self {
            process,
            port,
            folder,
        };
        server.wait();
        Some(server)
    }

    fn wait(&self) {
        until("the server listens", || {
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
    }

    /// Kills it: what it held is lost, unless it is a persistent one.
    ///
    /// # Panics
    /// If it has ended before.
    pub fn kill(&mut self) {
        let child = &mut self.process.0;
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }

    /// Kills it, and starts it again at the same port.
    ///
    /// # Panics
    /// If it does not come to listen again.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        self.revive();
    }

    /// Starts it again at the same port, when it has been killed.
    ///
    /// # Panics
    /// If it does not come to listen again.
    #[track_caller]
    pub fn revive(&mut self) {
        self.process = spawn(self.port, self.folder.as_ref()).expect("it is installed");
        self.wait();
    }

    /// Has it answer nothing, and take connections all the same, until [`Server::go_on`].
    ///
    /// # Panics
    /// If it has ended.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Has it answer again, what it was asked meanwhile included.
    ///
    /// # Panics
    /// If it has ended.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process.0.id().cast_signed());
        kill(pid, signal).expect("a child that is not reaped can be signalled");
    }

    /// Waits until no key is left in it.
    ///
    /// # Panics
    /// If some are left for long.
    #[track_caller]
    pub fn until_empty(&self) {
        until("nothing lies in the server", || {
            (self.ask("DBSIZE")? == ":0").then_some(())
        });
    }

    /// Keys in it that do not go by themselves; none if it does not answer.
    #[must_use]
    pub fn keys_for_ever(&self) -> Option<String> {
        let script = "local n = 0; for _, key in ipairs(redis.call('KEYS', '*')) do \
            if redis.call('TTL', key) < 0 then n = n + 1 end end; return n";
        self.ask(&format!("EVAL \"{script}\" 0"))
    }

    /// The first line of its answer to a command; none if it does not answer.
    #[must_use]
    pub fn ask(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.write_all(format!("{command}\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).ok()?;
        Some(answer.trim_end().to_owned())
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A worker `a` that carries payloads here, and not to a disk.
    #[must_use]
    pub fn setup(&self) -> Setup {
        let url = format!("--store={}", self.url());
        Setup::workers(&["a"]).flag("--spill-max=0").flag(&url)
    }
}

fn spawn(port: u16, folder: Option<&TempDir>) -> Option<Guarded> {
    let mut command = Command::new("redis-server");
    command.args(["--save", "", "--bind", "127.0.0.1"]);
    command.args(["--port", &port.to_string()]);
    match folder {
        // The kernel has each change before it is answered; a server that syncs once in a while puts that off meanwhile.
        Some(folder) => command
            .args(["--appendonly", "yes", "--appendfsync", "no", "--dir"])
            .arg(folder.path()),
        None => command.args(["--appendonly", "no", "--dir", "/tmp"]),
    };
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null()).spawn().ok().map(Guarded)
}
