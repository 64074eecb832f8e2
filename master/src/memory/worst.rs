//! The worst case of an invocation: what its payloads may have in memory at once, on each worker and in all.
//!
//! Scope by scope, from the innermost region outward, everything that may be held has a size, a unit that makes it, and the
//! units after which it is gone. What of that may be there at once is [`Order::most`](super::order::Order::most). A region is
//! one unit of the scope around it: it holds what its items hold, for as many items as run at once, and all that is gathered of
//! it from its begin.

use super::WorstCase;
use super::order::{Held, Order};
use super::sizes::{Plans, Region};
use engine::plan::{Join, NodeId, NodePlan, Participant, Plan, Source};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;

/// What runs in a scope: a node, or a region as a whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Unit {
    Node(NodeId),
    Region(Region),
}

/// Payloads, and where they lie.
struct Placed {
    worker: usize,
    held: Held,
}

/// Something that a node reads, or that leaves its scope.
type Port = (NodeId, u16);

struct Worst<'a> {
    plans: Plans<'a>,
    /// By output: the nodes that read it, those of other workers included.
    readers: FxHashMap<Port, Vec<NodeId>>,
    /// By output: the regions whose list it is.
    lists: FxHashMap<Port, Vec<Region>>,
    /// By input of the workflow, the same two.
    input_readers: FxHashMap<u16, (Vec<NodeId>, Vec<Region>)>,
    /// By node: those that have to end, or to be skipped, before it starts.
    before: FxHashMap<NodeId, Vec<NodeId>>,
    /// Outputs that may be outputs of the workflow.
    left: FxHashSet<Port>,
    /// By region: how many nodes lie in it, those of regions within it included.
    nodes_within: FxHashMap<Region, usize>,
}

/// The worst case by these plans, of which everything is declared.
pub(super) fn worst_case(plans: &[Plan]) -> WorstCase {
    let worst = Worst::new(plans);
    let root = worst.scope(None);
    let anyway = worst.anyway(&root);
    let workers = plans.len();
    let mut by_worker = Vec::with_capacity(workers);
    let mut in_all = 0;
    for entry in 0..workers {
        let with_it = worst.with_entry(&root, entry);
        let all = || anyway.iter().chain(&with_it);
        let here = all().filter(|one| one.worker == entry);
        let here: Vec<Held> = here.map(|one| one.held.clone()).collect();
        by_worker.push(root.order.most(&here));
        if workers <= ENTRIES_MAX {
            let all: Vec<Held> = all().map(|one| one.held.clone()).collect();
            in_all = root.order.most(&all).max(in_all);
        } else {
            let with_it = with_it.iter().map(|one| one.held.bytes);
            in_all = with_it.fold(0, u64::saturating_add).max(in_all);
        }
    }
    if workers > ENTRIES_MAX {
        let anyway: Vec<Held> = anyway.into_iter().map(|one| one.held).collect();
        in_all = in_all.saturating_add(root.order.most(&anyway));
    }
    WorstCase { by_worker, in_all }
}

/// Of more workers than this what comes with an invocation, and what leaves with it, counts in full towards the sum of all.
const ENTRIES_MAX: usize = 16;

/// The units of a scope, and their order.
struct Scope {
    region: Option<Region>,
    numbers: FxHashMap<Unit, u32>,
    units: Vec<Unit>,
    order: Order,
}

