//! What the functions of `bench-functions` pass on and bring home.
//!
//! Owns two formats. A *stamped payload* begins with the time at which its producer was about to return
//! (CLOCK_MONOTONIC, nanoseconds, little-endian; 0 from the client), and behind it, if it is long enough, with the
//! numbers of bytes that every producer on its way writes into private memory before and behind it ([`Load`]), and the byte
//! that fills the rest, which is another one in each payload. A *collection* is what an
//! executor has recorded since it was last asked, with the facts that say who it is. Both are read by [`Load`],
//! [`Recorder`] and [`Collection`] alone.

use crate::clock::now_ns;
use nix::sched::sched_getcpu;
use nix::sys::resource::{UsageWho, getrusage};
use std::cell::RefCell;
use thiserror::Error;

/// Bytes of a stamp, the least that a stamped payload has.
pub const STAMP_BYTES: usize = 8;
/// Bytes of a stamp, of both numbers of private bytes, and of the word that has what fills the rest.
const HEAD_BYTES: usize = 32;
/// What fills payloads counts up to here from 1: a prime, so that no rotation of buffers falls in step with it.
const FILLS: u8 = 251;
/// Samples that an executor has room for before it must grow; memory that it touches before the first one.
const SAMPLES_MIN: usize = 1 << 16;
/// Numbers in front of the samples of a collection.
const FACTS: usize = 6;

/// What every node of a chain writes: its payload, and private memory that nobody else sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// Bytes of the payload, at least [`STAMP_BYTES`].
    pub payload_bytes: usize,
    /// Bytes of its own memory that a node writes before its payload, and reads first if it reads its payload; none with a payload
    /// too short to say it.
    pub private_bytes: usize,
    /// Bytes of its own memory that it writes behind its payload, so that caches hold these instead; likewise.
    pub behind_bytes: usize,
}

impl Load {
    /// A payload of that many bytes, and nothing else.
    #[must_use]
    pub const fn payload(payload_bytes: usize) -> Self {
        Self {
            payload_bytes,
            private_bytes: 0,
            behind_bytes: 0,
        }
    }

    /// The load that a payload carries on.
    #[inline]
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        let word = |number| usize::try_from(head_word(payload, number)).unwrap_or(usize::MAX);
        Self {
            payload_bytes: payload.len(),
            private_bytes: word(1),
            behind_bytes: word(2),
        }
    }

    /// Fills `payload`, and makes it carry this load on; one that is too short is only filled.
    #[inline]
    pub fn write_to(self, payload: &mut [u8], fill: u8) {
        payload.fill(fill);
        if let Some(head) = payload.first_chunk_mut::<HEAD_BYTES>() {
            let numbers = [0, self.private_bytes, self.behind_bytes, fill.into()];
            for (word, number) in head.as_chunks_mut().0.iter_mut().zip(numbers) {
                *word = (number as u64).to_le_bytes();
            }
        }
    }

    /// The payload that a client sends: without a stamp.
    #[must_use]
    pub fn first_payload(self) -> Vec<u8> {
        let mut payload = vec![0; self.payload_bytes];
        self.write_to(&mut payload, 0);
        payload
    }
}

/// A word of the head, 0 being the stamp; 0 if there is none.
fn head_word(payload: &[u8], number: usize) -> u64 {
    let head = payload.first_chunk::<HEAD_BYTES>();
    let word = head.and_then(|head| head.as_chunks().0.get(number));
    word.map_or(0, |word| u64::from_le_bytes(*word))
}

/// What fills the payload that is made of this one: another byte, and never 0.
#[inline]
#[must_use]
pub fn fill_after(payload: &[u8]) -> u8 {
    head_word(payload, 3) as u8 % FILLS + 1
}

/// What all bytes of a payload come to, by what its head says; none of one too short to have a head.
#[must_use]
pub fn sum_told(payload: &[u8]) -> Option<u64> {
    let (head, rest) = payload.split_first_chunk::<HEAD_BYTES>()?;
    let head = head.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    Some(head + head_word(payload, 3) * rest.len() as u64)
}

