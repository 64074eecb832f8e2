//! JSON, with the place of everything in it: what no crate in the house reads. Depth and size are bounded.

use super::problem::{ImportError, ImportProblem};
use super::tree::{Tree, Value};
use crate::definition::problem::{ProblemKind, Problems, quoted};
use crate::definition::{SourceText, Span, Spanned};
use rustc_hash::FxHashMap;
use serde_json::Number;

/// Deepest nesting.
const DEPTH_MAX: usize = 128;
/// Values in all: room for about 100,000 tasks with their files.
const VALUES_MAX: usize = 4_000_000;
/// Entries of a mapping up to which a key is looked for in all before it, which is faster than a table.
const SCANNED_MAX: usize = 8;

/// Reads the one value of a file.
pub(super) fn json(source: &SourceText) -> Result<Tree, ImportError> {
    let mut parser = Parser {
        text: &source.text,
        at: 0,
        depth: 0,
        values: 0,
        problems: Problems::new(source),
    };
    let read = parser.document();
    match read {
        Ok(tree) if !parser.problems.any() => Ok(tree),
        Ok(_) => Err(parser.problems.into_error().into()),
        Err((span, kind)) => {
            let help = match kind {
                ProblemKind::Deep { .. } | ProblemKind::Many { .. } => {
                    "is it the file that is to be imported?"
                }
                _ => "check the quotes, commas and brackets before this place",
            };
            Err(Problems::single(source, span, kind, Some(help.to_owned())).into())
        }
    }
}

type Step<T> = Result<T, (Span, ProblemKind)>;

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    values: usize,
    problems: Problems,
}

