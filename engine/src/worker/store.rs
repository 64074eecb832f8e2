//! The store thread: what carries payloads out of lanes' memory to a disk or a server, and brings them back.
//!
//! It owns the tiers and which payload lies where; lanes know payloads by tickets alone. Each request is a task of its own, as
//! many at once as the tier admits. It ends after the lanes, once nothing of what it has begun is under way any more.

use crate::core::store::{Ticket, Unstored};
use crate::lane::command::LaneCommand;
use crate::lane::store::{Landing, StoreEnd, StoreOrder, StoreRequest};
use crate::status::Driver;
use crate::worker::control_io;
use crate::worker::host;
use crate::worker::lanes::LaneSender;
use crossbeam::queue::ArrayQueue;
use faasstore::segment::Slice;
use faasstore::tier::spill::{Spill, SpillConfig, SpillError, SpillIo};
use faasstore::tier::{
    Again, AnyTier, Limits, Place, Redis, RedisConfig, StoreUrl, Tier, TierError, TierKind,
};
use rustc_hash::FxHashMap;
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::Notify;

/// Requests that may wait for the store thread.
const REQUESTS_MAX: usize = 4096;
/// How long keys in a server last without being renewed.
const EXPIRY: Duration = Duration::from_secs(600);
/// How often they are.
const RENEWAL: Duration = Duration::from_secs(120);
/// How often a payload is asked for that a tier cannot give for a moment, at least, and until it is given up: then its time is over
/// as well, which is that of one operation.
const TAKES_MIN: u32 = 5;
/// How often it says that something has failed, at most.
const WARN_PAUSE: Duration = Duration::from_secs(1);
/// How long it waits before it asks again, at first and at most.
const TAKE_PAUSE: Duration = Duration::from_millis(100);
const TAKE_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Where a worker's payloads may be carried.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The folder to spill to.
    pub spill_folder: PathBuf,
    /// Bytes of disk that may be taken; 0 if nothing is to be spilled.
    pub spill_bytes_max: u64,
    /// Whether the worker is not to start if it cannot spill.
    pub spill_required: bool,
    /// A remote store.
    pub remote: Option<StoreUrl>,
    /// Bytes that may be kept there.
    pub remote_bytes_max: u64,
    /// How long a tier may take for an operation, whatever its size.
    pub patience: Duration,
    /// The worker's name.
    pub worker: String,
    /// Its restart epoch.
    pub epoch: u32,
}

impl StoreConfig {
    fn limits(&self) -> Limits {
        Limits {
            patience: self.patience,
            ..Limits::default()
        }
    }
}

/// Why there is no store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The folder cannot be used.
    #[error("--spill-dir: {0}")]
    Spill(#[from] SpillError),
    /// The remote store cannot be used.
    #[error("--store: {0}")]
    Remote(#[from] TierError),
    /// It needs what this program was built without.
    #[error(
        "--store: this faasflow-worker was built without S3; build it with the feature `s3`, or name a redis:// store"
    )]
    NotBuilt,
    /// The system is short of something.
    #[error("the store thread cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// The running thread.
#[derive(Debug)]
pub struct StoreThread {
    end: StoreEnd,
    stop: Arc<StopFlag>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct StopFlag(std::sync::atomic::AtomicBool);

impl StoreThread {
    /// Starts it; it may have no tier.
    ///
    /// # Errors
    /// A [`StoreError`] that names the flag.
    pub fn start(
        config: StoreConfig,
        driver: Driver,
        lanes: Vec<LaneSender>,
    ) -> Result<Self, StoreError> {
        let requests = Arc::new(ArrayQueue::new(REQUESTS_MAX));
        let notify = Arc::new(Notify::new());
        let stop = Arc::new(StopFlag::default());
        let (opened, open) = mpsc::sync_channel(1);
        let inner = (
            Arc::clone(&requests),
            Arc::clone(&notify),
            Arc::clone(&stop),
        );
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                let (requests, notify, stop) = inner;
                let served = control_io::run(driver, async {
                    let tiers = match open_tiers(&config, driver).await {
                        Ok(tiers) => tiers,
                        Err(error) => return drop(opened.send(Err(error))),
                    };
                    let kinds = tiers.iter().map(AnyTier::kind).collect();
                    if opened.send(Ok(kinds)).is_err() {
                        return;
                    }
                    drop(opened);
                    let store = Rc::new(Store {
                        tiers,
                        limits: config.limits(),
                        lanes,
                        places: RefCell::default(),
                        warned: Cell::default(),
                    });
                    store.serve(&requests, &notify, &stop).await;
                });
                if let Err(error) = served {
                    tracing::error!("store: {error}");
                }
            })?;
        let tiers: Vec<TierKind> = open.recv().unwrap_or_else(|_| {
            Err(StoreError::System(std::io::Error::other(
                "it has ended before it began",
            )))
        })?;
        let end = StoreEnd {
            requests,
            notify,
            tiers,
        };
        Ok(Self { end, stop, thread })
    }

    /// What a lane needs of it.
    #[must_use]
    pub fn end(&self) -> StoreEnd {
        self.end.clone()
    }

    /// Ends it, after the lanes have ended; it waits for what is under way.
    pub fn stop(self) {
        self.stop
            .0
            .store(true, std::sync::atomic::Ordering::Release);
        self.end.notify.notify_one();
        // A panic there has been told of by itself.
        let _ = self.thread.join();
    }
}

