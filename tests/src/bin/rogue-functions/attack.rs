//! All ways to write what one was given to read.

use io_uring::{IoUring, opcode, types};
use nix::libc::{self, c_int, c_void};
use std::fmt::Write;
use std::io::{Error, ErrorKind, Result};
use std::ptr::null_mut;

const ROGUE: &[u8] = b"rogue";

/// The segment in which a payload lies, as this process knows it.
pub(crate) struct Target {
    pub(crate) descriptor: c_int,
    /// Its mapping here.
    start: usize,
    pub(crate) length: usize,
    /// Where in it the payload begins.
    offset: i64,
}

impl Target {
    /// By the kernel's own list of mappings and descriptors.
    pub(crate) fn of(payload: &[u8]) -> Result<Self> {
        let place = payload.as_ptr() as usize;
        let maps = std::fs::read_to_string("/proc/self/maps")?;
        let bounds = |line: &str| {
            let (start, end) = line.split_whitespace().next()?.split_once('-')?;
            let number = |text| usize::from_str_radix(text, 16).ok();
            Some((number(start)?, number(end)?))
        };
        let found = maps.lines().find_map(|line| {
            let (start, end) = bounds(line)?;
            let inode: u64 = line.split_whitespace().nth(4)?.parse().ok()?;
            let shared = line.split_whitespace().nth(1)?.ends_with('s');
            (shared && (start..end).contains(&place)).then_some((start, end, inode))
        });
        let nowhere = || Error::other("the payload lies in no shared mapping");
        let (start, end, inode) = found.ok_or_else(nowhere)?;
        let has_it = |descriptor: &c_int| {
            // SAFETY: fills a struct of the right size, or fails.
            unsafe {
                let mut stat: libc::stat = std::mem::zeroed();
                libc::fstat(*descriptor, &raw mut stat) == 0 && stat.st_ino == inode
            }
        };
        let descriptor = (0..4096).find(has_it);
        let descriptor =
            descriptor.ok_or_else(|| Error::other("its mapping has no descriptor here"))?;
        Ok(Self {
            descriptor,
            start,
            length: end - start,
            offset: (place - start) as i64,
        })
    }

    fn path(&self) -> std::ffi::CString {
        let path = format!("/proc/self/fd/{}\0", self.descriptor);
        std::ffi::CString::from_vec_with_nul(path.into_bytes()).unwrap_or_default()
    }
}

/// What a system call says.
fn said(result: impl Into<i64>) -> Result<i64> {
    match result.into() {
        -1 => Err(Error::last_os_error()),
        number => Ok(number),
    }
}

fn mapped(view: *mut c_void) -> Result<*mut c_void> {
    if view == libc::MAP_FAILED {
        return Err(Error::last_os_error());
    }
    Ok(view)
}

fn rogue() -> *const c_void {
    ROGUE.as_ptr().cast()
}

/// Tries all of them on the segment of this payload: a line for each, with its name and what came of it.
pub(crate) fn all(payload: &[u8]) -> Result<String> {
    let target = Target::of(payload)?;
    let mut told = String::new();
    for (name, attack) in ATTACKS {
        let came = match attack(&target) {
            Ok(()) => "done".to_owned(),
            Err(error) => match error.raw_os_error() {
                Some(number) => format!("refused {:?}", nix::errno::Errno::from_raw(number)),
                None if error.kind() == ErrorKind::Unsupported => "absent".to_owned(),
                None => format!("failed {error}"),
            },
        };
        let _ = writeln!(told, "{name}: {came}");
    }
    Ok(told)
}

type Attack = fn(&Target) -> Result<()>;

