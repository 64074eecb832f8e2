//! Paths: `$.order.items[0].id` and their like, turned into fields of an expression.

use super::cel::Cel;

/// Longest path, in steps.
const STEPS_MAX: usize = 64;
/// Longest path, in bytes.
const PATH_BYTES_MAX: usize = 1024;
/// The variable of the macros that a `[*]` becomes.
const EACH: &str = "each";

/// One step of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// A field of an object.
    Field(String),
    /// An element of a list, counted from its end if negative.
    Index(i64),
    /// All elements of a list.
    All,
}

/// A path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Path {
    /// Whether it leads into the context object (`$$`), not into the state's input (`$`).
    pub(super) context: bool,
    pub(super) steps: Vec<Step>,
}

impl Path {
    /// Reads a path; what cannot be read is said in a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix('$')
            .ok_or_else(|| "a path begins with `$`".to_owned())?;
        if text.len() > PATH_BYTES_MAX {
            return Err(format!("it has more than {PATH_BYTES_MAX} bytes"));
        }
        let (context, rest) = match rest.strip_prefix('$') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let mut steps = Vec::new();
        let mut rest = rest;
        while !rest.is_empty() {
            if steps.len() == STEPS_MAX {
                return Err(format!("it has more than {STEPS_MAX} steps"));
            }
            let (step, behind) = step(rest)?;
            if step == Step::All && steps.contains(&Step::All) {
                return Err("it has `[*]` twice".to_owned());
            }
            // Each is written as a difference from the whole path's length before it, and would double the text.
            let from_end = |step: &Step| matches!(step, Step::Index(index) if *index < 0);
            if from_end(&step) && steps.iter().any(from_end) {
                return Err("it counts from the end twice".to_owned());
            }
            steps.push(step);
            rest = behind;
        }
        Ok(Self { context, steps })
    }

    /// The fields of a reference path: one that leads to a single place, without lists.
    pub(super) fn fields(&self) -> Option<Vec<&str>> {
        if self.context {
            return None;
        }
        let names = self.steps.iter().map(|step| match step {
            Step::Field(name) => Some(name.as_str()),
            Step::Index(_) | Step::All => None,
        });
        names.collect()
    }

    /// Whether what it leads to is of one type, whatever the values are: a list of fields, or the state's name.
    pub(super) fn is_of_one_type(&self) -> bool {
        let gathers = matches!(self.steps.iter().position(|step| *step == Step::All), Some(at) if at + 1 < self.steps.len());
        let name = Step::Field("State".to_owned());
        gathers || self.context && self.steps.first() == Some(&name)
    }

    /// What it leads to from `base`.
    pub(super) fn to_cel(&self, base: &Cel) -> Cel {
        follow(base, &self.steps)
    }

    /// Whether something is there. Nothing on the way need be.
    pub(super) fn present(&self, base: &Cel) -> Cel {
        present(base, &self.steps)
    }
}

fn step(rest: &str) -> Result<(Step, &str), String> {
    if rest.starts_with("..") {
        return Err("`..` looks everywhere, and has no like here".to_owned());
    }
    if let Some(rest) = rest.strip_prefix('.') {
        if rest.starts_with('*') {
            return Err("`.*` takes all fields of an object, and has no like here".to_owned());
        }
        let end = rest
            .find(|char: char| ".[]()'\"*?@,:$ \t\n".contains(char))
            .unwrap_or(rest.len());
        if end == 0 {
            return Err("a name must follow each dot".to_owned());
        }
        return Ok((Step::Field(rest[..end].to_owned()), &rest[end..]));
    }
    let Some(inner) = rest.strip_prefix('[') else {
        return Err(format!("`{rest}` is neither `.name` nor `[…]`"));
    };
    if let Some(quote @ ('\'' | '"')) = inner.chars().next() {
        return quoted_step(&inner[1..], quote);
    }
    let (inside, behind) = inner
        .split_once(']')
        .ok_or_else(|| "a `[` is not closed".to_owned())?;
    if inside == "*" {
        return Ok((Step::All, behind));
    }
    if inside.starts_with('?') {
        return Err("filters have no like here".to_owned());
    }
    if inside.contains([':', ',']) {
        return Err("slices and several indices have no like here".to_owned());
    }
    match inside.trim().parse::<i64>() {
        Ok(index) if index > i64::MIN => Ok((Step::Index(index), behind)),
        _ => Err(format!("`[{inside}]` is no index")),
    }
}

