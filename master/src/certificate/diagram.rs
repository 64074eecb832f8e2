//! Decision diagrams: what a gate says for every way in which choices can fall, each thing said once.
//!
//! A diagram is ordered (choices by rising number along each path) and reduced (no two alike, none that asks in vain), so
//! that two gates that say the same are one diagram, and one that always holds is [`TRUE`]. Everything here is bounded by
//! [`Budget`]: where a diagram would grow beyond it there is [`Exhausted`] instead.

use super::model::{Gate, Variable};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// Diagrams in all.
const DIAGRAMS_MAX: usize = 1 << 18;
/// What follows from their options, in all: 64 MiB. Together with what there is for each diagram some 100 MB.
pub(super) const CHILDREN_MAX: usize = 1 << 24;
/// Choices along one path: calls are nested as deep.
pub(super) const DEPTH_MAX: u32 = 1024;

/// A diagram, by its place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Diagram(u32);

/// Does not hold, however choices fall.
pub(super) const FALSE: Diagram = Diagram(0);
/// Holds, however choices fall.
pub(super) const TRUE: Diagram = Diagram(1);

impl Diagram {
    /// What holds, or does not, however choices fall.
    pub(super) const fn constant(value: bool) -> Self {
        if value { TRUE } else { FALSE }
    }
}

/// There was more to do than there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Exhausted;

/// Steps that may still be taken: one for each option of a choice that is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget(pub(super) u64);

impl Budget {
    pub(super) fn spend(&mut self, steps: u64) -> Result<(), Exhausted> {
        let left = self.0.checked_sub(steps);
        self.0 = left.unwrap_or(0);
        left.map(drop).ok_or(Exhausted)
    }
}

/// All diagrams.
#[derive(Debug)]
pub(super) struct Diagrams {
    /// What each asks first; of the constants, what stands behind all choices.
    variables: Vec<Variable>,
    /// By diagram: what follows from each option.
    children: Vec<Rc<[Diagram]>>,
    /// Of all of them.
    children_count: usize,
    unique: FxHashMap<(Variable, Rc<[Diagram]>), Diagram>,
    joined: FxHashMap<(bool, Diagram, Diagram), Diagram>,
}

impl Diagrams {
    pub(super) fn new() -> Self {
        Self {
            variables: vec![Variable::MAX; 2],
            children: vec![Rc::default(); 2],
            children_count: 0,
            unique: FxHashMap::default(),
            joined: FxHashMap::default(),
        }
    }

    /// What a diagram asks first; a number above all if it is constant.
    pub(super) fn variable(&self, of: Diagram) -> Variable {
        self.variables[of.0 as usize]
    }

    /// What follows from each option; of a constant nothing.
    pub(super) fn children(&self, of: Diagram) -> &[Diagram] {
        &self.children[of.0 as usize]
    }

    fn make(&mut self, variable: Variable, children: Rc<[Diagram]>) -> Result<Diagram, Exhausted> {
        if children.iter().all(|child| *child == children[0]) {
            return Ok(children[0]);
        }
        let key = (variable, children);
        if let Some(known) = self.unique.get(&key) {
            return Ok(*known);
        }
        let count = self.children_count + key.1.len();
        if self.variables.len() >= DIAGRAMS_MAX || count > CHILDREN_MAX {
            return Err(Exhausted);
        }
        self.children_count = count;
        let made = Diagram(self.variables.len() as u32);
        self.variables.push(variable);
        self.children.push(Rc::clone(&key.1));
        self.unique.insert(key, made);
        Ok(made)
    }

    /// How many options all diagrams have together.
    #[cfg(test)]
    pub(super) const fn children_count(&self) -> usize {
        self.children_count
    }

    /// That a choice with so many options falls so.
    pub(super) fn choice(
        &mut self,
        variable: Variable,
        option: u16,
        options: u16,
        budget: &mut Budget,
    ) -> Result<Diagram, Exhausted> {
        budget.spend(options.into())?;
        let child = |other| Diagram::constant(other == option);
        self.make(variable, (0..options).map(child).collect())
    }

    /// That both hold (`all`), or one at least.
    pub(super) fn join(
        &mut self,
        all: bool,
        a: Diagram,
        b: Diagram,
        budget: &mut Budget,
    ) -> Result<Diagram, Exhausted> {
        self.join_at(all, a, b, budget, 0)
    }

