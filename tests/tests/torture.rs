//! The store under everything at once: payloads of random sizes and lifetimes, in memory, on disk and between workers, while
//! executors and workers are killed, clients leave, and quotas and memory change. What is read is what was written, and in the
//! end nothing is held. Once between workers as on two hosts, each with a disk; and once between workers that lend each other their
//! memory, one of them with a server in place of a disk, which is stopped and killed as well.
//!
//! `FAASFLOW_TORTURE_S` says for how many seconds each; `scripts/torture` takes ten minutes.

use faasflow_tests::cluster::{Cluster, Setup, payload};
use faasflow_tests::pattern;
use faasflow_tests::process::{descriptor_targets, until};
use faasflow_tests::random::Random;
use faasflow_tests::redis::Server;
use master::client::{Client, Invocation, Payload};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

/// Seconds in the tests of every day.
const SECONDS: u64 = 6;
/// How often an executor is killed.
const KILL_PAUSE: Duration = Duration::from_millis(250);
/// How often a workflow gets another quota, and other memory.
const QUOTA_PAUSE: Duration = Duration::from_millis(1500);
/// At every so manieth time a worker is killed and started again.
const ROUNDS: u64 = 3;
/// How long a server is stopped.
const STOP: Duration = Duration::from_millis(300);
/// In a thousand invocations: those whose client leaves before it has an answer.
const LEAVES: u32 = 100;

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

const WORKERS: [&str; 2] = ["a", "b"];

fn text_of(name: &str, nodes: &str, quota_mib: usize, memory_mib: usize) -> String {
    let retry =
        format!("retry: {{ attempts: 20 }}, resources: {{ memory_mib: {memory_mib}, scale: 2 }}");
    let nodes = nodes.replace("RETRY", &retry);
    format!(
        "workflow: {name}\ninput: {{ items: list }}\nstore: {{ quota_mib: {quota_mib} }}{nodes}"
    )
}

fn deploy(cluster: &Cluster, which: usize, quota_mib: usize, memory_mib: usize) {
    let (name, nodes) = WORKFLOWS[which];
    let pins: &[(&str, &str)] = match name {
        "across" => &[("make", "a"), ("pass", "b"), ("all", "a")],
        _ => &[],
    };
    cluster.deploy(&text_of(name, nodes, quota_mib, memory_mib), pins);
}

fn deploy_all(cluster: &Cluster) {
    for which in 0..WORKFLOWS.len() {
        deploy(cluster, which, 16, 48);
    }
}

/// What all threads share.
struct Scene {
    cluster: RwLock<Cluster>,
    deadline: Instant,
    /// How often a worker was killed, and how often one was back; equal while all are there.
    killed: AtomicU64,
    back: AtomicU64,
    /// Held by whoever needs all workers to be there.
    there: Mutex<()>,
    well: AtomicU64,
    lost: AtomicU64,
    left: AtomicU64,
}