impl<'a> Worst<'a> {
    fn new(plans: &'a [Plan]) -> Self {
        let mut worst = Self {
            plans: Plans::new(plans),
            readers: FxHashMap::default(),
            lists: FxHashMap::default(),
            input_readers: FxHashMap::default(),
            before: FxHashMap::default(),
            left: FxHashSet::default(),
            nodes_within: FxHashMap::default(),
        };
        for (at, plan) in plans.iter().enumerate() {
            for node in &plan.nodes {
                for source in node.reads() {
                    worst.read(source, node.id);
                }
                let from = node.reads().filter_map(producer);
                let gates = node.gates.iter().map(|gate| gate.node());
                let all = from.chain(node.after.iter().copied()).chain(gates);
                let all = all.flat_map(|id| worst.plans.made_by(id));
                let all: BTreeSet<NodeId> = all.collect();
                worst.before.insert(node.id, all.into_iter().collect());
                let mut region = node.region.map(|region| (at, region));
                while let Some(one) = region {
                    *worst.nodes_within.entry(one).or_default() += 1;
                    region = worst.plans.around(one);
                }
            }
            for (number, region) in (0..).zip(&plan.regions) {
                worst.runs_over(region.list, (at, number));
            }
        }
        let sources = plans.iter().flat_map(|plan| &plan.outputs);
        for from in sources.flat_map(|output| &output.sources) {
            if let Source::Output { node, output } = from.source {
                worst.left.insert((node, output));
            }
        }
        worst
    }

    fn read(&mut self, source: Source, reader: NodeId) {
        match source {
            Source::Output { node, output } | Source::First { node, output } => {
                for made in self.plans.made_by(node) {
                    self.readers.entry((made, output)).or_default().push(reader);
                }
            }
            Source::Input(input) => {
                let readers = self.input_readers.entry(input).or_default();
                readers.0.push(reader);
            }
            Source::Item { .. } | Source::Constant(_) => {}
        }
    }

    fn runs_over(&mut self, list: Source, region: Region) {
        match list {
            Source::Output { node, output } | Source::First { node, output } => {
                for made in self.plans.made_by(node) {
                    self.lists.entry((made, output)).or_default().push(region);
                }
            }
            Source::Input(input) => {
                let readers = self.input_readers.entry(input).or_default();
                readers.1.push(region);
            }
            Source::Item { .. } | Source::Constant(_) => {}
        }
    }

    /// The unit of a scope that a node is, or lies in; none if it lies elsewhere.
    fn unit_of(&self, scope: Option<Region>, node: NodeId) -> Option<Unit> {
        match self.plans.region_of(node) {
            region if region == scope => Some(Unit::Node(node)),
            Some(region) => self.unit_around(scope, region),
            None => None,
        }
    }

    /// The region of a scope that this one is, or lies in.
    fn unit_around(&self, scope: Option<Region>, region: Region) -> Option<Unit> {
        let mut region = region;
        loop {
            match self.plans.around(region) {
                around if around == scope => return Some(Unit::Region(region)),
                Some(around) => region = around,
                None => return None,
            }
        }
    }

    fn nodes(&self) -> impl Iterator<Item = (usize, &'a NodePlan)> {
        let plans = self.plans.plans.iter().enumerate();
        plans.flat_map(|(at, plan)| plan.nodes.iter().map(move |node| (at, node)))
    }

    /// The units of a scope, and which ends before which begins.
    fn scope(&self, region: Option<Region>) -> Scope {
        let mut units: BTreeSet<Unit> = BTreeSet::new();
        for (_, node) in self.nodes() {
            units.extend(self.unit_of(region, node.id));
        }
        let units: Vec<Unit> = units.into_iter().collect();
        let numbers = units.iter().copied().zip(0..);
        let numbers: FxHashMap<Unit, u32> = numbers.collect();
        let mut edges = Vec::new();
        let mut edge = |first: Option<Unit>, second: Unit| {
            if let Some(first) = first.filter(|first| *first != second) {
                edges.push((numbers[&first], numbers[&second]));
            }
        };
        for (_, node) in self.nodes() {
            let Some(unit) = self.unit_of(region, node.id) else {
                continue;
            };
            // A join of some waits for nobody in particular; a region waits for all that its nodes wait for.
            if unit == Unit::Node(node.id) && node.join != Join::All {
                continue;
            }
            for before in &self.before[&node.id] {
                if self.ends_with_its_region(region, *before) {
                    edge(self.unit_of(region, *before), unit);
                }
            }
        }
        for ((made, _), over) in &self.lists {
            for list in over {
                if let Some(unit) = self.unit_around(region, *list)
                    && self.ends_with_its_region(region, *made)
                {
                    edge(self.unit_of(region, *made), unit);
                }
            }
        }
        Scope {
            order: Order::new(units.len(), edges.into_iter()),
            region,
            numbers,
            units,
        }
    }