fn quoted_step(inner: &str, quote: char) -> Result<(Step, &str), String> {
    let mut name = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, char)) = chars.next() {
        if char == '\\' {
            match chars.next() {
                Some((_, escaped)) => name.push(escaped),
                None => break,
            }
        } else if char == quote {
            let behind = &inner[at + 1..];
            return match behind.strip_prefix(']') {
                Some(behind) => Ok((Step::Field(name), behind)),
                None => Err("one quoted name alone may stand in brackets".to_owned()),
            };
        } else {
            name.push(char);
        }
    }
    Err("a quote is not closed".to_owned())
}

fn follow(base: &Cel, steps: &[Step]) -> Cel {
    let Some((step, rest)) = steps.split_first() else {
        return base.clone();
    };
    match step {
        Step::Field(name) => follow(&base.field(name), rest),
        Step::Index(index) => follow(&element(base, *index), rest),
        Step::All if rest.is_empty() => base.clone(),
        Step::All => {
            // Elements that do not have what is asked for are left out.
            let each = Cel::name(EACH, super::cel::Reads::default());
            let those = base.over("filter", EACH, &present(&each, rest));
            those.over("map", EACH, &follow(&each, rest))
        }
    }
}

fn element(base: &Cel, index: i64) -> Cel {
    if index >= 0 {
        return base.at(&Cel::whole(index));
    }
    let size = Cel::call("size", &[base]);
    let from_end = Cel::whole(-index);
    base.at(&Cel::infix(super::cel::Binding::Sum, &size, "-", &from_end))
}

fn present(base: &Cel, steps: &[Step]) -> Cel {
    let mut base = base.clone();
    let mut all: Option<Cel> = None;
    for step in steps {
        let (there, next) = match step {
            Step::Field(name) => (base.is_a("map").and(&base.has(name)), base.field(name)),
            Step::Index(index) => {
                let least = if *index >= 0 {
                    index.saturating_add(1)
                } else {
                    -index
                };
                let size = Cel::call("size", &[&base]);
                (
                    base.is_a("list")
                        .and(&size.compared(">=", &Cel::whole(least))),
                    element(&base, *index),
                )
            }
            Step::All => (base.is_a("list"), base.clone()),
        };
        all = Some(match all {
            Some(all) => all.and(&there),
            None => there,
        });
        if *step == Step::All {
            break;
        }
        base = next;
    }
    all.unwrap_or_else(|| Cel::literal(&true.into()))
}

#[cfg(test)]
mod tests {
    use super::super::cel::Reads;
    use super::*;

    fn cel(path: &str) -> String {
        let base = Cel::name("s", Reads::STATE);
        Path::parse(path).unwrap().to_cel(&base).text().to_owned()
    }

    #[test]
    fn paths_become_fields_and_elements() {
        assert_eq!(cel("$"), "s");
        assert_eq!(cel("$.a.b[0].c"), "s.a.b[0].c");
        assert_eq!(cel("$['a b'][\"c\"]"), "s[\"a b\"].c");
        assert_eq!(cel("$.in"), "s[\"in\"]");
        assert_eq!(cel("$.a[-1]"), "s.a[size(s.a) - 1]");
        assert_eq!(cel("$.a[*]"), "s.a");
        assert_eq!(
            cel("$.a[*].b"),
            "s.a.filter(each, type(each) == map && \"b\" in each).map(each, each.b)"
        );
    }

    #[test]
    fn what_has_no_like_is_refused_in_words() {
        for (path, why) in [
            ("a", "begins with"),
            ("$.a..b", "looks everywhere"),
            ("$.*", "all fields"),
            ("$.a[?(@.b)]", "filters"),
            ("$.a[0:2]", "slices"),
            ("$.a[x]", "no index"),
            ("$.a[", "not closed"),
            ("$['a", "not closed"),
            ("$['a','b']", "one quoted name"),
            ("$.", "a name must follow"),
            ("$a", "neither"),
            ("$.a[*].b[*]", "twice"),
        ] {
            let error = Path::parse(path).unwrap_err();
            assert!(error.contains(why), "{path}: {error}");
        }
        assert!(Path::parse(&format!("${}", ".a".repeat(65))).is_err());
    }

    #[test]
    fn the_least_index_there_is_does_not_overflow() {
        for index in [i64::MIN, i64::MAX] {
            if let Ok(path) = Path::parse(&format!("$.a[{index}]")) {
                let base = Cel::name("s", Reads::STATE);
                let _ = (path.to_cel(&base), path.present(&base));
            }
        }
    }
}
