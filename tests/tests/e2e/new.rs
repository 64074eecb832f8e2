//! What `faasflow new` writes builds, without a network, and runs.

use faasflow_tests::cluster::Setup;
use std::path::Path;
use std::process::Command;

#[test]
fn a_new_workflow_builds_and_runs_as_it_is() {
    let cluster = Setup::workers(&[]).start();
    let sdk = concat!(env!("CARGO_MANIFEST_DIR"), "/../faasstore");
    let made = cluster.faasflow(&["new", "loud-words", "--sdk", sdk]).ok();
    assert!(made.text().contains("cd loud-words"), "{}", made.text());
    let folder = cluster.path("loud-words");
    // Kept between runs: most of the time goes into what functions link.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--offline", "--quiet"])
        .env("CARGO_TARGET_DIR", &target)
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(
        said.is_empty(),
        "a new crate builds without a warning: {said}"
    );
    let run = cluster.faasflow(&[
        "run",
        "loud-words/workflow.yaml",
        "--functions",
        target.join("debug").to_str().unwrap(),
        "--input",
        "text=hello,\nworld",
    ]);
    assert!(run.ok().text().contains("HELLO,\nWORLD"));
}
