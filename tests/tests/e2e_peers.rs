//! Payloads between workers: who waits for memory, who does not, and what becomes of them.

use faasflow_tests::cluster::{Setup, bytes, output};
use faasflow_tests::gate::{Gate, Verdict};
use faasflow_tests::pattern;
use faasflow_tests::process::until;
use master::client::Invocation;

/// Its payload lies at worker `b` until the gate opens.
const LARGE: &str = "
workflow: large
input: { gate: bytes, data: bytes }
nodes:
  held:
    function: test-functions:gate
    input: { gate: input.gate, data: input.data }
    output: { out: bytes }
    resources: { memory_mib: 4 }
output: { out: held.out }
";

const SMALL: &str = "
workflow: small
input: { data: bytes }
nodes:
  digest:
    function: test-functions:digest
    input: { in: input.data }
    output: { out: bytes }
    resources: { memory_mib: 4 }
output: { out: digest.out }
";

#[test]
fn a_payload_without_memory_waits_while_other_workflows_go_on_and_comes_when_there_is_some() {
    // Each lane has a half of it: room for one of the large payloads and not for two.
    let cluster = Setup::workers(&["a", "b", "c"])
        .memory("64MiB")
        .flag("--lanes=1")
        .start();
    cluster.deploy(LARGE, &[("held", "b")]);
    cluster.deploy(SMALL, &[("digest", "b")]);
    let gate = Gate::new(cluster.folder(), "gate");
    let large = |seed| {
        [
            ("gate".to_owned(), bytes(gate.input())),
            ("data".to_owned(), bytes(pattern::bytes(seed, 20 << 20))),
        ]
    };
    let mut clients = ["a", "c"].map(|entry| cluster.client(entry));
    let start = |client: &mut master::client::Client, seed| {
        let invocation = Invocation {
            workflow: "large",
            inputs: &large(seed),
            report: false,
            trace: false,
        };
        client.start(&invocation).expect("the worker takes it");
    };
    start(&mut clients[0], 1);
    let first = gate.next();
    start(&mut clients[1], 2);
    let waits = |count| {
        until("a payload waits", || {
            (cluster.counter("b", "payloads_waiting") == count).then_some(())
        });
    };
    waits(1);
    // By the same link, inside a message and streamed.
    for size in [100, 100_000] {
        let data = pattern::bytes(3, size);
        let answered = cluster.invoke("c", "small", &[("data", bytes(&data))]);
        let answered = answered.expect("the worker answers");
        assert_eq!(
            String::from_utf8_lossy(output(&answered, "out")),
            pattern::digest(&data)
        );
    }
    waits(1);
    first.tell(Verdict::Pass);
    let answered = clients[0].next_answer().expect("the worker answers");
    assert_eq!(output(&answered, "out"), b"attempt 1");
    gate.next().tell(Verdict::Pass);
    let answered = clients[1].next_answer().expect("the worker answers");
    assert_eq!(output(&answered, "out"), b"attempt 1");
    let counted = ["payloads_waiting", "payload_waits", "payload_waits_expired"]
        .map(|name| cluster.counter("b", name));
    assert_eq!(counted, [0, 1, 0]);
    drop(clients);
    for worker in ["a", "b", "c"] {
        let _ = cluster.settled(worker);
    }
}
