//! Maxima that are declared, by real workers: held by functions and lanes, proven before the run, and kept at the door.

use engine::wire::Failure;
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::gate::{Gate, Verdict};
use faasflow_tests::process::until;
use master::client::Invocation;
use serde_json::Value;
use std::time::Duration;

/// A function, and a command, that return what they are given, and may return less.
const CAUGHT: &str = "
workflow: caught
input: { text: { kind: bytes, max_bytes: 100 } }
nodes:
  function:
    function: test-functions:upper
    input: { text: input.text }
    output: { out: { kind: bytes, max_bytes: 8 } }
    catch: { on: output, to: rescue }
  command:
    command: [cat]
    input: { text: input.text }
    output: { out: { kind: bytes, max_bytes: 9 } }
    catch: { on: output, to: rescue }
  rescue: { command: [cat], input: { why: 'first_of(function.error, command.error)' }, output: { out: { kind: bytes, max_bytes: 4KiB } } }
output:
  function: { from: function.out, optional: true }
  command: { from: command.out, optional: true }
  why: { from: rescue.out, optional: true }
";

/// Executors that hold three invocations, of 1 MiB each.
const GATED: &str = "
workflow: gated
input: { gate: { kind: bytes, max_bytes: 1000 } }
nodes:
  held:
    function: test-functions:gate
    input: { gate: input.gate }
    output: { out: { kind: bytes, max_bytes: 1MiB } }
    resources: { memory_mib: 5, scale: 1 }
output: { out: held.out }
";

/// Executors that hold one invocation, which returns more than sockets do.
const LARGE: &str = "
workflow: large
input: { what: { kind: bytes, max_bytes: 100 } }
nodes:
  make:
    function: test-functions:produce
    input: { what: input.what }
    output: { out: { kind: bytes, max_bytes: 40MiB } }
    resources: { memory_mib: 64, scale: 1 }
output: { out: make.out }
";

fn json(cluster: &Cluster, arguments: &[&str]) -> (Option<i32>, Value) {
    let finished = cluster.faasflow(arguments);
    let value = serde_json::from_slice(&finished.stdout).unwrap_or_default();
    (finished.code, value)
}

