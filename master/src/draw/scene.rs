//! What a picture shows, whatever it is made for: boxes, and lines between them.

use super::Placed;
use crate::definition::{
    COMMAND_EXECUTABLE, Case, Catch, Definition, Delay, Formula, From, Node, Work,
};
use engine::plan::{ErrorMatch, Gate, Join};
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
    /// Its place in [`Scene::workers`].
    pub(super) worker: Option<usize>,
    /// Over what it runs, item by item.
    pub(super) foreach: Option<String>,
    /// Of how many edges it is a join, if not of all.
    pub(super) join: Option<u32>,
    pub(super) ports: Vec<Port>,
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
    /// From which worker to which it crosses.
    pub(super) crosses: Option<(usize, usize)>,
}

/// A picture's content.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) title: String,
    /// The workflow's inputs, its nodes in the order of the definition, its outputs.
    pub(super) boxes: Vec<SceneBox>,
    /// Each once.
    pub(super) lines: Vec<Line>,
    /// Their names; none if there is no placement.
    pub(super) workers: Vec<String>,
}

impl Scene {
    pub(super) fn of(definition: &Definition, placed: Option<Placed<'_>>) -> Self {
        let workers = placed.map_or_else(Vec::new, |placed| placed.workers.to_vec());
        let worker = placed.map(|placed| {
            let mut worker = vec![0; definition.nodes.len()];
            for (id, node) in (0..).zip(placed.graph.nodes()) {
                worker[node.defined] = placed.placement.worker(id);
            }
            worker
        });
        let names = |all: Vec<&str>, one_for_all: &str| {
            if all.len() > OPENINGS_MAX {
                (vec![format!("{} {one_for_all}", all.len())], true)
            } else {
                (all.into_iter().map(str::to_owned).collect(), false)
            }
        };
        let inputs = definition
            .inputs
            .iter()
            .map(|input| input.name.value.as_str());
        let (inputs, inputs_merged) = names(inputs.collect(), "inputs");
        let outputs = definition
            .outputs
            .iter()
            .map(|output| output.name.value.as_str());
        let (outputs, outputs_merged) = names(outputs.collect(), "outputs");
        let mut boxes: Vec<SceneBox> = inputs
            .iter()
            .map(|name| opening(name, Shape::Input))
            .collect();
        let nodes_at = boxes.len();
        for (place, node) in definition.nodes.iter().enumerate() {
            boxes.push(node_box(
                definition,
                node,
                worker.as_ref().map(|worker| worker[place]),
            ));
        }
        let outputs_at = boxes.len();
        boxes.extend(outputs.iter().map(|name| opening(name, Shape::Output)));
        let mut lines = Lines {
            definition,
            worker,
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
            for from in &output.from {
                lines.data(from.value, to);
            }
        }
        Self {
            title: definition.workflow.value.clone(),
            boxes,
            lines: lines.all(),
            workers,
        }
    }

    /// What a line says when it is pointed at.
    pub(super) fn line_title(&self, line: &Line) -> String {
        let (from, to) = (&self.boxes[line.from].name, &self.boxes[line.to].name);
        let mut title = format!("{from} → {to}: {}", line.kind.name());
        if !line.label.is_empty() {
            title.push_str(&format!(" {}", line.label));
        }
        if let Some((from, to)) = line.crosses {
            title.push_str(&format!(
                ", worker {} → {}",
                self.workers[from], self.workers[to]
            ));
        }
        title
    }
}

fn opening(name: &str, shape: Shape) -> SceneBox {
    SceneBox {
        name: name.to_owned(),
        note: if shape == Shape::Input {
            "input"
        } else {
            "output"
        }
        .to_owned(),
        shape,
        worker: None,
        foreach: None,
        join: None,
        ports: Vec::new(),
    }
}

fn waits_text(delays: &[Delay]) -> String {
    let parts = delays.iter().map(|delay| match delay {
        Delay::Fixed(delay_ms) => format!("{delay_ms} ms"),
        Delay::Computed(expression) => format!("({}) ms", expression.text.value),
        Delay::Until(expression) => format!("until {}", expression.text.value),
    });
    let parts: Vec<String> = parts.collect();
    format!("waits {}", parts.join(", then "))
        .trim_end()
        .to_owned()
}

