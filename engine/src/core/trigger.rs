//! Edges decide: how the end of a node decides the edges that leave it, and these whether and when its successors run.
//!
//! A node counts its undecided in-edges and its live ones. When none is undecided it runs or is skipped (dead-path
//! elimination: all that leaves a skipped node is dead, so that every join decides). A join of some starts earlier, at
//! its k-th live edge. Nothing here calls itself: nodes that end without running go to a list of their own.

use super::invocation::{How, NO_MAKER, OutsideEdge, Phase, Place, Stage};
use super::outcome::Outcome;
use super::program::{Delay, Edge, InputFrom, LocalNode, NO_SCOPE, Program, Runner};
use super::report::Attempt;
use super::timers::Timer;
use super::{Core, Outbound, Value};
use crate::wire::{self, Failure};
use std::rc::Rc;

/// A node that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ended {
    pub(super) place: Place,
    pub(super) node: LocalNode,
    /// The executor that made its outputs, or [`NO_MAKER`].
    pub(super) maker: u32,
    pub(super) outcome: Outcome,
}

impl Core {
    /// A node has ended: its edges are decided, here and elsewhere.
    #[inline]
    pub(super) fn node_ended(&mut self, now_ns: u64, ended: Ended, program: &Program) {
        let Ended {
            place,
            node: index,
            maker,
            outcome,
        } = ended;
        let node = &program.nodes[index as usize];
        let generation = self.invocations[place as usize].generation;
        if node.shown && matches!(outcome, Outcome::Chose(_) | Outcome::Caught(_)) {
            self.show_outside(place, index, outcome, program);
        }
        if node.runner == Runner::Whole {
            self.whole_left(now_ns, ended, program);
        } else {
            for edge in program.successors(node) {
                self.edge_decided(now_ns, place, *edge, outcome, maker, program);
            }
        }
        if node.region != NO_SCOPE {
            self.region_left(now_ns, ended, program);
        }
        // What it has triggered may have failed the invocation, and its place may be another's by the time of tidying.
        if !self.is_current(place, generation) {
            return;
        }
        if node.told {
            let told = self.told_of(outcome);
            self.tell_remote(place, index, &told, program);
        }
        if let (Outcome::Caught(_), Some(slot)) =
            (outcome, program.details[index as usize].error_slot)
            && self.invocations[place as usize].slot_mut(slot).uses == 0
        {
            self.clear_slot(place, slot);
        }
        self.triggered.push((place, generation, index));
    }

    /// Handles nodes that ended without an event of their own.
    pub(super) fn drain_ended(&mut self, now_ns: u64) {
        while let Some(ended) = self.ended.pop() {
            // May come while the core tidies up, which is no event of its own.
            self.revision += 1;
            if self.invocations[ended.place as usize].phase == Phase::Running {
                let program = Rc::clone(self.program_of(ended.place));
                self.node_ended(now_ns, ended, &program);
            }
        }
    }

    /// An edge is live or dead from now on.
    #[inline]
    pub(super) fn edge_decided(
        &mut self,
        now_ns: u64,
        place: Place,
        edge: Edge,
        outcome: Outcome,
        maker: u32,
        program: &Program,
    ) {
        let live = edge.when.holds(outcome);
        let node = &program.nodes[edge.node as usize];
        let invocation = &mut self.invocations[place as usize];
        let phase = invocation.phase;
        let state = invocation.node_mut(edge.node);
        state.waiting -= 1;
        if node.region != NO_SCOPE {
            let joins = program.nodes[edge.of as usize].at_least > 0;
            let how = match outcome {
                _ if live && edge.when.is_gate() => Some(How::Gate),
                _ if live => Some(How::Flow),
                Outcome::Failed(failure) if joins && !edge.when.is_gate() => {
                    Some(How::Failed(failure))
                }
                _ => None,
            };
            // What an edge before this one has ended keeps nothing new.
            if let Some(how) = how
                && edge.of != edge.node
                && !phase.is_over()
            {
                let extra = self.extras.make(state);
                extra.edges.push(OutsideEdge { of: edge.of, how });
            }
        } else if edge.when.is_gate() {
            state.gates_left -= 1;
            state.gate_live |= live;
        } else {
            state.live += u32::from(live);
        }
        let waiting = state.waiting;
        if node.at_least > 0 {
            self.join_edge_decided(now_ns, place, edge, outcome, program);
        } else if waiting == 0 {
            if node.sure && state.live == node.flow && (!node.gated || state.gate_live) {
                self.ready(now_ns, place, edge.node, maker);
            } else {
                self.decide(now_ns, place, edge.node, maker, program);
            }
        }
    }

