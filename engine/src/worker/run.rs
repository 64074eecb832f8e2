//! A worker from its start to its end: its threads, and the order in which they begin and end.
//!
//! ```text
//! main thread     checks, calibrates, starts the others; then it is the warden
//! lane 0..n       each pinned to a CPU; the caller says what they run
//! control         accepts, deploys, reports; prints `ready` when connections are taken
//! ```
//!
//! It ends by SIGTERM or SIGINT: the control thread stops listening, closes its connections and tells the lanes, which tell
//! what runs to stop, give it its grace, and let their executors go; then the warden waits for those. A lane or control thread that fails ends the whole
//! worker with exit code 1: half a worker is worse than none, since peers and clients notice one that is gone at once.

use crate::lane::setup::{LaneSetup, Yields};
use crate::status::{Driver, DriverStatus};
use crate::trace::ClockId;
use crate::worker::calibrate::calibrate;
use crate::worker::config::{Config, DriverChoice};
use crate::worker::control::{Control, Identity};
use crate::worker::control_io::{self, Listener};
use crate::worker::host;
use crate::worker::lanes::{LaneEnd, LaneHandle};
use crate::worker::placement::{Placement, spin_budget_ns};
use crate::worker::sharing::{HostDoor, HostSharing, Unshared};
use crate::worker::state::{StateError, WorkerState, worker_hash};
use crate::worker::store::{StoreConfig, StoreError, StoreThread};
use crate::worker::warden::{Warden, WardenHandle, WardenRequest};
use faasstore::segment::{set_huge_pages, work_aside};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::SigSet;
use nix::unistd::Pid;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, oneshot};

/// Descriptors without which a worker could start nothing: it has about thirty itself, and each executor and connection
/// takes some.
const DESCRIPTORS_MIN: u64 = 128;
/// Descriptors that a worker and its executors may have, if the hard limit allows it: one for each of the mappings that
/// the kernel grants a process.
const DESCRIPTORS_WANTED: u64 = 1 << 16;

/// Why a driver is used that was named.
const AS_TOLD: &str = "as --driver or FAASFLOW_DRIVER says";
/// How long a new executor may take to say what it is.
const HELLO_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a worker waits for its address to be free.
const LISTEN_PATIENCE: Duration = Duration::from_secs(1);
/// How long lanes may take to end beyond the grace of what they have told to stop.
const LANE_END_TIME_MAX: Duration = Duration::from_secs(2);
/// How often an ending worker looks whether its lanes have ended.
const LANE_END_LOOK: Duration = Duration::from_millis(1);

/// What a worker's lanes are made of.
#[derive(Clone, Copy)]
pub struct LaneProgram {
    /// Whether io_uring is to be had for all that a lane does with it.
    pub probe: fn() -> io::Result<()>,
    /// What a lane's thread runs, until [`crate::lane::command::LaneCommand::Stop`].
    pub run: fn(LaneSetup) -> io::Result<()>,
}

/// Why a worker did not start. Each is a matter of what it was told or where it runs: exit code 2.
#[derive(Debug, Error)]
pub enum StartupError {
    /// Its state folder cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its address is not to be had.
    #[error("--listen {address}: {reason}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not, and what to do.
        reason: String,
    },
    /// io_uring was asked for and is not to be had.
    #[error(
        "--driver io-uring: it cannot be used here ({0}); allow it (see docs/operations.md), or take --driver auto"
    )]
    Driver(io::Error),
    /// It may open next to nothing.
    #[error(
        "a worker needs at least {DESCRIPTORS_MIN} descriptors, but this process may open {limit}: raise the limit \
         (ulimit -n)"
    )]
    Descriptors {
        /// What it may open.
        limit: u64,
    },
    /// A socket could not be made where it was asked for.
    #[error("--host-sharing {}: {reason}; name a folder that this user may write to", folder.display())]
    HostSharing {
        /// Which folder.
        folder: std::path::PathBuf,
        /// Why not.
        reason: String,
    },
    /// Its CPUs are not to be had.
    #[error("--cpus: this process cannot be bound to them: {0}")]
    Affinity(nix::errno::Errno),
    /// Its store is not to be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system is short of something.
    #[error(
        "the worker cannot start: {0}; check the limits on threads, descriptors and locked memory (ulimit -a)"
    )]
    System(#[from] io::Error),
}

