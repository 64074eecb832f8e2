//! Commands that look at, or change, what is deployed; what runs workflows is in `invoking`.

use crate::arguments::{Arguments, Completion, Deploy, Key, Pins, Plan, Shell, Status, Undeploy};
use crate::exit::Exit;
use crate::placed::Placed;
use crate::print::{self, Page};
use crate::workers;
use clap::CommandFactory;
use engine::plan::Limits;
use master::definition::{self, Definition};
use master::deploy::Cluster;
use master::division;
use master::graph::Graph;
use master::place::{self, Placement, WorkerCapacity};
use serde_json::json;

/// `faasflow schema`
pub(crate) fn schema() -> Result<(), Exit> {
    print::json(&definition::schema())
}

/// `faasflow completion`
pub(crate) fn completion(arguments: &Completion) -> Result<(), Exit> {
    use clap_complete::Shell as For;
    let shell = match arguments.shell {
        Shell::Bash => For::Bash,
        Shell::Zsh => For::Zsh,
        Shell::Fish => For::Fish,
    };
    let mut script = Vec::new();
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    let mut page = Page::default();
    page.line(String::from_utf8_lossy(&script).trim_end());
    page.print()
}

/// A node that is to run on two workers.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("--pin {node} is given twice: for worker {first}, and for worker {second}")]
#[diagnostic(help("a node runs on one worker: take one of the two away"))]
struct PinnedTwice {
    node: String,
    first: String,
    second: String,
}

/// What `--pin` asks of the placement.
pub(crate) fn place_options(pins: &Pins) -> Result<place::Options, Exit> {
    let mut options = place::Options::default();
    for (node, second) in &pins.pins {
        if let Some(first) = options.fixed.insert(node.clone(), second.clone()) {
            let (node, second) = (node.clone(), second.clone());
            return Err(Exit::input(PinnedTwice {
                node,
                first,
                second,
            }));
        }
    }
    Ok(options)
}

/// Where the nodes would run, on workers that are asked, or described.
pub(crate) fn place_nodes(
    definition: &Definition,
    workers: &[String],
    pins: &Pins,
    key: &Key,
) -> Result<(Graph, Placement, Vec<WorkerCapacity>), Exit> {
    let options = place_options(pins)?;
    let capacities = match workers::described(workers, key)? {
        Some(capacities) => capacities,
        None => Cluster::connect(workers, &workers::options(key)?)?.capacities(),
    };
    let (graph, placement) = division::place(definition, &capacities, &options)?;
    Ok((graph, placement, capacities))
}

/// `faasflow plan`
pub(crate) fn plan(arguments: &Plan) -> Result<(), Exit> {
    let definition = definition::load(&arguments.file)?;
    let (graph, placement, capacities) = place_nodes(
        &definition,
        &arguments.workers,
        &arguments.pins,
        &arguments.key,
    )?;
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
    let pins = place_options(&arguments.pins)?;
    let options = workers::options(&arguments.cluster.key)?;
    let mut cluster = Cluster::connect(&arguments.cluster.workers, &options)?;
    let capacities = cluster.capacities();
    let deployed = cluster.deploy(&definition, &pins, Limits::default())?;
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
        object["unkept"] = json!(deployed.unkept);
        return print::json(&object);
    }
    let mut page = Page::default();
    page.line(&format!(
        "{} version {} is deployed",
        definition.workflow.value, deployed.version
    ));
    if let Some(reason) = &deployed.unkept {
        page.line(&format!(
            "`faasflow rebalance` will ask for its file: {reason}"
        ));
    }
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
