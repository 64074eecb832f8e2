//! The draft of a flat workflow: its inputs and functions here, what else it has in the files below.

mod control;
mod notes;
mod outputs;
mod switch;

use super::read::{Flat, How, Port, PortType};
use super::sources::{Alternatives, From, Sources};
use super::steer;
use super::steps::{Kind, Step, Steps};
use crate::definition::names::RESERVED_NODES;
use crate::definition::problem::quoted;
use crate::import::Options;
use crate::import::draft::{Draft, Feed, Foreach, Node, Source, WorkflowInput};
use crate::import::names::Names;
use crate::import::problem::ImportProblem;
use crate::import::read::Reader;
use crate::import::synthetic::{self, Changed, Content, Held, Input, Recorded};
use control::done;
use faasstore::binding::Kind as PortKind;
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::{Value, json};

/// Memory of a container of the published system.
const CONTAINER_BYTES: f64 = 256.0 * 1024.0 * 1024.0;

/// Makes the draft; problems go to the reader.
pub(super) fn build(
    flat: &Flat,
    steps: &Steps,
    reader: &mut Reader,
    options: &Options,
) -> Option<Draft> {
    let mut sources = Sources::of(flat, steps);
    sources.mark(reader);
    let names = condition_names(flat, steps, &mut sources, reader);
    if reader.problems.any() {
        return None;
    }
    let values = steer::values(flat, steps, &names);
    let mut node_names = Names::without(&RESERVED_NODES);
    let of_step = |step: &Step| {
        let name = &flat.functions[step.function].name.value;
        let apart = step.kind == Kind::Switch
            && !step.flows.is_empty()
            && steps.of_function[step.function]
                .is_some_and(|of| steps.steps[of].kind == Kind::Code);
        if apart {
            format!("{name}_switch")
        } else {
            name.clone()
        }
    };
    let step_names = steps
        .steps
        .iter()
        .map(|step| node_names.name(&of_step(step), "node_"));
    let step_names = step_names.collect();
    let mut input_names = Names::default();
    let inputs = flat.inputs.iter();
    let input_names = inputs
        .map(|port| input_names.name(&port.name.value, "key_"))
        .collect();
    let output_names = flat.functions.iter().map(|function| {
        let mut names = Names::default();
        let ports = function.outputs.iter();
        ports
            .map(|port| names.name(&port.name.value, "key_"))
            .collect()
    });
    let output_names = output_names.collect();
    let builder = Builder {
        flat,
        steps,
        sources,
        names,
        values,
        options,
        node_names,
        step_names,
        input_names,
        output_names,
        triggers: FxHashMap::default(),
        gates: FxHashMap::default(),
        hidden: Vec::new(),
        held: vec![Held::default(); steps.steps.len()],
        levels: levels(steps),
        sizes_differ: 0,
        kinds_differ: FxHashSet::default(),
        changed: Changed::default(),
        all_placeholders: all_placeholders(flat, steps),
    };
    builder.draft(reader)
}

/// What the names in every condition read.
fn condition_names(
    flat: &Flat,
    steps: &Steps,
    sources: &mut Sources<'_>,
    reader: &mut Reader,
) -> steer::Names {
    let mut all = steer::Names::default();
    for (place, function) in flat.functions.iter().enumerate() {
        let (Some(next), Some(switch)) = (&function.next, steps.switch_of[place]) else {
            continue;
        };
        let How::Switch(conditions) = &next.how else {
            continue;
        };
        for condition in conditions {
            let mut names = Vec::new();
            condition.value.iter().for_each(|of| of.names(&mut names));
            for name in names {
                let found = sources.find(reader, name, condition.span, Some(switch));
                all.insert((switch, name.clone()), found.unwrap_or_default());
            }
        }
    }
    all
}

/// How many edges lie before each step on the longest way.
fn levels(steps: &Steps) -> Vec<usize> {
    let mut levels = vec![0; steps.steps.len()];
    for &index in &steps.order {
        let step = &steps.steps[index];
        let before = step.flows.iter().chain(&step.gates);
        levels[index] = before.map(|&before| levels[before] + 1).max().unwrap_or(0);
    }
    levels
}

