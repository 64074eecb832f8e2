//! Nodes that stand for others: each runs the synthetic function of `examples/synthetic`, with the run time and the sizes
//! that were recorded of the original.

use super::Options;
use super::draft::{Draft, Feed, Node, Profile, Work};
use crate::definition::keys::{MEMORY_MIB_MAX, PROFILE_BYTES_MAX, SCALE_MAX};
use faasstore::binding::{Kind, VALUE_BYTES_MAX};
use serde_json::{Map, Value, json};

/// The function.
pub(super) const FUNCTION: &str = "synthetic:run";
/// The input that holds what it is told.
pub(super) const PARAMETERS: &str = "parameters";
/// Executors on each worker: what a worker takes for one CPU.
const EXECUTORS: u16 = 2;
/// Memory of an executor beside its payloads, in MiB.
const EXECUTOR_MIB: u64 = 32;
/// Bytes of a MiB.
const MIB: u64 = 1 << 20;

/// What an output holds.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Content {
    /// So many bytes.
    Bytes(u64),
    /// A list of so many items, of so many bytes each.
    Items { items: u64, bytes: u64 },
    /// A value.
    Value(Value),
}

impl Content {
    /// In bytes, without what a list needs beside its items.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => *bytes,
            Self::Items { items, bytes } => items.saturating_mul(*bytes),
            Self::Value(value) => value.to_string().len() as u64,
        }
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::Bytes(_) => Kind::Bytes,
            Self::Items { .. } => Kind::List,
            Self::Value(_) => Kind::Value,
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Bytes(bytes) => json!(bytes),
            Self::Items { items, bytes } => json!({ "items": items, "bytes": bytes }),
            Self::Value(value) => json!({ "value": value }),
        }
    }
}

/// What was recorded of a node.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Recorded {
    /// Of one activation.
    pub(super) runtime_ms: f64,
    /// Whether nobody measured the run time.
    pub(super) placeholder: bool,
    /// By name, of one activation.
    pub(super) outputs: Vec<(String, Content)>,
    /// Activations of one invocation.
    pub(super) activations: u64,
    /// Peak of one activation.
    pub(super) memory_bytes: Option<u64>,
    /// CPUs of one activation.
    pub(super) cpus: Option<f64>,
    /// Containers or the like.
    pub(super) scale: Option<u16>,
}

/// How many nodes were recorded with more, or other, than the language can say, and are changed.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// CPUs that are no whole number in its range.
    cpus: usize,
    /// Bytes of outputs.
    bytes: usize,
}

impl Changed {
    /// What people should know of it.
    pub(super) fn notes(&self) -> Vec<String> {
        let cpus = format!(
            "{} nodes were recorded with CPUs that are not a whole number from 1 to {SCALE_MAX}; theirs are the next that is",
            self.cpus
        );
        let bytes = format!(
            "{} nodes were recorded with outputs of more than {PROFILE_BYTES_MAX} bytes; their profiles say that many",
            self.bytes
        );
        let all = [(self.cpus, cpus), (self.bytes, bytes)];
        let told = all.into_iter().filter(|(count, _)| *count > 0);
        told.map(|(_, note)| note).collect()
    }

    fn cpus(&mut self, recorded: f64) -> u16 {
        // A whole number between 1 and a thousand.
        let cpus = recorded.ceil().clamp(1.0, SCALE_MAX as f64) as u16;
        self.cpus += usize::from(f64::from(cpus) != recorded);
        cpus
    }

    fn bytes(&mut self, recorded: u64) -> u64 {
        self.bytes += usize::from(recorded > PROFILE_BYTES_MAX);
        recorded.min(PROFILE_BYTES_MAX)
    }
}

/// An input of a node.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) feed: Feed,
    /// Whether its bytes may come from something else than a synthetic function, so that they carry no checksum: from a
    /// client, or out of a value.
    pub(super) foreign: bool,
}

