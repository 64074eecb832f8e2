//! Starting workers and looking at processes, and how a worker starts and ends.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest that anything here may take; only a failing test waits so long.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Drivers that there are here.
pub(crate) fn drivers() -> Vec<&'static str> {
    match engine::worker::control_io::probe() {
        Ok(()) => vec!["epoll", "io-uring"],
        Err(error) => {
            println!("skipped on io_uring, which is not to be had here: {error}");
            vec!["epoll"]
        }
    }
}

/// A CPU that this process may use.
pub(crate) fn cpu() -> String {
    engine::worker::host::allowed_cpus()[0].to_string()
}

/// A functions folder with an executable, and with what is none.
pub(crate) struct Functions(pub(crate) TempDir);

impl Functions {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tests = std::env::current_exe().unwrap();
        let echo = tests
            .parent()
            .unwrap()
            .with_file_name("examples")
            .join("echo");
        assert!(
            echo.exists(),
            "{} is missing; `cargo build --example echo`",
            echo.display()
        );
        // A link, since a copy could still be open for writing in a process that another test is starting.
        std::os::unix::fs::symlink(&echo, folder.path().join("echo")).unwrap();
        for (name, mode, content) in [
            ("text", 0o755, "no program\n"),
            ("ends", 0o755, "#!/bin/sh\nexit 3\n"),
            ("hangs", 0o755, "#!/bin/sh\nexec sleep 1000\n"),
            (
                "babbles",
                0o755,
                "#!/bin/sh\necho hello >&0\nexec sleep 1000\n",
            ),
            ("data", 0o644, "#!/bin/sh\n"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        Self(folder)
    }
}

/// A worker; killed when dropped.
pub(crate) struct Worker {
    child: Child,
    pub(crate) address: String,
    pub(crate) log: PathBuf,
    _folder: TempDir,
}

impl Worker {
    pub(crate) fn start(driver: &str, name: &str, functions: &Path, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let listens = more.iter().any(|flag| flag.starts_with("--listen="));
        let mut child = Command::new(env!("CARGO_BIN_EXE_faasflow-worker"))
            .args((!listens).then_some("--listen=127.0.0.1:0"))
            .args(["--memory=256M", &format!("--cpus={}", cpu())])
            .args([format!("--driver={driver}"), format!("--name={name}")])
            .arg(format!("--functions={}", functions.display()))
            .arg(format!(
                "--state-dir={}",
                folder.path().join("state").display()
            ))
            .args(more)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let said = std::fs::read_to_string(&log).unwrap();
        let address = line
            .trim()
            .strip_prefix(&format!("ready {name} "))
            .unwrap_or_else(|| panic!("{line}\n{said}"));
        let address = address.to_owned();
        Self {
            child,
            address,
            log,
            _folder: folder,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid() as i32), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the worker ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!(
                "the worker's log:\n{}",
                std::fs::read_to_string(&self.log).unwrap_or_default()
            );
        }
    }
}

/// Looks until there is something; for what another process brings about and tells no one.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {SOON:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process exists that has not ended.
pub(crate) fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// What a worker that should not start says, and its exit code.
fn refused(more: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let state = format!("--state-dir={}", folder.path().join("state").display());
    let cpus = format!("--cpus={}", cpu());
    let mut flags = vec![
        "--listen=127.0.0.1:0",
        "--memory=64M",
        "--functions=/",
        &cpus,
        "--name=a",
        &state,
    ];
    flags.retain(|flag| {
        !more
            .iter()
            .any(|m| m.split('=').next() == flag.split('=').next())
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_faasflow-worker"));
    command.args(flags).args(more).env("FAASFLOW_LOG", "off");
    let output = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(output.stdout.is_empty(), "nothing is ready");
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn what_cannot_be_done_is_refused_with_exit_code_2_and_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("--listen={}", taken.local_addr().unwrap());
    for (flag, said) in [
        (taken.as_str(), "another program listens there"),
        ("--listen=0.0.0.0:0", "--cluster-key-file is needed"),
        ("--listen=192.0.2.1:1", "needed"),
        ("--cpus=4000", "CPU 4000 does not exist"),
        ("--memory=9000T", "this host has"),
        ("--functions=/nowhere", "--functions /nowhere"),
        ("--state-dir=/dev/null/x", "--state-dir: cannot make"),
        ("--name=../x", "--name"),
        ("--lanes=200", "--lanes 200"),
    ] {
        let (code, text) = refused(&[flag]);
        assert_eq!(code, Some(2), "{flag}: {text}");
        assert!(
            text.starts_with("faasflow-worker: ") && text.contains(said),
            "{flag}: {text}"
        );
        assert_eq!(text.lines().count(), 1, "{flag}: {text}");
    }
}

#[test]
fn two_workers_never_share_a_state_folder() {
    let functions = tempfile::tempdir().unwrap();
    let worker = Worker::start("epoll", "a", functions.path(), &[]);
    let state = format!(
        "--state-dir={}",
        worker.log.with_file_name("state").display()
    );
    let (code, text) = refused(&[&state]);
    assert_eq!(code, Some(2));
    assert!(text.contains("another worker uses it"), "{text}");
}

#[test]
fn a_worker_that_is_told_to_end_ends_well() {
    use nix::sys::signal::Signal::{SIGINT, SIGTERM};
    let functions = tempfile::tempdir().unwrap();
    for driver in drivers() {
        for signal in [SIGTERM, SIGINT] {
            let mut worker = Worker::start(driver, "a", functions.path(), &[]);
            // Neither an idle master nor a stranger that says nothing may delay it.
            let _stranger = std::net::TcpStream::connect(&worker.address).unwrap();
            let _master = super::caller::Caller::control(&worker.address);
            worker.signal(signal);
            assert_eq!(worker.wait().code(), Some(0), "{driver}, {signal}");
        }
    }
}

#[test]
fn epoll_is_announced_by_one_clear_line() {
    let functions = tempfile::tempdir().unwrap();
    let worker = Worker::start("epoll", "a", functions.path(), &[]);
    let log = std::fs::read_to_string(&worker.log).unwrap();
    assert_eq!(log.matches("epoll").count(), 1, "{log}");
}

/// Reads everything until the other side closes, in a thread of its own so that a test can give up.
pub(crate) fn read_to_end(mut stream: std::net::TcpStream) -> Vec<u8> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A reset is an end too; what came before it counts.
        let _ = stream.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
        .recv_timeout(SOON)
        .expect("the worker closes the connection")
}
