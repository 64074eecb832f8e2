//! Resources of Task states: which function a name or ARN stands for.

use super::AslOptions;
use crate::definition::names::{is_executable, is_name};
use crate::definition::{Span, Spanned};
use crate::import::problem::ImportProblem;
use crate::import::read::{Fields, Reader};
use crate::import::tree::Tree;
use std::collections::HashSet;

/// The function that an executable is taken to hold if nothing says otherwise.
const DEFAULT_FUNCTION: &str = "run";
/// The service that invokes a function which its parameters name.
const INVOKE: &str = ":states:::lambda:invoke";

/// What a Task calls, and how.
pub(super) struct Call<'t> {
    /// `EXECUTABLE:FUNCTION`.
    pub(super) function: String,
    /// Of a call through the service that invokes functions, what the function is given and what else the call says.
    pub(super) invoke: Option<Invoke<'t>>,
}

/// A call through the service that invokes functions.
pub(super) struct Invoke<'t> {
    /// `Payload`, or `Payload.$`: then the value of a path.
    pub(super) payload: Option<(&'t Tree, Payload)>,
}

/// How a payload is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Payload {
    Template,
    Dynamic,
}

/// The function of a resource.
pub(super) fn call<'t>(
    reader: &mut Reader,
    resource: &Spanned<&str>,
    parameters: Option<&'t Tree>,
    options: &AslOptions,
    used: &mut HashSet<String>,
) -> Option<Call<'t>> {
    let text = resource.value;
    let refuse = |reader: &mut Reader, what: &str, help: &str| {
        reader.not_covered(resource.span, what, help);
    };
    if text.contains(":activity:") {
        let help = "let a function do the work: --function RESOURCE=EXECUTABLE:FUNCTION";
        refuse(reader, "an activity", help);
        return None;
    }
    if text.contains(".waitForTaskToken") {
        let help = "let a function wait for the answer and return it";
        refuse(reader, "waiting for a task token", help);
        return None;
    }
    if text.contains(":states:startExecution") || text.contains(":sfn:startExecution") {
        let help = "import the other machine on its own, and put its states here";
        refuse(reader, "a nested execution", help);
        return None;
    }
    if text.contains(".sync") {
        let help = "let a function start the job, wait for its end and return what came of it";
        refuse(reader, "waiting for a job (`.sync`)", help);
        return None;
    }
    let invokes = text.starts_with("arn:") && text.ends_with(INVOKE);
    if !invokes {
        let function = named(reader, text, resource.span, options, used)?;
        return Some(Call {
            function,
            invoke: None,
        });
    }
    let Some(parameters) = parameters else {
        let kind = ImportProblem::Contradiction(
            "this invokes a function, and nothing says which".to_owned(),
        );
        reader.add(
            resource.span,
            kind,
            "add Parameters with FunctionName, and the function's input as Payload",
        );
        return None;
    };
    let keys = [
        "FunctionName",
        "Payload",
        "Payload.$",
        "Qualifier",
        "InvocationType",
        "LogType",
    ];
    let fields = reader.fields(parameters, "the call of a function", &keys)?;
    waits(reader, &fields)?;
    let name = reader.needed(&fields, "the call of a function", "FunctionName")?;
    let text = reader.text(name, "`FunctionName`")?;
    let function = named(reader, text, name.span, options, used)?;
    let payload = match (fields.get("Payload"), fields.get("Payload.$")) {
        (Some(tree), _) => Some((tree, Payload::Template)),
        (None, Some(tree)) => Some((tree, Payload::Dynamic)),
        (None, None) => None,
    };
    Some(Call {
        function,
        invoke: Some(Invoke { payload }),
    })
}

/// Refuses a call whose result nobody waits for.
fn waits(reader: &mut Reader, fields: &Fields<'_>) -> Option<()> {
    let Some(how) = fields.get("InvocationType") else {
        return Some(());
    };
    if reader.text(how, "`InvocationType`")? == "RequestResponse" {
        return Some(());
    }
    reader.not_covered(
        how.span,
        "a call that nobody waits for",
        "write \"RequestResponse\", or leave it away",
    );
    None
}

/// The function of a name or ARN: what the options say, else what its last part says.
fn named(
    reader: &mut Reader,
    text: &str,
    span: Span,
    options: &AslOptions,
    used: &mut HashSet<String>,
) -> Option<String> {
    let short = short(text);
    for key in [Some(text), short].into_iter().flatten() {
        if let Some((_, function)) = options.functions.iter().find(|(known, _)| known == key) {
            used.insert(key.to_owned());
            return Some(function.clone());
        }
    }
    if let Some((executable, function)) = text.split_once(':')
        && is_executable(executable)
        && is_name(function)
    {
        return Some(text.to_owned());
    }
    match short.map(cleaned) {
        Some(executable) if is_executable(&executable) => {
            Some(format!("{executable}:{DEFAULT_FUNCTION}"))
        }
        _ => {
            let what = format!(
                "the resource `{}`",
                crate::definition::problem::quoted(text)
            );
            let help = "say which function does it: --function RESOURCE=EXECUTABLE:FUNCTION";
            reader.not_covered(span, what, help);
            None
        }
    }
}

/// What names a function: of a function's ARN the part behind `function:`, of a placeholder as `${Name}` what it holds,
/// else the name as it is. Other ARNs name services.
fn short(text: &str) -> Option<&str> {
    if let Some(inner) = text
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
    {
        return Some(inner);
    }
    if !text.starts_with("arn:") {
        return (!text.contains(':')).then_some(text);
    }
    let (_, behind) = text.split_once(":lambda:")?;
    let (_, name) = behind.split_once(":function:")?;
    // A version or alias may follow.
    let name = name.split_once(':').map_or(name, |(name, _)| name);
    match name.strip_prefix("${") {
        Some(inner) => inner.strip_suffix('}'),
        None => Some(name),
    }
}

/// As a file may be called.
fn cleaned(name: &str) -> String {
    let allowed = |char: char| char.is_ascii_alphanumeric() || "_-.".contains(char);
    name.chars()
        .take(crate::definition::NAME_BYTES_MAX)
        .map(|char| if allowed(char) { char } else { '_' })
        .collect()
}
