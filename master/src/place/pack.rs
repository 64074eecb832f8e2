//! Any placement that keeps the limits, as near as may be to one that was wished for.
//!
//! Units are put down one after the other, each where it is wished if it fits there, else on the worker that it fills best. One
//! that finds no room comes earlier the next time ("squeaky wheel": Joslin and Clements, JAIR 1999). What is still not found
//! is looked for by trying all ways, up to a number of steps. If a wish leads nowhere, units are put down without any, and then
//! go where they are wished as far as that fits.

use super::room::{NOWHERE, Room, Wants};

/// Units put down in all rounds together, at most: some tenths of a second.
const PUT_MAX: usize = 2_000_000;
/// Rounds at least, and at most.
const ROUNDS: std::ops::RangeInclusive<usize> = 4..=128;
/// Units up to which all ways are tried, and how many steps that may take.
const SEARCHED_UNITS_MAX: usize = 200;
const SEARCH_STEPS_MAX: usize = 300_000;

/// A unit that found no room, and what was placed around it.
#[derive(Debug)]
pub(super) struct Stuck<'w> {
    pub(super) unit: u32,
    pub(super) room: Room<'w>,
}

/// Places all units within the limits; `wished` has a worker for each, or [`NOWHERE`].
pub(super) fn pack<'w>(
    wants: &'w Wants,
    workers: usize,
    wished: &[u32],
) -> Result<Room<'w>, Box<Stuck<'w>>> {
    let stuck = match pack_by(wants, workers, wished) {
        Err(stuck) if wished.iter().any(|worker| *worker != NOWHERE) => stuck,
        done => return done,
    };
    let no_wish = vec![NOWHERE; wished.len()];
    let Ok(mut room) = pack_by(wants, workers, &no_wish) else {
        return Err(stuck);
    };
    // What has moved may make room for what comes before it.
    let mut moved = true;
    while moved {
        moved = false;
        for (unit, wish) in (0..).zip(wished) {
            let is = room.placed[unit as usize];
            moved |= is != *wish && *wish != NOWHERE && room.try_move(unit, *wish);
        }
    }
    Ok(room)
}

/// The same, in rounds that begin with the wish, and then by all ways.
fn pack_by<'w>(
    wants: &'w Wants,
    workers: usize,
    wished: &[u32],
) -> Result<Room<'w>, Box<Stuck<'w>>> {
    let units = wished.len();
    let rounds = (PUT_MAX / units.max(1)).clamp(*ROUNDS.start(), *ROUNDS.end());
    let sizes: Vec<f64> = (0..units as u32).map(|unit| wants.size(unit)).collect();
    let mut order: Vec<u32> = (0..units as u32).collect();
    // What is bound comes first, then in the order of the wish itself: it changes as little as possible.
    order.sort_by_key(|unit| wants.fixed[*unit as usize].is_none());
    let mut trouble = vec![0_u32; units];
    let mut first_stuck = None;
    for round in 0..rounds {
        match put_down(wants, workers, &order, wished, round) {
            Ok(room) => return Ok(room),
            Err(stuck) => {
                trouble[stuck.unit as usize] += 1;
                first_stuck.get_or_insert(stuck);
            }
        }
        order.sort_by(|a, b| {
            let key = |unit: &u32| {
                let unit = *unit as usize;
                let apart = wants.apart(unit as u32).len() as u32;
                (wants.fixed[unit].is_some(), trouble[unit], apart)
            };
            let by_size = sizes[*b as usize].total_cmp(&sizes[*a as usize]);
            key(b).cmp(&key(a)).then(by_size).then(a.cmp(b))
        });
    }
    if units <= SEARCHED_UNITS_MAX {
        let mut room = Room::empty(wants);
        let mut steps = 0;
        if try_all(&mut room, workers, &order, &mut steps) {
            return Ok(room);
        }
    }
    match first_stuck {
        Some(stuck) => Err(stuck),
        None => unreachable!("there was a round"),
    }
}

/// One round. From the second on wishes count less and less: only those of the units that come first.
fn put_down<'w>(
    wants: &'w Wants,
    workers: usize,
    order: &[u32],
    wished: &[u32],
    round: usize,
) -> Result<Room<'w>, Box<Stuck<'w>>> {
    let mut room = Room::empty(wants);
    let granted = order.len().checked_shr(round as u32 / 2).unwrap_or(0);
    for (place, unit) in order.iter().enumerate() {
        let wish = wished[*unit as usize];
        if place < granted && wish != NOWHERE && room.fits(*unit, wish) {
            room.put(*unit, wish);
            continue;
        }
        match best_fit(&room, workers, *unit) {
            Some(worker) => room.put(*unit, worker),
            None => return Err(Box::new(Stuck { unit: *unit, room })),
        }
    }
    Ok(room)
}

/// The worker with room for a unit that has the least left; of equals the first.
fn best_fit(room: &Room<'_>, workers: usize, unit: u32) -> Option<u32> {
    let fits = (0..workers as u32).filter(|worker| room.fits(unit, *worker));
    fits.min_by(|a, b| room.left(*a).total_cmp(&room.left(*b)))
}

/// All ways, depth first.
pub(super) fn try_all(
    room: &mut Room<'_>,
    workers: usize,
    order: &[u32],
    steps: &mut usize,
) -> bool {
    let Some((unit, rest)) = order.split_first() else {
        return true;
    };
    for worker in 0..workers as u32 {
        *steps += 1;
        if *steps > SEARCH_STEPS_MAX {
            return false;
        }
        if room.fits(*unit, worker) {
            room.put(*unit, worker);
            if try_all(room, workers, rest, steps) {
                return true;
            }
            room.take(*unit);
        }
    }
    false
}
