//! Cores that play a workflow, with functions that are texts: an activation returns its node's name, and what it saw is
//! kept.

use super::flow::{DEPLOYMENT, Flow, worker_name};
use engine::core::lease::Holdings;
use engine::core::store::{Carried, StoreRules, Tally, Ticket, Unstored};
use engine::core::{
    Action, Answered, CarryOut, ClientId, CompletionError, CopyIn, Core, CoreConfig, CoreCounters,
    Describe, Evaluate, Evaluated, ExecutorId, Held, Incoming, Input, Next, Outbound, Outgoing,
    Output, Part, Piece, Send, Start, Wanted, worker_hash,
};
use engine::plan::{ErrorClass, NodeId};
use engine::profile::NodeProfile;
use engine::reads::{Reads, merge};
use engine::trace::ClockId;
use engine::wire::{Failure, ITEM_ABSENT};
use faasstore::Cancelled;
use faasstore::binding::Kind;
use faasstore::descriptor::{
    CpuUse, Full, InvocationId, ItemAnswer, ItemName, NO_ITEM, PayloadRef, RoomAnswer, Want,
};
use faasstore::tier::TierKind;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

pub(crate) const EXECUTORS: u32 = 4;
/// All workers are on one host.
pub(crate) const CLOCK: ClockId = ClockId(7);

/// How an item shows that is to be asked for.
pub(crate) const AWAY: &str = "(away)";

/// How an item that is not there shows.
pub(crate) const ABSENT: &str = "(absent)";

/// What an activation saw as an input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    Absent,
    One(String),
    List(Vec<String>),
}

/// For what an item is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    Passing,
    Walking,
    Kept,
}

/// One that holds this text.
pub(crate) fn one(text: &str) -> Seen {
    Seen::One(text.into())
}

/// One that is a list of these texts.
pub(crate) fn list(items: &[&str]) -> Seen {
    Seen::List(items.iter().map(|item| (*item).to_owned()).collect())
}

/// An attempt at an activation that an executor holds, or a node that the lane is to evaluate.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) node: String,
    pub(crate) item: Option<u32>,
    pub(crate) attempt: u32,
    pub(crate) saw: Vec<Seen>,
    pub(crate) worker: usize,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Start(Start),
    Evaluate(Evaluate),
}

/// A cluster of one or two workers with one lane each.
pub(crate) struct Rig {
    cores: Vec<Core>,
    flow: Flow,
    /// By node in the plans: the one of the flow.
    of: Vec<NodeId>,
    pub(crate) now_ns: u64,
    texts: HashMap<u64, String>,
    next_offset: u64,
    held: BTreeSet<u64>,
    pub(crate) running: Vec<Attempt>,
    /// All attempts so far.
    pub(crate) started: Vec<Attempt>,
    messages: VecDeque<(usize, Box<Send>)>,
    pub(crate) answer: Option<Answered>,
    /// Executors that were to be ended.
    pub(crate) killed: usize,
    /// Executors that were told to end, and those that were asked for.
    pub(crate) stopped: usize,
    pub(crate) wanted: usize,
    /// Where executors are to leave that were told to end.
    leaving: Vec<(usize, ExecutorId)>,
    /// What was told to stop: its node, and why.
    pub(crate) told: Vec<(String, Cancelled)>,
    pub(crate) outputs: BTreeMap<String, Seen>,
    /// Payloads that went from one worker to the other.
    pub(crate) sent: usize,
    /// Payloads that are being carried out of memory.
    carrying: Vec<CarryOut>,
    /// Those that were.
    away: BTreeMap<Ticket, String>,
    /// Of those, the ones that are to come back.
    coming: Vec<Ticket>,
    /// Parts of them that are to be copied in.
    copying: Vec<CopyIn>,
    /// What activations that asked for items were told: which, and its text, or why there is none.
    pub(crate) given: Vec<(u32, String)>,
    /// In whose arena what is made lies, and in what kind of segments.
    arena: Option<Arena>,
    /// What activations that waited for room were told.
    pub(crate) rooms: Vec<RoomAnswer>,
    waiting_for_room: BTreeSet<ExecutorId>,
    /// Whether what arrives finds no memory.
    pub(crate) refusing: bool,
    /// Why the next message cannot be sent, if it cannot.
    pub(crate) unsendable: Option<&'static str>,
}

/// An executor's arena in which all lies that is made from some time on.
#[derive(Clone, Copy, Debug)]
struct Arena {
    owner: ExecutorId,
    segment_bytes: u64,
    /// Ranges that fit into a segment.
    ranges: u32,
    /// The last segment, and how many are in it.
    last: (u32, u32),
}

/// Plays a flow on one worker and on two, its regions whole, and then divided.
pub(crate) fn each_placement(flow: &Flow, play: impl Fn(&mut Rig)) {
    each_whole(flow, &play);
    for (workers, weights) in [
        (1, &[1, 1][..]),
        (2, &[1, 1]),
        (2, &[3, 1]),
        (3, &[1, 2, 1]),
    ] {
        let mut rig = Rig::divided(flow, workers, weights);
        play(&mut rig);
        rig.nothing_is_left();
    }
}

/// Plays a flow on one worker, and on two, its regions whole: where it matters how many items a region has open, or in which
/// order these start.
pub(crate) fn each_whole(flow: &Flow, play: impl Fn(&mut Rig)) {
    for workers in [1, 2] {
        let mut rig = Rig::new(flow, workers);
        play(&mut rig);
        rig.nothing_is_left();
    }
}

impl Rig {
    pub(crate) fn new(flow: &Flow, workers: usize) -> Self {
        Self::with_room(flow, workers, |_| true)
    }

