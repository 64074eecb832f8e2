use crate::definition::{Definition, From, Node, Work};
use crate::import::tests::{defined, refused};
use crate::import::{Draft, Format, Options, import};
use engine::plan::Gate;
use faasstore::binding::Kind;

fn draft(text: &str) -> Draft {
    let options = Options::default();
    match import(
        Format::Faasflow,
        "shop/flat_workflow.yaml",
        text.as_bytes(),
        &options,
    ) {
        Ok(draft) => draft,
        Err(error) => panic!("{:?}", miette::Report::new(error)),
    }
}

fn definition(text: &str) -> Definition {
    defined(&draft(text))
}

fn place(definition: &Definition, name: &str) -> usize {
    let found = definition
        .nodes
        .iter()
        .position(|node| node.name.value == name);
    found.unwrap_or_else(|| panic!("no node {name}"))
}

fn node<'d>(definition: &'d Definition, name: &str) -> &'d Node {
    &definition.nodes[place(definition, name)]
}

/// The sources of an input, as the file would name them.
fn sources(definition: &Definition, node_name: &str, input: &str) -> Vec<String> {
    let inputs = &node(definition, node_name).inputs;
    let input = inputs.iter().find(|other| other.name.value == input);
    let of = |from: &From| match *from {
        From::Input(input) => format!("input.{}", definition.inputs[usize::from(input)].name.value),
        From::Output { node, output } | From::First { node, output } => {
            let node = &definition.nodes[node];
            format!(
                "{}.{}",
                node.name.value,
                node.outputs[usize::from(output)].name.value
            )
        }
        From::Item { .. } => "item".to_owned(),
        From::Constant(_) => "constant".to_owned(),
    };
    input.map_or_else(Vec::new, |input| {
        input.from.iter().map(|from| of(&from.value)).collect()
    })
}

fn after(definition: &Definition, name: &str) -> Vec<String> {
    let after = node(definition, name).after.iter();
    after
        .map(|after| definition.nodes[after.value].name.value.clone())
        .collect()
}

fn gates(definition: &Definition, name: &str) -> Vec<String> {
    let gates = definition.gates();
    let of = |gate: &Gate| definition.nodes[gate.node() as usize].name.value.clone();
    gates[place(definition, name)].iter().map(of).collect()
}

/// A function of a short notation: `NAME(inputs) -> outputs`, then `next`.
fn function(name: &str, inputs: &[(&str, &str)], outputs: &[(&str, &str)], next: &str) -> String {
    let source = if name.starts_with('v') {
        "VIRTUAL"
    } else {
        name
    };
    let mut text = format!("- name: {name}\n  source: {source}\n  runtime: 0.5\n");
    if !inputs.is_empty() {
        text.push_str("  input:\n");
    }
    for (parameter, of) in inputs {
        let (of, kind) = of
            .split_once(':')
            .map_or((*of, "pass"), |(of, kind)| (of, kind));
        let (function, from) = of.split_once('.').unwrap();
        text.push_str(&format!(
            "    {parameter}: {{type: {kind}, value: {{function: {function}, parameter: {from}}}, size: 8}}\n"
        ));
    }
    if !outputs.is_empty() {
        text.push_str("  output:\n");
    }
    for (parameter, kind) in outputs {
        text.push_str(&format!("    {parameter}: {{type: {kind}, size: 100}}\n"));
    }
    if !next.is_empty() {
        text.push_str(&format!("  next: {next}\n"));
    }
    text
}

fn flat(functions: &[String]) -> String {
    format!(
        "global_input:\n  doc: {{type: pass, value: {{function: INPUT, parameter: doc}}, size: 9}}\n  \
         flag: {{type: pass, value: {{function: INPUT, parameter: flag}}, size: 8}}\nfunctions:\n{}global_output:\n",
        functions.concat()
    )
}

const PASS: fn(&str) -> String = |nodes| format!("{{type: pass, nodes: [{nodes}]}}");

fn switch(cases: &[(&str, &str)]) -> String {
    let conditions: Vec<_> = cases
        .iter()
        .map(|(condition, _)| format!("\"{condition}\""))
        .collect();
    let nodes: Vec<_> = cases.iter().map(|(_, node)| *node).collect();
    format!(
        "{{type: switch, conditions: [{}], nodes: [{}]}}",
        conditions.join(", "),
        nodes.join(", ")
    )
}

