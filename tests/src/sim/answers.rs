//! Whether clients got what they had to get, as the reference says.

use super::Cluster;
use super::clients::{Asked, Outcome};
use crate::functions::Datum;
use crate::plans::node_name;
use crate::reference::{Reason, Verdict, judge};
use crate::workflow::Workflow;
use engine::plan::{Join, NodeId, Plan};
use engine::wire::Failure;

impl Cluster {
    /// Every client has its answer, and each is one that the reference allows; so is all else that was seen.
    pub(super) fn judge_answers(&mut self) {
        self.note_unserved();
        let verdicts: Vec<Option<Verdict>> = self
            .asked
            .iter()
            .enumerate()
            .map(|(number, asked)| self.judge_invocation(number, asked))
            .collect();
        self.verdicts = verdicts;
    }

    fn note_unserved(&mut self) {
        for asked in &mut self.asked {
            let deployed = &self.scenario.deployments[asked.deployment];
            for plan in &deployed.plans {
                let worker = &plan.workers[usize::from(plan.me)].name;
                for node in &plan.nodes {
                    let executable = node.work.executable().map(usize::from);
                    let name = executable.map(|executable| &plan.executables[executable].name);
                    let refused = name.is_some_and(|name| {
                        let refused = &self.refused_executables;
                        refused.contains(&(worker.clone(), name.clone()))
                    });
                    if refused {
                        asked.trace.unserved.insert(deployed.written(node.id));
                    }
                }
            }
        }
    }

    fn judge_invocation(&self, number: usize, asked: &Asked) -> Option<Verdict> {
        assert_ne!(
            asked.outcome,
            Outcome::Open,
            "request {number} was never answered: {:?} at lane {}: {:?}",
            asked.id,
            asked.lane,
            asked.trace
        );
        if asked.refusal_due {
            let refused = matches!(asked.result, None | Some(Err(Failure::Refused { .. })));
            assert!(refused, "it was to be refused: {:?}", asked.result);
            return None;
        }
        // Once its door has heard of the cancel nothing else can be its answer.
        let cancelled = matches!(asked.result, Some(Err(Failure::Cancelled)));
        assert!(
            asked.cancelled.is_none() || asked.result.is_none() || cancelled,
            "request {number} was cancelled at {:?}, and answered with {:?} at {:?}",
            asked.cancelled,
            asked.result,
            asked.answered
        );
        let workflow = &self.scenario.deployments[asked.deployment].workflow;
        let verdict = judge(workflow, &asked.inputs, &asked.trace).unwrap_or_else(|breach| {
            panic!("request {number}: {breach}\n{workflow}\n{:?}", asked.trace)
        });
        match &asked.result {
            Some(Ok(outputs)) => judge_outputs(asked, workflow, &verdict, outputs),
            Some(Err(failure)) => self.judge_failure(asked, workflow, &verdict, failure),
            // Its client went with the worker.
            None => {}
        }
        Some(verdict)
    }

    /// Whether a failure had a cause.
    fn judge_failure(
        &self,
        asked: &Asked,
        workflow: &Workflow,
        verdict: &Verdict,
        failure: &Failure,
    ) {
        let because = |reason: &dyn Fn(&Reason) -> bool| {
            let earlier = verdict
                .reasons
                .iter()
                .filter(|(_, at)| at.step <= asked.answered.step);
            earlier.into_iter().any(|(known, _)| reason(known))
        };
        let known = match failure {
            Failure::Refused { .. } => !self.lost_workers.is_empty(),
            // One that takes part in its placement: what is lost elsewhere is none of its business.
            Failure::Worker { worker, .. } => {
                let plan = &self.scenario.deployments[asked.deployment].plans[0];
                let mut parts = plan.participants.iter();
                let entry = self.worker_name(asked.lane) == *worker;
                let takes_part = entry
                    || parts.any(|part| plan.workers[usize::from(part.worker)].name == *worker);
                takes_part && self.lost_workers.contains(worker)
            }
            Failure::Cancelled => asked.cancelled == Some(asked.answered),
            Failure::Payload { .. } => asked.payload_refused || asked.payload_lost,
            Failure::Absent { output } => because(&|reason| match reason {
                Reason::Absent { output: known } => known == output,
                _ => false,
            }),
            Failure::Timeout { milliseconds } => {
                let due = asked.trace.asked.after_ms(*milliseconds);
                workflow.timeout_ms == Some(*milliseconds) && asked.answered.ns >= due.ns
            }
            Failure::Join {
                node,
                needed,
                failed,
            } => because(&|reason| match reason {
                Reason::Join {
                    node: known,
                    needed: known_needed,
                    failed: known_failed,
                } => {
                    let is_known = |(name, cause): &(String, String)| {
                        known_failed.iter().any(|(known, why)| {
                            // Of several parts any may be the first to tell of its failure.
                            node_name(*known) == *name
                                && (self.is_divided(asked, *known)
                                    || why.as_ref().is_none_or(|why| why == cause))
                        })
                    };
                    node_name(*known) == *node
                        && known_needed == needed
                        && !failed.is_empty()
                        && failed.iter().all(is_known)
                }
                _ => false,
            }),
            Failure::Node {
                node,
                worker,
                attempt,
                cause,
            } => {
                let known = because(&|reason| match reason {
                    Reason::Node {
                        node: known,
                        attempt: known_attempt,
                        cause: known_cause,
                    } => {
                        node_name(*known) == *node
                            && known_attempt == attempt
                            && known_cause.as_ref().is_none_or(|known| known == cause)
                    }
                    _ => false,
                });
                assert!(self.runs_on(asked, node, worker), "{failure}");
                known
            }
        };
        assert!(
            known,
            "{failure}: for no reason; there are {:?}\n{:?}\n{workflow}",
            verdict.reasons, asked.trace
        );
    }

    /// Whether a node, or a part of it, runs on a worker, both by their names.
    fn runs_on(&self, asked: &Asked, node: &str, worker: &str) -> bool {
        let plans = &self.scenario.deployments[asked.deployment].plans;
        let here = |plan: &&Plan| plan.workers[usize::from(plan.me)].name == worker;
        let plan = plans.iter().find(here);
        plan.is_some_and(|plan| plan.nodes.iter().any(|one| one.name == node))
    }

    /// Whether a node of the workflow has several parts.
    fn is_divided(&self, asked: &Asked, node: NodeId) -> bool {
        let of = &self.scenario.deployments[asked.deployment].divided.of;
        of.iter().filter(|written| **written == node).count() > 1
    }
}

fn judge_outputs(
    asked: &Asked,
    workflow: &Workflow,
    verdict: &Verdict,
    outputs: &[(String, Datum)],
) {
    assert_eq!(
        verdict.outputs.as_deref(),
        Some(outputs),
        "{:?} with {:?}: {:?}\n{:?}\n{workflow}",
        asked.id,
        verdict.reasons,
        verdict.nodes,
        asked.trace
    );
    let attempts = asked.trace.activations.values().flatten();
    for attempt in attempts {
        let ended = attempt.ended.as_ref();
        let before = ended.is_some_and(|(at, _)| at.step <= asked.answered.step);
        assert!(
            before,
            "it was over before {attempt:?} ended: {:?}",
            asked.answered
        );
    }
    // What came too late for a join of some, or stands behind an alternative, may be refused without harm.
    let spare = workflow
        .nodes
        .iter()
        .any(|node| matches!(node.join, Join::AtLeast(_)));
    let choice = workflow
        .outputs
        .iter()
        .any(|output| output.sources.len() > 1);
    assert!(
        !asked.payload_refused || spare || choice,
        "ended well without a payload"
    );
}
