//! `faasflow rebalance`: a running workflow, placed anew by what was measured of it.

use crate::arguments::Rebalance as Arguments;
use crate::exit::Exit;
use crate::print::{self, Page, counted};
use crate::profile::{changes_json, gaps_json, left_json, show_changes, show_gaps};
use crate::workers;
use engine::plan::Balance;
use engine::worker::quantities::{duration_text, size_text};
use master::definition;
use master::deploy::{Cluster, Deployment, Replicas};
use master::feedback::rebalance::{Move, Rebalance, Wanted};
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
    let wanted = Wanted {
        count: arguments.replicas,
        balance: arguments.balance,
    };
    let planned = Rebalance::plan(&mut cluster, &arguments.workflow, file, wanted)?;
    let verdict = if !arguments.force && !planned.pays(arguments.min_gain) {
        Verdict::Stays
    } else if arguments.dry_run {
        Verdict::Would
    } else {
        Verdict::Deploys
    };
    let mut object = to_json(&arguments.workflow, &planned);
    let mut page = Page::default();
    show(&mut page, &planned, arguments.balance);
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
        "{} {:.1} %, and --min-gain asks for {min_gain} % (--force deploys it all the same)",
        if planned.after.len() == 1 {
            "the new placement gains"
        } else {
            "the new placements gain"
        },
        planned.gain_percent()
    )
}

fn show(page: &mut Page, planned: &Rebalance, balance: Option<Balance>) {
    show_changes(page, &planned.hinted, "measured");
    show_gaps(page, &planned.profile, Some(&planned.hinted));
    page.line("");
    if balance.is_some() && planned.replicas.count == 1 {
        page.line("--balance changes nothing: there is one placement");
    }
    if planned.changes_replicas() {
        page.line(&format!(
            "{}, instead of {}",
            said_replicas(planned.replicas),
            said_replicas(planned.replicas_before)
        ));
    }
    show_moves(page, planned);
    page.line("");
    let headings = ["placement", "makespan, estimated", "crossing workers"];
    let rows = rows("present", &planned.before)
        .into_iter()
        .chain(rows("new", &planned.after));
    page.table(&headings, &[1, 2], &rows.collect::<Vec<_>>());
}

fn show_moves(page: &mut Page, planned: &Rebalance) {
    if planned.moves.is_empty() {
        page.line("no node moves");
        return;
    }
    let several = planned.before.len() > 1 || planned.after.len() > 1;
    let mut headings = vec!["node", "from", "to"];
    if several {
        headings.insert(1, "placement");
    }
    let rows = planned.moves.iter().take(MOVES_MAX).map(|one| {
        let from = match one.instead_of {
            None => "-".to_owned(),
            Some(_) => one.from.clone(),
        };
        let mut row = vec![one.node.clone(), from, one.to.clone()];
        if several {
            row.insert(1, one.placement.to_string());
        }
        row
    });
    page.table(&headings, &[], &rows.collect::<Vec<_>>());
    if let Some(more @ 1..) = planned.moves.len().checked_sub(MOVES_MAX) {
        page.line(&format!("and {} more", counted(more, "node")));
    }
}

/// As in `2 placements, chosen by load`.
fn said_replicas(replicas: Replicas) -> String {
    match replicas.count {
        1 => counted(1, "placement"),
        count => format!(
            "{}, chosen {}",
            counted(count.into(), "placement"),
            replicas.balance
        ),
    }
}

/// A row for each placement; of several, one for their mean too.
fn rows(name: &str, placements: &[Estimate]) -> Vec<Vec<String>> {
    let row = |name: String, (makespan_ns, crossing_bytes): (f64, f64)| {
        vec![
            name,
            duration_text(makespan_ns.round() as u64),
            size_text(crossing_bytes.round() as u64),
        ]
    };
    let mean = Rebalance::mean_of(placements);
    if placements.len() == 1 {
        return vec![row(name.to_owned(), mean)];
    }
    let each = placements.iter().zip(1..).map(|(one, number)| {
        let of = (one.makespan_ns, one.crossing_bytes);
        row(format!("{name} {number}"), of)
    });
    let mut rows: Vec<Vec<String>> = each.collect();
    rows.push(row(format!("{name}, in the mean"), mean));
    rows
}

fn to_json(workflow: &str, planned: &Rebalance) -> Value {
    let moved = |one: &Move| {
        json!({
            "node": one.node,
            "placement": one.placement,
            "placement_before": one.instead_of,
            "from": one.instead_of.map(|_| &one.from),
            "to": one.to,
        })
    };
    let estimates = |placements: &[Estimate]| {
        let numbers = |(makespan_ns, crossing_bytes): (f64, f64)| json!({ "makespan_ns": makespan_ns.round(), "crossing_bytes": crossing_bytes.round() });
        let mut object = numbers(Rebalance::mean_of(placements));
        let each = placements.iter();
        let each = each.map(|one| numbers((one.makespan_ns, one.crossing_bytes)));
        object["placements"] = each.collect();
        object
    };
    let replicas = |of: Replicas| json!({ "replicas": of.count, "balance": of.balance.name() });
    json!({
        "workflow": workflow,
        "version_before": planned.version,
        "hints": changes_json(&planned.hinted),
        "left": left_json(&planned.hinted),
        "gaps": gaps_json(&planned.profile, &planned.profile.whole_nodes()),
        "replicas_before": replicas(planned.replicas_before),
        "replicas": replicas(planned.replicas),
        "moves": planned.moves.iter().map(moved).collect::<Vec<_>>(),
        "present": estimates(&planned.before),
        "new": estimates(&planned.after),
        "gain_percent": planned.gain_percent(),
    })
}
