//! What is in a payload: a description that any language can write and read, its hash, and where two of them differ.
//!
//! ```text
//! schema   = "rkyv:" type | tag
//! tag      = a letter, then up to 63 of a to z, 0 to 9 and . + - /        as in "arrow-ipc": raw bytes of that content
//! type     = "unit" | "bool" | "char" | "string" | "bytes" | "u8" ... "u128" | "i8" ... "i128" | "f32" | "f64"
//!          | "nonzero_u8" ... "nonzero_i128"
//!          | "list<" type ">" | "set<" type ">" | "map<" type "," type ">" | "option<" type ">" | "box<" type ">"
//!          | "array<" type "," number ">" | "tuple(" types ")" | "struct" fields | "enum{" variants "}"
//!          | "outer<" number ">"                       the struct or enum that many levels around the innermost one
//! fields   = "" | "(" types ")" | "{" name ":" type, ... "}"
//! variant  = name fields
//! ```
//!
//! A description is of the archive's layout: fields and variants by name, order and type. Names of types are not in it, nor
//! where they come from. There is one text for one layout, without blanks, and the hash is over that text: docs/types.md has
//! vectors of both. A text from elsewhere is read by [`Schema::parse`], which takes nothing but what this file writes.

mod describe;
mod difference;
mod parse;
#[cfg(test)]
mod tests;

pub use describe::{Described, Describer, PayloadType};
pub use difference::Difference;
pub use parse::ParseError;

use std::fmt::{self, Display, Formatter};
use thiserror::Error;

/// Longest text of a description, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 32 << 10;
/// How deep types may lie in each other.
pub const DEPTH_MAX: usize = 32;
/// Longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 64;
/// The tag of a table as a stream of Arrow's inter-process format.
pub const ARROW_IPC: &str = "arrow-ipc";

/// What every archive's text begins with. It stands for the format: of rkyv 0.8, little-endian, aligned, with 32-bit pointers.
const ARCHIVE: &str = "rkyv:";

/// What is in a payload, or in each item of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Schema {
    /// An rkyv archive of a type.
    Archive(Type),
    /// Raw bytes of a content that has a name.
    Tagged(Tag),
}

/// The name of a content, as in `arrow-ipc`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tag(String);

impl Tag {
    /// The tag of that name.
    ///
    /// # Errors
    /// If it has other characters than small letters, digits and `. + - /`, does not begin with a letter, or is too long.
    pub fn new(name: impl Into<String>) -> Result<Self, TagError> {
        let name = name.into();
        let of_tags = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".+-/".contains(&byte)
        };
        let begins = name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase());
        match begins && name.len() <= TAG_BYTES_MAX && name.bytes().all(of_tags) {
            true => Ok(Self(name)),
            false => Err(TagError(name)),
        }
    }
}

/// A text that is no tag.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error(
    "{0:?} is no content tag: those have 1 to {TAG_BYTES_MAX} of a to z, 0 to 9 and . + - /, and begin with a letter, as in \
     {ARROW_IPC}"
)]
pub struct TagError(String);

/// A type, as it is archived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Type {
    /// One that has no parts.
    Plain(Plain),
    /// Any number of one type, in order; of bytes it is [`Plain::Bytes`].
    List(Box<Type>),
    /// A sorted set.
    Set(Box<Type>),
    /// A sorted map, from the first to the second.
    Map(Box<Type>, Box<Type>),
    /// It, or nothing.
    Option(Box<Type>),
    /// It, behind a pointer.
    Boxed(Box<Type>),
    /// So many of one type.
    Array(Box<Type>, u64),
    /// One of each, without names.
    Tuple(Vec<Type>),
    /// Fields.
    Struct(Fields),
    /// One of several, by their order.
    Enum(Vec<Variant>),
    /// A struct or enum around this place: the innermost one for 0.
    Outer(u32),
}

/// The fields of a struct or a variant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fields {
    /// None at all.
    None,
    /// Without names.
    Unnamed(Vec<Type>),
    /// With names.
    Named(Vec<Field>),
}

/// A field with a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// As it is written in its struct.
    pub name: String,
    /// What it holds.
    pub kind: Type,
}

/// One of an enum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Variant {
    /// As it is written in its enum.
    pub name: String,
    /// What it holds.
    pub fields: Fields,
}

