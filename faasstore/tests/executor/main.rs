//! The executor's promises, kept by a real process: the tests play the engine against `examples/functions.rs`.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

mod commands;
mod engine;
mod maxima;
mod measured;
mod room;
mod told;
mod typed;
mod window;

use engine::{ARENA_BYTES_MAX, Engine, PATIENCE, SEGMENT_BYTES, executable, greet, nodes};
use faasstore::binding::WaitStrategy::{Adaptive, Park, Spin};
use faasstore::descriptor::{
    Completion, Message, OutputRef, PayloadRef, encode_release, encode_stop, encode_unmap,
};
use rkyv::rancor::Error;
use rkyv::{Archive, Deserialize, Serialize};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Archive, Serialize, Deserialize)]
struct Shape {
    name: String,
    sides: Vec<f64>,
}

#[derive(Archive, Serialize, Deserialize)]
struct Area {
    name: String,
    square_metres: f64,
}

#[test]
fn a_function_is_called_and_answers_whatever_the_wait_strategy() {
    for wait in [Spin, Adaptive, Park] {
        let mut engine = Engine::start(wait);
        for round in 0..300 {
            let input = engine.payload(format!("round {round}").as_bytes());
            let outputs = engine.call("upper", &[input]).unwrap();
            assert_eq!(
                engine.bytes(&outputs[0]),
                format!("ROUND {round}").as_bytes(),
                "{wait:?}"
            );
            engine.release(&outputs);
        }
        assert_eq!(
            engine.call("upper", &[PayloadRef::EMPTY]).unwrap(),
            [OutputRef::Empty]
        );
    }
}

#[test]
fn requests_that_wait_in_the_ring_are_served_in_order() {
    let mut engine = Engine::start(Park);
    let input = engine.payload(b"x");
    let asked: Vec<_> = (0..100)
        .map(|_| engine.activate("upper", &[input]))
        .collect();
    for expected in asked {
        let (Completion::Done { activation, .. }, outputs) = engine.completion() else {
            panic!("failed")
        };
        assert_eq!(activation, expected);
        engine.release(&outputs);
    }
}

#[test]
fn a_typed_function_borrows_an_archive_and_makes_one() {
    let mut engine = Engine::start(Adaptive);
    for sides in [vec![2.0, 3.5], vec![1.0; 1000]] {
        let shape = Shape {
            name: "a rectangle".to_owned(),
            sides,
        };
        let input = engine.payload(&rkyv::to_bytes::<Error>(&shape).unwrap());
        let outputs = engine.call("area", &[input]).unwrap();
        let bytes = engine.bytes(&outputs[0]);
        let mut aligned = rkyv::util::AlignedVec::<16>::new();
        aligned.extend_from_slice(&bytes);
        let area = rkyv::from_bytes::<Area, Error>(&aligned).unwrap();
        assert_eq!(
            (area.name.as_str(), area.square_metres),
            ("a rectangle", shape.sides.iter().product())
        );
        engine.release(&outputs);
    }
}

#[test]
fn bytes_that_are_no_archive_fail_the_activation() {
    let mut engine = Engine::start(Adaptive);
    let input = engine.payload(&[0xff; 64]);
    let failure = engine.call("area", &[input]).unwrap_err();
    assert!(
        failure.starts_with("Input: input it is no valid") && failure.contains("Shape"),
        "{failure}"
    );
}

#[test]
fn a_list_output_passes_ranges_of_its_input_on_without_a_copy() {
    let mut engine = Engine::start(Adaptive);
    let input = engine.payload(b"one\ntwo\n\nno newline");
    let outputs = engine.call("split", &[input]).unwrap();
    let alias = |offset, length| OutputRef::Alias {
        input: 0,
        item: None,
        offset,
        length,
    };
    assert_eq!(
        engine.items(&outputs[0]),
        [alias(0, 4), alias(4, 4), alias(8, 1), alias(9, 10)]
    );
    let outputs = engine.call("split", &[PayloadRef::EMPTY]).unwrap();
    assert_eq!(outputs, [OutputRef::Empty], "a list of no items");
}

#[test]
fn a_list_input_is_read_item_by_item_and_shows_what_is_absent() {
    let mut engine = Engine::start(Adaptive);
    let mut items: Vec<_> = [&b"one "[..], b"", b"two "]
        .iter()
        .map(|item| engine.payload(item))
        .collect();
    items.insert(1, PayloadRef::ABSENT);
    let list = engine.table(&items);
    let outputs = engine.call("join", &[list]).unwrap();
    assert_eq!(engine.bytes(&outputs[0]), b"one two ");
    assert_eq!(
        engine.call("join", &[PayloadRef::EMPTY]).unwrap(),
        [OutputRef::Empty]
    );
    let failure = engine.call("join", &[PayloadRef::ABSENT]).unwrap_err();
    assert!(
        failure.starts_with("Input: input parts is absent"),
        "{failure}"
    );
}

