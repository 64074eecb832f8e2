//! What an activation may return at most, whoever wrote its executor; and what it passes on.

use super::*;
use crate::core::Incoming;
use crate::plan::{InputPlan, MemoryBound, PortMaximum, PortRef, Source, WorkflowInput};
use faasstore::binding::Maximum;

fn declared(plan: &mut Plan, output: u16, maximum: Maximum) {
    plan.maxima.push(PortMaximum {
        port: PortRef::Written { node: 0, output },
        maximum,
    });
}

fn bytes(bytes: u64) -> Maximum {
    Maximum {
        bytes,
        ..Maximum::NONE
    }
}

fn cause(event: Event) -> Option<String> {
    match event {
        Event::Done { .. } => None,
        Event::Failed { class, cause, .. } => {
            assert_eq!(class, ErrorClass::Output);
            Some(cause)
        }
        Event::Want(want) => panic!("{want:?}"),
        Event::Full(full) => panic!("{full:?}"),
    }
}

#[test]
fn what_is_above_its_maximum_fails_the_activation_and_not_the_executor() {
    // Ranges here have 64 bytes.
    for (most, fails) in [(64, false), (63, true)] {
        let mut plan = plan(&[Kind::Bytes, Kind::Bytes]);
        declared(&mut plan, 1, bytes(most));
        let mut bench = Bench::of(plan);
        let told = cause(bench.done(&[own(0), own(1)]).unwrap());
        let expected =
            "output out1 has 64 bytes, above its max_bytes of 63; declare more, or return less";
        assert_eq!(told.as_deref(), fails.then_some(expected));
        if fails {
            assert_eq!(bench.given_back(), [0, 1], "it has everything back");
        }
    }
}

#[test]
fn a_list_has_so_many_items_and_bytes_and_everything_of_it_comes_back() {
    let list = |items, total_bytes| Maximum {
        items,
        total_bytes,
        ..Maximum::NONE
    };
    for (maximum, expected) in [
        (list(2, u64::MAX), "has 3 items, above its max_items of 2"),
        (
            list(3, 191),
            "has 192 bytes in all items together, above its max_total_bytes of 191",
        ),
    ] {
        let mut plan = plan(&[Kind::List]);
        declared(&mut plan, 0, maximum);
        let mut bench = Bench::of(plan);
        let table = bench.table(&[own(0), own(1), own(2)]);
        let told = cause(bench.done(&[table]).unwrap()).unwrap();
        assert!(told.contains(expected), "{told}");
        let back = bench.given_back();
        assert_eq!(back, [0, 1, 2, SEGMENT_BYTES / 128], "{told}");
    }
    let mut plan = plan(&[Kind::List]);
    declared(&mut plan, 0, list(3, 192));
    let mut bench = Bench::of(plan);
    let table = bench.table(&[own(0), own(1), own(2)]);
    assert_eq!(cause(bench.done(&[table]).unwrap()), None);
}

/// A lane whose activation has read 512 bytes, and may return so many; `is_proven` says whether its worst case is.
fn reader(most: u64, is_proven: bool) -> Bench {
    let mut plan = plan(&[Kind::Bytes]);
    plan.inputs = vec![WorkflowInput::new("text", Kind::Bytes)];
    plan.participants[0].inputs = vec![0];
    plan.nodes[0].inputs = vec![InputPlan::new("text", Kind::Bytes, Source::Input(0))];
    declared(&mut plan, 0, bytes(most));
    plan.memory = is_proven.then(|| MemoryBound {
        worker: 0,
        invocation_bytes: 1,
        quota_bytes: 10,
        in_flight_max: 10,
        at_door: vec![10],
        on_lane: vec![10],
    });
    Bench::with_input(plan, Some(&[7; 512]))
}

#[test]
fn a_part_that_would_keep_more_than_is_declared_is_to_be_copied_where_memory_is_proven() {
    let alias = |length| OutputRef::Alias {
        input: 0,
        item: None,
        offset: 100,
        length,
    };
    for (most, is_proven, length, is_copied) in [
        // It keeps 512 bytes, for 10.
        (64, true, 10, true),
        (448, true, 10, true),
        // Of nothing it keeps nothing.
        (64, true, 0, false),
        // That much it may keep.
        (512, true, 10, false),
        (512, true, 400, false),
        // Nothing is promised of what it keeps.
        (64, false, 10, false),
    ] {
        let mut bench = reader(most, is_proven);
        let (event, outputs) = bench.returned(&[alias(length)]).unwrap();
        assert_eq!(cause(event), None);
        let beyond = kept_beyond(ID, &bench.core, &outputs);
        let [(at, part)] = &beyond[..] else {
            assert!(
                !is_copied && beyond.is_empty(),
                "{most} {is_proven} {length}"
            );
            continue;
        };
        assert!(is_copied, "{most} {is_proven} {length}");
        assert_eq!((at.output, at.piece), (0, 0));
        let mapping = bench.segments.mapping(part.segment).unwrap();
        let bytes = mapping.read(part.offset, part.length).unwrap();
        assert_eq!(bytes, vec![7; length as usize]);
    }
}

