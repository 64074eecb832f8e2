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
//! | `regions` | nodes that run for each item of a list |
//! | `decide` | whether a node runs, and from when on |
//! | `delays` | how long an activation waits before it starts |
//! | `attempts` | what the activations of a node come to |
//! | `retriers` | which failures are tried again, and when |

mod attempts;
mod decide;
mod delays;
mod edges;
mod regions;
mod retriers;

use crate::functions::Datum;
use crate::trace::{Activation, Moment, Trace};
use crate::workflow::Workflow;
pub use attempts::{error_text, returned_kinds};
pub use delays::delay_ns;
use edges::Found;
use engine::plan::{NodeId, Source};
pub use retriers::{deciding_retrier, failures, wait_ns_after};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How a node ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// Well, with these outputs.
    Well(Vec<Datum>),
    /// Of a node in a region, as it is seen from outside: in its items.
    Items(Box<InItems>),
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

/// How a node of a region ended that ran in some of its items, or could have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InItems {
    /// Its outputs, gathered.
    pub outputs: Vec<Datum>,
    /// What its consumers may read of what failed.
    pub errors: Datum,
    /// Whether it failed in one, and that is nothing but a dead edge: in which event first, and why, if the engine does not
    /// word it.
    pub tolerated: Option<(u64, Option<String>)>,
    /// The cases that it chose in some item.
    pub cases: BTreeSet<u16>,
    /// Its catches that took a failure in some item.
    pub catches: BTreeSet<u16>,
}

impl End {
    /// Whether what it returned is there.
    #[must_use]
    pub fn is_well(&self) -> bool {
        match self {
            Self::Well(_) => true,
            Self::Items(of) => of.tolerated.is_none(),
            _ => false,
        }
    }

    /// Whether what it failed with is there.
    #[must_use]
    pub fn is_caught(&self) -> bool {
        match self {
            Self::Caught { .. } => true,
            Self::Items(of) => !of.catches.is_empty(),
            _ => false,
        }
    }
}

/// How a node ended, and before when it cannot have.
#[derive(Clone, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub end: End,
    /// When, at the earliest.
    pub at: Moment,
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} from event {}", self.end, self.at.step)
    }
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
    /// By node; those of regions as they are seen from outside.
    pub nodes: Vec<Ended>,
    /// How the nodes of regions ended in each of their items.
    pub in_items: BTreeMap<Activation, End>,
    /// What is counted.
    pub counts: Counts,
    /// Regions that lie in no other and came to something: which, and whether it began or was skipped.
    pub regions: Vec<(u16, bool)>,
    /// Its outputs, those that are absent left out; none if it cannot end well, or had not.
    pub outputs: Option<Vec<(String, Datum)>>,
    /// For what it may fail, and from when on.
    pub reasons: Vec<(Reason, Moment)>,
    /// Events that came too late for joins of some: at least and at most so many.
    pub late: (u64, u64),
}

/// What a core counts. A region counts as one node more where it is; those of its nodes that run in no item do not count.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Nodes that ran, and regions that began.
    pub ran: u64,
    /// Nodes and regions that were skipped.
    pub skipped: u64,
    /// Failures that were caught.
    pub caught: u64,
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
        frames: vec![Frame {
            region: None,
            item: None,
            since: trace.asked,
            never: BTreeSet::new(),
            never_begun: BTreeSet::new(),
            nodes: BTreeMap::new(),
        }],
        judged: BTreeSet::new(),
        in_items: BTreeMap::new(),
        counts: Counts::default(),
        regions: Vec::new(),
        reasons: Vec::new(),
        late: (0, 0),
    };
    judge.frame()?;
    let waiting = trace.delays.keys();
    if let Some(activation) = trace
        .activations
        .keys()
        .chain(waiting)
        .find(|activation| !judge.judged.contains(*activation))
    {
        let (node, items) = activation;
        return Err(Breach(format!(
            "node {node} of items {items:?} must not start"
        )));
    }
    let outputs = judge.outputs();
    let nodes = judge.frames.pop().map(|frame| frame.nodes);
    Ok(Verdict {
        nodes: nodes.unwrap_or_default().into_values().collect(),
        in_items: judge.in_items,
        counts: judge.counts,
        regions: judge.regions,
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
    /// What is outside of all regions, and then the items that are looked at, each in the one before.
    frames: Vec<Frame>,
    /// What has been looked at.
    judged: BTreeSet<Activation>,
    in_items: BTreeMap<Activation, End>,
    counts: Counts,
    /// See [`Verdict::regions`].
    regions: Vec<(u16, bool)>,
    reasons: Vec<(Reason, Moment)>,
    late: (u64, u64),
}

/// Where nodes run: outside of all regions, or in an item of one.
struct Frame {
    region: Option<u16>,
    /// The item's number, and what it is.
    item: Option<(u32, Datum)>,
    /// When it began, at the earliest.
    since: Moment,
    /// Nodes of the region that run in no item.
    never: BTreeSet<NodeId>,
    /// Regions within it that begin in no item.
    never_begun: BTreeSet<u16>,
    /// What has been decided, as it is seen here.
    nodes: BTreeMap<NodeId, Ended>,
}

impl Judge<'_> {
    /// Judges all nodes of the innermost frame, in the order of their numbers.
    fn frame(&mut self) -> Result<(), Breach> {
        let workflow = self.workflow;
        let region = self.here().region;
        for node in 0..workflow.nodes.len() as NodeId {
            let of = workflow.nodes[node as usize].region;
            if !workflow.holds(region, of) || self.here().nodes.contains_key(&node) {
                continue;
            }
            match workflow.just_within(region, of) {
                Some(within) => self.region(within)?,
                None => {
                    let ended = self.node(node)?;
                    self.count(node, &ended.end);
                    self.here_mut().nodes.insert(node, ended);
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, node: NodeId, end: &End) {
        if self.here().never.contains(&node) {
            return;
        }
        match end {
            End::Skipped => self.counts.skipped += 1,
            End::Caught { .. } => self.counts.caught += 1,
            _ => {}
        }
        self.counts.ran += u64::from(*end != End::Skipped);
        if self.here().region.is_some() {
            let activation = self.activation(node);
            self.in_items.insert(activation, end.clone());
        }
    }

    fn here(&self) -> &Frame {
        &self.frames[self.frames.len() - 1]
    }

    fn here_mut(&mut self) -> &mut Frame {
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    /// How a node has ended that was decided before, as it is seen here.
    fn ended(&self, node: NodeId) -> &Ended {
        let mut frames = self.frames.iter().rev();
        let found = frames.find_map(|frame| frame.nodes.get(&node));
        found.expect("what a node waits for has a lower number")
    }

    /// The activation of a node in the innermost frame.
    fn activation(&self, node: NodeId) -> Activation {
        let items = self.frames.iter().filter_map(|frame| frame.item.as_ref());
        (node, items.map(|(number, _)| *number).collect())
    }

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
        let nodes = &self.here().nodes;
        (whole && nodes.values().all(ended)).then_some(present)
    }
}

#[cfg(test)]
mod tests;