#[test]
fn a_list_may_be_as_wide_as_memory_allows() {
    let mut engine = Engine::start(Adaptive);
    let item = engine.payload(b"abcd");
    let list = engine.table(&vec![item; 50_000]);
    let outputs = engine.call("join", &[list]).unwrap();
    assert_eq!(engine.bytes(&outputs[0]), b"abcd".repeat(50_000));
}

#[test]
fn the_items_of_a_list_are_written_by_any_means() {
    let mut engine = Engine::start(Adaptive);
    let list = engine.list(&[b"first", b"second"]);
    let outputs = engine.call("assort", &[list]).unwrap();
    let items = engine.items(&outputs[0]);
    assert_eq!(items.len(), 5);
    assert_eq!(engine.bytes(&items[0]), b"first");
    let archived = engine.bytes(&items[1]);
    let mut aligned = rkyv::util::AlignedVec::<16>::new();
    aligned.extend_from_slice(&archived);
    assert_eq!(
        rkyv::from_bytes::<Area, Error>(&aligned).unwrap().name,
        "archived"
    );
    assert_eq!(engine.bytes(&items[2]), b"placed");
    assert_eq!(items[3], OutputRef::Empty);
    assert_eq!(
        items[4],
        OutputRef::Alias {
            input: 0,
            item: Some(1),
            offset: 1,
            length: 5
        }
    );
}

#[test]
fn more_inputs_and_outputs_than_fit_in_place_travel_in_tables() {
    let mut engine = Engine::start(Adaptive);
    let inputs: Vec<_> = (0..9u8).map(|index| engine.payload(&[index; 3])).collect();
    let outputs = engine.call("reverse", &inputs).unwrap();
    assert_eq!(outputs.len(), 9);
    for (index, output) in (0..9u8).rev().zip(&outputs) {
        assert_eq!(engine.bytes(output), [index; 3]);
    }
}

#[test]
fn optional_inputs_that_are_absent_can_be_told() {
    let mut engine = Engine::start(Adaptive);
    let there = engine.payload(b"there");
    let chosen = engine.call("which", &[there, PayloadRef::ABSENT]).unwrap();
    assert_eq!(
        chosen,
        [OutputRef::Alias {
            input: 0,
            item: None,
            offset: 0,
            length: 5
        }]
    );
    let chosen = engine.call("which", &[PayloadRef::ABSENT, there]).unwrap();
    assert_eq!(
        chosen,
        [OutputRef::Alias {
            input: 1,
            item: None,
            offset: 0,
            length: 5
        }]
    );
}

#[test]
fn values_are_json_and_streams_grow() {
    let mut engine = Engine::start(Adaptive);
    let to = engine.payload(b"10001");
    let outputs = engine.call("count", &[to]).unwrap();
    let expected: String = (0..10_001).map(|number| format!("{number}\n")).collect();
    assert_eq!(engine.bytes(&outputs[0]), expected.as_bytes());
    assert_eq!(engine.bytes(&outputs[1]), b"false");
    let to = engine.payload(b"\"many\"");
    let failure = engine.call("count", &[to]).unwrap_err();
    assert!(
        failure.starts_with("Input: input to is no JSON of a u32"),
        "{failure}"
    );
}

#[test]
fn a_function_knows_which_activation_it_runs_for() {
    let mut engine = Engine::start(Adaptive);
    let outputs = engine.call("describe", &[]).unwrap();
    let text = String::from_utf8(engine.bytes(&outputs[0])).unwrap();
    assert_eq!(
        text,
        format!(
            "hal odyssey the-describe 00000abc-1-2-3 3 None Some({})",
            u64::MAX
        )
    );
    engine.push(&Message::written(encode_stop));
    let log = engine.log.take().unwrap().join().unwrap();
    assert_eq!(log, "odyssey/the-describe 00000abc-1-2-3#3: described\n");
}

