//! The flat definition as it stands in the file: which keys there are, and what each must hold.

use super::condition::{self, Condition};
use crate::definition::keys::{PROFILE_BYTES_MAX, SCALE_MAX, TIME_MS_MAX};
use crate::definition::problem::quoted;
use crate::definition::{ProblemKind, Span, Spanned};
use crate::import::problem::ImportProblem;
use crate::import::read::Reader;
use crate::import::tree::{Tree, Value};

/// Longest run time, in seconds: a day, the language's limit.
const RUNTIME_S_MAX: f64 = TIME_MS_MAX as f64 / 1000.0;
/// Widest foreach.
const WIDTH_MAX: f64 = 1e6;
/// Most functions: their order is kept as a table of pairs.
const FUNCTIONS_MAX: usize = 20_000;
/// The function that stands for the request.
pub(super) const REQUEST: &str = "INPUT";

/// The file.
pub(super) struct Flat {
    pub(super) inputs: Vec<Port>,
    pub(super) functions: Vec<Function>,
    pub(super) outputs: Vec<Port>,
}

/// What `type` says of a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PortType {
    /// One payload: `pass`, `normal`.
    Payload,
    /// A list of keys: `key`, `keys`.
    Keys,
}

/// `{function, parameter}`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Reference {
    pub(super) function: String,
    pub(super) parameter: String,
}

pub(super) struct Port {
    pub(super) name: Spanned<String>,
    pub(super) of: PortType,
    /// Where it comes from; of an input or workflow output.
    pub(super) value: Option<Spanned<Reference>>,
    pub(super) size: Option<u64>,
}

/// What a function's `source` makes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Code,
    /// `VIRTUAL`: it runs no code.
    Virtual,
    /// `END`: it is nothing.
    End,
}

pub(super) struct Function {
    pub(super) name: Spanned<String>,
    pub(super) source: String,
    pub(super) role: Role,
    pub(super) runtime_s: Option<f64>,
    pub(super) scale: Option<u16>,
    pub(super) mem_usage: Option<f64>,
    pub(super) split_ratio: Option<f64>,
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    pub(super) next: Option<Next>,
}

/// What follows a function.
pub(super) struct Next {
    pub(super) how: How,
    pub(super) nodes: Vec<Spanned<String>>,
}

pub(super) enum How {
    /// `pass`, `parallel`: all.
    All,
    /// `foreach`: all, once for each key.
    Foreach,
    /// `switch`: the node of the first condition that holds; `None` is `default`.
    Switch(Vec<Spanned<Option<Condition>>>),
}

/// Reads the file.
pub(super) fn flat(reader: &mut Reader, tree: &Tree) -> Option<Flat> {
    let what = "a flat workflow";
    let keys = ["global_input", "functions", "global_output"];
    let fields = reader.fields(tree, what, &keys)?;
    let functions = reader.needed(&fields, what, "functions")?;
    let items = reader.list(functions, "`functions`")?;
    if items.is_empty() {
        let help = "list at least one function with a `name` and a `source`";
        reader.add(functions.span, ProblemKind::NoNodes, help);
    }
    if items.len() > FUNCTIONS_MAX {
        let kind = ProblemKind::Count {
            what: "functions".to_owned(),
            count: items.len(),
            limit: FUNCTIONS_MAX,
        };
        reader.add(functions.span, kind, "part the workflow");
        return None;
    }
    let ports = |reader: &mut Reader, key| match fields.get(key) {
        Some(tree) => ports(reader, tree, key),
        None => Vec::new(),
    };
    let inputs = ports(reader, "global_input");
    let outputs = ports(reader, "global_output");
    // Every function is read, so that all their problems show at once.
    let functions: Vec<_> = items.iter().map(|item| function(reader, item)).collect();
    Some(Flat {
        inputs,
        functions: functions.into_iter().collect::<Option<_>>()?,
        outputs,
    })
}

