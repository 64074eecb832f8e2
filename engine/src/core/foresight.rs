//! What an executor's current activation will start when it ends well, said while it still runs.
//!
//! Between the end of an activation and the start of its successor stands the core. Most of what it has to decide does not
//! depend on how the activation ends, only on that it ends well: so the lane asks beforehand, prepares the request, and
//! hands it over as soon as the completion is there; the core's bookkeeping follows while the successor already runs.
//! A switch that comes next is foreseen case by case: the lane evaluates it at once when the values that it reads are there,
//! and hands over what was prepared for the case that it chooses.
//!
//! Nothing is decided here: [`Core::completed`] must order the very same [`Start`] afterwards, and the lane holds it
//! to that. What is foreseen is void as soon as any other event reaches the core, which [`Core::revision`] tells.

use super::evaluate::{Evaluate, Part};
use super::invocation::{Invocation, Place, Read};
use super::outcome::{Outcome, When};
use super::pool::{Executor, ExecutorId, Running};
use super::program::{Edge, InputFrom, LocalNode, NO_SCOPE, OutputPlan, Program, Runner};
use super::{Core, Start};
use faasstore::descriptor::PayloadRef;

/// Edges that leave a node or a switch, at most: behind more of them nothing is foreseen. It is done again after each event
/// of the lane, whichever invocation it is of.
const SUCCESSORS_MAX: usize = 32;

/// An input of a foreseen activation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForeseenInput {
    /// Where it lies is known.
    Known(PayloadRef),
    /// It is this output of the activation that still runs.
    Output(u8),
}

/// See [`Core::foresee`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Foreseen {
    /// The activation that runs.
    pub activation: u32,
    /// How many outputs it declares; none of them is a list.
    pub outputs: usize,
    /// What will be ordered first when it ends well, if that can be said.
    pub next: Option<Next>,
}

/// What will be ordered first. See [`Core::foresee`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Another activation.
    Start(Start),
    /// An evaluation, and no start before it. If it is of a switch, [`Core::foresee_case`] tells what follows.
    Evaluate(Evaluate),
}

impl Core {
    /// Counts what may have changed what comes next: what was foreseen at one count is void at another.
    #[inline]
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What this executor runs, and what [`Core::completed`] will order first if it is called next, for that; `each`
    /// gets the inputs of what is ordered. None if it runs nothing, or something whose outputs are out of the ordinary.
    pub fn foresee(&self, id: ExecutorId, each: impl FnMut(ForeseenInput)) -> Option<Foreseen> {
        let (executor, running) = self.under_way(id)?;
        let program = self.program_of(running.place);
        let node = &program.nodes[running.node as usize];
        if node.lists {
            return None;
        }
        Some(Foreseen {
            activation: executor.activation,
            outputs: program.outputs(node).len(),
            next: if self.is_pressed(executor.deployment) {
                None
            } else {
                self.foresee_next(id, executor, running, each)
            },
        })
    }

    /// What [`Core::evaluated`] will order first if it is told that the switch which [`Core::foresee`] has foreseen for this
    /// executor chooses this case; `each` gets the inputs of that start. None if nothing will start, or it cannot be said.
    pub fn foresee_case(
        &self,
        id: ExecutorId,
        evaluate: &Evaluate,
        case: u16,
        mut each: impl FnMut(ForeseenInput),
    ) -> Option<Start> {
        let (executor, running) = self.under_way(id)?;
        if self.is_pressed(executor.deployment) {
            return None;
        }
        let invocation = &self.invocations[running.place as usize];
        let program = self.program_of(running.place);
        let (node, switch) = (running.node, evaluate.ticket.node);
        let node = next_of_case(invocation, program, node, switch, case)?;
        let start = self.foreseen_start(id, executor, running.place, node)?;
        let awaited = program.outputs(&program.nodes[running.node as usize]);
        self.foreseen_inputs(program, &start, awaited, &mut each)?;
        Some(start)
    }

    /// What an executor runs, if its invocation goes on.
    fn under_way(&self, id: ExecutorId) -> Option<(&Executor, Running)> {
        let executor = self.executors.get(id.0 as usize)?.as_ref()?;
        // What is overdue has failed however it ends, and one that is replaced starts nothing more.
        let goes_on = !executor.overdue && !executor.replaced;
        let running = executor.running.filter(|_| goes_on)?;
        self.is_running(running.place)
            .then_some((executor, running))
    }

    /// None if nothing will be ordered, or it cannot be said yet, or it depends on the time.
    fn foresee_next(
        &self,
        id: ExecutorId,
        executor: &Executor,
        running: Running,
        mut each: impl FnMut(ForeseenInput),
    ) -> Option<Next> {
        let deployment = self.deployments[executor.deployment as usize].as_ref()?;
        let pool = &deployment.pools[usize::from(executor.pool)];
        if let Some(waiting) = pool.waiting.front() {
            // What waits for this executor comes before what its end makes ready.
            if !self.is_current(waiting.place, waiting.generation) {
                return None;
            }
            let mut start = self.foreseen_start(id, executor, waiting.place, waiting.node)?;
            start.attempt = waiting.attempt;
            let program = self.program_of(waiting.place);
            self.foreseen_inputs(program, &start, &[], &mut each)?;
            return Some(Next::Start(start));
        }
        let Running { place, node, .. } = running;
        let invocation = &self.invocations[place as usize];
        let program = self.program_of(place);
        let next = next_ready(invocation, program, node)?;
        let awaited = program.outputs(&program.nodes[node as usize]);
        if program.nodes[next as usize].runner == Runner::Lane {
            self.foreseen_reads(program, place, next, awaited, &mut each)?;
            let evaluate = self.evaluation(place, next, Part::Work);
            return Some(Next::Evaluate(evaluate));
        }
        let start = self.foreseen_start(id, executor, place, next)?;
        self.foreseen_inputs(program, &start, awaited, &mut each)?;
        Some(Next::Start(start))
    }

