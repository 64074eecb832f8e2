//! Which known name an unknown one may have been meant to be.

/// Longest name that is compared, in characters: beyond it no name is a slip of the pen, and the work would grow.
const COMPARED_CHARS_MAX: usize = 128;

/// Work that comparing may cost in all, in characters times characters: some milliseconds, whatever the file holds.
const COMPARED_MAX: usize = 1 << 20;

/// Names that are looked at beside that.
const CANDIDATES_MAX: usize = 1 << 12;

/// Names that a message lists; with more, the others are counted.
const LISTED_MAX: usize = 12;

/// How many names are few, and how long one may be to be among them, in bytes.
const FEW_NAMES: usize = 32;
const FEW_BYTES: usize = 40;

/// Shortest beginning of a name that is taken for the name.
const BEGINNING_BYTES_MIN: usize = 3;

/// The candidate that takes the fewest edits (a letter more, less, other, or two swapped) to become `name`, if they
/// are few for its length; else the first that begins with `name`; else the one that [`alike`] finds. Of equals the first.
#[must_use]
pub fn nearest<'a, I>(name: &str, candidates: I) -> Option<&'a str>
where
    I: IntoIterator<Item = &'a str, IntoIter: Clone>,
{
    let candidates = candidates.into_iter();
    let begins = || {
        let long = name.len() >= BEGINNING_BYTES_MIN;
        let mut begun = candidates.clone().take(CANDIDATES_MAX);
        begun.find(|candidate| long && candidate.starts_with(name))
    };
    slip(name, candidates.clone())
        .or_else(begins)
        .or_else(|| alike(name, candidates.clone()))
}

/// The candidate that takes the fewest edits to become `name`, if they are few for its length.
#[must_use]
pub fn slip<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = name.chars().take(COMPARED_CHARS_MAX + 1).collect();
    if wanted.len() > COMPARED_CHARS_MAX {
        return None;
    }
    let edits_max = (wanted.len() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    let mut compared = 0;
    for candidate in candidates {
        let chars: Vec<char> = candidate.chars().take(COMPARED_CHARS_MAX + 1).collect();
        if chars.len().abs_diff(wanted.len()) > edits_max || chars.len() > COMPARED_CHARS_MAX {
            continue;
        }
        compared += wanted.len() * chars.len();
        if compared > COMPARED_MAX {
            break;
        }
        let edits = edits_between(&wanted, &chars);
        // A name of one letter is not another letter.
        let shares = edits < wanted.len().max(chars.len());
        if edits <= edits_max && shares && best.is_none_or(|(least, _)| edits < least) {
            best = Some((edits, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The first candidate that is the same but for case, `_`, `-` and `.`, as `startsWith` is for `starts_with`; else the one
/// that is nearest so.
#[must_use]
pub fn alike<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = letters(name);
    if wanted.is_empty() || wanted.len() > COMPARED_CHARS_MAX {
        return None;
    }
    let candidates = candidates.into_iter().take(CANDIDATES_MAX);
    let all: Vec<(String, &str)> = candidates.map(|name| (letters(name), name)).collect();
    let plain = all.iter().map(|(letters, _)| letters.as_str());
    let found = slip(&wanted, plain)?;
    let same = all.iter().find(|(letters, _)| letters == found);
    same.map(|(_, name)| *name)
}

/// What to say of a name that is none of those known: the one that was probably meant, else those that there are.
/// `there_are` begins that, and `none` is said if there are none.
///
/// ```
/// use engine::nearest::instead;
/// assert_eq!(instead("coutn", &["split", "count"], "there are", "-"), "did you mean `count`?");
/// assert_eq!(instead("zebra", &["split", "count"], "there are", "-"), "there are `split`, `count`");
/// assert_eq!(instead("zebra", &[], "there are", "there is none"), "there is none");
/// ```
#[must_use]
pub fn instead(name: &str, known: &[&str], there_are: &str, none: &str) -> String {
    if let Some(near) = nearest(name, known.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    listed(known, there_are, none)
}

fn listed(known: &[&str], there_are: &str, none: &str) -> String {
    if known.is_empty() {
        return none.to_owned();
    }
    let listed: Vec<String> = known
        .iter()
        .take(LISTED_MAX)
        .map(|name| format!("`{name}`"))
        .collect();
    let listed = listed.join(", ");
    match known.len().saturating_sub(LISTED_MAX) {
        0 => format!("{there_are} {listed}"),
        further => format!("{there_are} {listed} and {further} more"),
    }
}

/// As [`instead`], at a price that a lane can pay at any time: a few of the names are looked at.
#[must_use]
pub fn instead_of_few(name: &str, known: &[&str], there_are: &str, none: &str) -> String {
    let few: Vec<&str> = known
        .iter()
        .copied()
        .filter(|known| known.len() <= FEW_BYTES)
        .take(FEW_NAMES)
        .collect();
    if name.len() <= FEW_BYTES
        && let Some(near) = nearest(name, few)
    {
        return format!("did you mean `{near}`?");
    }
    listed(known, there_are, none)
}

/// A name without what writers of other systems would write otherwise.
fn letters(name: &str) -> String {
    let apart = |char: &char| !matches!(char, '_' | '-' | '.');
    let chars = name.chars().take(COMPARED_CHARS_MAX + 1);
    chars.filter(apart).flat_map(char::to_lowercase).collect()
}

/// Optimal string alignment: Levenshtein's distance with swaps of neighbours.
fn edits_between(a: &[char], b: &[char]) -> usize {
    let width = b.len() + 1;
    let mut before_last = vec![0; width];
    let mut last: Vec<usize> = (0..width).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1; width];
        for (j, to) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(from != to);
            row[j + 1] = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *to && *from == b[j - 1] {
                row[j + 1] = row[j + 1].min(before_last[j - 1] + 1);
            }
        }
        before_last = last;
        last = row;
    }
    last[width - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_a_far_one_is_not() {
        let names = ["split", "count", "merge"];
        assert_eq!(nearest("spilt", names), Some("split"));
        assert_eq!(nearest("cuont", names), Some("count"));
        assert_eq!(nearest("mergee", names), Some("merge"));
        assert_eq!(nearest("mer", names), Some("merge"));
        assert_eq!(nearest("zebra", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest(&"x".repeat(100_000), names), None);
        assert_eq!(slip("mer", names), None);
        assert_eq!((slip("a", ["b"]), slip("a", ["ab"])), (None, Some("ab")));
    }

    #[test]
    fn a_lane_looks_at_few_names_and_short_ones() {
        let say = |name: &str, known: &[&str]| instead_of_few(name, known, "there are", "none");
        assert_eq!(say("sise", &["size", "count"]), "did you mean `size`?");
        let long = "x".repeat(FEW_BYTES + 1);
        let other = format!("{}y", &long[1..]);
        assert_eq!(say(&other, &[&long]), format!("there are `{long}`"));
        let mut many = vec!["count"; FEW_NAMES];
        many.push("size");
        assert!(say("sise", &many).starts_with("there are `count`"));
        assert_eq!(say("sise", &[]), "none");
    }

    #[test]
    fn names_that_are_written_otherwise_are_alike() {
        let names = ["toJson", "startsWith", "timeout_ms"];
        assert_eq!(alike("to_json", names), Some("toJson"));
        assert_eq!(alike("TOJSON", names), Some("toJson"));
        assert_eq!(nearest("starts_with", names), Some("startsWith"));
        assert_eq!(nearest("time_out", names), Some("timeout_ms"));
        assert_eq!(alike("_", names), None);
    }
}
