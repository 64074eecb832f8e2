//! Parallel states: branches that start together, and the list of what they end with.

use super::cel::{Cel, Reads};
use super::machine::{Machine, State};
use super::template;
use super::translate::{Entry, RESULT, Translator, Way, first_of};
use crate::import::draft::{Feed, Source};

impl Translator<'_> {
    pub(super) fn parallel(
        &mut self,
        state: &State<'_>,
        entry: Entry,
        branches: &[Machine<'_>],
    ) -> Option<Vec<(Option<usize>, Way)>> {
        let base = entry.base();
        let input = self.selected(state, &base)?;
        let input = match state.parameters {
            Some(tree) => {
                let scope = self.scope(state, &input);
                template::template(self.reader, tree, &scope)?
            }
            None => input,
        };
        let start = match entry.sources.as_slice() {
            [only] if input == base => Way {
                source: only.clone(),
                gates: entry.gates.clone(),
                after: entry.after.clone(),
            },
            _ => {
                let name = self
                    .names
                    .identifier(&format!("{}_input", state.name), "state_");
                self.compute(name, &input, &entry, state.span)?
            }
        };
        let own = self.handlers_of(state)?;
        self.try_within(state, &own)?;
        self.around.push(own.clone());
        let ends: Vec<Option<Vec<Way>>> = branches
            .iter()
            .map(|branch| self.machine(branch, vec![start.clone()]))
            .collect();
        self.around.pop();
        self.tried_around.pop();
        let ends: Vec<Vec<Way>> = ends.into_iter().collect::<Option<_>>()?;
        let mut out = Vec::new();
        // A branch that always fails has no result, and then nothing follows.
        if ends.iter().all(|ends| !ends.is_empty()) {
            out.push((state.next, self.joined(state, &entry, ends)?));
        }
        out.extend(self.caught(state, &entry, &own)?);
        Some(out)
    }

    /// The list of what the branches end with.
    fn joined(&mut self, state: &State<'_>, entry: &Entry, ends: Vec<Vec<Way>>) -> Option<Way> {
        let mut items = Vec::with_capacity(ends.len());
        let mut bound: Vec<(String, Feed)> = Vec::new();
        for (place, ends) in ends.into_iter().enumerate() {
            let sources: Vec<Source> = ends.into_iter().map(|way| way.source).collect();
            let read = match sources.as_slice() {
                [only] => only.in_expression(),
                _ => {
                    let name = format!("{RESULT}_{}", place + 1);
                    let name = self.names.identifier(&name, "state_");
                    bound.push((name.clone(), first_of(sources)));
                    name
                }
            };
            items.push(Cel::name(read, Reads::RESULT));
        }
        let output = self.output(state, &entry.base(), &Cel::list(&items))?;
        let way = self.conclude(state, entry, &output, &items)?;
        if let Some(node) = self.draft.nodes.last_mut() {
            node.inputs.extend(bound);
        }
        Some(way)
    }
}
