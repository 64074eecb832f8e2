//! What the functions of a deployment say of their payloads, asked of its workers.

use super::{Cluster, DeployError, Member};
use crate::definition::{COMMAND_EXECUTABLE, Definition};
use crate::graph::Graph;
use crate::place::Placement;
use crate::types::{Checked, Said};
use engine::wire::{Control, ControlReply, FUNCTIONS_ASKED_MAX};
use faasstore::binding::FunctionDescription;
use std::collections::BTreeSet;

impl Cluster {
    /// Asks workers what the functions that are placed on them say of their payloads, and whether both ends of each edge
    /// say the same. For that they start the executables once, and end them again. What a worker does not have is left out.
    ///
    /// # Errors
    /// If they differ, an executable cannot be started, or a worker is lost. Nothing is changed.
    pub fn check_types(
        &mut self,
        definition: &Definition,
        graph: &Graph,
        placements: &[Placement],
    ) -> Result<Checked, DeployError> {
        let mut said = Said::default();
        for (index, member) in self.members.iter_mut().enumerate() {
            said.worker(member.description.name.clone());
            let placed = placements
                .iter()
                .flat_map(|placement| graph.nodes().zip(placement.workers()))
                .filter(|(_, worker)| **worker == index);
            let executables: BTreeSet<&String> = placed
                .filter_map(|(node, _)| node.executable.as_ref())
                // Of the payloads of commands nobody says anything.
                .filter(|name| *name != COMMAND_EXECUTABLE)
                .filter(|name| member.description.executables.contains(name))
                .collect();
            let executables: Vec<String> = executables.into_iter().cloned().collect();
            for some in executables.chunks(FUNCTIONS_ASKED_MAX) {
                for (executable, functions) in some.iter().zip(member.functions(some)?) {
                    said.tell(executable, &functions)?;
                }
            }
        }
        Ok(said.check(definition)?)
    }
}

impl Member {
    /// The functions of each of these executables.
    fn functions(
        &mut self,
        executables: &[String],
    ) -> Result<Vec<Vec<FunctionDescription>>, DeployError> {
        match self
            .control
            .request(&Control::Functions(executables.to_vec()))?
        {
            ControlReply::Functions(functions) if functions.len() == executables.len() => {
                Ok(functions)
            }
            ControlReply::Refused(reason) => Err(DeployError::Refused {
                worker: self.description.name.clone(),
                reason,
            }),
            other => Err(self.control.off_the_point("functions", &other).into()),
        }
    }
}
