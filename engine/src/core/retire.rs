//! Deployments on their way out: a door that is closed for good, and the word of all who may still begin something.
//!
//! A retired deployment goes when this lane has none in flight that it took, when all peers' lanes that may begin
//! invocations here have said the same of themselves (or are gone), and when nothing of it is left here. So what is in
//! flight ends where it began.

use super::doors::{LaneKey, entry_lane};
use super::program::Program;
use super::{Action, Core, DeploymentState, ExecutorId, Outbound, Send, worker_hash};
use crate::plan::{DeploymentId, WorkerIndex};
use faasstore::descriptor::InvocationId;
use std::rc::Rc;

impl Core {
    /// Closes a deployment's door for good. Each of its placements is removed when nothing of it is in flight here or at a
    /// peer; at once if its door was never open.
    pub fn retire(&mut self, now_ns: u64, id: DeploymentId) {
        for index in self.placements_of(id) {
            self.retire_at(now_ns, index);
        }
    }

    pub(super) fn retire_at(&mut self, _now_ns: u64, index: u32) {
        let Some(deployment) = self.deployments[index as usize].as_mut() else {
            return;
        };
        let never_open = deployment.state == DeploymentState::Prepared;
        deployment.state = DeploymentState::Retiring;
        if never_open {
            // Peers that did open theirs are told so, but not waited for: they are to retire it too.
            let program = Rc::clone(&deployment.program);
            for worker in beginners(&program) {
                deployment
                    .drained
                    .extend(peer_lanes(&program, worker, self.config.lane));
            }
        }
        let name = deployment.program.plan.workflow.clone();
        if let Some(version) = self.versions.get_mut(&name) {
            version.placements.retain(|placement| *placement != index);
            if version.placements.is_empty() {
                self.versions.remove(&name);
            }
        }
        self.settle(index);
    }

    /// Tells peers when a retiring deployment has drained here, and removes it when it has everywhere.
    pub(super) fn settle(&mut self, index: u32) {
        let Some(deployment) = self.deployments[index as usize].as_mut() else {
            return;
        };
        if deployment.state != DeploymentState::Retiring {
            return;
        }
        let program = Rc::clone(&deployment.program);
        if deployment.taken == 0 && !deployment.drained_told {
            deployment.drained_told = true;
            for worker in program.others.iter().copied() {
                for (worker_hash, to_lane) in peer_lanes(&program, worker, self.config.lane) {
                    self.actions.push(Action::Send(Box::new(Send {
                        worker_hash,
                        to_lane,
                        invocation: InvocationId(0),
                        deployment: program.plan.deployment,
                        body: Outbound::Drained,
                    })));
                }
            }
        }
        let all_drained = beginners(&program).all(|worker| {
            peer_lanes(&program, worker, self.config.lane)
                .iter()
                .all(|lane| deployment.drained.contains(lane))
        });
        if !deployment.drained_told || !all_drained || deployment.instances > 0 {
            return;
        }
        self.timed -= u32::from(program.timed);
        let constants = std::mem::take(&mut deployment.constants);
        self.drop_profile(index);
        self.drop_reads(index);
        self.deployments[index as usize] = None;
        for constant in constants {
            self.drop_value(constant);
        }
        self.set_quota(program.account);
        self.leases.close(program.account);
        self.deployment_by_id.remove(&program.plan.deployment);
        for place in 0..self.executors.len() {
            let executor = &mut self.executors[place];
            if let Some(executor) = executor.take_if(|e| e.deployment == index)
                && executor.end_due_ns.is_none()
            {
                self.actions.push(Action::Stop(ExecutorId(place as u32)));
            }
        }
        self.actions.push(Action::Removed(program.plan.deployment));
    }

    /// A peer's lane has drained a deployment.
    pub fn peer_drained(&mut self, id: DeploymentId, worker_hash: u32, lane: u8) {
        if let Some(index) = self.deployment_by_id.get(&id).copied() {
            self.mark_drained(index, (worker_hash, lane));
        }
    }

    /// A peer's lane has begun an invocation, so it has not drained, whatever was made of its silence.
    pub(super) fn owes_its_word(&mut self, index: u32, id: InvocationId) {
        let entry = entry_lane(id);
        self.deployment_mut(index)
            .drained
            .retain(|drained| *drained != entry);
    }

    pub(super) fn mark_drained(&mut self, index: u32, lane: LaneKey) {
        if let Some(deployment) = self.deployments[index as usize].as_mut()
            && !deployment.drained.contains(&lane)
        {
            deployment.drained.push(lane);
        }
        self.settle(index);
    }
}

/// The workers that may begin invocations here, and so owe word of having drained: if nodes run here all others, since
/// clients may invoke the workflow on workers without nodes too; if none do, nobody.
fn beginners(program: &Program) -> impl Iterator<Item = WorkerIndex> {
    let all = if program.has_part() {
        program.plan.workers.len()
    } else {
        0
    };
    (0..all as WorkerIndex).filter(|worker| *worker != program.plan.me)
}

/// The lanes of a peer that share invocations of a deployment with lane `lane` here: those that some entry lane maps to
/// both.
fn peer_lanes(program: &Program, worker: WorkerIndex, lane: u8) -> Vec<LaneKey> {
    let workers = &program.plan.workers;
    let mine = workers[usize::from(program.plan.me)].lanes;
    let theirs = &workers[usize::from(worker)];
    let entry_lanes = workers.iter().map(|w| w.lanes).max().unwrap_or(1);
    let mut lanes: Vec<u8> = (0..entry_lanes)
        .filter(|e| e % mine == lane)
        .map(|e| e % theirs.lanes)
        .collect();
    lanes.sort_unstable();
    lanes.dedup();
    let hash = worker_hash(&theirs.name);
    lanes.into_iter().map(|lane| (hash, lane)).collect()
}