async fn open_tiers(config: &StoreConfig, driver: Driver) -> Result<Vec<AnyTier>, StoreError> {
    let mut tiers = Vec::new();
    let limits = config.limits();
    if config.spill_bytes_max > 0 {
        let io = match driver {
            Driver::IoUring => SpillIo::IoUring,
            Driver::Epoll => SpillIo::Threads,
        };
        let spill = SpillConfig {
            limits,
            ..SpillConfig::new(config.spill_folder.clone(), config.spill_bytes_max, io)
        };
        match Spill::open(&spill) {
            Ok(spill) => tiers.push(AnyTier::Spill(spill)),
            Err(error) if config.spill_required => return Err(error.into()),
            Err(error) => tracing::warn!("payloads cannot be spilled: {error}"),
        }
    }
    match &config.remote {
        None => {}
        Some(StoreUrl::Redis(url)) => {
            let redis = RedisConfig {
                url: url.clone(),
                worker: config.worker.clone(),
                epoch: config.epoch,
                bytes_max: config.remote_bytes_max,
                expiry: EXPIRY,
                limits,
            };
            tiers.push(AnyTier::Redis(Redis::open(&redis).await?));
        }
        #[cfg(feature = "s3")]
        Some(StoreUrl::S3(url)) => {
            let objects = faasstore::tier::ObjectConfig {
                url: url.clone(),
                worker: config.worker.clone(),
                epoch: config.epoch,
                bytes_max: config.remote_bytes_max,
                limits,
            };
            let objects = faasstore::tier::Objects::open(&objects);
            tiers.push(AnyTier::Objects(objects.await?));
        }
        #[cfg(not(feature = "s3"))]
        Some(_) => return Err(StoreError::NotBuilt),
    }
    Ok(tiers)
}

struct Store {
    tiers: Vec<AnyTier>,
    limits: Limits,
    lanes: Vec<LaneSender>,
    places: RefCell<FxHashMap<(u8, Ticket), Place>>,
    /// When something was last warned of: many payloads may fail for one reason.
    warned: Cell<Option<Instant>>,
}

impl Store {
    async fn serve(
        self: Rc<Self>,
        requests: &ArrayQueue<StoreRequest>,
        notify: &Notify,
        stop: &StopFlag,
    ) {
        let renewing = {
            let store = Rc::clone(&self);
            tokio::task::spawn_local(async move { store.renew().await })
        };
        let mut tasks = tokio::task::JoinSet::new();
        loop {
            while let Some(request) = requests.pop() {
                let store = Rc::clone(&self);
                tasks.spawn_local(async move { store.carry(request).await });
            }
            while tasks.try_join_next().is_some() {}
            if stop.0.load(std::sync::atomic::Ordering::Acquire) {
                break;
            }
            notify.notified().await;
        }
        renewing.abort();
        // Nobody waits for what is under way; what the kernel works on must end before the memory goes.
        tasks.shutdown().await;
        for tier in &self.tiers {
            tier.settled().await;
        }
    }

    /// Keys in a server expire unless somebody renews them.
    async fn renew(&self) {
        loop {
            tokio::time::sleep(RENEWAL).await;
            for tier in &self.tiers {
                if let AnyTier::Redis(redis) = tier
                    && let Err(error) = redis.renew().await
                {
                    tracing::warn!("payloads in the remote store could not be renewed: {error}");
                }
            }
        }
    }

