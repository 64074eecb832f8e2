//! What is promised of large segments that are dropped where nobody can wait: they go all the same, and their memory with them.

use super::*;
use crate::segment::aside::attempt;
use nix::errno::Errno;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// Whether anything of that name is mapped here.
fn is_mapped(name: &str) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.contains(&format!("memfd:{name} "))
}

/// Whether a descriptor of that name is open here.
fn is_open(name: &str) -> bool {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let mut targets = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.any(|target| target.to_string_lossy().contains(&format!("memfd:{name} ")))
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A field of the status of the thread that works aside, counted from behind its name; none if it has no name yet.
fn of_thread(field: usize) -> Option<i64> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stats =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let mut found = stats.filter_map(|stat| Some(stat.split_once("(memory) ")?.1.to_owned()));
    let stat = found.next()?;
    assert!(found.next().is_none(), "there is one only");
    stat.split(' ').nth(field)?.parse().ok()
}

/// Its niceness, and the time that it has spent in the kernel.
const NICENESS: usize = 16;
const SYSTEM_TIME: usize = 12;

#[test]
fn a_large_segment_is_unmapped_by_a_humble_thread_and_a_small_one_by_whoever_drops_it() {
    work_aside().unwrap();
    work_aside().unwrap();
    // On top of what this process has itself.
    let niceness = (rustix::process::nice(0).unwrap() + 10).min(19);
    until("humble", || of_thread(NICENESS) == Some(niceness.into()));
    let large = SegmentWriter::create("aside-large", 64 * MIB).unwrap();
    let reader = SegmentReader::open(large.fd().try_clone_to_owned().unwrap()).unwrap();
    let small = SegmentWriter::create("aside-small", MIB).unwrap();
    assert!(is_mapped("aside-large") && is_open("aside-large"));
    drop(small);
    assert!(!is_mapped("aside-small") && !is_open("aside-small"));
    // Both views, from as many threads.
    std::thread::spawn(move || drop(reader)).join().unwrap();
    drop(large);
    until("gone", || {
        !is_mapped("aside-large") && !is_open("aside-large")
    });
    // It counts in hundredths of a second: as many segments as it takes until some were spent there.
    until("by it", || {
        drop(SegmentWriter::create("aside-large", 64 * MIB).unwrap());
        of_thread(SYSTEM_TIME) > Some(0)
    });
}

#[test]
fn what_does_not_fit_into_the_queue_is_unmapped_all_the_same() {
    work_aside().unwrap();
    // It takes the thread longer than to drop the others.
    let first = SegmentWriter::create("aside-many", 512 * MIB).unwrap();
    let many: Vec<_> = (0..200)
        .map(|_| SegmentWriter::create_gradually("aside-many", 4 * MIB).unwrap())
        .collect();
    drop(first);
    drop(many);
    until("gone", || {
        !is_mapped("aside-many") && !is_open("aside-many")
    });
}

#[test]
fn nothing_is_refused_for_want_of_what_nobody_uses_any_more() {
    work_aside().unwrap();
    let waiting = |name: &str| {
        let many: Vec<_> = (0..8)
            .map(|_| SegmentWriter::create(name, 64 * MIB).unwrap())
            .collect();
        drop(many);
    };
    let short = || SegmentError::Memory {
        name: "wanted".to_owned(),
        bytes: MIB,
        source: Errno::ENOMEM,
    };
    let make = |name: &'static str| {
        let is_there = move || is_mapped(name) || is_open(name);
        move || if is_there() { Err(short()) } else { Ok(()) }
    };
    waiting("aside-short");
    attempt(make("aside-short")).unwrap();
    let held = SegmentWriter::create("aside-held", 64 * MIB).unwrap();
    waiting("aside-other");
    let error = attempt(make("aside-held")).unwrap_err();
    assert!(matches!(error, SegmentError::Memory { .. }), "{error}");
    drop(held);
}

#[test]
fn what_goes_before_it_was_collapsed_is_let_go() {
    work_aside().unwrap();
    let segment = std::sync::Arc::new(SegmentWriter::create("aside-brief", 256 * MIB).unwrap());
    collapse_aside(&segment);
    drop(segment);
    until("gone", || {
        !is_mapped("aside-brief") && !is_open("aside-brief")
    });
}
