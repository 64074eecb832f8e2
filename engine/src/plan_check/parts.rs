//! The rules of divided regions: every part covers a share, the shares of all parts together cover everything in order, and
//! whoever is outside sees a divided node only as a whole.

use super::error::PlanError;
use super::rules::{Check, distinct, fits, in_range, index, rising};
use super::{ITEMS_MAX, Producer, REGION_DEPTH_MAX, Scope};
use crate::plan::{
    NodeId, NodePlan, OutputSource, PARTS_MAX, Part, Plan, SectionPlan, Share, Source,
};
use faasstore::binding::Kind;
use std::collections::{HashMap, HashSet};

fn wrong(place: impl Fn() -> String, reason: &'static str) -> Check {
    Err(PlanError::Rule {
        place: place(),
        reason,
    })
}

fn check_share(place: impl Fn() -> String + Copy, share: Share) -> Check {
    let Share {
        first,
        behind,
        whole,
    } = share;
    in_range(place, "end of a share", behind.into(), 1, whole.into())?;
    if first < behind {
        return Ok(());
    }
    wrong(place, "has a share of nothing")
}

/// Checks one part by itself.
pub(super) fn check_part(place: impl Fn() -> String + Copy, part: Part) -> Check {
    in_range(
        place,
        "number of parts",
        part.of.into(),
        2,
        PARTS_MAX as u64,
    )?;
    index(place, "part", part.number.into(), part.of.into())?;
    check_share(place, part.share)
}

/// Checks that parts are all there, each behind the one before.
fn check_parts(place: impl Fn() -> String + Copy, parts: &[Option<Part>]) -> Check {
    let mut reached = 0;
    for (number, part) in parts.iter().enumerate() {
        let Some(part) = part else {
            return wrong(place, "is made of what is no part of a divided node");
        };
        check_part(place, *part)?;
        if usize::from(part.number) != number || usize::from(part.of) != parts.len() {
            return wrong(place, "its parts are not all of them, one after the other");
        }
        let whole = parts[0].map_or(0, |part| part.share.whole);
        if part.share.first != reached || part.share.whole != whole {
            return wrong(
                place,
                "the shares of its parts leave something out, or overlap",
            );
        }
        reached = part.share.behind;
    }
    let whole = parts.first().copied().flatten();
    if whole.is_some_and(|part| part.share.whole == reached) {
        return Ok(());
    }
    wrong(
        place,
        "the shares of its parts leave something out, or overlap",
    )
}

/// Checks what of some lists is needed.
pub(super) fn check_sections(
    place: impl Fn() -> String + Copy,
    sections: &[SectionPlan],
    needed: &[u16],
) -> Check {
    let lists: Vec<u16> = sections.iter().map(|section| section.list).collect();
    distinct(place, "section of a list", &lists)?;
    for section in sections {
        if !needed.contains(&section.list) {
            return wrong(place, "names a section of a list that is not needed");
        }
        check_share(place, section.share)?;
        if let Some(batch) = section.batch {
            in_range(place, "batch", batch.into(), 1, ITEMS_MAX.into())?;
        }
    }
    Ok(())
}

impl Plan {
    /// Which part of a divided region a node of this worker is in.
    pub(crate) fn part_of(&self, node: &NodePlan) -> Option<Part> {
        let around = |region: &u16| self.regions.get(usize::from(*region))?.parent;
        // Of a plan that is not checked yet, regions may lie within each other in a circle.
        let outward = std::iter::successors(node.region, around);
        let outermost = outward.take(REGION_DEPTH_MAX + 1).last()?;
        self.regions.get(usize::from(outermost))?.part
    }

