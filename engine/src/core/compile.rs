//! From a plan to a program: nodes get local numbers, scope by scope, and payloads get slots.
//!
//! A slot lies in the scope in which its payload is seen: what a region's node returns for one item in the region's, what is
//! gathered of it in the one around it. What a region's nodes read of scopes around it is held by the region, through the
//! node that stands for it there, until its last item has ended.

mod edges;
mod nodes;
mod reads;
mod wholes;

use super::lease::Account;
use super::nesting::Nesting;
use super::outcome::When;
use super::program::{
    Details, Exit, Gather, InputFrom, InputRead, LocalNode, NO_SCOPE, Program, RemoteProducer,
    Runner, Scope, SlotIndex, SlotPlan, Span,
};
use super::ways::Ways;
use crate::plan::{EdgeStore, Join, NodeId, NodePlan, Plan, WAITING_WINDOW, WINDOW};
use edges::From;
use nodes::is_delayed;
use rustc_hash::{FxHashMap, FxHashSet};

impl Program {
    /// Compiles a plan that `plan_check` has found whole.
    ///
    /// # Panics
    /// On a plan that was not checked.
    pub(crate) fn compile(plan: Plan, account: Account) -> Self {
        Compiler::new(&plan).compile(&plan, account)
    }
}

struct Compiler {
    nesting: Nesting,
    /// By scope: the number of its first node, and, at the end, of the first behind the last one.
    first_nodes: Vec<LocalNode>,
    /// By scope: the node that stands for it.
    regions: Vec<LocalNode>,
    /// The other way round: by such a node, the scope.
    region_of: FxHashMap<LocalNode, u16>,
    /// The first of the nodes that stand for divided ones.
    first_whole: LocalNode,
    /// By local node.
    scopes: Vec<u16>,
    local_of: FxHashMap<NodeId, LocalNode>,
    remote_by_id: FxHashMap<NodeId, u32>,
    /// Which output of a node says what failed.
    errors: FxHashMap<NodeId, u16>,
    /// Outputs that other workers read.
    sent: FxHashSet<(NodeId, u16)>,

    alternatives: Vec<InputFrom>,
    slots: Vec<SlotPlan>,
    slot_scopes: Vec<u16>,
    workflow_inputs: Vec<Option<SlotIndex>>,
    /// What a node returns, in its scope.
    made: FxHashMap<(NodeId, u16), SlotIndex>,
    /// What is gathered of a node, in the scope around it.
    gathered: FxHashMap<(NodeId, u16), SlotIndex>,
    remote_slots: FxHashMap<(NodeId, u16), SlotIndex>,
    /// By scope: what is gathered of it, and what of scopes around it its region holds.
    gathers: Vec<Vec<Gather>>,
    held: Vec<Vec<InputFrom>>,
    is_held: FxHashSet<(u16, SlotIndex)>,
    /// By scope: see [`Scope::told`].
    told: Vec<Vec<LocalNode>>,
    /// By scope: see [`Scope::wholes`].
    wholes: Vec<Vec<(LocalNode, LocalNode)>>,
    /// By scope: what lies in it, those within it included.
    holds: Vec<Holds>,
}

/// What lies in a scope, and in those within it.
#[derive(Clone, Copy, Default)]
struct Holds {
    /// Whether a node waits for a time.
    waits: bool,
    /// How many nodes executors run.
    makers: usize,
}

