//! How regions and nodes follow each other.
//!
//! Seen from around it a region is one unit: all that it waits for comes before all of its nodes, and what waits for one of
//! them comes after them all. Two edges are between the same units where they would be between different nodes, so that
//! nodes without a cycle may be units with one.

use super::Definition;
use rustc_hash::FxHashSet;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Nodes and regions, and which of them waits for which; edges are between neighbours in one region, or in none.
pub(crate) struct Units {
    nodes: usize,
    /// By unit, the nodes' first: the region that it lies in.
    around: Vec<Option<usize>>,
    /// By unit: those that it waits for.
    predecessors: Vec<Vec<usize>>,
    /// By unit: its lowest node.
    first: Vec<usize>,
}

impl Units {
    /// Those of a definition, whose nodes wait for each other as `predecessors` says.
    pub(crate) fn of(definition: &Definition, predecessors: &[Vec<usize>]) -> Self {
        let nodes = definition.nodes.len();
        let around = definition.nodes.iter().map(|node| node.region);
        let around = around.chain(definition.regions.iter().map(|region| region.parent));
        let around: Vec<Option<usize>> = around.collect();
        let mut units = Self {
            nodes,
            predecessors: vec![Vec::new(); around.len()],
            first: (0..around.len()).collect(),
            around,
        };
        units.first[nodes..].fill(usize::MAX);
        for node in 0..nodes {
            for unit in units.outward(node) {
                let first = &mut units.first[unit];
                *first = (*first).min(node);
            }
        }
        let mut known = FxHashSet::default();
        for (node, before) in predecessors.iter().enumerate() {
            for producer in before {
                if let Some(edge) = units.apart(*producer, node)
                    && known.insert(edge)
                {
                    units.predecessors[edge.1].push(edge.0);
                }
            }
        }
        units
    }

    /// A node and the regions that it is in, outward.
    fn outward(&self, node: usize) -> Vec<usize> {
        let next = |unit: &usize| self.around[*unit].map(|region| self.nodes + region);
        std::iter::successors(Some(node), next).collect()
    }

    /// The outermost units that hold one of two nodes each, and not the other.
    fn apart(&self, a: usize, b: usize) -> Option<(usize, usize)> {
        let (a, b) = (self.outward(a), self.outward(b));
        let mut pairs = a.into_iter().rev().zip(b.into_iter().rev());
        pairs.find(|(a, b)| a != b)
    }

    /// A way from a unit back to itself, its first unit again at its end, if there is one.
    pub(super) fn cycle(&self) -> Option<Vec<usize>> {
        super::cycle::find(self.around.len(), |unit| self.predecessors[unit].clone())
    }

    /// What a unit is called: a node by its name, a region by those of its nodes.
    pub(super) fn name(&self, definition: &Definition, unit: usize) -> String {
        const NAMED_MAX: usize = 3;
        let Some(region) = unit.checked_sub(self.nodes) else {
            return definition.nodes[unit].name.value.clone();
        };
        let within = |node: &usize| definition.regions_of(*node).any(|around| around == region);
        let mut within = (0..self.nodes).filter(within);
        let named: Vec<&str> = within
            .by_ref()
            .take(NAMED_MAX)
            .map(|node| definition.nodes[node].name.value.as_str())
            .collect();
        let further = if within.next().is_some() { ", …" } else { "" };
        format!("({}{further})", named.join(", "))
    }

    /// The lowest node of a unit.
    pub(super) fn first(&self, unit: usize) -> usize {
        self.first[unit]
    }

    /// The nodes, each behind all that it waits for, and those of a region one after the other. Of what is free, what
    /// the definition names first comes first.
    ///
    /// # Panics
    /// If there is a cycle.
    pub(crate) fn order(&self) -> Vec<usize> {
        let mut inside: Vec<Vec<usize>> = vec![Vec::new(); self.around.len() - self.nodes + 1];
        for (unit, around) in self.around.iter().enumerate() {
            inside[around.map_or(0, |region| region + 1)].push(unit);
        }
        let mut successors = vec![Vec::new(); self.around.len()];
        for (unit, before) in self.predecessors.iter().enumerate() {
            for producer in before {
                successors[*producer].push(unit);
            }
        }
        let mut waits_for: Vec<usize> = self.predecessors.iter().map(Vec::len).collect();
        let mut order = Vec::with_capacity(self.nodes);
        // What is free in the regions that are open, the innermost last.
        let mut open = vec![self.free(&inside[0], &waits_for)];
        let mut within: Vec<usize> = Vec::new();
        while let Some(free) = open.last_mut() {
            let ended = match free.pop() {
                Some(Reverse((_, unit))) if unit >= self.nodes => {
                    let inside = &inside[unit - self.nodes + 1];
                    open.push(self.free(inside, &waits_for));
                    within.push(unit);
                    continue;
                }
                Some(Reverse((_, node))) => {
                    order.push(node);
                    node
                }
                None => {
                    open.pop();
                    match within.pop() {
                        Some(region) => region,
                        None => break,
                    }
                }
            };
            for successor in &successors[ended] {
                waits_for[*successor] -= 1;
                if waits_for[*successor] == 0
                    && let Some(free) = open.last_mut()
                {
                    free.push(Reverse((self.first[*successor], *successor)));
                }
            }
        }
        assert_eq!(order.len(), self.nodes, "a definition has no cycles");
        order
    }

    fn free(&self, units: &[usize], waits_for: &[usize]) -> BinaryHeap<Reverse<(usize, usize)>> {
        let free = units.iter().filter(|unit| waits_for[**unit] == 0);
        free.map(|unit| Reverse((self.first[*unit], *unit)))
            .collect()
    }
}
