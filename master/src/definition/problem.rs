//! What can be wrong with a definition, in words, with its place and what would be right.

use super::{DEFINITION_BYTES_MAX, SourceText, Span};
use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// Problems shown at once; the others are counted. Whoever has this many looks at the first ones.
const SHOWN_MAX: usize = 20;
/// Longest piece of the file that a message repeats, in characters.
const QUOTED_CHARS_MAX: usize = 60;

/// What is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The YAML itself.
    #[error("this is not valid YAML: {0}")]
    Yaml(String),
    /// Not text.
    #[error("the file is not UTF-8 text")]
    NotUtf8,
    /// A file that is too long.
    #[error("the file has {bytes} bytes, above the limit of {DEFINITION_BYTES_MAX}")]
    Long {
        /// What it has.
        bytes: usize,
    },
    /// Nothing there.
    #[error("the file defines nothing")]
    Empty,
    /// More than one YAML document.
    #[error("a second document begins here")]
    SecondDocument,
    /// Nesting.
    #[error("lists and mappings are nested more than {limit} deep")]
    Deep {
        /// The limit.
        limit: usize,
    },
    /// Size, aliases expanded.
    #[error("with its aliases expanded, the file has more than {limit} values")]
    Many {
        /// The limit.
        limit: u32,
    },
    /// A tag.
    #[error("YAML tags have no meaning here")]
    Tag,
    /// A value of another shape.
    #[error("{what} must be {expected}, but this is {found}")]
    Shape {
        /// Of what.
        what: String,
        /// What would be right.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A key that must be there.
    #[error("{what} has no `{key}`")]
    MissingKey {
        /// What lacks it.
        what: String,
        /// The key.
        key: &'static str,
    },
    /// A key that means nothing.
    #[error("{what} has no key `{key}`")]
    UnknownKey {
        /// What has it.
        what: String,
        /// The key.
        key: String,
    },
    /// A construct of the language that this version does not run.
    #[error("{0} is not supported yet")]
    NotYet(String),
    /// A key or name that stands there twice.
    #[error("`{name}` is defined twice")]
    Duplicate {
        /// Which.
        name: String,
    },
    /// A name that is none.
    #[error("`{name}` cannot be the name of {what}")]
    Name {
        /// Of what.
        what: &'static str,
        /// What is there.
        name: String,
    },
    /// A number outside its range.
    #[error("`{key}` must be {expected}, but this is {found}")]
    Number {
        /// Which.
        key: &'static str,
        /// Its range.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A function's name that is none.
    #[error("`{found}` names no function")]
    Function {
        /// What is there.
        found: String,
    },
    /// A kind that is none.
    #[error("`{found}` is no kind of value")]
    Kind {
        /// What is there.
        found: String,
    },
    /// A source that is none.
    #[error("`{found}` is no source of a value")]
    Source {
        /// What is there.
        found: String,
    },
    /// A node that is not there.
    #[error("there is no node `{name}`")]
    UnknownNode {
        /// Which.
        name: String,
    },
    /// An output that is not there.
    #[error("node `{node}` has no output `{output}`")]
    UnknownOutput {
        /// Of which node.
        node: String,
        /// Which.
        output: String,
    },
    /// A workflow input that is not there.
    #[error("the workflow has no input `{name}`")]
    UnknownInput {
        /// Which.
        name: String,
    },
    /// `item` where there is none.
    #[error("`item` has no meaning {0}")]
    ItemOutside(&'static str),
    /// A foreach over something else than a list.
    #[error("`{source_name}` is {kind}, and foreach runs over a list")]
    ForeachOver {
        /// Over what.
        source_name: String,
        /// What it is.
        kind: &'static str,
    },
    /// A list from each item.
    #[error("`{node}` is a foreach node, and its output `{output}` is a list")]
    ListOfLists {
        /// Which node.
        node: String,
        /// Which of its outputs.
        output: String,
    },
    /// Nodes that wait for each other.
    #[error("these nodes wait for each other: {}", path.join(" → "))]
    Cycle {
        /// The way round, its first node again at its end.
        path: Vec<String>,
    },
    /// No nodes.
    #[error("the workflow has no nodes")]
    NoNodes,
    /// What an import cannot take over.
    #[error(transparent)]
    Import(#[from] crate::import::ImportProblem),
    /// More of something than a plan can hold.
    #[error("{what} are {count}, above the limit of {limit}")]
    Count {
        /// Of what.
        what: String,
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
}

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
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let Span { start, end } = self.place.span;
        let here =
            LabeledSpan::new_primary_with_span(Some("here".to_owned()), (start, end - start));
        let beside = self.beside.map(|(span, why)| {
            LabeledSpan::new_with_span(Some(why.to_owned()), (span.start, span.end - span.start))
        });
        Some(Box::new(std::iter::once(here).chain(beside)))
    }
}

/// Everything that is wrong with a definition.
#[derive(Debug)]
pub struct DefinitionError {
    /// In the order of the file; never empty.
    pub problems: Vec<Problem>,
    /// Problems beyond those.
    pub further: usize,
    source: NamedSource<Arc<str>>,
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.source.name();
        match (self.problems.len() + self.further, self.problems.first()) {
            (1, Some(problem)) => {
                let Place { line, column, .. } = problem.place;
                write!(f, "{name}:{line}:{column}: {problem}")
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
        Some(&self.source)
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
}

impl Problems {
    pub(crate) fn new(source: &SourceText) -> Self {
        Self {
            source: source.clone(),
            found: Vec::new(),
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
        let place = Place {
            line: 0,
            column: 0,
            span,
        };
        self.found.push(Problem {
            kind,
            place,
            help,
            beside,
        });
    }

    /// How errors call the file.
    pub(crate) fn name(&self) -> &str {
        &self.source.name
    }

    pub(crate) fn any(&self) -> bool {
        !self.found.is_empty()
    }

    /// The error, once there is a problem.
    pub(crate) fn into_error(mut self) -> DefinitionError {
        self.found.sort_by_key(|problem| problem.place.span.start);
        self.found.dedup();
        let further = self.found.len().saturating_sub(SHOWN_MAX);
        self.found.truncate(SHOWN_MAX);
        let text = &self.source.text;
        for problem in &mut self.found {
            let start = floor_char_boundary(text, problem.place.span.start);
            let end = floor_char_boundary(text, problem.place.span.end).max(start);
            let (line, column) = line_and_column(text, start);
            problem.place = Place {
                line,
                column,
                span: Span { start, end },
            };
        }
        DefinitionError {
            problems: self.found,
            further,
            source: NamedSource::new(&self.source.name, Arc::clone(text)).with_language("yaml"),
        }
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
