//! Where two schemas first differ, for people.

use super::{Field, Fields, Plain, Schema, Type, Variant};

/// Longest text by which a type is told in a difference, in characters: what is deeper is left out.
const SHOWN_MAX: usize = 80;

/// Where two schemas first differ, in the order in which they are written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// From the payload down, as in `.rows[].total`; empty if it is the payload as a whole. `[]` is an item, `{}` a value of a
    /// map, and a variant stands behind two colons.
    pub path: String,
    /// What the first has there, as in "u64"; none if it has nothing.
    pub first: Option<String>,
    /// What the second has there.
    pub second: Option<String>,
}

impl Schema {
    /// Where this one and another first differ; `None` if they are the same.
    ///
    /// ```
    /// use faasstore::schema::Schema;
    ///
    /// let written = Schema::parse("rkyv:struct{words:bytes,total:u64}")?;
    /// let read = Schema::parse("rkyv:struct{words:bytes,total:u32}")?;
    /// let difference = written.difference(&read).unwrap();
    /// assert_eq!(difference.path, ".total");
    /// assert_eq!((difference.first.as_deref(), difference.second.as_deref()), (Some("u64"), Some("u32")));
    /// # Ok::<(), faasstore::schema::ParseError>(())
    /// ```
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        match (self, other) {
            (Self::Archive(first), Self::Archive(second)) => {
                let mut path = String::new();
                types(&mut path, first, second)
            }
            (first, second) if first == second => None,
            (first, second) => Some(Difference {
                path: String::new(),
                first: Some(first.told()),
                second: Some(second.told()),
            }),
        }
    }

    fn told(&self) -> String {
        match self {
            Self::Archive(kind) => told(kind),
            Self::Tagged(tag) => format!("{tag} (raw bytes)"),
        }
    }
}

fn differ(path: &str, first: String, second: String) -> Option<Difference> {
    let (path, first, second) = (path.to_owned(), Some(first), Some(second));
    Some(Difference {
        path,
        first,
        second,
    })
}

/// A type as it is told: in full if it is short.
fn told(kind: &Type) -> String {
    let full = kind.to_string();
    if full.chars().count() <= SHOWN_MAX {
        return full;
    }
    let (begin, end) = match kind {
        Type::Struct(Fields::Named(_)) => ("struct{", "}"),
        Type::Struct(_) => ("struct(", ")"),
        Type::Enum(_) => ("enum{", "}"),
        Type::Tuple(_) => ("tuple(", ")"),
        Type::List(_) => ("list<", ">"),
        Type::Set(_) => ("set<", ">"),
        Type::Map(..) => ("map<", ">"),
        Type::Option(_) => ("option<", ">"),
        Type::Boxed(_) => ("box<", ">"),
        Type::Array(..) => ("array<", ">"),
        Type::Plain(_) | Type::Outer(_) => return full,
    };
    format!("{begin}...{end}")
}

fn types(path: &mut String, first: &Type, second: &Type) -> Option<Difference> {
    match (first, second) {
        (Type::List(a), Type::List(b)) | (Type::Set(a), Type::Set(b)) => {
            within(path, "[]", |path| types(path, a, b))
        }
        // Bytes are a list of a type too.
        (Type::List(a), Type::Plain(Plain::Bytes)) => {
            within(path, "[]", |path| types(path, a, &Type::Plain(Plain::U8)))
        }
        (Type::Plain(Plain::Bytes), Type::List(b)) => {
            within(path, "[]", |path| types(path, &Type::Plain(Plain::U8), b))
        }
        (Type::Option(a), Type::Option(b)) | (Type::Boxed(a), Type::Boxed(b)) => types(path, a, b),
        (Type::Array(a, many), Type::Array(b, more)) if many == more => {
            within(path, "[]", |path| types(path, a, b))
        }
        (Type::Map(a_key, a), Type::Map(b_key, b)) => {
            let keys = within(path, "[]", |path| types(path, a_key, b_key));
            keys.or_else(|| within(path, "{}", |path| types(path, a, b)))
        }
        (Type::Tuple(a), Type::Tuple(b)) => unnamed(path, a, b),
        (Type::Struct(a), Type::Struct(b)) => match (a, b) {
            (Fields::Unnamed(a), Fields::Unnamed(b)) => unnamed(path, a, b),
            (Fields::Named(a), Fields::Named(b)) => named(path, a, b),
            (a, b) if a == b => None,
            _ => differ(path, told(first), told(second)),
        },
        (Type::Enum(a), Type::Enum(b)) => variants(path, a, b),
        (a, b) if a == b => None,
        (a, b) => differ(path, told(a), told(b)),
    }
}

