//! Deployments come and go while invocations run: the master is not needed, versions do not mix, nothing is lost, and
//! what is refused leaves everything as it was.

use engine::plan::Limits;
use engine::status::{DeploymentState, WorkerStatus};
use engine::wire::Failure;
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::gate::{Gate, Held, Verdict};
use faasflow_tests::process::until;
use master::client::{Client, Invocation};
use master::deploy::DeployError;
use nix::sys::signal::Signal;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

/// A workflow of two nodes, the first at a gate, the second this function.
fn gated(second: &str) -> String {
    format!(
        "
workflow: gated
input: {{ gate: bytes }}
nodes:
  held:
    function: test-functions:gate
    input: {{ gate: input.gate }}
    output: {{ out: bytes }}
    resources: {{ memory_mib: 32, scale: 2 }}
  behind:
    function: \"test-functions:{second}\"
    input: {{ in: held.out }}
    output: {{ out: bytes }}
    resources: {{ memory_mib: 32 }}
output: {{ out: behind.out }}
"
    )
}

const PINS: [(&str, &str); 2] = [("held", "a"), ("behind", "b")];

fn shouting(name: &str, function: &str) -> String {
    format!(
        "
workflow: {name}
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

const NEAR_FAR: [(&str, &str); 2] = [("near", "a"), ("far", "b")];

fn start(cluster: &Cluster, gate: &Gate) -> (Client, Held) {
    let mut client = cluster.client("b");
    let inputs = [("gate".to_owned(), bytes(gate.input()))];
    let invocation = Invocation {
        workflow: "gated",
        inputs: &inputs,
        report: false,
        trace: false,
    };
    client.start(&invocation).expect("the worker takes it");
    (client, gate.next())
}

/// Waits until the deployments of a worker are these: name, version and state.
#[track_caller]
fn serves(cluster: &Cluster, worker: &str, expected: &[(&str, u32, DeploymentState)]) {
    let seen = |status: &WorkerStatus| {
        let all = status.deployments.iter();
        all.map(|d| (d.workflow.clone(), d.version, d.state))
            .collect::<Vec<_>>()
    };
    until(&format!("worker {worker} serves {expected:?}"), || {
        let seen = seen(&cluster.status(worker));
        let wanted = expected.iter();
        let mut missing = wanted.filter(|(n, v, s)| !seen.contains(&((*n).to_owned(), *v, *s)));
        (missing.next().is_none() && seen.len() == expected.len()).then_some(())
    });
}

#[test]
fn invocations_run_when_the_master_s_process_is_gone() {
    let cluster = Setup::workers(&["a", "b"]).start();
    let file = cluster.file("gated.yaml", gated("upper"));
    let workers = cluster.addresses().join(",");
    let pins = ["--pin", "held=a", "--pin", "behind=b"];
    // This returns when the process has ended.
    let deploy = [&["deploy", &file, "--workers", &workers][..], &pins].concat();
    let _ = cluster.faasflow(&deploy).ok();

    let gate = Gate::new(cluster.folder(), "gate");
    for _ in 0..3 {
        let (mut client, held) = start(&cluster, &gate);
        held.tell(Verdict::Pass);
        let answered = client.next_answer().expect("the worker answers");
        assert_eq!(output(&answered, "out"), b"ATTEMPT 1");
    }
    // And by a client that knows only one of the workers.
    let upper = cluster.file("local.yaml", shouting("local", "upper"));
    let _ = cluster
        .faasflow(&["deploy", &upper, "--workers", &workers])
        .ok();
    let invoke = cluster.faasflow(&[
        "invoke",
        "local",
        "--workers",
        cluster.worker("b").address(),
        "--input",
        "text=text",
        "--output",
        "out=@out",
        "--count",
        "100",
        "--concurrency",
        "4",
    ]);
    let _ = invoke.ok();
    assert_eq!(std::fs::read(cluster.path("out")).unwrap(), b"TEXT");
    let _ = cluster
        .faasflow(&["undeploy", "local", "--workers", &workers])
        .ok();
    for worker in ["a", "b"] {
        serves(&cluster, worker, &[("gated", 1, DeploymentState::Active)]);
    }
}

#[test]
fn what_is_in_flight_ends_on_the_version_that_it_began_on() {
    let cluster = Setup::workers(&["a", "b"]).start();
    let gate = Gate::new(cluster.folder(), "gate");
    assert_eq!(cluster.deploy(&gated("upper"), &PINS).version, 1);
    let (mut first, held_by_first) = start(&cluster, &gate);
    assert_eq!(cluster.deploy(&gated("digest"), &PINS).version, 2);
    let (mut second, held_by_second) = start(&cluster, &gate);
    for worker in ["a", "b"] {
        let both = [
            ("gated", 1, DeploymentState::Retiring),
            ("gated", 2, DeploymentState::Active),
        ];
        serves(&cluster, worker, &both);
    }
    held_by_second.tell(Verdict::Pass);
    let answered = second.next_answer().expect("the worker answers");
    assert!(output(&answered, "out").starts_with(b"9 bytes"));
    held_by_first.tell(Verdict::Pass);
    let answered = first.next_answer().expect("the worker answers");
    assert_eq!(output(&answered, "out"), b"ATTEMPT 1");
    drop((first, second));
    for worker in ["a", "b"] {
        serves(&cluster, worker, &[("gated", 2, DeploymentState::Active)]);
        let _ = cluster.settled(worker);
    }
}

#[test]
fn no_invocation_is_lost_while_versions_change_under_load() {
    let cluster = Setup::workers(&["a", "b"]).start();
    cluster.deploy(&shouting("shout", "upper"), &NEAR_FAR);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let loads = ["a", "b"].map(|worker| {
            let (cluster, done) = (&cluster, &done);
            scope.spawn(move || {
                let mut client = cluster.client(worker);
                let inputs = [("text".to_owned(), bytes("text"))];
                let invocation = Invocation {
                    workflow: "shout",
                    inputs: &inputs,
                    report: false,
                    trace: false,
                };
                let (mut upper, mut echo) = (0_u32, 0_u32);
                while !done.load(Ordering::Relaxed) || upper == 0 || echo == 0 {
                    let answered = client.invoke(&invocation).expect("the worker answers");
                    match output(&answered, "out") {
                        b"TEXT" => upper += 1,
                        b"text" => echo += 1,
                        other => panic!("{other:?}"),
                    }
                }
            })
        });
        for round in 0..6 {
            let function = ["echo", "upper"][round % 2];
            cluster.deploy(&shouting("shout", function), &NEAR_FAR);
        }
        done.store(true, Ordering::Relaxed);
        for load in loads {
            load.join()
                .expect("every invocation ends well, on one of the versions");
        }
    });
    for worker in ["a", "b"] {
        serves(&cluster, worker, &[("shout", 7, DeploymentState::Active)]);
        assert_eq!(cluster.counter(worker, "invocations_failed"), 0);
        assert_eq!(cluster.counter(worker, "invocations_refused"), 0);
    }
}

