//! What executables say of themselves when nobody wants anything run: their functions, and what these say of their payloads.
//!
//! An executable is started as for a deployment, welcomed without nodes, heard, and ended. So what is told is what an
//! executor says, and there is no other way to say it. It takes part in nothing and reserves no memory.

use crate::plan::{DeploymentId, Trust};
use crate::wire::FUNCTIONS_ASKED_MAX;
use crate::worker::control::Control;
use crate::worker::deployments::{DeploymentError, executable_path};
use crate::worker::hello::StartError;
use crate::worker::placement::Seat;
use crate::worker::warden::{ExecutorSpec, WardenRequest};
use faasstore::binding::{FunctionDescription, WaitStrategy};
use thiserror::Error;
use tokio::sync::oneshot;

/// Bytes of the arena of an executor that runs nothing: two of its smallest segments.
const ARENA_BYTES: u64 = 8 << 10;

/// Why nothing can be said of executables.
#[derive(Debug, Error)]
pub(super) enum FunctionsError {
    /// More than one answer holds.
    #[error(
        "the functions of {0} executables were asked for at once, above the limit of {FUNCTIONS_ASKED_MAX}"
    )]
    Many(usize),
    /// One that is not here.
    #[error(transparent)]
    Executable(#[from] DeploymentError),
    /// One that cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The worker ends.
    #[error("this worker ends")]
    Ending,
}

impl Control {
    /// The functions of each of these executables.
    pub(super) async fn functions(
        &self,
        executables: &[String],
    ) -> Result<Vec<Vec<FunctionDescription>>, FunctionsError> {
        if executables.len() > FUNCTIONS_ASKED_MAX {
            return Err(FunctionsError::Many(executables.len()));
        }
        if executables.is_empty() {
            return Ok(Vec::new());
        }
        // They are started one batch at a time, as plans are prepared.
        let _one_at_a_time = self.preparing.lock().await;
        let mut specs = Vec::with_capacity(executables.len());
        for name in executables {
            let path = executable_path(&self.identity.config.functions, name)?;
            specs.push(ExecutorSpec {
                lane: 0,
                seat: self.seat_apart(),
                deployment: DeploymentId(0),
                workflow: "".into(),
                executable: 0,
                path,
                nodes: [].into(),
                types: [].into(),
                spin_budget_ns: 0,
                reserved_bytes: ARENA_BYTES,
                arena_bytes_max: ARENA_BYTES,
                trust: Trust::Own,
            });
        }
        let (reply, answer) = oneshot::channel();
        self.warden
            .try_send(WardenRequest::Start { specs, reply })
            .map_err(|_| FunctionsError::Ending)?;
        let started = answer.await.map_err(|_| FunctionsError::Ending)??;
        let described = started.into_iter().map(|(_, executor)| {
            self.reap(executor.pid);
            executor.functions.into_vec()
        });
        Ok(described.collect())
    }

    /// A CPU as far from the lanes as there is one, where it sleeps until it is ended.
    fn seat_apart(&self) -> Seat {
        let cpus = &self.identity.config.cpus;
        Seat {
            cpu: cpus.last().copied().unwrap_or_default(),
            wait: WaitStrategy::Park,
        }
    }
}