#[test]
fn what_exceeds_its_maximum_is_a_failure_that_a_catch_takes() {
    let cluster = Setup::workers(&["a"]).start();
    cluster.deploy(CAUGHT, &[]);
    let pids = cluster.executors("a");
    let invoke = |text: &str| {
        let inputs = [("text", bytes(text))];
        cluster.invoke("a", "caught", &inputs).unwrap()
    };
    let fits = invoke("12345678");
    assert_eq!(output(&fits, "function"), b"12345678");
    assert_eq!(output(&fits, "command"), b"12345678");
    for (text, output_of) in [("123456789", "function"), ("1234567890", "function")] {
        let answered = invoke(text);
        let why: Value = serde_json::from_slice(output(&answered, "why")).unwrap();
        assert_eq!(
            (&why["node"], &why["class"]),
            (&output_of.into(), &"output".into())
        );
        let cause = why["cause"].as_str().unwrap();
        assert!(cause.contains("above its max_bytes of 8"), "{cause}");
    }
    // No executor was ended for it.
    assert_eq!(cluster.executors("a"), pids);
    let refused = invoke(&"x".repeat(101));
    match refused.result {
        Err(Failure::Refused { reason, memory, .. }) => {
            assert!(
                reason.contains("has 101 bytes, above its max_bytes of 100"),
                "{reason}"
            );
            assert_eq!(memory, None);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn as_many_as_the_quota_holds_are_let_in_and_the_next_is_refused_with_both_figures() {
    let cluster = Setup::workers(&["a"]).start();
    let file = cluster.file("gated.yaml", GATED);
    let address = cluster.worker("a").address().to_owned();
    let (code, planned) = json(&cluster, &["plan", &file, "--workers", &address, "--json"]);
    assert_eq!(code, Some(0));
    let (code, deployed) = json(
        &cluster,
        &["deploy", &file, "--workers", &address, "--json"],
    );
    assert_eq!(code, Some(0));
    assert_eq!(planned["memory"], deployed["memory"]);
    // Four MiB, less a quarter; the input may be gone before the output begins only when its reader has ended.
    let bytes_of_one = (1 << 20) + 1024;
    let memory = &deployed["memory"];
    assert_eq!(memory["invocation_bytes"], bytes_of_one, "{memory}");
    assert_eq!(memory["in_flight_max"], 3, "{memory}");
    assert_eq!(memory["workers"][0]["quota_bytes"], 4 << 20, "{memory}");

    let gate = Gate::new(cluster.folder(), "gate");
    let input = [("gate", bytes(gate.input()))];
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| cluster.invoke("a", "gated", &input).unwrap()))
            .collect();
        let first = gate.next();
        // One runs, two wait for its executor; all are in flight.
        while cluster.counter("a", "in_flight") < 3 {
            std::thread::yield_now();
        }
        let gate_input = format!("gate={}", String::from_utf8_lossy(&gate.input()));
        let invoke = [
            "invoke",
            "gated",
            "--workers",
            &address,
            "--json",
            "--input",
            &gate_input,
        ];
        let (code, refused) = json(&cluster, &invoke);
        assert_eq!(code, Some(1), "{refused}");
        let text = refused.to_string();
        let figures = [bytes_of_one.to_string(), (4 << 20).to_string()];
        assert!(figures.iter().all(|figure| text.contains(figure)), "{text}");
        // Who holds what is told meanwhile.
        let status = cluster.status("a");
        let holders = &status.workflows[0].holders;
        assert_eq!(holders.len(), 3, "{holders:?}");
        assert!(holders.is_sorted_by_key(|one| std::cmp::Reverse(one.age_ms)));
        assert!(holders.iter().all(|one| one.payloads[0].of == "input.gate"));

        first.tell(Verdict::Pass);
        for _ in 1..3 {
            gate.next().tell(Verdict::Pass);
        }
        for one in running {
            let _ = output(&one.join().unwrap(), "out");
        }
    });
}

#[test]
fn an_answer_that_is_not_read_keeps_its_place_at_the_door() {
    let cluster = Setup::workers(&["a"]).start();
    cluster.deploy(LARGE, &[]);
    let ended = || cluster.counter("a", "invocations_ended");
    let lets_one_in = || {
        let inputs = [("what", bytes("1 10"))];
        let answered = cluster.invoke("a", "large", &inputs).unwrap();
        match answered.result {
            Ok(_) => true,
            Err(Failure::Refused { memory, .. }) => {
                assert_eq!(memory.unwrap().in_flight_max, 1);
                false
            }
            Err(failure) => panic!("{failure}"),
        }
    };
    let inputs = [("what".to_owned(), bytes(format!("7 {}", 40 << 20)))];
    for reads in [true, false] {
        let before = ended();
        let mut client = cluster.client("a");
        let invocation = Invocation {
            workflow: "large",
            inputs: &inputs,
            report: false,
            trace: false,
        };
        client.start(&invocation).unwrap();
        until("it has ended", || (ended() > before).then_some(()));
        assert_eq!(cluster.counter("a", "in_flight"), 0);
        assert!(!lets_one_in());
        if reads {
            let _ = output(&client.next_answer().unwrap(), "out");
        } else {
            drop(client);
        }
        until("its place is free", || lets_one_in().then_some(()));
    }
}

