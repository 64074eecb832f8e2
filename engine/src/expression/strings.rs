//! Texts in quotes.

use super::token::Refusal;

/// How a text in quotes begins.
#[derive(Clone, Copy)]
pub(super) struct Quoted {
    /// Whether backslashes stand for themselves.
    raw: bool,
    /// Whether bytes were asked for.
    bytes: bool,
    /// What ends it: one quote, or three.
    quotes: &'static str,
    /// Bytes before the content.
    opening: usize,
}

impl Quoted {
    /// The text in quotes that begins here, if one does.
    pub(super) fn begins(rest: &str) -> Option<Self> {
        let prefix = rest
            .find(|c: char| !matches!(c, 'r' | 'R' | 'b' | 'B'))
            .filter(|length| *length <= 2)?;
        let quotes = ["\"\"\"", "'''", "\"", "'"]
            .into_iter()
            .find(|quotes| rest[prefix..].starts_with(quotes))?;
        let has = |letters: [char; 2]| rest[..prefix].contains(letters);
        Some(Self {
            raw: has(['r', 'R']),
            bytes: has(['b', 'B']),
            quotes,
            opening: prefix + quotes.len(),
        })
    }
}

/// Its content, and its length with the quotes.
pub(super) fn read(rest: &str, quoted: Quoted) -> Result<(String, usize), Refusal> {
    if quoted.bytes {
        let help = "values are JSON, and JSON has no bytes; write a text, without the `b`";
        let message = "bytes cannot be written here".to_owned();
        return Err(((0, quoted.opening), message, Some(help)));
    }
    let mut content = String::new();
    let mut at = quoted.opening;
    loop {
        let here = &rest[at..];
        let Some(first) = here.chars().next() else {
            let message = "this text has no end".to_owned();
            return Err(((0, quoted.opening), message, Some("close the quotes")));
        };
        if here.starts_with(quoted.quotes) {
            return Ok((content, at + quoted.quotes.len()));
        }
        if first == '\n' && quoted.quotes.len() == 1 {
            let help = "write \\n for a line's end, or three quotes around several lines";
            let message = "this text has no end on its line".to_owned();
            return Err(((0, quoted.opening), message, Some(help)));
        }
        if first == '\\' && !quoted.raw {
            let (character, length) = escape(here).ok_or_else(|| {
                let end = at + 1 + here[1..].chars().next().map_or(0, char::len_utf8);
                let message = format!("`{}` stands for no character", &rest[at..end]);
                ((at, end), message, Some("write \\\\ for a backslash"))
            })?;
            content.push(character);
            at += length;
        } else {
            content.push(first);
            at += first.len_utf8();
        }
    }
}

/// The character that an escape stands for, and the escape's length.
fn escape(here: &str) -> Option<(char, usize)> {
    let letter = here[1..].chars().next()?;
    let by_number = |from: usize, digits: usize, radix: u32| {
        let digits = here.get(from..from + digits)?;
        let all = digits.chars().all(|digit| digit.is_digit(radix));
        let number = u32::from_str_radix(digits, radix).ok().filter(|_| all)?;
        Some((char::from_u32(number)?, from + digits.len()))
    };
    let character = match letter {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' | '\'' | '"' | '`' | '?' => letter,
        'x' | 'X' => return by_number(2, 2, 16),
        'u' => return by_number(2, 4, 16),
        'U' => return by_number(2, 8, 16),
        '0'..='3' => return by_number(1, 3, 8),
        _ => return None,
    };
    Some((character, 2))
}
