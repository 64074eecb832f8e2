//! What a core allocates while a workflow waits for memory: nothing, however long its queue is.

use bench::peak::{Counted, peak_bytes};
use engine::core::store::StoreRules;
use engine::core::{
    Action, ClientId, Core, CoreConfig, ExecutorId, Incoming, Output, Piece, Start, Wanted,
    worker_hash,
};
use engine::plan::{DeploymentId, Limits, NodePlan, Replica, Source, WorkflowInput};
use engine::trace::ClockId;
use faasflow_tests::plans::{DeploymentName, Placement, plans, worker_name};
use faasflow_tests::workflow::{Workflow, function_node, needed, returned};
use faasstore::binding::Kind;
use faasstore::descriptor::PayloadRef;
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: Counted<System> = Counted(System);

const ID: DeploymentId = DeploymentId(1);
const PAYLOAD_BYTES: u64 = 100;
const QUOTA_BYTES: u64 = 1_000;
const EXECUTORS: u16 = 2;

fn core() -> Core {
    let mut core = Core::new(CoreConfig {
        worker_hash: worker_hash(&worker_name(0)),
        epoch: 1,
        lane: 0,
        in_flight_max: 10_000,
        grace_ns: 1_000,
        lease_ns_max: None,
        patience_ns: 1_000,
        keep_alive_ns: u64::MAX / 2,
        clock: ClockId::UNKNOWN,
        store: StoreRules {
            moved_bytes_min: 1,
            quota_bytes: Some(QUOTA_BYTES),
            ..StoreRules::default()
        },
    });
    let flow = Workflow {
        inputs: vec![WorkflowInput::new("in", Kind::Bytes)],
        nodes: vec![NodePlan {
            inputs: needed(&[(Kind::Bytes, Source::Input(0))]),
            outputs: returned(&[Kind::Bytes]),
            ..function_node()
        }],
        scales: vec![EXECUTORS],
        ..Workflow::empty()
    };
    let name = DeploymentName {
        id: ID,
        replica: Replica::only(ID),
        workflow: "flow".into(),
        version: 1,
    };
    let placement = Placement::whole(&flow, vec![1], vec![0]);
    let plan = plans(&flow, &placement, &name, Limits::default()).swap_remove(0);
    core.deploy(plan, Vec::new());
    core.activate(0, ID);
    for executor in 0..EXECUTORS {
        core.executor_joined(0, ExecutorId(executor.into()), ID, 0);
    }
    core
}

/// What a core is behind with, done; what starts.
fn starts(core: &mut Core) -> Vec<Start> {
    let mut starts = Vec::new();
    let mut actions = Vec::new();
    loop {
        core.take_actions(&mut actions);
        if actions.is_empty() {
            core.tidy(0, &mut actions);
        }
        if actions.is_empty() {
            return starts;
        }
        starts.extend(actions.drain(..).filter_map(|action| match action {
            Action::Start(start) => Some(start),
            _ => None,
        }));
    }
}

#[test]
fn a_long_queue_that_waits_for_memory_costs_no_allocation_at_an_event() {
    let mut core = core();
    let mut segment = 0;
    let mut range = || {
        segment += 1;
        PayloadRef {
            segment,
            generation: 1,
            offset: 64,
            length: PAYLOAD_BYTES,
        }
    };
    let mut running = Vec::new();
    for request in 0..500 {
        let inputs = vec![("in".to_owned(), Incoming::One(range()))];
        core.invoke(0, ClientId(1), request, "flow", inputs, Wanted::NOTHING);
        running.append(&mut starts(&mut core));
    }
    // What it makes is known once one has ended; from then on there is no room for another beside the one that is started all the same.
    while let Some(start) = running.pop() {
        let outputs = [Output::One(Piece::Own(range()))];
        core.completed(0, start.executor, start.activation, &outputs)
            .expect("it runs");
        running.append(&mut starts(&mut core));
        if running.len() == 1 && core.held().waiting > 100 {
            break;
        }
    }
    let waiting = core.held().waiting;
    assert!(running.len() == 1 && waiting > 100, "{waiting}");
    let mut actions = Vec::with_capacity(64);
    for event in 1..50 {
        // One more has been seen to use memory: what waits is looked through again.
        core.measured(ID, 0, event);
        let ((), bytes) = peak_bytes(|| core.tidy(0, &mut actions));
        assert!(actions.is_empty(), "{actions:?}");
        assert!(event < 3 || bytes == 0, "{bytes} bytes at event {event}");
    }
    assert_eq!(core.held().waiting, waiting);
}
