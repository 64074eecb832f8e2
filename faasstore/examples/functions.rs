//! An executable of functions: one of each kind that the SDK knows. The crate's tests play the engine against it.

use faasstore::schema::ARROW_IPC;
use faasstore::{Call, Context, Described, Error, bytes, function, typed};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::time::{ClockId, clock_gettime};
use rkyv::{Archive, Deserialize, Serialize};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// What `area` takes.
#[derive(Archive, Serialize, Deserialize, Described)]
#[rkyv(derive(Debug))]
struct Shape {
    name: String,
    sides: Vec<f64>,
}

/// What `area` makes.
#[derive(Archive, Serialize, Deserialize, Described)]
#[rkyv(derive(Debug))]
struct Area {
    name: String,
    square_metres: f64,
}

/// Lines of a text, without copying them.
fn split(call: &mut Call) -> Result<(), Error> {
    let text = call.bytes("text")?;
    let mut lines = call.list_output("lines")?;
    let mut start = 0;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        lines.push_alias("text", start..start + line.len())?;
        start += line.len();
    }
    Ok(())
}

/// Areas of the shapes of a list.
fn measure(call: &mut Call) -> Result<(), Error> {
    let shapes = call.list("shapes")?;
    let mut areas = call.list_output("areas")?;
    for index in 0..shapes.len() {
        if let Some(shape) = shapes.typed::<Shape>(index)? {
            let square_metres = shape.sides.iter().map(|side| side.to_native()).product();
            areas.push_typed(&Area {
                name: shape.name.to_string(),
                square_metres,
            })?;
        }
    }
    Ok(())
}

/// Takes and makes something else than it declares, in the way that its argument names.
fn lie(call: &mut Call) -> Result<(), Error> {
    let area = Area {
        name: String::new(),
        square_metres: 1.0,
    };
    let shape = Shape {
        name: String::new(),
        sides: Vec::new(),
    };
    call.write_typed("made", &area)?;
    match call.context().arguments().first().map(String::as_str) {
        Some("read") => call.typed::<Area>("taken").map(drop),
        Some("read an item") => call.list("several")?.typed::<Area>(0).map(drop),
        Some("write an item") => call.list_output("all")?.push_typed(&shape),
        _ => call.write_typed("more", &shape),
    }
}

/// Joins what is there of a list, into memory that is reserved once.
fn join(call: &mut Call) -> Result<(), Error> {
    let parts = call.list("parts")?;
    let bytes = parts.iter().flatten().map(<[u8]>::len).sum();
    let mut writer = call.reserve("whole", bytes)?;
    let mut rest = writer.as_mut_slice();
    for part in parts.iter().flatten() {
        let (place, behind) = rest.split_at_mut(part.len());
        place.copy_from_slice(part);
        rest = behind;
    }
    writer.commit(bytes)
}

/// As `join`, item by item.
fn walk(call: &mut Call) -> Result<(), Error> {
    let mut walk = call.list("parts")?.walk();
    let mut whole = call.reserve("whole", 16)?;
    while let Some(part) = walk.next_item()? {
        whole.write_all(part.unwrap_or_default())?;
    }
    whole.finish();
    Ok(())
}

/// The items of a list backwards, and then those in the middle by two walks at once.
fn backwards(call: &mut Call) -> Result<(), Error> {
    let parts = call.list("parts")?;
    let mut walk = parts.walk();
    let mut whole = Vec::new();
    for index in (0..parts.len()).rev() {
        whole.extend_from_slice(walk.at(index)?.unwrap_or_default());
    }
    let mut other = parts.walk();
    let middle = parts.len() / 2;
    let first = walk.at(middle)?.unwrap_or_default();
    let second = other.at(middle)?.unwrap_or_default();
    whole.extend_from_slice(first);
    whole.extend_from_slice(second);
    drop(walk);
    whole.extend_from_slice(other.at(middle)?.unwrap_or_default());
    call.write("whole", &whole)
}

/// Keeps the first item, walks over all, and passes the second one on. What does not come is none to it.
fn keep(call: &mut Call) -> Result<(), Error> {
    let parts = call.list("parts")?;
    let first = parts.get(0).unwrap_or(b"none");
    let mut walk = parts.walk();
    while walk.next_item()?.is_some() {}
    drop(walk);
    let mut items = call.list_output("items")?;
    items.push(first)?;
    items.push_item_alias("parts", 1, 1..)
}

/// Numbers, one in a line, in a stream whose length is not known before.
fn count(call: &mut Call) -> Result<(), Error> {
    let to: u32 = call.value("to")?;
    let mut lines = call.reserve("lines", 16)?;
    for number in 0..to {
        writeln!(lines, "{number}")?;
    }
    lines.finish();
    call.value_output("even", &to.is_multiple_of(2))
}

/// Items by every means: copied, archived, filled in place, and passed on.
fn assort(call: &mut Call) -> Result<(), Error> {
    let first = call.list("parts")?.get(0).unwrap_or(b"none");
    call.list_output("items")?.push(first)?;
    let mut items = call.list_output("items")?; // opened again: it goes on
    items.push_typed(&Area {
        name: "archived".to_owned(),
        square_metres: 1.0,
    })?;
    let mut place = items.reserve(100)?;
    place.as_mut_slice()[..6].copy_from_slice(b"placed");
    place.commit(6)?;
    drop(items.reserve(100)?); // it was never there
    items.push(b"")?;
    items.push_item_alias("parts", 1, 1..)
}

/// More outputs than a completion has room for, from more inputs than a request has.
fn reverse(call: &mut Call) -> Result<(), Error> {
    for index in 0..9 {
        let input = call.bytes(&format!("in{index}"))?;
        call.write(&format!("out{}", 8 - index), input)?;
    }
    Ok(())
}

