//! The graph of a workflow: its nodes in topological order, and an edge from each to those that wait for it. Nodes of one
//! region stand one after the other, those of regions within it too; of a divided one, those of each of its parts.
//!
//! A node's index is its number in the deployment. Among nodes that could stand at the same place the one that the
//! definition names first comes first, so that a definition always gives the same numbers.

use crate::certificate::scenario::scenarios;
use crate::definition::units::Units;
use crate::definition::{Definition, Delay, Region, Resources};
use crate::division::{Division, at_once, share_up};
use engine::plan::{Join, NodeId, Part};
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::{BTreeMap, BTreeSet};

mod sections;

pub use sections::{Reader, Section};

/// A node, as placement sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct GraphNode {
    /// As in the definition.
    pub name: String,
    /// What it runs in: nodes of one executable share a pool on a worker. A node that the worker does itself has none.
    pub executable: Option<String>,
    /// How long one activation is expected to run, in milliseconds.
    pub runtime_ms: f64,
    /// The share of that in which it keeps its CPUs busy, 0 to 1.
    pub busy: f64,
    /// CPUs that it then keeps busy.
    pub cpus: u32,
    /// How long it waits once it could start, in milliseconds.
    pub delay_ms: f64,
    /// Activations in one invocation.
    pub activations: u64,
    /// What all outputs of all activations are expected to have, in bytes.
    pub output_bytes: u64,
    /// The same for each output; empty if only the sum is known.
    pub by_output: Vec<u64>,
    /// Executors that it wants.
    pub scale: u32,
    /// As how many executors those count: each as many as its activations keep CPUs busy.
    pub slots: u32,
    /// Memory of each of them, in MiB.
    pub memory_mib: u32,
    /// What of that an activation uses itself, payloads apart, in MiB.
    pub peak_mib: u32,
    /// Its place in [`Definition::nodes`].
    pub defined: usize,
    /// The outermost region that it is part of, by its place in [`Definition::regions`]: its nodes run on one worker, or, if
    /// it is divided, those of each of its parts.
    pub together: Option<usize>,
    /// Which part of that region it is in, if that is divided. What it wants and gives is that of this part alone.
    pub part: Option<Part>,
    /// Items of that region; 1 without one.
    pub items: u64,
    /// The regions within that one in which it is, the outermost first.
    pub nested: Vec<Nested>,
    /// Of a join of some: at the how manieth live edge it starts; else 0.
    pub at_least: u32,
    /// Most of them at once.
    pub parallelism: Option<u32>,
}

impl Default for GraphNode {
    /// A node that runs for no time in no executable, once.
    fn default() -> Self {
        Self {
            name: String::new(),
            executable: None,
            runtime_ms: 0.0,
            busy: 1.0,
            cpus: 1,
            delay_ms: 0.0,
            activations: 1,
            output_bytes: 0,
            by_output: Vec::new(),
            scale: 0,
            slots: 0,
            memory_mib: 0,
            peak_mib: 0,
            defined: 0,
            together: None,
            part: None,
            items: 1,
            nested: Vec::new(),
            at_least: 0,
            parallelism: None,
        }
    }
}

impl GraphNode {
    /// Whether two nodes must run on one worker.
    #[must_use]
    pub fn runs_with(&self, other: &Self) -> bool {
        self.together.is_some() && (self.together, self.part) == (other.together, other.part)
    }

    /// What these of its outputs are expected to have together in an invocation, in bytes; where only the sum of all is known,
    /// that. What says what failed has no bytes to speak of.
    #[must_use]
    pub fn bytes_of(&self, outputs: &BTreeSet<u16>) -> u64 {
        if self.by_output.is_empty() {
            return if outputs.is_empty() {
                0
            } else {
                self.output_bytes
            };
        }
        let known = outputs
            .iter()
            .filter_map(|output| self.by_output.get(usize::from(*output)));
        known.sum()
    }
}

/// A region within another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nested {
    /// Which, by its place in the definition.
    pub region: usize,
    /// Items that it is expected to have for each item of the one around it.
    pub items: u64,
    /// Most of them at once, if that is limited.
    pub parallelism: Option<u32>,
}

/// One of the ways that an invocation may take.
#[derive(Clone, PartialEq, Debug)]
pub struct Scenario {
    /// How likely it is; those of all scenarios come to 1.
    pub weight: f64,
    /// Whether a node runs, by its number.
    pub runs: Vec<bool>,
}

/// Why one node waits for another.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dependency {
    /// The outputs that the consumer reads, rising; none if it only waits.
    pub outputs: Vec<u16>,
    /// Whether it is a case or a catch that lets the consumer in, and no flow.
    pub gate: bool,
}

