//! Arenas that are full in the middle of an activation.

use super::engine::{ARENA_BYTES_MAX, Engine, SEGMENT_BYTES};
use faasstore::binding::WaitStrategy::{self, Adaptive, Park, Spin};
use faasstore::descriptor::{
    Completion, Full, Message, OutputRef, PayloadRef, RoomAnswer, encode_stop, encode_unmap,
};

/// An executor whose arena is full of outputs of a segment each, and what it is to make one more of.
fn crowded(wait: WaitStrategy) -> (Engine, PayloadRef, Vec<OutputRef>) {
    let mut engine = Engine::start(wait);
    let input = engine.payload(&vec![b'x'; SEGMENT_BYTES as usize]);
    // What is left has room for the text of a failure.
    let shorter = engine.payload(&vec![b'x'; SEGMENT_BYTES as usize - 8192]);
    let mut held = Vec::new();
    for _ in 1..ARENA_BYTES_MAX / SEGMENT_BYTES {
        held.extend(engine.call("upper", &[input]).unwrap());
    }
    held.extend(engine.call("upper", &[shorter]).unwrap());
    (engine, input, held)
}

/// The next completion that is not about a segment which has gone.
fn next(engine: &mut Engine) -> (Completion, Vec<OutputRef>) {
    loop {
        let (completion, outputs) = engine.completion();
        if !matches!(completion, Completion::Retire { .. }) {
            return (completion, outputs);
        }
    }
}

/// That the last activation waits for room.
fn waits(engine: &mut Engine, bytes: u64, again: bool) {
    let activation = engine.last();
    let full = Full {
        activation,
        bytes,
        again,
    };
    assert_eq!(next(engine).0, Completion::Full(full));
}

#[test]
fn who_finds_its_arena_full_waits_and_goes_on_with_what_comes_back() {
    for wait in [Spin, Adaptive, Park] {
        let (mut engine, input, mut held) = crowded(wait);
        for _ in 0..20 {
            engine.activate("upper", &[input]);
            waits(&mut engine, SEGMENT_BYTES, false);
            // What has come back is told before the answer.
            engine.answer_full(RoomAnswer::Back);
            waits(&mut engine, SEGMENT_BYTES, true);
            engine.release(&held[..1]);
            engine.answer_full(RoomAnswer::Back);
            let (completion, outputs) = next(&mut engine);
            let Completion::Done { activation, .. } = completion else {
                panic!("{completion:?}");
            };
            assert_eq!(activation, engine.last());
            assert_eq!(
                engine.bytes(&outputs[0]),
                vec![b'X'; SEGMENT_BYTES as usize]
            );
            held.remove(0);
            held.extend(outputs);
        }
    }
}

#[test]
fn who_is_told_that_nothing_comes_back_fails_with_figures_and_what_helps() {
    let (mut engine, input, held) = crowded(Adaptive);
    for (answer, told) in [
        (RoomAnswer::Never, "--spill-max and --store"),
        (RoomAnswer::Late, "has come back for 5 s"),
        (RoomAnswer::Stopped, "is to stop"),
    ] {
        engine.activate("upper", &[input]);
        waits(&mut engine, SEGMENT_BYTES, false);
        engine.answer_full(answer);
        let text = engine.failure();
        let figures = format!("of at most {ARENA_BYTES_MAX} bytes");
        assert!(text.contains(told) && text.contains(&figures), "{text}");
    }
    engine.release(&held);
    assert!(engine.call("upper", &[input]).is_ok(), "as good as new");
}

#[test]
fn a_stream_that_outgrows_the_arena_waits_as_well_and_keeps_what_it_has() {
    let (mut engine, _, held) = crowded(Adaptive);
    engine.release(&held[..2]);
    let lines = |to: u32| (0..to).map(|line| format!("{line}\n")).collect::<String>();
    // Beyond the two segments that are free.
    let to = 100_000;
    let whole = lines(to);
    assert!(whole.len() as u64 > 2 * SEGMENT_BYTES && (whole.len() as u64) < 3 * SEGMENT_BYTES);
    let input = engine.payload(to.to_string().as_bytes());
    engine.activate("count", &[input]);
    let mut left = held[2..].iter();
    let outputs = loop {
        let (completion, outputs) = next(&mut engine);
        match completion {
            Completion::Full(_) => {
                engine.release(&[*left.next().expect("more than it has")]);
                engine.answer_full(RoomAnswer::Back);
            }
            Completion::Done { .. } => break outputs,
            other => panic!("{other:?}"),
        }
    };
    assert!(left.len() < 2, "it has waited");
    assert!(engine.bytes(&outputs[0]) == whole.as_bytes());
}

#[test]
fn what_can_never_fit_is_not_waited_for() {
    let (mut engine, _, _) = crowded(Adaptive);
    let input = engine.payload(&vec![b'x'; ARENA_BYTES_MAX as usize + 1]);
    engine.activate("upper", &[input]);
    let text = engine.failure();
    assert!(text.contains("no room for"), "{text}");
}

#[test]
fn what_else_comes_while_it_waits_is_seen_to() {
    let (mut engine, input, held) = crowded(Park);
    let seen = engine.payload(b"seen");
    engine.activate("upper", &[input]);
    waits(&mut engine, SEGMENT_BYTES, false);
    // What it does not read, and does not know.
    engine.push(&Message::written(|message| {
        encode_unmap(message, 4000, 1);
    }));
    engine.release(&held[..1]);
    engine.answer_full(RoomAnswer::Back);
    assert!(matches!(next(&mut engine).0, Completion::Done { .. }));
    engine.release(&held[1..2]);
    let outputs = engine.call("upper", &[seen]).unwrap();
    assert_eq!(engine.bytes(&outputs[0]), b"SEEN");
}

#[test]
fn an_executor_that_is_told_to_end_while_it_waits_ends_well() {
    let (mut engine, input, _) = crowded(Adaptive);
    engine.activate("upper", &[input]);
    waits(&mut engine, SEGMENT_BYTES, false);
    engine.push(&Message::written(encode_stop));
    assert!(engine.child.wait().unwrap().success());
}
