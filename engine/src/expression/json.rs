//! From a value's JSON, and back to it.

use super::EvaluationError;
use super::evaluate::Budget;
use super::value::{Data, Key, Map, Text};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::rc::Rc;

/// What lies at a path within a value.
pub(super) enum Found<'a> {
    Data(Data<'a>),
    /// The object has no such field: the place of that field in the path.
    Missing(usize),
    /// A field of something that has none: the field's place in the path, and what was to have it.
    NoObject(usize, &'static str),
}

/// Reads what lies at `path` within the value; all of it must be JSON.
pub(super) fn read<'a>(json: &'a [u8], path: &[String]) -> Result<Found<'a>, EvaluationError> {
    if path.is_empty()
        && let Some(data) = simple(json)
    {
        return Ok(Found::Data(data));
    }
    read_any(json, path)
}

/// What most values are, read at once: a whole number, a boolean, null, or a text without escapes, and nothing around it.
pub(super) fn simple(json: &[u8]) -> Option<Data<'_>> {
    match json {
        b"null" => Some(Data::Null),
        b"true" => Some(Data::Bool(true)),
        b"false" => Some(Data::Bool(false)),
        [b'"', text @ .., b'"'] => {
            let plain = text
                .iter()
                .all(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20));
            let text = std::str::from_utf8(text).ok().filter(|_| plain)?;
            Some(Data::String(Text::Borrowed(text)))
        }
        // So many digits always fit. A leading zero is no JSON, unless it is all there is.
        [b'1'..=b'9', rest @ ..] if rest.len() < 18 => digits(json),
        b"0" => Some(Data::Int(0)),
        _ => None,
    }
}

fn digits<'a>(json: &[u8]) -> Option<Data<'a>> {
    let mut int = 0;
    for byte in json {
        if !byte.is_ascii_digit() {
            return None;
        }
        int = int * 10 + i64::from(byte - b'0');
    }
    Some(Data::Int(int))
}

fn read_any<'a>(json: &'a [u8], path: &[String]) -> Result<Found<'a>, EvaluationError> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let seek = Seek { path, depth: 0 };
    let found = seek.deserialize(&mut deserializer);
    found
        .and_then(|found| deserializer.end().map(|()| found))
        .map_err(|error| EvaluationError::of_whole(format!("is no JSON: {error}")))
}

/// Finds a part on the way down, and passes over what lies beside it.
struct Seek<'p> {
    path: &'p [String],
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found<'de>, D::Error> {
        if self.depth == self.path.len() {
            return Whole.deserialize(deserializer).map(Found::Data);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Found<'de>, E> {
        Ok(Found::NoObject(self.depth, "null"))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Found<'de>, E> {
        Ok(Found::NoObject(self.depth, "a boolean"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Found<'de>, E> {
        Ok(Found::NoObject(self.depth, "a number"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Found<'de>, E> {
        Ok(Found::NoObject(self.depth, "a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Found<'de>, E> {
        Ok(Found::NoObject(self.depth, "a number"))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Found<'de>, E> {
        Ok(Found::NoObject(self.depth, "a text"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Found::NoObject(self.depth, "a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        let mut found = Found::Missing(self.depth);
        while let Some(is_next) = map.next_key_seed(Is(&self.path[self.depth]))? {
            if is_next {
                let (path, depth) = (self.path, self.depth + 1);
                found = map.next_value_seed(Seek { path, depth })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Whether a key is this one.
struct Is<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

/// Reads all of a value.
#[derive(Clone, Copy)]
struct Whole;

impl<'de> DeserializeSeed<'de> for Whole {
    type Value = Data<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Data<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Whole {
    type Value = Data<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Data<'de>, E> {
        Ok(Data::Null)
    }

    fn visit_bool<E: Error>(self, boolean: bool) -> Result<Data<'de>, E> {
        Ok(Data::Bool(boolean))
    }

    fn visit_i64<E: Error>(self, int: i64) -> Result<Data<'de>, E> {
        Ok(Data::Int(int))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Data<'de>, E> {
        Ok(i64::try_from(number).map_or(Data::Double(number as f64), Data::Int))
    }

    fn visit_f64<E: Error>(self, double: f64) -> Result<Data<'de>, E> {
        Ok(Data::Double(double))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Data<'de>, E> {
        Ok(Data::String(Text::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Data<'de>, E> {
        Ok(Data::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Data<'de>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element_seed(self)? {
            elements.push(element);
        }
        Ok(Data::list(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data<'de>, A::Error> {
        let mut entries = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            entries.insert(Key::String(key.into()), map.next_value_seed(self)?);
        }
        Ok(Data::Map(Rc::new(entries)))
    }
}

/// What a value holds, on its own.
pub(super) fn owned<'a>(value: &serde_json::Value) -> Data<'a> {
    match value {
        serde_json::Value::Array(elements) => Data::list(elements.iter().map(owned).collect()),
        serde_json::Value::Object(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                map.insert(Key::String(key.as_str().into()), owned(value));
            }
            Data::Map(Rc::new(map))
        }
        serde_json::Value::String(text) => Data::text(text.as_str()),
        serde_json::Value::Null => Data::Null,
        serde_json::Value::Bool(boolean) => Data::Bool(*boolean),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(int) => Data::Int(int),
            None => Data::Double(number.as_f64().unwrap_or(f64::INFINITY)),
        },
    }
}

/// The JSON of a value. Its parts may be shared many times over, so that writing them all out counts as work.
pub(super) fn to_json(
    data: &Data<'_>,
    budget: &mut Budget,
) -> Result<serde_json::Value, EvaluationError> {
    budget.spend(1)?;
    let none = |what: &str| {
        Err(EvaluationError::of_whole(format!(
            "the result is {what}, which JSON cannot hold"
        )))
    };
    Ok(match data {
        Data::Null => serde_json::Value::Null,
        Data::Bool(boolean) => (*boolean).into(),
        Data::Int(int) => (*int).into(),
        Data::Double(double) => match serde_json::Number::from_f64(*double) {
            Some(number) => number.into(),
            None => return none("no finite number"),
        },
        Data::String(text) => {
            budget.spend_bytes(text.as_str().len())?;
            text.as_str().into()
        }
        Data::List(elements) => {
            let elements: Result<Vec<_>, _> = elements
                .iter()
                .map(|element| to_json(element, budget))
                .collect();
            elements?.into()
        }
        Data::Map(entries) => {
            let mut object = serde_json::Map::new();
            for (key, value) in entries.iter() {
                let key = key.to_string();
                budget.spend_bytes(key.len())?;
                if object.insert(key, to_json(value, budget)?).is_some() {
                    return none("an object with keys that are the same as texts");
                }
            }
            object.into()
        }
        Data::Time(time) => time.to_string().into(),
        Data::Type(kind) => kind.name().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        #[test]
        fn what_is_read_at_once_is_what_is_read_otherwise(
            json in prop_oneof!["\\PC{0,3}", "-?[0-9]{0,20}", "\"[a\u{e9}\\\\\"\u{1}n]{0,4}\"", "true|false|null| 1|1 |1.0|1e3"],
        ) {
            let any = read_any(json.as_bytes(), &[]);
            match simple(json.as_bytes()) {
                Some(simple) => match any {
                    Ok(Found::Data(any)) => prop_assert_eq!(format!("{simple:?}"), format!("{any:?}")),
                    _ => prop_assert!(false, "no JSON: {}", json),
                },
                None if json.len() < 18 => {
                    let digits = json.parse::<u64>().is_ok() && any.is_ok();
                    prop_assert!(!digits, "not read at once: {}", json);
                }
                None => {}
            }
        }
    }
}
