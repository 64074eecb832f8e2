//! Regions (foreach): their nodes run once for each item of a list, or for each batch of items; a few items at once, each in
//! a place of its own, like an invocation within one. What they make is gathered in the order of the items.
//!
//! What is decided outside of a region is so for all of its items: it is worked out once, when the region begins, and every
//! item begins with it ([`ItemStart`]). A node that cannot run in any item is skipped as a whole: what leaves it is dead
//! outside as well. Any other is gathered, with absent entries for items in which it was skipped.

use super::Core;
use super::invocation::{
    Extras, Invocation, ItemStart, NO_MAKER, NodeState, Phase, Place, Read, RegionRun, Slot, Stage,
    Value,
};
use super::lease::Payload;
use super::outcome::Outcome;
use super::program::{Edge, InputFrom, LocalNode, NO_SCOPE, Producer, Program, Runner, Scope};
use super::trigger::Ended;
use rustc_hash::{FxHashMap, FxHashSet};
use std::ops::Range;
use std::rc::Rc;

impl Core {
    /// Everything outside of a region on which it depends is decided, and its list is there.
    pub(super) fn start_region(
        &mut self,
        now_ns: u64,
        place: Place,
        index: LocalNode,
        program: &Program,
    ) {
        let scope = &program.scopes[usize::from(program.nodes[index as usize].region)];
        let items = self.items_of_region(place, scope, program);
        let start = self.item_start(place, scope, program);
        let gathered = scope
            .gathers
            .iter()
            .map(|gather| {
                let state = &start.nodes[(gather.node - scope.nodes.start) as usize];
                let runs = state.stage == Stage::Waiting;
                runs.then(|| {
                    let list = self.lists.open();
                    self.lists
                        .get_mut(list)
                        .resize(items as usize, Payload::ABSENT);
                    list
                })
            })
            .collect();
        let left = if start.nodes_left == 0 { 0 } else { items };
        for (node, state) in scope.nodes.clone().zip(&start.nodes) {
            if state.stage == Stage::Decided {
                self.tell_skipped(place, node, program);
            }
        }
        let state = self.invocations[place as usize].node_mut(index);
        self.extras.make(state).run = Some(RegionRun {
            items: left,
            next: 0,
            left,
            open: Vec::new(),
            gathered,
            start,
            failed: FxHashMap::default(),
        });
        if left == 0 {
            self.region_ended(place, index, program);
        } else {
            self.begin_items(now_ns, place, index, program);
        }
    }

    /// Items, or batches of them, of a region's list.
    fn items_of_region(&self, place: Place, scope: &Scope, program: &Program) -> u32 {
        let length = self.list_of(place, scope, program).map_or(0, <[_]>::len);
        match scope.batch {
            0 => length as u32,
            batch => length.div_ceil(batch as usize) as u32,
        }
    }

    /// The list of a region, seen from where what is around it lives; none if it is no list.
    pub(super) fn list_of(
        &self,
        place: Place,
        scope: &Scope,
        program: &Program,
    ) -> Option<&[Payload]> {
        match self.read(place, scope.list, program) {
            Read::List(items) => Some(items),
            Read::One(_) | Read::Absent => None,
        }
    }

