//! Traces of real runs: each activation is told once, in order, and sums to what the report says; what the program writes
//! of it is what viewers take.

use engine::trace::TraceEnd;
use faasflow_tests::cluster::{Cluster, Setup, bytes};
use master::client::{Answered, Invocation};
use master::trace::{Aligned, End, Trace};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const ITEMS: u32 = 300;

/// A list, each of its items upper-cased at the other worker, gathered here again; beside it a node that fails once.
const WORKFLOW: &str = "
workflow: traced
input: { shape: value, text: bytes }
nodes:
  items: { function: test-functions:items, input: { shape: input.shape }, output: { list: list } }
  each:
    function: test-functions:upper
    foreach: items.list
    input: { in: item }
    output: { out: bytes }
  flaky:
    function: test-functions:fail_first
    input: { in: input.text }
    output: { out: bytes }
    retry: { attempts: 2, backoff_ms: 20 }
  all: { function: test-functions:digest_list, input: { list: each.out }, after: flaky, output: { out: bytes } }
output: { out: all.out }
";

fn cluster() -> Cluster {
    let cluster = Setup::workers(&["a", "b"]).start();
    let pins = [("items", "a"), ("each", "b"), ("flaky", "a"), ("all", "a")];
    cluster.deploy(WORKFLOW, &pins);
    cluster
}

fn invoke(cluster: &Cluster, worker: &str, trace: bool) -> Answered {
    let inputs = [
        (
            "shape".to_owned(),
            bytes(format!("[{ITEMS}, 100]").as_bytes()),
        ),
        ("text".to_owned(), bytes(b"text")),
    ];
    let answered = cluster.client(worker).invoke(&Invocation {
        workflow: "traced",
        inputs: &inputs,
        report: true,
        trace,
    });
    let answered = answered.expect("the worker answers");
    answered.result.as_ref().expect("it ends well");
    answered
}

#[test]
fn every_activation_is_told_once_and_sums_agree_with_the_report() {
    let cluster = cluster();
    for entry in ["a", "b"] {
        let answered = invoke(&cluster, entry, true);
        assert_eq!(answered.trace[0].worker, entry);
        for part in &answered.trace {
            assert_eq!(part.dropped, 0);
            for record in &part.records {
                assert_ne!(record.end, TraceEnd::Skipped);
                assert!(record.ready_ns <= record.started_ns, "{record:?}");
                assert!(record.started_ns <= record.ended_ns, "{record:?}");
            }
        }
        let trace = Trace::of("traced", &answered);
        assert_eq!(trace.aligned(), Aligned::Clock, "both are on this host");
        let mut times: BTreeMap<(&str, Option<u32>), Vec<u32>> = BTreeMap::new();
        for attempt in &trace.attempts {
            let activation = (
                trace.nodes[attempt.node].as_str(),
                attempt.items.first().copied(),
            );
            times.entry(activation).or_default().push(attempt.number);
            assert!(attempt.ended_ns <= answered.latency_ns, "{attempt:?}");
        }
        let mut expected: BTreeMap<(&str, Option<u32>), Vec<u32>> = (0..ITEMS)
            .map(|item| (("each", Some(item)), vec![1]))
            .collect();
        expected.insert(("items", None), vec![1]);
        expected.insert(("flaky", None), vec![1, 2]);
        expected.insert(("all", None), vec![1]);
        assert_eq!(times, expected);
        for node in &answered.report {
            let own = trace
                .attempts
                .iter()
                .filter(|attempt| trace.nodes[attempt.node] == node.node);
            let well: Vec<_> = own
                .clone()
                .filter(|attempt| attempt.end == End::Well)
                .collect();
            assert_eq!(well.len(), node.well as usize);
            assert_eq!(own.clone().count(), node.attempts as usize);
            assert_eq!(own.clone().count() - well.len(), node.failures as usize);
            let failed_ns: u64 = own
                .filter(|attempt| attempt.end == End::Failed)
                .map(|attempt| attempt.ended_ns - attempt.started_ns)
                .sum();
            assert_eq!(failed_ns, node.failed_ns, "{}", node.node);
            let (retried, cut_off) = (node.failures, node.cut_off);
            assert_eq!((node.attempts - node.activations, cut_off), (retried, 0));
            let busy_ns: u64 = well
                .iter()
                .map(|attempt| attempt.ended_ns - attempt.started_ns)
                .sum();
            assert_eq!(busy_ns, node.busy_ns, "{}", node.node);
        }
        // What waits for another starts after it has ended, on whichever worker.
        for (from, to) in &trace.edges {
            let ended = trace
                .attempts
                .iter()
                .filter(|attempt| attempt.node == *from)
                .map(|attempt| attempt.ended_ns);
            let started = trace
                .attempts
                .iter()
                .filter(|attempt| attempt.node == *to)
                .map(|attempt| attempt.ready_ns);
            assert!(ended.max() <= started.min(), "{from} → {to}");
        }
        assert_eq!(trace.edges.len(), 2);
    }
    assert_eq!(invoke(&cluster, "a", false).trace, []);
}

