//! Credit: how much of its payloads a worker may send to a peer, and how it learns that it may send more.
//!
//! ```text
//! sender                                              receiver
//!   | -- StateEvent, announces transfer 7 ------------> |  finds memory for all of it, or lets it wait
//!   | -- Chunk, Chunk (its first bytes, unasked) -----> |
//!   | <- Grant { 7 up to its end } -------------------- |
//!   | -- Chunk, Chunk, ... ---------------------------> |
//! ```

use rkyv::{Archive, Deserialize, Serialize};

/// Bytes that a payload may send before anything was granted of it: as many as are on their way in the time that a grant
/// takes.
pub const UNASKED_BYTES_MAX: u64 = 256 << 10;
/// What a payload counts at least for, while it is not granted, so that many small ones are bounded too.
pub const UNASKED_BYTES_MIN: u64 = 4 << 10;
/// Bytes that payloads which are not granted may count for on a link, together. A receiver without memory can keep so much.
pub const LINK_UNASKED_BYTES_MAX: u64 = 1 << 20;
/// A grant adds as many bytes at least, or all that are left.
pub const GRANT_BYTES_MIN: u64 = 64 << 10;

/// How much of a payload may be under way before anything is granted of it.
#[must_use]
pub const fn unasked(bytes: u64) -> u64 {
    if bytes < UNASKED_BYTES_MAX {
        bytes
    } else {
        UNASKED_BYTES_MAX
    }
}

/// What a payload of so many bytes counts for, until all of it is granted.
#[must_use]
pub const fn unasked_charge(bytes: u64) -> u64 {
    let unasked = unasked(bytes);
    if unasked > UNASKED_BYTES_MIN {
        unasked
    } else {
        UNASKED_BYTES_MIN
    }
}

/// From the receiver of a link to its sender, against its direction: how far payloads may come that it has announced.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Transfers, and up to which byte each may be sent from now on.
    pub payloads: Vec<(u64, u64)>,
}
