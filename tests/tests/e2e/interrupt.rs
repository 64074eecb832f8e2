//! `faasflow run` and `faasflow invoke` that are told to end, by real signals, or by a deadline.

use faasflow_tests::cluster::{Cluster, PROGRAM_TIME_MAX, Setup, bytes, output};
use faasflow_tests::gate::{Gate, Verdict};
use faasflow_tests::process::{Finished, PROMPTLY, Running, Watched, until_equal};
use faasflow_tests::programs::program;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;

const GATED: &str = "
workflow: gated
input: { gate: bytes }
nodes:
  held: { function: test-functions:gate, input: { gate: input.gate }, output: { out: bytes } }
output: { out: held.out }
";

/// One line says why, and that what is under way is cancelled.
const SAYS: &str = "interrupted; cancelling what is under way";

struct Fixture {
    cluster: Cluster,
    gate: Gate,
}

impl Fixture {
    fn new() -> Self {
        let cluster = Setup::workers(&["a"]).start();
        cluster.deploy(GATED, &[]);
        let gate = Gate::new(cluster.folder(), "gate");
        Self { cluster, gate }
    }

    /// The arguments of an invocation, and more of them.
    fn invoke(&self, more: &[&str]) -> Vec<String> {
        let address = self.cluster.worker("a").address();
        let mut arguments = self.input();
        arguments.splice(
            0..0,
            ["invoke", "gated", "--workers", address].map(Into::into),
        );
        arguments.extend(more.iter().map(|word| (*word).to_owned()));
        arguments
    }

    fn input(&self) -> Vec<String> {
        let gate = self.gate.input();
        let gate = format!("gate={}", String::from_utf8_lossy(&gate));
        vec!["--input".to_owned(), gate]
    }

