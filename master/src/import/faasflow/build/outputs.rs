//! The outputs of the workflow.

use super::super::sources::{Alternatives, From};
use super::super::steps::Kind;
use super::Builder;
use crate::definition::Spanned;
use crate::import::draft::Feed;
use crate::import::names::Names;
use crate::import::read::Reader;
use rustc_hash::FxHashMap;

impl Builder<'_> {
    pub(super) fn outputs(&mut self, reader: &mut Reader) -> Vec<(String, Feed)> {
        let end = self.levels.iter().max().copied().unwrap_or(0);
        let mut found: Vec<(String, Alternatives)> = Vec::new();
        for port in &self.flat.outputs {
            if let Some(Spanned { value, span }) = &port.value {
                let alternatives = self.sources.find(reader, value, *span, None);
                let alternatives =
                    self.of_one_kind(alternatives.unwrap_or_default(), &value.parameter);
                found.push((port.name.value.clone(), alternatives));
            }
        }
        if self.flat.outputs.is_empty() {
            found = self.last_outputs();
        }
        let mut names = Names::default();
        let mut outputs = Vec::new();
        for (name, alternatives) in found {
            let sure = alternatives.iter().any(|&from| {
                self.step_of(from)
                    .is_none_or(|step| !self.steps.may_be_skipped[step])
            });
            for &from in &alternatives {
                if let Some(step) = self.step_of(from) {
                    self.held[step].read_until = end;
                }
            }
            let feed = Feed::From {
                first_of: alternatives.iter().map(|&from| self.source(from)).collect(),
                default: None,
                optional: !sure,
            };
            outputs.push((names.name(&name, "key_"), feed));
        }
        outputs
    }

    /// All outputs of the functions that nothing follows.
    fn last_outputs(&self) -> Vec<(String, Alternatives)> {
        let mut followed = vec![false; self.steps.steps.len()];
        for step in &self.steps.steps {
            step.flows
                .iter()
                .chain(&step.gates)
                .for_each(|&before| followed[before] = true);
        }
        let last = self.steps.steps.iter().enumerate();
        let last = last.filter(|(index, step)| !followed[*index] && step.kind == Kind::Code);
        let outputs = last.flat_map(|(_, step)| {
            let function = &self.flat.functions[step.function];
            let ports = function.outputs.iter().enumerate();
            ports.map(|(output, port)| {
                let from = From::Output {
                    function: step.function,
                    output,
                };
                (function.name.value.as_str(), port.name.value.as_str(), from)
            })
        });
        let outputs: Vec<_> = outputs.collect();
        let mut counts: FxHashMap<&str, usize> = FxHashMap::default();
        outputs
            .iter()
            .for_each(|(_, port, _)| *counts.entry(port).or_default() += 1);
        let named = outputs.iter().map(|&(function, port, from)| {
            let alone = counts.get(port) == Some(&1);
            let name = if alone {
                port.to_owned()
            } else {
                format!("{function}_{port}")
            };
            (name, vec![from])
        });
        named.collect()
    }
}