/// Says which optional input is there.
fn which(call: &mut Call) -> Result<(), Error> {
    let name = if call.is_present("a")? { "a" } else { "b" };
    call.alias("chosen", name, ..)
}

/// Everything that `Context` tells.
fn describe(call: &mut Call) -> Result<(), Error> {
    let context = call.context();
    context.log("described");
    let text = format!(
        "{} {} {} {} {} {:?} {:?}",
        context.worker(),
        context.workflow(),
        context.node(),
        context.invocation(),
        context.attempt(),
        context.item(),
        context.deadline_ns(),
    );
    call.write("text", text.as_bytes())
}

/// Fails in the way that the input names, after it has written what would be lost if nobody took it back.
fn fail(call: &mut Call) -> Result<(), Error> {
    let way = call.bytes("way")?;
    call.write("first", &[7; 20_000])?;
    match way {
        b"error" => Err(Error::new("as asked for")),
        b"cause" => std::fs::File::open("/nowhere")?
            .sync_all()
            .map_err(Error::from),
        b"panic" => panic!("as asked for, {}", "with text"),
        b"leak" => {
            std::mem::forget(call.reserve("second", 20_000)?);
            panic!("after a leak")
        }
        b"forget" => Ok(()),
        b"twice" => call.write("first", b"again"),
        b"unknown" => call.write("third", b""),
        b"memory" => call.reserve("second", 1 << 40).map(drop),
        b"input" => call.list("way").map(drop),
        b"archive" => call.typed::<Shape>("way").map(drop),
        b"range" => call.alias("second", "way", 2..99),
        _ => call.write("second", b"well"),
    }
}

/// Waits in the way that the input names until it is told to stop, for ever or, in a nap, for a moment. It fails with what it
/// was told, also if that was told in another way as well.
fn wait(way: &[u8], context: &Context) -> Result<&'static str, Error> {
    const NAP: Duration = Duration::from_millis(30);
    match way {
        b"sleep" => context.sleep(Duration::MAX)?,
        b"look" => {
            while !context.is_cancelled() {
                std::hint::spin_loop();
            }
        }
        b"check" => loop {
            context.check_cancelled()?;
        },
        b"poll" => poll(context, None)?,
        b"threads" => std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| context.sleep(Duration::MAX));
            }
            context.sleep(Duration::MAX)
        })?,
        b"nap" => context.sleep(NAP)?,
        b"poll a nap" => poll(context, Some(NAP))?,
        _ => return Err(Error::new("no such way to wait")),
    }
    context
        .cancelled()
        .map_or(Ok("not told"), |why| Err(why.into()))
}

/// Waits for its word as for other descriptors, at most for that long, and looks at it only when that one says so.
fn poll(context: &Context, time: Option<Duration>) -> Result<(), Error> {
    let end = time.map(|time| Instant::now() + time);
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let timeout = match left {
            Some(left) => PollTimeout::try_from(left)?,
            None => PollTimeout::NONE,
        };
        let told = context.cancel_descriptor()?;
        let mut descriptors = [PollFd::new(told, PollFlags::POLLIN)];
        let ready = nix::poll::poll(&mut descriptors, timeout)? > 0;
        if ready && context.is_cancelled() || left.is_some_and(|left| left.is_zero()) {
            return Ok(());
        }
    }
}

/// Takes CPU time in the way that the input names.
fn burn(way: &[u8], _: &Context) -> Result<&'static str, Error> {
    let shell = |program| Command::new("sh").args(["-c", program]).status();
    match way {
        b"thread" => burn_here()?,
        b"threads" => std::thread::scope(|scope| {
            let other = scope.spawn(burn_here);
            burn_here().and(other.join().unwrap_or(Ok(())))
        })?,
        b"process" => {
            shell("i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done")?;
        }
        b"idle process" => {
            shell(":")?;
        }
        b"fail" => {
            burn_here()?;
            return Err(Error::new("as asked for"));
        }
        _ => return Err(Error::new("no such way to burn")),
    }
    Ok("burnt")
}

/// Takes 100 ms of CPU time in this thread, however long that is.
fn burn_here() -> nix::Result<()> {
    let taken = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let end = taken()? + Duration::from_millis(100);
    while taken()? < end {
        std::hint::spin_loop();
    }
    Ok(())
}

fn main() -> ExitCode {
    faasstore::serve([
        bytes("upper", |text: &[u8], _call: &Context| {
            Ok(text.to_ascii_uppercase())
        }),
        typed("area", |shape: &ArchivedShape, _call: &Context| {
            let square_metres = shape.sides.iter().map(|side| side.to_native()).product();
            Ok(Area {
                name: shape.name.to_string(),
                square_metres,
            })
        }),
        bytes("sleep", |begun: &[u8], _call: &Context| {
            std::fs::write(OsStr::from_bytes(begun), "")?;
            std::thread::sleep(Duration::from_secs(600));
            Ok("")
        }),
        function("split", split),
        function("measure", measure)
            .input::<Shape>("shapes")
            .output::<Area>("areas"),
        function("lie", lie)
            .input::<Shape>("taken")
            .input::<Shape>("several")
            .output::<Area>("made")
            .output::<Area>("more")
            .output::<Area>("all"),
        function("table", |_: &mut Call| Ok(())).tagged_output("rows", ARROW_IPC),
        function("join", join),
        function("walk", walk),
        function("backwards", backwards),
        function("keep", keep),
        function("count", count),
        function("assort", assort),
        function("reverse", reverse),
        function("which", which),
        function("describe", describe),
        function("fail", fail),
        bytes("wait", wait),
        bytes("burn", burn),
    ])
}
