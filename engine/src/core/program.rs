//! A plan, compiled to what the core steps through: dense local numbers in place of names and deployment-wide ones.
//!
//! Every payload that this worker may hold in an invocation has a *slot*: inputs of the workflow, outputs of local nodes
//! that somebody reads, and outputs of remote nodes that local ones read. A slot knows how many reads it owes before
//! its payload can be let go of.

use super::outcome::When;
use crate::plan::{ErrorMatch, FlowEdge};
use crate::plan::{Gate, Join, NodeId, NodePlan, Plan, Retry, Source, Work, WorkerIndex};
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
    Constant(u16),
    /// The first of these that is there.
    FirstOf(Span),
    /// Nowhere, of an input that was not there when its node started.
    Absent,
}

/// An input of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputRead {
    pub(crate) from: InputFrom,
    /// Whether the node runs without it.
    pub(crate) optional: bool,
}

/// The list of a foreach node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ListFrom {
    Slot(SlotIndex),
    Constant(u16),
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

/// Who runs a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Runner {
    /// An executor.
    Executor,
    /// The lane: a switch, or what is computed.
    Lane,
    /// Nobody: it ends when it starts.
    Nobody,
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
    pub(crate) runner: Runner,
    /// Whether it is an ordinary function that starts once all its edges are live, without delay or alternatives.
    pub(crate) plain: bool,
    /// Whether it waits once it could start.
    pub(crate) delayed: bool,
    /// In-edges that are gates.
    pub(crate) gates: u16,
    /// In-edges that are none.
    pub(crate) flow: u32,
    /// How many of these must be live for it to start; 0 if all must be decided instead.
    pub(crate) at_least: u32,
    pub(crate) foreach: Option<ListFrom>,
    /// Longest an attempt may take; 0 without a limit.
    pub(crate) timeout_ms: u32,
    inputs: Span,
    outputs: Span,
    successors: Span,
}

const _: () = assert!(size_of::<Node>() == 64);

impl Node {
    /// All its in-edges.
    #[inline]
    pub(crate) fn edges(&self) -> u32 {
        self.flow + u32::from(self.gates)
    }

    #[inline]
    pub(crate) fn timeout_ns(&self) -> Option<u64> {
        (self.timeout_ms != 0).then(|| u64::from(self.timeout_ms) * 1_000_000)
    }
}

/// What of a node is seldom needed.
#[derive(Debug)]
pub(crate) struct Details {
    pub(crate) name: String,
    pub(crate) retry: Retry,
    pub(crate) remote: Vec<RemoteRead>,
    pub(crate) catches: Vec<Vec<ErrorMatch>>,
    /// Where what failed is written, if anybody reads it.
    pub(crate) error_slot: Option<SlotIndex>,
    pub(crate) tolerated: bool,
    pub(crate) delay_ms: u32,
    /// Items that an activation takes together; 0: one, as it is.
    pub(crate) batch: u32,
    /// Activations at once, at most.
    pub(crate) parallelism: u32,
}

/// An edge to a local node, and when it is live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Edge {
    pub(crate) node: LocalNode,
    pub(crate) when: When,
}

/// An output of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputPlan {
    pub(crate) kind: Kind,
    /// If anybody here reads it or it is to be sent.
    pub(crate) slot: Option<SlotIndex>,
}

/// Part of one of the program's lists.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Span {
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
    pub(crate) successors: Vec<Edge>,
    /// By output number.
    pub(crate) slots: FxHashMap<u16, SlotIndex>,
}

/// Where an output of the workflow may come from that this worker hands over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputFrom {
    /// Its number among all sources of all outputs.
    pub(crate) candidate: u16,
    pub(crate) slot: SlotIndex,
}

#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) plan: Plan,
    pub(crate) nodes: Vec<Node>,
    /// By local node.
    pub(crate) details: Vec<Details>,
    inputs: Vec<InputRead>,
    alternatives: Vec<InputFrom>,
    outputs: Vec<OutputPlan>,
    successors: Vec<Edge>,
    pub(crate) roots: Vec<LocalNode>,
    pub(crate) slots: Vec<SlotPlan>,
    /// By workflow input: its slot, if read here.
    pub(crate) input_slots: Vec<Option<SlotIndex>>,
    pub(crate) remote: Vec<RemoteProducer>,
    remote_by_id: FxHashMap<NodeId, u32>,
    /// Outputs of the workflow that local nodes make.
    pub(crate) outputs_here: Vec<OutputFrom>,
    /// By source of an output of the workflow, all outputs' one after the other: which output it is for.
    pub(crate) candidates: Vec<(u16, Source)>,
    /// Workers other than this one that take part.
    pub(crate) others: Vec<WorkerIndex>,
    /// Whether anything in it needs the time.
    pub(crate) timed: bool,
}