#[test]
fn the_program_writes_what_viewers_load() {
    let cluster = cluster();
    let workers = cluster.addresses().join(",");
    let shape = format!("shape=[{ITEMS}, 100]");
    let call = |more: &[&str]| {
        let arguments = [
            "invoke",
            "traced",
            "--workers",
            &workers,
            "--input",
            &shape,
            "--input",
            "text=text",
        ];
        cluster.faasflow(&[&arguments[..], more].concat())
    };
    let files = ["--trace", "t.json", "--timeline", "t.svg"];
    let told: Value =
        serde_json::from_slice(&call(&[&files[..], &["--json"]].concat()).ok().stdout).unwrap();
    assert_eq!(told["trace"]["aligned"], "clock");
    assert_eq!(told["trace"]["attempts"], ITEMS + 4);
    assert!(told.get("report").is_none(), "it was not asked for");
    let json = std::fs::read(cluster.path("t.json")).unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    let events = json["traceEvents"].as_array().unwrap();
    let complete: Vec<&Value> = events.iter().filter(|event| event["ph"] == "X").collect();
    assert_eq!(complete.len() as u32, ITEMS + 4);
    // Events of one thread follow each other.
    let mut by_thread: BTreeMap<(u64, u64), Vec<(f64, f64)>> = BTreeMap::new();
    for event in complete {
        let of = |key: &str| event[key].as_f64().unwrap();
        let thread = (
            event["pid"].as_u64().unwrap(),
            event["tid"].as_u64().unwrap(),
        );
        by_thread
            .entry(thread)
            .or_default()
            .push((of("ts"), of("dur")));
    }
    for events in by_thread.values() {
        assert!(
            events
                .windows(2)
                .all(|pair| pair[0].0 + pair[0].1 <= pair[1].0 + 1e-6)
        );
    }
    let processes: BTreeSet<u64> = by_thread.keys().map(|(process, _)| *process).collect();
    assert_eq!(processes, BTreeSet::from([1, 2]));
    assert_eq!(events.iter().filter(|event| event["ph"] == "s").count(), 2);
    let svg = std::fs::read_to_string(cluster.path("t.svg")).unwrap();
    assert!(
        svg.starts_with("<svg") && svg.contains("each × 300"),
        "{svg}"
    );

    // Of many, the last one is traced, and nothing of progress gets into a pipe.
    let many = call(&[
        "--count",
        "20",
        "--concurrency",
        "3",
        "--trace",
        "many.json",
    ])
    .ok();
    assert!(
        many.text()
            .contains("304 attempts, workers aligned by clock: many.json"),
        "{}",
        many.text()
    );
    assert!(cluster.path("many.json").is_file());
    assert!(many.stderr.is_empty(), "{}", many.stderr);
}