impl Dependency {
    /// What a consumer of these outputs, rising, waits for.
    #[must_use]
    pub fn on(outputs: impl IntoIterator<Item = u16>) -> Self {
        Self {
            outputs: outputs.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// A workflow's nodes and edges; without cycles.
#[derive(Clone, Debug)]
pub struct Graph {
    graph: DiGraph<GraphNode, Dependency>,
    /// Pairs that must not share a worker, the lower number first; rising.
    apart: Vec<(NodeId, NodeId)>,
    scenarios: Vec<Scenario>,
    /// By producer and consumer: what of a list goes there, where that is not all of it.
    sections: BTreeMap<(NodeId, NodeId), Section>,
}

impl Graph {
    /// The graph of a definition, in which no region is divided.
    ///
    /// ```
    /// let text = "{ workflow: w, nodes: { b: { function: e:f, after: a }, a: { function: e:f } } }";
    /// let definition = master::definition::parse("w.yaml", text.as_bytes()).unwrap();
    /// let graph = master::graph::Graph::of(&definition);
    /// let names: Vec<&str> = graph.nodes().map(|node| node.name.as_str()).collect();
    /// assert_eq!(names, ["a", "b"]);
    /// ```
    ///
    /// # Panics
    /// On a definition with a cycle, which [`crate::definition::parse`] never gives.
    #[must_use]
    pub fn of(definition: &Definition) -> Self {
        Self::divided(definition, &Division::default())
    }

    /// The graph of a definition of which some regions are in parts: the nodes of each part one after the other, and the
    /// parts as well. Whoever waits for a divided node waits for all parts of it.
    ///
    /// # Panics
    /// On a definition with a cycle, which [`crate::definition::parse`] never gives.
    #[must_use]
    pub fn divided(definition: &Definition, division: &Division) -> Self {
        let predecessors = definition.predecessors();
        let order = Units::of(definition, &predecessors).order();
        let mut graph = DiGraph::with_capacity(order.len(), order.len());
        let widths = widths(definition);
        let mut ids: Vec<Vec<NodeIndex>> = vec![Vec::new(); order.len()];
        let outermost = |node: usize| definition.regions_of(node).last();
        for together in
            order.chunk_by(|a, b| outermost(*a).is_some() && outermost(*a) == outermost(*b))
        {
            let region = outermost(together[0]);
            for number in 0..region.map_or(1, |region| division.parts(region)) {
                let part = region.and_then(|region| division.part(region, number));
                for defined in together {
                    let node = graph_node(definition, *defined, part, &widths);
                    ids[*defined].push(graph.add_node(node));
                }
            }
        }
        for (consumer, predecessors) in predecessors.iter().enumerate() {
            let mut read = outputs_read(definition, consumer);
            let flow = definition.flow_edges(consumer);
            let flows = |from: usize| {
                let list = definition
                    .regions_of(consumer)
                    .map(|region| definition.regions[region].list.value);
                let lists = list
                    .filter_map(|list| list.output())
                    .any(|(node, _)| node == from);
                lists || flow.iter().any(|(node, _)| *node == from)
            };
            for producer in predecessors {
                let outputs = read.remove(producer).unwrap_or_default();
                let gate = !flows(*producer);
                let outputs: Vec<u16> = outputs.into_iter().collect();
                for to in &ids[consumer] {
                    for from in &ids[*producer] {
                        let same_region = graph[*from].together == graph[*to].together;
                        let parts = (graph[*from].part, graph[*to].part);
                        if same_region && parts.0.is_some() && parts.0 != parts.1 {
                            continue;
                        }
                        let edge = Dependency {
                            outputs: outputs.clone(),
                            gate,
                        };
                        graph.add_edge(*from, *to, edge);
                    }
                }
            }
        }
        let apart = definition
            .nodes
            .iter()
            .enumerate()
            .flat_map(|(node, kept)| {
                let others = kept.apart.iter().flat_map(|other| &ids[other.value]);
                let pairs =
                    others.flat_map(|other| ids[node].iter().map(move |node| (node, other)));
                let pairs: Vec<_> = pairs
                    .map(|(node, other)| (node.index() as NodeId, other.index() as NodeId))
                    .collect();
                pairs
            });
        let scenarios = scenarios(definition).into_iter().map(|scenario| Scenario {
            weight: scenario.weight,
            runs: graph
                .raw_nodes()
                .iter()
                .map(|node| scenario.runs[node.weight.defined])
                .collect(),
        });
        let scenarios = scenarios.collect();
        let sections = sections::of(definition, &graph, &ids);
        Self {
            apart: pairs(apart),
            scenarios,
            sections,
            graph,
        }
    }

    /// A graph of nodes in topological order, those of a region one after the other, and their edges; in each invocation all
    /// of them run.
    ///
    /// # Panics
    /// If an edge names a node that is not there, or does not lead from a lower number to a higher one, or a pair of nodes
    /// to be kept apart is one node.
    #[must_use]
    pub fn new(
        nodes: Vec<GraphNode>,
        edges: impl IntoIterator<Item = (NodeId, NodeId, Dependency)>,
        apart: impl IntoIterator<Item = (NodeId, NodeId)>,
    ) -> Self {
        let count = nodes.len();
        let mut graph = DiGraph::with_capacity(count, count);
        for (defined, node) in nodes.into_iter().enumerate() {
            graph.add_node(GraphNode { defined, ..node });
        }
        for (from, to, edge) in edges {
            assert!(
                from < to && (to as usize) < count,
                "edge {from} to {to} of {count} nodes in topological order"
            );
            graph.add_edge(
                NodeIndex::new(from as usize),
                NodeIndex::new(to as usize),
                edge,
            );
        }
        let apart = pairs(apart);
        assert!(
            apart.iter().all(|(a, b)| a != b && (*b as usize) < count),
            "pairs of different nodes"
        );
        let scenarios = vec![Scenario {
            weight: 1.0,
            runs: vec![true; count],
        }];
        Self {
            graph,
            apart,
            scenarios,
            sections: BTreeMap::new(),
        }
    }

    /// The same graph with these changes to its nodes, of which all run in each invocation.
    #[must_use]
    pub fn changed(&self, change: impl FnMut(&mut GraphNode)) -> Self {
        let mut changed = self.clone();
        changed.graph.node_weights_mut().for_each(change);
        changed.scenarios = vec![Scenario {
            weight: 1.0,
            runs: vec![true; self.node_count()],
        }];
        changed
    }

    /// Pairs of nodes that must not share a worker; the lower number first, rising.
    #[must_use]
    pub fn apart(&self) -> &[(NodeId, NodeId)] {
        &self.apart
    }

    /// The ways that an invocation may take; at least one.
    #[must_use]
    pub fn scenarios(&self) -> &[Scenario] {
        &self.scenarios
    }

    /// Nodes, by their numbers.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &GraphNode> {
        self.graph.raw_nodes().iter().map(|node| &node.weight)
    }

    /// Nodes that run on one worker, by their numbers: those of an outermost region or of one of its parts, and every other
    /// by itself.
    #[must_use]
    pub fn units(&self) -> Vec<std::ops::Range<usize>> {
        let mut units: Vec<std::ops::Range<usize>> = Vec::with_capacity(self.node_count());
        let mut last: Option<&GraphNode> = None;
        for (id, node) in self.nodes().enumerate() {
            match units.last_mut() {
                Some(unit) if last.is_some_and(|last| last.runs_with(node)) => unit.end = id + 1,
                _ => units.push(id..id + 1),
            }
            last = Some(node);
        }
        units
    }

    /// One node.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &GraphNode {
        &self.graph[NodeIndex::new(id as usize)]
    }

    /// Nodes in all.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.graph.node_count()
    }

