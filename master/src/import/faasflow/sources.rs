//! Where the parameters of a flat workflow come from: the one key space of the request, looked through by the order of the
//! steps.

use super::read::{Flat, How, Port, PortType, REQUEST, Reference};
use super::steps::{Kind, Step, Steps};
use crate::definition::problem::quoted;
use crate::definition::{ProblemKind, Span};
use crate::import::problem::ImportProblem;
use crate::import::read::Reader;
use rustc_hash::{FxHashMap, FxHashSet};

/// What looking for the writers of all names may cost, in writers and steps that are looked at.
const WORK_MAX: usize = 1 << 25;

/// What a parameter is read from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum From {
    /// Place in [`Flat::inputs`].
    Input(usize),
    /// An output of a function.
    Output {
        /// Place in [`Flat::functions`].
        function: usize,
        /// Place in its outputs.
        output: usize,
    },
}

/// The alternatives of a parameter, the one that counts first.
pub(super) type Alternatives = Vec<From>;

/// All names that can be read.
pub(super) struct Sources<'f> {
    flat: &'f Flat,
    steps: &'f Steps,
    inputs: FxHashMap<&'f str, usize>,
    functions: FxHashMap<&'f str, usize>,
    /// Who writes a name, in the order of the steps.
    writers: FxHashMap<&'f str, Vec<(usize, usize)>>,
    /// Place of each step in the order.
    rank: Vec<usize>,
    /// What is read as a list.
    pub(super) lists: FxHashSet<From>,
    /// What a condition reads.
    pub(super) values: FxHashSet<From>,
    /// Steps that one case alone leads to, by the switch: `(switch, step)`.
    cases: Vec<(usize, usize)>,
    /// What looking for writers may still cost, in writers and steps.
    work: usize,
    /// What was chosen where the file leaves it open: by name, the writers whose order is open.
    pub(super) ambiguous: FxHashMap<String, Vec<usize>>,
}

/// The steps that one case alone leads to, by the switch.
fn cases(steps: &Steps) -> Vec<(usize, usize)> {
    let of = |(step, of): (usize, &Step)| match of.gates[..] {
        [switch] if of.flows.is_empty() => Some((switch, step)),
        _ => None,
    };
    let mut cases: Vec<(usize, usize)> = steps.steps.iter().enumerate().filter_map(of).collect();
    cases.sort_unstable();
    cases
}

fn too_many(reader: &mut Reader, span: Span, name: &str) {
    let what = format!(
        "a workflow in which so many functions write and read `{}`",
        quoted(name)
    );
    let help = "read outputs of functions, as `FUNCTION.OUTPUT`, where it is known which function wrote them";
    reader.not_covered(span, what, help);
}

impl<'f> Sources<'f> {
    pub(super) fn of(flat: &'f Flat, steps: &'f Steps) -> Self {
        let mut rank = vec![0; steps.steps.len()];
        for (place, &step) in steps.order.iter().enumerate() {
            rank[step] = place;
        }
        let mut writers: FxHashMap<&str, Vec<(usize, usize)>> = FxHashMap::default();
        for &step in &steps.order {
            let step = &steps.steps[step];
            if step.kind != Kind::Code {
                continue;
            }
            for (output, port) in flat.functions[step.function].outputs.iter().enumerate() {
                let writers = writers.entry(&port.name.value).or_default();
                writers.push((step.function, output));
            }
        }
        let functions = flat.functions.iter().enumerate();
        let inputs = flat.inputs.iter().enumerate();
        let mut sources = Self {
            flat,
            steps,
            inputs: inputs
                .map(|(place, port)| (port.name.value.as_str(), place))
                .collect(),
            functions: functions
                .map(|(place, of)| (of.name.value.as_str(), place))
                .collect(),
            writers,
            rank,
            cases: cases(steps),
            work: WORK_MAX,
            lists: FxHashSet::default(),
            values: FxHashSet::default(),
            ambiguous: FxHashMap::default(),
        };
        let keys = |port: &Port| port.of == PortType::Keys;
        for (place, port) in flat.inputs.iter().enumerate() {
            if keys(port) {
                sources.lists.insert(From::Input(place));
            }
        }
        for (function, of) in flat.functions.iter().enumerate() {
            for (output, _) in of.outputs.iter().enumerate().filter(|(_, port)| keys(port)) {
                sources.lists.insert(From::Output { function, output });
            }
        }
        sources
    }

