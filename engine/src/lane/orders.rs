//! What the control thread orders of a lane, and the store thread tells it.
//!
//! Orders are carried out in the order in which they came, each with all that the core wants done for it. A deployment is known
//! to the core, the connections and the [compartments](super::compartments) at once, or to none.

use super::command::{LaneCommand, StartedExecutor};
use super::executors::Terms;
use super::{Lane, monotonic_ns};
use crate::plan::Plan;
use crate::status::WorkflowCounters;
use std::sync::Arc;

impl Lane {
    pub(super) fn read_commands(&mut self) {
        self.now_ns = monotonic_ns();
        while let Some(command) = self.setup.commands.pop() {
            self.on_command(command);
            self.act();
        }
    }

    pub(super) fn on_command(&mut self, command: LaneCommand) {
        match command {
            LaneCommand::Deploy {
                plan,
                executors,
                counters,
            } => self.deploy(&plan, executors, counters),
            LaneCommand::Activate(deployment) => self.core.activate(self.now_ns, deployment),
            LaneCommand::Retire(deployment) => self.core.retire(self.now_ns, deployment),
            LaneCommand::Executor(started) => self.executor_started(started),
            LaneCommand::ExecutorRefused {
                deployment,
                executable,
                reason,
            } => {
                self.core
                    .executor_refused(self.now_ns, deployment, executable, &reason);
            }
            LaneCommand::LinkOut {
                door,
                number,
                sockets,
                share,
            } => {
                let (peers, mut parts) = self.peers();
                let lost = peers.link_out(door, number, sockets, share, &mut parts);
                if let Some(report) = lost {
                    self.report(report);
                }
            }
            LaneCommand::LinkIn {
                door,
                next_sequence,
                number,
                sockets,
            } => {
                let (peers, mut parts) = self.peers();
                peers.link_in(door, next_sequence, number, sockets, &mut parts);
            }
            LaneCommand::ShareIn {
                door,
                number,
                socket,
            } => {
                let (peers, mut parts) = self.peers();
                peers.share_in(&door, number, socket, &mut parts);
            }
            LaneCommand::Client { socket, place } => {
                let (peers, mut parts) = self.peers();
                peers.client(socket, place, &mut parts);
            }
            LaneCommand::Profile {
                deployment,
                from,
                most,
                reply,
            } => {
                // Whoever asked may have gone away.
                let _ = reply.send(self.core.profile(deployment, from, most));
            }
            LaneCommand::Edges {
                deployment,
                from,
                most,
                reply,
            } => {
                let page = self.core.edges(deployment, from, most);
                let past = self.core.past_reads(deployment);
                // Whoever asked may have gone away.
                let _ = reply.send(page.zip(past));
            }
            LaneCommand::Holders { most, reply } => {
                let now_ns = monotonic_ns();
                // Whoever asked may have gone away.
                let _ = reply.send(self.core.holders(now_ns, most));
            }
            LaneCommand::ForgetProfile(deployment) => self.core.forget_profile(deployment),
            LaneCommand::Stored {
                ticket,
                kind,
                stored,
            } => {
                self.core.stored(self.now_ns, ticket, kind, stored);
                self.peers.memory_freed();
            }
            LaneCommand::Measured(uses) => self.executors_measured(&uses),
            LaneCommand::Fetched {
                ticket,
                kind,
                fetched,
            } => self.payload_fetched(ticket, kind, fetched),
            LaneCommand::Stop => self.stopped = true,
        }
    }

    pub(super) fn deploy(
        &mut self,
        plan: &Arc<Plan>,
        executors: Vec<StartedExecutor>,
        counters: Arc<WorkflowCounters>,
    ) {
        let compartment =
            self.compartments
                .join(plan.deployment, &plan.workflow, counters, &mut self.arena);
        self.core.set_memory(self.compartments.largest(&self.arena));
        let terms = Terms {
            compartment,
            payload_bytes_max: plan
                .limits
                .payload_bytes_max
                .min(self.setup.payload_bytes_max),
            items_max: u64::from(plan.limits.items_max),
        };
        self.terms.insert(plan.deployment, terms);
        self.peers.know(plan);
        let constants = self.prepare_values(plan);
        self.core.deploy(Plan::clone(plan), constants);
        if let Some(account) = self.core.account_of(plan.deployment) {
            self.compartments.count(&plan.workflow, account);
        }
        executors
            .into_iter()
            .for_each(|started| self.executor_started(started));
    }
}
