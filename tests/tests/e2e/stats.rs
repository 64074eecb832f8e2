//! What workers count of payloads that are read, by edge and by tier: compared with what was read.

use engine::reads::{Amount, Reads, Way};
use engine::status::{EdgeStatus, WorkerStatus, WorkflowStatus};
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::pattern;
use faasflow_tests::redis::Server;
use master::client::Payload;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

const MIB: usize = 1 << 20;
const LONG: usize = 300_000;

/// What is long goes to a node beside it, and to one on the other worker; what is short goes there as well.
const SPREAD: &str = "
workflow: spread
input: { what: bytes }
nodes:
  make:
    function: test-functions:produce
    input: { what: input.what }
    output: { out: bytes }
  beside:
    function: test-functions:digest
    input: { in: make.out }
    output: { out: bytes }
  far:
    function: test-functions:digest
    input: { in: make.out }
    output: { out: bytes }
  told:
    function: test-functions:echo
    input: { in: beside.out }
    output: { out: bytes }
output: { far: far.out, told: told.out }
";

const PINS: [(&str, &str); 4] = [("make", "a"), ("beside", "a"), ("far", "b"), ("told", "b")];

type Edges = BTreeMap<(String, String), Reads>;

fn came(edge: (&str, &str), way: Way, payloads: u64, bytes: usize) -> ((String, String), Reads) {
    let mut reads = Reads::default();
    (0..payloads).for_each(|_| reads.count(way, bytes as u64));
    ((edge.0.to_owned(), edge.1.to_owned()), reads)
}

/// What a worker says of the workflow's only deployment there.
fn edges(status: &WorkerStatus, workflow: &str) -> Edges {
    let mut own = status.deployments.iter();
    let own = own.find(|one| one.workflow == workflow);
    let own = own.expect("it is deployed");
    assert_eq!(own.edges_unlisted, 0);
    let edge = |edge: &EdgeStatus| {
        let reads = edge.reads.by_tier;
        assert_eq!(
            (edge.reads.hits, edge.reads.misses),
            (reads.hits(), reads.misses())
        );
        ((edge.from.clone(), edge.to.clone()), reads)
    };
    own.edges.iter().map(edge).collect()
}

fn sums(status: &WorkerStatus, workflow: &str) -> WorkflowStatus {
    let mut own = status.workflows.iter();
    let own = own.find(|one| one.workflow == workflow);
    own.expect("it is deployed").clone()
}

fn total(edges: &Edges) -> Reads {
    let mut total = Reads::default();
    edges.values().for_each(|reads| total.add(reads));
    total
}

/// Runs it so often.
fn spread(cluster: &Cluster, count: u64) {
    let expected = pattern::digest(&pattern::bytes(7, LONG));
    for _ in 0..count {
        let inputs = [("what", bytes(format!("7 {LONG}")))];
        let answered = cluster.invoke("a", "spread", &inputs);
        let answered = answered.expect("the worker answers");
        for name in ["far", "told"] {
            assert_eq!(String::from_utf8_lossy(output(&answered, name)), expected);
        }
    }
    for worker in ["a", "b"] {
        let _ = cluster.settled(worker);
    }
}

/// What was read on both workers when it has run so often, if large payloads came that way.
fn spread_edges(far: Way, count: u64) -> [Edges; 2] {
    let short = pattern::digest(&pattern::bytes(7, LONG)).len();
    let what = format!("7 {LONG}").len();
    let here = [
        came(("input.what", "make"), Way::Inline, count, what),
        came(("make.out", "beside"), Way::Shared, count, LONG),
        came(("far.out", "output.far"), Way::Inline, count, short),
        came(("told.out", "output.told"), Way::Inline, count, short),
    ];
    let there = [
        came(("make.out", "far"), far, count, LONG),
        came(("beside.out", "told"), Way::Inline, count, short),
    ];
    [Edges::from(here), Edges::from(there)]
}

