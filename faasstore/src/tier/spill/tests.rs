//! The spill, held to what all tiers promise, on each way to carry it out, and its faults.

mod faults;

use super::*;
use crate::tier::Limits;
use crate::tier::conformance::{Harness, Held, conforms, payload, payload_at, read, run, soon};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

pub(super) use faults::Faults;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Runs a test as a store thread does with io_uring, or says that it is not to be had.
fn run_uring<T>(test: impl Future<Output = T>) -> Option<T> {
    match io_uring_is_refused() {
        None => Some(tokio_uring::start(test)),
        Some(why) => {
            println!("SKIPPED: spill through io_uring: it is not to be had here: {why}");
            None
        }
    }
}

fn io_uring_is_refused() -> Option<String> {
    // The runtime gives no error, it panics.
    let tried = std::thread::spawn(|| tokio_uring::builder().start(async {})).join();
    tried.is_err().then(|| "no ring can be made".to_owned())
}

/// A disk, if the folder of tests lies on one, and what its files can do.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn config(folder: &Path, io: SpillIo) -> SpillConfig {
    SpillConfig {
        keep_bytes: 4 * MIB,
        ..SpillConfig::new(folder.join("spill"), 96 * MIB, io)
    }
}

fn harness(io: SpillIo) -> Harness<Spill> {
    harness_within(io, Limits::default())
}

/// With so little under way that whoever puts or gets has to wait.
async fn narrow() -> Result<Harness<Spill>, String> {
    let limits = Limits {
        operations_max: 3,
        in_flight_bytes_max: MIB + 1,
        ..Limits::default()
    };
    Ok(harness_within(SpillIo::IoUring, limits))
}

fn harness_within(io: SpillIo, limits: Limits) -> Harness<Spill> {
    let folder = folder();
    let config = SpillConfig {
        limits,
        ..config(folder.path(), io)
    };
    Harness {
        tier: Spill::open(&config).unwrap(),
        bytes_max: config.bytes_max,
        payload_bytes_max: config.bytes_max,
        damage: Some(Box::new(|tier, place| damage(tier, place, place.bytes / 2))),
        left: None,
        _keep: Box::new(folder),
    }
}

/// Changes a byte on the disk.
fn damage(tier: &Spill, place: &Place, at: u64) {
    let entry = tier.book.find(place).unwrap();
    let lease = &entry.content.lease;
    let [stretch] = lease.stretches(at, at + 1)[..] else {
        panic!("one byte lies in one place")
    };
    // Direct files take whole blocks, from aligned memory.
    let file = tier.disk.files[lease.class as usize].inner();
    let block = stretch.offset / GRANULE_BYTES * GRANULE_BYTES;
    let mut memory = crate::tier::conformance::target_at(GRANULE_BYTES, 0);
    file.read_exact_at(memory.bytes_mut(), block).unwrap();
    memory.bytes_mut()[(stretch.offset - block) as usize] ^= 0x10;
    file.write_all_at(memory.bytes(), block).unwrap();
}

async fn uring() -> Result<Harness<Spill>, String> {
    Ok(harness(SpillIo::IoUring))
}

async fn threads() -> Result<Harness<Spill>, String> {
    Ok(harness(SpillIo::Threads))
}

conforms!(by_io_uring, super::run_uring, super::uring);
conforms!(with_little_under_way, super::run_uring, super::narrow:
    payloads_that_overlap_in_time_never_mix,
    a_put_that_is_dropped_leaves_nothing,
    a_get_that_is_dropped_writes_nothing_later,
);
conforms!(by_threads, super::run, super::threads);

/// Runs a test on both.
fn on_both(test: impl AsyncFn(SpillIo)) {
    run(test(SpillIo::Threads));
    run_uring(test(SpillIo::IoUring));
}

#[test]
fn two_workers_never_share_a_folder_and_nothing_has_a_name() {
    run(async {
        let folder = folder();
        let config = config(folder.path(), SpillIo::Threads);
        std::fs::create_dir_all(&config.folder).unwrap();
        std::fs::write(config.folder.join("small.spill"), "left").unwrap();
        std::fs::write(config.folder.join("mine"), "not a spill's").unwrap();
        let first = Spill::open(&config).unwrap();
        let place = soon(first.put(payload(1, 5 * MIB))).await.unwrap();
        let mut names: Vec<_> = std::fs::read_dir(&config.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            ["lock", "mine"],
            "what is left of an earlier one goes, what is not its own stays"
        );
        let error = Spill::open(&config).unwrap_err();
        assert!(matches!(error, SpillError::Locked { .. }), "{error}");
        let back = read(&first, &place, 0, 5 * MIB).await.unwrap();
        assert!(
            back.bytes() == payload(1, 5 * MIB).bytes(),
            "who was refused has touched nothing"
        );
        drop((first, back));
        let second = Spill::open(&config).unwrap();
        let error = read(&second, &place, 0, 1).await.map(drop).unwrap_err();
        assert!(matches!(error, TierError::Refused { .. }), "{error}");
    });
}

