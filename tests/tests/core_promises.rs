//! Promises of the trigger core that a simulation seldom puts to the test: each by the few events that it takes.

use engine::core::{
    Action, ClientId, CompletionError, Core, CoreConfig, ExecutorId, Held, Incoming, InputForm,
    Outbound, Outgoing, Output, Piece, Start, Wanted, worker_hash,
};
use engine::plan::{
    Constant, DeploymentId, ErrorClass, Limits, MemoryBound, NodeId, NodePlan, Plan, RegionPlan,
    Replica, Retry, Source, Work, WorkerIndex, WorkflowInput, WorkflowOutput,
};
use engine::trace::ClockId;
use engine::wire::{Failure, Outcome};
use faasflow_tests::plans::{DeploymentName, Placement, plans, worker_name};
use faasflow_tests::workflow::{Workflow, function_node, needed, returned};
use faasstore::Cancelled;
use faasstore::binding::Kind;
use faasstore::descriptor::{InvocationId, PayloadRef};

const GRACE_NS: u64 = 1_000;
const KEEP_ALIVE_NS: u64 = 1_000_000;
const FIRST: DeploymentId = DeploymentId(1);
const SECOND: DeploymentId = DeploymentId(2);

fn core_of(worker: usize) -> Core {
    Core::new(CoreConfig {
        worker_hash: hash_of(worker),
        epoch: 1,
        lane: 0,
        in_flight_max: 10,
        grace_ns: GRACE_NS,
        lease_ns_max: None,
        patience_ns: GRACE_NS,
        keep_alive_ns: KEEP_ALIVE_NS,
        clock: ClockId::UNKNOWN,
        store: engine::core::store::StoreRules::default(),
    })
}

fn hash_of(worker: usize) -> u32 {
    worker_hash(&worker_name(worker))
}

fn taken_by(worker: usize, epoch: u32, sequence: u64) -> InvocationId {
    InvocationId::new(hash_of(worker), epoch, 0, sequence)
}

/// Worker `worker` connects in that life of its, as the lane tells of it.
fn connects(core: &mut Core, worker: usize, epoch: u32, next_sequence: u64) {
    core.door_opened(taken_by(worker, epoch, 0).door(), next_sequence);
}

/// The connection from that worker has gone, as the lane tells of it.
fn disconnects(core: &mut Core, worker: usize, cause: &str) {
    core.peer_lost(0, &worker_name(worker), 0, cause);
    core.door_closed(&worker_name(worker), 0);
}

fn node(after: &[NodeId]) -> NodePlan {
    NodePlan {
        after: after.to_vec(),
        ..function_node()
    }
}

fn workflow(nodes: Vec<NodePlan>, scales: Vec<u16>) -> Workflow {
    Workflow {
        nodes,
        scales,
        ..Workflow::empty()
    }
}

fn runs_on(node: &mut NodePlan, executable: u16) {
    node.work = Work::Function {
        executable,
        function: "f".to_owned(),
        arguments: Vec::new(),
    };
}

/// The core takes in a plan without constants.
fn deploy(core: &mut Core, plan: Plan) {
    core.deploy(plan, Vec::new());
}

fn ended_well(core: &mut Core, now_ns: u64, id: InvocationId, node: NodeId) {
    core.state_event(now_ns, FIRST, id, node, Outcome::Well, Vec::new());
}

/// The plan of worker 0; `workers` says where each node runs.
fn plan_of(
    workflow: &Workflow,
    worker_count: usize,
    workers: &[WorkerIndex],
    id: DeploymentId,
) -> Plan {
    let placement = Placement::whole(workflow, vec![1; worker_count], workers.to_vec());
    let name = DeploymentName {
        id,
        replica: Replica::only(id),
        workflow: "flow".into(),
        version: id.0 as u32,
    };
    plans(workflow, &placement, &name, Limits::default()).swap_remove(0)
}

fn actions(core: &mut Core) -> Vec<Action> {
    let (mut all, mut actions) = (Vec::new(), Vec::new());
    loop {
        core.take_actions(&mut actions);
        if actions.is_empty() {
            core.tidy(0, &mut actions);
        }
        if actions.is_empty() {
            return all;
        }
        all.append(&mut actions);
    }
}

fn starts(actions: &[Action]) -> Vec<Start> {
    let start = |action: &Action| {
        if let Action::Start(start) = action {
            Some(*start)
        } else {
            None
        }
    };
    actions.iter().filter_map(start).collect()
}

fn removed(core: &mut Core, id: DeploymentId) -> bool {
    actions(core).contains(&Action::Removed(id))
}

fn is_sent(actions: &[Action], wanted: impl Fn(&Outbound) -> bool) -> bool {
    actions
        .iter()
        .any(|action| matches!(action, Action::Send(send) if wanted(&send.body)))
}

