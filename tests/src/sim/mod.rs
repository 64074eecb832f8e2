//! A simulated cluster around [`engine::core::Core`]: one core for each lane of each worker, with executors, memory,
//! connections, clients and a clock that are all played, and all in one thread.
//!
//! What comes next is drawn from all that could: a completion, a message at the head of a connection, a client, an
//! order of the master, a fault. A run ends when nothing is left that could happen; then every client must have its
//! answer, and nothing may be held anywhere.
//!
//! | file | subject |
//! | --- | --- |
//! | `scenario` | what is played |
//! | `lane` | a lane's state |
//! | `memory` | ranges, and who misuses them |
//! | `executors` | activations, and what becomes of them |
//! | `links` | messages between lanes |
//! | `evaluations` | what lanes compute themselves |
//! | `clients` | wishes and answers |
//! | `answers` | what clients must get |
//! | `cancels` | clients that take back what they asked for |
//! | `stops` | executors that are told to stop |
//! | `orders` | deployments, and workers that die |
//! | `proven` | what invocations hold, against what is proven of it |
//! | `reads` | what is read, and how it came |
//! | `replicas` | which of several placements a door has to choose |
//! | `sabotage` | bugs that are planted, for the tests of the tests |
//! | `verdict` | what must hold in the end |
//! | `windows` | lists that are read item by item |
//! | `full` | functions that find their arena full |
//! | `constructs` | what of the language a run has held |

mod answers;
mod arrivals;
mod cancels;
mod clients;
mod constructs;
mod delays;
mod evaluations;
mod executors;
mod foresight;
mod full;
mod lane;
mod links;
mod memory;
mod orders;
mod proven;
mod reads;
mod replicas;
mod sabotage;
mod scenario;
mod stops;
mod stores;
mod told;
mod verdict;
mod windows;

pub use clients::{Asked, Outcome};
pub use constructs::Constructs;
pub use memory::Memory;
pub use sabotage::Sabotage;
pub use scenario::{Bounds, Deployed, Faults, Order, Scenario, Story};
pub use verdict::Tally;

use crate::random::Random;
use crate::reference::Verdict;
use crate::trace::Moment;
use engine::core::Action;
use engine::plan::DeploymentId;
use faasstore::descriptor::InvocationId;
use lane::{Lane, State};
use links::Link;
use replicas::Chosen;
use std::collections::{BTreeSet, HashMap};

/// A run that goes on for longer than this many events goes on for ever.
const STEPS_MAX: u64 = 3_000_000;
/// Longest time between two events.
const STEP_NS_MAX: usize = 2_000;
/// In a thousand steps: the clock jumps to the next timer, though other events could come first.
const EARLY_TIMERS: u32 = 4;

/// Something that may happen next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    Order(usize),
    Invoke,
    Tick(usize),
    Tidy(usize),
    Start { lane: usize, index: usize },
    Return { lane: usize, place: usize },
    Exit { lane: usize, place: usize },
    Deliver(usize),
    Land { link: usize, index: usize },
    SenderLearns(usize),
    ReceiverLearns(usize),
    Connect(usize),
    Accept(usize),
    Restart(usize),
    ReadAnswer { lane: usize, index: usize },
    Evaluated { lane: usize, index: usize },
    Described { lane: usize, index: usize },
    Carried { lane: usize, index: usize },
    Fetched { lane: usize, index: usize },
    Arrived { lane: usize, index: usize },
    Copied { lane: usize, index: usize },
    Want { lane: usize, place: usize },
    Full { lane: usize, place: usize },
}

/// The cluster, and all that is under way in it.
#[derive(Debug)]
pub struct Cluster {
    random: Random,
    now_ns: u64,
    scenario: Scenario,
    lanes: Vec<Lane>,
    links: Vec<Link>,
    link_by_ends: HashMap<(usize, usize), usize>,
    asked: Vec<Asked>,
    /// What the reference says of each, unless it was refused.
    verdicts: Vec<Option<Verdict>>,
    by_id: HashMap<InvocationId, usize>,
    deployment_by_id: HashMap<DeploymentId, usize>,
    /// Workers that somebody lost sight of, by name: an invocation may have failed for that.
    lost_workers: BTreeSet<String>,
    /// Executables that could not be started: worker's name and executable's.
    refused_executables: BTreeSet<(String, String)>,
    /// Workers that have died, and have not come back.
    dead: Vec<usize>,
    /// Those that never will.
    gone: BTreeSet<usize>,
    next_wish: usize,
    /// What doors have chosen.
    chosen: Chosen,
    /// State events that arrived twice.
    doubled: u64,
    /// Starts that were foreseen, and ordered.
    foreseen: u64,
    /// Those of them that a switch has chosen.
    foreseen_choices: u64,
    /// What its worker holds that no invocation is there for, by lane, and the most of what could be that was.
    proven: proven::Watch,
    /// Completions for which a lane had prepared, and nothing had happened since that voids it.
    prepared: u64,
    /// Payloads that were carried out, and brought back.
    carried: u64,
    brought_back: u64,
    /// Those that were lost.
    lost: u64,
    /// Activations that began while a list was arriving.
    started_early: u64,
    /// Items that were given to activations that had asked for them.
    given: u64,
    /// Answers to activations that have waited for room in their arenas.
    rooms: u64,
    /// Payloads that were read and counted.
    reads_judged: u64,
    steps: u64,
}

