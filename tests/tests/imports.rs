//! Every definition and instance of the shared data is imported, is a valid definition, and loses no edge.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use faasflow_tests::shared_data::folder as data;
use master::definition::{Definition, From, Work, parse};
use master::import::{Draft, Format, Options, load};
use std::collections::HashSet;
use std::path::Path;

fn imported(format: Format, path: &Path) -> (Draft, Definition) {
    let draft = match load(format, path, &Options::default()) {
        Ok(draft) => draft,
        Err(error) => panic!("{:?}", miette::Report::new(error)),
    };
    let text = draft.to_yaml();
    let again = load(format, path, &Options::default()).unwrap().to_yaml();
    assert_eq!(text, again, "the same file gives the same text");
    let name = format!("import of {}", path.display());
    match parse(&name, text.as_bytes()) {
        Ok(definition) => (draft, definition),
        Err(error) => panic!("{:?}", miette::Report::new(error)),
    }
}

/// Inputs of functions that another node writes, and pairs of nodes with an edge between them.
fn edges(definition: &Definition) -> (usize, usize) {
    let is_data = |from: &From| matches!(from, From::Output { .. });
    let functions = definition
        .nodes
        .iter()
        .filter(|node| matches!(node.work, Work::Function { .. }));
    let inputs = functions.flat_map(|node| &node.inputs);
    let data = inputs
        .filter(|input| input.from.iter().any(|from| is_data(&from.value)))
        .count();
    let pairs: HashSet<(usize, usize)> = definition
        .predecessors()
        .iter()
        .enumerate()
        .flat_map(|(to, before)| before.iter().map(move |&from| (from, to)))
        .collect();
    (data, pairs.len())
}

#[test]
fn the_published_definitions_are_imported_with_all_their_data_edges() {
    let name = "the_published_definitions_are_imported_with_all_their_data_edges";
    let Some(folder) = data(name, "faasflow") else {
        return;
    };
    // Nodes; inputs that a function writes. Of the scientific workflows these are exactly the parameters of the request that
    // are no workflow inputs (PUBLISHED.md counts them).
    for (workflow, nodes, data) in [
        ("cycles", 46, 132),
        ("epigenomics", 45, 50),
        ("genome", 50, 74),
        ("soykb", 45, 148),
        ("fileprocessing", 4, 4),
        ("wordcount", 3, 3),
        ("video", 6, 2),
        ("illgal_recognizer", 9, 2),
    ] {
        let path = folder.join(workflow).join("flat_workflow.yaml");
        let (draft, definition) = imported(Format::Faasflow, &path);
        assert_eq!(definition.workflow.value, workflow);
        assert_eq!(definition.nodes.len(), nodes, "{workflow}");
        assert_eq!(edges(&definition).0, data, "{workflow}");
        let placeholders = draft.nodes.iter().filter_map(|node| node.profile.as_ref());
        let placeholders = placeholders.filter(|profile| profile.placeholder).count();
        let scientific = ["cycles", "epigenomics", "genome", "soykb"].contains(&workflow);
        assert_eq!(
            placeholders,
            if scientific { nodes } else { 0 },
            "{workflow}"
        );
        let ambiguous = draft
            .notes
            .iter()
            .filter(|note| note.contains("ambiguous"))
            .count();
        assert_eq!(
            ambiguous,
            usize::from(workflow == "illgal_recognizer"),
            "{workflow}"
        );
    }
}

#[test]
fn recorded_runs_are_imported_with_all_their_tasks_and_edges() {
    let name = "recorded_runs_are_imported_with_all_their_tasks_and_edges";
    let Some(folder) = data(name, "wfcommons") else {
        return;
    };
    for (file, tasks, edges_wanted) in [
        ("1000genome-chameleon-10ch-100k-001.json", 260, 380),
        ("bwa-chameleon-small-005.json", 104, 400),
        ("epigenomics-chameleon-hep-1seq-50k-001.json", 73, 88),
        ("montage-chameleon-2mass-01d-001.json", 103, 231),
        ("rnaseq-dirt02-001.json", 197, 451),
    ] {
        let (_, definition) = imported(Format::Wfformat, &folder.join(file));
        assert_eq!(definition.nodes.len(), tasks, "{file}");
        assert_eq!(edges(&definition).1, edges_wanted, "{file}");
    }
}

#[test]
fn the_same_workflow_from_both_formats_has_the_same_edges_and_bytes() {
    let name = "the_same_workflow_from_both_formats_has_the_same_edges_and_bytes";
    let (Some(flat), Some(recorded)) = (data(name, "faasflow"), data(name, "wfcommons")) else {
        return;
    };
    let (_, flat) = imported(Format::Faasflow, &flat.join("genome/flat_workflow.yaml"));
    let (_, recorded) = imported(
        Format::Wfformat,
        &recorded.join("genome-50-schema-1.0.json"),
    );
    let names = |definition: &Definition| {
        let nodes = definition.nodes.iter().map(|node| node.name.value.clone());
        nodes.collect::<HashSet<_>>()
    };
    assert_eq!(names(&flat), names(&recorded));
    assert_eq!(edges(&flat), edges(&recorded));
    let bytes = |definition: &Definition| {
        let profiles = definition
            .nodes
            .iter()
            .map(|node| node.profile.output_bytes);
        profiles.sum::<u64>()
    };
    assert_eq!(bytes(&flat), bytes(&recorded));
}

#[test]
fn a_file_of_the_shared_data_that_is_damaged_anywhere_gives_words() {
    let name = "a_file_of_the_shared_data_that_is_damaged_anywhere_gives_words";
    let Some(folder) = data(name, "faasflow") else {
        return;
    };
    let text =
        std::fs::read_to_string(folder.join("illgal_recognizer/flat_workflow.yaml")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for left_out in 0..lines.len() {
        let mut damaged = lines.clone();
        damaged.remove(left_out);
        let damaged = damaged.join("\n");
        match master::import::import(
            Format::Faasflow,
            "w",
            damaged.as_bytes(),
            &Options::default(),
        ) {
            Ok(draft) => {
                let text = draft.to_yaml();
                let parsed = parse("w.yaml", text.as_bytes());
                assert!(
                    parsed.is_ok(),
                    "without line {}: {:?}",
                    left_out + 1,
                    parsed.err()
                );
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}
