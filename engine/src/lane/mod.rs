//! A lane: one engine thread, pinned to a CPU, that drives the [core](crate::core) with what happens to its executors,
//! its connections and its clock.
//!
//! It owns its executors' rings, its segments, its arena and its connections, and shares nothing with other lanes but
//! the [queues](command) of the control thread. A turn of its loop polls every ring, then the driver; when nothing has
//! happened it waits as its strategy says. In a turn that only moves activations between rings it makes no system call
//! and allocates nothing.
//!
//! ```text
//!   rings ───────► completions ─┐                 ┌─► requests ──► rings, bells
//!   sockets ─────► messages ────┼─► core ─► acts ─┼─► messages ──► sockets
//!   queue, clock ► commands ────┘                 └─► reports ───► control thread
//! ```

mod actions;
mod ahead;
pub mod command;
mod compartments;
mod completions;
mod copies;
pub mod driver;
mod ending;
mod evaluate;
mod executors;
mod idle;
pub mod link;
mod lives;
mod orders;
mod peers;
mod reports;
mod segments;
pub mod setup;
mod share;
mod short;
pub mod store;

use crate::core::store::StoreRules;
use crate::core::{Action, Core, CoreConfig, ExecutorId, Start, Ticket};
use crate::plan::{DeploymentId, ErrorClass};
use ahead::Ahead;
use command::LaneReport;
use compartments::Compartments;
use driver::{Completion, Driver, Rings, Watch};
use evaluate::Evaluators;
use executors::{Executor, Scratch, Terms};
use faasstore::arena::{Arena, ArenaConfig};
use faasstore::binding::WaitStrategy;
use faasstore::descriptor::FailureCode;
use faasstore::doorbell::Sleeper;
use nix::time::{ClockId, clock_gettime};
use peers::{Parts, Peers};
use rustc_hash::FxHashMap;
use segments::{Gone, Segments};
use setup::{LaneSetup, Yields};
use short::Shorts;
use std::collections::VecDeque;
use std::time::Duration;
use store::Carriage;

/// How long to wait for an executor that was told to end, and for the word of a worker that is not connected.
const PATIENCE: Duration = Duration::from_secs(1);
/// An ordinary segment of a lane's own arena.
const LANE_SEGMENT_BYTES: u64 = 4 << 20;
/// Turns without anything to do between two looks at the clock, where exact times are not needed.
const TURNS_PER_CLOCK: u32 = 64;
/// Turns with something to do between two looks at the clock: what is due is not put off for long by work that needs no
/// time, which takes a microsecond or so a turn.
const BUSY_TURNS_PER_CLOCK: u32 = 1024;
/// Turns without anything to do before the lane does what can wait: a few microseconds, longer than an executor takes to
/// answer in a busy workflow.
const TURNS_BEFORE_SETTLING: u32 = 32;

/// Figures that go into their histograms in a turn without anything else to do: they take some microseconds.
const FOLDS_PER_TURN: usize = 16;

/// How long a lane sleeps at most while it has reports that the control thread's queue had no room for.
const REPORTS_RETRY: Duration = Duration::from_millis(10);

/// Looks at the rings for each look at everything else. What comes from executors is the most urgent, and a look at all
/// takes as long as a message is on its way.
const RING_POLLS_PER_TURN: u32 = 16;

/// Nodes that may wait to be tidied up after while executors answer.
const UNTIDIED_MAX: usize = 16;
/// Turns for which that may be put off: with many executors one of them has always answered.
const PUT_OFF_MAX: u32 = 16;

const TOKEN_COMMANDS: u64 = u64::MAX;
const TOKEN_EXIT: u64 = 1 << 63;
/// Numbers of executors stay below the bits that tell tokens apart.
const SERIAL_MAX: u32 = 0x1fff_ffff;

/// Runs a lane until it is told to stop, and then until what its executors run has ended, for as long as the grace at most.
/// To be called on the lane's own thread, pinned already.
///
/// # Errors
/// If the kernel refuses what the lane is built on; the lane has not begun then.
pub fn run(setup: LaneSetup) -> std::io::Result<()> {
    let mut lane = Lane::new(setup)?;
    lane.serve();
    lane.end();
    Ok(())
}

fn monotonic_ns() -> u64 {
    match clock_gettime(ClockId::CLOCK_MONOTONIC) {
        Ok(time) => time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64,
        Err(error) => unreachable!("every Linux has a monotonic clock: {error}"),
    }
}

