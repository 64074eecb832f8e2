//! One node of the file, with all that it names.

use super::Checker;
use super::bind::BoundInput;
use super::expressions::{Bound, Names};
use super::failures::ERROR;
use super::scope::{NUMBER_BYTES_MAX, formula, of_items, reads};
use crate::definition::problem::{ProblemKind, quoted};
use crate::definition::raw::{
    RawCase, RawCatch, RawForeach, RawFormula, RawNode, RawOver, RawRange, RawSource, RawWork,
};
use crate::definition::read::listed;
use crate::definition::{
    COMMAND_EXECUTABLE, COMMAND_FUNCTION, Case, Catch, Definition, Formula, From, FunctionName,
    Node, NodeInput, Port, Profile, Resources, Span, Spanned, Work, nearest,
};
use engine::expression::Gives;
use engine::nearest::instead;
use engine::plan::{EdgeStore, Join, Trust};
use faasstore::binding::{Kind, Maximum};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;

/// The output of a node that counts whole numbers for another.
const ITEMS: &str = "items";
/// What the output that says what failed is called where the node has an `error` already: no file can name an output so.
const OWN_ERROR: &str = "error/own";

impl Node {
    /// Adds the output that says what failed. What the node gives may be called `error`, too, if it is in another workflow
    /// whose catches are read: that of a function, or of a node that says what failed in a workflow within that.
    pub(super) fn tells_failure(&mut self, span: Span) {
        let taken = self.outputs.iter().any(|output| output.name.value == ERROR);
        let name = if taken { OWN_ERROR } else { ERROR };
        self.error_output = Some(self.outputs.len() as u16);
        self.outputs.push(Port {
            name: Spanned {
                value: name.to_owned(),
                span,
            },
            kind: Kind::Value,
            maximum: Maximum::NONE,
        });
    }
}