impl Scene {
    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    fn deaths(&self) -> (u64, u64) {
        let load = |count: &AtomicU64| count.load(Ordering::SeqCst);
        (load(&self.back), load(&self.killed))
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// One client, until the time is up.
fn invoke_on(scene: &Scene, mut random: Random) {
    while !scene.is_over() {
        let (name, _) = WORKFLOWS[random.below(WORKFLOWS.len())];
        let length_max = [100, 10_000, 400_000, 3 << 20][random.below(4)];
        let items: Vec<(u32, usize)> = (0..random.below(30))
            .map(|_| (random.below(1 << 20) as u32, random.below(length_max)))
            .collect();
        let given = items.iter();
        let given = given.map(|(seed, length)| Some(format!("{seed} {length}").into_bytes()));
        let given = Payload::List(given.collect());
        let cluster = scene.cluster.read().expect("nobody panics with it");
        let (back, killed) = scene.deaths();
        if random.chance(LEAVES) {
            leave_soon(&cluster, name, given, &mut random);
            count(&scene.left);
            continue;
        }
        let answered = cluster.invoke("a", name, &[("items", given)]);
        let all_were_there = back == killed && scene.deaths() == (back, killed);
        let failure = match &answered {
            Ok(answered) => answered.result.as_ref().err().map(ToString::to_string),
            Err(error) => Some(error.to_string()),
        };
        if let Some(text) = failure {
            // Killed more often than it is tried, or its worker was, or that is linked a second time just after it is back.
            let known = ["signal 9", "connected anew"];
            let is_known = answered.is_ok() && known.iter().any(|word| text.contains(word));
            assert!(is_known || !all_were_there, "{name}: {text}");
            count(&scene.lost);
            continue;
        }
        let made = items.iter();
        let made: Vec<Vec<u8>> = made
            .map(|(seed, length)| pattern::bytes(*seed, *length))
            .collect();
        let expected = pattern::digest_items(made.iter().map(|item| Some(&item[..])));
        let answered = answered.expect("it is no failure");
        let Payload::Bytes(digest) = payload(&answered, "digest") else {
            panic!("a digest is bytes");
        };
        assert_eq!(String::from_utf8_lossy(digest), expected, "{name}");
        count(&scene.well);
    }
}

/// A client that goes before it has an answer.
fn leave_soon(cluster: &Cluster, workflow: &str, items: Payload, random: &mut Random) {
    let inputs = [("items".to_owned(), items)];
    let invocation = Invocation {
        workflow,
        inputs: &inputs,
        report: false,
        trace: false,
    };
    // The worker may be gone.
    let client = Client::connect(cluster.worker("a").address(), &cluster.options());
    let Ok(mut client) = client else { return };
    if client.start(&invocation).is_ok() {
        std::thread::sleep(Duration::from_millis(random.below(30) as u64));
    }
}

/// Kills an executor now and then.
fn kill_executors(scene: &Scene) {
    let mut random = Random::new(9);
    while !scene.is_over() {
        std::thread::sleep(KILL_PAUSE);
        let _there = scene.there.lock().expect("nobody panics with it");
        let cluster = scene.cluster.read().expect("nobody panics with it");
        let executors = cluster.executors(WORKERS[random.below(2)]);
        if !executors.is_empty() {
            let pid = executors[random.below(executors.len())];
            // It may have ended since.
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
    }
}

/// Kills a worker in the middle of what it does, and starts it again.
fn kill_worker(scene: &Scene, name: &str) {
    let _there = scene.there.lock().expect("nobody panics with it");
    {
        let cluster = scene.cluster.read().expect("nobody panics with it");
        count(&scene.killed);
        let pid = Pid::from_raw(cluster.worker(name).pid().cast_signed());
        kill(pid, Signal::SIGKILL).expect("it runs");
    }
    // As soon as all clients have been told.
    let mut cluster = scene.cluster.write().expect("nobody panics with it");
    let _ = cluster.worker_mut(name).end_by(Signal::SIGKILL);
    cluster.restart(name);
    deploy_all(&cluster);
    until("the workers are linked again", || is_linked(&cluster));
    count(&scene.back);
}

fn is_linked(cluster: &Cluster) -> Option<()> {
    let linked = |worker: &&str| cluster.counter(worker, "links") == 2;
    WORKERS.iter().all(linked).then_some(())
}

/// Segments of which a process has the descriptor.
fn segments_of(pid: u32) -> usize {
    let all = descriptor_targets(pid);
    all.iter().filter(|to| to.starts_with("/memfd:")).count()
}

#[test]
fn whatever_happens_payloads_are_what_was_written_and_nothing_is_left() {
    torture(Setup::workers(&WORKERS), None);
}

#[test]
fn so_it_is_with_lent_memory_and_a_server_in_place_of_a_disk() {
    let name = "so_it_is_with_lent_memory_and_a_server_in_place_of_a_disk";
    let Some(server) = Server::start_persistent(name) else {
        return;
    };
    let store = format!("--store={}", server.url());
    let setup = Setup::workers(&WORKERS).sharing(&[]);
    let setup = setup.flag_of("b", "--spill-max=0").flag_of("b", &store);
    torture(setup, Some(server));
}

#[expect(
    clippy::print_stdout,
    reason = "whoever runs it for long wants to know what was done"
)]
fn torture(setup: Setup, mut server: Option<Server>) {
    let seconds = std::env::var("FAASFLOW_TORTURE_S").ok();
    let seconds = seconds.map_or(SECONDS, |text| text.parse().expect("a number of seconds"));
    let cluster = setup.flag("--lanes=1").start();
    // Links between workers stay once they are there.
    deploy(&cluster, 2, 16, 48);
    until("the workers are linked", || is_linked(&cluster));
    cluster.undeploy("across");
    let at_first = WORKERS.map(|worker| {
        until(&format!("worker {worker} holds nothing"), || {
            let status = cluster.status(worker);
            let is_empty = status.deployments.is_empty() && status.memory.segments == 0;
            is_empty.then(|| (status.descriptors, segments_of(status.pid)))
        })
    });
    deploy_all(&cluster);
    let scene = Scene {
        cluster: RwLock::new(cluster),
        deadline: Instant::now() + Duration::from_secs(seconds),
        killed: AtomicU64::new(0),
        back: AtomicU64::new(0),
        there: Mutex::new(()),
        well: AtomicU64::new(0),
        lost: AtomicU64::new(0),
        left: AtomicU64::new(0),
    };
    let mut done = Done::default();
    std::thread::scope(|scope| {
        for seed in 2..5 {
            let scene = &scene;
            scope.spawn(move || invoke_on(scene, Random::new(seed)));
        }
        scope.spawn(|| kill_executors(&scene));
        let mut random = Random::new(1);
        for round in 1.. {
            if scene.is_over() {
                break;
            }
            std::thread::sleep(QUOTA_PAUSE);
            if round % ROUNDS == 0 {
                done.add(&scene.cluster.read().expect("nobody panics with it"));
                kill_worker(&scene, WORKERS[random.below(2)]);
            } else {
                let cluster = scene.cluster.read().expect("nobody panics with it");
                let which = random.below(WORKFLOWS.len());
                deploy(
                    &cluster,
                    which,
                    random.between(2, 60),
                    random.between(24, 64),
                );
                drop(cluster);
                if let Some(server) = &mut server {
                    disturb(server, round);
                }
            }
        }
    });
    let cluster = scene.cluster.into_inner().expect("nobody panics with it");
    done.add(&cluster);
    let [well, lost, left, killed] =
        [scene.well, scene.lost, scene.left, scene.killed].map(AtomicU64::into_inner);
    println!(
        "{well} invocations ended well, {lost} did not, {left} were left; {done:?}, {killed} workers killed"
    );
    assert!(well > lost, "{well} {lost}");
    assert!(done.spilled > 0, "nothing was spilled");
    let lends = server.is_some();
    assert_eq!(done.remote > 0, lends, "{done:?}");
    assert_eq!(done.lent > 0, lends, "{done:?}");
    assert!(killed > 0, "no worker was killed");
    for (name, _) in WORKFLOWS {
        cluster.undeploy(name);
    }
    for (worker, (descriptors, segments)) in WORKERS.into_iter().zip(at_first) {
        until(&format!("worker {worker} holds nothing"), || {
            let status = cluster.status(worker);
            let gone = status.workflows.is_empty()
                && status.deployments.is_empty()
                && status.memory.reserved_bytes == 0
                && status.memory.segments == 0
                && status.descriptors <= descriptors + BUFFERS
                && segments_of(status.pid) <= segments + BUFFERS as usize;
            gone.then_some(())
        });
    }
    if let Some(server) = server {
        // What lay there when a worker was killed, or was being put when it was itself.
        until("nothing lies in the server for ever", || {
            (server.keys_for_ever()? == ":0").then_some(())
        });
    }
}

/// A server is stopped for a while, or killed: it has on its disk what it has answered.
fn disturb(server: &mut Server, round: u64) {
    if round.is_multiple_of(2) {
        server.restart();
    } else {
        server.stop();
        std::thread::sleep(STOP);
        server.go_on();
    }
}

/// What workers have done with payloads.
#[derive(Default, Debug)]
struct Done {
    spilled: u64,
    /// To a server.
    remote: u64,
    /// To another worker.
    lent: u64,
}

impl Done {
    /// What the lives of these workers have added to it.
    fn add(&mut self, cluster: &Cluster) {
        for worker in WORKERS {
            for workflow in cluster.status(worker).workflows {
                self.spilled += workflow.spilled;
                self.remote += workflow.stored;
            }
            self.lent += cluster.counter(worker, "loans_out");
        }
    }
}
