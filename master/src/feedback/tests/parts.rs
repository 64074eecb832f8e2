//! Nodes of which there are several: parts of a divided one, and those of several placements.

use super::{Node, NodeId, Profile, node, of, parse, profile};
use crate::feedback::files::Hinted;
use crate::feedback::gaps::Gap;
use crate::feedback::measured::Worker;
use engine::plan::{Part, Share};

/// A part of so many alike.
fn part(number: u16, of: u16) -> Option<Part> {
    let share = Share {
        first: number.into(),
        behind: u32::from(number) + 1,
        whole: of.into(),
    };
    Some(Part { number, of, share })
}

/// A part of `each` on this worker, which has run for `items` items and `run_ms` in each of four invocations, over nine items in
/// all.
fn each(id: NodeId, number: u16, worker: usize, items: u64, run_ms: u64) -> Node {
    let mut node = node(id, "each", worker, &[(0, &[0])]);
    node.part = part(number, 2);
    node.over = Some((0, 0));
    node.activations = 4 * items;
    node.outputs = vec![("out".to_owned(), of(&[10 * items; 4]))];
    node.run_ns = of(&vec![run_ms * 1_000_000; 4 * items as usize]);
    node.items = Some(of(&[9; 4]));
    node
}

/// What gives the list is on the first worker, and what takes all that was made of it on the second.
fn divided(parts: [Node; 2]) -> Profile {
    let [first, second] = parts;
    let mut profile = profile(vec![
        node(0, "list", 0, &[]),
        first,
        second,
        node(3, "all", 1, &[(9, &[0])]),
    ]);
    profile.parts_of = [(9, vec![1, 2])].into();
    profile
}

const TEXT: &str = "
workflow: w
input: { n: value }
nodes:
  list: { function: e:f, output: { out: list } }
  each: { function: e:f, foreach: list.out, input: { i: item }, output: { out: bytes } }
  all: { function: e:f, input: { i: each.out }, output: { out: bytes } }
output: { o: all.out }
";

/// Run time in milliseconds, bytes and items, as a file says of `each` then.
fn hints(profile: &Profile) -> (f64, u64, u64) {
    let hinted = Hinted::of(&parse(TEXT), profile).unwrap();
    let profile = hinted.definition().unwrap().nodes[1].profile.clone();
    (profile.runtime_ms, profile.output_bytes, profile.items)
}

#[test]
fn a_divided_node_is_one_whose_parts_give_their_bytes_and_activations_together() {
    let profile = divided([each(1, 0, 0, 4, 2), each(2, 1, 1, 5, 4)]);
    let wholes = profile.whole_nodes();
    let names: Vec<&str> = wholes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["list", "each", "all"]);
    let node = &wholes[1];
    assert_eq!((node.parts, node.nodes.as_slice()), (2, &[1, 2][..]));
    assert_eq!(node.workers, ["a", "b"]);
    assert_eq!((node.activations, node.ran, node.share), (36, 4, Some(1.0)));
    assert_eq!((node.run_ns.count(), node.queued_ns.count()), (36, 8));
    assert_eq!(node.output_mean_bytes(), Some(90.0));
    // Histograms tell 40 and 50 apart within 3.2 %.
    assert!((88..=92).contains(&node.output_p99_bytes().unwrap()));
    assert_eq!(node.items.as_ref().unwrap().mean(), Some(9.0));
    let (run_ms, bytes, items) = hints(&profile);
    assert!((run_ms - 28.0 / 9.0).abs() < 1e-3, "{run_ms}");
    assert_eq!((bytes, items), (90, 9));
    assert_eq!(profile.gaps(&wholes), []);
}

#[test]
fn a_part_counts_by_what_it_ran_and_not_by_how_much_of_that_was_measured() {
    // The second worker has measured one of the four invocations.
    let mut second = each(2, 1, 1, 5, 4);
    (second.ran, second.run_ns) = (1, of(&[4_000_000; 5]));
    second.outputs[0].1 = of(&[50]);
    let mut profile = divided([each(1, 0, 0, 4, 2), second]);
    profile.workers[1].measured = 1;
    let (run_ms, bytes, _) = hints(&profile);
    assert!((run_ms - 28.0 / 9.0).abs() < 1e-3, "{run_ms}");
    assert_eq!(bytes, 90);
}

