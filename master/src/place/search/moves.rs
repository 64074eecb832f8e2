//! Changes to a placement, as annealing tries them: most are to what the makespan hangs on.

use super::Search;
use crate::place::estimate::Cause;
use crate::place::room::Room;

/// Units of a cluster that is moved as one, at most.
const CLUSTER_MAX: usize = 24;
/// Edges of a unit that are looked at for others of its cluster, at most.
const EDGES_MAX: usize = 64;

/// Of so many changes one exchanges all that two workers have, where these are unlike.
const EXCHANGES: usize = 32;

impl<'w> Search<'_, 'w> {
    /// Changes something, and notes each unit with the worker that it was on.
    pub(super) fn change(
        &mut self,
        room: &mut Room<'w>,
        chain: &[(u32, Cause)],
        changed: &mut Vec<(u32, u32)>,
    ) {
        let units = self.model.units.len();
        let workers = self.model.workers.len();
        let dice = self.random.below(100);
        if self.unlike && self.random.below(EXCHANGES) == 0 {
            let (a, b) = (self.random.below(workers), self.random.below(workers));
            self.exchange(room, a as u32, b as u32, changed);
            return;
        }
        if dice < 60 && !chain.is_empty() {
            let (unit, cause) = chain[self.random.below(chain.len())];
            match cause {
                Cause::Arrival(from) => {
                    let (near, far) = if self.random.below(2) == 0 {
                        (unit, from)
                    } else {
                        (from, unit)
                    };
                    let to = room.placed[far as usize];
                    if dice < 25 {
                        self.move_cluster(room, near, to, changed);
                    } else {
                        self.move_or_swap(room, near, to, changed);
                    }
                }
                Cause::Executor(by) => {
                    let which = if self.random.below(2) == 0 { unit } else { by };
                    let to = self.random.below(workers) as u32;
                    self.move_or_swap(room, which, to, changed);
                }
                Cause::Unit(_) | Cause::Start => {
                    let to = self.some_worker(room, unit);
                    self.move_or_swap(room, unit, to, changed);
                }
            }
            return;
        }
        let unit = self.random.below(units) as u32;
        let to = self.some_worker(room, unit);
        if dice < 75 {
            self.move_cluster(room, unit, to, changed);
        } else {
            self.move_or_swap(room, unit, to, changed);
        }
    }

    /// Exchanges all that two workers have, if there is room.
    fn exchange(&self, room: &mut Room<'w>, a: u32, b: u32, changed: &mut Vec<(u32, u32)>) {
        if a == b {
            return;
        }
        let fixed = &self.wants.fixed;
        for unit in 0..self.model.units.len() as u32 {
            let is = room.placed[unit as usize];
            if (is == a || is == b) && fixed[unit as usize].is_none() {
                room.take(unit);
                changed.push((unit, is));
            }
        }
        for put in 0..changed.len() {
            let (unit, was) = changed[put];
            let to = if was == a { b } else { a };
            if room.fits(unit, to) {
                room.put(unit, to);
                continue;
            }
            changed[..put].iter().for_each(|(unit, _)| room.take(*unit));
            changed
                .drain(..)
                .for_each(|(unit, was)| room.put(unit, was));
            return;
        }
    }

    /// A worker for a unit: that of a neighbour, or any.
    fn some_worker(&mut self, room: &Room<'w>, unit: u32) -> u32 {
        let before = self.model.predecessors.get(unit);
        let behind = self.model.successors.get(unit);
        let neighbours = before.len() + behind.len();
        if neighbours > 0 && self.random.below(4) > 0 {
            let which = self.random.below(neighbours);
            let edge = before
                .get(which)
                .or_else(|| behind.get(which - before.len()));
            if let Some(edge) = edge {
                return room.placed[edge.unit as usize];
            }
        }
        self.random.below(self.model.workers.len()) as u32
    }

    /// Moves a unit; if it has no room there, in exchange for another one.
    fn move_or_swap(
        &mut self,
        room: &mut Room<'w>,
        unit: u32,
        to: u32,
        changed: &mut Vec<(u32, u32)>,
    ) {
        let from = room.placed[unit as usize];
        if from == to {
            return;
        }
        if room.try_move(unit, to) {
            changed.push((unit, from));
            return;
        }
        let units = self.model.units.len();
        for _ in 0..8 {
            // A neighbour in number is near in the graph too; any other may be anywhere.
            let other = if self.random.below(2) == 0 {
                let near = (unit as usize + self.random.below(33)).saturating_sub(16);
                near.min(units - 1)
            } else {
                self.random.below(units)
            } as u32;
            if room.placed[other as usize] != to || other == unit {
                continue;
            }
            room.take(unit);
            room.take(other);
            if room.fits(unit, to) {
                room.put(unit, to);
                if room.fits(other, from) {
                    room.put(other, from);
                    changed.push((unit, from));
                    changed.push((other, to));
                    return;
                }
                room.take(unit);
            }
            room.put(unit, from);
            room.put(other, to);
        }
    }

    /// Moves a unit, and others on its worker that edges bind to it, or to those: of each the heaviest first.
    fn move_cluster(
        &mut self,
        room: &mut Room<'w>,
        unit: u32,
        to: u32,
        changed: &mut Vec<(u32, u32)>,
    ) {
        let from = room.placed[unit as usize];
        if from == to {
            return;
        }
        let size = 2 + self.random.below(CLUSTER_MAX - 1);
        let mut cluster = vec![unit];
        let mut next = 0;
        let mut bound: Vec<(f64, u32)> = Vec::new();
        while next < cluster.len() && cluster.len() < size {
            let of = cluster[next];
            next += 1;
            let before = self.model.predecessors.get(of);
            let behind = self.model.successors.get(of);
            // Of a hub those from anywhere in its list on.
            let edges = before.len() + behind.len();
            let skipped = if edges > EDGES_MAX {
                self.random.below(edges - EDGES_MAX)
            } else {
                0
            };
            let edges = before[skipped.min(before.len())..]
                .iter()
                .chain(&behind[skipped.saturating_sub(before.len())..])
                .take(EDGES_MAX);
            let here = edges.filter(|edge| room.placed[edge.unit as usize] == from);
            bound.clear();
            bound.extend(here.map(|edge| (edge.bytes, edge.unit)));
            bound.sort_by(|a, b| b.0.total_cmp(&a.0));
            for (_, unit) in &bound {
                if cluster.len() < size && !cluster.contains(unit) {
                    cluster.push(*unit);
                }
            }
        }
        for unit in cluster {
            if room.try_move(unit, to) {
                changed.push((unit, from));
            }
        }
    }
}

/// Undoes what has been changed.
pub(super) fn put_back(room: &mut Room<'_>, changed: &mut Vec<(u32, u32)>) {
    for (unit, worker) in changed.drain(..).rev() {
        room.take(unit);
        room.put(unit, worker);
    }
}