/// Runs a worker on the calling thread, which must be the process's main thread, until it is told to end; returns the
/// exit code.
///
/// # Errors
/// A [`StartupError`] if it cannot start; nothing is left running then.
pub fn run(config: Config, lanes: LaneProgram) -> Result<u8, StartupError> {
    let started = Instant::now();
    hear_signals()?;
    allow_descriptors()?;
    set_huge_pages(config.huge_pages);
    let driver = choose_driver(config.driver, lanes.probe)?;
    // Executors and threads inherit the set, before each is bound to its own CPU.
    bind_to(&config.cpus).map_err(StartupError::Affinity)?;
    if let Err(error) = work_aside() {
        tracing::warn!(%error, "lanes unmap large segments themselves, and stand still meanwhile: there is no thread for it");
    }
    let listener = listen(config.listen)?;
    let address = listener.local_addr()?;
    let state = control_io::run(
        driver.kind,
        WorkerState::open(driver.kind, &config.state_dir),
    )??;
    let calibration = calibrate(&config.cpus);
    let placement = Placement::new(
        config.cpus.clone(),
        config.lanes,
        config.wait,
        config.executors,
        &calibration,
    );
    let spin_budget_ns = spin_budget_ns(config.spin_budget_ns, &calibration);
    let (epoch, kind) = (state.epoch(), driver.kind);
    let identity = Identity {
        config,
        epoch,
        address,
        driver,
        calibration,
        spin_budget_ns,
        started,
    };
    say_placement(&identity, &placement);

    let name: Arc<str> = identity.config.name.as_str().into();
    let grace = identity.config.grace;
    let host_door = open_host_door(&identity.config, epoch)?;
    let (mut warden, handle) = Warden::new(Arc::clone(&name), HELLO_TIME_MAX);
    let report_notify = Arc::new(Notify::new());
    let clock = host::clock_id();
    let mut handles = Vec::with_capacity(identity.config.lanes.into());
    let mut threads = Vec::with_capacity(identity.config.lanes.into());
    let mut ends = Vec::with_capacity(identity.config.lanes.into());
    for index in 0..identity.config.lanes {
        let (lane, end) = LaneHandle::new(placement.lane_cpu(index))?;
        handles.push(lane);
        ends.push(end);
    }
    let senders = handles.iter().map(LaneHandle::sender).collect();
    let store = StoreThread::start(store_config(&identity), kind, senders)?;
    for (index, end) in (0..).zip(ends) {
        let setup = lane_setup(
            &identity,
            &placement,
            index,
            end,
            Arc::clone(&report_notify),
            clock,
        );
        let setup = LaneSetup {
            store: Some(store.end()),
            ..setup
        };
        threads.push(start_lane(setup, lanes.run, handle.clone())?);
    }
    start_control(kind, listener, handle.clone(), move || {
        Control::new(
            identity,
            handles,
            report_notify,
            placement,
            handle,
            host_door,
        )
    })?;

    let exit_code = warden.run();
    let all_ended = || threads.iter().all(JoinHandle::is_finished);
    if exit_code == 0 {
        // Until what they have told to stop has ended. Where a thread has failed the others go on, and are not waited for.
        wait_until(all_ended, grace + LANE_END_TIME_MAX);
    }
    warden.end();
    wait_until(all_ended, LANE_END_TIME_MAX);
    store.stop();
    drop(state);
    Ok(exit_code)
}

/// The socket by which memory is shared, or why there is none: an error only where somebody has named a folder for it.
fn open_host_door(config: &Config, epoch: u32) -> Result<Result<HostDoor, Unshared>, StartupError> {
    let door = HostDoor::open(&config.host_sharing, worker_hash(&config.name), epoch);
    match (door, &config.host_sharing) {
        (Err(error), HostSharing::Folder(folder)) => Err(StartupError::HostSharing {
            folder: folder.clone(),
            reason: error.to_string(),
        }),
        (Err(error), HostSharing::Namespace) => {
            tracing::warn!("no memory is shared with workers on this host: {error}");
            Ok(Err(error))
        }
        (door, _) => Ok(door),
    }
}

fn wait_until(ended: impl Fn() -> bool, time_max: Duration) {
    let deadline = Instant::now() + time_max;
    while !ended() && Instant::now() < deadline {
        std::thread::sleep(LANE_END_LOOK);
    }
}

