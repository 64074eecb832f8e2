//! Functions that find their arena full: they wait, try again when something has come back, and fail when nothing does.

use super::Cluster;
use super::lane::{Lane, Run, State};
use engine::core::{CompletionError, ExecutorId, RoomGiven};
use engine::plan::ErrorClass;
use faasstore::descriptor::{Full, PayloadRef, RoomAnswer};

/// In a thousand activations of workflows that have a quota: those that find their arena full.
const FULL: u32 = 300;
/// How often such a one finds it so, at most.
const TIMES_MAX: usize = 3;
/// In a thousand answers that something has come back: those after which it is not enough.
const NOT_ENOUGH: u32 = 400;
/// What it wants room for, at most.
const WANTED_BYTES_MAX: usize = 600;
/// How long anybody waits.
const PATIENCE_NS: u64 = 5_000_000_000;

/// How a function finds its arena full.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Crowding {
    /// How often it still will.
    left: usize,
    /// Since when it waits, if it does, or tries again.
    since_ns: Option<u64>,
    waits: bool,
    gives_up: Option<(ErrorClass, &'static str)>,
}

impl Run {
    /// Whether it waits for room.
    pub(super) fn waits_for_room(&self) -> bool {
        self.crowding.waits
    }

    /// Whether it will find its arena full.
    pub(super) fn finds_full(&self) -> bool {
        let Crowding {
            left,
            waits,
            gives_up,
            ..
        } = self.crowding;
        left > 0 && !waits && gives_up.is_none()
    }

    /// Why it has not found room in the end, if it has not.
    pub(super) fn found_no_room(&self) -> Option<(ErrorClass, &'static str)> {
        self.crowding.gives_up
    }
}

impl Lane {
    /// Whether what the executor in a place runs waits for room.
    fn waits_for_room(&self, place: usize) -> bool {
        let executor = self.executors.get(place).and_then(Option::as_ref);
        executor.is_some_and(|executor| match &executor.state {
            State::Running(run) => run.waits_for_room(),
            _ => false,
        })
    }

    /// Takes a range back, and tells the core if its executor waits for that.
    pub(super) fn release(&mut self, range: PayloadRef) {
        let owner = self.memory.owner_of(range);
        self.memory.release(range);
        if let Some(place) = owner
            && self.waits_for_room(place)
        {
            self.core.range_returned(ExecutorId(place as u32));
        }
    }
}

impl Cluster {
    /// How a function will find its arena full.
    pub(super) fn crowding(&mut self) -> Crowding {
        let short = self.scenario.store.quota_bytes.is_some();
        let left = match short && self.random.chance(FULL) {
            true => self.random.between(1, TIMES_MAX),
            false => 0,
        };
        Crowding {
            left,
            ..Crowding::default()
        }
    }

    fn crowding_of(&mut self, lane: usize, place: usize) -> Option<(u32, &mut Crowding)> {
        let executor = self.lanes[lane].executors.get_mut(place)?.as_mut()?;
        match &mut executor.state {
            State::Running(run) => Some((run.activation, &mut run.crowding)),
            _ => None,
        }
    }

    /// A function finds no room for an output.
    pub(super) fn function_finds_full(&mut self, lane: usize, place: usize) {
        let lies = self.random.chance(self.scenario.faults.lies);
        let bytes = self.random.below(WANTED_BYTES_MAX) as u64;
        let now_ns = self.lanes[lane].exact_ns(self.now_ns);
        let Some((activation, crowding)) = self.crowding_of(lane, place) else {
            panic!("only what runs finds its arena full");
        };
        let full = Full {
            activation: activation.wrapping_sub(u32::from(lies)),
            bytes,
            again: crowding.since_ns.is_some(),
        };
        crowding.left -= 1;
        crowding.waits = true;
        crowding.since_ns.get_or_insert(now_ns);
        let state = &mut self.lanes[lane];
        state.tell_segments();
        let told = state
            .core
            .arena_full(now_ns, ExecutorId(place as u32), &full);
        if lies {
            assert_eq!(told, Err(CompletionError::Activation));
            self.end_executor(lane, place, "it found full what it does not run");
        } else {
            assert_eq!(told, Ok(()), "{full:?}");
            // Who is to stop has its answer already.
            if !state.core.has_actions() {
                let twice = state
                    .core
                    .arena_full(now_ns, ExecutorId(place as u32), &full);
                assert_eq!(twice, Err(CompletionError::Room), "it waits already");
            }
        }
        self.act(lane);
    }

    /// A core answers a function that waits for room.
    pub(super) fn room_given(&mut self, lane: usize, given: &RoomGiven) {
        if self.loses_room() {
            return;
        }
        let place = given.executor.0 as usize;
        let Some(run) = self.running(lane, place) else {
            assert!(self.has_ended(lane, place), "room for what does not run");
            return;
        };
        assert!(
            run.waits_for_room() && run.activation == given.activation,
            "room for what does not wait for any: {run:?}"
        );
        let since_ns = run.crowding.since_ns.unwrap_or_default();
        let not_enough = self.random.chance(NOT_ENOUGH);
        let may_fail = self.scenario.faults.failures > 0;
        let gives_up = match given.answer {
            RoomAnswer::Back => None,
            RoomAnswer::Never => {
                self.judge_hopeless(lane, place);
                Some((ErrorClass::Memory, "nothing can leave"))
            }
            RoomAnswer::Late => {
                assert!(
                    since_ns + PATIENCE_NS <= self.now_ns,
                    "given up too soon: {run:?}"
                );
                Some((ErrorClass::Memory, "nothing has come back"))
            }
            RoomAnswer::Stopped => Some((ErrorClass::Error, "it was told to stop")),
        };
        self.rooms += 1;
        if let Some((_, crowding)) = self.crowding_of(lane, place) {
            crowding.waits = false;
            match gives_up {
                None if not_enough => crowding.left += 1,
                None => crowding.since_ns = None,
                // Without it, a function that nothing may go wrong with makes less.
                Some((ErrorClass::Memory, _)) if !may_fail => {
                    (crowding.left, crowding.since_ns) = (0, None);
                }
                Some(_) => crowding.gives_up = gives_up,
            }
        }
    }

    /// Who is told that nothing can come back: nothing of its workflow goes on here, nor leaves its arena.
    fn judge_hopeless(&self, lane: usize, place: usize) {
        let state = &self.lanes[lane];
        let name_of = |deployment: usize| &self.scenario.deployments[deployment].name.workflow;
        let own = state.executors[place].as_ref().map(|own| own.deployment);
        for executor in state.executors.iter().flatten() {
            let State::Running(run) = &executor.state else {
                continue;
            };
            let same = own.map(name_of) == Some(name_of(executor.deployment));
            assert!(
                !same || run.waits_for_room() || run.waits(),
                "told that nothing can come back, while this runs: {run:?}"
            );
        }
        let leaves = |range: PayloadRef| state.memory.owner_of(range) == Some(place);
        assert!(
            !state.stores.carries(leaves),
            "told that nothing can come back, while something leaves"
        );
    }
}
