//! The order within columns: as few crossings as a bounded number of rounds finds.

/// Rounds of sorting each column by where its neighbours stand.
const ROUNDS: usize = 24;
/// Rounds of changing neighbours' places.
const SWAP_ROUNDS: usize = 12;
/// With more edges than this the exchange of neighbours is left out: it is the slow part.
const SWAP_EDGES_MAX: usize = 6000;

/// An edge between vertices of neighbouring columns.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    /// Where it begins, from the middle of `from` downwards, in pixels.
    pub(super) exit: f64,
}

/// Columns of vertices, and what is between them.
pub(super) struct Layers {
    /// From left to right; in each the vertices from top to bottom.
    pub(super) columns: Vec<Vec<usize>>,
    /// By vertex: edges to the left, and to the right, by their places.
    incoming: Vec<Vec<usize>>,
    outgoing: Vec<Vec<usize>>,
    pub(super) edges: Vec<Edge>,
    /// By edge: its place among those of its beginning, from 0 to 1, as a share of a step between vertices.
    exit_share: Vec<f64>,
    place: Vec<f64>,
}

impl Layers {
    pub(super) fn new(columns: Vec<Vec<usize>>, edges: Vec<Edge>, vertices: usize) -> Self {
        let (mut incoming, mut outgoing) = (vec![Vec::new(); vertices], vec![Vec::new(); vertices]);
        for (index, edge) in edges.iter().enumerate() {
            outgoing[edge.from].push(index);
            incoming[edge.to].push(index);
        }
        let mut exit_share = vec![0.0; edges.len()];
        for all in &outgoing {
            let mut exits: Vec<f64> = all.iter().map(|edge| edges[*edge].exit).collect();
            exits.sort_unstable_by(f64::total_cmp);
            exits.dedup();
            for edge in all {
                let rank = exits
                    .iter()
                    .position(|exit| *exit == edges[*edge].exit)
                    .unwrap_or(0);
                exit_share[*edge] = (rank as f64 + 0.5) / exits.len() as f64 * 0.9;
            }
        }
        let mut layers = Self {
            columns,
            incoming,
            outgoing,
            edges,
            exit_share,
            place: vec![0.0; vertices],
        };
        layers.number();
        layers
    }

    pub(super) fn incoming(&self, vertex: usize) -> impl Iterator<Item = &Edge> {
        self.incoming[vertex].iter().map(|edge| &self.edges[*edge])
    }

    pub(super) fn outgoing(&self, vertex: usize) -> impl Iterator<Item = &Edge> {
        self.outgoing[vertex].iter().map(|edge| &self.edges[*edge])
    }

    fn number(&mut self) {
        for column in &self.columns {
            for (place, vertex) in column.iter().enumerate() {
                self.place[*vertex] = place as f64;
            }
        }
    }

    /// Orders all columns; the order in which they stand is the first try.
    pub(super) fn arrange(&mut self) {
        let mut best = (self.crossings(), self.columns.clone());
        let mut in_vain = 0;
        for round in 0..ROUNDS {
            if best.0 == 0 || in_vain == 6 {
                break;
            }
            let rightwards = round % 2 == 0;
            for step in 0..self.columns.len() {
                let column = if rightwards {
                    step
                } else {
                    self.columns.len() - 1 - step
                };
                self.sort(column, rightwards);
            }
            if self.edges.len() <= SWAP_EDGES_MAX {
                self.exchange();
            }
            let crossings = self.crossings();
            in_vain += 1;
            if crossings < best.0 {
                best = (crossings, self.columns.clone());
                in_vain = 0;
            }
        }
        self.columns = best.1;
        self.number();
    }

    /// By where neighbours on one side stand on average; what has none stays about where it is.
    fn sort(&mut self, column: usize, by_left: bool) {
        let wish = |vertex: &usize| {
            let places: Vec<f64> = self.neighbours(*vertex, by_left);
            if places.is_empty() {
                self.place[*vertex]
            } else {
                places.iter().sum::<f64>() / places.len() as f64
            }
        };
        let mut wishes: Vec<(f64, usize)> = self.columns[column]
            .iter()
            .map(|vertex| (wish(vertex), *vertex))
            .collect();
        wishes.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.columns[column] = wishes.into_iter().map(|(_, vertex)| vertex).collect();
        for (place, vertex) in self.columns[column].iter().enumerate() {
            self.place[*vertex] = place as f64;
        }
    }

