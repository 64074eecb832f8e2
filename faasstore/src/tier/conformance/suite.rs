//! The promises. Each takes a fresh tier.

use super::{Harness, payload, payload_at, read, soon, watched};
use crate::tier::{Body, Place, Tier, TierError, TierKind};
use futures_util::future::{join, join_all};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

pub(in crate::tier) async fn payloads_of_every_size_come_back_as_they_were<T: Tier>(
    harness: Harness<T>,
) {
    let tier = &harness.tier;
    let sizes = [0, 1, 63, 64, 65, 4095, 4096, 4097, 64 * KIB, 256 * KIB + 1]
        .into_iter()
        .chain([MIB - 1, MIB, MIB + 1, 9 * MIB + 5, 64 * MIB]);
    for (seed, bytes) in (0..).zip(sizes) {
        if bytes > harness.payload_bytes_max {
            let error = soon(tier.put(payload(seed, bytes))).await.unwrap_err();
            assert!(matches!(error, TierError::TooLarge { .. }), "{error}");
            continue;
        }
        for offset in [0, 64] {
            let content = payload_at(seed, bytes, offset);
            let place = soon(tier.put(content.clone())).await.unwrap();
            assert_eq!((place.kind, place.bytes), (tier.kind(), bytes));
            let used = tier.used();
            assert_eq!((used.bytes, used.count), (bytes, 1));
            assert!(used.held >= bytes);
            for _ in 0..2 {
                let back = read(tier, &place, 0, bytes).await.unwrap();
                assert!(back.bytes() == content.bytes(), "{bytes} bytes at {offset}");
            }
            soon(tier.release(place)).await.unwrap();
        }
    }
    harness.empty().await;
}

pub(in crate::tier) async fn windows_are_what_lies_there<T: Tier>(harness: Harness<T>) {
    let tier = &harness.tier;
    let bytes = (3 * MIB + 100_017).min(harness.payload_bytes_max);
    let content = payload(1, bytes);
    let place = soon(tier.put(content.clone())).await.unwrap();
    let edges: Vec<u64> = [
        0,
        1,
        64 * KIB - 1,
        64 * KIB,
        64 * KIB + 1,
        MIB - 1,
        MIB,
        MIB + 7,
        2 * MIB,
        3 * MIB,
    ]
    .into_iter()
    .chain([bytes - 4097, bytes - 1, bytes])
    .filter(|edge| *edge <= bytes)
    .collect();
    for from in &edges {
        for to in edges.iter().filter(|to| *to >= from) {
            let window = read(tier, &place, *from, to - from).await.unwrap();
            let there = &content.bytes()[*from as usize..*to as usize];
            assert!(window.bytes() == there, "from {from} to {to}");
        }
    }
    for (from, length) in [
        (0, bytes + 1),
        (bytes, 1),
        (bytes + 1, 0),
        (u64::MAX, 1),
        (1, bytes),
    ] {
        let error = read(tier, &place, from, length).await.unwrap_err();
        assert!(
            matches!(error, TierError::Refused { .. }),
            "{length} from {from}: {error}"
        );
    }
    soon(tier.release(place)).await.unwrap();
    harness.empty().await;
}

pub(in crate::tier) async fn payloads_that_overlap_in_time_never_mix<T: Tier>(harness: Harness<T>) {
    let tier = &harness.tier;
    let most = harness
        .payload_bytes_max
        .min(harness.bytes_max / 64)
        .min(3 * MIB);
    // Each puts, reads, lets go, and so on; so what one lets go is what another one gets.
    let rounds = (0..24_u64).map(async |seed| {
        for round in 0..4 {
            let seed = seed * 16 + round;
            let bytes = seed * 7919 * 31 % most;
            let content = payload(seed, bytes);
            let place = soon(tier.put(content.clone())).await.unwrap();
            let half = bytes / 2;
            let (whole, part) = join(
                read(tier, &place, 0, bytes),
                read(tier, &place, half, bytes - half),
            )
            .await;
            assert!(whole.unwrap().bytes() == content.bytes(), "payload {seed}");
            assert!(
                part.unwrap().bytes() == &content.bytes()[half as usize..],
                "payload {seed}"
            );
            soon(tier.release(place)).await.unwrap();
        }
    });
    join_all(rounds).await;
    harness.empty().await;
}

