//! What nobody can keep for ever: payloads, by an activation that does not end, and memory that has gone, by an executor that
//! does not let go of it.

use engine::wire::Failure;
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::gate::{Gate, Verdict};
use faasflow_tests::pattern;
use faasflow_tests::process::until;
use master::client::{Answered, Client, Invocation};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const HELD: &str = "
workflow: held
input: { gate: bytes, data: bytes }
nodes:
  holds:
    function: test-functions:gate
    input: { gate: input.gate, data: input.data }
    output: { out: bytes }
    retry: { attempts: 2, on: timeout }
    catch: { on: timeout, to: takes }
  takes: { compute: { out: what }, input: { what: holds.error } }
output:
  out: { from: holds.out, optional: true }
  taken: { from: takes.out, optional: true }
";

fn start(cluster: &Cluster, gate: &Gate) -> Client {
    let inputs = [
        ("gate", bytes(gate.input())),
        ("data", bytes(pattern::bytes(1, 100_000))),
    ];
    let inputs = faasflow_tests::cluster::named(&inputs);
    let invocation = Invocation {
        workflow: "held",
        inputs: &inputs,
        report: false,
        trace: false,
    };
    let mut client = cluster.client("a");
    client.start(&invocation).expect("the worker takes it");
    client
}

fn answer(client: &mut Client) -> Answered {
    client.next_answer().expect("the worker answers")
}

/// Neither the function nor the workflow says how long it may take.
#[test]
fn what_holds_payloads_without_an_end_is_ended_by_its_worker_and_they_come_back() {
    let setup = Setup::workers(&["a"]).flag("--lease-max-ms=300");
    let cluster = setup.flag("--grace-ms=300").start();
    cluster.deploy(HELD, &[]);
    let gate = Gate::new(cluster.folder(), "gate");
    let mut client = start(&cluster, &gate);
    // The first attempt does as it is told, the second does not even look.
    let held = gate.next();
    assert_eq!(held.attempt, 1);
    let obedient = held.pid;
    held.tell(Verdict::Heed);
    let held = gate.next();
    assert_eq!((held.attempt, held.pid), (2, obedient), "it has come back");
    let hanging = held.pid;
    held.tell(Verdict::Hang);
    let answered = answer(&mut client);
    let taken = String::from_utf8_lossy(output(&answered, "taken")).into_owned();
    for says in [
        "\"class\":\"timeout\"",
        "it has held what it reads for 300 ms, the most that worker a allows",
        "--lease-max-ms",
        "it has not come back within the grace period",
        "\"attempt\":2",
    ] {
        assert!(taken.contains(says), "{says}: {taken}");
    }
    let counter = |name| cluster.counter("a", name);
    assert_eq!((counter("leases_expired"), counter("timeouts")), (2, 0));
    assert_eq!((counter("told_returned"), counter("told_killed")), (1, 1));
    until("the one that hangs is gone", || {
        (!cluster.executors("a").contains(&hanging)).then_some(())
    });
    drop(client);
    let _ = cluster.settled("a");
    let [held] = &cluster.status("a").workflows[..] else {
        panic!("one workflow");
    };
    assert_eq!((held.leases, held.leased_bytes), (0, 0));
}

#[test]
fn who_is_done_before_that_is_not_disturbed() {
    let cluster = Setup::workers(&["a"]).flag("--lease-max-ms=60000").start();
    cluster.deploy(HELD, &[]);
    let gate = Gate::new(cluster.folder(), "gate");
    let mut client = start(&cluster, &gate);
    gate.next().tell(Verdict::Pass);
    assert_eq!(output(&answer(&mut client), "out"), b"attempt 1");
    assert_eq!(cluster.counter("a", "activations_told"), 0);
}

/// Payloads of other lengths each time, so that the segments of the ones before are given back.
fn keeps(executable: &str, trust: &str) -> String {
    format!(
        "
workflow: keeps
input: {{ data: bytes }}
nodes:
  reads:
    function: {executable}
    input: {{ in: input.data }}
    output: {{ out: bytes }}
    trust: {trust}
    resources: {{ memory_mib: 8 }}
output: {{ out: reads.out }}
"
    )
}

#[track_caller]
fn invoke(cluster: &Cluster, mebibytes: usize) -> String {
    let data = pattern::bytes(3, mebibytes << 20);
    let answered = cluster.invoke("a", "keeps", &[("data", bytes(data))]);
    let answered = answered.expect("the worker answers");
    match &answered.result {
        Ok(_) => String::from_utf8_lossy(output(&answered, "out")).into_owned(),
        Err(Failure::Node { cause, .. }) => panic!("{cause}"),
        Err(other) => panic!("{other:?}"),
    }
}

/// Memory of the lane that a process has mapped, in segments.
fn maps(pid: u32) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    maps.lines()
        .filter(|line| line.contains("memfd:lane-"))
        .count()
}

#[test]
fn somebody_else_s_executor_that_may_have_kept_what_has_gone_is_replaced_and_it_is_gone() {
    let cluster = Setup::workers(&["a"]).memory("256MiB").start();
    cluster.deploy(&keeps("rogue-functions:keep", "other"), &[]);
    let first: u32 = invoke(&cluster, 20).parse().expect("a process");
    assert!(maps(first) >= 2, "it keeps what it was given");
    // The idle lane gives the segment back, and does not believe that the executor has let go of it.
    until("it is replaced", || {
        (cluster.counter("a", "executors_replaced") == 1).then_some(())
    });
    until("its process has gone, and all that it kept", || {
        (!std::path::Path::new(&format!("/proc/{first}")).exists()).then_some(())
    });
    let next: u32 = invoke(&cluster, 1).parse().expect("a process");
    assert_ne!(next, first);
    assert_eq!(cluster.counter("a", "executor_deaths"), 0);
}

#[test]
fn an_executor_that_lets_go_is_kept_however_much_it_has_read() {
    let cluster = Setup::workers(&["a"]).memory("256MiB").start();
    cluster.deploy(&keeps("test-functions:digest", "own"), &[]);
    let [before] = cluster.executors("a")[..] else {
        panic!("one executor");
    };
    for mebibytes in [20, 30, 40, 50] {
        let _ = invoke(&cluster, mebibytes);
    }
    until(
        "the lane has given its memory back, and knows that it is",
        || {
            let status = cluster.status("a");
            let [workflow] = &status.workflows[..] else {
                return None;
            };
            (workflow.held_bytes <= 12 << 20 && workflow.pinned_bytes == 0).then_some(())
        },
    );
    assert_eq!(cluster.executors("a"), [before]);
    assert_eq!(cluster.counter("a", "executors_replaced"), 0);
}

#[test]
fn an_idle_executor_that_does_not_read_what_it_is_told_is_replaced() {
    let cluster = Setup::workers(&["a"]).memory("256MiB").start();
    cluster.deploy(&keeps("test-functions:digest", "own"), &[]);
    let [deaf] = cluster.executors("a")[..] else {
        panic!("one executor");
    };
    let _ = invoke(&cluster, 20);
    kill(Pid::from_raw(deaf as i32), Signal::SIGSTOP).expect("it is there");
    until(
        "it is replaced, and killed, since it does not read that either",
        || {
            (cluster.counter("a", "executors_replaced") == 1
                && !cluster.executors("a").contains(&deaf))
            .then_some(())
        },
    );
    assert_eq!(maps(deaf), 0);
    let _ = invoke(&cluster, 1);
}
