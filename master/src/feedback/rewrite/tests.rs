//! What rewriting promises: the hints are there, and not a byte else has changed.

use super::super::hints::Bytes;
use super::*;
use proptest::prelude::*;

fn hints(runtime_ms: f64, bytes: &[(&str, u64)]) -> Hints {
    let named = bytes
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), *bytes));
    Hints {
        runtime_ms: Some(runtime_ms),
        output_bytes: (!bytes.is_empty()).then(|| Bytes(named.collect())),
        ..Hints::default()
    }
}

/// The text with hints for the nodes of these names.
fn rewritten(text: &str, nodes: &[(&str, Hints)]) -> Rewritten {
    let nodes = nodes
        .iter()
        .map(|(name, hints)| ((*name).to_owned(), hints.clone()));
    rewrite("w.yaml", text, &nodes.collect()).unwrap()
}

#[test]
fn values_change_where_they_stand_and_missing_ones_come_behind_the_last() {
    let text = "\
# A workflow.
workflow: w   # its name
nodes:
  flow: { function: e:f, output: { o: bytes }, profile: { runtime_ms: 5, output_bytes: 9 } } # one
  block:   # two
    function: e:f
    output: { o: bytes }
    profile:  # measured by hand
      output_bytes: 7     # seven
      # and this
      placeholder: true
    # the end of it

  none: { function: e:f, output: { o: bytes } }
  lines:
    function: e:f
    output:
      o: bytes   # the last thing of it

# The end.
";
    let of = hints(12.5, &[("o", 300)]);
    let nodes = ["flow", "block", "none", "lines"].map(|node| (node, of.clone()));
    let new = rewritten(text, &nodes);
    let expected = "\
# A workflow.
workflow: w   # its name
nodes:
  flow: { function: e:f, output: { o: bytes }, profile: { runtime_ms: 12.5, output_bytes: 300 } } # one
  block:   # two
    function: e:f
    output: { o: bytes }
    profile:  # measured by hand
      output_bytes: 300     # seven
      # and this
      placeholder: false
      runtime_ms: 12.5
    # the end of it

  none: { function: e:f, output: { o: bytes }, profile: { runtime_ms: 12.5, output_bytes: 300 } }
  lines:
    function: e:f
    output:
      o: bytes   # the last thing of it
    profile: { runtime_ms: 12.5, output_bytes: 300 }

# The end.
";
    assert_eq!(new.text, expected);
    let change = |node: &str, key, old: Option<&str>, new: &str| Change {
        node: node.to_owned(),
        key,
        old: old.map(str::to_owned),
        new: new.to_owned(),
    };
    assert_eq!(
        new.changes[..5],
        [
            change("flow", "runtime_ms", Some("5"), "12.5"),
            change("flow", "output_bytes", Some("9"), "300"),
            change("block", "runtime_ms", None, "12.5"),
            change("block", "output_bytes", Some("7"), "300"),
            change("block", "placeholder", Some("true"), "false"),
        ]
    );
    // Once more, and nothing is left to be changed.
    let again = rewritten(&new.text, &nodes);
    assert_eq!((again.text, again.changes), (new.text, Vec::new()));
}

