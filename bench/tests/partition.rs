//! The program places graphs and files, holds the default partitioner to what is promised of it, and gives the same again.

use serde_json::{Map, Value};
use std::path::Path;
use std::process::{Command, Output};

/// A short form: every family, alike and unlike workers, with a search that ends by steps.
const SHORT: [&str; 9] = [
    "--nodes",
    "12,60",
    "--workers",
    "2,5",
    "--ccr",
    "0.5,4",
    "--steps",
    "300",
    "--no-speed",
];

fn partition(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_faasflow-bench"))
        .arg("partition")
        .args(arguments)
        .env_remove("FAASFLOW_DATA")
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The report, whose exit code says whether what must hold does.
fn json(arguments: &[&str]) -> Map<String, Value> {
    let output = partition(&[arguments, &["--json"]].concat());
    let report: Map<String, Value> =
        serde_json::from_slice(&output.stdout).expect("one JSON object");
    let failed = [
        "worse_than_published",
        "far_from_optimum",
        "limits_broken",
        "scores_differ",
    ];
    let holds = failed
        .iter()
        .all(|list| report["summary"][list].as_array().expect(list).is_empty());
    let code = i32::from(!holds);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{}: {}",
        report["summary"],
        text(&output.stderr)
    );
    report
}

fn rows(report: &Map<String, Value>) -> &[Value] {
    report["rows"].as_array().expect("rows")
}

/// A row without what a clock, or the program's allocator, says.
fn lasting(row: &Value) -> Value {
    let mut row = row.clone();
    let fields = row.as_object_mut().expect("a row");
    for name in ["first_ms", "time_ms", "peak_bytes"] {
        assert!(fields.remove(name).is_some(), "{name}");
    }
    row
}

#[test]
fn the_default_is_never_worse_than_published_and_keeps_all_limits() {
    let report = json(&SHORT);
    let rows = rows(&report);
    assert!(rows.len() > 100, "{}", rows.len());
    assert_eq!(rows.len() % 4, 0);
    for case in rows.chunks(4) {
        let names: Vec<&str> = case
            .iter()
            .map(|row| row["partitioner"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["hash", "published", "heft", "default"]);
        let makespan = |at: usize| case[at]["makespan_ns"].as_f64().unwrap();
        assert!(makespan(3) <= makespan(1) * (1.0 + 1e-9), "{:?}", case[3]);
        for row in case {
            assert_eq!(row["limits_kept"], true, "{row:?}");
            assert_eq!(row["fits_one_worker"], false, "{row:?}");
            let ratio = row["makespan_ratio"].as_f64().unwrap();
            assert!(ratio >= 1.0 - 1e-9, "no placement beats the bound: {row:?}");
            if let Some(ratio) = row["optimum_ratio"].as_f64() {
                assert!(ratio >= 1.0 - 1e-9, "nor the best placement: {row:?}");
            }
            assert!(row["peak_bytes"].as_u64().unwrap() > 0, "{row:?}");
        }
    }
    let keys = "graph nodes edges workers ccr partitioner makespan_ratio optimum_ratio crossing_bytes first_ms time_ms \
                peak_bytes family seed heterogeneous steps makespan_ns lower_bound_ns";
    for key in keys.split_whitespace() {
        assert!(rows[0].get(key).is_some(), "{key}");
    }
    let searched = rows.iter().filter(|row| !row["optimum_ratio"].is_null());
    assert!(searched.count() > 0, "small graphs have a best placement");
    let unlike = rows
        .iter()
        .filter(|row| row["heterogeneous"] == true)
        .count();
    assert!(unlike > 0 && unlike < rows.len());
    assert_eq!(
        report["summary"]["worse_than_published"],
        Value::Array(Vec::new())
    );
    assert_eq!(report["skipped"][0]["what"], "imports of shared data");
}

#[test]
fn the_same_seed_and_steps_give_the_same_rows_and_another_seed_others() {
    let short = &SHORT[..];
    let lasting_rows =
        |arguments: &[&str]| -> Vec<Value> { rows(&json(arguments)).iter().map(lasting).collect() };
    let first = lasting_rows(short);
    assert_eq!(first, lasting_rows(short));
    assert_ne!(first, lasting_rows(&[short, &["--seed", "9"]].concat()));
}

#[test]
fn flags_without_effect_are_refused() {
    let refused = |arguments: &[&str], word: &str| {
        let output = partition(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    };
    for flag in [&["--mbit", "3"][..], &["--delay-ms", "3"]] {
        refused(flag, "--link");
        refused(&[&["--check"], flag].concat(), "--check");
        refused(&[&["--workers", "2"], flag].concat(), "--workers");
    }
    for flag in [&["--busy"][..], &["--rounds", "9"], &["--functions", "."]] {
        refused(flag, "--check");
        refused(&[&["--workers", "2"], flag].concat(), "--workers");
    }
    for flag in [
        &["--workers", "2"][..],
        &["--ccr", "1"],
        &["--nodes", "10"],
        &["--graphs", "2"],
        &["--speed-nodes", "50"],
        &["--no-speed"],
    ] {
        refused(&[&["--check"], flag].concat(), flag[0]);
        refused(&[&["--link"], flag].concat(), flag[0]);
    }
    for flag in [&["--ccr", "1"][..], &["--nodes", "10"], &["--data", "."]] {
        refused(&[&["--files-only", "--file", "x"], flag].concat(), flag[0]);
    }
    refused(&["--check", "--link"], "--link");
    refused(&["--no-speed", "--speed-nodes", "50"], "--no-speed");
}

#[test]
fn a_file_is_placed_by_its_content_or_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let own = write(
        "pair.yaml",
        "{ workflow: w, nodes: { a: { function: e:f }, b: { function: g:f, after: a } } }",
    );
    let report = json(&[
        "--file",
        &own,
        "--files-only",
        "--no-speed",
        "--workers",
        "2",
    ]);
    assert_eq!(rows(&report).len(), 4);
    let row = &rows(&report)[0];
    assert_eq!(
        (&row["graph"], &row["family"]),
        (&"pair".into(), &"own".into())
    );
    assert_eq!((&row["nodes"], &row["edges"]), (&2.into(), &1.into()));
    assert_eq!(report["skipped"], Value::Array(Vec::new()));

    let broken = write("broken.yaml", "workflow: w\nnodes: {}\n");
    let output = partition(&["--file", &broken, "--files-only"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let name = Path::new(&broken).file_name().unwrap().to_str().unwrap();
    assert!(
        text(&output.stderr).contains(name),
        "{}",
        text(&output.stderr)
    );
    let output = partition(&["--file", "/no/such/file"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());
}

#[test]
fn the_speed_table_has_a_line_for_each_size_and_number_of_workers() {
    let small = [
        "--nodes",
        "6",
        "--workers",
        "2",
        "--ccr",
        "1",
        "--steps",
        "20",
    ];
    let report = json(&[&small[..], &["--speed-nodes", "50,200"]].concat());
    let speed = report["speed"].as_array().unwrap();
    let sizes: Vec<(u64, u64)> = speed
        .iter()
        .map(|line| {
            (
                line["nodes"].as_u64().unwrap(),
                line["workers"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(sizes, [(50, 8), (200, 8), (50, 32), (200, 32)]);
    for line in speed {
        assert!(
            line["first_over_heft"].as_f64().unwrap() <= 1.0 + 1e-9,
            "{line:?}"
        );
        assert!(
            line["last_over_first"].as_f64().unwrap() <= 1.0 + 1e-9,
            "{line:?}"
        );
        assert!(line["peak_bytes"].as_u64().unwrap() > 0, "{line:?}");
    }
}