/// Makes a node of what was recorded.
pub(super) fn node(
    name: &str,
    inputs: Vec<Input>,
    recorded: &Recorded,
    options: &Options,
    changed: &mut Changed,
) -> Node {
    let mut parameters = Map::new();
    parameters.insert("runtime_ms".to_owned(), whole_or_not(recorded.runtime_ms));
    if options.time_scale != 1.0 {
        parameters.insert("time_scale".to_owned(), whole_or_not(options.time_scale));
    }
    if let Some(bytes) = recorded.memory_bytes.filter(|_| options.recorded_resources) {
        parameters.insert("memory_bytes".to_owned(), json!(bytes));
    }
    let foreign = inputs.iter().filter(|input| input.foreign);
    let foreign: Vec<&str> = foreign.map(|input| input.name.as_str()).collect();
    if !foreign.is_empty() {
        parameters.insert("foreign".to_owned(), json!(foreign));
    }
    let outputs = recorded.outputs.iter();
    let outputs: Map<String, Value> = outputs
        .map(|(name, content)| (name.clone(), content.to_json()))
        .collect();
    if !outputs.is_empty() {
        parameters.insert("outputs".to_owned(), outputs.into());
    }
    let parameters = Value::Object(parameters);
    let text = parameters.to_string();
    let feed = if text.len() <= VALUE_BYTES_MAX {
        Feed::Value(parameters)
    } else {
        Feed::Text(text)
    };
    let mut node = Node::new(name, Work::Function(FUNCTION.to_owned()));
    node.inputs = inputs
        .into_iter()
        .map(|input| (input.name, input.feed))
        .collect();
    node.inputs.push((PARAMETERS.to_owned(), feed));
    node.outputs = recorded
        .outputs
        .iter()
        .map(|(name, content)| (name.clone(), content.kind()))
        .collect();
    let by_output = recorded.outputs.iter().map(|(name, content)| {
        let bytes = content.bytes().saturating_mul(recorded.activations);
        (name.clone(), bytes.min(PROFILE_BYTES_MAX))
    });
    let mut by_output: Vec<(String, u64)> = by_output.collect();
    let bytes = recorded.outputs.iter().map(|(_, content)| content.bytes());
    let bytes = bytes
        .fold(0, u64::saturating_add)
        .saturating_mul(recorded.activations);
    if by_output.len() == 1 {
        by_output.clear();
    }
    node.profile = Some(Profile {
        runtime_ms: recorded.runtime_ms * options.time_scale,
        output_bytes: changed.bytes(bytes),
        by_output,
        items: recorded.activations,
        // It sleeps.
        busy: 0.0,
        peak_mib: match recorded.memory_bytes {
            Some(bytes) if options.recorded_resources => (bytes >> 20) as u32,
            _ => 0,
        },
        placeholder: recorded.placeholder,
    });
    if options.recorded_resources {
        node.resources.cpus = recorded.cpus.map(|cpus| changed.cpus(cpus));
        node.resources.scale = recorded.scale;
    }
    node
}

fn whole_or_not(number: f64) -> Value {
    if number.fract() == 0.0 && number < 1e15 {
        json!(number as u64)
    } else {
        json!(number)
    }
}

/// What is known of the payloads of one node when memory is shared out.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// Bytes of all its outputs.
    pub(super) bytes: u64,
    /// Peak of its own.
    pub(super) memory_bytes: u64,
    /// How many edges lie before it on the longest way.
    pub(super) level: usize,
    /// The level of the last node that reads any of it.
    pub(super) read_until: usize,
}

/// Gives every node that runs the function the memory and executors that it needs of a worker.
///
/// All such nodes share executors, and a payload stays with the executor that wrote it until its last reader has ended. So
/// each executor gets room for its share of what is alive at once if the nodes of a level run together.
pub(super) fn share_memory(draft: &mut Draft, held: &[Held], options: &Options) {
    let levels = held.iter().map(|held| held.level.max(held.read_until));
    let levels = levels.max().map_or(0, |last| last + 1);
    // What appears and goes at each level.
    let mut change = vec![0i128; levels + 1];
    let mut width = vec![0u32; levels + 1];
    for held in held {
        change[held.level] += i128::from(held.bytes);
        change[held.level.max(held.read_until) + 1] -= i128::from(held.bytes);
        width[held.level] += 1;
    }
    let mut alive = 0;
    let peak = change.iter().map(|change| {
        alive += change;
        alive
    });
    let peak_bytes = peak.max().unwrap_or(0).clamp(0, i128::from(u64::MAX)) as u64;
    let wide = width.iter().any(|&width| width > 1)
        || draft.nodes.iter().any(|node| node.foreach.is_some());
    let executors = if wide { EXECUTORS } else { 1 };
    // Executors of at least one worker share it, and not evenly.
    let share_bytes = peak_bytes / u64::from(executors);
    let share_bytes = share_bytes.saturating_add(share_bytes / 4);
    let largest = held.iter().map(|held| {
        let own = if options.recorded_resources {
            held.memory_bytes
        } else {
            0
        };
        held.bytes.saturating_add(own)
    });
    let bytes = largest.max().unwrap_or(0).max(share_bytes);
    let mib = (bytes.div_ceil(MIB) + EXECUTOR_MIB).next_multiple_of(16);
    let mib = mib.min(MEMORY_MIB_MAX) as u32;
    for node in &mut draft.nodes {
        if matches!(node.work, Work::Function(_)) {
            node.resources.memory_mib = Some(mib);
            let scale = node.resources.scale.get_or_insert(executors);
            if *scale == 1 {
                node.resources.scale = None;
            }
        }
    }
}
