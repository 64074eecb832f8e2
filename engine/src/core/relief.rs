//! How a workflow that is pressed for memory gets room soonest: by what runs and lets go of its payloads, or by carrying some out.
//!
//! Both are reckoned in time, from how long functions of each node have run and how fast each tier has been; the smaller one is done.

use super::Core;
use super::invocation::{Slot, Value};
use super::lease::{Payload, Reach};
use super::pool::Running;
use super::program::LocalNode;
use super::scratch::clear;
use rustc_hash::FxHashMap;

/// How long an activation of which nothing is known is taken to go on at first: as long as it has run, and this.
const UNKNOWN_NS: u64 = 1_000_000;
/// How much of what is known of a run time stays when there is one more.
const KEPT: f64 = 0.8;

/// Run times of nodes, in nanoseconds.
pub(super) type RunTimes = FxHashMap<LocalNode, f64>;

/// How room is made.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Relief {
    /// What runs will let go of something by then.
    Wait { ns: f64 },
    /// Payloads are carried out.
    Carry,
}

impl Core {
    /// What costs least: to wait until what runs lets go of enough, or to carry something out. With more in memory than the
    /// quota something is carried out, if anything takes it.
    pub(super) fn relief(
        &self,
        now_ns: u64,
        deployments: &[u32],
        runs: &[Running],
        (bytes, beyond): (u64, bool),
    ) -> Option<Relief> {
        let carry_ns = self.carry_ns(now_ns, deployments, bytes);
        let wait_ns = self.until_let_go(now_ns, runs, bytes);
        match (carry_ns, wait_ns) {
            (Some(carry_ns), Some(ns)) if !beyond && ns <= carry_ns => Some(Relief::Wait { ns }),
            (Some(_), _) => Some(Relief::Carry),
            (None, Some(ns)) => Some(Relief::Wait { ns }),
            (None, None) => None,
        }
    }

    /// How long it takes to carry so many bytes of these deployments out and back, if they can be.
    pub(super) fn carry_ns(&self, now_ns: u64, deployments: &[u32], bytes: u64) -> Option<f64> {
        let usable = self
            .carriers
            .iter()
            .filter(|one| one.is_up(now_ns) && self.may_go_to(one.kind, deployments));
        usable.map(|one| one.ns(bytes)).min_by(f64::total_cmp)
    }

    /// When what runs is expected to have let go of so many bytes; none if it will not.
    fn until_let_go(&self, now_ns: u64, runs: &[Running], bytes: u64) -> Option<f64> {
        let mut ends = self.scratch.ends.borrow_mut();
        clear(&mut ends);
        for running in runs.iter().filter(|running| !self.waits(running)) {
            let frees = self.lets_go_of(running);
            if frees > 0 {
                let ran_ns = now_ns.saturating_sub(running.started_ns) as f64;
                let lasts_ns = self.lasts_ns(running).unwrap_or(UNKNOWN_NS as f64 + ran_ns);
                // One that takes longer than it used to may take as long again.
                let left_ns = if lasts_ns > ran_ns {
                    lasts_ns - ran_ns
                } else {
                    ran_ns
                };
                ends.push((left_ns, frees));
            }
        }
        ends.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
        let mut freed = 0;
        ends.iter().find_map(|(ns, frees)| {
            freed += frees;
            (freed >= bytes).then_some(*ns)
        })
    }

    /// Bytes that the end of an activation frees: those of leases of which it is the only one that still reads, by however many views.
    fn lets_go_of(&self, running: &Running) -> u64 {
        let mut views = self.scratch.views.borrow_mut();
        clear(&mut views);
        self.each_view_left(running, |payload| {
            let here = self.leases.reach(payload) == Reach::Here;
            views.extend(
                self.leases
                    .lease_of(payload)
                    .filter(|_| here)
                    .map(|(lease, _)| lease),
            );
        });
        views.sort_unstable();
        let of_one = views.chunk_by(|one, other| one == other);
        let freed = of_one.map(|views| self.leases.freed_by(views[0], views.len()));
        freed.sum()
    }

    /// Calls `each` with the views that go when an activation ends: of what it reads for the last time, and what it holds of lists that
    /// it reads item by item.
    fn each_view_left(&self, running: &Running, mut each: impl FnMut(Payload)) {
        let (place, index) = (running.place, running.node);
        let program = self.program_of(place);
        let node = &program.nodes[index as usize];
        let invocation = &self.invocations[place as usize];
        let mut slots = self.scratch.slots.borrow_mut();
        clear(&mut slots);
        program.each_slot_read(node, |slot| slots.push(slot));
        slots.sort_unstable();
        // Several reads of one slot are of one view.
        for reads in slots.chunk_by(|one, other| one == other) {
            let slot = invocation.slot(reads[0]);
            match slot.filter(|slot| slot.uses as usize == reads.len()) {
                Some(Slot {
                    value: Value::One(payload),
                    ..
                }) => each(*payload),
                Some(Slot {
                    value: Value::List(list),
                    ..
                }) => self.lists.get(*list).iter().copied().for_each(&mut each),
                _ => {}
            }
        }
        self.each_item_left(place, &mut each);
        self.each_payload_granted(running, each);
    }

    fn lasts_ns(&self, running: &Running) -> Option<f64> {
        let deployment = self.invocations[running.place as usize].deployment;
        let known = self.deployments[deployment as usize].as_ref()?;
        known.run_ns.get(&running.node).copied()
    }

    /// An activation of a workflow that is pressed has ended well.
    pub(super) fn note_run_time(&mut self, now_ns: u64, running: &Running) {
        let deployment = self.invocations[running.place as usize].deployment;
        let took_ns = now_ns.saturating_sub(running.started_ns) as f64;
        let known = &mut self.deployment_mut(deployment).run_ns;
        let mean = known.entry(running.node).or_insert(took_ns);
        *mean = KEPT * *mean + (1.0 - KEPT) * took_ns;
    }
}
