//! From states to nodes: how the document travels from one to the next, by the ways of [`super::way`].

use super::cel::{Cel, EXPRESSION_BYTES_MAX, Reads};
use super::errors::{Errors, SECONDS_MAX};
use super::machine::{Machine, State, Work as StateWork};
use super::map::Items;
use super::template::{self, Scope};
pub(super) use super::way::{Entry, Gate, Way, first_of};
use super::{AslOptions, Payload, unread};
use crate::definition::{SourceText, Span};
use crate::import::draft::{Draft, Formula, Node, Retry, Source, Work, WorkflowInput};
use crate::import::names::{Names, expression_words};
use crate::import::problem::ImportProblem;
use crate::import::read::Reader;
use crate::import::tree::{Tree, Value};
use engine::expression::{Expression, Gives, Kinds, is_type};
use faasstore::binding::Kind;
use std::collections::HashSet;
use std::path::Path as FilePath;

/// The one output of each node.
pub(super) const OUTPUT: &str = "output";
/// The name under which expressions find the state's input if it has several sources.
pub(super) const STATE: &str = "state";
/// The name under which expressions find what failed if several nodes may.
pub(super) const ERROR: &str = "error";
/// The name under which a node has a result that it waits for and does not read.
pub(super) const RESULT: &str = "result";
/// How expressions name the item of a foreach node.
pub(super) const ITEM: &str = "item";
/// Deepest nesting of macros in an expression.
const MACROS_MAX: usize = 2;

/// Names that nodes do not get, since expressions know something else by them; beside what the language keeps.
const TAKEN: &[&str] = &[STATE, ERROR, RESULT, "each", "it", "index"];

/// Failures that lead to a state, from however many nodes.
pub(super) struct Handler {
    /// The node that makes the state's input of what failed.
    pub(super) node: String,
    pub(super) errors: Errors,
    /// What says that something failed so: nodes and their outputs.
    pub(super) throwers: Vec<(String, &'static str)>,
}

/// What a state with machines within tries again of what fails in them.
pub(super) struct TriedAround {
    pub(super) retriers: Vec<Retry>,
    /// What it catches, which states around it never see.
    pub(super) catches: Vec<Errors>,
}

/// What is known while a machine becomes a draft.
pub(super) struct Translator<'r> {
    pub(super) reader: &'r mut Reader,
    pub(super) options: &'r AslOptions,
    pub(super) draft: Draft,
    pub(super) names: Names,
    pub(super) notes: Vec<String>,
    /// Keys of the options that were of use.
    pub(super) used: HashSet<String>,
    pub(super) handlers: Vec<Handler>,
    /// The Maps that the state is in, the innermost last.
    pub(super) maps: Vec<Items>,
    /// Names under which expressions find what is gathered of all items: lists, whatever the items give.
    pub(super) gathered: HashSet<String>,
    /// Handlers of the Parallel states around, the innermost last.
    pub(super) around: Vec<Vec<usize>>,
    /// What the Parallel states and Maps around try again, the innermost last.
    pub(super) tried_around: Vec<TriedAround>,
    /// Handlers that were looked at, for each node anew.
    pub(super) looked_at: usize,
}

/// The draft of a file's machine.
pub(super) fn draft(
    reader: &mut Reader,
    source: &SourceText,
    machine: &Machine<'_>,
    options: &AslOptions,
) -> Option<Draft> {
    let stem = FilePath::new(source.name.as_ref()).file_stem();
    let stem = stem.and_then(|stem| stem.to_str()).unwrap_or_default();
    let stem = stem.strip_suffix(".asl").unwrap_or(stem);
    let timeout_ms = match machine.timeout {
        Some(tree) => Some(timeout(reader, tree)?),
        None => None,
    };
    let mut reserved: Vec<&str> = expression_words().collect();
    reserved.extend(TAKEN);
    let (kind, default) = match options.payload {
        Payload::Value => (Kind::Value, Some(Value::Map(Vec::new()))),
        Payload::Bytes => (Kind::Bytes, None),
    };
    let mut translator = Translator {
        reader,
        options,
        draft: Draft {
            workflow: Names::default().name(stem, "machine_"),
            timeout_ms,
            inputs: vec![WorkflowInput {
                name: "input".to_owned(),
                kind,
                default: default.map(|_| serde_json::Value::Object(serde_json::Map::new())),
                optional: false,
                comment: None,
            }],
            ..Draft::default()
        },
        names: Names::without(&reserved),
        notes: Vec::new(),
        used: HashSet::new(),
        handlers: Vec::new(),
        maps: Vec::new(),
        gathered: HashSet::new(),
        around: Vec::new(),
        tried_around: Vec::new(),
        looked_at: 0,
    };
    let way = Way::from(Source::Input("input".to_owned()));
    let ends = translator.machine(machine, vec![way])?;
    translator.finish(ends)
}

