//! What the activations of a node that runs come to.

use super::delays::Waited;
use super::edges::Edge;
use super::retriers::{failures, wait_ns_after};
use super::{Breach, End, Ended, Judge, Reason};
use crate::functions::{Datum, choose, compute, datum_of, evaluate};
use crate::plans::node_name;
use crate::trace::{Activation, Attempt, Ending, Moment};
use engine::plan::{ErrorClass, ErrorMatch, FlowEdge, InputPlan, Join, NodeId, NodePlan, Work};
use faasstore::binding::Kind;

/// What an activation came to.
enum Fate {
    Open,
    Well {
        seen: Vec<Datum>,
        at: Moment,
    },
    Failed {
        attempt: u32,
        class: ErrorClass,
        cause: String,
        at: Moment,
    },
}

/// Whether a retry or a catch of `these` takes a failure: one that names nothing takes all; else there must be its class, or
/// the name that a function's own error begins with, up to its first colon.
///
/// Worked out without the engine, whose own rule is what simulations judge.
pub(super) fn takes(these: &[ErrorMatch], class: ErrorClass, cause: &str) -> bool {
    let named = match (class, cause.split_once(':')) {
        (ErrorClass::Error, Some((name, _))) => Some(name),
        _ => None,
    };
    if these.is_empty() {
        return true;
    }
    these.iter().any(|one| match one {
        ErrorMatch::Class(meant) => *meant == class,
        ErrorMatch::Named(name) => named == Some(name),
    })
}

