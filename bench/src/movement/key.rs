//! What goes from node to node instead of a payload that lies in a remote store: `KEY LENGTH`, as text.

use std::fmt;
use synthetic::Spot;

/// What all keys begin with.
pub const PREFIX: &str = "faasflow-bench/movement/";

/// Where a payload lies, and how long it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// Its name in the store.
    pub name: String,
    /// Bytes of the payload.
    pub bytes: usize,
}

impl Key {
    /// That of a payload which is to be written: no other has it, of whatever invocation, activation, attempt, output or item.
    #[must_use]
    pub fn of(spot: &Spot<'_>) -> Self {
        let context = spot.context;
        let invocation = context.invocation().0;
        let (node, attempt) = (context.node(), context.attempt());
        let activation = context.item().map_or(0, |item| u64::from(item) + 1);
        let (output, item) = (spot.output, spot.item);
        Self {
            name: format!(
                "{PREFIX}{invocation:032x}/{node}/{activation}/{attempt}/{output}/{item}"
            ),
            bytes: spot.bytes,
        }
    }

    /// What was passed on, if it is a key: all else is a payload itself.
    #[must_use]
    pub fn parse(input: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(input).ok()?;
        let (name, bytes) = text.rsplit_once(' ')?;
        if !name.starts_with(PREFIX) {
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            bytes: bytes.parse().ok()?,
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written_and_nothing_else_is_one() {
        let key = Key {
            name: format!("{PREFIX}0/a/0/1/out/0"),
            bytes: 300_000,
        };
        assert_eq!(Key::parse(key.to_string().as_bytes()), Some(key));
        let mut payload = vec![0; 100];
        synthetic::payload::fill(&mut payload, 1);
        for other in [
            &payload[..],
            b"",
            b"other/key 7",
            b"faasflow-bench/movement/a",
            b"faasflow-bench/movement/a x",
        ] {
            assert_eq!(Key::parse(other), None, "{other:?}");
        }
    }
}
