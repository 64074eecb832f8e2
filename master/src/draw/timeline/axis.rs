//! The marks of the time axis: round numbers, in a unit that fits.

/// About how many there are at most.
const TICKS_MAX: u64 = 12;

/// From one mark of the axis to the next: 1, 2 or 5 of a power of ten.
pub(super) fn step_ns(span_ns: u64) -> u64 {
    let mut power: u64 = 1;
    loop {
        for times in [1, 2, 5] {
            let step_ns = power.saturating_mul(times);
            if span_ns / step_ns < TICKS_MAX {
                return step_ns;
            }
        }
        power = power.saturating_mul(10);
    }
}

pub(super) fn unit(span_ns: u64) -> (u64, &'static str) {
    match span_ns {
        0..2_000 => (1, "ns"),
        2_000..2_000_000 => (1_000, "µs"),
        2_000_000..2_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    }
}

/// `time_ns` in units, with as many decimals as it has.
pub(super) fn decimal(time_ns: u64, unit_ns: u64) -> String {
    let (whole, rest) = (time_ns / unit_ns, time_ns % unit_ns);
    if rest == 0 {
        return whole.to_string();
    }
    let digits = unit_ns.ilog10() as usize;
    let text = format!("{whole}.{rest:0digits$}");
    text.trim_end_matches('0').to_owned()
}