#[test]
fn edges_between_workers_and_within_them_are_counted_exactly_and_survive_a_redeployment_in_sum() {
    let cluster = Setup::workers(&["a", "b"]).start();
    cluster.deploy(SPREAD, &PINS);
    spread(&cluster, 3);
    for (worker, expected) in ["a", "b"].into_iter().zip(spread_edges(Way::Peer, 3)) {
        let status = cluster.status(worker);
        assert_eq!(edges(&status, "spread"), expected, "on {worker}");
        let sum = sums(&status, "spread").reads.by_tier;
        assert_eq!(sum, total(&expected), "on {worker}");
    }
    cluster.deploy(SPREAD, &PINS);
    spread(&cluster, 1);
    let now = spread_edges(Way::Peer, 1);
    for (worker, expected) in ["a", "b"].into_iter().zip(now) {
        faasflow_tests::process::until("the first version has gone", || {
            (cluster.status(worker).deployments.len() == 1).then_some(())
        });
        let status = cluster.status(worker);
        assert_eq!(edges(&status, "spread"), expected, "on {worker}");
    }
    for (worker, expected) in ["a", "b"].into_iter().zip(spread_edges(Way::Peer, 4)) {
        let sum = sums(&cluster.status(worker), "spread").reads.by_tier;
        assert_eq!(sum, total(&expected), "on {worker}");
    }
}

#[test]
fn what_a_worker_of_the_same_host_lends_is_counted_as_lent() {
    let cluster = Setup::workers(&["a", "b"]).sharing(&[]).start();
    cluster.deploy(SPREAD, &PINS);
    spread(&cluster, 2);
    for (worker, expected) in ["a", "b"].into_iter().zip(spread_edges(Way::Lent, 2)) {
        assert_eq!(
            edges(&cluster.status(worker), "spread"),
            expected,
            "on {worker}"
        );
    }
}

/// Items are made one by one, and all of them are read in the end: more than may be in memory.
const GATHERED: &str = "
workflow: gathered
input: { items: list }
nodes:
  make:
    function: test-functions:produce
    foreach: input.items
    input: { what: item }
    output: { out: bytes }
    resources: { memory_mib: 24, scale: 2 }
  digest:
    function: test-functions:digest_list
    input: { list: make.out }
    output: { out: bytes }
    resources: { memory_mib: 24, scale: 2 }
output: { digest: digest.out }
";

const COUNT: u64 = 48;

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("it is later than 1970").as_millis() as u64
}

/// Each item is read once: where it was made, or brought back by this tier.
fn goes_by(cluster: &Cluster, tier: Way) -> WorkflowStatus {
    let began_ms = unix_ms();
    cluster.deploy(GATHERED, &[]);
    let item = |seed| Some(format!("{seed:02} {}", 3 * MIB).into_bytes());
    let items = Payload::List((0..COUNT).map(item).collect());
    let answered = cluster.invoke("a", "gathered", &[("items", items)]);
    let digest = output(&answered.expect("the worker answers"), "digest").len();
    let _ = cluster.settled("a");
    let status = cluster.status("a");
    let counted = edges(&status, "gathered");
    let small = [
        came(("input.items", "make"), Way::Inline, COUNT, 10),
        came(("digest.out", "output.digest"), Way::Shared, 1, digest),
    ];
    for (edge, expected) in &small {
        assert_eq!(counted.get(edge), Some(expected), "{edge:?}");
    }
    assert_eq!(counted.len(), 3, "{counted:?}");
    let reads = counted[&("make.out".to_owned(), "digest".to_owned())];
    let all = Amount {
        payloads: COUNT,
        bytes: COUNT * 3 * MIB as u64,
    };
    assert_eq!(reads.all(), all, "{reads:?}");
    let mut two = reads.shared;
    two.add(reads.of(tier));
    assert_eq!(two, all, "{reads:?}");
    assert!(reads.misses() > 10 && reads.hits() > 0, "{reads:?}");

    let workflow = sums(&status, "gathered");
    assert_eq!(workflow.reads.by_tier, total(&counted));
    let (used, unused) = match tier {
        Way::Remote => (workflow.remote, workflow.spill),
        _ => (workflow.spill, workflow.remote),
    };
    assert_eq!(unused, engine::reads::Moved::default());
    let brought = used.back.payloads + used.copied.payloads;
    assert_eq!(brought, workflow.fetched);
    assert!(brought >= reads.misses(), "{workflow:?}");
    assert!(
        used.copied.payloads >= reads.copied.payloads,
        "{workflow:?}"
    );
    assert_eq!((used.refused, used.lost), (0, 0), "{workflow:?}");
    // High-water marks, and when they were reached.
    let reached = [workflow.leased_peak_unix_ms, workflow.held_peak_unix_ms];
    for at_ms in reached {
        let at_ms = at_ms.expect("something was there");
        assert!((began_ms..=unix_ms()).contains(&at_ms), "{workflow:?}");
    }
    assert!(workflow.leased_peak_bytes >= 20 << 20, "{workflow:?}");
    assert!(
        workflow.held_peak_bytes >= workflow.leased_peak_bytes / 2,
        "{workflow:?}"
    );
    assert!(workflow.segments_peak >= workflow.segments, "{workflow:?}");
    assert!(workflow.quota_bytes > 0, "{workflow:?}");
    assert!(status.counters["lease_bytes_peak"] > 0);
    workflow
}