impl Compiler {
    fn new(plan: &Plan) -> Self {
        let scopes = plan.regions.len() + 1;
        let scope_of_node = |node: &NodePlan| node.region.map_or(0, |region| region + 1);
        let mut parents = vec![0];
        parents.extend(
            plan.regions
                .iter()
                .map(|region| region.parent.map_or(0, |p| p + 1)),
        );
        let (mut nodes_of, mut within) = (vec![Vec::new(); scopes], vec![Vec::new(); scopes]);
        for node in &plan.nodes {
            nodes_of[usize::from(scope_of_node(node))].push(node.id);
        }
        for (inner, parent) in (0_u16..).zip(&parents).skip(1) {
            within[usize::from(*parent)].push(inner);
        }
        let (mut first_nodes, mut scope_of) = (Vec::with_capacity(scopes + 1), Vec::new());
        let (mut local_of, mut regions) = (FxHashMap::default(), vec![0; scopes]);
        let mut region_of = FxHashMap::default();
        let (mut next, mut first_whole) = (0, 0);
        for scope in 0..scopes as u16 {
            first_nodes.push(next);
            for id in &nodes_of[usize::from(scope)] {
                local_of.insert(*id, next);
                next += 1;
            }
            for inner in &within[usize::from(scope)] {
                regions[usize::from(*inner)] = next;
                region_of.insert(next, *inner);
                next += 1;
            }
            if scope == 0 {
                first_whole = next;
                for whole in &plan.wholes {
                    local_of.insert(whole.id, next);
                    next += 1;
                }
            }
            scope_of.resize(next as usize, scope);
        }
        first_nodes.push(next);
        let local_errors = plan.nodes.iter().map(|node| (node.id, node.error_output));
        let remote_errors = plan
            .remote_nodes
            .iter()
            .map(|node| (node.id, node.error_output));
        let mut errors: FxHashMap<NodeId, u16> = local_errors
            .chain(remote_errors)
            .filter_map(|(id, output)| Some((id, output?)))
            .collect();
        for whole in &plan.wholes {
            if let Some(output) = errors.get(&whole.parts[0]).copied() {
                errors.insert(whole.id, output);
            }
        }
        let sent = plan.nodes.iter().flat_map(|node| {
            let outputs = node.remote_consumers.iter().flat_map(|read| &read.outputs);
            outputs.map(|output| (node.id, *output))
        });
        Self {
            nesting: Nesting(parents),
            first_nodes,
            regions,
            region_of,
            scopes: scope_of,
            local_of,
            remote_by_id: (0..)
                .zip(&plan.remote_nodes)
                .map(|(index, node)| (node.id, index))
                .collect(),
            errors,
            first_whole,
            sent: sent.collect(),
            alternatives: Vec::new(),
            slots: Vec::new(),
            slot_scopes: Vec::new(),
            workflow_inputs: vec![None; plan.inputs.len()],
            made: FxHashMap::default(),
            gathered: FxHashMap::default(),
            remote_slots: FxHashMap::default(),
            gathers: vec![Vec::new(); scopes],
            held: vec![Vec::new(); scopes],
            is_held: FxHashSet::default(),
            told: vec![Vec::new(); scopes],
            wholes: vec![Vec::new(); scopes],
            holds: vec![Holds::default(); scopes],
        }
    }

