//! When nodes run, and what happens when they fail.

use super::*;

#[test]
fn joins_of_some_make_inputs_optional_and_count_their_edges() {
    let definition = good(
        "  b: { function: e:f, output: { o: bytes } }\n  x: { function: e:f, input: { p: a.b, q: b.o, r: input.b }, join: any }\n  y: { after: [a, b], join: { at_least: 2 } }\n  z: { after: a, join: all }\n",
    );
    let x = node(&definition, "x");
    assert_eq!(x.join, Join::AtLeast(1));
    assert!(x.inputs.iter().all(|input| input.optional));
    let y = node(&definition, "y");
    assert_eq!((y.join, &y.work), (Join::AtLeast(2), &Work::Nothing));
    assert_eq!(node(&definition, "z").join, Join::All);
    refused(&[
        (
            "  x: { function: e:f, input: { p: a.b, q: a.v }, join: { at_least: 2 } }\n",
            "6:3",
            "`x` waits for 2 of its edges, and has 1",
            "cases and catches",
        ),
        (
            "  x: { join: any }\n",
            "6:3",
            "waits for 1 of its edges, and has 0",
            "`after`",
        ),
        (
            "  x: { after: a, join: some }\n",
            "6:24",
            "`join` must be",
            "`join: any`",
        ),
        (
            "  x: { after: a, join: { atleast: 1 } }\n",
            "6:26",
            "no key `atleast`",
            "`at_least`?",
        ),
        (
            "  x: { after: a, join: {} }\n",
            "6:24",
            "`join` has no `at_least`",
            "`join: any`",
        ),
        (
            "  x: { after: a, join: { at_least: 0 } }\n",
            "6:36",
            "from 1 to",
            "-",
        ),
    ]);
}

#[test]
fn nodes_that_only_wait_have_a_delay_or_a_join() {
    let definition = good("  w: { delay_ms: 250, after: a }\n");
    let wait = node(&definition, "w");
    assert_eq!(
        (wait.delays.as_slice(), &wait.work, wait.executable()),
        ([Delay::Fixed(250)].as_slice(), &Work::Nothing, None)
    );
    refused(&[
        (
            "  w: { after: a }\n",
            "6:3",
            "node `w` has no `function`",
            "`delay_ms`, `delay_until` or `join`",
        ),
        (
            "  w: { delay_ms: 3, output: { o: bytes } }\n",
            "6:21",
            "`output` has no meaning at a node that only waits",
            "`function` or the like",
        ),
        (
            "  w: { function: e:f, command: [x] }\n",
            "6:3",
            "`function` and `command` exclude one another",
            "part it in two",
        ),
    ]);
}

#[test]
fn retries_say_how_often_how_soon_and_for_what() {
    let definition = good(
        "  r: { function: e:f, retry: { attempts: 5, backoff_ms: 10, factor: 1.5, backoff_max_ms: 100, jitter: 0.25, on: [timeout, Busy] } }\n",
    );
    let expected = Retry {
        attempts: 5,
        backoff_ms: 10,
        factor_percent: 150,
        backoff_max_ms: 100,
        jitter_percent: 25,
        on: vec![
            ErrorMatch::Class(ErrorClass::Timeout),
            ErrorMatch::Named("Busy".to_owned()),
        ],
    };
    assert_eq!(node(&definition, "r").retriers, [expected]);
    refused(&[
        (
            "  r: { function: e:f, retry: { factor: 0.5 } }\n",
            "6:40",
            "`factor` must be a number from 1 to 100",
            "-",
        ),
        (
            "  r: { function: e:f, retry: { jitter: 2 } }\n",
            "6:40",
            "`jitter` must be a number from 0 to 1",
            "-",
        ),
        (
            "  r: { function: e:f, retry: { on: 'a b' } }\n",
            "6:36",
            "`a b` cannot be the name of a failure",
            "`timeout`",
        ),
        (
            "  r: { delay_ms: 1, retry: { attempts: 2 } }\n",
            "6:21",
            "`retry` has no meaning at a node that only waits",
            "",
        ),
    ]);
}