fn all_placeholders(flat: &Flat, steps: &Steps) -> bool {
    let code = steps.steps.iter().filter(|step| step.kind == Kind::Code);
    let mut runtimes = code.map(|step| flat.functions[step.function].runtime_s);
    steps.steps.len() > 1 && runtimes.all(|runtime| runtime.is_none_or(|s| s == 1.0))
}

struct Builder<'f> {
    flat: &'f Flat,
    steps: &'f Steps,
    sources: Sources<'f>,
    names: steer::Names,
    values: FxHashMap<From, Value>,
    options: &'f Options,
    node_names: Names,
    step_names: Vec<String>,
    input_names: Vec<String>,
    /// By function.
    output_names: Vec<Vec<String>>,
    /// What says that a step ran, for those that are asked.
    triggers: FxHashMap<usize, Source>,
    /// Nodes that stand between a switch and a step, by both.
    gates: FxHashMap<(usize, usize), String>,
    /// Nodes that the file does not have, each behind the node of a step.
    hidden: Vec<(usize, Node)>,
    held: Vec<Held>,
    levels: Vec<usize>,
    sizes_differ: usize,
    kinds_differ: FxHashSet<String>,
    changed: Changed,
    /// Whether every function has the same run time of one second: nobody measured that.
    all_placeholders: bool,
}