impl Checker<'_> {
    /// A node that stands for itself, and before it the one that counts for it, if it runs over whole numbers.
    pub(super) fn node(&mut self, index: usize) -> Option<Vec<Node>> {
        let whole_raw = self.raw;
        let raw = &whole_raw.nodes[index];
        // All of it is looked at, whatever is wrong with the rest.
        let region = raw.foreach.as_ref().map(|_| self.region(index));
        let reader = self.reader(index);
        let some = raw.join.value != Join::All;
        let bound = self.inputs(raw, reader);
        let bound_whole = bound.is_whole();
        let after = self.after(&raw.after);
        let apart = self.apart(index);
        let profile = self.profile(raw);
        let catches: Vec<Option<Catch>> = raw
            .catches
            .iter()
            .map(|catch| self.caught(index, catch))
            .collect();
        let range = match &raw.foreach {
            Some(RawForeach {
                over: RawOver::Range(range),
                ..
            }) => Some(self.counting(raw, range, &bound)),
            _ => None,
        };
        let delays = self.delays(raw, &bound, reader);
        let mut names = Names::new(bound, some, reader);
        let work = self.work(raw, &mut names)?;
        if let Some(region) = region {
            self.regions.push(region?);
        }
        if !bound_whole {
            return None;
        }
        let outputs = raw.declared().into_iter().zip(raw.maxima());
        let outputs = outputs.map(|((name, kind), maximum)| Port {
            name: name.clone(),
            kind,
            maximum,
        });
        let node = Node {
            work,
            region: self.own_region(index),
            over_list: raw.foreach.is_some(),
            inputs: names.into_all(),
            outputs: outputs.collect(),
            after: after?,
            apart: apart?,
            profile: profile?,
            resources: raw.resources,
            trust: raw.trust,
            join: raw.join.value,
            retriers: raw
                .retriers
                .iter()
                .map(|retry| retry.value.clone())
                .collect(),
            catches: catches.into_iter().collect::<Option<_>>()?,
            timeout_ms: raw.timeout_ms.as_ref().map(|timeout| timeout.value),
            delays: delays?,
            ..plain(raw.name.clone())
        };
        Some(match range {
            Some(range) => vec![range?, node],
            None => vec![node],
        })
    }

    /// What is bound under `input`.
    fn inputs(&mut self, raw: &RawNode, reader: Option<usize>) -> Bound {
        let some = raw.join.value != Join::All;
        let reads_values = matches!(
            raw.work,
            RawWork::Compute(_) | RawWork::Switch(_) | RawWork::Nothing
        );
        let mut all = Bound::new(raw.inputs_unread);
        for (name, binding) in &raw.inputs {
            let mut input = || {
                let bound = self.bind(binding, reader, "outside a foreach node", None)?;
                let from = self.flatten(&bound.symbols)?;
                let optional = binding.optional || some;
                let what = format!("input `{}`", name.value);
                self.presence(&from, optional, binding.span, &what)?;
                let is_read = reads(bound.kind, bound.items);
                if reads_values && !is_read {
                    let source = &binding.sources[0].value;
                    let told = self.source_name(source);
                    let help = self.readable(source, bound.kind);
                    self.no_value(told, bound.kind, binding.span, help);
                    return None;
                }
                if reads_values {
                    self.no_store(binding, "an input that the worker reads itself")?;
                } else if bound.kind == Kind::Value {
                    self.no_store(binding, "an input that is a value")?;
                }
                let input = NodeInput {
                    name: name.clone(),
                    kind: bound.kind,
                    from,
                    optional,
                    store: binding
                        .store
                        .as_ref()
                        .map_or(EdgeStore::Workflow, |store| store.value),
                };
                Some(BoundInput { input, is_read })
            };
            match input() {
                Some(input) => all.inputs.push(input),
                None => all.wrong(&name.value),
            }
        }
        all
    }

    fn work(&mut self, raw: &RawNode, names: &mut Names) -> Option<Work> {
        match &raw.work {
            RawWork::Function(function) => Some(Work::Function {
                function: function.clone(),
                arguments: Vec::new(),
            }),
            RawWork::Command(words) => self.command(raw, words),
            RawWork::Compute(formulas) => {
                let formulas: Vec<Option<Formula>> = formulas
                    .iter()
                    .map(|(_, raw)| {
                        self.formula(raw, names)?;
                        Some(formula(raw))
                    })
                    .collect();
                Some(Work::Compute(formulas.into_iter().collect::<Option<_>>()?))
            }
            RawWork::Switch(cases) => {
                let cases: Vec<Option<Case>> =
                    cases.iter().map(|case| self.case(case, names)).collect();
                Some(Work::Switch(cases.into_iter().collect::<Option<_>>()?))
            }
            RawWork::Workflow(_) | RawWork::Nothing => Some(Work::Nothing),
            RawWork::Unread => None,
        }
    }

    fn formula(&mut self, raw: &RawFormula, names: &mut Names) -> Option<()> {
        match raw {
            RawFormula::Value(text) | RawFormula::List(text, _) => {
                self.expression(text, Gives::Value, names)
            }
            RawFormula::Range(range) => self.range(range, names),
        }
    }

    fn range(&mut self, range: &RawRange, names: &mut Names) -> Option<()> {
        let from = self.expression(&range.from, Gives::Value, names);
        self.expression(&range.to, Gives::Value, names)?;
        from
    }

    fn case(&mut self, raw: &RawCase, names: &mut Names) -> Option<Case> {
        let condition = raw
            .when
            .as_ref()
            .map(|when| self.expression(when, Gives::Truth, names));
        let to = self.targets(&raw.then);
        if let Some(condition) = condition {
            condition?;
        }
        Some(Case {
            condition: raw.when.clone(),
            to: to?,
        })
    }

    fn command(&mut self, raw: &RawNode, words: &[Spanned<String>]) -> Option<Work> {
        let node = &raw.name.value;
        let inputs = raw.inputs.iter().map(|(name, _)| name.value.as_str());
        let inputs: Vec<&str> = inputs.collect();
        let known: FxHashSet<&str> = inputs.iter().copied().collect();
        let mut in_words: FxHashSet<&str> = FxHashSet::default();
        let mut whole = true;
        for word in words {
            let mut rest = word.value.as_str();
            while let Some((_, behind)) = rest.split_once("{input.") {
                let Some((name, after)) = behind.split_once('}') else {
                    break;
                };
                rest = after;
                in_words.insert(name);
                if !known.contains(name) && !raw.inputs_unread {
                    let kind = ProblemKind::CommandInput {
                        node: node.clone(),
                        input: quoted(name),
                    };
                    let help = match nearest(name, inputs.iter().copied()) {
                        Some(near) => format!("did you mean `{{input.{near}}}`?"),
                        None => {
                            instead(name, &inputs, "its inputs are", "declare it under `input`")
                        }
                    };
                    self.problems.add(word.span, kind, Some(help));
                    whole = false;
                }
            }
        }
        let unnamed = inputs.into_iter().filter(|name| !in_words.contains(name));
        let unnamed: Vec<&str> = unnamed.collect();
        let others = unnamed.iter().filter(|name| **name != "stdin").count();
        if others > 0 && unnamed.len() > 1 && !raw.inputs_unread {
            let kind = ProblemKind::CommandInputs {
                node: node.clone(),
                inputs: listed(&unnamed),
            };
            let help = "name the others in words, as in `{input.NAME}`, which becomes a path; standard input is what \
                        is called `stdin`, or the only one that no word names";
            self.problems
                .add(raw.name.span, kind, Some(help.to_owned()));
            whole = false;
        }
        if raw.outputs.len() != 1 && raw.outputs_unread.is_empty() {
            let kind = ProblemKind::CommandOutputs {
                node: node.clone(),
                count: raw.outputs.len(),
            };
            let help = "declare one: `output: { NAME: bytes }`, or `list` for its lines, or `value` for JSON";
            self.problems
                .add(raw.name.span, kind, Some(help.to_owned()));
            whole = false;
        }
        whole.then(|| Work::Function {
            function: Spanned {
                value: FunctionName {
                    executable: COMMAND_EXECUTABLE.to_owned(),
                    function: COMMAND_FUNCTION.to_owned(),
                },
                span: words[0].span,
            },
            arguments: words.iter().map(|word| word.value.clone()).collect(),
        })
    }

    /// The list of a foreach, which has no alternatives.
    pub(super) fn only_list(
        &mut self,
        mut from: Vec<Spanned<From>>,
        span: Span,
    ) -> Option<Spanned<From>> {
        if from.len() == 1 {
            return from.pop();
        }
        let kind = ProblemKind::NotYet("`foreach` over the first of several lists".to_owned());
        let help = "let a node choose: it takes them as one input, and gives a list";
        self.problems.add(span, kind, Some(help.to_owned()));
        None
    }

    /// The node that counts whole numbers for another. Its expressions know what that one binds.
    pub(super) fn counting(
        &mut self,
        raw: &RawNode,
        range: &RawRange,
        bound: &Bound,
    ) -> Option<Node> {
        let of_item = raw.inputs.iter().filter(|(_, binding)| {
            let mut sources = binding.sources.iter();
            sources.any(|source| {
                matches!(
                    source.value,
                    RawSource::Item { .. } | RawSource::Output { item: true, .. }
                )
            })
        });
        let of_item: FxHashSet<&str> = of_item.map(|(name, _)| name.value.as_str()).collect();
        let mut known = bound.clone();
        let outside = |bound: &BoundInput| !of_item.contains(bound.input.name.value.as_str());
        known.inputs.retain(outside);
        let mut names = Names::new(known, false, None);
        self.range(range, &mut names)?;
        let span = range.to.span;
        Some(Node {
            work: Work::Compute(vec![Formula::Range {
                from: range.from.clone(),
                to: range.to.clone(),
            }]),
            // Of what the other binds it waits only for what it names itself.
            inputs: names.into_used(),
            outputs: vec![Port {
                name: Spanned {
                    value: ITEMS.to_owned(),
                    span,
                },
                kind: Kind::List,
                maximum: of_items(range.max_items, NUMBER_BYTES_MAX),
            }],
            ..plain(Spanned {
                value: format!("{}/range", raw.name.value),
                span: raw.name.span,
            })
        })
    }

    /// Nodes that others must wait for, by their places in the definition.
    pub(super) fn after(&mut self, names: &[Spanned<String>]) -> Option<Vec<Spanned<usize>>> {
        let mut places = Vec::new();
        let mut whole = true;
        for name in names {
            let Some(node) = self.node_named(&name.value, name.span, None) else {
                whole = false;
                continue;
            };
            let place = self.places[node];
            self.step(self.ends[node].last.len(), name.span)?;
            places.extend(self.ends[node].last.iter().map(|inner| Spanned {
                value: place + inner,
                span: name.span,
            }));
        }
        whole.then_some(places)
    }

    /// What is assumed of a node; bytes in the order of its outputs.
    fn profile(&mut self, raw: &RawNode) -> Option<Profile> {
        let mut profile = raw.profile.known.clone();
        if raw.profile.by_output.is_empty() || !raw.outputs_unread.is_empty() {
            return Some(profile);
        }
        let names: Vec<&str> = raw
            .declared()
            .into_iter()
            .map(|(name, _)| name.value.as_str())
            .collect();
        let mut by_output = vec![0; names.len()];
        let mut whole = true;
        for (name, bytes) in &raw.profile.by_output {
            match names.iter().position(|known| *known == name.value) {
                Some(output) => by_output[output] = *bytes,
                None => {
                    let kind = ProblemKind::UnknownOutput {
                        node: raw.name.value.clone(),
                        output: quoted(&name.value),
                    };
                    let help = instead(&name.value, &names, "its outputs are", "it has none");
                    self.problems.add(name.span, kind, Some(help));
                    whole = false;
                }
            }
        }
        profile.by_output = by_output;
        whole.then_some(profile)
    }

    /// Nodes that a node must be kept apart from, by their places in the definition.
    fn apart(&mut self, index: usize) -> Option<Vec<Spanned<usize>>> {
        let raw = self.raw;
        let mut places = Vec::new();
        let mut whole = true;
        for name in &raw.nodes[index].apart {
            let Some(node) = self.node_named(&name.value, name.span, None) else {
                whole = false;
                continue;
            };
            if node == index {
                let help = "name the nodes that contend with it for a resource";
                self.problems.add(
                    name.span,
                    ProblemKind::ApartFromItself,
                    Some(help.to_owned()),
                );
                whole = false;
                continue;
            }
            let (first, count) = (self.places[node], self.width(node));
            self.step(count, name.span)?;
            places.extend((first..first + count).map(|value| Spanned {
                value,
                span: name.span,
            }));
        }
        whole.then_some(places)
    }

    /// A catch of a node.
    pub(super) fn caught(&mut self, index: usize, raw: &RawCatch) -> Option<Catch> {
        Some(Catch {
            on: raw.on.clone(),
            to: self.targets(&raw.to)?,
            depth: self.level(index),
        })
    }

    /// Nodes that a case or catch leads to, by their places in the definition.
    fn targets(&mut self, names: &[Spanned<String>]) -> Option<Vec<Spanned<usize>>> {
        let mut places = Vec::new();
        let mut seen = FxHashMap::default();
        let mut whole = true;
        for name in names {
            let Some(node) = self.node_named(&name.value, name.span, None) else {
                whole = false;
                continue;
            };
            if let Some(first) = seen.insert(node, name.span) {
                let kind = ProblemKind::Twice {
                    what: format!("node `{}`", name.value),
                };
                let help = Some("take one of the two away".to_owned());
                let beside = Some((first, "first here"));
                self.problems.add_beside(name.span, kind, help, beside);
                whole = false;
                continue;
            }
            let ends = &self.ends[node];
            let (count, place) = (ends.gated.len(), self.places[node] - ends.before);
            self.step(count, name.span)?;
            places.extend(self.ends[node].gated.iter().map(|inner| Spanned {
                value: place + inner,
                span: name.span,
            }));
        }
        whole.then_some(places)
    }
}

