//! From Rust's types to their descriptions.

use super::{DEPTH_MAX, Plain, SCHEMA_BYTES_MAX, SchemaError, Type};
use rkyv::boxed::ArchivedBox;
use rkyv::collections::btree_map::ArchivedBTreeMap;
use rkyv::collections::btree_set::ArchivedBTreeSet;
use rkyv::option::ArchivedOption;
use rkyv::rend;
use rkyv::string::ArchivedString;
use rkyv::tuple::{
    ArchivedTuple1, ArchivedTuple2, ArchivedTuple3, ArchivedTuple4, ArchivedTuple5, ArchivedTuple6,
    ArchivedTuple7, ArchivedTuple8,
};
use rkyv::vec::ArchivedVec;
use std::any::TypeId;
use std::num::{NonZeroI8, NonZeroU8};

/// An archived type that says what it is made of.
///
/// It is derived for a struct or enum beside rkyv's `Archive`, and is then there for what that is archived as. Numbers,
/// `bool`, `char`, `String`, `Vec`, `Option`, `Box`, arrays, tuples of up to eight, `BTreeMap` and `BTreeSet` have it.
/// Hash maps, shared pointers and trait objects have not: what lies in their archives depends on more than their fields.
///
/// ```compile_fail
/// use faasstore::Described;
/// use rkyv::{Archive, Deserialize, Serialize};
///
/// #[derive(Archive, Serialize, Deserialize, Described)]
/// struct Counts {
///     by_word: std::collections::HashMap<String, u64>, // no description; a BTreeMap has one
/// }
/// ```
///
/// What has another layout than its fields in their order say is refused where it is written:
///
/// ```compile_fail
/// use faasstore::Described;
/// use rkyv::{Archive, Deserialize, Serialize};
///
/// #[derive(Archive, Serialize, Deserialize, Described)]
/// enum Level {
///     Low = 1, // variants are numbered by their order
///     High = 2,
/// }
/// ```
///
/// ```compile_fail
/// use faasstore::Described;
/// use rkyv::{Archive, Deserialize, Serialize};
///
/// #[derive(Archive, Serialize, Deserialize, Described)]
/// #[rkyv(attr(repr(C, align(16))))] // not the layout that rkyv gives
/// struct Wide {
///     low: u64,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no description as a payload",
    label = "what this is archived as is not `Described`",
    note = "derive `faasstore::Described` beside rkyv's `Archive` for a struct or enum of yours",
    note = "hash maps, shared pointers and trait objects have no description: use a BTreeMap, a BTreeSet, or a Box"
)]
pub trait Described: 'static {
    /// What it is made of. A struct or enum calls [`Describer::nest`], so that it may hold itself.
    fn describe(describer: &mut Describer) -> Type;
}

/// A type whose archive is [`Described`]: what functions take and make.
pub trait PayloadType: rkyv::Archive<Archived: Described> {}

impl<T: rkyv::Archive<Archived: Described>> PayloadType for T {}

/// Describes types, and knows which it is in the midst of.
#[derive(Debug)]
pub struct Describer {
    around: Vec<TypeId>,
    /// Bytes of text so far, at least; counted so that what grows without bound is given up in time.
    bytes: usize,
    deep: bool,
}

impl Describer {
    pub(super) fn describe<A: Described>(name: &'static str) -> Result<Type, SchemaError> {
        let mut describer = Self {
            around: Vec::new(),
            bytes: 0,
            deep: false,
        };
        let kind = A::describe(&mut describer);
        if describer.bytes > SCHEMA_BYTES_MAX {
            return Err(SchemaError::Long { name });
        }
        if describer.deep || depth(&kind) > DEPTH_MAX {
            return Err(SchemaError::Deep { name });
        }
        Ok(kind)
    }

    /// Describes a struct or enum. Within it, it is known by how far around it is.
    pub fn nest<A: 'static>(&mut self, describe: impl FnOnce(&mut Self) -> Type) -> Type {
        let id = TypeId::of::<A>();
        let around = self.around.iter().rev().position(|around| *around == id);
        if let Some(levels) = around {
            return Type::Outer(levels as u32);
        }
        // The shortest text of a struct or enum, as in `enum{}`.
        self.bytes += 6;
        self.deep |= self.around.len() >= DEPTH_MAX;
        if self.deep || self.bytes > SCHEMA_BYTES_MAX {
            return Type::Plain(Plain::Unit);
        }
        self.around.push(id);
        let kind = describe(self);
        self.around.pop();
        kind
    }
}

