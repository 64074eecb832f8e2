//! A search for choices under which a gate has a value, for circuits whose diagrams are too large.
//!
//! It goes from the gate that is to have the value back to a choice that may help, makes it, sees what follows, and takes
//! back what led to the opposite; so it finds what there is, or proves that there is nothing, unless its steps run out.

use super::diagram::{Budget, Exhausted};
use super::model::{Gate, GateId, Model, Variable};
use super::witness::Choices;
use rustc_hash::FxHashSet;

/// Steps for leaving choices out of a witness, at least.
const TRIAL_STEPS_MIN: u64 = 20_000;

/// What is known of a gate.
#[derive(Clone, Default)]
struct Known {
    value: Option<bool>,
    /// Of those that it reads, how many hold, and how many do not.
    hold: u32,
    fail: u32,
}

/// A choice that was made, and what else could be chosen.
struct Decision {
    variable: Variable,
    /// Where [`Search::settled`] stood before it.
    before: usize,
    /// Options not tried yet, the next one last.
    left: Vec<u16>,
}

/// A circuit that can be asked again and again.
pub(super) struct Search<'a> {
    gates: &'a [Gate],
    options: Vec<u16>,
    /// By gate: those that read it, once for each time.
    readers: Vec<Vec<GateId>>,
    /// By variable: its gates.
    of_variable: Vec<Vec<GateId>>,
    /// By gate: what it takes about to make it fail, and hold.
    effort: [Vec<u64>; 2],
    known: Vec<Known>,
    chosen: Vec<Option<u16>>,
    /// Gates in the order in which their values became known.
    settled: Vec<GateId>,
}

impl<'a> Search<'a> {
    pub(super) fn new(model: &'a Model) -> Self {
        let gates = &model.gates;
        let mut readers = vec![Vec::new(); gates.len()];
        let mut of_variable = vec![Vec::new(); model.variables.len()];
        for (id, gate) in gates.iter().enumerate() {
            match gate {
                Gate::Choice { variable, .. } => of_variable[*variable as usize].push(id as GateId),
                Gate::AtLeast(_, of) => {
                    for read in of {
                        readers[*read as usize].push(id as GateId);
                    }
                }
            }
        }
        let mut search = Self {
            gates,
            options: model
                .variables
                .iter()
                .map(|(_, options)| *options)
                .collect(),
            readers,
            of_variable,
            effort: efforts(gates),
            known: vec![Known::default(); gates.len()],
            chosen: vec![None; model.variables.len()],
            settled: Vec::new(),
        };
        let mut open = Vec::new();
        for id in 0..gates.len() as GateId {
            search.settle_if_known(id, &mut open);
        }
        let mut unbounded = Budget(u64::MAX);
        let spread = search.spread(open, &mut unbounded);
        debug_assert!(spread.is_ok());
        search
    }

    /// Choices under which a gate has a value however all others fall, none of which can be left out as far as the
    /// rules alone tell; or none if it never has it.
    pub(super) fn find(
        &mut self,
        goal: GateId,
        value: bool,
        budget: &mut Budget,
    ) -> Result<Option<Choices>, Exhausted> {
        let base = self.settled.len();
        let before = budget.0;
        let found = self.decide(goal, value, budget);
        let mut choices = match found {
            Ok(true) => self.reasons(goal),
            Ok(false) | Err(_) => Choices::new(),
        };
        self.forget(base);
        if !found? {
            return Ok(None);
        }
        // Leaving out is tried for as long as the search itself took: of a long witness each choice costs as much.
        let spent = before - budget.0;
        let mut rest = Budget(budget.0.min(spent.max(TRIAL_STEPS_MIN)));
        budget.0 -= rest.0;
        let mut index = 0;
        while index < choices.len() {
            let left_out = choices.remove(index);
            let settled = self.settles(goal, value, &choices, &mut rest);
            if settled != Ok(true) {
                choices.insert(index, left_out);
                index += 1;
            }
            // What is found is found, though there may be something to spare in it.
            if settled.is_err() {
                break;
            }
        }
        budget.0 += rest.0;
        Ok(Some(choices))
    }

