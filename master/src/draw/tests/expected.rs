//! What a placement is expected to come to shows where it is, and changes nothing else of a picture.

use super::*;
use std::fmt::Write as _;

/// A fan of so many nodes that read of one and are read by one; the first of them runs longest.
fn fan(wide: usize) -> Definition {
    let mut text = "workflow: fan
nodes:
  begin: { function: e:begin, output: { o: bytes }, profile: { output_bytes: 2048 } }
"
    .to_owned();
    let mut read = String::new();
    for place in 0..wide {
        let runtime_ms = if place == 0 { 50 } else { 1 };
        let _ = writeln!(
            text,
            "  part-{place}: {{ function: p:part, input: {{ i: begin.o }}, output: {{ o: bytes }}, profile: {{ runtime_ms: {runtime_ms}, output_bytes: 1024 }}, resources: {{ scale: {wide}, memory_mib: 1 }} }}"
        );
        let _ = write!(read, "{}part-{place}.o", if place == 0 { "" } else { ", " });
    }
    let _ = writeln!(
        text,
        "  end: {{ function: e:end, input: {{ all: first_of({read}) }} }}"
    );
    parse("fan.yaml", text.as_bytes()).unwrap()
}

/// A picture of it with the fan on another worker, and with or without what is expected.
fn drawn(definition: &Definition, wide: usize, format: Format, expected: bool) -> String {
    let workers = ["a", "b"].map(|name| WorkerCapacity::new(name, 64, 8 << 30));
    let graph = Graph::of(definition);
    let parts = (0..wide).map(|place| (format!("part-{place}"), "b".to_owned()));
    let ends = ["begin", "end"].map(|node| (node.to_owned(), "a".to_owned()));
    let options = Options {
        fixed: parts.chain(ends).collect(),
        ..Options::default()
    };
    let placement = place::place(&graph, &workers, &options).unwrap();
    let estimate = place::estimate(&graph, &workers, &options, &placement);
    let workers = workers.map(|worker| worker.name);
    let placed = Placed {
        graph: &graph,
        placement: &placement,
        workers: &workers,
        estimate: expected.then_some(&estimate),
    };
    draw(definition, Some(placed), format, Detail::Alike)
}

#[test]
fn the_critical_path_parts_no_nodes_that_are_alike() {
    let definition = fan(60);
    let with = drawn(&definition, 60, Format::Svg, true);
    let without = drawn(&definition, 60, Format::Svg, false);
    let nodes = |svg: &str| classes(svg).iter().filter(|class| *class == "node").count();
    assert_eq!((nodes(&with), nodes(&without)), (3, 3));
    assert!(with.contains("1 of 60 on the critical path"), "{with}");
    // What goes there goes once; sixty payloads of one KiB come back.
    assert!(with.contains(">2 KiB</text>"), "{with}");
    assert!(with.contains(">60 KiB</text>"), "{with}");
    let ways = classes(&with);
    assert_eq!(ways.iter().filter(|class| *class == "way").count(), 3);
    assert!(!without.contains("critical"), "{without}");
}

#[test]
fn a_line_is_on_the_critical_path_only_where_the_path_goes() {
    let definition = fan(3);
    let listing = drawn(&definition, 3, Format::Text, true);
    let marked: Vec<&str> = listing.lines().filter(|line| line.contains('*')).collect();
    let [caption, begin, part, read, end, reads] = &marked[..] else {
        panic!("{listing}");
    };
    assert!(
        caption.contains("expected") && begin.contains("begin"),
        "{listing}"
    );
    assert!(part.contains("* part-0"), "{listing}");
    assert!(
        read.contains("← begin") && read.contains("[a → b, 2 KiB]"),
        "{listing}"
    );
    assert!(end.contains("* end"), "{listing}");
    assert!(
        reads.contains("← part-0") && reads.contains("[b → a, 1 KiB]"),
        "{listing}"
    );
    let lines = listing
        .lines()
        .filter(|line| line.contains("[b → a, 1 KiB]"));
    assert_eq!(lines.count(), 3);
}
