//! The rules read aloud, for every way in which choices can fall.

use super::super::Choice;
use crate::definition::{Definition, From, Work};
use engine::plan::{Gate, Join};
use std::collections::BTreeSet;

/// What comes of every combination of choices.
pub(super) struct Enumerated {
    /// What is chosen, and how many options it has.
    subjects: Vec<(Subject, u16)>,
    /// All combinations.
    combinations: Vec<Vec<u16>>,
    /// By node, by combination: whether it runs.
    pub(super) nodes: Vec<Vec<bool>>,
    pub(super) outputs: Vec<Vec<bool>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Subject {
    Switch(usize),
    Maybe,
}

impl Enumerated {
    pub(super) fn of(definition: &Definition) -> Self {
        let mut subjects = vec![(Subject::Maybe, 2)];
        for (index, node) in definition.nodes.iter().enumerate() {
            if let Work::Switch(cases) = &node.work {
                subjects.push((Subject::Switch(index), cases.len() as u16));
            }
        }
        let mut combinations = vec![Vec::new()];
        for (_, options) in &subjects {
            let longer = |one: Vec<u16>| {
                (0..*options).map(move |option| [one.clone(), vec![option]].concat())
            };
            combinations = combinations.into_iter().flat_map(longer).collect();
        }
        let (mut nodes, mut outputs) = (
            vec![Vec::new(); definition.nodes.len()],
            vec![Vec::new(); definition.outputs.len()],
        );
        for combination in &combinations {
            let chosen = |subject| {
                subjects
                    .iter()
                    .zip(combination)
                    .find(|((known, _), _)| *known == subject)
                    .map(|(_, option)| *option)
            };
            let (ran, there) = run(definition, chosen);
            for (all, one) in nodes.iter_mut().zip(ran) {
                all.push(one);
            }
            for (all, one) in outputs.iter_mut().zip(there) {
                all.push(one);
            }
        }
        Self {
            subjects,
            combinations,
            nodes,
            outputs,
        }
    }

    fn option(&self, choice: Choice) -> (usize, u16) {
        let (subject, option) = match choice {
            Choice::Case { switch, case } => (Subject::Switch(switch), case),
            Choice::Input { given, .. } => (Subject::Maybe, u16::from(!given)),
            _ => panic!("{choice:?} without failures"),
        };
        (
            self.subjects
                .iter()
                .position(|(known, _)| *known == subject)
                .unwrap(),
            option,
        )
    }

    /// Whether all combinations with these choices give the value.
    pub(super) fn settles(&self, truth: &[bool], value: bool, choices: &[Choice]) -> bool {
        let made: Vec<(usize, u16)> = choices.iter().map(|choice| self.option(*choice)).collect();
        self.settled_by(truth, value, &made)
    }

    fn settled_by(&self, truth: &[bool], value: bool, made: &[(usize, u16)]) -> bool {
        let fits = |combination: &[u16]| {
            made.iter()
                .all(|(subject, option)| combination[*subject] == *option)
        };
        self.combinations
            .iter()
            .zip(truth)
            .all(|(combination, runs)| !fits(combination) || *runs == value)
    }

    /// The size of the smallest set of choices that settle it.
    pub(super) fn smallest(&self, truth: &[bool], value: bool) -> usize {
        let mut sets: Vec<Vec<(usize, u16)>> = vec![Vec::new()];
        for (subject, (_, options)) in self.subjects.iter().enumerate() {
            let longer = |set: &Vec<(usize, u16)>| {
                let set = set.clone();
                (0..*options).map(move |option| [set.clone(), vec![(subject, option)]].concat())
            };
            let more: Vec<_> = sets.iter().flat_map(longer).collect();
            sets.extend(more);
        }
        let settling = sets.iter().filter(|set| self.settled_by(truth, value, set));
        settling.map(Vec::len).min().unwrap()
    }
}

/// Which nodes run, and which outputs are there.
fn run(definition: &Definition, chosen: impl Fn(Subject) -> Option<u16>) -> (Vec<bool>, Vec<bool>) {
    let mut ran: Vec<bool> = Vec::new();
    let gates = definition.gates();
    let live = |ran: &[bool], from: From| match from {
        From::Input(_) => chosen(Subject::Maybe) == Some(0),
        From::Output { node, output } => ran[node] && output == 0,
        From::Item { .. } | From::Constant(_) => true,
        From::First { .. } => unreachable!("there are no regions"),
    };
    for (index, node) in definition.nodes.iter().enumerate() {
        let open = |gate: &Gate| match *gate {
            Gate::Case { node, case } => {
                ran[node as usize] && chosen(Subject::Switch(node as usize)) == Some(case)
            }
            Gate::Catch { .. } => false,
        };
        let (behind, opened) = (!gates[index].is_empty(), gates[index].iter().any(open));
        let mut edges: BTreeSet<(usize, bool)> = node
            .after
            .iter()
            .map(|after| (after.value, false))
            .collect();
        for from in node.inputs.iter().flat_map(|input| &input.from) {
            if let From::Output { node, output } = from.value {
                edges.insert((node, output == 1));
            }
        }
        let live_edges = edges
            .iter()
            .filter(|(node, error)| ran[*node] && !error)
            .count();
        let inputs = node
            .inputs
            .iter()
            .all(|input| input.optional || input.from.iter().any(|from| live(&ran, from.value)));
        let runs = match node.join {
            Join::All => {
                let waits = behind || !edges.is_empty();
                let gated = !behind || opened;
                gated && inputs && (!waits || live_edges > 0 || opened)
            }
            Join::AtLeast(count) => (!behind || opened) && live_edges >= count as usize,
        };
        ran.push(runs);
    }
    let outputs = definition
        .outputs
        .iter()
        .map(|output| output.from.iter().any(|from| live(&ran, from.value)));
    let outputs = outputs.collect();
    (ran, outputs)
}
