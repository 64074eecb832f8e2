//! Whether a plan that came from the network can be followed: every index, name, kind and bound in it.
//!
//! [`Plan::check`] is pure. What it has passed may be used without further checks of bounds: indices are in range,
//! every edge runs from a lower node number to a higher one, names are unique, kinds fit. Whether this host can serve
//! the plan (executables, memory, peers) is for the control thread to find out.

use crate::greeting::WORKER_NAME_BYTES_MAX;
use crate::plan::{
    NodeId, NodePlan, OutputSource, Part, Plan, REPLICAS_MAX, Replica, Source, WorkerIndex,
};
use faasstore::binding::{Kind, PAYLOAD_BYTES_MAX, VALUE_BYTES_MAX};
use std::collections::{HashMap, HashSet};

mod error;
mod expressions;
mod maxima;
mod nodes;
mod parts;
mod regions;
mod rules;
mod types;
pub use error::PlanError;
pub use regions::REGION_DEPTH_MAX;
use regions::Regions;
use rules::{Check, check_name, distinct, fits, in_range, index, rising, unique};

/// Longest name of a workflow, node, port or the like, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Executors of one executable on one worker, at most.
pub const SCALE_MAX: u16 = 1024;
/// Attempts of one activation by one retrier, at most.
pub const ATTEMPTS_MAX: u32 = 1000;
/// Retriers of a node, at most.
pub const RETRIERS_MAX: u64 = 16;
/// Payloads up to this many bytes may travel inside a message, at most; larger ones are streamed.
pub const INLINE_BYTES_MAX: u32 = 1 << 20;
/// Items of one list, at most: their numbers must stay below [`faasstore::descriptor::NO_ITEM`].
pub const ITEMS_MAX: u32 = 1 << 28;

/// Delays of a node, one after the other, at most: those of the nodes of other workflows that it lies in, and its own.
pub const DELAYS_MAX: u64 = 64;
/// Cases of a switch, or catches of a node, at most.
pub const CASES_MAX: u64 = 1024;
/// Bytes that the arguments of a function may have, with one more for each of them.
pub const ARGUMENTS_BYTES_MAX: usize = 64 << 10;

impl Plan {
    /// Checks every part of the plan that does not depend on a host.
    ///
    /// # Errors
    /// The first [`PlanError`] found, in the order of the plan's fields.
    pub fn check(&self) -> Result<(), PlanError> {
        let place = || "the plan".to_owned();
        check_name(place, "a workflow", &self.workflow)?;
        in_range(place, "version", self.version.into(), 1, u32::MAX.into())?;
        self.check_replica()?;
        self.check_workers()?;
        unique(
            place,
            "input",
            self.inputs.iter().map(|input| input.name.as_str()),
        )?;
        in_range(
            place,
            "number of inputs",
            self.inputs.len() as u64,
            0,
            u16::MAX.into(),
        )?;
        self.check_limits()?;
        self.check_constants()?;
        if let Some(timeout_ms) = self.timeout_ms {
            in_range(place, "timeout_ms", timeout_ms.into(), 1, u32::MAX.into())?;
        }
        self.check_executables()?;
        let mut nodes = self.check_node_list()?;
        let participants = self.check_participants()?;
        let regions = Regions::check(self)?;
        let parts = parts::parts_of_regions(self)?;
        parts::add_wholes(self, &mut nodes, &parts)?;
        let scope = Scope {
            plan: self,
            nodes,
            regions,
            parts,
            participants,
        };
        scope.check_regions()?;
        scope.check_list_sections()?;
        for node in &self.nodes {
            scope.check_node(node)?;
        }
        scope.check_outputs()?;
        types::check(self)?;
        maxima::check(self)
    }

    fn check_replica(&self) -> Check {
        let place = || "the plan's place among those of its deployment".to_owned();
        let Replica {
            of, number, count, ..
        } = self.replica;
        in_range(place, "placements", count.into(), 1, REPLICAS_MAX.into())?;
        in_range(place, "placement", number.into(), 1, count.into())?;
        if (number == 1) != (of == self.deployment) {
            return Err(PlanError::Replica { number, of });
        }
        Ok(())
    }

