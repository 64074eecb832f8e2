//! What fuzzing of texts begins with: valid inputs, and those that are refused.

use super::INPUT_BYTES_MAX;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Where every example of the language stands.
const LANGUAGE: &str = include_str!("../../../docs/language.md");
const WORDCOUNT: &str = include_str!("../../../examples/wordcount/workflow.yaml");

const FLAT_WORKFLOW: &str = include_str!("../../../master/src/import/faasflow/example.yaml");
const INSTANCE: &str = include_str!("../../../master/src/import/wfformat/example.json");
/// Where state machines stand that are imported in tests.
const STATE_MACHINES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../master/tests/import_asl");

/// Identifiers that are followed by the name of a value, for the names of expressions.
pub const SOURCES: [&str; 5] = ["input", "constant", "check", "a", "b"];

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
    let switch = "  next:\n    type: switch\n    nodes: [b, c]\n    conditions: [\"a.flag == 1\", \"default\"]\n";
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
        let ten = [before.as_str(); 10].join(", ");
        text.push_str(&format!("  a{level}: &a{level} [{ten}]\n"));
    }
    text.push_str("nodes:\n  n: { function: \"x:f\" }\n");
    text
}

/// Expressions with the values that they see behind zero bytes, in the order of their names.
#[must_use]
pub fn expressions() -> Vec<Vec<u8>> {
    let seeds: [&[u8]; 14] = [
        b"check.size > 100\x00120",
        b"a.x + b.y * 2\x001\x002.5",
        b"item in [1, 2, 3] && !(a.x == null)\x002\0null",
        b"a.x.map(e, e * 2).filter(e, e > 2)\0[1, 2, 3]",
        b"a.x.all(e, e.name.startsWith('x')) ? 'all' : 'not all'\0[{\"name\": \"xy\"}]",
        b"has(a.x.y) && a.x['y'] >= 1.0\0{\"y\": 1}",
        b"size(input.text) + input.text.size()\0\"\xc3\xa9t\xc3\xa9\"",
        b"{'k': [1, 2u, 3.5], 'n': null}.k[1]",
        b"timestamp('2024-02-29T12:00:00Z') + duration('1h30m') > timestamp(a.x)\0\"2024-03-01T00:00:00Z\"",
        b"int('12') / int(a.x) % 5\0\"3\"",
        b"a.x.matches('^[a-z]+(x|y)*$')\0\"abcxyxy\"",
        b"string(a.x) + \"\\u00e9\\n\" + r'\\d'\0true",
        b"-9223372036854775808 - a.x\x001",
        b"[[[[a.x]]]][0][0][0][0].exists_one(e, e == 1)\0[1, 2]",
    ];
    seeds.map(<[u8]>::to_vec).to_vec()
}