#[test]
fn a_grace_period_ends_only_what_it_was_set_for() {
    let mut core = core_of(0);
    let twin = workflow(vec![node(&[]), node(&[])], vec![2]);
    deploy(&mut core, plan_of(&twin, 1, &[0, 0], FIRST));
    core.activate(0, FIRST);
    let (first, second) = (ExecutorId(0), ExecutorId(1));
    core.executor_joined(0, first, FIRST, 0);
    core.executor_joined(0, second, FIRST, 0);
    core.invoke(0, ClientId(1), 1, "flow", Vec::new(), Wanted::NOTHING);
    let running = starts(&actions(&mut core));
    assert_eq!(running.len(), 2);
    // One activation fails: the invocation is over, and the other activation has a grace period.
    core.failed(
        0,
        running[0].executor,
        running[0].activation,
        ErrorClass::Error,
        "no".into(),
    )
    .unwrap();
    // Its executor dies within that, and its place is taken by another one that runs as many activations.
    core.executor_left(10, running[1].executor, "it died");
    core.executor_left(10, running[0].executor, "it died");
    core.executor_joined(20, running[1].executor, FIRST, 0);
    core.invoke(20, ClientId(1), 2, "flow", Vec::new(), Wanted::NOTHING);
    actions(&mut core);
    core.tick(2 * GRACE_NS);
    let killed = actions(&mut core)
        .into_iter()
        .any(|action| matches!(action, Action::Kill { .. }));
    assert!(!killed, "an executor that runs something else was ended");
}

#[test]
fn the_keep_alive_of_a_deployment_that_is_gone_touches_no_other() {
    let mut core = core_of(0);
    let mut other = node(&[]);
    runs_on(&mut other, 1);
    deploy(
        &mut core,
        plan_of(
            &workflow(vec![node(&[]), other], vec![1, 2]),
            1,
            &[0, 0],
            FIRST,
        ),
    );
    core.activate(0, FIRST);
    core.executor_joined(0, ExecutorId(0), FIRST, 1);
    core.executor_joined(0, ExecutorId(1), FIRST, 1);
    assert!(core.next_timer_ns().is_some());
    core.retire(1, FIRST);
    assert!(removed(&mut core, FIRST));
    // It takes the place of the first, and has fewer executables.
    deploy(
        &mut core,
        plan_of(&workflow(vec![node(&[])], vec![1]), 1, &[0], SECOND),
    );
    core.tick(KEEP_ALIVE_NS);
    assert_eq!(actions(&mut core), []);
}

/// A core with a pool of two idle executors, which has just told one of them to end: which.
fn after_a_keep_alive() -> (Core, ExecutorId) {
    let mut core = core_of(0);
    let twin = workflow(vec![node(&[]), node(&[])], vec![2]);
    deploy(&mut core, plan_of(&twin, 1, &[0, 0], FIRST));
    core.activate(0, FIRST);
    core.executor_joined(0, ExecutorId(0), FIRST, 0);
    core.executor_joined(0, ExecutorId(1), FIRST, 0);
    assert_eq!(actions(&mut core), []);
    core.tick(KEEP_ALIVE_NS);
    let told = actions(&mut core);
    let [Action::Stop(ending)] = told[..] else {
        panic!("not one is told to end: {told:?}");
    };
    (core, ending)
}

#[test]
fn an_executor_that_was_told_to_end_keeps_its_place_until_its_process_has_gone() {
    let (mut core, ending) = after_a_keep_alive();
    let wanted = |actions: &[Action]| {
        let is_wanted = |action: &&Action| matches!(action, Action::ExecutorWanted { .. });
        actions.iter().filter(is_wanted).count()
    };
    // Work for two comes just then. What is reserved for the pool is still in use.
    core.invoke(
        KEEP_ALIVE_NS,
        ClientId(1),
        1,
        "flow",
        Vec::new(),
        Wanted::NOTHING,
    );
    let begun = actions(&mut core);
    assert_eq!((starts(&begun).len(), wanted(&begun)), (1, 0), "{begun:?}");
    assert_ne!(starts(&begun)[0].executor, ending);
    core.executor_left(KEEP_ALIVE_NS + 1, ending, "it was told to end");
    assert_eq!(wanted(&actions(&mut core)), 1);
    core.executor_joined(KEEP_ALIVE_NS + 2, ending, FIRST, 0);
    let begun = actions(&mut core);
    assert_eq!((starts(&begun).len(), wanted(&begun)), (1, 0), "{begun:?}");
}

