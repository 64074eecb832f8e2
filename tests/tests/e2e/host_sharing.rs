//! Two workers of one host share memory: what would cross the network between them does not, whatever becomes of either; and
//! where they are not to share, it does.
//!
//! Each test has a network namespace of its own, whose counters say what has crossed. That takes root.

use engine::wire::Tier;
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::gate::{Gate, Held, Verdict};
use faasflow_tests::pattern;
use faasflow_tests::process::{PROMPTLY, until};
use faasflow_tests::skip::skip;
use master::client::{Answered, Client, Invocation};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::Command;

const LARGE: usize = 64 << 20;

const HELD: &str = "
workflow: held
input: { length: value, gate: bytes }
nodes:
  make:
    function: test-functions:make
    input: { length: input.length }
    output: { out: bytes }
    resources: { memory_mib: 192 }
  hold:
    function: test-functions:hold
    input: { data: make.out, gate: input.gate }
    output: { out: bytes }
    resources: { memory_mib: 16 }
output: { digest: hold.out }
";

const RELAY: &str = "
workflow: relay
input: { data: bytes, shape: value }
nodes:
  near:
    function: test-functions:echo
    input: { in: input.data }
    output: { out: bytes }
    resources: { memory_mib: 192 }
  far:
    function: test-functions:digest
    input: { in: near.out }
    output: { out: bytes }
    resources: { memory_mib: 16 }
  back:
    function: test-functions:alias
    input: { data: near.out }
    output: { out: bytes }
    resources: { memory_mib: 16 }
  items:
    function: test-functions:items
    input: { shape: input.shape }
    output: { list: list }
    resources: { memory_mib: 128 }
  list:
    function: test-functions:digest_list
    input: { list: items.list }
    output: { out: bytes }
    resources: { memory_mib: 16 }
output: { digest: far.out, back: back.out, list: list.out }
";

/// Puts this thread, and what it starts from now on, into a network namespace of its own; false if that is not allowed.
fn alone(name: &str) -> bool {
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        skip(name, &format!("no network namespace can be made: {error}"));
        return false;
    }
    ip(&["link", "set", "lo", "up"]);
    true
}

#[track_caller]
fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status();
    let status = status.expect("`ip` (iproute2) can be started");
    assert!(status.success(), "ip {arguments:?}: {status}");
}

/// Bytes that the interfaces of this thread's network namespace have received and sent.
fn crossed() -> u64 {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev");
    let table = table.expect("the kernel counts what interfaces receive");
    let rows = table.lines().filter_map(|line| line.split_once(':'));
    let columns = rows.map(|(_, row)| row.split_whitespace().collect::<Vec<_>>());
    let moved = columns.filter_map(|row| Some([*row.first()?, *row.get(8)?]));
    moved
        .flatten()
        .filter_map(|bytes| bytes.parse::<u64>().ok())
        .sum()
}

fn tier(answered: &Answered, node: &str, from: &str) -> Tier {
    let report = answered.report.iter().find(|report| report.node == node);
    let edges = &report.expect("the node is reported").edges;
    let edge = edges.iter().find(|edge| edge.from == from);
    edge.expect("the edge is reported").tier
}

/// `make` on `a`, `hold` on `b`.
fn deployed(setup: Setup) -> (Cluster, Gate) {
    let cluster = setup.start();
    cluster.deploy(HELD, &[("make", "a"), ("hold", "b")]);
    let gate = Gate::new(cluster.folder(), "gate");
    (cluster, gate)
}

fn sharing() -> Setup {
    Setup::workers(&["a", "b"]).memory("512MiB").sharing(&[])
}

fn start(cluster: &Cluster, entry: &str, gate: &Gate) -> (Client, Held) {
    let client = begin(cluster, entry, gate, LARGE);
    (client, gate.next())
}

fn begin(cluster: &Cluster, entry: &str, gate: &Gate, length: usize) -> Client {
    let mut client = cluster.client(entry);
    let inputs = [
        ("length".to_owned(), bytes(length.to_string())),
        ("gate".to_owned(), bytes(gate.input())),
    ];
    let invocation = Invocation {
        workflow: "held",
        inputs: &inputs,
        report: true,
        trace: false,
    };
    client.start(&invocation).expect("the worker takes it");
    client
}

fn made() -> Vec<u8> {
    pattern::bytes(7, LARGE)
}

