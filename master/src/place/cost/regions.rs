//! Regions in the cost model: what runs for each item, and how many of a long list are taken as one.
//!
//! A region within another one is unrolled: its nodes stand there once for each of its items. Of long lists several items are
//! taken as one that runs them one after the other, so many that the executors have work as with all of them: a multiple of
//! those that run side by side.

use super::{Executable, Share, Task, task};
use crate::graph::{Graph, Nested};
use engine::plan::NodeId;
use rustc_hash::FxHashMap;
use std::ops::Range;

/// Items of all regions that are looked at one by one; of longer lists several are taken as one.
const ITEMS_IN_ALL: u64 = 4096;
/// How many of those a region has.
const ITEMS_OF_REGION: (u64, u64) = (32, 512);
/// Items of a region within another one that are looked at one by one.
const ITEMS_WITHIN: u64 = 64;
/// Steps of all items of all regions, where long lists meet wide pools or many nodes.
const TASKS_IN_ALL: u64 = 1 << 17;
/// So many times the items that run side by side are looked at, so that steps of several of them overlap.
const ROUNDS: u64 = 4;
/// Items that a region has open at least, as the engine does; more, where they do nothing but wait.
const WINDOW: u32 = 64;
const WAITING_WINDOW: u32 = 4096;

/// A node of a region, item by item; or what stands for the beginning or the end of a region within it, and has no task.
#[derive(Clone, Debug)]
pub(in crate::place) struct Step {
    pub(in crate::place) node: NodeId,
    pub(in crate::place) task: Task,
    /// Steps of the same item that it waits for.
    pub(in crate::place) before: u32,
    /// Of those, how many start it, if not all have to.
    pub(in crate::place) at_least: u32,
    /// Steps of the same item that wait for it, by their places.
    pub(in crate::place) after: Vec<u32>,
}

/// What runs for each item of a list.
#[derive(Clone, Debug)]
pub(in crate::place) struct RegionModel {
    /// Items, or groups of items that are taken as one.
    pub(in crate::place) items: u32,
    /// Items that there really are.
    count: f64,
    /// Most of them at once, if it is limited.
    pub(in crate::place) parallelism: Option<u32>,
    /// Of them that are open at once, however many there are.
    open: u32,
    pub(in crate::place) steps: Vec<Step>,
}

/// How much is looked at one by one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Detail {
    items: u64,
    tasks: u64,
}

impl Detail {
    /// For so many regions.
    pub(super) fn of(regions: usize) -> Self {
        let regions = regions.max(1) as u64;
        Self {
            items: (ITEMS_IN_ALL / regions).clamp(ITEMS_OF_REGION.0, ITEMS_OF_REGION.1),
            tasks: (TASKS_IN_ALL / regions).max(1),
        }
    }
}

/// Items as they are looked at.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Groups {
    /// How many groups.
    groups: u64,
    /// Items of one that run one after the other, and side by side.
    in_turn: f64,
    beside: f64,
}

impl Groups {
    /// How many delays of a group's items pass one after the other, if so many of all are open at once.
    fn waits(&self, items: u64, open: u32) -> f64 {
        let open = f64::from(open.max(1));
        let rounds = |of: u64| (of as f64 / open).max(1.0);
        rounds(items) / rounds(self.groups)
    }
}

/// So many items of which so many can run and so many begin at once, in about so many groups; in no more than `most` of them.
fn groups(items: u64, (width, round): (u64, u64), about: u64, most: u64) -> Groups {
    let width = width.clamp(1, items.max(1));
    let most = most.max(1);
    let wanted = about.max(width.saturating_mul(ROUNDS)).min(most);
    let groups = if items <= wanted {
        items
    } else if (width..=wanted).contains(&round) {
        // Else the last round of delays would have few of them.
        wanted / round * round
    } else if width <= wanted {
        wanted / width * width
    } else {
        wanted
    };
    let beside = (width as f64 / groups.max(1) as f64).max(1.0);
    Groups {
        groups,
        in_turn: items as f64 / (groups.max(1) as f64 * beside),
        beside,
    }
}