#[test]
fn an_executor_that_was_told_to_end_and_does_not_is_killed() {
    let (mut core, ending) = after_a_keep_alive();
    core.tick(KEEP_ALIVE_NS + GRACE_NS - 1);
    assert_eq!(actions(&mut core), [], "it has a grace period");
    core.tick(KEEP_ALIVE_NS + GRACE_NS);
    let killed = actions(&mut core);
    assert!(
        matches!(killed[..], [Action::Kill { executor, .. }] if executor == ending),
        "{killed:?}"
    );
    // In time, its place is free, and whoever takes it is not meant.
    let (mut core, ending) = after_a_keep_alive();
    core.executor_left(KEEP_ALIVE_NS + 1, ending, "it was told to end");
    core.executor_joined(KEEP_ALIVE_NS + 2, ending, FIRST, 0);
    core.tick(KEEP_ALIVE_NS + GRACE_NS);
    let left = actions(&mut core);
    assert!(
        !left
            .iter()
            .any(|action| matches!(action, Action::Kill { .. })),
        "{left:?}"
    );
}

#[test]
fn a_participant_waits_for_a_door_without_nodes_before_its_deployment_goes() {
    let mut core = core_of(0);
    deploy(
        &mut core,
        plan_of(&workflow(vec![node(&[])], vec![1]), 2, &[0], FIRST),
    );
    core.activate(0, FIRST);
    core.retire(0, FIRST);
    assert!(
        !removed(&mut core, FIRST),
        "worker 1 may have begun an invocation just now"
    );
    core.peer_drained(FIRST, hash_of(1), 0);
    assert!(removed(&mut core, FIRST));
}

#[test]
fn a_door_without_nodes_waits_for_nobody_before_its_deployment_goes() {
    let mut core = core_of(0);
    deploy(
        &mut core,
        plan_of(&workflow(vec![node(&[])], vec![1]), 2, &[1], FIRST),
    );
    core.activate(0, FIRST);
    core.retire(0, FIRST);
    let actions = actions(&mut core);
    assert!(is_sent(&actions, |body| *body == Outbound::Drained));
    assert!(actions.contains(&Action::Removed(FIRST)));
}

#[test]
fn the_only_participant_finds_an_invocation_of_another_door_again() {
    let mut core = core_of(0);
    deploy(
        &mut core,
        plan_of(
            &workflow(vec![node(&[]), node(&[0])], vec![1]),
            2,
            &[0, 0],
            FIRST,
        ),
    );
    core.activate(0, FIRST);
    core.executor_joined(0, ExecutorId(0), FIRST, 0);
    let id = taken_by(1, 1, 0);
    core.begin_coming(FIRST, id);
    core.begin(0, FIRST, id, Wanted::NOTHING, Vec::new());
    assert_eq!(
        core.held().invocations,
        1,
        "the word that was under way is of the same invocation"
    );
    let first = starts(&actions(&mut core))[0];
    core.forget(0, id, Cancelled::ByClient);
    core.completed(0, first.executor, first.activation, &[])
        .unwrap();
    assert_eq!(
        starts(&actions(&mut core)),
        [],
        "what has not started never starts"
    );
    assert_eq!(core.held(), Held::default());
}

/// Worker 0 runs the second of two nodes in a row; worker 1 runs the first, and worker 2 is a door alone.
fn second_of_two() -> Core {
    let mut first = node(&[]);
    first.outputs = returned(&[Kind::Bytes]);
    let mut second = node(&[]);
    second.inputs = needed(&[(Kind::Bytes, Source::Output { node: 0, output: 0 })]);
    let mut core = core_of(0);
    deploy(
        &mut core,
        plan_of(&workflow(vec![first, second], vec![1]), 3, &[1, 0], FIRST),
    );
    core.activate(0, FIRST);
    core.executor_joined(0, ExecutorId(0), FIRST, 0);
    for worker in 1..3 {
        connects(&mut core, worker, 1, 0);
    }
    core
}

#[test]
fn an_event_of_an_invocation_that_was_forgotten_before_it_began_is_late() {
    // It failed elsewhere, and its inputs are not waited for, or its beginning was never sent.
    for is_coming in [true, false] {
        let mut core = second_of_two();
        let id = taken_by(2, 1, 0);
        if is_coming {
            core.begin_coming(FIRST, id);
        }
        core.forget(0, id, Cancelled::ByClient);
        ended_well(&mut core, 0, id, 0);
        assert_eq!(
            (core.held(), core.counters().late_dropped),
            (Held::default(), 1),
            "{is_coming}"
        );
    }
}

#[test]
fn an_event_of_an_earlier_life_of_the_entry_worker_is_late() {
    let mut core = second_of_two();
    disconnects(&mut core, 2, "it died");
    connects(&mut core, 2, 2, 0);
    ended_well(&mut core, 0, taken_by(2, 1, 0), 0);
    assert_eq!(
        (core.held(), core.counters().late_dropped),
        (Held::default(), 1)
    );
}

