//! Wrong calls and wrong input: exit code 2 and a message that says what is wrong and where; nothing is started.

use faasflow_tests::cluster::{Cluster, Setup, write_secret};
use faasflow_tests::process::{Finished, run};
use faasflow_tests::programs::program;
use std::process::Command;
use std::time::Duration;

const SHOUT: &str = "workflow: shout
input: { text: bytes }
nodes:
  upper: { function: test-functions:upper, input: { in: input.text }, output: { out: bytes } }
output: { out: upper.out }
";

/// No worker: a folder to work in.
fn folder() -> Cluster {
    Setup::workers(&[]).start()
}

#[test]
fn a_wrong_workflow_file_is_refused_at_its_line_by_every_command() {
    let cluster = folder();
    let cases: &[(&str, &str, &[&str])] = &[
        ("malformed", "workflow: [shout\n", &[]),
        ("empty", "", &[]),
        ("binary", "\u{0}\u{1}\u{2}", &[]),
        (
            "unknown-key",
            &SHOUT.replace("output: { out: upper", "outptu: { out: upper"),
            &["outptu", "output"],
        ),
        (
            "unknown-node",
            &SHOUT.replace("upper.out }", "uper.out }"),
            &["uper", "upper"],
        ),
        (
            "unknown-input",
            &SHOUT.replace("input.text", "input.txt"),
            &["txt", "text"],
        ),
        (
            "cycle",
            &SHOUT.replace("input.text", "upper.out"),
            &["upper"],
        ),
        (
            "duplicate",
            &SHOUT.replace("output: { out: upper.out }", "  upper: { function: x:y }\n"),
            &["upper"],
        ),
        (
            "no-function",
            &SHOUT.replace("function: test-functions:upper, ", ""),
            &["function"],
        ),
        (
            "not-a-function",
            &SHOUT.replace("test-functions:upper", "upper"),
            &["EXECUTABLE:FUNCTION"],
        ),
    ];
    for (name, text, words) in cases {
        let file = cluster.file(&format!("{name}.yaml"), text);
        let place = format!("{name}.yaml");
        let words: Vec<&str> = words.iter().copied().chain([place.as_str()]).collect();
        // Nobody listens at port 1: had a command tried to reach it before it looked at the file, it would say so.
        for command in [
            &["validate", &file][..],
            &["plan", &file, "--workers", "127.0.0.1:1"],
            &["deploy", &file, "--workers", "127.0.0.1:1"],
            &["run", &file, "--input", "text=x"],
        ] {
            cluster.faasflow(command).refused(&words);
        }
    }
    let missing = cluster.path("missing.yaml");
    cluster
        .faasflow(&["validate", missing.to_str().unwrap()])
        .refused(&["missing.yaml"]);
    let here = cluster.folder().to_str().unwrap().to_owned();
    cluster.faasflow(&["validate", &here]).refused(&[&here]);
    let good = cluster.file("good.yaml", SHOUT);
    let _ = cluster.faasflow(&["validate", &good]).ok();
}

#[test]
fn inputs_that_do_not_fit_the_workflow_are_refused() {
    let cluster = Setup::workers(&["a"]).flag("--max-payload=1M").start();
    cluster.deploy(SHOUT, &[]);
    let address = cluster.worker("a").address().to_owned();
    let invoke = |more: &[&str]| {
        let arguments = [&["invoke", "shout", "--workers", &address][..], more].concat();
        cluster.faasflow(&arguments)
    };
    let large = cluster.file("large", vec![b'x'; (1 << 20) + 1]);
    let largest = cluster.file("largest", vec![b'x'; 1 << 20]);

    invoke(&[]).refused(&["text", "missing"]);
    invoke(&["--input", "txt=x"]).refused(&["txt"]);
    invoke(&["--input", "text=x", "--input", "more=y"]).refused(&["more"]);
    invoke(&["--input", "text=x", "--input", "text=y"]).refused(&["text", "twice"]);
    invoke(&["--input", "text"]).refused(&["NAME=TEXT"]);
    invoke(&["--input", "text[]=x"]).refused(&["text", "list"]);
    invoke(&["--input", "text=@/nowhere/file"]).refused(&["/nowhere/file"]);
    invoke(&["--input", &format!("text=@{large}")]).refused(&["text", "limit"]);
    invoke(&["--input", "text=x", "--count", "0"]).refused(&["count"]);
    let other = cluster.faasflow(&["invoke", "none", "--workers", &address, "--input", "text=x"]);
    other.refused(&["none", "deploy"]);
    assert_eq!(cluster.counter("a", "invocations_taken"), 0);
    assert_eq!(cluster.counter("a", "activations"), 0);

    let _ = invoke(&[
        "--input",
        &format!("text=@{largest}"),
        "--output",
        "out=@out",
    ])
    .ok();
    assert!(std::fs::read(cluster.path("out")).unwrap() == vec![b'X'; 1 << 20]);
}

