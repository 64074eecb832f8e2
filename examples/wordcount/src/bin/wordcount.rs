//! The executable `wordcount`: serves the three functions to a worker.
#![forbid(unsafe_code)]

use faasstore::{Call, Error, function, serve};
use std::process::ExitCode;
use wordcount::Counts;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    serve([
        function("split", split),
        function("count", count).output::<Counts>("counts"),
        function("merge", merge).input::<Counts>("counts"), // each of them, as `count` has made it
    ])
}

/// `text` → `chunks`: ranges of the text, of which no byte is copied.
fn split(call: &mut Call) -> Result<(), Error> {
    let text = call.bytes("text")?;
    let mut chunks = call.list_output("chunks")?;
    for range in wordcount::split(text) {
        chunks.push_alias("text", range)?;
    }
    Ok(())
}

/// `chunk` → `counts`: an archive of [`Counts`].
fn count(call: &mut Call) -> Result<(), Error> {
    let chunk = call.bytes("chunk")?;
    call.write_typed("counts", &wordcount::count(chunk))
}

/// `counts`, gathered → `totals`: text.
fn merge(call: &mut Call) -> Result<(), Error> {
    let list = call.list("counts")?;
    let mut counts = Vec::with_capacity(list.len());
    for index in 0..list.len() {
        // The item of a chunk that was skipped is absent, and counts nothing.
        counts.extend(list.typed::<Counts>(index)?);
    }
    let totals = wordcount::merge(counts)?;
    let length = totals.text_bytes();
    let mut text = call.reserve("totals", length)?;
    totals.write_to(&mut text.as_mut_slice())?;
    text.commit(length)
}