#[test]
fn an_event_of_an_invocation_that_nobody_will_begin_is_not_kept_for_ever() {
    let mut core = second_of_two();
    disconnects(&mut core, 2, "it died");
    ended_well(&mut core, 0, taken_by(2, 1, 0), 0);
    core.tick(GRACE_NS);
    assert_eq!(
        (core.held(), core.counters().late_dropped),
        (Held::default(), 1)
    );
}

#[test]
fn an_event_of_an_invocation_that_was_decided_before_its_entry_worker_connected_is_dropped() {
    let mut core = second_of_two();
    disconnects(&mut core, 2, "the connection broke");
    ended_well(&mut core, 0, taken_by(2, 1, 4), 0);
    connects(&mut core, 2, 1, 5);
    assert_eq!(
        (core.held(), core.counters().late_dropped),
        (Held::default(), 1)
    );
}

#[test]
fn an_event_of_an_invocation_is_not_kept_when_its_entry_worker_is_lost_for_good() {
    let mut core = second_of_two();
    ended_well(&mut core, 0, taken_by(2, 1, 0), 0);
    core.tick(GRACE_NS);
    assert_eq!(core.held().invocations, 1, "its beginning may still come");
    disconnects(&mut core, 2, "it died");
    core.tick(GRACE_NS);
    assert_eq!(
        (core.held(), core.counters().late_dropped),
        (Held::default(), 1)
    );
}

#[test]
fn an_event_that_overtakes_a_new_connection_is_kept_for_its_invocation() {
    let mut core = second_of_two();
    disconnects(&mut core, 2, "the connection broke");
    let id = taken_by(2, 1, 5);
    let output = Incoming::One(PayloadRef::EMPTY);
    core.state_event(0, FIRST, id, 0, Outcome::Well, vec![(0, output)]);
    connects(&mut core, 2, 1, 5);
    core.tick(GRACE_NS);
    core.begin(GRACE_NS, FIRST, id, Wanted::NOTHING, Vec::new());
    assert_eq!(starts(&actions(&mut core)).len(), 1);
}

/// Whether this lane has told an entry worker that its part came to nothing, and holds nothing of it.
fn has_failed(core: &mut Core) -> bool {
    let told = is_sent(&actions(core), |body| {
        matches!(
            body,
            Outbound::PartFailed {
                failure: Failure::Worker { .. },
                ..
            }
        )
    });
    told && core.held() == Held::default()
}

#[test]
fn an_invocation_that_begins_while_a_participant_is_not_connected_fails_at_once() {
    let mut core = second_of_two();
    disconnects(&mut core, 1, "the connection broke");
    core.begin(0, FIRST, taken_by(2, 1, 0), Wanted::NOTHING, Vec::new());
    assert!(has_failed(&mut core));
}

#[test]
fn what_a_participant_told_while_it_was_not_connected_is_not_waited_for() {
    let mut core = second_of_two();
    disconnects(&mut core, 1, "the connection broke");
    core.begin_coming(FIRST, taken_by(2, 1, 0));
    connects(&mut core, 1, 1, 0);
    core.begin(0, FIRST, taken_by(2, 1, 0), Wanted::NOTHING, Vec::new());
    assert!(has_failed(&mut core));
    core.begin(0, FIRST, taken_by(2, 1, 1), Wanted::NOTHING, Vec::new());
    ended_well(&mut core, 0, taken_by(2, 1, 1), 0);
    assert_eq!(starts(&actions(&mut core)).len(), 1, "it is heard again");
}

#[test]
fn a_beginning_that_comes_after_its_events_were_given_up_fails_at_once() {
    let mut core = second_of_two();
    disconnects(&mut core, 2, "the connection broke");
    ended_well(&mut core, 0, taken_by(2, 1, 3), 0);
    core.tick(GRACE_NS + 1);
    assert_eq!(
        (core.held().invocations, core.counters().late_dropped),
        (0, 1)
    );
    // It greets with a number that leaves this one open, as it does when it has told of it on the connection since.
    connects(&mut core, 2, 1, 3);
    core.begin_coming(FIRST, taken_by(2, 1, 3));
    core.begin_coming(FIRST, taken_by(2, 1, 4));
    let _ = actions(&mut core);
    core.begin(0, FIRST, taken_by(2, 1, 3), Wanted::NOTHING, Vec::new());
    let told = actions(&mut core);
    let failed = told.iter().any(|action| match action {
        Action::Send(send) => match &send.body {
            Outbound::PartFailed {
                failure: Failure::Worker { worker, .. },
                ..
            } => send.worker_hash == hash_of(2) && *worker == worker_name(2),
            _ => false,
        },
        _ => false,
    });
    assert!(failed, "its event will not come again: {told:?}");
    // Those after it are as good as ever.
    core.begin(0, FIRST, taken_by(2, 1, 4), Wanted::NOTHING, Vec::new());
    ended_well(&mut core, 0, taken_by(2, 1, 4), 0);
    assert_eq!(starts(&actions(&mut core)).len(), 1);
    // It is not remembered beyond that life.
    disconnects(&mut core, 2, "the connection broke");
    connects(&mut core, 2, 2, 0);
    let _ = actions(&mut core);
    core.begin(0, FIRST, taken_by(2, 2, 3), Wanted::NOTHING, Vec::new());
    assert_eq!(actions(&mut core), []);
}

