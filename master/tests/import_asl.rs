//! Imports of state machines give what the language that they come from says: each machine under `import_asl/` is imported
//! and run by a plain interpreter of drafts, with its input, and must give the output, or the failure, beside it.
//!
//! `NAME.asl.json` is the machine, `NAME.input.json` its input, `NAME.output.json` its output or `NAME.error.txt` what its
//! failure must say. Machines whose names begin with `bytes` pass bytes on. Their functions are those of
//! [`run::function`].

#[path = "import_asl/run.rs"]
mod run;
#[path = "import_asl/same.rs"]
mod same;

use master::import::{AslOptions, Draft, Format, Options, Payload, import};
use same::same;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import_asl")
}

fn draft(name: &str, bytes: &[u8]) -> Draft {
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
    match import(Format::Asl, name, bytes, &options) {
        Ok(draft) => draft,
        Err(error) => panic!("{name}: {:?}", miette::Report::new(error)),
    }
}

fn json(path: &Path) -> Value {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_machine_gives_its_documented_result() {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".asl.json").map(str::to_owned)
        })
        .collect();
    names.sort();
    assert!(
        names.len() > 50,
        "the machines are not where they should be"
    );
    let mut wrong = Vec::new();
    for name in &names {
        let file = |ending: &str| folder().join(format!("{name}.{ending}"));
        let bytes = std::fs::read(file("asl.json")).unwrap();
        let draft = draft(&format!("{name}.asl.json"), &bytes);
        let again = import(
            Format::Asl,
            &format!("{name}.asl.json"),
            &bytes,
            &Options::default(),
        );
        if let Ok(again) = again
            && !name.starts_with("bytes")
        {
            assert_eq!(
                draft.to_yaml(),
                again.to_yaml(),
                "{name}: the same each time"
            );
        }
        let yaml = draft.to_yaml();
        match master::definition::parse(name, yaml.as_bytes()) {
            Err(error) => wrong.push(format!("{:?}\n{yaml}", miette::Report::new(error))),
            // Whoever denies warnings can use what is imported.
            Ok(definition) if !definition.warnings.is_empty() => {
                let warnings = definition.warnings.iter().map(ToString::to_string);
                let warnings = warnings.collect::<Vec<_>>().join("\n");
                wrong.push(format!("{name}: {warnings}\n{yaml}"));
            }
            Ok(_) => {}
        }
        let result = run::run(&draft, &json(&file("input.json")));
        let matches = match (&result, file("error.txt").exists()) {
            (Ok(output), false) => same(output, &json(&file("output.json"))),
            (Err(cause), true) => {
                let wanted = std::fs::read_to_string(file("error.txt")).unwrap();
                cause.contains(wanted.trim_end())
            }
            _ => false,
        };
        if !matches {
            wrong.push(format!("{name}: {result:?}\n{}", draft.to_yaml()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