#[test]
fn the_key_space_of_the_request_is_read_by_the_order_of_functions() {
    let text = flat(&[
        function(
            "a",
            &[("doc", "INPUT.doc")],
            &[("x", "normal"), ("y", "normal")],
            &PASS("b"),
        ),
        function("b", &[("x", "INPUT.x")], &[("y", "normal")], &PASS("c")),
        function(
            "c",
            &[("z", "INPUT.y"), ("w", "a.y")],
            &[("r", "normal")],
            "",
        ),
    ]);
    let definition = definition(&text);
    assert_eq!(definition.workflow.value, "shop");
    assert_eq!(sources(&definition, "a", "doc"), ["input.doc"]);
    assert_eq!(sources(&definition, "b", "x"), ["a.x"]);
    // Both write `y`; what `b` wrote came last, and it has run for certain.
    assert_eq!(sources(&definition, "c", "z"), ["b.y"]);
    assert_eq!(sources(&definition, "c", "w"), ["a.y"]);
    assert_eq!(after(&definition, "c"), Vec::<String>::new());
    assert_eq!(definition.outputs[0].name.value, "r");
    let profile = &node(&definition, "a").profile;
    assert_eq!((profile.runtime_ms, profile.output_bytes), (500.0, 200));
    assert!(
        !draft(&text)
            .notes
            .iter()
            .any(|note| note.contains("ambiguous"))
    );
}

#[test]
fn several_writers_are_alternatives_or_told_to_be_ambiguous() {
    let text = flat(&[
        function("a", &[], &[("x", "normal")], &PASS("b, c")),
        function("b", &[], &[("x", "normal")], &PASS("d")),
        function("c", &[], &[("x", "normal")], &PASS("d")),
        function("d", &[("x", "INPUT.x")], &[], ""),
    ]);
    assert_eq!(sources(&definition(&text), "d", "x"), ["c.x"]);
    assert_eq!(after(&definition(&text), "d"), ["b"]);
    let notes = draft(&text).notes;
    assert!(
        notes
            .iter()
            .any(|note| note.contains("`x` is ambiguous: b, c write it")),
        "{notes:?}"
    );

    let text = flat(&[
        function("a", &[], &[("x", "normal")], &PASS("v1")),
        function(
            "v1",
            &[],
            &[],
            &switch(&[("INPUT.flag", "b"), ("default", "c")]),
        ),
        function("b", &[], &[("x", "normal")], &PASS("d")),
        function("c", &[], &[("x", "normal")], &PASS("d")),
        function("d", &[("x", "INPUT.x")], &[], ""),
    ]);
    let definition = definition(&text);
    // One of the two has run; `a` counts if a way leads round both.
    assert_eq!(sources(&definition, "d", "x"), ["c.x", "b.x", "a.x"]);
    let notes = draft(&text).notes;
    assert!(
        !notes.iter().any(|note| note.contains("ambiguous")),
        "{notes:?}"
    );
    // The data of `a` is there at any rate, so that it cannot say whether one of the ways was taken.
    assert_eq!(
        sources(&definition, "d", "follows"),
        ["b_done.done", "c_done.done"]
    );
}

#[test]
fn a_foreach_runs_over_its_first_key_and_its_merge_sees_lists() {
    let text = flat(&[
        function(
            "a",
            &[],
            &[("keys", "keys"), ("file", "pass")],
            "{type: foreach, nodes: [b]}",
        ),
        function(
            "b",
            &[("k", "a.keys:key"), ("file", "a.file")],
            &[("part", "pass")],
            &PASS("c"),
        )
        .replace("runtime: 0.5", "runtime: 0.5\n  split_ratio: 4"),
        function(
            "c",
            &[("k", "a.keys:key"), ("parts", "b.part")],
            &[("whole", "pass")],
            "",
        ),
    ]);
    let definition = definition(&text);
    let b = node(&definition, "b");
    assert!(b.region.is_some());
    assert_eq!(sources(&definition, "b", "k"), ["item"]);
    assert_eq!(node(&definition, "a").outputs[0].kind, Kind::List);
    let c = node(&definition, "c");
    assert_eq!(
        (c.inputs[0].kind, c.inputs[1].kind),
        (Kind::List, Kind::List)
    );
    assert!(c.region.is_none());
    // The size in the file is that of all activations together.
    assert_eq!(b.profile.output_bytes, 100);
    let text = draft(&text).to_yaml();
    assert!(text.contains("keys: { items: 4, bytes: 25 }"), "{text}");
    assert!(text.contains("outputs: { part: 25 }"), "{text}");
}

