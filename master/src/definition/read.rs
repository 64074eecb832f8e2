//! From the tree to a definition whose names are not yet resolved: which keys there are, and what each must hold.

mod cluster;
mod delay;
mod failures;
mod maxima;
mod sources;
mod values;
mod work;

pub(super) use cluster::read_cluster;
pub(super) use sources::{OUTER, outer_items};
pub(super) use values::listed;

use super::keys::{
    NODE, PROFILE, PROFILE_BYTES_MAX, RESOURCES, RETRIERS_MAX, RETRY, STORE, WORKFLOW,
};
use super::names::is_reserved;
use super::problem::{ProblemKind, Problems, quoted};
use super::raw::{RawDefinition, RawDelay, RawNode, RawProfile, RawWork, Unread};
use super::tree::{self, Tree, Value};
use super::{DefinitionError, Resources, SourceText, Span, Spanned};
use engine::plan::{Join, Retry, StoreChoice, Trust};
use std::ops::RangeInclusive;
use std::rc::Rc;
use values::Fields;

/// Reads a file. What is wrong or suspicious in it comes with it.
///
/// # Errors
/// If nothing more can be told than what is wrong so far.
pub(super) fn read(source: &SourceText) -> Result<(RawDefinition, Problems), DefinitionError> {
    let mut problems = Problems::new(source);
    let tree = tree::parse(source, &mut problems)?;
    // Which of two of one name others mean, nobody knows.
    let doubled = problems.any();
    let mut reader = Reader {
        source: source.clone(),
        problems,
        foreign: Vec::new(),
    };
    let raw = reader.definition(&tree);
    reader.problems.forget_within(&reader.foreign);
    match raw {
        Some(raw) if !doubled => Ok((raw, reader.problems)),
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
    source: SourceText,
    problems: Problems,
    /// What stands under words of other systems: that it is of another form than here is no further problem.
    foreign: Vec<Span>,
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
        let (mut inputs_unread, mut constants_unread) = (Unread::default(), Unread::default());
        let inputs = fields.get("input").map_or_else(Vec::new, |(_, tree)| {
            self.workflow_inputs(tree, &mut inputs_unread)
        });
        let constants = fields.get("constants").map_or_else(Vec::new, |(_, tree)| {
            self.constants(tree, &mut constants_unread)
        });
        let mut nodes_unread = Unread::default();
        let nodes = match fields.get("nodes") {
            Some((key, tree)) => self.nodes(key.span, tree, &mut nodes_unread),
            None => self.missing(
                &fields,
                "the workflow",
                "nodes",
                "add `nodes:` with at least one node",
            ),
        };
        if nodes.is_none() {
            nodes_unread.add_any();
        }
        let (outputs, _) = fields
            .get("output")
            .map_or_else(Default::default, |(_, tree)| {
                self.bindings(tree, Side::Output)
            });
        let timeout_ms = self.time(&fields, "timeout_ms");
        Some(RawDefinition {
            workflow: workflow.unwrap_or_else(|| Spanned {
                value: String::new(),
                span: fields.span,
            }),
            inputs,
            inputs_unread,
            constants,
            constants_unread,
            nodes: nodes.unwrap_or_default(),
            nodes_unread,
            outputs,
            timeout_ms,
            store: fields
                .get("store")
                .map_or_else(StoreChoice::default, |(_, tree)| self.store(tree)),
        })
    }

    fn nodes(&mut self, key: Span, tree: &Tree, unread: &mut Unread) -> Option<Vec<RawNode>> {
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
        let nodes = entries.iter();
        let nodes = nodes.map(|(name, tree)| self.node(name, tree, unread));
        Some(nodes.collect())
    }

    fn node(&mut self, name: &Spanned<String>, tree: &Tree, unread: &mut Unread) -> RawNode {
        // What cannot be its name is not what others call it.
        if !self.check_name(name, "a node") {
            unread.add_any();
        } else if is_reserved(&name.value) {
            unread.add_any();
            let kind = ProblemKind::Name {
                what: "a node",
                name: name.value.clone(),
            };
            let help = "`input`, `item`, `outer` and `constant` begin sources; name it otherwise"
                .to_owned();
            self.problems.add(name.span, kind, Some(help));
        }
        let mut outputs_unread = Unread::default();
        let Some(mut fields) = self.fields(tree, &NODE) else {
            outputs_unread.add_any();
            return RawNode::unread(name.clone(), outputs_unread);
        };
        let work = self.work(name, &mut fields, &mut outputs_unread);
        let foreach = fields.get("foreach").map(|(_, tree)| self.foreach(tree));
        let (inputs, inputs_unread) = fields
            .get("input")
            .map_or_else(Default::default, |(_, tree)| {
                self.bindings(tree, Side::Input)
            });
        let outputs = fields
            .get("output")
            .map_or_else(Vec::new, |(_, tree)| self.ports(tree, &mut outputs_unread));
        let after = fields
            .get("after")
            .map_or_else(Vec::new, |(_, tree)| self.node_names(tree, "after"));
        let apart = fields
            .get("apart")
            .map_or_else(Vec::new, |(_, tree)| self.node_names(tree, "apart"));
        let join = fields.get("join").map_or(
            Spanned {
                value: Join::All,
                span: name.span,
            },
            |(_, tree)| self.join(tree),
        );
        let catches = fields
            .get("catch")
            .map_or_else(Vec::new, |(_, tree)| self.catches(tree));
        if catches.is_empty() && fields.get("catch").is_some() {
            outputs_unread.add("error");
        }
        let resources = fields
            .get("resources")
            .map_or_else(Resources::default, |(_, tree)| self.resources(tree));
        let trust = self.trust(&fields);
        let retriers = fields
            .get("retry")
            .map_or_else(Vec::new, |(_, tree)| self.retriers(tree));
        let timeout_ms = self.time(&fields, "timeout_ms");
        let delay = self.delay(&fields);
        let profile = match fields.get("profile") {
            Some((_, tree)) => self.profile(tree),
            // What the worker does itself takes next to no time.
            None if !matches!(work, RawWork::Function(_) | RawWork::Command(_)) => {
                RawProfile::of_the_worker()
            }
            None => RawProfile::default(),
        };
        RawNode {
            name: name.clone(),
            work,
            foreach,
            inputs,
            inputs_unread,
            outputs,
            outputs_unread,
            after,
            apart,
            join,
            retriers,
            catches,
            timeout_ms,
            delay: delay.unwrap_or(RawDelay::Fixed(0)),
            resources,
            trust,
            profile,
        }
    }

    /// A time that is a whole number, with its place.
    fn time(&mut self, fields: &Fields<'_>, key: &'static str) -> Option<Spanned<u32>> {
        let span = fields.get(key)?.1.span;
        let value = self.whole(fields, key)? as u32;
        Some(Spanned { value, span })
    }

    fn profile(&mut self, tree: &Tree) -> RawProfile {
        let mut raw = RawProfile::default();
        let Some(fields) = self.fields(tree, &PROFILE) else {
            return raw;
        };
        let profile = &mut raw.known;
        if let Some(ms) = self.number(&fields, "runtime_ms") {
            profile.runtime_ms = ms;
        }
        if let Some((_, tree)) = fields.get("output_bytes") {
            let limits = 0..=PROFILE_BYTES_MAX;
            if matches!(tree.value, Value::Map(_)) {
                raw.by_output = self.bytes_by_output(tree, limits);
                let bytes = raw.by_output.iter().map(|(_, bytes)| *bytes);
                let bytes = bytes.fold(0, u64::saturating_add);
                profile.output_bytes = bytes.min(PROFILE_BYTES_MAX);
            } else if let Some(bytes) = self.whole_at(tree, "output_bytes", limits) {
                profile.output_bytes = bytes;
            }
        }
        if let Some(items) = self.whole(&fields, "items") {
            profile.items = items;
        }
        profile.runs = self.number(&fields, "runs");
        if let Some(busy) = self.number(&fields, "busy") {
            profile.busy = busy;
        }
        if let Some(mib) = self.whole(&fields, "peak_mib") {
            profile.peak_mib = mib as u32;
        }
        profile.placeholder = self.flag(&fields, "placeholder").unwrap_or(false);
        raw
    }

    /// Bytes of each output, by its name.
    fn bytes_by_output(
        &mut self,
        tree: &Tree,
        limits: RangeInclusive<u64>,
    ) -> Vec<(Spanned<String>, u64)> {
        let help = "write `output_bytes: { NAME: BYTES }`, or one number for all outputs together";
        let entries = self.map(tree, "output_bytes", help).unwrap_or_default();
        let known = entries.iter().filter_map(|(name, tree)| {
            let bytes = self.whole_at(tree, "output_bytes", limits.clone())?;
            Some((name.clone(), bytes))
        });
        known.collect()
    }

    fn store(&mut self, tree: &Tree) -> StoreChoice {
        let mut store = StoreChoice::default();
        let Some(fields) = self.fields(tree, &STORE) else {
            return store;
        };
        if let Some(mib) = self.whole(&fields, "quota_mib") {
            store.quota_bytes = Some(mib << 20);
        }
        if let Some(spill) = self.flag(&fields, "spill") {
            store.spill = spill;
        }
        if let Some(remote) = self.flag(&fields, "remote") {
            store.remote = remote;
        }
        store
    }

    fn resources(&mut self, tree: &Tree) -> Resources {
        let mut resources = Resources::default();
        let Some(fields) = self.fields(tree, &RESOURCES) else {
            return resources;
        };
        if let Some(mib) = self.whole(&fields, "memory_mib") {
            resources.memory_mib = mib as u32;
        }
        if let Some(scale) = self.whole(&fields, "scale") {
            resources.scale = scale as u16;
        }
        if let Some(cpus) = self.whole(&fields, "cpus") {
            resources.cpus = cpus as u16;
        }
        resources
    }

    /// Whose its executable is.
    fn trust(&mut self, fields: &Fields<'_>) -> Trust {
        let Some((_, tree)) = fields.get("trust") else {
            return Trust::default();
        };
        match &tree.value {
            Value::Scalar { text, .. } if &**text == "own" => Trust::Own,
            Value::Scalar { text, .. } if &**text == "other" => Trust::Other,
            _ => {
                let help = "write `trust: other` if somebody else has made the executable; without it, it is your own";
                self.shape(tree, "`trust`", "`own` or `other`", help);
                Trust::default()
            }
        }
    }

    /// One retrier, or a list of them.
    fn retriers(&mut self, tree: &Tree) -> Vec<Spanned<Retry>> {
        let parts: Vec<&Tree> = match &tree.value {
            Value::List(items) => items.iter().map(Rc::as_ref).collect(),
            _ => vec![tree],
        };
        if parts.is_empty() {
            let help =
                "write `retry: { attempts: 3 }`, or leave it away: then nothing is tried again";
            self.shape(
                tree,
                "`retry`",
                "a mapping, or a list of one at least",
                help,
            );
        }
        if parts.len() as u64 > RETRIERS_MAX {
            let kind = ProblemKind::Count {
                what: "the retriers of a node".to_owned(),
                count: parts.len(),
                limit: RETRIERS_MAX as usize,
            };
            let help = "let one take several failures, as in `on: [timeout, crash, Busy]`";
            self.problems.add(tree.span, kind, Some(help.to_owned()));
            return Vec::new();
        }
        let retriers = parts.into_iter().map(|tree| Spanned {
            value: self.retry(tree),
            span: tree.span,
        });
        retriers.collect()
    }

    fn retry(&mut self, tree: &Tree) -> Retry {
        let mut retry = Retry::default();
        let Some(fields) = self.fields(tree, &RETRY) else {
            return retry;
        };
        if let Some(attempts) = self.whole(&fields, "attempts") {
            retry.attempts = attempts as u32;
        }
        if let Some(ms) = self.whole(&fields, "backoff_ms") {
            retry.backoff_ms = ms as u32;
        }
        if let Some(factor) = self.number(&fields, "factor") {
            retry.factor_percent = (factor * 100.0).round() as u32;
        }
        if let Some(ms) = self.whole(&fields, "backoff_max_ms") {
            retry.backoff_max_ms = ms as u32;
        }
        if let Some(share) = self.number(&fields, "jitter") {
            retry.jitter_percent = (share * 100.0).round() as u8;
        }
        if let Some((_, tree)) = fields.get("on") {
            retry.on = self.failures(tree);
        }
        retry
    }

    /// What a message calls a node.
    fn called(name: &Spanned<String>) -> String {
        format!("node `{}`", quoted(&name.value))
    }
}