    /// A cluster of which only some workers have room for constants.
    pub(crate) fn with_room(flow: &Flow, workers: usize, has_room: impl Fn(usize) -> bool) -> Self {
        Self::playing(flow, workers, &[1], has_room)
    }

    /// A cluster that plays a flow whose outermost regions are divided by these weights.
    pub(crate) fn divided(flow: &Flow, workers: usize, weights: &[u32]) -> Self {
        Self::playing(flow, workers, weights, |_| true)
    }

    fn playing(
        flow: &Flow,
        workers: usize,
        weights: &[u32],
        has_room: impl Fn(usize) -> bool,
    ) -> Self {
        let rules = StoreRules::default();
        Self::with_rules(flow, workers, weights, (has_room, rules))
    }

    /// A worker that carries payloads out of memory by these rules.
    pub(crate) fn short_of_memory(flow: &Flow, rules: StoreRules) -> Self {
        Self::with_rules(flow, 1, &[1], (|_| true, rules))
    }

    /// As [`Rig::short_of_memory`], with another worker beside it that is not short of any.
    pub(crate) fn short_of_memory_beside(flow: &Flow, rules: StoreRules) -> Self {
        Self::with_rules(flow, 2, &[1], (|_| true, rules))
    }

    fn with_rules(
        flow: &Flow,
        workers: usize,
        weights: &[u32],
        (has_room, rules): (impl Fn(usize) -> bool, StoreRules),
    ) -> Self {
        let divided = flow.divided(weights);
        let core = |worker: usize| {
            Core::new(CoreConfig {
                worker_hash: worker_hash(&worker_name(worker)),
                epoch: 1,
                lane: 0,
                in_flight_max: 10,
                grace_ns: 1_000,
                lease_ns_max: flow.lease_ms_max.map(|most| most * 1_000_000),
                patience_ns: 1_000,
                keep_alive_ns: u64::MAX / 2,
                clock: CLOCK,
                store: if worker == 0 {
                    rules.clone()
                } else {
                    StoreRules::default()
                },
            })
        };
        let mut rig = Self {
            cores: (0..workers).map(core).collect(),
            flow: flow.clone(),
            of: divided.of.clone(),
            now_ns: 1,
            texts: HashMap::new(),
            next_offset: 64,
            held: BTreeSet::new(),
            running: Vec::new(),
            started: Vec::new(),
            messages: VecDeque::new(),
            answer: None,
            killed: 0,
            stopped: 0,
            wanted: 0,
            leaving: Vec::new(),
            told: Vec::new(),
            outputs: BTreeMap::new(),
            sent: 0,
            carrying: Vec::new(),
            away: BTreeMap::new(),
            coming: Vec::new(),
            copying: Vec::new(),
            given: Vec::new(),
            arena: None,
            rooms: Vec::new(),
            waiting_for_room: BTreeSet::new(),
            refusing: false,
            unsendable: None,
        };
        for (worker, plan) in flow.plans(&divided, workers).into_iter().enumerate() {
            plan.check().expect("a plan that is not whole");
            let constants = plan.constants.clone();
            let constants = constants
                .iter()
                .map(|c| match has_room(worker) {
                    true => rig.list_or_one(&c.items, c.kind),
                    false => Incoming::Refused("the arena is full".into()),
                })
                .collect();
            for other in (0..workers).filter(|other| *other != worker) {
                let door = InvocationId::new(worker_hash(&worker_name(other)), 1, 0, 0).door();
                rig.cores[worker].door_opened(door, 0);
            }
            rig.cores[worker].deploy(plan, constants);
            rig.cores[worker].activate(0, DEPLOYMENT);
            for executor in 0..EXECUTORS {
                rig.cores[worker].executor_joined(0, ExecutorId(executor), DEPLOYMENT, 0);
            }
        }
        rig.settle();
        rig
    }

    /// A client comes to the first worker.
    pub(crate) fn invoke(&mut self, inputs: &[(&str, &[&str])]) {
        let declared = self.flow.inputs.clone();
        let given = inputs.iter().map(|(name, texts)| {
            let kind = declared
                .iter()
                .find(|input| input.name == *name)
                .unwrap()
                .kind;
            let items: Vec<Vec<u8>> = texts.iter().map(|t| t.as_bytes().to_vec()).collect();
            ((*name).to_owned(), self.list_or_one(&items, kind))
        });
        let given = given.collect();
        // Whatever is played is recorded, too.
        let wanted = Wanted {
            report: true,
            trace: true,
        };
        self.cores[0].invoke(self.now_ns, ClientId(1), 1, "flow", given, wanted);
        self.settle();
    }

    /// The client asks for one more invocation, under this number and without inputs.
    pub(crate) fn invoke_as(&mut self, request: u64) {
        let (client, wanted) = (ClientId(1), Wanted::NOTHING);
        self.cores[0].invoke(self.now_ns, client, request, "flow", Vec::new(), wanted);
        self.settle();
    }

    /// The client has read its answer, and waits for others.
    pub(crate) fn read_answer(&mut self) -> Answered {
        self.answer.take().expect("there is no answer")
    }

    /// All that the first worker's core keeps, as text.
    pub(crate) fn debug(&self) -> String {
        format!("{:?}", self.cores[0])
    }

    /// What the first worker's core keeps.
    pub(crate) fn held(&self) -> Held {
        self.cores[0].held()
    }

    /// Timers of invocations on one worker, at most.
    pub(crate) fn most_timers(&self) -> usize {
        let timers = self.cores.iter().map(|core| core.held().timers);
        timers.max().unwrap_or(0)
    }

    /// The client takes back what it has asked for under this number.
    pub(crate) fn cancel(&mut self, request: u64) {
        let _ = self.cores[0].cancel(self.now_ns, ClientId(1), request);
        self.settle();
    }

