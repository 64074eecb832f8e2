//! Workers that need not be there: how the command line describes them, and what it says of those that cannot be.

use super::{ECHO, Folder, faasflow, refused};

#[test]
fn workers_that_are_described_are_such_as_can_be_started() {
    let folder = Folder::new();
    let file = folder.file("echo.yaml", ECHO);
    refused(&["plan", &file], &["--workers", "--cluster"]);
    refused(
        &["plan", &file, "--workers", "nowhere.invalid:1"],
        &["HOST:PORT", "NAME:CPUS:MEMORY", "a:4:8GiB"],
    );
    for (worker, words) in [
        ("a:99999:1TiB", "no number of CPUs from 1 to 4096"),
        ("a:4:65TiB", "no memory from 1MiB to 64TiB"),
        ("a:4:1KiB", "no memory from 1MiB to 64TiB"),
        ("a/b:4:8GiB", "a worker's name has 1 to 64 letters"),
        ("a b:4:8GiB", "a worker's name has 1 to 64 letters"),
        ("ü:4:8GiB", "a worker's name has 1 to 64 letters"),
    ] {
        refused(&["plan", &file, "--workers", worker], &[words]);
    }
    for option in ["--steps", "--budget-ms"] {
        for (number, words) in [
            ("0", "a whole number, at least 1"),
            ("x", "a whole number, at least 1"),
            ("99999999999999999999", "it is too large"),
        ] {
            refused(
                &["plan", &file, "--workers", "a:4:8GiB", option, number],
                &[words],
            );
        }
    }
}

#[test]
fn a_cluster_file_that_knows_none_of_the_workers_is_said_to() {
    let folder = Folder::new();
    let file = folder.file("echo.yaml", ECHO);
    let cluster = folder.file(
        "rack.yaml",
        "workers: { big: { cpus: 4, memory_mib: 8192 } }",
    );
    let warned = |worker: &str| {
        let output = faasflow(&["plan", &file, "--workers", worker, "--cluster", &cluster]);
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(warned("big:4:8GiB"), "");
    assert_eq!(
        warned("a:4:8GiB"),
        format!("faasflow: {cluster} says nothing of worker a; only its `link` counts\n")
    );
}
