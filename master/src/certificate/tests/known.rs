//! Small workflows whose certificates are known.

use super::super::*;
use super::sketch::{Sketch, Sketched, Src};

fn node() -> Sketched {
    Sketched::default()
}

fn switch(cases: &[&[usize]]) -> Sketched {
    Sketched {
        cases: cases.iter().map(|to| to.to_vec()).collect(),
        ..node()
    }
}

fn reads(inputs: &[&[usize]]) -> Sketched {
    let alternatives = |of: &&[usize]| (of.iter().copied().map(Src::Of).collect(), false);
    Sketched {
        inputs: inputs.iter().map(alternatives).collect(),
        ..node()
    }
}

fn definition(nodes: &[Sketched]) -> Definition {
    Sketch {
        nodes: nodes.to_vec(),
        outputs: Vec::new(),
        regions: Vec::new(),
    }
    .definition()
}

fn verdicts(definition: &Definition) -> Vec<Verdict> {
    certify(definition, Bounds::default())
        .nodes
        .iter()
        .map(|one| one.verdict)
        .collect()
}

use Verdict::{Always, May, Never};

#[test]
fn a_join_of_all_branches_of_a_switch_always_runs() {
    let all = [switch(&[&[1], &[2]]), node(), node(), reads(&[&[1, 2]])];
    assert_eq!(verdicts(&definition(&all)), [Always, May, May, Always]);
    let one_is_missing = [
        switch(&[&[1], &[2], &[]]),
        node(),
        node(),
        reads(&[&[1, 2]]),
    ];
    let definition = definition(&one_is_missing);
    assert_eq!(verdicts(&definition), [Always, May, May, May]);
    let join = &certify(&definition, Bounds::default()).nodes[3];
    let skipped = join.skipped.as_ref().unwrap();
    assert_eq!(skipped.choices, [Choice::Case { switch: 0, case: 2 }]);
    assert!(skipped.shortest);
    assert_eq!(
        skipped.choices[0].describe(&definition),
        "n0 takes its default (→ nothing)"
    );
    let runs = join.runs.as_ref().unwrap();
    assert_eq!(
        runs.choices[0].describe(&definition),
        "n0 takes case 1 (→ n1)"
    );
}

#[test]
fn a_node_that_needs_both_branches_never_runs_and_the_error_says_why() {
    let both = [switch(&[&[1], &[2]]), node(), node(), reads(&[&[1], &[2]])];
    let definition = definition(&both);
    assert_eq!(verdicts(&definition), [Always, May, May, Never]);
    let error = check(&definition, Bounds::default()).unwrap_err();
    assert_eq!(error.problems.len(), 1);
    assert_eq!(
        error.problems[0].to_string(),
        "node `n3` can never run: what it needs excludes one another: \
         input `i0` (from n1.out), there if n0 takes case 1 (→ n1); and \
         input `i1` (from n2.out), there if n0 takes its default (→ n2)"
    );
}

#[test]
fn what_waits_for_a_node_that_never_runs_never_runs() {
    let mut nodes = vec![
        switch(&[&[1], &[2]]),
        node(),
        node(),
        reads(&[&[1], &[2]]),
        reads(&[&[3]]),
    ];
    nodes.push(Sketched {
        after: vec![3],
        ..node()
    });
    let error = check(&definition(&nodes), Bounds::default()).unwrap_err();
    let said: Vec<String> = error.problems.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(
        said.iter()
            .any(|text| text.contains("it needs input `i0` (from n3.out), and none can be")),
        "{said:?}"
    );
}

#[test]
fn what_runs_after_a_failure_alone_never_runs_and_is_no_error() {
    let nodes = [
        Sketched {
            catch: vec![1],
            ..node()
        },
        Sketched {
            inputs: vec![(vec![Src::Error(0)], false)],
            ..node()
        },
        reads(&[&[0, 1]]),
    ];
    let definition = definition(&nodes);
    assert_eq!(verdicts(&definition), [Always, Never, Always]);
    let certificates = check(&definition, Bounds::default()).unwrap();
    let after = certificates.nodes[1].after_failure.as_ref().unwrap();
    assert_eq!(
        after.choices,
        [Choice::Fails {
            node: 0,
            catch: Some(0)
        }]
    );
    // The same handler can never run if it also needs what the failed node would have given.
    let mut nodes = nodes;
    nodes[1].inputs.push((vec![Src::Of(0)], false));
    let error = check(&super::known::definition(&nodes), Bounds::default()).unwrap_err();
    assert!(
        error.problems[0]
            .to_string()
            .contains("excludes one another"),
        "{error}"
    );
}

#[test]
fn a_join_of_some_counts_the_edges_that_can_be_live_together() {
    let joined = |at_least| {
        let mut nodes = vec![
            switch(&[&[2], &[]]),
            switch(&[&[3], &[]]),
            node(),
            node(),
            node(),
        ];
        nodes.push(Sketched {
            after: vec![2, 3, 4],
            at_least,
            ..node()
        });
        definition(&nodes)
    };
    assert_eq!(verdicts(&joined(1))[5], Always);
    assert_eq!(verdicts(&joined(2))[5], May);
    let all = certify(&joined(3), Bounds::default());
    assert_eq!(all.nodes[5].runs.as_ref().unwrap().choices.len(), 2);
    assert_eq!(all.nodes[5].skipped.as_ref().unwrap().choices.len(), 1);
}

#[test]
fn an_optional_input_of_the_workflow_is_a_choice_of_the_client() {
    let nodes = [
        Sketched {
            inputs: vec![(vec![Src::Optional], false)],
            ..node()
        },
        Sketched {
            inputs: vec![(vec![Src::Optional], true)],
            ..node()
        },
    ];
    let definition = definition(&nodes);
    assert_eq!(verdicts(&definition), [May, Always]);
    let skipped = certify(&definition, Bounds::default()).nodes[0]
        .skipped
        .clone()
        .unwrap();
    assert_eq!(
        skipped.choices[0].describe(&definition),
        "input maybe is left out"
    );
}

#[test]
fn an_output_that_can_never_be_there_is_an_error() {
    let mut definition = definition(&[switch(&[&[1], &[2]]), node(), node(), node()]);
    let outputs = |sources: Vec<Src>| {
        Sketch {
            nodes: vec![node(); 4],
            outputs: vec![sources],
            regions: Vec::new(),
        }
        .definition()
        .outputs
    };
    definition.outputs = outputs(vec![Src::Of(1), Src::Of(2)]);
    assert_eq!(
        check(&definition, Bounds::default()).unwrap().outputs[0].verdict,
        Always
    );
    definition.outputs = outputs(vec![Src::Error(3)]);
    let error = check(&definition, Bounds::default()).unwrap_err();
    assert!(
        error.problems[0]
            .to_string()
            .contains("output `o0` can never be there")
    );
}
