//! What a node does, over what, and where it leads: functions, commands, formulas, cases, other files, joins.

use super::Reader;
use super::delay::is_number;
use super::values::{Fields, listed};
use crate::definition::keys::{CASE, FOREACH, FORMULA, JOIN};
use crate::definition::problem::ProblemKind;
use crate::definition::raw::{RawCase, RawForeach, RawFormula, RawOver, RawRange, RawWork, Unread};
use crate::definition::tree::{Tree, Value};
use crate::definition::{Divide, Spanned};
use engine::plan::Join;
use engine::plan_check::{ARGUMENTS_BYTES_MAX, CASES_MAX};
use std::rc::Rc;

/// What a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NodeKind {
    Function,
    Command,
    Compute,
    Switch,
    Workflow,
    /// It waits for others, or for a time that is fixed.
    Nothing,
    /// It waits for a time that is computed.
    Delay,
}

/// The keys of which a node has one, and what it then is.
const WORKS: [(&str, NodeKind); 5] = [
    ("function", NodeKind::Function),
    ("command", NodeKind::Command),
    ("compute", NodeKind::Compute),
    ("switch", NodeKind::Switch),
    ("workflow", NodeKind::Workflow),
];

impl NodeKind {
    /// As messages call it.
    const fn what(self) -> &'static str {
        match self {
            Self::Function | Self::Command => "a function",
            Self::Compute => "a computing node",
            Self::Switch => "a switch",
            Self::Workflow => "a sub-workflow",
            Self::Nothing | Self::Delay => "a node that only waits",
        }
    }

    /// Keys beside its own that it may have.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Function | Self::Command => &[
                "foreach",
                "input",
                "output",
                "after",
                "apart",
                "join",
                "retry",
                "catch",
                "timeout_ms",
                "delay_ms",
                "delay_until",
                "resources",
                "trust",
                "profile",
            ],
            Self::Compute | Self::Delay => &[
                "foreach",
                "input",
                "after",
                "join",
                "catch",
                "delay_ms",
                "delay_until",
                "profile",
            ],
            Self::Switch => &[
                "foreach",
                "default",
                "input",
                "after",
                "join",
                "catch",
                "delay_ms",
                "delay_until",
                "profile",
            ],
            Self::Workflow => &[
                "foreach",
                "input",
                "after",
                "catch",
                "delay_ms",
                "delay_until",
            ],
            Self::Nothing => &[
                "foreach",
                "after",
                "join",
                "delay_ms",
                "delay_until",
                "profile",
            ],
        }
    }

    /// Keys that it may have one day.
    const fn not_yet(self) -> &'static [&'static str] {
        match self {
            Self::Workflow => &["join", "retry", "timeout_ms"],
            _ => &[],
        }
    }
}

impl Reader {
    /// What a node does; that its other keys go with it is checked too. `unread` gets the outputs that it may have, but which
    /// could not be read.
    pub(super) fn work(
        &mut self,
        name: &Spanned<String>,
        fields: &mut Fields<'_>,
        unread: &mut Unread,
    ) -> RawWork {
        let work = self.work_read(name, fields, unread);
        work.unwrap_or_else(|| {
            // What it declares as its outputs it has, whatever it does.
            if fields.get("output").is_none() {
                unread.add_any();
            }
            RawWork::Unread
        })
    }

    fn work_read(
        &mut self,
        name: &Spanned<String>,
        fields: &mut Fields<'_>,
        unread: &mut Unread,
    ) -> Option<RawWork> {
        let keys: Vec<&'static str> = WORKS.iter().map(|(key, _)| *key).collect();
        let given = fields.among(&keys);
        let (key, kind) = match given[..] {
            [key] => WORKS.into_iter().find(|(known, _)| *known == key)?,
            [] if fields.get("delay_until").is_some() => ("", NodeKind::Delay),
            [] if fields
                .get("delay_ms")
                .is_some_and(|(_, tree)| !is_number(tree)) =>
            {
                ("", NodeKind::Delay)
            }
            [] if !fields.among(&["delay_ms", "join"]).is_empty() => ("", NodeKind::Nothing),
            [] => {
                let help = format!(
                    "add `function: EXECUTABLE:FUNCTION`; a node does one of {}, or waits with `delay_ms`, `delay_until` or `join`",
                    listed(&keys)
                );
                let kind = ProblemKind::MissingKey {
                    what: Self::called(name),
                    key: "function",
                };
                self.problems.add(name.span, kind, Some(help));
                return None;
            }
            _ => {
                let help = "a node does one thing: part it in two";
                self.conflict(name.span, &given, help);
                return None;
            }
        };
        self.keys_fit(fields, key, kind, unread);
        if matches!(kind, NodeKind::Nothing | NodeKind::Delay) {
            return Some(RawWork::Nothing);
        }
        let (_, tree) = fields.get(key)?;
        match kind {
            NodeKind::Function => Some(RawWork::Function(self.function(tree)?)),
            NodeKind::Command => Some(RawWork::Command(self.command(tree)?)),
            NodeKind::Compute => Some(RawWork::Compute(self.compute(tree, unread)?)),
            NodeKind::Switch => Some(RawWork::Switch(self.switch(tree, fields)?)),
            NodeKind::Workflow | NodeKind::Nothing | NodeKind::Delay => {
                let help = "name another workflow's file, as in `workflow: other.yaml`";
                let path = self.scalar(tree, "`workflow`", "a path", help)?;
                Some(RawWork::Workflow(Spanned {
                    value: path.to_owned(),
                    span: tree.span,
                }))
            }
        }
    }

