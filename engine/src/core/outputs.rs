//! What activations return: checked whole before anything is changed by it, stored, and gathered in the order of items.

use super::invocation::{Read, Value};
use super::lease::{Account, Payload};
use super::pool::{ExecutorId, Running};
use super::program::{Node, Program, is_list};
use super::{CompletionError, Core, Output, Piece};
use faasstore::descriptor::{ItemName, PayloadRef};
use std::rc::Rc;

/// Bytes that an activation has made for an output, what it hands on of its inputs left out.
fn own_bytes(output: &Output) -> u64 {
    let pieces = match output {
        Output::One(piece) => std::slice::from_ref(piece),
        Output::List(pieces) => pieces,
    };
    let own = pieces.iter().map(|piece| match piece {
        Piece::Own(range) => range.length,
        Piece::Empty | Piece::Alias { .. } => 0,
    });
    own.sum()
}

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
        let node = &program.nodes[running.node as usize];
        let index = usize::from(input);
        if index >= program.inputs(node).len() {
            return None;
        }
        let value = self.input(running.place, program, running.node, index);
        let whole = match (value, item) {
            (Read::One(payload), None) => payload,
            (Read::List(items), Some(item)) => {
                let name = ItemName { input, item };
                let payload = *items.get(item as usize)?;
                self.handed_on(running, name, payload)?
            }
            _ => return None,
        };
        whole.part(offset, length)
    }

    /// What an activation passes on of an input, if the worst case of its workflow is proven: where it lies, and the range
    /// that is kept with it. None too of what names no part of an input.
    #[must_use]
    pub fn passed_on(
        &self,
        executor: ExecutorId,
        piece: Piece,
    ) -> Option<(PayloadRef, PayloadRef)> {
        let state = self.executors.get(executor.0 as usize)?.as_ref()?;
        let program = self.program(state.deployment);
        program.plan.memory.as_ref()?;
        let part = self.alias(state.running?, program, piece)?;
        Some((self.leases.locate(part), self.leases.kept_with(part)))
    }

    /// Takes charge of a checked piece.
    #[inline]
    fn take_piece(&mut self, running: Running, account: Account, piece: Piece) -> Payload {
        match piece {
            Piece::Empty => Payload::EMPTY,
            Piece::Own(range) => self.leases.take(account, range),
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
        let made_bytes: u64 = outputs.iter().map(own_bytes).sum();
        // Many small ones count too.
        if made_bytes >= self.config.store.moved_bytes_min / 16 {
            let deployment = self.invocations[running.place as usize].deployment;
            let known = &mut self.deployment_mut(deployment).made_bytes[running.node as usize];
            // The most, but one that was far above the others counts for less with each of these.
            *known = made_bytes.max(*known - *known / 16);
        }
        for (output, plan) in outputs.iter().zip(program.outputs(node)) {
            let Some(slot) = plan.slot else {
                self.drop_outputs(std::slice::from_ref(output));
                continue;
            };
            let (value, bytes) = match output {
                Output::One(piece) => {
                    let payload = self.take_piece(running, program.account, *piece);
                    (Value::One(payload), payload.length())
                }
                Output::List(pieces) => {
                    let list = self.lists.open();
                    let mut bytes = 0;
                    for piece in pieces {
                        let payload = self.take_piece(running, program.account, *piece);
                        bytes += payload.length();
                        self.lists.get_mut(list).push(payload);
                    }
                    (Value::List(list), bytes)
                }
            };
            self.set_slot(running.place, slot, value, bytes, maker.0);
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
