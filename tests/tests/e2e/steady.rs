//! Nothing is left behind, and nothing is used in idleness: the same counts after thousands of invocations as before.

use faasflow_tests::cluster::{Cluster, Holdings, Setup, bytes, output};
use faasflow_tests::process::{cpu_ticks, resident_bytes, steady_descriptors, until, until_equal};
use master::client::{Invocation, Payload};
use std::time::Duration;

/// Invocations in sequence, unless the environment says otherwise.
const INVOCATIONS: usize = 10_000;
/// Name of the environment variable that does.
const INVOCATIONS_VARIABLE: &str = "FAASFLOW_TEST_INVOCATIONS";
/// What resident memory may still grow by in the last third: pages of tables that were there, but not touched yet.
const GROWTH_BYTES_MAX: u64 = 1 << 20;

const MIXED: &str = "
workflow: mixed
input: { text: bytes, list: list }
nodes:
  near: { function: test-functions:upper, input: { in: input.text }, output: { out: bytes } }
  far: { function: test-functions:echo, input: { in: near.out }, output: { out: bytes } }
  each: { function: test-functions:echo, foreach: input.list, input: { in: item }, output: { out: bytes } }
  concat: { function: test-functions:concat, input: { list: each.out }, output: { out: bytes } }
  join: { function: test-functions:join, input: { a: far.out, b: concat.out }, output: { out: bytes } }
output: { out: join.out, each: each.out }
";

const PINS: [(&str, &str); 5] = [
    ("near", "a"),
    ("far", "b"),
    ("each", "b"),
    ("concat", "a"),
    ("join", "b"),
];

fn mixed() -> Cluster {
    let cluster = Setup::workers(&["a", "b"]).start();
    cluster.deploy(MIXED, &PINS);
    cluster
}

/// Everything that a worker and its executors hold.
#[derive(PartialEq, Eq, Debug)]
struct Held {
    holdings: Holdings,
    /// Of the worker and then of each executor: what their descriptors lead to.
    descriptors: Vec<Vec<String>>,
    executors: Vec<u32>,
}

fn held(cluster: &Cluster, worker: &str) -> Held {
    let holdings = cluster.settled(worker);
    let mut executors = cluster.executors(worker);
    executors.sort_unstable();
    let processes = [&[cluster.worker(worker).pid()][..], &executors].concat();
    // Sockets and the like have a number of their own each: the kinds are compared, and how many there are.
    let kind = |target: String| target.split(':').next().unwrap_or_default().to_owned();
    let kinds = |pid: &u32| steady_descriptors(*pid).into_iter().map(kind).collect();
    Held {
        holdings,
        descriptors: processes.iter().map(kinds).collect(),
        executors,
    }
}

fn resident(cluster: &Cluster) -> u64 {
    let workers = ["a", "b"].into_iter();
    let pids = workers.flat_map(|worker| {
        let mut pids = cluster.executors(worker);
        pids.push(cluster.worker(worker).pid());
        pids
    });
    pids.map(resident_bytes).sum()
}

#[test]
fn after_ten_thousand_invocations_everything_is_as_before() {
    let count = std::env::var(INVOCATIONS_VARIABLE).map_or(INVOCATIONS, |count| {
        count.parse().expect("a number of invocations")
    });
    let cluster = mixed();
    let invoke = |count: usize| {
        let mut client = cluster.client("a");
        for index in 0..count {
            // Some payloads travel inside messages, some are streamed; every length is another.
            let text = vec![b'x'; index % 40_000];
            let list = (0..index % 7).map(|item| vec![b'y'; item * (index % 300)]);
            let inputs = [
                ("text".to_owned(), bytes(text)),
                ("list".to_owned(), Payload::list(list.collect())),
            ];
            let invocation = Invocation {
                workflow: "mixed",
                inputs: &inputs,
                report: index % 10 == 0,
                trace: false,
            };
            let answered = client.invoke(&invocation).expect("the worker answers");
            let _ = output(&answered, "out");
        }
    };
    // What is made once, and kept, is made by now.
    invoke(count.min(500));
    let before = ["a", "b"].map(|worker| held(&cluster, worker));
    let mut marks = Vec::new();
    for _ in 0..3 {
        invoke(count / 3);
        marks.push(resident(&cluster));
    }
    for (worker, before) in ["a", "b"].into_iter().zip(&before) {
        // A connection that was just closed is still a descriptor for a moment.
        until_equal(before, || held(&cluster, worker));
    }
    assert!(
        marks[2] <= marks[1] + GROWTH_BYTES_MAX,
        "resident memory still grows: {marks:?}"
    );
    let taken = cluster.counter("a", "invocations_ended");
    assert_eq!(taken as usize, count.min(500) + count / 3 * 3);
}

