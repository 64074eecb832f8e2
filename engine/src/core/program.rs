//! A plan, compiled to what the core steps through: dense local numbers in place of names and deployment-wide ones.
//!
//! Every payload that this worker may hold in an invocation has a *slot*: inputs of the workflow, outputs of local nodes
//! that somebody reads, and outputs of remote nodes that local ones read. A slot knows how many reads it owes before
//! its payload can be let go of.

use crate::plan::{NodeId, Plan, Retry, Source, Work, WorkerIndex};
use faasstore::binding::Kind;
use rustc_hash::{FxHashMap, FxHashSet};

/// Number of a local node in [`Program::nodes`].
pub(crate) type LocalNode = u32;
/// Number of a slot in an invocation's payloads.
pub(crate) type SlotIndex = u32;

/// Where a node's input comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum InputFrom {
    Slot(SlotIndex),
    Item,
}

/// Who wrote a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Producer {
    Input,
    Local(LocalNode),
    Remote { place: u32 },
}

#[derive(Debug)]
pub(crate) struct SlotPlan {
    /// Reads by local nodes, plus one if it is an output of the workflow that this worker has to hand over.
    pub(crate) uses: u32,
    pub(crate) producer: Producer,
}

#[derive(Debug)]
pub(crate) struct RemoteRead {
    pub(crate) worker: WorkerIndex,
    pub(crate) outputs: Vec<u16>,
}

/// What of a node is needed whenever it runs, in one cache line. Its lists lie in the program's, one node's after the
/// other's, so that a step through a large workflow touches few lines.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) pool: u16,
    /// Whether an output is a list.
    pub(crate) lists: bool,
    /// Of the first eight outputs, a bit for each that is a value.
    pub(crate) values: u8,
    /// Whether other workers read its outputs or wait for it.
    pub(crate) told: bool,
    /// Distinct nodes that must have ended first, local and remote.
    pub(crate) predecessors: u32,
    pub(crate) foreach: Option<SlotIndex>,
    pub(crate) timeout_ns: Option<u64>,
    inputs: Span,
    outputs: Span,
    successors: Span,
}

const _: () = assert!(size_of::<Node>() == 64);

/// What of a node is seldom needed.
#[derive(Debug)]
pub(crate) struct Details {
    pub(crate) name: String,
    pub(crate) retry: Retry,
    pub(crate) remote: Vec<RemoteRead>,
}

/// An output of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputPlan {
    pub(crate) kind: Kind,
    /// If anybody here reads it or it is to be sent.
    pub(crate) slot: Option<SlotIndex>,
}

/// Part of one of the program's lists.
#[derive(Clone, Copy, Default, Debug)]
struct Span {
    start: u32,
    length: u32,
}

impl Span {
    /// Appends to a list; what was appended.
    fn append<T>(list: &mut Vec<T>, items: impl IntoIterator<Item = T>) -> Self {
        let start = list.len() as u32;
        list.extend(items);
        Self {
            start,
            length: list.len() as u32 - start,
        }
    }

    #[inline]
    fn of<T>(self, list: &[T]) -> &[T] {
        &list[self.start as usize..][..self.length as usize]
    }
}

/// What a remote node's end means here.
#[derive(Debug)]
pub(crate) struct RemoteProducer {
    pub(crate) name: String,
    pub(crate) successors: Vec<LocalNode>,
    /// By output number.
    pub(crate) slots: FxHashMap<u16, SlotIndex>,
}

/// An output of the workflow that this worker hands over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputFrom {
    pub(crate) output: u16,
    pub(crate) slot: SlotIndex,
}

#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) plan: Plan,
    pub(crate) nodes: Vec<Node>,
    /// By local node.
    pub(crate) details: Vec<Details>,
    inputs: Vec<InputFrom>,
    outputs: Vec<OutputPlan>,
    successors: Vec<LocalNode>,
    pub(crate) roots: Vec<LocalNode>,
    pub(crate) slots: Vec<SlotPlan>,
    /// By workflow input: its slot, if read here.
    pub(crate) input_slots: Vec<Option<SlotIndex>>,
    pub(crate) remote: Vec<RemoteProducer>,
    remote_by_id: FxHashMap<NodeId, u32>,
    /// Outputs of the workflow that local nodes make.
    pub(crate) outputs_here: Vec<OutputFrom>,
    /// Workers other than this one that take part.
    pub(crate) others: Vec<WorkerIndex>,
    /// Whether anything in it needs the time.
    pub(crate) timed: bool,
}

impl Program {
    /// Where a node's inputs come from, in its order.
    #[inline]
    pub(crate) fn inputs(&self, node: &Node) -> &[InputFrom] {
        node.inputs.of(&self.inputs)
    }

    /// A node's outputs, in its order.
    #[inline]
    pub(crate) fn outputs(&self, node: &Node) -> &[OutputPlan] {
        node.outputs.of(&self.outputs)
    }

