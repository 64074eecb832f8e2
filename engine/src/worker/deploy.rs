//! What a deployment needs done: executors started, links made, lanes told; and undone again if anything fails.
//!
//! A plan is prepared in one go: checked whole, peers reached, executors started, and only then are the lanes told,
//! which cannot fail. So a refusal needs nothing undone beyond what it lets go of; links that were made for it stay, as
//! they do when the last deployment that needs them goes. A deployment that is prepared but
//! not activated in time is dropped, since its master may be gone.

use crate::lane::command::{Door, LaneCommand, LaneReport, StartedExecutor};
use crate::plan::{DeploymentId, Plan};
use crate::plan_check::PlanError;
use crate::status::DeploymentState;
use crate::worker::control::{Control, Open};
use crate::worker::deployments::{Deployment, DeploymentError, Pool, Running};
use crate::worker::hello::StartError;
use crate::worker::links::{self, LinkError, LinkKey, Made, retry_pause};
use crate::worker::sharing::Unshared;
use crate::worker::warden::{ExecutorSpec, WardenRequest};
use faasstore::segment::collapse_aside;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::oneshot;

/// How long a deployment may wait to be activated.
const PREPARED_TIME_MAX: Duration = Duration::from_secs(60);

/// Why a plan was refused; nothing has changed then.
#[derive(Debug, Error)]
pub(super) enum PrepareError {
    /// It cannot be followed by anyone.
    #[error("the plan cannot be followed: {0}")]
    Plan(#[from] PlanError),
    /// It is for someone else.
    #[error(
        "the plan is for worker {theirs} with {their_lanes} lanes; this is {ours} with {our_lanes}"
    )]
    Elsewhere {
        /// As the plan says.
        theirs: String,
        /// As the plan says.
        their_lanes: u8,
        /// This worker.
        ours: String,
        /// Of this worker.
        our_lanes: u8,
    },
    /// It was started anew since.
    #[error(
        "the plan is for restart epoch {theirs} of this worker, which was started anew and has {ours}; deploy again"
    )]
    OtherLife {
        /// As the plan says.
        theirs: u32,
        /// Of this worker.
        ours: u32,
    },
    /// This host cannot serve it.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// A peer cannot be reached.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// An executor cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The worker ends.
    #[error("this worker ends")]
    Ending,
}

impl Control {
    /// Checks a plan whole, starts its executors, connects to its peers and tells the lanes; clients may not invoke
    /// it yet.
    ///
    /// # Errors
    /// A [`PrepareError`]; nothing has changed then, but that links may stand for the next one.
    pub(super) async fn prepare(self: &Rc<Self>, plan: Plan) -> Result<(), PrepareError> {
        let _one_at_a_time = self.preparing.lock().await;
        plan.check()?;
        self.is_for_us(&plan)?;
        let config = &self.identity.config;
        let pools = Deployment::pools(&plan, &config.functions, config.lanes)?;
        self.deployments.borrow().admits(&plan, &pools)?;
        let needed = links::needed(&plan);
        for (key, address) in &needed {
            self.make_link(key, address).await?;
        }
        let plan = Arc::new(plan);
        let started = self.start_all(&plan, &pools).await?;

        let id = plan.deployment;
        let executors = started
            .iter()
            .map(|(lane, executor)| (executor.pid, running(*lane, executor)));
        let counters = self
            .deployments
            .borrow()
            .counters_of(&plan.workflow, config.lanes);
        self.deployments.borrow_mut().insert(Deployment {
            plan: Arc::clone(&plan),
            counters: counters.clone(),
            pools,
            state: DeploymentState::Prepared,
            executors: executors.collect(),
            starting: BTreeMap::new(),
            lanes: (0..config.lanes).collect(),
            sources: None,
        });
        self.links.borrow_mut().adopt(id, needed.clone());
        // A link that stood when we looked may have broken since, when no deployment needed it.
        for key in needed.into_keys() {
            tokio::task::spawn_local(Rc::clone(self).remake_link(key));
        }
        let mut by_lane: Vec<Vec<StartedExecutor>> =
            self.lanes.iter().map(|_| Vec::new()).collect();
        started
            .into_iter()
            .for_each(|(lane, executor)| by_lane[usize::from(lane)].push(executor));
        for ((lane, executors), counters) in self.lanes.iter().zip(by_lane).zip(counters) {
            lane.send(LaneCommand::Deploy {
                plan: Arc::clone(&plan),
                executors,
                counters,
            })
            .await;
        }
        tokio::task::spawn_local(Rc::clone(self).expire(id));
        Ok(())
    }