    /// Choices among those made that suffice for the value that a gate has come to have.
    fn reasons(&self, goal: GateId) -> Choices {
        let mut choices = Choices::new();
        let mut seen = FxHashSet::default();
        let mut open = vec![goal];
        while let Some(gate) = open.pop() {
            if !seen.insert(gate) {
                continue;
            }
            match &self.gates[gate as usize] {
                Gate::Choice { variable, .. } => {
                    let chosen = self.chosen[*variable as usize];
                    choices.extend(chosen.map(|option| (*variable, option)));
                }
                Gate::AtLeast(count, of) => {
                    let value = self.known[gate as usize].value;
                    let enough = if value == Some(true) {
                        *count as usize
                    } else {
                        (of.len() + 1).saturating_sub(*count as usize)
                    };
                    let alike = of
                        .iter()
                        .filter(|read| self.known[**read as usize].value == value);
                    open.extend(alike.take(enough));
                }
            }
        }
        choices.sort_unstable();
        choices.dedup();
        choices
    }

    fn settles(
        &mut self,
        goal: GateId,
        value: bool,
        choices: &Choices,
        budget: &mut Budget,
    ) -> Result<bool, Exhausted> {
        let base = self.settled.len();
        let mut made = Ok(());
        for (variable, option) in choices {
            made = made.and_then(|()| self.choose(*variable, *option, budget));
        }
        let known = self.known[goal as usize].value;
        self.forget(base);
        made.map(|()| known == Some(value))
    }

    fn decide(
        &mut self,
        goal: GateId,
        value: bool,
        budget: &mut Budget,
    ) -> Result<bool, Exhausted> {
        let mut decisions: Vec<Decision> = Vec::new();
        // From the goal down to what is being decided: the next decision goes on where the last one was made.
        let mut path: Vec<GateId> = Vec::new();
        loop {
            match self.known[goal as usize].value {
                Some(known) if known == value => return Ok(true),
                Some(_) => {
                    path.clear();
                    // The opposite: back to the last choice that can fall otherwise.
                    loop {
                        let Some(last) = decisions.last_mut() else {
                            return Ok(false);
                        };
                        let (variable, before) = (last.variable, last.before);
                        let next = last.left.pop();
                        self.forget(before);
                        match next {
                            Some(option) => {
                                self.choose(variable, option, budget)?;
                                break;
                            }
                            None => decisions.pop(),
                        };
                    }
                }
                None => {
                    let (variable, mut left) = self.helpful(goal, value, &mut path, budget)?;
                    let before = self.settled.len();
                    if let Some(option) = left.pop() {
                        decisions.push(Decision {
                            variable,
                            before,
                            left,
                        });
                        self.choose(variable, option, budget)?;
                    }
                }
            }
        }
    }

    /// A choice that may bring an undecided gate nearer to a value, and its options, the most helpful one last. `path`
    /// leads to where the last one was found.
    fn helpful(
        &self,
        goal: GateId,
        value: bool,
        path: &mut Vec<GateId>,
        budget: &mut Budget,
    ) -> Result<(Variable, Vec<u16>), Exhausted> {
        while path
            .last()
            .is_some_and(|gate| self.known[*gate as usize].value.is_some())
        {
            path.pop();
        }
        loop {
            let gate = path.last().copied().unwrap_or(goal);
            match &self.gates[gate as usize] {
                Gate::Choice { variable, option } => {
                    let all = (0..self.options[*variable as usize]).rev();
                    let others = all.filter(|other| other != option);
                    let left = if value {
                        others.chain([*option]).collect()
                    } else {
                        std::iter::once(*option).chain(others).collect()
                    };
                    return Ok((*variable, left));
                }
                Gate::AtLeast(count, of) => {
                    budget.spend(of.len() as u64)?;
                    let known = &self.known[gate as usize];
                    let open = of.len() as u32 - known.hold - known.fail;
                    let wanted = if value {
                        count - known.hold
                    } else {
                        of.len() as u32 - count + 1 - known.fail
                    };
                    let effort = |gate: &GateId| self.effort[usize::from(value)][*gate as usize];
                    let undecided = of.iter().copied();
                    let undecided =
                        undecided.filter(|read| self.known[*read as usize].value.is_none());
                    // Where all are needed the hardest fails soonest; else the easiest may do.
                    let next = if wanted == open {
                        undecided.max_by_key(effort)
                    } else {
                        undecided.min_by_key(effort)
                    };
                    match next {
                        Some(next) => path.push(next),
                        None => unreachable!("an undecided gate reads one that is undecided"),
                    }
                }
            }
        }
    }

