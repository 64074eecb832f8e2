use super::*;

#[test]
fn a_node_has_one_edge_from_each_it_reads_or_follows_and_one_more_for_what_failed() {
    let output = |node, output| Source::Output { node, output };
    let input = |sources: &[Source]| InputPlan {
        sources: sources.to_vec(),
        ..InputPlan::new("a", Kind::Bytes, Source::Input(0))
    };
    let node = NodePlan {
        inputs: vec![
            input(&[output(7, 0), output(4, 1), output(7, 1)]),
            input(&[Source::Item { up: 0 }, Source::Constant(3)]),
            input(&[Source::Input(2), output(4, 2)]),
        ],
        after: vec![9, 4, 7],
        gates: vec![Gate::Case { node: 1, case: 0 }],
        ..NodePlan::default()
    };
    let edge = |node, error| FlowEdge { node, error };
    assert_eq!(
        node.flow_edges(|node| (node == 4).then_some(2)),
        [
            edge(4, false),
            edge(4, true),
            edge(7, false),
            edge(9, false)
        ]
    );
    assert_eq!(NodePlan::default().flow_edges(|_| Some(0)), []);
}

#[test]
fn a_failure_is_meant_by_its_class_or_by_the_name_that_a_function_s_error_begins_with() {
    let named = |name: &str| ErrorMatch::Named(name.to_owned());
    let these = [named("Full"), ErrorMatch::Class(ErrorClass::Timeout)];
    for (class, cause, meant) in [
        (ErrorClass::Error, "Full: no room", true),
        (ErrorClass::Error, "Full:", true),
        (ErrorClass::Error, "Full", false),
        (ErrorClass::Error, "Fuller: no room", false),
        (ErrorClass::Error, "is Full: no room", false),
        (ErrorClass::Error, "full: no room", false),
        (ErrorClass::Panic, "Full: no room", false),
        (ErrorClass::Timeout, "", true),
        (ErrorClass::Crash, "", false),
    ] {
        assert_eq!(
            ErrorMatch::any(&these, class, cause),
            meant,
            "{class:?} {cause:?}"
        );
        assert!(ErrorMatch::any(&[], class, cause));
    }
    let all = ErrorMatch::Class(ErrorClass::Error);
    assert!(ErrorMatch::any(&[all], ErrorClass::Error, "Odd"));
}
