//! Which compartment of the lane's arena holds what of a workflow: inputs of invocations, what came from other workers, what was
//! computed, and the tables that requests name.
//!
//! No executor is told of a segment that holds payloads of another workflow. All deployments of a workflow share its compartment,
//! since an invocation's inputs are taken in before it is known which of them takes it. By compartment it is counted too what a
//! workflow has in memory, and each finds some there, whatever the others hold.

use super::segments::Segments;
use crate::core::Core;
use crate::core::lease::Account;
use crate::core::store::{Carried, Tally};
use crate::plan::DeploymentId;
use crate::status::{Counter, WorkflowCounters};
use faasstore::arena::{Arena, Compartment};
use rustc_hash::FxHashMap;
use std::sync::Arc;
use std::time::SystemTime;

/// One of so many parts of the lane's arena is divided evenly among the workflows that it has: of that each finds its part, whatever the
/// others hold. The rest is for whoever comes, and no less than a quota can be: four fifths of the executors' half of the memory.
const KEPT_SHARE: u64 = 5;

/// What is kept of a workflow.
#[derive(Debug)]
struct Entry {
    compartment: Compartment,
    deployments: usize,
    /// Where the core counts its leases, once it has a deployment of it.
    account: Option<Account>,
    counters: Arc<WorkflowCounters>,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Compartments {
    of_workflow: FxHashMap<String, Entry>,
    of_deployment: FxHashMap<DeploymentId, (Compartment, String)>,
}

impl Compartments {
    /// The lane gets a deployment of a workflow. The counters are those of the first one.
    pub(crate) fn join(
        &mut self,
        deployment: DeploymentId,
        workflow: &str,
        counters: Arc<WorkflowCounters>,
        arena: &mut Arena,
    ) -> Compartment {
        let entry = self.of_workflow.entry(workflow.to_owned());
        let entry = entry.or_insert_with(|| Entry {
            compartment: arena.open_compartment(u64::MAX),
            deployments: 0,
            account: None,
            counters,
        });
        entry.deployments += 1;
        let compartment = entry.compartment;
        self.of_deployment
            .insert(deployment, (compartment, workflow.to_owned()));
        self.divide(arena);
        compartment
    }

    fn divide(&self, arena: &mut Arena) {
        let workflows = self.of_workflow.len().max(1) as u64;
        arena.keep_for_each(arena.bytes_max() / KEPT_SHARE / workflows);
    }

    /// Bytes that a workflow may have when the others have no more than is kept for them.
    pub(crate) fn largest(&self, arena: &Arena) -> u64 {
        let any = self.of_workflow.values().next();
        any.map_or_else(
            || arena.bytes_max(),
            |entry| arena.bytes_max_in(entry.compartment),
        )
    }

    /// The core counts leases of the workflow there.
    pub(crate) fn count(&mut self, workflow: &str, account: Account) {
        if let Some(entry) = self.of_workflow.get_mut(workflow) {
            entry.account = Some(account);
        }
    }

    /// The deployment has gone. With the last one of its workflow the compartment closes: its segments go as what is in them
    /// comes back, and no one may wait for memory of it. Returns it then.
    pub(crate) fn leave(
        &mut self,
        deployment: DeploymentId,
        arena: &mut Arena,
    ) -> Option<Compartment> {
        let (compartment, workflow) = self.of_deployment.remove(&deployment)?;
        let entry = self.of_workflow.get_mut(&workflow)?;
        entry.deployments -= 1;
        if entry.deployments > 0 {
            return None;
        }
        self.of_workflow.remove(&workflow);
        arena.close_compartment(compartment);
        self.divide(arena);
        Some(compartment)
    }

    /// Where payloads of the deployment go; none if the lane does not have it.
    pub(crate) fn of_deployment(&self, deployment: DeploymentId) -> Option<Compartment> {
        self.of_deployment.get(&deployment).map(|(own, _)| *own)
    }

    /// Of which workflow the deployment is; none if the lane does not have it.
    pub(crate) fn workflow_of(&self, deployment: DeploymentId) -> Option<&str> {
        let of = self.of_deployment.get(&deployment);
        of.map(|(_, workflow)| workflow.as_str())
    }

    /// Where payloads of the workflow go; none if the lane has nothing of it.
    pub(crate) fn of_workflow(&self, workflow: &str) -> Option<Compartment> {
        self.of_workflow
            .get(workflow)
            .map(|entry| entry.compartment)
    }

    /// Where payloads go that the core counts there; none if the lane has nothing of that workflow.
    pub(crate) fn of_account(&self, account: Account) -> Option<Compartment> {
        let mut entries = self.of_workflow.values();
        let entry = entries.find(|entry| entry.account == Some(account))?;
        Some(entry.compartment)
    }

    /// Where the core counts what lies there; none if it counts nothing of it.
    pub(crate) fn account_in(&self, compartment: Compartment) -> Option<Account> {
        let mut entries = self.of_workflow.values();
        entries
            .find(|entry| entry.compartment == compartment)?
            .account
    }