#[test]
fn parts_without_items_give_nothing_and_parts_that_were_not_measured_are_like_the_others() {
    // Where lists have one item, it is the last part's: in three of four.
    let mut idle = each(1, 0, 0, 4, 2);
    (idle.ran, idle.activations) = (1, 4);
    (idle.outputs[0].1, idle.run_ns) = (of(&[40]), of(&[2_000_000; 4]));
    let seldom = divided([idle, each(2, 1, 1, 5, 4)]);
    assert_eq!(hints(&seldom).1, 60, "40 in one of four, and 50 in each");
    let mut never = each(1, 0, 0, 4, 2);
    (never.ran, never.activations) = (0, 0);
    (never.outputs[0].1, never.run_ns) = (of(&[]), of(&[]));
    let alone = divided([never.clone(), each(2, 1, 1, 5, 4)]);
    assert_eq!(hints(&alone), (4.0, 50, 9));
    assert_eq!(alone.gaps(&alone.whole_nodes()), []);

    never.activations = 16;
    let unmeasured = divided([never, each(2, 1, 1, 5, 4)]);
    assert_eq!(hints(&unmeasured), (4.0, 90, 9));
    let gap = Gap::Part {
        node: "each".to_owned(),
        part: Some((1, 2)),
        placement: 1,
        worker: "a".to_owned(),
    };
    assert_eq!(unmeasured.gaps(&unmeasured.whole_nodes()), [gap]);
}

#[test]
fn parts_get_their_sections_of_a_list_and_what_they_give_is_gathered_from_each() {
    let profile = divided([each(1, 0, 0, 4, 2), each(2, 1, 1, 5, 4)]);
    let wholes = profile.whole_nodes();
    let edges = profile.edges(&wholes);
    let told: Vec<_> = edges
        .iter()
        .map(|edge| {
            let names = (&*wholes[edge.from].name, &*wholes[edge.to].name);
            (names, edge.mean_bytes, edge.stays, edge.crossing_bytes)
        })
        .collect();
    // Half of the list's 100 bytes goes to the part on the other worker, and 40 bytes come from the one on the first.
    assert_eq!(
        told,
        [
            (("list", "each"), Some(100.0), true, 50.0),
            (("each", "all"), Some(90.0), true, 40.0)
        ]
    );
    let from_a_to_b = [("a".to_owned(), "b".to_owned())];
    assert!(edges.iter().all(|edge| edge.crosses == from_a_to_b));
    assert_eq!(profile.crossing_bytes(&wholes), 90.0);

    // Who reads the list otherwise needs all of it, and it goes there once.
    let mut greedy = profile.clone();
    greedy.nodes[3].reads.push((0, vec![0]));
    let wholes = greedy.whole_nodes();
    assert_eq!(greedy.crossing_bytes(&wholes), 140.0);
    let mut both = profile.clone();
    both.nodes[2].over = None;
    assert_eq!(both.crossing_bytes(&both.whole_nodes()), 140.0);
}

#[test]
fn a_divided_node_sends_to_the_parts_of_another_one_what_these_cover() {
    let mut profile = divided([each(1, 0, 0, 4, 2), each(2, 1, 1, 4, 4)]);
    // Three parts over what two have gathered: the second takes a third of each.
    profile.nodes.pop();
    for (number, worker) in [(0, 0), (1, 1), (2, 1)] {
        let mut next = node(3 + NodeId::from(number), "next", worker, &[(9, &[0])]);
        (next.part, next.over) = (part(number, 3), Some((9, 0)));
        profile.nodes.push(next);
    }
    let wholes = profile.whole_nodes();
    let edges = profile.edges(&wholes);
    let edge = edges.iter().find(|edge| wholes[edge.to].name == "next");
    // Of the first part's 40 bytes a third, which is a third of one half of all.
    let crossing = edge.unwrap().crossing_bytes;
    assert!((crossing - 40.0 / 3.0).abs() < 1e-9, "{crossing}");
}

