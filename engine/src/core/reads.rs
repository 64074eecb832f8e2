//! What is counted of payloads that activations read: by edge, and by the tier by which each came.
//!
//! Each input of a node, each alternative of one, and each source of an output of the workflow is a *site* of its program, by a
//! number; counts are kept by site, so there are as many as the plan has, and none is looked for. What has started is written
//! down, and counted when the lane tidies up ([`Core::count_reads`]): at the latest before anything of what it reads may leave
//! memory or be let go of.
//!
//! How a payload has come its lease says. What a node of this worker hands over is shared, even if it is a part of what has
//! come from elsewhere; only that a payload was brought back for a read counts for more.

use super::invocation::{Place, Read};
use super::lease::Payload;
use super::pool::ExecutorId;
use super::program::{InputFrom, LocalNode, NO_SCOPE, Producer, Program, Runner, SlotIndex};
use super::{Core, Outgoing};
use crate::plan::{DeploymentId, NodeId, NodePlan, Plan, Source};
use crate::reads::{Edge, EdgePage, Reads, Way};
use faasstore::descriptor::ItemName;
use std::ops::Range;
use std::rc::Rc;

/// Where a site's payloads are from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// Nodes of this worker.
    Here,
    /// Other workers, the client, or the parts of a divided node, some of which may be here.
    Elsewhere,
    /// The definition itself: these are not counted.
    Constant,
}

/// By site: where its payloads are from.
pub(super) fn origins(program: &Program) -> Vec<Origin> {
    let mut origins = vec![Origin::Constant; program.sites()];
    for (index, node) in (0..).zip(&program.nodes) {
        let scope = program.scope_of(index);
        for (input, read) in program.all_inputs(node).iter().enumerate() {
            origins[program.input_site(node, input)] = origin(program, scope, read.from);
            if let InputFrom::FirstOf(span) = read.from {
                for (number, from) in program.alternatives(span).iter().enumerate() {
                    let site = program.alternative_site(span, number);
                    origins[site] = origin(program, scope, *from);
                }
            }
        }
    }
    for (number, candidate) in program.candidates.iter().enumerate() {
        let is_here = |node: NodeId| plan_node(&program.plan, node).is_some();
        origins[program.candidate_site(number)] = match candidate.source {
            Source::Output { node, .. } | Source::First { node, .. }
                if candidate.part.is_none() && is_here(node) =>
            {
                Origin::Here
            }
            Source::Output { .. } | Source::First { .. } | Source::Input(_) => Origin::Elsewhere,
            Source::Item { .. } | Source::Constant(_) => Origin::Constant,
        };
    }
    origins
}

fn origin(program: &Program, scope: u16, from: InputFrom) -> Origin {
    match from {
        InputFrom::Slot(slot) | InputFrom::Outer(slot) | InputFrom::First(slot) => {
            slot_origin(program, slot)
        }
        InputFrom::Item(up) => {
            let mut region = &program.scopes[usize::from(scope)];
            for _ in 0..up {
                region = &program.scopes[usize::from(region.parent)];
            }
            origin(program, region.parent, region.list)
        }
        InputFrom::Constant(_) | InputFrom::Absent | InputFrom::FirstOf(_) => Origin::Constant,
    }
}

fn slot_origin(program: &Program, slot: SlotIndex) -> Origin {
    match program.slots[slot as usize].producer {
        Producer::Local(node) if program.nodes[node as usize].runner != Runner::Whole => {
            Origin::Here
        }
        Producer::Local(_) | Producer::Remote { .. } | Producer::Input => Origin::Elsewhere,
    }
}

impl Core {
    /// Counts what has been read since that was counted last.
    #[inline]
    pub(super) fn count_reads(&mut self) {
        for index in 0..self.reading.len() {
            let (place, node) = self.reading[index];
            debug_assert!(
                self.is_running(place),
                "what has started is there until it is counted"
            );
            let inputs = {
                let program = self.program_of(place);
                program.inputs(&program.nodes[node as usize]).len()
            };
            self.count_inputs(place, node, 0..inputs);
        }
        self.reading.clear();
    }

    /// Counts what a node's delays read.
    pub(super) fn count_delay_reads(&mut self, place: Place, node: LocalNode) {
        let program = self.program_of(place);
        let planned = &program.nodes[node as usize];
        let (work, all) = (program.inputs(planned), program.all_inputs(planned));
        let inputs = work.len()..all.len();
        self.count_reads();
        self.count_inputs(place, node, inputs);
    }

    fn count_inputs(&mut self, place: Place, index: LocalNode, inputs: Range<usize>) {
        let deployment = self.invocations[place as usize].deployment;
        let program = Rc::clone(self.program(deployment));
        let mut counts = std::mem::take(&mut self.deployment_mut(deployment).reads);
        let by_window = self.has_window(place, index);
        let mut any_brought_back = false;
        for input in inputs.clone() {
            let (site, read) = self.site_read(place, &program, index, input);
            let origin = program.origins[site];
            if origin == Origin::Constant {
                continue;
            }
            let mut count = |payload: Payload| {
                let way = self.way_read(payload, origin);
                counts[site].count(way, payload.length());
                any_brought_back |= matches!(way, Way::Spill | Way::Remote);
            };
            match read {
                Read::Absent => {}
                Read::One(payload) => count(payload),
                Read::List(items) => {
                    let later = |item: Payload| by_window && self.is_asked_for(item);
                    let at_once = |item: &&Payload| !(item.is_absent() || later(**item));
                    items.iter().filter(at_once).for_each(|item| count(*item));
                }
            }
        }
        self.deployment_mut(deployment).reads = counts;
        if any_brought_back {
            self.note_read(place, index, inputs, by_window);
        }
    }

