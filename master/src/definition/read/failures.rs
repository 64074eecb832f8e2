//! Failures: which of them `retry` and `catch` take, and where they lead.

use super::Reader;
use super::values::listed;
use super::work::one_or_more;
use crate::definition::keys::CATCH;
use crate::definition::names::is_error_name;
use crate::definition::problem::{ProblemKind, quoted};
use crate::definition::raw::RawCatch;
use crate::definition::tree::{Tree, Value};
use engine::nearest::alike;
use engine::plan::{ErrorClass, ErrorMatch};
use engine::plan_check::CASES_MAX;
use std::rc::Rc;

impl Reader {
    pub(super) fn catches(&mut self, tree: &Tree) -> Vec<RawCatch> {
        let parts: Vec<&Tree> = match &tree.value {
            // A list of names is one catch.
            Value::List(items) if items.iter().any(|item| matches!(item.value, Value::Map(_))) => {
                items.iter().map(Rc::as_ref).collect()
            }
            _ => vec![tree],
        };
        if parts.len() as u64 > CASES_MAX {
            let kind = ProblemKind::Count {
                what: "the catches of a node".to_owned(),
                count: parts.len(),
                limit: CASES_MAX as usize,
            };
            let help = "let several failures lead to one node";
            self.problems.add(tree.span, kind, Some(help.to_owned()));
            return Vec::new();
        }
        let catches = parts.into_iter().filter_map(|tree| self.catch(tree));
        catches.collect()
    }

    fn catch(&mut self, tree: &Tree) -> Option<RawCatch> {
        const HELP: &str = "write `catch: NODE` or `catch: { on: [timeout, crash], to: NODE }`";
        let (on, to) = if matches!(tree.value, Value::Map(_)) {
            let fields = self.fields(tree, &CATCH)?;
            let on = fields
                .get("on")
                .map_or_else(Vec::new, |(_, tree)| self.failures(tree));
            match fields.get("to") {
                Some((_, tree)) => (on, self.node_names(tree, "to")),
                None => return self.missing(&fields, "this catch", "to", HELP),
            }
        } else {
            (Vec::new(), self.node_names(tree, "catch"))
        };
        if to.is_empty() {
            // What is no name has been refused already.
            if matches!(&tree.value, Value::List(items) if !items.is_empty()) {
                return None;
            }
            let what = "a catch".to_owned();
            let kind = ProblemKind::Shape {
                what,
                expected: "one node at least",
                found: "none".to_owned(),
            };
            self.problems.add(tree.span, kind, Some(HELP.to_owned()));
            return None;
        }
        Some(RawCatch {
            on,
            to,
            span: tree.span,
        })
    }

    /// Classes of failures, and names with which errors begin: one, or a list.
    pub(super) fn failures(&mut self, tree: &Tree) -> Vec<ErrorMatch> {
        let classes: Vec<&str> = ErrorClass::ALL.iter().map(|class| class.name()).collect();
        let help = format!(
            "a failure is {}, or a name with which errors begin",
            listed(&classes)
        );
        let mut failures = Vec::new();
        for tree in one_or_more(tree) {
            let Some(text) = self.text(tree, "`on`", &help).map(str::to_owned) else {
                continue;
            };
            let class = ErrorClass::ALL
                .into_iter()
                .find(|class| class.name() == text);
            failures.push(match class {
                Some(class) => ErrorMatch::Class(class),
                None if is_error_name(&text) => {
                    self.suspect_class(tree, &text, &classes);
                    ErrorMatch::Named(text)
                }
                None => {
                    let kind = ProblemKind::Name {
                        what: "a failure",
                        name: quoted(&text),
                    };
                    self.problems.add(tree.span, kind, Some(help.clone()));
                    continue;
                }
            });
        }
        failures
    }

    /// Warns of a name that was probably meant to be a class, or all of them. One that only begins like a class may well be
    /// a name.
    fn suspect_class(&mut self, tree: &Tree, text: &str, classes: &[&str]) {
        // As state machines have it.
        let bare = text.strip_prefix("States.").unwrap_or(text);
        let help = match alike(bare, classes.iter().copied()) {
            Some(class) => format!("did you mean `{class}`?"),
            None if bare.eq_ignore_ascii_case("all") => {
                "leave `on` away to take every failure".to_owned()
            }
            None => return,
        };
        let kind = ProblemKind::NoClass { name: quoted(text) };
        self.problems.warn(tree.span, kind, Some(help));
    }
}
