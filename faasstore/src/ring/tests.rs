//! The ring's promises: by examples and properties with the standard atomics, by exploration under loom.

use super::*;

/// A message of `slots` slots whose words tell which one it is.
fn message(mark: u64, slots: usize) -> Vec<Slot> {
    let head = u64::from(u32::from_le_bytes([200, slots as u8, 0, 0])) << 32;
    (0..slots as u64)
        .map(|slot| {
            let mut words = [mark << 8 | slot; SLOT_WORDS];
            words[0] = if slot == 0 { head } else { 0 };
            words
        })
        .collect()
}

fn assert_is(read: &Message, mark: u64, slots: usize) {
    assert_eq!(read.slots().len(), slots, "message {mark}");
    for (slot, words) in read.slots().iter().enumerate() {
        assert!(
            words[1..]
                .iter()
                .all(|&word| word == mark << 8 | slot as u64),
            "message {mark}: {words:x?}"
        );
    }
}

#[cfg(not(loom))]
mod examples {
    use super::*;
    use crate::descriptor::{ArenaRange, encode_release, encode_stop, encode_unmap};
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn pair() -> (Producer<HeapRing>, Consumer<HeapRing>, HeapRing) {
        let ring = HeapRing::new(16);
        (
            Producer::new(ring.clone()),
            Consumer::new(ring.clone()),
            ring,
        )
    }

    proptest! {
        #[test]
        fn a_ring_is_a_bounded_queue(steps in proptest::collection::vec((any::<bool>(), 1..=4usize), 1..400)) {
            let (mut producer, mut consumer, _) = pair();
            let (mut queue, mut pushed, mut held) = (VecDeque::new(), 0, 0);
            for (is_push, slots) in steps {
                if is_push {
                    // By itself or in a batch of one, which must be the same.
                    let result = if pushed % 2 == 0 {
                        producer.push(&message(pushed, slots))
                    } else {
                        producer.batch(0).push(&message(pushed, slots))
                    };
                    match result {
                        Ok(()) => { queue.push_back((pushed, slots)); held += slots; pushed += 1; }
                        // Up to a quarter of the ring may have been taken without the producer knowing.
                        Err(error) => { prop_assert_eq!(error, PushError::Full); prop_assert!(held + slots > 12); }
                    }
                    prop_assert!(held <= 16);
                } else {
                    let read = consumer.take().unwrap();
                    prop_assert_eq!(read.is_some(), !queue.is_empty());
                    if let (Some(read), Some((mark, slots))) = (read, queue.pop_front()) {
                        assert_is(&read, mark, slots);
                        held -= slots;
                    }
                }
            }
        }

        #[test]
        fn whatever_a_rogue_producer_writes_is_a_value_or_an_error(words in proptest::collection::vec(any::<u64>(), 128)) {
            let (_, mut consumer, ring) = pair();
            for (index, value) in words.iter().enumerate() {
                // Plausible numbers, so that more than the first comparison is reached.
                let value = if index % 8 == 0 { value & !0xffff_ffff | (index as u64 / 8 + 1) } else { *value };
                ring.slot(index as u64 / 8)[index % 8].store(value, Ordering::Relaxed);
            }
            for _ in 0..40 {
                if consumer.take().is_err() { break; }
            }
        }

        #[test]
        fn whatever_a_rogue_consumer_writes_is_full_or_an_error(heads in proptest::collection::vec(any::<u64>(), 1..50)) {
            let (mut producer, _, ring) = pair();
            for head in heads {
                ring.head().store(head % 64, Ordering::Relaxed);
                for mark in 0..20 {
                    let _ = producer.push(&message(mark, 3));
                }
            }
        }
    }

    #[test]
    fn a_fresh_ring_is_empty() {
        let (_, mut consumer, _) = pair();
        assert!(!consumer.is_ready());
        assert!(consumer.take().unwrap().is_none());
    }

