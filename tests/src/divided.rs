//! Workflows with some of their outermost regions in parts: the nodes that plans hold then, and who needs which part of a
//! list.
//!
//! Each part has its own copies of the region's regions and nodes. Whoever reads or waits for a divided node from outside of
//! its region refers to it as a whole, by a number behind those of all copies.

use engine::plan::{
    Delay, Gate, InputPlan, NodeId, NodePlan, OutputSource, Part, RegionPlan, SectionPlan, Share,
    Source, WholePlan, WorkerIndex, WorkflowOutput,
};
use std::collections::{BTreeMap, BTreeSet};

/// A workflow in parts. A node's place is its number.
#[derive(Clone, Debug)]
pub struct Divided {
    /// Its nodes.
    pub nodes: Vec<NodePlan>,
    /// Its regions.
    pub regions: Vec<RegionPlan>,
    /// Its outputs; the workers are left to a placement.
    pub outputs: Vec<WorkflowOutput>,
    /// The nodes of divided regions as a whole.
    pub wholes: Vec<WholePlan>,
    /// By node: the one of the workflow that it is a copy of.
    pub of: Vec<NodeId>,
}

/// A list that more than one worker may need.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum List {
    Input(u16),
    /// An output of a node, of a divided one as a whole.
    Output(NodeId, u16),
}

/// Who needs it: a part of a divided region, with its share and batch, or somebody who needs all of it.
type Reader = Option<(Share, Option<u32>)>;

/// Who hears of what on which worker.
pub struct Heard {
    /// The nodes and wholes that a worker's nodes wait for.
    pub waited_for: BTreeMap<WorkerIndex, BTreeSet<NodeId>>,
    /// Of nodes that other workers wait for, by them: the outputs that these need.
    pub told: BTreeMap<(NodeId, WorkerIndex), BTreeSet<u16>>,
    readers: BTreeMap<(List, WorkerIndex), Vec<Reader>>,
}

/// One part of a region that is divided by these weights.
#[must_use]
pub fn part_of(weights: &[u32], number: usize) -> Part {
    let first: u32 = weights[..number].iter().sum();
    Part {
        number: number as u16,
        of: weights.len() as u16,
        share: Share {
            first,
            behind: first + weights[number],
            whole: weights.iter().sum(),
        },
    }
}

/// The workflow of these nodes, regions and outputs, its outermost regions divided by `weights`: one weight leaves a region
/// whole, and so does a `parallelism` of less than there are parts.
#[must_use]
pub fn divided(
    nodes: &[NodePlan],
    regions: &[RegionPlan],
    outputs: &[WorkflowOutput],
    weights: impl Fn(u16) -> Vec<u32>,
) -> Divided {
    let mut divider = Divider {
        nodes,
        regions,
        weights: (0..regions.len() as u16)
            .map(|region| few(&regions[usize::from(region)], weights(region)))
            .collect(),
        copies_of_region: Vec::new(),
        copies: vec![Vec::new(); nodes.len()],
        behind: 0,
    };
    let regions = divider.regions();
    let order = divider.order();
    for (id, (node, _)) in (0..).zip(&order) {
        divider.copies[*node as usize].push(id);
    }
    divider.behind = order.len() as NodeId;
    let of = order.iter().map(|(node, _)| *node).collect();
    let nodes = (0..).zip(order);
    Divided {
        nodes: nodes
            .map(|(id, (node, part))| divider.node(id, node, part))
            .collect(),
        regions: divider.over(regions),
        outputs: outputs.iter().map(|one| divider.output(one)).collect(),
        wholes: divider.wholes(),
        of,
    }
}

fn few(region: &RegionPlan, weights: Vec<u32>) -> Vec<u32> {
    let most = region.parallelism.unwrap_or(u32::MAX) as usize;
    let divides = region.parent.is_none() && weights.len() <= most;
    if divides { weights } else { vec![1] }
}

struct Divider<'a> {
    nodes: &'a [NodePlan],
    regions: &'a [RegionPlan],
    /// By region, of those that lie in no other.
    weights: Vec<Vec<u32>>,
    copies_of_region: Vec<Vec<u16>>,
    /// By node: its copies, in the order of the parts.
    copies: Vec<Vec<NodeId>>,
    behind: NodeId,
}

