//! `faasflow-bench partition` with workers that really run: what it predicts and measures, and what it leaves behind.

use faasflow_tests::cluster::{PROGRAM_TIME_MAX, programs_folder};
use faasflow_tests::process::{Finished, run};
use faasflow_tests::skip::skip;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Two ways between which a switch chooses, the longer one by default; then a join.
const WORKFLOW: &str = "
functions:
- { name: first, source: a, runtime: 0.3, output: { data: { type: pass, size: 200000 } }, next: { type: pass, nodes: [choose] } }
- name: choose
  source: VIRTUAL
  next: { type: switch, nodes: [long, short], conditions: [first.data > 2, default] }
- { name: long, source: b, runtime: 0.4, input: { data: { type: normal, size: 200000, value: { function: first, parameter: data } } } }
- { name: short, source: c, runtime: 0.1 }
";

fn bench(folder: &Path) -> Command {
    let mut command = Command::new(programs_folder().join("faasflow-bench"));
    command.arg("partition").env("TMPDIR", folder);
    command
}

fn workflow(folder: &Path) -> PathBuf {
    let path = folder.join("two-ways.yaml");
    std::fs::write(&path, WORKFLOW).expect("the folder is new");
    path
}

fn report(finished: &Finished) -> Value {
    let text = String::from_utf8_lossy(&finished.stdout);
    serde_json::from_slice(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", finished.stderr))
}

#[test]
fn a_check_predicts_and_measures_each_placement_of_a_file() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut command = bench(folder.path());
    command.args([
        "--check",
        "--files-only",
        "--rounds",
        "2",
        "--json",
        "--file",
    ]);
    let finished = run(command.arg(workflow(folder.path())), PROGRAM_TIME_MAX);
    // How near a prediction comes is for a machine that has nothing else to do.
    assert!(matches!(finished.code, Some(0 | 1)), "{}", finished.stderr);
    let report = report(&finished);
    assert_eq!(report["bench"], "partition-check");
    assert_eq!(report["skipped"], Value::Array(Vec::new()));
    let rows = report["rows"].as_array().expect("rows");
    assert!(rows.len() >= 2, "{report}");
    for row in rows {
        let figure = |name: &str| {
            row[name]
                .as_f64()
                .unwrap_or_else(|| panic!("{name}: {row}"))
        };
        let (predicted, measured) = (figure("predicted_ms"), figure("measured_ms"));
        // Both run `first` and one of two ways: not both of them, and not the mean of both.
        assert!(predicted > 0.0 && measured > 0.0 && figure("replayed_ms") > 0.0);
        let error = (predicted - measured) / measured;
        assert!((figure("error") - error).abs() < 1e-9, "{row}");
        assert!(figure("measured_min_ms") <= measured && measured <= figure("measured_max_ms"));
    }
    let names: Vec<&str> = rows
        .iter()
        .filter_map(|row| row["placement"].as_str())
        .collect();
    let parts: Vec<&str> = names.iter().flat_map(|name| name.split('=')).collect();
    for name in ["hash", "published", "default", "one", "alternate"] {
        assert_eq!(
            parts.iter().filter(|part| **part == name).count(),
            1,
            "{names:?}"
        );
    }
    assert!(
        report["link"]["bytes_per_s"]
            .as_f64()
            .is_some_and(|rate| rate > 0.0)
    );
}

#[test]
fn a_slow_link_is_run_over_or_skipped_by_name() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut command = bench(folder.path());
    command.args([
        "--link",
        "--mbit",
        "200",
        "--files-only",
        "--rounds",
        "1",
        "--json",
        "--file",
    ]);
    let finished = run(command.arg(workflow(folder.path())), PROGRAM_TIME_MAX).ok();
    let report = report(&finished);
    let rows = report["rows"].as_array().expect("rows");
    if rows.is_empty() {
        let skipped = &report["skipped"][0];
        assert_eq!(skipped["what"], "runs over a throttled link", "{report}");
        skip(
            "runs over a throttled link",
            skipped["why"].as_str().unwrap_or_default(),
        );
        return;
    }
    let rate = report["link"]["bytes_per_s"].as_f64().expect("a figure");
    assert!(
        rate < 1.5 * 200e6 / 8.0,
        "the link is as slow as it was to be: {rate}"
    );
    assert_eq!(
        report["pairs"].as_array().map(Vec::len),
        Some(1),
        "{report}"
    );
}

#[test]
fn an_interrupted_run_over_a_slow_link_leaves_no_worker_and_no_file() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = workflow(folder.path());
    let mut command = bench(folder.path());
    command
        .args(["--link", "--files-only", "--rounds", "500", "--file"])
        .arg(path);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let give_up = Instant::now() + PROGRAM_TIME_MAX;
    let workers = loop {
        let found = children_of(child.id());
        if found.len() == 2 {
            break found;
        }
        if matches!(child.try_wait(), Ok(Some(_))) {
            skip(
                "an interrupted run over a slow link",
                "no namespace may be made here",
            );
            return;
        }
        assert!(Instant::now() < give_up, "no workers: {found:?}");
        thread::sleep(Duration::from_millis(10));
    };
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("it runs");
    let status = child.wait().expect("it is a child");
    assert_eq!(status.code(), Some(130));
    while workers.iter().any(|worker| runs(*worker)) {
        assert!(Instant::now() < give_up, "workers go on: {workers:?}");
        thread::sleep(Duration::from_millis(10));
    }
    let left = std::fs::read_dir(folder.path()).expect("it is there");
    let left: Vec<_> = left
        .filter_map(Result::ok)
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left, ["two-ways.yaml"]);
}

/// The workers that a process has started, which end with it.
fn children_of(parent: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("there are processes");
    let all = all.filter_map(Result::ok);
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        stat(*pid).is_some_and(|(name, of)| of == parent && name == "faasflow-worker")
    })
    .collect()
}

/// Whether a process is there and no zombie.
fn runs(pid: u32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    text.is_ok_and(|text| {
        text.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with('Z'))
    })
}

/// A process's name and parent.
fn stat(pid: u32) -> Option<(String, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (before, rest) = text.rsplit_once(") ")?;
    let (_, name) = before.split_once('(')?;
    let parent = rest.split(' ').nth(1)?.parse().ok()?;
    Some((name.to_owned(), parent))
}