    fn step_of(&self, function: usize) -> Option<usize> {
        self.steps.of_function[function]
    }

    /// What a reference reads at a step; at the end, of `None`.
    pub(super) fn find(
        &mut self,
        reader: &mut Reader,
        reference: &Reference,
        span: Span,
        at: Option<usize>,
    ) -> Option<Alternatives> {
        if reference.function == REQUEST {
            return self.find_in_request(reader, &reference.parameter, span, at);
        }
        let Some(&function) = self.functions.get(reference.function.as_str()) else {
            let name = quoted(&reference.function);
            let functions = self.flat.functions.iter();
            let mut names: Vec<&str> = functions.map(|of| of.name.value.as_str()).collect();
            names.push(REQUEST);
            let help = reader.instead(&reference.function, &names);
            reader.add(span, ProblemKind::UnknownNode { name }, help);
            return None;
        };
        let outputs = &self.flat.functions[function].outputs;
        let output = outputs
            .iter()
            .position(|port| port.name.value == reference.parameter);
        let (Some(output), Some(_)) = (output, self.step_of(function)) else {
            let kind = ProblemKind::UnknownOutput {
                node: quoted(&reference.function),
                output: quoted(&reference.parameter),
            };
            let names: Vec<&str> = outputs
                .iter()
                .map(|port| port.name.value.as_str())
                .collect();
            let help = reader.instead(&reference.parameter, &names);
            reader.add(span, kind, help);
            return None;
        };
        if at.is_some_and(|at| !self.is_before(function, at)) {
            let text = format!(
                "`{}` does not come before this place, so that there is nothing of it to read",
                quoted(&reference.function)
            );
            let help =
                "lead to this place from it by `next`, or read from a function that comes before";
            reader.add(span, ImportProblem::Contradiction(text), help);
            return None;
        }
        Some(vec![From::Output { function, output }])
    }

    fn is_before(&self, function: usize, at: usize) -> bool {
        self.step_of(function)
            .is_some_and(|step| self.steps.before.has(at, step))
    }

    fn find_in_request(
        &mut self,
        reader: &mut Reader,
        name: &str,
        span: Span,
        at: Option<usize>,
    ) -> Option<Alternatives> {
        if let Some(&input) = self.inputs.get(name) {
            return Some(vec![From::Input(input)]);
        }
        // All writers are looked at for this place.
        let count = self.writers.get(name).map_or(0, Vec::len);
        if !self.spends(count) {
            too_many(reader, span, name);
            return None;
        }
        let Some(writers) = self.writers.get(name) else {
            let inputs = self.inputs.keys().chain(self.writers.keys());
            let mut names: Vec<&str> = inputs.copied().collect();
            // The table has no order; suggestions must.
            names.sort_unstable();
            let help = reader.instead(name, &names);
            let (what, name) = ("workflow input, and no output of a function,", quoted(name));
            reader.add(span, ImportProblem::Unknown { what, name }, help);
            return None;
        };
        let earlier = |(function, _): &&(usize, usize)| match at {
            Some(at) => self.is_before(*function, at),
            None => true,
        };
        let mut found: Vec<(usize, usize)> = writers.iter().filter(earlier).copied().collect();
        if found.is_empty() {
            let by = writers.iter().map(|&(function, _)| {
                format!("`{}`", quoted(&self.flat.functions[function].name.value))
            });
            let by = by.collect::<Vec<_>>().join(", ");
            let text = format!(
                "`{}` is written by {by} alone, which do not come before this place",
                quoted(name)
            );
            let help = "add it to `global_input`, or write it in a function that comes before";
            reader.add(span, ImportProblem::Contradiction(text), help);
            return None;
        }
        // The last one that was written is read.
        let rank = |function: usize| self.step_of(function).map(|step| self.rank[step]);
        found.sort_by_key(|&(function, _)| std::cmp::Reverse(rank(function)));
        // Behind one that has run for certain nothing earlier is ever read.
        let certain = found.iter().position(|&(function, _)| {
            self.step_of(function).is_some_and(|step| match at {
                Some(at) => self.steps.has_run(step, at),
                None => !self.steps.may_be_skipped[step],
            })
        });
        if !self.ambiguous.contains_key(name) {
            let Some(open) = self.open_order(&found) else {
                too_many(reader, span, name);
                return None;
            };
            if !open.is_empty() {
                self.ambiguous.insert(name.to_owned(), open);
            }
        }
        found.truncate(certain.map_or(usize::MAX, |certain| certain + 1));
        let output = |(function, output)| From::Output { function, output };
        Some(found.into_iter().map(output).collect())
    }

