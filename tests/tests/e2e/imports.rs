//! Imported workflows run, on two local workers and with synthetic functions, which check every byte that they read. What
//! comes out has the number, the sizes and the checksums that the import says.

use faasflow_tests::cluster::{Cluster, Setup};
use faasflow_tests::programs;
use faasflow_tests::shared_data;
use master::import::{Draft, Feed, Format, Options, Source, load};
use std::path::{Path, PathBuf};
use synthetic::payload;

/// What shortens recorded run times of minutes to fractions of a second.
const TIME_SCALE: f64 = 0.0005;

/// The definitions and recorded runs of the shared data, and how many outputs each gives: all that its import names, but
/// for one of `video`, whose switch skips it. The last function of `fileprocessing` returns nothing.
const OUTPUTS: [(&str, usize); 14] = [
    ("cycles", 4),
    ("epigenomics", 1),
    ("fileprocessing", 0),
    ("genome", 28),
    ("illgal_recognizer", 2),
    ("soykb", 6),
    ("video", 1),
    ("wordcount", 1),
    ("1000genome-chameleon-10ch-100k-001.json", 140),
    ("bwa-chameleon-small-005.json", 2),
    ("epigenomics-chameleon-hep-1seq-50k-001.json", 1),
    ("genome-50-schema-1.0.json", 28),
    ("montage-chameleon-2mass-01d-001.json", 7),
    ("rnaseq-dirt02-001.json", 429),
];

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The bytes that a node is told to write to an output.
fn bytes_of(draft: &Draft, node: &str, output: &str) -> Option<u64> {
    let node = draft.nodes.iter().find(|other| other.name == node)?;
    let (_, feed) = node.inputs.iter().find(|(name, _)| name == "parameters")?;
    let parameters = match feed {
        Feed::Value(value) => value.clone(),
        Feed::Text(text) => serde_json::from_str(text).ok()?,
        Feed::From { .. } => return None,
    };
    parameters["outputs"][output].as_u64()
}

/// Imports a file, runs it, and checks its outputs. Gives how many there were.
fn runs(cluster: &Cluster, format: Format, path: &Path) -> usize {
    let options = Options {
        time_scale: TIME_SCALE,
        ..Options::default()
    };
    let draft = match load(format, path, &options) {
        Ok(draft) => draft,
        Err(error) => panic!("{:?}", miette::Report::new(error)),
    };
    let file = cluster.file("imported.yaml", draft.to_yaml().into_bytes());
    let functions = programs::folder().to_str().unwrap();
    let mut arguments: Vec<String> = [
        "run",
        &file,
        "--local",
        "2",
        // It uses both where one would do.
        "--partitioner",
        "published",
        "--memory",
        "4G",
        "--functions",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.push(functions.to_owned());
    for (name, _) in &draft.outputs {
        arguments.push("--output".to_owned());
        arguments.push(format!("{name}=@{name}.out"));
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let finished = cluster.faasflow(&arguments);
    let mut found = 0;
    let mut absent = Vec::new();
    for (name, feed) in &draft.outputs {
        let written = cluster.path(&format!("{name}.out"));
        let Feed::From {
            first_of, optional, ..
        } = feed
        else {
            panic!("{name} has a source")
        };
        let Ok(bytes) = std::fs::read(&written) else {
            assert!(
                optional,
                "{}: {name} is missing: {}",
                path.display(),
                finished.stderr
            );
            absent.push(name);
            continue;
        };
        std::fs::remove_file(&written).unwrap();
        assert_eq!(payload::check(&bytes), Ok(()), "{}: {name}", path.display());
        let [Source::Output { node, output }] = &first_of[..] else {
            panic!("{name}: {first_of:?}")
        };
        let expected = bytes_of(&draft, node, output);
        assert_eq!(
            Some(bytes.len() as u64),
            expected,
            "{}: {name}",
            path.display()
        );
        found += 1;
    }
    // The program wrote all that there was, and tells of the first output that it was asked for in vain.
    let Some(name) = absent.first() else {
        let _ = finished.ok();
        return found;
    };
    let vain = format!("ended without an output `{name}`, so nothing was written to {name}.out");
    finished.failed_with(1, &[&vain, "the invocation itself has succeeded"]);
    found
}

#[test]
fn a_workflow_with_all_that_the_published_format_has_runs() {
    let cluster = Setup::workers(&[]).start();
    let path = repository("master/src/import/faasflow/example.yaml");
    assert_eq!(runs(&cluster, Format::Faasflow, &path), 1);
}

#[test]
fn a_recorded_run_runs_again() {
    let cluster = Setup::workers(&[]).start();
    let path = repository("master/src/import/wfformat/example.json");
    assert_eq!(runs(&cluster, Format::Wfformat, &path), 1);
}

#[test]
fn a_payload_that_no_synthetic_function_wrote_is_refused() {
    let cluster = Setup::workers(&[]).start();
    let workflow = "workflow: w\ninput: { data: bytes }\nnodes:\n  read:\n    function: synthetic:run\n    \
                    input: { data: input.data }\n";
    let file = cluster.file("w.yaml", workflow);
    let functions = programs::folder().to_str().unwrap();
    let mut good = vec![0; 5000];
    payload::fill(&mut good, 1);
    let run = |bytes: Vec<u8>| {
        let _ = cluster.file("data", bytes);
        cluster.faasflow(&[
            "run",
            &file,
            "--functions",
            functions,
            "--input",
            "data=@data",
        ])
    };
    let _ = run(good.clone()).ok();
    good[4000] ^= 1;
    let refused = run(good);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(
        refused
            .stderr
            .contains("input data (5000 bytes): its content is damaged"),
        "{}",
        refused.stderr
    );
}

#[test]
fn everything_that_the_shared_data_has_runs() {
    let name = "everything_that_the_shared_data_has_runs";
    let (Some(flat), Some(recorded)) = (
        shared_data::folder(name, "faasflow"),
        shared_data::folder(name, "wfcommons"),
    ) else {
        return;
    };
    let cluster = Setup::workers(&[]).start();
    let mut counts = Vec::new();
    for name in shared_data::names(&flat) {
        let path = flat.join(&name).join("flat_workflow.yaml");
        counts.push((name, runs(&cluster, Format::Faasflow, &path)));
    }
    for name in shared_data::names(&recorded) {
        if name != "wfcommons-schema.json" {
            let count = runs(&cluster, Format::Wfformat, &recorded.join(&name));
            counts.push((name, count));
        }
    }
    let counts: Vec<(&str, usize)> = counts
        .iter()
        .map(|(name, count)| (name.as_str(), *count))
        .collect();
    assert_eq!(counts, OUTPUTS);
}
