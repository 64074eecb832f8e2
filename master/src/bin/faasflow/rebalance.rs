//! `faasflow rebalance`: a running workflow, placed anew by what was measured of it.

use crate::arguments::Rebalance as Arguments;
use crate::exit::Exit;
use crate::print::{self, Page, counted};
use crate::profile::{changes_json, left_json, show_changes};
use crate::workers;
use engine::worker::quantities::{duration_text, size_text};
use master::definition;
use master::deploy::{Cluster, Deployment};
use master::feedback::rebalance::Rebalance;
use master::place::Estimate;
use serde_json::{Value, json};

/// Moves that are shown one by one.
const MOVES_MAX: usize = 40;

/// What becomes of a new placement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// It is to be deployed.
    Deploys,
    /// It would be, but for --dry-run.
    Would,
    /// It does not pay.
    Stays,
}

/// `faasflow rebalance`
pub(crate) fn rebalance(arguments: &Arguments) -> Result<(), Exit> {
    let file = match &arguments.file {
        Some(path) => Some(definition::load(path)?),
        None => None,
    };
    let options = workers::options(&arguments.cluster.key)?;
    let mut cluster = Cluster::connect(&arguments.cluster.workers, &options)?;
    let planned = Rebalance::plan(&mut cluster, &arguments.workflow, file)?;
    let verdict = if !arguments.force && !planned.pays(arguments.min_gain) {
        Verdict::Stays
    } else if arguments.dry_run {
        Verdict::Would
    } else {
        Verdict::Deploys
    };
    let mut object = to_json(&arguments.workflow, &planned);
    let mut page = Page::default();
    show(&mut page, &planned);
    let version = planned.version;
    let why = why(&planned, arguments.min_gain);
    let deployed = match verdict {
        Verdict::Deploys => Some(planned.deploy(&mut cluster)?),
        Verdict::Would | Verdict::Stays => None,
    };
    if arguments.json {
        object["min_gain_percent"] = json!(arguments.min_gain);
        object["deployed"] = json!(deployed.is_some());
        object["pays"] = json!(verdict != Verdict::Stays);
        if let Some(deployed) = &deployed {
            object["deployment"] = json!(deployed.id.to_string());
            object["version"] = json!(deployed.version);
            object["unkept"] = json!(deployed.unkept);
        }
        return print::json(&object);
    }
    page.line("");
    page.line(&match (verdict, &deployed) {
        (_, Some(deployed)) => said_deployed(&arguments.workflow, version, deployed),
        (Verdict::Would, None) => "nothing was changed: --dry-run".to_owned(),
        (_, None) => format!("version {version} stays as it is: {why}"),
    });
    page.print()
}

fn said_deployed(workflow: &str, before: u32, deployed: &Deployment) -> String {
    let mut said = format!(
        "{workflow} version {} is deployed; what version {before} has under way ends there",
        deployed.version
    );
    if let Some(reason) = &deployed.unkept {
        said.push_str(&format!(
            "\n`faasflow rebalance` will ask for its file: {reason}"
        ));
    }
    said
}

/// Why it does not pay.
fn why(planned: &Rebalance, min_gain: f64) -> String {
    if planned.moves.is_empty() {
        return "every node would stay where it is".to_owned();
    }
    format!(
        "the new placement gains {:.1} %, and --min-gain asks for {min_gain} % (--force deploys it all the same)",
        planned.gain_percent()
    )
}

fn show(page: &mut Page, planned: &Rebalance) {
    show_changes(page, &planned.hinted, "measured");
    page.line("");
    if planned.moves.is_empty() {
        page.line("no node moves");
    } else {
        let rows = planned.moves.iter().take(MOVES_MAX);
        let rows = rows.map(|one| vec![one.node.clone(), one.from.clone(), one.to.clone()]);
        page.table(&["node", "from", "to"], &[], &rows.collect::<Vec<_>>());
        if let Some(more) = planned
            .moves
            .len()
            .checked_sub(MOVES_MAX)
            .filter(|more| *more > 0)
        {
            page.line(&format!("and {} more", counted(more, "node")));
        }
    }
    page.line("");
    let row = |name: &str, estimate: &Estimate| {
        vec![
            name.to_owned(),
            duration_text(estimate.makespan_ns.round() as u64),
            size_text(estimate.crossing_bytes.round() as u64),
        ]
    };
    let rows = [row("present", &planned.before), row("new", &planned.after)];
    page.table(
        &["placement", "makespan, estimated", "crossing workers"],
        &[1, 2],
        &rows,
    );
}

fn to_json(workflow: &str, planned: &Rebalance) -> Value {
    let moves = planned.moves.iter();
    let moves = moves.map(|one| json!({ "node": one.node, "from": one.from, "to": one.to }));
    let estimate = |of: &Estimate| json!({ "makespan_ns": of.makespan_ns.round(), "crossing_bytes": of.crossing_bytes.round() });
    json!({
        "workflow": workflow,
        "version_before": planned.version,
        "hints": changes_json(&planned.hinted),
        "left": left_json(&planned.hinted),
        "moves": moves.collect::<Vec<_>>(),
        "present": estimate(&planned.before),
        "new": estimate(&planned.after),
        "gain_percent": planned.gain_percent(),
    })
}
