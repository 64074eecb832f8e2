//! The worker's status: gathered from all who know a part of it.

use crate::status::{DeploymentStatus, LaneStatus, MemoryStatus, WorkerStatus};
use crate::worker::control::Control;
use crate::worker::host;
use faasstore::segment::Pages;
use std::collections::BTreeMap;

impl Control {
    /// Everything that this worker tells of itself.
    pub(super) fn status(&self) -> WorkerStatus {
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
        let deployments: Vec<DeploymentStatus> = self.deployments.borrow().status();
        let workflows = self.deployments.borrow().workflows();
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
            deployments,
            workflows,
            counters,
            descriptors: host::open_descriptors(),
        }
    }
}
