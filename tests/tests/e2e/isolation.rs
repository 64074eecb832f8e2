//! What executors cannot do to what they were given, nor, if they are somebody else's, to what they have given.

use faasflow_tests::cluster::{Cluster, Setup, bytes, output, payload};
use faasflow_tests::pattern;
use master::client::{Answered, Payload};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;

/// All that is tried, with what the kernel says to it; `done` to what changes nothing.
const ATTEMPTS: [(&str, &str); 28] = [
    ("write", "refused EPERM"),
    ("pwrite", "refused EPERM"),
    ("mprotect", "refused EACCES"),
    ("map shared", "refused EPERM"),
    ("double the mapping, then mprotect", "refused EACCES"),
    ("store through a private mapping (harmless)", "done"),
    ("reopen, then write", "refused EPERM"),
    ("reopen, then map shared", "refused EPERM"),
    ("reopen, truncating", "refused EPERM"),
    ("reopen to append, then write", "refused EPERM"),
    ("punch a hole", "refused EPERM"),
    ("zero a range", "refused EOPNOTSUPP"),
    ("collapse a range", "refused EOPNOTSUPP"),
    ("remove pages", "refused EACCES"),
    ("forget pages (harmless)", "done"),
    ("free pages", "refused EINVAL"),
    ("truncate to nothing", "refused EPERM"),
    ("extend", "refused EPERM"),
    ("add a seal", "refused EPERM"),
    ("splice into it", "refused EPERM"),
    ("write behind it in a pipe (harmless)", "done"),
    ("give its pages to a pipe, and splice back", "refused EPERM"),
    ("send a file into it", "refused EPERM"),
    ("copy a range into it", "refused EPERM"),
    ("write through /proc/self/mem", "refused EIO"),
    ("write as another process", "refused EFAULT"),
    ("write by io_uring", "refused EPERM"),
    ("reopen, then write by io_uring", "refused EPERM"),
];

/// Every kind of segment that an executor is given: of the lane's arena, of another executor's arena, and of copies of what
/// somebody else's executable has returned, whether these lie in the lane's arena or in a segment of their own. Each is read
/// again by another executor when the attacks are over.
fn attacked() -> String {
    let mut text = "
workflow: attacked
input: { data: bytes, few: value, many: value }
nodes:
  own: { function: test-functions:make, input: { length: input.many }, output: { out: bytes } }
  few: { function: rogue-functions:make, input: { length: input.few }, output: { out: bytes }, trust: other }
  many: { function: rogue-functions:make, input: { length: input.many }, output: { out: bytes } }
"
    .to_owned();
    let mut outputs = Vec::new();
    for (kind, source) in KINDS {
        text += &format!(
            "
  attack-{kind}: {{ function: rogue-functions:attack, input: {{ in: {source} }}, output: {{ out: bytes }} }}
  read-{kind}:
    function: test-functions:digest
    input: {{ in: {source} }}
    after: attack-{kind}
    output: {{ out: bytes }}"
        );
        outputs.push(format!("attack-{kind}: attack-{kind}.out"));
        outputs.push(format!("read-{kind}: read-{kind}.out"));
    }
    text + &format!("\noutput: {{ {} }}\n", outputs.join(", "))
}

const KINDS: [(&str, &str); 4] = [
    ("input", "input.data"),
    ("own", "own.out"),
    ("few", "few.out"),
    ("many", "many.out"),
];
const FEW: usize = 100_000;
/// More than is copied at once.
const MANY: usize = 3 << 20;

/// What came of each attempt at one kind of segment.
#[track_caller]
fn each_was_refused(kind: &str, report: &[u8]) {
    let report = String::from_utf8_lossy(report);
    let mut came: BTreeMap<&str, &str> = report
        .lines()
        .map(|line| line.rsplit_once(": ").expect("a name, and what came of it"))
        .collect();
    for (name, expected) in ATTEMPTS {
        let came = came.remove(name);
        let came = came.unwrap_or_else(|| panic!("{kind}: {name} was not tried"));
        let absent = came == "absent" && name.contains("io_uring");
        assert!(came == expected || absent, "{kind}: {name}: {came}");
    }
    assert!(came.is_empty(), "{kind}: not known here: {came:?}");
}

