//! The programs under test: built once for each test process, with the profile of the tests themselves.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Name of the environment variable that names a folder of finished programs, to be tested as they are.
pub const PROGRAMS_VARIABLE: &str = "FAASFLOW_TEST_PROGRAMS";

/// Where the programs are: `faasflow`, `faasflow-worker` and the executables of functions.
///
/// Under `cargo test` they are built first, if they are not up to date: cargo itself builds only the programs of the
/// package whose tests it runs, and a test of yesterday's worker would prove nothing.
///
/// # Panics
/// If they cannot be built.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        if let Some(folder) = std::env::var_os(PROGRAMS_VARIABLE) {
            return folder.into();
        }
        // Tests lie in PROFILE/deps, programs in PROFILE.
        let test = std::env::current_exe().expect("a test knows its own path");
        let folder = test.parent().and_then(Path::parent);
        let folder = folder.expect("tests lie in PROFILE/deps").to_owned();
        if let Some(cargo) = std::env::var_os("CARGO") {
            build(cargo.as_ref(), &folder);
        }
        folder
    })
}

/// One program.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(
        path.is_file(),
        "{} is missing: build it with `cargo build --workspace --bins`",
        path.display()
    );
    path
}

fn build(cargo: &Path, folder: &Path) {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    // The same packages as scripts/test names: another choice could mean other features, and build all of it again.
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--workspace", "--bins", "--profile"]);
    command.arg(profile);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    if let Some(target) = folder.parent() {
        command.arg("--target-dir").arg(target);
    }
    let built = command.status();
    assert!(
        built.as_ref().is_ok_and(std::process::ExitStatus::success),
        "{command:?}: {built:?}"
    );
}