    #[test]
    fn a_message_is_pushed_whole_or_not_at_all() {
        let (mut producer, mut consumer, _) = pair();
        for mark in 0..5 {
            producer.push(&message(mark, 3)).unwrap();
        }
        assert_eq!(producer.push(&message(5, 2)), Err(PushError::Full));
        producer.push(&message(5, 1)).unwrap();
        for mark in 0..5 {
            assert_is(&consumer.take().unwrap().unwrap(), mark, 3);
        }
        assert_is(&consumer.take().unwrap().unwrap(), 5, 1);
    }

    #[test]
    fn a_batch_is_seen_whole_when_it_is_complete() {
        let (mut producer, mut consumer, _) = pair();
        producer.push(&message(0, 1)).unwrap();
        let mut batch = producer.batch(0);
        for mark in 1..5 {
            batch.push(&message(mark, 1 + mark as usize % 2)).unwrap();
        }
        assert_is(&consumer.take().unwrap().unwrap(), 0, 1);
        assert!(!consumer.is_ready() && consumer.take().unwrap().is_none());
        drop(batch);
        for mark in 1..5 {
            let read = consumer.take().unwrap().unwrap();
            assert_is(&read, mark, 1 + mark as usize % 2);
        }
        assert!(consumer.take().unwrap().is_none());
    }

    #[test]
    fn of_a_batch_for_which_there_is_no_room_what_fits_is_pushed() {
        let (mut producer, mut consumer, _) = pair();
        let mut batch = producer.batch(0);
        for mark in 0..5 {
            batch.push(&message(mark, 3)).unwrap();
        }
        assert_eq!(batch.push(&message(5, 2)), Err(PushError::Full));
        batch.push(&message(5, 1)).unwrap();
        assert_eq!(batch.push(&message(6, 1)), Err(PushError::Full));
        drop(batch);
        for mark in 0..6 {
            let slots = if mark < 5 { 3 } else { 1 };
            assert_is(&consumer.take().unwrap().unwrap(), mark, slots);
        }
        assert_eq!(producer.batch(0).push(&message(6, 4)), Ok(()));
        drop(producer.batch(0));
        assert_is(&consumer.take().unwrap().unwrap(), 6, 4);
        assert!(
            consumer.take().unwrap().is_none(),
            "an empty batch is nothing"
        );
    }

    #[test]
    fn whoever_is_about_to_sleep_gives_back_all_that_it_took() {
        let (mut producer, mut consumer, ring) = pair();
        for mark in 0..3 {
            producer.push(&message(mark, 1)).unwrap();
            consumer.take().unwrap().unwrap();
        }
        let head = || ring.head().load(Ordering::Relaxed);
        assert_eq!(head(), 0, "less than a quarter is not worth a cache line");
        consumer.raise_parked();
        assert_eq!((head(), producer.is_parked()), (3, true));
        consumer.lower_parked();
        assert_eq!((head(), producer.is_parked()), (3, false));
    }

    #[test]
    fn a_head_that_moves_back_or_overtakes_the_tail_is_corrupt() {
        let (mut producer, _, ring) = pair();
        for mark in 0..16 {
            producer.push(&message(mark, 1)).unwrap();
        }
        ring.head().store(17, Ordering::Relaxed);
        let beyond = RingError::Head {
            head: 17,
            before: 0,
            tail: 16,
            capacity: 16,
        };
        assert_eq!(
            producer.push(&message(16, 1)),
            Err(PushError::Corrupt(beyond))
        );
        ring.head().store(4, Ordering::Relaxed);
        for mark in 16..20 {
            producer.push(&message(mark, 1)).unwrap();
        }
        ring.head().store(3, Ordering::Relaxed);
        let back = RingError::Head {
            head: 3,
            before: 4,
            tail: 20,
            capacity: 16,
        };
        assert_eq!(
            producer.push(&message(20, 1)),
            Err(PushError::Corrupt(back))
        );
    }

    #[test]
    fn a_message_whose_later_slots_are_missing_is_corrupt() {
        let (_, mut consumer, ring) = pair();
        let first = message(0, 3)[0];
        ring.slot(0)[0].store(first[0] | 1, Ordering::Relaxed);
        assert_eq!(
            consumer.take().unwrap_err(),
            RingError::Torn {
                position: 1,
                found: 0
            }
        );
        assert_eq!(
            consumer.take().unwrap_err(),
            RingError::Torn {
                position: 1,
                found: 0
            },
            "the error stays"
        );
    }