    fn compile(mut self, plan: &Plan, account: Account) -> Program {
        let scopes = self.nesting.0.len();
        // Every read first, so that a region knows what it holds and what is gathered of it.
        let inputs: FxHashMap<NodeId, Vec<InputRead>> = plan
            .nodes
            .iter()
            .map(|node| (node.id, self.inputs(node)))
            .collect();
        let lists: Vec<InputFrom> = (1..scopes)
            .map(|scope| {
                let around = self.nesting.around(scope as u16);
                let region = &plan.regions[scope - 1];
                match region.part {
                    Some(_) => self.read(region.list, around),
                    None => self.read_whole(region.list, around),
                }
            })
            .collect();
        let candidates = self.candidates(plan);
        let outputs_here = self.outputs_here(&candidates);
        for (node, output) in self.sent.clone() {
            self.send(node, output);
        }
        for node in &plan.nodes {
            let local = self.local_of[&node.id];
            let scope = self.scopes[local as usize];
            if scope != 0 && !node.remote_consumers.is_empty() {
                let outermost = self.nesting.just_within(scope, 0);
                self.told[usize::from(outermost)].push(local);
            }
        }

        let wholes = self.whole_outputs(plan);

        let edges = self.edges(plan);
        let count = self.scopes.len();
        let (mut successors, mut into) = (vec![Vec::new(); count], vec![(0_u32, 0_u16); count]);
        let mut remote: Vec<RemoteProducer> = plan
            .remote_nodes
            .iter()
            .map(|node| RemoteProducer {
                name: node.name.clone(),
                successors: Vec::new(),
                slots: FxHashMap::default(),
                part_of: None,
            })
            .collect();
        let mut exits = vec![Vec::new(); scopes];
        // Other workers may hear of whatever they are told of.
        let mut shown: FxHashSet<LocalNode> = self.told.iter().flatten().copied().collect();
        // A list of what has failed is there only if anything has.
        let errors = self
            .errors
            .iter()
            .filter(|(id, output)| self.gathered.contains_key(&(**id, **output)));
        shown.extend(errors.filter_map(|(id, _)| self.local_of.get(id)));
        for (part, whole) in self.tell_wholes(plan, &mut remote, &mut into) {
            shown.insert(part);
            let outermost = self.nesting.just_within(self.scopes[part as usize], 0);
            self.wholes[usize::from(outermost)].push((part, whole));
        }
        for (from, edge) in edges {
            let (flow, gates) = &mut into[edge.node as usize];
            if edge.when.is_gate() && edge.node == edge.of {
                *gates += 1;
            } else {
                *flow += 1;
            }
            match from {
                From::Node(local) => successors[local as usize].push(edge),
                From::Remote(place) => remote[place as usize].successors.push(edge),
                From::Region { scope, from } => {
                    if edge.when != When::Well {
                        shown.insert(from);
                    }
                    exits[scope as usize].push(Exit { from, edge });
                }
            }
        }

        let mut program = Program {
            account,
            scopes: Vec::with_capacity(scopes),
            nesting: self.nesting.clone(),
            nodes: Vec::with_capacity(count),
            details: Vec::with_capacity(count),
            inputs: Vec::new(),
            alternatives: std::mem::take(&mut self.alternatives),
            outputs: Vec::new(),
            successors: Vec::new(),
            roots: Vec::new(),
            slots: Vec::new(),
            input_slots: self.workflow_inputs.clone(),
            remote,
            remote_by_id: self.remote_by_id.clone(),
            outputs_here,
            candidates,
            first_whole: self.first_whole,
            wholes,
            others: plan
                .participants
                .iter()
                .map(|part| part.worker)
                .filter(|worker| *worker != plan.me)
                .collect(),
            timed: plan.timeout_ms.is_some()
                || plan
                    .nodes
                    .iter()
                    .any(|node| node.timeout_ms.is_some() || is_delayed(node)),
            keeps_notes: scopes > 1
                || !plan.wholes.is_empty()
                || plan.nodes.iter().any(|node| node.join != Join::All),
            ranks: Vec::new(),
            first_readers: Vec::new(),
            ways: Vec::new(),
            edge_ways: Ways::NOWHERE,
            origins: Vec::new(),
            plan: plan.clone(),
            types: super::types::PayloadTypes::new(plan),
        };
        for ((id, output), slot) in &self.remote_slots {
            let place = self.remote_by_id[id];
            program.remote[place as usize].slots.insert(*output, *slot);
        }
        let planned: FxHashMap<LocalNode, &NodePlan> = plan
            .nodes
            .iter()
            .map(|node| (self.local_of[&node.id], node))
            .collect();
        for local in 0..count as LocalNode {
            let (node, details, read) = match planned.get(&local) {
                Some(node) => (
                    self.node(node, plan, into[local as usize], &mut program),
                    self.details(node),
                    inputs[&node.id].clone(),
                ),
                None if !self.region_of.contains_key(&local) => {
                    self.whole_node(plan, &planned, local, &program)
                }
                None => {
                    let number = self.region_of[&local];
                    let scope = usize::from(number);
                    let node = self.stand_in(Runner::Region, number, into[local as usize].0);
                    let held = self.held[scope].iter().copied().chain([lists[scope - 1]]);
                    let read = held.map(|from| InputRead {
                        from,
                        optional: true,
                        store: EdgeStore::Workflow,
                    });
                    (node, Details::default(), read.collect())
                }
            };
            program.nodes.push(node);
            program.details.push(details);
            program.nodes[local as usize].shown = shown.contains(&local);
            program.nodes[local as usize].inputs = Span::append(&mut program.inputs, read);
            let mut leaving = std::mem::take(&mut successors[local as usize]);
            // Edges to one of them beside each other.
            leaving.sort_by_key(|edge| edge.node);
            program.nodes[local as usize].successors =
                Span::append(&mut program.successors, leaving);
        }
        for (node, of) in program.nodes.iter().zip(&self.scopes) {
            let mut scope = *of;
            while scope != 0 {
                let holds = &mut self.holds[usize::from(scope)];
                holds.waits |= node.delayed;
                holds.makers += usize::from(node.runner == Runner::Executor);
                scope = self.nesting.around(scope);
            }
        }
        for scope in 0..scopes as u16 {
            let scope = self.scope(scope, plan, &lists, &exits, &program);
            program.scopes.push(scope);
        }
        program.roots = program.scopes[0]
            .nodes
            .clone()
            .filter(|node| program.nodes[*node as usize].edges() == 0)
            .collect();
        program.ranks = self.ranks(plan, program.nodes.len());
        self.number_slots(&mut program);
        program.first_readers = super::victims::first_readers(&program);
        program.ways = super::ways::of_slots(&program);
        program.edge_ways = super::ways::of_edges(&program);
        program.origins = super::reads::origins(&program);
        program
    }

