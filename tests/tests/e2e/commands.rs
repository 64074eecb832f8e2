//! Commands: any program is a node, with nothing to configure.

use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::pattern;
use faasflow_tests::process::until;
use master::client::Payload;

const UNIQUE: &str = r#"
workflow: unique
input:
  text: bytes
  known: { kind: bytes, default: "" }
nodes:
  sort: { command: ["sort", "-u"], input: { text: input.text }, output: { lines: bytes } }
  fresh:
    command: ["comm", "-23", "-", "{input.known}"]
    input: { stdin: sort.lines, known: input.known }
    output: { lines: list }
  shout:
    command: ["tr", "a-z", "A-Z"]
    foreach: fresh.lines
    input: { line: item }
    output: { loud: bytes }
  count: { command: ["wc", "-l"], input: { lines: shout.loud }, output: { number: value } }
output: { lines: shout.loud, number: count.number }
"#;

/// A cluster whose functions folder is empty.
fn cluster(workers: &[&str]) -> Cluster {
    let cluster = Setup::workers(workers).start();
    let entries = std::fs::read_dir(cluster.functions()).expect("the folder is there");
    for entry in entries.flatten() {
        std::fs::remove_file(entry.path()).expect("it can be removed");
    }
    cluster
}

#[test]
fn programs_make_a_workflow_across_two_workers() {
    let cluster = cluster(&["a", "b"]);
    cluster.deploy(
        UNIQUE,
        &[
            ("sort", "a"),
            ("fresh", "b"),
            ("shout", "a"),
            ("count", "b"),
        ],
    );
    for entry in ["a", "b"] {
        let text = bytes("pear\napple\nfig\npear\n");
        let answered = cluster.invoke(
            entry,
            "unique",
            &[("text", text), ("known", bytes("fig\n"))],
        );
        let answered = answered.expect("the worker answers");
        assert_eq!(output(&answered, "number"), b"2");
        let lines = faasflow_tests::cluster::payload(&answered, "lines");
        let expected = Payload::list(vec![b"APPLE".to_vec(), b"PEAR".to_vec()]);
        assert_eq!(*lines, expected);
    }
}

#[test]
fn a_large_payload_goes_through_a_program_unchanged() {
    let workflow = "
workflow: through
input: { data: bytes }
nodes:
  through:
    command: [cat]
    input: { data: input.data }
    output: { data: bytes }
    resources: { memory_mib: 256 }
output: { data: through.data }
";
    let cluster = cluster(&["a"]);
    cluster.deploy(workflow, &[("through", "a")]);
    for length in [0, 1, 70_000, 20 << 20] {
        let data = pattern::bytes(9, length);
        let answered = cluster.invoke("a", "through", &[("data", bytes(&data))]);
        let answered = answered.expect("the worker answers");
        assert!(output(&answered, "data") == data, "{length} bytes differ");
    }
}

#[test]
fn one_command_line_runs_a_workflow_of_programs() {
    let cluster = Setup::workers(&[]).start();
    let file = cluster.file("unique.yaml", UNIQUE);
    let number = cluster.path("number");
    let output = format!("number=@{}", number.display());
    let arguments = ["run", &file, "--input", "text=b\na\nb", "--output", &output];
    let _ = cluster.faasflow(&arguments).ok();
    assert_eq!(std::fs::read(number).unwrap(), b"2");
}

#[test]
fn a_program_that_fails_fails_its_invocation_with_its_status_and_what_it_said() {
    let workflow = "
workflow: fails
nodes:
  fails:
    command: [sh, -c, 'echo $FAASFLOW_ATTEMPT of two >&2; exit 3']
    retry: { attempts: 2, backoff_ms: 1, on: [exit-3] }
    output: { out: bytes }
output: { out: fails.out }
";
    let cluster = cluster(&["a"]);
    cluster.deploy(workflow, &[("fails", "a")]);
    let failure = cluster
        .invoke("a", "fails", &[])
        .unwrap()
        .result
        .unwrap_err();
    let text = failure.to_string();
    assert!(
        text.contains("exit-3: sh ended with status 3: 2 of two"),
        "{text}"
    );
    assert!(text.contains("fails"), "{text}");
}

#[test]
fn a_program_ends_at_its_timeout() {
    let cluster = cluster(&["a"]);
    let path = cluster.path("pids");
    let workflow = format!(
        "
workflow: sleeps
nodes:
  sleeps:
    command: [sh, -c, 'sleep 1000 & echo $! > {}; wait']
    timeout_ms: 500
    output: {{ out: bytes }}
output: {{ out: sleeps.out }}
",
        path.display()
    );
    cluster.deploy(&workflow, &[("sleeps", "a")]);
    let failure = cluster
        .invoke("a", "sleeps", &[])
        .unwrap()
        .result
        .unwrap_err();
    assert!(
        failure.to_string().contains("exceeded its timeout"),
        "{failure:?}"
    );
    let pid = std::fs::read_to_string(path).unwrap();
    let state =
        || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    until("what the program has started is ended", || {
        let state = state();
        (state.is_empty() || state.contains(") Z ")).then_some(())
    });
}
