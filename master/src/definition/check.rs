//! From names to places: every source must exist, be of the kind that its use wants, and wait for nothing that waits
//! for it. This file puts the definition together; its parts have a file each.

mod bind;
mod delays;
mod expressions;
mod failures;
mod inline;
mod node;
mod over;
mod regions;
mod scope;

use super::files::Files;
use super::problem::{ProblemKind, Problems};
use super::raw::{RawDefinition, RawForeach, RawNode, RawOver, RawWork};
use super::{
    Definition, DefinitionError, Node, Region, SourceText, Span, Spanned, WorkflowInput,
    WorkflowOutput, cycle, warnings,
};
use bind::{Given, Pool};
use engine::plan::Join;
use faasstore::binding::{Exceeded, Kind, Maximum};
use failures::Failures;
use inline::Ends;
use over::Over;
use regions::{Gathered, Link};
use rustc_hash::{FxHashMap, FxHashSet};
use std::rc::Rc;

/// Inputs, outputs or gates of one node, inputs or outputs of the workflow, and executables: what a plan can number.
const PLACES_MAX: usize = u16::MAX as usize;
/// Nodes of a workflow, those of other files included.
const NODES_MAX: usize = 1 << 18;
/// Sources that are put in the place of others when files are put together, in all.
const STEPS_MAX: usize = 1 << 23;

/// Resolves the names of a file; `files` has those that it names. Of what could not be read nothing is told again.
pub(super) fn check(
    source: SourceText,
    raw: RawDefinition,
    problems: Problems,
    files: &mut Files<'_>,
) -> Result<Definition, DefinitionError> {
    let mut checker = Checker::new(problems, &source, &raw, files);
    checker.counts();
    if checker.places.len() < raw.nodes.len() {
        return Err(checker.problems.into_error());
    }
    checker.find_overs();
    checker.bind_inner();
    let inputs: Vec<Option<WorkflowInput>> = raw
        .inputs
        .iter()
        .map(|input| checker.workflow_input(input))
        .collect();
    let nodes = checker.nodes();
    let outputs: Vec<Option<WorkflowOutput>> = raw
        .outputs
        .iter()
        .map(|(name, binding)| checker.workflow_output(name, binding))
        .collect();
    let (mut nodes, all) = nodes;
    if checker.problems.any() || !all {
        return Err(checker.wrong(nodes));
    }
    // Which failures are read is known once everything has named its sources.
    for index in &checker.failures_read {
        let span = raw.nodes[*index].name.span;
        nodes[checker.places[*index]].tells_failure(span);
    }
    let told = checker.tell_failures(&mut nodes);
    if told.is_none() || nodes.len() > NODES_MAX {
        let what = "the workflow's nodes, with those that say what failed".to_owned();
        if told.is_some() {
            checker.too_many(raw.workflow.span, what, nodes.len(), NODES_MAX);
        }
        return Err(checker.problems.into_error());
    }
    let Checker {
        mut problems,
        pool,
        used,
        inner,
        places,
        regions,
        links,
        gathered,
        ..
    } = checker;
    let mut definition = Definition {
        workflow: raw.workflow.clone(),
        inputs: inputs.into_iter().flatten().collect(),
        constants: pool.constants,
        regions,
        nodes,
        outputs: outputs.into_iter().flatten().collect(),
        timeout_ms: raw.timeout_ms.as_ref().map(|timeout| timeout.value),
        store: raw.store,
        files: Vec::new(),
        warnings: Vec::new(),
        source: source.clone(),
    };
    for (index, node) in raw.nodes.iter().enumerate() {
        if has_range(node.foreach.as_ref()) {
            let place = places[index];
            let count = inner[index].as_ref().map_or(1, |inner| inner.nodes.len());
            node::count_after(&mut definition, place - 1, place..place + count);
        }
    }
    whole(&mut definition, links, &gathered, &mut problems);
    if problems.any() {
        return Err(problems.into_error());
    }
    warnings::find(&raw, &used, &mut problems);
    definition.warnings = problems.take_warnings();
    let mut told = FxHashSet::default();
    for other in inner.into_iter().flatten() {
        // A file that is named twice is warned of once.
        if told.insert(Rc::as_ptr(&other)) {
            definition.warnings.extend(other.warnings.iter().cloned());
        }
    }
    Ok(definition)
}

