//! `faasflow profile`: what was measured of a running workflow, and its hints.

use crate::arguments::Profile as Arguments;
use crate::exit::Exit;
use crate::print::{self, Page, counted};
use crate::workers;
use engine::profile::Distribution;
use engine::worker::quantities::{duration_text, size_text};
use master::definition::{self, Definition};
use master::deploy::Cluster;
use master::feedback::FeedbackError;
use master::feedback::files::{self, Hinted};
use master::feedback::measured::{Node, Profile};
use miette::Diagnostic;
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Nodes that are named one by one where there may be thousands.
const NAMED_MAX: usize = 12;

#[derive(Debug, Error, Diagnostic)]
enum WriteError {
    #[error("{} is workflow {found}, and not {workflow}", path.display())]
    #[diagnostic(help("name the file of {workflow} first under --write"))]
    Other {
        path: PathBuf,
        found: String,
        workflow: String,
    },
    #[error("{} is no file of the workflow in {}", path.display(), main.display())]
    #[diagnostic(help("name files that it, or one that it names, holds by `workflow: PATH`"))]
    NoPart { path: PathBuf, main: PathBuf },
    #[error("cannot write the hints to {}: {source}", path.display())]
    #[diagnostic(help("{done}"))]
    Io {
        path: PathBuf,
        source: io::Error,
        done: String,
    },
}

/// `faasflow profile`
pub(crate) fn profile(arguments: &Arguments) -> Result<(), Exit> {
    // Before anything is asked, so that a wrong file costs nothing.
    let definition = match arguments.write.first() {
        Some(path) => Some(main_file(path, &arguments.workflow)?),
        None => None,
    };
    if let Some(definition) = &definition {
        check_parts(definition, &arguments.write)?;
    }
    let options = workers::options(&arguments.cluster.key)?;
    let mut cluster = Cluster::connect(&arguments.cluster.workers, &options)?;
    let profile = Profile::ask(&mut cluster, &arguments.workflow)?;
    let hinted = match &definition {
        Some(definition) => Some(write(definition, &profile, &arguments.write)?),
        None => None,
    };
    if arguments.reset {
        for worker in 0..cluster.len() {
            let takes_part = profile
                .workers
                .iter()
                .any(|one| one.name == cluster.name(worker));
            if takes_part {
                cluster.forget_profile(worker, &arguments.workflow)?;
            }
        }
    }
    if arguments.json {
        let mut object = to_json(&profile);
        if let Some(hinted) = &hinted {
            object["written"] = changes_json(hinted);
            object["left"] = left_json(hinted);
        }
        return print::json(&object);
    }
    let mut page = Page::default();
    show(&mut page, &profile);
    if let Some(hinted) = &hinted {
        page.line("");
        show_changes(&mut page, hinted, "written");
    }
    if arguments.reset {
        page.line("");
        page.line("what was measured is forgotten: counting begins anew");
    }
    page.print()
}

fn main_file(path: &Path, workflow: &str) -> Result<Definition, Exit> {
    let definition = definition::load(path)?;
    if definition.workflow.value != workflow {
        return Err(Exit::input(WriteError::Other {
            path: path.to_owned(),
            found: definition.workflow.value,
            workflow: workflow.to_owned(),
        }));
    }
    Ok(definition)
}

/// Whether a path leads to a file of the definition.
fn is_file(path: &Path, name: &str) -> bool {
    let known = Path::new(name).canonicalize();
    known.is_ok_and(|known| path.canonicalize().is_ok_and(|path| path == known))
}

fn check_parts(definition: &Definition, named: &[PathBuf]) -> Result<(), Exit> {
    for path in &named[1..] {
        if !definition
            .files
            .iter()
            .any(|file| is_file(path, &file.name))
        {
            return Err(Exit::input(WriteError::NoPart {
                path: path.clone(),
                main: named[0].clone(),
            }));
        }
    }
    Ok(())
}

/// Writes hints into the files that were named; what they are.
fn write(definition: &Definition, profile: &Profile, named: &[PathBuf]) -> Result<Hinted, Exit> {
    if profile.is_empty() {
        return Err(Exit::from(FeedbackError::NeverRun {
            workflow: profile.workflow.clone(),
            version: profile.version,
        }));
    }
    let mut hinted = Hinted::of(definition, profile).map_err(Exit::input)?;
    hinted.leave(|file| named.iter().any(|path| is_file(path, &file.name)));
    let mut done = "nothing was written".to_owned();
    for file in hinted.files.iter().filter(|file| !file.changes.is_empty()) {
        let path = Path::new(&file.name);
        files::replace(path, &file.text).map_err(|source| {
            Exit::work(WriteError::Io {
                path: path.to_owned(),
                source,
                done: done.clone(),
            })
        })?;
        done = format!("{} has its hints already", file.name);
    }
    Ok(hinted)
}

