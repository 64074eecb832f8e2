//! Other workflows in the place of a node: their nodes stand there as if the file itself had them.

use super::Checker;
use super::bind::Given;
use super::expressions::Bound;
use super::scope::Symbol;
use crate::definition::files::{Files, OtherError};
use crate::definition::names::{is_name, nearest};
use crate::definition::problem::{ProblemKind, quoted};
use crate::definition::raw::{RawBinding, RawForeach, RawNode, RawOver};
use crate::definition::{
    Definition, Delay, Formula, From, Node, Region, Span, Spanned, Work, WorkflowInput,
};
use engine::nearest::instead;
use engine::plan_check::NAME_BYTES_MAX;
use rustc_hash::{FxHashMap, FxHashSet};
use std::rc::Rc;

/// Where edges of a node of the file end, by places counted from its first.
pub(super) struct Ends {
    /// Places before the node's own: that of the node which counts for it.
    pub(super) before: usize,
    /// Nodes that wait for none of the others.
    pub(super) first: Vec<usize>,
    /// Nodes that none of the others waits for, counted from the node's own.
    pub(super) last: Vec<usize>,
    /// Nodes that must not run unless a case or catch leads there: what has no gate of its own, and does not wait for
    /// what has one alone.
    pub(super) gated: Vec<usize>,
}

impl Ends {
    /// Those of a node that stands for itself, with `before` nodes that count for it.
    pub(super) fn of_one(before: usize) -> Self {
        Self {
            before,
            first: vec![0],
            last: vec![0],
            gated: (0..=before).collect(),
        }
    }

    /// Those of a workflow, with `before` nodes that count for it.
    pub(super) fn of(inner: &Definition, before: usize) -> Self {
        let predecessors = inner.predecessors();
        let gates = inner.gates();
        let nodes = 0..inner.nodes.len();
        let mut waited_for = vec![false; inner.nodes.len()];
        for predecessor in predecessors.iter().flatten() {
            waited_for[*predecessor] = true;
        }
        let reads_inputs = |node: &usize| {
            inner
                .reads(*node)
                .any(|from| matches!(from, From::Input(_)))
        };
        let alone = |node: &usize| predecessors[*node].is_empty();
        let gated = nodes
            .clone()
            .filter(|node| gates[*node].is_empty() && (alone(node) || reads_inputs(node)));
        Self {
            before,
            gated: (0..before).chain(gated.map(|node| node + before)).collect(),
            first: nodes.clone().filter(alone).collect(),
            last: nodes.filter(|node| !waited_for[*node]).collect(),
        }
    }
}