/// Two placements on two workers, of which the first got one invocation and the second three.
fn twice() -> Profile {
    let worker = |name: &str, placement: u16, count: u64| Worker {
        name: name.to_owned(),
        placement,
        invocations: count,
        measured: count,
        speed: 1.0,
    };
    let cell = |id: NodeId, name: &str, worker: usize, count: u64, run_ms: u64| {
        let mut cell = node(id, name, worker, if id == 0 { &[] } else { &[(0, &[0])] });
        (cell.ran, cell.activations) = (count, count);
        cell.run_ns = of(&vec![run_ms * 1_000_000; count as usize]);
        cell.outputs[0].1 = of(&vec![100 * count; count as usize]);
        cell
    };
    let mut profile = profile(vec![
        cell(0, "first", 0, 1, 8),
        cell(1, "second", 0, 1, 1),
        cell(0, "first", 3, 3, 4),
        cell(1, "second", 2, 3, 1),
    ]);
    profile.placements = 2;
    profile.workers = vec![
        worker("a", 1, 1),
        worker("b", 1, 0),
        worker("a", 2, 3),
        worker("b", 2, 3),
    ];
    profile
}

#[test]
fn placements_are_more_of_the_same() {
    let profile = twice();
    let wholes = profile.whole_nodes();
    assert_eq!(wholes.len(), 2);
    let first = &wholes[0];
    assert_eq!((first.parts, first.nodes.as_slice()), (1, &[0, 2][..]));
    assert_eq!(first.workers, ["a", "b"]);
    assert_eq!(
        (first.activations, first.ran, first.share),
        (4, 4, Some(1.0))
    );
    assert_eq!(first.run_mean_ns, Some(5_000_000.0));
    // 100 bytes once and 300 three times.
    assert_eq!(first.output_mean_bytes(), Some(250.0));
    let shares = [1, 2].map(|number| profile.placement_share(number));
    assert_eq!(shares, [Some(0.25), Some(0.75)]);
    // In the second placement, where three of four go, it crosses.
    let edges = profile.edges(&wholes);
    assert_eq!(edges.len(), 1);
    assert_eq!(edges[0].crosses, [("b".to_owned(), "a".to_owned())]);
    assert!(edges[0].stays);
    assert_eq!(edges[0].crossing_bytes, 0.75 * 250.0);
    assert_eq!(profile.crossing_bytes(&wholes), 0.75 * 250.0);
    assert_eq!(profile.gaps(&wholes), []);
}

#[test]
fn run_times_are_those_of_a_worker_of_speed_1() {
    let mut profile = divided([each(1, 0, 0, 4, 2), each(2, 1, 1, 5, 4)]);
    profile.workers[1].speed = 0.5;
    assert_eq!(hints(&profile).0, 2.0);
    // What it took is shown as it was.
    let mean_ns = profile.whole_nodes()[1].run_mean_ns.unwrap();
    assert!((mean_ns - 28e6 / 9.0).abs() < 1.0, "{mean_ns}");
}

#[test]
fn what_ran_in_no_placement_or_in_one_alone_is_told() {
    let mut profile = twice();
    profile.workers[0].invocations = 0;
    for place in [0, 1] {
        let node = &mut profile.nodes[place];
        (node.activations, node.ran) = (0, 0);
    }
    let never = &mut profile.nodes[3];
    (never.activations, never.ran) = (0, 0);
    let unmeasured = &mut profile.nodes[2];
    unmeasured.ran = 0;
    let gaps = profile.gaps(&profile.whole_nodes());
    assert_eq!(
        gaps,
        [
            Gap::Placement(1),
            Gap::Unmeasured("first".to_owned()),
            Gap::NeverRun("second".to_owned())
        ]
    );
    assert!(profile.is_empty());
}

#[test]
fn what_is_under_way_does_not_count_as_skipped() {
    use crate::feedback::measured::share;
    // 20 of 120 are under way.
    assert_eq!(share(Some((100, 120)), (80, 80)), Some(1.0));
    // A switch that leads there in half of them; so few measured ones say no more.
    assert_eq!(share(Some((50, 100)), (18, 30)), Some(0.5));
    assert_eq!(share(Some((30, 100)), (45, 90)), Some(0.5));
    assert_eq!(share(Some((0, 100)), (0, 90)), Some(0.0));
    assert_eq!(share(Some((7, 10)), (0, 0)), Some(0.7));
    assert_eq!(share(None, (3, 4)), Some(0.75));
    assert_eq!(share(None, (0, 0)), None);
}
