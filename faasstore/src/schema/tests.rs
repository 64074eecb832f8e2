use super::*;
use rkyv::{Archive, Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

mod types {
    #![allow(missing_docs, dead_code, reason = "they are described and never made")]

    use super::*;
    use crate::Described;

    #[derive(Archive, Serialize, Deserialize, Described)]
    pub struct Counts {
        pub words: Vec<u8>,
        pub ends: Vec<u32>,
        pub counts: Vec<u64>,
    }

    #[derive(Archive, Serialize, Deserialize, Described)]
    pub enum Figure {
        Empty,
        Circle { radius: f64 },
        Pair(Point, Point),
    }

    #[derive(Archive, Serialize, Deserialize, Described)]
    #[rkyv(derive(Debug), archived = PointInArchive)]
    pub struct Point {
        pub x: f32,
        pub y: f32,
    }

    #[derive(Archive, Serialize, Deserialize, Described)]
    pub struct Place(pub f32, pub f32);

    #[derive(Archive, Serialize, Deserialize, Described)]
    #[rkyv(serialize_bounds(__S: rkyv::ser::Writer + rkyv::ser::Allocator, __S::Error: rkyv::rancor::Source))]
    #[rkyv(deserialize_bounds(__D::Error: rkyv::rancor::Source))]
    #[rkyv(bytecheck(bounds(__C: rkyv::validation::ArchiveContext, __C::Error: rkyv::rancor::Source)))]
    pub struct Tree {
        pub label: String,
        #[rkyv(omit_bounds)]
        pub children: Vec<Tree>,
        #[rkyv(omit_bounds)]
        pub next: Option<Box<Tree>>,
    }

    #[derive(Archive, Serialize, Deserialize, Described)]
    #[rkyv(serialize_bounds(__S: rkyv::ser::Writer + rkyv::ser::Allocator, __S::Error: rkyv::rancor::Source))]
    #[rkyv(deserialize_bounds(__D::Error: rkyv::rancor::Source))]
    #[rkyv(bytecheck(bounds(__C: rkyv::validation::ArchiveContext, __C::Error: rkyv::rancor::Source)))]
    pub struct Folder {
        #[rkyv(omit_bounds)]
        pub files: Vec<File>,
    }

    #[derive(Archive, Serialize, Deserialize, Described)]
    #[rkyv(serialize_bounds(__S: rkyv::ser::Writer + rkyv::ser::Allocator, __S::Error: rkyv::rancor::Source))]
    #[rkyv(deserialize_bounds(__D::Error: rkyv::rancor::Source))]
    #[rkyv(bytecheck(bounds(__C: rkyv::validation::ArchiveContext, __C::Error: rkyv::rancor::Source)))]
    pub struct File {
        pub name: String,
        #[rkyv(omit_bounds)]
        pub within: Option<Box<Folder>>,
        #[rkyv(omit_bounds)]
        pub versions: Vec<File>,
    }

    #[derive(Archive, Serialize, Deserialize, Described)]
    pub struct Labelled<T> {
        pub label: String,
        pub value: T,
    }

    #[derive(Archive, Serialize, Deserialize, Described)]
    pub struct All {
        pub r#type: char,
        pub size: usize,
        pub truth: bool,
        pub nothing: (),
        pub three: [i16; 3],
        pub both: (u128, i8),
        pub never_zero: Option<NonZeroU32>,
        pub sorted: BTreeMap<String, BTreeSet<i64>>,
        pub labelled: Labelled<Labelled<u16>>,
    }

    #[derive(Archive, Serialize, Deserialize, Described)]
    pub struct Nothing;

    /// Passed on as what it is archived through.
    #[derive(Archive, Serialize, Deserialize, Described)]
    pub struct Through {
        #[rkyv(with = rkyv::with::AsBox)]
        pub large: u64,
    }
}

use types::*;

fn schema<T: PayloadType>() -> Schema {
    Schema::of::<T>().unwrap()
}

fn parsed(text: &str) -> Schema {
    Schema::parse(text).unwrap()
}

/// A change of these is a change for everyone who has written one down: other builds, and other languages. The hashes are
/// computed by a program that shares nothing with this one.
#[test]
fn descriptions_and_hashes_never_change_by_accident() {
    for (schema, text, hash) in [
        (schema::<u64>(), "rkyv:u64", 0x0ba8_9f3e_9223_8ff2),
        (schema::<Vec<u8>>(), "rkyv:bytes", 0x6237_328c_2a83_e0e4),
        (schema::<String>(), "rkyv:string", 0x8f37_0bd9_cbab_5f58),
        (
            schema::<Vec<Option<String>>>(),
            "rkyv:list<option<string>>",
            0xd29b_ef9f_47b4_849b,
        ),
        (
            schema::<Counts>(),
            "rkyv:struct{words:bytes,ends:list<u32>,counts:list<u64>}",
            0x2e7d_cc3c_7198_e2e7,
        ),
        (
            schema::<Figure>(),
            "rkyv:enum{Empty,Circle{radius:f64},Pair(struct{x:f32,y:f32},struct{x:f32,y:f32})}",
            0xb356_7b98_5a1b_e12c,
        ),
        (
            schema::<Place>(),
            "rkyv:struct(f32,f32)",
            0xd289_8a68_9bc0_1227,
        ),
        (
            schema::<Tree>(),
            "rkyv:struct{label:string,children:list<outer<0>>,next:option<box<outer<0>>>}",
            0x02c0_d551_8f16_7bab,
        ),
        (
            schema::<Folder>(),
            "rkyv:struct{files:list<struct{name:string,within:option<box<outer<1>>>,versions:list<outer<0>>}>}",
            0x6b53_f6a5_3b4f_facb,
        ),
        (
            schema::<All>(),
            "rkyv:struct{type:char,size:u32,truth:bool,nothing:unit,three:array<i16,3>,both:tuple(u128,i8),\
             never_zero:option<nonzero_u32>,sorted:map<string,set<i64>>,labelled:struct{label:string,\
             value:struct{label:string,value:u16}}}",
            0x8337_805d_e35a_8c16,
        ),
        (schema::<Nothing>(), "rkyv:struct", 0xe203_d4d9_6994_7a20),
        (
            schema::<Through>(),
            "rkyv:struct{large:box<u64>}",
            0xf698_259f_115c_719b,
        ),
        (
            Schema::tagged(ARROW_IPC).unwrap(),
            "arrow-ipc",
            0x2163_5ca2_c589_a8d1,
        ),
    ] {
        assert_eq!(schema.to_string(), text);
        assert_eq!(schema.hash(), hash, "{text}");
        assert_eq!(parsed(text), schema);
    }
}

/// The rows of docs/types.md that have a text and a hash, which other languages are checked against.
#[test]
fn the_document_s_vectors_are_what_this_crate_computes() {
    let document = include_str!("../../../docs/types.md");
    let rows = document.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('`');
        let text = cells.next()?;
        let hash = cells.nth(1)?.strip_prefix("0x")?;
        Some((text, u64::from_str_radix(hash, 16).unwrap()))
    });
    let rows: Vec<_> = rows.collect();
    assert!(rows.len() >= 8, "the table is there: {rows:?}");
    for (text, hash) in rows {
        assert_eq!(parsed(text).hash(), hash, "{text}");
    }
}

