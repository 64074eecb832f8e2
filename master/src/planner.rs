//! From a definition and its placement to one plan for each worker.
//!
//! Every edge stands in the plans of both its ends: the producer's worker knows whom to tell, the consumer's for whom
//! to wait. A worker without nodes gets a plan too: clients may invoke the workflow there.

use crate::definition::{self, Definition, From};
use crate::division::at_once;
use crate::graph::Graph;
use crate::place::Placement;
use engine::plan::{
    Declaration, Delay, DelayExpression, DeploymentId, ExecutablePlan, Formula, Gate, InputPlan,
    Limits, NodeId, NodePlan, OutputSource, Participant, Plan, PortMaximum, PortRef, RegionPlan,
    RemoteConsumer, RemoteNode, Replica, Source, StoreChoice, Trust, WholePlan, Work, WorkerIndex,
    WorkerRef, WorkflowInput, WorkflowOutput,
};
use engine::plan_check::SCALE_MAX;
use needs::{List, Needs};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// What plans say beside the workflow itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Which deployment; of several placements, this one's own id.
    pub deployment: DeploymentId,
    /// Which placement of the deployment.
    pub replica: Replica,
    /// Which version of the workflow, from 1.
    pub version: u32,
    /// Bounds.
    pub limits: Limits,
}

/// A random number for a deployment: unique for ever, as far as anyone will see.
///
/// # Errors
/// If the system gives no random bytes.
pub fn random_deployment() -> Result<DeploymentId, RandomError> {
    Ok(DeploymentId(getrandom::u64().map_err(RandomError)?))
}

/// The system gives no random bytes.
#[derive(Debug, Error)]
#[error("the system gives no random bytes for a deployment's number: {0}")]
pub struct RandomError(getrandom::Error);

/// The plans, in the order of `workers`, to which the placement's numbers refer.
///
/// # Panics
/// If graph and placement are not those of the definition, or the placement names a worker beyond `workers`, or there
/// are more than 65,536 workers.
#[must_use]
pub fn plan(
    definition: &Definition,
    graph: &Graph,
    placement: &Placement,
    workers: &[WorkerRef],
    terms: Terms,
) -> Vec<Plan> {
    let copies = graph.copies_by_definition();
    assert_eq!(
        copies.len(),
        definition.nodes.len(),
        "the graph is the definition's"
    );
    assert_eq!(
        graph.node_count(),
        placement.workers().len(),
        "the placement is the graph's"
    );
    let planner = Planner {
        definition,
        graph,
        placement,
        copies,
        gates: definition.gates(),
        tolerated: definition.tolerated(),
        others: definition.others(),
    };
    let needs = Needs::of(&planner);
    let outputs = planner.workflow_outputs();
    let participants = planner.participants(&needs);
    let mut remote_consumers = planner.remote_consumers(&needs);
    let mut remote_producers = planner.remote_producers(workers.len(), &outputs);
    let plan_for = |me: usize| {
        let executables = planner.executables(me);
        let regions = planner.local_regions(me);
        let nodes = planner.local(me).map(|id| {
            let consumers = std::mem::take(&mut remote_consumers[id as usize]);
            planner.node(id, &executables, &regions, consumers)
        });
        let nodes = nodes.collect();
        Plan {
            deployment: terms.deployment,
            replica: terms.replica,
            workflow: definition.workflow.value.clone(),
            version: terms.version,
            me: worker_index(me),
            workers: workers.to_vec(),
            inputs: definition
                .inputs
                .iter()
                .map(|input| WorkflowInput {
                    name: input.name.value.clone(),
                    kind: input.kind,
                    default: input.default,
                    optional: input.optional,
                })
                .collect(),
            constants: definition.constants.clone(),
            timeout_ms: definition.timeout_ms,
            outputs: outputs.clone(),
            participants: participants.clone(),
            regions: planner.regions(&regions, me),
            nodes,
            remote_nodes: std::mem::take(&mut remote_producers[me])
                .into_iter()
                .map(|id| planner.remote_node(id))
                .collect(),
            wholes: planner.wholes(me, &needs),
            executables,
            types: Vec::new(),
            maxima: planner.maxima(me),
            memory: None,
            limits: Limits {
                store: StoreChoice {
                    quota_bytes: definition
                        .store
                        .quota_bytes
                        .map(|bytes| bytes / u64::from(workers[me].lanes.max(1))),
                    ..definition.store
                },
                ..terms.limits
            },
        }
    };
    (0..workers.len()).map(plan_for).collect()
}

fn worker_index(worker: usize) -> WorkerIndex {
    match WorkerIndex::try_from(worker) {
        Ok(index) => index,
        Err(_) => panic!("a deployment has at most 65,536 workers, and this is number {worker}"),
    }
}

