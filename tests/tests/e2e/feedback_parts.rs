//! Feedback of nodes that run in several places: parts of divided nodes, placements beside each other, and both. What is
//! measured is shown as of one node, part by part and placement by placement, and all of it counts for hints.

use faasflow_tests::cluster::bytes;
use faasflow_tests::process::until;
use faasflow_tests::served::{Served, node};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// A list whose items are upper-cased in parts, and gathered.
fn halves(each: &str) -> String {
    format!(
        "
workflow: halves
input: {{ shape: value, go: {{ kind: value, default: true }} }}
nodes:
  items: {{ function: test-functions:items, input: {{ shape: input.shape }}, output: {{ list: list }}, resources: {{ memory_mib: 32 }} }}
  each:
    function: test-functions:upper
    foreach: {{ list: items.list, divide: 2 }}
    input: {{ in: item }}
    output: {{ out: bytes }}
    resources: {{ scale: 2, memory_mib: 32 }}{each}
  all: {{ function: test-functions:digest_list, input: {{ list: each.out }}, output: {{ out: bytes }}, resources: {{ memory_mib: 32 }} }}
  choose: {{ switch: [{{ when: input.go == false, then: seldom }}], default: [] }}
  seldom: {{ function: test-functions:digest_list, input: {{ list: items.list }}, output: {{ out: bytes }}, profile: {{ runtime_ms: 7 }} }}
output: {{ digest: all.out }}
"
    )
}

/// So many invocations with lists of so many items of so many bytes.
fn run(served: &Served, count: u64, items: u64, length: u64) {
    for _ in 0..count {
        // Each is measured that begins long enough after the one before.
        std::thread::sleep(Duration::from_millis(10));
        let shape = bytes(format!("[{items}, {length}]"));
        served.invoke("a", "halves", &[("shape", shape)]);
    }
}

/// The parts of a node, by placement and number: worker, activations, and measured invocations.
fn parts(profile: &Value, name: &str) -> Vec<(u64, u64, String, u64)> {
    let parts = node(profile, name)["parts"].as_array().expect("a list");
    let number = |part: &Value, key: &str| part[key].as_u64().unwrap_or_default();
    let of = |part: &Value| {
        let worker = part["worker"].as_str().expect("a name").to_owned();
        let numbers = ["placement", "part", "activations"].map(|key| number(part, key));
        (numbers[0], numbers[1], worker, numbers[2])
    };
    parts.iter().map(of).collect()
}

#[test]
fn a_divided_node_is_measured_shown_and_hinted_as_one() {
    let served = Served::new(|_| halves(""), &["--pin", "items=a", "--pin", "all=b"]);
    let shown = served.call(&["profile", "halves"]).ok().text();
    assert!(
        shown.contains("nothing was measured of version 1 yet: invoke it a few times first"),
        "{shown}"
    );
    assert_eq!(served.json(&["profile", "halves"])["empty"], true);
    run(&served, 6, 10, 1000);

    let profile = served.json(&["profile", "halves"]);
    let each = node(&profile, "each");
    assert_eq!(
        (&each["activations"], &each["runs_share"]),
        (&60.into(), &1.0.into())
    );
    assert_eq!(
        (&each["output_mean_bytes"], &each["items_mean"]),
        (&10_000.0.into(), &10.0.into())
    );
    let of_parts = parts(&profile, "each");
    let halves: Vec<_> = of_parts
        .iter()
        .map(|part| (part.0, part.1, part.3))
        .collect();
    assert_eq!(halves, [(1, 1, 30), (1, 2, 30)]);
    let workers: BTreeSet<&str> = of_parts.iter().map(|part| part.2.as_str()).collect();
    assert_eq!(
        each["workers"].as_array().map(Vec::len),
        Some(workers.len())
    );

    // What crosses is what the parts need of the list, and what each of them has made.
    let edges = profile["edges"].as_array().expect("a list");
    let crossing = |from: &str, to: &str| {
        let found: Vec<&Value> = edges
            .iter()
            .filter(|edge| (&edge["from"], &edge["to"]) == (&from.into(), &to.into()))
            .collect();
        assert_eq!(found.len(), 1, "{from} → {to} is there once in {profile}");
        found[0]["crossing_per_invocation_bytes"].as_f64()
    };
    let elsewhere = |worker: &str| of_parts.iter().filter(|part| part.2 != worker).count() as f64;
    assert_eq!(crossing("items", "each"), Some(5000.0 * elsewhere("a")));
    assert_eq!(crossing("each", "all"), Some(5000.0 * elsewhere("b")));
    let all = profile["crossing_per_invocation_bytes"].as_f64();
    assert_eq!(all, Some(10_000.0), "each part is on one of the two");

    let shown = served.call(&["profile", "halves"]).ok().text();
    for (words, times) in [
        ("each (1 of 2)", 1),
        ("each (2 of 2)", 1),
        ("items → each", 1),
        ("each → all", 1),
        ("50.0 %", 2),
        ("1 node never ran: seldom", 1),
    ] {
        assert_eq!(shown.matches(words).count(), times, "{words:?} in\n{shown}");
    }
    let _ = served.call(&["profile", "halves", "--all"]).ok();

    let written = served
        .call(&["profile", "halves", "--write", &served.file])
        .ok();
    let words =
        "1 node ran in no invocation that was measured, and keeps what its file says: seldom";
    assert!(written.text().contains(words), "{}", written.text());
    let text = std::fs::read_to_string(&served.file).expect("it is there");
    assert!(text.contains("output_bytes: 10000, items: 10 }"), "{text}");
    assert!(text.contains("profile: { runtime_ms: 7"), "{text}");
}

