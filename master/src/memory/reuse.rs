//! How much memory can be handed on: from payloads that are gone to payloads that begin later.
//!
//! Payloads of which none is gone before another begins may be there at once. The worst case is the heaviest such set: a
//! maximum weighted antichain of the order "is gone before the other begins". By Dilworth's theorem, with weights, it is the
//! sum of all weights less the most that can be handed on: each byte of a payload goes to at most one later one, and each
//! byte of a payload comes from at most one earlier one. That most is a maximum flow. A flow that is not the maximum hands on
//! less, so that whatever is found is an upper bound of the worst case.
//!
//! E. A. Dinic, "Algorithm for solution of a problem of maximum flow in networks with power estimation", Soviet Mathematics
//! Doklady 11, 1970; R. P. Dilworth, "A decomposition theorem for partially ordered sets", Annals of Mathematics 51, 1950.

use std::collections::VecDeque;

/// Rounds of the search for ways, at most. What is found until then is a bound as well.
const ROUNDS_MAX: usize = 256;

#[derive(Clone, Copy, Debug)]
struct Arc {
    to: u32,
    /// The way back.
    back: u32,
    room: u64,
}

/// A network through which memory is handed on.
#[derive(Debug)]
pub(super) struct Flow {
    arcs: Vec<Arc>,
    /// By vertex: its arcs.
    from: Vec<Vec<u32>>,
}

impl Flow {
    pub(super) fn new(vertices: usize) -> Self {
        Self {
            arcs: Vec::new(),
            from: vec![Vec::new(); vertices],
        }
    }

    /// From one vertex to another at most `room` bytes may go.
    pub(super) fn arc(&mut self, from: usize, to: usize, room: u64) {
        let at = self.arcs.len() as u32;
        self.arcs.push(Arc {
            to: to as u32,
            back: at + 1,
            room,
        });
        self.arcs.push(Arc {
            to: from as u32,
            back: at,
            room: 0,
        });
        self.from[from].push(at);
        self.from[to].push(at + 1);
    }

    /// The most bytes that go from `source` to `sink`, or what was found of it.
    pub(super) fn most(&mut self, source: usize, sink: usize) -> u64 {
        let mut flow = 0_u64;
        for _ in 0..ROUNDS_MAX {
            let level = self.levels(source);
            if level[sink] == u32::MAX {
                break;
            }
            let mut next = vec![0; self.from.len()];
            while let Some(bytes) = self.way(source, sink, &level, &mut next) {
                flow = flow.saturating_add(bytes);
            }
        }
        flow
    }

    /// How far each vertex is from the source, by arcs that have room.
    fn levels(&self, source: usize) -> Vec<u32> {
        let mut level = vec![u32::MAX; self.from.len()];
        level[source] = 0;
        let mut queue = VecDeque::from([source]);
        while let Some(vertex) = queue.pop_front() {
            for arc in &self.from[vertex] {
                let Arc { to, room, .. } = self.arcs[*arc as usize];
                if room > 0 && level[to as usize] == u32::MAX {
                    level[to as usize] = level[vertex] + 1;
                    queue.push_back(to as usize);
                }
            }
        }
        level
    }

    /// Takes one of the shortest ways, and as much through it as it has room for.
    fn way(
        &mut self,
        source: usize,
        sink: usize,
        level: &[u32],
        next: &mut [usize],
    ) -> Option<u64> {
        let mut path: Vec<u32> = Vec::new();
        let mut vertex = source;
        while vertex != sink {
            match self.from[vertex].get(next[vertex]) {
                Some(arc) => {
                    let Arc { to, room, .. } = self.arcs[*arc as usize];
                    if room > 0 && level[to as usize] == level[vertex] + 1 {
                        path.push(*arc);
                        vertex = to as usize;
                    } else {
                        next[vertex] += 1;
                    }
                }
                // It leads nowhere: back, and not this way again.
                None => {
                    let arc = path.pop()?;
                    vertex = self.arcs[self.arcs[arc as usize].back as usize].to as usize;
                    next[vertex] += 1;
                }
            }
        }
        let rooms = path.iter().map(|arc| self.arcs[*arc as usize].room);
        let bytes = rooms.min()?;
        for arc in path {
            let back = self.arcs[arc as usize].back;
            self.arcs[arc as usize].room -= bytes;
            let room = &mut self.arcs[back as usize].room;
            *room = room.saturating_add(bytes);
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_through_a_network_is_what_its_narrowest_cut_lets_through() {
        let mut flow = Flow::new(6);
        for (from, to, room) in [
            (0, 1, 16),
            (0, 2, 13),
            (1, 2, 10),
            (2, 1, 4),
            (1, 3, 12),
            (3, 2, 9),
            (2, 4, 14),
            (4, 3, 7),
            (3, 5, 20),
            (4, 5, 4),
        ] {
            flow.arc(from, to, room);
        }
        assert_eq!(flow.most(0, 5), 23);
    }

    #[test]
    fn a_way_that_was_taken_is_given_back_where_that_lets_more_through() {
        // The first shortest way takes the middle; the most goes by the two others.
        let mut flow = Flow::new(6);
        for (from, to) in [(0, 1), (0, 2), (1, 4), (2, 3), (2, 4), (3, 5), (4, 5)] {
            flow.arc(from, to, 1);
        }
        flow.arc(1, 3, 1);
        assert_eq!(flow.most(0, 5), 2);
    }

    #[test]
    fn nothing_goes_where_no_way_leads() {
        let mut flow = Flow::new(3);
        flow.arc(0, 1, u64::MAX);
        assert_eq!(flow.most(0, 2), 0);
    }
}