macro_rules! plain {
    ($($variant:ident $name:literal $what:literal),* $(,)?) => {
        /// A type that has no parts.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Plain {
            $(#[doc = $what] $variant,)*
        }

        impl Plain {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As descriptions call it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

plain!(
    Unit "unit" "Nothing: no bytes.",
    Bool "bool" "One byte, 0 or 1.",
    Char "char" "A Unicode scalar value, in 4 bytes.",
    Text "string" "UTF-8 text.",
    Bytes "bytes" "Any number of bytes.",
    U8 "u8" "8 bits.",
    U16 "u16" "16 bits.",
    U32 "u32" "32 bits.",
    U64 "u64" "64 bits.",
    U128 "u128" "128 bits.",
    I8 "i8" "8 bits, two's complement.",
    I16 "i16" "16 bits, two's complement.",
    I32 "i32" "32 bits, two's complement.",
    I64 "i64" "64 bits, two's complement.",
    I128 "i128" "128 bits, two's complement.",
    F32 "f32" "IEEE 754, 32 bits.",
    F64 "f64" "IEEE 754, 64 bits.",
    NonZeroU8 "nonzero_u8" "As `u8`, and never 0.",
    NonZeroU16 "nonzero_u16" "As `u16`, and never 0.",
    NonZeroU32 "nonzero_u32" "As `u32`, and never 0.",
    NonZeroU64 "nonzero_u64" "As `u64`, and never 0.",
    NonZeroU128 "nonzero_u128" "As `u128`, and never 0.",
    NonZeroI8 "nonzero_i8" "As `i8`, and never 0.",
    NonZeroI16 "nonzero_i16" "As `i16`, and never 0.",
    NonZeroI32 "nonzero_i32" "As `i32`, and never 0.",
    NonZeroI64 "nonzero_i64" "As `i64`, and never 0.",
    NonZeroI128 "nonzero_i128" "As `i128`, and never 0.",
);

/// Why a type has no description.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Too much of it.
    #[error(
        "the description of {name} has more than {SCHEMA_BYTES_MAX} bytes: pass parts of it as payloads of their own"
    )]
    Long {
        /// Which type, as Rust calls it.
        name: &'static str,
    },
    /// Too deep.
    #[error("types lie more than {DEPTH_MAX} deep in {name}: put less of them into each other")]
    Deep {
        /// Which type, as Rust calls it.
        name: &'static str,
    },
    /// No tag.
    #[error(transparent)]
    Tag(#[from] TagError),
}

impl Schema {
    /// What an archive of `T` holds.
    ///
    /// ```
    /// use faasstore::Described;
    /// use faasstore::schema::Schema;
    /// use rkyv::{Archive, Deserialize, Serialize};
    ///
    /// #[derive(Archive, Serialize, Deserialize, Described)]
    /// struct Reading {
    ///     sensor: String,
    ///     celsius: Option<f64>,
    /// }
    ///
    /// let schema = Schema::of::<Reading>()?;
    /// assert_eq!(schema.to_string(), "rkyv:struct{sensor:string,celsius:option<f64>}");
    /// assert_eq!(Schema::parse(&schema.to_string())?.hash(), schema.hash());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the description is longer than [`SCHEMA_BYTES_MAX`], or deeper than [`DEPTH_MAX`].
    pub fn of<T: PayloadType>() -> Result<Self, SchemaError> {
        Self::of_archived::<T::Archived>()
    }

    /// What an archive holds that is read as `A`.
    ///
    /// # Errors
    /// As [`Schema::of`].
    pub fn of_archived<A: Described>() -> Result<Self, SchemaError> {
        let name = std::any::type_name::<A>();
        let schema = Self::Archive(Describer::describe::<A>(name)?);
        match schema.to_string().len() {
            0..=SCHEMA_BYTES_MAX => Ok(schema),
            _ => Err(SchemaError::Long { name }),
        }
    }

    /// Raw bytes of a content that has a name, as [`ARROW_IPC`].
    ///
    /// # Errors
    /// If it is no [`Tag`].
    pub fn tagged(name: impl Into<String>) -> Result<Self, SchemaError> {
        Ok(Self::Tagged(Tag::new(name)?))
    }

    /// The 64-bit FNV-1a hash of its text; never 0, which stands for a payload of which nothing is known.
    #[must_use]
    pub fn hash(&self) -> u64 {
        hash(&self.to_string())
    }
}

/// The hash of the schema that has this text.
#[must_use]
pub fn hash(text: &str) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    text.bytes().fold(BASIS, step).max(1)
}

impl Type {
    /// Any number of these.
    #[must_use]
    pub fn list(item: Self) -> Self {
        match item {
            Self::Plain(Plain::U8) => Self::Plain(Plain::Bytes),
            item => Self::List(Box::new(item)),
        }
    }
}

impl Display for Schema {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive(kind) => write!(f, "{ARCHIVE}{kind}"),
            Self::Tagged(tag) => tag.fmt(f),
        }
    }
}

impl Display for Tag {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Display for Type {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(plain) => f.write_str(plain.name()),
            Self::List(item) => write!(f, "list<{item}>"),
            Self::Set(item) => write!(f, "set<{item}>"),
            Self::Map(key, value) => write!(f, "map<{key},{value}>"),
            Self::Option(some) => write!(f, "option<{some}>"),
            Self::Boxed(inner) => write!(f, "box<{inner}>"),
            Self::Array(item, count) => write!(f, "array<{item},{count}>"),
            Self::Tuple(types) => write!(f, "tuple({})", Joined(types)),
            Self::Struct(fields) => write!(f, "struct{fields}"),
            Self::Enum(variants) => write!(f, "enum{{{}}}", Joined(variants)),
            Self::Outer(levels) => write!(f, "outer<{levels}>"),
        }
    }
}

impl Display for Fields {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Unnamed(types) => write!(f, "({})", Joined(types)),
            Self::Named(fields) => write!(f, "{{{}}}", Joined(fields)),
        }
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.kind)
    }
}

impl Display for Variant {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, self.fields)
    }
}

/// One behind the other, with commas.
struct Joined<'a, T>(&'a [T]);

impl<T: Display> Display for Joined<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, one) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{one}")?;
        }
        Ok(())
    }
}