#[test]
fn several_retriers_stand_in_their_order_each_with_its_own_figures() {
    let definition = good(
        "  r: { function: e:f, retry: [ { attempts: 5, on: Busy }, { on: [crash], attempts: 1 }, { attempts: 3, backoff_ms: 10 } ] }\n  s: { function: e:f, retry: [ {} ] }\n  t: { function: e:f, retry: {} }\n  u: { function: e:f }\n",
    );
    let retrier = |attempts, backoff_ms, on| Retry {
        attempts,
        backoff_ms,
        on,
        ..Retry::default()
    };
    let expected = [
        retrier(5, 0, vec![ErrorMatch::Named("Busy".to_owned())]),
        retrier(1, 0, vec![ErrorMatch::Class(ErrorClass::Crash)]),
        retrier(3, 10, Vec::new()),
    ];
    assert_eq!(node(&definition, "r").retriers, expected);
    assert_eq!(node(&definition, "s").retriers, [Retry::default()]);
    assert_eq!(node(&definition, "t").retriers, [Retry::default()]);
    assert_eq!(node(&definition, "u").retriers, []);
    let many = |count: usize| {
        let retriers = vec!["{ attempts: 2, on: Busy }"; count].join(", ");
        format!("  r: {{ function: e:f, retry: [ {retriers} ] }}\n")
    };
    assert_eq!(node(&good(&many(16)), "r").retriers.len(), 16);
    refused(&[
        (
            many(17).as_str(),
            "6:30",
            "the retriers of a node",
            "several failures",
        ),
        (
            "  r: { function: e:f, retry: [] }\n",
            "6:30",
            "`retry` must be a mapping, or a list of one at least",
            "leave it away",
        ),
        (
            "  r: { function: e:f, retry: [ { attempts: 2 }, { factor: 0.5 } ] }\n",
            "6:59",
            "`factor` must be a number from 1 to 100",
            "-",
        ),
        (
            "  r: { function: e:f, retry: [ { attempts: 2 }, { atempts: 2 } ] }\n",
            "6:51",
            "`atempts`",
            "did you mean `attempts`?",
        ),
        (
            "  r: { function: e:f, retry: [ { attempts: 2 }, 3 ] }\n",
            "6:49",
            "`retry` must be a mapping",
            "its keys are `attempts`",
        ),
    ]);
}

#[test]
fn catches_lead_failures_to_nodes_and_say_what_failed() {
    let definition = good(
        "  c:\n    function: e:f\n    output: { o: bytes }\n    catch:\n      - { on: timeout, to: late }\n      - { to: [late, other] }\n  late: { function: e:f, input: { why: c.error } }\n  other: { function: e:f }\n  d: { function: e:f, catch: [other] }\n",
    );
    let c = node(&definition, "c");
    assert_eq!(c.catches[0].on, [ErrorMatch::Class(ErrorClass::Timeout)]);
    assert_eq!(places(&c.catches[1].to), [2, 3]);
    assert_eq!(c.error_output, Some(1));
    assert_eq!(
        (c.outputs[1].name.value.as_str(), c.outputs[1].kind),
        ("error", Kind::Value)
    );
    assert_eq!(
        sources(&definition, "late"),
        [[From::Output { node: 1, output: 1 }]]
    );
    assert_eq!(node(&definition, "d").error_output, None, "nobody reads it");
    refused(&[
        (
            "  x: { function: e:f, input: { i: a.error } }\n",
            "6:35",
            "node `a` has no output `error`",
            "once `a` has a `catch`",
        ),
        (
            "  c: { function: e:f, catch: { on: timeout } }\n",
            "6:30",
            "this catch has no `to`",
            "`catch: NODE`",
        ),
        (
            "  c: { function: e:f, catch: [] }\n",
            "6:30",
            "one node at least",
            "`catch: NODE`",
        ),
        (
            "  c: { function: e:f, catch: b }\n",
            "6:30",
            "no node `b`",
            "the nodes are `a`, `c`",
        ),
    ]);
}

#[test]
fn a_switch_that_leads_to_a_node_with_a_range_leads_to_its_counting_too() {
    let definition = good(
        "  s: { switch: [ { when: a.v > 1, then: r } ] }\n  r: { function: e:f, foreach: { from: 0, to: a.v } }\n",
    );
    let Work::Switch(cases) = &node(&definition, "s").work else {
        panic!("a switch")
    };
    assert_eq!(places(&cases[0].to), [2, 3]);
    assert_eq!(definition.nodes[2].name.value, "r/range");
}