#[test]
fn a_folder_that_cannot_be_used_is_refused() {
    let config = SpillConfig::new("/dev/null/spill".into(), MIB, SpillIo::Threads);
    let error = Spill::open(&config).unwrap_err().to_string();
    assert!(
        error.contains("cannot make /dev/null/spill") && error.contains("name a folder"),
        "{error}"
    );
}

#[test]
fn payloads_on_whatever_address_go_and_come_through_either_file() {
    on_both(async |io| {
        let folder = folder();
        let tier = Spill::open(&config(folder.path(), io)).unwrap();
        for bytes in [256 * KIB - 1, 256 * KIB, MIB + 4096, 3 * MIB + 1] {
            for offset in [0, 64, 512, 576, 4032] {
                let content = payload_at(bytes, bytes, offset);
                let place = soon(tier.put(content.clone())).await.unwrap();
                let entry = tier.book.find(&place).unwrap();
                let direct = entry.content.lease.class == Class::Direct;
                assert_eq!(direct, tier.is_direct() && bytes >= 256 * KIB);
                for target_offset in [0, 64, 512] {
                    let target = crate::tier::conformance::watched(bytes, target_offset);
                    soon(tier.get(&place, 0, target.0)).await.unwrap();
                    assert!(
                        target.1.bytes() == content.bytes(),
                        "{bytes} at {offset} into {target_offset}"
                    );
                }
                drop(entry);
                soon(tier.release(place)).await.unwrap();
            }
        }
    });
}

fn disk_bytes(tier: &Spill) -> u64 {
    let files = tier.disk.files.iter();
    // Both may be one file, where nothing is direct.
    let mut files: Vec<_> = files.map(|file| file.inner().metadata().unwrap()).collect();
    files.dedup_by_key(|file| file.ino());
    files.iter().map(|file| file.blocks() * 512).sum()
}

#[test]
fn disk_space_comes_back_whatever_the_sizes() {
    on_both(async |io| {
        let folder = folder();
        let config = SpillConfig {
            bytes_max: 32 * MIB,
            keep_bytes: MIB,
            ..config(folder.path(), io)
        };
        let tier = Spill::open(&config).unwrap();
        // Adversarial: small and large in turn, every other one goes, then larger ones than any hole, and so on.
        let mut places: Vec<(u64, Place)> = Vec::new();
        let mut seed = 0;
        for round in 0..6_u64 {
            let sizes = [
                1,
                4097,
                300 * KIB,
                4096 * (1 + round),
                700 * KIB * (1 + round % 3),
            ];
            for bytes in sizes.into_iter().cycle().take(60) {
                seed += 1;
                match soon(tier.put(payload(seed, bytes))).await {
                    Ok(place) => places.push((seed, place)),
                    Err(TierError::Full { .. }) => break,
                    Err(error) => panic!("{error}"),
                }
                let used: u64 = places
                    .iter()
                    .map(|(_, place)| place.bytes.next_multiple_of(GRANULE_BYTES))
                    .sum();
                let held = tier.used().held;
                assert!(
                    held <= config.bytes_max && held <= used + config.keep_bytes,
                    "{held} for {used}"
                );
                // The file system's own tables are some blocks more.
                assert!(
                    disk_bytes(&tier) <= held + 256 * KIB,
                    "{} on the disk for {held}",
                    disk_bytes(&tier)
                );
            }
            let all = std::mem::take(&mut places);
            for (index, (seed, place)) in all.into_iter().enumerate() {
                if (index as u64 + round).is_multiple_of(2) {
                    soon(tier.release(place)).await.unwrap();
                } else {
                    places.push((seed, place));
                }
            }
        }
        for (seed, place) in places {
            let back = read(&tier, &place, 0, place.bytes).await.unwrap();
            assert!(
                back.bytes() == payload(seed, place.bytes).bytes(),
                "payload {seed}"
            );
            soon(tier.release(place)).await.unwrap();
        }
        soon(tier.settled()).await;
        assert!(tier.used().held <= config.keep_bytes);
        assert!(disk_bytes(&tier) <= config.keep_bytes + 256 * KIB);
    });
}

