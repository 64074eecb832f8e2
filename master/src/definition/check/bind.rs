//! Bindings: alternatives of one kind, constants, and whether what is needed may be absent.

use super::scope::{Seen, Symbol};
use super::{Checker, PLACES_MAX, STEPS_MAX, described};
use crate::definition::problem::ProblemKind;
use crate::definition::raw::RawBinding;
use crate::definition::{From, NodeInput, Span, Spanned};
use engine::plan::Constant;
use faasstore::binding::{Kind, VALUE_BYTES_MAX};
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value as Json;

/// What an input of another workflow is given.
#[derive(Clone, Debug)]
pub(super) enum Given {
    /// The first of these that is live.
    First(Vec<Spanned<Symbol>>),
    /// Nothing: it is optional.
    Nothing,
    /// What is wrong with it has been told.
    Wrong,
}

/// The constants of a definition, each once.
#[derive(Default)]
pub(super) struct Pool {
    pub(super) constants: Vec<Constant>,
    known: FxHashMap<(Kind, Vec<Vec<u8>>), u16>,
}

/// What a binding comes to.
pub(super) struct Bound {
    pub(super) symbols: Vec<Spanned<Symbol>>,
    pub(super) kind: Kind,
    /// Of a list: what its items are. The elements of a default are values.
    pub(super) items: Kind,
}

/// An input of a node that stands under its own `input`.
#[derive(Clone)]
pub(super) struct BoundInput {
    pub(super) input: NodeInput,
    /// Whether an expression reads it.
    pub(super) is_read: bool,
}

