//! Which foreach nodes run together.
//!
//! At first every foreach is a region of its own. What is tied to another one item by item, by `NODE.OUTPUT[item]`, an
//! expression, a case or a catch, must share its region. A foreach over what another one gives shares it if it can: not if
//! either of the two then waited for something gathered of both, and not with a batch of its own.

use super::super::units::Units;
use crate::definition::problem::{ProblemKind, Problems};
use crate::definition::{Definition, Divide, From, Region, Span, Spanned, Work};
use engine::plan::Gate;
use engine::plan_check::REGION_DEPTH_MAX;
use rustc_hash::FxHashSet;

/// Edges that are looked at in all to see whether regions may become one. Beyond it they stay apart, which is slower and
/// otherwise the same.
const LOOKS_MAX: usize = 1 << 23;

/// What must run item by item with something else.
pub(super) struct Link {
    /// Regions, as deep as each other.
    pub(super) regions: (usize, usize),
    /// What ties them, for the message.
    pub(super) by: String,
    pub(super) span: Span,
}

/// A read of all items of a region, by what is in another one.
pub(super) struct Gathered {
    pub(super) reader: usize,
    pub(super) of: usize,
    /// As it is written.
    pub(super) source: String,
    pub(super) span: Span,
}

/// Makes regions one where they run item by item. Nodes must not wait for each other in a circle; whether regions do is
/// for others to see.
pub(super) fn settle(
    definition: &mut Definition,
    links: Vec<Link>,
    gathered: &[Gathered],
    problems: &mut Problems,
) {
    if definition.regions.is_empty() {
        return;
    }
    let mut classes = Classes::of(definition);
    if let Some(deep) = classes
        .level
        .iter()
        .position(|level| *level >= REGION_DEPTH_MAX)
    {
        too_deep(
            classes.level[deep] + 1,
            definition.regions[deep].list.span,
            problems,
        );
        return;
    }
    let ties = ties(definition, &classes);
    for link in links.into_iter().chain(ties) {
        if problems.crowded() {
            break;
        }
        if classes.unite(link.regions.0, link.regions.1).is_none() {
            let kind = ProblemKind::OtherItems { what: link.by };
            let help = "let both run over one list, or one of them over what the other gives; all items together \
                        are `NODE.OUTPUT`, without `[item]`";
            problems.add(link.span, kind, Some(help.to_owned()));
        }
    }
    classes.chain();
    for read in gathered {
        if classes.holds(read.of, read.reader) {
            let kind = ProblemKind::AllItems {
                source_name: read.source.clone(),
            };
            let help = format!(
                "the two run item by item: write `{}[item]` for what the same item gave",
                read.source
            );
            problems.add(read.span, kind, Some(help));
        }
    }
    if !problems.any() {
        let chained = classes.chained.clone();
        let (regions, places) = classes.finish();
        moved(definition, &chained);
        after_items(definition, &chained);
        for node in &mut definition.nodes {
            let own_list = node.region.is_some_and(|region| chained[region].is_none());
            node.over_list &= own_list;
            node.region = node.region.map(|region| places[region]);
        }
        definition.regions = regions;
    }
}

/// Adds that a foreach is so many levels deep, its own counted.
pub(super) fn too_deep(level: usize, span: Span, problems: &mut Problems) {
    let kind = ProblemKind::Count {
        what: "foreach within each other".to_owned(),
        count: level,
        limit: REGION_DEPTH_MAX,
    };
    let help = "gather in between: let a node outside take the lists";
    problems.add(span, kind, Some(help.to_owned()));
}

/// Cases and catches that lead from one item's node to another.
fn ties(definition: &Definition, classes: &Classes<'_>) -> Vec<Link> {
    let mut ties = Vec::new();
    for from in &definition.nodes {
        let Some(region) = from.region else { continue };
        let own = classes.level[region] + 1;
        let cases = match &from.work {
            Work::Switch(cases) => cases.as_slice(),
            Work::Function { .. } | Work::Compute(_) | Work::Nothing => &[],
        };
        let cases = cases.iter().flat_map(|case| &case.to);
        let cases = cases.map(|to| ("a case", to, own));
        let catches = from.catches.iter().flat_map(|catch| {
            let to = catch.to.iter();
            to.map(|to| ("a catch", to, catch.depth))
        });
        for (what, to, depth) in cases.chain(catches) {
            // What stands outside of all items leads to none of them.
            let Some(level) = depth.checked_sub(1) else {
                continue;
            };
            let Some(region) = classes.around_at(region, level) else {
                continue;
            };
            let target = &definition.nodes[to.value];
            let by = format!(
                "{what} of `{}` leads to `{}`",
                from.name.value, target.name.value
            );
            let target = target
                .region
                .and_then(|target| classes.around_at(target, level));
            // What runs for no item like this hears of all items together.
            if let Some(target) = target.filter(|target| *target != region) {
                let span = to.span;
                ties.push(Link {
                    regions: (region, target),
                    by,
                    span,
                });
            }
        }
    }
    ties
}

