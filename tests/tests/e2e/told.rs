//! What is told to stop, with real processes: who heeds it keeps its executor, who does not is killed after its grace, and
//! no other activation is told.

use engine::wire::Failure;
use faasflow_tests::cluster::{Cluster, Setup, bytes, named, output};
use faasflow_tests::gate::{Gate, Held, Verdict};
use faasflow_tests::process::{PROMPTLY, Watched, until, until_equal};
use master::client::{Answered, Client, ClientError, Invocation, Payload};
use nix::sys::signal::Signal as EndSignal;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const BY_CLIENT: &str = "the client has cancelled the invocation";
const TIMED_OUT: &str = "its time is up";
const FAILED: &str = "the invocation has failed elsewhere";

const GATED: &str = "
workflow: gated
input: { gate: bytes }
nodes:
  held: { function: test-functions:gate, input: { gate: input.gate }, output: { out: bytes } }
output: { out: held.out }
";

#[track_caller]
fn start(client: &mut Client, workflow: &str, inputs: &[(&str, Payload)]) -> u64 {
    let inputs = named(inputs);
    let invocation = Invocation {
        workflow,
        inputs: &inputs,
        report: false,
        trace: false,
    };
    client.start(&invocation).expect("the worker takes it")
}

/// Starts an invocation at worker `a`, with a gate as its input.
fn start_at(cluster: &Cluster, workflow: &str, gate: &Gate) -> (Client, u64) {
    let mut client = cluster.client("a");
    let request = start(&mut client, workflow, &[("gate", bytes(gate.input()))]);
    (client, request)
}

#[track_caller]
fn cancel(client: &Client, request: u64) {
    let sent = client.canceller().cancel(request);
    sent.expect("the worker is there");
}

#[track_caller]
fn answer(client: &mut Client) -> Answered {
    client.next_answer().expect("the worker answers")
}

#[track_caller]
fn is_cancelled(client: &mut Client) {
    assert_eq!(answer(client).result, Err(Failure::Cancelled));
}

/// What a worker counts of what was told: all, what came back, and what was killed.
fn told(cluster: &Cluster, worker: &str) -> (u64, u64, u64) {
    let counter = |name| cluster.counter(worker, name);
    (
        counter("activations_told"),
        counter("told_returned"),
        counter("told_killed"),
    )
}

/// An invocation that is not disturbed ends well, in which executor.
#[track_caller]
fn goes_on(cluster: &Cluster, gate: &Gate) -> u32 {
    let (mut client, _) = start_at(cluster, "gated", gate);
    let held = gate.next();
    let pid = held.pid;
    held.tell(Verdict::Pass);
    assert_eq!(output(&answer(&mut client), "out"), b"attempt 1");
    pid
}

#[test]
fn who_heeds_it_keeps_its_executor_and_who_does_not_is_killed() {
    for wait in ["--wait=adaptive", "--wait=park", "--wait=spin"] {
        let cluster = Setup::workers(&["a"]).flag(wait).start();
        cluster.deploy(GATED, &[]);
        let gate = Gate::new(cluster.folder(), "gate");
        let pid = goes_on(&cluster, &gate);
        let before = cluster.settled("a");
        let mut rounds = 0;
        for verdict in [Verdict::Heed, Verdict::Look, Verdict::Heed] {
            let (mut client, request) = start_at(&cluster, "gated", &gate);
            let held = gate.next();
            assert_eq!(held.pid, pid, "another executor runs it");
            held.tell(verdict);
            cancel(&client, request);
            is_cancelled(&mut client);
            rounds += 1;
            until_equal(&(rounds, rounds, 0), || told(&cluster, "a"));
            assert_eq!(goes_on(&cluster, &gate), pid, "it was not kept");
        }
        let heeded = format!("held: {BY_CLIENT}");
        assert_eq!(gate.heeded(), [&*heeded, &*heeded, &*heeded]);
        assert_eq!(cluster.settled("a"), before);
        for verdict in [Verdict::Hang, Verdict::Burn] {
            let (mut client, request) = start_at(&cluster, "gated", &gate);
            let held = gate.next();
            let executor = Watched::new(held.pid).expect("it runs");
            held.tell(verdict);
            cancel(&client, request);
            is_cancelled(&mut client);
            assert!(executor.ends_within(PROMPTLY), "its executor goes on");
            assert_ne!(goes_on(&cluster, &gate), pid);
        }
        assert_eq!(told(&cluster, "a"), (rounds + 2, rounds, 2));
        assert_eq!(cluster.settled("a"), before);
    }
}

