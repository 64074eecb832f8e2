//! Measured links, written into the text of a cluster file: `link` and `links` change, and nothing else does.
//!
//! A text is edited line by line, so that comments, order and what people have written of workers stay byte for byte. What was
//! made is read again and compared with what there was before anybody gets it: a text whose form is not understood well enough
//! is an error, never a changed cluster.

use super::Link;
use super::measured::{
    Listed, MeasuredLink, Ways, bytes_per_s_text, latency_us_text, listed, median_link,
    mib_per_s_text,
};
use crate::definition::cluster::{RawCluster, RawLink, RawPair, cluster};
use crate::definition::problem::{Problems, utf8_of};
use crate::definition::tree::{self, Tree, Value};
use crate::definition::{DefinitionError, SourceText, Spanned};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;
use thiserror::Error;

/// What a new file begins with.
const HEAD: &str = "# Measured by `faasflow links`.\n";
const MIB: f64 = 1_048_576.0;

/// The text of a cluster file with measured links in it.
#[derive(Clone, PartialEq, Debug)]
pub struct DescribedLinks {
    /// The text.
    pub text: String,
    /// What it says of links that it does not list.
    pub link: Link,
    /// Whether that is what it said before: it tells of workers that were not measured, and it is theirs, too.
    pub link_stays: bool,
    /// How many of the measured links it lists, both ways of one as one.
    pub listed: usize,
}

/// Why links cannot be written into a text.
#[derive(Debug, Error, miette::Diagnostic)]
pub enum DescribeError {
    /// It is no cluster file.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Problems(#[from] DefinitionError),
    /// What was made is not what was meant.
    #[error("the links in {file} cannot be changed by themselves: its form is too unusual")]
    #[diagnostic(help(
        "write `link:`, `links:` and each of the links on lines of their own, without anchors, or name another file"
    ))]
    Form {
        /// Which file.
        file: String,
    },
}

/// Puts measured links into a cluster file: the bytes of one that there is, or none for a new one. `name` is how errors call
/// it. `link` becomes the median, and of the measured links those are listed that differ from it by more than a tenth. If the
/// file names workers that were not measured, then their links stay, and so does `link`, which counts for them.
///
/// # Errors
/// If it is no cluster file, or its form is too unusual.
///
/// # Panics
/// If no link is given.
pub fn describe_links(
    name: &str,
    before: Option<&[u8]>,
    measured: &[MeasuredLink],
) -> Result<DescribedLinks, DescribeError> {
    let Some(median) = median_link(measured) else {
        panic!("no link was measured");
    };
    let Some(bytes) = before else {
        let all = listed(measured, median);
        let mut text = format!("{HEAD}link: {}\n", figures(median));
        if !all.is_empty() {
            text.push_str("links:\n");
            all.iter()
                .for_each(|one| text.push_str(&format!("  - {}\n", item(one))));
        }
        return Ok(DescribedLinks {
            text,
            link: median,
            link_stays: false,
            listed: all.len(),
        });
    };
    let source = SourceText {
        name: name.into(),
        text: utf8_of(name, bytes)?.into(),
    };
    let raw = cluster(&source)?;
    let ends: BTreeSet<&str> = measured
        .iter()
        .flat_map(|one| [one.from.as_str(), one.to.as_str()])
        .collect();
    let is_measured = |name: &Spanned<String>| ends.contains(name.value.as_str());
    let link_stays = !(raw.workers.iter().all(|worker| is_measured(&worker.name))
        && raw
            .links
            .iter()
            .all(|pair| is_measured(&pair.from) && is_measured(&pair.to)));
    let link = if link_stays {
        super::cluster::link(&raw.link, Link::DEFAULT)
    } else {
        median
    };
    let all = listed(measured, link);
    let form = || DescribeError::Form { file: name.into() };
    let root = parse(&source)?;
    let mut editor = Editor {
        text: &source.text,
        newline: if source.text.contains("\r\n") {
            "\r\n"
        } else {
            "\n"
        },
        edits: Vec::new(),
    };
    let kept = |pair: &RawPair| !(is_measured(&pair.from) && is_measured(&pair.to));
    let edited = editor.cluster(&root, (!link_stays).then_some(link), &all, &|from, to| {
        !(ends.contains(from) && ends.contains(to))
    });
    edited.ok_or_else(form)?;
    let text = editor.apply();
    let in_bytes = get(&root, "link").is_some_and(|(_, link)| get(link, "bytes_per_s").is_some());
    let told = (!link_stays).then_some((link, in_bytes));
    let expected = expected(&raw, told, &all, kept);
    let new = SourceText {
        name: name.into(),
        text: text.as_str().into(),
    };
    match cluster(&new) {
        Ok(new) if says(&new) == expected => Ok(DescribedLinks {
            text,
            link,
            link_stays,
            listed: all.len(),
        }),
        _ => Err(form()),
    }
}

