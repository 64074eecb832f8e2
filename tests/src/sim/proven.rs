//! What invocations hold, against what is proven of that before.

use super::{Cluster, Scenario};
use crate::functions::{FRESH_BYTES_MAX, LIST_ITEMS_MAX};
use crate::workflow::random::INPUT_ITEMS_MAX;
use engine::plan::{MemoryBound, Plan, PortMaximum, PortRef};
use faasstore::binding::{Kind, Maximum};
use master::memory::worst_case;

/// What was seen of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// By lane: what is held as long as the workflows are deployed.
    fixed_bytes: Vec<u64>,
    /// Looks at a worker that held anything of an invocation.
    pub(super) looks: u64,
    /// Of these, those at which it held all that it may.
    pub(super) full: u64,
}

impl Scenario {
    /// Has everything declare what it may have, and proves it. Of one invocation at a time, in one placement.
    pub fn declare(&mut self) {
        let worst = self.deployments.iter_mut().map(|deployed| {
            for plan in &mut deployed.plans {
                plan.maxima = maxima(plan);
            }
            let worst = worst_case(&deployed.plans);
            for (plan, bytes) in deployed.plans.iter_mut().zip(&worst.by_worker) {
                let lanes = plan.workers[usize::from(plan.me)].lanes;
                plan.memory = Some(MemoryBound {
                    worker: plan.me,
                    invocation_bytes: *bytes,
                    quota_bytes: *bytes,
                    in_flight_max: 1,
                    at_door: vec![1; lanes.into()],
                });
            }
            worst
        });
        self.worst = Some(worst.collect());
    }
}

/// What inputs and functions have at most in a simulation.
fn maxima(plan: &Plan) -> Vec<PortMaximum> {
    let of = |kind: Kind, items: usize| Maximum {
        bytes: FRESH_BYTES_MAX as u64,
        items: match kind {
            Kind::List => items as u64,
            Kind::Bytes | Kind::Value => u64::MAX,
        },
        ..Maximum::NONE
    };
    let inputs = (0..)
        .zip(&plan.inputs)
        .map(|(input, declared)| PortMaximum {
            port: PortRef::Input(input),
            maximum: of(declared.kind, INPUT_ITEMS_MAX),
        });
    let written = plan.nodes.iter().flat_map(|node| {
        let outputs = (0..).zip(&node.outputs);
        // What failed is a value, and says what it says.
        let outputs = outputs.filter(|(output, _)| node.error_output != Some(*output));
        outputs.map(|(output, declared)| PortMaximum {
            port: PortRef::Written {
                node: node.id,
                output,
            },
            maximum: of(declared.kind, LIST_ITEMS_MAX),
        })
    });
    inputs.chain(written).collect()
}

impl Cluster {
    /// Where everything that has ended is tidied up after, no worker holds more of an invocation than is proven, nor do all
    /// together.
    pub(super) fn judge_proven(&mut self) {
        let Some(worst) = &self.scenario.worst else {
            return;
        };
        let held: Vec<u64> = self
            .lanes
            .iter()
            .map(|lane| lane.memory.held_bytes())
            .collect();
        let Some(asked) = self.asked.first() else {
            self.proven.fixed_bytes = held;
            return;
        };
        let worst = &worst[asked.deployment];
        let mut all_tidy = true;
        let mut in_all = 0;
        for (place, lane) in self.lanes.iter().enumerate() {
            let bytes = held[place].saturating_sub(self.proven.fixed_bytes[place]);
            in_all += bytes;
            if lane.core.untidied() > 0 {
                all_tidy = false;
                continue;
            }
            let most = worst.by_worker[lane.worker];
            assert!(
                bytes <= most,
                "lane {place} holds {bytes} bytes of an invocation, and {most} are proven: {:#?}",
                self.scenario.deployments[asked.deployment].workflow
            );
            self.proven.looks += u64::from(bytes > 0);
            self.proven.full += u64::from(bytes > 0 && bytes == most);
        }
        if all_tidy {
            let most = worst.in_all;
            assert!(
                in_all <= most,
                "all hold {in_all} bytes of an invocation, and {most} are proven: {:#?}",
                self.scenario.deployments[asked.deployment].workflow
            );
        }
    }
}
