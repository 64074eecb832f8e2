//! How fast tiers are, beside the same done by hand in the same run: spill against bare reads and writes of a file, Redis
//! against its bare client. Give it a folder on the disk that is meant, and the URL of a server that may be filled:
//!
//! ```text
//! cargo run --profile checked --package faasstore --features spill,redis --example tiers -- FOLDER redis://127.0.0.1:6379
//! ```
//!
//! Bare figures are the best of several sizes of a request. Memory is written anew before each round, and summed after
//! each read. Without a second argument Redis is left out.
#![allow(clippy::print_stdout, reason = "a program")]

use faasstore::segment::{SegmentWriter, Slice, TargetSlice};
use faasstore::tier::spill::{Spill, SpillConfig, SpillIo};
use faasstore::tier::{Limits, Redis, RedisConfig, RedisUrl, StoreUrl, Tier};
use nix::fcntl::{FallocateFlags, OFlag, PosixFadviseAdvice, fallocate, posix_fadvise};
use std::error::Error;
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

const MIB: u64 = 1 << 20;
const SIZES: [u64; 3] = [MIB, 16 * MIB, 256 * MIB];

/// Sizes of a bare request that are tried.
const REQUESTS: [u64; 3] = [MIB, 4 * MIB, 16 * MIB];

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(folder) = arguments.next() else {
        return Err("usage: tiers FOLDER [redis://HOST:PORT]".into());
    };
    let url = arguments.next();
    println!(
        "{:<28} {:>9} {:>12} {:>12} {:>7}",
        "what", "MiB", "us", "MiB/s", "ratio"
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for bytes in SIZES {
        tokio_uring::start(spill(Path::new(&folder), bytes, SpillIo::IoUring))?;
        let threads = spill(Path::new(&folder), bytes, SpillIo::Threads);
        tokio::task::LocalSet::new().block_on(&runtime, threads)?;
    }
    if let Some(url) = url {
        let StoreUrl::Redis(url) = StoreUrl::parse(&url)? else {
            return Err("the second argument is no redis:// URL".into());
        };
        for bytes in SIZES {
            tokio_uring::start(redis(&url, bytes))?;
        }
    }
    Ok(())
}

