//! What a plan brings about on a worker, and that a refused one changes nothing.

use crate::caller::Caller;
use crate::process::{Functions, Worker, drivers, eventually, lives};
use engine::plan::{
    Declaration, DeploymentId, ExecutablePlan, InputPlan, Limits, NodePlan, Participant, Plan,
    Replica, Source, Trust, Work, WorkerRef, WorkflowInput, WorkflowOutput,
};
use engine::status::{DeploymentState, WorkerStatus};
use engine::wire::{Control, ControlReply};
use faasstore::binding::Kind;

/// A workflow of one node on worker `a`, with more workers that may take invocations.
fn work(executable: u16, function: &str) -> Work {
    Work::Function {
        executable,
        function: function.into(),
        arguments: Vec::new(),
    }
}

fn plan(id: u64, version: u32, address: &str, others: &[(&str, &str)]) -> Plan {
    let named = |name: &str, address: &str| WorkerRef {
        name: name.into(),
        address: address.into(),
        lanes: 1,
        epoch: 1,
    };
    let output = Source::Output { node: 0, output: 0 };
    let mut workers = vec![named("a", address)];
    workers.extend(others.iter().map(|(name, address)| named(name, address)));
    Plan {
        deployment: DeploymentId(id),
        replica: Replica::only(DeploymentId(id)),
        workflow: "echo".into(),
        version,
        me: 0,
        workers,
        inputs: vec![WorkflowInput::new("in", Kind::Bytes)],
        outputs: vec![WorkflowOutput::new("out", Kind::Bytes, output, 0)],
        participants: vec![Participant {
            worker: 0,
            inputs: vec![0],
            sections: Vec::new(),
        }],
        nodes: vec![NodePlan {
            id: 0,
            name: "only".into(),
            work: work(0, "echo"),
            inputs: vec![InputPlan::new("input", Kind::Bytes, Source::Input(0))],
            outputs: vec![Declaration {
                name: "output".into(),
                kind: Kind::Bytes,
            }],
            ..NodePlan::default()
        }],
        remote_nodes: vec![],
        wholes: Vec::new(),
        executables: vec![ExecutablePlan {
            name: "echo".into(),
            scale: 2,
            memory_mib: 16,
            trust: Trust::Own,
        }],
        constants: Vec::new(),
        regions: Vec::new(),
        timeout_ms: None,
        types: Vec::new(),
        maxima: Vec::new(),
        memory: None,
        limits: Limits::default(),
    }
}

fn executors(status: &WorkerStatus) -> Vec<u32> {
    status
        .deployments
        .iter()
        .flat_map(|deployment| &deployment.executors)
        .map(|executor| executor.pid)
        .collect()
}

/// Children of a process, those that have ended but were not reaped too.
fn children(pid: u32) -> Vec<u32> {
    let listed =
        std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed
        .split_whitespace()
        .map(|child| child.parse().unwrap())
        .collect()
}

fn deploy(master: &mut Caller, plan: Plan) {
    let id = plan.deployment;
    assert_eq!(master.ask(&Control::Prepare(plan)), ControlReply::Done);
    assert_eq!(master.ask(&Control::Activate(id)), ControlReply::Done);
}

#[test]
fn a_deployment_has_its_executors_from_prepare_to_its_end() {
    let functions = Functions::new();
    for driver in drivers() {
        let worker = Worker::start(driver, "a", functions.0.path(), &[]);
        let mut master = Caller::control(&worker.address);
        let before = master.status();
        assert_eq!(
            master.ask(&Control::Prepare(plan(1, 1, &worker.address, &[]))),
            ControlReply::Done
        );
        let prepared = master.status();
        assert_eq!(prepared.deployments[0].state, DeploymentState::Prepared);
        let pids = executors(&prepared);
        assert_eq!(pids.len(), 2, "{driver}");
        assert!(pids.iter().all(|pid| lives(*pid)));
        assert_eq!(prepared.memory.reserved_bytes, 32 << 20);

        assert_eq!(
            master.ask(&Control::Activate(DeploymentId(1))),
            ControlReply::Done
        );
        assert_eq!(
            master.status().deployments[0].state,
            DeploymentState::Active
        );
        assert_eq!(
            master.ask(&Control::Undeploy("echo".into())),
            ControlReply::Done
        );
        let after = eventually("the deployment is gone", || {
            Some(master.status()).filter(|status| status.deployments.is_empty())
        });
        eventually("its executors are reaped", || {
            children(worker.pid()).is_empty().then_some(())
        });
        assert!(pids.iter().all(|pid| !lives(*pid)));
        assert_eq!(after.memory.reserved_bytes, 0);
        eventually("its descriptors are closed", || {
            (master.status().descriptors == before.descriptors).then_some(())
        });
    }
}

