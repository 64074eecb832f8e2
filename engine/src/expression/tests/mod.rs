//! What expressions give, and what is wrong with those that give nothing.

use super::*;
use serde_json::{Value, json};

mod agreement;
mod failures;
mod hostile;
mod refusals;

/// Values by their paths, in JSON.
const VALUES: [(&str, &str); 9] = [
    ("check.size", "10.5"),
    (
        "check.info",
        r#"{"b": [1, 2.5, "x"], "a": {"deep": true}, "k-m": 3, "text": "é\n"}"#,
    ),
    ("input.mode", r#""fast""#),
    ("input.big", "9223372036854775807"),
    ("constant.limit", "100"),
    ("item", "[3, 1, 2]"),
    ("width", "null"),
    ("flag", "true"),
    ("absent", ""),
];

fn names() -> Vec<&'static str> {
    VALUES.iter().map(|(name, _)| *name).collect()
}

fn values() -> Vec<Option<&'static [u8]>> {
    let json = |(_, json): &(&str, &'static str)| (!json.is_empty()).then_some(json.as_bytes());
    VALUES.iter().map(json).collect()
}

fn run(text: &str) -> Result<Value, String> {
    let expression = Expression::compile(text, &names()).map_err(|error| error.message)?;
    expression
        .evaluate(&values())
        .map_err(|error| error.to_string())
}

#[track_caller]
fn gives(text: &str, result: Value) {
    assert_eq!(run(text), Ok(result), "{text}");
}

/// `reason` begins with the part that fails, which must stand at the column that is told.
#[track_caller]
fn fails(text: &str, reason: &str) {
    let error = run(text).unwrap_err();
    let Some((column, rest)) = error
        .strip_prefix("column ")
        .and_then(|rest| rest.split_once(": "))
    else {
        assert_eq!(error, reason, "{text}");
        return;
    };
    assert_eq!(rest, reason, "{text}");
    let column: usize = column.parse().unwrap();
    let from: String = text.chars().skip(column - 1).collect();
    let part = rest.trim_start_matches('`').split('`').next().unwrap();
    assert!(
        from.starts_with(part.trim_end_matches('…')),
        "{text}: {error}"
    );
}

#[test]
fn operators_bind_as_in_cel() {
    gives("1 + 2 * 3 - 4 / 2 % 3", json!(5));
    gives("(1 + 2) * 3", json!(9));
    gives("10 - 3 - 2", json!(5));
    gives("-2 * -3", json!(6));
    gives("!false && false || true", json!(true));
    gives("true || false && false", json!(true));
    gives("1 < 2 == true", json!(true));
    gives("false ? 1 : true ? 2 : 3", json!(2));
    gives("-9223372036854775808", json!(i64::MIN));
    gives("0x1F", json!(31));
    gives("1.5e3 + .5", json!(1500.5));
    gives("1 // a remark\n + 1", json!(2));
    gives("--1", json!(1));
    gives("!!true", json!(true));
}

#[test]
fn numbers_are_compared_and_computed_as_numbers() {
    gives("check.size > 10", json!(true));
    gives("10 < check.size && check.size < 11", json!(true));
    gives("1 == 1.0", json!(true));
    gives("check.size + 1", json!(11.5));
    gives("1 / 2", json!(0));
    gives("1 / 2.0", json!(0.5));
    gives("7 % 4.0", json!(3.0));
    gives("input.big == 9223372036854775807.0", json!(false));
    gives("input.big < 9223372036854775807.0", json!(true));
    gives("9223372036854775807.0 > input.big", json!(true));
    gives("-9223372036854775808 > -1e300", json!(true));
    gives(
        "0.0 / 0.0 == 0.0 / 0.0 || 0.0 / 0.0 < 1 || 1 < 0.0 / 0.0",
        json!(false),
    );
    fails(
        "input.big + 1",
        "`input.big + 1`: the result of 9223372036854775807 and 1 is beyond the whole numbers of 64 bits",
    );
    fails(
        "constant.limit / 0",
        "`constant.limit / 0`: divides by zero",
    );
    fails(
        "constant.limit / 0.0",
        "the result is no finite number, which JSON cannot hold",
    );
}