#[test]
fn what_is_brought_back_from_disk_is_a_miss_and_what_is_found_a_hit() {
    let cluster = Setup::workers(&["a"]).flag("--lanes=1").start();
    let workflow = goes_by(&cluster, Way::Spill);
    assert_eq!(workflow.spill.out.payloads, workflow.spilled);
    cluster.undeploy("gathered");
    faasflow_tests::process::until("it has gone", || {
        cluster.status("a").workflows.is_empty().then_some(())
    });
}

#[test]
fn what_is_brought_back_from_a_remote_store_is_counted_so() {
    let Some(server) = Server::start("what_is_brought_back_from_a_remote_store_is_counted_so")
    else {
        return;
    };
    let cluster = server.setup().flag("--lanes=1").start();
    let workflow = goes_by(&cluster, Way::Remote);
    assert_eq!(workflow.remote.out.payloads, workflow.stored);
}

#[test]
fn people_see_it_by_workflow_and_by_edge_and_programs_as_json() {
    let cluster = Setup::workers(&["a", "b"]).start();
    cluster.deploy(SPREAD, &PINS);
    spread(&cluster, 2);
    let workers = cluster.addresses().join(",");
    let shown = cluster.faasflow(&["status", "--workers", &workers]);
    assert!(shown.text().contains("found in memory"), "{}", shown.text());
    assert!(!shown.text().contains("make.out"), "{}", shown.text());
    let shown = cluster.faasflow(&["status", "--edges", "--workers", &workers]);
    let text = shown.text();
    let row = |from: &str, to: &str| {
        let mut rows = text.lines();
        let row = rows.find(|row| row.contains(from) && row.contains(to));
        row.unwrap_or_else(|| panic!("{}", shown.text())).to_owned()
    };
    assert!(
        row("make.out", "far").contains("2, 585.9 KiB"),
        "{}",
        shown.text()
    );
    assert!(
        row("input.what", "make").contains("2, 16 bytes"),
        "{}",
        shown.text()
    );
    let shown = cluster.faasflow(&["status", "--json", "--workers", &workers]);
    let json: serde_json::Value = serde_json::from_str(&shown.text()).expect("it is JSON");
    let edges = json["workers"][1]["deployments"][0]["edges"].as_array();
    let edges = edges.expect("there are some");
    let far = edges.iter().find(|edge| edge["to"] == "far");
    let far = far.expect("it was read");
    assert_eq!(far["from"], "make.out");
    assert_eq!(far["peer"]["payloads"], 2);
    assert_eq!(far["peer"]["bytes"], 2 * LONG);
    assert_eq!((&far["hits"], &far["misses"]), (&2.into(), &0.into()));
    let sums = &json["workers"][1]["workflows"][0];
    assert_eq!(sums["reads"]["inline"]["payloads"], 2);
    assert_eq!(sums["spill"]["out"]["payloads"], 0);
}
