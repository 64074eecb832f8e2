//! How long nodes wait: numbers, expressions and times.

use super::*;

/// The expression of the only delay of a node, and the names that it reads.
fn expression<'d>(definition: &'d Definition, name: &str) -> (&'d str, Vec<&'d str>) {
    let [Delay::Computed(delay) | Delay::Until(delay)] = &node(definition, name).delays[..] else {
        panic!("{:?}", node(definition, name).delays)
    };
    let inputs = delay.inputs.iter().map(|input| input.name.value.as_str());
    (&delay.text.value, inputs.collect())
}

#[test]
fn a_delay_is_a_number_or_an_expression_over_what_conditions_may_read() {
    let definition = good(
        "  x: { function: e:f, input: { n: input.v, b: a.b }, delay_ms: n * constant.limit + a.v }\n  \
           y: { compute: { z: input.v }, delay_ms: '1.5' }\n  \
           w: { delay_ms: 1000 * input.v }\n  \
           z: { function: e:f, delay_ms: 0 }\n",
    );
    let (text, names) = expression(&definition, "x");
    assert_eq!(text, "n * constant.limit + a.v");
    assert_eq!(names, ["n", "constant.limit", "a.v"]);
    let x = node(&definition, "x");
    let own = x.inputs.iter().map(|input| input.name.value.as_str());
    assert_eq!(
        own.collect::<Vec<_>>(),
        ["n", "b"],
        "what the function sees"
    );
    assert!(matches!(x.delays[..], [Delay::Computed(_)]));
    assert_eq!(expression(&definition, "y"), ("1.5", vec![]));
    assert_eq!(expression(&definition, "w").1, ["input.v"]);
    assert_eq!(node(&definition, "z").delays, []);
    assert_eq!(
        definition.predecessors()[1],
        [0],
        "it waits for what its delay reads"
    );
    let reads: Vec<From> = definition.reads(3).collect();
    assert_eq!(reads, [From::Input(1)]);
}

#[test]
fn a_node_waits_until_a_time_that_stands_there_or_an_expression_gives() {
    let definition = good(
        "  w: { delay_until: 2030-01-01T08:00:00+01:00 }\n  \
           q: { delay_until: '2030-01-01T08:00:00Z' }\n  \
           x: { function: e:f, delay_until: 'timestamp(input.v)' }\n  \
           y: { function: e:f, input: { at: input.v }, delay_until: at }\n",
    );
    for name in ["w", "q", "x", "y"] {
        let delays = &node(&definition, name).delays;
        assert!(matches!(delays[..], [Delay::Until(_)]), "{delays:?}");
    }
    assert_eq!(
        expression(&definition, "w"),
        ("\"2030-01-01T08:00:00+01:00\"", vec![])
    );
    assert_eq!(expression(&definition, "x").1, ["input.v"]);
    assert_eq!(expression(&definition, "y"), ("at", vec!["at"]));
}

#[test]
fn a_node_that_only_waits_may_bind_and_catch_if_its_delay_is_computed() {
    let definition = good(
        "  w:\n    input: { wait: { from: input.o, default: 5 } }\n    delay_ms: wait\n    catch: { on: expression, to: late }\n  \
           late: { function: e:f, input: { why: w.error } }\n",
    );
    let wait = node(&definition, "w");
    assert_eq!((&wait.work, wait.error_output), (&Work::Nothing, Some(0)));
    assert_eq!((wait.catches.len(), wait.inputs.len()), (1, 1));
    let caught =
        good("  w: { delay_until: 2030-01-01T08:00:00Z, catch: a2 }\n  a2: { function: e:f }\n");
    assert_eq!(node(&caught, "w").catches.len(), 1);
    let help = "only a delay that is an expression";
    refused(&[
        (
            "  w: { delay_ms: 5, input: { x: input.v } }\n",
            "6:21",
            "`input` has no meaning at a node that only waits",
            help,
        ),
        (
            "  w: { join: all, after: a, catch: a }\n",
            "6:29",
            "`catch` has no meaning at a node that only waits",
            help,
        ),
        (
            "  w: { delay_ms: input.v, retry: { attempts: 2 } }\n",
            "6:27",
            "`retry` has no meaning at a node that only waits",
            "`catch`",
        ),
        (
            "  w: { delay_ms: x, input: { x: input.b } }\n",
            "6:33",
            "`input.b` is bytes",
            "`b: value`",
        ),
    ]);
}

