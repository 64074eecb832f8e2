//! Cancelling by the client, with real processes: what runs is killed after its grace, what has not started never starts,
//! everything comes back, and the next invocation finds a worker as good as before.

use engine::wire::Failure;
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::gate::{Gate, Held, Verdict};
use faasflow_tests::process::{PROMPTLY, Watched, until, until_equal};
use master::client::{Answered, Client, ClientError, Invocation, Payload};
use std::time::Duration;

/// `held` is at the gate; `behind` reads what it returns.
const GATED: &str = "
workflow: gated
input: { gate: bytes }
nodes:
  held: { function: test-functions:gate, input: { gate: input.gate }, output: { out: bytes } }
  behind: { function: test-functions:upper, input: { in: held.out }, output: { out: bytes } }
output: { out: behind.out }
";

/// Workers with that workflow, and its gate.
struct Fixture {
    cluster: Cluster,
    gate: Gate,
}

impl Fixture {
    fn new(workers: &[&str], pins: &[(&str, &str)]) -> Self {
        let cluster = Setup::workers(workers).start();
        cluster.deploy(GATED, pins);
        let gate = Gate::new(cluster.folder(), "gate");
        Self { cluster, gate }
    }

    /// Starts an invocation at worker `a`; the function is then at the gate.
    fn start(&self) -> (Client, u64, Held) {
        let mut client = self.cluster.client("a");
        let request = start(&mut client, "gated", &[("gate", bytes(self.gate.input()))]);
        (client, request, self.gate.next())
    }

    /// An invocation that is not disturbed ends well.
    #[track_caller]
    fn goes_on(&self) {
        let (client, _, held) = self.start();
        held.tell(Verdict::Pass);
        assert_eq!(output(&answer(client), "out"), b"ATTEMPT 1");
    }
}

#[track_caller]
fn start(client: &mut Client, workflow: &str, inputs: &[(&str, Payload)]) -> u64 {
    let inputs = faasflow_tests::cluster::named(inputs);
    let invocation = Invocation {
        workflow,
        inputs: &inputs,
        report: true,
        trace: true,
    };
    client.start(&invocation).expect("the worker takes it")
}

#[track_caller]
fn answer(mut client: Client) -> Answered {
    client.next_answer().expect("the worker answers")
}

#[track_caller]
fn cancelled(answered: &Answered) {
    assert_eq!(answered.result, Err(Failure::Cancelled));
}

/// Waits until it is over on this worker, and nothing is held there.
#[track_caller]
fn over(cluster: &Cluster, worker: &str) {
    let _ = cluster.settled(worker);
}

#[test]
fn what_is_cancelled_in_mid_activation_is_killed_after_its_grace_and_nothing_is_held() {
    let fixture = Fixture::new(&["a"], &[]);
    fixture.goes_on();
    let before = fixture.cluster.settled("a");
    for verdict in [None, Some(Verdict::Hang), Some(Verdict::Burn)] {
        let (client, request, held) = fixture.start();
        let executor = Watched::new(held.pid).expect("it runs");
        let canceller = client.canceller();
        if let Some(verdict) = verdict {
            held.tell(verdict);
        }
        let cancelling = std::thread::spawn(move || canceller.cancel(request));
        let answered = answer(client);
        cancelled(&answered);
        assert_eq!(answered.request, request);
        assert_eq!(answered.trace[0].records.len(), 1, "{:?}", answered.trace);
        let sent = cancelling.join().expect("it does not panic");
        sent.expect("the worker is there");
        assert!(executor.ends_within(PROMPTLY), "its executor goes on");
        fixture.goes_on();
        assert_eq!(fixture.cluster.settled("a"), before);
    }
    let counter = |name| fixture.cluster.counter("a", name);
    assert_eq!(counter("invocations_cancelled"), 3);
    assert_eq!(counter("invocations_failed"), 3);
    assert_eq!(counter("cancels_dropped"), 0);
}

#[test]
fn what_returns_within_its_grace_keeps_its_executor_and_its_result_is_dropped() {
    let fixture = Fixture::new(&["a"], &[]);
    let (client, request, held) = fixture.start();
    let pid = held.pid;
    let sent = client.canceller().cancel(request);
    sent.expect("the worker is there");
    cancelled(&answer(client));
    held.tell(Verdict::Pass);
    over(&fixture.cluster, "a");
    assert_eq!(fixture.cluster.counter("a", "late_dropped"), 1);
    let (client, _, held) = fixture.start();
    assert_eq!(held.pid, pid, "another executor runs it");
    held.tell(Verdict::Pass);
    assert_eq!(output(&answer(client), "out"), b"ATTEMPT 1");
}