impl Checker<'_> {
    /// Tells of a `store` at what stays in memory.
    pub(super) fn no_store(&mut self, binding: &RawBinding, what: &'static str) -> Option<()> {
        let Some(store) = &binding.store else {
            return Some(());
        };
        let key = "store";
        let help = "take it away: it is for what functions and commands read, in the file in which they stand";
        let problem = ProblemKind::NotHere { what, key };
        self.problems
            .add(store.span, problem, Some(help.to_owned()));
        None
    }

    /// Resolves what an input or output is bound to. With `wants`, constants are made to fit that kind.
    pub(super) fn bind(
        &mut self,
        binding: &RawBinding,
        reader: Option<usize>,
        place: &'static str,
        wants: Option<Kind>,
    ) -> Option<Bound> {
        // What could not be read has been told.
        binding.sources.first()?;
        let list = wants == Some(Kind::List);
        let seen: Vec<Option<Seen>> = binding
            .sources
            .iter()
            .map(|source| self.resolve(source, reader, place, list))
            .collect();
        let seen: Vec<Seen> = seen.into_iter().collect::<Option<_>>()?;
        let mut kind = seen[0].kind;
        for (other, source) in seen.iter().zip(&binding.sources).skip(1) {
            match (kind, other.kind) {
                (a, b) if a == b => {}
                // A value's JSON is bytes too.
                (Kind::Bytes, Kind::Value) | (Kind::Value, Kind::Bytes) => kind = Kind::Bytes,
                _ => {
                    let problem = ProblemKind::Alternatives {
                        first: self.source_name(&binding.sources[0].value),
                        first_kind: described(seen[0].kind),
                        other: self.source_name(&source.value),
                        other_kind: described(other.kind),
                    };
                    let help = "name alternatives of one kind".to_owned();
                    self.problems.add(source.span, problem, Some(help));
                    return None;
                }
            }
        }
        let mut symbols: Vec<Spanned<Symbol>> = seen
            .iter()
            .zip(&binding.sources)
            .map(|(seen, source)| Spanned {
                value: seen.symbol,
                span: source.span,
            })
            .collect();
        if let Some(default) = &binding.default {
            symbols.push(Spanned {
                value: Symbol::Constant(self.constant_of(kind, default)?.value),
                span: default.span,
            });
        }
        let of_values = seen.iter().all(|seen| seen.items == Kind::Value);
        Some(Bound {
            symbols,
            kind,
            items: if of_values { Kind::Value } else { Kind::Bytes },
        })
    }

    /// That what is needed cannot be absent only because a client leaves inputs out.
    pub(super) fn presence(
        &mut self,
        from: &[Spanned<From>],
        optional: bool,
        span: Span,
        what: &str,
    ) -> Option<()> {
        let may_lack = |from: &Spanned<From>| match from.value {
            From::Input(input) => {
                let input = &self.raw.inputs[usize::from(input)];
                input.optional && input.default.is_none()
            }
            From::Output { .. } | From::First { .. } | From::Item { .. } | From::Constant(_) => {
                false
            }
        };
        if optional || !from.iter().all(may_lack) {
            return Some(());
        }
        let kind = ProblemKind::MayLack {
            what: what.to_owned(),
        };
        let help =
            "write `{ from: SOURCE, optional: true }`, give it a `default`, or name an alternative";
        self.problems.add(span, kind, Some(help.to_owned()));
        None
    }

    /// Puts the sources of other workflows' outputs in their places.
    pub(super) fn flatten(&mut self, symbols: &[Spanned<Symbol>]) -> Option<Vec<Spanned<From>>> {
        let steps = symbols.iter().rev();
        let steps = steps.map(|symbol| (Step::Visit(symbol.value), symbol.span));
        self.walk(steps.collect(), 0)
    }

    /// The same for sources of a node of another workflow, which stands for `node`; `within` so many regions of that
    /// workflow.
    pub(super) fn flatten_inner(
        &mut self,
        node: usize,
        from: &[Spanned<From>],
        within: u8,
        span: Span,
    ) -> Option<Vec<Spanned<From>>> {
        let mut steps = Vec::new();
        for from in from.iter().rev() {
            self.inner_steps(node, from.value, span, &mut steps)?;
        }
        self.walk(steps, within)
    }

    /// What is to be visited for a source of another workflow, the last first.
    fn inner_steps(
        &self,
        node: usize,
        from: From,
        span: Span,
        steps: &mut Vec<(Step, Span)>,
    ) -> Option<()> {
        match from {
            From::Input(input) => match self.given[node].as_ref()?.get(usize::from(input))? {
                Given::First(symbols) => {
                    let visits = symbols.iter().rev();
                    steps.extend(visits.map(|symbol| (Step::Visit(symbol.value), span)));
                }
                Given::Nothing => {}
                Given::Wrong => return None,
            },
            From::Output {
                node: inner,
                output,
            } => {
                let node = self.places[node] + inner;
                steps.push((Step::Take(From::Output { node, output }), span));
            }
            From::First {
                node: inner,
                output,
            } => {
                let node = self.places[node] + inner;
                steps.push((Step::Take(From::First { node, output }), span));
            }
            From::Item { .. } => steps.push((Step::Take(from), span)),
            From::Constant(constant) => {
                let constant = *self.inner_constants[node].get(usize::from(constant))?;
                steps.push((Step::Take(From::Constant(constant)), span));
            }
        }
        Some(())
    }

    fn walk(&mut self, mut steps: Vec<(Step, Span)>, within: u8) -> Option<Vec<Spanned<From>>> {
        let mut taken = FxHashSet::default();
        let mut all = Vec::with_capacity(steps.len());
        // Other workflows whose outputs are looked into: a workflow that passes an input on could lead back to itself.
        let mut open: Vec<Symbol> = Vec::new();
        let mut is_open = FxHashSet::default();
        while let Some((step, span)) = steps.pop() {
            self.step(1, span)?;
            let from = match step {
                Step::Take(from) => from,
                Step::Visit(Symbol::Input(input)) => From::Input(input),
                Step::Visit(Symbol::Output { node, output }) => From::Output {
                    node: self.places[node],
                    output,
                },
                Step::Visit(Symbol::Failure { node }) => From::Output {
                    node: self.failures.teller(node)?,
                    output: 0,
                },
                Step::Visit(Symbol::Item { up }) => From::Item {
                    up: up.saturating_add(within),
                },
                Step::Visit(Symbol::Constant(constant)) => From::Constant(constant),
                Step::Leave => {
                    is_open.remove(&open.pop()?);
                    continue;
                }
                Step::Visit(symbol @ Symbol::Inner { node, output }) => {
                    if !is_open.insert(symbol) {
                        let way = open.iter().skip_while(|open| **open != symbol);
                        let way = way.chain([&symbol]);
                        let path = way.filter_map(|symbol| self.node_of(symbol)).collect();
                        let help = "a workflow that passes an input on leads back to itself: take one of these \
                                    sources away";
                        self.problems
                            .add(span, ProblemKind::Cycle { path }, Some(help.to_owned()));
                        return None;
                    }
                    open.push(symbol);
                    steps.push((Step::Leave, span));
                    let inner = self.inner[node].clone()?;
                    for from in inner.outputs[usize::from(output)].from.iter().rev() {
                        self.inner_steps(node, from.value, span, &mut steps)?;
                    }
                    continue;
                }
            };
            if taken.insert(from) {
                all.push(Spanned { value: from, span });
            }
        }
        Some(all)
    }

    /// Counts what putting files together costs.
    pub(super) fn step(&mut self, count: usize, span: Span) -> Option<()> {
        let before = self.steps;
        self.steps += count;
        if self.steps <= STEPS_MAX {
            return Some(());
        }
        if before <= STEPS_MAX {
            let what = "the sources and edges of nodes in other workflows".to_owned();
            self.too_many(span, what, self.steps, STEPS_MAX);
        }
        None
    }

    fn node_of(&self, symbol: &Symbol) -> Option<String> {
        match symbol {
            Symbol::Output { node, .. } | Symbol::Inner { node, .. } | Symbol::Failure { node } => {
                Some(self.raw.nodes[*node].name.value.clone())
            }
            Symbol::Input(_) | Symbol::Item { .. } | Symbol::Constant(_) => None,
        }
    }

    /// A value that stands in the file; with `list`, one that is a sequence becomes a list of values.
    pub(super) fn literal(&mut self, json: &Json, list: bool, span: Span) -> Option<Seen> {
        let (kind, items) = match json {
            Json::Array(items) if list => (Kind::List, items.iter().map(Json::to_string).collect()),
            _ => (Kind::Value, vec![json.to_string()]),
        };
        let constant = self.values(kind, items, span)?;
        Some(Seen {
            symbol: Symbol::Constant(constant),
            kind,
            items: Kind::Value,
        })
    }

    fn values(&mut self, kind: Kind, items: Vec<String>, span: Span) -> Option<u16> {
        if let Some(long) = items.iter().find(|item| item.len() > VALUE_BYTES_MAX) {
            let problem = ProblemKind::LongValue { bytes: long.len() };
            let help = "longer constants are bytes: `{ text: … }`".to_owned();
            self.problems.add(span, problem, Some(help));
            return None;
        }
        let items = items.into_iter().map(String::into_bytes).collect();
        self.constant(kind, items, span)
    }

    /// A default for what is of a kind.
    pub(super) fn constant_of(
        &mut self,
        kind: Kind,
        default: &Spanned<Json>,
    ) -> Option<Spanned<u16>> {
        let span = default.span;
        let constant = match (kind, &default.value) {
            (Kind::Value, json) => self.values(kind, vec![json.to_string()], span)?,
            (Kind::Bytes, Json::String(text)) => {
                self.constant(kind, vec![text.clone().into_bytes()], span)?
            }
            (Kind::List, Json::Array(items)) => {
                let items = items.iter().map(Json::to_string).collect();
                self.values(kind, items, span)?
            }
            (kind, json) => {
                let (expected, help) = match kind {
                    Kind::List => ("a list", "write `[ITEM, ITEM]`"),
                    _ => (
                        "text",
                        "put quotes around it; numbers and the like are of kind value",
                    ),
                };
                let problem = ProblemKind::ConstantKind {
                    what: "this default",
                    expected,
                    found: crate::definition::problem::quoted(&json.to_string()),
                };
                self.problems.add(span, problem, Some(help.to_owned()));
                return None;
            }
        };
        Some(Spanned {
            value: constant,
            span,
        })
    }

    /// The place of a constant.
    pub(super) fn constant(&mut self, kind: Kind, items: Vec<Vec<u8>>, span: Span) -> Option<u16> {
        let key = (kind, items);
        if let Some(known) = self.pool.known.get(&key) {
            return Some(*known);
        }
        let place = self.pool.constants.len();
        if place >= PLACES_MAX {
            let what = "the workflow's constants".to_owned();
            self.too_many(span, what, place + 1, PLACES_MAX);
            return None;
        }
        self.pool.constants.push(Constant {
            kind,
            items: key.1.clone(),
        });
        self.pool.known.insert(key, place as u16);
        Some(place as u16)
    }
}

/// Something to be done with a source.
#[derive(Clone, Copy)]
enum Step {
    /// It is put out as it is.
    Take(From),
    /// It is looked into.
    Visit(Symbol),
    /// An output of another workflow has been looked into.
    Leave,
}