    #[test]
    fn real_messages_cross_between_threads_in_order() {
        let ring = HeapRing::new(64);
        let (mut producer, mut consumer) = (Producer::new(ring.clone()), Consumer::new(ring));
        let sent = std::thread::spawn(move || {
            for round in 0..20_000u32 {
                let range = ArenaRange {
                    segment: round,
                    generation: 1,
                    offset: 64,
                    length: 1,
                };
                let messages = [
                    Message::written(|message| encode_unmap(message, round, 7)),
                    Message::written(|message| encode_release(message, &[range, range])),
                    Message::written(encode_stop),
                ];
                for message in messages {
                    while producer.push(message.slots()).is_err() {
                        std::thread::yield_now();
                    }
                }
            }
        });
        for round in 0..20_000u32 {
            for place in 0..3 {
                let read = loop {
                    match consumer.take().unwrap() {
                        Some(read) => break read,
                        None => std::thread::yield_now(),
                    }
                };
                match place {
                    0 => assert_eq!(read.slots()[0][1], u64::from(round) | 7 << 32),
                    1 => assert_eq!(read.slots()[0][4], u64::from(round) | 1 << 32),
                    _ => assert_eq!(read.slots()[0][1..], [0; 7]),
                }
            }
        }
        sent.join().unwrap();
    }
}

/// What loom cannot show: a load that is reordered after a later store, which `publish_head`'s release forbids.
#[cfg(loom)]
mod under_loom {
    use super::*;
    use crate::sync::explore;
    use loom::thread;

    fn pop(consumer: &mut Consumer<HeapRing>) -> Message {
        loop {
            match consumer.take().unwrap() {
                Some(message) => return message,
                None => thread::yield_now(),
            }
        }
    }

    #[test]
    fn messages_of_several_slots_arrive_whole_and_in_order() {
        explore(|| {
            let ring = HeapRing::new(16);
            let (mut producer, mut consumer) = (Producer::new(ring.clone()), Consumer::new(ring));
            let sent = thread::spawn(move || {
                producer.push(&message(1, 2)).unwrap();
                producer.push(&message(2, 1)).unwrap();
            });
            assert_is(&pop(&mut consumer), 1, 2);
            assert_is(&pop(&mut consumer), 2, 1);
            sent.join().unwrap();
        });
    }

    #[test]
    fn a_batch_is_seen_whole() {
        explore(|| {
            let ring = HeapRing::new(16);
            let (mut producer, mut consumer) = (Producer::new(ring.clone()), Consumer::new(ring));
            let sent = thread::spawn(move || {
                let mut batch = producer.batch(0);
                batch.push(&message(1, 2)).unwrap();
                batch.push(&message(2, 1)).unwrap();
                batch.push(&message(3, 2)).unwrap();
            });
            assert_is(&pop(&mut consumer), 1, 2);
            for (mark, slots) in [(2, 1), (3, 2)] {
                let read = consumer
                    .take()
                    .unwrap()
                    .expect("whoever sees the first sees all");
                assert_is(&read, mark, slots);
            }
            sent.join().unwrap();
        });
    }

    #[test]
    fn a_slot_is_not_written_again_before_it_was_read() {
        explore(|| {
            let ring = HeapRing::new(16);
            let (mut producer, mut consumer) = (Producer::new(ring.clone()), Consumer::new(ring));
            for mark in 0..4 {
                producer.push(&message(mark, 4)).unwrap();
            }
            let sent = thread::spawn(move || {
                while producer.push(&message(4, 4)) == Err(PushError::Full) {
                    thread::yield_now();
                }
            });
            for mark in 0..2 {
                assert_is(&pop(&mut consumer), mark, 4);
            }
            sent.join().unwrap();
            for mark in 2..5 {
                assert_is(&pop(&mut consumer), mark, 4);
            }
        });
    }
}