#[test]
fn a_consumer_cannot_write_what_it_was_given_in_any_way_and_the_next_reads_it_as_it_was() {
    let cluster = Setup::workers(&["a"]).start();
    cluster.deploy(&attacked(), &[]);
    let data = pattern::bytes(3, FEW);
    let inputs = [
        ("data", bytes(&data)),
        ("few", bytes(FEW.to_string())),
        ("many", bytes(MANY.to_string())),
    ];
    let answered = cluster.invoke("a", "attacked", &inputs);
    let answered = answered.expect("the worker answers");
    for (kind, _) in KINDS {
        each_was_refused(kind, output(&answered, &format!("attack-{kind}")));
        let expected = match kind {
            "input" => pattern::digest(&data),
            "few" => pattern::digest(&pattern::bytes(7, FEW)),
            _ => pattern::digest(&pattern::bytes(7, MANY)),
        };
        let read = output(&answered, &format!("read-{kind}"));
        assert_eq!(String::from_utf8_lossy(read), expected, "{kind}");
    }
    assert_eq!(cluster.counter("a", "executor_deaths"), 0);
    let _ = cluster.settled("a");
}

/// What a process has open: inodes of its segments, how many eventfds, and how many different sockets.
fn descriptors(pid: u32) -> (BTreeSet<u64>, usize, usize) {
    let folder = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process is there");
    let (mut segments, mut eventfds, mut sockets) = (BTreeSet::new(), 0, BTreeSet::new());
    for entry in folder {
        let path = entry.expect("it can be listed").path();
        let link = std::fs::read_link(&path).unwrap_or_default();
        let link = link.to_string_lossy().into_owned();
        if link.starts_with("/memfd:") {
            let inode = std::fs::metadata(&path).map(|file| file.ino());
            segments.insert(inode.expect("it is open"));
        }
        eventfds += usize::from(link == "anon_inode:[eventfd]");
        if link.starts_with("socket:") {
            sockets.insert(link);
        }
    }
    (segments, eventfds, sockets.len())
}

#[test]
fn executors_of_two_workflows_have_no_segment_in_common_mapped_or_not_and_nothing_of_their_worker()
{
    let cluster = Setup::workers(&["a"]).start();
    let mut known = BTreeSet::new();
    let mut segments = Vec::new();
    for workflow in ["one", "two"] {
        let text = attacked().replace("workflow: attacked", &format!("workflow: {workflow}"));
        cluster.deploy(&text, &[]);
        let executors = cluster.executors("a").into_iter();
        let own: Vec<u32> = executors.filter(|pid| known.insert(*pid)).collect();
        assert_eq!(own.len(), 2, "{workflow} has executors of its own");
        let inputs = [
            ("data", bytes(pattern::bytes(3, FEW))),
            ("few", bytes(FEW.to_string())),
            ("many", bytes(MANY.to_string())),
        ];
        let answered = cluster.invoke("a", workflow, &inputs);
        assert!(answered.expect("the worker answers").result.is_ok());
        let mut all = BTreeSet::new();
        for pid in own {
            let (segments, eventfds, sockets) = descriptors(pid);
            assert!(segments.len() > 2, "its rings, and payloads");
            assert_eq!((eventfds, sockets), (1, 1), "its bell, and its socket");
            all.extend(segments);
        }
        segments.push(all);
    }
    assert!(segments[0].is_disjoint(&segments[1]), "{segments:?}");
}

/// `rogue` goes on writing what it has returned; `watch` reads it again and again meanwhile, and `far` gets it by itself.
fn shifty(trust: &str) -> String {
    format!(
        "
workflow: shifty
input: {{ length: value, pulse: value }}
nodes:
  rogue:
    function: rogue-functions:shifty
    input: {{ length: input.length, pulse: input.pulse }}
    output: {{ out: bytes }}
    trust: {trust}
    resources: {{ memory_mib: 64 }}
  watch:
    function: watchers:watch
    input: {{ data: rogue.out, pulse: input.pulse }}
    output: {{ out: bytes }}
    timeout_ms: 60000
output: {{ seen: watch.out, data: rogue.out }}
"
    )
}

/// The same for the items of a list.
fn shifty_list(trust: &str) -> String {
    format!(
        "
workflow: shifty
input: {{ shape: value, pulse: value }}
nodes:
  rogue:
    function: rogue-functions:shifty_list
    input: {{ shape: input.shape, pulse: input.pulse }}
    output: {{ list: list }}
    trust: {trust}
    resources: {{ memory_mib: 64 }}
  watch:
    function: watchers:watch_list
    input: {{ list: rogue.list, pulse: input.pulse }}
    output: {{ out: bytes }}
    timeout_ms: 60000
output: {{ seen: watch.out, data: rogue.list }}
"
    )
}

/// A worker on which those who watch run in an executable of their own: the same file under another name.
fn with_watchers(workers: &[&str]) -> Cluster {
    let cluster = Setup::workers(workers).start();
    let functions = cluster.functions();
    let file = std::fs::canonicalize(functions.join("rogue-functions")).expect("it is there");
    std::os::unix::fs::symlink(file, functions.join("watchers")).expect("the name is free");
    cluster
}

