//! A layered layout, from left to right: columns, the order in them, heights, and the ways of edges.
//!
//! An edge that spans several columns passes each of them in a gap of its own, so that none runs behind a box. Edges that
//! leave one place for many, or come from many to one, share their way as far as they can.

use super::order::{Edge, Layers};
use super::place::place;
use super::position::Extent;
use super::rank;
use rustc_hash::FxHashMap;

/// Height that an edge on its way takes.
const WAY_HEIGHT: f64 = 2.0;

/// The size of a box, in pixels.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Size {
    pub(super) width: f64,
    pub(super) height: f64,
}

/// An edge to lay.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Link {
    pub(super) from: usize,
    pub(super) to: usize,
    /// Where it begins, from the middle of `from` downwards.
    pub(super) exit: f64,
    /// Room that it needs in front of `to`, for what stands on it.
    pub(super) room: f64,
    /// What it must not share a way with: edges of another class.
    pub(super) class: usize,
}

/// Where a box stands.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A point.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// How an edge runs: from the right of one box to the left of another.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Way {
    pub(super) start: Point,
    pub(super) steps: Vec<Step>,
}

/// A part of a way, up to a point.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Step {
    /// Level, or plumb.
    Straight(Point),
    /// From level to level in an S.
    Bend(Point),
}

impl Step {
    /// Up to where it leads.
    pub(super) const fn end(self) -> Point {
        match self {
            Self::Straight(end) | Self::Bend(end) => end,
        }
    }
}

/// Where everything stands.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) boxes: Vec<Rect>,
    /// By link.
    pub(super) ways: Vec<Way>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A part of a link's way that others may share.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Bundle {
    /// All that leave a place: the box, the exit in hundredths of a pixel, the class.
    From(usize, i64, usize),
    /// All that come to a box: the box, the class.
    To(usize, usize),
}

/// Lays out boxes and links. Links have no cycle.
pub(super) fn lay_out(sizes: &[Size], links: &[Link]) -> Layout {
    let pairs: Vec<(usize, usize)> = links.iter().map(|link| (link.from, link.to)).collect();
    let ranks = rank::ranks(sizes.len(), &pairs);
    let count = sizes.len().max(1) as f64;
    let heights: Vec<f64> = (0..sizes.len()).map(|item| item as f64 / count).collect();
    let mut first = Draft::new(sizes, links, &ranks, &heights);
    first.layers.arrange();
    let boxes_only = |column: &Vec<usize>| {
        let boxes = column
            .iter()
            .copied()
            .filter(|vertex| *vertex < sizes.len());
        boxes.collect()
    };
    let ordered: Vec<Vec<usize>> = first.layers.columns.iter().map(boxes_only).collect();
    let columns = rank::columns(&ordered, sizes.len(), tallest(sizes.len()));
    if columns == ranks {
        return place(&first, sizes, links);
    }
    // What was found about the order holds for the parts of a rank too. It is kept: to avoid the crossings between the
    // parts they would have to stand below each other, and the picture would grow as tall as it was.
    let mut heights = vec![0.0; sizes.len()];
    for rank in &first.layers.columns {
        for (place, vertex) in rank.iter().enumerate() {
            if let Some(height) = heights.get_mut(*vertex) {
                *height = (place as f64 + 0.5) / rank.len() as f64;
            }
        }
    }
    place(&Draft::new(sizes, links, &columns, &heights), sizes, links)
}

/// Most boxes in a column: so many that the whole is about as high as it is wide.
fn tallest(boxes: usize) -> usize {
    let square = (boxes as f64).sqrt() * 2.2;
    (square as usize).max(16)
}

/// Who stands in which column.
pub(super) struct Draft {
    pub(super) layers: Layers,
    pub(super) extents: Vec<Extent>,
    /// By vertex: the boxes, then the ways that pass columns.
    pub(super) column: Vec<usize>,
    /// By link: the vertices on its way, both ends included.
    pub(super) chains: Vec<Vec<usize>>,
}

impl Draft {
    /// `heights` say about where each box stands, from 0 to 1: the first try at an order.
    fn new(sizes: &[Size], links: &[Link], column_of: &[usize], heights: &[f64]) -> Self {
        let mut extents: Vec<Extent> = sizes
            .iter()
            .map(|size| Extent {
                height: size.height,
                on_the_way: false,
            })
            .collect();
        let mut column = column_of.to_vec();
        // By vertex: the sum of the heights that it is wished at, and how many there are.
        let mut wishes: Vec<(f64, f64)> = heights.iter().map(|height| (*height, 1.0)).collect();
        let mut leaving: FxHashMap<Bundle, usize> = FxHashMap::default();
        for link in links {
            for bundle in bundles(link) {
                *leaving.entry(bundle).or_default() += 1;
            }
        }
        let mut on_the_way: FxHashMap<(Bundle, usize), usize> = FxHashMap::default();
        let mut chains = Vec::with_capacity(links.len());
        for link in links {
            let [from, to] = bundles(link);
            let bundle = if leaving[&to] > leaving[&from] {
                to
            } else {
                from
            };
            let mut chain = vec![link.from];
            for between in column_of[link.from] + 1..column_of[link.to] {
                let vertex = *on_the_way.entry((bundle, between)).or_insert_with(|| {
                    extents.push(Extent {
                        height: WAY_HEIGHT,
                        on_the_way: true,
                    });
                    column.push(between);
                    wishes.push((0.0, 0.0));
                    column.len() - 1
                });
                let span = (column_of[link.to] - column_of[link.from]) as f64;
                let share = (between - column_of[link.from]) as f64 / span;
                wishes[vertex].0 += heights[link.from] * (1.0 - share) + heights[link.to] * share;
                wishes[vertex].1 += 1.0;
                chain.push(vertex);
            }
            chain.push(link.to);
            chains.push(chain);
        }
        let mut edges: Vec<Edge> = Vec::new();
        let mut known = rustc_hash::FxHashSet::default();
        for (link, chain) in links.iter().zip(&chains) {
            for (place, ends) in chain.windows(2).enumerate() {
                let exit = if place == 0 { link.exit } else { 0.0 };
                if known.insert((ends[0], ends[1], exit.to_bits())) {
                    edges.push(Edge {
                        from: ends[0],
                        to: ends[1],
                        exit,
                    });
                }
            }
        }
        let count = column.iter().max().map_or(0, |last| last + 1);
        let mut columns = vec![Vec::new(); count];
        for (vertex, column) in column.iter().enumerate() {
            columns[*column].push(vertex);
        }
        let wish = |vertex: &usize| wishes[*vertex].0 / wishes[*vertex].1;
        for column in &mut columns {
            column.sort_by(|a, b| wish(a).total_cmp(&wish(b)));
        }
        let layers = Layers::new(columns, edges, column.len());
        Self {
            layers,
            extents,
            column,
            chains,
        }
    }
}

fn bundles(link: &Link) -> [Bundle; 2] {
    let exit = (link.exit * 100.0) as i64;
    [
        Bundle::From(link.from, exit, link.class),
        Bundle::To(link.to, link.class),
    ]
}