impl Program {
    /// A node's inputs, in its order.
    #[inline]
    pub(crate) fn inputs(&self, node: &Node) -> &[InputRead] {
        node.inputs.of(&self.inputs)
    }

    /// The alternatives of an input.
    pub(crate) fn alternatives(&self, span: Span) -> &[InputFrom] {
        span.of(&self.alternatives)
    }

    /// Calls `each` with every slot that the node reads, as often as it reads it.
    #[inline]
    pub(crate) fn each_slot_read(&self, node: &Node, mut each: impl FnMut(SlotIndex)) {
        if let Some(ListFrom::Slot(slot)) = node.foreach {
            each(slot);
        }
        for input in self.inputs(node) {
            match input.from {
                InputFrom::Slot(slot) => each(slot),
                InputFrom::FirstOf(span) => {
                    for from in self.alternatives(span) {
                        if let InputFrom::Slot(slot) = from {
                            each(*slot);
                        }
                    }
                }
                InputFrom::Item | InputFrom::Constant(_) | InputFrom::Absent => {}
            }
        }
    }

    /// The outputs that the node's function returns, in its order.
    #[inline]
    pub(crate) fn outputs(&self, node: &Node) -> &[OutputPlan] {
        node.outputs.of(&self.outputs)
    }

    /// Where an output of a node lies, what failed included.
    pub(crate) fn output_slot(&self, node: LocalNode, output: u16) -> Option<SlotIndex> {
        match self
            .outputs(&self.nodes[node as usize])
            .get(usize::from(output))
        {
            Some(output) => output.slot,
            None => self.details[node as usize].error_slot,
        }
    }

    /// The edges to local nodes.
    #[inline]
    pub(crate) fn successors(&self, node: &Node) -> &[Edge] {
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
        let nodes: Vec<Node> = plan.nodes.iter().map(|node| slots.node(node)).collect();
        let candidates: Vec<(u16, Source)> = (0..)
            .zip(&plan.outputs)
            .flat_map(|(output, declared)| {
                let sources = declared.sources.iter();
                sources.map(move |from| (output, from.source))
            })
            .collect();
        let outputs_here = slots.outputs_here(&candidates);
        let details = plan.nodes.iter().map(|node| slots.details(node)).collect();
        let has_time = |node: &NodePlan| node.timeout_ms.is_some() || node.delay_ms > 0;
        let Slots {
            node_inputs,
            alternatives,
            node_outputs,
            plans,
            inputs,
            remote_slots,
            remote_by_id,
            local_of,
            errors,
            ..
        } = slots;
        let mut program = Self {
            roots: (0..)
                .zip(&nodes)
                .filter(|(_, node)| node.edges() == 0)
                .map(|(index, _)| index)
                .collect(),
            slots: plans,
            input_slots: inputs,
            remote: plan
                .remote_nodes
                .iter()
                .map(|r| RemoteProducer {
                    name: r.name.clone(),
                    successors: Vec::new(),
                    slots: FxHashMap::default(),
                })
                .collect(),
            remote_by_id,
            outputs_here,
            candidates,
            others: plan
                .participants
                .iter()
                .map(|p| p.worker)
                .filter(|w| *w != plan.me)
                .collect(),
            timed: plan.timeout_ms.is_some() || plan.nodes.iter().any(has_time),
            details,
            inputs: node_inputs,
            alternatives,
            outputs: node_outputs,
            successors: Vec::new(),
            nodes,
            plan,
        };
        for ((id, output), slot) in remote_slots {
            let place = program.remote_by_id[&id];
            program.remote[place as usize].slots.insert(output, slot);
        }
        program.connect(&local_of, &errors);
        program
    }

