//! How large everything may be that a placement's plans speak of, by what its definition declares.

use engine::plan::{NodeId, NodePlan, Plan, PortRef, SectionPlan, Share, Source, Work};
use faasstore::binding::{Kind, Maximum};
use faasstore::descriptor::{INPUTS_IN_PLACE_MAX, OUTPUTS_IN_PLACE_MAX, TABLE_ENTRY_BYTES};
use rustc_hash::FxHashMap;

/// The plans of one placement, and what of them is looked up.
pub(super) struct Plans<'a> {
    pub(super) plans: &'a [Plan],
    /// By number: the plan and the place in it.
    places: FxHashMap<NodeId, (usize, usize)>,
    /// By the number of a divided node as a whole: its parts.
    wholes: FxHashMap<NodeId, Vec<NodeId>>,
}

/// A region: of which plan, and which of it.
pub(super) type Region = (usize, u16);

/// What a reader sees, at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Items, if it is a list; else 1.
    pub(super) items: u64,
    /// What each item may keep in memory.
    item_bytes: u64,
    /// What all of it may keep in memory.
    pub(super) held_bytes: u64,
}

/// A range of an arena.
pub(super) const fn range(bytes: u64) -> u64 {
    bytes.div_ceil(64).saturating_mul(64)
}

/// A table of so many entries.
fn table(entries: u64) -> u64 {
    range(entries.saturating_mul(TABLE_ENTRY_BYTES))
}

impl<'a> Plans<'a> {
    pub(super) fn new(plans: &'a [Plan]) -> Self {
        let nodes = plans.iter().enumerate().flat_map(|(at, plan)| {
            let nodes = plan.nodes.iter().enumerate();
            nodes.map(move |(place, node)| (node.id, (at, place)))
        });
        let wholes = plans.iter().flat_map(|plan| &plan.wholes);
        Self {
            plans,
            places: nodes.collect(),
            wholes: wholes
                .map(|whole| (whole.id, whole.parts.clone()))
                .collect(),
        }
    }

    /// The plan in which a node runs, and the node.
    pub(super) fn node(&self, id: NodeId) -> (usize, &'a NodePlan) {
        let (plan, place) = self.places[&id];
        (plan, &self.plans[plan].nodes[place])
    }

    /// The nodes that a number stands for: of a divided one as a whole its parts.
    pub(super) fn made_by(&self, id: NodeId) -> Vec<NodeId> {
        self.wholes.get(&id).cloned().unwrap_or_else(|| vec![id])
    }

    /// The innermost region of a node.
    pub(super) fn region_of(&self, id: NodeId) -> Option<Region> {
        let (plan, node) = self.node(id);
        Some((plan, node.region?))
    }

    /// The region around one.
    pub(super) fn around(&self, (plan, region): Region) -> Option<Region> {
        let parent = self.plans[plan].regions[usize::from(region)].parent?;
        Some((plan, parent))
    }

    /// Whether a region is this one or lies in it; nothing is outside of all.
    pub(super) fn is_within(&self, inner: Option<Region>, outer: Option<Region>) -> bool {
        let mut inner = inner;
        loop {
            if inner == outer {
                return true;
            }
            match inner {
                Some(one) => inner = self.around(one),
                None => return false,
            }
        }
    }

    /// What an output of a node may have, as the node makes it.
    pub(super) fn maximum(&self, node: NodeId, output: u16) -> (Kind, Maximum) {
        let (plan, made) = self.node(node);
        let maximum = self.plans[plan].maximum(PortRef::Written { node, output });
        (made.outputs[usize::from(output)].kind, maximum)
    }

    /// What an output may keep in memory, as the node makes it.
    pub(super) fn held(&self, node: NodeId, output: u16) -> u64 {
        let (kind, maximum) = self.maximum(node, output);
        maximum.held_bytes(kind).unwrap_or(u64::MAX)
    }

    /// What a client may give for an input of the workflow.
    pub(super) fn input(&self, input: u16) -> Size {
        let plan = &self.plans[0];
        let declared = &plan.inputs[usize::from(input)];
        let maximum = plan.maximum(PortRef::Input(input));
        let default = declared
            .default
            .map(|place| &plan.constants[usize::from(place)]);
        let default_items = default.map_or(0, |constant| constant.items.len() as u64);
        Size {
            items: match declared.kind {
                Kind::List => maximum.items.max(default_items),
                Kind::Bytes | Kind::Value => 1,
            },
            item_bytes: range(maximum.item_bytes()),
            held_bytes: maximum.held_bytes(declared.kind).unwrap_or(u64::MAX),
        }
    }

