//! What may happen in an invocation, as placement looks at it: which case each switch takes, how likely that is, and which
//! nodes then run.
//!
//! A switch in a region takes the same case in all items of a scenario. Nothing fails, and clients give all inputs.

use super::model::{Failures, Gate, Model, Subject};
use crate::definition::{Case, Definition, Work};
use crate::random::Random;

/// Scenarios of one workflow. With more than that, so many are drawn, each as likely as the choices it is made of.
pub(crate) const SCENARIOS_MAX: usize = 8;
/// What the drawing begins with: a definition always gives the same scenarios.
const SEED: u64 = 0x5ce_a210;

/// One of the ways that an invocation may take.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Scenario {
    /// How likely it is; those of all scenarios come to 1.
    pub(crate) weight: f64,
    /// Whether a node runs, by its place in the definition.
    pub(crate) runs: Vec<bool>,
}

/// The scenarios of a definition: all, or a sample of [`SCENARIOS_MAX`].
pub(crate) fn scenarios(definition: &Definition) -> Vec<Scenario> {
    let switches = |node: &crate::definition::Node| matches!(node.work, Work::Switch(_));
    if !definition.nodes.iter().any(switches) {
        return vec![Scenario {
            weight: 1.0,
            runs: vec![true; definition.nodes.len()],
        }];
    }
    let model = Model::of(definition, Failures::None);
    let chances: Vec<Vec<f64>> = model
        .variables
        .iter()
        .map(|(subject, options)| chances(definition, *subject, usize::from(*options)))
        .collect();
    let possible = |chances: &Vec<f64>| chances.iter().filter(|chance| **chance > 0.0).count();
    let ways = chances.iter().try_fold(1_usize, |ways, chances| {
        let ways = ways * possible(chances);
        (ways <= SCENARIOS_MAX).then_some(ways)
    });
    let mut scenarios: Vec<Scenario> = Vec::new();
    let mut add = |weight: f64, choices: &[usize]| {
        let runs = runs(&model, choices);
        // Ways that differ only in what nobody sees are one.
        match scenarios.iter_mut().find(|known| known.runs == runs) {
            Some(known) => known.weight += weight,
            None => scenarios.push(Scenario { weight, runs }),
        }
    };
    if ways.is_some() {
        let mut choices = vec![0; chances.len()];
        each_way(&chances, 0, 1.0, &mut choices, &mut add);
    } else {
        let mut random = Random::new(SEED);
        for _ in 0..SCENARIOS_MAX {
            let choices = chances.iter().map(|chances| drawn(chances, &mut random));
            let choices: Vec<usize> = choices.collect();
            add(1.0 / SCENARIOS_MAX as f64, &choices);
        }
    }
    scenarios
}

fn each_way(
    chances: &[Vec<f64>],
    variable: usize,
    weight: f64,
    choices: &mut Vec<usize>,
    add: &mut impl FnMut(f64, &[usize]),
) {
    let Some(options) = chances.get(variable) else {
        add(weight, choices);
        return;
    };
    for (option, chance) in options
        .iter()
        .enumerate()
        .filter(|(_, chance)| **chance > 0.0)
    {
        choices[variable] = option;
        each_way(chances, variable + 1, weight * chance, choices, add);
    }
}

/// An option by its chance.
fn drawn(chances: &[f64], random: &mut Random) -> usize {
    let mut left = random.share();
    for (option, chance) in chances.iter().enumerate() {
        if left < *chance {
            return option;
        }
        left -= chance;
    }
    let possible = chances.iter().rposition(|chance| *chance > 0.0);
    possible.unwrap_or_default()
}

/// How likely each option of a choice is.
fn chances(definition: &Definition, subject: Subject, options: usize) -> Vec<f64> {
    let certain = |option| {
        let mut chances = vec![0.0; options];
        chances[option] = 1.0;
        chances
    };
    match subject {
        Subject::Switch(node) => match &definition.nodes[node].work {
            Work::Switch(cases) => case_chances(definition, cases),
            Work::Function { .. } | Work::Compute(_) | Work::Nothing => certain(0),
        },
        // Given, ended well, or live for some item.
        Subject::Input(_) | Subject::Ending(_) | Subject::SomeItem(_) => certain(0),
    }
}

