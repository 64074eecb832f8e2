//! The order of a flat workflow: which step follows which, what is before it, and what has run for certain when it runs.
//!
//! A step is a function, or the switch behind one: a `VIRTUAL` function with a switch is the switch itself, any other has
//! its switch as a further step.

use super::read::{Flat, How, Role};
use crate::definition::ProblemKind;
use crate::definition::Span;
use crate::definition::problem::quoted;
use crate::import::read::Reader;
use rustc_hash::FxHashMap;

/// What a step is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It runs its function's code.
    Code,
    /// It runs no code and passes on.
    Pass,
    /// It chooses.
    Switch,
}

/// A step.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Place of the function in [`Flat::functions`].
    pub(super) function: usize,
    pub(super) kind: Kind,
    /// Whether it runs once for each key.
    pub(super) foreach: bool,
    /// Steps that it follows, whatever they chose.
    pub(super) flows: Vec<usize>,
    /// Switches of which a case leads to it.
    pub(super) gates: Vec<usize>,
}

/// A set of steps for each step.
#[derive(Clone, Debug)]
pub(super) struct Sets {
    words: usize,
    bits: Vec<u64>,
}

impl Sets {
    fn new(steps: usize) -> Self {
        let words = steps.div_ceil(64);
        Self {
            words,
            bits: vec![0; words * steps],
        }
    }

    /// Whether `member` is in the set of `step`.
    pub(super) fn has(&self, step: usize, member: usize) -> bool {
        self.bits[step * self.words + member / 64] >> (member % 64) & 1 == 1
    }

    /// The set of `step` with `step` itself.
    fn with(&self, step: usize) -> Vec<u64> {
        let mut set = self.bits[step * self.words..][..self.words].to_vec();
        set[step / 64] |= 1 << (step % 64);
        set
    }

    fn join(&mut self, step: usize, set: &[u64]) {
        let own = &mut self.bits[step * self.words..][..self.words];
        own.iter_mut()
            .zip(set)
            .for_each(|(own, other)| *own |= other);
    }
}

/// All steps, and their order.
#[derive(Debug)]
pub(super) struct Steps {
    /// Functions first, in the file's order of them; then the switches that are steps of their own.
    pub(super) steps: Vec<Step>,
    /// The step that a function is; of `END`, none.
    pub(super) of_function: Vec<Option<usize>>,
    /// The step that is a function's switch.
    pub(super) switch_of: Vec<Option<usize>>,
    /// Cases of a function's switch: the steps that they lead to, at most one each.
    pub(super) cases: FxHashMap<usize, Vec<Option<usize>>>,
    /// Each step behind all that it follows.
    pub(super) order: Vec<usize>,
    /// What is before a step, on any way.
    pub(super) before: Sets,
    /// What has run if a step runs.
    certain: Sets,
    /// Whether a step may be skipped.
    pub(super) may_be_skipped: Vec<bool>,
}

impl Steps {
    /// The steps of a workflow. Names in it are checked here.
    pub(super) fn of(flat: &Flat, reader: &mut Reader) -> Option<Self> {
        let mut places: FxHashMap<&str, usize> = FxHashMap::default();
        for (place, function) in flat.functions.iter().enumerate() {
            if let Some(first) = places.insert(&function.name.value, place) {
                let name = quoted(&function.name.value);
                let span = flat.functions[first].name.span;
                reader.problems.add_beside(
                    function.name.span,
                    ProblemKind::Duplicate { name },
                    Some("rename one of the two".to_owned()),
                    Some((span, "first here")),
                );
            }
        }
        let mut all = Self {
            steps: Vec::new(),
            of_function: Vec::new(),
            switch_of: vec![None; flat.functions.len()],
            cases: FxHashMap::default(),
            order: Vec::new(),
            before: Sets::new(0),
            certain: Sets::new(0),
            may_be_skipped: Vec::new(),
        };
        all.add_steps(flat);
        let names: Vec<&str> = flat
            .functions
            .iter()
            .map(|of| of.name.value.as_str())
            .collect();
        let mut known = true;
        for (place, function) in flat.functions.iter().enumerate() {
            let Some(next) = &function.next else { continue };
            let mut targets = Vec::with_capacity(next.nodes.len());
            for node in &next.nodes {
                match places.get(node.value.as_str()) {
                    Some(&target) => targets.push((target, node.span)),
                    None => {
                        known = false;
                        let name = quoted(&node.value);
                        let help = reader.instead(&node.value, &names);
                        reader.add(node.span, ProblemKind::UnknownNode { name }, help);
                    }
                }
            }
            if known {
                all.add_edges(place, &next.how, &targets);
            }
        }
        if !known {
            return None;
        }
        if let Err((path, span)) = all.put_in_order(flat) {
            let help = "a workflow has no way back: take one of these out of its `next`";
            reader.add(span, ProblemKind::Cycle { path }, help);
            return None;
        }
        all.look_back();
        Some(all)
    }