    fn is_for_us(&self, plan: &Plan) -> Result<(), PrepareError> {
        let (me, config) = (&plan.workers[usize::from(plan.me)], &self.identity.config);
        if (&me.name, me.lanes) == (&config.name, config.lanes) {
            let (theirs, ours) = (me.epoch, self.identity.epoch);
            return match theirs == ours {
                true => Ok(()),
                false => Err(PrepareError::OtherLife { theirs, ours }),
            };
        }
        Err(PrepareError::Elsewhere {
            theirs: me.name.clone(),
            their_lanes: me.lanes,
            ours: config.name.clone(),
            our_lanes: config.lanes,
        })
    }

    /// Makes a link that does not stand, and gives it to its lane. It is kept even if nobody comes to need it.
    async fn make_link(&self, key: &LinkKey, address: &str) -> Result<(), LinkError> {
        // No borrow may be held across a wait, not even by a temporary.
        let maker = self.links.borrow_mut().maker(key);
        let _alone = maker.lock().await;
        if self.links.borrow().stands(key) {
            return Ok(());
        }
        self.connect_link(key, address).await
    }

    /// To be called by a link's only maker, while it does not stand.
    async fn connect_link(&self, key: &LinkKey, address: &str) -> Result<(), LinkError> {
        let next_sequence = self.next_sequence(key.from_lane);
        let bulk = self.links.borrow_mut().next_bulk();
        let caller = self.caller();
        let made = caller.connect(key, address, next_sequence, bulk).await?;
        let Made {
            sockets,
            epoch,
            share,
        } = made;
        match &share {
            Ok(_) | Err(Unshared::Apart | Unshared::Ended(_)) => {}
            Err(reason) => {
                let worker = &key.worker;
                tracing::warn!(%worker, %reason, "no memory is shared with a worker on this host");
            }
        }
        let unshared = share.as_ref().err().map(ToString::to_string);
        let number = self.links.borrow_mut().made(key, unshared);
        let command = LaneCommand::LinkOut {
            door: Door {
                worker: key.worker.clone(),
                epoch,
                lane: key.to_lane,
            },
            number,
            sockets,
            share: share.ok(),
        };
        self.lanes[usize::from(key.from_lane)].send(command).await;
        Ok(())
    }

    /// The sequence of the next invocation that a lane takes, as [`crate::wire::Role::Peer`] says it. An older value
    /// is safe: what it leaves out is begun on the new link.
    fn next_sequence(&self, lane: u8) -> u64 {
        self.lanes[usize::from(lane)]
            .counters()
            .invocations_taken
            .get()
    }

    /// Makes a link that deployments need and that does not stand, until it does.
    async fn remake_link(self: Rc<Self>, key: LinkKey) {
        let mut failures = 0;
        while !*self.end.borrow() {
            let maker = self.links.borrow_mut().maker(&key);
            let alone = maker.lock().await;
            let Some(address) = self.links.borrow().wanted(&key) else {
                return;
            };
            let open = Open::new(&self);
            let outcome = self.connect_link(&key, &address).await;
            drop(open);
            drop(alone);
            match outcome {
                Ok(()) => {
                    self.counters.links_remade.add(1);
                    tracing::info!("linked to worker {} again", key.worker);
                    return;
                }
                // Not at the first: a worker that ends with this one is no news.
                Err(error) if failures == 1 => {
                    tracing::warn!("{error}; trying again until it is back")
                }
                Err(_) => {}
            }
            tokio::time::sleep(retry_pause(failures)).await;
            failures += 1;
        }
    }

