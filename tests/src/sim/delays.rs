//! What simulated lanes say of how long nodes wait: expressions that give anything, and a wall clock that is set at will.

use super::Cluster;
use super::lane::Evaluating;
use crate::random::Random;
use crate::trace::{DelayAnswer, Gave};
use engine::core::Evaluated;
use engine::delay::wait;
use engine::plan::Delay;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

/// What wall clocks show when a simulation begins: 2030-01-01T00:00:00Z.
const WALL_START_NS: u64 = 1_893_456_000 * 1_000_000_000;
/// By how much a wall clock may be ahead: it is set to and fro, and each worker has its own.
const AHEAD_NS_MAX: u64 = 3_000_000;
const HOUR_NS: u64 = 60 * 60 * 1_000_000_000;

impl Cluster {
    /// A lane has looked at how long a node waits.
    pub(super) fn end_delay(&mut self, lane: usize, of: Evaluating) {
        let faults = self.scenario.faults;
        let workflow = &self.scenario.deployments[of.deployment].workflow;
        let delays = &workflow.nodes[of.node as usize].delays;
        let ahead_ns = self.random.bits() % AHEAD_NS_MAX;
        let wall_ns = WALL_START_NS + self.now_ns + ahead_ns;
        let gave: Vec<Gave> = delays
            .iter()
            .filter(|delay| delay.expression().is_some())
            .map(|delay| match self.random.chance(faults.failures) {
                true => wrong(&mut self.random, wall_ns),
                false => right(&mut self.random, delay, wall_ns),
            })
            .collect();
        let clock = SystemTime::UNIX_EPOCH + Duration::from_nanos(wall_ns);
        let mut values = gave.iter();
        let waits = wait(delays, clock, |_, _| match values.next() {
            Some(gave) => value(gave),
            None => panic!("asked for more than there are expressions"),
        });
        let waits_ns = waits.as_ref().ok().map(|waits| waits.as_nanos() as u64);
        let evaluated = match waits {
            Ok(waits) => Evaluated::Waits {
                delay_ns: waits.as_nanos() as u64,
            },
            Err(cause) => Evaluated::Failed(cause),
        };
        if let Some(id) = of.invocation {
            let answer = DelayAnswer {
                at: self.now(),
                wall_ns,
                gave,
                waits_ns,
            };
            let trace = &mut self.asked[self.by_id[&id]].trace;
            trace.delay_ends((of.node, of.items), answer);
        }
        let now_ns = self.lanes[lane].event_ns(self.now_ns);
        let evaluated = self.delay_taken(evaluated);
        let goes_on = self.lanes[lane].core.invocation_of(of.ticket).is_some();
        let deployed = &self.scenario.deployments[of.deployment];
        let work = &deployed.workflow.nodes[of.node as usize].work;
        if goes_on && work.executable().is_some() && matches!(evaluated, Evaluated::Failed(_)) {
            // Its first attempt has failed without an executor.
            let id = deployed.name.id;
            let attempts = self.lanes[lane]
                .attempts
                .entry((id, of.planned))
                .or_default();
            (attempts.first, attempts.all) = (attempts.first + 1, attempts.all + 1);
        }
        let core = &mut self.lanes[lane].core;
        core.evaluated(now_ns, of.ticket, evaluated);
        self.act(lane);
    }
}

/// What such a delay's expression may give.
fn right(random: &mut Random, delay: &Delay, wall_ns: u64) -> Gave {
    match delay {
        Delay::Until(_) => {
            let earliest_ns = wall_ns.saturating_sub(3_000_000).max(WALL_START_NS);
            let until_ns = earliest_ns + random.bits() % 8_000_000;
            Gave::Time { wall_ns: until_ns }
        }
        // Quarters are no matter of rounding.
        Delay::Fixed(_) | Delay::Computed(_) => Gave::Milliseconds(random.below(17) as f64 / 4.0),
    }
}

/// What no delay may be.
fn wrong(random: &mut Random, wall_ns: u64) -> Gave {
    let day_ns = 24 * HOUR_NS;
    match random.below(6) {
        0 => Gave::Milliseconds(-0.25),
        1 => Gave::Milliseconds(86_400_000.25),
        2 => Gave::Time {
            // Later than any delays before it.
            wall_ns: wall_ns + 2 * day_ns,
        },
        3 => Gave::Other(json!("soon")),
        4 => Gave::Other(json!(null)),
        _ => Gave::Nothing,
    }
}

fn value(gave: &Gave) -> Result<Value, String> {
    match gave {
        Gave::Milliseconds(ms) => Ok(json!(ms)),
        Gave::Time { wall_ns } => Ok(json!(timestamp(*wall_ns))),
        Gave::Other(value) => Ok(value.clone()),
        Gave::Nothing => Err("there is no such key".to_owned()),
    }
}

/// A time in the first days of a simulation, as RFC 3339 writes it.
fn timestamp(wall_ns: u64) -> String {
    let since_ns = wall_ns - WALL_START_NS;
    let (day, ns) = (since_ns / (24 * HOUR_NS) + 1, since_ns % (24 * HOUR_NS));
    let (hour, ns) = (ns / HOUR_NS, ns % HOUR_NS);
    let (second, ns) = (ns / 1_000_000_000, ns % 1_000_000_000);
    let (minute, second) = (second / 60, second % 60);
    format!("2030-01-{day:02}T{hour:02}:{minute:02}:{second:02}.{ns:09}Z")
}
