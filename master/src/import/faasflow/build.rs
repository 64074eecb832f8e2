//! The draft of a flat workflow.

use super::condition::Condition;
use super::read::{Flat, How, Port, PortType, Reference};
use super::sources::{Alternatives, From, Sources};
use super::steer;
use super::steps::{Kind, Step, Steps};
use crate::definition::Spanned;
use crate::definition::problem::quoted;
use crate::import::Options;
use crate::import::draft::{Draft, Feed, Foreach, Formula, Node, Source, Work, WorkflowInput};
use crate::import::names::{EXPRESSION_WORDS, Names, RESERVED_NODES, is_identifier};
use crate::import::problem::ImportProblem;
use crate::import::read::Reader;
use crate::import::synthetic::{self, Content, Held, Input, Recorded};
use faasstore::binding::Kind as PortKind;
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::{Value, json};

/// Memory of a container of the published system.
const CONTAINER_BYTES: f64 = 256.0 * 1024.0 * 1024.0;
/// Names that one note lists.
const LISTED_MAX: usize = 6;
/// The output of a node that says no more than that it ran.
const DONE: &str = "done";

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
                Kind::Switch => self.switch(index),
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
        let mut node = synthetic::node(&self.step_names[index], inputs, &recorded, self.options);
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
            placeholder: function.runtime_s.is_none() || self.all_placeholders(),
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

    /// Whether every function has the same run time of one second: nobody measured that.
    fn all_placeholders(&self) -> bool {
        let code = self
            .steps
            .steps
            .iter()
            .filter(|step| step.kind == Kind::Code);
        let mut runtimes = code.map(|step| self.flat.functions[step.function].runtime_s);
        self.steps.steps.len() > 1 && runtimes.all(|runtime| runtime.is_none_or(|s| s == 1.0))
    }

    fn pass(&mut self, index: usize) -> Node {
        let (trigger, after) = self.control(index, &[]);
        let name = self.step_names[index].clone();
        let mut node = done(&name, "true");
        node.after = after;
        node.inputs = trigger
            .map(|feed| ("follows".to_owned(), feed))
            .into_iter()
            .collect();
        node.comments.push("VIRTUAL: it runs no code".to_owned());
        node
    }

    fn switch(&mut self, index: usize) -> Option<Node> {
        let steps = self.steps;
        let step = &steps.steps[index];
        let next = self.flat.functions[step.function].next.as_ref()?;
        let How::Switch(conditions) = &next.how else {
            return None;
        };
        let targets = steps.cases.get(&index)?;
        let mut bound = Bound::default();
        let mut read = Vec::new();
        let mut cases = Vec::new();
        let mut default = None;
        for (condition, target) in conditions.iter().zip(targets) {
            let to = target.map(|target| match self.gates.get(&(index, target)) {
                Some(between) => between.clone(),
                None => self.step_names[target].clone(),
            });
            let to: Vec<String> = to.into_iter().collect();
            match &condition.value {
                // What stands behind it is never asked.
                None => {
                    default = Some(to);
                    break;
                }
                Some(condition) => {
                    let when = self.expression(condition, index, &mut bound, &mut read);
                    cases.push((when, to));
                }
            }
        }
        if cases.is_empty() {
            cases.push(("true".to_owned(), default.take().unwrap_or_default()));
        }
        let (trigger, after) = self.control(index, &read);
        let mut inputs = bound.inputs;
        if let Some(feed) = trigger {
            inputs.push((bound.names.identifier("follows", ""), feed));
        }
        let name = &self.step_names[index];
        let mut node = Node::new(name, Work::Switch { cases, default });
        node.inputs = inputs;
        node.after = after;
        Some(node)
    }

    /// A condition in CEL. What it reads is named where it stands, if an expression can name it.
    fn expression(
        &mut self,
        condition: &Condition,
        index: usize,
        bound: &mut Bound,
        read: &mut Vec<Alternatives>,
    ) -> String {
        let mut names = Vec::new();
        condition.names(&mut names);
        let mut written: FxHashMap<Reference, String> = FxHashMap::default();
        for name in names {
            let found = self
                .names
                .get(&(index, name.clone()))
                .cloned()
                .unwrap_or_default();
            let source = match found[..] {
                [only] => Some(self.source(only)).filter(is_expression),
                _ => None,
            };
            let feed = self.feed(&found, index);
            let text = match source {
                Some(source) => source.to_string(),
                None => bound.name(name, feed, &self.step_names),
            };
            written.insert(name.clone(), text);
            read.push(found);
        }
        condition.to_cel(&|name| written.get(name).cloned().unwrap_or_default())
    }

    /// Puts a node between a switch and a step that other ways lead to as well, any of which may be skipped: the step runs
    /// when one of them does.
    fn replace_gates(&mut self, index: usize) {
        let step = &self.steps.steps[index];
        let skippable = step
            .flows
            .iter()
            .any(|&flow| self.steps.may_be_skipped[flow]);
        if step.gates.is_empty() || !skippable {
            return;
        }
        for &switch in &step.gates {
            let wanted = format!("{}_{}", self.step_names[switch], self.step_names[index]);
            let name = self.node_names.name(&wanted, "node_");
            let mut node = done(&name, "true");
            node.comments.push(format!(
                "one way to {}, which runs when any of its ways is taken",
                self.step_names[index]
            ));
            self.gates.insert((switch, index), name);
            self.hidden.push((switch, node));
        }
    }

    /// What a step follows beside its data: an input that is there when one of the ways to it was taken, where its data does
    /// not tell; and the nodes that it waits for.
    fn control(&mut self, index: usize, read: &[Alternatives]) -> (Option<Feed>, Vec<String>) {
        let steps = self.steps;
        let step = &steps.steps[index];
        let mut ways: Vec<Source> = step
            .gates
            .iter()
            .filter_map(|&switch| self.gates.get(&(switch, index)))
            .map(|node| Source::output(node, DONE))
            .collect();
        let replaced = !ways.is_empty();
        let all_may = step.flows.iter().all(|&flow| steps.may_be_skipped[flow]);
        let told = || {
            let mut required = read.iter().filter(|found| self.is_certain(found, index));
            required.any(|found| {
                found.iter().all(|&from| {
                    self.step_of(from)
                        .is_some_and(|source| steps.decides(source, index))
                })
            })
        };
        let asked =
            replaced || step.gates.is_empty() && !step.flows.is_empty() && all_may && !told();
        let (mut waits, mut asks) = (Vec::new(), Vec::new());
        for &flow in &step.flows {
            if asked && steps.may_be_skipped[flow] {
                asks.push(flow);
            } else if !read
                .iter()
                .flatten()
                .any(|&from| self.step_of(from) == Some(flow))
            {
                waits.push(self.step_names[flow].clone());
            }
        }
        ways.extend(asks.into_iter().map(|flow| self.trigger(flow)));
        let feed = (!ways.is_empty()).then_some(Feed::From {
            first_of: ways,
            default: None,
            optional: false,
        });
        (feed, waits)
    }

    /// A value that is there when a step ran.
    fn trigger(&mut self, step: usize) -> Source {
        if let Some(source) = self.triggers.get(&step) {
            return source.clone();
        }
        let name = &self.step_names[step];
        let source = if self.steps.steps[step].kind == Kind::Pass {
            Source::output(name, DONE)
        } else {
            let hidden = self.node_names.name(&format!("{name}_{DONE}"), "node_");
            let mut node = done(&hidden, "true");
            node.after.push(name.clone());
            let source = Source::output(&hidden, DONE);
            self.hidden.push((step, node));
            source
        };
        self.triggers.insert(step, source.clone());
        source
    }

    fn outputs(&mut self, reader: &mut Reader) -> Vec<(String, Feed)> {
        let end = self.levels.iter().max().copied().unwrap_or(0);
        let mut found: Vec<(String, Alternatives)> = Vec::new();
        for port in &self.flat.outputs {
            if let Some(Spanned { value, span }) = &port.value {
                let alternatives = self.sources.find(reader, value, *span, None);
                let alternatives =
                    self.of_one_kind(alternatives.unwrap_or_default(), &value.parameter);
                found.push((port.name.value.clone(), alternatives));
            }
        }
        if self.flat.outputs.is_empty() {
            found = self.last_outputs();
        }
        let mut names = Names::default();
        let mut outputs = Vec::new();
        for (name, alternatives) in found {
            let sure = alternatives.iter().any(|&from| {
                self.step_of(from)
                    .is_none_or(|step| !self.steps.may_be_skipped[step])
            });
            for &from in &alternatives {
                if let Some(step) = self.step_of(from) {
                    self.held[step].read_until = end;
                }
            }
            let feed = Feed::From {
                first_of: alternatives.iter().map(|&from| self.source(from)).collect(),
                default: None,
                optional: !sure,
            };
            outputs.push((names.name(&name, "key_"), feed));
        }
        outputs
    }

    /// All outputs of the functions that nothing follows.
    fn last_outputs(&self) -> Vec<(String, Alternatives)> {
        let mut followed = vec![false; self.steps.steps.len()];
        for step in &self.steps.steps {
            step.flows
                .iter()
                .chain(&step.gates)
                .for_each(|&before| followed[before] = true);
        }
        let last = self.steps.steps.iter().enumerate();
        let last = last.filter(|(index, step)| !followed[*index] && step.kind == Kind::Code);
        let outputs = last.flat_map(|(_, step)| {
            let function = &self.flat.functions[step.function];
            let ports = function.outputs.iter().enumerate();
            ports.map(|(output, port)| {
                let from = From::Output {
                    function: step.function,
                    output,
                };
                (function.name.value.as_str(), port.name.value.as_str(), from)
            })
        });
        let outputs: Vec<_> = outputs.collect();
        let mut counts: FxHashMap<&str, usize> = FxHashMap::default();
        outputs
            .iter()
            .for_each(|(_, port, _)| *counts.entry(port).or_default() += 1);
        let named = outputs.iter().map(|&(function, port, from)| {
            let alone = counts.get(port) == Some(&1);
            let name = if alone {
                port.to_owned()
            } else {
                format!("{function}_{port}")
            };
            (name, vec![from])
        });
        named.collect()
    }

    fn notes(&self) -> Vec<String> {
        let function = |place: usize| self.flat.functions[place].name.value.as_str();
        let mut notes = vec![
            "imported from the published system's flat YAML; every function is a synthetic one with the recorded run time \
             and sizes"
                .to_owned(),
        ];
        let mut ambiguous: Vec<_> = self.sources.ambiguous.iter().collect();
        ambiguous.sort();
        for (name, writers) in ambiguous {
            let mut names: Vec<&str> = writers.iter().map(|&writer| function(writer)).collect();
            names.reverse();
            notes.push(format!(
                "`{}` is ambiguous: {} write it, and no order among them is given; that of {} is read, being the last in \
                 the file's order",
                quoted(name),
                listed(&names),
                names.last().copied().unwrap_or_default()
            ));
        }
        let mut differ: Vec<&str> = self.kinds_differ.iter().map(String::as_str).collect();
        differ.sort_unstable();
        if !differ.is_empty() {
            notes.push(format!(
                "{}: a list of one function and one payload of another; those of the kind of the last writer are read",
                listed(&differ)
            ));
        }
        let several: Vec<&str> = (0..self.steps.steps.len())
            .filter(|&step| self.steps.steps[step].gates.len() > 1)
            .map(|step| self.step_names[step].as_str())
            .collect();
        if !several.is_empty() {
            notes.push(format!(
                "behind several switches: {}; it runs once all are decided, if one of them chose it (the published engine \
                 waits for all of them to choose it)",
                listed(&several)
            ));
        }
        if !self.values.is_empty() {
            let mut steered: Vec<_> = self
                .values
                .iter()
                .map(|(&from, value)| (from, value))
                .collect();
            steered.sort_by_key(|(from, _)| *from);
            let steered: Vec<String> = steered
                .iter()
                .map(|(from, value)| format!("{} = {value}", self.source(*from)))
                .collect();
            let steered: Vec<&str> = steered.iter().map(String::as_str).collect();
            notes.push(format!(
                "what conditions read was not recorded; these values lead through most of the workflow: {}",
                listed(&steered)
            ));
        }
        if self.all_placeholders() {
            notes.push("all run times are placeholders of 1 s: nobody measured them".to_owned());
        }
        if self.sizes_differ > 0 {
            notes.push(format!(
                "{} inputs have another size than what is written for them; what is written counts",
                self.sizes_differ
            ));
        }
        if self.flat.outputs.is_empty() {
            notes.push(
                "the file names no outputs: those of the last functions are the workflow's"
                    .to_owned(),
            );
        }
        if !self.flat.inputs.is_empty() {
            notes.push("inputs default to nothing, so that it runs as it is; give bytes of the recorded size with --input".to_owned());
        }
        notes
    }
}

