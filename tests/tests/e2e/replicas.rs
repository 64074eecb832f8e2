//! Deployments in several placements, on real workers: invocations are divided among them, a worker that dies takes only
//! those placements along that need it, and what is deployed anew or taken away loses nothing.

use engine::plan::Balance;
use engine::status::DeploymentState;
use engine::wire::Failure;
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::gate::{Gate, Verdict};
use faasflow_tests::process::until;
use master::client::{Answered, Client, Invocation};
use master::deploy::DeployError;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// One node, which says on which worker it has run.
const LINGERS: &str = "
workflow: lingers
input: { time: bytes }
nodes:
  lingers: { function: test-functions:linger, input: { in: input.time }, output: { out: bytes },
             resources: { memory_mib: 16 } }
output: { out: lingers.out }
";

/// Two nodes, of which the second runs on another worker than the first if they are pinned so.
fn shouting(function: &str) -> String {
    format!(
        "
workflow: shout
input: {{ text: bytes }}
nodes:
  near: {{ function: \"test-functions:{function}\", input: {{ in: input.text }}, output: {{ out: bytes }},
           resources: {{ memory_mib: 16 }} }}
  far: {{ function: test-functions:echo, input: {{ in: near.out }}, output: {{ out: bytes }},
          resources: {{ memory_mib: 16 }} }}
output: {{ out: far.out }}
"
    )
}

const GATED: &str = "
workflow: gated
input: { gate: bytes }
nodes:
  held: { function: test-functions:gate, input: { gate: input.gate }, output: { out: bytes },
          resources: { memory_mib: 16 } }
output: { out: held.out }
";

fn ask(client: &mut Client, workflow: &str, input: &str, text: &str) -> Answered {
    let inputs = [(input.to_owned(), bytes(text))];
    let invocation = Invocation {
        workflow,
        inputs: &inputs,
        report: false,
        trace: false,
    };
    client.invoke(&invocation).expect("the worker answers")
}

/// On which worker it has run.
fn worker_of(answered: &Answered) -> String {
    String::from_utf8_lossy(output(answered, "out")).into_owned()
}

/// On which workers so many invocations have run, one after the other.
fn run_on(client: &mut Client, count: usize) -> Vec<String> {
    let ask = |_| worker_of(&ask(client, "lingers", "time", "0"));
    (0..count).map(ask).collect()
}

/// How many of them were on that worker.
fn share(of: &[String], worker: &str) -> usize {
    of.iter().filter(|name| *name == worker).count()
}

/// Twenty invocations were divided among `a` and `b`: by load, when each heard of the other decides how.
#[track_caller]
fn assert_divided(balance: Balance, ran: &[String]) {
    let at_a = share(ran, "a");
    match balance {
        Balance::RoundRobin => assert_eq!(at_a, 10),
        Balance::Load => assert!((5..=15).contains(&at_a), "{at_a} of 20 ran on a"),
    }
}

#[test]
fn placements_in_turn_get_as_many_invocations_each_and_status_shows_them() {
    let cluster = Setup::workers(&["a", "b"]).start();
    let file = cluster.file("lingers.yaml", LINGERS);
    let workers = cluster.addresses().join(",");
    let deploy = ["deploy", &file, "--workers", &workers, "--replicas", "2"];
    let deployed = cluster.faasflow(&deploy).ok().text();
    assert!(
        deployed.contains("lingers version 1 is deployed in 2 placements, chosen in turn"),
        "{deployed}"
    );
    for door in ["a", "b"] {
        let ran = run_on(&mut cluster.client(door), 40);
        assert_eq!((share(&ran, "a"), share(&ran, "b")), (20, 20), "at {door}");
    }
    let status = ["status", "--workers", &workers];
    let status = cluster.faasflow(&status).ok().text();
    for placement in ["1 of 2, in turn", "2 of 2, in turn"] {
        assert_eq!(
            status.matches(placement).count(),
            2,
            "at each worker: {status}"
        );
    }
    for worker in ["a", "b"] {
        let deployments = cluster.status(worker).deployments;
        let seen = deployments
            .iter()
            .map(|d| (d.version, d.replica, d.replicas, d.state));
        let active = DeploymentState::Active;
        assert_eq!(
            seen.collect::<Vec<_>>(),
            [(1, 1, 2, active), (1, 2, 2, active)]
        );
        let nodes: u32 = deployments.iter().map(|deployment| deployment.nodes).sum();
        assert_eq!(nodes, 1, "the placements are rotated");
    }
}

/// What each of four clients, that ask again as soon as they have an answer, has seen of a workflow that takes ten times as
/// long on `b`: the workers, and how long it took.
fn under_load(cluster: &Cluster, count: usize) -> (Vec<String>, Vec<Duration>) {
    let begun = AtomicUsize::new(0);
    let load = || {
        let mut client = cluster.client("a");
        let mut seen = Vec::new();
        while begun.fetch_add(1, Ordering::Relaxed) < count {
            let asked = Instant::now();
            let answered = ask(&mut client, "lingers", "time", "3000 b");
            seen.push((worker_of(&answered), asked.elapsed()));
        }
        seen
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
        let seen = clients
            .into_iter()
            .flat_map(|client| client.join().expect("all end well"));
        seen.unzip()
    })
}

