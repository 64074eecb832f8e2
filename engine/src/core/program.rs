//! A plan, compiled to what the core steps through: dense local numbers in place of names and deployment-wide ones.
//!
//! Every payload that this worker may hold in an invocation has a *slot*: inputs of the workflow, outputs of local nodes
//! that somebody reads, and outputs of remote nodes that local ones read. A slot knows how many reads it owes before
//! its payload can be let go of.

use super::lease::Account;
use super::nesting::Nesting;
use super::outcome::When;
use super::reads::Origin;
use super::types::PayloadTypes;
use super::ways::Ways;
use crate::plan::{
    EdgeStore, ErrorMatch, NodeId, Part, Plan, Retry, SectionPlan, Source, WorkerIndex,
};
use faasstore::binding::{Kind, Maximum};
use rustc_hash::FxHashMap;
use std::ops::Range;

/// Number of a local node in [`Program::nodes`].
pub(crate) type LocalNode = u32;
/// Number of a slot in an invocation's payloads.
pub(crate) type SlotIndex = u32;

/// Where a node's input comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum InputFrom {
    /// A slot of the node's own scope.
    Slot(SlotIndex),
    /// A slot of a scope around it, which its region holds while it runs.
    Outer(SlotIndex),
    /// The first item that is there of a list in a slot of the node's own scope.
    First(SlotIndex),
    /// The item of the region so many levels outward.
    Item(u8),
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
    /// Where it may go if memory has no room for it.
    pub(crate) store: EdgeStore,
}

/// Who wrote a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Producer {
    Input,
    /// A node; of what is gathered, the one whose outputs it is.
    Local(LocalNode),
    Remote {
        place: u32,
    },
}

#[derive(Debug)]
pub(crate) struct SlotPlan {
    /// Reads by local nodes, plus one if it is an output of the workflow that this worker has to hand over.
    pub(crate) uses: u32,
    pub(crate) producer: Producer,
    /// Whether all items of a list are needed: somebody reads it who is no part of a divided region that runs over it.
    pub(crate) complete: bool,
}

#[derive(Debug)]
pub(crate) struct RemoteRead {
    pub(crate) worker: WorkerIndex,
    pub(crate) outputs: Vec<u16>,
    /// Those of which it does not need everything.
    pub(crate) sections: Vec<SectionPlan>,
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
    /// It stands for a region, in the scope around it.
    Region,
    /// It stands for a divided node, all parts of it together.
    Whole,
}

impl Runner {
    /// Whether it is no node of the plan, but stands for some.
    pub(crate) const fn stands_in(self) -> bool {
        matches!(self, Self::Region | Self::Whole)
    }
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
    /// Whether other workers read its outputs or wait for it.
    pub(crate) told: bool,
    /// Whether it lies in a region outside of which somebody hears which cases it chose and what it has failed with.
    pub(crate) shown: bool,
    pub(crate) runner: Runner,
    /// Whether it is an ordinary function, without delay or alternatives, with edges from its own scope alone.
    pub(crate) plain: bool,
    /// Whether it is sure to run once all its edges are live that are no gates, and one of those if it has any: a function,
    /// or what the lane does, without delay or alternatives, with edges from its own scope alone, which reads neither an item
    /// nor the first of a list: these may be absent.
    pub(crate) sure: bool,
    /// Whether it waits once it could start.
    pub(crate) delayed: bool,
    /// How many of its inputs only its delays read: the last ones.
    pub(super) delay_inputs: u16,
    /// Whether it stands behind gates.
    pub(crate) gated: bool,
    /// Whether one of its in-edges must be live for it to run, those from outside of its region included: it has some, and the
    /// list of its region, which is live for each item, is none of them.
    pub(crate) edged: bool,
    /// In-edges from its own scope that are gates.
    pub(crate) gates: u16,
    /// In-edges from its own scope that are none; of what stands for a region, all into it.
    pub(crate) flow: u32,
    /// How many of these must be live for it to start; 0 if all must be decided instead.
    pub(crate) at_least: u32,
    /// The scope of the region that it stands for, or [`NO_SCOPE`].
    pub(crate) region: u16,
    /// Longest an attempt may take; 0 without a limit.
    pub(crate) timeout_ms: u32,
    pub(super) inputs: Span,
    pub(super) outputs: Span,
    pub(super) successors: Span,
}

