//! A client that asks for more as soon as it has an answer, so that whatever changes meanwhile changes under load.

use master::client::{Answered, Client, Invocation, Payload};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// Invocations of one client that are under way at once.
const AT_ONCE: usize = 3;

/// Calls a workflow without a pause until it is told to end, and waits for all answers; how many there were. `inputs` gives
/// those of each invocation by its number, from 0, and `check` looks at its answer.
///
/// # Panics
/// If an invocation is lost or answered twice.
pub fn unbroken(
    mut client: Client,
    workflow: &str,
    inputs: impl Fn(u64) -> Vec<(String, Payload)>,
    check: impl Fn(u64, &Answered),
    ends: &AtomicBool,
) -> u64 {
    let (mut under_way, mut answered, mut next) = (BTreeMap::new(), 0, 0_u64);
    loop {
        while under_way.len() < AT_ONCE && !ends.load(Ordering::Relaxed) {
            let inputs = inputs(next);
            let invocation = Invocation {
                workflow,
                inputs: &inputs,
                report: false,
                trace: false,
            };
            let request = client.start(&invocation).expect("the worker takes it");
            let before = under_way.insert(request, next);
            assert_eq!(before, None, "a number is used once");
            next += 1;
        }
        if under_way.is_empty() {
            assert_eq!(answered, next, "an invocation was lost");
            return answered;
        }
        let answer = client.next_answer().expect("the worker answers");
        let number = under_way.remove(&answer.request);
        check(
            number.expect("what was asked for is answered once"),
            &answer,
        );
        answered += 1;
    }
}