#[test]
fn by_load_most_invocations_go_where_they_end_soonest_and_the_slowest_come_sooner_than_in_turn() {
    let cluster = Setup::workers(&["a", "b"]).start();
    let mut slowest = Vec::new();
    for balance in [Balance::RoundRobin, Balance::Load] {
        cluster
            .deploy_replicas(LINGERS, 2, balance)
            .expect("it is accepted");
        let (ran, mut took) = under_load(&cluster, 120);
        let slow = share(&ran, "b");
        match balance {
            Balance::RoundRobin => assert_eq!(slow, 60),
            Balance::Load => assert!(slow * 4 < 120, "{slow} of 120 were slow"),
        }
        took.sort_unstable();
        slowest.push(took[took.len() * 99 / 100]);
    }
    assert!(slowest[1] * 4 < slowest[0] * 3, "{slowest:?}");
    assert_eq!(cluster.counter("a", "invocations_failed"), 0);
}

#[test]
fn what_runs_on_a_worker_that_dies_fails_by_its_name_and_all_later_invocations_go_elsewhere() {
    let mut cluster = Setup::workers(&["a", "b"]).start();
    cluster
        .deploy_replicas(GATED, 2, Balance::RoundRobin)
        .expect("it is accepted");
    let gate = Gate::new(cluster.folder(), "gate");
    let mut client = cluster.client("a");
    let inputs = [("gate".to_owned(), bytes(gate.input()))];
    let invocation = Invocation {
        workflow: "gated",
        inputs: &inputs,
        report: false,
        trace: false,
    };
    let held: Vec<_> = (0..2)
        .map(|_| {
            client.start(&invocation).expect("the worker takes it");
            gate.next()
        })
        .collect();
    assert_eq!(cluster.worker_mut("b").end_by(Signal::SIGKILL), None);
    let lost = client.next_answer().expect("the other worker answers");
    assert!(
        matches!(&lost.result, Err(Failure::Worker { worker, .. }) if worker == "b"),
        "{lost:?}"
    );
    let on_a = held.into_iter().find(|held| held.worker == "a");
    on_a.expect("one of two is there").tell(Verdict::Pass);
    let answered = client.next_answer().expect("the worker answers");
    assert_eq!(output(&answered, "out"), b"attempt 1");
    for _ in 0..10 {
        client.start(&invocation).expect("the worker takes it");
        let held = gate.next();
        assert_eq!(held.worker, "a");
        held.tell(Verdict::Pass);
        let answered = client.next_answer().expect("the worker answers");
        assert_eq!(output(&answered, "out"), b"attempt 1");
    }
    assert_eq!(cluster.counter("a", "invocations_refused"), 0);
    assert_eq!(cluster.counter("a", "invocations_failed"), 1);
}