impl Parser<'_> {
    fn document(&mut self) -> Step<Tree> {
        self.skip_space();
        if self.at == self.text.len() {
            return Err((self.here(), ProblemKind::Empty));
        }
        let tree = self.value()?;
        self.skip_space();
        if self.at < self.text.len() {
            return self.refuse("the file goes on behind its value");
        }
        Ok(tree)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn here(&self) -> Span {
        let start = self.at;
        let end = self.text[start..]
            .chars()
            .next()
            .map_or(start, |char| start + char.len_utf8());
        Span { start, end }
    }

    fn refuse<T>(&self, what: &'static str) -> Step<T> {
        Err((self.here(), ImportProblem::Json(what).into()))
    }

    fn value(&mut self) -> Step<Tree> {
        self.values += 1;
        if self.values > VALUES_MAX {
            let limit = VALUES_MAX as u32;
            return Err((self.here(), ProblemKind::Many { limit }));
        }
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => self.deeper(Self::map)?,
            Some(b'[') => self.deeper(Self::list)?,
            Some(b'"') => Value::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Value::Bool(true))?,
            Some(b'f') => self.word("false", Value::Bool(false))?,
            Some(b'n') => self.word("null", Value::Null)?,
            Some(_) => return self.refuse("a value is expected here"),
            None => return self.refuse("the file ends where a value is expected"),
        };
        let end = self.at;
        Ok(Tree {
            value,
            span: Span { start, end },
        })
    }

    fn deeper(&mut self, parts: fn(&mut Self) -> Step<Value>) -> Step<Value> {
        if self.depth == DEPTH_MAX {
            return Err((self.here(), ProblemKind::Deep { limit: DEPTH_MAX }));
        }
        self.depth += 1;
        self.at += 1;
        self.skip_space();
        let value = parts(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// Whether another part follows; else what closes them is behind us.
    fn goes_on(&mut self, close: u8, otherwise: &'static str) -> Step<bool> {
        self.skip_space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.skip_space();
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => self.refuse(otherwise),
        }
    }

    fn list(&mut self) -> Step<Value> {
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value()?);
            if !self.goes_on(b']', "`,` or `]` is expected here")? {
                return Ok(Value::List(items));
            }
        }
    }

    fn map(&mut self) -> Step<Value> {
        let mut entries: Vec<(Spanned<String>, Tree)> = Vec::new();
        let mut seen: FxHashMap<String, Span> = FxHashMap::default();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Map(entries));
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.refuse("a key in quotes is expected here");
            }
            let start = self.at;
            let name = self.string()?;
            let end = self.at;
            let key = Spanned {
                value: name,
                span: Span { start, end },
            };
            self.skip_space();
            if self.peek() != Some(b':') {
                return self.refuse("`:` is expected here");
            }
            self.at += 1;
            self.skip_space();
            let value = self.value()?;
            if entries.len() == SCANNED_MAX {
                seen.extend(entries.iter().map(|(key, _)| (key.value.clone(), key.span)));
            }
            let first = if entries.len() < SCANNED_MAX {
                let same = entries.iter().find(|(other, _)| other.value == key.value);
                same.map(|(first, _)| first.span)
            } else {
                seen.insert(key.value.clone(), key.span)
            };
            match first {
                None => entries.push((key, value)),
                Some(first) => self.problems.add_beside(
                    key.span,
                    ProblemKind::Duplicate {
                        name: quoted(&key.value),
                    },
                    Some("rename one of the two, or leave it away".to_owned()),
                    Some((first, "first here")),
                ),
            }
            if !self.goes_on(b'}', "`,` or `}` is expected here")? {
                return Ok(Value::Map(entries));
            }
        }
    }

    fn word(&mut self, word: &'static str, value: Value) -> Step<Value> {
        if !self.text[self.at..].starts_with(word) {
            return self.refuse("a value is expected here");
        }
        self.at += word.len();
        Ok(value)
    }

    fn digits(&mut self) -> Step<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start {
            return self.refuse("a digit is expected here");
        }
        Ok(())
    }

    fn number(&mut self) -> Step<Value> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        let mut whole = true;
        if self.peek() == Some(b'.') {
            whole = false;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            whole = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        let number = match (text.parse::<i64>(), text.parse::<u64>()) {
            (Ok(number), _) if whole => Some(number.into()),
            (_, Ok(number)) if whole => Some(number.into()),
            _ => text.parse::<f64>().ok().and_then(Number::from_f64),
        };
        match number {
            Some(number) => Ok(Value::Number(number)),
            None => {
                let end = self.at;
                let kind = ImportProblem::Json("this number is too large");
                Err((Span { start, end }, kind.into()))
            }
        }
    }

    fn string(&mut self) -> Step<String> {
        self.at += 1;
        let mut string = String::new();
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let run = rest
                .iter()
                .position(|&byte| byte == b'"' || byte == b'\\' || byte < b' ');
            let Some(run) = run else {
                self.at = self.text.len();
                return self.refuse("the file ends within a text");
            };
            // The bytes that end a run are ASCII, so that both ends are between characters.
            string.push_str(&self.text[self.at..self.at + run]);
            self.at += run;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(string);
                }
                Some(b'\\') => string.push(self.escape()?),
                _ => return self.refuse("a control character within a text must be escaped"),
            }
        }
    }

    fn escape(&mut self) -> Step<char> {
        self.at += 1;
        let char = match self.peek() {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'u') => return self.code_point(),
            _ => return self.refuse("this is no escape sequence"),
        };
        self.at += 1;
        Ok(char)
    }

    fn code_point(&mut self) -> Step<char> {
        let high = self.code_unit()?;
        let code = match high {
            0xd800..0xdc00 => {
                if !self.text[self.at..].starts_with("\\u") {
                    return self.refuse("the second half of a character is missing here");
                }
                self.at += 1;
                let low = self.code_unit()?;
                if !(0xdc00..0xe000).contains(&low) {
                    return self.refuse("the second half of a character is missing here");
                }
                0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
            }
            code => code,
        };
        match char::from_u32(code) {
            Some(char) => Ok(char),
            None => self.refuse("the first half of a character is missing here"),
        }
    }

    fn code_unit(&mut self) -> Step<u32> {
        let digits = self.text.as_bytes().get(self.at + 1..self.at + 5);
        let code = digits.and_then(|digits| {
            digits.iter().try_fold(0, |code, &digit| {
                char::from(digit)
                    .to_digit(16)
                    .map(|digit| code * 16 + digit)
            })
        });
        match code {
            Some(code) => {
                self.at += 5;
                Ok(code)
            }
            None => self.refuse("four hexadecimal digits are expected after `\\u`"),
        }
    }
}
