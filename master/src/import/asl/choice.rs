//! The rules of a Choice, as conditions. Operands of another type than an operator asks for make it false, not an
//! error, as in the language that is imported; so conditions ask for the type first where comparing would fail.

use super::cel::Cel;
use super::template::{self, Scope};
use crate::definition::Span;
use crate::import::problem::ImportProblem;
use crate::import::read::Reader;
use crate::import::tree::{Tree, Value};

/// What an operator compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Compared {
    Text,
    Number,
    Boolean,
    Timestamp,
}

/// What an operator asks of its variable alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Test {
    Null,
    Present,
    Number,
    Text,
    Boolean,
    Timestamp,
}

const TESTS: &[(&str, Test)] = &[
    ("IsNull", Test::Null),
    ("IsPresent", Test::Present),
    ("IsNumeric", Test::Number),
    ("IsString", Test::Text),
    ("IsBoolean", Test::Boolean),
    ("IsTimestamp", Test::Timestamp),
];

const COMPARED: &[(&str, Compared)] = &[
    ("String", Compared::Text),
    ("Numeric", Compared::Number),
    ("Boolean", Compared::Boolean),
    ("Timestamp", Compared::Timestamp),
];

const RELATIONS: &[(&str, &str)] = &[
    ("Equals", "=="),
    ("LessThan", "<"),
    ("GreaterThan", ">"),
    ("LessThanEquals", "<="),
    ("GreaterThanEquals", ">="),
];

/// Deepest nesting of And, Or and Not.
const DEPTH_MAX: usize = 16;

/// The condition of a rule. `top` says whether it is one of the Choice's own, which say where they lead.
pub(super) fn condition(reader: &mut Reader, rule: &Tree, scope: &Scope<'_>) -> Option<Cel> {
    nested(reader, rule, scope, 0)
}

fn nested(reader: &mut Reader, rule: &Tree, scope: &Scope<'_>, depth: usize) -> Option<Cel> {
    let fields = reader.map(rule, "a choice rule")?;
    if depth == DEPTH_MAX {
        let what = format!("a rule nested more than {DEPTH_MAX} deep");
        reader.not_covered(rule.span, what, "part it into several Choice states");
        return None;
    }
    let mut operators = Vec::new();
    let mut variable = None;
    for (key, value) in fields.entries {
        match key.value.as_str() {
            "Comment" => {}
            "Variable" => variable = Some(value),
            "Next" if depth == 0 => {}
            "Next" => {
                let kind =
                    ImportProblem::Contradiction("a rule within a rule leads nowhere".to_owned());
                reader.add(key.span, kind, "put `Next` into the outermost rule");
                return None;
            }
            "Condition" | "Assign" | "Output" => {
                let what = format!("`{}` in a choice rule", key.value);
                reader.not_covered(key.span, what, super::machine::JSONATA_HELP);
                return None;
            }
            _ => operators.push((key, value)),
        }
    }
    let (key, value) = match operators.as_slice() {
        [(key, value)] => (key, *value),
        [] => {
            let kind = ImportProblem::Contradiction("this rule compares nothing".to_owned());
            reader.add(
                rule.span,
                kind,
                "add And, Or, Not, or an operator such as StringEquals beside Variable",
            );
            return None;
        }
        [_, (second, _), ..] => {
            let kind = ImportProblem::Contradiction("this rule has two operators".to_owned());
            reader.add(second.span, kind, "join two rules with And");
            return None;
        }
    };
    match key.value.as_str() {
        "Not" => Some(nested(reader, value, scope, depth + 1)?.negated()),
        "And" | "Or" => {
            let rules = reader.list(value, &format!("`{}`", key.value))?;
            let rules: Vec<Option<Cel>> = rules
                .iter()
                .map(|rule| nested(reader, rule, scope, depth + 1))
                .collect();
            let rules: Option<Vec<Cel>> = rules.into_iter().collect();
            let mut rules = rules?.into_iter();
            let Some(first) = rules.next() else {
                reader.shape(
                    value,
                    format!("`{}`", key.value),
                    "a list of at least one rule",
                );
                return None;
            };
            let mut all = first;
            for rule in rules {
                all = if key.value == "And" {
                    all.and(&rule)
                } else {
                    all.or(&rule)
                };
                if all.is_long() {
                    template::too_long(reader, value.span);
                    return None;
                }
            }
            Some(all)
        }
        operator => {
            let Some(variable) = variable else {
                let kind = ImportProblem::Contradiction("this rule has no `Variable`".to_owned());
                reader.add(
                    key.span,
                    kind,
                    "add the path of what is compared, as in \"Variable\": \"$.size\"",
                );
                return None;
            };
            comparison(reader, operator, key.span, variable, value, scope)
        }
    }
}

