//! Feedback of nodes that run in several places: parts of divided nodes, placements beside each other, and both. What is
//! measured is shown as of one node, part by part and placement by placement; all of it counts for hints, and placing it anew
//! under load loses nothing and runs nothing twice.

use engine::status::DeploymentState;
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::load::unbroken;
use faasflow_tests::process::{Finished, until};
use master::client::{Answered, Client, Invocation, Payload};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What `source` really gives.
const BYTES: u64 = 4 << 20;
/// Invocations that are sent one after the other.
const ALONE: u64 = 8;
/// Items of each invocation.
const ITEMS: u64 = 4;

const WORKERS: [&str; 2] = ["a", "b"];

/// Hints say that `look` takes long, so that its parts are better apart, and that what each of them reads is next to nothing.
/// It is the other way round. `held` runs as long as a file is there, for whoever wants that, and what comes behind it is
/// divided, too.
fn twofold(held: &str) -> String {
    format!(
        "
workflow: twofold
input:
  texts: list
  length: {{ kind: value, default: {BYTES} }}
  hold: {{ kind: value, default: false }}
nodes:
  source:
    function: test-functions:make
    input: {{ length: input.length }}
    output: {{ out: bytes }}
    resources: {{ memory_mib: 64 }}
    profile: {{ runtime_ms: 1, output_bytes: 10 }}
  look:
    function: test-functions:touch
    foreach: {{ list: input.texts, divide: 2 }}
    input: {{ in: source.out }}
    output: {{ out: bytes }}
    resources: {{ memory_mib: 64 }}
    profile: {{ runtime_ms: 300, items: {ITEMS} }}
  choose:
    switch: [{{ when: input.hold == true, then: held }}]
    default: []
    after: look
  held:
    command: [\"sh\", \"-c\", \"while [ -e {held} ]; do sleep 0.02; done; echo held\"]
    output: {{ out: bytes }}
    resources: {{ memory_mib: 32 }}
  shout:
    function: test-functions:upper
    foreach: {{ list: input.texts, divide: 2 }}
    input: {{ in: item }}
    output: {{ out: bytes }}
    after: [look, held]
    resources: {{ memory_mib: 64 }}
    profile: {{ runtime_ms: 1, items: {ITEMS} }}
  last:
    function: test-functions:concat
    input: {{ list: shout.out }}
    output: {{ out: bytes }}
    resources: {{ memory_mib: 64 }}
output: {{ texts: shout.out, all: last.out }}
"
    )
}

/// Two workers, and a workflow on them.
struct Served {
    cluster: Cluster,
    workers: String,
    file: String,
}

impl Served {
    /// Deployed with these arguments.
    fn new(text: impl FnOnce(&Cluster) -> String, arguments: &[&str]) -> Self {
        let cluster = Setup::workers(&WORKERS).memory("3GiB").start();
        let text = text(&cluster);
        let served = Self {
            file: cluster.file("workflow.yaml", text),
            workers: cluster.addresses().join(","),
            cluster,
        };
        let _ = served
            .call(&[&["deploy", &served.file], arguments].concat())
            .ok();
        served
    }

    fn call(&self, arguments: &[&str]) -> Finished {
        let arguments = [arguments, &["--workers", &self.workers]].concat();
        self.cluster.faasflow(&arguments)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let done = self.call(&[arguments, &["--json"]].concat()).ok();
        serde_json::from_slice(&done.stdout).expect("it prints one JSON object")
    }

    fn invoke(&self, worker: &str, workflow: &str, inputs: &[(&str, Payload)]) -> Answered {
        let answered = self.cluster.invoke(worker, workflow, inputs);
        let answered = answered.expect("the worker answers");
        answered.result.as_ref().expect("it ends well");
        answered
    }

    fn count(&self, counter: &str) -> u64 {
        let workers = WORKERS.iter();
        workers
            .map(|worker| self.cluster.counter(worker, counter))
            .sum()
    }

    /// The versions that workers have, each with its placements and states.
    fn states(&self) -> Vec<(u32, u16, DeploymentState)> {
        let each = WORKERS.iter().flat_map(|worker| {
            let deployments = self.cluster.status(worker).deployments;
            deployments
                .into_iter()
                .map(|one| (one.version, one.replica, one.state))
        });
        let mut states: Vec<_> = each.collect();
        states.sort_by_key(|(version, placement, _)| (*version, *placement));
        // Both workers have the same.
        states.dedup();
        states
    }
}

fn node<'a>(profile: &'a Value, name: &str) -> &'a Value {
    let nodes = profile["nodes"].as_array().expect("a list");
    let found: Vec<&Value> = nodes.iter().filter(|node| node["node"] == name).collect();
    assert_eq!(found.len(), 1, "{name} is there once in {profile}");
    found[0]
}