struct Unroller<'a> {
    graph: &'a Graph,
    names: &'a FxHashMap<&'a str, u32>,
    /// The edges between nodes of one unit, rising.
    within: &'a [(NodeId, NodeId)],
    steps: Vec<Step>,
    edges: Vec<(u32, u32)>,
    /// Copies that there may still be.
    left: u64,
}

/// What stands for a node, or for a region around it, to those outside of that: whom they tell, and who tells them.
#[derive(Clone, Copy)]
struct Ends {
    first: u32,
    last: u32,
}

/// The region of these nodes.
pub(super) fn region(
    graph: &Graph,
    nodes: Range<NodeId>,
    names: &FxHashMap<&str, u32>,
    within: &[(NodeId, NodeId)],
    detail: Detail,
) -> RegionModel {
    let first = graph.node(nodes.start);
    let most = (detail.tasks / u64::from(nodes.end - nodes.start)).max(1);
    let width = width(graph, nodes.clone(), first.parallelism);
    let open = open_items(graph, nodes.clone());
    let round = round(graph, nodes.clone(), open);
    let items = groups(first.items, (width, round), detail.items, most);
    let mut unroller = Unroller {
        graph,
        names,
        within,
        steps: Vec::new(),
        edges: Vec::new(),
        left: (detail.tasks / items.groups.max(1)).max(1),
    };
    let share = Share {
        in_turn: items.in_turn,
        beside: items.beside,
        waits: items.waits(first.items, open),
    };
    unroller.scope(nodes.clone(), 0, share);
    let Unroller {
        mut steps,
        mut edges,
        ..
    } = unroller;
    edges.sort_unstable();
    edges.dedup();
    for (from, to) in edges {
        steps[to as usize].before += 1;
        steps[from as usize].after.push(to);
    }
    RegionModel {
        items: items.groups as u32,
        count: first.items as f64,
        parallelism: first.parallelism,
        open,
        steps,
    }
}

/// Items of a region that are open at once: as many as keep its executors busy, at most what it is limited to.
fn open_items(graph: &Graph, nodes: Range<NodeId>) -> u32 {
    let parallelism = graph.node(nodes.start).parallelism;
    let mut pools: FxHashMap<&str, u32> = FxHashMap::default();
    let mut makers = 0;
    let (mut inner, mut waits) = (false, false);
    for node in nodes.map(|id| graph.node(id)) {
        inner |= !node.nested.is_empty();
        waits |= node.delay_ms > 0.0;
        if let Some(executable) = &node.executable {
            makers += usize::from(node.nested.is_empty());
            let scale = pools.entry(executable).or_default();
            *scale = node.scale.max(*scale);
        }
    }
    let keeps_no_more = makers + usize::from(inner) <= 1 || parallelism.is_some();
    let least = if waits && keeps_no_more {
        WAITING_WINDOW
    } else {
        WINDOW
    };
    let executors: u32 = pools.values().sum();
    least
        .max(executors.saturating_mul(2))
        .min(parallelism.unwrap_or(u32::MAX))
}

/// Items of these nodes that can run side by side.
fn width(graph: &Graph, nodes: Range<NodeId>, parallelism: Option<u32>) -> u64 {
    let scales = nodes.map(|id| graph.node(id).scale);
    let widest = u64::from(scales.max().unwrap_or(1).max(1));
    parallelism.map_or(widest, |most| widest.min(u64::from(most)))
}

/// Items that begin at once if so many are open: those whose delays do.
fn round(graph: &Graph, mut nodes: Range<NodeId>, open: u32) -> u64 {
    let waits = nodes.any(|id| graph.node(id).delay_ms > 0.0);
    if waits { u64::from(open) } else { 0 }
}