/// How deep types lie in each other, from 1.
pub(super) fn depth(kind: &Type) -> usize {
    let deepest = |types: &mut dyn Iterator<Item = &Type>| types.map(depth).max().unwrap_or(0);
    1 + match kind {
        Type::Plain(_) | Type::Outer(_) => 0,
        Type::List(one)
        | Type::Set(one)
        | Type::Option(one)
        | Type::Boxed(one)
        | Type::Array(one, _) => depth(one),
        Type::Map(key, value) => depth(key).max(depth(value)),
        Type::Tuple(types) => deepest(&mut types.iter()),
        Type::Struct(fields) => deepest(&mut fields.types()),
        Type::Enum(variants) => {
            deepest(&mut variants.iter().flat_map(|variant| variant.fields.types()))
        }
    }
}

impl super::Fields {
    /// What they hold, in their order.
    pub fn types(&self) -> impl Iterator<Item = &Type> {
        let (unnamed, named) = match self {
            Self::None => (&[][..], &[][..]),
            Self::Unnamed(types) => (&types[..], &[][..]),
            Self::Named(fields) => (&[][..], &fields[..]),
        };
        unnamed.iter().chain(named.iter().map(|field| &field.kind))
    }
}

macro_rules! plain {
    ($($archived:ty => $plain:ident),* $(,)?) => {$(
        impl Described for $archived {
            fn describe(_describer: &mut Describer) -> Type {
                Type::Plain(Plain::$plain)
            }
        }
    )*};
}

plain!(
    () => Unit,
    bool => Bool,
    rend::char_le => Char,
    ArchivedString => Text,
    u8 => U8,
    rend::u16_le => U16,
    rend::u32_le => U32,
    rend::u64_le => U64,
    rend::u128_le => U128,
    i8 => I8,
    rend::i16_le => I16,
    rend::i32_le => I32,
    rend::i64_le => I64,
    rend::i128_le => I128,
    rend::f32_le => F32,
    rend::f64_le => F64,
    NonZeroU8 => NonZeroU8,
    rend::NonZeroU16_le => NonZeroU16,
    rend::NonZeroU32_le => NonZeroU32,
    rend::NonZeroU64_le => NonZeroU64,
    rend::NonZeroU128_le => NonZeroU128,
    NonZeroI8 => NonZeroI8,
    rend::NonZeroI16_le => NonZeroI16,
    rend::NonZeroI32_le => NonZeroI32,
    rend::NonZeroI64_le => NonZeroI64,
    rend::NonZeroI128_le => NonZeroI128,
);

impl<T: Described> Described for ArchivedVec<T> {
    fn describe(describer: &mut Describer) -> Type {
        Type::list(T::describe(describer))
    }
}

impl<T: Described> Described for ArchivedOption<T> {
    fn describe(describer: &mut Describer) -> Type {
        Type::Option(Box::new(T::describe(describer)))
    }
}

impl<T: Described> Described for ArchivedBox<T> {
    fn describe(describer: &mut Describer) -> Type {
        Type::Boxed(Box::new(T::describe(describer)))
    }
}

impl<T: Described, const N: usize> Described for [T; N] {
    fn describe(describer: &mut Describer) -> Type {
        Type::Array(Box::new(T::describe(describer)), N as u64)
    }
}

impl<K: Described, V: Described> Described for ArchivedBTreeMap<K, V> {
    fn describe(describer: &mut Describer) -> Type {
        Type::Map(
            Box::new(K::describe(describer)),
            Box::new(V::describe(describer)),
        )
    }
}

impl<K: Described> Described for ArchivedBTreeSet<K> {
    fn describe(describer: &mut Describer) -> Type {
        Type::Set(Box::new(K::describe(describer)))
    }
}

macro_rules! tuple {
    ($($archived:ident<$($item:ident),*>),* $(,)?) => {$(
        impl<$($item: Described),*> Described for $archived<$($item),*> {
            fn describe(describer: &mut Describer) -> Type {
                Type::Tuple(vec![$($item::describe(describer)),*])
            }
        }
    )*};
}

tuple!(
    ArchivedTuple1<A>,
    ArchivedTuple2<A, B>,
    ArchivedTuple3<A, B, C>,
    ArchivedTuple4<A, B, C, D>,
    ArchivedTuple5<A, B, C, D, E>,
    ArchivedTuple6<A, B, C, D, E, F>,
    ArchivedTuple7<A, B, C, D, E, F, G>,
    ArchivedTuple8<A, B, C, D, E, F, G, H>,
);