struct Planner<'a> {
    definition: &'a Definition,
    graph: &'a Graph,
    placement: &'a Placement,
    /// By place in the definition: its number, or, if it is divided, those of its parts.
    copies: Vec<Vec<NodeId>>,
    /// By place in the definition, and of such places.
    gates: Vec<Vec<Gate>>,
    /// By place in the definition.
    tolerated: Vec<bool>,
    /// Executables that are somebody else's.
    others: BTreeSet<&'a str>,
}

/// A region on a worker: its place in the definition, and the part if it is divided or lies in one that is.
type LocalRegion = (usize, Option<u16>);

impl Planner<'_> {
    fn local(&self, worker: usize) -> impl Iterator<Item = NodeId> {
        (0..self.graph.node_count() as NodeId)
            .filter(move |id| self.placement.worker(*id) == worker)
    }

    fn defined(&self, id: NodeId) -> &definition::Node {
        &self.definition.nodes[self.graph.node(id).defined]
    }

    /// The regions that run on a worker, in the order of the definition, in which those around others come first.
    fn local_regions(&self, worker: usize) -> Vec<LocalRegion> {
        let regions = self.local(worker).flat_map(|id| {
            let node = self.graph.node(id);
            let part = node.part.map(|part| part.number);
            let regions = self.definition.regions_of(node.defined);
            regions.map(move |region| (region, part))
        });
        let regions: BTreeSet<LocalRegion> = regions.collect();
        regions.into_iter().collect()
    }

    /// What inputs of the workflow and outputs of a worker's nodes may have at most.
    fn maxima(&self, worker: usize) -> Vec<PortMaximum> {
        let inputs = (0..).zip(&self.definition.inputs);
        let inputs = inputs.map(|(input, declared)| (PortRef::Input(input), declared.maximum));
        let written = self.local(worker).flat_map(|node| {
            let outputs = (0..).zip(&self.defined(node).outputs);
            outputs.map(move |(output, port)| {
                let port_ref = PortRef::Written { node, output };
                (port_ref, port.maximum)
            })
        });
        let declared = inputs.chain(written).filter(|(_, one)| one.is_declared());
        declared
            .map(|(port, maximum)| PortMaximum { port, maximum })
            .collect()
    }

    fn regions(&self, local: &[LocalRegion], worker: usize) -> Vec<RegionPlan> {
        // Of each, a node in it or in one within it.
        let mut nodes: BTreeMap<LocalRegion, NodeId> = BTreeMap::new();
        for id in self.local(worker) {
            let node = self.graph.node(id);
            let part = node.part.map(|part| part.number);
            for region in self.definition.regions_of(node.defined) {
                nodes.entry((region, part)).or_insert(id);
            }
        }
        let region = |place: &LocalRegion| {
            let (region, number_of_part) = *place;
            let region = &self.definition.regions[region];
            let inside = self.seen(nodes[place]);
            // The list is seen from around the region.
            let outermost = region.parent.is_none();
            let around = match outermost {
                true => self.outside(),
                false => inside,
            };
            let part = inside.part.filter(|_| outermost);
            let most = |most| part.map_or(most, |part| at_once(part, most));
            let parent = region.parent;
            RegionPlan {
                parent: parent.and_then(|parent| number(local, (parent, number_of_part))),
                list: around.source(region.list.value),
                batch: region.batch,
                parallelism: region.parallelism.map(most),
                part,
            }
        };
        local.iter().map(region).collect()
    }

    fn workflow_outputs(&self) -> Vec<WorkflowOutput> {
        let outputs = self.definition.outputs.iter().map(|output| {
            let sources = output.from.iter().flat_map(|from| match from.value {
                // Each part hands over its own.
                From::Output { node, output } => {
                    let copies = self.copies[node].iter();
                    let source = |node: &NodeId| OutputSource {
                        source: Source::Output {
                            node: *node,
                            output,
                        },
                        worker: worker_index(self.placement.worker(*node)),
                        part: self.graph.node(*node).part,
                    };
                    copies.map(source).collect()
                }
                other => vec![OutputSource {
                    source: self.outside().source(other),
                    worker: 0,
                    part: None,
                }],
            });
            WorkflowOutput {
                name: output.name.value.clone(),
                kind: output.kind,
                sources: sources.collect(),
                optional: output.optional,
            }
        });
        outputs.collect()
    }

    fn participants(&self, needs: &Needs) -> Vec<Participant> {
        let mut inputs: BTreeMap<usize, BTreeSet<u16>> = BTreeMap::new();
        for id in 0..self.graph.node_count() as NodeId {
            let read = inputs.entry(self.placement.worker(id)).or_default();
            let sources = self.definition.reads(self.graph.node(id).defined);
            read.extend(sources.filter_map(|from| match from {
                From::Input(input) => Some(input),
                From::Output { .. }
                | From::First { .. }
                | From::Item { .. }
                | From::Constant(_) => None,
            }));
        }
        let participant = |(worker, inputs): (usize, BTreeSet<u16>)| Participant {
            worker: worker_index(worker),
            sections: inputs
                .iter()
                .filter_map(|input| needs.section(List::Input(*input), worker))
                .collect(),
            inputs: inputs.into_iter().collect(),
        };
        inputs.into_iter().map(participant).collect()
    }

    /// By node: the other workers that must hear of its end, and what they need.
    fn remote_consumers(&self, needs: &Needs) -> Vec<Vec<RemoteConsumer>> {
        let mut by_node: Vec<BTreeMap<usize, BTreeSet<u16>>> =
            vec![BTreeMap::new(); self.graph.node_count()];
        for (producer, consumer, edge) in self.graph.edges() {
            let worker = self.placement.worker(consumer);
            if worker != self.placement.worker(producer) {
                by_node[producer as usize]
                    .entry(worker)
                    .or_default()
                    .extend(&edge.outputs);
            }
        }
        let consumers = |(producer, workers): (NodeId, BTreeMap<usize, BTreeSet<u16>>)| {
            let defined = self.graph.node(producer).defined;
            let consumer = |(worker, outputs): (usize, BTreeSet<u16>)| RemoteConsumer {
                worker: worker_index(worker),
                sections: outputs
                    .iter()
                    .filter_map(|output| needs.section(List::Output(defined, *output), worker))
                    .collect(),
                outputs: outputs.into_iter().collect(),
            };
            workers.into_iter().map(consumer).collect()
        };
        (0..).zip(by_node).map(consumers).collect()
    }

    /// The divided nodes that nodes of a worker wait for, as a whole.
    fn wholes(&self, worker: usize, needs: &Needs) -> Vec<WholePlan> {
        let mut waited_for: BTreeMap<usize, BTreeSet<u16>> = BTreeMap::new();
        for (producer, consumer, edge) in self.graph.edges() {
            let defined = self.graph.node(producer).defined;
            let is_part = self.graph.node(producer).part.is_some();
            if self.placement.worker(consumer) == worker
                && is_part
                && !self.seen(consumer).is_same_part(defined)
            {
                waited_for.entry(defined).or_default().extend(&edge.outputs);
            }
        }
        let whole = |(defined, outputs): (usize, BTreeSet<u16>)| WholePlan {
            id: self.whole(defined),
            parts: self.copies[defined].clone(),
            sections: outputs
                .into_iter()
                .filter_map(|output| needs.section(List::Output(defined, output), worker))
                .collect(),
        };
        waited_for.into_iter().map(whole).collect()
    }

    /// By worker: nodes elsewhere that its nodes, or an output of the workflow, wait for. Any worker may be the one that
    /// takes an invocation, and so waits for the outputs.
    fn remote_producers(
        &self,
        workers: usize,
        outputs: &[WorkflowOutput],
    ) -> Vec<BTreeSet<NodeId>> {
        let mut by_worker = vec![BTreeSet::new(); workers];
        for (producer, consumer, _) in self.graph.edges() {
            let worker = self.placement.worker(consumer);
            if worker != self.placement.worker(producer) {
                by_worker[worker].insert(producer);
            }
        }
        for from in outputs.iter().flat_map(|output| &output.sources) {
            let Source::Output { node, .. } = from.source else {
                continue;
            };
            for (worker, producers) in by_worker.iter_mut().enumerate() {
                if worker != self.placement.worker(node) {
                    producers.insert(node);
                }
            }
        }
        by_worker
    }

    /// The pools of a worker, in the order in which its nodes first name them.
    fn executables(&self, worker: usize) -> Vec<ExecutablePlan> {
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let mut pools: Vec<ExecutablePlan> = Vec::new();
        // By divided node: what all parts of it here want together.
        let mut parts: BTreeMap<usize, u32> = BTreeMap::new();
        for id in self.local(worker) {
            let node = self.defined(id);
            let Some(name) = node.executable() else {
                continue;
            };
            let place = *places.entry(name).or_insert(pools.len());
            if place == pools.len() {
                pools.push(ExecutablePlan {
                    name: name.to_owned(),
                    scale: 1,
                    memory_mib: 1,
                    trust: if self.others.contains(name) {
                        Trust::Other
                    } else {
                        Trust::Own
                    },
                });
            }
            let pool = &mut pools[place];
            let placed = self.graph.node(id);
            let mut scale = placed.scale;
            if placed.part.is_some() {
                let all = parts.entry(placed.defined).or_default();
                *all += scale;
                scale = *all;
            }
            let scale = scale.min(SCALE_MAX.into());
            pool.scale = pool.scale.max(scale as u16);
            pool.memory_mib = pool.memory_mib.max(node.resources.memory_mib);
        }
        pools
    }

    fn node(
        &self,
        id: NodeId,
        executables: &[ExecutablePlan],
        regions: &[LocalRegion],
        remote_consumers: Vec<RemoteConsumer>,
    ) -> NodePlan {
        let node = self.defined(id);
        let place = self.graph.node(id).defined;
        let seen = self.seen(id);
        let part = seen.part.map(|part| part.number);
        let input = |input: &definition::NodeInput| InputPlan {
            name: input.name.value.clone(),
            kind: input.kind,
            sources: input
                .from
                .iter()
                .map(|from| seen.source(from.value))
                .collect(),
            optional: input.optional,
            store: input.store,
        };
        let expression = |expression: &definition::DelayExpression| DelayExpression {
            text: expression.text.value.clone(),
            inputs: expression.inputs.iter().map(input).collect(),
        };
        let delay = |delay: &definition::Delay| match delay {
            definition::Delay::Fixed(delay_ms) => Delay::Fixed(*delay_ms),
            definition::Delay::Computed(text) => Delay::Computed(expression(text)),
            definition::Delay::Until(text) => Delay::Until(expression(text)),
        };
        let after: BTreeSet<NodeId> = node
            .after
            .iter()
            .map(|after| seen.id(after.value))
            .collect();
        NodePlan {
            id,
            name: node.name.value.clone(),
            work: work(&node.work, executables),
            region: node
                .region
                .and_then(|region| number(regions, (region, part))),
            over_list: self.definition.is_reached_by_list(place),
            inputs: node.inputs.iter().map(input).collect(),
            outputs: node
                .outputs
                .iter()
                .map(|output| Declaration {
                    name: output.name.value.clone(),
                    kind: output.kind,
                })
                .collect(),
            after: after.into_iter().collect(),
            gates: self.gates[place]
                .iter()
                .map(|gate| seen.gate(gate))
                .collect(),
            join: node.join,
            retriers: node.retriers.clone(),
            catches: node.catches.iter().map(|catch| catch.on.clone()).collect(),
            error_output: node.error_output,
            tolerated: self.tolerated[place],
            timeout_ms: node.timeout_ms,
            delays: node.delays.iter().map(delay).collect(),
            remote_consumers,
        }
    }

    fn remote_node(&self, id: NodeId) -> RemoteNode {
        let node = self.defined(id);
        RemoteNode {
            id,
            name: node.name.value.clone(),
            worker: worker_index(self.placement.worker(id)),
            outputs: (0..)
                .zip(&node.outputs)
                .map(|(output, declared)| Declaration {
                    name: declared.name.value.clone(),
                    kind: node.seen_kind(output),
                })
                .collect(),
            error_output: node.error_output,
            cases: match &node.work {
                definition::Work::Switch(cases) => cases.len() as u16,
                _ => 0,
            },
            catches: node.catches.len() as u16,
            part: self.graph.node(id).part,
        }
    }
}