#[test]
fn a_description_is_of_the_archive_that_is_written() {
    // A struct of two floats is as large as its description says, wherever its names come from.
    let place = rkyv::to_bytes::<rkyv::rancor::Error>(&Place(1.0, 2.0)).unwrap();
    let point = rkyv::to_bytes::<rkyv::rancor::Error>(&Point { x: 1.0, y: 2.0 }).unwrap();
    assert_eq!(place[..], point[..]);
    assert_ne!(
        schema::<Place>(),
        schema::<Point>(),
        "names of fields are part of it"
    );
    // The name of a type is not.
    let renamed = parsed("rkyv:struct{x:f32,y:f32}");
    assert_eq!(schema::<Point>(), renamed);
    assert_eq!(schema::<Point>().hash(), renamed.hash());
}

/// What the first has, what the second has, and where they first differ.
const DIFFERENCES: &[(&str, &str, &str, &str, &str)] = &[
    ("rkyv:u32", "rkyv:u64", "", "u32", "u64"),
    ("rkyv:u32", "arrow-ipc", "", "u32", "arrow-ipc (raw bytes)"),
    (
        "parquet",
        "arrow-ipc",
        "",
        "parquet (raw bytes)",
        "arrow-ipc (raw bytes)",
    ),
    // The order of fields.
    (
        "rkyv:struct{a:u32,b:u32}",
        "rkyv:struct{b:u32,a:u32}",
        "",
        "fields with `a` in place 1",
        "fields with `b` in place 1",
    ),
    // A type within another.
    (
        "rkyv:struct{rows:list<struct{id:u64,total:u64}>}",
        "rkyv:struct{rows:list<struct{id:u64,total:u32}>}",
        ".rows[].total",
        "u64",
        "u32",
    ),
    (
        "rkyv:struct{a:option<u32>}",
        "rkyv:struct{a:u32}",
        ".a",
        "option<u32>",
        "u32",
    ),
    (
        "rkyv:struct{a:option<u32>}",
        "rkyv:struct{a:option<i32>}",
        ".a",
        "u32",
        "i32",
    ),
    (
        "rkyv:struct{a:u32}",
        "rkyv:struct{a:u32,b:bool}",
        ".b",
        "nothing",
        "bool",
    ),
    (
        "rkyv:struct{a:u32,b:bool}",
        "rkyv:struct{a:u32}",
        ".b",
        "bool",
        "nothing",
    ),
    (
        "rkyv:struct{a:bytes}",
        "rkyv:struct{a:list<i8>}",
        ".a[]",
        "u8",
        "i8",
    ),
    (
        "rkyv:tuple(u8,array<u8,3>)",
        "rkyv:tuple(u8,array<u8,4>)",
        ".1",
        "array<u8,3>",
        "array<u8,4>",
    ),
    (
        "rkyv:map<string,list<u32>>",
        "rkyv:map<string,list<f32>>",
        "{}[]",
        "u32",
        "f32",
    ),
    (
        "rkyv:map<string,u32>",
        "rkyv:map<u32,u32>",
        "[]",
        "string",
        "u32",
    ),
    (
        "rkyv:enum{A,B(u32)}",
        "rkyv:enum{B(u32),A}",
        "",
        "an enum with `A` in place 1",
        "an enum with `B` in place 1",
    ),
    (
        "rkyv:enum{A,B{of:u32}}",
        "rkyv:enum{A,B{of:f32}}",
        "::B.of",
        "u32",
        "f32",
    ),
    (
        "rkyv:enum{A,B(u32)}",
        "rkyv:enum{A,B}",
        "::B",
        "a variant without names of fields",
        "a variant that holds nothing",
    ),
    (
        "rkyv:enum{A}",
        "rkyv:enum{A,B}",
        "::B",
        "nothing",
        "a variant",
    ),
    (
        "rkyv:struct{a:box<u32>}",
        "rkyv:struct{a:box<u64>}",
        ".a",
        "u32",
        "u64",
    ),
    (
        "rkyv:struct{a:struct{b:option<outer<0>>}}",
        "rkyv:struct{a:struct{b:option<outer<1>>}}",
        ".a.b",
        "outer<0>",
        "outer<1>",
    ),
    ("rkyv:struct(u32)", "rkyv:u32", "", "struct(u32)", "u32"),
];

