//! The parking protocol, explored by loom: the ring, the flag and the loops that ship, with the kernel's part of a sleep
//! modelled.
//!
//! A wake-up that is lost shows as a deadlock, which loom reports.

use super::{Sleeper, park, ring};
use crate::descriptor::{Message, encode_unmap};
use crate::ring::{Consumer, HeapRing, Producer, RingMemory};
use crate::sync::{ModelledFutex, explore};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::sync::Arc;

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

fn unmap(segment: u32) -> Message {
    Message::written(|message| encode_unmap(message, segment, 0))
}

fn mark(message: &Message) -> u64 {
    message.slots()[0][1]
}

#[test]
fn an_executor_that_parks_misses_no_request() {
    explore(|| {
        let memory = HeapRing::new(16);
        let futex = Arc::new(ModelledFutex::default());
        let mut producer = Producer::new(memory.clone());
        let waker = {
            let futex = Arc::clone(&futex);
            thread::spawn(move || {
                for request in 1..=2 {
                    producer.push(unmap(request).slots()).unwrap();
                    ring(&producer, || futex.wake());
                }
            })
        };
        let mut consumer = Consumer::new(memory.clone());
        for request in 1..=2 {
            let message = loop {
                if let Some(message) = consumer.take().unwrap() {
                    break message;
                }
                let is_ready = park(&mut consumer, None, |expected, _| {
                    futex.wait(memory.tail(), expected);
                });
                assert!(
                    is_ready,
                    "without a deadline it sleeps until something is there"
                );
            };
            assert_eq!(mark(&message), request);
        }
        waker.join().unwrap();
    });
}

/// A lane of one executor, as the engine's lane of many.
struct Lane {
    completions: Consumer<HeapRing>,
    event: Arc<ModelledEvent>,
}

impl Sleeper for Lane {
    fn set_parked(&mut self, parked: bool) {
        if parked {
            self.completions.raise_parked();
        } else {
            self.completions.lower_parked();
        }
    }

    fn has_work(&self) -> bool {
        self.completions.is_ready()
    }

    fn sleep(&mut self) {
        self.event.read();
    }
}

#[test]
fn a_lane_that_parks_misses_no_completion() {
    explore(|| {
        let memory = HeapRing::new(16);
        let event = Arc::new(ModelledEvent::default());
        let mut producer = Producer::new(memory.clone());
        let waker = {
            let event = Arc::clone(&event);
            thread::spawn(move || {
                for completion in 1..=2 {
                    producer.push(unmap(completion).slots()).unwrap();
                    ring(&producer, || event.write());
                }
            })
        };
        let mut lane = Lane {
            completions: Consumer::new(memory),
            event,
        };
        for completion in 1..=2 {
            let message = loop {
                if let Some(message) = lane.completions.take().unwrap() {
                    break message;
                }
                lane.park();
            };
            assert_eq!(mark(&message), completion);
        }
        waker.join().unwrap();
    });
}