#[test]
fn a_run_of_its_own_refuses_wrong_input_before_it_starts_anything() {
    let cluster = folder();
    let file = cluster.file("shout.yaml", SHOUT);
    let functions = cluster.functions();
    let functions = functions.to_str().unwrap();
    let run = |more: &[&str]| {
        let arguments = [&["run", &file, "--functions", functions][..], more].concat();
        cluster.faasflow(&arguments)
    };
    run(&[]).refused(&["text", "missing"]);
    run(&["--input", "txt=x"]).refused(&["txt", "text"]);
    run(&["--input", "text=x", "--local", "0"]).refused(&["local"]);
    run(&["--input", "text=x", "--functions", "/nowhere"]).failed_with(2, &[]);
    run(&["--input", "text=x", "--memory", "900T"]).refused(&["--memory 900 TiB", "local-1"]);
    run(&["--input", "text=x", "--memory", "1M"]).refused(&["at least", "local-1"]);
    let empty = cluster.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let nothing = cluster.faasflow(&[
        "run",
        &file,
        "--functions",
        empty.to_str().unwrap(),
        "--input",
        "text=x",
        "--local",
        "1",
    ]);
    nothing.failed_with(2, &["test-functions", "local-1"]);
}

#[test]
fn a_failed_invocation_ends_the_program_with_code_1() {
    let cluster = Setup::workers(&["a"]).start();
    cluster.deploy(&SHOUT.replace(":upper,", ":fail,"), &[]);
    let address = cluster.worker("a").address();
    let invoke = [
        "invoke",
        "shout",
        "--workers",
        address,
        "--input",
        "text=the reason",
    ];
    let words = ["node upper", "worker a", "attempt 1", "the reason"];
    cluster.faasflow(&invoke).failed_with(1, &words);
    let json = [&invoke[..], &["--json"]].concat();
    let finished = cluster.faasflow(&json);
    finished.failed_with(1, &words);
    let object: serde_json::Value = serde_json::from_str(&finished.text()).unwrap();
    let expected = serde_json::json!({
        "kind": "node", "node": "upper", "worker": "a", "attempt": 1, "cause": "the reason",
    });
    assert_eq!(object["failure"], expected);
}

/// A worker that should refuse to start; whatever of `flags` is given replaces what it would be told otherwise.
fn worker(cluster: &Cluster, flags: &[(&str, &str)]) -> Finished {
    let mut told = vec![
        ("--listen", "127.0.0.1:0".to_owned()),
        ("--name", "x".to_owned()),
        (
            "--cpus",
            engine::worker::host::allowed_cpus()[0].to_string(),
        ),
        ("--memory", "128MiB".to_owned()),
        ("--functions", cluster.functions().display().to_string()),
        ("--state-dir", cluster.path("state-x").display().to_string()),
    ];
    for (flag, value) in flags {
        told.retain(|(known, _)| known != flag);
        told.push((flag, (*value).to_owned()));
    }
    let mut command = Command::new(program("faasflow-worker"));
    for (flag, value) in told {
        command.arg(flag).arg(value);
    }
    run(&mut command, Duration::from_secs(60))
}

#[test]
fn a_worker_that_cannot_have_what_it_is_told_to_use_does_not_start() {
    let cluster = Setup::workers(&["a"]).start();
    let refuses = |flag: &str, value: &str, words: &[&str]| {
        let words = [&[flag][..], words].concat();
        worker(&cluster, &[(flag, value)]).refused(&words);
    };
    refuses("--cpus", "4095", &["CPU 4095 does not exist"]);
    refuses("--cpus", "0-", &[]);
    refuses("--cpus", "", &[]);
    refuses("--memory", "900T", &["900"]);
    refuses("--memory", "1M", &["at least"]);
    refuses("--memory", "lots", &["lots"]);
    refuses("--functions", "/nowhere", &["/nowhere"]);
    refuses("--functions", "/dev/null", &["/dev/null"]);
    refuses("--lanes", "0", &[]);
    refuses("--lanes", "200", &["CPU"]);
    refuses("--listen", "127.0.0.1", &["HOST:PORT"]);
    refuses(
        "--listen",
        cluster.worker("a").address(),
        &["another program listens there"],
    );
    refuses("--listen", "192.0.2.1:0", &[]);
    refuses("--listen", "0.0.0.0:0", &["--cluster-key-file"]);
    refuses("--state-dir", "/dev/null/state", &["/dev/null/state"]);
    let in_use = cluster.path("state-a").display().to_string();
    refuses("--state-dir", &in_use, &["another worker uses it"]);
    refuses("--cluster-key-file", "/nowhere/key", &["/nowhere/key"]);
    let short = cluster.path("short");
    write_secret(&short, b"short");
    refuses("--cluster-key-file", short.to_str().unwrap(), &["16"]);
    let open = cluster.file("open", [7; 32]);
    refuses("--cluster-key-file", &open, &["chmod 600"]);
    refuses("--name", "../x", &["../x"]);
    refuses("--wait", "long", &["long"]);
    refuses("--driver", "kqueue", &["kqueue"]);
    for (variable, value) in [("FAASFLOW_DRIVER", "kqueue"), ("FAASFLOW_LOG", "a=b=c")] {
        let mut command = cluster.worker_command("x", "127.0.0.1:0");
        let refused = run(command.env(variable, value), Duration::from_secs(60));
        refused.refused(&[variable, value]);
    }
    // The one that was there all the time was not touched.
    assert_eq!(cluster.status("a").epoch, 1);
}

#[test]
fn an_executable_started_by_hand_explains_itself() {
    let finished = run(
        &mut Command::new(program("test-functions")),
        Duration::from_secs(60),
    );
    finished.refused(&["faasflow", "upper"]);
}
