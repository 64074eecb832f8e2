//! What the items of a region begin with: what follows for all of them alike from what is decided outside.

use super::Core;
use super::borne::FailureId;
use super::invocation::{How, ItemStart, NodeState, OutsideEdge, Place, Slot, Stage, Value};
use super::program::{Edge, InputFrom, LocalNode, NO_SCOPE, Producer, Program, Runner, Scope};
use rustc_hash::{FxHashMap, FxHashSet};

impl Core {
    /// What every item begins with.
    pub(super) fn item_start(
        &self,
        place: Place,
        (number, scope): (u16, &Scope),
        program: &Program,
    ) -> ItemStart {
        let mut start = Lifted {
            nodes: scope
                .nodes
                .clone()
                .map(|node| NodeState::new(program, node))
                .collect(),
            slots: scope
                .slots
                .clone()
                .map(|slot| Slot::new(program, slot))
                .collect(),
            reached: FxHashMap::default(),
            failed: Vec::new(),
            runs: FxHashSet::default(),
            number,
            scope,
            program,
        };
        let edges_within = self.add_from_outside(place, &mut start);
        for index in scope.order.iter().copied() {
            let runs = self.look_at(place, index, &mut start);
            start.leave(index, runs);
        }
        let waits = |index: &LocalNode| {
            let state = &start.nodes[(index - scope.nodes.start) as usize];
            state.stage == Stage::Waiting
                && (state.waiting == 0 || program.nodes[*index as usize].at_least > 0)
        };
        let runs = start
            .nodes
            .iter()
            .filter(|state| state.stage == Stage::Waiting);
        let seen_outside = scope.exits.iter().map(|exit| exit.from);
        let seen_outside = seen_outside.chain(scope.told.iter().copied());
        let seen_outside = seen_outside.chain(scope.wholes.iter().map(|(part, _)| *part));
        let (nodes, first) = (&start.nodes, scope.nodes.start);
        let waits_for_it = |(node, _): &(LocalNode, FailureId)| {
            nodes[(node - first) as usize].stage == Stage::Waiting
        };
        start.failed.retain(waits_for_it);
        ItemStart {
            nodes_left: runs.count() as u32,
            roots: scope.nodes.clone().filter(waits).collect(),
            never: seen_outside.filter(|node| !start.runs(*node)).collect(),
            nodes: start.nodes,
            slots: start.slots,
            failed: start.failed,
            edges_within,
        }
    }

    /// Counts the edges into the scope that are live, or of failures, as told to the regions around it. Those into regions
    /// within it are handed on to these: each looks at its own alone, however many others there are.
    fn add_from_outside(
        &self,
        place: Place,
        start: &mut Lifted<'_>,
    ) -> FxHashMap<u16, Vec<OutsideEdge>> {
        let (number, scope, program) = (start.number, start.scope, start.program);
        let invocation = &self.invocations[place as usize];
        let own = self.extras.of(invocation.node(scope.node));
        let own = own.map_or(&[][..], |extra| &extra.edges);
        let around = &program.scopes[usize::from(scope.parent)];
        let around = self.invocations[invocation.parent as usize].node_in_scope(around.node);
        let around = around.filter(|_| scope.parent != 0);
        let around = around.and_then(|state| self.extras.of(state)?.run.as_ref());
        let handed_on = around.and_then(|run| run.start.edges_within.get(&number));
        let mut within: FxHashMap<u16, Vec<OutsideEdge>> = FxHashMap::default();
        for edge in own.iter().chain(handed_on.into_iter().flatten()) {
            let OutsideEdge { of, how } = *edge;
            start.reach(of, how);
            if !scope.nodes.contains(&of) {
                let inner = program.nesting.just_within(program.scope_of(of), number);
                within.entry(inner).or_default().push(*edge);
                continue;
            }
            let state = &mut start.nodes[(of - scope.nodes.start) as usize];
            match how {
                How::Gate => state.gate_live = true,
                How::Flow => state.live += 1,
                How::Failed(failure) => start.failed.push((of, failure)),
            }
        }
        within
    }

    /// Whether a node can run in any item at all; of a region, which of its nodes can as well.
    fn look_at(&self, place: Place, index: LocalNode, start: &mut Lifted<'_>) -> bool {
        let program = start.program;
        let runs = self.could_run(place, index, start);
        if !runs {
            return false;
        }
        start.runs.insert(index);
        let node = &program.nodes[index as usize];
        if node.region != NO_SCOPE {
            let within = &program.scopes[usize::from(node.region)];
            for inner in within.order.iter().copied() {
                if self.look_at(place, inner, start) {
                    start.reach_successors(inner);
                }
            }
        }
        true
    }

