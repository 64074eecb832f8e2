//! `bench-functions`: the functions that `faasflow-bench` deploys to measure what lies between them.
//!
//! | function | what it does |
//! | --- | --- |
//! | `stamp` | takes the time, records how long its payload was on the way, passes on as many bytes, stamped; before, it writes as many bytes of its own memory as its payload says |
//! | `stamp_and_read` | likewise, and in between sums every byte of its payload and records how long that took |
//! | `collect` | returns what this process has recorded, and forgets it |
#![forbid(unsafe_code)]

use bench::clock::now_ns;
use bench::floor::sum_bytes;
use bench::stamp::{self, Load, Recorder};
use faasstore::{Call, Error, function, serve};
use memmap2::MmapMut;
use std::cell::RefCell;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{Ordering::SeqCst, fence};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What fills a payload behind its stamp.
const FILL: u8 = 0x5a;

fn main() -> ExitCode {
    serve([
        function("stamp", stamp),
        function("stamp_and_read", stamp_and_read),
        function("collect", collect),
    ])
}

fn stamp(call: &mut Call) -> Result<(), Error> {
    let entered_ns = now_ns();
    let payload = call.bytes("payload")?;
    Recorder::hop(payload, entered_ns);
    pass_on(call, Load::of(payload))
}

fn stamp_and_read(call: &mut Call) -> Result<(), Error> {
    let entered_ns = now_ns();
    let payload = call.bytes("payload")?;
    Recorder::hop(payload, entered_ns);
    let started_ns = now_ns();
    black_box(sum_bytes(black_box(payload)));
    Recorder::read(now_ns() - started_ns);
    pass_on(call, Load::of(payload))
}

thread_local! {
    /// Memory that is written and never passed on.
    static PRIVATE: RefCell<Option<MmapMut>> = const { RefCell::new(None) };
}

/// Writes what the load asks for, and passes its payload on. The stamp is the last that is done before the function
/// returns but for the commit, which therefore counts as a part of the hop.
fn pass_on(call: &mut Call, load: Load) -> Result<(), Error> {
    let mut output = call.reserve("payload", load.payload_bytes)?;
    write_private(load.private_bytes)?;
    let bytes = output.as_mut_slice();
    bytes.fill(FILL);
    load.write_to(bytes);
    // Whatever was written is on its way to the caches until here: that is writing, and not the hop.
    fence(SeqCst);
    stamp::stamp(bytes);
    output.commit(load.payload_bytes)
}

/// Writes so many bytes of private memory, which is there from the first call that asked for as much.
fn write_private(length: usize) -> Result<(), Error> {
    if length == 0 {
        return Ok(());
    }
    PRIVATE.with_borrow_mut(|memory| {
        let memory = match memory.take().filter(|mapped| mapped.len() >= length) {
            Some(mapped) => memory.insert(mapped),
            // Straight from the kernel: the allocator would ask for huge pages, which segments need not have.
            None => memory.insert(MmapMut::map_anon(length)?),
        };
        black_box(&mut memory[..length]).fill(FILL);
        Ok(())
    })
}

fn collect(call: &mut Call) -> Result<(), Error> {
    call.write("collection", &Recorder::collect())
}
