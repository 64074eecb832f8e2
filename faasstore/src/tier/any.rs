//! One tier of whichever kind, without dynamic dispatch.

#[cfg(feature = "s3")]
use super::Objects;
#[cfg(feature = "redis")]
use super::Redis;
#[cfg(feature = "spill")]
use super::spill::Spill;
use super::{Inline, Peer, Place, Shared, Tier, TierError, TierKind, Used};
use crate::segment::{Slice, TargetSlice};

/// A tier of any kind that this program was built with.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyTier {
    /// In messages.
    Inline(Inline),
    /// In an arena.
    Shared(Shared),
    /// In another process's memory.
    Peer(Peer),
    /// On a local disk.
    #[cfg(feature = "spill")]
    Spill(Spill),
    /// In Redis.
    #[cfg(feature = "redis")]
    Redis(Redis),
    /// In an object store.
    #[cfg(feature = "s3")]
    Objects(Objects),
}

/// The same for whichever tier it is.
macro_rules! each {
    ($any:expr, $tier:ident => $do:expr) => {
        match $any {
            AnyTier::Inline($tier) => $do,
            AnyTier::Shared($tier) => $do,
            AnyTier::Peer($tier) => $do,
            #[cfg(feature = "spill")]
            AnyTier::Spill($tier) => $do,
            #[cfg(feature = "redis")]
            AnyTier::Redis($tier) => $do,
            #[cfg(feature = "s3")]
            AnyTier::Objects($tier) => $do,
        }
    };
}

impl Tier for AnyTier {
    fn kind(&self) -> TierKind {
        each!(self, tier => tier.kind())
    }

    fn used(&self) -> Used {
        each!(self, tier => tier.used())
    }

    async fn put(&self, payload: Slice) -> Result<Place, TierError> {
        each!(self, tier => tier.put(payload).await)
    }

    async fn get(&self, place: &Place, from: u64, into: TargetSlice) -> Result<(), TierError> {
        each!(self, tier => tier.get(place, from, into).await)
    }

    async fn release(&self, place: Place) -> Result<(), TierError> {
        each!(self, tier => tier.release(place).await)
    }

    async fn settled(&self) {
        each!(self, tier => tier.settled().await);
    }
}