fn rounds(bytes: u64) -> usize {
    (128 * MIB / bytes).clamp(5, 51) as usize
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn show(what: &str, bytes: u64, time: Duration, floor: Option<Duration>) {
    let mib = bytes as f64 / MIB as f64;
    let rate = mib / time.as_secs_f64();
    let ratio = floor.map_or(String::new(), |floor| {
        format!("{:.2}", floor.as_secs_f64() / time.as_secs_f64())
    });
    println!(
        "{what:<28} {mib:>9} {:>12.1} {rate:>12.0} {ratio:>7}",
        time.as_secs_f64() * 1e6
    );
}

fn memory(bytes: u64) -> Outcome<Arc<SegmentWriter>> {
    Ok(Arc::new(SegmentWriter::create("tiers", bytes)?))
}

fn fill(segment: &Arc<SegmentWriter>, bytes: u64, round: usize) -> Outcome<Slice> {
    let mut target = TargetSlice::new(Arc::clone(segment), 0, bytes).ok_or("too short")?;
    target.bytes_mut().fill(round as u8 + 1);
    Ok(target.into_slice())
}

fn verify(segment: &SegmentWriter, bytes: u64, round: usize) -> Outcome<()> {
    let read = segment.read(0, bytes).ok_or("too short")?;
    let sum: u64 = read.iter().map(|byte| u64::from(*byte)).sum();
    (sum == bytes * (round as u64 + 1))
        .then_some(())
        .ok_or_else(|| "what was read is not what was written".into())
}

/// Times of writing and reading.
struct Times {
    put: Vec<Duration>,
    get: Vec<Duration>,
}

impl Times {
    fn new() -> Self {
        Self {
            put: Vec::new(),
            get: Vec::new(),
        }
    }
}

/// A bare file, and how it is used.
struct Bare {
    file: File,
    direct: bool,
    request: u64,
    times: Times,
}

impl Bare {
    fn open(folder: &Path, bytes: u64, direct: bool, request: u64) -> Outcome<Self> {
        let flags = if direct {
            OFlag::O_DIRECT
        } else {
            OFlag::empty()
        };
        let path = folder.join("bare");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .custom_flags(flags.bits())
            .open(&path)?;
        std::fs::remove_file(&path)?;
        fallocate(&file, FallocateFlags::empty(), 0, bytes as i64)?;
        Ok(Self {
            file,
            direct,
            request,
            times: Times::new(),
        })
    }

    /// Writes and reads once. What goes through the page cache is written to the disk, and read from there.
    fn round(&mut self, payload: &Slice, back: &Arc<SegmentWriter>) -> Outcome<()> {
        let request = self.request as usize;
        let begun = Instant::now();
        for (at, part) in (0..).step_by(request).zip(payload.bytes().chunks(request)) {
            self.file.write_all_at(part, at)?;
        }
        if !self.direct {
            self.file.sync_data()?;
        }
        self.times.put.push(begun.elapsed());
        if !self.direct {
            posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        }
        let mut target =
            TargetSlice::new(Arc::clone(back), 0, payload.length()).ok_or("too short")?;
        let begun = Instant::now();
        for (at, part) in (0..)
            .step_by(request)
            .zip(target.bytes_mut().chunks_mut(request))
        {
            self.file.read_exact_at(part, at)?;
        }
        self.times.get.push(begun.elapsed());
        Ok(())
    }

    fn name(&self) -> String {
        let how = if self.direct { "direct" } else { "synced" };
        format!("bare {how}, {} MiB", self.request / MIB)
    }
}

/// Spill and bare files in turn, so that what else the disk has to do meets all of them.
async fn spill(folder: &Path, bytes: u64, io: SpillIo) -> Outcome<()> {
    let (content, back) = (memory(bytes)?, memory(bytes)?);
    let mut bare = Vec::new();
    for request in REQUESTS.into_iter().filter(|request| *request <= bytes) {
        for direct in [true, false] {
            bare.push(Bare::open(folder, bytes, direct, request)?);
        }
    }
    let tier = Spill::open(&SpillConfig {
        keep_bytes: bytes,
        ..SpillConfig::new(folder.join("spill"), 2 * bytes, io)
    })?;
    let mut ours = Times::new();
    for round in 0..rounds(bytes) {
        for bare in &mut bare {
            bare.round(&fill(&content, bytes, round)?, &back)?;
            verify(&back, bytes, round)?;
        }
        time(&tier, bytes, round, &content, &back, &mut ours).await?;
    }
    let mut best = [Duration::MAX; 2];
    for bare in &mut bare {
        let (put, get) = (median(&mut bare.times.put), median(&mut bare.times.get));
        best = [best[0].min(put), best[1].min(get)];
        show(&format!("{}: write", bare.name()), bytes, put, None);
        show(&format!("{}: read", bare.name()), bytes, get, None);
    }
    show(
        &format!("spill ({io:?}): put"),
        bytes,
        median(&mut ours.put),
        Some(best[0]),
    );
    show(
        &format!("spill ({io:?}): get"),
        bytes,
        median(&mut ours.get),
        Some(best[1]),
    );
    Ok(())
}

/// One round of a tier.
async fn time(
    tier: &impl Tier,
    bytes: u64,
    round: usize,
    content: &Arc<SegmentWriter>,
    back: &Arc<SegmentWriter>,
    times: &mut Times,
) -> Outcome<()> {
    let payload = fill(content, bytes, round)?;
    let begun = Instant::now();
    let place = tier.put(payload).await?;
    times.put.push(begun.elapsed());
    let target = TargetSlice::new(Arc::clone(back), 0, bytes).ok_or("too short")?;
    let begun = Instant::now();
    tier.get(&place, 0, target).await?;
    times.get.push(begun.elapsed());
    verify(back, bytes, round)?;
    Ok(tier.release(place).await?)
}

async fn redis(url: &RedisUrl, bytes: u64) -> Outcome<()> {
    let (content, back) = (memory(bytes)?, memory(bytes)?);
    let client = redis::Client::open((url.host.as_str(), url.port))?;
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let tier = Redis::open(&RedisConfig {
        url: url.clone(),
        worker: "tiers".to_owned(),
        epoch: 1,
        bytes_max: 2 * bytes,
        expiry: Duration::from_secs(60),
        limits: Limits::default(),
    })
    .await?;
    let (mut bare, mut ours) = (Times::new(), Times::new());
    for round in 0..rounds(bytes) {
        let payload = fill(&content, bytes, round)?;
        let begun = Instant::now();
        let mut set = redis::cmd("SET");
        set.arg("bare").arg(payload.bytes());
        set.query_async::<()>(&mut connection).await?;
        bare.put.push(begun.elapsed());
        let begun = Instant::now();
        let get = redis::cmd("GET")
            .arg("bare")
            .query_async(&mut connection)
            .await;
        let got: Vec<u8> = get?;
        let mut target = TargetSlice::new(Arc::clone(&back), 0, bytes).ok_or("too short")?;
        target.bytes_mut().copy_from_slice(&got);
        bare.get.push(begun.elapsed());
        verify(&back, bytes, round)?;
        redis::cmd("UNLINK")
            .arg("bare")
            .query_async::<()>(&mut connection)
            .await?;
        time(&tier, bytes, round, &content, &back, &mut ours).await?;
    }
    let (put, get) = (median(&mut bare.put), median(&mut bare.get));
    show("bare Redis: SET", bytes, put, None);
    show("bare Redis: GET", bytes, get, None);
    show(
        "remote (Redis): put",
        bytes,
        median(&mut ours.put),
        Some(put),
    );
    show(
        "remote (Redis): get",
        bytes,
        median(&mut ours.get),
        Some(get),
    );
    Ok(())
}