#[test]
fn a_worker_that_is_killed_under_load_costs_each_client_one_invocation_at_most() {
    for balance in [Balance::RoundRobin, Balance::Load] {
        let mut cluster = Setup::workers(&["a", "b"]).start();
        cluster
            .deploy_replicas(LINGERS, 2, balance)
            .expect("it is accepted");
        let (died, done) = (AtomicUsize::new(0), AtomicBool::new(false));
        let victim = Pid::from_raw(cluster.worker("b").pid() as i32);
        std::thread::scope(|scope| {
            let load = || {
                let mut client = cluster.client("a");
                let (mut lost, mut later) = (0, 0);
                while !done.load(Ordering::Relaxed) || later < 20 {
                    let answered = ask(&mut client, "lingers", "time", "500");
                    match &answered.result {
                        Ok(_) if died.load(Ordering::Relaxed) > 0 => later += 1,
                        Ok(_) => {}
                        Err(Failure::Worker { worker, .. }) => {
                            assert_eq!(worker, "b");
                            died.fetch_add(1, Ordering::Relaxed);
                            lost += 1;
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
                lost
            };
            let clients: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
            until("both placements are used", || {
                (cluster.counter("b", "activations") > 20).then_some(())
            });
            kill(victim, Signal::SIGKILL).expect("it is there");
            until("its loss is known", || {
                (cluster.counter("a", "placements_passed") > 20).then_some(())
            });
            died.fetch_add(1, Ordering::Relaxed);
            done.store(true, Ordering::Relaxed);
            for client in clients {
                let lost = client.join().expect("nothing else goes wrong");
                assert!(lost <= 1, "{lost} were lost");
            }
        });
        assert_eq!(cluster.counter("a", "invocations_refused"), 0);
        // It is started again, without what it had: nothing is given to it, and nothing lost, until it has the workflow again.
        let _ = cluster.worker_mut("b").end_by(Signal::SIGKILL);
        cluster.restart("b");
        until("it is linked again", || {
            (cluster.counter("a", "links_remade") > 0).then_some(())
        });
        let mut client = cluster.client("a");
        assert_eq!(share(&run_on(&mut client, 20), "a"), 20);
        cluster
            .deploy_replicas(LINGERS, 2, balance)
            .expect("it is accepted");
        assert_divided(balance, &run_on(&mut client, 20));
    }
}

#[test]
fn a_worker_that_was_silent_is_used_again_when_it_goes_on() {
    let cluster = Setup::workers(&["a", "b"])
        .flag("--heartbeat-ms=50")
        .flag("--peer-silence-ms=2000")
        .start();
    cluster
        .deploy_replicas(LINGERS, 2, Balance::Load)
        .expect("it is accepted");
    let mut client = cluster.client("a");
    assert_divided(Balance::Load, &run_on(&mut client, 20));
    let stopped = Pid::from_raw(cluster.worker("b").pid() as i32);
    kill(stopped, Signal::SIGSTOP).expect("it is there");
    until("it is suspected", || {
        (cluster.counter("a", "peers_suspected") > 0).then_some(())
    });
    assert_eq!(share(&run_on(&mut client, 20), "a"), 20);
    kill(stopped, Signal::SIGCONT).expect("it is there");
    until("it is used again", || {
        (share(&run_on(&mut client, 4), "b") > 0).then_some(())
    });
    assert_eq!(cluster.counter("a", "invocations_refused"), 0);
    assert_eq!(cluster.counter("a", "invocations_failed"), 0);
}

#[test]
fn no_invocation_is_lost_while_deployments_with_several_placements_change_under_load() {
    let cluster = Setup::workers(&["a", "b"]).start();
    let deploy = |round: usize| {
        let (count, balance) = [
            (2, Balance::RoundRobin),
            (1, Balance::Load),
            (2, Balance::Load),
        ][round % 3];
        let function = ["upper", "echo"][round % 2];
        cluster
            .deploy_replicas(&shouting(function), count, balance)
            .expect("it is accepted");
    };
    deploy(0);
    let gone = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let loads = ["a", "b"].map(|worker| {
            let (cluster, gone) = (&cluster, &gone);
            scope.spawn(move || {
                let mut client = cluster.client(worker);
                let mut ended = 0_u32;
                loop {
                    let answered = ask(&mut client, "shout", "text", "text");
                    match &answered.result {
                        Ok(_) => {
                            let out = output(&answered, "out");
                            assert!([&b"TEXT"[..], b"text"].contains(&out), "{out:?}");
                            ended += 1;
                        }
                        Err(Failure::Refused { reason, .. }) => {
                            assert!(reason.contains("no workflow named `shout`"), "{reason}");
                            assert!(gone.load(Ordering::Relaxed), "{reason}");
                            return ended;
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
            })
        });
        (1..7).for_each(deploy);
        gone.store(true, Ordering::Relaxed);
        cluster.undeploy("shout");
        for load in loads {
            assert!(load.join().expect("every invocation ends well") > 0);
        }
    });
    for worker in ["a", "b"] {
        assert_eq!(cluster.counter(worker, "invocations_failed"), 0);
        until("nothing of any version is left", || {
            cluster.status(worker).deployments.is_empty().then_some(())
        });
        let holdings = cluster.settled(worker);
        assert_eq!((holdings.executors, holdings.reserved_bytes), (0, 0));
    }
}

#[test]
fn a_run_takes_several_placements_too() {
    let cluster = Setup::workers(&["a"]).start();
    let file = cluster.file("lingers.yaml", LINGERS);
    let functions = cluster.functions();
    let functions = functions
        .to_str()
        .expect("a temporary folder has a plain name");
    let run = [
        "run",
        &file,
        "--functions",
        functions,
        "--input",
        "time=0",
        "--count",
        "20",
    ];
    let several = ["--local", "2", "--replicas", "2", "--balance", "load"];
    let _ = cluster.faasflow(&[&run[..], &several].concat()).ok();
    let many = ["--local", "1", "--replicas", "64"];
    let refused = cluster.faasflow(&[&run[..], &many].concat());
    refused.refused(&["64 placements are wanted"]);
}

#[test]
fn more_placements_than_fit_are_refused_and_leave_the_version_that_serves() {
    let cluster = Setup::workers(&["a", "b"]).start();
    cluster
        .deploy_replicas(LINGERS, 2, Balance::RoundRobin)
        .expect("it is accepted");
    let wide = LINGERS.replace("memory_mib: 16", "memory_mib: 16, scale: 2");
    let refused = cluster
        .deploy_replicas(&wide, 64, Balance::RoundRobin)
        .expect_err("it fits nowhere");
    let said = refused.to_string();
    assert!(matches!(refused, DeployError::Place(_)), "{said}");
    assert!(said.starts_with("64 placements are wanted, and "), "{said}");
    // A worker refuses what it has no memory for, and all that was prepared elsewhere goes.
    let large = LINGERS.replace("memory_mib: 16", "memory_mib: 16, scale: 1");
    cluster
        .deploy_replicas(&large, 2, Balance::Load)
        .expect("there is room for two versions");
    let ran = run_on(&mut cluster.client("b"), 10);
    assert_eq!(share(&ran, "a"), 5);
}
