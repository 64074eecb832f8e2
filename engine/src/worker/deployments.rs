//! The deployments of a worker: what each needs, what it was given, and where in its life it is. Of a deployment with several
//! placements each is kept by itself, under its own id; `replicas` has what they do together.
//!
//! Bookkeeping only, without waiting: the control thread decides by it and does what follows. It promises that memory
//! reserved never exceeds the worker's limit, that no executor runs beyond what was reserved, and that what a
//! deployment held is given back once every lane has let go of it.

mod kept;
mod replicas;
mod types;

pub use types::PlannedType;

use crate::plan::{DeploymentId, NodePlan, Plan, PortRef, Replica, Trust, Work, executors_on};
use crate::reads::{Amount, Moved};
use crate::status::{
    Counter, DeploymentState, DeploymentStatus, ExecutorStatus, ReadsStatus, WorkflowCounters,
    WorkflowStatus,
};
use crate::wire::Sources;
use crate::worker::quantities::size_text;
use faasstore::binding::{Maximum, NodeBinding, Port};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Deployments that a worker knows at one time, at most.
const DEPLOYMENTS_MAX: usize = 1024;

/// Why a deployment is not what was asked for.
#[derive(Debug, Error)]
pub enum DeploymentError {
    /// No file of that name.
    #[error("executable {name:?} of this worker's folder {folder} {reason}")]
    Executable {
        /// Which.
        name: String,
        /// What is wrong.
        reason: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// Too little memory.
    #[error(
        "the plan reserves {} for executors, and of the {} that this worker has for them {} are free; lower \
         `resources`, or start the worker with more --memory", size_text(*.wanted), size_text(*.limit), size_text(*.free)
    )]
    Memory {
        /// Bytes.
        wanted: u64,
        /// Bytes.
        free: u64,
        /// Bytes.
        limit: u64,
    },
    /// An older or equal version.
    #[error(
        "workflow {workflow} has version {current} here already; version {version} is not newer"
    )]
    Version {
        /// Which workflow.
        workflow: String,
        /// Of the plan.
        version: u32,
        /// That there is.
        current: u32,
    },
    /// Someone else is at it.
    #[error(
        "workflow {workflow} is being deployed by someone else (deployment {other}); try again when that is done"
    )]
    Contended {
        /// Which workflow.
        workflow: String,
        /// By which deployment.
        other: DeploymentId,
    },
    /// A placement that is not as the others of its deployment here.
    #[error(
        "{replica} of deployment {} is not like the others that were prepared here: they differ in version, in number, or \
         in how invocations are divided; deploy again", .replica.of
    )]
    Unlike {
        /// The one that was to be prepared.
        replica: Replica,
    },
    /// Not all placements are here.
    #[error(
        "of deployment {id} {prepared} of {count} placements are prepared here: all are to be before it is activated"
    )]
    Incomplete {
        /// Which deployment.
        id: DeploymentId,
        /// Placements that are here.
        prepared: usize,
        /// All.
        count: u16,
    },
    /// The same again.
    #[error("deployment {0} is known here already")]
    Known(DeploymentId),
    /// Never heard of, or gone.
    #[error("deployment {0} is not known here; it may have waited too long to be activated")]
    Unknown(DeploymentId),
    /// Not waiting to be activated.
    #[error("deployment {0} is not waiting to be activated")]
    NotPrepared(DeploymentId),
    /// Nothing of that name.
    #[error("no workflow named {workflow:?} is deployed here; {instead}")]
    NoWorkflow {
        /// As given.
        workflow: String,
        /// What is, or was probably meant.
        instead: String,
    },
    /// A placement that there is not.
    #[error("workflow {workflow:?} has {count} placements here, and no placement {number}")]
    NoPlacement {
        /// Which workflow.
        workflow: String,
        /// As given.
        number: u16,
        /// How many there are.
        count: u16,
    },
    /// More than a worker keeps.
    #[error("this worker knows {DEPLOYMENTS_MAX} deployments; undeploy some")]
    TooMany,
    /// Files that are too large to be kept.
    #[error(
        "the workflow's files have {bytes} bytes, and this worker keeps {limit} of a workflow and {left} more of all"
    )]
    Sources {
        /// What they have.
        bytes: usize,
        /// The limit for one workflow.
        limit: usize,
        /// What is left for all workflows.
        left: usize,
    },
}

