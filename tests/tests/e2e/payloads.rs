//! What goes in comes out: payloads and lists of any size, within a worker and between workers, by every tier.

use engine::plan::Limits;
use engine::wire::{Failure, Tier};
use faasflow_tests::cluster::{Cluster, Setup, bytes, output, payload};
use faasflow_tests::pattern;
use faasflow_tests::process::until;
use faasflow_tests::skip::skip;
use master::client::{Answered, Payload};
use std::collections::BTreeSet;

/// Payloads up to so many bytes travel inside a message between workers.
const INLINE_BYTES_MAX: usize = 16 << 10;
/// Nothing, almost nothing, the border between inline and streamed, one chunk and more, many chunks.
const SIZES: [usize; 8] = [
    0,
    1,
    INLINE_BYTES_MAX - 1,
    INLINE_BYTES_MAX,
    INLINE_BYTES_MAX + 1,
    1 << 20,
    (1 << 20) + 1,
    64 << 20,
];

const RELAY: &str = "
workflow: relay
input: { data: bytes }
nodes:
  near:
    function: test-functions:echo
    input: { in: input.data }
    output: { out: bytes }
    resources: { memory_mib: 192 }
  far:
    function: test-functions:echo
    input: { in: near.out }
    output: { out: bytes }
    resources: { memory_mib: 192 }
  digest:
    function: test-functions:digest
    input: { in: far.out }
    output: { out: bytes }
    resources: { memory_mib: 192 }
output: { data: far.out, digest: digest.out }
";

fn relayed(cluster: &Cluster, entry: &str) {
    for size in SIZES {
        let data = pattern::bytes(5, size);
        let answered = cluster.invoke(entry, "relay", &[("data", bytes(&data))]);
        let answered = answered.expect("the worker answers");
        assert_eq!(
            String::from_utf8_lossy(output(&answered, "digest")),
            pattern::digest(&data)
        );
        assert!(output(&answered, "data") == data, "{size} bytes differ");
    }
}

#[test]
fn payloads_of_every_size_arrive_unchanged_across_two_workers() {
    let cluster = Setup::workers(&["a", "b"]).memory("1GiB").start();
    cluster.deploy(RELAY, &[("near", "a"), ("far", "b"), ("digest", "a")]);
    relayed(&cluster, "a");
    relayed(&cluster, "b");
    assert!(cluster.counter("a", "transfers_out") > 0);
    assert!(cluster.counter("b", "transfers_in") > 0);
    for worker in ["a", "b"] {
        let _ = cluster.settled(worker);
    }
}

#[test]
fn payloads_of_every_size_arrive_unchanged_within_one_worker() {
    let cluster = Setup::workers(&["a"]).memory("1GiB").start();
    cluster.deploy(RELAY, &[]);
    relayed(&cluster, "a");
    let _ = cluster.settled("a");
}

/// How the outputs of `from` reached `node`.
fn tier(answered: &Answered, node: &str, from: &str) -> Tier {
    let report = answered.report.iter().find(|report| report.node == node);
    let edges = &report.expect("the node is reported").edges;
    let edge = edges.iter().find(|edge| edge.from == from);
    edge.expect("the edge is reported").tier
}

#[test]
fn the_tier_of_an_edge_follows_from_placement_and_size() {
    let cluster = Setup::workers(&["a", "b"]).start();
    cluster.deploy(
        &RELAY.replace("memory_mib: 192", "memory_mib: 16"),
        &[("near", "a"), ("far", "b"), ("digest", "b")],
    );
    let invoke = |size| {
        let inputs = [("data", bytes(pattern::bytes(5, size)))];
        cluster
            .invoke("a", "relay", &inputs)
            .expect("the worker answers")
    };
    let (small, large) = (invoke(100), invoke(100_000));
    assert_eq!(tier(&small, "far", "near"), Tier::Inline);
    assert_eq!(tier(&large, "far", "near"), Tier::Peer);
    assert_eq!(tier(&small, "digest", "far"), Tier::Shared);
    assert_eq!(tier(&large, "digest", "far"), Tier::Shared);
}