    /// Another client names that number.
    pub(crate) fn cancel_by_another(&mut self, request: u64) {
        let _ = self.cores[0].cancel(self.now_ns, ClientId(2), request);
        self.settle();
    }

    /// The client takes back what has not come whole.
    pub(crate) fn cancel_at_door(&mut self, request: u64) {
        self.cores[0].cancel_at_door(self.now_ns, ClientId(1), request);
        self.settle();
    }

    /// What all workers have measured, by node, asked for page by page; and on each worker how many invocations began, and
    /// how many of them were measured.
    pub(crate) fn profile(&mut self) -> (BTreeMap<String, NodeProfile>, Vec<(u64, u64)>) {
        let (mut nodes, mut counts) = (BTreeMap::new(), Vec::new());
        for core in &mut self.cores {
            // Lanes that are idle now and then.
            while core.fold_profiles(3) {}
            let mut from = Some(0);
            let mut count = None;
            while let Some(first) = from {
                let page = core.profile(DEPLOYMENT, first, 2).unwrap();
                assert!(page.nodes.len() == 2 || page.next.is_none());
                for node in page.nodes {
                    let name = self.flow.nodes[node.id as usize].name.clone();
                    assert!(
                        nodes.insert(name, node).is_none(),
                        "a node is told of twice"
                    );
                }
                count = Some((page.invocations, page.measured));
                from = page.next;
            }
            counts.extend(count);
        }
        (nodes, counts)
    }

    /// The lanes forget what they have measured.
    pub(crate) fn forget_profile(&mut self) {
        for core in &mut self.cores {
            core.forget_profile(DEPLOYMENT);
        }
    }

    /// Whether each lane needs exact times.
    pub(crate) fn need_time(&self) -> Vec<bool> {
        self.cores.iter().map(Core::needs_time).collect()
    }

    /// Counts of the first worker, which takes what clients ask for.
    pub(crate) fn counters(&self) -> CoreCounters {
        self.cores[0].counters()
    }

    fn list_or_one(&mut self, items: &[Vec<u8>], kind: Kind) -> Incoming {
        let text = |item: &Vec<u8>| String::from_utf8(item.clone()).unwrap();
        if kind == Kind::List {
            self.list(&items.iter().map(text).collect::<Vec<_>>())
        } else {
            Incoming::One(self.fresh(&text(&items[0])))
        }
    }

    fn list(&mut self, items: &[String]) -> Incoming {
        let there = items.iter().filter(|item| *item != ABSENT);
        let range = self.fresh(&there.cloned().collect::<String>());
        let mut offset = 0;
        let items = items.iter().map(|item| {
            if item == ABSENT {
                return (0, ITEM_ABSENT);
            }
            let place = (offset, item.len() as u64);
            offset += item.len() as u64;
            place
        });
        Incoming::List {
            range,
            items: items.collect(),
            section: None,
        }
    }

    fn fresh(&mut self, text: &str) -> PayloadRef {
        if text.is_empty() {
            return PayloadRef::EMPTY;
        }
        let offset = self.next_offset;
        self.next_offset += 1 << 16;
        self.texts.insert(offset, text.to_owned());
        self.held.insert(offset);
        PayloadRef {
            segment: 0,
            generation: 1,
            offset,
            length: text.len() as u64,
        }
    }

    /// As [`Rig::fresh`], by an executor of the first worker.
    fn made(&mut self, text: &str) -> PayloadRef {
        let range = self.fresh(text);
        let Some(arena) = self.arena.as_mut().filter(|_| range.is_range()) else {
            return range;
        };
        let (segment, ranges) = arena.last;
        if segment == 0 || ranges == arena.ranges {
            arena.last = (segment + 1, 0);
            let owner = Some(arena.owner);
            self.cores[0].segment_known(segment + 1, arena.segment_bytes, owner);
        }
        arena.last.1 += 1;
        PayloadRef {
            segment: arena.last.0,
            ..range
        }
    }

    /// What is made from now on lies in the arena of the executor that runs a node: in segments of so many bytes, and so many
    /// in each.
    pub(crate) fn fill_arena_of(&mut self, node: &str, segment_bytes: u64, ranges: u32) {
        let owner = self.start_of(node).executor;
        self.arena = Some(Arena {
            owner,
            segment_bytes,
            ranges,
            last: (0, 0),
        });
    }

    fn start_of(&self, node: &str) -> Start {
        let running = self.running.iter().find(|one| one.node == node);
        let running = running.unwrap_or_else(|| panic!("{node} does not run"));
        match running.what {
            What::Start(start) => start,
            What::Evaluate(_) => panic!("the lane evaluates {node}"),
        }
    }

    /// What runs of a node finds its arena full, for so many bytes, `again` if what came back was not enough.
    pub(crate) fn full(
        &mut self,
        node: &str,
        bytes: u64,
        again: bool,
    ) -> Result<(), CompletionError> {
        let start = self.start_of(node);
        let full = Full {
            activation: start.activation,
            bytes,
            again,
        };
        let told = self.cores[0].arena_full(self.now_ns, start.executor, &full);
        if told.is_ok() {
            self.waiting_for_room.insert(start.executor);
        }
        self.settle();
        told
    }

    fn text(&self, range: PayloadRef) -> Seen {
        if range == PayloadRef::ABSENT {
            return Seen::Absent;
        }
        if range.length == 0 {
            return one("");
        }
        let whole = (range.offset - 64) / (1 << 16) * (1 << 16) + 64;
        assert!(self.held.contains(&whole), "it was given back already");
        let first = (range.offset - whole) as usize;
        one(&self.texts[&whole][first..][..range.length as usize])
    }

