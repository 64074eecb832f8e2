//! How the programs say what is wrong: framed and wrapped for a terminal, for anyone else with every sentence and path on a
//! line of its own, whole, so that it can be searched for and copied. Whoever reads it may have gone away: that is no error.

use miette::MietteHandlerOpts;
use std::io::{IsTerminal, Write};
use std::panic::{UnwindSafe, catch_unwind, set_hook};
use std::process::ExitCode;

/// The whole of a program's `main`: makes this process, whose name is `program`, write its diagnostics so, and runs the
/// rest. A panic is told as a fault of the program's own, and ends it with code 1.
///
/// Colours are left to where they are written: none where standard error is no terminal, or `NO_COLOR` is set.
pub fn run(program: &'static str, main: impl FnOnce() -> ExitCode + UnwindSafe) -> ExitCode {
    install(program);
    catch_unwind(main).unwrap_or(ExitCode::FAILURE)
}

fn install(program: &'static str) {
    set_hook(Box::new(move |panic| {
        let place = panic
            .location()
            .map_or_else(String::new, |place| format!(" at {place}"));
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let what = text
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        to_stderr(&format!(
            "{program}: internal error{place}: {what}\nThis is a fault of the program.\n"
        ));
    }));
    // Refused where one was installed before: then that is it.
    let _ = miette::set_hook(Box::new(|_| {
        // Each message holds its cause already, where it reads best; a chain of causes would say it twice.
        let options = MietteHandlerOpts::new().without_cause_chain();
        let options = if std::io::stderr().is_terminal() {
            options
        } else {
            options.wrap_lines(false).color(false)
        };
        Box::new(options.build())
    }));
}

/// Writes to standard error; where that is gone, nobody is left to tell. (`eprintln!` would panic.)
pub fn to_stderr(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