#[test]
fn fields_and_elements_are_taken_and_what_lacks_them_is_named() {
    gives("check.info.a.deep", json!(true));
    gives("check.info.b[1]", json!(2.5));
    gives("check.info.b[1.0] + item[0]", json!(5.5));
    gives("check.info['a'].deep", json!(true));
    gives("check.info.`k-m`", json!(3));
    gives("check.info.text", json!("é\n"));
    gives("{200: 'ok', 'x': 1}[200.0]", json!("ok"));
    gives("check.info", serde_json::from_str(VALUES[1].1).unwrap());
    fails(
        "check.info.c.d",
        "`check.info.c.d`: there is no field `c`; there are `a`, `b`, `k-m`, `text`",
    );
    fails(
        "check.info.b.c",
        "`check.info.b.c`: a list has no field `c`",
    );
    fails("check.size.c", "`check.size.c`: a number has no field `c`");
    fails("width.c", "`width.c`: null has no field `c`");
    fails("absent.c", "`absent.c`: null has no field `c`");
    fails("item[3]", "`item[3]`: there is no element 3 in a list of 3");
    fails(
        "item[-1]",
        "`item[-1]`: there is no element -1 in a list of 3",
    );
    fails("item[0.5]", "`item[0.5]`: a number is no place in a list");
    fails(
        "check.info['c']",
        "`check.info['c']`: there is no field `c`; there are `a`, `b`, `k-m`, `text`",
    );
    fails("{}[width]", "`{}[width]`: null is no key of an object");
    fails(
        "{'a': 1, 'a': 2}",
        "`{'a': 1, 'a': 2}`: the key a stands there twice",
    );
    fails(
        "input.mode[0]",
        "`input.mode[0]`: nothing can be taken from a text",
    );
}

#[test]
fn what_is_absent_is_null_and_can_be_asked_for() {
    gives("absent", json!(null));
    gives(
        "absent == null && width == null && flag != null",
        json!(true),
    );
    gives("has(absent.x)", json!(false));
    gives("has(check.size)", json!(true));
    gives(
        "has(check.info.a) && !has(check.info.z) && has(check.info.a.deep)",
        json!(true),
    );
    gives("has(check.info.z) ? check.info.z : 7", json!(7));
    gives("[{'a': 1}, {}].filter(x, has(x.a)).size()", json!(1));
    fails(
        "has(check.size.z)",
        "`check.size`: is a number, which has no fields",
    );
    let optional = Expression::compile("has(a.b)", &["a.b"]).unwrap();
    assert_eq!(optional.holds(&[None]), Ok(false));
    assert_eq!(optional.holds(&[]), Ok(false));
    assert_eq!(optional.holds(&[Some(b"null")]), Ok(true));
}

#[test]
fn a_part_that_decides_outweighs_one_that_fails() {
    gives("check.info.z > 1 && false", json!(false));
    gives("check.info.z > 1 || true", json!(true));
    fails(
        "check.info.z > 1 && true",
        "`check.info.z`: there is no field `z`; there are `a`, `b`, `k-m`, `text`",
    );
    fails(
        "false || check.info.z > 1",
        "`check.info.z`: there is no field `z`; there are `a`, `b`, `k-m`, `text`",
    );
    gives("[1, 'x', 3].exists(x, x > 2)", json!(true));
    gives("[1, 'x', 3].all(x, x < 2)", json!(false));
    fails(
        "[1, 'x'].exists(x, x > 2)",
        "`x > 2`: a text cannot be compared with a number",
    );
    // Names that a macro has bound are gone after a failure within it.
    gives(
        "[1].exists(x, [x, 'a'].all(y, y > 0) || [2].exists(z, z == 2 && x == 1))",
        json!(true),
    );
}

