//! The file that a draft is printed as: its keys in the order of docs/language.md, defaults left away.

use super::{
    Catch, Delay, Draft, Feed, Formula, Join, Node, Profile, Resources, Retry, Work, WorkflowInput,
};
use crate::import::yaml::{self, Entry, Yaml};
use faasstore::binding::Kind;
use serde_json::Value;

impl Draft {
    /// The file's text. The same draft gives the same text.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut top =
            vec![Entry::new("workflow", Yaml::text(&self.workflow)).comments(&self.notes)];
        if let Some(ms) = self.timeout_ms {
            top.push(Entry::new("timeout_ms", Yaml::from(u64::from(ms))));
        }
        let inputs = self.inputs.iter().map(workflow_input).collect();
        push_map(&mut top, "input", inputs);
        let constants = self.constants.iter();
        let constants = constants
            .map(|(name, value)| Entry::new(name, Yaml::Value(value.clone())))
            .collect();
        push_map(&mut top, "constants", constants);
        top.push(Entry::new(
            "nodes",
            Yaml::Map(self.nodes.iter().map(node).collect()),
        ));
        push_map(&mut top, "output", self.outputs.iter().map(feed).collect());
        yaml::print(&top)
    }
}

fn push_map(entries: &mut Vec<Entry>, key: &str, map: Vec<Entry>) {
    if !map.is_empty() {
        entries.push(Entry::new(key, Yaml::Map(map)));
    }
}

fn kind(kind: Kind) -> Yaml {
    Yaml::text(match kind {
        Kind::Bytes => "bytes",
        Kind::List => "list",
        Kind::Value => "value",
    })
}

fn workflow_input(input: &WorkflowInput) -> Entry {
    let mut fields = vec![Entry::new("kind", kind(input.kind))];
    if let Some(default) = &input.default {
        fields.push(Entry::new("default", Yaml::Value(default.clone())));
    }
    if input.optional {
        fields.push(Entry::new("optional", Yaml::from(true)));
    }
    let value = if fields.len() == 1 {
        kind(input.kind)
    } else {
        Yaml::Map(fields)
    };
    let entry = Entry::new(&input.name, value);
    match &input.comment {
        Some(comment) => entry.beside(comment),
        None => entry,
    }
}

fn feed((name, feed): &(String, Feed)) -> Entry {
    let value = match feed {
        // Other values would be read as a source or a form of one.
        Feed::Value(value @ (Value::Number(_) | Value::Bool(_))) => Yaml::Value(value.clone()),
        Feed::Value(value) => Yaml::Map(vec![Entry::new("value", Yaml::Value(value.clone()))]),
        Feed::Text(text) => Yaml::Map(vec![Entry::new("text", Yaml::text(text))]),
        Feed::From {
            first_of,
            default,
            optional,
        } => {
            let mut fields = match first_of.as_slice() {
                [only] => vec![Entry::new("from", Yaml::text(&only.to_string()))],
                all => vec![Entry::new("first_of", texts(all))],
            };
            if let Some(default) = default {
                fields.push(Entry::new("default", Yaml::Value(default.clone())));
            }
            if *optional {
                fields.push(Entry::new("optional", Yaml::from(true)));
            }
            match first_of.as_slice() {
                [only] if fields.len() == 1 => Yaml::text(&only.to_string()),
                _ => Yaml::Map(fields),
            }
        }
    };
    Entry::new(name, value)
}

fn texts<T: ToString>(all: &[T]) -> Yaml {
    let texts = all.iter().map(|text| Yaml::text(&text.to_string()));
    Yaml::List(texts.collect())
}

/// One name as it is, others as a list.
fn names(names: &[String]) -> Yaml {
    match names {
        [only] => Yaml::text(only),
        all => texts(all),
    }
}

fn formula((name, formula): &(String, Formula)) -> Entry {
    let value = match formula {
        Formula::Value(expression) => Yaml::text(expression),
        Formula::List(expression) => Yaml::Map(vec![Entry::new("list", Yaml::text(expression))]),
        Formula::Range { from, to } => Yaml::Map(vec![
            Entry::new("from", Yaml::text(from)),
            Entry::new("to", Yaml::text(to)),
        ]),
    };
    Entry::new(name, value)
}

fn work(work: &Work, entries: &mut Vec<Entry>) {
    match work {
        Work::Function(name) => entries.push(Entry::new("function", Yaml::text(name))),
        Work::Command(words) => entries.push(Entry::new("command", texts(words))),
        Work::Compute(formulas) => {
            push_map(entries, "compute", formulas.iter().map(formula).collect());
        }
        Work::Switch { cases, default } => {
            let case = |(when, then): &(String, Vec<String>)| {
                Yaml::Map(vec![
                    Entry::new("when", Yaml::text(when)),
                    Entry::new("then", names(then)),
                ])
            };
            entries.push(Entry::new(
                "switch",
                Yaml::List(cases.iter().map(case).collect()),
            ));
            if let Some(default) = default {
                entries.push(Entry::new("default", names(default)));
            }
        }
        Work::Nothing => {}
    }
}