fn comparison(
    reader: &mut Reader,
    operator: &str,
    span: Span,
    variable: &Tree,
    value: &Tree,
    scope: &Scope<'_>,
) -> Option<Cel> {
    if let Some((_, test)) = TESTS.iter().find(|(name, _)| *name == operator) {
        let Value::Bool(wanted) = value.value else {
            reader.shape(value, format!("`{operator}`"), "true or false");
            return None;
        };
        let holds = tested(reader, *test, variable, scope)?;
        return Some(if wanted { holds } else { holds.negated() });
    }
    let left = operand(reader, variable, "`Variable`", scope)?;
    if operator == "StringMatches" {
        let Value::Text(_) = &value.value else {
            reader.shape(value, "`StringMatches`", "a text");
            return None;
        };
        let pattern = Cel::literal(&value.to_json());
        return Some(
            left.is_a("string")
                .and(&Cel::call("like", &[&left, &pattern])),
        );
    }
    let (plain, by_path) = match operator.strip_suffix("Path") {
        Some(plain) => (plain, true),
        None => (operator, false),
    };
    let split = COMPARED.iter().find_map(|(name, compared)| {
        let relation = plain.strip_prefix(name)?;
        let (_, sign) = RELATIONS.iter().find(|(name, _)| *name == relation)?;
        let known = *compared != Compared::Boolean || *sign == "==";
        known.then_some((*compared, *sign))
    });
    let Some((compared, sign)) = split else {
        unknown(reader, operator, span);
        return None;
    };
    if by_path {
        let right = operand(reader, value, &format!("`{operator}`"), scope)?;
        return Some(between(compared, sign, &left, &right));
    }
    let fits = match (&value.value, compared) {
        (Value::Text(text), Compared::Timestamp) => super::timestamp::is_timestamp(text),
        (Value::Text(_), Compared::Text)
        | (Value::Number(_), Compared::Number)
        | (Value::Bool(_), Compared::Boolean) => true,
        _ => false,
    };
    if !fits {
        let expected = match compared {
            Compared::Text => "a text",
            Compared::Number => "a number",
            Compared::Boolean => "true or false",
            Compared::Timestamp => "a time as in 2016-03-14T01:59:00Z",
        };
        reader.shape(value, format!("`{operator}`"), expected);
        return None;
    }
    let right = Cel::literal(&value.to_json());
    Some(with_literal(compared, sign, &left, &right))
}

/// What stands at a path. Where its type is known an expression that compares it with another is refused, and an operand of
/// another type only makes a rule false; so `dyn` hides it.
fn operand(reader: &mut Reader, tree: &Tree, what: &str, scope: &Scope<'_>) -> Option<Cel> {
    let hides = template::path(reader, tree, what)?.is_of_one_type();
    let at = template::at_path(reader, tree, what, scope)?;
    Some(if hides { Cel::call("dyn", &[&at]) } else { at })
}

/// What comparing with a literal says. Values of different types are never equal, so that equality need not ask.
fn with_literal(compared: Compared, sign: &str, left: &Cel, right: &Cel) -> Cel {
    match compared {
        Compared::Timestamp => is_time(left).and(&time(left).compared(sign, &time(right))),
        _ if sign == "==" => left.compared(sign, right),
        _ => of_type(compared, left).and(&left.compared(sign, right)),
    }
}

fn between(compared: Compared, sign: &str, left: &Cel, right: &Cel) -> Cel {
    match compared {
        Compared::Timestamp => {
            let both = is_time(left).and(&is_time(right));
            both.and(&time(left).compared(sign, &time(right)))
        }
        // What is equal to a value of the type is of the type.
        _ if sign == "==" => of_type(compared, left).and(&left.compared(sign, right)),
        _ => of_type(compared, left)
            .and(&of_type(compared, right))
            .and(&left.compared(sign, right)),
    }
}

fn time(of: &Cel) -> Cel {
    Cel::call("timestamp", &[of])
}

fn is_time(of: &Cel) -> Cel {
    Cel::call("isTimestamp", &[of])
}

fn of_type(compared: Compared, of: &Cel) -> Cel {
    match compared {
        Compared::Text => of.is_a("string"),
        Compared::Number => of.is_number(),
        Compared::Boolean => of.is_a("bool"),
        Compared::Timestamp => is_time(of),
    }
}

fn tested(reader: &mut Reader, test: Test, variable: &Tree, scope: &Scope<'_>) -> Option<Cel> {
    if test == Test::Present {
        let path = template::path(reader, variable, "`Variable`")?;
        return match scope.present(&path) {
            Ok(cel) => Some(cel),
            Err(why) => {
                let text = reader.text(variable, "`Variable`")?;
                template::refuse(reader, variable.span, text, &why);
                None
            }
        };
    }
    let of = operand(reader, variable, "`Variable`", scope)?;
    Some(match test {
        Test::Null | Test::Present => of.compared("==", &Cel::literal(&serde_json::Value::Null)),
        Test::Number => of.is_number(),
        Test::Text => of.is_a("string"),
        Test::Boolean => of.is_a("bool"),
        Test::Timestamp => is_time(&of),
    })
}

fn unknown(reader: &mut Reader, operator: &str, span: Span) {
    let tests = TESTS.iter().map(|(name, _)| (*name).to_owned());
    let relations = COMPARED.iter().flat_map(|(of, compared)| {
        let relations = RELATIONS
            .iter()
            .filter(|(_, sign)| *compared != Compared::Boolean || *sign == "==");
        relations.flat_map(move |(relation, _)| {
            [format!("{of}{relation}"), format!("{of}{relation}Path")]
        })
    });
    let others = ["And", "Or", "Not", "StringMatches"].map(str::to_owned);
    let all: Vec<String> = tests.chain(relations).chain(others).collect();
    let names: Vec<&str> = all.iter().map(String::as_str).collect();
    let help = reader.instead(operator, &names);
    let kind = ImportProblem::Unknown {
        what: "operator",
        name: operator.to_owned(),
    };
    reader.add(span, kind, help);
}
