//! A plain interpreter of drafts: the rules of edges, one node after the other, and functions that are closures.

use engine::delay::{check_span, check_time, is_timestamp};
use engine::expression::{Expression, ExpressionError};
use engine::plan::{ErrorClass, ErrorMatch};
use master::import::{Delay, Draft, Feed, Formula, Node, Source, Work};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// How a node ended.
#[derive(Clone, Debug)]
enum End {
    /// With its output, and the case that it chose.
    Well(Value, Option<usize>),
    Skipped,
    /// With what its error output says, and the catch that took it.
    Caught(Value, usize),
}

/// Most bytes of JSON that an expression reads of a list.
const LIST_BYTES_MAX: usize = 65_536;

/// A failure: its class, and what it says.
type Failure = (ErrorClass, String);

/// What the functions of the machines do; `attempt` counts from 1.
pub(crate) fn function(name: &str, input: &Value, attempt: u64) -> Result<Value, Failure> {
    let error = |text: String| Err((ErrorClass::Error, text));
    match name {
        "states:echo" => Ok(input.clone()),
        // Doubles `n`, and passes on whatever else there is.
        "states:double" => match input["n"].as_i64() {
            Some(n) => {
                let mut output = input.clone();
                output["n"] = json!(2 * n);
                Ok(output)
            }
            None => error(format!("NoNumber: {input}")),
        },
        // Fails as it is told to, if it is.
        "states:fail" => match (&input["error"], &input["cause"]) {
            (Value::String(name), Value::String(_)) if name.is_empty() => Ok(input.clone()),
            (Value::String(name), Value::String(cause)) => error(format!("{name}: {cause}")),
            _ => error(format!("Unexpected: {input}")),
        },
        // Fails so many times, or with these errors one after the other.
        "states:flaky" if input["fails"].as_u64() >= Some(attempt) => {
            error("Flaky: try again".to_owned())
        }
        "states:flaky" => match &input["fails"][attempt as usize - 1] {
            Value::String(name) => error(format!("{name}: try again")),
            _ => Ok(json!({ "attempts": attempt })),
        },
        // Takes longer than a second.
        "states:slow" => Err((ErrorClass::Timeout, "it took too long".to_owned())),
        _ => panic!("there is no function {name}"),
    }
}

fn matches(on: &[String]) -> Vec<ErrorMatch> {
    let class = |name: &String| {
        ErrorClass::ALL
            .into_iter()
            .find(|class| class.name() == name)
    };
    on.iter()
        .map(|name| class(name).map_or_else(|| ErrorMatch::Named(name.clone()), ErrorMatch::Class))
        .collect()
}

/// That a delay is one; nobody waits for it here.
fn waits(delay: &Delay, names: &[&str], values: &[Option<&[u8]>]) -> Result<(), String> {
    let given = |compiled: Result<Expression, _>, text: &str| {
        let compiled = compiled.unwrap_or_else(|error: ExpressionError| panic!("{text}: {error}"));
        let value = compiled.evaluate(values);
        value.map_err(|error| error.to_string())
    };
    match delay {
        Delay::Fixed(_) => Ok(()),
        Delay::Computed(text) => {
            let compiled = Expression::compile_milliseconds(text, names);
            check_span(&given(compiled, text)?)
        }
        Delay::Until(text) if is_timestamp(text) => Ok(()),
        Delay::Until(text) => check_time(&given(Expression::compile_time(text, names), text)?),
    }
}

/// What runs once for all, or once for each item of a list: its nodes, and those that run for the items of lists in it.
struct Room<'d> {
    draft: &'d Draft,
    input: &'d Value,
    /// Of the room, or of one in it: those that its nodes may name.
    names: HashSet<&'d str>,
    item: Option<&'d Value>,
    ends: HashMap<&'d str, End>,
}

/// What the workflow gives, or what its failure says.
pub(crate) fn run(draft: &Draft, input: &Value) -> Result<Value, String> {
    let names: HashSet<&str> = draft.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names.len(), draft.nodes.len(), "names are unique");
    let room = room(draft, input, None, None)?;
    match draft.outputs.as_slice() {
        [(_, feed)] => room
            .feed(feed)
            .ok_or_else(|| "the output is absent".to_owned()),
        _ => Err("there is no output".to_owned()),
    }
}

