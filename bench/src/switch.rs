//! The benchmark `switch`: what a switch between two functions adds to a hop.
//!
//! One chain, in which every second hop leads through a switch: A → switch → B and A → B take turns in one invocation, so
//! that what the host does meets both. All nodes are alike; each also says the value by which a switch decides.

use crate::chain::Work;
use crate::chain_session::{Answer, ChainSession};
use crate::floor;
use crate::hop::{self, HopError, Options};
use crate::report::{Percentiles, Report, Watch, ratio};
use hdrhistogram::Histogram;

/// Measures both. Returns the report, whose main figure are hops through a switch, and their distribution. `options` are
/// those of [`hop::hop`], for one worker.
///
/// # Errors
/// As there.
pub fn measure(options: &Options) -> Result<(Report, Histogram<u64>), HopError> {
    let watch = Watch::start();
    hop::check_memory(options)?;
    let chain = hop::chain(options, "switch", Work::StampAndChoose);
    let mut session = ChainSession::start(&hop::layout(options), chain)?;
    let (mut plain, mut switched) = (floor::histogram(), floor::histogram());
    let record = |answer: &Answer| part(answer, &mut plain, &mut switched);
    let measured = hop::measured(&mut session, options, record)?;
    let floor = measured.floor.sum();
    let mut report = Report::new("switch", &switched, Some(floor), measured.machine.clone());
    hop::describe(&mut report, options, &measured);
    let (with, without) = (report.figure.p50_ns, Percentiles::of(&plain));
    report.detail("hop", without);
    report.detail("switch_ns", with.saturating_sub(without.p50_ns));
    report.detail(
        "switch_over_hop",
        ratio(with.saturating_sub(without.p50_ns), without.p50_ns),
    );
    report.machine.disturbances = watch.finish();
    Ok((report, switched))
}

/// Parts the hops of an answer by whether they led through a switch. All nodes of the chain run in one executor, which
/// recorded them in order.
fn part(answer: &Answer, plain: &mut Histogram<u64>, switched: &mut Histogram<u64>) {
    for collection in &answer.collections {
        for (hop, hop_ns) in collection.hops_ns.iter().enumerate() {
            let histogram = if Work::StampAndChoose.is_switched(hop) {
                &mut *switched
            } else {
                &mut *plain
            };
            histogram.saturating_record(*hop_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Collection;

    #[test]
    fn hops_are_parted_by_turns() {
        let collection = Collection {
            hops_ns: vec![10, 200, 11, 201, 12],
            ..Collection::default()
        };
        let answer = Answer {
            latency_ns: 1,
            collections: vec![collection],
        };
        let (mut plain, mut switched) = (floor::histogram(), floor::histogram());
        part(&answer, &mut plain, &mut switched);
        assert_eq!((plain.len(), plain.max()), (3, 12));
        assert_eq!((switched.len(), switched.min()), (2, 200));
    }
}
