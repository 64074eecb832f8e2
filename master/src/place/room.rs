//! What is left of the workers while units are put on them and taken away again: the limits of [`capacity`](super::capacity),
//! kept up to date at little cost, and the pairs that must stay apart.

use super::WorkerCapacity;
use super::capacity::Demand;
use super::cost::Model;
use crate::graph::Graph;
use engine::plan::NodeId;
use rustc_hash::FxHashMap;

/// Not on any worker.
pub(super) const NOWHERE: u32 = u32::MAX;

/// What one unit wants of one executable's pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Want {
    executable: u32,
    scale: u32,
    slots: u32,
    memory_mib: u32,
}

impl Want {
    fn demand(self) -> Demand {
        Demand {
            executors: self.slots,
            memory_mib: u64::from(self.scale) * u64::from(self.memory_mib),
        }
    }

    /// A pool for both.
    fn wider(self, other: Self) -> Self {
        Self {
            executable: self.executable,
            scale: self.scale.max(other.scale),
            slots: self.slots.max(other.slots),
            memory_mib: self.memory_mib.max(other.memory_mib),
        }
    }
}

/// A pool that several units may use.
#[derive(Clone, Copy, Debug, Default)]
struct Shared {
    users: u32,
    pool: Want,
}

/// What units want, and must be kept apart from; the same for every placement.
#[derive(Clone, Debug)]
pub(super) struct Wants {
    /// By unit: what no other unit can share.
    own: Vec<Demand>,
    /// By unit: what it wants of pools that others use too, from here to the next one's.
    first_shared: Vec<u32>,
    shared: Vec<Want>,
    /// Of each of these, which of its executable's kinds it is.
    kind: Vec<u32>,
    /// By shared executable: the kinds of what its users want, each once.
    kinds: Vec<Vec<Want>>,
    /// By shared executable: what its nodes want that are parts of one, by node and unit; parts on one worker add up.
    parts: Vec<Vec<(usize, u32, Want)>>,
    /// By unit: those that must not share its worker.
    apart: Vec<Vec<u32>>,
    /// By unit: the worker that it is fixed to.
    pub(super) fixed: Vec<Option<u32>>,
    limits: Vec<Demand>,
}

impl Wants {
    /// `fixed` is by node; the nodes of a unit are fixed to one worker.
    pub(super) fn of(
        graph: &Graph,
        model: &Model,
        workers: &[WorkerCapacity],
        fixed: &[Option<usize>],
    ) -> Self {
        let units = model.units.len();
        let mut wants = Self {
            own: vec![Demand::default(); units],
            first_shared: Vec::with_capacity(units + 1),
            shared: Vec::new(),
            kind: Vec::new(),
            kinds: Vec::new(),
            parts: Vec::new(),
            apart: vec![Vec::new(); units],
            fixed: vec![None; units],
            limits: workers.iter().map(WorkerCapacity::limits).collect(),
        };
        let mut shared_names: FxHashMap<&str, u32> = FxHashMap::default();
        let mut uses: FxHashMap<&str, (u32, usize)> = FxHashMap::default();
        for (number, unit) in model.units.iter().enumerate() {
            for id in unit.nodes.clone() {
                if let Some(name) = &graph.node(id).executable {
                    let known = uses.entry(name).or_insert((0, usize::MAX));
                    if known.1 != number {
                        *known = (known.0 + 1, number);
                    }
                }
            }
        }
        let mut mine: Vec<(&str, Want)> = Vec::new();
        let mut kind_of: FxHashMap<(u32, u32, u32, u32), u32> = FxHashMap::default();
        for (number, unit) in model.units.iter().enumerate() {
            wants.first_shared.push(wants.shared.len() as u32);
            wants.fixed[number] = fixed[unit.nodes.start as usize].map(|worker| worker as u32);
            mine.clear();
            let mut mine_by_name: FxHashMap<&str, usize> = FxHashMap::default();
            for id in unit.nodes.clone() {
                let node = graph.node(id);
                let Some(name) = &node.executable else {
                    continue;
                };
                let want = Want {
                    executable: 0,
                    scale: node.scale,
                    slots: node.slots,
                    memory_mib: node.memory_mib,
                };
                let place = if unit.nodes.len() == 1 {
                    mine.len()
                } else {
                    *mine_by_name.entry(name).or_insert(mine.len())
                };
                match mine.get_mut(place) {
                    Some((_, known)) => *known = known.wider(want),
                    None => mine.push((name, want)),
                }
            }
            for (name, want) in &mine {
                if uses[name].0 <= 1 {
                    wants.own[number] = wants.own[number].plus(want.demand());
                    continue;
                }
                let executable = *shared_names.entry(name).or_insert_with(|| {
                    wants.kinds.push(Vec::new());
                    wants.parts.push(Vec::new());
                    wants.kinds.len() as u32 - 1
                });
                let want = Want {
                    executable,
                    ..*want
                };
                let kinds = &mut wants.kinds[executable as usize];
                let key = (executable, want.scale, want.slots, want.memory_mib);
                let kind = *kind_of.entry(key).or_insert_with(|| {
                    kinds.push(want);
                    kinds.len() as u32 - 1
                });
                wants.kind.push(kind);
                wants.shared.push(want);
            }
        }
        wants.first_shared.push(wants.shared.len() as u32);
        for (id, node) in graph.nodes().enumerate() {
            let executable = node.executable.as_deref();
            if let Some(executable) = executable.and_then(|name| shared_names.get(name))
                && node.part.is_some()
            {
                let want = Want {
                    executable: *executable,
                    scale: node.scale,
                    slots: node.slots,
                    memory_mib: node.memory_mib,
                };
                let unit = model.unit_of[id];
                wants.parts[*executable as usize].push((node.defined, unit, want));
            }
        }
        for (a, b) in graph.apart() {
            let (a, b) = (unit_of(model, *a), unit_of(model, *b));
            if a != b {
                wants.apart[a as usize].push(b);
                wants.apart[b as usize].push(a);
            }
        }
        for apart in &mut wants.apart {
            apart.sort_unstable();
            apart.dedup();
        }
        wants
    }

