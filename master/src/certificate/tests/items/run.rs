//! All runs of a workflow, by the rules of docs/language.md read aloud: item by item, with every choice made in every way.

use super::super::super::*;
use crate::definition::From;
use engine::plan::Join;
use rustc_hash::FxHashSet;
use std::collections::{BTreeMap, BTreeSet};

/// Longest list.
const ITEMS_MAX: u16 = 2;
/// Of a workflow with more runs than this only so many are looked at: then it is not asked whether something never happens.
const RUNS_MAX: usize = 2_000;

/// Something that is chosen, as a certificate says it: with every option that it has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Subject {
    Switch(usize),
    SomeItem(usize, u16),
    Input,
}

/// How one choice fell where a node stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Made {
    /// It is none of those that may matter there.
    NotHere,
    As(u16),
    /// It has no effect, and counts as fallen in either way.
    Freely,
}

/// How choices fell for one node, and whether it ran.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Row {
    pub(super) made: BTreeMap<Subject, u16>,
    pub(super) runs: bool,
}

/// All choices of one run in the order in which they are asked for; the next run changes the last one that it can.
#[derive(Default)]
struct Tape {
    digits: Vec<(u16, u16)>,
    at: usize,
}

impl Tape {
    fn choose(&mut self, options: u16) -> u16 {
        if self.at == self.digits.len() {
            self.digits.push((0, options));
        }
        let (digit, known) = self.digits[self.at];
        assert_eq!(known, options, "a run repeats what it has asked");
        self.at += 1;
        digit
    }

    fn next(&mut self) -> bool {
        assert_eq!(self.at, self.digits.len());
        self.at = 0;
        while let Some((digit, options)) = self.digits.pop() {
            if digit + 1 < options {
                self.digits.push((digit + 1, options));
                return true;
            }
        }
        false
    }
}

/// One run, as far as it has got.
struct Run<'a> {
    definition: &'a Definition,
    gates: &'a [Vec<Gate>],
    tape: &'a mut Tape,
    given: bool,
    /// Of the item that is looked at, and of those around it.
    ran: Vec<bool>,
    case: Vec<u16>,
    /// Of a region that has ended: whether a node could have run in an item, and which of its cases were taken in one.
    gathered: Vec<bool>,
    /// Whether a list around is not there.
    dead: bool,
    taken: BTreeSet<(usize, u16)>,
    /// All that is chosen.
    subjects: &'a [Subject],
    /// Of each node, then of each output: what was chosen where it is, and whether it ran.
    rows: &'a mut [FxHashSet<(Vec<Made>, bool)>],
}

