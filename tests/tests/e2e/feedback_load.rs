//! Feedback under load, of nodes that run in several places: a divided workflow whose hints were wrong is placed anew, also in
//! several placements, and no invocation of it is lost, nothing runs twice, and what was under way ends where it began.

use engine::status::DeploymentState;
use engine::worker::host;
use faasflow_tests::cluster::{Cluster, bytes, output};
use faasflow_tests::load::unbroken;
use faasflow_tests::process::until;
use faasflow_tests::served::{Served, WORKERS, node};
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

/// Hints say that `look` takes long, so that its parts are better apart, and that what each of them reads is next to nothing.
/// It is the other way round. `held` runs as long as a file is there, for whoever wants that, and what comes behind it is
/// divided, too.
fn twofold(held: &str) -> String {
    // As many as a worker has, so that two of them are better apart.
    let cpus = host::allowed_cpus().len();
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
    resources: {{ memory_mib: 64, cpus: {cpus} }}
    profile: {{ runtime_ms: 300, items: {ITEMS} }}
  choose:
    switch: [{{ when: input.hold == true, then: held }}]
    default: []
    after: look
  held:
    function: test-functions:while_there
    input: {{ name: {{ value: \"{held}\" }} }}
    output: {{ out: bytes }}
    resources: {{ memory_mib: 64 }}
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
            let _ = cluster.file("link.yaml", link);
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