    /// Edges as producer, consumer and what is between them; one for each pair. Producers' numbers are the lower ones.
    pub fn edges(&self) -> impl ExactSizeIterator<Item = (NodeId, NodeId, &Dependency)> {
        let edges = self.graph.raw_edges().iter();
        edges.map(|edge| {
            (
                edge.source().index() as NodeId,
                edge.target().index() as NodeId,
                &edge.weight,
            )
        })
    }

    /// The number of the node at a place in [`Definition::nodes`], for each place; of a divided node that of its first part.
    #[must_use]
    pub fn ids_by_definition(&self) -> Vec<NodeId> {
        let copies = self.copies_by_definition();
        copies.into_iter().map(|copies| copies[0]).collect()
    }

    /// The numbers of the node at a place in [`Definition::nodes`], for each place: of a divided node one for each of its
    /// parts, in their order, else one.
    #[must_use]
    pub fn copies_by_definition(&self) -> Vec<Vec<NodeId>> {
        let mut copies: Vec<Vec<NodeId>> = Vec::with_capacity(self.node_count());
        for (id, node) in self.nodes().enumerate() {
            if copies.len() <= node.defined {
                copies.resize(node.defined + 1, Vec::new());
            }
            copies[node.defined].push(id as NodeId);
        }
        copies
    }
}

