//! Lists that do not fit into their workflow's quota, and are read item by item.

use super::flow::{Flow, out, over_list};
use super::quota::rules;
use super::rig::{AWAY, Rig, Use, list};
use engine::core::CompletionError;
use engine::plan::{ErrorClass, ErrorMatch, InputPlan, Retry, Source};
use engine::wire::Failure;
use faasstore::Cancelled;
use faasstore::binding::Kind;

/// Items that are made, of five bytes each.
const ITEMS: u32 = 8;

fn items() -> Vec<String> {
    (0..ITEMS).map(|item| format!("make{item}")).collect()
}

/// `readers` read all that is made.
fn gathered(readers: &[&str]) -> Flow {
    let mut flow = over_list();
    let region = flow.region(Source::Input(0), |_| ());
    let made = flow.function("make", |node| {
        node.region = Some(region);
        node.inputs = vec![super::flow::input("item", Source::Item { up: 0 })];
    });
    for reader in readers {
        flow.function(reader, |node| {
            node.inputs = vec![InputPlan::new("all", Kind::List, out(made))];
            node.retriers = vec![Retry {
                attempts: 2,
                on: vec![ErrorMatch::Class(ErrorClass::Crash)],
                ..Retry::default()
            }];
        });
    }
    flow
}

/// A worker with this quota, on which all items are made, and what reads them runs.
fn made(quota_bytes: u64, readers: &[&str]) -> Rig {
    let mut rig = Rig::short_of_memory(&gathered(readers), rules(quota_bytes));
    let list: Vec<String> = (0..ITEMS).map(|item| item.to_string()).collect();
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    rig.invoke(&[("list", &list)]);
    for _ in 0..100 {
        if readers.iter().all(|reader| rig.runs(reader)) {
            return rig;
        }
        rig.carried(true);
        rig.come_back(None);
        if rig.runs("make") {
            rig.end("make");
        }
    }
    panic!("{readers:?} do not start")
}

/// Asks for an item, without being done with any.
fn ask(rig: &mut Rig, reader: &str, item: u32, usage: Use) {
    rig.want(reader, (Some(item), usage), &[]).unwrap();
}

/// The next answer, once what it takes has been done.
fn answer(rig: &mut Rig) -> (u32, String) {
    for _ in 0..10 {
        if !rig.given.is_empty() {
            return rig.given.remove(0);
        }
        rig.carried(true);
        rig.copied();
        rig.come_back(None);
    }
    panic!("there is no answer")
}

#[test]
fn only_a_list_that_does_not_fit_is_read_item_by_item() {
    let mut rig = made(30, &["all"]);
    assert_eq!(rig.saw("all"), [list(&[AWAY; ITEMS as usize])]);
    assert_eq!(rig.walk("all", ITEMS), items());
    rig.end_all();
    rig.result().unwrap();
    assert_eq!(rig.carried_so_far().windowed, 1);
    rig.nothing_is_left();
    let mut rig = made(60, &["all"]);
    let all = items();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    assert_eq!(rig.saw("all"), [list(&all)]);
    rig.end_all();
    assert_eq!(rig.carried_so_far().windowed, 0);
    rig.nothing_is_left();
}

#[test]
fn any_item_comes_as_often_as_it_is_asked_for_and_goes_when_it_is_done_with() {
    let mut rig = made(30, &["all"]);
    let mut most = 0;
    for item in [7, 0, 3, 3, 7, 1] {
        ask(&mut rig, "all", item, Use::Passing);
        assert_eq!(answer(&mut rig), (item, format!("make{item}")));
        rig.want("all", (None, Use::Passing), &[item]).unwrap();
        rig.carried(true);
        most = most.max(rig.ranges_held());
    }
    assert!(most <= 6, "{most} of five bytes each are in memory");
    rig.end_all();
    rig.result().unwrap();
    rig.nothing_is_left();
}