#[test]
fn outputs_are_told_apart_where_there_are_several() {
    let two = hints(1.0, &[("a", 1), ("b", 2)]);
    for (profile, expected) in [
        (
            "{ output_bytes: 9, runtime_ms: 1 }",
            "{ output_bytes: { a: 1, b: 2 }, runtime_ms: 1 }",
        ),
        (
            "{ output_bytes: { b: 7 }, runtime_ms: 1.0 }",
            "{ output_bytes: { b: 2, a: 1 }, runtime_ms: 1.0 }",
        ),
        (
            "\n      runtime_ms: 1\n      output_bytes:\n        a: 5 # five\n        b: 2",
            "\n      runtime_ms: 1\n      output_bytes:\n        a: 1 # five\n        b: 2",
        ),
        (
            "\n      output_bytes:\n        # one alone\n        a: 5 # five\n      runtime_ms: 1",
            "\n      output_bytes:\n        # one alone\n        a: 1 # five\n        b: 2\n      runtime_ms: 1",
        ),
        ("{}", "{ runtime_ms: 1, output_bytes: { a: 1, b: 2 } }"),
        ("", "{ runtime_ms: 1, output_bytes: { a: 1, b: 2 } }"),
        ("~", "{ runtime_ms: 1, output_bytes: { a: 1, b: 2 } }"),
    ] {
        let file = |profile: &str| {
            format!("nodes:\n  n:\n    profile: {profile}\n    output: {{ a: bytes, b: bytes }}\n")
        };
        let text = file(profile).replace("profile: \n", "profile:\n");
        let expected = file(expected).replace("profile: \n", "profile:\n");
        let new = rewritten(&text, &[("n", two.clone())]);
        assert_eq!(new.text, expected, "{profile:?}");
    }
}

#[test]
fn what_stands_in_two_places_is_left() {
    let text = "\
nodes:
  a: &a { function: e:f, profile: { runtime_ms: 5 } }
  b: *a
  c: { function: e:f, profile: &p { runtime_ms: 5 } }
  d: { function: e:f, profile: *p }
  e:
    # an ampersand & a star * in a comment are none
    profile: # & *
      runtime_ms: 5
";
    let of = hints(7.0, &[]);
    let nodes = ["a", "b", "c", "d", "e"].map(|node| (node, of.clone()));
    let new = rewritten(text, &nodes);
    let left: Vec<&str> = new.left.iter().map(|(node, _)| node.as_str()).collect();
    assert_eq!(left, ["a", "b", "c", "d"]);
    let expected = text.replace("      runtime_ms: 5", "      runtime_ms: 7");
    assert_eq!(new.text, expected);
}

#[test]
fn numbers_have_four_digits_and_no_more_behind_the_point_than_they_need() {
    for (value, text) in [
        (0.0, "0"),
        (1.0, "1"),
        (0.25, "0.25"),
        (0.123_456, "0.1235"),
        (12.3456, "12.35"),
        (1_234_567.0, "1235000"),
        (99_999.0, "100000"),
        (0.000_012_346, "0.00001235"),
        (1e-12, "0"),
        (9_999.6, "10000"),
    ] {
        assert_eq!(number(value), text, "{value}");
    }
}

#[test]
fn a_form_that_is_not_understood_changes_nothing() {
    // Behind what ends with blank lines that count, nothing can be put without a change of it.
    let text =
        "nodes:\n  n:\n    function: e:f\n    command: |+\n      a\n\n\n  m: { function: e:f }\n";
    let of = BTreeMap::from([("n".to_owned(), hints(7.0, &[("o", 1)]))]);
    match rewrite("w.yaml", text, &of) {
        Err(RewriteError::Form { file, node }) => assert_eq!((&*file, &*node), ("w.yaml", "n")),
        Ok(new) => {
            // If it was put there, then behind all of it.
            let (old, new) = (parse("", text).unwrap(), parse("", &new.text).unwrap());
            let command =
                |root: &Tree| format!("{:?}", get(nodes(root).next().unwrap().1, "command"));
            assert_eq!(command(&old), command(&new));
        }
        Err(other) => panic!("{other}"),
    }
}

/// A piece of a text, and what it is to become.
#[derive(Clone, Debug)]
enum Piece {
    Stays(String),
    Becomes(String, String),
}

/// How a profile stands in its node.
#[derive(Clone, Copy, Debug)]
enum Stands {
    Nowhere,
    Empty,
    Flow,
    Block,
}

/// How a node is written.
#[derive(Clone, Debug)]
struct Style {
    flow: bool,
    stands: Stands,
    /// Which of the keys are there, and whether others are.
    has: [bool; 3],
    comments: bool,
    indent: usize,
    runtime_ms: u32,
    bytes: u32,
    hinted: bool,
}

