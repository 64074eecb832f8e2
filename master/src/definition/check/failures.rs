//! What fails in another workflow: the catches of the node that stands for it, and what says what failed.
//!
//! A catch of such a node stands at each node of the other workflow, behind the catches that this has itself. What failed is
//! the first, in the order of the other file, of what those nodes say. A node computes that, so that it is one output: within
//! the items of a region of the other file one of its own, of whose list the one around it takes the first item. Where a node
//! has catches of its own, one more tells their failures from those that are taken here.

use super::Checker;
use super::inline::Ends;
use super::node::plain;
use crate::definition::problem::ProblemKind;
use crate::definition::raw::{RawDelay, RawNode};
use crate::definition::{
    Catch, Definition, Formula, From, Node, NodeInput, Port, Span, Spanned, Work,
};
use engine::plan::EdgeStore;
use engine::plan_check::CASES_MAX;
use faasstore::binding::{Kind, Maximum};
use rustc_hash::FxHashMap;

/// What the nodes that say what failed call it.
pub(super) const ERROR: &str = "error";

/// The failures of other workflows that something reads.
#[derive(Default)]
pub(super) struct Failures {
    /// The nodes that stand for these workflows, by their places in the file, in the order in which they were first read.
    read: Vec<usize>,
    /// For each of them the node that says what failed, by its place in the definition.
    tellers: FxHashMap<usize, usize>,
    /// The place in the definition of the next node that is added.
    next: usize,
}

impl Failures {
    /// `nodes` is how many nodes the definition has without those that say what failed.
    pub(super) fn behind(nodes: usize) -> Self {
        Self {
            next: nodes,
            ..Self::default()
        }
    }

    /// Notes that something reads what failed in the workflow that a node stands for, the first to do so.
    pub(super) fn read(&mut self, index: usize, failing: &Failing) {
        self.read.push(index);
        self.next += failing.tellers();
        self.tellers.insert(index, self.next - 1);
    }

    /// The node that says what failed in the workflow that a node stands for, by its place in the definition.
    pub(super) fn teller(&self, index: usize) -> Option<usize> {
        self.tellers.get(&index).copied()
    }
}

/// The nodes of another workflow whose failures may leave it.
pub(super) struct Failing {
    /// Their places there, in their order.
    pub(super) nodes: Vec<usize>,
    /// How many of them have catches of their own.
    catching: usize,
    /// The regions there that hold any of them.
    regions: Vec<usize>,
}

impl Failing {
    /// Those of `inner`, for which `raw` stands.
    pub(super) fn of(raw: &RawNode, inner: &Definition, ends: &Ends) -> Self {
        let mut waits = vec![false; inner.nodes.len()];
        if let RawDelay::Computed(_) | RawDelay::Until(_) = raw.delay {
            ends.first.iter().for_each(|node| waits[*node] = true);
        }
        let fails = |node: &Node| {
            let works = !matches!(node.work, Work::Nothing);
            works || node.delays.iter().any(|delay| delay.expression().is_some())
        };
        let takes_all = |node: &Node| node.catches.iter().any(|catch| catch.on.is_empty());
        let nodes = inner.nodes.iter().enumerate();
        let nodes =
            nodes.filter(|(place, node)| (fails(node) || waits[*place]) && !takes_all(node));
        let nodes: Vec<usize> = nodes.map(|(place, _)| place).collect();
        let mut holds = vec![false; inner.regions.len()];
        for region in nodes.iter().flat_map(|node| inner.regions_of(*node)) {
            holds[region] = true;
        }
        Self {
            catching: nodes
                .iter()
                .filter(|node| !inner.nodes[**node].catches.is_empty())
                .count(),
            regions: (0..holds.len()).filter(|region| holds[*region]).collect(),
            nodes,
        }
    }

    /// How many nodes it takes to say what failed.
    fn tellers(&self) -> usize {
        self.catching + self.regions.len() + 1
    }
}