    /// All in-edges of a node that joins all of them are decided: it runs, or is skipped.
    pub(super) fn decide(
        &mut self,
        now_ns: u64,
        place: Place,
        index: LocalNode,
        maker: u32,
        program: &Program,
    ) {
        if self.invocations[place as usize].phase != Phase::Running {
            return;
        }
        if program.nodes[index as usize].runner == Runner::Whole {
            self.whole_ended(now_ns, place, index, program);
        } else if self.may_run(place, index, program) {
            self.ready(now_ns, place, index, maker);
        } else {
            self.skip(place, index, program);
        }
    }

    fn may_run(&self, place: Place, index: LocalNode, program: &Program) -> bool {
        let node = &program.nodes[index as usize];
        if node.region != NO_SCOPE {
            return self.is_present(
                place,
                program.scopes[usize::from(node.region)].list,
                program,
            );
        }
        let state = self.invocations[place as usize].node(index);
        let let_in = !node.gated || state.gate_live;
        let moved = !node.edged || state.live > 0 || state.gate_live;
        let needs = |from: InputFrom| self.is_present(place, from, program);
        let mut inputs = program.all_inputs(node).iter();
        let_in && moved && inputs.all(|input| input.optional || needs(input.from))
    }

    fn skip(&mut self, place: Place, node: LocalNode, program: &Program) {
        self.invocations[place as usize].node_mut(node).stage = Stage::Decided;
        self.counters.skipped += 1;
        self.tell_skipped(place, node, program);
        self.ended.push(Ended {
            place,
            node,
            maker: NO_MAKER,
            outcome: Outcome::Skipped,
        });
    }

    /// Notes that a node was skipped; of a region, that all of its nodes were. What is so for all parts of a divided one, its
    /// first part notes.
    pub(super) fn tell_skipped(&mut self, place: Place, index: LocalNode, program: &Program) {
        let outside = self.invocations[place as usize].scope == 0;
        let whole = match program.nodes[index as usize].region {
            NO_SCOPE => program.scope_of(index),
            region => region,
        };
        let part = program.scopes[usize::from(program.outermost(whole))].part;
        if outside && part.is_some_and(|part| part.number > 0) {
            return;
        }
        let items = self.told_items(place);
        let root = self.invocations[place as usize].root;
        let Some(timing) = self.invocations[root as usize].timing.as_mut() else {
            return;
        };
        let mut skipped = vec![index];
        while let Some(index) = skipped.pop() {
            match program.nodes[index as usize].region {
                NO_SCOPE => timing.skipped(index, &items),
                region => skipped.extend(program.scopes[usize::from(region)].nodes.clone()),
            }
        }
    }

    /// An edge of a node that joins some of its edges is decided.
    fn join_edge_decided(
        &mut self,
        now_ns: u64,
        place: Place,
        edge: Edge,
        outcome: Outcome,
        program: &Program,
    ) {
        let invocation = &mut self.invocations[place as usize];
        if invocation.phase.is_over() {
            return;
        }
        let state = invocation.node_mut(edge.node);
        if state.stage != Stage::Waiting {
            self.counters.late_dropped +=
                u64::from(edge.when.holds(outcome) && !edge.when.is_gate());
            return;
        }
        // A gate is none of the edges that it counts.
        if let Outcome::Failed(failure) = outcome
            && !edge.when.is_gate()
        {
            self.extras.make(state).failed.push(failure);
        }
        self.try_join(now_ns, place, edge.node, program);
    }

    /// Starts a join of some, skips it, or fails the invocation for it, if that can be said already.
    pub(super) fn try_join(
        &mut self,
        now_ns: u64,
        place: Place,
        index: LocalNode,
        program: &Program,
    ) {
        let invocation = &self.invocations[place as usize];
        if invocation.phase != Phase::Running {
            return;
        }
        let node = &program.nodes[index as usize];
        let state = invocation.node(index);
        let let_in = !node.gated || state.gate_live;
        if !let_in && state.gates_left == 0 {
            return self.skip(place, index, program);
        }
        let undecided = state.waiting - u32::from(state.gates_left);
        let reached = state.live;
        if reached >= node.at_least {
            if let_in {
                self.start_join(now_ns, place, index, program);
            }
            return;
        }
        if reached + undecided >= node.at_least {
            return;
        }
        let extra = self.extras.of(state);
        let failed = extra.map_or(&[][..], |extra| &extra.failed);
        if reached + undecided + (failed.len() as u32) < node.at_least {
            return self.skip(place, index, program);
        }
        // Whether it would be skipped without the failures too must not depend on which edge is decided first.
        if let_in && reached + failed.len() as u32 >= node.at_least {
            let failed = failed.iter().map(|failure| self.borne.get(*failure));
            let failure = Failure::Join {
                node: program.name(index).to_owned(),
                needed: node.at_least,
                failed: failed.collect(),
            };
            self.fail(now_ns, place, failure);
        }
    }

