//! From names to places: every source must exist, be of the kind that its use wants, and wait for nothing that waits
//! for it.

use super::names::nearest;
use super::problem::{ProblemKind, Problems, quoted};
use super::read::{RawDefinition, RawNode, RawSource, listed};
use super::{
    Definition, DefinitionError, From, Node, NodeInput, Port, SourceText, Span, Spanned, Work,
    WorkflowInput, WorkflowOutput, cycle,
};
use engine::plan::Join;
use faasstore::binding::Kind;
use rustc_hash::{FxHashMap, FxHashSet};

/// Inputs or outputs of one node or of the workflow, and executables: what a plan can number.
const PLACES_MAX: usize = u16::MAX as usize;
/// Known names that a message lists; with more, none is listed.
const LISTED_MAX: usize = 8;

/// Resolves a file of the right shape.
pub(super) fn check(source: SourceText, raw: RawDefinition) -> Result<Definition, DefinitionError> {
    let mut checker = Checker::new(Problems::new(&source), &raw);
    checker.counts();
    let nodes: Vec<Option<Node>> = raw.nodes.iter().map(|node| checker.node(node)).collect();
    let outputs: Vec<Option<WorkflowOutput>> = raw
        .outputs
        .iter()
        .map(|(name, source)| checker.workflow_output(name, source))
        .collect();
    if checker.problems.any() {
        return Err(checker.problems.into_error());
    }
    let mut problems = checker.problems;
    let definition = Definition {
        source,
        workflow: raw.workflow,
        inputs: raw
            .inputs
            .into_iter()
            .map(|input| WorkflowInput {
                name: input.name,
                kind: input.kind,
                default: None,
                optional: false,
            })
            .collect(),
        constants: Vec::new(),
        timeout_ms: None,
        nodes: nodes.into_iter().flatten().collect(),
        outputs: outputs.into_iter().flatten().collect(),
    };
    let predecessors = definition.predecessors();
    if let Some(path) = cycle::find(definition.nodes.len(), |node| predecessors[node].clone()) {
        let span = definition.nodes[path[0]].name.span;
        let path = path
            .iter()
            .map(|node| definition.nodes[*node].name.value.clone())
            .collect();
        let help = "take one of these sources, or one `after`, away: data flows in one direction"
            .to_owned();
        problems.add(span, ProblemKind::Cycle { path }, Some(help));
        return Err(problems.into_error());
    }
    Ok(definition)
}

struct Checker<'r> {
    problems: Problems,
    raw: &'r RawDefinition,
    nodes: FxHashMap<&'r str, usize>,
    inputs: FxHashMap<&'r str, usize>,
}