pub(in crate::tier) async fn what_is_released_is_gone_and_counted_back<T: Tier>(
    harness: Harness<T>,
) {
    let tier = &harness.tier;
    let sizes = [0, 100, 5000, 70_000].map(|bytes: u64| bytes.min(harness.payload_bytes_max));
    let mut places = Vec::new();
    for (seed, bytes) in (0..).zip(sizes) {
        places.push(soon(tier.put(payload(seed, bytes))).await.unwrap());
    }
    let mut left: u64 = sizes.iter().sum();
    assert_eq!(tier.used().bytes, left);
    for (seed, place) in (0..).zip(places.clone()) {
        soon(tier.release(place.clone())).await.unwrap();
        left -= place.bytes;
        assert_eq!(tier.used().bytes, left);
        for error in [
            read(tier, &place, 0, place.bytes)
                .await
                .map(drop)
                .unwrap_err(),
            soon(tier.release(place.clone())).await.unwrap_err(),
        ] {
            assert!(matches!(error, TierError::Missing { .. }), "{error}");
            assert!(
                error.to_string().contains(&place.number.to_string()),
                "{error}"
            );
        }
        for (seed, kept) in (seed + 1..).zip(&places[seed as usize + 1..]) {
            let back = read(tier, kept, 0, kept.bytes).await.unwrap();
            assert!(back.bytes() == payload(seed, kept.bytes).bytes());
        }
    }
    // A number is never given twice.
    let next = soon(tier.put(payload(9, 10))).await.unwrap();
    assert!(places.iter().all(|place| place.number != next.number));
    soon(tier.release(next)).await.unwrap();
    harness.empty().await;
}

pub(in crate::tier) async fn places_that_are_not_its_own_are_refused<T: Tier>(harness: Harness<T>) {
    let tier = &harness.tier;
    let content = payload(5, 3000);
    let place = soon(tier.put(content.clone())).await.unwrap();
    let other_kind = match place.kind {
        TierKind::Spill => TierKind::Shared,
        _ => TierKind::Spill,
    };
    let forged = [
        Place {
            kind: other_kind,
            ..place.clone()
        },
        Place {
            store: place.store + 1,
            ..place.clone()
        },
        Place {
            number: place.number + 1,
            ..place.clone()
        },
        Place {
            number: u64::MAX,
            ..place.clone()
        },
        Place {
            bytes: 3001,
            ..place.clone()
        },
        Place {
            bytes: u64::MAX,
            ..place.clone()
        },
        Place {
            bytes: 2999,
            ..place.clone()
        },
        Place {
            body: Body::Life("../up/7".into()),
            ..place.clone()
        },
        Place {
            body: Body::Life("nobody/7".into()),
            ..place.clone()
        },
        Place {
            body: Body::Inline([1, 2].as_slice().into()),
            ..place.clone()
        },
    ];
    for forged in forged {
        let error = read(tier, &forged, 0, 2000).await.map(drop).unwrap_err();
        // Inline, a body that was exchanged is one that was damaged on its way.
        assert!(
            matches!(
                error,
                TierError::Missing { .. } | TierError::Refused { .. } | TierError::Damaged { .. }
            ),
            "{forged:?}: {error}"
        );
        if tier.kind() == TierKind::Inline
            && (forged.bytes, forged.number) == (place.bytes, place.number)
            && forged.store == place.store
            && forged.kind == place.kind
        {
            continue; // it is let go by its number: its body is whatever the message holds
        }
        let error = soon(tier.release(forged.clone())).await.unwrap_err();
        assert!(
            matches!(error, TierError::Missing { .. } | TierError::Refused { .. }),
            "{forged:?}: {error}"
        );
        assert_eq!(tier.used().count, 1);
    }
    let back = read(tier, &place, 0, 3000).await.unwrap();
    assert!(back.bytes() == content.bytes());
    soon(tier.release(place)).await.unwrap();
    harness.empty().await;
}

