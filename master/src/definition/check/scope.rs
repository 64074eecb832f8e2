//! What names mean: workflow inputs, constants, nodes and their outputs.

use super::{Checker, described};
use crate::definition::Spanned;
use crate::definition::names::nearest;
use crate::definition::problem::{ProblemKind, quoted};
use crate::definition::raw::{RawBinding, RawFormula, RawNode, RawSource, RawWork};
use crate::definition::read::OUTER;
use crate::definition::{Definition, Formula, From, Span, Work};
use engine::nearest::instead;
use faasstore::binding::{Kind, Maximum, VALUE_BYTES_MAX};

/// Where a value comes from, before other workflows are put into their nodes' places.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Symbol {
    Input(u16),
    /// An output of a node, by its place in the file.
    Output {
        node: usize,
        output: u16,
    },
    /// An output of the workflow that a node stands for.
    Inner {
        node: usize,
        output: u16,
    },
    /// What failed in the workflow that a node stands for.
    Failure {
        node: usize,
    },
    /// The item of the reader's foreach, or of one so many around it.
    Item {
        up: u8,
    },
    /// A constant of the definition.
    Constant(u16),
}

/// A source, resolved.
pub(super) struct Seen {
    pub(super) symbol: Symbol,
    pub(super) kind: Kind,
    /// Of a list: what its items are.
    pub(super) items: Kind,
}

impl Seen {
    /// Whether an expression reads it: a value, or a list of values, which is read as one.
    pub(super) const fn is_read(&self) -> bool {
        reads(self.kind, self.items)
    }
}

/// Whether an expression reads what is of a kind, and if it is a list, has items of that kind.
pub(super) const fn reads(kind: Kind, items: Kind) -> bool {
    match kind {
        Kind::Value => true,
        Kind::List => matches!(items, Kind::Value),
        Kind::Bytes => false,
    }
}

impl RawNode {
    /// Its outputs as it declares them: names, and kinds of what one activation writes; of another workflow none.
    pub(super) fn declared(&self) -> Vec<(&Spanned<String>, Kind)> {
        match &self.work {
            RawWork::Compute(formulas) => formulas
                .iter()
                .map(|(name, formula)| match formula {
                    RawFormula::Value(_) => (name, Kind::Value),
                    RawFormula::List(..) | RawFormula::Range(_) => (name, Kind::List),
                })
                .collect(),
            _ => self
                .outputs
                .iter()
                .map(|port| (&port.name, port.kind))
                .collect(),
        }
    }

    /// The most that each of its outputs may have, in the order of [`Self::declared`].
    pub(super) fn maxima(&self) -> Vec<Maximum> {
        match &self.work {
            RawWork::Compute(formulas) => formulas
                .iter()
                .map(|(_, formula)| match formula {
                    RawFormula::Value(_) => Maximum::NONE,
                    RawFormula::List(_, max_items) => of_items(*max_items, VALUE_BYTES_MAX),
                    RawFormula::Range(range) => of_items(range.max_items, NUMBER_BYTES_MAX),
                })
                .collect(),
            _ => self.outputs.iter().map(|port| port.maximum).collect(),
        }
    }
}

/// Most bytes of a whole number in JSON.
pub(super) const NUMBER_BYTES_MAX: usize = "-9223372036854775808".len();

/// The most that a computed list may have, whose items have so many bytes at most.
pub(super) fn of_items(max_items: Option<u64>, bytes: usize) -> Maximum {
    max_items.map_or(Maximum::NONE, |items| Maximum {
        items,
        bytes: bytes as u64,
        ..Maximum::NONE
    })
}

/// What the items of a list are.
fn items_of(definition: &Definition, from: From) -> Kind {
    match from {
        From::Output { node, output } => {
            let node = &definition.nodes[node];
            let kind = node.outputs[usize::from(output)].kind;
            let gathered = node.region.is_some() && kind == Kind::Value;
            if gathered || matches!(node.work, Work::Compute(_)) {
                Kind::Value
            } else {
                Kind::Bytes
            }
        }
        From::Constant(_) => Kind::Value,
        From::Input(_) | From::First { .. } | From::Item { .. } => Kind::Bytes,
    }
}

