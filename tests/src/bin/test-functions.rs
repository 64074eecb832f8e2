//! `test-functions`: what the end-to-end tests run on workers. Each function does one thing that a test is about.
#![forbid(unsafe_code)]

use faasflow_tests::gate::{self, Verdict};
use faasflow_tests::pattern;
use faasstore::{Call, Cancelled, Context, Error, bytes, function, serve};
use nix::time::{ClockId, clock_gettime};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    serve([
        bytes("echo", |text: &[u8], _: &Context| Ok(text.to_vec())),
        bytes("upper", |text: &[u8], _: &Context| {
            Ok(text.to_ascii_uppercase())
        }),
        bytes("digest", |text: &[u8], _: &Context| {
            Ok(pattern::digest(text))
        }),
        bytes("who", |_: &[u8], context: &Context| {
            Ok(format!("{} {}", std::process::id(), context.worker()))
        }),
        bytes("fail", fail),
        bytes("fail_first", fail_first),
        bytes("burn", burn),
        bytes("toil", toil),
        bytes("doze", doze),
        bytes("linger", linger),
        function("while_there", while_there),
        function("gate", gate),
        function("hold", hold),
        function("hoard", hoard),
        function("join", join),
        function("make", make),
        function("make_value", make_value),
        function("stream", stream),
        function("items", items),
        function("digest_list", digest_list),
        function("digest_kept", digest_kept),
        function("digest_random", digest_random),
        function("digest_dying", digest_dying),
        function("walk_and_wait", walk_and_wait),
        function("stamp", stamp),
        function("stamped", stamped),
        function("produce", produce),
        function("concat", concat),
        function("alias", alias),
        function("alias_item", alias_item),
        function("pass_items", pass_items),
        function("spread", spread),
        function("collect", collect),
        function("wrong_name", |call: &mut Call| {
            call.write("nothing_of_that_name", b"")
        }),
        function("twice", twice),
        function("beyond", beyond),
        function("touch", touch),
    ])
}

/// Fails with its input as the text.
fn fail(text: &[u8], _: &Context) -> Result<Vec<u8>, Error> {
    Err(Error::new(String::from_utf8_lossy(text)))
}

/// Fails at its first attempt, and passes its input on at the next.
fn fail_first(text: &[u8], context: &Context) -> Result<Vec<u8>, Error> {
    match context.attempt() {
        1 => Err(Error::new("the first attempt fails")),
        _ => Ok(text.to_vec()),
    }
}

/// Keeps a CPU busy for as many milliseconds as the input says, and passes it on.
fn burn(text: &[u8], _: &Context) -> Result<Vec<u8>, Error> {
    let time = Duration::from_millis(std::str::from_utf8(text)?.trim().parse()?);
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
    Ok(text.to_vec())
}

/// Takes as many milliseconds of CPU time as the input says, however long that is, and passes it on.
fn toil(text: &[u8], _: &Context) -> Result<Vec<u8>, Error> {
    let time = Duration::from_millis(std::str::from_utf8(text)?.trim().parse()?);
    let taken = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let end = taken()? + time;
    while taken()? < end {
        std::hint::spin_loop();
    }
    Ok(text.to_vec())
}

/// Sleeps for as many microseconds as the input says, and says who has; fails if it is told to stop.
fn doze(text: &[u8], context: &Context) -> Result<String, Error> {
    let time = Duration::from_micros(std::str::from_utf8(text)?.trim().parse()?);
    context.sleep(time)?;
    context.check_cancelled()?;
    Ok(std::process::id().to_string())
}

/// Sleeps for as many microseconds as the input says, or ten times as long on the worker that it names, and says on which
/// worker it has.
fn linger(text: &[u8], context: &Context) -> Result<String, Error> {
    let text = std::str::from_utf8(text)?;
    let (time, slow) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let factor = if slow == context.worker() { 10 } else { 1 };
    context.sleep(Duration::from_micros(time.parse()?) * factor)?;
    Ok(context.worker().to_owned())
}

/// `name` (of a file) → `out`: runs as long as that is there; fails if it is told to stop.
fn while_there(call: &mut Call) -> Result<(), Error> {
    let path: String = call.value("name")?;
    let context = call.context();
    while Path::new(&path).exists() {
        context.sleep(Duration::from_millis(20))?;
        context.check_cancelled()?;
    }
    call.write("out", path.as_bytes())
}

