//! What an engine and an executor tell each other once, over their Unix socket, before the rings are used.
//!
//! Each message is one datagram of a `SOCK_SEQPACKET` socket: an rkyv archive, validated on arrival, with the file
//! descriptors that it names. See docs/layout.md, "The executor's socket".

use crate::segment::HugePages;
use rkyv::{Archive, Deserialize, Serialize};

/// Version of the shared-memory ABI: rings, slots, tables and these messages. A mismatch is refused by name.
pub const ABI_VERSION: u32 = 3;

/// Name of the environment variable that tells an executable that a worker started it; its value is the worker's
/// process id. Standard input is then the executor's Unix socket.
pub const WORKER_PID_VARIABLE: &str = "FAASFLOW_WORKER_PID";

/// Longest value, as JSON, in bytes: conditions copy it before they read it.
pub const VALUE_BYTES_MAX: usize = 4096;

/// Longest payload, in bytes: 16 GiB. So long may one of raw bytes be, and all items of a list together where they travel as one.
pub const PAYLOAD_BYTES_MAX: u64 = 16 << 30;

/// Longest archive, in bytes: what the 32-bit relative pointers of one can span.
pub const TYPED_BYTES_MAX: u64 = i32::MAX as u64;

/// How a reader waits for a ring.
#[derive(
    Archive,
    Serialize,
    Deserialize,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum WaitStrategy {
    /// Poll for ever: the lowest latency, a CPU of its own.
    Spin,
    /// Poll within a budget, then park.
    #[default]
    Adaptive,
    /// Park at once.
    Park,
}

/// What kind of thing a name of a workflow stands for.
#[derive(
    Archive,
    Serialize,
    Deserialize,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Bytes: raw, or an rkyv archive.
    Bytes,
    /// A list of bytes, each item a range of its own.
    List,
    /// A small JSON value.
    Value,
}

/// A named input or output of a node.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// As in the definition.
    pub name: String,
    /// What the function sees.
    pub kind: Kind,
}

/// The most that an output, or an input of a workflow, may have, as its definition declares it.
#[derive(
    Archive,
    Serialize,
    Deserialize,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Maximum {
    /// Bytes of the payload; of a list, of each item. `u64::MAX` if nothing is declared.
    pub bytes: u64,
    /// Items of a list. `u64::MAX` if nothing is declared.
    pub items: u64,
    /// Bytes of all items of a list together. `u64::MAX` if nothing is declared.
    pub total_bytes: u64,
}

impl Maximum {
    /// Nothing is declared.
    pub const NONE: Self = Self {
        bytes: u64::MAX,
        items: u64::MAX,
        total_bytes: u64::MAX,
    };

    /// Whether an item of so many bytes exceeds this, behind so many others that have so many bytes together; what it
    /// exceeds, for people. Of what is no list, `items` and `bytes_before` are 0.
    #[must_use]
    pub fn exceeded(&self, items: u64, bytes_before: u64, bytes: u64) -> Option<Exceeded> {
        if items >= self.items {
            return Some(Exceeded::Items {
                items: items + 1,
                max: self.items,
            });
        }
        if bytes > self.bytes {
            return Some(Exceeded::Bytes {
                bytes,
                max: self.bytes,
                item: (self.items != u64::MAX || self.total_bytes != u64::MAX).then_some(items),
            });
        }
        let total = bytes_before.saturating_add(bytes);
        (total > self.total_bytes).then_some(Exceeded::Total {
            bytes: total,
            max: self.total_bytes,
        })
    }

    /// What a payload of that kind may keep in memory: whole multiples of 64 bytes, item by item. None if that is not
    /// declared.
    #[must_use]
    pub fn held_bytes(&self, kind: Kind) -> Option<u64> {
        let range = |bytes: u64| bytes.div_ceil(64).saturating_mul(64);
        let known = |most: u64| (most != u64::MAX).then_some(most);
        match kind {
            Kind::Bytes => known(self.bytes).map(range),
            Kind::Value => Some(range(self.bytes.min(VALUE_BYTES_MAX as u64))),
            Kind::List => {
                let items = known(self.items)?;
                let each = known(self.bytes).map(|bytes| range(bytes).saturating_mul(items));
                // An item has a byte at least, if it takes any memory.
                let rounding = |total: u64| items.min(total).saturating_mul(63);
                let total =
                    known(self.total_bytes).map(|total| total.saturating_add(rounding(total)));
                each.into_iter().chain(total).min()
            }
        }
    }

    /// The most bytes that one item of a list may have; `u64::MAX` if that is not declared.
    #[must_use]
    pub fn item_bytes(&self) -> u64 {
        self.bytes.min(self.total_bytes)
    }

    /// Whether anything is declared.
    #[must_use]
    pub fn is_declared(&self) -> bool {
        *self != Self::NONE
    }
}

