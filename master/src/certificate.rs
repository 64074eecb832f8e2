//! Certificates: which nodes always run, which may be skipped, and which never run.
//!
//! The case that a switch takes counts as a free choice, whatever its conditions say and whatever other switches choose;
//! so does whether a client gives an optional input that has no default; nothing fails. Under that reading every answer is
//! exact: [`Verdict::Always`] and [`Verdict::Never`] are proofs, and [`Verdict::May`] comes with witnesses. It is cautious
//! towards what conditions really allow: of two switches that ask the same, some combinations of cases never happen.
//!
//! Method: each node is a gate over choices ([`model`](self)), and each gate an ordered multi-valued decision diagram, on
//! which "always", "never" and the smallest witness are read off. Diagrams are bounded ([`Bounds`]); where one would be
//! too large a search with backtracking decides, whose witnesses are irredundant but not proved to be smallest; where that
//! is cut off too the verdict is "may", and says that it was not decided. Workflows in which branches come together again,
//! as people write them, need neither: a join of all branches is the constant "always", and what lies behind is forgotten.

mod diagram;
mod model;
mod reason;
pub(crate) mod scenario;
mod search;
#[cfg(test)]
mod tests;
mod witness;

use crate::definition::{Definition, DefinitionError, Work};
use diagram::{Budget, Diagram, Diagrams, FALSE, TRUE};
use engine::plan::Gate;
use model::{Failures, GateId, Model, Subject};
use search::Search;
use std::fmt;
use witness::{Choices, Shortest};

/// Whether a node runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// However choices fall.
    Always,
    /// It depends on them; or it was not decided.
    May,
    /// However choices fall, unless something fails.
    Never,
}

impl Verdict {
    /// As the command line has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::May => "may",
            Self::Never => "never",
        }
    }
}

/// One choice, and how it falls.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Choice {
    /// A switch takes a case.
    Case {
        /// The switch, by its place in [`Definition::nodes`].
        switch: usize,
        /// Which of its cases.
        case: u16,
    },
    /// A switch that runs for each item takes a case for some of them, or for none. Only for what is not part of its foreach.
    SomeItem {
        /// The switch, by its place in [`Definition::nodes`].
        switch: usize,
        /// Which of its cases.
        case: u16,
        /// Whether it does for some.
        some: bool,
    },
    /// What runs for each item fails for some of them so that a catch takes it, or for none. Only in
    /// [`Certificate::after_failure`], for what is not part of its foreach.
    SomeItemFails {
        /// The node, by its place in [`Definition::nodes`].
        node: usize,
        /// Which of its catches.
        catch: u16,
        /// Whether it does for some.
        some: bool,
    },
    /// A client gives an optional input of the workflow, or leaves it out.
    Input {
        /// Which, by its place in [`Definition::inputs`].
        input: u16,
        /// Whether it is given.
        given: bool,
    },
    /// A node ends well though it has catches. Only in [`Certificate::after_failure`].
    EndsWell {
        /// The node, by its place in [`Definition::nodes`].
        node: usize,
    },
    /// A node fails. Only in [`Certificate::after_failure`].
    Fails {
        /// The node, by its place in [`Definition::nodes`].
        node: usize,
        /// Which of its catches takes the failure; none if those that wait for it do without it.
        catch: Option<u16>,
    },
}

/// Choices that settle something, however all others fall.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Witness {
    /// In no order that means anything. None can be left out, unless bounds were hit before that was seen.
    pub choices: Vec<Choice>,
    /// Whether it is proved that no smaller set does it.
    pub shortest: bool,
}

/// What is known of one node, or of one output of the workflow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// Whether it runs; whether the output is there.
    pub verdict: Verdict,
    /// False if bounds were hit: then [`Verdict::May`] may be too cautious, and of [`Verdict::Never`] it is not known
    /// whether a failure could make it run.
    pub decided: bool,
    /// Under what it runs.
    pub runs: Option<Witness>,
    /// Under what it is skipped.
    pub skipped: Option<Witness>,
    /// Of what never runs otherwise: under what it does, if something fails.
    pub after_failure: Option<Witness>,
}

/// What is known of a workflow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificates {
    /// By place in [`Definition::nodes`].
    pub nodes: Vec<Certificate>,
    /// By place in [`Definition::outputs`].
    pub outputs: Vec<Certificate>,
}

/// How much work is done before something counts as not decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Steps for the diagram of one gate, and for one witness: one for each option of a choice that is looked at.
    pub diagram_steps: u64,
    /// Steps for all diagrams and their witnesses together.
    pub diagram_steps_all: u64,
    /// Steps of one search.
    pub search_steps: u64,
    /// Steps of all searches together.
    pub search_steps_all: u64,
}

impl Default for Bounds {
    /// Some seconds at most, whatever the workflow.
    fn default() -> Self {
        Self {
            diagram_steps: 1_000_000,
            diagram_steps_all: 20_000_000,
            search_steps: 2_000_000,
            search_steps_all: 100_000_000,
        }
    }
}