#[test]
fn a_file_that_is_no_executable_of_functions_is_refused_by_what_it_did() {
    let functions = Functions::new();
    for driver in drivers() {
        let worker = Worker::start(driver, "a", functions.0.path(), &[]);
        let mut master = Caller::control(&worker.address);
        for (name, said) in [
            ("text", "cannot be run"),
            ("ends", "ended at once (exit status 3)"),
            ("hangs", "said nothing within 5s"),
            ("babbles", "does not speak as a FaaSFlow executable"),
            ("data", "is not executable (chmod +x it)"),
            ("none", "cannot be had"),
        ] {
            let mut plan = plan(1, 1, &worker.address, &[]);
            plan.executables[0].name = name.into();
            let reason = master.refused(&Control::Prepare(plan));
            assert!(
                reason.contains(name) && reason.contains(said),
                "{driver}: {reason}"
            );
        }
        let mut unknown = plan(1, 1, &worker.address, &[]);
        unknown.nodes[0].work = work(0, "ohce");
        let reason = master.refused(&Control::Prepare(unknown));
        assert!(
            reason.contains("function ohce") && reason.contains("it has: echo"),
            "{reason}"
        );

        let status = master.status();
        assert!(status.deployments.is_empty() && status.memory.reserved_bytes == 0);
        assert_eq!(status.counters["plans_refused"], 7);
        eventually("what was started is reaped", || {
            children(worker.pid()).is_empty().then_some(())
        });
    }
}

#[test]
fn a_plan_that_cannot_be_served_changes_nothing() {
    let functions = Functions::new();
    let worker = Worker::start("epoll", "a", functions.0.path(), &[]);
    let mut master = Caller::control(&worker.address);
    let address = worker.address.as_str();
    deploy(&mut master, plan(1, 2, address, &[]));
    let refused = |master: &mut Caller, change: &dyn Fn(&mut Plan)| {
        let mut plan = plan(2, 3, address, &[]);
        change(&mut plan);
        master.refused(&Control::Prepare(plan))
    };
    for (change, said) in [
        (
            &(|plan: &mut Plan| plan.version = 2) as &dyn Fn(&mut Plan),
            "version 2 is not newer",
        ),
        (
            &|plan| {
                plan.deployment = DeploymentId(1);
                plan.replica = Replica::only(plan.deployment);
            },
            "known here already",
        ),
        (
            &|plan| plan.workers[0].name = "z".into(),
            "the plan is for worker z",
        ),
        (&|plan| plan.workers[0].lanes = 2, "with 2 lanes"),
        (
            &|plan| plan.workers[0].epoch = 2,
            "for restart epoch 2 of this worker, which was started anew and has 1",
        ),
        (
            &|plan| plan.executables[0].memory_mib = 100,
            "96 MiB are free",
        ),
        (
            &|plan| plan.executables[0].name = "../echo".into(),
            "no name for an executable",
        ),
        (
            &|plan| plan.nodes[0].work = work(9, "echo"),
            "no executable number 9",
        ),
    ] {
        let reason = refused(&mut master, change);
        assert!(reason.contains(said), "{reason}");
    }
    let status = master.status();
    assert_eq!((status.deployments.len(), executors(&status).len()), (1, 2));
    assert_eq!(status.deployments[0].state, DeploymentState::Active);
    for (request, said) in [
        (Control::Activate(DeploymentId(9)), "not known here"),
        (
            Control::Abort(DeploymentId(1)),
            "not waiting to be activated",
        ),
        (Control::Undeploy("other".into()), "deployed are `echo`"),
    ] {
        assert!(master.refused(&request).contains(said));
    }
}

#[test]
fn a_new_version_takes_over_and_the_old_one_goes() {
    let functions = Functions::new();
    let worker = Worker::start("epoll", "a", functions.0.path(), &[]);
    let mut master = Caller::control(&worker.address);
    deploy(&mut master, plan(1, 1, &worker.address, &[]));
    assert_eq!(
        master.ask(&Control::Prepare(plan(2, 2, &worker.address, &[]))),
        ControlReply::Done
    );
    let contended = master.refused(&Control::Prepare(plan(3, 3, &worker.address, &[])));
    assert!(
        contended.contains("being deployed by someone else"),
        "{contended}"
    );
    assert_eq!(
        master.ask(&Control::Abort(DeploymentId(2))),
        ControlReply::Done
    );
    eventually("what was aborted is gone", || {
        (master.status().deployments.len() == 1).then_some(())
    });
    deploy(&mut master, plan(4, 2, &worker.address, &[]));
    let left = eventually("the old version is gone", || {
        Some(master.status().deployments).filter(|deployments| deployments.len() == 1)
    });
    assert_eq!((left[0].version, left[0].executors.len()), (2, 2));
}

