//! What is promised of segments that are made in another order: they are as safe as any, and no larger than they need be.

use super::*;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// Held by who chooses pages, or looks at those that were chosen: the choice is the process's.
fn chosen(pages: HugePages) -> MutexGuard<'static, ()> {
    static CHOICE: Mutex<()> = Mutex::new(());
    let held = CHOICE.lock().unwrap_or_else(PoisonError::into_inner);
    set_huge_pages(pages);
    held
}

/// What anyone can do to a segment that was passed on: nothing.
fn assert_sealed(writer: &SegmentWriter) {
    let received = writer.fd().try_clone_to_owned().unwrap();
    let bits = fcntl(&received, FcntlArg::F_GET_SEALS).unwrap();
    assert!(SealFlag::from_bits_truncate(bits).contains(SEALS));
    assert!(MmapOptions::new().map_raw(&received).is_err());
    assert!(ftruncate(&received, 0).is_err());
}

/// Pages that it has, in bytes.
fn present(descriptor: BorrowedFd<'_>) -> u64 {
    nix::sys::stat::fstat(descriptor).unwrap().st_blocks as u64 * 512
}

#[test]
fn a_gradual_segment_is_sealed_from_the_beginning_and_refused_until_it_has_all_pages() {
    let writer = SegmentWriter::create_gradually("test", 3 * MIB + 1).unwrap();
    assert_sealed(&writer);
    assert_eq!(writer.length(), 3 * MIB + 4096);
    assert_eq!(present(writer.fd()), 0);
    let open = || SegmentReader::open(writer.fd().try_clone_to_owned().unwrap());
    writer.add_pages(MIB, 2 * MIB).unwrap();
    writer.add_pages(MIB + 1, 2 * MIB - 1).unwrap();
    let there = present(writer.fd());
    // A huge page has more than was asked for.
    assert!((MIB..writer.length()).contains(&there), "{there}");
    assert!(writer.write(2 * MIB - 4, b"here"));
    assert!(matches!(
        open(),
        Err(SegmentError::Sparse { allocated: MIB, .. })
    ));
    writer.add_pages(0, u64::MAX).unwrap();
    let reader = open().unwrap();
    assert_eq!(
        reader.read(2 * MIB - 4, 4),
        Some(&b"here"[..]),
        "what was written stays"
    );
    assert_sealed(&writer);
    assert!(matches!(
        SegmentWriter::create_gradually("test", 0),
        Err(SegmentError::Bytes { bytes: 0 })
    ));
}

#[test]
fn a_draft_keeps_what_was_written_as_it_grows_and_is_cut_and_sealed_at_its_end() {
    let mut draft = SegmentDraft::create("test", 5000).unwrap();
    assert_eq!(draft.length(), 8192);
    let mark = |draft: &SegmentDraft, offset: u64| {
        let start = draft.pointer(offset, 8).unwrap();
        // SAFETY: eight bytes of the draft, which nobody else knows.
        unsafe { start.cast::<[u8; 8]>().write(offset.to_le_bytes()) };
    };
    let mut marks = vec![0];
    mark(&draft, 0);
    // Within what is mapped, and three times beyond it.
    for bytes in [MIB, 65 * MIB, 66 * MIB, 140 * MIB] {
        draft.grow(bytes).unwrap();
        draft.grow(bytes - 1).unwrap();
        assert_eq!(draft.length(), bytes, "it never shrinks");
        assert!(draft.pointer(bytes - 7, 8).is_none());
        marks.push(bytes - 8);
        mark(&draft, bytes - 8);
    }
    let writer = draft.seal(66 * MIB - 4095).unwrap();
    assert_sealed(&writer);
    assert_eq!(
        (writer.length(), present(writer.fd())),
        (66 * MIB, 66 * MIB)
    );
    let reader = SegmentReader::open(writer.fd().try_clone_to_owned().unwrap()).unwrap();
    for mark in marks.into_iter().filter(|mark| *mark < 66 * MIB) {
        for read in [reader.read(mark, 8), writer.read(mark, 8)] {
            assert_eq!(read, Some(&mark.to_le_bytes()[..]));
        }
    }
    assert!(writer.pointer(66 * MIB, 1).is_none());
}

#[test]
fn a_draft_is_refused_what_it_does_not_have_and_more_than_there_is() {
    let draft = SegmentDraft::create("test", 1).unwrap();
    assert!(matches!(draft.seal(0), Err(SegmentError::Bytes { .. })));
    let draft = SegmentDraft::create("test", 1).unwrap();
    assert!(matches!(draft.seal(4097), Err(SegmentError::Bytes { .. })));
    let mut draft = SegmentDraft::create("test", 1).unwrap();
    let error = draft.grow(1 << 50).unwrap_err();
    assert!(matches!(error, SegmentError::Memory { .. }), "{error}");
    assert_eq!(draft.length(), 4096, "it is as it was");
    draft.seal(4096).unwrap();
}