    fn seen(&self, worker: usize, input: Input<'_>) -> Seen {
        match input {
            Input::One(range) => self.text(range),
            Input::Windowed(items, account) => {
                let core = &self.cores[worker];
                let places = items.iter();
                let places = places.map(|item| core.locate_or_away(*item, account));
                let texts = places.map(|place| match place.is_away() {
                    true => AWAY.to_owned(),
                    false => match self.text(place) {
                        Seen::One(text) => text,
                        _ => ABSENT.to_owned(),
                    },
                });
                Seen::List(texts.collect())
            }
            Input::List(items) => Seen::List(
                items
                    .iter()
                    .map(|item| match self.text(self.cores[worker].locate(*item)) {
                        Seen::One(text) => text,
                        Seen::Absent => ABSENT.to_owned(),
                        Seen::List(_) => panic!("an item that is a list"),
                    })
                    .collect(),
            ),
        }
    }

    /// Time passes, and timers act.
    pub(crate) fn pass_ms(&mut self, milliseconds: u64) {
        self.now_ns += milliseconds * 1_000_000;
        for core in &mut self.cores {
            core.tick(self.now_ns);
        }
        self.settle();
    }

    /// The activation of this node that runs, or is to be evaluated.
    pub(crate) fn take(&mut self, node: &str) -> Attempt {
        let running: Vec<&str> = self.running.iter().map(|a| a.node.as_str()).collect();
        let place = running.iter().position(|name| *name == node);
        let place = place.unwrap_or_else(|| panic!("{node} does not run, but {running:?}"));
        self.running.remove(place)
    }

    /// Takes this one, if it still runs.
    fn take_attempt(&mut self, attempt: &Attempt) {
        let same = |one: &Attempt| match (&one.what, &attempt.what) {
            (What::Start(a), What::Start(b)) => a == b && one.worker == attempt.worker,
            (What::Evaluate(a), What::Evaluate(b)) => a == b && one.worker == attempt.worker,
            _ => false,
        };
        self.running.retain(|one| !same(one));
    }

    pub(crate) fn runs(&self, node: &str) -> bool {
        self.running.iter().any(|attempt| attempt.node == node)
    }

    /// What the core says that this case of a switch will start first, if the switch comes next once `node` has ended.
    pub(crate) fn foresees_case(&self, node: &str, switch: &str, case: u16) -> Option<String> {
        let running = self.running.iter().find(|attempt| attempt.node == node)?;
        let What::Start(Start { executor, .. }) = running.what else {
            return None;
        };
        let core = &self.cores[running.worker];
        let Some(Next::Evaluate(evaluate)) = core.foresee(executor, |_| {})?.next else {
            return None;
        };
        let name = |node: NodeId| self.name(node);
        assert_eq!(name(evaluate.node), switch);
        let start = core.foresee_case(executor, &evaluate, case, |_| {})?;
        Some(name(core.started_node(&start).0))
    }

    /// The name of a node in the plans.
    fn name(&self, node: NodeId) -> String {
        self.flow.nodes[self.of[node as usize] as usize]
            .name
            .clone()
    }

    /// Attempts at a node so far.
    pub(crate) fn attempts(&self, node: &str) -> usize {
        self.started
            .iter()
            .filter(|attempt| attempt.node == node)
            .count()
    }

    /// What the last attempt at a node saw.
    pub(crate) fn saw(&self, node: &str) -> Vec<Seen> {
        let attempts = self.started.iter().rev();
        let mut of_node = attempts.filter(|attempt| attempt.node == node);
        of_node
            .next()
            .unwrap_or_else(|| panic!("{node} has not run"))
            .saw
            .clone()
    }

    /// A node's activation ends well, and returns its name, with its item's number if it has one; a list's items are two.
    pub(crate) fn end(&mut self, node: &str) {
        let attempt = self.take(node);
        self.end_attempt(&attempt);
    }

    /// As [`Rig::end`], and the executor says what was taken of CPUs.
    pub(crate) fn end_measured(&mut self, node: &str, cpu: CpuUse) {
        let attempt = self.take(node);
        self.complete(&attempt, Some(cpu));
        self.settle();
    }

    /// Whether the executor that runs a node, the one that began last, is asked to measure it: by the request as it would be
    /// written now.
    pub(crate) fn measures(&self, node: &str) -> bool {
        let running = self.running.iter().rfind(|attempt| attempt.node == node);
        let running = running.unwrap_or_else(|| panic!("{node} does not run"));
        let What::Start(start) = &running.what else {
            panic!("the lane evaluates {node}");
        };
        self.cores[running.worker].measures(start)
    }

    pub(crate) fn end_attempt(&mut self, attempt: &Attempt) {
        self.take_attempt(attempt);
        self.complete(attempt, None);
        self.settle();
    }

    /// As [`Rig::end`], and the lane has not come to tidy up.
    pub(crate) fn end_untidied(&mut self, node: &str) {
        let attempt = self.take(node);
        self.complete(&attempt, None);
    }

    fn complete(&mut self, attempt: &Attempt, cpu: Option<CpuUse>) {
        let What::Start(start) = attempt.what else {
            panic!("the lane evaluates {}", attempt.node);
        };
        let text = match attempt.item {
            Some(item) => format!("{}{item}", attempt.node),
            None => attempt.node.clone(),
        };
        let kinds: Vec<Kind> = self.cores[attempt.worker]
            .output_kinds(start.executor)
            .unwrap()
            .collect();
        let outputs: Vec<Output> = kinds
            .iter()
            .map(|kind| match kind {
                Kind::List => {
                    let items =
                        ["x", "y"].map(|item| Piece::Own(self.made(&(text.clone() + item))));
                    Output::List(items.to_vec())
                }
                Kind::Bytes | Kind::Value => Output::One(Piece::Own(self.made(&text))),
            })
            .collect();
        let core = &mut self.cores[attempt.worker];
        core.completed_measured(self.now_ns, start.executor, start.activation, &outputs, cpu)
            .unwrap();
    }