impl Builder<'_> {
    fn draft(mut self, reader: &mut Reader) -> Option<Draft> {
        let mut draft = Draft {
            workflow: self.workflow_name(reader),
            ..Draft::default()
        };
        draft.inputs = (0..self.flat.inputs.len())
            .map(|place| self.workflow_input(place))
            .collect();
        // Which gates are replaced is known before the switches are made.
        for step in 0..self.steps.steps.len() {
            self.replace_gates(step);
        }
        let mut nodes = Vec::with_capacity(self.steps.steps.len());
        for (index, step) in self.steps.steps.iter().enumerate() {
            nodes.push(match step.kind {
                Kind::Code => self.code(index, reader),
                Kind::Pass => Some(self.pass(index)),
                Kind::Switch => self.switch(index, reader),
            });
        }
        draft.outputs = self.outputs(reader);
        let notes = self.notes();
        let nodes: Vec<Node> = nodes.into_iter().collect::<Option<_>>()?;
        let mut hidden = self.hidden.into_iter().collect::<Vec<_>>();
        hidden.sort_by_key(|(behind, _)| *behind);
        let mut hidden = hidden.into_iter().peekable();
        for (index, node) in nodes.into_iter().enumerate() {
            draft.nodes.push(node);
            while let Some((_, node)) = hidden.next_if(|(behind, _)| *behind == index) {
                draft.nodes.push(node);
            }
        }
        draft.notes = notes;
        draft.notes.extend(self.changed.notes());
        synthetic::share_memory(&mut draft, &self.held, self.options);
        Some(draft)
    }

    /// The published format names no workflow: its folder does, else its file.
    fn workflow_name(&self, reader: &Reader) -> String {
        let path = std::path::Path::new(reader.problems.name());
        let text =
            |part: Option<&std::ffi::OsStr>| part.and_then(|part| part.to_str()).map(str::to_owned);
        let stem = text(path.file_stem());
        let folder = text(path.parent().and_then(std::path::Path::file_name));
        let name = match (stem.as_deref(), folder) {
            (Some("flat_workflow" | "workflow"), Some(folder)) => Some(folder),
            _ => stem,
        };
        Names::default().name(&name.unwrap_or_default(), "workflow_")
    }

    fn workflow_input(&self, place: usize) -> WorkflowInput {
        let port = &self.flat.inputs[place];
        let from = From::Input(place);
        let (kind, default) = if self.sources.lists.contains(&from) {
            (PortKind::List, json!([0]))
        } else if self.sources.values.contains(&from) {
            (PortKind::Value, self.value(from))
        } else {
            (PortKind::Bytes, json!(""))
        };
        WorkflowInput {
            name: self.input_names[place].clone(),
            kind,
            default: Some(default),
            optional: false,
            comment: port.size.map(|bytes| format!("recorded: {bytes} bytes")),
        }
    }

    fn value(&self, from: From) -> Value {
        self.values.get(&from).cloned().unwrap_or(json!(true))
    }

    fn step_of(&self, from: From) -> Option<usize> {
        match from {
            From::Input(_) => None,
            From::Output { function, .. } => self.steps.of_function[function],
        }
    }

    /// As readers see it.
    fn kind(&self, from: From) -> PortKind {
        let gathered = self
            .step_of(from)
            .is_some_and(|step| self.steps.steps[step].foreach);
        if gathered || self.sources.lists.contains(&from) {
            PortKind::List
        } else if self.sources.values.contains(&from) {
            PortKind::Value
        } else {
            PortKind::Bytes
        }
    }

    fn source(&self, from: From) -> Source {
        match from {
            From::Input(place) => Source::Input(self.input_names[place].clone()),
            From::Output { function, output } => {
                let step = self.steps.of_function[function];
                let node = step.map_or("", |step| &self.step_names[step]);
                Source::output(node, &self.output_names[function][output])
            }
        }
    }

    /// Whether one of them is there whenever the step runs.
    fn is_certain(&self, alternatives: &[From], at: usize) -> bool {
        alternatives.iter().any(|&from| match self.step_of(from) {
            None => true,
            Some(step) => self.steps.has_run(step, at),
        })
    }

    fn feed(&mut self, alternatives: &[From], at: usize) -> Feed {
        for &from in alternatives {
            if let Some(step) = self.step_of(from) {
                let until = &mut self.held[step].read_until;
                *until = (*until).max(self.levels[at]);
            }
        }
        Feed::From {
            first_of: alternatives.iter().map(|&from| self.source(from)).collect(),
            default: None,
            optional: !self.is_certain(alternatives, at),
        }
    }

    /// Those of the kind of the first: the language has no input that is a list at one time and bytes at another.
    fn of_one_kind(&mut self, mut alternatives: Alternatives, name: &str) -> Alternatives {
        let is_list = |kind| kind == PortKind::List;
        if let Some(&first) = alternatives.first() {
            let wanted = is_list(self.kind(first));
            let before = alternatives.len();
            alternatives.retain(|&from| is_list(self.kind(from)) == wanted);
            if alternatives.len() < before {
                self.kinds_differ.insert(name.to_owned());
            }
        }
        alternatives
    }

    fn is_foreign(&self, alternatives: &[From]) -> bool {
        let all_values = alternatives
            .iter()
            .all(|&from| self.kind(from) == PortKind::Value);
        !all_values
            && alternatives
                .iter()
                .any(|&from| matches!(from, From::Input(_)) || self.kind(from) == PortKind::Value)
    }

    fn code(&mut self, index: usize, reader: &mut Reader) -> Option<Node> {
        let step = &self.steps.steps[index];
        let function = &self.flat.functions[step.function];
        let mut names = Names::without(&[synthetic::PARAMETERS]);
        let mut inputs = Vec::new();
        let mut read = Vec::new();
        let mut foreach = None;
        for port in &function.inputs {
            let Some(value) = &port.value else { continue };
            let found = self
                .sources
                .find(reader, &value.value, value.span, Some(index))?;
            let found = self.of_one_kind(found, &value.value.parameter);
            self.compare_size(port, &found);
            let name = names.name(&port.name.value, "key_");
            let foreign = self.is_foreign(&found);
            let feed = self.feed(&found, index);
            let is_key = port.of == PortType::Keys && step.foreach && foreach.is_none();
            let feed = match found.first() {
                Some(&list) if is_key => {
                    foreach = Some(self.source(list));
                    Feed::from(Source::Item)
                }
                _ => feed,
            };
            inputs.push(Input {
                name,
                feed,
                foreign,
            });
            read.push(found);
        }
        if step.foreach && foreach.is_none() {
            let text = format!(
                "`{}` is to run once for each key, and has no input of type `key`",
                quoted(&function.name.value)
            );
            let help = "give it an input with `type: key`, or lead to it by `type: pass`";
            reader.add(function.name.span, ImportProblem::Contradiction(text), help);
            return None;
        }
        let (trigger, after) = self.control(index, &read);
        if let Some(feed) = trigger {
            let name = names.name("follows", "");
            inputs.push(Input {
                name,
                feed,
                foreign: true,
            });
        }
        let recorded = self.recorded(index);
        let bytes = recorded.outputs.iter().map(|(_, content)| content.bytes());
        let held = &mut self.held[index];
        held.bytes = bytes
            .fold(0, u64::saturating_add)
            .saturating_mul(recorded.activations);
        held.memory_bytes = recorded.memory_bytes.unwrap_or(0);
        held.level = self.levels[index];
        let mut node = synthetic::node(
            &self.step_names[index],
            inputs,
            &recorded,
            self.options,
            &mut self.changed,
        );
        node.foreach = foreach.map(|list| Foreach {
            list,
            batch: None,
            parallelism: None,
        });
        node.after = after;
        if function.source != function.name.value {
            node.comments
                .push(format!("source: {}", quoted(&function.source)));
        }
        Some(node)
    }

    fn compare_size(&mut self, port: &Port, found: &[From]) {
        let written = found.first().and_then(|&from| match from {
            From::Input(place) => self.flat.inputs[place].size,
            From::Output { function, output } => self.flat.functions[function].outputs[output].size,
        });
        if let (Some(read), Some(written)) = (port.size, written) {
            self.sizes_differ += usize::from(read != written);
        }
    }

    fn recorded(&self, index: usize) -> Recorded {
        let step = &self.steps.steps[index];
        let function = &self.flat.functions[step.function];
        let width = function.split_ratio.unwrap_or(1.0).round().max(1.0) as u64;
        let activations = if step.foreach { width } else { 1 };
        let outputs = function.outputs.iter().enumerate().map(|(output, port)| {
            let from = From::Output {
                function: step.function,
                output,
            };
            let size = port.size.unwrap_or(0).div_ceil(activations);
            let content = if self.sources.values.contains(&from) {
                Content::Value(self.value(from))
            } else if self.sources.lists.contains(&from) && !step.foreach {
                let items = self.width_of(from);
                Content::Items {
                    items,
                    bytes: size.div_ceil(items),
                }
            } else {
                Content::Bytes(size)
            };
            (self.output_names[step.function][output].clone(), content)
        });
        Recorded {
            runtime_ms: function.runtime_s.unwrap_or(1.0) * 1000.0,
            placeholder: function.runtime_s.is_none() || self.all_placeholders,
            outputs: outputs.collect(),
            activations,
            memory_bytes: function
                .mem_usage
                .map(|share| (share * CONTAINER_BYTES) as u64),
            cpus: None,
            scale: function.scale.filter(|&scale| scale > 0),
        }
    }

    /// How many activations the foreach nodes over a list are expected to have.
    fn width_of(&self, list: From) -> u64 {
        let From::Output { function, .. } = list else {
            return 1;
        };
        let next = self.flat.functions[function].next.as_ref();
        let nodes = next
            .filter(|next| matches!(next.how, How::Foreach))
            .map(|next| &next.nodes);
        let widths = nodes.into_iter().flatten().filter_map(|node| {
            let function = self
                .flat
                .functions
                .iter()
                .find(|of| of.name.value == node.value);
            function.and_then(|function| function.split_ratio)
        });
        widths.fold(1.0, f64::max).round() as u64
    }

    fn pass(&mut self, index: usize) -> Node {
        let (trigger, after) = self.control(index, &[]);
        let name = self.step_names[index].clone();
        let mut node = done(&name);
        node.after = after;
        node.inputs = trigger
            .map(|feed| ("follows".to_owned(), feed))
            .into_iter()
            .collect();
        node.comments.push("VIRTUAL: it runs no code".to_owned());
        node
    }
}
