//! Commands that run workflows: on workers that are there, or on local ones started for the run.

use crate::arguments::{Invoke, Job, Run};
use crate::exit::{Exit, Failed};
use crate::explained;
use crate::inputs::InputArgument;
use crate::interrupt::Interrupt;
use crate::outputs::OutputArgument;
use crate::placing::Wanted;
use crate::print::{self, Page};
use crate::progress::Progress;
use crate::recorded::{self, Recorded};
use crate::targets::{self, Named};
use crate::{inputs, load, outputs, workers};
use engine::plan::Limits;
use engine::wire::{Failure, NodeReport, Tier};
use engine::worker::quantities::{duration_text as duration, size_text};
use master::client::{Answered, Client, ClientError, Invocation, Options, Payload};
use master::definition::{self, Definition};
use master::deploy::{Cluster, Replicas};
use master::diagnostics::to_stderr;
use master::local::{self, Between, LocalWorkers};
use serde_json::{Value, json};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

/// `faasflow invoke`
pub(crate) fn invoke(arguments: &Invoke) -> Result<(), Exit> {
    let options = workers::options(&arguments.cluster.key)?;
    outputs::check(&arguments.job.outputs, &arguments.workflow, None)?;
    recorded::check(&arguments.job)?;
    check_targets(&arguments.job, None)?;
    let inputs = inputs::read(&arguments.job.inputs, options.payload_bytes_max)?;
    work(
        &arguments.cluster.workers,
        &options,
        &arguments.workflow,
        &inputs,
        &arguments.job,
        &Interrupt::on_signal(),
    )
}

/// `faasflow run`
pub(crate) fn run(arguments: &Run) -> Result<(), Exit> {
    let definition = definition::load(&arguments.file)?;
    let options = workers::options(&arguments.key)?;
    let wanted = Wanted::of(&arguments.placing)?;
    let workflow = definition.workflow.value.as_str();
    let known: Vec<&str> = definition
        .outputs
        .iter()
        .map(|output| output.name.value.as_str())
        .collect();
    outputs::check(&arguments.job.outputs, workflow, Some(&known))?;
    recorded::check(&arguments.job)?;
    check_targets(&arguments.job, Some(&arguments.file))?;
    let inputs = inputs::read(&arguments.job.inputs, options.payload_bytes_max)?;
    inputs::check(&definition, &inputs)?;

    let interrupt = Interrupt::on_signal();
    let shared = &interrupt.workers;
    let addresses = {
        // Held while they start, so that a signal ends all of them or none.
        let mut slot = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let started = LocalWorkers::start(&local::Options {
            workers: arguments.local,
            functions: arguments.functions.clone().map_or_else(own_folder, Ok)?,
            wait: arguments.wait.map(|wait| wait.flag().to_owned()),
            executors: None,
            cpu_sets: None,
            memory_bytes: arguments.memory,
            key_file: arguments.key.cluster_key_file.clone(),
            grace_ms: arguments.grace_ms,
            flags: Vec::new(),
            between: match arguments.no_host_sharing {
                true => Between::Network,
                false => Between::Memory,
            },
        })?;
        to_stderr(&format!("faasflow: {}\n", started.note()));
        interrupt.started(started.killer());
        slot.insert(started).addresses()
    };
    let done = deploy_for_run(
        &addresses,
        &options,
        &definition,
        &wanted,
        arguments.replicas.wanted(),
    )
    .and_then(|()| {
        let job = &arguments.job;
        work(&addresses, &options, workflow, &inputs, job, &interrupt)
    });
    let started = shared.lock().unwrap_or_else(PoisonError::into_inner).take();
    drop(started);
    done
}

/// Deploys a workflow on the workers that were started for it, and says what is expected of it.
fn deploy_for_run(
    addresses: &[String],
    options: &Options,
    definition: &Definition,
    wanted: &Wanted,
    replicas: Replicas,
) -> Result<(), Exit> {
    let mut cluster = Cluster::connect(addresses, options)?;
    let placing = wanted.on(cluster.capacities_mut())?;
    let deployed = cluster.deploy_replicas(definition, &placing, replicas, Limits::default())?;
    let capacities = cluster.capacities();
    let (graph, placement) = (&deployed.graph, &deployed.placements[0]);
    let (_, line) = explained::in_a_line(definition, graph, &capacities, &placing, placement);
    to_stderr(&format!("faasflow: {line}\n"));
    Ok(())
}