#[test]
fn macros_run_over_lists_and_over_keys_in_order() {
    gives("item.map(x, x * 2)", json!([6, 2, 4]));
    gives("item.map(x, x > 1, x * 2)", json!([6, 4]));
    gives("item.filter(x, x != 1)", json!([3, 2]));
    gives("item.exists_one(x, x == 1)", json!(true));
    gives("[].all(x, false) && ![].exists(x, true)", json!(true));
    gives(
        "{'b': 1, 'a': 2, 3: 4, true: 5}.map(k, k)",
        json!([true, 3, "a", "b"]),
    );
    gives("check.info.filter(k, k.startsWith('t'))", json!(["text"]));
    gives("item.map(x, item.map(x, x + 1)[0] + x)", json!([7, 5, 6]));
    gives("item.map(item, item)", json!([3, 1, 2]));
    fails(
        "flag.map(x, x)",
        "`flag`: is a boolean, and not a list or an object",
    );
    fails(
        "item.filter(x, width)",
        "`width`: is null, and must be true or false",
    );
}

#[test]
fn texts_lists_and_objects_are_made_compared_and_searched() {
    gives(
        "'a' + \"b\" + '''c\n''' + r'\\d' + '\\x41\\u00e9\\101'",
        json!("abc\n\\dAéA"),
    );
    gives("[1] + [2, 'x']", json!([1, 2, "x"]));
    gives(
        "[1, 2,] == [1.0, 2] && {'a': [1]} == {'a': [1.0]} && [1] != [1, 2]",
        json!(true),
    );
    gives(
        "2 in item && !('q' in check.info) && 'a' in check.info",
        json!(true),
    );
    gives("'b' > 'a' && true > false", json!(true));
    gives(
        "input.mode == 1 || item == width || flag == 'true'",
        json!(false),
    );
    gives(
        "{1: 'a', 'b': {true: null}}",
        json!({"1": "a", "b": {"true": null}}),
    );
    fails(
        "{1: 1, '1': 2}",
        "the result is an object with keys that are the same as texts, which JSON cannot hold",
    );
    fails(
        "flag in flag",
        "`flag in flag`: `in` takes a list or an object, and this is a boolean",
    );
    fails(
        "item in check.info",
        "`item in check.info`: a list is no key of an object",
    );
    fails(
        "input.mode < 1",
        "`input.mode < 1`: a text cannot be compared with a number",
    );
    fails(
        "input.mode + 1",
        "`input.mode + 1`: `+` does not go with a text and a number",
    );
    fails(
        "!input.mode",
        "`input.mode`: is a text, and must be true or false",
    );
    fails(
        "-input.mode",
        "`input.mode`: is a text, and `-` takes a number",
    );
}

#[test]
fn functions_do_what_cel_says() {
    gives(
        "size('é') + 'ab'.size() + size(item) + size({1: 2})",
        json!(7),
    );
    gives(
        "'wörld'.contains('ör') && 'ab'.startsWith('a') && 'ab'.endsWith('b')",
        json!(true),
    );
    gives("int('12') + int(3.9) + int(-3.9)", json!(12));
    gives("double('1.5') + double(1)", json!(2.5));
    gives(
        "string(1) + string(1.5) + string(true) + string('x')",
        json!("11.5truex"),
    );
    gives("bool('true') && !bool('false')", json!(true));
    gives(
        "type(1) == int && type(check.size) == double && type('') == string",
        json!(true),
    );
    gives(
        "type(null) == null_type && type([]) == list && type({}) == map && type(int) == type",
        json!(true),
    );
    gives(
        "' a '.trim() + 'aB'.upperAscii() + 'aB'.lowerAscii()",
        json!("aABab"),
    );
    gives(
        "'a,b,c'.split(',').join('-') + ['x', 'y'].join()",
        json!("a-b-cxy"),
    );
    gives("'añb'.split('').size()", json!(3));
    gives("'a.b.c'.replace('.', '::')", json!("a::b::c"));
    gives(
        "'wörld'.substring(1, 3) + 'wörld'.substring(4)",
        json!("örd"),
    );
    gives("'wörld'.indexOf('r') - 'a'.indexOf('b')", json!(3));
    gives(
        "timestamp('2024-01-01T00:00:00Z') == timestamp('2024-01-01T01:00:00+01:00')",
        json!(true),
    );
    gives(
        "string(timestamp('2024-01-01T01:00:00+01:00'))",
        json!("2024-01-01T00:00:00Z"),
    );
    gives("dyn(1) == 1", json!(true));
    fails(
        "int(input.mode)",
        "`int(input.mode)`: \"fast\" is no whole number",
    );
    fails(
        "int(1e300)",
        "`int(1e300)`: 1e300 is beyond the whole numbers of 64 bits",
    );
    fails(
        "flag.contains('a')",
        "`flag.contains('a')`: does not go with a boolean and a text",
    );
    fails(
        "timestamp(input.mode)",
        "`timestamp(input.mode)`: \"fast\" is no timestamp, as 2024-02-29T12:00:00Z is one",
    );
    fails(
        "'abc'.substring(2, 1)",
        "`'abc'.substring(2, 1)`: takes a part from 2 to 1, which is before it",
    );
    fails(
        "item.join(',')",
        "`item.join(',')`: joins texts, and there is a number among them; string(x) makes a text of it",
    );
    fails("size(width)", "`size(width)`: does not go with null");
}

