//! The nodes of a random workflow.

use super::{Draft, Timeouts};
use crate::random::Random;
use crate::workflow::returned;
use engine::plan::{
    Declaration, Delay, DelayExpression, ErrorClass, ErrorMatch, Formula, Gate, InputPlan, Join,
    NodeId, NodePlan, RegionPlan, Retry, Source, Work,
};
use faasstore::binding::Kind;

/// Names that errors of simulated functions begin with.
pub const ERROR_NAMES: [&str; 2] = ["Full", "Odd"];
/// In a thousand times that a node is added: that a region is instead; and the same of what races.
const FOREACH: u32 = 260;
const FOREACH_OFTEN: u32 = 500;
/// Regions within each other, at most.
const DEPTH_MAX: usize = 3;
/// In-edges of a join of some at most: the reference tries all of their subsets.
const JOIN_EDGES_MAX: usize = 8;

impl Draft<'_> {
    /// Adds one node, or a few that belong together; no more than `room`.
    pub(super) fn grow(&mut self, room: usize) {
        if room >= 3 && self.random.chance(120) {
            self.race(room);
            return;
        }
        if room >= 3 && self.random.chance(120) {
            self.fork(room);
            return;
        }
        if self.random.chance(FOREACH) && self.enter_region() {
            let around = self.workflow.around(self.region, 1);
            let nodes = self.random.pick(&[1, 1, 2, 3, 3, 5]).min(room);
            let first = self.workflow.nodes.len();
            while self.workflow.nodes.len() < first + nodes {
                self.grow(first + nodes - self.workflow.nodes.len());
            }
            self.region = around;
            return;
        }
        let node = match self.random.below(100) {
            0..14 => self.switch(),
            14..24 => self.computing(),
            24..31 => self.waiting(),
            _ => self.function(),
        };
        self.add(node);
    }

    /// Further nodes are part of a new region, if there is a list for one.
    fn enter_region(&mut self) -> bool {
        let mut sources = self.sources(self.reach);
        // What is made for the same item, and batches of items, make lists within lists.
        let depth = self.workflow.depth(self.region);
        let in_items = |source: &Source| match source {
            Source::Output { node, .. } => self.workflow.nodes[*node as usize].region.is_some(),
            _ => false,
        };
        // What another region has gathered is run over, too.
        if depth == 0 && sources.iter().any(in_items) && self.random.chance(700) {
            sources.retain(in_items);
        } else if depth > 1 || !self.random.chance(200) {
            let region = self.region;
            let own = |source: &Source| match source {
                Source::Output { node, .. } => self.workflow.nodes[*node as usize].region == region,
                _ => region.is_none(),
            };
            sources.retain(own);
        }
        sources.extend(self.items());
        let lists = self.lists(&sources);
        if lists.is_empty() || depth == DEPTH_MAX {
            return false;
        }
        let mut region = RegionPlan {
            parent: self.region,
            list: self.random.pick(&lists),
            batch: None,
            parallelism: None,
            part: None,
        };
        if self.random.chance(300) {
            region.batch = Some(self.random.between(1, 4) as u32);
        }
        if self.random.chance(300) {
            region.parallelism = Some(self.random.between(1, 3) as u32);
        }
        self.region = Some(self.workflow.regions.len() as u16);
        self.workflow.regions.push(region);
        true
    }

    fn add(&mut self, mut node: NodePlan) -> NodeId {
        let id = self.workflow.nodes.len() as NodeId;
        (node.id, node.region) = (id, self.region);
        let list = self
            .region
            .map(|region| self.workflow.regions[usize::from(region)].list);
        let by_node = matches!(list, Some(Source::Output { .. }));
        node.over_list = by_node && self.random.chance(500);
        let cases = (0..node.work.cases() as u16).map(|case| Gate::Case { node: id, case });
        let catches = (0..node.catches.len() as u16).map(|catch| Gate::Catch { node: id, catch });
        self.gates.extend(cases.chain(catches));
        self.workflow.nodes.push(node);
        id
    }

    /// A few nodes that nobody but a join of some waits for: their failures are tolerated.
    fn race(&mut self, room: usize) {
        let runners = self.random.between(2, 4.min(room - 1));
        let mut join = self.blank();
        let around = self.region;
        // The last of them and the join may run for each of some items, and the others once for all of these.
        let inward = self.random.chance(600);
        for number in 0..runners {
            if inward && number + 1 == runners {
                self.enter_region();
            }
            let around = self.region;
            let foreach = self.random.chance(FOREACH_OFTEN) && self.enter_region();
            let runner = self.uncaught();
            let first = runner.outputs.first().map(|output| output.kind);
            let seen = first.filter(|kind| !foreach || *kind != Kind::List);
            let id = self.add(runner);
            self.reserved.insert(id);
            self.region = around;
            let Some(kind) = seen else {
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
        self.region = around;
    }

    /// A function, a switch on what it says, and what runs for each case: a lane prepares for that ahead.
    fn fork(&mut self, room: usize) {
        let mut maker = self.uncaught();
        maker.outputs = returned(&[Kind::Value, Kind::Bytes]);
        let maker = self.add(maker);
        let made = |output| Source::Output {
            node: maker,
            output,
        };
        let conditions = self.random.between(1, 3);
        let switch = NodePlan {
            work: Work::Switch {
                conditions: (0..conditions).map(|n| format!("{n} == 0")).collect(),
                default: self.random.chance(600),
            },
            inputs: vec![InputPlan::new("a0".to_owned(), Kind::Value, made(0))],
            ..NodePlan::default()
        };
        let node = self.add(switch);
        let cases = self.workflow.nodes[node as usize].work.cases() as u16;
        let mut room = room - 2;
        if room > 1 && self.random.chance(200) {
            // It may start before what the switch chooses.
            let mut join = self.blank();
            join.after = vec![node];
            let earlier = self.random.below(maker as usize + 1) as NodeId;
            if !self.reserved.contains(&earlier) {
                join.after.push(earlier);
            }
            join.join = Join::AtLeast(1);
            self.add(join);
            room -= 1;
        }
        for case in (0..cases).take(room) {
            let mut branch = self.blank();
            let mut sources = vec![made(0), made(1)];
            if self.random.chance(200) {
                sources.extend(self.sources(self.reach));
            }
            for number in 0..self.random.pick(&[0, 1, 1, 2]) {
                let first = self.random.pick(&sources);
                let input = self.input(number, &sources, first);
                branch.inputs.push(input);
            }
            branch.outputs = returned(&[Kind::Bytes]);
            branch.gates.push(Gate::Case { node, case });
            if self.random.chance(100) {
                branch.after.push(node);
            }
            self.add(branch);
        }
    }

    /// A function whose failures nobody takes.
    fn uncaught(&mut self) -> NodePlan {
        let mut node = self.function();
        node.catches.clear();
        if let Some(output) = node.error_output.take() {
            node.outputs.truncate(usize::from(output));
        }
        node
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

    /// A function.
    fn function(&mut self) -> NodePlan {
        let mut node = self.blank();
        let mut sources = self.sources(self.reach);
        let errors = self.error_sources(&sources);
        if self.random.chance(500) {
            sources = self.of_the_item(&sources);
        }
        let mut first = Vec::new();
        if !sources.is_empty() {
            let width = self.random.pick(&[0, 1, 1, 1, 2, 2, 3, 9]);
            first.extend((0..width).map(|_| self.random.pick(&sources)));
        }
        if !errors.is_empty() && self.random.chance(500) {
            first.push(self.random.pick(&errors));
        }
        let is_first = |source: &Source| matches!(source, Source::First { .. });
        let firsts: Vec<Source> = sources.iter().copied().filter(is_first).collect();
        if !firsts.is_empty() && self.random.chance(300) {
            first.push(self.random.pick(&firsts));
        }
        let items = self.items();
        if !items.is_empty() {
            let count = self.random.pick(&[0, 1, 1, 1, 2]);
            first.extend((0..count).map(|_| self.random.pick(&items)));
        }
        node.inputs = (0..)
            .zip(first)
            .map(|(number, first)| self.input(number, &sources, first))
            .collect();
        let kinds = [
            Kind::Bytes,
            Kind::List,
            Kind::List,
            Kind::Value,
            Kind::Value,
        ];
        let width = self.random.pick(&[0, 1, 1, 1, 2, 3]);
        let kinds: Vec<Kind> = (0..width).map(|_| self.random.pick(&kinds)).collect();
        node.outputs = returned(&kinds);
        node.retriers = self.retriers();
        let timed = self.shape.timeouts == Timeouts::Sometimes && self.random.chance(400);
        node.timeout_ms = timed.then(|| self.random.between(1, 20) as u32);
        self.edges(&mut node);
        self.catches(&mut node);
        node
    }

    /// None, one, or several, of which mostly the last alone takes everything.
    fn retriers(&mut self) -> Vec<Retry> {
        let count = self.random.pick(&[0, 1, 1, 2, 2, 3, 3, 3]);
        let all = |left: usize| if left == 1 { 600 } else { 100 };
        let left = (1..=count).rev();
        let mut retriers: Vec<Retry> = left.map(|left| self.retry(all(left))).collect();
        // One activation is to meet several of them.
        if count > 1 && self.random.chance(850) {
            for retry in &mut retriers {
                retry.attempts = self.shape.attempts_max;
            }
        }
        retriers
    }

    /// One that takes everything in `all` of a thousand times.
    fn retry(&mut self, all: u32) -> Retry {
        let attempts = self.random.between(1, self.shape.attempts_max as usize) as u32;
        Retry {
            attempts,
            backoff_ms: self.random.pick(&[0, 0, 1, 7]),
            factor_percent: self.random.pick(&[100, 150, 200, 200, 1000]),
            backoff_max_ms: self.random.pick(&[3, 10, 60_000]),
            jitter_percent: self.random.pick(&[0, 0, 50, 100]),
            on: match self.random.chance(all) {
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

    /// Values that expressions may name, and lists of them, as the items of a batch are.
    fn values(&mut self) -> Vec<InputPlan> {
        let mut sources = self.sources(usize::MAX);
        let lists = self.random.chance(300);
        sources.retain(|source| match self.workflow.kind_of(*source, self.region) {
            Kind::Value => true,
            Kind::List => lists,
            Kind::Bytes => false,
        });
        let items = self.items();
        sources.extend(&items);
        let mut values = Vec::new();
        if sources.is_empty() {
            return values;
        }
        for number in 0..self.random.pick(&[0, 1, 1, 2, 3]) {
            // What differs from item to item is decided item by item.
            let first = match items.is_empty() || self.random.chance(500) {
                true => self.random.pick(&sources),
                false => self.random.pick(&items),
            };
            let mut input = self.input(number, &sources, first);
            if input.kind == Kind::Bytes {
                input.kind = Kind::Value;
            }
            values.push(input);
        }
        values
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
        node.inputs = self.values();
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
        node.inputs = self.values();
        self.edges(&mut node);
        self.catches(&mut node);
        node
    }

    /// A node that only waits: for others, for a time, or for both.
    fn waiting(&mut self) -> NodePlan {
        let mut node = NodePlan::default();
        if self.random.chance(500) {
            node.delays = self.delays();
        }
        self.edges(&mut node);
        if node.delays.iter().any(|delay| delay.expression().is_some()) {
            self.catches(&mut node);
        }
        node
    }

    /// Waits, one after the other: fixed, or as expressions say.
    fn delays(&mut self) -> Vec<Delay> {
        let count = self.random.pick(&[1, 1, 1, 1, 2, 3]);
        let mut delays = Vec::new();
        for _ in 0..count {
            let expression = |text: &str, inputs| DelayExpression {
                text: text.to_owned(),
                inputs,
            };
            delays.push(match self.random.below(10) {
                0..4 => Delay::Fixed(self.random.between(1, 4) as u32),
                4..7 => Delay::Computed(expression("1", self.values())),
                _ => Delay::Until(expression("'2030-01-01T00:00:00Z'", self.values())),
            });
        }
        delays
    }

    /// Edges that carry nothing, how it joins, and what it waits before it starts.
    fn edges(&mut self, node: &mut NodePlan) {
        let often = match node.work {
            Work::Nothing => 300,
            _ => 80,
        };
        for producer in 0..self.workflow.nodes.len() as NodeId {
            // In whichever region it lies, with how many around it.
            let free = !self.reserved.contains(&producer);
            if free && node.after.len() < 3 && self.random.chance(often) {
                node.after.push(producer);
            }
        }
        let mut gates = self.gates.clone();
        // Mostly one that is decided once for it; now and then one that is so for each of some items.
        if self.random.chance(550) {
            gates.retain(|gate| {
                let of = self.workflow.nodes[gate.node() as usize].region;
                self.workflow.holds(of, self.region)
            });
        }
        if !gates.is_empty() && self.random.chance(350) {
            for _ in 0..self.random.pick(&[1, 1, 1, 2]) {
                let gate = self.random.pick(&gates);
                if !node.gates.contains(&gate) {
                    node.gates.push(gate);
                }
            }
        }
        if node.delays.is_empty() && self.random.chance(60) {
            node.delays = self.delays();
        }
        let edges = self.workflow.flow_edges_into(node);
        if (1..=JOIN_EDGES_MAX).contains(&edges.len()) && self.random.chance(180) {
            let some = self.random.between(1, edges.len());
            let needed = if self.random.chance(400) { 1 } else { some };
            node.join = Join::AtLeast(needed as u32);
        }
    }

    fn catches(&mut self, node: &mut NodePlan) {
        // More often in regions, outside of which what failed is heard of too.
        let often = if self.region.is_some() { 450 } else { 300 };
        if !self.random.chance(often) {
            return;
        }
        for _ in 0..self.random.between(1, 2) {
            let these = match self.random.chance(500) {
                true => Vec::new(),
                false => self.matches(),
            };
            node.catches.push(these);
        }
        if self.random.chance(700) {
            node.error_output = Some(node.outputs.len() as u16);
            node.outputs.push(Declaration {
                name: "error".to_owned(),
                kind: Kind::Value,
            });
        }
    }
}
