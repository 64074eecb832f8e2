//! Which activation a function runs for, and whether it is to stop.

use super::ear::Ear;
use crate::binding::NodeBinding;
use crate::descriptor::{Activate, InvocationId, NO_ITEM};
use crate::told::Cancelled;
use nix::time::{ClockId, clock_gettime};
use std::io::Write as _;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Which activation a function runs for, and whether it is to stop. One is kept for each node, so that an activation only
/// fills in numbers.
///
/// An activation is to stop when nobody wants its result any more: its invocation was cancelled, has failed elsewhere, or
/// has no time left. What the function returns then is dropped, and its executor goes on with the next activation. One that
/// has not returned after a grace period, a second unless its worker has been told otherwise, is killed with its executor.
/// So a function that runs for long asks now and then, which costs one look at memory:
///
/// ```
/// use faasstore::{Call, Error, function};
/// use std::time::Duration;
///
/// fn settle(call: &mut Call) -> Result<(), Error> {
///     let context = call.context();
///     for round in 0..1000 {
///         context.check_cancelled()?; // between two pieces of work
///         context.sleep(Duration::from_millis(round))?; // ends as soon as it is told
///     }
///     call.write("out", b"settled")
/// }
///
/// let settle = function("settle", settle);
/// ```
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
    activation: u32,
    ear: Arc<Ear>,
}

impl Context {
    pub(super) fn new(worker: &str, workflow: &str, node: &NodeBinding, ear: Arc<Ear>) -> Self {
        Self {
            worker: worker.to_owned(),
            workflow: workflow.to_owned(),
            node: node.name.clone(),
            arguments: node.arguments.clone(),
            invocation: InvocationId(0),
            attempt: 0,
            item: None,
            deadline_ns: None,
            activation: 0,
            ear,
        }
    }

    #[inline]
    pub(crate) fn begin(&mut self, activate: &Activate) {
        self.invocation = activate.invocation;
        self.attempt = activate.attempt;
        self.item = (activate.item != NO_ITEM).then_some(activate.item);
        self.deadline_ns = activate.deadline_ns;
        self.activation = activate.activation;
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

    /// Whether this activation is to stop: one load from memory, no system call.
    #[inline]
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled().is_some()
    }

    /// Why this activation is to stop, if it is. Costs what [`Context::is_cancelled`] does.
    #[inline]
    #[must_use]
    pub fn cancelled(&self) -> Option<Cancelled> {
        self.ear.look(self.activation)
    }

    /// As [`Context::cancelled`], for `?` between two pieces of work.
    ///
    /// # Errors
    /// If this activation is to stop.
    #[inline]
    pub fn check_cancelled(&self) -> Result<(), Cancelled> {
        self.cancelled().map_or(Ok(()), Err)
    }

    /// Sleeps for that long, or until this activation is to stop; [`Duration::MAX`] is for ever. The functions of the standard
    /// library sleep on.
    ///
    /// # Errors
    /// If this activation is to stop, at once.
    pub fn sleep(&self, time: Duration) -> Result<(), Cancelled> {
        // Without a deadline if there is none that far in the future.
        let deadline = Instant::now().checked_add(time);
        self.ear.wait(self.activation, deadline).map_or(Ok(()), Err)
    }

    /// A descriptor that is readable once this activation is to stop, for functions that wait for others as well, as by
    /// poll(2). It is not to be read. It may be readable for no reason: where [`Context::cancelled`] says so, ask for it
    /// again, which makes it quiet. The first call starts a thread, which sleeps; each costs a system call.
    ///
    /// # Errors
    /// If the process has no descriptor or no thread left.
    pub fn cancel_descriptor(&self) -> std::io::Result<BorrowedFd<'_>> {
        self.ear.descriptor(self.activation)
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
