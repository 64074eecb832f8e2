//! YAML as a tree with spans: what the reader of definitions walks.
//!
//! Depth is bounded, and so is the size with all aliases expanded: a subtree is shared, not copied, but it counts as
//! often as it is named, since whoever walks the tree visits it as often.

use super::problem::{ProblemKind, Problems};
use super::{DefinitionError, SourceText, Span, Spanned};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

/// Deepest nesting; a definition needs four.
const DEPTH_MAX: usize = 32;
/// Values in all, with aliases expanded: room for about 100,000 nodes.
const VALUES_MAX: u32 = 2_500_000;
/// Bytes of a text that count as one more value: an alias of a long text costs as much as it may be read.
const VALUE_BYTES: usize = 16;

/// A value of the file.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) value: Value,
    pub(crate) span: Span,
    /// Values in it, itself included, with aliases expanded; long texts count as several.
    values: u32,
}

/// What it is.
#[derive(Debug)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    Scalar {
        text: Rc<str>,
        /// Not quoted, so that it may be a number.
        plain: bool,
    },
    List(Vec<Rc<Tree>>),
    Map(Vec<(Spanned<String>, Rc<Tree>)>),
}

impl Tree {
    /// What it is, for a message.
    pub(super) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "empty".to_owned(),
            Value::Scalar { text, plain: true } => format!("`{}`", super::problem::quoted(text)),
            Value::Scalar { text, plain: false } => {
                format!("the text \"{}\"", super::problem::quoted(text))
            }
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// Reads the one document of a file. Duplicate keys are added to `problems`; the first of them counts.
pub(crate) fn parse(
    source: &SourceText,
    problems: &mut Problems,
) -> Result<Rc<Tree>, DefinitionError> {
    let mut builder = Builder {
        positions: Positions::new(&source.text),
        ..Builder::default()
    };
    for event in Parser::new_from_str(&source.text) {
        let step = match event {
            Ok((event, span)) => builder.event(
                event,
                builder.positions.span(span.start, span.end),
                problems,
            ),
            Err(error) => {
                let at = builder.positions.byte(error.marker());
                if opens_item(&source.text, at) {
                    let span = Span { start: at, end: at };
                    let kind = ProblemKind::Yaml("`[item]` stands within braces".to_owned());
                    let help = "put quotes around it, as in `{ x: \"NODE.OUTPUT[item]\" }`";
                    return Err(Problems::single(source, span, kind, Some(help.to_owned())));
                }
                Err((
                    Span { start: at, end: at },
                    ProblemKind::Yaml(error.info().to_owned()),
                ))
            }
        };
        if let Err((span, kind)) = step {
            let help = help_for(&kind);
            return Err(Problems::single(source, span, kind, help));
        }
    }
    builder.root.ok_or_else(|| {
        let help =
            Some("begin with `workflow: NAME` and `nodes:`; see docs/language.md".to_owned());
        Problems::single(source, Span::default(), ProblemKind::Empty, help)
    })
}

/// Whether the parser stopped at `[item]`, which is no part of an unquoted text within braces.
fn opens_item(text: &str, at: usize) -> bool {
    const OF_ITEM: &str = "[item]";
    (0..=OF_ITEM.len())
        .filter_map(|back| text.get(at.checked_sub(back)?..))
        .any(|rest| rest.starts_with(OF_ITEM))
}

fn help_for(kind: &ProblemKind) -> Option<String> {
    let help = match kind {
        ProblemKind::SecondDocument => {
            "a file defines one workflow: put the other into a file of its own"
        }
        ProblemKind::Deep { .. } | ProblemKind::Many { .. } => {
            "a definition needs far less: is it a workflow file?"
        }
        ProblemKind::Tag => "leave the tag away",
        ProblemKind::Shape { .. } => "keys are plain names, as in `workflow: wordcount`",
        ProblemKind::Yaml(_) => {
            "check the indentation, and the quotes and brackets before this place"
        }
        _ => return None,
    };
    Some(help.to_owned())
}

type Step = Result<(), (Span, ProblemKind)>;

/// A list or mapping that is not yet closed.
enum Open {
    List {
        span: Span,
        anchor: usize,
        items: Vec<Rc<Tree>>,
    },
    Map {
        span: Span,
        anchor: usize,
        entries: Vec<(Spanned<String>, Rc<Tree>)>,
        key: Option<Spanned<String>>,
        seen: HashMap<String, Span>,
        /// Whether the last key was no key, but the rest of a `first_of(` before it.
        rest: bool,
    },
}

#[derive(Default)]
struct Builder {
    positions: Positions,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Tree>>,
    root: Option<Rc<Tree>>,
    documents: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span, problems: &mut Problems) -> Step {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    Err((span, ProblemKind::SecondDocument))
                } else {
                    Ok(())
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                if tag.is_some() {
                    return Err((span, ProblemKind::Tag));
                }
                self.scalar(&text, style == ScalarStyle::Plain, anchor, span, problems)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                // The value is the anchor's, but a problem with it is shown where it is used.
                Some(tree) => {
                    let value = match &tree.value {
                        Value::Null => Value::Null,
                        Value::Scalar { text, plain } => Value::Scalar {
                            text: Rc::clone(text),
                            plain: *plain,
                        },
                        Value::List(items) => Value::List(items.clone()),
                        Value::Map(entries) => Value::Map(entries.clone()),
                    };
                    self.add(
                        Tree {
                            value,
                            span,
                            values: tree.values,
                        },
                        0,
                        problems,
                    )
                }
                None => Err((
                    span,
                    ProblemKind::Yaml("an alias of an anchor that is not complete here".to_owned()),
                )),
            },
            Event::SequenceStart(anchor, tag) => self.start(
                Open::List {
                    span,
                    anchor,
                    items: Vec::new(),
                },
                tag.is_some(),
                span,
            ),
            Event::MappingStart(anchor, tag) => {
                let open = Open::Map {
                    span,
                    anchor,
                    entries: Vec::new(),
                    key: None,
                    seen: HashMap::new(),
                    rest: false,
                };
                self.start(open, tag.is_some(), span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(problems),
        }
    }

