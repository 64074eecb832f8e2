//! The worker's status: gathered from all who know a part of it.

use crate::core::Holder;
use crate::lane::command::LaneCommand;
use crate::status::{DeploymentStatus, LaneStatus, MemoryStatus, WorkerStatus};
use crate::status::{HolderStatus, PayloadStatus};
use crate::worker::control::Control;
use crate::worker::host;
use faasstore::segment::Pages;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// Invocations of a workflow that are told of: those that have held payloads for longest.
const HOLDERS_MAX: usize = 8;

impl Control {
    /// Everything that this worker tells of itself.
    pub(super) async fn status(&self) -> WorkerStatus {
        let holders = self.holders().await;
        let mut reads = self.reads().await;
        let (identity, config) = (&self.identity, &self.identity.config);
        let mut counters = BTreeMap::new();
        let mut lanes = Vec::with_capacity(self.lanes.len());
        for (index, lane) in self.lanes.iter().enumerate() {
            let mut own = BTreeMap::new();
            lane.counters().add_to(&mut own);
            lane.counters().add_to(&mut counters);
            lanes.push(LaneStatus {
                lane: index as u8,
                cpu: lane.cpu(),
                counters: own,
            });
        }
        self.counters.add_to(&mut counters);
        let sum = |name: &str| counters.get(name).copied().unwrap_or(0);
        let mut deployments: Vec<DeploymentStatus> = self.deployments.borrow().status();
        for deployment in &mut deployments {
            reads.tell_edges(deployment);
        }
        let mut workflows = self.deployments.borrow().workflows();
        for workflow in &mut workflows {
            reads.tell_sums(workflow);
            workflow.holders = oldest(&holders, &workflow.workflow);
        }
        let memory = MemoryStatus {
            limit_bytes: config.memory_bytes,
            lanes_bytes: config.lanes_bytes(),
            reserved_bytes: self.deployments.borrow().reserved_bytes(),
            held_bytes: sum("segment_bytes"),
            segments: sum("segments"),
            leases: sum("leases"),
            large_segments: Pages::of_large_segments().name().to_owned(),
            resident_bytes: host::resident_bytes(),
        };
        WorkerStatus {
            name: config.name.clone(),
            epoch: identity.epoch,
            pid: std::process::id(),
            uptime_s: identity.started.elapsed().as_secs(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            address: identity.address.to_string(),
            driver: identity.driver.clone(),
            wait: config.wait,
            spin_budget_ns: identity.spin_budget_ns,
            executors: self.placement.borrow().status().clone(),
            cpus: config.cpus.clone(),
            lanes,
            memory,
            calibration: identity.calibration,
            links: self.links.borrow().status(),
            deployments,
            workflows,
            counters,
            descriptors: host::open_descriptors(),
        }
    }

    /// The invocations that hold payloads, by lane.
    async fn holders(&self) -> Vec<(u8, Holder)> {
        let mut all = Vec::new();
        for (index, lane) in self.lanes.iter().enumerate() {
            let (reply, answer) = oneshot::channel();
            let most = HOLDERS_MAX;
            lane.send(LaneCommand::Holders { most, reply }).await;
            // A lane that has ended holds nothing.
            let holders = answer.await.unwrap_or_default();
            all.extend(holders.into_iter().map(|holder| (index as u8, holder)));
        }
        all
    }
}

/// Those of a workflow that have held payloads for longest.
fn oldest(all: &[(u8, Holder)], workflow: &str) -> Vec<HolderStatus> {
    let mut own: Vec<&(u8, Holder)> = all
        .iter()
        .filter(|(_, holder)| holder.workflow == workflow)
        .collect();
    own.sort_by_key(|(_, holder)| std::cmp::Reverse(holder.age_ns));
    let own = own.into_iter().take(HOLDERS_MAX);
    own.map(|(lane, holder)| HolderStatus {
        invocation: holder.invocation.to_string(),
        lane: *lane,
        age_ms: holder.age_ns / 1_000_000,
        bytes: holder.bytes,
        payloads: holder
            .payloads
            .iter()
            .map(|(of, bytes)| PayloadStatus {
                of: of.clone(),
                bytes: *bytes,
            })
            .collect(),
    })
    .collect()
}
