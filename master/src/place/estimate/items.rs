//! Regions in the simulation: their items, as many at once as their window holds, step by step.

use super::{Open, Simulator, counts_down};
use crate::place::cost::Work;

impl Simulator<'_> {
    /// A region begins.
    pub(super) fn open_region(&mut self, placed: &[u32], unit: u32, region: u32) {
        let items = self.model.regions[region as usize].items;
        self.open[region as usize] = Open {
            next: 0,
            left: items,
        };
        if items == 0 {
            self.unit_ended(unit);
            return;
        }
        for _ in 0..self.model.regions[region as usize].window() {
            self.open_item(placed, unit, region);
        }
    }

    /// The next item of a region begins, if there is one.
    fn open_item(&mut self, placed: &[u32], unit: u32, region: u32) {
        let model = self.model;
        let of = &model.regions[region as usize];
        let open = &mut self.open[region as usize];
        if open.next == of.items {
            return;
        }
        let item = open.next;
        open.next += 1;
        let (first_task, first_item) = self.first_of_region[region as usize];
        let steps = of.steps.len() as u32;
        let base = first_task + item * steps;
        let units = self.model.units.len() as u32;
        self.item_left[(first_item + item) as usize] = steps;
        for (step, of) in of.steps.iter().enumerate() {
            self.before[(base - units) as usize + step] = of.before;
            self.lacks_within[(base - units) as usize + step] = of.at_least;
        }
        for (step, of) in (0..steps).zip(&of.steps) {
            if of.before == 0 {
                self.step_ready(placed, unit, base + step, step);
            }
        }
    }

    fn step_ready(&mut self, placed: &[u32], unit: u32, task: u32, step: u32) {
        let model = self.model;
        let of = &model.steps(unit)[step as usize];
        let runs = &model.node_runs[self.scenario];
        if runs.as_ref().is_none_or(|runs| runs[of.node as usize]) {
            self.wait(placed, task, of.task.delay_ns);
        } else {
            self.passed.push_back((task, false));
        }
    }

    pub(super) fn step_ended(&mut self, placed: &[u32], task: u32, runs: bool) {
        let units = self.model.units.len() as u32;
        let (unit, item, step) = self.item_tasks[(task - units) as usize];
        let Work::Region(region) = self.model.units[unit as usize].work else {
            unreachable!("only regions have items");
        };
        let base = task - step;
        let model = self.model;
        let of = &model.regions[region as usize];
        for after in &of.steps[step as usize].after {
            let place = (base - units + after) as usize;
            self.before[place] -= 1;
            let at_least = of.steps[*after as usize].at_least;
            let lacks = &mut self.lacks_within[place];
            if counts_down(self.before[place], lacks, runs, at_least) {
                self.step_ready(placed, unit, base + after, *after);
            }
        }
        let (_, first_item) = self.first_of_region[region as usize];
        let left = &mut self.item_left[(first_item + item) as usize];
        *left -= 1;
        if *left > 0 {
            return;
        }
        let open = &mut self.open[region as usize];
        open.left -= 1;
        if open.left == 0 {
            self.unit_ended(unit);
        } else {
            self.open_item(placed, unit, region);
        }
    }
}
