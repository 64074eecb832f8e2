//! How the program ends when it does not end well: which code, and what is said.

use crate::interrupt::Why;
use crate::print;
use crate::validate::Denied;
use engine::wire::{Failure, NodeReport};
use master::client::ClientError;
use master::definition::{LoadError, Problem};
use master::deploy::DeployError;
use master::diagnostics::to_stderr;
use master::feedback::FeedbackError;
use master::feedback::rebalance::RebalanceError;
use master::local::LocalError;
use master::place::ClusterError;
use miette::{Diagnostic, JSONReportHandler, Report};
use serde_json::{Value, json};
use std::fmt;
use std::process::ExitCode;

/// The work failed.
const WORK: u8 = 1;
/// The call or its input is wrong.
const INPUT: u8 = 2;

/// An end that is no success.
#[derive(Debug)]
pub(crate) struct Exit {
    code: u8,
    report: Report,
}

impl Exit {
    /// What was asked for, or its input, is wrong.
    pub(crate) fn input(error: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self {
            code: INPUT,
            report: Report::new(error),
        }
    }

    /// The work failed.
    pub(crate) fn work(error: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self {
            code: WORK,
            report: Report::new(error),
        }
    }

    /// Says it on standard error, and gives the code. Where a JSON object is wanted and none has been printed, that says it
    /// too.
    pub(crate) fn report(self, json: bool) -> ExitCode {
        to_stderr(&format!("{:?}\n", self.report));
        if json && !print::was_json() {
            // Whoever does not read it has the text.
            let _ = print::json(&self.to_json());
        }
        ExitCode::from(self.code)
    }
}

impl Exit {
    /// For programs: what went wrong.
    pub(crate) fn to_json(&self) -> Value {
        if let Some(failed) = self.report.downcast_ref::<Failed>() {
            return failed.to_json();
        }
        let mut object = json!({ "error": error_json(self.report.as_ref()) });
        let wrong = match (self.report.downcast_ref(), self.report.downcast_ref()) {
            (Some(LoadError::Definition(wrong)), _) => Some(wrong),
            (_, Some(ClusterError::Problems(wrong))) => Some(wrong),
            _ => None,
        };
        if let Some(wrong) = wrong {
            let problems: Vec<Value> = wrong.problems.iter().map(Problem::to_json).collect();
            object["error"]["problems"] = json!(problems);
            object["error"]["further"] = json!(wrong.further);
        }
        if let Some(Denied(warnings)) = self.report.downcast_ref::<Denied>() {
            let problems: Vec<Value> = warnings.iter().map(Problem::to_json).collect();
            object["error"]["problems"] = json!(problems);
        }
        object
    }
}

/// What went wrong, and its help.
fn error_json(error: &dyn Diagnostic) -> Value {
    let mut text = String::new();
    let rendered = JSONReportHandler::new().render_report(&mut text, error);
    rendered
        .ok()
        .and_then(|()| serde_json::from_str(&text).ok())
        .unwrap_or_else(|| json!({ "message": error.to_string() }))
}

/// What an invocation failed with, by its parts.
fn failure_json(failure: &Failure) -> Value {
    match failure {
        Failure::Refused {
            worker,
            reason,
            memory,
        } => {
            let mut object = json!({ "kind": "refused", "worker": worker, "cause": reason });
            if let Some(memory) = memory {
                object["memory"] = json!(memory);
            }
            object
        }
        Failure::Node {
            node,
            worker,
            attempt,
            cause,
        } => {
            json!({ "kind": "node", "node": node, "worker": worker, "attempt": attempt, "cause": cause })
        }
        Failure::Payload {
            node,
            worker,
            cause,
        } => json!({ "kind": "payload", "node": node, "worker": worker, "cause": cause }),
        Failure::Join {
            node,
            needed,
            failed,
        } => {
            let failed = failed.iter();
            let failed = failed.map(|(node, cause)| json!({ "node": node, "cause": cause }));
            let failed: Vec<Value> = failed.collect();
            json!({ "kind": "join", "node": node, "needed": needed, "failed": failed })
        }
        Failure::Absent { output } => json!({ "kind": "absent", "output": output }),
        Failure::Timeout { milliseconds } => {
            json!({ "kind": "timeout", "timeout_ms": milliseconds })
        }
        Failure::Worker { worker, cause } => {
            json!({ "kind": "worker", "worker": worker, "cause": cause })
        }
        Failure::Cancelled => json!({ "kind": "cancelled" }),
    }
}

impl From<ClientError> for Exit {
    fn from(error: ClientError) -> Self {
        let code = client_code(&error);
        Self {
            code,
            report: Report::new(error),
        }
    }
}

impl From<DeployError> for Exit {
    fn from(error: DeployError) -> Self {
        let code = match &error {
            DeployError::Client(error) => client_code(error),
            DeployError::Torn { .. }
            | DeployError::Link { .. }
            | DeployError::HalfUndeployed { .. }
            | DeployError::Random(_) => WORK,
            _ => INPUT,
        };
        Self {
            code,
            report: Report::new(error),
        }
    }
}

impl From<LocalError> for Exit {
    fn from(error: LocalError) -> Self {
        let code = match &error {
            LocalError::NotReady { .. } | LocalError::Spawn { .. } => WORK,
            _ => INPUT,
        };
        Self {
            code,
            report: Report::new(error),
        }
    }
}

