//! `faasflow-bench payload`: its rows for every tier, what it judges, and that its server ends with it.

use faasflow_tests::cluster::{PROGRAM_TIME_MAX, programs_folder};
use faasflow_tests::process::{Finished, PROMPTLY, Watched, run};
use faasflow_tests::skip::skip;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const TIERS: [&str; 5] = ["inline", "shared", "peer", "spill", "remote"];

fn bench(arguments: &[&str]) -> Finished {
    let mut command = Command::new(programs_folder().join("faasflow-bench"));
    run(command.arg("payload").args(arguments), PROGRAM_TIME_MAX)
}

fn report(finished: &Finished) -> Value {
    serde_json::from_slice(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", finished.text(), finished.stderr))
}

fn number(value: &Value, key: &str) -> f64 {
    value[key]
        .as_f64()
        .filter(|number| number.is_finite())
        .unwrap_or_else(|| panic!("no number {key}: {value}"))
}

fn parts_of(tier: &str) -> &'static [&'static str] {
    match tier {
        "shared" => &["entry", "read"],
        "inline" | "peer" => &["entry"],
        _ => &["get", "put"],
    }
}

#[test]
fn every_tier_has_a_row_for_each_size_beside_its_floor() {
    let sizes = [64, 300_000];
    let call = ["--json", "--check", "--samples=12", "--bytes=64,300000"];
    let finished = bench(&call);
    let report = report(&finished);
    let rows = report["rows"].as_array().expect("rows");
    let skipped = report["skipped"].as_array().expect("skipped");
    for tier in TIERS {
        for bytes in sizes {
            let of_it = |row: &&Value| row["tier"] == tier && row["bytes"] == bytes;
            let Some(row) = rows.iter().find(of_it) else {
                let what = format!("{tier}, {bytes} bytes");
                let why = skipped.iter().find(|skipped| skipped["what"] == *what);
                let why = why.unwrap_or_else(|| panic!("neither row nor reason: {what}"));
                assert!(["spill", "remote"].contains(&tier), "{why}");
                skip(&what, why["why"].as_str().unwrap_or_default());
                continue;
            };
            assert!(number(row, "samples") >= 12.0, "{row}");
            assert!(number(row, "p50_ns") > 0.0 && number(row, "p99_ns") >= number(row, "p50_ns"));
            let ratio = number(row, "p50_ns") / number(row, "floor_ns");
            assert!(
                (number(row, "ratio") - ratio).abs() < 1e-3 * ratio.max(1.0),
                "{row}"
            );
            let bytes_per_s = bytes as f64 * 1e9 / number(row, "p50_ns");
            assert!(
                (number(row, "bytes_per_s") - bytes_per_s).abs() <= 1.0,
                "{row}"
            );
            let parts = row["parts"].as_object().expect("parts");
            let names: Vec<&str> = parts.keys().map(String::as_str).collect();
            assert_eq!(names, parts_of(tier), "{row}");
            for part in parts.values() {
                assert!(
                    number(part, "ratio") > 0.0 && number(part, "floor_ns") > 0.0,
                    "{row}"
                );
                // The part that is compared cold, or with other writers, may take longer than the whole.
                assert!(tier == "shared" || number(part, "p50_ns") <= number(row, "p99_ns"));
            }
        }
    }
    // What is judged, and no more than that: remote at every size, bandwidths from a MiB on.
    let aims = report["aims"].as_array().expect("aims");
    assert!(aims.iter().all(|aim| aim["tier"] == "remote"), "{aims:?}");
    let missed = aims.iter().filter(|aim| aim["held"] == false).count();
    assert_eq!(
        finished.code,
        Some(i32::from(missed > 0)),
        "{}",
        finished.stderr
    );
    let told = finished
        .stderr
        .lines()
        .filter(|line| line.starts_with("missed: "));
    assert_eq!(told.count(), missed, "{}", finished.stderr);
}

#[test]
fn what_a_tier_does_not_take_is_skipped_by_name() {
    let call = ["--json", "--samples=2", "--tier=inline", "--bytes=2097152"];
    let report = report(&bench(&call).ok());
    assert_eq!(report["rows"], Value::Array(Vec::new()));
    assert_eq!(report["skipped"][0]["what"], "inline, 2097152 bytes");
    let folder = std::path::Path::new("/dev/shm");
    if !folder.is_dir() {
        skip("a spill to a folder in memory", "there is no /dev/shm");
        return;
    }
    let call = ["--json", "--tier=spill", "--bytes=64", "--dir=/dev/shm"];
    let report = self::report(&bench(&call).ok());
    let why = report["skipped"][0]["why"].as_str().unwrap_or_default();
    assert!(why.contains("in memory") && why.contains("--dir"), "{why}");
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_starts() {
    bench(&["--tier=disk"]).refused(&["inline, shared, peer, spill, remote"]);
    bench(&["--bytes=63"]).refused(&["from 64"]);
    bench(&["--samples=0"]).refused(&["1..=1000000"]);
    bench(&["--wait=never"]).refused(&["spin, adaptive, park"]);
    bench(&["--redis=s3://bucket"]).refused(&["redis://"]);
    bench(&["--tier=spill", "--bytes=64", "--dir=/no/such/folder"]).refused(&["--dir"]);
    bench(&["--hgrm=no/such/file"]).refused(&["no/such/file"]);
}

#[test]
fn a_server_that_does_not_answer_fails_by_name() {
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let url = format!("--redis=redis://{}", port.expect("loopback has ports"));
    let finished = bench(&["--tier=remote", "--bytes=64", &url]);
    finished.failed_with(1, &["redis://127.0.0.1", "see whether the server runs"]);
}

#[test]
fn a_server_of_its_own_ends_with_it_however_it_ends() {
    let mut command = Command::new(programs_folder().join("faasflow-bench"));
    command.args([
        "payload",
        "--tier=remote",
        "--bytes=64",
        "--samples=1000000",
    ]);
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the program starts");
    let give_up = Instant::now() + PROGRAM_TIME_MAX;
    let server = loop {
        let server = child_of(child.id()).and_then(|server| Watched::new(server).ok());
        if let Some(server) = server {
            break server;
        }
        if matches!(child.try_wait(), Ok(Some(_))) {
            skip(
                "a Redis server of one's own",
                "redis-server is not installed",
            );
            return;
        }
        assert!(Instant::now() < give_up, "no server");
        thread::sleep(Duration::from_millis(5));
    };
    kill(Pid::from_raw(child.id() as i32), Signal::SIGKILL).expect("it runs");
    child.wait().expect("it is a child");
    assert!(server.ends_within(PROMPTLY), "the server goes on");
}

/// The Redis server that a process has started.
fn child_of(parent: u32) -> Option<u32> {
    let all = std::fs::read_dir("/proc").expect("there are processes");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_server = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((before, rest)) = stat.rsplit_once(") ") else {
            return false;
        };
        before.ends_with("(redis-server") && rest.split(' ').nth(1) == Some(&parent.to_string())
    };
    pids.into_iter().find(is_server)
}
