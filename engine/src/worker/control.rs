//! The control thread: who may talk to this worker, and what the master asks of it.
//!
//! It accepts connections, greets them, serves those of the master, and hands those of clients and peers to lanes. It
//! promises that a stranger gets a challenge and a refusal and nothing else; that strangers hold one of [`GREETINGS_MAX`]
//! places each, for [`GREETING_TIME_MAX`] at most, parting words included, with one body of [`GREETING_BYTES_MAX`](wire::GREETING_BYTES_MAX) at a
//! time beside the connection itself; that every refusal is counted; and that nothing a caller sends stops the worker. What deployments need is done in `worker::deploy`.

mod admission;

use crate::lane::command::LaneCommand;
use crate::status::{Calibration, DriverStatus};
use crate::status::{ControlCounters, Driver};
use crate::wire::{
    self, BODY_BYTES_MAX, Control as Request, ControlReply, Frame, FrameKind, WireError,
    WorkerDescription,
};
use crate::worker::bulks::Bulks;
use crate::worker::config::Config;
use crate::worker::control_io::{Connection, EndSignal, Ending, FrameError, Listener};
use crate::worker::deployments::{Deployments, executables};
use crate::worker::lanes::LaneHandle;
use crate::worker::links::{self, Links};
use crate::worker::placement::Placement;
use crate::worker::sharing::{HostDoor, Unshared};
use crate::worker::warden::WardenHandle;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Notify, Semaphore};

/// Connections that may be greeting at one time; further ones wait in the kernel's backlog.
pub const GREETINGS_MAX: usize = 64;
/// How long a connection may take to greet.
pub const GREETING_TIME_MAX: Duration = Duration::from_secs(3);
/// Control connections at one time.
const CONTROLS_MAX: usize = 64;
/// How long a control connection may be idle.
const CONTROL_IDLE_MAX: Duration = Duration::from_secs(600);
/// How long an answer may take to be sent.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// How long the last words to a refused caller may take.
const PARTING_TIME_MAX: Duration = Duration::from_secs(1);
/// Pause after a connection could not be accepted, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a worker is, from its start to its end.
#[derive(Debug)]
pub struct Identity {
    /// What it was told.
    pub config: Config,
    /// Its restart epoch.
    pub epoch: u32,
    /// Where it listens, with the port that the kernel chose if it was asked to.
    pub address: SocketAddr,
    /// How it does I/O, and why.
    pub driver: DriverStatus,
    /// What the machine costs.
    pub calibration: Calibration,
    /// How long an adaptive wait polls, in nanoseconds.
    pub spin_budget_ns: u64,
    /// When it started.
    pub started: Instant,
}

/// The control thread's state. Its tasks share it; none holds a borrow across a wait.
pub struct Control {
    pub(super) identity: Identity,
    pub(super) lanes: Vec<LaneHandle>,
    pub(super) report_notify: Arc<Notify>,
    pub(super) counters: ControlCounters,
    pub(super) warden: WardenHandle,
    pub(super) deployments: RefCell<Deployments>,
    pub(super) placement: RefCell<Placement>,
    pub(super) links: RefCell<Links>,
    /// By what memory is shared with workers on this host.
    pub(super) host_door: Option<Rc<HostDoor>>,
    /// Why it is not, if it is not.
    unshared: String,
    /// Held while a plan is prepared: checks and what follows from them must not interleave.
    pub(super) preparing: Mutex<()>,
    /// Held while a link is measured, at either end.
    pub(super) measuring: Arc<Semaphore>,
    pub(super) end: EndSignal,
    ending: Ending,
    controls: Semaphore,
    /// The latest life of each peer that has proved that it is of the cluster.
    peer_epochs: RefCell<BTreeMap<String, u32>>,
    /// Connections of peers that wait for the other half of their link.
    bulks: RefCell<Bulks>,
    /// Of each lane, the places for clients that are free.
    client_places: Vec<Arc<Semaphore>>,
    next_client_lane: Cell<usize>,
    /// Connections of peers that lanes were given.
    links_taken: Cell<u64>,
    connections: Cell<usize>,
    all_closed: Notify,
}

/// Counts a task that waits on a socket, for as long as it does: the worker ends after the last. (A runtime of
/// tokio-uring that is dropped would wait for the kernel, and no one would be left to shut the socket down.)
pub(super) struct Open(Rc<Control>);

