//! What activations and clients read, and how it came: as this simulation sees it, against what cores have counted.

use super::Cluster;
use super::lane::{InputAt, Lane, Run};
use super::memory::Came;
use engine::core::{Answered, Evaluate, Incoming, Outgoing, Part, Start};
use engine::plan::{DeploymentId, NodePlan, OutputSource, Plan, Source};
use engine::reads::{Edge, Reads, Way};
use engine::wire::{ITEM_ABSENT, padded_item};
use faasstore::descriptor::{ItemName, PayloadRef};
use faasstore::tier::TierKind;
use std::collections::{BTreeMap, BTreeSet};

/// Payloads up to this many bytes travel in a message.
pub(super) const INLINE_BYTES_MAX: u32 = 16;

/// What one reader, a node or an output, has read on a lane.
#[derive(Clone, Copy, Default, Debug)]
struct Seen {
    reads: Reads,
    /// Of some it cannot be said here how they came: which alternative was read is not known.
    some_way: bool,
    /// Nor whether they count.
    unsure: bool,
}

/// What was read on a lane.
#[derive(Debug, Default)]
pub(super) struct Seens {
    by_reader: BTreeMap<(DeploymentId, String), Seen>,
    /// Somebody was to read what had gone before it could be looked at.
    unsure: bool,
}

/// Where what a source gives is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum From {
    Here,
    Elsewhere,
    Constant,
}

/// How what is brought back from a tier comes.
pub(super) const fn way_from(kind: TierKind) -> Way {
    match kind {
        TierKind::Remote => Way::Remote,
        _ => Way::Spill,
    }
}

/// How something comes that another worker, or a client, sends.
pub(super) fn way_of(incoming: &Incoming) -> Way {
    let bytes = match incoming {
        Incoming::Lent(_) | Incoming::LentList { .. } => return Way::Lent,
        Incoming::Arriving { .. } => return Way::Peer,
        Incoming::One(range) => range.length,
        Incoming::List { items, .. } => {
            let there = items.iter().filter(|(_, bytes)| *bytes != ITEM_ABSENT);
            there.filter_map(|(_, bytes)| padded_item(*bytes)).sum()
        }
        Incoming::Refused(_) => 0,
    };
    match bytes <= u64::from(INLINE_BYTES_MAX) {
        true => Way::Inline,
        false => Way::Peer,
    }
}

fn is_here(plan: &Plan, source: Source) -> bool {
    match source {
        Source::Output { node, .. } | Source::First { node, .. } => {
            plan.nodes.iter().any(|one| one.id == node)
        }
        _ => false,
    }
}

fn from_of(plan: &Plan, region: Option<u16>, source: Source) -> From {
    match source {
        Source::Constant(_) => From::Constant,
        Source::Item { up } => {
            let mut region = &plan.regions[usize::from(region.expect("it lies in a region"))];
            for _ in 0..up {
                let around = region.parent.expect("there is one around it");
                region = &plan.regions[usize::from(around)];
            }
            from_of(plan, region.parent, region.list)
        }
        other if is_here(plan, other) => From::Here,
        _ => From::Elsewhere,
    }
}

/// Where what is read is from: the same for all alternatives, or none if that cannot be said.
fn from_any(froms: impl Iterator<Item = From> + Clone) -> Option<From> {
    let mut all = froms.clone();
    let first = all.next()?;
    all.all(|from| from == first).then_some(first)
}

impl Lane {
    /// Notes how something has come.
    pub(super) fn has_come(&mut self, incoming: &Incoming, way: Way) {
        let ranges: &[PayloadRef] = match incoming {
            Incoming::One(range)
            | Incoming::Lent(range)
            | Incoming::List { range, .. }
            | Incoming::Arriving { range, .. } => std::slice::from_ref(range),
            Incoming::LentList { items, .. } => items,
            Incoming::Refused(_) => &[],
        };
        for range in ranges {
            self.memory.note(*range, Came::by(way));
        }
    }

    fn way_read(&self, range: PayloadRef, from: From) -> Way {
        match self.memory.came(range) {
            Some(Came {
                brought_back: Some(way),
                ..
            }) => way,
            _ if from == From::Here => Way::Shared,
            Some(came) => came.way,
            None => Way::Inline,
        }
    }

    fn reader(&mut self, deployment: DeploymentId, name: &str) -> &mut Seen {
        let key = (deployment, name.to_owned());
        self.seens.by_reader.entry(key).or_default()
    }