    fn join_at(
        &mut self,
        all: bool,
        a: Diagram,
        b: Diagram,
        budget: &mut Budget,
        depth: u32,
    ) -> Result<Diagram, Exhausted> {
        let (neutral, decisive) = (Diagram::constant(all), Diagram::constant(!all));
        if a == decisive || b == decisive {
            return Ok(decisive);
        }
        if a == neutral || a == b {
            return Ok(b);
        }
        if b == neutral {
            return Ok(a);
        }
        let key = (all, a.min(b), a.max(b));
        if let Some(known) = self.joined.get(&key) {
            return Ok(*known);
        }
        if depth >= DEPTH_MAX {
            return Err(Exhausted);
        }
        let variable = self.variable(a).min(self.variable(b));
        let options = [a, b]
            .into_iter()
            .find(|one| self.variable(*one) == variable);
        let options = options.map_or(0, |one| self.children(one).len());
        budget.spend(options as u64)?;
        let mut children = Vec::with_capacity(options);
        for option in 0..options {
            let (a, b) = (
                self.after(a, variable, option),
                self.after(b, variable, option),
            );
            children.push(self.join_at(all, a, b, budget, depth + 1)?);
        }
        let made = self.make(variable, children.into())?;
        self.joined.insert(key, made);
        Ok(made)
    }

    /// What is left of a diagram once a choice, none behind which it asks, has fallen.
    pub(super) fn after(&self, of: Diagram, variable: Variable, option: usize) -> Diagram {
        if self.variable(of) == variable {
            self.children(of)[option]
        } else {
            of
        }
    }

    /// That so many hold.
    fn at_least(
        &mut self,
        count: u32,
        of: &[Diagram],
        budget: &mut Budget,
    ) -> Result<Diagram, Exhausted> {
        let certain = of.iter().filter(|one| **one == TRUE).count();
        let open = of.iter().copied();
        let mut open: Vec<Diagram> = open.filter(|one| *one != TRUE && *one != FALSE).collect();
        // From the last choices to the first: what is joined to what is there comes on top of it, and leaves it whole.
        open.sort_unstable_by_key(|one| std::cmp::Reverse(self.variable(*one)));
        let Some(count) = (count as usize)
            .checked_sub(certain)
            .filter(|count| *count > 0)
        else {
            return Ok(TRUE);
        };
        if count > open.len() {
            return Ok(FALSE);
        }
        if count == open.len() || count == 1 {
            let all = count == open.len();
            let mut joined = Diagram::constant(all);
            for one in open {
                joined = self.join(all, joined, one, budget)?;
            }
            return Ok(joined);
        }
        // reached[n]: n + 1 of those looked at so far hold.
        let mut reached = vec![FALSE; count];
        for one in open {
            for n in (0..count).rev() {
                let before = if n == 0 { TRUE } else { reached[n - 1] };
                let now = self.join(true, before, one, budget)?;
                reached[n] = self.join(false, reached[n], now, budget)?;
            }
        }
        Ok(reached[count - 1])
    }

    /// The diagram of each gate, or none where it is too large. Each gate may take `steps_each`, all together `budget`.
    pub(super) fn of_gates(
        &mut self,
        gates: &[Gate],
        variables: &[u16],
        steps_each: u64,
        budget: &mut Budget,
    ) -> Vec<Option<Diagram>> {
        let mut diagrams: Vec<Option<Diagram>> = Vec::with_capacity(gates.len());
        for gate in gates {
            let mut steps = Budget(steps_each.min(budget.0));
            let before = steps.0;
            let made = match gate {
                Gate::Choice { variable, option } => {
                    let options = variables[*variable as usize];
                    self.choice(*variable, *option, options, &mut steps)
                }
                Gate::AtLeast(count, of) => {
                    let of: Vec<_> = of.iter().map(|gate| diagrams[*gate as usize]).collect();
                    self.of_known(*count, &of, &mut steps)
                }
            };
            budget.0 -= before - steps.0;
            diagrams.push(made.ok());
        }
        diagrams
    }

    /// As [`Self::at_least`], where some may be unknown: they do not always matter.
    fn of_known(
        &mut self,
        count: u32,
        of: &[Option<Diagram>],
        steps: &mut Budget,
    ) -> Result<Diagram, Exhausted> {
        let known: Vec<Diagram> = of.iter().copied().flatten().collect();
        if known.len() == of.len() {
            return self.at_least(count, &known, steps);
        }
        let unknown = (of.len() - known.len()) as u32;
        if self.at_least(count, &known, steps)? == TRUE {
            return Ok(TRUE);
        }
        if self.at_least(count.saturating_sub(unknown), &known, steps)? == FALSE {
            return Ok(FALSE);
        }
        Err(Exhausted)
    }
}