/// Puts what chained nodes take as their item in its place.
fn moved(definition: &mut Definition, chained: &[Option<From>]) {
    let regions = &definition.regions;
    for node in &mut definition.nodes {
        let region = node.region;
        for input in node.all_inputs_mut() {
            for from in &mut input.from {
                from.value = item(regions, chained, region, from.value);
            }
        }
    }
}

/// What an item is that is named within a region.
fn item(regions: &[Region], chained: &[Option<From>], region: Option<usize>, from: From) -> From {
    let From::Item { up } = from else {
        return from;
    };
    let outward = std::iter::successors(region, |region| regions[*region].parent);
    let region = outward.take(usize::from(up) + 1).last();
    region.and_then(|region| chained[region]).unwrap_or(from)
}

/// What reads nothing of the item that it runs for waits for it all the same.
fn after_items(definition: &mut Definition, chained: &[Option<From>]) {
    let predecessors = definition.predecessors();
    let around: Vec<Vec<usize>> = (0..definition.nodes.len())
        .map(|node| definition.regions_of(node).collect())
        .collect();
    let reads: Vec<FxHashSet<usize>> = (0..definition.nodes.len())
        .map(|node| {
            let reads = definition.inputs_read(node);
            reads.filter_map(From::node).collect()
        })
        .collect();
    for place in 0..definition.nodes.len() {
        for region in &around[place] {
            let Some(before) = chained[*region].and_then(From::node) else {
                continue;
            };
            let with_it = |other: &usize| around[*other].contains(region);
            let node = &mut definition.nodes[place];
            let waits = reads[place].contains(&before)
                || predecessors[place].iter().any(with_it)
                || node.after.iter().any(|after| after.value == before);
            if !waits && node.join == engine::plan::Join::All {
                let span = definition.regions[*region].list.span;
                node.after.push(Spanned {
                    value: before,
                    span,
                });
            }
        }
    }
}

/// Regions that are one, of those that the file and others that it names have.
struct Classes<'d> {
    definition: &'d Definition,
    /// By region: one that it is one with, at last itself.
    leader: Vec<usize>,
    /// By region: how many are around it.
    level: Vec<usize>,
    /// By leader: nodes in it, those in regions within it too.
    members: Vec<Vec<usize>>,
    /// By leader: what its members wait for, of which some may be among them.
    outside: Vec<FxHashSet<(usize, How)>>,
    /// By region: what its items are in the region that it has become part of.
    chained: Vec<Option<From>>,
    /// By region: the one whose list no other gives item by item, from which its own comes in the end.
    root: Vec<usize>,
    looks: usize,
    gates: Vec<Vec<Gate>>,
}

impl<'d> Classes<'d> {
    fn of(definition: &'d Definition) -> Self {
        let regions = definition.regions.len();
        let outward = |region| {
            std::iter::successors(Some(region), |region: &usize| {
                definition.regions[*region].parent
            })
        };
        let mut members = vec![Vec::new(); regions];
        let level: Vec<usize> = (0..regions)
            .map(|region| outward(region).skip(1).take(REGION_DEPTH_MAX).count())
            .collect();
        for (place, node) in definition.nodes.iter().enumerate() {
            for region in node
                .region
                .into_iter()
                .flat_map(outward)
                .take(REGION_DEPTH_MAX)
            {
                members[region].push(place);
            }
        }
        let mut classes = Self {
            definition,
            leader: (0..regions).collect(),
            level,
            members,
            outside: vec![FxHashSet::default(); regions],
            chained: vec![None; regions],
            root: (0..regions).collect(),
            looks: 0,
            gates: definition.gates(),
        };
        for region in 0..regions {
            let nodes = classes.members[region].iter();
            let waits = nodes.flat_map(|node| classes.waits(*node, classes.level[region]));
            classes.outside[region] = waits.collect();
        }
        classes.find_roots();
        classes
    }

    fn find_roots(&mut self) {
        let mut found = vec![false; self.root.len()];
        for start in 0..self.root.len() {
            let mut way = vec![start];
            let mut root = start;
            while !found[root]
                && let Some(before) = self.before(root)
            {
                found[root] = true;
                way.push(before);
                root = before;
            }
            found[root] = true;
            let root = self.root[root];
            for region in way {
                self.root[region] = root;
            }
        }
    }

