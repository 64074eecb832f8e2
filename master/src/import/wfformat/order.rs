//! Which task comes before which, and which one a file is read from.

use super::read::Instance;
use crate::definition::ProblemKind;
use crate::import::read::Reader;
use rustc_hash::FxHashSet;
use std::collections::VecDeque;

/// The order of an instance.
pub(super) struct Order {
    /// How many tasks lie before each on the longest way.
    pub(super) levels: Vec<usize>,
    /// By task and in the order of what it reads: the task that wrote the file, if one did.
    pub(super) writers: Vec<Vec<Option<usize>>>,
    /// Files of which it is open which task wrote what is read.
    pub(super) ambiguous: Vec<usize>,
}

impl Order {
    /// The order, unless tasks wait for each other.
    pub(super) fn of(instance: &Instance, reader: &mut Reader) -> Option<Self> {
        let tasks = &instance.tasks;
        let mut written: Vec<Vec<usize>> = vec![Vec::new(); instance.files.len()];
        for (place, task) in tasks.iter().enumerate() {
            task.writes
                .iter()
                .for_each(|&file| written[file].push(place));
        }
        let mut before: Vec<Vec<usize>> = Vec::with_capacity(tasks.len());
        for (place, task) in tasks.iter().enumerate() {
            let only = task
                .reads
                .iter()
                .filter_map(|&file| match written[file][..] {
                    [writer] if writer != place => Some(writer),
                    _ => None,
                });
            let mut all: Vec<usize> = task.parents.iter().copied().chain(only).collect();
            let mut seen = FxHashSet::default();
            all.retain(|&task| seen.insert(task));
            before.push(all);
        }
        let Some(ranked) = ranks(&before) else {
            let path = cycle(&before);
            let span = path
                .first()
                .map_or_else(Default::default, |&task| tasks[task].id.span);
            let path = path
                .iter()
                .map(|&task| tasks[task].id.value.clone())
                .collect();
            let help = "tasks wait for their parents and for the files that they read: take one of these ways out";
            reader.add(span, ProblemKind::Cycle { path }, help);
            return None;
        };
        let (ranks, levels) = ranked;
        let mut ambiguous = Vec::new();
        let mut parents: FxHashSet<usize> = FxHashSet::default();
        let mut writers = Vec::with_capacity(tasks.len());
        for (place, task) in tasks.iter().enumerate() {
            parents.clear();
            parents.extend(&task.parents);
            let of_file = task.reads.iter().map(|&file| {
                let earlier = written[file].iter().copied();
                let earlier = earlier.filter(|&writer| ranks[writer] < ranks[place]);
                let last = earlier
                    .clone()
                    .max_by_key(|&writer| (parents.contains(&writer), ranks[writer]));
                if earlier.count() > 1 {
                    ambiguous.push(file);
                }
                last
            });
            writers.push(of_file.collect());
        }
        ambiguous.sort_unstable();
        ambiguous.dedup();
        Some(Self {
            levels,
            writers,
            ambiguous,
        })
    }
}

/// The place of each task in an order that puts it behind all that are before it, and its level; none if there is no order.
fn ranks(before: &[Vec<usize>]) -> Option<(Vec<usize>, Vec<usize>)> {
    let mut undecided: Vec<usize> = before.iter().map(Vec::len).collect();
    let mut next = vec![Vec::new(); before.len()];
    for (task, before) in before.iter().enumerate() {
        before.iter().for_each(|&before| next[before].push(task));
    }
    let (mut ranks, mut levels) = (vec![0; before.len()], vec![0; before.len()]);
    let mut queue: VecDeque<usize> = (0..before.len())
        .filter(|&task| undecided[task] == 0)
        .collect();
    let mut ranked = 0;
    while let Some(task) = queue.pop_front() {
        ranks[task] = ranked;
        ranked += 1;
        for &after in &next[task] {
            levels[after] = levels[after].max(levels[task] + 1);
            undecided[after] -= 1;
            if undecided[after] == 0 {
                queue.push_back(after);
            }
        }
    }
    (ranked == before.len()).then_some((ranks, levels))
}

/// A way round, its first task again at its end. There is one, or there would be an order.
fn cycle(before: &[Vec<usize>]) -> Vec<usize> {
    // What has nothing before it goes, until only ways round, and what lies behind them, are left.
    let mut left: Vec<usize> = before.iter().map(Vec::len).collect();
    let mut next = vec![Vec::new(); before.len()];
    for (task, before) in before.iter().enumerate() {
        before.iter().for_each(|&before| next[before].push(task));
    }
    let mut open: Vec<usize> = (0..before.len()).filter(|&task| left[task] == 0).collect();
    while let Some(task) = open.pop() {
        for &after in &next[task] {
            left[after] -= 1;
            if left[after] == 0 {
                open.push(after);
            }
        }
    }
    let Some(mut at) = (0..before.len()).find(|&task| left[task] > 0) else {
        return Vec::new();
    };
    let mut seen = vec![usize::MAX; before.len()];
    let mut path = Vec::new();
    while seen[at] == usize::MAX {
        seen[at] = path.len();
        path.push(at);
        at = before[at]
            .iter()
            .copied()
            .find(|&task| left[task] > 0)
            .unwrap_or(at);
    }
    path.drain(..seen[at]);
    path.push(at);
    path.reverse();
    path
}