const _: () = assert!(size_of::<Node>() == 64);

/// An ordinary node stands for no region.
pub(crate) const NO_SCOPE: u16 = u16::MAX;

impl Node {
    /// All its in-edges from its own scope.
    #[inline]
    pub(crate) fn edges(&self) -> u32 {
        self.flow + u32::from(self.gates)
    }

    #[inline]
    pub(crate) fn timeout_ns(&self) -> Option<u64> {
        (self.timeout_ms != 0).then(|| u64::from(self.timeout_ms) * 1_000_000)
    }
}

/// How long a node waits once it could start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Delay {
    Fixed {
        delay_ns: u64,
    },
    /// The lane is to say.
    Computed,
}

impl Default for Delay {
    fn default() -> Self {
        Self::Fixed { delay_ns: 0 }
    }
}

/// What of a node is seldom needed.
#[derive(Debug, Default)]
pub(crate) struct Details {
    pub(crate) name: String,
    pub(crate) retriers: Vec<Retry>,
    pub(crate) remote: Vec<RemoteRead>,
    pub(crate) catches: Vec<Vec<ErrorMatch>>,
    /// Where what failed is written, if anybody reads it.
    pub(crate) error_slot: Option<SlotIndex>,
    pub(crate) tolerated: bool,
    pub(crate) delay: Delay,
    /// By output: where it is gathered, if anybody outside of its region reads it.
    pub(crate) gathered: Vec<Option<SlotIndex>>,
}

/// An edge to a local node, and when it is live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Edge {
    /// Who hears of it: the node, or, if it comes from outside of the node's region, the region.
    pub(crate) node: LocalNode,
    pub(crate) when: When,
    /// The node itself.
    pub(crate) of: LocalNode,
}

/// An edge that leaves a region: from which of its nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Exit {
    pub(crate) from: LocalNode,
    pub(crate) edge: Edge,
}

/// What is gathered of a region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gather {
    pub(crate) node: LocalNode,
    /// Where an item of it lies, in the region's scope.
    pub(crate) item: SlotIndex,
    /// Where the list lies, in the scope around it.
    pub(crate) list: SlotIndex,
}

/// The nodes outside of all regions, or those of one region without those of regions within it.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) nodes: Range<LocalNode>,
    pub(crate) slots: Range<SlotIndex>,
    /// The scope around it, and the node that stands for it there; of the first scope, itself.
    pub(crate) parent: u16,
    pub(crate) node: LocalNode,
    /// The list.
    pub(crate) list: InputFrom,
    /// Items that are taken together; 0: one, as it is.
    pub(crate) batch: u32,
    /// Items at once, at most.
    pub(crate) window: usize,
    /// Its nodes, each after those that it waits for.
    pub(crate) order: Vec<LocalNode>,
    pub(crate) gathers: Vec<Gather>,
    pub(crate) exits: Vec<Exit>,
    /// Of a region that lies in no other: its nodes, those of regions within it too, of which other workers hear.
    pub(crate) told: Vec<LocalNode>,
    /// Which part of a divided region it is.
    pub(crate) part: Option<Part>,
    /// Of such a part: its nodes, those of regions within it too, that are waited for here, each with what stands for it as
    /// a whole.
    pub(crate) wholes: Vec<(LocalNode, LocalNode)>,
}

/// An output of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputPlan {
    pub(crate) kind: Kind,
    /// If anybody here reads it or it is to be sent.
    pub(crate) slot: Option<SlotIndex>,
    /// What it may have at most.
    pub(crate) maximum: Maximum,
}

/// Part of one of the program's lists.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    start: u32,
    length: u32,
}