#[test]
fn a_door_is_closed_to_clients_until_a_participant_that_was_not_connected_is_heard_again() {
    let mut core = second_of_two();
    let taken_and_refused = |core: &mut Core| {
        core.invoke(0, ClientId(1), 1, "flow", Vec::new(), Wanted::NOTHING);
        (core.in_flight(), core.counters().invocations_refused)
    };
    disconnects(&mut core, 1, "the connection broke");
    assert_eq!(taken_and_refused(&mut core), (0, 1));
    core.door_heard(&worker_name(1), 0);
    assert_eq!(taken_and_refused(&mut core), (0, 2), "by no connection");
    connects(&mut core, 1, 1, 0);
    assert_eq!(
        taken_and_refused(&mut core),
        (0, 3),
        "it may not be able to answer"
    );
    core.door_heard(&worker_name(1), 0);
    assert_eq!(taken_and_refused(&mut core), (1, 3));
}

#[test]
fn those_who_prepared_a_deployment_are_heard_when_its_door_opens() {
    let mut core = second_of_two();
    for worker in 1..3 {
        disconnects(&mut core, worker, "the connection broke");
        connects(&mut core, worker, 1, 0);
    }
    let flow = workflow(vec![node(&[]), node(&[])], vec![1]);
    deploy(&mut core, plan_of(&flow, 2, &[0, 1], SECOND));
    core.activate(0, SECOND);
    core.invoke(0, ClientId(1), 1, "flow", Vec::new(), Wanted::NOTHING);
    assert_eq!(core.in_flight(), 1);
}

#[test]
fn a_deployment_s_limit_counts_its_own_invocations_alone() {
    let mut core = core_of(0);
    let flow = workflow(vec![node(&[])], vec![1]);
    for (id, name, in_flight_max) in [(FIRST, "flow", 5), (SECOND, "narrow", 2)] {
        let mut plan = plan_of(&flow, 2, &[1], id);
        plan.workflow = name.into();
        plan.limits.in_flight_max = in_flight_max;
        deploy(&mut core, plan);
        core.activate(0, id);
    }
    let mut invoke = |name| {
        let before = core.in_flight();
        core.invoke(0, ClientId(1), 1, name, Vec::new(), Wanted::NOTHING);
        core.in_flight() > before
    };
    // Those of another workflow take no places of this one's, but all of the lane's together.
    assert!((0..5).all(|_| invoke("flow")) && !invoke("flow"));
    assert!((0..2).all(|_| invoke("narrow")) && !invoke("narrow"));
}

/// A workflow at whose door there is memory for one: its node, on worker 1, reads what the client gives, which is returned too,
/// beside a constant.
fn one_at_the_door() -> Core {
    let flow = Workflow {
        inputs: vec![WorkflowInput::new("in", Kind::Bytes)],
        constants: vec![Constant {
            kind: Kind::Bytes,
            items: vec![vec![7; 8]],
        }],
        outputs: vec![
            WorkflowOutput::new("out", Kind::Bytes, Source::Input(0), 0),
            WorkflowOutput::new("fixed", Kind::Bytes, Source::Constant(0), 0),
        ],
        nodes: vec![NodePlan {
            inputs: needed(&[(Kind::Bytes, Source::Input(0))]),
            ..function_node()
        }],
        ..Workflow::empty()
    };
    let mut plan = plan_of(&flow, 2, &[1], FIRST);
    plan.memory = Some(MemoryBound {
        worker: 1,
        invocation_bytes: 64,
        quota_bytes: 64,
        in_flight_max: 1,
        at_door: vec![1],
        on_lane: vec![1],
    });
    let mut core = core_of(0);
    core.deploy(plan, vec![Incoming::One(range(99))]);
    core.activate(0, FIRST);
    core
}

fn range(segment: u32) -> PayloadRef {
    PayloadRef {
        segment,
        generation: 1,
        offset: 64,
        length: 8,
    }
}

/// Whether the door lets one more in.
fn takes_one(core: &Core) -> bool {
    let inputs = [("in", InputForm::Bytes(8))];
    match core.would_take("flow", &inputs) {
        Ok(_) => true,
        Err(refusal) => {
            assert!(refusal.memory.is_some(), "{}", refusal.reason);
            false
        }
    }
}

