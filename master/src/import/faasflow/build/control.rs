//! What a step follows beside its data.
//!
//! An edge of data or of `after` counts as live for any node that ended well, so that data from before a branch would start a
//! step behind it, whichever way was taken. Where that could be, the step gets an input that is there only if one of its ways
//! was taken.

use super::super::sources::Alternatives;
use super::super::steps::Kind;
use super::Builder;
use crate::import::draft::{Feed, Formula, Node, Source, Work};

/// The output of a node that says no more than that it ran.
const DONE: &str = "done";

impl Builder<'_> {
    /// Puts a node between a switch and a step that other ways lead to as well, any of which may be skipped: the step runs
    /// when one of them does.
    pub(super) fn replace_gates(&mut self, index: usize) {
        let step = &self.steps.steps[index];
        let skippable = step
            .flows
            .iter()
            .any(|&flow| self.steps.may_be_skipped[flow]);
        if step.gates.is_empty() || !skippable {
            return;
        }
        for &switch in &step.gates {
            let wanted = format!("{}_{}", self.step_names[switch], self.step_names[index]);
            let name = self.node_names.name(&wanted, "node_");
            let mut node = done(&name);
            node.comments.push(format!(
                "one way to {}, which runs when any of its ways is taken",
                self.step_names[index]
            ));
            self.gates.insert((switch, index), name);
            self.hidden.push((switch, node));
        }
    }

    /// What a step follows beside its data: an input that is there when one of the ways to it was taken, where its data does
    /// not tell; and the nodes that it waits for.
    pub(super) fn control(
        &mut self,
        index: usize,
        read: &[Alternatives],
    ) -> (Option<Feed>, Vec<String>) {
        let steps = self.steps;
        let step = &steps.steps[index];
        let mut ways: Vec<Source> = step
            .gates
            .iter()
            .filter_map(|&switch| self.gates.get(&(switch, index)))
            .map(|node| Source::output(node, DONE))
            .collect();
        let replaced = !ways.is_empty();
        let all_may = step.flows.iter().all(|&flow| steps.may_be_skipped[flow]);
        let told = || {
            let mut required = read.iter().filter(|found| self.is_certain(found, index));
            required.any(|found| {
                found.iter().all(|&from| {
                    self.step_of(from)
                        .is_some_and(|source| steps.decides(source, index))
                })
            })
        };
        let asked =
            replaced || step.gates.is_empty() && !step.flows.is_empty() && all_may && !told();
        let (mut waits, mut asks) = (Vec::new(), Vec::new());
        for &flow in &step.flows {
            if asked && steps.may_be_skipped[flow] {
                asks.push(flow);
            } else if !read
                .iter()
                .flatten()
                .any(|&from| self.step_of(from) == Some(flow))
            {
                waits.push(self.step_names[flow].clone());
            }
        }
        ways.extend(asks.into_iter().map(|flow| self.trigger(flow)));
        let feed = (!ways.is_empty()).then_some(Feed::From {
            first_of: ways,
            default: None,
            optional: false,
        });
        (feed, waits)
    }

    /// A value that is there when a step ran.
    fn trigger(&mut self, step: usize) -> Source {
        if let Some(source) = self.triggers.get(&step) {
            return source.clone();
        }
        let name = &self.step_names[step];
        let source = if self.steps.steps[step].kind == Kind::Pass {
            Source::output(name, DONE)
        } else {
            let hidden = self.node_names.name(&format!("{name}_{DONE}"), "node_");
            let mut node = done(&hidden);
            node.after.push(name.clone());
            let source = Source::output(&hidden, DONE);
            self.hidden.push((step, node));
            source
        };
        self.triggers.insert(step, source.clone());
        source
    }
}

/// A node that says that it ran.
pub(super) fn done(name: &str) -> Node {
    let formula = Formula::Value("true".to_owned());
    Node::new(name, Work::Compute(vec![(DONE.to_owned(), formula)]))
}