impl Run<'_> {
    fn cases(&self, node: usize) -> u16 {
        match &self.definition.nodes[node].work {
            Work::Switch(cases) => cases.len() as u16,
            _ => 0,
        }
    }

    fn is_around(&self, node: usize, scope: Option<usize>) -> bool {
        let outward = |region: &usize| self.definition.regions[*region].parent;
        let own = self.definition.nodes[node].region;
        own.is_none() || std::iter::successors(scope, outward).any(|region| own == Some(region))
    }

    /// Whether an output is there for who stands in this scope.
    fn there(&self, from: From, scope: Option<usize>) -> bool {
        match from {
            From::Input(_) => self.given,
            From::Output { node, output } => output == 0 && self.live(node, scope),
            From::Item { .. } | From::Constant(_) => true,
            From::First { .. } => unreachable!("only what says what failed reads the first item"),
        }
    }

    fn live(&self, node: usize, scope: Option<usize>) -> bool {
        if self.is_around(node, scope) {
            self.ran[node]
        } else {
            self.gathered[node]
        }
    }

    fn opened(&self, gate: Gate, scope: Option<usize>) -> bool {
        match gate {
            Gate::Case { node, case } => {
                let node = node as usize;
                if self.is_around(node, scope) {
                    self.ran[node] && self.case[node] == case
                } else {
                    self.taken.contains(&(node, case))
                }
            }
            Gate::Catch { .. } => false,
        }
    }

    /// The rule for one node, where this says what is live, there, and open.
    fn decided(
        &self,
        node: usize,
        live: &dyn Fn(usize) -> bool,
        there: &dyn Fn(From) -> bool,
        open: &dyn Fn(Gate) -> bool,
    ) -> bool {
        let declared = &self.definition.nodes[node];
        let behind = !self.gates[node].is_empty();
        let opened = self.gates[node].iter().any(|gate| open(*gate));
        let after = declared.after.iter().map(|after| after.value);
        let read = declared.inputs.iter().flat_map(|input| &input.from);
        let read = read.filter_map(|from| from.value.node());
        let edges: BTreeSet<usize> = after.chain(read).collect();
        let live = edges.iter().filter(|edge| live(**edge)).count();
        if behind && !opened {
            return false;
        }
        if let Join::AtLeast(count) = declared.join {
            return live >= count as usize;
        }
        let mut needed = declared.inputs.iter().filter(|input| !input.optional);
        let all = needed.all(|input| input.from.iter().any(|from| there(from.value)));
        let listed = self.definition.is_reached_by_list(node);
        all && (opened || live > 0 || listed || (edges.is_empty() && !behind))
    }

    /// Everything of a scope, in the order of nodes; regions are ranges of it.
    fn scope(&mut self, scope: Option<usize>, nodes: std::ops::Range<usize>) {
        let mut node = nodes.start;
        while node < nodes.end {
            let within = self.definition.regions_of(node);
            let within: Vec<usize> = within.take_while(|region| Some(*region) != scope).collect();
            let Some(region) = within.last().copied() else {
                let runs = self.decided(
                    node,
                    &|other| self.live(other, scope),
                    &|from| self.there(from, scope),
                    &|gate| self.opened(gate, scope),
                );
                self.ran[node] = runs && !self.dead;
                node += 1;
                continue;
            };
            let is_within = |node: &usize| self.definition.regions_of(*node).any(|of| of == region);
            let end = (node..nodes.end)
                .find(|node| !is_within(node))
                .unwrap_or(nodes.end);
            self.region(region, scope, node..end);
            node = end;
        }
    }

    /// All items of a region, and what is seen of it then.
    fn region(&mut self, region: usize, scope: Option<usize>, nodes: std::ops::Range<usize>) {
        let list = self.definition.regions[region].list.value;
        for node in nodes.clone() {
            self.gathered[node] = false;
            self.ran[node] = false;
            self.taken.retain(|(of, _)| *of != node);
        }
        let is_list = self.there(list, scope);
        let possible = self.possible(scope, nodes.clone());
        let mut taken = BTreeSet::new();
        // Of a list that is not there it is as if all of its items were skipped.
        let was_dead = self.dead;
        self.dead |= !is_list;
        let items = self.tape.choose(ITEMS_MAX + 1);
        for _ in 0..items {
            for node in nodes
                .clone()
                .filter(|node| self.definition.nodes[*node].region == Some(region))
            {
                self.case[node] = match self.cases(node) {
                    0 => 0,
                    cases => self.tape.choose(cases),
                };
            }
            self.scope(Some(region), nodes.clone());
            for node in nodes.clone() {
                if self.definition.nodes[node].region == Some(region) {
                    self.note(node, Some(region));
                    if self.ran[node] && self.cases(node) > 0 {
                        taken.insert((node, self.case[node]));
                    }
                }
            }
            taken.extend(self.taken.iter().filter(|(node, _)| nodes.contains(node)));
        }
        self.taken.extend(taken);
        for node in nodes {
            self.gathered[node] = !self.dead && possible[&node];
        }
        self.dead = was_dead;
    }

    /// Which nodes of a region could run in an item, whatever is chosen in it: by each of their edges for itself.
    fn possible(
        &self,
        scope: Option<usize>,
        nodes: std::ops::Range<usize>,
    ) -> BTreeMap<usize, bool> {
        let mut found: BTreeMap<usize, bool> = BTreeMap::new();
        for node in nodes.clone() {
            let possible = {
                let is = |other: usize| {
                    found
                        .get(&other)
                        .copied()
                        .unwrap_or_else(|| self.live(other, scope))
                };
                let there = |from: From| match from {
                    From::Output { node, output } if found.contains_key(&node) => {
                        output == 0 && is(node)
                    }
                    from => self.there(from, scope),
                };
                let open = |gate: Gate| match gate {
                    Gate::Case { node, .. } if found.contains_key(&(node as usize)) => {
                        is(node as usize)
                    }
                    gate => self.opened(gate, scope),
                };
                // Without a list nothing of its region runs.
                let regions = self.definition.regions_of(node);
                let mut within = regions.take_while(|region| Some(*region) != scope);
                let has_lists =
                    within.all(|region| there(self.definition.regions[region].list.value));
                has_lists && self.decided(node, &is, &there, &open)
            };
            found.insert(node, possible);
        }
        found
    }

    /// How choices fell where a node stands, by the places of what is chosen in [`Run::subjects`].
    fn made(&self, scope: Option<usize>) -> Vec<Made> {
        let one = |subject: &Subject| match *subject {
            Subject::Input => Made::As(u16::from(!self.given)),
            Subject::Switch(switch) if self.is_around(switch, scope) => Made::As(self.case[switch]),
            Subject::Switch(_) => Made::NotHere,
            Subject::SomeItem(switch, _) if self.is_around(switch, scope) => Made::NotHere,
            // No item could run the switch.
            Subject::SomeItem(switch, _) if !self.gathered[switch] => Made::Freely,
            Subject::SomeItem(switch, case) => {
                Made::As(u16::from(!self.taken.contains(&(switch, case))))
            }
        };
        self.subjects.iter().map(one).collect()
    }

    fn note(&mut self, node: usize, scope: Option<usize>) {
        let made = self.made(scope);
        self.rows[node].insert((made, self.ran[node]));
    }
}