#[test]
fn a_node_behind_two_switches_runs_when_either_chose_it() {
    let text = flat(&[
        function("a", &[], &[("n", "normal")], &PASS("v1")),
        function(
            "v1",
            &[],
            &[],
            &switch(&[("a.n > 3", "m"), ("default", "b")]),
        ),
        function("b", &[], &[("ok", "normal")], &PASS("v2")),
        function(
            "v2",
            &[],
            &[],
            &switch(&[("b.ok", "m"), ("default", "END")]),
        ),
        function("m", &[("doc", "INPUT.doc")], &[("r", "normal")], ""),
        "- {name: END, source: END}\n".to_owned(),
    ]);
    let definition = definition(&text);
    assert_eq!(gates(&definition, "m"), ["v1", "v2"]);
    assert!(after(&definition, "m").is_empty());
    assert!(!definition.nodes.iter().any(|node| node.name.value == "END"));
    let Work::Switch(cases) = &node(&definition, "v2").work else {
        panic!()
    };
    assert!(cases[1].condition.is_none() && cases[1].to.is_empty());
    assert!(definition.outputs[0].optional);
    // Steered through `b`, which has the most behind it, and on to `m`.
    let text = draft(&text).to_yaml();
    assert!(
        text.contains("n: { value: 0 }") && text.contains("ok: { value: true }"),
        "{text}"
    );
    assert_eq!(node(&definition, "a").outputs[0].kind, Kind::Value);
}

#[test]
fn a_step_that_one_way_leads_round_runs_on_both_ways() {
    // v1 → p → c, or v1 → c.
    let text = flat(&[
        function(
            "v1",
            &[],
            &[],
            &switch(&[("INPUT.flag", "p"), ("default", "c")]),
        ),
        function("p", &[], &[("x", "normal")], &PASS("c")),
        function("c", &[("x", "INPUT.x")], &[("r", "normal")], ""),
    ]);
    let definition = definition(&text);
    assert!(gates(&definition, "c").is_empty());
    assert_eq!(
        sources(&definition, "c", "follows"),
        ["v1_c.done", "p_done.done"]
    );
    assert_eq!(gates(&definition, "v1_c"), ["v1"]);
    let x = &node(&definition, "c").inputs[0];
    assert!(x.optional, "on the way round `p` nothing has written it");
}

#[test]
fn a_step_behind_a_branch_does_not_run_for_data_from_before_the_branch() {
    let text = flat(&[
        function("a", &[], &[("x", "normal")], &PASS("v1")),
        function(
            "v1",
            &[],
            &[],
            &switch(&[("INPUT.flag", "b"), ("default", "END")]),
        ),
        function("b", &[], &[("y", "normal")], &PASS("c")),
        function("c", &[("x", "a.x")], &[], &PASS("d")),
        function("d", &[("y", "b.y")], &[], ""),
        "- {name: END, source: END}\n".to_owned(),
    ]);
    let definition = definition(&text);
    assert_eq!(sources(&definition, "c", "follows"), ["b_done.done"]);
    assert_eq!(after(&definition, "b_done"), ["b"]);
    // What `d` reads of `b` says it already.
    assert!(sources(&definition, "d", "follows").is_empty());
    assert_eq!(after(&definition, "d"), ["c"]);
}

#[test]
fn a_function_may_have_a_switch_and_a_virtual_one_may_pass_on() {
    let text = flat(&[
        function(
            "a",
            &[],
            &[("n", "normal")],
            &switch(&[("0 < a.n <= 0.5 or not INPUT.flag", "v"), ("default", "b")]),
        ),
        function("v", &[], &[], "{type: parallel, nodes: [b, c]}"),
        function("b", &[], &[], ""),
        function("c", &[], &[], ""),
    ]);
    let definition = definition(&text);
    let Work::Switch(cases) = &node(&definition, "a_switch").work else {
        panic!()
    };
    let condition = cases[0].condition.as_ref().unwrap();
    assert_eq!(condition.value, "(0 < a.n && a.n <= 0.5) || !input.flag");
    assert_eq!(
        sources(&definition, "b", "follows"),
        ["a_switch_b.done", "v.done"]
    );
    assert_eq!(gates(&definition, "v"), ["a_switch"]);
}

#[test]
fn run_times_of_one_second_throughout_are_placeholders() {
    let one = |name, next: &str| function(name, &[], &[], next).replace("0.5", "1");
    let text = flat(&[one("a", &PASS("b")), one("b", "")]);
    let yaml = draft(&text).to_yaml();
    assert_eq!(yaml.matches("placeholder: true").count(), 2, "{yaml}");
    let text = flat(&[one("a", &PASS("b")), function("b", &[], &[], "")]);
    assert!(!draft(&text).to_yaml().contains("placeholder"));
}