    /// What has been read was found in memory by whoever reads it next.
    #[cold]
    fn note_read(&mut self, place: Place, index: LocalNode, inputs: Range<usize>, by_window: bool) {
        let program = Rc::clone(self.program_of(place));
        let mut read: Vec<Payload> = Vec::new();
        for input in inputs {
            match self.site_read(place, &program, index, input).1 {
                Read::Absent => {}
                Read::One(payload) => read.push(payload),
                Read::List(items) => {
                    let at_once = |item: &&Payload| !(by_window && self.is_asked_for(**item));
                    read.extend(items.iter().filter(at_once));
                }
            }
        }
        for payload in read {
            self.leases.was_read(payload);
        }
    }

    /// Counts an item that a running activation has asked for, and that lies there now.
    pub(super) fn count_item(
        &mut self,
        id: ExecutorId,
        name: ItemName,
        given: Payload,
        item: Payload,
    ) {
        self.count_reads();
        let running = self.executor_mut(id).and_then(|executor| executor.running);
        let Some(running) = running else {
            return;
        };
        if running.attempt > 1 {
            // It may be passed on: then it was not brought back for who reads it there.
            return self.leases.was_read(given);
        }
        let deployment = self.invocations[running.place as usize].deployment;
        let program = Rc::clone(self.program(deployment));
        let input = usize::from(name.input);
        let (site, _) = self.site_read(running.place, &program, running.node, input);
        let origin = program.origins[site];
        if origin == Origin::Constant {
            return;
        }
        let way = self.way_read(given, origin);
        let counts = &mut self.deployment_mut(deployment).reads[site];
        counts.count(way, given.length());
        // One that it asks for once more is there already.
        if given != item && matches!(way, Way::Spill | Way::Remote) {
            counts.copied.count(given.length());
        }
        self.leases.was_read(given);
    }

    /// Counts what a client is given: by the number of its source, each output.
    pub(super) fn count_outputs(&mut self, deployment: u32, outputs: &[(u16, Outgoing)]) {
        self.count_reads();
        let program = Rc::clone(self.program(deployment));
        for (number, outgoing) in outputs {
            let site = program.candidate_site(usize::from(*number));
            let origin = program.origins[site];
            if origin == Origin::Constant {
                continue;
            }
            for payload in outgoing.payloads().iter().filter(|one| !one.is_absent()) {
                let way = self.way_read(*payload, origin);
                self.deployment_mut(deployment).reads[site].count(way, payload.length());
                self.leases.was_read(*payload);
            }
        }
    }

    fn has_window(&self, place: Place, node: LocalNode) -> bool {
        !self.windows.is_empty() && self.window_of(place, node).is_some()
    }

    /// How a payload has come that is read there.
    #[inline]
    fn way_read(&self, payload: Payload, origin: Origin) -> Way {
        match self.leases.way_of(payload) {
            Some((_, Some(brought_back))) => brought_back,
            _ if origin == Origin::Here => Way::Shared,
            Some((way, None)) => way,
            // Nothing is as short as that.
            None => Way::Inline,
        }
    }

