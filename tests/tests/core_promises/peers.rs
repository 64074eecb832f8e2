//! What peers tell, and what becomes of it when their connections break.

use super::{
    FIRST, GRACE_NS, SECOND, actions, connects, core_of, deploy, deployed, disconnects, ended_well,
    hash_of, is_sent, node, plan_of, second_of_two, starts, taken_by, workflow,
};
use engine::core::{Action, ClientId, Core, ExecutorId, Held, Incoming, Outbound, Wanted};
use engine::plan::{Constant, RegionPlan, Source};
use engine::wire::{Failure, Outcome};
use faasflow_tests::plans::worker_name;
use faasstore::Cancelled;
use faasstore::binding::Kind;
use faasstore::descriptor::PayloadRef;

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
    let nodes = vec![node(&[]), node(&[]), node(&[0, 1])];
    let mut core = deployed(nodes, &[1, 1, 0]);
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
fn a_peer_cannot_take_an_invocation_from_the_lane_that_owes_its_answer() {
    let mut core = deployed(vec![node(&[]), node(&[])], &[0, 1]);
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
