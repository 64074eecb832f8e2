//! From the tree to a definition whose names are not yet resolved: shapes, keys, syntax and ranges are checked here.

use super::names::{
    EXECUTABLE_SYNTAX, NAME_SYNTAX, is_executable, is_identifier, is_name, nearest,
};
use super::problem::{ProblemKind, Problems, quoted};
use super::tree::{self, Tree, Value};
use super::{DefinitionError, FunctionName, Port, Profile, Resources, SourceText, Span, Spanned};
use engine::plan::Retry;
use faasstore::binding::Kind;
use std::rc::Rc;

/// Longest that a time in a definition may be: one day, in milliseconds.
const TIME_MS_MAX: u64 = 24 * 60 * 60 * 1000;
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

/// The keys that a mapping may have.
struct Shape {
    what: &'static str,
    keys: &'static [&'static str],
    /// Keys of the language that this version does not run.
    not_yet: &'static [&'static str],
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

struct Reader {
    problems: Problems,
}

impl Reader {
    fn shape(&mut self, tree: &Tree, what: impl Into<String>, expected: &'static str, help: &str) {
        let kind = ProblemKind::Shape {
            what: what.into(),
            expected,
            found: tree.describe(),
        };
        self.problems.add(tree.span, kind, Some(help.to_owned()));
    }

