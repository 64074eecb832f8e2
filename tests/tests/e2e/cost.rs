//! What the runtime costs where it is to cost nothing: no system call per hop of a warm spinning chain, and no CPU time
//! while nothing happens. Counts of the kernel's, never times of a clock.

use bench::process::{Strace, StraceError, Switches};
use engine::status::Driver;
use engine::worker::host;
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::process::{cpu_ticks, until};
use faasflow_tests::skip::skip;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Hops of one invocation: so many that the few system calls by which a client is answered, some six, are well below one
/// for every hundred.
const HOPS: u64 = 2000;
/// Invocations that are counted, after as many that warm up.
const INVOCATIONS: u64 = 10;
/// Invocations that are in flight together where there is to be no pause.
const IN_FLIGHT: u64 = 4;
/// Invocations that are counted while strace is attached.
const INVOCATIONS_STRACED: u64 = 50;
/// Times that are counted before there are too many of them.
const ATTEMPTS: usize = 5;
/// One system call may be made for every so many hops.
const HOPS_PER_SYSTEM_CALL: u64 = 100;
/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(10);
/// What a process may use meanwhile, in ticks of 10 ms: a hundredth of the time, on however slow a machine.
const IDLE_TICKS_MAX: u64 = 10;
/// How often all threads of a process together may wake meanwhile. Heartbeats make some forty; looking a hundred times a
/// second would make a thousand.
const IDLE_WAKES_MAX: u64 = 200;

/// A chain of so many hops, each from a function of one executor to the next.
fn chain(hops: u64) -> String {
    let mut text = "workflow: chain\ninput: { in: bytes }\nnodes:\n".to_owned();
    let mut source = "input.in".to_owned();
    for node in 0..=hops {
        let _ = writeln!(
            text,
            "  hop{node}: {{ function: test-functions:echo, input: {{ in: {source} }}, output: {{ out: bytes }} }}"
        ); // a String takes anything
        source = format!("hop{node}.out");
    }
    let _ = writeln!(text, "output: {{ out: {source} }}");
    text
}

fn invoke(cluster: &Cluster, invocations: u64) {
    let mut client = cluster.client("a");
    let inputs = [("in".to_owned(), bytes("payload"))];
    for _ in 0..invocations {
        let invocation = master::client::Invocation {
            workflow: "chain",
            inputs: &inputs,
            report: false,
            trace: false,
        };
        let answered = client.invoke(&invocation).expect("the worker answers");
        assert_eq!(output(&answered, "out"), b"payload");
    }
}

#[test]
fn a_warm_spinning_chain_makes_no_system_call_per_hop() {
    let this = "a_warm_spinning_chain_makes_no_system_call_per_hop";
    let Err(error) = engine::lane::driver::Driver::probe() else {
        return spinning_chain(this, Driver::IoUring, "--driver=io-uring");
    };
    skip(this, &error.to_string());
}

#[test]
fn a_warm_spinning_chain_makes_no_system_call_per_hop_on_epoll() {
    let this = "a_warm_spinning_chain_makes_no_system_call_per_hop_on_epoll";
    spinning_chain(this, Driver::Epoll, "--driver=epoll");
}

/// Two of these would take each other's CPUs.
static ALONE: Mutex<()> = Mutex::new(());