/// What a call writes is nothing that it reads, and no two files are one.
fn check_targets(job: &Job, workflow: Option<&Path>) -> Result<(), Exit> {
    let outputs = job.outputs.iter().map(OutputArgument::target);
    let recorded = recorded::files(job).map(|(flag, path)| Named::new(flag, path));
    let written: Vec<Named<'_>> = outputs.chain(recorded).collect();
    let workflow = workflow.map(|path| Named::new("the workflow's file", path));
    let inputs = job.inputs.iter().filter_map(InputArgument::file);
    let read: Vec<Named<'_>> = workflow.into_iter().chain(inputs).collect();
    targets::check(&written, &read)
}

fn own_folder() -> Result<PathBuf, Exit> {
    let folder = std::env::current_exe().and_then(|exe| {
        let folder = exe.parent().map(PathBuf::from);
        folder.ok_or_else(|| std::io::ErrorKind::NotFound.into())
    });
    folder.map_err(|source| {
        local::LocalError::Functions {
            path: "the folder of this program".into(),
            source,
        }
        .into()
    })
}

/// Invokes as often as wanted, writes and prints what came of it.
fn work(
    workers: &[String],
    options: &Options,
    workflow: &str,
    inputs: &[(String, Payload)],
    job: &Job,
    interrupt: &Interrupt,
) -> Result<(), Exit> {
    let deadline_ms = job.deadline_ms.map(NonZeroU64::get);
    let invocation = Invocation {
        workflow,
        inputs,
        report: job.report,
        trace: recorded::is_wanted(job),
    };
    let Some(count) = job.count else {
        let mut client = Client::connect(&workers[0], options)?;
        interrupt.watch(client.canceller());
        let under_way = interrupt.under_way(deadline_ms);
        let progress = Progress::of_one(workflow, job);
        let answered = client.invoke(&load::one_of(&invocation, 1));
        drop(progress);
        drop(under_way);
        let answered = match answered {
            // It was cancelled before it was sent.
            Err(ClientError::Cancelled) => {
                return Err(Failed::alone(workflow, &Failure::Cancelled, interrupt.why()).into());
            }
            answered => answered?,
        };
        let recorded = recorded::write(job, workflow, &answered);
        return match &answered.result {
            Ok(_) => finish(job, workflow, &answered, None, recorded),
            Err(failure) => {
                let failed = Failed::alone(workflow, failure, interrupt.why());
                report_failed(job, failed, answered.report)
            }
        };
    };
    let concurrency = job.concurrency.get().into();
    let clients = load::connect(workers, options, count.get(), concurrency)?;
    for client in &clients {
        interrupt.watch(client.canceller());
    }
    let under_way = interrupt.under_way(deadline_ms);
    let progress = Progress::of_many(count.get(), job);
    let load = load::run(clients, &invocation, count.get(), concurrency, &progress);
    drop(progress);
    drop(under_way);
    let mut load = load?;
    let first_failed = load.failed.take().map(|(failure, report)| Failed {
        others_ended: load.ended(),
        report: if job.report { report } else { Vec::new() },
        ..Failed::alone(workflow, &failure, interrupt.why())
    });
    let many = Many { load, first_failed };
    let recorded = match &many.load.traced {
        Some(traced) => recorded::write(job, workflow, traced),
        None => Ok(None),
    };
    let finished = match &many.load.last {
        Some(answered) => finish(job, workflow, answered, Some(&many), recorded),
        None => summarize(job, &many).and(recorded.map(drop)),
    };
    match many.first_failed {
        Some(failed) => finished.and(Err(failed.into())),
        None => finished,
    }
}

/// What many invocations came to.
struct Many {
    load: load::Load,
    /// The first one that failed, with its report if that is wanted.
    first_failed: Option<Failed>,
}

impl Many {
    /// Adds it to an object, which keeps what it has: the report of the invocation whose outputs it shows.
    fn add_to(&self, object: &mut Value) {
        object["latency"] = self.load.to_json();
        let failed = self.first_failed.as_ref().map(Failed::to_json);
        for (key, value) in failed.iter().filter_map(Value::as_object).flatten() {
            if object.get(key).is_none() {
                object[key] = value.clone();
            }
        }
    }
}

/// Why the only invocation failed, with what its nodes did if that is wanted.
fn report_failed(job: &Job, mut failed: Failed, report: Vec<NodeReport>) -> Result<(), Exit> {
    if job.report && job.json {
        failed.report = report;
    } else if job.report && !report.is_empty() {
        let mut page = Page::default();
        show_report(&mut page, &report);
        page.print()?;
    }
    Err(failed.into())
}

