//! Divided regions: the parts of a plan that go together, and those that do not.

use super::*;
use crate::plan::{OutputSource, Part, SectionPlan, Share, WholePlan};

fn part(number: u16, of: u16, (first, behind): (u32, u32), whole: u32) -> Part {
    Part {
        number,
        of,
        share: Share {
            first,
            behind,
            whole,
        },
    }
}

/// `count` in two parts, the first of them on this worker, which gathers both.
fn divided() -> Plan {
    let mut plan = plan();
    let (mine, other) = (part(0, 2, (0, 3), 4), part(1, 2, (3, 4), 4));
    plan.regions[0].part = Some(mine);
    plan.nodes[1].remote_consumers.clear();
    plan.nodes[2].id = 4;
    plan.nodes[2].inputs[1].sources[0] = Source::Output { node: 3, output: 0 };
    plan.nodes[0].remote_consumers = vec![RemoteConsumer {
        worker: 1,
        outputs: vec![0],
        sections: vec![SectionPlan {
            list: 0,
            share: other.share,
            batch: None,
        }],
    }];
    plan.remote_nodes[0].id = 3;
    let count = RemoteNode {
        id: 2,
        name: "count".into(),
        outputs: vec![declaration("count", Kind::List)],
        part: Some(other),
        ..plan.remote_nodes[0].clone()
    };
    plan.remote_nodes.insert(0, count);
    plan.wholes = vec![WholePlan {
        id: 6,
        parts: vec![1, 2],
        sections: vec![],
    }];
    plan.nodes[2].inputs[0].sources[0] = Source::Output { node: 6, output: 0 };
    let source = |node, worker, part| OutputSource {
        source: Source::Output { node, output: 0 },
        worker,
        part,
    };
    plan.outputs[0].sources[0].source = Source::Output { node: 4, output: 0 };
    plan.outputs.push(WorkflowOutput {
        name: "counts".into(),
        kind: Kind::List,
        sources: vec![source(1, 0, Some(mine)), source(2, 1, Some(other))],
        optional: false,
    });
    plan
}

