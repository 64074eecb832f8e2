//! Switches: their conditions in CEL, and the names that these use.

use super::super::condition::Condition;
use super::super::read::{How, Reference};
use super::super::sources::Alternatives;
use super::Builder;
use crate::definition::Span;
use crate::import::draft::{Feed, Node, Source, Work};
use crate::import::names::{Names, expression_words, is_identifier};
use crate::import::problem::ImportProblem;
use crate::import::read::Reader;
use engine::expression::Expression;
use rustc_hash::FxHashMap;

impl Builder<'_> {
    pub(super) fn switch(&mut self, index: usize, reader: &mut Reader) -> Option<Node> {
        let steps = self.steps;
        let step = &steps.steps[index];
        let next = self.flat.functions[step.function].next.as_ref()?;
        let How::Switch(conditions) = &next.how else {
            return None;
        };
        let targets = steps.cases.get(&index)?;
        let mut bound = Bound::default();
        let mut read = Vec::new();
        let mut cases = Vec::new();
        let mut default = None;
        for (condition, target) in conditions.iter().zip(targets) {
            let to = target.map(|target| match self.gates.get(&(index, target)) {
                Some(between) => between.clone(),
                None => self.step_names[target].clone(),
            });
            let to: Vec<String> = to.into_iter().collect();
            match &condition.value {
                // What stands behind it is never asked.
                None => {
                    default = Some(to);
                    break;
                }
                Some(python) => {
                    let when = self.expression(python, index, &mut bound, &mut read);
                    refuse_unusable(&when, condition.span, &bound, reader)?;
                    cases.push((when, to));
                }
            }
        }
        if cases.is_empty() {
            cases.push(("true".to_owned(), default.take().unwrap_or_default()));
        }
        let (trigger, after) = self.control(index, &read);
        let mut inputs = bound.inputs;
        if let Some(feed) = trigger {
            inputs.push((bound.names.identifier("follows", ""), feed));
        }
        let name = &self.step_names[index];
        let mut node = Node::new(name, Work::Switch { cases, default });
        node.inputs = inputs;
        node.after = after;
        Some(node)
    }

    /// A condition in CEL. What it reads is named where it stands, if an expression can name it.
    fn expression(
        &mut self,
        condition: &Condition,
        index: usize,
        bound: &mut Bound,
        read: &mut Vec<Alternatives>,
    ) -> String {
        let mut names = Vec::new();
        condition.names(&mut names);
        let mut written: FxHashMap<Reference, String> = FxHashMap::default();
        for name in names {
            let found = self
                .names
                .get(&(index, name.clone()))
                .cloned()
                .unwrap_or_default();
            let source = match found[..] {
                [only] => Some(self.source(only)).filter(is_expression),
                _ => None,
            };
            let feed = self.feed(&found, index);
            let text = match source {
                Some(source) => source.to_string(),
                None => bound.name(name, feed, &self.step_names),
            };
            written.insert(name.clone(), text);
            read.push(found);
        }
        condition.to_cel(&|name| written.get(name).cloned().unwrap_or_default())
    }
}

/// Refuses a condition that the language would: one that is too long, or nested too deep.
fn refuse_unusable(text: &str, span: Span, bound: &Bound, reader: &mut Reader) -> Option<()> {
    let is_source = |name: &str| !bound.inputs.iter().any(|(known, _)| known == name);
    let compiled = Expression::names(text, is_source).and_then(|names| {
        let paths: Vec<&str> = names.iter().map(|name| name.path.as_str()).collect();
        Expression::compile_condition(text, &paths)
    });
    if let Err(fault) = compiled {
        let help = "let a function decide, and ask for its answer";
        reader.add(span, ImportProblem::Expression(fault.message), help);
        return None;
    }
    Some(())
}

/// Whether an expression can name the source where it stands.
fn is_expression(source: &Source) -> bool {
    match source {
        Source::Input(name) => is_identifier(name),
        Source::Output { node, output } | Source::SameItem { node, output } => {
            is_identifier(node) && is_identifier(output)
        }
        Source::Item | Source::Constant(_) => true,
    }
}

/// Inputs that a switch binds for its conditions.
#[derive(Default)]
struct Bound {
    names: Names,
    inputs: Vec<(String, Feed)>,
    by_name: FxHashMap<Reference, String>,
}

impl Bound {
    fn name(&mut self, name: &Reference, feed: Feed, taken: &[String]) -> String {
        if let Some(bound) = self.by_name.get(name) {
            return bound.clone();
        }
        if self.inputs.is_empty() {
            let mut reserved: Vec<&str> = expression_words().collect();
            reserved.extend(taken.iter().map(String::as_str));
            self.names = Names::without(&reserved);
        }
        let bound = self.names.identifier(&name.parameter, "name_");
        // A condition cannot do without what it compares: absent, it would be null.
        let feed = match feed {
            Feed::From {
                first_of, default, ..
            } => Feed::From {
                first_of,
                default,
                optional: false,
            },
            feed => feed,
        };
        self.inputs.push((bound.clone(), feed));
        self.by_name.insert(name.clone(), bound.clone());
        bound
    }
}
