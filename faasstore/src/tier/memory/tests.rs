//! The tiers of memory, held to what all promise, and what they promise besides.

use super::*;
use crate::tier::conformance::{Harness, conforms, payload, read, run, soon};

const MIB: u64 = 1 << 20;

async fn inline() -> Result<Harness<Inline>, String> {
    let config = InlineConfig {
        payload_bytes_max: 8 << 10,
        bytes_max: 24 << 10,
    };
    Ok(Harness {
        tier: Inline::new(config),
        bytes_max: config.bytes_max,
        payload_bytes_max: config.payload_bytes_max,
        damage: None,
        left: None,
        _keep: Box::new(()),
    })
}

fn arena(bytes_max: u64) -> ArenaConfig {
    ArenaConfig {
        name: "tier-test".to_owned(),
        segment_bytes: 4 * MIB,
        bytes_max,
    }
}

async fn shared() -> Result<Harness<Shared>, String> {
    let bytes_max = 96 * MIB;
    Ok(Harness {
        tier: Shared::new(arena(bytes_max), 0, Limits::default()),
        bytes_max,
        payload_bytes_max: bytes_max,
        damage: None,
        left: None,
        _keep: Box::new(()),
    })
}

conforms!(inline_tier, super::run, super::inline);
conforms!(shared_tier, super::run, super::shared);

#[test]
fn an_inline_payload_that_was_changed_on_its_way_is_damaged() {
    run(async {
        let tier = Inline::new(InlineConfig::default());
        let mut place = soon(tier.put(payload(1, 100))).await.unwrap();
        let Body::Inline(bytes) = &place.body else {
            panic!("it lies in its place")
        };
        let mut changed = bytes.to_vec();
        changed[50] ^= 1;
        place.body = Body::Inline(changed.into());
        let error = read(&tier, &place, 0, 100).await.map(drop).unwrap_err();
        assert!(matches!(error, TierError::Damaged { .. }), "{error}");
    });
}

#[test]
fn what_is_written_in_place_is_a_payload_without_a_copy() {
    run(async {
        let tier = Shared::new(arena(8 * MIB), 0, Limits::default());
        let mut at = 0;
        let place = tier.write(5000, |bytes| {
            at = bytes.as_ptr() as usize;
            bytes.fill(7);
        });
        let place = place.unwrap();
        let view = tier.view(&place).unwrap();
        assert_eq!(view.bytes(), [7; 5000]);
        assert_eq!(view.bytes().as_ptr() as usize, at);
        let (segment, range) = tier.segment(&place).unwrap();
        assert_eq!(segment.read(range.offset, range.length), Some(view.bytes()));
    });
}

#[test]
fn a_view_outlasts_the_release_and_memory_then_goes_back() {
    run(async {
        let tier = Shared::new(arena(8 * MIB), 0, Limits::default());
        let place = soon(tier.put(payload(1, MIB))).await.unwrap();
        let view = tier.view(&place).unwrap();
        soon(tier.release(place.clone())).await.unwrap();
        assert!(matches!(tier.view(&place), Err(TierError::Missing { .. })));
        assert_eq!(tier.used().bytes, MIB, "it is still read");
        let other = soon(tier.put(payload(2, MIB))).await.unwrap();
        assert!(view.bytes() == payload(1, MIB).bytes());
        drop(view);
        assert_eq!(tier.used().bytes, MIB, "the other one's");
        soon(tier.release(other)).await.unwrap();
        assert_eq!(tier.used().held, 0, "memory goes back by whole segments");
    });
}
