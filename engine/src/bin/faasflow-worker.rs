//! FaaSFlow's worker, as a program: reads its command line, sets up its log, and runs [`engine::worker::run`].

use clap::Parser;
use engine::lane::driver::Driver;
use engine::worker::config::{Arguments, Config};
use engine::worker::run::{LaneProgram, run};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Name of the environment variable that sets what is logged, as in `debug` or `engine::worker=trace`.
const LOG_VARIABLE: &str = "FAASFLOW_LOG";
/// Something failed while the worker ran.
const EXIT_FAILED: u8 = 1;
/// What the worker was told cannot be done here.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    // Prints help, the version, or what is wrong, and exits 0 or 2 by itself.
    let arguments = Arguments::parse();
    std::panic::set_hook(Box::new(|panic| {
        // One line for whoever reads the log; a backtrace helps only with the source at hand.
        let what = one_line(&panic.to_string());
        say(&format!("internal error, please report it: {what}"));
    }));
    if let Err(error) = start_log() {
        say(&error);
        return ExitCode::from(EXIT_USAGE);
    }
    let outcome = std::panic::catch_unwind(|| match Config::check(arguments) {
        Ok(config) => run(config, LANES).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    });
    match outcome {
        Ok(Ok(exit_code)) => ExitCode::from(exit_code),
        Ok(Err(error)) => {
            say(&error);
            ExitCode::from(EXIT_USAGE)
        }
        Err(_) => ExitCode::from(EXIT_FAILED),
    }
}

const LANES: LaneProgram = LaneProgram {
    probe: Driver::probe,
    run: engine::lane::run,
};

/// Whether the user wants no colours: <https://no-color.org>.
fn is_colour_refused() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// One line on standard error. Where that is gone nobody is left to tell, and the worker goes on: `eprintln!` would panic.
fn say(text: &str) {
    let line = format!("faasflow-worker: {text}\n");
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

fn start_log() -> Result<(), String> {
    let filter = match std::env::var_os(LOG_VARIABLE) {
        None => EnvFilter::new("info"),
        Some(given) => {
            let given = given.to_string_lossy();
            EnvFilter::try_new(&given).map_err(|error| {
                format!("{LOG_VARIABLE}={given}: {error}; write a level (warn, info, debug) or MODULE=LEVEL, parted by commas")
            })?
        }
    };
    tracing_subscriber::fmt()
        // A log that cannot be written would else be reported by `eprintln!`, which panics then, in whichever thread it is.
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !is_colour_refused())
        .with_target(false)
        .init();
    Ok(())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