/// What a failure's code and text say to people.
pub(crate) fn failure_text(code: FailureCode, text: &str) -> String {
    match code {
        FailureCode::Error => text.to_owned(),
        FailureCode::Input => format!("an input was not what the function takes: {text}"),
        FailureCode::Output => format!("its outputs are not what the node declares: {text}"),
        FailureCode::Panic => format!("the function panicked: {text}"),
        FailureCode::Memory if text.is_empty() => {
            "no memory for an output, nor for saying more: its executor's arena is full; raise its limit (`memory_mib` of an \
             executable), or let fewer payloads live at once"
                .to_owned()
        }
        FailureCode::Memory => format!("no memory for an output: {text}"),
    }
}

/// What kind of failure a failure's code stands for.
pub(crate) fn failure_class(code: FailureCode) -> ErrorClass {
    match code {
        FailureCode::Error => ErrorClass::Error,
        FailureCode::Input => ErrorClass::Input,
        FailureCode::Output => ErrorClass::Output,
        FailureCode::Panic => ErrorClass::Panic,
        FailureCode::Memory => ErrorClass::Memory,
    }
}

struct Lane {
    setup: LaneSetup,
    core: Core,
    evaluators: Evaluators,
    driver: Driver,
    arena: Arena,
    compartments: Compartments,
    segments: Segments,
    executors: Vec<Option<Executor>>,
    /// Places of the executors whose rings are read.
    polled: Vec<u32>,
    /// By place: what is prepared for the end of what the executor there runs.
    ahead: Vec<Ahead>,
    /// The revision of the core for which everything is prepared that can be.
    prepared_revision: u64,
    /// Turns for which tidying has been put off.
    put_off: u32,
    /// A start that was handed over before the core ordered it.
    started_ahead: Option<Start>,
    /// How many were.
    starts_ahead: u64,
    /// What a switch has chosen that the core is about to ask for.
    chosen: Option<(Ticket, u16)>,
    peers: Peers,
    terms: FxHashMap<DeploymentId, Terms>,
    serial: u32,
    now_ns: u64,
    stopped: bool,
    /// Whether an activation was handed to an executor, and no completion has come since: then what started last was
    /// started by a message.
    started: bool,
    /// Reports that found the queue full.
    reports: VecDeque<LaneReport>,
    doorbells: u64,
    events_sent: u64,
    // Vectors that are kept for use again.
    actions: Vec<Action>,
    completions: Vec<Completion>,
    scratch: Scratch,
    gone: Vec<Gone>,
    /// Places of executors of which something is being copied, each in its turn.
    copies: VecDeque<u32>,
    /// Exits of executors of which a copy was dropped that they were put off for.
    exits: Vec<u64>,
    /// When to try again to tell executors of memory, and how long that is after the last time.
    settle_ns: Option<u64>,
    settle_pause_ns: u64,
    /// When memory of the lane's own arena goes back if no segment of it is emptied until then, and how often any was before.
    trim_ns: Option<u64>,
    emptied_before: u64,
    carriage: Carriage,
    /// What waits for room in the lane's arena.
    short: Shorts,
    /// When to look again at executors that may keep too much memory of segments that have gone.
    pins_due_ns: Option<u64>,
}

impl Lane {
    fn new(setup: LaneSetup) -> std::io::Result<Self> {
        let mut driver = Driver::new(setup.driver)?;
        driver.watch(
            executors::second_descriptor(&setup.command_bell)?,
            TOKEN_COMMANDS,
            Watch::Doorbell,
        )?;
        let core = Core::new(CoreConfig {
            worker_hash: setup.worker_hash,
            epoch: setup.epoch,
            lane: setup.index,
            in_flight_max: setup.in_flight_max,
            grace_ns: setup.grace.as_nanos() as u64,
            lease_ns_max: setup.lease_max.map(|most| most.as_nanos() as u64),
            patience_ns: PATIENCE.as_nanos() as u64,
            keep_alive_ns: setup.keep_alive.as_nanos() as u64,
            clock: setup.clock,
            store: StoreRules {
                tiers: setup
                    .store
                    .as_ref()
                    .map_or_else(Vec::new, |store| store.tiers.clone()),
                memory_bytes: setup.arena_bytes_max,
                ..StoreRules::default()
            },
        });
        let arena = Arena::new(ArenaConfig {
            name: format!("lane-{}", setup.index),
            segment_bytes: LANE_SEGMENT_BYTES.min(setup.arena_bytes_max),
            bytes_max: setup.arena_bytes_max,
        });
        Ok(Self {
            core,
            evaluators: Evaluators::default(),
            driver,
            arena,
            compartments: Compartments::default(),
            segments: Segments::default(),
            executors: Vec::new(),
            polled: Vec::new(),
            ahead: Vec::new(),
            prepared_revision: 0,
            put_off: 0,
            started_ahead: None,
            starts_ahead: 0,
            chosen: None,
            peers: Peers::new(setup.link_limits(), setup.patience),
            terms: FxHashMap::default(),
            serial: 0,
            now_ns: monotonic_ns(),
            stopped: false,
            started: false,
            reports: VecDeque::new(),
            doorbells: 0,
            events_sent: 0,
            actions: Vec::new(),
            completions: Vec::new(),
            scratch: Scratch::default(),
            gone: Vec::new(),
            copies: VecDeque::new(),
            exits: Vec::new(),
            settle_ns: None,
            settle_pause_ns: 0,
            trim_ns: None,
            emptied_before: 0,
            carriage: Carriage::default(),
            short: Shorts::default(),
            pins_due_ns: None,
            setup,
        })
    }

