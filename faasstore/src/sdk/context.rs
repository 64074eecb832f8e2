//! Which activation a function runs for.

use crate::binding::NodeBinding;
use crate::descriptor::{Activate, InvocationId, NO_ITEM};
use nix::time::{ClockId, clock_gettime};
use std::io::Write as _;
use std::time::Duration;

/// Which activation a function runs for. One is kept for each node, so that an activation only fills in numbers.
#[derive(Debug)]
pub struct Context {
    worker: String,
    workflow: String,
    node: String,
    arguments: Vec<String>,
    invocation: InvocationId,
    attempt: u32,
    item: Option<u32>,
    deadline_ns: Option<u64>,
}

impl Context {
    pub(crate) fn new(worker: &str, workflow: &str, node: &NodeBinding) -> Self {
        Self {
            worker: worker.to_owned(),
            workflow: workflow.to_owned(),
            node: node.name.clone(),
            arguments: node.arguments.clone(),
            invocation: InvocationId(0),
            attempt: 0,
            item: None,
            deadline_ns: None,
        }
    }

    #[inline]
    pub(crate) fn begin(&mut self, activate: &Activate) {
        self.invocation = activate.invocation;
        self.attempt = activate.attempt;
        self.item = (activate.item != NO_ITEM).then_some(activate.item);
        self.deadline_ns = activate.deadline_ns;
    }

    /// The worker's name.
    #[must_use]
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// The workflow's name.
    #[must_use]
    pub fn workflow(&self) -> &str {
        &self.workflow
    }

    /// The node's name.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// What the node tells the function beside its inputs, the same for every activation.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// The invocation, unique for all time on its cluster.
    #[must_use]
    pub fn invocation(&self) -> InvocationId {
        self.invocation
    }

    /// Which attempt at this activation it is, from 1. An earlier one may have had effects outside the graph.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Which item of a foreach it is for, from 0.
    #[must_use]
    pub fn item(&self) -> Option<u32> {
        self.item
    }

    /// When the engine gives the activation up: nanoseconds of CLOCK_MONOTONIC.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        self.deadline_ns
    }

    /// How long until the engine gives the activation up; zero if that time has come. Reads the clock.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let deadline = Duration::from_nanos(self.deadline_ns?);
        // The clock exists on every Linux; if it did not, the deadline would be far.
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        Some(deadline.saturating_sub(now))
    }

    /// Writes one line to standard error, marked with the node and the invocation.
    pub fn log(&self, text: impl std::fmt::Display) {
        let item = self
            .item
            .map_or_else(String::new, |item| format!("[{item}]"));
        let line = format!(
            "{}/{}{item} {}#{}: {text}\n",
            self.workflow, self.node, self.invocation, self.attempt
        );
        // One write, so that lines of several executors do not mix; who closed standard error wants no log.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}