#[test]
fn a_part_for_which_lists_are_too_short_gives_nothing_and_is_no_gap() {
    let served = Served::new(|_| halves(""), &[]);
    run(&served, 5, 1, 1000);
    let profile = served.json(&["profile", "halves"]);
    let activations: Vec<u64> = parts(&profile, "each").iter().map(|part| part.3).collect();
    assert_eq!(activations, [0, 5]);
    let each = node(&profile, "each");
    assert_eq!(
        (&each["runs_share"], &each["output_mean_bytes"]),
        (&1.0.into(), &1000.0.into())
    );
    let gaps = profile["gaps"].as_array().expect("a list");
    assert_eq!(gaps.len(), 1, "{profile}");
    assert_eq!(gaps[0]["node"], "seldom");
}

#[test]
fn all_placements_are_measured_and_kept_or_changed_as_told_when_it_is_placed_anew() {
    let arguments = ["--replicas", "2", "--pin", "seldom=a"];
    let served = Served::new(|_| halves("\n    profile: { items: 10 }"), &arguments);
    run(&served, 1, 10, 1000);
    let profile = served.json(&["profile", "halves"]);
    assert_eq!(profile["gaps"][0]["placement"], 2, "{profile}");
    let shown = served.call(&["profile", "halves"]).ok().text();
    assert!(
        shown.contains("no invocation went to placement 2 yet"),
        "{shown}"
    );
    // Items of 1000 bytes in the first placement, and of 3000 in the second.
    for _ in 0..3 {
        run(&served, 1, 10, 3000);
        run(&served, 1, 10, 1000);
    }
    run(&served, 1, 10, 3000);
    let profile = served.json(&["profile", "halves"]);
    let placements = profile["placements"].as_array().expect("a list");
    let counts = placements.iter().map(|one| one["invocations"].as_u64());
    assert_eq!(counts.collect::<Vec<_>>(), [Some(4), Some(4)]);
    assert_eq!(
        (&profile["replicas"], &profile["balance"]),
        (&2.into(), &"round-robin".into())
    );
    let each = node(&profile, "each");
    assert_eq!(
        (&each["activations"], &each["output_mean_bytes"]),
        (&80.into(), &20_000.0.into())
    );
    let of_parts = parts(&profile, "each");
    let numbers: Vec<_> = of_parts
        .iter()
        .map(|part| (part.0, part.1, part.3))
        .collect();
    assert_eq!(numbers, [(1, 1, 20), (1, 2, 20), (2, 1, 20), (2, 2, 20)]);
    let bytes = node(&profile, "items")["parts"].as_array().expect("a list");
    let bytes = bytes.iter().map(|part| part["output_mean_bytes"].as_f64());
    assert_eq!(bytes.collect::<Vec<_>>(), [Some(10_000.0), Some(30_000.0)]);

    let shown = served.call(&["profile", "halves"]).ok().text();
    assert!(shown.contains("in 2 placements, chosen in turn"), "{shown}");
    let rebalanced = served.json(&["rebalance", "halves", "--dry-run"]);
    let hints = rebalanced["hints"].as_array().expect("a list");
    let bytes = hints
        .iter()
        .find(|hint| hint["node"] == "each" && hint["hint"] == "output_bytes");
    assert_eq!(bytes.expect("it is there")["new"], "20000");

    // As many as there are and in turn, unless it is told otherwise; what is told is done whatever it gains.
    let said = served.call(&[
        "rebalance",
        "halves",
        "--replicas",
        "2",
        "--min-gain",
        "100",
    ]);
    assert!(said.ok().text().contains("version 1 stays as it is"));
    let by_load = [
        "rebalance",
        "halves",
        "--min-gain",
        "100",
        "--balance",
        "load",
    ];
    let rebalanced = served.json(&by_load);
    assert_eq!(
        (&rebalanced["deployed"], &rebalanced["version"]),
        (&true.into(), &2.into())
    );
    assert_eq!(rebalanced["replicas"]["balance"], "load");
    run(&served, 4, 10, 1000);
    let said = served
        .call(&["rebalance", "halves", "--replicas", "3"])
        .ok()
        .text();
    assert!(
        said.contains("3 placements, chosen by load, instead of 2 placements, chosen by load"),
        "{said}"
    );
    for words in [
        "present 2",
        "new 3",
        "new, in the mean",
        "version 3 is deployed",
    ] {
        assert!(said.contains(words), "{words:?} is not in\n{said}");
    }
    until("the versions before are gone", || {
        (served.states().len() == 3).then_some(())
    });
    run(&served, 6, 10, 1000);
    let profile = served.json(&["profile", "halves"]);
    assert_eq!(
        (&profile["replicas"], &profile["balance"]),
        (&3.into(), &"load".into())
    );
    let seldom = parts(&profile, "seldom");
    assert!(
        seldom.iter().all(|part| part.2 == "a"),
        "what is pinned stays"
    );
    // To count anew is for all of them.
    let _ = served.call(&["profile", "halves", "--reset"]).ok();
    let profile = served.json(&["profile", "halves"]);
    assert_eq!(profile["empty"], true);
    assert_eq!(node(&profile, "each")["activations"], 0);
    served
        .call(&["rebalance", "halves", "--replicas", "2"])
        .refused(&["nothing was measured of workflow halves yet"]);
    served
        .call(&["rebalance", "halves", "--replicas", "0"])
        .refused(&["--replicas"]);
}

