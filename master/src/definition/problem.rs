//! What is wrong with a definition, with its place, an excerpt, and what would be right: collecting it, and showing it.

mod code;
mod kind;

pub use kind::ProblemKind;

use super::{DEFINITION_BYTES_MAX, SourceText, Span};
use miette::{
    Diagnostic, LabeledSpan, MietteError, MietteSpanContents, Severity, SourceCode, SourceSpan,
    SpanContents,
};
use std::fmt;

/// Problems shown at once; the others are counted. Whoever has this many looks at the first ones.
const SHOWN_MAX: usize = 20;
/// Longest line that is shown around a place, in bytes. Longer ones are not legible on any terminal.
const SHOWN_LINE_BYTES_MAX: usize = 4096;
/// Problems beyond which no help is looked for, which costs more than finding them.
const CROWD: usize = 2 * SHOWN_MAX;
/// Warnings kept of a file, at most.
const WARNINGS_MAX: usize = 100;
/// Longest piece of the file that a message repeats, in characters.
const QUOTED_CHARS_MAX: usize = 60;

/// Where in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// In bytes.
    pub span: Span,
}

/// Something wrong at a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// What.
    pub kind: ProblemKind,
    /// Where.
    pub place: Place,
    /// What would be right.
    pub help: Option<String>,
    /// A second place that matters, and why.
    pub beside: Option<(Span, &'static str)>,
    /// The file.
    pub source: SourceText,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for Problem {}

impl Problem {
    /// Whether the lines around its places, with one more on either side, can be shown. Miette panics at columns beyond
    /// 65,535.
    fn is_legible(&self) -> bool {
        let text = &*self.source.text;
        let spans = std::iter::once(self.place.span).chain(self.beside.map(|(span, _)| span));
        spans.into_iter().all(|span| {
            let (before, after) = (&text[..span.start], &text[span.end..]);
            let start = before.rmatch_indices('\n').nth(1).map_or(0, |(at, _)| at);
            let rest = after.match_indices('\n').nth(1);
            let end = span.end + rest.map_or(after.len(), |(at, _)| at);
            let lines = text[start..end].split('\n');
            lines
                .into_iter()
                .all(|line| line.len() <= SHOWN_LINE_BYTES_MAX)
        })
    }
}

impl Diagnostic for Problem {
    fn severity(&self) -> Option<Severity> {
        Some(if self.kind.is_warning() {
            Severity::Warning
        } else {
            Severity::Error
        })
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if !self.is_legible() {
            return None;
        }
        let Span { start, end } = self.place.span;
        let here =
            LabeledSpan::new_primary_with_span(Some("here".to_owned()), (start, end - start));
        let beside = self.beside.map(|(span, why)| {
            LabeledSpan::new_with_span(Some(why.to_owned()), (span.start, span.end - span.start))
        });
        Some(Box::new(std::iter::once(here).chain(beside)))
    }
}

impl SourceCode for SourceText {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let contents = self.text.read_span(span, lines_before, lines_after)?;
        Ok(Box::new(
            MietteSpanContents::new_named(
                self.name.to_string(),
                contents.data(),
                *contents.span(),
                contents.line(),
                contents.column(),
                contents.line_count(),
            )
            .with_language("yaml"),
        ))
    }
}

impl SourceText {
    /// Where a part of a scalar stands: `text` is what the scalar at `span` says, and the part some bytes of that. Of a
    /// scalar that is written otherwise than it reads (with escapes, over several lines) the whole place.
    pub(crate) fn part(&self, span: Span, text: &str, at: usize, length: usize) -> Span {
        // Blanks behind a scalar may be counted to it.
        let Some(written) = self.text.get(span.start..span.end).map(str::trim_end) else {
            return span;
        };
        let quoted = |mark: char| written.strip_prefix(mark)?.strip_suffix(mark);
        let before = if written == text {
            0
        } else if quoted('"').or_else(|| quoted('\'')) == Some(text) {
            1
        } else {
            return span;
        };
        let start = span.start + before + at.min(text.len());
        Span {
            start,
            end: (start + length).min(span.start + before + text.len()),
        }
    }
}