fn node_box(definition: &Definition, node: &Node, worker: Option<usize>) -> SceneBox {
    let (shape, note) = match &node.work {
        Work::Function {
            function,
            arguments,
        } if function.value.executable == COMMAND_EXECUTABLE => {
            (Shape::Command, format!("$ {}", arguments.join(" ")))
        }
        Work::Function { function, .. } => {
            let name = &function.value;
            (
                Shape::Function,
                format!("{}:{}", name.executable, name.function),
            )
        }
        Work::Compute(formulas) => (Shape::Compute, formulas_text(node, formulas)),
        Work::Switch(_) => (Shape::Switch, "switch".to_owned()),
        Work::Nothing => (Shape::Wait, waits_text(&node.delays)),
    };
    let mut ports = Vec::new();
    if let Work::Switch(cases) = &node.work {
        ports.extend(cases.iter().map(|case| Port {
            label: case_label(case),
            kind: LineKind::Case,
        }));
    }
    ports.extend(node.catches.iter().map(|catch| Port {
        label: catch_label(catch),
        kind: LineKind::Catch,
    }));
    let list = node.region.map(|region| &definition.regions[region].list);
    SceneBox {
        name: node.name.value.clone(),
        note,
        shape,
        worker,
        foreach: list.map(|list| definition.source_name(list.value)),
        join: match node.join {
            Join::All => None,
            Join::AtLeast(count) => Some(count),
        },
        ports,
    }
}

fn formulas_text(node: &Node, formulas: &[Formula]) -> String {
    let text = |(output, formula): (&crate::definition::Port, &Formula)| {
        let formula = match formula {
            Formula::Value(text) => text.value.clone(),
            Formula::Range { from, to } => format!("{} to {}", from.value, to.value),
        };
        format!("{} = {formula}", output.name.value)
    };
    let all: Vec<String> = node.outputs.iter().zip(formulas).map(text).collect();
    all.join("; ")
}

fn case_label(case: &Case) -> String {
    case.condition
        .as_ref()
        .map_or_else(|| "default".to_owned(), |condition| condition.value.clone())
}

fn catch_label(catch: &Catch) -> String {
    let on: Vec<&str> = catch
        .on
        .iter()
        .map(|on| match on {
            ErrorMatch::Class(class) => class.name(),
            ErrorMatch::Named(name) => name.as_str(),
        })
        .collect();
    if on.is_empty() {
        "on any failure".to_owned()
    } else {
        format!("on {}", on.join(", "))
    }
}

/// Collects lines; several reads of one box are one line.
struct Lines<'a> {
    definition: &'a Definition,
    worker: Option<Vec<usize>>,
    nodes_at: usize,
    inputs_merged: bool,
    gates: Vec<Vec<Gate>>,
    /// By target, source, kind and port: what is read.
    found: BTreeMap<(usize, usize, LineKind, Option<usize>), Vec<String>>,
}

impl Lines<'_> {
    fn add(&mut self, from: usize, to: usize, kind: LineKind, port: Option<usize>, label: String) {
        let labels = self.found.entry((to, from, kind, port)).or_default();
        if !label.is_empty() && !labels.contains(&label) {
            labels.push(label);
        }
    }

    fn data(&mut self, from: From, to: usize) {
        match from {
            From::Input(input) => {
                let from = if self.inputs_merged {
                    0
                } else {
                    usize::from(input)
                };
                let name = self.definition.inputs[usize::from(input)]
                    .name
                    .value
                    .clone();
                self.add(from, to, LineKind::Data, None, name);
            }
            From::Output { node, output } | From::First { node, output } => {
                let producer = &self.definition.nodes[node];
                let failed = producer.error_output == Some(output);
                let kind = if failed {
                    LineKind::Catch
                } else {
                    LineKind::Data
                };
                let name = producer.outputs[usize::from(output)].name.value.clone();
                self.add(self.nodes_at + node, to, kind, None, name);
            }
            From::Item { .. } | From::Constant(_) => {}
        }
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
            self.data(from, to);
        }
        for from in definition.inputs_read(place) {
            self.data(from, to);
        }
        let node = &definition.nodes[place];
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
                    self.add(to, target, LineKind::Case, Some(port), case_label(case));
                }
                port += 1;
            }
        }
        for catch in &node.catches {
            for target in &catch.to {
                let target = self.nodes_at + target.value;
                self.add(to, target, LineKind::Catch, Some(port), catch_label(catch));
            }
            port += 1;
        }
    }

    fn all(self) -> Vec<Line> {
        let worker = |place: usize| {
            let node = place.checked_sub(self.nodes_at)?;
            self.worker.as_ref()?.get(node).copied()
        };
        let line = |(key, labels): (&(usize, usize, LineKind, Option<usize>), &Vec<String>)| {
            let (to, from, kind, port) = *key;
            let ends = worker(from).zip(worker(to));
            Line {
                from,
                port,
                to,
                kind,
                label: labels.join(", "),
                crosses: ends.filter(|(from, to)| from != to),
            }
        };
        self.found.iter().map(line).collect()
    }
}