/// A text that may look like a number.
fn word(reader: &mut Reader, tree: &Tree, what: &str) -> Option<Spanned<String>> {
    let value = match &tree.value {
        Value::Number(number) => number.to_string(),
        Value::Bool(bool) => bool.to_string(),
        _ => reader.text(tree, what)?.to_owned(),
    };
    let span = tree.span;
    Some(Spanned { value, span })
}

fn function(reader: &mut Reader, tree: &Tree) -> Option<Function> {
    let what = "a function";
    let keys = [
        "name",
        "source",
        "runtime",
        "scale",
        "mem_usage",
        "split_ratio",
        "input",
        "output",
        "next",
    ];
    let fields = reader.fields(tree, what, &keys)?;
    let name = reader.needed(&fields, what, "name");
    let name = name.and_then(|tree| word(reader, tree, "`name`"));
    let source = reader.needed(&fields, what, "source");
    let source = source.and_then(|tree| word(reader, tree, "`source`"));
    let number = |reader: &mut Reader, key, most| {
        fields
            .get(key)
            .and_then(|tree| reader.number(tree, key, most))
    };
    let runtime_s = number(reader, "runtime", RUNTIME_S_MAX);
    let mem_usage = number(reader, "mem_usage", 1024.0);
    let split_ratio = number(reader, "split_ratio", WIDTH_MAX);
    let scale = fields
        .get("scale")
        .and_then(|tree| reader.whole(tree, "scale", SCALE_MAX));
    let inputs = fields
        .get("input")
        .map_or_else(Vec::new, |tree| ports(reader, tree, "input"));
    let outputs = fields
        .get("output")
        .map_or_else(Vec::new, |tree| ports(reader, tree, "output"));
    let next = match fields.get("next") {
        None => None,
        Some(tree) => Some(next(reader, tree)?),
    };
    let (name, source) = (name?, source?.value);
    if name.value == REQUEST {
        let kind = ProblemKind::Name {
            what: "a function",
            name: name.value.clone(),
        };
        reader.add(
            name.span,
            kind,
            "`INPUT` stands for the request: name it otherwise",
        );
    }
    let role = match source.as_str() {
        "VIRTUAL" => Role::Virtual,
        "END" => Role::End,
        _ => Role::Code,
    };
    Some(Function {
        name,
        source,
        role,
        runtime_s,
        scale: scale.map(|scale| scale as u16),
        mem_usage,
        split_ratio,
        inputs,
        outputs,
        next,
    })
}

fn ports(reader: &mut Reader, tree: &Tree, key: &str) -> Vec<Port> {
    let what = format!("`{key}`");
    let Some(fields) = reader.map(tree, &what) else {
        return Vec::new();
    };
    let ports = fields.entries.iter();
    ports
        .filter_map(|(name, tree)| port(reader, name, tree, key))
        .collect()
}

fn port(reader: &mut Reader, name: &Spanned<String>, tree: &Tree, key: &str) -> Option<Port> {
    let what = format!("an entry of `{key}`");
    let fields = reader.fields(tree, &what, &["type", "value", "size"])?;
    let of = match fields.get("type") {
        None => PortType::Payload,
        Some(tree) => match reader.text(tree, "`type`")? {
            "pass" | "normal" => PortType::Payload,
            "key" | "keys" => PortType::Keys,
            other => {
                let help = reader.instead(other, &["pass", "normal", "key", "keys"]);
                unknown(reader, tree.span, "type of a parameter", other, help);
                return None;
            }
        },
    };
    let value = match fields.get("value") {
        Some(tree) => Some(reference(reader, tree)?),
        None => None,
    };
    // An output needs none, and a workflow input is what it is called.
    if value.is_none() && matches!(key, "input" | "global_output") {
        let kind = ProblemKind::MissingKey {
            what: format!("`{}`", quoted(&name.value)),
            key: "value",
        };
        let help = "add `value: {function: FUNCTION, parameter: PARAMETER}`";
        reader.add(name.span, kind, help);
    }
    let size = fields.get("size");
    let size = size.and_then(|tree| reader.whole(tree, "size", PROFILE_BYTES_MAX));
    Some(Port {
        name: name.clone(),
        of,
        value,
        size,
    })
}