fn has(it: &Option<String>) -> &str {
    it.as_deref().unwrap_or("nothing")
}

#[test]
fn the_first_difference_is_named_with_what_both_have() {
    for (first, second, path, one, other) in DIFFERENCES {
        let (a, b) = (parsed(first), parsed(second));
        let found = a.difference(&b).unwrap();
        assert_eq!(
            (&*found.path, has(&found.first), has(&found.second)),
            (*path, *one, *other),
            "{first} and {second}"
        );
        assert_ne!(a.hash(), b.hash(), "{first} and {second}");
        assert_eq!(a.difference(&a), None);
        let back = b.difference(&a).unwrap();
        assert_eq!(
            (back.path, back.first, back.second),
            (found.path, found.second, found.first)
        );
    }
}

#[test]
fn long_types_are_told_in_short() {
    let fields: Vec<_> = (0..40).map(|number| format!("f{number}:u32")).collect();
    let long = parsed(&format!("rkyv:struct{{a:struct{{{}}}}}", fields.join(",")));
    let found = long.difference(&parsed("rkyv:struct{a:u8}")).unwrap();
    assert_eq!((&*found.path, has(&found.first)), (".a", "struct{...}"));
}

#[test]
fn what_is_no_schema_is_refused_with_its_place() {
    for (text, wrong) in [
        ("", "at byte 0 there should be a content tag"),
        ("Arrow", "at byte 0 there should be a content tag"),
        ("rkyv:", "at byte 5 there should be a name"),
        ("rkyv:u33", "at byte 5 there should be a type"),
        ("rkyv:u32 ", "at byte 8 there should be the end"),
        ("rkyv:list<u8>", "at byte 5 there should be a type"),
        ("rkyv:list<u16", "at byte 13 there should be >"),
        ("rkyv:array<u8,03>", "at byte 14 there should be a number"),
        ("rkyv:struct{a:u8,}", "at byte 17 there should be a name"),
        ("rkyv:struct{a b:u8}", "at byte 13 there should be :"),
        (
            "rkyv:struct{a:outer<1>}",
            "at byte 20 there should be a struct or enum that is around",
        ),
        (
            "rkyv:outer<0>",
            "at byte 11 there should be a struct or enum that is around",
        ),
        ("rkyv:tuple(u8 u8)", "at byte 13 there should be ,"),
    ] {
        let error = Schema::parse(text).unwrap_err().to_string();
        assert!(error.starts_with(wrong), "{text}: {error}");
    }
    let deep = format!(
        "rkyv:{}u8{}",
        "box<".repeat(DEPTH_MAX),
        ">".repeat(DEPTH_MAX)
    );
    assert!(matches!(Schema::parse(&deep), Err(ParseError::Deep(_))));
    let long = format!("rkyv:struct{{{}:u8}}", "a".repeat(SCHEMA_BYTES_MAX));
    assert!(matches!(Schema::parse(&long), Err(ParseError::Long(_))));
    for tag in ["arrow-ipc", "image/png", "a"] {
        assert_eq!(parsed(tag), Schema::tagged(tag).unwrap());
    }
    for no_tag in ["", "-a", "a b", "A", "1a", &"a".repeat(65)] {
        assert!(Schema::tagged(no_tag).is_err(), "{no_tag}");
    }
}