/// One executable of a deployment here.
#[derive(Debug)]
pub struct Pool {
    /// The file.
    pub path: PathBuf,
    /// The nodes that it runs.
    pub nodes: Arc<[NodeBinding]>,
    /// What its functions are to say of those nodes' payloads.
    pub types: Arc<[PlannedType]>,
    /// Executors for each lane, at least 1.
    pub scale: Vec<usize>,
    /// Bytes that are reserved for each of them.
    pub reserved_bytes: u64,
    /// By lane, bytes that each executor's arena may have there: what is reserved for all executors of the deployment, as
    /// memory that others leave unused may hold what it has made.
    pub arena_bytes_max: Vec<u64>,
    /// Whose its executable is.
    pub trust: Trust,
}

/// An executor that was started.
#[derive(Debug, Clone, Copy)]
pub struct Running {
    /// Whose it is.
    pub lane: u8,
    /// Which executable.
    pub executable: u16,
    /// Its CPU.
    pub cpu: u32,
}

/// The part of a deployment, of one of its placements if it has several, on this worker.
#[derive(Debug)]
pub struct Deployment {
    /// The plan, checked.
    pub plan: Arc<Plan>,
    /// What each lane counts of the workflow: the same for all deployments of it.
    pub counters: Vec<Arc<WorkflowCounters>>,
    /// Its executables.
    pub pools: Vec<Pool>,
    /// Where in its life it is.
    pub state: DeploymentState,
    /// Executors by process, those that are being ended too.
    pub executors: BTreeMap<u32, Running>,
    /// Executors that are being started, by executable and lane.
    pub starting: BTreeMap<(u16, u8), usize>,
    /// Lanes that still have something of it.
    pub lanes: BTreeSet<u8>,
    /// The files that it was planned from, if they were small enough.
    pub sources: Option<Sources>,
}

impl Deployment {
    /// The pools of a plan, its executors divided over `lanes`.
    ///
    /// # Errors
    /// [`DeploymentError::Executable`] if one is missing from `folder` or is none.
    pub fn pools(plan: &Plan, folder: &Path, lanes: u8) -> Result<Vec<Pool>, DeploymentError> {
        let mut pools = Vec::with_capacity(plan.executables.len());
        for (index, executable) in plan.executables.iter().enumerate() {
            let path = executable_path(folder, &executable.name)?;
            let nodes = plan
                .nodes
                .iter()
                .filter_map(|node| bind(node, index, plan))
                .collect();
            let types = plan.types.iter();
            let types = types.filter_map(|one| PlannedType::of(plan, one, index));
            let share = |lane| usize::from(executors_on(lane, executable.scale, lanes));
            let reserved_bytes = u64::from(executable.memory_mib) << 20;
            pools.push(Pool {
                path,
                nodes,
                types: types.collect(),
                scale: (0..lanes).map(share).collect(),
                reserved_bytes,
                arena_bytes_max: Vec::new(),
                trust: executable.trust,
            });
        }
        let on_lane = |lane: u8| {
            let reserved = |pool: &Pool| pool.reserved_bytes * pool.scale[usize::from(lane)] as u64;
            pools.iter().map(reserved).sum::<u64>()
        };
        let arena_bytes_max: Vec<u64> = (0..lanes).map(on_lane).collect();
        for pool in &mut pools {
            pool.arena_bytes_max.clone_from(&arena_bytes_max);
        }
        Ok(pools)
    }

    /// Bytes that pools need together.
    #[must_use]
    pub fn bytes_of(pools: &[Pool]) -> u64 {
        pools
            .iter()
            .map(|pool| pool.reserved_bytes * pool.scale.iter().sum::<usize>() as u64)
            .sum()
    }