    fn connect(
        &mut self,
        local_of: &FxHashMap<NodeId, LocalNode>,
        errors: &FxHashMap<NodeId, u16>,
    ) {
        let mut successors = vec![Vec::new(); self.nodes.len()];
        for (node, planned) in (0..).zip(&self.plan.nodes) {
            for (id, when) in edges_of(planned, errors) {
                let edge = Edge { node, when };
                if let Some(local) = local_of.get(&id) {
                    successors[*local as usize].push(edge);
                } else {
                    let place = self.remote_by_id[&id];
                    self.remote[place as usize].successors.push(edge);
                }
            }
        }
        for (node, successors) in self.nodes.iter_mut().zip(successors) {
            node.successors = Span::append(&mut self.successors, successors);
        }
    }
}

/// The in-edges of a node: from which, and when each is live.
fn edges_of(node: &NodePlan, errors: &FxHashMap<NodeId, u16>) -> Vec<(NodeId, When)> {
    let flow = node.flow_edges(|id| errors.get(&id).copied());
    let flow = flow.into_iter().map(|FlowEdge { node, error }| {
        let when = if error { When::Caught } else { When::Well };
        (node, when)
    });
    let gates = node.gates.iter().map(|gate| match *gate {
        Gate::Case { node, case } => (node, When::Case(case)),
        Gate::Catch { node, catch } => (node, When::Catch(catch)),
    });
    flow.chain(gates).collect()
}

/// Hands out slots while a plan is compiled.
struct Slots {
    node_inputs: Vec<InputRead>,
    alternatives: Vec<InputFrom>,
    node_outputs: Vec<OutputPlan>,
    plans: Vec<SlotPlan>,
    inputs: Vec<Option<SlotIndex>>,
    local: FxHashMap<(NodeId, u16), SlotIndex>,
    remote_slots: FxHashMap<(NodeId, u16), SlotIndex>,
    remote_by_id: FxHashMap<NodeId, u32>,
    local_of: FxHashMap<NodeId, LocalNode>,
    /// Which output of a node says what failed.
    errors: FxHashMap<NodeId, u16>,
    /// Outputs that somebody reads, here or elsewhere; the others get no slot.
    wanted: FxHashSet<(NodeId, u16)>,
}

impl Slots {
    fn new(plan: &Plan) -> Self {
        let read = plan.nodes.iter().flat_map(NodePlan::reads);
        let handed_over = plan.outputs.iter().flat_map(|output| &output.sources);
        let wanted = read
            .chain(handed_over.map(|from| from.source))
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
        let local_errors = plan.nodes.iter().map(|node| (node.id, node.error_output));
        let remote_errors = plan
            .remote_nodes
            .iter()
            .map(|node| (node.id, node.error_output));
        Self {
            wanted,
            node_inputs: Vec::new(),
            alternatives: Vec::new(),
            node_outputs: Vec::new(),
            plans: Vec::new(),
            inputs: vec![None; plan.inputs.len()],
            local: FxHashMap::default(),
            remote_slots: FxHashMap::default(),
            remote_by_id: (0..)
                .zip(&plan.remote_nodes)
                .map(|(index, node)| (node.id, index))
                .collect(),
            local_of: (0..)
                .zip(&plan.nodes)
                .map(|(index, node)| (node.id, index))
                .collect(),
            errors: local_errors
                .chain(remote_errors)
                .filter_map(|(id, output)| Some((id, output?)))
                .collect(),
        }
    }

    fn open(&mut self, producer: Producer) -> SlotIndex {
        self.plans.push(SlotPlan { uses: 0, producer });
        (self.plans.len() - 1) as u32
    }

    /// Where a source lies that something reads once more.
    fn read(&mut self, source: Source) -> InputFrom {
        let slot = match source {
            Source::Item => return InputFrom::Item,
            Source::Constant(constant) => return InputFrom::Constant(constant),
            Source::Input(input) => match self.inputs[usize::from(input)] {
                Some(slot) => slot,
                None => {
                    let slot = self.open(Producer::Input);
                    self.inputs[usize::from(input)] = Some(slot);
                    slot
                }
            },
            Source::Output { node, output } => self.output(node, output),
        };
        self.plans[slot as usize].uses += 1;
        InputFrom::Slot(slot)
    }