    /// The entries of a mapping.
    fn map<'t>(&mut self, tree: &'t Tree, what: &str, help: &str) -> Option<&'t [Entry]> {
        match &tree.value {
            Value::Map(entries) => Some(entries),
            _ => {
                self.shape(tree, what, "a mapping", help);
                None
            }
        }
    }

    /// The entries of a mapping whose keys are known.
    fn fields<'t>(&mut self, tree: &'t Tree, shape: &Shape) -> Option<Fields<'t>> {
        let help = format!("its keys are {}", listed(shape.keys));
        let entries = self.map(tree, shape.what, &help)?;
        for (key, _) in entries {
            let name = key.value.as_str();
            if shape.not_yet.contains(&name) {
                let help = format!(
                    "this version runs {} with {}",
                    shape.what,
                    listed(shape.keys)
                );
                self.problems.add(
                    key.span,
                    ProblemKind::NotYet(format!("`{name}`")),
                    Some(help),
                );
            } else if !shape.keys.contains(&name) {
                let help = match nearest(name, shape.keys.iter().copied()) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => help.clone(),
                };
                let kind = ProblemKind::UnknownKey {
                    what: shape.what.to_owned(),
                    key: quoted(name),
                };
                self.problems.add(key.span, kind, Some(help));
            }
        }
        Some(Fields {
            entries,
            span: tree.span,
        })
    }

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
            .map_or_else(Vec::new, |(_, tree)| self.ports(tree, "an input"));
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
            .map_or_else(Vec::new, |(_, tree)| self.sources(tree, "an output"));
        Some(RawDefinition {
            workflow: workflow?,
            inputs,
            nodes: nodes?,
            outputs,
        })
    }

    fn missing<T>(
        &mut self,
        fields: &Fields<'_>,
        what: &str,
        key: &'static str,
        help: &str,
    ) -> Option<T> {
        let kind = ProblemKind::MissingKey {
            what: what.to_owned(),
            key,
        };
        self.problems.add(fields.span, kind, Some(help.to_owned()));
        None
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
        let fields = self.fields(tree, &NODE)?;
        let function = match fields.get("function") {
            Some((_, tree)) => self.function(tree),
            None => {
                if !NODE.not_yet.iter().any(|key| fields.get(key).is_some()) {
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
            .map_or_else(Vec::new, |(_, tree)| self.sources(tree, "an input"));
        let outputs = fields
            .get("output")
            .map_or_else(Vec::new, |(_, tree)| self.ports(tree, "an output"));
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

    /// A whole number within a range. Every range ends below 2^53.
    fn whole(&mut self, tree: &Tree, key: &'static str, least: u64, most: u64) -> Option<u64> {
        if let Value::Scalar { text, plain: true } = &tree.value {
            let digits = text.replace('_', "");
            let number = digits
                .chars()
                .all(|char| char.is_ascii_digit())
                .then(|| digits.parse::<u64>());
            if let Some(Ok(number)) =
                number.filter(|_| text.starts_with(|first: char| first.is_ascii_digit()))
                && (least..=most).contains(&number)
            {
                return Some(number);
            }
        }
        self.number(tree, key, format!("a whole number from {least} to {most}"));
        None
    }

    /// A time that may have a fraction.
    fn milliseconds(&mut self, tree: &Tree, key: &'static str) -> Option<f64> {
        if let Value::Scalar { text, plain: true } = &tree.value
            && text.starts_with(|first: char| first.is_ascii_digit())
            && let Ok(number) = text.parse::<f64>()
            && (0.0..=TIME_MS_MAX as f64).contains(&number)
        {
            return Some(number);
        }
        self.number(
            tree,
            key,
            format!("a number of milliseconds from 0 to {TIME_MS_MAX}"),
        );
        None
    }

    fn number(&mut self, tree: &Tree, key: &'static str, expected: String) {
        let help = match &tree.value {
            Value::Scalar { plain: false, .. } => "numbers stand without quotes".to_owned(),
            _ => format!("write `{key}: ` and {expected}"),
        };
        let kind = ProblemKind::Number {
            key,
            expected,
            found: tree.describe(),
        };
        self.problems.add(tree.span, kind, Some(help));
    }

    /// A scalar's text.
    fn text<'t>(&mut self, tree: &'t Tree, what: &str, help: &str) -> Option<&'t str> {
        match &tree.value {
            Value::Scalar { text, .. } => Some(text),
            _ => {
                self.shape(tree, what, "a name", help);
                None
            }
        }
    }

    fn name(&mut self, tree: &Tree, what: &'static str) -> Option<Spanned<String>> {
        let text = self.text(
            tree,
            &format!("the name of {what}"),
            &format!("a name is {NAME_SYNTAX}"),
        )?;
        let name = Spanned {
            value: text.to_owned(),
            span: tree.span,
        };
        self.check_name(&name, what);
        Some(name)
    }

    fn check_name(&mut self, name: &Spanned<String>, what: &'static str) {
        if !is_name(&name.value) {
            let kind = ProblemKind::Name {
                what,
                name: quoted(&name.value),
            };
            self.problems
                .add(name.span, kind, Some(format!("a name is {NAME_SYNTAX}")));
        }
    }

    fn function(&mut self, tree: &Tree) -> Option<Spanned<FunctionName>> {
        const HELP: &str = "write `EXECUTABLE:FUNCTION`, as in `wordcount:split`";
        let text = self.text(tree, "`function`", HELP)?;
        match text.split_once(':') {
            Some((executable, function))
                if is_executable(executable) && is_identifier(function) =>
            {
                let value = FunctionName {
                    executable: executable.to_owned(),
                    function: function.to_owned(),
                };
                Some(Spanned {
                    value,
                    span: tree.span,
                })
            }
            _ => {
                let help = format!("{HELP}; an executable's name is {EXECUTABLE_SYNTAX}");
                self.problems.add(
                    tree.span,
                    ProblemKind::Function {
                        found: quoted(text),
                    },
                    Some(help),
                );
                None
            }
        }
    }

    /// Names with kinds.
    fn ports(&mut self, tree: &Tree, what: &'static str) -> Vec<Port> {
        if matches!(tree.value, Value::Null) {
            return Vec::new();
        }
        let Some(entries) = self.map(
            tree,
            &format!("{what} list"),
            "write `{ NAME: KIND }`, a kind being bytes, list or value",
        ) else {
            return Vec::new();
        };
        let ports = entries.iter().filter_map(|(name, tree)| {
            self.check_name(name, what);
            Some(Port {
                name: name.clone(),
                kind: self.kind(tree)?,
            })
        });
        ports.collect()
    }

    fn kind(&mut self, tree: &Tree) -> Option<Kind> {
        const HELP: &str = "a kind is `bytes`, `list` or `value`";
        let Value::Scalar { text, .. } = &tree.value else {
            self.shape(tree, "a kind", "`bytes`, `list` or `value`", HELP);
            return None;
        };
        match text.as_str() {
            "bytes" => Some(Kind::Bytes),
            "list" => Some(Kind::List),
            "value" => Some(Kind::Value),
            other => {
                let help = match nearest(other, ["bytes", "list", "value"]) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => HELP.to_owned(),
                };
                self.problems.add(
                    tree.span,
                    ProblemKind::Kind {
                        found: quoted(other),
                    },
                    Some(help),
                );
                None
            }
        }
    }

    /// Names with sources.
    fn sources(
        &mut self,
        tree: &Tree,
        what: &'static str,
    ) -> Vec<(Spanned<String>, Spanned<RawSource>)> {
        if matches!(tree.value, Value::Null) {
            return Vec::new();
        }
        let Some(entries) = self.map(
            tree,
            &format!("{what} list"),
            "write `{ NAME: SOURCE }`, as in `{ text: input.text }`",
        ) else {
            return Vec::new();
        };
        let sources = entries.iter().filter_map(|(name, tree)| {
            self.check_name(name, what);
            Some((name.clone(), self.source(tree)?))
        });
        sources.collect()
    }

    fn source(&mut self, tree: &Tree) -> Option<Spanned<RawSource>> {
        const HELP: &str = "a source is `input.NAME`, `NODE.OUTPUT` or, in a foreach node, `item`";
        let not_yet = match &tree.value {
            Value::Scalar { text, .. } => ["first_of", "optional"]
                .into_iter()
                .find(|word| text.starts_with(&format!("{word}("))),
            Value::Map(entries) => {
                let words = ["first_of", "optional", "constant", "value"];
                words
                    .into_iter()
                    .find(|word| entries.iter().any(|(key, _)| key.value == *word))
            }
            Value::Null | Value::List(_) => None,
        };
        if let Some(word) = not_yet {
            self.problems.add(
                tree.span,
                ProblemKind::NotYet(format!("`{word}`")),
                Some(HELP.to_owned()),
            );
            return None;
        }
        let Value::Scalar { text, .. } = &tree.value else {
            self.shape(
                tree,
                "a source",
                "`input.NAME`, `NODE.OUTPUT` or `item`",
                HELP,
            );
            return None;
        };
        let value = match text.split_once('.') {
            None if text == "item" => RawSource::Item,
            Some(("input", name)) if is_identifier(name) => RawSource::Input(name.to_owned()),
            Some((node, output)) if is_name(node) && is_identifier(output) => RawSource::Output {
                node: node.to_owned(),
                output: output.to_owned(),
            },
            _ => {
                self.problems.add(
                    tree.span,
                    ProblemKind::Source {
                        found: quoted(text),
                    },
                    Some(HELP.to_owned()),
                );
                return None;
            }
        };
        Some(Spanned {
            value,
            span: tree.span,
        })
    }

    /// One node's name, or a list of them.
    fn after(&mut self, tree: &Tree) -> Vec<Spanned<String>> {
        const HELP: &str = "write `after: NODE` or `after: [NODE, NODE]`";
        let trees: Vec<&Tree> = match &tree.value {
            Value::List(items) => items.iter().map(Rc::as_ref).collect(),
            _ => vec![tree],
        };
        let names = trees.into_iter().filter_map(|tree| {
            let text = self.text(tree, "`after`", HELP)?;
            Some(Spanned {
                value: text.to_owned(),
                span: tree.span,
            })
        });
        names.collect()
    }
}

struct Fields<'t> {
    entries: &'t [Entry],
    span: Span,
}

impl Fields<'_> {
    fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|(name, _)| name.value == key)
    }
}

/// `a`, `b` and `c`.
pub(super) fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let mut text = String::new();
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            text.push_str(if index + 1 == names.len() {
                " and "
            } else {
                ", "
            });
        }
        text.push('`');
        text.push_str(name.as_ref());
        text.push('`');
    }
    text
}
