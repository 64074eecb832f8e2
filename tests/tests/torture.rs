//! The store under everything at once: payloads of random sizes and lifetimes, in memory, on disk and between workers, while
//! executors are killed and quotas change. What is read is what was written, and in the end nothing is held.
//!
//! `FAASFLOW_TORTURE_S` says for how many seconds; `scripts/torture` takes ten minutes.

use faasflow_tests::cluster::{Cluster, Setup, payload};
use faasflow_tests::pattern;
use faasflow_tests::process::until;
use faasflow_tests::random::Random;
use master::client::Payload;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Seconds in the tests of every day.
const SECONDS: u64 = 6;
/// How often an executor is killed.
const KILL_PAUSE: Duration = Duration::from_millis(250);
/// How often a workflow gets another quota.
const QUOTA_PAUSE: Duration = Duration::from_millis(1500);

/// Descriptors that a worker keeps from the first time on that it spills what does not lie as the disk wants it.
const BUFFERS: u64 = 1;

const WORKFLOWS: [(&str, &str); 3] = [
    (
        "gathered",
        "
nodes:
  make: { function: 'test-functions:produce', foreach: input.items, input: { what: item }, output: { out: bytes }, RETRY }
  all: { function: 'test-functions:digest_list', input: { list: make.out }, output: { out: bytes }, RETRY }
output: { digest: all.out }
",
    ),
    (
        "chained",
        "
nodes:
  make: { function: 'test-functions:produce', foreach: input.items, input: { what: item }, output: { out: bytes }, RETRY }
  same: { function: 'test-functions:echo', foreach: make.out, input: { in: item }, output: { out: bytes }, RETRY }
  all: { function: 'test-functions:digest_list', input: { list: same.out }, output: { out: bytes }, RETRY }
output: { digest: all.out }
",
    ),
    (
        "across",
        "
nodes:
  make: { function: 'test-functions:produce', foreach: input.items, input: { what: item }, output: { out: bytes }, RETRY }
  pass: { function: 'test-functions:pass_items', input: { list: make.out }, output: { list: list }, RETRY }
  all: { function: 'test-functions:digest_list', input: { list: pass.list }, output: { out: bytes }, RETRY }
output: { digest: all.out }
",
    ),
];

fn text_of(name: &str, nodes: &str, quota_mib: usize) -> String {
    let retry = "retry: { attempts: 20 }, resources: { memory_mib: 48, scale: 2 }";
    let nodes = nodes.replace("RETRY", retry);
    format!(
        "workflow: {name}\ninput: {{ items: list }}\nstore: {{ quota_mib: {quota_mib} }}{nodes}"
    )
}

fn deploy(cluster: &Cluster, which: usize, quota_mib: usize) {
    let (name, nodes) = WORKFLOWS[which];
    let pins: &[(&str, &str)] = match name {
        "across" => &[("make", "a"), ("pass", "b"), ("all", "a")],
        _ => &[],
    };
    cluster.deploy(&text_of(name, nodes, quota_mib), pins);
}

#[derive(Default)]
struct Seen {
    well: AtomicU64,
    lost: AtomicU64,
}

/// One client, until the time is up.
fn invoke_on(cluster: &Cluster, mut random: Random, deadline: Instant, seen: &Seen) {
    while Instant::now() < deadline {
        let (name, _) = WORKFLOWS[random.below(WORKFLOWS.len())];
        let length_max = [100, 10_000, 400_000, 3 << 20][random.below(4)];
        let items: Vec<(u32, usize)> = (0..random.below(30))
            .map(|_| (random.below(1 << 20) as u32, random.below(length_max)))
            .collect();
        let given = items.iter();
        let given = given.map(|(seed, length)| Some(format!("{seed} {length}").into_bytes()));
        let given = Payload::List(given.collect());
        let answered = cluster.invoke("a", name, &[("items", given)]);
        let answered = answered.expect("the worker answers");
        if let Err(failure) = &answered.result {
            // Killed more often than it is tried, or its worker's door was just closing.
            let text = failure.to_string();
            assert!(text.contains("signal 9"), "{name}: {text}");
            seen.lost.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let made = items.iter();
        let made: Vec<Vec<u8>> = made
            .map(|(seed, length)| pattern::bytes(*seed, *length))
            .collect();
        let expected = pattern::digest_items(made.iter().map(|item| Some(&item[..])));
        let Payload::Bytes(digest) = payload(&answered, "digest") else {
            panic!("a digest is bytes");
        };
        assert_eq!(String::from_utf8_lossy(digest), expected, "{name}");
        seen.well.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn whatever_happens_payloads_are_what_was_written_and_nothing_is_left() {
    let seconds = std::env::var("FAASFLOW_TORTURE_S").ok();
    let seconds = seconds.map_or(SECONDS, |text| text.parse().expect("a number of seconds"));
    let cluster = Setup::workers(&["a", "b"]).flag("--lanes=1").start();
    // Links between workers stay once they are there.
    deploy(&cluster, 2, 16);
    let links = |worker: &str| cluster.settled(worker).links;
    until("the workers are linked", || {
        (links("a") == 2 && links("b") == 2).then_some(())
    });
    cluster.undeploy("across");
    let at_first = ["a", "b"].map(|worker| {
        until(&format!("worker {worker} holds nothing"), || {
            let status = cluster.status(worker);
            (status.deployments.is_empty() && status.memory.segments == 0).then_some(status)
        })
    });
    for which in 0..WORKFLOWS.len() {
        deploy(&cluster, which, 16);
    }
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let seen = Seen::default();
    let mut quotas = Random::new(1);
    std::thread::scope(|scope| {
        for seed in 2..5 {
            let (cluster, seen) = (&cluster, &seen);
            scope.spawn(move || invoke_on(cluster, Random::new(seed), deadline, seen));
        }
        scope.spawn(|| {
            let mut random = Random::new(9);
            while Instant::now() < deadline {
                std::thread::sleep(KILL_PAUSE);
                let worker = ["a", "b"][random.below(2)];
                let executors = cluster.executors(worker);
                if !executors.is_empty() {
                    let pid = executors[random.below(executors.len())];
                    // It may have ended since.
                    let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
                }
            }
        });
        while Instant::now() < deadline {
            std::thread::sleep(QUOTA_PAUSE);
            let which = quotas.below(WORKFLOWS.len());
            deploy(&cluster, which, quotas.between(2, 60));
        }
    });
    let carried: u64 = ["a", "b"]
        .iter()
        .flat_map(|worker| cluster.status(worker).workflows)
        .map(|workflow| workflow.spilled)
        .sum();
    let (well, lost) = (seen.well.into_inner(), seen.lost.into_inner());
    println!("{well} invocations ended well, {lost} did not, {carried} payloads were spilled");
    assert!(well > lost, "{well} {lost}");
    assert!(carried > 0, "nothing was spilled");
    for (name, _) in WORKFLOWS {
        cluster.undeploy(name);
    }
    for (worker, at_first) in ["a", "b"].into_iter().zip(&at_first) {
        until(&format!("worker {worker} holds nothing"), || {
            let status = cluster.status(worker);
            let gone = status.workflows.is_empty()
                && status.deployments.is_empty()
                && status.memory.reserved_bytes == 0
                && status.memory.segments == 0
                && status.descriptors <= at_first.descriptors + BUFFERS;
            gone.then_some(())
        });
    }
}