#[test]
fn a_node_behind_more_gates_than_a_plan_can_number_is_refused() {
    // 65 switches of 1,024 cases, all of which lead to one node.
    let mut text = "workflow: w\nnodes:\n  x: { delay_ms: 1 }\n".to_owned();
    let case = ", { when: true, then: x }".repeat(1022);
    for n in 0..65 {
        text += &format!("  s{n}: {{ switch: [ {{ when: true, then: x }}{case} ], default: x }}\n");
    }
    let found = problems(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    let expected =
        "3:3 the cases and catches that lead to `x` are 66560, above the limit of 65535 | let ";
    assert!(found[0].starts_with(expected), "{found:?}");
}

#[test]
fn what_a_node_with_a_range_comes_after_its_counting_comes_after_too() {
    let definition = good(
        "  x: { delay_ms: 1, after: a }\n  y: { function: e:f, after: a, output: { o: bytes }, catch: z }\n  z: { function: e:f, input: { why: y.error } }\n  \
         r: { function: e:f, foreach: { from: 0, to: a.v }, after: x, input: { i: item, v: a.v, l: a.l, o: y.o } }\n  \
         s: { function: e:f, foreach: { from: 0, to: 3 }, input: { o: y.o } }\n  \
         t: { function: e:f, foreach: { from: 0, to: 3 }, after: x, input: { why: y.error } }\n",
    );
    // Skipped only if the node would be, so that it waits for all that this one reads.
    let waits = |name| {
        let after = places(&node(&definition, name).after);
        let names = after
            .into_iter()
            .map(|at| &*definition.nodes[at].name.value);
        names.collect::<Vec<&str>>()
    };
    assert_eq!(waits("r/range"), ["x", "y"]);
    assert_eq!(waits("s/range"), [""; 0]);
    assert_eq!(waits("t/range"), [""; 0]);
}

#[test]
fn resources_and_profiles_say_all_that_is_known() {
    let definition = good(
        "  x: { function: e:f, output: { a: bytes, b: bytes }, resources: { cpus: 2, scale: 3, memory_mib: 9 },
       profile: { runtime_ms: 4, output_bytes: { b: 7, a: 5 }, runs: 0.25, busy: 0.5, peak_mib: 3, placeholder: true } }
  y: { function: e:f, foreach: { from: 0, to: 3 }, profile: { items: 3, output_bytes: 9 } }
",
    );
    let x = node(&definition, "x");
    let resources = Resources {
        memory_mib: 9,
        scale: 3,
        cpus: 2,
    };
    assert_eq!(x.resources, resources);
    let profile = Profile {
        runtime_ms: 4.0,
        output_bytes: 12,
        by_output: vec![5, 7],
        items: 1,
        runs: Some(0.25),
        busy: 0.5,
        peak_mib: 3,
        placeholder: true,
    };
    assert_eq!(x.profile, profile);
    let y = &node(&definition, "y").profile;
    assert_eq!((y.items, y.output_bytes, y.runs), (3, 9, None));
    assert_eq!(y.by_output, [0; 0]);
}

#[test]
fn nodes_are_kept_apart_from_others_and_not_from_themselves() {
    let definition = good(
        "  x: { function: e:f, apart: [y, z] }\n  y: { function: e:f }\n  z: { command: [sort], input: { i: input.b }, output: { o: bytes }, apart: x }\n",
    );
    let place = |name: &str| {
        let mut nodes = definition.nodes.iter();
        nodes.position(|node| node.name.value == name).unwrap()
    };
    let apart = |name| places(&node(&definition, name).apart);
    assert_eq!(apart("x"), [place("y"), place("z")]);
    assert_eq!(apart("y"), [0; 0]);
    assert_eq!(apart("z"), [place("x")]);
    refused(&[
        (
            "  x: { function: e:f, apart: x }\n",
            "6:30",
            "cannot be kept apart from itself",
            "contend",
        ),
        (
            "  x: { function: e:f, apart: yy }\n  y: { function: e:f }\n",
            "6:30",
            "yy",
            "`y`",
        ),
        (
            "  x: { after: a, join: any, apart: a }\n",
            "6:29",
            "apart",
            "",
        ),
    ]);
}

#[test]
fn bytes_of_an_output_that_is_not_there_are_refused_at_their_name() {
    refused(&[(
        "  x: { function: e:f, output: { wide: bytes }, profile: { output_bytes: { wid: 7 } } }\n",
        "6:75",
        "wid",
        "`wide`",
    )]);
}