    fn warn(&self, what: std::fmt::Arguments<'_>) {
        let silent = |at: Instant| at.elapsed() < WARN_PAUSE;
        if self.warned.get().is_some_and(silent) {
            return tracing::debug!("{what}");
        }
        self.warned.set(Some(Instant::now()));
        tracing::warn!("{what}");
    }

    fn tier(&self, kind: TierKind) -> Option<&AnyTier> {
        self.tiers.iter().find(|tier| tier.kind() == kind)
    }

    async fn carry(&self, request: StoreRequest) {
        let StoreRequest { lane, what } = request;
        let answer = match what {
            StoreOrder::Put {
                ticket,
                kind,
                payload,
            } => LaneCommand::Stored {
                ticket,
                kind,
                stored: self.put((lane, ticket), kind, payload).await,
            },
            StoreOrder::Take { ticket, into } => {
                let place = self.places.borrow_mut().remove(&(lane, ticket));
                let kind = place.as_ref().map_or(TierKind::Spill, |place| place.kind);
                LaneCommand::Fetched {
                    ticket,
                    kind,
                    fetched: self.take(place, into).await,
                }
            }
            StoreOrder::Copy {
                ticket,
                of,
                offset,
                into,
            } => {
                let place = self.places.borrow().get(&(lane, of)).cloned();
                let kind = place.as_ref().map_or(TierKind::Spill, |place| place.kind);
                LaneCommand::Fetched {
                    ticket,
                    kind,
                    fetched: self.read(place.as_ref(), offset, &into).await,
                }
            }
            StoreOrder::Measure(mut uses) => {
                for of in &mut uses {
                    of.bytes = host::private_bytes(of.pid).unwrap_or_default();
                }
                LaneCommand::Measured(uses)
            }
            StoreOrder::Drop(ticket) => {
                let place = self.places.borrow_mut().remove(&(lane, ticket));
                return self.release(place).await;
            }
        };
        if let Some(lane) = self.lanes.get(usize::from(lane)) {
            lane.send(answer).await;
        }
    }

    async fn put(
        &self,
        key: (u8, Ticket),
        kind: TierKind,
        payload: Slice,
    ) -> Result<u64, Unstored> {
        let began = Instant::now();
        let Some(tier) = self.tier(kind) else {
            return Err(Unstored::Failed);
        };
        match tier.put(payload).await {
            Ok(place) => {
                self.places.borrow_mut().insert(key, place);
                Ok(began.elapsed().as_nanos() as u64)
            }
            Err(error) => {
                self.warn(format_args!("a payload stays in memory: {error}"));
                Err(match error {
                    TierError::TooLarge { .. } => Unstored::TooLarge,
                    _ => Unstored::Failed,
                })
            }
        }
    }

    async fn take(&self, place: Option<Place>, into: Landing) -> Result<u64, String> {
        let taken = self.read(place.as_ref(), 0, &into).await;
        self.release(place).await;
        taken
    }

    /// Reads what lies there from a byte on, as much as there is room for.
    async fn read(
        &self,
        place: Option<&Place>,
        offset: u64,
        into: &Landing,
    ) -> Result<u64, String> {
        let began = Instant::now();
        let place = place.ok_or("nothing of that ticket is there")?;
        let tier = self.tier(place.kind).ok_or("its tier is not there")?;
        let (mut pause, mut attempts) = (TAKE_PAUSE, 1);
        loop {
            let Some(window) = into.target() else {
                break Err("the room for it does not lie in its segment".to_owned());
            };
            let time = self.limits.deadline(window.length());
            let Err(error) = tier.get(place, offset, window).await else {
                break Ok(began.elapsed().as_nanos() as u64);
            };
            let broken = matches!(
                error,
                TierError::Broken {
                    again: Again::May,
                    ..
                }
            );
            let is_over = attempts >= TAKES_MIN && began.elapsed() >= time;
            // What a failed attempt may still write to is not to be written to by another.
            if !broken || is_over || into.is_lent() {
                break Err(error.to_string());
            }
            attempts += 1;
            tokio::time::sleep(pause).await;
            pause = TAKE_PAUSE_MAX.min(2 * pause);
        }
    }

    async fn release(&self, place: Option<Place>) {
        let Some(place) = place else {
            return;
        };
        if let Some(tier) = self.tier(place.kind)
            && let Err(error) = tier.release(place).await
        {
            self.warn(format_args!(
                "what nobody needs there any more stays: {error}"
            ));
        }
    }
}

#[cfg(test)]
mod tests;
