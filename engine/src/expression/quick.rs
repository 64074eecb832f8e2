//! Conditions that are decided at a look: plain values compared with each other and with literals, and what `&&`, `||` and
//! `!` make of that. Most conditions of most switches are of this kind.
//!
//! Nothing fails here. What is out of the ordinary in any way is left to the machine, which decides the same, later.

use super::json;
use super::program::{Node, NodeKind};
use super::syntax::Operator;
use super::value::Data;
use std::cmp::Ordering;

/// Longest value or literal that is looked at, in bytes: a whole text of such comparisons takes far fewer than
/// [`STEPS_MAX`](super::STEPS_MAX) steps, so that none need be counted.
const BYTES_MAX: usize = 64;

/// Whether the condition holds, if that can be said at a look.
pub(super) fn holds(node: &Node, values: &[Option<&[u8]>]) -> Option<bool> {
    match &node.kind {
        NodeKind::Binary { operator, operands } => {
            let decides = decides(*operator)?;
            let equality = matches!(operator, Operator::Equal | Operator::Unequal);
            let [left, right] = &**operands;
            let order = match (plain(left, values)?, plain(right, values)?) {
                (Data::Int(left), Data::Int(right)) => left.cmp(&right),
                (Data::String(left), Data::String(right)) => left.as_str().cmp(right.as_str()),
                (Data::Bool(left), Data::Bool(right)) => left.cmp(&right),
                (Data::Null, Data::Null) if equality => Ordering::Equal,
                // Which of both orders: nothing is asked but whether they are equal.
                (Data::Null, _) | (_, Data::Null) if equality => Ordering::Less,
                _ => return None,
            };
            Some(decides(order))
        }
        NodeKind::Value { .. } => match plain(node, values)? {
            Data::Bool(boolean) => Some(boolean),
            _ => None,
        },
        NodeKind::Not(of) => holds(of, values).map(|holds| !holds),
        NodeKind::Every(parts) => all_or_any(parts, values, false),
        NodeKind::Some(parts) => all_or_any(parts, values, true),
        NodeKind::IsPresent { slot } => Some(values.get(*slot)?.is_some()),
        _ => None,
    }
}

fn all_or_any(parts: &[Node], values: &[Option<&[u8]>], decides: bool) -> Option<bool> {
    for part in parts {
        if holds(part, values)? == decides {
            return Some(decides);
        }
    }
    Some(!decides)
}

