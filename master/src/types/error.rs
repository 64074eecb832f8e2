//! Why payloads do not go together, for people: both functions, the output and the input, and the first field that differs.

use crate::definition::FunctionName;
use faasstore::schema::{Difference, ParseError};
use thiserror::Error;

/// Why payloads do not go together.
#[derive(Clone, PartialEq, Eq, Debug, Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum TypesError {
    /// A producer and a consumer differ.
    #[error(
        "{} and {} {}",
        .writer.writes(.difference), .reader.place("input"), .reader.reads(.difference)
    )]
    #[diagnostic(help("{HELP}"))]
    Edge {
        /// Who writes.
        writer: Box<Port>,
        /// Who reads that.
        reader: Box<Port>,
        /// Where they first differ, the writer first.
        difference: Box<Difference>,
    },
    /// Two that read one input of the workflow differ.
    #[error(
        "input `{input}` of the workflow is read by two that differ: {} {}, and {} {}",
        .first.place("input"), .first.takes(.difference, .difference.first.as_deref()),
        .second.place("input"), .second.takes(.difference, .difference.second.as_deref())
    )]
    #[diagnostic(help("{HELP}"))]
    Input {
        /// Which input.
        input: String,
        /// One that reads it.
        first: Box<Port>,
        /// Another one.
        second: Box<Port>,
        /// Where they first differ.
        difference: Box<Difference>,
    },
    /// Two workers have different builds.
    #[error(
        "workers {first} and {second} have different builds of `{}`: as {} has it, `{}{}` {} on {first}, and {} on {second}",
        .port.function.executable, .port.function(), .port.name, .difference.path,
        has(.difference.first.as_deref()), has(.difference.second.as_deref())
    )]
    #[diagnostic(help("put the same executable into the functions folders of both workers"))]
    Builds {
        /// One worker.
        first: String,
        /// Another one.
        second: String,
        /// Whose input or output, and which.
        port: Box<Port>,
        /// Where they first differ.
        difference: Box<Difference>,
    },
    /// What a worker told is no description.
    #[error("worker {worker} told of {of} what is no description: {error}")]
    #[diagnostic(help("build the executable with the release of the worker and of this program"))]
    Malformed {
        /// Which worker.
        worker: String,
        /// Of which function and port.
        of: String,
        /// What is wrong.
        error: Box<ParseError>,
    },
}

fn has(kind: Option<&str>) -> String {
    kind.map_or_else(|| "is not there".to_owned(), |kind| format!("is {kind}"))
}

const HELP: &str = "build both executables from one description of that type, or let one say nothing of it; started by hand, \
    an executable tells what its functions say";

/// An input or output of a node's function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// The node.
    pub node: String,
    /// Its function.
    pub function: FunctionName,
    /// As the node names it.
    pub name: String,
}

impl Port {
    fn function(&self) -> String {
        format!("`{}:{}`", self.function.executable, self.function.function)
    }

    fn place(&self, what: &str) -> String {
        format!(
            "{} (node {}, {what} `{}`)",
            self.function(),
            self.node,
            self.name
        )
    }

    fn writes(&self, difference: &Difference) -> String {
        let Difference { path, first, .. } = difference;
        let (function, node, name) = (self.function(), &self.node, &self.name);
        match first {
            Some(kind) => format!("{function} (node {node}) writes `{name}{path}` as {kind},"),
            None => format!("{function} (node {node}) writes no `{name}{path}`,"),
        }
    }

    fn reads(&self, difference: &Difference) -> String {
        match &difference.second {
            Some(kind) => format!("reads it as {kind}"),
            None => "knows none".to_owned(),
        }
    }

    fn takes(&self, difference: &Difference, kind: Option<&str>) -> String {
        let path = match &*difference.path {
            "" => "it".to_owned(),
            path => format!("`{path}`"),
        };
        match kind {
            Some(kind) => format!("takes {path} for {kind}"),
            None => format!("knows no {path}"),
        }
    }
}
