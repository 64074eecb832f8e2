//! Payloads between workers: who waits for memory, who does not, and what becomes of them.

use engine::status::WorkflowStatus;
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
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

const MADE: u32 = 12;
const MADE_BYTES: usize = 5 << 20;

/// Payloads that are made at worker `a`, and read at worker `b` when the gate opens. By its quota all of them may be in memory.
fn made_here_and_read_there(store: &str) -> String {
    let mut text = format!(
        "
workflow: many
input: {{ gate: bytes, what: list }}
store: {store}
nodes:
  held:
    function: test-functions:gate
    input: {{ gate: input.gate }}
    output: {{ out: bytes }}
    resources: {{ memory_mib: 4 }}
"
    );
    let mut outputs = Vec::new();
    for number in 0..MADE {
        text += &format!(
            "
  make{number}:
    function: test-functions:produce
    input: {{ what: input.what{number} }}
    output: {{ out: bytes }}
    resources: {{ memory_mib: 80 }}
  read{number}:
    function: test-functions:digest
    input: {{ in: make{number}.out }}
    after: [held]
    output: {{ out: bytes }}
    resources: {{ memory_mib: 4 }}
"
        );
        outputs.push(format!("out{number}: read{number}.out"));
    }
    let whats: Vec<String> = (0..MADE)
        .map(|number| format!("what{number}: bytes"))
        .collect();
    let text = text.replace("what: list", &whats.join(", "));
    format!("{text}output: {{ {} }}\n", outputs.join(", "))
}

/// What worker `b` says of that workflow.
fn of_many(cluster: &Cluster) -> WorkflowStatus {
    let workflows = cluster.status("b").workflows;
    let many = workflows.into_iter().find(|of| of.workflow == "many");
    many.expect("it is deployed")
}

#[test]
fn a_receiver_short_of_memory_spills_what_is_read_later_and_takes_all_in() {
    // Room for six of them at `b`.
    let cluster = Setup::workers(&["a", "b"])
        .memory("64MiB")
        .memory_of("a", "1GiB")
        .flag("--lanes=1")
        .start();
    let names: Vec<(String, &str)> = (0..MADE)
        .flat_map(|number| {
            [
                (format!("make{number}"), "a"),
                (format!("read{number}"), "b"),
            ]
        })
        .chain([("held".to_owned(), "b")])
        .collect();
    let pins: Vec<(&str, &str)> = names.iter().map(|(name, at)| (&name[..], *at)).collect();
    cluster.deploy(&made_here_and_read_there("{ quota_mib: 1000 }"), &pins);
    let gate = Gate::new(cluster.folder(), "gate");
    let mut inputs = vec![("gate".to_owned(), bytes(gate.input()))];
    for number in 0..MADE {
        let what = bytes(format!("{number} {MADE_BYTES}"));
        inputs.push((format!("what{number}"), what));
    }
    let mut client = cluster.client("a");
    let invocation = Invocation {
        workflow: "many",
        inputs: &inputs,
        report: false,
        trace: false,
    };
    client.start(&invocation).expect("the worker takes it");
    let held = gate.next();
    until("all of them have come, and nothing was read", || {
        let came = cluster.counter("b", "transfers_in") >= u64::from(MADE);
        (came && cluster.counter("b", "payloads_waiting") == 0).then_some(())
    });
    assert!(cluster.counter("b", "payload_waits") > 0);
    assert!(of_many(&cluster).spilled > 0, "{:?}", of_many(&cluster));
    held.tell(Verdict::Pass);
    let answered = client.next_answer().expect("the worker answers");
    for number in 0..MADE {
        let expected = pattern::digest(&pattern::bytes(number, MADE_BYTES));
        let digest = output(&answered, &format!("out{number}"));
        assert_eq!(String::from_utf8_lossy(digest), expected, "{number}");
    }
    assert_eq!(cluster.counter("b", "payload_waits_expired"), 0);
    drop(client);
    for worker in ["a", "b"] {
        let _ = cluster.settled(worker);
    }
    let many = of_many(&cluster);
    assert_eq!(many.fetched, many.spilled, "{many:?}");
    assert_eq!((many.leases, many.away, many.payloads_lost), (0, 0, 0));
}

/// Items that come from another worker begin as they come.
#[test]
fn the_first_items_of_a_list_are_read_while_the_last_ones_are_on_their_way() {
    const ITEMS: u32 = 24;
    const ITEM_BYTES: usize = 1 << 20;
    let cluster = Setup::workers(&["a", "b"]).flag("--lanes=1").start();
    cluster.deploy(
        "
workflow: parts
input: { shape: value }
nodes:
  make:
    function: test-functions:items
    input: { shape: input.shape }
    output: { list: list }
  digest:
    function: test-functions:digest
    foreach: make.list
    input: { in: item }
    output: { out: bytes }
  all:
    function: test-functions:concat
    input: { list: digest.out }
    output: { out: bytes }
output: { out: all.out }
",
        &[("make", "a"), ("digest", "b"), ("all", "b")],
    );
    let shape = format!("[{ITEMS}, {ITEM_BYTES}]");
    for time in 1..=2 {
        let answered = cluster.invoke("a", "parts", &[("shape", bytes(&shape))]);
        let answered = answered.expect("the worker answers");
        let items = (0..ITEMS).map(|item| pattern::item(7, item, ITEM_BYTES));
        let expected: String = items.map(|item| pattern::digest(&item)).collect();
        assert_eq!(String::from_utf8_lossy(output(&answered, "out")), expected);
        until("its event was taken early", || {
            (cluster.counter("b", "events_early") == time).then_some(())
        });
    }
    for worker in ["a", "b"] {
        let _ = cluster.settled(worker);
    }
}
