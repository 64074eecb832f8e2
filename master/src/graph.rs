//! The graph of a workflow: its nodes in topological order, and an edge from each to those that wait for it. Nodes of one
//! region stand one after the other, those of regions within it too; of a divided one, those of each of its parts.
//!
//! A node's index is its number in the deployment. Among nodes that could stand at the same place the one that the
//! definition names first comes first, so that a definition always gives the same numbers.

use crate::definition::units::Units;
use crate::definition::{Definition, Resources};
use crate::division::{Division, share_up};
use engine::plan::{NodeId, Part};
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::{BTreeMap, BTreeSet};

/// A node, as placement sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct GraphNode {
    /// As in the definition.
    pub name: String,
    /// What it runs in: nodes of one executable share a pool on a worker. A node that the worker does itself has none.
    pub executable: Option<String>,
    /// How long one activation is expected to run, in milliseconds.
    pub runtime_ms: f64,
    /// What all its outputs are expected to have, in bytes.
    pub output_bytes: u64,
    /// Executors that it wants.
    pub scale: u32,
    /// As how many executors those count: each as many as its activations keep CPUs busy.
    pub slots: u32,
    /// Memory of each of them, in MiB.
    pub memory_mib: u32,
    /// Its place in [`Definition::nodes`].
    pub defined: usize,
    /// The outermost region that it is part of, by its place in [`Definition::regions`]: its nodes run on one worker, or, if
    /// it is divided, those of each of its parts.
    pub together: Option<usize>,
    /// Which part of that region it is in, if that is divided. What it wants and gives is that of this part alone.
    pub part: Option<Part>,
}

impl GraphNode {
    /// Whether two nodes must run on one worker.
    #[must_use]
    pub fn runs_with(&self, other: &Self) -> bool {
        self.together.is_some() && (self.together, self.part) == (other.together, other.part)
    }
}

/// Why one node waits for another.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dependency {
    /// The outputs that the consumer reads, rising; none if it only waits.
    pub outputs: Vec<u16>,
}

/// A workflow's nodes and edges; without cycles.
#[derive(Clone, Debug)]
pub struct Graph {
    graph: DiGraph<GraphNode, Dependency>,
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
        let mut ids: Vec<Vec<NodeIndex>> = vec![Vec::new(); order.len()];
        let outermost = |node: usize| definition.regions_of(node).last();
        for together in
            order.chunk_by(|a, b| outermost(*a).is_some() && outermost(*a) == outermost(*b))
        {
            let region = outermost(together[0]);
            for number in 0..region.map_or(1, |region| division.parts(region)) {
                let part = region.and_then(|region| division.part(region, number));
                for defined in together {
                    let node = graph_node(definition, *defined, part);
                    ids[*defined].push(graph.add_node(node));
                }
            }
        }
        for (consumer, predecessors) in predecessors.iter().enumerate() {
            let mut read = outputs_read(definition, consumer);
            for producer in predecessors {
                let outputs = read.remove(producer).unwrap_or_default();
                let outputs: Vec<u16> = outputs.into_iter().collect();
                for to in &ids[consumer] {
                    for from in &ids[*producer] {
                        let same_region = graph[*from].together == graph[*to].together;
                        let parts = (graph[*from].part, graph[*to].part);
                        if same_region && parts.0.is_some() && parts.0 != parts.1 {
                            continue;
                        }
                        let outputs = outputs.clone();
                        graph.add_edge(*from, *to, Dependency { outputs });
                    }
                }
            }
        }
        Self { graph }
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

fn graph_node(definition: &Definition, defined: usize, part: Option<Part>) -> GraphNode {
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
    let share = |count: u64| part.map_or(count, |part| share_up(part, count));
    let scale = share(resources.scale.into()) as u32;
    GraphNode {
        name: node.name.value.clone(),
        executable,
        runtime_ms: node.profile.runtime_ms,
        output_bytes: share(node.profile.output_bytes),
        scale,
        slots: scale * u32::from(resources.cpus),
        memory_mib: resources.memory_mib,
        defined,
        together: definition.regions_of(defined).last(),
        part,
    }
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