#[track_caller]
fn nothing_is_lent(cluster: &Cluster, worker: &str) {
    until(&format!("{worker} lends nothing"), || {
        let lent = ["lent_ranges", "lent_bytes", "leases"];
        let lent = lent.map(|name| cluster.counter(worker, name));
        (lent == [0; 3]).then_some(())
    });
    let _ = cluster.settled(worker);
}

/// All memory that the worker has mapped of others is unmapped.
#[track_caller]
fn nothing_is_borrowed(cluster: &Cluster, worker: &str) {
    until(&format!("{worker} has nothing borrowed"), || {
        (cluster.counter(worker, "borrowed_segments") == 0).then_some(())
    });
}

#[track_caller]
fn lends(cluster: &Cluster, worker: &str) {
    until(&format!("{worker} lends something"), || {
        (cluster.counter(worker, "lent_bytes") == LARGE as u64).then_some(())
    });
}

fn signal(cluster: &Cluster, worker: &str, signal: Signal) {
    let pid = Pid::from_raw(cluster.worker(worker).pid().cast_signed());
    kill(pid, signal).expect("the worker is there");
}

/// What a held function has seen of its payload, once it has gone on.
#[track_caller]
fn seen(cluster: &Cluster) -> String {
    until("the held function has gone on", || {
        std::fs::read_to_string(cluster.path("gate.held"))
            .ok()
            .filter(|seen| !seen.is_empty())
    })
}

/// An invocation that holds nothing works: 64 MiB from `a` to `b`. Returns what has crossed the network for it.
#[track_caller]
fn works(cluster: &Cluster, gate: &Gate, entry: &str) -> (Answered, u64) {
    let before = crossed();
    let (mut client, held) = start(cluster, entry, gate);
    held.tell(Verdict::Pass);
    let answered = client.next_answer().expect("the worker answers");
    let digest = output(&answered, "digest");
    assert_eq!(digest, pattern::digest(&made()).as_bytes());
    (answered, crossed() - before)
}

#[test]
fn a_large_payload_between_workers_of_one_host_does_not_cross_the_network() {
    let name = "a_large_payload_between_workers_of_one_host_does_not_cross_the_network";
    if !alone(name) {
        return;
    }
    let (cluster, gate) = deployed(sharing());
    for entry in ["a", "b"] {
        let (answered, crossed) = works(&cluster, &gate, entry);
        assert!(crossed < 1 << 20, "{crossed} bytes crossed");
        assert_eq!(tier(&answered, "hold", "make"), Tier::Shared);
    }
    assert_eq!(cluster.counter("a", "loans_out"), 2);
    assert_eq!(cluster.counter("b", "loans_in"), 2);
    assert_eq!(cluster.counter("a", "transfers_out"), 0);
    for worker in ["a", "b"] {
        let links = cluster.status(worker).links;
        assert!(!links.is_empty());
        let shares = links.iter().all(|link| link.shares_memory);
        assert!(shares, "{links:?}");
        nothing_is_lent(&cluster, worker);
    }
    let shown = cluster.faasflow(&["status", "--workers", &cluster.addresses().join(",")]);
    assert!(shown.text().contains("in shared memory"), "{shown:?}");
}

/// Bytes, a list, what is passed on without a copy, and what comes home again.
fn relayed(cluster: &Cluster, entry: &str, bytes_each: usize) -> Answered {
    let data = pattern::bytes(5, bytes_each);
    let shape = format!("[20, {}]", bytes_each / 20);
    let inputs = [("data", bytes(&data)), ("shape", bytes(&shape))];
    let answered = cluster.invoke(entry, "relay", &inputs);
    let answered = answered.expect("the worker answers");
    assert_eq!(
        output(&answered, "digest"),
        pattern::digest(&data).as_bytes()
    );
    assert!(output(&answered, "back") == &data[1..bytes_each - 1]);
    let items: Vec<Vec<u8>> = (0..20)
        .map(|index| pattern::item(7, index, bytes_each / 20))
        .collect();
    let items = items.iter().map(|item| Some(item.as_slice()));
    assert_eq!(
        output(&answered, "list"),
        pattern::digest_items(items).as_bytes()
    );
    answered
}

const PINS: [(&str, &str); 5] = [
    ("near", "a"),
    ("far", "b"),
    ("back", "b"),
    ("items", "a"),
    ("list", "b"),
];