/// `gate` (a socket's path) → `out`: does what its test says once it is there.
fn gate(call: &mut Call) -> Result<(), Error> {
    let path = std::str::from_utf8(call.bytes("gate")?)?;
    let context = call.context();
    let verdict = gate::wait_at(
        Path::new(path),
        context.attempt(),
        context.node(),
        context.worker(),
    )?;
    let heeds = |why: Result<(), Cancelled>| match why {
        Ok(()) => Err(Error::new("it was told nothing")),
        Err(why) => {
            gate::note(Path::new(path), context.node(), why)?;
            Err(why.into())
        }
    };
    match verdict {
        Verdict::Pass => call.write("out", format!("attempt {}", context.attempt()).as_bytes()),
        Verdict::Fail => Err(Error::new("as told")),
        Verdict::Panic => panic!("as told"),
        Verdict::Abort => std::process::abort(),
        Verdict::Hang => loop {
            std::thread::park();
        },
        Verdict::Burn => loop {
            std::hint::spin_loop();
        },
        Verdict::Heed => heeds(context.sleep(Duration::MAX)),
        Verdict::Look => heeds(loop {
            if let Err(why) = context.check_cancelled() {
                break Err(why);
            }
            std::hint::spin_loop();
        }),
        Verdict::Forget => Ok(()),
        Verdict::Exit => std::process::exit(0),
    }
}

/// `data`, `gate` (a socket's path) → `out`: the digest of the data, taken before and after its test has let it go on; what it
/// has seen is in a file beside the gate, since nobody may be left to be answered.
fn hold(call: &mut Call) -> Result<(), Error> {
    let before = pattern::digest(call.bytes("data")?);
    let path = std::str::from_utf8(call.bytes("gate")?)?.to_owned();
    let context = call.context();
    let (attempt, node, worker) = (context.attempt(), context.node(), context.worker());
    gate::wait_at(Path::new(&path), attempt, node, worker)?;
    let same = pattern::digest(call.bytes("data")?) == before;
    std::fs::write(
        format!("{path}.held"),
        if same { "same" } else { "differs" },
    )?;
    call.write("out", before.as_bytes())
}

/// `mib` (a value), `gate` (a socket's path) → `out`: has so much memory for itself until its test lets it go on.
fn hoard(call: &mut Call) -> Result<(), Error> {
    let mib: usize = call.value("mib")?;
    let memory = std::hint::black_box(vec![1_u8; mib << 20]);
    gate(call)?;
    drop(memory);
    Ok(())
}

/// `a`, `b` → `out`: one behind the other.
fn join(call: &mut Call) -> Result<(), Error> {
    let (a, b) = (call.bytes("a")?, call.bytes("b")?);
    call.write("out", &[a, b].concat())
}

/// `length` (a value) → `out`: so many bytes of the pattern, written in place.
fn make(call: &mut Call) -> Result<(), Error> {
    let length: usize = call.value("length")?;
    let mut out = call.reserve("out", length)?;
    pattern::fill(7, out.as_mut_slice());
    out.commit(length)
}

/// `shape` (a value: bytes in all, of the hint, of a piece) → `out`: the pattern, piece by piece as a stream.
fn stream(call: &mut Call) -> Result<(), Error> {
    let (length, hint, piece): (u64, usize, usize) = call.value("shape")?;
    let mut out = call.reserve("out", hint)?;
    let (mut buffer, mut index) = (vec![0; piece], 0);
    while out.written() < length {
        let part = &mut buffer[..(length - out.written()).min(piece as u64) as usize];
        pattern::fill_piece(index, part);
        out.write_all(part)?;
        index += 1;
    }
    out.finish();
    Ok(())
}

/// `what` (a text: a seed and a length) → `out`: so many bytes of that pattern, written in place.
fn produce(call: &mut Call) -> Result<(), Error> {
    let what = String::from_utf8_lossy(call.bytes("what")?).into_owned();
    let numbers = what.split(' ').map(str::parse);
    let numbers: Result<Vec<u32>, _> = numbers.collect();
    let Ok([seed, length]) = numbers.as_deref() else {
        return Err(Error::new(format!("no seed and length: {what}")));
    };
    let mut out = call.reserve("out", *length as usize)?;
    pattern::fill(*seed, out.as_mut_slice());
    out.commit(*length as usize)
}

/// `length` (a value) → `text`: a text that takes so many bytes as JSON.
fn make_value(call: &mut Call) -> Result<(), Error> {
    let length: usize = call.value("length")?;
    call.value_output("text", &"a".repeat(length.saturating_sub(2)))
}

/// `shape` (a value: count and length) → `list`: so many items of the pattern.
fn items(call: &mut Call) -> Result<(), Error> {
    let (count, length): (u32, usize) = call.value("shape")?;
    let mut list = call.list_output("list")?;
    for index in 0..count {
        list.push(&pattern::item(7, index, length))?;
    }
    Ok(())
}

/// `list` → `out`: its digest.
fn digest_list(call: &mut Call) -> Result<(), Error> {
    let mut digest = pattern::ItemsDigest::default();
    let mut walk = call.list("list")?.walk();
    while let Some(item) = walk.next_item()? {
        digest.add(item);
    }
    call.write("out", digest.text().as_bytes())
}

/// As `digest_list`, but it has all items at once.
fn digest_kept(call: &mut Call) -> Result<(), Error> {
    let items: Vec<Option<&[u8]>> = call.list("list")?.iter().collect();
    call.write("out", pattern::digest_items(items).as_bytes())
}

