//! What is measured of a workflow that runs: how long its nodes run and wait, and how many bytes and items go through it.
//!
//! This file owns the figures, merges them, and writes them for the wire. What is measured, and when, is `core::profile`'s
//! business; docs/operations.md says it for people. A [`Distribution`] takes bounded memory however much is recorded, and
//! whoever reads one from the wire checks all of it first.
#![allow(
    missing_docs,
    reason = "rkyv derives fields of its own for enum variants, which nobody can document"
)]

use crate::plan::NodeId;
use faasstore::descriptor::CpuUse;
use hdrhistogram::Histogram;
use rkyv::{Archive, Deserialize, Serialize};
use thiserror::Error;

/// The largest value that is told apart: beyond 78 hours of nanoseconds, or 256 TiB. What is larger counts as this.
pub const VALUE_MAX: u64 = (1 << 48) - 1;
/// Counters of a histogram that has seen values up to [`VALUE_MAX`]: 16 for each doubling, and the first 16.
const BUCKETS_MAX: usize = 45 * 16;
/// Up to this value a histogram has its counters from the beginning, 1,472 bytes of them: 67 ms of nanoseconds, or 64 MiB. So
/// hardly any is ever made anew.
const VALUE_COMMON_MAX: u64 = (1 << 26) - 1;
/// What the counters of a histogram take at most, in bytes.
pub const HISTOGRAM_BYTES_MAX: usize = BUCKETS_MAX * size_of::<u32>();
/// Digits that a histogram tells apart. Its buckets are a sixteenth of their values wide at most, so that their middles are
/// within 3.2 % of whatever is in them.
const DIGITS: u8 = 1;

/// How much is kept of what is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// Count, sum and histogram.
    Whole,
    /// Count and sum alone.
    Sums,
}

/// How values are distributed: how many there were, their exact sum, and a histogram within 3.2 %.
#[derive(Clone, Debug)]
pub struct Distribution {
    count: u64,
    sum: u64,
    histogram: Option<Histogram<u32>>,
}

impl Default for Distribution {
    fn default() -> Self {
        Self::new(Detail::Whole)
    }
}

impl Distribution {
    /// One without values.
    #[must_use]
    pub fn new(detail: Detail) -> Self {
        Self {
            count: 0,
            sum: 0,
            histogram: (detail == Detail::Whole).then(histogram),
        }
    }

    /// Takes in a value. Allocates only when it is larger than all before and than most values are, a few times in all.
    #[inline]
    pub fn record(&mut self, value: u64) {
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        if let Some(histogram) = self.histogram.as_mut() {
            record_in(histogram, value, 1);
        }
    }

    /// Takes in all that another one has. If one of them that has values keeps sums alone, so does this.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.histogram = match (self.histogram.take(), &other.histogram) {
            (Some(mut all), Some(more)) => {
                for bucket in more.iter_recorded() {
                    record_in(
                        &mut all,
                        bucket.value_iterated_to(),
                        bucket.count_at_value(),
                    );
                }
                Some(all)
            }
            (None, Some(more)) if self.count == 0 => Some(more.clone()),
            _ => None,
        };
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// How many values there were.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// All of them together; [`u64::MAX`] if they are more.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// Their exact mean; none of no values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// A value within 3.2 % of the one that this share of all values does not exceed; none of no values, or if their
    /// histogram was not kept. It is nearer where the exact sum says so: the largest is never told below the mean.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let histogram = self.histogram.as_ref()?;
        (self.count > 0).then(|| {
            let middle = histogram.median_equivalent(histogram.value_at_quantile(share));
            self.within_what_the_sum_says(histogram, share, middle)
        })
    }

    /// The middle of a quantile's bucket, moved to where the quantile can be for the sum of all values. Of the values in that
    /// bucket it is the `rank`th: those up to it are no larger, those from it on no smaller, and none leaves the bucket.
    fn within_what_the_sum_says(&self, histogram: &Histogram<u32>, share: f64, middle: u64) -> u64 {
        // Where a counter is full, or a value too large, the histogram holds something else than the sum.
        let told_whole = histogram.len() == self.count && self.sum < u64::MAX;
        if !told_whole || histogram.equivalent(histogram.max(), VALUE_MAX) {
            return middle;
        }
        let (low, high) = (
            i128::from(histogram.lowest_equivalent(middle)),
            i128::from(histogram.highest_equivalent(middle)),
        );
        let (mut before, mut here) = (0, 0);
        // The least and the most that the values in this bucket can come to together.
        let (mut least, mut most) = (i128::from(self.sum), i128::from(self.sum));
        for bucket in histogram.iter_recorded() {
            let (value, count) = (bucket.value_iterated_to(), bucket.count_at_value().into());
            if histogram.equivalent(value, middle) {
                here = count;
                continue;
            }
            before += if value < middle { count } else { 0 };
            least -= count * i128::from(histogram.highest_equivalent(value));
            most -= count * i128::from(histogram.lowest_equivalent(value));
        }
        let rank = (share * self.count as f64).ceil() as i128 - before;
        let rank = rank.clamp(1, here);
        let at_least = (least - (here - rank) * high).div_euclid(rank);
        let at_most = (most - (rank - 1) * low).div_euclid(here - rank + 1);
        // A sum from the wire may be any number.
        let told = i128::from(middle).max(at_least).min(at_most);
        told.clamp(low, high) as u64
    }

    /// Whether its values are told apart, or would be.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.histogram.is_some()
    }

    /// As it travels: buckets that hold something, by rising value.
    #[must_use]
    pub fn to_wire(&self) -> Measured {
        let buckets = self.histogram.as_ref().map(|histogram| {
            let mut bytes = Vec::new();
            let mut last = 0;
            for bucket in histogram.iter_recorded() {
                let value = bucket.value_iterated_to();
                write_number(&mut bytes, value - last);
                write_number(&mut bytes, u64::from(bucket.count_at_value()));
                last = value;
            }
            bytes
        });
        Measured {
            count: self.count,
            sum: self.sum,
            buckets,
        }
    }
}