/// Lets the node that counts for others come after what those come after; `of` are their places. Where it then waits for
/// anything it waits for all that they wait for: it must not be skipped where one of them would run. So it is left as it is
/// if one of them may run for what was caught alone, which no `after` says.
pub(super) fn count_after(definition: &mut Definition, range: usize, of: std::ops::Range<usize>) {
    let after = definition.nodes[of.clone()].iter();
    let mut after = after.flat_map(|node| &node.after);
    let Some(span) = after.find(|after| !of.contains(&after.value)) else {
        return;
    };
    let span = span.span;
    let own = definition.flow_edges(range);
    let edges = of.clone().flat_map(|node| definition.flow_edges(node));
    let edges: BTreeSet<(usize, bool)> = edges
        .filter(|edge| !of.contains(&edge.0) && !own.contains(edge))
        .collect();
    if edges.iter().any(|(_, error)| *error) {
        return;
    }
    let after = edges.into_iter().map(|(value, _)| Spanned { value, span });
    definition.nodes[range].after = after.collect();
}

/// A node that does nothing.
pub(super) fn plain(name: Spanned<String>) -> Node {
    Node {
        name,
        work: Work::Nothing,
        region: None,
        over_list: false,
        inputs: Vec::new(),
        outputs: Vec::new(),
        after: Vec::new(),
        apart: Vec::new(),
        profile: Profile {
            runtime_ms: 0.0,
            ..Profile::default()
        },
        resources: Resources::default(),
        trust: Trust::default(),
        join: Join::All,
        retriers: Vec::new(),
        catches: Vec::new(),
        error_output: None,
        timeout_ms: None,
        delays: Vec::new(),
    }
}
