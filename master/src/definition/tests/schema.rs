//! The JSON Schema says what the reader says: of every example, of every key.

use super::*;
use crate::definition::keys::{ALL, Holds, Shape};
use crate::definition::names::is_name;
use crate::definition::schema::{SIZE_PATTERN, SOURCE_PATTERN, name_pattern};
use serde_json::{Value as Json, json};

/// What of a schema this test knows; a word that it does not know fails it.
struct Validator(Json);

impl Validator {
    /// Where, and why, a value is not as the schema wants it.
    fn faults(&self, schema: &Json, value: &Json, place: &str) -> Vec<String> {
        let Some(words) = schema.as_object() else {
            panic!("{place}: a schema is an object")
        };
        let mut faults = Vec::new();
        for (word, wanted) in words {
            let holds = match word.as_str() {
                "$schema" | "$defs" | "title" | "description" => true,
                "$ref" => {
                    let path = wanted.as_str().unwrap().strip_prefix('#').unwrap();
                    let of = self.0.pointer(path).unwrap();
                    faults.extend(self.faults(of, value, place));
                    true
                }
                "anyOf" => wanted
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|schema| self.faults(schema, value, place).is_empty()),
                "type" => match wanted {
                    Json::Array(types) => types.iter().any(|wanted| is_a(value, wanted)),
                    wanted => is_a(value, wanted),
                },
                "enum" => wanted.as_array().unwrap().contains(value),
                "minimum" => value.as_f64().is_none_or(|n| n >= wanted.as_f64().unwrap()),
                "maximum" => value.as_f64().is_none_or(|n| n <= wanted.as_f64().unwrap()),
                "minItems" => value
                    .as_array()
                    .is_none_or(|items| items.len() as u64 >= wanted.as_u64().unwrap()),
                "maxItems" => value
                    .as_array()
                    .is_none_or(|items| items.len() as u64 <= wanted.as_u64().unwrap()),
                "minLength" => value.as_str().is_none_or(|text| !text.is_empty()),
                "pattern" => value.as_str().is_none_or(|text| matches(wanted, text)),
                "required" => value.as_object().is_none_or(|object| {
                    let mut keys = wanted.as_array().unwrap().iter();
                    keys.all(|key| object.contains_key(key.as_str().unwrap()))
                }),
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        faults.extend(self.faults(wanted, item, &format!("{place}[{index}]")));
                    }
                    true
                }
                "propertyNames" => {
                    for name in value
                        .as_object()
                        .into_iter()
                        .flat_map(|object| object.keys())
                    {
                        faults.extend(self.faults(wanted, &json!(name), place));
                    }
                    true
                }
                "properties" => {
                    for (key, of) in wanted.as_object().unwrap() {
                        if let Some(under) = value.get(key) {
                            faults.extend(self.faults(of, under, &format!("{place}.{key}")));
                        }
                    }
                    true
                }
                "additionalProperties" => {
                    let known = schema.get("properties");
                    for (key, under) in value.as_object().into_iter().flatten() {
                        if known.is_some_and(|known| known.get(key).is_some()) {
                            continue;
                        }
                        let place = format!("{place}.{key}");
                        match wanted {
                            Json::Bool(false) => faults.push(format!("{place} is unknown")),
                            schema => faults.extend(self.faults(schema, under, &place)),
                        }
                    }
                    true
                }
                other => panic!("{place}: this test does not know {other}"),
            };
            if !holds {
                faults.push(format!("{place}: {word} wants {wanted}"));
            }
        }
        faults
    }
}

fn is_a(value: &Json, wanted: &Json) -> bool {
    match wanted.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        other => panic!("no type {other}"),
    }
}

/// The schema's patterns, each done by hand.
fn matches(pattern: &Json, text: &str) -> bool {
    let two_names = |text: &str| {
        let both = text.split_once('.');
        both.is_some_and(|(left, right)| is_name(left) && is_name(right))
    };
    match pattern.as_str().unwrap() {
        name if name == name_pattern() => is_name(text),
        "^[^:]+:[^:]+$" => text.matches(':').count() == 1 && text.len() >= 3,
        SIZE_PATTERN => engine::worker::quantities::parse_size(text).is_ok(),
        SOURCE_PATTERN => {
            let first_of = text.starts_with("first_of(") && text.ends_with(')');
            let named = text.strip_suffix("[item]").unwrap_or(text);
            let item = text.trim_start_matches("outer.") == "item";
            item || two_names(named) || first_of
        }
        other => panic!("this test does not know the pattern {other}"),
    }
}

fn json_of(text: &str) -> Json {
    let source = SourceText {
        name: "w.yaml".into(),
        text: text.into(),
    };
    let tree = tree::parse(&source, &mut problem::Problems::new(&source)).unwrap();
    json::of(&tree).ok().unwrap()
}

/// The YAML blocks of the language's reference that are not refused.
fn examples() -> Vec<String> {
    let text = include_str!("../../../../docs/language.md");
    let blocks = text.split("```").skip(1).step_by(2);
    let definitions = blocks.filter_map(|block| {
        let (label, text) = block.split_once('\n')?;
        let valid = label.starts_with("yaml") && label != "yaml refused";
        valid.then(|| text.to_owned())
    });
    definitions.collect()
}

