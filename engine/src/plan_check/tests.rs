//! Each field of a plan, made wrong in turn, is refused by name.

use super::*;
use crate::plan::{
    Constant, Declaration, Delay, DelayExpression, DeploymentId, ErrorClass, ErrorMatch,
    ExecutablePlan, Formula, Gate, InputPlan, Join, Limits, Participant, RegionPlan,
    RemoteConsumer, RemoteNode, Retry, Trust, Work, WorkerRef, WorkflowInput, WorkflowOutput,
};

mod maxima;
mod parts;
mod types;

fn worker(name: &str, port: u16) -> WorkerRef {
    WorkerRef {
        name: name.into(),
        address: format!("127.0.0.1:{port}"),
        lanes: 1,
        epoch: 1,
    }
}

fn declaration(name: &str, kind: Kind) -> Declaration {
    Declaration {
        name: name.into(),
        kind,
    }
}

fn input(name: &str, kind: Kind, source: Source) -> InputPlan {
    InputPlan::new(name, kind, source)
}

fn work(executable: u16, function: &str) -> Work {
    Work::Function {
        executable,
        function: function.into(),
        arguments: Vec::new(),
    }
}

fn node(id: NodeId, name: &str) -> NodePlan {
    NodePlan {
        id,
        name: name.into(),
        work: work(0, name),
        ..NodePlan::default()
    }
}

/// Word count on worker `a`, with `audit` of worker `b` between `count` and `merge`.
fn plan() -> Plan {
    let split = NodePlan {
        inputs: vec![input("text", Kind::Bytes, Source::Input(0))],
        outputs: vec![declaration("chunks", Kind::List)],
        ..node(0, "split")
    };
    let chunks = Source::Output { node: 0, output: 0 };
    let count = NodePlan {
        region: Some(0),
        inputs: vec![input("chunk", Kind::Bytes, Source::Item { up: 0 })],
        outputs: vec![declaration("counts", Kind::Bytes)],
        remote_consumers: vec![RemoteConsumer {
            worker: 1,
            outputs: vec![0],
            sections: vec![],
        }],
        ..node(1, "count")
    };
    let merge = NodePlan {
        inputs: vec![
            input("counts", Kind::List, Source::Output { node: 1, output: 0 }),
            input("audit", Kind::Bytes, Source::Output { node: 2, output: 0 }),
        ],
        outputs: vec![declaration("totals", Kind::Bytes)],
        after: vec![0],
        ..node(3, "merge")
    };
    Plan {
        deployment: DeploymentId(1),
        replica: Replica::only(DeploymentId(1)),
        workflow: "wordcount".into(),
        version: 1,
        me: 0,
        workers: vec![worker("a", 1), worker("b", 2), worker("c", 3)],
        inputs: vec![
            WorkflowInput::new("text", Kind::Bytes),
            WorkflowInput::new("limit", Kind::Value),
        ],
        constants: Vec::new(),
        timeout_ms: None,
        outputs: vec![WorkflowOutput::new(
            "totals",
            Kind::Bytes,
            Source::Output { node: 3, output: 0 },
            0,
        )],
        participants: vec![
            Participant {
                worker: 0,
                inputs: vec![0],
                sections: vec![],
            },
            Participant {
                worker: 1,
                inputs: vec![],
                sections: vec![],
            },
        ],
        regions: vec![RegionPlan {
            parent: None,
            list: chunks,
            batch: None,
            parallelism: None,
            part: None,
        }],
        nodes: vec![split, count, merge],
        remote_nodes: vec![RemoteNode {
            id: 2,
            name: "audit".into(),
            worker: 1,
            outputs: vec![declaration("found", Kind::Value)],
            error_output: None,
            cases: 0,
            catches: 0,
            part: None,
        }],
        wholes: vec![],
        executables: vec![ExecutablePlan {
            name: "wordcount".into(),
            scale: 2,
            memory_mib: 64,
            trust: Trust::Own,
        }],
        types: Vec::new(),
        maxima: Vec::new(),
        memory: None,
        limits: Limits::default(),
    }
}

/// The error of the plan once `change` has made it wrong.
fn refused(change: impl FnOnce(&mut Plan)) -> PlanError {
    let mut plan = plan();
    change(&mut plan);
    plan.check().expect_err("the plan is wrong")
}