    /// The local nodes that wait for a node.
    #[inline]
    pub(crate) fn successors(&self, node: &Node) -> &[LocalNode] {
        node.successors.of(&self.successors)
    }

    pub(crate) fn name(&self, node: LocalNode) -> &str {
        &self.details[node as usize].name
    }

    pub(crate) fn remote_producer(&self, id: NodeId) -> Option<(u32, &RemoteProducer)> {
        let place = *self.remote_by_id.get(&id)?;
        Some((place, &self.remote[place as usize]))
    }

    pub(crate) fn has_part(&self) -> bool {
        !self.nodes.is_empty()
    }

    pub(crate) fn worker_name(&self, worker: WorkerIndex) -> &str {
        &self.plan.workers[usize::from(worker)].name
    }

    pub(crate) fn my_name(&self) -> &str {
        self.worker_name(self.plan.me)
    }

    /// Compiles a plan that `worker::plan_check` has found whole.
    ///
    /// # Panics
    /// On a plan that was not checked.
    pub(crate) fn compile(plan: Plan) -> Self {
        let mut slots = Slots::new(&plan);
        let local_of: FxHashMap<NodeId, LocalNode> = plan
            .nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (node.id, index as u32))
            .collect();
        let nodes: Vec<Node> = plan
            .nodes
            .iter()
            .enumerate()
            .map(|(index, _)| slots.node(&plan, index, &local_of))
            .collect();
        let outputs_here = slots.outputs_here(&plan, &local_of);
        let mut program = Self {
            roots: nodes
                .iter()
                .enumerate()
                .filter(|(_, n)| n.predecessors == 0)
                .map(|(i, _)| i as u32)
                .collect(),
            slots: slots.plans,
            input_slots: slots.inputs,
            remote: plan
                .remote_nodes
                .iter()
                .map(|r| RemoteProducer {
                    name: r.name.clone(),
                    successors: Vec::new(),
                    slots: FxHashMap::default(),
                })
                .collect(),
            remote_by_id: slots.remote_by_id,
            outputs_here,
            others: plan
                .participants
                .iter()
                .map(|p| p.worker)
                .filter(|w| *w != plan.me)
                .collect(),
            timed: plan.nodes.iter().any(|n| n.timeout_ms.is_some()),
            details: plan.nodes.iter().map(details).collect(),
            inputs: slots.node_inputs,
            outputs: slots.node_outputs,
            successors: Vec::new(),
            nodes,
            plan,
        };
        for ((id, output), slot) in slots.remote_slots {
            let place = program.remote_by_id[&id];
            program.remote[place as usize].slots.insert(output, slot);
        }
        program.connect(&local_of);
        program
    }

    fn connect(&mut self, local_of: &FxHashMap<NodeId, LocalNode>) {
        let mut successors = vec![Vec::new(); self.nodes.len()];
        for index in 0..self.plan.nodes.len() {
            for id in predecessors_of(&self.plan, index) {
                if let Some(local) = local_of.get(&id) {
                    successors[*local as usize].push(index as u32);
                } else {
                    let place = self.remote_by_id[&id];
                    self.remote[place as usize].successors.push(index as u32);
                }
            }
        }
        for (node, successors) in self.nodes.iter_mut().zip(successors) {
            node.successors = Span::append(&mut self.successors, successors);
        }
    }
}

