//! How long an activation waits whose delays are computed, from what their expressions gave.

use super::{Breach, Judge};
use crate::trace::{Delayed, Gave, Moment};
use engine::plan::{Delay, FlowEdge, NodeId};

/// One day: nobody waits longer for what an expression gives.
const DAY_NS: i128 = 24 * 60 * 60 * 1_000_000_000;

/// What came of a node's delays.
pub(super) enum Waited {
    /// They are over at the earliest from then on.
    Until(Moment),
    /// They failed.
    Failed(Moment),
    /// It is not known yet how long they are, or nobody was asked.
    Open,
}

/// For how many nanoseconds a node waits, if its delays are looked at when the wall clock shows `wall_ns`; none if one
/// of them is no delay.
#[must_use]
pub fn delay_ns(delays: &[Delay], wall_ns: u64, gave: &[Gave]) -> Option<u64> {
    let mut gave = gave.iter();
    let mut all_ns: i128 = 0;
    for delay in delays {
        let own_ns = match delay {
            Delay::Fixed(delay_ms) => i128::from(*delay_ms) * 1_000_000,
            Delay::Computed(_) => match gave.next()? {
                Gave::Milliseconds(ms) => (ms * 1_000_000.0) as i128,
                _ => return None,
            },
            Delay::Until(_) => match gave.next()? {
                Gave::Time { wall_ns: until_ns } => {
                    let now_ns = i128::from(wall_ns) + all_ns;
                    (i128::from(*until_ns) - now_ns).max(0)
                }
                _ => return None,
            },
        };
        let computed = !matches!(delay, Delay::Fixed(_));
        if computed && !(0..=DAY_NS).contains(&own_ns) {
            return None;
        }
        all_ns += own_ns;
    }
    u64::try_from(all_ns).ok()
}

impl Judge<'_> {
    /// Follows what a node waits for that could start from `at` on. Of the `sets` of edges those stay that agree with what
    /// its expressions have seen.
    pub(super) fn delayed(
        &self,
        node: NodeId,
        at: Moment,
        sets: &mut Vec<Vec<FlowEdge>>,
    ) -> Result<Waited, Breach> {
        let plan = &self.workflow.nodes[node as usize];
        let computed = |delay: &Delay| !matches!(delay, Delay::Fixed(_));
        let asked = self.trace.delays.get(&self.activation(node));
        if !plan.delays.iter().any(computed) {
            if asked.is_some() {
                return Err(Breach("asked how long it waits, which is fixed".to_owned()));
            }
            let fixed_ns = delay_ns(&plan.delays, 0, &[]).unwrap_or_default();
            return Ok(Waited::Until(at.after_ns(fixed_ns)));
        }
        let Some(Delayed {
            asked,
            seen,
            answer,
        }) = asked
        else {
            return Ok(Waited::Open);
        };
        if !asked.may_follow(at) {
            let what = format!("asked for its delay at {asked:?}, before {at:?}");
            return Err(Breach(what));
        }
        let inputs = plan.delays.iter().filter_map(Delay::expression);
        let inputs: Vec<_> = inputs.flat_map(|delay| &delay.inputs).collect();
        self.narrow(&inputs, "its delay", *asked, seen, sets)?;
        let Some(answer) = answer else {
            return Ok(Waited::Open);
        };
        let waits_ns = delay_ns(&plan.delays, answer.wall_ns, &answer.gave);
        if waits_ns != answer.waits_ns {
            let what = format!("waits for {waits_ns:?} ns, by {answer:?}");
            return Err(Breach(what));
        }
        Ok(match waits_ns {
            Some(waits_ns) => Waited::Until(answer.at.after_ns(waits_ns)),
            None => Waited::Failed(answer.at),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::plan::DelayExpression;

    #[test]
    fn delays_are_in_turn_and_none_is_longer_than_a_day() {
        let expression = || DelayExpression {
            text: String::new(),
            inputs: Vec::new(),
        };
        let (computed, until) = (Delay::Computed(expression()), Delay::Until(expression()));
        let ms = Gave::Milliseconds;
        let at = |wall_ns: u64| Gave::Time { wall_ns };
        let both = [Delay::Fixed(2), computed, until];
        let (now_ns, day_ns) = (50_000_000, 86_400_000_000_000);
        let waits = |gave: [Gave; 2]| delay_ns(&both, now_ns, &gave);
        assert_eq!(waits([ms(0.5), at(now_ns + 9)]), Some(2_500_000));
        assert_eq!(waits([ms(0.5), at(now_ns + 7_000_000)]), Some(7_000_000));
        let latest_ns = now_ns + 2_000_000 + day_ns;
        assert_eq!(waits([ms(0.0), at(latest_ns)]), Some(2_000_000 + day_ns));
        assert_eq!(waits([ms(0.0), at(latest_ns + 1)]), None);
        assert_eq!(waits([ms(-1.0), at(0)]), None);
        assert_eq!(waits([at(0), at(0)]), None);
        assert_eq!(waits([ms(1.0), Gave::Nothing]), None);
    }
}
