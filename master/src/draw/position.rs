//! How high each vertex stands in its column: as near to its neighbours as the order and the gaps allow.

use super::order::{Edge, Layers};

/// Rounds to the right and back.
const ROUNDS: usize = 10;

/// A vertex, as far as its place is concerned.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Extent {
    pub(super) height: f64,
    /// Whether it is a point on an edge's way.
    pub(super) on_the_way: bool,
}

/// Gap between boxes.
const BOX_GAP: f64 = 14.0;
/// Gap beside an edge that passes.
const WAY_GAP: f64 = 6.0;

/// How far apart the middles of two vertices stand at least, the first above the second.
pub(super) fn distance(above: Extent, below: Extent) -> f64 {
    let gap = if above.on_the_way || below.on_the_way {
        WAY_GAP
    } else {
        BOX_GAP
    };
    f64::midpoint(above.height, below.height) + gap
}

/// The middle of each vertex, from 0 downwards.
pub(super) fn positions(layers: &Layers, extents: &[Extent]) -> Vec<f64> {
    let mut middle = vec![0.0; extents.len()];
    for column in &layers.columns {
        let mut at = 0.0;
        for (place, vertex) in column.iter().enumerate() {
            if place > 0 {
                at += distance(extents[column[place - 1]], extents[*vertex]);
            }
            middle[*vertex] = at;
        }
        // All columns about one axis to begin with.
        for vertex in column {
            middle[*vertex] -= at / 2.0;
        }
    }
    let count = layers.columns.len();
    for round in 0..ROUNDS {
        let last = round + 2 >= ROUNDS;
        for column in 0..count {
            settle(layers, extents, &mut middle, column, true, last);
        }
        for column in (0..count).rev() {
            settle(layers, extents, &mut middle, column, last, true);
        }
    }
    let top = (0..extents.len()).map(|vertex| middle[vertex] - extents[vertex].height / 2.0);
    let top = top.fold(f64::INFINITY, f64::min);
    middle.iter().map(|middle| middle - top).collect()
}

/// An edge pulls the harder the longer the way is that it is part of: bends are worse than slopes.
fn pull(extents: &[Extent], edge: &Edge) -> f64 {
    match (extents[edge.from].on_the_way, extents[edge.to].on_the_way) {
        (true, true) => 8.0,
        (true, false) | (false, true) => 2.0,
        (false, false) => 1.0,
    }
}

fn settle(
    layers: &Layers,
    extents: &[Extent],
    middle: &mut [f64],
    column: usize,
    left: bool,
    right: bool,
) {
    let column = &layers.columns[column];
    let mut wishes = Vec::with_capacity(column.len());
    for vertex in column {
        let (mut sum, mut pulls) = (0.0, 0.0);
        let incoming = layers.incoming(*vertex).filter(|_| left);
        let incoming = incoming.map(|edge| (edge, middle[edge.from] + edge.exit));
        let outgoing = layers.outgoing(*vertex).filter(|_| right);
        let outgoing = outgoing.map(|edge| (edge, middle[edge.to] - edge.exit));
        for (edge, wish) in incoming.chain(outgoing) {
            sum += pull(extents, edge) * wish;
            pulls += pull(extents, edge);
        }
        wishes.push(if pulls > 0.0 {
            (sum / pulls, pulls)
        } else {
            // Nobody pulls: it makes room for others.
            (middle[*vertex], 0.1)
        });
    }
    let mut offsets = vec![0.0; column.len()];
    for place in 1..column.len() {
        offsets[place] =
            offsets[place - 1] + distance(extents[column[place - 1]], extents[column[place]]);
    }
    for (wish, offset) in wishes.iter_mut().zip(&offsets) {
        wish.0 -= offset;
    }
    for ((vertex, place), offset) in column.iter().zip(rising(&wishes)).zip(&offsets) {
        middle[*vertex] = place + offset;
    }
}

/// The rising numbers nearest to these, by weighted squares: neighbours that stand the wrong way round are pooled.
fn rising(wishes: &[(f64, f64)]) -> Vec<f64> {
    // Mean, weight and count of each pool.
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for (wish, weight) in wishes {
        let mut pool = (*wish, *weight, 1);
        while let Some(before) = pools.last().copied()
            && before.0 > pool.0
        {
            pools.pop();
            let weight = before.1 + pool.1;
            pool = (
                (before.0 * before.1 + pool.0 * pool.1) / weight,
                weight,
                before.2 + pool.2,
            );
        }
        pools.push(pool);
    }
    pools
        .into_iter()
        .flat_map(|(mean, _, count)| std::iter::repeat_n(mean, count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_rising_numbers_are_found() {
        assert_eq!(
            rising(&[(1.0, 1.0), (3.0, 1.0), (2.0, 3.0), (5.0, 1.0)]),
            [1.0, 2.25, 2.25, 5.0]
        );
        assert_eq!(rising(&[]), [0.0; 0]);
    }
}
