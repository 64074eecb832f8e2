//! Why a node can never run, as an error at its place.

use super::diagram::FALSE;
use super::model::{GateId, Need};
use super::{Answer, Certificates, Choice, Prover, Verdict, Witness};
use crate::definition::ProblemKind;
use crate::definition::{Definition, DefinitionError, From, problems_at};

/// The error that names all nodes that can never run, and all outputs that can never be there; none if there are none. The
/// prover is the one that looked whether failures make them run.
pub(super) fn dead(
    definition: &Definition,
    certificates: &Certificates,
    prover: &mut Prover<'_>,
) -> Option<DefinitionError> {
    let dead = |certificate: &super::Certificate| {
        certificate.verdict == Verdict::Never
            && certificate.decided
            && certificate.after_failure.is_none()
    };
    if !certificates.all().any(dead) {
        return None;
    }
    let mut problems = Vec::new();
    for (place, node) in definition.nodes.iter().enumerate() {
        if dead(&certificates.nodes[place]) {
            let kind = ProblemKind::NeverRuns {
                node: node.name.value.clone(),
                why: why(definition, prover, place),
            };
            let help = "choices of switches count as free, and still nothing makes it run; \
                        let a case lead to it, or give the input an alternative, `first_of(…)`";
            problems.push((node.name.span, kind, Some(help.to_owned())));
        }
    }
    for (output, certificate) in definition.outputs.iter().zip(&certificates.outputs) {
        if dead(certificate) {
            let kind = ProblemKind::NeverThere {
                output: output.name.value.clone(),
            };
            let help = "name a source that can be there".to_owned();
            problems.push((output.name.span, kind, Some(help)));
        }
    }
    Some(problems_at(&definition.source, problems))
}

/// The needs that cannot be met together, as few as will do.
fn why(definition: &Definition, prover: &mut Prover<'_>, node: usize) -> String {
    let mut needs = prover.model.needs[node].clone();
    // From behind: what comes first says most.
    for index in (0..needs.len()).rev() {
        let left_out = needs.remove(index);
        if needs.is_empty() || !never_together(prover, &needs) {
            needs.insert(index, left_out);
        }
    }
    let words: Vec<String> = needs
        .iter()
        .map(|(need, gate)| {
            let words = describe(definition, node, *need);
            match prover.when(*gate, true) {
                Answer::Under(witness) => format!("{words}, {}", under(definition, &witness)),
                Answer::Never | Answer::Unknown => words,
            }
        })
        .collect();
    match &words[..] {
        [only] => format!("it needs {only}, and none can be"),
        _ => format!(
            "what it needs excludes one another: {}",
            words.join("; and ")
        ),
    }
}

fn never_together(prover: &mut Prover<'_>, needs: &[(Need, GateId)]) -> bool {
    let mut together = super::TRUE;
    let mut steps = super::Budget(prover.bounds.diagram_steps);
    for (_, gate) in needs {
        let Some(diagram) = prover.of_gates[*gate as usize] else {
            return false;
        };
        match prover.diagrams.join(true, together, diagram, &mut steps) {
            Ok(joined) => together = joined,
            Err(_) => return false,
        }
    }
    together == FALSE
}

fn under(definition: &Definition, witness: &Witness) -> String {
    let words: Vec<String> = witness
        .choices
        .iter()
        .map(|choice: &Choice| choice.describe(definition))
        .collect();
    if words.is_empty() {
        "which is always there".to_owned()
    } else {
        format!("there if {}", words.join(" and "))
    }
}

fn describe(definition: &Definition, place: usize, need: Need) -> String {
    let node = &definition.nodes[place];
    let producers = |from: &mut dyn Iterator<Item = From>| {
        let names: Vec<String> = from.map(|from| definition.source_name(from)).collect();
        names.join(" or ")
    };
    match need {
        Need::Gates => "one of the cases or catches that lead to it".to_owned(),
        Need::Foreach => {
            let lists = definition.regions_of(place);
            let lists = &mut lists.map(|region| definition.regions[region].list.value);
            format!("the list of its foreach (from {})", producers(lists))
        }
        Need::Input(input) => {
            let declared = node.all_inputs().nth(input);
            let from = declared.map_or(&[][..], |declared| &declared.from);
            let name = declared.map_or("", |declared| &declared.name.value);
            let from = producers(&mut from.iter().map(|from| from.value));
            format!("input `{name}` (from {from})")
        }
        Need::Edge => "one of the nodes that it waits for to end well".to_owned(),
        Need::Edges(count) => format!("{count} of the nodes that it waits for to end well"),
    }
}