    /// Executors of this executable that this lane has or will have.
    fn count(&self, executable: u16, lane: u8) -> usize {
        let running = self
            .executors
            .values()
            .filter(|e| (e.executable, e.lane) == (executable, lane))
            .count();
        running + self.starting.get(&(executable, lane)).copied().unwrap_or(0)
    }
}

/// The node as its executor is told of it, if it is one of this executable.
fn bind(node: &NodePlan, of: usize, plan: &Plan) -> Option<NodeBinding> {
    let Work::Function {
        executable,
        function,
        arguments,
    } = &node.work
    else {
        return None;
    };
    if usize::from(*executable) != of {
        return None;
    }
    let inputs = node.inputs.iter().map(|input| Port {
        name: input.name.clone(),
        kind: input.kind,
    });
    // What failed is not for the function to say.
    let returned = node.outputs.len() - usize::from(node.error_output.is_some());
    let outputs = node.outputs[..returned].iter().map(|output| Port {
        name: output.name.clone(),
        kind: output.kind,
    });
    let maximum = |output| {
        plan.maximum(PortRef::Written {
            node: node.id,
            output,
        })
    };
    let maxima: Vec<Maximum> = (0..returned as u16).map(maximum).collect();
    let declared = maxima.iter().any(Maximum::is_declared);
    Some(NodeBinding {
        node: node.id,
        name: node.name.clone(),
        function: function.clone(),
        arguments: arguments.clone(),
        inputs: inputs.collect(),
        outputs: outputs.collect(),
        maxima: if declared { maxima } else { Vec::new() },
    })
}

/// The executable that runs commands. It comes with the worker, and is beside its program unless the functions folder has
/// one of that name.
pub const COMMAND_EXECUTABLE: &str = "faasflow-command";

/// The folder of the worker's own program.
fn own_folder() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    program.parent().map(Path::to_owned)
}

/// The file of the executable of this name, which is in this folder unless it comes with the worker.
///
/// # Errors
/// [`DeploymentError::Executable`] if there is none, or it is none.
pub fn executable_path(folder: &Path, name: &str) -> Result<PathBuf, DeploymentError> {
    find_executable(folder, own_folder().as_deref(), name)
}

/// The executable of this name: in the functions folder, or, if it is what comes with the worker, in the worker's `own`.
fn find_executable(
    folder: &Path,
    own: Option<&Path>,
    name: &str,
) -> Result<PathBuf, DeploymentError> {
    let found = find_in(folder, name);
    let own = own.filter(|_| name == COMMAND_EXECUTABLE && !folder.join(name).exists());
    match own {
        Some(own) => find_in(own, name),
        None => found,
    }
}

/// The executable file of this name, directly in the folder. A symbolic link in the folder may lead elsewhere: whoever
/// may write there decides what is run.
fn find_in(folder: &Path, name: &str) -> Result<PathBuf, DeploymentError> {
    let wrong = |reason: &str| {
        let (name, folder) = (name.to_owned(), folder.to_owned());
        DeploymentError::Executable {
            name,
            reason: reason.to_owned(),
            folder,
        }
    };
    let path = folder.join(name);
    if path.parent() != Some(folder) {
        return Err(wrong("is not directly in it"));
    }
    let metadata =
        std::fs::metadata(&path).map_err(|error| wrong(&format!("cannot be had ({error})")))?;
    if !metadata.is_file() {
        return Err(wrong("is not a file"));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(wrong("is not executable (chmod +x it)"));
    }
    Ok(path)
}

/// Names of the executables that this worker can start, sorted: the executable files of its functions folder, and what
/// comes with it.
#[must_use]
pub fn executables(folder: &Path) -> Vec<String> {
    executables_of(folder, own_folder().as_deref())
}

fn executables_of(folder: &Path, own: Option<&Path>) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names
        .chain([COMMAND_EXECUTABLE.to_owned()])
        .filter(|name| find_executable(folder, own, name).is_ok())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// All deployments of a worker.