#[test]
fn what_is_kept_is_used_again_without_asking_for_space() {
    on_both(async |io| {
        let folder = folder();
        let tier = Spill::open(&config(folder.path(), io)).unwrap();
        let place = soon(tier.put(payload(1, 2 * MIB))).await.unwrap();
        soon(tier.release(place)).await.unwrap();
        let held = tier.used().held;
        assert_eq!(held, 2 * MIB);
        // Were it asked for, it would fail.
        for file in &tier.disk.files {
            file.faults.fail_allocations(Errno::EIO, 0);
        }
        let place = soon(tier.put(payload(2, 2 * MIB))).await.unwrap();
        assert!(
            read(&tier, &place, 0, 2 * MIB).await.unwrap().bytes() == payload(2, 2 * MIB).bytes()
        );
        assert_eq!(tier.used().held, held);
    });
}

#[test]
fn a_payload_in_many_runs_is_read_as_one() {
    on_both(async |io| {
        let folder = folder();
        let tier = Spill::open(&SpillConfig {
            bytes_max: 8 * MIB,
            keep_bytes: 8 * MIB,
            ..config(folder.path(), io)
        })
        .unwrap();
        // Full of small payloads, of which every other one goes: what is kept lies in many runs.
        let mut places = Vec::new();
        while let Ok(place) = soon(tier.put(payload(places.len() as u64, 260 * KIB))).await {
            places.push(place);
        }
        let mut index = 0;
        for place in places.extract_if(.., |_| {
            index += 1;
            index % 2 == 0
        }) {
            soon(tier.release(place)).await.unwrap();
        }
        let bytes = 3 * MIB + 17;
        let content = payload(99, bytes);
        let place = soon(tier.put(content.clone())).await.unwrap();
        let entry = tier.book.find(&place).unwrap();
        assert!(entry.content.lease.stretches(0, bytes).len() > 5);
        for (from, to) in [
            (0, bytes),
            (1, bytes),
            (260 * KIB - 1, 260 * KIB + 1),
            (64 * KIB, MIB),
            (bytes - 1, bytes),
        ] {
            let window = read(&tier, &place, from, to - from).await.unwrap();
            assert!(
                window.bytes() == &content.bytes()[from as usize..to as usize],
                "{from} to {to}"
            );
        }
        for (seed, place) in places.iter().enumerate() {
            assert!(
                read(&tier, place, 0, 260 * KIB).await.unwrap().bytes()
                    == payload(2 * seed as u64, 260 * KIB).bytes()
            );
        }
    });
}

#[test]
fn a_payload_that_comes_back_from_elsewhere_is_damaged() {
    run(async {
        let folder = folder();
        let tier = Spill::open(&config(folder.path(), SpillIo::Threads)).unwrap();
        // The same bytes in the same block of another payload: only where they belong tells them apart.
        let first = soon(tier.put(payload(1, 4096))).await.unwrap();
        let second = soon(tier.put(payload(1, 4096))).await.unwrap();
        let offset = |place| tier.book.find(place).unwrap().content.lease.stretches(0, 1)[0].offset;
        let file = tier.disk.files[0].inner();
        let mut other = vec![0; 4096];
        file.read_exact_at(&mut other, offset(&first)).unwrap();
        assert!(other == payload(1, 4096).bytes());
        let sums = |place| tier.book.find(place).unwrap().content.sums.clone();
        assert_ne!(sums(&first), sums(&second));
    });
}

#[test]
fn blocks_that_are_still_written_are_nobody_elses() {
    on_both(async |io| {
        let folder = folder();
        // With space at hand, writing begins at once.
        let tier = Spill::open(&SpillConfig {
            keep_bytes: 16 * MIB,
            ..config(folder.path(), io)
        })
        .unwrap();
        let place = soon(tier.put(payload(2, 11 * MIB))).await.unwrap();
        soon(tier.release(place)).await.unwrap();
        let kept = soon(tier.put(payload(1, 5 * MIB))).await.unwrap();
        let mut seen = 0;
        for turns in 0..60 {
            let held = Held::default();
            let content = payload(turns, 5 * MIB).guarded(held.guard());
            let done = drop_after(turns, tier.put(content)).await;
            let in_use = lock(&tier.disk.space).used_bytes();
            if held.count() > 0 {
                seen += 1;
                assert!(in_use > 5 * MIB, "what is still written is free");
            }
            if let Some(place) = done {
                soon(tier.release(place.unwrap())).await.unwrap();
            }
            soon(tier.settled()).await;
            assert_eq!(lock(&tier.disk.space).used_bytes(), 5 * MIB);
        }
        assert!(seen > 0, "no put was dropped in its middle");
        soon(tier.release(kept)).await.unwrap();
    });
}

/// Polls an operation some times, and drops it unless it is done.
async fn drop_after<T>(turns: u64, operation: impl Future<Output = T>) -> Option<T> {
    let mut operation = std::pin::pin!(operation);
    for _ in 0..turns {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        if let std::task::Poll::Ready(done) = operation.as_mut().poll(&mut context) {
            return Some(done);
        }
        tokio::task::yield_now().await;
    }
    None
}
