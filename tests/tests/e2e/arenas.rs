//! Sizes and lifetimes that leave much of an arena's segments unused: nothing fails for want of room in one executor's arena as
//! long as payloads can be carried out.

use engine::status::WorkflowStatus;
use faasflow_tests::cluster::{Cluster, Setup, output};
use faasflow_tests::pattern;
use master::client::Payload;

const MIB: usize = 1 << 20;
/// An ordinary segment of an executor's arena: an eighth of what is reserved for it.
const SEGMENT: usize = 3 * MIB;
/// So many of these have more bytes than the executors may hold, by far.
const COUNT: usize = 48;

/// One executor on each lane makes all that is gathered, and beside each large payload a small one, which stays in memory.
const CROWDED: &str = "
workflow: crowded
input: { items: list }
nodes:
  make:
    function: test-functions:produce
    foreach: input.items
    input: { what: item }
    output: { out: bytes }
    resources: { memory_mib: 24, scale: 2 }
  small:
    function: test-functions:digest
    foreach: make.out
    input: { in: item }
    output: { out: bytes }
    resources: { memory_mib: 24, scale: 2 }
  large:
    function: test-functions:digest_list
    input: { list: make.out }
    output: { out: bytes }
    resources: { memory_mib: 24, scale: 2 }
  smalls:
    function: test-functions:digest_list
    input: { list: small.out }
    output: { out: bytes }
    resources: { memory_mib: 24, scale: 2 }
output: { large: large.out, smalls: smalls.out }
";

/// Just above a half, a third and a quarter of a segment; all of these, beside some that are much smaller.
fn sizes() -> [Vec<usize>; 4] {
    let [half, third, quarter] = [2, 3, 4].map(|parts| SEGMENT / parts + 1);
    [
        vec![half],
        vec![third],
        vec![quarter],
        vec![half, 70_000, third, 100, quarter, 300_000],
    ]
}

fn lengths(sizes: &[usize]) -> impl Iterator<Item = (u32, usize)> {
    (0..COUNT as u32).zip(sizes.iter().copied().cycle())
}

fn digest<'a>(items: impl Iterator<Item = &'a [u8]>) -> String {
    pattern::digest_items(items.map(Some))
}

/// Invokes it with items of these sizes in turn, and judges what comes of it.
fn invoke(cluster: &Cluster, sizes: &[usize]) {
    let items = lengths(sizes).map(|(seed, length)| Some(format!("{seed} {length}").into_bytes()));
    let inputs = [("items", Payload::List(items.collect()))];
    let answered = cluster.invoke("a", "crowded", &inputs);
    let answered = answered.expect("the worker answers");
    let made = lengths(sizes).map(|(seed, length)| pattern::bytes(seed, length));
    let made: Vec<Vec<u8>> = made.collect();
    let small: Vec<String> = made.iter().map(|item| pattern::digest(item)).collect();
    for (name, expected) in [
        ("large", digest(made.iter().map(Vec::as_slice))),
        ("smalls", digest(small.iter().map(String::as_bytes))),
    ] {
        let got = String::from_utf8_lossy(output(&answered, name));
        assert_eq!(got, expected, "{name} of {sizes:?}");
    }
}

/// What a worker says of a workflow once it has nothing to do: nothing is held.
fn at_rest(cluster: &Cluster, name: &str) -> WorkflowStatus {
    let _ = cluster.settled("a");
    let mut workflows = cluster.status("a").workflows.into_iter();
    let workflow = workflows.find(|one| one.workflow == name);
    let workflow = workflow.expect("it is deployed");
    assert_eq!((workflow.leases, workflow.away), (0, 0), "{workflow:?}");
    workflow
}

#[test]
fn sizes_that_leave_much_of_a_segment_unused_go_by_the_disk_and_fail_nothing() {
    let cluster = Setup::workers(&["a"]).start();
    cluster.deploy(&CROWDED.replace("scale: 2", "scale: 1"), &[]);
    for sizes in sizes() {
        invoke(&cluster, &sizes);
    }
    let workflow = at_rest(&cluster, "crowded");
    assert!(workflow.spilled > 10, "{workflow:?}");
    assert_eq!(workflow.payloads_lost, 0, "{workflow:?}");
}

