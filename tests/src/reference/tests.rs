//! The reference against what one can see by looking.

use super::{Breach, End, Reason, Verdict, judge};
use crate::functions::{Datum, choose};
use crate::trace::{Ending, Moment, Trace};
use crate::workflow::{Workflow, function_node, needed, returned};
use engine::plan::{
    ErrorClass, Gate, Join, NodeId, NodePlan, RegionPlan, Source, Work, WorkflowInput,
};
use faasstore::binding::Kind;

fn at(step: u64) -> Moment {
    Moment { step, ns: step }
}

/// A run in which each of these nodes was started and ended in events of these numbers, with these inputs.
fn seen(nodes: &[(NodeId, u64, u64, &[Datum])]) -> Trace {
    let mut trace = Trace::default();
    for (node, started, ended, inputs) in nodes {
        trace.starts((*node, Vec::new()), 1, at(*started), inputs.to_vec());
        trace.ends((*node, Vec::new()), 1, at(*ended), Ending::Well);
    }
    trace
}

fn fails(trace: &mut Trace, node: NodeId, started: u64, ended: u64) {
    trace.starts((node, Vec::new()), 1, at(started), Vec::new());
    let ending = Ending::Failed(ErrorClass::Error, "no".to_owned());
    trace.ends((node, Vec::new()), 1, at(ended), ending);
}

fn after(nodes: &[NodeId]) -> NodePlan {
    NodePlan {
        after: nodes.to_vec(),
        ..function_node()
    }
}

fn workflow(nodes: Vec<NodePlan>) -> Workflow {
    let mut workflow = Workflow {
        nodes,
        ..Workflow::empty()
    };
    workflow.mark_tolerated();
    workflow
}

fn ends(verdict: &Verdict) -> Vec<&End> {
    verdict.nodes.iter().map(|node| &node.end).collect()
}

fn complaint(judged: Result<Verdict, Breach>) -> String {
    judged.expect_err("it must not be allowed").0
}

#[test]
fn a_case_that_was_not_chosen_is_skipped_and_so_is_what_waits_for_it_alone() {
    let switch = NodePlan {
        work: Work::Switch {
            conditions: vec!["true".to_owned()],
            default: true,
        },
        ..NodePlan::default()
    };
    let behind = |case| NodePlan {
        gates: vec![Gate::Case { node: 0, case }],
        ..function_node()
    };
    let nodes = vec![
        switch,
        behind(0),
        behind(1),
        after(&[1]),
        after(&[2]),
        after(&[1, 2]),
    ];
    let workflow = workflow(nodes);
    let chosen = NodeId::from(choose(workflow.salt, 0, &[], 2));
    let (taken, other) = (1 + chosen, 2 - chosen);
    let right = [(0, 1, 2), (taken, 2, 3), (taken + 2, 3, 4), (5, 3, 4)];
    let right: Vec<_> = right
        .map(|(node, from, to)| (node, from, to, &[][..]))
        .to_vec();
    let verdict = judge(&workflow, &[], &seen(&right)).unwrap();
    assert_eq!(verdict.outputs, Some(Vec::new()));
    for skipped in [other, other + 2] {
        assert_eq!(verdict.nodes[skipped as usize].end, End::Skipped);
        let mut wrong = right.clone();
        wrong.push((skipped, 5, 6, &[]));
        let what = complaint(judge(&workflow, &[], &seen(&wrong)));
        assert!(what.contains("is to be skipped"), "{what}");
    }
    let early = seen(&[(0, 1, 2, &[]), (taken, 1, 3, &[])]);
    assert!(complaint(judge(&workflow, &[], &early)).contains("before"));
}

/// Three nodes, and one that joins so many of them and reads them all.
fn race(needed_edges: u32) -> Workflow {
    let runner = || NodePlan {
        outputs: returned(&[Kind::Bytes]),
        ..function_node()
    };
    let source = |node| (Kind::Bytes, Source::Output { node, output: 0 });
    let join = NodePlan {
        inputs: needed(&[source(0), source(1), source(2)]),
        join: Join::AtLeast(needed_edges),
        ..function_node()
    };
    workflow(vec![runner(), runner(), runner(), join])
}