/// Checks what only the whole shows: cycles, joins of more edges than there are, too many gates; and finds what runs item by item.
fn whole(
    definition: &mut Definition,
    links: Vec<Link>,
    gathered: &[Gathered],
    problems: &mut Problems,
) {
    if !circle(definition, problems) {
        regions::settle(definition, links, gathered, problems);
        if !definition.regions.is_empty() && !problems.any() {
            regions::cycle(definition, &definition.predecessors(), problems);
        }
    }
    let gates = definition.gates();
    for (index, node) in definition.nodes.iter().enumerate() {
        if gates[index].len() > PLACES_MAX {
            let kind = ProblemKind::Count {
                what: format!("the cases and catches that lead to `{}`", node.name.value),
                count: gates[index].len(),
                limit: PLACES_MAX,
            };
            let help = "let some of them lead to a node of its own each, and read those through `first_of(…)`";
            problems.add(node.name.span, kind, Some(help.to_owned()));
        }
        let Join::AtLeast(needed) = node.join else {
            continue;
        };
        let edges = definition.flow_edges(index).len();
        if needed as usize > edges {
            let kind = ProblemKind::Join {
                node: node.name.value.clone(),
                needed,
                edges,
            };
            let help = "its edges are the nodes that it reads from and those under `after`; cases and catches that \
                        lead to it are none";
            problems.add(node.name.span, kind, Some(help.to_owned()));
        }
    }
}

/// Tells of nodes that wait for each other, and says whether there are any.
fn circle(definition: &Definition, problems: &mut Problems) -> bool {
    let mut predecessors = definition.predecessors();
    let nodes = predecessors.len();
    // Those that say what failed in other files are not there yet if something else is wrong.
    let there = |node: &usize| *node < nodes;
    let found = cycle::find(nodes, |node| {
        let mut before = std::mem::take(&mut predecessors[node]);
        before.retain(there);
        before
    });
    let Some(path) = found else {
        return false;
    };
    let span = definition.nodes[path[0]].name.span;
    let names = path.iter().map(|node| &definition.nodes[*node].name.value);
    let path = names.cloned().collect();
    let help = "take one of these sources, cases or `after` away: data flows in one direction";
    problems.add(span, ProblemKind::Cycle { path }, Some(help.to_owned()));
    true
}

/// What the names of a file mean, and what was found so far.
struct Checker<'r> {
    problems: Problems,
    source: &'r SourceText,
    raw: &'r RawDefinition,
    /// By name, places in the file.
    nodes: FxHashMap<&'r str, usize>,
    inputs: FxHashMap<&'r str, usize>,
    constants: FxHashMap<&'r str, usize>,
    /// By place in the file: outputs by name, each with its number and kind.
    outputs: Vec<FxHashMap<&'r str, (usize, Kind)>>,
    /// By place in the file: the other workflow that a node stands for.
    inner: Vec<Option<Rc<Definition>>>,
    /// By place in the file: what the inputs of that other workflow are given, and where its constants went.
    given: Vec<Option<Vec<Given>>>,
    inner_constants: Vec<Vec<u16>>,
    ends: Vec<Ends>,
    /// By place in the file: the place in the definition, of another workflow that of its first node.
    places: Vec<usize>,
    pool: Pool,
    used: warnings::Used,
    /// Nodes whose failures something reads, by places in the file.
    failures_read: FxHashSet<usize>,
    /// The same of nodes that stand for other workflows.
    failures: Failures,
    steps: usize,
    /// By place in the file: what a node runs over, once that is known.
    overs: Vec<Option<Over>>,
    /// By place in the file: the place of its own region, then those of the workflow that it stands for.
    regions_at: Vec<usize>,
    /// Regions, in the order of the nodes.
    regions: Vec<Region>,
    links: Vec<Link>,
    gathered: Vec<Gathered>,
}