#[test]
fn what_runs_elsewhere_is_told_why_and_its_executors_are_kept() {
    const TWO: &str = "
workflow: two
input: { gate: bytes }
timeout_ms: TIMEOUT
nodes:
  here: { function: test-functions:gate, input: { gate: input.gate }, output: { out: bytes } }
  there: { function: test-functions:gate, input: { gate: input.gate }, output: { out: bytes } }
output: { here: here.out, there: there.out }
";
    let cluster = Setup::workers(&["a", "b"]).start();
    let gate = Gate::new(cluster.folder(), "gate");
    let by_node = || {
        let mut held = [gate.next(), gate.next()];
        held.sort_by(|one, other| one.node.cmp(&other.node));
        held
    };
    let deploy = |timeout_ms: &str| {
        let pins = [("here", "a"), ("there", "b")];
        cluster.deploy(&TWO.replace("TIMEOUT", timeout_ms), &pins);
    };
    let mut expected = Vec::new();
    let mut heeded = |client: Client, lines: &[(&str, &str)]| {
        drop(client);
        expected.extend(lines.iter().map(|(node, why)| format!("{node}: {why}")));
        expected.sort();
        until_equal(&expected, || {
            let mut heeded = gate.heeded();
            heeded.sort();
            heeded
        });
        for worker in ["a", "b"] {
            let _ = cluster.settled(worker);
        }
    };
    let pids = |held: &[Held; 2]| [held[0].pid, held[1].pid];

    deploy("3600000");
    let (mut client, request) = start_at(&cluster, "two", &gate);
    let held = by_node();
    let executors = pids(&held);
    held.into_iter().for_each(|held| held.tell(Verdict::Heed));
    cancel(&client, request);
    is_cancelled(&mut client);
    heeded(client, &[("here", BY_CLIENT), ("there", BY_CLIENT)]);

    // It fails on either worker.
    for (fails, other) in [(0, "there"), (1, "here")] {
        let (mut client, _) = start_at(&cluster, "two", &gate);
        let held = by_node();
        assert_eq!(pids(&held), executors);
        for (index, held) in held.into_iter().enumerate() {
            let verdict = [Verdict::Heed, Verdict::Fail][usize::from(index == fails)];
            held.tell(verdict);
        }
        let result = answer(&mut client).result;
        assert!(matches!(result, Err(Failure::Node { .. })), "{result:?}");
        heeded(client, &[(other, FAILED)]);
    }

    deploy("200");
    let (mut client, _) = start_at(&cluster, "two", &gate);
    let held = by_node().into_iter();
    held.for_each(|held| held.tell(Verdict::Look));
    let result = answer(&mut client).result;
    assert!(matches!(result, Err(Failure::Timeout { .. })), "{result:?}");
    heeded(client, &[("here", TIMED_OUT), ("there", TIMED_OUT)]);
    for worker in ["a", "b"] {
        assert_eq!(cluster.counter(worker, "told_killed"), 0);
    }
}