impl Open {
    pub(super) fn new(control: &Rc<Control>) -> Self {
        control.connections.set(control.connections.get() + 1);
        Self(Rc::clone(control))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get() - 1);
        if self.0.connections.get() == 0 {
            self.0.all_closed.notify_one();
        }
    }
}

impl Control {
    /// A control thread's state; `report_notify` is what lanes notify of reports, `host_door` by what memory is shared with
    /// workers on this host.
    #[must_use]
    pub fn new(
        identity: Identity,
        lanes: Vec<LaneHandle>,
        report_notify: Arc<Notify>,
        placement: Placement,
        warden: WardenHandle,
        host_door: Result<HostDoor, Unshared>,
    ) -> Self {
        let (ending, end) = Ending::new();
        let client_places = lanes
            .iter()
            .map(|_| Arc::new(Semaphore::new(identity.config.clients_max as usize)))
            .collect();
        let for_executors = identity.config.memory_bytes - identity.config.lanes_bytes();
        Self {
            identity,
            lanes,
            report_notify,
            counters: ControlCounters::default(),
            warden,
            deployments: RefCell::new(Deployments::new(for_executors)),
            placement: RefCell::new(placement),
            links: RefCell::new(Links::default()),
            unshared: host_door
                .as_ref()
                .err()
                .map_or_else(String::new, ToString::to_string),
            host_door: host_door.ok().map(Rc::new),
            preparing: Mutex::new(()),
            measuring: Arc::new(Semaphore::new(1)),
            end,
            ending,
            controls: Semaphore::new(CONTROLS_MAX),
            peer_epochs: RefCell::default(),
            bulks: RefCell::default(),
            client_places,
            next_client_lane: Cell::new(0),
            links_taken: Cell::new(0),
            connections: Cell::new(0),
            all_closed: Notify::new(),
        }
    }

    pub(super) fn driver(&self) -> Driver {
        self.identity.driver.kind
    }

    pub(super) fn caller(&self) -> links::Caller {
        links::Caller {
            driver: self.driver(),
            key: self.identity.config.key.clone(),
            name: self.identity.config.name.clone(),
            epoch: self.identity.epoch,
            end: self.end.clone(),
            host_door: self.host_door.clone(),
            unshared: self.unshared.clone(),
        }
    }

    /// Makes [`Control::serve`] return.
    pub fn end(&self) {
        self.ending.begin();
    }

    fn is_ending(&self) -> bool {
        *self.end.borrow()
    }

    /// Serves until [`Control::end`]; then every connection of this thread is closed, and lanes are told to end.
    pub async fn serve(self: Rc<Self>, listener: Listener) {
        let listener = Rc::new(listener);
        let closer = tokio::task::spawn_local({
            let (listener, mut end) = (Rc::clone(&listener), self.end.clone());
            async move {
                // An error means that the sender is gone, which is an end too.
                let _ = end.wait_for(|ended| *ended).await;
                listener.close();
            }
        });
        let reports = tokio::task::spawn_local(Rc::clone(&self).hear_lanes());
        let sharing = tokio::task::spawn_local(Rc::clone(&self).share_with_hosts());
        self.accept_all(&listener).await;
        let _ = closer.await;
        while self.connections.get() > 0 {
            self.all_closed.notified().await;
        }
        reports.abort();
        sharing.abort();
        for lane in &self.lanes {
            lane.send(LaneCommand::Stop).await;
        }
    }

