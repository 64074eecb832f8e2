//! Many invocations, so many at once, and what their latencies came to.

use crate::exit::Exit;
use crate::print::Page;
use crate::progress::Progress;
use engine::wire::{Failure, NodeReport};
use engine::worker::quantities::duration_text as duration;
use hdrhistogram::Histogram;
use master::client::{Answered, Client, ClientError, Invocation, Options};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Connections at most; beyond it requests share them.
const CONNECTIONS_MAX: u64 = 64;
/// Longest latency that is told apart: one hour, in nanoseconds.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// What a load came to.
pub(crate) struct Load {
    concurrency: u64,
    elapsed_ns: u64,
    latency: Histogram<u64>,
    failures: u64,
    /// The first failure that a connection saw, with the report until then.
    pub(crate) failed: Option<(Failure, Vec<NodeReport>)>,
    /// The last answer with outputs that a connection saw.
    pub(crate) last: Option<Answered>,
    /// The answer of the invocation that is traced, however it ended.
    pub(crate) traced: Option<Answered>,
}

fn histogram() -> Histogram<u64> {
    match Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("the bounds are constants that fit: {error}"),
    }
}

impl Load {
    fn empty(concurrency: u64) -> Self {
        Self {
            concurrency,
            elapsed_ns: 0,
            latency: histogram(),
            failures: 0,
            failed: None,
            last: None,
            traced: None,
        }
    }

    fn take_in(&mut self, other: Self) {
        if self.latency.add(&other.latency).is_err() {
            unreachable!("both histograms have the same bounds");
        }
        self.failures += other.failures;
        self.failed = self.failed.take().or(other.failed);
        self.last = other.last.or(self.last.take());
        self.traced = self.traced.take().or(other.traced);
    }

    fn answered(&mut self, latency_ns: u64, answered: Answered) {
        self.latency.saturating_record(latency_ns);
        if !answered.trace.is_empty() {
            self.traced = Some(answered.clone());
        }
        match &answered.result {
            Ok(_) => self.last = Some(answered),
            Err(failure) => {
                self.failures += 1;
                self.failed
                    .get_or_insert_with(|| (failure.clone(), answered.report));
            }
        }
    }

    /// Invocations that ended with their outputs.
    pub(crate) fn ended(&self) -> u64 {
        self.latency.len() - self.failures
    }

    fn throughput_per_s(&self) -> f64 {
        self.latency.len() as f64 * 1e9 / self.elapsed_ns.max(1) as f64
    }

    /// For people.
    pub(crate) fn show(&self, page: &mut Page) {
        let quantile = |quantile| duration(self.latency.value_at_quantile(quantile));
        page.line(&format!(
            "{} invocations, {} at once, in {}: {:.0} per second, {} failed",
            self.latency.len(),
            self.concurrency,
            duration(self.elapsed_ns),
            self.throughput_per_s(),
            self.failures,
        ));
        page.line(&format!(
            "latency: p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
            quantile(0.5),
            quantile(0.9),
            quantile(0.99),
            quantile(0.999),
            duration(self.latency.max()),
        ));
    }

    /// For machines.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "samples": self.latency.len(),
            "concurrency": self.concurrency,
            "failed": self.failures,
            "elapsed_ns": self.elapsed_ns,
            "throughput_per_s": self.throughput_per_s(),
            "mean_ns": self.latency.mean(),
            "p50_ns": self.latency.value_at_quantile(0.5),
            "p90_ns": self.latency.value_at_quantile(0.9),
            "p99_ns": self.latency.value_at_quantile(0.99),
            "p999_ns": self.latency.value_at_quantile(0.999),
            "max_ns": self.latency.max(),
        })
    }
}

/// Connections to the workers in turn, for up to `concurrency` invocations under way of `count`.
pub(crate) fn connect(
    workers: &[String],
    options: &Options,
    count: u64,
    concurrency: u64,
) -> Result<Vec<Client>, Exit> {
    let connections = concurrency.min(count).min(CONNECTIONS_MAX) as usize;
    let mut clients = Vec::with_capacity(connections);
    for index in 0..connections {
        clients.push(Client::connect(&workers[index % workers.len()], options)?);
    }
    Ok(clients)
}

