//! A foreach that is too large for one worker runs on two real ones, in parts: the same results, about half of the items and of
//! the bytes each, and all of it told as one node.

use engine::wire::Failure;
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::gate::{Gate, Verdict};
use faasflow_tests::pattern;
use faasflow_tests::process::until;
use master::client::{Answered, Invocation, Payload};
use master::trace::Trace;
use nix::sys::signal::Signal;
use serde_json::Value;
use wordcount::reference::first_difference;

const ITEMS: u64 = 1000;
const ITEM_BYTES: u64 = 1000;

/// Half of it is for executors: room for four of 64 MiB on each worker, so that eight fit none.
const MEMORY: &str = "512MiB";

/// A list whose items are upper-cased side by side, and gathered.
fn workflow(name: &str, scale: u32, divide: &str) -> String {
    format!(
        "
workflow: {name}
input: {{ shape: value }}
nodes:
  items: {{ function: test-functions:items, input: {{ shape: input.shape }}, output: {{ list: list }}, resources: {{ memory_mib: 64 }} }}
  each:
    function: test-functions:upper
    foreach: {{ list: items.list, divide: {divide} }}
    input: {{ in: item }}
    output: {{ out: bytes }}
    resources: {{ scale: {scale}, memory_mib: 64 }}
  all: {{ function: test-functions:digest_list, input: {{ list: each.out }}, output: {{ out: bytes }}, resources: {{ memory_mib: 64 }} }}
output: {{ digest: all.out, each: each.out }}
"
    )
}

fn cluster() -> Cluster {
    Setup::workers(&["a", "b"]).memory(MEMORY).start()
}

fn invoke(cluster: &Cluster, worker: &str, workflow: &str) -> Answered {
    let shape = format!("[{ITEMS}, {ITEM_BYTES}]");
    let inputs = [("shape".to_owned(), bytes(shape.as_bytes()))];
    let answered = cluster.client(worker).invoke(&Invocation {
        workflow,
        inputs: &inputs,
        report: true,
        trace: true,
    });
    let answered = answered.expect("the worker answers");
    answered.result.as_ref().expect("it ends well");
    answered
}

/// How many items of `each` ran on each worker.
fn items_by_worker(answered: &Answered) -> Vec<(String, usize)> {
    let trace = Trace::of("w", answered);
    let each = trace.nodes.iter().position(|node| node == "each");
    let on = |worker: usize| {
        let attempts = trace.attempts.iter();
        let here = attempts.filter(|one| Some(one.node) == each && one.worker == worker);
        here.count()
    };
    let workers = trace.workers.iter().enumerate();
    workers
        .map(|(place, worker)| (worker.name.clone(), on(place)))
        .collect()
}

#[test]
fn a_foreach_that_fits_no_worker_runs_on_two_with_the_same_results() {
    let cluster = cluster();
    cluster.deploy(&workflow("whole", 4, "never"), &[]);
    let whole = invoke(&cluster, "a", "whole");
    let expected = (output(&whole, "digest").to_vec(), whole.result.clone());
    cluster.undeploy("whole");
    until("its executors are gone", || {
        let gone = |name: &&str| cluster.executors(name).is_empty();
        ["a", "b"].iter().all(gone).then_some(())
    });

    cluster.deploy(&workflow("divided", 8, "auto"), &[]);
    for entry in ["a", "b"] {
        let before = ["a", "b"].map(|name| cluster.counter(name, "bytes_in"));
        let divided = invoke(&cluster, entry, "divided");
        assert_eq!(output(&divided, "digest"), expected.0);
        assert_eq!(divided.result, expected.1);
        let mut items = items_by_worker(&divided);
        items.sort();
        let half = ITEMS as usize / 2;
        assert_eq!(items, [("a".to_owned(), half), ("b".to_owned(), half)]);

        // Half of the list goes to the other worker, half of what was made of it to where it is gathered, and half of it to the
        // entry worker, as an output: three halves, where the whole list instead of its half would make four.
        let after = ["a", "b"].map(|name| cluster.counter(name, "bytes_in"));
        let came: Vec<u64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
        let all = ITEMS * ITEM_BYTES;
        let came: u64 = came.iter().sum();
        assert!((all..2 * all).contains(&came), "{came} of {all}");

        let each: Vec<_> = divided
            .report
            .iter()
            .filter(|one| one.node == "each")
            .collect();
        assert_eq!(each.len(), 1, "it is told as one");
        assert_eq!(u64::from(each[0].well), ITEMS);
        assert!(["a, b", "b, a"].contains(&each[0].worker.as_str()));
    }
}

#[test]
fn a_foreach_that_is_divided_to_be_faster_gives_the_same_results() {
    let cluster = cluster();
    let profiled = |divide: &str| {
        let text = workflow("faster", 4, divide);
        let resources = "resources: { scale: 4, memory_mib: 64 }";
        let hints = format!("{resources}\n    profile: {{ runtime_ms: 10, items: {ITEMS} }}");
        assert!(text.contains(resources));
        text.replace(resources, &hints)
    };
    cluster.deploy(&profiled("never"), &[]);
    let whole = invoke(&cluster, "a", "faster");
    let on = |answered: &Answered| {
        let items = items_by_worker(answered).into_iter();
        items.filter(|(_, items)| *items > 0).count()
    };
    assert_eq!(on(&whole), 1, "it fits one worker");
    cluster.undeploy("faster");
    until("its executors are gone", || {
        let gone = |name: &&str| cluster.executors(name).is_empty();
        ["a", "b"].iter().all(gone).then_some(())
    });

    // As users deploy it: by the default partitioner.
    let file = cluster.file("faster.yaml", profiled("auto"));
    let workers = cluster.addresses().join(",");
    let deployed = cluster.faasflow(&["deploy", &file, "--workers", &workers]);
    let said = deployed.ok().text();
    assert!(said.contains("for each item, 50 % of them"), "{said}");
    for entry in ["a", "b"] {
        let divided = invoke(&cluster, entry, "faster");
        assert_eq!(divided.result, whole.result);
        assert_eq!(on(&divided), 2);
    }
}

