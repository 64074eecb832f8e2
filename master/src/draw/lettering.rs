//! Text as drawings have it: how wide it is about, what of it fits, and how XML writes it.

/// How wide text is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Letters {
    /// Names: 12 pixels, bold.
    Name,
    /// The small rest: 10 pixels.
    Note,
}

/// About how wide a text is, in pixels. Viewers have other fonts: it is rather too wide than too narrow.
pub(super) fn width(text: &str, letters: Letters) -> f64 {
    let (narrow, usual, wide) = match letters {
        Letters::Name => (4.6, 8.2, 9.6),
        Letters::Note => (3.6, 6.1, 7.2),
    };
    let char_width = |char: char| match char {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' => narrow,
        'm' | 'w' | '%' | '@' | '…' | '×' => wide,
        char if char.is_ascii_uppercase() => wide,
        char if char.is_ascii() => usual,
        _ => wide,
    };
    text.chars().map(char_width).sum()
}

/// A text of at most so many characters: of a longer one the middle is left out, with a mark for it. Names often begin
/// alike and differ at their ends.
pub(super) fn shortened(text: &str, chars_max: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= chars_max {
        return text.to_owned();
    }
    let kept = chars_max.saturating_sub(1);
    let (head, tail) = (kept.div_ceil(2), kept / 2);
    let mut short: String = chars[..head].iter().collect();
    short.push('…');
    short.extend(&chars[chars.len() - tail..]);
    short
}

/// Texts on lines of at most so many characters: several on one where they fit, and a longer one on several.
pub(super) fn wrapped(texts: &[String], chars_max: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for text in texts {
        let mut between = " · ";
        for word in text.split(' ') {
            let word = shortened(word, chars_max);
            let count = |text: &str| text.chars().count();
            // A text is not parted but for its length, and then begins on a line of its own.
            let needs = match between {
                " " => count(&word),
                _ => count(text),
            };
            match lines.last_mut() {
                Some(line) if count(line) + count(between) + needs <= chars_max => {
                    line.push_str(between);
                    line.push_str(&word);
                }
                _ => lines.push(word),
            }
            between = " ";
        }
    }
    lines
}

/// Text as XML has it. Characters that XML cannot hold are shown as what stands for them.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            char if char.is_control() => escaped.push('\u{fffd}'),
            char => escaped.push(char),
        }
    }
    escaped
}

/// Text of several lines, as XML has it.
pub(super) fn escape_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(escape).collect();
    lines.join("&#10;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_loses_its_middle() {
        assert_eq!(
            shortened("sub.step.long_name_1", 20),
            "sub.step.long_name_1"
        );
        assert_eq!(shortened("sub.step.long_name_12", 11), "sub.s…me_12");
        assert_eq!(shortened("sub.step.long_name_12", 10), "sub.s…e_12");
        assert_eq!(shortened("ñandú", 4), "ña…ú");
    }

    #[test]
    fn lines_take_what_fits() {
        let texts = ["one", "two", "seventeen letters"].map(str::to_owned);
        assert_eq!(wrapped(&texts, 10), ["one · two", "seventeen", "letters"]);
        assert_eq!(wrapped(&texts, 6), ["one", "two", "sev…en", "let…rs"]);
        assert_eq!(wrapped(&[], 10), [""; 0]);
    }
}