impl Span {
    /// Appends to a list; what was appended.
    pub(crate) fn append<T>(list: &mut Vec<T>, items: impl IntoIterator<Item = T>) -> Self {
        let start = list.len() as u32;
        list.extend(items);
        Self {
            start,
            length: list.len() as u32 - start,
        }
    }

    /// Where its part begins.
    #[inline]
    const fn first(self) -> usize {
        self.start as usize
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
    /// Of a node in a part of a divided region: what stands for it as a whole here, if anybody waits for that.
    pub(crate) part_of: Option<LocalNode>,
}

/// An output of a divided node that somebody here reads.
#[derive(Debug)]
pub(crate) struct WholeOutput {
    /// Where its parts lie, in their order.
    pub(crate) parts: Vec<SlotIndex>,
    /// Where it lies as a whole.
    pub(crate) slot: SlotIndex,
    /// Whether it says what failed.
    pub(crate) error: bool,
    /// What of it is needed, if not everything.
    pub(crate) section: Option<SectionPlan>,
}

/// Where an output of the workflow may come from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// Which output it is for.
    pub(crate) output: u16,
    pub(crate) source: Source,
    /// Which part of a list it is.
    pub(crate) part: Option<Part>,
    /// Whether it says what failed.
    pub(crate) error: bool,
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
    /// Where its payloads are counted.
    pub(crate) account: Account,
    /// What payloads from elsewhere are to be.
    pub(crate) types: PayloadTypes,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) nesting: Nesting,
    /// By scope, the first one's first; at the end of a scope those that stand for its regions.
    pub(crate) nodes: Vec<Node>,
    /// By local node.
    pub(crate) details: Vec<Details>,
    pub(super) inputs: Vec<InputRead>,
    pub(super) alternatives: Vec<InputFrom>,
    pub(super) outputs: Vec<OutputPlan>,
    pub(super) successors: Vec<Edge>,
    /// Nodes of the first scope that wait for nothing.
    pub(crate) roots: Vec<LocalNode>,
    pub(crate) slots: Vec<SlotPlan>,
    /// By workflow input: its slot, if read here.
    pub(crate) input_slots: Vec<Option<SlotIndex>>,
    pub(crate) remote: Vec<RemoteProducer>,
    pub(super) remote_by_id: FxHashMap<NodeId, u32>,
    /// Outputs of the workflow that local nodes make.
    pub(crate) outputs_here: Vec<OutputFrom>,
    /// The sources of the workflow's outputs, all outputs' one after the other.
    pub(crate) candidates: Vec<Candidate>,
    /// The first of the nodes that stand for divided ones, which are the last of the first scope, and by such a node, from it
    /// on, its outputs that are read here.
    pub(super) first_whole: LocalNode,
    pub(super) wholes: Vec<Vec<WholeOutput>>,
    /// Workers other than this one that take part.
    pub(crate) others: Vec<WorkerIndex>,
    /// Whether anything in it needs the time.
    pub(crate) timed: bool,
    /// Whether any of its nodes keeps more than all do: it has regions or joins of some.
    pub(crate) keeps_notes: bool,
    /// By node, its place in the workflow; a region has that of its first node.
    pub(crate) ranks: Vec<NodeId>,
    /// By slot: see [`super::victims`].
    pub(crate) first_readers: Vec<Option<LocalNode>>,
    /// By slot, where what lies there may be carried.
    pub(crate) ways: Vec<Ways>,
    /// Where anything of it may be carried by what an edge says, whatever the workflow says.
    pub(crate) edge_ways: Ways,
    /// By site: see [`super::reads`].
    pub(super) origins: Vec<Origin>,
}

impl Program {
    /// A node's inputs, in its order: what it works with.
    #[inline]
    pub(crate) fn inputs(&self, node: &Node) -> &[InputRead] {
        let all = self.all_inputs(node);
        &all[..all.len() - usize::from(node.delay_inputs)]
    }