    /// Has some units kept apart, each from all others of them.
    pub(super) fn keep_apart(&mut self, units: &[u32]) {
        for unit in units {
            let others = units.iter().filter(|other| *other != unit);
            let apart = &mut self.apart[*unit as usize];
            apart.extend(others);
            apart.sort_unstable();
            apart.dedup();
        }
    }

    /// Which of its executable's kinds each of a unit's wants is.
    #[inline]
    fn kinds(&self, unit: u32) -> &[u32] {
        let unit = unit as usize;
        &self.kind[self.first_shared[unit] as usize..self.first_shared[unit + 1] as usize]
    }

    #[inline]
    fn shared(&self, unit: u32) -> &[Want] {
        let unit = unit as usize;
        &self.shared[self.first_shared[unit] as usize..self.first_shared[unit + 1] as usize]
    }

    /// Those that must not share a unit's worker.
    #[inline]
    pub(super) fn apart(&self, unit: u32) -> &[u32] {
        &self.apart[unit as usize]
    }

    /// How much of a worker a unit takes by itself, at most, of the roomiest: 0 to 1 and more.
    pub(super) fn size(&self, unit: u32) -> f64 {
        let shared = self.shared(unit).iter().map(|want| want.demand());
        let demand = shared.fold(self.own[unit as usize], Demand::plus);
        let share = |limits: &Demand| {
            let executors = f64::from(demand.executors) / f64::from(limits.executors.max(1));
            executors.max(demand.memory_mib as f64 / limits.memory_mib.max(1) as f64)
        };
        self.limits.iter().map(share).fold(f64::INFINITY, f64::min)
    }

    /// What a worker can take.
    pub(super) fn limits(&self, worker: u32) -> Demand {
        self.limits[worker as usize]
    }
}

fn unit_of(model: &Model, node: NodeId) -> u32 {
    model.unit_of[node as usize]
}

/// A placement in the making, and what it leaves.
#[derive(Clone, Debug)]
pub(super) struct Room<'w> {
    wants: &'w Wants,
    used: Vec<Demand>,
    /// By shared executable, then worker.
    pools: Vec<Shared>,
    /// The same, and then by kind of what is wanted: units there that want it.
    wanting: Vec<Vec<u32>>,
    /// By unit: its worker, or [`NOWHERE`].
    pub(super) placed: Vec<u32>,
}

impl<'w> Room<'w> {
    /// Nothing is placed yet.
    pub(super) fn empty(wants: &'w Wants) -> Self {
        Self {
            wants,
            used: vec![Demand::default(); wants.limits.len()],
            pools: vec![Shared::default(); wants.kinds.len() * wants.limits.len()],
            wanting: wants
                .kinds
                .iter()
                .flat_map(|kinds| std::iter::repeat_n(vec![0; kinds.len()], wants.limits.len()))
                .collect(),
            placed: vec![NOWHERE; wants.own.len()],
        }
    }

    pub(super) fn of(wants: &'w Wants, placed: &[u32]) -> Self {
        let mut room = Self::empty(wants);
        for (unit, worker) in placed.iter().enumerate() {
            room.put(unit as u32, *worker);
        }
        room
    }

    /// What a worker has to start once the unit is there too.
    #[inline]
    fn with(&self, unit: u32, worker: u32) -> Demand {
        let mut demand = self.used[worker as usize].plus(self.wants.own[unit as usize]);
        for want in self.wants.shared(unit) {
            let shared = self.shared(want.executable, worker);
            let after = self.pool_with(unit, want, worker);
            if shared.users > 0 {
                demand = demand.minus(shared.pool.demand());
            }
            demand = demand.plus(after.demand());
        }
        demand
    }

    #[inline]
    fn shared(&self, executable: u32, worker: u32) -> &Shared {
        &self.pools[executable as usize * self.used.len() + worker as usize]
    }