#[test]
fn what_was_recorded_is_asked_for_only_on_demand() {
    let text = flat(&[function("a", &[], &[("x", "normal")], "").replace(
        "runtime: 0.5",
        "runtime: 0.5\n  scale: 3\n  mem_usage: 0.25",
    )]);
    let mut options = Options {
        time_scale: 0.01,
        recorded_resources: false,
        ..Options::default()
    };
    let yaml = |options: &Options| {
        import(Format::Faasflow, "w.yaml", text.as_bytes(), options)
            .unwrap()
            .to_yaml()
    };
    assert!(yaml(&options).contains("time_scale: 0.01"));
    assert!(!yaml(&options).contains("memory_bytes") && !yaml(&options).contains("scale: 3"));
    options.recorded_resources = true;
    assert!(yaml(&options).contains("memory_bytes: 67108864"));
    assert!(
        yaml(&options).contains("memory_mib: 112, scale: 3"),
        "{}",
        yaml(&options)
    );
}

#[test]
fn mistakes_are_refused_at_their_place_with_what_would_be_right() {
    let good = flat(&[
        function(
            "start",
            &[("doc", "INPUT.doc")],
            &[("x", "normal")],
            &PASS("end"),
        ),
        function("end", &[("x", "INPUT.x")], &[], ""),
    ]);
    definition(&good);
    for (from, to, words) in [
        (
            "  runtime: 0.5",
            "  runtme: 0.5",
            "a function has no key `runtme`: did you mean `runtime`?",
        ),
        (
            "functions:",
            "function:",
            "a flat workflow has no key `function`: did you mean `functions`?",
        ),
        (
            "global_input:",
            "globl_input:",
            "did you mean `global_input`?",
        ),
        ("source: start\n", "\n", "a function has no `source`"),
        (
            "type: pass, nodes",
            "type: paralel, nodes",
            "there is no type of `next` `paralel`: did you mean `parallel`?",
        ),
        (
            "nodes: [end]",
            "nodes: [ende]",
            "there is no node `ende`: did you mean `end`?",
        ),
        (
            "nodes: [end]",
            "nodes: [start]",
            "these nodes wait for each other: start → start",
        ),
        ("parameter: x", "parameter: xx", "`xx`: did you mean `x`?"),
        (
            "function: INPUT, parameter: x",
            "function: strat, parameter: x",
            "there is no node `strat`: did you mean `start`?",
        ),
        (
            "function: INPUT, parameter: x",
            "function: start, parameter: y",
            "node `start` has no output `y`",
        ),
        (
            "function: INPUT, parameter: x",
            "function: end, parameter: x",
            "node `end` has no output `x`",
        ),
        (
            "parameter: doc}, size: 8",
            "parameter: x}, size: 8",
            "written by `start` alone",
        ),
        (
            "type: normal",
            "type: nomral",
            "there is no type of a parameter `nomral`: did you mean `normal`?",
        ),
        (
            "size: 100",
            "size: -1",
            "`size` must be a whole number from 0",
        ),
        (
            "runtime: 0.5",
            "runtime: fast",
            "`runtime` must be a number from 0",
        ),
        ("name: end", "name: start", "`start` is defined twice"),
        (
            "name: end",
            "name: INPUT",
            "`INPUT` cannot be the name of a function",
        ),
        (
            "{type: pass, nodes: [end]}",
            "{type: foreach, nodes: [end]}",
            "has no input of type `key`",
        ),
        (
            "{type: pass, nodes: [end]}",
            "{type: switch, nodes: [end]}",
            "`next` has no `conditions`",
        ),
        (
            "{type: pass, nodes: [end]}",
            "{type: switch, nodes: [end], conditions: [a.b, default]}",
            "2 conditions for 1 nodes",
        ),
        (
            "{type: pass, nodes: [end]}",
            "{type: pass, nodes: [end], conditions: [default]}",
            "conditions without a switch",
        ),
        (
            "{type: pass, nodes: [end]}",
            "{type: switch, nodes: [end], conditions: [\"start.x + 1 > 2\"]}",
            "`+` has no meaning here",
        ),
        (
            "{type: pass, nodes: [end]}",
            "{type: switch, nodes: [end], conditions: [start.y]}",
            "has no output `y`",
        ),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        let problems = refused(Format::Faasflow, &bad);
        let found = problems.iter().any(|(_, _, said)| said.contains(words));
        assert!(found, "{to}: {problems:?}");
    }
    // Two mistakes are told at once, each at its place.
    let bad = good.replace("runtime: 0.5", "runtme: 0.5");
    let places: Vec<_> = refused(Format::Faasflow, &bad)
        .iter()
        .map(|of| (of.0, of.1))
        .collect();
    assert_eq!(places, [(7, 3), (15, 3)]);
    let text = "{type: switch, nodes: [end], conditions: [\"start.x + 1 > 2\"]}";
    let bad = good.replace("{type: pass, nodes: [end]}", text);
    let column = 3 + "next: ".len() + text.find('+').unwrap();
    assert_eq!(refused(Format::Faasflow, &bad)[0].1, column);
}