    /// A node's activation fails.
    pub(crate) fn fail(&mut self, node: &str, class: ErrorClass, cause: &str) {
        let attempt = self.take(node);
        self.fail_taken(&attempt, class, cause);
    }

    /// This activation, which runs, fails.
    pub(crate) fn fail_attempt(&mut self, attempt: &Attempt, class: ErrorClass, cause: &str) {
        self.take_attempt(attempt);
        self.fail_taken(attempt, class, cause);
    }

    /// The executor that runs a node is ended, and why.
    pub(crate) fn executor_dies(&mut self, node: &str, cause: &str) {
        let attempt = self.take(node);
        let What::Start(start) = attempt.what else {
            panic!("the lane evaluates {node}");
        };
        let core = &mut self.cores[attempt.worker];
        core.executor_condemned(self.now_ns, start.executor, cause);
        core.executor_left(self.now_ns, start.executor, cause);
        self.waiting_for_room.remove(&start.executor);
        self.settle();
    }

    /// When the first worker's next timer is due.
    pub(crate) fn next_timer_ms(&self) -> Option<u64> {
        let next_ns = self.cores[0].next_timer_ns();
        next_ns.map(|due_ns| due_ns / 1_000_000)
    }

    /// All executors are to be replaced.
    pub(crate) fn replace_all(&mut self) {
        for worker in 0..self.cores.len() {
            for executor in 0..EXECUTORS {
                self.cores[worker].replace_executor(self.now_ns, ExecutorId(executor));
            }
        }
        self.settle();
    }

    /// Executors that were told to end have done so.
    pub(crate) fn stopped_have_left(&mut self) {
        for (worker, id) in std::mem::take(&mut self.leaving) {
            self.cores[worker].executor_left(self.now_ns, id, "it was told to end");
        }
        self.settle();
    }

    /// Where the executor is that runs a node.
    pub(crate) fn place_of(&self, node: &str) -> ExecutorId {
        self.start_of(node).executor
    }

    /// An executor joins the first worker in a place that is free.
    pub(crate) fn executor_joins_at(&mut self, place: ExecutorId) {
        self.cores[0].executor_joined(self.now_ns, place, DEPLOYMENT, 0);
        self.settle();
    }

    /// One executor more joins each worker.
    pub(crate) fn executors_join(&mut self) {
        for core in &mut self.cores {
            core.executor_joined(self.now_ns, ExecutorId(0), DEPLOYMENT, 0);
        }
        self.settle();
    }

    fn fail_taken(&mut self, attempt: &Attempt, class: ErrorClass, cause: &str) {
        let What::Start(start) = attempt.what else {
            panic!("the lane evaluates {}", attempt.node);
        };
        let core = &mut self.cores[attempt.worker];
        core.failed(
            self.now_ns,
            start.executor,
            start.activation,
            class,
            cause.into(),
        )
        .unwrap();
        self.settle();
    }

    /// This switch of an item, which is to be evaluated, chooses a case.
    pub(crate) fn choose_attempt(&mut self, attempt: &Attempt, case: u16) {
        let What::Evaluate(evaluate) = attempt.what else {
            panic!("an executor runs {}", attempt.node);
        };
        self.take_attempt(attempt);
        let chosen = Evaluated::Case(Some(case));
        self.cores[attempt.worker].evaluated(self.now_ns, evaluate.ticket, chosen);
        self.settle();
    }

    /// A switch chooses a case.
    pub(crate) fn choose(&mut self, node: &str, case: Option<u16>) {
        self.evaluated(node, Evaluated::Case(case));
    }

    /// A computing node gives a value.
    pub(crate) fn compute(&mut self, node: &str, text: &str) {
        let value = Incoming::One(self.fresh(text));
        self.evaluated(node, Evaluated::Values(vec![value]));
    }

    pub(crate) fn evaluated(&mut self, node: &str, evaluated: Evaluated) {
        let attempt = self.take(node);
        let What::Evaluate(evaluate) = attempt.what else {
            panic!("an executor runs {node}");
        };
        self.cores[attempt.worker].evaluated(self.now_ns, evaluate.ticket, evaluated);
        self.settle();
    }

    /// A node is to wait for so long.
    pub(crate) fn wait(&mut self, node: &str, delay_ms: u64) {
        let delay_ns = delay_ms * 1_000_000;
        self.evaluated(node, Evaluated::Waits { delay_ns });
    }

    /// An activation returns this input as its one output; whether it may.
    pub(crate) fn pass_on(&mut self, node: &str, input: u16) -> Result<(), CompletionError> {
        self.pass(node, input, None)
    }

    /// An activation returns this item of its only list as its one output; whether it may.
    pub(crate) fn pass_item_on(&mut self, node: &str, item: u32) -> Result<(), CompletionError> {
        self.pass(node, 0, Some(item))
    }

    fn pass(&mut self, node: &str, input: u16, item: Option<u32>) -> Result<(), CompletionError> {
        let attempt = self.take(node);
        let What::Start(start) = attempt.what else {
            panic!("the lane evaluates {node}");
        };
        let piece = Piece::Alias {
            input,
            item,
            offset: 0,
            length: 1,
        };
        let core = &mut self.cores[attempt.worker];
        let (executor, activation) = (start.executor, start.activation);
        let passed = core.completed(self.now_ns, executor, activation, &[Output::One(piece)]);
        if passed.is_err() {
            self.running.push(attempt);
        }
        self.settle();
        passed
    }

    /// All that runs ends well, and all that this starts; switches choose their first case, and nothing computed is waited
    /// for.
    pub(crate) fn end_all(&mut self) {
        while let Some(attempt) = self.running.first().cloned() {
            match attempt.what {
                What::Start(_) => self.end(&attempt.node),
                What::Evaluate(evaluate) => self.evaluate_simply(&attempt.node, evaluate.part()),
            }
        }
    }

