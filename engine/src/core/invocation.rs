//! What a worker keeps of one invocation in flight: counters of undecided in-edges, and the payloads still needed.

use super::borne::FailureId;
use super::lease::{Freed, Leases, Payload};
use super::outcome::Shown;
use super::profile::Sample;
use super::program::{InputFrom, LocalNode, Program, Scope, SlotIndex};
use super::report::Timing;
use super::whole::PartsEnded;
use super::{ClientId, Outgoing};
use crate::trace::{PartTrace, TRACE_ANSWER_MAX, TRACE_MAX};
use crate::wire::Section;
use faasstore::descriptor::{InvocationId, NO_ITEM};
use rustc_hash::{FxHashMap, FxHashSet};

/// Place of an invocation in the core's table.
pub(crate) type Place = u32;

/// A payload slot's content.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    /// Not written yet, or let go of.
    Unset,
    One(Payload),
    List(ListId),
}

/// What an activation reads as an input.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Read<'a> {
    Absent,
    One(Payload),
    List(&'a [Payload]),
}

/// Place of a list in [`Lists`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ListId(u32);

/// The lists of all invocations; vectors are kept for use again.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    lists: Vec<List>,
    free: Vec<u32>,
}

#[derive(Debug, Default)]
struct List {
    items: Vec<Payload>,
    /// Of a list of which not everything is here: what is.
    section: Option<Section>,
}

/// A vector of a list that has ended is kept for the next one unless it is larger than this many items.
const LIST_KEPT_ITEMS_MAX: usize = 4096;

impl Lists {
    /// A vector to fill and give back with [`Lists::keep`].
    pub(crate) fn open(&mut self) -> ListId {
        if let Some(index) = self.free.pop() {
            return ListId(index);
        }
        self.lists.push(List::default());
        ListId((self.lists.len() - 1) as u32)
    }

    pub(crate) fn get(&self, id: ListId) -> &[Payload] {
        &self.lists[id.0 as usize].items
    }

    pub(crate) fn get_mut(&mut self, id: ListId) -> &mut Vec<Payload> {
        &mut self.lists[id.0 as usize].items
    }

    /// What of a list is here, if that is not everything.
    pub(crate) fn section(&self, id: ListId) -> Option<Section> {
        self.lists[id.0 as usize].section
    }

    pub(crate) fn set_section(&mut self, id: ListId, section: Option<Section>) {
        self.lists[id.0 as usize].section = section;
    }

    /// Ends a list and lets go of its items.
    pub(crate) fn close(&mut self, id: ListId, leases: &mut Leases, mut ended: impl FnMut(Freed)) {
        let List { items, section } = &mut self.lists[id.0 as usize];
        *section = None;
        for payload in items.drain(..) {
            if let Some(freed) = leases.let_go(payload) {
                ended(freed);
            }
        }
        if items.capacity() > LIST_KEPT_ITEMS_MAX {
            *items = Vec::new();
        }
        self.free.push(id.0);
    }

    pub(crate) fn count(&self) -> usize {
        self.lists.len() - self.free.len()
    }
}

/// A payload slot of one invocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) value: Value,
    /// Reads that are still owed.
    pub(crate) uses: u32,
    /// The executor that wrote it, or [`NO_MAKER`].
    pub(crate) maker: u32,
}

/// No local executor wrote it.
pub(crate) const NO_MAKER: u32 = u32::MAX;

/// A region while its items run.
#[derive(Debug)]
pub(crate) struct RegionRun {
    /// The first of its items: 0, unless it is a part of a divided region.
    pub(crate) first: u32,
    /// Behind the last of them.
    pub(crate) behind: u32,
    /// The next item to begin.
    pub(crate) next: u32,
    /// Items that have not ended.
    pub(crate) left: u32,
    /// Where the items that have begun and not ended live.
    pub(crate) open: Vec<Place>,
    /// One gathered list for each output that somebody outside reads, in the order of [`Scope::gathers`].
    pub(crate) gathered: Vec<Option<ListId>>,
    /// What an item begins with.
    pub(crate) start: ItemStart,
    /// By node, those of regions within included, of which an item has failed, which those outside who wait for it bear:
    /// the first such failure.
    pub(crate) failed: FxHashMap<LocalNode, u32>,
    /// By node, those of regions within included, of which those outside hear more: what was so in some item.
    pub(crate) shown: FxHashMap<LocalNode, Shown>,
}