macro_rules! refuses {
    ($($change:expr => $error:pat),+ $(,)?) => {
        $({
            let error = refused($change);
            assert!(matches!(error, $error), "{}: {error:?}", stringify!($change));
        })+
    };
}

#[test]
fn a_good_plan_passes() {
    plan().check().unwrap();
}

#[test]
fn an_entry_worker_without_nodes_passes() {
    let mut plan = plan();
    plan.me = 2;
    plan.nodes.clear();
    plan.regions.clear();
    plan.remote_nodes.clear();
    plan.executables.clear();
    plan.check().unwrap();
}

#[test]
fn an_index_out_of_bounds_is_refused_by_name() {
    refuses! {
        |p: &mut Plan| p.me = 3 => PlanError::Index { what: "worker", index: 3, count: 3, .. },
        |p: &mut Plan| p.nodes[0].work = work(1, "split") => PlanError::Index { what: "executable", .. },
        |p: &mut Plan| p.nodes[0].inputs[0].sources[0] = Source::Input(2) => PlanError::Index { what: "workflow input", .. },
        |p: &mut Plan| p.nodes[2].inputs[0].sources[0] = Source::Output { node: 1, output: 1 } =>
            PlanError::Index { what: "output", .. },
        |p: &mut Plan| p.regions[0].list = Source::Output { node: 0, output: 9 } =>
            PlanError::Index { what: "output", .. },
        |p: &mut Plan| p.nodes[1].remote_consumers[0].worker = 7 => PlanError::Index { what: "worker", .. },
        |p: &mut Plan| p.nodes[1].remote_consumers[0].outputs = vec![1] => PlanError::Index { what: "output", .. },
        |p: &mut Plan| p.remote_nodes[0].worker = 3 => PlanError::Index { what: "worker", .. },
        |p: &mut Plan| p.participants[1].worker = 3 => PlanError::Index { what: "worker", .. },
        |p: &mut Plan| p.participants[0].inputs = vec![0, 2] => PlanError::Index { what: "workflow input", .. },
        |p: &mut Plan| p.outputs[0].sources[0].worker = 3 => PlanError::Index { what: "worker", .. },
        |p: &mut Plan| p.outputs[0].sources[0].source = Source::Output { node: 3, output: 1 } =>
            PlanError::Index { what: "output", .. },
        |p: &mut Plan| p.outputs[0].sources[0].source = Source::Input(5) => PlanError::Index { what: "workflow input", .. },
    }
}

#[test]
fn an_edge_that_does_not_run_forward_is_refused() {
    refuses! {
        |p: &mut Plan| p.nodes[0].after = vec![0] => PlanError::Order { producer: 0, consumer: 0, .. },
        |p: &mut Plan| p.nodes[0].after = vec![3] => PlanError::Order { .. },
        |p: &mut Plan| p.regions[0].list = Source::Output { node: 2, output: 0 } => PlanError::Order { .. },
        |p: &mut Plan| p.nodes[2].inputs[0].sources[0] = Source::Output { node: 4, output: 0 } => PlanError::Order { .. },
        |p: &mut Plan| p.nodes.swap(0, 1) => PlanError::Rising { .. },
        |p: &mut Plan| p.nodes[1].id = 0 => PlanError::Rising { .. },
        |p: &mut Plan| p.participants.swap(0, 1) => PlanError::Rising { .. },
    }
}

#[test]
fn a_node_that_is_not_there_is_refused() {
    refuses! {
        |p: &mut Plan| p.remote_nodes.clear() => PlanError::Node { node: 2, .. },
        |p: &mut Plan| { p.nodes.remove(0); } => PlanError::Node { node: 0, .. },
        |p: &mut Plan| p.outputs[0].sources[0].source = Source::Output { node: 9, output: 0 } => PlanError::Node { node: 9, .. },
    }
}