    /// By node, its place in the workflow. Regions are numbered behind all plain nodes.
    fn ranks(&self, plan: &Plan, count: usize) -> Vec<NodeId> {
        let mut ranks = vec![NodeId::MAX; count];
        for node in &plan.nodes {
            let local = self.local_of[&node.id] as usize;
            ranks[local] = node.id;
            let mut scope = self.scopes[local];
            while scope != 0 {
                let region = &mut ranks[self.regions[usize::from(scope)] as usize];
                *region = node.id.min(*region);
                scope = self.nesting.around(scope);
            }
        }
        ranks
    }

    /// Slots lie scope by scope.
    fn number_slots(self, program: &mut Program) {
        let mut order: Vec<SlotIndex> = (0..self.slots.len() as SlotIndex).collect();
        order.sort_by_key(|slot| self.slot_scopes[*slot as usize]);
        let mut number = vec![0; order.len()];
        for (new, old) in (0..).zip(&order) {
            number[*old as usize] = new;
        }
        let mut plans: Vec<Option<SlotPlan>> = self.slots.into_iter().map(Some).collect();
        program.slots = order
            .iter()
            .filter_map(|old| plans[*old as usize].take())
            .collect();
        let scopes: Vec<u16> = order
            .iter()
            .map(|old| self.slot_scopes[*old as usize])
            .collect();
        for (index, scope) in (0..).zip(&mut program.scopes) {
            let first = scopes.partition_point(|of| *of < index) as SlotIndex;
            let behind = scopes.partition_point(|of| *of <= index) as SlotIndex;
            scope.slots = first..behind;
            for gather in &mut scope.gathers {
                gather.item = number[gather.item as usize];
                gather.list = number[gather.list as usize];
            }
            renumber(&mut scope.list, &number);
        }
        for read in &mut program.inputs {
            renumber(&mut read.from, &number);
        }
        for from in &mut program.alternatives {
            renumber(from, &number);
        }
        let slots = program.outputs.iter_mut().map(|output| &mut output.slot);
        let slots = slots.chain(&mut program.input_slots);
        let slots = slots.chain(
            program
                .details
                .iter_mut()
                .flat_map(|details| details.gathered.iter_mut().chain([&mut details.error_slot])),
        );
        for slot in slots.flatten() {
            *slot = number[*slot as usize];
        }
        for remote in &mut program.remote {
            for slot in remote.slots.values_mut() {
                *slot = number[*slot as usize];
            }
        }
        for from in &mut program.outputs_here {
            from.slot = number[from.slot as usize];
        }
        for output in program.wholes.iter_mut().flatten() {
            for slot in output.parts.iter_mut().chain([&mut output.slot]) {
                *slot = number[*slot as usize];
            }
        }
    }