    /// The writers of which one that may have been read last has no order with the first, though both may run. None if
    /// that is too much work.
    fn open_order(&mut self, found: &[(usize, usize)]) -> Option<Vec<usize>> {
        let mut open = Vec::new();
        let Some((&(first, _), others)) = found.split_first() else {
            return Some(open);
        };
        let Some(first_step) = self.step_of(first) else {
            return Some(open);
        };
        for &(function, _) in others {
            let Some(step) = self.step_of(function) else {
                continue;
            };
            if self.steps.before.has(first_step, step) {
                continue;
            }
            if !self.spends(self.cases.len()) {
                return None;
            }
            if !self.exclude(first_step, step) {
                open.push(function);
            }
        }
        if !open.is_empty() {
            open.insert(0, first);
        }
        Some(open)
    }

    /// Whether two steps lie behind different cases of one switch, so that at most one of them runs.
    fn exclude(&self, a: usize, b: usize) -> bool {
        let behind =
            |gate: usize, step: usize| gate == step || self.steps.has_run_before(gate, step);
        // Those of one switch stand side by side.
        self.cases
            .chunk_by(|one, next| one.0 == next.0)
            .any(|cases| {
                let of = |step: usize| cases.iter().find(|(_, gate)| behind(*gate, step));
                matches!((of(a), of(b)), (Some(one), Some(other)) if one != other)
            })
    }

    /// Whether so much work may still be done.
    fn spends(&mut self, work: usize) -> bool {
        let left = self.work.checked_sub(work);
        self.work = left.unwrap_or(0);
        left.is_some()
    }

    /// Marks what conditions and key inputs read. `None` once a problem was found.
    pub(super) fn mark(&mut self, reader: &mut Reader) {
        for (place, function) in self.flat.functions.iter().enumerate() {
            let Some(step) = self.step_of(place) else {
                continue;
            };
            for port in function
                .inputs
                .iter()
                .filter(|port| port.of == PortType::Keys)
            {
                if let Some(value) = &port.value {
                    let found = self.find(reader, &value.value, value.span, Some(step));
                    self.lists.extend(found.into_iter().flatten());
                }
            }
            let Some(next) = &function.next else { continue };
            let (How::Switch(conditions), Some(switch)) = (&next.how, self.steps.switch_of[place])
            else {
                continue;
            };
            for condition in conditions {
                let mut names = Vec::new();
                condition.value.iter().for_each(|of| of.names(&mut names));
                for name in names {
                    let found = self.find(reader, name, condition.span, Some(switch));
                    for from in found.into_iter().flatten() {
                        self.values.insert(from);
                        self.check_value(reader, from, condition.span);
                    }
                }
            }
        }
    }

    /// A condition reads values of functions that run once.
    fn check_value(&self, reader: &mut Reader, from: From, span: Span) {
        let of_foreach = match from {
            From::Input(_) => false,
            From::Output { function, .. } => self
                .step_of(function)
                .is_some_and(|step| self.steps.steps[step].foreach),
        };
        if self.lists.contains(&from) || of_foreach {
            let text = "a condition reads a list".to_owned();
            let help =
                "conditions compare numbers and booleans: let a function make one of the list";
            reader.add(span, ImportProblem::Contradiction(text), help);
        }
    }
}