#[test]
fn what_the_program_reports_adds_up() {
    let workflow = "
workflow: mixed
input: { words: list, text: bytes }
nodes:
  each:
    function: test-functions:fail_first
    foreach: input.words
    input: { in: item }
    output: { out: bytes }
    retry: { attempts: 2 }
  breaks:
    function: test-functions:fail
    foreach: input.words
    input: { in: item }
    output: { out: bytes }
    retry: { attempts: 3 }
    catch: mends
  mends: { function: test-functions:echo, foreach: input.words, input: { in: item }, output: { out: bytes } }
  goes: { switch: [ { when: \"true\", then: left } ], default: right }
  left: { function: test-functions:echo, input: { in: input.text }, output: { out: bytes } }
  right: { function: test-functions:echo, input: { in: input.text }, output: { out: bytes } }
  ends: { function: test-functions:fail, input: { in: left.out }, output: { out: bytes }, after: [each, mends] }
output: { out: ends.out }
";
    let cluster = Setup::workers(&["a"]).start();
    cluster.deploy(workflow, &[]);
    let workers = cluster.addresses().join(",");
    let call = |more: &[&str]| {
        let words = ["words[]=one", "words[]=two", "text=t"];
        let inputs = words.iter().flat_map(|input| ["--input", input]);
        let arguments = ["invoke", "mixed", "--workers", &workers, "--report"];
        let arguments: Vec<&str> = arguments
            .into_iter()
            .chain(inputs)
            .chain(more.iter().copied())
            .collect();
        let ended = cluster.faasflow(&arguments);
        assert_eq!(ended.code, Some(1), "{}", ended.text());
        ended
    };
    let told: Value = serde_json::from_slice(&call(&["--json"]).stdout).unwrap();
    let of = |node: &str, key: &str| {
        let report = told["report"].as_array().unwrap();
        report.iter().find(|told| told["node"] == node).unwrap()[key]
            .as_u64()
            .unwrap()
    };
    let keys = [
        "activations",
        "well",
        "failed",
        "cut_off",
        "skipped",
        "attempts",
        "failures",
    ];
    for (node, expected) in [
        ("each", [2, 2, 0, 0, 0, 4, 2]),
        ("breaks", [2, 0, 2, 0, 0, 6, 6]),
        ("mends", [2, 2, 0, 0, 0, 2, 0]),
        ("goes", [1, 1, 0, 0, 0, 1, 0]),
        ("left", [1, 1, 0, 0, 0, 1, 0]),
        ("right", [0, 0, 0, 0, 1, 0, 0]),
        ("ends", [1, 0, 1, 0, 0, 1, 1]),
    ] {
        assert_eq!(keys.map(|key| of(node, key)), expected, "{node}");
        assert_eq!(
            of(node, "failed_ns") > 0,
            of(node, "failures") > 0,
            "{node}"
        );
        assert_eq!(of(node, "busy_ns") > 0, of(node, "well") > 0, "{node}");
    }
    // Of many that fail it is the first one's, beside why.
    let many: Value = serde_json::from_slice(&call(&["--json", "--count", "3"]).stdout).unwrap();
    let activations = |told: &Value| {
        let report = told["report"].as_array().unwrap();
        let activations = report.iter().map(|node| node["activations"].as_u64());
        activations.map(Option::unwrap).collect::<Vec<_>>()
    };
    assert_eq!(activations(&many), activations(&told));
    for key in ["kind", "node", "worker", "attempt", "cause"] {
        assert_eq!(many["failure"][key], told["failure"][key], "{key}");
    }
    assert_eq!(many["error"]["message"], told["error"]["message"]);
    assert_eq!(many["latency"]["failed"], 3);
    let expected = [
        "node",
        "worker",
        "activations",
        "well",
        "failed",
        "skipped",
        "attempts",
        "failures",
        "busy",
        "in failures",
        "first to last",
        "payloads from",
    ];
    for more in [&[][..], &["--count", "3"]] {
        let table = call(more).text();
        let mut lines = table.lines();
        let headings = lines.find(|line| line.starts_with("node ")).unwrap();
        let headings = headings.split("  ").map(str::trim);
        let headings: Vec<&str> = headings.filter(|heading| !heading.is_empty()).collect();
        assert_eq!(headings, expected, "nothing was cut off");
    }
}

#[test]
fn a_failed_invocation_is_traced_too() {
    let cluster = Setup::workers(&["a", "b"]).start();
    let workflow = "
workflow: failing
input: { text: bytes }
nodes:
  first: { function: test-functions:echo, input: { in: input.text }, output: { out: bytes } }
  fails: { function: test-functions:fail, input: { in: first.out }, output: { out: bytes } }
output: { out: fails.out }
";
    cluster.deploy(workflow, &[("first", "a"), ("fails", "b")]);
    let workers = cluster.addresses().join(",");
    let failed = cluster.faasflow(&[
        "invoke",
        "failing",
        "--workers",
        &workers,
        "--input",
        "text=no",
        "--trace",
        "failed.json",
    ]);
    assert_eq!(failed.code, Some(1), "{}", failed.text());
    let json = std::fs::read_to_string(cluster.path("failed.json")).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    let events = json["traceEvents"].as_array().unwrap();
    let ends: Vec<(&str, &str)> = events
        .iter()
        .filter(|event| event["ph"] == "X")
        .map(|event| {
            (
                event["name"].as_str().unwrap(),
                event["args"]["end"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(ends, [("first", "well"), ("fails", "failed")]);

    let refused = cluster.faasflow(&[
        "invoke",
        "failing",
        "--workers",
        &workers,
        "--input",
        "text=no",
        "--trace",
        "nowhere/t.json",
    ]);
    assert_eq!(refused.code, Some(2), "{}", refused.text());
    let refused = cluster.faasflow(&[
        "invoke",
        "failing",
        "--workers",
        &workers,
        "--input",
        "text=no",
        "--trace",
        "t",
        "--timeline",
        "t",
    ]);
    assert_eq!(refused.code, Some(2), "{}", refused.text());
    assert!(!cluster.path("t").exists());
}
