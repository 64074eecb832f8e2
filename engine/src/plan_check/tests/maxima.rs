//! What a plan may say of maxima, and of the worst case.

use super::*;
use crate::plan::{MemoryBound, PortMaximum, PortRef};
use faasstore::binding::Maximum;

fn most(port: PortRef, bytes: u64, items: u64) -> PortMaximum {
    let maximum = Maximum {
        bytes,
        items,
        ..Maximum::NONE
    };
    PortMaximum { port, maximum }
}

#[test]
fn what_is_made_and_what_clients_give_may_have_maxima() {
    let mut plan = plan();
    plan.maxima = vec![
        most(PortRef::Input(0), 100, u64::MAX),
        most(PortRef::Written { node: 1, output: 0 }, 100, u64::MAX),
    ];
    assert_eq!(plan.check(), Ok(()));
}

#[test]
fn maxima_of_what_is_not_there_are_refused() {
    let none = u64::MAX;
    for (maxima, reason) in [
        (
            vec![most(PortRef::Input(9), 1, none)],
            "there is no input number 9",
        ),
        (
            vec![most(PortRef::Written { node: 3, output: 9 }, 1, none)],
            "there is no output number 9",
        ),
        // A node of another worker.
        (
            vec![most(PortRef::Written { node: 2, output: 0 }, 1, none)],
            "node 2 is not in the plan",
        ),
        (
            vec![most(PortRef::Output(0), 1, none)],
            "what is made declares a maximum",
        ),
        (
            vec![most(PortRef::Read { node: 0, input: 0 }, 1, none)],
            "what is made declares a maximum",
        ),
        (
            vec![most(PortRef::Input(0), 1, none); 2],
            "none may stand there twice",
        ),
        // A value has no items.
        (vec![most(PortRef::Input(1), 1, 7)], "only a list has items"),
    ] {
        let error = refused(|plan| plan.maxima = maxima.clone());
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn a_worst_case_is_of_a_worker_that_there_is_and_for_each_lane_of_this_one() {
    let whole = |plan: &Plan| MemoryBound {
        worker: 0,
        invocation_bytes: 1,
        quota_bytes: 2,
        in_flight_max: 2,
        at_door: vec![2; plan.workers[usize::from(plan.me)].lanes.into()],
        on_lane: vec![2; plan.workers[usize::from(plan.me)].lanes.into()],
    };
    let mut right = plan();
    right.memory = Some(whole(&right));
    assert_eq!(right.check(), Ok(()));
    for (change, reason) in [
        (
            (|memory| memory.worker = 99) as fn(&mut MemoryBound),
            "there is no worker number 99",
        ),
        (|memory| memory.at_door.push(0), "each lane of this worker"),
        (|memory| memory.at_door[0] = 3, "no lane takes more"),
        (
            |memory| memory.on_lane.clear(),
            "each lane of this worker has a worst case",
        ),
    ] {
        let error = refused(|plan| {
            let mut memory = whole(plan);
            change(&mut memory);
            plan.memory = Some(memory);
        });
        assert!(error.to_string().contains(reason), "{error}");
    }
}
