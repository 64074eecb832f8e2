//! Columns: every item stands to the right of all that it waits for, and no column is too tall to read.

/// Rounds in which items move towards those they share most links with; it settles long before.
const ROUNDS: usize = 8;

/// The rank of each item, from 0. Links are pairs of items, and have no cycle; items may stand in any order.
pub(super) fn ranks(items: usize, links: &[(usize, usize)]) -> Vec<usize> {
    let (mut incoming, mut outgoing) = (vec![Vec::new(); items], vec![Vec::new(); items]);
    for (from, to) in links {
        outgoing[*from].push(*to);
        incoming[*to].push(*from);
    }
    let order = topological(links.iter().copied(), items);
    let mut rank = vec![0; items];
    for item in &order {
        rank[*item] = incoming[*item]
            .iter()
            .map(|from| rank[*from] + 1)
            .max()
            .unwrap_or(0);
    }
    // Towards those who wait for it, where that makes more links shorter than longer.
    for _ in 0..ROUNDS {
        let mut moved = false;
        for item in order.iter().rev() {
            let next = outgoing[*item].iter().map(|to| rank[*to] - 1).min();
            if let Some(next) = next
                && next > rank[*item]
                && outgoing[*item].len() > incoming[*item].len()
            {
                rank[*item] = next;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    let first = rank.iter().copied().min().unwrap_or(0);
    rank.iter().map(|rank| rank - first).collect()
}

/// All items, each behind those that have a link to it.
///
/// # Panics
/// If links have a cycle.
pub(super) fn topological(links: impl Iterator<Item = (usize, usize)>, items: usize) -> Vec<usize> {
    let (mut waits, mut outgoing) = (vec![0_usize; items], vec![Vec::new(); items]);
    for (from, to) in links {
        waits[to] += 1;
        outgoing[from].push(to);
    }
    let mut order: Vec<usize> = (0..items).filter(|item| waits[*item] == 0).collect();
    let mut next = 0;
    while let Some(item) = order.get(next).copied() {
        next += 1;
        for to in &outgoing[item] {
            waits[*to] -= 1;
            if waits[*to] == 0 {
                order.push(*to);
            }
        }
    }
    assert_eq!(order.len(), items, "what is drawn has no cycles");
    order
}

/// More columns than this are not made of one rank: the edges that must pass take the room that is won.
const PARTS_MAX: usize = 4;

/// The column of each item, where ranks with more than `tallest` items are parted into several columns. Items stand in
/// ranks in a given order, and neighbours go to different columns, so that each keeps about its height.
pub(super) fn columns(ranks: &[Vec<usize>], items: usize, tallest: usize) -> Vec<usize> {
    let mut column_of = vec![0; items];
    let mut column = 0;
    for rank in ranks {
        let parts = rank.len().div_ceil(tallest).clamp(1, PARTS_MAX);
        for (place, item) in rank.iter().enumerate() {
            column_of[*item] = column + place % parts;
        }
        column += parts;
    }
    column_of
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_stands_close_to_those_who_wait_for_it() {
        // 0 → 1 → 2 → 3, and 4 → 3 alone.
        let links = [(0, 1), (1, 2), (2, 3), (4, 3)];
        assert_eq!(ranks(5, &links), [0, 1, 2, 3, 2]);
    }

    #[test]
    fn a_tall_rank_is_parted_evenly() {
        let ranks = [vec![0], (1..8).collect(), vec![8]];
        assert_eq!(columns(&ranks, 9, 3), [0, 1, 2, 3, 1, 2, 3, 1, 4]);
    }
}
