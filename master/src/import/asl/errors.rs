//! Names of errors, retriers and catchers: which failures are meant, and what is done about them.

use super::machine::State;
use crate::definition::Span;
use crate::definition::keys::{ATTEMPTS_MAX, FACTOR_MAX, RETRIERS_MAX, TIME_MS_MAX};
use crate::import::draft::Retry;
use crate::import::problem::ImportProblem;
use crate::import::read::Reader;
use crate::import::tree::Tree;
use engine::plan::ErrorClass;

/// Longest wait, in seconds.
pub(super) const SECONDS_MAX: u64 = TIME_MS_MAX / 1000;
/// Most retries of a retrier, beside the first attempt.
const RETRIES_MAX: u64 = ATTEMPTS_MAX - 1;

/// Errors of services that have no part here.
const NEVER: &[&str] = &[
    "States.HeartbeatTimeout",
    "States.Permissions",
    "States.ItemReaderFailed",
    "States.ResultWriterFailed",
    "States.ExceedToleratedFailureThreshold",
    "States.Http.Socket",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "Lambda.ClientExecutionTimeoutException",
];

/// What `States.TaskFailed` means: all but `States.Timeout`.
const FAILED: &[ErrorClass] = &[
    ErrorClass::Error,
    ErrorClass::Input,
    ErrorClass::Output,
    ErrorClass::Panic,
    ErrorClass::Memory,
    ErrorClass::Crash,
];

/// Which failures are meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Errors {
    /// Every one.
    All,
    /// Those of these classes and names; may be none.
    These(Vec<String>),
}

impl Errors {
    /// As a definition has it, where no entry means all.
    pub(super) fn on(&self) -> Vec<String> {
        match self {
            Self::All => Vec::new(),
            Self::These(names) => names.clone(),
        }
    }

    /// How many names there are.
    pub(super) fn names(&self) -> usize {
        match self {
            Self::All => 0,
            Self::These(names) => names.len(),
        }
    }

    /// Whether no failure is meant.
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::These(names) if names.is_empty())
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::These(mut these), Self::These(those)) => {
                for name in those {
                    if !these.contains(&name) {
                        these.push(name);
                    }
                }
                Self::These(these)
            }
            _ => Self::All,
        }
    }
}

/// The failures that `ErrorEquals` means. Errors that cannot occur here are left away, and added to `notes`.
pub(super) fn errors(reader: &mut Reader, tree: &Tree, notes: &mut Vec<String>) -> Option<Errors> {
    let names = reader.list(tree, "`ErrorEquals`")?;
    if names.is_empty() {
        reader.shape(tree, "`ErrorEquals`", "a list of at least one name");
        return None;
    }
    let mut all = Errors::These(Vec::new());
    for item in names {
        let name = reader.text(item, "an error's name")?;
        let meant = match name {
            "States.ALL" => {
                if names.len() > 1 {
                    let kind = ImportProblem::Contradiction(
                        "`States.ALL` stands among other names".to_owned(),
                    );
                    reader.add(item.span, kind, "let it stand alone: it means all errors");
                    return None;
                }
                Errors::All
            }
            "States.TaskFailed" => {
                Errors::These(FAILED.iter().map(|class| class.name().to_owned()).collect())
            }
            "States.Timeout" => Errors::These(vec![ErrorClass::Timeout.name().to_owned()]),
            "States.DataLimitExceeded" => Errors::These(vec![ErrorClass::Output.name().to_owned()]),
            name if NEVER.contains(&name) => {
                notes.push(format!(
                    "The error {name} cannot occur here, and is left away."
                ));
                Errors::These(Vec::new())
            }
            name if name.starts_with("States.") => {
                let help = "States.ALL, States.TaskFailed, States.Timeout and names of your own functions' errors have \
                            a like here; a path that leads nowhere fails the invocation";
                reader.not_covered(item.span, format!("the error `{name}`"), help);
                return None;
            }
            name => own(reader, item.span, name)?,
        };
        all = all.and(meant);
    }
    Some(all)
}

