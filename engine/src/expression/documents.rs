//! Functions beyond CEL's, for values that are whole documents: what passes a document on with a part of it changed needs
//! them.

use super::EvaluationError;
use super::arithmetic::{Reason, equal};
use super::evaluate::Budget;
use super::functions::{Function, Outcome, mismatch};
use super::json;
use super::time::Time;
use super::value::Data;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use std::rc::Rc;

/// Calls one of these functions.
pub(super) fn call<'a>(
    function: Function,
    arguments: &[Data<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    let data = match (function, arguments) {
        (Function::Fail, [Data::String(text)]) => {
            // What failed is this text, and not the expression.
            return Err(EvaluationError::told(text.as_str()));
        }
        (Function::Distinct, [Data::List(elements)]) => distinct(elements, budget)?,
        (Function::FromBase64, [Data::String(text)]) => return Ok(from_base64(text.as_str())),
        (Function::FromJson, [Data::String(text)]) => return from_json(text.as_str(), budget),
        (Function::IsTimestamp, [data]) => Data::Bool(match data {
            Data::Time(_) => true,
            Data::String(text) => Time::parse(text.as_str()).is_some(),
            _ => false,
        }),
        (Function::Like, [Data::String(text), Data::String(pattern)]) => {
            Data::Bool(is_like(text.as_str(), pattern.as_str()))
        }
        (Function::Merge, [Data::Map(left), Data::Map(right)]) => {
            budget.spend_elements(left.len() + right.len())?;
            let mut merged = left.as_ref().clone();
            merged.extend(
                right
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone())),
            );
            Data::Map(Rc::new(merged))
        }
        (Function::Partition, [Data::List(elements), size]) => {
            return partition(elements, size, budget);
        }
        (Function::Range, [count]) => return range(count, budget),
        (Function::Range, [from, to]) => return steps(from, to, &Data::Int(1), budget),
        (Function::Range, [from, to, step]) => return steps(from, to, step, budget),
        (Function::Text, [text @ Data::String(_)]) => text.clone(),
        (Function::ToBase64, [Data::String(text)]) => {
            let bytes = text.as_str().as_bytes();
            // Four digits for every three bytes.
            budget.spend_bytes(bytes.len().div_ceil(3) * 4)?;
            Data::text(BASE64_STANDARD.encode(bytes))
        }
        (Function::Text | Function::ToJson, [data]) => {
            let text = json::to_json(data, budget)?.to_string();
            budget.spend_bytes(text.len())?;
            Data::text(text)
        }
        _ => return Ok(Err(mismatch(arguments))),
    };
    Ok(Ok(data))
}

/// The elements without those that stand before them already.
fn distinct<'a>(elements: &[Data<'a>], budget: &mut Budget) -> Result<Data<'a>, EvaluationError> {
    let mut kept: Vec<Data<'a>> = Vec::new();
    'elements: for element in elements {
        for before in &kept {
            if equal(before, element, budget)? {
                continue 'elements;
            }
        }
        budget.spend(1)?;
        kept.push(element.clone());
    }
    Ok(Data::list(kept))
}

fn from_json<'a>(text: &str, budget: &mut Budget) -> Outcome<'a> {
    budget.spend_elements(text.len() / 8)?;
    Ok(match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) => Ok(json::owned(&value)),
        Err(error) => Err(format!("the text is no JSON: {error}")),
    })
}

fn from_base64<'a>(text: &str) -> Result<Data<'a>, Reason> {
    let Ok(bytes) = BASE64_STANDARD.decode(text) else {
        let shown: String = text.chars().take(40).collect();
        return Err(format!("{shown:?} is no Base64, as \"Zm9v\" is one"));
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Data::text(text)),
        Err(_) => Err("the bytes of the Base64 are no text".to_owned()),
    }
}

/// Lists of so many elements each; the last has what is left.
fn partition<'a>(elements: &[Data<'a>], size: &Data<'a>, budget: &mut Budget) -> Outcome<'a> {
    let size = int(size).and_then(|int| usize::try_from(int).ok());
    let Some(size) = size.filter(|size| *size > 0) else {
        let reason: Reason = "takes how many elements each part has, at least 1".to_owned();
        return Ok(Err(reason));
    };
    budget.spend_elements(elements.len() + elements.len().div_ceil(size))?;
    let parts = elements.chunks(size).map(|part| Data::list(part.to_vec()));
    Ok(Ok(Data::list(parts.collect())))
}

/// A whole number, however it is written.
fn int(data: &Data<'_>) -> Option<i64> {
    match data {
        Data::Int(int) => Some(*int),
        Data::Double(double) => super::value::whole(*double),
        _ => None,
    }
}

/// The whole numbers from one by a step, as long as they are before another.
fn steps<'a>(from: &Data<'a>, to: &Data<'a>, step: &Data<'a>, budget: &mut Budget) -> Outcome<'a> {
    let (Some(from), Some(to), Some(step)) = (int(from), int(to), int(step)) else {
        return Ok(Err("takes whole numbers".to_owned()));
    };
    if step == 0 {
        return Ok(Err("takes a step that is not 0".to_owned()));
    }
    let mut numbers = Vec::new();
    let mut next = Some(from);
    while let Some(number) = next
        && (if step > 0 { number < to } else { number > to })
    {
        budget.spend(1)?;
        numbers.push(Data::Int(number));
        // Beyond 64 bits nothing is before anything.
        next = number.checked_add(step);
    }
    Ok(Ok(Data::list(numbers)))
}

/// The whole numbers from 0, so many.
fn range<'a>(count: &Data<'a>, budget: &mut Budget) -> Outcome<'a> {
    let Some(count) = int(count).and_then(|int| usize::try_from(int).ok()) else {
        let reason: Reason = "takes how many numbers there are to be, from 0".to_owned();
        return Ok(Err(reason));
    };
    budget.spend_elements(count)?;
    Ok(Ok(Data::list((0..count as i64).map(Data::Int).collect())))
}

/// Whether a text is as a pattern says, in which `*` stands for any characters, and `\*` and `\\` for themselves.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = vec![String::new()];
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        let char = match char {
            '*' => {
                parts.push(String::new());
                continue;
            }
            '\\' => chars.next().unwrap_or('\\'),
            char => char,
        };
        if let Some(part) = parts.last_mut() {
            part.push(char);
        }
    }
    let [first, between @ .., last] = parts.as_slice() else {
        return parts.iter().all(|part| part == text);
    };
    let Some(rest) = text.strip_prefix(first.as_str()) else {
        return false;
    };
    let Some(mut rest) = rest.strip_suffix(last.as_str()) else {
        return false;
    };
    // What comes first leaves the most to what follows.
    for part in between {
        match rest.find(part.as_str()) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}
