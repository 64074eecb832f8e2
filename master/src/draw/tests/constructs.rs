//! Every construct of the language shows in every format.

use super::*;

const EVERYTHING: &str = r#"
workflow: everything
input: { order: bytes, note: { kind: bytes, optional: true }, width: { kind: value, default: 3 }, when: value }
timeout_ms: 60000
nodes:
  parse:
    function: orders:parse
    input: { order: input.order }
    output: { size: value, lines: list }
    timeout_ms: 2000
    delay_ms: 50
    resources: { scale: 4, memory_mib: 512, cpus: 2 }
    retry:
      - { attempts: 1, on: Odd }
      - { attempts: 3, on: [timeout, crash], backoff_ms: 500 }
      - { attempts: 6 }
    catch: tell
  tell: { function: orders:tell, input: { why: parse.error } }
  audit: { function: orders:audit, input: { n: { from: input.note, optional: true } }, delay_until: input.when }
  each:
    function: orders:each
    foreach: { list: parse.lines, parallelism: 8 }
    input: { line: item }
    output: { text: bytes, words: list }
    retry: { attempts: 2 }
  pack: { function: orders:pack, foreach: { list: each.text, batch: 10 }, input: { lines: item } }
  word: { function: orders:word, foreach: "each.words[item]", input: { word: item } }
  route: { switch: [ { when: parse.size > 5, then: audit } ], default: [] }
  count: { compute: { double: parse.size * input.width }, delay_ms: parse.size }
  either: { function: orders:either, input: { t: "first_of(input.note, input.order)" } }
  two: { join: { at_least: 2 }, after: [count, audit, pack] }
  any: { join: any, after: [count, audit] }
output:
  all: { from: each.text, optional: true }
"#;

#[test]
fn every_construct_shows_in_every_format() {
    let definition = parse("everything.yaml", EVERYTHING.as_bytes()).unwrap();
    for format in [Format::Svg, Format::Dot, Format::Mermaid, Format::Text] {
        let picture = draw(&definition, None, format, Detail::All);
        // As it would be without what each format writes in its own way.
        let picture = picture
            .replace("#91;", "[")
            .replace("#93;", "]")
            .replace("#62;", ">")
            .replace("&gt;", ">");
        for words in [
            "everything, timeout 60000 ms",
            "waits 50 ms",
            "no retry on Odd",
            "3 attempts on timeout, crash after 500 ms",
            "6 attempts on all else",
            "timeout 2000 ms",
            "scale 4",
            "512 MiB",
            "2 CPUs",
            "on any failure",
            "input, optional",
            "input, has a default",
            "output, optional",
            "note (may be absent)",
            "text (may be absent)",
            "waits until input.when",
            "for each of parse.lines, 8 at once",
            "2 attempts",
            "for every 10 of each.text",
            "for each of each.words[item]",
            "parse.size > 5",
            "double = parse.size * input.width",
            "waits (parse.size) ms",
        ] {
            assert!(
                picture.contains(words),
                "{format:?}: {words:?} is not in\n{picture}"
            );
        }
        let joins = match format {
            Format::Text => ["at live edge 2", "at the first live edge"],
            Format::Svg | Format::Dot | Format::Mermaid => ["join: at least 2", "join: any"],
        };
        for words in joins {
            assert!(
                picture.contains(words),
                "{format:?}: {words:?} is not in\n{picture}"
            );
        }
    }
}

#[test]
fn what_a_drawing_says_without_being_pointed_at() {
    let definition = parse("everything.yaml", EVERYTHING.as_bytes()).unwrap();
    let svg = draw(&definition, None, Format::Svg, Detail::All);
    let document = roxmltree::Document::parse(&svg).unwrap();
    let texts = document
        .descendants()
        .filter(|node| node.has_tag_name("text"));
    let texts: Vec<String> = texts
        .map(|text| {
            text.children()
                .filter(|child| child.is_text())
                .filter_map(|child| child.text())
                .collect()
        })
        .collect();
    for words in [
        "waits 50 ms · no retry on Odd",
        "timeout 2000 ms · scale 4",
        "for each of parse.lines, 8 at once",
        "≥ 2",
        "may be absent",
        "runs for each item of a list",
    ] {
        assert!(
            texts.iter().any(|text| text == words),
            "{words:?} is not in {texts:?}"
        );
    }
    let open = svg.matches("-open)\" d=\"M").count();
    assert_eq!(
        open, 5,
        "both sources of a choice, an optional input and output, and the legend"
    );
}

#[test]
fn what_is_alike_but_for_its_end_can_be_told_apart() {
    let names = (1..4).map(|node| format!("first/second/third-step-of-many-steps-{node}"));
    let names: Vec<String> = names.collect();
    let shown: Vec<String> = names
        .iter()
        .map(|name| lettering::shortened(name, 34))
        .collect();
    assert!(shown.windows(2).all(|pair| pair[0] != pair[1]), "{shown:?}");
    assert!(shown[0].starts_with("first/second/") && shown[0].chars().count() == 34);
}