fn choose_driver(
    wanted: DriverChoice,
    probe_lanes: fn() -> io::Result<()>,
) -> Result<DriverStatus, StartupError> {
    let probe = || control_io::probe().and_then(|()| probe_lanes());
    let (kind, reason) = match wanted {
        DriverChoice::Epoll => (Driver::Epoll, AS_TOLD.to_owned()),
        DriverChoice::IoUring => {
            probe().map_err(StartupError::Driver)?;
            (Driver::IoUring, AS_TOLD.to_owned())
        }
        DriverChoice::Auto => match probe() {
            Ok(()) => (Driver::IoUring, "it is allowed here".to_owned()),
            Err(error) => (
                Driver::Epoll,
                format!("io_uring cannot be used here ({error})"),
            ),
        },
    };
    if kind == Driver::Epoll {
        tracing::warn!("using epoll: {reason}; hops between workers will be slower");
    }
    Ok(DriverStatus { kind, reason })
}

/// Blocks no signal, in this process and in what it starts: whoever has started it may have blocked some, as `faasflow run`
/// does for itself. A worker that does not hear SIGTERM cannot be ended in order, and nor can a program.
fn hear_signals() -> Result<(), StartupError> {
    Ok(SigSet::all().thread_unblock().map_err(io::Error::from)?)
}

/// Raises the soft limit on descriptors, for this process and its executors: each segment and each connection takes one,
/// and the usual limit is one for programs that use `select`. There must be some to start with: runtimes panic where they
/// get none.
fn allow_descriptors() -> Result<(), StartupError> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(io::Error::from)?;
    if hard < DESCRIPTORS_MIN {
        return Err(StartupError::Descriptors { limit: hard });
    }
    let wanted = hard.min(DESCRIPTORS_WANTED);
    if soft >= wanted {
        return Ok(());
    }
    Ok(setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).map_err(io::Error::from)?)
}

pub(super) fn bind_to(cpus: &[u32]) -> nix::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu as usize)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// Listens, as soon as whoever listened there before has let go: the kernel takes the io_uring of a process that was killed
/// down behind it, and with it what it listened on.
fn listen(address: SocketAddr) -> Result<TcpListener, StartupError> {
    let began = Instant::now();
    let mut bound = TcpListener::bind(address);
    while let Err(error) = &bound
        && error.kind() == io::ErrorKind::AddrInUse
        && began.elapsed() < LISTEN_PATIENCE
    {
        std::thread::sleep(Duration::from_millis(10));
        bound = TcpListener::bind(address);
    }
    bound.map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another program listens there; take another port, or 0 for any".to_owned()
            }
            io::ErrorKind::AddrNotAvailable => "this host does not have that address".to_owned(),
            io::ErrorKind::PermissionDenied => {
                "not allowed; ports below 1024 are mostly reserved".to_owned()
            }
            _ => error.to_string(),
        };
        StartupError::Listen { address, reason }
    })
}

fn say_placement(identity: &Identity, placement: &Placement) {
    let (config, status) = (&identity.config, placement.status());
    tracing::info!(
        "lanes on CPUs {:?}; executors: {:?} ({})",
        (0..config.lanes)
            .map(|lane| placement.lane_cpu(lane))
            .collect::<Vec<_>>(),
        status.first,
        status.reason
    );
    if placement.is_crowded() {
        tracing::warn!(
            "--wait spin with {} lanes and executors on {} CPUs: more threads would poll than there are CPUs, so \
             lanes yield and executors park; give the worker more CPUs, or take --wait adaptive",
            config.lanes,
            config.cpus.len()
        );
    }
}

fn lane_setup(
    identity: &Identity,
    placement: &Placement,
    index: u8,
    end: LaneEnd,
    report_notify: Arc<Notify>,
    clock: ClockId,
) -> LaneSetup {
    let config = &identity.config;
    LaneSetup {
        index,
        lanes: config.lanes,
        cpu: placement.lane_cpu(index),
        worker_name: config.name.as_str().into(),
        worker_hash: worker_hash(&config.name),
        epoch: identity.epoch,
        clock,
        wait: placement.lane_wait(),
        spin_budget_ns: identity.spin_budget_ns,
        yields: if placement.is_crowded() {
            Yields::Always
        } else {
            Yields::Never
        },
        driver: identity.driver.kind,
        commands: end.commands,
        command_bell: end.command_bell,
        reports: end.reports,
        report_notify,
        counters: end.counters,
        in_flight_max: config.in_flight_max,
        payload_bytes_max: config.payload_bytes_max,
        checksum_payloads: config.checksum_payloads,
        arena_bytes_max: config.lanes_bytes() / u64::from(config.lanes),
        keep_alive: config.keep_alive,
        grace: config.grace,
        lease_max: config.lease_max,
        patience: config.patience,
        store: None,
    }
}

