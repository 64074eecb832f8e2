//! The reference: what a workflow means, without placement, memory or messages. Slow, and obviously right.
//!
//! It goes through the nodes in the order of their numbers, which is a topological one, and says of each from its in-edges
//! whether it runs, with which inputs, and what it comes to. Three things a workflow alone does not say, and they are
//! taken from what a run has shown (its [`Trace`]): what each attempt of an activation came to, which of its live edges a
//! join of some had when it started, and, of an invocation that failed, how far it came. Whatever else the trace holds must
//! be as the reference says; what is not is a [`Breach`].
//!
//! | file | subject |
//! | --- | --- |
//! | `edges` | live and dead, and what a consumer sees |
//! | `decide` | whether a node runs, and from when on |
//! | `attempts` | what the activations of a node come to |

mod attempts;
mod decide;
mod edges;

use crate::functions::Datum;
use crate::trace::{Moment, Trace};
use crate::workflow::Workflow;
pub use attempts::{error_text, retry_wait_ns, returned_kinds};
use edges::Found;
use engine::plan::{NodeId, Source};
use std::collections::BTreeMap;
use std::fmt;

/// How a node ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// Well, with these outputs; of a foreach they are gathered.
    Well(Vec<Datum>),
    /// It is a switch, and chose this case.
    Chose(u16),
    /// It did not run.
    Skipped,
    /// It failed, and this of its catches took the failure.
    Caught {
        /// Which.
        catch: u16,
        /// What its consumers may read of it.
        error: Datum,
    },
    /// It failed, and that is nothing but a dead edge. Why, if the engine does not word it.
    Tolerated(Option<String>),
    /// It failed, and the invocation with it.
    Fatal,
    /// It had not come to its end when the invocation did.
    Open,
}

/// How a node ended, and before when it cannot have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// How.
    pub end: End,
    /// When, at the earliest.
    pub at: Moment,
}

/// Something for which the invocation may fail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// A node failed.
    Node {
        /// Which.
        node: NodeId,
        /// Its last attempt.
        attempt: u32,
        /// As its executor said; none if the engine words it.
        cause: Option<String>,
    },
    /// Failures have put a join out of reach.
    Join {
        /// Which.
        node: NodeId,
        /// How many edges it needs.
        needed: u32,
        /// Producers that failed, and why.
        failed: BTreeMap<NodeId, Option<String>>,
    },
    /// An output that is needed has no live source.
    Absent {
        /// Which.
        output: String,
    },
}

/// What an invocation may come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// By node.
    pub nodes: Vec<Ended>,
    /// Its outputs, those that are absent left out; none if it cannot end well, or had not.
    pub outputs: Option<Vec<(String, Datum)>>,
    /// For what it may fail, and from when on.
    pub reasons: Vec<(Reason, Moment)>,
    /// Live edges that came too late for joins of some: at least and at most so many.
    pub late: (u64, u64),
}

/// What a run has shown, and must not have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Breach(pub String);

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Judges what a run has shown of an invocation with these inputs; one that the client has left out is none.
///
/// # Errors
/// The first thing that must not have been.
pub fn judge(
    workflow: &Workflow,
    inputs: &[Option<Datum>],
    trace: &Trace,
) -> Result<Verdict, Breach> {
    let mut judge = Judge {
        workflow,
        inputs,
        trace,
        nodes: Vec::new(),
        reasons: Vec::new(),
        late: (0, 0),
    };
    for node in 0..workflow.nodes.len() as NodeId {
        let ended = judge.node(node)?;
        judge.nodes.push(ended);
    }
    if let Some((node, item)) = trace
        .activations
        .keys()
        .find(|(node, _)| *node as usize >= workflow.nodes.len())
    {
        return Err(Breach(format!("there is no node {node} for item {item}")));
    }
    let outputs = judge.outputs();
    Ok(Verdict {
        nodes: judge.nodes,
        outputs,
        reasons: judge.reasons,
        late: judge.late,
    })
}

/// What has been decided so far.
struct Judge<'a> {
    workflow: &'a Workflow,
    inputs: &'a [Option<Datum>],
    trace: &'a Trace,
    /// Of the nodes before the one that is looked at.
    nodes: Vec<Ended>,
    reasons: Vec<(Reason, Moment)>,
    late: (u64, u64),
}

impl Judge<'_> {
    /// The workflow's outputs, if every node has ended and nothing has failed.
    fn outputs(&mut self) -> Option<Vec<(String, Datum)>> {
        let mut present = Vec::new();
        let mut whole = true;
        for output in &self.workflow.outputs {
            let sources: Vec<Source> = output.sources.iter().map(|from| from.source).collect();
            match self.first_live(&sources) {
                Found::Present(datum) => present.push((output.name.clone(), datum)),
                Found::Open => whole = false,
                Found::Absent if output.optional => {}
                Found::Absent => {
                    whole = false;
                    let at = self.decided_at(&sources);
                    let output = output.name.clone();
                    self.reasons.push((Reason::Absent { output }, at));
                }
            }
        }
        let ended = |node: &Ended| !matches!(node.end, End::Open | End::Fatal);
        (whole && self.nodes.iter().all(ended)).then_some(present)
    }
}