fn unknown(reader: &mut Reader, span: Span, what: &'static str, name: &str, help: String) {
    let name = quoted(name);
    reader.add(span, ImportProblem::Unknown { what, name }, help);
}

fn reference(reader: &mut Reader, tree: &Tree) -> Option<Spanned<Reference>> {
    let what = "`value`";
    let fields = reader.fields(tree, what, &["function", "parameter"])?;
    let function = reader.needed(&fields, what, "function");
    let function = function.and_then(|tree| word(reader, tree, "`function`"));
    let parameter = reader.needed(&fields, what, "parameter");
    let parameter = parameter.and_then(|tree| word(reader, tree, "`parameter`"));
    let (function, parameter) = (function?, parameter?);
    let span = Span {
        start: function.span.start.min(parameter.span.start),
        end: function.span.end.max(parameter.span.end),
    };
    let value = Reference {
        function: function.value,
        parameter: parameter.value,
    };
    Some(Spanned { value, span })
}

fn next(reader: &mut Reader, tree: &Tree) -> Option<Next> {
    let what = "`next`";
    let fields = reader.fields(tree, what, &["type", "nodes", "conditions"])?;
    let of = reader.needed(&fields, what, "type");
    let nodes = match reader.needed(&fields, what, "nodes") {
        Some(tree) => words(reader, tree, "`nodes`")?,
        None => return None,
    };
    let of = of?;
    let conditions = fields.get("conditions");
    let how = match reader.text(of, "`type`")? {
        "pass" | "parallel" => How::All,
        "foreach" => How::Foreach,
        "switch" => {
            let list = reader.needed(&fields, what, "conditions")?;
            let list = reader.list(list, "`conditions`")?;
            let read: Vec<_> = list.iter().map(|tree| condition(reader, tree)).collect();
            let read = read.into_iter().collect::<Option<Vec<_>>>()?;
            if read.len() != nodes.len() {
                let text = format!("{} conditions for {} nodes", read.len(), nodes.len());
                let help = "give each node its condition; that of the last may be `default`";
                reader.add(tree.span, ImportProblem::Contradiction(text), help);
                return None;
            }
            return Some(Next {
                how: How::Switch(read),
                nodes,
            });
        }
        other => {
            let help = reader.instead(other, &["pass", "parallel", "foreach", "switch"]);
            unknown(reader, of.span, "type of `next`", other, help);
            return None;
        }
    };
    if let Some(tree) = conditions {
        let text = "conditions without a switch".to_owned();
        let help = "write `type: switch`, or leave them away";
        reader.add(tree.span, ImportProblem::Contradiction(text), help);
    }
    Some(Next { how, nodes })
}

fn words(reader: &mut Reader, tree: &Tree, what: &str) -> Option<Vec<Spanned<String>>> {
    let items = reader.list(tree, what)?;
    let read: Vec<_> = items
        .iter()
        .map(|tree| word(reader, tree, "a node"))
        .collect();
    read.into_iter().collect()
}

fn condition(reader: &mut Reader, tree: &Tree) -> Option<Spanned<Option<Condition>>> {
    let span = tree.span;
    let value = match &tree.value {
        Value::Text(text) if text == "default" => None,
        Value::Bool(bool) => Some(Condition::Bool(*bool)),
        Value::Number(number) => Some(Condition::Number(number.as_f64().unwrap_or(0.0))),
        _ => {
            let text = reader.text(tree, "a condition")?;
            // A quoted condition begins behind its quote.
            let quotes = usize::from(span.end.saturating_sub(span.start) > text.len());
            match condition::parse(text) {
                Ok(condition) => Some(condition),
                Err(refused) => {
                    let start = span.start + quotes + refused.at;
                    let end = (start + refused.length).min(span.end.max(start));
                    let kind = ImportProblem::Expression(refused.why);
                    let help = "conditions are comparisons of FUNCTION.PARAMETER, numbers, True and False, joined by \
                                `and`, `or` and `not`";
                    reader.add(Span { start, end }, kind, help);
                    return None;
                }
            }
        }
    };
    Some(Spanned { value, span })
}