    fn output(&mut self, node: NodeId, output: u16) -> SlotIndex {
        if let Some(local) = self.local_of.get(&node).copied() {
            if let Some(slot) = self.local.get(&(node, output)) {
                return *slot;
            }
            let slot = self.open(Producer::Local(local));
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

    /// The slot of an output, if anybody wants it.
    fn wanted_output(&mut self, node: NodeId, output: u16) -> Option<SlotIndex> {
        let wanted = self.wanted.contains(&(node, output));
        wanted.then(|| self.output(node, output))
    }

    fn input(&mut self, sources: &[Source]) -> InputFrom {
        if let [source] = sources {
            return self.read(*source);
        }
        let from: Vec<InputFrom> = sources.iter().map(|source| self.read(*source)).collect();
        InputFrom::FirstOf(Span::append(&mut self.alternatives, from))
    }

    fn node(&mut self, node: &NodePlan) -> Node {
        let foreach = node.foreach.map(|source| match self.read(source) {
            InputFrom::Constant(constant) => ListFrom::Constant(constant),
            InputFrom::Slot(slot) => ListFrom::Slot(slot),
            InputFrom::Item | InputFrom::FirstOf(_) | InputFrom::Absent => {
                unreachable!("a checked plan has a list there")
            }
        });
        let inputs: Vec<InputRead> = node
            .inputs
            .iter()
            .map(|input| InputRead {
                from: self.input(&input.sources),
                optional: input.optional,
            })
            .collect();
        let returned = node.outputs.len() - usize::from(node.error_output.is_some());
        let returned = &node.outputs[..returned];
        let outputs: Vec<OutputPlan> = (0..)
            .zip(returned)
            .map(|(output, declared)| OutputPlan {
                kind: declared.kind,
                slot: self.wanted_output(node.id, output),
            })
            .collect();
        let edges = edges_of(node, &self.errors);
        let gates = edges.iter().filter(|(_, when)| when.is_gate()).count();
        let runner = match node.work {
            Work::Function { .. } => Runner::Executor,
            Work::Compute(_) | Work::Switch { .. } => Runner::Lane,
            Work::Nothing => Runner::Nobody,
        };
        let one_way = |input: &InputRead| !matches!(input.from, InputFrom::FirstOf(_));
        Node {
            id: node.id,
            pool: node.work.executable().unwrap_or_default(),
            lists: returned.iter().any(|output| is_list(output.kind)),
            values: (0..8).zip(returned).fold(0, |values, (bit, output)| {
                values | u8::from(output.kind == Kind::Value) << bit
            }),
            told: !node.remote_consumers.is_empty(),
            plain: runner == Runner::Executor
                && node.join == Join::All
                && gates == 0
                && node.delay_ms == 0
                && foreach.is_none()
                && inputs.iter().all(one_way),
            runner,
            delayed: node.delay_ms > 0,
            gates: gates as u16,
            flow: (edges.len() - gates) as u32,
            at_least: match node.join {
                Join::All => 0,
                Join::AtLeast(edges) => edges,
            },
            foreach,
            timeout_ms: node.timeout_ms.unwrap_or_default(),
            inputs: Span::append(&mut self.node_inputs, inputs),
            outputs: Span::append(&mut self.node_outputs, outputs),
            successors: Span::default(),
        }
    }

    fn details(&mut self, node: &NodePlan) -> Details {
        let remote = node.remote_consumers.iter().map(|read| RemoteRead {
            worker: read.worker,
            outputs: read.outputs.clone(),
        });
        Details {
            name: node.name.clone(),
            retry: node.retry.clone(),
            remote: remote.collect(),
            catches: node.catches.clone(),
            error_slot: node
                .error_output
                .and_then(|output| self.wanted_output(node.id, output)),
            tolerated: node.tolerated,
            delay_ms: node.delay_ms,
            batch: node.batch.unwrap_or_default(),
            parallelism: node.parallelism.unwrap_or(u32::MAX),
        }
    }

    fn outputs_here(&mut self, candidates: &[(u16, Source)]) -> Vec<OutputFrom> {
        let mut here = Vec::new();
        for (candidate, (_, source)) in (0..).zip(candidates) {
            if let Source::Output { node, .. } = source
                && self.local_of.contains_key(node)
                && let InputFrom::Slot(slot) = self.read(*source)
            {
                here.push(OutputFrom { candidate, slot });
            }
        }
        here
    }
}

/// Whether the kind is a list.
pub(crate) const fn is_list(kind: Kind) -> bool {
    matches!(kind, Kind::List)
}
