//! What payloads are said to be: hashes of schemas, by port. docs/types.md says what they are of.

use super::NodeId;
use rkyv::{Archive, Deserialize, Serialize};

/// A port of which somebody says what its payloads are, or the items of its lists.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
pub enum PortRef {
    /// An input of the workflow: what all that read it, and say something, take it for.
    Input(u16),
    /// An output of the workflow: what all that it may come from are.
    Output(u16),
    /// An input of a local node.
    Read {
        /// The node.
        node: NodeId,
        /// Which of its inputs.
        input: u16,
    },
    /// An output of a local node.
    Written {
        /// The node.
        node: NodeId,
        /// Which of its outputs.
        output: u16,
    },
}

/// What the payloads of a port are.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortType {
    /// Which.
    pub port: PortRef,
    /// The hash of their schema; never 0.
    pub schema: u64,
}