impl Divider<'_> {
    fn outermost(&self, region: Option<u16>) -> Option<u16> {
        let around = |region: &u16| self.regions[usize::from(*region)].parent;
        std::iter::successors(region, around).last()
    }

    fn weights(&self, region: Option<u16>) -> &[u32] {
        let outermost = self.outermost(region);
        outermost.map_or(&[1], |region| &self.weights[usize::from(region)])
    }

    /// The regions, with the lists that they had.
    fn regions(&mut self) -> Vec<RegionPlan> {
        let mut made = Vec::new();
        for (number, region) in (0..).zip(self.regions) {
            let weights = self.weights(Some(number)).to_vec();
            let is_part = weights.len() > 1 && region.parent.is_none();
            let mut copies = Vec::new();
            for part in 0..weights.len() {
                let share = part_of(&weights, part);
                let copy_of = |parent: u16| self.copies_of_region[usize::from(parent)][part];
                copies.push(made.len() as u16);
                made.push(RegionPlan {
                    parent: region.parent.map(copy_of),
                    parallelism: region.parallelism.map(|most| match is_part {
                        true => at_once(most, share),
                        false => most,
                    }),
                    part: is_part.then_some(share),
                    ..region.clone()
                });
            }
            self.copies_of_region.push(copies);
        }
        made
    }

    /// The nodes, each with the part in which it is: a region's parts one after the other.
    fn order(&self) -> Vec<(NodeId, usize)> {
        let mut order = Vec::new();
        let mut done = BTreeSet::new();
        for (number, node) in (0..).zip(self.nodes) {
            let Some(region) = self.outermost(node.region) else {
                order.push((number, 0));
                continue;
            };
            if !done.insert(region) {
                continue;
            }
            for part in 0..self.weights(Some(region)).len() {
                let all = (0..).zip(self.nodes);
                let inside = all.filter(|(_, node)| self.outermost(node.region) == Some(region));
                order.extend(inside.map(|(number, _)| (number, part)));
            }
        }
        order
    }

    /// A node, as a part of that region sees it.
    fn seen(&self, node: NodeId, region: Option<u16>, part: usize) -> NodeId {
        let outermost = self.outermost(self.nodes[node as usize].region);
        match self.copies[node as usize][..] {
            [one] => one,
            _ if outermost == self.outermost(region) => self.copies[node as usize][part],
            _ => self.behind + node,
        }
    }

    fn source(&self, source: Source, region: Option<u16>, part: usize) -> Source {
        match source {
            Source::Output { node, output } => Source::Output {
                node: self.seen(node, region, part),
                output,
            },
            Source::First { node, output } => Source::First {
                node: self.seen(node, region, part),
                output,
            },
            Source::Input(_) | Source::Item { .. } | Source::Constant(_) => source,
        }
    }

    /// The regions with their lists, as they are seen around each.
    fn over(&self, mut made: Vec<RegionPlan>) -> Vec<RegionPlan> {
        for (region, copies) in self.regions.iter().zip(&self.copies_of_region) {
            for (part, copy) in copies.iter().enumerate() {
                made[usize::from(*copy)].list = self.source(region.list, region.parent, part);
            }
        }
        made
    }

    fn node(&self, id: NodeId, number: NodeId, part: usize) -> NodePlan {
        let mut node = self.nodes[number as usize].clone();
        let region = node.region;
        node.id = id;
        node.region = region.map(|region| self.copies_of_region[usize::from(region)][part]);
        let read = |inputs: &mut Vec<InputPlan>| {
            for source in inputs.iter_mut().flat_map(|input| &mut input.sources) {
                *source = self.source(*source, region, part);
            }
        };
        read(&mut node.inputs);
        for delay in &mut node.delays {
            match delay {
                Delay::Fixed(_) => {}
                Delay::Computed(expression) | Delay::Until(expression) => {
                    read(&mut expression.inputs);
                }
            }
        }
        for after in &mut node.after {
            *after = self.seen(*after, region, part);
        }
        for Gate::Case { node, .. } | Gate::Catch { node, .. } in &mut node.gates {
            *node = self.seen(*node, region, part);
        }
        node
    }

    fn output(&self, output: &WorkflowOutput) -> WorkflowOutput {
        let sources = output.sources.iter().flat_map(|from| {
            let (node, output) = match from.source {
                Source::Output { node, output } => (node, output),
                _ => return vec![*from],
            };
            let weights = self.weights(self.nodes[node as usize].region);
            let copies = self.copies[node as usize].iter().enumerate();
            let copy = |(part, node): (usize, &NodeId)| OutputSource {
                source: Source::Output {
                    node: *node,
                    output,
                },
                part: (weights.len() > 1).then(|| part_of(weights, part)),
                ..*from
            };
            copies.map(copy).collect()
        });
        WorkflowOutput {
            sources: sources.collect(),
            ..output.clone()
        }
    }

    fn wholes(&self) -> Vec<WholePlan> {
        let copies = (self.behind..).zip(&self.copies);
        let several = copies.filter(|(_, copies)| copies.len() > 1);
        let whole = |(id, copies): (NodeId, &Vec<NodeId>)| WholePlan {
            id,
            parts: copies.clone(),
            sections: Vec::new(),
        };
        several.map(whole).collect()
    }
}

/// How many items of a part run at once, of so many of all parts.
fn at_once(most: u32, part: Part) -> u32 {
    let (number, of) = (u32::from(part.number), u32::from(part.of));
    most / of + u32::from(number < most % of)
}

/// The node that gives a value, if one does, and which of its outputs it is.
#[must_use]
pub fn output_of(source: Source) -> Option<(NodeId, u16)> {
    match source {
        Source::Output { node, output } | Source::First { node, output } => Some((node, output)),
        Source::Input(_) | Source::Item { .. } | Source::Constant(_) => None,
    }
}

