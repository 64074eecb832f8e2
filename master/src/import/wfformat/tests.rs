use super::EXAMPLE;
use crate::definition::{Definition, From};
use crate::import::tests::{defined, refused};
use crate::import::{Draft, Format, Options, import};
use serde_json::{Value, json};

fn draft(text: &str) -> Draft {
    match import(
        Format::Wfformat,
        "w.json",
        text.as_bytes(),
        &Options::default(),
    ) {
        Ok(draft) => draft,
        Err(error) => panic!("{:?}", miette::Report::new(error)),
    }
}

/// Data edges and others, as `from.output → to` and `from → to`.
fn edges(definition: &Definition) -> Vec<String> {
    let mut edges = Vec::new();
    for (place, node) in definition.nodes.iter().enumerate() {
        for from in definition.reads(place) {
            if let From::Output { node: from, output } = from {
                let from = &definition.nodes[from];
                let output = &from.outputs[usize::from(output)].name.value;
                edges.push(format!(
                    "{}.{output} → {}",
                    from.name.value, node.name.value
                ));
            }
        }
        for after in &node.after {
            let from = &definition.nodes[after.value].name.value;
            edges.push(format!("{from} → {}", node.name.value));
        }
    }
    edges
}

/// The example in the schemas before 1.5: everything of a task in one place, under the names of keys of its time.
fn earlier(tasks: &str, size: &str, runtime: &str) -> Value {
    let file =
        |link: &str, name: &str, bytes: u64| json!({ "link": link, "name": name, size: bytes });
    json!({
        "name": "a run",
        "schemaVersion": "1.0",
        "workflow": {
            "executedAt": "20210713T233448+0800",
            tasks: [
                {
                    "name": "split", "type": "compute", runtime: 0.25, "parents": [], "children": ["left", "right"],
                    "files": [file("input", "text.txt", 900), file("output", "parts/a b.txt", 400)],
                },
                {
                    "name": "left", "type": "compute", runtime: 2, "parents": ["split"], "children": ["join"],
                    "files": [file("input", "parts/a b.txt", 400), file("output", "left.txt", 10)],
                },
                {
                    "name": "right", "type": "compute", runtime: 3, "parents": ["split"], "children": ["join"],
                    "files": [file("input", "parts/a b.txt", 400), file("input", "text.txt", 900)],
                },
                {
                    "name": "join", "type": "compute", runtime: 1, "parents": ["left", "right"], "children": [],
                    "files": [file("input", "left.txt", 10), file("output", "out.txt", 12)],
                },
            ],
        },
    })
}

#[test]
fn edges_follow_from_files_and_from_parents_without_files() {
    let definition = defined(&draft(EXAMPLE));
    assert_eq!(definition.workflow.value, "a_run");
    assert_eq!(
        edges(&definition),
        [
            "split.a_b_txt → left",
            // One payload, which two tasks read.
            "split.a_b_txt → right",
            "left.left_txt → join",
            "right → join",
        ]
    );
    let inputs: Vec<_> = definition
        .inputs
        .iter()
        .map(|input| input.name.value.as_str())
        .collect();
    assert_eq!(inputs, ["text_txt"]);
    let outputs: Vec<_> = definition
        .outputs
        .iter()
        .map(|output| output.name.value.as_str())
        .collect();
    assert_eq!(outputs, ["out_txt"]);
    let profile = &definition.nodes[0].profile;
    assert_eq!((profile.runtime_ms, profile.output_bytes), (250.0, 400));
}

#[test]
fn all_schemas_say_the_same() {
    let plain = |text: &str| {
        let mut draft = draft(text);
        draft.notes.clear();
        draft
            .nodes
            .iter_mut()
            .for_each(|node| node.comments.clear());
        draft
    };
    let now = plain(EXAMPLE);
    for (tasks, size, runtime) in [
        ("jobs", "size", "runtime"),
        ("tasks", "size", "runtime"),
        ("tasks", "sizeInBytes", "runtimeInSeconds"),
    ] {
        let then = earlier(tasks, size, runtime).to_string();
        assert_eq!(plain(&then), now, "{tasks} {size} {runtime}");
    }
}