fn histogram() -> Histogram<u32> {
    match Histogram::new_with_bounds(1, VALUE_COMMON_MAX, DIGITS) {
        Ok(mut histogram) => {
            histogram.auto(true);
            histogram
        }
        Err(error) => unreachable!("histograms of {DIGITS} digit can be made: {error}"),
    }
}

#[inline]
fn record_in(histogram: &mut Histogram<u32>, value: u64, count: u32) {
    let recorded = histogram.record_n(value.min(VALUE_MAX), count);
    debug_assert!(recorded.is_ok(), "a histogram grows with its values");
}

/// A [`Distribution`] as it travels.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Measured {
    /// How many values there were.
    pub count: u64,
    /// All of them together.
    pub sum: u64,
    /// If a histogram was kept: for each bucket that holds something, how far its largest value lies above that of the
    /// bucket before, and how many values it holds. Numbers are written as LEB128.
    pub buckets: Option<Vec<u8>>,
}

/// Why bytes from the wire are no [`Distribution`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum MeasuredError {
    /// A number that does not end, or is too large.
    #[error("a number in a histogram does not end, or is too large")]
    Number,
    /// A value that no histogram holds.
    #[error("a histogram holds a value above {VALUE_MAX}")]
    Value,
    /// A bucket that comes twice, or before its turn.
    #[error("the buckets of a histogram do not rise")]
    Order,
    /// A bucket without values.
    #[error("a bucket of a histogram holds nothing")]
    Empty,
    /// More buckets than there are.
    #[error("a histogram has more than {BUCKETS_MAX} buckets")]
    Buckets,
    /// Its parts contradict each other.
    #[error("a histogram holds {held} values of {count}")]
    Count {
        /// In the buckets.
        held: u64,
        /// In all.
        count: u64,
    },
}

impl TryFrom<&Measured> for Distribution {
    type Error = MeasuredError;

    fn try_from(measured: &Measured) -> Result<Self, MeasuredError> {
        let Measured {
            count,
            sum,
            ref buckets,
        } = *measured;
        let histogram = buckets.as_ref().map(|bytes| read_buckets(bytes, count));
        Ok(Self {
            count,
            sum,
            histogram: histogram.transpose()?,
        })
    }
}

