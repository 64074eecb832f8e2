//! Pictures of random and of known workflows.

mod alike;
mod constructs;
mod expected;

use super::layout::{Link, Point, Rect, Size, Step, Way, lay_out};
use super::*;
use crate::definition::parse;
use crate::place::{self, Options, WorkerCapacity};
use proptest::prelude::*;

/// All constructs that look different, and text that every format would take for its own.
const ORDERS: &str = r##"
workflow: orders
input: { order: bytes, note: { kind: bytes, optional: true } }
constants: { limit: 100 }
nodes:
  parse:
    function: orders:parse
    input: { order: input.order }
    output: { size: value, lines: list, rest: bytes }
    catch: [ { on: [input, "Odd"], to: complain }, { to: give-up } ]
  route:
    switch:
      - { when: "parse.size < constant.limit && \"<&>\" != '\"]]>'", then: [big, audit] }
      - { when: "parse.size > 5", then: each }
    default: []
  big: { command: ["sed", "s/\"</`#;|{[&/\\\\"], input: { stdin: parse.rest }, output: { text: bytes } }
  audit: { function: orders:audit, input: { n: { from: input.note, optional: true } } }
  each: { function: orders:each, foreach: parse.lines, input: { line: item }, output: { text: bytes } }
  stats: { compute: { double: "parse.size * 2" } }
  pause: { delay_ms: 500, after: stats }
  first: { join: any, after: [audit, pause] }
  complain: { function: orders:complain, input: { error: parse.error }, output: { text: bytes } }
  give-up: { function: orders:give-up, after: first }
output:
  text: { from: big.text, optional: true }
  all: { from: each.text, optional: true }
"##;

fn orders() -> Definition {
    parse("orders.yaml", ORDERS.as_bytes()).unwrap()
}

fn on_two_workers(definition: &Definition, format: Format) -> String {
    let workers = ["a", "<b>"].map(|name| WorkerCapacity::new(name, 16, 8 << 30));
    let graph = Graph::of(definition);
    let options = Options {
        fixed: [
            ("parse", "a"),
            ("route", "<b>"),
            ("each", "<b>"),
            ("big", "a"),
        ]
        .map(|(node, worker)| (node.to_owned(), worker.to_owned()))
        .into(),
        ..Options::default()
    };
    let placement = place::place(&graph, &workers, &options).unwrap();
    let estimate = place::estimate(&graph, &workers, &options, &placement);
    let workers = workers.map(|worker| worker.name);
    let placed = Placed {
        graph: &graph,
        placement: &placement,
        workers: &workers,
        estimate: Some(&estimate),
    };
    draw(definition, Some(placed), format, Detail::All)
}

/// The classes of all elements that have one.
fn classes(svg: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(svg).unwrap();
    let classes = document
        .descendants()
        .filter_map(|node| node.attribute("class").map(str::to_owned));
    classes.collect()
}

#[test]
fn a_drawing_is_xml_and_holds_every_node_and_edge_once() {
    let definition = orders();
    let scene = Scene::of(&definition, None);
    for svg in [
        draw(&definition, None, Format::Svg, Detail::All),
        on_two_workers(&definition, Format::Svg),
    ] {
        let document = roxmltree::Document::parse(&svg).unwrap();
        let titles = |class: &str| {
            let drawn = document.descendants().filter(|node| {
                node.attribute("class")
                    .is_some_and(|all| all.split(' ').next() == Some(class))
            });
            let title = |node: roxmltree::Node<'_, '_>| {
                let title = node.children().find(|child| child.has_tag_name("title"))?;
                Some(title.text().unwrap_or("").to_owned())
            };
            drawn.filter_map(title).collect::<Vec<String>>()
        };
        let nodes = titles("node");
        assert_eq!(nodes.len(), scene.boxes.len());
        for (node, one) in nodes.iter().zip(&scene.boxes) {
            assert!(node.starts_with(&format!("{}: ", one.name)), "{node}");
        }
        assert_eq!(titles("edge").len(), scene.lines.len());
        let text: Vec<&str> = document
            .descendants()
            .filter_map(|node| node.text())
            .collect();
        for shown in [
            "parse",
            "complain",
            "any",
            "on input, Odd",
            "default",
            "for each of parse.lines",
        ] {
            assert!(text.iter().any(|text| text.contains(shown)), "{shown}");
        }
    }
}

#[test]
fn what_is_drawn_differently_differs() {
    let alone = classes(&draw(&orders(), None, Format::Svg, Detail::All));
    let placed = classes(&on_two_workers(&orders(), Format::Svg));
    for class in ["edge data", "edge after", "edge case", "edge catch"] {
        assert!(alone.iter().any(|one| one == class), "{class}");
    }
    assert!(!alone.iter().any(|class| class.contains("crossing")));
    assert!(placed.iter().any(|class| class == "edge data crossing"));
    assert!(placed.iter().any(|class| class == "edge case crossing"));
    assert!(placed.iter().any(|class| class == "edge data"));
}