    /// What every item begins with.
    fn item_start(&self, place: Place, scope: &Scope, program: &Program) -> ItemStart {
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
            runs: FxHashSet::default(),
            scope,
            program,
        };
        self.add_live_from_outside(place, &mut start);
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
        ItemStart {
            nodes_left: runs.count() as u32,
            roots: scope.nodes.clone().filter(waits).collect(),
            never: seen_outside.filter(|node| !start.runs(*node)).collect(),
            nodes: start.nodes,
            slots: start.slots,
        }
    }

    /// Counts the edges into the scope that are live, as told to the regions around it; those into regions within it too.
    fn add_live_from_outside(&self, place: Place, start: &mut Lifted<'_>) {
        let (scope, program) = (start.scope, start.program);
        let (mut place, mut around) = (place, scope);
        loop {
            let state = self.invocations[place as usize].node(around.node);
            let live = self.extras.of(state).map_or(&[][..], |extra| &extra.live);
            for (of, gate) in live {
                start.reach(*of, *gate);
                if !scope.nodes.contains(of) {
                    continue;
                }
                let state = &mut start.nodes[(of - scope.nodes.start) as usize];
                if *gate {
                    state.gate_live = true;
                } else {
                    state.live += 1;
                }
            }
            if around.parent == 0 {
                return;
            }
            place = self.invocations[place as usize].parent;
            around = &program.scopes[usize::from(around.parent)];
        }
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
        if !let_in || !moved || reached.flow < node.at_least {
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
            InputFrom::FirstOf(_) | InputFrom::Absent => false,
        }
    }

    /// Begins items, as many at once as the region may have.
    fn begin_items(&mut self, now_ns: u64, place: Place, index: LocalNode, program: &Program) {
        let number = program.nodes[index as usize].region;
        let scope = &program.scopes[usize::from(number)];
        let generation = self.invocations[place as usize].generation;
        loop {
            if !self.is_current(place, generation) {
                return;
            }
            let Some(run) = self.region_run(place, index) else {
                return;
            };
            if run.next == run.items || run.open.len() >= scope.window {
                return;
            }
            let item = run.next;
            run.next += 1;
            let open_at = run.open.len() as u32;
            let inner = self.take_place();
            let roots = self.open_item(place, index, (number, scope), inner, item);
            self.invocations[inner as usize].open_at = open_at;
            let inner_generation = self.invocations[inner as usize].generation;
            for root in 0..roots {
                let Some(run) = self.region_run(place, index) else {
                    return;
                };
                let root = run.start.roots[root];
                if program.nodes[root as usize].at_least > 0 {
                    self.try_join(now_ns, inner, root, program);
                } else {
                    self.decide(now_ns, inner, root, NO_MAKER, program);
                }
                if !self.is_current(inner, inner_generation) {
                    break;
                }
            }
        }
    }

    /// Sets an item up; how many of its nodes are to be looked at.
    fn open_item(
        &mut self,
        place: Place,
        index: LocalNode,
        (number, scope): (u16, &Scope),
        at: Place,
        item: u32,
    ) -> usize {
        let Self {
            invocations,
            extras,
            ..
        } = self;
        let Ok([around, inner]) = invocations.get_disjoint_mut([place as usize, at as usize])
        else {
            return 0;
        };
        let Some(run) = run_of(extras, around, index) else {
            return 0;
        };
        run.open.push(at);
        inner.start_item(around, place, (number, scope), item, &run.start);
        run.start.roots.len()
    }

    pub(super) fn region_run(&mut self, place: Place, index: LocalNode) -> Option<&mut RegionRun> {
        run_of(&mut self.extras, &self.invocations[place as usize], index)
    }

    /// All nodes of an item have ended: what it has made is gathered, and another one may begin.
    pub(super) fn item_ended(&mut self, now_ns: u64, inner: Place) {
        let program = Rc::clone(self.program_of(inner));
        let Invocation {
            parent: place,
            item,
            scope: number,
            open_at,
            ..
        } = self.invocations[inner as usize];
        let scope = &program.scopes[usize::from(number)];
        for (gather, slot) in scope.gathers.iter().enumerate() {
            let made = self.invocations[inner as usize].slot_mut(slot.item);
            let made = std::mem::replace(&mut made.value, Value::Unset);
            let list = self
                .region_run(place, scope.node)
                .and_then(|run| run.gathered[gather]);
            match (made, list) {
                (Value::One(payload), Some(list)) => {
                    self.lists.get_mut(list)[item as usize] = payload;
                }
                (made, _) => self.drop_value(made),
            }
        }
        self.release_item(place, scope, item);
        self.free_item(inner);
        let Some(run) = self.region_run(place, scope.node) else {
            return;
        };
        run.open.swap_remove(open_at as usize);
        run.left -= 1;
        let (moved, left) = (run.open.get(open_at as usize).copied(), run.left);
        if let Some(moved) = moved {
            self.invocations[moved as usize].open_at = open_at;
        }
        if left == 0 {
            self.region_ended(place, scope.node, &program);
        } else {
            self.begin_items(now_ns, place, scope.node, &program);
        }
    }

    /// An item that only this region reads is not kept until the last one has ended.
    fn release_item(&mut self, place: Place, scope: &Scope, item: u32) {
        let InputFrom::Slot(slot) = scope.list else {
            return;
        };
        let slot = self.invocations[place as usize].slot_mut(slot);
        let (Value::List(list), 1) = (slot.value, slot.uses) else {
            return;
        };
        for item in items_of(item, scope.batch, self.lists.get(list).len()) {
            let payload = std::mem::replace(&mut self.lists.get_mut(list)[item], Payload::EMPTY);
            self.let_go(payload);
        }
    }

    /// All items have ended: what they have made becomes lists.
    fn region_ended(&mut self, place: Place, index: LocalNode, program: &Program) {
        let number = program.nodes[index as usize].region;
        let scope = &program.scopes[usize::from(number)];
        let Some(run) = self.region_run(place, index) else {
            return;
        };
        let gathered = std::mem::take(&mut run.gathered);
        let gathers = scope.gathers.iter();
        let failed = gathers.map(|gather| run.failed.contains_key(&gather.node));
        let failed: Vec<bool> = failed.collect();
        for ((gather, list), failed) in scope.gathers.iter().zip(gathered).zip(failed) {
            let Some(list) = list else {
                continue;
            };
            if failed {
                self.close_list(list);
                continue;
            }
            let bytes = self.lists.get(list).iter().map(Payload::length).sum();
            self.set_slot(place, gather.list, Value::List(list), bytes, NO_MAKER);
        }
        // Later, not here: a chain of regions of no items must not nest calls as deep as it is long.
        self.ended.push(Ended {
            place,
            node: index,
            maker: NO_MAKER,
            outcome: Outcome::Well,
        });
    }

    /// A region has ended, or was skipped: what leaves it is decided for each of its nodes.
    pub(super) fn region_left(&mut self, now_ns: u64, ended: Ended, program: &Program) {
        let Ended {
            place,
            node: index,
            outcome,
            ..
        } = ended;
        let scope = &program.scopes[usize::from(program.nodes[index as usize].region)];
        let generation = self.invocations[place as usize].generation;
        for exit in &scope.exits {
            let outcome = self.outcome_in(place, index, exit.from, outcome);
            self.edge_decided(now_ns, place, exit.edge, outcome, NO_MAKER, program);
        }
        if !self.is_current(place, generation) {
            return;
        }
        for node in &scope.told {
            let outcome = self.outcome_in(place, index, *node, outcome);
            self.tell_remote(place, *node, outcome, program);
        }
        for gather in &scope.gathers {
            if self.invocations[place as usize].slot_mut(gather.list).uses == 0 {
                self.clear_slot(place, gather.list);
            }
        }
    }

    /// How a node in a region that has ended that way, or in one within it, has ended as a whole.
    fn outcome_in(
        &mut self,
        place: Place,
        region: LocalNode,
        node: LocalNode,
        outcome: Outcome,
    ) -> Outcome {
        if outcome != Outcome::Well {
            return outcome;
        }
        let Some(run) = self.region_run(place, region) else {
            return outcome;
        };
        match run.failed.get(&node) {
            Some(failure) => Outcome::Failed(*failure),
            None if run.start.never.contains(&node) => Outcome::Skipped,
            None => Outcome::Well,
        }
    }

    /// Lets go of what an item holds; its place is free again.
    pub(super) fn free_item(&mut self, inner: Place) {
        self.clear_place(inner);
        let invocation = &mut self.invocations[inner as usize];
        invocation.phase = Phase::Free;
        invocation.generation = invocation.generation.wrapping_add(1);
        self.free.push(inner);
    }

    /// The places of all items of what lives in a place, those within items too.
    pub(super) fn items_within(&self, place: Place) -> Vec<Place> {
        let mut found: Vec<Place> = Vec::new();
        let mut next = Some(place);
        let mut looked_at = 0;
        while let Some(place) = next {
            let invocation = &self.invocations[place as usize];
            for node in invocation.nodes() {
                let extra = self.extras.of(invocation.node(node));
                if let Some(run) = extra.and_then(|extra| extra.run.as_ref()) {
                    found.extend(&run.open);
                }
            }
            next = found.get(looked_at).copied();
            looked_at += 1;
        }
        found
    }
}

