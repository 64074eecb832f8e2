//! Deployment against workers that are told what to reply: all or none, and who is named.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod fake;

use engine::greeting::ClusterKey;
use engine::plan::{Balance, DeploymentId, Limits, Replica};
use engine::wire::{Control, ControlReply, WorkerDescription, decode};
use faasstore::binding::{FunctionDescription, TypedPort};
use fake::FakeWorker;
use master::client::Options;
use master::definition::{Definition, parse};
use master::deploy::{Cluster, DeployError, Replicas, Undeployed};
use master::place;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// What workers were told, in order, as `name: request`.
type Log = Arc<Mutex<Vec<String>>>;

fn description(name: &str) -> WorkerDescription {
    WorkerDescription {
        name: name.to_owned(),
        epoch: 3,
        lanes: 1,
        cpus: vec![0, 1],
        memory_bytes: 4 << 30,
        memory_reserved_bytes: 0,
        executables: vec!["e".to_owned()],
        workflows: vec![("w".to_owned(), 4)],
    }
}

/// A worker that accepts all but `refuses`.
fn worker(description: WorkerDescription, refuses: &'static str, log: &Log) -> FakeWorker {
    let log = Arc::clone(log);
    let greeted = description.name.clone();
    FakeWorker::start(&greeted, ClusterKey::none(), 1, move |mut peer| {
        let mut ids: Vec<(DeploymentId, Replica)> = Vec::new();
        while let Some((_, body)) = peer.frame() {
            let request = match decode::<Control>(&body).unwrap() {
                Control::Describe => {
                    peer.send(&ControlReply::Description(description.clone()));
                    continue;
                }
                Control::Functions(executables) if refuses != "functions" => {
                    assert_eq!(executables, ["e"]);
                    let functions = if refuses == "types" {
                        differing()
                    } else {
                        Vec::new()
                    };
                    peer.send(&ControlReply::Functions(vec![functions]));
                    continue;
                }
                Control::Functions(_) => "functions",
                Control::Prepare(plan) => {
                    plan.check().unwrap();
                    assert_eq!(
                        (
                            plan.version,
                            plan.workers[usize::from(plan.me)].name.as_str()
                        ),
                        (5, &*description.name)
                    );
                    assert_eq!(plan.workers[usize::from(plan.me)].epoch, 3);
                    ids.push((plan.deployment, plan.replica));
                    "prepare"
                }
                Control::Activate(id) => {
                    assert!(ids.iter().all(|(_, replica)| replica.of == id));
                    let numbers: Vec<u16> = ids.iter().map(|(_, one)| one.number).collect();
                    let all: Vec<u16> = (1..=ids[0].1.count).collect();
                    assert_eq!(numbers, all, "all placements, in their order");
                    let distinct: BTreeSet<_> = ids.iter().map(|(id, _)| *id).collect();
                    assert_eq!(distinct.len(), ids.len());
                    "activate"
                }
                Control::Abort(id) => {
                    assert!(ids.iter().all(|(_, replica)| replica.of == id));
                    "abort"
                }
                Control::Undeploy(_) => "undeploy",
                Control::Status => "status",
                Control::Keep { sources, .. } => {
                    assert_eq!(sources.files[0].0, "w.yaml");
                    "keep"
                }
                Control::Deployed { .. } => "deployed",
                Control::Profile { .. } => "profile",
                Control::ForgetProfile(_) => "forget profile",
                Control::MeasureLink(_) => "measure link",
            };
            log.lock()
                .unwrap()
                .push(format!("{}: {request}", description.name));
            if request == refuses {
                peer.send(&ControlReply::Refused("it does not like it".to_owned()));
            } else {
                peer.send(&ControlReply::Done);
            }
        }
    })
}

/// What `e` says of its functions where its build is another one.
fn differing() -> Vec<FunctionDescription> {
    let port = |schema: &str| TypedPort {
        port: None,
        schema: schema.to_owned(),
    };
    vec![FunctionDescription {
        name: "f".to_owned(),
        inputs: vec![port("rkyv:u32")],
        outputs: vec![port("rkyv:u64")],
    }]
}

fn definition() -> Definition {
    parse(
        "w.yaml",
        b"{ workflow: w, nodes: { n: { function: e:f }, m: { function: e:f, after: n } } }",
    )
    .unwrap()
}

/// Deploys on workers a, b and c, of which `b` refuses something. What came of it, and what workers were told.
fn deploy_where_b_refuses(refuses: &'static str) -> (Result<u32, DeployError>, Vec<String>) {
    deploy_several_where_b_refuses(refuses, Replicas::default())
}

fn deploy_several_where_b_refuses(
    refuses: &'static str,
    replicas: Replicas,
) -> (Result<u32, DeployError>, Vec<String>) {
    deploy_this(&definition(), &place::Options::default(), replicas, refuses)
}

