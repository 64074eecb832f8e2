//! How busy functions keep their CPUs: measured where they run, and what placements make of it.

use faasflow_tests::cluster::{Cluster, Setup, bytes};
use master::client::Payload;
use serde_json::Value;
use std::path::Path;

/// Executors that a worker here takes: two for each of its CPUs, which are all that there are.
fn executors() -> usize {
    2 * engine::worker::host::allowed_cpus().len()
}

struct Deployed {
    cluster: Cluster,
    workers: String,
    file: String,
}

impl Deployed {
    fn new(workers: &[&str], text: String) -> Self {
        let cluster = Setup::workers(workers).memory("2GiB").start();
        let file = cluster.file("busy.yaml", text);
        let workers = cluster.addresses().join(",");
        let deployed = Self {
            cluster,
            workers,
            file,
        };
        let _ = deployed.json(&["deploy", &deployed.file]);
        deployed
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--workers", &self.workers, "--json"]].concat();
        let done = self.cluster.faasflow(&arguments).ok();
        serde_json::from_slice(&done.stdout).expect("it prints one JSON object")
    }

    fn invoke(&self, times: usize, inputs: &[(&str, Payload)]) {
        for _ in 0..times {
            let answer = self.cluster.invoke("a", "busy", inputs);
            let answer = answer.expect("the worker answers");
            assert!(answer.result.is_ok(), "{answer:?}");
        }
    }
}

fn nodes(profile: &Value) -> &[Value] {
    profile["nodes"].as_array().expect("a list")
}

fn number(of: &Value, name: &str) -> f64 {
    of[name]
        .as_f64()
        .unwrap_or_else(|| panic!("no {name} in {of}"))
}

#[test]
fn functions_that_wait_come_together_where_their_hints_said_that_they_are_busy() {
    let count = executors();
    let naps: String = (0..count)
        .map(|nap| {
            format!(
                "  nap{nap}: {{ function: test-functions:doze, input: {{ in: source.out }}, output: {{ out: bytes }}, \
                 resources: {{ scale: {count}, memory_mib: 64 }}, profile: {{ runtime_ms: 60 }} }}\n"
            )
        })
        .collect();
    let outputs: Vec<String> = (0..count)
        .map(|nap| format!("o{nap}: nap{nap}.out"))
        .collect();
    // It costs something to send to another worker what all of them read.
    const BYTES: usize = 2 << 20;
    let text = format!(
        "workflow: busy\ninput: {{ text: bytes }}\nnodes:\n  source: {{ function: test-functions:echo, \
         input: {{ in: input.text }}, output: {{ out: bytes }}, profile: {{ output_bytes: {BYTES} }}, \
         resources: {{ memory_mib: 64 }} }}\n{naps}output: {{ {} }}\n",
        outputs.join(", ")
    );
    let deployed = Deployed::new(&["a", "b"], text);
    let before = deployed.json(&["profile", "busy"]);
    let workers = |profile: &Value| {
        let naps = nodes(profile)
            .iter()
            .filter(|node| node["node"] != "source");
        let mut workers: Vec<String> = naps.map(|node| node["worker"].to_string()).collect();
        workers.sort();
        workers.dedup();
        workers.len()
    };
    assert_eq!(workers(&before), 2, "they seem to want all CPUs: {before}");
    let text = format!("60000{}", " ".repeat(BYTES));
    deployed.invoke(3, &[("text", bytes(&text))]);
    let profile = deployed.json(&["profile", "busy"]);
    for nap in nodes(&profile)
        .iter()
        .filter(|node| node["node"] != "source")
    {
        assert!(number(nap, "cpu_runs") >= 1.0, "{nap}");
        assert!(number(nap, "busy_cpus") < 0.5, "{nap}");
    }
    let rebalanced = deployed.json(&["rebalance", "busy"]);
    assert_eq!(rebalanced["deployed"], true, "{rebalanced}");
    let (present, new) = (&rebalanced["present"], &rebalanced["new"]);
    assert!(number(new, "makespan_ns") < number(present, "makespan_ns"));
    assert_eq!(number(new, "crossing_bytes"), 0.0, "{rebalanced}");
    let hints = rebalanced["hints"].as_array().expect("a list");
    let busy = hints.iter().filter(|change| change["hint"] == "busy");
    assert!(busy.count() >= count, "{rebalanced}");
    let after = deployed.json(&["profile", "busy"]);
    assert_eq!(
        workers(&after),
        1,
        "one has room for all that wait: {after}"
    );
}

#[test]
fn hints_say_how_long_functions_run_alone_though_they_have_shared_cpus() {
    if !Path::new("/proc/thread-self/schedstat").exists() {
        eprintln!("left out: this kernel does not say how long threads wait for CPUs");
        return;
    }
    let count = executors();
    let text = format!(
        "workflow: busy\ninput: {{ times: list }}\nnodes:\n  toils:\n    function: test-functions:toil\n    \
         foreach: input.times\n    input: {{ in: item }}\n    output: {{ out: bytes }}\n    \
         resources: {{ scale: {count}, memory_mib: 64 }}\noutput: {{ out: toils.out }}\n"
    );
    let deployed = Deployed::new(&["a"], text);
    let times = || Payload::list(vec![b"80".to_vec(); count]);
    deployed.invoke(3, &[("times", times())]);
    let profile = deployed.json(&["profile", "busy", "--write", &deployed.file]);
    let toils = &nodes(&profile)[0];
    // Each of them takes as much CPU time, and there are two for each CPU.
    let cpu_ns = number(toils, "cpu_ns") / number(toils, "cpu_runs");
    assert!(
        number(toils, "run_mean_ns") > 1.5 * cpu_ns,
        "they have shared CPUs: {toils}"
    );
    let written = profile["written"].as_array().expect("a list");
    let hint = |name: &str| -> Option<f64> {
        let hint = written.iter().find(|change| change["hint"] == name)?;
        hint["new"].as_str()?.parse().ok()
    };
    let runtime_ns = hint("runtime_ms").expect("it has run") * 1e6;
    assert!(
        (0.9..1.4).contains(&(runtime_ns / cpu_ns)),
        "{runtime_ns} of {toils}"
    );
    // That it is always busy goes without saying.
    assert!(hint("busy").is_none_or(|busy| busy > 0.7), "{written:?}");
}
