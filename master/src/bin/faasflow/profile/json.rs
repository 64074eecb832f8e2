//! A profile as one object; names end in their units.

use super::gaps::gaps_json;
use engine::profile::{CpuSums, Distribution};
use master::feedback::measured::{Node, Profile};
use master::feedback::whole::Whole;
use serde_json::{Value, json};

pub(super) fn of(profile: &Profile) -> Value {
    let wholes = profile.whole_nodes();
    let nodes = wholes.iter().map(|node| whole(profile, node));
    let edges = profile.edges(&wholes).into_iter().map(|edge| {
        let crosses = edge.crosses.iter();
        let crosses = crosses.map(|(from, to)| json!({ "from": from, "to": to }));
        json!({
            "from": wholes[edge.from].name,
            "to": wholes[edge.to].name,
            "outputs": edge.outputs,
            "mean_bytes": edge.mean_bytes,
            "p99_bytes": edge.p99_bytes,
            "crosses_workers": !edge.crosses.is_empty(),
            "crosses": crosses.collect::<Vec<_>>(),
            "crossing_per_invocation_bytes": edge.crossing_bytes,
        })
    });
    let workers = profile.workers.iter().map(|worker| {
        json!({
            "worker": worker.name,
            "placement": worker.placement,
            "invocations": worker.invocations,
            "measured_invocations": worker.measured,
        })
    });
    let placements = (1..=profile.placements).map(|number| {
        json!({
            "placement": number,
            "invocations": profile.invocations(number),
            "invocations_share": profile.placement_share(number),
        })
    });
    json!({
        "workflow": profile.workflow,
        "deployment": profile.deployment.to_string(),
        "version": profile.version,
        "replicas": profile.placements,
        "balance": profile.balance.name(),
        "placements": placements.collect::<Vec<_>>(),
        "workers": workers.collect::<Vec<_>>(),
        "nodes": nodes.collect::<Vec<_>>(),
        "edges": edges.collect::<Vec<_>>(),
        "crossing_per_invocation_bytes": profile.crossing_bytes(&wholes),
        "empty": profile.is_empty(),
        "gaps": gaps_json(profile, &wholes),
    })
}

/// A node, with its parts in all placements.
fn whole(profile: &Profile, node: &Whole) -> Value {
    let mut object = json!({
        "node": node.name,
        "worker": node.workers.join(", "),
        "workers": node.workers,
        "runs_share": node.share,
        "activations": node.activations,
        "failed_attempts": node.failures,
        "measured_invocations": node.ran,
        "output_mean_bytes": node.output_mean_bytes(),
        "output_p99_bytes": node.output_p99_bytes(),
        "items_mean": node.items.as_ref().and_then(Distribution::mean),
        "items_p99": node.items.as_ref().and_then(|items| items.quantile(0.99)),
        "sums_only": !node.is_whole(),
    });
    add_cpu(&mut object, &node.cpu);
    add_times(&mut object, (&node.run_ns, node.run_mean_ns), "run", "runs");
    add_times(
        &mut object,
        (&node.queued_ns, node.queued_mean_ns),
        "queued",
        "waits",
    );
    let outputs = node.outputs.iter().map(|output| {
        json!({
            "output": output.name,
            "mean_bytes": output.mean_bytes,
            "p99_bytes": output.p99_bytes,
        })
    });
    object["outputs"] = outputs.collect();
    let parts = node
        .nodes
        .iter()
        .map(|place| part(profile, &profile.nodes[*place]));
    object["parts"] = parts.collect();
    object
}

/// A part of a node in a placement.
fn part(profile: &Profile, node: &Node) -> Value {
    let worker = profile.worker(node);
    let mut object = json!({
        "placement": worker.placement,
        "worker": worker.name,
        "part": node.part.map(|part| part.number + 1),
        "parts": node.part.map_or(1, |part| part.of),
        "items_share": node.share_of_items(),
        "runs_share": node.share(worker),
        "activations": node.activations,
        "activations_per_invocation": node.activations_for_each(worker),
        "failed_attempts": node.failures,
        "measured_invocations": node.ran,
        "output_mean_bytes": node.output_mean_bytes(),
    });
    add_cpu(&mut object, &node.cpu);
    add_times(
        &mut object,
        (&node.run_ns, node.run_ns.mean()),
        "run",
        "runs",
    );
    let queued = (&node.queued_ns, node.queued_ns.mean());
    add_times(&mut object, queued, "queued", "waits");
    let outputs = node.outputs.iter().map(|(name, bytes)| {
        json!({ "output": name, "mean_bytes": bytes.mean(), "p99_bytes": bytes.quantile(0.99) })
    });
    object["outputs"] = outputs.collect();
    object
}

/// Adds what executors have measured of their CPUs.
fn add_cpu(object: &mut Value, cpu: &CpuSums) {
    object["cpu_runs"] = json!(cpu.runs);
    object["cpu_run_ns"] = json!(cpu.run_ns);
    object["cpu_ns"] = json!(cpu.cpu_ns);
    object["cpu_waited_ns"] = json!(cpu.waited_ns);
    object["busy_cpus"] = json!(cpu.busy_cpus());
}

/// Adds how many of these were measured, and how long they took.
fn add_times(
    object: &mut Value,
    (of, mean): (&Distribution, Option<f64>),
    name: &str,
    plural: &str,
) {
    object[format!("measured_{plural}")] = json!(of.count());
    object[format!("{name}_mean_ns")] = json!(mean.map(f64::round));
    object[format!("{name}_p50_ns")] = json!(of.quantile(0.5));
    object[format!("{name}_p99_ns")] = json!(of.quantile(0.99));
}
