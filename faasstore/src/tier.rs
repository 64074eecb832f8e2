//! Tiers: where payloads lie when they are not in their producer's arena.
//!
//! This module owns the way of a payload's bytes into a tier, back into a segment, and out of the world; it is what a
//! worker's store thread runs. Which payload goes where, and how long it lives, is decided elsewhere.
//!
//! | tier | in | lives as long as | feature |
//! | --- | --- | --- | --- |
//! | [`Inline`] | the message that names it | that message | `tier` |
//! | [`Shared`] | an arena of this process | this process | `tier` |
//! | [`Peer`] | another process's memory, over a socket | that process and the connection | `tier` |
//! | `Spill` | files without names on a local disk | this process | `spill` |
//! | `Redis` | a Redis server | its expiry, if nobody renews it | `redis` |
//! | `Objects` | an S3-compatible store | the bucket's lifecycle rule | `s3` |
//!
//! All of them promise the same, and one suite holds each to it (`tier/conformance`):
//!
//! - What is read is what was put, in whole or by windows, or an error says that it is damaged. (Memory is not checked.)
//! - What was released is gone, and its bytes are counted back once nobody reads it any more; a place that was made up, or
//!   belongs to another store, is refused.
//! - Nothing hangs: every operation has a deadline from its turn on that follows from its size, and waits for its turn only as long as
//!   others of the tier go on ([`Limits`]).
//! - Nothing grows without a bound: payloads, bytes kept, operations and bytes under way all have a limit.
//! - A future that is dropped leaves nothing behind: what it had put is taken back, and memory and disk that the kernel
//!   still works on are not used again before it has ended. [`Tier::settled`] waits for that.
//!
//! Operations run within a tokio `LocalSet` on a thread with tokio's clock and sockets; with io_uring beneath it, within
//! tokio-uring's runtime. A runtime of tokio-uring that ends frees buffers a moment before it cancels what the kernel does
//! with them: wait for [`Tier::settled`] first.

mod admission;
mod any;
mod book;
#[cfg(any(feature = "spill", feature = "redis", feature = "s3"))]
mod checksum;
#[cfg(test)]
mod conformance;
mod error;
mod memory;
mod peer;
mod place;
#[cfg(any(feature = "redis", feature = "s3"))]
mod remote;
#[cfg(feature = "spill")]
pub mod spill;
mod url;

use crate::segment::{Slice, TargetSlice};

pub use admission::Limits;
pub use any::AnyTier;
pub use error::{Again, TierError};
pub use memory::{Inline, InlineConfig, Shared};
pub use peer::{Peer, PeerConfig, PeerHost};
pub use place::{Body, Place, TierKind};
#[cfg(feature = "s3")]
pub use remote::object::{ObjectConfig, Objects};
#[cfg(feature = "redis")]
pub use remote::redis::{Redis, RedisConfig};
pub use url::{RedisUrl, S3Url, StoreUrl, StoreUrlError};

/// What a tier holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Used {
    /// Bytes of payloads.
    pub bytes: u64,
    /// Payloads.
    pub count: u64,
    /// Bytes that are taken for them where they lie: with what is rounded up, and what is kept ready for others.
    pub held: u64,
}

/// Where payloads lie. Operations on one tier may overlap; each is cancelled by dropping its future. One that is neither
/// polled nor dropped keeps its turn, and others are given up when nothing else goes on.
pub trait Tier {
    /// Which tier this is.
    fn kind(&self) -> TierKind;

    /// What it holds now.
    fn used(&self) -> Used;

    /// Takes a payload in.
    ///
    /// # Errors
    /// [`TierError::Full`] or [`TierError::TooLarge`] if it has no room, [`TierError::Broken`] if it cannot; nothing of the
    /// payload remains then.
    fn put(&self, payload: Slice) -> impl Future<Output = Result<Place, TierError>>;

    /// Reads the bytes from `from` on of a payload, as many as `into` takes.
    ///
    /// # Errors
    /// [`TierError::Missing`], [`TierError::Refused`] for a place or window that cannot be, [`TierError::Damaged`] if the
    /// bytes are not those that were put, [`TierError::Broken`]. What `into` holds then is of no use.
    fn get(
        &self,
        place: &Place,
        from: u64,
        into: TargetSlice,
    ) -> impl Future<Output = Result<(), TierError>>;

    /// Lets a payload go. Whoever reads it at the moment still can.
    ///
    /// # Errors
    /// [`TierError::Missing`] and [`TierError::Refused`] as for [`Tier::get`]. [`TierError::Broken`] if a store does not
    /// answer: it is gone from this tier all the same, and the store drops it in its own time.
    fn release(&self, place: Place) -> impl Future<Output = Result<(), TierError>>;

    /// Waits until nothing of operations that ended or were dropped is under way any more. Ends, as each of them does.
    fn settled(&self) -> impl Future<Output = ()>;
}
