//! The benchmark `foreach`: one node over many items through one lane and one executor.
//!
//! A workflow like anyone's: `list` makes a list, a node of a trivial function runs for each of its items, and `tally`
//! brings home what the executor has seen, which must be every item once. All three run in the same executor. Invocations
//! follow one another. The main figure is the time of an invocation over its items; the floor is what one item
//! cannot do without if nothing overlaps: a request there and a completion back.

use crate::clock::now_ns;
use crate::floor::{self, FloorError};
use crate::hop_floor::{HopFloor, Site};
use crate::process::{Memory, Stopped};
use crate::report::{Machine, Percentiles, Report, Setup, Watch};
use crate::session::{Ended, Layout, Session, SessionError, functions_folder, wait_name};
use crate::tally::Tally;
use engine::status::WorkerStatus;
use faasstore::binding::WaitStrategy;
use hdrhistogram::Histogram;
use master::client::Payload;
use master::local::Between;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Items of the list unless the caller says otherwise.
pub const ITEMS: u32 = 100_000;
/// Invocations that warm up after the first, cold one.
const WARM_UP_INVOCATIONS: u64 = 2;
/// The executable and the program behind it.
const EXECUTABLE: &str = "bench-functions";
/// Slot transfers that the floor counts before and after.
const FLOOR_SAMPLES: u64 = 100_000;
/// How long a lane may take to have nothing left to do after an answer, and the pause between two looks.
const SETTLE_TIME: Duration = Duration::from_secs(2);
const SETTLE_PAUSE: Duration = Duration::from_millis(1);

/// What each activation gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Returns {
    /// Its item, as eight bytes of its own; all are gathered.
    Item,
    /// Nothing.
    Nothing,
}

impl Returns {
    const fn name(self) -> &'static str {
        match self {
            Self::Item => "item",
            Self::Nothing => "nothing",
        }
    }
}

/// What to measure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// How lane and executor wait.
    pub wait: WaitStrategy,
    /// `--executors`, as the worker takes it.
    pub executors: String,
    /// Items of the list, at least 1.
    pub items: u32,
    /// What each activation gives.
    pub returns: Returns,
    /// Invocations to count.
    pub rounds: u64,
}

/// Why there is no figure.
#[derive(Debug, Error, miette::Diagnostic)]
pub enum ForeachError {
    /// A floor failed.
    #[error(transparent)]
    Floor(#[from] FloorError),
    /// The product did.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Session(#[from] SessionError),
    /// The executor did not see every item once.
    #[error("of {items} items the executor saw {seen}, whose numbers give the sum {sum}")]
    #[diagnostic(help("this is a fault: each item must have been seen once"))]
    Items {
        /// As asked for.
        items: u32,
        /// How many it saw.
        seen: u64,
        /// Sum of their numbers.
        sum: u64,
    },
    /// The worker does not say where its lane or executor is.
    #[error("the worker's status names no lane, or no executor, after an invocation")]
    #[diagnostic(help("use programs of one release"))]
    NoSite,
}

/// What one invocation gave.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// From the request to the answer, by the client's clock.
    client_ns: u64,
    /// From the arrival of its input at the worker to its end.
    worker_ns: u64,
    /// From the entry of the first item to that of the last one.
    items_ns: u64,
}

/// Resident memory of the two processes: before the first invocation, before those that count, and after them.
#[derive(Serialize, Clone, Copy, Debug)]
struct Footprints {
    fresh: Footprint,
    warm: Footprint,
    ended: Footprint,
}

/// Resident memory of the two processes at one moment.
#[derive(Serialize, Clone, Copy, Debug, Default)]
struct Footprint {
    worker: Memory,
    executor: Memory,
}

/// A cluster that runs the workflow.
struct Foreach {
    session: Session,
    items: u32,
}

impl Foreach {
    fn start(options: &Options) -> Result<Self, SessionError> {
        let functions = functions_folder(&[(EXECUTABLE, EXECUTABLE)])?;
        let memory_mib = executor_mib(options.items);
        let layout = Layout {
            cpu_sets: Layout::cpu_sets(1),
            wait: options.wait,
            between: Between::Network,
            executors: options.executors.clone(),
            memory_bytes: u64::from(memory_mib) << 22,
        };
        let definition = definition(options.returns, memory_mib);
        let session = Session::start(&layout, functions, &definition, BTreeMap::new())?;
        let items = options.items;
        Ok(Self { session, items })
    }