/// What is left to say when no invocation ended well.
fn summarize(job: &Job, many: &Many) -> Result<(), Exit> {
    if job.json {
        let mut object = json!({});
        many.add_to(&mut object);
        return print::json(&object);
    }
    let mut page = Page::default();
    let report = many.first_failed.as_ref().map(|failed| &failed.report[..]);
    if let Some(report @ [_, ..]) = report {
        show_report(&mut page, report);
    }
    many.load.show(&mut page);
    page.print()
}

fn finish(
    job: &Job,
    workflow: &str,
    answered: &Answered,
    many: Option<&Many>,
    recorded: Result<Option<Recorded>, Exit>,
) -> Result<(), Exit> {
    // Results come first, whatever became of files about them.
    let (recorded, unrecorded) = match recorded {
        Ok(recorded) => (recorded, Ok(())),
        Err(exit) => (None, Err(exit)),
    };
    let outputs: &[(String, Payload)] = answered.result.as_deref().unwrap_or_default();
    let written = outputs::write(&job.outputs, workflow, outputs);
    // What has not got into its file is shown, as if no file had been named.
    let files = if written.is_ok() {
        &job.outputs[..]
    } else {
        &[]
    };
    if job.json {
        let mut object = json!({
            "workflow": workflow,
            "invocation": answered.invocation.to_string(),
            "latency_ns": answered.latency_ns,
            "outputs": outputs::to_json(files, outputs),
        });
        if job.report {
            object["report"] = json!(answered.report);
        }
        if let Some(many) = many {
            many.add_to(&mut object);
        }
        if let Some(recorded) = &recorded {
            object["trace"] = recorded.to_json();
        }
        return written.and(print::json(&object)).and(unrecorded);
    }
    let mut page = Page::default();
    outputs::show(&mut page, files, outputs);
    if job.report {
        page.line("");
        show_report(&mut page, &answered.report);
    }
    match many {
        Some(many) => many.load.show(&mut page),
        None => page.line(&format!(
            "invocation {} took {}",
            answered.invocation,
            duration(answered.latency_ns)
        )),
    }
    if let Some(recorded) = &recorded {
        recorded.show(&mut page);
    }
    written.and(page.print()).and(unrecorded)
}

/// A column of a report: its heading, what it says of a node, and whether a node has something to say there. One in which
/// no node has is left out.
type Column = (
    &'static str,
    fn(&NodeReport) -> String,
    fn(&NodeReport) -> bool,
);

const COLUMNS: [Column; 10] = [
    ("activations", |node| node.activations.to_string(), |_| true),
    ("well", |node| node.well.to_string(), |_| true),
    (
        "failed",
        |node| node.failed.to_string(),
        |node| node.failed > 0,
    ),
    (
        "cut off",
        |node| node.cut_off.to_string(),
        |node| node.cut_off > 0,
    ),
    (
        "skipped",
        |node| node.skipped.to_string(),
        |node| node.skipped > 0,
    ),
    (
        "attempts",
        |node| node.attempts.to_string(),
        |node| node.attempts != node.activations,
    ),
    (
        "failures",
        |node| node.failures.to_string(),
        |node| node.failures > 0,
    ),
    ("busy", |node| duration(node.busy_ns), |_| true),
    (
        "in failures",
        |node| duration(node.failed_ns),
        |node| node.failed_ns > 0,
    ),
    ("first to last", |node| duration(node.span_ns), |_| true),
];

/// What each node did: a line for the node with its first edge, and one for each further edge.
fn show_report(page: &mut Page, report: &[NodeReport]) {
    let says = |(_, _, says): &&Column| report.iter().any(says);
    let columns: Vec<&Column> = COLUMNS.iter().filter(says).collect();
    let mut rows = Vec::new();
    for node in report {
        let edge = |edge: &engine::wire::EdgeReport| {
            format!(
                "{}: {}, {}",
                edge.from,
                tier(edge.tier),
                size_text(edge.bytes)
            )
        };
        let mut edges = node.edges.iter().map(edge);
        let mut row = vec![node.node.clone(), node.worker.clone()];
        row.extend(columns.iter().map(|(_, text, _)| text(node)));
        row.push(edges.next().unwrap_or_default());
        rows.push(row);
        rows.extend(edges.map(|edge| {
            let mut row = vec![String::new(); 2 + columns.len()];
            row.push(edge);
            row
        }));
    }
    let mut headings = vec!["node", "worker"];
    headings.extend(columns.iter().map(|(heading, ..)| *heading));
    headings.push("payloads from");
    let numbers: Vec<usize> = (2..2 + columns.len()).collect();
    page.table(&headings, &numbers, &rows);
    page.line("");
}

const fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Inline => "inline",
        Tier::Shared => "shared",
        Tier::Peer => "peer",
    }
}
