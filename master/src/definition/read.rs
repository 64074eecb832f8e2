//! From the tree to a definition whose names are not yet resolved: which keys there are, and what each must hold.

mod values;

pub(super) use values::listed;

use super::names::is_reserved;
use super::problem::{ProblemKind, Problems, quoted};
use super::tree::{self, Tree, Value};
use super::{DefinitionError, FunctionName, Port, Profile, Resources, SourceText, Span, Spanned};
use engine::plan::Retry;
use std::rc::Rc;
use values::{Shape, TIME_MS_MAX};

/// Most executors of a node.
const SCALE_MAX: u64 = 1024;
/// Most memory of an executor, in MiB: 1 TiB.
const MEMORY_MIB_MAX: u64 = 1 << 20;
/// Most attempts of an activation.
const ATTEMPTS_MAX: u64 = 1000;
/// Most bytes that a profile may claim: 1 PiB.
const PROFILE_BYTES_MAX: u64 = 1 << 50;

/// Where a value comes from, by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum RawSource {
    Input(String),
    Output { node: String, output: String },
    Item,
}

/// A node with its sources by name.
#[derive(Debug)]
pub(super) struct RawNode {
    pub(super) name: Spanned<String>,
    pub(super) function: Spanned<FunctionName>,
    pub(super) foreach: Option<Spanned<RawSource>>,
    pub(super) inputs: Vec<(Spanned<String>, Spanned<RawSource>)>,
    pub(super) outputs: Vec<Port>,
    pub(super) after: Vec<Spanned<String>>,
    pub(super) profile: Profile,
    pub(super) resources: Resources,
    pub(super) retry: Retry,
    pub(super) timeout_ms: Option<u32>,
}

/// A file of the right shape.
#[derive(Debug)]
pub(super) struct RawDefinition {
    pub(super) workflow: Spanned<String>,
    pub(super) inputs: Vec<Port>,
    pub(super) nodes: Vec<RawNode>,
    pub(super) outputs: Vec<(Spanned<String>, Spanned<RawSource>)>,
}

const WORKFLOW: Shape = Shape {
    what: "a workflow",
    keys: &["workflow", "input", "nodes", "output"],
    not_yet: &["constants", "constant", "limits"],
};
const NODE: Shape = Shape {
    what: "a node",
    keys: &[
        "function",
        "foreach",
        "input",
        "output",
        "after",
        "profile",
        "resources",
        "retry",
        "timeout_ms",
    ],
    not_yet: &[
        "switch",
        "when",
        "default",
        "catch",
        "join",
        "batch",
        "parallelism",
        "optional",
        "first_of",
        "workflow",
        "constant",
        "constants",
        "trust",
        "sandbox",
    ],
};
const PROFILE: Shape = Shape {
    what: "`profile`",
    keys: &["runtime_ms", "output_bytes"],
    not_yet: &[],
};
const RESOURCES: Shape = Shape {
    what: "`resources`",
    keys: &["memory_mib", "scale"],
    not_yet: &["cpus"],
};
const RETRY: Shape = Shape {
    what: "`retry`",
    keys: &["attempts", "backoff_ms"],
    not_yet: &["jitter", "jitter_ms"],
};

/// Reads a file.
pub(super) fn read(source: &SourceText) -> Result<RawDefinition, DefinitionError> {
    let mut problems = Problems::new(source);
    let tree = tree::parse(source, &mut problems)?;
    let mut reader = Reader { problems };
    let raw = reader.definition(&tree);
    match raw {
        Some(raw) if !reader.problems.any() => Ok(raw),
        _ => Err(reader.problems.into_error()),
    }
}

type Entry = (Spanned<String>, Rc<Tree>);

/// Which ports of a node or workflow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Input,
    Output,
}

impl Side {
    const fn key(self) -> &'static str {
        match self {
            Self::Input => "`input`",
            Self::Output => "`output`",
        }
    }

    const fn of_one(self) -> &'static str {
        match self {
            Self::Input => "an input",
            Self::Output => "an output",
        }
    }
}

struct Reader {
    problems: Problems,
}

impl Reader {
    fn definition(&mut self, tree: &Tree) -> Option<RawDefinition> {
        let fields = self.fields(tree, &WORKFLOW)?;
        let workflow = match fields.get("workflow") {
            Some((_, tree)) => self.name(tree, "a workflow"),
            None => self.missing(
                &fields,
                "the file",
                "workflow",
                "begin with `workflow: NAME`",
            ),
        };
        let inputs = fields
            .get("input")
            .map_or_else(Vec::new, |(_, tree)| self.ports(tree, Side::Input));
        let nodes = match fields.get("nodes") {
            Some((key, tree)) => self.nodes(key.span, tree),
            None => self.missing(
                &fields,
                "the workflow",
                "nodes",
                "add `nodes:` with at least one node",
            ),
        };
        let outputs = fields
            .get("output")
            .map_or_else(Vec::new, |(_, tree)| self.sources(tree, Side::Output));
        Some(RawDefinition {
            workflow: workflow?,
            inputs,
            nodes: nodes?,
            outputs,
        })
    }

