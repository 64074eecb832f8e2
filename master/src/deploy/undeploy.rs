//! Taking a workflow away from workers. One that does not have it, perhaps since it was started anew, is in nobody's way.

use super::{Cluster, DeployError};
use crate::client::ClientError;
use engine::wire::{Control, ControlReply};

/// A workflow that was taken away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Undeployed {
    /// The workers that had it, one at least, in the order of the addresses.
    pub from: Vec<String>,
    /// Those that did not have it, likewise.
    pub absent: Vec<String>,
}

impl Cluster {
    /// Takes a workflow away: new invocations are refused, those in flight end.
    ///
    /// # Errors
    /// [`DeployError::NotDeployed`] if no worker has it. If a worker is lost, [`DeployError::HalfUndeployed`] where another
    /// had it. All workers have been told all the same.
    pub fn undeploy(&mut self, workflow: &str) -> Result<Undeployed, DeployError> {
        let request = Control::Undeploy(workflow.to_owned());
        let (mut from, mut absent) = (Vec::new(), Vec::new());
        let mut refusal = None;
        let mut lost: Option<(String, ClientError)> = None;
        for member in &mut self.members {
            let name = member.description.name.clone();
            let error = match member.control.request(&request) {
                Ok(ControlReply::Done) => {
                    from.push(name);
                    continue;
                }
                Ok(ControlReply::Refused(reason)) => {
                    refusal.get_or_insert(reason);
                    absent.push(name);
                    continue;
                }
                Ok(other) => member.control.off_the_point("undeploy", &other),
                Err(error) => error,
            };
            lost.get_or_insert((name, error));
        }
        match (lost, refusal) {
            (Some((worker, cause)), _) if !from.is_empty() => Err(DeployError::HalfUndeployed {
                worker,
                cause: cause.to_string(),
                workflow: workflow.to_owned(),
                from: from.join(", "),
            }),
            (Some((_, cause)), _) => Err(cause.into()),
            (None, Some(reason)) if from.is_empty() => Err(DeployError::NotDeployed {
                workers: absent.join(", "),
                workflow: workflow.to_owned(),
                reason,
            }),
            (None, _) => Ok(Undeployed { from, absent }),
        }
    }
}