#[test]
fn every_example_of_the_reference_fits_the_schema() {
    let validator = Validator(schema());
    let mut examples = examples();
    examples.push(WORDCOUNT.to_owned());
    examples.push(include_str!("../../../../examples/wordcount/workflow.yaml").to_owned());
    assert!(examples.len() > 10);
    for text in examples {
        let faults = validator.faults(&validator.0, &json_of(&text), "");
        assert!(faults.is_empty(), "{faults:#?}\n{text}");
    }
}

#[test]
fn what_the_reader_refuses_by_its_shape_does_not_fit_the_schema() {
    let validator = Validator(schema());
    let retry = "retry: { attempts: 3, backoff_ms: 50 }";
    let retriers = |count: usize| format!("retry: [ {} ]", vec!["{ on: Busy }"; count].join(", "));
    let (none, most, many) = (retriers(0), retriers(16), retriers(17));
    let text = WORDCOUNT.replacen(retry, &most, 1);
    let faults = validator.faults(&validator.0, &json_of(&text), "");
    assert!(text.contains(&most) && problems(&text).is_empty() && faults.is_empty());
    for (piece, other) in [
        (retry, none.as_str()),
        (retry, many.as_str()),
        (retry, "retry: [ { attempts: 2 }, { attempts: 0 } ]"),
        (retry, "retry: [ Busy ]"),
        ("function: wordcount:split", "functoin: wordcount:split"),
        ("function: wordcount:split", "output: {}"),
        ("scale: 4", "scale: 0"),
        ("scale: 4", "scale: 1.5"),
        ("attempts: 3", "attempts: many"),
        ("chunks: list", "chunks: lists"),
        ("text: input.text", "text: text"),
        ("text: input.text", "text: { from: input.text, many: true }"),
        ("workflow: wordcount\n", ""),
        ("workflow: wordcount\n", "workflow: 3 words\n"),
        ("after: [split]", "after: { a: b }"),
        ("after: [split]", "join: some"),
    ] {
        let text = WORDCOUNT.replacen(piece, other, 1);
        assert!(!problems(&text).is_empty(), "{other}");
        let faults = validator.faults(&validator.0, &json_of(&text), "");
        assert!(!faults.is_empty(), "{other}");
    }
}

#[test]
fn reader_and_schema_know_the_same_keys() {
    let schema = schema();
    let mut seen = 0;
    for shape in ALL {
        let of = match schema["$defs"].get(shape.slug) {
            Some(of) => of,
            None => &schema,
        };
        let properties = of["properties"].as_object().unwrap();
        let known: Vec<&str> = properties.keys().map(String::as_str).collect();
        assert_eq!(known, shape.names(), "{}", shape.what);
        seen += 1;
    }
    let shapes = schema["$defs"].as_object().unwrap().len() - 1;
    assert_eq!(
        seen,
        shapes + 1,
        "all but the file itself stand under $defs"
    );
    for shape in ALL {
        for key in shape.names() {
            every_key_is_looked_at(shape, key);
        }
    }
}

/// A file with this key of this mapping, holding what no key may hold.
fn every_key_is_looked_at(shape: &'static Shape, key: &'static str) {
    let holds = &shape
        .keys
        .iter()
        .find(|known| known.name == key)
        .unwrap()
        .holds;
    if matches!(holds, Holds::Any) || (shape.slug == "workflow" && key == "constants") {
        return;
    }
    let bad = "[[{ '?': [] }]]";
    let node = |text: String| format!("{{ workflow: w, nodes: {{ n: {{ {text} }} }} }}");
    let text = match shape.slug {
        "workflow" => format!("{{ workflow: w, nodes: {{ n: {{ delay_ms: 1 }} }}, {key}: {bad} }}")
            .replacen(
                &format!("{key}: "),
                &format!("x{key}: "),
                usize::from(matches!(key, "workflow" | "nodes")),
            ),
        "input" => format!(
            "{{ workflow: w, nodes: {{ n: {{ delay_ms: 1 }} }}, input: {{ i: {{ {key}: {bad} }} }} }}"
        ),
        "binding" => node(format!("function: e:f, input: {{ i: {{ {key}: {bad} }} }}")),
        "node" if key == "function" => node(format!("function: {bad}")),
        "node" if key == "default" => {
            node(format!("switch: [{{ when: a, then: n }}], default: {bad}"))
        }
        "node" => node(format!("function: e:f, {key}: {bad}")).replace(
            "function: e:f, ",
            if matches!(key, "command" | "compute" | "switch" | "workflow") {
                ""
            } else {
                "function: e:f, "
            },
        ),
        "case" => node(format!("switch: [{{ {key}: {bad} }}]")),
        "output" => node(format!(
            "function: e:f, output: {{ o: {{ {key}: {bad} }} }}"
        )),
        "formula" => node(format!("compute: {{ x: {{ {key}: {bad} }} }}")),
        "retry" | "catch" | "foreach" | "resources" | "profile" | "join" => {
            node(format!("function: e:f, {}: {{ {key}: {bad} }}", shape.slug))
        }
        "store" => format!(
            "{{ workflow: w, nodes: {{ n: {{ delay_ms: 1 }} }}, store: {{ {key}: {bad} }} }}"
        ),
        other => panic!("no template for {other}"),
    };
    let error = parse("w.yaml", text.as_bytes()).unwrap_err();
    let at = text.find(bad).unwrap();
    let looked_at = error.problems.iter().any(|problem| {
        let span = problem.place.span;
        span.start >= at && span.start < at + bad.len()
    });
    assert!(looked_at, "{text}: {:?}", error.problems);
}
