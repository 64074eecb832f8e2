//! What outputs declare at most, held by the SDK before memory is taken.

use super::engine::{Engine, executable, nodes};
use faasstore::binding::WaitStrategy::Park;
use faasstore::binding::{Maximum, NodeBinding};
use faasstore::descriptor::PayloadRef;

fn bytes(bytes: u64) -> Maximum {
    Maximum {
        bytes,
        ..Maximum::NONE
    }
}

fn list(items: u64, bytes: u64, total_bytes: u64) -> Maximum {
    Maximum {
        bytes,
        items,
        total_bytes,
    }
}

/// An executor of the example with one of its nodes, whose outputs declare this.
fn start(function: &str, maxima: &[Maximum]) -> Engine {
    let mut all = nodes().into_iter();
    let node = all.find(|node| node.function == function).unwrap();
    let node = NodeBinding {
        maxima: maxima.to_vec(),
        ..node
    };
    Engine::start_one_of(&executable(), Park, vec![node])
}

#[test]
fn an_output_that_is_copied_has_its_maximum_and_no_byte_more() {
    let mut engine = start("upper", &[bytes(4)]);
    let [fits, exceeds] = [&b"four"[..], b"fives"].map(|text| engine.payload(text));
    let outputs = engine.call("upper", &[fits]).unwrap();
    assert_eq!(engine.bytes(&outputs[0]), b"FOUR");
    let failure = engine.call("upper", &[exceeds]).unwrap_err();
    assert!(
        failure.starts_with("Output: output ")
            && failure.contains("has 5 bytes, above its max_bytes of 4"),
        "{failure}"
    );
    // The executor goes on.
    engine.call("upper", &[fits]).unwrap();
}

#[test]
fn room_that_is_reserved_is_refused_before_memory_is_looked_for() {
    // Far more than the arena may have: without the maximum it would be a lack of memory.
    let mut engine = start("fail", &[Maximum::NONE, bytes(100)]);
    let way = engine.payload(b"memory");
    let failure = engine.call("fail", &[way]).unwrap_err();
    assert!(
        failure.starts_with("Output: output second has 1099511627776 bytes"),
        "{failure}"
    );
    let mut engine = start("join", &[bytes(5)]);
    let parts = [b"abc", b"def"].map(|part| engine.payload(part));
    let parts = engine.table(&parts);
    let failure = engine.call("join", &[parts]).unwrap_err();
    assert!(
        failure.contains("output whole has 6 bytes, above its max_bytes of 5"),
        "{failure}"
    );
}

#[test]
fn a_stream_ends_at_its_maximum_and_says_which_output_it_was() {
    // "0\n" to "99\n" are 290 bytes.
    let mut engine = start("count", &[bytes(290), Maximum::NONE]);
    let to = engine.payload(b"100");
    let outputs = engine.call("count", &[to]).unwrap();
    assert_eq!(engine.bytes(&outputs[0]).len(), 290);
    engine.release(&outputs);
    let mut engine = start("count", &[bytes(289), Maximum::NONE]);
    let to = engine.payload(b"100");
    let failure = engine.call("count", &[to]).unwrap_err();
    // The function passed an error of I/O on; it is told as what it was.
    assert!(
        failure.starts_with("Output: output lines has ")
            && failure.contains("above its max_bytes of 289"),
        "{failure}"
    );
}

#[test]
fn a_value_may_have_less_than_values_may() {
    let mut engine = start("count", &[Maximum::NONE, bytes(4)]);
    let [even, odd] = [&b"2"[..], b"3"].map(|to| engine.payload(to));
    engine.call("count", &[even]).unwrap();
    let failure = engine.call("count", &[odd]).unwrap_err();
    assert!(
        failure.contains("output even has 5 bytes, above its max_bytes of 4"),
        "{failure}"
    );
}

#[test]
fn a_list_has_so_many_items_of_so_many_bytes_and_so_many_in_all() {
    // "one\n", "two\n", "\n", "no newline": aliases, 19 bytes in all.
    let text = b"one\ntwo\n\nno newline";
    let unlimited = u64::MAX;
    for (maximum, wrong) in [
        (list(4, 10, 19), None),
        (
            list(3, 10, 19),
            Some("has 4 items, above its max_items of 3"),
        ),
        (
            list(4, 9, 19),
            Some("has 10 bytes in item 3, above its max_bytes of 9"),
        ),
        (
            list(unlimited, unlimited, 18),
            Some("has 19 bytes in all items together, above its max_total_bytes of 18"),
        ),
    ] {
        let mut engine = start("split", &[maximum]);
        let text = engine.payload(text);
        match (engine.call("split", &[text]), wrong) {
            (Ok(_), None) => {}
            (Err(failure), Some(wrong)) => assert!(failure.contains(wrong), "{failure}"),
            (result, _) => panic!("{maximum:?}: {result:?}"),
        }
    }
}

#[test]
fn items_by_every_means_count_towards_the_maximum() {
    // Copied, archived, filled in place, empty, passed on.
    for (items, fits) in [(5, true), (4, false), (3, false), (2, false), (1, false)] {
        let mut engine = start("assort", &[list(items, u64::MAX, u64::MAX)]);
        let parts = [b"first", b"other"].map(|part| engine.payload(part));
        let parts = engine.table(&parts);
        assert_eq!(engine.call("assort", &[parts]).is_ok(), fits, "{items}");
    }
    let mut engine = start("measure", &[list(3, 10, u64::MAX)]);
    let empty = engine.call("measure", &[PayloadRef::EMPTY]).unwrap();
    assert_eq!(empty.len(), 1, "no items are within any maximum");
}
