//! Where a deployment runs now, as a placement of the graph of its definition: so that it can be estimated like any other.

use super::Served;
use super::rebalance::RebalanceError;
use crate::definition::Definition;
use crate::division::{self, Division};
use crate::graph::Graph;
use crate::place::Placement;
use engine::plan::Part;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A node by its name, and which part of it, if it is divided, from 0.
type Key<'a> = (&'a str, Option<u16>);

/// The graph of a definition, divided as the deployment is, and the deployment's placements of it. Workers count as in the
/// cluster that was asked.
///
/// # Errors
/// [`RebalanceError::Nodes`] if the definition has other nodes than the deployment, or cannot be divided as that is.
pub fn present(
    definition: &Definition,
    served: &Served,
) -> Result<(Graph, Vec<Placement>), RebalanceError> {
    let differs = |difference: String| RebalanceError::Nodes {
        file: definition.source.name.to_string(),
        difference,
    };
    let defined: HashMap<&str, usize> = definition
        .nodes
        .iter()
        .map(|node| node.name.value.as_str())
        .zip(0..)
        .collect();
    let names = placed(served, 0).into_keys().map(|(name, _)| name);
    let gone: BTreeSet<&str> = names.filter(|name| !defined.contains_key(name)).collect();
    if let Some(gone) = gone.first() {
        return Err(differs(format!("it has no {gone}")));
    }
    let division = division_of(definition, &defined, served).map_err(differs)?;
    let graph = Graph::divided(definition, &division);
    let placements = (0..served.placements.len()).map(|number| {
        let placed = placed(served, number);
        let worker = |node: &crate::graph::GraphNode| {
            let key = (node.name.as_str(), node.part.map(|part| part.number));
            let worker = placed.get(&key).copied();
            worker.ok_or_else(|| differs(format!("{} is not deployed", node.name)))
        };
        let workers: Result<Vec<usize>, RebalanceError> = graph.nodes().map(worker).collect();
        Ok(Placement::new(workers?))
    });
    let placements = placements.collect::<Result<_, RebalanceError>>()?;
    Ok((graph, placements))
}

/// The workers of a placement's nodes.
fn placed(served: &Served, placement: usize) -> HashMap<Key<'_>, usize> {
    let workers = served.placements[placement].nodes.iter().enumerate();
    let nodes = workers.flat_map(|(worker, nodes)| {
        nodes.iter().map(move |node| {
            let number = node.part.map(|part| part.number);
            ((node.name.as_str(), number), worker)
        })
    });
    nodes.collect()
}

/// How regions are divided, which is the same in all placements. An error says which node the definition has divided
/// otherwise.
fn division_of(
    definition: &Definition,
    defined: &HashMap<&str, usize>,
    served: &Served,
) -> Result<Division, String> {
    let mut parts: BTreeMap<usize, (&str, BTreeMap<u16, Part>)> = BTreeMap::new();
    for node in served.placements[0].nodes.iter().flatten() {
        let Some(part) = node.part else {
            continue;
        };
        let regions = definition.regions_of(defined[node.name.as_str()]);
        let Some(region) = regions.last() else {
            return Err(format!(
                "{} runs in {} parts, and for no list there",
                node.name, part.of
            ));
        };
        let (_, of_region) = parts
            .entry(region)
            .or_insert_with(|| (&node.name, BTreeMap::new()));
        of_region.insert(part.number, part);
    }
    let mut division = Division::default();
    for (region, (name, parts)) in parts {
        let weights: Vec<u32> = parts
            .values()
            .map(|part| part.share.behind.saturating_sub(part.share.first))
            .collect();
        let otherwise = |why: &str| format!("{name} runs in {} parts, and {why}", weights.len());
        if let Some(refusal) = division::refused(definition, region) {
            return Err(otherwise(&refusal.to_string()));
        }
        division.set(definition, region, &weights);
        let is_so = |part: &Part| division.part(region, usize::from(part.number)) == Some(*part);
        if !parts.values().all(is_so) {
            return Err(otherwise("may have fewer of them there"));
        }
    }
    Ok(division)
}
