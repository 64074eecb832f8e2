//! A workflow in a few lines, a node each: what a failing case prints.

use super::Workflow;
use engine::plan::{Delay, ErrorMatch, InputPlan, Join, NodePlan, Source, Work};
use std::fmt;

impl fmt::Display for Workflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, input) in self.inputs.iter().enumerate() {
            let (kind, default, optional) = (input.kind, input.default, input.optional);
            writeln!(
                f,
                "i{number}: {kind:?}, default {default:?}, optional {optional}"
            )?;
        }
        for (number, region) in self.regions.iter().enumerate() {
            let (list, parent) = (short(region.list), region.parent);
            let (batch, parallelism) = (region.batch, region.parallelism);
            write!(
                f,
                "region {number} over {list}, in {parent:?}, batch {batch:?}"
            )?;
            writeln!(f, ", parallelism {parallelism:?}")?;
        }
        for (number, node) in self.nodes.iter().enumerate() {
            let depth = self.depth(node.region);
            write!(f, "{}n{number}: ", "  ".repeat(depth))?;
            outline(f, node)?;
        }
        for output in &self.outputs {
            let sources: Vec<String> = output.sources.iter().map(|one| short(one.source)).collect();
            let mark = if output.optional { "?" } else { "" };
            writeln!(f, "{}{mark}: {}", output.name, sources.join("|"))?;
        }
        write!(f, "timeout {:?} ms", self.timeout_ms)
    }
}

fn outline(f: &mut fmt::Formatter<'_>, node: &NodePlan) -> fmt::Result {
    match &node.work {
        Work::Function { executable, .. } => write!(f, "function of e{executable}")?,
        Work::Compute(formulas) => write!(f, "computes {}", formulas.len())?,
        Work::Switch { .. } => write!(f, "switch of {}", node.work.cases())?,
        Work::Nothing => write!(f, "nothing")?,
    }
    if let Some(region) = node.region {
        write!(f, ", region {region}")?;
    }
    outline_inputs(f, &node.inputs)?;
    for after in &node.after {
        write!(f, ", after n{after}")?;
    }
    for gate in &node.gates {
        write!(f, ", behind {gate}")?;
    }
    if let Join::AtLeast(needed) = node.join {
        write!(f, ", joins {needed}")?;
    }
    for these in &node.catches {
        write!(f, ", catches {}", matches(these))?;
    }
    if let Some(output) = node.error_output {
        write!(f, ", error r{output}")?;
    }
    for retry in &node.retriers {
        let on = matches(&retry.on);
        write!(f, ", {} attempts on {on}", retry.attempts)?;
    }
    if let Some(timeout_ms) = node.timeout_ms {
        write!(f, ", timeout {timeout_ms} ms")?;
    }
    for delay in &node.delays {
        match delay {
            Delay::Fixed(delay_ms) => write!(f, ", waits {delay_ms} ms")?,
            Delay::Computed(_) => write!(f, ", waits for")?,
            Delay::Until(_) => write!(f, ", waits until")?,
        }
        let inputs = delay.expression().map_or(&[][..], |delay| &delay.inputs);
        outline_inputs(f, inputs)?;
    }
    let kinds: Vec<_> = node.outputs.iter().map(|output| output.kind).collect();
    let mark = if node.tolerated { ", tolerated" } else { "" };
    writeln!(f, " -> {kinds:?}{mark}")
}

fn outline_inputs(f: &mut fmt::Formatter<'_>, inputs: &[InputPlan]) -> fmt::Result {
    for input in inputs {
        let sources: Vec<String> = input.sources.iter().copied().map(short).collect();
        let mark = if input.optional { "?" } else { "" };
        write!(f, ", {}{mark}={}", input.name, sources.join("|"))?;
    }
    Ok(())
}

fn matches(these: &[ErrorMatch]) -> String {
    let name = |one: &ErrorMatch| match one {
        ErrorMatch::Class(class) => class.name().to_owned(),
        ErrorMatch::Named(name) => name.clone(),
    };
    if these.is_empty() {
        return "all".to_owned();
    }
    these.iter().map(name).collect::<Vec<_>>().join("/")
}

fn short(source: Source) -> String {
    match source {
        Source::Input(number) => format!("i{number}"),
        Source::Constant(number) => format!("c{number}"),
        Source::Item { up } => format!("item{up}"),
        Source::Output { node, output } => format!("n{node}.r{output}"),
        Source::First { node, output } => format!("first n{node}.r{output}"),
    }
}