impl<'r> Checker<'r> {
    fn new(problems: Problems, raw: &'r RawDefinition) -> Self {
        let nodes = raw
            .nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (node.name.value.as_str(), index));
        let inputs = raw
            .inputs
            .iter()
            .enumerate()
            .map(|(index, input)| (input.name.value.as_str(), index));
        Self {
            problems,
            raw,
            nodes: nodes.collect(),
            inputs: inputs.collect(),
        }
    }

    fn counts(&mut self) {
        let raw = self.raw;
        let mut limit = |what: String, count: usize, span: Span| {
            if count > PLACES_MAX {
                let help = Some("part the workflow in two".to_owned());
                let limit = PLACES_MAX;
                self.problems
                    .add(span, ProblemKind::Count { what, count, limit }, help);
            }
        };
        let workflow = raw.workflow.span;
        limit(
            "the workflow's inputs".to_owned(),
            raw.inputs.len(),
            workflow,
        );
        limit(
            "the workflow's outputs".to_owned(),
            raw.outputs.len(),
            workflow,
        );
        let executables = raw
            .nodes
            .iter()
            .map(|node| node.function.value.executable.as_str());
        let executables: FxHashSet<&str> = executables.collect();
        limit(
            "the workflow's executables".to_owned(),
            executables.len(),
            workflow,
        );
        for node in &raw.nodes {
            let (name, span) = (&node.name.value, node.name.span);
            limit(format!("the inputs of `{name}`"), node.inputs.len(), span);
            limit(format!("the outputs of `{name}`"), node.outputs.len(), span);
        }
    }

    fn node(&mut self, raw: &RawNode) -> Option<Node> {
        let before = raw.foreach.as_ref().map(|source| self.foreach(source));
        let foreach = match before {
            Some(foreach) => Some(foreach?),
            None => None,
        };
        let item = foreach.as_ref().map(|from| self.item_kind(from.value));
        let inputs: Vec<Option<NodeInput>> = raw
            .inputs
            .iter()
            .map(|(name, source)| {
                let (from, kind) = self.resolve(source, item, "outside a foreach node")?;
                Some(NodeInput {
                    name: name.clone(),
                    kind,
                    from: vec![from],
                    optional: false,
                })
            })
            .collect();
        if foreach.is_some() {
            self.no_lists_of_lists(raw);
        }
        let after: Vec<Option<Spanned<usize>>> = raw
            .after
            .iter()
            .map(|name| {
                Some(Spanned {
                    value: self.node_named(&name.value, name.span, None)?,
                    span: name.span,
                })
            })
            .collect();
        Some(Node {
            name: raw.name.clone(),
            work: Work::Function {
                function: raw.function.clone(),
                arguments: Vec::new(),
            },
            foreach,
            batch: None,
            parallelism: None,
            inputs: inputs.into_iter().collect::<Option<_>>()?,
            outputs: raw.outputs.clone(),
            after: after.into_iter().collect::<Option<_>>()?,
            profile: raw.profile,
            resources: raw.resources,
            join: Join::All,
            retry: raw.retry.clone(),
            catches: Vec::new(),
            error_output: None,
            timeout_ms: raw.timeout_ms,
            delay_ms: 0,
        })
    }

    fn workflow_output(
        &mut self,
        name: &Spanned<String>,
        source: &Spanned<RawSource>,
    ) -> Option<WorkflowOutput> {
        let (from, kind) = self.resolve(source, None, "among the workflow's outputs")?;
        Some(WorkflowOutput {
            name: name.clone(),
            kind,
            from: vec![from],
            optional: false,
        })
    }

    fn foreach(&mut self, source: &Spanned<RawSource>) -> Option<Spanned<From>> {
        let (from, kind) = self.resolve(source, None, "as the list of a foreach")?;
        if kind == Kind::List {
            return Some(from);
        }
        let (source_name, help) = match &source.value {
            RawSource::Input(name) => (
                format!("input.{name}"),
                format!("declare it as `{name}: list`"),
            ),
            RawSource::Output { node, output } => (
                format!("{node}.{output}"),
                format!("declare it in `{node}` as `{output}: list`"),
            ),
            RawSource::Item => ("item".to_owned(), "name a list".to_owned()),
        };
        let kind = ProblemKind::ForeachOver {
            source_name,
            kind: described(kind),
        };
        self.problems.add(source.span, kind, Some(help));
        None
    }

    /// Items are bytes, but those of a list that was gathered from values.
    fn item_kind(&self, list: From) -> Kind {
        match list {
            From::Output { node, output } => {
                let producer = &self.raw.nodes[node];
                let declared = producer.outputs[usize::from(output)].kind;
                if producer.foreach.is_some() && declared == Kind::Value {
                    Kind::Value
                } else {
                    Kind::Bytes
                }
            }
            From::Input(_) | From::Item | From::Constant(_) => Kind::Bytes,
        }
    }

    fn no_lists_of_lists(&mut self, raw: &RawNode) {
        for output in raw
            .outputs
            .iter()
            .filter(|output| output.kind == Kind::List)
        {
            let kind = ProblemKind::ListOfLists {
                node: raw.name.value.clone(),
                output: output.name.value.clone(),
            };
            let help = "consumers see its outputs gathered into a list, and a list of lists is not supported yet: \
                        declare it as `bytes`";
            self.problems
                .add(output.name.span, kind, Some(help.to_owned()));
        }
    }

    /// Where a source leads and what is seen there. `item` is the kind of the foreach's item, if there is one.
    fn resolve(
        &mut self,
        source: &Spanned<RawSource>,
        item: Option<Kind>,
        place: &'static str,
    ) -> Option<(Spanned<From>, Kind)> {
        let (value, kind) = match &source.value {
            RawSource::Item => match item {
                Some(kind) => (From::Item, kind),
                None => {
                    let help = "`item` is an item of the list that the node's own `foreach` names"
                        .to_owned();
                    self.problems
                        .add(source.span, ProblemKind::ItemOutside(place), Some(help));
                    return None;
                }
            },
            RawSource::Input(name) => {
                let index = self.input_named(name, source.span)?;
                (From::Input(index as u16), self.raw.inputs[index].kind)
            }
            RawSource::Output { node, output } => {
                let index = self.node_named(node, source.span, Some(output))?;
                let output = self.output_named(index, output, source.span)?;
                let producer = &self.raw.nodes[index];
                let kind = if producer.foreach.is_some() {
                    Kind::List
                } else {
                    producer.outputs[output].kind
                };
                (
                    From::Output {
                        node: index,
                        output: output as u16,
                    },
                    kind,
                )
            }
        };
        Some((
            Spanned {
                value,
                span: source.span,
            },
            kind,
        ))
    }

    fn input_named(&mut self, name: &str, span: Span) -> Option<usize> {
        if let Some(index) = self.inputs.get(name) {
            return Some(*index);
        }
        let names: Vec<&str> = self
            .raw
            .inputs
            .iter()
            .map(|input| input.name.value.as_str())
            .collect();
        let help = match nearest(name, names.iter().copied()) {
            Some(known) => format!("did you mean `input.{known}`?"),
            None if names.is_empty() => format!("declare it: `input: {{ {name}: bytes }}`"),
            None => known_names("its inputs are", &names)
                .unwrap_or_else(|| "declare it under `input`".to_owned()),
        };
        self.problems.add(
            span,
            ProblemKind::UnknownInput { name: quoted(name) },
            Some(help),
        );
        None
    }

    /// The node of a name; `output` is what was wanted of it, for the suggestion.
    fn node_named(&mut self, name: &str, span: Span, output: Option<&str>) -> Option<usize> {
        if let Some(index) = self.nodes.get(name) {
            return Some(*index);
        }
        let names: Vec<&str> = self
            .raw
            .nodes
            .iter()
            .map(|node| node.name.value.as_str())
            .collect();
        let suggestion = nearest(name, names.iter().copied().chain(output.map(|_| "input")));
        let help = match (suggestion, output) {
            (Some(known), Some(output)) => Some(format!("did you mean `{known}.{output}`?")),
            (Some(known), None) => Some(format!("did you mean `{known}`?")),
            (None, _) => known_names("the nodes are", &names),
        };
        self.problems
            .add(span, ProblemKind::UnknownNode { name: quoted(name) }, help);
        None
    }

    fn output_named(&mut self, node: usize, name: &str, span: Span) -> Option<usize> {
        let producer = &self.raw.nodes[node];
        let names: Vec<&str> = producer
            .outputs
            .iter()
            .map(|output: &Port| output.name.value.as_str())
            .collect();
        if let Some(index) = names.iter().position(|known| *known == name) {
            return Some(index);
        }
        let node = &producer.name.value;
        let help = match nearest(name, names.iter().copied()) {
            Some(known) => Some(format!("did you mean `{node}.{known}`?")),
            None if names.is_empty() => Some(format!(
                "declare it in `{node}`: `output: {{ {name}: bytes }}`"
            )),
            None => known_names("its outputs are", &names),
        };
        let kind = ProblemKind::UnknownOutput {
            node: node.clone(),
            output: quoted(name),
        };
        self.problems.add(span, kind, help);
        None
    }
}

fn known_names(what: &str, names: &[&str]) -> Option<String> {
    (1..=LISTED_MAX)
        .contains(&names.len())
        .then(|| format!("{what} {}", listed(names)))
}

const fn described(kind: Kind) -> &'static str {
    match kind {
        Kind::Bytes => "bytes",
        Kind::List => "a list",
        Kind::Value => "a value",
    }
}
