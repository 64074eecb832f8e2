//! Delays that are computed, by real lanes: a node waits as long, or until when, its expression says.

use faasflow_tests::cluster::{Cluster, Setup, bytes, output, payload};
use master::client::{Answered, Payload};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

const WAITS: &str = r#"
workflow: waits
input:
  text: bytes
  wait: value
  at: { kind: value, default: "2020-01-01T00:00:00Z" }
  lines: { kind: list, default: [] }
nodes:
  double: { compute: { ms: input.wait.ms * 2 } }
  work:
    command: [cat]
    input: { text: input.text }
    delay_ms: double.ms
    output: { text: bytes }
    catch: { on: expression, to: rescue }
  rescue: { command: [cat], input: { why: work.error }, output: { text: bytes } }
  pause:
    input: { at: input.at }
    delay_until: at
  then: { command: [cat], input: { text: input.text }, after: pause, output: { text: bytes } }
  each:
    command: [cat]
    foreach: input.lines
    input: { line: item }
    delay_ms: 'input.wait.ms < 0 || input.wait.ms > 100 ? 0 : input.wait.ms'
    output: { line: bytes }
output:
  text: "first_of(work.text, rescue.text)"
  then: then.text
  lines: each.line
"#;

/// Where nodes run so that what a delay reads comes from the other worker.
const PINS: [(&str, &str); 6] = [
    ("double", "a"),
    ("work", "b"),
    ("rescue", "a"),
    ("pause", "b"),
    ("then", "a"),
    ("each", "b"),
];

fn cluster() -> Cluster {
    let cluster = Setup::workers(&["a", "b"]).start();
    cluster.deploy(WAITS, &PINS);
    cluster
}

fn invoke(cluster: &Cluster, entry: &str, wait: &str, at: Option<&str>) -> Answered {
    let mut inputs = vec![
        ("text", bytes("pear")),
        ("wait", bytes(wait)),
        ("lines", Payload::list(vec![b"x".to_vec(), b"y".to_vec()])),
    ];
    inputs.extend(at.map(|at| ("at", bytes(at))));
    let answered = cluster.invoke(entry, "waits", &inputs);
    answered.expect("the worker answers")
}

#[test]
fn a_node_waits_as_long_as_its_input_says() {
    let cluster = cluster();
    for entry in ["a", "b"] {
        let begun = Instant::now();
        let answered = invoke(&cluster, entry, r#"{"ms": 20.5}"#, None);
        assert_eq!(output(&answered, "text"), b"pear");
        let lines = Payload::list(vec![b"x".to_vec(), b"y".to_vec()]);
        assert_eq!(*payload(&answered, "lines"), lines);
        assert!(begun.elapsed() >= Duration::from_millis(41));
    }
}

#[test]
fn a_node_waits_until_the_time_that_its_input_says() {
    let cluster = cluster();
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since_epoch.unwrap().as_secs() + 2;
    let answered = invoke(&cluster, "a", r#"{"ms": 0}"#, Some(&timestamp(seconds)));
    assert_eq!(output(&answered, "then"), b"pear");
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    assert!(SystemTime::now() >= at);
    let day_and_more = timestamp(seconds + 2 * 86_400);
    let failed = invoke(&cluster, "b", r#"{"ms": 0}"#, Some(&day_and_more));
    let told = failed.result.unwrap_err().to_string();
    let wanted = format!("`delay_until`: {day_and_more} is more than 86400000 ms ahead");
    assert!(told.contains(&wanted), "{told}");
}

#[test]
fn what_is_no_delay_is_caught_and_said() {
    let cluster = cluster();
    for (wait, wanted) in [
        (r#"{"ms": -1}"#, "from 0 to 86400000, and this is -2"),
        (r#"{"ms": 50000000}"#, "and this is 100000000"),
    ] {
        let answered = invoke(&cluster, "a", wait, None);
        let why = String::from_utf8_lossy(output(&answered, "text")).into_owned();
        assert!(why.contains(r#""class":"expression""#), "{why}");
        assert!(why.contains("`delay_ms`") && why.contains(wanted), "{why}");
    }
}

/// A time, so many seconds after 1970 began, as RFC 3339 has it.
fn timestamp(seconds: u64) -> String {
    let of = format!("@{seconds}");
    let date = Command::new("date")
        .args(["-u", "-d", &of, "+%FT%TZ"])
        .output();
    let written = String::from_utf8(date.unwrap().stdout).unwrap();
    format!("\"{}\"", written.trim())
}
