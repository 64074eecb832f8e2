//! Finding a cycle among nodes, and the way round it.

/// A way from a node back to itself along predecessors, told in the direction in which data would flow; its first
/// node stands at its end again. `None` if there is none. Nodes are numbered from 0; the search begins at the lowest, and asks
/// for each node's predecessors once.
pub(super) fn find(
    nodes: usize,
    mut predecessors: impl FnMut(usize) -> Vec<usize>,
) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnPath,
        Done,
    }
    let mut marks = vec![Mark::New; nodes];
    // The way to the present node, each with the predecessors still to be looked at: recursion would be bounded only
    // by the length of the file.
    let mut path: Vec<(usize, std::vec::IntoIter<usize>)> = Vec::new();
    for start in 0..nodes {
        if marks[start] != Mark::New {
            continue;
        }
        marks[start] = Mark::OnPath;
        path.push((start, predecessors(start).into_iter()));
        while let Some((node, rest)) = path.last_mut() {
            let node = *node;
            match rest.next() {
                None => {
                    marks[node] = Mark::Done;
                    path.pop();
                }
                Some(next) if marks[next] == Mark::OnPath => {
                    let on_path = path.iter().map(|(node, _)| *node);
                    let mut way: Vec<usize> = on_path.skip_while(|node| *node != next).collect();
                    way.push(next);
                    way.reverse();
                    return Some(way);
                }
                Some(next) if marks[next] == Mark::New => {
                    marks[next] = Mark::OnPath;
                    path.push((next, predecessors(next).into_iter()));
                }
                Some(_) => {}
            }
        }
    }
    None
}