    /// Checks that nodes differ in their names; parts of one node have one name, and differ in their numbers.
    pub(super) fn check_names(&self) -> Check {
        let local = self.nodes.iter();
        let local = local.map(|node| (&node.name, self.part_of(node)));
        let remote = self.remote_nodes.iter();
        let remote = remote.map(|node| (&node.name, node.part));
        let mut known: HashMap<&str, Option<Part>> = HashMap::new();
        let mut numbers = HashSet::new();
        for (name, part) in local.chain(remote) {
            let same = |other: &Option<Part>| match (other, part) {
                (Some(other), Some(part)) => other.of == part.of,
                _ => false,
            };
            let before = known.insert(name, part);
            let number = part.map(|part| part.number);
            if before.is_some_and(|before| !same(&before)) || !numbers.insert((name, number)) {
                return Err(PlanError::Twice {
                    place: "the plan's nodes".to_owned(),
                    what: "node",
                    name: name.clone(),
                });
            }
        }
        Ok(())
    }
}

/// Which part of a divided region each of a plan's regions is.
pub(super) fn parts_of_regions(plan: &Plan) -> Result<Vec<Option<Part>>, PlanError> {
    let mut parts: Vec<Option<Part>> = Vec::with_capacity(plan.regions.len());
    for (number, region) in plan.regions.iter().enumerate() {
        let place = || format!("region {number}");
        if let Some(part) = region.part {
            check_part(place, part)?;
            if region.parent.is_some() {
                wrong(place, "is divided, but lies within another region")?;
            }
        }
        let parent = region.parent.map(usize::from);
        parts.push(parent.map_or(region.part, |parent| parts[parent]));
    }
    Ok(parts)
}

/// Adds divided nodes as a whole to what nodes may refer to.
pub(super) fn add_wholes(
    plan: &Plan,
    nodes: &mut HashMap<NodeId, Producer>,
    parts: &[Option<Part>],
) -> Check {
    let ids = plan.wholes.iter().map(|whole| whole.id.into());
    rising(|| "the plan's divided nodes".to_owned(), "numbers", ids)?;
    let names: HashMap<NodeId, &str> = plan
        .nodes
        .iter()
        .map(|node| (node.id, node.name.as_str()))
        .chain(
            plan.remote_nodes
                .iter()
                .map(|node| (node.id, node.name.as_str())),
        )
        .collect();
    let last = nodes.keys().copied().max();
    let mut used = HashSet::new();
    let mut made = Vec::with_capacity(plan.wholes.len());
    for whole in &plan.wholes {
        let place = || format!("divided node {}", whole.id);
        if last.is_some_and(|last| whole.id <= last) || whole.id == NodeId::MAX {
            return wrong(place, "its number is not behind those of all nodes");
        }
        let found: Vec<&Producer> = whole
            .parts
            .iter()
            .map(|part| {
                nodes.get(part).ok_or_else(|| PlanError::Node {
                    place: place(),
                    node: *part,
                })
            })
            .collect::<Result<_, _>>()?;
        if !whole.parts.iter().all(|part| used.insert(*part)) {
            return wrong(place, "a node is part of it twice, or of another one too");
        }
        let own = |producer: &Producer| match producer.region {
            Some(region) => parts[usize::from(region)],
            None => producer.part,
        };
        let shares: Vec<Option<Part>> = found.iter().map(|producer| own(producer)).collect();
        check_parts(place, &shares)?;
        let alike = |number: usize| {
            let (a, b) = (found[0], found[number]);
            names[&whole.parts[0]] == names[&whole.parts[number]]
                && (a.error_output, a.cases, a.catches) == (b.error_output, b.cases, b.catches)
                && a.outputs.len() == b.outputs.len()
        };
        if !(1..found.len()).all(alike) {
            return wrong(place, "its parts are not parts of one node");
        }
        let outputs: Vec<u16> = (0..found[0].outputs.len() as u16).collect();
        check_sections(place, &whole.sections, &outputs)?;
        made.push((
            whole.id,
            Producer {
                worker: plan.me,
                region: None,
                part: None,
                parts: whole.parts.clone(),
                outputs: vec![Kind::List; outputs.len()],
                error_output: found[0].error_output,
                cases: found[0].cases,
                catches: found[0].catches,
            },
        ));
    }
    nodes.extend(made);
    Ok(())
}