#[test]
fn a_run_time_on_a_slow_worker_is_hinted_as_that_of_an_ordinary_one_and_estimated_as_it_was() {
    let text = "
workflow: lingers
input: { time: bytes }
nodes:
  lingers: { function: test-functions:linger, input: { in: input.time }, output: { out: bytes } }
output: { out: lingers.out }
";
    let speeds = "workers: { a: { speed: 1 }, b: { speed: 0.5 } }\n";
    let served = Served::new(
        |cluster| {
            let _ = cluster.file("speeds.yaml", speeds);
            text.to_owned()
        },
        &["--cluster", "speeds.yaml", "--pin", "lingers=b"],
    );
    for _ in 0..3 {
        served.invoke("a", "lingers", &[("time", bytes("20000"))]);
    }
    let profile = served.json(&["profile", "lingers"]);
    // Without what it has waited for a CPU meanwhile.
    let of = |key: &str| node(&profile, "lingers")[key].as_f64().expect(key);
    let mean_ns = of("run_mean_ns") - of("cpu_waited_ns") / of("measured_runs");
    let rebalanced = served.json(&["rebalance", "lingers", "--dry-run"]);
    let hints = rebalanced["hints"].as_array().expect("a list").iter();
    let mut of_time = hints.filter(|hint| hint["hint"] == "runtime_ms");
    let hint = of_time.next().expect("it is there")["new"].as_str();
    let hint_ms: f64 = hint
        .and_then(|hint| hint.parse().ok())
        .expect("it is a number");
    let share = hint_ms * 1e6 / mean_ns;
    assert!((share - 0.5).abs() < 0.01, "{share}");
    let estimated = rebalanced["present"]["makespan_ns"].as_f64();
    assert!(estimated >= Some(mean_ns * 0.99), "{rebalanced}");
}