const LISTS: &str = "
workflow: lists
input: { shape: value }
nodes:
  make:
    function: test-functions:items
    input: { shape: input.shape }
    output: { list: list }
    resources: { memory_mib: 64 }
  gathered:
    function: test-functions:digest_list
    input: { list: make.list }
    output: { out: bytes }
  each:
    function: test-functions:upper
    foreach: make.list
    input: { in: item }
    output: { out: bytes }
    resources: { memory_mib: 64, scale: 2 }
  again:
    function: test-functions:digest_list
    input: { list: each.out }
    output: { out: bytes }
output: { digest: gathered.out, again: again.out, list: make.list }
";

#[test]
fn lists_of_no_item_one_and_a_hundred_thousand_arrive_in_order() {
    let cluster = Setup::workers(&["a", "b"]).memory("1GiB").start();
    cluster.deploy(
        LISTS,
        &[
            ("make", "a"),
            ("gathered", "b"),
            ("each", "b"),
            ("again", "a"),
        ],
    );
    for (count, length) in [(0, 9), (1, 9), (1, 0), (7, 40_000), (100_000, 9)] {
        let shape = format!("[{count}, {length}]");
        let answered = cluster.invoke("b", "lists", &[("shape", bytes(shape))]);
        let answered = answered.expect("the worker answers");
        let items: Vec<Vec<u8>> = (0..count).map(|i| pattern::item(7, i, length)).collect();
        let upper: Vec<Vec<u8>> = items.iter().map(|i| i.to_ascii_uppercase()).collect();
        let digest = |items: &[Vec<u8>]| pattern::digest_items(items.iter().map(|i| Some(&i[..])));
        let text = |name| String::from_utf8_lossy(output(&answered, name)).into_owned();
        assert_eq!(text("digest"), digest(&items), "{count} items of {length}");
        assert_eq!(text("again"), digest(&upper), "{count} items of {length}");
        assert!(
            *payload(&answered, "list") == Payload::list(items),
            "{count} items of {length}"
        );
    }
    for worker in ["a", "b"] {
        let _ = cluster.settled(worker);
    }
}

const DIGEST: &str = "
workflow: digest
input: { data: bytes }
nodes:
  digest:
    function: test-functions:digest
    input: { in: input.data }
    output: { out: bytes }
    resources: { memory_mib: 16 }
output: { digest: digest.out }
";

#[test]
fn inputs_that_grow_and_grow_keep_within_the_memory_of_their_lane_which_gives_it_back() {
    let cluster = Setup::workers(&["a"]).memory("256MiB").start();
    cluster.deploy(DIGEST, &[]);
    let invoke = |size: usize| {
        let data = pattern::bytes(3, size);
        let answered = cluster.invoke("a", "digest", &[("data", bytes(&data))]);
        let answered = answered.expect("the worker answers");
        let digest = String::from_utf8_lossy(output(&answered, "digest")).into_owned();
        assert_eq!(digest, pattern::digest(&data));
    };
    invoke(100);
    let before = cluster.settled("a");
    // Each is too large for the room that the one before has left.
    for mebibytes in (70..90).step_by(2) {
        invoke(mebibytes << 20);
        let held = cluster.status("a").memory.held_bytes;
        assert!(
            held <= 144 << 20,
            "{held} bytes are held, of 128 MiB of the lane and 16 of an executor"
        );
    }
    until("the idle lane has given its memory back", || {
        let held = cluster.status("a").memory.held_bytes;
        (held <= before.segment_bytes).then_some(())
    });
    // Its executor maps it no longer either.
    let [executor] = cluster.executors("a")[..] else {
        panic!("one executor")
    };
    until("the executor has unmapped it", || {
        let maps = std::fs::read_to_string(format!("/proc/{executor}/maps")).unwrap();
        let lane = maps.lines().filter(|line| line.contains("lane-")).count();
        (lane <= 1).then_some(())
    });
}

