//! What the operators do with values.

use super::EvaluationError;
use super::evaluate::Budget;
use super::syntax::Operator;
use super::value::{Data, Key, compare_mixed};
use std::cmp::Ordering;

/// Why an operator has no result; its place is for the caller to add.
pub(super) type Reason = String;

/// Whether two values are the same. Values of different kinds are not; numbers are compared as numbers.
pub(super) fn equal(
    left: &Data<'_>,
    right: &Data<'_>,
    budget: &mut Budget,
) -> Result<bool, EvaluationError> {
    budget.spend(1)?;
    Ok(match (left, right) {
        (Data::Null, Data::Null) => true,
        (Data::Bool(left), Data::Bool(right)) => left == right,
        (Data::Int(left), Data::Int(right)) => left == right,
        (Data::Double(left), Data::Double(right)) => left == right,
        (Data::Int(int), Data::Double(double)) | (Data::Double(double), Data::Int(int)) => {
            compare_mixed(*int, *double) == Some(Ordering::Equal)
        }
        (Data::String(left), Data::String(right)) => {
            let (left, right) = (left.as_str(), right.as_str());
            budget.spend_bytes(left.len().min(right.len()))?;
            left == right
        }
        (Data::List(left), Data::List(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            for (left, right) in left.iter().zip(right.iter()) {
                if !equal(left, right, budget)? {
                    return Ok(false);
                }
            }
            true
        }
        (Data::Map(left), Data::Map(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            for ((one, left), (other, right)) in left.iter().zip(right.iter()) {
                if one != other || !equal(left, right, budget)? {
                    return Ok(false);
                }
            }
            true
        }
        (Data::Time(left), Data::Time(right)) => left == right,
        (Data::Type(left), Data::Type(right)) => left == right,
        _ => false,
    })
}

/// The order of two values, or none of a number with what is no number.
pub(super) fn order(
    left: &Data<'_>,
    right: &Data<'_>,
    budget: &mut Budget,
) -> Result<Result<Option<Ordering>, Reason>, EvaluationError> {
    Ok(Ok(match (left, right) {
        (Data::Int(left), Data::Int(right)) => Some(left.cmp(right)),
        (Data::Double(left), Data::Double(right)) => left.partial_cmp(right),
        (Data::Int(int), Data::Double(double)) => compare_mixed(*int, *double),
        (Data::Double(double), Data::Int(int)) => {
            compare_mixed(*int, *double).map(Ordering::reverse)
        }
        (Data::String(left), Data::String(right)) => {
            let (left, right) = (left.as_str(), right.as_str());
            budget.spend_bytes(left.len().min(right.len()))?;
            Some(left.cmp(right))
        }
        (Data::Bool(left), Data::Bool(right)) => Some(left.cmp(right)),
        (Data::Time(left), Data::Time(right)) => Some(left.cmp(right)),
        _ => {
            let (left, right) = (left.kind().with_article(), right.kind().with_article());
            return Ok(Err(format!("{left} cannot be compared with {right}")));
        }
    }))
}

/// Whether a value is an element of a list, or a key of an object.
pub(super) fn is_in(
    data: &Data<'_>,
    all: &Data<'_>,
    budget: &mut Budget,
) -> Result<Result<bool, Reason>, EvaluationError> {
    match all {
        Data::List(elements) => {
            for element in elements.iter() {
                if equal(data, element, budget)? {
                    return Ok(Ok(true));
                }
            }
            Ok(Ok(false))
        }
        Data::Map(entries) => match (Key::of(data), data) {
            (Some(key), _) => Ok(Ok(entries.contains_key(&key))),
            (None, Data::Double(_)) => Ok(Ok(false)),
            (None, other) => {
                let kind = other.kind().with_article();
                Ok(Err(format!("{kind} is no key of an object")))
            }
        },
        other => {
            let kind = other.kind().with_article();
            Ok(Err(format!(
                "`in` takes a list or an object, and this is {kind}"
            )))
        }
    }
}

/// The result of `+ - * / %`.
pub(super) fn calculate<'a>(
    operator: Operator,
    left: Data<'a>,
    right: Data<'a>,
    budget: &mut Budget,
) -> Result<Result<Data<'a>, Reason>, EvaluationError> {
    Ok(match (left, right) {
        (Data::Int(left), Data::Int(right)) => whole(operator, left, right),
        (Data::Double(left), Data::Double(right)) => {
            Ok(Data::Double(double(operator, left, right)))
        }
        (Data::Int(left), Data::Double(right)) => {
            Ok(Data::Double(double(operator, left as f64, right)))
        }
        (Data::Double(left), Data::Int(right)) => {
            Ok(Data::Double(double(operator, left, right as f64)))
        }
        (Data::String(left), Data::String(right)) if operator == Operator::Add => {
            let (left, right) = (left.as_str(), right.as_str());
            budget.spend_bytes(left.len() + right.len())?;
            Ok(Data::text([left, right].concat()))
        }
        (Data::List(left), Data::List(right)) if operator == Operator::Add => {
            budget.spend_elements(left.len() + right.len())?;
            Ok(Data::list(
                left.iter().chain(right.iter()).cloned().collect(),
            ))
        }
        (left, right) => {
            let sign = match operator {
                Operator::Add => "+",
                Operator::Subtract => "-",
                Operator::Multiply => "*",
                Operator::Divide => "/",
                _ => "%",
            };
            let (left, right) = (left.kind().with_article(), right.kind().with_article());
            Err(format!("`{sign}` does not go with {left} and {right}"))
        }
    })
}

fn whole<'a>(operator: Operator, left: i64, right: i64) -> Result<Data<'a>, Reason> {
    if right == 0 && matches!(operator, Operator::Divide | Operator::Remainder) {
        return Err("divides by zero".to_owned());
    }
    let result = match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide => left.checked_div(right),
        _ => left.checked_rem(right),
    };
    result.map(Data::Int).ok_or_else(|| {
        format!("the result of {left} and {right} is beyond the whole numbers of 64 bits")
    })
}

fn double(operator: Operator, left: f64, right: f64) -> f64 {
    match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        _ => left % right,
    }
}
