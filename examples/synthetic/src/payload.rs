//! Payloads that tell whether they arrived as they were written.
//!
//! ```text
//!  0        8        16       24     28     32
//!  ┌────────┬────────┬────────┬──────┬──────┬─ … ─┐
//!  │SYNTHET1│ length │ seed   │ body │header│ body│   little-endian; `body` and `header` are CRC-32s,
//!  └────────┴────────┴────────┴──────┴──────┴─ … ─┘   the header's of its first 28 bytes
//! ```
//!
//! One that is too short for the header has a content that follows from its length.

use thiserror::Error;

/// Bytes before the body; a shorter payload has no header.
pub const HEADER_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"SYNTHET1";
/// Where the header's own checksum stands.
const HEADER_SUM: usize = 28;

/// What is wrong with a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Damage {
    /// Nothing in it says that it was written by a synthetic function.
    #[error("it was not written by a synthetic function")]
    Foreign,
    /// The header does not have its checksum.
    #[error("its header is damaged")]
    Header,
    /// It is longer or shorter than it was.
    #[error("it has {found} bytes where {written} were written")]
    Length {
        /// What its header says.
        written: u64,
        /// What is there.
        found: u64,
    },
    /// The body does not have its checksum.
    #[error("its content is damaged")]
    Body,
}

/// Fills a payload. The same length and seed give the same bytes.
pub fn fill(bytes: &mut [u8], seed: u64) {
    let length = bytes.len();
    if length < HEADER_BYTES {
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = short(length, index);
        }
        return;
    }
    let (header, body) = bytes.split_at_mut(HEADER_BYTES);
    let mut state = seed;
    let mut words = body.chunks_exact_mut(8);
    for word in &mut words {
        word.copy_from_slice(&mixed(&mut state).to_le_bytes());
    }
    let rest = words.into_remainder();
    let last = mixed(&mut state).to_le_bytes();
    rest.copy_from_slice(&last[..rest.len()]);
    header[..8].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&(length as u64).to_le_bytes());
    header[16..24].copy_from_slice(&seed.to_le_bytes());
    header[24..HEADER_SUM].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    let sum = crc32fast::hash(&header[..HEADER_SUM]);
    header[HEADER_SUM..].copy_from_slice(&sum.to_le_bytes());
}

/// Checks a payload.
///
/// # Errors
/// If it is not as it was written.
///
/// ```
/// use synthetic::payload::{Damage, check, fill};
///
/// let mut bytes = vec![0; 1000];
/// fill(&mut bytes, 7);
/// assert_eq!(check(&bytes), Ok(()));
/// bytes[500] ^= 1;
/// assert_eq!(check(&bytes), Err(Damage::Body));
/// ```
pub fn check(bytes: &[u8]) -> Result<(), Damage> {
    let length = bytes.len();
    if length < HEADER_BYTES {
        let all = bytes.iter().enumerate();
        let whole = all
            .into_iter()
            .all(|(index, &byte)| byte == short(length, index));
        return if whole { Ok(()) } else { Err(Damage::Foreign) };
    }
    let (header, body) = bytes.split_at(HEADER_BYTES);
    if &header[..8] != MAGIC {
        return Err(Damage::Foreign);
    }
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| header[at + byte]));
    let sum = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| header[at + byte]));
    if sum(HEADER_SUM) != crc32fast::hash(&header[..HEADER_SUM]) {
        return Err(Damage::Header);
    }
    let written = word(8);
    if written != length as u64 {
        let found = length as u64;
        return Err(Damage::Length { written, found });
    }
    if sum(24) != crc32fast::hash(body) {
        return Err(Damage::Body);
    }
    Ok(())
}

/// A byte of a payload that has no header. Neighbours differ, and so do payloads of different lengths.
fn short(length: usize, index: usize) -> u8 {
    (0x5a ^ (length * 37) ^ (index * 101)) as u8
}

/// SplitMix64: the content cannot be compressed, and its making costs no more than writing it.
fn mixed(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A number that follows from texts and numbers, each of which changes it.
pub(crate) fn seed_of(texts: &[&str], numbers: &[u64]) -> u64 {
    let mut state = 0;
    for text in texts {
        for byte in text.bytes() {
            state ^= u64::from(byte) + 1;
            state = mixed(&mut state);
        }
        state = mixed(&mut state);
    }
    for number in numbers {
        state ^= number;
        state = mixed(&mut state);
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_payload_is_good_as_written_and_any_change_of_it_is_found(
            length in 0usize..300, seed: u64, at in 0usize..300, change in 1u8.., cut in 1usize..300,
        ) {
            let mut bytes = vec![0; length];
            fill(&mut bytes, seed);
            prop_assert_eq!(check(&bytes), Ok(()));
            if at < length {
                bytes[at] ^= change;
                prop_assert!(check(&bytes).is_err());
                bytes[at] ^= change;
            }
            if cut <= length && cut < length {
                prop_assert!(check(&bytes[..length - cut]).is_err());
            }
            bytes.push(0);
            prop_assert!(check(&bytes).is_err());
        }
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        let mut bytes = vec![0; 100];
        fill(&mut bytes, 1);
        let mut other = vec![0; 100];
        fill(&mut other, 2);
        assert_ne!(bytes, other);
        assert_eq!(
            check(&bytes[..99]),
            Err(Damage::Length {
                written: 100,
                found: 99
            })
        );
        bytes[20] ^= 1;
        assert_eq!(check(&bytes), Err(Damage::Header));
        assert_eq!(check(&[b'x'; 100]), Err(Damage::Foreign));
        assert_eq!(check(b"hello"), Err(Damage::Foreign));
        assert_eq!(check(b""), Ok(()));
    }

    #[test]
    fn seeds_follow_from_all_their_parts() {
        let seeds = [
            seed_of(&["a", "bc"], &[1, 2]),
            seed_of(&["ab", "c"], &[1, 2]),
            seed_of(&["a", "bc"], &[2, 1]),
            seed_of(&["a", "bc"], &[1]),
        ];
        for (index, seed) in seeds.iter().enumerate() {
            assert!(!seeds[..index].contains(seed));
        }
        assert_eq!(seeds[0], seed_of(&["a", "bc"], &[1, 2]));
    }
}