impl Scope<'_> {
    /// Checks an output of the workflow whose list has several parts: they stand one after the other.
    pub(super) fn check_output_parts(
        &self,
        place: impl Fn() -> String + Copy,
        kind: Kind,
        sources: &[OutputSource],
    ) -> Check {
        let mut left = sources;
        while let Some(from) = left.first() {
            let Some(part) = from.part else {
                if let Source::Output { node, .. } = from.source
                    && self.part_of(node).is_some()
                {
                    return wrong(place, "reads a part of a divided node alone");
                }
                left = &left[1..];
                continue;
            };
            check_part(place, part)?;
            let Some((parts, behind)) = left.split_at_checked(part.of.into()) else {
                return wrong(place, "its parts are not all of them, one after the other");
            };
            left = behind;
            let shares: Vec<Option<Part>> = parts.iter().map(|from| from.part).collect();
            check_parts(place, &shares)?;
            fits(place, kind, Kind::List)?;
            for from in parts {
                // Whoever takes the invocation must know what the parts are, to put them together.
                let known = match from.source {
                    Source::Output { node, .. } => self.part_of(node),
                    _ => None,
                };
                if known != from.part {
                    return wrong(place, "is made of what is no part of a divided node");
                }
            }
        }
        Ok(())
    }

    /// Which part of a divided region a node is in.
    pub(super) fn part_of(&self, node: NodeId) -> Option<Part> {
        let producer = self.nodes.get(&node)?;
        match producer.region {
            Some(region) => self.parts[usize::from(region)],
            None => producer.part,
        }
    }

    /// Checks that nobody outside waits for a part alone.
    pub(super) fn check_seen_whole(
        &self,
        place: impl Fn() -> String,
        producer: NodeId,
        region: Option<u16>,
    ) -> Check {
        let Some(from) = self.nodes.get(&producer) else {
            // Refused elsewhere, by name.
            return Ok(());
        };
        // What lies in the same part is a node like any other.
        let outermost = |region: Option<u16>| self.regions.outermost(region);
        let within = from.region.is_some() && outermost(from.region) == outermost(region);
        if self.part_of(producer).is_some() && !within {
            return wrong(place, "waits for a part of a divided node alone");
        }
        Ok(())
    }

    /// Checks that a region's list is there as far as the region needs it.
    pub(super) fn check_list_sections(&self) -> Check {
        for whole in &self.plan.wholes {
            let place = || format!("divided node {}", whole.id);
            self.check_needed(place, &whole.sections, |source| match source {
                Source::Output { node, output } | Source::First { node, output } => {
                    (node == whole.id).then_some(output)
                }
                Source::Input(_) | Source::Item { .. } | Source::Constant(_) => None,
            })?;
        }
        let mine = self.plan.participants.iter();
        for part in mine.filter(|part| part.worker == self.plan.me) {
            let place = || "the plan's own inputs".to_owned();
            self.check_needed(place, &part.sections, |source| match source {
                Source::Input(input) => Some(input),
                _ => None,
            })?;
        }
        Ok(())
    }

    /// Where not everything of a list is here, only regions that need no more may read it.
    fn check_needed(
        &self,
        place: impl Fn() -> String + Copy,
        sections: &[SectionPlan],
        list_of: impl Fn(Source) -> Option<u16>,
    ) -> Check {
        for section in sections {
            let reads = |source: Source| list_of(source) == Some(section.list);
            if self.plan.nodes.iter().any(|node| node.reads().any(reads)) {
                return wrong(place, "a node reads a list of which not everything is here");
            }
            for region in self.plan.regions.iter().filter(|one| reads(one.list)) {
                let covered = region.part.is_some_and(|part| {
                    let (needs, has) = (part.share, section.share);
                    region.batch == section.batch
                        && needs.whole == has.whole
                        && has.first <= needs.first
                        && needs.behind <= has.behind
                });
                if !covered {
                    return wrong(place, "a region runs over more of a list than is here");
                }
            }
        }
        Ok(())
    }
}