#[test]
fn an_edge_that_one_side_names_is_an_edge() {
    let both = defined(&draft(EXAMPLE));
    for key in ["parents", "children"] {
        let mut instance: Value = serde_json::from_str(EXAMPLE).unwrap();
        let tasks = instance["workflow"]["specification"]["tasks"]
            .as_array_mut()
            .unwrap();
        tasks.iter_mut().for_each(|task| task[key] = json!([]));
        assert_eq!(
            edges(&defined(&draft(&instance.to_string()))),
            edges(&both),
            "without {key}"
        );
    }
}

fn instance(tasks: Value) -> String {
    json!({ "name": "w", "workflow": { "specification": { "tasks": tasks } } }).to_string()
}

fn task(id: &str, parents: &[&str], reads: &[&str], writes: &[&str]) -> Value {
    json!({ "name": id, "id": id, "parents": parents, "children": [], "inputFiles": reads, "outputFiles": writes })
}

#[test]
fn of_several_writers_the_last_parent_counts() {
    let text = instance(json!([
        task("a", &[], &[], &["f"]),
        task("b", &["a"], &["f"], &["f"]),
        task("c", &["b"], &["f"], &[]),
        task("d", &["a"], &["f"], &[]),
        task("e", &[], &["f"], &[]),
    ]));
    let draft = draft(&text);
    let definition = defined(&draft);
    // `e` comes before no writer and after none.
    assert_eq!(
        edges(&definition),
        ["a.f → b", "b.f → c", "a.f → d", "a.f → e"]
    );
    assert!(
        draft
            .notes
            .iter()
            .any(|note| note.contains("written by several tasks: `f`"))
    );
    assert!(
        draft
            .notes
            .iter()
            .any(|note| note.contains("1 files have no size"))
    );
    assert!(
        draft
            .notes
            .iter()
            .any(|note| note.contains("5 tasks have no run time"))
    );
}

#[test]
fn a_file_that_a_task_changes_in_place_comes_from_elsewhere() {
    let definition = defined(&draft(&instance(json!([task("a", &[], &["f"], &["f"])]))));
    assert_eq!(definition.inputs.len(), 1);
    assert_eq!(definition.outputs.len(), 1);
}

#[test]
fn tasks_that_wait_for_each_other_are_refused_with_the_path() {
    let by_parents = instance(json!([
        task("a", &["b"], &[], &[]),
        task("b", &["a"], &[], &[])
    ]));
    let by_files = instance(json!([
        task("a", &[], &["y"], &["x"]),
        task("b", &[], &["x"], &["y"])
    ]));
    for text in [by_parents, by_files] {
        let said = &refused(Format::Wfformat, &text)[0].2;
        assert!(said.contains("these nodes wait for each other: "), "{said}");
        assert!(
            said.contains("a → b → a") || said.contains("b → a → b"),
            "{said}"
        );
    }
}

#[test]
fn mistakes_are_refused_at_their_place_with_what_would_be_right() {
    for (from, to, words) in [
        (
            "\"workflow\":",
            "\"workflw\":",
            "the file has no `workflow`",
        ),
        (
            "\"specification\":",
            "\"spec\":",
            "`workflow` has no `specification`",
        ),
        (
            "\"parents\": [\"split\"]",
            "\"parents\": [\"spilt\"]",
            "there is no task `spilt`: did you mean `split`?",
        ),
        (
            "\"parents\": [\"split\"]",
            "\"parents\": \"split\"",
            "a list of tasks must be a list",
        ),
        (
            "\"id\": \"left\",",
            "\"id\": \"split\",",
            "`split` is defined twice",
        ),
        (
            "\"id\": \"left\",",
            "\"id\": 7,",
            "the id of a task must be a text",
        ),
        (
            "\"sizeInBytes\": 400",
            "\"sizeInBytes\": -400",
            "`sizeInBytes` must be a whole number",
        ),
        (
            "\"runtimeInSeconds\": 2",
            "\"runtimeInSeconds\": \"2\"",
            "`runtimeInSeconds` must be a number",
        ),
    ] {
        let bad = EXAMPLE.replacen(from, to, 1);
        assert_ne!(bad, EXAMPLE, "{from}");
        let problems = refused(Format::Wfformat, &bad);
        let found = problems.iter().any(|(_, _, said)| said.contains(words));
        assert!(found, "{to}: {problems:?}");
    }
    let empty = instance(json!([]));
    assert!(
        refused(Format::Wfformat, &empty)[0]
            .2
            .contains("has no nodes")
    );
}

