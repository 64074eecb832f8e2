//! The functions that workflow.yaml names: `@NAME@:lines`, `@NAME@:upper` and `@NAME@:join`.

use faasstore::{Call, Context, Error};

/// Cuts a text into its lines.
fn lines(call: &mut Call) -> Result<(), Error> {
    let text = call.bytes("text")?; // where its producer wrote it: nothing was copied
    let mut lines = call.list_output("lines")?;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        lines.push(line)?; // an item, written straight into shared memory
    }
    Ok(())
}

/// Says it loudly. One raw input and one raw output: a plain function does.
fn upper(line: &[u8], _: &Context) -> Result<Vec<u8>, Error> {
    Ok(line.to_ascii_uppercase())
}

/// Puts lines together again.
fn join(call: &mut Call) -> Result<(), Error> {
    let mut text = Vec::new();
    for line in call.list("lines")?.iter().flatten() {
        call.context().check_cancelled()?; // ends if nobody wants it any more; whatever runs for long asks
        text.extend_from_slice(line);
    }
    call.write("text", &text)
}

fn main() -> std::process::ExitCode {
    faasstore::serve([
        faasstore::function("lines", lines),
        faasstore::bytes("upper", upper),
        faasstore::function("join", join),
    ])
}
