//! The nodes of a random workflow.

use super::{Draft, Failures, Timeouts};
use crate::random::Random;
use crate::workflow::returned;
use engine::plan::{
    Declaration, ErrorClass, ErrorMatch, Formula, Gate, InputPlan, Join, NodeId, NodePlan,
    RegionPlan, Retry, Source, Work,
};
use faasstore::binding::Kind;

/// Names that errors of simulated functions begin with.
pub const ERROR_NAMES: [&str; 2] = ["Full", "Odd"];
/// In a thousand functions that could run over a list: those that do; and of those that race.
const FOREACH: u32 = 350;
const FOREACH_OFTEN: u32 = 600;
/// In-edges of a join of some at most: the reference tries all of their subsets.
const JOIN_EDGES_MAX: usize = 8;

impl Draft<'_> {
    /// Adds one node, or a few that belong together; no more than `room`.
    pub(super) fn grow(&mut self, room: usize) {
        let handled = self.shape.failures == Failures::Handled;
        if room >= 3 && handled && self.random.chance(120) {
            self.race(room);
            return;
        }
        let node = match self.random.below(100) {
            0..14 => self.switch(),
            14..24 => self.computing(),
            24..31 => self.waiting(),
            _ => self.function(FOREACH),
        };
        self.add(node);
    }

    fn add(&mut self, mut node: NodePlan) -> NodeId {
        let id = self.workflow.nodes.len() as NodeId;
        node.id = id;
        let cases = (0..node.work.cases() as u16).map(|case| Gate::Case { node: id, case });
        let catches = (0..node.catches.len() as u16).map(|catch| Gate::Catch { node: id, catch });
        if node.region.is_none() {
            self.gates.extend(cases.chain(catches));
        }
        self.workflow.nodes.push(node);
        id
    }

    /// A few nodes that nobody but a join of some waits for: their failures are tolerated.
    fn race(&mut self, room: usize) {
        let runners = self.random.between(2, 4.min(room - 1));
        let mut join = self.blank();
        for number in 0..runners {
            let mut runner = self.function(FOREACH_OFTEN);
            runner.catches.clear();
            if let Some(output) = runner.error_output.take() {
                runner.outputs.truncate(usize::from(output));
            }
            let foreach = runner.region.is_some();
            let first = runner.outputs.first().map(|output| output.kind);
            let id = self.add(runner);
            self.reserved.insert(id);
            let Some(kind) = first else {
                join.after.push(id);
                continue;
            };
            let kind = if foreach { Kind::List } else { kind };
            let source = Source::Output {
                node: id,
                output: 0,
            };
            join.inputs
                .push(InputPlan::new(format!("a{number}"), kind, source));
        }
        join.join = Join::AtLeast(self.random.between(1, runners) as u32);
        join.outputs = returned(&[Kind::Bytes]);
        self.add(join);
    }

    /// A function that reads and returns nothing.
    fn blank(&mut self) -> NodePlan {
        let executable = self.random.below(self.workflow.scales.len()) as u16;
        let id = self.workflow.nodes.len();
        NodePlan {
            work: Work::Function {
                executable,
                function: format!("f{id}"),
                arguments: Vec::new(),
            },
            ..NodePlan::default()
        }
    }

    /// A function, of a thousand so many a foreach if there is a list.
    fn function(&mut self, foreach: u32) -> NodePlan {
        let mut node = self.blank();
        let sources = self.sources(self.reach);
        if self.random.chance(foreach) {
            self.foreach(&mut node, &sources);
        }
        let mut first = Vec::new();
        if !sources.is_empty() {
            let width = self.random.pick(&[0, 1, 1, 1, 2, 2, 3, 9]);
            first.extend((0..width).map(|_| self.random.pick(&sources)));
        }
        let errors = self.error_sources(&sources);
        if !errors.is_empty() && self.random.chance(350) {
            first.push(self.random.pick(&errors));
        }
        if let Some(region) = node.region {
            let list = self.workflow.regions[usize::from(region)].list;
            let items = self.random.pick(&[0, 1, 1, 1, 2]);
            first.extend((0..items).map(|_| Source::Item { up: 0 }));
            if self.random.chance(100) {
                first.push(list);
            }
        }
        node.inputs = (0..)
            .zip(first)
            .map(|(number, first)| self.input(number, &sources, first, node.region))
            .collect();
        let kinds: &[Kind] = match node.region {
            Some(_) => &[Kind::Bytes, Kind::Bytes, Kind::Value],
            None => &[
                Kind::Bytes,
                Kind::List,
                Kind::List,
                Kind::Value,
                Kind::Value,
            ],
        };
        let width = self.random.pick(&[0, 1, 1, 1, 2, 3]);
        let kinds: Vec<Kind> = (0..width).map(|_| self.random.pick(kinds)).collect();
        node.outputs = returned(&kinds);
        node.retry = self.retry();
        let timed = self.shape.timeouts == Timeouts::Sometimes && self.random.chance(400);
        node.timeout_ms = timed.then(|| self.random.between(1, 20) as u32);
        self.edges(&mut node);
        self.catches(&mut node);
        node
    }

    fn foreach(&mut self, node: &mut NodePlan, sources: &[Source]) {
        let lists = self.lists(sources);
        if lists.is_empty() {
            return;
        }
        let mut region = RegionPlan {
            parent: None,
            list: self.random.pick(&lists),
            batch: None,
            parallelism: None,
        };
        if self.random.chance(300) {
            region.batch = Some(self.random.between(1, 4) as u32);
        }
        if self.random.chance(300) {
            region.parallelism = Some(self.random.between(1, 3) as u32);
        }
        node.region = Some(self.workflow.regions.len() as u16);
        self.workflow.regions.push(region);
    }

    fn retry(&mut self) -> Retry {
        let attempts = self.random.between(1, self.shape.attempts_max as usize) as u32;
        Retry {
            attempts,
            backoff_ms: self.random.pick(&[0, 0, 1, 7]),
            factor_percent: self.random.pick(&[100, 150, 200, 200, 1000]),
            backoff_max_ms: self.random.pick(&[3, 10, 60_000]),
            jitter_percent: self.random.pick(&[0, 0, 50, 100]),
            on: match self.random.chance(600) {
                true => Vec::new(),
                false => self.matches(),
            },
        }
    }

    fn matches(&mut self) -> Vec<ErrorMatch> {
        let one = |random: &mut Random| match random.chance(400) {
            true => ErrorMatch::Named(random.pick(&ERROR_NAMES).to_owned()),
            false => ErrorMatch::Class(random.pick(&ErrorClass::ALL)),
        };
        let count = self.random.between(1, 3);
        (0..count).map(|_| one(self.random)).collect()
    }

    /// Values that its expressions may name.
    fn values(&mut self, node: &mut NodePlan) {
        let mut sources = self.sources(usize::MAX);
        sources.retain(|source| self.workflow.kind_of(*source, None) == Kind::Value);
        if sources.is_empty() {
            return;
        }
        for number in 0..self.random.pick(&[0, 1, 1, 2, 3]) {
            let first = self.random.pick(&sources);
            let input = self.input(number, &sources, first, None);
            node.inputs.push(input);
        }
    }

    fn switch(&mut self) -> NodePlan {
        let conditions = self.random.between(1, 3);
        let mut node = NodePlan {
            work: Work::Switch {
                conditions: (0..conditions).map(|n| format!("{n} == 0")).collect(),
                default: self.random.chance(600),
            },
            ..NodePlan::default()
        };
        self.values(&mut node);
        self.edges(&mut node);
        self.catches(&mut node);
        node
    }

    fn computing(&mut self) -> NodePlan {
        let mut node = NodePlan::default();
        let mut kinds = Vec::new();
        let mut formulas = Vec::new();
        for _ in 0..self.random.between(1, 2) {
            let value = || Formula::Value("[1, 2]".to_owned());
            let range = || Formula::Range {
                from: "0".to_owned(),
                to: "3".to_owned(),
            };
            let (kind, formula) = match self.random.below(3) {
                0 => (Kind::Value, value()),
                1 => (Kind::List, value()),
                _ => (Kind::List, range()),
            };
            kinds.push(kind);
            formulas.push(formula);
        }
        node.work = Work::Compute(formulas);
        node.outputs = returned(&kinds);
        self.values(&mut node);
        self.edges(&mut node);
        self.catches(&mut node);
        node
    }

    /// A node that only waits: for others, for a time, or for both.
    fn waiting(&mut self) -> NodePlan {
        let mut node = NodePlan::default();
        self.edges(&mut node);
        if self.random.chance(500) {
            node.delay_ms = self.random.between(1, 4) as u32;
        }
        node
    }

    /// Edges that carry nothing, how it joins, and what it waits before it starts.
    fn edges(&mut self, node: &mut NodePlan) {
        let often = match node.work {
            Work::Nothing => 300,
            _ => 80,
        };
        for producer in 0..self.workflow.nodes.len() as NodeId {
            let free = !self.reserved.contains(&producer);
            if free && node.after.len() < 3 && self.random.chance(often) {
                node.after.push(producer);
            }
        }
        if !self.gates.is_empty() && self.random.chance(350) {
            for _ in 0..self.random.pick(&[1, 1, 1, 2]) {
                let gate = self.random.pick(&self.gates);
                if !node.gates.contains(&gate) {
                    node.gates.push(gate);
                }
            }
        }
        if self.random.chance(60) {
            node.delay_ms = self.random.between(1, 4) as u32;
        }
        let nodes = &self.workflow.nodes;
        let edges = node.flow_edges(|producer| nodes[producer as usize].error_output);
        if (1..=JOIN_EDGES_MAX).contains(&edges.len()) && self.random.chance(180) {
            let some = self.random.between(1, edges.len());
            let needed = if self.random.chance(400) { 1 } else { some };
            node.join = Join::AtLeast(needed as u32);
        }
    }

    fn catches(&mut self, node: &mut NodePlan) {
        let handled = self.shape.failures == Failures::Handled;
        if !handled || !self.random.chance(300) {
            return;
        }
        for _ in 0..self.random.between(1, 2) {
            let these = match self.random.chance(500) {
                true => Vec::new(),
                false => self.matches(),
            };
            node.catches.push(these);
        }
        if self.random.chance(600) {
            node.error_output = Some(node.outputs.len() as u16);
            node.outputs.push(Declaration {
                name: "error".to_owned(),
                kind: Kind::Value,
            });
        }
    }
}
