//! The benchmark `replicas`: a closed load on two workers, with the workflow in one placement and in two.
//!
//! The workflow is one node that takes its time and no CPU; so one placement runs one invocation at a time, on one worker, and
//! two run one each, however many CPUs there are. The clients are one connection to the first worker with so many invocations under way; each that is answered is followed by another. The
//! deployments take turns, so that what the host does meets all of them.

use crate::clock::now_ns;
use crate::floor;
use crate::report::{Machine, Percentiles, Report, Setup, Watch, ratio};
use crate::session::{Layout, Session, SessionError, functions_folder, wait_name};
use engine::plan::Balance;
use faasstore::binding::WaitStrategy;
use hdrhistogram::Histogram;
use master::client::Payload;
use master::deploy::Replicas;
use master::local::Between;
use serde::Serialize;
use std::collections::BTreeMap;

/// The executable.
const EXECUTABLE: &str = "synthetic";
/// Memory of each worker.
const MEMORY_BYTES: u64 = 256 << 20;
/// Nanoseconds of a second.
const SECOND_NS: f64 = 1e9;
/// How often each deployment has its turn.
const TURNS: u64 = 4;

const DEFINITION: &str = "
workflow: replicas
input: { parameters: value }
nodes:
  work:
    function: synthetic:run
    input: { parameters: input.parameters }
    resources: { memory_mib: 16 }
";

/// What to measure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// How lanes and executors wait.
    pub wait: WaitStrategy,
    /// `--executors`, as the worker takes it.
    pub executors: String,
    /// Invocations under way at once.
    pub concurrency: u32,
    /// How long each activation takes, in microseconds.
    pub takes_us: u32,
    /// Invocations of each deployment to count.
    pub samples: u64,
}

/// What one deployment has done.
#[derive(Serialize, Clone, Copy, Debug)]
struct Figure {
    /// Invocations a second.
    throughput_per_s: f64,
    #[serde(flatten)]
    latency: Percentiles,
}

/// One way of deploying the workflow, and what was measured of it.
struct Way {
    name: &'static str,
    replicas: Replicas,
    latencies: Histogram<u64>,
    took_ns: u64,
}

impl Way {
    fn new(name: &'static str, count: u16, balance: Balance) -> Self {
        Self {
            name,
            replicas: Replicas { count, balance },
            latencies: floor::histogram(),
            took_ns: 0,
        }
    }

    fn figure(&self) -> Figure {
        let seconds = self.took_ns.max(1) as f64 / SECOND_NS;
        Figure {
            throughput_per_s: (self.latencies.len() as f64 / seconds).round(),
            latency: Percentiles::of(&self.latencies),
        }
    }
}

/// Measures one placement, two in turn, and two by load. Returns the report, whose main figure is that of two in turn, and
/// the distribution of their latencies, from the arrival of an invocation at its worker to its end.
///
/// # Errors
/// If workers or invocations fail.
pub fn measure(options: &Options) -> Result<(Report, Histogram<u64>), SessionError> {
    let watch = Watch::start();
    let layout = Layout {
        cpu_sets: Layout::cpu_sets(2),
        wait: options.wait,
        between: Between::Network,
        executors: options.executors.clone(),
        memory_bytes: MEMORY_BYTES,
    };
    let functions = functions_folder(&[(EXECUTABLE, EXECUTABLE)])?;
    let mut session = Session::start(&layout, functions, DEFINITION, BTreeMap::new())?;
    let runtime_ms = f64::from(options.takes_us) / 1000.0;
    let parameters = serde_json::json!({ "runtime_ms": runtime_ms });
    let inputs = [(
        "parameters".to_owned(),
        Payload::Bytes(parameters.to_string().into_bytes()),
    )];
    let mut ways = [
        Way::new("one", 1, Balance::RoundRobin),
        Way::new("in_turn", 2, Balance::RoundRobin),
        Way::new("by_load", 2, Balance::Load),
    ];
    let each = options.samples.div_ceil(TURNS);
    for _ in 0..TURNS {
        for way in &mut ways {
            session.redeploy(DEFINITION, way.replicas)?;
            // What is cold is not counted.
            session.load(
                &inputs,
                u64::from(options.concurrency),
                options.concurrency,
                |_| {},
            )?;
            let began_ns = now_ns();
            let latencies = &mut way.latencies;
            session.load(&inputs, each, options.concurrency, |latency_ns| {
                latencies.saturating_record(latency_ns);
            })?;
            way.took_ns += now_ns() - began_ns;
        }
    }
    let status = session.status()?;
    let machine = Machine::read(Setup {
        wait: Some(wait_name(options.wait).to_owned()),
        placement: Some(format!("workers on {}", layout.cpu_sets.join(" and "))),
        driver: status.first().map(|status| status.driver.kind.to_string()),
    });
    let [one, in_turn, by_load] = ways;
    let mut report = Report::new("replicas", &in_turn.latencies, None, machine);
    report.param("wait", wait_name(options.wait));
    report.param("executors", &options.executors);
    report.param("concurrency", options.concurrency);
    report.param("takes_us", options.takes_us);
    report.param("samples", options.samples);
    for way in [&one, &in_turn, &by_load] {
        report.detail(way.name, way.figure());
    }
    let throughput = |way: &Way| way.figure().throughput_per_s as u64;
    report.detail(
        "throughput_ratio",
        ratio(throughput(&in_turn), throughput(&one)),
    );
    report.machine.disturbances = watch.finish();
    Ok((report, in_turn.latencies))
}