    fn nodes(&mut self, key: Span, tree: &Tree) -> Option<Vec<RawNode>> {
        let none = |problems: &mut Problems| {
            let help = "add a node: `NAME: { function: EXECUTABLE:FUNCTION }`".to_owned();
            problems.add(key, ProblemKind::NoNodes, Some(help));
        };
        if matches!(tree.value, Value::Null) {
            none(&mut self.problems);
            return None;
        }
        let entries = self.map(
            tree,
            "`nodes`",
            "list the nodes by name: `NAME: { function: EXECUTABLE:FUNCTION }`",
        )?;
        if entries.is_empty() {
            none(&mut self.problems);
        }
        // Every node is read, so that all their problems show at once.
        let nodes: Vec<Option<RawNode>> = entries
            .iter()
            .map(|(name, tree)| self.node(name, tree))
            .collect();
        nodes.into_iter().collect()
    }

    fn node(&mut self, name: &Spanned<String>, tree: &Tree) -> Option<RawNode> {
        self.check_name(name, "a node");
        if is_reserved(&name.value) {
            let kind = ProblemKind::Name {
                what: "a node",
                name: name.value.clone(),
            };
            let help = "`input` and `item` begin sources; name it otherwise".to_owned();
            self.problems.add(name.span, kind, Some(help));
        }
        let fields = self.fields(tree, &NODE)?;
        let function = match fields.get("function") {
            Some((_, tree)) => self.function(tree),
            None => {
                // A switch or the like has been refused already, and a slip of the pen too.
                let told = NODE.not_yet.iter().any(|key| fields.get(key).is_some());
                if !told && !fields.misspells("function") {
                    let what = format!("node `{}`", quoted(&name.value));
                    let kind = ProblemKind::MissingKey {
                        what,
                        key: "function",
                    };
                    self.problems.add(
                        name.span,
                        kind,
                        Some("add `function: EXECUTABLE:FUNCTION`".to_owned()),
                    );
                }
                None
            }
        };
        let foreach = fields.get("foreach").map(|(_, tree)| self.source(tree));
        let inputs = fields
            .get("input")
            .map_or_else(Vec::new, |(_, tree)| self.sources(tree, Side::Input));
        let outputs = fields
            .get("output")
            .map_or_else(Vec::new, |(_, tree)| self.ports(tree, Side::Output));
        let after = fields
            .get("after")
            .map_or_else(Vec::new, |(_, tree)| self.after(tree));
        let profile = fields
            .get("profile")
            .map_or_else(Profile::default, |(_, tree)| self.profile(tree));
        let resources = fields
            .get("resources")
            .map_or_else(Resources::default, |(_, tree)| self.resources(tree));
        let retry = fields
            .get("retry")
            .map_or_else(Retry::default, |(_, tree)| self.retry(tree));
        let timeout_ms = fields
            .get("timeout_ms")
            .and_then(|(_, tree)| self.whole(tree, "timeout_ms", 1, TIME_MS_MAX));
        Some(RawNode {
            name: name.clone(),
            function: function?,
            foreach: match foreach {
                Some(source) => Some(source?),
                None => None,
            },
            inputs,
            outputs,
            after,
            profile,
            resources,
            retry,
            timeout_ms: timeout_ms.map(|ms| ms as u32),
        })
    }

    fn profile(&mut self, tree: &Tree) -> Profile {
        let mut profile = Profile::default();
        let Some(fields) = self.fields(tree, &PROFILE) else {
            return profile;
        };
        if let Some(ms) = fields
            .get("runtime_ms")
            .and_then(|(_, tree)| self.milliseconds(tree, "runtime_ms"))
        {
            profile.runtime_ms = ms;
        }
        let bytes = fields.get("output_bytes");
        if let Some(bytes) =
            bytes.and_then(|(_, tree)| self.whole(tree, "output_bytes", 0, PROFILE_BYTES_MAX))
        {
            profile.output_bytes = bytes;
        }
        profile
    }

    fn resources(&mut self, tree: &Tree) -> Resources {
        let mut resources = Resources::default();
        let Some(fields) = self.fields(tree, &RESOURCES) else {
            return resources;
        };
        let memory = fields.get("memory_mib");
        if let Some(mib) =
            memory.and_then(|(_, tree)| self.whole(tree, "memory_mib", 1, MEMORY_MIB_MAX))
        {
            resources.memory_mib = mib as u32;
        }
        if let Some(scale) = fields
            .get("scale")
            .and_then(|(_, tree)| self.whole(tree, "scale", 1, SCALE_MAX))
        {
            resources.scale = scale as u16;
        }
        resources
    }

    fn retry(&mut self, tree: &Tree) -> Retry {
        let mut retry = Retry::default();
        let Some(fields) = self.fields(tree, &RETRY) else {
            return retry;
        };
        let attempts = fields.get("attempts");
        if let Some(attempts) =
            attempts.and_then(|(_, tree)| self.whole(tree, "attempts", 1, ATTEMPTS_MAX))
        {
            retry.attempts = attempts as u32;
        }
        let backoff = fields.get("backoff_ms");
        if let Some(ms) =
            backoff.and_then(|(_, tree)| self.whole(tree, "backoff_ms", 0, TIME_MS_MAX))
        {
            retry.backoff_ms = ms as u32;
        }
        retry
    }
}