/// The number that a region has among those of a worker.
fn number(regions: &[LocalRegion], place: LocalRegion) -> Option<u16> {
    let number = regions.binary_search(&place).ok()?;
    Some(number as u16)
}

fn work(work: &definition::Work, executables: &[ExecutablePlan]) -> Work {
    match work {
        definition::Work::Function {
            function,
            arguments,
        } => {
            let name = &function.value.executable;
            let Some(executable) = executables.iter().position(|pool| pool.name == *name) else {
                unreachable!("the pools were made from the same nodes");
            };
            Work::Function {
                executable: executable as u16,
                function: function.value.function.clone(),
                arguments: arguments.clone(),
            }
        }
        definition::Work::Compute(formulas) => {
            let formula = |formula: &definition::Formula| match formula {
                definition::Formula::Value(text) => Formula::Value(text.value.clone()),
                definition::Formula::Range { from, to } => Formula::Range {
                    from: from.value.clone(),
                    to: to.value.clone(),
                },
            };
            Work::Compute(formulas.iter().map(formula).collect())
        }
        definition::Work::Switch(cases) => {
            let conditions = cases.iter().filter_map(|case| case.condition.as_ref());
            Work::Switch {
                conditions: conditions.map(|text| text.value.clone()).collect(),
                default: cases.iter().any(|case| case.condition.is_none()),
            }
        }
        definition::Work::Nothing => Work::Nothing,
    }
}

mod needs;
mod seen;
#[cfg(test)]
mod tests;
