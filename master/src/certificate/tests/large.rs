//! Workflows with hundreds of switches.

use super::super::*;
use super::sketch::{Sketch, Sketched, Src};

const SWITCHES: usize = 400;

fn definition(nodes: Vec<Sketched>) -> Definition {
    Sketch {
        nodes,
        outputs: Vec::new(),
        regions: Vec::new(),
    }
    .definition()
}

/// Each switch leads to the next, or nowhere.
#[test]
fn a_chain_of_switches_is_decided_with_the_smallest_witnesses() {
    let nodes = (0..=SWITCHES).map(|index| Sketched {
        cases: if index < SWITCHES {
            vec![vec![index + 1], vec![], vec![]]
        } else {
            vec![]
        },
        ..Sketched::default()
    });
    let last = certify(&definition(nodes.collect()), Bounds::default())
        .nodes
        .pop()
        .unwrap();
    assert_eq!(
        last.runs.unwrap(),
        Witness {
            choices: (0..SWITCHES)
                .map(|switch| Choice::Case { switch, case: 0 })
                .collect(),
            shortest: true,
        }
    );
    let skipped = last.skipped.unwrap();
    assert_eq!((skipped.choices.len(), skipped.shortest), (1, true));
}

/// A switch, its two branches and their join, after each other.
#[test]
fn a_chain_of_diamonds_always_runs_to_its_end() {
    let mut nodes = Vec::new();
    for diamond in 0..SWITCHES {
        let at = nodes.len();
        let before = if diamond == 0 { vec![] } else { vec![at - 1] };
        nodes.push(Sketched {
            after: before,
            cases: vec![vec![at + 1], vec![at + 2]],
            ..Sketched::default()
        });
        nodes.extend([Sketched::default(), Sketched::default()]);
        nodes.push(Sketched {
            inputs: vec![(vec![Src::Of(at + 1), Src::Of(at + 2)], false)],
            ..Sketched::default()
        });
    }
    let certificates = certify(&definition(nodes), Bounds::default());
    for (index, node) in certificates.nodes.iter().enumerate() {
        let expected = if matches!(index % 4, 0 | 3) {
            Verdict::Always
        } else {
            Verdict::May
        };
        assert_eq!(node.verdict, expected, "node {index}");
    }
}

/// First all switches, then all second switches: the order of the definition would need a diagram of 2^200 parts.
#[test]
fn choices_that_matter_together_are_kept_together() {
    let pairs = SWITCHES / 2;
    let mut nodes: Vec<Sketched> = Vec::new();
    for pair in 0..pairs {
        nodes.push(Sketched {
            cases: vec![vec![pairs + pair], vec![]],
            ..Sketched::default()
        });
    }
    for pair in 0..pairs {
        nodes.push(Sketched {
            cases: vec![vec![2 * pairs + pair], vec![]],
            ..Sketched::default()
        });
    }
    nodes.extend(vec![Sketched::default(); pairs]);
    nodes.push(Sketched {
        inputs: vec![((2 * pairs..3 * pairs).map(Src::Of).collect(), false)],
        ..Sketched::default()
    });
    nodes.push(Sketched {
        after: (2 * pairs..3 * pairs).collect(),
        at_least: 50,
        ..Sketched::default()
    });
    let certificates = certify(&definition(nodes), Bounds::default());
    let any = &certificates.nodes[3 * pairs];
    assert_eq!(
        any.runs
            .as_ref()
            .map(|one| (one.choices.len(), one.shortest)),
        Some((2, true))
    );
    assert_eq!(
        any.skipped
            .as_ref()
            .map(|one| (one.choices.len(), one.shortest)),
        Some((pairs, true))
    );
    let some = &certificates.nodes[3 * pairs + 1];
    assert_eq!(
        some.runs
            .as_ref()
            .map(|one| (one.choices.len(), one.shortest)),
        Some((100, true))
    );
    assert_eq!(
        some.skipped
            .as_ref()
            .map(|one| (one.choices.len(), one.shortest)),
        Some((pairs - 49, true))
    );
}

/// Branches that lead anywhere and come together anyhow: diagrams burst, and the search decides.
#[test]
fn a_tangle_of_switches_is_decided() {
    let mut state = 1_u64;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut nodes: Vec<Sketched> = (0..SWITCHES)
        .map(|_| Sketched {
            cases: vec![vec![], vec![], vec![]],
            ..Sketched::default()
        })
        .collect();
    for index in SWITCHES..4 * SWITCHES {
        nodes.push(Sketched::default());
        for _ in 0..2 {
            let case = random(3);
            nodes[random(SWITCHES)].cases[case].push(index);
        }
        if index > 2 * SWITCHES {
            for _ in 0..2 {
                let of = (0..3)
                    .map(|_| Src::Of(SWITCHES + random(index - SWITCHES)))
                    .collect();
                nodes[index].inputs.push((of, false));
            }
        }
    }
    let certificates = certify(&definition(nodes), Bounds::default());
    let undecided = certificates.nodes.iter().filter(|one| !one.decided).count();
    let unproved = certificates
        .nodes
        .iter()
        .filter(|one| one.runs.as_ref().is_some_and(|one| !one.shortest))
        .count();
    assert_eq!(undecided, 0);
    assert!(unproved > 0, "this is meant to be beyond diagrams");
}

/// As many switches with as many cases as a file has room for: what diagrams say of their options is bounded by itself.
#[test]
fn switches_of_many_cases_stay_within_their_room() {
    let (switches, cases) = (256, 1024);
    let mut nodes: Vec<Sketched> = (0..switches)
        .map(|index| {
            let mut to = vec![vec![]; cases];
            to[0] = vec![switches + index];
            Sketched {
                cases: to,
                ..Sketched::default()
            }
        })
        .collect();
    nodes.extend(vec![Sketched::default(); switches]);
    let definition = definition(nodes);
    let certificates = certify(&definition, Bounds::default());
    for (index, node) in certificates.nodes.iter().enumerate() {
        let expected = if index < switches {
            Verdict::Always
        } else {
            Verdict::May
        };
        assert_eq!(
            (node.verdict, node.decided),
            (expected, true),
            "node {index}"
        );
    }
    // Whatever may be spent: there is no room for more.
    let bounds = Bounds {
        diagram_steps_all: u64::MAX,
        ..Bounds::default()
    };
    let model = Model::of(&definition, Failures::None);
    let prover = Prover::new(&model, bounds);
    assert!(prover.diagrams.children_count() <= diagram::CHILDREN_MAX);
    assert!(prover.of_gates.iter().any(Option::is_none), "all had room");
}