    fn scope(
        &mut self,
        index: u16,
        plan: &Plan,
        lists: &[InputFrom],
        exits: &[Vec<Exit>],
        program: &Program,
    ) -> Scope {
        let place = usize::from(index);
        let nodes = self.first_nodes[place]..self.first_nodes[place + 1];
        let region = place.checked_sub(1).map(|region| &plan.regions[region]);
        let run_by = |wanted: &[Runner]| {
            let nodes = nodes.clone().map(|node| &program.nodes[node as usize]);
            nodes
                .filter(|node| wanted.contains(&node.runner))
                .collect::<Vec<_>>()
        };
        let pools: FxHashSet<u16> = run_by(&[Runner::Executor])
            .iter()
            .map(|node| node.pool)
            .collect();
        let scale = pools
            .iter()
            .map(|pool| usize::from(plan.executables[usize::from(*pool)].scale));
        let waits = nodes
            .clone()
            .any(|node| program.nodes[node as usize].delayed);
        let parallelism = region.and_then(|region| region.parallelism);
        let own = Holds {
            waits,
            makers: run_by(&[Runner::Executor, Runner::Region]).len(),
        };
        // Where nodes of regions within wait, their items do so beside each other only if those around them do.
        let keeps_no_more = |holds: Holds| holds.makers <= 1 || parallelism.is_some();
        let mut both = [own, self.holds[place]].into_iter();
        let least = if both.any(|holds| holds.waits && keeps_no_more(holds)) {
            WAITING_WINDOW
        } else {
            WINDOW
        };
        let window = least.max(2 * scale.sum::<usize>());
        Scope {
            order: in_order(nodes.clone(), program, exits),
            nodes,
            slots: 0..0,
            parent: self.nesting.around(index),
            node: self.regions[place],
            list: match place {
                0 => InputFrom::Absent,
                _ => lists[place - 1],
            },
            batch: region.and_then(|region| region.batch).unwrap_or_default(),
            window: parallelism.map_or(window, |most| window.min(most as usize)),
            gathers: std::mem::take(&mut self.gathers[place]),
            exits: exits[place].clone(),
            told: std::mem::take(&mut self.told[place]),
            part: region.and_then(|region| region.part),
            wholes: std::mem::take(&mut self.wholes[place]),
        }
    }
}

fn renumber(from: &mut InputFrom, number: &[SlotIndex]) {
    if let InputFrom::Slot(slot) | InputFrom::Outer(slot) | InputFrom::First(slot) = from {
        *slot = number[*slot as usize];
    }
}

/// Nodes of a scope, each after those of the scope that it waits for.
fn in_order(
    nodes: std::ops::Range<LocalNode>,
    program: &Program,
    exits: &[Vec<Exit>],
) -> Vec<LocalNode> {
    let first = nodes.start;
    let successors = |node: LocalNode| -> Vec<LocalNode> {
        let planned = &program.nodes[node as usize];
        let leaving = match planned.region {
            NO_SCOPE => &[][..],
            region => &exits[usize::from(region)],
        };
        let edges = program.successors(planned).iter().map(|edge| edge.node);
        edges
            .chain(leaving.iter().map(|exit| exit.edge.node))
            .collect()
    };
    let mut waits = vec![0_u32; nodes.len()];
    for node in nodes.clone() {
        for successor in successors(node) {
            waits[(successor - first) as usize] += 1;
        }
    }
    let mut free: Vec<LocalNode> = nodes
        .rev()
        .filter(|node| waits[(node - first) as usize] == 0)
        .collect();
    let mut order = Vec::with_capacity(waits.len());
    while let Some(node) = free.pop() {
        order.push(node);
        for successor in successors(node) {
            let waits = &mut waits[(successor - first) as usize];
            *waits -= 1;
            if *waits == 0 {
                free.push(successor);
            }
        }
    }
    order
}
