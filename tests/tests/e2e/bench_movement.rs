//! `faasflow-bench movement`: what it counts of a workflow whose sizes are known, and what it refuses.

use faasflow_tests::cluster::{PROGRAM_TIME_MAX, programs_folder};
use faasflow_tests::process::{Finished, run};
use faasflow_tests::redis::Server;
use faasflow_tests::skip::skip;
use serde_json::Value;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of the payloads of [`WORKFLOW`]: of one that two functions read, of what each of these makes, and of what it gives.
const FIRST: u64 = 300_000;
const SECOND: u64 = 200_000;
const RESULT: u64 = 50_000;
/// All edges: each reader of a payload has one.
const EDGES: u64 = 2 * FIRST + 2 * SECOND;
/// What one process moves: every edge, and what it gives.
const ONE_PROCESS: u64 = EDGES + RESULT;
/// What goes to and from a remote store: each payload once as it is made, and once to each of its readers.
const REMOTE: u64 = FIRST + 2 * SECOND + RESULT + EDGES;

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

fn movement(arguments: &[&str]) -> Command {
    let mut command = Command::new(programs_folder().join("faasflow-bench"));
    command.arg("movement").env_remove("FAASFLOW_DATA");
    command.args(arguments);
    command
}

fn bench(arguments: &[&str]) -> Finished {
    run(&mut movement(arguments), PROGRAM_TIME_MAX)
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

fn rows(report: &Value) -> &[Value] {
    report["rows"].as_array().expect("rows")
}

/// Those of a store.
fn of_store<'r>(report: &'r Value, store: &str) -> Vec<&'r Value> {
    rows(report)
        .iter()
        .filter(|row| row["store"] == store)
        .collect()
}

/// Why there are no rows of the remote store, which can only be that there is no server.
fn no_server(report: &Value) -> Option<&str> {
    let skipped = report["skipped"].as_array().expect("skipped");
    let is_it = |skipped: &&Value| {
        let what = skipped["what"].as_str().unwrap_or_default();
        what.starts_with("remote-only on ")
    };
    let why = skipped.iter().find(is_it)?["why"].as_str()?;
    assert!(
        why.contains("redis-server") && why.contains("--redis"),
        "{why}"
    );
    Some(why)
}

/// Whether a row's bytes are those of its workers alone; on loopback, all else of this host is in it.
fn counts_alone(row: &Value) -> bool {
    row["network"] == "namespaces"
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
    let adaptive = of_store(&report, "adaptive");
    assert_eq!(adaptive.len(), 2, "{report}");
    if !counts_alone(adaptive[0]) {
        skip(
            "bytes by an interface for each worker",
            report["skipped"][0]["why"].as_str().unwrap_or_default(),
        );
    }
    for row in rows(&report) {
        assert_eq!(row["workflow"], "diamond", "{row}");
        assert_eq!(bytes(row, "one_process_bytes"), ONE_PROCESS, "{row}");
        assert_eq!(bytes(row, "output_bytes"), RESULT, "{row}");
        let ratio = bytes(row, "network_bytes") as f64 / bytes(row, "one_process_bytes") as f64;
        assert!((row["ratio"].as_f64().expect("a ratio") - ratio).abs() < 1e-4);
    }
    for row in &adaptive {
        an_adaptive_row_moves_what_has_to_cross(row);
    }
    assert_eq!(adaptive[0]["workers_used"], 1, "{report}");
    let remote = of_store(&report, "remote-only");
    if let Some(why) = no_server(&report) {
        assert!(remote.is_empty(), "{report}");
        skip("the remote store", why);
        return;
    }
    assert_eq!(remote.len(), 2, "{report}");
    for (adaptive, remote) in adaptive.into_iter().zip(remote) {
        a_remote_row_moves_each_payload_once_in_and_once_out_for_each_reader(remote);
        what_is_saved_is_of_the_same_placement(adaptive, remote, &report);
    }
}

fn an_adaptive_row_moves_what_has_to_cross(row: &Value) {
    let tiers = &row["by_tier"];
    let crossing = bytes(tiers, "inline") + bytes(tiers, "peer");
    let within = bytes(tiers, "shared");
    assert_eq!(crossing + within, EDGES, "{row}");
    assert_eq!(bytes(row, "store_bytes"), 0, "{row}");
    // A payload goes once to each worker, however many read it there.
    let least = crossing.saturating_sub(FIRST);
    assert!(bytes(row, "product_bytes") >= least, "{row}");
    assert!(bytes(row, "network_bytes") >= least, "{row}");
    if !counts_alone(row) {
        return;
    }
    // On one worker nothing crosses, though the client gets what it gives; headers, acknowledgements and heartbeats are little
    // beside payloads of this size.
    let alone = row["workers_used"] == 1;
    assert_eq!(crossing == 0, alone, "{row}");
    let most = if alone { 0 } else { crossing + RESULT };
    let most = most + most / 10 + 20_000;
    assert!(bytes(row, "network_bytes") < most, "{row}");
}

fn a_remote_row_moves_each_payload_once_in_and_once_out_for_each_reader(row: &Value) {
    let network_bytes = bytes(row, "network_bytes");
    assert!(network_bytes >= REMOTE, "{row}");
    // Headers, acknowledgements, commands and keys.
    let most = REMOTE + REMOTE / 20 + 20_000;
    assert!(!counts_alone(row) || network_bytes < most, "{row}");
    // The server counts both ways, and has no headers.
    let store_bytes = bytes(row, "store_bytes");
    let counted = REMOTE..REMOTE + REMOTE / 100;
    assert!(counted.contains(&store_bytes), "{row}");
    // Workers pass on no more than keys.
    let tiers = &row["by_tier"];
    let keys = bytes(tiers, "inline") + bytes(tiers, "peer") + bytes(tiers, "shared");
    assert!((1..1000).contains(&keys), "{row}");
    assert!(bytes(row, "product_bytes") < 20_000, "{row}");
}

