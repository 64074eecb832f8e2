//! The functions of expressions.

use super::EvaluationError;
use super::arithmetic::Reason;
use super::documents;
use super::evaluate::Budget;
use super::kinds::Kinds;
use super::time::Time;
use super::value::{Data, Kind};
use crate::nearest::{alike, nearest};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Function {
    Bool,
    Contains,
    Distinct,
    Double,
    Dyn,
    EndsWith,
    Fail,
    FromBase64,
    FromJson,
    IndexOf,
    Int,
    IsTimestamp,
    Join,
    Like,
    LowerAscii,
    Merge,
    Partition,
    Range,
    Replace,
    Size,
    Split,
    StartsWith,
    String,
    Substring,
    Text,
    Timestamp,
    ToBase64,
    ToJson,
    Trim,
    Type,
    UpperAscii,
}

/// How a function is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Call {
    /// `f(x)`
    Alone,
    /// `x.f()`
    On,
    Either,
}

#[derive(Debug)]
pub(super) struct Signature {
    pub(super) name: &'static str,
    pub(super) function: Function,
    call: Call,
    /// With what it is called on.
    pub(super) takes: &'static [Kinds],
    /// How many of these it needs.
    needs: usize,
    pub(super) gives: Kinds,
}

const fn on(
    name: &'static str,
    function: Function,
    takes: &'static [Kinds],
    gives: Kinds,
) -> Signature {
    Signature {
        name,
        function,
        call: Call::On,
        takes,
        needs: takes.len(),
        gives,
    }
}

const fn alone(
    name: &'static str,
    function: Function,
    takes: &'static [Kinds],
    gives: Kinds,
) -> Signature {
    Signature {
        call: Call::Alone,
        ..on(name, function, takes, gives)
    }
}

const TEXT: Kinds = Kinds::STRING;
const SIZED: Kinds = TEXT.or(Kinds::LIST).or(Kinds::MAP);
const PRINTED: Kinds = TEXT.or(Kinds::NUMBER).or(Kinds::BOOL).or(Kinds::TIME);

/// All of them, by name.
pub(super) const FUNCTIONS: [Signature; 31] = [
    alone("bool", Function::Bool, &[TEXT.or(Kinds::BOOL)], Kinds::BOOL),
    on("contains", Function::Contains, &[TEXT, TEXT], Kinds::BOOL),
    on("distinct", Function::Distinct, &[Kinds::LIST], Kinds::LIST),
    alone(
        "double",
        Function::Double,
        &[TEXT.or(Kinds::NUMBER)],
        Kinds::DOUBLE,
    ),
    alone("dyn", Function::Dyn, &[Kinds::ANY], Kinds::ANY),
    on("endsWith", Function::EndsWith, &[TEXT, TEXT], Kinds::BOOL),
    alone("fail", Function::Fail, &[TEXT], Kinds::ANY),
    alone("fromBase64", Function::FromBase64, &[TEXT], TEXT),
    alone("fromJson", Function::FromJson, &[TEXT], Kinds::ANY),
    on("indexOf", Function::IndexOf, &[TEXT, TEXT], Kinds::INT),
    alone("int", Function::Int, &[TEXT.or(Kinds::NUMBER)], Kinds::INT),
    alone(
        "isTimestamp",
        Function::IsTimestamp,
        &[Kinds::ANY],
        Kinds::BOOL,
    ),
    Signature {
        needs: 1,
        ..on("join", Function::Join, &[Kinds::LIST, TEXT], TEXT)
    },
    alone("like", Function::Like, &[TEXT, TEXT], Kinds::BOOL),
    on("lowerAscii", Function::LowerAscii, &[TEXT], TEXT),
    alone(
        "merge",
        Function::Merge,
        &[Kinds::MAP, Kinds::MAP],
        Kinds::MAP,
    ),
    on(
        "partition",
        Function::Partition,
        &[Kinds::LIST, Kinds::NUMBER],
        Kinds::LIST,
    ),
    Signature {
        needs: 1,
        ..alone(
            "range",
            Function::Range,
            &[Kinds::NUMBER, Kinds::NUMBER, Kinds::NUMBER],
            Kinds::LIST,
        )
    },
    on("replace", Function::Replace, &[TEXT, TEXT, TEXT], TEXT),
    Signature {
        call: Call::Either,
        ..on("size", Function::Size, &[SIZED], Kinds::INT)
    },
    on("split", Function::Split, &[TEXT, TEXT], Kinds::LIST),
    on(
        "startsWith",
        Function::StartsWith,
        &[TEXT, TEXT],
        Kinds::BOOL,
    ),
    alone("string", Function::String, &[PRINTED], TEXT),
    Signature {
        needs: 2,
        ..on(
            "substring",
            Function::Substring,
            &[TEXT, Kinds::NUMBER, Kinds::NUMBER],
            TEXT,
        )
    },
    alone("text", Function::Text, &[Kinds::ANY], TEXT),
    alone(
        "timestamp",
        Function::Timestamp,
        &[TEXT.or(Kinds::TIME)],
        Kinds::TIME,
    ),
    alone("toBase64", Function::ToBase64, &[TEXT], TEXT),
    alone("toJson", Function::ToJson, &[Kinds::ANY], TEXT),
    on("trim", Function::Trim, &[TEXT], TEXT),
    alone("type", Function::Type, &[Kinds::ANY], Kinds::TYPE),
    on("upperAscii", Function::UpperAscii, &[TEXT], TEXT),
];