    /// A node, or the client, reads these.
    fn reads(
        &mut self,
        reader: (DeploymentId, &str),
        ranges: impl Iterator<Item = PayloadRef>,
        from: Option<From>,
    ) -> Vec<PayloadRef> {
        let ranges: Vec<PayloadRef> = ranges
            .filter(|range| !range.is_absent() && !range.is_away())
            .collect();
        for range in &ranges {
            let way = self.way_read(*range, from.unwrap_or(From::Elsewhere));
            let seen = self.reader(reader.0, reader.1);
            match from {
                Some(From::Constant) => {}
                Some(_) => seen.reads.count(way, range.length),
                None => {
                    seen.reads.count(way, range.length);
                    seen.some_way = true;
                }
            }
        }
        match from {
            Some(From::Constant) => Vec::new(),
            _ => ranges,
        }
    }

    fn were_read(&mut self, ranges: &[PayloadRef]) {
        ranges.iter().for_each(|range| self.memory.was_read(*range));
    }

    /// What is read cannot be looked at any more.
    pub(super) fn reads_unseen(&mut self) {
        self.seens.unsure = true;
    }
}

impl Cluster {
    fn plan_at(&self, lane: usize, deployment: usize) -> &Plan {
        &self.scenario.deployments[deployment].plans[self.lanes[lane].worker]
    }

    /// An activation starts.
    pub(super) fn sees_start(&mut self, lane: usize, start: &Start) {
        if start.attempt > 1 {
            return;
        }
        let place = start.executor.0 as usize;
        let executor = self.lanes[lane].executors[place].as_ref();
        let Some(deployment) = executor.map(|executor| executor.deployment) else {
            return self.lanes[lane].reads_unseen();
        };
        let (id, _) = self.lanes[lane].core.started_node(start);
        let inputs = self.lanes[lane].inputs_of(start);
        let plan = self.plan_at(lane, deployment);
        let node = plan.nodes.iter().find(|node| node.id == id).cloned();
        self.sees_inputs(
            (lane, deployment),
            &node.expect("it is planned"),
            0,
            &inputs,
        );
    }

    /// A lane evaluates a node, or how long it waits.
    pub(super) fn sees_evaluation(&mut self, lane: usize, wanted: &Evaluate, inputs: &[InputAt]) {
        let deployment = self.deployment(wanted.deployment);
        let plan = self.plan_at(lane, deployment);
        let node = plan.nodes.iter().find(|node| node.id == wanted.node);
        let node = node.cloned().expect("it is planned");
        let first = match wanted.part() {
            Part::Work => 0,
            Part::Delay => node.inputs.len(),
        };
        self.sees_inputs((lane, deployment), &node, first, inputs);
    }

    fn sees_inputs(
        &mut self,
        (lane, deployment): (usize, usize),
        node: &NodePlan,
        first: usize,
        inputs: &[InputAt],
    ) {
        let plan = self.plan_at(lane, deployment);
        let id = plan.deployment;
        let declared = node.all_inputs().skip(first);
        let froms: Vec<Vec<From>> = declared
            .map(|input| {
                let sources = input.sources.iter();
                sources
                    .map(|source| from_of(plan, node.region, *source))
                    .collect()
            })
            .collect();
        let lane = &mut self.lanes[lane];
        let mut read = Vec::new();
        for (at, froms) in inputs.iter().zip(froms) {
            let ranges: &[PayloadRef] = match at {
                InputAt::One(range) => std::slice::from_ref(range),
                InputAt::List(items) => items,
            };
            let from = from_any(froms.iter().copied());
            let seen = lane.reader(id, &node.name);
            seen.unsure |= from.is_none() && froms.contains(&From::Constant);
            read.extend(lane.reads((id, &node.name), ranges.iter().copied(), from));
        }
        lane.were_read(&read);
    }

    /// An activation is given an item that it has asked for.
    pub(super) fn sees_item(&mut self, lane: usize, run: &Run, name: ItemName, range: PayloadRef) {
        if run.attempt > 1 {
            return self.lanes[lane].were_read(&[range]);
        }
        let asked = &self.asked[self.by_id[&run.invocation]];
        let plan = self.plan_at(lane, asked.deployment);
        let id = plan.deployment;
        let mut nodes = plan.nodes.iter();
        let node = nodes.find(|node| node.id == run.planned);
        let node = node.expect("it is planned");
        let sources = node.inputs[usize::from(name.input)].sources.iter();
        let from = from_any(sources.map(|source| from_of(plan, node.region, *source)));
        let reader = node.name.clone();
        let lane = &mut self.lanes[lane];
        let is_copy = lane.memory.came(range).is_some_and(|came| came.is_copy);
        let read = lane.reads((id, &reader), std::iter::once(range), from);
        if is_copy && !read.is_empty() {
            let seen = lane.reader(id, &reader);
            seen.reads.copied.count(range.length);
        }
        lane.were_read(&read);
    }

