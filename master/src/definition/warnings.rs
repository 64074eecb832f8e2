//! What is suspicious in a definition that is otherwise good.

use super::Span;
use super::keys::TIME_MS_MAX;
use super::problem::{ProblemKind, Problems};
use super::raw::{RawDefinition, RawDelay, RawNode, RawWork};
use engine::plan::{ErrorClass, ErrorMatch};
use rustc_hash::FxHashSet;

/// What of a file something else uses, by the places in it.
#[derive(Default)]
pub(super) struct Used {
    /// Workflow inputs.
    pub(super) inputs: FxHashSet<usize>,
    pub(super) constants: FxHashSet<usize>,
    /// Nodes with their outputs.
    pub(super) outputs: FxHashSet<(usize, usize)>,
}

/// Warns of what nobody uses, and of times that do not go together.
pub(super) fn find(raw: &RawDefinition, used: &Used, problems: &mut Problems) {
    let unused = |name: String| ProblemKind::Unused { name };
    let away = "take it away, or use it";
    for (index, input) in raw.inputs.iter().enumerate() {
        if !used.inputs.contains(&index) {
            let kind = unused(format!("input.{}", input.name.value));
            problems.warn(input.name.span, kind, Some(away.to_owned()));
        }
    }
    for (index, (name, _)) in raw.constants.iter().enumerate() {
        if !used.constants.contains(&index) {
            let kind = unused(format!("constant.{}", name.value));
            problems.warn(name.span, kind, Some(away.to_owned()));
        }
    }
    for (index, node) in raw.nodes.iter().enumerate() {
        outputs(index, node, used, problems);
        times(raw, node, problems);
        unreached(node, problems);
        in_vain(node, problems);
    }
}

/// Warns of catches at what runs no function, and so fails in one way alone, that do not name that.
fn in_vain(node: &RawNode, problems: &mut Problems) {
    if !matches!(
        node.work,
        RawWork::Compute(_) | RawWork::Switch(_) | RawWork::Nothing
    ) {
        return;
    }
    let takes = |on: &[ErrorMatch]| {
        on.is_empty() || on.contains(&ErrorMatch::Class(ErrorClass::Expression))
    };
    for catch in node.catches.iter().filter(|catch| !takes(&catch.on)) {
        let kind = ProblemKind::Unreached {
            what: "catch",
            why: "what runs no function fails as `expression` alone",
        };
        let help = "write `on: expression`, or leave `on` away";
        problems.warn(catch.span, kind, Some(help.to_owned()));
    }
}

fn outputs(index: usize, node: &RawNode, used: &Used, problems: &mut Problems) {
    let declared = node.outputs.iter().map(|port| &port.name);
    let computed = match &node.work {
        RawWork::Compute(formulas) => formulas.as_slice(),
        _ => &[],
    };
    let computed = computed.iter().map(|(name, _)| name);
    for (output, name) in declared.chain(computed).enumerate() {
        if !used.outputs.contains(&(index, output)) {
            let kind = ProblemKind::UnusedOutput {
                node: node.name.value.clone(),
                output: name.value.clone(),
            };
            let help =
                "what it holds is dropped: name it as a source, or under the workflow's `output`";
            problems.warn(name.span, kind, Some(help.to_owned()));
        }
    }
}

fn times(raw: &RawDefinition, node: &RawNode, problems: &mut Problems) {
    let runtime_ms = node.profile.known.runtime_ms;
    let delay_ms = match node.delay {
        RawDelay::Fixed(delay_ms) => delay_ms,
        RawDelay::Computed(_) | RawDelay::Until(_) => 0,
    };
    let waits_and_runs_ms = f64::from(delay_ms) + runtime_ms;
    let timeouts = [
        (node.timeout_ms.as_ref(), runtime_ms),
        (raw.timeout_ms.as_ref(), waits_and_runs_ms),
    ];
    for (timeout, takes_ms) in timeouts {
        let Some(timeout) = timeout else { continue };
        if takes_ms > f64::from(timeout.value) {
            let kind = ProblemKind::ShortTimeout {
                node: node.name.value.clone(),
                timeout_ms: timeout.value,
                runtime_ms: takes_ms.to_string(),
            };
            let help =
                format!("give it more time, up to {TIME_MS_MAX}, or correct `profile.runtime_ms`");
            problems.warn(timeout.span, kind, Some(help));
        }
    }
}

/// Warns of retriers, catches and cases behind one that takes all.
fn unreached(node: &RawNode, problems: &mut Problems) {
    let retriers = node.retriers.iter();
    let retriers = retriers.map(|retry| (retry.value.on.is_empty(), retry.span));
    behind_all("retrier", retriers, problems);
    let catches = node.catches.iter();
    let catches = catches.map(|catch| (catch.on.is_empty(), catch.span));
    behind_all("catch", catches, problems);
    if let RawWork::Switch(cases) = &node.work {
        let mut seen = FxHashSet::default();
        for when in cases.iter().filter_map(|case| case.when.as_ref()) {
            if !seen.insert(when.value.trim()) {
                let kind = ProblemKind::Unreached {
                    what: "case",
                    why: "one before it has the same condition",
                };
                problems.warn(when.span, kind, Some("take it away".to_owned()));
            }
        }
    }
}

/// Warns of those behind the first that takes every failure, as each says that it does or not.
fn behind_all(
    what: &'static str,
    these: impl Iterator<Item = (bool, Span)>,
    problems: &mut Problems,
) {
    for (_, span) in these.skip_while(|(all, _)| !all).skip(1) {
        let kind = ProblemKind::Unreached {
            what,
            why: "one before it takes every failure",
        };
        problems.warn(span, kind, Some("put it before the other".to_owned()));
    }
}
