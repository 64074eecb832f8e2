//! Limits that are reached: descriptors, address space and memory, of the worker, its executors and their control group. Each
//! costs the invocations that need more by name, and nothing else.

use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::gate::{Gate, Verdict};
use faasflow_tests::group::MemoryGroup;
use faasflow_tests::pattern;
use master::client::{Answered, Client, Invocation, Options, Payload};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::time::Duration;

const MIB: usize = 1 << 20;
const LARGE: usize = 16 * MIB;

const MADE: &str = "
workflow: made
input: { length: value }
nodes:
  make:
    function: test-functions:make
    input: { length: input.length }
    output: { out: bytes }
    resources: { memory_mib: 160 }
  digest:
    function: test-functions:digest
    input: { in: make.out }
    output: { out: bytes }
    resources: { memory_mib: 160 }
output: { digest: digest.out }
";

const GIVEN: &str = "
workflow: given
input: { data: bytes }
nodes:
  digest:
    function: test-functions:digest
    input: { in: input.data }
    output: { out: bytes }
    resources: { memory_mib: 16 }
output: { digest: digest.out }
";

const HOARDED: &str = "
workflow: hoarded
input: { mib: value, gate: bytes }
nodes:
  hoard:
    function: test-functions:hoard
    input: { mib: input.mib, gate: input.gate }
    output: { out: bytes }
    resources: { memory_mib: 16 }
output: { out: hoard.out }
";

fn number(number: usize) -> Payload {
    bytes(number.to_string())
}

fn ask(client: &mut Client, workflow: &str, inputs: &[(&str, Payload)]) -> Answered {
    let inputs = faasflow_tests::cluster::named(inputs);
    let invocation = Invocation {
        workflow,
        inputs: &inputs,
        report: false,
        trace: false,
    };
    client.invoke(&invocation).expect("the worker answers")
}

fn made(client: &mut Client, length: usize) -> Answered {
    ask(client, "made", &[("length", number(length))])
}

fn given(client: &mut Client, length: usize) -> Answered {
    let data = bytes(pattern::bytes(7, length));
    ask(client, "given", &[("data", data)])
}

#[track_caller]
fn is_right(answered: &Answered, length: usize) {
    let digest = pattern::digest(&pattern::bytes(7, length));
    assert_eq!(output(answered, "digest"), digest.as_bytes());
}

#[track_caller]
fn fails_with(answered: &Answered, words: &[&str]) {
    let Err(failure) = &answered.result else {
        panic!("it ended well");
    };
    let text = failure.to_string();
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
}

/// The limit of a process, as long as this is there.
struct Limited {
    pid: Pid,
    resource: fn() -> Resource,
    before: Rlimit,
}

impl Limited {
    fn to(pid: u32, resource: fn() -> Resource, most: u64) -> Self {
        let pid = Pid::from_raw(pid.cast_signed()).expect("a process");
        let few = Rlimit {
            current: Some(most),
            ..getrlimit(resource())
        };
        let before = prlimit(Some(pid), resource(), few).expect("it is lowered");
        Self {
            pid,
            resource,
            before,
        }
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        // It may have ended.
        let _ = prlimit(Some(self.pid), (self.resource)(), self.before);
    }
}

/// No descriptor beyond those that are open.
fn without_descriptors(pid: u32) -> Limited {
    Limited::to(pid, || Resource::Nofile, 3)
}

/// No address space but what is mapped already, and a bit.
fn without_address_space(pid: u32) -> Limited {
    let status = std::fs::read_to_string(format!("/proc/{pid}/statm"));
    let status = status.expect("the process is there");
    let pages = status
        .split(' ')
        .next()
        .and_then(|pages| pages.parse().ok());
    let pages: u64 = pages.expect("the kernel's form");
    Limited::to(pid, || Resource::As, pages * 4096 + 8 * MIB as u64)
}

fn start() -> (Cluster, Client) {
    let cluster = Setup::workers(&["a"]).start();
    cluster.deploy(MADE, &[]);
    cluster.deploy(GIVEN, &[]);
    let mut client = cluster.client("a");
    // So that all that is needed for small ones is there.
    is_right(&made(&mut client, 1000), 1000);
    is_right(&given(&mut client, 1000), 1000);
    (cluster, client)
}

/// Nothing is held, and what did not fit does.
#[track_caller]
fn goes_on(cluster: &Cluster) {
    let _ = cluster.settled("a");
    let mut client = cluster.client("a");
    is_right(&made(&mut client, LARGE), LARGE);
    is_right(&given(&mut client, LARGE), LARGE);
    drop(client);
    let _ = cluster.settled("a");
}

#[test]
fn a_worker_without_descriptors_refuses_what_needs_one_by_name_and_goes_on_when_it_has_some() {
    let (cluster, mut client) = start();
    let limited = without_descriptors(cluster.worker("a").pid());
    fails_with(&given(&mut client, LARGE), &["Too many open files"]);
    fails_with(&made(&mut client, LARGE), &["make failed on worker a"]);
    is_right(&given(&mut client, 1000), 1000);
    // Whoever comes new is not let in, and is told so by time at the latest; but for one for whom a descriptor was set aside.
    let hasty = Options {
        connect_max: Duration::from_millis(300),
        ..cluster.options()
    };
    let address = cluster.worker("a").address();
    let news: Vec<_> = (0..2).map(|_| Client::connect(address, &hasty)).collect();
    assert!(news.iter().any(Result::is_err));
    drop(news);
    drop(limited);
    drop(client);
    goes_on(&cluster);
}