impl Checker<'_> {
    /// The workflow in another file.
    pub(super) fn other(
        &mut self,
        path: &Spanned<String>,
        files: &mut Files<'_>,
    ) -> Option<Rc<Definition>> {
        match files.other(&path.value) {
            Ok(inner) => {
                if inner.timeout_ms.is_some() {
                    let workflow = inner.workflow.value.clone();
                    let kind = ProblemKind::InnerTimeout { workflow };
                    let help = "give its nodes timeouts, or this workflow one";
                    self.problems.warn(path.span, kind, Some(help.to_owned()));
                }
                Some(inner)
            }
            Err(OtherError::Named(kind, help)) => {
                self.problems.add(path.span, kind, Some(help));
                None
            }
            Err(OtherError::Wrong(error)) => {
                if let Some(error) = error {
                    self.problems.add_all(error);
                }
                None
            }
        }
    }

    /// Binds the inputs of all other workflows.
    pub(super) fn bind_inner(&mut self) {
        let raw = self.raw;
        for (index, node) in raw.nodes.iter().enumerate() {
            let Some(inner) = self.inner[index].clone() else {
                continue;
            };
            let bound = bound_inputs(node);
            let meant = self.unknown_inputs(node, &inner, &bound);
            let mut constants = Vec::with_capacity(inner.constants.len());
            for constant in &inner.constants {
                let items = constant.items.clone();
                constants.extend(self.constant(constant.kind, items, node.name.span));
            }
            let inputs = inner.inputs.iter();
            let given = inputs.map(|input| {
                let name = input.name.value.as_str();
                let binding = bound.get(name).copied();
                // What is bound to it under a wrong name has been told.
                if binding.is_none() && meant.contains(name) {
                    return Given::Wrong;
                }
                self.given(index, &inner, input, binding, &constants)
            });
            self.given[index] = Some(given.collect());
            self.inner_constants[index] = constants;
        }
        // Whether what they are given may be absent can be asked once all of them are given something.
        for (index, node) in raw.nodes.iter().enumerate() {
            let (Some(given), Some(inner)) = (self.given[index].clone(), self.inner[index].clone())
            else {
                continue;
            };
            let bound = bound_inputs(node);
            for (given, input) in given.iter().zip(&inner.inputs) {
                let name = &input.name.value;
                let (Given::First(symbols), Some(binding)) = (given, bound.get(name.as_str()))
                else {
                    continue;
                };
                let what = format!("input `{name}`");
                if let Some(from) = self.flatten(symbols) {
                    self.presence(&from, binding.optional, binding.span, &what);
                }
            }
        }
    }

    /// Tells of bindings to inputs that the other workflow has not. Gives the inputs that they were probably meant for.
    fn unknown_inputs<'d>(
        &mut self,
        node: &RawNode,
        inner: &'d Definition,
        bound: &FxHashMap<&str, &RawBinding>,
    ) -> FxHashSet<&'d str> {
        let known: Vec<&'d str> = inner
            .inputs
            .iter()
            .map(|input| input.name.value.as_str())
            .collect();
        let has: FxHashSet<&str> = known.iter().copied().collect();
        let unbound = known
            .iter()
            .copied()
            .filter(|name| !bound.contains_key(name));
        let mut meant = FxHashSet::default();
        for (name, _) in &node.inputs {
            // What is no name has been told of.
            if has.contains(name.value.as_str()) || !is_name(&name.value) || self.problems.crowded()
            {
                continue;
            }
            let near = nearest(&name.value, unbound.clone());
            meant.extend(near);
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => instead(&name.value, &known, "its inputs are", "it has no inputs"),
            };
            let kind = ProblemKind::UnknownInnerInput {
                workflow: inner.workflow.value.clone(),
                name: quoted(&name.value),
            };
            self.problems.add(name.span, kind, Some(help));
        }
        meant
    }

    fn given(
        &mut self,
        index: usize,
        inner: &Definition,
        input: &WorkflowInput,
        binding: Option<&RawBinding>,
        constants: &[u16],
    ) -> Given {
        let raw = self.raw;
        let node = &raw.nodes[index];
        let name = &input.name.value;
        let workflow = &inner.workflow.value;
        let default = input
            .default
            .and_then(|constant| constants.get(usize::from(constant)))
            .map(|constant| Spanned {
                value: Symbol::Constant(*constant),
                span: node.name.span,
            });
        let Some(binding) = binding else {
            return match default {
                Some(default) => Given::First(vec![default]),
                None if input.optional => Given::Nothing,
                None if node.inputs_unread => Given::Wrong,
                None => {
                    let kind = ProblemKind::MissingInnerInput {
                        workflow: workflow.clone(),
                        name: name.clone(),
                    };
                    let help = format!("add it under `input`: `{name}: SOURCE`");
                    self.problems.add(node.name.span, kind, Some(help));
                    Given::Wrong
                }
            };
        };
        let place = "in the inputs of a sub-workflow";
        let Some(mut bound) = self.bind(binding, self.reader(index), place, Some(input.kind))
        else {
            return Given::Wrong;
        };
        if self
            .no_store(binding, "what another workflow is given")
            .is_none()
        {
            return Given::Wrong;
        }
        let takes = format!("input `{name}` of workflow `{workflow}`");
        if self
            .fits(binding, bound.kind, input.kind, takes.clone())
            .is_none()
        {
            return Given::Wrong;
        }
        if binding.optional {
            match default {
                Some(default) => bound.symbols.push(default),
                None if input.optional => {}
                None => {
                    let kind = ProblemKind::MayLack { what: takes };
                    let help = format!(
                        "take `optional` away, or declare it there as `{name}: {{ kind: …, optional: true }}`"
                    );
                    self.problems.add(binding.span, kind, Some(help));
                    return Given::Wrong;
                }
            }
        }
        Given::First(bound.symbols)
    }

    /// The nodes of the workflow that a node stands for.
    pub(super) fn inlined(&mut self, index: usize, span: Span) -> Option<Vec<Node>> {
        let raw = self.raw;
        let outer = &raw.nodes[index];
        let after = self.after(&outer.after);
        let none = Bound::default();
        let delays = self.delays(outer, &none, self.reader(index));
        let range = match &outer.foreach {
            Some(RawForeach {
                over: RawOver::Range(range),
                ..
            }) => Some(self.counting(outer, range, &none)),
            _ => None,
        };
        let region = outer.foreach.as_ref().map(|_| self.region(index));
        let inner = self.inner[index].clone()?;
        let (after, delays) = (after?, delays?);
        if let Some(region) = region {
            self.regions.push(region?);
        }
        self.inner_regions(index, &inner, span)?;
        let first: Vec<bool> = {
            let mut first = vec![false; inner.nodes.len()];
            for node in &self.ends[index].first {
                first[*node] = true;
            }
            first
        };
        let mut nodes = Vec::with_capacity(inner.nodes.len() + 1);
        if let Some(range) = range {
            nodes.push(range?);
        }
        for (place, (node, first)) in inner.nodes.iter().zip(first).enumerate() {
            let within = inner.regions_of(place).count();
            let mut node = node.clone();
            self.moved(&mut node, index, within as u8, span)?;
            if first {
                self.step(after.len(), span)?;
                node.after.extend(after.iter().cloned());
                node.over_list |= within == 0 && outer.foreach.is_some();
                let own = std::mem::take(&mut node.delays);
                node.delays = delays_before(&delays, own, within as u8);
            }
            nodes.push(node);
        }
        let before = nodes.len() - inner.nodes.len();
        self.catch_within(index, &inner, &mut nodes[before..], span)?;
        Some(nodes)
    }

    /// Puts the regions of another workflow behind that of the node which stands for it, and within it.
    fn inner_regions(&mut self, index: usize, inner: &Definition, span: Span) -> Option<()> {
        let own = self.own_region(index);
        let base = self.regions.len();
        let mut levels: Vec<u8> = Vec::with_capacity(inner.regions.len());
        for region in &inner.regions {
            let level = region.parent.map_or(0, |parent| levels[parent] + 1);
            levels.push(level);
            let from =
                self.flatten_inner(index, std::slice::from_ref(&region.list), level, span)?;
            let list = self.only_list(from, span)?;
            self.regions.push(Region {
                parent: region.parent.map(|parent| base + parent).or(own),
                list,
                ..region.clone()
            });
        }
        Some(())
    }

    /// That the name of a node in another workflow is not too long.
    pub(super) fn fits_name(&mut self, name: &str, span: Span) -> Option<()> {
        if name.len() <= NAME_BYTES_MAX {
            return Some(());
        }
        let kind = ProblemKind::LongName {
            name: quoted(name),
            limit: NAME_BYTES_MAX,
        };
        let help = "give nodes shorter names, or put the nodes of some files into one";
        self.problems.add(span, kind, Some(help.to_owned()));
        None
    }

    /// Makes a node of another workflow, so many regions deep there, one of this: its name, its sources, and the places of
    /// others in it.
    fn moved(&mut self, node: &mut Node, index: usize, within: u8, span: Span) -> Option<()> {
        let base = self.places[index];
        let name = format!("{}/{}", self.raw.nodes[index].name.value, node.name.value);
        self.fits_name(&name, span)?;
        node.name = Spanned { value: name, span };
        let inner_at = self.regions_at[index] + usize::from(self.has_items(index));
        node.region = match node.region {
            Some(region) => Some(inner_at + region),
            None => self.own_region(index),
        };
        for input in node.all_inputs_mut() {
            input.from = self.flatten_inner(index, &input.from, within, span)?;
            input.name.span = span;
        }
        for delay in node.delays.iter_mut().filter_map(Delay::expression_mut) {
            delay.text.span = span;
        }
        for output in &mut node.outputs {
            output.name.span = span;
        }
        let depth = self.level(index);
        let moved = |to: &mut Vec<Spanned<usize>>| {
            for to in to {
                to.value += base;
                to.span = span;
            }
        };
        moved(&mut node.after);
        moved(&mut node.apart);
        for catch in &mut node.catches {
            moved(&mut catch.to);
            catch.depth += depth;
        }
        match &mut node.work {
            Work::Function { function, .. } => function.span = span,
            Work::Compute(formulas) => {
                for formula in formulas {
                    match formula {
                        Formula::Value(text) => text.span = span,
                        Formula::Range { from, to } => (from.span, to.span) = (span, span),
                    }
                }
            }
            Work::Switch(cases) => {
                for case in cases {
                    moved(&mut case.to);
                    if let Some(condition) = &mut case.condition {
                        condition.span = span;
                    }
                }
            }
            Work::Nothing => {}
        }
        Some(())
    }
}

/// The delays of a node, so many regions deep in another workflow, behind those of the node that stands for that.
fn delays_before(outer: &[Delay], own: Vec<Delay>, within: u8) -> Vec<Delay> {
    let mut delays = outer.to_vec();
    for delay in delays.iter_mut().filter_map(Delay::expression_mut) {
        let from = delay.inputs.iter_mut().flat_map(|input| &mut input.from);
        for from in from {
            if let From::Item { up } = &mut from.value {
                *up = up.saturating_add(within);
            }
        }
    }
    for delay in own {
        match (delays.last_mut(), delay) {
            (Some(Delay::Fixed(before)), Delay::Fixed(after)) => {
                *before = before.saturating_add(after);
            }
            (_, delay) => delays.push(delay),
        }
    }
    delays
}

/// What a node binds, by name.
fn bound_inputs(node: &RawNode) -> FxHashMap<&str, &RawBinding> {
    let inputs = node.inputs.iter();
    inputs
        .map(|(name, binding)| (name.value.as_str(), binding))
        .collect()
}