impl Unroller<'_> {
    /// The nodes of a scope for one item of it, and what is in the regions within.
    fn scope(&mut self, nodes: Range<NodeId>, depth: usize, share: Share) {
        let mut ends: FxHashMap<NodeId, Ends> = FxHashMap::default();
        let mut next = nodes.start;
        while next < nodes.end {
            let id = next;
            let Some(inner) = self.graph.node(id).nested.get(depth).copied() else {
                let step = self.step(id, task(self.graph, id, self.names, share));
                self.steps[step as usize].at_least = self.graph.node(id).at_least;
                ends.insert(
                    id,
                    Ends {
                        first: step,
                        last: step,
                    },
                );
                next += 1;
                continue;
            };
            let same = |id: &NodeId| {
                let nested = self.graph.node(*id).nested.get(depth);
                nested.is_some_and(|nested| nested.region == inner.region)
            };
            let behind = (id..nodes.end).find(|id| !same(id)).unwrap_or(nodes.end);
            let around = self.unroll(id..behind, depth, inner, share);
            ends.extend((id..behind).map(|id| (id, around)));
            next = behind;
        }
        let from = self.within.partition_point(|edge| edge.0 < nodes.start);
        for (from, to) in self.within[from..]
            .iter()
            .take_while(|edge| edge.0 < nodes.end)
        {
            let (Some(from), Some(to)) = (ends.get(from), ends.get(to)) else {
                continue;
            };
            // Within one region further in it has been seen to.
            if from.last != to.last {
                self.edges.push((from.last, to.first));
            }
        }
    }

    /// A region within, once for each of its items.
    fn unroll(&mut self, nodes: Range<NodeId>, depth: usize, of: Nested, share: Share) -> Ends {
        let size = u64::from(nodes.end - nodes.start);
        let width = width(self.graph, nodes.clone(), of.parallelism);
        let most = (self.left / size).max(1);
        let open = of.parallelism.unwrap_or(u32::MAX);
        let round = round(self.graph, nodes.clone(), open);
        let items = groups(of.items, (width, round), ITEMS_WITHIN.min(most), most);
        self.left /= items.groups.max(1);
        let left = self.left;
        let first = self.mark(nodes.start);
        let mut ended: Vec<u32> = Vec::new();
        for copy in 0..items.groups {
            let opened = self.mark(nodes.start);
            self.edges.push((first, opened));
            // What is limited begins as others end, in their order.
            if let Some(before) = of
                .parallelism
                .and_then(|most| copy.checked_sub(u64::from(most)))
            {
                self.edges.push((ended[before as usize], opened));
            }
            self.left = left;
            let share = Share {
                in_turn: share.in_turn * items.in_turn,
                beside: share.beside * items.beside,
                waits: share.waits * items.waits(of.items, open),
            };
            let inner = self.steps.len() as u32;
            self.scope(nodes.clone(), depth + 1, share);
            let closed = self.mark(nodes.start);
            for step in inner..closed {
                self.edges.push((opened, step));
                self.edges.push((step, closed));
            }
            ended.push(closed);
        }
        let last = self.mark(nodes.start);
        self.edges.push((first, last));
        ended
            .into_iter()
            .for_each(|closed| self.edges.push((closed, last)));
        Ends { first, last }
    }

    fn mark(&mut self, node: NodeId) -> u32 {
        self.step(node, Task::NOTHING)
    }

    fn step(&mut self, node: NodeId, task: Task) -> u32 {
        self.steps.push(Step {
            node,
            task,
            before: 0,
            at_least: 0,
            after: Vec::new(),
        });
        self.steps.len() as u32 - 1
    }
}

impl RegionModel {
    /// Items, or groups of them, that are open at once.
    pub(in crate::place) fn window(&self) -> u32 {
        self.open.min(self.items)
    }

