//! The benchmark `floor`: every floor of this machine in one report, its main figure the slot transfer.

use crate::cpu;
use crate::floor::{self, FloorError, Pages};
use crate::report::{FloorSum, Machine, Percentiles, Report, Setup, Watch};
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

/// Sizes of the memory figures, in bytes.
pub const MEMORY_BYTES: [usize; 4] = [64 << 10, 1 << 20, 16 << 20, 256 << 20];

/// Measures all floors between `cpu_a` and `cpu_b`, and the wakes and the TCP round trip on `cpu_a` alone too. Slot
/// transfers are counted `samples` times, system calls a twentieth of that. Returns the report, and the distribution of
/// its main figure.
///
/// # Errors
/// If a floor cannot be measured for another reason than that there is one CPU only.
pub fn measure(
    cpu_a: usize,
    cpu_b: usize,
    samples: u64,
) -> Result<(Report, Histogram<u64>), FloorError> {
    let watch = Watch::start();
    let calls = (samples / 20).max(1);
    let mut figures = Map::new();
    let placements: &[(&str, usize)] = if cpu_a == cpu_b {
        &[("same_cpu", cpu_a)]
    } else {
        &[("same_cpu", cpu_a), ("across_cpus", cpu_b)]
    };
    for (placement, cpu_b) in placements {
        let mut add = |name: &str, histogram: &Histogram<u64>| {
            figures.insert(
                format!("{name}_{placement}"),
                figure(&Percentiles::of(histogram)),
            );
        };
        add("futex_wake", &floor::futex_wake(cpu_a, *cpu_b, calls)?);
        add("eventfd_wake", &floor::eventfd_wake(cpu_a, *cpu_b, calls)?);
        add(
            "tcp_round_trip",
            &floor::tcp_round_trip(cpu_a, *cpu_b, calls)?,
        );
    }
    for bytes in MEMORY_BYTES {
        let name = size(bytes);
        let read = floor::read_private(bytes, Pages::Ordinary, cpu_b, cpu_a)?;
        figures.insert(format!("memory_read_{name}"), rate(bytes, &read));
        let copy = floor::copy_private(bytes, Pages::Ordinary, cpu_b, cpu_a)?;
        figures.insert(format!("memory_copy_{name}"), rate(bytes, &copy));
    }
    let machine = Machine::read(Setup {
        placement: Some(format!("cpus {cpu_a} and {cpu_b}")),
        ..Setup::default()
    });
    let slots = if cpu_a == cpu_b {
        floor::histogram()
    } else {
        floor::slot_transfer(cpu_a, cpu_b, samples)?
    };
    let itself = (cpu_a != cpu_b).then(|| FloorSum::default().plus(&slots, 1, 1));
    let mut report = Report::new("floor", &slots, itself, machine);
    if cpu_a == cpu_b {
        report.skip(
            "slot_transfer",
            "two spinning processes need two CPUs, and there is one",
        );
    }
    report.param("cpus", [cpu_a, cpu_b]);
    report.param("samples", samples);
    report.detail("figures", figures);
    report.machine.disturbances = watch.finish();
    Ok((report, slots))
}

/// The CPUs between which floors are measured unless the caller names others: the first two that may be used, or the one
/// that there is twice.
#[must_use]
pub fn default_cpus() -> (usize, usize) {
    let cpus = cpu::allowed();
    let first = cpus.first().copied().unwrap_or(0);
    (first, cpus.get(1).copied().unwrap_or(first))
}

fn figure(percentiles: &Percentiles) -> Value {
    json!(percentiles)
}

fn rate(bytes: usize, histogram: &Histogram<u64>) -> Value {
    let percentiles = Percentiles::of(histogram);
    let mut value = figure(&percentiles);
    let per_s = bytes as f64 * 1e9 / percentiles.p50_ns.max(1) as f64;
    value["bytes_per_s"] = json!(per_s.round());
    value
}

fn size(bytes: usize) -> String {
    if bytes >= 1 << 20 {
        format!("{}mib", bytes >> 20)
    } else {
        format!("{}kib", bytes >> 10)
    }
}
