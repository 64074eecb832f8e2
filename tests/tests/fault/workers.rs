//! Workers that die, in mid-invocation and in mid-function: whoever waited is told who it was, the others go on, and no
//! executor outlives its worker.

use engine::plan::Limits;
use engine::wire::Failure;
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::gate::{Gate, Held, Verdict};
use faasflow_tests::process::{PROMPTLY, Watched, until};
use master::client::{Client, ClientError, Invocation};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::{Duration, Instant};

/// How long a peer may be silent, where a test says so.
const SILENCE_MAX: Duration = Duration::from_millis(500);

const GATED: &str = "
workflow: gated
input: { gate: bytes }
nodes:
  before: { function: test-functions:echo, input: { in: input.gate }, output: { out: bytes } }
  held: { function: test-functions:gate, input: { gate: before.out }, output: { out: bytes } }
  behind: { function: test-functions:upper, input: { in: held.out }, output: { out: bytes } }
output: { out: behind.out }
";

const LOCAL: &str = "
workflow: local
input: { text: bytes }
nodes:
  upper: { function: test-functions:upper, input: { in: input.text }, output: { out: bytes } }
output: { out: upper.out }
";

/// `before` and `behind` on `a`, `held` on `b`; and a workflow that is served by `a` alone.
fn deployed() -> (Cluster, Gate) {
    let cluster = Setup::workers(&["a", "b"]).start();
    deploy_gated(&cluster);
    cluster
        .deploy_on(&["a"], LOCAL, &[], Limits::default())
        .expect("it is accepted");
    let gate = Gate::new(cluster.folder(), "gate");
    (cluster, gate)
}

fn deploy_gated(cluster: &Cluster) {
    cluster.deploy(GATED, &[("before", "a"), ("held", "b"), ("behind", "a")]);
}

fn start(cluster: &Cluster, worker: &str, gate: &Gate) -> (Client, Held) {
    let mut client = cluster.client(worker);
    let inputs = [("gate".to_owned(), bytes(gate.input()))];
    let invocation = Invocation {
        workflow: "gated",
        inputs: &inputs,
        report: false,
        trace: false,
    };
    client.start(&invocation).expect("the worker takes it");
    (client, gate.next())
}

#[track_caller]
fn gated_works(cluster: &Cluster, gate: &Gate) {
    for worker in ["a", "b"] {
        let (mut client, held) = start(cluster, worker, gate);
        assert_eq!(held.worker, "b");
        held.tell(Verdict::Pass);
        let answered = client.next_answer().expect("the worker answers");
        assert_eq!(output(&answered, "out"), b"ATTEMPT 1");
    }
}

#[track_caller]
fn local_works(cluster: &Cluster) {
    let answered = cluster.invoke("a", "local", &[("text", bytes("text"))]);
    assert_eq!(
        output(&answered.expect("the worker answers"), "out"),
        b"TEXT"
    );
}

#[test]
fn a_client_is_told_which_worker_died_and_the_other_goes_on() {
    let (mut cluster, gate) = deployed();
    gated_works(&cluster, &gate);
    let (mut client, held) = start(&cluster, "a", &gate);
    let executor = Watched::new(held.pid).unwrap();

    let killed = Instant::now();
    assert_eq!(cluster.worker_mut("b").end_by(Signal::SIGKILL), None);
    let answered = client.next_answer().expect("the other worker answers");
    assert!(killed.elapsed() < PROMPTLY, "{:?}", killed.elapsed());
    match &answered.result {
        Err(Failure::Worker { worker, .. }) => assert_eq!(worker, "b"),
        other => panic!("{other:?}"),
    }
    assert!(executor.ends_within(PROMPTLY));

    local_works(&cluster);
    // While it is away, an invocation that needs it fails as promptly, and says who is missing.
    let asked = Instant::now();
    let inputs = [("gate", bytes(gate.input()))];
    let answered = cluster
        .invoke("a", "gated", &inputs)
        .expect("the worker answers");
    let failure = answered.result.expect_err("the worker is gone").to_string();
    assert!(failure.contains("worker b"), "{failure}");
    assert!(asked.elapsed() < PROMPTLY, "{:?}", asked.elapsed());
    until("nothing is in flight", || {
        (cluster.counter("a", "invocations_held") == 0).then_some(())
    });

    cluster.restart("b");
    assert_eq!(cluster.status("b").epoch, 2);
    deploy_gated(&cluster);
    gated_works(&cluster, &gate);
    local_works(&cluster);
    // What was deployed on the worker that died is gone with it, on the other too.
    for (worker, count) in [("a", 2), ("b", 1)] {
        until("no earlier version is left", || {
            (cluster.status(worker).deployments.len() == count).then_some(())
        });
    }
}

