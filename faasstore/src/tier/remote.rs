//! The tier `remote`: payloads at a server. What Redis and object stores have in common.
//!
//! A payload's keys are `faasflow/NAME/EPOCH/NUMBER`: the worker that put it, in which of its lives, and which payload it
//! is of that life. Nothing is ever put under a key twice. Any worker that uses the same store can read a payload by its
//! place; only the one that put it releases it.

#[cfg(feature = "s3")]
pub(super) mod object;
#[cfg(feature = "redis")]
pub(super) mod redis;

use super::book::Book;
use super::{Body, Place, TierError};
use std::sync::Arc;

/// Which store a URL names: the same for whoever names it so.
fn store_of(shown: &str) -> u64 {
    // FNV-1a: the URL is no secret, and nobody gains by two that collide.
    shown.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The worker and its life, as in keys.
fn life(worker: &str, epoch: u32) -> Arc<str> {
    format!("{worker}/{epoch}").into()
}

/// What all keys of a payload begin with. Of a place that nobody of this program has made it may be anything, so what
/// could lead elsewhere is refused.
fn key<T>(book: &Book<T>, place: &Place) -> Result<String, TierError> {
    let Body::Life(life) = &place.body else {
        return Err(book
            .speaker()
            .refused(place, "it does not say who has put it"));
    };
    let plain = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !part.is_empty()
            && part.len() <= 255
            && part != "."
            && part != ".."
            && part.bytes().all(allowed)
    };
    match life.split_once('/') {
        Some((worker, epoch)) if plain(worker) && epoch.parse::<u32>().is_ok() => {
            Ok(format!("faasflow/{worker}/{epoch}/{}", place.number))
        }
        _ => Err(book
            .speaker()
            .refused(place, "who has put it is no worker's name and epoch")),
    }
}