    /// Whether what waits for a node, seen from a scope, waits for all of the region of that scope in which the node lies. A
    /// node that cannot run in any item, for what was decided outside, is skipped as a whole when the region begins, and what
    /// waits for it goes on while other nodes run. That can only be if something outside, beside the list, counts for it; and
    /// it says nothing of a region of which no other node is left.
    fn ends_with_its_region(&self, scope: Option<Region>, node: NodeId) -> bool {
        let Some(Unit::Region(region)) = self.unit_of(scope, node) else {
            return true;
        };
        let is_in = |node: NodeId| {
            self.plans
                .is_within(self.plans.region_of(node), Some(region))
        };
        if self.nodes_within[&region] == 1 {
            return true;
        }
        let mut seen: FxHashSet<NodeId> = FxHashSet::from_iter([node]);
        let mut open = vec![node];
        while let Some(one) = open.pop() {
            for before in self.before[&one]
                .iter()
                .copied()
                .chain(self.lists_of(one, region))
            {
                if !is_in(before) {
                    return false;
                }
                if seen.insert(before) {
                    open.push(before);
                }
            }
        }
        true
    }

    /// The nodes that give the lists of the regions in which a node lies, as far as these lie in another one.
    fn lists_of(&self, node: NodeId, outermost: Region) -> Vec<NodeId> {
        let mut region = self.plans.region_of(node);
        let mut from = Vec::new();
        while let Some(one) = region.filter(|one| *one != outermost) {
            let (plan, number) = one;
            let list = self.plans.plans[plan].regions[usize::from(number)].list;
            from.extend(
                producer(list)
                    .into_iter()
                    .flat_map(|id| self.plans.made_by(id)),
            );
            region = self.plans.around(one);
        }
        from
    }

    /// What an invocation may hold outside of all regions, on each worker, whoever takes it.
    fn anyway(&self, scope: &Scope) -> Vec<Placed> {
        let mut all = Vec::new();
        for unit in &scope.units {
            let worker = self.worker_of(*unit);
            let held = self.of_unit(scope, *unit);
            all.extend(held.into_iter().map(|held| Placed { worker, held }));
        }
        let plans = self.plans.plans;
        for plan in plans {
            for node in &plan.nodes {
                for consumer in &node.remote_consumers {
                    for output in &consumer.outputs {
                        let to = usize::from(consumer.worker);
                        all.push(self.landed(scope, (node.id, *output), to));
                    }
                }
            }
        }
        all
    }

    /// What comes with an invocation that a worker takes, and what leaves with it.
    fn with_entry(&self, scope: &Scope, entry: usize) -> Vec<Placed> {
        let mut all = Vec::new();
        self.inputs(scope, entry, &mut all);
        // What the workflow gives comes to the worker that took the invocation: as often as it is named.
        let sources = self.plans.plans[0].outputs.iter();
        let sources = sources.flat_map(|output| &output.sources);
        let comes = sources.filter_map(|from| {
            let Source::Output { node, output } = from.source else {
                return None;
            };
            (self.plans.node(node).0 != entry).then(|| Placed {
                worker: entry,
                held: Held {
                    bytes: self.plans.given(node, output, None).held_bytes,
                    maker: self.number(scope, node),
                    until: None,
                },
            })
        });
        all.extend(comes);
        all
    }

    fn worker_of(&self, unit: Unit) -> usize {
        match unit {
            Unit::Node(node) => self.plans.node(node).0,
            Unit::Region((plan, _)) => plan,
        }
    }

    /// The unit that a node is, or lies in, by its number.
    fn number(&self, scope: &Scope, node: NodeId) -> Option<u32> {
        let unit = self.unit_of(scope.region, node)?;
        scope.numbers.get(&unit).copied()
    }

