//! What a worker keeps of one invocation in flight: counters of undecided in-edges, and the payloads still needed.

use super::failure::NodeFailure;
use super::lease::{Leases, Payload};
use super::program::{InputFrom, Program};
use super::report::Timing;
use super::{ClientId, Outgoing};
use faasstore::descriptor::{InvocationId, PayloadRef};

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
    lists: Vec<Vec<Payload>>,
    free: Vec<u32>,
}

/// A vector of a list that has ended is kept for the next one unless it is larger than this many items.
const LIST_KEPT_ITEMS_MAX: usize = 4096;

impl Lists {
    /// A vector to fill and give back with [`Lists::keep`].
    pub(crate) fn open(&mut self) -> ListId {
        if let Some(index) = self.free.pop() {
            return ListId(index);
        }
        self.lists.push(Vec::new());
        ListId((self.lists.len() - 1) as u32)
    }

    pub(crate) fn get(&self, id: ListId) -> &[Payload] {
        &self.lists[id.0 as usize]
    }

    pub(crate) fn get_mut(&mut self, id: ListId) -> &mut Vec<Payload> {
        &mut self.lists[id.0 as usize]
    }

    /// Ends a list and lets go of its items.
    pub(crate) fn close(
        &mut self,
        id: ListId,
        leases: &mut Leases,
        mut ended: impl FnMut(PayloadRef),
    ) {
        let list = &mut self.lists[id.0 as usize];
        for payload in list.drain(..) {
            if let Some(range) = leases.let_go(payload) {
                ended(range);
            }
        }
        if list.capacity() > LIST_KEPT_ITEMS_MAX {
            *list = Vec::new();
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

/// A foreach node while its items run.
#[derive(Debug)]
pub(crate) struct Fan {
    pub(crate) items: u32,
    /// The next item to start.
    pub(crate) next: u32,
    /// Items that have not ended well yet.
    pub(crate) left: u32,
    /// Items that have begun and not ended, those that wait for another attempt included.
    pub(crate) begun: u32,
    /// Most of these.
    pub(crate) begun_max: u32,
    /// Items of the list that make one of these; 0: one, as it is.
    pub(crate) batch: u32,
    /// Whether it waits for an executor in its pool's queue.
    pub(crate) queued: bool,
    /// Why the node has failed, while some of its items still run.
    pub(crate) failed: Option<NodeFailure>,
    /// One gathered list for each output that somebody reads.
    pub(crate) gathered: Vec<Option<ListId>>,
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
    pub(crate) fan: Option<Fan>,
    /// Of a join of some, where its inputs come from: what was there when it started.
    pub(crate) taken: Option<Box<[InputFrom]>>,
    /// Of a join of some, the edges that failures have made dead, by their places among the invocation's failures.
    pub(crate) failed: Vec<u32>,
}

#[derive(Debug)]
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
}

#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) id: InvocationId,
    pub(crate) deployment: u32,
    /// Counts the invocations that lived in this place, so that what waits in a queue knows its own.
    pub(crate) generation: u32,
    pub(crate) nodes_left: u32,
    /// Activations that executors hold.
    pub(crate) running: u32,
    pub(crate) phase: Phase,
    pub(crate) nodes: Vec<NodeState>,
    pub(crate) slots: Vec<Slot>,
    /// By remote node that matters here: whether it is known to have ended.
    pub(crate) remote_ended: Vec<bool>,
    pub(crate) entry: Option<Box<Entry>>,
    pub(crate) timing: Option<Box<Timing>>,
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

impl Invocation {
    pub(crate) fn new() -> Self {
        Self {
            id: InvocationId(0),
            deployment: 0,
            generation: 0,
            nodes_left: 0,
            running: 0,
            phase: Phase::Free,
            nodes: Vec::new(),
            slots: Vec::new(),
            remote_ended: Vec::new(),
            entry: None,
            timing: None,
        }
    }

    /// Takes a free place over for a new invocation. Allocates only when the place never held one as large.
    pub(crate) fn start(
        &mut self,
        id: InvocationId,
        deployment: u32,
        program: &Program,
        phase: Phase,
    ) {
        debug_assert_eq!(self.phase, Phase::Free);
        self.id = id;
        self.deployment = deployment;
        self.nodes_left = program.nodes.len() as u32;
        self.running = 0;
        self.phase = phase;
        self.nodes.clear();
        self.nodes.extend(program.nodes.iter().map(|n| NodeState {
            waiting: n.edges(),
            live: 0,
            gates_left: n.gates,
            gate_live: false,
            stage: Stage::Waiting,
            extra: NO_EXTRA,
        }));
        self.slots.clear();
        self.slots.extend(program.slots.iter().map(|s| Slot {
            value: Value::Unset,
            uses: s.uses,
            maker: NO_MAKER,
        }));
        self.remote_ended.clear();
        self.remote_ended.resize(program.remote.len(), false);
        self.entry = None;
        self.timing = None;
    }
}

// DESIGN's aim: at most 1 KiB of state for an invocation of ten nodes with an output each.
const _: () = assert!(
    size_of::<Invocation>() + 10 * (size_of::<NodeState>() + size_of::<Slot>() + 32) <= 1024
);