fn store_config(identity: &Identity) -> StoreConfig {
    let config = &identity.config;
    StoreConfig {
        spill_folder: config.spill_dir.clone(),
        spill_bytes_max: config.spill_bytes_max,
        spill_required: config.spill_required,
        remote: config.store.clone(),
        remote_bytes_max: config.store_bytes_max,
        patience: config.store_patience,
        worker: config.name.clone(),
        epoch: identity.epoch,
    }
}

/// Ends the worker with exit code 1 unless it is disarmed: for threads whose end is the worker's, by a panic too.
struct Essential {
    thread: String,
    warden: WardenHandle,
    armed: bool,
}

impl Essential {
    /// The thread has ended as it should; if the worker ends with it, then with this exit code.
    fn ended_well(mut self, exit_code: Option<u8>) {
        self.armed = false;
        if let Some(exit_code) = exit_code {
            // Fails only when the warden has ended already.
            let _ = self.warden.send(WardenRequest::Stop { exit_code });
        }
    }
}

impl Drop for Essential {
    fn drop(&mut self) {
        if self.armed {
            tracing::error!("the {} thread has failed, and the worker ends", self.thread);
            // Fails only when the warden has ended already.
            let _ = self.warden.send(WardenRequest::Stop { exit_code: 1 });
        }
    }
}

fn start_lane(
    setup: LaneSetup,
    run: fn(LaneSetup) -> io::Result<()>,
    warden: WardenHandle,
) -> io::Result<JoinHandle<()>> {
    let thread = format!("lane-{}", setup.index);
    let guard = Essential {
        thread: thread.clone(),
        warden,
        armed: true,
    };
    std::thread::Builder::new().name(thread).spawn(move || {
        if !core_affinity::set_for_current(core_affinity::CoreId {
            id: setup.cpu as usize,
        }) {
            return tracing::error!("lane {} cannot be bound to CPU {}", setup.index, setup.cpu);
        }
        let index = setup.index;
        match run(setup) {
            Ok(()) => guard.ended_well(None),
            Err(error) => tracing::error!("lane {index}: {error}"),
        }
    })
}

fn start_control(
    driver: Driver,
    listener: TcpListener,
    warden: WardenHandle,
    control: impl FnOnce() -> Control + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let guard = Essential {
        thread: "control".to_owned(),
        warden,
        armed: true,
    };
    std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || {
            let served = control_io::run(driver, async {
                serve(Rc::new(control()), driver, listener).await
            });
            match served.and_then(|served| served) {
                Ok(()) => guard.ended_well(Some(0)),
                Err(error) => tracing::error!("control: {error}"),
            }
        })
}

async fn serve(control: Rc<Control>, driver: Driver, listener: TcpListener) -> io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let (mut signals, control) = (signal(kind)?, Rc::clone(&control));
        tokio::task::spawn_local(async move {
            signals.recv().await;
            tracing::info!("told to end");
            control.end();
        });
    }
    if control.identity.config.end_with_stdin {
        let (ended, control) = (stdin_end()?, Rc::clone(&control));
        tokio::task::spawn_local(async move {
            // An error is that thread's end, and nothing more can be heard of standard input then either.
            let _ = ended.await;
            tracing::info!("told to end: standard input has ended");
            control.end();
        });
    }
    let listener = Listener::new(driver, listener)?;
    control.say_ready(&mut io::stdout());
    control.serve(listener).await;
    Ok(())
}

/// Becomes ready when standard input ends. What is read from it is dropped.
fn stdin_end() -> io::Result<oneshot::Receiver<()>> {
    let (sender, ended) = oneshot::channel();
    // A thread of its own: standard input may be a terminal or a file, which no driver can wait for. The process does
    // not wait for it when it ends.
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            // What cannot be read has ended.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            let _ = sender.send(());
        })?;
    Ok(ended)
}

impl Control {
    /// The one line on standard output by which whoever started the worker knows that it takes connections.
    ///
    /// Where nobody listens any more the worker serves all the same: those who speak to it know its address.
    fn say_ready(&self, output: &mut impl Write) {
        let (config, address) = (&self.identity.config, self.identity.address);
        tracing::info!(
            "worker {} listens on {address}, epoch {}",
            config.name,
            self.identity.epoch
        );
        let said =
            writeln!(output, "ready {} {address}", config.name).and_then(|()| output.flush());
        if let Err(error) = said {
            tracing::warn!("cannot say `ready` on standard output: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_raises_its_soft_limit_on_descriptors_to_the_hard_one_within_bounds() {
        let limits = || getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let (_, hard) = limits();
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(1024), hard).unwrap();
        allow_descriptors().unwrap();
        assert_eq!(limits(), (hard.min(DESCRIPTORS_WANTED), hard));
    }
}
