//! What activations return: checked whole before anything is changed by it, stored, and gathered in the order of items.

use super::invocation::{Read, Value};
use super::lease::Payload;
use super::pool::{ExecutorId, Running};
use super::program::{ListFrom, Node, Program, is_list};
use super::{CompletionError, Core, Output, Piece};
use std::rc::Rc;

impl Core {
    #[inline]
    pub(super) fn check_outputs(
        &self,
        running: Running,
        node: &Node,
        program: &Program,
        outputs: &[Output],
    ) -> Result<(), CompletionError> {
        let plans = program.outputs(node);
        let plain = |output: &Output| matches!(output, Output::One(Piece::Own(_) | Piece::Empty));
        if outputs.len() == plans.len() && !node.lists && outputs.iter().all(plain) {
            return Ok(());
        }
        if outputs.len() != plans.len() {
            return Err(CompletionError::Outputs {
                got: outputs.len(),
                declared: plans.len(),
            });
        }
        for (output, declared) in outputs.iter().zip(plans) {
            match (output, is_list(declared.kind)) {
                (Output::One(piece), false) => self.check_piece(running, program, *piece)?,
                (Output::List(pieces), true) => {
                    for piece in pieces {
                        self.check_piece(running, program, *piece)?;
                    }
                }
                _ => return Err(CompletionError::Kind),
            }
        }
        Ok(())
    }

    #[inline]
    fn check_piece(
        &self,
        running: Running,
        program: &Program,
        piece: Piece,
    ) -> Result<(), CompletionError> {
        match piece {
            Piece::Empty | Piece::Own(_) => Ok(()),
            Piece::Alias { .. } => self
                .alias(running, program, piece)
                .map(|_| ())
                .ok_or(CompletionError::Alias),
        }
    }

    /// The part of an input that an alias names.
    fn alias(&self, running: Running, program: &Program, piece: Piece) -> Option<Payload> {
        let Piece::Alias {
            input,
            item,
            offset,
            length,
        } = piece
        else {
            return None;
        };
        let invocation = &self.invocations[running.place as usize];
        let node = &program.nodes[running.node as usize];
        let index = usize::from(input);
        if index >= program.inputs(node).len() {
            return None;
        }
        let value = self.input(invocation, program, running.node, running.item, index);
        let whole = match (value, item) {
            (Read::One(payload), None) => payload,
            (Read::List(items), Some(item)) => *items.get(item as usize)?,
            _ => return None,
        };
        whole.part(offset, length)
    }

    /// Takes charge of a checked piece.
    #[inline]
    fn take_piece(&mut self, running: Running, piece: Piece) -> Payload {
        match piece {
            Piece::Empty => Payload::EMPTY,
            Piece::Own(range) => self.leases.take(range),
            Piece::Alias { .. } => {
                let program = Rc::clone(self.program_of(running.place));
                let payload = self
                    .alias(running, &program, piece)
                    .unwrap_or(Payload::EMPTY);
                self.leases.hold(payload);
                payload
            }
        }
    }

    pub(super) fn store_outputs(
        &mut self,
        running: Running,
        program: &Program,
        outputs: &[Output],
        maker: ExecutorId,
    ) {
        let node = &program.nodes[running.node as usize];
        for (output, plan) in outputs.iter().zip(program.outputs(node)) {
            let Some(slot) = plan.slot else {
                self.drop_outputs(std::slice::from_ref(output));
                continue;
            };
            let (value, bytes) = match output {
                Output::One(piece) => {
                    let payload = self.take_piece(running, *piece);
                    (Value::One(payload), payload.length())
                }
                Output::List(pieces) => {
                    let list = self.lists.open();
                    let mut bytes = 0;
                    for piece in pieces {
                        let payload = self.take_piece(running, *piece);
                        bytes += payload.length();
                        self.lists.get_mut(list).push(payload);
                    }
                    (Value::List(list), bytes)
                }
            };
            self.set_slot(running.place, slot, value, bytes, maker.0);
        }
    }

    /// Puts one item's outputs in their places.
    pub(super) fn store_item(&mut self, running: Running, node: &Node, outputs: &[Output]) {
        for (index, output) in outputs.iter().enumerate() {
            let fan = self.fan(running.place, running.node);
            let gathered = fan.and_then(|fan| fan.gathered[index]);
            match (gathered, output) {
                (Some(list), Output::One(piece)) => {
                    let payload = self.take_piece(running, *piece);
                    self.lists.get_mut(list)[running.item as usize] = payload;
                }
                _ => self.drop_outputs(std::slice::from_ref(output)),
            }
        }
        self.release_item(running, node);
    }

    /// An item that only this foreach reads is not kept until the last one has ended.
    fn release_item(&mut self, running: Running, node: &Node) {
        let Some(ListFrom::Slot(slot)) = node.foreach else {
            return;
        };
        let state = self.invocations[running.place as usize].slots[slot as usize];
        let (Value::List(list), 1) = (state.value, state.uses) else {
            return;
        };
        let batch = self
            .fan(running.place, running.node)
            .map_or(0, |fan| fan.batch);
        for item in items_of(running.item, batch, self.lists.get(list).len()) {
            let payload = std::mem::replace(&mut self.lists.get_mut(list)[item], Payload::EMPTY);
            self.let_go(payload);
        }
    }

    /// Gives back outputs that nobody will read.
    pub(super) fn drop_outputs(&mut self, outputs: &[Output]) {
        for output in outputs {
            let pieces = match output {
                Output::One(piece) => std::slice::from_ref(piece),
                Output::List(pieces) => pieces,
            };
            for piece in pieces {
                if let Piece::Own(range) = piece {
                    self.release(*range);
                }
            }
        }
    }
}

/// The items of a list that an activation of a foreach takes.
pub(super) fn items_of(activation: u32, batch: u32, length: usize) -> std::ops::Range<usize> {
    let batch = batch.max(1) as usize;
    let first = (activation as usize * batch).min(length);
    first..(first + batch).min(length)
}
