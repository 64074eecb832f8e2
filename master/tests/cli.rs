//! The program's contract with scripts: what goes to which stream, and which code it ends with.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const ECHO: &str = "workflow: echo
input: { text: bytes, all: list, number: value }
nodes:
  first: { function: echo:first, input: { text: input.text }, output: { text: bytes } }
  second: { function: echo:second, foreach: input.all, input: { item: item, text: first.text, n: input.number } }
output: { text: first.text }
";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn faasflow(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_faasflow"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Asserts exit code 2, nothing on standard output, and all of the words on standard error.
fn refused(arguments: &[&str], words: &[&str]) {
    let output = faasflow(arguments);
    // The report breaks lines where the terminal would.
    let said = String::from_utf8(output.stderr).unwrap();
    let said: String = said
        .replace(['│', '╰', '─', '▶'], " ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    for word in words {
        assert!(
            said.contains(word),
            "{arguments:?} does not say {word:?}: {said}"
        );
    }
    assert!(
        !said.contains("panicked") && !said.contains("internal error"),
        "{said}"
    );
}

#[test]
fn a_good_file_is_valid_and_a_bad_one_is_refused_at_its_place() {
    let folder = Folder::new();
    let good = folder.file("echo.yaml", ECHO);
    let output = faasflow(&["validate", &good]);
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "echo is valid: 2 nodes, 3 inputs, 1 output\n"
    );
    let bad = folder.file("bad.yaml", &ECHO.replace("first.text }", "fist.text }"));
    refused(
        &["validate", &bad],
        &[
            "there is no node `fist`",
            "bad.yaml:6:17",
            "did you mean `first.text`?",
        ],
    );
    refused(
        &["validate", "/nowhere/w.yaml"],
        &["cannot read the definition /nowhere/w.yaml"],
    );
    refused(&["validate"], &["FILE"]);
    refused(&["valdiate", &good], &["validate"]);
}

#[test]
fn what_is_suspicious_is_told_and_stops_nothing_unless_it_is_to() {
    let folder = Folder::new();
    let file = folder.file(
        "idle.yaml",
        &ECHO.replace("output: { text: first.text }\n", ""),
    );
    let output = faasflow(&["validate", &file]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && said.is_empty(),
        "`second` reads it: {said}"
    );
    let file = folder.file("idle.yaml", &ECHO.replace(", text: first.text", ""));
    let file = std::fs::read_to_string(file).unwrap();
    let file = folder.file("idle.yaml", &file.replace("{ text: first.text }\n", "{}\n"));
    let output = faasflow(&["validate", &file]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !output.stdout.is_empty());
    for word in [
        "nobody uses output `text` of `first`",
        "idle.yaml:4:",
        "is dropped",
    ] {
        assert!(said.contains(word), "no {word}: {said}");
    }
    refused(
        &["validate", &file, "--deny-warnings"],
        &["nobody uses output `text`", "1 warning in a definition"],
    );
}

#[test]
fn a_workflow_within_another_is_read_from_the_file_beside_it() {
    let folder = Folder::new();
    folder.file("echo.yaml", ECHO);
    let outer = "workflow: outer\nnodes:\n  all: { workflow: echo.yaml, input: { text: { text: hello }, all: { value: [1] }, number: 3 } }\noutput: { text: all.text }\n";
    let file = folder.file("outer.yaml", outer);
    let output = faasflow(&["validate", &file]);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "outer is valid: 2 nodes, 0 inputs, 1 output\n"
    );
    let file = folder.file("outer.yaml", &outer.replace("echo.yaml", "."));
    refused(&["validate", &file], &["cannot read `.`: it is no file"]);
}

