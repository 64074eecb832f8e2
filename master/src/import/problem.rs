//! What can be wrong with a file that is to be imported, beside what can be wrong with any definition.

use crate::definition::{DEFINITION_BYTES_MAX, DefinitionError};
use thiserror::Error;

/// What is wrong. It is a [`crate::definition::ProblemKind`] and shown as one: with its place, and what would be right.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ImportProblem {
    /// The JSON itself.
    #[error("this is not valid JSON: {0}")]
    Json(&'static str),
    /// A construct of the other language that has no like here.
    #[error("{0} cannot be imported")]
    NotCovered(String),
    /// A name that stands for nothing.
    #[error("there is no {what} `{name}`")]
    Unknown {
        /// Of what kind it would be.
        what: &'static str,
        /// Which.
        name: String,
    },
    /// An expression that cannot be turned into the language's.
    #[error("this expression cannot be imported: {0}")]
    Expression(String),
    /// Two places that do not agree.
    #[error("{0}")]
    Contradiction(String),
}

impl ImportProblem {
    /// As [`crate::definition::ProblemKind::code`].
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Json(_) => "import_json",
            Self::NotCovered(_) => "import_not_covered",
            Self::Unknown { .. } => "import_unknown",
            Self::Expression(_) => "import_expression",
            Self::Contradiction(_) => "import_contradiction",
        }
    }
}

/// Why a file was not imported.
#[derive(Debug, Error, miette::Diagnostic)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    #[diagnostic(help("name the file that is to be imported"))]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is longer than one that is imported may be.
    #[error("{name} has more than {limit} bytes")]
    #[diagnostic(help("is it the file that is to be imported?"))]
    Long {
        /// Which file.
        name: String,
        /// The limit.
        limit: usize,
    },
    /// What it becomes is longer than a definition may be.
    #[error(
        "{name} becomes a definition of {bytes} bytes, above the limit of {DEFINITION_BYTES_MAX}"
    )]
    #[diagnostic(help("part the workflow into several files, and import each"))]
    LongDefinition {
        /// Which file.
        name: String,
        /// Of what would be printed.
        bytes: usize,
    },
    /// What it says cannot be taken over.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Problems(#[from] DefinitionError),
}
