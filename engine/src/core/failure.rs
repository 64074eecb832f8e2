//! How attempts fail: tried again, caught, borne by those who wait, or the end of the invocation.

use super::invocation::{NO_MAKER, Phase, Place};
use super::outcome::Outcome;
use super::pool::Running;
use super::program::LocalNode;
use super::report::Attempt;
use super::timers::Timer;
use super::trigger::Ended;
use super::{Action, Core, Part, Ticket};
use crate::plan::{DeploymentId, ErrorClass, ErrorMatch, Retry};
use crate::wire::Failure;
use faasstore::descriptor::InvocationId;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

/// Longest cause that is written into a value, and most bytes that it may have there, with which the value keeps its limit.
const CAUSE_CHARS_MAX: usize = 1024;
const CAUSE_BYTES_MAX: usize = 3072;

/// Why a node has failed for good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct NodeFailure {
    /// Attempts made.
    pub(super) attempt: u32,
    pub(super) class: ErrorClass,
    pub(super) cause: String,
}

/// Text to be written into the lane's arena, a value in JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Describe {
    /// What [`Core::described`] must repeat.
    pub ticket: Ticket,
    /// Of which deployment.
    pub deployment: DeploymentId,
    /// The text.
    pub text: String,
}

impl Core {
    /// An attempt came to nothing: try again, or let the node fail.
    pub(super) fn attempt_failed(
        &mut self,
        now_ns: u64,
        running: Running,
        class: ErrorClass,
        cause: String,
    ) {
        let Running {
            place,
            node,
            attempt,
            ..
        } = running;
        let root = self.invocations[place as usize].root;
        let invocation = &mut self.invocations[root as usize];
        invocation.running -= 1;
        let deployment = invocation.deployment;
        self.deployment_mut(deployment).profile.failed(node);
        let invocation = &self.invocations[root as usize];
        if invocation.timing.is_some() {
            let attempt = match class {
                ErrorClass::Timeout => Attempt::TimedOut,
                _ => Attempt::Failed,
            };
            self.attempt_ended(now_ns, running, attempt);
        }
        let invocation = &self.invocations[place as usize];
        if invocation.phase == Phase::Over {
            self.counters.late_dropped += 1;
            self.free_if_over(now_ns, root);
            return;
        }
        let id = invocation.id;
        let program = Rc::clone(self.program_of(place));
        let retriers = &program.details[node as usize].retriers;
        let retrier = Retry::first(retriers, class, &cause);
        let again = retrier.and_then(|retrier| {
            let again = self
                .retried
                .again((place, node), attempt, retriers, retrier)?;
            Some((&retriers[retrier], again))
        });
        let Some((retry, again)) = again else {
            let failure = NodeFailure {
                attempt,
                class,
                cause,
            };
            self.node_failed(now_ns, place, node, failure);
            return;
        };
        self.counters.retries += 1;
        if let Some(timing) = self.invocations[root as usize].timing.as_mut() {
            timing.again(node);
        }
        let mut hasher = rustc_hash::FxHasher::default();
        self.items_of_place(place)
            .for_each(|item| hasher.write_u32(item));
        let items = hasher.finish();
        let wait_ns = wait_ns(retry, again, (id, node, items, attempt));
        let attempt = attempt + 1;
        if wait_ns == 0 {
            self.dispatch(now_ns, place, node, attempt, NO_MAKER);
            return;
        }
        self.set_timer(
            now_ns.saturating_add(wait_ns),
            Timer::Retry {
                place,
                node,
                attempt,
            },
        );
    }

    /// A node has failed for good: who takes that?
    pub(super) fn node_failed(
        &mut self,
        now_ns: u64,
        place: Place,
        node: LocalNode,
        failure: NodeFailure,
    ) {
        if self.invocations[place as usize].phase != Phase::Running {
            return;
        }
        self.retried.end(place, node);
        let program = Rc::clone(self.program_of(place));
        let details = &program.details[node as usize];
        let NodeFailure {
            attempt,
            class,
            cause,
        } = failure;
        let takes = |on: &Vec<ErrorMatch>| ErrorMatch::any(on, class, &cause);
        let outcome = if let Some(catch) = details.catches.iter().position(takes) {
            self.counters.caught += 1;
            let catch = catch as u16;
            if details.error_slot.is_some() {
                let ticket = Ticket {
                    place,
                    generation: self.invocations[place as usize].generation,
                    node,
                    part: Part::Work,
                    catch,
                };
                let cause = shortened(&cause);
                let text = serde_json::json!({
                    "node": details.name,
                    "class": class.name(),
                    "cause": cause,
                    "attempt": attempt,
                });
                self.actions.push(Action::Describe(Box::new(Describe {
                    ticket,
                    deployment: program.plan.deployment,
                    text: text.to_string(),
                })));
                return;
            }
            Outcome::Caught(catch)
        } else if details.tolerated {
            let failure = self.borne.add(place, details.name.clone(), cause);
            self.bear_outside(place, node, failure);
            Outcome::Failed(failure)
        } else {
            let failure = Failure::Node {
                node: details.name.clone(),
                worker: program.my_name().to_owned(),
                attempt,
                cause,
            };
            return self.fail(now_ns, place, failure);
        };
        self.ended.push(Ended {
            place,
            node,
            maker: NO_MAKER,
            outcome,
        });
    }
}