/// The node whose list a node runs over.
fn list_of(node: &Node) -> Option<&str> {
    node.foreach.as_ref().map(|foreach| match &foreach.list {
        Source::Output { node, .. } | Source::SameItem { node, .. } => node.as_str(),
        other => panic!("no import runs over {other}"),
    })
}

/// Runs the nodes for one item of `list`, or those that run once, to their ends.
fn room<'d>(
    draft: &'d Draft,
    input: &'d Value,
    list: Option<&str>,
    item: Option<&'d Value>,
) -> Result<Room<'d>, String> {
    let all = draft.nodes.iter();
    let own: Vec<&Node> = all.clone().filter(|node| list_of(node) == list).collect();
    // What runs for the items of a list in this room is seen from here as one step, which gathers.
    let is_own = |name: &str| own.iter().any(|node| node.name == name);
    let within: Vec<&Node> = all
        .filter(|node| list_of(node).is_some_and(is_own))
        .collect();
    let mut room = Room {
        draft,
        input,
        names: own
            .iter()
            .chain(&within)
            .map(|node| node.name.as_str())
            .collect(),
        item,
        ends: HashMap::new(),
    };
    while room.ends.len() < room.names.len() {
        let ended = |name: &str| room.ends.contains_key(name);
        let ready = own
            .iter()
            .find(|node| !ended(&node.name) && room.waits_for(node).iter().all(|name| ended(name)));
        if let Some(node) = ready {
            let end = room.node(node)?;
            room.ends.insert(&node.name, end);
            continue;
        }
        let lists = within.iter().filter(|node| !ended(&node.name));
        let list = lists
            .filter_map(|node| list_of(node))
            .find(|list| ended(list))
            .expect("a node is ready: there is no cycle");
        let gathered = room.gathered(list, &within)?;
        room.ends.extend(gathered);
    }
    Ok(room)
}