#[test]
fn what_stands_there_twice_is_refused() {
    refuses! {
        |p: &mut Plan| p.workers[1].name = "a".into() => PlanError::Twice { what: "worker", .. },
        |p: &mut Plan| p.workers[1].address = p.workers[0].address.clone() => PlanError::Twice { what: "address", .. },
        |p: &mut Plan| p.inputs[1].name = "text".into() => PlanError::Twice { what: "input", .. },
        |p: &mut Plan| p.nodes[1].name = "split".into() => PlanError::Twice { what: "node", .. },
        |p: &mut Plan| p.remote_nodes[0].name = "split".into() => PlanError::Twice { what: "node", .. },
        |p: &mut Plan| p.remote_nodes[0].id = 1 => PlanError::Twice { what: "node", .. },
        |p: &mut Plan| p.remote_nodes[0].worker = 0 => PlanError::Twice { what: "node", .. },
        |p: &mut Plan| p.nodes[2].inputs[1].name = "counts".into() => PlanError::Twice { what: "input", .. },
        |p: &mut Plan| p.nodes[2].after = vec![0, 0] => PlanError::Twice { .. },
        |p: &mut Plan| p.nodes[0].outputs.push(declaration("chunks", Kind::Bytes)) =>
            PlanError::Twice { what: "output", .. },
        |p: &mut Plan| p.outputs.push(p.outputs[0].clone()) => PlanError::Twice { what: "output", .. },
        |p: &mut Plan| p.executables.push(p.executables[0].clone()) => PlanError::Twice { what: "executable", .. },
        |p: &mut Plan| p.nodes[1].remote_consumers[0].outputs = vec![0, 0] => PlanError::Twice { what: "output", .. },
        |p: &mut Plan| p.participants[0].inputs = vec![0, 0] => PlanError::Twice { what: "input", .. },
    }
}

#[test]
fn a_kind_that_does_not_fit_is_refused() {
    refuses! {
        |p: &mut Plan| p.nodes[0].inputs[0].kind = Kind::List => PlanError::Kind { .. },
        |p: &mut Plan| p.nodes[0].inputs[0].kind = Kind::Value => PlanError::Kind { .. },
        |p: &mut Plan| p.regions[0].list = Source::Input(0) => PlanError::Kind { takes: Kind::List, .. },
        |p: &mut Plan| p.nodes[1].inputs[0].kind = Kind::List => PlanError::Kind { .. },
        |p: &mut Plan| p.nodes[2].inputs[0].kind = Kind::Bytes => PlanError::Kind { gives: Kind::List, .. },
        |p: &mut Plan| p.outputs[0].kind = Kind::List => PlanError::Kind { .. },
        |p: &mut Plan| p.nodes[1].outputs[0].kind = Kind::List => PlanError::Nested { .. },
        |p: &mut Plan| p.nodes[0].inputs[0].sources[0] = Source::Item { up: 0 } => PlanError::Item { .. },
        |p: &mut Plan| p.regions[0].list = Source::Item { up: 0 } => PlanError::Item { .. },
        |p: &mut Plan| p.outputs[0].sources[0].source = Source::Item { up: 0 } => PlanError::Item { .. },
    }
}

#[test]
fn a_name_that_is_none_or_leads_elsewhere_is_refused() {
    refuses! {
        |p: &mut Plan| p.workflow.clear() => PlanError::Name { what: "a workflow", .. },
        |p: &mut Plan| p.workflow = "x".repeat(257) => PlanError::Name { .. },
        |p: &mut Plan| p.nodes[0].name = "a\nb".into() => PlanError::Name { .. },
        |p: &mut Plan| p.nodes[0].work = work(0, "") => PlanError::Name { what: "a function", .. },
        |p: &mut Plan| p.workers[1].address = "nowhere".into() => PlanError::Name { what: "an address", .. },
        |p: &mut Plan| p.executables[0].name = "../sh".into() => PlanError::Name { what: "an executable", .. },
        |p: &mut Plan| p.executables[0].name = "/bin/sh".into() => PlanError::Name { what: "an executable", .. },
        |p: &mut Plan| p.executables[0].name = "..".into() => PlanError::Name { what: "an executable", .. },
        |p: &mut Plan| p.executables[0].name = "a\0b".into() => PlanError::Name { .. },
    }
}