fn deploy_this(
    definition: &Definition,
    options: &place::Options,
    replicas: Replicas,
    refuses: &'static str,
) -> (Result<u32, DeployError>, Vec<String>) {
    let log = Log::default();
    let workers = [
        worker(description("a"), "", &log),
        worker(description("b"), refuses, &log),
        worker(description("c"), "", &log),
    ];
    let addresses: Vec<String> = workers
        .iter()
        .map(|worker| worker.address.clone())
        .collect();
    let mut cluster = Cluster::connect(&addresses, &Options::default()).unwrap();
    let deployed = cluster.deploy_replicas(definition, options, replicas, Limits::default());
    drop(cluster);
    workers.into_iter().for_each(FakeWorker::join);
    let told = log.lock().unwrap().clone();
    (deployed.map(|deployment| deployment.version), told)
}

#[test]
fn all_are_prepared_before_any_is_activated() {
    let (deployed, told) = deploy_where_b_refuses("");
    assert_eq!(
        deployed.unwrap(),
        5,
        "one more than the latest version that any worker knows"
    );
    let steps = [
        "a: prepare",
        "b: prepare",
        "c: prepare",
        "a: keep",
        "b: keep",
        "c: keep",
        "a: activate",
        "b: activate",
        "c: activate",
    ];
    assert_eq!(told, steps);
}

#[test]
fn a_refusal_to_prepare_leaves_everything_as_it_was() {
    let (deployed, told) = deploy_where_b_refuses("prepare");
    let error = deployed.unwrap_err();
    assert!(matches!(error, DeployError::Refused { .. }), "{error:?}");
    assert_eq!(error.to_string(), "worker b refused: it does not like it");
    assert_eq!(
        told,
        ["a: prepare", "b: prepare", "a: abort", "b: abort"],
        "nothing reached c"
    );
}

#[test]
fn payloads_that_do_not_go_together_are_refused_before_anything_is_sent() {
    let edge = parse(
        "w.yaml",
        b"{ workflow: w, input: { i: bytes }, nodes: {
            n: { function: e:f, input: { in: input.i }, output: { out: bytes } },
            m: { function: e:f, input: { in: n.out }, output: { out: bytes } } } }",
    )
    .unwrap();
    let fixed = [("n", "a"), ("m", "b")].map(|(node, worker)| (node.to_owned(), worker.to_owned()));
    let options = place::Options {
        fixed: fixed.into(),
        ..place::Options::default()
    };
    let (deployed, told) = deploy_this(&edge, &options, Replicas::default(), "types");
    let error = deployed.unwrap_err();
    assert!(matches!(error, DeployError::Types(_)), "{error:?}");
    assert_eq!(
        error.to_string(),
        "`e:f` (node n) writes `out` as u64, and `e:f` (node m, input `in`) reads it as u32"
    );
    assert!(told.is_empty(), "{told:?}");
    // What cannot say anything of itself is refused too.
    let (deployed, told) = deploy_this(&edge, &options, Replicas::default(), "functions");
    let error = deployed.unwrap_err();
    assert_eq!(error.to_string(), "worker b refused: it does not like it");
    assert_eq!(told, ["b: functions"]);
}

#[test]
fn of_several_placements_all_are_prepared_before_the_deployment_is_activated_at_once() {
    let replicas = Replicas {
        count: 2,
        balance: Balance::Load,
    };
    let (deployed, told) = deploy_several_where_b_refuses("", replicas);
    assert_eq!(deployed.unwrap(), 5);
    let steps = [
        "a: prepare",
        "a: prepare",
        "b: prepare",
        "b: prepare",
        "c: prepare",
        "c: prepare",
        "a: keep",
        "b: keep",
        "c: keep",
        "a: activate",
        "b: activate",
        "c: activate",
    ];
    assert_eq!(told, steps);
    let (deployed, told) = deploy_several_where_b_refuses("prepare", replicas);
    assert!(matches!(deployed, Err(DeployError::Refused { .. })));
    let steps = [
        "a: prepare",
        "a: prepare",
        "b: prepare",
        "a: abort",
        "b: abort",
    ];
    assert_eq!(told, steps);
}

#[test]
fn a_refusal_to_activate_says_who_is_active() {
    let (deployed, told) = deploy_where_b_refuses("activate");
    let error = deployed.unwrap_err();
    assert!(
        matches!(&error, DeployError::Torn { worker, active, .. } if worker == "b" && active == "a"),
        "{error:?}"
    );
    assert_eq!(
        told[6..],
        ["a: activate", "b: activate", "b: abort", "c: abort"]
    );
}

#[test]
fn a_workflow_whose_files_are_not_kept_is_deployed_all_the_same() {
    let (deployed, told) = deploy_where_b_refuses("keep");
    assert_eq!(deployed.unwrap(), 5);
    let steps = [
        "a: keep",
        "b: keep",
        "c: keep",
        "a: activate",
        "b: activate",
        "c: activate",
    ];
    assert_eq!(told[3..], steps);
}

