//! Executors, their timers and their attempts.

use super::{
    FIRST, GRACE_NS, KEEP_ALIVE_NS, SECOND, actions, core_of, deploy, node, plan_of, removed,
    runs_on, starts, workflow,
};
use engine::core::{Action, ClientId, CompletionError, Core, ExecutorId, Output, Piece, Wanted};
use engine::plan::{ErrorClass, RegionPlan, Retry, Source};
use faasflow_tests::workflow::returned;
use faasstore::binding::Kind;

#[test]
fn a_grace_period_ends_only_what_it_was_set_for() {
    let mut core = core_of(0);
    let twin = workflow(vec![node(&[]), node(&[])], vec![2]);
    deploy(&mut core, plan_of(&twin, 1, &[0, 0], FIRST));
    core.activate(0, FIRST);
    let (first, second) = (ExecutorId(0), ExecutorId(1));
    core.executor_joined(0, first, FIRST, 0);
    core.executor_joined(0, second, FIRST, 0);
    core.invoke(0, ClientId(1), 1, "flow", Vec::new(), Wanted::NOTHING);
    let running = starts(&actions(&mut core));
    assert_eq!(running.len(), 2);
    // One activation fails: the invocation is over, and the other activation has a grace period.
    core.failed(
        0,
        running[0].executor,
        running[0].activation,
        ErrorClass::Error,
        "no".into(),
    )
    .unwrap();
    // Its executor dies within that, and its place is taken by another one that runs as many activations.
    core.executor_left(10, running[1].executor, "it died");
    core.executor_left(10, running[0].executor, "it died");
    core.executor_joined(20, running[1].executor, FIRST, 0);
    core.invoke(20, ClientId(1), 2, "flow", Vec::new(), Wanted::NOTHING);
    actions(&mut core);
    core.tick(2 * GRACE_NS);
    let killed = actions(&mut core)
        .into_iter()
        .any(|action| matches!(action, Action::Kill { .. }));
    assert!(!killed, "an executor that runs something else was ended");
}

#[test]
fn the_keep_alive_of_a_deployment_that_is_gone_touches_no_other() {
    let mut core = core_of(0);
    let mut other = node(&[]);
    runs_on(&mut other, 1);
    deploy(
        &mut core,
        plan_of(
            &workflow(vec![node(&[]), other], vec![1, 2]),
            1,
            &[0, 0],
            FIRST,
        ),
    );
    core.activate(0, FIRST);
    core.executor_joined(0, ExecutorId(0), FIRST, 1);
    core.executor_joined(0, ExecutorId(1), FIRST, 1);
    assert!(core.next_timer_ns().is_some());
    core.retire(1, FIRST);
    assert!(removed(&mut core, FIRST));
    // It takes the place of the first, and has fewer executables.
    deploy(
        &mut core,
        plan_of(&workflow(vec![node(&[])], vec![1]), 1, &[0], SECOND),
    );
    core.tick(KEEP_ALIVE_NS);
    assert_eq!(actions(&mut core), []);
}

/// A core with a pool of two idle executors, which has just told one of them to end: which.
fn after_a_keep_alive() -> (Core, ExecutorId) {
    let mut core = core_of(0);
    let twin = workflow(vec![node(&[]), node(&[])], vec![2]);
    deploy(&mut core, plan_of(&twin, 1, &[0, 0], FIRST));
    core.activate(0, FIRST);
    core.executor_joined(0, ExecutorId(0), FIRST, 0);
    core.executor_joined(0, ExecutorId(1), FIRST, 0);
    assert_eq!(actions(&mut core), []);
    core.tick(KEEP_ALIVE_NS);
    let told = actions(&mut core);
    let [Action::Stop(ending)] = told[..] else {
        panic!("not one is told to end: {told:?}");
    };
    (core, ending)
}

#[test]
fn an_executor_that_was_told_to_end_keeps_its_place_until_its_process_has_gone() {
    let (mut core, ending) = after_a_keep_alive();
    let wanted = |actions: &[Action]| {
        let is_wanted = |action: &&Action| matches!(action, Action::ExecutorWanted { .. });
        actions.iter().filter(is_wanted).count()
    };
    // Work for two comes just then. What is reserved for the pool is still in use.
    core.invoke(
        KEEP_ALIVE_NS,
        ClientId(1),
        1,
        "flow",
        Vec::new(),
        Wanted::NOTHING,
    );
    let begun = actions(&mut core);
    assert_eq!((starts(&begun).len(), wanted(&begun)), (1, 0), "{begun:?}");
    assert_ne!(starts(&begun)[0].executor, ending);
    core.executor_left(KEEP_ALIVE_NS + 1, ending, "it was told to end");
    assert_eq!(wanted(&actions(&mut core)), 1);
    core.executor_joined(KEEP_ALIVE_NS + 2, ending, FIRST, 0);
    let begun = actions(&mut core);
    assert_eq!((starts(&begun).len(), wanted(&begun)), (1, 0), "{begun:?}");
}

#[test]
fn an_executor_that_was_told_to_end_and_does_not_is_killed() {
    let (mut core, ending) = after_a_keep_alive();
    core.tick(KEEP_ALIVE_NS + GRACE_NS - 1);
    assert_eq!(actions(&mut core), [], "it has a grace period");
    core.tick(KEEP_ALIVE_NS + GRACE_NS);
    let killed = actions(&mut core);
    assert!(
        matches!(killed[..], [Action::Kill { executor, .. }] if executor == ending),
        "{killed:?}"
    );
    // In time, its place is free, and whoever takes it is not meant.
    let (mut core, ending) = after_a_keep_alive();
    core.executor_left(KEEP_ALIVE_NS + 1, ending, "it was told to end");
    core.executor_joined(KEEP_ALIVE_NS + 2, ending, FIRST, 0);
    core.tick(KEEP_ALIVE_NS + GRACE_NS);
    let left = actions(&mut core);
    assert!(
        !left
            .iter()
            .any(|action| matches!(action, Action::Kill { .. })),
        "{left:?}"
    );
}