/// The test `this`, on one driver, whichever the rest of the suite runs on.
fn spinning_chain(this: &str, driver: Driver, flag: &str) {
    if host::allowed_cpus().len() < 2 {
        return skip(this, "a lane and an executor that spin need two CPUs");
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = Setup::workers(&["a"])
        .flag("--wait=spin")
        .flag("--executors=spread")
        .flag(flag)
        .start();
    assert_eq!(cluster.status("a").driver.kind, driver);
    cluster.deploy(&chain(HOPS), &[]);
    invoke(&cluster, INVOCATIONS);
    // Of a lane that idles, on epoll, the looks at its sockets are counted too; then only what is counted amid hops is of use.
    if driver == Driver::IoUring {
        by_the_lane(&cluster);
    }
    by_strace(this, &cluster);
}

/// A lane counts what its driver does.
fn by_the_lane(cluster: &Cluster) {
    // It shows its counters a moment after it has answered.
    let _ = cluster.settled("a");
    let triggers = || cluster.counter("a", "triggers");
    let system_calls = || cluster.counter("a", "system_calls");
    let before = (triggers(), system_calls());
    invoke(cluster, INVOCATIONS);
    let _ = cluster.settled("a");
    let (triggers, made) = (triggers() - before.0, system_calls() - before.1);
    assert_eq!(triggers, INVOCATIONS * (HOPS + 1));
    let allowed = INVOCATIONS * HOPS / HOPS_PER_SYSTEM_CALL;
    assert!(
        made <= allowed,
        "the lane counted {made} system calls, of which {allowed} are allowed"
    );
}

/// What strace counts is no more than is allowed, at least once: a lane whose executor has lost its CPU to somebody else idles, and looks
/// at its sockets.
fn by_strace(this: &str, cluster: &Cluster) {
    let mut counts = Vec::new();
    while counts.len() < ATTEMPTS {
        match counted_by_strace(cluster) {
            Ok((made, allowed)) if made <= allowed => return,
            Ok(counted) => counts.push(counted),
            Err(error) => return skip(&format!("{this}, by strace"), &error.to_string()),
        }
    }
    panic!("strace counted system calls, each time more than are allowed: {counts:?}");
}

/// Counts what anyone does in these processes while one invocation follows another without a pause, and how many calls are allowed.
fn counted_by_strace(cluster: &Cluster) -> Result<(u64, u64), StraceError> {
    let processes = [&[cluster.worker("a").pid()][..], &cluster.executors("a")].concat();
    let (answered, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    let counted = std::thread::scope(|scope| {
        let _end = Enough(&enough);
        scope.spawn(|| stream(cluster, &answered, &enough));
        let wait_for = |count: u64| {
            until("invocations are answered", || {
                (answered.load(Relaxed) >= count).then_some(())
            });
        };
        wait_for(IN_FLIGHT);
        Strace::attach(&processes).map(|strace| {
            let before = answered.load(Relaxed);
            wait_for(before + INVOCATIONS_STRACED);
            let hops = (answered.load(Relaxed) - before) * HOPS;
            (strace.finish().expect("strace says what it counted"), hops)
        })
    });
    counted.map(|(made, hops)| (made, hops / HOPS_PER_SYSTEM_CALL))
}

/// Says that it is enough, also where a test fails: nobody would ever join the thread otherwise.
struct Enough<'a>(&'a AtomicBool);

impl Drop for Enough<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Keeps invocations in flight until it is enough, and counts those that were answered.
fn stream(cluster: &Cluster, answered: &AtomicU64, enough: &AtomicBool) {
    let mut client = cluster.client("a");
    let inputs = [("in".to_owned(), bytes("payload"))];
    let invocation = master::client::Invocation {
        workflow: "chain",
        inputs: &inputs,
        report: false,
        trace: false,
    };
    let mut in_flight = 0;
    while in_flight > 0 || !enough.load(Relaxed) {
        if in_flight < IN_FLIGHT && !enough.load(Relaxed) {
            client.start(&invocation).expect("the worker takes it");
            in_flight += 1;
        } else {
            let answer = client.next_answer().expect("the worker answers");
            assert_eq!(output(&answer, "out"), b"payload");
            answered.fetch_add(1, Relaxed);
            in_flight -= 1;
        }
    }
}

/// CPU time and wakes of all processes of a cluster in which nothing happens.
fn uses_no_cpu_time(cluster: &Cluster) {
    let mut processes = Vec::new();
    for worker in cluster.workers() {
        let _ = cluster.settled(worker.name());
        let executors = cluster.executors(worker.name());
        assert!(!executors.is_empty(), "an executor is there, and warm");
        processes.push(worker.pid());
        processes.extend(executors);
    }
    let used = || {
        let wakes = |pid| Switches::of(pid).expect("the process is there").voluntary;
        let all = processes.iter().map(|pid| (cpu_ticks(*pid), wakes(*pid)));
        all.collect::<Vec<_>>()
    };
    let before = used();
    assert!(!cluster.workers()[0].watched().ends_within(IDLE));
    for ((pid, after), before) in processes.iter().zip(used()).zip(before) {
        let (ticks, wakes) = (after.0 - before.0, after.1 - before.1);
        assert!(
            ticks <= IDLE_TICKS_MAX && wakes <= IDLE_WAKES_MAX,
            "{pid} used {ticks} ticks in {IDLE:?}, and woke {wakes} times"
        );
    }
}

#[test]
fn an_idle_adaptive_worker_and_its_warm_executors_use_no_cpu_time() {
    let cluster = Setup::workers(&["a"]).flag("--wait=adaptive").start();
    cluster.deploy(&chain(3), &[]);
    invoke(&cluster, 3);
    uses_no_cpu_time(&cluster);
}

#[test]
fn idle_linked_workers_use_no_cpu_time_for_their_heartbeats() {
    let cluster = Setup::workers(&["a", "b"]).flag("--wait=adaptive").start();
    cluster.deploy(
        &chain(3),
        &[("hop0", "a"), ("hop1", "b"), ("hop2", "a"), ("hop3", "b")],
    );
    invoke(&cluster, 3);
    let before = cluster.counter("a", "heartbeats_sent");
    uses_no_cpu_time(&cluster);
    let sent = cluster.counter("a", "heartbeats_sent") - before;
    assert!(sent >= 10, "they were idle, not deaf: {sent} heartbeats");
}

/// What comes next is prepared while a function runs, behind a switch too, and handed over as soon as that has returned.
#[test]
fn what_comes_next_is_handed_over_before_the_core_has_ordered_it() {
    const NODES: u64 = 20;
    const TIMES: u64 = 5;
    let this = "what_comes_next_is_handed_over_before_the_core_has_ordered_it";
    if host::allowed_cpus().len() < 2 {
        return skip(this, "a lane and an executor that spin need two CPUs");
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // On one CPU an executor that is woken has returned before its lane goes on.
    let cluster = Setup::workers(&["a"])
        .flag("--wait=spin")
        .flag("--executors=spread")
        .start();
    for switched in [false, true] {
        let mut text = "workflow: chain\nconstants: { length: 3 }\nnodes:\n".to_owned();
        for node in 0..NODES {
            let before = node.checked_sub(1);
            let after = before.map_or(String::new(), |before| format!(", after: n{before}"));
            let _ = writeln!(
                text,
                "  n{node}: {{ function: test-functions:make_value, input: {{ length: constant.length }}, output: {{ text: value }}{after} }}"
            ); // a String takes anything
            if let Some(before) = before.filter(|_| switched) {
                let _ = writeln!(
                    text,
                    "  s{before}: {{ switch: [ {{ when: n{before}.text == 'a', then: n{node} }} ] }}"
                );
            }
        }
        cluster.deploy(&text, &[]);
        let handed_over = || cluster.counter("a", "starts_ahead");
        let before = handed_over();
        for _ in 0..TIMES {
            let answered = cluster.invoke("a", "chain", &[]);
            let _ = answered.expect("the worker answers");
        }
        // Whatever else happens in a lane voids what was prepared. It shows its counters a moment later.
        until("a quarter of them at least were handed over", || {
            (4 * (handed_over() - before) >= TIMES * (NODES - 1)).then_some(())
        });
    }
}
