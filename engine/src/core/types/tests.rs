use super::*;
use crate::core::CoreConfig;
use crate::plan::{
    Declaration, ExecutablePlan, InputPlan, Limits, NodePlan, Part, Participant, PortType,
    RegionPlan, RemoteNode, Replica, Share, Trust, WholePlan, Work, WorkerRef, WorkflowInput,
    WorkflowOutput,
};
use crate::trace::ClockId;
use faasstore::binding::Kind;

const DEPLOYMENT: DeploymentId = DeploymentId(1);
const RIGHT: u64 = 5;
const WRONG: u64 = 6;

fn output(node: NodeId) -> Source {
    Source::Output { node, output: 0 }
}

/// Worker `b`'s plan: `read` reads something, in the innermost of these regions, which a node of worker `a`, or each part of a
/// divided one, may have made.
fn plan(read: Source, lists: &[Source], wholes: Vec<WholePlan>) -> Plan {
    let worker = |name: &str| WorkerRef {
        name: name.into(),
        address: format!("{name}:1"),
        lanes: 1,
        epoch: 1,
    };
    let part = |number, of| Part {
        number,
        of,
        share: Share {
            first: number.into(),
            behind: u32::from(number) + 1,
            whole: of.into(),
        },
    };
    let divided = !wholes.is_empty();
    let remote = |id: NodeId| RemoteNode {
        id,
        name: format!("made{id}"),
        worker: 0,
        outputs: vec![Declaration {
            name: "made".into(),
            kind: Kind::List,
        }],
        error_output: None,
        cases: 0,
        catches: 0,
        part: divided.then(|| part(id as u16, 2)),
    };
    let region = |(place, list): (usize, &Source)| RegionPlan {
        parent: place.checked_sub(1).map(|place| place as u16),
        list: *list,
        batch: Some(2),
        parallelism: None,
        part: None,
    };
    let reader = NodePlan {
        id: 2,
        name: "reader".into(),
        work: Work::Function {
            executable: 0,
            function: "f".into(),
            arguments: Vec::new(),
        },
        region: lists.len().checked_sub(1).map(|place| place as u16),
        inputs: vec![
            InputPlan::new("plain", Kind::Bytes, Source::Input(1)),
            InputPlan::new("in", Kind::List, read),
        ],
        ..NodePlan::default()
    };
    Plan {
        deployment: DEPLOYMENT,
        replica: Replica::only(DEPLOYMENT),
        workflow: "w".into(),
        version: 1,
        me: 1,
        workers: vec![worker("a"), worker("b")],
        inputs: vec![
            WorkflowInput::new("list", Kind::List),
            WorkflowInput::new("bytes", Kind::Bytes),
        ],
        constants: Vec::new(),
        timeout_ms: None,
        outputs: vec![WorkflowOutput::new("made", Kind::List, output(0), 0)],
        participants: vec![
            Participant {
                worker: 0,
                inputs: vec![],
                sections: vec![],
            },
            Participant {
                worker: 1,
                inputs: vec![0, 1],
                sections: vec![],
            },
        ],
        regions: lists.iter().enumerate().map(region).collect(),
        nodes: vec![reader],
        remote_nodes: vec![remote(0), remote(1)],
        wholes,
        executables: vec![ExecutablePlan {
            name: "e".into(),
            scale: 1,
            memory_mib: 16,
            trust: Trust::Own,
        }],
        types: vec![
            PortType {
                port: PortRef::Input(0),
                schema: RIGHT,
            },
            PortType {
                port: PortRef::Output(0),
                schema: RIGHT,
            },
            PortType {
                port: PortRef::Read { node: 2, input: 1 },
                schema: RIGHT,
            },
        ],
        maxima: Vec::new(),
        memory: None,
        limits: Limits::default(),
    }
}

fn core(plan: Plan) -> Core {
    let mut core = Core::new(CoreConfig {
        worker_hash: 1,
        epoch: 1,
        lane: 0,
        in_flight_max: 10,
        grace_ns: 1,
        lease_ns_max: None,
        patience_ns: 1,
        keep_alive_ns: 1,
        clock: ClockId(1),
        store: crate::core::store::StoreRules::default(),
    });
    core.deploy(plan, Vec::new());
    core.activate(0, DEPLOYMENT);
    core
}

