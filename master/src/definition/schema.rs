//! The JSON Schema of the language, made of the reader's own tables: editors complete and check files with it.

use super::NAME_BYTES_MAX;
use super::keys::{Holds, Key, MAXIMUM_BYTES_MAX, Shape, WORKFLOW};
use serde_json::{Map, Value as Json, json};

/// The language as a JSON Schema (draft 2020-12). It knows keys, their places, types and ranges; what names mean is
/// for [`super::parse`] to check.
///
/// ```
/// let schema = master::definition::schema();
/// assert!(schema["properties"]["nodes"].is_object());
/// ```
#[must_use]
pub fn schema() -> Json {
    let mut maker = Maker { shapes: Map::new() };
    let Json::Object(file) = maker.mapping(&WORKFLOW) else {
        unreachable!("a mapping's schema is an object");
    };
    let mut schema = Map::from_iter([
        (
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        ),
        ("title".to_owned(), json!("FaaSFlow workflow")),
    ]);
    schema.extend(file);
    let name = json!({
        "type": "string",
        "pattern": name_pattern(),
        "description": "A letter, then letters, digits, `_` or `-`, at most 64 in all",
    });
    let name = ("name".to_owned(), name);
    let shapes = std::iter::once(name).chain(maker.shapes);
    schema.insert("$defs".to_owned(), Json::Object(shapes.collect()));
    Json::Object(schema)
}

/// What names look like, as a regular expression.
pub(super) fn name_pattern() -> String {
    format!("^[A-Za-z][A-Za-z0-9_-]{{0,{}}}$", NAME_BYTES_MAX - 1)
}

/// Makes schemas, and keeps those of mappings with known keys, each once.
struct Maker {
    shapes: Map<String, Json>,
}

impl Maker {
    fn mapping(&mut self, shape: &'static Shape) -> Json {
        let properties = shape
            .keys
            .iter()
            .map(|key| (key.name.to_owned(), self.key(key)));
        let properties: Map<String, Json> = properties.collect();
        let mut schema = json!({
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        });
        if !shape.needs.is_empty() {
            schema["required"] = json!(shape.needs);
        }
        if !shape.needs_one_of.is_empty() {
            let one = shape
                .needs_one_of
                .iter()
                .map(|key| json!({ "required": [key] }));
            schema["anyOf"] = one.collect();
        }
        schema
    }

    fn key(&mut self, key: &'static Key) -> Json {
        let mut schema = self.holds(&key.holds);
        schema["description"] = json!(key.about);
        schema
    }

    fn holds(&mut self, holds: &'static Holds) -> Json {
        match holds {
            Holds::Name => json!({ "$ref": "#/$defs/name" }),
            Holds::Function => json!({ "type": "string", "pattern": "^[^:]+:[^:]+$" }),
            Holds::Text => json!({ "type": ["string", "number", "boolean"] }),
            Holds::Expression => json!({ "type": ["string", "number", "boolean"], "minLength": 1 }),
            Holds::ExpressionText => json!({ "type": "string", "minLength": 1 }),
            Holds::Source => json!({ "type": "string", "pattern": SOURCE_PATTERN }),
            Holds::Plain => json!({ "type": ["number", "boolean"] }),
            Holds::Any => json!({}),
            Holds::Flag => json!({ "type": "boolean" }),
            Holds::Whole { least, most } => {
                json!({ "type": "integer", "minimum": least, "maximum": most })
            }
            Holds::Size => json!({ "anyOf": [
                { "type": "integer", "minimum": 1, "maximum": MAXIMUM_BYTES_MAX },
                { "type": "string", "pattern": SIZE_PATTERN },
            ] }),
            Holds::Number { least, most } => {
                json!({ "type": "number", "minimum": least, "maximum": most })
            }
            Holds::Words(words) => json!({ "enum": words }),
            Holds::OneOrMore(one) => {
                let list = json!({ "type": "array", "items": self.holds(one) });
                json!({ "anyOf": [self.holds(one), list] })
            }
            Holds::OneOrUpTo(most, one) => {
                let mut list = json!({ "type": "array", "items": self.holds(one) });
                list["minItems"] = json!(1);
                list["maxItems"] = json!(most);
                json!({ "anyOf": [self.holds(one), list] })
            }
            Holds::List(item) => json!({ "type": "array", "items": self.holds(item) }),
            Holds::Named(value) => json!({
                "type": ["object", "null"],
                "propertyNames": { "$ref": "#/$defs/name" },
                "additionalProperties": self.holds(value),
            }),
            Holds::Keys(shape) => {
                let slug = shape.slug;
                if !self.shapes.contains_key(slug) {
                    let made = self.mapping(shape);
                    self.shapes.insert(slug.to_owned(), made);
                }
                json!({ "$ref": format!("#/$defs/{slug}") })
            }
            Holds::Either(all) => {
                let all: Vec<Json> = all.iter().map(|one| self.holds(one)).collect();
                json!({ "anyOf": all })
            }
        }
    }
}

/// What a number of bytes with a unit looks like.
pub(super) const SIZE_PATTERN: &str = "^[0-9]+([KMGT](iB)?)?$";
/// What a source, or the first of several, looks like.
pub(super) const SOURCE_PATTERN: &str = "^((outer\\.)*item|[A-Za-z][A-Za-z0-9_-]*\\.[A-Za-z][A-Za-z0-9_-]*(\\[item\\])?|first_of\\(.*\\))$";