/// The parts of a node in a placement, as `rebalance` says where they run.
fn runs_on(profile: &Value, name: &str, placement: u64) -> String {
    let parts = node(profile, name)["parts"].as_array().expect("a list");
    let here = parts.iter().filter(|part| part["placement"] == placement);
    let said = here.map(|part| {
        let worker = part["worker"].as_str().expect("a name");
        match part["items_share"].as_f64() {
            None => worker.to_owned(),
            Some(share) => format!("{worker} {:.0} %", share * 100.0),
        }
    });
    said.collect::<Vec<_>>().join(", ")
}

/// The texts of an invocation, and how they come back.
fn texts(entry: &str, number: u64) -> (Payload, Vec<Vec<u8>>) {
    let each = (0..ITEMS).map(|item| format!("{entry} {number} {item}").into_bytes());
    let each: Vec<Vec<u8>> = each.collect();
    let upper = each.iter().map(|text| text.to_ascii_uppercase()).collect();
    (Payload::list(each), upper)
}

/// The items of an output, all together.
fn list_of(answer: &Answered, name: &str) -> Vec<Vec<u8>> {
    let outputs = answer.result.as_ref().expect("it ends well");
    let found = outputs.iter().find(|(output, _)| output == name);
    let (_, payload) = found.expect("it has that output");
    let Payload::List(items) = payload else {
        panic!("{name} is no list")
    };
    items.iter().flatten().cloned().collect()
}

struct Twofold {
    served: Served,
    hold: PathBuf,
}

impl Twofold {
    fn deployed(replicas: u16) -> Self {
        // On a link as slow as this what is large takes longer than whatever else a busy machine may take time for.
        let link = "link: { bandwidth_mib_per_s: 1, latency_us: 100 }\n";
        let mut hold = PathBuf::new();
        let text = |cluster: &Cluster| {
            hold = cluster.path("hold");
            cluster.file("link.yaml", link);
            twofold(hold.to_str().expect("a temporary folder has a plain name"))
        };
        let replicas = replicas.to_string();
        let arguments = ["--replicas", &replicas, "--cluster", "link.yaml"];
        let served = Served::new(text, &arguments);
        Self { served, hold }
    }

    /// Activations, and bytes that workers send, of one invocation.
    fn of_one(&self) -> (u64, u64) {
        let counters = || ["activations", "bytes_out"].map(|name| self.served.count(name));
        let (before, ended) = (counters(), self.served.count("invocations_ended"));
        for number in 0..ALONE {
            let (texts, upper) = texts("one", number);
            let answered = self.served.invoke("a", "twofold", &[("texts", texts)]);
            assert_eq!(list_of(&answered, "texts"), upper);
        }
        until("all are counted", || {
            (self.served.count("invocations_ended") == ended + ALONE).then_some(())
        });
        let [activations, sent] = counters();
        assert_eq!((activations - before[0]) % ALONE, 0);
        (
            (activations - before[0]) / ALONE,
            (sent - before[1]) / ALONE,
        )
    }

    /// One that stays under way in each placement until a file goes.
    fn hold(&self, placements: u16) -> (Client, BTreeSet<u64>) {
        std::fs::write(&self.hold, "").expect("a file can be made in a test's folder");
        let mut holder = self.served.cluster.client("b");
        let mut held = BTreeSet::new();
        for number in 0..u64::from(placements) {
            let inputs = [
                ("texts".to_owned(), texts("held", 0).0),
                ("hold".to_owned(), bytes("true")),
            ];
            let invocation = Invocation {
                workflow: "twofold",
                inputs: &inputs,
                report: false,
                trace: false,
            };
            held.insert(holder.start(&invocation).expect("the worker takes it"));
            until("the held one runs", || {
                let profile = self.served.json(&["profile", "twofold"]);
                (node(&profile, "held")["activations"] == number + 1).then_some(())
            });
        }
        let profile = self.served.json(&["profile", "twofold"]);
        let parts = node(&profile, "held")["parts"].as_array().expect("a list");
        assert!(
            parts.iter().all(|part| part["activations"] == 1),
            "one in each"
        );
        (holder, held)
    }
}