    /// A switch chooses its first case; what would wait does not.
    fn evaluate_simply(&mut self, node: &str, part: Part) {
        match part {
            Part::Work => self.choose(node, Some(0)),
            Part::Delay => self.wait(node, 0),
        }
    }

    pub(crate) fn result(&self) -> Result<(), &Failure> {
        let answer = self.answer.as_ref().expect("there is no answer");
        answer.result.as_ref().map(|_| ())
    }

    pub(crate) fn failure(&self) -> &Failure {
        self.result().expect_err("it ended well")
    }

    /// Late results of all workers.
    pub(crate) fn late(&self) -> u64 {
        self.cores
            .iter()
            .map(|core| core.counters().late_dropped)
            .sum()
    }

    /// Places that the first worker has in use, those of items included.
    pub(crate) fn invocations_held(&self) -> usize {
        self.cores
            .iter()
            .map(|core| core.held().invocations)
            .max()
            .unwrap_or(0)
    }

    /// Activations of which it is kept how often each of their retriers has tried them again.
    pub(crate) fn retried(&self) -> usize {
        self.cores.iter().map(|core| core.held().retried).sum()
    }

    /// Ranges that somebody may still read.
    pub(crate) fn ranges_held(&self) -> usize {
        self.held.len()
    }

    /// Carries out what the cores want, until they want no more.
    fn settle(&mut self) {
        loop {
            let mut busy = false;
            for worker in 0..self.cores.len() {
                let mut actions = Vec::new();
                self.cores[worker].take_actions(&mut actions);
                if actions.is_empty() {
                    self.cores[worker].tidy(self.now_ns, &mut actions);
                }
                busy |= !actions.is_empty();
                for action in actions {
                    self.act(worker, action);
                }
            }
            if !busy {
                let Some((from, send)) = self.messages.pop_front() else {
                    return;
                };
                self.deliver(from, *send);
            }
        }
    }

    fn act(&mut self, worker: usize, action: Action) {
        match action {
            Action::Start(start) => {
                let mut saw = Vec::new();
                self.cores[worker].inputs(&start, |input| saw.push(self.seen(worker, input)));
                let (node, _) = self.cores[worker].started_node(&start);
                self.starts(Attempt {
                    node: self.name(node),
                    item: (start.item != NO_ITEM).then_some(start.item),
                    attempt: start.attempt,
                    saw,
                    worker,
                    what: What::Start(start),
                });
            }
            Action::Evaluate(evaluate) => {
                let mut saw = Vec::new();
                let core = &self.cores[worker];
                core.evaluation_inputs(&evaluate, |input| saw.push(self.seen(worker, input)));
                self.starts(Attempt {
                    node: self.name(evaluate.node),
                    item: None,
                    attempt: 1,
                    saw,
                    worker,
                    what: What::Evaluate(evaluate),
                });
            }
            Action::Describe(describe) => {
                let Describe { ticket, text, .. } = *describe;
                let text = Incoming::One(self.fresh(&text));
                self.cores[worker].described(self.now_ns, ticket, text);
            }
            Action::Release(range) => {
                assert!(
                    self.held.remove(&range.offset),
                    "given back twice: {range:?}"
                );
                let owner = self.arena.filter(|_| range.segment > 0);
                let owner = owner.map(|arena| arena.owner);
                if let Some(owner) = owner.filter(|owner| self.waiting_for_room.contains(owner)) {
                    self.cores[worker].range_returned(owner);
                }
            }
            Action::Send(send) => self.messages.push_back((worker, send)),
            Action::Answer(answered) => {
                if let Ok(outputs) = &answered.result {
                    for (name, outgoing) in outputs {
                        let seen = self.outgoing(worker, outgoing);
                        self.outputs.insert(name.clone(), seen);
                        self.cores[worker].let_go_all(outgoing.payloads());
                    }
                }
                assert!(self.answer.replace(*answered).is_none(), "a second answer");
            }
            Action::Tell {
                executor,
                activation,
                why,
            } => {
                let is_told = |attempt: &&Attempt| {
                    let start = match &attempt.what {
                        What::Start(start) => {
                            Some((attempt.worker, start.executor, start.activation))
                        }
                        What::Evaluate(_) => None,
                    };
                    start == Some((worker, executor, activation))
                };
                let told = self.running.iter().find(is_told);
                let told =
                    told.unwrap_or_else(|| panic!("{activation} of {executor:?} does not run"));
                self.told.push((told.node.clone(), why));
            }
            Action::Kill { .. } => self.killed += 1,
            Action::CarryOut(order) => self.carrying.push(*order),
            Action::BringBack { ticket, .. } => self.coming.push(ticket),
            Action::Discard(ticket) => assert!(self.away.remove(&ticket).is_some()),
            Action::CopyIn(order) => self.copying.push(*order),
            Action::Item(given) => {
                let text = match given.answer {
                    ItemAnswer::Here(place) => match self.text(place) {
                        Seen::One(text) => text,
                        other => panic!("{other:?}"),
                    },
                    ItemAnswer::NoRoom => "(no room)".to_owned(),
                    ItemAnswer::Stopped => "(stopped)".to_owned(),
                };
                self.given.push((given.name.item, text));
            }
            Action::Room(given) => {
                assert!(self.waiting_for_room.remove(&given.executor), "{given:?}");
                self.rooms.push(given.answer);
            }
            Action::Measure(_) => {}
            Action::Stop(id) => {
                self.stopped += 1;
                self.leaving.push((worker, id));
            }
            Action::ExecutorWanted { .. } => self.wanted += 1,
            Action::Removed(_) => {}
        }
    }