#[test]
fn what_does_not_declare_is_named_and_what_fits_not_once_is_not_deployed() {
    let cluster = Setup::workers(&["a"]).start();
    let address = cluster.worker("a").address().to_owned();
    let partly = GATED.replace("{ kind: bytes, max_bytes: 1MiB }", "bytes");
    let file = cluster.file("partly.yaml", partly);
    let (_, deployed) = json(
        &cluster,
        &["deploy", &file, "--workers", &address, "--json"],
    );
    let memory = &deployed["memory"];
    assert_eq!(memory["proven"], false);
    assert_eq!(memory["undeclared"][0]["port"], "held.out");
    let told = cluster.faasflow(&["plan", &file, "--workers", &address]);
    let told = told.text();
    assert!(told.contains("held.out lacks `max_bytes`"), "{told}");
    let large = cluster.file("large.yaml", GATED.replace("1MiB", "1GiB"));
    let refused = cluster.faasflow(&["deploy", &large, "--workers", &address]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("none would be let in"),
        "{}",
        refused.stderr
    );
}

/// Executors whose functions have much memory for themselves, of which nothing is said, while a payload waits for its reader.
const GREEDY: &str = "
workflow: greedy
input:
  length: value
  mib: value
  gate: { kind: bytes, max_bytes: 1000 }
  tick: { kind: bytes, max_bytes: 1000 }
nodes:
  make:
    function: test-functions:make
    input: { length: input.length }
    output: { out: { kind: bytes, max_bytes: 20MiB } }
    resources: { memory_mib: 24, scale: 2 }
  hoard:
    function: test-functions:hoard
    input: { mib: input.mib, gate: input.gate }
    after: make
    output: { out: { kind: bytes, max_bytes: 1000 } }
    resources: { memory_mib: 24, scale: 2 }
  tick:
    function: test-functions:gate
    input: { gate: input.tick }
    after: make
    output: { out: { kind: bytes, max_bytes: 1000 } }
    resources: { memory_mib: 24, scale: 2 }
  read:
    function: test-functions:digest
    input: { in: make.out }
    after: hoard
    output: { out: { kind: bytes, max_bytes: 1000 } }
    resources: { memory_mib: 24, scale: 2 }
output: { out: read.out }
";

#[test]
fn where_functions_use_so_much_themselves_that_what_was_proven_does_not_fit_status_says_so() {
    let cluster = Setup::workers(&["a"]).flag("--lanes=1").start();
    let deployed = cluster.deploy(GREEDY, &[]);
    assert_eq!(deployed.version, 1);
    let lacking = || cluster.status("a").workflows[0].lacking_bytes.clone();
    let address = cluster.worker("a").address().to_owned();
    let shown = || {
        let finished = cluster.faasflow(&["status", "--workers", &address]);
        String::from_utf8_lossy(&finished.stdout).into_owned()
    };
    assert_eq!(lacking(), [0]);
    assert!(!shown().contains("profile.peak_mib"), "{}", shown());
    let [gate, tick] = ["gate", "tick"].map(|name| Gate::new(cluster.folder(), name));
    let inputs = [
        ("length".to_owned(), bytes((20 << 20).to_string())),
        ("mib".to_owned(), bytes("12")),
        ("gate".to_owned(), bytes(gate.input())),
        ("tick".to_owned(), bytes(tick.input())),
    ];
    let invocation = Invocation {
        workflow: "greedy",
        inputs: &inputs,
        report: false,
        trace: false,
    };
    let mut client = cluster.client("a");
    client.start(&invocation).unwrap();
    let held = gate.next();
    let ticks = tick.next();
    // Executors are looked at again when something happens, once in a second at most.
    std::thread::sleep(Duration::from_millis(1_200));
    ticks.tell(Verdict::Pass);
    let bytes = until("it is noticed", || {
        let lacking = lacking()[0];
        (lacking > 0).then_some(lacking)
    });
    // One invocation may be in flight, with little beside what is made.
    let needed = cluster.status("a").workflows[0].quota_bytes + bytes;
    assert!((20 << 20..21 << 20).contains(&needed), "{needed} {bytes}");
    let text = shown();
    let told = ["workflow greedy on worker a", "on lane 0", "memory_mib"];
    assert!(told.iter().all(|word| text.contains(word)), "{text}");
    held.tell(Verdict::Pass);
    assert!(!output(&client.next_answer().unwrap(), "out").is_empty());
}