#[test]
fn a_condition_gives_true_or_false() {
    let condition = Expression::compile_condition("a.b", &["a.b"]).unwrap();
    assert_eq!(condition.holds(&[Some(b"true")]), Ok(true));
    assert_eq!(condition.holds(&[Some(b" false ")]), Ok(false));
    let error = condition.holds(&[Some(b"1")]).unwrap_err().to_string();
    assert_eq!(
        error,
        "the condition gives a number, and must give true or false"
    );
}

#[test]
fn what_is_no_json_is_an_error_wherever_the_damage_lies() {
    for text in ["a", "a.b", "[1].map(x, a)", "[1].map(x, a.b)"] {
        let expression = Expression::compile(text, &["a"]).unwrap();
        for json in [
            &b"{\"b\": 1"[..],
            b"{\"b\": 1, \"c\": 01}",
            b"{\"b\": 1} 2",
            b"\"\xff\"",
            b"{\"b\": \"\xff\"}",
            b"",
        ] {
            let error = expression.evaluate(&[Some(json)]).unwrap_err().to_string();
            assert!(error.contains("is no JSON"), "{text} of {json:?}: {error}");
        }
    }
}

#[test]
fn names_are_found_once_in_order_and_macros_hide_theirs() {
    let names = |text: &str| -> Vec<(String, usize)> {
        Expression::names(text, |name| ["check", "input", "list"].contains(&name))
            .unwrap()
            .into_iter()
            .map(|name| (name.path, name.offset))
            .collect()
    };
    let of = |expected: &[(&str, usize)]| -> Vec<(String, usize)> {
        expected
            .iter()
            .map(|(path, offset)| ((*path).to_owned(), *offset))
            .collect()
    };
    assert_eq!(
        names("width > check . size.x && has(input.mode) || check.size < 1"),
        of(&[("width", 0), ("check.size", 8), ("input.mode", 30)])
    );
    assert_eq!(
        names("list.a.all(x, x.b > y && [1].exists(y, y > 1)) && x"),
        of(&[("list.a", 0), ("y", 20), ("x", 50)])
    );
    assert_eq!(
        names("type(item.a) == int || string(1) == 's'"),
        of(&[("item", 5)])
    );
    assert_eq!(
        names("{check.a: [item[input.b]]}.size()"),
        of(&[("check.a", 1), ("item", 11), ("input.b", 16)])
    );
    // A source without a value of it: whoever asks can say what is missing.
    assert_eq!(names("check > 1"), of(&[("check", 0)]));
    assert_eq!(names("check.`a-b` > 1"), of(&[("check.a-b", 0)]));
}

