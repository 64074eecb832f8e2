//! Worst cases that were reckoned by hand.

use super::*;
use crate::definition::parse;
use crate::place::{Options, place};
use std::collections::BTreeMap;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What is proven of a workflow on workers of so many lanes, each node on the worker that is named; the others on the first.
fn proven(text: &str, lanes: &[u8], pins: &[(&str, usize)]) -> Proven {
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    assert_eq!(undeclared(&definition), []);
    let graph = Graph::of(&definition);
    let worker = |(at, lanes): (usize, &u8)| WorkerCapacity {
        lanes: *lanes,
        ..WorkerCapacity::new(format!("w{at}"), 99, 1 << 40)
    };
    let workers: Vec<WorkerCapacity> = lanes.iter().enumerate().map(worker).collect();
    let pinned: BTreeMap<&str, usize> = pins.iter().copied().collect();
    let fixed = definition.nodes.iter().map(|node| {
        let name = node.name.value.as_str();
        let at = pinned.get(name).copied().unwrap_or(0);
        (name.to_owned(), format!("w{at}"))
    });
    let options = Options {
        fixed: fixed.collect(),
        ..Options::default()
    };
    let placement = place(&graph, &workers, &options).unwrap();
    foretell(&definition, &graph, &placement, &workers)
}

fn alone(text: &str) -> u64 {
    let proven = proven(text, &[1], &[]);
    assert_eq!(proven.worst.by_worker, [proven.worst.in_all]);
    proven.worst.in_all
}

#[test]
fn of_a_chain_a_payload_is_gone_when_its_reader_has_ended() {
    let text = "
workflow: w
input: { i: { kind: bytes, max_bytes: 100 } }
nodes:
  a: { function: e:f, input: { i: input.i }, output: { o: { kind: bytes, max_bytes: 1000 } } }
  b: { function: e:f, input: { i: a.o }, output: { o: { kind: bytes, max_bytes: 3000 } } }
  c: { function: e:f, input: { i: b.o }, output: { o: { kind: bytes, max_bytes: 500 } } }
output: { o: c.o }
";
    // Ranges of 128, 1024, 3008 and 512 bytes: the most is there while b runs, and still reads what a made.
    assert_eq!(alone(text), 1024 + 3008);
}

#[test]
fn branches_are_there_together_and_what_leaves_the_workflow_stays() {
    let text = "
workflow: w
nodes:
  a: { function: e:f, output: { o: { kind: bytes, max_bytes: 640 } } }
  b: { function: e:f, input: { i: a.o }, output: { o: { kind: bytes, max_bytes: 64 } } }
  c: { function: e:f, input: { i: a.o }, output: { o: { kind: bytes, max_bytes: 128 } } }
  d: { function: e:f, input: { b: b.o, c: c.o }, output: { o: { kind: bytes, max_bytes: 320 } } }
output: { o: d.o, b: b.o }
";
    // While b and c run: 640 + 64 + 128. While d runs: 64 + 128 + 320.
    assert_eq!(alone(text), 832);
    let large = text.replace("max_bytes: 320", "max_bytes: 6400");
    assert_eq!(alone(&large), 64 + 128 + 6400);
}

#[test]
fn after_orders_as_data_does_and_a_join_of_some_does_not() {
    let text = |join: &str| {
        format!(
            "
workflow: w
nodes:
  a: {{ function: e:f, output: {{ o: {{ kind: bytes, max_bytes: 640 }} }} }}
  b: {{ function: e:f, input: {{ i: a.o }} }}
  c: {{ function: e:f, after: [b] {join}, output: {{ o: {{ kind: bytes, max_bytes: 320 }} }} }}
output: {{ o: {{ from: c.o, optional: true }} }}
"
        )
    };
    assert_eq!(alone(&text("")), 640);
    assert_eq!(alone(&text(", join: any")), 640 + 320);
}

