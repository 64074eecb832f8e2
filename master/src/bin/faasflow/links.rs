//! `faasflow links`: what lies between workers, measured by them, and written into a cluster file.

use crate::arguments::Links as Arguments;
use crate::exit::Exit;
use crate::outputs::writable;
use crate::print::{self, Page, counted};
use crate::progress::Progress;
use crate::workers;
use master::deploy::{Cluster, LinkEffort};
use master::feedback::files;
use master::place::{
    ClusterError, ClusterFile, DescribeError, DescribedLinks, Link, MeasuredLink, describe_links,
    latency_us_text, median_link, mib_per_s_text,
};
use miette::Diagnostic;
use serde_json::{Value, json};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Instant;
use thiserror::Error;

const MIB: f64 = 1_048_576.0;

#[derive(Debug, Error, Diagnostic)]
enum LinksError {
    #[error("{name} is the only worker, and a link has two ends")]
    #[diagnostic(help("name two workers at least: --workers HOST:PORT,HOST:PORT"))]
    Alone { name: String },
    #[error("--write {path}: {source}")]
    #[diagnostic(help(
        "name a cluster file, or a new one in a folder that may be written; nothing was measured"
    ))]
    Target { path: String, source: io::Error },
    #[error("cannot write the links to {path}: {source}")]
    #[diagnostic(help("what was measured stands above; name another file under --write"))]
    Write { path: String, source: io::Error },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Describe(#[from] DescribeError),
}

/// `faasflow links`
pub(crate) fn links(arguments: &Arguments) -> Result<(), Exit> {
    if let Some(path) = &arguments.write {
        check_target(path)?;
    }
    let options = workers::options(&arguments.cluster.key)?;
    let mut cluster = Cluster::connect(&arguments.cluster.workers, &options)?;
    let names: Vec<String> = cluster.descriptions().map(|one| one.name.clone()).collect();
    if let [name] = &names[..] {
        let name = name.clone();
        return Err(Exit::input(LinksError::Alone { name }));
    }
    if let Some(path) = &arguments.write {
        rehearse(path, &names)?;
    }
    let measured = measure(&mut cluster, arguments.json)?;
    let mut page = Page::default();
    show(&mut page, &measured);
    let mut object = to_json(&measured);
    if let Some(path) = &arguments.write {
        // What was measured took a while to be: it is shown, whatever becomes of the file.
        match write(path, &measured) {
            Ok(described) => {
                object["written"] = written_json(path, &described);
                page.line("");
                page.line(&written_line(path, &described));
            }
            Err(exit) => {
                if arguments.json {
                    object["error"] = exit.to_json()["error"].take();
                    print::json(&object)?;
                } else {
                    page.print()?;
                }
                return Err(exit);
            }
        }
    }
    if arguments.json {
        return print::json(&object);
    }
    page.print()
}

/// What can be told about the file before anything is measured.
fn check_target(path: &Path) -> Result<(), Exit> {
    match ClusterFile::load(path) {
        Ok(_) => {}
        Err(ClusterError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    writable(path, folder).map_err(|source| {
        let path = path.display().to_string();
        Exit::input(LinksError::Target { path, source })
    })
}

/// Whether the file can be changed as it may have to be: for links of which no two are alike.
fn rehearse(path: &Path, names: &[String]) -> Result<(), Exit> {
    let Ok(before) = std::fs::read(path) else {
        // It is not there, or is told of when it is written.
        return Ok(());
    };
    let mut link = Link::DEFAULT;
    let mut all = Vec::new();
    for (from, to) in pairs(names.len()) {
        link.bytes_per_s /= 2.0;
        all.push(MeasuredLink {
            from: names[from].clone(),
            to: names[to].clone(),
            link,
            round_trips: 0,
            bytes: 0,
        });
    }
    let described = describe_links(&path.display().to_string(), Some(&before), &all);
    described.map_err(|error| Exit::input(LinksError::from(error)))?;
    Ok(())
}

/// Every pair of so many workers, both ways.
fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    let all = (0..count).flat_map(move |from| (0..count).map(move |to| (from, to)));
    all.filter(|(from, to)| from != to)
}

/// Each link, both ways, one after the other: two at once could share a cable.
fn measure(cluster: &mut Cluster, json: bool) -> Result<Vec<MeasuredLink>, Exit> {
    let count = cluster.len();
    let mut measured = Vec::with_capacity(count * (count - 1));
    let progress = Progress::of_links((count * (count - 1)) as u64, json);
    for (from, to) in pairs(count) {
        let began = Instant::now();
        measured.push(cluster.measure_link(from, to, LinkEffort::default())?);
        progress.answered(began.elapsed().as_nanos() as u64);
    }
    Ok(measured)
}

/// Writes links into a file, as it is now.
fn write(path: &Path, measured: &[MeasuredLink]) -> Result<DescribedLinks, Exit> {
    let name = path.display().to_string();
    let failed = |source| {
        let path = name.clone();
        Exit::work(LinksError::Write { path, source })
    };
    let before = match std::fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let described = describe_links(&name, before.as_deref(), measured);
    let described = described.map_err(|error| Exit::input(LinksError::from(error)))?;
    let written = match before {
        Some(_) => files::replace(path, &described.text),
        None => files::create(path, &described.text),
    };
    written.map_err(failed)?;
    Ok(described)
}

fn show(page: &mut Page, measured: &[MeasuredLink]) {
    let rows = measured.iter().map(|one| {
        vec![
            one.from.clone(),
            one.to.clone(),
            format!("{} µs", latency_us_text(one.link)),
            format!("{} MiB/s", mib_per_s_text(one.link)),
        ]
    });
    let headings = ["from", "to", "latency", "bandwidth"];
    page.table(&headings, &[2, 3], &rows.collect::<Vec<_>>());
}

fn written_line(path: &Path, described: &DescribedLinks) -> String {
    let (bandwidth, latency) = (
        mib_per_s_text(described.link),
        latency_us_text(described.link),
    );
    let stays = if described.link_stays {
        ", which stays, since it tells of other workers, too"
    } else {
        ""
    };
    let others = match described.listed {
        0 => "and no link differs".to_owned(),
        count => format!(
            "and {} that {}",
            counted(count, "link"),
            if count == 1 { "differs" } else { "differ" }
        ),
    };
    format!(
        "{} has {bandwidth} MiB/s and {latency} µs between any two workers{stays}, {others}",
        path.display()
    )
}

fn link_json(link: Link) -> Value {
    json!({
        "latency_us": link.latency_ns / 1e3,
        "bandwidth_mib_per_s": link.bytes_per_s / MIB,
    })
}

/// One object; names end in their units.
fn to_json(measured: &[MeasuredLink]) -> Value {
    let links = measured.iter().map(|one| {
        let mut object = link_json(one.link);
        object["from"] = json!(one.from);
        object["to"] = json!(one.to);
        object["round_trips"] = json!(one.round_trips);
        object["measured_bytes"] = json!(one.bytes);
        object
    });
    json!({
        "links": links.collect::<Vec<_>>(),
        "median": median_link(measured).map(link_json),
    })
}

fn written_json(path: &Path, described: &DescribedLinks) -> Value {
    json!({
        "file": path.display().to_string(),
        "link": link_json(described.link),
        "link_stays": described.link_stays,
        "listed": described.listed,
    })
}
