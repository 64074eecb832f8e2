//! How states are reached: where their input comes from, and what decides that they run.
//!
//! A [`Way`] is how a state may be reached: a source that holds its input, and the cases of switches that lead there. In one
//! run at most one way into a state is taken. [`Entry`] is what all ways into a state come to: its sources are live exactly
//! if their way is taken, unless gates decide.

use super::cel::{Cel, Reads};
use super::translate::{OUTPUT, STATE, Translator};
use crate::definition::Span;
use crate::import::draft::{Feed, Source};
use std::collections::HashMap;

/// A case that leads to a state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Gate {
    /// The switch, by its place in the draft.
    pub(super) switch: usize,
    /// Its case; none for the default.
    pub(super) case: Option<usize>,
}

/// One way into a state.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// What holds the state's input.
    pub(super) source: Source,
    /// One of these cases leads there; none if the source alone decides.
    pub(super) gates: Vec<Gate>,
    /// Nodes that must have ended though nothing comes from them.
    pub(super) after: Vec<String>,
}

impl Way {
    /// The way on which nothing but its source decides.
    pub(super) fn from(source: Source) -> Self {
        Self {
            source,
            gates: Vec::new(),
            after: Vec::new(),
        }
    }
}

/// All ways into a state.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// What holds its input: the first that is live.
    pub(super) sources: Vec<Source>,
    pub(super) gates: Vec<Gate>,
    pub(super) after: Vec<String>,
}

impl Entry {
    /// How expressions name the state's input.
    pub(super) fn base(&self) -> Cel {
        match self.sources.as_slice() {
            [only] => Cel::name(only.in_expression(), Reads::STATE),
            _ => Cel::name(STATE, Reads::STATE),
        }
    }

    /// The sources as what feeds an input.
    pub(super) fn feed(&self) -> Feed {
        first_of(self.sources.clone())
    }

    /// The nodes that the state's input may come from, and those that are waited for anyway.
    pub(super) fn producers(&self) -> Vec<String> {
        let producer = |source: &Source| match source {
            Source::Output { node, .. } | Source::SameItem { node, .. } => Some(node.clone()),
            Source::Input(_) | Source::Item | Source::Constant(_) => None,
        };
        let mut all: Vec<String> = self.sources.iter().filter_map(producer).collect();
        all.extend(self.after.iter().cloned());
        all
    }
}

/// What the first of these that is live feeds.
pub(super) fn first_of(sources: Vec<Source>) -> Feed {
    Feed::From {
        first_of: sources,
        default: None,
        optional: false,
    }
}

impl Translator<'_> {
    /// An output of a node: within a Map, that of the same item.
    pub(super) fn source(&self, node: &str, output: &str) -> Source {
        let (node, output) = (node.to_owned(), output.to_owned());
        if self.maps.is_empty() {
            Source::Output { node, output }
        } else {
            Source::SameItem { node, output }
        }
    }

    /// The way of which a node's output is the only sign.
    pub(super) fn way(&self, node: &str) -> Way {
        Way::from(self.source(node, OUTPUT))
    }

    /// Whether a node that does not read its state's input must name it all the same. Outside of Maps it can wait for what
    /// the input comes from; but two foreach nodes run for the same items only if one reads from the other.
    pub(super) fn is_tied(&self, entry: &Entry) -> bool {
        !self.maps.is_empty() && entry.sources != [Source::Item]
    }

    /// The expression of the first node of a state, which runs for the items that the state is reached for.
    pub(super) fn tied(&self, cel: &Cel, entry: &Entry) -> Cel {
        if !cel.reads().state && self.is_tied(entry) {
            cel.having(&[entry.base()])
        } else {
            cel.clone()
        }
    }

    /// What all ways into a state come to. Ways that switches decide get a node of their own where others lead there too:
    /// a node behind a case runs for the case alone.
    pub(super) fn entry(&mut self, name: &str, ways: Vec<Way>) -> Entry {
        let after: Vec<String> = ways.iter().flat_map(|way| way.after.clone()).collect();
        let alike = ways
            .iter()
            .all(|way| !way.gates.is_empty() && way.source == ways[0].source);
        if let [only] = ways.as_slice() {
            return Entry {
                sources: vec![only.source.clone()],
                gates: only.gates.clone(),
                after,
            };
        }
        if alike {
            return Entry {
                sources: ways.iter().take(1).map(|way| way.source.clone()).collect(),
                gates: ways.iter().flat_map(|way| way.gates.clone()).collect(),
                after,
            };
        }
        // Cases of one switch that lead to a state bring the same.
        let mut together: Vec<Way> = Vec::new();
        let mut places = HashMap::new();
        for way in ways {
            if way.gates.is_empty() {
                together.push(way);
                continue;
            }
            match places.get(&way.source) {
                Some(place) => {
                    let same: &mut Way = &mut together[*place];
                    same.gates.extend(way.gates);
                }
                None => {
                    places.insert(way.source.clone(), together.len());
                    together.push(way);
                }
            }
        }
        let mut sources = Vec::new();
        for way in together {
            if way.gates.is_empty() {
                sources.push(way.source);
                continue;
            }
            let entry = Entry {
                sources: vec![way.source],
                gates: way.gates,
                after: Vec::new(),
            };
            // It is a name alone, and no too long expression.
            if let Some(way) = self.through(&format!("to_{name}"), &entry) {
                sources.push(way.source);
            }
        }
        Entry {
            sources,
            gates: Vec::new(),
            after,
        }
    }

    /// A node that passes a state's input on.
    pub(super) fn through(&mut self, name: &str, entry: &Entry) -> Option<Way> {
        let node = self.names.identifier(name, "state_");
        self.compute(node, &entry.base(), entry, Span::default())
    }
}
