//! Regions: their nodes run for each item of a list, and outside they are seen gathered.

use super::edges::{Edge, Found};
use super::{Breach, End, Ended, Frame, InItems, Judge};
use crate::functions::Datum;
use crate::trace::Moment;
use crate::workflow::inputs_of;
use engine::plan::{FlowEdge, Gate, Join, NodeId, Source};
use std::collections::{BTreeMap, BTreeSet};

/// How the nodes of a region ended in one of its items.
type ItemEnds = BTreeMap<NodeId, Ended>;

impl Judge<'_> {
    /// Judges a region of the innermost frame. It begins when all that it waits for outside is decided, and is skipped as a
    /// whole without its list.
    pub(super) fn region(&mut self, region: u16) -> Result<(), Breach> {
        let workflow = self.workflow;
        let nodes: Vec<NodeId> = workflow.nodes_within(region).collect();
        if self.here().never_begun.contains(&region) {
            // That was known before the first item of the region around it.
            self.note_region(region, false);
            self.all_end(&nodes, &End::Skipped, self.here().since);
            return Ok(());
        }
        let waited_for = workflow.waited_for_by(region);
        let open = |node: &NodeId| matches!(self.ended(*node).end, End::Open | End::Fatal);
        if waited_for.iter().any(open) {
            self.all_end(&nodes, &End::Open, Moment::default());
            return Ok(());
        }
        let taken_up = self.trace.begun.get(&nodes[0]).copied().unwrap_or_default();
        let decided = waited_for.iter().map(|node| self.at(*node));
        let since = decided.fold(self.here().since.max(taken_up), Moment::max);
        let plan = &workflow.regions[usize::from(region)];
        let list = match self.first_live(&[plan.list]) {
            Found::Present(Datum::List(list)) => list,
            Found::Present(Datum::One(_) | Datum::Absent) => {
                return Err(Breach(format!("region {region} runs over what is no list")));
            }
            Found::Absent | Found::Open => {
                self.note_region(region, false);
                self.counts.skipped += 1;
                self.all_end(&nodes, &End::Skipped, since);
                return Ok(());
            }
        };
        self.counts.ran += 1;
        self.note_region(region, true);
        let mut may_run = BTreeMap::new();
        let mut never_begun = BTreeSet::new();
        self.find_possible(region, &mut may_run, &mut never_begun);
        let never = may_run.iter().filter(|(_, may_run)| !**may_run);
        let never: BTreeSet<NodeId> = never.map(|(node, _)| *node).collect();
        let items: Vec<Datum> = match plan.batch {
            Some(batch) => list
                .chunks(batch as usize)
                .map(|items| Datum::List(items.to_vec()))
                .collect(),
            None => list
                .into_iter()
                .map(|item| item.map_or(Datum::Absent, Datum::One))
                .collect(),
        };
        let mut ends: Vec<ItemEnds> = Vec::new();
        for (number, item) in (0..).zip(items) {
            self.frames.push(Frame {
                region: Some(region),
                item: Some((number, item)),
                since,
                never: never.clone(),
                never_begun: never_begun.clone(),
                nodes: BTreeMap::new(),
            });
            let judged = self.frame();
            let frame = self.frames.pop();
            judged?;
            ends.extend(frame.map(|frame| frame.nodes));
        }
        self.check_parallelism(region, ends.len())?;
        self.gather(region, since, &never, &ends);
        Ok(())
    }

    fn note_region(&mut self, region: u16, began: bool) {
        if self.here().region.is_none() {
            self.regions.push((region, began));
        }
    }

    fn all_end(&mut self, nodes: &[NodeId], end: &End, at: Moment) {
        for node in nodes {
            let end = end.clone();
            self.here_mut().nodes.insert(*node, Ended { end, at });
        }
    }

    /// Which nodes of a region may run in some item, from what is decided outside of it. `found` holds what is known of
    /// those around it that are not decided. Regions within it that have no list go to `never_begun`.
    fn find_possible(
        &self,
        region: u16,
        found: &mut BTreeMap<NodeId, bool>,
        never_begun: &mut BTreeSet<u16>,
    ) {
        let workflow = self.workflow;
        let nodes: Vec<NodeId> = workflow.nodes_within(region).collect();
        for node in &nodes {
            let of = workflow.nodes[*node as usize].region;
            if found.contains_key(node) {
                continue;
            }
            match workflow.just_within(Some(region), of) {
                None => {
                    let may_run = self.is_possible(*node, found);
                    found.insert(*node, may_run);
                }
                Some(within) => {
                    let list = workflow.regions[usize::from(within)].list;
                    if self.may_be_there(list, found) {
                        self.find_possible(within, found, never_begun);
                    } else {
                        never_begun.insert(within);
                        found.extend(workflow.nodes_within(within).map(|node| (node, false)));
                    }
                }
            }
        }
    }

    fn is_possible(&self, node: NodeId, found: &BTreeMap<NodeId, bool>) -> bool {
        let plan = &self.workflow.nodes[node as usize];
        let gate = |gate: &Gate| match found.get(&gate.node()) {
            Some(may_run) => *may_run,
            None => self.gate(*gate) == Edge::Live,
        };
        let flow = self.workflow.flow_edges(node);
        let live = flow.iter().filter(|edge| match found.get(&edge.node) {
            Some(may_run) => *may_run,
            None => self.flow(**edge) == Edge::Live,
        });
        let live = live.count();
        let gated = !plan.gates.is_empty();
        let let_in = plan.gates.iter().any(gate);
        if gated && !let_in {
            return false;
        }
        if let Join::AtLeast(needed) = plan.join {
            // Failures outside may put it out of reach, which is for its items to say: it is no reason to leave it out.
            let borne = flow.iter().filter(|edge| self.is_borne(**edge, found));
            return live + borne.count() >= needed as usize;
        }
        let there = |source: &Source| self.may_be_there(*source, found);
        let mut inputs = inputs_of(plan).into_iter();
        let has_all = inputs.all(|input| input.optional || input.sources.iter().any(there));
        has_all && (let_in || live > 0 || flow.is_empty() || plan.over_list)
    }

    /// Whether an edge from outside of a region is dead for a failure that those who wait bear.
    fn is_borne(&self, edge: FlowEdge, found: &BTreeMap<NodeId, bool>) -> bool {
        if found.contains_key(&edge.node) || self.flow(edge) != Edge::Dead {
            return false;
        }
        match &self.ended(edge.node).end {
            End::Tolerated(_) => true,
            End::Items(of) => of.tolerated.is_some(),
            _ => false,
        }
    }

    fn may_be_there(&self, source: Source, found: &BTreeMap<NodeId, bool>) -> bool {
        match source {
            Source::Item { .. } => true,
            Source::Output { node, .. } | Source::First { node, .. }
                if found.contains_key(&node) =>
            {
                found[&node]
            }
            source => matches!(self.first_live(&[source]), Found::Present(_)),
        }
    }

    /// No more of a region's items are open at once than it allows: from the first start of one of its nodes to the last end.
    fn check_parallelism(&self, region: u16, items: usize) -> Result<(), Breach> {
        let Some(most) = self.workflow.regions[usize::from(region)].parallelism else {
            return Ok(());
        };
        // What ends in an event ends before what starts in it.
        let mut changes = Vec::new();
        for item in 0..items as u32 {
            let (_, mut path) = self.activation(0);
            path.push(item);
            let nodes = self.workflow.nodes_within(region);
            let attempts = nodes.flat_map(|node| self.trace.of_node(node));
            let attempts = attempts.filter(|(items, _)| items.starts_with(&path));
            let attempts: Vec<_> = attempts.flat_map(|(_, attempts)| attempts).collect();
            let first = attempts.iter().map(|attempt| attempt.started.step).min();
            let end =
                |ended: &Option<(Moment, _)>| ended.as_ref().map_or(u64::MAX, |(at, _)| at.step);
            let last = attempts.iter().map(|attempt| end(&attempt.ended)).max();
            changes.extend(first.map(|step| (step, 1)));
            changes.extend(last.map(|step| (step, -1)));
        }
        changes.sort_unstable();
        let mut open = 0_i64;
        for (step, change) in changes {
            open += change;
            if open > i64::from(most) {
                let what = format!("region {region} has {open} items open in event {step}");
                return Err(Breach(what));
            }
        }
        Ok(())
    }

    /// What is seen outside of a region once all of its items have ended.
    fn gather(&mut self, region: u16, since: Moment, never: &BTreeSet<NodeId>, ends: &[ItemEnds]) {
        let nodes: Vec<NodeId> = self.workflow.nodes_within(region).collect();
        let all = || ends.iter().flat_map(BTreeMap::values);
        if all().any(|ended| matches!(ended.end, End::Open | End::Fatal)) {
            self.all_end(&nodes, &End::Open, Moment::default());
            return;
        }
        let at = all().map(|ended| ended.at).fold(since, Moment::max);
        for node in nodes {
            let of_node: Vec<&Ended> = ends.iter().map(|ends| &ends[&node]).collect();
            let end = if never.contains(&node) {
                End::Skipped
            } else {
                End::Items(Box::new(self.in_items(node, region, &of_node)))
            };
            self.here_mut().nodes.insert(node, Ended { end, at });
        }
    }

    fn in_items(&self, node: NodeId, region: u16, ends: &[&Ended]) -> InItems {
        let failed = ends.iter().filter_map(|ended| match &ended.end {
            End::Tolerated(cause) => Some((ended.at.step, cause.clone())),
            End::Items(of) => of.tolerated.clone(),
            _ => None,
        });
        let tolerated = failed.min_by_key(|(step, _)| *step);
        let (mut cases, mut catches) = (BTreeSet::new(), BTreeSet::new());
        for ended in ends {
            match &ended.end {
                End::Chose(case) => drop(cases.insert(*case)),
                End::Caught { catch, .. } => drop(catches.insert(*catch)),
                End::Items(of) => {
                    cases.extend(&of.cases);
                    catches.extend(&of.catches);
                }
                _ => {}
            }
        }
        let errors = ends.iter().map(|ended| match &ended.end {
            End::Caught { error, .. } => bytes_of(error),
            _ => None,
        });
        InItems {
            outputs: self.lists(node, region, ends),
            errors: Datum::List(errors.collect()),
            tolerated,
            cases,
            catches,
        }
    }

    /// The gathered outputs of a node: nothing stands where it was skipped, or its failure was caught.
    fn lists(&self, node: NodeId, region: u16, ends: &[&Ended]) -> Vec<Datum> {
        let plan = &self.workflow.nodes[node as usize];
        if plan.region != Some(region) {
            // Nobody reads what a region within this one has gathered but in the item for which it has.
            return Vec::new();
        }
        let list = |output: usize| {
            let items = ends.iter().map(|ended| match &ended.end {
                End::Well(outputs) => outputs.get(output).and_then(bytes_of),
                _ => None,
            });
            Datum::List(items.collect())
        };
        (0..plan.outputs.len()).map(list).collect()
    }
}

/// What an item of a list holds.
fn bytes_of(datum: &Datum) -> Option<Vec<u8>> {
    match datum {
        Datum::One(bytes) => Some(bytes.clone()),
        Datum::List(_) | Datum::Absent => None,
    }
}
