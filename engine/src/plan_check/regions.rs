//! The rules of regions: they lie within each other, hold nodes, and wait for nothing that waits for them.

use super::error::PlanError;
use super::rules::{Check, fits, in_range, index};
use super::{ITEMS_MAX, Scope};
use crate::plan::{NodeId, Plan, Source};
use faasstore::binding::Kind;

/// Regions within each other, at most.
pub const REGION_DEPTH_MAX: usize = 8;

/// How the regions of a plan lie within each other. `None` is what is outside of them all.
pub(super) struct Regions {
    parents: Vec<Option<u16>>,
    /// Lowest and highest number of the nodes in each, those in regions within it included.
    nodes: Vec<(NodeId, NodeId)>,
}

impl Regions {
    /// Checks that every region lies in an earlier one, and every node in one that is there.
    pub(super) fn check(plan: &Plan) -> Result<Self, PlanError> {
        let count = plan.regions.len();
        let place = || "the plan's regions".to_owned();
        in_range(
            place,
            "their number",
            count as u64,
            0,
            u64::from(u16::MAX) - 1,
        )?;
        for (number, region) in plan.regions.iter().enumerate() {
            let place = || format!("region {number}");
            if let Some(parent) = region.parent {
                index(place, "earlier region", parent.into(), number)?;
            }
            for (what, count) in [("batch", region.batch), ("parallelism", region.parallelism)] {
                if let Some(count) = count {
                    in_range(place, what, count.into(), 1, ITEMS_MAX.into())?;
                }
            }
        }
        let mut regions = Self {
            parents: plan.regions.iter().map(|region| region.parent).collect(),
            nodes: vec![(NodeId::MAX, 0); count],
        };
        for node in &plan.nodes {
            let place = || format!("node {:?}", node.name);
            let mut region = node.region;
            for depth in 0.. {
                let Some(number) = region else {
                    break;
                };
                index(place, "region", number.into(), count)?;
                in_range(
                    place,
                    "depth of regions",
                    depth + 1,
                    1,
                    REGION_DEPTH_MAX as u64,
                )?;
                let (first, last) = &mut regions.nodes[usize::from(number)];
                (*first, *last) = ((*first).min(node.id), (*last).max(node.id));
                region = regions.around(region);
            }
        }
        let empty = regions.nodes.iter().position(|(first, last)| first > last);
        match empty {
            None => Ok(regions),
            Some(number) => Err(PlanError::Rule {
                place: format!("region {number}"),
                reason: "has no nodes",
            }),
        }
    }

    /// What is around a region.
    pub(super) fn around(&self, region: Option<u16>) -> Option<u16> {
        self.parents[usize::from(region?)]
    }

    /// The region so many levels outward.
    pub(super) fn outward(&self, region: Option<u16>, levels: u8) -> Option<u16> {
        (0..levels).fold(region, |region, _| self.around(region))
    }

    /// The region that lies in no other and holds this one, or is it.
    pub(super) fn outermost(&self, region: Option<u16>) -> Option<u16> {
        let around = |region: &u16| self.around(Some(*region));
        std::iter::successors(region, around).last()
    }

    /// Whether `inner` is `outer`, or lies within it.
    pub(super) fn holds(&self, outer: Option<u16>, mut inner: Option<u16>) -> bool {
        loop {
            if inner == outer {
                return true;
            }
            if inner.is_none() {
                return false;
            }
            inner = self.around(inner);
        }
    }

    /// The outermost region that holds `inner` and not `other`.
    fn apart(&self, inner: Option<u16>, other: Option<u16>) -> Option<u16> {
        let mut region = inner;
        let mut found = None;
        while region.is_some() && !self.holds(region, other) {
            found = region;
            region = self.around(region);
        }
        found
    }
}

impl Scope<'_> {
    /// Checks what regions run over, and that nothing that leaves a region comes back into it: all that one waits for has
    /// lower numbers than its nodes, and all that waits for it higher ones.
    pub(super) fn check_regions(&self) -> Check {
        for (number, region) in self.plan.regions.iter().enumerate() {
            let place = || format!("the list of region {number}");
            let (first, _) = self.regions.nodes[number];
            if let Source::First { .. } = region.list {
                let reason = "a region runs over a list, not over the first item of one";
                return Err(PlanError::Rule {
                    place: place(),
                    reason,
                });
            }
            let gives = self.kind_in(place, region.list, region.parent, first)?;
            fits(place, Kind::List, gives.unwrap_or(Kind::Bytes))?;
            if let Source::Output { node, .. } = region.list {
                self.check_passage(place, node, region.parent, first)?;
            }
        }
        for node in &self.plan.nodes {
            let place = || format!("node {:?}", node.name);
            let list = node
                .region
                .map(|region| self.plan.regions[usize::from(region)].list);
            if node.over_list && !matches!(list, Some(Source::Output { .. })) {
                return Err(PlanError::Rule {
                    place: place(),
                    reason: "the list that it runs over is an edge of it only if a node gives that",
                });
            }
            let data = node.reads().filter_map(|source| match source {
                Source::Output { node, .. } | Source::First { node, .. } => Some(node),
                Source::Input(_) | Source::Item { .. } | Source::Constant(_) => None,
            });
            let gates = node.gates.iter().map(|gate| gate.node());
            for producer in data.chain(node.after.iter().copied()).chain(gates) {
                self.check_passage(place, producer, node.region, node.id)?;
            }
        }
        Ok(())
    }

    /// Checks an edge between regions.
    fn check_passage(
        &self,
        place: impl Fn() -> String,
        producer: NodeId,
        region: Option<u16>,
        consumer: NodeId,
    ) -> Check {
        let Some(from) = self.nodes.get(&producer) else {
            // Refused elsewhere, by name.
            return Ok(());
        };
        self.check_seen_whole(&place, producer, region)?;
        // A divided node as a whole comes behind its last part, and behind whatever lies in the region of that.
        if !from.parts.is_empty() {
            for part in &from.parts {
                let last = self.nodes.get(part).and_then(|part| part.region);
                let last = self.regions.outermost(last);
                let last = last.map_or(*part, |one| self.regions.nodes[usize::from(one)].1);
                let into = self.regions.outermost(region);
                let first = into.map_or(consumer, |one| self.regions.nodes[usize::from(one)].0);
                if last >= first {
                    return Err(PlanError::Order {
                        place: place(),
                        producer: *part,
                        consumer,
                    });
                }
            }
            return Ok(());
        }
        let into = self.regions.apart(region, from.region);
        let out_of = self.regions.apart(from.region, region);
        let first = into.map_or(consumer, |into| self.regions.nodes[usize::from(into)].0);
        let last = out_of.map_or(producer, |out| self.regions.nodes[usize::from(out)].1);
        if producer < first && last < consumer {
            return Ok(());
        }
        Err(PlanError::Order {
            place: place(),
            producer,
            consumer,
        })
    }
}