#[test]
fn an_undeployed_workflow_ends_what_runs_and_takes_no_more() {
    let cluster = Setup::workers(&["a", "b"]).start();
    let gate = Gate::new(cluster.folder(), "gate");
    cluster.deploy(&gated("upper"), &PINS);
    let (mut client, held) = start(&cluster, &gate);
    cluster.undeploy("gated");
    for worker in ["a", "b"] {
        let refused = cluster.invoke(worker, "gated", &[("gate", bytes(gate.input()))]);
        match refused.expect("the worker answers").result {
            Err(Failure::Refused {
                worker: by, reason, ..
            }) => {
                assert_eq!(by, worker);
                assert!(reason.contains("gated"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    held.tell(Verdict::Pass);
    let answered = client.next_answer().expect("the worker answers");
    assert_eq!(output(&answered, "out"), b"ATTEMPT 1");
    drop(client);
    for worker in ["a", "b"] {
        serves(&cluster, worker, &[]);
        // What a lane keeps of its own arena, and links to peers, are there for the next deployment.
        until(&format!("worker {worker} has let go of executors"), || {
            let holdings = cluster.settled(worker);
            ((holdings.executors, holdings.reserved_bytes) == (0, 0)).then_some(())
        });
    }
}

#[test]
fn two_workflows_at_once_do_not_meet() {
    let cluster = Setup::workers(&["a", "b"]).start();
    cluster.deploy(&shouting("one", "upper"), &NEAR_FAR);
    cluster.deploy(&shouting("two", "digest"), &[("near", "b"), ("far", "a")]);
    std::thread::scope(|scope| {
        for (workflow, worker) in [("one", "a"), ("two", "a"), ("one", "b"), ("two", "b")] {
            let cluster = &cluster;
            scope.spawn(move || {
                let mut client = cluster.client(worker);
                for index in 0..200 {
                    let text = format!("text {index} of {workflow} by {worker}");
                    let inputs = [("text".to_owned(), bytes(&text))];
                    let invocation = Invocation {
                        workflow,
                        inputs: &inputs,
                        report: false,
                        trace: false,
                    };
                    let answered = client.invoke(&invocation).expect("the worker answers");
                    let expected = match workflow {
                        "one" => text.to_ascii_uppercase(),
                        _ => faasflow_tests::pattern::digest(text.as_bytes()),
                    };
                    assert_eq!(String::from_utf8_lossy(output(&answered, "out")), expected);
                }
            });
        }
    });
    // Executors belong to one workflow each: no process has run both.
    let status = cluster.status("a");
    let mut pids: Vec<u32> = status
        .deployments
        .iter()
        .flat_map(|deployment| deployment.executors.iter().map(|executor| executor.pid))
        .collect();
    let all = pids.len();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!((pids.len(), status.deployments.len()), (all, 2));
}

#[test]
fn beyond_the_limit_in_flight_invocations_are_refused_at_the_door() {
    let cluster = Setup::workers(&["a", "b"]).start();
    let limits = Limits {
        in_flight_max: 2,
        ..Limits::default()
    };
    cluster
        .deploy_on(&["a", "b"], &gated("upper"), &PINS, limits)
        .expect("it is accepted");
    let gate = Gate::new(cluster.folder(), "gate");
    let running = [start(&cluster, &gate), start(&cluster, &gate)];
    let refused = cluster.invoke("b", "gated", &[("gate", bytes(gate.input()))]);
    match refused.expect("the worker answers").result {
        Err(Failure::Refused { reason, .. }) => assert!(reason.contains("in flight"), "{reason}"),
        other => panic!("{other:?}"),
    }
    for (mut client, held) in running {
        held.tell(Verdict::Pass);
        let _ = output(&client.next_answer().expect("the worker answers"), "out");
    }
    let (mut client, held) = start(&cluster, &gate);
    held.tell(Verdict::Pass);
    let _ = output(&client.next_answer().expect("the worker answers"), "out");
    assert_eq!(cluster.counter("b", "invocations_refused"), 1);
}

/// Asserts that a deployment is refused for a reason in which each of `words` stands, and that it changed nothing: the
/// same deployments, executors and memory as before, and the workflow of that name as it was.
#[track_caller]
fn refused(cluster: &Cluster, workflow: &str, pins: &[(&str, &str)], words: &[&str]) {
    let state = || {
        ["a", "b"].map(|worker| {
            let holdings = cluster.settled(worker);
            (holdings, cluster.status(worker).deployments)
        })
    };
    let before = state();
    let error = cluster
        .deploy_on(&["a", "b"], workflow, pins, Limits::default())
        .map(drop)
        .expect_err("it cannot be had");
    assert!(!matches!(error, DeployError::Torn { .. }), "{error}");
    let help = miette_help(&error);
    for word in words {
        assert!(help.contains(word), "no {word:?} in: {help}");
    }
    until("everything is as it was", || {
        (state() == before).then_some(())
    });
    let answered = cluster.invoke("b", "shout", &[("text", bytes("text"))]);
    assert_eq!(
        output(&answered.expect("the worker answers"), "out"),
        b"TEXT"
    );
}

fn miette_help(error: &DeployError) -> String {
    use miette::Diagnostic;
    let help = error
        .help()
        .map_or_else(String::new, |help| help.to_string());
    format!("{error}; {help}")
}

#[test]
fn a_refused_deployment_leaves_everything_as_it_was() {
    let cluster = Setup::workers(&["a", "b"]).start();
    cluster.deploy(&shouting("shout", "upper"), &NEAR_FAR);
    let with = |function: &str| shouting("shout", "upper").replace("test-functions:echo", function);
    let file = |name: &str, content: &[u8], mode: u32| {
        let path = cluster.functions().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    file("text", b"This is no program.\n", 0o755);
    file("locked", b"#!/bin/sh\nexit 0\n", 0o644);
    file("script", b"#!/bin/sh\nexit 0\n", 0o755);
    file("true", &std::fs::read("/bin/true").unwrap(), 0o755);
    file("sleeper", b"#!/bin/sh\nexec sleep 600\n", 0o755);
    std::fs::create_dir(cluster.functions().join("folder")).unwrap();

    refused(
        &cluster,
        &with("nowhere:echo"),
        &NEAR_FAR,
        &["nowhere", "far"],
    );
    refused(&cluster, &with("folder:echo"), &NEAR_FAR, &["folder"]);
    refused(&cluster, &with("locked:echo"), &NEAR_FAR, &["locked"]);
    refused(
        &cluster,
        &with("text:echo"),
        &NEAR_FAR,
        &["worker b refused", "text"],
    );
    refused(
        &cluster,
        &with("script:echo"),
        &NEAR_FAR,
        &["worker b refused", "script"],
    );
    refused(
        &cluster,
        &with("true:echo"),
        &NEAR_FAR,
        &["worker b refused", "true"],
    );
    refused(
        &cluster,
        &with("sleeper:echo"),
        &NEAR_FAR,
        &["worker b refused", "sleeper"],
    );
    let none = "test-functions:no_function_of_that_name";
    refused(
        &cluster,
        &with(none),
        &NEAR_FAR,
        &["worker b refused", "no_function_of_that_name"],
    );
    // A function that takes other things than the node gives it.
    let two = with("test-functions:upper")
        .replace("{ in: near.out }", "{ in: near.out, and: input.text }");
    refused(&cluster, &two, &NEAR_FAR, &["worker b refused", "upper"]);
    let large = with("test-functions:echo").replace("memory_mib: 16", "memory_mib: 4000");
    refused(&cluster, &large, &NEAR_FAR, &["memory"]);
}

#[test]
fn a_deployment_is_refused_if_workers_cannot_be_reached_or_told_apart() {
    let cluster = Setup::workers(&["a", "b"]).start();
    let file = cluster.file("shout.yaml", shouting("shout", "upper"));
    let a = cluster.worker("a").address();
    // A port that was just free; nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = free.local_addr().unwrap().to_string();
    drop(free);
    let deploy = |workers: &str| cluster.faasflow(&["deploy", &file, "--workers", workers]);
    deploy(&format!("{a},{nobody}")).refused(&["cannot reach", &nobody]);
    deploy(&format!("{a},{a}")).refused(&[a]);
    let (_, port) = a.rsplit_once(':').unwrap();
    deploy(&format!("{a},localhost:{port}")).refused(&[a, "localhost"]);
    deploy(&format!("{a},nowhere")).refused(&["nowhere"]);
    for worker in ["a", "b"] {
        serves(&cluster, worker, &[]);
        assert_eq!(cluster.counter(worker, "plans_accepted"), 0);
    }
}

#[test]
fn what_a_worker_lost_by_its_restart_is_told_with_the_remedy_and_taken_away_all_the_same() {
    let mut cluster = Setup::workers(&["a", "b"]).start();
    cluster.deploy(&shouting("shout", "upper"), &NEAR_FAR);
    let _ = cluster.worker_mut("b").end_by(Signal::SIGKILL);
    cluster.restart("b");
    // It makes no connection to what it knows nothing of; that it answers is how it is known.
    let workers = cluster.addresses().join(",");
    until("its new life is known", || {
        let refused = cluster.invoke("a", "shout", &[("text", bytes("text"))]);
        match refused.expect("the worker answers").result {
            Err(Failure::Refused { reason, .. }) if reason.contains("was started anew") => {
                assert!(reason.ends_with("`faasflow deploy`"), "{reason}");
                Some(())
            }
            Err(_) => None,
            Ok(_) => panic!("nobody has the second node"),
        }
    });
    let said = cluster
        .faasflow(&["undeploy", "shout", "--workers", &workers])
        .ok()
        .text();
    assert!(
        said.contains("it was taken away from a; b did not have it"),
        "{said}"
    );
    cluster
        .faasflow(&["undeploy", "shout", "--workers", &workers])
        .refused(&["workflow shout is on none of the workers a, b"]);
}
