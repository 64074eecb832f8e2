//! The smallest set of choices that settles what a diagram says, however all others fall.

use super::diagram::{Budget, DEPTH_MAX, Diagram, Diagrams, Exhausted};
use super::model::Variable;
use rustc_hash::{FxHashMap, FxHashSet};

/// Choices, by variable and option, in the order of variables.
pub(super) type Choices = Vec<(Variable, u16)>;

/// Smallest number of choices that settle a diagram; none if nothing does.
type Size = Option<u32>;

/// Looks for witnesses of one value of diagrams; what it finds out about a diagram it keeps.
pub(super) struct Shortest {
    value: bool,
    sizes: FxHashMap<Diagram, Size>,
}

impl Shortest {
    pub(super) fn new(value: bool) -> Self {
        Self {
            value,
            sizes: FxHashMap::default(),
        }
    }

    /// A smallest set of choices, or none if the diagram never has the value. Of several, one that speaks of the first
    /// choices.
    ///
    /// A set either says nothing of a diagram's first choice, and then settles all that may follow from it together, or
    /// names one of its options, and then settles the rest of what follows from that one.
    pub(super) fn find(
        &mut self,
        diagrams: &mut Diagrams,
        of: Diagram,
        budget: &mut Budget,
    ) -> Result<Option<Choices>, Exhausted> {
        if self.size(diagrams, of, budget, 0)?.is_none() {
            return Ok(None);
        }
        let mut choices = Vec::new();
        let mut rest = of;
        while rest != Diagram::constant(self.value) {
            let size = self.size(diagrams, rest, budget, 0)?;
            let variable = diagrams.variable(rest);
            let children = diagrams.children(rest).to_vec();
            let mut taken = None;
            for (option, child) in children.iter().enumerate() {
                let child_size = self.size(diagrams, *child, budget, 0)?;
                if child_size.map(|child| child + 1) == size {
                    taken = Some((option, *child));
                    break;
                }
            }
            rest = match taken {
                Some((option, child)) => {
                    choices.push((variable, option as u16));
                    child
                }
                None => self.whatever(diagrams, &children, budget)?,
            };
        }
        Ok(Some(choices))
    }

    /// What follows from all options alike.
    fn whatever(
        &self,
        diagrams: &mut Diagrams,
        children: &[Diagram],
        budget: &mut Budget,
    ) -> Result<Diagram, Exhausted> {
        let mut joined = Diagram::constant(self.value);
        for child in children {
            joined = diagrams.join(self.value, joined, *child, budget)?;
        }
        Ok(joined)
    }

    fn size(
        &mut self,
        diagrams: &mut Diagrams,
        of: Diagram,
        budget: &mut Budget,
        depth: u32,
    ) -> Result<Size, Exhausted> {
        if of == Diagram::constant(self.value) {
            return Ok(Some(0));
        }
        if of == Diagram::constant(!self.value) {
            return Ok(None);
        }
        if let Some(known) = self.sizes.get(&of) {
            return Ok(*known);
        }
        if depth >= DEPTH_MAX {
            return Err(Exhausted);
        }
        let children = diagrams.children(of).to_vec();
        budget.spend(children.len() as u64)?;
        let whatever = self.whatever(diagrams, &children, budget)?;
        let mut best = self.size(diagrams, whatever, budget, depth + 1)?;
        for child in children {
            let child = self.size(diagrams, child, budget, depth + 1)?;
            best = match (best, child) {
                (Some(best), Some(child)) => Some(best.min(child + 1)),
                (best, child) => best.or(child.map(|child| child + 1)),
            };
        }
        self.sizes.insert(of, best);
        Ok(best)
    }
}

/// A set of choices that settles a diagram, not always a smallest one. None of them can be left out, unless the budget
/// was spent before that was seen. None if the diagram is the other constant.
pub(super) fn some(
    diagrams: &Diagrams,
    of: Diagram,
    value: bool,
    budget: &mut Budget,
) -> Option<Choices> {
    let mut choices = Vec::new();
    let mut rest = of;
    // In a reduced diagram every part but the other constant can still come to have the value.
    while rest != Diagram::constant(value) {
        let children = diagrams.children(rest);
        let fitting = |child: &&Diagram| **child == Diagram::constant(value);
        let possible = |child: &&Diagram| **child != Diagram::constant(!value);
        let taken = children
            .iter()
            .find(fitting)
            .or_else(|| children.iter().find(possible))?;
        let option = children.iter().position(|child| child == taken)?;
        choices.push((diagrams.variable(rest), option as u16));
        rest = *taken;
    }
    let mut index = 0;
    while index < choices.len() {
        let left_out = choices.remove(index);
        if settles(diagrams, of, value, &choices, budget) != Ok(true) {
            choices.insert(index, left_out);
            index += 1;
        }
    }
    Some(choices)
}

fn settles(
    diagrams: &Diagrams,
    of: Diagram,
    value: bool,
    choices: &Choices,
    budget: &mut Budget,
) -> Result<bool, Exhausted> {
    let made: FxHashMap<Variable, u16> = choices.iter().copied().collect();
    let mut seen = FxHashSet::default();
    let mut open = vec![of];
    while let Some(one) = open.pop() {
        if one == Diagram::constant(!value) {
            return Ok(false);
        }
        if !seen.insert(one) {
            continue;
        }
        let children = diagrams.children(one);
        budget.spend(children.len().max(1) as u64)?;
        match made.get(&diagrams.variable(one)) {
            Some(option) if !children.is_empty() => open.push(children[usize::from(*option)]),
            _ => open.extend(children),
        }
    }
    Ok(true)
}
