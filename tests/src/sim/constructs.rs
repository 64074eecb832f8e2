//! What of the language a run has held: so that a test of all of it can say that it was.

use super::Cluster;
use super::clients::{Asked, Outcome};
use super::scenario::Deployed;
use crate::functions::Datum;
use crate::reference::{End, Verdict, deciding_retrier, failures};
use crate::trace::Ending;
use crate::workflow::Workflow;
use engine::plan::{
    Delay, ErrorClass, FlowEdge, Formula, Gate, InputPlan, Join, NodeId, NodePlan, Source, Work,
};
use engine::wire::Failure;
use std::collections::BTreeSet;
use std::fmt;

/// What is counted, each as something that took effect.
const NAMES: [&str; 56] = [
    "switch",
    "skipped node",
    "skipped join",
    "first_of",
    "optional",
    "any",
    "at_least",
    "out of reach",
    "late edge",
    "foreach",
    "batch",
    "parallelism",
    "zero items",
    "item chain",
    "nested foreach",
    "outer item",
    "skipped item",
    "whole skip",
    "absent entry",
    "retry",
    "retriers",
    "timeout",
    "workflow timeout",
    "catch",
    "error read",
    "tolerated",
    "delay",
    "computed delay",
    "delay until",
    "delays in turn",
    "failed delay",
    "cancel",
    "work left",
    "compute",
    "range",
    "list evaluated",
    "batch evaluated",
    "constant",
    "default",
    "optional output",
    "missing output",
    "outward gate",
    "errors gathered",
    "first item",
    "borne inward",
    "replica",
    "by load",
    "placement passed",
    "divided foreach",
    "empty part",
    "divided chain",
    "divided batch",
    "gathered in parts",
    "parts over parts",
    "output in parts",
    "divided skip",
];

/// How many runs have held each construct.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Constructs([u64; NAMES.len()]);

impl Default for Constructs {
    fn default() -> Self {
        Self([0; NAMES.len()])
    }
}

impl Constructs {
    /// Those that were held by fewer than `least` runs.
    #[must_use]
    pub fn below(&self, least: u64) -> Vec<&'static str> {
        let few = NAMES.iter().zip(self.0).filter(|(_, count)| *count < least);
        few.map(|(name, _)| *name).collect()
    }

    /// How many runs have held one.
    ///
    /// # Panics
    /// If there is no such construct.
    #[must_use]
    pub fn of(&self, name: &str) -> u64 {
        self.0[place(name)]
    }

    fn mark(&mut self, name: &str, held: bool) {
        self.0[place(name)] |= u64::from(held);
    }
}

fn place(name: &str) -> usize {
    let place = NAMES.iter().position(|one| *one == name);
    place.unwrap_or_else(|| panic!("{name} is not counted"))
}

impl std::ops::AddAssign for Constructs {
    fn add_assign(&mut self, other: Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }
}

impl fmt::Debug for Constructs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(NAMES.iter().zip(self.0)).finish()
    }
}

impl Cluster {
    /// Marks what this run has held.
    pub(super) fn count_constructs(&self, into: &mut Constructs) {
        for (asked, verdict) in self.asked.iter().zip(&self.verdicts) {
            if let Some(verdict) = verdict {
                let workflow = &self.scenario.deployments[asked.deployment].workflow;
                for (node, plan) in (0..).zip(&workflow.nodes) {
                    mark_node(into, workflow, asked, verdict, node, plan);
                }
                mark_divided(
                    into,
                    &self.scenario.deployments[asked.deployment],
                    asked,
                    verdict,
                );
                for ((node, _), end) in &verdict.in_items {
                    mark_end(into, workflow, *node, end);
                }
                mark_whole(into, workflow, asked, verdict);
            }
        }
        into.mark("replica", self.chosen.replica);
        into.mark("by load", self.chosen.by_load);
        into.mark("placement passed", self.chosen.passed);
    }
}

fn mark_end(into: &mut Constructs, workflow: &Workflow, node: NodeId, end: &End) {
    let joins = workflow.predecessors(node).len() > 1;
    into.mark("skipped node", *end == End::Skipped);
    into.mark("skipped join", *end == End::Skipped && joins);
    into.mark("switch", matches!(end, End::Chose(_)));
    into.mark("catch", matches!(end, End::Caught { .. }));
    into.mark("tolerated", matches!(end, End::Tolerated(_)));
}