/// Distinct predecessors of a local node, by rising number.
fn predecessors_of(plan: &Plan, index: usize) -> Vec<NodeId> {
    let node = &plan.nodes[index];
    let sources = node
        .inputs
        .iter()
        .map(|input| input.sources[0])
        .chain(node.foreach);
    let mut ids: Vec<NodeId> = sources
        .filter_map(|source| match source {
            Source::Output { node, .. } => Some(node),
            Source::Input(_) | Source::Item | Source::Constant(_) => None,
        })
        .chain(node.after.iter().copied())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn details(node: &crate::plan::NodePlan) -> Details {
    Details {
        name: node.name.clone(),
        retry: node.retry.clone(),
        remote: node
            .remote_consumers
            .iter()
            .map(|r| RemoteRead {
                worker: r.worker,
                outputs: r.outputs.clone(),
            })
            .collect(),
    }
}

/// Hands out slots while a plan is compiled.
struct Slots {
    node_inputs: Vec<InputFrom>,
    node_outputs: Vec<OutputPlan>,
    plans: Vec<SlotPlan>,
    inputs: Vec<Option<SlotIndex>>,
    local: FxHashMap<(NodeId, u16), SlotIndex>,
    remote_slots: FxHashMap<(NodeId, u16), SlotIndex>,
    remote_by_id: FxHashMap<NodeId, u32>,
    /// Outputs that somebody reads, here or elsewhere; the others get no slot.
    wanted: FxHashSet<(NodeId, u16)>,
}

impl Slots {
    fn new(plan: &Plan) -> Self {
        let read = plan
            .nodes
            .iter()
            .flat_map(|n| n.inputs.iter().map(|i| i.sources[0]).chain(n.foreach));
        let wanted = read
            .chain(plan.outputs.iter().map(|o| o.sources[0].source))
            .filter_map(|source| match source {
                Source::Output { node, output } => Some((node, output)),
                Source::Input(_) | Source::Item | Source::Constant(_) => None,
            })
            .chain(plan.nodes.iter().flat_map(|n| {
                n.remote_consumers
                    .iter()
                    .flat_map(|r| r.outputs.iter().map(|output| (n.id, *output)))
            }))
            .collect();
        Self {
            wanted,
            node_inputs: Vec::new(),
            node_outputs: Vec::new(),
            plans: Vec::new(),
            inputs: vec![None; plan.inputs.len()],
            local: FxHashMap::default(),
            remote_slots: FxHashMap::default(),
            remote_by_id: plan
                .remote_nodes
                .iter()
                .enumerate()
                .map(|(i, r)| (r.id, i as u32))
                .collect(),
        }
    }

    fn open(&mut self, producer: Producer) -> SlotIndex {
        self.plans.push(SlotPlan { uses: 0, producer });
        (self.plans.len() - 1) as u32
    }

    /// The slot of a source that something reads once more.
    fn read(
        &mut self,
        source: Source,
        local_of: &FxHashMap<NodeId, LocalNode>,
    ) -> Option<SlotIndex> {
        let slot = match source {
            Source::Item | Source::Constant(_) => return None,
            Source::Input(input) => match self.inputs[usize::from(input)] {
                Some(slot) => slot,
                None => {
                    let slot = self.open(Producer::Input);
                    self.inputs[usize::from(input)] = Some(slot);
                    slot
                }
            },
            Source::Output { node, output } => self.output(node, output, local_of),
        };
        self.plans[slot as usize].uses += 1;
        Some(slot)
    }

    fn output(
        &mut self,
        node: NodeId,
        output: u16,
        local_of: &FxHashMap<NodeId, LocalNode>,
    ) -> SlotIndex {
        if let Some(local) = local_of.get(&node) {
            if let Some(slot) = self.local.get(&(node, output)) {
                return *slot;
            }
            let slot = self.open(Producer::Local(*local));
            self.local.insert((node, output), slot);
            return slot;
        }
        if let Some(slot) = self.remote_slots.get(&(node, output)) {
            return *slot;
        }
        let place = self.remote_by_id[&node];
        let slot = self.open(Producer::Remote { place });
        self.remote_slots.insert((node, output), slot);
        slot
    }

    fn node(&mut self, plan: &Plan, index: usize, local_of: &FxHashMap<NodeId, LocalNode>) -> Node {
        let node = &plan.nodes[index];
        let foreach = node.foreach.and_then(|source| self.read(source, local_of));
        let inputs: Vec<InputFrom> = node
            .inputs
            .iter()
            .map(|input| {
                self.read(input.sources[0], local_of)
                    .map_or(InputFrom::Item, InputFrom::Slot)
            })
            .collect();
        let outputs: Vec<OutputPlan> = (0..)
            .zip(&node.outputs)
            .map(|(output, declared)| OutputPlan {
                kind: declared.kind,
                slot: self
                    .wanted
                    .contains(&(node.id, output))
                    .then(|| self.output(node.id, output, local_of)),
            })
            .collect();
        Node {
            id: node.id,
            pool: match node.work {
                Work::Function { executable, .. } => executable,
                _ => 0,
            },
            lists: node.outputs.iter().any(|output| is_list(output.kind)),
            values: (0..8).zip(&node.outputs).fold(0, |values, (bit, output)| {
                values | u8::from(output.kind == Kind::Value) << bit
            }),
            told: !node.remote_consumers.is_empty(),
            predecessors: predecessors_of(plan, index).len() as u32,
            foreach,
            timeout_ns: node.timeout_ms.map(|ms| u64::from(ms) * 1_000_000),
            inputs: Span::append(&mut self.node_inputs, inputs),
            outputs: Span::append(&mut self.node_outputs, outputs),
            successors: Span::default(),
        }
    }

    fn outputs_here(
        &mut self,
        plan: &Plan,
        local_of: &FxHashMap<NodeId, LocalNode>,
    ) -> Vec<OutputFrom> {
        let mut here = Vec::new();
        for (index, output) in plan.outputs.iter().enumerate() {
            let Source::Output { node, .. } = output.sources[0].source else {
                continue;
            };
            if local_of.contains_key(&node)
                && let Some(slot) = self.read(output.sources[0].source, local_of)
            {
                here.push(OutputFrom {
                    output: index as u16,
                    slot,
                });
            }
        }
        here
    }
}

/// Whether the kind is a list.
pub(crate) const fn is_list(kind: Kind) -> bool {
    matches!(kind, Kind::List)
}
