//! The tiers `spill` and `remote`: payloads that lie elsewhere between their producer and their consumer.
//!
//! Both are measured on the tier itself, by [`carry`]: from a segment into the tier, and from there into another segment. What
//! rows are made of is a [`Carried`], whoever has carried it: a workflow whose payloads go by that tier gives one, too.

use super::row::{FloorRow, Found, Kind, Measured, Part};
use super::server::{Server, login};
use super::{Options, PayloadError};
use crate::clock::now_ns;
use crate::floor::{self, BareRedis, Disk, DiskError, RedisFloorError, sum_bytes};
use crate::report::FloorSum;
use engine::worker::config::DRIVER_VARIABLE;
use engine::worker::control_io;
use faasstore::segment::{SegmentError, SegmentWriter, Slice, TargetSlice};
use faasstore::tier::spill::{Spill, SpillConfig, SpillIo};
use faasstore::tier::{Limits, Redis, RedisConfig, RedisUrl, Tier};
use hdrhistogram::Histogram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Bytes that all payloads of one row may have together, and the fewest samples: these tiers are slower than others.
const ROW_BYTES_MAX: u64 = 2 << 30;
const SAMPLES_MIN: u64 = 8;
/// Least room of a tier.
const ROOM_BYTES_MIN: u64 = 16 << 20;
/// Bytes of a segment of many payloads, as lanes have them.
const SEGMENT_BYTES_MIN: u64 = 4 << 20;
/// How long keys last in Redis, should this program be killed.
const EXPIRY: Duration = Duration::from_secs(600);

/// What carrying many payloads took.
struct Carried {
    /// Into the tier.
    put: Histogram<u64>,
    /// Out of it.
    get: Histogram<u64>,
    /// Both, and summing what came.
    whole: Histogram<u64>,
}

impl Carried {
    fn new() -> Self {
        Self {
            put: floor::histogram(),
            get: floor::histogram(),
            whole: floor::histogram(),
        }
    }
}

/// Two segments, as an executor's arena and a lane's.
struct Segments {
    content: Arc<SegmentWriter>,
    back: Arc<SegmentWriter>,
    bytes: u64,
    rounds: u64,
}

impl Segments {
    fn new(bytes: usize) -> Result<Self, PayloadError> {
        let segment = || {
            let made = SegmentWriter::create("payload", SEGMENT_BYTES_MIN.max(bytes as u64));
            let failed = |error: SegmentError| PayloadError::Memory { bytes, error };
            made.map(Arc::new).map_err(failed)
        };
        Ok(Self {
            content: segment()?,
            back: segment()?,
            bytes: bytes as u64,
            rounds: 0,
        })
    }

    fn target(&self, segment: &Arc<SegmentWriter>) -> TargetSlice {
        let target = TargetSlice::new(Arc::clone(segment), 0, self.bytes);
        target.unwrap_or_else(|| unreachable!("segments are at least as long as the payload"))
    }

    /// A payload of bytes that the one before did not have, and memory that has others still.
    fn next(&mut self) -> (Slice, TargetSlice) {
        self.rounds += 1;
        let mut content = self.target(&self.content);
        content.bytes_mut().fill(self.fill());
        let mut back = self.target(&self.back);
        back.bytes_mut().fill(!self.fill());
        (content.into_slice(), back)
    }

    const fn fill(&self) -> u8 {
        self.rounds as u8
    }
}

/// Carries one payload through a tier, sums it, and lets it go. The first time is not counted.
async fn carry(
    tier: &impl Tier,
    segments: &mut Segments,
    carried: &mut Carried,
    kind: Kind,
) -> Result<(), PayloadError> {
    let (payload, target) = segments.next();
    let begun_ns = now_ns();
    let place = tier.put(payload).await?;
    let put_ns = now_ns();
    tier.get(&place, 0, target).await?;
    let got_ns = now_ns();
    let sum = sum_bytes(segments.back.read(0, segments.bytes).unwrap_or_default());
    let summed_ns = now_ns();
    let written = u64::from(segments.fill()) * segments.bytes;
    if sum != written {
        return Err(PayloadError::Sum {
            tier: kind,
            bytes: segments.bytes as usize,
            sum,
            written,
        });
    }
    tier.release(place).await?;
    if segments.rounds > 1 {
        carried.put.saturating_record((put_ns - begun_ns).max(1));
        carried.get.saturating_record((got_ns - put_ns).max(1));
        carried
            .whole
            .saturating_record((summed_ns - begun_ns).max(1));
    }
    Ok(())
}

/// Runs what tiers do: on io_uring, or without it where it is refused, or workers are told to do without.
fn run<T>(what: impl AsyncFnOnce(SpillIo) -> Result<T, PayloadError>) -> Result<T, PayloadError> {
    let unwanted = std::env::var_os(DRIVER_VARIABLE).is_some_and(|driver| driver == "epoll");
    if !unwanted && control_io::probe().is_ok() {
        return tokio_uring::start(what(SpillIo::IoUring));
    }
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(PayloadError::Runtime)?;
    tokio::task::LocalSet::new().block_on(&runtime, what(SpillIo::Threads))
}

/// What the rows of one tier have in common.
pub(super) struct Stored<'a> {
    options: &'a Options,
    /// Found when the first row needs it.
    server: Option<Result<Server, String>>,
}

