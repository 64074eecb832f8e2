//! Payloads beyond a workflow's quota of memory: carried out and brought back unchanged, or held back, and nothing left.

use engine::status::WorkflowStatus;
use engine::wire::Failure;
use faasflow_tests::cluster::{Cluster, Setup, bytes, named, output};
use faasflow_tests::gate::{Gate, Verdict};
use faasflow_tests::pattern;
use faasflow_tests::process::until;
use faasflow_tests::redis::Server;
use master::client::{Answered, Invocation, Payload};

const MIB: usize = 1 << 20;

/// Items are made one by one, and all of them are read in the end: more than the executors may hold.
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

fn items(count: usize, length: usize) -> Payload {
    let item = |seed| Some(format!("{seed} {length}").into_bytes());
    Payload::List((0..count).map(item).collect())
}

fn of<'a>(workflows: &'a [WorkflowStatus], name: &str) -> &'a WorkflowStatus {
    let mut all = workflows.iter();
    all.find(|one| one.workflow == name)
        .expect("it is deployed")
}

const COUNT: usize = 48;

fn invoke(cluster: &Cluster, count: usize) -> Answered {
    let items = items(count, 3 * MIB);
    let answered = cluster.invoke("a", "gathered", &[("items", items)]);
    answered.expect("the worker answers")
}

/// Invokes it with so many items, and says what has become of its payloads.
fn gathered(cluster: &Cluster, count: usize) -> WorkflowStatus {
    let answered = invoke(cluster, count);
    let items: Vec<Vec<u8>> = (0..count as u32)
        .map(|seed| pattern::bytes(seed, 3 * MIB))
        .collect();
    let expected = pattern::digest_items(items.iter().map(|item| Some(&item[..])));
    let digest = String::from_utf8_lossy(output(&answered, "digest"));
    assert_eq!(digest, expected);
    at_rest(cluster)
}

/// What a worker says of the workflow once it has nothing to do: nothing is held.
fn at_rest(cluster: &Cluster) -> WorkflowStatus {
    let _ = cluster.settled("a");
    let status = cluster.status("a");
    let workflow = of(&status.workflows, "gathered").clone();
    assert_eq!((workflow.leases, workflow.away), (0, 0), "{workflow:?}");
    workflow
}

#[test]
fn a_list_larger_than_the_quota_goes_by_the_disk_and_arrives_unchanged() {
    let cluster = Setup::workers(&["a"]).start();
    cluster.deploy(GATHERED, &[]);
    let workflow = gathered(&cluster, COUNT);
    assert!(workflow.spilled > 10, "{workflow:?}");
    assert!(workflow.fetched > 10, "{workflow:?}");
    assert_eq!(
        (workflow.stored, workflow.payloads_lost),
        (0, 0),
        "{workflow:?}"
    );
    let files = std::fs::read_dir(cluster.path("state-a").join("spill")).expect("it spills there");
    let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["lock"], "files have no names");
}

#[test]
fn a_workflow_that_may_not_spill_does_not() {
    let cluster = Setup::workers(&["a"]).start();
    let text = GATHERED.replace("nodes:", "store: { spill: false, quota_mib: 30 }\nnodes:");
    cluster.deploy(&text, &[]);
    let workflow = gathered(&cluster, 12);
    assert_eq!(workflow.quota_bytes, 30 << 20);
    assert_eq!(workflow.spilled, 0, "{workflow:?}");
    assert!(workflow.held_back > 0, "{workflow:?}");
}

/// [`GATHERED`] of which the edge to `digest` says where its payloads go, in a workflow that says this.
fn by_edge(edge: &str, workflow: &str) -> String {
    let list = format!("list: {{ from: make.out, store: {edge} }}");
    GATHERED
        .replace("list: make.out", &list)
        .replace("nodes:", &format!("store: {workflow}\nnodes:"))
}