    /// What an activation reads as an input, and at which site.
    #[inline]
    fn site_read<'a>(
        &'a self,
        place: Place,
        program: &Program,
        index: LocalNode,
        input: usize,
    ) -> (usize, Read<'a>) {
        let node = &program.nodes[index as usize];
        let site = match program.all_inputs(node)[input].from {
            InputFrom::FirstOf(_) => self.alternative_read(place, program, index, input),
            _ => program.input_site(node, input),
        };
        (site, self.input(place, program, index, input))
    }

    /// The site of the alternative that an activation reads; that of the input, if none is there.
    fn alternative_read(
        &self,
        place: Place,
        program: &Program,
        index: LocalNode,
        input: usize,
    ) -> usize {
        let node = &program.nodes[index as usize];
        let InputFrom::FirstOf(span) = program.all_inputs(node)[input].from else {
            return program.input_site(node, input);
        };
        let taken = self.taken_by(place, node.at_least, index, input);
        let is_read = |from: &InputFrom| match taken {
            Some(taken) => *from == taken,
            None => self.is_present(place, *from, program),
        };
        let number = program.alternatives(span).iter().position(is_read);
        number.map_or_else(
            || program.input_site(node, input),
            |number| program.alternative_site(span, number),
        )
    }

    /// What was read over the edges of a deployment here: from that local node on, and of so many at most; on the last page those
    /// to outputs of the workflow too. None if there is no such deployment.
    pub fn edges(&mut self, id: DeploymentId, from: u32, most: usize) -> Option<EdgePage> {
        self.count_reads();
        let index = *self.deployment_by_id.get(&id)?;
        let deployment = self.deployments[index as usize].as_ref()?;
        let (program, reads) = (&deployment.program, &deployment.reads);
        let behind = program.nodes.len() as u32;
        let next = from.saturating_add(u32::try_from(most).unwrap_or(u32::MAX));
        let mut edges = Vec::new();
        for node in from..next.min(behind) {
            if program.nodes[node as usize].region == NO_SCOPE {
                node_edges(program, reads, node, &mut edges);
            }
        }
        if next >= behind {
            output_edges(program, reads, &mut edges);
        }
        Some(EdgePage {
            edges,
            next: (next < behind).then_some(next),
        })
    }

    /// What was read over all edges of a workflow's deployments that have gone.
    #[must_use]
    pub fn past_reads(&self, id: DeploymentId) -> Option<Reads> {
        let account = self.account_of(id)?;
        Some(self.leases.tally(account).past_reads)
    }

    /// A deployment goes: of what was read in it only the sums stay, with its workflow.
    pub(super) fn drop_reads(&mut self, index: u32) {
        self.count_reads();
        let account = self.program(index).account;
        let reads = std::mem::take(&mut self.deployment_mut(index).reads);
        let past = &mut self.leases.tally_mut(account).past_reads;
        reads.iter().for_each(|site| past.add(site));
    }
}

fn node_edges(program: &Program, reads: &[Reads], local: LocalNode, edges: &mut Vec<Edge>) {
    let node = &program.nodes[local as usize];
    let Some(planned) = plan_node(&program.plan, node.id) else {
        return;
    };
    for (input, declared) in planned.all_inputs().enumerate() {
        let first = program.input_site(node, input);
        for (number, source) in declared.sources.iter().enumerate() {
            let site = match program.all_inputs(node)[input].from {
                InputFrom::FirstOf(span) => program.alternative_site(span, number),
                _ => first,
            };
            add_edge(
                edges,
                &reads[site],
                || source_name(&program.plan, planned.region, *source),
                || planned.name.clone(),
            );
        }
    }
}

fn output_edges(program: &Program, reads: &[Reads], edges: &mut Vec<Edge>) {
    let plan = &program.plan;
    for (number, candidate) in program.candidates.iter().enumerate() {
        add_edge(
            edges,
            &reads[program.candidate_site(number)],
            || source_name(plan, None, candidate.source),
            || {
                let output = &plan.outputs[usize::from(candidate.output)];
                format!("output.{}", output.name)
            },
        );
    }
}

fn add_edge(
    edges: &mut Vec<Edge>,
    reads: &Reads,
    from: impl FnOnce() -> String,
    to: impl FnOnce() -> String,
) {
    if *reads != Reads::default() {
        edges.push(Edge {
            from: from(),
            to: to(),
            reads: *reads,
        });
    }
}

fn plan_node(plan: &Plan, id: NodeId) -> Option<&NodePlan> {
    let place = plan.nodes.binary_search_by_key(&id, |one| one.id).ok()?;
    plan.nodes.get(place)
}

/// What is read, as users write it: `NODE.OUTPUT` or `input.NAME`. `region` is the one of who reads it.
fn source_name(plan: &Plan, region: Option<u16>, source: Source) -> String {
    match source {
        Source::Input(input) => {
            let input = plan.inputs.get(usize::from(input));
            format!("input.{}", input.map_or("", |input| input.name.as_str()))
        }
        Source::Output { node, output } | Source::First { node, output } => {
            output_name(plan, node, output)
        }
        Source::Item { up } => item_name(plan, region, up),
        Source::Constant(_) => "constant".to_owned(),
    }
}

/// The list of the region that lies so many levels outward.
fn item_name(plan: &Plan, region: Option<u16>, up: u8) -> String {
    let mut region = region.and_then(|region| plan.regions.get(usize::from(region)));
    for _ in 0..up {
        let around = region.and_then(|region| region.parent);
        region = around.and_then(|around| plan.regions.get(usize::from(around)));
    }
    region.map_or_else(String::new, |region| {
        source_name(plan, region.parent, region.list)
    })
}

/// What an output of a node is called, wherever that runs; of a divided one, as its parts are.
pub(super) fn output_name(plan: &Plan, node: NodeId, output: u16) -> String {
    let place = plan.wholes.binary_search_by_key(&node, |whole| whole.id);
    let part = place
        .ok()
        .and_then(|place| plan.wholes[place].parts.first());
    let node = part.copied().unwrap_or(node);
    let remote = || plan.remote_nodes.iter().find(|one| one.id == node);
    let (name, outputs) = match plan_node(plan, node) {
        Some(node) => (node.name.as_str(), &node.outputs[..]),
        None => remote().map_or(("", &[][..]), |remote| {
            (remote.name.as_str(), &remote.outputs[..])
        }),
    };
    let output = outputs.get(usize::from(output));
    format!(
        "{name}.{}",
        output.map_or("", |output| output.name.as_str())
    )
}