    fn start(&mut self, open: Open, tagged: bool, span: Span) -> Step {
        if tagged {
            return Err((span, ProblemKind::Tag));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err((span, ProblemKind::Deep { limit: DEPTH_MAX }));
        }
        if let Some(Open::Map { key: None, .. }) = self.open.last() {
            let found = if matches!(open, Open::List { .. }) {
                "a list"
            } else {
                "a mapping"
            };
            return Err((span, key_shape(found.to_owned())));
        }
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self, problems: &mut Problems) -> Step {
        let (value, span, anchor) = match self.open.pop() {
            Some(Open::List {
                span,
                anchor,
                items,
            }) => (Value::List(items), span, anchor),
            Some(Open::Map {
                span,
                anchor,
                entries,
                ..
            }) => (Value::Map(entries), span, anchor),
            None => return Ok(()),
        };
        let children: u32 = match &value {
            Value::List(items) => items
                .iter()
                .fold(0, |sum, item| sum.saturating_add(item.values)),
            Value::Map(entries) => entries
                .iter()
                .fold(0, |sum, (_, item)| sum.saturating_add(item.values)),
            Value::Null | Value::Scalar { .. } => 0,
        };
        self.add(
            Tree {
                value,
                span,
                values: children.saturating_add(1),
            },
            anchor,
            problems,
        )
    }

    fn scalar(
        &mut self,
        text: &str,
        plain: bool,
        anchor: usize,
        span: Span,
        problems: &mut Problems,
    ) -> Step {
        let null = plain && matches!(text, "" | "~" | "null" | "Null" | "NULL");
        let value = if null {
            Value::Null
        } else {
            Value::Scalar {
                text: text.into(),
                plain,
            }
        };
        self.add(
            Tree {
                value,
                span,
                values: 1 + (text.len() / VALUE_BYTES) as u32,
            },
            anchor,
            problems,
        )
    }

