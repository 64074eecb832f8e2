//! What is proven of an invocation's memory, or what is missing for that.

use crate::print::Page;
use engine::worker::quantities::size_text;
use master::definition::Definition;
use master::graph::Graph;
use master::memory::{self, Proven, Undeclared};
use master::place::{Placement, WorkerCapacity};
use serde_json::{Value, json};

/// What is said of the memory of a deployment, placement by placement.
pub(crate) enum Memory {
    /// All is declared.
    Proven(Vec<Proven>),
    /// This is not; and whether anything else is.
    Undeclared(Vec<Undeclared>, bool),
}

impl Memory {
    /// What there is to say of these placements.
    pub(crate) fn of(
        definition: &Definition,
        graph: &Graph,
        placements: &[Placement],
        workers: &[WorkerCapacity],
    ) -> Self {
        if !memory::is_proven(definition) {
            let undeclared = memory::undeclared(definition);
            return Self::Undeclared(undeclared, memory::declares(definition));
        }
        let proven = placements
            .iter()
            .map(|placement| memory::foretell(definition, graph, placement, workers));
        Self::Proven(proven.collect())
    }

    /// For people. Of a workflow that declares nothing there is nothing to say but that.
    pub(crate) fn show(&self, page: &mut Page) {
        match self {
            Self::Undeclared(_, false) => page.line(
                "memory is not proven: nothing declares what it may have (`max_bytes`, `max_items`)",
            ),
            Self::Undeclared(all, true) => {
                page.line(
                    "memory is not proven, since these do not declare all that they may have:",
                );
                for one in all {
                    page.line(&format!("  {} lacks `{}`", one.port, one.lacks));
                }
            }
            Self::Proven(placements) => {
                let count = placements.len();
                for (number, proven) in (1..).zip(placements) {
                    if count > 1 {
                        page.line(&format!("placement {number} of {count}"));
                    }
                    show_proven(proven, page);
                }
            }
        }
    }

    /// For programs: that of the first placement, and, of several, all of them.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Undeclared(all, _) => {
                let all = all.iter();
                let all = all.map(|one| json!({ "port": one.port, "lacks": one.lacks }));
                json!({ "proven": false, "undeclared": all.collect::<Vec<Value>>() })
            }
            Self::Proven(placements) => {
                let mut all = placements.iter().map(proven_json);
                let mut object = all.next().unwrap_or_default();
                if placements.len() > 1 {
                    let all = placements.iter().map(proven_json);
                    object["placements"] = json!(all.collect::<Vec<Value>>());
                }
                object
            }
        }
    }
}

fn show_proven(proven: &Proven, page: &mut Page) {
    page.line(&format!(
        "an invocation in flight has at most {} of payloads",
        bytes(proven.worst.in_all)
    ));
    let rows = proven.workers.iter().map(|worker| {
        let known = |of: Option<String>| of.unwrap_or_else(|| "-".to_owned());
        vec![
            worker.name.clone(),
            bytes(worker.invocation_bytes),
            known(worker.quota_bytes.map(bytes)),
            known(worker.in_flight_max.map(|count| count.to_string())),
        ]
    });
    let headings = ["worker", "of an invocation", "quota", "invocations"];
    page.table(&headings, &[1, 2, 3], &rows.collect::<Vec<_>>());
    let line = match proven.in_flight {
        None => "no executor runs on any worker, so that no quota bounds how many are in flight"
            .to_owned(),
        Some((worker, 0)) => {
            let worker = &proven.workers[worker];
            format!(
                "not one invocation fits: the quota of worker {} is {}",
                worker.name,
                bytes(worker.quota_bytes.unwrap_or_default())
            )
        }
        Some((worker, count)) => format!(
            "{count} may be in flight: more might not fit worker {}",
            proven.workers[worker].name
        ),
    };
    page.line(&line);
}

/// Bytes as people read them, and exactly.
fn bytes(bytes: u64) -> String {
    match size_text(bytes) {
        text if bytes < 1024 => text,
        text => format!("{text} ({bytes} bytes)"),
    }
}

fn proven_json(proven: &Proven) -> Value {
    let workers = proven.workers.iter().map(|worker| {
        json!({
            "worker": worker.name,
            "invocation_bytes": worker.invocation_bytes,
            "quota_bytes": worker.quota_bytes,
            "in_flight_max": worker.in_flight_max,
        })
    });
    let workers: Vec<Value> = workers.collect();
    let limit = proven.in_flight.map(|(worker, _)| &proven.workers[worker]);
    json!({
        "proven": true,
        "invocation_bytes": proven.worst.in_all,
        "in_flight_max": proven.in_flight.map(|(_, count)| count),
        "worker": limit.map(|worker| &worker.name),
        "workers": workers,
    })
}
