//! What a picture shows, whatever it is made for: boxes, and lines between them.

use super::expected::{self, Expected};
use super::{Placed, words};
use crate::definition::{COMMAND_EXECUTABLE, Definition, From, Node, NodeInput, Work};
use engine::plan::{Gate, Join};
use engine::worker::quantities::size_text;
use std::collections::BTreeMap;

/// More inputs, or outputs, of the workflow than this are shown as one box.
const OPENINGS_MAX: usize = 12;

/// What a box stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    Input,
    Output,
    Function,
    Command,
    Compute,
    Switch,
    Wait,
}

/// Where lines of a box's own begin: a case, or a catch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Port {
    pub(super) label: String,
    pub(super) kind: LineKind,
}

/// A node, or an input or output of the workflow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SceneBox {
    pub(super) name: String,
    /// What it does.
    pub(super) note: String,
    pub(super) shape: Shape,
    /// Its place in [`Scene::workers`]; none if it is divided among several.
    pub(super) worker: Option<usize>,
    pub(super) is_divided: bool,
    /// Over what it runs, item by item, and how.
    pub(super) foreach: Option<String>,
    /// Of how many edges it is a join, if not of all.
    pub(super) join: Option<u32>,
    /// What else holds for it.
    pub(super) marks: Vec<String>,
    pub(super) ports: Vec<Port>,
    /// The names of those that it stands for, if these are several.
    pub(super) members: Vec<String>,
    /// How many nodes of it are on the critical path.
    pub(super) critical: usize,
}

/// Why one waits for another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum LineKind {
    /// It reads what the other writes.
    Data,
    /// It only waits.
    After,
    /// A switch leads to it.
    Case,
    /// A failure leads to it.
    Catch,
}

impl LineKind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::After => "after",
            Self::Case => "case",
            Self::Catch => "catch",
        }
    }
}

/// A line from one box to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line {
    pub(super) from: usize,
    /// Which of the box's ports it begins at.
    pub(super) port: Option<usize>,
    pub(super) to: usize,
    pub(super) kind: LineKind,
    /// What is read; or the case or catch.
    pub(super) label: String,
    /// Whether who reads it cannot do without it, nor take something else.
    pub(super) needed: bool,
    /// Of boxes that stand for several: how many of the first ones each of the second ones waits for, and how many there are;
    /// none if it waits for all.
    pub(super) share: Option<(usize, usize)>,
    /// From which worker to which it crosses.
    pub(super) crosses: Option<(usize, usize)>,
    /// Bytes that are expected to cross; 0 if none are, or nothing is known of it.
    pub(super) bytes: u64,
    /// Whether it is part of the critical path.
    pub(super) critical: bool,
}

/// A picture's content.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) title: String,
    /// Longest that an invocation may take.
    pub(super) timeout_ms: Option<u32>,
    /// The workflow's inputs, its nodes in the order of the definition, its outputs.
    pub(super) boxes: Vec<SceneBox>,
    /// Each once.
    pub(super) lines: Vec<Line>,
    /// Their names; none if there is no placement.
    pub(super) workers: Vec<String>,
    /// What the placement is expected to come to, if that is known.
    pub(super) caption: Option<String>,
}