/// Invokes a workflow whose rogue tells of itself in a file of its own.
#[track_caller]
fn watched(cluster: &Cluster, number: usize, input: (&str, Payload)) -> Answered {
    let pulse = cluster.path(&format!("pulse-{number}"));
    let pulse = serde_json::to_vec(&pulse).expect("a path is text");
    let answered = cluster.invoke("a", "shifty", &[input, ("pulse", bytes(pulse))]);
    answered.expect("the worker answers")
}

/// Of one byte to what is copied at once, and what takes several turns of the lane.
const LENGTHS: [usize; 5] = [1, 4096, 1 << 20, (1 << 20) + 1, 2_500_000];

#[test]
fn what_somebody_else_s_executable_has_returned_it_cannot_change_any_more() {
    let cluster = with_watchers(&["a"]);
    cluster.deploy(&shifty("other"), &[]);
    for (number, length) in LENGTHS.into_iter().enumerate() {
        let answered = watched(&cluster, number, ("length", bytes(length.to_string())));
        let seen = String::from_utf8_lossy(output(&answered, "seen")).into_owned();
        assert!(seen.starts_with("same "), "{length} bytes: {seen}");
        let data = output(&answered, "data");
        assert_eq!(data.len(), length);
    }
    cluster.deploy(&shifty_list("other"), &[]);
    for (number, shape) in ["[3, 100]", "[2000, 64]", "[3, 500000]"]
        .into_iter()
        .enumerate()
    {
        let answered = watched(&cluster, 10 + number, ("shape", bytes(shape)));
        let seen = String::from_utf8_lossy(output(&answered, "seen")).into_owned();
        assert!(seen.starts_with("same "), "{shape}: {seen}");
        let Payload::List(items) = payload(&answered, "data") else {
            panic!("a list was expected");
        };
        let (count, length): (usize, usize) = serde_json::from_str(shape).expect("two numbers");
        assert_eq!(items.len(), count);
        let whole = |item: &Option<Vec<u8>>| item.as_ref().is_some_and(|item| item.len() == length);
        assert!(items.iter().all(whole));
    }
    assert_eq!(cluster.counter("a", "executor_deaths"), 0);
    let _ = cluster.settled("a");
}

#[test]
fn what_one_s_own_executable_has_returned_it_could_change_so_that_the_test_above_can_fail() {
    let cluster = with_watchers(&["a"]);
    // Sent to the client it would break the connection, by its checksum.
    cluster.deploy(&shifty("own").replace(", data: rogue.out", ""), &[]);
    for (number, length) in LENGTHS.into_iter().enumerate() {
        let answered = watched(&cluster, number, ("length", bytes(length.to_string())));
        assert_eq!(output(&answered, "seen"), b"changed", "{length} bytes");
    }
    cluster.deploy(&shifty_list("own").replace(", data: rogue.list", ""), &[]);
    let answered = watched(&cluster, 10, ("shape", bytes("[20, 100]")));
    assert_eq!(output(&answered, "seen"), b"changed");
}

#[test]
fn what_goes_to_another_worker_of_somebody_else_s_executable_is_one_value_and_breaks_no_link() {
    let cluster = with_watchers(&["a", "b"]);
    cluster.deploy(&shifty("other"), &[("rogue", "a"), ("watch", "b")]);
    let links_before = cluster.counter("a", "bad_frames") + cluster.counter("b", "bad_frames");
    for (number, length) in LENGTHS.into_iter().enumerate() {
        let answered = watched(&cluster, number, ("length", bytes(length.to_string())));
        let data = output(&answered, "data");
        assert_eq!(data.len(), length);
        let seen = String::from_utf8_lossy(output(&answered, "seen")).into_owned();
        assert!(seen.starts_with("same "), "{length} bytes: {seen}");
    }
    let links = cluster.counter("a", "bad_frames") + cluster.counter("b", "bad_frames");
    assert_eq!(links, links_before);
    assert_eq!(cluster.counter("a", "links_remade"), 0);
}

/// Where memory is proven, what is passed on may be a copy of the lane's already.
#[test]
fn what_somebody_else_s_executable_passes_on_where_memory_is_proven_is_copied_once() {
    let cluster = Setup::workers(&["a"]).start();
    cluster.deploy(
        "
workflow: passed
input: { in: { kind: bytes, max_bytes: 100000 } }
nodes:
  pass:
    function: test-functions:alias
    input: { data: input.in }
    output: { out: { kind: bytes, max_bytes: 64 } }
    trust: other
output: { out: pass.out }
",
        &[],
    );
    let answered = cluster.invoke("a", "passed", &[("in", bytes("x".repeat(66)))]);
    let answered = answered.expect("the worker answers");
    assert_eq!(output(&answered, "out"), "x".repeat(64).as_bytes());
}
