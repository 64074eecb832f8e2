//! Edges that say where payloads may go for which memory has no room.

use super::flow::{Flow, input, out, over_list};
use super::quota::{NAMES, rules};
use super::rig::Rig;
use engine::core::store::{StoreRules, Unstored};
use engine::plan::{EdgeStore, InputPlan, NodePlan, Source, StoreChoice};
use faasstore::binding::Kind;
use faasstore::tier::TierKind::{self, Remote, Spill};

/// Both tiers; a disk costs less than a server.
fn both(quota_bytes: u64) -> StoreRules {
    StoreRules {
        tiers: vec![Spill, Remote],
        ..rules(quota_bytes)
    }
}

fn reads(node: &mut NodePlan, source: Source, store: EdgeStore) {
    let input = input(&format!("input{}", node.inputs.len()), source);
    node.inputs.push(InputPlan { store, ..input });
}

/// Three make ten bytes each; of each there are readers, by these edges, that wait for `slow` too.
fn three(edges: [&[EdgeStore]; 3]) -> Flow {
    let mut flow = Flow::default();
    let slow = flow.function("slow", |_| ());
    let made = NAMES.map(|name| flow.function(name, |_| ()));
    for (name, (made, edges)) in NAMES.into_iter().zip(made.into_iter().zip(edges)) {
        for (number, edge) in edges.iter().enumerate() {
            flow.function(&format!("reads-{name}-{number}"), |node| {
                reads(node, out(made), *edge);
                reads(node, out(slow), EdgeStore::Workflow);
            });
        }
    }
    flow
}

/// All three are there, and the quota has room for `room` bytes of them.
fn full(flow: &Flow, rules: StoreRules) -> Rig {
    let mut rig = Rig::short_of_memory(flow, rules);
    rig.invoke(&[]);
    NAMES.into_iter().for_each(|name| rig.end(name));
    rig
}

fn all_is_read(rig: &mut Rig) {
    rig.end("slow");
    while rig.answer.is_none() {
        rig.carried(true);
        rig.come_back(None);
        rig.end_all();
    }
    rig.result().unwrap();
    rig.nothing_is_left();
}

fn to(name: &str, kind: TierKind) -> (String, TierKind) {
    (name.to_owned(), kind)
}

const WORKFLOW: &[EdgeStore] = &[EdgeStore::Workflow];
const MEMORY: &[EdgeStore] = &[EdgeStore::Memory];
const SPILL: &[EdgeStore] = &[EdgeStore::Spill];
const REMOTE: &[EdgeStore] = &[EdgeStore::Remote];

#[test]
fn what_an_edge_keeps_in_memory_stays_and_what_is_read_before_it_leaves() {
    let mut rig = full(&three([WORKFLOW, MEMORY, WORKFLOW]), both(20));
    let leaving = [to(NAMES[2], Spill), to(NAMES[0], Spill)];
    assert_eq!(rig.carrying_to(), leaving);
    rig.carried(true);
    all_is_read(&mut rig);
}

#[test]
fn each_payload_goes_where_its_edge_says() {
    let mut rig = full(&three([SPILL, REMOTE, WORKFLOW]), both(10));
    let leaving = [to(NAMES[1], Remote), to(NAMES[0], Spill)];
    assert_eq!(rig.carrying_to(), leaving);
    rig.carried(true);
    let carried = rig.carried_so_far();
    assert_eq!(
        (carried.spill.out.payloads, carried.remote.out.payloads),
        (1, 1)
    );
    all_is_read(&mut rig);
}

#[test]
fn an_edge_lets_go_what_its_workflow_does_not() {
    for (edges, tier) in [(SPILL, Spill), (REMOTE, Remote)] {
        let mut flow = three([WORKFLOW, edges, WORKFLOW]);
        flow.store = StoreChoice {
            spill: false,
            remote: false,
            quota_bytes: None,
        };
        let mut rig = full(&flow, both(10));
        assert_eq!(rig.carrying_to(), [to(NAMES[1], tier)]);
        rig.carried(true);
        all_is_read(&mut rig);
    }
}

#[test]
fn a_payload_goes_only_where_all_its_edges_let_it() {
    let both_ways = &[EdgeStore::Spill, EdgeStore::Remote];
    let one_way = &[EdgeStore::Remote, EdgeStore::Workflow];
    let kept = &[EdgeStore::Workflow, EdgeStore::Memory];
    let mut rig = full(&three([both_ways, one_way, kept]), both(10));
    assert_eq!(rig.carrying_to(), [to(NAMES[1], Remote)]);
    rig.carried(true);
    assert!(rig.carrying().is_empty(), "nothing else may leave");
    all_is_read(&mut rig);
    // The workflow's own word counts for edges that say nothing.
    let mut flow = three([both_ways, one_way, kept]);
    flow.store.remote = false;
    let mut rig = full(&flow, both(10));
    assert!(rig.carrying().is_empty(), "{:?}", rig.carrying_to());
    all_is_read(&mut rig);
}

#[test]
fn what_may_only_go_to_a_tier_that_has_failed_stays_while_others_leave() {
    let mut rig = full(&three([SPILL, REMOTE, SPILL]), both(25));
    assert_eq!(rig.carrying_to(), [to(NAMES[2], Spill)]);
    rig.not_carried(Unstored::Failed);
    assert_eq!(rig.carrying_to(), [to(NAMES[1], Remote)]);
    rig.carried(true);
    all_is_read(&mut rig);
}

#[test]
fn items_and_what_is_gathered_of_them_go_where_those_who_read_them_say() {
    for (used, gathered) in [(Remote, Spill), (Spill, Remote)] {
        goes_where_they_say(used, gathered);
    }
}

/// What is made goes where those say that use it item by item, and what they make where who reads all of it says.
fn goes_where_they_say(to_used: TierKind, to_gathered: TierKind) {
    let edge = |kind| match kind {
        Remote => EdgeStore::Remote,
        _ => EdgeStore::Spill,
    };
    let mut flow = over_list();
    let region = flow.region(Source::Input(0), |_| ());
    let made = flow.function("make", |node| {
        node.region = Some(region);
        reads(node, Source::Item { up: 0 }, EdgeStore::Workflow);
    });
    let region = flow.region(out(made), |_| ());
    let used = flow.function("use", |node| {
        node.region = Some(region);
        reads(node, Source::Item { up: 0 }, edge(to_used));
    });
    flow.function("all", |node| {
        node.inputs = vec![InputPlan {
            store: edge(to_gathered),
            ..InputPlan::new("all", Kind::List, out(used))
        }];
    });
    let mut rig = Rig::short_of_memory(&flow, both(30));
    let carried = carried_to(&mut rig, &["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let of = |kind| carried.iter().filter(move |(_, to)| *to == kind);
    for (kind, made) in [(to_used, "make"), (to_gathered, "use")] {
        assert!(of(kind).count() > 0, "{kind:?}");
        assert!(of(kind).all(|(text, _)| text.starts_with(made)), "{kind:?}");
    }
    rig.nothing_is_left();
}

/// What was carried out, and where to, while an invocation with these items was played to its end.
fn carried_to(rig: &mut Rig, items: &[&str]) -> Vec<(String, TierKind)> {
    rig.invoke(&[("list", items)]);
    let mut carried = Vec::new();
    while rig.answer.is_none() {
        carried.extend(rig.carrying_to());
        rig.carried(true);
        rig.come_back(None);
        if let Some(attempt) = rig.running.first().cloned() {
            if attempt.node == "all" {
                rig.walk("all", items.len() as u32);
            }
            rig.end_attempt(&attempt);
        }
    }
    carried
}
