//! Texts that are refused: where, why, and what would be right.

use super::names;
use crate::expression::{Expression, Gives, Kinds, NESTING_MAX, TEXT_BYTES_MAX};

/// The part that is meant, the message, and the help.
#[track_caller]
fn refused(text: &str, part: &str, message: &str, help: Option<&str>) {
    let error = Expression::compile(text, &names()).expect_err(text);
    let given = &text[error.offset..error.offset + error.length];
    assert_eq!(
        (given, &*error.message, error.help.as_deref()),
        (part, message, help),
        "{text}"
    );
}

#[test]
fn what_is_no_expression_is_refused_at_its_place() {
    refused("1 +", "", "expected a value, found the end", None);
    refused("(1", "", "expected `)`, found the end", None);
    refused(
        "1 2",
        "2",
        "expected an operator or the end, found a number",
        None,
    );
    refused(
        "flag and flag",
        "and",
        "expected an operator or the end, found `and`",
        Some("write `&&` for \"and\""),
    );
    refused(
        "not flag",
        "not",
        "`not` is no operator",
        Some("write `!` for \"not\""),
    );
    refused(
        "flag = true",
        "=",
        "`=` is no operator",
        Some("write `==` to compare"),
    );
    refused(
        "flag & flag",
        "&",
        "`&` is no operator",
        Some("write `&&` for \"and\""),
    );
    refused(
        "flag | flag",
        "|",
        "`|` means nothing here",
        Some("write `||` for \"or\""),
    );
    refused("é == 1", "é", "`é` means nothing here", None);
    refused("'é", "'", "this text has no end", Some("close the quotes"));
    refused(
        "'a\nb'",
        "'",
        "this text has no end on its line",
        Some("write \\n for a line's end, or three quotes around several lines"),
    );
    refused(
        "'\\é'",
        "\\é",
        "`\\é` stands for no character",
        Some("write \\\\ for a backslash"),
    );
    refused(
        "'\\ud800'",
        "\\u",
        "`\\u` stands for no character",
        Some("write \\\\ for a backslash"),
    );
    refused(
        "b'a'",
        "b'",
        "bytes cannot be written here",
        Some("values are JSON, and JSON has no bytes; write a text, without the `b`"),
    );
    refused(
        "1u",
        "1u",
        "`1u` is no number",
        Some("numbers have no sign to leave out: write it without `u`"),
    );
    refused("12ab", "12ab", "`12ab` is no number", None);
    refused(
        "9223372036854775808",
        "9223372036854775808",
        "this number is beyond the whole numbers of 64 bits",
        Some("write it with a point, as 1e20, if it need not be exact"),
    );
    refused("1e999", "1e999", "`1e999` is no number that fits", None);
    refused(
        "if + 1",
        "if",
        "`if` is a word that expressions keep for themselves",
        Some("bind the value to another name under the node's `input:`"),
    );
    refused(
        "flag.?a",
        "?",
        "expected the name of a field, found `?`",
        Some("ask with has(a.b), and choose with has(a.b) ? a.b : null"),
    );
    refused(
        "P{a: 1}",
        "P",
        "`P` is no type of object: JSON has none",
        Some("write the fields alone: {\"a\": 1}"),
    );
    refused("in", "in", "expected a value, found `in`", None);
    refused(
        "`a`",
        "`a`",
        "`a` cannot stand in backticks here",
        Some("only a field can: a.`b-c`"),
    );
    refused(
        "flag.`a",
        "`",
        "this field has no end",
        Some("a field in backticks ends with one: a.`b-c`"),
    );
    refused("", "", "expected a value, found the end", None);
}