    fn invoke(&mut self) -> Result<Round, ForeachError> {
        let items = self.items.to_le_bytes().to_vec();
        let started_ns = now_ns();
        let ended: Ended = self
            .session
            .invoke(&[("items".to_owned(), Payload::Bytes(items))])?;
        let client_ns = now_ns() - started_ns;
        let tally = Tally::from_bytes(ended.bytes("tally")?).map_err(SessionError::from)?;
        if !tally.is_of(self.items) {
            return Err(ForeachError::Items {
                items: self.items,
                seen: tally.items,
                sum: tally.sum,
            });
        }
        Ok(Round {
            client_ns,
            worker_ns: ended.latency_ns,
            items_ns: tally.last_ns.saturating_sub(tally.first_ns),
        })
    }

    fn status(&mut self) -> Result<WorkerStatus, ForeachError> {
        let mut all = self.session.status()?;
        all.pop().ok_or(ForeachError::NoSite)
    }

    /// The worker's status once its lane has shown all that it counted and let go of what the last invocation held: it does
    /// so when it has nothing else to do, after the answer. If it does not come to that, its status as it is.
    fn settled(&mut self) -> Result<WorkerStatus, ForeachError> {
        let give_up = Instant::now() + SETTLE_TIME;
        let mut last = self.status()?;
        loop {
            std::thread::sleep(SETTLE_PAUSE);
            let status = self.status()?;
            let same = ["activations", "leases"]
                .iter()
                .all(|name| counter(&status, name) == counter(&last, name));
            if (same && counter(&status, "leases") == 0) || Instant::now() > give_up {
                return Ok(status);
            }
            last = status;
        }
    }

    fn footprint(&self, executor: u32) -> Footprint {
        let of = |pid| Memory::of(pid).unwrap_or_default();
        let worker = self.session.worker_pids().first().copied();
        Footprint {
            worker: worker.map_or_else(Memory::default, of),
            executor: of(executor),
        }
    }
}

/// Measures foreach. Returns the report, and the distribution of times for each item.
///
/// # Errors
/// If floors, the worker or invocations fail, or an item was lost or seen twice.
pub fn measure(options: &Options) -> Result<(Report, Histogram<u64>), ForeachError> {
    let watch = Watch::start();
    let mut foreach = Foreach::start(options)?;
    let started = foreach.status()?;
    let (site, executor) = site_of(&started).ok_or(ForeachError::NoSite)?;
    let fresh = foreach.footprint(executor);
    let cold = foreach.invoke()?;
    let mut floor = HopFloor::new(&[site], options.wait);
    let pids = [&foreach.session.worker_pids()[..], &[executor]].concat();
    let measure_floor = |floor: &mut HopFloor| {
        // A spinning worker would take the CPUs that the floor is measured on.
        let _stopped = Stopped::stop(pids.clone());
        floor.measure(FLOOR_SAMPLES)
    };
    measure_floor(&mut floor)?;
    for _ in 0..WARM_UP_INVOCATIONS {
        foreach.invoke()?;
    }
    let before = foreach.settled()?;
    let warm = foreach.footprint(executor);
    let started_ns = now_ns();
    let rounds = (0..options.rounds)
        .map(|_| foreach.invoke())
        .collect::<Result<Vec<_>, _>>()?;
    let elapsed_ns = now_ns() - started_ns;
    let after = foreach.settled()?;
    let ended = foreach.footprint(executor);
    measure_floor(&mut floor)?;

    let items = u64::from(options.items);
    let mut each = floor::histogram();
    for round in &rounds {
        each.saturating_record(round.client_ns / items);
    }
    let machine = Machine::read(Setup {
        wait: Some(wait_name(options.wait).to_owned()),
        placement: Some(format!(
            "lane {} executor {}",
            site.lane_cpu, site.executor_cpu
        )),
        driver: Some(after.driver.kind.to_string()),
    });
    let mut report = Report::new("foreach", &each, Some(floor.sum()), machine);
    report.cold_ns = Some(cold.client_ns);
    report.param("wait", wait_name(options.wait));
    report.param("executors", &options.executors);
    report.param("items", options.items);
    report.param("returns", options.returns.name());
    report.param("rounds", options.rounds);
    describe_rates(&mut report, &rounds, items);
    let proof = Proof::of(&before, &after, options, elapsed_ns);
    report.detail("items_per_s_lane", proof.per_s);
    report.detail("floor_legs", floor.legs());
    report.detail("proof", &proof);
    report.detail("memory", Footprints { fresh, warm, ended });
    report.machine.disturbances = watch.finish();
    Ok((report, each))
}

/// Rates of the median round, as each party sees it.
fn describe_rates(report: &mut Report, rounds: &[Round], items: u64) {
    let rate = |items: u64, of: fn(&Round) -> u64| {
        let mut times: Vec<u64> = rounds.iter().map(of).collect();
        times.sort_unstable();
        let median_ns = times.get(times.len() / 2).copied().unwrap_or(0);
        (items as f64 * 1e9 / median_ns.max(1) as f64).round()
    };
    report.detail("items_per_s", rate(items, |round| round.client_ns));
    report.detail("items_per_s_worker", rate(items, |round| round.worker_ns));
    // From one entry to the next: one less than there are items.
    report.detail(
        "items_per_s_executor",
        rate(items.saturating_sub(1), |round| round.items_ns),
    );
    let mut invocation = floor::histogram();
    rounds
        .iter()
        .for_each(|round| invocation.saturating_record(round.client_ns));
    report.detail("invocation", Percentiles::of(&invocation));
}

