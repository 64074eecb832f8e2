//! Trace events, the JSON that Perfetto (ui.perfetto.dev) and Chrome (chrome://tracing) load.
//!
//! A worker is a process there, each of its executors a thread, and its lane one more. An attempt is a complete event
//! (`X`) named as its node, with its item (and of a foreach within others all of them, `items`, as in `2/5`), attempt, end
//! and wait among its arguments; where edges are known, an arrow
//! (`s`, `f`) leads from a node's last attempt that ended well to the first one of each that waited for it. Times are
//! microseconds since the invocation began, with nanoseconds behind the point. `otherData` says what else is to be known.

use super::{Attempt, End, Trace};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// The lane's number among the threads of its worker; executors follow.
const LANE_THREAD: u64 = 1;

/// Writes the trace as one JSON object.
///
/// # Errors
/// As `out` fails.
pub fn write(trace: &Trace, mut out: impl Write) -> io::Result<()> {
    out.write_all(b"{\"displayTimeUnit\":\"ns\",\"otherData\":")?;
    serde_json::to_writer(&mut out, &other_data(trace))?;
    out.write_all(b",\"traceEvents\":[")?;
    let mut first = true;
    let mut event = |event: Value| {
        out.write_all(if first { b"\n" } else { b",\n" })?;
        first = false;
        serde_json::to_writer(&mut out, &event).map_err(io::Error::from)
    };
    for worker in 0..trace.workers.len() {
        for named in names(trace, worker) {
            event(named)?;
        }
    }
    for attempt in &trace.attempts {
        event(complete(trace, attempt))?;
    }
    for (number, arrow) in arrows(trace).into_iter().enumerate() {
        for end in arrow_events(number, arrow) {
            event(end)?;
        }
    }
    out.write_all(b"\n]}\n")
}

fn other_data(trace: &Trace) -> Value {
    let mut skipped: BTreeMap<&str, u64> = BTreeMap::new();
    for node in &trace.skipped {
        *skipped.entry(&trace.nodes[*node]).or_default() += 1;
    }
    let workers = trace.workers.iter().map(|worker| {
        let aligned = json!(worker.aligned.name());
        (worker.name.clone(), aligned)
    });
    json!({
        "workflow": trace.workflow,
        "invocation": trace.invocation.to_string(),
        "latency_ns": trace.latency_ns,
        "aligned": trace.aligned().name(),
        "aligned_by_worker": workers.collect::<serde_json::Map<_, _>>(),
        "skipped": skipped,
        "dropped": trace.dropped,
    })
}

const fn process(worker: usize) -> u64 {
    worker as u64 + 1
}

fn thread(executor: Option<u32>) -> u64 {
    executor.map_or(LANE_THREAD, |number| LANE_THREAD + 1 + u64::from(number))
}

/// What a worker and its threads are called, and in which order they stand.
fn names(trace: &Trace, worker: usize) -> Vec<Value> {
    let pid = process(worker);
    let meta = |what: &str, tid: u64, arguments: Value| json!({ "name": what, "ph": "M", "pid": pid, "tid": tid, "args": arguments });
    let mut events = vec![
        meta(
            "process_name",
            0,
            json!({ "name": format!("worker {}", trace.workers[worker].name) }),
        ),
        meta("process_sort_index", 0, json!({ "sort_index": worker })),
    ];
    let own = trace
        .attempts
        .iter()
        .filter(|attempt| attempt.worker == worker);
    let executors: BTreeSet<Option<u32>> = own.map(|attempt| attempt.executor).collect();
    for executor in executors {
        let tid = thread(executor);
        let name =
            executor.map_or_else(|| "lane".to_owned(), |number| format!("executor {number}"));
        events.push(meta("thread_name", tid, json!({ "name": name })));
        events.push(meta("thread_sort_index", tid, json!({ "sort_index": tid })));
    }
    events
}

