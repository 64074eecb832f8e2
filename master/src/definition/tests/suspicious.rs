//! Warnings: what is suspicious is said, and does not stop anything.

use super::*;

fn warnings(text: &str) -> Vec<String> {
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    let told = definition.warnings.iter().map(|warning| {
        let Place { line, column, .. } = warning.place;
        format!("{line}:{column} {warning}")
    });
    told.collect()
}

#[test]
fn what_nobody_uses_is_warned_of() {
    assert_eq!(warnings(WORDCOUNT), Vec::<String>::new());
    let text = "
workflow: w
input: { used: bytes, idle: bytes }
constants: { one: 1, two: 2 }
nodes:
  a: { function: e:f, input: { i: input.used, c: constant.one }, output: { x: bytes, y: bytes, z: value } }
  b: { compute: { p: a.z, q: 1 } }
output: { x: a.x, p: b.p }
";
    let expected = [
        "3:23 nobody uses `input.idle`",
        "4:22 nobody uses `constant.two`",
        "6:86 nobody uses output `y` of `a`",
        "7:27 nobody uses output `q` of `b`",
    ];
    assert_eq!(warnings(text), expected);
}

#[test]
fn times_that_do_not_go_together_are_warned_of() {
    let text = "
workflow: w
timeout_ms: 50
nodes:
  a: { function: e:f, timeout_ms: 10, profile: { runtime_ms: 20.5 } }
  b: { function: e:f, delay_ms: 40, profile: { runtime_ms: 20 } }
  c: { function: e:f, timeout_ms: 1 }
";
    let expected = [
        "3:13 `timeout_ms` is 50, but `b` is said to take 60 ms",
        "5:35 `timeout_ms` is 10, but `a` is said to take 20.5 ms",
    ];
    assert_eq!(warnings(text), expected);
}

#[test]
fn what_is_never_reached_or_probably_misspelt_is_warned_of() {
    let text = "
workflow: w
input: { n: value }
nodes:
  a:
    function: e:f
    retry: { attempts: 2, on: [Timeout, Busy, States.ALL, Out, time_out] }
    catch: [ { to: c }, { on: crash, to: c } ]
  b:
    switch: [ { when: input.n > 1, then: c }, { when: input.n > 1, then: [] } ]
  c: { function: e:f }
  e: { compute: { v: input.n + 1 }, catch: [ { on: Boom, to: c }, { on: [timeout, expression], to: c } ] }
  d:
    function: e:f
    retry:
      - { on: crash, attempts: 2 }
      - { attempts: 2 }
      - { on: crach, attempts: 3 }
      - { attempts: 1 }
";
    let expected = [
        "7:32 `Timeout` is no class of failures, and so means errors that begin with `Timeout:`",
        "7:47 `States.ALL` is no class of failures, and so means errors that begin with `States.ALL:`",
        "7:64 `time_out` is no class of failures, and so means errors that begin with `time_out:`",
        "8:25 this catch is never reached: one before it takes every failure",
        "10:55 this case is never reached: one before it has the same condition",
        "12:19 nobody uses output `v` of `e`",
        "12:46 this catch is never reached: what runs no function fails as `expression` alone",
        "18:9 this retrier is never reached: one before it takes every failure",
        "18:15 `crach` is no class of failures, and so means errors that begin with `crach:`",
        "19:9 this retrier is never reached: one before it takes every failure",
    ];
    assert_eq!(warnings(text), expected);
}
