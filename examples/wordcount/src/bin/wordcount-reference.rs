//! `wordcount-reference`: a plain single-threaded word count, and whether someone else's totals equal it.
#![forbid(unsafe_code)]

use clap::Parser;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wordcount::reference::{self, Difference};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Counts the words of a text with one thread and a sorted map, and prints `word TAB count` lines.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Compare these totals with those of TEXT instead of printing: exit code 0 if equal, 1 if not.
    #[arg(long, value_name = "TOTALS", conflicts_with = "top")]
    check: Option<PathBuf>,
    /// Print only the first N lines.
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// The file whose words are counted.
    text: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(message) => {
            // Where standard error is gone, nobody is left to tell; `eprintln!` would panic.
            let _ = writeln!(io::stderr(), "wordcount-reference: {message}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let text = read(&arguments.text)?;
    if let Some(path) = &arguments.check {
        let totals = read(path)?;
        return Ok(match reference::first_difference(&totals, &text) {
            None => {
                let words = reference::counts(&text).len();
                print(format!("equal: {words} distinct words\n").as_bytes())?;
                ExitCode::SUCCESS
            }
            Some(difference) => {
                print(describe(&difference).as_bytes())?;
                ExitCode::FAILURE
            }
        });
    }
    let lines = reference::lines(&text);
    let shown = arguments.top.unwrap_or(lines.len()).min(lines.len());
    print(&lines[..shown].concat()).map(|()| ExitCode::SUCCESS)
}

fn print(text: &[u8]) -> Result<(), String> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        // A reader such as `head` that has seen enough is no error.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("standard output: {error}"))
        }
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn describe(difference: &Difference) -> String {
    let show = |line: &Option<Vec<u8>>| {
        line.as_ref().map_or("no line".to_owned(), |line| {
            format!("{:?}", String::from_utf8_lossy(line))
        })
    };
    format!(
        "line {}: {}, expected {}\n",
        difference.line,
        show(&difference.found),
        show(&difference.expected)
    )
}