#[test]
fn programs_show_a_divided_node_with_its_parts_and_run_it_as_one() {
    let cluster = cluster();
    let file = cluster.file("divided.yaml", workflow("divided", 8, "auto"));
    let workers = cluster.addresses().join(",");
    let placed = cluster
        .faasflow(&["plan", &file, "--workers", &workers])
        .ok();
    for part in ["each (1 of 2)", "each (2 of 2)", "50 % of them"] {
        assert!(placed.text().contains(part), "{}", placed.text());
    }
    let placed = cluster
        .faasflow(&["plan", &file, "--workers", &workers, "--json"])
        .ok();
    let placed: Value = serde_json::from_str(&placed.text()).unwrap();
    let parts = placed["nodes"].as_array().unwrap().iter();
    let parts: Vec<&Value> = parts.filter(|node| node["node"] == "each").collect();
    assert_eq!(parts.len(), 2);
    assert_eq!(
        (&parts[1]["part"], &parts[1]["parts"]),
        (&2.into(), &2.into())
    );
    assert_ne!(parts[0]["worker"], parts[1]["worker"]);

    let drawn = cluster
        .faasflow(&["graph", &file, "--workers", &workers])
        .ok();
    assert!(drawn.text().contains("in 2 parts, on "), "{}", drawn.text());

    cluster.deploy(&workflow("divided", 8, "auto"), &[]);
    let address = cluster.worker("a").address();
    let run = cluster.faasflow(&[
        "invoke",
        "divided",
        "--workers",
        address,
        "--input",
        "shape=[20, 10]",
        "--report",
        "--json",
        "--timeline",
        "timeline.svg",
        "--trace",
        "trace.json",
    ]);
    let run = run.ok();
    let told: Value = serde_json::from_str(&run.text()).unwrap();
    let report = told["report"].as_array().unwrap();
    let names: Vec<&Value> = report.iter().map(|node| &node["node"]).collect();
    assert_eq!(names, ["items", "each", "all"]);
    assert_eq!(report[1]["activations"], 20);
    let timeline = std::fs::read_to_string(cluster.path("timeline.svg")).unwrap();
    assert!(timeline.contains("each"));
    let trace = std::fs::read_to_string(cluster.path("trace.json")).unwrap();
    let trace: Value = serde_json::from_str(&trace).unwrap();
    assert!(trace.to_string().matches("each").count() >= 20);
}

#[test]
fn words_are_counted_in_parts() {
    let text = include_str!("../../../examples/wordcount/workflow.yaml");
    let divided = text
        .replace(
            "foreach: split.chunks",
            "foreach: { list: split.chunks, divide: 2 }",
        )
        .replace("memory_mib: 128, scale: 3", "memory_mib: 128, scale: 4")
        .replace("memory_mib: 128", "memory_mib: 96");
    assert_ne!(text, divided);
    // Two of the four executors fit a worker, and not three.
    let cluster = cluster();
    cluster.deploy(&divided, &[]);
    let text = pattern::bytes(3, 3_000_000);
    for worker in ["a", "b"] {
        let answered = cluster.invoke(worker, "wordcount", &[("text", bytes(&text))]);
        let answered = answered.expect("the worker answers");
        assert_eq!(first_difference(output(&answered, "totals"), &text), None);
        let count = answered
            .report
            .iter()
            .find(|node| node.node == "count")
            .unwrap();
        assert!(count.worker.contains(", "), "{}", count.worker);
    }
}

#[test]
fn a_worker_that_dies_fails_what_has_a_part_there_by_its_name() {
    const GATED: &str = "
workflow: gated
input: { gates: list }
nodes:
  held:
    function: test-functions:gate
    foreach: { list: input.gates, divide: 2 }
    input: { gate: item }
    output: { out: bytes }
    resources: { scale: 8, memory_mib: 64 }
output: { out: held.out }
";
    let mut cluster = cluster();
    cluster.deploy(GATED, &[]);
    let gate = Gate::new(cluster.folder(), "gate");
    let gates = Payload::list(vec![gate.input(); 2]);
    let mut client = cluster.client("a");
    let inputs = [("gates".to_owned(), gates)];
    let invocation = Invocation {
        workflow: "gated",
        inputs: &inputs,
        report: false,
        trace: false,
    };
    client.start(&invocation).expect("the worker takes it");
    let held = [gate.next(), gate.next()];
    let mut on: Vec<String> = held.iter().map(|held| held.worker.clone()).collect();
    on.sort();
    assert_eq!(on, ["a", "b"], "an item on each");
    cluster.worker_mut("b").end_by(Signal::SIGKILL);
    let answered = client.next_answer().expect("the worker answers");
    let Err(Failure::Worker { worker, .. }) = answered.result else {
        panic!("{:?}", answered.result)
    };
    assert_eq!(worker, "b");
    for held in held {
        if held.worker == "a" {
            held.tell(Verdict::Pass);
        }
    }
}
