//! Checksums of payloads, block by block, so that a window can be checked without the rest.
//!
//! A block's checksum is the lower half of its XXH3 (64 bits), seeded by which payload it is of and its number there: bytes that are
//! intact, but of another payload or another part of this one, do not pass. It takes half the time of a CRC-32.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Bytes of a block; the last one of a payload may have fewer. A window is read in whole blocks, and each costs four bytes.
pub(crate) const BLOCK_BYTES: u64 = 64 << 10;

/// If an operation has more bytes than these, looking at each of them is worth a thread of its own: to wake one, and to be woken by
/// it, takes about as long as to look at all of these.
#[cfg(feature = "spill")]
const HERE_BYTES_MAX: u64 = 1 << 20;

/// Does what looks at bytes, of which it owns what it needs, for an operation on `bytes` of them: beside the calling thread if they are
/// many, so that this one sees to its device meanwhile. It begins at once, and ends though nobody waits for it.
///
/// # Errors
/// If it panicked, or the runtime ends.
#[cfg(feature = "spill")]
pub(crate) fn aside<T: Send + 'static>(
    bytes: u64,
    look: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = std::io::Result<T>> {
    use futures_util::future::Either;
    if bytes <= HERE_BYTES_MAX {
        return Either::Left(std::future::ready(Ok(look())));
    }
    let task = tokio::task::spawn_blocking(look);
    Either::Right(async move { task.await.map_err(std::io::Error::other) })
}

/// Blocks of a payload.
#[cfg(any(test, feature = "redis", feature = "s3", feature = "spill"))]
pub(crate) const fn blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES)
}

/// The checksum of block `index` of payload `number`.
pub(crate) fn block(number: u64, index: u64, bytes: &[u8]) -> u32 {
    let seed = [number, index].map(u64::to_le_bytes);
    let seed = xxh3_64(seed.as_flattened());
    xxh3_64_with_seed(bytes, seed) as u32
}

/// The checksums of all blocks of `bytes`, the first of which is block `first` of payload `number`.
pub(crate) fn table(number: u64, first: u64, bytes: &[u8]) -> Vec<u32> {
    let blocks = (first..).zip(bytes.chunks(BLOCK_BYTES as usize));
    blocks
        .map(|(index, bytes)| block(number, index, bytes))
        .collect()
}

/// The first block of `bytes` whose checksum is not in its place in `table`; the first of both is block `first`.
pub(crate) fn damaged(number: u64, first: u64, bytes: &[u8], table: &[u32]) -> Option<u64> {
    let blocks = (first..).zip(bytes.chunks(BLOCK_BYTES as usize));
    let mut sums = table.iter();
    let mut blocks =
        blocks.map(|(index, bytes)| (index, sums.next() == Some(&block(number, index, bytes))));
    blocks.find_map(|(index, right)| (!right).then_some(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_and_every_misplaced_block_is_found() {
        let bytes: Vec<u8> = (0..BLOCK_BYTES * 2 + 100)
            .map(|at| (at % 251) as u8)
            .collect();
        let sums = table(7, 3, &bytes);
        assert_eq!(sums.len() as u64, blocks(bytes.len() as u64));
        assert_eq!(damaged(7, 3, &bytes, &sums), None);
        for at in [0, BLOCK_BYTES - 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 99] {
            let mut wrong = bytes.clone();
            wrong[at as usize] ^= 1;
            assert_eq!(damaged(7, 3, &wrong, &sums), Some(3 + at / BLOCK_BYTES));
        }
        assert_eq!(damaged(8, 3, &bytes, &sums), Some(3), "of another payload");
        assert_eq!(damaged(7, 4, &bytes, &sums), Some(4), "of another place");
        assert_eq!(
            damaged(7, 3, &bytes, &sums[..2]),
            Some(5),
            "a table too short"
        );
    }
}