    /// That a node has no key which means nothing for what it is.
    fn keys_fit(
        &mut self,
        fields: &mut Fields<'_>,
        own: &str,
        kind: NodeKind,
        unread: &mut Unread,
    ) {
        for key in crate::definition::keys::NODE.names() {
            if key == own || kind.keys().contains(&key) {
                continue;
            }
            let found = fields.spelt(key);
            if fields.get(key).is_some() {
                fields.ignore(key);
                match key {
                    // What it declares where that means nothing.
                    "output" => unread.add_any(),
                    "catch" => unread.add("error"),
                    _ => {}
                }
            }
            let Some((name, _)) = found else {
                continue;
            };
            let not_yet = kind.not_yet().contains(&key);
            let problem = if not_yet {
                ProblemKind::NotYet(format!("`{key}` at {}", kind.what()))
            } else {
                ProblemKind::NotHere {
                    what: kind.what(),
                    key,
                }
            };
            let known = kind.keys();
            let help = match (kind, key) {
                (NodeKind::Compute, "output") => {
                    "what it computes are its outputs: take `output` away".to_owned()
                }
                (NodeKind::Workflow, "output") => {
                    "its outputs are those that the other file declares".to_owned()
                }
                (NodeKind::Workflow, "retry") => {
                    "give it to the nodes in the other file: nodes are tried again, each by itself"
                        .to_owned()
                }
                (NodeKind::Workflow, "timeout_ms") => {
                    "give it to the nodes in the other file, or to this workflow as a whole"
                        .to_owned()
                }
                (NodeKind::Workflow, "join") => {
                    "let a node before it join, as in `NAME: { join: any, after: [a, b] }`, \
                     and name that under `after`"
                        .to_owned()
                }
                _ => format!("beside `{own}` it may have {}", listed(known)),
            };
            let help = if kind == NodeKind::Nothing && matches!(key, "input" | "catch") {
                format!(
                    "only a delay that is an expression reads anything and can fail; it may have {}",
                    listed(known)
                )
            } else if own.is_empty() {
                format!(
                    "it may have {}; what does something has `function` or the like",
                    listed(known)
                )
            } else {
                help
            };
            self.problems.add(name.span, problem, Some(help));
        }
    }

    fn command(&mut self, tree: &Tree) -> Option<Vec<Spanned<String>>> {
        const HELP: &str = "list the program and its words, as in `command: [\"sort\", \"-u\"]`; no shell reads them";
        let Value::List(items) = &tree.value else {
            self.shape(tree, "`command`", "a list of words", HELP);
            return None;
        };
        let words: Vec<Option<Spanned<String>>> = items
            .iter()
            .map(|item| {
                let text = self.scalar(item, "a word of a command", "text", HELP)?;
                Some(Spanned {
                    value: text.to_owned(),
                    span: item.span,
                })
            })
            .collect();
        let words: Vec<Spanned<String>> = words.into_iter().collect::<Option<_>>()?;
        let bytes: usize = words.iter().map(|word| word.value.len() + 1).sum();
        let refused = if words.first().is_none_or(|first| first.value.is_empty()) {
            Some(("a program and its words", "nothing".to_owned()))
        } else if words.iter().any(|word| word.value.contains('\0')) {
            Some(("text without NUL", "a word with NUL".to_owned()))
        } else if bytes > ARGUMENTS_BYTES_MAX {
            Some(("at most 64 KiB of words", format!("{bytes} bytes")))
        } else {
            None
        };
        if let Some((expected, found)) = refused {
            let what = "`command`".to_owned();
            let kind = ProblemKind::Shape {
                what,
                expected,
                found,
            };
            self.problems.add(tree.span, kind, Some(HELP.to_owned()));
            return None;
        }
        Some(words)
    }