#[test]
fn a_condition_that_reads_a_list_is_refused() {
    let text = flat(&[
        function(
            "a",
            &[],
            &[("keys", "keys")],
            &switch(&[("a.keys > 1", "b")]),
        ),
        function("b", &[("k", "a.keys:key")], &[], ""),
    ]);
    assert!(
        refused(Format::Faasflow, &text)[0]
            .2
            .contains("a condition reads a list")
    );
}

#[test]
fn names_that_the_language_has_not_are_changed_and_stay_apart() {
    let text = flat(&[
        function(
            "1.a",
            &[],
            &[("x y", "normal"), ("x.y", "normal")],
            &PASS("input"),
        ),
        function("input", &[("p", "1.a.x")], &[], ""),
    ]);
    let text = text.replace(
        "{function: 1, parameter: a.x}",
        "{function: 1.a, parameter: x.y}",
    );
    let definition = definition(&text);
    assert_eq!(sources(&definition, "input_2", "p"), ["node_1_a.x_y_2"]);
}

#[test]
fn many_functions_are_imported_in_a_moment() {
    let names: Vec<String> = (0..3000).map(|index| format!("f{index}")).collect();
    let functions: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let next = names
                .get(index + 1)
                .map_or_else(String::new, |next| PASS(next));
            function(
                name,
                &[("p", if index == 0 { "INPUT.doc" } else { "INPUT.x" })],
                &[("x", "normal")],
                &next,
            )
        })
        .collect();
    let definition = definition(&flat(&functions));
    assert_eq!(sources(&definition, "f2999", "p"), ["f2998.x"]);
}

/// A function that writes `n0` and so on, and a switch behind it whose cases ask for so many of them.
fn steered(cases: usize, names: usize) -> String {
    let outputs: Vec<String> = (0..cases * names)
        .map(|index| format!("n{index}"))
        .collect();
    let outputs: Vec<(&str, &str)> = outputs
        .iter()
        .map(|name| (name.as_str(), "normal"))
        .collect();
    let condition = |case: usize| {
        let asked = (0..names).map(|name| {
            let name = case * names + name;
            format!("INPUT.n{name} > {name}.5 and INPUT.n{name} < 0")
        });
        asked.collect::<Vec<_>>().join(" and ")
    };
    let conditions: Vec<String> = (0..cases).map(condition).collect();
    let mut all: Vec<(&str, &str)> = conditions.iter().map(|of| (of.as_str(), "b")).collect();
    all.push(("default", "c"));
    flat(&[
        function("a", &[], &outputs, &PASS("v")),
        function("v", &[], &[], &switch(&all)),
        function("b", &[], &[], &PASS("d")),
        function("c", &[], &[], ""),
        function("d", &[], &[], ""),
    ])
}

#[test]
fn a_switch_over_many_names_and_numbers_is_steered_in_a_moment() {
    definition(&steered(60, 20));
}

#[test]
fn a_condition_that_no_expression_can_be_is_refused() {
    let said = refused(Format::Faasflow, &steered(1, 300));
    assert!(
        said[0].2.contains("this expression cannot be imported"),
        "{said:?}"
    );
}

#[test]
fn a_name_that_too_many_write_and_read_is_refused() {
    let ports: Vec<String> = (0..10).map(|port| format!("p{port}")).collect();
    let ports: Vec<(&str, &str)> = ports
        .iter()
        .map(|port| (port.as_str(), "INPUT.x"))
        .collect();
    let functions: Vec<String> = (0..2000)
        .map(|index| {
            let inputs: &[(&str, &str)] = if index == 0 { &[] } else { &ports };
            let next = if index == 1999 {
                String::new()
            } else {
                PASS(&format!("f{}", index + 1))
            };
            function(&format!("f{index}"), inputs, &[("x", "normal")], &next)
        })
        .collect();
    let said = refused(Format::Faasflow, &flat(&functions));
    assert!(
        said[0].2.contains("so many functions write and read `x`"),
        "{said:?}"
    );
}