#[test]
fn a_program_that_ends_when_it_is_asked_to_leaves_its_executor_alone() {
    let cluster = Setup::workers(&["a"]).start();
    let (pids, asked) = (cluster.path("pids"), cluster.path("asked"));
    let workflow = format!(
        "
workflow: waits
nodes:
  waits:
    command: [sh, -c, 'trap \"echo >> {1}; exit 3\" TERM; sleep 1000 & echo $PPID $$ $! > {0}.part; mv {0}.part {0}; wait']
    output: {{ out: bytes }}
output: {{ out: waits.out }}
",
        pids.display(),
        asked.display()
    );
    cluster.deploy(&workflow, &[]);
    let mut executors = BTreeSet::new();
    for round in 1..=3 {
        let mut client = cluster.client("a");
        let request = start(&mut client, "waits", &[]);
        let said = until("the program runs", || std::fs::read_to_string(&pids).ok());
        std::fs::remove_file(&pids).expect("it is there");
        let [executor, processes @ ..] = &*said.split_whitespace().collect::<Vec<_>>() else {
            panic!("no executor: {said}");
        };
        executors.insert((*executor).to_owned());
        cancel(&client, request);
        is_cancelled(&mut client);
        for pid in processes {
            until("the program and what it has started are ended", || {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
                let stat = stat.unwrap_or_default();
                (stat.is_empty() || stat.contains(") Z ")).then_some(())
            });
        }
        until_equal(&(round, round, 0), || told(&cluster, "a"));
        let lines = std::fs::read_to_string(&asked).unwrap_or_default();
        assert_eq!(lines.len() as u64, round, "it was not asked to end");
    }
    assert_eq!(executors.len(), 1, "{executors:?}");
    let executor: u32 = executors
        .first()
        .and_then(|pid| pid.parse().ok())
        .unwrap_or(0);
    assert_eq!(cluster.executors("a"), [executor]);
}

#[test]
fn a_worker_that_is_told_to_end_gives_what_runs_its_grace() {
    for signal in [EndSignal::SIGTERM, EndSignal::SIGINT] {
        let mut cluster = Setup::workers(&["a"]).start();
        let log = cluster.path("log");
        let workflow = format!(
            "
workflow: tidies
input: {{ gate: bytes }}
nodes:
  tidies:
    command: [sh, -c, 'trap \"echo asked >> {0}; sleep 0.3; echo tidy >> {0}; exit 0\" TERM; echo runs >> {0}; sleep 1000 & wait']
    output: {{ out: bytes }}
  held: {{ function: test-functions:gate, input: {{ gate: input.gate }}, output: {{ out: bytes }} }}
  next: {{ command: [touch, {1}], input: {{ text: held.out }}, output: {{ out: bytes }} }}
output: {{ tidies: tidies.out, next: next.out }}
",
            log.display(),
            cluster.path("next").display(),
        );
        cluster.deploy(&workflow, &[]);
        let read = || std::fs::read_to_string(&log).unwrap_or_default();
        let gate = Gate::new(cluster.folder(), "gate");
        let (mut client, _) = start_at(&cluster, "tidies", &gate);
        let held = gate.next();
        held.tell(Verdict::Heed);
        until_equal(&"runs\n".to_owned(), read);
        assert_eq!(cluster.worker_mut("a").end_by(signal), Some(0));
        assert_eq!(read(), "runs\nasked\ntidy\n");
        assert_eq!(gate.heeded(), [format!("held: {FAILED}")]);
        assert!(!cluster.path("next").exists(), "nothing starts any more");
        let lost = client.next_answer();
        assert!(matches!(lost, Err(ClientError::Lost { .. })), "{lost:?}");
    }
}

#[test]
fn a_worker_that_is_told_to_end_kills_what_does_not_heed_it() {
    let mut cluster = Setup::workers(&["a"]).flag("--grace-ms=100").start();
    cluster.deploy(GATED, &[]);
    let gate = Gate::new(cluster.folder(), "gate");
    let (_client, _) = start_at(&cluster, "gated", &gate);
    let held = gate.next();
    let executor = Watched::new(held.pid).expect("it runs");
    held.tell(Verdict::Hang);
    assert_eq!(cluster.worker_mut("a").end_by(EndSignal::SIGTERM), Some(0));
    assert!(executor.ends_within(Duration::ZERO), "its executor goes on");
}