/// An edge that leads into a region from outside, and is not just dead: to which node, and how it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OutsideEdge {
    pub(crate) of: LocalNode,
    pub(crate) how: How,
}

/// How an edge from outside of a region is that says anything to those in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    /// Live.
    Flow,
    /// Live, and a gate.
    Gate,
    /// Dead, since what it comes from has failed, which a join of some bears.
    Failed(FailureId),
}

/// What an item of a region begins with: what is decided outside of it is the same for all.
#[derive(Debug, Default)]
pub(crate) struct ItemStart {
    pub(crate) nodes: Vec<NodeState>,
    pub(crate) slots: Vec<Slot>,
    /// Nodes that run or may run, as opposed to those that are skipped in every item.
    pub(crate) nodes_left: u32,
    /// Of these, the ones that wait for nothing of the same item.
    pub(crate) roots: Vec<LocalNode>,
    /// Of the nodes of which those outside hear, in regions within this one too: those that run in no item.
    pub(crate) never: FxHashSet<LocalNode>,
    /// Of its joins of some, the failures outside that they bear in every item.
    pub(crate) failed: Vec<(LocalNode, FailureId)>,
    /// By region just within this one: the edges from outside of both that lead into it and are not just dead.
    pub(crate) edges_within: FxHashMap<u16, Vec<OutsideEdge>>,
}

/// How far a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// It is not said yet whether it runs.
    Waiting,
    /// It is to run, has run, or was skipped.
    Decided,
}

/// What only some nodes keep, and only while they run.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    /// Of a region, those of the edges that lead into it which are not just dead.
    pub(crate) edges: Vec<OutsideEdge>,
    /// Of a region, what runs of it.
    pub(crate) run: Option<RegionRun>,
    /// Of a divided node as a whole, how its parts have ended.
    pub(crate) parts: Option<Box<PartsEnded>>,
    /// Of a join of some, where its inputs come from: what was there when it started.
    pub(crate) taken: Option<Box<[InputFrom]>>,
    /// Of a join of some, the edges that failures have made dead, by their places among the invocation's failures.
    pub(crate) failed: Vec<u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct NodeState {
    /// In-edges that are not decided yet.
    pub(crate) waiting: u32,
    /// In-edges that are live and no gates.
    pub(crate) live: u32,
    /// Gates that are not decided yet.
    pub(crate) gates_left: u16,
    /// Whether one of its gates is live.
    pub(crate) gate_live: bool,
    pub(crate) stage: Stage,
    /// Its place in [`Extras`], or [`NO_EXTRA`].
    pub(crate) extra: u32,
}

/// Most nodes keep nothing more.
pub(crate) const NO_EXTRA: u32 = u32::MAX;

/// What only some nodes keep, of all invocations.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    extras: Vec<Extra>,
    free: Vec<u32>,
}

impl Extras {
    pub(crate) fn of(&self, state: &NodeState) -> Option<&Extra> {
        self.extras.get(state.extra as usize)
    }

    pub(crate) fn of_mut(&mut self, state: &NodeState) -> Option<&mut Extra> {
        self.extras.get_mut(state.extra as usize)
    }

    /// The node's own, made if it has none yet.
    pub(crate) fn make(&mut self, state: &mut NodeState) -> &mut Extra {
        if state.extra == NO_EXTRA {
            state.extra = self.free.pop().unwrap_or_else(|| {
                self.extras.push(Extra::default());
                (self.extras.len() - 1) as u32
            });
        }
        &mut self.extras[state.extra as usize]
    }

    pub(crate) fn count(&self) -> usize {
        self.extras.len() - self.free.len()
    }

    /// Takes the node's away, if it has one.
    pub(crate) fn take(&mut self, state: &mut NodeState) -> Option<Extra> {
        let place = std::mem::replace(&mut state.extra, NO_EXTRA);
        let extra = std::mem::take(self.extras.get_mut(place as usize)?);
        self.free.push(place);
        Some(extra)
    }
}