#[test]
fn what_is_lent_and_what_is_not_arrives_unchanged() {
    let name = "what_is_lent_and_what_is_not_arrives_unchanged";
    if !alone(name) {
        return;
    }
    let cluster = sharing().memory("1GiB").flag("--lanes=2").start();
    cluster.deploy(RELAY, &PINS);
    for entry in ["a", "b", "a", "b"] {
        for bytes in [1000, 16 << 10, (16 << 10) + 1, 100_000, 400_000, 20 << 20] {
            let _ = relayed(&cluster, entry, bytes);
        }
    }
    let large = relayed(&cluster, "a", 20 << 20);
    assert_eq!(tier(&large, "list", "items"), Tier::Shared);
    assert_eq!(tier(&large, "far", "near"), Tier::Shared);
    let small = relayed(&cluster, "a", 1000);
    assert_eq!(tier(&small, "far", "near"), Tier::Inline);
    // Items of three kilobytes are cheaper to copy than to name.
    let many = relayed(&cluster, "a", 60_000);
    assert_eq!(tier(&many, "list", "items"), Tier::Peer);
    // An input that came from a client to `a` lies there, and is lent; what `b` has borrowed it answers with by itself.
    assert_eq!(cluster.counter("b", "shares_broken"), 0);
    for worker in ["a", "b"] {
        nothing_is_lent(&cluster, worker);
    }
}

#[test]
fn with_the_flag_at_either_end_everything_crosses_the_network() {
    let name = "with_the_flag_at_either_end_everything_crosses_the_network";
    if !alone(name) {
        return;
    }
    let (cluster, gate) = deployed(sharing().sharing(&["--no-host-sharing"]));
    let (answered, crossed) = works(&cluster, &gate, "a");
    assert!(crossed >= LARGE as u64, "{crossed} bytes crossed");
    assert_eq!(tier(&answered, "hold", "make"), Tier::Peer);
    let links = cluster.status("a").links;
    let said = |link: &engine::status::LinkStatus| {
        !link.shares_memory && link.unshared.as_deref() == Some("--no-host-sharing")
    };
    assert!(!links.is_empty() && links.iter().all(said), "{links:?}");
    drop((cluster, gate));

    // One that shares with nobody is not shared with.
    let mut cluster = sharing().start();
    let address = cluster.worker("b").address().to_owned();
    let _ = cluster.worker_mut("b").end_by(Signal::SIGTERM);
    let mut command = cluster.worker_command("b", &address);
    command.arg("--no-host-sharing");
    cluster.start_as("b", command);
    cluster.deploy(HELD, &[("make", "a"), ("hold", "b")]);
    let gate = Gate::new(cluster.folder(), "gate");
    let (_, crossed) = works(&cluster, &gate, "b");
    assert!(crossed >= LARGE as u64, "{crossed} bytes crossed");
}

#[test]
fn a_borrower_that_is_killed_gives_everything_back_with_its_end() {
    let name = "a_borrower_that_is_killed_gives_everything_back_with_its_end";
    if !alone(name) {
        return;
    }
    let (mut cluster, gate) = deployed(sharing().memory("1GiB"));
    let (mut client, held) = start(&cluster, "a", &gate);
    lends(&cluster, "a");
    let _ = cluster.worker_mut("b").end_by(Signal::SIGKILL);
    let answered = client.next_answer().expect("the worker answers");
    assert!(answered.result.is_err());
    drop((client, held));
    nothing_is_lent(&cluster, "a");
    // In its next life it shares again.
    cluster.restart("b");
    cluster.deploy(HELD, &[("make", "a"), ("hold", "b")]);
    let (_, crossed) = works(&cluster, &gate, "a");
    assert!(crossed < 1 << 20, "{crossed} bytes crossed");
    nothing_is_lent(&cluster, "a");
}

#[test]
fn what_a_killed_lender_has_lent_stays_as_it_was_until_its_last_reader_has_ended() {
    let name = "what_a_killed_lender_has_lent_stays_as_it_was_until_its_last_reader_has_ended";
    if !alone(name) {
        return;
    }
    // What runs is told to stop when the other worker is lost, and goes on for as long.
    let (mut cluster, gate) = deployed(sharing().flag("--grace-ms=60000"));
    let (mut client, held) = start(&cluster, "b", &gate);
    lends(&cluster, "a");
    let _ = cluster.worker_mut("a").end_by(Signal::SIGKILL);
    let answered = client.next_answer().expect("the worker answers");
    assert!(answered.result.is_err());
    drop(client);
    held.tell(Verdict::Pass);
    assert_eq!(seen(&cluster), "same");
    nothing_is_borrowed(&cluster, "b");
    let _ = cluster.settled("b");
}