fn read_buckets(mut bytes: &[u8], count: u64) -> Result<Histogram<u32>, MeasuredError> {
    let mut histogram = histogram();
    let (mut value, mut held, mut buckets) = (0_u64, 0_u64, 0);
    while !bytes.is_empty() {
        let rise = read_number(&mut bytes)?;
        let counted = read_number(&mut bytes)?;
        let counted = u32::try_from(counted).map_err(|_| MeasuredError::Number)?;
        value = value.checked_add(rise).ok_or(MeasuredError::Value)?;
        if value > VALUE_MAX {
            return Err(MeasuredError::Value);
        }
        if buckets > 0 && rise == 0 {
            return Err(MeasuredError::Order);
        }
        if counted == 0 {
            return Err(MeasuredError::Empty);
        }
        buckets += 1;
        if buckets > BUCKETS_MAX {
            return Err(MeasuredError::Buckets);
        }
        held += u64::from(counted);
        record_in(&mut histogram, value, counted);
    }
    // A counter that is full counts no further.
    let is_full = |held: u64| held >= u64::from(u32::MAX) && held < count;
    if held != count && !is_full(held) {
        return Err(MeasuredError::Count { held, count });
    }
    Ok(histogram)
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Result<u64, MeasuredError> {
    let mut number = 0;
    // Ten of seven bits hold any number; the tenth has one bit of it.
    for place in 0..10 {
        let (first, rest) = bytes.split_first().ok_or(MeasuredError::Number)?;
        *bytes = rest;
        let bits = u64::from(first & 0x7f);
        if place == 9 && bits > 1 {
            break;
        }
        number |= bits << (7 * place);
        if first & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(MeasuredError::Number)
}

/// CPUs that one attempt keeps busy, at most: more than a worker may have.
const CPUS_MAX: u64 = 4096;

/// What executors have measured of attempts that ended well, in nanoseconds, all of them together. Sums stay at [`u64::MAX`] if
/// they are more.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuSums {
    /// How many attempts.
    pub runs: u64,
    /// From their dispatch to their completion.
    pub run_ns: u64,
    /// CPU time of their processes.
    pub cpu_ns: u64,
    /// What of their run time they waited for a CPU, or were on the way to their executor and back: alone they would have
    /// taken the rest.
    pub waited_ns: u64,
}

impl CpuSums {
    /// Takes in what an executor says of an attempt that took so long from dispatch to completion. Whatever it says, an attempt
    /// does not wait for longer than it takes, and has no more than 4,096 CPUs.
    pub fn record(&mut self, run_ns: u64, cpu: CpuUse) {
        let cpu_ns_max = run_ns.saturating_mul(CPUS_MAX);
        self.merge(&Self {
            runs: 1,
            run_ns,
            cpu_ns: cpu.cpu_ns.min(cpu_ns_max),
            waited_ns: run_ns.saturating_sub(cpu.alone_ns),
        });
    }

    /// Takes in all that others are.
    pub fn merge(&mut self, other: &Self) {
        self.runs = self.runs.saturating_add(other.runs);
        self.run_ns = self.run_ns.saturating_add(other.run_ns);
        self.cpu_ns = self.cpu_ns.saturating_add(other.cpu_ns);
        self.waited_ns = self.waited_ns.saturating_add(other.waited_ns);
    }

    /// CPUs that an attempt would keep busy in the mean if it ran alone: 0 if it only waits, 2 if two threads of it never do.
    /// None if nothing was measured.
    #[must_use]
    pub fn busy_cpus(&self) -> Option<f64> {
        let alone_ns = self.run_ns.saturating_sub(self.waited_ns);
        (alone_ns > 0).then(|| self.cpu_ns as f64 / alone_ns as f64)
    }
}

/// What a lane has measured of some nodes of a deployment.
#[derive(Clone, Debug, Default)]
pub struct LaneProfile {
    /// Invocations that began here.
    pub invocations: u64,
    /// Of those, the measured ones whose part here has ended well.
    pub measured: u64,
    /// Nodes, in the lane's order, which is the same in all lanes of a worker.
    pub nodes: Vec<NodeProfile>,
    /// Where to go on, if there are more.
    pub next: Option<u32>,
}

/// What was measured of a node.
#[derive(Clone, Debug)]
pub struct NodeProfile {
    /// Which.
    pub id: NodeId,
    /// Activations that were begun, of all invocations.
    pub activations: u64,
    /// Attempts that have failed, of all invocations.
    pub failures: u64,
    /// Measured invocations in which an activation has ended well.
    pub ran: u64,
    /// From dispatch to completion, in nanoseconds, of measured attempts that ended well. What the lane does itself has none.
    pub run_ns: Distribution,
    /// From ready to dispatch, in nanoseconds, of measured attempts. What the lane does itself has none.
    pub queued_ns: Distribution,
    /// What executors have measured of some of the same attempts, long ones.
    pub cpu: CpuSums,
    /// By output that the function returns: bytes of all activations of a measured invocation in which it ran.
    pub outputs: Vec<Distribution>,
    /// If it runs for each item of a list: how many that had, whenever that began in a measured invocation.
    pub items: Option<Distribution>,
}

impl LaneProfile {
    /// Takes in what another lane of the same worker has measured of the same nodes.
    pub fn merge(&mut self, other: &Self) {
        self.invocations += other.invocations;
        self.measured += other.measured;
        for (node, other) in self.nodes.iter_mut().zip(&other.nodes) {
            debug_assert_eq!(node.id, other.id, "lanes of a worker have the same order");
            node.merge(other);
        }
    }
}

impl NodeProfile {
    fn merge(&mut self, other: &Self) {
        self.activations += other.activations;
        self.failures += other.failures;
        self.ran += other.ran;
        self.run_ns.merge(&other.run_ns);
        self.queued_ns.merge(&other.queued_ns);
        self.cpu.merge(&other.cpu);
        for (output, other) in self.outputs.iter_mut().zip(&other.outputs) {
            output.merge(other);
        }
        if let (Some(items), Some(other)) = (self.items.as_mut(), other.items.as_ref()) {
            items.merge(other);
        }
    }
}

#[cfg(test)]
mod tests;
