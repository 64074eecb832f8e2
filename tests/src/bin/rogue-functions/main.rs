//! `rogue-functions`: an executable that breaks what every executable built with the SDK keeps, for tests of what others
//! have to fear of it. It uses the SDK to be let in, and goes behind its back then.
#![allow(
    unsafe_code,
    clippy::multiple_unsafe_ops_per_block,
    reason = "what a rogue does has no safe interface; this is a test's own program"
)]

mod attack;
mod mapped;

use faasflow_tests::pattern;
use faasstore::{Call, Context, Error, bytes, function, serve};
use mapped::Mapped;
use nix::libc;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn main() -> ExitCode {
    serve([
        bytes("attack", |data: &[u8], _: &Context| Ok(attack::all(data)?)),
        function("make", make),
        function("shifty", shifty),
        function("shifty_list", shifty_list),
        function("watch", watch),
        function("watch_list", watch_list),
        bytes("keep", keep),
        bytes("who", |_: &[u8], _: &Context| {
            Ok(std::process::id().to_string())
        }),
    ])
}

/// `length` (a value) → `out`: so many bytes of the pattern, and no trick.
fn make(call: &mut Call) -> Result<(), Error> {
    let length: usize = call.value("length")?;
    let mut out = call.reserve("out", length)?;
    pattern::fill(7, out.as_mut_slice());
    out.commit(length)
}

/// `length` (a value), `pulse` (the path of a file) → `out`: so many bytes, all of which go on changing once they are
/// committed. How often they have is told in the file.
fn shifty(call: &mut Call) -> Result<(), Error> {
    let length: usize = call.value("length")?;
    let pulse: String = call.value("pulse")?;
    let mut out = call.reserve("out", length)?;
    let bytes = out.as_mut_slice();
    bytes.fill(0);
    let kept = mapped::second_view(bytes)?;
    out.commit(length)?;
    go_on_changing(vec![kept], pulse.into());
    Ok(())
}

/// As `shifty`, for a list: `count` items of `length` bytes each (a value: both).
fn shifty_list(call: &mut Call) -> Result<(), Error> {
    let (count, length): (usize, usize) = call.value("shape")?;
    let pulse: String = call.value("pulse")?;
    let mut kept = Vec::new();
    let mut list = call.list_output("list")?;
    for _ in 0..count {
        let mut item = list.reserve(length)?;
        let bytes = item.as_mut_slice();
        bytes.fill(0);
        kept.push(mapped::second_view(bytes)?);
        item.commit(length)?;
    }
    go_on_changing(kept, pulse.into());
    Ok(())
}

/// Of several that go on, the last does.
fn go_on_changing(kept: Vec<Mapped>, pulse: PathBuf) {
    static TURN: AtomicU64 = AtomicU64::new(0);
    let turn = TURN.fetch_add(1, Ordering::Relaxed) + 1;
    std::thread::spawn(move || {
        for lap in 1u64.. {
            if TURN.load(Ordering::Relaxed) != turn {
                return;
            }
            for view in &kept {
                view.fill(lap as u8);
            }
            if std::fs::write(&pulse, lap.to_string()).is_err() {
                return; // the test has ended
            }
            std::thread::yield_now();
        }
    });
}

/// Laps in which what is watched must be seen as it was.
const LAPS: u64 = 10;

fn laps(pulse: &str) -> Result<u64, Error> {
    let text = std::fs::read_to_string(pulse).unwrap_or_default();
    // It may be just being written.
    Ok(text.parse().unwrap_or(0))
}

/// Looks at bytes again and again, while whoever wrote them goes on with the next laps: `changed` if they do, else
/// `same`, with how often they were read.
fn watched(items: &[&[u8]], call: &Call<'_>) -> Result<String, Error> {
    let pulse: String = call.value("pulse")?;
    let context = call.context();
    let began = loop {
        match laps(&pulse)? {
            0 => context.sleep(Duration::from_millis(1))?,
            lap => break lap,
        }
        context.check_cancelled()?;
    };
    let seen = || -> Vec<u64> { items.iter().map(|item| mapped::sum(item)).collect() };
    let (first, mut reads) = (seen(), 1u64);
    while laps(&pulse)? < began + LAPS {
        context.check_cancelled()?;
        if seen() != first {
            return Ok("changed".to_owned());
        }
        reads += 1;
    }
    Ok(format!("same {reads}"))
}

/// `data`, `pulse` → `out`: whether `data` changes.
fn watch(call: &mut Call) -> Result<(), Error> {
    let seen = watched(&[call.bytes("data")?], call)?;
    call.write("out", seen.as_bytes())
}

/// `list`, `pulse` → `out`: whether any of its items changes.
fn watch_list(call: &mut Call) -> Result<(), Error> {
    let items: Vec<&[u8]> = call.list("list")?.iter().flatten().collect();
    let seen = watched(&items, call)?;
    call.write("out", seen.as_bytes())
}

/// Keeps whatever its input lies in, for as long as its process lives, and says which process that is.
fn keep(data: &[u8], _: &Context) -> Result<String, Error> {
    let found = attack::Target::of(data)?;
    // SAFETY: duplicates a descriptor; nobody owns the new one, which is the point.
    let kept = unsafe { libc::dup(found.descriptor) };
    if kept < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    mapped::view_of(kept, found.length)?;
    Ok(std::process::id().to_string())
}