#[test]
fn a_borrower_that_is_silent_keeps_what_it_may_still_read() {
    let name = "a_borrower_that_is_silent_keeps_what_it_may_still_read";
    if !alone(name) {
        return;
    }
    let silent = sharing().flag("--heartbeat-ms=50");
    let (cluster, gate) = deployed(
        silent
            .flag("--peer-silence-ms=300")
            .flag("--grace-ms=60000"),
    );
    let (mut client, held) = start(&cluster, "a", &gate);
    lends(&cluster, "a");
    signal(&cluster, "b", Signal::SIGSTOP);
    let answered = client.next_answer().expect("the worker answers");
    assert!(answered.result.is_err(), "`b` is suspected");
    drop(client);
    // As often as it takes to use the memory again, were it free.
    for _ in 0..20 {
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(cluster.counter("a", "lent_bytes"), LARGE as u64);
    }
    signal(&cluster, "b", Signal::SIGCONT);
    held.tell(Verdict::Pass);
    assert_eq!(seen(&cluster), "same");
    nothing_is_lent(&cluster, "a");
    let (_, crossed) = until_linked(&cluster, &gate);
    assert!(crossed < 1 << 20, "{crossed} bytes crossed");
    nothing_is_lent(&cluster, "a");
}

/// As [`works`], as soon as both workers are linked again.
#[track_caller]
fn until_linked(cluster: &Cluster, gate: &Gate) -> (Answered, u64) {
    until("the workers are linked again", || {
        let linked = |worker: &str| {
            let links = cluster.status(worker).links;
            links.iter().all(|link| link.shares_memory)
                && cluster.counter(worker, "links_sharing") >= 2
        };
        (linked("a") && linked("b")).then_some(())
    });
    works(cluster, gate, "a")
}

#[test]
fn a_workflow_that_is_undeployed_and_a_producer_that_dies_leave_what_is_lent_alone() {
    let name = "a_workflow_that_is_undeployed_and_a_producer_that_dies_leave_what_is_lent_alone";
    if !alone(name) {
        return;
    }
    let (cluster, gate) = deployed(sharing());
    let (mut client, held) = start(&cluster, "b", &gate);
    lends(&cluster, "a");
    for executor in cluster.executors("a") {
        kill(Pid::from_raw(executor.cast_signed()), Signal::SIGKILL).expect("it is there");
    }
    cluster.undeploy("held");
    held.tell(Verdict::Pass);
    let answered = client.next_answer().expect("the worker answers");
    let digest = output(&answered, "digest");
    assert_eq!(digest, pattern::digest(&made()).as_bytes());
    drop(client);
    assert_eq!(seen(&cluster), "same");
    nothing_is_lent(&cluster, "a");
    nothing_is_borrowed(&cluster, "b");
    until("the workflow has gone", || {
        let left = ["a", "b"].map(|worker| cluster.status(worker).deployments.len());
        (left == [0, 0]).then_some(())
    });
    for worker in ["a", "b"] {
        let held = cluster.status(worker).memory;
        assert_eq!((held.held_bytes, held.leases), (0, 0), "{worker}");
    }
}

#[test]
fn without_descriptors_payloads_are_streamed_and_nothing_fails() {
    const SMALL: usize = 512 << 10;
    let name = "without_descriptors_payloads_are_streamed_and_nothing_fails";
    if !alone(name) {
        return;
    }
    let (cluster, gate) = deployed(sharing());
    // So that all that `b` needs for itself is open.
    let (_, crossed_first) = works(&cluster, &gate, "a");
    assert!(crossed_first < 1 << 20, "{crossed_first} bytes crossed");
    // Fills a segment of its own, so that what follows lies in another one.
    let (mut first, held) = start(&cluster, "a", &gate);
    // From now on `b` can receive no descriptor. What it has stays open.
    let pid = rustix::process::Pid::from_raw(cluster.worker("b").pid().cast_signed());
    let few = rustix::process::Rlimit {
        current: Some(3),
        ..rustix::process::getrlimit(rustix::process::Resource::Nofile)
    };
    rustix::process::prlimit(pid, rustix::process::Resource::Nofile, few).expect("it is lowered");
    let before = crossed();
    // The second time `a` knows, and does not lend it in the first place.
    let clients = [1, 2].map(|streamed| {
        let client = begin(&cluster, "a", &gate, SMALL);
        until("a payload is streamed instead", || {
            (cluster.counter("a", "loans_streamed") == streamed).then_some(())
        });
        client
    });
    held.tell(Verdict::Pass);
    let answered = first.next_answer().expect("the worker answers");
    let digest = pattern::digest(&made());
    assert_eq!(output(&answered, "digest"), digest.as_bytes());
    let digest = pattern::digest(&pattern::bytes(7, SMALL));
    for mut client in clients {
        gate.next().tell(Verdict::Pass);
        let answered = client.next_answer().expect("the worker answers");
        assert_eq!(output(&answered, "digest"), digest.as_bytes());
    }
    let crossed = crossed() - before;
    assert!(crossed >= 2 * SMALL as u64, "{crossed} bytes crossed");
    drop(first);
    // What it had mapped before is still lent.
    let (_, crossed) = works(&cluster, &gate, "a");
    assert!(crossed < 1 << 20, "{crossed} bytes crossed");
    nothing_is_lent(&cluster, "a");
    let log = cluster.log("b");
    assert_eq!(log.matches("cannot be mapped").count(), 1, "{log}");
}