/// Everything that is wrong with a definition, and with those that it names.
#[derive(Debug)]
pub struct DefinitionError {
    /// In the order of the file, then those of other files; never empty.
    pub problems: Vec<Problem>,
    /// Problems beyond those.
    pub further: usize,
    source: SourceText,
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.source.name;
        match (self.problems.len() + self.further, self.problems.first()) {
            (1, Some(problem)) => {
                let Place { line, column, .. } = problem.place;
                write!(f, "{}:{line}:{column}: {problem}", problem.source.name)
            }
            (count, _) if self.further == 0 => write!(f, "{name} has {count} problems"),
            (count, _) => write!(
                f,
                "{name} has {count} problems, the first {SHOWN_MAX} of which are"
            ),
        }
    }
}

impl std::error::Error for DefinitionError {}

impl Diagnostic for DefinitionError {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.only().map_or(&self.source, |problem| &problem.source))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.only()?.help()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.only()?.labels()
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        if self.only().is_some() {
            return None;
        }
        Some(Box::new(
            self.problems
                .iter()
                .map(|problem| problem as &dyn Diagnostic),
        ))
    }
}

impl Problem {
    /// It as JSON: `file`, `line`, `column`, `code`, `message` and `help`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let Place { line, column, .. } = self.place;
        serde_json::json!({
            "file": &*self.source.name,
            "line": line,
            "column": column,
            "code": self.kind.code(),
            "message": self.to_string(),
            "help": self.help,
        })
    }
}

impl DefinitionError {
    /// The problem, if it is the only one: it is then shown as the error itself.
    fn only(&self) -> Option<&Problem> {
        match self.problems.as_slice() {
            [problem] if self.further == 0 => Some(problem),
            _ => None,
        }
    }
}

/// Collects problems of one file.
pub(crate) struct Problems {
    source: SourceText,
    found: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Of other files, ready to be shown.
    others: Vec<Problem>,
    others_further: usize,
}

impl Problems {
    pub(crate) fn new(source: &SourceText) -> Self {
        Self {
            source: source.clone(),
            found: Vec::new(),
            warnings: Vec::new(),
            others: Vec::new(),
            others_further: 0,
        }
    }

    pub(crate) fn add(&mut self, span: Span, kind: ProblemKind, help: Option<String>) {
        self.add_beside(span, kind, help, None);
    }

