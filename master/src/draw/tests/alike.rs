//! Nodes that are alike: what one box and its lines say holds for each node that it stands for.

use super::super::alike::grouped;
use super::super::scene::{Line, LineKind, Scene};
use super::*;
use std::collections::BTreeMap;

fn scene(text: &str) -> Scene {
    Scene::of(&parse("w.yaml", text.as_bytes()).unwrap(), None)
}

/// What stands in a picture, and how many each waits for: `FROM → TO`, with `k of n` where it is not all.
fn told(scene: &Scene) -> (Vec<String>, Vec<String>) {
    let boxes = scene.boxes.iter().map(|one| one.called());
    let line = |line: &Line| {
        let share = line.share_text();
        let share = share.map_or_else(String::new, |share| format!(", {share}"));
        let (from, to) = (&scene.boxes[line.from].name, &scene.boxes[line.to].name);
        format!("{from} → {to}{share}")
    };
    (boxes.collect(), scene.lines.iter().map(line).collect())
}

/// `branches` times a, b and c behind each other, between a first and a last node.
fn branches(branches: usize) -> String {
    let mut text = "{ workflow: w, input: { t: bytes }, nodes: { split: { function: e:split, output: { o: bytes } }".to_owned();
    for branch in 0..branches {
        for (step, before) in [("a", "split"), ("b", "a"), ("c", "b")] {
            let before = if step == "a" {
                before.to_owned()
            } else {
                format!("{before}-{branch}")
            };
            text += &format!(
                ", {step}-{branch}: {{ function: e:{step}, input: {{ i: {before}.o }}, output: {{ o: bytes }} }}"
            );
        }
    }
    let reads = (0..branches).map(|branch| format!("i{branch}: c-{branch}.o"));
    let reads: Vec<String> = reads.collect();
    text + &format!(
        ", merge: {{ function: e:merge, input: {{ {} }} }} }} }}",
        reads.join(", ")
    )
}

