//! Intrinsic functions (`States.Format('…', $.name)`), as far as expressions have their like.

use super::cel::{Binding, Cel};
use super::path::Path;
use super::template::Scope;

/// Deepest nesting of calls; the language that is imported allows ten.
const DEPTH_MAX: usize = 10;
/// Most numbers that a range may have, as in the language that is imported.
const RANGE_MAX: i64 = 1000;

/// Functions that have no like here, and why.
const REFUSED: &[(&str, &str)] = &[
    ("Hash", "there are no hashes"),
    ("MathRandom", "an expression gives the same each time"),
    ("UUID", "an expression gives the same each time"),
];

/// One argument of a call.
enum Argument {
    /// A text as it is written between its quotes.
    Text(String),
    /// Anything else.
    Cel(Cel),
    /// A whole number that stands there.
    Whole(i64),
}

impl Argument {
    fn cel(&self) -> Result<Cel, String> {
        Ok(match self {
            Self::Text(raw) => Cel::text_literal(&unescaped(raw)),
            Self::Cel(cel) => cel.clone(),
            Self::Whole(number) => Cel::whole(*number),
        })
    }
}

/// The expression of a call; what has no like is said in a sentence.
pub(super) fn parse(text: &str, scope: &Scope<'_>) -> Result<Cel, String> {
    let mut parser = Parser { rest: text, scope };
    let cel = parser.call(0)?;
    parser.skip_space();
    if parser.rest.is_empty() {
        Ok(cel)
    } else {
        Err(format!("`{}` follows the call", parser.rest))
    }
}

struct Parser<'t, 's> {
    rest: &'t str,
    scope: &'s Scope<'s>,
}

impl Parser<'_, '_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn call(&mut self, depth: usize) -> Result<Cel, String> {
        if depth == DEPTH_MAX {
            return Err(format!("calls are nested more than {DEPTH_MAX} deep"));
        }
        self.skip_space();
        let Some((name, rest)) = self.rest.split_once('(') else {
            return Err("a call is written as in States.Format('…', $.name)".to_owned());
        };
        let name = name.trim_end();
        self.rest = rest;
        let mut arguments = Vec::new();
        self.skip_space();
        if let Some(rest) = self.rest.strip_prefix(')') {
            self.rest = rest;
        } else {
            loop {
                arguments.push(self.argument(depth)?);
                self.skip_space();
                if let Some(rest) = self.rest.strip_prefix(',') {
                    self.rest = rest;
                } else if let Some(rest) = self.rest.strip_prefix(')') {
                    self.rest = rest;
                    break;
                } else {
                    return Err("arguments are separated by commas and end with `)`".to_owned());
                }
            }
        }
        apply(name, &arguments)
    }

    fn argument(&mut self, depth: usize) -> Result<Argument, String> {
        self.skip_space();
        if let Some(rest) = self.rest.strip_prefix('\'') {
            let end = end_of_text(rest).ok_or_else(|| "a quote is not closed".to_owned())?;
            self.rest = &rest[end + 1..];
            return Ok(Argument::Text(rest[..end].to_owned()));
        }
        if self.rest.starts_with("States.") {
            return Ok(Argument::Cel(self.call(depth + 1)?));
        }
        let end = if self.rest.starts_with('$') {
            end_of_path(self.rest)
        } else {
            self.rest.find([',', ')']).unwrap_or(self.rest.len())
        };
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        let word = word.trim_end();
        if word.starts_with('$') {
            return Ok(Argument::Cel(self.scope.follow(&Path::parse(word)?)?));
        }
        if let Ok(whole) = word.parse::<i64>() {
            return Ok(Argument::Whole(whole));
        }
        match serde_json::from_str(word) {
            Ok(
                value @ (serde_json::Value::Null
                | serde_json::Value::Bool(_)
                | serde_json::Value::Number(_)),
            ) => Ok(Argument::Cel(Cel::literal(&value))),
            _ => Err(format!(
                "`{word}` is no argument: texts stand in single quotes"
            )),
        }
    }
}

