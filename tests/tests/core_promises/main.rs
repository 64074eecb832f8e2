//! Promises of the trigger core that a simulation seldom puts to the test: each by the few events that it takes.

mod executors;
mod limits;
mod peers;
mod retirement;

use engine::core::{Action, Core, CoreConfig, ExecutorId, Outbound, Start, worker_hash};
use engine::plan::{
    DeploymentId, Limits, NodeId, NodePlan, Plan, Replica, Source, Work, WorkerIndex,
};
use engine::trace::ClockId;
use engine::wire::Outcome;
use faasflow_tests::plans::{DeploymentName, Placement, plans, worker_name};
use faasflow_tests::workflow::{Workflow, function_node, needed, returned};
use faasstore::binding::Kind;
use faasstore::descriptor::InvocationId;

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

/// The core of worker 0 of two, with a deployment of these nodes; `workers` says where each runs.
fn deployed(nodes: Vec<NodePlan>, workers: &[WorkerIndex]) -> Core {
    let mut core = core_of(0);
    let flow = workflow(nodes, vec![1]);
    deploy(&mut core, plan_of(&flow, 2, workers, FIRST));
    core
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