impl<'a> Stored<'a> {
    pub(super) const fn new(options: &'a Options) -> Self {
        Self {
            options,
            server: None,
        }
    }

    fn samples(&self, bytes: usize) -> u64 {
        let affordable = (ROW_BYTES_MAX / bytes.max(1) as u64).max(SAMPLES_MIN);
        self.options.samples.min(affordable)
    }

    /// A local disk, beside a bare file on it.
    pub(super) fn spill(&self, bytes: usize) -> Result<Measured, PayloadError> {
        let folder = self.folder()?;
        let mut disk = match Disk::open(folder.path(), bytes) {
            Ok(disk) => disk,
            Err(error @ (DiskError::InMemory(_) | DiskError::Full { .. })) => {
                return Ok(Measured::Skipped(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        let carried = run(async |io| {
            spilled(folder.path(), bytes, io, self.samples(bytes), &mut disk).await
        })?;
        let ((written_how, written), (read_how, read)) = (disk.best_write(), disk.best_read());
        let floor = FloorSum::default()
            .plus(written, 1, 1)
            .plus(read, 1, 1)
            .plus(disk.summed(), 1, 1);
        let how = format!("write {written_how}; read {read_how}");
        let way = |how: floor::Way| Some(how.to_string());
        Ok(Found::new(Kind::Spill, bytes, carried.whole, floor, how)
            .part("put", Part::of(&carried.put, written))
            .part("get", Part::of(&carried.get, read))
            .floor(FloorRow::new(
                "disk_write",
                bytes,
                written,
                way(written_how),
            ))
            .floor(FloorRow::new("disk_read", bytes, read, way(read_how)))
            .measured())
    }

    fn folder(&self) -> Result<TempDir, PayloadError> {
        let folder = self.options.dir.clone();
        let folder: PathBuf = folder.unwrap_or_else(std::env::temp_dir);
        let made = tempfile::Builder::new()
            .prefix("faasflow-bench-")
            .tempdir_in(&folder);
        made.map_err(|error| PayloadError::Folder { folder, error })
    }

    /// Redis, beside its own client.
    pub(super) fn remote(&mut self, bytes: usize) -> Result<Measured, PayloadError> {
        let found = self
            .server
            .get_or_insert_with(|| Server::find(self.options.redis.as_ref()));
        let url = match found {
            Ok(server) => server.url.clone(),
            Err(why) => return Ok(Measured::Skipped(why.clone())),
        };
        let samples = self.samples(bytes);
        let measured = run(async |_| in_redis(url, bytes, samples).await);
        let (carried, bare) = match measured {
            Err(PayloadError::Redis(error @ RedisFloorError::TooLong(_))) => {
                return Ok(Measured::Skipped(error.to_string()));
            }
            measured => measured?,
        };
        let (blocking, shared) = (&bare.when_blocking, &bare.when_shared);
        let floor = FloorSum::default().plus(&blocking.whole, 1, 1);
        let how = "SET and GET over a plain connection".to_owned();
        Ok(Found::new(Kind::Remote, bytes, carried.whole, floor, how)
            .part("put", Part::of(&carried.put, &blocking.set))
            .part("get", Part::of(&carried.get, &blocking.got))
            .floor(FloorRow::new("redis_set", bytes, &blocking.set, None))
            .floor(FloorRow::new("redis_get", bytes, &blocking.got, None))
            .floor(FloorRow::new("redis_set_shared", bytes, &shared.set, None))
            .floor(FloorRow::new("redis_get_shared", bytes, &shared.got, None))
            .measured())
    }
}

/// Bare file and tier in turn, so that what else the disk has to do meets both.
async fn spilled(
    folder: &Path,
    bytes: usize,
    io: SpillIo,
    samples: u64,
    disk: &mut Disk,
) -> Result<Carried, PayloadError> {
    let room_bytes = (2 * bytes as u64).max(ROOM_BYTES_MIN);
    let spill = Spill::open(&SpillConfig {
        // A worker that spills all the time keeps what it has.
        keep_bytes: room_bytes / 2,
        ..SpillConfig::new(folder.join("spill"), room_bytes, io)
    })?;
    let (mut segments, mut carried) = (Segments::new(bytes)?, Carried::new());
    for _ in 0..=samples {
        disk.round()?;
        carry(&spill, &mut segments, &mut carried, Kind::Spill).await?;
    }
    spill.settled().await;
    Ok(carried)
}

/// The bare client and the tier in turn.
async fn in_redis(
    url: RedisUrl,
    bytes: usize,
    samples: u64,
) -> Result<(Carried, BareRedis), PayloadError> {
    let shown = url.to_string();
    let server = login(&url).map_err(|error| RedisFloorError::Client {
        url: shown.clone(),
        error,
    });
    let mut bare = BareRedis::open(server?, &shown, bytes).await?;
    let tier = Redis::open(&RedisConfig {
        url,
        worker: "faasflow-bench".to_owned(),
        epoch: std::process::id(),
        bytes_max: (2 * bytes as u64).max(ROOM_BYTES_MIN),
        expiry: EXPIRY,
        limits: Limits::default(),
    })
    .await?;
    let (mut segments, mut carried) = (Segments::new(bytes)?, Carried::new());
    for _ in 0..=samples {
        bare.round().await?;
        carry(&tier, &mut segments, &mut carried, Kind::Remote).await?;
    }
    tier.settled().await;
    Ok((carried, bare))
}
