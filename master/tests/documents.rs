//! What the documents show is true of the program.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use master::certificate::{self, Bounds};
use master::definition::{parse, parse_with};
use std::path::Path;
use std::process::Command;

/// The fenced blocks of a document: what stands behind the fence, and the text.
fn blocks(document: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(document);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(label), None) => open = Some((label.to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, block))) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{document} ends in a block");
    blocks
}

#[test]
fn every_definition_in_the_language_reference_is_valid_and_every_mistake_is_one() {
    let (mut valid, mut refused) = (0, 0);
    let blocks = blocks("docs/language.md");
    // A block with a name is a file that others may hold.
    let mut others = |path: &Path| {
        let label = format!("yaml {}", path.display());
        let named = blocks.iter().find(|(known, _)| *known == label);
        let (_, text) = named.ok_or(std::io::ErrorKind::NotFound)?;
        Ok(text.clone().into_bytes())
    };
    for (label, text) in &blocks {
        if label.split(' ').next() != Some("yaml") {
            continue;
        }
        let read = parse_with("hello.yaml", text.as_bytes(), &mut others);
        match (label == "yaml refused", read) {
            (false, Ok(definition)) => {
                let certified = certificate::check(&definition, Bounds::default());
                assert!(certified.is_ok(), "{certified:?}\n{text}");
                let warnings = definition.warnings;
                assert!(warnings.is_empty(), "{warnings:?}\n{text}");
                valid += 1;
            }
            (false, Err(error)) => panic!("{error:?}\n{text}"),
            (true, Err(_)) => refused += 1,
            (true, Ok(_)) => panic!("is valid: {text}"),
        }
    }
    assert!(valid >= 10 && refused >= 1, "{valid} and {refused}");
}

#[test]
fn the_workflow_of_the_readme_is_valid() {
    let workflows: Vec<_> = blocks("README.md")
        .into_iter()
        .filter(|(label, _)| label == "yaml")
        .collect();
    assert!(!workflows.is_empty());
    for (_, text) in workflows {
        parse("shout.yaml", text.as_bytes()).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    }
}

#[test]
fn the_message_that_the_language_reference_shows_is_what_one_sees() {
    let blocks = blocks("docs/language.md");
    let mistake = blocks
        .iter()
        .position(|(label, _)| label == "yaml refused")
        .unwrap();
    let error = parse("hello.yaml", blocks[mistake].1.as_bytes()).unwrap_err();
    let mut shown = String::new();
    let theme = miette::GraphicalTheme::unicode_nocolor();
    miette::GraphicalReportHandler::new_themed(theme)
        .with_links(false)
        .render_report(&mut shown, &error)
        .unwrap();
    let lines = |text: &str| {
        text.lines()
            .map(|line| line.trim_end().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        lines(shown.trim_matches('\n')),
        lines(blocks[mistake + 1].1.trim_matches('\n'))
    );
}

/// The words of a text line by line, whatever its figures are: these follow the cost model.
fn words(text: &str) -> Vec<String> {
    let word = |word: &str| -> String {
        let digits = |char: char| char.is_ascii_digit() || char == '.';
        let plain = word.trim_end_matches([',', ':']);
        let rest = &word[plain.len()..];
        match plain.trim_matches(digits) {
            "" => format!("#{rest}"),
            "ns" | "µs" | "ms" | "s" => format!("time{rest}"),
            _ => word.to_owned(),
        }
    };
    let line = |line: &str| {
        line.split_whitespace()
            .map(word)
            .collect::<Vec<_>>()
            .join(" ")
    };
    text.lines().map(line).collect()
}

#[test]
fn the_plan_that_the_document_shows_is_what_one_sees() {
    let blocks = blocks("docs/placement.md");
    let block = |wanted: &str| {
        let found = blocks.iter().find(|(label, _)| label == wanted);
        found.map(|(_, text)| text.clone()).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    for name in ["thumbnails.yaml", "rack.yaml"] {
        std::fs::write(folder.path().join(name), block(&format!("yaml {name}"))).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_faasflow"))
        .args(["plan", "thumbnails.yaml", "--cluster", "rack.yaml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(words(&shown), words(&block("text plan")), "{shown}");
}

/// All sources of the workspace that are Rust: where each lies in it, and its text.
fn sources(folder: &Path, within: &str, all: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{within}/{name}");
        if entry.file_type().unwrap().is_dir() {
            if name != "target" && !name.starts_with('.') {
                sources(&entry.path(), &path, all);
            }
        } else if name.ends_with(".rs") {
            all.push((path, std::fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

#[test]
fn whatever_stands_for_a_promise_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut all = Vec::new();
    sources(&root, "", &mut all);
    let promises = std::fs::read_to_string(root.join("docs/promises.md")).unwrap();
    let named: Vec<&str> = promises.split('`').skip(1).step_by(2).collect();
    let (mut files, mut tests) = (0, 0);
    for name in named {
        if name.ends_with(".rs") && !name.contains(' ') {
            files += 1;
            let end = format!("/{name}");
            assert!(
                all.iter().any(|(path, _)| path.ends_with(&end)),
                "no file {name}"
            );
        } else if let Some(begin) = name.strip_suffix("...") {
            tests += 1;
            let begin = format!("fn {begin}");
            assert!(
                all.iter().any(|(_, text)| text.contains(&begin)),
                "no test {name}"
            );
        }
    }
    assert!(files > 100 && tests > 100, "{files} files, {tests} tests");
}