mod limits {
    #![allow(missing_docs, dead_code, reason = "they are described and never made")]

    use super::*;
    use crate::Described;

    #[derive(Archive, Serialize, Deserialize, Described)]
    pub struct Two<T> {
        pub one: T,
        pub other: T,
    }

    type Four<T> = Two<Two<T>>;
    type Sixteen<T> = Four<Four<T>>;
    /// 65,536 of the innermost ones.
    pub(super) type Many = Sixteen<Sixteen<Sixteen<Sixteen<u8>>>>;

    type Boxes4<T> = Box<Box<Box<Box<T>>>>;
    type Boxes16<T> = Boxes4<Boxes4<Boxes4<Boxes4<T>>>>;
    /// As many as may lie in each other, with what is in the last of them one more.
    pub(super) type Deep = Boxes16<Boxes16<u8>>;
    pub(super) type NotDeep = Boxes16<Boxes4<u8>>;
}

#[test]
fn types_beyond_the_limits_have_no_description() {
    let error = Schema::of::<limits::Many>().unwrap_err();
    assert!(matches!(error, SchemaError::Long { .. }), "{error}");
    let error = Schema::of::<limits::Deep>().unwrap_err();
    assert!(matches!(error, SchemaError::Deep { .. }), "{error}");
    let allowed = Schema::of::<limits::NotDeep>().unwrap();
    assert_eq!(parsed(&allowed.to_string()), allowed);
}

mod random {
    use super::*;
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = String> {
        "[a-z_ä][a-z0-9_]{0,6}"
    }

    fn fields(
        kind: impl Strategy<Value = Type> + Clone + 'static,
    ) -> impl Strategy<Value = Fields> {
        let field = (name(), kind.clone()).prop_map(|(name, kind)| Field { name, kind });
        prop_oneof![
            Just(Fields::None),
            prop::collection::vec(kind, 0..4).prop_map(Fields::Unnamed),
            prop::collection::vec(field, 0..4).prop_map(Fields::Named),
        ]
    }

    fn kind() -> impl Strategy<Value = Type> {
        let plain = prop::sample::select(Plain::ALL).prop_map(Type::Plain);
        plain.prop_recursive(5, 40, 4, |kind| {
            let boxed = || kind.clone().prop_map(Box::new);
            let variant = (name(), fields(kind.clone()));
            let variant = variant.prop_map(|(name, fields)| Variant { name, fields });
            prop_oneof![
                kind.clone().prop_map(Type::list),
                boxed().prop_map(Type::Set),
                (boxed(), boxed()).prop_map(|(key, value)| Type::Map(key, value)),
                boxed().prop_map(Type::Option),
                boxed().prop_map(Type::Boxed),
                (boxed(), any::<u64>()).prop_map(|(item, count)| Type::Array(item, count)),
                prop::collection::vec(kind.clone(), 0..4).prop_map(Type::Tuple),
                fields(kind.clone()).prop_map(Type::Struct),
                prop::collection::vec(variant, 0..4).prop_map(Type::Enum),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_schema_is_read_as_it_is_written(kind in kind()) {
            let schema = Schema::Archive(kind);
            prop_assert_eq!(Schema::parse(&schema.to_string()), Ok(schema));
        }

        #[test]
        fn schemas_differ_somewhere_or_have_one_text(first in kind(), second in kind()) {
            let (first, second) = (Schema::Archive(first), Schema::Archive(second));
            let same = first.to_string() == second.to_string();
            prop_assert_eq!(first.difference(&second).is_none(), same);
            prop_assert_eq!(first == second, same);
        }

        #[test]
        fn whatever_is_read_is_a_schema_or_an_error(text in "(rkyv:)?[a-z0-9<>(){},:]{0,40}") {
            if let Ok(schema) = Schema::parse(&text) {
                prop_assert_eq!(schema.to_string(), text, "there is one text for one schema");
            }
        }
    }
}