/// The stamp of a payload, if it has one.
#[inline]
#[must_use]
pub fn stamp_of(payload: &[u8]) -> Option<u64> {
    let stamp = u64::from_le_bytes(*payload.first_chunk::<STAMP_BYTES>()?);
    (stamp != 0).then_some(stamp)
}

/// Writes the time of this moment in front of `payload`; a payload too short for it stays as it is.
#[inline]
pub fn stamp(payload: &mut [u8]) {
    if let Some(place) = payload.first_chunk_mut::<STAMP_BYTES>() {
        *place = now_ns().to_le_bytes();
    }
}

/// What one executor has recorded. It has one thread that runs functions, and so one recorder.
#[derive(Debug)]
pub struct Recorder {
    hops_ns: Vec<u64>,
    reads_ns: Vec<u64>,
}

thread_local! {
    static RECORDER: RefCell<Recorder> = RefCell::new(Recorder::touched());
}

impl Recorder {
    /// One whose memory is all there: a page fault in the middle of a hop would be measured with it.
    fn touched() -> Self {
        let touched = || {
            let mut samples = vec![1; SAMPLES_MIN];
            samples.clear();
            samples
        };
        Self {
            hops_ns: touched(),
            reads_ns: touched(),
        }
    }

    /// Records a hop that ended at `entered_ns`, if the payload carries a stamp.
    #[inline]
    pub fn hop(payload: &[u8], entered_ns: u64) {
        if let Some(stamp_ns) = stamp_of(payload) {
            RECORDER.with_borrow_mut(|recorder| {
                recorder.hops_ns.push(entered_ns.saturating_sub(stamp_ns))
            });
        }
    }

    /// Records how long a payload took to read.
    #[inline]
    pub fn read(taken_ns: u64) {
        RECORDER.with_borrow_mut(|recorder| recorder.reads_ns.push(taken_ns));
    }

    /// Takes what was recorded on this thread, as the bytes of a collection.
    #[must_use]
    pub fn collect() -> Vec<u8> {
        let usage = getrusage(UsageWho::RUSAGE_SELF);
        let (voluntary, involuntary) = usage
            .map(|usage| {
                (
                    usage.voluntary_context_switches() as u64,
                    usage.involuntary_context_switches() as u64,
                )
            })
            .unwrap_or_default();
        let cpu = sched_getcpu().map_or(u64::MAX, |cpu| cpu as u64);
        RECORDER.with_borrow_mut(|recorder| {
            let counts = [
                recorder.hops_ns.len() as u64,
                recorder.reads_ns.len() as u64,
            ];
            let facts: [u64; FACTS] = [
                u64::from(std::process::id()),
                cpu,
                voluntary,
                involuntary,
                counts[0],
                counts[1],
            ];
            let numbers = facts
                .into_iter()
                .chain(recorder.hops_ns.drain(..))
                .chain(recorder.reads_ns.drain(..));
            numbers.flat_map(u64::to_le_bytes).collect()
        })
    }
}

/// A collection that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error(
    "a collection of {bytes} bytes is none of bench-functions; is an executable of another version in the folder?"
)]
pub struct MalformedCollection {
    /// Its length.
    pub bytes: usize,
}

/// What an executor brought home.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Collection {
    /// Its process.
    pub pid: u32,
    /// The CPU that it was collected on, if the kernel said so.
    pub cpu: Option<usize>,
    /// Its voluntary context switches since its start.
    pub voluntary_switches: u64,
    /// Its involuntary ones.
    pub involuntary_switches: u64,
    /// Hops that ended in it since the last collection, in nanoseconds, in order.
    pub hops_ns: Vec<u64>,
    /// Times it took to read payloads, in nanoseconds, in order.
    pub reads_ns: Vec<u64>,
}

