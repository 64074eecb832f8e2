//! `faasflow-bench movement`: what it counts of a workflow whose sizes are known, and what it refuses.

use faasflow_tests::cluster::{PROGRAM_TIME_MAX, programs_folder};
use faasflow_tests::process::{Finished, run};
use faasflow_tests::skip::skip;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of the payloads of [`WORKFLOW`]: of one that two functions read, of what each of these makes, and of what it gives.
const FIRST: u64 = 300_000;
const SECOND: u64 = 200_000;
const RESULT: u64 = 50_000;
/// What one process moves: every edge, and what it gives.
const ONE_PROCESS: u64 = 2 * FIRST + 2 * SECOND + RESULT;

/// One function, two that read from it, and one that reads from both.
const WORKFLOW: &str = "
functions:
- { name: first, source: a, runtime: 0.3, output: { data: { type: pass, size: 300000 } }, next: { type: parallel, nodes: [left, right] } }
- { name: left, source: b, runtime: 0.4, input: { data: { type: normal, size: 300000, value: { function: first, parameter: data } } }, output: { l: { type: pass, size: 200000 } }, next: { type: pass, nodes: [last] } }
- { name: right, source: c, runtime: 0.1, input: { data: { type: normal, size: 300000, value: { function: first, parameter: data } } }, output: { r: { type: pass, size: 200000 } }, next: { type: pass, nodes: [last] } }
- name: last
  source: d
  runtime: 0.1
  input:
    l: { type: normal, size: 200000, value: { function: left, parameter: l } }
    r: { type: normal, size: 200000, value: { function: right, parameter: r } }
  output: { result: { type: pass, size: 50000 } }
";

fn bench(arguments: &[&str]) -> Finished {
    let mut command = Command::new(programs_folder().join("faasflow-bench"));
    command.arg("movement").env_remove("FAASFLOW_DATA");
    run(command.args(arguments), PROGRAM_TIME_MAX)
}

fn workflow(folder: &Path) -> PathBuf {
    let path = folder.join("diamond.yaml");
    std::fs::write(&path, WORKFLOW).expect("the folder is new");
    path
}

fn report(finished: &Finished) -> Value {
    serde_json::from_slice(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", finished.text(), finished.stderr))
}

fn bytes(row: &Value, key: &str) -> u64 {
    row[key]
        .as_u64()
        .unwrap_or_else(|| panic!("no {key}: {row}"))
}

#[test]
fn what_crosses_is_counted_by_the_kernel_beside_what_one_process_moves() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = workflow(folder.path());
    let path = path.to_str().expect("a temporary folder has a plain name");
    let call = [
        "--json",
        "--files-only",
        "--rounds=1",
        "--workers=1,3",
        "--placement=hash",
        "--file",
        path,
    ];
    let report = report(&bench(&call).ok());
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2, "{report}");
    for row in rows {
        assert_eq!(
            (&row["workflow"], &row["store"]),
            (&"diamond".into(), &"adaptive".into())
        );
        assert_eq!(bytes(row, "one_process_bytes"), ONE_PROCESS, "{row}");
        let tiers = &row["by_tier"];
        let crossing = bytes(tiers, "inline") + bytes(tiers, "peer");
        let within = bytes(tiers, "shared");
        assert_eq!(crossing + within + RESULT, ONE_PROCESS, "{row}");
        assert_eq!(bytes(row, "output_bytes"), RESULT, "{row}");
        // A payload goes once to each worker, however many read it there.
        let least = crossing.saturating_sub(FIRST);
        assert!(bytes(row, "product_bytes") >= least, "{row}");
        assert!(bytes(row, "network_bytes") >= least, "{row}");
        let ratio = bytes(row, "network_bytes") as f64 / bytes(row, "one_process_bytes") as f64;
        assert!((row["ratio"].as_f64().expect("a ratio") - ratio).abs() < 1e-4);
        if row["network"] == "loopback" {
            skip(
                "bytes by an interface for each worker",
                report["skipped"][0]["why"].as_str().unwrap_or_default(),
            );
            continue;
        }
        // On one worker nothing crosses, though the client gets what it gives; headers, acknowledgements and heartbeats are
        // little beside payloads of this size.
        let alone = row["workers_used"] == 1;
        assert_eq!(crossing == 0, alone, "{row}");
        let most = if alone { 0 } else { crossing + RESULT };
        assert!(
            bytes(row, "network_bytes") < most + most / 10 + 20_000,
            "{row}"
        );
    }
    assert_eq!(rows[0]["workers_used"], 1, "{report}");
    assert_eq!(
        report["totals"].as_array().map(Vec::len),
        Some(2),
        "{report}"
    );
    assert_eq!(
        report["totals"][1]["network_bytes"],
        rows[1]["network_bytes"]
    );
}

#[test]
fn sizes_are_scaled_and_loopback_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = workflow(folder.path());
    let path = path.to_str().expect("a temporary folder has a plain name");
    let call = [
        "--json",
        "--files-only",
        "--loopback",
        "--scale=0.01",
        "--rounds=1",
        "--workers=2",
        "--placement=default,hash",
        "--file",
        path,
    ];
    let report = report(&bench(&call).ok());
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2, "{report}");
    for row in rows {
        assert_eq!(
            (&row["network"], &row["scale"]),
            (&"loopback".into(), &0.01.into())
        );
        assert_eq!(bytes(row, "one_process_bytes"), ONE_PROCESS / 100);
    }
    assert_eq!(report["skipped"], Value::Array(Vec::new()));
}

#[test]
fn without_data_there_are_no_rows_and_the_reason_is_told() {
    let report = report(&bench(&["--json"]).ok());
    assert_eq!(report["bench"], "movement");
    assert_eq!(report["rows"], Value::Array(Vec::new()));
    assert_eq!(report["skipped"][0]["what"], "imports of shared data");
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let own = folder.path().join("own.yaml");
    std::fs::write(&own, "{ workflow: w, nodes: { a: { function: e:f } } }").expect("it is new");
    let own = own.to_str().expect("a temporary folder has a plain name");
    bench(&["--file", own]).refused(&["own.yaml", "no recorded sizes"]);
    bench(&["--file", "/no/such/file"]).refused(&["/no/such/file"]);
    bench(&["--workers=0"]).refused(&["from 1 to 100"]);
    bench(&["--scale=2"]).refused(&["from 0.000001 to 1"]);
    bench(&["--placement=best"]).refused(&["hash, published, heft, default"]);
    bench(&["--rounds=0"]).refused(&["1..=1000"]);
    bench(&["--files-only"]).refused(&["--file"]);
}
