//! What programs do where nobody reads what they say, or there is no room for it: no panic, the same exit code, and a
//! worker goes on.

use faasflow_tests::cluster::{Cluster, Setup};
use faasflow_tests::process::{Finished, Guarded, PROMPTLY, Watched, run};
use faasflow_tests::programs::program;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

const SHOUT: &str = "workflow: shout
input: { text: bytes }
nodes:
  upper: { function: test-functions:upper, input: { in: input.text }, output: { out: bytes } }
output: { out: upper.out }
";
const TIME_MAX: Duration = Duration::from_secs(60);

/// The writing end of a pipe that nobody reads any more.
fn gone() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    let full = std::fs::File::options().write(true).open("/dev/full");
    full.expect("Linux has a device that is always full").into()
}

/// Runs a program on streams of its own; its exit code.
#[track_caller]
fn code(command: &mut Command, stdout: Stdio, stderr: Stdio) -> Option<i32> {
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let child = command.spawn();
    let mut child = Guarded(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
    let watched = Watched::new(child.0.id()).expect("a child that is not reaped can be watched");
    assert!(watched.ends_within(TIME_MAX), "{command:?} does not end");
    child.0.wait().expect("a child can be waited for").code()
}

/// Calls of every program, with the exit code that each has when all that it says is read.
fn calls(cluster: &Cluster) -> Vec<(Vec<String>, i32)> {
    let workflow = cluster.file("shout.yaml", SHOUT);
    let text = cluster.file("text", "some words, some twice");
    let functions = cluster.functions().display().to_string();
    let calls: &[(&[&str], i32)] = &[
        (&["faasflow", "--help"], 0),
        (&["faasflow", "nonsense"], 2),
        (&["faasflow", "validate", &workflow], 0),
        (&["faasflow", "validate", "/nowhere"], 2),
        (
            &["faasflow", "plan", &workflow, "--workers=a:1:1G", "--json"],
            0,
        ),
        (&["faasflow", "status", "--workers=127.0.0.1:1"], 2),
        (
            &[
                "faasflow",
                "run",
                &workflow,
                "--functions",
                &functions,
                "--input=text=x",
            ],
            0,
        ),
        (&["faasflow-worker", "--help"], 0),
        (
            &[
                "faasflow-worker",
                "--listen=127.0.0.1:0",
                "--cpus=0",
                "--memory=1G",
                "--functions=/nowhere",
            ],
            2,
        ),
        (&["faasflow-bench", "floor", "--samples=1000"], 0),
        (&["faasflow-bench", "floor", "--cpus=0,4095"], 2),
        (&["wordcount-reference", &text], 0),
        (&["wordcount-reference", "--check", &text, &text], 1),
        (&["wordcount-reference", "/nowhere"], 2),
        (&["test-functions"], 2),
    ];
    let owned = |call: &&(&[&str], i32)| {
        let words = call.0.iter().map(|word| (*word).to_owned());
        (words.collect(), call.1)
    };
    calls.iter().map(|call| owned(&call)).collect()
}

fn command(call: &[String]) -> Command {
    let mut command = Command::new(program(&call[0]));
    // Workers of a run, and their executors, say as much as they can.
    command.args(&call[1..]).env("FAASFLOW_LOG", "debug");
    command
}

#[test]
fn a_program_whose_reader_has_gone_ends_as_if_it_were_there() {
    let cluster = Setup::workers(&[]).start();
    for (call, expected) in calls(&cluster) {
        let both = code(&mut command(&call), gone(), gone());
        assert_eq!(both, Some(expected), "both streams gone: {call:?}");
        let words = code(&mut command(&call), Stdio::null(), gone());
        assert_eq!(words, Some(expected), "standard error gone: {call:?}");
    }
}

#[test]
fn a_result_that_finds_no_room_is_a_failure_and_a_message_that_finds_none_is_not() {
    let cluster = Setup::workers(&[]).start();
    for (call, expected) in calls(&cluster) {
        let said = code(&mut command(&call), Stdio::null(), full());
        assert_eq!(said, Some(expected), "no room for messages: {call:?}");
    }
    let workflow = cluster.path("shout.yaml").display().to_string();
    let functions = cluster.functions().display().to_string();
    let results: &[&[&str]] = &[
        &["faasflow", "validate", &workflow],
        &["faasflow", "plan", &workflow, "--workers=a:1:1G", "--json"],
        &[
            "faasflow",
            "run",
            &workflow,
            "--functions",
            &functions,
            "--input=text=x",
        ],
        &["faasflow-bench", "floor", "--samples=1000"],
    ];
    for call in results {
        let mut command = Command::new(program(call[0]));
        let code = code(command.args(&call[1..]), full(), Stdio::null());
        assert_eq!(code, Some(1), "no room for results: {call:?}");
    }
}

#[test]
fn a_worker_serves_on_when_nobody_reads_its_log_or_its_ready_line() {
    let cluster = Setup::workers(&[]).start();
    for ready_line in [true, false] {
        // A port that is known before: the worker cannot say which it has.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = port.expect("loopback has a free port").to_string();
        let mut command = cluster.worker_command("a", &address);
        command.env("FAASFLOW_LOG", "debug").stderr(gone());
        command.stdin(Stdio::null());
        command.stdout(if ready_line { Stdio::piped() } else { gone() });
        let mut worker = Guarded(command.spawn().expect("the worker's program is there"));
        if let Some(stdout) = worker.0.stdout.take() {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            assert!(read.is_ok() && line.starts_with("ready a "), "{line}");
        }
        let workflow = cluster.file("shout.yaml", SHOUT);
        faasflow_tests::process::until("the worker can be deployed on", || {
            let deployed = cluster.faasflow(&["deploy", &workflow, "--workers", &address]);
            (deployed.code == Some(0)).then_some(())
        });
        let invoked =
            cluster.faasflow(&["invoke", "shout", "--workers", &address, "--input=text=x"]);
        assert!(invoked.ok().text().starts_with("out: X\n"));
        let watched = Watched::new(worker.0.id()).expect("the worker runs");
        kill(Pid::from_raw(worker.0.id().cast_signed()), Signal::SIGTERM).expect("it runs");
        assert!(watched.ends_within(PROMPTLY));
        assert_eq!(
            worker.0.wait().expect("a child can be waited for").code(),
            Some(0)
        );
    }
}

#[test]
fn an_output_that_cannot_be_written_is_shown_and_costs_exit_code_1() {
    let cluster = Setup::workers(&["a"]).start();
    cluster.deploy(SHOUT, &[]);
    let address = cluster.worker("a").address();
    let invoke = |output: &str| {
        let call = ["invoke", "shout", "--workers", address, "--input=text=x"];
        cluster.faasflow(&[&call[..], &["--output", output]].concat())
    };
    let folder = cluster.folder().display().to_string();
    invoke(&format!("out=@{folder}")).refused(&[&folder, "directory"]);
    invoke("out=@/nowhere/file").refused(&["/nowhere"]);
    assert_eq!(cluster.counter("a", "invocations_taken"), 0);

    let shown = |finished: &Finished| assert!(finished.text().starts_with("out: X\n"));
    let no_room = invoke("out=@/dev/full");
    no_room.failed_with(1, &["/dev/full", "the invocation itself has succeeded"]);
    shown(&no_room);
    let unknown = invoke("uot=@file");
    unknown.failed_with(1, &["without an output `uot`", "did you mean `out`?"]);
    shown(&unknown);
    assert!(!cluster.path("file").exists());
}

#[test]
fn an_input_that_no_memory_holds_is_refused_unread() {
    let cluster = Setup::workers(&[]).start();
    let workflow = cluster.file("shout.yaml", SHOUT);
    let path = cluster.path("large");
    let file = std::fs::File::create(&path).expect("the test's folder can be written");
    // All of it a hole, so that it takes no room.
    file.set_len(1 << 40).expect("files may be that long here");
    let mut call = Command::new(program("faasflow"));
    call.args(["run", &workflow, "--input"])
        .arg(format!("text=@{}", path.display()));
    run(&mut call, TIME_MAX).refused(&["input `text`"]);
}