/// Certifies a workflow, and refuses one with a node that can never run, or an output that can never be there.
///
/// # Errors
/// If there are such: where, and why. A node that runs after a failure alone is none of them.
///
/// ```
/// let text = "{ workflow: w, nodes: { a: { function: e:f }, b: { function: e:f, after: a } } }";
/// let definition = master::definition::parse("w.yaml", text.as_bytes()).unwrap();
/// let certificates = master::certificate::check(&definition, Default::default()).unwrap();
/// assert_eq!(certificates.nodes[1].verdict, master::certificate::Verdict::Always);
/// ```
pub fn check(definition: &Definition, bounds: Bounds) -> Result<Certificates, DefinitionError> {
    let mut certificates = without_failures(definition, bounds);
    if certificates.all().any(Certificate::is_never) {
        let model = Model::of(definition, Failures::Free);
        let mut prover = Prover::new(&model, bounds);
        after_failures(&mut certificates, &mut prover);
        if let Some(error) = reason::dead(definition, &certificates, &mut prover) {
            return Err(error);
        }
    }
    Ok(certificates)
}

/// Certifies a workflow.
#[must_use]
pub fn certify(definition: &Definition, bounds: Bounds) -> Certificates {
    let mut certificates = without_failures(definition, bounds);
    if certificates.all().any(Certificate::is_never) {
        let model = Model::of(definition, Failures::Free);
        after_failures(&mut certificates, &mut Prover::new(&model, bounds));
    }
    certificates
}

/// What becomes of nodes and outputs if nothing fails.
fn without_failures(definition: &Definition, bounds: Bounds) -> Certificates {
    let model = Model::of(definition, Failures::None);
    let mut prover = Prover::new(&model, bounds);
    let mut of = |gates: &[GateId]| {
        let certificates = gates.iter().map(|gate| prover.certificate(*gate));
        certificates.collect()
    };
    Certificates {
        nodes: of(&model.runs),
        outputs: of(&model.outputs),
    }
}

/// Finds after which failures runs what never does otherwise; the prover's model is one with failures.
fn after_failures(certificates: &mut Certificates, prover: &mut Prover<'_>) {
    let model = prover.model;
    let nodes = certificates.nodes.iter_mut().zip(&model.runs);
    let outputs = certificates.outputs.iter_mut().zip(&model.outputs);
    for (certificate, gate) in nodes.chain(outputs).filter(|(one, _)| one.is_never()) {
        match prover.when(*gate, true) {
            Answer::Under(witness) => certificate.after_failure = Some(witness),
            Answer::Never => {}
            Answer::Unknown => certificate.decided = false,
        }
    }
}

impl Certificate {
    fn is_never(&self) -> bool {
        self.verdict == Verdict::Never
    }
}

impl Certificates {
    /// Of every node, then of every output.
    fn all(&self) -> impl Iterator<Item = &Certificate> {
        self.nodes.iter().chain(&self.outputs)
    }
}

/// Whether something can be so.
enum Answer {
    Under(Witness),
    Never,
    Unknown,
}

/// Answers questions about the gates of a model.
struct Prover<'a> {
    model: &'a Model,
    bounds: Bounds,
    diagrams: Diagrams,
    of_gates: Vec<Option<Diagram>>,
    diagram_budget: Budget,
    /// For witnesses that something fails to hold, and that it holds.
    shortest: [Shortest; 2],
    search: Option<Search<'a>>,
    search_budget: Budget,
}

impl<'a> Prover<'a> {
    fn new(model: &'a Model, bounds: Bounds) -> Self {
        let options: Vec<u16> = model
            .variables
            .iter()
            .map(|(_, options)| *options)
            .collect();
        let mut diagrams = Diagrams::new();
        let mut diagram_budget = Budget(bounds.diagram_steps_all);
        let of_gates = diagrams.of_gates(
            &model.gates,
            &options,
            bounds.diagram_steps,
            &mut diagram_budget,
        );
        Self {
            model,
            bounds,
            diagrams,
            of_gates,
            diagram_budget,
            shortest: [Shortest::new(false), Shortest::new(true)],
            search: None,
            search_budget: Budget(bounds.search_steps_all),
        }
    }

    fn certificate(&mut self, gate: GateId) -> Certificate {
        let (runs, skipped) = (self.when(gate, true), self.when(gate, false));
        let (verdict, decided) = match (&runs, &skipped) {
            (Answer::Never, _) => (Verdict::Never, true),
            (_, Answer::Never) => (Verdict::Always, true),
            (Answer::Under(_), Answer::Under(_)) => (Verdict::May, true),
            (Answer::Unknown, _) | (_, Answer::Unknown) => (Verdict::May, false),
        };
        let witness = |answer| match answer {
            Answer::Under(witness) if verdict == Verdict::May => Some(witness),
            _ => None,
        };
        Certificate {
            verdict,
            decided,
            runs: witness(runs),
            skipped: witness(skipped),
            after_failure: None,
        }
    }

