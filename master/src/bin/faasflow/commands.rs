//! Commands that look at, or change, what is deployed; what runs workflows is in `invoking`.

use crate::arguments::{Deploy, Pins, Plan, Status, Undeploy, Validate};
use crate::exit::Exit;
use crate::placed::Placed;
use crate::print::{self, Page};
use crate::workers;
use engine::plan::Limits;
use master::definition;
use master::deploy::Cluster;
use master::diagnostics::to_stderr;
use master::graph::Graph;
use master::place;
use miette::Report;
use serde_json::json;

/// `faasflow validate`
pub(crate) fn validate(arguments: &Validate) -> Result<(), Exit> {
    let definition = definition::load(&arguments.file)?;
    for warning in &definition.warnings {
        to_stderr(&format!("{:?}\n", Report::new(warning.clone())));
    }
    if arguments.deny_warnings && !definition.warnings.is_empty() {
        return Err(Exit::input(Denied(definition.warnings.len())));
    }
    let mut page = Page::default();
    page.line(&format!(
        "{} is valid: {}, {}, {}",
        definition.workflow.value,
        counted(definition.nodes.len(), "node"),
        counted(definition.inputs.len(), "input"),
        counted(definition.outputs.len(), "output"),
    ));
    page.print()
}

/// What is suspicious is not wanted.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{} in a definition that is otherwise valid", counted(*.0, "warning"))]
#[diagnostic(help("--deny-warnings makes this an error"))]
struct Denied(usize);

/// `faasflow schema`
pub(crate) fn schema() -> Result<(), Exit> {
    print::json(&definition::schema())
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// What `--pin` asks of the placement.
pub(crate) fn place_options(pins: &Pins) -> place::Options {
    place::Options {
        fixed: pins.pins.iter().cloned().collect(),
        ..place::Options::default()
    }
}

/// `faasflow plan`
pub(crate) fn plan(arguments: &Plan) -> Result<(), Exit> {
    let definition = definition::load(&arguments.file)?;
    let capacities = match workers::described(&arguments.workers)? {
        Some(capacities) => capacities,
        None => {
            let options = workers::options(&arguments.key)?;
            Cluster::connect(&arguments.workers, &options)?.capacities()
        }
    };
    let graph = Graph::of(&definition);
    let placement = place::place(&graph, &capacities, &place_options(&arguments.pins))?;
    let placed = Placed {
        definition: &definition,
        graph: &graph,
        placement: &placement,
        workers: &capacities,
    };
    if arguments.json {
        return print::json(&placed.to_json());
    }
    let mut page = Page::default();
    placed.show(&mut page);
    page.print()
}

/// `faasflow deploy`
pub(crate) fn deploy(arguments: &Deploy) -> Result<(), Exit> {
    let definition = definition::load(&arguments.file)?;
    let options = workers::options(&arguments.cluster.key)?;
    let mut cluster = Cluster::connect(&arguments.cluster.workers, &options)?;
    let capacities = cluster.capacities();
    let deployed = cluster.deploy(
        &definition,
        &place_options(&arguments.pins),
        Limits::default(),
    )?;
    let placed = Placed {
        definition: &definition,
        graph: &deployed.graph,
        placement: &deployed.placement,
        workers: &capacities,
    };
    if arguments.json {
        let mut object = placed.to_json();
        object["deployment"] = json!(deployed.id.to_string());
        object["version"] = json!(deployed.version);
        return print::json(&object);
    }
    let mut page = Page::default();
    page.line(&format!(
        "{} version {} is deployed",
        definition.workflow.value, deployed.version
    ));
    page.line("");
    placed.show(&mut page);
    page.print()
}

/// `faasflow undeploy`
pub(crate) fn undeploy(arguments: &Undeploy) -> Result<(), Exit> {
    let options = workers::options(&arguments.cluster.key)?;
    Cluster::connect(&arguments.cluster.workers, &options)?.undeploy(&arguments.workflow)?;
    let mut page = Page::default();
    page.line(&format!(
        "{} takes no new invocations; those in flight end",
        arguments.workflow
    ));
    page.print()
}

/// `faasflow status`
pub(crate) fn status(arguments: &Status) -> Result<(), Exit> {
    let options = workers::options(&arguments.cluster.key)?;
    let all = Cluster::connect(&arguments.cluster.workers, &options)?.status()?;
    if arguments.json {
        return print::json(&json!({ "workers": all }));
    }
    let mut page = Page::default();
    crate::status::show(&mut page, &all);
    page.print()
}
