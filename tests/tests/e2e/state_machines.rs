//! State machines, imported and run on two workers, give what the language that they come from says: those of
//! `master/tests/import_asl`, which says what stands in its files.

#[path = "../../../master/tests/import_asl/same.rs"]
mod same;

use faasflow_tests::cluster::{Cluster, Setup, bytes};
use master::client::Payload as Given;
use master::import::{AslOptions, Format, Options, Payload, Work, import};
use same::same;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../master/tests/import_asl")
}

/// What is wrong with a machine's run, if anything is.
fn run(cluster: &Cluster, name: &str) -> Result<(), String> {
    let file = |ending: &str| folder().join(format!("{name}.{ending}"));
    let read = |ending: &str| std::fs::read(file(ending)).map_err(|error| error.to_string());
    let payload = if name.starts_with("bytes") {
        Payload::Bytes
    } else {
        Payload::Value
    };
    let options = Options {
        asl: AslOptions {
            payload,
            ..AslOptions::default()
        },
        ..Options::default()
    };
    let draft = import(
        Format::Asl,
        &format!("{name}.asl.json"),
        &read("asl.json")?,
        &options,
    );
    let mut draft = draft.map_err(|error| error.to_string())?;
    for node in &mut draft.nodes {
        if let Work::Function(_) = node.work {
            node.resources.memory_mib = Some(16);
        }
    }
    cluster.deploy(&draft.to_yaml(), &[]);
    let input = read("input.json")?;
    let inputs = [("input", bytes(input.trim_ascii()))];
    let answered = cluster.invoke("a", &draft.workflow, &inputs);
    let answered = answered.map_err(|error| error.to_string())?;
    cluster.undeploy(&draft.workflow);
    match (&answered.result, file("error.txt").exists()) {
        (Ok(outputs), false) => {
            let Some((_, Given::Bytes(output))) = outputs.first() else {
                return Err(format!("gives {outputs:?}"));
            };
            let wanted: Value =
                serde_json::from_slice(&read("output.json")?).map_err(|error| error.to_string())?;
            match serde_json::from_slice(output) {
                Ok(output) if same(&output, &wanted) => Ok(()),
                _ => Err(format!(
                    "gives {}, not {wanted}",
                    String::from_utf8_lossy(output)
                )),
            }
        }
        (Err(failure), true) => {
            let wanted = String::from_utf8_lossy(&read("error.txt")?)
                .trim_end()
                .to_owned();
            if failure.to_string().contains(&wanted) {
                Ok(())
            } else {
                Err(format!("fails with {failure}, not with {wanted}"))
            }
        }
        (result, _) => Err(format!("ends with {result:?}")),
    }
}

#[test]
fn every_state_machine_gives_its_documented_result() {
    let cluster = Setup::workers(&["a", "b"]).start();
    let files = std::fs::read_dir(folder()).unwrap();
    let mut names: Vec<String> = files
        .filter_map(|file| {
            let name = file.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".asl.json").map(str::to_owned)
        })
        .collect();
    names.sort();
    assert!(
        names.len() > 50,
        "the machines are not where they should be"
    );
    let wrong: Vec<String> = names
        .iter()
        .filter_map(|name| run(&cluster, name).err().map(|why| format!("{name} {why}")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