/// What shows that the lane ran every item, and what it took.
#[derive(Serialize, Clone, PartialEq, Debug)]
struct Proof {
    /// Activations that there must have been: every item, and the two nodes around them.
    activations_expected: u64,
    /// Activations that the lane counted.
    activations: u64,
    activations_equal: bool,
    /// Items in a second, by the lane's count and the client's clock over all rounds, pauses between them included.
    #[serde(skip)]
    per_s: f64,
    lane_system_calls_per_item: f64,
    doorbells_per_item: f64,
    /// What the lane still held when the last invocation had ended.
    leases: u64,
    lease_bytes: u64,
    segments: u64,
    segment_bytes: u64,
}

impl Proof {
    fn of(before: &WorkerStatus, after: &WorkerStatus, options: &Options, elapsed_ns: u64) -> Self {
        let added = |name: &str| counter(after, name).saturating_sub(counter(before, name));
        let items = options.rounds * u64::from(options.items);
        let per_item = |count: u64| (count as f64 / items.max(1) as f64 * 1e6).round() / 1e6;
        /// `list` and `tally`.
        const AROUND: u64 = 2;
        let activations_expected = items + options.rounds * AROUND;
        let activations = added("activations");
        let counted = activations.saturating_sub(options.rounds * AROUND);
        Self {
            activations_expected,
            activations,
            activations_equal: activations == activations_expected,
            per_s: (counted as f64 * 1e9 / elapsed_ns.max(1) as f64).round(),
            lane_system_calls_per_item: per_item(added("system_calls")),
            doorbells_per_item: per_item(added("doorbells")),
            leases: counter(after, "leases"),
            lease_bytes: counter(after, "lease_bytes"),
            segments: counter(after, "segments"),
            segment_bytes: counter(after, "segment_bytes"),
        }
    }
}

fn counter(status: &WorkerStatus, name: &str) -> u64 {
    status.counters.get(name).copied().unwrap_or(0)
}

/// Where the lane and its executor run, and the executor's process.
fn site_of(status: &WorkerStatus) -> Option<(Site, u32)> {
    let lane_cpu = status.lanes.first()?.cpu as usize;
    let executor = status
        .deployments
        .iter()
        .flat_map(|deployment| &deployment.executors)
        .next()?;
    let site = Site {
        lane_cpu,
        executor_cpu: executor.cpu.map_or(lane_cpu, |cpu| cpu as usize),
    };
    Some((site, executor.pid))
}

/// The workflow.
fn definition(returns: Returns, memory_mib: u32) -> String {
    let (function, output, gathered) = match returns {
        Returns::Item => (
            "pass_item",
            "\n    output: { item: bytes }",
            "input: { items: each.item }",
        ),
        Returns::Nothing => ("take_item", "", "after: each"),
    };
    let resources = format!("resources: {{ memory_mib: {memory_mib}, scale: 1 }}");
    format!(
        "workflow: foreach
input:
  items: bytes
nodes:
  list:
    function: {EXECUTABLE}:list
    input: {{ items: input.items }}
    output: {{ items: list }}
    {resources}
  each:
    function: {EXECUTABLE}:{function}
    foreach: list.items
    input: {{ item: item }}{output}
    {resources}
  tally:
    function: {EXECUTABLE}:tally
    {gathered}
    output: {{ tally: bytes }}
    {resources}
output:
  tally: tally.tally
"
    )
}

/// Memory for the executor's arena: two payloads for each item, each on cache lines of its own.
fn executor_mib(items: u32) -> u32 {
    /// For everything that is no item.
    const REST_MIB: u32 = 64;
    /// What an arena takes for eight bytes, twice.
    const ITEM_BYTES: u64 = 256;
    let items_mib = (u64::from(items) * ITEM_BYTES).div_ceil(1 << 20);
    u32::try_from(items_mib).map_or(u32::MAX, |mib| mib.saturating_add(REST_MIB))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deployed_is_a_definition_that_the_master_takes() {
        for returns in [Returns::Item, Returns::Nothing] {
            let text = definition(returns, executor_mib(ITEMS));
            let parsed = master::definition::parse("foreach.yaml", text.as_bytes()).unwrap();
            assert_eq!(parsed.nodes.len(), 3);
            assert!(parsed.nodes[1].region.is_some());
        }
    }
}