/// What only the worker that took the invocation keeps.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) client: ClientId,
    pub(crate) request: u64,
    pub(crate) started_ns: u64,
    /// Other participants that have not told of their end.
    pub(crate) parts_left: u32,
    /// Sources of outputs of the workflow that are here already, by their number among all.
    pub(crate) outputs: Vec<(u16, Outgoing)>,
    pub(crate) reports: Vec<crate::wire::NodeReport>,
    /// Of other participants.
    pub(crate) traces: Vec<PartTrace>,
}

impl Entry {
    /// Takes in a participant's trace, as far as an answer has room for it beside this worker's own.
    pub(crate) fn take_trace(&mut self, trace: Option<Box<PartTrace>>) {
        let Some(mut trace) = trace else {
            return;
        };
        let held: usize = self.traces.iter().map(|part| part.records.len()).sum();
        trace.keep(
            (TRACE_ANSWER_MAX - TRACE_MAX)
                .saturating_sub(held)
                .min(TRACE_MAX),
        );
        self.traces.push(*trace);
    }
}

#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) id: InvocationId,
    pub(crate) deployment: u32,
    /// Counts the invocations that lived in this place, so that what waits in a queue knows its own.
    pub(crate) generation: u32,
    /// Which part of its program: the nodes outside of all regions, or an item of a region.
    pub(crate) scope: u16,
    pub(crate) phase: Phase,
    /// When it came to be known here. Kept at the root.
    pub(crate) since_ns: u64,
    /// Whether it was taken here and has failed, and something of it still runs.
    pub(crate) ending: bool,
    pub(crate) nodes_left: u32,
    /// Activations that executors hold, those of all of its items included. Counted at the root.
    pub(crate) running: u32,
    /// Items of regions that have begun and not ended, those within items included. Counted at the root.
    pub(crate) open_items: u32,
    /// The invocation as a whole: its own place, but for an item.
    pub(crate) root: Place,
    /// Of an item, where what is around it lives.
    pub(crate) parent: Place,
    /// Its number, or [`NO_ITEM`](faasstore::descriptor::NO_ITEM).
    pub(crate) item: u32,
    /// Of an item, its place in [`RegionRun::open`].
    pub(crate) open_at: u32,
    first_node: LocalNode,
    first_slot: SlotIndex,
    nodes: Vec<NodeState>,
    slots: Vec<Slot>,
    /// By remote node that matters here: whether it is known to have ended.
    pub(crate) remote_ended: Vec<bool>,
    pub(crate) entry: Option<Box<Entry>>,
    pub(crate) timing: Option<Box<Timing>>,
    /// If it is measured for its deployment's profile. Kept at the root.
    pub(crate) sample: Option<Box<Sample>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// The place is free.
    Free,
    /// A peer's state event came before the entry worker's word: nothing starts yet.
    Pending,
    Running,
    /// Nothing starts any more; it goes once its last activation has come back.
    Over,
}

impl Phase {
    /// Whether nothing starts any more of what lives, or lived, in a place.
    pub(crate) const fn is_over(self) -> bool {
        matches!(self, Self::Free | Self::Over)
    }
}

impl Invocation {
    pub(crate) fn new() -> Self {
        Self {
            id: InvocationId(0),
            deployment: 0,
            generation: 0,
            scope: 0,
            phase: Phase::Free,
            since_ns: 0,
            ending: false,
            nodes_left: 0,
            running: 0,
            open_items: 0,
            root: 0,
            parent: 0,
            item: NO_ITEM,
            open_at: 0,
            first_node: 0,
            first_slot: 0,
            nodes: Vec::new(),
            slots: Vec::new(),
            remote_ended: Vec::new(),
            entry: None,
            timing: None,
            sample: None,
        }
    }

    /// Whether it is the one that lived in its place then, and may go on.
    #[inline]
    pub(crate) fn is_current(&self, generation: u32) -> bool {
        self.generation == generation && self.phase == Phase::Running
    }