    fn add_steps(&mut self, flat: &Flat) {
        for (place, function) in flat.functions.iter().enumerate() {
            let switches =
                matches!(&function.next, Some(next) if matches!(next.how, How::Switch(_)));
            let kind = match function.role {
                Role::End => {
                    self.of_function.push(None);
                    continue;
                }
                Role::Virtual if switches => Kind::Switch,
                Role::Virtual => Kind::Pass,
                Role::Code => Kind::Code,
            };
            self.of_function.push(Some(self.steps.len()));
            if kind == Kind::Switch {
                self.switch_of[place] = Some(self.steps.len());
            }
            self.steps.push(Step::new(place, kind));
        }
        for (place, function) in flat.functions.iter().enumerate() {
            let switches =
                matches!(&function.next, Some(next) if matches!(next.how, How::Switch(_)));
            if let (Role::Code, true, Some(code)) =
                (function.role, switches, self.of_function[place])
            {
                self.switch_of[place] = Some(self.steps.len());
                let mut step = Step::new(place, Kind::Switch);
                step.flows.push(code);
                self.steps.push(step);
            }
        }
    }

    fn add_edges(&mut self, place: usize, how: &How, targets: &[(usize, Span)]) {
        let Some(from) = self.of_function[place] else {
            return;
        };
        if let (How::Switch(_), Some(switch)) = (how, self.switch_of[place]) {
            let cases = targets.iter().map(|&(target, _)| self.of_function[target]);
            let cases: Vec<Option<usize>> = cases.collect();
            for &target in cases.iter().flatten() {
                add_once(&mut self.steps[target].gates, switch);
            }
            self.cases.insert(switch, cases);
            return;
        }
        for &(target, _) in targets {
            if let Some(target) = self.of_function[target] {
                add_once(&mut self.steps[target].flows, from);
                self.steps[target].foreach |= matches!(how, How::Foreach);
            }
        }
    }

    /// Kahn's way, in the file's order among equals; else a cycle.
    fn put_in_order(&mut self, flat: &Flat) -> Result<(), (Vec<String>, Span)> {
        let mut undecided: Vec<usize> = Vec::with_capacity(self.steps.len());
        let mut next = vec![Vec::new(); self.steps.len()];
        for (index, step) in self.steps.iter().enumerate() {
            undecided.push(step.flows.len() + step.gates.len());
            for &before in step.flows.iter().chain(&step.gates) {
                next[before].push(index);
            }
        }
        let ready = (0..self.steps.len()).filter(|&step| undecided[step] == 0);
        let mut queue: std::collections::VecDeque<usize> = ready.collect();
        while let Some(step) = queue.pop_front() {
            self.order.push(step);
            for &after in &next[step] {
                undecided[after] -= 1;
                if undecided[after] == 0 {
                    queue.push_back(after);
                }
            }
        }
        let Some(left) = (0..self.steps.len()).find(|&step| undecided[step] > 0) else {
            return Ok(());
        };
        // Whatever is left has something before it that is left: going back comes round.
        let mut seen = vec![usize::MAX; self.steps.len()];
        let mut path = Vec::new();
        let mut at = left;
        while seen[at] == usize::MAX {
            seen[at] = path.len();
            path.push(at);
            let step = &self.steps[at];
            let before = step.flows.iter().chain(&step.gates);
            at = before
                .copied()
                .find(|&before| undecided[before] > 0)
                .unwrap_or(at);
        }
        path.drain(..seen[at]);
        path.push(at);
        path.reverse();
        let span = flat.functions[self.steps[at].function].name.span;
        let name = |&step: &usize| flat.functions[self.steps[step].function].name.value.clone();
        let mut names: Vec<String> = path.iter().map(name).collect();
        // A function and the switch behind it are one for whoever reads the path.
        names.dedup();
        if let [alone] = &names[..] {
            names.push(alone.clone());
        }
        Err((names, span))
    }

