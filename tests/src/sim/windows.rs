//! Functions that read lists item by item: in any order, keeping some items and letting go of others.

use super::Cluster;
use super::lane::{InputAt, Lane, Run, State};
use crate::functions::{Datum, Made, MadeOutput};
use crate::random::Random;
use engine::core::{CompletionError, ExecutorId, Input, ItemGiven, Start};
use engine::plan::ErrorClass;
use faasstore::descriptor::{DONE_ITEMS_MAX, ItemAnswer, ItemName, PayloadRef, Want};
use std::collections::{BTreeMap, BTreeSet};

/// In a thousand functions that read a list item by item: those that walk through it in order.
const WALK: u32 = 600;
/// In a thousand wants: items that are let go of with it, each.
const LET_GO: u32 = 500;

/// How a function reads lists item by item.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    /// What it still reads, the next one at the end.
    left: Vec<ItemName>,
    in_order: bool,
    /// What has to stay until it returns, since it passes that on.
    keeps: BTreeSet<ItemName>,
    waits: Option<ItemName>,
    /// What it has and reads.
    held: BTreeMap<ItemName, PayloadRef>,
    /// Why it gives up.
    gives_up: Option<(ErrorClass, &'static str)>,
}

impl Walk {
    /// Over those items of these inputs that are to be asked for; none if there are none. It makes this in the end.
    pub(super) fn over(
        inputs: &[InputAt],
        made: impl FnOnce() -> Vec<MadeOutput>,
        random: &mut Random,
    ) -> Option<Self> {
        let mut left = Vec::new();
        for (input, lies) in (0..).zip(inputs) {
            if let InputAt::List(items) = lies {
                let items = (0..).zip(items).filter(|(_, at)| at.is_away());
                left.extend(items.map(|(item, _)| ItemName { input, item }));
            }
        }
        if left.is_empty() {
            return None;
        }
        let mut keeps = BTreeSet::new();
        for output in made() {
            let pieces = match output {
                MadeOutput::One(made) => vec![made],
                MadeOutput::List(made) => made,
            };
            for piece in pieces {
                if let Made::Part { input, item, .. } = piece {
                    keeps.extend(item.map(|item| ItemName { input, item }));
                }
            }
        }
        let in_order = random.chance(WALK);
        if in_order {
            left.reverse();
        } else {
            // Some of them several times.
            let again = random.below(left.len() + 1);
            let again: Vec<ItemName> = (0..again).map(|_| random.pick(&left)).collect();
            left.extend(again);
            for index in (1..left.len()).rev() {
                left.swap(index, random.below(index + 1));
            }
        }
        Some(Self {
            left,
            in_order,
            keeps,
            waits: None,
            held: BTreeMap::new(),
            gives_up: None,
        })
    }
}

impl Run {
    /// Whether it has still to ask for items, or waits for one.
    pub(super) fn reads_on(&self) -> bool {
        self.walk.as_ref().is_some_and(|walk| {
            walk.gives_up.is_none() && (walk.waits.is_some() || !walk.left.is_empty())
        })
    }

    /// Whether it waits for an item.
    pub(super) fn waits(&self) -> bool {
        let walk = self.walk.as_ref();
        walk.is_some_and(|walk| walk.waits.is_some() && walk.gives_up.is_none())
    }

    /// Why it does not read to the end, if it does not.
    pub(super) fn gives_up(&self) -> Option<(ErrorClass, &'static str)> {
        self.walk.as_ref()?.gives_up
    }
}

impl Lane {
    /// What a function has read of its inputs, and, of what it still has, how that is now.
    pub(super) fn read_again(&self, run: &Run) -> Vec<Datum> {
        let Some(walk) = &run.walk else {
            return self.read_inputs(&run.inputs);
        };
        let inputs = (0..).zip(&run.inputs).zip(&run.seen);
        let read = inputs.map(|((input, at), seen)| match (at, seen) {
            (InputAt::List(places), Datum::List(seen)) => {
                let items = (0..).zip(places).zip(seen);
                let read = items.map(|((item, place), seen)| {
                    match walk.held.get(&ItemName { input, item }) {
                        Some(held) => Some(self.memory.read(*held)),
                        None if place.is_away() => seen.clone(),
                        None => (!place.is_absent()).then(|| self.memory.read(*place)),
                    }
                });
                Datum::List(read.collect())
            }
            _ => self.read_inputs(std::slice::from_ref(at)).remove(0),
        });
        read.collect()
    }
}

impl Cluster {
    /// What an activation will see, wherever that is: nobody but a simulation could look there.
    pub(super) fn read_before(&self, lane: usize, start: &Start, inputs: &[InputAt]) -> Vec<Datum> {
        let state = &self.lanes[lane];
        let mut elsewhere: BTreeMap<(usize, usize), Vec<u8>> = BTreeMap::new();
        let mut number = 0;
        state.core.inputs(start, |input| {
            if let Input::Windowed(items, account) = input {
                for (item, payload) in items.iter().enumerate() {
                    if !state.core.locate_or_away(*payload, account).is_away() {
                        continue;
                    }
                    let bytes = match state.core.leases().carried(*payload) {
                        None => state.content(state.core.locate(*payload)),
                        Some(place) => {
                            let part = state.stores.part(place, payload.length());
                            part.unwrap_or_else(|| panic!("what is away is nowhere: {place:?}"))
                        }
                    };
                    elsewhere.insert((number, item), bytes);
                }
            }
            number += 1;
        });
        let numbered = inputs.iter().enumerate();
        let read = numbered.map(|(number, at)| match at {
            InputAt::List(places) => {
                let read = places.iter().enumerate().map(|(item, place)| {
                    match elsewhere.get(&(number, item)) {
                        Some(bytes) => Some(bytes.clone()),
                        None => (!place.is_absent()).then(|| state.memory.read(*place)),
                    }
                });
                Datum::List(read.collect())
            }
            InputAt::One(_) => state.read_inputs(std::slice::from_ref(at)).remove(0),
        });
        read.collect()
    }

