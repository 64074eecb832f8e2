//! The placements of a deployment, for people and for machines: one as it is, several one after the other and together.

use crate::placed::Placed;
use crate::print::Page;
use master::definition::Definition;
use master::graph::Graph;
use master::place::{Demand, Placement, WorkerCapacity};
use serde_json::{Value, json};

/// Placements beside each other, with all that they speak of.
pub(crate) struct Replicas<'a> {
    pub(crate) definition: &'a Definition,
    pub(crate) graph: &'a Graph,
    pub(crate) placements: &'a [Placement],
    pub(crate) workers: &'a [WorkerCapacity],
}

impl Replicas<'_> {
    fn each(&self) -> impl ExactSizeIterator<Item = Placed<'_>> {
        self.placements.iter().map(|placement| Placed {
            definition: self.definition,
            graph: self.graph,
            placement,
            workers: self.workers,
        })
    }

    /// What all placements need of a worker.
    fn demand(&self, worker: usize) -> Demand {
        let demands = self.placements.iter();
        let demands = demands.map(|placement| placement.demand(self.graph, worker));
        demands.fold(Demand::default(), Demand::plus)
    }

    /// The tables of each placement; of several, what they need together as well.
    pub(crate) fn show(&self, page: &mut Page) {
        let count = self.placements.len();
        for (number, placed) in (1..).zip(self.each()) {
            if count > 1 {
                page.line(&format!("placement {number} of {count}"));
                page.line("");
            }
            placed.show(page);
            if count > 1 {
                page.line("");
            }
        }
        if count > 1 {
            page.line("all placements together");
            page.line("");
            let rows = self.workers.iter().enumerate().map(|(index, worker)| {
                let demand = self.demand(index);
                vec![
                    worker.name.clone(),
                    format!("{} of {}", demand.executors, worker.executors),
                    format!("{} of {} MiB", demand.memory_mib, worker.memory_mib),
                ]
            });
            let headings = ["worker", "executors", "memory"];
            page.table(&headings, &[1, 2], &rows.collect::<Vec<_>>());
        }
    }

    /// One object: the first placement, how many there are, and, of several, all of them.
    pub(crate) fn to_json(&self) -> Value {
        let first = self.each().next().map(|placed| placed.to_json());
        let mut object = first.unwrap_or_default();
        self.add_to(&mut object);
        object
    }

    /// Adds to what is said of the first placement how many there are, and, of several, all of them.
    pub(crate) fn add_to(&self, object: &mut Value) {
        let mut all: Vec<Value> = self.each().map(|placed| placed.to_json()).collect();
        object["replicas"] = json!(all.len());
        if all.len() > 1 {
            for (number, placement) in (1..).zip(&mut all) {
                placement["replica"] = json!(number);
            }
            object["placements"] = json!(all);
        }
    }
}
