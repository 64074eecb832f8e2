//! The floor of a hop: the bare transfers, wakes and round trips that it cannot do without, on the CPUs it ran on.
//!
//! | workers | what waits | the floor |
//! | --- | --- | --- |
//! | 1 | spinning, on two CPUs | two one-way slot transfers |
//! | 1 | parked, or on one CPU | the lane's eventfd wake, the executor's futex wake |
//! | 2 | either | the way to the lane, half a TCP round trip, the way to the executor |
//!
//! It is measured before and after the hops, and counts as one.

use crate::floor::{self, FloorError};
use crate::report::{FloorSum, Percentiles};
use faasstore::binding::WaitStrategy;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;

/// The CPUs of one worker's part of a hop.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Site {
    /// Where its lane runs.
    pub lane_cpu: usize,
    /// Where its executor runs.
    pub executor_cpu: usize,
}

/// A transfer that a hop cannot do without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leg {
    /// A slot from one CPU to another.
    Slot(usize, usize),
    /// An eventfd's wake.
    Eventfd(usize, usize),
    /// A futex's wake.
    Futex(usize, usize),
    /// Half a TCP round trip.
    HalfTcp(usize, usize),
}

impl Leg {
    const fn name(self) -> &'static str {
        match self {
            Self::Slot(..) => "slot_transfer",
            Self::Eventfd(..) => "eventfd_wake",
            Self::Futex(..) => "futex_wake",
            Self::HalfTcp(..) => "tcp_round_trip",
        }
    }

    const fn divisor(self) -> u64 {
        if matches!(self, Self::HalfTcp(..)) {
            2
        } else {
            1
        }
    }

    fn measure(self, samples: u64) -> Result<Histogram<u64>, FloorError> {
        match self {
            Self::Slot(from, to) => floor::slot_transfer(from, to, samples),
            Self::Eventfd(from, to) => floor::eventfd_wake(from, to, samples.div_ceil(20)),
            Self::Futex(from, to) => floor::futex_wake(from, to, samples.div_ceil(20)),
            Self::HalfTcp(from, to) => floor::tcp_round_trip(from, to, samples.div_ceil(20)),
        }
    }
}

/// Whether the way between two workers is one of the legs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wire {
    RoundTrip,
    Apart,
}

/// One leg of the floor, with what was measured for it in both directions and at both times.
#[derive(Clone, Debug)]
struct Part {
    /// How often a hop takes this leg.
    count: u64,
    /// The leg in each direction that hops take in turn.
    directions: Vec<Leg>,
    measured: Histogram<u64>,
}

/// The floor of a hop.
#[derive(Clone, Debug)]
pub struct HopFloor {
    parts: Vec<Part>,
}

impl HopFloor {
    /// The floor of hops through the lanes and executors at `sites`, one for each worker. Nothing is measured yet.
    #[must_use]
    pub fn new(sites: &[Site], wait: WaitStrategy) -> Self {
        Self::of(sites, wait, Wire::RoundTrip)
    }

    /// The same without the way between two workers: for payloads whose stream is a floor of its own.
    #[must_use]
    pub fn of_wakes(sites: &[Site], wait: WaitStrategy) -> Self {
        Self::of(sites, wait, Wire::Apart)
    }

    fn of(sites: &[Site], wait: WaitStrategy, wire: Wire) -> Self {
        let spins = |site: &Site| wait == WaitStrategy::Spin && site.lane_cpu != site.executor_cpu;
        let part = |count, directions| Part {
            count,
            directions,
            measured: floor::histogram(),
        };
        if let [site] = sites
            && spins(site)
        {
            return Self {
                parts: vec![part(2, vec![Leg::Slot(site.lane_cpu, site.executor_cpu)])],
            };
        }
        let mut parts = vec![part(
            1,
            sites
                .iter()
                .map(|site| to_lane(site, spins(site)))
                .collect(),
        )];
        if let ([a, b, ..], Wire::RoundTrip) = (sites, wire) {
            parts.push(part(
                1,
                vec![
                    Leg::HalfTcp(a.lane_cpu, b.lane_cpu),
                    Leg::HalfTcp(b.lane_cpu, a.lane_cpu),
                ],
            ));
        }
        parts.push(part(
            1,
            sites
                .iter()
                .map(|site| to_executor(site, spins(site)))
                .collect(),
        ));
        Self { parts }
    }

