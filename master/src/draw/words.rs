//! What boxes and lines say: each construct of the language in a few words, the same in all formats.

use crate::definition::{
    COMMAND_EXECUTABLE, Case, Catch, Definition, Delay, Divide, Formula, Node, Port, Resources,
    Work, WorkflowInput, WorkflowOutput,
};
use engine::plan::{ErrorMatch, Retry, Trust};

/// What a node does.
pub(super) fn work(node: &Node) -> String {
    match &node.work {
        Work::Function {
            function,
            arguments,
        } if function.value.executable == COMMAND_EXECUTABLE => {
            format!("$ {}", arguments.join(" "))
        }
        Work::Function { function, .. } => {
            let name = &function.value;
            format!("{}:{}", name.executable, name.function)
        }
        Work::Compute(formulas) => computes(node, formulas),
        Work::Switch(_) => "switch".to_owned(),
        Work::Nothing => waits(&node.delays),
    }
}

fn computes(node: &Node, formulas: &[Formula]) -> String {
    let text = |(output, formula): (&Port, &Formula)| {
        let formula = match formula {
            Formula::Value(text) => text.value.clone(),
            Formula::Range { from, to } => format!("{} to {}", from.value, to.value),
        };
        format!("{} = {formula}", output.name.value)
    };
    let all: Vec<String> = node.outputs.iter().zip(formulas).map(text).collect();
    all.join("; ")
}

fn waits(delays: &[Delay]) -> String {
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

/// Over what a node runs, and how many items at once; none if it runs once.
pub(super) fn foreach(definition: &Definition, node: &Node, placed: bool) -> Option<String> {
    let region = &definition.regions[node.region?];
    let mut list = definition.source_name(region.list.value);
    if region.parent.is_some() {
        list.push_str("[item]");
    }
    let mut text = match region.batch {
        None => format!("for each of {list}"),
        Some(batch) => format!("for every {batch} of {list}"),
    };
    if let Some(most) = region.parallelism {
        text.push_str(&format!(", {most} at once"));
    }
    match region.divide {
        Divide::Auto => {}
        Divide::Never => text.push_str(", never divided"),
        // Where its parts are is told by itself.
        Divide::Into(_) if placed => {}
        Divide::Into(parts) => text.push_str(&format!(", in {parts} parts")),
    }
    Some(text)
}

/// What else holds for a node: how long it waits, how it is tried again, how long it may take, what it needs.
pub(super) fn marks(node: &Node) -> Vec<String> {
    let mut marks = Vec::new();
    if !node.delays.is_empty() && node.work != Work::Nothing {
        marks.push(waits(&node.delays));
    }
    marks.extend(retries(&node.retriers));
    if let Some(timeout_ms) = node.timeout_ms {
        marks.push(format!("timeout {timeout_ms} ms"));
    }
    let Resources {
        memory_mib,
        scale,
        cpus,
    } = node.resources;
    let usual = Resources::default();
    if scale != usual.scale {
        marks.push(format!("scale {scale}"));
    }
    if memory_mib != usual.memory_mib {
        marks.push(format!("{memory_mib} MiB"));
    }
    if cpus != usual.cpus {
        marks.push(format!("{cpus} CPUs"));
    }
    if node.trust == Trust::Other {
        marks.push("trust other".to_owned());
    }
    marks
}

/// That a node is divided, and where its parts run, with how many there are where several are.
pub(super) fn parts(workers: &[&str]) -> String {
    let mut counted: Vec<(&str, usize)> = Vec::new();
    for worker in workers {
        match counted.iter_mut().find(|(known, _)| known == worker) {
            Some((_, parts)) => *parts += 1,
            None => counted.push((worker, 1)),
        }
    }
    let on = counted.into_iter().map(|(worker, parts)| match parts {
        1 => worker.to_owned(),
        parts => format!("{worker} ({parts})"),
    });
    let on: Vec<String> = on.collect();
    format!("in {} parts, on {}", workers.len(), on.join(", "))
}

/// Several retriers are asked in turn: each is for what those before it do not take.
fn retries(retriers: &[Retry]) -> Vec<String> {
    let one = |(place, retrier): (usize, &Retry)| {
        let on = failures(&retrier.on);
        let on = match (on.is_empty(), place) {
            (false, _) => format!(" on {on}"),
            (true, 0) => String::new(),
            (true, _) => " on all else".to_owned(),
        };
        let wait = match (retrier.attempts, retrier.backoff_ms) {
            (1, _) | (_, 0) => String::new(),
            (_, backoff_ms) => format!(" after {backoff_ms} ms"),
        };
        match retrier.attempts {
            1 => format!("no retry{on}"),
            attempts => format!("{attempts} attempts{on}{wait}"),
        }
    };
    retriers.iter().enumerate().map(one).collect()
}

/// Classes and names of failures; nothing if all are meant.
fn failures(on: &[ErrorMatch]) -> String {
    let names = on.iter().map(|on| match on {
        ErrorMatch::Class(class) => class.name(),
        ErrorMatch::Named(name) => name.as_str(),
    });
    names.collect::<Vec<&str>>().join(", ")
}

pub(super) fn case(case: &Case) -> String {
    let condition = case.condition.as_ref();
    condition.map_or_else(|| "default".to_owned(), |condition| condition.value.clone())
}

pub(super) fn catch(catch: &Catch) -> String {
    match failures(&catch.on) {
        all if all.is_empty() => "on any failure".to_owned(),
        some => format!("on {some}"),
    }
}

/// An input of the workflow.
pub(super) fn input(input: &WorkflowInput) -> &'static str {
    match (input.default, input.optional) {
        (Some(_), _) => "input, has a default",
        (None, true) => "input, optional",
        (None, false) => "input",
    }
}