#[test]
fn a_peer_that_cannot_be_reached_or_is_another_is_named() {
    let functions = Functions::new();
    for driver in drivers() {
        let worker = Worker::start(driver, "a", functions.0.path(), &[]);
        let peer = Worker::start(driver, "b", functions.0.path(), &[]);
        let mut master = Caller::control(&worker.address);
        let nowhere = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .to_string();
        let reason = master.refused(&Control::Prepare(plan(
            1,
            1,
            &worker.address,
            &[("b", &nowhere)],
        )));
        assert!(
            reason.contains(&format!("worker b cannot be reached at {nowhere}")),
            "{driver}: {reason}"
        );
        let reason = master.refused(&Control::Prepare(plan(
            1,
            1,
            &worker.address,
            &[("c", &peer.address)],
        )));
        assert!(
            reason.contains("is worker b, where c is expected"),
            "{driver}: {reason}"
        );
        deploy(
            &mut master,
            plan(1, 1, &worker.address, &[("b", &peer.address)]),
        );
        let links = |master: &mut Caller| master.status().counters["links"];
        eventually("the link stands", || {
            (links(&mut Caller::control(&peer.address)) == 1).then_some(())
        });

        drop(peer);
        eventually("the loss is noticed", || {
            (links(&mut master) == 0).then_some(())
        });
    }
}

#[test]
fn executors_end_with_their_worker_however_it_ends() {
    use nix::sys::signal::Signal::{SIGKILL, SIGTERM};
    let functions = Functions::new();
    for driver in drivers() {
        for signal in [SIGTERM, SIGKILL] {
            let mut worker = Worker::start(driver, "a", functions.0.path(), &[]);
            let mut master = Caller::control(&worker.address);
            deploy(&mut master, plan(1, 1, &worker.address, &[]));
            let pids = executors(&master.status());
            assert!(pids.len() == 2 && pids.iter().all(|pid| lives(*pid)));
            worker.signal(signal);
            worker.wait();
            eventually("the executors end", || {
                pids.iter().all(|pid| !lives(*pid)).then_some(())
            });
        }
    }
}

#[test]
fn an_executor_that_dies_is_noticed_and_reaped() {
    let functions = Functions::new();
    for driver in drivers() {
        let worker = Worker::start(driver, "a", functions.0.path(), &[]);
        let mut master = Caller::control(&worker.address);
        deploy(&mut master, plan(1, 1, &worker.address, &[]));
        let before = executors(&master.status());
        let victim = nix::unistd::Pid::from_raw(before[0] as i32);
        nix::sys::signal::kill(victim, nix::sys::signal::Signal::SIGKILL).unwrap();
        eventually("it is reaped", || {
            (!children(worker.pid()).contains(&before[0])).then_some(())
        });
        let status = eventually("it is noticed", || {
            Some(master.status()).filter(|status| !executors(status).contains(&before[0]))
        });
        assert_eq!(status.counters["executors_ended"], 1, "{driver}");
    }
}

#[test]
fn a_link_to_a_peer_that_was_restarted_is_made_again() {
    let functions = Functions::new();
    for driver in drivers() {
        let worker = Worker::start(driver, "a", functions.0.path(), &[]);
        let peer = Worker::start(driver, "b", functions.0.path(), &[]);
        let address = peer.address.clone();
        let mut master = Caller::control(&worker.address);
        deploy(&mut master, plan(1, 1, &worker.address, &[("b", &address)]));
        eventually("the link stands", || {
            (master.status().counters["links"] == 1).then_some(())
        });
        drop(peer);
        eventually("the loss is noticed", || {
            (master.status().counters["links"] == 0).then_some(())
        });
        let flag = format!("--listen={address}");
        let _again = Worker::start(driver, "b", functions.0.path(), &[&flag]);
        eventually("it stands again", || {
            let counters = master.status().counters;
            (counters["links"] == 1 && counters["links_remade"] == 1).then_some(())
        });
    }
}