/// By name. Those that begin with `harmless` may well be done, and must change nothing.
const ATTACKS: [(&str, Attack); 28] = [
    ("write", |t| {
        // SAFETY: of all calls below that only take descriptors and constant buffers: the kernel checks them.
        said(unsafe { libc::write(t.descriptor, rogue(), ROGUE.len()) } as i64).map(drop)
    }),
    ("pwrite", |t| pwrite(t.descriptor, t.offset)),
    ("mprotect", |t| {
        let writable = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the range is a mapping of this process; if it becomes writable, that is what is looked for.
        said(unsafe { libc::mprotect(t.start as *mut _, t.length, writable) }).map(drop)
    }),
    ("map shared", |t| map_writable(t.descriptor, t.length)),
    ("double the mapping, then mprotect", |t| {
        // SAFETY: as in `second_view`, and as above.
        unsafe {
            let double = libc::mremap(t.start as *mut _, 0, t.length, libc::MREMAP_MAYMOVE);
            let double = mapped(double)?;
            let writable = libc::PROT_READ | libc::PROT_WRITE;
            said(libc::mprotect(double, t.length, writable)).map(drop)
        }
    }),
    ("store through a private mapping (harmless)", |t| {
        let writable = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, within which is written.
        unsafe {
            let view = libc::mmap(
                null_mut(),
                t.length,
                writable,
                libc::MAP_PRIVATE,
                t.descriptor,
                0,
            );
            let view = mapped(view)?;
            view.cast::<u8>()
                .add(t.offset as usize)
                .write_volatile(b'!');
            said(libc::munmap(view, t.length)).map(drop)
        }
    }),
    ("reopen, then write", |t| {
        let reopened = reopen(t, libc::O_RDWR)?;
        pwrite(reopened, t.offset)
    }),
    ("reopen, then map shared", |t| {
        let reopened = reopen(t, libc::O_RDWR)?;
        map_writable(reopened, t.length)
    }),
    ("reopen, truncating", |t| {
        reopen(t, libc::O_RDWR | libc::O_TRUNC).map(drop)
    }),
    ("reopen to append, then write", |t| {
        let reopened = reopen(t, libc::O_WRONLY | libc::O_APPEND)?;
        // SAFETY: see `write`.
        said(unsafe { libc::write(reopened, rogue(), ROGUE.len()) } as i64).map(drop)
    }),
    ("punch a hole", |t| {
        fallocate(t, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE)
    }),
    ("zero a range", |t| fallocate(t, libc::FALLOC_FL_ZERO_RANGE)),
    ("collapse a range", |t| {
        fallocate(t, libc::FALLOC_FL_COLLAPSE_RANGE)
    }),
    ("remove pages", |t| {
        // SAFETY: the range is a mapping of this process.
        said(unsafe { libc::madvise(t.start as *mut _, t.length, libc::MADV_REMOVE) }).map(drop)
    }),
    ("forget pages (harmless)", |t| {
        // SAFETY: as above; they come back from the segment.
        said(unsafe { libc::madvise(t.start as *mut _, t.length, libc::MADV_DONTNEED) }).map(drop)
    }),
    ("free pages", |t| {
        // SAFETY: as above.
        said(unsafe { libc::madvise(t.start as *mut _, t.length, libc::MADV_FREE) }).map(drop)
    }),
    ("truncate to nothing", |t| {
        // SAFETY: see `write`.
        said(unsafe { libc::ftruncate(t.descriptor, 0) }).map(drop)
    }),
    ("extend", |t| {
        // SAFETY: see `write`.
        said(unsafe { libc::ftruncate(t.descriptor, 2 * t.length as i64) }).map(drop)
    }),
    ("add a seal", |t| {
        let seal = libc::F_SEAL_WRITE;
        // SAFETY: see `write`.
        said(unsafe { libc::fcntl(t.descriptor, libc::F_ADD_SEALS, seal) }).map(drop)
    }),
    ("splice into it", |t| {
        let (from, to) = pipe(ROGUE)?;
        let mut at = t.offset;
        // SAFETY: `at` outlives the call.
        let moved =
            unsafe { libc::splice(from, null_mut(), t.descriptor, &raw mut at, ROGUE.len(), 0) };
        close(&[from, to]);
        said(moved as i64).map(drop)
    }),
    ("write behind it in a pipe (harmless)", |t| {
        let (from, to) = pipe(b"")?;
        let mut at = t.offset;
        // SAFETY: as above. The pipe then holds a page of the segment, and must not take what follows into that.
        unsafe {
            said(libc::splice(t.descriptor, &raw mut at, to, null_mut(), 1, 0) as i64)?;
            said(libc::write(to, rogue(), ROGUE.len()) as i64)?;
        }
        close(&[from, to]);
        Ok(())
    }),
    ("give its pages to a pipe, and splice back", |t| {
        let (from, to) = pipe(b"")?;
        let pages = libc::iovec {
            iov_base: t.start as *mut _,
            iov_len: 4096,
        };
        let mut at = t.offset;
        // SAFETY: the pages are mapped here; a gift says that they are not written any more.
        let moved = unsafe {
            said(libc::vmsplice(to, &raw const pages, 1, libc::SPLICE_F_GIFT) as i64)?;
            libc::splice(
                from,
                null_mut(),
                t.descriptor,
                &raw mut at,
                4096,
                libc::SPLICE_F_MOVE,
            )
        };
        close(&[from, to]);
        said(moved as i64).map(drop)
    }),
    ("send a file into it", |t| {
        // SAFETY: the descriptor is closed below.
        let file =
            said(unsafe { libc::open(c"/proc/self/exe".as_ptr(), libc::O_RDONLY) })? as c_int;
        // SAFETY: see `write`.
        let sent = unsafe { libc::sendfile(t.descriptor, file, null_mut(), 16) };
        close(&[file]);
        said(sent as i64).map(drop)
    }),
    ("copy a range into it", |t| {
        let (mut from, mut to) = (t.offset + 64, t.offset);
        // SAFETY: both offsets outlive the call.
        said(unsafe {
            libc::copy_file_range(
                t.descriptor,
                &raw mut from,
                t.descriptor,
                &raw mut to,
                16,
                0,
            )
        } as i64)
        .map(drop)
    }),
    ("write through /proc/self/mem", |t| {
        // SAFETY: the descriptor is closed below.
        let memory =
            said(unsafe { libc::open(c"/proc/self/mem".as_ptr(), libc::O_RDWR) })? as c_int;
        let written = pwrite(memory, t.start as i64 + t.offset);
        close(&[memory]);
        written
    }),
    ("write as another process", |t| {
        let local = libc::iovec {
            iov_base: rogue().cast_mut(),
            iov_len: ROGUE.len(),
        };
        let remote = libc::iovec {
            iov_base: (t.start as i64 + t.offset) as *mut _,
            iov_len: ROGUE.len(),
        };
        // SAFETY: the kernel checks both ranges.
        said(unsafe {
            libc::process_vm_writev(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0)
        } as i64)
        .map(drop)
    }),
    ("write by io_uring", |t| {
        io_uring_writes(t.descriptor, t.offset)
    }),
    ("reopen, then write by io_uring", |t| {
        let reopened = reopen(t, libc::O_RDWR)?;
        io_uring_writes(reopened, t.offset)
    }),
];

