//! Where payloads may be carried for which memory has no room: as the workflow says, unless the edges say otherwise that lead
//! away from them.

use super::Core;
use super::program::{Program, Runner};
use super::victims::each_slot_behind;
use crate::plan::{EdgeStore, StoreChoice};
use faasstore::tier::TierKind;

/// Where a payload may be carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ways {
    spill: bool,
    remote: bool,
    /// Only where the workflow lets its payloads go, too.
    as_workflow: bool,
}

impl Ways {
    pub(crate) const NOWHERE: Self = Self {
        spill: false,
        remote: false,
        as_workflow: false,
    };
    const AS_WORKFLOW: Self = Self {
        spill: true,
        remote: true,
        as_workflow: true,
    };

    const fn of(edge: EdgeStore) -> Self {
        match edge {
            EdgeStore::Workflow => Self::AS_WORKFLOW,
            EdgeStore::Memory => Self::NOWHERE,
            EdgeStore::Spill => Self {
                spill: true,
                ..Self::NOWHERE
            },
            EdgeStore::Remote => Self {
                remote: true,
                ..Self::NOWHERE
            },
        }
    }

    /// Where both of them lead.
    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            spill: self.spill && other.spill,
            remote: self.remote && other.remote,
            as_workflow: self.as_workflow || other.as_workflow,
        }
    }

    /// Whether they lead to a tier, in a workflow that says this.
    pub(super) const fn lead_to(self, kind: TierKind, workflow: StoreChoice) -> bool {
        let (ways, workflow) = match kind {
            TierKind::Remote => (self.remote, workflow.remote),
            TierKind::Inline | TierKind::Shared | TierKind::Peer | TierKind::Spill => {
                (self.spill, workflow.spill)
            }
        };
        ways && (workflow || !self.as_workflow)
    }
}

/// By slot, where what lies there may be carried: where all edges let it that executors read it by.
pub(super) fn of_slots(program: &Program) -> Vec<Ways> {
    let mut ways: Vec<Option<Ways>> = vec![None; program.slots.len()];
    let narrow = |known: &mut Option<Ways>, other: Ways| {
        *known = Some(known.map_or(other, |known| known.and(other)));
    };
    for (index, node) in (0..).zip(&program.nodes) {
        if node.runner != Runner::Executor {
            continue;
        }
        let scope = program.scope_of(index);
        for input in program.inputs(node) {
            each_slot_behind(program, scope, input.from, &mut |slot| {
                narrow(&mut ways[slot as usize], Ways::of(input.store));
            });
        }
    }
    // What an item makes moves into the list that is gathered of it: of regions around others first.
    for gather in program.scopes.iter().flat_map(|scope| &scope.gathers) {
        if let Some(of_list) = ways[gather.list as usize] {
            narrow(&mut ways[gather.item as usize], of_list);
        }
    }
    let ways = ways.into_iter();
    ways.map(|ways| ways.unwrap_or(Ways::AS_WORKFLOW)).collect()
}

/// Where edges of a program let payloads go, whatever the workflow says.
pub(super) fn of_edges(program: &Program) -> Ways {
    let says = |edge| program.inputs.iter().any(|input| input.store == edge);
    Ways {
        spill: says(EdgeStore::Spill),
        remote: says(EdgeStore::Remote),
        as_workflow: false,
    }
}

impl Core {
    /// What the newest deployment of a workflow says of payloads without room.
    pub(super) fn choice_of(&self, deployments: &[u32]) -> StoreChoice {
        let programs = deployments.iter().map(|index| self.program(*index));
        let newest = programs.max_by_key(|program| program.plan.version);
        newest.map_or_else(StoreChoice::default, |program| program.plan.limits.store)
    }

    /// Whether anything of these deployments may be carried to a tier.
    pub(super) fn may_go_to(&self, kind: TierKind, deployments: &[u32]) -> bool {
        let choice = self.choice_of(deployments);
        Ways::AS_WORKFLOW.lead_to(kind, choice)
            || deployments
                .iter()
                .any(|index| self.program(*index).edge_ways.lead_to(kind, choice))
    }
}
