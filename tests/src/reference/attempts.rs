//! What the activations of a node that runs come to.

use super::edges::Edge;
use super::{Breach, End, Ended, Judge, Reason};
use crate::functions::{Datum, choose, compute, datum_of, evaluate};
use crate::plans::node_name;
use crate::trace::{Attempt, Ending, Moment};
use engine::plan::{ErrorClass, ErrorMatch, FlowEdge, Join, NodeId, NodePlan, Retry, Work};
use faasstore::binding::Kind;
use faasstore::descriptor::NO_ITEM;

/// By how much a wait may miss what is computed here, for rounding.
const ROUNDING_NS: u64 = 1_000;

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

/// What `attempt` waits before it is started, in nanoseconds after the end of the one before it: at least, and at most.
#[must_use]
pub fn retry_wait_ns(retry: &Retry, attempt: u32) -> (u64, u64) {
    let factor = f64::from(retry.factor_percent) / 100.0;
    let exponent = attempt.saturating_sub(2).min(10_000) as i32;
    let wait_ms = f64::from(retry.backoff_ms) * factor.powi(exponent);
    let most_ns = wait_ms.min(f64::from(retry.backoff_max_ms)) * 1e6;
    let least_ns = most_ns * (1.0 - f64::from(retry.jitter_percent) / 100.0);
    let least_ns = (least_ns as u64).saturating_sub(ROUNDING_NS);
    (least_ns, most_ns as u64 + ROUNDING_NS)
}