/// The segments that a process maps, by their inodes.
fn segments_of(pid: u32) -> BTreeSet<String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process is there");
    let segments = maps.lines().filter(|line| line.contains("memfd:"));
    segments
        .filter_map(|line| line.split_whitespace().nth(4).map(str::to_owned))
        .collect()
}

#[test]
fn executors_are_told_of_no_segment_of_another_workflow() {
    let cluster = Setup::workers(&["a", "b"]).memory("512MiB").start();
    let mut maps: Vec<(String, BTreeSet<String>)> = Vec::new();
    let mut known = BTreeSet::new();
    for workflow in ["one", "two"] {
        // What comes from a client, what comes from another worker, and the table of a list, each lies in the lane's arena.
        let text = format!(
            "
workflow: {workflow}
input: {{ shape: value, data: bytes }}
nodes:
  make:
    function: test-functions:items
    input: {{ shape: input.shape }}
    output: {{ list: list }}
  near:
    function: test-functions:digest_list
    input: {{ list: make.list }}
    output: {{ out: bytes }}
  direct:
    function: test-functions:digest
    input: {{ in: input.data }}
    output: {{ out: bytes }}
output: {{ near: near.out, direct: direct.out }}
"
        );
        cluster.deploy(&text, &[("make", "b"), ("near", "a"), ("direct", "a")]);
        let executors = cluster.executors("a").into_iter();
        let own: Vec<u32> = executors.filter(|pid| known.insert(*pid)).collect();
        assert!(!own.is_empty(), "{workflow} has executors of its own");
        let data = pattern::bytes(9, 100_000);
        let inputs = [("shape", bytes("[50, 1000]")), ("data", bytes(&data))];
        for _ in 0..3 {
            let answered = cluster.invoke("a", workflow, &inputs).unwrap();
            let digest = String::from_utf8_lossy(output(&answered, "direct"));
            assert_eq!(digest, pattern::digest(&data));
        }
        let from_lane = own.iter().any(|pid| {
            let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
            maps.contains("memfd:lane-")
        });
        assert!(from_lane, "{workflow} has read something of the lane's");
        let segments = own.into_iter().flat_map(segments_of).collect();
        maps.push((workflow.to_owned(), segments));
    }
    let [(_, one), (_, two)] = &maps[..] else {
        panic!("two workflows")
    };
    assert!(one.is_disjoint(two), "shared: {maps:?}");
    let _ = cluster.settled("a");
    let status = cluster.status("a");
    let held = status.workflows.iter().map(|workflow| workflow.held_bytes);
    assert_eq!(held.sum::<u64>(), status.memory.held_bytes);
    let names: Vec<&str> = status.workflows.iter().map(|w| &w.workflow[..]).collect();
    assert_eq!(names, ["one", "two"]);
    for workflow in &status.workflows {
        assert_eq!((workflow.leases, workflow.leased_bytes), (0, 0));
        // Inputs of an invocation are there until it ends.
        assert!(workflow.leased_peak_bytes >= 100_000, "{workflow:?}");
        assert!(workflow.leased_peak_bytes <= workflow.held_bytes);
        assert!(workflow.segments >= 2);
    }
    cluster.undeploy("one");
    until("nothing of it is held", || {
        let status = cluster.status("a");
        let [two] = &status.workflows[..] else {
            return None;
        };
        (two.held_bytes == status.memory.held_bytes).then_some(())
    });
    let answered = cluster.invoke(
        "a",
        "two",
        &[("shape", bytes("[5, 10]")), ("data", bytes("x"))],
    );
    assert_eq!(
        output(&answered.unwrap(), "direct"),
        pattern::digest(b"x").as_bytes()
    );
}

const ITEMS: &str = "
workflow: many
input: { shape: value }
nodes:
  make:
    function: test-functions:items
    input: { shape: input.shape }
    output: { list: list }
    resources: { memory_mib: 64 }
  digest:
    function: test-functions:digest_list
    input: { list: make.list }
    output: { out: bytes }
    resources: { memory_mib: 64 }
