//! The contract of `faasflow-bench` with those who read its reports: keys, one object on standard output, exit codes.

use faasflow_tests::cluster::{PROGRAM_TIME_MAX, programs_folder};
use faasflow_tests::process::{Finished, run};
use serde_json::Value;
use std::process::Command;

/// What every report has.
const KEYS: [&str; 13] = [
    "bench",
    "params",
    "samples",
    "p50_ns",
    "p90_ns",
    "p99_ns",
    "p999_ns",
    "max_ns",
    "floor_ns",
    "floor_p99_ns",
    "quiet",
    "ratio",
    "cold_ns",
];

fn bench(arguments: &[&str]) -> Finished {
    let mut command = Command::new(programs_folder().join("faasflow-bench"));
    run(command.args(arguments), PROGRAM_TIME_MAX)
}

#[test]
fn every_report_is_one_object_with_the_keys_that_are_promised() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let text = folder.path().join("text");
    std::fs::write(&text, "one word and another word").expect("the folder is new");
    let text = text.to_str().expect("a temporary folder has a plain name");
    let park = ["--wait=park", "--nodes=11", "--samples=100"];
    let calls = [
        vec!["floor", "--samples=1000"],
        [&["hop"], &park[..]].concat(),
        [&["hop", "--payload=65536"], &park[..]].concat(),
        [&["chain"], &park[..]].concat(),
        [&["switch"], &park[..]].concat(),
        vec!["foreach", "--wait=park", "--items=50", "--rounds=2"],
        vec!["wordcount", "--rounds=1", "--file", text],
        vec!["replicas", "--samples=40", "--takes-us=100"],
        vec!["payload", "--tier=shared", "--bytes=64", "--samples=20"],
    ];
    for call in calls {
        let finished = bench(&[&call[..], &["--json"]].concat()).ok();
        let report: Value = serde_json::from_slice(&finished.stdout).expect("one JSON object");
        assert_eq!(report["bench"], call[0]);
        for key in KEYS.iter().chain(&["machine"]) {
            assert!(report.get(key).is_some(), "{call:?}: no key {key}");
        }
        if call.contains(&"--payload=65536") {
            for key in ["payload_ratio", "payload_ratio_plain", "read_ratio"] {
                assert!(report[key].is_number(), "{call:?}: no figure {key}");
            }
        }
    }
}

#[test]
fn a_report_of_switch_holds_it_against_the_hops_of_the_same_run() {
    let call = [
        "switch",
        "--wait=park",
        "--nodes=21",
        "--samples=200",
        "--json",
    ];
    let report: Value = serde_json::from_slice(&bench(&call).ok().stdout).expect("JSON");
    // 20 hops in each of 10 invocations, by turns.
    assert_eq!(
        (&report["samples"], &report["hop"]["samples"]),
        (&100.into(), &100.into())
    );
    assert!(
        report["switch_ns"].is_u64() && report["switch_over_hop"].is_number(),
        "{report}"
    );
    assert_eq!(report["proof"]["triggers_equal"], true, "{report}");
}

#[test]
fn a_report_of_foreach_says_its_rates_and_that_nothing_was_lost_or_kept() {
    for returns in ["--returns=item", "--returns=nothing"] {
        let call = ["foreach", "--items=300", "--rounds=3", "--json", returns];
        let report: Value = serde_json::from_slice(&bench(&call).ok().stdout).expect("JSON");
        for party in ["", "_worker", "_executor", "_lane"] {
            let rate = report[format!("items_per_s{party}")].as_f64();
            assert!(rate.is_some_and(|rate| rate > 0.0), "{party}: {report}");
        }
        let proof = &report["proof"];
        assert_eq!(proof["activations_equal"], true, "{proof}");
        assert_eq!(proof["activations_expected"], 3 * (300 + 2));
        assert_eq!(
            (&proof["leases"], &proof["lease_bytes"]),
            (&0.into(), &0.into())
        );
        for when in ["fresh", "warm", "ended"] {
            for process in ["worker", "executor"] {
                let memory = &report["memory"][when][process];
                let bytes = |name: &str| memory[name].as_u64().unwrap_or(0);
                assert!(bytes("resident_bytes") > 0, "{when} {process}: {memory}");
                assert!(bytes("peak_bytes") >= bytes("resident_bytes"), "{memory}");
            }
        }
    }
}

#[test]
fn a_report_of_replicas_holds_one_placement_against_two() {
    let call = ["replicas", "--samples=80", "--takes-us=200", "--json"];
    let report: Value = serde_json::from_slice(&bench(&call).ok().stdout).expect("JSON");
    for way in ["one", "in_turn", "by_load"] {
        let figure = &report[way];
        assert_eq!(figure["samples"], 80, "{way}: {figure}");
        for key in ["throughput_per_s", "p99_ns"] {
            assert!(figure[key].as_f64() > Some(0.0), "{way}: {figure}");
        }
    }
    assert!(report["throughput_ratio"].is_number(), "{report}");
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_starts() {
    bench(&["hop", "--wait=never"]).refused(&["spin, adaptive, park"]);
    bench(&["chain", "--nodes=1"]).refused(&["2..=100000"]);
    bench(&["switch", "--nodes=2"]).refused(&["3..=50000"]);
    bench(&["foreach", "--items=0"]).refused(&["1..=10000000"]);
    bench(&["foreach", "--returns=all"]).refused(&["item, nothing"]);
    bench(&["wordcount", "--file=no/such/file"]).refused(&["no/such/file"]);
    bench(&["replicas", "--concurrency=0"]).refused(&["1..=10000"]);
    bench(&["hop", "--hgrm=no/such/file"]).refused(&["no/such/file"]);
    bench(&["hop", "--payload=999999999999"]).refused(&["this host has"]);
}

#[test]
fn a_distribution_is_lost_neither_to_a_wrong_call_nor_with_it_the_report() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("earlier.hgrm");
    std::fs::write(
        &path,
        "a longer text than any of the lines behind it ".repeat(1000),
    )
    .expect("the folder is new");
    let hgrm = format!("--hgrm={}", path.display());
    let kept = std::fs::read(&path).expect("it was written");
    bench(&["hop", "--payload=999999999999", &hgrm]).refused(&["this host has"]);
    assert!(std::fs::read(&path).expect("it was written") == kept);
    let _ = bench(&["floor", "--samples=1000", &hgrm]).ok();
    let text = std::fs::read_to_string(&path).expect("it was written");
    assert!(!text.contains("a longer text"), "{text}");
    assert!(
        text.contains("Percentile") && text.ends_with("]\n"),
        "{text}"
    );

    let no_room = bench(&["floor", "--samples=1000", "--hgrm=/dev/full"]);
    no_room.failed_with(1, &["/dev/full"]);
    assert!(no_room.text().starts_with("floor"), "{}", no_room.text());
}