#[test]
fn a_number_outside_its_bounds_is_refused() {
    refuses! {
        |p: &mut Plan| p.version = 0 => PlanError::Range { what: "version", .. },
        |p: &mut Plan| p.replica.count = 0 => PlanError::Range { what: "placements", .. },
        |p: &mut Plan| p.replica.count = REPLICAS_MAX + 1 => PlanError::Range { what: "placements", .. },
        |p: &mut Plan| p.replica.number = 0 => PlanError::Range { what: "placement", .. },
        |p: &mut Plan| p.replica.number = 2 => PlanError::Range { what: "placement", .. },
        |p: &mut Plan| p.replica.of = DeploymentId(9) => PlanError::Replica { number: 1, .. },
        |p: &mut Plan| (p.replica.number, p.replica.count) = (2, 2) => PlanError::Replica { number: 2, .. },
        |p: &mut Plan| p.workers[1].lanes = 0 => PlanError::Range { what: "number of lanes", .. },
        |p: &mut Plan| p.executables[0].scale = 0 => PlanError::Range { what: "scale", .. },
        |p: &mut Plan| p.executables[0].scale = SCALE_MAX + 1 => PlanError::Range { what: "scale", .. },
        |p: &mut Plan| p.executables[0].memory_mib = 0 => PlanError::Range { what: "memory_mib", .. },
        |p: &mut Plan| p.executables[0].memory_mib = u32::MAX => PlanError::Range { what: "memory_mib", .. },
        |p: &mut Plan| p.nodes[0].timeout_ms = Some(0) => PlanError::Range { what: "timeout_ms", .. },
        |p: &mut Plan| p.limits.in_flight_max = 0 => PlanError::Range { what: "in_flight_max", .. },
        |p: &mut Plan| p.limits.payload_bytes_max = 0 => PlanError::Range { what: "payload_bytes_max", .. },
        |p: &mut Plan| p.limits.payload_bytes_max = (16 << 30) + 1 => PlanError::Range { what: "payload_bytes_max", .. },
        |p: &mut Plan| p.limits.inline_bytes_max = u32::MAX => PlanError::Range { what: "inline_bytes_max", .. },
        |p: &mut Plan| p.limits.items_max = 0 => PlanError::Range { what: "items_max", .. },
        |p: &mut Plan| p.limits.items_max = u32::MAX => PlanError::Range { what: "items_max", .. },
    }
}

#[test]
fn who_takes_part_must_be_listed() {
    refuses! {
        |p: &mut Plan| p.participants.clear() => PlanError::Participants { .. },
        |p: &mut Plan| { p.participants.remove(0); } => PlanError::Participants { .. },
        |p: &mut Plan| { p.participants.remove(1); } => PlanError::Participants { .. },
        |p: &mut Plan| p.participants[0].inputs.clear() => PlanError::Participants { .. },
        |p: &mut Plan| p.nodes[1].remote_consumers[0].worker = 0 => PlanError::Participants { .. },
        |p: &mut Plan| p.nodes[1].remote_consumers[0].worker = 2 => PlanError::Participants { .. },
        |p: &mut Plan| p.outputs[0].sources[0].worker = 1 => PlanError::Participants { .. },
        |p: &mut Plan| p.outputs[0].sources[0].worker = 2 => PlanError::Participants { .. },
        |p: &mut Plan| {
            p.nodes.clear();
            p.regions.clear();
            p.outputs.clear();
        } => PlanError::Participants { .. },
    }
}

#[test]
fn each_retrier_is_within_bounds_and_there_are_not_too_many() {
    let with = |retriers: usize| {
        let mut plan = plan();
        plan.nodes[0].retriers = vec![Retry::default(); retriers];
        plan
    };
    with(0).check().unwrap();
    with(RETRIERS_MAX as usize).check().unwrap();
    let many = with(RETRIERS_MAX as usize + 1).check();
    assert!(
        matches!(
            many,
            Err(PlanError::Range {
                what: "number of retriers",
                given: 17,
                max: 16,
                ..
            })
        ),
        "{many:?}"
    );
    // What is wrong is found in any of them, and told by its number.
    for wrong in 0..3 {
        let refused = |change: &dyn Fn(&mut Retry)| {
            let mut plan = with(3);
            change(&mut plan.nodes[0].retriers[wrong]);
            let error = plan.check().unwrap_err();
            let number = format!("retrier {}", wrong + 1);
            assert!(error.to_string().contains(&number), "{error}");
            error
        };
        let what = |change: &dyn Fn(&mut Retry)| match refused(change) {
            PlanError::Range { what, .. } => what,
            error => panic!("{error:?}"),
        };
        assert_eq!(what(&|retry| retry.attempts = 0), "attempts");
        assert_eq!(what(&|retry| retry.attempts = ATTEMPTS_MAX + 1), "attempts");
        assert_eq!(what(&|retry| retry.attempts = u32::MAX), "attempts");
        assert_eq!(what(&|retry| retry.factor_percent = 99), "factor_percent");
        assert_eq!(
            what(&|retry| retry.factor_percent = 10_001),
            "factor_percent"
        );
        assert_eq!(what(&|retry| retry.jitter_percent = 101), "jitter_percent");
        let nameless = refused(&|retry| retry.on = vec![ErrorMatch::Named(String::new())]);
        assert!(
            matches!(
                nameless,
                PlanError::Name {
                    what: "an error",
                    ..
                }
            ),
            "{nameless:?}"
        );
    }
}

