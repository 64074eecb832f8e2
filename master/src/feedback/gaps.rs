//! What a profile does not show: what has not run, or was not measured where it did.

use super::measured::Profile;
use super::whole::Whole;

/// Something that was not measured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Gap {
    /// No invocation went to this placement, counted from 1.
    Placement(u16),
    /// A node that has not run.
    NeverRun(String),
    /// A node that has run and was measured nowhere.
    Unmeasured(String),
    /// A node, or a part of it, has run, and others of it were measured, but not this.
    Part {
        /// The node.
        node: String,
        /// Which part, from 1, and of how many; none if it is not divided.
        part: Option<(u16, u16)>,
        /// In which placement, from 1.
        placement: u16,
        /// Where it ran.
        worker: String,
    },
}

impl Profile {
    /// What was not measured. Nodes that may be skipped, and parts of lists that are too short for them, need not run at all.
    #[must_use]
    pub fn gaps(&self, wholes: &[Whole]) -> Vec<Gap> {
        let placements = 1..=self.placements;
        let idle = placements.filter(|number| self.invocations(*number) == 0);
        let mut gaps: Vec<Gap> = match self.placements {
            1 => Vec::new(),
            _ => idle.map(Gap::Placement).collect(),
        };
        for whole in wholes {
            match (whole.activations, whole.ran) {
                (0, 0) => gaps.push(Gap::NeverRun(whole.name.clone())),
                (_, 0) => gaps.push(Gap::Unmeasured(whole.name.clone())),
                _ => gaps.extend(self.gaps_of(whole)),
            }
        }
        gaps
    }

    fn gaps_of(&self, whole: &Whole) -> impl Iterator<Item = Gap> {
        let nodes = whole.nodes.iter().map(|place| &self.nodes[*place]);
        let unmeasured = nodes.filter(|node| node.activations > 0 && node.ran == 0);
        unmeasured.map(|node| Gap::Part {
            node: node.name.clone(),
            part: node.part.map(|part| (part.number + 1, part.of)),
            placement: self.worker(node).placement,
            worker: self.worker(node).name.clone(),
        })
    }
}