fn parse(source: &SourceText) -> Result<Rc<Tree>, DefinitionError> {
    let mut problems = Problems::new(source);
    let tree = tree::parse(source, &mut problems)?;
    if problems.any() {
        return Err(problems.into_error());
    }
    Ok(tree)
}

/// A link's figures, as a file has them.
fn figures(link: Link) -> String {
    format!(
        "{{ bandwidth_mib_per_s: {}, latency_us: {} }}",
        mib_per_s_text(link),
        latency_us_text(link)
    )
}

/// A link, as an item of `links`.
fn item(of: &Listed<'_>) -> String {
    let (from, to) = (worker_text(of.ends.0), worker_text(of.ends.1));
    let ends = match of.ways {
        Ways::Both => format!("between: [{from}, {to}]"),
        Ways::There => format!("from: {from}, to: {to}"),
    };
    let figures = figures(of.link);
    format!("{{ {ends}, {}", &figures[2..])
}

/// A worker's name, in quotes where YAML would take it for something else.
fn worker_text(name: &str) -> String {
    let plain = name.starts_with(|letter: char| letter.is_ascii_alphabetic());
    if plain && !name.eq_ignore_ascii_case("null") {
        name.to_owned()
    } else {
        format!("\"{name}\"")
    }
}

type Entry = (Spanned<String>, Rc<Tree>);

fn entries(tree: &Tree) -> &[Entry] {
    match &tree.value {
        Value::Map(entries) => entries,
        Value::Null | Value::Scalar { .. } | Value::List(_) => &[],
    }
}

fn get<'a>(tree: &'a Tree, key: &str) -> Option<&'a Entry> {
    entries(tree).iter().find(|(name, _)| name.value == key)
}

struct Edit {
    range: Range<usize>,
    text: String,
}

struct Editor<'a> {
    text: &'a str,
    newline: &'static str,
    edits: Vec<Edit>,
}

