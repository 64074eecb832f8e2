//! The functions and expressions that simulated lanes and the reference interpreter run: pure, and sensitive to every
//! byte that they are given, so that a payload in the wrong place, of the wrong item or of an earlier life shows in the
//! result.

use crate::random::{Random, mix};
use engine::plan::NodeId;
use faasstore::binding::Kind;

/// What a function sees as an input, or a client as an output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Datum {
    /// Nothing: whatever it could have come from was skipped, failed, not given, or not there yet.
    Absent,
    /// Bytes.
    One(Vec<u8>),
    /// A list of bytes; an item that is not there is none.
    List(Vec<Option<Vec<u8>>>),
}

/// Bytes that a function returns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Made {
    /// Written by it.
    Fresh(Vec<u8>),
    /// Part of one of its inputs, passed on.
    Part {
        /// Which input.
        input: u16,
        /// Which item, if that is a list.
        item: Option<u32>,
        /// First byte within it.
        offset: u64,
        /// Bytes.
        length: u64,
    },
}

/// An output that a function returns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MadeOutput {
    /// Bytes.
    One(Made),
    /// A list.
    List(Vec<Made>),
}

impl MadeOutput {
    /// Writes anew what it passes on of these inputs.
    pub fn copy(&mut self, inputs: &[Datum]) {
        let all = match self {
            Self::One(made) => std::slice::from_mut(made),
            Self::List(items) => items,
        };
        for made in all {
            *made = Made::Fresh(bytes_of(made, inputs));
        }
    }
}

/// Items that a list output has at most.
pub const LIST_ITEMS_MAX: usize = 5;
/// Bytes that a function writes into one payload at most.
pub const FRESH_BYTES_MAX: usize = 24;

/// What `node` of the workflow with this `salt` returns, for one item or for none.
#[must_use]
pub fn compute(
    salt: u64,
    node: NodeId,
    item: Option<u32>,
    inputs: &[Datum],
    outputs: &[Kind],
) -> Vec<MadeOutput> {
    let mut choices = choices(salt, node, item, inputs);
    let inputs = Some(inputs);
    outputs
        .iter()
        .map(|kind| output(&mut choices, *kind, inputs))
        .collect()
}

/// What the expressions of `node` give: as [`compute`], but all of it is new.
#[must_use]
pub fn evaluate(salt: u64, node: NodeId, inputs: &[Datum], outputs: &[Kind]) -> Vec<Datum> {
    let mut choices = choices(salt, node, None, inputs);
    outputs
        .iter()
        .map(|kind| datum_of(&output(&mut choices, *kind, None), &[]))
        .collect()
}

/// Which of its `cases` the switch `node` chooses.
///
/// # Panics
/// If it has none.
#[must_use]
pub fn choose(salt: u64, node: NodeId, inputs: &[Datum], cases: usize) -> u16 {
    choices(salt, node, None, inputs).below(cases) as u16
}

/// An output, with its bytes.
///
/// # Panics
/// If it names a part that the inputs do not have.
#[must_use]
pub fn datum_of(output: &MadeOutput, inputs: &[Datum]) -> Datum {
    match output {
        MadeOutput::One(made) => Datum::One(bytes_of(made, inputs)),
        MadeOutput::List(items) => {
            let bytes = items.iter().map(|item| Some(bytes_of(item, inputs)));
            Datum::List(bytes.collect())
        }
    }
}

fn choices(salt: u64, node: NodeId, item: Option<u32>, inputs: &[Datum]) -> Random {
    let place = u64::from(node) << 32 | item.map_or(0, |item| u64::from(item) + 1);
    Random::new(inputs.iter().fold(mix(salt ^ mix(place)), absorb))
}

fn output(choices: &mut Random, kind: Kind, inputs: Option<&[Datum]>) -> MadeOutput {
    match kind {
        Kind::Bytes | Kind::Value => MadeOutput::One(make(choices, inputs)),
        Kind::List => {
            let items = choices.below(LIST_ITEMS_MAX + 1);
            MadeOutput::List((0..items).map(|_| make(choices, inputs)).collect())
        }
    }
}

/// The bytes that were made.
///
/// # Panics
/// If `made` names a part that the inputs do not have.
#[must_use]
pub fn bytes_of(made: &Made, inputs: &[Datum]) -> Vec<u8> {
    match made {
        Made::Fresh(bytes) => bytes.clone(),
        Made::Part {
            input,
            item,
            offset,
            length,
        } => {
            let whole = match (&inputs[usize::from(*input)], item) {
                (Datum::One(bytes), None) => bytes,
                (Datum::List(items), Some(item)) => match &items[*item as usize] {
                    Some(bytes) => bytes,
                    None => panic!("a part of an item that is not there"),
                },
                _ => panic!("a part of an input of another kind"),
            };
            whole[*offset as usize..][..*length as usize].to_vec()
        }
    }
}

fn absorb(seed: u64, datum: &Datum) -> u64 {
    let bytes = |seed: u64, bytes: &[u8]| {
        bytes
            .iter()
            .fold(mix(seed ^ bytes.len() as u64), |seed, byte| {
                mix(seed ^ u64::from(*byte))
            })
    };
    match datum {
        Datum::Absent => mix(seed ^ u64::MAX),
        Datum::One(one) => bytes(seed, one),
        Datum::List(items) => items
            .iter()
            .fold(mix(!seed ^ items.len() as u64), |seed, item| match item {
                Some(item) => bytes(seed, item),
                None => mix(seed ^ u64::MAX),
            }),
    }
}

fn make(choices: &mut Random, inputs: Option<&[Datum]>) -> Made {
    if let Some(inputs) = inputs
        && choices.chance(250)
        && let Some(part) = part(choices, inputs)
    {
        return part;
    }
    let length = choices.below(FRESH_BYTES_MAX + 1);
    Made::Fresh((0..length).map(|_| choices.bits() as u8).collect())
}

fn part(choices: &mut Random, inputs: &[Datum]) -> Option<Made> {
    if inputs.is_empty() {
        return None;
    }
    let input = choices.below(inputs.len());
    let (item, bytes) = match &inputs[input] {
        Datum::Absent => return None,
        Datum::One(bytes) => (None, bytes),
        Datum::List(items) if items.is_empty() => return None,
        Datum::List(items) => {
            let item = choices.below(items.len());
            (Some(item as u32), items[item].as_ref()?)
        }
    };
    let offset = choices.below(bytes.len() + 1);
    let length = choices.below(bytes.len() - offset + 1);
    Some(Made::Part {
        input: input as u16,
        item,
        offset: offset as u64,
        length: length as u64,
    })
}