    fn check_workers(&self) -> Check {
        let place = || "the plan's workers".to_owned();
        index(
            || "the plan's own worker".to_owned(),
            "worker",
            self.me.into(),
            self.workers.len(),
        )?;
        in_range(
            place,
            "number of workers",
            self.workers.len() as u64,
            1,
            WorkerIndex::MAX.into(),
        )?;
        unique(
            place,
            "worker",
            self.workers.iter().map(|worker| worker.name.as_str()),
        )?;
        unique(
            place,
            "address",
            self.workers.iter().map(|worker| worker.address.as_str()),
        )?;
        for worker in &self.workers {
            let place = || format!("worker {:?}", worker.name);
            in_range(
                place,
                "length of its name",
                worker.name.len() as u64,
                1,
                WORKER_NAME_BYTES_MAX as u64,
            )?;
            in_range(
                place,
                "number of lanes",
                worker.lanes.into(),
                1,
                u8::MAX.into(),
            )?;
            if worker
                .address
                .rsplit_once(':')
                .is_none_or(|(_, port)| port.parse::<u16>().is_err())
            {
                return Err(PlanError::Name {
                    place: place(),
                    what: "an address",
                    name: worker.address.clone(),
                });
            }
        }
        Ok(())
    }

    fn check_limits(&self) -> Check {
        let place = || "the plan's limits".to_owned();
        let limits = &self.limits;
        in_range(
            place,
            "in_flight_max",
            limits.in_flight_max.into(),
            1,
            u32::MAX.into(),
        )?;
        in_range(
            place,
            "payload_bytes_max",
            limits.payload_bytes_max,
            1,
            PAYLOAD_BYTES_MAX,
        )?;
        in_range(
            place,
            "inline_bytes_max",
            limits.inline_bytes_max.into(),
            0,
            INLINE_BYTES_MAX.into(),
        )?;
        in_range(
            place,
            "items_max",
            limits.items_max.into(),
            1,
            ITEMS_MAX.into(),
        )
    }

    fn check_constants(&self) -> Check {
        let place = || "the plan's constants".to_owned();
        let count = self.constants.len() as u64;
        in_range(place, "their number", count, 0, u16::MAX.into())?;
        for constant in &self.constants {
            let items = constant.items.len() as u64;
            if constant.kind != Kind::List {
                in_range(place, "items of what is no list", items, 1, 1)?;
            }
            in_range(place, "items", items, 0, self.limits.items_max.into())?;
            for item in &constant.items {
                let most = match constant.kind {
                    Kind::Value => VALUE_BYTES_MAX as u64,
                    Kind::Bytes | Kind::List => self.limits.payload_bytes_max,
                };
                in_range(place, "bytes", item.len() as u64, 0, most)?;
            }
        }
        for input in &self.inputs {
            let place = || format!("workflow input {:?}", input.name);
            if let Some(default) = input.default {
                index(place, "constant", default.into(), self.constants.len())?;
                fits(place, input.kind, self.constants[usize::from(default)].kind)?;
            }
        }
        Ok(())
    }

    fn check_executables(&self) -> Check {
        let names = self
            .executables
            .iter()
            .map(|executable| executable.name.as_str());
        unique(|| "the plan's executables".to_owned(), "executable", names)?;
        for executable in &self.executables {
            let place = || format!("executable {:?}", executable.name);
            // The name is joined to the functions folder, and must not lead out of it.
            let leads_elsewhere =
                executable.name.contains(['/', '\\']) || matches!(&*executable.name, "." | "..");
            if leads_elsewhere {
                let name = executable.name.clone();
                return Err(PlanError::Name {
                    place: place(),
                    what: "an executable",
                    name,
                });
            }
            in_range(place, "scale", executable.scale.into(), 1, SCALE_MAX.into())?;
            // Up to 1 TiB, so that no sum over executables and their scales overflows.
            in_range(
                place,
                "memory_mib",
                executable.memory_mib.into(),
                1,
                1 << 20,
            )?;
        }
        Ok(())
    }

    /// Checks numbers and names of all nodes, and says what each gives to its consumers.
    fn check_node_list(&self) -> Result<HashMap<NodeId, Producer>, PlanError> {
        rising(
            || "the plan's nodes".to_owned(),
            "node numbers",
            self.nodes.iter().map(|node| node.id.into()),
        )?;
        let remote_ids = self.remote_nodes.iter().map(|node| node.id.into());
        rising(
            || "the plan's remote nodes".to_owned(),
            "node numbers",
            remote_ids,
        )?;
        self.check_names()?;
        let mut producers = HashMap::with_capacity(self.nodes.len() + self.remote_nodes.len());
        for node in &self.nodes {
            let outputs = node.outputs.iter().map(|output| output.kind).collect();
            producers.insert(
                node.id,
                Producer {
                    worker: self.me,
                    region: node.region,
                    part: None,
                    parts: Vec::new(),
                    outputs,
                    error_output: node.error_output,
                    cases: node.work.cases(),
                    catches: node.catches.len(),
                },
            );
        }
        for node in &self.remote_nodes {
            let place = || format!("remote node {:?}", node.name);
            index(place, "worker", node.worker.into(), self.workers.len())?;
            if let Some(part) = node.part {
                parts::check_part(place, part)?;
            }
            let producer = Producer {
                worker: node.worker,
                region: None,
                part: node.part,
                parts: Vec::new(),
                outputs: node.outputs.iter().map(|output| output.kind).collect(),
                error_output: node.error_output,
                cases: node.cases.into(),
                catches: node.catches.into(),
            };
            let local_too = producers.insert(node.id, producer).is_some();
            if local_too || node.worker == self.me {
                return Err(PlanError::Twice {
                    place: place(),
                    what: "node",
                    name: node.id.to_string(),
                });
            }
        }
        Ok(producers)
    }

