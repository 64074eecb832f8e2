//! What fuzzing begins with: valid inputs and those that were refused once, and the words of each language.

use super::INPUT_BYTES_MAX;
use crate::plans::{DeploymentName, Placement, plans};
use crate::random::Random;
use crate::workflow::Workflow;
use crate::workflow::random::{Failures, Shape, Timeouts};
use engine::plan::{DeploymentId, Limits, WorkerIndex};
use engine::wire::{
    Answer, Begin, Body, Challenge, Control, ControlReply, Data, Drained, Failure, Forget,
    Heartbeat, Hello, Invoke, NodeReport, Outcome, PartDone, PartFailed, Refused, Role, StateEvent,
    Welcome, WorkerDescription, encode,
};

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Where every example of the language stands.
const LANGUAGE: &str = include_str!("../../../docs/language.md");
const WORDCOUNT: &str = include_str!("../../../examples/wordcount/workflow.yaml");
/// Workflows at random, whose plans frames carry.
const PLANS: u64 = 24;

const FLAT_WORKFLOW: &str = include_str!("../../../master/src/import/faasflow/example.yaml");
const INSTANCE: &str = include_str!("../../../master/src/import/wfformat/example.json");
/// Where state machines stand that are imported in tests.
const STATE_MACHINES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../master/tests/import_asl");

/// Identifiers that are followed by the name of a value, for the names of expressions.
pub const SOURCES: [&str; 5] = ["input", "constant", "check", "a", "b"];

/// Words of definitions.
pub const DEFINITION_WORDS: [&str; 82] = [
    "workflow",
    "input",
    "constants",
    "nodes",
    "output",
    "timeout_ms",
    "function",
    "command",
    "compute",
    "switch",
    "when",
    "then",
    "default",
    "foreach",
    "list",
    "from",
    "to",
    "batch",
    "parallelism",
    "after",
    "join",
    "all",
    "any",
    "at_least",
    "retry",
    "attempts",
    "backoff_ms",
    "backoff_max_ms",
    "factor",
    "jitter",
    "on",
    "catch",
    "delay_ms",
    "resources",
    "memory_mib",
    "scale",
    "cpus",
    "profile",
    "runtime_ms",
    "output_bytes",
    "placeholder",
    "kind",
    "bytes",
    "value",
    "optional",
    "first_of(a.out, b.out)",
    "first_of",
    "text",
    "item",
    "error",
    "constant",
    "constant.limit",
    "input.text",
    "true",
    "false",
    "null",
    "~",
    "[]",
    "{}",
    "|",
    ">",
    "&a",
    "*a",
    "<<: *a",
    "!!str",
    "---",
    "...",
    "\t",
    "\u{feff}",
    "\u{2028}",
    "é",
    "\0",
    "{ from: 0, to: 3 }",
    "{ list: item }",
    "a: *a",
    "? [",
    "'",
    "\"",
    "#",
    "trust",
    "sandbox",
    "{input.a}",
];

/// Words of expressions.
pub const EXPRESSION_WORDS: [&str; 62] = [
    "a.x",
    "a.y",
    "b.z",
    "input.n",
    "item",
    "x",
    "true",
    "false",
    "null",
    "1",
    "2.5",
    "1u",
    "0x7f",
    "1e9",
    "'t'",
    "b'\\xff'",
    "r'\\'",
    "'''",
    "\"\\u00e9\"",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    ":",
    "?",
    " ? ",
    " : ",
    "&&",
    "||",
    "!",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    " in ",
    "+",
    "-",
    "*",
    "/",
    "%",
    ".map(e, e)",
    ".all(e, e > 0)",
    ".exists(e, e)",
    ".filter(e, e)",
    "has(a.x)",
    "size(",
    ".size()",
    ".matches('(a*)*b')",
    "int(",
    "string(",
    "timestamp('2024-01-01T00:00:00Z')",
    "duration('1h')",
    ".getFullYear()",
    ".contains('x')",
    "\n",
    "//",
];

/// Words of the published system's files.
pub const FAASFLOW_WORDS: [&str; 40] = [
    "global_input",
    "functions",
    "name",
    "source",
    "runtime",
    "scale",
    "mem_usage",
    "input",
    "output",
    "next",
    "type",
    "nodes",
    "value",
    "function",
    "parameter",
    "size",
    "INPUT",
    "pass",
    "key",
    "keys",
    "normal",
    "foreach",
    "switch",
    "conditions",
    "default",
    "merge",
    "virtual",
    "virtual1",
    "split_ratio",
    "x > 3",
    "not a",
    "a and b or c",
    "a == 'b'",
    "True",
    "None",
    "lambda: 1",
    "[]",
    "{}",
    "0.0",
    "-1",
];

