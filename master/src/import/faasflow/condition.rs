//! Conditions: Python expressions of comparisons, names, numbers and booleans. Anything else is refused.

use super::read::Reference;

/// Deepest nesting of brackets and `not`.
const DEPTH_MAX: usize = 64;

/// A condition.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Condition {
    Bool(bool),
    Number(f64),
    Name(Reference),
    Not(Box<Condition>),
    /// At least two.
    And(Vec<Condition>),
    /// At least two.
    Or(Vec<Condition>),
    /// `a < b == c`: each neighbouring pair holds.
    Compare(Box<Condition>, Vec<(Comparison, Condition)>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// In Python and in CEL.
    const fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::Unequal => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Self::Equal => a == b,
            Self::Unequal => a != b,
            Self::Less => a < b,
            Self::LessOrEqual => a <= b,
            Self::Greater => a > b,
            Self::GreaterOrEqual => a >= b,
        }
    }
}

impl Condition {
    /// All names in it, in order, as often as they stand there.
    pub(super) fn names<'c>(&'c self, names: &mut Vec<&'c Reference>) {
        match self {
            Self::Bool(_) | Self::Number(_) => {}
            Self::Name(name) => names.push(name),
            Self::Not(part) => part.names(names),
            Self::And(parts) | Self::Or(parts) => {
                parts.iter().for_each(|part| part.names(names));
            }
            Self::Compare(first, others) => {
                first.names(names);
                others.iter().for_each(|(_, part)| part.names(names));
            }
        }
    }

    /// In CEL, names as `name` writes them. Where Python asks for the truth of a name, its value must be a boolean.
    pub(super) fn to_cel(&self, name: &impl Fn(&Reference) -> String) -> String {
        match self {
            Self::Number(number) => (*number != 0.0).to_string(),
            Self::Not(part) => format!("!{}", part.bracketed(name)),
            Self::And(parts) => join(parts, " && ", name),
            Self::Or(parts) => join(parts, " || ", name),
            Self::Compare(first, others) => {
                let mut left = first.operand(name);
                let pairs = others.iter().map(|(comparison, right)| {
                    let right = right.operand(name);
                    let pair = format!("{left} {} {right}", comparison.sign());
                    left = right;
                    pair
                });
                pairs.collect::<Vec<_>>().join(" && ")
            }
            Self::Bool(_) | Self::Name(_) => self.operand(name),
        }
    }

    fn bracketed(&self, name: &impl Fn(&Reference) -> String) -> String {
        let cel = self.to_cel(name);
        match self {
            Self::Bool(_) | Self::Number(_) | Self::Name(_) | Self::Not(_) => cel,
            Self::And(_) | Self::Or(_) | Self::Compare(..) => format!("({cel})"),
        }
    }

    fn operand(&self, name: &impl Fn(&Reference) -> String) -> String {
        match self {
            Self::Bool(bool) => bool.to_string(),
            Self::Number(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
                format!("{number:.0}")
            }
            Self::Number(number) => format!("{number:?}"),
            Self::Name(reference) => name(reference),
            _ => self.bracketed(name),
        }
    }

    /// Whether it holds, as Python sees it, when names have these numbers; a boolean is 0 or 1.
    pub(super) fn holds(&self, value: &impl Fn(&Reference) -> f64) -> bool {
        self.number(value) != 0.0
    }

    fn number(&self, value: &impl Fn(&Reference) -> f64) -> f64 {
        let holds = match self {
            Self::Number(number) => return *number,
            Self::Name(name) => return value(name),
            Self::Bool(bool) => *bool,
            Self::Not(part) => !part.holds(value),
            Self::And(parts) => parts.iter().all(|part| part.holds(value)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(value)),
            Self::Compare(first, others) => {
                let mut left = first.number(value);
                others.iter().all(|(comparison, right)| {
                    let right = right.number(value);
                    let holds = comparison.holds(left, right);
                    left = right;
                    holds
                })
            }
        };
        f64::from(u8::from(holds))
    }

    /// Numbers that names are compared with.
    pub(super) fn numbers(&self, numbers: &mut Vec<f64>) {
        match self {
            Self::Number(number) => numbers.push(*number),
            Self::Bool(_) | Self::Name(_) => {}
            Self::Not(part) => part.numbers(numbers),
            Self::And(parts) | Self::Or(parts) => {
                parts.iter().for_each(|part| part.numbers(numbers));
            }
            Self::Compare(first, others) => {
                first.numbers(numbers);
                others.iter().for_each(|(_, part)| part.numbers(numbers));
            }
        }
    }

    /// Whether a name is asked for its truth, or compared with a truth: its value is a boolean.
    pub(super) fn is_boolean(&self, name: &Reference) -> bool {
        let is_name = |part: &Self| matches!(part, Self::Name(other) if other == name);
        match self {
            Self::Bool(_) | Self::Number(_) => false,
            Self::Name(other) => other == name,
            Self::Not(part) => part.is_boolean(name),
            Self::And(parts) | Self::Or(parts) => parts.iter().any(|part| part.is_boolean(name)),
            Self::Compare(first, others) => {
                let parts = std::iter::once(&**first).chain(others.iter().map(|(_, part)| part));
                let truths = parts
                    .clone()
                    .any(|part| !matches!(part, Self::Number(_) | Self::Name(_)));
                parts.clone().any(is_name) && truths
                    || parts
                        .filter(|part| !is_name(part))
                        .any(|part| part.is_boolean(name))
            }
        }
    }
}