#[test]
fn a_client_whose_own_worker_dies_is_told_and_the_other_lets_go() {
    let (mut cluster, gate) = deployed();
    let (mut client, held) = start(&cluster, "a", &gate);
    assert_eq!(cluster.worker_mut("a").end_by(Signal::SIGKILL), None);
    let error = client.next_answer().expect_err("the worker is gone");
    assert!(
        matches!(&error, ClientError::Lost { worker, .. } if worker.contains('a')),
        "{error}"
    );
    // Nobody waits for what the function makes; the worker ends it or drops what it made, and holds nothing.
    drop(held);
    until("the other worker has let go", || {
        (cluster.counter("b", "invocations_held") == 0).then_some(())
    });

    cluster.restart("a");
    deploy_gated(&cluster);
    gated_works(&cluster, &gate);
    for worker in ["a", "b"] {
        let _ = cluster.settled(worker);
    }
}

/// A process that is stopped, and goes on when this is dropped.
struct Stopped(Pid);

impl Stopped {
    fn new(pid: u32) -> Self {
        let pid = Pid::from_raw(pid as i32);
        kill(pid, Signal::SIGSTOP).expect("it is there");
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Fails only if it has ended.
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

#[test]
fn a_silent_worker_is_suspected_by_name_and_is_usable_again_when_it_goes_on() {
    let cluster = Setup::workers(&["a", "b"])
        .flag("--heartbeat-ms=50")
        .flag("--peer-silence-ms=500")
        .start();
    deploy_gated(&cluster);
    cluster
        .deploy_on(&["a"], LOCAL, &[], Limits::default())
        .expect("it is accepted");
    let gate = Gate::new(cluster.folder(), "gate");
    gated_works(&cluster, &gate);
    // Silent for longer than is allowed, but not without heartbeats.
    assert!(!cluster.worker("a").watched().ends_within(SILENCE_MAX * 2));
    assert_eq!(cluster.counter("a", "peers_suspected"), 0);
    assert!(cluster.counter("a", "heartbeats_received") > 10);
    assert!(cluster.counter("b", "heartbeats_sent") > 10);

    let (mut client, held) = start(&cluster, "a", &gate);
    let stopped = Stopped::new(cluster.worker("b").pid());
    let answered = client.next_answer().expect("the other worker answers");
    match &answered.result {
        Err(Failure::Worker { worker, cause }) => {
            assert_eq!(worker, "b");
            assert!(cause.contains("nothing was heard"), "{cause}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(cluster.counter("a", "peers_suspected"), 1);
    drop(client);
    // Until it goes on, whoever needs it is told at once who is missing, and the others are served.
    let inputs = [("gate", bytes(gate.input()))];
    let answered = cluster.invoke("a", "gated", &inputs);
    let failure = answered.expect("the worker answers").result.unwrap_err();
    assert!(failure.to_string().contains("worker b"), "{failure}");
    local_works(&cluster);
    until("nothing is in flight", || {
        (cluster.counter("a", "invocations_held") == 0).then_some(())
    });

    drop(stopped);
    drop(held);
    // It finds its connections closed, lets go, and connects anew; so does the other one.
    for (worker, counter) in [("a", "links_remade"), ("b", "links_remade")] {
        until("it is linked again", || {
            (cluster.counter(worker, counter) > 0).then_some(())
        });
    }
    until("both can be heard again", || {
        let held = |worker| cluster.counter(worker, "invocations_held");
        let linked = |worker| cluster.counter(worker, "links") == 2;
        (held("b") == 0 && linked("a") && linked("b")).then_some(())
    });
    gated_works(&cluster, &gate);
    assert_eq!(cluster.status("b").epoch, 1, "it is the same process");
    for worker in ["a", "b"] {
        let _ = cluster.settled(worker);
    }
}

#[test]
fn executors_end_with_their_worker_however_it_ends() {
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT] {
        let (mut cluster, gate) = deployed();
        let (_client, held) = start(&cluster, "a", &gate);
        let idle = cluster.executors("a");
        let busy = cluster.executors("b");
        assert!(busy.contains(&held.pid) && !idle.is_empty());
        let watched = |pids: Vec<u32>| pids.into_iter().map(|pid| Watched::new(pid).unwrap());
        let all: Vec<Watched> = watched(idle).chain(watched(busy)).collect();
        // In mid-function, and deaf to anything but a signal.
        held.tell(Verdict::Hang);
        for worker in ["a", "b"] {
            let code = cluster.worker_mut(worker).end_by(signal);
            let expected = (signal != Signal::SIGKILL).then_some(0);
            assert_eq!(code, expected, "{signal}: {}", cluster.log(worker));
        }
        for executor in all {
            let pid = executor.pid();
            assert!(
                executor.ends_within(PROMPTLY),
                "executor {pid} outlives {signal}"
            );
        }
    }
}

#[test]
fn a_worker_that_is_told_to_end_frees_its_state_and_address_for_the_next() {
    let (mut cluster, gate) = deployed();
    for epoch in 2..4 {
        for worker in ["a", "b"] {
            assert_eq!(cluster.worker_mut(worker).end_by(Signal::SIGTERM), Some(0));
            cluster.restart(worker);
            assert_eq!(cluster.status(worker).epoch, epoch);
        }
        deploy_gated(&cluster);
        gated_works(&cluster, &gate);
    }
}
