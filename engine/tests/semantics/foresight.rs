//! What a core says beforehand of what a switch leads to.

use super::flow::{Flow, case, input, out};
use super::rig::Rig;
use engine::plan::{Join, NodeId, NodePlan};

/// `a` runs, then the switch `s` on it, then `b` or `c`, which read what `a` made; `z` runs beside. `change` has its say
/// before `b` is there.
fn forked(change: impl FnOnce(&mut Flow, [NodeId; 3])) -> Flow {
    let mut flow = Flow::default();
    let a = flow.function("a", |_| {});
    let z = flow.function("z", |_| {});
    let s = flow.switch("s", 2, |n| n.after = vec![a]);
    change(&mut flow, [a, z, s]);
    for (name, number) in [("b", 0), ("c", 1)] {
        flow.function(name, |n| {
            n.inputs = vec![input("in", out(a))];
            n.gates = vec![case(s, number)];
        });
    }
    flow
}

/// What is foreseen for both cases while `a` runs, and what then starts first if they are chosen.
fn foreseen_and_started(flow: &Flow) -> [(Option<String>, String); 2] {
    [0, 1].map(|case| {
        let mut rig = Rig::new(flow, 1);
        rig.invoke(&[]);
        let foreseen = rig.foresees_case("a", "s", case);
        rig.end("a");
        let before = rig.started.len();
        rig.choose("s", Some(case));
        let started = rig.started[before].node.clone();
        rig.end_all();
        rig.result().unwrap();
        (foreseen, started)
    })
}

fn waits_for(nodes: &[NodeId]) -> impl Fn(&mut NodePlan) {
    move |node| node.after = nodes.to_vec()
}

#[test]
fn what_a_case_starts_is_foreseen_while_that_runs_which_the_switch_waits_for() {
    let both = [
        (Some("b".to_owned()), "b".to_owned()),
        (Some("c".to_owned()), "c".to_owned()),
    ];
    assert_eq!(foreseen_and_started(&forked(|_, _| {})), both);
    // What waits for something else starts later.
    let more = forked(|flow, [a, z, s]| {
        flow.function("later", waits_for(&[a, z, s]));
    });
    assert_eq!(foreseen_and_started(&more), both);
}

#[test]
fn what_may_start_before_what_a_case_leads_to_keeps_it_from_being_foreseen() {
    let join = forked(|flow, [_, z, s]| {
        flow.function("join", |n| {
            n.after = vec![z, s];
            n.join = Join::AtLeast(1);
        });
    });
    let after = forked(|flow, [a, _, s]| {
        flow.function("after", |n| {
            n.after = vec![a, s];
            n.timeout_ms = Some(1000);
        });
    });
    for (flow, first) in [(join, "join"), (after, "after")] {
        for (foreseen, started) in foreseen_and_started(&flow) {
            assert_eq!((foreseen.as_deref(), started.as_str()), (None, first));
        }
    }
    // It would have the executor.
    let beside = forked(|flow, [a, _, _]| {
        flow.function("beside", waits_for(&[a]));
    });
    assert!(
        foreseen_and_started(&beside)
            .iter()
            .all(|(foreseen, _)| foreseen.is_none())
    );
}