#[test]
fn a_join_of_some_sees_as_many_as_it_waits_for() {
    let workflow = race(2);
    let runners = [(0, 1, 4, &[][..]), (1, 1, 2, &[][..]), (2, 1, 3, &[][..])];
    let verdict = judge(&workflow, &[], &seen(&runners)).unwrap();
    let output = |node: usize| match &verdict.nodes[node].end {
        End::Well(outputs) => outputs[0].clone(),
        other => panic!("{other:?}"),
    };
    let with = |started: u64, inputs: &[Datum]| {
        let join = (3, started, started + 1, inputs);
        judge(&workflow, &[], &seen(&[&runners[..], &[join]].concat()))
    };
    let two = [Datum::Absent, output(1), output(2)];
    assert_eq!(with(3, &two).unwrap().outputs, Some(Vec::new()));
    assert!(complaint(with(2, &two)).contains("before"));
    let one = [Datum::Absent, output(1), Datum::Absent];
    assert!(complaint(with(3, &one)).contains("saw"));
    let all = [output(0), output(1), output(2)];
    assert!(complaint(with(4, &all)).contains("saw"));
    let swapped = [Datum::Absent, output(2), output(1)];
    assert!(complaint(with(3, &swapped)).contains("saw"));
}

#[test]
fn failures_that_leave_a_join_too_few_edges_fail_the_invocation_and_others_do_not() {
    let out_of_reach = |needed: u32, failing: &[NodeId]| -> Vec<NodeId> {
        let workflow = race(needed);
        let mut trace = Trace::default();
        for node in 0..3 {
            match failing.contains(&node) {
                true => fails(&mut trace, node, 1, 2),
                false => {
                    trace.starts((node, Vec::new()), 1, at(1), Vec::new());
                    trace.ends((node, Vec::new()), 1, at(2), Ending::Well);
                }
            }
        }
        let verdict = judge(&workflow, &[], &trace).unwrap();
        let reason = verdict.reasons.first().map(|(reason, _)| reason.clone());
        match reason {
            Some(Reason::Join { failed, .. }) => failed.into_keys().collect(),
            other => {
                assert_eq!(other, None);
                assert_eq!(ends(&verdict)[3], &End::Open, "it runs, and has not yet");
                Vec::new()
            }
        }
    };
    assert_eq!(out_of_reach(3, &[1]), [1]);
    assert_eq!(out_of_reach(2, &[0, 2]), [0, 2]);
    assert!(out_of_reach(2, &[0]).is_empty());
    assert_eq!(out_of_reach(1, &[0, 1, 2]), [0, 1, 2]);
}

#[test]
fn what_is_caught_carries_an_error_and_nothing_else() {
    let mut risky = function_node();
    risky.outputs = returned(&[Kind::Bytes, Kind::Value]);
    (risky.error_output, risky.catches) = (Some(1), vec![Vec::new()]);
    let source = |output, kind| (kind, Source::Output { node: 0, output });
    let reads = |source| NodePlan {
        inputs: needed(&[source]),
        ..function_node()
    };
    let rescue = NodePlan {
        gates: vec![Gate::Catch { node: 0, catch: 0 }],
        ..reads(source(1, Kind::Value))
    };
    let workflow = workflow(vec![
        risky,
        reads(source(0, Kind::Bytes)),
        rescue,
        after(&[0]),
    ]);
    let mut trace = Trace::default();
    fails(&mut trace, 0, 1, 2);
    let verdict = judge(&workflow, &[], &trace).unwrap();
    assert!(matches!(ends(&verdict)[0], End::Caught { catch: 0, .. }));
    let rest: Vec<&End> = ends(&verdict)[1..].to_vec();
    assert_eq!(rest, [&End::Skipped, &End::Open, &End::Skipped]);
    let verdict = judge(&workflow, &[], &seen(&[(0, 1, 2, &[])])).unwrap();
    let rest: Vec<&End> = ends(&verdict)[1..].to_vec();
    assert_eq!(rest, [&End::Open, &End::Skipped, &End::Open]);
}