impl Core {
    /// A failure of one item is one of the node for those outside of its region, and of the regions around that.
    fn bear_outside(&mut self, place: Place, node: LocalNode, failure: u32) {
        let program = Rc::clone(self.program_of(place));
        let mut read_in = None;
        self.each_region_around(place, &program, |around, run| {
            if let Entry::Vacant(entry) = run.failed.entry(node) {
                entry.insert(failure);
                read_in = Some(around);
            }
        });
        // All others go with their items.
        if let Some(around) = read_in {
            self.borne.move_to(failure, around);
        }
    }
}

/// As much of a cause as a value may hold.
fn shortened(cause: &str) -> &str {
    let mut bytes = 0;
    let fits = |(_, char): &(usize, char)| {
        bytes += match char {
            '"' | '\\' | '\n' | '\r' | '\t' => 2,
            // As JSON writes it.
            char if char.is_control() => 6,
            char => char.len_utf8(),
        };
        bytes <= CAUSE_BYTES_MAX
    };
    let kept = cause.char_indices().take(CAUSE_CHARS_MAX).take_while(fits);
    let end = kept.last().map_or(0, |(at, char)| at + char.len_utf8());
    &cause[..end]
}

/// What has failed: an attempt at a node, for which of an invocation's items (a hash of all their numbers).
type Failed = (InvocationId, LocalNode, u64, u32);

/// How long an activation waits that a retrier tries again, for the `again`-th time. Which part of it jitter leaves out
/// follows from what has failed, so that the core needs no random numbers.
fn wait_ns(retry: &Retry, again: u32, (id, node, items, attempt): Failed) -> u64 {
    let longest_ns = u64::from(retry.backoff_max_ms) * 1_000_000;
    let mut wait_ns = u64::from(retry.backoff_ms) * 1_000_000;
    for _ in 1..again {
        if wait_ns == 0 || wait_ns >= longest_ns {
            break;
        }
        wait_ns = wait_ns.saturating_mul(u64::from(retry.factor_percent)) / 100;
    }
    wait_ns = wait_ns.min(longest_ns);
    if retry.jitter_percent == 0 {
        return wait_ns;
    }
    let mut hasher = rustc_hash::FxHasher::default();
    (id.0, node, items, attempt).hash(&mut hasher);
    // The hash's upper bits are its better ones.
    let share = (hasher.finish() >> 32) * u64::from(retry.jitter_percent);
    wait_ns - (u128::from(wait_ns) * u128::from(share) / (100 << 32)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(backoff_ms: u32, factor_percent: u32, jitter_percent: u8) -> Retry {
        Retry {
            backoff_ms,
            factor_percent,
            backoff_max_ms: 1000,
            jitter_percent,
            ..Retry::default()
        }
    }

    #[test]
    fn a_cause_is_cut_so_that_it_fits_a_value() {
        for char in ["a", "é", "\u{1}", "\"", "😀"] {
            let cause = char.repeat(4000);
            let short = shortened(&cause);
            assert!(cause.starts_with(short));
            let json = serde_json::json!({ "node": "n".repeat(520), "class": "expression", "cause": short, "attempt": 1000 });
            let bytes = json.to_string().len();
            assert!((1500..=4096).contains(&bytes), "{char:?}: {bytes}");
        }
        assert_eq!(shortened("it is short"), "it is short");
        assert_eq!(shortened(""), "");
    }

    #[test]
    fn waits_grow_by_their_factor_up_to_the_longest() {
        let waits = |retry: &Retry| -> Vec<u64> {
            let wait = |again| wait_ns(retry, again, (InvocationId(7), 1, 2, 9)) / 1_000_000;
            (1..=6).map(wait).collect()
        };
        assert_eq!(waits(&retry(100, 200, 0)), [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(waits(&retry(100, 150, 0)), [100, 150, 225, 337, 506, 759]);
        assert_eq!(waits(&retry(0, 200, 0)), [0; 6]);
        assert_eq!(
            waits(&retry(5, 10_000, 0)),
            [5, 500, 1000, 1000, 1000, 1000]
        );
    }

    #[test]
    fn jitter_leaves_out_up_to_its_share_and_differs_by_invocation() {
        let retry = retry(100, 100, 40);
        let waits: Vec<u64> = (0..1000)
            .map(|id| wait_ns(&retry, 1, (InvocationId(id << 8), 3, 0, 1)))
            .collect();
        let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        assert!((60_000_000..62_000_000).contains(least), "{least}");
        assert!((98_000_000..=100_000_000).contains(most), "{most}");
    }
}