fn style() -> impl Strategy<Value = Style> {
    let stands = prop_oneof![
        Just(Stands::Nowhere),
        Just(Stands::Empty),
        Just(Stands::Flow),
        Just(Stands::Block)
    ];
    (
        any::<bool>(),
        stands,
        any::<[bool; 3]>(),
        any::<bool>(),
        1..4_usize,
        0..1000_u32,
        0..1_000_000_u32,
        prop::bool::weighted(0.7),
    )
        .prop_map(
            |(flow, stands, has, comments, indent, runtime_ms, bytes, hinted)| Style {
                flow,
                stands,
                has,
                comments,
                indent,
                runtime_ms,
                bytes,
                hinted,
            },
        )
}

const NEW_MS: u32 = 4321;
const NEW_BYTES: u32 = 7_654_321;

impl Style {
    fn comment(&self, text: &str) -> String {
        if self.comments {
            format!("  # {text}: {{ a, & b: * c }}")
        } else {
            String::new()
        }
    }

    /// A value that is there.
    fn value(&self, old: u32, new: u32) -> Piece {
        if self.hinted {
            Piece::Becomes(old.to_string(), new.to_string())
        } else {
            Piece::Stays(old.to_string())
        }
    }

    /// What is put in, if it is hinted.
    fn put(&self, text: String) -> Piece {
        let text = if self.hinted { text } else { String::new() };
        Piece::Becomes(String::new(), text)
    }

    /// Keys of the profile that are there, with their values, and those that are missing.
    fn keys(&self) -> (Vec<(&'static str, Piece)>, Vec<String>) {
        let (mut there, mut missing) = (Vec::new(), Vec::new());
        let known = [
            ("runtime_ms", self.runtime_ms, NEW_MS),
            ("output_bytes", self.bytes, NEW_BYTES),
        ];
        for ((key, old, new), has) in known.into_iter().zip(self.has) {
            if has {
                there.push((key, self.value(old, new)));
            } else {
                missing.push(format!("{key}: {new}"));
            }
        }
        if self.has[2] || there.is_empty() {
            there.push(("busy", Piece::Stays("0.5".into())));
        }
        (there, missing)
    }

    fn flow_profile(&self) -> Vec<Piece> {
        let (there, missing) = self.keys();
        let mut pieces = vec![Piece::Stays("profile: { ".into())];
        for (index, (key, value)) in there.into_iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            pieces.extend([Piece::Stays(format!("{comma}{key}: ")), value]);
        }
        if !missing.is_empty() {
            pieces.push(self.put(format!(", {}", missing.join(", "))));
        }
        pieces.push(Piece::Stays(" }".into()));
        pieces
    }

    fn new_profile() -> String {
        format!("profile: {{ runtime_ms: {NEW_MS}, output_bytes: {NEW_BYTES} }}")
    }

    fn empty_profile(&self) -> Vec<Piece> {
        let new = format!(" runtime_ms: {NEW_MS}, output_bytes: {NEW_BYTES} ");
        vec![
            Piece::Stays("profile: {".into()),
            self.put(new),
            Piece::Stays("}".into()),
        ]
    }