#[test]
fn what_is_kept_stays_until_the_end_and_can_be_passed_on() {
    let mut rig = made(30, &["all"]);
    ask(&mut rig, "all", 2, Use::Passing);
    let _ = answer(&mut rig);
    ask(&mut rig, "all", 2, Use::Kept);
    assert_eq!(answer(&mut rig), (2, "make2".to_owned()));
    let kept = rig.want("all", (None, Use::Passing), &[2]);
    assert_eq!(kept, Err(CompletionError::Item), "it was to stay");
    assert_eq!(
        rig.pass_item_on("all", 3),
        Err(CompletionError::Alias),
        "it does not have that one"
    );
    rig.pass_item_on("all", 2).unwrap();
    rig.end_all();
    rig.result().unwrap();
    rig.nothing_is_left();
}

#[test]
fn what_cannot_be_wanted_is_refused() {
    let mut rig = made(30, &["all"]);
    let wants = [
        (Some(ITEMS), vec![]),
        (Some(1), vec![0]),
        (None, vec![ITEMS]),
    ];
    for (wanted, done) in wants {
        let refused = rig.want("all", (wanted, Use::Passing), &done);
        assert_eq!(refused, Err(CompletionError::Item), "{wanted:?} {done:?}");
    }
    // What waits already wants nothing more.
    let away = (0..ITEMS).find(|item| {
        ask(&mut rig, "all", *item, Use::Passing);
        rig.given.pop().is_none()
    });
    assert!(away.is_some(), "something is away");
    let refused = rig.want("all", (Some(0), Use::Passing), &[]);
    assert_eq!(refused, Err(CompletionError::Item));
    let _ = answer(&mut rig);
    rig.end_all();
    rig.nothing_is_left();
    // Who reads no list item by item wants none.
    let mut rig = made(60, &["all"]);
    let refused = rig.want("all", (Some(0), Use::Passing), &[]);
    assert_eq!(refused, Err(CompletionError::Item));
    rig.end_all();
    rig.nothing_is_left();
}

#[test]
fn a_walk_finds_what_comes_next_in_memory_as_far_as_there_is_room() {
    let mut rig = made(30, &["all"]);
    let mut ahead = 0;
    for item in 0..ITEMS {
        let done: Vec<u32> = item.checked_sub(1).into_iter().collect();
        rig.want("all", (Some(item), Use::Walking), &done).unwrap();
        ahead += usize::from(!rig.given.is_empty());
        let _ = answer(&mut rig);
        // While it computes.
        rig.carried(true);
        rig.copied();
    }
    assert!(ahead >= ITEMS as usize - 2, "{ahead}");
    let carried = rig.carried_so_far();
    let all = carried.all();
    let fetched = all.back.payloads + all.copied.payloads;
    assert!(fetched <= u64::from(ITEMS), "{carried:?}");
    assert_eq!(carried.overdrawn, 0, "{carried:?}");
    rig.end_all();
    rig.nothing_is_left();
}

#[test]
fn an_executor_that_dies_while_it_waits_gives_everything_back_and_the_next_attempt_reads_again() {
    let mut rig = made(30, &["all"]);
    assert_eq!(rig.walk("all", 5), items()[..5]);
    rig.want("all", (Some(7), Use::Kept), &[4]).unwrap();
    rig.executor_dies("all", "it crashed");
    rig.given.clear();
    while !rig.runs("all") {
        rig.carried(true);
        rig.copied();
        rig.come_back(None);
    }
    assert_eq!(rig.walk("all", ITEMS), items());
    rig.end_all();
    rig.result().unwrap();
    assert_eq!(rig.carried_so_far().windowed, 2);
    rig.nothing_is_left();
}

#[test]
fn who_is_to_stop_waits_no_longer_for_an_item_and_is_given_none() {
    let mut rig = made(20, &["all"]);
    let waits = (0..ITEMS).find(|item| {
        ask(&mut rig, "all", *item, Use::Passing);
        rig.given.pop().is_none()
    });
    let waits = waits.expect("something is away");
    rig.cancel(1);
    assert_eq!(rig.told, [("all".to_owned(), Cancelled::ByClient)]);
    assert_eq!(rig.given, [(waits, "(stopped)".to_owned())]);
    rig.given.clear();
    ask(&mut rig, "all", 0, Use::Kept);
    assert_eq!(rig.given, [(0, "(stopped)".to_owned())]);
    rig.copied();
    assert_eq!(rig.failure(), &Failure::Cancelled);
    rig.end_all();
    rig.nothing_is_left();
}