#[test]
fn names_that_mean_nothing_are_refused() {
    let error = Expression::compile("1 < chekc.size", &["check.size", "item"]).unwrap_err();
    assert_eq!((error.offset, error.length), (4, 5));
    assert_eq!(error.message, "there is no value `chekc`");
    assert_eq!(error.help.as_deref(), Some("there are check.size, item"));
    let error = Expression::compile("check.sise", &["check.size"]).unwrap_err();
    assert_eq!((error.offset, error.length), (0, 10));
    assert_eq!(error.message, "there is no value `check.sise`");
    let error = Expression::compile("x", &[]).unwrap_err();
    assert_eq!(error.help.as_deref(), Some("there are no values here"));
    let error = Expression::compile("True", &["a"]).unwrap_err();
    assert_eq!(error.help.as_deref(), Some("write true"));
    let error = Expression::compile("[1].map(x, x) == x", &["a"]).unwrap_err();
    assert_eq!(error.offset, 17, "a macro's name ends with it");
}

#[test]
fn kinds_that_never_go_together_are_refused() {
    const BOOLEAN: &str = "compare it with something: == != < <= > >= or in";
    const NUMBER: &str = "int(x) or double(x) makes a number of it";
    refused(
        "'a' > 1",
        "'a' > 1",
        "`>` does not go with a text and a number",
        Some("int(x) or double(x) makes a number of a text"),
    );
    refused(
        "!3",
        "3",
        "`!` takes a boolean, and this is a number",
        Some(BOOLEAN),
    );
    refused(
        "1 && true",
        "1",
        "`&&` takes a boolean, and this is a number",
        Some(BOOLEAN),
    );
    refused(
        "flag || 'x'",
        "'x'",
        "`||` takes a boolean, and this is a text",
        Some(BOOLEAN),
    );
    refused(
        "'a' == 1",
        "'a' == 1",
        "`==` does not go with a text and a number",
        Some("int(x) or double(x) makes a number of a text"),
    );
    refused(
        "'a' + 1",
        "'a' + 1",
        "`+` does not go with a text and a number",
        Some("string(x) makes a text of a number or a boolean"),
    );
    refused(
        "flag - 'a'",
        "flag - 'a'",
        "`-` does not go with anything and a text",
        None,
    );
    refused(
        "1 < 2 < 3",
        "1 < 2 < 3",
        "`<` does not go with a boolean and a number",
        None,
    );
    refused(
        "-'a'",
        "'a'",
        "`-` takes a number, and this is a text",
        Some(NUMBER),
    );
    refused(
        "1 in 2",
        "1 in 2",
        "`in` does not go with a number and a number",
        Some("behind `in` stands a list, or an object with such keys"),
    );
    refused(
        "1 ? 2 : 3",
        "1",
        "before `?` stands a boolean, and this is a number",
        Some(BOOLEAN),
    );
    refused(
        "(flag ? 1 : 2.5) == 'a'",
        "(flag ? 1 : 2.5) == 'a'",
        "`==` does not go with a number and a text",
        Some("int(x) or double(x) makes a number of a text"),
    );
    refused(
        "1[0]",
        "1",
        "`[ ]` takes from a list or an object, and this is a number",
        None,
    );
    refused(
        "[1]['a']",
        "'a'",
        "between `[` and `]` stands a number, and this is a text",
        Some(NUMBER),
    );
    refused(
        "'a'.b",
        "'a'",
        "a field is taken from an object, and this is a text",
        None,
    );
    refused(
        "{[]: 1}",
        "[]",
        "a key is a boolean or a number or a text, and this is a list",
        None,
    );
    refused(
        "[1].all(x, 2)",
        "2",
        "asked of each element is a boolean, and this is a number",
        Some(BOOLEAN),
    );
    refused(
        "'a'.all(x, true)",
        "'a'",
        "a macro runs over a list or an object, and this is a text",
        None,
    );
    refused(
        "size(1)",
        "1",
        "`size` takes a text or a list or an object, and this is a number",
        Some("string(x) makes a text of it"),
    );
    for fine in [
        "flag == null",
        "null != 1",
        "1 == 1.5",
        "item < 3",
        "item + 'a'",
        "dyn(1) == 'a'",
    ] {
        assert!(Expression::compile(fine, &names()).is_ok(), "{fine}");
    }
}

