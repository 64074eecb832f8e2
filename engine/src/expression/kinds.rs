//! What is known of a value before it is there: the kinds that it may have.

use super::value::Kind;

/// The kinds that a part of an expression, or a value that it names, may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kinds(u16);

impl Kinds {
    /// Nothing is known.
    pub const ANY: Self = Self(u16::MAX);
    /// Null, which is what an absent value is.
    pub const NULL: Self = Self::of(Kind::Null);
    /// A list.
    pub const LIST: Self = Self::of(Kind::List);
    pub(super) const BOOL: Self = Self::of(Kind::Bool);
    pub(super) const INT: Self = Self::of(Kind::Int);
    pub(super) const DOUBLE: Self = Self::of(Kind::Double);
    pub(super) const NUMBER: Self = Self::INT.or(Self::DOUBLE);
    pub(super) const STRING: Self = Self::of(Kind::String);
    pub(super) const MAP: Self = Self::of(Kind::Map);
    pub(super) const TIME: Self = Self::of(Kind::Time);
    pub(super) const TYPE: Self = Self::of(Kind::Type);
    pub(super) const KEY: Self = Self::BOOL.or(Self::NUMBER).or(Self::STRING);
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn of(kind: Kind) -> Self {
        Self(1 << kind as u16)
    }

    /// That of a value which is there. A number may be taken for whole or not: `1.0` and `1` are one number.
    #[must_use]
    pub const fn of_json(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::NULL,
            serde_json::Value::Bool(_) => Self::BOOL,
            serde_json::Value::Number(_) => Self::NUMBER,
            serde_json::Value::String(_) => Self::STRING,
            serde_json::Value::Array(_) => Self::LIST,
            serde_json::Value::Object(_) => Self::MAP,
        }
    }

    /// Those of both.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// In a sentence.
    pub(super) fn with_article(self) -> String {
        let all = [
            (Self::NULL, Kind::Null),
            (Self::BOOL, Kind::Bool),
            (Self::NUMBER, Kind::Int),
            (Self::STRING, Kind::String),
            (Self::LIST, Kind::List),
            (Self::MAP, Kind::Map),
            (Self::TIME, Kind::Time),
            (Self::TYPE, Kind::Type),
        ];
        let named: Vec<&str> = all
            .iter()
            .filter(|(kinds, _)| self.meets(*kinds))
            .map(|(_, kind)| kind.with_article())
            .collect();
        named.join(" or ")
    }
}
