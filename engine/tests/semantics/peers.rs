//! Payloads and messages between workers that do not arrive: who fails, and what is counted.

use super::flow::{Flow, input, out};
use super::rig::Rig;
use engine::wire::Failure;

/// `first` and `last` run on the first worker, and `there` between them on the second; the client gets what `there` makes, and so do
/// they.
fn there_and_back(back: bool) -> Flow {
    let mut flow = Flow::default();
    let first = flow.function("first", |_| ());
    let there = flow.function("there", |n| n.inputs = vec![input("made", out(first))]);
    if back {
        flow.function("last", |n| n.inputs = vec![input("made", out(there))]);
    } else {
        flow.output("made", &[out(there)], false);
    }
    flow
}

fn cause(rig: &Rig) -> String {
    match rig.failure() {
        Failure::Payload { cause, .. } => cause.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_told_fails_its_invocation_by_name_and_no_other() {
    for (back, told) in [(true, 0), (true, 1), (true, 2), (false, 2)] {
        let mut rig = Rig::new(&there_and_back(back), 2);
        // Of the beginning, of what `first` has made, and of what `there` has: to `last`, or to the client.
        let next = |rig: &mut Rig, number: u32| {
            rig.unsendable = (number == told).then_some("it is too long");
        };
        next(&mut rig, 0);
        rig.invoke(&[]);
        if told > 0 {
            next(&mut rig, 1);
            rig.end("first");
        }
        if told > 1 {
            next(&mut rig, 2);
            rig.end("there");
        }
        assert_eq!(cause(&rig), "it is too long", "{told}");
        rig.end_all();
        assert_eq!(rig.attempts("last"), 0);
        assert_eq!((rig.invocations_held(), rig.ranges_held()), (0, 0));
        rig.read_answer();
        rig.invoke_as(2);
        rig.end_all();
        rig.result().unwrap();
        rig.nothing_is_left();
    }
}

#[test]
fn payloads_that_find_no_memory_are_counted_where_they_were_to_arrive() {
    for back in [true, false] {
        let mut rig = Rig::new(&there_and_back(back), 2);
        rig.invoke(&[]);
        rig.end("first");
        assert_eq!(rig.carried_so_far().arrivals_refused, 0);
        rig.refusing = true;
        rig.end("there");
        assert_eq!(cause(&rig), "no memory", "{back}");
        assert_eq!(rig.carried_so_far().arrivals_refused, 1, "{back}");
        rig.end_all();
        rig.nothing_is_left();
    }
}
