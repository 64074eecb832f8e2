//! Each construct of the language: what it becomes, and what is wrong with it.

use super::*;
use engine::plan::ErrorClass;

mod bindings;
mod delays;
mod order;
mod work;

/// A definition of these nodes, with inputs of each kind and an optional one.
fn text_of(nodes: &str) -> String {
    format!(
        "workflow: w\ninput: {{ b: bytes, v: value, l: list, o: {{ kind: value, optional: true }} }}\n\
         constants: {{ limit: 100, names: [a, 'b'], text: hello }}\nnodes:\n  a: {{ function: e:f, output: {{ b: bytes, v: value, l: list }} }}\n{nodes}"
    )
}

fn good(nodes: &str) -> Definition {
    let text = text_of(nodes);
    parse("w.yaml", text.as_bytes()).unwrap_or_else(|error| panic!("{error:?}\n{text}"))
}

/// The node of a name.
fn node<'d>(definition: &'d Definition, name: &str) -> &'d Node {
    let mut nodes = definition.nodes.iter();
    nodes.find(|node| node.name.value == name).unwrap()
}

/// The places of what a list names.
fn places(to: &[Spanned<usize>]) -> Vec<usize> {
    to.iter().map(|to| to.value).collect()
}

/// Asserts that nodes give one problem with these words in its message and its help; they stand from line 6 on.
fn refused(cases: &[(&str, &str, &str, &str)]) {
    for (nodes, place, message, help) in cases {
        let told = problems(&text_of(nodes));
        let [told] = told.as_slice() else {
            panic!("{nodes}: {told:#?}")
        };
        let (said, helped) = told.split_once(" | ").unwrap();
        assert!(
            said.starts_with(&format!("{place} ")),
            "{nodes}: not {place}, {told}"
        );
        assert!(said.contains(message), "{nodes}: {told}");
        assert!(helped.contains(help), "{nodes}: {told}");
    }
}

fn sources(definition: &Definition, name: &str) -> Vec<Vec<From>> {
    let inputs = node(definition, name).inputs.iter();
    inputs
        .map(|input| input.from.iter().map(|from| from.value).collect())
        .collect()
}