    /// A pool once the unit is there too.
    #[inline]
    fn pool_with(&self, unit: u32, want: &Want, worker: u32) -> Want {
        let shared = self.shared(want.executable, worker);
        let mut pool = match shared.users {
            0 => *want,
            _ => shared.pool.wider(*want),
        };
        let parts = &self.wants.parts[want.executable as usize];
        if !parts.is_empty() {
            self.add_parts(&mut pool, parts, |user| {
                user == unit || self.placed[user as usize] == worker
            });
        }
        pool
    }

    /// Makes a pool wide enough for all parts of one node that are there.
    fn add_parts(
        &self,
        pool: &mut Want,
        parts: &[(usize, u32, Want)],
        is_there: impl Fn(u32) -> bool,
    ) {
        let mut sums: FxHashMap<usize, (u32, u32)> = FxHashMap::default();
        for (node, _, want) in parts.iter().filter(|(_, user, _)| is_there(*user)) {
            let sum = sums.entry(*node).or_default();
            *sum = (sum.0 + want.scale, sum.1 + want.slots);
        }
        for (scale, slots) in sums.into_values() {
            pool.scale = pool.scale.max(scale);
            pool.slots = pool.slots.max(slots);
        }
    }

    /// Whether a worker has room for a unit, and the unit may be there.
    #[inline]
    pub(super) fn fits(&self, unit: u32, worker: u32) -> bool {
        if self.wants.fixed[unit as usize].is_some_and(|fixed| fixed != worker) {
            return false;
        }
        self.lack(unit, worker).is_none()
            && self
                .wants
                .apart(unit)
                .iter()
                .all(|other| self.placed[*other as usize] != worker)
    }

    /// What a worker would have to start with a unit, if that is more than it can.
    pub(super) fn lack(&self, unit: u32, worker: u32) -> Option<Demand> {
        let demand = self.with(unit, worker);
        let limits = self.wants.limits[worker as usize];
        (demand.executors > limits.executors || demand.memory_mib > limits.memory_mib)
            .then_some(demand)
    }

    /// The share of a worker that is left, of what is scarcer there.
    pub(super) fn left(&self, worker: u32) -> f64 {
        let (used, limits) = (
            self.used[worker as usize],
            self.wants.limits[worker as usize],
        );
        let left = |used: f64, limit: f64| (limit - used) / limit.max(1.0);
        let executors = left(f64::from(used.executors), f64::from(limits.executors));
        executors.min(left(used.memory_mib as f64, limits.memory_mib as f64))
    }

    /// Puts a unit, which is nowhere, on a worker, whether it fits or not.
    pub(super) fn put(&mut self, unit: u32, worker: u32) {
        debug_assert_eq!(self.placed[unit as usize], NOWHERE);
        self.used[worker as usize] = self.with(unit, worker);
        for (want, kind) in self.wants.shared(unit).iter().zip(self.wants.kinds(unit)) {
            let pool = self.pool_with(unit, want, worker);
            let place = want.executable as usize * self.used.len() + worker as usize;
            self.wanting[place][*kind as usize] += 1;
            let shared = &mut self.pools[place];
            shared.pool = pool;
            shared.users += 1;
        }
        self.placed[unit as usize] = worker;
    }

    /// Takes a unit away from where it is.
    pub(super) fn take(&mut self, unit: u32) {
        let worker = std::mem::replace(&mut self.placed[unit as usize], NOWHERE);
        let mut used = self.used[worker as usize].minus(self.wants.own[unit as usize]);
        for (want, kind) in self.wants.shared(unit).iter().zip(self.wants.kinds(unit)) {
            let executable = want.executable as usize;
            let place = executable * self.used.len() + worker as usize;
            self.wanting[place][*kind as usize] -= 1;
            let before = self.pools[place].pool;
            let users = self.pools[place].users - 1;
            used = used.minus(before.demand());
            let mut after = Shared {
                users,
                pool: before,
            };
            let parts = &self.wants.parts[executable];
            let kinds = &self.wants.kinds[executable];
            if users > 0 && (kinds.len() > 1 || !parts.is_empty()) {
                let left = kinds.iter().zip(&self.wanting[place]);
                let left = left.filter(|(_, units)| **units > 0);
                let wider = left.map(|(kind, _)| *kind).reduce(Want::wider);
                after.pool = wider.unwrap_or_default();
                self.add_parts(&mut after.pool, parts, |user| {
                    self.placed[user as usize] == worker
                });
            }
            if users > 0 {
                used = used.plus(after.pool.demand());
            }
            self.pools[place] = after;
        }
        self.used[worker as usize] = used;
    }

    /// Moves a unit to another worker if it fits there.
    pub(super) fn try_move(&mut self, unit: u32, worker: u32) -> bool {
        if !self.fits(unit, worker) {
            return false;
        }
        self.take(unit);
        self.put(unit, worker);
        true
    }
}
