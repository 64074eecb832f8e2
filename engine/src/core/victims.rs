//! Which payloads are carried out of memory: those that will be read last, as far as that can be said (Belady's rule, IBM
//! Systems Journal 1966), and which nobody reads now.

use super::Core;
use super::invocation::{Place, Stage, Value};
use super::lease::{Account, LeaseId, Leases, Payload};
use super::program::{InputFrom, LocalNode, NO_SCOPE, Program, Runner, SlotIndex};
use super::store::Carrier;
use super::ways::Ways;
use faasstore::tier::TierKind;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeMap;

/// How far away the next read is: the farther the larger.
type Distance = (u32, u32);

/// What may leave.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// The nearest of all reads.
    distance: Distance,
    bytes: u64,
    /// Where all its slots let it go.
    ways: Ways,
}

/// Whether it is of use that a payload leaves.
type Fits<'a> = &'a dyn Fn(&Leases, Payload) -> bool;

/// By slot, who reads what lies there first of all; none for slots of which the content stays here: it is handed to somebody
/// else, or read by the lane itself.
pub(crate) fn first_readers(program: &Program) -> Vec<Option<LocalNode>> {
    let count = program.slots.len();
    let mut first: Vec<Option<LocalNode>> = vec![None; count];
    let mut stays = vec![false; count];
    for (index, node) in (0..).zip(&program.nodes) {
        let by_executor = node.runner == Runner::Executor;
        let inputs = program.inputs(node).len();
        for (place, input) in program.all_inputs(node).iter().enumerate() {
            let by_lane = place >= inputs || !(by_executor || node.region != NO_SCOPE);
            if by_lane {
                let scope = program.scope_of(index);
                each_slot_behind(program, scope, input.from, &mut |slot| {
                    stays[slot as usize] = true;
                });
            }
            each_slot(program, input.from, &mut |slot| {
                let reader = &mut first[slot as usize];
                let rank = |node: &LocalNode| program.ranks[*node as usize];
                *reader =
                    Some(reader.map_or(index, |known| std::cmp::min_by_key(known, index, rank)));
            });
        }
    }
    for from in &program.outputs_here {
        stays[from.slot as usize] = true;
    }
    for output in program.wholes.iter().flatten() {
        for slot in output.parts.iter().chain([&output.slot]) {
            stays[*slot as usize] = true;
        }
    }
    for (index, details) in (0..).zip(&program.details) {
        if program.scope_of(index) == 0 {
            continue;
        }
        for output in details.remote.iter().flat_map(|read| &read.outputs) {
            if let Some(slot) = program.slot_told(index, *output) {
                stays[slot as usize] = true;
            }
        }
    }
    // What an item makes moves into the list that is gathered of it: of regions around others first.
    for gather in program.scopes.iter().flat_map(|scope| &scope.gathers) {
        stays[gather.item as usize] |= stays[gather.list as usize];
    }
    let content = first.into_iter().zip(stays);
    content
        .map(|(reader, stays)| reader.filter(|_| !stays))
        .collect()
}

/// As [`each_slot`], of somebody in a scope; of items, those of the lists that they are of, whichever region around these is of.
pub(super) fn each_slot_behind(
    program: &Program,
    scope: u16,
    from: InputFrom,
    each: &mut impl FnMut(SlotIndex),
) {
    match from {
        InputFrom::Item(up) => {
            let outward = |scope: u16| program.scopes[usize::from(scope)].parent;
            let region = (0..up).fold(scope, |scope, _| outward(scope));
            let list = program.scopes[usize::from(region)].list;
            each_slot_behind(program, outward(region), list, each);
        }
        InputFrom::FirstOf(span) => {
            for from in program.alternatives(span) {
                each_slot_behind(program, scope, *from, each);
            }
        }
        from => each_slot(program, from, each),
    }
}

fn each_slot(program: &Program, from: InputFrom, each: &mut impl FnMut(SlotIndex)) {
    match from {
        InputFrom::Slot(slot) | InputFrom::Outer(slot) | InputFrom::First(slot) => each(slot),
        InputFrom::FirstOf(span) => {
            for from in program.alternatives(span) {
                each_slot(program, *from, each);
            }
        }
        InputFrom::Item(_) | InputFrom::Constant(_) | InputFrom::Absent => {}
    }
}

/// A lease that could leave.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    lease: LeaseId,
    distance: Distance,
    bytes: u64,
    /// Where to.
    kind: TierKind,
}

/// Leases that could leave: what is read last first.
#[derive(Debug, Default)]
pub(super) struct LeaveLast(Vec<Leaving>);