fn listed(names: &[&str]) -> String {
    let mut text = names[..names.len().min(LISTED_MAX)].join(", ");
    if names.len() > LISTED_MAX {
        text.push_str(&format!(" and {} more", names.len() - LISTED_MAX));
    }
    text
}

/// A node that says that it ran.
fn done(name: &str, expression: &str) -> Node {
    let formula = Formula::Value(expression.to_owned());
    Node::new(name, Work::Compute(vec![(DONE.to_owned(), formula)]))
}

/// Whether an expression can name the source where it stands.
fn is_expression(source: &Source) -> bool {
    match source {
        Source::Input(name) => is_identifier(name),
        Source::Output { node, output } => is_identifier(node) && is_identifier(output),
        Source::Item | Source::Constant(_) => true,
    }
}

/// Inputs that a switch binds for its conditions.
#[derive(Default)]
struct Bound {
    names: Names,
    inputs: Vec<(String, Feed)>,
    by_name: FxHashMap<Reference, String>,
}

impl Bound {
    fn name(&mut self, name: &Reference, feed: Feed, taken: &[String]) -> String {
        if let Some(bound) = self.by_name.get(name) {
            return bound.clone();
        }
        if self.inputs.is_empty() {
            let taken = taken.iter().map(String::as_str).chain(EXPRESSION_WORDS);
            self.names = Names::without(&taken.collect::<Vec<_>>());
        }
        let bound = self.names.identifier(&name.parameter, "name_");
        // A condition cannot do without what it compares: absent, it would be null.
        let feed = match feed {
            Feed::From {
                first_of, default, ..
            } => Feed::From {
                first_of,
                default,
                optional: false,
            },
            feed => feed,
        };
        self.inputs.push((bound.clone(), feed));
        self.by_name.insert(name.clone(), bound.clone());
        bound
    }
}
