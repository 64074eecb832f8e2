//! Where columns stand, and how edges run between them.
//!
//! A picture that would be a long strip is folded, as text is into lines: its columns are parted into bands below each
//! other. Edges from one band to the next run round the end of the one and the beginning of the other, each on a lane of
//! its own.

use super::layout::{Draft, Layout, Link, Point, Rect, Size, Step, Way};
use super::position::positions;
use rustc_hash::FxHashMap;

/// What is left free around everything.
const MARGIN: f64 = 24.0;
/// Least and most room between columns.
const GAP_MIN: f64 = 48.0;
const GAP_MAX: f64 = 260.0;
/// So many times as wide as high a picture may be.
const STRIP: f64 = 5.0;
/// About how many times as wide as high a folded picture is to be.
const FOLDED: f64 = 1.6;
/// Between lanes, and around all of them.
const LANE: f64 = 7.0;
const LANES_MARGIN: f64 = 20.0;
/// What is left behind a fold, as a share of a line, at least: less is not worth one.
const REST_MIN: f64 = 0.3;
/// More lanes than this round a fold cost more than the fold is worth.
const LANES_MAX: usize = 16;

/// Places all that a draft holds.
pub(super) fn place(draft: &Draft, sizes: &[Size], links: &[Link]) -> Layout {
    let middle = positions(&draft.layers, &draft.extents);
    let columns = &draft.layers.columns;
    let width = |column: &Vec<usize>| {
        let boxes = column.iter().filter_map(|vertex| sizes.get(*vertex));
        boxes.map(|size| size.width).fold(0.0, f64::max)
    };
    let mut placing = Placing {
        draft,
        widths: columns.iter().map(width).collect(),
        gaps: gaps(draft, &middle, links),
        middle,
        left: vec![MARGIN; columns.len()],
        band: vec![0; columns.len()],
        bands: Vec::new(),
        lanes: FxHashMap::default(),
    };
    placing.part();
    placing.stand();
    let boxes = (0..sizes.len()).map(|vertex| {
        let (x, width, middle) = placing.at(vertex);
        let height = sizes[vertex].height;
        let y = middle - height / 2.0;
        Rect {
            x,
            y,
            width,
            height,
        }
    });
    let boxes: Vec<Rect> = boxes.collect();
    let ways = links.iter().zip(&draft.chains);
    let ways = ways
        .map(|(link, chain)| placing.way(chain, link.exit))
        .collect();
    let right = placing
        .bands
        .iter()
        .map(|band| band.right)
        .fold(0.0, f64::max);
    let bottom = placing.bands.last().map_or(0.0, |band| band.bottom);
    Layout {
        boxes,
        ways,
        width: right + MARGIN,
        height: bottom + MARGIN,
    }
}

/// Behind each column: the more edges there are and the steeper they run, the more.
fn gaps(draft: &Draft, middle: &[f64], links: &[Link]) -> Vec<f64> {
    let mut sums = vec![(0.0, 0.0); draft.layers.columns.len()];
    for edge in &draft.layers.edges {
        let (count, rise) = &mut sums[draft.column[edge.from]];
        *count += 1.0;
        *rise += (middle[edge.from] + edge.exit - middle[edge.to]).abs();
    }
    let gap = |(count, rise): &(f64, f64)| {
        let steepness = if *count > 0.0 { rise / count } else { 0.0 };
        (GAP_MIN + steepness * 0.16 + count * 0.7).min(GAP_MAX)
    };
    let mut gaps: Vec<f64> = sums.iter().map(gap).collect();
    for link in links {
        let before = &mut gaps[draft.column[link.to] - 1];
        *before = before.max(link.room);
    }
    gaps
}

/// Columns between two folds.
#[derive(Clone, Copy, Default)]
struct Band {
    /// By how much what stands in it is moved down.
    down: f64,
    /// Where its boxes end.
    right: f64,
    bottom: f64,
}

struct Placing<'a> {
    draft: &'a Draft,
    middle: Vec<f64>,
    widths: Vec<f64>,
    /// Behind each column.
    gaps: Vec<f64>,
    /// By column.
    left: Vec<f64>,
    band: Vec<usize>,
    bands: Vec<Band>,
    /// By the ends of an edge that goes round a fold: its lane, and how many lanes there are.
    lanes: FxHashMap<(usize, usize), (usize, usize)>,
}