    pub(crate) fn add_beside(
        &mut self,
        span: Span,
        kind: ProblemKind,
        help: Option<String>,
        beside: Option<(Span, &'static str)>,
    ) {
        let problem = self.problem(span, kind, help, beside);
        self.found.push(problem);
    }

    /// Adds what is only suspicious.
    pub(crate) fn warn(&mut self, span: Span, kind: ProblemKind, help: Option<String>) {
        let problem = self.problem(span, kind, help, None);
        self.warnings.push(problem);
    }

    fn problem(
        &self,
        span: Span,
        kind: ProblemKind,
        help: Option<String>,
        beside: Option<(Span, &'static str)>,
    ) -> Problem {
        Problem {
            kind,
            place: Place {
                line: 0,
                column: 0,
                span,
            },
            help,
            beside,
            source: self.source.clone(),
        }
    }

    /// Adds what is wrong with another file.
    pub(crate) fn add_all(&mut self, error: DefinitionError) {
        self.others.extend(error.problems);
        self.others_further += error.further;
    }

    /// How errors call the file.
    pub(crate) fn name(&self) -> &str {
        &self.source.name
    }

    /// Whether there are so many that no more help is needed: whoever sees the first has enough.
    pub(crate) fn crowded(&self) -> bool {
        self.found.len() >= CROWD
    }

    /// Takes away what is wrong within these places.
    pub(super) fn forget_within(&mut self, spans: &[Span]) {
        let within = |span: Span| {
            let mut spans = spans.iter();
            spans.any(|around| around.start <= span.start && span.end <= around.end)
        };
        self.found.retain(|problem| !within(problem.place.span));
    }

    pub(crate) fn any(&self) -> bool {
        !self.found.is_empty() || !self.others.is_empty()
    }

    /// The error, once there is a problem.
    pub(crate) fn into_error(mut self) -> DefinitionError {
        let of_this = placed(&self.source, self.found);
        let count = of_this.len() + self.others.len() + self.others_further;
        let mut problems = of_this;
        problems.append(&mut self.others);
        problems.truncate(SHOWN_MAX);
        for problem in &mut problems {
            problem.find_line();
        }
        DefinitionError {
            further: count - problems.len(),
            problems,
            source: self.source,
        }
    }

    /// The warnings so far, in the order of the file; with more than can be shown, the first.
    pub(crate) fn take_warnings(&mut self) -> Vec<Problem> {
        let mut warnings = placed(&self.source, std::mem::take(&mut self.warnings));
        warnings.truncate(WARNINGS_MAX);
        for warning in &mut warnings {
            warning.find_line();
        }
        warnings
    }

    /// The error of a file with one problem that ends the reading.
    pub(crate) fn single(
        source: &SourceText,
        span: Span,
        kind: ProblemKind,
        help: Option<String>,
    ) -> DefinitionError {
        let mut problems = Self::new(source);
        problems.add(span, kind, help);
        problems.into_error()
    }
}

/// The error of a file that is a definition, and has problems nevertheless; at least one, each with its place, and what
/// would be right.
pub(crate) fn problems_at(
    source: &SourceText,
    all: Vec<(Span, ProblemKind, Option<String>)>,
) -> DefinitionError {
    let mut problems = Problems::new(source);
    for (span, kind, help) in all {
        problems.add(span, kind, help);
    }
    problems.into_error()
}

/// Problems in the order of their file, each once, with spans that lie within it.
fn placed(source: &SourceText, mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| problem.place.span.start);
    problems.dedup();
    for problem in &mut problems {
        let span = &mut problem.place.span;
        let start = floor_char_boundary(&source.text, span.start);
        let end = floor_char_boundary(&source.text, span.end).max(start);
        *span = Span { start, end };
    }
    problems
}

impl Problem {
    /// Fills in line and column, which only what is shown needs.
    fn find_line(&mut self) {
        if self.place.line == 0 {
            (self.place.line, self.place.column) =
                line_and_column(&self.source.text, self.place.span.start);
        }
    }
}

fn floor_char_boundary(text: &str, mut index: usize) -> usize {
    index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

/// The text of a definition, without a byte order mark.
pub(crate) fn text_of<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, DefinitionError> {
    if bytes.len() > DEFINITION_BYTES_MAX {
        let kind = ProblemKind::Long { bytes: bytes.len() };
        return Err(refused(name, "", kind, "is it a workflow file?"));
    }
    utf8_of(name, bytes)
}

/// The text of a file, without a byte order mark.
pub(crate) fn utf8_of<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, DefinitionError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            // What precedes the bad byte is shown; from_utf8 has just found it good.
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            Err(refused(
                name,
                &good,
                ProblemKind::NotUtf8,
                "save it as UTF-8",
            ))
        }
    }
}

/// The error of a file that is no text behind this.
fn refused(name: &str, text: &str, kind: ProblemKind, help: &str) -> DefinitionError {
    let source = SourceText {
        name: name.into(),
        text: text.into(),
    };
    let (start, end) = (text.len(), text.len());
    Problems::single(&source, Span { start, end }, kind, Some(help.to_owned()))
}

/// A piece of the file, short enough for a message and on one line.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted: String = text
        .chars()
        .take(QUOTED_CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(QUOTED_CHARS_MAX).is_some() {
        quoted.push('…');
    }
    quoted
}