impl Judge<'_> {
    /// Follows a node that runs, from `at` on.
    pub(super) fn run(&mut self, node: NodeId, at: Moment) -> Result<Ended, Breach> {
        let workflow = self.workflow;
        let plan = &workflow.nodes[node as usize];
        let begun = at.after_ms(plan.delay_ms);
        let mut sets = self.sets(node);
        if let (Join::AtLeast(needed), Some(live)) = (plan.join, sets.first().map(Vec::len)) {
            let most = (live as u64).saturating_sub(needed.into());
            self.late.0 += if plan.gates.is_empty() { most } else { 0 };
            self.late.1 += most + plan.gates.len() as u64;
        }
        if plan.work == Work::Nothing {
            if self.trace.of_node(node).next().is_some() {
                return Err(Breach(format!("node {node} does nothing, and was started")));
            }
            let end = End::Well(Vec::new());
            return Ok(Ended { end, at: begun });
        }
        let items = self.items(plan, &sets[0]);
        let mut fates = Vec::new();
        for (item, datum) in &items {
            let attempts = self.trace.activations.get(&(node, *item));
            let attempts = attempts.map_or(&[][..], Vec::as_slice);
            fates.push(
                self.follow(plan, begun, datum.as_ref(), attempts, &mut sets)
                    .map_err(|Breach(what)| Breach(format!("node {node}, item {item}: {what}")))?,
            );
        }
        let beyond = |item: &u32| !items.iter().any(|(one, _)| one == item);
        if let Some((item, _)) = self.trace.of_node(node).find(|(item, _)| beyond(item)) {
            return Err(Breach(format!("node {node} has no item {item}")));
        }
        self.check_parallelism(node, plan)?;
        Ok(self.ends(node, begun, fates, &items))
    }

    /// The sets of live edges that it may have had when it started: all, or as many as a join of some wants. The largest
    /// comes first.
    fn sets(&self, node: NodeId) -> Vec<Vec<FlowEdge>> {
        let plan = &self.workflow.nodes[node as usize];
        let flow = self.workflow.flow_edges(node);
        let live: Vec<FlowEdge> = flow
            .into_iter()
            .filter(|edge| self.flow(*edge) == Edge::Live)
            .collect();
        let Join::AtLeast(needed) = plan.join else {
            return vec![live];
        };
        let needed = needed as usize;
        let subset = |bits: u64| -> Vec<FlowEdge> {
            let chosen = live.iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1);
            chosen.map(|(_, edge)| *edge).collect()
        };
        // Behind a gate that opens late there may be more than it wants.
        let fits = |set: &Vec<FlowEdge>| match plan.gates.is_empty() {
            true => set.len() == needed,
            false => set.len() >= needed,
        };
        let mut sets: Vec<Vec<FlowEdge>> =
            (0..1_u64 << live.len()).map(subset).filter(fits).collect();
        sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
        sets
    }

    /// Its activations, by number: each with its item, or its batch of them.
    fn items(&self, plan: &NodePlan, set: &[FlowEdge]) -> Vec<(u32, Option<Datum>)> {
        let Some(list) = plan.foreach else {
            return vec![(NO_ITEM, None)];
        };
        let Datum::List(list) = self.seen(&[list], None, set) else {
            return Vec::new();
        };
        let items: Vec<Datum> = match plan.batch {
            Some(batch) => list
                .chunks(batch as usize)
                .map(|items| Datum::List(items.to_vec()))
                .collect(),
            None => list.into_iter().map(Datum::One).collect(),
        };
        (0..).zip(items.into_iter().map(Some)).collect()
    }

    /// Follows the attempts of one activation. Of the `sets` of edges those stay that agree with what it has seen.
    fn follow(
        &self,
        plan: &NodePlan,
        begun: Moment,
        item: Option<&Datum>,
        attempts: &[Attempt],
        sets: &mut Vec<Vec<FlowEdge>>,
    ) -> Result<Fate, Breach> {
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
            self.narrow(plan, item, attempt, sets)?;
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
            let retry = &plan.retry;
            if number >= retry.attempts || !ErrorMatch::any(&retry.on, *class, cause) {
                let (class, cause, at) = (*class, cause.clone(), *at);
                let fate = Fate::Failed {
                    attempt: number,
                    class,
                    cause,
                    at,
                };
                return if last { Ok(fate) } else { Err(Breach(again)) };
            }
            earliest = *at;
            earliest.ns += retry_wait_ns(retry, number + 1).0;
        }
        Ok(Fate::Open)
    }

    /// Keeps the sets of edges with which an attempt sees what it has seen.
    fn narrow(
        &self,
        plan: &NodePlan,
        item: Option<&Datum>,
        attempt: &Attempt,
        sets: &mut Vec<Vec<FlowEdge>>,
    ) -> Result<(), Breach> {
        let sees = |set: &Vec<FlowEdge>| -> Vec<Datum> {
            let inputs = plan.inputs.iter();
            inputs
                .map(|input| self.seen(&input.sources, item, set))
                .collect()
        };
        let agrees = |set: &Vec<FlowEdge>| {
            let before = |edge: &FlowEdge| attempt.started.may_follow(self.at(edge.node));
            set.iter().all(before) && sees(set) == attempt.seen
        };
        let like = sets.first().map(sees);
        sets.retain(agrees);
        if sets.is_empty() {
            let (seen, number) = (&attempt.seen, attempt.number);
            let what = format!("attempt {number} saw {seen:?}, which is not like {like:?}");
            return Err(Breach(what));
        }
        Ok(())
    }

    /// No more of its activations run at once than it allows.
    fn check_parallelism(&self, node: NodeId, plan: &NodePlan) -> Result<(), Breach> {
        let Some(most) = plan.parallelism else {
            return Ok(());
        };
        // What ends in an event ends before what starts in it.
        let mut changes = Vec::new();
        for attempt in self.trace.of_node(node).flat_map(|(_, attempts)| attempts) {
            changes.push((attempt.started.step, 1));
            changes.extend(attempt.ended.iter().map(|(at, _)| (at.step, -1)));
        }
        changes.sort_unstable();
        let mut running = 0_i64;
        for (step, change) in changes {
            running += change;
            if running > i64::from(most) {
                let what = format!("node {node} runs {running} at once in event {step}");
                return Err(Breach(what));
            }
        }
        Ok(())
    }

    /// What the node comes to.
    fn ends(
        &mut self,
        node: NodeId,
        begun: Moment,
        fates: Vec<Fate>,
        items: &[(u32, Option<Datum>)],
    ) -> Ended {
        let plan = &self.workflow.nodes[node as usize];
        let failed = fates.iter().filter_map(|fate| match fate {
            Fate::Failed {
                attempt,
                class,
                cause,
                at,
            } => Some((*attempt, *class, cause.clone(), *at)),
            Fate::Open | Fate::Well { .. } => None,
        });
        let mut failed: Vec<(u32, ErrorClass, String, Moment)> = failed.collect();
        failed.sort_by_key(|(.., at)| at.step);
        if let Some((attempt, class, cause, at)) = failed.first().cloned() {
            let takes = |these: &Vec<ErrorMatch>| ErrorMatch::any(these, class, &cause);
            if let Some(catch) = plan.catches.iter().position(takes) {
                let catch = catch as u16;
                let error = Datum::One(error_text(node, class, &cause, attempt));
                let end = End::Caught { catch, error };
                return Ended { end, at };
            }
            if plan.tolerated {
                let end = End::Tolerated(said(class, cause));
                return Ended { end, at };
            }
            for (attempt, class, cause, at) in failed {
                let cause = said(class, cause);
                let reason = Reason::Node {
                    node,
                    attempt,
                    cause,
                };
                self.reasons.push((reason, at));
            }
            let end = End::Fatal;
            return Ended { end, at };
        }
        let mut last = begun;
        let mut made = Vec::new();
        for (fate, (item, _)) in fates.into_iter().zip(items) {
            let Fate::Well { seen, at } = fate else {
                let (end, at) = (End::Open, Moment::default());
                return Ended { end, at };
            };
            last = last.max(at);
            if plan.work.cases() > 0 {
                let case = choose(self.workflow.salt, node, &seen, plan.work.cases());
                let end = End::Chose(case);
                return Ended { end, at };
            }
            made.push(self.outputs_of(node, plan, *item, &seen));
        }
        let outputs = match plan.foreach {
            None => made.pop().unwrap_or_default(),
            Some(_) => gather(plan, made),
        };
        let end = End::Well(outputs);
        Ended { end, at: last }
    }

    fn outputs_of(&self, node: NodeId, plan: &NodePlan, item: u32, seen: &[Datum]) -> Vec<Datum> {
        let (salt, kinds) = (self.workflow.salt, returned_kinds(plan));
        if let Work::Compute(_) = plan.work {
            return evaluate(salt, node, seen, &kinds);
        }
        let item = (item != NO_ITEM).then_some(item);
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

/// By output, what all activations have returned of it.
fn gather(plan: &NodePlan, made: Vec<Vec<Datum>>) -> Vec<Datum> {
    let mut gathered = vec![Vec::new(); plan.outputs.len()];
    for outputs in made {
        for (list, output) in gathered.iter_mut().zip(outputs) {
            match output {
                Datum::One(bytes) => list.push(bytes),
                Datum::Absent | Datum::List(_) => panic!("an output of an item is bytes"),
            }
        }
    }
    gathered.into_iter().map(Datum::List).collect()
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