#[test]
fn a_result_of_an_earlier_attempt_changes_nothing() {
    let mut core = core_of(0);
    let mut tried = node(&[]);
    tried.retriers = vec![Retry {
        attempts: 3,
        ..Retry::default()
    }];
    deploy(
        &mut core,
        plan_of(&workflow(vec![tried], vec![1]), 1, &[0], FIRST),
    );
    core.activate(0, FIRST);
    core.executor_joined(0, ExecutorId(0), FIRST, 0);
    core.invoke(0, ClientId(1), 1, "flow", Vec::new(), Wanted::NOTHING);
    let first = starts(&actions(&mut core))[0];
    core.failed(
        0,
        first.executor,
        first.activation,
        ErrorClass::Error,
        "no".into(),
    )
    .unwrap();
    let second = starts(&actions(&mut core))[0];
    assert_eq!((second.executor, second.attempt), (first.executor, 2));
    // The same executor runs the second attempt, and says that the first one has ended after all.
    let late = core.completed(0, first.executor, first.activation, &[]);
    assert_eq!(late, Err(CompletionError::Activation));
    let late = core.failed(
        0,
        first.executor,
        first.activation,
        ErrorClass::Error,
        "no".into(),
    );
    assert_eq!(late, Err(CompletionError::Activation));
    // So it is ended, and may say what it likes until it is gone.
    core.executor_condemned(0, second.executor, "it broke a rule");
    let late = core.completed(0, second.executor, second.activation, &[]);
    assert_eq!(late, Err(CompletionError::Activation));
    assert_eq!((actions(&mut core), core.in_flight()), (Vec::new(), 1));
    // The third attempt waits for another executor.
    core.executor_left(0, second.executor, "it ended");
    core.executor_joined(0, ExecutorId(0), FIRST, 0);
    let third = starts(&actions(&mut core))[0];
    assert_eq!(third.attempt, 3);
    core.completed(0, third.executor, third.activation, &[])
        .unwrap();
    assert!(matches!(actions(&mut core)[..], [Action::Answer(_)]));
    assert_eq!((core.in_flight(), core.counters().retries), (0, 2));
}

#[test]
fn a_backoff_beyond_all_time_is_long_and_not_short() {
    let mut stubborn = node(&[]);
    stubborn.retriers = vec![Retry {
        attempts: 1000,
        backoff_ms: u32::MAX,
        backoff_max_ms: u32::MAX,
        ..Retry::default()
    }];
    let mut core = core_of(0);
    deploy(
        &mut core,
        plan_of(&workflow(vec![stubborn], vec![1]), 1, &[0], FIRST),
    );
    core.activate(0, FIRST);
    core.executor_joined(0, ExecutorId(0), FIRST, 0);
    core.invoke(0, ClientId(1), 1, "flow", Vec::new(), Wanted::NOTHING);
    let mut last_ns = 0;
    for attempt in 1..40 {
        let start = starts(&actions(&mut core))[0];
        assert_eq!(start.attempt, attempt);
        core.failed(
            last_ns,
            start.executor,
            start.activation,
            ErrorClass::Error,
            "no".into(),
        )
        .unwrap();
        let due_ns = core.next_timer_ns().unwrap();
        assert!(due_ns == u64::MAX || due_ns - last_ns >= u64::from(u32::MAX) * 1_000_000);
        last_ns = due_ns;
        core.tick(due_ns);
    }
}

#[test]
fn a_pool_grows_to_its_scale_while_a_wide_foreach_waits() {
    let mut list = node(&[]);
    list.outputs = returned(&[Kind::List]);
    let mut each = node(&[]);
    each.region = Some(0);
    runs_on(&mut each, 1);
    let mut flow = workflow(vec![list, each], vec![1, 3]);
    flow.regions = vec![RegionPlan {
        parent: None,
        list: Source::Output { node: 0, output: 0 },
        batch: None,
        parallelism: None,
        part: None,
    }];
    let mut core = core_of(0);
    deploy(&mut core, plan_of(&flow, 1, &[0, 0], FIRST));
    core.activate(0, FIRST);
    core.executor_joined(0, ExecutorId(0), FIRST, 0);
    core.invoke(0, ClientId(1), 1, "flow", Vec::new(), Wanted::NOTHING);
    let start = starts(&actions(&mut core))[0];
    core.completed(
        0,
        start.executor,
        start.activation,
        &[Output::List(vec![Piece::Empty; 9])],
    )
    .unwrap();
    let mut wanted = 0;
    for place in 1..=3 {
        let more = Action::ExecutorWanted {
            deployment: FIRST,
            executable: 1,
        };
        let actions = actions(&mut core);
        wanted += actions.iter().filter(|action| **action == more).count();
        assert!(wanted >= place, "executor {place} was not asked for");
        core.executor_joined(0, ExecutorId(place as u32), FIRST, 1);
    }
    let more = actions(&mut core)
        .iter()
        .any(|action| matches!(action, Action::ExecutorWanted { .. }));
    assert!(wanted == 3 && !more, "beyond the pool's scale");
}
