//! Imports made so short that they can be run: recorded times and bytes multiplied with one factor, so that what computation
//! and communication are to each other stays.

use master::import::{Draft, Feed};
use serde_json::Value;

/// What an executor has beside its payloads, in MiB.
const EXECUTOR_MIB: f64 = 48.0;
/// The input that holds what a synthetic function is told.
const PARAMETERS: &str = "parameters";

/// Makes all functions burn their run time on a CPU instead of sleeping it.
pub(super) fn keep_busy(draft: &mut Draft) {
    for node in &mut draft.nodes {
        change_parameters(&mut node.inputs, |parameters| {
            if let Value::Object(parameters) = parameters {
                parameters.insert("busy".to_owned(), 1.into());
            }
        });
        if let Some(profile) = &mut node.profile {
            profile.busy = 1.0;
        }
    }
}

/// Multiplies the bytes of all outputs, as they are written and as profiles say, and the memory for them.
pub(crate) fn scale_bytes(draft: &mut Draft, factor: f64) {
    for node in &mut draft.nodes {
        change_parameters(&mut node.inputs, |parameters| {
            scale_outputs(parameters, factor)
        });
        if let Some(profile) = &mut node.profile {
            profile.output_bytes = scaled(profile.output_bytes, factor);
            for (_, bytes) in &mut profile.by_output {
                *bytes = scaled(*bytes, factor);
            }
        }
        if let Some(memory_mib) = &mut node.resources.memory_mib {
            *memory_mib = (f64::from(*memory_mib) * factor + EXECUTOR_MIB).ceil() as u32;
        }
    }
}

fn scaled(bytes: u64, factor: f64) -> u64 {
    (bytes as f64 * factor).round() as u64
}

/// Changes what a synthetic function is told, whether it is a value or, being longer than values may be, a text.
fn change_parameters(inputs: &mut [(String, Feed)], change: impl Fn(&mut Value)) {
    for (name, feed) in inputs {
        match feed {
            Feed::Value(parameters) if name == PARAMETERS => change(parameters),
            Feed::Text(text) if name == PARAMETERS => {
                if let Ok(mut parameters) = serde_json::from_str(text) {
                    change(&mut parameters);
                    *text = parameters.to_string();
                }
            }
            _ => {}
        }
    }
}

fn scale_outputs(parameters: &mut Value, factor: f64) {
    let Some(Value::Object(outputs)) = parameters.get_mut("outputs") else {
        return;
    };
    for (_, output) in outputs {
        let bytes = match output {
            Value::Number(_) => Some(output),
            Value::Object(list) => list.get_mut("bytes"),
            _ => None,
        };
        if let Some(bytes) = bytes
            && let Some(now) = bytes.as_u64()
        {
            *bytes = scaled(now, factor).into();
        }
    }
}

/// Bytes that all nodes write in an invocation.
pub(crate) fn written_bytes(draft: &Draft) -> f64 {
    let profiles = draft.nodes.iter().filter_map(|node| node.profile.as_ref());
    profiles.map(|profile| profile.output_bytes as f64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use master::import::{Node, Work};
    use serde_json::json;

    #[test]
    fn what_is_written_and_what_profiles_say_shrink_alike() {
        let outputs = json!({ "a": 1000, "l": { "items": 4, "bytes": 100 }, "v": { "value": 7 } });
        let parameters = json!({ "runtime_ms": 5, "outputs": outputs });
        let node = |feed| {
            let mut node = Node::new("n", Work::Function("synthetic:run".to_owned()));
            node.inputs.push((PARAMETERS.to_owned(), feed));
            node
        };
        let mut draft = Draft {
            nodes: vec![
                node(Feed::Value(parameters.clone())),
                node(Feed::Text(parameters.to_string())),
            ],
            ..Draft::default()
        };
        scale_bytes(&mut draft, 0.1);
        let expected = json!({
            "runtime_ms": 5,
            "outputs": { "a": 100, "l": { "items": 4, "bytes": 10 }, "v": { "value": 7 } },
        });
        assert_eq!(draft.nodes[0].inputs[0].1, Feed::Value(expected.clone()));
        assert_eq!(draft.nodes[1].inputs[0].1, Feed::Text(expected.to_string()));
    }

    #[test]
    fn functions_burn_what_profiles_say_that_they_do() {
        let mut node = Node::new("n", Work::Function("synthetic:run".to_owned()));
        let parameters = Feed::Value(json!({ "runtime_ms": 5 }));
        node.inputs.push((PARAMETERS.to_owned(), parameters));
        let other = Feed::Value(json!({ "busy": "not this one" }));
        node.inputs.push(("other".to_owned(), other.clone()));
        let mut draft = Draft {
            nodes: vec![node],
            ..Draft::default()
        };
        keep_busy(&mut draft);
        let expected = Feed::Value(json!({ "runtime_ms": 5, "busy": 1 }));
        assert_eq!(draft.nodes[0].inputs[0].1, expected);
        assert_eq!(draft.nodes[0].inputs[1].1, other);
    }
}