    /// The least time that it takes by itself on a worker so fast, and its CPU time, if these of its nodes run.
    pub(super) fn least(
        &self,
        executables: &[Executable],
        speed: f64,
        runs: &dyn Fn(NodeId) -> bool,
    ) -> (f64, f64) {
        if self.items == 0 {
            return (0.0, 0.0);
        }
        // One item's longest chain, and the work of each executable for all of them.
        let mut ends = vec![0.0_f64; self.steps.len()];
        let mut longest = 0.0_f64;
        let mut busy_ns = 0.0;
        let mut by_executable: FxHashMap<u32, f64> = FxHashMap::default();
        let some = self.steps.iter().any(|step| step.at_least > 0);
        for place in self.in_order() {
            let step = &self.steps[place as usize];
            let mut end = ends[place as usize];
            if runs(step.node) {
                let Task {
                    delay_ns,
                    runtime_ns,
                    share,
                    ..
                } = step.task;
                // Of a join of some it is not known here what it waits for.
                end = if some { 0.0 } else { end }
                    + delay_ns / share.waits.max(f64::MIN_POSITIVE)
                    + runtime_ns / share.in_turn.max(f64::MIN_POSITIVE) / speed;
                busy_ns += step.task.busy_ns();
                if let Some(executable) = step.task.executable {
                    *by_executable.entry(executable).or_default() +=
                        runtime_ns * share.beside / speed;
                }
            }
            longest = longest.max(end);
            for after in &step.after {
                let later = &mut ends[*after as usize];
                *later = later.max(end);
            }
        }
        let items = f64::from(self.items);
        let widest = by_executable.into_iter().map(|(executable, of_one_ns)| {
            let scale = f64::from(executables[executable as usize].scale);
            of_one_ns * items / scale
        });
        let in_turn = self.parallelism.map_or(0.0, |most| {
            let rounds = self.count / f64::from(most.max(1));
            // Items that are taken as one leave no round half full.
            let exact = self.count == items;
            longest * if exact { rounds.ceil() } else { rounds }
        });
        let least_ns = widest.fold(longest, f64::max).max(in_turn);
        (least_ns, busy_ns * items)
    }

    /// Steps, each behind those that it waits for.
    fn in_order(&self) -> Vec<u32> {
        let mut before: Vec<u32> = self.steps.iter().map(|step| step.before).collect();
        let free = |(place, before): (usize, &u32)| (*before == 0).then_some(place as u32);
        let mut order: Vec<u32> = before.iter().enumerate().filter_map(free).collect();
        let mut next = 0;
        while let Some(place) = order.get(next).copied() {
            next += 1;
            for after in &self.steps[place as usize].after {
                before[*after as usize] -= 1;
                if before[*after as usize] == 0 {
                    order.push(*after);
                }
            }
        }
        order
    }
}

impl Task {
    /// Nothing to do.
    const NOTHING: Self = Self {
        executable: None,
        runtime_ns: 0.0,
        delay_ns: 0.0,
        busy: 0,
        cpus: 0.0,
        scale: 0,
        share: Share::ONE,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keep_so_many_busy_as_there_are_side_by_side() {
        let exact = |items| Groups {
            groups: items,
            in_turn: 1.0,
            beside: 1.0,
        };
        assert_eq!(groups(40, (2, 0), 512, 1 << 17), exact(40));
        assert_eq!(groups(0, (2, 0), 512, 1 << 17).groups, 0);
        // Not 512, which would have 12 rounds of 10 and one of 2.
        let many = groups(10_000, (10, 0), 512, 1 << 17);
        assert_eq!((many.groups, many.beside), (510, 1.0));
        assert!((many.in_turn - 10_000.0 / 510.0).abs() < 1e-9);
        // Wider than what is looked at: looked at wider.
        assert_eq!(groups(5000, (1000, 0), 512, 1 << 17).groups, 4000);
        // And where that is too much, several side by side.
        let wide = groups(5000, (1000, 0), 512, 100);
        assert_eq!(wide.groups, 100);
        assert!((wide.beside - 10.0).abs() < 1e-9 && (wide.in_turn - 5.0).abs() < 1e-9);
    }
}