#[test]
fn what_was_recorded_is_asked_for_only_on_demand() {
    let text = EXAMPLE.replace(
        "\"runtimeInSeconds\": 2,",
        "\"runtimeInSeconds\": 2, \"memoryInBytes\": 1e9, \"coreCount\": 4,",
    );
    let mut options = Options::default();
    let yaml = |options: &Options| {
        import(Format::Wfformat, "w", text.as_bytes(), options)
            .unwrap()
            .to_yaml()
    };
    assert!(
        yaml(&options).contains("# recorded memory 954 MiB, recorded cores 4"),
        "{}",
        yaml(&options)
    );
    assert!(!yaml(&options).contains("memory_bytes") && !yaml(&options).contains("cpus"));
    options.recorded_resources = true;
    assert!(yaml(&options).contains("memory_bytes: 1000000000"));
    assert!(
        yaml(&options).contains("memory_mib: 992, scale: 2, cpus: 4"),
        "{}",
        yaml(&options)
    );
}

#[test]
fn what_the_language_cannot_say_of_a_recording_is_changed_and_told() {
    let options = Options {
        recorded_resources: true,
        ..Options::default()
    };
    for (cores, cpus) in [(0.5, 1), (2.5, 3), (65_536.0, 1024)] {
        let file = |id: &str| json!({ "id": id, "sizeInBytes": 1u64 << 50 });
        let recorded = json!({ "name": "w", "workflow": {
            "specification": {
                "tasks": [task("one", &[], &[], &["big", "bigger"])],
                "files": [file("big"), file("bigger")],
            },
            "execution": { "tasks": [{ "id": "one", "coreCount": cores }] },
        } });
        let text = recorded.to_string();
        let draft = import(Format::Wfformat, "w", text.as_bytes(), &options).unwrap();
        let notes = draft.notes.join("\n");
        assert!(notes.contains("1 nodes were recorded with CPUs"), "{notes}");
        assert!(
            notes.contains("1 nodes were recorded with outputs of more than"),
            "{notes}"
        );
        let definition = defined(&draft);
        assert_eq!(definition.nodes[0].resources.cpus, cpus);
        assert_eq!(definition.nodes[0].profile.output_bytes, 1 << 50);
    }
}

#[test]
fn large_instances_are_imported_in_a_moment() {
    let wide = 5000;
    let mut tasks = vec![task("first", &[], &["in"], &["f"])];
    for index in 0..wide {
        tasks.push(task(
            &format!("t{index}"),
            &["first"],
            &["f"],
            &[&format!("g{index}")],
        ));
    }
    let names: Vec<String> = (0..wide).map(|index| format!("t{index}")).collect();
    let files: Vec<String> = (0..wide).map(|index| format!("g{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    tasks.push(task("last", &names, &files, &["out"]));
    let definition = defined(&draft(&instance(Value::from(tasks))));
    assert_eq!(edges(&definition).len(), 2 * wide);
}

#[test]
fn only_schemas_that_are_known_or_like_them_are_read() {
    let of = |version: &str| EXAMPLE.replace("\"1.5\"", version);
    for known in ["\"1.0\"", "\"1.5\"", "1.4", "\"1\"", "null"] {
        let notes = draft(&of(known)).notes.join("\n");
        assert!(!notes.contains("newer"), "{known}: {notes}");
    }
    for newer in ["\"1.6\"", "\"1.10\""] {
        let notes = draft(&of(newer)).notes.join("\n");
        let told = "is newer than those that are known (1.0 to 1.5)";
        assert!(notes.contains(told), "{newer}: {notes}");
    }
    for other in [
        "\"9.9\"",
        "\"2.0\"",
        "\"0.9\"",
        "\"latest\"",
        "\"1.x\"",
        "\"\"",
        "[1]",
    ] {
        let told = refused(Format::Wfformat, &of(other));
        let [(3, 20, told)] = told.as_slice() else {
            panic!("{other}: {told:?}")
        };
        let fits = told.contains("known are 1.0 to 1.5") || told.contains("a version, as \"1.5\"");
        assert!(fits, "{other}: {told}");
    }
}