#[test]
fn what_is_no_delay_is_refused_at_its_column() {
    for (delay, place, message, help) in [
        (
            "delay_ms: -5",
            "6:33",
            "a whole number from 0 to 86400000",
            "",
        ),
        ("delay_ms: 86400001", "6:33", "from 0 to 86400000", ""),
        ("delay_ms: 1.5", "6:33", "a whole number", ""),
        (
            "delay_ms: 5s",
            "6:33",
            "a whole number",
            "unit is in the name",
        ),
        ("delay_ms: [5]", "6:33", "a whole number", ""),
        ("delay_ms: 5 + input.m", "6:37", "no input `m`", ""),
        ("delay_ms: \"5 * 'a'\"", "6:34", "`*` does not go with", ""),
        (
            "delay_ms: a.v == 1",
            "6:33",
            "a number of milliseconds must be a number, and this is a boolean",
            "",
        ),
        (
            "delay_ms: '0 - 5'",
            "6:33",
            "from 0 to 86400000, and this is -5",
            "",
        ),
        ("delay_ms: a.b", "6:33", "`a.b` is bytes", "`b: value`"),
        (
            "delay_until: 2030-02-30T08:00:00Z",
            "6:36",
            "must be a timestamp or an expression, but this is `2030-02-30T08:00:00Z`",
            "an offset",
        ),
        (
            "delay_until: 2030-01-01",
            "6:36",
            "`2030-01-01`",
            "an offset",
        ),
        (
            "delay_until: \"'tomorrow'\"",
            "6:36",
            "`delay_until`: it is to give a timestamp",
            "",
        ),
        (
            "delay_until: 2030",
            "6:36",
            "a time must be a text or a timestamp, and this is a number",
            "",
        ),
        (
            "delay_ms: 5, delay_until: input.v",
            "6:36",
            "`delay_ms` and `delay_until` exclude one another",
            "a node before it",
        ),
        (
            "delay_until: item",
            "6:36",
            "`item` has no meaning",
            "`foreach`",
        ),
    ] {
        let node = format!("  x: {{ function: e:f, {delay} }}\n");
        refused(&[(&node, place, message, help)]);
    }
}

#[test]
fn a_delay_is_part_of_what_a_node_waits_for() {
    refused(&[(
        "  x: { function: e:f, delay_ms: y.o }\n  y: { compute: { o: 1 }, after: x }\n",
        "6:3",
        "x",
        "data flows in one direction",
    )]);
    let definition = good("  x: { function: e:f, input: { b: a.b }, delay_ms: a.v, join: any }\n");
    let [Delay::Computed(delay)] = &node(&definition, "x").delays[..] else {
        panic!("a computed delay")
    };
    assert!(
        delay.inputs[0].optional,
        "a join of some may start without it"
    );
}

#[test]
fn a_delay_is_each_item_s_own() {
    let definition = good(
        "  n: { compute: { all: { list: '[1, 2]' } } }\n  \
           s: { function: e:s, foreach: n.all, input: { i: item }, output: { wait: value } }\n  \
           x: { function: e:f, foreach: n.all, delay_ms: item * s.wait }\n  \
           y: { function: e:f, foreach: s.wait, delay_ms: item }\n",
    );
    let region = |name: &str| node(&definition, name).region;
    assert!(
        region("x").is_some() && region("x") == region("s"),
        "s.wait ties them"
    );
    assert_eq!(region("y"), region("s"));
    let from = |name: &str| -> Vec<From> {
        let inputs = node(&definition, name).all_inputs();
        inputs.map(|input| input.from[0].value).collect()
    };
    let wait = From::Output { node: 2, output: 0 };
    assert_eq!(from("x"), [From::Item { up: 0 }, wait]);
    assert_eq!(
        from("y"),
        [wait],
        "the item of a chain is what the node before gave"
    );
}