/// What the plan's `merge` and one more node are made into for the rules of the language.
fn with_switch(p: &mut Plan) {
    p.inputs[1].kind = Kind::Value;
    p.participants[0].inputs.push(1);
    let switch = NodePlan {
        work: Work::Switch {
            conditions: vec!["limit > 1".into()],
            default: true,
        },
        inputs: vec![input("limit", Kind::Value, Source::Input(1))],
        ..node(4, "choose")
    };
    let fallible = NodePlan {
        outputs: vec![
            declaration("made", Kind::Bytes),
            declaration("error", Kind::Value),
        ],
        catches: vec![vec![ErrorMatch::Class(ErrorClass::Timeout)], vec![]],
        error_output: Some(1),
        gates: vec![Gate::Case { node: 4, case: 1 }],
        ..node(5, "fallible")
    };
    let handler = NodePlan {
        inputs: vec![input(
            "error",
            Kind::Value,
            Source::Output { node: 5, output: 1 },
        )],
        gates: vec![Gate::Catch { node: 5, catch: 1 }],
        ..node(6, "handler")
    };
    let join = NodePlan {
        inputs: vec![
            input("a", Kind::Bytes, Source::Output { node: 3, output: 0 }),
            InputPlan {
                sources: vec![Source::Output { node: 5, output: 0 }, Source::Constant(0)],
                ..input("b", Kind::Bytes, Source::Constant(0))
            },
        ],
        join: Join::AtLeast(2),
        ..node(7, "join")
    };
    p.constants.push(Constant {
        kind: Kind::Bytes,
        items: vec![b"none".to_vec()],
    });
    p.nodes.extend([switch, fallible, handler, join]);
}

#[test]
fn a_plan_with_the_whole_language_passes() {
    let mut plan = plan();
    with_switch(&mut plan);
    plan.check().unwrap();
}