/// What needs a segment fails by name while executors are limited; all else goes on, and so does all of it afterwards.
fn executors_live_on(limit: fn(u32) -> Limited, reason: &str) {
    let (cluster, mut client) = start();
    let executors = cluster.executors("a");
    let limited: Vec<Limited> = executors.iter().copied().map(limit).collect();
    let failed = made(&mut client, LARGE);
    fails_with(&failed, &["make failed on worker a", reason]);
    is_right(&made(&mut client, 1000), 1000);
    drop(limited);
    drop(client);
    goes_on(&cluster);
    assert_eq!(cluster.executors("a"), executors);
}

#[test]
fn an_executor_without_descriptors_fails_what_needs_a_segment_by_name_and_lives_on() {
    executors_live_on(without_descriptors, "Too many open files");
}

#[test]
fn an_executor_without_address_space_fails_what_needs_a_segment_by_name_and_lives_on() {
    executors_live_on(without_address_space, "ENOMEM");
}

#[test]
fn a_worker_without_address_space_refuses_what_needs_a_segment_by_name_and_goes_on() {
    let (cluster, mut client) = start();
    let limited = without_address_space(cluster.worker("a").pid());
    fails_with(&given(&mut client, LARGE), &["ENOMEM"]);
    // It cannot map what its executor has made, and ends that: another will come.
    fails_with(
        &made(&mut client, LARGE),
        &["make failed on worker a", "Cannot allocate memory"],
    );
    is_right(&given(&mut client, 1000), 1000);
    drop(limited);
    drop(client);
    goes_on(&cluster);
}

/// A worker in a control group of 512 MiB.
fn grouped(name: &str) -> Option<(Cluster, MemoryGroup)> {
    let group = MemoryGroup::new(name, 512 << 20)?;
    let mut cluster = Setup::workers(&[]).memory("384MiB").start();
    let command = cluster.worker_command("a", "127.0.0.1:0");
    cluster.start_as("a", group.within(&command));
    cluster.deploy(HOARDED, &[]);
    Some((cluster, group))
}

fn hoard(cluster: &Cluster, gate: &Gate, mib: usize) -> Client {
    let mut client = cluster.client("a");
    let inputs = [
        ("mib".to_owned(), number(mib)),
        ("gate".to_owned(), bytes(gate.input())),
    ];
    let invocation = Invocation {
        workflow: "hoarded",
        inputs: &inputs,
        report: false,
        trace: false,
    };
    client.start(&invocation).expect("the worker takes it");
    client
}

#[test]
fn where_a_control_group_has_no_memory_left_an_executor_ends_and_not_the_worker() {
    let name = "where_a_control_group_has_no_memory_left_an_executor_ends_and_not_the_worker";
    let Some((cluster, _group)) = grouped(name) else {
        return;
    };
    let adjusted = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj"));
        let text = text.expect("the process is there");
        text.trim().parse::<i32>().expect("a number")
    };
    let pid = cluster.worker("a").pid();
    let executors = cluster.executors("a");
    assert!(adjusted(pid) < 1000);
    assert!(executors.iter().all(|executor| adjusted(*executor) == 1000));
    let gate = Gate::new(cluster.folder(), "gate");
    let answered = hoard(&cluster, &gate, 1024).next_answer();
    let answered = answered.expect("the worker answers");
    fails_with(&answered, &["hoard failed on worker a", "signal 9"]);
    // Another has taken its place.
    let mut client = hoard(&cluster, &gate, 16);
    gate.next().tell(Verdict::Pass);
    assert!(!output(&client.next_answer().expect("the worker answers"), "out").is_empty());
    assert_eq!(cluster.status("a").pid, pid);
}

#[test]
fn what_does_not_fit_into_the_control_group_is_an_error_by_name_and_ends_nobody() {
    let name = "what_does_not_fit_into_the_control_group_is_an_error_by_name_and_ends_nobody";
    let Some((cluster, _group)) = grouped(name) else {
        return;
    };
    cluster.deploy(MADE, &[]);
    let gate = Gate::new(cluster.folder(), "gate");
    let mut hoards = hoard(&cluster, &gate, 380);
    let held = gate.next();
    let executors = cluster.executors("a");
    let mut client = cluster.client("a");
    fails_with(
        &made(&mut client, 140 * MIB),
        &["make failed on worker a", "ENOMEM"],
    );
    is_right(&made(&mut client, 1000), 1000);
    assert_eq!(cluster.executors("a"), executors);
    held.tell(Verdict::Pass);
    assert!(!output(&hoards.next_answer().expect("the worker answers"), "out").is_empty());
    is_right(&made(&mut client, 140 * MIB), 140 * MIB);
}
