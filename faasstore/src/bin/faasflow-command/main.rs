//! `faasflow-command`: any program as a function.
//!
//! It is an executable of one function, `run`. The words of the program to run are its node's arguments; one input is
//! the program's standard input, its standard output is the output, its exit status says whether it ended well, and
//! the end of its standard error is the cause if it did not. docs/language.md has the rules. No shell is involved.
//!
//! - `words`: what the words become, and which input is standard input
//! - `exchange`: the program's streams, all at once
//! - `sink`: where standard output goes
//! - `guard`: no program outlives its executor, and what is to stop is asked to
#![forbid(unsafe_code)]

mod exchange;
mod guard;
mod run;
mod sink;
mod words;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(guard::ARGUMENT) {
        return guard::watch();
    }
    let mut runner = run::Runner::default();
    faasstore::serve([faasstore::function("run", move |call| runner.run(call))])
}
