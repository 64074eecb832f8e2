//! Inputs, outputs, constants, and the sources that they are bound to.

use super::values::Fields;
use super::{Reader, Side};
use crate::definition::json::is_number;
use crate::definition::keys::{BINDING, INPUT, KINDS, OUTPUT};
use crate::definition::names::{is_name, is_reserved, nearest};
use crate::definition::problem::{ProblemKind, quoted};
use crate::definition::raw::{RawBinding, RawInput, RawSource, Unread};
use crate::definition::tree::{Tree, Value};
use crate::definition::{Port, Span, Spanned};
use engine::plan::EdgeStore;
use faasstore::binding::{Kind, Maximum};
use serde_json::Value as Json;
use std::rc::Rc;

/// Alternatives of one input, at most.
pub(in crate::definition) const ALTERNATIVES_MAX: usize = 1024;

const SOURCE_HELP: &str = "a source is `input.NAME`, `NODE.OUTPUT`, `constant.NAME` or, in a foreach node, `item` or `NODE.OUTPUT[item]`";
const FIRST_OF: &str = "first_of(";

impl Reader {
    /// The workflow's inputs.
    pub(super) fn workflow_inputs(&mut self, tree: &Tree, unread: &mut Unread) -> Vec<RawInput> {
        const HELP: &str = "write `{ NAME: KIND }`, a kind being bytes, list or value";
        if matches!(tree.value, Value::Null) {
            return Vec::new();
        }
        let Some(entries) = self.map(tree, Side::Input.key(), HELP) else {
            unread.add_any();
            return Vec::new();
        };
        let inputs = entries.iter().filter_map(|(name, tree)| {
            if !self.check_name(name, Side::Input.of_one()) {
                unread.add_any();
            }
            let input = self.workflow_input(name, tree);
            if input.is_none() {
                unread.add(&name.value);
            }
            input
        });
        inputs.collect()
    }

    fn workflow_input(&mut self, name: &Spanned<String>, tree: &Tree) -> Option<RawInput> {
        let plain = |kind| RawInput {
            name: name.clone(),
            kind,
            default: None,
            optional: false,
            maximum: Maximum::NONE,
        };
        if !matches!(tree.value, Value::Map(_)) {
            return Some(plain(self.kind(tree)?));
        }
        let fields = self.fields(tree, &INPUT)?;
        let default = fields.get("default").and_then(|(_, tree)| self.json(tree));
        let optional = self.flag(&fields, "optional").unwrap_or(false);
        if let Some((key, _)) = fields.get("default")
            && optional
        {
            let help = "an input with a default is never absent: take one of the two away";
            self.conflict(key.span, &["default", "optional"], help);
        }
        let Some((_, kind)) = fields.get("kind") else {
            let help = "add `kind: bytes`, `list` or `value`";
            let what = format!("input `{}`", quoted(&name.value));
            // Whatever it is, what else stands there is looked at.
            self.maximum(&fields, Kind::List);
            return self.missing(&fields, &what, "kind", help);
        };
        let kind = self.kind(kind)?;
        Some(RawInput {
            default,
            optional,
            maximum: self.maximum(&fields, kind),
            ..plain(kind)
        })
    }

    /// Names with values.
    pub(super) fn constants(
        &mut self,
        tree: &Tree,
        unread: &mut Unread,
    ) -> Vec<(Spanned<String>, Json)> {
        if matches!(tree.value, Value::Null) {
            return Vec::new();
        }
        let help = "write `{ NAME: VALUE }`, as in `{ limit: 100 }`";
        let Some(entries) = self.map(tree, "`constants`", help) else {
            unread.add_any();
            return Vec::new();
        };
        let constants = entries.iter().filter_map(|(name, tree)| {
            if !self.check_name(name, "a constant") {
                unread.add_any();
            }
            let Some(json) = self.json(tree) else {
                unread.add(&name.value);
                return None;
            };
            Some((name.clone(), json.value))
        });
        constants.collect()
    }