    /// Takes a free place over for a new invocation. Allocates only when the place never held one as large.
    pub(crate) fn start(
        &mut self,
        place: Place,
        id: InvocationId,
        deployment: u32,
        program: &Program,
        phase: Phase,
    ) {
        debug_assert_eq!(self.phase, Phase::Free);
        let scope = &program.scopes[0];
        self.id = id;
        self.deployment = deployment;
        self.scope = 0;
        self.phase = phase;
        self.nodes_left = scope.nodes.len() as u32;
        (self.running, self.open_items) = (0, 0);
        (self.root, self.parent, self.item) = (place, place, NO_ITEM);
        (self.first_node, self.first_slot) = (scope.nodes.start, scope.slots.start);
        self.nodes.clear();
        self.nodes.extend(
            scope
                .nodes
                .clone()
                .map(|node| NodeState::new(program, node)),
        );
        self.slots.clear();
        self.slots
            .extend(scope.slots.clone().map(|slot| Slot::new(program, slot)));
        self.remote_ended.clear();
        self.remote_ended.resize(program.remote.len(), false);
        self.entry = None;
        self.timing = None;
    }

    /// Takes a free place over for an item of a region of another one.
    pub(crate) fn start_item(
        &mut self,
        around: &Self,
        parent: Place,
        (index, scope): (u16, &Scope),
        item: u32,
        start: &ItemStart,
    ) {
        debug_assert_eq!(self.phase, Phase::Free);
        self.id = around.id;
        self.deployment = around.deployment;
        self.scope = index;
        self.phase = Phase::Running;
        self.nodes_left = start.nodes_left;
        self.running = 0;
        (self.root, self.parent, self.item) = (around.root, parent, item);
        (self.first_node, self.first_slot) = (scope.nodes.start, scope.slots.start);
        self.nodes.clone_from(&start.nodes);
        self.slots.clone_from(&start.slots);
        self.remote_ended.clear();
        self.entry = None;
        self.timing = None;
    }

    /// What is kept of a node, if it is one of its scope.
    pub(crate) fn node_in_scope(&self, node: LocalNode) -> Option<&NodeState> {
        self.nodes.get(node.wrapping_sub(self.first_node) as usize)
    }

    /// What is kept of a node of its scope.
    #[inline]
    pub(crate) fn node(&self, node: LocalNode) -> &NodeState {
        &self.nodes[(node - self.first_node) as usize]
    }

    #[inline]
    pub(crate) fn node_mut(&mut self, node: LocalNode) -> &mut NodeState {
        &mut self.nodes[(node - self.first_node) as usize]
    }

    /// The nodes of its scope.
    pub(crate) fn nodes(&self) -> std::ops::Range<LocalNode> {
        self.first_node..self.first_node + self.nodes.len() as u32
    }

    /// A slot of its scope; none if the slot is one of what is around it.
    #[inline]
    pub(crate) fn slot(&self, slot: SlotIndex) -> Option<&Slot> {
        self.slots.get(slot.wrapping_sub(self.first_slot) as usize)
    }

    #[inline]
    pub(crate) fn slot_mut(&mut self, slot: SlotIndex) -> &mut Slot {
        &mut self.slots[(slot - self.first_slot) as usize]
    }

    /// The slots of its scope.
    pub(crate) fn slots(&self) -> std::ops::Range<SlotIndex> {
        self.first_slot..self.first_slot + self.slots.len() as u32
    }
}

impl NodeState {
    /// Of a node of which nothing is decided.
    pub(crate) fn new(program: &Program, node: LocalNode) -> Self {
        let node = &program.nodes[node as usize];
        Self {
            waiting: node.edges(),
            live: 0,
            gates_left: node.gates,
            gate_live: false,
            stage: Stage::Waiting,
            extra: NO_EXTRA,
        }
    }
}

impl Slot {
    pub(crate) fn new(program: &Program, slot: SlotIndex) -> Self {
        Self {
            value: Value::Unset,
            uses: program.slots[slot as usize].uses,
            maker: NO_MAKER,
        }
    }
}

// DESIGN's aim: at most 1 KiB of state for an invocation of ten nodes with an output each.
const _: () = assert!(
    size_of::<Invocation>() + 10 * (size_of::<NodeState>() + size_of::<Slot>() + 32) <= 1024
);