impl Checker<'_> {
    pub(super) fn failing(&self, index: usize, inner: &Definition) -> Failing {
        Failing::of(&self.raw.nodes[index], inner, &self.ends[index])
    }

    /// Lets the catches of a node that stands for another workflow stand at those nodes of it, now at `nodes`, which may
    /// fail.
    pub(super) fn catch_within(
        &mut self,
        index: usize,
        inner: &Definition,
        nodes: &mut [Node],
        span: Span,
    ) -> Option<()> {
        let raw = &self.raw.nodes[index];
        let Some(first) = raw.catches.first() else {
            return Some(());
        };
        let catches: Vec<Option<Catch>> = raw
            .catches
            .iter()
            .map(|catch| self.caught(index, catch))
            .collect();
        let catches: Vec<Catch> = catches.into_iter().collect::<Option<_>>()?;
        let failing = self.failing(index, inner);
        if failing.nodes.is_empty() {
            let kind = ProblemKind::NothingFails {
                workflow: inner.workflow.value.clone(),
            };
            let help = "take `catch` away: what it leads to could never run";
            self.problems.add(first.span, kind, Some(help.to_owned()));
            return None;
        }
        let targets: usize = catches.iter().map(|catch| catch.to.len() + 1).sum();
        for place in failing.nodes {
            self.step(targets, span)?;
            let node = &mut nodes[place];
            node.catches.extend(catches.iter().cloned());
            if node.catches.len() as u64 > CASES_MAX {
                let kind = ProblemKind::Count {
                    what: format!("the catches of `{}`", node.name.value),
                    count: node.catches.len(),
                    limit: CASES_MAX as usize,
                };
                let help = "let fewer catches stand at the nodes around it";
                self.problems.add(span, kind, Some(help.to_owned()));
                return None;
            }
        }
        Some(())
    }

    /// Adds the nodes that say what failed in other workflows, behind all others.
    pub(super) fn tell_failures(&mut self, nodes: &mut Vec<Node>) -> Option<()> {
        for index in std::mem::take(&mut self.failures.read) {
            let inner = self.inner[index].clone()?;
            let failing = self.failing(index, &inner);
            self.tell_failure(index, &inner, &failing, nodes)?;
        }
        Some(())
    }

    fn tell_failure(
        &mut self,
        index: usize,
        inner: &Definition,
        failing: &Failing,
        nodes: &mut Vec<Node>,
    ) -> Option<()> {
        let raw = &self.raw.nodes[index];
        let (name, span) = (format!("{}.{ERROR}", raw.name.value), raw.name.span);
        let base = self.places[index];
        let regions_at = self.regions_at[index] + usize::from(self.has_items(index));
        // By region of the other workflow, and last outside of all: what says what failed there, by the first of the nodes of
        // which it does.
        let mut told: Vec<Vec<(usize, From)>> = vec![Vec::new(); inner.regions.len() + 1];
        let outside = inner.regions.len();
        for place in &failing.nodes {
            let failed = &mut nodes[base + place];
            if failed.error_output.is_none() {
                failed.tells_failure(span);
            }
            let mut from = From::Output {
                node: base + place,
                output: failed.error_output?,
            };
            let own = failed.catches.len() - raw.catches.len();
            if own > 0 {
                let teller = nodes.len();
                let to = Spanned {
                    value: teller,
                    span,
                };
                let taken = &mut nodes[base + place].catches[own..];
                taken.iter_mut().for_each(|catch| catch.to.push(to.clone()));
                let of = &inner.nodes[*place].name.value;
                let region = nodes[base + place].region;
                nodes.push(self.teller(format!("{name}/{of}"), region, vec![from], span)?);
                from = From::Output {
                    node: teller,
                    output: 0,
                };
            }
            let region = inner.nodes[*place].region.unwrap_or(outside);
            told[region].push((*place, from));
        }
        // Those within others come first.
        for region in failing.regions.iter().rev() {
            let (first, sources) = in_order(std::mem::take(&mut told[*region]))?;
            let from = From::First {
                node: nodes.len(),
                output: 0,
            };
            let name = format!("{name}/{}", region + 1);
            nodes.push(self.teller(name, Some(regions_at + region), sources, span)?);
            let around = inner.regions[*region].parent.unwrap_or(outside);
            told[around].push((first, from));
        }
        let (_, sources) = in_order(std::mem::take(&mut told[outside]))?;
        nodes.push(self.teller(name, self.own_region(index), sources, span)?);
        Some(())
    }

    /// A node that says what the first of these sources says.
    fn teller(
        &mut self,
        name: String,
        region: Option<usize>,
        from: Vec<From>,
        span: Span,
    ) -> Option<Node> {
        self.fits_name(&name, span)?;
        self.step(from.len(), span)?;
        let spanned = |value: &str| Spanned {
            value: value.to_owned(),
            span,
        };
        let from = from.into_iter().map(|value| Spanned { value, span });
        Some(Node {
            work: Work::Compute(vec![Formula::Value(spanned(ERROR))]),
            region,
            inputs: vec![NodeInput {
                name: spanned(ERROR),
                kind: Kind::Value,
                from: from.collect(),
                optional: false,
                store: EdgeStore::Workflow,
            }],
            outputs: vec![Port {
                name: spanned(ERROR),
                kind: Kind::Value,
                maximum: Maximum::NONE,
            }],
            ..plain(spanned(&name))
        })
    }
}

/// Sources in the order of the nodes that come first in what they are about, and the first of these.
fn in_order(mut told: Vec<(usize, From)>) -> Option<(usize, Vec<From>)> {
    told.sort_unstable_by_key(|(place, _)| *place);
    let first = told.first()?.0;
    Some((first, told.into_iter().map(|(_, from)| from).collect()))
}
