//! What an evaluation costs, in nanoseconds, and beside it what the `cel` crate's interpreter takes for the same.
//!
//! `cargo run --release -p faasflow-engine --example expression-cost`
#![allow(clippy::print_stdout, reason = "a program")]

use cel::{Context, Env, Value};
use engine::expression::Expression;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const NAMES: [&str; 3] = ["check.size", "check.mode", "check.info"];
const JSON: [&str; 3] = [
    "1234.5",
    r#""fast""#,
    r#"{"width": 800, "height": 600, "tags": ["a", "b"], "inner": {"depth": 3}}"#,
];
const TEXTS: [&str; 8] = [
    "true",
    "check.size > 100",
    "check.size > 100 && check.mode == 'fast'",
    "check.size < 100 || check.mode == 'slow' || check.size >= 1000",
    "check.info.inner.depth * 2 + 1 == 7",
    "check.info.width > check.info.height",
    "'b' in check.info.tags",
    "check.info.tags.exists(tag, tag == 'b')",
];

/// What asks for more than an evaluation may take.
const ENDLESS: [&str; 6] = [
    "list.map(a, list.map(b, {'a': a, 'b': b}))",
    "list.all(a, list.all(b, a == b))",
    "list.map(a, text + text)",
    "list.map(a, text.split('x'))",
    "list.all(a, text.contains(text))",
    "list.map(a, list)",
];

fn main() {
    println!("{:>9} {:>9}  expression", "here", "cel");
    for text in TEXTS {
        let expression = match Expression::compile_condition(text, &NAMES) {
            Ok(expression) => expression,
            Err(error) => {
                println!("{text}: {error}");
                continue;
            }
        };
        let values = JSON.map(|json| Some(json.as_bytes()));
        let here = cost_ns(|| expression.holds(black_box(&values)).unwrap_or_default());
        println!("{here:>6.0} ns {:>6.0} ns  {text}", cel_cost_ns(text));
    }
    println!("\nuntil it is given up after all its steps:");
    let list = format!("[{}1]", "1,".repeat(2000));
    let text = format!("\"{}\"", "x".repeat(4000));
    for endless in ENDLESS {
        if let Ok(expression) = Expression::compile(endless, &["list", "text"]) {
            let values = [Some(list.as_bytes()), Some(text.as_bytes())];
            let start = Instant::now();
            let given_up = expression.evaluate(&values).is_err();
            let microseconds = start.elapsed().as_micros();
            println!("{microseconds:>6} µs {given_up:>9}  {endless}");
        }
    }
}

/// With the values that the text names read anew each time, as they come.
fn cel_cost_ns(text: &str) -> f64 {
    let env = Arc::new(Env::stdlib());
    let Ok(program) = env.compile(text) else {
        return f64::NAN;
    };
    cost_ns(|| {
        let mut context = Context::with_env(Arc::clone(&env));
        let named = NAMES.into_iter().zip(JSON);
        for (name, json) in named.filter(|(name, _)| text.contains(name)) {
            let json: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
            let _ = context.add_variable(name, json);
        }
        program.execute(&context) == Ok(Value::Bool(true))
    })
}

/// The least of several rounds.
fn cost_ns(mut evaluate: impl FnMut() -> bool) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..20 {
        const TIMES: u32 = 20_000;
        let start = Instant::now();
        for _ in 0..TIMES {
            black_box(evaluate());
        }
        least = least.min(start.elapsed().as_nanos() as f64 / f64::from(TIMES));
    }
    least
}