    /// All that a node waits for and holds: its inputs, then those of its delays.
    #[inline]
    pub(crate) fn all_inputs(&self, node: &Node) -> &[InputRead] {
        node.inputs.of(&self.inputs)
    }

    /// The alternatives of an input.
    pub(crate) fn alternatives(&self, span: Span) -> &[InputFrom] {
        span.of(&self.alternatives)
    }

    /// How many sites there are where reads are counted.
    pub(crate) fn sites(&self) -> usize {
        self.inputs.len() + self.alternatives.len() + self.candidates.len()
    }

    /// The site of an input of a node, by its place among all of its inputs.
    #[inline]
    pub(crate) fn input_site(&self, node: &Node, input: usize) -> usize {
        node.inputs.first() + input
    }

    /// The site of one of several alternatives.
    pub(crate) fn alternative_site(&self, span: Span, number: usize) -> usize {
        self.inputs.len() + span.first() + number
    }

    /// The site of a source of an output of the workflow.
    pub(crate) fn candidate_site(&self, number: usize) -> usize {
        self.inputs.len() + self.alternatives.len() + number
    }

    /// Calls `each` with every slot of its scope that the node reads, as often as it reads it.
    #[inline]
    pub(crate) fn each_slot_read(&self, node: &Node, mut each: impl FnMut(SlotIndex)) {
        for input in self.all_inputs(node) {
            match input.from {
                InputFrom::Slot(slot) | InputFrom::First(slot) => each(slot),
                InputFrom::FirstOf(span) => {
                    for from in self.alternatives(span) {
                        if let InputFrom::Slot(slot) | InputFrom::First(slot) = from {
                            each(*slot);
                        }
                    }
                }
                InputFrom::Outer(_)
                | InputFrom::Item(_)
                | InputFrom::Constant(_)
                | InputFrom::Absent => {}
            }
        }
    }

    /// The outputs of a divided node that are read here.
    pub(crate) fn whole_outputs(&self, node: LocalNode) -> &[WholeOutput] {
        let place = node.wrapping_sub(self.first_whole) as usize;
        self.wholes.get(place).map_or(&[], |outputs| outputs)
    }

    /// Where the parts lie of what lies in a slot, if that is an output of a divided node.
    pub(crate) fn parts_of(&self, slot: SlotIndex) -> Option<&[SlotIndex]> {
        let mut outputs = self.wholes.iter().flatten();
        let output = outputs.find(|output| output.slot == slot)?;
        Some(&output.parts)
    }

    /// The outputs that the node's function returns, in its order.
    #[inline]
    pub(crate) fn outputs(&self, node: &Node) -> &[OutputPlan] {
        node.outputs.of(&self.outputs)
    }

    /// The scope in which a node lies.
    pub(crate) fn scope_of(&self, node: LocalNode) -> u16 {
        let behind = self
            .scopes
            .partition_point(|scope| scope.nodes.start <= node);
        (behind - 1) as u16
    }

    /// The scope just within the first one that is this one or holds it; of the first one, itself.
    pub(crate) fn outermost(&self, scope: u16) -> u16 {
        match scope {
            0 => 0,
            inner => self.nesting.just_within(inner, 0),
        }
    }

    /// Where an output of a node lies in its scope, what failed included.
    pub(crate) fn output_slot(&self, node: LocalNode, output: u16) -> Option<SlotIndex> {
        match self
            .outputs(&self.nodes[node as usize])
            .get(usize::from(output))
        {
            Some(output) => output.slot,
            None => self.details[node as usize].error_slot,
        }
    }

    /// Where an output lies for those outside of the node's region, if it has one.
    pub(crate) fn slot_told(&self, node: LocalNode, output: u16) -> Option<SlotIndex> {
        match self.scope_of(node) {
            0 => self.output_slot(node, output),
            _ => *self.details[node as usize]
                .gathered
                .get(usize::from(output))?,
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
}

/// Whether the kind is a list.
pub(crate) const fn is_list(kind: Kind) -> bool {
    matches!(kind, Kind::List)
}