fn what_is_saved_is_of_the_same_placement(adaptive: &Value, remote: &Value, report: &Value) {
    for key in ["workers", "workers_used", "placement", "scale", "nodes"] {
        assert_eq!(adaptive[key], remote[key], "{key}");
    }
    let of = |row| bytes(row, "network_bytes") as f64;
    let saved = 1.0 - of(adaptive) / of(remote);
    let told = |row: &Value| row["saved"].as_f64().expect("it is told");
    assert!((told(adaptive) - saved).abs() < 1e-4, "{adaptive}");
    assert!(!counts_alone(adaptive) || saved > 0.3, "{adaptive}");
    assert_eq!(remote["saved"], Value::Null, "{remote}");
    // Of one workflow the total is the row.
    let totals = report["totals"].as_array().expect("totals");
    for row in [adaptive, remote] {
        let is_it = |total: &&Value| {
            let same = |key: &str| total[key] == row[key];
            same("workers") && same("placement") && same("store")
        };
        let total = totals.iter().find(is_it).expect("a total for each store");
        for key in ["network_bytes", "store_bytes", "ratio", "saved"] {
            assert_eq!(total[key], row[key], "{key}: {total}");
        }
        assert_eq!(total["workflows"], 1, "{total}");
    }
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
    let stores = if no_server(&report).is_some() { 1 } else { 2 };
    assert_eq!(rows(&report).len(), 2 * stores, "{report}");
    for row in rows(&report) {
        assert_eq!(
            (&row["network"], &row["scale"]),
            (&"loopback".into(), &0.01.into())
        );
        assert_eq!(bytes(row, "one_process_bytes"), ONE_PROCESS / 100);
        let least = match row["store"].as_str() {
            Some("remote-only") => REMOTE / 100,
            _ => 0,
        };
        assert!(bytes(row, "network_bytes") >= least, "{row}");
    }
    let skipped = report["skipped"].as_array().map(Vec::len);
    assert_eq!(skipped, Some(2 - stores), "{report}");
}

#[test]
fn a_server_that_is_named_is_used_wherever_workers_are_and_keeps_what_is_not_ours() {
    let Some(server) = Server::start("movement through a named server") else {
        return;
    };
    let kept = server.ask("SET somebody else");
    assert_eq!(kept.as_deref(), Some("+OK"));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = workflow(folder.path());
    let path = path.to_str().expect("a temporary folder has a plain name");
    let redis = format!("--redis={}", server.url());
    let call = [
        "--json",
        "--files-only",
        "--rounds=1",
        "--workers=2",
        "--placement=hash",
        "--file",
        path,
        &redis,
    ];
    for network in [&[][..], &["--loopback"]] {
        let report = report(&bench(&[&call[..], network].concat()).ok());
        let remote = of_store(&report, "remote-only");
        assert_eq!(remote.len(), 1, "{report}");
        a_remote_row_moves_each_payload_once_in_and_once_out_for_each_reader(remote[0]);
        assert_eq!(server.ask("DBSIZE").as_deref(), Some(":1"), "{report}");
    }
    assert_eq!(server.ask("GET somebody").as_deref(), Some("$4"));
}

#[test]
fn without_a_server_the_adaptive_store_is_measured_alone_and_the_reason_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = workflow(folder.path());
    // Nothing else of what the program needs is looked for there.
    let tools = folder.path().join("tools");
    std::fs::create_dir(&tools).expect("the folder is new");
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let ip = std::env::split_paths(&paths).map(|folder| folder.join("ip"));
    if let Some(ip) = ip.into_iter().find(|ip| ip.is_file()) {
        symlink(ip, tools.join("ip")).expect("the folder is new");
    }
    let call = [
        "--files-only",
        "--rounds=1",
        "--workers=2",
        "--placement=hash",
        "--file",
        path.to_str().expect("a temporary folder has a plain name"),
    ];
    let mut command = movement(&call);
    let finished = run(command.env("PATH", &tools), PROGRAM_TIME_MAX).ok();
    let table = finished.text();
    assert!(
        table.contains("remote-only on 2 workers")
            && table.contains("redis-server is in no folder"),
        "{table}"
    );
    let mut command = movement(&[&["--json"], &call[..]].concat());
    let report = report(&run(command.env("PATH", &tools), PROGRAM_TIME_MAX).ok());
    assert!(no_server(&report).is_some(), "{report}");
    assert_eq!(rows(&report).len(), 1, "{report}");
    assert_eq!(rows(&report)[0]["saved"], Value::Null, "{report}");
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
    bench(&["--data=/no/such/folder"]).refused(&["/no/such/folder/faasflow"]);
    bench(&["--redis=s3://bucket"]).refused(&["redis://"]);
    bench(&["--redis=redis://198.18.0.77", "--loopback"]).refused(&["loopback", "--redis"]);
}

#[test]
fn a_server_that_does_not_answer_fails_by_name() {
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let url = format!("--redis=redis://{}", port.expect("loopback has ports"));
    bench(&[&url]).failed_with(1, &["redis://127.0.0.1", "see whether the server runs"]);
}