    /// Names with kinds.
    pub(super) fn ports(&mut self, tree: &Tree, unread: &mut Unread) -> Vec<Port> {
        if matches!(tree.value, Value::Null) {
            return Vec::new();
        }
        let Some(entries) = self.map(
            tree,
            Side::Output.key(),
            "write `{ NAME: KIND }`, a kind being bytes, list or value",
        ) else {
            unread.add_any();
            return Vec::new();
        };
        let ports = entries.iter().filter_map(|(name, tree)| {
            if !self.check_name(name, Side::Output.of_one()) {
                unread.add_any();
            }
            let Some((kind, maximum)) = self.port(name, tree) else {
                unread.add(&name.value);
                return None;
            };
            Some(Port {
                name: name.clone(),
                kind,
                maximum,
            })
        });
        ports.collect()
    }

    /// The kind of an output, and what it may have at most.
    fn port(&mut self, name: &Spanned<String>, tree: &Tree) -> Option<(Kind, Maximum)> {
        if !matches!(tree.value, Value::Map(_)) {
            return Some((self.kind(tree)?, Maximum::NONE));
        }
        let fields = self.fields(tree, &OUTPUT)?;
        let Some((_, kind)) = fields.get("kind") else {
            let help = "add `kind: bytes`, `list` or `value`";
            let what = format!("output `{}`", quoted(&name.value));
            self.maximum(&fields, Kind::List);
            return self.missing(&fields, &what, "kind", help);
        };
        let kind = self.kind(kind)?;
        Some((kind, self.maximum(&fields, kind)))
    }