    /// A client is given outputs.
    pub(super) fn sees_outputs(&mut self, lane: usize, answered: &Answered) {
        let Ok(outputs) = &answered.result else {
            return;
        };
        let deployment = self.asked[answered.request as usize].deployment;
        let plan = self.plan_at(lane, deployment);
        let id = plan.deployment;
        let from = |of: &OutputSource| match of.source {
            Source::Constant(_) => From::Constant,
            source if of.part.is_none() && is_here(plan, source) => From::Here,
            _ => From::Elsewhere,
        };
        let froms: Vec<Vec<From>> = outputs
            .iter()
            .map(|(name, _)| {
                let declared = plan.outputs.iter().find(|output| output.name == *name);
                let sources = declared.expect("it is declared").sources.iter();
                sources.map(from).collect()
            })
            .collect();
        let lane = &mut self.lanes[lane];
        for ((name, outgoing), froms) in outputs.iter().zip(froms) {
            let ranges = ranges_of(outgoing, lane);
            let reader = format!("output.{name}");
            let from = from_any(froms.iter().copied());
            let seen = lane.reader(id, &reader);
            seen.unsure |= from.is_none() && froms.contains(&From::Constant);
            let read = lane.reads((id, &reader), ranges.into_iter(), from);
            lane.were_read(&read);
        }
    }

    /// What cores have counted is what was seen: each read once, over an edge that there is.
    pub(super) fn judge_reads(&mut self) {
        for index in 0..self.lanes.len() {
            let lane = &mut self.lanes[index];
            if !lane.alive || lane.seens.unsure {
                continue;
            }
            for id in lane.deployed.clone() {
                let edges = all_edges(lane, id);
                let deployment = self.deployment_by_id[&id];
                let plan = &self.scenario.deployments[deployment].plans[lane.worker];
                judge_names(plan, &edges);
                self.reads_judged += judge_readers(lane, id, edges);
            }
        }
    }
}

fn ranges_of(outgoing: &Outgoing, lane: &Lane) -> Vec<PayloadRef> {
    let payloads = outgoing.payloads().iter();
    payloads.map(|one| lane.core.locate(*one)).collect()
}

/// All edges of a deployment, asked for page by page.
fn all_edges(lane: &mut Lane, id: DeploymentId) -> Vec<Edge> {
    let mut edges = Vec::new();
    let mut next = Some(0);
    while let Some(from) = next {
        let page = lane.core.edges(id, from, 3).expect("it is deployed");
        edges.extend(page.edges);
        next = page.next;
    }
    edges
}

fn judge_names(plan: &Plan, edges: &[Edge]) {
    let inputs = plan.inputs.iter();
    let mut known: BTreeSet<String> = inputs.map(|one| format!("input.{}", one.name)).collect();
    for node in &plan.nodes {
        let outputs = node.outputs.iter();
        known.extend(outputs.map(|output| format!("{}.{}", node.name, output.name)));
    }
    for node in &plan.remote_nodes {
        let outputs = node.outputs.iter();
        known.extend(outputs.map(|output| format!("{}.{}", node.name, output.name)));
    }
    for edge in edges {
        assert!(known.contains(&edge.from), "{edge:?} is none of {known:?}");
    }
}

/// How many reads were judged.
fn judge_readers(lane: &Lane, id: DeploymentId, edges: Vec<Edge>) -> u64 {
    let mut counted: BTreeMap<String, Reads> = BTreeMap::new();
    for edge in edges {
        counted.entry(edge.to).or_default().add(&edge.reads);
    }
    let mut judged = 0;
    let seens = lane.seens.by_reader.iter();
    for ((_, reader), seen) in seens.filter(|((of, _), _)| *of == id) {
        let counted = counted.remove(reader).unwrap_or_default();
        if seen.unsure {
            continue;
        }
        if seen.some_way {
            assert_eq!(counted.all(), seen.reads.all(), "what {reader} has read");
        } else {
            assert_eq!(counted, seen.reads, "what {reader} has read");
        }
        judged += counted.all().payloads;
    }
    assert!(counted.is_empty(), "nobody has read {counted:?}");
    judged
}
