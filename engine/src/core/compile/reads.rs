//! What is read of what: slots, who holds them for whom, and what is gathered.

use super::super::program::{
    Candidate, Gather, InputFrom, InputRead, LocalNode, OutputFrom, Producer, SlotIndex, SlotPlan,
    Span,
};
use super::Compiler;
use crate::plan::{NodeId, NodePlan, OutputSource, Plan, Source, WorkflowOutput};

impl Compiler {
    pub(super) fn open(&mut self, producer: Producer, scope: u16) -> SlotIndex {
        self.slots.push(SlotPlan {
            uses: 0,
            producer,
            complete: false,
        });
        self.slot_scopes.push(scope);
        (self.slots.len() - 1) as SlotIndex
    }

    /// Where a source lies that something in `scope` reads once more.
    pub(super) fn read(&mut self, source: Source, scope: u16) -> InputFrom {
        let slot = match source {
            Source::Item { up } => return InputFrom::Item(up),
            Source::Constant(constant) => return InputFrom::Constant(constant),
            Source::Input(input) => match self.workflow_inputs[usize::from(input)] {
                Some(slot) => slot,
                None => {
                    let slot = self.open(Producer::Input, 0);
                    self.workflow_inputs[usize::from(input)] = Some(slot);
                    slot
                }
            },
            Source::Output { node, output } | Source::First { node, output } => {
                self.output(node, output, scope)
            }
        };
        let of = self.slot_scopes[slot as usize];
        if of == scope {
            self.slots[slot as usize].uses += 1;
            return match source {
                Source::First { .. } => InputFrom::First(slot),
                _ => InputFrom::Slot(slot),
            };
        }
        // The region just within the slot's scope holds it, once.
        let holder = self.nesting.just_within(scope, of);
        if self.is_held.insert((holder, slot)) {
            self.held[usize::from(holder)].push(InputFrom::Slot(slot));
            self.slots[slot as usize].uses += 1;
        }
        InputFrom::Outer(slot)
    }

    /// Where a source lies that something in `scope` reads once more, all of it.
    pub(super) fn read_whole(&mut self, source: Source, scope: u16) -> InputFrom {
        let from = self.read(source, scope);
        if let InputFrom::Slot(slot) | InputFrom::Outer(slot) | InputFrom::First(slot) = from {
            self.slots[slot as usize].complete = true;
        }
        from
    }

    /// Where an output lies for whoever reads it in `scope`.
    pub(super) fn output(&mut self, node: NodeId, output: u16, scope: u16) -> SlotIndex {
        let Some(local) = self.local_of.get(&node).copied() else {
            if let Some(slot) = self.remote_slots.get(&(node, output)) {
                return *slot;
            }
            let place = self.remote_by_id[&node];
            let slot = self.open(Producer::Remote { place }, 0);
            self.remote_slots.insert((node, output), slot);
            return slot;
        };
        let of = self.scopes[local as usize];
        if self.nesting.is_within(scope, of) {
            self.made(node, output, local)
        } else {
            self.gathered(node, output, local)
        }
    }

    pub(super) fn made(&mut self, node: NodeId, output: u16, local: LocalNode) -> SlotIndex {
        if let Some(slot) = self.made.get(&(node, output)) {
            return *slot;
        }
        let slot = self.open(Producer::Local(local), self.scopes[local as usize]);
        self.made.insert((node, output), slot);
        slot
    }

    pub(super) fn gathered(&mut self, node: NodeId, output: u16, local: LocalNode) -> SlotIndex {
        if let Some(slot) = self.gathered.get(&(node, output)) {
            return *slot;
        }
        let scope = usize::from(self.scopes[local as usize]);
        let item = self.made(node, output, local);
        self.slots[item as usize].uses += 1;
        let list = self.open(Producer::Local(local), self.nesting.around(scope as u16));
        self.gathered.insert((node, output), list);
        self.gathers[scope].push(Gather {
            node: local,
            item,
            list,
        });
        list
    }

    /// Another worker reads an output.
    pub(super) fn send(&mut self, node: NodeId, output: u16) {
        let local = self.local_of[&node];
        if self.scopes[local as usize] == 0 {
            self.made(node, output, local);
        } else {
            self.gathered(node, output, local);
        }
    }

    pub(super) fn inputs(&mut self, node: &NodePlan) -> Vec<InputRead> {
        let scope = self.scopes[self.local_of[&node.id] as usize];
        let mut reads = Vec::with_capacity(node.inputs.len());
        for input in node.all_inputs() {
            let from = if let [source] = input.sources[..] {
                self.read_whole(source, scope)
            } else {
                let sources = input.sources.iter();
                let from: Vec<InputFrom> = sources
                    .map(|source| self.read_whole(*source, scope))
                    .collect();
                InputFrom::FirstOf(Span::append(&mut self.alternatives, from))
            };
            reads.push(InputRead {
                from,
                optional: input.optional,
                store: input.store,
            });
        }
        reads
    }

    /// The sources of the workflow's outputs.
    pub(super) fn candidates(&self, plan: &Plan) -> Vec<Candidate> {
        let of = |(output, declared): (u16, &WorkflowOutput)| {
            let sources = declared.sources.iter();
            let candidate = |from: &OutputSource| Candidate {
                output,
                source: from.source,
                part: from.part,
                error: match from.source {
                    Source::Output { node, output } => self.errors.get(&node) == Some(&output),
                    _ => false,
                },
            };
            sources.map(candidate).collect::<Vec<_>>()
        };
        (0..).zip(&plan.outputs).flat_map(of).collect()
    }

    pub(super) fn outputs_here(&mut self, candidates: &[Candidate]) -> Vec<OutputFrom> {
        let mut here = Vec::new();
        for (number, candidate) in (0..).zip(candidates) {
            if let Source::Output { node, .. } = candidate.source
                && self.local_of.contains_key(&node)
                && let InputFrom::Slot(slot) = self.read(candidate.source, 0)
            {
                here.push(OutputFrom {
                    candidate: number,
                    slot,
                });
            }
        }
        here
    }
}