/// What a door sends of an invocation that it takes now: to worker 1.
fn begun(core: &mut Core) -> Vec<Outgoing> {
    let inputs = vec![("in".to_owned(), Incoming::One(range(1)))];
    core.invoke(0, ClientId(1), 1, "flow", inputs, Wanted::NOTHING);
    let sent = actions(core).into_iter().find_map(|action| match action {
        Action::Send(send) => match send.body {
            Outbound::Begin { inputs, .. } => Some(inputs),
            _ => None,
        },
        _ => None,
    });
    let sent = sent.expect("worker 1 is told");
    sent.into_iter().map(|(_, outgoing)| outgoing).collect()
}

fn answered(core: &mut Core) -> Result<Vec<Outgoing>, Failure> {
    let answer = actions(core).into_iter().find_map(|action| match action {
        Action::Answer(answered) => Some(answered.result),
        _ => None,
    });
    let outputs = answer.expect("the client is answered")?;
    Ok(outputs.into_iter().map(|(_, outgoing)| outgoing).collect())
}

fn let_go(core: &mut Core, outgoing: &[Outgoing]) {
    for one in outgoing {
        core.let_go_all(one.payloads());
    }
}

#[test]
fn an_invocation_keeps_its_place_until_all_that_it_sends_has_gone() {
    // In either order.
    for answer_first in [true, false] {
        let mut core = one_at_the_door();
        for turn in 0..3 {
            assert!(takes_one(&core));
            let begun = begun(&mut core);
            assert!(!takes_one(&core));
            let id = taken_by(0, 1, turn);
            core.part_done(0, id, Vec::new(), Vec::new(), None);
            let answer = answered(&mut core).unwrap();
            assert_eq!(core.in_flight(), 0);
            let (first, last) = match answer_first {
                true => (answer, begun),
                false => (begun, answer),
            };
            assert!(!takes_one(&core), "neither has gone");
            let_go(&mut core, &first);
            assert!(!takes_one(&core), "one of two is still being sent");
            let_go(&mut core, &last);
        }
        // What the deployment keeps.
        assert_eq!(core.leases().count(), 1);
    }
}

#[test]
fn an_invocation_that_fails_keeps_its_place_until_all_that_it_sends_has_gone() {
    let mut core = one_at_the_door();
    let begun = begun(&mut core);
    assert!(core.cancel(0, ClientId(1), 1).is_some());
    assert_eq!(answered(&mut core), Err(Failure::Cancelled));
    assert!(!takes_one(&core));
    let_go(&mut core, &begun);
    assert!(takes_one(&core));
    assert_eq!(core.held(), Held::default());
}

#[test]
fn what_a_deployment_keeps_takes_no_place_while_it_is_sent() {
    let mut core = one_at_the_door();
    let begun = begun(&mut core);
    let_go(&mut core, &begun);
    core.part_done(0, taken_by(0, 1, 0), Vec::new(), Vec::new(), None);
    let answer = answered(&mut core).unwrap();
    let (given, fixed) = answer.split_at(1);
    let_go(&mut core, given);
    assert!(takes_one(&core), "the constant is there for all");
    let_go(&mut core, fixed);
    assert_eq!(core.leases().count(), 1);
}

#[test]
fn a_deployment_may_go_before_the_last_that_it_sends() {
    let mut core = one_at_the_door();
    let begun = begun(&mut core);
    core.part_done(0, taken_by(0, 1, 0), Vec::new(), Vec::new(), None);
    let answer = answered(&mut core).unwrap();
    core.retire(0, FIRST);
    assert!(removed(&mut core, FIRST));
    let_go(&mut core, &begun);
    let_go(&mut core, &answer);
    assert_eq!(core.held(), Held::default());
}

#[test]
fn a_connection_of_an_earlier_life_changes_nothing() {
    let mut core = second_of_two();
    connects(&mut core, 2, 2, 7);
    connects(&mut core, 2, 1, 9);
    ended_well(&mut core, 0, taken_by(2, 2, 7), 0);
    assert_eq!(
        (core.held().invocations, core.counters().late_dropped),
        (1, 0)
    );
}

#[test]
fn an_event_that_comes_twice_counts_once() {
    let mut core = core_of(0);
    let nodes = vec![node(&[]), node(&[]), node(&[0, 1])];
    deploy(
        &mut core,
        plan_of(&workflow(nodes, vec![1]), 2, &[1, 1, 0], FIRST),
    );
    core.executor_joined(0, ExecutorId(0), FIRST, 0);
    let id = taken_by(1, 1, 0);
    core.begin(0, FIRST, id, Wanted::NOTHING, Vec::new());
    ended_well(&mut core, 0, id, 0);
    ended_well(&mut core, 0, id, 0);
    assert_eq!(starts(&actions(&mut core)), [], "node 1 has not ended");
    assert_eq!(core.counters().late_dropped, 1);
    ended_well(&mut core, 0, id, 1);
    assert_eq!(starts(&actions(&mut core)).len(), 1);
}

