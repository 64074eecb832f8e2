//! The reference: what a workflow means, without placement, order, memory or failure. Slow, and obviously right.

use crate::functions::{Datum, MadeOutput, bytes_of, compute};
use crate::workflow::Workflow;
use engine::plan::{NodeId, Source};
use faasstore::descriptor::NO_ITEM;
use std::collections::BTreeSet;

/// What an invocation must come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    /// By the number of the workflow output.
    pub outputs: Vec<Datum>,
    /// Each activation that must end well exactly once: node and item, or [`NO_ITEM`].
    pub activations: BTreeSet<(NodeId, u32)>,
}

/// Runs the nodes one after the other, in the order of their numbers, which is a topological one.
///
/// # Panics
/// If the workflow is not whole.
#[must_use]
pub fn interpret(workflow: &Workflow, inputs: &[Datum]) -> Expected {
    let mut made: Vec<Vec<Datum>> = Vec::new();
    let mut activations = BTreeSet::new();
    for (number, node) in workflow.nodes.iter().enumerate() {
        let id = number as NodeId;
        let value = |source: Source, item: Option<&Vec<u8>>| match source {
            Source::Input(input) => inputs[usize::from(input)].clone(),
            Source::Output { node, output } => made[node as usize][usize::from(output)].clone(),
            Source::Item => Datum::One(item.expect("an item outside a foreach").clone()),
            Source::Constant(_) => panic!("a constant that there is not"),
        };
        let run = |item: Option<(u32, &Vec<u8>)>| -> Vec<Datum> {
            let inputs: Vec<Datum> = node
                .inputs
                .iter()
                .map(|source| value(*source, item.map(|i| i.1)))
                .collect();
            compute(workflow.salt, id, item.map(|i| i.0), &inputs, &node.outputs)
                .iter()
                .map(|output| match output {
                    MadeOutput::One(made) => Datum::One(bytes_of(made, &inputs)),
                    MadeOutput::List(items) => {
                        Datum::List(items.iter().map(|i| bytes_of(i, &inputs)).collect())
                    }
                })
                .collect()
        };
        let outputs = match node.foreach {
            None => {
                activations.insert((id, NO_ITEM));
                run(None)
            }
            Some(source) => {
                let Datum::List(items) = value(source, None) else {
                    panic!("foreach over what is no list")
                };
                let mut gathered = vec![Vec::new(); node.outputs.len()];
                for (index, item) in items.iter().enumerate() {
                    activations.insert((id, index as u32));
                    for (output, one) in gathered.iter_mut().zip(run(Some((index as u32, item)))) {
                        let Datum::One(bytes) = one else {
                            panic!("a list within a list")
                        };
                        output.push(bytes);
                    }
                }
                gathered.into_iter().map(Datum::List).collect()
            }
        };
        made.push(outputs);
    }
    let outputs = workflow
        .outputs
        .iter()
        .map(|source| match *source {
            Source::Input(input) => inputs[usize::from(input)].clone(),
            Source::Output { node, output } => made[node as usize][usize::from(output)].clone(),
            Source::Item | Source::Constant(_) => {
                panic!("an item outside a foreach, or a constant")
            }
        })
        .collect();
    Expected {
        outputs,
        activations,
    }
}
