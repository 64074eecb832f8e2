//! What a node's outputs may have at most, looked at before anything is set aside for them.

use super::Error;
use crate::binding::{Maximum, NodeBinding};

/// The declared maxima of a node's outputs.
#[derive(Debug)]
pub(super) struct Limits {
    /// By output: its name, and the most that it may have.
    outputs: Vec<(String, Maximum)>,
}

impl Limits {
    /// Those of a node; none if it declares none.
    pub(super) fn of(node: &NodeBinding) -> Option<Self> {
        if !node.maxima.iter().any(Maximum::is_declared) {
            return None;
        }
        let names = node.outputs.iter().map(|port| port.name.clone());
        // An engine that says less than all declares nothing of the rest.
        let maxima = node.maxima.iter().copied();
        let maxima = maxima.chain(std::iter::repeat(Maximum::NONE));
        Some(Self {
            outputs: names.zip(maxima).collect(),
        })
    }

    /// Whether one more payload of so many bytes is within what the output declares; `items` and `bytes_before` are what
    /// a list has so far.
    pub(super) fn check(
        &self,
        output: usize,
        items: u64,
        bytes_before: u64,
        bytes: u64,
    ) -> Result<(), Error> {
        let Some((name, maximum)) = self.outputs.get(output) else {
            return Ok(());
        };
        match maximum.exceeded(items, bytes_before, bytes) {
            None => Ok(()),
            Some(exceeded) => Err(Error::output(format!(
                "output {name} {exceeded}; declare more, or write less"
            ))),
        }
    }

    /// The most bytes that the next payload may have.
    pub(super) fn room(&self, output: usize, bytes_before: u64) -> u64 {
        let Some((_, maximum)) = self.outputs.get(output) else {
            return u64::MAX;
        };
        let left = match maximum.total_bytes {
            u64::MAX => u64::MAX,
            total => total.saturating_sub(bytes_before),
        };
        maximum.bytes.min(left)
    }
}
