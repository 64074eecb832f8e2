//! Nodes that are alike, drawn once: what keeps the picture of a large workflow readable.
//!
//! Nodes are alike if they do the same in the same way, and wait for as many nodes of each group, and are waited for by as
//! many, as each other. So a fan of equal nodes is one box, as is each step of parallel branches; and what an edge between
//! two boxes says holds for every node that they stand for: that it waits for so many of the others. Groups are found as
//! classes of nodes that are parted until that is so, forward and backward through the whole workflow. The critical path
//! parts nobody: a box says how many of its nodes are on it.

use super::scene::{Line, LineKind, Scene, SceneBox};
use super::words::pattern;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// Fewer are drawn each by itself, unless the picture is too large for a page even so.
const GROUP_MIN: usize = 3;
/// Rounds of parting; a workflow whose groups are not found by then is drawn node by node.
const ROUNDS_MAX: usize = 64;

/// The class of each box, by number.
type Classes = Vec<usize>;
/// A reason why one waits for another, and the class of that.
type Reason = (LineKind, Option<usize>, bool, usize);
/// The boxes that a line leads to and comes from, and for which reason.
type Between = (usize, usize, LineKind, Option<usize>, bool);

/// The same picture with one box for all that are alike. With more boxes than `page_max` pairs become one, too.
pub(super) fn grouped(scene: Scene, page_max: usize) -> Scene {
    let found = classes(&scene, GROUP_MIN);
    let found = match found {
        Some(few) if count(&few) <= page_max => Some(few),
        many => classes(&scene, 2).or(many),
    };
    match found {
        Some(classes) => merged(scene, &classes),
        None => scene,
    }
}

/// By box: the number of those whose names differ from its own in digits alone, if there are several; else 0.
fn families(scene: &Scene) -> Classes {
    let stem = |one: &SceneBox| -> String {
        let digits = |char: &char| char.is_ascii_digit();
        one.name.chars().filter(|char| !digits(char)).collect()
    };
    let stems = numbered(scene.boxes.iter().map(stem));
    let mut members = vec![0; count(&stems)];
    stems.iter().for_each(|stem| members[*stem] += 1);
    let family = |stem: &usize| if members[*stem] > 1 { stem + 1 } else { 0 };
    stems.iter().map(family).collect()
}

/// What must be the same of two boxes for them to be alike, beside their lines. The list that a node runs over has the name
/// of whoever gives it, which the lines tell, too.
fn look(one: &SceneBox) -> impl Ord + '_ {
    let ports = one.ports.iter().map(|port| &*port.label);
    (
        (one.shape as u8, &*one.note, one.worker),
        (one.foreach.is_some(), one.join, &one.marks),
        ports.collect::<Vec<&str>>(),
    )
}

/// Numbers from 0 for whatever is the same.
fn numbered<T: Ord>(keys: impl Iterator<Item = T>) -> Classes {
    let keys: Vec<T> = keys.collect();
    let mut sorted: Vec<&T> = keys.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let number = |key: &T| sorted.binary_search(&key).unwrap_or(0);
    keys.iter().map(number).collect()
}

fn count(classes: &Classes) -> usize {
    classes.iter().max().map_or(0, |last| last + 1)
}

/// The classes of boxes that are alike, each of so many at least or alone; none if they are not found in time.
fn classes(scene: &Scene, group_min: usize) -> Option<Classes> {
    let boxes = scene.boxes.len();
    let mut sides = [vec![Vec::new(); boxes], vec![Vec::new(); boxes]];
    for line in &scene.lines {
        sides[0][line.to].push((line, line.from));
        sides[1][line.from].push((line, line.to));
    }
    let order =
        super::rank::topological(scene.lines.iter().map(|line| (line.from, line.to)), boxes);
    let backward: Vec<usize> = order.iter().rev().copied().collect();
    let looks = scene.boxes.iter().map(look);
    let mut classes = numbered(looks.zip(families(scene)));
    for _ in 0..ROUNDS_MAX {
        let before = count(&classes);
        classes = parted(&classes, &order, &sides[0]);
        classes = parted(&classes, &backward, &sides[1]);
        if count(&classes) > before {
            continue;
        }
        // Those of too few become ones of their own, which may part others.
        let mut members = vec![0; before];
        classes.iter().for_each(|class| members[*class] += 1);
        if members
            .iter()
            .all(|members| *members == 1 || *members >= group_min)
        {
            return Some(classes);
        }
        let alone = |(place, class): (usize, &usize)| {
            let few = members[*class] < group_min;
            (*class, if few { place } else { 0 })
        };
        classes = numbered(classes.iter().enumerate().map(alone));
    }
    None
}