/// `list` → `out`: the digests of its items, one in a line, in their order. They are read in another one, many of them twice.
fn digest_random(call: &mut Call) -> Result<(), Error> {
    let list = call.list("list")?;
    let mut walk = list.walk();
    let mut digests = vec![String::new(); list.len()];
    let mut index = 0;
    for step in 0..2 * list.len() {
        // All of them come in the first round, since the stride has no factor in common with any length up to it.
        index = (index + 7919) % list.len();
        let digest = pattern::digest(walk.at(index)?.unwrap_or_default());
        if step >= list.len() && digests[index] != digest {
            return Err(Error::new(format!("item {index} has changed")));
        }
        digests[index] = digest;
        // One of the last is still there, or comes again.
        let before = (index + list.len() - 7919 % list.len()) % list.len();
        if step > 0 && pattern::digest(walk.at(before)?.unwrap_or_default()) != digests[before] {
            return Err(Error::new(format!("item {before} has changed")));
        }
    }
    call.write("out", digests.join("\n").as_bytes())
}

/// As `digest_list`, but at its first attempt its process is killed in the middle.
fn digest_dying(call: &mut Call) -> Result<(), Error> {
    if call.context().attempt() == 1 {
        let mut walk = call.list("list")?.walk();
        for _ in 0..call.list("list")?.len() / 2 {
            walk.next_item()?;
        }
        nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::SIGKILL)?;
    }
    digest_list(call)
}

/// `list` → `out`: walks over it for ever, until it is told to stop.
fn walk_and_wait(call: &mut Call) -> Result<(), Error> {
    let list = call.list("list")?;
    loop {
        let mut walk = list.walk();
        while walk.next_item()?.is_some() {}
    }
}

/// `number` (a text) → `out`: 1 MiB that begins with it.
fn stamp(call: &mut Call) -> Result<(), Error> {
    let number = call.bytes("number")?;
    let mut out = call.reserve("out", 1 << 20)?;
    out.as_mut_slice().fill(b'.');
    out.as_mut_slice()[..number.len()].copy_from_slice(number);
    out.commit(1 << 20)
}

/// `in` (as `stamp` makes it) → `number`: with what it begins.
fn stamped(call: &mut Call) -> Result<(), Error> {
    let bytes = call.bytes("in")?;
    let dots = [b'.'; 4096];
    let number = bytes
        .iter()
        .position(|byte| *byte == b'.')
        .unwrap_or_default();
    if !bytes[4096..].chunks(4096).all(|chunk| chunk == dots) {
        return Err(Error::new("what was stamped is damaged"));
    }
    call.write("number", &bytes[..number])
}

/// `list` → `out`: its items, one behind the other.
fn concat(call: &mut Call) -> Result<(), Error> {
    let list = call.list("list")?;
    let mut out = call.reserve("out", list.iter().flatten().map(<[u8]>::len).sum())?;
    for item in list.iter().flatten() {
        out.write_all(item)?;
    }
    out.finish();
    Ok(())
}

/// `data` → `out`: all but its first and last byte, not copied.
fn alias(call: &mut Call) -> Result<(), Error> {
    let length = call.bytes("data")?.len();
    call.alias("out", "data", 1..length - 1)
}

/// `list` → `first`, `rest`: its first item and a list of the others, not copied.
fn alias_item(call: &mut Call) -> Result<(), Error> {
    let count = call.list("list")?.len();
    let mut first = call.list_output("first")?;
    first.push_item_alias("list", 0, ..)?;
    let mut rest = call.list_output("rest")?;
    for index in 1..count {
        rest.push_item_alias("list", index, ..)?;
    }
    Ok(())
}

/// `list` → `list`: the same items, not copied.
fn pass_items(call: &mut Call) -> Result<(), Error> {
    let count = call.list("list")?.len();
    let mut out = call.list_output("list")?;
    for index in 0..count {
        out.push_item_alias("list", index, ..)?;
    }
    Ok(())
}

/// `in` → `out0` to `out11`: more outputs than fit into a completion.
fn spread(call: &mut Call) -> Result<(), Error> {
    let text = call.bytes("in")?;
    for index in 0..12 {
        let out = [text, index.to_string().as_bytes()].concat();
        call.write(&format!("out{index}"), &out)?;
    }
    Ok(())
}

/// `in0` to `in11` → `out`: more inputs than fit into a request, one behind the other.
fn collect(call: &mut Call) -> Result<(), Error> {
    let mut out = Vec::new();
    for index in 0..12 {
        out.extend_from_slice(call.bytes(&format!("in{index}"))?);
    }
    call.write("out", &out)
}

/// `in` → `out`, written twice.
fn twice(call: &mut Call) -> Result<(), Error> {
    call.write("out", b"first")?;
    call.write("out", b"second")
}

/// `in` → `out`: more than any arena holds.
fn beyond(call: &mut Call) -> Result<(), Error> {
    call.reserve("out", 1 << 40).map(drop)
}

/// `in` → `out`: nothing at all, as soon as it can be.
fn touch(call: &mut Call) -> Result<(), Error> {
    call.write("out", b"")
}
