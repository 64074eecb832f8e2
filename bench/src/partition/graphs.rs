//! Graphs made by seed: what is placed where no file is given.
//!
//! Run times and bytes are log-normal, so that few are large and most are small. Each node has an executable of its own, as each
//! function of the published system has a container image. Bytes are scaled as a whole, so that the communication of the graph
//! over its computation is what was asked for.

use master::graph::{Dependency, Graph, GraphNode};
use master::place::Link;
use master::random::Random;

/// The median of the run times, in milliseconds.
const RUNTIME_MS: f64 = 100.0;
/// Spread of the logarithms of run times and bytes.
const RUNTIME_SPREAD: f64 = 1.0;
const BYTES_SPREAD: f64 = 1.2;
/// The published container; one whose function makes more than that leaves room for has as many times that memory as it takes.
const MEMORY_MIB: u32 = 256;

/// How the nodes of a graph hang together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Family {
    /// Layers; most edges lead from one to the next.
    Layered,
    /// Parallel chains between a node that forks and one that joins, again and again.
    ForkJoin,
    /// Every node but the first has one predecessor.
    OutTree,
    /// So few nodes that all placements can be tried.
    Small,
}

impl Family {
    /// All, by their names.
    pub const ALL: [(&'static str, Self); 4] = [
        ("layered", Self::Layered),
        ("fork-join", Self::ForkJoin),
        ("out-tree", Self::OutTree),
        ("small", Self::Small),
    ];

    /// As reports name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(_, known)| *known == self)
            .map_or("small", |(name, _)| name)
    }
}

/// What graph is wanted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Wanted {
    /// Its shape.
    pub family: Family,
    /// Nodes, at least 1.
    pub nodes: usize,
    /// Communication over computation: see [`ccr`].
    pub ccr: f64,
    /// Where its random numbers begin.
    pub seed: u64,
}

/// Bytes of all edges over one link's bandwidth, over the run times of all activations. Without run times it is infinite, or 0
/// if there are no bytes either.
#[must_use]
pub fn ccr(graph: &Graph) -> f64 {
    let bytes: f64 = graph
        .edges()
        .map(|(from, _, edge)| edge_bytes(graph.node(from), edge))
        .sum();
    let computation_s: f64 = graph.nodes().map(runtime_s).sum();
    ratio(bytes / Link::DEFAULT.bytes_per_s, computation_s)
}

fn ratio(communication_s: f64, computation_s: f64) -> f64 {
    if communication_s == 0.0 {
        0.0
    } else {
        communication_s / computation_s
    }
}

/// What a consumer reads.
fn edge_bytes(from: &GraphNode, edge: &Dependency) -> f64 {
    if from.by_output.is_empty() {
        let read = !edge.outputs.is_empty();
        return if read { from.output_bytes as f64 } else { 0.0 };
    }
    let read = edge.outputs.iter();
    let bytes = read.filter_map(|output| from.by_output.get(usize::from(*output)));
    bytes.sum::<u64>() as f64
}

fn runtime_s(node: &GraphNode) -> f64 {
    node.runtime_ms / 1e3 * node.activations as f64
}

/// Makes a graph.
#[must_use]
pub fn generate(wanted: &Wanted) -> Graph {
    let mut random = Random::new(wanted.seed ^ (wanted.nodes as u64).rotate_left(32));
    let pairs = match wanted.family {
        Family::Layered => layered(wanted.nodes, &mut random),
        Family::ForkJoin => fork_join(wanted.nodes, &mut random),
        Family::OutTree => out_tree(wanted.nodes, &mut random),
        Family::Small => small(wanted.nodes, &mut random),
    };
    let mut nodes: Vec<GraphNode> = (0..wanted.nodes)
        .map(|index| node(index, &mut random))
        .collect();
    let edges: Vec<(u32, u32, Dependency)> = pairs
        .into_iter()
        .map(|(from, to)| {
            let edge = dependency(&nodes[from], &mut random);
            (from as u32, to as u32, edge)
        })
        .collect();
    scale_bytes(&mut nodes, &edges, wanted.ccr);
    nodes.iter_mut().for_each(hold_payloads);
    Graph::new(nodes, edges, [])
}