fn within(
    path: &mut String,
    step: &str,
    look: impl FnOnce(&mut String) -> Option<Difference>,
) -> Option<Difference> {
    let length = path.len();
    path.push_str(step);
    let found = look(path);
    path.truncate(length);
    found
}

/// The first place at which there is something in one list and nothing in the other.
fn beyond<T>(
    path: &str,
    first: &[T],
    second: &[T],
    tell: impl Fn(usize, &T) -> (String, String),
) -> Option<Difference> {
    let place = first.len().min(second.len());
    let (one, is_first) = match (first.get(place), second.get(place)) {
        (Some(one), _) => (one, true),
        (None, Some(one)) => (one, false),
        (None, None) => return None,
    };
    let (step, has) = tell(place, one);
    let path = format!("{path}{step}");
    let (first, second) = match is_first {
        true => (Some(has), None),
        false => (None, Some(has)),
    };
    Some(Difference {
        path,
        first,
        second,
    })
}

fn unnamed(path: &mut String, first: &[Type], second: &[Type]) -> Option<Difference> {
    for (place, (a, b)) in first.iter().zip(second).enumerate() {
        let found = within(path, &format!(".{place}"), |path| types(path, a, b));
        if found.is_some() {
            return found;
        }
    }
    beyond(path, first, second, |place, kind| {
        (format!(".{place}"), told(kind))
    })
}

fn named(path: &mut String, first: &[Field], second: &[Field]) -> Option<Difference> {
    for (place, (a, b)) in first.iter().zip(second).enumerate() {
        if a.name != b.name {
            let with =
                |field: &Field| format!("fields with `{}` in place {}", field.name, place + 1);
            return differ(path, with(a), with(b));
        }
        let step = format!(".{}", a.name);
        let found = within(path, &step, |path| types(path, &a.kind, &b.kind));
        if found.is_some() {
            return found;
        }
    }
    beyond(path, first, second, |_, field| {
        (format!(".{}", field.name), told(&field.kind))
    })
}

fn variants(path: &mut String, first: &[Variant], second: &[Variant]) -> Option<Difference> {
    for (place, (a, b)) in first.iter().zip(second).enumerate() {
        if a.name != b.name {
            let with = |variant: &Variant| {
                format!("an enum with `{}` in place {}", variant.name, place + 1)
            };
            return differ(path, with(a), with(b));
        }
        let step = format!("::{}", a.name);
        let found = within(path, &step, |path| match (&a.fields, &b.fields) {
            (Fields::Unnamed(a), Fields::Unnamed(b)) => unnamed(path, a, b),
            (Fields::Named(a), Fields::Named(b)) => named(path, a, b),
            (a, b) if a == b => None,
            (a, b) => differ(path, holds(a), holds(b)),
        });
        if found.is_some() {
            return found;
        }
    }
    beyond(path, first, second, |_, variant| {
        (format!("::{}", variant.name), "a variant".to_owned())
    })
}

/// What a variant holds, as it is told.
fn holds(fields: &Fields) -> String {
    match fields {
        Fields::None => "a variant that holds nothing".to_owned(),
        Fields::Unnamed(_) => "a variant without names of fields".to_owned(),
        Fields::Named(_) => "a variant with names of fields".to_owned(),
    }
}
