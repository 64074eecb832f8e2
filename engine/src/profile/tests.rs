//! What distributions promise: how near they are, how large they get, and that nothing from the wire is believed.

use super::*;
use proptest::prelude::*;

fn of(values: &[u64]) -> Distribution {
    let mut all = Distribution::default();
    values.iter().for_each(|value| all.record(*value));
    all
}

/// Sums, quantiles and all else that is told of it.
fn told(distribution: &Distribution) -> (Measured, Vec<Option<u64>>) {
    let quantiles = [0.0, 0.1, 0.5, 0.9, 0.99, 1.0].map(|share| distribution.quantile(share));
    (distribution.to_wire(), quantiles.to_vec())
}

#[test]
fn nothing_is_told_of_no_values() {
    let none = Distribution::default();
    assert_eq!((none.mean(), none.quantile(0.5)), (None, None));
    assert_eq!(none.to_wire().buckets.as_deref(), Some(&[][..]));
    assert!(Distribution::try_from(&none.to_wire()).unwrap().is_whole());
}

#[test]
fn a_histogram_never_takes_more_than_is_said() {
    let mut all = Distribution::default();
    for value in [0, 1, 1 << 20, 1 << 40, VALUE_MAX, u64::MAX] {
        all.record(value);
        let buckets = all.histogram.as_ref().unwrap().distinct_values();
        assert!(buckets * size_of::<u32>() <= HISTOGRAM_BYTES_MAX, "{value}");
    }
    let buckets = all.histogram.as_ref().unwrap().distinct_values();
    assert_eq!(buckets, BUCKETS_MAX);
    let common = of(&[VALUE_COMMON_MAX]).histogram.unwrap().distinct_values();
    assert_eq!(common * size_of::<u32>(), 1_472);
    // What is beyond the largest value counts as that, but is whole in the sum.
    assert_eq!((all.count(), all.sum()), (6, u64::MAX));
    assert_eq!(
        Distribution::try_from(&all.to_wire())
            .unwrap()
            .quantile(1.0),
        all.quantile(1.0)
    );
}

#[test]
fn where_sums_alone_are_kept_no_quantile_is_told() {
    let mut sums = Distribution::new(Detail::Sums);
    sums.record(3);
    assert_eq!((sums.mean(), sums.quantile(0.5)), (Some(3.0), None));
    let read = Distribution::try_from(&sums.to_wire()).unwrap();
    assert!(!read.is_whole());
    let mut all = of(&[5]);
    all.merge(&read);
    assert_eq!((all.mean(), all.quantile(0.5)), (Some(4.0), None));
    // But one without values takes nothing away.
    let mut all = of(&[5]);
    all.merge(&Distribution::new(Detail::Sums));
    assert!(all.is_whole());
    let mut none = Distribution::new(Detail::Sums);
    none.merge(&of(&[5]));
    assert_eq!(told(&none), told(&of(&[5])));
}

#[test]
fn of_values_that_are_alike_the_largest_is_not_told_below_them_nor_the_last_hundredth() {
    for value in [0, 15, 1_000, 11_953_766, 12 << 20, 1 << 40] {
        for count in [1_usize, 2, 100, 1_000] {
            let all = of(&vec![value; count]);
            let largest = all.quantile(1.0).unwrap();
            assert!(
                (value..=value + value / 31).contains(&largest),
                "{count} of {value}: {largest}"
            );
            // As far as the sum tells: the few above it might be larger by what the many up to it are smaller.
            let told = all.quantile(0.99).unwrap();
            assert!(
                told + value / 16 / 90 + 1 >= value,
                "{count} of {value}: {told}"
            );
        }
    }
    // What a sum from the wire contradicts stays in its bucket.
    for sum in [0, 1_000, u64::MAX - 1] {
        let told = Measured {
            sum,
            ..of(&[1_000; 10]).to_wire()
        };
        let told = Distribution::try_from(&told).unwrap();
        let told = told.quantile(0.5).unwrap();
        assert!((992..1_024).contains(&told), "{sum}: {told}");
    }
}

fn measured(count: u64, buckets: &[u64]) -> Measured {
    let mut bytes = Vec::new();
    buckets
        .iter()
        .for_each(|number| write_number(&mut bytes, *number));
    Measured {
        count,
        sum: 0,
        buckets: Some(bytes),
    }
}

