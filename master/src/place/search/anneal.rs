//! Simulated annealing: first by what sketches say, then by simulations.

use super::front::Score;
use super::{SKETCHES_OF_STEP, Search, critical_chain, moves};
use crate::place::cost::Model;
use crate::place::estimate::Cause;
use crate::place::room::Room;
use crate::place::sketch::Sketch;

/// By how much of the makespan something may be worse and still be kept in one of e cases: at the beginning of annealing by
/// sketches and of that by simulations, and at the end of both.
const HOT: f64 = 0.15;
const WARM: f64 = 0.03;
const COLD: f64 = 1e-3;
/// The share of the steps after which sketches end, and in how many rounds.
const SKETCHED: f64 = 0.6;
const SKETCH_ROUNDS: u32 = 3;
/// Changes that came to nothing, one after the other, after which it gives up.
const MISSES_MAX: u32 = 10_000;

impl<'m, 'w> Search<'m, 'w> {
    /// Changes the best placement again and again: first by what sketches say, then by simulations.
    pub(in crate::place) fn anneal(&mut self) {
        let settled = self.model.units.len() < 2 || self.model.workers.len() < 2;
        if settled || !self.may_go_on() {
            return;
        }
        let began = self.progress();
        for round in 0..SKETCH_ROUNDS {
            let share = SKETCHED * f64::from(round + 1) / f64::from(SKETCH_ROUNDS);
            self.anneal_sketches(began + (1.0 - began) * share);
        }
        self.anneal_simulations();
    }

    /// The shortest placement that is known.
    fn shortest(&self) -> Option<Vec<u32>> {
        Some(self.front.shortest()?.1.clone())
    }

    /// Anneals by sketches until so much is used up; what comes out is offered.
    fn anneal_sketches(&mut self, until: f64) {
        let began = self.progress();
        if began >= until {
            return;
        }
        let Some(from) = self.shortest() else {
            return;
        };
        let mut sketch = Sketch::new(self.model);
        self.simulator.watch(0);
        self.offer(&from);
        let spans = self.simulator.spans();
        sketch.order_by(|unit| spans[unit as usize].ready_ns);
        let mut room = Room::of(self.wants, &from);
        let guess = |sketch: &mut Sketch<'m>, model: &Model, placed: &[u32]| Score {
            makespan_ns: sketch.makespan_ns(placed),
            crossing_bytes: model.crossing_bytes(placed),
        };
        let mut now = guess(&mut sketch, self.model, &room.placed);
        let mut chain = sketch.chain();
        let (mut best, mut best_placed) = (now, room.placed.clone());
        let mut changed: Vec<(u32, u32)> = Vec::new();
        let mut misses = 0_u32;
        let mut guesses = 0_u32;
        let mut heat = HOT;
        while misses < MISSES_MAX {
            guesses += 1;
            if guesses.is_multiple_of(SKETCHES_OF_STEP) {
                self.steps += 1;
                let progress = self.progress();
                if progress >= until || !self.may_go_on() {
                    break;
                }
                heat = HOT * (COLD / HOT).powf((progress - began) / (until - began));
            }
            changed.clear();
            self.change(&mut room, &chain, &mut changed);
            if changed.is_empty() {
                misses += 1;
                continue;
            }
            misses = 0;
            let score = guess(&mut sketch, self.model, &room.placed);
            if self.keeps(&score, &now, heat) {
                now = score;
                chain = sketch.chain();
                if now.beats(&best) {
                    best = now;
                    best_placed.copy_from_slice(&room.placed);
                }
            } else {
                moves::put_back(&mut room, &mut changed);
            }
        }
        if self.may_go_on() {
            self.offer(&best_placed);
        }
    }

    /// Anneals by simulations until all is used up.
    fn anneal_simulations(&mut self) {
        let Some(from) = self.shortest().filter(|_| self.may_go_on()) else {
            return;
        };
        let began = self.progress();
        let mut room = Room::of(self.wants, &from);
        let mut now = self.offer(&room.placed);
        let mut chain = self.chain();
        let mut changed: Vec<(u32, u32)> = Vec::new();
        let mut misses = 0_u32;
        // Where nothing may be moved at all, since all is fixed, or there is no room to turn, it gives up.
        while self.may_go_on() && misses < MISSES_MAX {
            changed.clear();
            self.change(&mut room, &chain, &mut changed);
            if changed.is_empty() {
                misses += 1;
                continue;
            }
            misses = 0;
            let part = (self.progress() - began) / (1.0 - began).max(f64::EPSILON);
            let heat = WARM * (COLD / WARM).powf(part.clamp(0.0, 1.0));
            let score = self.offer(&room.placed);
            if self.keeps(&score, &now, heat) {
                now = score;
                chain = self.chain();
            } else {
                moves::put_back(&mut room, &mut changed);
            }
        }
    }

    /// Whether to keep what is as good as that, in place of what there was.
    fn keeps(&mut self, score: &Score, before: &Score, heat: f64) -> bool {
        let worse = score.worse_than(before);
        worse <= 0.0 || self.random.share() < (-worse / heat).exp()
    }

    /// What the makespan of what was scored last hangs on: units from the last to the first, each with what it waited for.
    fn chain(&mut self) -> Vec<(u32, Cause)> {
        let chain = critical_chain(self.simulator.spans());
        // The next time another scenario is looked at.
        self.simulator
            .watch(self.random.below(self.model.scenarios.len()));
        chain
    }
}
