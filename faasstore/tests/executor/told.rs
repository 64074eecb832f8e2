//! What a function is told while it runs: that it is to stop, in whatever way it waits for that, and that no other one is.

use crate::engine::Engine;
use faasstore::Cancelled;
use faasstore::binding::WaitStrategy::{Adaptive, Park, Spin};
use std::time::Duration;

const REASONS: [Cancelled; 3] = [
    Cancelled::ByClient,
    Cancelled::TimedOut,
    Cancelled::FailedElsewhere,
];

/// Begins to wait in a way that `functions:wait` knows.
fn wait(engine: &mut Engine, way: &str) {
    let input = engine.payload(way.as_bytes());
    engine.activate("wait", &[input]);
}

/// It runs to its end, and was not told.
#[track_caller]
fn is_not_told(engine: &mut Engine, way: &str) {
    let input = engine.payload(way.as_bytes());
    let outputs = engine.call("wait", &[input]).unwrap();
    assert_eq!(engine.bytes(&outputs[0]), b"not told");
    engine.release(&outputs);
}

#[test]
fn whoever_is_told_at_whatever_moment_ends_with_the_reason_and_its_executor_goes_on() {
    for strategy in [Spin, Adaptive, Park] {
        let mut engine = Engine::start(strategy);
        for way in ["sleep", "look", "check", "poll", "threads"] {
            for round in 0..40 {
                wait(&mut engine, way);
                // Before it has begun, while it falls asleep, and long after.
                std::thread::sleep(Duration::from_micros([0, 20, 100, 2000][round % 4]));
                let why = REASONS[round % 3];
                assert_eq!(engine.stop(why), why.to_string(), "{way}, round {round}");
                if round % 10 == 0 {
                    is_not_told(&mut engine, "nap");
                    is_not_told(&mut engine, "poll a nap");
                }
            }
        }
    }
}

#[test]
fn a_word_that_comes_too_late_stops_no_later_activation() {
    let mut engine = Engine::start(Adaptive);
    is_not_told(&mut engine, "poll a nap");
    // The lane has not read the completion yet: the word is for what has ended, and stands while the next one runs.
    let ended = engine.last();
    for way in ["nap", "poll a nap", "nap"] {
        engine.channel.tell(ended, Cancelled::ByClient);
        is_not_told(&mut engine, way);
    }
    for way in ["sleep", "poll"] {
        engine.channel.tell(ended, Cancelled::ByClient);
        wait(&mut engine, way);
        std::thread::sleep(Duration::from_millis(2));
        // As a lane does, whatever it reads first.
        engine.channel.take_back();
        assert_eq!(
            engine.stop(Cancelled::TimedOut),
            Cancelled::TimedOut.to_string()
        );
    }
}

#[test]
fn a_word_that_comes_before_its_activation_begins_stops_it_at_once() {
    let mut engine = Engine::start(Park);
    for way in ["sleep", "look", "check", "poll", "threads", "poll"] {
        let next = engine.last() + 1;
        engine.channel.tell(next, Cancelled::ByClient);
        wait(&mut engine, way);
        assert_eq!(engine.failure(), Cancelled::ByClient.to_string(), "{way}");
        engine.channel.take_back();
    }
}

#[test]
fn a_word_told_twice_is_told_once() {
    let mut engine = Engine::start(Park);
    for way in ["sleep", "poll", "threads"] {
        wait(&mut engine, way);
        let last = engine.last();
        engine.channel.tell(last, Cancelled::ByClient);
        engine.channel.tell(last, Cancelled::ByClient);
        assert_eq!(engine.failure(), Cancelled::ByClient.to_string());
        engine.channel.take_back();
        is_not_told(&mut engine, "poll a nap");
    }
}

#[test]
fn an_executor_that_is_killed_while_it_is_told_disturbs_no_engine() {
    for way in ["sleep", "look", "poll"] {
        let mut engine = Engine::start(Adaptive);
        wait(&mut engine, way);
        engine.child.kill().unwrap();
        let last = engine.last();
        engine.channel.tell(last, Cancelled::FailedElsewhere);
        engine.child.wait().unwrap();
        engine.channel.tell(last, Cancelled::FailedElsewhere);
        engine.channel.take_back();
    }
}