#[test]
fn an_edge_says_where_its_payloads_go_whatever_its_workflow_says() {
    let nowhere = "{ spill: false, remote: false, quota_mib: 30 }";
    let cluster = Setup::workers(&["a"]).start();
    cluster.deploy(&by_edge("spill", nowhere), &[]);
    let workflow = gathered(&cluster, COUNT);
    assert!(workflow.spilled > 10, "{workflow:?}");

    let cluster = Setup::workers(&["a"]).start();
    cluster.deploy(&by_edge("memory", "{ quota_mib: 30 }"), &[]);
    let workflow = gathered(&cluster, 12);
    assert_eq!(workflow.spilled, 0, "{workflow:?}");
    assert!(workflow.held_back > 0, "{workflow:?}");

    let name = "an_edge_says_where_its_payloads_go_whatever_its_workflow_says";
    let Some(server) = Server::start(name) else {
        return;
    };
    let store = format!("--store={}", server.url());
    let cluster = Setup::workers(&["a"]).flag(&store).start();
    cluster.deploy(&by_edge("remote", nowhere), &[]);
    let workflow = gathered(&cluster, COUNT);
    assert!(workflow.stored > 10, "{workflow:?}");
    assert_eq!(workflow.spilled, 0, "there is a disk: {workflow:?}");
}

#[test]
fn with_a_remote_store_and_no_disk_payloads_go_there() {
    let Some(server) = Server::start("with_a_remote_store_and_no_disk_payloads_go_there") else {
        return;
    };
    let cluster = server.setup().start();
    cluster.deploy(GATHERED, &[]);
    let workflow = gathered(&cluster, COUNT);
    assert!(workflow.stored > 10, "{workflow:?}");
    assert!(workflow.fetched > 10, "{workflow:?}");
    assert_eq!(workflow.spilled, 0, "{workflow:?}");
}

#[test]
fn a_remote_store_that_stops_and_comes_back_costs_what_lay_there_and_nothing_else() {
    let name = "a_remote_store_that_stops_and_comes_back_costs_what_lay_there_and_nothing_else";
    let Some(mut server) = Server::start(name) else {
        return;
    };
    let cluster = server.setup().start();
    cluster.deploy(GATHERED, &[]);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| invoke(&cluster, COUNT).result);
        until("payloads lie in the store", || {
            let status = cluster.status("a");
            (of(&status.workflows, "gathered").stored > 2).then_some(())
        });
        server.restart();
        match asked.join().unwrap() {
            // All of it was back before.
            Ok(_) => {}
            Err(failure @ Failure::Payload { .. }) => {
                let text = failure.to_string();
                assert!(text.contains("could not be brought back"), "{text}");
                assert!(text.contains("redis://127.0.0.1"), "{text}");
            }
            // With what could not be carried out the executors' memory has run full.
            Err(failure) => {
                let text = failure.to_string();
                assert!(text.contains("no memory for an output"), "{text}");
            }
        }
    });
    let _ = at_rest(&cluster);
    let before = at_rest(&cluster).stored;
    let workflow = gathered(&cluster, COUNT);
    assert!(workflow.stored > before, "{workflow:?}");
}

#[test]
fn without_a_disk_to_spill_to_what_does_not_fit_fails_by_name_and_leaves_nothing() {
    let cluster = Setup::workers(&["a"]).flag("--spill-max=0").start();
    cluster.deploy(GATHERED, &[]);
    let failure = invoke(&cluster, COUNT).result.unwrap_err();
    let text = failure.to_string();
    assert!(text.contains("make failed on worker a"), "{text}");
    assert!(text.contains("no memory for an output"), "{text}");
    let _ = at_rest(&cluster);
    // What fits goes on.
    assert!(!output(&invoke(&cluster, 4), "digest").is_empty());
    let _ = at_rest(&cluster);
}

/// Each item is made, passed on and read before many others are: what is in memory stays within the quota.
const CHAINED: &str = "
workflow: chained
input: { items: list }
nodes:
  make:
    function: test-functions:produce
    foreach: input.items
    input: { what: item }
    output: { out: bytes }
    resources: { memory_mib: 32, scale: 2 }
  digest:
    function: test-functions:digest
    foreach: make.out
    input: { in: item }
    output: { out: bytes }
    resources: { memory_mib: 32, scale: 2 }
  all:
    function: test-functions:digest_list
    input: { list: digest.out }
    output: { out: bytes }
    resources: { memory_mib: 32, scale: 2 }
output: { digest: all.out }
";