    fn could_run(&self, place: Place, index: LocalNode, start: &Lifted<'_>) -> bool {
        let program = start.program;
        let node = &program.nodes[index as usize];
        let there = |from: InputFrom| start.could_be_there(from, || self.is_there(place, from));
        let needs = |from: InputFrom| match from {
            InputFrom::FirstOf(span) => program.alternatives(span).iter().any(|from| there(*from)),
            from => there(from),
        };
        if node.runner == Runner::Region {
            return needs(program.scopes[usize::from(node.region)].list);
        }
        let reached = start.reached.get(&index).copied().unwrap_or_default();
        let let_in = !node.gated || reached.gate;
        let moved = !node.edged || reached.flow > 0 || reached.gate;
        // A join that failures put out of reach fails where it is let in: that, too, is for each item to say.
        let borne = if node.at_least > 0 { reached.failed } else { 0 };
        if !let_in || !(moved || borne > 0) || reached.flow + borne < node.at_least {
            return false;
        }
        let mut inputs = program.all_inputs(node).iter();
        node.at_least > 0 || inputs.all(|input| input.optional || needs(input.from))
    }

    fn is_there(&self, place: Place, from: InputFrom) -> bool {
        match from {
            InputFrom::Slot(slot) | InputFrom::Outer(slot) => {
                !matches!(self.value_of(place, InputFrom::Slot(slot)), Value::Unset)
            }
            InputFrom::Item(_) | InputFrom::Constant(_) => true,
            InputFrom::First(_) | InputFrom::FirstOf(_) | InputFrom::Absent => false,
        }
    }
}

/// Of the edges to a node those that are live, or may be in some item: how many are no gates, and whether one is; and how
/// many are dead for a failure outside.
#[derive(Clone, Copy, Default)]
struct Reached {
    flow: u32,
    gate: bool,
    failed: u32,
}

/// A region's nodes, with what is decided outside and what follows from it.
struct Lifted<'a> {
    nodes: Vec<NodeState>,
    slots: Vec<Slot>,
    /// By node, those in regions within this one included.
    reached: FxHashMap<LocalNode, Reached>,
    /// Of joins of some in the region, the failures outside that they bear.
    failed: Vec<(LocalNode, FailureId)>,
    /// Nodes that have been looked at, and can run in some item.
    runs: FxHashSet<LocalNode>,
    /// The region's scope, and its number.
    scope: &'a Scope,
    number: u16,
    program: &'a Program,
}

impl Lifted<'_> {
    /// An edge to a node may be live, or is dead for a failure.
    fn reach(&mut self, node: LocalNode, how: How) {
        let reached = self.reached.entry(node).or_default();
        match how {
            How::Gate => reached.gate = true,
            How::Flow => reached.flow += 1,
            How::Failed(_) => reached.failed += 1,
        }
    }

    /// An edge to a node may be live.
    fn reach_by(&mut self, edge: Edge) {
        let gate = edge.when.is_gate();
        self.reach(edge.of, if gate { How::Gate } else { How::Flow });
    }

    /// Whether a node's input may be there in an item; `outside` says so of what lies outside.
    fn could_be_there(&self, from: InputFrom, outside: impl Fn() -> bool) -> bool {
        let (InputFrom::Slot(slot) | InputFrom::Outer(slot) | InputFrom::First(slot)) = from else {
            return outside();
        };
        match self.program.slots[slot as usize].producer {
            Producer::Local(node) if self.is_within(node) => self.runs(node),
            Producer::Local(_) | Producer::Input | Producer::Remote { .. } => outside(),
        }
    }

    /// Whether a node that has been looked at, or that lies in a region that has, can run in any item.
    fn runs(&self, node: LocalNode) -> bool {
        self.runs.contains(&node)
    }

    /// Whether a node lies in the region, or in one within it.
    fn is_within(&self, node: LocalNode) -> bool {
        let scope = self.program.scope_of(node);
        self.program.nesting.is_within(scope, self.number)
    }

    /// The edges of a node that runs may be live, and so may those of nodes within it that can run.
    fn reach_successors(&mut self, index: LocalNode) {
        let program = self.program;
        let node = &program.nodes[index as usize];
        for edge in program.successors(node) {
            self.reach_by(*edge);
        }
        if node.region == NO_SCOPE {
            return;
        }
        for exit in &program.scopes[usize::from(node.region)].exits {
            if self.runs(exit.from) {
                self.reach_by(exit.edge);
            }
        }
    }

    /// A node has been looked at: if it runs in no item, its edges are dead from the beginning, and it reads nothing.
    fn leave(&mut self, index: LocalNode, runs: bool) {
        if runs {
            return self.reach_successors(index);
        }
        let (scope, program) = (self.scope, self.program);
        let node = &program.nodes[index as usize];
        let first = scope.nodes.start;
        let state = &mut self.nodes[(index - first) as usize];
        state.stage = Stage::Decided;
        // So that it is never looked at again.
        state.waiting = u32::MAX;
        let slots = &mut self.slots;
        program.each_slot_read(node, |slot| {
            slots[(slot - scope.slots.start) as usize].uses -= 1;
        });
        let exits = match node.region {
            NO_SCOPE => &[][..],
            region => &program.scopes[usize::from(region)].exits,
        };
        let exits = exits.iter().map(|exit| exit.edge);
        for Edge { node, when, .. } in program.successors(node).iter().copied().chain(exits) {
            let state = &mut self.nodes[(node - first) as usize];
            state.waiting -= 1;
            if when.is_gate() && program.nodes[node as usize].region == NO_SCOPE {
                state.gates_left -= 1;
            }
        }
    }
}
