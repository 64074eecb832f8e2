//! What invocations hold, against what is proven of that before.

use super::{Cluster, Scenario};
use crate::functions::{Datum, FRESH_BYTES_MAX, LIST_ITEMS_MAX};
use crate::plans::input_name;
use crate::workflow::random::INPUT_ITEMS_MAX;
use engine::core::InputForm;
use engine::plan::{MemoryBound, Plan, PortMaximum, PortRef};
use faasstore::binding::{Kind, Maximum};
use master::memory::worst_case;
use std::collections::BTreeSet;

/// What was seen of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// By lane: what is held as long as the workflows are deployed.
    fixed_bytes: Vec<u64>,
    /// Looks at a worker that held anything of an invocation.
    pub(super) looks: u64,
    /// Of these, those at which it held all that it may.
    pub(super) full: u64,
    /// Invocations that a door had no memory for.
    pub(super) closed: u64,
    /// Of these, those for which it had none since answers were not read.
    pub(super) closed_for_answers: u64,
}

impl Scenario {
    /// Has everything declare what it may have, and proves it. Of so many invocations at a time at each door, and of each placement.
    pub fn declare(&mut self, at_door: u64) {
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
                    quota_bytes: at_door * *bytes,
                    in_flight_max: at_door * u64::from(lanes),
                    at_door: vec![at_door; lanes.into()],
                    on_lane: vec![at_door * *bytes; lanes.into()],
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
    /// Whether a door that would take an invocation has no memory for it. Then something of the one that it took before is there:
    /// what runs, or an answer that is not read.
    pub(super) fn is_short_at_door(
        &mut self,
        lane: usize,
        workflow: &str,
        inputs: &[Option<Datum>],
    ) -> bool {
        let given = inputs.iter().enumerate();
        let given: Vec<(String, InputForm)> = given
            .filter_map(|(number, given)| Some((input_name(number), form(given.as_ref()?)?)))
            .collect();
        let given: Vec<(&str, InputForm)> = given
            .iter()
            .map(|(name, form)| (name.as_str(), *form))
            .collect();
        let lane = &self.lanes[lane];
        let refusal = lane.core.would_take(workflow, &given).err();
        let short = refusal.is_some_and(|refusal| refusal.memory.is_some());
        if short {
            let runs = lane.core.held().invocations > 0;
            assert!(
                runs || !lane.answers.is_empty(),
                "a door is closed for nothing that is there"
            );
            self.proven.closed += 1;
            self.proven.closed_for_answers += u64::from(!runs);
        }
        short
    }

    /// Where everything that has ended is tidied up after, no worker holds more of invocations than is proven, nor, of a single
    /// one, do all together.
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
        let deployments: BTreeSet<usize> = self.asked.iter().map(|one| one.deployment).collect();
        let at_door = |deployment: usize| {
            let memory = self.scenario.deployments[deployment].plans[0]
                .memory
                .as_ref();
            memory.map_or(0, |memory| memory.at_door[0])
        };
        let of_worker = |worker: usize| {
            let all = deployments.iter();
            all.map(|one| at_door(*one) * worst[*one].by_worker[worker])
                .sum::<u64>()
        };
        let mut all_tidy = true;
        let mut in_all = 0;
        for (place, lane) in self.lanes.iter().enumerate() {
            let bytes = held[place].saturating_sub(self.proven.fixed_bytes[place]);
            in_all += bytes;
            if lane.core.untidied() > 0 {
                all_tidy = false;
                continue;
            }
            let most = of_worker(lane.worker);
            assert!(
                bytes <= most,
                "lane {place} holds {bytes} bytes of invocations, and {most} are proven: {:#?}",
                self.scenario.deployments[asked.deployment].workflow
            );
            self.proven.looks += u64::from(bytes > 0);
            self.proven.full += u64::from(bytes > 0 && bytes == most);
        }
        if all_tidy && self.asked.len() == 1 {
            let most = worst[asked.deployment].in_all;
            assert!(
                in_all <= most,
                "all hold {in_all} bytes of an invocation, and {most} are proven: {:#?}",
                self.scenario.deployments[asked.deployment].workflow
            );
        }
    }
}

fn form(given: &Datum) -> Option<InputForm> {
    match given {
        Datum::Absent => None,
        Datum::One(bytes) => Some(InputForm::Bytes(bytes.len() as u64)),
        Datum::List(items) => {
            let there = items.iter().flatten();
            Some(InputForm::list(there.map(|item| item.len() as u64)))
        }
    }
}
