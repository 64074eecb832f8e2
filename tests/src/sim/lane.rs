//! A lane of a simulated worker: its core, its memory, its executors, and what of it is under way.

use super::arrivals::Arrivals;
use super::foresight::{Ahead, Foresight};
use super::full::Crowding;
use super::memory::{Memory, SegmentNews};
use super::reads::Seens;
use super::replicas::Known;
use super::stores::Stores;
use super::windows::Walk;
use crate::functions::Datum;
use engine::core::store::StoreRules;
use engine::core::{
    Answered, Core, CoreConfig, Evaluate, ExecutorId, Incoming, Input, Part, Start, Ticket,
    worker_hash,
};
use engine::plan::{DeploymentId, NodeId};
use engine::trace::ClockId;
use engine::wire::ITEM_ABSENT;
use faasstore::descriptor::{InvocationId, PayloadRef};
use std::collections::{BTreeMap, BTreeSet};

/// How long what runs may go on once its invocation is over.
pub(super) const GRACE_NS: u64 = 50_000;
/// How long an executor may idle.
pub(super) const KEEP_ALIVE_NS: u64 = 200_000;

/// Where an activation's input lies.
#[derive(Clone, Debug)]
pub(super) enum InputAt {
    /// Bytes.
    One(PayloadRef),
    /// The items of a list.
    List(Vec<PayloadRef>),
}

/// What an executor runs.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// As its completion must repeat it.
    pub(super) activation: u32,
    /// The invocation.
    pub(super) invocation: InvocationId,
    /// The node.
    pub(super) node: NodeId,
    /// The same as the plans have it, in which it may be in parts.
    pub(super) planned: NodeId,
    /// The items, the outermost first.
    pub(super) items: Vec<u32>,
    /// From 1.
    pub(super) attempt: u32,
    /// Where its inputs lie.
    pub(super) inputs: Vec<InputAt>,
    /// What they were when it was started.
    pub(super) seen: Vec<Datum>,
    /// When it is to be given up.
    pub(super) deadline_ns: Option<u64>,
    /// Whether it will never return by itself.
    pub(super) hangs: bool,
    /// What it reads item by item, if anything.
    pub(super) walk: Option<Walk>,
    /// How it finds its arena full.
    pub(super) crowding: Crowding,
}

/// What an executor does.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are few, and most of them run something"
)]
pub(super) enum State {
    /// Nothing.
    Idle,
    /// It runs a function.
    Running(Run),
    /// It was ended, and the core knows that it is condemned; its process is not gone yet.
    Ended,
    /// The core has told it to end, at this time.
    Stopping { told_ns: u64 },
}

/// A switch that is choosing, a node that computes, or one that may wait.
#[derive(Clone, Debug)]
pub(super) struct Evaluating {
    /// As the core wants it back.
    pub(super) ticket: Ticket,
    /// The invocation; none if that was over before this was looked at.
    pub(super) invocation: Option<InvocationId>,
    /// The node.
    pub(super) node: NodeId,
    /// The same as the plans have it.
    pub(super) planned: NodeId,
    /// The items, the outermost first.
    pub(super) items: Vec<u32>,
    /// Place of its deployment in the scenario.
    pub(super) deployment: usize,
    /// What of the node.
    pub(super) part: Part,
    /// Its inputs.
    pub(super) seen: Vec<Datum>,
}

/// What failed, on its way into memory.
#[derive(Clone, Debug)]
pub(super) struct Describing {
    /// As the core wants it back.
    pub(super) ticket: Ticket,
    /// The invocation; none if that was over before this was looked at.
    pub(super) invocation: Option<InvocationId>,
    /// What is written.
    pub(super) text: Vec<u8>,
}

/// What an executor was told last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    /// The activation that is to stop.
    pub(super) activation: u32,
    /// When, as its lane knew the time.
    pub(super) told_ns: u64,
    /// Whether that comes back for it.
    pub(super) obeys: bool,
}

/// A simulated executor.
#[derive(Clone, Debug)]
pub(super) struct Executor {
    /// Place of its deployment in the scenario.
    pub(super) deployment: usize,
    /// Place of its executable in the plan.
    pub(super) executable: u16,
    /// What it does.
    pub(super) state: State,
    /// What it was told to stop.
    pub(super) word: Option<Word>,
}

/// What was seen of a node's attempts in executors.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Attempts {
    /// First ones.
    pub(super) first: u64,
    /// All.
    pub(super) all: u64,
    /// Those that ended well.
    pub(super) well: u64,
}