#[test]
fn items_that_are_read_one_by_one_stay_within_the_quota_however_many_there_are() {
    let cluster = Setup::workers(&["a"]).flag("--spill-max=0").start();
    cluster.deploy(CHAINED, &[]);
    let count = 400;
    let answered = cluster.invoke("a", "chained", &[("items", items(count, MIB))]);
    let answered = answered.expect("the worker answers");
    let digests: Vec<String> = (0..count as u32)
        .map(|seed| pattern::digest(&pattern::bytes(seed, MIB)))
        .collect();
    let expected = pattern::digest_items(digests.iter().map(|one| Some(one.as_bytes())));
    assert_eq!(
        String::from_utf8_lossy(output(&answered, "digest")),
        expected
    );
    let _ = cluster.settled("a");
    let status = cluster.status("a");
    let workflow = of(&status.workflows, "chained");
    assert!(
        workflow.leased_peak_bytes <= workflow.quota_bytes,
        "{workflow:?}"
    );
    assert_eq!(workflow.overdrawn, 0, "{workflow:?}");
}

#[test]
fn lanes_get_back_what_they_have_carried_out_themselves() {
    let cluster = Setup::workers(&["a"]).flag("--lanes=2").start();
    cluster.deploy(GATHERED, &[]);
    std::thread::scope(|scope| {
        for length in [MIB, MIB + 1, MIB + 2, MIB + 3] {
            let cluster = &cluster;
            scope.spawn(move || {
                let inputs = [("items", items(COUNT, length))];
                let answered = cluster.invoke("a", "gathered", &inputs);
                let answered = answered.expect("the worker answers");
                let made = (0..COUNT as u32).map(|seed| pattern::bytes(seed, length));
                let made: Vec<Vec<u8>> = made.collect();
                let expected = pattern::digest_items(made.iter().map(|item| Some(&item[..])));
                let digest = String::from_utf8_lossy(output(&answered, "digest"));
                assert_eq!(digest, expected);
            });
        }
    });
    let workflow = at_rest(&cluster);
    assert!(workflow.spilled > 0, "{workflow:?}");
    assert_eq!(workflow.payloads_lost, 0, "{workflow:?}");
}

#[test]
fn a_workflow_that_holds_all_that_it_may_leaves_others_their_part() {
    // Half of it is for what arrives, a fifth of that is kept, and of that each of two workflows has 6.4 MiB.
    let cluster = Setup::workers(&["a"])
        .memory("128MiB")
        .flag("--lanes=1")
        .start();
    for (workflow, function, input) in [
        ("greedy", "gate", "gate: input.gate, in: input.data"),
        ("modest", "digest", "in: input.data"),
    ] {
        let file = format!(
            "
workflow: {workflow}
input: {{ gate: bytes, data: bytes }}
nodes:
  reads:
    function: test-functions:{function}
    input: {{ {input} }}
    output: {{ out: bytes }}
    resources: {{ memory_mib: 8 }}
output: {{ out: reads.out }}
"
        );
        cluster.deploy(&file, &[]);
    }
    let gate = Gate::new(cluster.folder(), "gate");
    let ask = |workflow, length| {
        let data = pattern::bytes(1, length);
        let inputs = named(&[("gate", bytes(gate.input())), ("data", bytes(data))]);
        let mut client = cluster.client("a");
        let asked = client.start(&Invocation {
            workflow,
            inputs: &inputs,
            report: false,
            trace: false,
        });
        asked.expect("the worker hears it");
        client
    };
    let mut greedy = ask("greedy", 50 * MIB);
    let held = gate.next();
    let refused = ask("greedy", 4 * MIB).next_answer();
    let refused = refused.expect("the worker answers").result.unwrap_err();
    for part in ["no room for", "at most 60397978 bytes", "--memory"] {
        assert!(refused.to_string().contains(part), "{refused}");
    }
    let modest = ask("modest", 6 * MIB).next_answer();
    let modest = modest.expect("the worker answers");
    let expected = pattern::digest(&pattern::bytes(1, 6 * MIB));
    assert_eq!(output(&modest, "out"), expected.as_bytes());
    held.tell(Verdict::Pass);
    let answered = greedy.next_answer().expect("the worker answers");
    assert!(answered.result.is_ok(), "{answered:?}");
    drop(greedy);
    let _ = cluster.settled("a");
}