impl Placing<'_> {
    /// Parts columns into bands.
    fn part(&mut self) {
        let count = self.widths.len();
        let total: f64 = self.widths.iter().sum::<f64>() + self.gaps.iter().sum::<f64>();
        let height = self.heights(0..count);
        let height = (height.1 - height.0).max(1.0);
        if total < STRIP * height || total < STRIP * 400.0 {
            return;
        }
        let bands = (total / (FOLDED * (height + 2.0 * LANES_MARGIN)))
            .sqrt()
            .ceil();
        let wanted = total / bands;
        let mut crossing: Vec<FxHashMap<(usize, usize), ()>> = vec![FxHashMap::default(); count];
        for edge in &self.draft.layers.edges {
            crossing[self.draft.column[edge.from]].insert((edge.from, edge.to), ());
        }
        let steps = self.widths.iter().zip(&self.gaps);
        let rest = steps.scan(total, |rest, (width, gap)| {
            *rest -= width + gap;
            Some(*rest)
        });
        let rest: Vec<f64> = rest.collect();
        let (mut band, mut wide) = (0, 0.0);
        let mut fewest: Option<(usize, usize)> = None;
        let mut column = 0;
        while column < count {
            self.band[column] = band;
            wide += self.widths[column] + self.gaps[column];
            let lanes = crossing[column].len();
            if wide > wanted * 0.8
                && lanes <= LANES_MAX
                && rest[column] >= wanted * REST_MIN
                && fewest.is_none_or(|(few, _)| lanes < few)
            {
                fewest = Some((lanes, column));
            }
            // Past the end of the line: back to where the fold cuts the fewest edges.
            if wide > wanted
                && column + 1 < count
                && let Some((_, fold)) = fewest.take()
            {
                band += 1;
                wide = 0.0;
                column = fold;
            }
            column += 1;
        }
    }

    /// The upper and lower end of what stands in some columns.
    fn heights(&self, columns: std::ops::Range<usize>) -> (f64, f64) {
        let vertices = self.draft.layers.columns[columns].iter().flatten();
        vertices.fold(
            (f64::INFINITY, f64::NEG_INFINITY),
            |(top, bottom), vertex| {
                let half = self.draft.extents[*vertex].height / 2.0;
                let middle = self.middle[*vertex];
                (top.min(middle - half), bottom.max(middle + half))
            },
        )
    }

    /// Gives every column and band its place, and every edge round a fold its lane.
    fn stand(&mut self) {
        let mut folded: Vec<Vec<(usize, usize)>> = vec![Vec::new(); self.widths.len()];
        for edge in &self.draft.layers.edges {
            let band = self.band[self.draft.column[edge.from]];
            if band != self.band[self.draft.column[edge.to]]
                && !folded[band].contains(&(edge.from, edge.to))
            {
                folded[band].push((edge.from, edge.to));
            }
        }
        for edges in &mut folded {
            // The lowest has the innermost lane, so that lanes of one fold cross no further than they must.
            edges.sort_by(|a, b| self.middle[b.0].total_cmp(&self.middle[a.0]));
            for (lane, ends) in edges.iter().enumerate() {
                self.lanes.insert(*ends, (lane, edges.len()));
            }
        }
        let room = |lanes: usize| {
            if lanes == 0 {
                0.0
            } else {
                LANES_MARGIN + LANE * lanes as f64
            }
        };
        let (mut first, mut top) = (0, MARGIN);
        let mut before = 0;
        while first < self.band.len() {
            let band = self.band[first];
            let behind = (first..self.band.len()).find(|column| self.band[*column] != band);
            let behind = behind.unwrap_or(self.band.len());
            let mut left = MARGIN + room(before);
            for column in first..behind {
                self.left[column] = left;
                left += self.widths[column] + self.gaps[column];
            }
            let (upper, lower) = self.heights(first..behind);
            let lanes = folded[band].len();
            let right = self.left[behind - 1] + self.widths[behind - 1];
            let bottom = top + lower - upper;
            self.bands.push(Band {
                down: top - upper,
                right: right + room(lanes),
                bottom,
            });
            top = bottom + LANES_MARGIN + room(lanes);
            before = lanes;
            first = behind;
        }
    }

    /// A vertex's left end, its column's width, and its middle.
    fn at(&self, vertex: usize) -> (f64, f64, f64) {
        let column = self.draft.column[vertex];
        let down = self.bands[self.band[column]].down;
        (
            self.left[column],
            self.widths[column],
            self.middle[vertex] + down,
        )
    }

    fn way(&self, chain: &[usize], exit: f64) -> Way {
        let (x, width, y) = self.at(chain[0]);
        let start = Point {
            x: x + width,
            y: y + exit,
        };
        let mut steps = Vec::new();
        let mut at = start;
        for (ends, last) in chain.windows(2).zip((0..chain.len() - 1).rev()) {
            let (x, width, y) = self.at(ends[1]);
            match self.lanes.get(&(ends[0], ends[1])) {
                None => steps.push(Step::Bend(Point { x, y })),
                Some((lane, lanes)) => {
                    self.round(&mut steps, at, Point { x, y }, ends[0], *lane, *lanes)
                }
            }
            at = Point { x, y };
            if last > 0 {
                at.x += width;
                steps.push(Step::Straight(at));
            }
        }
        Way { start, steps }
    }

    /// Round the end of the band of `from`, and on to a point at the beginning of the next.
    fn round(
        &self,
        steps: &mut Vec<Step>,
        at: Point,
        to: Point,
        from: usize,
        lane: usize,
        lanes: usize,
    ) {
        let band = self.bands[self.band[self.draft.column[from]]];
        let out = LANES_MARGIN / 2.0 + LANE * lane as f64;
        let right = band.right - LANES_MARGIN - LANE * lanes as f64 + out;
        let below = band.bottom + LANES_MARGIN / 2.0 + out;
        let left = to.x - LANES_MARGIN / 2.0 - LANE * (lanes - lane) as f64;
        let corners = [
            (right, at.y),
            (right, below),
            (left, below),
            (left, to.y),
            (to.x, to.y),
        ];
        steps.extend(corners.map(|(x, y)| Step::Straight(Point { x, y })));
    }
}