/// Where a text ends whose first quote is behind us.
fn end_of_text(text: &str) -> Option<usize> {
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => {
                chars.next();
            }
            '\'' => return Some(at),
            _ => {}
        }
    }
    None
}

/// Where a path ends: at a comma or closing parenthesis that no bracket holds.
fn end_of_path(text: &str) -> usize {
    let mut quote = None;
    let mut depth = 0_usize;
    for (at, char) in text.char_indices() {
        match (quote, char) {
            (Some(open), _) if char == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') if depth > 0 => quote = Some(char),
            (None, '[') => depth += 1,
            (None, ']') => depth = depth.saturating_sub(1),
            (None, ',' | ')') if depth == 0 => return at,
            (None, _) => {}
        }
    }
    text.len()
}

fn unescaped(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(char) = chars.next() {
        if char == '\\' {
            text.extend(chars.next());
        } else {
            text.push(char);
        }
    }
    text
}

fn apply(name: &str, arguments: &[Argument]) -> Result<Cel, String> {
    let short = name
        .strip_prefix("States.")
        .ok_or_else(|| format!("`{name}` is no intrinsic function"))?;
    let known = REFUSED.iter().find(|(refused, _)| *refused == short);
    if let Some((_, why)) = known {
        return Err(format!("{name} has no like here: {why}"));
    }
    let cels = arguments
        .iter()
        .map(Argument::cel)
        .collect::<Result<Vec<_>, _>>()?;
    match (short, cels.as_slice()) {
        ("Format", [_, values @ ..]) => match &arguments[0] {
            Argument::Text(raw) => format(raw, values),
            Argument::Cel(_) | Argument::Whole(_) => {
                Err("the template of States.Format stands there as a text".to_owned())
            }
        },
        ("StringToJson", [text]) => Ok(Cel::call("fromJson", &[text])),
        ("JsonToString", [value]) => Ok(Cel::call("toJson", &[value])),
        ("Array", items) => Ok(Cel::list(items)),
        ("ArrayContains", [list, item]) => Ok(item.compared("in", list)),
        ("ArrayGetItem", [list, index]) => Ok(list.at(index)),
        ("ArrayLength", [list]) => Ok(Cel::call("size", &[list])),
        ("ArrayUnique", [list]) => Ok(list.method("distinct", &[])),
        ("ArrayPartition", [list, size]) => Ok(list.method("partition", &[size])),
        ("ArrayRange", [first, last, step]) => range(arguments, first, last, step),
        ("Base64Encode", [text]) => Ok(Cel::call("toBase64", &[text])),
        ("Base64Decode", [text]) => Ok(Cel::call("fromBase64", &[text])),
        ("JsonMerge", [left, right, deep]) => {
            if deep.text() == "false" {
                Ok(Cel::call("merge", &[left, right]))
            } else {
                Err(
                    "States.JsonMerge merges here as with `false`: the first level alone"
                        .to_owned(),
                )
            }
        }
        ("MathAdd", [left, right]) => Ok(Cel::infix(Binding::Sum, left, "+", right)),
        ("StringSplit", [text, _]) => match &arguments[1] {
            Argument::Text(raw) => split(text, &unescaped(raw)),
            Argument::Cel(_) | Argument::Whole(_) => {
                Err("the separators of States.StringSplit stand there as a text".to_owned())
            }
        },
        _ => {
            const KNOWN: [&str; 15] = [
                "Format",
                "StringToJson",
                "JsonToString",
                "Array",
                "ArrayContains",
                "ArrayGetItem",
                "ArrayLength",
                "ArrayUnique",
                "ArrayPartition",
                "ArrayRange",
                "Base64Encode",
                "Base64Decode",
                "JsonMerge",
                "MathAdd",
                "StringSplit",
            ];
            if KNOWN.contains(&short) {
                return Err(format!(
                    "{name} takes another number of arguments than {}",
                    arguments.len()
                ));
            }
            Err(match crate::definition::nearest(short, KNOWN) {
                Some(near) => format!("there is no {name}; did you mean States.{near}?"),
                None => format!("there is no {name}"),
            })
        }
    }
}