#[test]
fn parallel_branches_are_one() {
    let (boxes, lines) = told(&grouped(scene(&branches(16)), 40));
    assert_eq!(
        boxes,
        ["t", "split", "a-… × 16", "b-… × 16", "c-… × 16", "merge"]
    );
    let expected = [
        "split → a-…",
        "a-… → b-…, 1 of 16",
        "b-… → c-…, 1 of 16",
        "c-… → merge",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn what_differs_in_anything_is_drawn_by_itself() {
    let nodes = |odd: &str| {
        let alike = (0..5).map(|node| format!("n{node}: {{ function: e:f, timeout_ms: 9 }}"));
        let alike: Vec<String> = alike.collect();
        let text = format!(
            "{{ workflow: w, nodes: {{ {}, n5: {odd} }} }}",
            alike.join(", ")
        );
        grouped(scene(&text), 40).boxes.len()
    };
    assert_eq!(nodes("{ function: e:f, timeout_ms: 9 }"), 1);
    for odd in [
        "{ function: e:g, timeout_ms: 9 }",
        "{ function: e:f, timeout_ms: 8 }",
        "{ function: e:f, timeout_ms: 9, delay_ms: 1 }",
        "{ function: e:f, timeout_ms: 9, retry: { attempts: 2 } }",
        "{ function: e:f, timeout_ms: 9, after: n0 }",
        "{ function: e:f, timeout_ms: 9, foreach: { from: 0, to: '5' } }",
        "{ function: e:f, timeout_ms: 9, catch: n6 }, n6: { function: e:f, timeout_ms: 9 }",
    ] {
        assert!(nodes(odd) > 1, "{odd}");
    }
}

#[test]
fn those_who_wait_otherwise_are_not_alike() {
    let boxes = |cases: &str, last: &str| {
        let alike =
            (0..4).map(|node| format!("n{node}: {{ function: e:f, input: {{ i: a.o }} }}, "));
        let text = format!(
            "{{ workflow: w, nodes: {{ a: {{ function: e:a, output: {{ o: value }} }}, s: {{ switch: {cases} }}, {}n4: {last} }} }}",
            alike.collect::<String>()
        );
        told(&grouped(scene(&text), 40)).0
    };
    let reads = "{ function: e:f, input: { i: a.o } }";
    let together = "[ { when: a.o == 1, then: [n0, n1, n2, n3, n4] } ], default: []";
    let apart = "[ { when: a.o == 1, then: [n0, n1, n2, n3] } ], default: n4";
    assert_eq!(boxes(together, reads), ["a", "s", "n… × 5"]);
    let differs = [
        (apart, reads),
        (together, "{ function: e:f, after: a }"),
        (
            together,
            "{ function: e:f, input: { i: { from: a.o, optional: true } } }",
        ),
    ];
    for (cases, last) in differs {
        assert_eq!(
            boxes(cases, last),
            ["a", "s", "n… × 4", "n4"],
            "{cases}, {last}"
        );
    }
}

#[test]
fn pairs_are_one_only_where_that_is_needed_for_a_page() {
    let text = branches(2);
    assert_eq!(grouped(scene(&text), 40).boxes.len(), 9);
    assert_eq!(grouped(scene(&text), 8).boxes.len(), 6);
}

#[test]
fn small_pictures_listings_and_who_asks_for_all_get_every_node() {
    let drawn = |branches_count, format, detail| {
        let definition = parse("w.yaml", branches(branches_count).as_bytes()).unwrap();
        draw(&definition, None, format, detail).contains("b-2")
    };
    for format in [Format::Svg, Format::Dot, Format::Mermaid] {
        assert!(
            drawn(12, format, Detail::Alike),
            "39 boxes are few: {format:?}"
        );
        assert!(drawn(20, format, Detail::All), "{format:?}");
    }
    assert!(drawn(20, Format::Text, Detail::Alike));
    let definition = parse("w.yaml", branches(20).as_bytes()).unwrap();
    for (format, words) in [
        (Format::Svg, "× 20</text>"),
        (Format::Dot, "label=\"b-… × 20\\ne:b\""),
        (Format::Mermaid, "|\"o (1 of 20)\"|"),
    ] {
        let picture = draw(&definition, None, format, Detail::Alike);
        assert!(picture.contains(words), "{words}: {picture}");
    }
}

/// Nodes in layers, each after some of the layer before.
fn layers(layers: &[Vec<u32>]) -> String {
    let mut nodes = Vec::new();
    for (layer, masks) in layers.iter().enumerate() {
        for (place, mask) in masks.iter().enumerate() {
            let before = layer
                .checked_sub(1)
                .map_or(0, |before| layers[before].len());
            let after = (0..before).filter(|node| mask >> node & 1 == 1);
            let after: Vec<String> = after.map(|node| format!("n{}-{node}", layer - 1)).collect();
            let function = mask >> 8 & 1;
            nodes.push(format!(
                "n{layer}-{place}: {{ function: e:f{function}, after: [{}] }}",
                after.join(", ")
            ));
        }
    }
    format!("{{ workflow: w, nodes: {{ {} }} }}", nodes.join(", "))
}

proptest! {
    #[test]
    fn what_a_line_says_holds_for_each_node(masks in prop::collection::vec(prop::collection::vec(0_u32..0x200, 1..7), 1..6), page in 0_usize..20) {
        let plain = scene(&layers(&masks));
        let merged = grouped(plain.clone(), page);
        let mut box_of = BTreeMap::new();
        for (place, one) in merged.boxes.iter().enumerate() {
            let names = if one.members.is_empty() { vec![one.name.clone()] } else { one.members.clone() };
            prop_assert!(one.members.len() != 1);
            for name in names {
                prop_assert!(box_of.insert(name, place).is_none());
            }
        }
        prop_assert_eq!(box_of.len(), plain.boxes.len());
        let of = |place: usize| box_of[&plain.boxes[place].name];
        // By target and the box and kind of what it waits for: how many.
        let mut waits: BTreeMap<(usize, usize, LineKind), usize> = BTreeMap::new();
        for line in &plain.lines {
            *waits.entry((line.to, of(line.from), line.kind)).or_default() += 1;
        }
        let size = |place: usize| merged.boxes[place].members.len().max(1);
        for (place, one) in plain.boxes.iter().enumerate() {
            prop_assert_eq!(&one.note, &merged.boxes[of(place)].note);
            let mut found: BTreeMap<(usize, LineKind), usize> = BTreeMap::new();
            for line in merged.lines.iter().filter(|line| line.to == of(place)) {
                let each = line.share.map_or(size(line.from), |(each, all)| {
                    assert!(each < all && all == size(line.from));
                    each
                });
                found.insert((line.from, line.kind), each);
            }
            let own = waits.iter().filter(|((to, ..), _)| *to == place);
            let own = own.map(|((_, from, kind), count)| ((*from, *kind), *count));
            prop_assert_eq!(found, own.collect::<BTreeMap<_, _>>());
            // Nor is one of them waited for more often than another.
            for line in merged.lines.iter().filter(|line| line.from == of(place)) {
                let each = line.share.map_or(size(line.from), |(each, _)| each);
                let own = plain.lines.iter().filter(|own| own.from == place && own.kind == line.kind && of(own.to) == line.to);
                prop_assert_eq!(own.count() * size(line.from), each * size(line.to));
            }
        }
        // And of equal nodes none was left out: those that are drawn alone differ from all others.
        prop_assert_eq!(told(&grouped(plain, page)), told(&merged));
    }
}
