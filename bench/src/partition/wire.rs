//! What lies between two workers, as payloads of a workflow meet it: from the end of a node on one of them until what it gave is
//! there for a node on the other.

use super::live::Live;
use crate::session::SessionError;
use master::definition;
use master::graph::Graph;
use master::place::Link;
use serde::Serialize;

/// Bytes of the smallest payload, whose time is all latency.
const LEAST_BYTES: u64 = 64;
/// Times that each size is sent after a first one that warms up.
const ROUNDS: usize = 5;

/// One size of payload.
#[derive(Serialize, Clone, Copy, PartialEq, Debug)]
pub struct Sent {
    /// Its bytes.
    pub bytes: u64,
    /// How long it took, in nanoseconds: the middle of five.
    pub p50_ns: u64,
}

/// A link that was measured.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Wire {
    /// Bytes a second of the largest payloads.
    pub bytes_per_s: f64,
    /// Nanoseconds of the smallest one.
    pub latency_ns: f64,
    /// Each size.
    pub sizes: Vec<Sent>,
}

impl Wire {
    /// As the cost model has it.
    #[must_use]
    pub fn link(&self) -> Link {
        Link {
            bytes_per_s: self.bytes_per_s,
            latency_ns: self.latency_ns,
        }
    }

    /// Sends payloads of these sizes from the first worker to the second.
    pub(super) fn measure(live: &Live, sizes: &[u64]) -> Result<Self, SessionError> {
        let mut all = Vec::with_capacity(sizes.len() + 1);
        for bytes in [&[LEAST_BYTES], sizes].concat() {
            let p50_ns = send(live, bytes)?;
            all.push(Sent { bytes, p50_ns });
        }
        Ok(Self::of(all))
    }

    /// The latency is that of the smallest; the bandwidth that of all larger ones together, what is latency apart.
    fn of(sizes: Vec<Sent>) -> Self {
        let latency_ns = sizes.first().map_or(0.0, |least| least.p50_ns as f64);
        let larger = sizes.iter().skip(1);
        let (bytes, ns) = larger.fold((0.0, 0.0), |(bytes, ns), sent| {
            let more_ns = (sent.p50_ns as f64 - latency_ns).max(1.0);
            (bytes + sent.bytes as f64, ns + more_ns)
        });
        Self {
            bytes_per_s: if ns > 0.0 {
                bytes * 1e9 / ns
            } else {
                Link::DEFAULT.bytes_per_s
            },
            latency_ns,
            sizes,
        }
    }
}

fn send(live: &Live, bytes: u64) -> Result<u64, SessionError> {
    let definition = definition::parse("link.yaml", text(bytes).as_bytes())?;
    let mut deployed = live.deploy(&definition, &Graph::of(&definition), &[0, 1])?;
    let mut times = Vec::with_capacity(ROUNDS);
    for round in 0..=ROUNDS {
        let invoked = deployed.invoke(&[])?;
        let of = |name: &str| {
            let mut attempts = invoked.trace.attempts.iter();
            attempts.find(|attempt| invoked.trace.nodes[attempt.node] == name)
        };
        if let (Some(give), Some(take)) = (of("give"), of("take"))
            && round > 0
        {
            times.push(take.ready_ns.saturating_sub(give.ended_ns));
        }
    }
    deployed.end(live)?;
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied().unwrap_or(0))
}

fn text(bytes: u64) -> String {
    let memory_mib = 32 + (bytes >> 20) * 2;
    format!(
        "workflow: link
nodes:
  give:
    function: synthetic:run
    input: {{ parameters: {{ value: {{ outputs: {{ payload: {bytes} }} }} }} }}
    output: {{ payload: bytes }}
    resources: {{ memory_mib: {memory_mib} }}
  take:
    function: synthetic:run
    input: {{ payload: give.payload }}
    resources: {{ memory_mib: {memory_mib} }}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_and_bandwidth_are_told_apart() {
        let sent = |bytes, p50_ns| Sent { bytes, p50_ns };
        let wire = Wire::of(vec![
            sent(64, 1_000),
            sent(1_000_000, 1_001_000),
            sent(3_000_000, 3_001_000),
        ]);
        assert_eq!((wire.latency_ns, wire.bytes_per_s), (1_000.0, 1e9));
        assert_eq!(
            Wire::of(vec![sent(64, 5)]).bytes_per_s,
            Link::DEFAULT.bytes_per_s
        );
    }

    #[test]
    fn what_is_deployed_is_a_definition() {
        assert!(definition::parse("link.yaml", text(64 << 20).as_bytes()).is_ok());
    }
}
