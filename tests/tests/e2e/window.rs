//! Lists that are larger than their workflow's memory: read item by item, in order and otherwise, within the quota, and
//! nothing left, however it ends.

use engine::status::WorkflowStatus;
use engine::wire::Failure;
use faasflow_tests::cluster::{Cluster, Setup, named, output};
use faasflow_tests::pattern;
use faasflow_tests::process::until;
use master::client::{Answered, Client, Invocation, Payload};
use nix::sys::signal::Signal;

const MIB: usize = 1 << 20;
const QUOTA_MIB: u64 = 24;
const COUNT: usize = 200;

/// Items are made one by one, and all of them are read in the end: `READER` does.
const GATHERED: &str = "
workflow: gathered
input: { items: list }
store: { quota_mib: 24 }
nodes:
  make:
    function: test-functions:produce
    foreach: input.items
    input: { what: item }
    output: { out: bytes }
    resources: { memory_mib: 32, scale: 2 }
  read:
    function: test-functions:READER
    input: { list: make.out }
    output: { out: bytes }
    resources: { memory_mib: 32, scale: 2 }
    retry: { attempts: 2 }
output: { out: read.out }
";

fn items(count: usize) -> Payload {
    let item = |seed| Some(format!("{seed} {MIB}").into_bytes());
    Payload::List((0..count).map(item).collect())
}

fn cluster(reader: &str) -> Cluster {
    let cluster = Setup::workers(&["a"]).start();
    cluster.deploy(&GATHERED.replace("READER", reader), &[]);
    cluster
}

fn invoke(cluster: &Cluster, count: usize) -> Answered {
    let answered = cluster.invoke("a", "gathered", &[("items", items(count))]);
    answered.expect("the worker answers")
}

fn status(cluster: &Cluster) -> WorkflowStatus {
    let mut workflows = cluster.status("a").workflows.into_iter();
    let workflow = workflows.find(|one| one.workflow == "gathered");
    workflow.expect("it is deployed")
}

/// What a worker says of the workflow once it has nothing to do: nothing is held.
fn at_rest(cluster: &Cluster) -> WorkflowStatus {
    let _ = cluster.settled("a");
    let workflow = status(cluster);
    assert_eq!((workflow.leases, workflow.away), (0, 0), "{workflow:?}");
    workflow
}

fn made(count: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..count as u32).map(|seed| pattern::bytes(seed, MIB))
}

/// The digest of all items in their order.
fn in_order(count: usize) -> String {
    let mut digest = pattern::ItemsDigest::default();
    made(count).for_each(|item| digest.add(Some(&item)));
    digest.text()
}

/// In memory was never more than the quota, and what may be made and read at once beside it.
fn stays_near_its_quota(workflow: &WorkflowStatus) {
    let most = (QUOTA_MIB + 4) << 20;
    assert!(workflow.leased_peak_bytes <= most, "{workflow:?}");
}

#[test]
fn a_list_of_many_times_its_quota_is_walked_within_it() {
    let cluster = cluster("digest_list");
    let answered = invoke(&cluster, COUNT);
    let digest = String::from_utf8_lossy(output(&answered, "out"));
    assert_eq!(digest, in_order(COUNT));
    let workflow = at_rest(&cluster);
    stays_near_its_quota(&workflow);
    assert_eq!(workflow.windowed, 1, "{workflow:?}");
    // Each item comes back once, if it was away at all.
    assert!(workflow.fetched <= COUNT as u64, "{workflow:?}");
    assert!(workflow.fetched > COUNT as u64 / 2, "{workflow:?}");
    assert_eq!(workflow.payloads_lost, 0, "{workflow:?}");
}

#[test]
fn an_executor_that_is_killed_in_the_middle_of_a_list_costs_an_attempt() {
    let cluster = cluster("digest_dying");
    let answered = invoke(&cluster, COUNT);
    let digest = String::from_utf8_lossy(output(&answered, "out"));
    assert_eq!(digest, in_order(COUNT));
    let workflow = at_rest(&cluster);
    stays_near_its_quota(&workflow);
    assert_eq!(workflow.windowed, 2, "{workflow:?}");
}

#[test]
fn a_list_is_read_in_any_order_within_its_quota() {
    let cluster = cluster("digest_random");
    let answered = invoke(&cluster, COUNT);
    let digests = String::from_utf8_lossy(output(&answered, "out"));
    let expected: Vec<String> = made(COUNT).map(|item| pattern::digest(&item)).collect();
    assert_eq!(digests, expected.join("\n"));
    let workflow = at_rest(&cluster);
    stays_near_its_quota(&workflow);
    assert_eq!(workflow.windowed, 1, "{workflow:?}");
}