#[test]
fn every_failure_is_told_by_code_and_text_and_loses_no_memory() {
    let mut engine = Engine::start(Adaptive);
    let ways = [
        ("error", "Error: as asked for"),
        ("cause", "Error: No such file or directory"),
        ("panic", "Panic: panicked: as asked for, with text"),
        ("leak", "Panic: panicked: after a leak"),
        ("forget", "Output: output second was not written"),
        ("twice", "Output: output first was written twice"),
        (
            "unknown",
            "Output: there is no output third; declared are: first, second",
        ),
        ("memory", "Memory: a payload of 1099511627776 bytes"),
        ("input", "Input: input way is no list"),
        ("archive", "Input: input way is no valid"),
        ("range", "Output: bytes 2..99 of input way, which has 5"),
    ];
    // Each leaves 20,000 bytes behind: without giving them back the arena would be full after one or two rounds.
    for _ in 0..ARENA_BYTES_MAX / 20_000 {
        for (way, expected) in ways {
            let input = engine.payload(way.as_bytes());
            let failure = engine.call("fail", &[input]).unwrap_err();
            assert!(failure.starts_with(expected), "{way}: {failure}");
        }
    }
    let input = engine.payload(b"not at all");
    let outputs = engine.call("fail", &[input]).unwrap();
    assert_eq!(
        engine.bytes(&outputs[1]),
        b"well",
        "and the executor is as good as new"
    );
}

#[test]
fn an_arena_that_is_full_fails_activations_until_something_is_released() {
    let mut engine = Engine::start(Adaptive);
    let input = engine.payload(&vec![b'x'; SEGMENT_BYTES as usize]);
    let mut held = Vec::new();
    let failure = loop {
        match engine.call("upper", &[input]) {
            Ok(outputs) => held.extend(outputs),
            Err(failure) => break failure,
        }
    };
    assert!(failure.starts_with("Memory: "), "{failure}");
    assert_eq!(held.len() as u64, ARENA_BYTES_MAX / SEGMENT_BYTES);
    engine.release(&held[..1]);
    let outputs = engine.call("upper", &[input]).unwrap();
    assert_eq!(
        engine.bytes(&outputs[0]),
        vec![b'X'; SEGMENT_BYTES as usize]
    );
}

#[test]
fn a_payload_that_does_not_exist_fails_its_activation_and_nothing_else() {
    let mut engine = Engine::start(Adaptive);
    let good = engine.payload(b"good");
    let beyond = PayloadRef {
        offset: 1 << 40,
        ..good
    };
    let failure = engine.call("upper", &[beyond]).unwrap_err();
    assert!(
        failure.starts_with("Input: input it cannot be read: 4 bytes at 1099511627776"),
        "{failure}"
    );
    let failure = engine.call("upper", &[]).unwrap_err();
    assert!(
        failure.starts_with("Input: 0 inputs where 1 are declared"),
        "{failure}"
    );
    assert!(engine.call("upper", &[good]).is_ok());
}

#[test]
fn a_segment_of_the_engine_is_mapped_when_it_is_named_and_gone_when_it_is_unmapped() {
    let mut engine = Engine::start(Adaptive);
    let mappings = |engine: &Engine| {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", engine.child.id())).unwrap();
        maps.lines()
            .filter(|line| line.contains("/memfd:inputs-"))
            .count()
    };
    for generation in 0..5 {
        let input = engine.payload(b"here");
        assert_eq!(input.generation, generation);
        if generation != 2 {
            // The third is announced and never named, and goes all the same.
            engine.call("upper", &[input]).unwrap();
            assert_eq!(mappings(&engine), 1);
        }
        let range = faasstore::descriptor::ArenaRange {
            segment: input.segment,
            generation: input.generation,
            offset: input.offset,
            length: input.length,
        };
        engine.arena.release(range).unwrap();
        assert_eq!(engine.arena.trim(0), [(input.segment, input.generation)]);
        engine.push(&Message::written(|message| {
            encode_unmap(message, input.segment, input.generation);
        }));
        engine.call("describe", &[]).unwrap(); // by then it has taken the request before
        assert_eq!(mappings(&engine), 0);
    }
}

#[test]
fn an_idle_executor_gives_its_memory_back() {
    let mut engine = Engine::start(Park);
    let input = engine.payload(&vec![b'x'; SEGMENT_BYTES as usize]);
    let first = engine.call("upper", &[input]).unwrap();
    let second = engine.call("upper", &[input]).unwrap();
    engine.release(&first);
    engine.release(&second);
    assert!(matches!(
        engine.completion().0,
        Completion::Retire { generation: 0, .. }
    ));
    assert!(engine.call("upper", &[input]).is_ok(), "and works on");
}

