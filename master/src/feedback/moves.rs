//! Which nodes run elsewhere in new placements than in the present ones.

use crate::graph::Graph;
use crate::place::Placement;
use engine::plan::{NodeId, Part};

/// A node that is to run elsewhere, or in other parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Move {
    /// Which node.
    pub node: String,
    /// In which of the new placements, from 1.
    pub placement: u16,
    /// Which present placement that takes the place of, from 1; none if there is one placement more.
    pub instead_of: Option<u16>,
    /// Its present worker; of a divided node each part's, with its share. Empty if there is one placement more.
    pub from: String,
    /// The new one, likewise.
    pub to: String,
}

/// Where each node runs, part by part, by its place in the definition.
type Places = Vec<Vec<(usize, Option<Part>)>>;

/// The placements of a graph.
type Placed<'a> = (&'a Graph, &'a [Placement]);

fn places(graph: &Graph, placement: &Placement) -> Places {
    let of = |id: &NodeId| (placement.worker(*id), graph.node(*id).part);
    let copies = graph.copies_by_definition();
    copies
        .iter()
        .map(|copies| copies.iter().map(of).collect())
        .collect()
}

/// Which present placement each new one takes the place of: the one that it is like, if there is one, and else one of those
/// that are left, in their order.
fn pairs(old: &[Places], new: &[Places]) -> Vec<Option<usize>> {
    let mut left: Vec<usize> = (0..old.len()).collect();
    let alike = new.iter().map(|places| {
        let found = left.iter().position(|number| old[*number] == *places)?;
        Some(left.remove(found))
    });
    let mut pairs: Vec<Option<usize>> = alike.collect();
    let mut left = left.into_iter();
    for pair in pairs.iter_mut().filter(|pair| pair.is_none()) {
        *pair = left.next();
    }
    pairs
}

/// The nodes that run elsewhere in the new placements, which are of the same definition as the old ones. `name` gives a
/// worker's name.
pub(super) fn moves(
    (old_graph, old): Placed<'_>,
    (graph, new): Placed<'_>,
    name: &dyn Fn(usize) -> String,
) -> Vec<Move> {
    let said = |places: &[(usize, Option<Part>)]| {
        let each = places.iter().map(|(worker, part)| match part {
            None => name(*worker),
            Some(part) => {
                let share = part.share;
                let percent =
                    100.0 * f64::from(share.behind - share.first) / f64::from(share.whole);
                format!("{} {percent:.0} %", name(*worker))
            }
        });
        each.collect::<Vec<_>>().join(", ")
    };
    let old: Vec<Places> = old.iter().map(|one| places(old_graph, one)).collect();
    let new: Vec<Places> = new.iter().map(|one| places(graph, one)).collect();
    let names = graph.ids_by_definition();
    let mut moves = Vec::new();
    for (number, instead_of) in pairs(&old, &new).into_iter().enumerate() {
        for (node, to) in new[number].iter().enumerate() {
            let from = instead_of.map(|old_number| &old[old_number][node]);
            if from == Some(to) {
                continue;
            }
            moves.push(Move {
                node: graph.node(names[node]).name.clone(),
                placement: number as u16 + 1,
                instead_of: instead_of.map(|number| number as u16 + 1),
                from: from.map_or_else(String::new, |from| said(from)),
                to: said(to),
            });
        }
    }
    moves
}