#[test]
fn all_such_sizes_at_once_on_two_lanes_fail_nothing_either() {
    let cluster = Setup::workers(&["a"]).flag("--lanes=2").start();
    cluster.deploy(CROWDED, &[]);
    std::thread::scope(|scope| {
        for sizes in sizes() {
            let cluster = &cluster;
            scope.spawn(move || invoke(cluster, &sizes));
        }
    });
    let workflow = at_rest(&cluster, "crowded");
    assert!(workflow.spilled > 10, "{workflow:?}");
    assert_eq!(workflow.payloads_lost, 0, "{workflow:?}");
}

/// `more` makes a list at once, of which nobody knows before how large it will be, in an arena that is almost full by then.
const MORE: &str = "
workflow: more
input: { items: list, shape: value }
nodes:
  make:
    function: test-functions:produce
    foreach: input.items
    input: { what: item }
    output: { out: bytes }
    resources: { memory_mib: 24, scale: 1 }
  more:
    function: test-functions:items
    input: { shape: input.shape }
    after: [make]
    output: { list: list }
    resources: { memory_mib: 24, scale: 1 }
  first:
    function: test-functions:digest_list
    input: { list: make.out }
    after: [more]
    output: { out: bytes }
    resources: { memory_mib: 24, scale: 1 }
  second:
    function: test-functions:digest_list
    input: { list: more.list }
    output: { out: bytes }
    resources: { memory_mib: 24, scale: 1 }
output: { first: first.out, second: second.out }
";

/// So many items are made one by one, and then so many at once, each a bit more than a third of a segment.
fn more(cluster: &Cluster, one_by_one: u32, at_once: u32) -> master::client::Answered {
    let length = SEGMENT / 3 + 1;
    let items = (0..one_by_one).map(|seed| Some(format!("{seed} {length}").into_bytes()));
    let shape = format!("[{at_once}, {length}]");
    let inputs = [
        ("items", Payload::List(items.collect())),
        ("shape", Payload::Bytes(shape.into_bytes())),
    ];
    let answered = cluster.invoke("a", "more", &inputs);
    answered.expect("the worker answers")
}

#[test]
fn an_activation_that_finds_its_arena_full_waits_until_payloads_have_left_it() {
    let cluster = Setup::workers(&["a"]).start();
    cluster.deploy(MORE, &[]);
    let length = SEGMENT / 3 + 1;
    let answered = more(&cluster, 12, 12);
    let first: Vec<Vec<u8>> = (0..12).map(|seed| pattern::bytes(seed, length)).collect();
    let second: Vec<Vec<u8>> = (0..12)
        .map(|index| pattern::item(7, index, length))
        .collect();
    for (name, expected) in [("first", first), ("second", second)] {
        let got = String::from_utf8_lossy(output(&answered, name));
        assert_eq!(got, digest(expected.iter().map(Vec::as_slice)), "{name}");
    }
    let workflow = at_rest(&cluster, "more");
    assert!(workflow.spilled > 0, "{workflow:?}");
    assert!(workflow.held_back > 0, "{workflow:?}");
}

#[test]
fn where_nothing_can_be_carried_out_it_fails_at_once_by_name_with_what_helps() {
    let cluster = Setup::workers(&["a"]).flag("--spill-max=0").start();
    cluster.deploy(MORE, &[]);
    let failure = more(&cluster, 12, 12).result.unwrap_err().to_string();
    for part in [
        "more failed on worker a",
        "no memory for an output",
        "nothing that runs will let go of any",
        "--spill-max",
    ] {
        assert!(failure.contains(part), "{failure}");
    }
    let _ = at_rest(&cluster, "more");
    assert!(more(&cluster, 4, 4).result.is_ok(), "what fits goes on");
}

#[test]
fn what_one_activation_makes_beyond_its_arena_fails_though_all_else_has_left() {
    let cluster = Setup::workers(&["a"]).start();
    cluster.deploy(MORE, &[]);
    let failure = more(&cluster, 8, 40).result.unwrap_err().to_string();
    for part in [
        "more failed on worker a",
        "no memory for an output",
        "memory_mib",
    ] {
        assert!(failure.contains(part), "{failure}");
    }
    let _ = at_rest(&cluster, "more");
    assert!(more(&cluster, 8, 8).result.is_ok(), "what fits goes on");
}