    async fn accept_all(self: &Rc<Self>, listener: &Listener) {
        let places = Arc::new(Semaphore::new(GREETINGS_MAX));
        while !self.is_ending() {
            if places.available_permits() == 0 {
                self.counters.greetings_delayed.add(1);
            }
            // Every greeting ends in time, so a place becomes free.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match listener.accept(&self.end).await {
                Ok(connection) => {
                    self.counters.connections.add(1);
                    let (control, open) = (Rc::clone(self), Open::new(self));
                    tokio::task::spawn_local(async move {
                        let welcomed = control.greet(connection).await;
                        drop(place);
                        if let Some((connection, caller)) = welcomed {
                            control.admit(connection, caller).await;
                        }
                        drop(open);
                    });
                }
                Err(_) if self.is_ending() => return,
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve_master(self: &Rc<Self>, mut connection: Connection) {
        // Counted when it was judged; between that and this at most a greeting's worth of others came.
        let Ok(_place) = self.controls.try_acquire() else {
            return;
        };
        loop {
            let request = match connection
                .read_frame(BODY_BYTES_MAX, CONTROL_IDLE_MAX)
                .await
            {
                Ok(read) if read.kind == FrameKind::Control => wire::decode::<Request>(&read.body),
                Ok(read) => Err(WireError::Unexpected(read.kind)),
                Err(FrameError::Wire(error)) => Err(error),
                Err(_) => return,
            };
            let request = match request {
                Ok(request) => request,
                Err(error) => {
                    let deadline = tokio::time::Instant::now() + PARTING_TIME_MAX;
                    return self.refuse(connection, &error.into(), deadline).await;
                }
            };
            let reply = self.answer(request).await;
            if connection
                .write(frame(&reply), ANSWER_TIME_MAX)
                .await
                .is_err()
            {
                return;
            }
        }
    }

    async fn answer(self: &Rc<Self>, request: Request) -> ControlReply {
        let done = |result: Result<(), String>| match result {
            Ok(()) => ControlReply::Done,
            Err(reason) => ControlReply::Refused(reason),
        };
        match request {
            Request::Describe => ControlReply::Description(self.describe()),
            Request::Status => match serde_json::to_string(&self.status().await) {
                Ok(json) => ControlReply::Status(json),
                Err(error) => {
                    ControlReply::Refused(format!("the status cannot be written as JSON: {error}"))
                }
            },
            Request::Prepare(plan) => {
                let named = format!("workflow {} version {}", plan.workflow, plan.version);
                let result = self.prepare(plan).await;
                match &result {
                    Ok(()) => {
                        self.counters.plans_accepted.add(1);
                        tracing::info!("prepared {named}");
                    }
                    Err(error) => {
                        self.counters.plans_refused.add(1);
                        tracing::warn!("refused {named}: {error}");
                    }
                }
                done(result.map_err(|error| error.to_string()))
            }
            Request::Activate(id) => {
                done(self.activate(id).await.map_err(|error| error.to_string()))
            }
            Request::Abort(id) => done(self.abort(id).await.map_err(|error| error.to_string())),
            Request::Undeploy(workflow) => done(
                self.undeploy(&workflow)
                    .await
                    .map_err(|error| error.to_string()),
            ),
            Request::Keep {
                deployment,
                sources,
            } => done(
                self.deployments
                    .borrow_mut()
                    .keep(deployment, sources)
                    .map_err(|error| error.to_string()),
            ),
            Request::Deployed {
                workflow,
                placement,
            } => match self.deployed(&workflow, placement) {
                Ok(deployed) => ControlReply::Deployed(deployed),
                Err(error) => ControlReply::Refused(error.to_string()),
            },
            Request::Profile {
                workflow,
                placement,
                from,
            } => match self.profile(&workflow, placement, from).await {
                Ok(page) => ControlReply::Profile(page),
                Err(error) => ControlReply::Refused(error.to_string()),
            },
            Request::MeasureLink(wish) => match self.measure_link(wish).await {
                Ok(figures) => ControlReply::Link(figures),
                Err(error) => ControlReply::Refused(error.to_string()),
            },
            Request::Functions(executables) => match self.functions(&executables).await {
                Ok(functions) => ControlReply::Functions(functions),
                Err(error) => ControlReply::Refused(error.to_string()),
            },
            Request::ForgetProfile(workflow) => done(
                self.forget_profile(&workflow)
                    .await
                    .map_err(|error| error.to_string()),
            ),
        }
    }

    fn describe(&self) -> WorkerDescription {
        let config = &self.identity.config;
        let deployments = self.deployments.borrow();
        WorkerDescription {
            name: config.name.clone(),
            epoch: self.identity.epoch,
            lanes: config.lanes,
            cpus: config.cpus.clone(),
            memory_bytes: config.memory_bytes,
            // The lanes' half is not in it: the master leaves that out of what it places by itself.
            memory_reserved_bytes: deployments.reserved_bytes(),
            executables: executables(&config.functions),
            workflows: deployments.served(),
        }
    }
}

fn frame<T>(body: &T) -> Vec<u8>
where
    T: Frame
        + for<'a> rkyv::Serialize<
            rkyv::api::high::HighSerializer<
                rkyv::util::AlignedVec,
                rkyv::ser::allocator::ArenaHandle<'a>,
                rkyv::rancor::Error,
            >,
        >,
{
    let mut bytes = Vec::new();
    wire::encode(body, &mut bytes);
    bytes
}