    /// The deployment's door closes for good.
    pub(crate) fn retire(&mut self) {
        self.cores[0].retire(self.now_ns, DEPLOYMENT);
        self.settle();
    }

    /// What is being carried out of memory, in order.
    pub(crate) fn carrying(&self) -> Vec<String> {
        let text = |order: &CarryOut| match self.text(order.range) {
            Seen::One(text) => text,
            other => panic!("{other:?}"),
        };
        self.carrying.iter().map(text).collect()
    }

    /// By text, into which tier what is being carried out goes, in order.
    pub(crate) fn carrying_to(&self) -> Vec<(String, TierKind)> {
        let kinds = self.carrying.iter().map(|order| order.kind);
        self.carrying().into_iter().zip(kinds).collect()
    }

    /// Memory has run out in which what has one of these texts lies: so many bytes of it are wanted.
    pub(crate) fn run_out_of_memory(&mut self, bytes: u64, there: &[&str]) {
        let account = self.cores[0].account_of(DEPLOYMENT).unwrap();
        let texts = self.texts.iter();
        let there = texts.filter(|(_, text)| there.contains(&text.as_str()));
        let offsets: Vec<u64> = there.map(|(offset, _)| *offset).collect();
        let lies_there = |range: PayloadRef| offsets.contains(&range.offset);
        self.cores[0].make_room(self.now_ns, account, bytes, &lies_there);
        self.settle();
    }

    /// What is being carried out of memory has been, or not.
    pub(crate) fn carried(&mut self, well: bool) {
        self.stored(if well {
            Ok(1000)
        } else {
            Err(Unstored::Failed)
        });
    }

    /// No tier takes what is being carried out of memory.
    pub(crate) fn not_carried(&mut self, why: Unstored) {
        self.stored(Err(why));
    }

    fn stored(&mut self, stored: Result<u64, Unstored>) {
        for order in std::mem::take(&mut self.carrying) {
            let CarryOut {
                ticket,
                range,
                kind,
            } = order;
            if let (Ok(_), Seen::One(text)) = (stored, self.text(range)) {
                self.away.insert(ticket, text);
            }
            self.cores[0].stored(self.now_ns, ticket, kind, stored);
        }
        self.settle();
    }

    /// Payloads that are elsewhere, and are not asked for; and those that are.
    pub(crate) fn elsewhere(&self) -> (usize, usize) {
        (self.away.len() - self.coming.len(), self.coming.len())
    }

    /// What is to come back does, or is lost for this reason.
    pub(crate) fn come_back(&mut self, lost: Option<&str>) {
        for ticket in std::mem::take(&mut self.coming) {
            let text = self.away.remove(&ticket).unwrap();
            let back = match lost {
                Some(cause) => Err(cause.into()),
                None => Ok((self.fresh(&text), 1000)),
            };
            self.cores[0].fetched(self.now_ns, ticket, TierKind::Spill, back);
        }
        self.settle();
    }

    /// What runs of a node asks for an item of its only list, and is done with others; whether it may.
    pub(crate) fn want(
        &mut self,
        node: &str,
        want: (Option<u32>, Use),
        done: &[u32],
    ) -> Result<(), CompletionError> {
        let running = self.running.iter().find(|one| one.node == node);
        let running = running.unwrap_or_else(|| panic!("{node} does not run"));
        let (What::Start(start), worker) = (&running.what, running.worker) else {
            panic!("the lane evaluates {node}");
        };
        let start = *start;
        let name = |item| ItemName { input: 0, item };
        let mut wanted = Want::new(start.activation, want.0.map(name));
        wanted.keep = want.1 == Use::Kept;
        wanted.walks = want.1 == Use::Walking;
        done.iter()
            .for_each(|done| assert!(wanted.add_done(name(*done))));
        let result = self.cores[worker].want(self.now_ns, start.executor, &wanted);
        self.settle();
        result
    }

    /// What is to be copied in is in memory: how many of these there were.
    pub(crate) fn copied(&mut self) -> usize {
        let copying = std::mem::take(&mut self.copying);
        for order in &copying {
            let CopyIn {
                ticket,
                of,
                offset,
                bytes,
                ..
            } = *order;
            let copied = match self.away.get(&of) {
                Some(text) => {
                    let text = text[offset as usize..][..bytes as usize].to_owned();
                    Ok((self.fresh(&text), 1000))
                }
                None => Err("it is not there".into()),
            };
            self.cores[0].fetched(self.now_ns, ticket, TierKind::Spill, copied);
        }
        self.settle();
        copying.len()
    }

    /// What is to be copied in is not, since the disk is gone, or for want of room.
    pub(crate) fn not_copied(&mut self, lost: Option<&str>) -> usize {
        let copying = std::mem::take(&mut self.copying);
        for order in &copying {
            match lost {
                Some(cause) => {
                    let lost = Err(cause.into());
                    self.cores[0].fetched(self.now_ns, order.ticket, TierKind::Spill, lost);
                }
                None => self.cores[0].unplaced(self.now_ns, order.ticket),
            }
        }
        self.settle();
        copying.len()
    }

    /// Walks over the only list of what runs of a node, and lets go of each item before the next: what it was given.
    pub(crate) fn walk(&mut self, node: &str, items: u32) -> Vec<String> {
        let mut texts = Vec::new();
        for item in 0..items {
            let done: Vec<u32> = item.checked_sub(1).into_iter().collect();
            self.want(node, (Some(item), Use::Walking), &done).unwrap();
            while self.given.is_empty() {
                self.carried(true);
                self.copied();
                self.come_back(None);
            }
            let (given, text) = self.given.remove(0);
            assert_eq!(given, item);
            texts.push(text);
        }
        texts
    }

    /// What the worker has done for want of memory.
    pub(crate) fn carried_so_far(&self) -> Carried {
        let account = self.cores[0].account_of(DEPLOYMENT).unwrap();
        self.cores[0].leases().tally(account).carried
    }

