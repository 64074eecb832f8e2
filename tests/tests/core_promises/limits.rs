//! Places of invocations, and when they are free again.

use super::{FIRST, SECOND, actions, core_of, deploy, node, plan_of, removed, taken_by, workflow};
use engine::core::{Action, ClientId, Core, Held, Incoming, InputForm, Outbound, Outgoing, Wanted};
use engine::plan::{Constant, MemoryBound, NodePlan, Source, WorkflowInput, WorkflowOutput};
use engine::wire::Failure;
use faasflow_tests::workflow::{Workflow, function_node, needed};
use faasstore::binding::Kind;
use faasstore::descriptor::PayloadRef;

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
