//! What a simulated master has lanes do, and workers that die and come back.

use super::clients::Outcome;
use super::lane::Lane;
use super::stores::Stores;
use super::{Cluster, Order};
use crate::functions::Datum;
use faasstore::binding::Kind;

/// In a thousand workers that die: those that never come back.
const GONE_FOR_GOOD: u32 = 400;

impl Cluster {
    /// Carries out the orders of the next stage before anything else happens.
    pub(super) fn obey_a_stage(&mut self) {
        while self
            .scenario
            .stages
            .front()
            .is_some_and(|stage| !stage.is_empty())
        {
            let orders = self.scenario.stages.front().map_or(0, Vec::len);
            let index = self.random.below(orders);
            self.obey(index);
        }
        self.scenario.stages.pop_front();
    }

    /// Carries out one order of the stage that is due.
    pub(super) fn obey(&mut self, index: usize) {
        let Some(stage) = self.scenario.stages.front_mut() else {
            return;
        };
        let order = stage.swap_remove(index);
        let lane = order.lane();
        if !self.lanes[lane].alive {
            return;
        }
        let now_ns = self.lanes[lane].exact_ns(self.now_ns);
        match order {
            Order::Deploy { deployment, .. } => self.deploy(lane, deployment),
            Order::Activate { deployment, .. } => {
                let turn = self.first_turn(lane, deployment);
                let name = &self.scenario.deployments[deployment].name;
                let lane = &mut self.lanes[lane];
                if lane.deployed.contains(&name.id) {
                    lane.doors.insert(name.workflow.clone(), deployment);
                    lane.known.opened(deployment, turn);
                }
                lane.core.activate(now_ns, name.id);
            }
            Order::Retire { deployment, .. } => {
                let name = &self.scenario.deployments[deployment].name;
                let lane = &mut self.lanes[lane];
                if lane.doors.get(&name.workflow) == Some(&deployment) {
                    lane.doors.remove(&name.workflow);
                }
                lane.core.retire(now_ns, name.id);
            }
        }
        self.act(lane);
    }

    fn deploy(&mut self, lane: usize, deployment: usize) {
        if !self.dead.is_empty() {
            // The master would find the worker unreachable, and deploy nothing anywhere.
            return;
        }
        let worker = self.lanes[lane].worker;
        let plan = self.scenario.deployments[deployment].plans[worker].clone();
        let id = plan.deployment;
        let pools: Vec<usize> = plan
            .executables
            .iter()
            .map(|executable| usize::from(executable.scale))
            .collect();
        let mut constants = Vec::new();
        let (mut ranges, mut lists) = (0, 0);
        for constant in &plan.constants {
            let datum = match constant.kind {
                Kind::List => Datum::List(constant.items.iter().cloned().map(Some).collect()),
                Kind::Bytes | Kind::Value => Datum::One(constant.items[0].clone()),
            };
            lists += usize::from(constant.kind == Kind::List);
            ranges += usize::from(constant.items.iter().any(|item| !item.is_empty()));
            constants.push(self.lanes[lane].arrived(&datum));
        }
        let state = &mut self.lanes[lane];
        state.constants.insert(id, (ranges, lists));
        state.deployed.insert(id);
        let plan = self.followed(plan);
        self.lanes[lane].core.deploy(plan, constants);
        let lanes_of_worker = usize::from(self.scenario.lanes[worker]);
        for (executable, scale) in pools.into_iter().enumerate() {
            // None at all is possible too: then the first activation asks for one.
            for _ in 0..self.random.below(scale.div_ceil(lanes_of_worker) + 1) {
                let place = self.lanes[lane].seat(deployment, executable as u16);
                let now_ns = self.now_ns;
                self.lanes[lane]
                    .core
                    .executor_joined(now_ns, place, id, executable as u16);
            }
        }
    }

    /// A worker dies with all that it has.
    pub(super) fn a_worker_dies(&mut self) {
        let worker = self.random.below(self.scenario.lanes.len());
        if self.dead.contains(&worker) || self.scenario.stages.len() > 1 {
            return;
        }
        self.dead.push(worker);
        if self.random.chance(GONE_FOR_GOOD) {
            self.gone.insert(worker);
        }
        self.lost_workers.insert(crate::plans::worker_name(worker));
        for lane in self.lanes.iter_mut().filter(|lane| lane.worker == worker) {
            lane.alive = false;
            lane.answers.clear();
            lane.stores = Stores::default();
            lane.deployed.clear();
            lane.doors.clear();
        }
        self.cut_off(worker);
        for asked in &mut self.asked {
            if self.lanes[asked.lane].worker == worker && asked.outcome == Outcome::Open {
                asked.outcome = Outcome::Cut;
            }
        }
    }

    /// A dead worker's host starts it again: a new epoch, and nothing deployed.
    pub(super) fn restart(&mut self, worker: usize) {
        self.dead.retain(|dead| *dead != worker);
        for lane in self.lanes.iter_mut().filter(|lane| lane.worker == worker) {
            *lane = Lane::new(
                worker,
                lane.number,
                lane.epoch + 1,
                self.scenario.in_flight_max,
                self.scenario.store.clone(),
            );
        }
    }
}