fn run_of<'a>(
    extras: &'a mut Extras,
    around: &Invocation,
    index: LocalNode,
) -> Option<&'a mut RegionRun> {
    extras.of_mut(around.node(index))?.run.as_mut()
}

/// Of the edges to a node those that are live, or may be in some item: how many are no gates, and whether one is.
#[derive(Clone, Copy, Default)]
struct Reached {
    flow: u32,
    gate: bool,
}

/// A region's nodes, with what is decided outside and what follows from it.
struct Lifted<'a> {
    nodes: Vec<NodeState>,
    slots: Vec<Slot>,
    /// By node, those in regions within this one included.
    reached: FxHashMap<LocalNode, Reached>,
    /// Nodes that have been looked at, and can run in some item.
    runs: FxHashSet<LocalNode>,
    scope: &'a Scope,
    program: &'a Program,
}

impl Lifted<'_> {
    /// An edge to a node may be live.
    fn reach(&mut self, node: LocalNode, gate: bool) {
        let reached = self.reached.entry(node).or_default();
        if gate {
            reached.gate = true;
        } else {
            reached.flow += 1;
        }
    }

    /// Whether a node's input may be there in an item; `outside` says so of what lies outside.
    fn could_be_there(&self, from: InputFrom, outside: impl Fn() -> bool) -> bool {
        let (InputFrom::Slot(slot) | InputFrom::Outer(slot)) = from else {
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
        let here = self.program.scope_of(self.scope.nodes.start);
        let mut scope = self.program.scope_of(node);
        while scope > here {
            scope = self.program.scopes[usize::from(scope)].parent;
        }
        scope == here
    }

    /// The edges of a node that runs may be live, and so may those of nodes within it that can run.
    fn reach_successors(&mut self, index: LocalNode) {
        let program = self.program;
        let node = &program.nodes[index as usize];
        for edge in program.successors(node) {
            self.reach(edge.of, edge.when.is_gate());
        }
        if node.region == NO_SCOPE {
            return;
        }
        for exit in &program.scopes[usize::from(node.region)].exits {
            if self.runs(exit.from) {
                self.reach(exit.edge.of, exit.edge.when.is_gate());
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

/// The items of a list that an activation takes.
pub(super) fn items_of(item: u32, batch: u32, length: usize) -> Range<usize> {
    let batch = batch.max(1) as usize;
    let first = (item as usize).saturating_mul(batch).min(length);
    first..first.saturating_add(batch).min(length)
}
