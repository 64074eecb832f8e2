//! The workflow that is measured: a chain of stamping nodes, and behind it one node for every executor that brings home
//! what it has recorded. Every second step of it may lead through a switch.
//!
//! Written as a definition and deployed like anyone's, so that what is measured is what users get.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Which function the nodes run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Stamp and pass on.
    Stamp,
    /// Sum every byte of the payload, then stamp and pass on.
    StampAndRead,
    /// Stamp and pass on, and say a value, by which a switch behind every second node leads on to the next one.
    StampAndChoose,
}

impl Work {
    const fn function(self) -> &'static str {
        match self {
            Self::Stamp => "stamp",
            Self::StampAndRead => "stamp_and_read",
            Self::StampAndChoose => "stamp_and_choose",
        }
    }

    /// Whether the hop of that number, from 0, leads through a switch.
    #[must_use]
    pub const fn is_switched(self, hop: usize) -> bool {
        matches!(self, Self::StampAndChoose) && hop % 2 == 1
    }
}

/// A chain of nodes that visits its stops in turn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chain {
    /// The workflow's name.
    pub name: String,
    /// Nodes, without those that collect; at least 2.
    pub nodes: usize,
    /// What each does.
    pub work: Work,
    /// Where node 0, 1, ... run, over and over: an executable and, to choose among several workers, a worker's name.
    pub stops: Vec<Stop>,
    /// Memory for each executor, in MiB.
    pub memory_mib: u32,
}

/// An executor on the chain's way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stop {
    /// Name of the executable.
    pub executable: String,
    /// Name of the worker, where there are several.
    pub worker: Option<String>,
}

/// The workflow's one input.
pub const INPUT: &str = "payload";

/// The name of the output with what the executor at stop `stop` has recorded.
#[must_use]
pub fn collection_output(stop: usize) -> String {
    format!("collection{stop}")
}

impl Chain {
    /// Hops of one invocation: from each node to the next one.
    #[must_use]
    pub const fn hops(&self) -> u64 {
        self.nodes as u64 - 1
    }

    /// Activations of one invocation, those that collect included.
    #[must_use]
    pub const fn activations(&self) -> u64 {
        (self.nodes + self.stops.len()) as u64
    }

    /// Nodes that become ready in one invocation: activations, and switches, which need no executor.
    #[must_use]
    pub const fn triggers(&self) -> u64 {
        let switches = match self.work {
            Work::Stamp | Work::StampAndRead => 0,
            Work::StampAndChoose => self.hops() / 2,
        };
        self.activations() + switches
    }

    /// The definition.
    #[must_use]
    pub fn definition(&self) -> String {
        let mut text = String::new();
        let mut line = |depth: usize, args: std::fmt::Arguments<'_>| {
            let _ = writeln!(text, "{:indent$}{args}", "", indent = 2 * depth); // a String takes anything
        };
        let (function, memory_mib) = (self.work.function(), self.memory_mib);
        line(0, format_args!("workflow: {}", self.name));
        line(0, format_args!("input:"));
        line(1, format_args!("{INPUT}: bytes"));
        line(0, format_args!("nodes:"));
        let mut source = format!("input.{INPUT}");
        for node in 0..self.nodes {
            let executable = &self.stops[node % self.stops.len()].executable;
            line(1, format_args!("hop{node}:"));
            line(2, format_args!("function: {executable}:{function}"));
            line(2, format_args!("input: {{ payload: {source} }}"));
            let choice = match self.work {
                Work::Stamp | Work::StampAndRead => "",
                Work::StampAndChoose => ", go: value",
            };
            line(2, format_args!("output: {{ payload: bytes{choice} }}"));
            line(
                2,
                format_args!("resources: {{ memory_mib: {memory_mib}, scale: 1 }}"),
            );
            if self.work.is_switched(node) && node + 1 < self.nodes {
                line(1, format_args!("switch{node}:"));
                line(2, format_args!("switch:"));
                let then = node + 1;
                line(
                    3,
                    format_args!("- {{ when: \"hop{node}.go > 0\", then: hop{then} }}"),
                );
            }
            source = format!("hop{node}.payload");
        }
        for (number, stop) in self.stops.iter().enumerate() {
            line(1, format_args!("collect{number}:"));
            line(2, format_args!("function: {}:collect", stop.executable));
            line(2, format_args!("output: {{ collection: bytes }}"));
            line(2, format_args!("after: [hop{}]", self.nodes - 1));
            line(
                2,
                format_args!("resources: {{ memory_mib: {memory_mib}, scale: 1 }}"),
            );
        }
        line(0, format_args!("output:"));
        for number in 0..self.stops.len() {
            line(
                1,
                format_args!("{}: collect{number}.collection", collection_output(number)),
            );
        }
        text
    }

    /// Which node must run on which worker.
    #[must_use]
    pub fn placement(&self) -> BTreeMap<String, String> {
        let hops = (0..self.nodes)
            .map(|node| (format!("hop{node}"), &self.stops[node % self.stops.len()]));
        let collects = self
            .stops
            .iter()
            .enumerate()
            .map(|(number, stop)| (format!("collect{number}"), stop));
        hops.chain(collects)
            .filter_map(|(node, stop)| Some((node, stop.worker.clone()?)))
            .collect()
    }
}
