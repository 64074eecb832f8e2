//! The same for programs: everything, with units in names.

use super::{Explained, unprofiled};
use master::place::{Estimate, Leg, Merges, Obstacle, Transfer, Wait};
use serde_json::{Value, json};

impl Explained<'_> {
    /// One object.
    pub(crate) fn to_json(&self) -> Value {
        let mut object = self.placed.to_json();
        for (worker, used) in self.estimate.workers.iter().enumerate() {
            let of = &mut object["workers"][worker];
            of["nodes"] = json!(used.nodes);
            of["busy_ns"] = json!(used.busy_ns);
            of["utilisation"] = json!(used.utilisation);
        }
        object["estimate"] = self.estimate_json(&self.estimate);
        object["estimate"]["lower_bound_ns"] = json!(self.bound_ns);
        object["estimate"]["lower_bound_ratio"] = json!(self.ratio(self.estimate.makespan_ns));
        let unheld = self.estimate.unheld.iter();
        let unheld = unheld.map(|of| json!({ "node": self.name(of.node), "bytes": of.bytes }));
        object["quota"] = json!({
            "quota_bytes": self.estimate.quota_bytes,
            "held_bytes": self.estimate.held_bytes,
            "unheld": unheld.collect::<Vec<Value>>(),
        });
        object["unprofiled_nodes"] = json!(unprofiled(self.placed.definition));
        object["baseline"] = match &self.baseline {
            None => Value::Null,
            Some(baseline) => {
                let mut baseline_json = self.estimate_json(baseline);
                baseline_json["partitioner"] = json!("hash");
                baseline_json["lower_bound_ratio"] = json!(self.ratio(baseline.makespan_ns));
                baseline_json
            }
        };
        object["faster"] = self.faster.map_or(Value::Null, |faster| {
            let nodes = self.divided().into_iter();
            let nodes = nodes.map(|(node, parts)| json!({ "node": node, "parts": parts }));
            json!({
                "divided": nodes.collect::<Vec<Value>>(),
                "undivided_makespan_ns": faster.makespan_ns,
            })
        });
        object["search"] = json!({
            "partitioner": self.options.partitioner.name(),
            "seed": self.options.effort.seed,
            "steps": self.found.steps,
            "first_ns": nanoseconds(self.found.first),
            "took_ns": nanoseconds(self.found.took),
            "all_tried": self.found.optimal,
        });
        let crossings = self.crossings.explained.iter().map(|crossing| {
            let (from, to) = (crossing.from, crossing.to);
            let placement = self.placed.placement;
            let moves = [(from, to), (to, from)];
            let moves = moves.into_iter().zip(&crossing.obstacles);
            let obstacles = moves.map(|((node, other), obstacle)| {
                let worker = self.worker(placement.worker(other));
                self.obstacle_json(self.name(node), worker, obstacle)
            });
            json!({
                "from": self.name(from),
                "to": self.name(to),
                "bytes": crossing.bytes,
                "obstacles": obstacles.collect::<Vec<Value>>(),
            })
        });
        object["crossings"] = json!({
            "explained": crossings.collect::<Vec<Value>>(),
            "further": self.crossings.further,
        });
        object["merges"] = self
            .merges
            .as_ref()
            .map_or(Value::Null, |m| self.merges_json(m));
        object
    }

    fn estimate_json(&self, estimate: &Estimate) -> Value {
        let legs = estimate.critical.iter().map(|leg| self.leg_json(leg));
        let transfers = estimate.transfers.iter().map(|of| self.transfer_json(of));
        json!({
            "makespan_ns": estimate.makespan_ns,
            "crossing_bytes": estimate.crossing_bytes,
            "transfers": transfers.collect::<Vec<Value>>(),
            "ways": estimate.ways,
            "critical_path": {
                "chance": estimate.critical_chance,
                "legs": legs.collect::<Vec<Value>>(),
            },
        })
    }

    fn transfer_json(&self, transfer: &Transfer) -> Value {
        let readers = transfer.readers.iter().map(|node| self.name(*node));
        json!({
            "from": self.name(transfer.from),
            "to_worker": self.worker(transfer.to),
            "readers": readers.collect::<Vec<&str>>(),
            "bytes": transfer.bytes,
            "chance": transfer.chance,
        })
    }

    fn leg_json(&self, leg: &Leg) -> Value {
        let (kind, node) = match leg.waited_for {
            Wait::Nothing => ("nothing", None),
            Wait::Node(node) => ("node", Some(node)),
            Wait::Transfer(node) => ("transfer", Some(node)),
            Wait::Executor(node) => ("executor", Some(node)),
        };
        json!({
            "node": self.name(leg.node),
            "nodes": leg.nodes,
            "worker": self.worker(leg.worker),
            "waited_for": kind,
            "waited_for_node": node.map(|node| self.name(node)),
            "waited_ns": leg.waited_ns,
            "began_ns": leg.began_ns,
            "ran_ns": leg.ran_ns,
        })
    }

    fn obstacle_json(&self, node: &str, worker: &str, obstacle: &Obstacle) -> Value {
        let mut object = json!({ "node": node, "to_worker": worker });
        object["obstacle"] = json!(match obstacle {
            Obstacle::Pinned => "pinned",
            Obstacle::Apart(_) => "apart",
            Obstacle::Full(_) => "full",
            Obstacle::Longer(_) => "longer",
            Obstacle::Same => "same",
            Obstacle::Shorter(_) => "shorter",
        });
        match obstacle {
            Obstacle::Pinned | Obstacle::Same => {}
            Obstacle::Apart(other) => object["apart_from"] = json!(self.name(*other)),
            Obstacle::Full(overload) => {
                object["resource"] = json!(overload.resource.name());
                object["wanted"] = json!(overload.wanted);
                object["limit"] = json!(overload.limit);
            }
            Obstacle::Longer(ns) => object["longer_ns"] = json!(ns),
            Obstacle::Shorter(ns) => object["shorter_ns"] = json!(ns),
        }
        object
    }

    fn merges_json(&self, merges: &Merges) -> Value {
        let steps = merges.merges.iter().map(|merge| {
            let nodes = merge.nodes.iter().map(|node| self.name(*node));
            json!({
                "from": self.name(merge.from),
                "to": self.name(merge.to),
                "weight_s": merge.weight_s,
                "path_s": merge.path_s,
                "nodes": nodes.collect::<Vec<&str>>(),
                "worker": self.worker(merge.worker),
                "executors": merge.demand.executors,
                "memory_mib": merge.demand.memory_mib,
            })
        });
        let refused = merges.refused.iter().map(|refused| {
            json!({
                "from": self.name(refused.from),
                "to": self.name(refused.to),
                "weight_s": refused.weight_s,
                "refusal": refused.why.code(),
                "message": refused.to_string(),
            })
        });
        json!({
            "steps": steps.collect::<Vec<Value>>(),
            "refused": refused.collect::<Vec<Value>>(),
            "groups": merges.groups,
            "held_bytes": merges.held_bytes,
            "quota_bytes": merges.quota_bytes,
        })
    }
}

/// A number of 64 bits holds 584 years.
fn nanoseconds(of: std::time::Duration) -> u64 {
    u64::try_from(of.as_nanos()).unwrap_or(u64::MAX)
}
