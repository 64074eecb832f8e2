//! What the lane does for a node itself: choosing a case, computing values, and writing down what failed. The core only
//! asks for it, and goes on when the answer is there.

use super::failure::NodeFailure;
use super::invocation::{NO_MAKER, Place};
use super::outcome::Outcome;
use super::program::LocalNode;
use super::report::Attempt;
use super::trigger::Ended;
use super::{Action, Core, Incoming, Input};
use crate::plan::{DeploymentId, ErrorClass, NodeId};
use faasstore::descriptor::InvocationId;
use std::rc::Rc;

/// Which node of which invocation an answer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    pub(super) place: Place,
    pub(super) generation: u32,
    pub(super) node: LocalNode,
    pub(super) catch: u16,
}

/// A switch that is to choose, or a node whose values are to be computed. [`Core::evaluation_inputs`] lists what it
/// reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Evaluate {
    /// What [`Core::evaluated`] must repeat.
    pub ticket: Ticket,
    /// Of which deployment.
    pub deployment: DeploymentId,
    /// Which node.
    pub node: NodeId,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Evaluated {
    /// The case that a switch chooses; none holds, and there is no default.
    Case(Option<u16>),
    /// What was computed, committed in the lane's arena: one for each output.
    Values(Vec<Incoming>),
    /// It could not be evaluated, and why.
    Failed(String),
}

impl Core {
    pub(super) fn evaluate(&mut self, now_ns: u64, place: Place, node: LocalNode) {
        self.lane_started(now_ns, place, node);
        let program = self.program_of(place);
        let evaluate = Evaluate {
            deployment: program.plan.deployment,
            node: program.nodes[node as usize].id,
            ticket: Ticket {
                place,
                generation: self.invocations[place as usize].generation,
                node,
                catch: 0,
            },
        };
        self.actions.push(Action::Evaluate(Box::new(evaluate)));
    }

    /// Calls `each` with every input of what is to be evaluated, in the node's order; not at all if its invocation is over
    /// meanwhile.
    pub fn evaluation_inputs(&self, evaluate: &Evaluate, each: impl FnMut(Input<'_>)) {
        let Ticket {
            place,
            generation,
            node,
            ..
        } = evaluate.ticket;
        if !self.is_current(place, generation) {
            return;
        }
        self.each_input(place, node, each);
    }

    /// The invocation that a ticket is for, while that goes on: for those who judge what a core does.
    #[must_use]
    pub fn invocation_of(&self, ticket: Ticket) -> Option<InvocationId> {
        let current = self.is_current(ticket.place, ticket.generation);
        current.then(|| self.invocations[ticket.place as usize].id)
    }

    /// The numbers of the items that a ticket is for, the innermost region's first; none outside of all regions, and none
    /// once its invocation is over. For those who judge what a core does.
    pub fn evaluated_items(&self, ticket: Ticket) -> impl Iterator<Item = u32> + '_ {
        let current = self.is_current(ticket.place, ticket.generation);
        let place = current.then_some(ticket.place);
        place
            .into_iter()
            .flat_map(|place| self.items_of_place(place))
    }

    /// A node has been evaluated.
    pub fn evaluated(&mut self, now_ns: u64, ticket: Ticket, evaluated: Evaluated) {
        let Ticket {
            place,
            generation,
            node,
            ..
        } = ticket;
        if !self.is_current(place, generation) {
            self.counters.late_dropped += 1;
            if let Evaluated::Values(values) = evaluated {
                values.iter().for_each(|value| self.drop_incoming(value));
            }
            return;
        }
        self.revision += 1;
        let result = match evaluated {
            Evaluated::Case(Some(case)) => Ok(Outcome::Chose(case)),
            Evaluated::Case(None) => {
                let cause = "no case holds, and there is no default".to_owned();
                Err((ErrorClass::Expression, cause))
            }
            Evaluated::Values(values) => match self.store_values(place, node, values) {
                Ok(()) => Ok(Outcome::Well),
                Err(cause) => Err((ErrorClass::Memory, cause)),
            },
            Evaluated::Failed(cause) => Err((ErrorClass::Expression, cause)),
        };
        let attempt = match result {
            Ok(_) => Attempt::Well,
            Err(_) => Attempt::Failed,
        };
        self.lane_ended(now_ns, place, node, attempt);
        match result {
            Ok(outcome) => self.ended.push(Ended {
                place,
                node,
                maker: NO_MAKER,
                outcome,
            }),
            Err((class, cause)) => {
                let failure = NodeFailure {
                    attempt: 1,
                    class,
                    cause,
                };
                self.node_failed(now_ns, place, node, failure);
            }
        }
        self.drain_ended(now_ns);
    }

    fn store_values(
        &mut self,
        place: Place,
        node: LocalNode,
        values: Vec<Incoming>,
    ) -> Result<(), String> {
        let refused = values.iter().find_map(|value| match value {
            Incoming::Refused(cause) => Some(cause.clone()),
            Incoming::One(_) | Incoming::List { .. } => None,
        });
        if let Some(cause) = refused {
            // None of them, if not all: it has failed.
            values.iter().for_each(|value| self.drop_incoming(value));
            return Err(cause);
        }
        let program = Rc::clone(self.program_of(place));
        for (output, incoming) in (0..).zip(values) {
            let slot = program.output_slot(node, output);
            self.keep(place, slot, incoming)?;
        }
        Ok(())
    }

    /// What failed has been written down.
    pub fn described(&mut self, now_ns: u64, ticket: Ticket, text: Incoming) {
        let Ticket {
            place,
            generation,
            node,
            catch,
        } = ticket;
        if !self.is_current(place, generation) {
            self.counters.late_dropped += 1;
            self.drop_incoming(&text);
            return;
        }
        self.revision += 1;
        let program = Rc::clone(self.program_of(place));
        let slot = program.details[node as usize].error_slot;
        if let Err(cause) = self.keep(place, slot, text) {
            let failure = self.payload_failure(program.name(node), &program, cause);
            self.fail(now_ns, place, failure);
            return;
        }
        self.ended.push(Ended {
            place,
            node,
            maker: NO_MAKER,
            outcome: Outcome::Caught(catch),
        });
        self.drain_ended(now_ns);
    }
}
