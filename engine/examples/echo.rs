//! The least executable of functions: what goes in comes out. The worker's tests run it.

use std::process::ExitCode;

fn main() -> ExitCode {
    faasstore::serve([faasstore::bytes(
        "echo",
        |input: &[u8], _call: &faasstore::Context| Ok(input.to_vec()),
    )])
}
