//! Values that steer an imported workflow through most of its steps.
//!
//! The file does not say what conditions will find. So that a run with synthetic functions takes a sensible way, each switch
//! is led to the case with the most steps behind it, as far as the names in its conditions allow.

use super::condition::Condition;
use super::read::{Flat, How, Reference};
use super::sources::{Alternatives, From};
use super::steps::Steps;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};

/// Assignments that are tried for one switch.
const TRIED_MAX: usize = 20_000;
/// Names of one switch that are given a value on purpose; others keep the default.
const NAMES_MAX: usize = 16;
/// Numbers of one switch's conditions whose neighbourhood is tried.
const NUMBERS_MAX: usize = 64;
/// Names and numbers that are looked at in all, for all switches and assignments. Each switch tries one assignment anyway.
const WORK_MAX: usize = 1 << 24;

/// What a condition's names read, by switch.
pub(super) type Names = FxHashMap<(usize, Reference), Alternatives>;

/// Values for all that conditions read.
pub(super) fn values(flat: &Flat, steps: &Steps, names: &Names) -> FxHashMap<From, Value> {
    let mut values: FxHashMap<From, Value> = FxHashMap::default();
    if steps.cases.is_empty() {
        return values;
    }
    let behind = steps.behind();
    let mut work = WORK_MAX;
    for &step in &steps.order {
        let Some(cases) = steps.cases.get(&step) else {
            continue;
        };
        let Some(next) = &flat.functions[steps.steps[step].function].next else {
            continue;
        };
        let How::Switch(conditions) = &next.how else {
            continue;
        };
        let conditions: Vec<Option<&Condition>> =
            conditions.iter().map(|of| of.value.as_ref()).collect();
        let weight = |case: &Option<usize>| case.map_or(0, |target| 1 + behind[target]);
        let mut wanted: Vec<usize> = (0..cases.len()).collect();
        wanted.sort_by_key(|&case| std::cmp::Reverse(weight(&cases[case])));
        let switch = Switch {
            step,
            conditions,
            names,
        };
        switch.steer(&wanted, &mut values, &mut work);
    }
    values
}

struct Switch<'s> {
    step: usize,
    conditions: Vec<Option<&'s Condition>>,
    names: &'s Names,
}

impl Switch<'_> {
    fn alternatives(&self, name: &Reference) -> &[From] {
        // All names were found when they were marked.
        self.names
            .get(&(self.step, name.clone()))
            .map_or(&[], Vec::as_slice)
    }

    fn steer(&self, wanted: &[usize], values: &mut FxHashMap<From, Value>, work: &mut usize) {
        let mut all = Vec::new();
        let conditions = self.conditions.iter().flatten();
        conditions
            .clone()
            .for_each(|condition| condition.names(&mut all));
        let mut free: Vec<&Reference> = Vec::new();
        // Those behind them get the first value of their type.
        let mut others: Vec<&Reference> = Vec::new();
        for &name in &all {
            if free.len() == NAMES_MAX {
                others.extend((!free.contains(&name)).then_some(name));
                continue;
            }
            let is_fixed = self
                .alternatives(name)
                .first()
                .is_some_and(|from| values.contains_key(from));
            if !is_fixed && !free.contains(&name) {
                free.push(name);
            }
        }
        let mut numbers = Vec::new();
        conditions.for_each(|condition| condition.numbers(&mut numbers));
        let looked_at = all.len() + numbers.len() + self.conditions.len();
        let mut near: Vec<f64> = Vec::new();
        for number in numbers {
            if near.len() < NUMBERS_MAX && !near.contains(&number) {
                near.push(number);
            }
        }
        let choices: Vec<Vec<Value>> = free.iter().map(|name| self.choices(name, &near)).collect();
        let mut best: Option<(usize, Vec<Value>)> = None;
        for tried in 0..TRIED_MAX {
            let Some(assignment) = nth(&choices, tried) else {
                break;
            };
            if tried > 0 && *work < looked_at {
                break;
            }
            *work = work.saturating_sub(looked_at);
            let case = self.first_that_holds(&free, &assignment, values);
            let place = case.and_then(|case| wanted.iter().position(|&other| other == case));
            let place = place.unwrap_or(usize::MAX);
            if best.as_ref().is_none_or(|(least, _)| place < *least) {
                best = Some((place, assignment));
            }
            if place == 0 {
                break;
            }
        }
        let Some((_, assignment)) = best else { return };
        for (name, value) in free.iter().zip(assignment) {
            for &from in self.alternatives(name) {
                values.entry(from).or_insert_with(|| value.clone());
            }
        }
        for name in others {
            let open = |from: &&From| !values.contains_key(*from);
            let Some(&from) = self.alternatives(name).iter().find(open) else {
                continue;
            };
            if *work < looked_at {
                break;
            }
            *work -= looked_at;
            if let Some(value) = self.choices(name, &[]).into_iter().next() {
                values.insert(from, value);
            }
        }
    }

    fn choices(&self, name: &Reference, numbers: &[f64]) -> Vec<Value> {
        let conditions = self.conditions.iter().flatten();
        if conditions
            .clone()
            .any(|condition| condition.is_boolean(name))
        {
            return vec![json!(true), json!(false)];
        }
        let mut choices = vec![json!(0), json!(1)];
        for &number in numbers {
            for number in [number + 1.0, number, number - 1.0] {
                let whole = number.fract() == 0.0 && number.abs() < 1e15;
                let choice = if whole {
                    json!(number as i64)
                } else {
                    json!(number)
                };
                if !choices.contains(&choice) {
                    choices.push(choice);
                }
            }
        }
        choices
    }

    fn first_that_holds(
        &self,
        free: &[&Reference],
        assignment: &[Value],
        values: &FxHashMap<From, Value>,
    ) -> Option<usize> {
        let value = |name: &Reference| {
            let place = free.iter().position(|other| *other == name);
            let assigned = place.and_then(|place| assignment.get(place));
            let fixed = || {
                self.alternatives(name)
                    .first()
                    .and_then(|from| values.get(from))
            };
            match assigned.or_else(fixed) {
                Some(Value::Bool(bool)) => f64::from(u8::from(*bool)),
                Some(value) => value.as_f64().unwrap_or(0.0),
                None => 0.0,
            }
        };
        self.conditions
            .iter()
            .position(|condition| condition.is_none_or(|condition| condition.holds(&value)))
    }
}

/// The assignment with that number, the choices being its digits; none behind the last.
fn nth(choices: &[Vec<Value>], mut number: usize) -> Option<Vec<Value>> {
    let assignment = choices.iter().map(|choices| {
        let digit = number % choices.len();
        number /= choices.len();
        choices[digit].clone()
    });
    let assignment = assignment.collect();
    (number == 0).then_some(assignment)
}