/// Which of the nodes 0 and 1, and which of the workflow's inputs, something is refused from that is of another type.
fn refused(core: &Core) -> (Vec<NodeId>, Vec<u16>) {
    let node = |node: &NodeId| Origin::Node {
        deployment: DEPLOYMENT,
        node: *node,
        output: 0,
    };
    let input = |input: &u16| Origin::Input {
        deployment: DEPLOYMENT,
        input: *input,
    };
    let is_refused = |origin| {
        assert_eq!(core.check_schema(origin, RIGHT), Ok(()), "{origin:?}");
        core.check_schema(origin, WRONG).is_err()
    };
    let nodes = [0, 1].into_iter().filter(|one| is_refused(node(one)));
    let inputs = [0, 1].into_iter().filter(|one| is_refused(input(one)));
    (nodes.collect(), inputs.collect())
}

#[test]
fn what_is_read_here_is_compared_wherever_it_comes_from() {
    let whole = WholePlan {
        id: 3,
        parts: vec![0, 1],
        sections: vec![],
    };
    let item = |up| Source::Item { up };
    let first = Source::First { node: 1, output: 0 };
    for (what, read, lists, wholes, wanted) in [
        ("an output", output(0), vec![], vec![], (vec![0], vec![])),
        (
            "an input",
            Source::Input(0),
            vec![],
            vec![],
            (vec![], vec![0]),
        ),
        (
            "the first of a list",
            first,
            vec![],
            vec![],
            (vec![1], vec![]),
        ),
        (
            "an item",
            item(0),
            vec![output(1)],
            vec![],
            (vec![1], vec![]),
        ),
        (
            "an item of an item",
            item(0),
            vec![Source::Input(0), item(0)],
            vec![],
            (vec![], vec![0]),
        ),
        (
            "an item of the region around",
            item(1),
            vec![output(1), output(0)],
            vec![],
            (vec![1], vec![]),
        ),
        (
            "all parts",
            output(3),
            vec![],
            vec![whole],
            (vec![0, 1], vec![]),
        ),
    ] {
        let types = PayloadTypes::new(&plan(read, &lists, wholes));
        let nodes = [0, 1].into_iter().filter(|node| {
            assert!(types.mismatch(output(*node), RIGHT).is_none());
            types.mismatch(output(*node), WRONG).is_some()
        });
        let nodes: Vec<NodeId> = nodes.collect();
        let inputs = [0, 1]
            .into_iter()
            .filter(|input| types.mismatch(Source::Input(*input), WRONG).is_some());
        assert_eq!((nodes, inputs.collect::<Vec<u16>>()), wanted, "{what}");
    }
}

#[test]
fn a_core_knows_what_its_deployments_take() {
    let core = core(plan(output(0), &[], vec![]));
    assert_eq!(refused(&core), (vec![0], vec![]));
    let wrong = core.check_schema(
        Origin::Node {
            deployment: DEPLOYMENT,
            node: 0,
            output: 0,
        },
        WRONG,
    );
    assert_eq!(
        wrong.unwrap_err(),
        "its type is 0000000000000006, and input in of node reader takes 0000000000000005: the workers' plans differ; \
         deploy the workflow again"
    );
    for (input, wanted) in [("list", true), ("bytes", false), ("no such", false)] {
        let origin = Origin::Client {
            workflow: "w",
            input,
        };
        assert_eq!(core.check_schema(origin, RIGHT), Ok(()));
        assert_eq!(core.check_schema(origin, WRONG).is_err(), wanted, "{input}");
    }
    let result = Origin::Output {
        deployment: DEPLOYMENT,
        output: 0,
    };
    assert_eq!(core.check_schema(result, RIGHT), Ok(()));
    assert!(core.check_schema(result, WRONG).is_err());
    // Of what is not here nobody knows anything.
    let elsewhere = Origin::Input {
        deployment: DeploymentId(2),
        input: 0,
    };
    assert_eq!(core.check_schema(elsewhere, WRONG), Ok(()));
    assert_eq!(core.schema_of(DEPLOYMENT, PortRef::Input(0)), RIGHT);
    assert_eq!(core.schema_of(DEPLOYMENT, PortRef::Input(1)), 0);
    assert_eq!(core.schema_of(DeploymentId(2), PortRef::Input(0)), 0);
    assert_eq!(core.schema_of_output(DEPLOYMENT, "made"), RIGHT);
    assert_eq!(core.schema_of_output(DEPLOYMENT, "other"), 0);
}
