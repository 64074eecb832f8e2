//! When a deployment goes.

use super::{
    FIRST, actions, connects, deployed, disconnects, hash_of, is_sent, node, removed,
    second_of_two, starts, taken_by,
};
use engine::core::{Action, ClientId, ExecutorId, Held, Outbound, Wanted};
use faasstore::Cancelled;

#[test]
fn a_participant_waits_for_a_door_without_nodes_before_its_deployment_goes() {
    let mut core = deployed(vec![node(&[])], &[0]);
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
    let mut core = deployed(vec![node(&[])], &[1]);
    core.activate(0, FIRST);
    core.retire(0, FIRST);
    let actions = actions(&mut core);
    assert!(is_sent(&actions, |body| *body == Outbound::Drained));
    assert!(actions.contains(&Action::Removed(FIRST)));
}

#[test]
fn the_only_participant_finds_an_invocation_of_another_door_again() {
    let mut core = deployed(vec![node(&[]), node(&[0])], &[0, 0]);
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
    let mut core = deployed(vec![node(&[]), node(&[])], &[0, 1]);
    core.retire(0, FIRST);
    let actions = actions(&mut core);
    assert!(is_sent(&actions, |body| *body == Outbound::Drained));
    assert!(actions.contains(&Action::Removed(FIRST)));
}

#[test]
fn a_door_that_was_closed_for_good_does_not_open_again() {
    let mut core = deployed(vec![node(&[])], &[0]);
    core.activate(0, FIRST);
    core.retire(0, FIRST);
    core.activate(0, FIRST);
    core.invoke(0, ClientId(1), 1, "flow", Vec::new(), Wanted::NOTHING);
    assert_eq!(core.counters().invocations_refused, 1);
}