fn pwrite(descriptor: c_int, offset: i64) -> Result<()> {
    // SAFETY: see `write`.
    said(unsafe { libc::pwrite(descriptor, rogue(), ROGUE.len(), offset) } as i64).map(drop)
}

fn map_writable(descriptor: c_int, length: usize) -> Result<()> {
    let writable = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    mapped(unsafe {
        libc::mmap(
            null_mut(),
            length,
            writable,
            libc::MAP_SHARED,
            descriptor,
            0,
        )
    })
    .map(drop)
}

/// Left open: this process is a rogue.
fn reopen(target: &Target, flags: c_int) -> Result<c_int> {
    let path = target.path();
    // SAFETY: the path outlives the call.
    Ok(said(unsafe { libc::open(path.as_ptr(), flags) })? as c_int)
}

fn fallocate(target: &Target, mode: c_int) -> Result<()> {
    let length = target.length as i64;
    // SAFETY: see `write`.
    said(unsafe { libc::fallocate(target.descriptor, mode, 0, length) }).map(drop)
}

/// A pipe that holds these bytes: its end to read, and its end to write.
fn pipe(bytes: &[u8]) -> Result<(c_int, c_int)> {
    let mut ends = [0; 2];
    // SAFETY: there is room for both.
    said(unsafe { libc::pipe(ends.as_mut_ptr()) })?;
    if !bytes.is_empty() {
        // SAFETY: see `write`.
        said(unsafe { libc::write(ends[1], bytes.as_ptr().cast(), bytes.len()) } as i64)?;
    }
    Ok((ends[0], ends[1]))
}

fn close(descriptors: &[c_int]) {
    for descriptor in descriptors {
        // SAFETY: they were opened above, and nobody else has them.
        unsafe { libc::close(*descriptor) };
    }
}

fn io_uring_writes(descriptor: c_int, offset: i64) -> Result<()> {
    let mut ring = IoUring::new(2).map_err(|_| Error::from(ErrorKind::Unsupported))?;
    let write = opcode::Write::new(types::Fd(descriptor), ROGUE.as_ptr(), ROGUE.len() as u32);
    // SAFETY: the buffer is constant, and the request has ended when the call returns.
    unsafe { ring.submission().push(&write.offset(offset as u64).build()) }
        .map_err(|_| Error::other("the ring is full"))?;
    ring.submit_and_wait(1)?;
    let completion = ring.completion().next();
    match completion.map_or(0, |completion| completion.result()) {
        refused if refused < 0 => Err(Error::from_raw_os_error(-refused)),
        _ => Ok(()),
    }
}