#[test]
fn a_listing_says_what_each_node_waits_for() {
    let text = on_two_workers(&orders(), Format::Text);
    for line in [
        "  3  route     switch, on <b>",
        "       ← parse: size  [a → <b>]",
        "       ← route, case parse.size > 5",
        "       ← parse, failure on any failure",
        "       ← parse: error (after a failure)",
        "       ← audit (after)",
        "each      orders:each, for each of parse.lines, on <b>",
        "first     waits, at the first live edge",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
}

#[test]
fn other_formats_hold_every_node_and_edge_and_quote_what_they_must() {
    let definition = orders();
    let scene = Scene::of(&definition, None);
    let dot = on_two_workers(&definition, Format::Dot);
    let mermaid = on_two_workers(&definition, Format::Mermaid);
    let lines = |text: &str, what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!(lines(&dot, " -> "), scene.lines.len());
    assert_eq!(lines(&dot, "cluster_"), 2);
    let arrows = |line: &&str| {
        [" -->", " ==>", " -.->"]
            .iter()
            .any(|arrow| line.contains(arrow))
    };
    assert_eq!(mermaid.lines().filter(arrows).count(), scene.lines.len());
    for (index, one) in scene.boxes.iter().enumerate() {
        let dot_line = format!("n{index} [label=\"{}\\n", one.name);
        let dot_lines = dot
            .lines()
            .filter(|line| line.trim_start().starts_with(&dot_line));
        assert_eq!(dot_lines.count(), 1, "{}", one.name);
        let box_line = |line: &&str| {
            let line = line.trim_start();
            line.starts_with(&format!("n{index}")) && line.contains(&format!("\"{}<br/>", one.name))
        };
        assert_eq!(mermaid.lines().filter(box_line).count(), 1, "{}", one.name);
    }
    // Every quote within a string is escaped: without those an even number is left on each line.
    for line in dot.lines() {
        let bare = line.replace("\\\\", "").replace("\\\"", "");
        assert_eq!(bare.matches('"').count() % 2, 0, "{line}");
    }
    assert!(dot.contains(r#"sed s/\"</`#;|{[&/\\\\"#), "{dot}");
    assert!(
        mermaid.contains("sed s/#34;#60;/#96;#35;#59;#124;#123;#91;#38;/#92;#92;"),
        "{mermaid}"
    );
}

#[test]
fn many_inputs_are_one_box() {
    let inputs: Vec<String> = (0..40).map(|input| format!("i{input}: bytes")).collect();
    let reads: Vec<String> = (0..40)
        .map(|input| format!("i{input}: input.i{input}"))
        .collect();
    let text = format!(
        "{{ workflow: w, input: {{ {} }}, nodes: {{ a: {{ function: e:f, input: {{ {} }} }} }} }}",
        inputs.join(", "),
        reads.join(", ")
    );
    let scene = Scene::of(&parse("w.yaml", text.as_bytes()).unwrap(), None);
    let names: Vec<&str> = scene.boxes.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["40 inputs", "a"]);
    assert_eq!(scene.lines.len(), 1);
}

/// Whether two areas have more than an edge in common.
fn overlap(a: Rect, b: Rect) -> bool {
    let slack = 0.01;
    a.x + slack < b.x + b.width
        && b.x + slack < a.x + a.width
        && a.y + slack < b.y + b.height
        && b.y + slack < a.y + a.height
}

fn area(from: Point, to: Point) -> Rect {
    let (x, y) = (from.x.min(to.x), from.y.min(to.y));
    // A line has an area too, however thin.
    let width = (from.x - to.x).abs().max(0.05);
    let height = (from.y - to.y).abs().max(0.05);
    Rect {
        x,
        y,
        width,
        height,
    }
}

fn is_in_order(sizes: &[Size], links: &[Link]) -> Result<(), TestCaseError> {
    let layout = lay_out(sizes, links);
    prop_assert_eq!(layout.boxes.len(), sizes.len());
    for (index, (one, size)) in layout.boxes.iter().zip(sizes).enumerate() {
        prop_assert!(one.width >= size.width && (one.height - size.height).abs() < 0.01);
        prop_assert!(one.x >= 0.0 && one.y >= 0.0);
        prop_assert!(one.x + one.width <= layout.width && one.y + one.height <= layout.height);
        for other in &layout.boxes[..index] {
            prop_assert!(!overlap(*one, *other), "{:?} and {:?}", one, other);
        }
    }
    for (link, Way { start, steps }) in links.iter().zip(&layout.ways) {
        let (from, to) = (layout.boxes[link.from], layout.boxes[link.to]);
        let end = steps.last().unwrap().end();
        let begins = Point {
            x: from.x + from.width,
            y: from.y + from.height / 2.0 + link.exit,
        };
        let ends = Point {
            x: to.x,
            y: to.y + to.height / 2.0,
        };
        for (found, expected) in [(*start, begins), (end, ends)] {
            prop_assert!(
                (found.x - expected.x).abs() < 0.01 && (found.y - expected.y).abs() < 0.01
            );
        }
        let mut at = *start;
        for step in steps {
            let next = step.end();
            prop_assert!(
                next.x >= 0.0 && next.x <= layout.width && next.y >= 0.0 && next.y <= layout.height
            );
            if let Step::Straight(next) = step {
                prop_assert!(
                    at.x == next.x || at.y == next.y,
                    "straight is level or plumb"
                );
            }
            for one in &layout.boxes {
                prop_assert!(
                    !overlap(area(at, next), *one),
                    "{:?} to {:?} runs behind {:?}",
                    at,
                    next,
                    one
                );
            }
            at = next;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn boxes_do_not_overlap_and_edges_run_from_box_to_box_and_behind_none(
        heights in prop::collection::vec(20_u8..90, 1..90),
        pairs in prop::collection::vec((any::<u16>(), any::<u16>(), 0_usize..2), 0..200),
        reach in 1_usize..90,
    ) {
        let sizes: Vec<Size> = heights.iter().map(|height| Size { width: 40.0 + f64::from(*height), height: f64::from(*height) }).collect();
        let mut links = Vec::new();
        for (from, step, class) in pairs {
            let from = usize::from(from) % sizes.len();
            let to = from + 1 + usize::from(step) % reach;
            if to < sizes.len() {
                links.push(Link { from, to, exit: if class == 1 { 5.0 } else { 0.0 }, room: 30.0 * class as f64, class });
            }
        }
        is_in_order(&sizes, &links)?;
    }
}

#[test]
fn long_chains_and_wide_fans_keep_to_the_rules_too() {
    let size = Size {
        width: 100.0,
        height: 27.0,
    };
    let link = |from, to| Link {
        from,
        to,
        exit: 0.0,
        room: 0.0,
        class: 0,
    };
    // A strip that is folded, with edges that jump.
    let mut chain: Vec<Link> = (0..199).map(|from| link(from, from + 1)).collect();
    chain.extend((0..150).step_by(10).map(|from| link(from, from + 37)));
    is_in_order(&vec![size; 200], &chain).unwrap();
    let folded = lay_out(&vec![size; 200], &chain);
    assert!(
        folded.width < 4.0 * folded.height,
        "{} × {}",
        folded.width,
        folded.height
    );
    // One to many to one, with a column that is parted.
    let mut fan: Vec<Link> = (1..299).map(|to| link(0, to)).collect();
    fan.extend((1..299).map(|from| link(from, 299)));
    is_in_order(&vec![size; 300], &fan).unwrap();
    let parted = lay_out(&vec![size; 300], &fan);
    assert!(parted.height < 100.0 * 41.0, "{}", parted.height);
}

#[test]
fn a_chain_shows_its_list_where_it_begins() {
    let text = "
workflow: w
input: { l: list }
nodes:
  first: { function: e:f, foreach: input.l, input: { i: item }, output: { o: bytes } }
  second: { function: e:f, foreach: first.o, input: { i: item }, output: { o: bytes } }
  pause: { foreach: second.o, delay_ms: 1 }
";
    let scene = Scene::of(&parse("w.yaml", text.as_bytes()).unwrap(), None);
    let name = |place: usize| scene.boxes[place].name.as_str();
    let lines = scene.lines.iter();
    let lines: Vec<(&str, &str)> = lines.map(|line| (name(line.from), name(line.to))).collect();
    assert_eq!(
        lines,
        [("l", "first"), ("first", "second"), ("second", "pause")]
    );
}

#[test]
fn a_node_that_only_waits_says_how_long() {
    let text = "
workflow: w
input: { v: value }
nodes:
  fixed: { delay_ms: 5 }
  computed: { delay_ms: input.v * 2 }
  until: { delay_until: 2030-01-01T00:00:00Z }
  join: { join: all, after: fixed }
";
    let scene = Scene::of(&parse("w.yaml", text.as_bytes()).unwrap(), None);
    let notes: Vec<&str> = scene.boxes[1..].iter().map(|one| &*one.note).collect();
    let until = "waits until \"2030-01-01T00:00:00Z\"";
    assert_eq!(
        notes,
        ["waits 5 ms", "waits (input.v * 2) ms", until, "waits"]
    );
}