#[test]
fn whatever_ends_just_when_it_is_told_the_next_one_is_not_told() {
    const DOZES: &str = "
workflow: dozes
input: { time: bytes }
nodes:
  doze: { function: test-functions:doze, input: { in: input.time }, output: { out: bytes } }
output: { out: doze.out }
";
    let cluster = Setup::workers(&["a"]).start();
    cluster.deploy(DOZES, &[]);
    let mut client = cluster.client("a");
    let invoke = |client: &mut Client, time_us: u32| {
        let time = bytes(time_us.to_string());
        start(client, "dozes", &[("time", time)])
    };
    let _ = invoke(&mut client, 0);
    let executor = output(&answer(&mut client), "out").to_vec();
    let (mut well, mut cancelled) = (0, 0);
    for round in 0..400 {
        let first = invoke(&mut client, round % 200);
        // This one waits for the same executor, and is not disturbed.
        let second = invoke(&mut client, 50);
        std::thread::sleep(Duration::from_micros(u64::from(round / 4)));
        cancel(&client, first);
        for _ in 0..2 {
            let answered = answer(&mut client);
            match &answered.result {
                Err(Failure::Cancelled) => {
                    assert_eq!(answered.request, first, "round {round}");
                    cancelled += 1;
                }
                _ => {
                    assert_eq!(output(&answered, "out"), executor, "round {round}");
                    well += u32::from(answered.request == second);
                }
            }
        }
    }
    assert_eq!(well, 400, "of which none was cancelled");
    assert!(cancelled > 0, "no cancel came in time");
    let (all, returned, killed) = told(&cluster, "a");
    assert_eq!((all, killed), (returned, 0));
}

#[test]
fn an_executor_that_is_killed_while_it_is_told_is_one_that_died() {
    let cluster = Setup::workers(&["a"]).flag("--grace-ms=3600000").start();
    cluster.deploy(GATED, &[]);
    let gate = Gate::new(cluster.folder(), "gate");
    let pid = goes_on(&cluster, &gate);
    let before = cluster.settled("a");
    let (mut client, request) = start_at(&cluster, "gated", &gate);
    let held = gate.next();
    let executor = Watched::new(held.pid).expect("it runs");
    held.tell(Verdict::Hang);
    cancel(&client, request);
    is_cancelled(&mut client);
    drop(client);
    assert!(executor.signal(Signal::KILL));
    assert_ne!(goes_on(&cluster, &gate), pid);
    assert_eq!(told(&cluster, "a"), (1, 0, 0));
    assert_eq!(cluster.settled("a"), before);
}

#[test]
fn the_grace_is_as_long_as_a_worker_is_told() {
    let hangs = |flags: &[&str], name: &str| {
        let setup = flags
            .iter()
            .fold(Setup::workers(&["a"]), |setup, flag| setup.flag(flag));
        let cluster = setup.start();
        cluster.deploy(GATED, &[]);
        let gate = Gate::new(cluster.folder(), name);
        let (mut client, request) = start_at(&cluster, "gated", &gate);
        let held = gate.next();
        let executor = Watched::new(held.pid).expect("it runs");
        held.tell(Verdict::Hang);
        cancel(&client, request);
        is_cancelled(&mut client);
        (cluster, executor)
    };
    // The one that has an hour was told first, and outlives the one that has a second.
    let (_long, patient) = hangs(&["--grace-ms=3600000"], "long");
    let (_usual, hasty) = hangs(&[], "usual");
    assert!(hasty.ends_within(PROMPTLY), "its executor goes on");
    assert!(!patient.ends_within(Duration::ZERO), "it has an hour");
    let (_none, at_once) = hangs(&["--grace-ms=0"], "none");
    assert!(at_once.ends_within(PROMPTLY), "its executor goes on");
}

#[test]
fn what_the_synthetic_function_takes_of_time_ends_when_it_is_told() {
    let cluster = Setup::workers(&["a"]).start();
    let workflow = "
workflow: long
input: { parameters: bytes }
nodes:
  run: { function: synthetic:run, input: { parameters: input.parameters }, output: { out: bytes } }
output: { out: run.out }
";
    cluster.deploy(workflow, &[]);
    let executors = cluster.executors("a");
    for (round, busy) in (1..).zip([0, 1]) {
        let parameters = format!("{{\"runtime_ms\": 3600000, \"busy\": {busy}}}");
        let mut client = cluster.client("a");
        let request = start(&mut client, "long", &[("parameters", bytes(parameters))]);
        until_equal(&1, || cluster.counter("a", "in_flight"));
        cancel(&client, request);
        is_cancelled(&mut client);
        until_equal(&(round, round, 0), || told(&cluster, "a"));
    }
    assert_eq!(cluster.executors("a"), executors);
    assert!(Path::new("/proc").join(executors[0].to_string()).exists());
}