/// Every function that there is, for a message.
fn known_functions() -> Vec<&'static str> {
    let mut names: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
    names.extend(["has", "all", "exists", "exists_one", "map", "filter"]);
    names
}

/// What other languages call functions that there are.
const FUNCTION_SYNONYMS: [(&str, &str); 16] = [
    ("any", "exists"),
    ("concat", "join"),
    ("every", "all"),
    ("float", "double"),
    ("includes", "contains"),
    ("len", "size"),
    ("length", "size"),
    ("lower", "lowerAscii"),
    ("parseInt", "int"),
    ("some", "exists"),
    ("str", "string"),
    ("strip", "trim"),
    ("toLowerCase", "lowerAscii"),
    ("toUpperCase", "upperAscii"),
    ("typeof", "type"),
    ("upper", "upperAscii"),
];

/// Whether there is a function of that name, however it is called; macros are none.
pub(super) fn is_function(name: &str) -> bool {
    FUNCTIONS.iter().any(|known| known.name == name)
}

/// The function that was probably meant by the name of none.
fn function_meant(name: &str) -> Option<&'static str> {
    let synonym = |name: &str| {
        let found = FUNCTION_SYNONYMS.iter().find(|(word, _)| *word == name);
        found.map(|(_, function)| *function)
    };
    let written_otherwise = || alike(name, FUNCTION_SYNONYMS.iter().map(|(word, _)| *word));
    synonym(name)
        .or_else(|| nearest(name, known_functions()))
        .or_else(|| written_otherwise().and_then(synonym))
}

/// The function of that name that takes so many, with what it is called on; else what is wrong, and what would be right.
pub(super) fn find(
    name: &str,
    on: bool,
    given: usize,
) -> Result<&'static Signature, (String, String)> {
    let Some(signature) = FUNCTIONS.iter().find(|known| known.name == name) else {
        let help = match function_meant(name) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", known_functions().join(", ")),
        };
        return Err((format!("there is no function `{name}`"), help));
    };
    let how = match signature.call {
        Call::Alone if signature.takes.len() == 3 => format!("{name}(x, y, z)"),
        Call::Alone if signature.takes.len() == 2 => format!("{name}(x, y)"),
        Call::Alone => format!("{name}(x)"),
        Call::On | Call::Either if signature.takes.len() == 1 => format!("x.{name}()"),
        Call::On | Call::Either if signature.takes.len() == 2 => format!("x.{name}(y)"),
        Call::On | Call::Either => format!("x.{name}(y, z)"),
    };
    let called_right = match signature.call {
        Call::Alone => !on,
        Call::On => on,
        Call::Either => true,
    };
    if called_right && (signature.needs..=signature.takes.len()).contains(&given) {
        return Ok(signature);
    }
    let message = if called_right {
        format!("`{name}` is called with more or less than it takes")
    } else {
        format!("`{name}` is not called so")
    };
    Err((message, format!("write {how}")))
}