#[test]
fn deploying_again_and_again_leaves_nothing_behind() {
    let cluster = mixed();
    let settled = |version: u32| {
        for worker in ["a", "b"] {
            until("the earlier version is gone", || {
                let deployments = cluster.status(worker).deployments;
                matches!(&deployments[..], [only] if only.version == version).then_some(())
            });
        }
        ["a", "b"].map(|worker| {
            let held = held(&cluster, worker);
            (held.holdings, held.descriptors)
        })
    };
    cluster.deploy(MIXED, &PINS);
    let before = settled(2);
    for _ in 0..10 {
        cluster.deploy(MIXED, &PINS);
    }
    until_equal(&before, || settled(12));
}

#[test]
fn deploying_and_undeploying_leaves_nothing_behind() {
    let cluster = Setup::workers(&["a", "b"]).start();
    let round = || {
        cluster.deploy(MIXED, &PINS);
        let inputs = [
            ("text", bytes("text")),
            ("list", Payload::list(vec![b"item".to_vec()])),
        ];
        let answered = cluster
            .invoke("b", "mixed", &inputs)
            .expect("the worker answers");
        let _ = output(&answered, "out");
        cluster.undeploy("mixed");
        ["a", "b"].map(|worker| {
            until("all of it is gone", || {
                let gone = cluster.status(worker).deployments.is_empty();
                (gone && cluster.settled(worker).executors == 0).then_some(())
            });
            let held = held(&cluster, worker);
            (held.holdings, held.descriptors)
        })
    };
    let before = round();
    for _ in 0..5 {
        let _ = round();
        // A connection that was just closed is still a descriptor for a moment.
        until_equal(&before, || {
            ["a", "b"].map(|worker| {
                let held = held(&cluster, worker);
                (held.holdings, held.descriptors)
            })
        });
    }
}

#[test]
fn a_parked_and_idle_cluster_uses_no_cpu() {
    for wait in ["--wait=adaptive", "--wait=park"] {
        let cluster = Setup::workers(&["a", "b"]).flag(wait).start();
        cluster.deploy(MIXED, &PINS);
        let inputs = [
            ("text", bytes("text")),
            ("list", Payload::list(vec![b"item".to_vec()])),
        ];
        let answered = cluster
            .invoke("a", "mixed", &inputs)
            .expect("the worker answers");
        let _ = output(&answered, "out");
        let _ = ["a", "b"].map(|worker| cluster.settled(worker));
        let pids: Vec<u32> = ["a", "b"]
            .into_iter()
            .flat_map(|worker| {
                let mut pids = cluster.executors(worker);
                pids.push(cluster.worker(worker).pid());
                pids
            })
            .collect();
        let used = || pids.iter().map(|pid| cpu_ticks(*pid)).collect::<Vec<_>>();
        let before = used();
        // Three seconds in which nothing happens: least of all that a worker ends.
        let ended = cluster
            .worker("a")
            .watched()
            .ends_within(Duration::from_secs(3));
        assert!(!ended);
        let idle = used()
            .iter()
            .zip(&before)
            .map(|(after, before)| after - before)
            .collect::<Vec<_>>();
        // A tick is 10 ms, so that 3 of 300 are one per cent; keep-alive timers and the like take some.
        assert!(
            idle.iter().all(|ticks| *ticks <= 3),
            "{wait}: ticks of {pids:?}: {idle:?}"
        );
    }
}