impl Scene {
    pub(super) fn of(definition: &Definition, placed: Option<Placed<'_>>) -> Self {
        let workers = placed.map_or_else(Vec::new, |placed| placed.workers.to_vec());
        let worker = placed.map(|placed| {
            let copies = placed.graph.copies_by_definition();
            let worker = |id: &u32| placed.placement.worker(*id);
            let workers = |copies: &Vec<u32>| copies.iter().map(worker).collect();
            copies.iter().map(workers).collect::<Vec<Vec<usize>>>()
        });
        let caption = placed.and_then(|placed| placed.estimate);
        let caption = caption.map(expected::caption);
        let expected = placed.and_then(|placed| Expected::of(definition, &placed));
        let inputs = definition.inputs.iter();
        let inputs = inputs.map(|one| (one.name.value.as_str(), words::input(one)));
        let (inputs, inputs_merged) = openings(inputs.collect(), Shape::Input);
        let outputs = definition.outputs.iter();
        let outputs = outputs.map(|one| (one.name.value.as_str(), words::output(one)));
        let (outputs, outputs_merged) = openings(outputs.collect(), Shape::Output);
        let mut boxes = inputs;
        let nodes_at = boxes.len();
        for (place, node) in definition.nodes.iter().enumerate() {
            let on = worker.as_ref().map_or(&[][..], |worker| &worker[place]);
            let mut one = node_box(definition, node, on);
            if on.len() > 1 {
                let names: Vec<&str> = on.iter().map(|on| workers[*on].as_str()).collect();
                one.marks.push(words::parts(&names));
            }
            let critical = expected.as_ref().is_some_and(|of| of.is_critical(place));
            one.critical = usize::from(critical);
            boxes.push(one);
        }
        let outputs_at = boxes.len();
        boxes.extend(outputs);
        let mut lines = Lines {
            definition,
            worker,
            expected,
            nodes_at,
            inputs_merged,
            gates: definition.gates(),
            found: BTreeMap::new(),
        };
        for place in 0..definition.nodes.len() {
            lines.lines_of(place);
        }
        for (place, output) in definition.outputs.iter().enumerate() {
            let to = outputs_at + if outputs_merged { 0 } else { place };
            let needed = !output.optional && output.from.len() == 1;
            for from in &output.from {
                lines.data(from.value, to, needed);
            }
        }
        Self {
            title: definition.workflow.value.clone(),
            timeout_ms: definition.timeout_ms,
            boxes,
            lines: lines.all(),
            workers,
            caption,
        }
    }

    /// The workflow's name, and how long it may take.
    pub(super) fn heading(&self) -> String {
        match self.timeout_ms {
            None => self.title.clone(),
            Some(timeout_ms) => format!("{}, timeout {timeout_ms} ms", self.title),
        }
    }

    /// What a line says when it is pointed at.
    pub(super) fn line_title(&self, line: &Line) -> String {
        let (from, to) = (&self.boxes[line.from].name, &self.boxes[line.to].name);
        let mut title = format!("{from} → {to}: {}", line.kind.name());
        let said = line.said();
        if !said.is_empty() {
            title.push_str(&format!(" {said}"));
        }
        if let Some((from, to)) = line.crosses {
            title.push_str(&format!(
                ", worker {} → {}",
                self.workers[from], self.workers[to]
            ));
        }
        if let Some(bytes) = line.bytes_text() {
            title.push_str(&format!(", {bytes}"));
        }
        if line.critical {
            title.push_str(", on the critical path");
        }
        title
    }
}

impl Line {
    /// What it says: what is read, or the case or catch; whether that may be absent; and of how many it is.
    pub(super) fn said(&self) -> String {
        let mut said = self.label.clone();
        if !self.needed {
            said.push_str(" (may be absent)");
        }
        if let Some(share) = self.share_text() {
            said.push_str(&format!(" ({share})"));
        }
        said.trim_start().to_owned()
    }

    /// The same, with the bytes that are expected to cross.
    pub(super) fn said_with_bytes(&self) -> String {
        let mut said = self.said();
        if let Some(bytes) = self.bytes_text() {
            said.push_str(if said.is_empty() { "" } else { ", " });
            said.push_str(&bytes);
        }
        said
    }

    /// Bytes that are expected to cross, if any are.
    pub(super) fn bytes_text(&self) -> Option<String> {
        (self.bytes > 0).then(|| size_text(self.bytes))
    }

    /// Of how many of those that a box stands for it is, if not of all.
    pub(super) fn share_text(&self) -> Option<String> {
        self.share.map(|(each, all)| format!("{each} of {all}"))
    }
}

impl SceneBox {
    /// What it is called: with how many it stands for, if these are several.
    pub(super) fn called(&self) -> String {
        match self.members.len() {
            0 => self.name.clone(),
            count => format!("{} × {count}", self.name),
        }
    }