/// A text with values in the places of its `{}`.
fn format(raw: &str, values: &[Cel]) -> Result<Cel, String> {
    let mut parts: Vec<Cel> = Vec::new();
    let mut text = String::new();
    let mut values = values.iter();
    let mut chars = raw.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => text.extend(chars.next()),
            '{' => {
                if chars.next() != Some('}') {
                    return Err("a `{` that no `}` follows is written `\\{`".to_owned());
                }
                let value = values
                    .next()
                    .ok_or_else(|| "it has more `{}` than values".to_owned())?;
                if !text.is_empty() || parts.is_empty() {
                    parts.push(Cel::text_literal(&text));
                    text.clear();
                }
                parts.push(Cel::call("text", &[value]));
            }
            char => text.push(char),
        }
    }
    if values.next().is_some() {
        return Err("it has more values than `{}`".to_owned());
    }
    if !text.is_empty() || parts.is_empty() {
        parts.push(Cel::text_literal(&text));
    }
    let mut parts = parts.into_iter();
    let mut sum = parts.next().unwrap_or_else(|| Cel::text_literal(""));
    for part in parts {
        sum = Cel::infix(Binding::Sum, &sum, "+", &part);
        if sum.is_long() {
            return Err("it is too long for an expression".to_owned());
        }
    }
    Ok(sum)
}

/// The parts of a text between characters each of which separates.
fn split(text: &Cel, separators: &str) -> Result<Cel, String> {
    let mut separators = separators.chars().map(|char| char.to_string());
    let Some(first) = separators.next() else {
        return Err("States.StringSplit has at least one separator".to_owned());
    };
    let first = Cel::text_literal(&first);
    let mut alike = text.clone();
    for other in separators {
        alike = alike.method("replace", &[&Cel::text_literal(&other), &first]);
        if alike.is_long() {
            return Err("it is too long for an expression".to_owned());
        }
    }
    Ok(alike.method("split", &[&first]))
}

/// The numbers from the first to the last, both among them. Where all stand there they are written out.
fn range(arguments: &[Argument], first: &Cel, last: &Cel, step: &Cel) -> Result<Cel, String> {
    let one = Cel::whole(1);
    let [
        Argument::Whole(first),
        Argument::Whole(last),
        Argument::Whole(step),
    ] = arguments
    else {
        let behind = match &arguments[2] {
            Argument::Whole(0) => return Err("the step of a range is not 0".to_owned()),
            Argument::Whole(1..) => Cel::infix(Binding::Sum, last, "+", &one),
            Argument::Whole(_) => Cel::infix(Binding::Sum, last, "-", &one),
            Argument::Text(_) | Argument::Cel(_) => {
                let on = step.compared(">", &Cel::whole(0));
                Cel::infix(Binding::Sum, last, "+", &on.choose(&one, &Cel::whole(-1)))
            }
        };
        return Ok(Cel::call("range", &[first, &behind, step]));
    };
    if *step == 0 {
        return Err("the step of a range is not 0".to_owned());
    }
    let mut items = Vec::new();
    let mut next = Some(*first);
    while let Some(number) = next {
        if (*step > 0 && number > *last) || (*step < 0 && number < *last) {
            break;
        }
        if items.len() as i64 == RANGE_MAX {
            return Err(format!("a range has at most {RANGE_MAX} numbers"));
        }
        items.push(Cel::whole(number));
        next = number.checked_add(*step);
    }
    Ok(Cel::list(&items))
}

#[cfg(test)]
mod tests {
    use super::super::cel::Reads;
    use super::*;