/// Invokes `count` times, with up to `concurrency` under way, over these connections. It is a closed loop: a request is
/// sent when another has been answered. What each of them tells is for [`one_of`] to say. Once a connection is cancelled
/// no more is sent on any, and that counts as the failure, unless there was one before.
pub(crate) fn run(
    clients: Vec<Client>,
    invocation: &Invocation<'_>,
    count: u64,
    concurrency: u64,
    progress: &Progress,
) -> Result<Load, Exit> {
    let concurrency = concurrency.min(count);
    let connections = clients.len() as u64;
    let left = AtomicU64::new(count);
    let begun = Instant::now();
    let parts: Vec<Result<Load, Exit>> = std::thread::scope(|scope| {
        let start = |(index, client)| {
            let depth = concurrency / connections + u64::from(index < concurrency % connections);
            let left = &left;
            scope.spawn(move || {
                let part = closed_loop(client, invocation, depth, left, progress);
                if part.is_err() {
                    // What is wrong is to be said now, and not after all that the other connections could still do.
                    left.store(0, Ordering::Relaxed);
                }
                part
            })
        };
        // All are started before the first is waited for.
        let threads: Vec<_> = (0..connections).zip(clients).map(start).collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(part) => part,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect()
    });
    let mut load = Load::empty(concurrency);
    for part in parts {
        load.take_in(part?);
    }
    load.elapsed_ns = begun.elapsed().as_nanos() as u64;
    Ok(load)
}

/// The one of which, it included, so many are left to send. If a trace is wanted, then of the last one; the report that
/// names the edges of a trace is asked for with it, and of the others only if it is wanted of all.
pub(crate) fn one_of<'a>(invocation: &Invocation<'a>, left: u64) -> Invocation<'a> {
    let traced = invocation.trace && left == 1;
    Invocation {
        report: invocation.report || traced,
        trace: traced,
        ..*invocation
    }
}

fn closed_loop(
    mut client: Client,
    invocation: &Invocation<'_>,
    depth: u64,
    left_of_all: &AtomicU64,
    progress: &Progress,
) -> Result<Load, Exit> {
    let mut load = Load::empty(depth);
    let mut sent: HashMap<u64, Instant> = HashMap::new();
    // How many are left, this one among them.
    let one_more = || {
        let take = |left: u64| left.checked_sub(1);
        left_of_all
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .ok()
    };
    loop {
        while (sent.len() as u64) < depth
            && let Some(left) = one_more()
        {
            let one = one_of(invocation, left);
            let now = Instant::now();
            match client.start(&one) {
                Ok(request) => {
                    sent.insert(request, now);
                }
                Err(ClientError::Cancelled) => {
                    left_of_all.store(0, Ordering::Relaxed);
                    load.failed
                        .get_or_insert_with(|| (Failure::Cancelled, Vec::new()));
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if sent.is_empty() {
            return Ok(load);
        }
        let answered = client.next_answer()?;
        let Some(sent) = sent.remove(&answered.request) else {
            unreachable!("the client hands out answers to its own requests alone");
        };
        let latency_ns = sent.elapsed().as_nanos() as u64;
        progress.answered(latency_ns);
        load.answered(latency_ns, answered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_trace_needs_is_asked_of_the_last_one_alone() {
        let asked = |report, trace, left| {
            let invocation = Invocation {
                workflow: "w",
                inputs: &[],
                report,
                trace,
            };
            let one = one_of(&invocation, left);
            (one.report, one.trace)
        };
        assert_eq!(asked(false, true, 2), (false, false));
        assert_eq!(asked(false, true, 1), (true, true));
        assert_eq!(asked(true, true, 2), (true, false));
        assert_eq!(asked(false, false, 1), (false, false));
    }
}
