//! Payloads of any length that a test and its functions can make and check without sending them to each other.

/// Bytes that differ from page to page, so that an exchanged, repeated or missing range shows.
#[must_use]
pub fn bytes(seed: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fill(seed, &mut bytes);
    bytes
}

/// As [`bytes`], into memory that is there.
pub fn fill(seed: u32, bytes: &mut [u8]) {
    // A splitmix64 sequence: eight bytes a step, so that 64 MiB are quickly made even without optimization.
    let mut state = u64::from(seed) << 32 | bytes.len() as u64;
    for chunk in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(word ^ (word >> 31)).to_le_bytes()[..chunk.len()]);
    }
}

/// Length and checksum of bytes, as text.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    format!("{} bytes {:08x}", bytes.len(), crc32fast::hash(bytes))
}

/// Piece `index` of the payload of `length` bytes that `test-functions:stream` writes in pieces of `piece` bytes.
pub fn fill_piece(index: u64, piece: &mut [u8]) {
    fill(index as u32, piece);
}

/// [`digest`] of that payload, of which never more than a piece is in memory.
///
/// # Panics
/// If a piece has no bytes.
#[must_use]
pub fn digest_stream(length: u64, piece: usize) -> String {
    let mut hasher = crc32fast::Hasher::new();
    let (mut buffer, mut done, mut index) = (vec![0; piece], 0, 0);
    while done < length {
        let part = &mut buffer[..(length - done).min(piece as u64) as usize];
        fill_piece(index, part);
        hasher.update(part);
        (done, index) = (done + part.len() as u64, index + 1);
    }
    format!("{length} bytes {:08x}", hasher.finalize())
}

/// Count, length and checksum of the items of a list, in order, as text; an absent item counts as such.
pub fn digest_items<'a>(items: impl IntoIterator<Item = Option<&'a [u8]>>) -> String {
    let mut digest = ItemsDigest::default();
    items.into_iter().for_each(|item| digest.add(item));
    digest.text()
}

/// What [`digest_items`] says, of items that come one by one.
#[derive(Clone, Default, Debug)]
pub struct ItemsDigest {
    count: u64,
    absent: u64,
    length: u64,
    hasher: crc32fast::Hasher,
}

impl ItemsDigest {
    /// The next item.
    pub fn add(&mut self, item: Option<&[u8]>) {
        self.count += 1;
        match item {
            Some(item) => {
                self.length += item.len() as u64;
                // The length too, so that a border between items which moved shows.
                self.hasher.update(&(item.len() as u64).to_le_bytes());
                self.hasher.update(item);
            }
            None => self.absent += 1,
        }
    }

    /// Of all that have come.
    #[must_use]
    pub fn text(self) -> String {
        let Self {
            count,
            absent,
            length,
            hasher,
        } = self;
        let checksum = hasher.finalize();
        format!("{count} items, {absent} absent, {length} bytes {checksum:08x}")
    }
}

/// Item `index` of the list that the function `test-functions:items` makes of this seed.
#[must_use]
pub fn item(seed: u32, index: u32, length: usize) -> Vec<u8> {
    bytes(seed.wrapping_add(index), length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_tell_payloads_apart() {
        assert_eq!(digest(&bytes(1, 100)), digest(&bytes(1, 100)));
        assert_ne!(digest(&bytes(1, 100)), digest(&bytes(2, 100)));
        assert_ne!(bytes(1, 100)[..50], bytes(1, 100)[50..]);
        let parts = |parts: &[&[u8]]| digest_items(parts.iter().copied().map(Some));
        assert_ne!(parts(&[b"ab", b"c"]), parts(&[b"a", b"bc"]));
    }
}
