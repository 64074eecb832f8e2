//! Texts and values from anywhere: an answer, or an error with a place, within bounds.

use crate::expression::{Expression, STEPS_MAX};
use proptest::prelude::*;

/// Words of the language, more or less in order.
fn pieces() -> impl Strategy<Value = String> {
    const WORDS: [&str; 48] = [
        "a",
        "a.b",
        "item",
        "x",
        "1",
        "2.5",
        "1e9",
        "-",
        "'t'",
        "\"",
        "'''",
        "true",
        "null",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ".",
        ":",
        "?",
        "&&",
        "||",
        "!",
        "==",
        "!=",
        "<",
        ">=",
        " in ",
        "+",
        "*",
        "/",
        "%",
        ".map(x, ",
        ".all(x, ",
        ".filter(x, ",
        "has(a.",
        "size(",
        "b)",
        ".size()",
        "int",
        "é",
        "\\",
        "`",
        "//",
        "\n",
    ];
    let word = prop_oneof![
        8 => proptest::sample::select(&WORDS[..]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    proptest::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

fn json() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|boolean| boolean.to_string()),
        any::<i64>().prop_map(|int| int.to_string()),
        any::<u64>().prop_map(|int| int.to_string()),
        any::<f64>().prop_filter_map("finite", |double| {
            serde_json::Number::from_f64(double).map(|number| number.to_string())
        }),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap_or_default()),
    ];
    let value = leaf.prop_recursive(4, 20, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5)
                .prop_map(|all| format!("[{}]", all.join(","))),
            proptest::collection::vec(("[abx]", inner), 0..5).prop_map(|all| {
                let all: Vec<String> = all
                    .iter()
                    .map(|(key, value)| format!("{key:?}:{value}"))
                    .collect();
                format!("{{{}}}", all.join(","))
            }),
        ]
    });
    prop_oneof![
        9 => value.prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_text_is_an_expression_or_an_error_with_a_place(
        text in prop_oneof![9 => pieces(), 1 => any::<String>()],
        values in proptest::collection::vec(proptest::option::of(json()), 3),
    ) {
        let in_text = |error: &crate::expression::ExpressionError| {
            text.get(error.offset..error.offset + error.length).is_some()
        };
        let found = Expression::names(&text, |name| name == "a");
        if let Err(error) = &found {
            prop_assert!(in_text(error), "{error:?}");
        }
        match Expression::compile(&text, &["a", "a.b", "item"]) {
            Ok(expression) => {
                prop_assert!(found.is_ok());
                let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
                let first = expression.evaluate(&values);
                prop_assert_eq!(&first, &expression.evaluate(&values), "the same again");
                if let Ok(serde_json::Value::Bool(boolean)) = first {
                    prop_assert_eq!(expression.holds(&values), Ok(boolean));
                }
            }
            Err(error) => prop_assert!(in_text(&error), "{error:?}"),
        }
    }
}

#[test]
fn an_evaluation_ends_however_much_it_asks_for() {
    let list = format!("[{}1]", "1,".repeat(2000));
    let text = format!("\"{}\"", "x".repeat(4000));
    let object = format!("{{\"a\":{list}}}");
    let values = [
        Some(list.as_bytes()),
        Some(text.as_bytes()),
        Some(object.as_bytes()),
    ];
    let names = ["l", "t", "o"];
    let cases = [
        "l.map(a, l.map(b, l))",
        "l.all(a, l.all(b, l.all(c, a == b)))",
        "l.map(a, t + t)",
        "l.map(a, l + l)",
        "l.map(a, l)",
        "l.map(a, t.split('x'))",
        "l.map(a, t.replace('x', t))",
        "l.all(a, l == l)",
        "l.all(a, !(2 in l))",
        "l.all(a, t == t + '')",
        "l.all(a, t.contains(t))",
        "l.map(a, t).join(t)",
        "l.exists(a, l.all(b, true) && false)",
        "l.map(a, o.a.size() + o.a.filter(x, true).size())",
        "l.map(a, string(a) + t)",
        "l.all(a, size(t) > 0)",
    ];
    for text in cases {
        let expression = Expression::compile(text, &names).unwrap();
        let error = expression.evaluate(&values).expect_err(text).to_string();
        assert!(
            error.contains(&format!("more than {STEPS_MAX} steps")),
            "{text}: {error}"
        );
    }
    // What a user may well ask of values of the largest size has room.
    for text in [
        "l.filter(x, x > 0 && x < 100 && x != 50 && x % 2 == 1).size() == 2001",
        "l.all(x, o.a[0] == x)",
        "l.map(x, {'n': x, 'twice': x * 2}).size() == 2001",
        "l.map(x, string(x)).join(',').size() == 4001",
    ] {
        let expression = Expression::compile(text, &names).unwrap();
        assert_eq!(expression.holds(&values), Ok(true), "{text}");
    }
}
