//! `faasflow new`: a workflow and its functions, to begin with.

use crate::arguments::New;
use crate::exit::Exit;
use crate::print::Page;
use master::definition::is_name;
use miette::Diagnostic;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use thiserror::Error;

const WORKFLOW: &str = include_str!("../../../templates/new/workflow.yaml");
const MAIN: &str = include_str!("../../../templates/new/main.rs");
const MANIFEST: &str = include_str!("../../../templates/new/Cargo.toml.template");

/// Names of packages that a crate cannot have beside the one that it links, or that Rust takes for itself.
const TAKEN: [&str; 7] = [
    "faasstore",
    "std",
    "core",
    "alloc",
    "test",
    "proc_macro",
    "proc-macro",
];

#[derive(Debug, Error, Diagnostic)]
enum NewError {
    #[error("{} is there already, and is not empty", path.display())]
    #[diagnostic(help("name a folder that is not there yet; nothing was changed"))]
    NotEmpty { path: PathBuf },
    #[error("`{name}` cannot be the name of a workflow and of an executable")]
    #[diagnostic(help(
        "call the folder by a letter, then letters, digits, `_` or `-`, at most 64 in all, and not as a package of Rust's"
    ))]
    Name { name: String },
    #[error("{} is no `faasstore` folder of a source tree of FaaSFlow", path.display())]
    #[diagnostic(help(
        "give --sdk the folder `faasstore` of your checkout: its Cargo.toml names the package faasstore"
    ))]
    Sdk { path: PathBuf },
    #[error(
        "this program does not stand in the source tree that it was built from, so the functions have nothing to link"
    )]
    #[diagnostic(help("add --sdk DIR, the folder `faasstore` of a checkout of FaaSFlow"))]
    NoSdk,
    #[error("cannot write {}: {source}", path.display())]
    #[diagnostic(help("name a folder in which you may write"))]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// `faasflow new`
pub(crate) fn new(arguments: &New) -> Result<(), Exit> {
    let name = made(&arguments.dir, arguments.sdk.as_deref()).map_err(Exit::input)?;
    let mut page = Page::default();
    page.line(&format!("{name} is made. To build and run it:"));
    page.line("");
    page.line(&format!("  cd {}", arguments.dir.display()));
    page.line("  cargo build --release");
    page.line("  faasflow run workflow.yaml --functions target/release --input text='hello,'");
    page.print()
}

fn made(dir: &Path, sdk: Option<&Path>) -> Result<String, NewError> {
    let name = name_of(dir)?;
    let sdk = match sdk {
        Some(sdk) => is_sdk(sdk).ok_or_else(|| NewError::Sdk {
            path: sdk.to_owned(),
        })?,
        None => found_sdk().ok_or(NewError::NoSdk)?,
    };
    let write_error = |path: &Path| {
        let path = path.to_owned();
        move |source| NewError::Write { path, source }
    };
    match std::fs::read_dir(dir) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(NewError::NotEmpty {
                    path: dir.to_owned(),
                });
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(NewError::NotEmpty {
                path: dir.to_owned(),
            });
        }
        Err(error) => return Err(write_error(dir)(error)),
    }
    let source = dir.join("src");
    std::fs::create_dir_all(&source).map_err(write_error(&source))?;
    let named = |text: &str| text.replace("@NAME@", &name);
    let path = sdk
        .to_str()
        .ok_or_else(|| NewError::Sdk { path: sdk.clone() })?;
    let mut files = vec![
        (dir.join("workflow.yaml"), named(WORKFLOW)),
        (source.join("main.rs"), named(MAIN)),
        (
            dir.join("Cargo.toml"),
            named(MANIFEST).replace("@SDK@", &toml_string(path)),
        ),
        (dir.join(".gitignore"), "/target\n".to_owned()),
    ];
    // The versions with which the tree was tested, and which are at hand where it was built.
    if let Ok(lock) = std::fs::read_to_string(sdk.join("../Cargo.lock")) {
        files.push((dir.join("Cargo.lock"), lock));
    }
    for (path, text) in files {
        std::fs::write(&path, text).map_err(write_error(&path))?;
    }
    Ok(name)
}

/// The name of the folder, if a workflow, a package and an executable can have it too.
fn name_of(dir: &Path) -> Result<String, NewError> {
    // `.` has the name that the folder has.
    let whole = dir.canonicalize();
    let last = dir.file_name().or_else(|| whole.as_ref().ok()?.file_name());
    let name = last.map_or_else(
        || dir.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    );
    if is_name(&name) && !TAKEN.contains(&name.as_str()) {
        Ok(name)
    } else {
        Err(NewError::Name { name })
    }
}

/// The whole path of a folder that holds the SDK.
fn is_sdk(folder: &Path) -> Option<PathBuf> {
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).ok()?;
    let is_it = manifest
        .lines()
        .any(|line| line.trim() == "name = \"faasstore\"");
    is_it.then(|| folder.canonicalize().ok()).flatten()
}

/// The SDK of the tree in whose build folder this program stands.
fn found_sdk() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    program
        .ancestors()
        .find_map(|folder| is_sdk(&folder.join("faasstore")))
}

fn toml_string(text: &str) -> String {
    let mut string = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => string.push_str("\\\""),
            '\\' => string.push_str("\\\\"),
            char if char.is_control() => string.push_str(&format!("\\u{:04X}", u32::from(char))),
            char => string.push(char),
        }
    }
    string.push('"');
    string
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_a_valid_workflow() {
        let text = WORKFLOW.replace("@NAME@", "my-flow");
        let definition = master::definition::parse("workflow.yaml", text.as_bytes()).unwrap();
        assert_eq!(definition.workflow.value, "my-flow");
        for node in &definition.nodes {
            let master::definition::Work::Function { function, .. } = &node.work else {
                panic!("{node:?}");
            };
            let served = format!("(\"{}\", ", function.value.function);
            assert!(MAIN.contains(&served), "{served}");
        }
    }

    #[test]
    fn a_folder_gives_its_name_if_a_workflow_and_a_package_can_have_it() {
        assert_eq!(name_of(Path::new("some/my-flow_2")).unwrap(), "my-flow_2");
        for dir in ["core", "2nd", "my.flow", "é"] {
            assert!(name_of(Path::new(dir)).is_err(), "{dir}");
        }
    }

    #[test]
    fn a_path_is_a_string_of_toml() {
        assert_eq!(toml_string("/a b/\"c\"\\\n"), r#""/a b/\"c\"\\\u000A""#);
    }
}