/// Takes a workflow away from workers a, b and c, of which those named refuse.
fn undeploy_where(refuse: &[&str]) -> (Result<Undeployed, DeployError>, Vec<String>) {
    let log = Log::default();
    let workers = ["a", "b", "c"].map(|name| {
        let refuses = if refuse.contains(&name) {
            "undeploy"
        } else {
            ""
        };
        worker(description(name), refuses, &log)
    });
    let addresses: Vec<String> = workers.iter().map(|one| one.address.clone()).collect();
    let mut cluster = Cluster::connect(&addresses, &Options::default()).unwrap();
    let undeployed = cluster.undeploy("w");
    drop(cluster);
    workers.into_iter().for_each(FakeWorker::join);
    let told = log.lock().unwrap().clone();
    (undeployed, told)
}

#[test]
fn a_worker_that_does_not_have_what_is_taken_away_is_no_failure_unless_none_has() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let told_all = ["a: undeploy", "b: undeploy", "c: undeploy"];
    for absent in [&[][..], &["b"], &["a", "c"]] {
        let (undeployed, told) = undeploy_where(absent);
        let from: Vec<&str> = ["a", "b", "c"]
            .into_iter()
            .filter(|name| !absent.contains(name))
            .collect();
        let expected = Undeployed {
            from: names(&from),
            absent: names(absent),
        };
        assert_eq!(undeployed.unwrap(), expected);
        assert_eq!(told, told_all);
    }
    let (undeployed, told) = undeploy_where(&["a", "b", "c"]);
    assert_eq!(
        undeployed.unwrap_err().to_string(),
        "workflow w is on none of the workers a, b, c: it does not like it"
    );
    assert_eq!(told, told_all);
}

#[test]
fn a_worker_that_is_lost_while_others_take_a_workflow_away_is_named_with_them() {
    let log = Log::default();
    let well = worker(description("a"), "", &log);
    let lost = FakeWorker::start("b", ClusterKey::none(), 1, |mut peer| {
        let _ = peer.frame();
        peer.send(&ControlReply::Description(description("b")));
        let _ = peer.frame();
    });
    let addresses = [well.address.clone(), lost.address.clone()];
    let mut cluster = Cluster::connect(&addresses, &Options::default()).unwrap();
    let error = cluster.undeploy("w").unwrap_err();
    assert!(
        matches!(&error, DeployError::HalfUndeployed { worker, from, .. } if worker == "b" && from == "a"),
        "{error:?}"
    );
    drop(cluster);
    [well, lost].into_iter().for_each(FakeWorker::join);
}

fn connect_two(first: WorkerDescription, second: WorkerDescription) -> String {
    let log = Log::default();
    let workers = [worker(first, "", &log), worker(second, "", &log)];
    let addresses: Vec<String> = workers
        .iter()
        .map(|worker| worker.address.clone())
        .collect();
    let error = Cluster::connect(&addresses, &Options::default())
        .unwrap_err()
        .to_string();
    workers.into_iter().for_each(FakeWorker::join);
    error
}

#[test]
fn workers_must_be_told_apart() {
    let same = connect_two(description("a"), description("a"));
    assert!(same.ends_with("reach the same worker, a"), "{same}");
    let namesake = connect_two(
        description("a"),
        WorkerDescription {
            epoch: 8,
            ..description("a")
        },
    );
    assert!(namesake.ends_with("are both called a"), "{namesake}");
    // CRC-32 of both is 4ddb0c25.
    let twins = connect_two(description("plumless"), description("buckeroo"));
    assert_eq!(
        twins,
        "the names of workers plumless and buckeroo give the same number in invocations' ids"
    );
    let error = Cluster::connect(&[], &Options::default()).unwrap_err();
    assert!(matches!(error, DeployError::NoWorkers));
}

#[test]
fn an_executable_that_is_missing_is_named_with_its_node_and_worker() {
    let log = Log::default();
    let bare = WorkerDescription {
        executables: vec!["wordcount".to_owned()],
        ..description("a")
    };
    let worker = worker(bare, "", &log);
    let mut cluster =
        Cluster::connect(std::slice::from_ref(&worker.address), &Options::default()).unwrap();
    let definition = parse(
        "w.yaml",
        b"{ workflow: w, nodes: { n: { function: 'wordcuont:f' } } }",
    )
    .unwrap();
    let error = cluster
        .deploy(&definition, &place::Options::default(), Limits::default())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "node n is placed on worker a, which has no executable `wordcuont`"
    );
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(help.contains("did you mean `wordcount`?"), "{help}");
    drop(cluster);
    worker.join();
    assert!(log.lock().unwrap().is_empty(), "nothing was sent");
}
