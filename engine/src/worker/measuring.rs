//! Measuring the links between workers: who may, for how long, and on which thread. docs/protocol.md says what is sent.
//!
//! Each end of a measurement has a thread of its own ([`near`] measures, [`far`] echoes and throws away), off the lanes' CPUs
//! where there are others. A worker takes part in one measurement at a time, at whichever end: a second would be measured
//! too. What a peer says is believed within bounds: so many bytes and probes, and [`TIME_MAX`] in all.

mod far;
mod framed;
mod near;

use crate::wire::{
    LinkFigures, LinkWish, MEASURED_BYTES_MAX, MEASURED_BYTES_MIN, ROUND_TRIPS_MAX, Role,
};
use crate::worker::control::Control;
use crate::worker::control_io::Connection;
use crate::worker::links::LinkError;
use crate::worker::quantities::size_text;
use crate::worker::run::bind_to;
use framed::{Broken, Framed};
use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Longest measurement, from its welcome on. A transfer of the least size takes that long at 6.5 KiB/s.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Why a link was not measured. What it says goes to the master.
#[derive(Debug, Error)]
pub(super) enum MeasureError {
    #[error(
        "worker {worker} has no link to itself: name two workers, each by an address that leads to it"
    )]
    Itself { worker: String },
    #[error(
        "a measurement takes 1 to {ROUND_TRIPS_MAX} round trips and {} to {} in all, not {round_trips} and {}: ask \
         for what it takes",
        size_text(MEASURED_BYTES_MIN), size_text(MEASURED_BYTES_MAX), size_text(*.bytes)
    )]
    Limits { round_trips: u32, bytes: u64 },
    #[error(
        "worker {worker} takes part in another measurement: try again when that has ended, in {TIME_MAX:?} at the latest"
    )]
    Busy { worker: String },
    #[error("{source}; {remedy}")]
    Connect { source: LinkError, remedy: String },
    #[error(
        "the connection from worker {from} to worker {to} was lost while it was measured: {source}; see the log of {to}, \
         and try again"
    )]
    Broken {
        from: String,
        to: String,
        source: Broken,
    },
    #[error("worker {worker} has no thread left for a measurement: raise its limits (ulimit -u)")]
    Thread { worker: String },
    #[error("worker {worker} ends: start it again")]
    Ending { worker: String },
}

/// What helps where a connection does not come about.
fn remedy(error: &LinkError, from: &str) -> String {
    match error {
        LinkError::Unreachable { worker, .. } => format!(
            "start {worker}, or name it by an address at which worker {from} reaches it, too"
        ),
        LinkError::Other { .. } => "name each worker by its own address".to_owned(),
        LinkError::Refused { .. } | LinkError::Greeting { .. } => {
            "all workers need one --cluster-key-file and one release, and each takes part in one measurement at a time"
                .to_owned()
        }
    }
}

/// A measurement that is under way, and the place that it has.
struct Task {
    socket: OwnedFd,
    place: OwnedSemaphorePermit,
    /// Where its thread may run.
    cpus: Vec<u32>,
}

impl Task {
    /// Runs one end of it on a thread of its own. When its outcome is there, its place is free again, and only then does
    /// the other end see the connection closed.
    fn start<T: Send + 'static>(
        self,
        end: impl FnOnce(&mut Framed) -> Result<T, Broken> + Send + 'static,
    ) -> io::Result<oneshot::Receiver<Result<T, Broken>>> {
        let Self {
            socket,
            place,
            cpus,
        } = self;
        let (sender, outcome) = oneshot::channel();
        std::thread::Builder::new()
            .name("measure".to_owned())
            .spawn(move || {
                // Where it runs is for the lanes' good; without it the figures are as true.
                if let Err(error) = bind_to(&cpus) {
                    tracing::debug!("a measurement runs on any CPU of the worker: {error}");
                }
                let framed = Framed::new(TcpStream::from(socket), TIME_MAX);
                let (measured, framed) = match framed {
                    Ok(mut framed) => (end(&mut framed), Some(framed)),
                    Err(error) => (Err(error.into()), None),
                };
                drop(place);
                if let Some(framed) = framed {
                    framed.close();
                }
                // Whoever waited for it has gone with the worker's end.
                let _ = sender.send(measured);
            })?;
        Ok(outcome)
    }
}