impl Judge<'_> {
    /// Follows a node that runs, from `at` on.
    pub(super) fn run(&mut self, node: NodeId, at: Moment) -> Result<Ended, Breach> {
        let workflow = self.workflow;
        let plan = &workflow.nodes[node as usize];
        let taken_up = self.trace.begun.get(&node).copied().unwrap_or_default();
        let told_first = taken_up.step > at.step;
        let at = at.max(taken_up);
        let mut sets = self.sets(node, taken_up);
        if let Join::AtLeast(needed) = plan.join {
            let late = (self.live(node).len() as u64).saturating_sub(needed.into());
            // One event may be late for several joins, and counts once then.
            let outside = self.live(node).iter().any(|edge| self.is_outside(*edge));
            if plan.gates.is_empty() && !told_first && !outside {
                self.late.0 = self.late.0.max(late);
            }
        }
        let activation = self.activation(node);
        let of_activation = |Breach(what)| {
            let (node, items) = &activation;
            Breach(format!("node {node} of items {items:?}: {what}"))
        };
        let waited = self.delayed(node, at, &mut sets).map_err(of_activation)?;
        let begun = match waited {
            Waited::Until(begun) => begun,
            Waited::Failed(_) | Waited::Open
                if self.trace.activations.contains_key(&activation) =>
            {
                let what = "started, but is not to, by its delay".to_owned();
                return Err(of_activation(Breach(what)));
            }
            Waited::Failed(at) => {
                let class = ErrorClass::Expression;
                let end = self.failed(node, 1, class, String::new(), at);
                return Ok(Ended { end, at });
            }
            Waited::Open => {
                let (end, at) = (End::Open, Moment::default());
                return Ok(Ended { end, at });
            }
        };
        if plan.work == Work::Nothing {
            if self.trace.activations.contains_key(&activation) {
                return Err(Breach(format!("node {node} does nothing, and was started")));
            }
            let end = End::Well(Vec::new());
            return Ok(Ended { end, at: begun });
        }
        let attempts = self.trace.activations.get(&activation);
        let attempts = attempts.map_or(&[][..], Vec::as_slice);
        let fate = self
            .follow(node, begun, attempts, &mut sets)
            .map_err(of_activation)?;
        Ok(self.ends(&activation, fate))
    }

    /// Whether an edge comes from outside of the item that is looked at.
    fn is_outside(&self, edge: FlowEdge) -> bool {
        !self.here().nodes.contains_key(&edge.node)
    }

    fn live(&self, node: NodeId) -> Vec<FlowEdge> {
        let mut flow = self.workflow.flow_edges(node);
        flow.retain(|edge| self.flow(*edge) == Edge::Live);
        flow
    }

    /// The sets of live edges that it may have had when it started: all, or as many as a join of some wants. The largest
    /// comes first.
    fn sets(&self, node: NodeId, taken_up: Moment) -> Vec<Vec<FlowEdge>> {
        let plan = &self.workflow.nodes[node as usize];
        let live = self.live(node);
        let Join::AtLeast(needed) = plan.join else {
            return vec![live];
        };
        let needed = needed as usize;
        let subset = |bits: u64| -> Vec<FlowEdge> {
            let chosen = live.iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1);
            chosen.map(|(_, edge)| *edge).collect()
        };
        // There may be more than it wants: behind a gate that opens late, of what ends in one event, as all regions of an
        // empty list may, or of what its worker was told before it took the invocation up. What is live outside of a region
        // is so from its beginning.
        let told_at = |edge: &FlowEdge| self.at(edge.node).step.max(taken_up.step);
        let empty = |edge: &FlowEdge| {
            let region = self.workflow.nodes[edge.node as usize].region;
            region != plan.region && self.trace.of_node(edge.node).next().is_none()
        };
        let at_once = |set: &[FlowEdge]| {
            let with = |edge: &FlowEdge| {
                let these = set.iter();
                these
                    .filter(|other| empty(other) || told_at(other) == told_at(edge))
                    .count()
            };
            set.iter().map(with).max().unwrap_or(0)
        };
        let outside = live.iter().filter(|edge| self.is_outside(**edge));
        let outside: Vec<&FlowEdge> = outside.collect();
        let fits = |set: &Vec<FlowEdge>| {
            let all_of_outside = outside.iter().all(|edge| set.contains(edge));
            let more = !plan.gates.is_empty() || set.len() < needed + at_once(set);
            let from_the_beginning = set.len() == outside.len();
            all_of_outside
                && (set.len() == needed || set.len() > needed && (more || from_the_beginning))
        };
        let mut sets: Vec<Vec<FlowEdge>> =
            (0..1_u64 << live.len()).map(subset).filter(fits).collect();
        sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
        sets
    }

    /// Follows the attempts of one activation. Of the `sets` of edges those stay that agree with what it has seen.
    fn follow(
        &self,
        node: NodeId,
        begun: Moment,
        attempts: &[Attempt],
        sets: &mut Vec<Vec<FlowEdge>>,
    ) -> Result<Fate, Breach> {
        let plan = &self.workflow.nodes[node as usize];
        let mut earliest = begun;
        for (number, attempt) in (1..).zip(attempts) {
            if attempt.number != number {
                let what = format!("attempt {} where {number} is next", attempt.number);
                return Err(Breach(what));
            }
            if !attempt.started.may_follow(earliest) {
                let (started, number) = (attempt.started, attempt.number);
                let what = format!("attempt {number} at {started:?}, before {earliest:?}");
                return Err(Breach(what));
            }
            let inputs: Vec<&InputPlan> = plan.inputs.iter().collect();
            let what = format!("attempt {number}");
            self.narrow(&inputs, &what, attempt.started, &attempt.seen, sets)?;
            let last = usize::try_from(number) == Ok(attempts.len());
            let again = format!("started again after attempt {number}");
            let Some((at, ending)) = &attempt.ended else {
                return if last {
                    Ok(Fate::Open)
                } else {
                    Err(Breach(again))
                };
            };
            let Ending::Failed(class, cause) = ending else {
                let (seen, at) = (attempt.seen.clone(), *at);
                return if last {
                    Ok(Fate::Well { seen, at })
                } else {
                    Err(Breach(again))
                };
            };
            let failures: Vec<_> = failures(&attempts[..number as usize]).collect();
            let Some((least_ns, _)) = wait_ns_after(&plan.retriers, &failures) else {
                let (class, cause, at) = (*class, cause.clone(), *at);
                let fate = Fate::Failed {
                    attempt: number,
                    class,
                    cause,
                    at,
                };
                return if last { Ok(fate) } else { Err(Breach(again)) };
            };
            earliest = *at;
            earliest.ns += least_ns;
        }
        if self.trace.unserved.contains(&node) {
            return Ok(Fate::Failed {
                attempt: attempts.len() as u32 + 1,
                class: ErrorClass::Crash,
                cause: String::new(),
                at: earliest,
            });
        }
        Ok(Fate::Open)
    }

    /// Keeps the sets of edges with which what reads these inputs, from `started` on, sees what it has seen.
    pub(super) fn narrow(
        &self,
        inputs: &[&InputPlan],
        what: &str,
        started: Moment,
        seen: &[Datum],
        sets: &mut Vec<Vec<FlowEdge>>,
    ) -> Result<(), Breach> {
        let sees = |set: &Vec<FlowEdge>| -> Vec<Datum> {
            let inputs = inputs.iter();
            inputs.map(|input| self.seen(&input.sources, set)).collect()
        };
        let agrees = |set: &Vec<FlowEdge>| {
            let before = |edge: &FlowEdge| started.may_follow(self.at(edge.node));
            set.iter().all(before) && sees(set) == seen
        };
        let like = sets.first().map(sees);
        sets.retain(agrees);
        if sets.is_empty() {
            let what = format!("{what} saw {seen:?}, which is not like {like:?}");
            return Err(Breach(what));
        }
        Ok(())
    }

    /// What the node comes to.
    fn ends(&mut self, activation: &Activation, fate: Fate) -> Ended {
        let (node, items) = activation;
        let plan = &self.workflow.nodes[*node as usize];
        let (seen, at) = match fate {
            Fate::Open => {
                let (end, at) = (End::Open, Moment::default());
                return Ended { end, at };
            }
            Fate::Well { seen, at } => (seen, at),
            Fate::Failed {
                attempt,
                class,
                cause,
                at,
            } => {
                let end = self.failed(*node, attempt, class, cause, at);
                return Ended { end, at };
            }
        };
        let cases = plan.work.cases();
        let end = match cases {
            0 => End::Well(self.outputs_of(*node, plan, items.last().copied(), &seen)),
            _ => End::Chose(choose(self.workflow.salt, *node, &seen, cases)),
        };
        Ended { end, at }
    }

    /// What a failure comes to that is not tried again.
    fn failed(
        &mut self,
        node: NodeId,
        attempt: u32,
        class: ErrorClass,
        cause: String,
        at: Moment,
    ) -> End {
        let plan = &self.workflow.nodes[node as usize];
        let first = plan
            .catches
            .iter()
            .position(|these| takes(these, class, &cause));
        if let Some(catch) = first {
            let catch = catch as u16;
            let error = Datum::One(error_text(node, class, &cause, attempt));
            return End::Caught { catch, error };
        }
        let cause = said(class, cause);
        if plan.tolerated {
            return End::Tolerated(cause);
        }
        let reason = Reason::Node {
            node,
            attempt,
            cause,
        };
        self.reasons.push((reason, at));
        End::Fatal
    }

    fn outputs_of(
        &self,
        node: NodeId,
        plan: &NodePlan,
        item: Option<u32>,
        seen: &[Datum],
    ) -> Vec<Datum> {
        let (salt, kinds) = (self.workflow.salt, returned_kinds(plan));
        if let Work::Compute(_) = plan.work {
            return evaluate(salt, node, seen, &kinds);
        }
        let made = compute(salt, node, item, seen, &kinds);
        made.iter().map(|output| datum_of(output, seen)).collect()
    }
}

/// The kinds of what a node returns: what says what failed is not among it.
#[must_use]
pub fn returned_kinds(plan: &NodePlan) -> Vec<Kind> {
    let returned = plan.outputs.len() - usize::from(plan.error_output.is_some());
    let outputs = plan.outputs[..returned].iter();
    outputs.map(|output| output.kind).collect()
}

/// A cause that is not the engine's own wording.
fn said(class: ErrorClass, cause: String) -> Option<String> {
    match class {
        ErrorClass::Timeout | ErrorClass::Crash | ErrorClass::Expression => None,
        _ => Some(cause),
    }
}

/// What a simulated lane writes where a node's consumers read what failed. Causes that the engine words are left out.
#[must_use]
pub fn error_text(node: NodeId, class: ErrorClass, cause: &str, attempt: u32) -> Vec<u8> {
    let cause = said(class, cause.to_owned()).unwrap_or_default();
    let text = serde_json::json!({
        "node": node_name(node), "class": class.name(), "cause": cause, "attempt": attempt,
    });
    text.to_string().into_bytes()
}
