//! What a run shows of one invocation: which activations were started, when, with which inputs, and what each of their
//! attempts came to. [`reference`](mod@crate::reference) judges it.

use crate::functions::Datum;
use engine::plan::{ErrorClass, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// When something was seen: the number of the simulation's event, and its clock.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Moment {
    /// Events so far.
    pub step: u64,
    /// Nanoseconds.
    pub ns: u64,
}

impl Moment {
    /// The later of two, in events and by the clock.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            step: self.step.max(other.step),
            ns: self.ns.max(other.ns),
        }
    }

    /// The earlier of two, in events and by the clock.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self {
            step: self.step.min(other.step),
            ns: self.ns.min(other.ns),
        }
    }

    /// So many nanoseconds later.
    #[must_use]
    pub fn after_ns(self, nanoseconds: u64) -> Self {
        Self {
            ns: self.ns + nanoseconds,
            ..self
        }
    }

    /// So many milliseconds later.
    #[must_use]
    pub fn after_ms(self, milliseconds: u32) -> Self {
        self.after_ns(u64::from(milliseconds) * 1_000_000)
    }

    /// Whether this can have come of what happened at `cause`.
    #[must_use]
    pub fn may_follow(self, cause: Self) -> bool {
        self.step >= cause.step && self.ns >= cause.ns
    }
}

/// What an attempt came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It returned, or was evaluated.
    Well,
    /// It failed.
    Failed(ErrorClass, String),
}

/// One attempt of an activation, or one evaluation by the lane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// As the core numbers it.
    pub number: u32,
    /// When it was ordered.
    pub started: Moment,
    /// Its inputs.
    pub seen: Vec<Datum>,
    /// When and how it ended, if it did.
    pub ended: Option<(Moment, Ending)>,
}

/// What an expression of a delay gave.
#[derive(Clone, PartialEq, Debug)]
pub enum Gave {
    /// A number, meant as milliseconds.
    Milliseconds(f64),
    /// A time.
    Time {
        /// In nanoseconds since 1970.
        wall_ns: u64,
    },
    /// Something else.
    Other(serde_json::Value),
    /// It failed.
    Nothing,
}

/// What a lane said of how long an activation waits.
#[derive(Clone, PartialEq, Debug)]
pub struct DelayAnswer {
    /// When.
    pub at: Moment,
    /// What the wall clock showed then, in nanoseconds since 1970.
    pub wall_ns: u64,
    /// What its expressions gave, in their order.
    pub gave: Vec<Gave>,
    /// How long it waits; none if that failed.
    pub waits_ns: Option<u64>,
}

/// How long an activation is to wait.
#[derive(Clone, PartialEq, Debug)]
pub struct Delayed {
    /// When that was asked.
    pub asked: Moment,
    /// What its expressions read.
    pub seen: Vec<Datum>,
    /// What came of it, if anything did.
    pub answer: Option<DelayAnswer>,
}

/// Which activation: the node, and the items that it runs for, the outermost first; none outside of all regions.
pub type Activation = (NodeId, Vec<u32>);

/// All that a run shows of one invocation.
#[derive(Clone, PartialEq, Default)]
pub struct Trace {
    /// When it was asked for.
    pub asked: Moment,
    /// Attempts, in the order in which they were started.
    pub activations: BTreeMap<Activation, Vec<Attempt>>,
    /// How long activations were to wait whose delays are computed.
    pub delays: BTreeMap<Activation, Delayed>,
    /// When the worker of each node took it up; at once, if there is nothing here.
    pub begun: BTreeMap<NodeId, Moment>,
    /// Nodes for which, at some time, no executor could be started: what had to wait for one has failed unseen.
    pub unserved: BTreeSet<NodeId>,
}

impl Trace {
    /// An attempt is ordered.
    pub fn starts(&mut self, activation: Activation, number: u32, now: Moment, seen: Vec<Datum>) {
        self.activations
            .entry(activation)
            .or_default()
            .push(Attempt {
                number,
                started: now,
                seen,
                ended: None,
            });
    }

    /// An attempt ends.
    ///
    /// # Panics
    /// If it is not under way, which is a mistake of who plays.
    pub fn ends(&mut self, activation: Activation, number: u32, now: Moment, ending: Ending) {
        let attempts = self.activations.get_mut(&activation);
        let attempt = attempts
            .and_then(|attempts| {
                attempts
                    .iter_mut()
                    .rev()
                    .find(|attempt| attempt.number == number && attempt.ended.is_none())
            })
            .unwrap_or_else(|| panic!("attempt {number} of {activation:?} is not under way"));
        attempt.ended = Some((now, ending));
    }

    /// A core asks how long an activation waits.
    ///
    /// # Panics
    /// If it asks again.
    pub fn delay_starts(&mut self, activation: Activation, now: Moment, seen: Vec<Datum>) {
        let delayed = Delayed {
            asked: now,
            seen,
            answer: None,
        };
        let before = self.delays.insert(activation.clone(), delayed);
        assert!(before.is_none(), "{activation:?} waits a second time");
    }

    /// It is told.
    ///
    /// # Panics
    /// If it has not asked, which is a mistake of who plays.
    pub fn delay_ends(&mut self, activation: Activation, answer: DelayAnswer) {
        let delayed = self.delays.get_mut(&activation);
        let delayed = delayed.unwrap_or_else(|| panic!("{activation:?} does not wait"));
        delayed.answer = Some(answer);
    }

    /// The activations whose delays have failed.
    pub fn failed_delays(&self) -> impl Iterator<Item = &Activation> {
        let failed = self.delays.iter().filter(|(_, delayed)| {
            let answer = delayed.answer.as_ref();
            answer.is_some_and(|answer| answer.waits_ns.is_none())
        });
        failed.map(|(activation, _)| activation)
    }

    /// The attempts of all activations of a node, by its items.
    pub fn of_node(&self, node: NodeId) -> impl Iterator<Item = (&[u32], &Vec<Attempt>)> {
        self.activations
            .range((node, Vec::new())..(node + 1, Vec::new()))
            .map(|((_, items), attempts)| (items.as_slice(), attempts))
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "asked in event {}", self.asked.step)?;
        for ((node, items), delayed) in &self.delays {
            let step = delayed.asked.step;
            writeln!(
                f,
                "n{node} of items {items:?} waits from event {step}: {:?}",
                delayed.answer
            )?;
        }
        for ((node, items), attempts) in &self.activations {
            for attempt in attempts {
                let (number, step) = (attempt.number, attempt.started.step);
                write!(f, "n{node} of items {items:?}")?;
                write!(f, " attempt {number} from event {step}")?;
                match &attempt.ended {
                    Some((at, ending)) => writeln!(f, " to {}: {ending:?}", at.step)?,
                    None => writeln!(f, ", unfinished")?,
                }
            }
        }
        Ok(())
    }
}