    /// Whether it is on the critical path, or how many of those that it stands for are.
    pub(super) fn critical_text(&self) -> Option<String> {
        match (self.critical, self.members.len()) {
            (0, _) => None,
            (1, 0) => Some("on the critical path".to_owned()),
            (count, all) => Some(format!("{count} of {all} on the critical path")),
        }
    }
}

/// The boxes of all inputs, or outputs, by their names and what is said of them; and whether one box stands for all.
fn openings(all: Vec<(&str, &str)>, shape: Shape) -> (Vec<SceneBox>, bool) {
    let what = if shape == Shape::Input {
        "input"
    } else {
        "output"
    };
    if all.len() > OPENINGS_MAX {
        let name = format!("{} {what}s", all.len());
        return (vec![opening(&name, what, shape)], true);
    }
    let one = |(name, note): (&str, &str)| opening(name, note, shape);
    (all.into_iter().map(one).collect(), false)
}

fn opening(name: &str, note: &str, shape: Shape) -> SceneBox {
    SceneBox {
        name: name.to_owned(),
        note: note.to_owned(),
        shape,
        worker: None,
        is_divided: false,
        foreach: None,
        join: None,
        marks: Vec::new(),
        ports: Vec::new(),
        members: Vec::new(),
        critical: 0,
    }
}

/// A node on these workers: one for each of its parts, or none if nobody knows.
fn node_box(definition: &Definition, node: &Node, on: &[usize]) -> SceneBox {
    let shape = match &node.work {
        Work::Function { function, .. } if function.value.executable == COMMAND_EXECUTABLE => {
            Shape::Command
        }
        Work::Function { .. } => Shape::Function,
        Work::Compute(_) => Shape::Compute,
        Work::Switch(_) => Shape::Switch,
        Work::Nothing => Shape::Wait,
    };
    let mut ports = Vec::new();
    if let Work::Switch(cases) = &node.work {
        ports.extend(cases.iter().map(|case| Port {
            label: words::case(case),
            kind: LineKind::Case,
        }));
    }
    ports.extend(node.catches.iter().map(|catch| Port {
        label: words::catch(catch),
        kind: LineKind::Catch,
    }));
    SceneBox {
        name: node.name.value.clone(),
        note: words::work(node),
        shape,
        worker: on.first().copied().filter(|_| on.len() == 1),
        is_divided: on.len() > 1,
        foreach: words::foreach(definition, node, on.len() > 1),
        join: match node.join {
            Join::All => None,
            Join::AtLeast(count) => Some(count),
        },
        marks: words::marks(node),
        ports,
        members: Vec::new(),
        critical: 0,
    }
}

/// Whether a node does not run without the only source of an input.
fn is_needed(input: &NodeInput) -> bool {
    !input.optional && input.from.len() == 1
}

/// A line's target, source, kind and port.
type Between = (usize, usize, LineKind, Option<usize>);
/// What is read, and whether any of it is needed.
type Read = (Vec<String>, bool);

/// Collects lines; several reads of one box are one line.
struct Lines<'a> {
    definition: &'a Definition,
    /// The workers of each node, one for each of its parts.
    worker: Option<Vec<Vec<usize>>>,
    expected: Option<Expected>,
    nodes_at: usize,
    inputs_merged: bool,
    gates: Vec<Vec<Gate>>,
    /// By target, source, kind and port: what is read, and whether it is needed.
    found: BTreeMap<Between, Read>,
}

