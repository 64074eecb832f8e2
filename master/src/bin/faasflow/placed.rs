//! A placement, for people and for machines.

use crate::print::Page;
use engine::worker::quantities::size_text;
use master::definition::{Definition, FunctionName, Work};
use master::graph::{Graph, GraphNode};
use master::place::{Placement, WorkerCapacity};
use serde_json::{Value, json};

/// A placement with all that it speaks of.
pub(crate) struct Placed<'a> {
    pub(crate) definition: &'a Definition,
    pub(crate) graph: &'a Graph,
    pub(crate) placement: &'a Placement,
    pub(crate) workers: &'a [WorkerCapacity],
}

impl Placed<'_> {
    fn worker(&self, node: u32) -> &str {
        &self.workers[self.placement.worker(node)].name
    }

    /// A node's name; of a part of a divided one, with which part it is.
    fn name(&self, node: u32) -> String {
        let node = self.graph.node(node);
        match node.part {
            None => node.name.clone(),
            Some(part) => format!("{} ({} of {})", node.name, part.number + 1, part.of),
        }
    }

    fn output_names(&self, producer: u32, outputs: &[u16]) -> Vec<&str> {
        let node = &self.definition.nodes[self.graph.node(producer).defined];
        outputs
            .iter()
            .map(|output| node.outputs[usize::from(*output)].name.value.as_str())
            .collect()
    }

    /// Tables of nodes, edges and workers.
    pub(crate) fn show(&self, page: &mut Page) {
        let (headings, rows) = self.node_rows();
        page.table(headings, &[], &rows);
        let (headings, rows) = self.edge_rows();
        if !rows.is_empty() {
            page.line("");
            page.table(headings, &[], &rows);
        }
        page.line("");
        let rows = self.workers.iter().enumerate().map(|(index, worker)| {
            let demand = self.placement.demand(self.graph, index);
            vec![
                worker.name.clone(),
                format!("{} of {}", demand.executors, worker.executors),
                format!("{} of {} MiB", demand.memory_mib, worker.memory_mib),
            ]
        });
        page.table(
            &["worker", "executors", "memory"],
            &[1, 2],
            &rows.collect::<Vec<_>>(),
        );
    }

    /// A table of nodes.
    pub(crate) fn node_rows(&self) -> (&'static [&'static str], Vec<Vec<String>>) {
        let row = |(id, node): (u32, &GraphNode)| {
            let defined = &self.definition.nodes[node.defined];
            let runs = match (defined.region, node.part) {
                (None, _) => "once".to_owned(),
                (Some(_), None) => "for each item".to_owned(),
                (Some(_), Some(part)) => {
                    let share = part.share;
                    let percent = 100.0 * f64::from(share.behind - share.first);
                    let percent = percent / f64::from(share.whole);
                    format!("for each item, {percent:.0} % of them")
                }
            };
            vec![
                self.name(id),
                self.worker(id).to_owned(),
                work_text(&defined.work),
                runs,
            ]
        };
        let rows = (0..).zip(self.graph.nodes()).map(row).collect();
        (&["node", "worker", "function", "runs"], rows)
    }

    /// A table of edges.
    pub(crate) fn edge_rows(&self) -> (&'static [&'static str], Vec<Vec<String>>) {
        let edges = self.graph.edges();
        let rows = edges.map(|(from, to, edge)| self.edge_row(from, to, &edge.outputs));
        (&["edge", "payloads", "travels", "bytes"], rows.collect())
    }

    /// Bytes that an edge is expected to carry.
    fn edge_bytes(&self, from: u32, to: u32, outputs: &[u16]) -> u64 {
        self.graph.bytes_read(from, [(to, outputs)])
    }

    fn edge_row(&self, from: u32, to: u32, outputs: &[u16]) -> Vec<String> {
        let names = self.output_names(from, outputs);
        let defined = |node: u32| &self.definition.nodes[self.graph.node(node).defined];
        let producer = self.graph.node(from).defined;
        let waits = || {
            let mut after = defined(to).after.iter();
            after.any(|after| after.value == producer)
        };
        let payloads = match &defined(from).work {
            _ if !names.is_empty() => names.join(", "),
            _ if waits() => "none (after)".to_owned(),
            Work::Switch(_) => "none (case)".to_owned(),
            _ => "none (catch)".to_owned(),
        };
        let travels = if self.worker(from) == self.worker(to) {
            "in shared memory".to_owned()
        } else {
            format!("{} → {}", self.worker(from), self.worker(to))
        };
        vec![
            format!("{} → {}", self.name(from), self.name(to)),
            payloads,
            travels,
            match self.edge_bytes(from, to, outputs) {
                0 => String::new(),
                bytes => size_text(bytes),
            },
        ]
    }

    /// One object.
    pub(crate) fn to_json(&self) -> Value {
        let nodes = (0..).zip(self.graph.nodes()).map(|(id, node)| {
            let defined = &self.definition.nodes[node.defined];
            json!({
                "id": id,
                "node": node.name,
                "worker": self.worker(id),
                "executable": node.executable,
                "function": function_name(&defined.work),
                "foreach": defined.region.is_some(),
                "part": node.part.map(|part| part.number + 1),
                "parts": node.part.map_or(1, |part| part.of),
            })
        });
        let edges = self.graph.edges().map(|(from, to, edge)| {
            let part = |node: u32| self.graph.node(node).part.map(|part| part.number + 1);
            json!({
                "from": self.graph.node(from).name,
                "from_part": part(from),
                "to": self.graph.node(to).name,
                "to_part": part(to),
                "outputs": self.output_names(from, &edge.outputs),
                "bytes": self.edge_bytes(from, to, &edge.outputs),
                "crosses_workers": self.worker(from) != self.worker(to),
            })
        });
        let workers = self.workers.iter().enumerate().map(|(index, worker)| {
            let demand = self.placement.demand(self.graph, index);
            json!({
                "worker": worker.name,
                "cpus": worker.cpus,
                "speed": worker.speed,
                "executors": demand.executors,
                "executors_max": worker.executors,
                "memory_mib": demand.memory_mib,
                "memory_max_mib": worker.memory_mib,
            })
        });
        json!({
            "workflow": self.definition.workflow.value,
            "nodes": nodes.collect::<Vec<_>>(),
            "edges": edges.collect::<Vec<_>>(),
            "workers": workers.collect::<Vec<_>>(),
        })
    }
}

/// The function that a node runs, within its executable.
fn function_name(work: &Work) -> Option<&str> {
    match work {
        Work::Function { function, .. } => Some(&function.value.function),
        Work::Compute(_) | Work::Switch(_) | Work::Nothing => None,
    }
}

/// What a node does, in a word.
fn work_text(work: &Work) -> String {
    match work {
        Work::Function {
            function,
            arguments,
        } => {
            let FunctionName {
                executable,
                function,
            } = &function.value;
            if arguments.is_empty() {
                format!("{executable}:{function}")
            } else {
                arguments.join(" ")
            }
        }
        Work::Compute(_) => "(computes)".to_owned(),
        Work::Switch(_) => "(switch)".to_owned(),
        Work::Nothing => "(waits)".to_owned(),
    }
}