output: { digest: digest.out }
";

#[test]
fn all_memory_of_a_wide_list_comes_back_to_its_idle_producer() {
    let cluster = Setup::workers(&["a"]).memory("1GiB").start();
    cluster.deploy(ITEMS, &[]);
    // More than half of the arena: the second of these needs what the first has used.
    let (count, length) = (4000, 10_000);
    let items: Vec<Vec<u8>> = (0..count).map(|i| pattern::item(7, i, length)).collect();
    let digest = pattern::digest_items(items.iter().map(|i| Some(&i[..])));
    for _ in 0..5 {
        let shape = format!("[{count}, {length}]");
        let answered = cluster.invoke("a", "many", &[("shape", bytes(shape))]);
        let answered = answered.expect("the worker answers");
        assert_eq!(String::from_utf8_lossy(output(&answered, "digest")), digest);
    }
    assert_eq!(cluster.counter("a", "executor_deaths"), 0);
    let _ = cluster.settled("a");
}

/// A chain of nodes, each of which copies what it gets; their executor has room for a few copies.
fn copies(nodes: usize) -> String {
    let mut text = "workflow: copies\ninput: { text: bytes }\nnodes:\n".to_owned();
    let mut from = "input.text".to_owned();
    for node in 0..nodes {
        text += &format!(
            "  copy{node}:\n    function: test-functions:echo\n    input: {{ in: {from} }}\n    output: {{ out: bytes }}\n    \
             resources: {{ memory_mib: 8 }}\n"
        );
        from = format!("copy{node}.out");
    }
    text + &format!("output: {{ text: {from} }}\n")
}

#[test]
fn what_has_been_read_is_its_producer_s_again_before_it_runs_out_of_memory() {
    for wait in ["--wait=park", "--wait=adaptive", "--wait=spin"] {
        let cluster = Setup::workers(&["a"]).flag(wait).start();
        cluster.deploy(&copies(100), &[]);
        let text = pattern::item(3, 1, 1 << 20);
        for _ in 0..3 {
            let answered = cluster.invoke("a", "copies", &[("text", bytes(text.clone()))]);
            let answered = answered.expect("the worker answers");
            assert!(output(&answered, "text") == text, "{wait}: other bytes");
        }
    }
}

#[test]
fn a_value_of_too_many_bytes_is_refused_at_the_door() {
    let cluster = Setup::workers(&["a"]).start();
    cluster.deploy(ITEMS, &[]);
    let answered = cluster.invoke("a", "many", &[("shape", bytes(vec![b' '; 4097]))]);
    match answered.expect("the worker answers").result {
        Err(Failure::Refused { reason, .. }) => assert!(
            reason.contains("a value of 4097 bytes, above the limit of 4096"),
            "{reason}"
        ),
        other => panic!("a refusal was expected: {other:?}"),
    }
    let _ = cluster.settled("a");
}

/// One byte more than the limit fails by name, where the limit itself goes through.
#[track_caller]
fn a_value_may_have_4096_bytes(
    workflow: &str,
    input: &str,
    of: impl Fn(usize) -> Vec<u8>,
    says: &str,
) {
    let cluster = Setup::workers(&["a", "b"]).start();
    cluster.deploy(workflow, &[("makes", "a"), ("reads", "b")]);
    let invoke = |bytes_made: usize| {
        let answered = cluster.invoke("a", "values", &[(input, bytes(of(bytes_made)))]);
        answered.expect("the worker answers")
    };
    assert_eq!(output(&invoke(4096), "out"), b"4094");
    match invoke(4097).result {
        Err(Failure::Node { node, cause, .. }) => {
            assert_eq!(node, "makes");
            assert!(cause.contains(says), "{cause}");
        }
        other => panic!("a failure was expected: {other:?}"),
    }
    for worker in ["a", "b"] {
        let _ = cluster.settled(worker);
    }
}

