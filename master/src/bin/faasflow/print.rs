//! Printing: a page that is written at once, and tables. A reader that has gone away is no error.

use crate::exit::Exit;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Text for standard output.
#[derive(Debug, Default)]
pub(crate) struct Page {
    text: String,
}

impl Page {
    pub(crate) fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// Rows under headings, in columns as wide as they need. The columns in `right` hold numbers.
    pub(crate) fn table(&mut self, headings: &[&str], right: &[usize], rows: &[Vec<String>]) {
        let headings: Vec<String> = headings
            .iter()
            .map(|heading| (*heading).to_owned())
            .collect();
        let all = || std::iter::once(&headings).chain(rows);
        let width = |column: usize| {
            all()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..headings.len()).map(width).collect();
        for row in all() {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let padding = " ".repeat(width - cell.chars().count());
                let cell = if right.contains(&column) {
                    padding + cell
                } else {
                    cell.clone() + &padding
                };
                line.push_str(if column > 0 { "  " } else { "" });
                line.push_str(&cell);
            }
            self.line(line.trim_end());
        }
    }

    /// Writes the page to standard output.
    ///
    /// # Errors
    /// If it cannot be written: whoever reads a file that is cut off must not take it for whole.
    pub(crate) fn print(self) -> Result<(), Exit> {
        let mut out = std::io::stdout().lock();
        let written = out
            .write_all(self.text.as_bytes())
            .and_then(|()| out.flush());
        match written {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Exit::work(PrintError(error)))
            }
            _ => Ok(()),
        }
    }
}

/// Standard output takes nothing.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot write to standard output: {0}")]
#[diagnostic(help("what was to be done is done; only the words for it are lost"))]
struct PrintError(std::io::Error);

/// Whether a JSON object has been printed.
static JSON_PRINTED: AtomicBool = AtomicBool::new(false);

pub(crate) fn was_json() -> bool {
    JSON_PRINTED.load(Ordering::Relaxed)
}

/// Prints one JSON object.
pub(crate) fn json(value: &serde_json::Value) -> Result<(), Exit> {
    JSON_PRINTED.store(true, Ordering::Relaxed);
    let mut page = Page::default();
    page.line(&format!("{value:#}"));
    page.print()
}

/// So many of these: `1 node`, `2 nodes`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