impl LeaveLast {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Of these, the first ones that have so many bytes together, if they do, and are no more than `most`.
    pub(super) fn up_to(&self, bytes: u64, most: usize) -> Vec<(LeaseId, TierKind)> {
        let mut have = 0;
        let first = self.0.iter().take(most).take_while(|leaving| {
            let lacks = have < bytes;
            have += leaving.bytes;
            lacks
        });
        first.map(|leaving| (leaving.lease, leaving.kind)).collect()
    }
}

/// A segment of which all that lies in it could leave.
#[derive(Debug, Default)]
struct Emptied {
    leases: Vec<(LeaseId, TierKind)>,
    bytes: u64,
    /// How far behind the first of all its nearest read is.
    nearest: usize,
}

impl Core {
    /// Of leases that could leave, those that empty segments of so many bytes together, as far as there are such, and are no
    /// more than `most`: the segments first of which the nearest read is farthest.
    pub(super) fn emptied(
        &self,
        found: &LeaveLast,
        bytes: u64,
        most: usize,
    ) -> Vec<(LeaseId, TierKind)> {
        let mut segments: BTreeMap<u32, Emptied> = BTreeMap::new();
        let mut lie_there: FxHashMap<u32, u32> = FxHashMap::default();
        for (order, leaving) in found.0.iter().enumerate() {
            let (number, bytes, ranges) = self.leases.segment_of(leaving.lease);
            let segment = segments.entry(number).or_default();
            segment.leases.push((leaving.lease, leaving.kind));
            (segment.bytes, segment.nearest) = (bytes, order);
            lie_there.insert(number, ranges);
        }
        let alone = |number: u32, segment: &Emptied| {
            lie_there.get(&number) == Some(&(segment.leases.len() as u32))
        };
        let emptied = segments.into_iter();
        let emptied = emptied.filter(|(number, one)| one.bytes > 0 && alone(*number, one));
        let mut emptied: Vec<Emptied> = emptied.map(|(_, segment)| segment).collect();
        emptied.sort_by_key(|segment| segment.nearest);
        let mut have = 0;
        let mut leave = Vec::new();
        for segment in emptied {
            if have >= bytes {
                break;
            }
            if leave.len() + segment.leases.len() <= most {
                have += segment.bytes;
                leave.extend(segment.leases);
            }
        }
        leave
    }

    /// Leases of a workflow that could leave at that time, each with the tier that costs least of those that take it then. What
    /// `spared` read stays, and so does what does not fit.
    pub(super) fn leave_last(
        &self,
        at_ns: u64,
        (account, deployments): (Account, &[u32]),
        spared: &[(Place, LocalNode)],
        fits: Fits<'_>,
    ) -> LeaveLast {
        if self.leases.holdings(account).movable == 0 {
            return LeaveLast::default();
        }
        let mut kept: FxHashSet<LeaseId> = FxHashSet::default();
        let mut keep = |payload| kept.extend(self.leases.lease_of(payload).map(|(lease, _)| lease));
        for running in self.runs_of(deployments) {
            self.each_payload_held(&running, &mut keep);
        }
        for (place, node) in spared.iter().copied() {
            if self.reads_by_window(place, node) {
                self.each_payload_at_once(place, node, &mut keep);
            } else {
                self.each_payload_read(place, node, &mut keep);
            }
        }
        let mut found: FxHashMap<LeaseId, Candidate> = FxHashMap::default();
        for place in 0..self.invocations.len() as Place {
            let invocation = &self.invocations[place as usize];
            if self.is_running(place) && deployments.contains(&invocation.deployment) {
                self.candidates(place, (account, fits), &mut kept, &mut found);
            }
        }
        let choice = self.choice_of(deployments);
        let tier = |candidate: &Candidate| {
            let taken = |one: &&Carrier| {
                one.is_up(at_ns)
                    && one.takes(candidate.bytes)
                    && candidate.ways.lead_to(one.kind, choice)
            };
            let carriers = self.carriers.iter().filter(taken);
            let cheapest = carriers.min_by(|one, other| {
                let ns = |carrier: &Carrier| carrier.ns(candidate.bytes);
                ns(one).total_cmp(&ns(other))
            });
            cheapest.map(|carrier| carrier.kind)
        };
        let leaving = found
            .into_iter()
            .filter(|(lease, _)| !kept.contains(lease))
            .filter_map(|(lease, candidate)| {
                let Candidate {
                    distance, bytes, ..
                } = candidate;
                let kind = tier(&candidate)?;
                Some(Leaving {
                    lease,
                    distance,
                    bytes,
                    kind,
                })
            });
        let mut leaving: Vec<Leaving> = leaving.collect();
        // By number where they are equally far, so that the same events give the same.
        leaving.sort_unstable_by(|one, other| {
            let farther = other.distance.cmp(&one.distance);
            farther.then(one.lease.cmp(&other.lease))
        });
        LeaveLast(leaving)
    }

