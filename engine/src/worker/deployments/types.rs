//! What a plan says of the payloads of an executable's functions, against what these say themselves when they start.

use crate::plan::{Plan, PortRef, PortType, Work};
use faasstore::binding::FunctionDescription;
use faasstore::schema;

/// What the plan says of the payloads of a port, as its function said it when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedType {
    /// The node's name.
    pub node: String,
    /// The function that it names.
    pub function: String,
    /// The port, as the node names it.
    pub port: String,
    /// Whether it is an output.
    pub written: bool,
    /// The hash of the schema.
    pub schema: u64,
}

impl PlannedType {
    /// What is said of a port of a node, if that is one of this executable.
    pub(super) fn of(plan: &Plan, one: &PortType, of: usize) -> Option<Self> {
        let (PortRef::Read { node: id, .. } | PortRef::Written { node: id, .. }) = one.port else {
            return None;
        };
        let node = plan.nodes.binary_search_by_key(&id, |node| node.id);
        let node = &plan.nodes[node.ok()?];
        let Work::Function {
            executable,
            function,
            ..
        } = &node.work
        else {
            return None;
        };
        let (port, written) = match one.port {
            PortRef::Read { input, .. } => (&node.inputs.get(usize::from(input))?.name, false),
            PortRef::Written { output, .. } => (&node.outputs.get(usize::from(output))?.name, true),
            PortRef::Input(_) | PortRef::Output(_) => return None,
        };
        (usize::from(*executable) == of).then(|| Self {
            node: node.name.clone(),
            function: function.clone(),
            port: port.clone(),
            written,
            schema: one.schema,
        })
    }

    /// Whether the executable says of it now what it said when the plan was made.
    #[must_use]
    pub fn is_said_by(&self, functions: &[FunctionDescription]) -> bool {
        let mut named = functions.iter().filter(|one| one.name == self.function);
        let said = named.next().and_then(|function| match self.written {
            true => function.output(&self.port),
            false => function.input(&self.port),
        });
        said.is_some_and(|text| schema::hash(text) == self.schema)
    }
}