    fn walk_of(&mut self, lane: usize, place: usize) -> Option<(u32, &mut Walk)> {
        let executor = self.lanes[lane].executors.get_mut(place)?.as_mut()?;
        match &mut executor.state {
            State::Running(run) => Some((run.activation, run.walk.as_mut()?)),
            _ => None,
        }
    }

    /// A function asks for its next item, and lets go of some that it has.
    pub(super) fn function_wants(&mut self, lane: usize, place: usize) {
        let id = ExecutorId(place as u32);
        if self.random.chance(self.scenario.faults.lies) {
            return self.wants_what_cannot_be(lane, place);
        }
        let chances: Vec<bool> = (0..DONE_ITEMS_MAX)
            .map(|_| self.random.chance(LET_GO))
            .collect();
        let early = self.lets_items_go_early();
        let Some((activation, walk)) = self.walk_of(lane, place) else {
            panic!("only what runs and reads on wants an item");
        };
        let Some(name) = walk.left.pop() else {
            panic!("only what runs and reads on wants an item");
        };
        walk.waits = Some(name);
        let passing = walk.held.keys().filter(|held| !walk.keeps.contains(held));
        let passing: Vec<ItemName> = passing.copied().collect();
        let (in_order, keeps) = (walk.in_order, walk.keeps.contains(&name));
        let mut done = Vec::new();
        for (held, goes) in passing.into_iter().zip(chances) {
            if in_order || goes {
                if !early {
                    walk.held.remove(&held);
                }
                done.push(held);
            }
        }
        let mut want = Want::new(activation, Some(self.item_taken(name)));
        want.walks = in_order;
        want.keep = keeps;
        for held in done {
            assert!(want.add_done(held), "no more are let go of than are told");
        }
        let now_ns = self.lanes[lane].exact_ns(self.now_ns);
        let wanted = self.lanes[lane].core.want(now_ns, id, &want);
        assert!(wanted == Ok(()), "{wanted:?}: {want:?}");
        self.act(lane);
    }

    /// What cannot be is refused, changes nothing, and ends the executor.
    fn wants_what_cannot_be(&mut self, lane: usize, place: usize) {
        let lie = self.random.below(3);
        let Some((activation, walk)) = self.walk_of(lane, place) else {
            panic!("only what runs and reads on wants an item");
        };
        let next = walk.left.last().copied();
        let beyond = ItemName {
            input: 0,
            item: u32::MAX - 1,
        };
        let (activation, wanted) = match lie {
            0 => (activation.wrapping_sub(1), next),
            1 => (activation, Some(beyond)),
            _ => (activation, next),
        };
        let mut want = Want::new(activation, wanted);
        if lie == 2 {
            assert!(want.add_done(beyond), "there is room for one");
        }
        let state = &mut self.lanes[lane];
        let before = (state.core.counters(), state.core.leases().count());
        let now_ns = state.exact_ns(self.now_ns);
        let refused = state.core.want(now_ns, ExecutorId(place as u32), &want);
        let expected = match lie {
            0 => CompletionError::Activation,
            _ => CompletionError::Item,
        };
        assert_eq!(refused, Err(expected));
        let after = (state.core.counters(), state.core.leases().count());
        assert_eq!(
            before, after,
            "a want that was refused has changed something"
        );
        self.end_executor(lane, place, "it wanted what cannot be");
        self.act(lane);
    }

    /// A core answers a function that waits for an item.
    pub(super) fn item_given(&mut self, lane: usize, given: &ItemGiven) {
        if self.loses_item(given.answer) {
            return;
        }
        let place = given.executor.0 as usize;
        let name = self.item_taken(given.name);
        let read = match given.answer {
            ItemAnswer::Here(range) => Some(self.lanes[lane].memory.read(range)),
            ItemAnswer::NoRoom | ItemAnswer::Stopped => None,
        };
        let Some(mut run) = self.running(lane, place) else {
            assert!(self.has_ended(lane, place), "an item for what does not run");
            return self.lanes[lane].reads_unseen();
        };
        let of = run.clone();
        let Some(walk) = run.walk.as_mut() else {
            panic!("an item for what reads no list item by item: {run:?}");
        };
        let waits = walk.waits.take();
        let asked = waits.map(|waits| (run.activation, self.item_taken(waits)));
        assert_eq!(
            asked,
            Some((given.activation, given.name)),
            "it was not asked for"
        );
        let waits = waits.unwrap_or(name);
        match given.answer {
            ItemAnswer::Here(range) => {
                let Datum::List(items) = &run.seen[usize::from(waits.input)] else {
                    panic!("an item of what is no list: {waits:?}");
                };
                let seen = &items[waits.item as usize];
                assert_eq!(&read, seen, "another item was given than {waits:?}");
                self.sees_item(lane, &of, waits, range);
                walk.held.insert(waits, range);
                self.given += 1;
            }
            ItemAnswer::NoRoom => walk.gives_up = Some((ErrorClass::Memory, "no room for an item")),
            ItemAnswer::Stopped => walk.gives_up = Some((ErrorClass::Error, "it was told to stop")),
        }
        if let Some(executor) = self.lanes[lane].executors[place].as_mut() {
            executor.state = State::Running(run);
        }
    }
}