impl<'a> Editor<'a> {
    /// Edits a file; `None` if its form is not understood. `keeps` says of two ends whether the link between them stays.
    fn cluster(
        &mut self,
        root: &Tree,
        link: Option<Link>,
        new: &[Listed<'_>],
        keeps: &dyn Fn(&str, &str) -> bool,
    ) -> Option<()> {
        if self.is_flow(0) {
            return None;
        }
        let mut more = String::new();
        if let Some(link) = link {
            match get(root, "link") {
                Some((key, tree)) => self.link(key, tree, link)?,
                None => more.push_str(&format!("link: {}{}", figures(link), self.newline)),
            }
        }
        match get(root, "links") {
            Some((key, tree)) => self.links(key, tree, new, keeps)?,
            None if new.is_empty() => {}
            None => more.push_str(&format!("links:{}{}", self.newline, self.lines("  ", new))),
        }
        if !more.is_empty() {
            let end = self.text.len();
            let is_open = !self.text.is_empty() && !self.text.ends_with('\n');
            let before = if is_open { self.newline } else { "" };
            self.edit(end..end, format!("{before}{more}"));
        }
        Some(())
    }

    fn edit(&mut self, range: Range<usize>, text: String) {
        self.edits.push(Edit { range, text });
    }

    /// Whether what comes next, but for blanks and comments, is in brackets.
    fn is_flow(&self, from: usize) -> bool {
        let mut letters = self.text[from..].chars();
        while let Some(letter) = letters.next() {
            match letter {
                '#' => {
                    letters.find(|letter| *letter == '\n');
                }
                '{' | '[' => return true,
                blank if is_blank(blank) => {}
                _ => return false,
            }
        }
        false
    }

    fn lines(&self, indent: &str, new: &[Listed<'_>]) -> String {
        let line = |one: &Listed<'_>| format!("{indent}- {}{}", item(one), self.newline);
        new.iter().map(line).collect()
    }

    /// Gives `link` other figures, each in the unit in which it is there.
    fn link(&mut self, key: &Spanned<String>, tree: &Tree, link: Link) -> Option<()> {
        let bandwidth = match get(tree, "bytes_per_s") {
            Some(_) => ("bytes_per_s", bytes_per_s_text(link)),
            None => ("bandwidth_mib_per_s", mib_per_s_text(link)),
        };
        let mut missing = Vec::new();
        for (name, figure) in [bandwidth, ("latency_us", latency_us_text(link))] {
            match get(tree, name) {
                Some((_, value)) => self.edit(self.scalar(value)?, figure),
                None => missing.push(format!("{name}: {figure}")),
            }
        }
        if missing.is_empty() {
            return Some(());
        }
        let Some((first, _)) = entries(tree).first() else {
            return None;
        };
        let end = self.end_of(tree, key.span.end);
        let is_flow = self.is_flow(self.behind_colon(key)?);
        let text = if is_flow {
            format!(", {}", missing.join(", "))
        } else {
            let indent = &self.text[line_start(self.text, first.span.start)..first.span.start];
            let lines = missing
                .iter()
                .map(|entry| format!("{}{indent}{entry}", self.newline));
            lines.collect()
        };
        let end = if is_flow {
            end
        } else {
            line_end(self.text, end)
        };
        self.edit(end..end, text);
        Some(())
    }

    /// Takes those links away that were measured, and adds those that differ behind the others.
    fn links(
        &mut self,
        key: &Spanned<String>,
        tree: &Tree,
        new: &[Listed<'_>],
        keeps: &dyn Fn(&str, &str) -> bool,
    ) -> Option<()> {
        let Value::List(items) = &tree.value else {
            return None;
        };
        let colon = self.behind_colon(key)?;
        if self.is_flow(colon) {
            return self.flow_links(colon, items, new, keeps);
        }
        let (mut kept, mut indent, mut behind) = (0, "  ", colon);
        for item in items {
            let (lines, before_dash) = self.lines_of(item)?;
            (indent, behind) = (before_dash, lines.end);
            if self.stays(item, keeps)? {
                kept += 1;
            } else {
                self.edit(lines, String::new());
            }
        }
        if kept + new.len() == 0 {
            self.edit(colon..colon, " []".to_owned());
        }
        let lines = self.lines(indent, new);
        // Behind what is the last line and has no end.
        let is_open = !self.text[..behind].ends_with('\n') && kept > 0;
        let before = if is_open { self.newline } else { "" };
        self.edit(behind..behind, format!("{before}{lines}"));
        Some(())
    }

    /// The same of a list in brackets, which becomes one with a line for each: if nothing but figures stands in it.
    fn flow_links(
        &mut self,
        colon: usize,
        items: &[Rc<Tree>],
        new: &[Listed<'_>],
        keeps: &dyn Fn(&str, &str) -> bool,
    ) -> Option<()> {
        let mut kept = String::new();
        for item in items {
            if self.stays(item, keeps)? {
                let end = self.end_of(item, item.span.end);
                let text = self.text[item.span.start..end].split_whitespace();
                let text: Vec<&str> = text.collect();
                let line = format!("  - {} }}{}", text.join(" "), self.newline);
                kept.push_str(&line);
            }
        }
        let open = colon + self.text[colon..].find('[')? + 1;
        let last = items
            .last()
            .map_or(open, |last| self.end_of(last, last.span.end));
        let end = last + self.text[last..].find(']')? + 1;
        let rest = &self.text[last..end];
        if self.text[colon..end].contains('#')
            || rest.contains(|letter| !matches!(letter, '}' | ']' | ',') && !is_blank(letter))
        {
            return None;
        }
        let lines = format!("{kept}{}", self.lines("  ", new));
        if lines.is_empty() {
            self.edit(colon..end, " []".to_owned());
        } else {
            // What else stands behind the brackets is a comment, which stays behind the key.
            let line_end = line_end(self.text, end);
            self.edit(colon..end, String::new());
            let lines = format!("{}{}", self.newline, lines.trim_end());
            self.edit(line_end..line_end, lines);
        }
        Some(())
    }

    /// Whether a link stays as it is.
    fn stays(&self, item: &Tree, keeps: &dyn Fn(&str, &str) -> bool) -> Option<bool> {
        let text = |tree: &Tree| match &tree.value {
            Value::Scalar { text, .. } => Some(text.to_string()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        };
        let ends = match get(item, "between") {
            Some((_, between)) => match &between.value {
                Value::List(ends) => match &ends[..] {
                    [a, b] => (text(a)?, text(b)?),
                    _ => return None,
                },
                _ => return None,
            },
            None => (text(&get(item, "from")?.1)?, text(&get(item, "to")?.1)?),
        };
        Some(keeps(&ends.0, &ends.1))
    }

    /// The lines that an item of a list has for itself, and what stands before its dash.
    fn lines_of(&self, item: &Tree) -> Option<(Range<usize>, &'a str)> {
        let before = self.text[..item.span.start].trim_end();
        let dash = before
            .len()
            .checked_sub(1)
            .filter(|_| before.ends_with('-'))?;
        let start = line_start(self.text, dash);
        let indent = &self.text[start..dash];
        if !indent.chars().all(is_blank) {
            return None;
        }
        let end = line_end(self.text, self.end_of(item, item.span.end));
        let rest = &self.text[end..];
        let newline = rest.find('\n').map_or(rest.len(), |newline| newline + 1);
        Some((start..end + newline, indent))
    }

    /// Where a plain value stands.
    fn scalar(&self, tree: &Tree) -> Option<Range<usize>> {
        let range = tree.span.start..tree.span.end;
        let text = self.text.get(range.clone())?;
        let is_number = text.parse::<f64>().is_ok();
        is_number.then_some(range)
    }

    /// Where the last scalar ends that is written in a value; `empty` if there is none.
    fn end_of(&self, tree: &Tree, empty: usize) -> usize {
        match &tree.value {
            Value::Map(entries) => entries
                .last()
                .map_or(empty, |(key, tree)| self.end_of(tree, key.span.end)),
            Value::List(items) => items
                .last()
                .map_or(empty, |last| self.behind_bracket(self.end_of(last, empty))),
            Value::Null | Value::Scalar { .. } => tree.span.end,
        }
    }

    /// Where the bracket ends that closes a list of two names, if one comes next.
    fn behind_bracket(&self, at: usize) -> usize {
        let rest = &self.text[at..];
        let trimmed = rest.trim_start();
        if trimmed.starts_with(']') {
            at + rest.len() - trimmed.len() + 1
        } else {
            at
        }
    }

    fn behind_colon(&self, key: &Spanned<String>) -> Option<usize> {
        let rest = &self.text[key.span.end..];
        let trimmed = rest.trim_start_matches(is_blank);
        let colon = key.span.end + rest.len() - trimmed.len();
        trimmed.starts_with(':').then_some(colon + 1)
    }

    fn apply(&mut self) -> String {
        self.edits
            .sort_by_key(|edit| (edit.range.start, edit.range.end));
        let mut text = String::with_capacity(self.text.len() + 128 * self.edits.len());
        let mut done = 0;
        for edit in &self.edits {
            text.push_str(&self.text[done..edit.range.start.max(done)]);
            text.push_str(&edit.text);
            done = edit.range.end.max(done);
        }
        text.push_str(&self.text[done..]);
        text
    }
}

const fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\n')
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Where the line ends in which a place is, before what ends it.
fn line_end(text: &str, at: usize) -> usize {
    let end = text[at..]
        .find('\n')
        .map_or(text.len(), |newline| at + newline);
    end - usize::from(text[at..end].ends_with('\r'))
}

/// What a file says, wherever in it that stands: its workers, `link`, and of each way what is said of it alone.
type Says = (
    Vec<(String, [Option<f64>; 4])>,
    RawLink,
    BTreeMap<(String, String), [Option<f64>; 2]>,
);

fn says(raw: &RawCluster) -> Says {
    let workers = raw.workers.iter().map(|worker| {
        let said = [
            worker.cpus.map(f64::from),
            worker.memory_mib.map(|mib| mib as f64),
            worker.lanes.map(f64::from),
            worker.speed,
        ];
        (worker.name.value.clone(), said)
    });
    let links = raw.links.iter().map(|pair| {
        let ends = (pair.from.value.clone(), pair.to.value.clone());
        (ends, [pair.link.bytes_per_s, pair.link.latency_us])
    });
    (workers.collect(), raw.link, links.collect())
}

/// What a file is to say: `link`, if that is given, in bytes if so, and the links that are new besides those that are kept.
fn expected(
    raw: &RawCluster,
    link: Option<(Link, bool)>,
    new: &[Listed<'_>],
    kept: impl Fn(&RawPair) -> bool,
) -> Says {
    let (workers, link_before, _) = says(raw);
    let read = |text: String| text.parse::<f64>().ok();
    let of = |link: Link| {
        let mib_per_s = read(mib_per_s_text(link));
        let bytes_per_s = mib_per_s.map(|mib_per_s| mib_per_s * MIB);
        [bytes_per_s, read(latency_us_text(link))]
    };
    let link = link.map_or(link_before, |(link, in_bytes)| {
        let [mut bytes_per_s, latency_us] = of(link);
        if in_bytes {
            bytes_per_s = read(bytes_per_s_text(link));
        }
        RawLink {
            bytes_per_s,
            latency_us,
        }
    });
    let pairs = raw.links.iter().filter(|pair| kept(pair));
    let mut links: BTreeMap<_, _> = pairs
        .map(|pair| {
            let ends = (pair.from.value.clone(), pair.to.value.clone());
            (ends, [pair.link.bytes_per_s, pair.link.latency_us])
        })
        .collect();
    for one in new {
        let (from, to) = (one.ends.0.to_owned(), one.ends.1.to_owned());
        if one.ways == Ways::Both {
            links.insert((to.clone(), from.clone()), of(one.link));
        }
        links.insert((from, to), of(one.link));
    }
    (workers, link, links)
}

#[cfg(test)]
mod tests;