#[test]
fn what_does_not_go_together_in_a_node_is_refused() {
    macro_rules! refuses {
        ($($change:expr => $error:pat),+ $(,)?) => {
            $({
                let error = refused(|p| {
                    with_switch(p);
                    ($change)(p);
                });
                assert!(matches!(error, $error), "{}: {error:?}", stringify!($change));
            })+
        };
    }
    let switch = |p: &mut Plan, conditions: Vec<String>, default| {
        p.nodes[3].work = Work::Switch {
            conditions,
            default,
        };
    };
    refuses! {
        |p: &mut Plan| switch(p, vec![], false) => PlanError::Range { what: "number of cases", .. },
        |p: &mut Plan| switch(p, vec![], true) => PlanError::Index { what: "case", index: 1, count: 1, .. },
        |p: &mut Plan| p.nodes[3].outputs.push(declaration("x", Kind::Value)) => PlanError::Rule { .. },
        |p: &mut Plan| p.nodes[4].gates[0] = Gate::Case { node: 3, case: 0 } => PlanError::Index { what: "case", .. },
        |p: &mut Plan| p.nodes[4].gates[0] = Gate::Case { node: 6, case: 0 } => PlanError::Order { .. },
        |p: &mut Plan| {
            let case = |case| Gate::Case { node: 3, case };
            p.nodes[4].gates = (0..=u16::MAX).map(case).collect();
        } => PlanError::Range { what: "number of gates", given: 65_536, .. },
        |p: &mut Plan| p.nodes[4].gates.push(Gate::Case { node: 4, case: 1 }) => PlanError::Twice { what: "gate", .. },
        |p: &mut Plan| p.nodes[5].gates[0] = Gate::Catch { node: 5, catch: 2 } => PlanError::Index { what: "catch", .. },
        |p: &mut Plan| p.nodes[4].catches.clear() => PlanError::Rule { .. },
        |p: &mut Plan| p.nodes[4].error_output = Some(0) => PlanError::Rule { .. },
        |p: &mut Plan| p.nodes[4].outputs[1].kind = Kind::Bytes => PlanError::Rule { .. },
        |p: &mut Plan| p.nodes[4].catches[0] = vec![ErrorMatch::Named(String::new())] => PlanError::Name { .. },
        |p: &mut Plan| p.nodes[6].join = Join::AtLeast(3) => PlanError::Range { what: "join", given: 3, max: 2, .. },
        |p: &mut Plan| p.nodes[6].join = Join::AtLeast(0) => PlanError::Range { what: "join", .. },
        |p: &mut Plan| p.nodes[6].inputs[1].sources.clear() => PlanError::Rule { .. },
        |p: &mut Plan| p.nodes[6].inputs[1].sources[1] = Source::Constant(1) => PlanError::Index { what: "constant", .. },
        |p: &mut Plan| p.inputs[0].optional = true => PlanError::Rule { .. },
        |p: &mut Plan| p.inputs[0].default = Some(1) => PlanError::Index { what: "constant", .. },
        |p: &mut Plan| p.inputs[1].default = Some(0) => PlanError::Kind { .. },
        |p: &mut Plan| p.constants[0].items.clear() => PlanError::Range { .. },
        |p: &mut Plan| {
            p.constants[0].kind = Kind::Value;
            p.constants[0].items[0] = vec![b'1'; VALUE_BYTES_MAX + 1];
        } => PlanError::Range { what: "bytes", .. },
        |p: &mut Plan| p.regions[0].batch = Some(0) => PlanError::Range { what: "batch", .. },
        |p: &mut Plan| p.regions[0].batch = Some(2) => PlanError::Kind { .. },
        |p: &mut Plan| p.regions[0].parallelism = Some(0) => PlanError::Range { what: "parallelism", .. },
        |p: &mut Plan| p.nodes[0].work = Work::Nothing => PlanError::Rule { .. },
        |p: &mut Plan| p.nodes[0].work = Work::Compute(vec![]) => PlanError::Rule { .. },
        |p: &mut Plan| p.nodes[2].work = Work::Compute(vec![Formula::Value("1".into())]) => PlanError::Rule { .. },
        |p: &mut Plan| p.timeout_ms = Some(0) => PlanError::Range { what: "timeout_ms", .. },
        |p: &mut Plan| p.outputs[0].sources.clear() => PlanError::Rule { .. },
    }
}

