//! Random expressions give what an interpreter of CEL gives that others have written.

use crate::expression::Expression;
use cel::objects::{Key, Map};
use cel::{Context, Env, Value};
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

const NAMES: [&str; 7] = [
    "n.int", "n.number", "text", "n.list", "object", "flag", "nothing",
];

/// What a generated expression may be made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbers {
    Whole,
    /// Whole ones and others, which CEL compares with each other, but does not add up.
    Mixed,
}

fn number(numbers: Numbers) -> BoxedStrategy<String> {
    let whole = prop_oneof![
        (-3i64..4).prop_map(|int| int.to_string()),
        Just("n.int".to_owned()),
        Just("object.a".to_owned()),
        Just("object.inner.b".to_owned()),
        Just("n.list[0]".to_owned()),
        Just("size(n.list)".to_owned()),
        Just("text.size()".to_owned()),
    ];
    match numbers {
        Numbers::Whole => whole.boxed(),
        Numbers::Mixed => prop_oneof![
            3 => whole,
            1 => (-6i64..6).prop_map(|half| format!("{:?}", half as f64 / 2.0)),
            1 => Just("n.number".to_owned()),
        ]
        .boxed(),
    }
}

/// Booleans with everything in them that there is: names now and then of the wrong kind.
fn condition(numbers: Numbers) -> BoxedStrategy<String> {
    let number = number(numbers);
    let operand = number
        .prop_recursive(2, 6, 2, |inner| {
            (
                inner.clone(),
                proptest::sample::select(vec!["+", "-", "*"]),
                inner,
            )
                .prop_map(|(left, operator, right)| format!("({left} {operator} {right})"))
        })
        .boxed();
    let text = prop_oneof![
        Just("text".to_owned()),
        Just("object.t".to_owned()),
        Just("'a'".to_owned()),
        Just("'é\\n' + text".to_owned()),
        Just("text + 'b'".to_owned()),
        Just("string(n.int)".to_owned()),
    ];
    let anything = prop_oneof![
        3 => operand.clone(),
        2 => text.clone(),
        1 => proptest::sample::select(&NAMES[..]).prop_map(str::to_owned),
        1 => Just("object.missing".to_owned()),
        1 => Just("null".to_owned()),
        1 => (operand.clone(), operand.clone()).prop_map(|(one, other)| format!("[{one}, {other}]")),
        1 => operand.clone().prop_map(|value| format!("{{'a': {value}, 'b': [true]}}")),
        1 => (operand.clone(), operand.clone()).prop_map(|(by, value)| {
            format!("n.list.map(x, x + {by}).filter(x, x > {value})")
        }),
    ]
    .boxed();
    let order = proptest::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]);
    let leaf = prop_oneof![
        4 => (anything.clone(), order.clone(), anything.clone())
            .prop_map(|(left, operator, right)| format!("{left} {operator} {right}")),
        4 => (operand.clone(), order.clone(), operand.clone())
            .prop_map(|(left, operator, right)| format!("{left} {operator} {right}")),
        2 => (text.clone(), order, text.clone())
            .prop_map(|(left, operator, right)| format!("{left} {operator} {right}")),
        1 => Just("flag".to_owned()),
        1 => anything.clone().prop_map(|value| format!("{value} in n.list")),
        1 => text.clone().prop_map(|value| format!("{value} in object")),
        1 => Just("has(object.inner.b) && !has(object.inner.z)".to_owned()),
        1 => (text.clone(), text).prop_map(|(one, other)| format!("({one}).contains({other})")),
        1 => operand.clone().prop_map(|value| format!("n.list.all(x, x < {value})")),
        1 => operand.clone().prop_map(|value| format!("n.list.exists(x, x - 1 == {value})")),
        1 => operand.prop_map(|value| format!("n.list.exists_one(x, x == {value})")),
        1 => anything.prop_map(|value| format!("type({value}) == int")),
    ];
    leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4)
                .prop_map(|all| format!("({})", all.join(" && "))),
            proptest::collection::vec(inner.clone(), 2..4)
                .prop_map(|all| format!("({})", all.join(" || "))),
            inner.clone().prop_map(|one| format!("!({one})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(test, one, other)| format!("({test} ? {one} : {other})")),
        ]
    })
    .boxed()
}

