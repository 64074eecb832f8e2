//! What payloads that come from elsewhere are said to be, against what they are taken for here.
//!
//! Whoever deployed a workflow has compared both ends of each edge. This is for what it has not seen: plans that do not
//! belong together, and clients. Between nodes of one worker nothing is looked at.

use super::Core;
use crate::plan::{DeploymentId, NodeId, Plan, PortRef, Source};
use rustc_hash::FxHashMap;

/// Where a payload comes from that arrives here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Origin<'a> {
    /// A client gives it as an input of that name.
    Client {
        /// Of which workflow.
        workflow: &'a str,
        /// Which input.
        input: &'a str,
    },
    /// The entry worker passes an input of the workflow on.
    Input {
        /// Of which placement.
        deployment: DeploymentId,
        /// Which.
        input: u16,
    },
    /// A node elsewhere has written it.
    Node {
        /// Of which placement.
        deployment: DeploymentId,
        /// Which node.
        node: NodeId,
        /// Which of its outputs.
        output: u16,
    },
    /// A participant hands an output of the workflow over.
    Output {
        /// Of which placement.
        deployment: DeploymentId,
        /// Which.
        output: u16,
    },
}

/// What a node takes a payload for.
#[derive(Debug)]
struct Reader {
    schema: u64,
    node: String,
    input: String,
}

/// The types of a plan, by what is asked for.
#[derive(Debug, Default)]
pub(crate) struct PayloadTypes {
    of: FxHashMap<PortRef, u64>,
    /// By input of the workflow, or output of a node elsewhere: the nodes here that read it.
    readers: FxHashMap<Source, Vec<Reader>>,
}

impl PayloadTypes {
    pub(crate) fn new(plan: &Plan) -> Self {
        let of = plan.types.iter().map(|one| (one.port, one.schema));
        let mut types = Self {
            of: of.collect(),
            readers: FxHashMap::default(),
        };
        for one in &plan.types {
            let PortRef::Read { node, input } = one.port else {
                continue;
            };
            let Ok(place) = plan.nodes.binary_search_by_key(&node, |node| node.id) else {
                continue;
            };
            let node = &plan.nodes[place];
            let input = &node.inputs[usize::from(input)];
            for source in input
                .sources
                .iter()
                .flat_map(|source| origins(plan, *source, node.region))
            {
                types.readers.entry(source).or_default().push(Reader {
                    schema: one.schema,
                    node: node.name.clone(),
                    input: input.name.clone(),
                });
            }
        }
        types
    }

    fn of(&self, port: PortRef) -> u64 {
        self.of.get(&port).copied().unwrap_or(0)
    }

    /// Why something of that schema is not what is read from there.
    fn mismatch(&self, from: Source, schema: u64) -> Option<String> {
        let mut readers = self.readers.get(&from)?.iter();
        let Reader {
            schema: wanted,
            node,
            input,
        } = readers.find(|reader| reader.schema != schema)?;
        Some(format!(
            "its type is {schema:016x}, and input {input} of node {node} takes {wanted:016x}: the workers' plans differ; \
             deploy the workflow again"
        ))
    }
}

/// Where what a node reads was made: an input of the workflow, or outputs of nodes. An item is part of its list.
fn origins(plan: &Plan, source: Source, region: Option<u16>) -> Vec<Source> {
    let (mut source, mut region) = (source, region);
    while let Source::Item { up } = source {
        // The region so many levels outward, and what its list is around it.
        for level in 0..=up {
            let Some(here) = region.and_then(|region| plan.regions.get(usize::from(region))) else {
                return Vec::new();
            };
            region = here.parent;
            if level == up {
                source = here.list;
            }
        }
    }
    match source {
        Source::Input(_) => vec![source],
        Source::Output { node, output } | Source::First { node, output } => {
            let whole = plan.wholes.binary_search_by_key(&node, |whole| whole.id);
            let nodes = whole.map_or_else(|_| vec![node], |place| plan.wholes[place].parts.clone());
            let made = |node| Source::Output { node, output };
            nodes.into_iter().map(made).collect()
        }
        Source::Item { .. } | Source::Constant(_) => Vec::new(),
    }
}

impl Core {
    /// Whether a payload that comes from there may be of the schema that has this hash, which is not 0.
    ///
    /// # Errors
    /// Who takes it for something else, and what to do.
    pub fn check_schema(&self, origin: Origin<'_>, schema: u64) -> Result<(), String> {
        let of = |deployment| {
            let index = self.deployment_by_id.get(&deployment)?;
            Some(&self.program(*index).types)
        };
        let mismatch = match origin {
            Origin::Client { workflow, input } => self.client_mismatch(workflow, input, schema),
            Origin::Input { deployment, input } => {
                of(deployment).and_then(|types| types.mismatch(Source::Input(input), schema))
            }
            Origin::Node {
                deployment,
                node,
                output,
            } => of(deployment)
                .and_then(|types| types.mismatch(Source::Output { node, output }, schema)),
            Origin::Output { deployment, output } => of(deployment).and_then(|types| {
                let wanted = types.of(PortRef::Output(output));
                (wanted != 0 && wanted != schema).then(|| {
                    format!(
                        "its type is {schema:016x}, and here that output is {wanted:016x}: the workers' plans differ; \
                         deploy the workflow again"
                    )
                })
            }),
        };
        mismatch.map_or(Ok(()), Err)
    }

    fn client_mismatch(&self, workflow: &str, input: &str, schema: u64) -> Option<String> {
        let version = self.versions.get(workflow)?;
        // All placements of a version take the same inputs.
        let program = self.program(*version.placements.first()?);
        let mut inputs = program.plan.inputs.iter();
        let number = inputs.position(|declared| declared.name == input)?;
        let wanted = program.types.of(PortRef::Input(number as u16));
        (wanted != 0 && wanted != schema).then(|| {
            format!(
                "its type is {schema:016x}, and the functions that read it take {wanted:016x}: build both from one \
                 description"
            )
        })
    }

    /// The hash of the schema of what is at a port, as the plan of that placement says; 0 if it says nothing.
    #[must_use]
    pub fn schema_of(&self, deployment: DeploymentId, port: PortRef) -> u64 {
        let index = self.deployment_by_id.get(&deployment);
        index.map_or(0, |index| self.program(*index).types.of(port))
    }

    /// As [`Core::schema_of`], for an output of the workflow by its name.
    #[must_use]
    pub fn schema_of_output(&self, deployment: DeploymentId, name: &str) -> u64 {
        let Some(index) = self.deployment_by_id.get(&deployment) else {
            return 0;
        };
        let program = self.program(*index);
        let mut outputs = program.plan.outputs.iter();
        let number = outputs.position(|output| output.name == name);
        number.map_or(0, |number| program.types.of(PortRef::Output(number as u16)))
    }
}

#[cfg(test)]
mod tests;