pub(super) type Outcome<'a> = Result<Result<Data<'a>, Reason>, EvaluationError>;

/// Calls a function with as many arguments as it takes.
pub(super) fn call<'a>(
    function: Function,
    arguments: &[Data<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    for argument in arguments {
        if let Data::String(text) = argument {
            budget.spend_bytes(text.as_str().len())?;
        }
    }
    let data = match (function, arguments) {
        (Function::Dyn, [data]) => data.clone(),
        (
            Function::Distinct
            | Function::Fail
            | Function::FromBase64
            | Function::FromJson
            | Function::IsTimestamp
            | Function::Like
            | Function::Merge
            | Function::Partition
            | Function::Range
            | Function::Text
            | Function::ToBase64
            | Function::ToJson,
            _,
        ) => return documents::call(function, arguments, budget),
        (Function::Type, [data]) => Data::Type(data.kind()),
        (Function::Size, [Data::String(text)]) => Data::Int(text.as_str().chars().count() as i64),
        (Function::Size, [Data::List(elements)]) => Data::Int(elements.len() as i64),
        (Function::Size, [Data::Map(entries)]) => Data::Int(entries.len() as i64),
        (Function::Timestamp, [Data::Time(time)]) => Data::Time(*time),
        (Function::Join, [Data::List(elements), rest @ ..]) => {
            return join(elements, rest, budget);
        }
        (Function::Bool | Function::Int | Function::Double | Function::String, [data])
            if !matches!((function, data), (Function::String, Data::String(_))) =>
        {
            return Ok(convert(function, data));
        }
        (_, [Data::String(text), rest @ ..]) => {
            return match texts(function, text.as_str(), rest, budget)? {
                Some(Ok(None)) => Ok(Ok(arguments[0].clone())),
                Some(Ok(Some(data))) => Ok(Ok(data)),
                Some(Err(reason)) => Ok(Err(reason)),
                None => Ok(Err(mismatch(arguments))),
            };
        }
        _ => return Ok(Err(mismatch(arguments))),
    };
    Ok(Ok(data))
}

pub(super) fn mismatch(arguments: &[Data<'_>]) -> Reason {
    let kinds: Vec<&str> = arguments
        .iter()
        .map(|argument| argument.kind().with_article())
        .collect();
    format!("does not go with {}", kinds.join(" and "))
}

fn convert<'a>(function: Function, data: &Data<'a>) -> Result<Data<'a>, Reason> {
    let no = |what: &str, text: &str| {
        let shown: String = text.chars().take(40).collect();
        Err(format!("{shown:?} is no {what}"))
    };
    Ok(match (function, data) {
        (Function::Bool, Data::Bool(_))
        | (Function::Int, Data::Int(_))
        | (Function::Double, Data::Double(_)) => data.clone(),
        (Function::Bool, Data::String(text)) => match text.as_str() {
            "true" | "True" | "TRUE" | "t" | "1" => Data::Bool(true),
            "false" | "False" | "FALSE" | "f" | "0" => Data::Bool(false),
            other => return no("boolean", other),
        },
        (Function::Int, Data::Double(double)) => match super::value::whole(double.trunc()) {
            Some(int) => Data::Int(int),
            None => return Err(format!("{double:e} is beyond the whole numbers of 64 bits")),
        },
        (Function::Int, Data::String(text)) => match text.as_str().parse() {
            Ok(int) => Data::Int(int),
            Err(_) => return no("whole number", text.as_str()),
        },
        (Function::Double, Data::Int(int)) => Data::Double(*int as f64),
        (Function::Double, Data::String(text)) => match text.as_str().parse() {
            Ok(double) => Data::Double(double),
            Err(_) => return no("number", text.as_str()),
        },
        (Function::String, Data::Int(int)) => Data::text(int.to_string()),
        (Function::String, Data::Double(double)) => Data::text(double.to_string()),
        (Function::String, Data::Bool(boolean)) => Data::text(boolean.to_string()),
        (Function::String, Data::Time(time)) => Data::text(time.to_string()),
        _ => return Err(mismatch(std::slice::from_ref(data))),
    })
}

