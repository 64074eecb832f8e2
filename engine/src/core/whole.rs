//! Divided regions, seen from outside: when the last part of a node has ended, the node has, and what its parts have gathered
//! becomes one list.
//!
//! Each part is a region of its own, here or on another worker, with nodes of its own. Whoever waits for a divided node waits
//! for what stands for it as a whole on his worker, and so hears of one end: all its edges are decided by all parts together.

use super::Core;
use super::borne::FailureId;
use super::invocation::{ListId, NO_MAKER, Place, Stage, Value};
use super::outcome::{Outcome, Shown};
use super::program::{LocalNode, Program, WholeOutput};
use super::trigger::Ended;
use crate::wire::Section;

/// How the parts of a node have ended so far.
#[derive(Debug, Default)]
pub(crate) struct PartsEnded {
    /// Whether one was not skipped. What is decided outside is so for all of them alike.
    ran: bool,
    /// The first failure of one that those who wait bear.
    failed: Option<FailureId>,
    /// What was so in some item.
    shown: Shown,
}

impl Core {
    /// A part of a node has ended.
    pub(super) fn part_left(
        &mut self,
        now_ns: u64,
        place: Place,
        whole: LocalNode,
        outcome: Outcome,
        shown: Option<&Shown>,
        program: &Program,
    ) {
        let invocation = &mut self.invocations[place as usize];
        if invocation.phase.is_over() {
            return;
        }
        let state = invocation.node_mut(whole);
        state.waiting -= 1;
        let waiting = state.waiting;
        let parts = self.extras.make(state).parts.get_or_insert_default();
        parts.ran |= outcome != Outcome::Skipped;
        if let (Outcome::Failed(failure), None) = (outcome, parts.failed) {
            parts.failed = Some(failure);
        }
        if let Some(shown) = shown {
            parts.shown.cases.extend(&shown.cases);
            parts.shown.catches.extend(&shown.catches);
        }
        if waiting == 0 {
            self.decide(now_ns, place, whole, NO_MAKER, program);
        }
    }

    /// All parts of a node have ended: what they have gathered becomes one list.
    pub(super) fn whole_ended(
        &mut self,
        now_ns: u64,
        place: Place,
        index: LocalNode,
        program: &Program,
    ) {
        let state = self.invocations[place as usize].node_mut(index);
        state.stage = Stage::Decided;
        let parts = self.extras.make(state).parts.get_or_insert_default();
        let outcome = match (parts.ran, parts.failed) {
            (false, _) => Outcome::Skipped,
            (true, Some(failure)) => Outcome::Failed(failure),
            (true, None) => Outcome::Well,
        };
        let caught = !parts.shown.catches.is_empty();
        for output in program.whole_outputs(index) {
            let there = if output.error {
                caught
            } else {
                outcome == Outcome::Well
            };
            if !there {
                continue;
            }
            let Some(list) = self.joined(place, output) else {
                let name = program.name(index);
                let cause = "its parts do not make up the list that is needed".to_owned();
                let failure = self.payload_failure(name, program, cause);
                return self.fail(now_ns, place, failure);
            };
            self.set_slot(place, output.slot, Value::List(list), 0, NO_MAKER);
        }
        self.ended.push(Ended {
            place,
            node: index,
            maker: NO_MAKER,
            outcome,
        });
    }

    /// The lists of an output's parts as one, of which only what is needed here is kept; none if something of that is missing.
    fn joined(&mut self, place: Place, output: &WholeOutput) -> Option<ListId> {
        let joined = self.lists.open();
        let mut needed = None;
        for slot in &output.parts {
            let slot = self.invocations[place as usize].slot_mut(*slot);
            // It may be an output of the workflow as well.
            let part = match slot.uses {
                1 => std::mem::replace(&mut slot.value, Value::Unset),
                _ => {
                    let value = slot.value;
                    self.copy_value(value)
                }
            };
            let Value::List(part) = part else {
                self.drop_value(part);
                continue;
            };
            let (places, length) = {
                let items = self.lists.items(part);
                (items.places(), items.whole())
            };
            let (range, _) = needed.get_or_insert_with(|| {
                let section = output.section;
                (section.map_or(0..length, |one| one.of(length)), length)
            });
            let items = std::mem::take(self.lists.get_mut(part));
            for (at, item) in places.zip(items) {
                if range.contains(&at) {
                    self.lists.get_mut(joined).push(item);
                } else {
                    self.let_go(item);
                }
            }
            self.close_list(part);
        }
        let whole = needed.filter(|(range, _)| range.len() == self.lists.get(joined).len());
        let Some((range, length)) = whole else {
            self.close_list(joined);
            return None;
        };
        let section = Section {
            first: range.start as u32,
            whole: length as u32,
        };
        let section = output.section.map(|_| section);
        self.lists.set_section(joined, section);
        Some(joined)
    }

    /// A divided node has ended as a whole: its edges are decided.
    pub(super) fn whole_left(&mut self, now_ns: u64, ended: Ended, program: &Program) {
        let Ended {
            place,
            node: index,
            outcome,
            ..
        } = ended;
        let state = self.invocations[place as usize].node(index);
        let extra = self.extras.of(state);
        let parts = extra.and_then(|extra| extra.parts.as_ref());
        let shown = parts.map_or_else(Shown::default, |parts| parts.shown.clone());
        for edge in program.successors(&program.nodes[index as usize]) {
            let outcome = shown.through(edge.when, outcome);
            self.edge_decided(now_ns, place, *edge, outcome, NO_MAKER, program);
        }
    }
}
