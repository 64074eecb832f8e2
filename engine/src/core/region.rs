//! Regions (foreach): their nodes run once for each item of a list, or for each batch of items; a few items at once, each in
//! a place of its own, like an invocation within one. What they make is gathered in the order of the items.
//!
//! What is decided outside of a region is so for all of its items: it is worked out once, when the region begins, and every
//! item begins with it ([`ItemStart`]). A node that cannot run in any item is skipped as a whole: what leaves it is dead
//! outside as well. Any other is gathered, with absent entries for items in which it was skipped.
//!
//! A part of a divided region is a region that begins behind the first item, or ends before the last: see [`super::whole`].

use super::Core;
use super::invocation::{
    Extras, Invocation, NO_MAKER, Phase, Place, Read, RegionRun, Slot, Stage, Value,
};
use super::lease::Payload;
use super::list::Items;
use super::outcome::{Outcome, Shown};
use super::program::{InputFrom, LocalNode, Program, Scope};
use super::trigger::Ended;
use crate::wire::{self, Section};
use rustc_hash::FxHashMap;
use std::ops::Range;
use std::rc::Rc;

/// Items of one invocation that run at once, of regions within regions: beyond that many, each of these has one.
const OPEN_ITEMS_MAX: u32 = 4096;

impl Core {
    /// Everything outside of a region on which it depends is decided, and its list is there.
    pub(super) fn start_region(
        &mut self,
        now_ns: u64,
        place: Place,
        index: LocalNode,
        program: &Program,
    ) {
        let number = program.nodes[index as usize].region;
        let scope = &program.scopes[usize::from(number)];
        let length = self
            .list_of(place, scope, program)
            .map_or(0, |list| list.whole());
        self.profile_region(place, number, length);
        let Some((items, whole)) = self.items_of_region(place, scope, program) else {
            let name = program.name(scope.nodes.start);
            let cause = "items are missing of the list that it runs over".to_owned();
            let failure = self.payload_failure(name, program, cause);
            return self.fail(now_ns, place, failure);
        };
        let start = self.item_start(place, (number, scope), program);
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
                        .resize(items.len(), Payload::ABSENT);
                    let first = items.start;
                    let section = scope.part.map(|_| Section { first, whole });
                    self.lists.set_section(list, section);
                    list
                })
            })
            .collect();
        let left = match start.nodes_left {
            0 => 0,
            _ => items.len() as u32,
        };
        for (node, state) in scope.nodes.clone().zip(&start.nodes) {
            if state.stage == Stage::Decided {
                self.tell_skipped(place, node, program);
            }
        }
        let state = self.invocations[place as usize].node_mut(index);
        self.extras.make(state).run = Some(RegionRun {
            first: items.start,
            behind: items.end,
            next: items.start,
            left,
            open: Vec::new(),
            gathered,
            start,
            failed: FxHashMap::default(),
            shown: FxHashMap::default(),
        });
        if left == 0 {
            self.region_ended(place, index, program);
        } else {
            self.begin_items(now_ns, place, index, program);
        }
    }

    /// Which items, or batches of them, of its list a region runs for, and how many there are; of a region that is not
    /// divided, all. None if some of them are not here.
    fn items_of_region(
        &self,
        place: Place,
        scope: &Scope,
        program: &Program,
    ) -> Option<(Range<u32>, u32)> {
        let list = self.list_of(place, scope, program);
        let list = list.unwrap_or(Items::all(&[]));
        let length = list.whole();
        let count = match scope.batch {
            0 => length,
            batch => length.div_ceil(batch as usize),
        };
        let Range { start, end } = scope.part.map_or(0..count, |part| part.share.of(count));
        let batch = scope.batch.max(1) as usize;
        let needed = start.saturating_mul(batch).min(length)..end.saturating_mul(batch).min(length);
        if list.common(needed.clone()) != needed && !needed.is_empty() {
            return None;
        }
        Some((start as u32..end as u32, count as u32))
    }

    /// The list of a region, seen from where what is around it lives; none if it is no list.
    #[inline]
    pub(super) fn list_of(
        &self,
        place: Place,
        scope: &Scope,
        program: &Program,
    ) -> Option<Items<'_>> {
        if let Value::List(list) = self.value_of(place, scope.list) {
            return Some(self.lists.items(list));
        }
        match self.read(place, scope.list, program) {
            Read::List(items) => Some(Items::all(items)),
            Read::One(_) | Read::Absent => None,
        }
    }

    /// Begins items, as many at once as the region may have.
    fn begin_items(&mut self, now_ns: u64, place: Place, index: LocalNode, program: &Program) {
        let number = program.nodes[index as usize].region;
        let scope = &program.scopes[usize::from(number)];
        let Invocation {
            generation, root, ..
        } = self.invocations[place as usize];
        loop {
            if !self.is_current(place, generation) {
                return;
            }
            let open_items = self.invocations[root as usize].open_items;
            let Some(run) = self.region_run(place, index) else {
                return;
            };
            // One goes on in any case, so that the region does.
            let window = if scope.parent == 0 || open_items < OPEN_ITEMS_MAX {
                scope.window
            } else {
                1
            };
            if run.next == run.behind || run.open.len() >= window {
                return;
            }
            let item = run.next;
            run.next += 1;
            let open_at = run.open.len() as u32;
            self.invocations[root as usize].open_items += 1;
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
        let (roots, failed) = (run.start.roots.len(), run.start.failed.clone());
        for (node, failure) in failed {
            extras.make(inner.node_mut(node)).failed.push(failure);
        }
        roots
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
                .and_then(|run| Some((run.gathered[gather]?, item - run.first)));
            match (made, list) {
                (Value::One(payload), Some((list, at))) => {
                    self.lists.get_mut(list)[at as usize] = payload;
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
        for item in items_of(item, scope.batch, self.lists.items(list).whole()) {
            if let Some(payload) = self.lists.item_mut(list, item) {
                let payload = std::mem::replace(payload, Payload::EMPTY);
                self.let_go(payload);
            }
        }
    }

    /// Calls `each` with what [`Core::release_item`] lets go of when what runs last in an item ends; with nothing while more of the item
    /// is to run.
    pub(super) fn each_item_left(&self, place: Place, each: impl FnMut(Payload)) {
        let Invocation {
            parent,
            scope,
            item,
            nodes_left,
            ..
        } = self.invocations[place as usize];
        if scope == 0 || nodes_left != 1 {
            return;
        }
        let scope = &self.program_of(place).scopes[usize::from(scope)];
        let InputFrom::Slot(slot) = scope.list else {
            return;
        };
        let slot = self.invocations[parent as usize].slot(slot);
        if let Some(Slot {
            value: Value::List(list),
            uses: 1,
            ..
        }) = slot
        {
            let items = self.lists.items(*list);
            let left = items_of(item, scope.batch, items.whole());
            items.range(left).iter().copied().for_each(each);
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
        let there = gathers.map(|gather| {
            if program.details[gather.node as usize].error_slot == Some(gather.item) {
                // Of a part of a divided region another one may have something, and must know for how many items not.
                let shown = run.shown.get(&gather.node);
                scope.part.is_some() || shown.is_some_and(|shown| !shown.catches.is_empty())
            } else {
                !run.failed.contains_key(&gather.node)
            }
        });
        let there: Vec<bool> = there.collect();
        for ((gather, list), there) in scope.gathers.iter().zip(gathered).zip(there) {
            let Some(list) = list else {
                continue;
            };
            if !there {
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
            let whole = self.outcome_in(place, index, exit.from, outcome);
            let shown = self.shown_of(place, index, exit.from);
            let outcome = shown.map_or(whole, |shown| shown.through(exit.edge.when, whole));
            self.edge_decided(now_ns, place, exit.edge, outcome, NO_MAKER, program);
        }
        if !self.is_current(place, generation) {
            return;
        }
        for node in &scope.told {
            let whole = self.outcome_in(place, index, *node, outcome);
            let mut told = self.told_of(whole);
            if let Some(shown) = self.shown_of(place, index, *node) {
                told = wire::Outcome::Items {
                    failed: match told {
                        wire::Outcome::Failed(cause) => Some(cause),
                        _ => None,
                    },
                    cases: shown.cases.iter().copied().collect(),
                    catches: shown.catches.iter().copied().collect(),
                };
            }
            self.tell_remote(place, *node, &told, program);
        }
        for (part, whole) in &scope.wholes {
            let outcome = self.outcome_in(place, index, *part, outcome);
            let shown = self.shown_of(place, index, *part).cloned();
            self.part_left(now_ns, place, *whole, outcome, shown.as_ref(), program);
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

    /// What is seen outside of how a node has ended in the items of a region, if that is more than how it has as a whole.
    fn shown_of(&mut self, place: Place, region: LocalNode, node: LocalNode) -> Option<&Shown> {
        self.region_run(place, region)?.shown.get(&node)
    }

    /// A node has ended in an item, in a way that those outside of its region, and of the regions around that, hear of.
    pub(super) fn show_outside(
        &mut self,
        place: Place,
        node: LocalNode,
        outcome: Outcome,
        program: &Program,
    ) {
        self.each_region_around(place, program, |_, run| {
            run.shown.entry(node).or_default().add(outcome);
        });
    }

    /// Calls `each` with the region of an item, and with those around it, and with the places in which these lie.
    pub(super) fn each_region_around(
        &mut self,
        mut place: Place,
        program: &Program,
        mut each: impl FnMut(Place, &mut RegionRun),
    ) {
        loop {
            let Invocation { parent, scope, .. } = self.invocations[place as usize];
            if scope == 0 {
                return;
            }
            let region = program.scopes[usize::from(scope)].node;
            if let Some(run) = self.region_run(parent, region) {
                each(parent, run);
            }
            place = parent;
        }
    }

    /// Lets go of what an item holds; its place is free again.
    pub(super) fn free_item(&mut self, inner: Place) {
        self.clear_place(inner);
        let root = self.invocations[inner as usize].root;
        self.invocations[root as usize].open_items -= 1;
        let invocation = &mut self.invocations[inner as usize];
        invocation.phase = Phase::Free;
        invocation.generation = invocation.generation.wrapping_add(1);
        self.free.push(inner);
    }

    /// The places of all items of what lives in a place, those within items too.
    pub(super) fn items_within(&self, place: Place) -> Vec<Place> {
        let mut found: Vec<Place> = Vec::new();
        if !self.program_of(place).keeps_notes {
            return found;
        }
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

/// The items of a list that an activation takes.
pub(super) fn items_of(item: u32, batch: u32, length: usize) -> Range<usize> {
    let batch = batch.max(1) as usize;
    let first = (item as usize).saturating_mul(batch).min(length);
    first..first.saturating_add(batch).min(length)
}