/// `node` ran in an event of that number for these items, and saw this.
fn ran(trace: &mut Trace, node: NodeId, items: &[u32], step: u64, seen: &[Datum]) {
    let activation = (node, items.to_vec());
    trace.starts(activation.clone(), 1, at(step), seen.to_vec());
    trace.ends(activation, 1, at(step + 1), Ending::Well);
}

#[test]
fn a_chain_runs_item_by_item_and_is_gathered_with_nothing_where_it_was_skipped() {
    let switch = NodePlan {
        work: Work::Switch {
            conditions: vec!["true".to_owned()],
            default: true,
        },
        inputs: needed(&[(Kind::Value, Source::Item { up: 0 })]),
        region: Some(0),
        ..NodePlan::default()
    };
    let chosen = NodePlan {
        gates: vec![Gate::Case { node: 0, case: 0 }],
        outputs: returned(&[Kind::Bytes]),
        region: Some(0),
        ..function_node()
    };
    let source = Source::Output { node: 1, output: 0 };
    let all = NodePlan {
        inputs: needed(&[(Kind::List, source)]),
        ..function_node()
    };
    let mut workflow = workflow(vec![switch, chosen, all]);
    workflow.inputs = vec![WorkflowInput::new("i0", Kind::List)];
    workflow.regions = vec![RegionPlan {
        parent: None,
        list: Source::Input(0),
        batch: None,
        parallelism: Some(1),
        part: None,
    }];
    let items: Vec<Vec<u8>> = (0..6).map(|item| vec![item]).collect();
    let case = |item: &Vec<u8>| choose(workflow.salt, 0, &[Datum::One(item.clone())], 2);
    let input = [Some(Datum::List(items.iter().cloned().map(Some).collect()))];
    let mut trace = Trace::default();
    for (number, item) in (0..).zip(&items) {
        let step = 10 * u64::from(number) + 1;
        ran(&mut trace, 0, &[number], step, &[Datum::One(item.clone())]);
        if case(item) == 0 {
            ran(&mut trace, 1, &[number], step + 2, &[]);
        }
    }
    let verdict = judge(&workflow, &input, &trace).unwrap();
    let End::Items(of) = &verdict.nodes[1].end else {
        panic!("{:?}", verdict.nodes[1]);
    };
    let outputs = &of.outputs;
    let Datum::List(gathered) = &outputs[0] else {
        panic!("{outputs:?}");
    };
    let there: Vec<bool> = gathered.iter().map(Option::is_some).collect();
    let chosen: Vec<bool> = items.iter().map(|item| case(item) == 0).collect();
    assert_eq!(there, chosen);
    assert!(there.contains(&true) && there.contains(&false));
    let mut early = trace.clone();
    ran(&mut early, 2, &[], 30, &[outputs[0].clone()]);
    assert!(complaint(judge(&workflow, &input, &early)).contains("before"));
    let skipped = chosen.iter().position(|chosen| !chosen).unwrap() as u32;
    let mut wrong = trace.clone();
    ran(&mut wrong, 1, &[skipped], 90, &[]);
    assert!(complaint(judge(&workflow, &input, &wrong)).contains("is to be skipped"));
    let mut beyond = trace.clone();
    ran(&mut beyond, 1, &[9], 90, &[]);
    assert!(complaint(judge(&workflow, &input, &beyond)).contains("must not start"));
    let mut at_once = Trace::default();
    for (number, item) in (0..2).zip(&items) {
        ran(&mut at_once, 0, &[number], 1, &[Datum::One(item.clone())]);
    }
    assert!(complaint(judge(&workflow, &input, &at_once)).contains("items open"));
}