fn node(node: &Node) -> Entry {
    let mut entries = Vec::new();
    work(&node.work, &mut entries);
    if let Some(each) = &node.foreach {
        let list = Yaml::text(&each.list.to_string());
        let value = if each.batch.is_none() && each.parallelism.is_none() {
            list
        } else {
            let mut fields = vec![Entry::new("list", list)];
            let number = |key, number: Option<u32>| {
                number.map(|number| Entry::new(key, Yaml::from(u64::from(number))))
            };
            fields.extend(number("batch", each.batch));
            fields.extend(number("parallelism", each.parallelism));
            Yaml::Map(fields)
        };
        entries.push(Entry::new("foreach", value));
    }
    push_map(
        &mut entries,
        "input",
        node.inputs.iter().map(feed).collect(),
    );
    let outputs = node.outputs.iter();
    let outputs = outputs.map(|(name, of)| Entry::new(name, kind(*of)));
    push_map(&mut entries, "output", outputs.collect());
    if !node.after.is_empty() {
        entries.push(Entry::new("after", names(&node.after)));
    }
    match node.join {
        // A node that only waits says so, if its delay does not.
        Join::All if node.work == Work::Nothing && node.delay.is_none() => {
            entries.push(Entry::new("join", Yaml::text("all")));
        }
        Join::All => {}
        Join::Any => entries.push(Entry::new("join", Yaml::text("any"))),
        Join::AtLeast(k) => {
            let k = Entry::new("at_least", Yaml::from(u64::from(k)));
            entries.push(Entry::new("join", Yaml::Map(vec![k])));
        }
    }
    match node.retriers.as_slice() {
        [] => {}
        [only] => entries.push(Entry::new("retry", retry(only))),
        all => {
            let all = all.iter().map(retry).collect();
            entries.push(Entry::new("retry", Yaml::List(all)));
        }
    }
    if !node.catches.is_empty() {
        let all = node.catches.iter().map(catch).collect::<Vec<_>>();
        entries.push(Entry::new("catch", Yaml::List(all)));
    }
    let timeout = node.timeout_ms;
    entries.extend(timeout.map(|ms| Entry::new("timeout_ms", Yaml::from(u64::from(ms)))));
    entries.extend(node.delay.as_ref().map(|delay| match delay {
        Delay::Fixed(ms) => Entry::new("delay_ms", Yaml::from(u64::from(*ms))),
        Delay::Computed(text) => Entry::new("delay_ms", Yaml::text(text)),
        Delay::Until(text) => Entry::new("delay_until", Yaml::text(text)),
    }));
    push_map(&mut entries, "resources", resources(&node.resources));
    if let Some(of) = &node.profile {
        entries.push(Entry::new("profile", profile(of)));
    }
    Entry::new(&node.name, Yaml::Map(entries))
        .comments(&node.comments)
        .open()
}

fn retry(retry: &Retry) -> Yaml {
    let mut fields = vec![
        Entry::new("attempts", Yaml::from(u64::from(retry.attempts))),
        Entry::new("backoff_ms", Yaml::from(u64::from(retry.backoff_ms))),
    ];
    let factor = retry.factor;
    fields.extend(factor.map(|factor| Entry::new("factor", Yaml::from(factor))));
    let longest = retry.backoff_max_ms;
    fields.extend(longest.map(|ms| Entry::new("backoff_max_ms", Yaml::from(u64::from(ms)))));
    let jitter = retry.jitter;
    fields.extend(jitter.map(|jitter| Entry::new("jitter", Yaml::from(jitter))));
    if !retry.on.is_empty() {
        fields.push(Entry::new("on", texts(&retry.on)));
    }
    Yaml::Map(fields)
}

fn catch(catch: &Catch) -> Yaml {
    let mut fields = Vec::new();
    if !catch.on.is_empty() {
        fields.push(Entry::new("on", texts(&catch.on)));
    }
    fields.push(Entry::new("to", names(&catch.to)));
    Yaml::Map(fields)
}

fn resources(resources: &Resources) -> Vec<Entry> {
    let mut fields = Vec::new();
    let memory = resources.memory_mib;
    fields.extend(memory.map(|mib| Entry::new("memory_mib", Yaml::from(u64::from(mib)))));
    let scale = resources.scale;
    fields.extend(scale.map(|scale| Entry::new("scale", Yaml::from(u64::from(scale)))));
    let cpus = resources.cpus;
    fields.extend(cpus.map(|cpus| Entry::new("cpus", Yaml::from(u64::from(cpus)))));
    fields
}

/// By output, where there are several.
fn output_bytes(profile: &Profile) -> Yaml {
    if profile.by_output.is_empty() {
        return Yaml::from(profile.output_bytes);
    }
    let entries = profile.by_output.iter();
    let entries = entries.map(|(name, bytes)| Entry::new(name, Yaml::from(*bytes)));
    Yaml::Map(entries.collect())
}

fn profile(profile: &Profile) -> Yaml {
    let mut fields = vec![
        Entry::new("runtime_ms", Yaml::from(profile.runtime_ms)),
        Entry::new("output_bytes", output_bytes(profile)),
    ];
    if profile.items != 1 {
        fields.push(Entry::new("items", Yaml::from(profile.items)));
    }
    if profile.busy != 1.0 {
        fields.push(Entry::new("busy", Yaml::from(profile.busy)));
    }
    if profile.peak_mib > 0 {
        fields.push(Entry::new(
            "peak_mib",
            Yaml::from(u64::from(profile.peak_mib)),
        ));
    }
    if profile.placeholder {
        fields.push(Entry::new("placeholder", Yaml::from(true)));
    }
    Yaml::Map(fields)
}