    /// Under what a gate has a value.
    fn when(&mut self, gate: GateId, value: bool) -> Answer {
        match self.of_gates[gate as usize] {
            Some(FALSE | TRUE)
                if self.of_gates[gate as usize] != Some(Diagram::constant(value)) =>
            {
                Answer::Never
            }
            Some(diagram) => match self.on_diagram(diagram, value) {
                Some((choices, shortest)) => Answer::Under(self.witness(&choices, shortest)),
                None => Answer::Never,
            },
            None => self.by_search(gate, value),
        }
    }

    fn on_diagram(&mut self, diagram: Diagram, value: bool) -> Option<(Choices, bool)> {
        let mut steps = self.diagram_steps();
        let value_at = usize::from(value);
        let found = self.shortest[value_at].find(&mut self.diagrams, diagram, &mut steps.0);
        self.diagram_budget.0 -= steps.1 - steps.0.0;
        if let Ok(found) = found {
            return found.map(|choices| (choices, true));
        }
        let mut steps = self.diagram_steps();
        let some = witness::some(&self.diagrams, diagram, value, &mut steps.0);
        self.diagram_budget.0 -= steps.1 - steps.0.0;
        some.map(|choices| {
            let shortest = choices.len() <= 1;
            (choices, shortest)
        })
    }

    /// What one witness may take, and how much that is.
    fn diagram_steps(&self) -> (Budget, u64) {
        let steps = self.bounds.diagram_steps.min(self.diagram_budget.0);
        (Budget(steps), steps)
    }

    fn by_search(&mut self, gate: GateId, value: bool) -> Answer {
        let model = self.model;
        let search = self.search.get_or_insert_with(|| Search::new(model));
        let mut steps = Budget(self.bounds.search_steps.min(self.search_budget.0));
        let before = steps.0;
        let found = search.find(gate, value, &mut steps);
        self.search_budget.0 -= before - steps.0;
        match found {
            Ok(Some(choices)) => {
                let shortest = choices.is_empty();
                Answer::Under(self.witness(&choices, shortest))
            }
            Ok(None) => Answer::Never,
            Err(_) => Answer::Unknown,
        }
    }

    fn witness(&self, choices: &Choices, shortest: bool) -> Witness {
        let choice = |(variable, option): &(u32, u16)| match (
            self.model.variables[*variable as usize].0,
            *option,
        ) {
            (Subject::Switch(switch), case) => Choice::Case { switch, case },
            (Subject::Input(input), option) => Choice::Input {
                input,
                given: option == 0,
            },
            (Subject::SomeItem(Gate::Case { node, case }), option) => Choice::SomeItem {
                switch: node as usize,
                case,
                some: option == 0,
            },
            (Subject::SomeItem(Gate::Catch { node, catch }), option) => Choice::SomeItemFails {
                node: node as usize,
                catch,
                some: option == 0,
            },
            (Subject::Ending(node), 0) => Choice::EndsWell { node },
            (Subject::Ending(node), option) => Choice::Fails {
                node,
                catch: Some(option - 1)
                    .filter(|catch| usize::from(*catch) < self.model.catches[node]),
            },
        };
        Witness {
            choices: choices.iter().map(choice).collect(),
            shortest,
        }
    }
}

impl Choice {
    /// In words, with the names of a definition.
    ///
    /// # Panics
    /// If it is no choice of that definition.
    #[must_use]
    pub fn describe(self, definition: &Definition) -> String {
        let name = |node: usize| definition.nodes[node].name.value.as_str();
        match self {
            Self::Case { switch, case } => {
                format!(
                    "{} takes {}",
                    name(switch),
                    CaseName {
                        definition,
                        switch,
                        case
                    }
                )
            }
            Self::SomeItem { switch, case, some } => {
                let case = CaseName {
                    definition,
                    switch,
                    case,
                };
                format!("{} takes {case} for {}", name(switch), items(some))
            }
            Self::SomeItemFails { node, some, .. } => {
                format!("{} fails for {}", name(node), items(some))
            }
            Self::Input { input, given } => {
                let input = &definition.inputs[usize::from(input)].name.value;
                format!(
                    "input {input} is {}",
                    if given { "given" } else { "left out" }
                )
            }
            Self::EndsWell { node } => format!("{} ends well", name(node)),
            Self::Fails { node, .. } => format!("{} fails", name(node)),
        }
    }
}

const fn items(some: bool) -> &'static str {
    if some { "some item" } else { "no item" }
}

/// A case as people know it: by its number and where it leads.
struct CaseName<'a> {
    definition: &'a Definition,
    switch: usize,
    case: u16,
}

impl fmt::Display for CaseName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Work::Switch(cases) = &self.definition.nodes[self.switch].work else {
            return write!(f, "case {}", self.case + 1);
        };
        let case = &cases[usize::from(self.case)];
        match case.condition {
            Some(_) => write!(f, "case {}", self.case + 1)?,
            None => f.write_str("its default")?,
        }
        let to: Vec<&str> = case
            .to
            .iter()
            .map(|to| self.definition.nodes[to.value].name.value.as_str())
            .collect();
        let to = to.join(", ");
        write!(f, " (→ {})", if to.is_empty() { "nothing" } else { &to })
    }
}