/// Tables of nodes, edges and workers.
fn show(page: &mut Page, profile: &Profile) {
    page.line(&format!("{} version {}", profile.workflow, profile.version));
    page.line("");
    let headings = [
        "node",
        "worker",
        "runs",
        "activations",
        "failed",
        "run mean",
        "p50",
        "p99",
        "busy",
        "queued p50",
        "p99",
        "output mean",
        "p99",
        "items",
    ];
    let rows = profile.nodes.iter().map(|node| row(profile, node));
    page.table(
        &headings,
        &[2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13],
        &rows.collect::<Vec<_>>(),
    );
    let edges = profile.edges();
    if !edges.is_empty() {
        page.line("");
        let rows = edges.iter().map(|edge| {
            let (from, to) = (&profile.nodes[edge.from], &profile.nodes[edge.to]);
            let travels = if edge.crosses {
                let worker = |node| &profile.worker(node).name;
                format!("{} → {}", worker(from), worker(to))
            } else {
                "in shared memory".to_owned()
            };
            vec![
                format!("{} → {}", from.name, to.name),
                edge.outputs.join(", "),
                or_dash(edge.mean_bytes.map(bytes_text)),
                or_dash(edge.p99_bytes.map(size_text)),
                travels,
                bytes_text(edge.crossing_bytes),
            ]
        });
        let headings = [
            "edge",
            "payloads",
            "mean",
            "p99",
            "travels",
            "crossing an invocation",
        ];
        page.table(&headings, &[2, 3, 5], &rows.collect::<Vec<_>>());
    }
    page.line("");
    let rows = profile.workers.iter().map(|worker| {
        vec![
            worker.name.clone(),
            worker.invocations.to_string(),
            worker.measured.to_string(),
        ]
    });
    page.table(
        &["worker", "invocations", "measured"],
        &[1, 2],
        &rows.collect::<Vec<_>>(),
    );
    page.line("");
    page.line(&format!(
        "{} cross workers for each invocation, inputs of the workflow apart",
        bytes_text(profile.crossing_bytes())
    ));
    let sums = profile.nodes.iter().filter(|node| !node.is_whole());
    let sums = sums.count();
    if sums > 0 {
        page.line(&format!(
            "of {} only counts and means are kept, since their workers keep histograms of no more",
            counted(sums, "node")
        ));
    }
}