    /// Measures every leg, and adds that to what was measured before. Slot transfers are counted `samples` times in all,
    /// system calls a twentieth of that.
    ///
    /// # Errors
    /// As the floors themselves.
    pub fn measure(&mut self, samples: u64) -> Result<(), FloorError> {
        for part in &mut self.parts {
            let each = samples.div_ceil(part.directions.len() as u64);
            for leg in &part.directions {
                // The bounds of all floors' histograms are the same.
                part.measured += leg.measure(each)?;
            }
        }
        Ok(())
    }

    /// The sum of its legs, as measured so far.
    #[must_use]
    pub fn sum(&self) -> FloorSum {
        self.parts.iter().fold(FloorSum::default(), |sum, part| {
            sum.plus(
                &part.measured,
                part.count,
                part.directions.first().map_or(1, |leg| leg.divisor()),
            )
        })
    }

    /// Each leg by name, as measured so far: a TCP round trip whole, a slot transfer once.
    #[must_use]
    pub fn legs(&self) -> BTreeMap<&'static str, Percentiles> {
        let named = |part: &Part| {
            Some((
                part.directions.first()?.name(),
                Percentiles::of(&part.measured),
            ))
        };
        self.parts.iter().filter_map(named).collect()
    }
}

const fn to_lane(site: &Site, spins: bool) -> Leg {
    let (from, to) = (site.executor_cpu, site.lane_cpu);
    if spins {
        Leg::Slot(from, to)
    } else {
        Leg::Eventfd(from, to)
    }
}

const fn to_executor(site: &Site, spins: bool) -> Leg {
    let (from, to) = (site.lane_cpu, site.executor_cpu);
    if spins {
        Leg::Slot(from, to)
    } else {
        Leg::Futex(from, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn legs(sites: &[Site], wait: WaitStrategy) -> Vec<(u64, Vec<Leg>)> {
        HopFloor::new(sites, wait)
            .parts
            .into_iter()
            .map(|part| (part.count, part.directions))
            .collect()
    }

    #[test]
    fn the_floor_of_a_spinning_hop_is_two_slot_transfers() {
        let site = Site {
            lane_cpu: 0,
            executor_cpu: 1,
        };
        assert_eq!(
            legs(&[site], WaitStrategy::Spin),
            [(2, vec![Leg::Slot(0, 1)])]
        );
    }

    #[test]
    fn the_floor_of_a_parked_hop_is_its_two_wakes() {
        let site = Site {
            lane_cpu: 0,
            executor_cpu: 1,
        };
        for wait in [WaitStrategy::Park, WaitStrategy::Adaptive] {
            assert_eq!(
                legs(&[site], wait),
                [(1, vec![Leg::Eventfd(1, 0)]), (1, vec![Leg::Futex(0, 1)])]
            );
        }
        let one_cpu = Site {
            lane_cpu: 1,
            executor_cpu: 1,
        };
        assert_eq!(
            legs(&[one_cpu], WaitStrategy::Spin),
            [(1, vec![Leg::Eventfd(1, 1)]), (1, vec![Leg::Futex(1, 1)])]
        );
    }

    #[test]
    fn the_floor_between_two_workers_is_wake_half_a_round_trip_and_wake() {
        let sites = [
            Site {
                lane_cpu: 0,
                executor_cpu: 0,
            },
            Site {
                lane_cpu: 1,
                executor_cpu: 1,
            },
        ];
        let expected = [
            (1, vec![Leg::Eventfd(0, 0), Leg::Eventfd(1, 1)]),
            (1, vec![Leg::HalfTcp(0, 1), Leg::HalfTcp(1, 0)]),
            (1, vec![Leg::Futex(0, 0), Leg::Futex(1, 1)]),
        ];
        assert_eq!(legs(&sites, WaitStrategy::Park), expected);
        let wakes = HopFloor::of_wakes(&sites, WaitStrategy::Park).parts;
        let wakes: Vec<_> = wakes.into_iter().map(|part| part.directions).collect();
        assert_eq!(wakes, [expected[0].1.clone(), expected[2].1.clone()]);
    }
}