    fn look_back(&mut self) {
        self.before = Sets::new(self.steps.len());
        self.certain = Sets::new(self.steps.len());
        self.may_be_skipped = vec![false; self.steps.len()];
        for &index in &self.order {
            let step = &self.steps[index];
            let all_may = step.flows.iter().all(|&flow| self.may_be_skipped[flow]);
            self.may_be_skipped[index] =
                !step.gates.is_empty() || !step.flows.is_empty() && all_may;
            let always = !self.may_be_skipped[index];
            // What all ways have in common that may lead here.
            let mut shared: Option<Vec<u64>> = None;
            for &from in step.flows.iter().chain(&step.gates) {
                let before = self.before.with(from);
                self.before.join(index, &before);
                let certain = self.certain.with(from);
                // A step that always runs is certain, whichever other way leads here.
                if !self.may_be_skipped[from] && step.flows.contains(&from) {
                    self.certain.join(index, &certain);
                } else if !always {
                    shared = Some(match shared {
                        None => certain,
                        Some(shared) => shared.iter().zip(certain).map(|(a, b)| a & b).collect(),
                    });
                }
            }
            if let Some(shared) = shared {
                self.certain.join(index, &shared);
            }
        }
    }

    /// Whether a step has run, well, whenever another runs that comes behind it.
    pub(super) fn has_run(&self, earlier: usize, later: usize) -> bool {
        !self.may_be_skipped[earlier] || self.certain.has(later, earlier)
    }

    /// Whether a step that comes before another runs whenever that one does.
    pub(super) fn has_run_before(&self, earlier: usize, later: usize) -> bool {
        self.certain.has(later, earlier)
    }

    /// Whether one of the steps that `later` follows runs whenever `source` does: then what `source` gives decides over
    /// `later` as its order does.
    pub(super) fn decides(&self, source: usize, later: usize) -> bool {
        // Back from `later`, over steps that no case leads to: each of them runs if one before it does.
        let mut seen = vec![false; self.steps.len()];
        let mut open = self.steps[later].flows.clone();
        while let Some(step) = open.pop() {
            if step == source {
                return true;
            }
            if !std::mem::replace(&mut seen[step], true) && self.steps[step].gates.is_empty() {
                open.extend_from_slice(&self.steps[step].flows);
            }
        }
        false
    }

    /// How many steps lie behind each.
    pub(super) fn behind(&self) -> Vec<usize> {
        let mut behind = vec![0; self.steps.len()];
        for later in 0..self.steps.len() {
            for (earlier, behind) in behind.iter_mut().enumerate() {
                *behind += usize::from(self.before.has(later, earlier));
            }
        }
        behind
    }
}

impl Step {
    const fn new(function: usize, kind: Kind) -> Self {
        Self {
            function,
            kind,
            foreach: false,
            flows: Vec::new(),
            gates: Vec::new(),
        }
    }
}

fn add_once(list: &mut Vec<usize>, step: usize) {
    if !list.contains(&step) {
        list.push(step);
    }
}
