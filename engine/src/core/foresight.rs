//! What an executor's current activation will start when it ends well, said while it still runs.
//!
//! Between the end of an activation and the start of its successor stands the core. Most of what it has to decide does not
//! depend on how the activation ends, only on that it ends well: so the lane asks beforehand, prepares the request, and
//! hands it over as soon as the completion is there; the core's bookkeeping follows while the successor already runs.
//! Nothing is decided here: [`Core::completed`] must order the very same [`Start`] afterwards, and the lane holds it
//! to that. What is foreseen is void as soon as any other event reaches the core, which [`Core::revision`] tells.

use super::invocation::{Invocation, Phase, Read};
use super::outcome::When;
use super::pool::{Executor, ExecutorId, Running};
use super::program::{InputFrom, LocalNode, OutputPlan, Program};
use super::{Core, Start};
use faasstore::descriptor::PayloadRef;

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
    /// Of the first eight of them, a bit for each that is a value.
    pub values: u8,
    /// What will be ordered first when it ends well, if that can be said.
    pub start: Option<Start>,
}

impl Core {
    /// Counts what may have changed what comes next: what was foreseen at one count is void at another.
    #[inline]
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What this executor runs, and what [`Core::completed`] will order first if it is called next, for that; `each`
    /// gets the inputs of that start. None if it runs nothing, or something whose outputs are out of the ordinary.
    pub fn foresee(&self, id: ExecutorId, each: impl FnMut(ForeseenInput)) -> Option<Foreseen> {
        let executor = self.executors.get(id.0 as usize)?.as_ref()?;
        let running = executor.running?;
        let invocation = &self.invocations[running.place as usize];
        if invocation.phase != Phase::Running {
            return None;
        }
        let program = self.program(invocation.deployment);
        let node = &program.nodes[running.node as usize];
        if node.lists {
            return None;
        }
        Some(Foreseen {
            activation: executor.activation,
            outputs: program.outputs(node).len(),
            values: node.values,
            start: self.foresee_start(id, executor, running, each),
        })
    }

    /// None if nothing will start, or it cannot be said yet, or it depends on the time.
    fn foresee_start(
        &self,
        id: ExecutorId,
        executor: &Executor,
        running: Running,
        mut each: impl FnMut(ForeseenInput),
    ) -> Option<Start> {
        let invocation = &self.invocations[running.place as usize];
        let program = self.program(invocation.deployment);
        let node = &program.nodes[running.node as usize];
        let deployment = self.deployments[executor.deployment as usize].as_ref()?;
        let pool = &deployment.pools[usize::from(executor.pool)];
        let mut start = Start {
            executor: id,
            activation: executor.next_activation(),
            place: running.place,
            node: running.node,
            item: invocation.item,
            attempt: 1,
            deadline_ns: None,
        };
        if let Some(waiting) = pool.waiting.front() {
            // What waits for this executor comes before what its end makes ready.
            if !self.is_current(waiting.place, waiting.generation) {
                return None;
            }
            start.place = waiting.place;
            (start.node, start.attempt) = (waiting.node, waiting.attempt);
            let invocation = &self.invocations[start.place as usize];
            start.item = invocation.item;
            let program = self.program(invocation.deployment);
            self.foreseen_inputs(program, &start, &[], &mut each)?;
        } else {
            start.node = next_ready(invocation, program, running.node)?;
            let successor = &program.nodes[start.node as usize];
            if successor.pool != executor.pool {
                let pool = &deployment.pools[usize::from(successor.pool)];
                start.executor = *pool.idle.last()?;
                let other = self.executors[start.executor.0 as usize].as_ref()?;
                start.activation = other.next_activation();
            }
            self.foreseen_inputs(program, &start, program.outputs(node), &mut each)?;
        }
        Some(start)
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
        let node = &program.nodes[start.node as usize];
        if node.timeout_ms != 0 {
            return None;
        }
        for (index, input) in program.inputs(node).iter().enumerate() {
            if let InputFrom::Slot(slot) = input.from
                && let Some(output) = awaited.iter().position(|output| output.slot == Some(slot))
            {
                each(ForeseenInput::Output(u8::try_from(output).ok()?));
                continue;
            }
            match self.input(start.place, program, start.node, index) {
                Read::Absent => each(ForeseenInput::Known(PayloadRef::ABSENT)),
                Read::One(payload) => each(ForeseenInput::Known(self.leases.locate(payload))),
                Read::List(_) => return None,
            }
        }
        Some(())
    }
}

/// The first successor that waits for this node alone, if that is sure to run then, and nothing out of the ordinary comes
/// before it.
fn next_ready(invocation: &Invocation, program: &Program, node: LocalNode) -> Option<LocalNode> {
    let successors = program.successors(&program.nodes[node as usize]);
    // Edges to one successor lie beside each other: it may wait for several ends of the same node.
    for edges in successors.chunk_by(|one, other| one.node == other.node) {
        let (edge, count) = (edges[0], edges.len() as u32);
        let (state, node) = (
            invocation.node(edge.node),
            &program.nodes[edge.node as usize],
        );
        if state.waiting == count || node.at_least > 0 {
            let alone = count == 1 && edge.when == When::Well;
            let runs = alone && node.sure && state.live + 1 == node.flow;
            return runs.then_some(edge.node);
        }
    }
    None
}
