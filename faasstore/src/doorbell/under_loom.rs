//! The parking protocol, explored by loom: the shipping ring and flag, with the two sleeps modelled.
//!
//! A wake-up that is lost shows as a deadlock, which loom reports.

use super::{is_raised, lower, raise};
use crate::descriptor::{Message, encode_unmap};
use crate::ring::{Consumer, HeapRing, Producer, RingMemory};
use crate::sync::{AtomicU64, Ordering, explore};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::sync::Arc;

/// The kernel's futex: comparing the word and going to sleep is one step against a wake.
#[derive(Default)]
struct ModelledFutex {
    queue: Mutex<()>,
    woken: Condvar,
}

impl ModelledFutex {
    fn wait(&self, word: &AtomicU64, expected: u32) {
        let queue = self.queue.lock().unwrap();
        if word.load(Ordering::SeqCst) as u32 == expected {
            drop(self.woken.wait(queue).unwrap());
        }
    }

    fn wake(&self) {
        let _queue = self.queue.lock().unwrap();
        self.woken.notify_one();
    }
}

/// An eventfd: a count that stays until it is read.
#[derive(Default)]
struct ModelledEvent {
    count: Mutex<u32>,
    written: Condvar,
}

impl ModelledEvent {
    fn write(&self) {
        *self.count.lock().unwrap() += 1;
        self.written.notify_one();
    }

    fn read(&self) {
        let mut count = self.count.lock().unwrap();
        while *count == 0 {
            count = self.written.wait(count).unwrap();
        }
        *count = 0;
    }
}

fn shared() -> (HeapRing, Arc<AtomicU64>) {
    (HeapRing::new(16), Arc::new(AtomicU64::new(0)))
}

fn unmap(segment: u32) -> Message {
    Message::written(|message| encode_unmap(message, segment, 0))
}

fn mark(message: &Message) -> u64 {
    message.slots()[0][1]
}

#[test]
fn an_executor_that_parks_misses_no_request() {
    explore(|| {
        let (ring, flag) = shared();
        let futex = Arc::new(ModelledFutex::default());
        let mut producer = Producer::new(ring.clone());
        let waker = {
            let (flag, futex) = (Arc::clone(&flag), Arc::clone(&futex));
            thread::spawn(move || {
                for request in 1..=2 {
                    producer.push(unmap(request).slots()).unwrap();
                    producer.publish_tail();
                    if is_raised(&flag) {
                        futex.wake();
                    }
                }
            })
        };
        let mut consumer = Consumer::new(ring.clone());
        for request in 1..=2 {
            let message = loop {
                if let Some(message) = consumer.take().unwrap() {
                    break message;
                }
                let expected = ring.tail().load(Ordering::Relaxed) as u32;
                raise(&flag);
                if !consumer.is_ready() {
                    futex.wait(ring.tail(), expected);
                }
                lower(&flag);
            };
            assert_eq!(mark(&message), request);
        }
        waker.join().unwrap();
    });
}

#[test]
fn a_lane_that_parks_misses_no_completion() {
    explore(|| {
        let (ring, flag) = shared();
        let event = Arc::new(ModelledEvent::default());
        let mut producer = Producer::new(ring.clone());
        let waker = {
            let (flag, event) = (Arc::clone(&flag), Arc::clone(&event));
            thread::spawn(move || {
                for completion in 1..=2 {
                    producer.push(unmap(completion).slots()).unwrap();
                    if is_raised(&flag) {
                        event.write();
                    }
                }
            })
        };
        let mut consumer = Consumer::new(ring);
        for completion in 1..=2 {
            let message = loop {
                if let Some(message) = consumer.take().unwrap() {
                    break message;
                }
                raise(&flag);
                if !consumer.is_ready() {
                    event.read();
                }
                lower(&flag);
            };
            assert_eq!(mark(&message), completion);
        }
        waker.join().unwrap();
    });
}
