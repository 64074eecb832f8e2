//! Commands that look at, or change, what is deployed; what runs workflows is in `invoking`.

use crate::arguments::{Arguments, Completion, Deploy, Plan, Shell, Status, Undeploy};
use crate::exit::Exit;
use crate::explained::{self, Explained, Extent};
use crate::memory::Memory;
use crate::placing::{Wanted, place_nodes};
use crate::print::{self, Page};
use crate::replicas::Replicas;
use crate::workers;
use clap::CommandFactory;
use engine::plan::Limits;
use master::definition;
use master::deploy::{Cluster, Undeployed};
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

/// `faasflow plan`
pub(crate) fn plan(arguments: &Plan) -> Result<(), Exit> {
    let definition = definition::load(&arguments.file)?;
    let mut planned = place_nodes(
        &definition,
        &arguments.workers,
        &arguments.placing,
        arguments.count,
        &arguments.key,
    )?;
    planned.check_types(&definition)?;
    let extent = if arguments.all || arguments.json {
        Extent::All
    } else {
        Extent::Page
    };
    let explained = Explained::of(&definition, &planned, extent)?;
    let all = Replicas {
        definition: &definition,
        graph: &planned.graph,
        placements: &planned.placements,
        workers: &planned.workers,
    };
    let memory = Memory::of(
        &definition,
        &planned.graph,
        &planned.placements,
        &planned.workers,
    );
    if arguments.json {
        let mut object = explained.to_json();
        all.add_to(&mut object);
        object["memory"] = memory.to_json();
        return print::json(&object);
    }
    let mut page = Page::default();
    explained.show(&mut page, extent);
    if planned.placements.len() > 1 {
        page.line("");
        all.show(&mut page);
    }
    page.line("");
    memory.show(&mut page);
    page.print()
}

/// `faasflow deploy`
pub(crate) fn deploy(arguments: &Deploy) -> Result<(), Exit> {
    let definition = definition::load(&arguments.file)?;
    let wanted = Wanted::of(&arguments.placing)?;
    let options = workers::options(&arguments.cluster.key)?;
    let mut cluster = Cluster::connect(&arguments.cluster.workers, &options)?;
    let placing = wanted.on(cluster.capacities_mut())?;
    let capacities = cluster.capacities();
    let replicas = arguments.replicas.wanted();
    let deployed = cluster.deploy_replicas(&definition, &placing, replicas, Limits::default())?;
    let (graph, first) = (&deployed.graph, &deployed.placements[0]);
    let (estimate, line) = explained::in_a_line(&definition, graph, &capacities, &placing, first);
    let placed = Replicas {
        definition: &definition,
        graph,
        placements: &deployed.placements,
        workers: &capacities,
    };
    let memory = Memory::of(&definition, graph, &deployed.placements, &capacities);
    if arguments.json {
        let mut object = placed.to_json();
        object["memory"] = memory.to_json();
        object["deployment"] = json!(deployed.id.to_string());
        object["version"] = json!(deployed.version);
        object["balance"] = json!(replicas.balance.name());
        object["unkept"] = json!(deployed.unkept);
        object["estimate"] = json!({
            "makespan_ns": estimate.makespan_ns,
            "crossing_bytes": estimate.crossing_bytes,
        });
        return print::json(&object);
    }
    let mut page = Page::default();
    let divided = match replicas.count {
        1 => String::new(),
        count => format!(" in {count} placements, chosen {}", replicas.balance),
    };
    page.line(&format!(
        "{} version {} is deployed{divided}",
        definition.workflow.value, deployed.version
    ));
    if let Some(reason) = &deployed.unkept {
        page.line(&format!(
            "`faasflow rebalance` will ask for its file: {reason}"
        ));
    }
    page.line(&line);
    memory.show(&mut page);
    page.line("");
    placed.show(&mut page);
    page.print()
}

/// `faasflow undeploy`
pub(crate) fn undeploy(arguments: &Undeploy) -> Result<(), Exit> {
    let options = workers::options(&arguments.cluster.key)?;
    let mut cluster = Cluster::connect(&arguments.cluster.workers, &options)?;
    let Undeployed { from, absent } = cluster.undeploy(&arguments.workflow)?;
    let mut page = Page::default();
    page.line(&format!(
        "{} takes no new invocations; those in flight end",
        arguments.workflow
    ));
    if !absent.is_empty() {
        page.line(&format!(
            "it was taken away from {}; {} did not have it",
            from.join(", "),
            absent.join(", ")
        ));
    }
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
    crate::reads::show(&mut page, &all, arguments.edges);
    page.print()
}