/// `Some(Ok(None))` is the text itself, and `None` that the function does not take these.
fn texts<'a>(
    function: Function,
    text: &str,
    rest: &[Data<'a>],
    budget: &mut Budget,
) -> Result<Option<Result<Option<Data<'a>>, Reason>>, EvaluationError> {
    let data = match (function, rest) {
        (Function::String, []) => return Ok(Some(Ok(None))),
        (Function::Timestamp, []) => match Time::parse(text) {
            Some(time) => Data::Time(time),
            None => {
                let shown: String = text.chars().take(40).collect();
                let reason = format!("{shown:?} is no timestamp, as 2024-02-29T12:00:00Z is one");
                return Ok(Some(Err(reason)));
            }
        },
        (Function::LowerAscii, []) => Data::text(text.to_ascii_lowercase()),
        (Function::UpperAscii, []) => Data::text(text.to_ascii_uppercase()),
        (Function::Trim, []) => Data::text(text.trim()),
        (Function::Contains, [Data::String(part)]) => Data::Bool(text.contains(part.as_str())),
        (Function::StartsWith, [Data::String(part)]) => Data::Bool(text.starts_with(part.as_str())),
        (Function::EndsWith, [Data::String(part)]) => Data::Bool(text.ends_with(part.as_str())),
        (Function::IndexOf, [Data::String(part)]) => {
            let found = text.find(part.as_str());
            Data::Int(found.map_or(-1, |at| text[..at].chars().count() as i64))
        }
        (Function::Split, [Data::String(separator)]) => {
            let separator = separator.as_str();
            let parts: Vec<Data<'a>> = if separator.is_empty() {
                budget.spend_elements(text.len())?;
                text.chars()
                    .map(|part| Data::text(part.to_string()))
                    .collect()
            } else {
                budget.spend_elements(text.matches(separator).count())?;
                text.split(separator).map(Data::text).collect()
            };
            Data::list(parts)
        }
        (Function::Replace, [Data::String(from), Data::String(to)]) => {
            let (from, to) = (from.as_str(), to.as_str());
            budget.spend_bytes(text.matches(from).count().saturating_mul(to.len()))?;
            Data::text(text.replace(from, to))
        }
        (Function::Substring, [from, rest @ ..]) => {
            let to = rest.first();
            return Ok(Some(substring(text, from, to).map(Some)));
        }
        _ => return Ok(None),
    };
    Ok(Some(Ok(Some(data))))
}

fn substring<'a>(text: &str, from: &Data<'a>, to: Option<&Data<'a>>) -> Result<Data<'a>, Reason> {
    let size = text.chars().count();
    let place = |data: &Data<'_>| {
        let int = match data {
            Data::Int(int) => Some(*int),
            Data::Double(double) => super::value::whole(*double),
            _ => None,
        };
        int.and_then(|int| usize::try_from(int).ok())
            .filter(|place| *place <= size)
            .ok_or_else(|| format!("takes from a text of {size} characters what it has not"))
    };
    let from = place(from)?;
    let to = to.map_or(Ok(size), place)?;
    if from > to {
        return Err(format!(
            "takes a part from {from} to {to}, which is before it"
        ));
    }
    let part: String = text.chars().skip(from).take(to - from).collect();
    Ok(Data::text(part))
}

fn join<'a>(elements: &[Data<'a>], rest: &[Data<'a>], budget: &mut Budget) -> Outcome<'a> {
    let separator = match rest {
        [] => "",
        [Data::String(separator)] => separator.as_str(),
        _ => return Ok(Err(mismatch(rest))),
    };
    let mut joined = String::new();
    for (place, element) in elements.iter().enumerate() {
        let Data::String(text) = element else {
            let kind = element.kind().with_article();
            let reason = match element.kind() {
                Kind::Int | Kind::Double | Kind::Bool => "; string(x) makes a text of it",
                _ => "",
            };
            return Ok(Err(format!(
                "joins texts, and there is {kind} among them{reason}"
            )));
        };
        budget.spend_bytes(text.as_str().len() + separator.len())?;
        if place > 0 {
            joined.push_str(separator);
        }
        joined.push_str(text.as_str());
    }
    Ok(Ok(Data::text(joined)))
}