/// What of it reads, and is let in by, nodes of regions that it is not part of.
fn mark_outward(into: &mut Constructs, workflow: &Workflow, verdict: &Verdict, plan: &NodePlan) {
    let seen = |node: NodeId| match &verdict.nodes[node as usize].end {
        End::Items(of) if !workflow.holds(workflow.nodes[node as usize].region, plan.region) => {
            Some(of)
        }
        _ => None,
    };
    let let_in = |gate: &Gate| match (seen(gate.node()), *gate) {
        (Some(of), Gate::Case { case, .. }) => of.cases.contains(&case),
        (Some(of), Gate::Catch { catch, .. }) => of.catches.contains(&catch),
        (None, _) => false,
    };
    into.mark("outward gate", plan.gates.iter().any(let_in));
    let hears = |source: Source| match source {
        Source::Output { node, output } | Source::First { node, output } => {
            let error = workflow.nodes[node as usize].error_output == Some(output);
            error && seen(node).is_some_and(|of| !of.catches.is_empty())
        }
        Source::Input(_) | Source::Item { .. } | Source::Constant(_) => false,
    };
    into.mark("errors gathered", plan.reads().any(hears));
    let is_first = |source: Source| match source {
        Source::First { node, output } => seen(node).is_some_and(|of| {
            let error = workflow.nodes[node as usize].error_output == Some(output);
            let list = if error {
                Some(&of.errors)
            } else {
                of.outputs.get(usize::from(output))
            };
            matches!(list, Some(Datum::List(items)) if items.iter().any(Option::is_some))
        }),
        Source::Input(_) | Source::Output { .. } | Source::Item { .. } | Source::Constant(_) => {
            false
        }
    };
    into.mark("first item", plan.reads().any(is_first));
}

/// What holds of regions in parts on several workers.
fn mark_divided(into: &mut Constructs, deployed: &Deployed, asked: &Asked, verdict: &Verdict) {
    let workflow = &deployed.workflow;
    let is_divided = |node: NodeId| {
        let region = workflow.just_within(None, workflow.nodes[node as usize].region);
        region.is_some_and(|region| deployed.parts(region) > 1)
    };
    for (region, began) in &verdict.regions {
        let parts = deployed.parts(*region);
        if parts < 2 {
            continue;
        }
        into.mark("divided skip", !began);
        let nodes: Vec<NodeId> = workflow.nodes_within(*region).collect();
        let items = nodes.iter().flat_map(|node| asked.trace.of_node(*node));
        let items: BTreeSet<u32> = items.map(|(items, _)| items[0]).collect();
        let plan = &workflow.regions[usize::from(*region)];
        let some = !items.is_empty();
        let full = items.len() as u64 >= parts;
        into.mark("divided foreach", full);
        into.mark("empty part", *began && (items.len() as u64) < parts);
        into.mark("divided chain", full && nodes.len() > 1);
        into.mark("divided batch", full && plan.batch > Some(1));
        let over = workflow.list_producer(*region);
        into.mark("parts over parts", some && over.is_some_and(is_divided));
    }
    let ran = |node: NodeId| asked.trace.of_node(node).next().is_some();
    for (node, plan) in (0..).zip(&workflow.nodes) {
        let gathered = plan.region.is_none()
            && plan.reads().any(|source| match source {
                Source::Output { node, .. } => is_divided(node),
                _ => false,
            });
        into.mark("gathered in parts", gathered && ran(node));
    }
    let outputs = verdict.outputs.iter().flatten();
    for (name, _) in outputs {
        let output = workflow.outputs.iter().find(|output| output.name == *name);
        let from = output.and_then(|output| output.sources.first());
        into.mark(
            "output in parts",
            from.is_some_and(|from| match from.source {
                Source::Output { node, .. } => is_divided(node),
                _ => false,
            }),
        );
    }
}