/// A network namespace beside this thread's, as long as this is there.
struct Beside {
    path: String,
    /// Ends the thread that keeps it.
    _end: std::sync::mpsc::Sender<()>,
}

impl Beside {
    /// Linked with this thread's by an interface of each: 198.18.0.1 here, and 198.18.0.2 there.
    fn new() -> Self {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let (sender, thread) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("this thread's has been made");
            sender
                .send(nix::unistd::gettid())
                .expect("it is waited for");
            // An error is the end.
            let _ = ended.recv();
        });
        let thread = thread
            .recv_timeout(PROMPTLY)
            .expect("a thread can be started");
        let path = format!("/proc/{}/task/{thread}/ns/net", std::process::id());
        let beside = Self { path, _end: end };
        let thread = thread.to_string();
        ip(&[
            "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", &thread,
        ]);
        ip(&["addr", "add", "198.18.0.1/24", "dev", "here"]);
        ip(&["link", "set", "here", "up"]);
        for arguments in [
            "addr add 198.18.0.2/24 dev there",
            "link set there up",
            "link set lo up",
        ] {
            let mut command = Command::new("ip");
            command.args(arguments.split(' '));
            let status = beside.within(&command).status();
            assert!(status.is_ok_and(|status| status.success()), "{arguments}");
        }
        beside
    }

    /// The same command, in that namespace.
    fn within(&self, command: &Command) -> Command {
        let mut within = Command::new("nsenter");
        within.arg(format!("--net={}", self.path));
        within.arg(command.get_program()).args(command.get_args());
        within
    }
}

#[test]
fn workers_in_different_network_namespaces_share_only_by_a_folder() {
    let name = "workers_in_different_network_namespaces_share_only_by_a_folder";
    if !alone(name) {
        return;
    }
    let beside = Beside::new();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let by_folder = format!("--host-sharing={}", folder.path().display());
    for (flags, shares) in [(&[][..], false), (&[by_folder.as_str()][..], true)] {
        let setup = Setup::workers(&[])
            .memory("512MiB")
            .key(b"of sixteen bytes");
        let mut cluster = setup.sharing(flags).start();
        cluster.start_as("a", cluster.worker_command("a", "198.18.0.1:0"));
        let far = cluster.worker_command("b", "198.18.0.2:0");
        cluster.start_as("b", beside.within(&far));
        cluster.deploy(HELD, &[("make", "a"), ("hold", "b")]);
        let gate = Gate::new(cluster.folder(), "gate");
        let (answered, crossed) = works(&cluster, &gate, "a");
        assert_eq!(crossed < 1 << 20, shares, "{crossed} bytes crossed");
        let expected = if shares { Tier::Shared } else { Tier::Peer };
        assert_eq!(tier(&answered, "hold", "make"), expected);
        let links = cluster.status("a").links;
        assert!(
            links.iter().all(|link| link.shares_memory == shares),
            "{links:?}"
        );
        let sockets = || {
            std::fs::read_dir(folder.path())
                .expect("it is there")
                .count()
        };
        assert_eq!(sockets(), if shares { 2 } else { 0 });
        for worker in ["a", "b"] {
            let _ = cluster.worker_mut(worker).end_by(Signal::SIGTERM);
        }
        assert_eq!(sockets(), 0, "a worker that ends in order leaves none");
    }
}