    fn compute(
        &mut self,
        tree: &Tree,
        unread: &mut Unread,
    ) -> Option<Vec<(Spanned<String>, RawFormula)>> {
        const HELP: &str = "write `{ NAME: EXPRESSION }`, as in `{ sum: \"a.x + b.y\" }`";
        let entries = self.map(tree, "`compute`", HELP)?;
        if entries.is_empty() {
            self.shape(tree, "`compute`", "a mapping with outputs", HELP);
            return None;
        }
        let formulas = entries.iter().filter_map(|(name, tree)| {
            if !self.check_name(name, "an output") {
                unread.add_any();
            }
            let formula = self.formula(tree);
            if formula.is_none() {
                unread.add(&name.value);
            }
            Some((name.clone(), formula?))
        });
        Some(formulas.collect())
    }

    fn formula(&mut self, tree: &Tree) -> Option<RawFormula> {
        if !matches!(tree.value, Value::Map(_)) {
            return Some(RawFormula::Value(self.expression(tree, "an output")?));
        }
        let fields = self.fields(tree, &FORMULA)?;
        match fields.get("list") {
            Some((_, tree)) if fields.among(&["from", "to"]).is_empty() => {
                let list = self.expression(tree, "`list`")?;
                Some(RawFormula::List(list, self.whole(&fields, "max_items")))
            }
            Some(_) => {
                self.conflict(tree.span, &["list", "from", "to"], LIST_OR_RANGE);
                None
            }
            None => Some(RawFormula::Range(self.range(&fields))),
        }
    }