#[test]
fn a_cancel_reaches_the_other_workers_and_what_has_not_started_never_starts() {
    let pins = [("held", "b"), ("behind", "a")];
    let fixture = Fixture::new(&["a", "b"], &pins);
    fixture.goes_on();
    let before = ["a", "b"].map(|worker| fixture.cluster.settled(worker));
    let activations = || ["a", "b"].map(|worker| fixture.cluster.counter(worker, "activations"));
    let ran = activations();
    let (client, request, held) = fixture.start();
    let executor = Watched::new(held.pid).expect("it runs");
    let sent = client.canceller().cancel(request);
    sent.expect("the worker is there");
    cancelled(&answer(client));
    assert!(executor.ends_within(PROMPTLY), "its executor goes on");
    drop(held);
    for worker in ["a", "b"] {
        over(&fixture.cluster, worker);
    }
    // Activations count when they have ended.
    assert_eq!(activations(), ran, "something has run to its end");
    // An executor takes the place of the one that was killed.
    fixture.goes_on();
    let after = ["a", "b"].map(|worker| fixture.cluster.settled(worker));
    assert_eq!(after, before);
}

#[test]
fn a_foreach_of_many_items_is_cancelled_and_its_other_items_never_start() {
    const EACH: &str = "
workflow: each
input: { gate: bytes, items: list }
nodes:
  held:
    function: test-functions:gate
    foreach: input.items
    input: { gate: input.gate, item: item }
    output: { out: bytes }
    resources: { scale: 2 }
  all: { function: test-functions:digest_list, input: { list: held.out }, output: { out: bytes } }
output: { out: all.out }
";
    let cluster = Setup::workers(&["a", "b"]).start();
    cluster.deploy(EACH, &[("held", "b"), ("all", "a")]);
    let gate = Gate::new(cluster.folder(), "gate");
    let items = Payload::list((0..5_000).map(|item| vec![item as u8; 40]).collect());
    let mut client = cluster.client("a");
    let inputs = [("gate", bytes(gate.input())), ("items", items)];
    let request = start(&mut client, "each", &inputs);
    for _ in 0..20 {
        gate.next().tell(Verdict::Pass);
    }
    let held = [gate.next(), gate.next()];
    let executors = held.each_ref().map(|held| Watched::new(held.pid));
    let sent = client.canceller().cancel(request);
    sent.expect("the worker is there");
    cancelled(&answer(client));
    for executor in executors {
        let ended = executor.expect("it runs").ends_within(PROMPTLY);
        assert!(ended, "its executor goes on");
    }
    over(&cluster, "a");
    over(&cluster, "b");
    assert_eq!(cluster.counter("b", "activations"), 20);
    let more = gate.next_within(Duration::ZERO);
    assert!(more.is_none(), "one more item has started: {more:?}");
}

#[test]
fn the_program_of_a_command_that_is_cancelled_is_ended() {
    let cluster = Setup::workers(&["a"]).start();
    let path = cluster.path("pids");
    let workflow = format!(
        "
workflow: sleeps
nodes:
  sleeps:
    command: [sh, -c, 'sleep 1000 & echo $$ $! > {0}.part; mv {0}.part {0}; wait']
    output: {{ out: bytes }}
output: {{ out: sleeps.out }}
",
        path.display()
    );
    cluster.deploy(&workflow, &[]);
    let mut client = cluster.client("a");
    let request = start(&mut client, "sleeps", &[]);
    let pids = until("the program runs", || std::fs::read_to_string(&path).ok());
    let sent = client.canceller().cancel(request);
    sent.expect("the worker is there");
    cancelled(&answer(client));
    for pid in pids.split_whitespace() {
        let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        until("the program and what it has started are ended", || {
            let state = state();
            (state.is_empty() || state.contains(") Z ")).then_some(())
        });
    }
    over(&cluster, "a");
}

#[test]
fn all_that_is_under_way_on_a_connection_is_cancelled_and_nothing_of_another_one() {
    let fixture = Fixture::new(&["a"], &[]);
    let (mut first, _, held) = fixture.start();
    let more = [("gate", bytes(fixture.gate.input()))];
    let (mut second, mut third) = (fixture.cluster.client("a"), fixture.cluster.client("a"));
    // These wait for the only executor.
    let requests = [(); 3].map(|()| start(&mut second, "gated", &more));
    let other = start(&mut third, "gated", &more);
    // The same number, on another connection.
    assert_eq!(requests[0], other);
    until_equal(&5, || fixture.cluster.counter("a", "in_flight"));
    let canceller = second.canceller();
    canceller.cancel_all().expect("the worker is there");
    let mut answered = requests.map(|_| second.next_answer().expect("the worker answers"));
    answered.sort_by_key(|answered| answered.request);
    for (answered, request) in answered.iter().zip(requests) {
        cancelled(answered);
        assert_eq!(answered.request, request);
    }
    let refused = second.start(&Invocation {
        workflow: "gated",
        inputs: &faasflow_tests::cluster::named(&more),
        report: false,
        trace: false,
    });
    assert!(
        matches!(refused, Err(ClientError::Cancelled)),
        "{refused:?}"
    );
    held.tell(Verdict::Pass);
    fixture.gate.next().tell(Verdict::Pass);
    for client in [&mut first, &mut third] {
        let answered = client.next_answer().expect("the worker answers");
        assert_eq!(output(&answered, "out"), b"ATTEMPT 1");
    }
    drop((first, second, third));
    over(&fixture.cluster, "a");
    assert_eq!(fixture.cluster.counter("a", "invocations_cancelled"), 3);
}