impl Control {
    /// The CPUs of this worker that are no lane's; all of them if there are no others.
    fn measuring_cpus(&self) -> Vec<u32> {
        let config = &self.identity.config;
        let placement = self.placement.borrow();
        let lanes: Vec<u32> = (0..config.lanes)
            .map(|lane| placement.lane_cpu(lane))
            .collect();
        let others = config.cpus.iter().filter(|cpu| !lanes.contains(cpu));
        let others: Vec<u32> = others.copied().collect();
        if others.is_empty() {
            return config.cpus.clone();
        }
        others
    }

    /// Measures the link from this worker to another.
    ///
    /// # Errors
    /// Why it was not measured; nothing is left of it then.
    pub(super) async fn measure_link(&self, wish: LinkWish) -> Result<LinkFigures, MeasureError> {
        let to = wish.worker.clone();
        let measured = self.measure(wish).await;
        match &measured {
            Ok(figures) => tracing::info!(
                "measured the link to worker {to}: {} ns, {} in {} ns",
                figures.latency_ns,
                size_text(figures.bytes),
                figures.transfer_ns
            ),
            Err(error) => {
                match error {
                    MeasureError::Connect { .. }
                    | MeasureError::Broken { .. }
                    | MeasureError::Ending { .. } => self.counters.measurements_broken.add(1),
                    _ => self.counters.measurements_refused.add(1),
                }
                tracing::warn!("the link to worker {to} was not measured: {error}");
            }
        }
        measured
    }

    async fn measure(&self, wish: LinkWish) -> Result<LinkFigures, MeasureError> {
        let me = || self.identity.config.name.clone();
        let round_trips = wish.round_trips;
        if wish.worker == self.identity.config.name {
            return Err(MeasureError::Itself { worker: me() });
        }
        if !(1..=ROUND_TRIPS_MAX).contains(&round_trips)
            || !(MEASURED_BYTES_MIN..=MEASURED_BYTES_MAX).contains(&wish.bytes)
        {
            let bytes = wish.bytes;
            return Err(MeasureError::Limits { round_trips, bytes });
        }
        let Ok(place) = Arc::clone(&self.measuring).try_acquire_owned() else {
            return Err(MeasureError::Busy { worker: me() });
        };
        self.counters.measurements.add(1);
        let role = Role::Measurer { worker: me() };
        let greeted = self.caller().greet(&wish.worker, &wish.address, role).await;
        let greeted = greeted.map_err(|source| MeasureError::Connect {
            remedy: remedy(&source, &self.identity.config.name),
            source,
        })?;
        let task = Task {
            socket: greeted.socket,
            place,
            cpus: self.measuring_cpus(),
        };
        let effort = near::Effort {
            round_trips,
            bytes: wish.bytes,
        };
        let outcome = task
            .start(move |framed| near::measure(framed, effort))
            .map_err(|_| MeasureError::Thread { worker: me() })?;
        let ending = || MeasureError::Ending { worker: me() };
        let measured = self.unless_ending(outcome).await.ok_or_else(ending)?;
        measured.map_err(|source| MeasureError::Broken {
            from: me(),
            to: wish.worker,
            source,
        })
    }

    /// What a thread comes to, unless the worker ends before. The thread ends by itself then, or with the process.
    async fn unless_ending<T>(&self, outcome: oneshot::Receiver<T>) -> Option<T> {
        let mut end = self.end.clone();
        let (mut outcome, mut ended) = (pin!(outcome), pin!(end.wait_for(|ended| *ended)));
        poll_fn(|context| {
            if let Poll::Ready(outcome) = outcome.as_mut().poll(context) {
                return Poll::Ready(outcome.ok());
            }
            ended.as_mut().poll(context).map(|_| None)
        })
        .await
    }

    /// Serves the far end of a measurement that a greeted worker begins.
    pub(super) fn answer_measurement(
        self: &Rc<Self>,
        connection: Connection,
        worker: String,
        place: OwnedSemaphorePermit,
    ) {
        self.counters.measurements.add(1);
        let cpus = self.measuring_cpus();
        let started = connection.into_descriptor().and_then(|socket| {
            let task = Task {
                socket,
                place,
                cpus,
            };
            task.start(far::answer)
        });
        let control = Rc::clone(self);
        // Not counted among the open connections: the worker's end does not wait for it.
        tokio::task::spawn_local(async move {
            let broken = match started {
                Ok(outcome) => match control.unless_ending(outcome).await {
                    Some(Err(broken)) => broken.to_string(),
                    Some(Ok(())) | None => return,
                },
                Err(error) => error.to_string(),
            };
            control.counters.measurements_broken.add(1);
            tracing::warn!("a measurement by worker {worker} broke: {broken}");
        });
    }
}