#[derive(Debug)]
pub struct Deployments {
    known: BTreeMap<DeploymentId, Deployment>,
    limit_bytes: u64,
}

impl Deployments {
    /// None yet; together they may reserve `limit_bytes`.
    #[must_use]
    pub const fn new(limit_bytes: u64) -> Self {
        Self {
            known: BTreeMap::new(),
            limit_bytes,
        }
    }

    /// Bytes reserved.
    #[must_use]
    pub fn reserved_bytes(&self) -> u64 {
        self.known
            .values()
            .map(|deployment| Deployment::bytes_of(&deployment.pools))
            .sum()
    }

    /// The placement of this id.
    pub fn get_mut(&mut self, id: DeploymentId) -> Option<&mut Deployment> {
        self.known.get_mut(&id)
    }

    /// Whether a plan with these pools may be taken on.
    ///
    /// # Errors
    /// It is known, older than what there is, contended, or needs more memory than is free.
    pub fn admits(&self, plan: &Plan, pools: &[Pool]) -> Result<(), DeploymentError> {
        if self.known.contains_key(&plan.deployment) {
            return Err(DeploymentError::Known(plan.deployment));
        }
        if self.known.len() >= DEPLOYMENTS_MAX {
            return Err(DeploymentError::TooMany);
        }
        for other in self
            .known
            .values()
            .filter(|other| other.plan.workflow == plan.workflow)
        {
            let workflow = plan.workflow.clone();
            let of = other.plan.replica.of;
            match other.state {
                DeploymentState::Prepared if of == plan.replica.of => {
                    if !replicas::are_alike(plan, &other.plan) {
                        let replica = plan.replica;
                        return Err(DeploymentError::Unlike { replica });
                    }
                }
                DeploymentState::Prepared => {
                    return Err(DeploymentError::Contended {
                        workflow,
                        other: of,
                    });
                }
                DeploymentState::Active if plan.version <= other.plan.version => {
                    let (version, current) = (plan.version, other.plan.version);
                    return Err(DeploymentError::Version {
                        workflow,
                        version,
                        current,
                    });
                }
                DeploymentState::Active | DeploymentState::Retiring => {}
            }
        }
        let (wanted, reserved) = (Deployment::bytes_of(pools), self.reserved_bytes());
        let free = self.limit_bytes.saturating_sub(reserved);
        if wanted > free {
            return Err(DeploymentError::Memory {
                wanted,
                free,
                limit: self.limit_bytes,
            });
        }
        Ok(())
    }

    /// Takes on what [`Deployments::admits`] has admitted.
    pub fn insert(&mut self, deployment: Deployment) {
        self.known.insert(deployment.plan.deployment, deployment);
    }

    /// Begins to retire what is deployed under this name, and says which deployments those are.
    ///
    /// # Errors
    /// [`DeploymentError::NoWorkflow`] if nothing is.
    pub fn undeploy(&mut self, workflow: &str) -> Result<BTreeSet<DeploymentId>, DeploymentError> {
        let mut retired = BTreeSet::new();
        for deployment in self.known.values_mut() {
            if deployment.plan.workflow == workflow && deployment.state != DeploymentState::Retiring
            {
                deployment.state = DeploymentState::Retiring;
                retired.insert(deployment.plan.replica.of);
            }
        }
        if retired.is_empty() {
            return Err(self.no_workflow(workflow));
        }
        Ok(retired)
    }