impl<'r> Checker<'r> {
    fn new(
        problems: Problems,
        source: &'r SourceText,
        raw: &'r RawDefinition,
        files: &mut Files<'_>,
    ) -> Self {
        let nodes = raw
            .nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (node.name.value.as_str(), index));
        let inputs = raw
            .inputs
            .iter()
            .enumerate()
            .map(|(index, input)| (input.name.value.as_str(), index));
        let constants = raw
            .constants
            .iter()
            .enumerate()
            .map(|(index, (name, _))| (name.value.as_str(), index));
        let mut checker = Self {
            problems,
            source,
            raw,
            nodes: nodes.collect(),
            inputs: inputs.collect(),
            constants: constants.collect(),
            outputs: raw.nodes.iter().map(outputs_of).collect(),
            inner: Vec::new(),
            given: vec![None; raw.nodes.len()],
            inner_constants: vec![Vec::new(); raw.nodes.len()],
            ends: Vec::with_capacity(raw.nodes.len()),
            places: Vec::with_capacity(raw.nodes.len()),
            pool: Pool::default(),
            used: warnings::Used::default(),
            failures_read: FxHashSet::default(),
            failures: Failures::default(),
            steps: 0,
            overs: vec![None; raw.nodes.len()],
            regions_at: Vec::with_capacity(raw.nodes.len()),
            regions: Vec::new(),
            links: Vec::new(),
            gathered: Vec::new(),
        };
        let (mut place, mut regions) = (0, 0);
        for node in &raw.nodes {
            let inner = match &node.work {
                RawWork::Workflow(path) => checker.other(path, files),
                _ => None,
            };
            let before = usize::from(has_range(node.foreach.as_ref()));
            checker.places.push(place + before);
            let ends = match &inner {
                Some(inner) => Ends::of(inner, before),
                None => Ends::of_one(before),
            };
            checker.regions_at.push(regions);
            regions += usize::from(node.foreach.is_some());
            regions += inner.as_ref().map_or(0, |inner| inner.regions.len());
            place += inner.as_ref().map_or(1, |inner| inner.nodes.len()) + before;
            checker.inner.push(inner);
            checker.ends.push(ends);
            if place > NODES_MAX {
                break;
            }
        }
        checker.failures = Failures::behind(place);
        if place > NODES_MAX || raw.nodes.len() > NODES_MAX {
            let place = place.max(raw.nodes.len());
            let what = "the workflow's nodes".to_owned();
            checker.too_many(raw.workflow.span, what, place, NODES_MAX);
        }
        checker
    }

    fn too_many(&mut self, span: Span, what: String, count: usize, limit: usize) {
        let help = Some("part the workflow in two".to_owned());
        self.problems
            .add(span, ProblemKind::Count { what, count, limit }, help);
    }

    fn counts(&mut self) {
        let raw = self.raw;
        let mut limit = |what: String, count: usize, span: Span| {
            if count > PLACES_MAX {
                self.too_many(span, what, count, PLACES_MAX);
            }
        };
        let workflow = raw.workflow.span;
        limit(
            "the workflow's inputs".to_owned(),
            raw.inputs.len(),
            workflow,
        );
        limit(
            "the workflow's outputs".to_owned(),
            raw.outputs.len(),
            workflow,
        );
        let executables = raw.nodes.iter().filter_map(|node| match &node.work {
            RawWork::Function(function) => Some(function.value.executable.as_str()),
            _ => None,
        });
        let executables: FxHashSet<&str> = executables.collect();
        limit(
            "the workflow's executables".to_owned(),
            executables.len() + 1,
            workflow,
        );
        for node in &raw.nodes {
            let (name, span) = (&node.name.value, node.name.span);
            let outputs = match &node.work {
                RawWork::Compute(formulas) => formulas.len(),
                _ => node.outputs.len(),
            };
            limit(format!("the inputs of `{name}`"), node.inputs.len(), span);
            limit(format!("the outputs of `{name}`"), outputs + 1, span);
        }
    }

    /// All nodes, by their places in the definition, and whether each is there: in the place of one in which something is
    /// wrong stands one that waits for nothing.
    fn nodes(&mut self) -> (Vec<Node>, bool) {
        let mut nodes: Vec<Node> = Vec::new();
        let mut all = true;
        for (index, raw) in self.raw.nodes.iter().enumerate() {
            let made = match &raw.work {
                RawWork::Workflow(path) => self.inlined(index, path.span),
                _ => self.node(index),
            };
            let end = self.places[index] + self.width(index);
            match made {
                Some(made) => nodes.extend(made),
                None => {
                    all = false;
                    nodes.resize(end, node::plain(raw.name.clone()));
                }
            }
        }
        (nodes, all)
    }

    /// How many nodes of the definition stand for one of the file, but for the one that counts for it.
    fn width(&self, index: usize) -> usize {
        self.inner[index]
            .as_ref()
            .map_or(1, |inner| inner.nodes.len())
    }

    /// What is wrong, and besides a circle of nodes in which nothing is: that it is one, no correction of others changes.
    fn wrong(self, mut nodes: Vec<Node>) -> DefinitionError {
        let lists: Vec<_> = (0..self.places.len())
            .filter_map(|index| Some((self.places[index], self.list_from(index)?)))
            .collect();
        let Self {
            mut problems,
            source,
            raw,
            ..
        } = self;
        debug_assert!(problems.any(), "what is wrong has been told");
        // Regions are whole only if each node has made its own; that a node waits for its list can be said without.
        for node in &mut nodes {
            node.region = None;
        }
        for (place, list) in lists {
            nodes[place].after.push(list);
        }
        let definition = Definition {
            source: source.clone(),
            workflow: raw.workflow.clone(),
            inputs: Vec::new(),
            constants: Vec::new(),
            regions: Vec::new(),
            nodes,
            outputs: Vec::new(),
            timeout_ms: None,
            store: raw.store,
            files: Vec::new(),
            warnings: Vec::new(),
        };
        circle(&definition, &mut problems);
        problems.into_error()
    }

    fn workflow_input(&mut self, raw: &super::raw::RawInput) -> Option<WorkflowInput> {
        let default = match &raw.default {
            Some(default) => Some(self.constant_of(raw.kind, default)?.value),
            None => None,
        };
        if let (Some(place), Some(given)) = (default, &raw.default)
            && let Some(exceeded) = self.exceeded(place, raw.maximum)
        {
            let kind = ProblemKind::AboveMaximum {
                what: format!("the default of input `{}`", raw.name.value),
                exceeded: exceeded.to_string(),
            };
            let help = "declare more, or give a smaller default";
            self.problems.add(given.span, kind, Some(help.to_owned()));
            return None;
        }
        Some(WorkflowInput {
            name: raw.name.clone(),
            kind: raw.kind,
            default,
            optional: raw.optional,
            maximum: raw.maximum,
        })
    }

    /// What a constant exceeds of a maximum.
    fn exceeded(&self, constant: u16, maximum: Maximum) -> Option<Exceeded> {
        let mut before = 0;
        let items = &self.pool.constants[usize::from(constant)].items;
        (0..).zip(items).find_map(|(place, item)| {
            let bytes = item.len() as u64;
            let exceeded = match maximum.items {
                u64::MAX if maximum.total_bytes == u64::MAX => maximum.exceeded(0, 0, bytes),
                _ => maximum.exceeded(place, before, bytes),
            };
            before += bytes;
            exceeded
        })
    }

    fn workflow_output(
        &mut self,
        name: &Spanned<String>,
        binding: &super::raw::RawBinding,
    ) -> Option<WorkflowOutput> {
        let bound = self.bind(binding, None, "among the workflow's outputs", None)?;
        self.no_store(binding, "an output of the workflow")?;
        let from = self.flatten(&bound.symbols)?;
        let what = format!("output `{}`", name.value);
        self.presence(&from, binding.optional, binding.span, &what)?;
        Some(WorkflowOutput {
            name: name.clone(),
            kind: bound.kind,
            from,
            optional: binding.optional,
        })
    }
}

/// The outputs of a node, by name.
fn outputs_of(node: &RawNode) -> FxHashMap<&str, (usize, Kind)> {
    let declared = node.declared().into_iter().enumerate();
    let outputs = declared.map(|(place, (name, kind))| (name.value.as_str(), (place, kind)));
    outputs.collect()
}

/// Whether a node runs over whole numbers, which a node before it then counts.
fn has_range(foreach: Option<&RawForeach>) -> bool {
    matches!(
        foreach,
        Some(RawForeach {
            over: RawOver::Range(_),
            ..
        })
    )
}

const fn described(kind: Kind) -> &'static str {
    match kind {
        Kind::Bytes => "bytes",
        Kind::List => "a list",
        Kind::Value => "a value",
    }
}