#[test]
fn a_function_s_value_of_too_many_bytes_fails_by_name() {
    let workflow = "
workflow: values
input: { length: value }
nodes:
  makes: { function: test-functions:make_value, input: { length: input.length }, output: { text: value } }
  reads:
    compute: { size: size(text) }
    input: { text: makes.text }
output: { out: reads.size }
";
    let length = |bytes: usize| bytes.to_string().into_bytes();
    let says = "output text has 4097 bytes of JSON, above the limit of 4096: declare it as bytes";
    a_value_may_have_4096_bytes(workflow, "length", length, says);
}

#[test]
fn a_computed_value_of_too_many_bytes_fails_by_name() {
    let workflow = "
workflow: values
input: { start: value }
nodes:
  makes:
    compute: { text: start + '0123456789' }
    input: { start: input.start }
  reads:
    compute: { size: size(text) }
    input: { text: makes.text }
output: { out: reads.size }
";
    let start = |bytes: usize| format!("{:?}", "a".repeat(bytes - 12)).into_bytes();
    a_value_may_have_4096_bytes(workflow, "start", start, "it gives a value of 4097 bytes");
}

const WIDE: &str = "
workflow: wide
input: { text: bytes }
nodes:
  spread:
    function: test-functions:spread
    input: { in: input.text }
    output: { out0: bytes, out1: bytes, out2: bytes, out3: bytes, out4: bytes, out5: bytes, out6: bytes, out7: bytes,
              out8: bytes, out9: bytes, out10: bytes, out11: bytes }
  collect:
    function: test-functions:collect
    input: { in0: spread.out0, in1: spread.out1, in2: spread.out2, in3: spread.out3, in4: spread.out4,
             in5: spread.out5, in6: spread.out6, in7: spread.out7, in8: spread.out8, in9: spread.out9,
             in10: spread.out10, in11: spread.out11 }
    output: { out: bytes }
output: { out: collect.out }
";

#[test]
fn more_inputs_and_outputs_than_fit_in_place_arrive_in_order() {
    let cluster = Setup::workers(&["a", "b"]).start();
    for collect in ["a", "b"] {
        cluster.deploy(WIDE, &[("spread", "a"), ("collect", collect)]);
        for text in [&b""[..], b"x", &pattern::bytes(9, 30_000)] {
            let answered = cluster.invoke("a", "wide", &[("text", bytes(text))]);
            let answered = answered.expect("the worker answers");
            let parts = (0..12).map(|index: u8| [text, index.to_string().as_bytes()].concat());
            assert!(output(&answered, "out") == parts.collect::<Vec<_>>().concat());
        }
    }
}

const ALIASES: &str = "
workflow: aliases
input: { data: bytes, list: list }
nodes:
  cut:
    function: test-functions:alias
    input: { data: input.data }
    output: { out: bytes }
  cut_again:
    function: test-functions:alias
    input: { data: cut.out }
    output: { out: bytes }
  part:
    function: test-functions:alias_item
    input: { list: input.list }
    output: { first: list, rest: list }
  pass:
    function: test-functions:pass_items
    input: { list: part.rest }
    output: { list: list }
  digest:
    function: test-functions:digest_list
    input: { list: pass.list }
    output: { out: bytes }
output: { cut: cut.out, again: cut_again.out, first: part.first, passed: pass.list, digest: digest.out }
";

