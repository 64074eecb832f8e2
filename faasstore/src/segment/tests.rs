//! A segment's promises, each tried in the way in which a rogue process would break it.

mod aside;
mod making;

use super::*;
use memmap2::MmapOptions;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mprotect};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::ftruncate;
use std::fs::{File, OpenOptions};
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;

const BYTES: u64 = 3 << 12;

fn shared() -> (SegmentWriter, OwnedFd) {
    let writer = SegmentWriter::create("test", BYTES).unwrap();
    assert!(writer.write(0, b"as it was"));
    let received = writer.fd().try_clone_to_owned().unwrap();
    (writer, received)
}

fn assert_unharmed(writer: &SegmentWriter) {
    assert_eq!(writer.length(), BYTES);
    assert_eq!(writer.read(0, 9), Some(&b"as it was"[..]));
}

#[test]
fn what_the_writer_writes_the_reader_sees() {
    let (writer, received) = shared();
    let reader = SegmentReader::open(received).unwrap();
    assert_eq!(reader.length(), BYTES);
    assert_eq!(reader.read(0, 9), Some(&b"as it was"[..]));
    assert!(writer.write(BYTES - 4, b"end!"));
    assert_eq!(reader.read(BYTES - 4, 4), Some(&b"end!"[..]));
    writer.words()[1].store(7, crate::sync::Ordering::Relaxed);
    assert_eq!(reader.words()[1].load(crate::sync::Ordering::Relaxed), 7);
}

#[test]
fn nothing_outside_a_segment_is_reachable() {
    let (writer, received) = shared();
    let reader = SegmentReader::open(received).unwrap();
    for (offset, length) in [
        (BYTES, 1),
        (0, BYTES + 1),
        (BYTES - 1, 2),
        (u64::MAX, 1),
        (1, u64::MAX),
        (u64::MAX, u64::MAX),
    ] {
        assert!(reader.read(offset, length).is_none(), "{offset} {length}");
        assert!(
            writer.pointer(offset, length).is_none(),
            "{offset} {length}"
        );
    }
    assert!(!writer.write(BYTES - 1, b"two"));
    assert_eq!(
        reader.read(BYTES, 0),
        Some(&[][..]),
        "nothing, at the very end"
    );
    assert!(reader.futex(2).is_none() && reader.futex(BYTES).is_none());
}

#[test]
fn sizes_are_whole_pages_and_impossible_ones_are_refused() {
    assert_eq!(
        SegmentWriter::create("test", 1).unwrap().length(),
        page_bytes()
    );
    assert!(matches!(
        SegmentWriter::create("test", 0),
        Err(SegmentError::Bytes { bytes: 0 })
    ));
    assert!(matches!(
        SegmentWriter::create("test", u64::MAX),
        Err(SegmentError::Bytes { .. })
    ));
}

#[test]
fn a_segment_that_memory_cannot_hold_is_an_error_that_names_it_and_the_remedy() {
    // If the promise were broken, the kernel should end this test and not whatever else runs on the machine.
    setrlimit(Resource::RLIMIT_FSIZE, 1 << 30, 1 << 30).unwrap();
    let bytes = 1 << 61; // more than any machine has, less than a file may have
    let error = SegmentWriter::create("greedy", bytes).unwrap_err();
    let SegmentError::Memory { source, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*source, Errno::ENOMEM, "refused before it was tried");
    let text = error.to_string();
    assert!(
        text.contains("greedy") && text.contains("lower the memory"),
        "{text}"
    );
}

#[test]
fn a_receiver_cannot_map_it_writable() {
    let (writer, received) = shared();
    let error = MmapOptions::new()
        .len(BYTES as usize)
        .map_raw(&received)
        .unwrap_err();
    assert_eq!(error.raw_os_error(), Some(nix::libc::EPERM));
    assert_unharmed(&writer);
}

#[test]
fn a_receiver_cannot_make_its_mapping_writable() {
    let (writer, received) = shared();
    let length = NonZeroUsize::new(BYTES as usize).unwrap();
    // SAFETY: a fresh mapping of a file, at an address of the kernel's choice; nothing else points there.
    let mapped = unsafe {
        mmap(
            None,
            length,
            ProtFlags::PROT_READ,
            MapFlags::MAP_SHARED,
            &received,
            0,
        )
    }
    .unwrap();
    // SAFETY: the range is the mapping just made, to which no reference exists.
    let changed = unsafe {
        mprotect(
            mapped,
            BYTES as usize,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        )
    };
    assert_eq!(changed, Err(Errno::EACCES));
    assert_unharmed(&writer);
}

#[test]
fn a_receiver_cannot_write_to_it() {
    let (writer, received) = shared();
    assert_eq!(nix::unistd::write(&received, b"rogue"), Err(Errno::EPERM));
    assert_eq!(
        nix::sys::uio::pwrite(&received, b"rogue", 0),
        Err(Errno::EPERM)
    );
    assert_unharmed(&writer);
}

#[test]
fn a_receiver_cannot_reopen_it_for_writing_and_write() {
    let (writer, received) = shared();
    let path = format!("/proc/self/fd/{}", received.as_raw_fd());
    let reopened = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    assert_eq!(nix::unistd::write(&reopened, b"rogue"), Err(Errno::EPERM));
    let error = MmapOptions::new()
        .len(BYTES as usize)
        .map_raw(&reopened)
        .unwrap_err();
    assert_eq!(error.raw_os_error(), Some(nix::libc::EPERM));
    assert_unharmed(&writer);
}