/// Wrong hints have placed it badly; what it shows of itself places it well, under load, and nothing is lost or run twice.
fn recovers_under_load(replicas: u16) {
    let twofold = Twofold::deployed(replicas);
    let served = &twofold.served;
    let (activations_of_one, sent_of_one) = twofold.of_one();
    assert!(
        sent_of_one > BYTES,
        "what is large crosses workers at first"
    );
    let before = served.json(&["profile", "twofold"]);
    assert!(before["crossing_per_invocation_bytes"].as_f64() > Some(BYTES as f64 * 0.9));
    let (mut holder, mut held) = twofold.hold(replicas);

    let (answered, ends) = (AtomicU64::new(0), AtomicBool::new(false));
    let rebalanced = std::thread::scope(|scope| {
        let loads = WORKERS.map(|entry| {
            let (ends, answered) = (&ends, &answered);
            scope.spawn(move || {
                let inputs = |number| vec![("texts".to_owned(), texts(entry, number).0)];
                let check = |number, answer: &Answered| {
                    let (_, upper) = texts(entry, number);
                    assert_eq!(list_of(answer, "texts"), upper);
                    assert_eq!(output(answer, "all"), upper.concat());
                };
                let client = served.cluster.client(entry);
                let count = unbroken(client, "twofold", inputs, check, ends);
                answered.fetch_add(count, Ordering::Relaxed);
            })
        });
        let taken = || served.count("invocations_taken");
        let first = taken();
        until("the load is on", || (taken() > first + 6).then_some(()));
        let rebalanced = served.json(&["rebalance", "twofold"]);
        let after = taken();
        until("it goes on afterwards", || {
            (taken() > after + 10).then_some(())
        });
        ends.store(true, Ordering::Relaxed);
        for load in loads {
            load.join()
                .expect("no invocation is lost or answered twice");
        }
        rebalanced
    });
    assert_eq!(rebalanced["deployed"], true, "{rebalanced}");
    for when in ["replicas_before", "replicas"] {
        assert_eq!(rebalanced[when]["replicas"], replicas);
        assert_eq!(rebalanced[when]["balance"], "round-robin");
    }
    assert!(
        rebalanced["gain_percent"].as_f64() > Some(5.0),
        "{rebalanced}"
    );
    for estimates in ["present", "new"] {
        let each = rebalanced[estimates]["placements"].as_array();
        assert_eq!(each.map(Vec::len), Some(replicas.into()));
    }
    assert!(rebalanced["present"]["crossing_bytes"].as_f64() >= Some(BYTES as f64));

    // What each move says of the parts is where they ran, and where they run now.
    let now = served.json(&["profile", "twofold"]);
    assert_eq!(now["version"], 2);
    let moves = rebalanced["moves"].as_array().expect("a list");
    assert!(
        moves.iter().any(|one| one["node"] == "look"),
        "{rebalanced}"
    );
    for one in moves {
        let name = one["node"].as_str().expect("a name");
        let [from, to] = ["placement_before", "placement"].map(|key| one[key].as_u64());
        assert_eq!(one["from"], runs_on(&before, name, from.expect("a number")));
        assert_eq!(one["to"], runs_on(&now, name, to.expect("a number")));
    }

    // The old version waits for those that are held, in each of its placements, and for nothing else.
    let in_state = |version, state| (1..=replicas).map(move |number| (version, number, state));
    let (old, new) = (
        in_state(1, DeploymentState::Retiring),
        in_state(2, DeploymentState::Active),
    );
    assert_eq!(served.states(), old.chain(new.clone()).collect::<Vec<_>>());
    std::fs::remove_file(&twofold.hold).expect("it is there");
    while !held.is_empty() {
        let answer = holder.next_answer().expect("the worker answers");
        assert!(held.remove(&answer.request), "it is answered once");
        assert_eq!(list_of(&answer, "texts"), texts("held", 0).1);
    }
    let active: Vec<_> = new.collect();
    until("the old version is gone", || {
        (served.states() == active).then_some(())
    });

    // Each activation ran once: of those to begin with, of the load, and of the held ones, which have one more.
    let invocations = ALONE + answered.load(Ordering::Relaxed) + u64::from(replicas);
    let expected = invocations * activations_of_one + u64::from(replicas);
    until("all activations are counted", || {
        (served.count("activations") >= expected).then_some(())
    });
    assert_eq!(served.count("activations"), expected);
    for counter in ["invocations_failed", "invocations_refused", "late_dropped"] {
        assert_eq!(served.count(counter), 0, "{counter}");
    }
    let (activations, sent) = twofold.of_one();
    assert_eq!(activations, activations_of_one);
    assert!(
        sent < BYTES / 4,
        "{sent} bytes cross where nothing large should"
    );
}

#[test]
fn a_divided_workflow_is_placed_anew_under_load_and_nothing_is_lost_or_run_twice() {
    recovers_under_load(1);
}

#[test]
fn a_divided_workflow_in_two_placements_is_placed_anew_in_two_under_load() {
    recovers_under_load(2);
}

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
            cluster.file("speeds.yaml", speeds);
            text.to_owned()
        },
        &["--cluster", "speeds.yaml", "--pin", "lingers=b"],
    );
    for _ in 0..3 {
        served.invoke("a", "lingers", &[("time", bytes("20000"))]);
    }
    let profile = served.json(&["profile", "lingers"]);
    let mean_ns = node(&profile, "lingers")["run_mean_ns"].as_f64();
    let mean_ns = mean_ns.expect("it was measured");
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