/// Words of WfFormat.
pub const WFFORMAT_WORDS: [&str; 40] = [
    "\"name\"",
    "\"schemaVersion\"",
    "\"1.0\"",
    "\"1.3\"",
    "\"1.4\"",
    "\"1.5\"",
    "\"workflow\"",
    "\"specification\"",
    "\"execution\"",
    "\"tasks\"",
    "\"jobs\"",
    "\"files\"",
    "\"id\"",
    "\"parents\"",
    "\"children\"",
    "\"inputFiles\"",
    "\"outputFiles\"",
    "\"sizeInBytes\"",
    "\"size\"",
    "\"link\"",
    "\"input\"",
    "\"output\"",
    "\"runtimeInSeconds\"",
    "\"runtime\"",
    "\"cores\"",
    "\"coreCount\"",
    "\"memoryInBytes\"",
    "\"memory\"",
    "\"command\"",
    "\"program\"",
    "\"arguments\"",
    "\"machines\"",
    "\"makespan\"",
    "null",
    "[]",
    "{}",
    "\"\"",
    "\"\\ud800\"",
    "1e400",
    "true",
];

/// Words of the Amazon States Language.
pub const ASL_WORDS: [&str; 92] = [
    "\"Comment\"",
    "\"StartAt\"",
    "\"States\"",
    "\"Type\"",
    "\"Task\"",
    "\"Pass\"",
    "\"Choice\"",
    "\"Parallel\"",
    "\"Map\"",
    "\"Wait\"",
    "\"Succeed\"",
    "\"Fail\"",
    "\"Next\"",
    "\"End\": true",
    "\"Resource\"",
    "\"Retry\"",
    "\"Catch\"",
    "\"ErrorEquals\"",
    "\"States.ALL\"",
    "\"States.Timeout\"",
    "\"States.TaskFailed\"",
    "\"IntervalSeconds\"",
    "\"MaxAttempts\"",
    "\"BackoffRate\"",
    "\"MaxDelaySeconds\"",
    "\"JitterStrategy\"",
    "\"InputPath\"",
    "\"OutputPath\"",
    "\"ResultPath\"",
    "\"ResultSelector\"",
    "\"Parameters\"",
    "\"Result\"",
    "\"Choices\"",
    "\"Default\"",
    "\"Variable\"",
    "\"And\"",
    "\"Or\"",
    "\"Not\"",
    "\"StringEquals\"",
    "\"NumericLessThan\"",
    "\"BooleanEquals\"",
    "\"IsPresent\"",
    "\"IsNull\"",
    "\"IsTimestamp\"",
    "\"TimestampEquals\"",
    "\"StringMatches\"",
    "\"NumericEqualsPath\"",
    "\"Branches\"",
    "\"Iterator\"",
    "\"ItemProcessor\"",
    "\"ItemsPath\"",
    "\"ItemSelector\"",
    "\"MaxConcurrency\"",
    "\"Seconds\"",
    "\"SecondsPath\"",
    "\"Timestamp\"",
    "\"TimestampPath\"",
    "\"TimeoutSeconds\"",
    "\"HeartbeatSeconds\"",
    "\"Error\"",
    "\"Cause\"",
    "\"ErrorPath\"",
    "\"QueryLanguage\"",
    "\"JSONata\"",
    "\"$\"",
    "\"$.a\"",
    "\"$.a.b[0]\"",
    "\"$['a']\"",
    "\"$..a\"",
    "\"$.a[*]\"",
    "\"$$\"",
    "\"$$.Map.Item.Value\"",
    "\"$$.Execution.Id\"",
    "\"x.$\"",
    "\"States.Format('{}', $.a)\"",
    "\"States.Array(1, $.a)\"",
    "\"States.MathAdd($.a, 1)\"",
    "\"States.JsonToString($)\"",
    "\"States.StringToJson($.a)\"",
    "\"States.ArrayRange(0, 10, 2)\"",
    "\"States.UUID()\"",
    "\"States.ArrayPartition($.a, 2)\"",
    "\"States.Base64Encode($.a)\"",
    "\"States.Hash($.a, 'MD5')\"",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\"2024-01-01T00:00:00Z\"",
    "0",
    "\"\\u0000\"",
];

/// Files of the published system's form.
#[must_use]
pub fn flat_workflows() -> Vec<Vec<u8>> {
    vec![FLAT_WORKFLOW.as_bytes().to_vec(), switched().into_bytes()]
}

