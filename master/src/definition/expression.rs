//! Expressions within definitions: which values they name, and what is wrong with them.

/// Something that an expression refers to: `check.size`, `input.mode`, or a name by itself.
pub(super) struct Name {
    pub(super) path: String,
    /// Where in the expression, in bytes.
    pub(super) offset: usize,
}

/// What is wrong with an expression, and where in it, in bytes.
pub(super) struct Fault {
    pub(super) offset: usize,
    pub(super) length: usize,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// What an expression is to give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gives {
    /// True or false.
    Truth,
    /// Any value.
    Value,
}

/// What an expression refers to, in its order. `is_source` says whether a name takes a field to name a value.
pub(super) fn names(text: &str, is_source: impl Fn(&str) -> bool) -> Result<Vec<Name>, Fault> {
    let bytes = text.as_bytes();
    let word = |at: usize| {
        let rest = &text[at..];
        let end = rest.find(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
        &rest[..end.unwrap_or(rest.len())]
    };
    let mut names = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if byte == b'"' || byte == b'\'' {
            let end = text[at + 1..].find(byte as char);
            let Some(end) = end else {
                return Err(Fault {
                    offset: at,
                    length: text.len() - at,
                    message: "this text has no end".to_owned(),
                    help: None,
                });
            };
            at += end + 2;
        } else if byte.is_ascii_alphabetic() || byte == b'_' {
            let name = word(at);
            let end = at + name.len();
            let field = at > 0 && bytes[at - 1] == b'.';
            let call = bytes.get(end) == Some(&b'(');
            if !field && !call && !matches!(name, "true" | "false" | "null" | "in") {
                let field = bytes.get(end) == Some(&b'.') && is_source(name);
                let path = match field.then(|| word(end + 1)) {
                    Some(field) if !field.is_empty() => format!("{name}.{field}"),
                    _ => name.to_owned(),
                };
                names.push(Name { path, offset: at });
            }
            at = end;
        } else if byte.is_ascii_digit() {
            at += word(at).len();
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    Ok(names)
}

/// Whether an expression over these values can be evaluated.
pub(super) fn compile(_text: &str, _names: &[&str], _gives: Gives) -> Result<(), Fault> {
    Ok(())
}