impl Cluster {
    /// A cluster that is about to play `scenario`; what is open there follows from `random`.
    #[must_use]
    pub fn new(random: Random, scenario: Scenario) -> Self {
        let lanes: Vec<Lane> = scenario
            .lanes
            .iter()
            .enumerate()
            .flat_map(|(worker, count)| (0..*count).map(move |number| (worker, number)))
            .map(|(worker, number)| {
                Lane::new(
                    worker,
                    number,
                    1,
                    scenario.in_flight_max,
                    scenario.store.clone(),
                )
            })
            .collect();
        let ends = || (0..lanes.len()).flat_map(|from| (0..lanes.len()).map(move |to| (from, to)));
        let ends: Vec<(usize, usize)> = ends()
            .filter(|(from, to)| lanes[*from].worker != lanes[*to].worker)
            .collect();
        let deployment_by_id = scenario
            .deployments
            .iter()
            .enumerate()
            .map(|(i, d)| (d.name.id, i))
            .collect();
        let mut cluster = Self {
            random,
            now_ns: 1_000_000,
            lanes,
            links: ends
                .iter()
                .map(|(from, to)| Link::new(*from, *to))
                .collect(),
            link_by_ends: ends
                .iter()
                .enumerate()
                .map(|(index, ends)| (*ends, index))
                .collect(),
            asked: Vec::new(),
            verdicts: Vec::new(),
            by_id: HashMap::new(),
            deployment_by_id,
            lost_workers: BTreeSet::new(),
            refused_executables: BTreeSet::new(),
            dead: Vec::new(),
            gone: BTreeSet::new(),
            next_wish: 0,
            chosen: Chosen::default(),
            doubled: 0,
            foreseen: 0,
            foreseen_choices: 0,
            proven: proven::Watch::default(),
            prepared: 0,
            carried: 0,
            brought_back: 0,
            lost: 0,
            started_early: 0,
            given: 0,
            rooms: 0,
            reads_judged: 0,
            steps: 0,
            scenario,
        };
        for link in 0..cluster.links.len() {
            cluster.connect(link);
            cluster.accept(link);
        }
        cluster
    }

    /// Plays until nothing can happen any more, and judges; then retires what is still deployed, and judges again.
    ///
    /// # Panics
    /// If a promise of the core is broken.
    pub fn play(&mut self) -> Tally {
        for _ in 0..self.scenario.first_stages {
            self.obey_a_stage();
        }
        self.run();
        self.judge_answers();
        self.judge_what_is_held();
        self.judge_reads();
        self.scenario.retire_all();
        self.run();
        self.judge_what_is_held();
        self.judge_removals();
        self.tally()
    }

    /// Until nothing can happen any more.
    fn run(&mut self) {
        self.judge_proven();
        loop {
            self.steps += 1;
            assert!(self.steps < STEPS_MAX, "the simulation does not end");
            self.now_ns += self.random.below(STEP_NS_MAX) as u64;
            self.something_goes_wrong();
            self.a_lane_tells_its_load();
            let events = self.events();
            let jump = self.random.chance(EARLY_TIMERS);
            let event = match (events.is_empty(), jump) {
                (false, false) => Some(self.random.pick(&events)),
                _ => self.next_timer(),
            };
            match event {
                Some(event) => {
                    self.happens(event);
                    self.judge_told();
                    self.judge_proven();
                }
                None if events.is_empty() => return,
                None => {}
            }
        }
    }

    /// The clock goes to where the next timer is due.
    fn next_timer(&mut self) -> Option<Event> {
        let due = |lane: &Lane| lane.core.next_timer_ns().filter(|_| lane.alive);
        let (due_ns, lane) = self
            .lanes
            .iter()
            .enumerate()
            .filter_map(|(index, lane)| Some((due(lane)?, index)))
            .min()?;
        self.now_ns = self.now_ns.max(due_ns);
        Some(Event::Tick(lane))
    }

    fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for (index, lane) in self.lanes.iter().enumerate().filter(|(_, lane)| lane.alive) {
            let at = |index_of: usize| (index, index_of);
            if lane
                .core
                .next_timer_ns()
                .is_some_and(|due_ns| due_ns <= self.now_ns)
            {
                events.push(Event::Tick(index));
            }
            if lane.core.untidied() > 0 {
                events.push(Event::Tidy(index));
            }
            events.extend(
                (0..lane.starting.len())
                    .map(at)
                    .map(|(lane, index)| Event::Start { lane, index }),
            );
            events.extend(
                (0..lane.answers.len())
                    .map(at)
                    .map(|(lane, index)| Event::ReadAnswer { lane, index }),
            );
            events.extend(
                (0..lane.evaluating.len())
                    .map(at)
                    .map(|(lane, index)| Event::Evaluated { lane, index }),
            );
            events.extend(
                (0..lane.describing.len())
                    .map(at)
                    .map(|(lane, index)| Event::Described { lane, index }),
            );
            lane.stores.events(index, &mut events);
            let comes = |link: usize| self.links[link].delivers();
            lane.arrivals.events(index, &mut events, comes);
            let returns = |executor: &Option<lane::Executor>| {
                let executor = executor.as_ref();
                executor.is_some_and(|executor| match &executor.state {
                    State::Running(run) => self.may_return(executor, run),
                    _ => false,
                })
            };
            for (place, executor) in lane.executors.iter().enumerate() {
                match executor.as_ref().map(|executor| &executor.state) {
                    Some(State::Running(run)) if run.waits_for_room() => {}
                    Some(State::Running(run)) if run.reads_on() => {
                        let asks = returns(executor) && !run.waits();
                        if asks {
                            events.push(Event::Want { lane: index, place });
                        }
                    }
                    Some(State::Running(run)) if returns(executor) && run.finds_full() => {
                        events.push(Event::Full { lane: index, place });
                    }
                    Some(State::Running(_)) if returns(executor) => {
                        events.push(Event::Return { lane: index, place });
                    }
                    Some(State::Ended | State::Stopping { .. }) => {
                        events.push(Event::Exit { lane: index, place })
                    }
                    _ => {}
                }
            }
        }
        for (index, link) in self.links.iter().enumerate() {
            link.events(index, &self.links, &self.lanes, &mut events);
        }
        let back = self
            .dead
            .iter()
            .filter(|worker| !self.gone.contains(worker));
        events.extend(back.map(|worker| Event::Restart(*worker)));
        // Wishes and orders come now and then, so that they spread over the run.
        let idle = events.is_empty();
        if self.next_wish < self.scenario.wishes.len() && (idle || self.random.chance(150)) {
            events.push(Event::Invoke);
        }
        while self.scenario.stages.front().is_some_and(Vec::is_empty) {
            self.scenario.stages.pop_front();
        }
        if let Some(stage) = self.scenario.stages.front()
            && (events.is_empty() || self.random.chance(150))
        {
            events.extend((0..stage.len()).map(Event::Order));
        }
        events
    }

    fn happens(&mut self, event: Event) {
        if self.random.chance(300) {
            self.prepare_somewhere();
        }
        match event {
            Event::Order(index) => self.obey(index),
            Event::Invoke => self.invoke_next(),
            Event::Tick(lane) => {
                let now_ns = self.lanes[lane].exact_ns(self.now_ns);
                self.lanes[lane].core.tick(now_ns);
                self.act(lane);
                self.judge_deadlines(lane);
                self.judge_grace(lane);
            }
            Event::Tidy(lane) => self.tidy(lane),
            Event::Start { lane, index } => self.start_executor(lane, index),
            Event::Return { lane, place } => self.function_returns(lane, place),
            Event::Exit { lane, place } => self.executor_exits(lane, place),
            Event::Deliver(link) => self.deliver_next(link),
            Event::Land { link, index } => self.land(link, index),
            Event::SenderLearns(link) => self.sender_learns(link),
            Event::ReceiverLearns(link) => self.receiver_learns(link),
            Event::Connect(link) => self.connect(link),
            Event::Accept(link) => self.accept(link),
            Event::Restart(worker) => self.restart(worker),
            Event::ReadAnswer { lane, index } => self.read_answer(lane, index),
            Event::Evaluated { lane, index } => self.end_evaluation(lane, index),
            Event::Described { lane, index } => self.end_description(lane, index),
            Event::Carried { lane, index } => self.end_carrying(lane, index),
            Event::Fetched { lane, index } => self.end_fetching(lane, index),
            Event::Arrived { lane, index } => self.piece_arrives(lane, index),
            Event::Copied { lane, index } => self.end_copying(lane, index),
            Event::Want { lane, place } => self.function_wants(lane, place),
            Event::Full { lane, place } => self.function_finds_full(lane, place),
        }
    }

    fn something_goes_wrong(&mut self) {
        let faults = self.scenario.faults;
        if self.random.chance(faults.deaths) {
            self.an_executor_dies();
        }
        // What draws nothing where there are none leaves all other runs as they were.
        if faults.replacements > 0 && self.random.chance(faults.replacements) {
            self.an_executor_is_replaced();
        }
        if self.random.chance(faults.breaks) {
            self.a_link_breaks();
        }
        if self.random.chance(faults.crashes) {
            self.a_worker_dies();
        }
        if self.random.chance(faults.cancels) {
            self.a_client_cancels();
        }
    }

    /// Carries out what a core wants done, until it wants no more: as a lane does.
    fn act(&mut self, lane: usize) {
        let mut actions = Vec::new();
        loop {
            self.lanes[lane].core.take_actions(&mut actions);
            if actions.is_empty() {
                self.lanes[lane].acted = true;
                return;
            }
            for action in actions.drain(..) {
                self.act_once(lane, action);
            }
        }
    }

    /// A lane tidies up when it has time.
    fn tidy(&mut self, lane: usize) {
        let mut actions = Vec::new();
        let now_ns = self.lanes[lane].event_ns(self.now_ns);
        self.lanes[lane].tell_segments();
        self.lanes[lane].core.tidy(now_ns, &mut actions);
        for action in actions {
            self.act_once(lane, action);
        }
        if self.lanes[lane].core.has_actions() {
            self.act(lane);
        }
        self.lanes[lane].acted = true;
    }

    fn act_once(&mut self, lane: usize, action: Action) {
        match action {
            Action::Start(start) => {
                self.judge_foresight(lane, &start);
                match self.times_started() {
                    0 => {}
                    1 => self.hand_over(lane, &start),
                    _ => {
                        self.hand_over(lane, &start);
                        self.starts_again(lane, &start);
                    }
                }
            }
            Action::Evaluate(evaluate) => self.begin_evaluation(lane, &evaluate),
            Action::Describe(describe) => self.begin_description(lane, &describe),
            Action::Release(_) if self.loses_release() => {}
            Action::Release(range) => self.lanes[lane].release(range),
            Action::Send(send) => self.send(lane, *send),
            Action::Answer(answered) => self.answered(lane, *answered),
            Action::Tell {
                executor,
                activation,
                why,
            } => {
                if let Some((activation, why)) = self.word_written(activation, why) {
                    self.tell_to_stop(lane, executor, activation, why);
                }
            }
            Action::Kill { cause, .. } if self.grants_more_grace(&cause) => {}
            Action::Kill { executor, cause } => {
                let place = executor.0 as usize;
                // Its deadline and a grace period may have passed at once.
                if !self.has_ended(lane, place) {
                    self.judge_kill(lane, place, &cause);
                    self.end_executor(lane, place, &cause);
                }
            }
            Action::Stop(executor) => self.stop_executor(lane, executor.0 as usize),
            Action::ExecutorWanted {
                deployment,
                executable,
            } => {
                self.lanes[lane].starting.push((deployment, executable));
            }
            Action::Removed(deployment) => {
                let here = self.lanes[lane].deployed.remove(&deployment);
                assert!(here, "{deployment} was removed from where it is not");
                self.lanes[lane].constants.remove(&deployment);
            }
            Action::CarryOut(order) => self.lanes[lane].stores.carry(*order),
            Action::BringBack {
                ticket,
                account,
                bytes,
            } => self.lanes[lane].stores.bring_back(ticket, account, bytes),
            Action::Discard(ticket) => self.lanes[lane].stores.discard(ticket),
            Action::CopyIn(order) => self.lanes[lane].stores.copy_in(*order),
            Action::Item(given) => self.item_given(lane, &given),
            Action::Room(given) => self.room_given(lane, &given),
            // Their quota is given.
            Action::Measure(_) => {}
        }
    }

    fn now(&self) -> Moment {
        Moment {
            step: self.steps,
            ns: self.now_ns,
        }
    }

    fn deployment(&self, id: DeploymentId) -> usize {
        self.deployment_by_id[&id]
    }

    fn worker_name(&self, lane: usize) -> String {
        crate::plans::worker_name(self.lanes[lane].worker)
    }
}