#[test]
fn of_a_foreach_as_many_items_count_as_run_at_once_and_all_that_is_gathered() {
    let text = |parallelism: u32| {
        format!(
            "
workflow: w
input: {{ all: {{ kind: list, max_items: 100, max_bytes: 64 }} }}
nodes:
  a:
    function: e:f
    foreach: {{ list: input.all, parallelism: {parallelism}, divide: never }}
    input: {{ i: item }}
    output: {{ between: {{ kind: bytes, max_bytes: 1024 }} }}
  b:
    function: e:f
    foreach: a.between
    input: {{ i: item }}
    output: {{ o: {{ kind: bytes, max_bytes: 128 }} }}
  c: {{ function: e:f, input: {{ all: b.o }}, output: {{ o: {{ kind: bytes, max_bytes: 256 }} }} }}
output: {{ o: c.o }}
"
        )
    };
    // The list, what is between of so many items, and all that b gathers.
    let (list, gathered) = (100 * 64, 100 * 128);
    assert_eq!(alone(&text(4)), list + 4 * 1024 + gathered);
    // Without more than there are items at once.
    assert_eq!(alone(&text(1000)), list + 64 * 1024 + gathered);
    let small = text(1).replace("max_bytes: 1024", "max_bytes: 1");
    // While c runs: what was gathered, its table of a hundred entries, and its output.
    assert_eq!(alone(&small), list + 64 + gathered);
    let later = small.replace("max_bytes: 256", "max_bytes: 6400");
    assert_eq!(alone(&later), gathered + 2432 + 6400);
}

#[test]
fn a_list_has_the_smaller_of_what_its_items_and_all_of_it_may_have() {
    let text = |list: &str| {
        format!(
            "
workflow: w
nodes:
  a: {{ function: e:f, output: {{ o: {{ kind: list, {list} }} }} }}
output: {{ o: a.o }}
"
        )
    };
    // The table of ten entries has 240 bytes.
    let table = 256;
    assert_eq!(alone(&text("max_items: 10, max_bytes: 100")), 1280 + table);
    // Each of ten items may leave 63 bytes of its range empty.
    assert_eq!(
        alone(&text("max_items: 10, max_total_bytes: 200")),
        200 + 630 + table
    );
    assert_eq!(
        alone(&text(
            "max_items: 10, max_total_bytes: 9000, max_bytes: 100"
        )),
        1280 + table
    );
}

#[test]
fn what_goes_to_another_worker_stays_where_it_was_and_is_there_as_well() {
    let text = "
workflow: w
input: { i: { kind: bytes, max_bytes: 64 } }
nodes:
  a: { function: e:f, input: { i: input.i }, output: { o: { kind: bytes, max_bytes: 640 } } }
  b: { function: e:f, input: { i: a.o }, output: { o: { kind: bytes, max_bytes: 320 } } }
  c: { function: e:f, input: { i: b.o }, output: { o: { kind: bytes, max_bytes: 128 } } }
output: { o: c.o }
";
    let proven = proven(text, &[1, 1], &[("b", 1)]);
    // On w0: what a made stays, as it may still be on its way; what b sends, and what c makes. The input is gone by then.
    // On w1, if it takes the invocation: the input, which it passes on, what b makes, and what a sends, which is gone by the
    // time that c gives anything.
    assert_eq!(proven.worst.by_worker, [640 + 320 + 128, 64 + 640 + 320]);
    // Together, if w1 takes it, while b runs: there all of that, and on w0 what a made and, as nobody knows when it comes,
    // what b sends.
    assert_eq!(proven.worst.in_all, 64 + 640 + 320 + 640 + 320);
}

#[test]
fn what_several_outputs_of_the_workflow_name_comes_to_another_worker_as_often() {
    let text = "
workflow: w
nodes:
  a: { function: e:f, output: { o: { kind: bytes, max_bytes: 640 } } }
output: { one: a.o, two: a.o }
";
    let proven = proven(text, &[1, 1], &[]);
    assert_eq!(proven.worst.by_worker, [640, 1280]);
    assert_eq!(proven.worst.in_all, 1920);
}

#[test]
fn what_does_not_declare_is_named() {
    let text = "
workflow: w
input: { i: bytes, j: { kind: list, max_bytes: 4 }, k: value }
nodes:
  a: { function: e:f, input: { i: input.i, j: input.j, k: input.k }, output: { o: bytes, p: value } }
  b: { function: e:f, input: { p: a.p }, output: { o: { kind: list, max_items: 3 } } }
  c: { function: e:f, foreach: { from: 0, to: a.p }, input: { i: item, x: b.o, y: a.o } }
";
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    let told = undeclared(&definition).into_iter();
    let told: Vec<(String, &str)> = told.map(|one| (one.port, one.lacks)).collect();
    let expected = [
        ("input.i", "max_bytes"),
        ("input.j", "max_items"),
        ("a.o", "max_bytes"),
        ("b.o", "max_bytes"),
        ("c/range.items", "max_items"),
    ];
    let expected = expected.map(|(port, lacks)| (port.to_owned(), lacks));
    assert_eq!(told, expected);
    assert!(declares(&definition) && !is_proven(&definition));
}

