//! What the lane does for a node itself: choosing a case, computing values, saying how long it waits, and writing down what
//! failed. The core only asks for it, and goes on when the answer is there.

use super::failure::NodeFailure;
use super::invocation::{NO_MAKER, Place};
use super::outcome::Outcome;
use super::profile::incoming_bytes;
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
    pub(super) part: Part,
    pub(super) catch: u16,
}

/// What of a node is to be evaluated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// What it does: a switch is to choose, or values are to be computed.
    Work,
    /// How long it waits: its delays.
    Delay,
}

/// Expressions of a node that are to be evaluated. [`Core::evaluation_inputs`] lists what they read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Evaluate {
    /// What [`Core::evaluated`] must repeat.
    pub ticket: Ticket,
    /// Of which deployment.
    pub deployment: DeploymentId,
    /// Which node.
    pub node: NodeId,
}

impl Evaluate {
    /// What of the node.
    #[must_use]
    pub const fn part(&self) -> Part {
        self.ticket.part
    }
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Evaluated {
    /// The case that a switch chooses; none holds, and there is no default.
    Case(Option<u16>),
    /// What was computed, committed in the lane's arena: one for each output.
    Values(Vec<Incoming>),
    /// For how long the node waits from now on, all of its delays together.
    Waits {
        /// In nanoseconds.
        delay_ns: u64,
    },
    /// It could not be evaluated, and why.
    Failed(String),
}

impl Core {
    pub(super) fn evaluate(&mut self, now_ns: u64, place: Place, node: LocalNode) {
        self.lane_started(now_ns, place, node);
        self.reading.push((place, node));
        self.order_evaluation(place, node, Part::Work);
    }

    /// Asks how long a node waits that could start now.
    pub(super) fn evaluate_delay(&mut self, place: Place, node: LocalNode) {
        self.count_delay_reads(place, node);
        self.order_evaluation(place, node, Part::Delay);
    }

    fn order_evaluation(&mut self, place: Place, node: LocalNode, part: Part) {
        let evaluate = self.evaluation(place, node, part);
        self.actions.push(Action::Evaluate(evaluate));
    }

    pub(super) fn evaluation(&self, place: Place, node: LocalNode, part: Part) -> Evaluate {
        let program = self.program_of(place);
        Evaluate {
            deployment: program.plan.deployment,
            node: program.nodes[node as usize].id,
            ticket: Ticket {
                place,
                generation: self.invocations[place as usize].generation,
                node,
                part,
                catch: 0,
            },
        }
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
        match evaluate.part() {
            Part::Work => self.each_input(place, node, each),
            Part::Delay => self.each_delay_input(place, node, each),
        }
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

    /// Expressions of a node have been evaluated.
    ///
    /// # Panics
    /// If the answer is to something else than was asked.
    pub fn evaluated(&mut self, now_ns: u64, ticket: Ticket, evaluated: Evaluated) {
        let Ticket {
            place,
            generation,
            node,
            part,
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
        match part {
            Part::Work => self.work_evaluated(now_ns, place, node, evaluated),
            Part::Delay => self.delay_evaluated(now_ns, place, node, evaluated),
        }
        self.drain_ended(now_ns);
    }

    fn work_evaluated(&mut self, now_ns: u64, place: Place, node: LocalNode, evaluated: Evaluated) {
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
            Evaluated::Waits { .. } => unreachable!("it was not asked for how long a node waits"),
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
    }

    fn delay_evaluated(
        &mut self,
        now_ns: u64,
        place: Place,
        node: LocalNode,
        evaluated: Evaluated,
    ) {
        let cause = match evaluated {
            Evaluated::Waits { delay_ns } => return self.delay(now_ns, place, node, delay_ns),
            Evaluated::Failed(cause) => cause,
            Evaluated::Case(_) | Evaluated::Values(_) => {
                unreachable!("it was asked for how long a node waits")
            }
        };
        // Its first attempt has come to nothing before it was handed to anybody.
        self.lane_started(now_ns, place, node);
        self.lane_ended(now_ns, place, node, Attempt::Failed);
        let failure = NodeFailure {
            attempt: 1,
            class: ErrorClass::Expression,
            cause,
        };
        self.node_failed(now_ns, place, node, failure);
    }

    fn store_values(
        &mut self,
        place: Place,
        node: LocalNode,
        values: Vec<Incoming>,
    ) -> Result<(), String> {
        let refused = values.iter().find_map(|value| match value {
            Incoming::Refused(cause) => Some(cause.clone()),
            _ => None,
        });
        if let Some(cause) = refused {
            // None of them, if not all: it has failed.
            values.iter().for_each(|value| self.drop_incoming(value));
            return Err(cause);
        }
        self.profile_outputs(place, node, values.iter().map(incoming_bytes));
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
            ..
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