/// The ways out of a state, each with the state that it leads to.
pub(super) type Out = Vec<(Option<usize>, Way)>;

/// A number of seconds, in milliseconds.
pub(super) fn seconds(reader: &mut Reader, tree: &Tree, key: &'static str) -> Option<u32> {
    let seconds = reader.whole(tree, key, SECONDS_MAX)?;
    // Bounded far below 2^32.
    Some(seconds as u32 * 1000)
}

/// A timeout in seconds, in milliseconds.
pub(super) fn timeout(reader: &mut Reader, tree: &Tree) -> Option<u32> {
    let ms = seconds(reader, tree, "TimeoutSeconds")?;
    if ms == 0 {
        reader.shape(tree, "`TimeoutSeconds`", "a number of seconds above 0");
        return None;
    }
    Some(ms)
}

impl Translator<'_> {
    fn finish(mut self, ends: Vec<Way>) -> Option<Draft> {
        let mut complete = true;
        for (key, _) in &self.options.functions {
            if !self.used.contains(key) {
                super::unknown_function(self.reader, key);
                complete = false;
            }
        }
        if self.draft.nodes.is_empty() {
            // A workflow has a node at least, even one that passes its input on.
            let node = Node::new(self.names.identifier("Pass", "state_"), Work::Nothing);
            self.push(node);
        }
        if !ends.is_empty() {
            let sources = ends.into_iter().map(|way| way.source).collect();
            self.draft.outputs = vec![(OUTPUT.to_owned(), first_of(sources))];
        }
        let mut seen = HashSet::new();
        self.notes.retain(|note| seen.insert(note.clone()));
        self.draft.notes = self.notes;
        unread::settle(&mut self.draft, &mut self.names);
        complete.then_some(self.draft)
    }

    /// The nodes of a machine that is reached in these ways. What it ends with are sources that nothing else decides.
    pub(super) fn machine(&mut self, machine: &Machine<'_>, start: Vec<Way>) -> Option<Vec<Way>> {
        let mut ways: Vec<Vec<Way>> = machine.states.iter().map(|_| Vec::new()).collect();
        let mut reached = vec![false; machine.states.len()];
        let mut ends = Vec::new();
        let mut complete = true;
        if let Some(first) = machine.order.first() {
            ways[*first] = start;
        }
        for place in &machine.order {
            let state = &machine.states[*place];
            let into = std::mem::take(&mut ways[*place]);
            if into.is_empty() {
                continue;
            }
            reached[*place] = true;
            // What is wrong with one state does not hide what is wrong with the next.
            match self.state(state, into) {
                Some(out) => {
                    for (next, way) in out {
                        match next {
                            Some(next) => ways[next].push(way),
                            None => ends.push(way),
                        }
                    }
                }
                None => {
                    complete = false;
                    let way = self.way(state.name);
                    let chosen = match &state.work {
                        StateWork::Choice { rules, default } => rules
                            .iter()
                            .map(|(_, next)| *next)
                            .chain(*default)
                            .collect(),
                        _ => Vec::new(),
                    };
                    for next in state.next.into_iter().chain(chosen) {
                        ways[next].push(way.clone());
                    }
                }
            }
        }
        for (state, reached) in machine.states.iter().zip(reached) {
            if !reached {
                let note = format!(
                    "The state {:?} is never reached, and is left away.",
                    state.name
                );
                self.notes.push(note);
            }
        }
        complete.then_some(ends)
    }

    /// The nodes of a state, and where they lead.
    fn state(&mut self, state: &State<'_>, ways: Vec<Way>) -> Option<Vec<(Option<usize>, Way)>> {
        let first = self.draft.nodes.len();
        let entry = self.entry(state.name, ways);
        let out = match self.options.payload {
            Payload::Value => self.value_state(state, entry),
            Payload::Bytes => self.bytes_state(state, entry),
        }?;
        // The first node of a Parallel state may be its first branch's.
        let plain = Names::default().identifier(state.name, "state_");
        if let Some(node) = self.draft.nodes.get_mut(first)
            && node.comments.is_empty()
            && node.name != state.name
            && node.name.starts_with(&plain)
        {
            node.comments.push(format!("State {:?}.", state.name));
        }
        Some(out)
    }

    fn value_state(
        &mut self,
        state: &State<'_>,
        entry: Entry,
    ) -> Option<Vec<(Option<usize>, Way)>> {
        match &state.work {
            StateWork::Pass { result } => self.pass(state, &entry, *result),
            StateWork::Wait(until) => self.wait(state, &entry, until),
            StateWork::Succeed => self.succeed(state, &entry),
            StateWork::Fail { .. } => self.fail(state, &entry),
            StateWork::Choice { rules, default } => self.choice(state, entry, rules, *default),
            StateWork::Task { resource, timeout } => self.task(state, &entry, resource, *timeout),
            StateWork::Parallel(branches) => self.parallel(state, entry, branches),
            StateWork::Map { .. } => self.map(state, entry),
        }
    }

    /// A node that computes a value, as the first of its state.
    pub(super) fn compute(
        &mut self,
        name: String,
        cel: &Cel,
        entry: &Entry,
        span: Span,
    ) -> Option<Way> {
        let cel = &self.tied(cel, entry);
        let formula = Formula::Value(self.checked(cel, span)?);
        let mut node = Node::new(name, Work::Compute(vec![(OUTPUT.to_owned(), formula)]));
        self.lead(&mut node, entry, cel.reads());
        Some(self.push(node))
    }

    /// Adds a node, which its output is then the sign of.
    pub(super) fn push(&mut self, node: Node) -> Way {
        let way = self.way(&node.name);
        self.draft.nodes.push(node);
        way
    }

    /// Makes a node the first of its state: it starts when the state is reached.
    pub(super) fn lead(&mut self, node: &mut Node, entry: &Entry, reads: Reads) {
        let names = entry.gates.iter().map(|gate| (gate.switch, gate.case));
        for (switch, case) in names {
            if let Some(Node {
                work: Work::Switch { cases, default },
                ..
            }) = self.draft.nodes.get_mut(switch)
            {
                let to = match case {
                    Some(case) => cases.get_mut(case).map(|(_, to)| to),
                    None => default.as_mut(),
                };
                if let Some(to) = to {
                    to.push(node.name.clone());
                }
            }
        }
        if reads.state {
            Self::bind(node, entry);
            node.after.extend(entry.after.iter().cloned());
        } else {
            node.after.extend(entry.producers());
        }
    }

    /// Lets a node's expressions find the state's input.
    pub(super) fn bind(node: &mut Node, entry: &Entry) {
        if entry.sources.len() > 1 {
            node.inputs.push((STATE.to_owned(), entry.feed()));
        }
    }

    /// An expression's text, if a definition may hold it.
    pub(super) fn checked(&mut self, cel: &Cel, span: Span) -> Option<String> {
        self.compiled(cel, span, Gives::Value)
    }

    /// As [`Self::checked`], for a condition.
    pub(super) fn checked_condition(&mut self, cel: &Cel, span: Span) -> Option<String> {
        self.compiled(cel, span, Gives::Truth)
    }

    /// As [`Self::checked`], for what gives something else than any value.
    pub(super) fn compiled(&mut self, cel: &Cel, span: Span, gives: Gives) -> Option<String> {
        if cel.text().len() > EXPRESSION_BYTES_MAX {
            template::too_long(self.reader, span);
            return None;
        }
        if cel.macros() > MACROS_MAX {
            let what = format!("lists within lists, more than {MACROS_MAX} deep,");
            self.reader.not_covered(
                span,
                what,
                "do part of it in a state before this one, or in a function",
            );
            return None;
        }
        let is_source = |name: &str| name != ITEM && !TAKEN.contains(&name) && !is_type(name);
        let compiled = Expression::names(cel.text(), is_source).and_then(|names| {
            let values = names.iter().map(|name| {
                let list = self.gathered.contains(&name.path);
                (
                    name.path.as_str(),
                    if list { Kinds::LIST } else { Kinds::ANY },
                )
            });
            Expression::compile_over(cel.text(), &values.collect::<Vec<_>>(), gives)
        });
        if let Err(fault) = compiled {
            let kind = ImportProblem::Expression(fault.message);
            let help = "a path, template or rule of this state asks of a value what one of its type never has; do it in a \
                        function";
            self.reader.add(span, kind, help);
            return None;
        }
        Some(cel.text().to_owned())
    }

    /// What paths of a state lead into.
    pub(super) fn scope<'s>(&self, state: &State<'s>, input: &Cel) -> Scope<'s> {
        Scope {
            input: input.clone(),
            state: state.name,
            item: self.maps.last().and_then(|items| items.item.clone()),
        }
    }

    /// What a state's work is done on, by its InputPath.
    pub(super) fn selected(&mut self, state: &State<'_>, base: &Cel) -> Option<Cel> {
        self.picked(state.input_path, "`InputPath`", state, base)
    }

    /// What a state passes on, by its OutputPath.
    pub(super) fn passed_on(&mut self, state: &State<'_>, output: &Cel) -> Option<Cel> {
        self.picked(state.output_path, "`OutputPath`", state, output)
    }

    fn picked(
        &mut self,
        path: Option<&Tree>,
        what: &str,
        state: &State<'_>,
        base: &Cel,
    ) -> Option<Cel> {
        match path {
            None => Some(base.clone()),
            Some(tree) if tree.value == Value::Null => Some(Cel::object(&[])),
            Some(tree) => {
                let scope = self.scope(state, base);
                template::at_path(self.reader, tree, what, &scope)
            }
        }
    }

    /// What a state passes on, of its result: by ResultSelector, ResultPath and OutputPath.
    pub(super) fn output(&mut self, state: &State<'_>, base: &Cel, result: &Cel) -> Option<Cel> {
        let result = match state.result_selector {
            None => result.clone(),
            Some(tree) => {
                let scope = self.scope(state, result);
                template::template(self.reader, tree, &scope)?
            }
        };
        let output = self.placed(state.result_path, base, &result)?;
        self.passed_on(state, &output)
    }

    /// A result within a state's input, by a ResultPath.
    pub(super) fn placed(&mut self, path: Option<&Tree>, base: &Cel, result: &Cel) -> Option<Cel> {
        let tree = match path {
            None => return Some(result.clone()),
            Some(tree) if tree.value == Value::Null => return Some(base.clone()),
            Some(tree) => tree,
        };
        let path = template::path(self.reader, tree, "`ResultPath`")?;
        match path.fields() {
            Some(fields) => Some(put(base, &fields, result)),
            None => {
                let why = "a result goes to a place of its own: fields of the state's input, as in $.order.total";
                let text = self.reader.text(tree, "`ResultPath`")?;
                template::refuse(self.reader, tree.span, text, why);
                None
            }
        }
    }
}

/// An object with a result at a place in it. Objects on the way are made if they are not there.
fn put(base: &Cel, fields: &[&str], result: &Cel) -> Cel {
    let mut value = result.clone();
    for depth in (0..fields.len()).rev() {
        if value.is_long() {
            break;
        }
        let entry = Cel::object(&[(fields[depth].to_owned(), value)]);
        // What stands on the way is found from the base each time: within each other the texts would double.
        let within = if depth == 0 {
            base.clone()
        } else {
            let way = &fields[..depth];
            let there = way
                .iter()
                .scan(base.clone(), |at, field| {
                    let there = at.has(field);
                    *at = at.field(field);
                    Some(there)
                })
                .reduce(|all, there| all.and(&there));
            let at = way.iter().fold(base.clone(), |at, field| at.field(field));
            there.map_or(at.clone(), |there| there.choose(&at, &Cel::object(&[])))
        };
        value = Cel::call("merge", &[&within, &entry]);
    }
    value
}
