//! The program's contract with scripts: what goes to which stream, and which code it ends with.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

#[path = "cli/described.rs"]
mod described;
#[path = "cli/messages.rs"]
mod messages;
#[path = "cli/placing.rs"]
mod placing;

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
fn a_plan_says_why_nodes_wait_for_each_other() {
    let folder = Folder::new();
    let text = "workflow: w
input: { n: value }
nodes:
  s: { switch: [ { when: input.n > 1, then: a } ] }
  a: { command: [sort, -u], output: { lines: list }, catch: c }
  b: { delay_ms: 5, after: a }
  c: { function: e:f }
output: { lines: a.lines }
";
    let file = folder.file("w.yaml", text);
    let output = faasflow(&["plan", &file, "--workers", "a:2:4GiB"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = shown.lines().map(words).collect();
    for line in [
        "a a sort -u once",
        "s a (switch) once",
        "s → a none (case) in shared memory",
        "a → b none (after) in shared memory",
        "a → c none (catch) in shared memory",
    ] {
        assert!(
            lines.iter().any(|shown| shown == line),
            "no {line}: {shown}"
        );
    }
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
        &["no such node", "`first`, `second`"],
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

/// A call with more arguments.
fn and<'a>(some: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [some, more].concat()
}

#[test]
fn a_plan_of_several_placements_shows_each_and_all_together() {
    let folder = Folder::new();
    let file = folder.file("echo.yaml", ECHO);
    let plan = [
        "plan",
        &file,
        "--workers",
        "a:1:4GiB,b:1:4GiB",
        "--pin",
        "first=a",
    ];
    let plan = |more: &[&'static str]| and(&plan, more);
    let output = faasflow(&plan(&["--replicas", "2"]));
    let shown = String::from_utf8(output.stdout).unwrap();
    for said in [
        "placement 1 of 2\n",
        "placement 2 of 2\n",
        "all placements together\n",
    ] {
        assert!(shown.contains(said), "{shown}");
    }
    let output = faasflow(&plan(&["--replicas", "2", "--json"]));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&json["replicas"], &json["workflow"]),
        (&2.into(), &"echo".into())
    );
    let placements = json["placements"].as_array().unwrap();
    assert_eq!(placements.len(), 2);
    for (number, placement) in (1..).zip(placements) {
        assert_eq!(placement["replica"], number);
        assert_eq!(placement["nodes"][0]["worker"], "a", "it is pinned");
    }
    assert_eq!(placements[0]["nodes"], json["nodes"], "the first");
    let one: serde_json::Value =
        serde_json::from_slice(&faasflow(&plan(&["--json"])).stdout).unwrap();
    assert_eq!(one["replicas"], 1);
    assert!(one.get("placements").is_none(), "it says all by itself");

    refused(
        &plan(&["--replicas", "9"]),
        &["9 placements are wanted, and 2 fit", "--replicas 2"],
    );
    refused(&plan(&["--replicas", "0"]), &["--replicas"]);
    refused(&plan(&["--replicas", "65"]), &["--replicas"]);
    let deploy = [
        "deploy",
        &file,
        "--workers",
        "127.0.0.1:1",
        "--balance",
        "load",
    ];
    refused(&deploy, &["--replicas"]);
}

#[test]
fn one_of_several_placements_is_drawn_and_it_is_said_which() {
    let folder = Folder::new();
    let file = folder.file("echo.yaml", ECHO);
    let graph = ["graph", &file, "--workers", "a:2:4GiB,b:2:4GiB"];
    let graph = |more: &[&'static str]| and(&graph, more);
    let drawn = |more: &[&'static str]| {
        let output = faasflow(&graph(more));
        let [picture, said] =
            [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(output.status.success(), "{said}");
        (picture, said)
    };
    let (first, said) = drawn(&["--replicas", "2"]);
    assert!(said.contains("this is placement 1 of 2"), "{said}");
    let (second, said) = drawn(&["--replicas", "2", "--replica", "2"]);
    assert!(said.contains("this is placement 2 of 2"), "{said}");
    assert_ne!(first, second, "the workers are rotated");
    assert_eq!(drawn(&[]), (first, String::new()));
    refused(
        &graph(&["--replicas", "2", "--replica", "3"]),
        &["a number from 1 to 2"],
    );
    refused(&graph(&["--replica", "1"]), &["--replicas"]);
    refused(
        &["graph", &file, "--replicas", "2"],
        &["there are no workers"],
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

#[test]
fn a_new_workflow_is_written_into_an_empty_folder_only() {
    let folder = Folder::new();
    let path = |name: &str| folder.0.path().join(name).to_str().unwrap().to_owned();
    let sdk = concat!(env!("CARGO_MANIFEST_DIR"), "/../faasstore");
    let output = faasflow(&["new", &path("mine"), "--sdk", sdk]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let workflow = path("mine/workflow.yaml");
    assert!(faasflow(&["validate", &workflow]).status.success());
    let before = std::fs::read(&workflow).unwrap();
    refused(
        &["new", &path("mine"), "--sdk", sdk],
        &["is there already, and is not empty"],
    );
    assert_eq!(std::fs::read(&workflow).unwrap(), before);
    let file = folder.file("file", "");
    refused(&["new", &file, "--sdk", sdk], &["is there already"]);
    std::fs::create_dir(path("empty")).unwrap();
    assert!(
        faasflow(&["new", &path("empty"), "--sdk", sdk])
            .status
            .success()
    );
    for name in ["9lives", "a b", "faasstore", "ä"] {
        refused(&["new", &path(name), "--sdk", sdk], &["cannot be the name"]);
        assert!(!folder.0.path().join(name).exists());
    }
    refused(
        &["new", &path("other"), "--sdk", "/nowhere"],
        &["/nowhere is no `faasstore` folder"],
    );
    assert!(!folder.0.path().join("other").exists());
}

#[test]
fn shells_learn_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let output = faasflow(&["completion", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["validate", "graph", "certificates", "undeploy"] {
            assert!(
                output.status.success() && script.contains(word),
                "{shell}: {word}"
            );
        }
    }
    refused(&["completion", "csh"], &["bash", "zsh", "fish"]);
}

const SWITCHED: &str = "workflow: switched
input: { n: value }
nodes:
  choose: { switch: [ { when: \"input.n > 5\", then: large } ], default: small }
  large: { function: e:large, output: { o: bytes }, catch: mend }
  small: { function: e:small, output: { o: bytes } }
  merge: { function: e:merge, input: { o: \"first_of(large.o, small.o)\" }, output: { o: bytes } }
  mend: { function: e:mend }
output: { o: { from: merge.o, optional: true } }
";

#[test]
fn certificates_are_shown_and_expected() {
    let folder = Folder::new();
    let file = folder.file("switched.yaml", SWITCHED);
    let output = faasflow(&["validate", &file, "--certificates"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{shown}");
    for line in [
        "choose    always",
        "large     may     choose takes case 1 (→ large)",
        "merge     always",
        "mend      never   only after: ",
        "output.o  always",
        "Conditions are not solved",
    ] {
        assert!(shown.contains(line), "{line:?} is not in\n{shown}");
    }
    let met = [
        "--expect",
        "merge=always",
        "--expect",
        "small=may",
        "--expect",
        "mend=never",
        "--expect",
        "output.o=always",
    ];
    assert!(
        faasflow(&[&["validate", &file][..], &met].concat())
            .status
            .success()
    );

    let unmet = faasflow(&[
        "validate",
        &file,
        "--json",
        "--expect",
        "large=always",
        "--expect",
        "merge=may",
    ]);
    assert_eq!(unmet.status.code(), Some(1));
    let said = String::from_utf8(unmet.stderr).unwrap();
    assert!(
        said.contains(
            "expected large=always, but it is skipped if choose takes its default (→ small)"
        ),
        "{said}"
    );
    assert!(
        said.contains("expected merge=may, but it always runs"),
        "{said}"
    );
    let json: serde_json::Value = serde_json::from_slice(&unmet.stdout).unwrap();
    assert_eq!(json["nodes"][1]["name"], "large");
    assert_eq!(json["nodes"][1]["runs"], "may");
    assert_eq!(
        json["nodes"][1]["skipped_if"]["choices"][0]["switch"],
        "choose"
    );
    assert_eq!(json["nodes"][1]["skipped_if"]["choices"][0]["case"], 1);
    assert_eq!(json["nodes"][4]["runs"], "never");
    assert!(json["nodes"][4]["runs_after"].is_object());
    assert_eq!(json["expectations"][0]["met"], false);

    refused(
        &["validate", &file, "--expect", "lage=always"],
        &["no such node or output", "did you mean `large`?"],
    );
    refused(
        &["validate", &file, "--expect", "large=often"],
        &["NODE=always, NODE=may or NODE=never"],
    );
}

#[test]
fn a_node_that_can_never_run_is_refused_at_its_place() {
    let folder = Folder::new();
    let both = SWITCHED.replace(
        "{ o: \"first_of(large.o, small.o)\" }",
        "{ a: large.o, b: small.o }",
    );
    let file = folder.file("both.yaml", &both);
    refused(
        &["validate", &file],
        &[
            "both.yaml:7:3",
            "node `merge` can never run",
            "input `a` (from large.o), there if choose takes case 1",
        ],
    );
}

#[test]
fn a_workflow_is_drawn_without_any_worker() {
    let folder = Folder::new();
    let file = folder.file("switched.yaml", SWITCHED);
    for (format, begins, holds) in [
        ("svg", "<svg ", "class=\"edge case\""),
        ("dot", "digraph \"switched\" {", "shape=diamond"),
        ("mermaid", "---\ntitle: 'switched", "flowchart LR"),
        ("text", "switched\n", "← choose, case default"),
    ] {
        let output = faasflow(&["graph", &file, "--format", format]);
        let picture = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && picture.starts_with(begins) && picture.contains(holds),
            "{picture}"
        );
        let out = folder.0.path().join(format).to_str().unwrap().to_owned();
        let workers = [
            "--workers",
            "a:2:4GiB,b:2:4GiB",
            "--pin",
            "choose=b",
            "--pin",
            "large=a",
        ];
        let written = faasflow(
            &[
                &["graph", &file, "--format", format, "--out", &out][..],
                &workers,
            ]
            .concat(),
        );
        assert!(written.status.success() && written.stdout.is_empty());
        let placed = std::fs::read_to_string(&out).unwrap();
        assert!(placed.starts_with(begins) && placed != picture, "{placed}");
    }
    refused(
        &["graph", &file, "--pin", "choose=b"],
        &["there are no workers"],
    );
    refused(&["graph", &file, "--format", "png"], &["svg"]);
    refused(
        &["graph", &file, "--out", "/nowhere/x.svg"],
        &["cannot write the picture to /nowhere/x.svg"],
    );
}

#[test]
fn with_json_a_failure_is_an_object_too() {
    let folder = Folder::new();
    let wrong = folder.file("wrong.yaml", &ECHO.replace("input.number", "input.nmuber"));
    let output = faasflow(&["validate", &wrong, "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let told = json["error"].to_string();
    assert!(told.contains("has no input `nmuber`"), "{told}");
    assert!(told.contains("did you mean `input.number`?"), "{told}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("nmuber"), "{said}");
    // What prints an object of its own prints no other.
    let text = "{ workflow: w, nodes: { a: { delay_ms: 1 } } }";
    let good = folder.file("good.yaml", text);
    let unmet = faasflow(&["validate", &good, "--json", "--expect", "a=never"]);
    assert_eq!(unmet.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&unmet.stdout).unwrap();
    assert_eq!(json["expectations"][0]["met"], false);
}

#[test]
fn what_a_call_reads_is_not_overwritten_by_it() {
    let folder = Folder::new();
    let file = folder.file("echo.yaml", ECHO);
    let roundabout = file.replace("echo.yaml", "./echo.yaml");
    let machine = folder.file(
        "machine.json",
        r#"{ "StartAt": "A", "States": { "A": { "Type": "Succeed" } } }"#,
    );
    refused(
        &["graph", &file, "--out", &roundabout],
        &["--out would overwrite the workflow's file"],
    );
    refused(
        &["import", "--from", "asl", &machine, "--out", &machine],
        &["--out would overwrite the file that is imported"],
    );
    let output = format!("text=@{roundabout}");
    refused(
        &["run", &file, "--output", &output],
        &["--output text would overwrite the workflow's file"],
    );
    let (one, other) = (format!("{file}.out"), format!("{roundabout}.out"));
    let output = format!("text=@{one}");
    refused(
        &["run", &file, "--output", &output, "--timeline", &other],
        &["--output text and --timeline are both to be written to"],
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), ECHO);
}