    /// Checks who takes part, and returns whom.
    fn check_participants(&self) -> Result<HashSet<WorkerIndex>, PlanError> {
        let place = || "the plan's participants".to_owned();
        rising(
            place,
            "worker numbers",
            self.participants.iter().map(|part| part.worker.into()),
        )?;
        for part in &self.participants {
            index(place, "worker", part.worker.into(), self.workers.len())?;
            let place = || {
                format!(
                    "participant {:?}",
                    self.workers[usize::from(part.worker)].name
                )
            };
            distinct(place, "input", &part.inputs)?;
            for &input in &part.inputs {
                index(place, "workflow input", input.into(), self.inputs.len())?;
            }
            parts::check_sections(place, &part.sections, &part.inputs)?;
        }
        let participants: HashSet<_> = self.participants.iter().map(|part| part.worker).collect();
        let wrong = |reason| {
            Err(PlanError::Participants {
                place: place(),
                reason,
            })
        };
        match (participants.contains(&self.me), self.nodes.is_empty()) {
            _ if participants.is_empty() => wrong("no worker takes part"),
            (false, false) => wrong("this worker has nodes, but is not listed"),
            (true, true) => wrong("this worker is listed, but has no nodes"),
            _ => Ok(participants),
        }
    }
}

/// What a node gives to its consumers.
struct Producer {
    worker: WorkerIndex,
    /// The region that it is part of here.
    region: Option<u16>,
    /// Of a node of another worker, which part of a divided region it is in.
    part: Option<Part>,
    /// Of a divided node as a whole, its parts.
    parts: Vec<NodeId>,
    /// Of one activation, or, from another worker, as seen here.
    outputs: Vec<Kind>,
    error_output: Option<u16>,
    cases: usize,
    catches: usize,
}

/// What the plan's nodes and outputs may refer to.
struct Scope<'a> {
    plan: &'a Plan,
    nodes: HashMap<NodeId, Producer>,
    regions: Regions,
    /// By region: which part of a divided one it is, or lies in.
    parts: Vec<Option<Part>>,
    participants: HashSet<WorkerIndex>,
}