#[test]
fn a_receiver_cannot_resize_it() {
    let (writer, received) = shared();
    assert_eq!(ftruncate(&received, 0), Err(Errno::EPERM));
    assert_eq!(ftruncate(&received, 2 * BYTES as i64), Err(Errno::EPERM));
    assert_unharmed(&writer);
}

#[test]
fn a_receiver_cannot_punch_holes_into_it() {
    let (writer, received) = shared();
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    assert_eq!(
        fallocate(&received, punch, 0, BYTES as i64),
        Err(Errno::EPERM)
    );
    assert_unharmed(&writer);
}

#[test]
fn a_receiver_cannot_add_or_remove_seals() {
    let (writer, received) = shared();
    assert_eq!(
        fcntl(&received, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)),
        Err(Errno::EPERM)
    );
    assert!(writer.write(0, b"as it was"), "the one writer still writes");
    assert_unharmed(&writer);
}

#[test]
fn a_descriptor_that_lacks_any_seal_is_refused_by_name() {
    for (name, seal) in SEALS.iter_names() {
        let file =
            memfd_create("test", MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC).unwrap();
        ftruncate(&file, BYTES as i64).unwrap();
        let others = SEALS.difference(seal | SealFlag::F_SEAL_SEAL);
        fcntl(&file, FcntlArg::F_ADD_SEALS(others)).unwrap();
        if seal != SealFlag::F_SEAL_SEAL {
            fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SEAL)).unwrap();
        }
        let error = SegmentReader::open(file).unwrap_err();
        assert!(
            matches!(&error, SegmentError::Unsealed { missing } if missing == name),
            "{error}"
        );
    }
}

#[test]
fn a_descriptor_of_an_impossible_size_is_refused() {
    for bytes in [0, 1, BYTES as i64 - 1] {
        let file =
            memfd_create("test", MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC).unwrap();
        ftruncate(&file, bytes).unwrap();
        fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS)).unwrap();
        let error = SegmentReader::open(file).unwrap_err();
        assert!(
            matches!(error, SegmentError::Size { bytes: found, .. } if found == bytes),
            "{error}"
        );
    }
}

#[test]
fn a_descriptor_without_all_of_its_pages_is_refused() {
    for holes in [BYTES, 4096] {
        let file =
            memfd_create("test", MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC).unwrap();
        ftruncate(&file, BYTES as i64).unwrap();
        if holes < BYTES {
            fallocate(&file, FallocateFlags::empty(), 0, (BYTES - holes) as i64).unwrap();
        }
        fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS)).unwrap();
        let error = SegmentReader::open(file).unwrap_err();
        assert!(
            matches!(error, SegmentError::Sparse { bytes: BYTES, allocated } if allocated == BYTES - holes),
            "{error}"
        );
    }
}

#[test]
fn a_segment_that_is_larger_than_it_may_be_is_refused_and_one_that_is_not_is_read() {
    let (_writer, received) = shared();
    for open in [SegmentReader::open_at_most, SegmentReader::open_lazily] {
        let received = || received.try_clone().unwrap();
        let reader = open(received(), BYTES).unwrap();
        assert_eq!(reader.read(0, 9), Some(&b"as it was"[..]));
        let error = open(received(), BYTES - 1).unwrap_err();
        assert!(
            matches!(error, SegmentError::TooLarge { bytes: BYTES, .. }),
            "{error}"
        );
    }
}

#[test]
fn a_descriptor_that_is_no_memfd_is_refused() {
    let error = SegmentReader::open(File::open("/dev/zero").unwrap().into()).unwrap_err();
    assert!(matches!(error, SegmentError::NoSegment { .. }), "{error}");
}

#[test]
fn the_memory_goes_when_writer_and_readers_have_gone() {
    let (writer, received) = shared();
    let reader = SegmentReader::open(received).unwrap();
    drop(writer);
    assert_eq!(
        reader.read(0, 9),
        Some(&b"as it was"[..]),
        "a dead producer's payloads stay"
    );
}

#[test]
fn a_copy_is_what_was_there_wherever_both_begin_and_lies_within_both() {
    let (source, received) = shared();
    let text: Vec<u8> = (0..BYTES).map(|index| (index * 7) as u8).collect();
    assert!(source.write(0, &text));
    let reader = SegmentReader::open(received).unwrap();
    let target = SegmentWriter::create("copy", BYTES).unwrap();
    for (at, offset, length) in [
        (0, 0, BYTES),
        (64, 128, 1000),
        (64, 128, 1003),
        (1, 64, 100),
        (64, 3, 100),
        (5, 3, 17),
        (BYTES, BYTES, 0),
    ] {
        assert!(target.write(0, &[0; BYTES as usize]));
        assert!(target.copy_from(at, &reader, offset, length));
        let (from, to) = (offset as usize, (offset + length) as usize);
        assert_eq!(target.read(at, length), Some(&text[from..to]));
        let around = [
            target.read(0, at).unwrap(),
            target.read(at + length, BYTES - at - length).unwrap(),
        ];
        assert!(
            around.concat().iter().all(|byte| *byte == 0),
            "{at} {length}"
        );
    }
    for (at, offset, length) in [
        (0, 1, BYTES),
        (1, 0, BYTES),
        (0, u64::MAX, 8),
        (8, 8, u64::MAX),
    ] {
        assert!(!target.copy_from(at, &reader, offset, length));
    }
}