/// A short value that needs no parser, or a short literal; null if the value is absent.
fn plain<'a>(node: &'a Node, values: &[Option<&'a [u8]>]) -> Option<Data<'a>> {
    match &node.kind {
        NodeKind::Value { slot, path } if path.is_empty() => {
            let Some(json) = *values.get(*slot)? else {
                return Some(Data::Null);
            };
            (json.len() <= BYTES_MAX).then(|| json::simple(json))?
        }
        NodeKind::Literal(literal) => match Data::literal(literal) {
            Data::String(text) if text.as_str().len() > BYTES_MAX => None,
            data => Some(data),
        },
        _ => None,
    }
}

fn decides(operator: Operator) -> Option<fn(Ordering) -> bool> {
    Some(match operator {
        Operator::Equal => Ordering::is_eq,
        Operator::Unequal => Ordering::is_ne,
        Operator::Less => Ordering::is_lt,
        Operator::LessOrEqual => Ordering::is_le,
        Operator::Greater => Ordering::is_gt,
        Operator::GreaterOrEqual => Ordering::is_ge,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::{Expression, TEXT_BYTES_MAX, evaluate};
    use proptest::prelude::*;

    const NAMES: [&str; 3] = ["a", "b.c", "d"];

    /// What the machine says of it.
    fn slowly(condition: &Expression, values: &[Option<&[u8]>]) -> Option<bool> {
        match evaluate::evaluate(&condition.root, &condition.text, values) {
            Ok((Data::Bool(holds), _)) => Some(holds),
            _ => None,
        }
    }

    fn json() -> impl Strategy<Value = Option<String>> {
        let plain = "-?[0-9]{1,3}|[1-9][0-9]{16,19}|true|false|null|\"[ab]{0,2}\"|\"\\\\u00e9\"";
        let other = " 1|1.5|1e2|01|\"a|\\[1\\]|\\{\"a\":1\\}|";
        proptest::option::weighted(0.9, prop_oneof![9 => plain, 1 => other])
    }

    fn condition() -> impl Strategy<Value = String> {
        let operand = prop_oneof![
            3 => proptest::sample::select(&NAMES[..]).prop_map(str::to_owned),
            2 => "[0-9]{1,2}|'[ab]{0,2}'|true|false|null|-1|1\\.5|a\\.b|\\[1\\]",
        ];
        let order = proptest::sample::select(vec!["==", "!=", "<", "<=", ">", ">=", "in"]);
        let leaf = prop_oneof![
            4 => (operand.clone(), order, operand).prop_map(|(left, order, right)| format!("{left} {order} {right}")),
            1 => proptest::sample::select(vec!["a", "d", "has(b.c)", "true"]).prop_map(str::to_owned),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|of| format!("!({of})")),
                proptest::collection::vec(inner.clone(), 2..4)
                    .prop_map(|of| format!("({})", of.join(" && "))),
                proptest::collection::vec(inner, 2..4)
                    .prop_map(|of| format!("({})", of.join(" || "))),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        #[test]
        fn what_is_said_at_a_look_is_what_the_machine_says(
            text in condition(),
            values in proptest::collection::vec(json(), NAMES.len()),
        ) {
            let Ok(condition) = Expression::compile_condition(&text, &NAMES) else {
                return Ok(());
            };
            let values: Vec<_> = values.iter().map(|json| json.as_deref().map(str::as_bytes)).collect();
            if let Some(holds) = holds(&condition.root, &values) {
                prop_assert_eq!(slowly(&condition, &values), Some(holds), "{} {:?}", text, values);
            }
        }
    }

    #[test]
    fn common_conditions_are_decided_at_a_look_and_no_others() {
        let values: [Option<&[u8]>; 3] = [Some(b"7"), Some(b"\"fast\""), Some(b"true")];
        let look = |text: &str| {
            let condition = Expression::compile_condition(text, &NAMES).expect("it is one");
            holds(&condition.root, &values)
        };
        for text in [
            "a > 5",
            "b.c == 'fast'",
            "d",
            "a < 8 && d",
            "a > 8 || d",
            "!(a != 7)",
            "a != null",
            "has(b.c)",
        ] {
            assert_eq!(look(text), Some(true), "{text}");
        }
        for text in [
            "a >= 8",
            "b.c < 'f'",
            "!d",
            "a > 5 && !d",
            "d == false",
            "b.c == null",
        ] {
            assert_eq!(look(text), Some(false), "{text}");
        }
        let long = format!("b.c != '{}'", "x".repeat(BYTES_MAX + 1));
        for text in [
            "a + 1 > 5",
            "a == 7.0",
            "a.b > 1",
            "a == b.c",
            "a in [7]",
            long.as_str(),
        ] {
            assert_eq!(look(text), None, "{text}");
        }
    }

    #[test]
    fn the_machine_has_the_steps_for_whatever_is_decided_at_a_look() {
        let long = format!("\"{}\"", "x".repeat(BYTES_MAX - 2));
        let values: [Option<&[u8]>; 3] = [Some(long.as_bytes()), Some(b"true"), None];
        for part in ["a==a", "a=='x'", "b.c"] {
            let parts = TEXT_BYTES_MAX / (part.len() + 2);
            for (operator, ended) in [("&&", 1), ("||", 0)] {
                let part = if ended == 0 {
                    format!("!({part})")
                } else {
                    part.to_owned()
                };
                let text = vec![part; parts / 2].join(operator);
                let condition = Expression::compile_condition(&text, &NAMES).expect("it is one");
                assert_eq!(
                    holds(&condition.root, &values),
                    slowly(&condition, &values),
                    "{text}"
                );
            }
        }
    }
}