#[test]
fn a_function_that_keeps_all_items_gets_them_beyond_the_quota_while_there_is_memory() {
    let cluster = cluster("digest_kept");
    let answered = invoke(&cluster, 60);
    let digest = String::from_utf8_lossy(output(&answered, "out"));
    assert_eq!(digest, in_order(60));
    let workflow = at_rest(&cluster);
    assert!(workflow.overdrawn > 0, "{workflow:?}");
    assert!(workflow.leased_peak_bytes >= 60 << 20, "{workflow:?}");
}

#[test]
fn a_function_that_keeps_more_than_there_is_memory_for_fails_by_name() {
    let cluster = Setup::workers(&["a"]).memory("160MiB").start();
    let text = GATHERED.replace("    retry: { attempts: 2 }\n", "");
    cluster.deploy(&text.replace("READER", "digest_kept"), &[]);
    let failure = invoke(&cluster, COUNT).result.unwrap_err();
    let text = failure.to_string();
    assert!(text.contains("read failed on worker a"), "{text}");
    assert!(text.contains("no room in the worker's memory"), "{text}");
    assert!(text.contains("List::walk"), "{text}");
    let _ = at_rest(&cluster);
}

/// Starts an invocation, and waits until its list is walked; who has asked for it.
fn walking(cluster: &Cluster) -> (Client, u64) {
    let before = status(cluster);
    let mut client = cluster.client("a");
    let inputs = named(&[("items", items(60))]);
    let invocation = Invocation {
        workflow: "gathered",
        inputs: &inputs,
        report: false,
        trace: false,
    };
    let request = client.start(&invocation).expect("the worker takes it");
    until("it walks", || {
        let workflow = status(cluster);
        let begun = workflow.windowed > before.windowed;
        (begun && workflow.fetched > before.fetched + 60).then_some(())
    });
    (client, request)
}

#[test]
fn a_walk_ends_with_its_invocation() {
    let cluster = cluster("walk_and_wait");
    for _ in 0..3 {
        let (mut client, request) = walking(&cluster);
        client.canceller().cancel(request).expect("it is connected");
        let answered = client.next_answer().expect("the worker answers");
        assert_eq!(answered.result, Err(Failure::Cancelled));
        drop(client);
        let _ = at_rest(&cluster);
    }
    assert_eq!(
        cluster.counter("a", "told_killed"),
        0,
        "it is told, and heard"
    );
}

#[test]
fn a_worker_ends_in_the_middle_of_a_walk() {
    let mut cluster = cluster("walk_and_wait");
    let client = walking(&cluster);
    assert_eq!(cluster.worker_mut("a").end_by(Signal::SIGTERM), Some(0));
    drop(client);
}

/// Each item is made and read before many others are.
const CHAINED: &str = "
workflow: gathered
input: { items: list }
store: { quota_mib: 256 }
nodes:
  make:
    function: test-functions:stamp
    foreach: input.items
    input: { number: item }
    output: { out: bytes }
    resources: { memory_mib: 256, scale: 2 }
  take:
    function: test-functions:stamped
    foreach: make.out
    input: { in: item }
    output: { number: bytes }
    resources: { memory_mib: 256, scale: 2 }
  all:
    function: test-functions:digest_list
    input: { list: take.number }
    output: { out: bytes }
    resources: { memory_mib: 256, scale: 1 }
output: { out: all.out }
";

fn streams_through(count: usize) {
    let cluster = Setup::workers(&["a"]).memory("2GiB").start();
    cluster.deploy(CHAINED, &[]);
    let numbers: Vec<Vec<u8>> = (0..count)
        .map(|number| number.to_string().into_bytes())
        .collect();
    let expected = pattern::digest_items(numbers.iter().map(|one| Some(&one[..])));
    let items = Payload::List(numbers.into_iter().map(Some).collect());
    let answered = cluster.invoke("a", "gathered", &[("items", items)]);
    let answered = answered.expect("the worker answers");
    assert_eq!(String::from_utf8_lossy(output(&answered, "out")), expected);
    let workflow = at_rest(&cluster);
    assert!(
        workflow.leased_peak_bytes <= workflow.quota_bytes,
        "{workflow:?}"
    );
    assert_eq!(workflow.overdrawn, 0, "{workflow:?}");
}

#[test]
fn items_stream_through_a_chain_of_foreach_nodes_within_the_quota() {
    streams_through(3_000);
}

#[test]
#[ignore = "it moves 100 GiB through memory, for minutes: scripts/large runs it"]
fn a_hundred_thousand_items_stream_through_a_chain_of_foreach_nodes_within_the_quota() {
    streams_through(100_000);
}