#[test]
fn a_result_of_an_earlier_attempt_changes_nothing() {
    let mut core = core_of(0);
    let mut tried = node(&[]);
    tried.retriers = vec![Retry {
        attempts: 3,
        ..Retry::default()
    }];
    deploy(
        &mut core,
        plan_of(&workflow(vec![tried], vec![1]), 1, &[0], FIRST),
    );
    core.activate(0, FIRST);
    core.executor_joined(0, ExecutorId(0), FIRST, 0);
    core.invoke(0, ClientId(1), 1, "flow", Vec::new(), Wanted::NOTHING);
    let first = starts(&actions(&mut core))[0];
    core.failed(
        0,
        first.executor,
        first.activation,
        ErrorClass::Error,
        "no".into(),
    )
    .unwrap();
    let second = starts(&actions(&mut core))[0];
    assert_eq!((second.executor, second.attempt), (first.executor, 2));
    // The same executor runs the second attempt, and says that the first one has ended after all.
    let late = core.completed(0, first.executor, first.activation, &[]);
    assert_eq!(late, Err(CompletionError::Activation));
    let late = core.failed(
        0,
        first.executor,
        first.activation,
        ErrorClass::Error,
        "no".into(),
    );
    assert_eq!(late, Err(CompletionError::Activation));
    // So it is ended, and may say what it likes until it is gone.
    core.executor_condemned(0, second.executor, "it broke a rule");
    let late = core.completed(0, second.executor, second.activation, &[]);
    assert_eq!(late, Err(CompletionError::Activation));
    assert_eq!((actions(&mut core), core.in_flight()), (Vec::new(), 1));
    // The third attempt waits for another executor.
    core.executor_left(0, second.executor, "it ended");
    core.executor_joined(0, ExecutorId(0), FIRST, 0);
    let third = starts(&actions(&mut core))[0];
    assert_eq!(third.attempt, 3);
    core.completed(0, third.executor, third.activation, &[])
        .unwrap();
    assert!(matches!(actions(&mut core)[..], [Action::Answer(_)]));
    assert_eq!((core.in_flight(), core.counters().retries), (0, 2));
}

#[test]
fn a_peer_that_was_lost_before_a_deployment_retires_is_not_waited_for() {
    let mut core = second_of_two();
    for worker in 1..3 {
        disconnects(&mut core, worker, "it died");
    }
    core.retire(1, FIRST);
    assert!(removed(&mut core, FIRST));
}

#[test]
fn a_peer_that_was_lost_and_begins_invocations_again_is_waited_for() {
    let mut core = second_of_two();
    for worker in 1..3 {
        disconnects(&mut core, worker, "the connection broke");
        connects(&mut core, worker, 1, 0);
    }
    let id = taken_by(2, 1, 0);
    core.begin(0, FIRST, id, Wanted::NOTHING, Vec::new());
    core.forget(0, id, Cancelled::ByClient);
    core.retire(1, FIRST);
    assert!(!removed(&mut core, FIRST));
    core.peer_drained(FIRST, hash_of(2), 0);
    assert!(removed(&mut core, FIRST));
}

#[test]
fn a_deployment_that_was_dropped_here_holds_up_no_peer_that_had_opened_its_door() {
    let mut core = core_of(0);
    deploy(
        &mut core,
        plan_of(
            &workflow(vec![node(&[]), node(&[])], vec![1]),
            2,
            &[0, 1],
            FIRST,
        ),
    );
    core.retire(0, FIRST);
    let actions = actions(&mut core);
    assert!(is_sent(&actions, |body| *body == Outbound::Drained));
    assert!(actions.contains(&Action::Removed(FIRST)));
}

#[test]
fn a_door_that_was_closed_for_good_does_not_open_again() {
    let mut core = core_of(0);
    deploy(
        &mut core,
        plan_of(&workflow(vec![node(&[])], vec![1]), 2, &[0], FIRST),
    );
    core.activate(0, FIRST);
    core.retire(0, FIRST);
    core.activate(0, FIRST);
    core.invoke(0, ClientId(1), 1, "flow", Vec::new(), Wanted::NOTHING);
    assert_eq!(core.counters().invocations_refused, 1);
}

#[test]
fn a_peer_cannot_take_an_invocation_from_the_lane_that_owes_its_answer() {
    let mut core = core_of(0);
    deploy(
        &mut core,
        plan_of(
            &workflow(vec![node(&[]), node(&[])], vec![1]),
            2,
            &[0, 1],
            FIRST,
        ),
    );
    core.activate(0, FIRST);
    core.invoke(0, ClientId(1), 1, "flow", Vec::new(), Wanted::NOTHING);
    let id = taken_by(0, 1, 0);
    core.forget(0, id, Cancelled::ByClient);
    assert_eq!((core.in_flight(), core.held().invocations), (1, 1));
    let range = PayloadRef {
        segment: 3,
        generation: 0,
        offset: 0,
        length: 8,
    };
    actions(&mut core);
    core.part_done(0, id, vec![(77, Incoming::One(range))], Vec::new(), None);
    assert_eq!(
        actions(&mut core),
        [Action::Release(range)],
        "an output that the workflow does not have"
    );
}