/// A simulated lane.
#[derive(Debug)]
pub(super) struct Lane {
    /// Index of its worker.
    pub(super) worker: usize,
    /// Its number on that worker.
    pub(super) number: u8,
    /// The worker's restart epoch.
    pub(super) epoch: u32,
    /// Whether its worker lives.
    pub(super) alive: bool,
    /// What is tested.
    pub(super) core: Core,
    /// Whether it has done what its core wants since that was judged last.
    pub(super) acted: bool,
    /// The time that the core was given last.
    pub(super) told_ns: u64,
    /// Its ranges.
    pub(super) memory: Memory,
    /// By place.
    pub(super) executors: Vec<Option<Executor>>,
    /// Executors that the core has asked for.
    pub(super) starting: Vec<(DeploymentId, u16)>,
    /// What it is evaluating.
    pub(super) evaluating: Vec<Evaluating>,
    /// What has been carried out of its memory, and what is on its way.
    pub(super) stores: Stores,
    /// What it reads while it is still arriving.
    pub(super) arrivals: Arrivals,
    /// What it is writing down.
    pub(super) describing: Vec<Describing>,
    /// Ranges that hold constants, and lists of theirs, by deployment.
    pub(super) constants: BTreeMap<DeploymentId, (usize, usize)>,
    /// Answers that their clients have not read yet.
    pub(super) answers: Vec<Answered>,
    /// Doors that should be open: the place of the deployment's first placement in the scenario, by workflow.
    pub(super) doors: BTreeMap<String, usize>,
    /// Deployments that are here.
    pub(super) deployed: BTreeSet<DeploymentId>,
    /// Invocations taken here and not answered, as this simulation counts them.
    pub(super) in_flight: u32,
    /// Invocations refused here, as this simulation counts them.
    pub(super) refused: u64,
    /// Completions that the core has accepted.
    pub(super) accepted: u64,
    /// What it knows of placements, as this simulation keeps it.
    pub(super) known: Known,
    /// Attempts that executors were given.
    pub(super) attempts: BTreeMap<(DeploymentId, NodeId), Attempts>,
    /// What the core must order next.
    pub(super) foreseen: Option<Foresight>,
    /// What was prepared last: for the end of what which executor runs, and at which revision of the core.
    pub(super) prepared: Option<(ExecutorId, u64, Option<Ahead>)>,
    /// What was read.
    pub(super) seens: Seens,
}

impl Lane {
    /// A lane in which nothing is deployed.
    #[must_use]
    pub(super) fn new(
        worker: usize,
        number: u8,
        epoch: u32,
        in_flight_max: u32,
        store: StoreRules,
    ) -> Self {
        let config = CoreConfig {
            worker_hash: worker_hash(&crate::plans::worker_name(worker)),
            epoch,
            lane: number,
            in_flight_max,
            grace_ns: GRACE_NS,
            lease_ns_max: None,
            patience_ns: GRACE_NS,
            keep_alive_ns: KEEP_ALIVE_NS,
            clock: ClockId::UNKNOWN,
            store,
        };
        Self {
            worker,
            number,
            epoch,
            alive: true,
            core: Core::new(config),
            acted: false,
            told_ns: 0,
            memory: Memory::default(),
            executors: Vec::new(),
            starting: Vec::new(),
            evaluating: Vec::new(),
            describing: Vec::new(),
            stores: Stores::default(),
            arrivals: Arrivals::default(),
            constants: BTreeMap::new(),
            answers: Vec::new(),
            doors: BTreeMap::new(),
            deployed: BTreeSet::new(),
            in_flight: 0,
            refused: 0,
            accepted: 0,
            known: Known::default(),
            attempts: BTreeMap::new(),
            foreseen: None,
            prepared: None,
            seens: Seens::default(),
        }
    }

    /// The door at which it takes invocations.
    #[must_use]
    pub(super) fn id(&self, sequence: u64) -> InvocationId {
        InvocationId::new(
            worker_hash(&crate::plans::worker_name(self.worker)),
            self.epoch,
            self.number,
            sequence,
        )
    }

    /// Tells the core of segments that have come and gone.
    pub(super) fn tell_segments(&mut self) {
        for news in self.memory.news() {
            match news {
                SegmentNews::Known(number, bytes, place) => {
                    let owner = place.map(|place| ExecutorId(place as u32));
                    self.core.segment_known(number, bytes, owner);
                }
                SegmentNews::Disowned(number) => self.core.segment_disowned(number),
                SegmentNews::Gone(number) => self.core.segment_gone(number),
            }
        }
    }

