//! What a plan may say of payloads.

use super::*;
use crate::plan::{PortRef, PortType};

fn typed(port: PortRef, schema: u64) -> PortType {
    PortType { port, schema }
}

#[test]
fn ports_that_there_are_may_have_types() {
    let mut plan = plan();
    plan.types = vec![
        typed(PortRef::Input(0), 1),
        typed(PortRef::Output(0), 2),
        typed(PortRef::Read { node: 0, input: 0 }, 1),
        typed(PortRef::Read { node: 3, input: 0 }, u64::MAX),
        typed(PortRef::Written { node: 1, output: 0 }, u64::MAX),
        typed(PortRef::Written { node: 3, output: 0 }, 2),
    ];
    assert_eq!(plan.check(), Ok(()));
}

#[test]
fn types_of_what_is_not_there_are_refused() {
    for (types, place) in [
        (
            vec![typed(PortRef::Input(2), 1)],
            "there is no input number 2",
        ),
        (
            vec![typed(PortRef::Output(1), 1)],
            "there is no output number 1",
        ),
        (
            vec![typed(PortRef::Read { node: 0, input: 1 }, 1)],
            "there is no input number 1",
        ),
        (
            vec![typed(PortRef::Written { node: 3, output: 1 }, 1)],
            "there is no output number 1",
        ),
        // A node of another worker.
        (
            vec![typed(PortRef::Written { node: 2, output: 0 }, 1)],
            "node 2 is not in the plan",
        ),
        (
            vec![typed(PortRef::Input(0), 0)],
            "the hash of a schema is never 0",
        ),
        (vec![typed(PortRef::Input(1), 1)], "a value is JSON"),
        (
            vec![typed(PortRef::Input(0), 1), typed(PortRef::Input(0), 2)],
            "none may stand there twice",
        ),
        (
            vec![typed(PortRef::Output(0), 1), typed(PortRef::Input(0), 1)],
            "ports must rise",
        ),
    ] {
        let error = refused(|plan| plan.types = types).to_string();
        assert!(error.contains(place), "{error}");
    }
}

#[test]
fn what_is_computed_has_no_type() {
    let mut plan = with_expressions(
        Work::Compute(vec![Formula::Value("1".to_owned())]),
        vec![declaration("l", Kind::List)],
    );
    let node = plan.nodes.last().unwrap().id;
    plan.types = vec![typed(PortRef::Written { node, output: 0 }, 1)];
    let error = plan.check().unwrap_err().to_string();
    assert!(error.contains("only functions say"), "{error}");
}
