//! `bench-functions`: the functions that `faasflow-bench` deploys to measure what lies between them.
//!
//! | function | what it does |
//! | --- | --- |
//! | `stamp` | takes the time, records how long its payload was on the way, passes on as many bytes, stamped; before and behind that, it writes as many bytes of its own memory as its payload says |
//! | `stamp_and_read` | likewise, and in between sums every byte of its payload, records how long that took, and fails if it is another sum than that payload says |
//! | `stamp_and_choose` | as `stamp`, and says the value 1, by which a switch decides |
//! | `blank` | makes a payload of as many bytes as its input says, and writes none of them |
//! | `length` | says how many bytes its payload has |
//! | `collect` | returns what this process has recorded, and forgets it |
//! | `list` | makes a list of as many items as its input says |
//! | `take_item`, `pass_item` | counts its item; the latter also returns it, as bytes of its own |
//! | `tally` | returns what this process has counted, and forgets it |
//! | `remote` | as the synthetic function, with payloads that lie in Redis |
#![forbid(unsafe_code)]

use bench::clock::now_ns;
use bench::floor::sum_bytes;
use bench::movement::remote;
use bench::stamp::{self, Load, Recorder};
use bench::tally::{Item, Tally};
use faasstore::{Call, Error, function, serve};
use memmap2::MmapMut;
use std::cell::RefCell;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{Ordering::SeqCst, fence};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    serve([
        function("stamp", stamp),
        function("stamp_and_read", stamp_and_read),
        function("stamp_and_choose", stamp_and_choose),
        function("blank", blank),
        function("length", length),
        function("collect", collect),
        function("list", list),
        function("take_item", take_item),
        function("pass_item", pass_item),
        function("tally", tally),
        function(remote::FUNCTION, remote::run),
    ])
}

fn stamp(call: &mut Call) -> Result<(), Error> {
    let entered_ns = now_ns();
    let payload = call.bytes("payload")?;
    Recorder::hop(payload, entered_ns);
    pass_on(call, Load::of(payload), stamp::fill_after(payload))
}

fn stamp_and_read(call: &mut Call) -> Result<(), Error> {
    let entered_ns = now_ns();
    let payload = call.bytes("payload")?;
    Recorder::hop(payload, entered_ns);
    let started_ns = now_ns();
    let sum = black_box(sum_bytes(black_box(payload)));
    Recorder::read(now_ns() - started_ns);
    if let Some(told) = stamp::sum_told(payload).filter(|told| *told != sum) {
        return Err(Error::new(format!(
            "a payload of {} bytes sums up to {sum}, where its producer wrote {told}",
            payload.len()
        )));
    }
    let load = Load::of(payload);
    read_private(load.private_bytes)?;
    pass_on(call, load, stamp::fill_after(payload))
}

fn stamp_and_choose(call: &mut Call) -> Result<(), Error> {
    let entered_ns = now_ns();
    let payload = call.bytes("payload")?;
    Recorder::hop(payload, entered_ns);
    let (load, fill) = (Load::of(payload), stamp::fill_after(payload));
    call.value_output("go", &1)?;
    pass_on(call, load, fill)
}

thread_local! {
    /// Memory that is written and never passed on.
    static PRIVATE: RefCell<Option<MmapMut>> = const { RefCell::new(None) };
    /// Memory that is read as a payload would be, and is none.
    static PRIVATE_READ: RefCell<Option<MmapMut>> = const { RefCell::new(None) };
}

/// Writes what the load asks for, and passes its payload on. The stamp is the last that is done before the function
/// returns but for the commit, which therefore counts as a part of the hop.
fn pass_on(call: &mut Call, load: Load, fill: u8) -> Result<(), Error> {
    let mut output = call.reserve("payload", load.payload_bytes)?;
    write_private(load.private_bytes, fill)?;
    let bytes = output.as_mut_slice();
    load.write_to(bytes, fill);
    write_private(load.behind_bytes, fill)?;
    // Whatever was written is on its way to the caches until here: that is writing, and not the hop.
    fence(SeqCst);
    stamp::stamp(bytes);
    output.commit(load.payload_bytes)
}

/// Writes so many bytes of private memory, which is there from the first call that asked for as much.
fn write_private(length: usize, fill: u8) -> Result<(), Error> {
    if length == 0 {
        return Ok(());
    }
    PRIVATE.with_borrow_mut(|memory| {
        black_box(private(memory, length)?).fill(fill);
        Ok(())
    })
}

/// Sums so many bytes of other private memory.
fn read_private(length: usize) -> Result<(), Error> {
    if length == 0 {
        return Ok(());
    }
    PRIVATE_READ.with_borrow_mut(|memory| {
        black_box(sum_bytes(black_box(private(memory, length)?)));
        Ok(())
    })
}

/// So many bytes of this memory, which becomes as large once more is asked for than ever before.
fn private(memory: &mut Option<MmapMut>, length: usize) -> Result<&mut [u8], Error> {
    let mapped = match memory.take().filter(|mapped| mapped.len() >= length) {
        Some(mapped) => memory.insert(mapped),
        // Straight from the kernel: the allocator would ask for huge pages, which segments need not have. Written, since what was
        // never written is one page of zeros, wherever it is read.
        None => {
            let mapped = memory.insert(MmapMut::map_anon(length)?);
            mapped.fill(1);
            mapped
        }
    };
    Ok(&mut mapped[..length])
}

fn blank(call: &mut Call) -> Result<(), Error> {
    let bytes = call.bytes("bytes")?;
    let bytes = bytes
        .try_into()
        .map(u64::from_le_bytes)
        .map_err(|_| Error::new(format!("a length has 8 bytes, and not {}", bytes.len())))?;
    let bytes = usize::try_from(bytes)
        .map_err(|_| Error::new(format!("{bytes} bytes are more than fit into memory")))?;
    let output = call.reserve("payload", bytes)?;
    output.commit(bytes)
}

fn length(call: &mut Call) -> Result<(), Error> {
    let length = call.bytes("payload")?.len() as u64;
    call.write("bytes", &length.to_le_bytes())
}

fn collect(call: &mut Call) -> Result<(), Error> {
    call.write("collection", &Recorder::collect())
}

fn list(call: &mut Call) -> Result<(), Error> {
    let items = call.bytes("items")?;
    let of = u32::from_le_bytes(items.try_into().map_err(|_| {
        Error::new(format!(
            "a number of items has 4 bytes, and not {}",
            items.len()
        ))
    })?);
    let mut list = call.list_output("items")?;
    (0..of).try_for_each(|number| list.push(&Item { number, of }.to_bytes()))
}

fn take_item(call: &mut Call) -> Result<(), Error> {
    counted(call).map(|_| ())
}

fn pass_item(call: &mut Call) -> Result<(), Error> {
    let item = counted(call)?;
    call.write("item", &item.to_bytes())
}

fn counted(call: &Call) -> Result<Item, Error> {
    let bytes = call.bytes("item")?;
    let item = Item::from_bytes(bytes)
        .ok_or_else(|| Error::new(format!("{bytes:?} is no item of a list of `list`")))?;
    Tally::count(item, now_ns);
    Ok(item)
}

fn tally(call: &mut Call) -> Result<(), Error> {
    call.write("tally", &Tally::take())
}