/// How likely each case is: as often as the nodes that it leads to say that they run; what those leave is shared by the
/// other cases.
fn case_chances(definition: &Definition, cases: &[Case]) -> Vec<f64> {
    let said: Vec<Option<f64>> = cases
        .iter()
        .map(|case| {
            let to = case.to.iter();
            let said = to.filter_map(|to| definition.nodes[to.value].profile.runs);
            said.reduce(f64::min)
        })
        .collect();
    let known: f64 = said.iter().flatten().sum();
    let open = said.iter().filter(|said| said.is_none()).count();
    let each = if open == 0 {
        0.0
    } else {
        (1.0 - known).max(0.0) / open as f64
    };
    let all = known + each * open as f64;
    if all <= 0.0 {
        return vec![1.0 / cases.len() as f64; cases.len()];
    }
    said.into_iter()
        .map(|said| said.unwrap_or(each) / all)
        .collect()
}

/// Which nodes run by these choices.
fn runs(model: &Model, choices: &[usize]) -> Vec<bool> {
    let mut holds: Vec<bool> = Vec::with_capacity(model.gates.len());
    for gate in &model.gates {
        let value = match gate {
            Gate::Choice { variable, option } => {
                choices[*variable as usize] == usize::from(*option)
            }
            Gate::AtLeast(count, of) => {
                let live = of.iter().filter(|gate| holds[**gate as usize]).count();
                live >= *count as usize
            }
        };
        holds.push(value);
    }
    model
        .runs
        .iter()
        .map(|gate| holds[*gate as usize])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::parse;

    fn of(nodes: &str) -> (Definition, Vec<Scenario>) {
        let text = format!("workflow: w\ninput: {{ v: value }}\nnodes:\n{nodes}");
        let definition = parse("w.yaml", text.as_bytes()).unwrap();
        let scenarios = scenarios(&definition);
        (definition, scenarios)
    }

    /// The names of the nodes that run, with how likely that is in percent.
    fn told(nodes: &str) -> Vec<(String, u32)> {
        let (definition, scenarios) = of(nodes);
        let all = scenarios.iter().map(|scenario| {
            let named = definition.nodes.iter().zip(&scenario.runs);
            let named = named.filter(|(_, runs)| **runs);
            let names: Vec<&str> = named.map(|(node, _)| node.name.value.as_str()).collect();
            (names.join(" "), (scenario.weight * 100.0).round() as u32)
        });
        all.collect()
    }

    const TWO: &str =
        "  s: { switch: [ { when: v > 1, then: a } ], default: b, input: { v: input.v } }\n";

    #[test]
    fn without_a_switch_everything_runs() {
        let nodes = "  a: { function: e:f }\n  b: { function: e:f, after: a }\n";
        assert_eq!(told(nodes), [("a b".to_owned(), 100)]);
    }

    #[test]
    fn cases_are_equally_likely_unless_profiles_say_otherwise() {
        let plain = format!("{TWO}  a: {{ function: e:f }}\n  b: {{ function: e:f }}\n");
        let expected = [("s a".to_owned(), 50), ("s b".to_owned(), 50)];
        assert_eq!(told(&plain), expected);
        let said = format!(
            "{TWO}  a: {{ function: e:f, profile: {{ runs: 0.2 }} }}\n  b: {{ function: e:f }}\n"
        );
        let expected = [("s a".to_owned(), 20), ("s b".to_owned(), 80)];
        assert_eq!(told(&said), expected);
        let never = format!(
            "{TWO}  a: {{ function: e:f, profile: {{ runs: 0 }} }}\n  b: {{ function: e:f }}\n"
        );
        assert_eq!(told(&never), [("s b".to_owned(), 100)]);
    }

    #[test]
    fn more_ways_than_are_kept_are_drawn_and_always_the_same() {
        let mut nodes = String::new();
        for number in 0..6 {
            nodes += &format!(
                "  s{number}: {{ switch: [ {{ when: v > {number}, then: a{number} }} ], default: b{number}, input: {{ v: input.v }} }}\n  \
                 a{number}: {{ function: e:f, profile: {{ runs: 0.9 }} }}\n  b{number}: {{ function: e:f }}\n"
            );
        }
        let (_, first) = of(&nodes);
        let (_, again) = of(&nodes);
        assert_eq!(first, again);
        assert!(first.len() <= SCENARIOS_MAX);
        let sum: f64 = first.iter().map(|scenario| scenario.weight).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        // One of each pair runs.
        for scenario in &first {
            assert_eq!(scenario.runs.iter().filter(|runs| **runs).count(), 12);
        }
    }
}