fn graph_node(
    definition: &Definition,
    defined: usize,
    part: Option<Part>,
    widths: &[u64],
) -> GraphNode {
    let node = &definition.nodes[defined];
    let executable = node.executable().map(str::to_owned);
    let resources = match executable {
        Some(_) => node.resources,
        None => Resources {
            scale: 0,
            memory_mib: 0,
            cpus: 0,
        },
    };
    let profile = &node.profile;
    let share = |count: u64| part.map_or(count, |part| share_up(part, count));
    let scale = share(resources.scale.into()) as u32;
    let regions: Vec<usize> = definition.regions_of(defined).collect();
    let outermost = regions.last().copied();
    let items = outermost.map_or(1, |region| {
        let items = widths[region];
        part.map_or(items, |part| part.share.of(items as usize).len() as u64)
    });
    let nested = regions.iter().rev().skip(1).map(|region| Nested {
        region: *region,
        items: widths[*region],
        parallelism: definition.regions[*region].parallelism,
    });
    let nested: Vec<Nested> = nested.collect();
    let inner = nested.iter().map(|region| region.items);
    let parallelism = outermost.and_then(|region| definition.regions[region].parallelism);
    GraphNode {
        name: node.name.value.clone(),
        executable,
        runtime_ms: profile.runtime_ms,
        busy: profile.busy,
        cpus: u32::from(node.resources.cpus),
        delay_ms: fixed_delay_ms(&node.delays),
        activations: inner.fold(items, u64::saturating_mul),
        output_bytes: share(profile.output_bytes),
        by_output: profile.by_output.iter().copied().map(share).collect(),
        scale,
        slots: scale * u32::from(resources.cpus),
        memory_mib: resources.memory_mib,
        peak_mib: profile.peak_mib,
        defined,
        together: outermost,
        part,
        items,
        nested,
        at_least: match node.join {
            Join::All => 0,
            Join::AtLeast(least) => least,
        },
        parallelism: parallelism.map(|most| part.map_or(most, |part| at_once(part, most))),
    }
}

/// How many items a region is expected to have for each item of the one around it, by its place in the definition.
fn widths(definition: &Definition) -> Vec<u64> {
    let mut items: Vec<Option<u64>> = vec![None; definition.regions.len()];
    for node in definition.nodes.iter().filter(|node| node.over_list) {
        if let Some(region) = node.region {
            let known = &mut items[region];
            *known = Some(known.unwrap_or(0).max(node.profile.items));
        }
    }
    let regions = definition.regions.iter().zip(items);
    let width = |(region, items): (&Region, Option<u64>)| {
        items
            .unwrap_or(1)
            .div_ceil(u64::from(region.batch.unwrap_or(1)))
    };
    regions.map(width).collect()
}

/// What of a node's waiting is known beforehand.
fn fixed_delay_ms(delays: &[Delay]) -> f64 {
    let fixed = delays.iter().map(|delay| match delay {
        Delay::Fixed(delay_ms) => f64::from(*delay_ms),
        Delay::Computed(_) | Delay::Until(_) => 0.0,
    });
    fixed.sum()
}

/// Each pair once, the lower number first.
fn pairs(of: impl IntoIterator<Item = (NodeId, NodeId)>) -> Vec<(NodeId, NodeId)> {
    let sorted = of.into_iter().map(|(a, b)| (a.min(b), a.max(b)));
    let sorted: BTreeSet<(NodeId, NodeId)> = sorted.collect();
    sorted.into_iter().collect()
}

/// What a consumer reads, by producer.
fn outputs_read(definition: &Definition, consumer: usize) -> BTreeMap<usize, BTreeSet<u16>> {
    let mut outputs: BTreeMap<usize, BTreeSet<u16>> = BTreeMap::new();
    for from in definition.reads(consumer) {
        if let Some((node, output)) = from.output() {
            outputs.entry(node).or_default().insert(output);
        }
    }
    outputs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::parse;

    const DIAMOND: &str = "
workflow: diamond
input: { text: bytes }
nodes:
  join: { function: e:join, input: { l: left.o, r: right.o, again: left.o }, after: [start, left] }
  right: { function: e:f, input: { i: start.a, j: start.b } , output: { o: bytes } }
  left: { function: e:f, input: { i: start.b }, output: { o: bytes } }
  start: { function: e:f, input: { t: input.text }, output: { a: bytes, b: bytes } }
";

    #[test]
    fn numbers_are_topological_and_otherwise_follow_the_definition() {
        let definition = parse("d.yaml", DIAMOND.as_bytes()).unwrap();
        let graph = Graph::of(&definition);
        let names: Vec<&str> = graph.nodes().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["start", "right", "left", "join"]);
        assert_eq!(graph.ids_by_definition(), [3, 1, 2, 0]);
    }

    #[test]
    fn a_pair_of_nodes_has_one_edge_with_all_that_is_read() {
        let definition = parse("d.yaml", DIAMOND.as_bytes()).unwrap();
        let mut edges: Vec<_> = Graph::of(&definition)
            .edges()
            .map(|(a, b, edge)| (a, b, edge.outputs.clone()))
            .collect();
        edges.sort();
        let expected = [
            (0, 1, vec![0, 1]),
            (0, 2, vec![1]),
            (0, 3, vec![]),
            (1, 3, vec![0]),
            (2, 3, vec![0]),
        ];
        assert_eq!(edges, expected);
    }
}