/// All rows that one stands for in which something is free.
fn rows(subjects: &[Subject], made: &[Made], runs: bool) -> Vec<Row> {
    let mut all = vec![BTreeMap::new()];
    for (subject, made) in subjects.iter().zip(made) {
        let options = match made {
            Made::NotHere => continue,
            Made::As(option) => vec![*option],
            Made::Freely => vec![0, 1],
        };
        let longer = |one: &BTreeMap<Subject, u16>| {
            let with = |option: &u16| {
                let mut one = one.clone();
                one.insert(*subject, *option);
                one
            };
            options.iter().map(with).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(longer).collect();
    }
    all.into_iter().map(|made| Row { made, runs }).collect()
}

/// The rows of all runs, of each node, then of each output; and whether these are all.
pub(super) fn all_rows(definition: &Definition) -> (Vec<BTreeSet<Row>>, bool) {
    let gates = definition.gates();
    let count = definition.nodes.len();
    let mut found = vec![FxHashSet::default(); count + definition.outputs.len()];
    let mut subjects = BTreeSet::from([Subject::Input]);
    for (target, gates) in gates.iter().enumerate() {
        for gate in gates {
            if let Gate::Case { node, case } = *gate {
                let node = node as usize;
                let own = definition.nodes[node].region;
                if own.is_some_and(|own| definition.regions_of(target).all(|region| region != own))
                {
                    subjects.insert(Subject::SomeItem(node, case));
                }
            }
        }
        if matches!(definition.nodes[target].work, Work::Switch(_)) {
            subjects.insert(Subject::Switch(target));
        }
    }
    let subjects: Vec<Subject> = subjects.into_iter().collect();
    let mut complete = false;
    let mut tape = Tape::default();
    for _ in 0..RUNS_MAX {
        let given = tape.choose(2) == 0;
        let mut run = Run {
            definition,
            gates: &gates,
            tape: &mut tape,
            given,
            ran: vec![false; count],
            case: vec![0; count],
            gathered: vec![false; count],
            dead: false,
            taken: BTreeSet::new(),
            subjects: &subjects,
            rows: &mut found,
        };
        let outside = |node: &usize| definition.nodes[*node].region.is_none();
        for switch in (0..count).filter(outside) {
            if run.cases(switch) > 0 {
                run.case[switch] = run.tape.choose(run.cases(switch));
            }
        }
        run.scope(None, 0..count);
        for node in (0..count).filter(outside) {
            run.note(node, None);
        }
        for (place, output) in definition.outputs.iter().enumerate() {
            let runs = output.from.iter().any(|from| run.there(from.value, None));
            let made = run.made(None);
            run.rows[count + place].insert((made, runs));
        }
        if !tape.next() {
            complete = true;
            break;
        }
    }
    let all = |found: FxHashSet<(Vec<Made>, bool)>| {
        let found = found.into_iter();
        found
            .flat_map(|(made, runs)| rows(&subjects, &made, runs))
            .collect()
    };
    (found.into_iter().map(all).collect(), complete)
}