    /// `from` and `to`.
    fn range(&mut self, fields: &Fields<'_>) -> RawRange {
        let mut bound = |key: &'static str| match fields.get(key) {
            Some((_, tree)) => self.expression(tree, &format!("`{key}`")),
            None => self.missing(fields, "this range", key, LIST_OR_RANGE),
        };
        let (from, to) = (bound("from"), bound("to"));
        let none = || unread_expression(fields, "0");
        RawRange {
            from: from.unwrap_or_else(none),
            to: to.unwrap_or_else(none),
            max_items: self.whole(fields, "max_items"),
        }
    }

    pub(super) fn foreach(&mut self, tree: &Tree) -> RawForeach {
        let plain = |over: Option<RawOver>| RawForeach {
            over: over.unwrap_or(RawOver::Unread),
            batch: None,
            parallelism: None,
            divide: None,
        };
        if !matches!(tree.value, Value::Map(_)) {
            return plain(self.source(tree).map(RawOver::List));
        }
        let Some(fields) = self.fields(tree, &FOREACH) else {
            return plain(None);
        };
        let batch = self.whole(&fields, "batch");
        let parallelism = self.whole(&fields, "parallelism");
        let divide = self.divide(&fields);
        let over = match fields.get("list") {
            Some((_, list)) if fields.among(&["from", "to"]).is_empty() => {
                if let Some((key, _)) = fields.get("max_items") {
                    let problem = ProblemKind::NotHere {
                        what: "a `foreach` over a list",
                        key: "max_items",
                    };
                    let help = "the list says itself how many items it may have, where it is an output or an input";
                    self.problems.add(key.span, problem, Some(help.to_owned()));
                }
                self.source(list).map(RawOver::List)
            }
            Some(_) => {
                self.conflict(tree.span, &["list", "from", "to"], LIST_OR_RANGE);
                None
            }
            None => Some(RawOver::Range(self.range(&fields))),
        };
        // Without the number that it takes together nobody knows what its items are.
        let batch_unread = batch.is_none() && fields.get("batch").is_some();
        RawForeach {
            batch: batch.map(|count| count as u32),
            parallelism: parallelism.map(|count| count as u32),
            divide,
            ..plain(over.filter(|_| !batch_unread))
        }
    }

    /// Whether, and in how many parts, items are divided among workers.
    fn divide(&mut self, fields: &Fields<'_>) -> Option<Spanned<Divide>> {
        const HELP: &str = "write `divide: auto`, `divide: never` or `divide: 4`";
        let (_, tree) = fields.get("divide")?;
        let value = match &tree.value {
            _ if is_number(tree) && matches!(tree.value, Value::Scalar { .. }) => {
                Divide::Into(self.whole(fields, "divide")? as u32)
            }
            Value::Scalar { text, .. } if &**text == "auto" => Divide::Auto,
            Value::Scalar { text, .. } if &**text == "never" => Divide::Never,
            _ => {
                self.shape(
                    tree,
                    "`divide`",
                    "`auto`, `never` or a number of parts",
                    HELP,
                );
                return None;
            }
        };
        Some(Spanned {
            value,
            span: tree.span,
        })
    }

    fn switch(&mut self, tree: &Tree, fields: &Fields<'_>) -> Option<Vec<RawCase>> {
        const HELP: &str =
            "list the cases: `switch: [ { when: \"check.size > 100\", then: big } ]`";
        let Value::List(items) = &tree.value else {
            self.shape(tree, "`switch`", "a list of cases", HELP);
            return None;
        };
        if items.is_empty() {
            self.shape(tree, "`switch`", "a list with a case", HELP);
            return None;
        }
        let cases = items.iter().filter_map(|item| self.case(item));
        let mut cases: Vec<RawCase> = cases.collect();
        if let Some((_, tree)) = fields.get("default") {
            cases.push(RawCase {
                when: None,
                then: self.node_names(tree, "default"),
            });
        }
        if cases.len() as u64 > CASES_MAX {
            let kind = ProblemKind::Count {
                what: "the cases of a switch".to_owned(),
                count: cases.len(),
                limit: CASES_MAX as usize,
            };
            let help = "let a default lead to a second switch";
            self.problems.add(tree.span, kind, Some(help.to_owned()));
            return None;
        }
        Some(cases)
    }

    fn case(&mut self, tree: &Tree) -> Option<RawCase> {
        let fields = self.fields(tree, &CASE)?;
        let when = match fields.get("when") {
            Some((_, tree)) => self.expression(tree, "`when`"),
            None => {
                let help = "add the condition, as in `when: \"check.size > 100\"`; what holds otherwise is the \
                            `default` beside `switch`";
                self.missing(&fields, "this case", "when", help)
            }
        };
        let then = match fields.get("then") {
            Some((_, tree)) => Some(self.node_names(tree, "then")),
            None => {
                let help = "add `then: NODE`, or `then: []` if it leads nowhere";
                self.missing(&fields, "this case", "then", help)
            }
        };
        // What could not be read stands for nothing that could be wrong.
        let always = || unread_expression(&fields, "true");
        Some(RawCase {
            when: Some(when.unwrap_or_else(always)),
            then: then.unwrap_or_default(),
        })
    }

    pub(super) fn join(&mut self, tree: &Tree) -> Spanned<Join> {
        const HELP: &str = "write `join: all`, `join: any` or `join: { at_least: 2 }`";
        let mut join = Join::All;
        match &tree.value {
            Value::Scalar { text, .. } if &**text == "all" => {}
            Value::Scalar { text, .. } if &**text == "any" => join = Join::AtLeast(1),
            Value::Map(_) => {
                if let Some(fields) = self.fields(tree, &JOIN) {
                    if fields.get("at_least").is_none() {
                        self.missing::<()>(&fields, "`join`", "at_least", HELP);
                    }
                    if let Some(edges) = self.whole(&fields, "at_least") {
                        join = Join::AtLeast(edges as u32);
                    }
                }
            }
            _ => self.shape(tree, "`join`", "`all`, `any` or `{ at_least: K }`", HELP),
        }
        Spanned {
            value: join,
            span: tree.span,
        }
    }

    /// One node's name, or a list of them.
    pub(super) fn node_names(&mut self, tree: &Tree, key: &str) -> Vec<Spanned<String>> {
        let help = format!("write `{key}: NODE` or `{key}: [NODE, NODE]`");
        let names = one_or_more(tree).into_iter().filter_map(|tree| {
            let text = self.text(tree, &format!("`{key}`"), &help)?;
            Some(Spanned {
                value: text.to_owned(),
                span: tree.span,
            })
        });
        names.collect()
    }
}

/// What stands for an expression that could not be read.
fn unread_expression(fields: &Fields<'_>, text: &str) -> Spanned<String> {
    Spanned {
        value: text.to_owned(),
        span: fields.span,
    }
}

const LIST_OR_RANGE: &str = "a list is `list: …`, a range `from: 0, to: 10`";

pub(super) fn one_or_more(tree: &Tree) -> Vec<&Tree> {
    match &tree.value {
        Value::List(items) => items.iter().map(Rc::as_ref).collect(),
        _ => vec![tree],
    }
}