    fn pieces(&self, name: &str) -> Vec<Piece> {
        let stays = |text: String| Piece::Stays(text);
        let work = "function: \"e:f\"";
        if self.flow {
            let mut pieces = vec![stays(format!(
                "  {name}: {{ {work}, output: {{ o: bytes }}"
            ))];
            match self.stands {
                Stands::Nowhere => pieces.push(self.put(format!(", {}", Self::new_profile()))),
                Stands::Empty => {
                    pieces.push(stays(", ".into()));
                    pieces.extend(self.empty_profile());
                }
                Stands::Flow | Stands::Block => {
                    pieces.push(stays(", ".into()));
                    pieces.extend(self.flow_profile());
                }
            }
            pieces.push(stays(format!(" }}{}\n", self.comment("flow"))));
            return pieces;
        }
        let indent = " ".repeat(2 + self.indent);
        let mut pieces = vec![stays(format!("  {name}:{}\n", self.comment("node")))];
        match self.stands {
            Stands::Nowhere => {}
            Stands::Empty => {
                pieces.push(stays(indent.clone()));
                pieces.extend(self.empty_profile());
                pieces.push(stays(format!("{}\n", self.comment("empty"))));
            }
            Stands::Flow => {
                pieces.push(stays(indent.clone()));
                pieces.extend(self.flow_profile());
                pieces.push(stays(format!("{}\n", self.comment("profile"))));
            }
            Stands::Block => {
                let inner = " ".repeat(2 + 2 * self.indent);
                let (there, missing) = self.keys();
                pieces.push(stays(format!(
                    "{indent}profile:{}\n",
                    self.comment("block")
                )));
                for (key, value) in there {
                    pieces.extend([stays(format!("{inner}{key}: ")), value]);
                    pieces.push(stays(self.comment("value")));
                    pieces.push(stays("\n".into()));
                }
                let end = pieces.pop();
                let lines = missing.iter().map(|key| format!("\n{inner}{key}"));
                pieces.push(self.put(lines.collect()));
                pieces.extend(end);
            }
        }
        pieces.push(stays(format!("{indent}{work}{}\n", self.comment("work"))));
        pieces.push(stays(format!(
            "{indent}output: {{ o: bytes }}{}",
            self.comment("output")
        )));
        if matches!(self.stands, Stands::Nowhere) {
            pieces.push(self.put(format!("\n{indent}{}", Self::new_profile())));
        }
        pieces.push(stays("\n".into()));
        if self.comments {
            pieces.push(stays(format!("\n{indent}# behind {name}\n\n")));
        }
        pieces
    }
}

proptest! {
    #[test]
    fn nothing_but_hints_changes_in_whatever_style(
        styles in prop::collection::vec(style(), 1..6),
        ends in any::<bool>(),
        carriage_returns in any::<bool>(),
        umlauts in any::<bool>(),
    ) {
        let head = if umlauts { "# Größe, 大きさ\nworkflow: w\nnodes:\n" } else { "workflow: w\nnodes:\n" };
        let mut pieces = vec![Piece::Stays(head.into())];
        let mut of = BTreeMap::new();
        for (index, style) in styles.iter().enumerate() {
            let name = format!("n{index}");
            pieces.extend(style.pieces(&name));
            if style.hinted {
                of.insert(name, hints(f64::from(NEW_MS), &[("o", u64::from(NEW_BYTES))]));
            }
        }
        let (mut old, mut new) = (String::new(), String::new());
        for piece in &pieces {
            let (before, after) = match piece {
                Piece::Stays(text) => (text, text),
                Piece::Becomes(before, after) => (before, after),
            };
            old.push_str(before);
            new.push_str(after);
        }
        for text in [&mut old, &mut new] {
            if !ends {
                text.truncate(text.trim_end().len());
            }
            if carriage_returns {
                *text = text.replace('\n', "\r\n");
            }
        }
        let rewritten = rewrite("w.yaml", &old, &of).unwrap();
        prop_assert_eq!(&rewritten.text, &new);
        prop_assert!(rewritten.left.is_empty());
        // What was there can be had again.
        let again = rewrite("w.yaml", &new, &of).unwrap();
        prop_assert_eq!((again.text, again.changes.len()), (new, 0));
    }

    #[test]
    fn whatever_a_text_is_it_is_rewritten_or_refused(text in "[ \\n{}:,&*#|>a-b'\"0-9-]{0,60}") {
        let text = format!("nodes:\n  a:{text}\n");
        let of = BTreeMap::from([("a".to_owned(), hints(7.0, &[("o", 5)]))]);
        if let Ok(new) = rewrite("w.yaml", &text, &of) {
            prop_assert!(parse("w.yaml", &new.text).is_ok());
        }
    }
}
