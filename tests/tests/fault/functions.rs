//! Functions and executors that fail: retried as their `retry` says, then the invocation fails by name; the worker and
//! everyone else on it go on.

use engine::wire::Failure;
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::gate::{Gate, Held, Verdict};
use faasflow_tests::process::{PROMPTLY, Watched};
use master::client::{Answered, Client, Invocation};
use rustix::process::Signal;

/// One node at a gate, with more keys to it.
fn gated(more: &str) -> String {
    format!(
        "
workflow: gated
input: {{ gate: bytes }}
nodes:
  held:
    function: test-functions:gate
    input: {{ gate: input.gate }}
    output: {{ out: bytes }}
    {more}
output: {{ out: held.out }}
"
    )
}

const RETRIED: &str = "retry: { attempts: 2, backoff_ms: 10 }";

/// A worker, a gated workflow on it, and its gate.
struct Fixture {
    cluster: Cluster,
    gate: Gate,
}

impl Fixture {
    fn new(more: &str) -> Self {
        let cluster = Setup::workers(&["a"]).start();
        cluster.deploy(&gated(more), &[]);
        let gate = Gate::new(cluster.folder(), "gate");
        Self { cluster, gate }
    }

    /// Starts an invocation; the function is then at the gate.
    fn start(&self) -> (Client, Held) {
        let mut client = self.cluster.client("a");
        let inputs = [("gate".to_owned(), bytes(self.gate.input()))];
        let invocation = Invocation {
            workflow: "gated",
            inputs: &inputs,
            report: true,
            trace: false,
        };
        client.start(&invocation).expect("the worker takes it");
        (client, self.gate.next())
    }

    /// An invocation that is not disturbed ends well.
    #[track_caller]
    fn goes_on(&self) {
        let (client, held) = self.start();
        held.tell(Verdict::Pass);
        assert_eq!(output(&answer(client), "out"), b"attempt 1");
        let _ = self.cluster.settled("a");
    }
}

#[track_caller]
fn answer(mut client: Client) -> Answered {
    client.next_answer().expect("the worker answers")
}

/// Asserts that the node failed at this attempt, by a cause in which each of `words` stands.
#[track_caller]
fn failed(answered: &Answered, attempt: u32, words: &[&str]) {
    let Err(Failure::Node {
        node,
        worker,
        attempt: at,
        cause,
    }) = &answered.result
    else {
        panic!("{:?}", answered.result)
    };
    assert_eq!(
        (node.as_str(), worker.as_str(), *at),
        ("held", "a", attempt),
        "{cause}"
    );
    for word in words {
        assert!(cause.contains(word), "no {word:?} in: {cause}");
    }
}

#[test]
fn a_failure_without_retry_names_node_worker_attempt_and_cause() {
    let fixture = Fixture::new("");
    let verdicts = [
        (Verdict::Fail, "as told"),
        (Verdict::Panic, "panicked: as told"),
        (Verdict::Forget, "out"),
        (Verdict::Abort, "killed by signal 6"),
        (Verdict::Exit, "exited with status 0"),
    ];
    for (verdict, word) in verdicts {
        let (client, held) = fixture.start();
        held.tell(verdict);
        failed(&answer(client), 1, &[word]);
        fixture.goes_on();
    }
    assert_eq!(fixture.cluster.counter("a", "executor_deaths"), 2);
    assert_eq!(fixture.cluster.counter("a", "retries"), 0);
    assert_eq!(fixture.cluster.counter("a", "invocations_failed"), 5);
}

#[test]
fn a_failure_is_retried_as_retry_says() {
    let fixture = Fixture::new(RETRIED);
    let verdicts = [
        Verdict::Fail,
        Verdict::Panic,
        Verdict::Forget,
        Verdict::Abort,
        Verdict::Exit,
    ];
    for verdict in verdicts {
        let (client, held) = fixture.start();
        held.tell(verdict);
        let again = fixture.gate.next();
        assert_eq!(again.attempt, 2);
        again.tell(Verdict::Pass);
        assert_eq!(output(&answer(client), "out"), b"attempt 2", "{verdict:?}");

        let (client, held) = fixture.start();
        held.tell(verdict);
        fixture.gate.next().tell(verdict);
        failed(&answer(client), 2, &[]);
    }
    fixture.goes_on();
    assert_eq!(fixture.cluster.counter("a", "retries"), 10);
}

#[test]
fn an_executor_killed_in_mid_activation_is_replaced_and_the_invocation_ends() {
    let fixture = Fixture::new(RETRIED);
    let (client, held) = fixture.start();
    let executor = Watched::new(held.pid).unwrap();
    assert!(executor.signal(Signal::KILL));
    let again = fixture.gate.next();
    assert_eq!(again.attempt, 2);
    assert_ne!(again.pid, held.pid);
    again.tell(Verdict::Pass);
    assert_eq!(output(&answer(client), "out"), b"attempt 2");
    fixture.goes_on();
    assert_eq!(fixture.cluster.counter("a", "executor_deaths"), 1);
}

#[test]
fn an_executor_killed_in_mid_activation_fails_the_invocation_by_name_without_retry() {
    let fixture = Fixture::new("");
    let (client, held) = fixture.start();
    assert!(Watched::new(held.pid).unwrap().signal(Signal::KILL));
    let pid = held.pid.to_string();
    failed(&answer(client), 1, &[&pid, "killed by signal 9"]);
    fixture.goes_on();
}

