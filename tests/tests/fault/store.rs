//! Disks and servers that payloads are carried to, and that are full, fail, fall silent or go: another tier, or a clear error for
//! that invocation, while the worker goes on.

use engine::status::WorkflowStatus;
use engine::wire::Failure;
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::disk::{FailingDisk, SmallDisk};
use faasflow_tests::gate::{Gate, Held, Verdict};
use faasflow_tests::pattern;
use faasflow_tests::process::{PROMPTLY, until, until_within};
use faasflow_tests::redis::Server;
use master::client::{Answered, Client, Invocation, Payload};
use std::path::Path;
use std::time::Duration;

const MIB: usize = 1 << 20;
/// Bytes of an item.
const ITEM: usize = MIB;
/// Items that fit into the executors' memory, beyond the quota; and such as do not.
const SOME: usize = 44;
const MANY: usize = 144;

/// Items are made one by one, and read all together once their test lets it happen.
const HELD: &str = "
workflow: held
input: { items: list, gate: bytes }
nodes:
  make:
    function: test-functions:produce
    foreach: input.items
    input: { what: item }
    output: { out: bytes }
    resources: { memory_mib: 24, scale: 2 }
  wait:
    function: test-functions:gate
    input: { gate: input.gate }
    output: { out: bytes }
    after: make
    resources: { memory_mib: 24, scale: 2 }
  digest:
    function: test-functions:digest_list
    input: { list: make.out }
    output: { out: bytes }
    after: wait
    resources: { memory_mib: 24, scale: 2 }
output: { digest: digest.out }
";

const SMALL: &str = "
workflow: small
input: { text: bytes }
nodes:
  same: { function: 'test-functions:echo', input: { in: input.text }, output: { out: bytes } }
output: { out: same.out }
";

struct Tried {
    cluster: Cluster,
    gate: Gate,
}

impl Tried {
    fn new(setup: Setup) -> Self {
        let cluster = setup.start();
        cluster.deploy(HELD, &[]);
        cluster.deploy(SMALL, &[]);
        let gate = Gate::new(cluster.folder(), "gate");
        Self { cluster, gate }
    }

    fn spilling_to(folder: &Path) -> Self {
        let folder = format!("--spill-dir={}", folder.join("spill").display());
        Self::new(Setup::workers(&["a"]).flag(&folder))
    }

    /// Begins an invocation with so many items.
    fn begin(&self, count: usize) -> Client {
        let item = |seed| Some(format!("{seed} {ITEM}").into_bytes());
        let items = Payload::List((0..count).map(item).collect());
        let inputs = [
            ("items".to_owned(), items),
            ("gate".to_owned(), bytes(self.gate.input())),
        ];
        let mut client = self.cluster.client("a");
        let invocation = Invocation {
            workflow: "held",
            inputs: &inputs,
            report: false,
            trace: false,
        };
        client.start(&invocation).expect("the worker takes it");
        client
    }

    /// Begins one, until all items are made, and those that are to be are carried out of memory.
    fn made(&self, count: usize) -> (Client, Held) {
        let client = self.begin(count);
        let held = self.gate.next();
        (client, held)
    }

    /// Runs one to its end.
    fn run(&self, count: usize) -> Answered {
        let client = self.begin(count);
        self.pass(client)
    }

    fn pass(&self, client: Client) -> Answered {
        // If it fails before, nobody comes to the gate.
        std::thread::scope(|scope| {
            let answer = scope.spawn(move || answer(client));
            until("it is held or has ended", || {
                if let Some(held) = self.gate.next_within(Duration::ZERO) {
                    held.tell(Verdict::Pass);
                    return Some(());
                }
                answer.is_finished().then_some(())
            });
            answer.join().expect("it does not panic")
        })
    }

    /// Runs one that ends well, and says what has become of its payloads.
    #[track_caller]
    fn works(&self, count: usize) -> WorkflowStatus {
        is_right(&self.run(count), count);
        self.at_rest()
    }

    /// As [`Tried::works`], as soon as the tier is asked again that has failed: it is left alone for a few seconds.
    #[track_caller]
    fn works_again(&self, count: usize) -> WorkflowStatus {
        let answered = until_within(PROMPTLY * 6, "the tier is asked again", || {
            let answered = self.run(count);
            answered.result.is_ok().then_some(answered)
        });
        is_right(&answered, count);
        self.at_rest()
    }

    /// What the worker says of the workflow once nothing is under way: nothing is held.
    #[track_caller]
    fn at_rest(&self) -> WorkflowStatus {
        let _ = self.cluster.settled("a");
        let workflow = self.status();
        assert_eq!((workflow.leases, workflow.away), (0, 0), "{workflow:?}");
        workflow
    }

    fn status(&self) -> WorkflowStatus {
        let workflows = self.cluster.status("a").workflows;
        let mut workflows = workflows.into_iter();
        workflows
            .find(|one| one.workflow == "held")
            .expect("it is deployed")
    }

    /// Another workflow is served meanwhile.
    #[track_caller]
    fn goes_on(&self) {
        let answered = self
            .cluster
            .invoke("a", "small", &[("text", bytes("text"))]);
        let answered = answered.expect("the worker answers");
        assert_eq!(output(&answered, "out"), b"text");
    }
}

fn answer(mut client: Client) -> Answered {
    client.next_answer().expect("the worker answers")
}