    /// A join of some starts with what is there now: a later attempt is to see the same.
    fn start_join(&mut self, now_ns: u64, place: Place, index: LocalNode, program: &Program) {
        let node = &program.nodes[index as usize];
        let there = |from: InputFrom| self.is_present(place, from, program);
        let taken = program
            .all_inputs(node)
            .iter()
            .map(|input| match input.from {
                InputFrom::FirstOf(span) => {
                    let mut alternatives = program.alternatives(span).iter().copied();
                    alternatives
                        .find(|from| there(*from))
                        .unwrap_or(InputFrom::Absent)
                }
                from if there(from) => from,
                _ => InputFrom::Absent,
            });
        let taken = taken.collect();
        let state = self.invocations[place as usize].node_mut(index);
        self.extras.make(state).taken = Some(taken);
        self.ready(now_ns, place, index, NO_MAKER);
    }

    /// A node is to run: start it, queue it, or let it wait for its delay.
    #[inline]
    pub(super) fn ready(&mut self, now_ns: u64, place: Place, index: LocalNode, maker: u32) {
        let invocation = &mut self.invocations[place as usize];
        if invocation.phase != Phase::Running {
            return;
        }
        invocation.node_mut(index).stage = Stage::Decided;
        self.counters.triggers += 1;
        let node = &self.program_of(place).nodes[index as usize];
        if node.plain {
            self.dispatch(now_ns, place, index, 1, maker);
        } else {
            self.ready_otherwise(now_ns, place, index, maker);
        }
    }

    fn ready_otherwise(&mut self, now_ns: u64, place: Place, node: LocalNode, maker: u32) {
        let program = Rc::clone(self.program_of(place));
        if !program.nodes[node as usize].delayed {
            return self.run(now_ns, place, node, maker, &program);
        }
        match program.details[node as usize].delay {
            Delay::Fixed { delay_ns } => self.delay(now_ns, place, node, delay_ns),
            Delay::Computed => self.evaluate_delay(place, node),
        }
    }

    /// Lets a node wait from now on.
    pub(super) fn delay(&mut self, now_ns: u64, place: Place, node: LocalNode, delay_ns: u64) {
        let due_ns = now_ns.saturating_add(delay_ns);
        self.set_timer(due_ns, Timer::Delay { place, node });
    }

    /// A node that has waited for its delay runs.
    pub(super) fn delay_over(&mut self, now_ns: u64, place: Place, index: LocalNode) {
        let program = Rc::clone(self.program_of(place));
        self.run(now_ns, place, index, NO_MAKER, &program);
    }

    fn run(&mut self, now_ns: u64, place: Place, index: LocalNode, maker: u32, program: &Program) {
        match program.nodes[index as usize].runner {
            Runner::Executor => self.dispatch(now_ns, place, index, 1, maker),
            Runner::Lane => self.evaluate(now_ns, place, index),
            Runner::Region => self.start_region(now_ns, place, index, program),
            // It is none that could run: its parts do.
            Runner::Whole => self.whole_ended(now_ns, place, index, program),
            Runner::Nobody => {
                self.lane_started(now_ns, place, index);
                self.lane_ended(now_ns, place, index, Attempt::Well);
                self.ended.push(Ended {
                    place,
                    node: index,
                    maker: NO_MAKER,
                    outcome: Outcome::Well,
                });
            }
        }
    }

    /// What other workers are told of how a node has ended.
    pub(super) fn told_of(&self, outcome: Outcome) -> wire::Outcome {
        match outcome {
            Outcome::Well => wire::Outcome::Well,
            Outcome::Chose(case) => wire::Outcome::Chose(case),
            Outcome::Skipped => wire::Outcome::Skipped,
            Outcome::Caught(catch) => wire::Outcome::Caught(catch),
            Outcome::Failed(failure) => {
                let (_, cause) = self.borne.get(failure);
                wire::Outcome::Failed(cause)
            }
        }
    }

    pub(super) fn tell_remote(
        &mut self,
        place: Place,
        index: LocalNode,
        told: &wire::Outcome,
        program: &Program,
    ) {
        let node = &program.nodes[index as usize];
        for read in &program.details[index as usize].remote {
            let there = |output: &u16| {
                let slot = program.slot_told(index, *output)?;
                let slot_of = self.invocations[place as usize].slot(slot)?;
                (!matches!(slot_of.value, Value::Unset)).then_some((*output, slot))
            };
            let slots: Vec<(u16, u32)> = read.outputs.iter().filter_map(there).collect();
            let outputs = slots
                .into_iter()
                .map(|(output, slot)| {
                    let needed = read.sections.iter().find(|one| one.list == output);
                    (output, self.outgoing(place, slot, needed))
                })
                .collect();
            self.send(
                place,
                program,
                read.worker,
                Outbound::StateEvent {
                    node: node.id,
                    outcome: told.clone(),
                    outputs,
                },
            );
        }
    }
}