fn values(numbers: Numbers) -> impl Strategy<Value = Vec<Option<serde_json::Value>>> {
    let other = if numbers == Numbers::Mixed { 0.5 } else { 0.0 };
    (
        -3i64..4,
        -3i64..4,
        proptest::collection::vec(-3i64..4, 0..4),
        any::<bool>(),
        0..4,
    )
        .prop_map(move |(int, double, list, flag, wrong)| {
            let double = match other {
                0.0 => serde_json::json!(double),
                half => serde_json::json!(double as f64 + half),
            };
            let mut values = vec![
                Some(serde_json::json!(int)),
                Some(double),
                Some(serde_json::json!("a\u{e9}\"")),
                Some(serde_json::json!(list)),
                Some(serde_json::json!({"a": int + 1, "t": "a", "inner": {"b": 2}})),
                Some(serde_json::json!(flag)),
                None,
            ];
            if wrong == 0 {
                values.swap(0, 2);
            }
            values
        })
}

fn to_cel(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(boolean) => (*boolean).into(),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(int) => int.into(),
            None => number.as_f64().unwrap().into(),
        },
        serde_json::Value::String(text) => text.clone().into(),
        serde_json::Value::Array(elements) => {
            elements.iter().map(to_cel).collect::<Vec<Value>>().into()
        }
        serde_json::Value::Object(entries) => {
            let entries: HashMap<Key, Value> = entries
                .iter()
                .map(|(key, value)| (Key::from(key.clone()), to_cel(value)))
                .collect();
            Value::Map(Map {
                map: Arc::new(entries),
            })
        }
    }
}

fn by_cel(text: &str, values: &[Option<serde_json::Value>]) -> Result<bool, String> {
    let env = Arc::new(Env::stdlib());
    let program = env.compile(text).map_err(|error| error.to_string())?;
    let mut context = Context::with_env(env);
    for (name, value) in NAMES.into_iter().zip(values) {
        context.add_variable_from_value(name, value.as_ref().map_or(Value::Null, to_cel));
    }
    match program.execute(&context) {
        Ok(Value::Bool(holds)) => Ok(holds),
        Ok(other) => Err(format!("no boolean: {other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

fn by_us(text: &str, values: &[Option<serde_json::Value>]) -> Option<Result<bool, String>> {
    let expression = Expression::compile_condition(text, &NAMES).ok()?;
    let json: Vec<Option<Vec<u8>>> = values
        .iter()
        .map(|value| Some(serde_json::to_vec(value.as_ref()?).unwrap()))
        .collect();
    let json: Vec<Option<&[u8]>> = json.iter().map(Option::as_deref).collect();
    Some(expression.holds(&json).map_err(|error| error.to_string()))
}

fn agree(numbers: Numbers) {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(1500));
    let (mut held, mut failed) = (0, 0);
    let counts = std::cell::RefCell::new((&mut held, &mut failed));
    runner
        .run(&(condition(numbers), values(numbers)), |(text, values)| {
            // Kinds that never go together are refused, where CEL may say that they are not the same.
            let Some(ours) = by_us(&text, &values) else {
                return Ok(());
            };
            let theirs = by_cel(&text, &values);
            match (&ours, &theirs) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs, "{}", text),
                (Err(_), Err(_)) => {}
                (Ok(_), Err(_)) if numbers == Numbers::Mixed => {}
                _ => prop_assert!(false, "{}: {:?} and {:?}", text, ours, theirs),
            }
            let mut counts = counts.borrow_mut();
            *counts.0 += usize::from(ours.is_ok());
            *counts.1 += usize::from(ours.is_err());
            Ok(())
        })
        .unwrap();
    assert!(
        held > 400 && failed > 80,
        "too few had a result: {held}, or failed: {failed}"
    );
}

#[test]
fn conditions_over_whole_numbers_give_what_cel_gives() {
    agree(Numbers::Whole);
}

#[test]
fn conditions_over_mixed_numbers_give_what_cel_gives_where_it_gives_anything() {
    agree(Numbers::Mixed);
}
