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