    /// Makes a choice, and sees what follows.
    fn choose(
        &mut self,
        variable: Variable,
        option: u16,
        budget: &mut Budget,
    ) -> Result<(), Exhausted> {
        self.chosen[variable as usize] = Some(option);
        let mut open = Vec::new();
        for index in 0..self.of_variable[variable as usize].len() {
            let gate = self.of_variable[variable as usize][index];
            self.settle_if_known(gate, &mut open);
        }
        self.spread(open, budget)
    }

    fn spread(&mut self, mut open: Vec<GateId>, budget: &mut Budget) -> Result<(), Exhausted> {
        let mut steps = 1;
        while let Some(gate) = open.pop() {
            steps += self.readers[gate as usize].len() as u64;
            let value = self.known[gate as usize].value == Some(true);
            for index in 0..self.readers[gate as usize].len() {
                let reader = self.readers[gate as usize][index];
                let known = &mut self.known[reader as usize];
                if value {
                    known.hold += 1;
                } else {
                    known.fail += 1;
                }
                self.settle_if_known(reader, &mut open);
            }
        }
        // Paid for at the end, so that nothing is left half done.
        budget.spend(steps)
    }

    fn settle_if_known(&mut self, gate: GateId, open: &mut Vec<GateId>) {
        let known = &self.known[gate as usize];
        if known.value.is_some() {
            return;
        }
        let value = match &self.gates[gate as usize] {
            Gate::Choice { variable, option } => {
                self.chosen[*variable as usize].map(|chosen| chosen == *option)
            }
            Gate::AtLeast(count, of) => {
                if known.hold >= *count {
                    Some(true)
                } else if of.len() as u32 - known.fail < *count {
                    Some(false)
                } else {
                    None
                }
            }
        };
        if value.is_some() {
            self.known[gate as usize].value = value;
            self.settled.push(gate);
            open.push(gate);
        }
    }

    /// Takes back everything since [`Self::settled`] was so long.
    fn forget(&mut self, settled: usize) {
        while self.settled.len() > settled {
            let Some(gate) = self.settled.pop() else {
                return;
            };
            if let Gate::Choice { variable, .. } = self.gates[gate as usize] {
                self.chosen[variable as usize] = None;
            }
            let value = self.known[gate as usize].value.take() == Some(true);
            for index in 0..self.readers[gate as usize].len() {
                let known = &mut self.known[self.readers[gate as usize][index] as usize];
                if value {
                    known.hold -= 1;
                } else {
                    known.fail -= 1;
                }
            }
        }
    }
}

/// By gate: about how many choices it takes to make it fail, and hold.
fn efforts(gates: &[Gate]) -> [Vec<u64>; 2] {
    let mut efforts = [
        Vec::with_capacity(gates.len()),
        Vec::with_capacity(gates.len()),
    ];
    for gate in gates {
        for (value, efforts) in efforts.iter_mut().enumerate() {
            let effort = match gate {
                Gate::Choice { .. } => 1,
                Gate::AtLeast(count, of) => {
                    let wanted = if value == 1 {
                        *count as usize
                    } else {
                        (of.len() + 1).saturating_sub(*count as usize)
                    };
                    let mut each: Vec<u64> =
                        of.iter().map(|read| efforts[*read as usize]).collect();
                    each.sort_unstable();
                    if wanted > each.len() {
                        u64::MAX
                    } else {
                        each[..wanted]
                            .iter()
                            .fold(1, |sum: u64, one| sum.saturating_add(*one))
                    }
                }
            };
            efforts.push(effort);
        }
    }
    efforts
}