fn node(index: usize, random: &mut Random) -> GraphNode {
    let is_foreach = random.below(10) == 0;
    let items = if is_foreach { 4 + random.below(29) } else { 1 } as u64;
    let scale = 1 + random.below(4) as u32;
    // A foreach node has the work of a few others, in many pieces.
    let share = if is_foreach { 4.0 / items as f64 } else { 1.0 };
    let outputs = if random.below(4) == 0 { 2 } else { 1 };
    let bytes: Vec<u64> = (0..outputs)
        .map(|_| (1e6 * skewed(BYTES_SPREAD, random)).ceil() as u64)
        .collect();
    GraphNode {
        name: format!("node-{index}"),
        executable: Some(format!("executable-{index}")),
        runtime_ms: RUNTIME_MS * share * skewed(RUNTIME_SPREAD, random),
        busy: [1.0, 1.0, 0.75, 0.5][random.below(4)],
        activations: items,
        output_bytes: bytes.iter().sum(),
        by_output: if outputs > 1 { bytes } else { Vec::new() },
        scale,
        slots: scale,
        memory_mib: MEMORY_MIB,
        peak_mib: 32 + random.below(97) as u32,
        together: is_foreach.then_some(index),
        items,
        ..GraphNode::default()
    }
}

/// Log-normal, of the median 1.
fn skewed(spread: f64, random: &mut Random) -> f64 {
    // Box and Muller (1958); the share is never 1, so that the logarithm is finite.
    let radius = (-2.0 * (1.0 - random.share()).ln()).sqrt();
    let normal = radius * (std::f64::consts::TAU * random.share()).cos();
    (spread * normal).exp()
}

/// What one consumer reads: mostly all, or one of two outputs; now and then it only waits.
fn dependency(from: &GraphNode, random: &mut Random) -> Dependency {
    let count = from.by_output.len().max(1) as u16;
    let dice = random.below(20);
    let outputs = match dice {
        0 => Vec::new(),
        1..=8 => vec![random.below(usize::from(count)) as u16],
        _ => (0..count).collect(),
    };
    Dependency::on(outputs)
}

/// Multiplies all bytes so that the graph has this [`ccr`]. They are rounded up, so that it has no less.
fn scale_bytes(nodes: &mut [GraphNode], edges: &[(u32, u32, Dependency)], wanted: f64) {
    let bytes: f64 = edges
        .iter()
        .map(|(from, _, edge)| edge_bytes(&nodes[*from as usize], edge))
        .sum();
    let computation_s: f64 = nodes.iter().map(runtime_s).sum();
    let now = ratio(bytes / Link::DEFAULT.bytes_per_s, computation_s);
    let factor = if now > 0.0 { wanted / now } else { 1.0 };
    for node in nodes {
        for bytes in &mut node.by_output {
            *bytes = (*bytes as f64 * factor).ceil() as u64;
        }
        node.output_bytes = if node.by_output.is_empty() {
            (node.output_bytes as f64 * factor).ceil() as u64
        } else {
            node.by_output.iter().sum()
        };
    }
}

/// Gives an executor the memory that a function uses itself and that it makes payloads of: both count in it.
fn hold_payloads(node: &mut GraphNode) {
    let made = (node.output_bytes / node.activations).div_ceil(1 << 20) as u32;
    node.memory_mib = (node.peak_mib + made).next_multiple_of(MEMORY_MIB);
}

/// As many layers as would make a square, half of that or twice.
fn layered(nodes: usize, random: &mut Random) -> Vec<(usize, usize)> {
    let layers = ((nodes as f64).sqrt() * (0.5 + 1.5 * random.share())).ceil() as usize;
    let layers = layers.clamp(1, nodes);
    // Each layer has a node, and the others fall where they fall.
    let mut widths = vec![1_usize; layers];
    for _ in layers..nodes {
        widths[random.below(layers)] += 1;
    }
    let mut starts = vec![0];
    for width in &widths {
        starts.push(starts[starts.len() - 1] + width);
    }
    let mut pairs = Vec::new();
    for layer in 1..layers {
        for to in starts[layer]..starts[layer + 1] {
            let before = pairs.len();
            for _ in 0..=random.below(3) {
                let from = if random.below(10) == 0 {
                    random.below(starts[layer])
                } else {
                    starts[layer - 1] + random.below(widths[layer - 1])
                };
                if !pairs[before..].contains(&(from, to)) {
                    pairs.push((from, to));
                }
            }
        }
    }
    pairs
}

/// Stages of up to the square root of all nodes in parallel.
fn fork_join(nodes: usize, random: &mut Random) -> Vec<(usize, usize)> {
    let widest = ((nodes as f64).sqrt() as usize).max(2);
    let mut pairs = Vec::new();
    let mut fork = 0;
    let mut next = 1;
    while next < nodes {
        let width = 2 + random.below(widest - 1);
        let length = 1 + random.below(3);
        let mut ends = Vec::with_capacity(width);
        for _ in 0..width {
            let mut end = fork;
            for _ in 0..length {
                if next < nodes {
                    pairs.push((end, next));
                    end = next;
                    next += 1;
                }
            }
            if end != fork {
                ends.push(end);
            }
        }
        if next < nodes {
            pairs.extend(ends.iter().map(|end| (*end, next)));
            fork = next;
            next += 1;
        }
    }
    pairs
}