/// What holds of nodes in regions alone.
fn mark_region(
    into: &mut Constructs,
    workflow: &Workflow,
    asked: &Asked,
    verdict: &Verdict,
    node: NodeId,
) {
    let Some(region) = workflow.nodes[node as usize].region else {
        return;
    };
    let plan = &workflow.regions[usize::from(region)];
    let items = asked.trace.of_node(node).count();
    into.mark("foreach", items > 1);
    into.mark("batch", plan.batch > Some(1) && items > 0);
    into.mark(
        "parallelism",
        plan.parallelism.is_some_and(|most| items > most as usize),
    );
    let ran = |node: NodeId| verdict.nodes[node as usize].end.is_well();
    into.mark("zero items", ran(node) && items == 0);
    into.mark(
        "nested foreach",
        workflow.depth(Some(region)) > 1 && items > 1,
    );
    let reads = |wanted: &dyn Fn(Source) -> bool| workflow.nodes[node as usize].reads().any(wanted);
    let outer = |source| matches!(source, Source::Item { up: 1.. });
    into.mark("outer item", items > 0 && reads(&outer));
    let chained = |source| match source {
        Source::Output { node, .. } => workflow.nodes[node as usize].region == Some(region),
        Source::Input(_) | Source::First { .. } | Source::Item { .. } | Source::Constant(_) => {
            false
        }
    };
    into.mark("item chain", items > 1 && reads(&chained));
    let of_node = (node, Vec::new())..(node + 1, Vec::new());
    let ends = || verdict.in_items.range(of_node.clone()).map(|(_, end)| end);
    let some = ends().any(|end| *end == End::Skipped) && ends().any(|end| *end != End::Skipped);
    into.mark("skipped item", some);
    let whole = verdict.nodes[node as usize].end == End::Skipped;
    let others = workflow.nodes_within(region).any(ran);
    into.mark("whole skip", whole && others);
}

fn mark_node(
    into: &mut Constructs,
    workflow: &Workflow,
    asked: &Asked,
    verdict: &Verdict,
    node: NodeId,
    plan: &NodePlan,
) {
    let end = &verdict.nodes[node as usize].end;
    // That several of them have tried one activation again.
    let by_several = asked.trace.of_node(node).any(|(_, attempts)| {
        let again = &attempts[..attempts.len().saturating_sub(1)];
        let mut deciding = failures(again).map(|failed| deciding_retrier(&plan.retriers, failed));
        let first = deciding.next();
        deciding.any(|other| Some(other) != first)
    });
    into.mark("retriers", by_several);
    mark_end(into, workflow, node, end);
    mark_region(into, workflow, asked, verdict, node);
    into.mark("out of reach", {
        *end == End::Fatal && asked.trace.of_node(node).next().is_none()
    });
    if matches!(end, End::Skipped | End::Fatal | End::Open) {
        return;
    }
    let borne = |edge: FlowEdge| {
        let from = workflow.nodes[edge.node as usize].region;
        let inward = !workflow.holds(plan.region, from);
        inward
            && match &verdict.nodes[edge.node as usize].end {
                End::Tolerated(_) => true,
                End::Items(of) => of.tolerated.is_some(),
                _ => false,
            }
    };
    let ran = asked.trace.of_node(node).next().is_some();
    let borne = workflow.flow_edges(node).into_iter().any(borne);
    into.mark("borne inward", ran && borne && plan.join != Join::All);
    mark_outward(into, workflow, verdict, plan);
    mark_delays(into, asked, node, plan);
    if let Join::AtLeast(needed) = plan.join {
        let some = workflow.flow_edges(node).len() > needed as usize;
        into.mark("any", some && needed == 1);
        into.mark("at_least", some && needed > 1);
    }
    let attempts = asked.trace.of_node(node).flat_map(|(_, these)| these);
    let mut seen = attempts.flat_map(|attempt| &attempt.seen);
    into.mark(
        "absent entry",
        seen.any(|datum| match datum {
            Datum::List(items) => items.contains(&None),
            Datum::One(_) | Datum::Absent => false,
        }),
    );
    if let Work::Compute(formulas) = &plan.work {
        let range = |formula: &Formula| matches!(formula, Formula::Range { .. });
        into.mark("compute", true);
        into.mark("range", formulas.iter().any(range));
    }
    mark_evaluated(into, workflow, asked, node, plan);
    let absent = |input: &InputPlan| {
        let place = plan.inputs.iter().position(|one| one.name == input.name);
        let attempts = asked.trace.of_node(node).flat_map(|(_, these)| these);
        let seen = |place: usize| attempts.map(move |attempt| &attempt.seen[place]);
        place.is_some_and(|place| seen(place).any(|datum| *datum == Datum::Absent))
    };
    into.mark("optional", plan.inputs.iter().any(absent));
    let sources = plan.inputs.iter().flat_map(|input| &input.sources);
    // That it chose, and not only could: what is listed first had nothing.
    let dead = |source: &Source| match *source {
        Source::Output { node, .. } | Source::First { node, .. } => {
            !verdict.nodes[node as usize].end.is_well()
        }
        Source::Input(_) | Source::Item { .. } | Source::Constant(_) => false,
    };
    let mut inputs = plan.inputs.iter();
    let chose = inputs.any(|input| input.sources.len() > 1 && dead(&input.sources[0]));
    into.mark("first_of", chose);
    for source in sources {
        match *source {
            Source::Constant(_) => into.mark("constant", true),
            Source::Input(number) => {
                let left_out = asked.inputs[usize::from(number)].is_none();
                let input = &workflow.inputs[usize::from(number)];
                into.mark("default", left_out && input.default.is_some());
            }
            Source::Output { node, output } | Source::First { node, output } => {
                let error = workflow.nodes[node as usize].error_output == Some(output);
                let caught = verdict.nodes[node as usize].end.is_caught();
                into.mark("error read", error && caught);
            }
            Source::Item { .. } => {}
        }
    }
}