    /// Who reads an output on a worker, by the units of a scope; `None` of what somebody reads who may start before it is there.
    fn read_by(&self, scope: &Scope, port: Port, worker: usize) -> Option<Vec<u32>> {
        let nodes = self.readers.get(&port).into_iter().flatten();
        let nodes = nodes.filter(|node| self.plans.node(**node).0 == worker);
        let mut units = Vec::new();
        for node in nodes {
            let is_join = self.plans.node(*node).1.join != Join::All;
            if is_join && self.unit_of(scope.region, *node) == Some(Unit::Node(*node)) {
                return None;
            }
            units.extend(self.number(scope, *node));
        }
        let lists = self.lists.get(&port).into_iter().flatten();
        let lists = lists.filter(|region| region.0 == worker);
        let lists = lists.filter_map(|region| self.unit_around(scope.region, *region));
        units.extend(lists.filter_map(|unit| scope.numbers.get(&unit)));
        Some(units)
    }

    /// What another worker sends here, and for whom.
    fn landed(&self, scope: &Scope, port: Port, to: usize) -> Placed {
        let (node, output) = port;
        let sent = &self.plans.node(node).1.remote_consumers;
        let consumer = sent.iter().find(|one| usize::from(one.worker) == to);
        let sections = consumer.map_or(&[][..], |one| &one.sections);
        let size = self.plans.given(node, output, None);
        let bytes = size.section(sections, output);
        let maker = self.number(scope, node);
        let readers = self.read_by(scope, port, to);
        let readers = readers.filter(|units| !units.is_empty());
        let until = readers.map(|mut units| {
            units.extend(maker);
            units
        });
        Placed {
            worker: to,
            held: Held {
                bytes,
                maker,
                until,
            },
        }
    }

    /// Inputs of the workflow: on each worker whose nodes read them, and all on the one that took the invocation.
    fn inputs(&self, scope: &Scope, entry: usize, all: &mut Vec<Placed>) {
        let plan = &self.plans.plans[0];
        let passed_on = |input: u16| {
            let mut sources = plan.outputs.iter().flat_map(|output| &output.sources);
            sources.any(|from| from.source == Source::Input(input))
        };
        let count = plan.inputs.len() as u16;
        for (input, worker) in (0..count)
            .flat_map(|input| (0..self.plans.plans.len()).map(move |worker| (input, worker)))
        {
            let is = |one: &&Participant| usize::from(one.worker) == worker;
            let participant = plan.participants.iter().find(is);
            let reads = participant.filter(|one| one.inputs.contains(&input));
            if reads.is_none() && worker != entry {
                continue;
            }
            let others = plan
                .participants
                .iter()
                .filter(|one| usize::from(one.worker) != entry && one.inputs.contains(&input));
            let size = self.plans.input(input);
            let stays = worker == entry && (passed_on(input) || others.count() > 0);
            let sections = reads.map_or(&[][..], |one| &one.sections);
            let bytes = match worker == entry {
                true => size.held_bytes,
                false => size.section(sections, input),
            };
            let until = match stays {
                true => None,
                false => self.input_read_by(scope, input, worker),
            };
            all.push(Placed {
                worker,
                held: Held {
                    bytes,
                    maker: None,
                    until,
                },
            });
        }
    }

    fn input_read_by(&self, scope: &Scope, input: u16, worker: usize) -> Option<Vec<u32>> {
        let (nodes, regions) = self.input_readers.get(&input)?;
        let nodes = nodes
            .iter()
            .filter(|node| self.plans.node(**node).0 == worker);
        let nodes = nodes.filter_map(|node| self.number(scope, *node));
        let regions = regions.iter().filter(|region| region.0 == worker);
        let regions = regions.filter_map(|region| self.unit_around(scope.region, *region));
        let regions = regions.filter_map(|unit| scope.numbers.get(&unit).copied());
        Some(nodes.chain(regions).collect())
    }