#[test]
fn the_schema_is_one_json_object() {
    let output = faasflow(&["schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["properties"]["nodes"]["type"][0], "object");
}

#[test]
fn a_plan_needs_no_workers_that_are_there() {
    let folder = Folder::new();
    let file = folder.file("echo.yaml", ECHO);
    let plan = |more: &[&str]| faasflow(&[&["plan", &file][..], more].concat());
    let output = plan(&[
        "--workers",
        "a:2:4GiB,b:2:4GiB",
        "--pin",
        "first=a",
        "--pin",
        "second=b",
    ]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && shown.contains("a → b"),
        "{shown}"
    );
    let output = plan(&[
        "--workers",
        "a:2:4GiB,b:2:4GiB",
        "--pin",
        "first=a",
        "--json",
    ]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["workflow"], "echo");
    assert_eq!(json["nodes"][0]["worker"], "a");
    assert_eq!(json["edges"][0]["outputs"][0], "text");
    assert_eq!(json["workers"][0]["executors_max"], 4);

    refused(&["plan", &file], &["--workers"]);
    refused(
        &["plan", &file, "--workers", "a:0:1GiB"],
        &["`0` is no number of CPUs", "NAME:CPUS:MEMORY"],
    );
    refused(
        &["plan", &file, "--workers", "a:1:lots"],
        &["a:1:lots describes no worker"],
    );
    refused(
        &["plan", &file, "--workers", "a:1:1G,a:1:1G"],
        &["two of --workers are called a"],
    );
    refused(
        &["plan", &file, "--workers", "a:1:1G,127.0.0.1:1"],
        &["some of --workers are addresses"],
    );
    refused(
        &["plan", &file, "--workers", "a:1:1G", "--pin", "third=a"],
        &["no such node", "first, second"],
    );
    refused(
        &["plan", &file, "--workers", "a:1:1G", "--pin", "first=b"],
        &["none of --workers"],
    );
    refused(
        &["plan", &file, "--workers", "a:1:1G", "--pin", "first"],
        &["NODE=WORKER"],
    );
    let wide = folder.file(
        "wide.yaml",
        "workflow: w\nnodes:\n  n: { function: e:f, resources: { scale: 9 } }\n",
    );
    refused(
        &["plan", &wide, "--workers", "a:1:1G"],
        &["node n fits no worker", "7 too many"],
    );
}

#[test]
fn an_unreachable_worker_is_named() {
    let folder = Folder::new();
    let file = folder.file("echo.yaml", ECHO);
    // Port 1 is privileged, and nobody listens there.
    for arguments in [
        &["plan", &file, "--workers", "127.0.0.1:1"][..],
        &["deploy", &file, "--workers", "127.0.0.1:1"],
        &["status", "--workers", "127.0.0.1:1"],
        &["undeploy", "echo", "--workers", "127.0.0.1:1"],
        &["invoke", "echo", "--workers", "127.0.0.1:1"],
    ] {
        refused(
            arguments,
            &["cannot reach a worker at 127.0.0.1:1", "--listen"],
        );
    }
    refused(&["status", "--workers", ","], &["--workers"]);
    refused(
        &["status", "--workers", "nonsense"],
        &["nonsense is no address of a worker"],
    );
    let key = folder.file("key", "short");
    refused(
        &[
            "status",
            "--workers",
            "127.0.0.1:1",
            "--cluster-key-file",
            &key,
        ],
        &["--cluster-key-file", "key"],
    );
}

#[test]
fn inputs_are_checked_before_anything_starts() {
    let folder = Folder::new();
    let file = folder.file("echo.yaml", ECHO);
    let run = |more: &[&str], words: &[&str]| refused(&[&["run", &file][..], more].concat(), words);
    run(
        &[],
        &[
            "wants input `text`, and it is missing",
            "add --input text=TEXT or =@FILE",
        ],
    );
    run(
        &["--input", "txt=a"],
        &["echo has no input `txt`", "did you mean `text`?"],
    );
    run(&["--input", "text"], &["NAME=TEXT"]);
    run(
        &["--input", "text=@/nowhere/text"],
        &["cannot read /nowhere/text for input `text`"],
    );
    run(
        &["--input", "text=a", "--input", "text=b"],
        &["input `text` is given twice"],
    );
    run(
        &["--input", "text=@-", "--input", "number=@-"],
        &["standard input is wanted for two inputs"],
    );
    run(
        &["--input", "text[]=a"],
        &["input `text` is bytes, but a list is given"],
    );
    run(
        &["--input", "text=a", "--input", "all=b"],
        &[
            "input `all` is a list",
            "--input all[]=… once for each item",
        ],
    );
    run(&["--input", "number=seven"], &["what is given is not JSON"]);
    let rest = [
        "--input", "text=a", "--input", "all[]", "--input", "number=7",
    ];
    let with = |more: &[&'static str]| [&rest[..], more].concat();
    run(
        &with(&["--output", "txet=@x"]),
        &["echo has no output `txet`"],
    );
    run(
        &with(&["--output", "text=@/nowhere/x"]),
        &["/nowhere is no folder"],
    );
    run(&with(&["--output", "text"]), &["NAME=@FILE"]);
    run(
        &with(&["--local", "0"]),
        &["0 local workers cannot be started"],
    );
    run(
        &with(&["--functions", "/nowhere"]),
        &["/nowhere is no folder to take functions from"],
    );
    run(&with(&["--count", "0"]), &["count"]);
    run(&with(&["--wait", "never"]), &["spin"]);
}

#[test]
fn a_reader_that_has_gone_away_is_no_error() {
    let folder = Folder::new();
    let nodes: String = (0..5000)
        .map(|n| format!("  n{n}: {{ function: e:f }}\n"))
        .collect();
    let file = folder.file("large.yaml", &format!("workflow: w\nnodes:\n{nodes}"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_faasflow"))
        .args(["plan", &file, "--workers", "a:1:1G"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_worker_that_is_none_is_told_from_one_that_is_not_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stranger = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
    });
    refused(
        &["status", "--workers", &address],
        &[&address, "is no worker", "not a FaaSFlow frame"],
    );
    stranger.join().unwrap();
}

#[test]
fn a_path_stays_whole_and_without_colour_where_nobody_looks_at_a_terminal() {
    let folder = Folder::new();
    let long = "a-rather-long-name-of-a-folder-".repeat(6);
    let missing = folder.0.path().join(&long).join("workflow file.yaml");
    let missing = missing.to_str().unwrap();
    let wrong = folder.file(&format!("{long}.yaml"), "workflow: echo\nnodes: [\n");
    for path in [missing, &wrong] {
        let output = faasflow(&["validate", path]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(path), "{said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }
}