/// Each node has one to five children, as long as there are any left.
fn out_tree(nodes: usize, random: &mut Random) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let mut next = 1;
    let mut parent = 0;
    while next < nodes {
        for _ in 0..=random.below(5) {
            if next < nodes {
                pairs.push((parent, next));
                next += 1;
            }
        }
        parent += 1;
    }
    pairs
}

/// Each later node depends on about a third of those before it, and at least on one.
fn small(nodes: usize, random: &mut Random) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for to in 1..nodes {
        let sure = random.below(to);
        let chosen = (0..to).filter(|from| *from == sure || random.below(3) == 0);
        let chosen: Vec<usize> = chosen.collect();
        pairs.extend(chosen.into_iter().map(|from| (from, to)));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Wanted> {
        let sizes = [1, 2, 10, 100, 1000];
        let families = Family::ALL.into_iter().map(|(_, family)| family);
        families.flat_map(move |family| {
            let sizes = sizes.into_iter();
            let sizes = sizes.filter(move |nodes| family != Family::Small || *nodes <= 10);
            sizes.flat_map(move |nodes| {
                let ccrs = [0.1, 1.0, 5.0, 10.0].into_iter();
                ccrs.enumerate().map(move |(seed, ccr)| Wanted {
                    family,
                    nodes,
                    ccr,
                    seed: seed as u64,
                })
            })
        })
    }

    #[test]
    fn graphs_have_the_nodes_and_the_communication_that_were_asked_for() {
        for wanted in all() {
            let graph = generate(&wanted);
            assert_eq!(graph.node_count(), wanted.nodes, "{wanted:?}");
            let found = ccr(&graph);
            let communicates = graph.edges().any(|(_, _, edge)| !edge.outputs.is_empty());
            if communicates {
                let near = (wanted.ccr..wanted.ccr * 1.001).contains(&found);
                assert!(near, "{wanted:?} has {found}");
            } else {
                assert!(wanted.nodes <= 2 && found == 0.0, "{wanted:?} has {found}");
            }
        }
    }

    #[test]
    fn memory_holds_what_a_function_uses_itself_and_what_it_makes() {
        let mut larger = 0;
        for wanted in all() {
            for node in generate(&wanted).nodes() {
                let made = node.output_bytes / node.activations;
                let used = (u64::from(node.peak_mib) << 20) + made;
                assert!(u64::from(node.memory_mib) << 20 >= used, "{wanted:?}");
                larger += usize::from(node.memory_mib > MEMORY_MIB);
            }
        }
        assert!(larger > 100, "{larger} nodes want more than one container");
    }

    #[test]
    fn edges_lead_forward_and_each_pair_has_one() {
        for wanted in all() {
            let graph = generate(&wanted);
            let mut pairs: Vec<(u32, u32)> =
                graph.edges().map(|(from, to, _)| (from, to)).collect();
            assert!(pairs.iter().all(|(from, to)| from < to), "{wanted:?}");
            let count = pairs.len();
            pairs.sort_unstable();
            pairs.dedup();
            assert_eq!(pairs.len(), count, "{wanted:?}");
            let mut reached = vec![false; wanted.nodes];
            pairs
                .iter()
                .for_each(|(_, to)| reached[*to as usize] = true);
            let roots = reached.iter().filter(|reached| !**reached).count();
            match wanted.family {
                Family::Layered => assert!(roots >= 1, "{wanted:?}"),
                _ => assert_eq!(roots, 1, "{wanted:?}"),
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_graph_and_another_one_another() {
        let wanted = Wanted {
            family: Family::Layered,
            nodes: 50,
            ccr: 1.0,
            seed: 3,
        };
        let nodes = |wanted: &Wanted| generate(wanted).nodes().cloned().collect::<Vec<_>>();
        assert_eq!(nodes(&wanted), nodes(&wanted));
        assert_ne!(nodes(&wanted), nodes(&Wanted { seed: 4, ..wanted }));
        let graph = generate(&Wanted {
            nodes: 400,
            ..wanted
        });
        let items: Vec<u64> = graph.nodes().map(|node| node.items).collect();
        assert!(items.iter().any(|items| (4..=32).contains(items)));
        assert!(
            items
                .iter()
                .all(|items| *items == 1 || (4..=32).contains(items))
        );
        assert!(graph.nodes().all(|node| (1..=4).contains(&node.scale)));
    }
}