pub(in crate::tier) async fn beyond_its_limit_it_is_full_and_has_room_again_when_something_goes<
    T: Tier,
>(
    harness: Harness<T>,
) {
    let tier = &harness.tier;
    let bytes = harness.payload_bytes_max.min(harness.bytes_max / 4);
    let mut places = Vec::new();
    let error = loop {
        match soon(tier.put(payload(places.len() as u64, bytes))).await {
            Ok(place) => places.push(place),
            Err(error) => break error,
        }
        assert!(places.len() as u64 * bytes <= harness.bytes_max);
        assert!(tier.used().held <= harness.bytes_max + harness.bytes_max / 8);
    };
    assert!(matches!(error, TierError::Full { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains(&bytes.to_string()) && text.contains(&tier.kind().to_string()),
        "{text}"
    );
    assert!(places.len() >= 3, "{text}");
    let full = tier.used();
    for (seed, place) in (0..).zip(&places) {
        let back = read(tier, place, 0, bytes).await.unwrap();
        assert!(
            back.bytes() == payload(seed, bytes).bytes(),
            "who was refused has spoiled nothing"
        );
    }
    soon(tier.release(places.remove(1))).await.unwrap();
    places.push(soon(tier.put(payload(77, bytes))).await.unwrap());
    assert_eq!(tier.used().bytes, full.bytes);
    let last = places.last().unwrap();
    assert!(read(tier, last, 0, bytes).await.unwrap().bytes() == payload(77, bytes).bytes());
    if harness.bytes_max < u64::from(u32::MAX) {
        let error = soon(tier.put(payload(1, harness.bytes_max + 1)))
            .await
            .unwrap_err();
        assert!(matches!(error, TierError::TooLarge { .. }), "{error}");
    }
    for place in places {
        soon(tier.release(place)).await.unwrap();
    }
    harness.empty().await;
}

pub(in crate::tier) async fn damage_is_detected_and_stays_where_it_is<T: Tier>(
    harness: Harness<T>,
) {
    let Some(damage) = &harness.damage else {
        return; // memory: nothing stands between the bytes and their reader
    };
    let tier = &harness.tier;
    for bytes in [1, 5000, 64 * KIB + 1, 2 * MIB + 77] {
        let content = payload(bytes, bytes);
        let place = soon(tier.put(content.clone())).await.unwrap();
        let other = soon(tier.put(content.clone())).await.unwrap();
        damage(tier, &place);
        let error = read(tier, &place, 0, bytes).await.map(drop).unwrap_err();
        assert!(
            matches!(error, TierError::Damaged { .. }),
            "{bytes}: {error}"
        );
        let window = read(tier, &place, bytes / 2, 1).await.map(drop);
        assert!(matches!(window, Err(TierError::Damaged { .. })), "{bytes}");
        let text = error.to_string();
        assert!(
            text.contains(&format!("payload {}", name(&place))),
            "{text}"
        );
        // A window elsewhere is as it was, and so is another payload.
        let back = read(tier, &other, 0, bytes).await.unwrap();
        assert!(back.bytes() == content.bytes());
        for place in [place, other] {
            soon(tier.release(place)).await.unwrap();
        }
    }
    harness.empty().await;
}

fn name(place: &Place) -> String {
    match &place.body {
        Body::Life(life) => format!("{life}/{}", place.number),
        _ => place.number.to_string(),
    }
}

pub(in crate::tier) async fn a_put_that_is_dropped_leaves_nothing<T: Tier>(harness: Harness<T>) {
    let tier = &harness.tier;
    let bytes = (9 * MIB + 1)
        .min(harness.payload_bytes_max)
        .min(harness.bytes_max / 2);
    let mut finished = false;
    for turns in (0..40).chain([100, 300, 1000]) {
        let content = payload(turns, bytes);
        let held = super::Held::default();
        let content = content.guarded(held.guard());
        let done = {
            let mut put = pin!(tier.put(content));
            poll_for(turns, || {
                put.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            })
            .await
        };
        finished |= done.is_some();
        if let Some(place) = done {
            soon(tier.release(place.unwrap())).await.unwrap();
        }
        soon(tier.settled()).await;
        assert_eq!(
            held.count(),
            0,
            "after {turns} turns somebody still reads what was to be put"
        );
        harness.empty().await;
        // What was let go is of use again.
        let place = soon(tier.put(payload(turns, 1000))).await.unwrap();
        assert!(read(tier, &place, 0, 1000).await.unwrap().bytes() == payload(turns, 1000).bytes());
        soon(tier.release(place)).await.unwrap();
    }
    // Else nothing was seen of the end of a put; an operation that is quick enough is never seen in its middle.
    let _ = finished;
    harness.empty().await;
}

pub(in crate::tier) async fn a_get_that_is_dropped_writes_nothing_later<T: Tier>(
    harness: Harness<T>,
) {
    let tier = &harness.tier;
    let bytes = (5 * MIB + 1).min(harness.payload_bytes_max);
    let place = soon(tier.put(payload(3, bytes))).await.unwrap();
    for turns in (0..40).chain([100, 300]) {
        let (target, memory, held) = watched(bytes, 64);
        {
            let mut get = pin!(tier.get(&place, 0, target));
            poll_for(turns, || {
                get.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            })
            .await;
        }
        soon(tier.settled()).await;
        assert_eq!(held.count(), 0, "after {turns} turns somebody still writes");
        // The range is somebody else's now.
        let before = memory.bytes().to_vec();
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        assert!(memory.bytes() == before);
    }
    let back = read(tier, &place, 0, bytes).await.unwrap();
    assert!(back.bytes() == payload(3, bytes).bytes());
    soon(tier.release(place)).await.unwrap();
    harness.empty().await;
}

pub(in crate::tier) async fn whoever_reads_while_it_is_released_reads_what_was_there<T: Tier>(
    harness: Harness<T>,
) {
    let tier = &harness.tier;
    let bytes = (3 * MIB).min(harness.payload_bytes_max);
    for turns in 0..20 {
        let content = payload(turns, bytes);
        let place = soon(tier.put(content.clone())).await.unwrap();
        let (target, memory, _held) = watched(bytes, 64);
        let mut get = pin!(tier.get(&place, 0, target));
        let done = poll_for(turns, || {
            get.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        })
        .await;
        soon(tier.release(place.clone())).await.unwrap();
        // What comes now must not go where it is still read.
        let next = tier.put(payload(turns + 100, bytes));
        let (next, result) = match done {
            Some(result) => (soon(next).await, result),
            None => soon(join(next, get)).await,
        };
        let next = next.unwrap();
        match result {
            Ok(()) => assert!(memory.bytes() == content.bytes(), "after {turns} turns"),
            // A server may have let it go before it was asked for the rest.
            Err(TierError::Missing { .. })
                if place.kind == TierKind::Remote || place.kind == TierKind::Peer => {}
            // Nothing was done before it was asked for the first time.
            Err(TierError::Missing { .. }) if turns == 0 => {}
            Err(error) => panic!("after {turns} turns: {error}"),
        }
        assert!(
            read(tier, &next, 0, bytes).await.unwrap().bytes()
                == payload(turns + 100, bytes).bytes()
        );
        soon(tier.release(next)).await.unwrap();
    }
    harness.empty().await;
}

/// Polls up to `turns` times, and lets the runtime do what it can in between.
async fn poll_for<R>(turns: u64, mut poll: impl FnMut() -> Poll<R>) -> Option<R> {
    for _ in 0..turns {
        if let Poll::Ready(result) = poll() {
            return Some(result);
        }
        tokio::task::yield_now().await;
    }
    None
}
