//! Bodies by which workers measure what lies between them. docs/protocol.md says how.

use super::CHUNK_BYTES_MAX;
use rkyv::{Archive, Deserialize, Serialize};

/// Most round trips of a measurement.
pub const ROUND_TRIPS_MAX: u32 = 1000;
/// Fewest bytes of a measurement: those of its first transfer.
pub const MEASURED_BYTES_MIN: u64 = 64 << 10;
/// Most bytes of a measurement.
pub const MEASURED_BYTES_MAX: u64 = 64 * CHUNK_BYTES_MAX as u64;
/// What makes a [`Probe`] and an [`Echo`] as long as a state event that carries a short payload.
pub const PROBE_FILL_BYTES: usize = 96;

/// The master asks a worker to measure the link from it to another.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct LinkWish {
    /// The other's name.
    pub worker: String,
    /// Where it listens.
    pub address: String,
    /// Round trips that the latency is taken from, from 1 to [`ROUND_TRIPS_MAX`].
    pub round_trips: u32,
    /// Bytes that are sent at most, all transfers together: from [`MEASURED_BYTES_MIN`] to [`MEASURED_BYTES_MAX`].
    pub bytes: u64,
}

/// What was measured of a link.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkFigures {
    /// Round trips that were timed: fewer than were wished for if they take long.
    pub round_trips: u32,
    /// Half of the median of their times, in nanoseconds.
    pub latency_ns: u64,
    /// Bytes of the last transfer, which was the longest.
    pub bytes: u64,
    /// How long it took, by the receiver's clock, in nanoseconds; never 0.
    pub transfer_ns: u64,
}

impl LinkFigures {
    /// What the link carries, in bytes a second.
    #[must_use]
    pub fn bytes_per_s(&self) -> f64 {
        self.bytes as f64 * 1e9 / self.transfer_ns.max(1) as f64
    }
}

/// A worker that measures a link asks for an [`Echo`].
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// The echo repeats it.
    pub number: u64,
    /// Zero bytes.
    pub fill: [u8; PROBE_FILL_BYTES],
}

/// The answer to a [`Probe`]: all that was sent before it has arrived.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Echo {
    /// As in the probe.
    pub number: u64,
    /// Raw bytes of all chunks that have come by this connection.
    pub received_bytes: u64,
    /// When the probe was read, in nanoseconds since the connection was welcomed, by the receiver's clock.
    pub at_ns: u64,
    /// Zero bytes.
    pub fill: [u8; PROBE_FILL_BYTES],
}

impl Probe {
    /// The probe of this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        let fill = [0; PROBE_FILL_BYTES];
        Self { number, fill }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::DeploymentId;
    use crate::wire::{Body, Data, Outcome, StateEvent, encode};

    #[test]
    fn a_probe_is_as_long_as_a_state_event_with_a_short_payload() {
        let event = |bytes| StateEvent {
            invocation: 1,
            deployment: DeploymentId(1),
            node: 1,
            outcome: Outcome::Well,
            outputs: vec![(
                0,
                Body {
                    items: None,
                    section: None,
                    schema: 0,
                    data: Data::Inline(vec![1; bytes]),
                },
            )],
            load: None,
        };
        let (mut least, mut most, mut probe) = (Vec::new(), Vec::new(), Vec::new());
        encode(&event(1), &mut least);
        encode(&event(128), &mut most);
        encode(&Probe::new(1), &mut probe);
        let expected = least.len() / 2..=most.len();
        assert!(
            expected.contains(&probe.len()),
            "{} and {expected:?}",
            probe.len()
        );
    }
}