    fn leader(&self, mut region: usize) -> usize {
        while self.leader[region] != region {
            region = self.leader[region];
        }
        region
    }

    fn parent(&self, region: usize) -> Option<usize> {
        self.definition.regions[region].parent
    }

    /// The region around one that is so deep, if it is as deep.
    fn around_at(&self, mut region: usize, level: usize) -> Option<usize> {
        while self.level[region] > level {
            region = self.parent(region)?;
        }
        (self.level[region] == level).then_some(region)
    }

    /// Whether one region is, or lies within, another.
    fn holds(&self, outer: usize, inner: usize) -> bool {
        self.around_at(inner, self.level[outer])
            .is_some_and(|around| self.leader(around) == self.leader(outer))
    }

    fn merge(&mut self, a: usize, b: usize) {
        let (a, b) = (self.leader(a), self.leader(b));
        if a == b {
            return;
        }
        let (into, gone) = if self.members[a].len() < self.members[b].len() {
            (b, a)
        } else {
            (a, b)
        };
        self.leader[gone] = into;
        let members = std::mem::take(&mut self.members[gone]);
        self.members[into].extend(members);
        let mut waits = std::mem::take(&mut self.outside[gone]);
        if self.outside[into].len() < waits.len() {
            std::mem::swap(&mut self.outside[into], &mut waits);
        }
        self.outside[into].extend(waits);
    }

    fn same_parent(&self, a: usize, b: usize) -> bool {
        match (self.parent(a), self.parent(b)) {
            (None, None) => true,
            (Some(a), Some(b)) => self.leader(a) == self.leader(b),
            _ => false,
        }
    }

    /// The region whose nodes give the list of this one, item by item.
    fn before(&self, region: usize) -> Option<usize> {
        let of = &self.definition.regions[region];
        let before = self.definition.nodes[of.list.value.node()?].region?;
        let fits = of.batch.is_none() && self.level[before] == self.level[region];
        fits.then_some(before)
    }

    /// From a region back to its root, or to one that is part of another already. It ends: nodes do not wait for each other
    /// in a circle, and all nodes of a region wait for its list.
    fn way_back(&self, region: usize) -> Vec<usize> {
        let way = std::iter::successors(Some(region), |region| {
            let further = self.before(*region);
            further.filter(|_| self.chained[*region].is_none())
        });
        way.collect()
    }

