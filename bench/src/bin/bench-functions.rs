//! `bench-functions`: the functions that `faasflow-bench` deploys to measure what lies between them.
//!
//! | function | what it does |
//! | --- | --- |
//! | `stamp` | takes the time, records how long its payload was on the way, passes on as many bytes, stamped |
//! | `stamp_and_read` | likewise, and in between sums every byte of its payload and records how long that took |
//! | `collect` | returns what this process has recorded, and forgets it |
#![forbid(unsafe_code)]

use bench::clock::now_ns;
use bench::floor::sum_bytes;
use bench::stamp::{self, Recorder};
use faasstore::{Call, Error, function, serve};
use std::hint::black_box;
use std::process::ExitCode;

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
    pass_on(call, payload.len())
}

fn stamp_and_read(call: &mut Call) -> Result<(), Error> {
    let entered_ns = now_ns();
    let payload = call.bytes("payload")?;
    Recorder::hop(payload, entered_ns);
    let started_ns = now_ns();
    black_box(sum_bytes(black_box(payload)));
    Recorder::read(now_ns() - started_ns);
    pass_on(call, payload.len())
}

/// Writes a payload of that length. The stamp is the last that is done before the function returns but for the commit,
/// which therefore counts as a part of the hop.
fn pass_on(call: &mut Call, length: usize) -> Result<(), Error> {
    let mut output = call.reserve("payload", length)?;
    let bytes = output.as_mut_slice();
    bytes.fill(FILL);
    stamp::stamp(bytes);
    output.commit(length)
}

fn collect(call: &mut Call) -> Result<(), Error> {
    call.write("collection", &Recorder::collect())
}