    fn kind(&mut self, tree: &Tree) -> Option<Kind> {
        const HELP: &str = "a kind is `bytes`, `list` or `value`, which is small JSON as a number, a text or an object";
        let text = self.scalar(tree, "a kind", "`bytes`, `list` or `value`", HELP)?;
        match text {
            "bytes" => Some(Kind::Bytes),
            "list" => Some(Kind::List),
            "value" => Some(Kind::Value),
            other => {
                let help = match nearest(other, KINDS.iter().copied()) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => HELP.to_owned(),
                };
                let found = quoted(other);
                self.problems
                    .add(tree.span, ProblemKind::Kind { found }, Some(help));
                None
            }
        }
    }

    /// Names with what they are bound to, and whether there may be others that could not be read.
    pub(super) fn bindings(
        &mut self,
        tree: &Tree,
        side: Side,
    ) -> (Vec<(Spanned<String>, RawBinding)>, bool) {
        if matches!(tree.value, Value::Null) {
            return (Vec::new(), false);
        }
        let Some(entries) = self.map(
            tree,
            side.key(),
            "write `{ NAME: SOURCE }`, as in `{ text: input.text }`",
        ) else {
            return (Vec::new(), true);
        };
        let mut misnamed = false;
        let bindings = entries.iter().map(|(name, tree)| {
            misnamed |= !self.check_name(name, side.of_one());
            let binding = self.binding(tree).unwrap_or(RawBinding {
                sources: Vec::new(),
                default: None,
                optional: false,
                store: None,
                span: tree.span,
            });
            (name.clone(), binding)
        });
        (bindings.collect(), misnamed)
    }

    fn binding(&mut self, tree: &Tree) -> Option<RawBinding> {
        let needed = |sources| RawBinding {
            sources,
            default: None,
            optional: false,
            store: None,
            span: tree.span,
        };
        match &tree.value {
            Value::Scalar { text, plain: true } if stands_for_itself(text) => {
                let value = self.json(tree)?.value;
                Some(needed(vec![Spanned {
                    value: RawSource::Value(value),
                    span: tree.span,
                }]))
            }
            Value::Scalar { text, .. } if text.starts_with(FIRST_OF) => {
                Some(needed(self.first_of_text(tree.span, text)?))
            }
            Value::Map(_) => self.long_binding(tree),
            Value::List(_) => {
                let help = "the first of several is `first_of(SOURCE, SOURCE)`; a constant list is \
                            `{ value: [ … ] }`";
                self.shape(tree, "a source", SOURCE_EXPECTED, help);
                None
            }
            Value::Scalar { .. } | Value::Null => Some(needed(vec![self.source(tree)?])),
        }
    }

    fn long_binding(&mut self, tree: &Tree) -> Option<RawBinding> {
        let fields = self.fields(tree, &BINDING)?;
        let default = fields.get("default").map(|(_, tree)| self.json(tree));
        let optional = self.flag(&fields, "optional").unwrap_or(false);
        let store = self.edge_store(&fields);
        let given = fields.among(&["from", "first_of", "value", "text"]);
        let kind = match given[..] {
            [kind] => kind,
            [] => {
                let help = "write `{ from: SOURCE, optional: true }`, `{ first_of: [SOURCE, SOURCE] }` or \
                            `{ value: 100 }`";
                return self.missing(&fields, "this input", "from", help);
            }
            _ => {
                self.conflict(tree.span, &given, "take all but one of them away");
                return None;
            }
        };
        let beside = fields.among(&["default", "optional", "store"]);
        let never_absent = matches!(kind, "value" | "text");
        if never_absent && !beside.is_empty() {
            let keys: Vec<&str> = [kind].into_iter().chain(beside).collect();
            let help = "a constant is never absent, and stays in memory";
            self.conflict(tree.span, &keys, help);
            return None;
        }
        if default.is_some() && optional {
            let help = "an input with a default is never absent: take one of the two away";
            self.conflict(tree.span, &["default", "optional"], help);
            return None;
        }
        let (_, under) = fields.get(kind)?;
        let sources = match kind {
            "from" => vec![self.source(under)?],
            "first_of" => self.first_of(under)?,
            "value" => {
                let Spanned { value, span } = self.json(under)?;
                vec![Spanned {
                    value: RawSource::Value(value),
                    span,
                }]
            }
            _ => {
                let help = "write the bytes as text; `value` holds numbers, lists and mappings";
                let text = self.scalar(under, "`text`", "text", help)?.to_owned();
                vec![Spanned {
                    value: RawSource::Text(text),
                    span: under.span,
                }]
            }
        };
        Some(RawBinding {
            sources,
            default: match default {
                Some(default) => Some(default?),
                None => None,
            },
            optional,
            store,
            span: tree.span,
        })
    }

    /// Where what is read may go if memory has no room for it.
    fn edge_store(&mut self, fields: &Fields<'_>) -> Option<Spanned<EdgeStore>> {
        let (_, tree) = fields.get("store")?;
        let word = match &tree.value {
            Value::Scalar { text, .. } => &**text,
            _ => "",
        };
        let value = match word {
            "memory" => EdgeStore::Memory,
            "spill" => EdgeStore::Spill,
            "remote" => EdgeStore::Remote,
            _ => {
                let help = "where it may go if memory has no room for it: `memory` (nowhere), `spill` (the worker's disk) or \
                            `remote` (its remote store); without it, where the workflow's `store` says";
                self.shape(tree, "`store`", "`memory`, `spill` or `remote`", help);
                return None;
            }
        };
        let span = tree.span;
        Some(Spanned { value, span })
    }

    /// A list of sources.
    fn first_of(&mut self, tree: &Tree) -> Option<Vec<Spanned<RawSource>>> {
        let Value::List(items) = &tree.value else {
            let help = "write `first_of: [SOURCE, SOURCE]`";
            self.shape(tree, "`first_of`", "a list of sources", help);
            return None;
        };
        let items: Vec<&Rc<Tree>> = items.iter().collect();
        let sources: Vec<Option<_>> = items.into_iter().map(|item| self.source(item)).collect();
        let sources: Vec<Spanned<RawSource>> = sources.into_iter().collect::<Option<_>>()?;
        self.alternatives(tree.span, sources)
    }

    /// `first_of(SOURCE, SOURCE)`.
    fn first_of_text(&mut self, span: Span, text: &str) -> Option<Vec<Spanned<RawSource>>> {
        let Some(inside) = text
            .strip_prefix(FIRST_OF)
            .and_then(|rest| rest.strip_suffix(')'))
        else {
            let help = "write `first_of(SOURCE, SOURCE)`, or `{ first_of: [SOURCE, SOURCE] }`";
            let found = quoted(text);
            self.problems
                .add(span, ProblemKind::Source { found }, Some(help.to_owned()));
            return None;
        };
        let mut sources = Vec::new();
        let mut at = FIRST_OF.len();
        for piece in inside.split(',').take(ALTERNATIVES_MAX + 1) {
            let source = piece.trim();
            let begins = at + (piece.len() - piece.trim_start().len());
            let part = self.source.part(span, text, begins, source.len());
            sources.push(self.source_text(source, part));
            at += piece.len() + 1;
        }
        let sources: Vec<Spanned<RawSource>> = sources.into_iter().collect::<Option<_>>()?;
        self.alternatives(span, sources)
    }

    fn alternatives(
        &mut self,
        span: Span,
        sources: Vec<Spanned<RawSource>>,
    ) -> Option<Vec<Spanned<RawSource>>> {
        if !(1..=ALTERNATIVES_MAX).contains(&sources.len()) {
            let kind = ProblemKind::Shape {
                what: "`first_of`".to_owned(),
                expected: "a list of 1 to 1024 sources",
                found: format!("a list of {}", sources.len()),
            };
            self.problems.add(
                span,
                kind,
                Some("write `first_of(SOURCE, SOURCE)`".to_owned()),
            );
            return None;
        }
        for (index, source) in sources.iter().enumerate() {
            let mut before = sources[..index].iter();
            if let Some(first) = before.find(|other| other.value == source.value) {
                self.problems.add_beside(
                    source.span,
                    ProblemKind::Twice {
                        what: "this source".to_owned(),
                    },
                    Some("take one of the two away".to_owned()),
                    Some((first.span, "first here")),
                );
                return None;
            }
        }
        Some(sources)
    }

    /// One source.
    pub(super) fn source(&mut self, tree: &Tree) -> Option<Spanned<RawSource>> {
        let text = self.scalar(tree, "a source", SOURCE_EXPECTED, SOURCE_HELP)?;
        if text.starts_with(FIRST_OF) {
            let help = "one source stands here; alternatives stand under `input`".to_owned();
            let found = quoted(text);
            self.problems
                .add(tree.span, ProblemKind::Source { found }, Some(help));
            return None;
        }
        self.source_text(text, tree.span)
    }

    fn source_text(&mut self, text: &str, span: Span) -> Option<Spanned<RawSource>> {
        let (named, item) = match text.strip_suffix(OF_ITEM) {
            Some(named) => (named, true),
            None => (text, false),
        };
        let value = match named.split_once('.') {
            _ if !item && outer_items(text).is_some() => RawSource::Item {
                up: outer_items(text)?,
            },
            Some(("input" | "constant", name)) if is_name(name) && item => {
                let kind = ProblemKind::NoItems {
                    source_name: named.to_owned(),
                };
                let help = format!("write `{named}`; `[item]` is for outputs of foreach nodes");
                self.problems.add(span, kind, Some(help));
                return None;
            }
            Some(("input", name)) if is_name(name) => RawSource::Input(name.to_owned()),
            Some(("constant", name)) if is_name(name) => RawSource::Constant(name.to_owned()),
            Some((node, output)) if is_name(node) && !is_reserved(node) && is_name(output) => {
                RawSource::Output {
                    node: node.to_owned(),
                    output: output.to_owned(),
                    item,
                }
            }
            other => {
                let help = match other {
                    Some(_) => SOURCE_HELP.to_owned(),
                    None => {
                        format!("{SOURCE_HELP}; a constant is `{{ value: … }}` or `{{ text: … }}`")
                    }
                };
                let found = quoted(text);
                self.problems
                    .add(span, ProblemKind::Source { found }, Some(help));
                return None;
            }
        };
        Some(Spanned { value, span })
    }
}

const SOURCE_EXPECTED: &str = "`input.NAME`, `NODE.OUTPUT`, `constant.NAME` or `item`";

/// What stands behind an output of which that of the same item is meant.
const OF_ITEM: &str = "[item]";
/// What stands before the item of a foreach further outward.
pub(in crate::definition) const OUTER: &str = "outer.";

/// How many foreach outward the item is that this text names: `item`, `outer.item`, `outer.outer.item` and so on.
pub(in crate::definition) fn outer_items(text: &str) -> Option<u8> {
    let outer = text.strip_suffix("item")?;
    let count = outer.len() / OUTER.len();
    (outer == OUTER.repeat(count)).then_some(u8::try_from(count).ok()?)
}

/// Whether an unquoted scalar is a constant, and no source.
fn stands_for_itself(text: &str) -> bool {
    matches!(text, "true" | "false") || is_number(text)
}
