//! A file of the right shape, whose names are not yet resolved.

use super::{FunctionName, Port, Profile, Resources, Span, Spanned};
use engine::plan::{ErrorMatch, Join, Retry};
use faasstore::binding::Kind;
use serde_json::Value as Json;

/// Where a value comes from, by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum RawSource {
    Input(String),
    Output {
        node: String,
        output: String,
        /// That of the same item, as `NODE.OUTPUT[item]` says.
        item: bool,
    },
    /// The item of so many foreach outward.
    Item {
        up: u8,
    },
    Constant(String),
    /// A value that stands there itself.
    Value(Json),
    /// Bytes that stand there themselves.
    Text(String),
}

/// What an input of a node, or an output of the workflow, is bound to.
#[derive(Debug)]
pub(super) struct RawBinding {
    /// At least one.
    pub(super) sources: Vec<Spanned<RawSource>>,
    pub(super) default: Option<Spanned<Json>>,
    pub(super) optional: bool,
    pub(super) span: Span,
}

/// An input of the workflow.
#[derive(Debug)]
pub(super) struct RawInput {
    pub(super) name: Spanned<String>,
    pub(super) kind: Kind,
    pub(super) default: Option<Spanned<Json>>,
    pub(super) optional: bool,
}

/// Whole numbers, by expressions.
#[derive(Debug)]
pub(super) struct RawRange {
    pub(super) from: Spanned<String>,
    pub(super) to: Spanned<String>,
}

/// What a foreach node runs over.
#[derive(Debug)]
pub(super) enum RawOver {
    List(Spanned<RawSource>),
    Range(RawRange),
}

#[derive(Debug)]
pub(super) struct RawForeach {
    pub(super) over: RawOver,
    pub(super) batch: Option<u32>,
    pub(super) parallelism: Option<u32>,
}

/// What a computed output is made of.
#[derive(Debug)]
pub(super) enum RawFormula {
    Value(Spanned<String>),
    List(Spanned<String>),
    Range(RawRange),
}

#[derive(Debug)]
pub(super) struct RawCase {
    /// None for the default.
    pub(super) when: Option<Spanned<String>>,
    pub(super) then: Vec<Spanned<String>>,
}

#[derive(Debug)]
pub(super) struct RawCatch {
    pub(super) on: Vec<ErrorMatch>,
    pub(super) to: Vec<Spanned<String>>,
    pub(super) span: Span,
}

/// How long a node waits once it could start.
#[derive(Debug)]
pub(super) enum RawDelay {
    /// So many milliseconds.
    Fixed(u32),
    /// As many milliseconds as an expression gives.
    Computed(Spanned<String>),
    /// Until the time that an expression gives.
    Until(Spanned<String>),
}

/// What a node does.
#[derive(Debug)]
pub(super) enum RawWork {
    Function(Spanned<FunctionName>),
    Command(Vec<Spanned<String>>),
    Compute(Vec<(Spanned<String>, RawFormula)>),
    Switch(Vec<RawCase>),
    /// The path of another file.
    Workflow(Spanned<String>),
    Nothing,
}

/// A node with its sources by name.
#[derive(Debug)]
pub(super) struct RawNode {
    pub(super) name: Spanned<String>,
    pub(super) work: RawWork,
    pub(super) foreach: Option<RawForeach>,
    pub(super) inputs: Vec<(Spanned<String>, RawBinding)>,
    pub(super) outputs: Vec<Port>,
    pub(super) after: Vec<Spanned<String>>,
    pub(super) join: Spanned<Join>,
    pub(super) retriers: Vec<Spanned<Retry>>,
    pub(super) catches: Vec<RawCatch>,
    pub(super) timeout_ms: Option<Spanned<u32>>,
    pub(super) delay: RawDelay,
    pub(super) resources: Resources,
    pub(super) profile: Profile,
}

/// A file of the right shape.
#[derive(Debug)]
pub(super) struct RawDefinition {
    pub(super) workflow: Spanned<String>,
    pub(super) inputs: Vec<RawInput>,
    pub(super) constants: Vec<(Spanned<String>, Json)>,
    pub(super) nodes: Vec<RawNode>,
    pub(super) outputs: Vec<(Spanned<String>, RawBinding)>,
    pub(super) timeout_ms: Option<Spanned<u32>>,
}
