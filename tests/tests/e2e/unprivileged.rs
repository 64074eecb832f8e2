//! Permissions and limits: what a user who is not root may not have is refused by name.
//!
//! Root may do anything, so when root runs the tests they run once more as a user without rights: a copy of this test
//! and of the programs, started through `setpriv`.

use faasflow_tests::process::{Finished, run};
use faasflow_tests::programs::program;
use faasflow_tests::skip::skip;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The user without rights, and his group: `nobody` everywhere.
const NOBODY: &str = "65534";
/// Longest time that a worker may take to refuse, and the whole of the tests to run again.
const REFUSAL_TIME_MAX: Duration = Duration::from_secs(60);
const AGAIN_TIME_MAX: Duration = Duration::from_secs(600);

/// Runs `test` if this process has no rights; else runs this test's executable again as a user who has none.
fn as_nobody(name: &str, test: impl FnOnce(&Path)) {
    if !nix::unistd::geteuid().is_root() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        return test(folder.path());
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    open_to_all(folder.path(), 0o755);
    let own = folder.path().join("own");
    std::fs::create_dir(&own).expect("the folder is new");
    open_to_all(&own, 0o777);
    let test = std::env::current_exe().expect("a test knows its own path");
    let copy = |from: &Path, name: &str| {
        let to = folder.path().join(name);
        std::fs::copy(from, &to).expect("there is room for a copy");
        open_to_all(&to, 0o755);
        to
    };
    let test = copy(&test, "test");
    for name in ["faasflow", "faasflow-worker", "test-functions"] {
        copy(&program(name), name);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
    let name_of_all = format!("unprivileged::{name}");
    command
        .arg(test)
        .args(["--exact", &name_of_all, "--nocapture"]);
    command.env("FAASFLOW_TEST_PROGRAMS", folder.path());
    command
        .env("TMPDIR", &own)
        .env("HOME", &own)
        .current_dir(&own);
    if Command::new("setpriv").arg("--version").output().is_err() {
        return skip(
            name,
            "run by root, and setpriv (util-linux) is not there to change that",
        );
    }
    let again = run(&mut command, AGAIN_TIME_MAX);
    assert_eq!(again.code, Some(0), "{}{}", again.text(), again.stderr);
    assert!(again.text().contains("1 passed"), "{}", again.text());
}

fn open_to_all(path: &Path, mode: u32) {
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, mode).expect("it is the test's own");
}

/// A worker's command in this folder, with `more` in place of what it would be told otherwise.
fn worker(folder: &Path, more: &[(&str, &Path)]) -> Command {
    let functions = folder.join("functions");
    // It may be there from the call before.
    let _ = std::fs::create_dir(&functions);
    let state = folder.join("state");
    let mut command = Command::new(program("faasflow-worker"));
    let cpu = engine::worker::host::allowed_cpus()[0].to_string();
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--name",
        "x",
        "--memory",
        "128MiB",
        "--cpus",
        &cpu,
    ]);
    let mut paths: Vec<(&str, PathBuf)> = vec![("--functions", functions), ("--state-dir", state)];
    for (flag, path) in more {
        paths.retain(|(known, _)| known != flag);
        paths.push((flag, path.to_path_buf()));
    }
    for (flag, path) in paths {
        command.arg(flag).arg(path);
    }
    command
}

fn refusal(folder: &Path, more: &[(&str, &Path)]) -> Finished {
    run(&mut worker(folder, more), REFUSAL_TIME_MAX)
}

fn locked(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir(&path).expect("the folder is new");
    open_to_all(&path, 0o000);
    path
}

#[test]
fn a_state_folder_that_may_not_be_written_is_refused() {
    as_nobody(
        "a_state_folder_that_may_not_be_written_is_refused",
        |folder| {
            let state = locked(folder, "locked");
            let inside = state.join("state");
            for path in [&state, &inside] {
                let said = refusal(folder, &[("--state-dir", path)]);
                said.refused(&["--state-dir", state.to_str().unwrap(), "may write"]);
            }
            open_to_all(&state, 0o700);
        },
    );
}

#[test]
fn a_key_file_that_may_not_be_read_is_refused() {
    as_nobody("a_key_file_that_may_not_be_read_is_refused", |folder| {
        let key = folder.join("key");
        std::fs::write(&key, [7; 32]).unwrap();
        open_to_all(&key, 0o000);
        let said = refusal(folder, &[("--cluster-key-file", &key)]);
        said.refused(&["--cluster-key-file", key.to_str().unwrap()]);
        let mut command = Command::new(program("faasflow"));
        command.args(["status", "--workers", "127.0.0.1:1", "--cluster-key-file"]);
        run(command.arg(&key), REFUSAL_TIME_MAX).refused(&[key.to_str().unwrap()]);
    });
}

#[test]
fn a_functions_folder_that_may_not_be_read_is_refused() {
    as_nobody(
        "a_functions_folder_that_may_not_be_read_is_refused",
        |folder| {
            let functions = locked(folder, "locked");
            let said = refusal(folder, &[("--functions", &functions)]);
            said.refused(&["--functions", functions.to_str().unwrap()]);
            open_to_all(&functions, 0o700);
        },
    );
}

#[test]
fn a_port_that_may_not_be_taken_is_refused() {
    const NAME: &str = "a_port_that_may_not_be_taken_is_refused";
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let first = first.ok().and_then(|port| port.trim().parse::<u16>().ok());
    if first.unwrap_or(1024) <= 1 {
        return skip(
            NAME,
            "every user may take every port here (net.ipv4.ip_unprivileged_port_start)",
        );
    }
    as_nobody(NAME, |folder| {
        let told = worker(folder, &[]);
        let mut command = Command::new(told.get_program());
        command.args(told.get_args().map(|argument| match argument.to_str() {
            Some("127.0.0.1:0") => "127.0.0.1:1".as_ref(),
            _ => argument,
        }));
        run(&mut command, REFUSAL_TIME_MAX).refused(&["--listen", "127.0.0.1:1"]);
    });
}

#[test]
fn too_few_descriptors_are_refused_by_name() {
    as_nobody("too_few_descriptors_are_refused_by_name", |folder| {
        for limit in [8_u32, 24, 100] {
            let told = worker(folder, &[]);
            let mut command = Command::new("prlimit");
            command.arg(format!("--nofile={limit}:{limit}"));
            command.arg(told.get_program()).args(told.get_args());
            let said = run(&mut command, REFUSAL_TIME_MAX);
            said.failed_with(2, &["ulimit"]);
        }
    });
}