    fn same_items(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.definition.regions[a], &self.definition.regions[b]);
        a.list.value == b.list.value && a.batch == b.batch
    }

    /// Makes two regions one, and what is around them.
    fn unite(&mut self, a: usize, b: usize) -> Option<()> {
        if self.leader(a) == self.leader(b) {
            return Some(());
        }
        match (self.parent(a), self.parent(b)) {
            (None, None) => {}
            (Some(a), Some(b)) => self.unite(a, b)?,
            _ => return None,
        }
        if !self.same_items(a, b) {
            let (from, to) = (self.root[a], self.root[b]);
            if from != to && !self.same_items(from, to) {
                return None;
            }
            for way in [self.way_back(a), self.way_back(b)] {
                for pair in way.windows(2).rev() {
                    if !self.same_parent(pair[0], pair[1]) {
                        return None;
                    }
                    self.join(pair[0], pair[1]);
                }
            }
            self.merge(from, to);
        }
        self.merge(a, b);
        Some(())
    }

    /// Makes a region part of the one that gives its list.
    fn join(&mut self, region: usize, before: usize) {
        self.chained[region] = Some(self.definition.regions[region].list.value);
        self.merge(region, before);
    }

    /// Makes every region that can be part of the one that gives its list.
    fn chain(&mut self) {
        for region in 0..self.leader.len() {
            let Some(before) = self.before(region) else {
                continue;
            };
            let one = self.leader(region) == self.leader(before);
            if self.chained[region].is_none()
                && self.same_parent(region, before)
                && (one || self.may_join(region, before))
            {
                self.join(region, before);
            }
        }
    }

    /// Whether two regions can be one: neither waits for something gathered of them, whatever lies between.
    fn may_join(&mut self, a: usize, b: usize) -> bool {
        let both = [self.leader(a), self.leader(b)];
        let level = self.level[a];
        let mut seen = FxHashSet::default();
        let mut open: Vec<Unit> = Vec::new();
        for (own, other) in [(both[0], both[1]), (both[1], both[0])] {
            let mut waits = std::mem::take(&mut self.outside[own]);
            self.looks += waits.len();
            waits.retain(|(before, _)| self.unit_at(*before, level) != Unit::Region(own));
            let mut all = false;
            for (before, how) in &waits {
                match self.unit_at(*before, level) {
                    // The list that the one takes from the other, and `after`, are item by item then.
                    Unit::Region(unit) if unit == other => all |= *how == How::Data,
                    unit => open.push(unit),
                }
            }
            self.outside[own] = waits;
            if all {
                return false;
            }
        }
        while let Some(unit) = open.pop() {
            if !seen.insert(unit) {
                continue;
            }
            let nodes = match unit {
                Unit::Node(node) => vec![node],
                Unit::Region(region) => self.members[region].clone(),
            };
            for node in nodes {
                self.looks += 1;
                for (before, _) in self.waits(node, level) {
                    self.looks += 1;
                    let before = self.unit_at(before, level);
                    if matches!(before, Unit::Region(region) if both.contains(&region)) {
                        return false;
                    }
                    if before != unit {
                        open.push(before);
                    }
                }
            }
            if self.looks > LOOKS_MAX {
                return false;
            }
        }
        true
    }

    /// What holds a node among regions so deep: what is less deep is around them all.
    fn unit_at(&self, node: usize, level: usize) -> Unit {
        let region = self.definition.nodes[node].region;
        match region.and_then(|region| self.around_at(region, level)) {
            Some(region) => Unit::Region(self.leader(region)),
            None => Unit::Node(node),
        }
    }

    /// The nodes that a node waits for, seen from regions so deep.
    fn waits(&self, place: usize, level: usize) -> Vec<(usize, How)> {
        let definition = self.definition;
        let lists = definition.regions_of(place);
        let lists = lists.filter_map(|region| {
            let node = definition.regions[region].list.value.node()?;
            // A region further within reads its list as any node reads.
            let within = self.level[region] > level;
            Some((node, if within { How::Data } else { How::List }))
        });
        let data = definition.inputs_read(place).filter_map(From::node);
        let after = definition.nodes[place].after.iter();
        let gates = self.gates[place].iter();
        lists
            .chain(data.map(|node| (node, How::Data)))
            .chain(after.map(|after| (after.value, How::After)))
            .chain(gates.map(|gate| (gate.node() as usize, How::After)))
            .collect()
    }

    /// The regions as they are now, each behind the one around it, and where those that were are among them.
    fn finish(self) -> (Vec<Region>, Vec<usize>) {
        let regions = &self.definition.regions;
        let mut order: Vec<usize> = (0..regions.len()).collect();
        order.sort_by_key(|region| (self.level[*region], *region));
        let mut known = FxHashSet::default();
        let leaders = order.iter().map(|region| self.leader(*region));
        let order: Vec<usize> = leaders.filter(|leader| known.insert(*leader)).collect();
        let mut places = vec![usize::MAX; regions.len()];
        for (place, leader) in order.iter().enumerate() {
            places[*leader] = place;
        }
        for region in 0..regions.len() {
            places[region] = places[self.leader(region)];
        }
        let mut made: Vec<Option<Region>> = vec![None; order.len()];
        for (number, region) in regions.iter().enumerate() {
            let list = item(regions, &self.chained, region.parent, region.list.value);
            let list = Spanned {
                value: list,
                span: region.list.span,
            };
            let own = Region {
                parent: region.parent.map(|parent| places[parent]),
                list,
                ..region.clone()
            };
            let one = &mut made[places[number]];
            let least = |a: Option<u32>, b: Option<u32>| a.into_iter().chain(b).min();
            let parallelism = least(
                one.as_ref().and_then(|one| one.parallelism),
                own.parallelism,
            );
            let divide = one.as_ref().map_or(Divide::Auto, |one| one.divide);
            let divide = divide.with(own.divide);
            // What no other gives item by item says what all of them run over.
            let says = one.is_none() || self.chained[number].is_none();
            if says {
                *one = Some(own);
            }
            if let Some(one) = one {
                one.parallelism = parallelism;
                one.divide = divide;
            }
        }
        (made.into_iter().flatten().collect(), places)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Unit {
    Node(usize),
    Region(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum How {
    List,
    Data,
    After,
}

/// A cycle among regions that is none among nodes.
pub(super) fn cycle(definition: &Definition, predecessors: &[Vec<usize>], problems: &mut Problems) {
    let units = Units::of(definition, predecessors);
    if let Some(path) = units.cycle() {
        let span = definition.nodes[units.first(path[0])].name.span;
        let path = path.iter().map(|unit| units.name(definition, *unit));
        let kind = ProblemKind::Cycle {
            path: path.collect(),
        };
        let help = "the nodes in brackets run together for each item, so that what waits for all items of one waits for \
                    all of them: take a source, case or `[item]` away, or give a foreach a `batch`, so that it runs by itself";
        problems.add(span, kind, Some(help.to_owned()));
    }
}