    /// Shows what each workflow has in memory to whoever asks for the worker's status; `pinned` is what executors may still keep
    /// of segments that have gone.
    pub(crate) fn publish(&self, core: &Core, segments: &Segments, pinned: &[(Compartment, u64)]) {
        for entry in self.of_workflow.values() {
            let counters = &entry.counters;
            if let Some(account) = entry.account {
                let holdings = core.leases().holdings(account);
                counters.leases.set(holdings.leases);
                counters.lease_bytes.set(holdings.bytes);
                let (peak, reached) = (&counters.lease_bytes_peak, &counters.lease_peak_unix_ms);
                mark(peak, reached, holdings.bytes_peak);
                counters.away.set(holdings.away);
                counters.away_bytes.set(holdings.away_bytes);
                publish_tally(core.leases().tally(account), counters);
            }
            let held = segments.held(entry.compartment);
            counters.segments.set(held.segments);
            counters.segment_bytes.set(held.bytes);
            let (peak, reached) = (&counters.segment_bytes_peak, &counters.segment_peak_unix_ms);
            mark(peak, reached, held.bytes);
            let most = counters.segments_peak.get().max(held.segments);
            counters.segments_peak.set(most);
            let own = pinned.iter().filter(|one| one.0 == entry.compartment);
            counters.pinned_bytes.set(own.map(|one| one.1).sum());
        }
    }
}

fn publish_tally(tally: &Tally, counters: &WorkflowCounters) {
    let Carried {
        spill,
        remote,
        arrivals_refused,
        held_back,
        overdrawn,
        windowed,
    } = tally.carried;
    counters.quota_bytes.set(tally.quota_bytes);
    counters.lacking_bytes.set(tally.lacking_bytes);
    counters.spilled.set(spill.out.payloads);
    counters.spilled_bytes.set(spill.out.bytes);
    counters.spill_back.set(spill.back.payloads);
    counters.spill_back_bytes.set(spill.back.bytes);
    counters.spill_copied.set(spill.copied.payloads);
    counters.spill_copied_bytes.set(spill.copied.bytes);
    counters.spill_refused.set(spill.refused);
    counters.spill_lost.set(spill.lost);
    counters.stored.set(remote.out.payloads);
    counters.stored_bytes.set(remote.out.bytes);
    counters.remote_back.set(remote.back.payloads);
    counters.remote_back_bytes.set(remote.back.bytes);
    counters.remote_copied.set(remote.copied.payloads);
    counters.remote_copied_bytes.set(remote.copied.bytes);
    counters.remote_refused.set(remote.refused);
    counters.remote_lost.set(remote.lost);
    counters.arrivals_refused.set(arrivals_refused);
    counters.held_back.set(held_back);
    counters.overdrawn.set(overdrawn);
    counters.windowed.set(windowed);
}

/// Raises a high-water mark, and says when; nothing if it stands as high already.
fn mark(peak: &Counter, reached: &Counter, value: u64) {
    if value > peak.get() {
        peak.set(value);
        reached.set(unix_ms());
    }
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use faasstore::arena::ArenaConfig;

    #[test]
    fn each_workflow_finds_its_part_of_the_lane_s_memory_whatever_others_hold() {
        const ALL: u64 = 1 << 20;
        let mut arena = Arena::new(ArenaConfig {
            name: "test".to_owned(),
            segment_bytes: 4096,
            bytes_max: ALL,
        });
        let mut compartments = Compartments::default();
        let [greedy, first, second] = [1, 2, 3].map(DeploymentId);
        let own = compartments.join(greedy, "greedy", Arc::default(), &mut arena);
        assert_eq!(compartments.largest(&arena), ALL, "alone it has all");
        let others = [(first, "first"), (second, "second")].map(|(deployment, workflow)| {
            compartments.join(deployment, workflow, Arc::default(), &mut arena)
        });
        let part = ALL / KEPT_SHARE / 3;
        assert_eq!(compartments.largest(&arena), ALL - 2 * part);
        let most = (ALL - 2 * part) / 4096 * 4096;
        let taken = arena.reserve_in(own, most).unwrap();
        assert!(arena.reserve_in(own, 4096).is_err());
        for other in others {
            let kept = arena.reserve_in(other, part / 4096 * 4096);
            arena.abandon(kept.unwrap());
        }
        compartments.leave(first, &mut arena);
        assert_eq!(compartments.largest(&arena), ALL - ALL / KEPT_SHARE / 2);
        arena.abandon(taken);
    }

    #[test]
    fn versions_of_a_workflow_share_a_compartment_that_goes_with_the_last() {
        let mut arena = Arena::new(ArenaConfig {
            name: "test".to_owned(),
            segment_bytes: 4096,
            bytes_max: 1 << 20,
        });
        let mut compartments = Compartments::default();
        let mut join = |deployment, workflow, arena: &mut Arena| {
            compartments.join(deployment, workflow, Arc::default(), arena)
        };
        let [old, new, other] = [1, 2, 3].map(DeploymentId);
        let own = join(old, "a", &mut arena);
        assert_eq!(join(new, "a", &mut arena), own);
        assert_ne!(join(other, "b", &mut arena), own);
        let held = arena.reserve_in(own, 64).unwrap();

        compartments.leave(old, &mut arena);
        assert_eq!(compartments.of_deployment(old), None);
        assert_eq!(compartments.of_workflow("a"), Some(own));
        compartments.leave(old, &mut arena);
        assert_eq!(compartments.of_deployment(new), Some(own), "left once");
        compartments.leave(new, &mut arena);
        assert_eq!(compartments.of_workflow("a"), None);
        assert!(arena.reserve_in(own, 64).is_err());
        assert_eq!(arena.bytes_held_in(own), 4096, "a range of it is in use");
        arena.abandon(held);
        assert_eq!(arena.bytes_held(), 0);
    }
}