#[test]
fn parts_of_inputs_are_passed_on_within_a_worker_and_to_another() {
    let cluster = Setup::workers(&["a", "b"]).start();
    for (far, entry) in [("a", "a"), ("b", "a"), ("b", "b")] {
        cluster.deploy(
            ALIASES,
            &[
                ("cut", "a"),
                ("cut_again", far),
                ("part", "a"),
                ("pass", far),
                ("digest", "a"),
            ],
        );
        let data = pattern::bytes(2, 200_000);
        let items: Vec<Vec<u8>> = (0..20).map(|i| pattern::item(3, i, 5000)).collect();
        let inputs = [
            ("data", bytes(&data)),
            ("list", Payload::list(items.clone())),
        ];
        let answered = cluster
            .invoke(entry, "aliases", &inputs)
            .expect("the worker answers");
        assert!(output(&answered, "cut") == &data[1..data.len() - 1]);
        assert!(output(&answered, "again") == &data[2..data.len() - 2]);
        assert!(*payload(&answered, "first") == Payload::list(items[..1].to_vec()));
        assert!(*payload(&answered, "passed") == Payload::list(items[1..].to_vec()));
        let digest = pattern::digest_items(items[1..].iter().map(|item| Some(&item[..])));
        assert_eq!(String::from_utf8_lossy(output(&answered, "digest")), digest);
    }
}

const ROUND: &str = "
workflow: round
input: { text: bytes }
nodes:
  one: { function: test-functions:upper, input: { in: input.text }, output: { out: bytes } }
  two: { function: test-functions:echo, input: { in: one.out }, output: { out: bytes } }
  three: { function: test-functions:echo, input: { in: two.out }, output: { out: bytes } }
  four: { function: test-functions:join, input: { a: one.out, b: three.out }, output: { out: bytes } }
output: { text: four.out }
";

fn goes_round(cluster: &Cluster) {
    cluster.deploy(
        ROUND,
        &[("one", "a"), ("two", "b"), ("three", "c"), ("four", "a")],
    );
    for worker in ["a", "b", "c"] {
        for text in ["", "text", &"long ".repeat(50_000)] {
            let answered = cluster.invoke(worker, "round", &[("text", bytes(text))]);
            let answered = answered.expect("the worker answers");
            let expected = text.to_ascii_uppercase().repeat(2).into_bytes();
            assert!(output(&answered, "text") == expected);
        }
    }
    for worker in ["a", "b", "c"] {
        let _ = cluster.settled(worker);
    }
}

#[test]
fn an_invocation_goes_round_three_workers_whichever_takes_it() {
    goes_round(&Setup::workers(&["a", "b", "c"]).start());
}

#[test]
fn an_invocation_goes_round_three_workers_of_two_lanes_each() {
    if engine::worker::host::allowed_cpus().len() < 2 {
        return skip(
            "an_invocation_goes_round_three_workers_of_two_lanes_each",
            "two lanes need two CPUs",
        );
    }
    let cluster = Setup::workers(&["a", "b", "c"]).flag("--lanes=2").start();
    goes_round(&cluster);
    // Clients are dealt out to lanes in turn, so that both have taken some.
    for lane in cluster.status("a").lanes {
        assert!(lane.counters["invocations_taken"] > 0, "{lane:?}");
    }
}

#[test]
fn a_deployment_s_limits_are_kept_by_whoever_takes_its_payloads() {
    let cluster = Setup::workers(&["a", "b"]).start();
    let limits = Limits {
        payload_bytes_max: 1000,
        inline_bytes_max: 0,
        ..Limits::default()
    };
    let pins = [("one", "a"), ("two", "b"), ("three", "a"), ("four", "b")];
    let deployed = cluster.deploy_on(&["a", "b"], ROUND, &pins, limits);
    deployed.expect("it is accepted");
    let invoke = |length| {
        let text = "x".repeat(length);
        let answered = cluster.invoke("a", "round", &[("text", bytes(text))]);
        answered.expect("the worker answers")
    };
    let streamed = cluster.counter("b", "transfers_out") + cluster.counter("a", "transfers_out");
    assert_eq!(output(&invoke(500), "text").len(), 1000);
    // Nothing is to travel in a message, not even in the answer.
    let _ = (cluster.settled("a"), cluster.settled("b"));
    let all = cluster.counter("b", "transfers_out") + cluster.counter("a", "transfers_out");
    assert_eq!(all - streamed, 5, "one, two, three, four, and the answer");
    let refused = invoke(1001).result.expect_err("it is too long").to_string();
    assert!(refused.contains("the limit of 1000"), "{refused}");
}