    fn scope() -> Scope<'static> {
        Scope {
            input: Cel::name("s", Reads::STATE),
            state: "S",
            item: None,
        }
    }

    #[test]
    fn functions_become_expressions() {
        for (call, cel) in [
            (
                "States.Format('Hello {}, \\{{}\\}', $.name, $.n)",
                "\"Hello \" + text(s.name) + \", {\" + text(s.n) + \"}\"",
            ),
            (
                "States.Format('{}{}', 1, true)",
                "\"\" + text(1) + text(true)",
            ),
            ("States.Format('it\\'s')", "\"it's\""),
            (
                "States.Array($.a, 'b', null, 1.5)",
                "[s.a, \"b\", null, 1.5]",
            ),
            ("States.ArrayContains($.a, $.b)", "s.b in s.a"),
            ("States.ArrayGetItem($.a, 0)", "s.a[0]"),
            ("States.ArrayLength(States.Array(1, 2))", "size([1, 2])"),
            ("States.ArrayRange(1, 7, 3)", "[1, 4, 7]"),
            ("States.ArrayRange(3, 1, -1)", "[3, 2, 1]"),
            ("States.MathAdd($.n, -1)", "s.n + -1"),
            ("States.StringToJson($.t)", "fromJson(s.t)"),
            (
                "States.JsonMerge($.a, $['b,)'], false)",
                "merge(s.a, s[\"b,)\"])",
            ),
            ("States.StringSplit($.t, ',')", "s.t.split(\",\")"),
            (
                "States.StringSplit($.t, '.+\\'')",
                "s.t.replace(\"+\", \".\").replace(\"'\", \".\").split(\".\")",
            ),
            ("States.ArrayPartition($.a, 4)", "s.a.partition(4)"),
            ("States.ArrayRange(1, $.n, 2)", "range(1, s.n + 1, 2)"),
            ("States.ArrayRange($.n, 1, -1)", "range(s.n, 1 - 1, -1)"),
            (
                "States.ArrayRange($.a, $.b, $.c)",
                "range(s.a, s.b + (s.c > 0 ? 1 : -1), s.c)",
            ),
            ("States.Base64Encode($.t)", "toBase64(s.t)"),
            ("States.Base64Decode('Zm9v')", "fromBase64(\"Zm9v\")"),
            ("States.ArrayUnique( $.a )", "s.a.distinct()"),
        ] {
            assert_eq!(parse(call, &scope()).unwrap().text(), cel, "{call}");
        }
    }

    #[test]
    fn what_has_no_like_is_refused_in_words() {
        for (call, why) in [
            ("States.UUID()", "States.UUID has no like"),
            ("States.Hash($.t, 'MD5')", "there are no hashes"),
            ("States.MathRandom(1, 2)", "the same each time"),
            ("States.ArrayRange($.a, $.b, 0)", "not 0"),
            ("States.ArrayPartition($.a)", "another number of arguments"),
            ("States.StringSplit($.t, '')", "at least one separator"),
            ("States.StringSplit($.t, $.u)", "stand there as a text"),
            ("States.Fromat('x')", "did you mean States.Format?"),
            ("States.Format('{}')", "more `{}` than values"),
            ("States.Format('x', 1)", "more values than"),
            ("States.Format('{x}', 1)", "no `}` follows"),
            ("States.Format($.t)", "stands there as a text"),
            ("States.Array(1", "separated by commas"),
            ("States.Array('a", "quote is not closed"),
            ("States.Array(a)", "texts stand in single quotes"),
            ("States.Array(1) x", "follows the call"),
            ("States.ArrayRange(0, 1000, 1)", "at most 1000"),
            ("States.ArrayRange(0, 5, 0)", "not 0"),
            ("States.MathAdd(1)", "another number of arguments"),
            ("States.JsonMerge($.a, $.b, true)", "the first level alone"),
            ("States.Array", "a call is written"),
        ] {
            let error = parse(call, &scope()).unwrap_err();
            assert!(error.contains(why), "{call}: {error}");
        }
        let deep = format!("{}1{}", "States.Array(".repeat(40), ")".repeat(40));
        assert!(parse(&deep, &scope()).unwrap_err().contains("nested"));
    }
}