/// Nanoseconds as microseconds. Exact to the nanosecond for a hundred days.
fn us(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

fn complete(trace: &Trace, attempt: &Attempt) -> Value {
    let mut arguments = serde_json::Map::new();
    if let Some(item) = attempt.items.last() {
        arguments.insert("item".into(), json!(item));
    }
    if attempt.items.len() > 1 {
        arguments.insert("items".into(), json!(attempt.items_text()));
    }
    arguments.insert("attempt".into(), json!(attempt.number));
    arguments.insert("end".into(), json!(attempt.end.name()));
    arguments.insert("ready_us".into(), json!(us(attempt.ready_ns)));
    let wait_ns = attempt.started_ns - attempt.ready_ns;
    arguments.insert("wait_us".into(), json!(us(wait_ns)));
    let mut event = json!({
        "name": trace.nodes[attempt.node],
        "cat": attempt.end.name(),
        "ph": "X",
        "ts": us(attempt.started_ns),
        "dur": us(attempt.ended_ns - attempt.started_ns),
        "pid": process(attempt.worker),
        "tid": thread(attempt.executor),
        "args": arguments,
    });
    // Colour names that viewers know; what ended well has one by its name.
    let colour = match attempt.end {
        End::Well => None,
        End::Failed => Some("terrible"),
        End::TimedOut => Some("bad"),
        End::Running => Some("grey"),
    };
    if let Some(colour) = colour {
        event["cname"] = json!(colour);
    }
    event
}

/// From which attempt to which arrows lead.
fn arrows(trace: &Trace) -> Vec<(&Attempt, &Attempt)> {
    let mut last: Vec<Option<&Attempt>> = vec![None; trace.nodes.len()];
    let mut first = last.clone();
    for attempt in &trace.attempts {
        first[attempt.node].get_or_insert(attempt);
        let later = last[attempt.node].is_none_or(|last| last.ended_ns <= attempt.ended_ns);
        if attempt.end == End::Well && later {
            last[attempt.node] = Some(attempt);
        }
    }
    let ends = |(from, to): &(usize, usize)| last[*from].zip(first[*to]);
    let arrows = trace.edges.iter().filter_map(ends);
    // A join of some may have started before another of its predecessors ended.
    arrows
        .filter(|(from, to)| from.ended_ns <= to.started_ns)
        .collect()
}

/// An arrow's two ends. Each must lie within the event that it is to be bound to: so the first does a nanosecond before
/// that ends.
fn arrow_events(number: usize, (from, to): (&Attempt, &Attempt)) -> [Value; 2] {
    let end = |phase: &str, at_ns: u64, attempt: &Attempt| {
        json!({
            "name": "edge",
            "cat": "edge",
            "ph": phase,
            "id": number + 1,
            "ts": us(at_ns),
            "pid": process(attempt.worker),
            "tid": thread(attempt.executor),
        })
    };
    let leaves_ns = from.ended_ns.saturating_sub(1).max(from.started_ns);
    let mut arrives = end("f", to.started_ns, to);
    arrives["bp"] = json!("e");
    [end("s", leaves_ns, from), arrives]
}

#[cfg(test)]
mod tests {
    use super::super::tests::{answered, part, record};
    use super::*;
    use engine::trace::{BY_LANE, TraceEnd};

    fn written(trace: &Trace) -> Value {
        let mut json = Vec::new();
        write(trace, &mut json).unwrap();
        serde_json::from_slice(&json).unwrap()
    }

    #[test]
    fn each_attempt_is_a_complete_event_on_the_thread_of_its_executor() {
        let mut failed = record(1, Some(3), [1_000, 1_500, 4_001]);
        (failed.end, failed.executor, failed.attempt) = (TraceEnd::Failed, 4, 2);
        let mut chosen = record(2, None, [0, 10, 20]);
        chosen.executor = BY_LANE;
        let parts = vec![
            part("a \"b\"", 1, 0, vec![failed]),
            part("c", 1, 500, vec![chosen]),
        ];
        let json = written(&Trace::of("w", &answered(parts, 5_000)));
        assert_eq!(json["otherData"]["aligned"], "clock");
        assert_eq!(json["otherData"]["latency_ns"], 5_000);
        let events = json["traceEvents"].as_array().unwrap();
        let of_phase = |phase: &str| -> Vec<&Value> {
            events.iter().filter(|event| event["ph"] == phase).collect()
        };
        let complete = of_phase("X");
        assert_eq!(complete.len(), 2);
        let expected = json!({
            "name": "node-2", "cat": "well", "ph": "X", "ts": 0.51, "dur": 0.01, "pid": 2, "tid": 1,
            "args": { "attempt": 1, "end": "well", "ready_us": 0.5, "wait_us": 0.01 },
        });
        assert_eq!(complete[0], &expected);
        let expected = json!({
            "name": "node-1", "cat": "failed", "ph": "X", "ts": 1.5, "dur": 2.501, "pid": 1, "tid": 6,
            "args": { "item": 3, "attempt": 2, "end": "failed", "ready_us": 1.0, "wait_us": 0.5 },
            "cname": "terrible",
        });
        assert_eq!(complete[1], &expected);
        let names: Vec<&str> = of_phase("M")
            .iter()
            .filter_map(|event| event["args"]["name"].as_str())
            .collect();
        assert_eq!(names, ["worker a \"b\"", "executor 4", "worker c", "lane"]);
    }

    #[test]
    fn items_within_items_timeouts_and_what_was_skipped_are_told() {
        let mut inner = record(1, Some(5), [0, 0, 10]);
        (inner.outer_at, inner.outer_count, inner.end) = (0, 1, TraceEnd::TimedOut);
        let mut beyond = record(1, Some(6), [20, 20, 30]);
        // A worker that says what cannot be is believed as far as it can be.
        (beyond.outer_at, beyond.outer_count, beyond.end) = (u32::MAX, 255, TraceEnd::Running);
        let mut skipped = record(2, None, [0; 3]);
        skipped.end = TraceEnd::Skipped;
        let mut part = part("a", 1, 0, vec![inner, beyond, skipped, skipped]);
        part.outer = vec![2];
        let json = written(&Trace::of("w", &answered(vec![part], 100)));
        let events = json["traceEvents"].as_array().unwrap();
        let complete = events.iter().filter(|event| event["ph"] == "X");
        let told: Vec<_> = complete
            .map(|event| {
                (
                    &event["args"]["item"],
                    &event["args"]["items"],
                    &event["cat"],
                    &event["cname"],
                )
            })
            .collect();
        let expected = [
            (&json!(5), &json!("2/5"), &json!("timed out"), &json!("bad")),
            (
                &json!(6),
                &Value::Null,
                &json!("still running"),
                &json!("grey"),
            ),
        ];
        assert_eq!(told, expected);
        assert_eq!(json["otherData"]["skipped"], json!({ "node-2": 2 }));
    }

    #[test]
    fn arrows_begin_and_end_within_what_they_are_bound_to() {
        let mut trace = Trace::of(
            "w",
            &answered(
                vec![part(
                    "a",
                    1,
                    0,
                    vec![
                        record(0, Some(0), [0, 0, 50]),
                        record(0, Some(1), [0, 50, 90]),
                        record(1, None, [90, 95, 95]),
                    ],
                )],
                100,
            ),
        );
        trace.edges = vec![(0, 1), (1, 0)];
        let json = written(&trace);
        let events = json["traceEvents"].as_array().unwrap();
        let ends: Vec<(&str, f64, u64)> = events
            .iter()
            .filter(|event| event["cat"] == "edge")
            .map(|event| {
                (
                    event["ph"].as_str().unwrap(),
                    event["ts"].as_f64().unwrap(),
                    event["id"].as_u64().unwrap(),
                )
            })
            .collect();
        assert_eq!(ends, [("s", 0.089, 1), ("f", 0.095, 1)]);
    }

    #[test]
    fn a_trace_of_nothing_is_an_object_too() {
        let json = written(&Trace::of("w", &answered(Vec::new(), 0)));
        assert_eq!(json["traceEvents"], json!([]));
    }
}