/// An error that functions return under a name of their own.
fn own(reader: &mut Reader, span: Span, name: &str) -> Option<Errors> {
    if ErrorClass::ALL.iter().any(|class| class.name() == name) {
        let help = "a function's error needs another name: this one is a class of errors here";
        reader.not_covered(span, format!("the error name `{name}`"), help);
        return None;
    }
    let allowed = |char: char| char.is_ascii_alphanumeric() || "_-.".contains(char);
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic());
    if !begins || !name.chars().all(allowed) || name.len() > crate::definition::NAME_BYTES_MAX {
        let name = crate::definition::problem::quoted(name);
        let help = "names of errors are a letter, then letters, digits, `.`, `_` or `-`, at most 64 in all";
        reader.not_covered(span, format!("the error name `{name}`"), help);
        return None;
    }
    Some(Errors::These(vec![name.to_owned()]))
}

/// A state's retriers, as its node has them. Those that take nothing which could occur here are left away, and so are the
/// last ones that try nothing again: what no retrier takes is not tried again either.
pub(super) fn retriers(
    reader: &mut Reader,
    state: &State<'_>,
    notes: &mut Vec<String>,
) -> Option<Vec<Retry>> {
    let mut retriers = Vec::new();
    for tree in state.retry {
        let (errors, retry) = retrier(reader, tree, notes)?;
        if !errors.is_none() {
            let on = errors.on();
            retriers.push((tree.span, Retry { on, ..retry }));
        }
    }
    while retriers.last().is_some_and(|(_, last)| last.attempts == 1) {
        retriers.pop();
    }
    let further = retriers.get(RETRIERS_MAX as usize);
    let span = further.map_or(state.span, |(span, _)| *span);
    let retriers = retriers.into_iter().map(|(_, retry)| retry).collect();
    bounded(reader, retriers, span)
}

/// Retriers of one node, unless they are too many.
pub(super) fn bounded(reader: &mut Reader, retriers: Vec<Retry>, span: Span) -> Option<Vec<Retry>> {
    if retriers.len() > RETRIERS_MAX as usize {
        let help =
            format!("let one retrier name several errors: a node has at most {RETRIERS_MAX}");
        reader.not_covered(span, "one more retrier", &help);
        return None;
    }
    Some(retriers)
}

fn retrier(reader: &mut Reader, tree: &Tree, notes: &mut Vec<String>) -> Option<(Errors, Retry)> {
    let keys = [
        "ErrorEquals",
        "IntervalSeconds",
        "MaxAttempts",
        "BackoffRate",
        "MaxDelaySeconds",
        "JitterStrategy",
        "Comment",
    ];
    let fields = reader.fields(tree, "a retrier", &keys)?;
    let equals = reader.needed(&fields, "a retrier", "ErrorEquals")?;
    let errors = errors(reader, equals, notes)?;
    let whole = |reader: &mut Reader, key: &'static str, most| match fields.get(key) {
        Some(tree) => reader.whole(tree, key, most).map(Some),
        None => Some(None),
    };
    let interval = whole(reader, "IntervalSeconds", SECONDS_MAX)?.unwrap_or(1);
    let retries = whole(reader, "MaxAttempts", RETRIES_MAX)?.unwrap_or(3);
    let longest = whole(reader, "MaxDelaySeconds", SECONDS_MAX)?;
    let factor = match fields.get("BackoffRate") {
        Some(rate) => {
            let factor = reader.number(rate, "BackoffRate", FACTOR_MAX)?;
            if factor < 1.0 {
                reader.shape(rate, "`BackoffRate`", "a number from 1 to 100");
                return None;
            }
            // The default of definitions too.
            (factor != 2.0).then_some(factor)
        }
        None => None,
    };
    let jitter = match fields.get("JitterStrategy") {
        Some(strategy) => match reader.text(strategy, "`JitterStrategy`")? {
            "FULL" => Some(1.0),
            "NONE" => None,
            _ => {
                reader.shape(strategy, "`JitterStrategy`", "\"FULL\" or \"NONE\"");
                return None;
            }
        },
        None => None,
    };
    // Both are bounded far below 2^32.
    let retry = Retry {
        attempts: retries as u32 + 1,
        backoff_ms: interval as u32 * 1000,
        factor,
        backoff_max_ms: longest.map(|seconds| seconds as u32 * 1000),
        jitter,
        on: Vec::new(),
    };
    Some((errors, retry))
}