impl From<FeedbackError> for Exit {
    fn from(error: FeedbackError) -> Self {
        match error {
            FeedbackError::Deploy(error) => error.into(),
            FeedbackError::Nonsense { .. } => Self::work(error),
            _ => Self::input(error),
        }
    }
}

impl From<RebalanceError> for Exit {
    fn from(error: RebalanceError) -> Self {
        match error {
            RebalanceError::Feedback(error) => error.into(),
            RebalanceError::Deploy(error) => error.into(),
            RebalanceError::Load(error) => error.into(),
            _ => Self::input(error),
        }
    }
}

impl From<LoadError> for Exit {
    fn from(error: LoadError) -> Self {
        Self::input(error)
    }
}

impl From<ClusterError> for Exit {
    fn from(error: ClusterError) -> Self {
        Self::input(error)
    }
}

impl From<master::place::PlaceError> for Exit {
    fn from(error: master::place::PlaceError) -> Self {
        Self::input(error)
    }
}

impl From<master::division::DivisionError> for Exit {
    fn from(error: master::division::DivisionError) -> Self {
        Self::input(error)
    }
}

const fn client_code(error: &ClientError) -> u8 {
    match error {
        ClientError::Lost { .. } | ClientError::Silent { .. } | ClientError::Wire { .. } => WORK,
        ClientError::Protocol { .. }
        | ClientError::Memory { .. }
        | ClientError::Idle { .. }
        | ClientError::Cancelled => WORK,
        _ => INPUT,
    }
}

/// An invocation that ended without its outputs.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) workflow: String,
    pub(crate) failure: Failure,
    /// Why this program cancelled it, if it did.
    pub(crate) cancelled: Option<Why>,
    /// How many others of the same call ended well.
    pub(crate) others_ended: u64,
    /// What nodes did until then, if that is wanted as part of the error.
    pub(crate) report: Vec<NodeReport>,
}

impl Failed {
    /// The failure of the only invocation; `cancelled` says why this program has cancelled what was under way, if it has.
    pub(crate) fn alone(workflow: &str, failure: &Failure, cancelled: Option<Why>) -> Self {
        Self {
            workflow: workflow.to_owned(),
            failure: failure.clone(),
            cancelled: cancelled.filter(|_| *failure == Failure::Cancelled),
            others_ended: 0,
            report: Vec::new(),
        }
    }

    /// For programs: the error, the failure by its parts, and the report if there is one.
    pub(crate) fn to_json(&self) -> Value {
        let mut object =
            json!({ "error": error_json(self), "failure": failure_json(&self.failure) });
        if let Some(why) = self.cancelled {
            object["failure"]["by"] = json!(why.name());
        }
        if !self.report.is_empty() {
            object["report"] = json!(self.report);
        }
        object
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cancelled {
            Some(why) => write!(f, "{}: {why}", self.workflow),
            None => write!(f, "{}: {}", self.workflow, self.failure),
        }
    }
}

impl std::error::Error for Failed {}

impl Diagnostic for Failed {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(match &self.failure {
            Failure::Refused { .. } if self.others_ended > 0 => {
                "others of this call ran; see what it was refused for"
            }
            Failure::Refused {
                memory: Some(_), ..
            } => {
                "nothing was started; more executors (`scale`), more memory for them (`memory_mib`), or smaller maxima \
                 let in more"
            }
            Failure::Refused { .. } => "nothing was started",
            Failure::Node { .. } => {
                "the cause is what its function, executor or expression said; what may go otherwise another time can be tried again (`retry`, at functions)"
            }
            Failure::Payload { .. } => {
                "if it was too large, make it smaller or give the worker more memory (--memory); if a disk, a store or a peer has lost \
                 it, see to that and invoke again"
            }
            Failure::Join { .. } => {
                "see why these failed; `retry` may try them again, and `at_least` may ask for fewer"
            }
            Failure::Absent { .. } => {
                "give it another source that is there then (`first_of`), or mark it `optional: true`"
            }
            Failure::Timeout { .. } => {
                "give the workflow a longer `timeout_ms`, or see what is slow"
            }
            Failure::Worker { .. } => {
                "bring the worker back, or deploy on others; what ran may have had effects"
            }
            Failure::Cancelled if matches!(self.cancelled, Some(Why::Deadline { .. })) => {
                "what had not started was never started; what ran may have had effects; a longer --deadline-ms gives it \
                 more time"
            }
            Failure::Cancelled => {
                "what had not started was never started; what ran may have had effects"
            }
        }))
    }
}

impl From<Failed> for Exit {
    fn from(failed: Failed) -> Self {
        match &failed.failure {
            _ if failed.others_ended > 0 => Self::work(failed),
            // Nothing is wrong with the call: it comes while as many are under way as there is memory for.
            Failure::Refused {
                memory: Some(_), ..
            } => Self::work(failed),
            Failure::Refused { .. } => Self::input(failed),
            // What the caller gave is too much for the workers.
            Failure::Payload { node, .. } if node == "input" => Self::input(failed),
            Failure::Payload { .. } => Self::work(failed),
            Failure::Node { .. }
            | Failure::Worker { .. }
            | Failure::Join { .. }
            | Failure::Absent { .. }
            | Failure::Timeout { .. }
            | Failure::Cancelled => Self::work(failed),
        }
    }
}