/// One with a switch, since what that leads to is most of the form's difficulty.
fn switched() -> String {
    let node = |name: &str, input: &str, next: &str| {
        format!(
            "- name: {name}\n  source: {name}\n  runtime: 0.1\n  scale: 3\n  mem_usage: 0.25\n{input}  \
             output:\n    flag: {{ type: normal, size: 8 }}\n{next}"
        )
    };
    let flag = "  input:\n    flag:\n      type: pass\n      value: { function: INPUT, parameter: flag }\n      size: 8\n";
    let switch = "  next:\n    type: switch\n    nodes: [b, c]\n    conditions: [\"flag == 1\", \"default\"]\n";
    let on = "  next:\n    type: pass\n    nodes: [d]\n";
    let nodes = [
        node("a", "", switch),
        node("b", flag, on),
        node("c", flag, on),
        node("d", flag, ""),
    ];
    format!("global_input: {{}}\nfunctions:\n{}", nodes.concat())
}

/// Instances in WfFormat.
#[must_use]
pub fn instances() -> Vec<Vec<u8>> {
    vec![INSTANCE.as_bytes().to_vec()]
}

/// State machines of the imports' tests.
///
/// # Panics
/// If they cannot be read: this program is for those who have the sources.
#[must_use]
pub fn state_machines() -> Vec<Vec<u8>> {
    let machines = files(Path::new(STATE_MACHINES)).expect("tests of imports have their files");
    let machines = machines.into_iter();
    machines
        .filter(|(name, _)| name.ends_with(".asl.json"))
        .map(|(_, bytes)| bytes)
        .collect()
}

/// The files of a folder that are not too long for inputs, by their names, in the order of these.
///
/// # Errors
/// If one cannot be read.
pub fn files(folder: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() && metadata.len() <= INPUT_BYTES_MAX as u64 {
            let name = entry.file_name().to_string_lossy().into_owned();
            files.insert(name, std::fs::read(entry.path())?);
        }
    }
    Ok(files)
}

/// Every example of the language's page and of this repository, those that are refused too, and one for each thing that
/// grows out of little.
#[must_use]
pub fn definitions() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = LANGUAGE
        .split("```")
        .skip(1)
        .step_by(2)
        .filter(|block| block.starts_with("yaml"))
        .filter_map(|block| Some(block.split_once('\n')?.1.as_bytes().to_vec()))
        .collect();
    seeds.push(WORDCOUNT.as_bytes().to_vec());
    seeds.push(chain(200).into_bytes());
    seeds.push(aliases().into_bytes());
    seeds
}

/// Nodes one behind the other.
fn chain(nodes: usize) -> String {
    let mut text = "workflow: chain\ninput: { a: bytes }\nnodes:\n".to_owned();
    let mut source = "input.a".to_owned();
    for node in 0..nodes {
        text.push_str(&format!(
            "  n{node}: {{ function: \"x:f\", input: {{ a: {source} }}, output: {{ a: bytes }} }}\n"
        ));
        source = format!("n{node}.a");
    }
    text.push_str(&format!("output: {{ a: {source} }}\n"));
    text
}

/// Each line ten times the one before.
fn aliases() -> String {
    let mut text = "workflow: w\nconstants:\n  a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]\n".to_owned();
    for level in 1..6 {
        let before = format!("*a{}", level - 1);
        let ten = vec![before.as_str(); 10].join(", ");
        text.push_str(&format!("  a{level}: &a{level} [{ten}]\n"));
    }
    text.push_str("nodes:\n  n: { function: \"x:f\" }\n");
    text
}

/// Expressions with the values that they see behind zero bytes, in the order of their names.
#[must_use]
pub fn expressions() -> Vec<Vec<u8>> {
    let seeds: [&[u8]; 14] = [
        b"check.size > 100\0120",
        b"a.x + b.y * 2\01\02.5",
        b"item in [1, 2, 3] && !(a.x == null)\02\0null",
        b"a.x.map(e, e * 2).filter(e, e > 2)\0[1, 2, 3]",
        b"a.x.all(e, e.name.startsWith('x')) ? 'all' : 'not all'\0[{\"name\": \"xy\"}]",
        b"has(a.x.y) && a.x['y'] >= 1.0\0{\"y\": 1}",
        b"size(input.text) + input.text.size()\0\"\xc3\xa9t\xc3\xa9\"",
        b"{'k': [1, 2u, 3.5], 'n': null}.k[1]",
        b"timestamp('2024-02-29T12:00:00Z') + duration('1h30m') > timestamp(a.x)\0\"2024-03-01T00:00:00Z\"",
        b"int('12') / int(a.x) % 5\0\"3\"",
        b"a.x.matches('^[a-z]+(x|y)*$')\0\"abcxyxy\"",
        b"string(a.x) + \"\\u00e9\\n\" + r'\\d'\0true",
        b"-9223372036854775808 - a.x\01",
        b"[[[[a.x]]]][0][0][0][0].exists_one(e, e == 1)\0[1, 2]",
    ];
    seeds.map(<[u8]>::to_vec).to_vec()
}