#[test]
fn what_breaks_a_rule_on_the_wire_is_refused() {
    let error = |measured: &Measured| Distribution::try_from(measured).unwrap_err();
    assert!(Distribution::try_from(&measured(3, &[1, 1, 1, 2])).is_ok());
    for (wrong, expected) in [
        (measured(1, &[VALUE_MAX + 1, 1]), MeasuredError::Value),
        (
            measured(2, &[VALUE_MAX, 1, u64::MAX, 1]),
            MeasuredError::Value,
        ),
        (measured(2, &[7, 1, 0, 1]), MeasuredError::Order),
        (measured(1, &[7, 0]), MeasuredError::Empty),
        (measured(1, &[7, 1 << 32]), MeasuredError::Number),
        (measured(1, &[7]), MeasuredError::Number),
        (
            measured(3, &[7, 2]),
            MeasuredError::Count { held: 2, count: 3 },
        ),
        (
            measured(1, &[7, 2]),
            MeasuredError::Count { held: 2, count: 1 },
        ),
        (
            measured(0, &[7, 2]),
            MeasuredError::Count { held: 2, count: 0 },
        ),
    ] {
        assert_eq!(error(&wrong), expected, "{wrong:?}");
    }
    let many: Vec<u64> = (0..=BUCKETS_MAX).flat_map(|_| [1, 1]).collect();
    let many = measured(BUCKETS_MAX as u64 + 1, &many);
    assert_eq!(error(&many), MeasuredError::Buckets);
    for bytes in [
        vec![0x80],
        vec![0xff; 11],
        [vec![0xff; 9], vec![2]].concat(),
    ] {
        let endless = Measured {
            count: 1,
            sum: 0,
            buckets: Some(bytes),
        };
        assert_eq!(error(&endless), MeasuredError::Number);
    }
    // A counter that is full counts no further, but nothing else may lack.
    let full = u64::from(u32::MAX);
    assert!(Distribution::try_from(&measured(full + 9, &[7, full])).is_ok());
}

fn value() -> impl Strategy<Value = u64> {
    (0..48_u32, any::<u64>()).prop_map(|(bits, value)| value >> (63 - bits))
}

proptest! {
    #[test]
    fn a_quantile_is_near_the_value_that_it_stands_for(
        mut values in prop::collection::vec(value(), 1..300),
        share in 0.0..1.0_f64,
    ) {
        let all = of(&values);
        values.sort_unstable();
        let place = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len());
        let (exact, told) = (values[place - 1] as f64, all.quantile(share).unwrap() as f64);
        prop_assert!((exact - told).abs() <= exact * 0.032 + 0.5, "{exact} {told}");
        let sum: u64 = values.iter().sum();
        prop_assert_eq!(all.sum(), sum);
        prop_assert_eq!(all.count(), values.len() as u64);
    }

    #[test]
    fn what_is_merged_or_sent_is_as_if_it_had_been_recorded_in_one_place(
        first in prop::collection::vec(value(), 0..50),
        second in prop::collection::vec(value(), 0..50),
    ) {
        let together = told(&of(&[first.clone(), second.clone()].concat()));
        let mut merged = of(&first);
        merged.merge(&of(&second));
        prop_assert_eq!(&told(&merged), &together);
        let sent = Distribution::try_from(&merged.to_wire()).unwrap();
        prop_assert_eq!(&told(&sent), &together);
    }

    #[test]
    fn any_bytes_are_a_distribution_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        count in any::<u64>(),
    ) {
        let measured = Measured { count, sum: 0, buckets: Some(bytes) };
        if let Ok(read) = Distribution::try_from(&measured) {
            prop_assert_eq!(read.count(), count);
        }
    }
}

#[test]
fn sums_of_cpu_time_stay_where_they_are_full_and_are_of_any_numbers() {
    let mut sums = CpuSums::default();
    assert_eq!(sums.busy_cpus(), None);
    let ms = |cpu_ms: u64, alone_ms: u64| CpuUse {
        cpu_ns: cpu_ms * 1_000_000,
        alone_ns: alone_ms * 1_000_000,
    };
    // It ran for 10 ms of which it waited for a CPU for 6, and for 10 in which it had two.
    sums.record(10_000_000, ms(3, 4));
    assert_eq!(sums.busy_cpus(), Some(0.75));
    sums.record(10_000_000, ms(20, 10));
    assert_eq!(sums.busy_cpus(), Some(23.0 / 14.0));
    let expected = CpuSums {
        runs: 2,
        run_ns: 20_000_000,
        cpu_ns: 23_000_000,
        waited_ns: 6_000_000,
    };
    assert_eq!(sums, expected);
    let full = CpuSums {
        runs: u64::MAX,
        run_ns: u64::MAX,
        cpu_ns: u64::MAX,
        waited_ns: u64::MAX,
    };
    sums.merge(&full);
    sums.record(u64::MAX, ms(1, 0));
    assert_eq!(sums, full);
    // A worker may tell of more waiting than there was time.
    assert_eq!(sums.busy_cpus(), None);
}

#[test]
fn what_executors_of_several_lanes_have_measured_is_one_sum() {
    let lane = |cpu_ns| {
        let mut cpu = CpuSums::default();
        let alone_ns = 4;
        cpu.record(10, CpuUse { cpu_ns, alone_ns });
        let node = NodeProfile {
            id: 7,
            activations: 1,
            failures: 0,
            ran: 1,
            run_ns: of(&[10]),
            queued_ns: of(&[0]),
            cpu,
            outputs: Vec::new(),
            items: None,
        };
        LaneProfile {
            invocations: 1,
            measured: 1,
            nodes: vec![node],
            next: None,
        }
    };
    let mut all = lane(3);
    all.merge(&lane(2));
    let expected = CpuSums {
        runs: 2,
        run_ns: 20,
        cpu_ns: 5,
        waited_ns: 12,
    };
    assert_eq!(all.nodes[0].cpu, expected);
}