/// Parts classes by the classes of those on one side, in an order in which these come first.
fn parted(classes: &Classes, order: &[usize], side: &[Vec<(&Line, usize)>]) -> Classes {
    let mut found: FxHashMap<(usize, Vec<Reason>), usize> = FxHashMap::default();
    let mut parted = vec![0; classes.len()];
    for place in order {
        let reasons = side[*place].iter();
        let reasons =
            reasons.map(|(line, other)| (line.kind, line.port, line.needed, parted[*other]));
        let mut reasons: Vec<Reason> = reasons.collect();
        reasons.sort_unstable();
        let next = found.len();
        parted[*place] = *found.entry((classes[*place], reasons)).or_insert(next);
    }
    parted
}

/// One box for each class, and one line for all that are between two of them for the same reason.
fn merged(scene: Scene, classes: &Classes) -> Scene {
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); count(classes)];
    for (place, class) in classes.iter().enumerate() {
        members[*class].push(place);
    }
    // In the order of their first members.
    members.sort_unstable_by_key(|members| members[0]);
    let mut box_of = vec![0; classes.len()];
    for (place, members) in members.iter().enumerate() {
        members.iter().for_each(|member| box_of[*member] = place);
    }
    let boxes = members.iter().map(|members| one_box(&scene, members));
    let boxes: Vec<SceneBox> = boxes.collect();
    let mut lines: BTreeMap<Between, Vec<Line>> = BTreeMap::new();
    for line in scene.lines {
        let key = (
            box_of[line.to],
            box_of[line.from],
            line.kind,
            line.port,
            line.needed,
        );
        lines.entry(key).or_default().push(line);
    }
    let line = |((to, from, ..), all): (Between, Vec<Line>)| {
        let each = all.len() / members[to].len();
        let mut label = all[0].label.clone();
        if all.iter().any(|line| line.label != label) {
            label = pattern(all.iter().map(|line| &*line.label));
        }
        Line {
            from,
            to,
            label,
            share: (each < members[from].len()).then(|| (each, members[from].len())),
            bytes: crossing(&all),
            critical: all.iter().any(|line| line.critical),
            ..all[0].clone()
        }
    };
    Scene {
        boxes,
        lines: lines.into_iter().map(line).collect(),
        ..scene
    }
}

/// What crosses along all of these lines, which lead to one worker: a node's payload travels there once.
fn crossing(all: &[Line]) -> u64 {
    let mut by_producer: BTreeMap<usize, u64> = BTreeMap::new();
    for line in all {
        let bytes = by_producer.entry(line.from).or_default();
        *bytes = line.bytes.max(*bytes);
    }
    by_producer
        .values()
        .fold(0, |sum, bytes| sum.saturating_add(*bytes))
}

fn one_box(scene: &Scene, members: &[usize]) -> SceneBox {
    let all = || members.iter().map(|member| &scene.boxes[*member]);
    let first = scene.boxes[members[0]].clone();
    if members.len() == 1 {
        return first;
    }
    let name = match pattern(all().map(|one| &*one.name)) {
        nothing if nothing == "…" => format!("{}, …", first.name),
        pattern => pattern,
    };
    let lists = all().filter_map(|one| one.foreach.as_deref());
    SceneBox {
        name,
        foreach: first.foreach.is_some().then(|| pattern(lists)),
        members: all().map(|one| one.name.clone()).collect(),
        critical: all().map(|one| one.critical).sum(),
        ..first
    }
}