#[test]
fn an_idle_executor_that_dies_is_replaced() {
    let fixture = Fixture::new("");
    fixture.goes_on();
    let before = fixture.cluster.settled("a");
    let [pid] = fixture.cluster.executors("a")[..] else {
        panic!("one executor was asked for")
    };
    let executor = Watched::new(pid).unwrap();
    assert!(executor.signal(Signal::KILL) && executor.ends_within(PROMPTLY));
    fixture.goes_on();
    assert_eq!(fixture.cluster.settled("a"), before);
    assert_ne!(fixture.cluster.executors("a"), [pid]);
}

#[test]
fn a_function_that_hangs_is_killed_at_its_timeout_and_retried_as_told() {
    for verdict in [Verdict::Hang, Verdict::Burn] {
        // Long enough for an undisturbed activation on a busy machine.
        let fixture = Fixture::new(&format!("timeout_ms: 1500\n    {RETRIED}"));
        let (client, held) = fixture.start();
        let executor = Watched::new(held.pid).unwrap();
        held.tell(verdict);
        let again = fixture.gate.next();
        assert!(executor.ends_within(PROMPTLY));
        assert_eq!(again.attempt, 2);
        again.tell(Verdict::Pass);
        assert_eq!(output(&answer(client), "out"), b"attempt 2");

        let (client, held) = fixture.start();
        held.tell(verdict);
        fixture.gate.next().tell(verdict);
        failed(&answer(client), 2, &["timeout of 1500 ms"]);
        fixture.goes_on();
        assert_eq!(fixture.cluster.counter("a", "timeouts"), 3);
    }
}

#[test]
fn what_runs_for_a_failed_invocation_elsewhere_is_told_and_then_killed() {
    let cluster = Setup::workers(&["a", "b"]).start();
    let both = "
workflow: both
input: { one: bytes, two: bytes }
nodes:
  one: { function: test-functions:gate, input: { gate: input.one }, output: { out: bytes } }
  two: { function: test-functions:gate, input: { gate: input.two }, output: { out: bytes } }
output: { one: one.out, two: two.out }
";
    cluster.deploy(both, &[("one", "a"), ("two", "b")]);
    let (one, two) = (
        Gate::new(cluster.folder(), "1"),
        Gate::new(cluster.folder(), "2"),
    );
    let mut client = cluster.client("a");
    let inputs = [
        ("one".to_owned(), bytes(one.input())),
        ("two".to_owned(), bytes(two.input())),
    ];
    let invocation = Invocation {
        workflow: "both",
        inputs: &inputs,
        report: false,
        trace: false,
    };
    client.start(&invocation).unwrap();
    let (first, second) = (one.next(), two.next());
    let hanging = Watched::new(second.pid).unwrap();
    second.tell(Verdict::Hang);
    first.tell(Verdict::Fail);
    let answered = answer(client);
    assert!(
        matches!(&answered.result, Err(Failure::Node { node, .. }) if node == "one"),
        "{:?}",
        answered.result
    );
    assert!(hanging.ends_within(PROMPTLY), "it hangs on for nobody");
    for worker in ["a", "b"] {
        let _ = cluster.settled(worker);
    }
}

#[test]
fn wrong_outputs_fail_the_activation_and_nothing_else() {
    let cluster = Setup::workers(&["a"]).start();
    for (function, word) in [
        ("wrong_name", "nothing_of_that_name"),
        ("twice", "twice"),
        ("beyond", "memory"),
    ] {
        let workflow = format!(
            "
workflow: wrong
input: {{ in: bytes }}
nodes:
  held: {{ function: \"test-functions:{function}\", input: {{ in: input.in }}, output: {{ out: bytes }} }}
output: {{ out: held.out }}
"
        );
        cluster.deploy(&workflow, &[]);
        for _ in 0..3 {
            let answered = cluster.invoke("a", "wrong", &[("in", bytes("text"))]);
            failed(&answered.expect("the worker answers"), 1, &[word]);
        }
    }
    let _ = cluster.settled("a");
    assert_eq!(cluster.counter("a", "executor_deaths"), 0);
    assert_eq!(cluster.counter("a", "corrupt_messages"), 0);
}

#[test]
fn one_item_of_many_that_fails_fails_the_invocation_and_leaves_nothing() {
    let cluster = Setup::workers(&["a", "b"]).start();
    let workflow = "
workflow: items
input: { shape: value }
nodes:
  make: { function: test-functions:items, input: { shape: input.shape }, output: { list: list } }
  held: { function: test-functions:fail, foreach: make.list, input: { in: item }, output: { out: bytes } }
  after: { function: test-functions:digest_list, input: { list: held.out }, output: { out: bytes } }
output: { out: after.out }
";
    cluster.deploy(workflow, &[("make", "b"), ("held", "a"), ("after", "b")]);
    for _ in 0..5 {
        let inputs = [("shape", bytes("[1000, 50]"))];
        let answered = cluster
            .invoke("b", "items", &inputs)
            .expect("the worker answers");
        failed(&answered, 1, &[]);
    }
    let ends = cluster.invoke("a", "items", &[("shape", bytes("[0, 0]"))]);
    let _ = output(&ends.expect("the worker answers"), "out");
    for worker in ["a", "b"] {
        let _ = cluster.settled(worker);
    }
}