#[test]
fn an_executor_that_sleeps_gives_back_what_was_held_for_longer_than_it_was_awake() {
    let mut engine = Engine::start(Park);
    let input = engine.payload(&vec![b'x'; SEGMENT_BYTES as usize]);
    let mut outputs = engine.call("upper", &[input]).unwrap();
    outputs.extend(engine.call("upper", &[input]).unwrap());
    // It has been idle, found everything in use, and sleeps again.
    std::thread::sleep(Duration::from_millis(1500));
    for output in outputs {
        let OutputRef::Own(range) = output else {
            panic!("a range of its own: {output:?}");
        };
        let release = Message::written(|message| encode_release(message, &[range]));
        engine.channel.push(&release).unwrap(); // no bell
    }
    assert!(matches!(
        engine.completion().0,
        Completion::Retire { generation: 0, .. }
    ));
}

#[test]
fn ten_thousand_activations_leave_everything_as_it_was() {
    let mut engine = Engine::start(Adaptive);
    let count = |engine: &Engine| {
        let of = |what: &str| {
            std::fs::read_dir(format!("/proc/{}/{what}", engine.child.id()))
                .unwrap()
                .count()
        };
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", engine.child.id())).unwrap();
        (
            of("fd"),
            of("task"),
            maps.lines().filter(|line| line.contains("/memfd:")).count(),
        )
    };
    let input = engine.payload(b"again and again");
    let mut before = None;
    for round in 0..10_000 {
        let outputs = engine.call("upper", &[input]).unwrap();
        engine.release(&outputs);
        if round == 100 {
            before = Some(count(&engine));
        }
    }
    assert_eq!(before, Some(count(&engine)));
}

#[test]
fn an_executor_that_is_told_to_stop_ends_well() {
    let mut engine = Engine::start(Park);
    engine.push(&Message::written(encode_stop));
    assert!(engine.child.wait().unwrap().success());
}

#[test]
fn an_executor_ends_with_its_worker_in_the_middle_of_a_function() {
    let mut engine = Engine::start(Park);
    let begun = std::env::temp_dir().join(format!("faasflow-sleep-{}", std::process::id()));
    let input = engine.payload(begun.as_os_str().as_bytes());
    engine.activate("sleep", &[input]);
    let deadline = Instant::now() + PATIENCE;
    while !begun.exists() {
        assert!(Instant::now() < deadline, "the function does not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::fs::remove_file(begun).unwrap();
    let (other, _) = faasstore::socket::Socket::pair().unwrap();
    let began = Instant::now();
    drop(std::mem::replace(&mut engine.socket, other));
    let status = engine.child.wait().unwrap();
    assert!(!status.success() && began.elapsed() < PATIENCE, "{status}");
}

#[test]
fn a_missing_function_is_refused_by_name() {
    let mut wrong = nodes();
    wrong[3].function = "spilt".to_owned();
    let mut greeted = greet(Park, wrong);
    let refusal = greeted.hello.message.refusal.unwrap();
    assert!(
        refusal.starts_with("node the-split wants function spilt, which functions does not have"),
        "{refusal}"
    );
    assert!(refusal.contains("upper, area"), "{refusal}");
    assert_eq!(greeted.child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_node_whose_ports_do_not_fit_its_function_is_refused_by_name() {
    let mut wrong = nodes();
    wrong[0].inputs.clear();
    let mut greeted = greet(Park, wrong);
    let refusal = greeted.hello.message.refusal.unwrap();
    assert!(
        refusal.contains("node the-upper gives function upper no input"),
        "{refusal}"
    );
    greeted.child.wait().unwrap();
}

#[test]
fn an_executor_runs_where_it_was_told_to() {
    let engine = Engine::start(Park);
    let status = std::fs::read_to_string(format!("/proc/{}/status", engine.child.id())).unwrap();
    assert!(
        status.lines().any(|line| line == "Cpus_allowed_list:\t0"),
        "bound to the CPU it was told"
    );
}

#[test]
fn started_by_hand_an_executable_explains_itself() {
    for stdin in [Stdio::null(), Stdio::piped()] {
        let output = Command::new(executable()).stdin(stdin).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        for expected in [
            "functions:upper",
            "functions:split",
            "functions:measure\n    input shapes: rkyv:struct{name:string,sides:list<f64>} (",
            "faasflow run",
            "--functions DIR",
        ] {
            assert!(text.contains(expected), "{text}");
        }
        assert!(output.stdout.is_empty());
    }
    // The variable alone is not enough: standard input must be the socket.
    let output = Command::new(executable())
        .env("FAASFLOW_WORKER_PID", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}