    fn serve(&mut self) {
        let (mut idle_turns, mut busy_turns) = (0u32, 0u32);
        let mut idle_since_ns = self.now_ns;
        while !self.stopped {
            let mut busy = self.turn();
            if self.prepared_revision != self.core.revision() {
                self.prepare();
            }
            busy |= self.tidy();
            busy |= self.copy_on();
            if busy {
                idle_turns = 0;
                busy_turns = busy_turns.wrapping_add(1);
                if busy_turns.is_multiple_of(BUSY_TURNS_PER_CLOCK) {
                    self.now_ns = monotonic_ns();
                }
                let times = [self.settle_ns, self.pins_due_ns, self.carriage.due_ns()];
                if times.iter().any(Option::is_some) {
                    self.settle_if_due();
                }
                // A lane that moves a payload does not rest for as long as that takes: whom a message has woken on this CPU would
                // wait for the end of its time slice.
                if self.peers.has_moved_payloads() && std::mem::take(&mut self.started) {
                    std::thread::yield_now();
                }
                continue;
            }
            idle_turns = idle_turns.wrapping_add(1);
            if idle_turns == TURNS_BEFORE_SETTLING {
                self.settle();
                idle_since_ns = monotonic_ns();
                self.now_ns = idle_since_ns;
            } else if idle_turns.is_multiple_of(TURNS_PER_CLOCK) {
                self.settle_if_due();
            }
            let parks = match self.setup.wait {
                WaitStrategy::Spin => false,
                WaitStrategy::Adaptive => {
                    idle_turns > TURNS_BEFORE_SETTLING
                        && self.now_ns.saturating_sub(idle_since_ns) >= self.setup.spin_budget_ns
                }
                WaitStrategy::Park => true,
            };
            let idles = (parks || idle_turns > TURNS_BEFORE_SETTLING) && !self.started;
            if idles && self.core.fold_profiles(FOLDS_PER_TURN) {
                continue;
            }
            if parks {
                // An executor that a message has just woken on this CPU runs first: what is left to do for the message
                // (acknowledge it, begin the next receive) would only delay it, and what it answers at once needs no
                // bell. Where it has a CPU of its own this comes back at once.
                if std::mem::take(&mut self.started) {
                    std::thread::yield_now();
                    continue;
                }
                if idle_turns < TURNS_BEFORE_SETTLING {
                    self.settle();
                }
                self.rest();
                idle_turns = 0;
            } else if self.setup.yields == Yields::Always {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }

    /// Whether a completion waits in a ring.
    #[inline]
    fn has_completion(&self) -> bool {
        let waits = |place: &u32| {
            let executor = self.executors.get(*place as usize).and_then(Option::as_ref);
            executor.is_some_and(|executor| executor.started.channel.has_completion())
        };
        self.polled.iter().any(waits)
    }

    /// Looks at everything once, at the rings several times; true if something happened.
    #[inline]
    fn turn(&mut self) -> bool {
        let mut busy = false;
        for _ in 0..RING_POLLS_PER_TURN {
            if self.has_completion() {
                break;
            }
        }
        for index in 0..self.polled.len() {
            if let Some(place) = self.polled.get(index).copied() {
                busy |= self.read_completions(place);
            }
        }
        if busy {
            let (core, polled) = (&self.core, &self.polled);
            // Polls say nothing of time where each of them gives the CPU away.
            let polls = self.setup.yields == Yields::Never;
            self.driver.rings_were_busy(|| {
                if polls && polled.iter().any(|place| core.runs(ExecutorId(*place))) {
                    Rings::Awaited
                } else {
                    Rings::Silent
                }
            });
        }
        let mut completions = std::mem::take(&mut self.completions);
        self.driver.poll(&mut completions);
        if completions.is_empty() && self.setup.commands.is_empty() {
            self.completions = completions;
        } else {
            busy |= self.take_in(completions);
        }
        if self
            .core
            .next_timer_ns()
            .is_some_and(|due_ns| due_ns <= self.now_ns)
        {
            busy = true;
            self.now_ns = monotonic_ns();
            self.core.tick(self.now_ns);
            self.act();
        }
        // Not busy with that, as a rule: an idle lane goes back to sleep at once.
        if self.peers.beat_due_ns() <= self.now_ns {
            busy |= self.beat();
        }
        busy
    }

    /// True if it had consequences: a peer was given up.
    #[cold]
    fn beat(&mut self) -> bool {
        self.now_ns = monotonic_ns();
        let (peers, mut parts) = self.peers();
        peers.beat(&mut parts);
        let consequences = self.core.has_actions();
        self.act();
        self.unmap_gone();
        consequences
    }

    /// Takes in what the driver has found, and commands before it: whoever speaks of a deployment over a connection does
    /// so after this lane was given it, and must not find it unknown. True if there was anything.
    #[inline]
    fn take_in(&mut self, mut completions: Vec<Completion>) -> bool {
        let commanded = !self.setup.commands.is_empty();
        if commanded {
            self.read_commands();
        }
        let busy = commanded || !completions.is_empty();
        completions
            .drain(..)
            .for_each(|completion| self.on_completion(completion));
        self.completions = completions;
        busy
    }

    /// The time for an event: exact only if something depends on it.
    #[inline]
    fn event_ns(&mut self) -> u64 {
        if self.core.needs_time() {
            self.now_ns = monotonic_ns();
        }
        self.now_ns
    }

    /// Has the core tidy up after what has ended, unless an executor has answered meanwhile, which comes first but for a
    /// while only. True if there was anything.
    #[inline]
    fn tidy(&mut self) -> bool {
        let untidied = self.core.untidied();
        if untidied == 0 {
            return false;
        }
        if untidied < UNTIDIED_MAX && self.put_off < PUT_OFF_MAX && self.has_completion() {
            self.put_off += 1;
            return false;
        }
        self.tidy_now();
        true
    }

    /// Has the core tidy up, whatever else there is to do.
    #[inline]
    fn tidy_now(&mut self) {
        self.put_off = 0;
        if self.segments.has_news() {
            self.tell_segments();
        }
        let now_ns = self.event_ns();
        self.core.tidy(now_ns, &mut self.actions);
        self.carry_out();
        if self.core.has_actions() {
            self.act();
        } else {
            self.peers.pump(&mut self.driver);
        }
        self.unmap_gone();
    }

    /// The connections, and the parts of the lane that they work on.
    fn peers(&mut self) -> (&mut Peers, Parts<'_>) {
        let Self {
            peers,
            now_ns,
            core,
            driver,
            arena,
            compartments,
            segments,
            ..
        } = self;
        (
            peers,
            Parts {
                now_ns: *now_ns,
                core,
                driver,
                arena,
                compartments,
                segments,
            },
        )
    }

    fn rest(&mut self) {
        if self.core.has_actions() {
            return self.act();
        }
        if self.park() {
            let completions = std::mem::take(&mut self.completions);
            let _ = self.take_in(completions);
        }
    }
}

impl Sleeper for Lane {
    fn set_parked(&mut self, parked: bool) {
        for place in &self.polled {
            if let Some(executor) = self.executors[*place as usize].as_mut() {
                executor.started.channel.set_parked(parked);
            }
        }
    }

    fn has_work(&self) -> bool {
        !self.setup.commands.is_empty()
            || self.has_completion()
            || !self.copies.is_empty()
            || !self.exits.is_empty()
            || self.core.untidied() > 0
            || self.core.has_actions()
    }

    fn sleep(&mut self) {
        let timeout = self
            .next_due_ns()
            .map(|due_ns| Duration::from_nanos(due_ns.saturating_sub(monotonic_ns())));
        // Nothing says when the control thread has taken what it was behind by.
        let retry = (!self.reports.is_empty()).then_some(REPORTS_RETRY);
        let timeout = [timeout, retry].into_iter().flatten().min();
        self.setup.counters.parks.add(1);
        self.driver.wait(timeout, &mut self.completions);
        // Whatever starts next is watched from then on.
        self.now_ns = monotonic_ns();
    }
}
