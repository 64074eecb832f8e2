//! The executable `synthetic`: serves the function to a worker; by hand it checks and makes payloads.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use faasstore::binding::WORKER_PID_VARIABLE;
use faasstore::{function, serve};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use synthetic::payload;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An executable of FaaSFlow functions, which a worker starts. By hand it checks and makes payloads.
///
/// Exit codes: 0 good, 1 damaged, 2 wrong use.
#[derive(Parser)]
#[command(name = "synthetic", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tell whether files are payloads as they were written
    Check {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Write a payload to a file
    Make {
        /// Its length
        bytes: u64,
        /// The file
        file: PathBuf,
        /// What its content follows from
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
}

fn main() -> ExitCode {
    if std::env::var_os(WORKER_PID_VARIABLE).is_some() {
        return serve([function("run", synthetic::run)]);
    }
    match Arguments::parse().command {
        Command::Check { files } => check(&files),
        Command::Make { bytes, file, seed } => make(bytes, &file, seed),
    }
}

/// Whoever reads it may have gone away: that is no error.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn refuse(path: &Path, error: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "synthetic: {}: {error}", path.display());
    ExitCode::from(2)
}

fn check(files: &[PathBuf]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for path in files {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => return refuse(path, &error),
        };
        match payload::check(&bytes) {
            Ok(()) => say(&format!("{}: {} bytes, good", path.display(), bytes.len())),
            Err(damage) => {
                say(&format!(
                    "{}: {} bytes: {damage}",
                    path.display(),
                    bytes.len()
                ));
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn make(bytes: u64, path: &Path, seed: u64) -> ExitCode {
    let mut content = Vec::new();
    let reserved = usize::try_from(bytes).ok().and_then(|bytes| {
        content.try_reserve_exact(bytes).ok()?;
        Some(bytes)
    });
    let Some(bytes) = reserved else {
        return refuse(path, &format!("{bytes} bytes do not fit into memory"));
    };
    content.resize(bytes, 0);
    payload::fill(&mut content, seed);
    match std::fs::write(path, content) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(path, &error),
    }
}