/// An output of the workflow.
pub(super) fn output(output: &WorkflowOutput) -> &'static str {
    if output.optional {
        "output, optional"
    } else {
        "output"
    }
}

/// Of how many edges a node is a join, if not of all.
pub(super) fn join(count: u32) -> String {
    match count {
        1 => "join: any".to_owned(),
        count => format!("join: at least {count}"),
    }
}

/// What texts have in common, with a mark for the rest. Digits at that mark go with it: they count.
pub(super) fn pattern<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<Vec<char>> = texts.map(|text| text.chars().collect()).collect();
    let Some((first, others)) = texts.split_first() else {
        return String::new();
    };
    let same = |a: &[char], b: &[char]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let head = others.iter().map(|other| same(first, other)).min();
    let head = head.unwrap_or(first.len());
    if texts.iter().all(|text| text.len() == head) {
        return first.iter().collect();
    }
    let reversed = |text: &[char]| text[head..].iter().rev().copied().collect::<Vec<char>>();
    let rest = reversed(first);
    let tail = others.iter().map(|other| same(&rest, &reversed(other)));
    let tail = tail.min().unwrap_or(0);
    let head: String = first[..head].iter().collect();
    let tail: String = first[first.len() - tail..].iter().collect();
    let digit = |char: char| char.is_ascii_digit();
    format!(
        "{}…{}",
        head.trim_end_matches(digit),
        tail.trim_start_matches(digit)
    )
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn a_pattern_says_what_is_the_same() {
        let of = |texts: &[&str]| pattern(texts.iter().copied());
        assert_eq!(of(&["part_001", "part_002", "part_013"]), "part_…");
        assert_eq!(of(&["a1.out", "a12.out"]), "a….out");
        assert_eq!(of(&["same", "same"]), "same");
        assert_eq!(of(&["aa", "aaa"]), "aa…");
        assert_eq!(of(&["left", "right"]), "…t");
        assert_eq!(of(&["only-7"]), "only-7");
    }
}
