//! The program measures floors between real processes, and says what it found in the form that was asked for.

use serde_json::Value;
use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_faasflow-bench"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn floors_are_one_json_object_with_every_figure() {
    let folder = tempfile::tempdir().unwrap();
    let hgrm = folder.path().join("floor.hgrm");
    let output = bench(&[
        "floor",
        "--json",
        "--samples",
        "2000",
        "--hgrm",
        hgrm.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let cpus = report["machine"]["cpus"].as_array().unwrap();
    let mut figures = vec![
        "futex_wake_same_cpu",
        "eventfd_wake_same_cpu",
        "tcp_round_trip_same_cpu",
    ];
    if cpus.len() > 1 {
        assert_eq!(report["samples"], 2000);
        figures.extend([
            "futex_wake_across_cpus",
            "eventfd_wake_across_cpus",
            "tcp_round_trip_across_cpus",
        ]);
    } else {
        assert_eq!(report["skipped"][0]["what"], "slot_transfer");
    }
    figures.extend(["memory_read_64kib", "memory_copy_256mib"]);
    for figure in figures {
        assert!(
            report["figures"][figure]["p50_ns"].as_u64().unwrap() > 0,
            "{figure}"
        );
    }
    assert!(std::fs::read_to_string(hgrm).unwrap().contains("#[Mean"));
}

#[test]
fn a_cpu_that_is_not_there_is_named_with_those_that_are() {
    let output = bench(&["floor", "--cpus", "0,4095"]);
    assert_eq!(output.status.code(), Some(2));
    let message = text(&output.stderr);
    assert!(
        message.contains("4095") && message.contains("may use"),
        "{message}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn the_second_process_of_a_floor_explains_itself_when_run_by_hand() {
    for arguments in [
        &["floor-partner"][..],
        &["floor-partner", "slots", "0", "1"],
    ] {
        let output = bench(arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
        assert!(text(&output.stderr).contains("started by this program alone"));
    }
}

#[test]
fn a_payload_too_small_for_a_stamp_is_refused_before_anything_starts() {
    let output = bench(&["hop", "--payload", "7"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("8 bytes of its stamp"));
}
