//! Names within expressions: each becomes an input of the node that evaluates it, called as it is written.

use super::bind::BoundInput;
use super::{Checker, described};
use crate::definition::names::is_reserved;
use crate::definition::problem::{ProblemKind, quoted};
use crate::definition::raw::RawSource;
use crate::definition::read::outer_items;
use crate::definition::{From, NodeInput, Span, Spanned};
use engine::expression::{Expression, ExpressionError, Gives, Kinds};
use engine::nearest::instead;
use engine::plan::EdgeStore;
use faasstore::binding::Kind;
use rustc_hash::{FxHashMap, FxHashSet};

/// What a node binds under its own `input`.
#[derive(Clone, Default)]
pub(super) struct Bound {
    pub(super) inputs: Vec<BoundInput>,
    /// Names of what is wrong, which has been told.
    wrong: FxHashSet<String>,
    /// Whether there may be more of these.
    unread: bool,
}

impl Bound {
    /// Nothing yet; `unread` says whether some could not be read.
    pub(super) fn new(unread: bool) -> Self {
        Self {
            unread,
            ..Self::default()
        }
    }

    pub(super) fn wrong(&mut self, name: &str) {
        self.wrong.insert(name.to_owned());
    }

    /// Whether nothing is wrong with it.
    pub(super) fn is_whole(&self) -> bool {
        self.wrong.is_empty() && !self.unread
    }
}

/// The inputs of a node whose expressions are looked at.
pub(super) struct Names {
    inputs: Vec<BoundInput>,
    by_name: FxHashMap<String, usize>,
    /// Those that an expression names.
    used: FxHashSet<usize>,
    /// Names that mean something of which nobody knows what it is: that has been told.
    wrong: FxHashSet<String>,
    /// Whether there may be more of these.
    unread: bool,
    /// Whether the node starts without some of them.
    some: bool,
    /// The node's place in the file, if it runs over a list.
    reader: Option<usize>,
}

impl Names {
    /// `bound` are the names under the node's own `input`; with `some`, it may start before all of them are there.
    pub(super) fn new(bound: Bound, some: bool, reader: Option<usize>) -> Self {
        let places = bound.inputs.iter().enumerate();
        let by_name = places.map(|(place, bound)| (bound.input.name.value.clone(), place));
        Self {
            by_name: by_name.collect(),
            inputs: bound.inputs,
            wrong: bound.wrong,
            unread: bound.unread,
            used: FxHashSet::default(),
            some,
            reader,
        }
    }

    /// What is bound, and behind it what expressions name by its source.
    pub(super) fn into_all(self) -> Vec<NodeInput> {
        self.inputs.into_iter().map(|bound| bound.input).collect()
    }

    /// The inputs that expressions name.
    pub(super) fn into_used(self) -> Vec<NodeInput> {
        let inputs = self.inputs.into_iter().enumerate();
        let used = inputs.filter(|(place, _)| self.used.contains(place));
        used.map(|(_, bound)| bound.input).collect()
    }
}

