//! What foreach nodes run over, how deep they are within each other, and what they see of one another.

use super::regions::{Gathered, Link, too_deep};
use super::scope::{Seen, Symbol};
use super::{Checker, described};
use crate::definition::problem::ProblemKind;
use crate::definition::raw::{RawForeach, RawNode, RawOver, RawSource, RawWork};
use crate::definition::{Divide, From, Region, Span, Spanned};
use engine::plan_check::REGION_DEPTH_MAX;
use faasstore::binding::Kind;

/// What a node runs over.
#[derive(Clone)]
pub(super) struct Over {
    /// None if it is whole numbers, which the node before it counts.
    list: Option<Spanned<Symbol>>,
    /// What an item is.
    item: Kind,
    /// Of a batch, which is a list: what its items are.
    items: Kind,
    /// The node in whose items the list is, by its place in the file.
    within: Option<usize>,
    /// How many foreach it is within, its own counted.
    level: usize,
    /// The node at which the chain begins that it may be part of.
    first: usize,
}

impl Checker<'_> {
    /// Finds what all nodes run over: that of a node whose list another one gives after that one's.
    pub(super) fn find_overs(&mut self) {
        let raw = self.raw;
        let mut seen = vec![false; raw.nodes.len()];
        for start in 0..raw.nodes.len() {
            let mut way = Vec::new();
            let mut next = Some(start);
            while let Some(node) = next
                && !seen[node]
            {
                seen[node] = true;
                way.push(node);
                next = self.gives_list(&raw.nodes[node]);
            }
            for node in way.into_iter().rev() {
                if let Some(foreach) = &raw.nodes[node].foreach {
                    self.overs[node] = self.over(node, foreach);
                }
            }
        }
    }

    fn gives_list(&self, node: &RawNode) -> Option<usize> {
        match &node.foreach.as_ref()?.over {
            RawOver::List(Spanned {
                value: RawSource::Output { node, .. },
                ..
            }) => self.nodes.get(node.as_str()).copied(),
            _ => None,
        }
    }

    fn over(&mut self, place: usize, raw: &RawForeach) -> Option<Over> {
        let plain = |symbol, item| Over {
            list: symbol,
            item,
            items: item,
            within: None,
            level: 1,
            first: place,
        };
        let mut over = match &raw.over {
            RawOver::Unread => return None,
            RawOver::Range(_) => plain(None, Kind::Value),
            RawOver::List(source) => {
                let spanned = |symbol| {
                    Some(Spanned {
                        value: symbol,
                        span: source.span,
                    })
                };
                match &source.value {
                    RawSource::Output { node, output, item } => {
                        let index = self.node_named(node, source.span, Some(output))?;
                        let own = self.own_output(index, output, source.span)?;
                        let level = self.level(index);
                        if *item && level == 0 {
                            self.no_items(node, output, source.span);
                            return None;
                        }
                        let gathered = level > 0 && !item;
                        if gathered && own.kind == Kind::List {
                            let help = format!(
                                "`foreach: {node}.{output}[item]` runs over the list that each item gives"
                            );
                            self.list_of_lists(node, output, source.span, help);
                            return None;
                        }
                        if !gathered && own.kind != Kind::List {
                            self.no_list(source, own.kind);
                            return None;
                        }
                        self.passed_through(index, own.symbol, gathered, source.span)?;
                        if !gathered && level >= REGION_DEPTH_MAX {
                            too_deep(level + 1, source.span, &mut self.problems);
                            return None;
                        }
                        let before = self.overs[index].as_ref();
                        let within = before.and_then(|over| over.within);
                        let chain = gathered && raw.batch.is_none();
                        let first = before.filter(|_| chain).map_or(place, |over| over.first);
                        let each = if gathered { own.kind } else { own.items };
                        Over {
                            list: spanned(own.symbol),
                            item: each,
                            items: each,
                            within: if *item { Some(index) } else { within },
                            level: if gathered { level } else { level + 1 },
                            first,
                        }
                    }
                    _ => {
                        let seen = self.resolve(source, None, "as the list of a foreach", true)?;
                        if seen.kind != Kind::List {
                            self.no_list(source, seen.kind);
                            return None;
                        }
                        plain(spanned(seen.symbol), seen.items)
                    }
                }
            }
        };
        if raw.batch.is_some() {
            over.item = Kind::List;
        }
        Some(over)
    }

    fn no_list(&mut self, source: &Spanned<RawSource>, kind: Kind) {
        let kind = ProblemKind::ForeachOver {
            source_name: self.source_name(&source.value),
            kind: described(kind),
        };
        let help = self.declared_as(&source.value, "list");
        self.problems.add(source.span, kind, Some(help));
    }

    fn no_items(&mut self, node: &str, output: &str, span: Span) {
        let kind = ProblemKind::NoItems {
            source_name: format!("{node}.{output}"),
        };
        let help = format!("write `{node}.{output}`: `{node}` is no foreach node");
        self.problems.add(span, kind, Some(help));
    }

    fn list_of_lists(&mut self, node: &str, output: &str, span: Span, help: String) {
        let kind = ProblemKind::ListOfLists {
            source_name: format!("{node}.{output}"),
        };
        self.problems.add(span, kind, Some(help));
    }

    /// How many foreach a node of the file is within.
    pub(super) fn level(&self, node: usize) -> usize {
        match &self.overs[node] {
            Some(over) => over.level,
            // What is wrong with its list has been told, or is told as a circle.
            None => usize::from(self.raw.nodes[node].foreach.is_some()),
        }
    }

    /// A node that runs over a list, among whose items names are then looked up.
    pub(super) fn reader(&self, node: usize) -> Option<usize> {
        self.has_items(node).then_some(node)
    }

    /// Whether nobody knows what a node runs over, since that is wrong, which has been told.
    fn is_unknown(&self, node: usize) -> bool {
        self.has_items(node) && self.overs[node].is_none()
    }

    /// Whether nobody knows what items a reader has, its own or those further outward.
    pub(super) fn items_unknown(&self, reader: Option<usize>) -> bool {
        let outward = |node: &usize| self.overs[*node].as_ref()?.within;
        std::iter::successors(reader, outward).any(|node| self.is_unknown(node))
    }

    /// The node that gives the list that one of the file runs over, if it stands for itself.
    pub(super) fn list_from(&self, index: usize) -> Option<Spanned<usize>> {
        let list = self.overs[index].as_ref()?.list.as_ref()?;
        let Symbol::Output { node, .. } = list.value else {
            return None;
        };
        let value = self.places[node];
        Some(Spanned {
            value,
            span: list.span,
        })
    }

    /// Whether a node runs over a list.
    pub(super) fn has_items(&self, node: usize) -> bool {
        self.raw.nodes[node].foreach.is_some()
    }

    /// What the item is that so many foreach outward have, and if it is a list, what its items are.
    pub(super) fn item_of(&self, reader: Option<usize>, up: u8) -> Option<(Kind, Kind)> {
        let outward = |node: &usize| self.overs[*node].as_ref()?.within;
        let node = std::iter::successors(reader, outward).nth(up.into())?;
        self.overs[node]
            .as_ref()
            .map(|over| (over.item, over.items))
    }

    /// A node, or the one so deep in whose items its list is.
    fn around_at(&self, mut node: usize, level: usize) -> Option<usize> {
        while self.level(node) > level {
            node = self.overs[node].as_ref()?.within?;
        }
        Some(node)
    }

    /// The region of a node, or the one around it that is so deep.
    fn region_at(&self, node: usize, level: usize) -> Option<usize> {
        self.own_region(self.around_at(node, level)?)
    }

    /// Whether two nodes run for the same items, as far as both are within other foreach.
    pub(super) fn same_items(&self, a: usize, b: usize) -> bool {
        let shared = self.level(a).min(self.level(b));
        let ends = self.around_at(a, shared).zip(self.around_at(b, shared));
        let (Some((a, b)), true) = (ends, shared > 0) else {
            return false;
        };
        let first = |node: usize| self.overs[node].as_ref().map_or(node, |over| over.first);
        let (a, b) = (first(a), first(b));
        let (Some(over_a), Some(over_b)) = (&self.overs[a], &self.overs[b]) else {
            return a == b;
        };
        let batch = |node: usize| {
            let foreach = self.raw.nodes[node].foreach.as_ref();
            foreach.and_then(|foreach| foreach.batch)
        };
        let list = |over: &Over| over.list.as_ref().map(|list| list.value);
        let around = match (over_a.within, over_b.within) {
            (None, None) => true,
            (Some(a), Some(b)) => self.same_items(a, b),
            _ => false,
        };
        a == b
            || (around
                && list(over_a).is_some()
                && list(over_a) == list(over_b)
                && batch(a) == batch(b))
    }

    /// The region that a node of the file begins.
    pub(super) fn own_region(&self, node: usize) -> Option<usize> {
        self.has_items(node).then(|| self.regions_at[node])
    }

    /// The region that a node of the file begins, as it is.
    pub(super) fn region(&mut self, index: usize) -> Option<Region> {
        let raw = self.raw.nodes[index].foreach.as_ref()?;
        let over = self.overs[index].clone()?;
        let list = match (&over.list, &raw.over) {
            (Some(symbol), _) => {
                let from = self.flatten(std::slice::from_ref(symbol))?;
                let what = "the list of a foreach".to_owned();
                self.presence(&from, false, symbol.span, &what)?;
                self.only_list(from, symbol.span)?
            }
            (None, RawOver::Range(range)) => Spanned {
                value: From::Output {
                    node: self.places[index] - 1,
                    output: 0,
                },
                span: range.to.span,
            },
            (None, RawOver::List(_) | RawOver::Unread) => return None,
        };
        let divide = raw.divide.clone().unwrap_or(Spanned {
            value: Divide::Auto,
            span: list.span,
        });
        if let (Divide::Into(_), Some(_)) = (divide.value, over.within) {
            let kind = ProblemKind::NotHere {
                what: "a foreach within another",
                key: "divide",
            };
            let help = "only the outermost foreach runs in parts: let that have it";
            self.problems.add(divide.span, kind, Some(help.to_owned()));
        }
        Some(Region {
            parent: over.within.and_then(|around| self.own_region(around)),
            list,
            batch: raw.batch,
            parallelism: raw.parallelism,
            divide: divide.value,
        })
    }

    /// What a reader sees of another node's output: one run's, or what is gathered of several.
    pub(super) fn seen_by(
        &mut self,
        reader: Option<usize>,
        producer: usize,
        own: Seen,
        of_item: bool,
        place: &'static str,
        source: &Spanned<RawSource>,
    ) -> Option<Seen> {
        let RawSource::Output { node, output, .. } = &source.value else {
            return Some(own);
        };
        if self.items_unknown(Some(producer)) || self.items_unknown(reader) {
            return None;
        }
        let (level, reads_at) = (
            self.level(producer),
            reader.map_or(0, |reader| self.level(reader)),
        );
        let gathered = |own: Seen| Seen {
            symbol: own.symbol,
            items: own.kind,
            kind: Kind::List,
        };
        if !of_item {
            if level == 0 {
                return Some(own);
            }
            if level > 1 || own.kind == Kind::List {
                let help = format!(
                    "nodes that run for the same items read it as `{node}.{output}[item]`; the list itself can be run \
                     over: `foreach: {node}.{output}[item]`"
                );
                self.list_of_lists(node, output, source.span, help);
                return None;
            }
            self.passed_through(producer, own.symbol, true, source.span)?;
            let regions = reader.and_then(|reader| self.own_region(reader));
            if let Some((reader, of)) = regions.zip(self.own_region(producer)) {
                self.gathered.push(Gathered {
                    reader,
                    of,
                    source: format!("{node}.{output}"),
                    span: source.span,
                });
            }
            return Some(gathered(own));
        }
        if level == 0 {
            self.no_items(node, output, source.span);
            return None;
        }
        let Some(reader) = reader else {
            let help = format!("all items together are `{node}.{output}`");
            self.problems
                .add(source.span, ProblemKind::ItemOutside(place), Some(help));
            return None;
        };
        if level > reads_at + 1 || (level > reads_at && own.kind == Kind::List) {
            let help = format!(
                "read it in a node that runs for the items of `{node}`, and gather what that gives"
            );
            self.list_of_lists(node, output, source.span, help);
            return None;
        }
        self.passed_through(producer, own.symbol, level > reads_at, source.span)?;
        let shared = level.min(reads_at);
        let regions = self.region_at(reader, shared);
        if let Some(regions) = regions.zip(self.region_at(producer, shared)) {
            let by = &self.raw.nodes[reader].name.value;
            self.links.push(Link {
                regions,
                by: format!("`{by}` reads `{node}.{output}` of the same item"),
                span: source.span,
            });
        }
        Some(if level > reads_at { gathered(own) } else { own })
    }

    /// An output of a workflow that runs for items is one of its nodes'. What it only passes on is outside of its items, and
    /// the first of several is chosen within.
    fn passed_through(
        &mut self,
        node: usize,
        symbol: Symbol,
        gathered: bool,
        span: Span,
    ) -> Option<()> {
        let raw = self.raw;
        let RawWork::Workflow(_) = raw.nodes[node].work else {
            return Some(());
        };
        let (true, Symbol::Inner { output, .. }) = (self.has_items(node), symbol) else {
            return Some(());
        };
        let inner = self.inner[node].clone()?;
        let from = &inner.outputs[usize::from(output)].from;
        let of_nodes = from
            .iter()
            .all(|from| matches!(from.value, From::Output { .. }));
        if of_nodes && (from.len() == 1 || !gathered) {
            return Some(());
        }
        let what = format!(
            "to gather output `{}` of a workflow, which is not one node's",
            inner.outputs[usize::from(output)].name.value
        );
        let help = "let a node of that workflow take it as an input, and give it as its output";
        self.problems
            .add(span, ProblemKind::NotYet(what), Some(help.to_owned()));
        None
    }
}