#[track_caller]
fn is_right(answered: &Answered, count: usize) {
    let items: Vec<Vec<u8>> = (0..count as u32)
        .map(|seed| pattern::bytes(seed, ITEM))
        .collect();
    let expected = pattern::digest_items(items.iter().map(|item| Some(&item[..])));
    let digest = String::from_utf8_lossy(output(answered, "digest"));
    assert_eq!(digest, expected);
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

#[test]
fn what_a_full_disk_does_not_take_stays_in_memory_and_what_fits_nowhere_fails_by_name() {
    let name = "what_a_full_disk_does_not_take_stays_in_memory_and_what_fits_nowhere_fails_by_name";
    let Some(disk) = SmallDisk::mount(name, (4 * MIB) as u64) else {
        return;
    };
    let tried = Tried::spilling_to(disk.path());
    let workflow = tried.works(SOME);
    assert!(workflow.spilled > 0, "{workflow:?}");
    assert!(workflow.carries_refused > 0, "{workflow:?}");
    assert_eq!(workflow.payloads_lost, 0, "{workflow:?}");
    assert!(tried.cluster.log("a").contains("No space left"));

    fails_with(
        &tried.run(MANY),
        &["make failed on worker a", "no memory for an output"],
    );
    let before = tried.at_rest();
    tried.goes_on();

    disk.resize((MANY * ITEM * 2) as u64);
    let workflow = tried.works_again(MANY);
    let spilled = workflow.spilled - before.spilled;
    assert!(spilled > 10, "{spilled}: {workflow:?}");
}

#[test]
fn what_a_failing_disk_holds_is_lost_by_name_and_what_it_does_not_take_stays_in_memory() {
    let name =
        "what_a_failing_disk_holds_is_lost_by_name_and_what_it_does_not_take_stays_in_memory";
    let Some(mut disk) = FailingDisk::mount(name) else {
        return;
    };
    let tried = Tried::spilling_to(disk.path());
    let (client, held) = tried.made(MANY);
    assert!(tried.status().away > 0);
    disk.fail();
    held.tell(Verdict::Pass);
    let answered = answer(client);
    let failure = answered.result.as_ref().expect_err("some of it is lost");
    assert!(matches!(failure, Failure::Payload { .. }), "{failure}");
    fails_with(
        &answered,
        &[
            "digest",
            "worker a",
            "could not be brought back",
            "Input/output error",
        ],
    );
    let before = tried.at_rest();
    assert!(before.payloads_lost > 0, "{before:?}");
    tried.goes_on();

    // A tier that has failed is left alone for a while.
    until("the disk is asked again, and takes nothing", || {
        let workflow = tried.works(SOME);
        assert_eq!(workflow.spilled, before.spilled, "{workflow:?}");
        (workflow.carries_refused > before.carries_refused).then_some(())
    });

    disk.heal();
    let workflow = tried.works_again(MANY);
    assert!(workflow.spilled > before.spilled, "{workflow:?}");
}

#[test]
fn a_store_that_falls_silent_holds_up_those_who_need_it_alone_and_goes_on_where_it_was() {
    let name =
        "a_store_that_falls_silent_holds_up_those_who_need_it_alone_and_goes_on_where_it_was";
    let Some(server) = Server::start(name) else {
        return;
    };
    let tried = Tried::new(server.setup());
    let (client, held) = tried.made(MANY);
    let stored = tried.status().stored;
    assert!(stored > 0);
    server.stop();
    held.tell(Verdict::Pass);
    tried.goes_on();
    assert_eq!(tried.status().payloads_lost, 0);
    server.go_on();
    is_right(&answer(client), MANY);
    assert_eq!(tried.at_rest().payloads_lost, 0);
    server.until_empty();
    // So it is if nobody wants any more what lies there.
    let (client, held) = tried.made(MANY);
    assert!(tried.status().stored > stored);
    drop(client);
    drop(held);
    let _ = tried.at_rest();
    server.until_empty();
}

#[test]
fn what_a_store_holds_comes_back_when_it_has_been_restarted() {
    let name = "what_a_store_holds_comes_back_when_it_has_been_restarted";
    let Some(mut server) = Server::start_persistent(name) else {
        return;
    };
    let tried = Tried::new(server.setup());
    let (client, held) = tried.made(MANY);
    assert!(tried.status().away > 0);
    server.kill();
    held.tell(Verdict::Pass);
    // Nobody listens there for as long as a server needs that reads much from its disk.
    std::thread::sleep(Duration::from_secs(4));
    server.revive();
    is_right(&answer(client), MANY);
    // What was being put when it was killed may lie there, and expires.
    assert_eq!(tried.at_rest().payloads_lost, 0);
}

#[test]
fn what_a_store_held_that_is_gone_is_lost_by_name_and_what_it_does_not_take_stays_in_memory() {
    let name =
        "what_a_store_held_that_is_gone_is_lost_by_name_and_what_it_does_not_take_stays_in_memory";
    let Some(mut server) = Server::start(name) else {
        return;
    };
    let tried = Tried::new(server.setup());
    let (client, held) = tried.made(MANY);
    assert!(tried.status().away > 0);
    server.kill();
    held.tell(Verdict::Pass);
    fails_with(
        &answer(client),
        &["digest", "could not be brought back", "redis://127.0.0.1"],
    );
    let before = tried.at_rest();
    tried.goes_on();

    let workflow = tried.works(SOME);
    assert_eq!(workflow.stored, before.stored, "{workflow:?}");

    server.revive();
    let workflow = tried.works_again(MANY);
    assert!(workflow.stored > before.stored, "{workflow:?}");
}