impl Checker<'_> {
    /// Checks an expression, and makes inputs of what it names.
    pub(super) fn expression(
        &mut self,
        text: &Spanned<String>,
        gives: Gives,
        names: &mut Names,
    ) -> Option<()> {
        let is_source = |name: &str| {
            !names.by_name.contains_key(name)
                && !names.wrong.contains(name)
                && (matches!(name, "input" | "constant")
                    || (name == "outer" && names.reader.is_some())
                    || self.nodes.contains_key(name))
        };
        let named = match Expression::names(&text.value, is_source) {
            Ok(named) => named,
            Err(fault) => {
                self.fault(text, fault);
                return None;
            }
        };
        let mut whole = true;
        // What stands before it belongs to a name that has been told of.
        let mut told = 0;
        for name in &named {
            if name.offset < told {
                continue;
            }
            let part = self
                .source
                .part(text.span, &text.value, name.offset, name.path.len());
            let known = self.named(&name.path, &text.value[name.offset..], part, names);
            if known.is_none() {
                whole = false;
                told = name.offset + dashed(&text.value[name.offset..]).len();
            }
        }
        // Whatever a name means, what stands around it can be told.
        let known = named.iter().map(|name| {
            let place = names.by_name.get(&name.path);
            let kinds = place.map_or(Kinds::ANY, |place| self.kinds(&names.inputs[*place].input));
            (name.path.as_str(), kinds)
        });
        let known: Vec<(&str, Kinds)> = known.collect();
        let compiled = Expression::compile_over(&text.value, &known, gives);
        match compiled {
            Ok(_) => whole.then_some(()),
            Err(fault) => {
                self.fault(text, fault);
                None
            }
        }
    }

    /// What is known of an input before it is there.
    fn kinds(&self, input: &NodeInput) -> Kinds {
        let of_source = |from: &Spanned<From>| match from.value {
            From::Constant(constant) => {
                let constant = &self.pool.constants[usize::from(constant)];
                let json = constant
                    .items
                    .first()
                    .map(|json| serde_json::from_slice(json));
                json.and_then(Result::ok)
                    .map_or(Kinds::ANY, |json| Kinds::of_json(&json))
            }
            From::Input(_) | From::Output { .. } | From::First { .. } | From::Item { .. } => {
                Kinds::ANY
            }
        };
        let there = match input.kind {
            Kind::List => Kinds::LIST,
            _ => {
                let kinds = input.from.iter().map(of_source);
                kinds.reduce(Kinds::or).unwrap_or(Kinds::ANY)
            }
        };
        if input.optional {
            there.or(Kinds::NULL)
        } else {
            there
        }
    }

    fn fault(&mut self, text: &Spanned<String>, fault: ExpressionError) {
        let span = self
            .source
            .part(text.span, &text.value, fault.offset, fault.length);
        let kind = ProblemKind::Expression(fault.message);
        self.problems.add(span, kind, fault.help);
    }

    /// Makes sure that a name means a value. `rest` is the expression from there on.
    fn named(&mut self, path: &str, rest: &str, span: Span, names: &mut Names) -> Option<()> {
        if let Some(place) = names.by_name.get(path) {
            let BoundInput { input, is_read } = &names.inputs[*place];
            if *is_read {
                names.used.insert(*place);
                return Some(());
            }
            let help = "bind it to a value, or to a list of values".to_owned();
            self.no_value(path.to_owned(), input.kind, span, help);
            return None;
        }
        if names.wrong.contains(path) {
            return None;
        }
        let of_item = outer_items(path).filter(|_| names.reader.is_some());
        let source = match path.split_once('.') {
            _ if of_item.is_some() => RawSource::Item { up: of_item? },
            Some(("input", name)) => RawSource::Input(name.to_owned()),
            Some(("constant", name)) => RawSource::Constant(name.to_owned()),
            Some((node, output)) => RawSource::Output {
                node: node.to_owned(),
                output: output.to_owned(),
                item: self
                    .nodes
                    .get(node)
                    .zip(names.reader)
                    .is_some_and(|(node, reader)| self.same_items(reader, *node)),
            },
            None => {
                self.unknown_name(path, rest, span, names);
                return None;
            }
        };
        let source = Spanned {
            value: source,
            span,
        };
        let seen = self.resolve(&source, names.reader, "in an expression", false)?;
        if !seen.is_read() {
            let help = self.readable(&source.value, seen.kind);
            self.no_value(path.to_owned(), seen.kind, span, help);
            return None;
        }
        let symbol = Spanned {
            value: seen.symbol,
            span,
        };
        let from = self.flatten(&[symbol])?;
        self.presence(&from, names.some, span, &format!("`{path}`"))?;
        let input = NodeInput {
            name: Spanned {
                value: path.to_owned(),
                span,
            },
            kind: seen.kind,
            from,
            optional: names.some,
            store: EdgeStore::Workflow,
        };
        names.by_name.insert(path.to_owned(), names.inputs.len());
        names.used.insert(names.inputs.len());
        names.inputs.push(BoundInput {
            input,
            is_read: true,
        });
        Some(())
    }

    /// Tells of something that an expression cannot read.
    pub(super) fn no_value(&mut self, source_name: String, kind: Kind, span: Span, help: String) {
        let kind = ProblemKind::SourceKind {
            source_name,
            kind: described(kind),
            place: "an expression".to_owned(),
            expected: "reads values and lists of values",
        };
        self.problems.add(span, kind, Some(help));
    }

    fn unknown_name(&mut self, name: &str, rest: &str, span: Span, names: &Names) {
        let dashed = dashed(rest);
        let is_node = self.nodes.contains_key(name);
        let (kind, help) = if name == "item" {
            let help = "`item` is there in a node with `foreach`".to_owned();
            (ProblemKind::ItemOutside("in an expression"), Some(help))
        } else if is_node || is_reserved(name) {
            let told = format!("`{name}` by itself is no value");
            let help = if is_node {
                format!("name an output of it, as in `{name}.OUTPUT`")
            } else {
                format!("name what you want of it, as in `{name}.NAME`")
            };
            (ProblemKind::Expression(told), Some(help))
        } else if dashed != name && self.nodes.contains_key(dashed) {
            let help = format!(
                "in an expression `-` is minus: bind it, as in `input: {{ x: {dashed}.OUTPUT }}`, and write `x`"
            );
            (ProblemKind::UnknownName { name: quoted(name) }, Some(help))
        } else if names.unread || self.raw.nodes_unread.may_be(name) {
            return;
        } else {
            let bound: Vec<&str> = names
                .inputs
                .iter()
                .map(|bound| bound.input.name.value.as_str())
                .filter(|name| !name.contains('.'))
                .collect();
            let nodes = self.raw.nodes.iter().map(|node| node.name.value.as_str());
            let known: Vec<&str> = bound
                .into_iter()
                .chain(nodes)
                .chain(["input", "constant"])
                .collect();
            let help = match literal_meant(name) {
                Some(literal) => Some(format!("write `{literal}`")),
                None if self.problems.crowded() => None,
                None => Some(instead(name, &known, "expressions name", "")),
            };
            (ProblemKind::UnknownName { name: quoted(name) }, help)
        };
        self.problems.add(span, kind, help);
    }
}

/// The literal that a name of another language stands for.
fn literal_meant(name: &str) -> Option<&'static str> {
    match name {
        "True" | "TRUE" => Some("true"),
        "False" | "FALSE" => Some("false"),
        "None" | "NULL" | "Null" | "nil" | "undefined" => Some("null"),
        _ => None,
    }
}

/// What would be one name where names may have dashes.
fn dashed(text: &str) -> &str {
    text.find(|char: char| !(char.is_ascii_alphanumeric() || char == '_' || char == '-'))
        .map_or(text, |end| &text[..end])
}