#[test]
fn a_value_may_have_the_name_of_a_type_and_a_macro_that_of_a_value() {
    let expression = Expression::compile("list + 1", &["list"]).unwrap();
    assert_eq!(expression.evaluate(&[Some(b"1")]), Ok(json!(2)));
    let expression = Expression::compile("[1].map(check, check)", &["check.size"]).unwrap();
    assert_eq!(expression.evaluate(&[None]), Ok(json!([1])));
    let expression = Expression::compile("a.b.c", &["a", "a.b"]).unwrap();
    assert_eq!(
        expression.evaluate(&[None, Some(br#"{"c": 1}"#)]),
        Ok(json!(1))
    );
}

#[test]
fn functions_for_documents_do_what_they_say() {
    gives(
        "merge(check.info.a, {'deep': 1, 'x': item})",
        json!({"deep": 1, "x": [3, 1, 2]}),
    );
    gives(
        "fromJson('{\"a\": [1, 2.5, null, \"b\"]}').a",
        json!([1, 2.5, null, "b"]),
    );
    fails(
        "fromJson('{')",
        "`fromJson('{')`: the text is no JSON: EOF while parsing an object at line 1 column 1",
    );
    gives("toJson({'a': [1, 'b']})", json!(r#"{"a":[1,"b"]}"#));
    gives("toJson('a') + text('a') + text(1.5)", json!("\"a\"a1.5"));
    gives("text(null) + text(item)", json!("null[3,1,2]"));
    gives("[1, 2, 1.0, 'a', 'a'].distinct()", json!([1, 2, "a"]));
    gives("range(3) + range(0)", json!([0, 1, 2]));
    gives("range(2).map(i, item[i])", json!([3, 1]));
    fails(
        "range(-1)",
        "`range(-1)`: takes how many numbers there are to be, from 0",
    );
    gives("range(2, 5) + range(5, 2)", json!([2, 3, 4]));
    gives("range(1, 8, 3) + range(3, 0, -2.0)", json!([1, 4, 7, 3, 1]));
    gives(
        "range(9223372036854775806, 9223372036854775807, 5)",
        json!([9_223_372_036_854_775_806_i64]),
    );
    fails(
        "range(0, 1, 0)",
        "`range(0, 1, 0)`: takes a step that is not 0",
    );
    fails("range(0.5, 1)", "`range(0.5, 1)`: takes whole numbers");
    gives(
        "[1, 2, 3, 4, 5].partition(2) + [].partition(1)",
        json!([[1, 2], [3, 4], [5]]),
    );
    gives("item.partition(9)", json!([[3, 1, 2]]));
    fails(
        "[1].partition(0)",
        "`[1].partition(0)`: takes how many elements each part has, at least 1",
    );
    gives(
        "toBase64('für 1 €') + fromBase64('ZsO8ciAxIOKCrA==')",
        json!("ZsO8ciAxIOKCrA==für 1 €"),
    );
    fails(
        "fromBase64('Zg')",
        "`fromBase64('Zg')`: \"Zg\" is no Base64, as \"Zm9v\" is one",
    );
    fails(
        "fromBase64('/w==')",
        "`fromBase64('/w==')`: the bytes of the Base64 are no text",
    );
    gives(
        "isTimestamp('2024-01-01T00:00:00Z') && !isTimestamp('x') && !isTimestamp(1)",
        json!(true),
    );
    // Nothing of the expression is shown: the text says what failed.
    fails("false || fail('Paid: twice')", "Paid: twice");
    fails("fail(item)", "`fail(item)`: does not go with a list");
}

#[test]
fn what_functions_make_of_little_is_bounded() {
    for expression in [
        "range(0, 9223372036854775807)",
        "range(0, -9223372036854775807 - 1, -1)",
        "range(90000).partition(1)",
        "range(10000).map(i, range(9).partition(1))",
    ] {
        let error = run(expression).unwrap_err();
        assert!(
            error.contains("more than 100000 steps"),
            "{expression}: {error}"
        );
    }
}

#[test]
fn patterns_match_whole_texts() {
    for (text, pattern, matches) in [
        ("abc", "abc", true),
        ("abc", "ab", false),
        ("abc", "*", true),
        ("", "*", true),
        ("", "", true),
        ("abc", "a*c", true),
        ("ac", "a*c", true),
        ("a", "a*a", false),
        ("aXbXc", "a*b*c", true),
        ("abcbc", "a*bc", true),
        ("log-2024.txt", "log-*.txt", true),
        ("log-2024.csv", "log-*.txt", false),
        ("a*b", r"a\\*b", true),
        ("axb", r"a\\*b", false),
        (r"a\\b", r"a\\\\b", true),
    ] {
        gives(&format!("like('{text}', '{pattern}')"), json!(matches));
    }
}
