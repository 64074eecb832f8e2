//! Cores that play a workflow, with functions that are texts: an activation returns its node's name, and what it saw is
//! kept.

mod acting;
mod attempts;
mod payloads;
mod tiers;

use super::flow::{DEPLOYMENT, Flow, worker_name};
use engine::core::store::{StoreRules, Ticket};
use engine::core::{
    Action, Answered, CarryOut, ClientId, CopyIn, Core, CoreConfig, CoreCounters, Evaluate,
    ExecutorId, Held, Incoming, Send, Start, Wanted, worker_hash,
};
use engine::plan::NodeId;
use engine::profile::NodeProfile;
use engine::trace::ClockId;
use engine::wire::Failure;
use faasstore::Cancelled;
use faasstore::descriptor::{InvocationId, RoomAnswer};
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

    /// Time passes, and timers act.
    pub(crate) fn pass_ms(&mut self, milliseconds: u64) {
        self.now_ns += milliseconds * 1_000_000;
        for core in &mut self.cores {
            core.tick(self.now_ns);
        }
        self.settle();
    }

    /// When the first worker's next timer is due.
    pub(crate) fn next_timer_ms(&self) -> Option<u64> {
        let next_ns = self.cores[0].next_timer_ns();
        next_ns.map(|due_ns| due_ns / 1_000_000)
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

    /// The deployment's door closes for good.
    pub(crate) fn retire(&mut self) {
        self.cores[0].retire(self.now_ns, DEPLOYMENT);
        self.settle();
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