#[test]
fn an_item_that_cannot_be_got_back_fails_the_invocation_with_its_reason() {
    let mut rig = made(20, &["all"]);
    for item in 0..ITEMS {
        ask(&mut rig, "all", item, Use::Passing);
        if rig.given.pop().is_none() {
            break;
        }
    }
    while rig.not_copied(Some("the disk is gone")) == 0 {
        rig.carried(true);
    }
    let Failure::Payload { node, cause, .. } = rig.failure() else {
        panic!("{:?}", rig.failure());
    };
    assert_eq!(node, "all");
    assert!(cause.contains("the disk is gone"), "{cause}");
    assert_eq!(rig.given[0].1, "(stopped)");
    rig.end_all();
    // Others that were asked for ahead failed as well, and nobody had need of them.
    assert_eq!(rig.carried_so_far().spill.lost, 1);
    rig.nothing_is_left();
}

#[test]
fn an_item_for_which_there_is_no_memory_is_refused_and_one_that_was_not_asked_for_yet_is_tried_again()
 {
    let mut rig = made(30, &["all"]);
    // Whatever was to come before it was asked for finds no room.
    assert_eq!(rig.walk("all", 1), ["make0"]);
    rig.not_copied(None);
    assert_eq!(rig.given, []);
    let mut refused = false;
    for item in 1..ITEMS {
        rig.want("all", (Some(item), Use::Passing), &[item - 1])
            .unwrap();
        while rig.given.is_empty() {
            rig.carried(true);
            refused |= rig.not_copied(None) > 0;
        }
        if refused {
            assert_eq!(rig.given, [(item, "(no room)".to_owned())]);
            break;
        }
        rig.given.clear();
    }
    assert!(refused, "something is away");
    rig.fail("all", ErrorClass::Memory, "no room");
    rig.end_all();
    let _ = rig.failure();
    rig.nothing_is_left();
}

/// Two that keep whatever they are given, in opposite orders: each waits for the other as long as that goes on.
fn keep_all(rig: &mut Rig) {
    let readers = ["first", "second"];
    let item_of = |reader: usize, number: u32| match reader {
        0 => number,
        _ => (2 * ITEMS - 1 - number) % ITEMS,
    };
    let (mut numbers, mut waits) = ([0; 2], [false; 2]);
    for _ in 0..100 {
        for reader in 0..2 {
            if waits[reader] || !rig.runs(readers[reader]) {
                continue;
            }
            if numbers[reader] == ITEMS {
                rig.end(readers[reader]);
                continue;
            }
            let item = item_of(reader, numbers[reader]);
            ask(rig, readers[reader], item, Use::Kept);
            waits[reader] = true;
        }
        rig.carried(true);
        rig.copied();
        rig.come_back(None);
        for (item, text) in std::mem::take(&mut rig.given) {
            assert_eq!(text, format!("make{item}"));
            let asked =
                |reader: &usize| waits[*reader] && item_of(*reader, numbers[*reader]) == item;
            let reader = (0..2).find(asked).expect("somebody has asked for it");
            numbers[reader] += 1;
            waits[reader] = false;
        }
    }
    assert_eq!(numbers, [ITEMS; 2]);
}

#[test]
fn whoever_waits_is_served_in_the_end_whatever_the_quota_says() {
    // Each keeps more than the quota.
    let mut rig = made(30, &["first", "second"]);
    keep_all(&mut rig);
    assert!(rig.carried_so_far().overdrawn > 0);
    rig.end_all();
    rig.result().unwrap();
    rig.nothing_is_left();
    // And there is no room for a single item.
    let mut rig = made(3, &["all"]);
    assert_eq!(rig.walk("all", ITEMS), items());
    rig.end_all();
    rig.result().unwrap();
    rig.nothing_is_left();
}