#[test]
fn a_backoff_beyond_all_time_is_long_and_not_short() {
    let mut stubborn = node(&[]);
    stubborn.retriers = vec![Retry {
        attempts: 1000,
        backoff_ms: u32::MAX,
        backoff_max_ms: u32::MAX,
        ..Retry::default()
    }];
    let mut core = core_of(0);
    deploy(
        &mut core,
        plan_of(&workflow(vec![stubborn], vec![1]), 1, &[0], FIRST),
    );
    core.activate(0, FIRST);
    core.executor_joined(0, ExecutorId(0), FIRST, 0);
    core.invoke(0, ClientId(1), 1, "flow", Vec::new(), Wanted::NOTHING);
    let mut last_ns = 0;
    for attempt in 1..40 {
        let start = starts(&actions(&mut core))[0];
        assert_eq!(start.attempt, attempt);
        core.failed(
            last_ns,
            start.executor,
            start.activation,
            ErrorClass::Error,
            "no".into(),
        )
        .unwrap();
        let due_ns = core.next_timer_ns().unwrap();
        assert!(due_ns == u64::MAX || due_ns - last_ns >= u64::from(u32::MAX) * 1_000_000);
        last_ns = due_ns;
        core.tick(due_ns);
    }
}

#[test]
fn a_pool_grows_to_its_scale_while_a_wide_foreach_waits() {
    let mut list = node(&[]);
    list.outputs = returned(&[Kind::List]);
    let mut each = node(&[]);
    each.region = Some(0);
    runs_on(&mut each, 1);
    let mut flow = workflow(vec![list, each], vec![1, 3]);
    flow.regions = vec![RegionPlan {
        parent: None,
        list: Source::Output { node: 0, output: 0 },
        batch: None,
        parallelism: None,
        part: None,
    }];
    let mut core = core_of(0);
    deploy(&mut core, plan_of(&flow, 1, &[0, 0], FIRST));
    core.activate(0, FIRST);
    core.executor_joined(0, ExecutorId(0), FIRST, 0);
    core.invoke(0, ClientId(1), 1, "flow", Vec::new(), Wanted::NOTHING);
    let start = starts(&actions(&mut core))[0];
    core.completed(
        0,
        start.executor,
        start.activation,
        &[Output::List(vec![Piece::Empty; 9])],
    )
    .unwrap();
    let mut wanted = 0;
    for place in 1..=3 {
        let more = Action::ExecutorWanted {
            deployment: FIRST,
            executable: 1,
        };
        let actions = actions(&mut core);
        wanted += actions.iter().filter(|action| **action == more).count();
        assert!(wanted >= place, "executor {place} was not asked for");
        core.executor_joined(0, ExecutorId(place as u32), FIRST, 1);
    }
    let more = actions(&mut core)
        .iter()
        .any(|action| matches!(action, Action::ExecutorWanted { .. }));
    assert!(wanted == 3 && !more, "beyond the pool's scale");
}

#[test]
fn items_of_an_invocation_end_with_it_when_its_entry_worker_is_lost() {
    let mut each = node(&[]);
    each.region = Some(0);
    let mut flow = workflow(vec![each], vec![3]);
    flow.constants = vec![Constant {
        kind: Kind::List,
        items: vec![Vec::new(); 3],
    }];
    flow.regions = vec![RegionPlan {
        parent: None,
        list: Source::Constant(0),
        batch: None,
        parallelism: None,
        part: None,
    }];
    let mut core = core_of(0);
    let items = Incoming::List {
        range: PayloadRef::EMPTY,
        items: vec![(0, 0); 3],
        section: None,
    };
    core.deploy(plan_of(&flow, 2, &[0], FIRST), vec![items]);
    core.activate(0, FIRST);
    for place in 0..3 {
        core.executor_joined(0, ExecutorId(place), FIRST, 0);
    }
    core.begin(0, FIRST, taken_by(1, 1, 0), Wanted::NOTHING, Vec::new());
    let running = starts(&actions(&mut core));
    assert_eq!(running.len(), 3);
    disconnects(&mut core, 1, "the connection broke");
    for start in running {
        core.completed(0, start.executor, start.activation, &[])
            .unwrap();
    }
    actions(&mut core);
    let constant = Held {
        lists: 1,
        ..Held::default()
    };
    assert_eq!(core.held(), constant);
}
