//! A file as it was read, whose names are not yet resolved. What could not be read has been told; here it is marked, so that
//! what depends on it is not told as well.

use super::{Divide, FunctionName, Port, Profile, Resources, Span, Spanned};
use engine::plan::{EdgeStore, ErrorMatch, Join, Retry, StoreChoice, Trust};
use faasstore::binding::{Kind, Maximum};
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// Names of which it was told that they could not be read.
#[derive(Default, Debug)]
pub(super) struct Unread {
    names: BTreeSet<String>,
    /// Whether there may be more, which nobody knows.
    any: bool,
}

impl Unread {
    pub(super) fn add(&mut self, name: &str) {
        self.names.insert(name.to_owned());
    }

    /// What would tell the names could not be read itself.
    pub(super) fn add_any(&mut self) {
        self.any = true;
    }

    /// Whether nothing can be told of a name that is not among those that were read.
    pub(super) fn may_be(&self, name: &str) -> bool {
        self.any || self.names.contains(name)
    }

    /// Those that are known.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.any && self.names.is_empty()
    }
}

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
    /// At least one; none if what stands there could not be read.
    pub(super) sources: Vec<Spanned<RawSource>>,
    pub(super) default: Option<Spanned<Json>>,
    pub(super) optional: bool,
    pub(super) store: Option<Spanned<EdgeStore>>,
    pub(super) span: Span,
}

/// An input of the workflow.
#[derive(Debug)]
pub(super) struct RawInput {
    pub(super) name: Spanned<String>,
    pub(super) kind: Kind,
    pub(super) default: Option<Spanned<Json>>,
    pub(super) optional: bool,
    pub(super) maximum: Maximum,
}

/// Whole numbers, by expressions.
#[derive(Debug)]
pub(super) struct RawRange {
    pub(super) from: Spanned<String>,
    pub(super) to: Spanned<String>,
    /// The most that there may be, if that is declared.
    pub(super) max_items: Option<u64>,
}

/// What a foreach node runs over.
#[derive(Debug)]
pub(super) enum RawOver {
    List(Spanned<RawSource>),
    Range(RawRange),
    /// What could not be read.
    Unread,
}

#[derive(Debug)]
pub(super) struct RawForeach {
    pub(super) over: RawOver,
    pub(super) batch: Option<u32>,
    pub(super) parallelism: Option<u32>,
    pub(super) divide: Option<Spanned<Divide>>,
}

/// What a computed output is made of.
#[derive(Debug)]
pub(super) enum RawFormula {
    Value(Spanned<String>),
    /// And the most items that it may have, if that is declared.
    List(Spanned<String>, Option<u64>),
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
    /// What could not be read.
    Unread,
}

/// A node with its sources by name.
#[derive(Debug)]
pub(super) struct RawNode {
    pub(super) name: Spanned<String>,
    pub(super) work: RawWork,
    pub(super) foreach: Option<RawForeach>,
    pub(super) inputs: Vec<(Spanned<String>, RawBinding)>,
    /// Whether its inputs are not all of those.
    pub(super) inputs_unread: bool,
    pub(super) outputs: Vec<Port>,
    pub(super) outputs_unread: Unread,
    pub(super) after: Vec<Spanned<String>>,
    pub(super) apart: Vec<Spanned<String>>,
    pub(super) join: Spanned<Join>,
    pub(super) retriers: Vec<Spanned<Retry>>,
    pub(super) catches: Vec<RawCatch>,
    pub(super) timeout_ms: Option<Spanned<u32>>,
    pub(super) delay: RawDelay,
    pub(super) resources: Resources,
    pub(super) trust: Trust,
    pub(super) profile: RawProfile,
}

/// A node's `profile`.
#[derive(Clone, Debug, Default)]
pub(super) struct RawProfile {
    /// All of it, but for what belongs to one output.
    pub(super) known: Profile,
    /// Bytes of outputs, by their names.
    pub(super) by_output: Vec<(Spanned<String>, u64)>,
}

impl RawProfile {
    /// That of what takes no time.
    pub(super) fn of_the_worker() -> Self {
        let known = Profile {
            runtime_ms: 0.0,
            ..Profile::default()
        };
        Self {
            known,
            by_output: Vec::new(),
        }
    }
}

impl RawNode {
    /// A node that could not be read.
    pub(super) fn unread(name: Spanned<String>, outputs_unread: Unread) -> Self {
        let join = Spanned {
            value: Join::All,
            span: name.span,
        };
        Self {
            name,
            work: RawWork::Unread,
            foreach: None,
            inputs: Vec::new(),
            inputs_unread: true,
            outputs: Vec::new(),
            outputs_unread,
            after: Vec::new(),
            apart: Vec::new(),
            join,
            retriers: Vec::new(),
            catches: Vec::new(),
            timeout_ms: None,
            delay: RawDelay::Fixed(0),
            resources: Resources::default(),
            trust: Trust::default(),
            profile: RawProfile::default(),
        }
    }
}

/// A file.
#[derive(Debug)]
pub(super) struct RawDefinition {
    pub(super) workflow: Spanned<String>,
    pub(super) inputs: Vec<RawInput>,
    pub(super) inputs_unread: Unread,
    pub(super) constants: Vec<(Spanned<String>, Json)>,
    pub(super) constants_unread: Unread,
    pub(super) nodes: Vec<RawNode>,
    pub(super) nodes_unread: Unread,
    pub(super) outputs: Vec<(Spanned<String>, RawBinding)>,
    pub(super) timeout_ms: Option<Spanned<u32>>,
    pub(super) store: StoreChoice,
}