    /// Where neighbours on one side stand, rising.
    fn neighbours(&self, vertex: usize, left: bool) -> Vec<f64> {
        let mut places: Vec<f64> = if left {
            let place = |edge: &usize| self.place[self.edges[*edge].from] + self.exit_share[*edge];
            self.incoming[vertex].iter().map(place).collect()
        } else {
            let place = |edge: &usize| self.place[self.edges[*edge].to];
            self.outgoing[vertex].iter().map(place).collect()
        };
        places.sort_unstable_by(f64::total_cmp);
        places
    }

    /// Lets neighbours change places where that takes crossings away.
    fn exchange(&mut self) {
        for _ in 0..SWAP_ROUNDS {
            let mut better = false;
            for column in 0..self.columns.len() {
                for upper in 1..self.columns[column].len() {
                    let (a, b) = (self.columns[column][upper - 1], self.columns[column][upper]);
                    let mut now = 0;
                    let mut then = 0;
                    for left in [true, false] {
                        let (of_a, of_b) = (self.neighbours(a, left), self.neighbours(b, left));
                        now += inversions(&of_a, &of_b);
                        then += inversions(&of_b, &of_a);
                    }
                    if then < now {
                        self.columns[column].swap(upper - 1, upper);
                        self.place.swap(a, b);
                        better = true;
                    }
                }
            }
            if !better {
                return;
            }
        }
    }

    /// Crossings in all.
    pub(super) fn crossings(&self) -> u64 {
        let between = |column: &Vec<usize>| {
            let edges = column.iter().flat_map(|vertex| &self.outgoing[*vertex]);
            let mut ends: Vec<(f64, usize)> = edges
                .map(|edge| {
                    let Edge { from, to, .. } = self.edges[*edge];
                    (
                        self.place[from] + self.exit_share[*edge],
                        self.place[to] as usize,
                    )
                })
                .collect();
            ends.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            crossings(&ends)
        };
        self.columns.iter().map(between).sum()
    }
}

/// How many of `above` stand behind one of `below`; both rise.
fn inversions(above: &[f64], below: &[f64]) -> u64 {
    let mut count = 0;
    let mut before = 0;
    for one in above {
        while before < below.len() && below[before] < *one {
            before += 1;
        }
        count += before as u64;
    }
    count
}

/// Pairs of edges that cross: those whose beginnings differ, and whose ends stand the other way round. Edges come in the
/// order of their beginnings, then of their ends.
fn crossings(ends: &[(f64, usize)]) -> u64 {
    let places = ends.iter().map(|(_, to)| to + 1).max().unwrap_or(0);
    // A Fenwick tree over the ends of edges that begin above.
    let mut tree = vec![0_u64; places + 1];
    let (mut count, mut seen, mut index) = (0, 0, 0);
    while index < ends.len() {
        let same = ends[index..]
            .iter()
            .take_while(|end| end.0 == ends[index].0)
            .count();
        let group = &ends[index..index + same];
        for (_, to) in group {
            let (mut at, mut up_to) = (to + 1, 0);
            while at > 0 {
                up_to += tree[at];
                at &= at - 1;
            }
            count += seen - up_to;
        }
        for (_, to) in group {
            let mut at = to + 1;
            while at < tree.len() {
                tree[at] += 1;
                at += at & at.wrapping_neg();
            }
            seen += 1;
        }
        index += same;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: usize, to: usize) -> Edge {
        Edge {
            from,
            to,
            exit: 0.0,
        }
    }

    #[test]
    fn crossings_are_counted() {
        assert_eq!(crossings(&[(0.0, 2), (1.0, 1), (2.0, 0)]), 3);
        assert_eq!(crossings(&[(0.0, 0), (0.0, 2), (1.0, 1)]), 1);
        assert_eq!(crossings(&[(0.0, 0), (0.0, 1), (1.0, 1), (2.0, 1)]), 0);
        assert_eq!(inversions(&[1.0, 2.0], &[0.5, 1.5, 9.0]), 3);
    }

    #[test]
    fn crossings_that_can_be_avoided_are() {
        // Four chains, each column in another order.
        let columns = vec![vec![0, 1, 2, 3], vec![7, 5, 4, 6], vec![9, 8, 11, 10]];
        let edges = (0..8).map(|vertex| edge(vertex, vertex + 4)).collect();
        let mut layers = Layers::new(columns, edges, 12);
        assert!(layers.crossings() > 0);
        layers.arrange();
        assert_eq!(layers.crossings(), 0);
    }
}