const ONE: &str = "
workflow: w
nodes:
  a:
    function: e:f
    output: { o: { kind: bytes, max_bytes: 1MiB } }
    resources: { memory_mib: 20, scale: 2 }
    profile: { peak_mib: 4 }
output: { o: a.o }
";

#[test]
fn so_many_are_in_flight_as_the_quota_holds_less_what_is_put_off() {
    let one = proven(ONE, &[1], &[]);
    // Two executors with 16 MiB each, less 4 that they use: 24 MiB, less 256 KiB.
    let of = WorkerMemory {
        name: "w0".to_owned(),
        invocation_bytes: MIB,
        quota_bytes: Some(24 * MIB),
        in_flight_max: Some(23),
    };
    assert_eq!(one.workers, [of]);
    assert_eq!(one.in_flight, Some((0, 23)));
    assert_eq!(one.doors, [[23]]);
    // On two lanes, an executor each.
    let two = proven(ONE, &[2], &[]);
    assert_eq!(two.in_flight, Some((0, 22)));
    assert_eq!(two.doors, [[11, 11]]);
    // Three executors on two lanes: 24 MiB on one, 12 on the other.
    let uneven = ONE.replace("scale: 2", "scale: 3");
    let uneven = proven(&uneven, &[2], &[]);
    assert_eq!(uneven.workers[0].quota_bytes, Some(36 * MIB));
    assert_eq!(uneven.doors, [[23, 11]]);
    // The other worker's door takes some; there it is only passed through.
    let both = proven(ONE, &[1, 1], &[]);
    assert_eq!(both.workers[1].quota_bytes, None);
    assert_eq!(both.doors, [[12], [11]]);
    // The workflow is to have less, or could have more than its executors leave over.
    for (mib, in_flight) in [(9, 8), (64, 23)] {
        let given = ONE.replace("nodes:", &format!("store: {{ quota_mib: {mib} }}\nnodes:"));
        assert_eq!(proven(&given, &[1], &[]).in_flight, Some((0, in_flight)));
    }
    let small = ONE.replace("memory_mib: 20", "memory_mib: 5");
    assert_eq!(proven(&small, &[1], &[]).in_flight, Some((0, 0)));
}

#[test]
fn constants_take_their_part_of_every_lane() {
    let text = "70000 bytes: ".repeat(70_000 / 13);
    let with = ONE.replace(
        "function: e:f",
        &format!("function: e:f\n    input: {{ t: {{ text: \"{text}\" }} }}"),
    );
    let proven = proven(
        &with.replace("max_bytes: 1MiB", "max_bytes: 64KiB"),
        &[1],
        &[],
    );
    let left = 24 * MIB - 256 * KIB - (text.len() as u64).div_ceil(64) * 64;
    assert_eq!(proven.in_flight, Some((0, left / (64 * KIB))));
}

#[test]
fn what_may_be_in_flight_needs_no_more_than_a_lane_has() {
    let lane = |invocations| LaneRoom {
        bytes: 1_000,
        fixed: 100,
        invocations,
    };
    let room = Room(vec![lane(3), lane(9), lane(u64::MAX)]);
    assert_eq!(room.needed(5, 100), [400, 600, 600]);
    assert_eq!(room.needed(5, 0), [100; 3]);
}

#[test]
fn no_lane_gets_more_than_it_holds_and_none_is_left_out() {
    let room = |lanes: usize, invocations: u64| {
        let lane = |_| LaneRoom {
            bytes: 0,
            fixed: 0,
            invocations,
        };
        Some(Room((0..lanes).map(lane).collect()))
    };
    let worker = |lanes: u8| WorkerRef {
        name: String::new(),
        address: String::new(),
        lanes,
        epoch: 1,
    };
    // Lanes 0 and 2 of the first live on lane 0 of the second.
    let shares = doors(&[worker(3), worker(2)], &[room(3, 100), room(2, 10)]);
    assert_eq!(shares, [vec![4, 5, 3], vec![3, 5]]);
    // One lane of one worker holds less than the others.
    let shares = doors(&[worker(1), worker(1)], &[room(1, 1), None]);
    assert_eq!(shares, [[1], [0]]);
    let shares = doors(&[worker(2)], &[room(2, u64::MAX)]);
    assert_eq!(shares, [[u64::MAX, u64::MAX]]);
    assert_eq!(doors(&[worker(2)], &[None]), [[0, 0]]);
}
