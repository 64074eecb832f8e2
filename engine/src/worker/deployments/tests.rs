//! What the bookkeeping of deployments promises.

use super::*;
use crate::plan::{Balance, ExecutablePlan, Limits, Trust};
use crate::wire::{SOURCES_BYTES_ALL_MAX, SOURCES_BYTES_MAX};

const MIB: u64 = 1 << 20;

fn plan(id: u64, version: u32) -> Plan {
    Plan {
        deployment: DeploymentId(id),
        replica: Replica::only(DeploymentId(id)),
        workflow: "wordcount".into(),
        version,
        me: 0,
        workers: vec![],
        inputs: vec![],
        outputs: vec![],
        participants: vec![],
        nodes: vec![],
        remote_nodes: vec![],
        wholes: Vec::new(),
        executables: vec![ExecutablePlan {
            name: "wordcount".into(),
            scale: 3,
            memory_mib: 10,
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

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, mode) in [("wordcount", 0o755), ("notes.txt", 0o644)] {
        let path = folder.path().join(name);
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    folder
}

fn deployment(id: u64, version: u32, lanes: u8) -> Deployment {
    let folder = folder();
    let plan = plan(id, version);
    let pools = Deployment::pools(&plan, folder.path(), lanes).unwrap();
    Deployment {
        plan: Arc::new(plan),
        counters: (0..lanes).map(|_| Arc::default()).collect(),
        pools,
        state: DeploymentState::Prepared,
        executors: BTreeMap::new(),
        starting: BTreeMap::new(),
        lanes: (0..lanes).collect(),
        sources: None,
    }
}

/// One of that name, on one lane.
fn named(workflow: &str, id: u64) -> Deployment {
    let mut of = deployment(id, 1, 1);
    of.plan = Arc::new(Plan {
        workflow: workflow.into(),
        ..plan(id, 1)
    });
    of
}

fn admit(deployments: &mut Deployments, deployment: Deployment) -> Result<(), DeploymentError> {
    deployments.admits(&deployment.plan, &deployment.pools)?;
    deployments.insert(deployment);
    Ok(())
}

#[test]
fn scale_is_divided_over_lanes_and_each_has_one() {
    assert_eq!(deployment(1, 1, 1).pools[0].scale, [3]);
    assert_eq!(deployment(1, 1, 2).pools[0].scale, [2, 1]);
    assert_eq!(deployment(1, 1, 4).pools[0].scale, [1, 1, 1, 1]);
    assert_eq!(Deployment::bytes_of(&deployment(1, 1, 4).pools), 40 * MIB);
}

#[test]
fn memory_is_never_reserved_twice() {
    let mut deployments = Deployments::new(50 * MIB);
    admit(&mut deployments, deployment(1, 1, 1)).unwrap();
    assert_eq!(deployments.reserved_bytes(), 30 * MIB);
    deployments.activate(DeploymentId(1)).unwrap();
    let error = admit(&mut deployments, deployment(2, 2, 1)).unwrap_err();
    assert!(
        matches!(error, DeploymentError::Memory { free, .. } if free == 20 * MIB),
        "{error}"
    );
    deployments.undeploy("wordcount").unwrap();
    assert!(
        admit(&mut deployments, deployment(2, 2, 1)).is_err(),
        "a retiring deployment still holds it"
    );
    assert!(deployments.removed(DeploymentId(1), 0));
    admit(&mut deployments, deployment(2, 2, 1)).unwrap();
}

#[test]
fn an_older_version_never_replaces_a_newer_one() {
    let mut deployments = Deployments::new(1 << 40);
    admit(&mut deployments, deployment(1, 2, 1)).unwrap();
    let contended = admit(&mut deployments, deployment(2, 3, 1)).unwrap_err();
    assert!(
        matches!(
            contended,
            DeploymentError::Contended {
                other: DeploymentId(1),
                ..
            }
        ),
        "{contended}"
    );
    deployments.activate(DeploymentId(1)).unwrap();
    for version in [1, 2] {
        let error = admit(&mut deployments, deployment(2, version, 1)).unwrap_err();
        assert!(
            matches!(error, DeploymentError::Version { current: 2, .. }),
            "{error}"
        );
    }
    assert!(matches!(
        admit(&mut deployments, deployment(1, 3, 1)),
        Err(DeploymentError::Known(_))
    ));
    admit(&mut deployments, deployment(2, 3, 1)).unwrap();
    assert_eq!(
        deployments.served(),
        [("wordcount".to_owned(), 2)],
        "until the new one is activated"
    );
    deployments.activate(DeploymentId(2)).unwrap();
    assert_eq!(deployments.served(), [("wordcount".to_owned(), 3)]);
    let states: Vec<_> = deployments
        .status()
        .into_iter()
        .map(|status| status.state)
        .collect();
    assert_eq!(states, [DeploymentState::Retiring, DeploymentState::Active]);
}

/// A placement of version 2 of deployment 10, of which there are two, in turn.
fn placement(number: u16, change: impl FnOnce(&mut Plan)) -> Deployment {
    let mut placement = deployment(9 + u64::from(number), 2, 1);
    let mut plan = Plan::clone(&placement.plan);
    plan.replica = Replica {
        of: DeploymentId(10),
        number,
        count: 2,
        balance: Balance::RoundRobin,
    };
    change(&mut plan);
    placement.plan = Arc::new(plan);
    placement
}

fn states(deployments: &Deployments) -> Vec<(u32, u16, DeploymentState)> {
    let status = deployments.status();
    status
        .iter()
        .map(|of| (of.version, of.replica, of.state))
        .collect()
}

#[test]
fn placements_of_a_deployment_are_activated_and_dropped_together() {
    let mut deployments = Deployments::new(1 << 40);
    admit(&mut deployments, deployment(1, 1, 1)).unwrap();
    deployments.activate(DeploymentId(1)).unwrap();
    admit(&mut deployments, placement(1, |_| {})).unwrap();
    let early = deployments.activate(DeploymentId(10)).unwrap_err();
    assert!(
        matches!(
            early,
            DeploymentError::Incomplete {
                prepared: 1,
                count: 2,
                ..
            }
        ),
        "{early}"
    );
    assert_eq!(
        deployments.last_prepared(DeploymentId(10)),
        Some(DeploymentId(10))
    );
    admit(&mut deployments, placement(2, |_| {})).unwrap();
    assert_eq!(
        deployments.last_prepared(DeploymentId(10)),
        None,
        "it goes on"
    );
    assert_eq!(
        deployments.last_prepared(DeploymentId(11)),
        Some(DeploymentId(10))
    );
    // By the deployment's id, and no other placement's.
    assert!(matches!(
        deployments.activate(DeploymentId(11)),
        Err(DeploymentError::Unknown(DeploymentId(11)))
    ));
    deployments.activate(DeploymentId(10)).unwrap();
    use DeploymentState::{Active, Retiring};
    assert_eq!(
        states(&deployments),
        [(1, 1, Retiring), (2, 1, Active), (2, 2, Active)]
    );
    assert_eq!(
        deployments.served(),
        [("wordcount".to_owned(), 2)],
        "named once"
    );
    assert_eq!(deployments.reserved_bytes(), 90 * MIB, "each has its own");
    let active = |number| deployments.active("wordcount", number);
    let ids = [1, 2].map(|number| active(number).unwrap().plan.deployment);
    assert_eq!(ids, [DeploymentId(10), DeploymentId(11)]);
    let beyond = active(3).unwrap_err().to_string();
    assert!(
        beyond.contains("has 2 placements here, and no placement 3"),
        "{beyond}"
    );
    assert!(matches!(
        deployments.active("other", 1),
        Err(DeploymentError::NoWorkflow { .. })
    ));
    let retired = deployments.undeploy("wordcount").unwrap();
    assert_eq!(Vec::from_iter(retired), [DeploymentId(10)]);
    assert_eq!(
        states(&deployments),
        [(1, 1, Retiring), (2, 1, Retiring), (2, 2, Retiring)]
    );

    let mut dropped = Deployments::new(1 << 40);
    admit(&mut dropped, placement(1, |_| {})).unwrap();
    admit(&mut dropped, placement(2, |_| {})).unwrap();
    dropped.abort(DeploymentId(10)).unwrap();
    assert_eq!(states(&dropped), [(2, 1, Retiring), (2, 2, Retiring)]);
}

#[test]
fn a_placement_that_is_not_like_those_beside_it_is_refused() {
    let mut deployments = Deployments::new(70 * MIB);
    admit(&mut deployments, placement(1, |_| {})).unwrap();
    let changes: [fn(&mut Plan); 4] = [
        |plan| plan.version = 3,
        |plan| plan.replica.count = 3,
        |plan| plan.replica.balance = Balance::Load,
        |plan| plan.replica.number = 1,
    ];
    for change in changes {
        let error = admit(&mut deployments, placement(2, change)).unwrap_err();
        assert!(matches!(error, DeploymentError::Unlike { .. }), "{error}");
    }
    let other = admit(
        &mut deployments,
        placement(2, |plan| plan.replica.of = DeploymentId(3)),
    );
    assert!(
        matches!(other, Err(DeploymentError::Contended { .. })),
        "{other:?}"
    );
    admit(&mut deployments, placement(2, |_| {})).unwrap();
    assert!(deployments.activate(DeploymentId(10)).is_ok());
    // Once it serves nothing can be added to it.
    let late = admit(
        &mut deployments,
        placement(2, |plan| plan.deployment = DeploymentId(12)),
    );
    assert!(
        matches!(late, Err(DeploymentError::Version { .. })),
        "{late:?}"
    );
}

#[test]
fn a_deployment_is_gone_when_every_lane_has_let_go() {
    let mut deployments = Deployments::new(1 << 40);
    admit(&mut deployments, deployment(1, 1, 2)).unwrap();
    deployments.abort(DeploymentId(1)).unwrap();
    assert!(deployments.abort(DeploymentId(1)).is_err());
    assert!(deployments.activate(DeploymentId(1)).is_err());
    assert!(!deployments.removed(DeploymentId(1), 0));
    assert!(!deployments.removed(DeploymentId(1), 0));
    assert!(deployments.removed(DeploymentId(1), 1));
    assert_eq!(deployments.reserved_bytes(), 0);
    assert!(matches!(
        deployments.activate(DeploymentId(1)),
        Err(DeploymentError::Unknown(_))
    ));
    let error = deployments.undeploy("wordcount").unwrap_err();
    assert!(error.to_string().ends_with("nothing is"), "{error}");
}

#[test]
fn no_executor_runs_beyond_what_was_reserved() {
    let mut deployments = Deployments::new(1 << 40);
    let id = DeploymentId(1);
    admit(&mut deployments, deployment(1, 1, 2)).unwrap();
    assert_eq!(deployments.begin_start(id, 0, 0), Some(0));
    assert_eq!(deployments.begin_start(id, 0, 0), Some(1));
    assert_eq!(
        deployments.begin_start(id, 0, 0),
        None,
        "two are reserved for lane 0"
    );
    let running = Running {
        lane: 0,
        executable: 0,
        cpu: 0,
    };
    assert!(deployments.end_start(id, (0, 0), Some((7, running))));
    assert_eq!(deployments.begin_start(id, 0, 0), None);
    assert!(deployments.end_start(id, (0, 0), None));
    assert_eq!(
        deployments.begin_start(id, 0, 0),
        Some(1),
        "one that could not be started takes no place"
    );
    assert!(deployments.executor_ended(id, 7).is_some());
    assert!(deployments.executor_ended(id, 7).is_none());
    for (executable, lane) in [(1, 0), (0, 2)] {
        assert_eq!(deployments.begin_start(id, executable, lane), None);
    }
    assert_eq!(deployments.begin_start(DeploymentId(2), 0, 0), None);
}

#[test]
fn only_executable_files_of_the_folder_itself_are_run() {
    let folder = folder();
    assert_eq!(executables_of(folder.path(), None), ["wordcount"]);
    for name in [
        "notes.txt",
        "sub",
        "none",
        "../wordcount",
        "sub/../wordcount",
        "/bin/true",
        ".",
        "",
    ] {
        let error = find_executable(folder.path(), None, name).unwrap_err();
        assert!(
            matches!(error, DeploymentError::Executable { .. }),
            "{name}"
        );
    }
}

#[test]
fn what_runs_commands_comes_with_the_worker_unless_the_functions_folder_has_it() {
    let (functions, own) = (folder(), folder());
    let program = |folder: &tempfile::TempDir| folder.path().join(COMMAND_EXECUTABLE);
    let find = |name| find_executable(functions.path(), Some(own.path()), name);
    assert!(find(COMMAND_EXECUTABLE).is_err());
    std::fs::copy(own.path().join("wordcount"), program(&own)).unwrap();
    assert_eq!(find(COMMAND_EXECUTABLE).unwrap(), program(&own));
    let known = executables_of(functions.path(), Some(own.path()));
    assert_eq!(known, [COMMAND_EXECUTABLE, "wordcount"]);
    // Nothing else is taken from there.
    std::fs::rename(own.path().join("wordcount"), own.path().join("other")).unwrap();
    assert!(find("other").is_err());
    std::fs::copy(functions.path().join("wordcount"), program(&functions)).unwrap();
    assert_eq!(find(COMMAND_EXECUTABLE).unwrap(), program(&functions));
    let known = executables_of(functions.path(), Some(own.path()));
    assert_eq!(known, [COMMAND_EXECUTABLE, "wordcount"]);
}

#[test]
fn files_are_kept_with_what_was_prepared_within_bounds_and_go_with_it() {
    let of = |bytes: usize| Sources {
        files: vec![("a.yaml".into(), "x".repeat(bytes - 6 - 2))],
        terms: "{}".into(),
    };
    assert_eq!(of(100).bytes(), 100);
    let mut deployments = Deployments::new(u64::MAX);
    assert!(matches!(
        deployments.keep(DeploymentId(1), of(8)),
        Err(DeploymentError::Unknown(_))
    ));
    deployments.insert(named("w", 1));
    let large = deployments.keep(DeploymentId(1), of(SOURCES_BYTES_MAX + 1));
    assert!(matches!(large, Err(DeploymentError::Sources { .. })));
    assert!(deployments.active("w", 1).is_err(), "it is prepared only");
    deployments
        .keep(DeploymentId(1), of(SOURCES_BYTES_MAX))
        .unwrap();
    deployments.activate(DeploymentId(1)).unwrap();
    let kept = deployments.active("w", 1).unwrap().sources.as_ref();
    assert_eq!(kept.map(Sources::bytes), Some(SOURCES_BYTES_MAX));
    assert!(matches!(
        deployments.keep(DeploymentId(1), of(8)),
        Err(DeploymentError::NotPrepared(_))
    ));
    // All of a worker's together have a bound of their own, and what goes makes room.
    let most = (SOURCES_BYTES_ALL_MAX / SOURCES_BYTES_MAX) as u64;
    for id in 2..=most {
        deployments.insert(named(&format!("w{id}"), id));
        deployments
            .keep(DeploymentId(id), of(SOURCES_BYTES_MAX))
            .unwrap();
    }
    deployments.insert(named("last", most + 1));
    assert!(deployments.keep(DeploymentId(most + 1), of(8)).is_err());
    assert!(deployments.removed(DeploymentId(1), 0));
    deployments
        .keep(DeploymentId(most + 1), of(SOURCES_BYTES_MAX))
        .unwrap();
}