    /// What was read on all workers, by edge, asked for node by node.
    pub(crate) fn edges(&mut self) -> BTreeMap<(String, String), Reads> {
        let mut all = BTreeMap::new();
        for core in &mut self.cores {
            let mut from = Some(0);
            while let Some(first) = from {
                let page = core.edges(DEPLOYMENT, first, 1).unwrap();
                merge(&mut all, page.edges);
                from = page.next;
            }
        }
        all
    }

    /// What the first worker's memory holds of the workflow, and what is watched of it.
    pub(crate) fn memory(&self) -> (Holdings, &Tally) {
        let account = self.cores[0].account_of(DEPLOYMENT).unwrap();
        let leases = self.cores[0].leases();
        (leases.holdings(account), leases.tally(account))
    }

    /// An executor of the first worker has been seen to have so many bytes for itself.
    pub(crate) fn measured(&mut self, bytes: u64) {
        self.cores[0].measured(DEPLOYMENT, 0, bytes);
        self.settle();
    }

    fn starts(&mut self, attempt: Attempt) {
        self.running.push(attempt.clone());
        self.started.push(attempt);
    }

    fn outgoing(&self, worker: usize, outgoing: &Outgoing) -> Seen {
        match outgoing {
            Outgoing::One(payload) => self.text(self.cores[worker].locate(*payload)),
            Outgoing::List(items) | Outgoing::Section(items, _) => {
                self.seen(worker, Input::List(items))
            }
        }
    }

    fn deliver(&mut self, from: usize, send: Send) {
        let to = (0..self.cores.len())
            .find(|worker| worker_hash(&worker_name(*worker)) == send.worker_hash)
            .unwrap();
        let (now_ns, id) = (self.now_ns, send.invocation);
        if let Some(cause) = self.unsendable.take() {
            let held = match &send.body {
                Outbound::Begin { inputs: held, .. }
                | Outbound::StateEvent { outputs: held, .. }
                | Outbound::PartDone { outputs: held, .. } => held.as_slice(),
                _ => &[],
            };
            let core = &mut self.cores[from];
            held.iter()
                .for_each(|(_, outgoing)| core.let_go_all(outgoing.payloads()));
            core.untold(now_ns, send.deployment, id, cause.to_owned());
            return;
        }
        let mut copy = |outputs: Vec<(u16, Outgoing)>| -> Vec<(u16, Incoming)> {
            let copied = outputs.iter().map(|(number, outgoing)| {
                let mut incoming = match self.outgoing(from, outgoing) {
                    _ if self.refusing => Incoming::Refused("no memory".into()),
                    Seen::One(text) => Incoming::One(self.fresh(&text)),
                    Seen::List(items) => self.list(&items),
                    Seen::Absent => panic!("what is absent was sent"),
                };
                self.sent += outgoing.payloads().len();
                if let (Outgoing::Section(_, part), Incoming::List { section, .. }) =
                    (outgoing, &mut incoming)
                {
                    *section = Some(*part);
                }
                self.cores[from].let_go_all(outgoing.payloads());
                (*number, incoming)
            });
            copied.collect()
        };
        match send.body {
            Outbound::Begin { wanted, inputs } => {
                let inputs = copy(inputs);
                self.cores[to].begin(now_ns, send.deployment, id, wanted, inputs);
            }
            Outbound::StateEvent {
                node,
                outcome,
                outputs,
            } => {
                let outputs = copy(outputs);
                self.cores[to].state_event(now_ns, send.deployment, id, node, outcome, outputs);
            }
            Outbound::PartDone {
                outputs,
                report,
                trace,
            } => {
                let outputs = copy(outputs);
                self.cores[to].part_done(now_ns, id, outputs, report, trace);
            }
            Outbound::PartFailed {
                failure,
                report,
                trace,
            } => {
                self.cores[to].part_failed(now_ns, id, failure, report, trace);
            }
            Outbound::Forget { why } => self.cores[to].forget(now_ns, id, why),
            Outbound::Drained => {
                let from = worker_hash(&worker_name(from));
                self.cores[to].peer_drained(send.deployment, from, 0);
            }
        }
    }

    /// Whatever still runs comes back; then nothing is held but constants.
    pub(crate) fn nothing_is_left(&mut self) {
        assert!(self.answer.is_some(), "there is no answer");
        while let Some(attempt) = self.running.first().cloned() {
            match attempt.what {
                What::Start(_) => self.end(&attempt.node),
                What::Evaluate(evaluate) => self.evaluate_simply(&attempt.node, evaluate.part()),
            }
        }
        let held = self.memory().0;
        let moved = (held.moving, held.leaving_bytes, held.away, held.away_bytes);
        assert_eq!(moved, (0, 0, 0, 0), "{held:?}");
        for worker in 0..self.cores.len() {
            self.cores[worker].retire(self.now_ns, DEPLOYMENT);
        }
        let mut gone = 0;
        for _ in 0..4 {
            for worker in 0..self.cores.len() {
                let mut actions = Vec::new();
                self.cores[worker].take_actions(&mut actions);
                for action in actions {
                    match action {
                        Action::Removed(_) => gone += 1,
                        Action::Stop(_) => {}
                        other => self.act(worker, other),
                    }
                }
                while let Some((from, send)) = self.messages.pop_front() {
                    self.deliver(from, *send);
                }
            }
        }
        assert_eq!(gone, self.cores.len(), "a deployment does not go");
        for core in &self.cores {
            assert_eq!(
                (core.leases().count(), core.leases().bytes(), core.held()),
                (0, 0, Held::default()),
                "something is held"
            );
        }
        assert_eq!(self.held, BTreeSet::new(), "something was not given back");
    }
}