    /// What a unit makes and holds where it runs.
    fn of_unit(&self, scope: &Scope, unit: Unit) -> Vec<Held> {
        let number = scope.numbers[&unit];
        match unit {
            Unit::Node(id) => {
                let (plan, node) = self.plans.node(id);
                let outputs = 0..node.outputs.len() as u16;
                let outputs = outputs.filter(|output| {
                    // What is gathered of a region is counted around it.
                    scope.region.is_none() || !self.is_gathered((id, *output))
                });
                let own = outputs.map(|output| {
                    let bytes = self.plans.held(id, output);
                    self.made(scope, (id, output), number, bytes)
                });
                let tables = Held {
                    bytes: self.plans.tables(plan, node),
                    maker: Some(number),
                    until: Some(vec![number]),
                };
                own.chain([tables]).filter(|held| held.bytes > 0).collect()
            }
            Unit::Region(region) => {
                let (plan, place) = region;
                let count = self.plans.count(region);
                let at_once = self.plans.plans[plan].items_at_once_max(place).min(count);
                let items = Held {
                    bytes: self.item(region).saturating_mul(at_once),
                    maker: Some(number),
                    until: Some(vec![number]),
                };
                let mut all = vec![items];
                let nodes = self.plans.plans[plan].nodes.iter();
                for node in nodes.filter(|node| node.region == Some(place)) {
                    for output in 0..node.outputs.len() as u16 {
                        if !self.is_gathered((node.id, output)) {
                            continue;
                        }
                        let bytes = self.plans.held(node.id, output).saturating_mul(count);
                        all.push(self.made(scope, (node.id, output), number, bytes));
                    }
                }
                all
            }
        }
    }

    /// What one item of a region may hold at once.
    fn item(&self, region: Region) -> u64 {
        let scope = self.scope(Some(region));
        let held = scope
            .units
            .iter()
            .flat_map(|unit| self.of_unit(&scope, *unit));
        scope.order.most(&held.collect::<Vec<_>>())
    }

    /// Whether somebody outside of a node's region reads an output of it.
    fn is_gathered(&self, port: Port) -> bool {
        let region = self.plans.region_of(port.0);
        if region.is_none() {
            return false;
        }
        let outside = |reader: Option<Region>| !self.plans.is_within(reader, region);
        let nodes = self.readers.get(&port).into_iter().flatten();
        let mut nodes = nodes.map(|node| self.plans.region_of(*node));
        let lists = self.lists.get(&port).into_iter().flatten();
        let mut lists = lists.map(|over| self.plans.around(*over));
        self.left.contains(&port) || nodes.any(outside) || lists.any(outside)
    }

    /// An output where it is made.
    fn made(&self, scope: &Scope, port: Port, maker: u32, bytes: u64) -> Held {
        let (plan, node) = self.plans.node(port.0);
        let sent = node.remote_consumers.iter();
        let is_sent = sent.flat_map(|one| &one.outputs).any(|one| *one == port.1);
        let stays = scope.region.is_none() && (is_sent || self.left.contains(&port));
        let until = match stays {
            true => None,
            false => {
                let mut units = vec![maker];
                let nodes = self.readers.get(&port).into_iter().flatten();
                let nodes = nodes.filter(|node| self.plans.node(**node).0 == plan);
                units.extend(nodes.filter_map(|node| self.number(scope, *node)));
                let lists = self.lists.get(&port).into_iter().flatten();
                let lists = lists.filter_map(|one| self.unit_around(scope.region, *one));
                units.extend(lists.filter_map(|unit| scope.numbers.get(&unit)));
                Some(units)
            }
        };
        Held {
            bytes,
            maker: Some(maker),
            until,
        }
    }
}

/// The node that a source names.
const fn producer(source: Source) -> Option<NodeId> {
    match source {
        Source::Output { node, .. } | Source::First { node, .. } => Some(node),
        Source::Input(_) | Source::Item { .. } | Source::Constant(_) => None,
    }
}