#[test]
fn whatever_pages_are_wanted_a_segment_has_all_of_them_and_the_same_promises() {
    for wanted in [HugePages::Never, HugePages::Reserved, HugePages::Auto] {
        let _held = chosen(wanted);
        for bytes in [1, 2 * MIB, 4 * MIB, 5 * MIB + 1, 40 * MIB + 1] {
            let writer = SegmentWriter::create_at_most("test", bytes, bytes + 4096).unwrap();
            assert_sealed(&writer);
            assert!(writer.length() >= bytes && writer.length() <= bytes + 4096);
            assert!(present(writer.fd()) >= writer.length());
            let reader = SegmentReader::open(writer.fd().try_clone_to_owned().unwrap()).unwrap();
            assert!(writer.write(bytes - 1, b"x"));
            assert_eq!(reader.read(bytes - 1, 1), Some(&b"x"[..]));
        }
    }
}

/// Of what is mapped from `address` on, in huge pages, in bytes.
fn mapped_huge(address: *const u8) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let begin = format!("{:x}-", address.addr());
    let of_it = maps.lines().skip_while(|line| !line.starts_with(&begin));
    let field = of_it
        .into_iter()
        .find_map(|line| line.strip_prefix("ShmemPmdMapped:"));
    let kib = field.and_then(|field| field.trim().strip_suffix(" kB"));
    kib.map_or(0, |kib| kib.trim().parse::<u64>().unwrap() << 10)
}

/// A segment that has huge pages. A machine that is busy has none at hand at times, and is not asked for any for a second then.
fn huge(made: &str, make: impl Fn() -> Arc<SegmentWriter>) -> Arc<SegmentWriter> {
    for _ in 0..30 {
        let segment = make();
        let address = segment.pointer(0, 1).unwrap().as_ptr();
        for _ in 0..25 {
            if mapped_huge(address) >= 2 * MIB {
                return segment;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    panic!("{made}: no huge pages, however often they are asked for");
}

#[test]
fn large_segments_have_huge_pages_where_the_kernel_has_them_however_they_are_made() {
    let _held = chosen(HugePages::Auto);
    if Pages::of_large_segments() != Pages::Transparent {
        println!("SKIPPED: huge pages: this kernel denies them, or cannot collapse shared memory");
        return;
    }
    let whole = huge("whole", || {
        Arc::new(SegmentWriter::create("test", 6 * MIB).unwrap())
    });
    let drafted = huge("drafted", || {
        let mut draft = SegmentDraft::create("test", 2 * MIB).unwrap();
        for bytes in [4 * MIB, 80 * MIB] {
            draft.grow(bytes).unwrap();
        }
        Arc::new(draft.seal(6 * MIB).unwrap())
    });
    work_aside().unwrap();
    let gradual = huge("gradual", || {
        let gradual = SegmentWriter::create_gradually("test", 6 * MIB + 4096).unwrap();
        gradual.add_pages(0, u64::MAX).unwrap();
        assert!(gradual.write(3 * MIB, b"here"));
        let gradual = Arc::new(gradual);
        collapse_aside(&gradual);
        gradual
    });
    assert_eq!(gradual.read(3 * MIB - 1, 5), Some(&b"\0here"[..]));
    for (made, segment) in [("whole", whole), ("drafted", drafted), ("gradual", gradual)] {
        let reader = SegmentReader::open(segment.fd().try_clone_to_owned().unwrap()).unwrap();
        for mapped in [segment.pointer(0, 1), reader.pointer(0, 1)] {
            let address = mapped.unwrap().as_ptr();
            assert!(
                address.addr().is_multiple_of(HUGE_PAGE_BYTES as usize),
                "{made}"
            );
            let huge = mapped_huge(address);
            assert!(huge >= 2 * MIB, "{made}: {huge} bytes of huge pages");
        }
    }
}

/// As root, by hand or where a pool is there: `echo 40 > /proc/sys/vm/nr_hugepages`.
#[test]
fn reserved_huge_pages_are_used_where_the_pool_has_them() {
    let _held = chosen(HugePages::Reserved);
    let is_there = Pages::of_large_segments() == Pages::Reserved;
    let writer = SegmentWriter::create("test", 40 * MIB - 4096).unwrap();
    let block = nix::sys::stat::fstat(writer.fd()).unwrap().st_blksize as u64;
    assert_sealed(&writer);
    if is_there {
        assert_eq!((writer.length(), block), (40 * MIB, HUGE_PAGE_BYTES));
    } else {
        assert_eq!(writer.length(), 40 * MIB - 4096);
    }
    let reader = SegmentReader::open(writer.fd().try_clone_to_owned().unwrap()).unwrap();
    assert!(writer.write(30 * MIB, b"huge"));
    assert_eq!(reader.read(30 * MIB, 4), Some(&b"huge"[..]));
    set_huge_pages(HugePages::Auto);
}