    fn candidates(
        &self,
        place: Place,
        (account, fits): (Account, Fits<'_>),
        kept: &mut FxHashSet<LeaseId>,
        found: &mut FxHashMap<LeaseId, Candidate>,
    ) {
        let invocation = &self.invocations[place as usize];
        let program = self.program_of(place);
        let mut consider = |payload: Payload, distance: Option<Distance>, ways: Ways| {
            let Some((lease, bytes)) = self.leases.lease_of(payload) else {
                return;
            };
            let Some(distance) = distance else {
                kept.insert(lease);
                return;
            };
            let worthwhile = bytes >= self.config.store.moved_bytes_min;
            if worthwhile && self.leases.could_leave(lease, account) && fits(&self.leases, payload)
            {
                let known = found.entry(lease).or_insert(Candidate {
                    distance,
                    bytes,
                    ways,
                });
                known.distance = known.distance.min(distance);
                known.ways = known.ways.and(ways);
            }
        };
        for slot in invocation.slots() {
            let Some(state) = invocation.slot(slot) else {
                continue;
            };
            let reader = program.first_readers[slot as usize];
            let ways = program.ways[slot as usize];
            match state.value {
                Value::Unset => {}
                Value::One(payload) => {
                    let distance = reader.map(|reader| self.distance(place, reader));
                    consider(payload, distance, ways);
                }
                Value::List(list) => {
                    let begun = reader.and_then(|reader| self.begun(place, reader, slot, program));
                    let walked = reader.and_then(|reader| self.walked(place, reader, slot));
                    let first = self.lists.items(list).places().start as u32;
                    for (item, payload) in (first..).zip(self.lists.get(list)) {
                        let distance = reader.map(|reader| match (begun, walked) {
                            // What lies behind is read by another attempt, if at all.
                            (_, Some(walked)) if item < walked => (u32::MAX, item),
                            (_, Some(walked)) => (0, item - walked),
                            (Some(begun), None) => (0, item.saturating_sub(begun)),
                            (None, None) => {
                                let (far, _) = self.distance(place, reader);
                                (far, item)
                            }
                        });
                        consider(*payload, distance, ways);
                    }
                }
            }
        }
        // What is being gathered is read when all of it is there.
        for node in invocation.nodes() {
            let extra = self.extras.of(invocation.node(node));
            let Some(run) = extra.and_then(|extra| extra.run.as_ref()) else {
                continue;
            };
            let region = program.nodes[node as usize].region;
            let gathers = &program.scopes[usize::from(region)].gathers;
            for (gather, list) in gathers.iter().zip(&run.gathered) {
                let reader = program.first_readers[gather.list as usize];
                let ways = program.ways[gather.list as usize];
                let far = reader.map(|reader| program.ranks[reader as usize].saturating_add(1));
                let distance = |item: u32| far.map(|far| (far, item));
                for (item, payload) in (0..).zip(list.iter().flat_map(|list| self.lists.get(*list)))
                {
                    consider(*payload, distance(item), ways);
                }
            }
        }
    }

    /// How far away it is that a node reads: nothing if it is ready already.
    fn distance(&self, place: Place, reader: LocalNode) -> Distance {
        let far = self.program_of(place).ranks[reader as usize].saturating_add(1);
        let mut around = place;
        loop {
            let invocation = &self.invocations[around as usize];
            if let Some(state) = invocation.node_in_scope(reader) {
                return match state.stage {
                    Stage::Decided => (0, 0),
                    Stage::Waiting => (far, 0),
                };
            }
            if invocation.scope == 0 {
                break;
            }
            around = invocation.parent;
        }
        // It lies in a region within.
        (far, 0)
    }

    /// Of a list that a region runs over: the first item that has not begun, if it runs.
    fn begun(
        &self,
        place: Place,
        reader: LocalNode,
        slot: SlotIndex,
        program: &Program,
    ) -> Option<u32> {
        let node = &program.nodes[reader as usize];
        if node.region == NO_SCOPE {
            return None;
        }
        let scope = &program.scopes[usize::from(node.region)];
        if scope.list != InputFrom::Slot(slot) {
            return None;
        }
        let state = self.invocations[place as usize].node_in_scope(reader)?;
        let run = self.extras.of(state)?.run.as_ref()?;
        Some(run.next.saturating_mul(scope.batch.max(1)))
    }
}