    /// Puts a complete value where it belongs: into the innermost open list or mapping, or at the root.
    fn add(&mut self, tree: Tree, anchor: usize, problems: &mut Problems) -> Step {
        if tree.values > VALUES_MAX {
            return Err((tree.span, ProblemKind::Many { limit: VALUES_MAX }));
        }
        let tree = Rc::new(tree);
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&tree));
        }
        match self.open.last_mut() {
            None => self.root = Some(tree),
            Some(Open::List { items, .. }) => items.push(tree),
            Some(Open::Map { rest, .. }) if *rest => {
                *rest = false;
                if !matches!(tree.value, Value::Null) {
                    let told = "a comma is missing before this".to_owned();
                    return Err((tree.span, ProblemKind::Yaml(told)));
                }
            }
            Some(Open::Map {
                entries,
                key,
                seen,
                rest,
                ..
            }) => match key.take() {
                None if continues(entries, &tree) => *rest = true,
                None => match &tree.value {
                    Value::Scalar { text, .. } => {
                        *key = Some(Spanned {
                            value: text.to_string(),
                            span: tree.span,
                        })
                    }
                    _ => return Err((tree.span, key_shape(tree.describe()))),
                },
                Some(name) => match seen.entry(name.value.clone()) {
                    Entry::Vacant(entry) => {
                        entry.insert(name.span);
                        entries.push((name, tree));
                    }
                    Entry::Occupied(first) => problems.add_beside(
                        name.span,
                        ProblemKind::Duplicate {
                            name: super::problem::quoted(&name.value),
                        },
                        Some("rename one of the two, or leave it away".to_owned()),
                        Some((*first.get(), "first here")),
                    ),
                },
            },
        }
        Ok(())
    }
}

/// Within braces YAML parts `x: first_of(a.o, b.o)` at the comma, into `x: first_of(a.o` and a key `b.o)`. Puts it
/// together again, and says whether there was something to put.
fn continues(entries: &mut [(Spanned<String>, Rc<Tree>)], key: &Tree) -> bool {
    let (Some((_, last)), Value::Scalar { text, plain: true }) = (entries.last_mut(), &key.value)
    else {
        return false;
    };
    let Value::Scalar {
        text: begun,
        plain: true,
    } = &last.value
    else {
        return false;
    };
    if !begun.starts_with("first_of(") || begun.contains(')') {
        return false;
    }
    *last = Rc::new(Tree {
        value: Value::Scalar {
            text: format!("{begun}, {text}").into(),
            plain: true,
        },
        span: Span {
            start: last.span.start,
            end: key.span.end,
        },
        values: last.values.saturating_add(key.values),
    });
    true
}

fn key_shape(found: String) -> ProblemKind {
    ProblemKind::Shape {
        what: "a key".to_owned(),
        expected: "a name",
        found,
    }
}

/// From the parser's positions, which count characters, to bytes.
#[derive(Default)]
struct Positions {
    /// Byte of every character, for a text in which the two differ.
    bytes: Option<Vec<u32>>,
    length: usize,
}

impl Positions {
    fn new(text: &str) -> Self {
        // Definitions are far shorter than 4 GiB: DEFINITION_BYTES_MAX.
        let bytes =
            (!text.is_ascii()).then(|| text.char_indices().map(|(byte, _)| byte as u32).collect());
        Self {
            bytes,
            length: text.len(),
        }
    }

    fn byte(&self, marker: &Marker) -> usize {
        let index = marker.index();
        let byte = match &self.bytes {
            None => index,
            Some(bytes) => bytes.get(index).map_or(self.length, |byte| *byte as usize),
        };
        byte.min(self.length)
    }

    fn span(&self, start: Marker, end: Marker) -> Span {
        let start = self.byte(&start);
        Span {
            start,
            end: self.byte(&end).max(start),
        }
    }
}