/// That the plan is refused once `change` has made it wrong, for a reason with these words.
#[track_caller]
fn wrong(words: &str, change: impl FnOnce(&mut Plan)) {
    let mut plan = divided();
    change(&mut plan);
    let error = plan.check().expect_err("the plan is wrong").to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn a_plan_of_parts_passes() {
    divided().check().unwrap();
}

#[test]
fn parts_that_are_not_all_of_one_node_in_order_are_refused() {
    let gap = "leave something out, or overlap";
    wrong("a share of nothing", |p| {
        p.regions[0].part = Some(part(0, 2, (3, 3), 4));
    });
    wrong("end of a share", |p| {
        p.regions[0].part = Some(part(0, 2, (0, 5), 4));
    });
    wrong("end of a share", |p| {
        p.remote_nodes[0].part = Some(part(1, 2, (0, 0), 0));
    });
    wrong("number of parts", |p| {
        p.regions[0].part = Some(part(0, 1, (0, 3), 4));
        p.remote_nodes[0].part = Some(part(1, 1, (3, 4), 4));
    });
    wrong("part", |p| p.regions[0].part = Some(part(2, 2, (0, 3), 4)));
    for other in [
        part(1, 2, (2, 4), 4),
        part(1, 2, (3, 5), 5),
        part(1, 2, (3, 4), 5),
    ] {
        wrong(gap, |p| p.remote_nodes[0].part = Some(other));
    }
    let all = "are not all of them, one after the other";
    wrong(all, |p| p.wholes[0].parts = vec![2, 1]);
    wrong(all, |p| p.wholes[0].parts = vec![1]);
    wrong(all, |p| {
        p.regions[0].part = Some(part(0, 3, (0, 3), 4));
        p.remote_nodes[0].part = Some(part(1, 3, (3, 4), 4));
    });
    wrong("is part of it twice", |p| p.wholes[0].parts = vec![1, 1]);
    wrong("what is no part", |p| {
        p.remote_nodes[0].part = None;
        p.remote_nodes[0].name = "other".into();
    });
    wrong("are not parts of one node", |p| {
        p.remote_nodes[0].name = "counts".into();
    });
    wrong("are not parts of one node", |p| {
        p.remote_nodes[0].catches = 1
    });
    wrong("node 9", |p| p.wholes[0].parts = vec![1, 9]);
    wrong("behind those of all nodes", |p| {
        p.wholes[0].id = 4;
        p.nodes[2].inputs[0].sources[0] = Source::Output { node: 4, output: 0 };
    });
    wrong("lies within another region", |p| {
        p.regions.push(p.regions[0].clone());
        p.regions[1].parent = Some(0);
        p.nodes[1].region = Some(1);
    });
}

#[test]
fn nobody_outside_waits_for_one_part_alone() {
    let alone = "a part of a divided node alone";
    for node in [1, 2] {
        let source = Source::Output { node, output: 0 };
        wrong(alone, |p| p.nodes[2].inputs[0].sources[0] = source);
        wrong(alone, |p| p.nodes[2].after.push(node));
    }
    wrong(alone, |p| p.outputs[1].sources[0].part = None);
    // Nor is a divided node waited for by what comes before one of its parts.
    let error = {
        let mut plan = divided();
        plan.nodes[1].id = 4;
        plan.nodes[2].id = 5;
        plan.nodes.swap(1, 2);
        plan.nodes[1].id = 1;
        plan.nodes[2].id = 5;
        plan.wholes[0].parts = vec![5, 2];
        plan.check().unwrap_err()
    };
    assert!(matches!(error, PlanError::Order { .. }), "{error}");
}

#[test]
fn an_output_is_made_of_all_parts_in_order() {
    let all = "are not all of them, one after the other";
    wrong(all, |p| p.outputs[1].sources.truncate(1));
    wrong(all, |p| p.outputs[1].sources.swap(0, 1));
    wrong("what is no part", |p| {
        p.outputs[1].sources[0].source = Source::Output { node: 0, output: 0 };
    });
    wrong("takes List", |p| {
        p.outputs[1].sources[1].source = Source::Output { node: 3, output: 0 };
    });
    wrong("takes Bytes", |p| p.outputs[1].kind = Kind::Bytes);
}

#[test]
fn a_section_is_of_what_is_needed_and_enough_for_who_reads_it() {
    let section = |list, first, behind| SectionPlan {
        list,
        share: Share {
            first,
            behind,
            whole: 4,
        },
        batch: None,
    };
    wrong("that is not needed", |p| {
        p.nodes[0].remote_consumers[0].sections = vec![section(1, 3, 4)];
    });
    wrong("section of a list", |p| {
        p.nodes[0].remote_consumers[0].sections = vec![section(0, 3, 4); 2];
    });
    wrong("a share of nothing", |p| {
        p.nodes[0].remote_consumers[0].sections = vec![section(0, 4, 4)];
    });
    wrong("batch", |p| {
        p.nodes[0].remote_consumers[0].sections[0].batch = Some(0);
    });
    wrong("not everything is here", |p| {
        p.wholes[0].sections = vec![section(0, 0, 2)];
    });
    // The region here runs over an input of which it is to get less than its share, or just that.
    let over_input = |p: &mut Plan, behind: u32| {
        p.inputs.push(WorkflowInput::new("list", Kind::List));
        p.regions[0].list = Source::Input(2);
        p.participants[0].inputs.push(2);
        p.participants[0].sections = vec![section(2, 0, behind)];
    };
    wrong("more of a list than is here", |p| over_input(p, 2));
    let mut enough = divided();
    over_input(&mut enough, 3);
    enough.check().unwrap();
}

#[test]
fn parts_of_one_name_are_told_apart_by_their_numbers() {
    wrong("count", |p| {
        p.remote_nodes[0].part = Some(part(0, 2, (0, 3), 4))
    });
    wrong("split", |p| p.remote_nodes[0].name = "split".into());
}