/// Lists that the lane has read for a node: for what it computes or chooses, or for its delays.
fn mark_evaluated(
    into: &mut Constructs,
    workflow: &Workflow,
    asked: &Asked,
    node: NodeId,
    plan: &NodePlan,
) {
    let mut read: Vec<(&InputPlan, &Datum)> = Vec::new();
    if let Work::Compute(_) | Work::Switch { .. } = plan.work {
        let attempts = asked.trace.of_node(node).flat_map(|(_, these)| these);
        read.extend(attempts.flat_map(|attempt| plan.inputs.iter().zip(&attempt.seen)));
    }
    let of_node = (node, Vec::new())..(node + 1, Vec::new());
    let delays = asked.trace.delays.range(of_node);
    let of_delays = || plan.delay_expressions().flat_map(|delay| &delay.inputs);
    read.extend(delays.flat_map(|(_, delayed)| of_delays().zip(&delayed.seen)));
    let is_batch = |source: &Source| match *source {
        Source::Item { up } => {
            let region = workflow.around(plan.region, up);
            region.is_some_and(|region| workflow.regions[usize::from(region)].batch.is_some())
        }
        Source::Input(_) | Source::Output { .. } | Source::First { .. } | Source::Constant(_) => {
            false
        }
    };
    for (input, _) in read
        .iter()
        .filter(|(_, datum)| matches!(datum, Datum::List(_)))
    {
        into.mark("list evaluated", true);
        into.mark("batch evaluated", input.sources.iter().any(is_batch));
    }
}

fn mark_delays(into: &mut Constructs, asked: &Asked, node: NodeId, plan: &NodePlan) {
    let answers = asked
        .trace
        .delays
        .range((node, Vec::new())..(node + 1, Vec::new()));
    let answers = answers.filter_map(|(_, delayed)| delayed.answer.as_ref());
    let waits: Vec<Option<u64>> = answers.map(|answer| answer.waits_ns).collect();
    let waited = waits.iter().any(|waits| *waits > Some(0));
    let has = |kind: fn(&Delay) -> bool| plan.delays.iter().any(kind);
    into.mark("delay", has(|delay| matches!(delay, Delay::Fixed(1..))));
    let computed = has(|delay| matches!(delay, Delay::Computed(_)));
    into.mark("computed delay", waited && computed);
    let until = has(|delay| matches!(delay, Delay::Until(_)));
    into.mark("delay until", waited && until);
    into.mark("delays in turn", waited && plan.delays.len() > 1);
}

fn mark_whole(into: &mut Constructs, workflow: &Workflow, asked: &Asked, verdict: &Verdict) {
    into.mark("failed delay", asked.trace.failed_delays().next().is_some());
    into.mark("late edge", verdict.late.0 > 0);
    let attempts = || asked.trace.activations.values().flatten();
    into.mark("retry", attempts().any(|attempt| attempt.number > 1));
    into.mark(
        "timeout",
        attempts().any(|attempt| {
            matches!(
                attempt.ended,
                Some((_, Ending::Failed(ErrorClass::Timeout, _)))
            )
        }),
    );
    let failure = match &asked.result {
        Some(Err(failure)) => Some(failure),
        _ => None,
    };
    let timed_out = matches!(failure, Some(Failure::Timeout { .. }));
    into.mark("workflow timeout", timed_out);
    let missing = matches!(failure, Some(Failure::Absent { .. }));
    into.mark("missing output", missing);
    let unfinished = verdict.nodes.iter().any(|node| node.end == End::Open);
    into.mark("cancel", asked.outcome == Outcome::Cancelled && unfinished);
    into.mark("work left", asked.outcome == Outcome::Failed && unfinished);
    if let Some(Ok(outputs)) = &asked.result {
        into.mark("optional output", outputs.len() < workflow.outputs.len());
    }
}