impl Default for Maximum {
    fn default() -> Self {
        Self::NONE
    }
}

/// Which declared maximum is exceeded, and by what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exceeded {
    /// A payload has so many bytes.
    Bytes {
        /// Its bytes.
        bytes: u64,
        /// As many as it may have.
        max: u64,
        /// Of a list, which item it is.
        item: Option<u64>,
    },
    /// A list has so many items.
    Items {
        /// Its items.
        items: u64,
        /// As many as it may have.
        max: u64,
    },
    /// The items of a list have so many bytes together.
    Total {
        /// Their bytes.
        bytes: u64,
        /// As many as they may have.
        max: u64,
    },
}

impl std::fmt::Display for Exceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes { bytes, max, item } => {
                write!(f, "has {bytes} bytes")?;
                if let Some(item) = item {
                    write!(f, " in item {item}")?;
                }
                write!(f, ", above its max_bytes of {max}")
            }
            Self::Items { items, max } => {
                write!(f, "has {items} items, above its max_items of {max}")
            }
            Self::Total { bytes, max } => write!(
                f,
                "has {bytes} bytes in all items together, above its max_total_bytes of {max}"
            ),
        }
    }
}

/// One node that an executor may be asked to run.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct NodeBinding {
    /// The number by which requests name it.
    pub node: u32,
    /// As in the definition.
    pub name: String,
    /// The function's name within the executable.
    pub function: String,
    /// What the function is told beside its inputs; of a command, its words.
    pub arguments: Vec<String>,
    /// In the order in which requests list them.
    pub inputs: Vec<Port>,
    /// In the order in which completions list them.
    pub outputs: Vec<Port>,
    /// The most that each output may have, in their order; none if none declares anything.
    pub maxima: Vec<Maximum>,
}

/// The engine's first message: descriptors are, in order, the segment that the engine writes and the eventfd that
/// wakes its lane.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Welcome {
    /// [`ABI_VERSION`] of the engine. It stays the first field in every version.
    pub abi_version: u32,
    /// The worker's name.
    pub worker: String,
    /// The workflow that this executor belongs to.
    pub workflow: String,
    /// CPUs that the executor binds itself to.
    pub cpus: Vec<u32>,
    /// How it waits for requests.
    pub wait: WaitStrategy,
    /// How long it polls before it parks, in nanoseconds; counts for [`WaitStrategy::Adaptive`] alone.
    pub spin_budget_ns: u64,
    /// Bytes of an ordinary segment of its arena.
    pub segment_bytes: u64,
    /// Bytes that all segments of its arena together may have.
    pub arena_bytes_max: u64,
    /// Which huge pages it may take for them.
    pub huge_pages: HugePages,
    /// The nodes that it may be asked to run; none of an executable that is only to describe itself.
    pub nodes: Vec<NodeBinding>,
}

/// The executor's answer to [`Welcome`]; its one descriptor is the segment that the executor writes; a refusal
/// has none.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// [`ABI_VERSION`] of the executor. It stays the first field in every version.
    pub abi_version: u32,
    /// Its functions.
    pub functions: Vec<FunctionDescription>,
    /// Set when the executor cannot serve: text for people, ending its part.
    pub refusal: Option<String>,
}

/// A function, as its executable describes it.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct FunctionDescription {
    /// Its name within the executable.
    pub name: String,
    /// The inputs that it says something of.
    pub inputs: Vec<TypedPort>,
    /// The outputs that it says something of.
    pub outputs: Vec<TypedPort>,
}

/// What the payloads of an input or output hold.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct TypedPort {
    /// Which, by the name that nodes give it; none of a function that has one alone, whatever it is called.
    pub port: Option<String>,
    /// The text of a [`Schema`](crate::schema::Schema): of the payload, or of each item of a list.
    pub schema: String,
}

impl FunctionDescription {
    /// What it says of the input of that name.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&str> {
        of_port(&self.inputs, name)
    }

    /// What it says of the output of that name.
    #[must_use]
    pub fn output(&self, name: &str) -> Option<&str> {
        of_port(&self.outputs, name)
    }
}

fn of_port<'a>(ports: &'a [TypedPort], name: &str) -> Option<&'a str> {
    let is_it = |port: &&TypedPort| port.port.as_deref().is_none_or(|port| port == name);
    ports.iter().find(is_it).map(|port| port.schema.as_str())
}

/// Segments that the other side is about to be told of, with a descriptor each, in this order. There are as many in one
/// message as descriptors may travel with it, since a socket holds few messages and its reader may be late.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Announce {
    /// Which.
    pub segments: Vec<Announced>,
}

/// A segment of an [`Announce`].
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announced {
    /// From an executor: the index in its arena. From the engine: the slot in the engine's table.
    pub segment: u32,
    /// Which of the segments that had that index or slot.
    pub generation: u32,
}