    fn no_workflow(&self, workflow: &str) -> DeploymentError {
        let names: Vec<_> = self.served().into_iter().map(|(name, _)| name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let instead = crate::nearest::instead(workflow, &names, "deployed are", "nothing is");
        DeploymentError::NoWorkflow {
            workflow: workflow.to_owned(),
            instead,
        }
    }

    /// A lane has nothing of this deployment left: true if it was the last, and the deployment is gone.
    pub fn removed(&mut self, id: DeploymentId, lane: u8) -> bool {
        let Some(deployment) = self.known.get_mut(&id) else {
            return false;
        };
        deployment.lanes.remove(&lane);
        if !deployment.lanes.is_empty() {
            return false;
        }
        self.known.remove(&id);
        true
    }

    /// Notes that one more executor is being started for a lane, if it is within what was reserved. The number is its
    /// place among those that the lane has.
    #[must_use]
    pub fn begin_start(&mut self, id: DeploymentId, executable: u16, lane: u8) -> Option<usize> {
        let deployment = self.known.get_mut(&id)?;
        let allowed = *deployment
            .pools
            .get(usize::from(executable))?
            .scale
            .get(usize::from(lane))?;
        let count = deployment.count(executable, lane);
        if count >= allowed {
            return None;
        }
        *deployment.starting.entry((executable, lane)).or_default() += 1;
        Some(count)
    }

    /// Notes what came of a start that [`Deployments::begin_start`] allowed: whether the deployment is still there to
    /// have the executor.
    pub fn end_start(
        &mut self,
        id: DeploymentId,
        place: (u16, u8),
        started: Option<(u32, Running)>,
    ) -> bool {
        let Some(deployment) = self.known.get_mut(&id) else {
            return false;
        };
        if let Some(starting) = deployment.starting.get_mut(&place) {
            *starting = starting.saturating_sub(1);
        }
        if !deployment.lanes.contains(&place.1) {
            return false;
        }
        deployment.executors.extend(started);
        true
    }

    /// An executor's process is no one's any more; what it was.
    pub fn executor_ended(&mut self, id: DeploymentId, pid: u32) -> Option<Running> {
        self.known.get_mut(&id)?.executors.remove(&pid)
    }

    /// Active workflows with their versions, by name.
    #[must_use]
    pub fn served(&self) -> Vec<(String, u32)> {
        let active = self
            .known
            .values()
            .filter(|deployment| deployment.state == DeploymentState::Active);
        let mut served: Vec<_> = active
            .map(|d| (d.plan.workflow.clone(), d.plan.version))
            .collect();
        served.sort_unstable();
        // Of several placements each would name it.
        served.dedup();
        served
    }

    /// What lanes count of a workflow: what they count already, if there is a deployment of it.
    #[must_use]
    pub fn counters_of(&self, workflow: &str, lanes: u8) -> Vec<Arc<WorkflowCounters>> {
        let mut known = self.known.values();
        let same = known.find(|deployment| deployment.plan.workflow == workflow);
        match same {
            Some(deployment) => deployment.counters.clone(),
            None => (0..lanes).map(|_| Arc::default()).collect(),
        }
    }

    /// All that there are, with their workflows' names.
    #[must_use]
    pub fn all(&self) -> Vec<(DeploymentId, String)> {
        let all = self.known.iter();
        all.map(|(id, deployment)| (*id, deployment.plan.workflow.clone()))
            .collect()
    }

    /// What each workflow has in memory, by name.
    #[must_use]
    pub fn workflows(&self) -> Vec<WorkflowStatus> {
        let mut all: BTreeMap<&str, WorkflowStatus> = BTreeMap::new();
        for deployment in self.known.values() {
            let workflow = &deployment.plan.workflow;
            let reserved_bytes = Deployment::bytes_of(&deployment.pools);
            if let Some(known) = all.get_mut(workflow.as_str()) {
                known.reserved_bytes += reserved_bytes;
                continue;
            }
            let counters = &deployment.counters;
            let sum = |of: fn(&WorkflowCounters) -> &Counter| {
                counters.iter().map(|lane| of(lane).get()).sum::<u64>()
            };
            let latest = |of: fn(&WorkflowCounters) -> &Counter| {
                let times = counters.iter().map(|lane| of(lane).get());
                times.max().filter(|unix_ms| *unix_ms > 0)
            };
            let amount = |payloads, bytes| Amount {
                payloads: sum(payloads),
                bytes: sum(bytes),
            };
            let spill = Moved {
                out: amount(|lane| &lane.spilled, |lane| &lane.spilled_bytes),
                back: amount(|lane| &lane.spill_back, |lane| &lane.spill_back_bytes),
                copied: amount(|lane| &lane.spill_copied, |lane| &lane.spill_copied_bytes),
                refused: sum(|lane| &lane.spill_refused),
                lost: sum(|lane| &lane.spill_lost),
            };
            let remote = Moved {
                out: amount(|lane| &lane.stored, |lane| &lane.stored_bytes),
                back: amount(|lane| &lane.remote_back, |lane| &lane.remote_back_bytes),
                copied: amount(|lane| &lane.remote_copied, |lane| &lane.remote_copied_bytes),
                refused: sum(|lane| &lane.remote_refused),
                lost: sum(|lane| &lane.remote_lost),
            };
            let mut all_moved = spill;
            all_moved.add(remote);
            let mut fetched = all_moved.back;
            fetched.add(all_moved.copied);
            let status = WorkflowStatus {
                workflow: workflow.clone(),
                reserved_bytes,
                leases: sum(|lane| &lane.leases),
                leased_bytes: sum(|lane| &lane.lease_bytes),
                leased_peak_bytes: sum(|lane| &lane.lease_bytes_peak),
                leased_peak_unix_ms: latest(|lane| &lane.lease_peak_unix_ms),
                segments: sum(|lane| &lane.segments),
                held_bytes: sum(|lane| &lane.segment_bytes),
                segments_peak: sum(|lane| &lane.segments_peak),
                held_peak_bytes: sum(|lane| &lane.segment_bytes_peak),
                held_peak_unix_ms: latest(|lane| &lane.segment_peak_unix_ms),
                quota_bytes: sum(|lane| &lane.quota_bytes),
                lacking_bytes: counters
                    .iter()
                    .map(|lane| lane.lacking_bytes.get())
                    .collect(),
                away: sum(|lane| &lane.away),
                away_bytes: sum(|lane| &lane.away_bytes),
                spilled: spill.out.payloads,
                spilled_bytes: spill.out.bytes,
                stored: remote.out.payloads,
                stored_bytes: remote.out.bytes,
                fetched: fetched.payloads,
                fetched_bytes: fetched.bytes,
                carries_refused: all_moved.refused,
                payloads_lost: all_moved.lost,
                held_back: sum(|lane| &lane.held_back),
                overdrawn: sum(|lane| &lane.overdrawn),
                windowed: sum(|lane| &lane.windowed),
                arrivals_refused: sum(|lane| &lane.arrivals_refused),
                spill,
                remote,
                // Lanes are asked for these.
                reads: ReadsStatus::default(),
                holders: Vec::new(),
                pinned_bytes: sum(|lane| &lane.pinned_bytes),
            };
            all.insert(workflow, status);
        }
        all.into_values().collect()
    }

    /// For the worker's status, by workflow, version and placement.
    #[must_use]
    pub fn status(&self) -> Vec<DeploymentStatus> {
        let mut all: Vec<_> = self.known.values().map(Deployment::status).collect();
        all.sort_by(|a, b| {
            let key = |of: &DeploymentStatus| (of.version, of.replica);
            (&a.workflow, key(a)).cmp(&(&b.workflow, key(b)))
        });
        all
    }
}

impl Deployment {
    fn status(&self) -> DeploymentStatus {
        let executors = self.executors.iter().map(|(&pid, running)| ExecutorStatus {
            pid,
            executable: self.plan.executables[usize::from(running.executable)]
                .name
                .clone(),
            lane: running.lane,
            cpu: Some(running.cpu),
        });
        DeploymentStatus {
            workflow: self.plan.workflow.clone(),
            version: self.plan.version,
            deployment: self.plan.deployment,
            replica: self.plan.replica.number,
            replicas: self.plan.replica.count,
            balance: self.plan.replica.balance,
            state: self.state,
            nodes: self.plan.nodes.len() as u32,
            reserved_bytes: Self::bytes_of(&self.pools),
            executors: executors.collect(),
            // Lanes are asked for these.
            edges: Vec::new(),
            edges_unlisted: 0,
        }
    }
}

#[cfg(test)]
mod tests;