    /// The time of an event that brings it exactly.
    pub(super) fn exact_ns(&mut self, now_ns: u64) -> u64 {
        self.told_ns = now_ns;
        now_ns
    }

    /// The time of an event that brings it exactly only when the core asks for that.
    pub(super) fn event_ns(&mut self, now_ns: u64) -> u64 {
        if self.core.needs_time() {
            self.exact_ns(now_ns)
        } else {
            self.told_ns
        }
    }

    /// Puts an executor into the first free place.
    pub(super) fn seat(&mut self, deployment: usize, executable: u16) -> ExecutorId {
        let place = self
            .executors
            .iter()
            .position(Option::is_none)
            .unwrap_or_else(|| {
                self.executors.push(None);
                self.executors.len() - 1
            });
        self.executors[place] = Some(Executor {
            deployment,
            executable,
            state: State::Idle,
            word: None,
        });
        ExecutorId(place as u32)
    }

    /// How many executors run something.
    pub(super) fn running(&self) -> usize {
        let executors = self.executors.iter().flatten();
        executors
            .filter(|executor| matches!(executor.state, State::Running(_)))
            .count()
    }

    /// Takes back what has arrived, and was given to nobody.
    pub(super) fn drop_arrived(&mut self, incoming: &Incoming) {
        match incoming {
            Incoming::One(range)
            | Incoming::Lent(range)
            | Incoming::List { range, .. }
            | Incoming::Arriving { range, .. } => {
                if range.is_range() {
                    self.memory.release(*range);
                }
            }
            Incoming::LentList { items, .. } => {
                let ranges = items.iter().filter(|item| item.is_range());
                ranges.for_each(|range| self.memory.release(*range));
            }
            Incoming::Refused(_) => {}
        }
    }

    /// Commits what arrives.
    ///
    /// # Panics
    /// If that is nothing.
    pub(super) fn arrived(&mut self, datum: &Datum) -> Incoming {
        match datum {
            Datum::Absent => panic!("nothing cannot arrive"),
            Datum::One(bytes) => Incoming::One(self.memory.commit(bytes.clone())),
            Datum::List(items) => {
                let mut offset = 0;
                let places = items
                    .iter()
                    .map(|item| {
                        let Some(item) = item else {
                            return (offset, ITEM_ABSENT);
                        };
                        let place = (offset, item.len() as u64);
                        offset += item.len() as u64;
                        place
                    })
                    .collect();
                Incoming::List {
                    range: self
                        .memory
                        .commit(items.iter().flatten().flatten().copied().collect()),
                    items: places,
                    section: None,
                }
            }
        }
    }

    /// Where the inputs of an activation lie.
    #[must_use]
    pub(super) fn inputs_of(&self, start: &Start) -> Vec<InputAt> {
        let mut inputs = Vec::new();
        self.core
            .inputs(start, |input| inputs.push(self.input_at(input)));
        inputs
    }

    /// Where the inputs of what is to be evaluated lie.
    #[must_use]
    pub(super) fn inputs_evaluated(&self, evaluate: &Evaluate) -> Vec<InputAt> {
        let mut inputs = Vec::new();
        self.core
            .evaluation_inputs(evaluate, |input| inputs.push(self.input_at(input)));
        inputs
    }

    fn input_at(&self, input: Input<'_>) -> InputAt {
        match input {
            Input::One(range) => InputAt::One(range),
            Input::List(items) => {
                InputAt::List(items.iter().map(|item| self.core.locate(*item)).collect())
            }
            Input::Windowed(items, account) => {
                let located = items.iter();
                let located = located.map(|item| self.core.locate_or_away(*item, account));
                InputAt::List(located.collect())
            }
        }
    }

    /// Reads the inputs of an activation, as its function does.
    ///
    /// # Panics
    /// If one was released while the function ran.
    #[must_use]
    pub(super) fn read_inputs(&self, inputs: &[InputAt]) -> Vec<Datum> {
        inputs
            .iter()
            .map(|input| match input {
                InputAt::One(range) if range.is_absent() => Datum::Absent,
                InputAt::One(range) => Datum::One(self.memory.read(*range)),
                InputAt::List(items) => {
                    let there = |item: &PayloadRef| (!item.is_absent()).then_some(*item);
                    let read = |item| there(item).map(|item| self.memory.read(item));
                    Datum::List(items.iter().map(read).collect())
                }
            })
            .collect()
    }
}
