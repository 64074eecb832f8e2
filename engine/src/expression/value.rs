//! What an expression computes with.

use super::time::Time;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A value that stands in the text.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    String(String),
    Type(Kind),
}

/// What kind of value it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Null,
    Bool,
    Int,
    Double,
    String,
    List,
    Map,
    Time,
    Type,
}

impl Kind {
    /// Those that an expression can name.
    pub(super) const NAMED: [(&'static str, Self); 9] = [
        ("null_type", Self::Null),
        ("bool", Self::Bool),
        ("int", Self::Int),
        ("double", Self::Double),
        ("string", Self::String),
        ("list", Self::List),
        ("map", Self::Map),
        ("timestamp", Self::Time),
        ("type", Self::Type),
    ];

    /// The kind that a name stands for.
    pub(super) fn named(name: &str) -> Option<Self> {
        let found = Self::NAMED.iter().find(|(known, _)| *known == name)?;
        Some(found.1)
    }

    /// As an expression names it.
    pub(super) fn name(self) -> &'static str {
        let found = Self::NAMED.iter().find(|(_, kind)| *kind == self);
        found.map_or("", |(name, _)| name)
    }

    /// In a sentence.
    pub(super) const fn with_article(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Int | Self::Double => "a number",
            Self::String => "a text",
            Self::List => "a list",
            Self::Map => "an object",
            Self::Time => "a timestamp",
            Self::Type => "a type",
        }
    }
}

/// A text: of the expression or of a value, where it stands there as it is; else one of its own.
#[derive(Clone, Debug)]
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    Shared(Rc<str>),
}

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

/// A key of an object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Key {
    Bool(bool),
    Int(i64),
    String(Rc<str>),
}

impl Key {
    /// The key that a value stands for: a number that is whole is the same key, however it is written.
    pub(super) fn of(data: &Data<'_>) -> Option<Self> {
        Some(match data {
            Data::Bool(boolean) => Self::Bool(*boolean),
            Data::Int(int) => Self::Int(*int),
            Data::Double(double) => Self::Int(whole(*double)?),
            Data::String(text) => Self::String(text.as_str().into()),
            _ => return None,
        })
    }

    pub(super) fn to_data<'a>(&self) -> Data<'a> {
        match self {
            Self::Bool(boolean) => Data::Bool(*boolean),
            Self::Int(int) => Data::Int(*int),
            Self::String(text) => Data::String(Text::Shared(Rc::clone(text))),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(boolean) => boolean.fmt(f),
            Self::Int(int) => int.fmt(f),
            Self::String(text) => text.fmt(f),
        }
    }
}

pub(super) type Map<'a> = BTreeMap<Key, Data<'a>>;

/// A value; its parts are shared, so that a copy costs nothing.
#[derive(Clone, Debug)]
pub(super) enum Data<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    String(Text<'a>),
    List(Rc<Vec<Data<'a>>>),
    Map(Rc<Map<'a>>),
    Time(Time),
    Type(Kind),
}

const _: () = assert!(size_of::<Data<'_>>() <= 32, "a value is passed by value");

impl<'a> Data<'a> {
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Null => Kind::Null,
            Self::Bool(_) => Kind::Bool,
            Self::Int(_) => Kind::Int,
            Self::Double(_) => Kind::Double,
            Self::String(_) => Kind::String,
            Self::List(_) => Kind::List,
            Self::Map(_) => Kind::Map,
            Self::Time(_) => Kind::Time,
            Self::Type(_) => Kind::Type,
        }
    }

    pub(super) fn text(text: impl Into<Rc<str>>) -> Self {
        Self::String(Text::Shared(text.into()))
    }

    pub(super) fn list(elements: Vec<Self>) -> Self {
        Self::List(Rc::new(elements))
    }

    /// What a literal of the expression stands for.
    pub(super) fn literal(literal: &'a Literal) -> Self {
        match literal {
            Literal::Null => Self::Null,
            Literal::Bool(boolean) => Self::Bool(*boolean),
            Literal::Int(int) => Self::Int(*int),
            Literal::Double(double) => Self::Double(*double),
            Literal::String(text) => Self::String(Text::Borrowed(text)),
            Literal::Type(kind) => Self::Type(*kind),
        }
    }
}

/// The whole number that a double is, if it is one.
pub(super) fn whole(double: f64) -> Option<i64> {
    // 2^63 is a double, and the first that is too large.
    let in_range = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&double);
    (in_range && double.fract() == 0.0).then_some(double as i64)
}

/// The order of a whole number and a double, exactly; none with what is no number.
pub(super) fn compare_mixed(int: i64, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    Some(match whole(double.floor()) {
        None if double > 0.0 => Ordering::Less,
        None => Ordering::Greater,
        Some(floor) => int.cmp(&floor).then(if double.fract() == 0.0 {
            Ordering::Equal
        } else {
            Ordering::Less
        }),
    })
}