impl Checker<'_> {
    /// Where a source leads and what is seen there by a `reader`, the place of a node in the file that runs over a list;
    /// `list` says whether a constant is to be a list.
    pub(super) fn resolve(
        &mut self,
        source: &Spanned<RawSource>,
        reader: Option<usize>,
        place: &'static str,
        list: bool,
    ) -> Option<Seen> {
        let seen = |symbol, kind, items| {
            Some(Seen {
                symbol,
                kind,
                items,
            })
        };
        match &source.value {
            RawSource::Item { up } => match self.item_of(reader, *up) {
                Some((kind, items)) => seen(Symbol::Item { up: *up }, kind, items),
                None if self.items_unknown(reader) => None,
                None => {
                    let (kind, help) = match reader.filter(|_| *up > 0) {
                        Some(_) => (
                            ProblemKind::OuterItem,
                            "`outer.item` is the item of the node in whose items this one's list is: \
                             `foreach: NODE.LIST[item]`",
                        ),
                        None => (
                            ProblemKind::ItemOutside(place),
                            "`item` is an item of the list that the node's own `foreach` names",
                        ),
                    };
                    self.problems.add(source.span, kind, Some(help.to_owned()));
                    None
                }
            },
            RawSource::Input(name) => {
                let index = self.input_named(name, source.span)?;
                self.used.inputs.insert(index);
                let kind = self.raw.inputs[index].kind;
                seen(Symbol::Input(index as u16), kind, Kind::Bytes)
            }
            RawSource::Output { node, output, item } => {
                let index = self.node_named(node, source.span, Some(output))?;
                let own = self.own_output(index, output, source.span)?;
                self.seen_by(reader, index, own, *item, place, source)
            }
            RawSource::Constant(name) => {
                let index = self.constant_named(name, source.span)?;
                self.used.constants.insert(index);
                let raw = self.raw;
                self.literal(&raw.constants[index].1, list, source.span)
            }
            RawSource::Value(json) => self.literal(json, list, source.span),
            RawSource::Text(text) => {
                let items = vec![text.clone().into_bytes()];
                let constant = self.constant(Kind::Bytes, items, source.span)?;
                seen(Symbol::Constant(constant), Kind::Bytes, Kind::Bytes)
            }
        }
    }

    /// An output as one run of its node gives it.
    pub(super) fn own_output(&mut self, node: usize, output: &str, span: Span) -> Option<Seen> {
        if let RawWork::Workflow(_) = self.raw.nodes[node].work {
            return self.inner_output(node, output, span);
        }
        let raw = self.raw;
        let producer = &raw.nodes[node];
        let (index, kind) = match self.outputs[node].get(output) {
            Some(known) => *known,
            None if output == "error" && !producer.catches.is_empty() => {
                self.failures_read.insert(node);
                (self.outputs[node].len(), Kind::Value)
            }
            None if producer.outputs_unread.may_be(output) => return None,
            None => {
                let declared = producer.declared();
                let names = declared.iter().map(|(name, _)| name.value.as_str());
                let names: Vec<&str> = names.chain(producer.outputs_unread.names()).collect();
                self.unknown_output(&producer.name.value, output, &names, span, &producer.work);
                return None;
            }
        };
        self.used.outputs.insert((node, index));
        let computed = matches!(producer.work, RawWork::Compute(_));
        Some(Seen {
            symbol: Symbol::Output {
                node,
                output: index as u16,
            },
            kind,
            items: if computed { Kind::Value } else { Kind::Bytes },
        })
    }

    fn inner_output(&mut self, node: usize, output: &str, span: Span) -> Option<Seen> {
        // What is wrong with a file that gave no definition has been told.
        let inner = self.inner[node].clone()?;
        let place = inner
            .outputs
            .iter()
            .position(|known| known.name.value == output);
        let Some(index) = place else {
            if output == "error" && !self.raw.nodes[node].catches.is_empty() {
                if self.failures.teller(node).is_none() {
                    let failing = self.failing(node, &inner);
                    self.failures.read(node, &failing);
                }
                return Some(Seen {
                    symbol: Symbol::Failure { node },
                    kind: Kind::Value,
                    items: Kind::Value,
                });
            }
            if self.raw.nodes[node].outputs_unread.may_be(output) {
                return None;
            }
            let names: Vec<&str> = inner
                .outputs
                .iter()
                .map(|output| output.name.value.as_str())
                .collect();
            let raw = self.raw;
            let RawNode { name, work, .. } = &raw.nodes[node];
            self.unknown_output(&name.value, output, &names, span, work);
            return None;
        };
        let found = &inner.outputs[index];
        let items = found.from.iter().map(|from| items_of(&inner, from.value));
        Some(Seen {
            symbol: Symbol::Inner {
                node,
                output: index as u16,
            },
            kind: found.kind,
            items: if items.clone().count() > 0 && items.clone().all(|kind| kind == Kind::Value) {
                Kind::Value
            } else {
                Kind::Bytes
            },
        })
    }

    fn input_named(&mut self, name: &str, span: Span) -> Option<usize> {
        if let Some(index) = self.inputs.get(name) {
            return Some(*index);
        }
        if self.raw.inputs_unread.may_be(name) {
            return None;
        }
        let kind = ProblemKind::UnknownInput { name: quoted(name) };
        if self.problems.crowded() {
            self.problems.add(span, kind, None);
            return None;
        }
        let inputs = self.raw.inputs.iter();
        let names = inputs.map(|input| input.name.value.as_str());
        let names: Vec<&str> = names.chain(self.raw.inputs_unread.names()).collect();
        let help = match nearest(name, names.iter().copied()) {
            Some(known) => format!("did you mean `input.{known}`?"),
            None if names.is_empty() => format!("declare it: `input: {{ {name}: bytes }}`"),
            None => instead(name, &names, "its inputs are", "declare it under `input`"),
        };
        self.problems.add(span, kind, Some(help));
        None
    }

    fn constant_named(&mut self, name: &str, span: Span) -> Option<usize> {
        if let Some(index) = self.constants.get(name) {
            return Some(*index);
        }
        if self.raw.constants_unread.may_be(name) {
            return None;
        }
        let kind = ProblemKind::UnknownConstant { name: quoted(name) };
        if self.problems.crowded() {
            self.problems.add(span, kind, None);
            return None;
        }
        let constants = self.raw.constants.iter();
        let names = constants.map(|(name, _)| name.value.as_str());
        let names: Vec<&str> = names.chain(self.raw.constants_unread.names()).collect();
        let help = match nearest(name, names.iter().copied()) {
            Some(known) => format!("did you mean `constant.{known}`?"),
            None if names.is_empty() => format!("declare it: `constants: {{ {name}: 100 }}`"),
            None => instead(
                name,
                &names,
                "the constants are",
                "declare it under `constants`",
            ),
        };
        self.problems.add(span, kind, Some(help));
        None
    }

    /// The node of a name; `output` is what was wanted of it, for the suggestion.
    pub(super) fn node_named(
        &mut self,
        name: &str,
        span: Span,
        output: Option<&str>,
    ) -> Option<usize> {
        if let Some(index) = self.nodes.get(name) {
            return Some(*index);
        }
        if self.raw.nodes_unread.may_be(name) {
            return None;
        }
        let kind = ProblemKind::UnknownNode { name: quoted(name) };
        if self.problems.crowded() {
            self.problems.add(span, kind, None);
            return None;
        }
        let nodes = self.raw.nodes.iter();
        let names: Vec<&str> = nodes.map(|node| node.name.value.as_str()).collect();
        let reserved: &[&str] = if output.is_some() {
            &["input", "constant", "outer"]
        } else {
            &[]
        };
        let suggestion = nearest(name, names.iter().chain(reserved).copied());
        let help = match (suggestion, output) {
            (Some(known), Some(output)) => Some(format!("did you mean `{known}.{output}`?")),
            (Some(known), None) => Some(format!("did you mean `{known}`?")),
            (None, _) => Some(instead(name, &names, "the nodes are", "there are none")),
        };
        self.problems.add(span, kind, help);
        None
    }

    fn unknown_output(
        &mut self,
        node: &str,
        output: &str,
        names: &[&str],
        span: Span,
        work: &RawWork,
    ) {
        if self.problems.crowded() {
            let kind = ProblemKind::UnknownOutput {
                node: node.to_owned(),
                output: quoted(output),
            };
            self.problems.add(span, kind, None);
            return;
        }
        let place = self.nodes.get(node);
        let catches = place.is_some_and(|place| !self.raw.nodes[*place].catches.is_empty());
        let error = catches.then_some("error");
        let near = nearest(output, names.iter().copied().chain(error));
        let help = match (near, work) {
            (Some(known), _) => Some(format!("did you mean `{node}.{known}`?")),
            (None, _) if output == "error" => Some(format!(
                "what says what failed is there once `{node}` has a `catch`"
            )),
            (None, RawWork::Function(_) | RawWork::Command(_)) if names.is_empty() => Some(
                format!("declare it in `{node}`: `output: {{ {output}: bytes }}`"),
            ),
            (None, _) if names.is_empty() => Some(format!(
                "`{node}` has no outputs; what only waits for it names it under `after`"
            )),
            (None, _) => Some(instead(output, names, "its outputs are", "it has none")),
        };
        let kind = ProblemKind::UnknownOutput {
            node: node.to_owned(),
            output: quoted(output),
        };
        self.problems.add(span, kind, help);
    }

    /// A source as it is written, for messages.
    pub(super) fn source_name(&self, source: &RawSource) -> String {
        match source {
            RawSource::Input(name) => format!("input.{name}"),
            RawSource::Output { node, output, item } => {
                let of = if *item { "[item]" } else { "" };
                format!("{node}.{output}{of}")
            }
            RawSource::Item { up } => format!("{}item", OUTER.repeat(usize::from(*up))),
            RawSource::Constant(name) => format!("constant.{name}"),
            RawSource::Value(json) => quoted(&json.to_string()),
            RawSource::Text(text) => quoted(text),
        }
    }

    /// How to make a source one of another kind.
    pub(super) fn declared_as(&self, source: &RawSource, kind: &str) -> String {
        match source {
            RawSource::Input(name) => format!("declare it as `{name}: {kind}`"),
            RawSource::Output { node, output, .. } => {
                let raw = self.nodes.get(node.as_str());
                match raw.map(|place| &self.raw.nodes[*place]) {
                    Some(raw) if matches!(raw.work, RawWork::Compute(_)) && kind == "list" => {
                        format!("let `{node}` compute a list: `{output}: {{ list: … }}`")
                    }
                    _ => format!("declare it in `{node}` as `{output}: {kind}`"),
                }
            }
            RawSource::Item { .. }
            | RawSource::Constant(_)
            | RawSource::Value(_)
            | RawSource::Text(_) => {
                format!("name a source of kind {kind}")
            }
        }
    }

    /// How to make a source one that an expression reads; `seen` is its kind.
    pub(super) fn readable(&self, source: &RawSource, seen: Kind) -> String {
        let of_items = |node: &str| {
            let place = self.nodes.get(node);
            place.is_some_and(|place| self.raw.nodes[*place].foreach.is_some())
        };
        match source {
            RawSource::Output { node, .. } if seen != Kind::List || of_items(node) => {
                self.declared_as(source, "value")
            }
            _ if seen == Kind::List => {
                "items of a list are values if they are computed, constants, or gathered of an \
                                        output of kind value"
                    .to_owned()
            }
            _ => self.declared_as(source, "value"),
        }
    }

    /// That what an input of another workflow is given fits the kind that it declares.
    pub(super) fn fits(
        &mut self,
        binding: &RawBinding,
        gives: Kind,
        wants: Kind,
        place: String,
    ) -> Option<()> {
        if gives == wants || (gives, wants) == (Kind::Value, Kind::Bytes) {
            return Some(());
        }
        let source = &binding.sources[0].value;
        let kind = ProblemKind::SourceKind {
            source_name: self.source_name(source),
            kind: described(gives),
            place,
            expected: match wants {
                Kind::Bytes => "takes bytes",
                Kind::List => "takes a list",
                Kind::Value => "takes a value",
            },
        };
        let word = match wants {
            Kind::Bytes => "bytes",
            Kind::List => "list",
            Kind::Value => "value",
        };
        let help = self.declared_as(source, word);
        self.problems.add(binding.span, kind, Some(help));
        None
    }
}

/// The formula of a computed output.
pub(super) fn formula(raw: &RawFormula) -> Formula {
    match raw {
        RawFormula::Value(text) | RawFormula::List(text, _) => Formula::Value(text.clone()),
        RawFormula::Range(range) => Formula::Range {
            from: range.from.clone(),
            to: range.to.clone(),
        },
    }
}