impl<'d> Room<'d> {
    /// What the nodes over a list come to: each a list of what it gave, with null where it gave nothing.
    fn gathered(&self, list: &str, within: &[&'d Node]) -> Result<Vec<(&'d str, End)>, String> {
        let nodes = within.iter().filter(|node| list_of(node) == Some(list));
        let items = match &self.ends[list] {
            End::Well(Value::Array(items), _) => items.clone(),
            End::Well(other, _) => panic!("{other} is no list"),
            End::Skipped | End::Caught(..) => {
                return Ok(nodes
                    .map(|node| (node.name.as_str(), End::Skipped))
                    .collect());
            }
        };
        let mut ends = Vec::with_capacity(items.len());
        for item in &items {
            ends.push(room(self.draft, self.input, Some(list), Some(item))?.ends);
        }
        let of = |node: &Node| {
            let each = ends.iter().map(|ends| match &ends[node.name.as_str()] {
                End::Well(value, _) => value.clone(),
                End::Skipped | End::Caught(..) => Value::Null,
            });
            End::Well(each.collect(), None)
        };
        Ok(nodes.map(|node| (node.name.as_str(), of(node))).collect())
    }

    fn expressions<'n>(&self, node: &'n Node) -> Vec<&'n str> {
        let mut expressions: Vec<&str> = match &node.work {
            Work::Compute(formulas) => formulas
                .iter()
                .map(|(_, formula)| match formula {
                    Formula::Value(text) | Formula::List(text) => text.as_str(),
                    Formula::Range { .. } => panic!("no import makes a range"),
                })
                .collect(),
            Work::Switch { cases, .. } => cases.iter().map(|(when, _)| when.as_str()).collect(),
            Work::Function(_) | Work::Command(_) | Work::Nothing => Vec::new(),
        };
        if let Some(Delay::Computed(text) | Delay::Until(text)) = &node.delay
            && !is_timestamp(text)
        {
            expressions.push(text);
        }
        expressions
    }

    /// What a node's expressions read that is not bound under its own inputs.
    fn reads(&self, node: &Node) -> Vec<String> {
        let is_source = |name: &str| name == "input" || self.names.contains(name);
        let mut paths = Vec::new();
        for text in self.expressions(node) {
            let names = Expression::names(text, is_source)
                .unwrap_or_else(|error| panic!("{}: {text}: {error}", node.name));
            for name in names {
                let bound = node.inputs.iter().any(|(bound, _)| *bound == name.path);
                if !bound && !paths.contains(&name.path) {
                    paths.push(name.path);
                }
            }
        }
        paths
    }

    fn sources(&self, node: &Node) -> Vec<Source> {
        let mut sources: Vec<Source> = node
            .inputs
            .iter()
            .flat_map(|(_, feed)| match feed {
                Feed::From { first_of, .. } => first_of.clone(),
                Feed::Value(_) | Feed::Text(_) => Vec::new(),
            })
            .collect();
        sources.extend(self.reads(node).iter().map(|path| self.source(path)));
        sources
    }

    fn source(&self, path: &str) -> Source {
        match path.split_once('.') {
            Some(("input", name)) => Source::Input(name.to_owned()),
            Some((node, output)) => {
                assert!(self.names.contains(node), "`{path}` names a node");
                let (node, output) = (node.to_owned(), output.to_owned());
                match self.item {
                    None => Source::Output { node, output },
                    Some(_) => Source::SameItem { node, output },
                }
            }
            None if path == "item" => Source::Item,
            None => panic!("`{path}` names nothing"),
        }
    }

    fn gates(&self, node: &Node) -> Vec<(&str, bool)> {
        let mut gates = Vec::new();
        for from in &self.draft.nodes {
            let end = self.ends.get(from.name.as_str());
            if let Work::Switch { cases, default } = &from.work {
                let targets = cases.iter().map(|(_, to)| to).chain(default);
                for (case, to) in targets.enumerate() {
                    if to.contains(&node.name) {
                        let live =
                            matches!(end, Some(End::Well(_, chosen)) if *chosen == Some(case));
                        gates.push((from.name.as_str(), live));
                    }
                }
            }
            for (place, catch) in from.catches.iter().enumerate() {
                if catch.to.contains(&node.name) {
                    let live = matches!(end, Some(End::Caught(_, taken)) if *taken == place);
                    gates.push((from.name.as_str(), live));
                }
            }
        }
        gates
    }

    fn waits_for(&self, node: &Node) -> Vec<String> {
        let sources = self.sources(node);
        let producers = sources.iter().filter_map(|source| match source {
            Source::Output { node, .. } | Source::SameItem { node, .. } => Some(node.clone()),
            _ => None,
        });
        let gates = self.gates(node);
        let gates = gates.iter().map(|(name, _)| (*name).to_owned());
        producers
            .chain(node.after.iter().cloned())
            .chain(gates)
            .collect()
    }

    fn value(&self, source: &Source) -> Option<Value> {
        match source {
            Source::Input(name) => {
                assert_eq!(name, "input");
                Some(self.input.clone())
            }
            Source::Output { node, output } | Source::SameItem { node, output } => {
                let same = matches!(source, Source::SameItem { .. });
                assert_eq!(same, self.item.is_some(), "{source} is named where it is");
                assert!(self.names.contains(node.as_str()), "{source} is in reach");
                match (self.ends.get(node.as_str())?, output.as_str()) {
                    (End::Caught(error, _), "error") => Some(error.clone()),
                    (End::Well(value, _), "output") => Some(value.clone()),
                    _ => None,
                }
            }
            Source::Item => Some(self.item.expect("there is an item").clone()),
            Source::Constant(_) => panic!("no import makes constants"),
        }
    }

    fn feed(&self, feed: &Feed) -> Option<Value> {
        match feed {
            Feed::Value(value) => Some(value.clone()),
            Feed::Text(text) => Some(json!(text)),
            Feed::From { first_of, .. } => first_of.iter().find_map(|source| self.value(source)),
        }
    }

    fn node(&self, node: &Node) -> Result<End, String> {
        let gates = self.gates(node);
        if !gates.is_empty() && !gates.iter().any(|(_, live)| *live) {
            return Ok(End::Skipped);
        }
        // Edges from other nodes that carry data or order: one must be live.
        let sources = self.sources(node);
        let from_nodes = sources
            .iter()
            .filter(|source| matches!(source, Source::Output { .. } | Source::SameItem { .. }));
        let mut edges: Vec<bool> = from_nodes
            .map(|source| self.value(source).is_some())
            .collect();
        // What an `after` alone ties to other items' nodes would run whether its own item got there or not.
        assert!(
            self.item.is_none() || node.after.is_empty(),
            "{} names what it waits for",
            node.name
        );
        let after = node
            .after
            .iter()
            .map(|name| matches!(self.ends[name.as_str()], End::Well(..)));
        edges.extend(after);
        if !edges.is_empty() && !edges.contains(&true) {
            return Ok(End::Skipped);
        }
        let mut values: HashMap<String, Value> = HashMap::new();
        for (name, feed) in &node.inputs {
            match self.feed(feed) {
                Some(value) => values.insert(name.clone(), value),
                None => return Ok(End::Skipped),
            };
        }
        for path in self.reads(node) {
            match self.value(&self.source(&path)) {
                Some(value) => values.insert(path, value),
                None => return Ok(End::Skipped),
            };
        }
        let done = self.attempts(node, &values);
        let (class, cause, attempt) = match done {
            Ok((value, case)) => return Ok(End::Well(value, case)),
            Err(failure) => failure,
        };
        let taken = node
            .catches
            .iter()
            .position(|catch| ErrorMatch::any(&matches(&catch.on), class, &cause));
        match taken {
            Some(place) => {
                let error = json!({
                    "node": node.name, "class": class.name(), "cause": cause, "attempt": attempt,
                });
                Ok(End::Caught(error, place))
            }
            None => Err(cause),
        }
    }

    /// Tries a node as often as it may: the first retrier that takes a failure decides, by what it has tried itself.
    fn attempts(
        &self,
        node: &Node,
        values: &HashMap<String, Value>,
    ) -> Result<(Value, Option<usize>), (ErrorClass, String, u64)> {
        let mut attempt = 1;
        let mut tried = vec![1; node.retriers.len()];
        loop {
            let (class, cause) = match self.work(node, values, attempt) {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let mut retriers = node.retriers.iter().zip(&mut tried);
            let first =
                retriers.find(|(retry, _)| ErrorMatch::any(&matches(&retry.on), class, &cause));
            match first {
                Some((retry, tried)) if *tried < retry.attempts => *tried += 1,
                _ => return Err((class, cause, attempt)),
            }
            attempt += 1;
        }
    }

    fn work(
        &self,
        node: &Node,
        values: &HashMap<String, Value>,
        attempt: u64,
    ) -> Result<(Value, Option<usize>), Failure> {
        let names: Vec<&str> = values.keys().map(String::as_str).collect();
        let texts: Vec<String> = values.values().map(Value::to_string).collect();
        let bytes: Vec<Option<&[u8]>> = texts.iter().map(|text| Some(text.as_bytes())).collect();
        let wrong = |error: engine::expression::EvaluationError| {
            (ErrorClass::Expression, error.to_string())
        };
        if let Some(delay) = &node.delay {
            waits(delay, &names, &bytes).map_err(|cause| (ErrorClass::Expression, cause))?;
        }
        if let Some(long) = texts.iter().find(|text| text.len() > LIST_BYTES_MAX) {
            let cause = format!("a list has {} bytes", long.len());
            return Err((ErrorClass::Expression, cause));
        }
        match &node.work {
            Work::Function(name) => Ok((function(name, &values["input"], attempt)?, None)),
            Work::Compute(formulas) => {
                assert_eq!(formulas.len(), 1);
                let (Formula::Value(text) | Formula::List(text)) = &formulas[0].1 else {
                    panic!("no import makes a range");
                };
                let compiled = Expression::compile(text, &names)
                    .unwrap_or_else(|error| panic!("{}: {text}: {error}", node.name));
                let value = compiled.evaluate(&bytes).map_err(wrong)?;
                if matches!(formulas[0].1, Formula::List(_)) && !value.is_array() {
                    return Err((ErrorClass::Expression, "it is no list".to_owned()));
                }
                Ok((value, None))
            }
            Work::Switch { cases, default } => {
                for (case, (text, _)) in cases.iter().enumerate() {
                    let compiled = Expression::compile_condition(text, &names)
                        .unwrap_or_else(|error| panic!("{}: {text}: {error}", node.name));
                    if compiled.holds(&bytes).map_err(wrong)? {
                        return Ok((Value::Null, Some(case)));
                    }
                }
                match default {
                    Some(_) => Ok((Value::Null, Some(cases.len()))),
                    None => Err((ErrorClass::Expression, "no case holds".to_owned())),
                }
            }
            Work::Nothing => Ok((Value::Null, None)),
            Work::Command(_) => panic!("no import makes a command"),
        }
    }
}
