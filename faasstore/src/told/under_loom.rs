//! The word, explored by loom: what ships, with the kernel's part of a sleep modelled.
//!
//! A wake-up that is lost shows as a deadlock, which loom reports.

use super::{Cancelled, look, take_back, tell, wait};
use crate::sync::{AtomicU64, ModelledFutex, Ordering, explore};
use loom::thread;
use std::sync::Arc;

struct Model {
    word: AtomicU64,
    futex: ModelledFutex,
}

impl Model {
    fn new(word: u64) -> Arc<Self> {
        Arc::new(Self {
            word: AtomicU64::new(word),
            futex: ModelledFutex::default(),
        })
    }

    fn tell(&self, activation: u32, why: Cancelled) {
        tell(&self.word, activation, why, || self.futex.wake_all());
    }

    fn wait(&self, activation: u32) -> Option<Cancelled> {
        let sleep = |expected, _| self.futex.wait(&self.word, expected);
        wait(&self.word, activation, None, sleep)
    }
}

#[test]
fn all_who_sleep_until_they_are_told_are_woken() {
    explore(|| {
        let model = Model::new(0);
        let sleeper = {
            let model = Arc::clone(&model);
            thread::spawn(move || assert_eq!(model.wait(1), Some(Cancelled::ByClient)))
        };
        let engine = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.tell(1, Cancelled::ByClient))
        };
        assert_eq!(model.wait(1), Some(Cancelled::ByClient));
        engine.join().unwrap();
        sleeper.join().unwrap();
    });
}

#[test]
fn a_word_that_is_taken_back_while_the_next_one_sleeps_stops_and_wakes_that_only_for_its_own() {
    explore(|| {
        // The first one has been told, and has ended; the next one runs before the engine has seen that.
        let told = AtomicU64::new(0);
        tell(&told, 1, Cancelled::TimedOut, || ());
        let model = Model::new(told.load(Ordering::Relaxed));
        let engine = {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                take_back(&model.word);
                model.tell(2, Cancelled::ByClient);
            })
        };
        let seen = look(&model.word, 2);
        assert!(matches!(seen, None | Some(Cancelled::ByClient)));
        assert_eq!(model.wait(2), Some(Cancelled::ByClient));
        engine.join().unwrap();
    });
}