    async fn start_all(
        &self,
        plan: &Plan,
        pools: &[Pool],
    ) -> Result<Vec<(u8, StartedExecutor)>, PrepareError> {
        let mut specs = Vec::new();
        for (executable, pool) in pools.iter().enumerate() {
            for (lane, &scale) in pool.scale.iter().enumerate() {
                for ordinal in 0..scale {
                    specs.push(self.spec(plan, pool, executable as u16, lane as u8, ordinal));
                }
            }
        }
        let cpus: Vec<_> = specs.iter().map(|spec| spec.seat.cpu).collect();
        let started = self.start(specs).await;
        if started.is_err() {
            cpus.into_iter()
                .for_each(|cpu| self.placement.borrow_mut().leave(cpu));
        }
        started
    }

    fn spec(
        &self,
        plan: &Plan,
        pool: &Pool,
        executable: u16,
        lane: u8,
        ordinal: usize,
    ) -> ExecutorSpec {
        ExecutorSpec {
            lane,
            seat: self.placement.borrow_mut().seat(lane, ordinal),
            deployment: plan.deployment,
            workflow: plan.workflow.as_str().into(),
            executable,
            path: pool.path.clone(),
            nodes: Arc::clone(&pool.nodes),
            types: Arc::clone(&pool.types),
            spin_budget_ns: self.identity.spin_budget_ns,
            reserved_bytes: pool.reserved_bytes,
            arena_bytes_max: pool.arena_bytes_max[usize::from(lane)],
            trust: pool.trust,
        }
    }