    #[track_caller]
    fn goes_on(&self) {
        let cluster = &self.cluster;
        let input = [("gate", bytes(self.gate.input()))];
        std::thread::scope(|scope| {
            let invoked = scope.spawn(|| cluster.invoke("a", "gated", &input));
            self.gate.next().tell(Verdict::Pass);
            let answered = invoked.join().expect("it does not panic");
            let answered = answered.expect("the worker answers");
            assert_eq!(output(&answered, "out"), b"attempt 1");
        });
        let _ = cluster.settled("a");
    }
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// It says so in one line, and why its work ended so, and nothing else.
#[track_caller]
fn says_that_it_cancelled(finished: &Finished, why: &str) {
    let cause = why.split(';').next().unwrap_or_default();
    finished.failed_with(1, &[why, &format!("gated: {cause}")]);
    assert!(
        !finished.stderr.contains("client cancelled"),
        "{}",
        finished.stderr
    );
    assert_eq!(finished.text(), "");
    let lines = finished.stderr.lines();
    let said = lines.filter(|line| line.contains("cancelling")).count();
    assert_eq!(said, 1, "{}", finished.stderr);
}

#[test]
fn the_first_signal_cancels_what_is_under_way_and_waits_for_its_end() {
    let fixture = Fixture::new();
    fixture.goes_on();
    for signal in [Signal::INT, Signal::TERM] {
        let running = fixture.cluster.begin_faasflow(&words(&fixture.invoke(&[])));
        let held = fixture.gate.next();
        let executor = Watched::new(held.pid).expect("it runs");
        assert!(running.watched().signal(signal));
        says_that_it_cancelled(&running.finish(PROGRAM_TIME_MAX), SAYS);
        assert!(executor.ends_within(PROMPTLY), "its executor goes on");
        fixture.goes_on();
    }
    assert_eq!(fixture.cluster.counter("a", "invocations_cancelled"), 2);
}

#[test]
fn a_second_signal_ends_at_once() {
    let fixture = Fixture::new();
    let running = fixture.cluster.begin_faasflow(&words(&fixture.invoke(&[])));
    let held = fixture.gate.next();
    // A worker that is stopped answers nobody.
    let worker = fixture.cluster.worker("a").watched();
    assert!(worker.signal(Signal::STOP));
    let program = running.watched();
    assert!(program.signal(Signal::INT));
    // It has taken the first: two that wait to be taken would be one.
    running.until_it_says(SAYS);
    assert!(program.signal(Signal::INT));
    assert!(program.ends_within(PROMPTLY), "the second does not end it");
    assert!(worker.signal(Signal::CONT));
    let finished = running.finish(PROGRAM_TIME_MAX);
    finished.failed_with(130, &[SAYS]);
    drop(held);
    let _ = fixture.cluster.settled("a");
}

#[test]
fn a_signal_that_it_was_told_to_ignore_stays_ignored() {
    let fixture = Fixture::new();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    command.arg(program("faasflow")).args(fixture.invoke(&[]));
    let running = Running::start(&mut command);
    let held = fixture.gate.next();
    let process = running.watched();
    // It would wait for what it has blocked.
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid()));
    let status = status.expect("it runs");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let blocked = |signal: Signal| mask.expect("a mask") >> (signal.as_raw() - 1) & 1 == 1;
    assert_eq!((blocked(Signal::HUP), blocked(Signal::INT)), (false, true));
    assert!(process.signal(Signal::HUP));
    held.tell(Verdict::Pass);
    let finished = running.finish(PROGRAM_TIME_MAX).ok();
    assert!(
        !finished.stderr.contains("interrupted"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_deadline_cancels_what_is_under_way_and_says_so() {
    let fixture = Fixture::new();
    let arguments = fixture.invoke(&["--deadline-ms", "300"]);
    let running = fixture.cluster.begin_faasflow(&words(&arguments));
    let held = fixture.gate.next();
    let why = "the deadline of 300 ms (--deadline-ms) has passed; cancelling what is under way";
    says_that_it_cancelled(&running.finish(PROGRAM_TIME_MAX), why);
    drop(held);
    fixture.goes_on();
    // One that is not reached changes nothing.
    let arguments = fixture.invoke(&["--deadline-ms", "3600000"]);
    let running = fixture.cluster.begin_faasflow(&words(&arguments));
    fixture.gate.next().tell(Verdict::Pass);
    let _ = running.finish(PROGRAM_TIME_MAX).ok();
    let refused = fixture.invoke(&["--deadline-ms", "0"]);
    fixture
        .cluster
        .faasflow(&words(&refused))
        .refused(&["--deadline-ms"]);
}

#[test]
fn of_many_invocations_those_under_way_are_cancelled_and_the_others_never_sent() {
    let fixture = Fixture::new();
    let more = [
        "--count",
        "1000",
        "--concurrency",
        "8",
        "--json",
        "--report",
    ];
    let running = fixture
        .cluster
        .begin_faasflow(&words(&fixture.invoke(&more)));
    for _ in 0..5 {
        fixture.gate.next().tell(Verdict::Pass);
    }
    let held = fixture.gate.next();
    until_equal(&8, || fixture.cluster.counter("a", "in_flight"));
    assert!(running.watched().signal(Signal::INT));
    let finished = running.finish(PROGRAM_TIME_MAX);
    finished.failed_with(1, &[SAYS, "gated: interrupted"]);
    // What ended well is shown all the same.
    let shown = json(&finished);
    assert_eq!(shown["outputs"]["out"]["text"], "attempt 1", "{shown}");
    assert_eq!(shown["report"][0]["well"], 1, "{shown}");
    assert_eq!(shown["failure"]["kind"], "cancelled", "{shown}");
    assert_eq!(shown["failure"]["by"], "signal", "{shown}");
    assert_eq!(shown["error"]["message"], "gated: interrupted", "{shown}");
    assert_eq!(shown["latency"]["samples"], 13, "{shown}");
    assert_eq!(shown["latency"]["failed"], 8, "{shown}");
    drop(held);
    let _ = fixture.cluster.settled("a");
    assert_eq!(fixture.cluster.counter("a", "invocations_taken"), 13);
    assert_eq!(fixture.cluster.counter("a", "invocations_cancelled"), 8);
}

#[test]
fn of_many_invocations_that_a_deadline_cancels_the_object_says_why() {
    let fixture = Fixture::new();
    let more = ["--count", "4", "--json", "--deadline-ms", "300"];
    let running = fixture
        .cluster
        .begin_faasflow(&words(&fixture.invoke(&more)));
    let held = fixture.gate.next();
    let finished = running.finish(PROGRAM_TIME_MAX);
    finished.failed_with(1, &["the deadline of 300 ms"]);
    let shown = json(&finished);
    assert_eq!(shown["failure"]["by"], "deadline", "{shown}");
    assert_eq!(shown["latency"]["failed"], 1, "{shown}");
    let message = shown["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("--deadline-ms"), "{shown}");
    assert!(shown.get("outputs").is_none(), "{shown}");
    drop(held);
}

fn json(finished: &Finished) -> serde_json::Value {
    serde_json::from_slice(&finished.stdout).expect("JSON")
}

/// A program that notes in a file that it runs and that it is asked to end, and then `cleans` before it does.
fn tidy_program(log: &Path, cleans: &str) -> String {
    let script = format!(
        "trap \"echo asked >> {0}; {cleans}; echo tidy >> {0}; exit 0\" TERM; echo runs >> {0}; sleep 1000 & wait",
        log.display()
    );
    let command = format!("[sh, -c, {script:?}]");
    format!(
        "{{ workflow: gated, nodes: {{ a: {{ command: {command}, output: {{ out: bytes }} }} }}, output: {{ out: a.out }} }}"
    )
}

fn log_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// A run of it on one local worker has begun.
fn run_tidy(cluster: &Cluster, cleans: &str, more: &[&str]) -> (Running, PathBuf) {
    let log = cluster.path("log");
    let _ = std::fs::remove_file(&log);
    let file = cluster.file("tidy.yaml", tidy_program(&log, cleans));
    let functions = cluster.functions();
    let functions = functions.to_str().expect("a plain name");
    let arguments = ["run", &file, "--functions", functions, "--local", "1"];
    let arguments: Vec<&str> = arguments.iter().chain(more).copied().collect();
    let running = cluster.begin_faasflow(&arguments);
    until_equal(&"runs\n".to_owned(), || log_of(&log));
    (running, log)
}

#[test]
fn a_run_that_is_interrupted_or_late_gives_its_programs_their_grace() {
    let cluster = Setup::workers(&[]).start();
    let tidy = "runs\nasked\ntidy\n";
    for signal in [Signal::INT, Signal::TERM] {
        let (running, log) = run_tidy(&cluster, "sleep 0.3", &[]);
        assert!(running.watched().signal(signal));
        says_that_it_cancelled(&running.finish(PROGRAM_TIME_MAX), SAYS);
        assert_eq!(log_of(&log), tidy, "{signal:?}");
    }
    let (running, log) = run_tidy(&cluster, "sleep 0.3", &["--deadline-ms", "2000"]);
    let finished = running.finish(PROGRAM_TIME_MAX);
    finished.failed_with(1, &["the deadline of 2000 ms"]);
    assert_eq!(log_of(&log), tidy);
    // Longer than a usual grace, and than all that a worker takes otherwise.
    let (running, log) = run_tidy(&cluster, "sleep 6", &["--grace-ms", "60000"]);
    assert!(running.watched().signal(Signal::INT));
    says_that_it_cancelled(&running.finish(PROGRAM_TIME_MAX), SAYS);
    assert_eq!(log_of(&log), tidy);
    // Shorter than what it takes.
    let (running, log) = run_tidy(&cluster, "sleep 1000", &["--grace-ms", "200"]);
    assert!(running.watched().signal(Signal::INT));
    says_that_it_cancelled(&running.finish(PROGRAM_TIME_MAX), SAYS);
    assert_eq!(log_of(&log), "runs\nasked\n");
}

#[test]
fn a_second_signal_ends_local_workers_whatever_grace_they_give() {
    let cluster = Setup::workers(&[]).start();
    let (running, log) = run_tidy(&cluster, "sleep 1000", &["--grace-ms", "3600000"]);
    let program = running.watched();
    let workers = children(program.pid());
    let [worker] = &workers[..] else {
        panic!("one worker: {workers:?}");
    };
    let executors: Vec<Watched> = children(*worker).into_iter().map(watched).collect();
    let worker = watched(*worker);
    assert!(!executors.is_empty());
    assert!(program.signal(Signal::INT));
    until_equal(&"runs\nasked\n".to_owned(), || log_of(&log));
    assert!(program.signal(Signal::INT));
    running.finish(PROGRAM_TIME_MAX).failed_with(130, &[SAYS]);
    assert!(worker.ends_within(PROMPTLY), "its worker goes on");
    let ends = |executor: &Watched| executor.ends_within(PROMPTLY);
    assert!(executors.iter().all(ends), "its executor goes on");
}

fn watched(pid: u32) -> Watched {
    Watched::new(pid).expect("it runs")
}

#[test]
fn local_workers_end_when_what_ran_on_them_is_cancelled() {
    let cluster = Setup::workers(&[]).start();
    let gate = Gate::new(cluster.folder(), "gate");
    let fixture = Fixture { cluster, gate };
    let file = fixture.cluster.file("gated.yaml", GATED);
    let functions = fixture.cluster.functions();
    let functions = functions.to_str().expect("a plain name");
    let mut arguments = vec!["run".to_owned(), file];
    arguments.extend(["--functions", functions, "--local", "1"].map(Into::into));
    arguments.extend(fixture.input());
    let running = fixture.cluster.begin_faasflow(&words(&arguments));
    let held = fixture.gate.next();
    let executor = Watched::new(held.pid).expect("it runs");
    let worker = Watched::new(parent(held.pid)).expect("it runs");
    assert!(running.watched().signal(Signal::INT));
    let finished = running.finish(PROGRAM_TIME_MAX);
    says_that_it_cancelled(&finished, SAYS);
    assert!(worker.ends_within(PROMPTLY), "its worker goes on");
    assert!(executor.ends_within(PROMPTLY), "its executor goes on");
}

/// The processes that a process has started.
fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let of_task = |task: std::fs::DirEntry| {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let pids = children
            .split_whitespace()
            .map(|pid| pid.parse().expect("a number"));
        pids.collect::<Vec<u32>>()
    };
    tasks.flatten().flat_map(of_task).collect()
}

/// Who started a process.
fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // Behind the name, which may hold anything, in parentheses: the state, and the parent.
    let (_, fields) = stat.rsplit_once(')').expect("the kernel's form");
    let parent = fields.split_whitespace().nth(1).expect("the kernel's form");
    parent.parse().expect("a number")
}
