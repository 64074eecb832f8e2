//! Definitions made by hand and at random, as few words as will do.

use crate::definition::{
    Case, Catch, Definition, Divide, From, Node, NodeInput, Port, Profile, Region, Resources,
    SourceText, Span, Spanned, Work, WorkflowInput, WorkflowOutput,
};
use engine::plan::{Join, Trust};
use faasstore::binding::{Kind, Maximum};
use proptest::prelude::*;

/// A source: the workflow's optional input, or a node's output.
#[derive(Clone, Copy, Debug)]
pub(super) enum Src {
    Optional,
    Of(usize),
    /// What failed in a node that has catches.
    Error(usize),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Sketched {
    /// Alternatives of each input, and whether the input is optional.
    pub(super) inputs: Vec<(Vec<Src>, bool)>,
    pub(super) after: Vec<usize>,
    /// 0: all.
    pub(super) at_least: u32,
    /// Of a switch; the last is the default.
    pub(super) cases: Vec<Vec<usize>>,
    pub(super) catch: Vec<usize>,
    /// Its region, by place in [`Sketch::regions`].
    pub(super) region: Option<usize>,
}

/// Nodes, each naming earlier ones as sources and later ones as targets; and the sources of outputs.
#[derive(Clone, Debug, Default)]
pub(super) struct Sketch {
    pub(super) nodes: Vec<Sketched>,
    pub(super) outputs: Vec<Vec<Src>>,
    /// By region: the one around it, and where its list comes from.
    pub(super) regions: Vec<(Option<usize>, Src)>,
}

pub(super) fn says<T>(value: T) -> Spanned<T> {
    Spanned {
        value,
        span: Span::default(),
    }
}

fn from(source: &Src) -> Spanned<From> {
    says(match *source {
        Src::Optional => From::Input(0),
        Src::Of(node) => From::Output { node, output: 0 },
        Src::Error(node) => From::Output { node, output: 1 },
    })
}

fn port(name: &str) -> Port {
    Port {
        name: says(name.to_owned()),
        kind: Kind::Value,
        maximum: Maximum::NONE,
    }
}

impl Sketch {
    pub(super) fn definition(&self) -> Definition {
        let outputs = self
            .outputs
            .iter()
            .enumerate()
            .map(|(index, sources)| WorkflowOutput {
                name: says(format!("o{index}")),
                kind: Kind::Value,
                from: sources.iter().map(from).collect(),
                optional: true,
            });
        Definition {
            regions: self
                .regions
                .iter()
                .map(|(parent, list)| Region {
                    parent: *parent,
                    list: from(list),
                    batch: None,
                    parallelism: None,
                    divide: Divide::Auto,
                })
                .collect(),
            source: SourceText {
                name: "sketch.yaml".into(),
                text: "".into(),
            },
            workflow: says("sketch".to_owned()),
            inputs: vec![WorkflowInput {
                name: says("maybe".to_owned()),
                kind: Kind::Value,
                default: None,
                optional: true,
                maximum: Maximum::NONE,
            }],
            constants: Vec::new(),
            nodes: self
                .nodes
                .iter()
                .enumerate()
                .map(|(index, node)| self.node(index, node))
                .collect(),
            outputs: outputs.collect(),
            timeout_ms: None,
            store: engine::plan::StoreChoice::default(),
            files: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn node(&self, index: usize, sketched: &Sketched) -> Node {
        let inputs = sketched
            .inputs
            .iter()
            .enumerate()
            .map(|(input, (sources, optional))| NodeInput {
                name: says(format!("i{input}")),
                kind: Kind::Value,
                from: sources.iter().map(from).collect(),
                optional: *optional,
                store: engine::plan::EdgeStore::Workflow,
            });
        let last = sketched.cases.len().saturating_sub(1);
        let cases: Vec<Case> = sketched
            .cases
            .iter()
            .enumerate()
            .map(|(case, to)| Case {
                condition: (case < last).then(|| says("true".to_owned())),
                to: to.iter().copied().map(says).collect(),
            })
            .collect();
        Node {
            name: says(format!("n{index}")),
            work: if cases.is_empty() {
                Work::Nothing
            } else {
                Work::Switch(cases)
            },
            region: sketched.region,
            over_list: sketched.region.is_some() && index.is_multiple_of(2),
            inputs: inputs.collect(),
            outputs: vec![port("out"), port("error")],
            after: sketched.after.iter().copied().map(says).collect(),
            apart: Vec::new(),
            profile: Profile::default(),
            trust: Trust::Own,
            resources: Resources::default(),
            join: match sketched.at_least {
                0 => Join::All,
                count => Join::AtLeast(count),
            },
            retriers: Vec::new(),
            catches: if sketched.catch.is_empty() {
                Vec::new()
            } else {
                vec![Catch {
                    on: Vec::new(),
                    to: sketched.catch.iter().copied().map(says).collect(),
                    depth: 0,
                }]
            },
            error_output: Some(1),
            timeout_ms: None,
            delays: Vec::new(),
        }
    }
}

/// Up to 9 nodes, three of them switches at most.
pub(super) fn random() -> impl Strategy<Value = Sketch> {
    let numbers = prop::collection::vec(any::<[u8; 16]>(), 1..10);
    (numbers, any::<[u8; 4]>()).prop_map(|(numbers, outputs)| sketch(&numbers, outputs))
}

fn sketch(numbers: &[[u8; 16]], outputs: [u8; 4]) -> Sketch {
    let count = numbers.len();
    let mut switches = 0;
    let mut nodes: Vec<Sketched> = Vec::new();
    for (index, random) in numbers.iter().enumerate() {
        let source = |byte: u8| match byte {
            _ if index == 0 => Src::Optional,
            0..20 => Src::Optional,
            20..40 => Src::Error(usize::from(byte) % index),
            _ => Src::Of(usize::from(byte) % index),
        };
        let later = |byte: u8| {
            (index + 1 < count && byte > 60)
                .then(|| index + 1 + usize::from(byte) % (count - index - 1))
        };
        let mut node = Sketched::default();
        for input in 0..usize::from(random[0] % 3) {
            let first = source(random[1 + 2 * input]);
            let mut sources = vec![first];
            if random[2 + 2 * input] % 2 == 0 {
                sources.push(source(random[2 + 2 * input] / 2 * 2 + 1));
            }
            node.inputs.push((sources, random[0] > 200));
        }
        if random[5] > 150 && index > 0 {
            node.after.push(usize::from(random[5]) % index);
        }
        node.at_least = u32::from(random[6] % 6).saturating_sub(3);
        if random[7] > 110 && switches < 3 {
            switches += 1;
            let cases = 2 + usize::from(random[7] % 2);
            node.cases = (0..cases)
                .map(|case| {
                    random[8 + 2 * case..10 + 2 * case]
                        .iter()
                        .filter_map(|byte| later(*byte))
                        .collect()
                })
                .collect();
            for case in &mut node.cases {
                case.sort_unstable();
                case.dedup();
            }
        }
        if random[15] > 200 {
            node.catch.extend(later(random[14]));
        }
        nodes.push(node);
    }
    let of = |byte: u8| Src::Of(usize::from(byte) % count);
    Sketch {
        nodes,
        outputs: vec![vec![of(outputs[0])], vec![of(outputs[1]), of(outputs[2])]],
        regions: Vec::new(),
    }
}