    /// What a node gives to a reader in that region.
    pub(super) fn given(&self, node: NodeId, output: u16, reader: Option<Region>) -> Size {
        let parts = self.made_by(node);
        let (kind, maximum) = self.maximum(parts[0], output);
        let held_bytes = maximum.held_bytes(kind).unwrap_or(u64::MAX);
        let own = match kind {
            Kind::List => maximum.items,
            Kind::Bytes | Kind::Value => 1,
        };
        let region = self.region_of(parts[0]);
        if self.is_within(reader, region) {
            return Size {
                items: own,
                item_bytes: range(maximum.item_bytes()),
                held_bytes,
            };
        }
        // Gathered: an item of the region, of each part.
        let counts = parts.iter().filter_map(|part| self.region_of(*part));
        let counts = counts.map(|region| self.count(region));
        let items = counts.fold(0, u64::saturating_add);
        Size {
            items,
            item_bytes: held_bytes,
            held_bytes: held_bytes.saturating_mul(items),
        }
    }

    /// How many items a region may run for.
    pub(super) fn count(&self, region: Region) -> u64 {
        let (plan, number) = region;
        let planned = &self.plans[plan].regions[usize::from(number)];
        let list = self.items(plan, planned.list, self.around(region));
        let batches = match planned.batch {
            Some(batch) => list.div_ceil(batch.max(1).into()),
            None => list,
        };
        match planned.part {
            Some(part) => share_of(part.share, batches),
            None => batches,
        }
    }

    /// The most items of what a reader in a region sees.
    pub(super) fn items(&self, plan: usize, source: Source, reader: Option<Region>) -> u64 {
        match source {
            Source::Input(input) => self.input(input).items,
            Source::Constant(constant) => {
                let constants = &self.plans[plan].constants;
                constants[usize::from(constant)].items.len() as u64
            }
            Source::Output { node, output } => self.given(node, output, reader).items,
            Source::First { node, output } => {
                let region = self.region_of(self.made_by(node)[0]);
                self.given(node, output, region).items
            }
            Source::Item { up } => {
                let outward = |region: Option<Region>| region.and_then(|one| self.around(one));
                let region = (0..up).fold(reader, |region, _| outward(region));
                let planned = region.map(|(plan, one)| &self.plans[plan].regions[usize::from(one)]);
                planned
                    .and_then(|planned| planned.batch)
                    .map_or(1, u64::from)
            }
        }
    }

    /// The tables of one activation: of lists that it reads and makes, and of more inputs or outputs than a message has
    /// room for.
    pub(super) fn tables(&self, plan: usize, node: &NodePlan) -> u64 {
        if !matches!(node.work, Work::Function { .. }) {
            return 0;
        }
        let region = node.region.map(|region| (plan, region));
        let lists = node.inputs.iter().filter(|input| input.kind == Kind::List);
        let lists = lists.map(|input| {
            let sources = input.sources.iter();
            let items = sources.map(|source| self.items(plan, *source, region));
            table(items.max().unwrap_or(0))
        });
        let returned = node.outputs.len() - usize::from(node.error_output.is_some());
        let made = (0..returned as u16).map(|output| match self.maximum(node.id, output) {
            (Kind::List, maximum) => table(maximum.items),
            (Kind::Bytes | Kind::Value, _) => 0,
        });
        let many = |count: usize, most: usize| match count > most {
            true => table(count as u64),
            false => 0,
        };
        let all = lists.chain(made).chain([
            many(node.inputs.len(), INPUTS_IN_PLACE_MAX),
            many(returned, OUTPUTS_IN_PLACE_MAX),
        ]);
        all.fold(0, u64::saturating_add)
    }
}

impl Size {
    /// What a section of it may keep in memory, if no more of this list is needed.
    pub(super) fn section(self, sections: &[SectionPlan], list: u16) -> u64 {
        let Some(needed) = sections.iter().find(|section| section.list == list) else {
            return self.held_bytes;
        };
        let batch = needed.batch.map_or(1, |batch| u64::from(batch.max(1)));
        let batches = share_of(needed.share, self.items.div_ceil(batch));
        let items = batches.saturating_mul(batch).min(self.items);
        self.item_bytes.saturating_mul(items).min(self.held_bytes)
    }
}

/// The most of so many that a share covers, if there are fewer too.
fn share_of(share: Share, count: u64) -> u64 {
    let weights = u128::from(share.behind.min(share.whole)) - u128::from(share.first);
    let part = (u128::from(count) * weights).div_ceil(u128::from(share.whole.max(1)));
    part.min(u128::from(count)) as u64
}
