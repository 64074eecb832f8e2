//! What nothing reads: a definition is warned of outputs that nobody uses, which in a state machine are no mistake.
//!
//! A node that computes what nothing reads is there for its failure, or for what waits for it. It becomes a switch, which has
//! no outputs, evaluates the same, and leads nowhere. What a function gives, and the workflow's input, must be declared; they
//! are read by a switch of that kind.

use crate::import::draft::{Delay, Draft, Feed, Foreach, Formula, Node, Source, Work};
use crate::import::names::Names;
use engine::expression::Expression;
use faasstore::binding::Kind;
use std::collections::HashSet;

/// Lets a switch read whatever nothing else reads. What is bytes stays as it is: no expression reads that.
pub(super) fn settle(draft: &mut Draft, names: &mut Names) {
    let read = read(draft);
    let mut readers = Vec::new();
    for input in &draft.inputs {
        let source = Source::Input(input.name.clone());
        if input.kind == Kind::Value && !read.contains(&source.in_expression()) {
            let name = names.identifier("input_unread", "state_");
            readers.push(reader(
                name,
                &source,
                None,
                "The machine reads nothing of its input.",
            ));
        }
    }
    for node in &mut draft.nodes {
        let is_read = |output: &str| read.contains(&format!("{}.{output}", node.name));
        match &node.work {
            Work::Compute(formulas) => {
                if let [(output, Formula::Value(text))] = formulas.as_slice()
                    && !is_read(output)
                    && let Some(switch) = switch(text)
                {
                    node.work = switch;
                }
            }
            Work::Function(_) => {
                for (output, kind) in &node.outputs {
                    if *kind != Kind::Value || is_read(output) {
                        continue;
                    }
                    let name = names.identifier(&format!("{}_unread", node.name), "state_");
                    let source = Source::output(&node.name, output);
                    let about = format!("Nothing reads what {} gives.", node.name);
                    readers.push(reader(name, &source, node.foreach.clone(), &about));
                }
            }
            Work::Command(_) | Work::Switch { .. } | Work::Nothing => {}
        }
    }
    draft.nodes.extend(readers);
}

/// A switch that evaluates an expression and leads nowhere, if that is still an expression.
fn switch(text: &str) -> Option<Work> {
    let condition = if text.starts_with("fail(") {
        text.to_owned()
    } else {
        format!("[{text}] == []")
    };
    let names = Expression::names(&condition, |_| true).ok()?;
    let paths: Vec<&str> = names.iter().map(|name| name.path.as_str()).collect();
    Expression::compile_condition(&condition, &paths).ok()?;
    Some(Work::Switch {
        cases: vec![(condition, Vec::new())],
        default: Some(Vec::new()),
    })
}

/// A switch that reads a source and leads nowhere.
fn reader(name: String, source: &Source, foreach: Option<Foreach>, about: &str) -> Node {
    let cases = vec![(format!("{} == []", source.in_expression()), Vec::new())];
    let work = Work::Switch {
        cases,
        default: Some(Vec::new()),
    };
    Node {
        comments: vec![about.to_owned()],
        foreach,
        ..Node::new(name, work)
    }
}

/// Everything that is read, as expressions name it.
fn read(draft: &Draft) -> HashSet<String> {
    let mut read = HashSet::new();
    let mut feed = |feed: &Feed| {
        if let Feed::From { first_of, .. } = feed {
            read.extend(first_of.iter().map(Source::in_expression));
        }
    };
    draft.outputs.iter().for_each(|(_, output)| feed(output));
    for node in &draft.nodes {
        node.inputs.iter().for_each(|(_, input)| feed(input));
    }
    for node in &draft.nodes {
        let lists = node
            .foreach
            .iter()
            .map(|foreach| foreach.list.in_expression());
        read.extend(lists);
        for text in expressions(node) {
            // What stands first in a reference is a node, or `input`, or a name that is no output of anything.
            let named = Expression::names(text, |_| true).unwrap_or_default();
            read.extend(named.into_iter().map(|name| name.path));
        }
    }
    read
}

fn expressions(node: &Node) -> Vec<&str> {
    let mut all: Vec<&str> = match &node.work {
        Work::Compute(formulas) => formulas
            .iter()
            .flat_map(|(_, formula)| match formula {
                Formula::Value(text) | Formula::List(text) => vec![text.as_str()],
                Formula::Range { from, to } => vec![from.as_str(), to.as_str()],
            })
            .collect(),
        Work::Switch { cases, .. } => cases.iter().map(|(when, _)| when.as_str()).collect(),
        Work::Function(_) | Work::Command(_) | Work::Nothing => Vec::new(),
    };
    match &node.delay {
        Some(Delay::Computed(text) | Delay::Until(text)) => all.push(text),
        Some(Delay::Fixed(_)) | None => {}
    }
    all
}