/// A frame of every kind; the plans of random workflows among them.
#[must_use]
pub fn frames() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut frame = |encoded: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        encoded(&mut bytes);
        all.push(bytes);
    };
    let body = |length: u64| Body {
        items: None,
        data: Data::Inline(vec![7; length as usize]),
    };
    let list = Body {
        items: Some(vec![3, 0, 5]),
        data: Data::Inline(vec![1; 48]),
    };
    let streamed = Body {
        items: Some(vec![1 << 40; 2]),
        data: Data::Streamed {
            transfer: 1,
            bytes: 1 << 41,
        },
    };
    let outputs = vec![(0, body(5)), (1, list.clone()), (2, streamed)];
    let named = vec![("text".to_owned(), body(20)), ("items".to_owned(), list)];
    let deployment = DeploymentId(1);
    let failure = Failure::Node {
        node: "n".to_owned(),
        worker: "w".to_owned(),
        attempt: 2,
        cause: "no".to_owned(),
    };
    for plan in random_plans() {
        frame(&|out| encode(&Control::Prepare(plan.clone()), out));
    }
    for control in [
        Control::Describe,
        Control::Activate(deployment),
        Control::Undeploy("flow".to_owned()),
    ] {
        frame(&|out| encode(&control, out));
    }
    frame(&|out| {
        encode(
            &Challenge {
                nonce: [3; 32],
                worker: "w".to_owned(),
            },
            out,
        )
    });
    let peer = Role::Peer {
        worker: "w".to_owned(),
        epoch: 1,
        from_lane: 0,
        to_lane: 1,
        next_sequence: 7,
    };
    for role in [Role::Control, Role::Client, peer] {
        let hello = Hello {
            role,
            nonce: [1; 32],
            proof: [2; 32],
        };
        frame(&|out| encode(&hello, out));
    }
    frame(&|out| {
        encode(
            &Welcome {
                proof: [2; 32],
                epoch: 3,
            },
            out,
        )
    });
    frame(&|out| {
        encode(
            &Refused {
                reason: "no".to_owned(),
            },
            out,
        )
    });
    let description = WorkerDescription {
        name: "w".to_owned(),
        epoch: 1,
        lanes: 2,
        cpus: vec![0, 1],
        memory_bytes: 1 << 30,
        memory_reserved_bytes: 1 << 20,
        executables: vec!["x".to_owned()],
        workflows: vec![("flow".to_owned(), 1)],
    };
    for reply in [
        ControlReply::Done,
        ControlReply::Refused("no".to_owned()),
        ControlReply::Description(description),
        ControlReply::Status("{}".to_owned()),
    ] {
        frame(&|out| encode(&reply, out));
    }
    let invoke = Invoke {
        request: 1,
        workflow: "flow".to_owned(),
        inputs: named.clone(),
        report: true,
    };
    frame(&|out| encode(&invoke, out));
    for result in [Ok(named.clone()), Err(failure.clone())] {
        let answer = Answer {
            request: 1,
            invocation: 1 << 100,
            latency_ns: 5,
            result,
            report: Vec::<NodeReport>::new(),
        };
        frame(&|out| encode(&answer, out));
    }
    let begin = Begin {
        invocation: 5,
        deployment,
        report: false,
        inputs: outputs.clone(),
    };
    frame(&|out| encode(&begin, out));
    for outcome in [
        Outcome::Well,
        Outcome::Chose(1),
        Outcome::Caught(0),
        Outcome::Failed("no".to_owned()),
    ] {
        let event = StateEvent {
            invocation: 5,
            deployment,
            node: 1,
            outcome,
            outputs: outputs.clone(),
        };
        frame(&|out| encode(&event, out));
    }
    let done = PartDone {
        invocation: 5,
        outputs: outputs.clone(),
        report: Vec::new(),
    };
    frame(&|out| encode(&done, out));
    frame(&|out| {
        encode(
            &PartFailed {
                invocation: 5,
                failure: failure.clone(),
            },
            out,
        )
    });
    frame(&|out| encode(&Forget { invocation: 5 }, out));
    frame(&|out| encode(&Drained { deployment }, out));
    frame(&|out| encode(&Heartbeat { interval_ms: 500 }, out));
    all
}

fn random_plans() -> impl Iterator<Item = engine::plan::Plan> {
    let shape = Shape {
        nodes_max: 8,
        attempts_max: 3,
        timeouts: Timeouts::Sometimes,
        failures: Failures::Handled,
    };
    (0..PLANS).flat_map(move |seed| {
        let mut random = Random::new(seed);
        let workflow = Workflow::random(&mut random, shape);
        let count = random.between(1, 3);
        let placement = Placement {
            lanes: vec![2; count],
            workers: workflow
                .nodes
                .iter()
                .map(|_| random.below(count) as WorkerIndex)
                .collect(),
        };
        let name = DeploymentName {
            id: DeploymentId(1),
            workflow: "flow".to_owned(),
            version: 1,
        };
        plans(&workflow, &placement, &name, Limits::default())
    })
}