impl Collection {
    /// Reads what [`Recorder::collect`] wrote.
    ///
    /// # Errors
    /// If these bytes are something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MalformedCollection> {
        let malformed = MalformedCollection { bytes: bytes.len() };
        let (words, rest) = bytes.as_chunks::<8>();
        let numbers: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let (
            &[
                pid,
                cpu,
                voluntary_switches,
                involuntary_switches,
                hops,
                reads,
            ],
            samples,
        ) = numbers.split_first_chunk::<FACTS>().ok_or(malformed)?;
        let hops = usize::try_from(hops).map_err(|_| malformed)?;
        let (hops_ns, reads_ns) = samples.split_at_checked(hops).ok_or(malformed)?;
        if !rest.is_empty() || reads_ns.len() as u64 != reads {
            return Err(malformed);
        }
        Ok(Self {
            pid: u32::try_from(pid).map_err(|_| malformed)?,
            cpu: (cpu != u64::MAX).then_some(cpu as usize),
            voluntary_switches,
            involuntary_switches,
            hops_ns: hops_ns.to_vec(),
            reads_ns: reads_ns.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_takes_every_sample_once() {
        let mut payload = [0; 64];
        Recorder::hop(&payload, 7); // from the client: no stamp, no hop
        stamp(&mut payload);
        let stamped_ns = stamp_of(&payload).unwrap();
        Recorder::hop(&payload, stamped_ns + 150);
        Recorder::hop(&payload, stamped_ns + 151);
        Recorder::read(9);
        let collection = Collection::from_bytes(&Recorder::collect()).unwrap();
        assert_eq!(collection.pid, std::process::id());
        assert_eq!(
            (&collection.hops_ns[..], &collection.reads_ns[..]),
            (&[150, 151][..], &[9][..])
        );
        let again = Collection::from_bytes(&Recorder::collect()).unwrap();
        assert!(again.hops_ns.is_empty() && again.reads_ns.is_empty());
    }

    #[test]
    fn bytes_that_are_no_collection_are_refused() {
        let good = Recorder::collect();
        for length in 0..good.len() {
            assert!(Collection::from_bytes(&good[..length]).is_err(), "{length}");
        }
        let mut claims_more = good;
        claims_more[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Collection::from_bytes(&claims_more).is_err());
    }

    #[test]
    fn a_load_is_carried_on_by_payloads_long_enough() {
        let load = Load {
            payload_bytes: 64,
            private_bytes: 1 << 20,
            behind_bytes: 3,
        };
        let mut payload = load.first_payload();
        assert_eq!((Load::of(&payload), stamp_of(&payload)), (load, None));
        stamp(&mut payload);
        assert_eq!(Load::of(&payload), load);
        let short = Load {
            payload_bytes: 31,
            ..load
        };
        assert_eq!(Load::of(&short.first_payload()), Load::payload(31));
    }

    #[test]
    fn a_payload_tells_what_it_sums_up_to_and_no_two_in_turn_are_alike() {
        let mut before = Load::payload(1000).first_payload();
        for _ in 0..600 {
            let fill = fill_after(&before);
            assert!(fill != 0 && fill != before[999]);
            let mut payload = vec![0; 1000];
            Load::payload(1000).write_to(&mut payload, fill);
            stamp(&mut payload);
            let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            assert_eq!(sum_told(&payload), Some(sum(&payload)));
            // A byte of the one before it is noticed.
            let mut stale = payload.clone();
            stale[500] = before[500];
            assert_ne!(sum_told(&stale), Some(sum(&stale)));
            before = payload;
        }
        assert_eq!(sum_told(&[1; 31]), None);
    }

    #[test]
    fn a_payload_too_short_for_a_stamp_has_none() {
        let mut short = [0; 7];
        stamp(&mut short);
        assert_eq!(short, [0; 7]);
        assert_eq!(stamp_of(&[0xff; 7]), None);
    }
}