#[test]
fn what_clients_give_has_its_maximum_at_the_door() {
    let mut plan = plan(&[]);
    plan.inputs = vec![WorkflowInput::new("text", Kind::Bytes)];
    plan.participants[0].inputs = vec![0];
    plan.nodes[0].inputs = vec![InputPlan::new("text", Kind::Bytes, Source::Input(0))];
    plan.maxima = vec![PortMaximum {
        port: PortRef::Input(0),
        maximum: bytes(100),
    }];
    let bench = Bench::with_input(plan, Some(&[7; 100]));
    let form = |bytes| [("text", crate::core::InputForm::Bytes(bytes))];
    assert!(bench.core.would_take("one", &form(100)).is_ok());
    let refusal = bench.core.would_take("one", &form(101)).unwrap_err();
    assert_eq!(
        refusal.reason,
        "input `text` has 101 bytes, above its max_bytes of 100; give less, or declare more"
    );
    assert_eq!(refusal.memory, None);
}

#[test]
fn a_door_takes_as_many_as_are_proven_and_no_more() {
    for most in [1, 3] {
        let mut plan = plan(&[]);
        plan.memory = Some(MemoryBound {
            worker: 0,
            invocation_bytes: 1_000,
            quota_bytes: 3_500,
            in_flight_max: 3,
            at_door: vec![most],
            on_lane: vec![most],
        });
        // One is under way already.
        let mut bench = Bench::of(plan);
        for request in 2..=most {
            let client = ClientId(1);
            let none = Vec::new();
            let taken = bench
                .core
                .invoke(0, client, request, "one", none, Wanted::NOTHING);
            assert!(taken.is_some(), "{request} of {most}");
        }
        let refusal = bench.core.would_take("one", &[]).unwrap_err();
        let memory = refusal.memory.unwrap();
        assert_eq!(
            (memory.invocation_bytes, memory.quota_bytes, memory.at_door),
            (1_000, 3_500, most)
        );
        assert_eq!((memory.worker.as_str(), memory.in_flight_max), ("a", 3));
        assert!(
            refusal.reason.contains("1000 bytes") && refusal.reason.contains("3500 bytes"),
            "{}",
            refusal.reason
        );
        // When one has ended there is room for one more, and not before what runs of it has come back.
        bench.core.cancel(0, ClientId(1), 1);
        assert!(bench.core.would_take("one", &[]).is_err(), "it still runs");
        let done = bench.core.failed(
            0,
            ID,
            bench.activation,
            ErrorClass::Error,
            "told to stop".to_owned(),
        );
        assert!(done.is_ok());
        assert!(bench.core.would_take("one", &[]).is_ok());
    }
}

#[test]
fn who_holds_what_is_told_by_name_and_since_when() {
    let mut plan = plan(&[]);
    plan.inputs = vec![WorkflowInput::new("text", Kind::Bytes)];
    plan.participants[0].inputs = vec![0];
    plan.nodes[0].inputs = vec![InputPlan::new("text", Kind::Bytes, Source::Input(0))];
    let bench = Bench::with_input(plan, Some(&[7; 300]));
    let holders = bench.core.holders(5_000, 8);
    assert_eq!(holders.len(), 1);
    assert_eq!(
        (
            holders[0].workflow.as_str(),
            holders[0].age_ns,
            holders[0].bytes
        ),
        ("one", 5_000, 300)
    );
    assert_eq!(holders[0].payloads, [("input.text".to_owned(), 300)]);
    assert_eq!(Bench::of(super::plan(&[])).core.holders(0, 8), []);
}

/// The input of a lane's activation, in the lane's own arena.
pub(in crate::lane) fn arrived(
    arena: &mut Arena,
    segments: &mut Segments,
    bytes: &[u8],
) -> Incoming {
    let reservation = arena.reserve(bytes.len() as u64).unwrap();
    adopt_own_segments(segments, arena);
    arena.bytes_mut(&reservation)[..bytes.len()].copy_from_slice(bytes);
    let range = arena.commit(reservation, bytes.len() as u64);
    Incoming::One(lease_own(range, segments))
}