impl Divided {
    /// The region that a node is in and that lies in no other.
    #[must_use]
    pub fn outermost(&self, node: NodeId) -> Option<u16> {
        let around = |region: &u16| self.regions[usize::from(*region)].parent;
        std::iter::successors(self.nodes[node as usize].region, around).last()
    }

    /// Which part of a divided region a node is in.
    #[must_use]
    pub fn part(&self, node: NodeId) -> Option<Part> {
        self.regions[usize::from(self.outermost(node)?)].part
    }

    /// The parts of a divided node as a whole; of any other, itself.
    #[must_use]
    pub fn parts(&self, node: NodeId) -> Vec<NodeId> {
        let whole = self.wholes.iter().find(|whole| whole.id == node);
        whole.map_or_else(|| vec![node], |whole| whole.parts.clone())
    }

    /// What a node reads, and for whom: itself, or a region of its own.
    fn reads(&self, node: &NodePlan) -> Vec<(Source, Reader)> {
        let around = |region: &u16| self.regions[usize::from(*region)].parent;
        let regions = std::iter::successors(node.region, around);
        let lists = regions.map(|region| {
            let region = &self.regions[usize::from(region)];
            let reader = region.part.map(|part| (part.share, region.batch));
            (region.list, reader)
        });
        let own = node.reads().map(|source| (source, None));
        own.chain(lists).collect()
    }

    /// Who hears of what, if its nodes run on these workers.
    pub fn heard(&self, worker_of: impl Fn(NodeId) -> WorkerIndex) -> Heard {
        let mut heard = Heard {
            waited_for: BTreeMap::new(),
            told: BTreeMap::new(),
            readers: BTreeMap::new(),
        };
        for (number, node) in (0..).zip(&self.nodes) {
            let me = worker_of(number);
            let here = heard.waited_for.entry(me).or_default();
            let gates = node.gates.iter().map(|gate| gate.node());
            here.extend(node.after.iter().copied().chain(gates));
            for (source, reader) in self.reads(node) {
                let list = match source {
                    Source::Input(input) => List::Input(input),
                    _ => match output_of(source) {
                        Some((node, output)) => {
                            here.insert(node);
                            for part in self.parts(node) {
                                let told = heard.told.entry((part, me)).or_default();
                                told.insert(output);
                            }
                            List::Output(node, output)
                        }
                        None => continue,
                    },
                };
                heard.readers.entry((list, me)).or_default().push(reader);
            }
        }
        for (worker, nodes) in &heard.waited_for {
            for part in nodes.iter().flat_map(|node| self.parts(*node)) {
                heard.told.entry((part, *worker)).or_default();
            }
        }
        heard
            .told
            .retain(|(node, worker), _| worker_of(*node) != *worker);
        heard
    }

    /// The divided nodes that a worker's nodes wait for.
    #[must_use]
    pub fn wholes_on(&self, worker: WorkerIndex, heard: &Heard) -> Vec<WholePlan> {
        let waited_for = heard.waited_for.get(&worker);
        let is_waited_for = |whole: &&WholePlan| {
            waited_for.is_some_and(|waited_for| waited_for.contains(&whole.id))
        };
        let wholes = self.wholes.iter().filter(is_waited_for);
        let whole = |whole: &WholePlan| {
            let outputs = 0..self.nodes[whole.parts[0] as usize].outputs.len() as u16;
            let section = |output| heard.section(List::Output(whole.id, output), output, worker);
            WholePlan {
                sections: outputs.filter_map(section).collect(),
                ..whole.clone()
            }
        };
        wholes.map(whole).collect()
    }

    /// What a worker needs of a node's outputs, where that is not everything.
    #[must_use]
    pub fn sections_of(
        &self,
        node: NodeId,
        worker: WorkerIndex,
        outputs: &BTreeSet<u16>,
        heard: &Heard,
    ) -> Vec<SectionPlan> {
        let mut wholes = self.wholes.iter();
        let whole = wholes.find(|whole| whole.parts.contains(&node));
        let seen = whole.map_or(node, |whole| whole.id);
        let section = |output: &u16| heard.section(List::Output(seen, *output), *output, worker);
        outputs.iter().filter_map(section).collect()
    }
}

impl Heard {
    /// The inputs of the workflow that a worker's nodes read.
    #[must_use]
    pub fn inputs(&self, worker: WorkerIndex) -> Vec<u16> {
        let inputs = self.readers.keys().filter_map(|(list, reader)| match list {
            List::Input(input) if *reader == worker => Some(*input),
            List::Input(_) | List::Output(..) => None,
        });
        inputs.collect()
    }

    /// What it needs of them, where that is not everything.
    #[must_use]
    pub fn input_sections(&self, worker: WorkerIndex) -> Vec<SectionPlan> {
        let inputs = self.inputs(worker).into_iter();
        let section = |input| self.section(List::Input(input), input, worker);
        inputs.filter_map(section).collect()
    }

    fn section(&self, list: List, number: u16, worker: WorkerIndex) -> Option<SectionPlan> {
        SectionPlan::covering(number, self.readers.get(&(list, worker))?)
    }
}