#[test]
fn a_region_that_cannot_be_is_refused() {
    let region = |parent, list| RegionPlan {
        parent,
        list,
        batch: None,
        parallelism: None,
        part: None,
    };
    refuses! {
        |p: &mut Plan| p.nodes[1].region = Some(1) => PlanError::Index { what: "region", index: 1, count: 1, .. },
        |p: &mut Plan| p.nodes[1].region = None => PlanError::Rule { .. },
        |p: &mut Plan| p.regions[0].parent = Some(0) => PlanError::Index { what: "earlier region", .. },
        |p: &mut Plan| p.regions[0].list = Source::Item { up: 0 } => PlanError::Item { .. },
        |p: &mut Plan| p.nodes[1].inputs[0].sources[0] = Source::Item { up: 1 } => PlanError::Item { .. },
        |p: &mut Plan| p.nodes[1].inputs[0].kind = Kind::List => PlanError::Kind { .. },
        |p: &mut Plan| p.nodes[0].over_list = true => PlanError::Rule { .. },
        // What leaves the region would come back into it.
        |p: &mut Plan| p.nodes[2].region = Some(0) => PlanError::Order { producer: 2, .. },
        |p: &mut Plan| {
            p.regions.push(region(None, Source::Input(0)));
            p.inputs[0].kind = Kind::List;
            p.nodes[0].region = Some(1);
        } => PlanError::Nested { .. },
        // The items of a list are no lists.
        |p: &mut Plan| {
            p.regions.push(region(Some(0), Source::Item { up: 0 }));
            p.nodes[1].region = Some(1);
        } => PlanError::Kind { takes: Kind::List, gives: Kind::Bytes, .. },
    }
    // A region without end within regions.
    let error = refused(|p| {
        for depth in 0..9 {
            p.regions
                .push(region(Some(depth), Source::Output { node: 0, output: 0 }));
        }
        p.nodes[1].region = Some(9);
    });
    assert!(
        matches!(
            error,
            PlanError::Range {
                what: "depth of regions",
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn only_of_what_is_gathered_just_within_the_first_item_is_taken() {
    let first = |node| Source::First { node, output: 0 };
    let mut good = plan();
    good.nodes[2].inputs[0] = input("counts", Kind::Bytes, first(1));
    good.check().unwrap();
    // What another worker has gathered is a list here.
    good.remote_nodes[0].outputs[0].kind = Kind::List;
    good.nodes[2].inputs[1] = input("audit", Kind::Bytes, first(2));
    good.check().unwrap();
    refuses! {
        |p: &mut Plan| p.nodes[2].inputs[0].sources[0] = first(1) => PlanError::Kind { takes: Kind::List, .. },
        |p: &mut Plan| p.nodes[2].inputs[0] = input("i", Kind::Bytes, first(0)) => PlanError::Rule { .. },
        |p: &mut Plan| p.nodes[2].inputs[0] = input("i", Kind::Bytes, first(2)) => PlanError::Rule { .. },
        |p: &mut Plan| p.nodes[2].inputs[0] = input("i", Kind::Bytes, first(3)) => PlanError::Order { .. },
        |p: &mut Plan| p.nodes[1].inputs[0] = input("i", Kind::Bytes, first(0)) => PlanError::Rule { .. },
        |p: &mut Plan| p.nodes[1].outputs[0].kind = Kind::List => PlanError::Nested { .. },
        |p: &mut Plan| p.outputs[0].sources[0].source = first(1) => PlanError::Rule { .. },
        |p: &mut Plan| p.regions[0].list = first(0) => PlanError::Rule { .. },
    }
}

#[test]
fn an_error_says_where() {
    let error = refused(|p| p.nodes[2].inputs[1].kind = Kind::List);
    assert_eq!(
        error.to_string(),
        "node \"merge\", input \"audit\": takes List, but its source gives Value"
    );
}

/// The plan with `merge` as a node that computes or chooses over one value, `audit`.
fn with_expressions(work: Work, outputs: Vec<Declaration>) -> Plan {
    let mut plan = plan();
    let merge = &mut plan.nodes[2];
    merge.work = work;
    merge.outputs = outputs;
    merge.inputs = vec![input(
        "audit.score",
        Kind::Value,
        Source::Output { node: 2, output: 0 },
    )];
    plan.outputs.clear();
    plan
}

fn switch(condition: &str) -> Plan {
    let conditions = vec!["audit.score == 1".to_owned(), condition.to_owned()];
    let default = true;
    with_expressions(
        Work::Switch {
            conditions,
            default,
        },
        Vec::new(),
    )
}

#[test]
fn conditions_and_formulas_are_compiled() {
    switch("audit.score > 1.5").check().unwrap();
    let formulas = |from: &str, value: &str| {
        let from = from.to_owned();
        let to = "10".to_owned();
        let formulas = vec![
            Formula::Range { from, to },
            Formula::Value(value.to_owned()),
        ];
        let outputs = vec![
            declaration("all", Kind::List),
            declaration("one", Kind::Value),
        ];
        with_expressions(Work::Compute(formulas), outputs)
    };
    formulas("audit.score", "audit.score * 2").check().unwrap();

    let error = |plan: Plan| plan.check().unwrap_err().to_string();
    assert_eq!(
        error(switch("1 < audit.scor")),
        "node \"merge\", condition 1: there is no value `audit.scor`, at character 5 of \"1 < audit.scor\"; \
         there are audit.score"
    );
    assert_eq!(
        error(switch("'é' > 1")),
        "node \"merge\", condition 1: `>` does not go with a text and a number, at character 1 of \"'é' > 1\"; int(x) or double(x) makes a number of a text"
    );
    assert_eq!(
        error(switch("audit.score + 1")),
        "node \"merge\", condition 1: a condition must be a boolean, and this is a number, at character 1 of \"audit.score + 1\"; compare it with something: == != < <= > >= or in"
    );
    assert_eq!(
        error(formulas("1 +", "1")),
        "node \"merge\", output \"all\": expected a value, found the end, at character 4 of \"1 +\""
    );
    assert_eq!(
        error(formulas("1", "size(1)")),
        "node \"merge\", output \"one\": `size` takes a text or a list or an object, and this is a number, at character \
         6 of \"size(1)\"; string(x) makes a text of it"
    );
    let mut plan = switch("true");
    plan.nodes[2].inputs[0].kind = Kind::Bytes;
    assert_eq!(
        error(plan),
        "node \"merge\", input \"audit.score\": an expression reads values, and lists of them"
    );
}

#[test]
fn a_node_that_tells_what_failed_has_an_output_for_it() {
    let error = refused(|plan| {
        plan.nodes[2].outputs.clear();
        plan.nodes[2].error_output = Some(0);
    });
    assert!(matches!(error, PlanError::Rule { .. }), "{error:?}");
}

/// The plan with delays of `merge` that read `audit`, a value, and `limit`.
fn with_delays(change: impl FnOnce(&mut Vec<Delay>)) -> Result<(), PlanError> {
    let mut plan = plan();
    plan.participants[0].inputs.push(1);
    let audit = Source::Output { node: 2, output: 0 };
    let computed = DelayExpression {
        text: "audit.score * limit".into(),
        inputs: vec![
            input("audit.score", Kind::Value, audit),
            input("limit", Kind::Value, Source::Input(1)),
        ],
    };
    let until = DelayExpression {
        text: "timestamp(limit)".into(),
        inputs: vec![input("limit", Kind::Value, Source::Input(1))],
    };
    let delays = &mut plan.nodes[2].delays;
    *delays = vec![
        Delay::Fixed(u32::MAX),
        Delay::Computed(computed),
        Delay::Until(until),
    ];
    change(delays);
    plan.check()
}

#[test]
fn delays_are_checked_like_what_else_a_node_evaluates() {
    with_delays(|_| ()).unwrap();
    let changed = |change: fn(&mut DelayExpression)| {
        with_delays(|delays| match &mut delays[1] {
            Delay::Computed(delay) => change(delay),
            _ => panic!("a computed delay"),
        })
        .expect_err("the delay is wrong")
        .to_string()
    };
    assert_eq!(
        changed(|delay| delay.text = "audit.score * limits".into()),
        "node \"merge\", delay 2: there is no value `limits`, at character 15 of \"audit.score * limits\"; \
         there are audit.score, limit"
    );
    assert_eq!(
        changed(|delay| delay.text = "limit == 1".into()),
        "node \"merge\", delay 2: a number of milliseconds must be a number, and this is a boolean, at character 1 of \
         \"limit == 1\""
    );
    assert_eq!(
        changed(|delay| delay.inputs[0].kind = Kind::Bytes),
        "node \"merge\", delay 2, input \"audit.score\": an expression reads values, and lists of them"
    );
    for (change, wanted) in [
        (
            (|delay: &mut DelayExpression| {
                delay.inputs[0].sources[0] = Source::Output { node: 3, output: 0 };
            }) as fn(&mut DelayExpression),
            "does not come before",
        ),
        (
            |delay| delay.inputs[0].sources[0] = Source::Item { up: 0 },
            "nothing runs over a list here",
        ),
        (
            |delay| delay.inputs[0].sources[0] = Source::Input(9),
            "there is no workflow input number 9",
        ),
        (
            |delay| delay.inputs[0].sources.clear(),
            "comes from nowhere",
        ),
        (
            |delay| delay.inputs[1].name = "audit.score".into(),
            "stands there twice",
        ),
        (|delay| delay.inputs[1].name.clear(), "is no name"),
        (
            |delay| delay.inputs[1].sources = vec![Source::Input(0)],
            "takes Value, but its source gives Bytes",
        ),
    ] {
        let told = changed(change);
        assert!(told.contains(wanted), "{told}");
        assert!(told.starts_with("node \"merge\""), "{told}");
    }
    let error = with_delays(|delays| match &mut delays[2] {
        Delay::Until(delay) => delay.text = "1".into(),
        _ => panic!("a time"),
    });
    let told = error.unwrap_err().to_string();
    assert!(told.contains("delay 3: a time must be"), "{told}");
    let error = with_delays(|delays| delays.resize(DELAYS_MAX as usize + 1, Delay::Fixed(1)));
    assert!(
        matches!(
            error,
            Err(PlanError::Range {
                what: "number of delays",
                ..
            })
        ),
        "{error:?}"
    );
}

#[test]
fn a_worker_must_be_told_the_inputs_that_its_delays_read() {
    let mut plan = plan();
    plan.nodes[2].delays = vec![Delay::Computed(DelayExpression {
        text: "limit".into(),
        inputs: vec![input("limit", Kind::Value, Source::Input(1))],
    })];
    let error = plan.check().unwrap_err();
    assert!(matches!(error, PlanError::Participants { .. }), "{error:?}");
}
