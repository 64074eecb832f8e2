//! Measured links, written into the text of a cluster file: `link` and `links` change, and nothing else does.
//!
//! A text is edited line by line, so that comments, order and what people have written of workers stay byte for byte. What was
//! made is read again and compared with what there was before anybody gets it: a text whose form is not understood well enough
//! is an error, never a changed cluster.

mod edit;

use super::Link;
use super::measured::{
    Listed, MeasuredLink, Ways, bytes_per_s_text, latency_us_text, listed, median_link,
    mib_per_s_text,
};
use crate::definition::cluster::{RawCluster, RawLink, RawPair, cluster};
use crate::definition::problem::{Problems, utf8_of};
use crate::definition::tree::{self, Tree};
use crate::definition::{DefinitionError, SourceText, Spanned};
use edit::{Wanted, edit, figures, get, item};
use std::collections::{BTreeMap, BTreeSet};
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
    let kept = |pair: &RawPair| !(is_measured(&pair.from) && is_measured(&pair.to));
    let keeps = |from: &str, to: &str| !(ends.contains(from) && ends.contains(to));
    let wanted = Wanted {
        link: (!link_stays).then_some(link),
        links: &all,
        keeps: &keeps,
    };
    let text = edit(&source.text, &root, &wanted).ok_or_else(form)?;
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