/// Values of which something is known.
fn known() -> [(&'static str, Kinds); 7] {
    let of = |json: serde_json::Value| Kinds::of_json(&json);
    [
        ("l", Kinds::LIST),
        ("y.o", Kinds::LIST),
        ("maybe", Kinds::LIST.or(Kinds::NULL)),
        ("n", of(1.into())),
        ("t", of("a".into())),
        ("m", of(serde_json::json!({"a": 1}))),
        ("any", Kinds::ANY),
    ]
}

#[test]
fn what_is_known_of_a_value_counts_wherever_it_stands() {
    for (text, part, message) in [
        ("1 + l", "1 + l", "`+` does not go with a number and a list"),
        (
            "any > l",
            "any > l",
            "`>` does not go with anything and a list",
        ),
        ("!l", "l", "`!` takes a boolean, and this is a list"),
        (
            "l.upperAscii()",
            "l",
            "`upperAscii` takes a text, and this is a list",
        ),
        ("1 + t", "1 + t", "`+` does not go with a number and a text"),
        (
            "maybe + 1",
            "maybe + 1",
            "`+` does not go with null or a list and a number",
        ),
        (
            "y.o.x",
            "y.o",
            "a field is taken from an object, and this is a list",
        ),
        (
            "1 + size(l.x.y)",
            "l",
            "a field is taken from an object, and this is a list",
        ),
        (
            "has(l.x)",
            "l",
            "a field is taken from null or an object, and this is a list",
        ),
        (
            "n[0]",
            "n",
            "`[ ]` takes from a list or an object, and this is a number",
        ),
        (
            "m.a > 0 && m",
            "m",
            "`&&` takes a boolean, and this is an object",
        ),
    ] {
        let error = Expression::compile_over(text, &known(), Gives::Value).expect_err(text);
        let given = &text[error.offset..error.offset + error.length];
        assert!(
            (given, error.message.contains(message)) == (part, true),
            "{text}: {given}: {}",
            error.message
        );
    }
    for fine in [
        "l + [1]",
        "maybe == null || l[0] > n",
        "n + 0.5 == any",
        "m.a + 1",
        "any + 1",
        "has(maybe.x)",
        "l.map(n, n + 1)",
        "l.exists(t, t > 3)",
        "any.x.y + t",
    ] {
        let compiled = Expression::compile_over(fine, &known(), Gives::Value);
        assert!(compiled.is_ok(), "{fine}: {compiled:?}");
    }
    for (gives, fits) in [
        (Gives::Truth, ["any", "l == []"]),
        (Gives::Milliseconds, ["any", "n"]),
        (Gives::Time, ["any", "t"]),
    ] {
        let refused = Expression::compile_over("l", &known(), gives).unwrap_err();
        assert!(refused.message.ends_with("and this is a list"), "{refused}");
        for fits in fits {
            let compiled = Expression::compile_over(fits, &known(), gives);
            assert!(compiled.is_ok(), "{fits}: {compiled:?}");
        }
    }
}

#[test]
fn a_misspelt_macro_is_the_only_mistake_of_its_call() {
    let named = |text: &str| -> Vec<String> {
        let named = Expression::names(text, |_| false).unwrap();
        named.into_iter().map(|name| name.path).collect()
    };
    assert_eq!(named("x.amp(x, x + y)"), ["x", "y"]);
    assert_eq!(named("l.amp(x, x + y) + x"), ["l", "y", "x"]);
    assert_eq!(named("l.replace(x, y)"), ["l", "x", "y"]);
    assert_eq!(named("l.map(x, x)"), ["l"]);
}

#[test]
fn what_gives_no_boolean_is_no_condition() {
    for text in [
        "1",
        "'a'",
        "item + 1",
        "[flag]",
        "flag ? 1 : 2",
        "size(item)",
    ] {
        let error = Expression::compile_condition(text, &names()).expect_err(text);
        assert_eq!((error.offset, error.length), (0, text.len()), "{text}");
        assert!(
            error
                .message
                .starts_with("a condition must be a boolean, and this is "),
            "{text}"
        );
    }
    for text in [
        "flag",
        "flag ? flag : false",
        "item[0]",
        "check.info.a",
        "dyn(1)",
    ] {
        assert!(
            Expression::compile_condition(text, &names()).is_ok(),
            "{text}"
        );
    }
}

#[test]
fn calls_of_what_is_not_there_are_refused_with_what_is() {
    for (text, near) in [
        ("sise(flag)", "size"),
        ("flag.len()", "size"),
        ("flag.starts_with('a')", "startsWith"),
        ("to_json(flag)", "toJson"),
        ("[1].exist(x, x > 0)", "exists"),
        ("flag.toLowercase()", "lowerAscii"),
    ] {
        let error = Expression::compile(text, &names()).unwrap_err();
        let help = error.help.unwrap();
        assert_eq!(help, format!("did you mean `{near}`?"), "{text}");
    }
    let error = Expression::compile("flag.grep('a')", &names()).unwrap_err();
    assert_eq!((error.offset, error.length), (5, 4));
    assert_eq!(error.message, "there is no function `grep`");
    let help = error.help.unwrap();
    assert!(
        help.starts_with("there are bool, contains, ") && help.ends_with("exists_one, map, filter"),
        "{help}"
    );
    refused(
        "contains(flag, 'a')",
        "contains",
        "`contains` is not called so",
        Some("write x.contains(y)"),
    );
    refused(
        "'a'.int()",
        "int",
        "`int` is not called so",
        Some("write int(x)"),
    );
    refused(
        "size()",
        "size",
        "`size` is called with more or less than it takes",
        Some("write x.size()"),
    );
    refused(
        "item.all(x)",
        "all",
        "`all` takes a name and what is done with it",
        Some("write list.all(x, x > 0)"),
    );
    refused(
        "item.map(1, 2)",
        "1",
        "the name of an element stands here",
        Some("write list.all(x, x > 0)"),
    );
    refused(
        "has(flag)",
        "flag",
        "`has` takes a field",
        Some("write has(a.b); whether a value is there at all, ask with a != null"),
    );
    refused(
        "has()",
        "has",
        "`has` takes one field",
        Some("write has(a.b)"),
    );
}

#[test]
fn texts_and_nestings_have_a_bound() {
    let long = format!("1{}", " ".repeat(TEXT_BYTES_MAX));
    let error = Expression::compile(&long, &[]).unwrap_err();
    assert_eq!(
        error.message,
        "the expression has 4097 bytes, and may have 4096"
    );
    assert!(Expression::compile(&long[..TEXT_BYTES_MAX], &[]).is_ok());
    let most = usize::from(NESTING_MAX);
    let deep = |count: usize| format!("{}1{}", "(".repeat(count), ")".repeat(count));
    assert!(Expression::compile(&deep(most - 1), &[]).is_ok());
    for text in [
        deep(most),
        "[".repeat(4000),
        "-".repeat(4000) + "1",
        "1".to_owned() + &" + 1".repeat(1000),
        "true ? 1 : ".repeat(350) + "1",
        "a".to_owned() + &".a".repeat(2000),
        "a".to_owned() + &"[0]".repeat(1000),
        "{1:".repeat(1000),
        "f(".repeat(1000),
    ] {
        let error = Expression::compile(&text, &["a"]).expect_err(&text);
        assert_eq!(
            error.message, "more than 64 parts lie within each other here",
            "{text}"
        );
    }
    // What stands beside each other does not lie within each other.
    for text in [
        "true".to_owned() + &" && true".repeat(500),
        "[1".to_owned() + &", 1".repeat(1000) + "]",
    ] {
        assert!(Expression::compile(&text, &[]).is_ok());
    }
}