    /// The start of a node once this executor has ended what it runs, and nothing else has been started since. None if no
    /// executor is free for it then.
    fn foreseen_start(
        &self,
        id: ExecutorId,
        executor: &Executor,
        place: Place,
        node: LocalNode,
    ) -> Option<Start> {
        let pool = self.program_of(place).nodes[node as usize].pool;
        let (executor, activation) = if pool == executor.pool {
            (id, executor.next_activation())
        } else {
            let deployment = self.deployments[executor.deployment as usize].as_ref()?;
            let other = *deployment.pools[usize::from(pool)].idle.last()?;
            let executor = self.executors[other.0 as usize].as_ref()?;
            (other, executor.next_activation())
        };
        Some(Start {
            executor,
            activation,
            place,
            node,
            item: self.invocations[place as usize].item,
            attempt: 1,
            deadline_ns: None,
        })
    }

    /// The inputs of a start, of which those in `awaited` are still to be written. None if one is a list, or if the node
    /// has a timeout.
    fn foreseen_inputs(
        &self,
        program: &Program,
        start: &Start,
        awaited: &[OutputPlan],
        each: &mut impl FnMut(ForeseenInput),
    ) -> Option<()> {
        if program.nodes[start.node as usize].timeout_ms != 0 {
            return None;
        }
        self.foreseen_reads(program, start.place, start.node, awaited, each)
    }

    fn foreseen_reads(
        &self,
        program: &Program,
        place: Place,
        index: LocalNode,
        awaited: &[OutputPlan],
        each: &mut impl FnMut(ForeseenInput),
    ) -> Option<()> {
        let node = &program.nodes[index as usize];
        for (input_index, input) in program.inputs(node).iter().enumerate() {
            if let InputFrom::Slot(slot) = input.from
                && let Some(output) = awaited.iter().position(|output| output.slot == Some(slot))
            {
                each(ForeseenInput::Output(u8::try_from(output).ok()?));
                continue;
            }
            match self.input(place, program, index, input_index) {
                Read::Absent => each(ForeseenInput::Known(PayloadRef::ABSENT)),
                Read::One(payload) => each(ForeseenInput::Known(self.leases.locate(payload))),
                Read::List(_) => return None,
            }
        }
        Some(())
    }
}

/// The first successor that waits for this node alone, if that is sure to run then, and nothing out of the ordinary comes
/// before it; what the lane runs, only if nothing comes after it either.
fn next_ready(invocation: &Invocation, program: &Program, node: LocalNode) -> Option<LocalNode> {
    let mut chunks = chunks(program, node)?.filter(|(edge, count)| {
        let node = &program.nodes[edge.node as usize];
        invocation.node(edge.node).waiting == *count || node.at_least > 0
    });
    let (edge, count) = chunks.next()?;
    let (state, node) = (
        invocation.node(edge.node),
        &program.nodes[edge.node as usize],
    );
    let alone = count == 1 && edge.when == When::Well;
    let runs = alone && node.sure && !node.gated && state.live + 1 == node.flow;
    let comes_next = node.runner == Runner::Executor || chunks.next().is_none();
    (runs && comes_next).then_some(edge.node)
}

/// Edges to one successor lie beside each other, since it may wait for several ends of the same node: the first of each,
/// and how many there are. None if there are too many to be looked at ahead.
fn chunks(program: &Program, node: LocalNode) -> Option<impl Iterator<Item = (Edge, u32)>> {
    let chunks = few_successors(program, node)?.chunk_by(|one, other| one.node == other.node);
    Some(chunks.map(|edges| (edges[0], edges.len() as u32)))
}

fn few_successors(program: &Program, node: LocalNode) -> Option<&[Edge]> {
    let successors = program.successors(&program.nodes[node as usize]);
    (successors.len() <= SUCCESSORS_MAX).then_some(successors)
}

/// The first node that runs when `node` has ended well and `switch`, which waits for it alone, has chosen this case, if that
/// is sure, and nothing out of the ordinary comes before it.
fn next_of_case(
    invocation: &Invocation,
    program: &Program,
    node: LocalNode,
    switch: LocalNode,
    case: u16,
) -> Option<LocalNode> {
    let before = few_successors(program, node)?;
    let chose = Outcome::Chose(case);
    for edges in few_successors(program, switch)?.chunk_by(|one, other| one.node == other.node) {
        let index = edges[0].node;
        let (state, target) = (invocation.node(index), &program.nodes[index as usize]);
        let (mut decided, mut live, mut let_in) = (0, state.live, state.gate_live);
        let earlier = before.iter().filter(|edge| edge.node == index);
        let earlier = earlier.map(|edge| (edge.when, Outcome::Well));
        for (when, outcome) in earlier.chain(edges.iter().map(|edge| (edge.when, chose))) {
            decided += 1;
            match (when.is_gate(), when.holds(outcome)) {
                (true, holds) => let_in |= holds,
                (false, holds) => live += u32::from(holds),
            }
        }
        let waits = state.waiting > decided;
        let skipped = !waits && target.region == NO_SCOPE && target.gated && !let_in;
        // What is skipped is seen to later.
        if target.at_least == 0 && (waits || skipped) {
            continue;
        }
        let runs = target.sure && target.runner == Runner::Executor && live == target.flow;
        return runs.then_some(index);
    }
    None
}