    async fn start(
        &self,
        specs: Vec<ExecutorSpec>,
    ) -> Result<Vec<(u8, StartedExecutor)>, PrepareError> {
        if specs.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, answer) = oneshot::channel();
        let count = specs.len() as u64;
        self.warden
            .try_send(WardenRequest::Start { specs, reply })
            .map_err(|_| PrepareError::Ending)?;
        let started = answer.await.map_err(|_| PrepareError::Ending)?;
        match &started {
            Ok(_) => self.counters.executors_started.add(count),
            Err(_) => self.counters.executor_starts_failed.add(1),
        }
        Ok(started?)
    }

    /// Drops a deployment that nobody has activated, nor gone on to prepare, since this placement of it was prepared.
    async fn expire(self: Rc<Self>, placement: DeploymentId) {
        tokio::time::sleep(PREPARED_TIME_MAX).await;
        let last = self.deployments.borrow().last_prepared(placement);
        let Some(id) = last else {
            return;
        };
        if self.abort(id).await.is_ok() {
            tracing::warn!(
                "dropped deployment {id}, which no one activated within {PREPARED_TIME_MAX:?}"
            );
        }
    }

    /// Opens the door of a deployment all of whose placements are prepared.
    pub(super) async fn activate(&self, id: DeploymentId) -> Result<(), DeploymentError> {
        self.deployments.borrow_mut().activate(id)?;
        for lane in &self.lanes {
            lane.send(LaneCommand::Activate(id)).await;
        }
        Ok(())
    }

    /// Drops a prepared deployment.
    pub(super) async fn abort(&self, id: DeploymentId) -> Result<(), DeploymentError> {
        self.deployments.borrow_mut().abort(id)?;
        self.retire(id).await;
        Ok(())
    }

    /// Retires what is deployed under this name.
    pub(super) async fn undeploy(&self, workflow: &str) -> Result<(), DeploymentError> {
        let retired = self.deployments.borrow_mut().undeploy(workflow)?;
        for id in retired {
            self.retire(id).await;
        }
        Ok(())
    }

    async fn retire(&self, id: DeploymentId) {
        for lane in &self.lanes {
            lane.send(LaneCommand::Retire(id)).await;
        }
    }

    /// Hears what lanes report, until it is aborted.
    pub(super) async fn hear_lanes(self: Rc<Self>) {
        loop {
            for (index, lane) in self.lanes.iter().enumerate() {
                while let Some(report) = lane.next_report() {
                    self.hear(index as u8, report);
                }
            }
            self.report_notify.notified().await;
        }
    }

    fn hear(self: &Rc<Self>, lane: u8, report: LaneReport) {
        match report {
            LaneReport::ExecutorWanted {
                deployment,
                executable,
            } => {
                tokio::task::spawn_local(Rc::clone(self).start_one(deployment, executable, lane));
            }
            LaneReport::ExecutorEnded {
                deployment,
                pid,
                cause,
            } => {
                tracing::info!("executor {pid} has ended: {cause}");
                self.counters.executors_ended.add(1);
                if let Some(running) = self
                    .deployments
                    .borrow_mut()
                    .executor_ended(deployment, pid)
                {
                    self.placement.borrow_mut().leave(running.cpu);
                }
                self.reap(pid);
            }
            LaneReport::LinkLost {
                worker,
                to_lane,
                number,
            } => {
                let key = LinkKey {
                    worker,
                    from_lane: lane,
                    to_lane,
                };
                if self.links.borrow_mut().broke(&key, number) {
                    tokio::task::spawn_local(Rc::clone(self).remake_link(key));
                }
            }
            LaneReport::SharingEnded {
                worker,
                to_lane,
                number,
                reason,
            } => {
                let key = LinkKey {
                    worker,
                    from_lane: lane,
                    to_lane,
                };
                self.links.borrow_mut().unshared(&key, number, reason);
            }
            LaneReport::Scattered(segment) => collapse_aside(&segment),
            LaneReport::Removed(id) => {
                let mut deployments = self.deployments.borrow_mut();
                let executors = deployments
                    .get_mut(id)
                    .map(|deployment| deployment.executors.clone());
                if deployments.removed(id, lane) {
                    self.links.borrow_mut().release(id);
                    // A lane reports each executor before it reports that nothing is left; should one not have been,
                    // it is ended here.
                    for (pid, running) in executors.into_iter().flatten() {
                        self.placement.borrow_mut().leave(running.cpu);
                        self.reap(pid);
                    }
                    tracing::info!("deployment {id} is gone");
                }
            }
        }
    }

    pub(super) fn reap(&self, pid: u32) {
        // Fails only when the warden has ended, and every executor with it.
        let _ = self.warden.send(WardenRequest::Reap { pid });
    }

    /// Starts one more executor, as a lane asked.
    async fn start_one(self: Rc<Self>, id: DeploymentId, executable: u16, lane: u8) {
        let refuse = async |reason: String| {
            let command = LaneCommand::ExecutorRefused {
                deployment: id,
                executable,
                reason,
            };
            self.lanes[usize::from(lane)].send(command).await;
        };
        let ordinal = self
            .deployments
            .borrow_mut()
            .begin_start(id, executable, lane);
        let Some(ordinal) = ordinal else {
            return refuse("all executors that were reserved for it are running".to_owned()).await;
        };
        let spec = self.deployments.borrow_mut().get_mut(id).map(|deployment| {
            let pool = &deployment.pools[usize::from(executable)];
            self.spec(&deployment.plan, pool, executable, lane, ordinal)
        });
        let Some(spec) = spec else { return };
        let cpu = spec.seat.cpu;
        let started = self.start(vec![spec]).await;
        let executor = started.map(|mut started| started.pop().map(|(_, executor)| executor));
        let place = (executable, lane);
        match executor {
            Ok(Some(executor)) => {
                let pid = executor.pid;
                let note = Some((pid, running(lane, &executor)));
                if self.deployments.borrow_mut().end_start(id, place, note) {
                    return self.lanes[usize::from(lane)]
                        .send(LaneCommand::Executor(executor))
                        .await;
                }
                // The deployment went away meanwhile.
                self.placement.borrow_mut().leave(cpu);
                self.reap(pid);
            }
            Ok(None) => unreachable!("one was asked for, and all of a batch are started or none"),
            Err(error) => {
                self.placement.borrow_mut().leave(cpu);
                self.deployments.borrow_mut().end_start(id, place, None);
                tracing::warn!("{error}");
                refuse(error.to_string()).await;
            }
        }
    }
}

fn running(lane: u8, executor: &StartedExecutor) -> Running {
    // The warden gives every executor a CPU.
    Running {
        lane,
        executable: executor.executable,
        cpu: executor.cpu.unwrap_or_default(),
    }
}