impl Lines<'_> {
    fn add(&mut self, from: usize, to: usize, kind: LineKind, port: Option<usize>, label: String) {
        self.add_read(from, to, (kind, port), label, true);
    }

    fn add_read(
        &mut self,
        from: usize,
        to: usize,
        (kind, port): (LineKind, Option<usize>),
        label: String,
        needed: bool,
    ) {
        let (labels, any_needed) = self.found.entry((to, from, kind, port)).or_default();
        *any_needed |= needed;
        if !label.is_empty() && !labels.contains(&label) {
            labels.push(label);
        }
    }

    fn data(&mut self, from: From, to: usize, needed: bool) {
        let (from, kind, name) = match from {
            From::Input(input) => {
                let input = usize::from(input);
                let from = if self.inputs_merged { 0 } else { input };
                let name = &self.definition.inputs[input].name;
                (from, LineKind::Data, name)
            }
            From::Output { node, output } | From::First { node, output } => {
                let producer = &self.definition.nodes[node];
                let failed = producer.error_output == Some(output);
                let kind = if failed {
                    LineKind::Catch
                } else {
                    LineKind::Data
                };
                let name = &producer.outputs[usize::from(output)].name;
                (self.nodes_at + node, kind, name)
            }
            From::Item { .. } | From::Constant(_) => return,
        };
        self.add_read(from, to, (kind, None), name.value.clone(), needed);
    }

    /// The lists of those of a node's regions that begin with it: where it waits for others in a region, those show whence
    /// the items come.
    fn lists_begun(&self, place: usize) -> Vec<From> {
        let definition = self.definition;
        let read = definition.inputs_read(place).filter_map(From::node);
        let after = definition.nodes[place].after.iter();
        let gates = self.gates[place].iter();
        let before = read
            .chain(after.map(|after| after.value))
            .chain(gates.map(|gate| gate.node() as usize));
        let mut before: Vec<usize> = before.collect();
        let mut begun = Vec::new();
        for region in definition.regions_of(place) {
            let within = |node: &usize| definition.regions_of(*node).any(|other| other == region);
            if !before.iter().any(within) {
                let list = definition.regions[region].list.value;
                begun.push(list);
                before.extend(list.node());
            }
        }
        begun
    }

    fn lines_of(&mut self, place: usize) {
        let definition = self.definition;
        let to = self.nodes_at + place;
        for from in self.lists_begun(place) {
            self.data(from, to, true);
        }
        let node = &definition.nodes[place];
        for input in node.all_inputs() {
            for from in &input.from {
                self.data(from.value, to, is_needed(input));
            }
        }
        for after in &node.after {
            self.add(
                self.nodes_at + after.value,
                to,
                LineKind::After,
                None,
                String::new(),
            );
        }
        // What leads from it to others.
        let mut port = 0;
        if let Work::Switch(cases) = &node.work {
            for case in cases {
                for target in &case.to {
                    let target = self.nodes_at + target.value;
                    self.add(to, target, LineKind::Case, Some(port), words::case(case));
                }
                port += 1;
            }
        }
        for catch in &node.catches {
            for target in &catch.to {
                let target = self.nodes_at + target.value;
                self.add(to, target, LineKind::Catch, Some(port), words::catch(catch));
            }
            port += 1;
        }
    }

    fn all(self) -> Vec<Line> {
        let node = |place: usize| {
            let node = place.checked_sub(self.nodes_at)?;
            (node < self.definition.nodes.len()).then_some(node)
        };
        // From where to where any of it crosses. Nodes of one region read only what is in the same part.
        let crosses = |from: usize, to: usize| {
            let (from, to) = (node(from)?, node(to)?);
            let worker = self.worker.as_ref()?;
            let (from_on, to_on) = (worker.get(from)?, worker.get(to)?);
            let region = |node: usize| self.definition.regions_of(node).last();
            let same = region(from).is_some() && region(from) == region(to);
            if same && from_on.len() > 1 {
                return None;
            }
            let pairs = from_on
                .iter()
                .flat_map(|from| to_on.iter().map(|to| (*from, *to)));
            pairs.into_iter().find(|(from, to)| from != to)
        };
        let expected = |from: usize, to: usize, kind: LineKind| {
            let (expected, from, to) = (self.expected.as_ref()?, node(from)?, node(to)?);
            let bytes = match kind {
                LineKind::Data => expected.bytes(from, to),
                _ => 0,
            };
            Some((bytes, expected.is_way(from, to)))
        };
        let line = |(key, (labels, needed)): (&Between, &Read)| {
            let (to, from, kind, port) = *key;
            let (bytes, critical) = expected(from, to, kind).unwrap_or_default();
            Line {
                from,
                port,
                to,
                kind,
                label: labels.join(", "),
                needed: *needed,
                share: None,
                crosses: crosses(from, to),
                bytes,
                critical,
            }
        };
        self.found.iter().map(line).collect()
    }
}