fn join(parts: &[Condition], sign: &str, name: &impl Fn(&Reference) -> String) -> String {
    let one = |part: &Condition| match part {
        Condition::And(_) | Condition::Or(_) => part.bracketed(name),
        // A chain of comparisons is itself joined by `&&`.
        Condition::Compare(_, others) if others.len() > 1 => part.bracketed(name),
        _ => part.to_cel(name),
    };
    parts.iter().map(one).collect::<Vec<_>>().join(sign)
}

/// What is refused, and where in the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refused {
    pub(super) at: usize,
    pub(super) length: usize,
    pub(super) why: String,
}

/// Reads a condition.
pub(super) fn parse(text: &str) -> Result<Condition, Refused> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    let condition = parser.or()?;
    match parser.peek() {
        Some(_) => parser.refuse(),
        None => Ok(condition),
    }
}

/// A word, a number or a sign: as long as it belongs together.
fn token(text: &str) -> &str {
    let mut chars = text.char_indices();
    let Some((_, first)) = chars.next() else {
        return text;
    };
    let is_part = |char: char| char.is_alphanumeric() || char == '_' || char == '.';
    let end = if is_part(first) {
        let mut before = first;
        // The sign of an exponent belongs to its number.
        chars.find(|&(_, char)| {
            let exponent =
                matches!(char, '+' | '-') && matches!(before, 'e' | 'E') && first.is_ascii_digit();
            before = char;
            !is_part(char) && !exponent
        })
    } else if let '<' | '>' | '=' | '!' = first {
        chars.find(|&(_, char)| char != '=')
    } else {
        chars.next()
    };
    end.map_or(text, |(end, _)| &text[..end])
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn peek(&mut self) -> Option<&'t str> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        let token = token(&self.text[self.at..]);
        (!token.is_empty()).then_some(token)
    }

    fn take(&mut self, wanted: &str) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }

    fn refuse<T>(&mut self) -> Result<T, Refused> {
        let found = self.peek();
        let why = match found {
            None => "it ends where a name or a number is expected".to_owned(),
            Some(token) => format!(
                "`{}` has no meaning here",
                crate::definition::problem::quoted(token)
            ),
        };
        Err(Refused {
            at: self.at,
            length: found.map_or(0, str::len),
            why,
        })
    }

    fn deeper<T>(
        &mut self,
        part: impl FnOnce(&mut Self) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        if self.depth == DEPTH_MAX {
            return Err(Refused {
                at: self.at,
                length: 0,
                why: format!("it is nested more than {DEPTH_MAX} deep"),
            });
        }
        self.depth += 1;
        let part = part(self);
        self.depth -= 1;
        part
    }

    fn or(&mut self) -> Result<Condition, Refused> {
        let mut parts = vec![self.and()?];
        while self.take("or") {
            parts.push(self.and()?);
        }
        Ok(one_or(parts, Condition::Or))
    }

    fn and(&mut self) -> Result<Condition, Refused> {
        let mut parts = vec![self.not()?];
        while self.take("and") {
            parts.push(self.not()?);
        }
        Ok(one_or(parts, Condition::And))
    }

    fn not(&mut self) -> Result<Condition, Refused> {
        if self.take("not") {
            let part = self.deeper(Self::not)?;
            return Ok(Condition::Not(Box::new(part)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Condition, Refused> {
        let first = self.operand()?;
        let mut others = Vec::new();
        loop {
            let comparison = match self.peek() {
                Some("==") => Comparison::Equal,
                Some("!=") => Comparison::Unequal,
                Some("<") => Comparison::Less,
                Some("<=") => Comparison::LessOrEqual,
                Some(">") => Comparison::Greater,
                Some(">=") => Comparison::GreaterOrEqual,
                _ => break,
            };
            self.at += comparison.sign().len();
            others.push((comparison, self.operand()?));
        }
        if others.is_empty() {
            return Ok(first);
        }
        Ok(Condition::Compare(Box::new(first), others))
    }

    fn operand(&mut self) -> Result<Condition, Refused> {
        if self.take("(") {
            let inner = self.deeper(Self::or)?;
            if !self.take(")") {
                return self.refuse();
            }
            return Ok(inner);
        }
        if self.take("-") {
            return match self.deeper(Self::operand)? {
                Condition::Number(number) => Ok(Condition::Number(-number)),
                _ => self.refuse(),
            };
        }
        let Some(token) = self.peek() else {
            return self.refuse();
        };
        let Some(operand) = operand(token) else {
            return self.refuse();
        };
        self.at += token.len();
        // A call or an index would follow without a sign between.
        Ok(operand)
    }
}

fn one_or(mut parts: Vec<Condition>, many: fn(Vec<Condition>) -> Condition) -> Condition {
    match parts.len() {
        1 => parts.swap_remove(0),
        _ => many(parts),
    }
}

/// A number, a boolean or a name of two parts.
fn operand(token: &str) -> Option<Condition> {
    match token {
        "True" => return Some(Condition::Bool(true)),
        "False" => return Some(Condition::Bool(false)),
        _ => {}
    }
    if token.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        let number = token.parse::<f64>().ok()?;
        return number.is_finite().then_some(Condition::Number(number));
    }
    let is_identifier = |part: &str| {
        part.starts_with(|first: char| first.is_alphabetic() || first == '_')
            && part
                .chars()
                .all(|char| char.is_alphanumeric() || char == '_')
    };
    let (function, parameter) = token.split_once('.')?;
    (is_identifier(function) && is_identifier(parameter)).then(|| {
        Condition::Name(Reference {
            function: function.to_owned(),
            parameter: parameter.to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cel(text: &str) -> String {
        let name = |name: &Reference| format!("{}.{}", name.function, name.parameter);
        parse(text).unwrap().to_cel(&name)
    }

    #[test]
    fn what_python_and_cel_have_in_common_is_translated() {
        for (python, expected) in [
            ("INPUT.split", "INPUT.split"),
            ("True", "true"),
            ("a.b>=-2", "a.b >= -2"),
            ("a.b == 0.5", "a.b == 0.5"),
            ("a.b == 2.0", "a.b == 2"),
            ("1 < a.b <= c.d", "1 < a.b && a.b <= c.d"),
            ("not a.b == 1", "!(a.b == 1)"),
            ("not not a.b", "!!a.b"),
            ("a.b or c.d and not e.f", "a.b || (c.d && !e.f)"),
            (
                "(a.b or c.d) and e.f != False",
                "(a.b || c.d) && e.f != false",
            ),
            ("(a.b < 1) == (c.d < 1)", "(a.b < 1) == (c.d < 1)"),
            ("1e-3 < a.b", "0.001 < a.b"),
            ("1", "true"),
        ] {
            assert_eq!(cel(python), expected, "{python}");
        }
    }

    #[test]
    fn anything_else_is_refused_at_its_place() {
        for (python, at, token) in [
            ("len(a.b) > 1", 0, "len"),
            ("a.b + 1 > 2", 4, "+"),
            ("a.b[0]", 3, "["),
            ("a.b == 'x'", 7, "'"),
            ("a.b in c.d", 4, "in"),
            ("a.b is None", 4, "is"),
            ("a.b.c", 0, "a.b.c"),
            ("lambda: 1", 0, "lambda"),
            ("a.b = 1", 4, "="),
            ("a.b and", 7, ""),
            ("(a.b", 4, ""),
            ("- a.b", 5, ""),
            ("", 0, ""),
            ("1e999 < a.b", 0, "1e999"),
        ] {
            let refused = parse(python).unwrap_err();
            assert_eq!((refused.at, refused.length), (at, token.len()), "{python}");
        }
        let deep = format!("{}a.b{}", "(".repeat(100_000), ")".repeat(100_000));
        assert!(parse(&deep).is_err());
        assert!(parse(&"not ".repeat(100_000)).is_err());
    }

    #[test]
    fn it_holds_when_python_says_so() {
        let value = |name: &Reference| if name.parameter == "two" { 2.0 } else { 0.0 };
        for (text, expected) in [
            ("a.two", true),
            ("a.zero", false),
            ("1 < a.two < 3", true),
            ("1 < a.two > 3", false),
            ("not a.zero and a.two == 2", true),
            ("a.zero or a.zero", false),
            ("(a.two > 1) == True", true),
        ] {
            assert_eq!(parse(text).unwrap().holds(&value), expected, "{text}");
        }
    }
}
