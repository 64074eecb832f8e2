//! What functions say of their payloads: to the engine that asks, and to themselves.

use crate::engine::{Engine, executable, greet, nodes};
use faasstore::binding::WaitStrategy::Park;
use faasstore::binding::{Kind, NodeBinding, Port};
use faasstore::descriptor::{OutputRef, PayloadRef};
use faasstore::schema::{ARROW_IPC, Schema};

const SHAPE: &str = "rkyv:struct{name:string,sides:list<f64>}";
const AREA: &str = "rkyv:struct{name:string,square_metres:f64}";

#[test]
fn an_executable_describes_itself_to_an_engine_that_names_no_nodes() {
    let mut greeted = greet(Park, Vec::new());
    let hello = &greeted.hello.message;
    assert_eq!(hello.refusal, None);
    let function = |name: &str| {
        let mut functions = hello.functions.iter();
        functions.find(|function| function.name == name).unwrap()
    };
    let upper = function("upper");
    assert_eq!((upper.input("it"), upper.output("it")), (None, None));
    // What has one input alone calls it as its node does.
    let area = function("area");
    assert_eq!(
        (area.input("any"), area.output("other")),
        (Some(SHAPE), Some(AREA))
    );
    let measure = function("measure");
    assert_eq!(
        (measure.input("shapes"), measure.output("areas")),
        (Some(SHAPE), Some(AREA))
    );
    assert_eq!(
        (measure.input("areas"), measure.output("shapes")),
        (None, None)
    );
    assert_eq!(function("table").output("rows"), Some(ARROW_IPC));
    for function in &hello.functions {
        for port in function.inputs.iter().chain(&function.outputs) {
            Schema::parse(&port.schema).unwrap();
        }
    }
    drop(greeted.socket);
    greeted.child.wait().unwrap();
}

fn ports(ports: &[(&str, Kind)]) -> Vec<Port> {
    let port = |&(name, kind): &(&str, Kind)| Port {
        name: name.to_owned(),
        kind,
    };
    ports.iter().map(port).collect()
}

#[test]
fn a_function_cannot_use_what_it_declares_as_something_else() {
    for (how, wrong) in [
        ("read", "Input: input taken is declared as "),
        ("read an item", "Input: input several is declared as "),
        ("write", "Output: output more is declared as "),
        ("write an item", "Output: output all is declared as "),
    ] {
        let lie = NodeBinding {
            node: 3,
            name: "the-lie".to_owned(),
            function: "lie".to_owned(),
            arguments: vec![how.to_owned()],
            inputs: ports(&[("taken", Kind::Bytes), ("several", Kind::List)]),
            outputs: ports(&[
                ("made", Kind::Bytes),
                ("more", Kind::Bytes),
                ("all", Kind::List),
            ]),
            maxima: Vec::new(),
        };
        let mut engine = Engine::start_one_of(&executable(), Park, vec![lie]);
        let failure = engine.call("lie", &[PayloadRef::EMPTY; 2]).unwrap_err();
        assert!(
            failure.starts_with(wrong) && failure.contains("declare what the function uses"),
            "{how}: {failure}"
        );
    }
}

#[test]
fn items_are_taken_and_made_as_they_are_declared() {
    let mut engine = Engine::start(Park);
    let outputs = engine.call("measure", &[PayloadRef::EMPTY]).unwrap();
    assert_eq!(outputs, [OutputRef::Empty], "a list of no items");
}

#[test]
fn a_value_is_no_archive() {
    for inputs in [true, false] {
        let mut wrong = nodes();
        let measure = wrong
            .iter_mut()
            .find(|node| node.function == "measure")
            .unwrap();
        let port = match inputs {
            true => &mut measure.inputs[0],
            false => &mut measure.outputs[0],
        };
        port.kind = Kind::Value;
        let (what, name) = (if inputs { "input" } else { "output" }, port.name.clone());
        let mut greeted = greet(Park, wrong);
        let refusal = greeted.hello.message.refusal.unwrap();
        let begin = format!("node the-measure declares {what} {name} as a value, which is JSON");
        assert!(refusal.starts_with(&begin), "{refusal}");
        greeted.child.wait().unwrap();
    }
}