fn row(profile: &Profile, node: &Node) -> Vec<String> {
    let share = node.share(profile.worker(node));
    let time = |ns: Option<f64>| or_dash(ns.map(|ns| duration_text(ns.round() as u64)));
    let at = |of: &Distribution, share| or_dash(of.quantile(share).map(duration_text));
    vec![
        node.name.clone(),
        profile.worker(node).name.clone(),
        or_dash(share.map(|share| format!("{:.1} %", share * 100.0))),
        node.activations.to_string(),
        node.failures.to_string(),
        time(node.run_ns.mean()),
        at(&node.run_ns, 0.5),
        at(&node.run_ns, 0.99),
        or_dash(
            node.cpu
                .busy_cpus()
                .map(|busy| format!("{:.0} %", busy * 100.0)),
        ),
        at(&node.queued_ns, 0.5),
        at(&node.queued_ns, 0.99),
        or_dash(node.output_mean_bytes().map(bytes_text)),
        or_dash(node.output_p99_bytes().map(size_text)),
        or_dash(
            node.items
                .as_ref()
                .and_then(Distribution::mean)
                .map(|items| format!("{items:.1}")),
        ),
    ]
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn bytes_text(bytes: f64) -> String {
    size_text(bytes.round() as u64)
}

/// What has changed in files, and what was left.
pub(crate) fn show_changes(page: &mut Page, hinted: &Hinted, verb: &str) {
    let rows = hinted.changes().map(|(file, change)| {
        vec![
            file.name.clone(),
            change.node.clone(),
            change.key.to_owned(),
            or_dash(change.old.clone()),
            change.new.clone(),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        page.line("the hints are what was measured already: nothing changes");
    } else {
        page.table(&["file", "node", "hint", "was", verb], &[3], &rows);
    }
    for (node, reason) in &hinted.left {
        page.line(&format!("{node} was left: {reason}"));
    }
    if !hinted.unmeasured.is_empty() {
        page.line(&format!(
            "{} never ran, and keeps what its file says: {}",
            counted(hinted.unmeasured.len(), "node"),
            named(&hinted.unmeasured)
        ));
    }
}

/// The first of many names.
pub(crate) fn named(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMED_MAX).map(String::as_str).collect();
    match names.len().saturating_sub(NAMED_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

pub(crate) fn changes_json(hinted: &Hinted) -> Value {
    let changes = hinted.changes().map(|(file, change)| {
        json!({
            "file": file.name,
            "node": change.node,
            "hint": change.key,
            "old": change.old,
            "new": change.new,
        })
    });
    changes.collect()
}

pub(crate) fn left_json(hinted: &Hinted) -> Value {
    let left = hinted.left.iter();
    let left = left.map(|(node, reason)| json!({ "node": node, "reason": reason }));
    let never = hinted.unmeasured.iter();
    let never = never.map(|node| json!({ "node": node, "reason": "it never ran" }));
    left.chain(never).collect()
}

fn times_json(of: &Distribution) -> [Value; 4] {
    [
        json!(of.count()),
        json!(of.mean().map(f64::round)),
        json!(of.quantile(0.5)),
        json!(of.quantile(0.99)),
    ]
}

/// One object; names end in their units.
fn to_json(profile: &Profile) -> Value {
    let nodes = profile.nodes.iter().map(|node| {
        let worker = profile.worker(node);
        let [runs, run_mean_ns, run_p50_ns, run_p99_ns] = times_json(&node.run_ns);
        let [waits, queued_mean_ns, queued_p50_ns, queued_p99_ns] = times_json(&node.queued_ns);
        let outputs = node.outputs.iter().map(|(name, bytes)| {
            json!({ "output": name, "mean_bytes": bytes.mean(), "p99_bytes": bytes.quantile(0.99) })
        });
        json!({
            "node": node.name,
            "worker": worker.name,
            "runs_share": node.share(worker),
            "activations": node.activations,
            "failed_attempts": node.failures,
            "measured_invocations": node.ran,
            "measured_runs": runs,
            "run_mean_ns": run_mean_ns,
            "run_p50_ns": run_p50_ns,
            "run_p99_ns": run_p99_ns,
            "cpu_runs": node.cpu.runs,
            "cpu_run_ns": node.cpu.run_ns,
            "cpu_ns": node.cpu.cpu_ns,
            "cpu_waited_ns": node.cpu.waited_ns,
            "busy_cpus": node.cpu.busy_cpus(),
            "measured_waits": waits,
            "queued_mean_ns": queued_mean_ns,
            "queued_p50_ns": queued_p50_ns,
            "queued_p99_ns": queued_p99_ns,
            "output_mean_bytes": node.output_mean_bytes(),
            "output_p99_bytes": node.output_p99_bytes(),
            "outputs": outputs.collect::<Vec<_>>(),
            "items_mean": node.items.as_ref().and_then(Distribution::mean),
            "items_p99": node.items.as_ref().and_then(|items| items.quantile(0.99)),
            "sums_only": !node.is_whole(),
        })
    });
    let edges = profile.edges().into_iter().map(|edge| {
        json!({
            "from": profile.nodes[edge.from].name,
            "to": profile.nodes[edge.to].name,
            "outputs": edge.outputs,
            "mean_bytes": edge.mean_bytes,
            "p99_bytes": edge.p99_bytes,
            "crosses_workers": edge.crosses,
            "crossing_per_invocation_bytes": edge.crossing_bytes,
        })
    });
    let workers = profile.workers.iter().map(|worker| {
        json!({
            "worker": worker.name,
            "invocations": worker.invocations,
            "measured_invocations": worker.measured,
        })
    });
    json!({
        "workflow": profile.workflow,
        "deployment": profile.deployment.to_string(),
        "version": profile.version,
        "workers": workers.collect::<Vec<_>>(),
        "nodes": nodes.collect::<Vec<_>>(),
        "edges": edges.collect::<Vec<_>>(),
        "crossing_per_invocation_bytes": profile.crossing_bytes(),
    })
}