impl Scope<'_> {
    fn check_outputs(&self) -> Check {
        let outputs = &self.plan.outputs;
        unique(
            || "the plan's outputs".to_owned(),
            "output",
            outputs.iter().map(|output| output.name.as_str()),
        )?;
        in_range(
            || "the plan".to_owned(),
            "number of outputs",
            outputs.len() as u64,
            0,
            u16::MAX.into(),
        )?;
        for node in &self.plan.remote_nodes {
            self.check_takes_part(|| format!("remote node {:?}", node.name), node.worker)?;
        }
        let candidates = outputs
            .iter()
            .map(|output| output.sources.len())
            .sum::<usize>();
        in_range(
            || "the plan".to_owned(),
            "number of sources of its outputs",
            candidates as u64,
            0,
            u16::MAX.into(),
        )?;
        for output in outputs {
            let place = || format!("workflow output {:?}", output.name);
            if output.sources.is_empty() {
                return Err(PlanError::Rule {
                    place: place(),
                    reason: "comes from nowhere",
                });
            }
            for from in &output.sources {
                self.check_output_source(place, output.kind, from)?;
            }
            self.check_output_parts(place, output.kind, &output.sources)?;
        }
        Ok(())
    }

    fn check_output_source(
        &self,
        place: impl Fn() -> String + Copy,
        kind: Kind,
        from: &OutputSource,
    ) -> Check {
        index(place, "worker", from.worker.into(), self.plan.workers.len())?;
        match from.source {
            Source::Item { .. } => Err(PlanError::Item { place: place() }),
            Source::First { .. } => Err(PlanError::Rule {
                place: place(),
                reason: "an output of the workflow is no first item of a list",
            }),
            Source::Input(_) | Source::Constant(_) => {
                match self.kind_of(place, from.source, None)? {
                    Some(gives) => fits(place, kind, gives),
                    None => Ok(()),
                }
            }
            Source::Output { node, .. } => {
                self.check_takes_part(place, from.worker)?;
                // A plan need not hold a node of another worker just because an output comes from there; what it
                // holds must agree.
                if from.worker != self.plan.me && !self.nodes.contains_key(&node) {
                    return Ok(());
                }
                if let Some(gives) = self.kind_of(place, from.source, None)? {
                    fits(place, kind, gives)?;
                }
                let elsewhere = |producer: &Producer| producer.worker != from.worker;
                if self.nodes.get(&node).is_some_and(elsewhere) {
                    let reason = "is said to come from another worker than its node runs on";
                    return Err(PlanError::Participants {
                        place: place(),
                        reason,
                    });
                }
                Ok(())
            }
        }
    }

    /// The kind that a source gives, once it is known to exist and, for a `consumer`, to come before it; `None` for
    /// an item, and for the first of a list.
    fn kind_of(
        &self,
        place: impl Fn() -> String + Copy,
        source: Source,
        consumer: Option<&NodePlan>,
    ) -> Result<Option<Kind>, PlanError> {
        // A workflow output comes after every node.
        let before = consumer.map_or(NodeId::MAX, |node| node.id);
        self.kind_in(place, source, consumer.and_then(|node| node.region), before)
    }

    /// The kind that a source gives in a region, to what has this number.
    fn kind_in(
        &self,
        place: impl Fn() -> String + Copy,
        source: Source,
        region: Option<u16>,
        before: NodeId,
    ) -> Result<Option<Kind>, PlanError> {
        match source {
            Source::Item { up } => match self.regions.outward(region, up) {
                None => Err(PlanError::Item { place: place() }),
                Some(region) => {
                    let batch = self.plan.regions[usize::from(region)].batch;
                    Ok(batch.map(|_| Kind::List))
                }
            },
            Source::Constant(constant) => {
                index(
                    place,
                    "constant",
                    constant.into(),
                    self.plan.constants.len(),
                )?;
                Ok(Some(self.plan.constants[usize::from(constant)].kind))
            }
            Source::Input(input) => {
                index(
                    place,
                    "workflow input",
                    input.into(),
                    self.plan.inputs.len(),
                )?;
                Ok(Some(self.plan.inputs[usize::from(input)].kind))
            }
            Source::Output { node, output } => {
                let producer = self.check_producer(place, node, before)?;
                index(place, "output", output.into(), producer.outputs.len())?;
                for part in &producer.parts {
                    let node = *part;
                    self.kind_in(place, Source::Output { node, output }, None, before)?;
                }
                let kind = producer.outputs[usize::from(output)];
                if self.regions.holds(producer.region, region) {
                    return Ok(Some(kind));
                }
                let direct = self
                    .regions
                    .holds(self.regions.around(producer.region), region);
                if kind == Kind::List || !direct {
                    return Err(PlanError::Nested { place: place() });
                }
                Ok(Some(Kind::List))
            }
            Source::First { node, output } => {
                let list = Source::Output { node, output };
                let gives = self.kind_in(place, list, region, before)?;
                let producer = self.check_producer(place, node, before)?;
                let is_gathered = match producer.region {
                    Some(_) => self.regions.around(producer.region) == region,
                    // What another worker has gathered is a list as it is seen here.
                    None => {
                        let elsewhere = producer.worker != self.plan.me;
                        (elsewhere || !producer.parts.is_empty()) && region.is_none()
                    }
                };
                if is_gathered && gives == Some(Kind::List) {
                    return Ok(None);
                }
                Err(PlanError::Rule {
                    place: place(),
                    reason: "takes the first item of what is not gathered just within",
                })
            }
        }
    }

    fn check_producer(
        &self,
        place: impl Fn() -> String,
        producer: NodeId,
        consumer: NodeId,
    ) -> Result<&Producer, PlanError> {
        let found = self.nodes.get(&producer);
        // A divided node as a whole comes behind its last part.
        let last = found.and_then(|found| found.parts.iter().max().copied());
        let at = last.unwrap_or(producer);
        if at >= consumer {
            return Err(PlanError::Order {
                place: place(),
                producer: at,
                consumer,
            });
        }
        found.ok_or_else(|| PlanError::Node {
            place: place(),
            node: producer,
        })
    }

    fn check_takes_part(&self, place: impl Fn() -> String, worker: WorkerIndex) -> Check {
        if self.participants.contains(&worker) {
            return Ok(());
        }
        Err(PlanError::Participants {
            place: place(),
            reason: "names a worker that is no participant",
        })
    }
}

#[cfg(test)]
mod tests;
