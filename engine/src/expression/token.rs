//! The words of a text.

use super::strings::{self, Quoted};
use super::syntax::Span;
use super::{ExpressionError, TEXT_BYTES_MAX};

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Token {
    /// A whole number; its sign is an operator.
    Whole(u64),
    Double(f64),
    String(String),
    /// A name, `true`, `in` and the like.
    Word(String),
    /// A name in backticks, which may hold what other names may not; a field alone.
    QuotedWord(String),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) span: Span,
}

/// Signs, the longer before those that they begin with.
const SIGNS: [&str; 26] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", "(", ")",
    "[", "]", "{", "}", ".", ",", "=", "&",
];

pub(super) fn error(
    span: Span,
    message: impl Into<String>,
    help: Option<String>,
) -> ExpressionError {
    ExpressionError {
        offset: span.start,
        length: span.end - span.start,
        message: message.into(),
        help,
    }
}

/// All words of a text, the end last.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, ExpressionError> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!(
            "the expression has {} bytes, and may have {TEXT_BYTES_MAX}",
            text.len()
        );
        let help = "a function can compute what takes more".to_owned();
        return Err(error(Span { start: 0, end: 0 }, message, Some(help)));
    }
    let mut tokens = Vec::new();
    let mut start = 0;
    loop {
        start += blank(&text[start..]);
        let rest = &text[start..];
        let Some(first) = rest.chars().next() else {
            let span = Span { start, end: start };
            tokens.push(Placed {
                token: Token::End,
                span,
            });
            return Ok(tokens);
        };
        let (token, length) = token(rest, first).map_err(|(range, message, help)| {
            let span = Span {
                start: start + range.0,
                end: start + range.1,
            };
            error(span, message, help.map(str::to_owned))
        })?;
        let span = Span {
            start,
            end: start + length,
        };
        tokens.push(Placed { token, span });
        start = span.end;
    }
}

/// Bytes of white space and comments in front.
fn blank(text: &str) -> usize {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}', '\u{b}']);
        if !rest.starts_with("//") {
            return text.len() - rest.len();
        }
        rest = rest.find('\n').map_or("", |end| &rest[end..]);
    }
}

/// Where within the rest of the text, what, and what would be right.
pub(super) type Refusal = ((usize, usize), String, Option<&'static str>);

fn token(rest: &str, first: char) -> Result<(Token, usize), Refusal> {
    let second = rest[first.len_utf8()..].chars().next();
    if first.is_ascii_digit() || first == '.' && second.is_some_and(|c| c.is_ascii_digit()) {
        return number(rest);
    }
    if let Some(quoted) = Quoted::begins(rest) {
        let (content, length) = strings::read(rest, quoted)?;
        return Ok((Token::String(content), length));
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let length = word(rest);
        return Ok((Token::Word(rest[..length].to_owned()), length));
    }
    if first == '`' {
        let Some(length) = rest[1..].find('`').filter(|length| *length > 0) else {
            let help = "a field in backticks ends with one: a.`b-c`";
            return Err(((0, 1), "this field has no end".to_owned(), Some(help)));
        };
        return Ok((Token::QuotedWord(rest[1..=length].to_owned()), length + 2));
    }
    if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        return match *sign {
            "=" => Err((
                (0, 1),
                "`=` is no operator".to_owned(),
                Some("write `==` to compare"),
            )),
            "&" => Err((
                (0, 1),
                "`&` is no operator".to_owned(),
                Some("write `&&` for \"and\""),
            )),
            _ => Ok((Token::Sign(sign), sign.len())),
        };
    }
    let help = (first == '|').then_some("write `||` for \"or\"");
    let length = first.len_utf8();
    Err((
        (0, length),
        format!("`{}` means nothing here", first.escape_debug()),
        help,
    ))
}

/// The length of the name in front.
fn word(rest: &str) -> usize {
    rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(rest.len())
}

fn number(rest: &str) -> Result<(Token, usize), Refusal> {
    let digits = |from: usize| {
        rest[from..]
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len() - from)
    };
    let hexadecimal = rest.starts_with("0x") || rest.starts_with("0X");
    let (token, length) = if hexadecimal {
        let length = 2 + word(&rest[2..]);
        let whole = u64::from_str_radix(&rest[2..length], 16).ok();
        (whole.map(Token::Whole), length)
    } else {
        let mut length = digits(0);
        let mut whole = true;
        if rest[length..].starts_with('.') && digits(length + 1) > 0 {
            whole = false;
            length += 1 + digits(length + 1);
        }
        if rest[length..].starts_with(['e', 'E']) {
            let sign = usize::from(rest[length + 1..].starts_with(['+', '-']));
            if digits(length + 1 + sign) > 0 {
                whole = false;
                length += 1 + sign + digits(length + 1 + sign);
            }
        }
        let text = &rest[..length];
        let token = if whole {
            text.parse().ok().map(Token::Whole)
        } else {
            let double = text.parse().ok().filter(|double: &f64| double.is_finite());
            double.map(Token::Double)
        };
        (token, length)
    };
    let end = length + word(&rest[length..]);
    if end > length {
        let unsigned = rest[length..end].eq_ignore_ascii_case("u");
        let help = unsigned.then_some("numbers have no sign to leave out: write it without `u`");
        let message = format!("`{}` is no number", &rest[..end]);
        return Err(((0, end), message, help));
    }
    let Some(token) = token else {
        let message = format!("`{}` is no number that fits", &rest[..length]);
        return Err(((0, length), message, None));
    };
    Ok((token, length))
}
