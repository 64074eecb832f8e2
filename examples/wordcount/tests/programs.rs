//! The example's programs, run as a user would.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn reference(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wordcount-reference"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn file(content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(content).expect("room for it");
    file
}

#[test]
fn the_reference_prints_the_most_frequent_words_first() {
    let text = file(b"b a B c a b");
    let output = reference(&["--top", "2", text.path().to_str().unwrap()]);
    assert_eq!(
        (output.status.code(), &output.stdout[..]),
        (Some(0), &b"b\t3\na\t2\n"[..])
    );
}

#[test]
fn a_check_says_equal_or_names_the_first_difference() {
    let text = file(b"b a b");
    let (right, wrong) = (file(b"b\t2\na\t1\n"), file(b"b\t2\na\t9\n"));
    let check = |totals: &tempfile::NamedTempFile| {
        reference(&[
            "--check",
            totals.path().to_str().unwrap(),
            text.path().to_str().unwrap(),
        ])
    };
    let equal = check(&right);
    assert_eq!(
        (equal.status.code(), &equal.stdout[..]),
        (Some(0), &b"equal: 2 distinct words\n"[..])
    );
    let different = check(&wrong);
    assert_eq!(different.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&different.stdout).starts_with("line 2: "));
    assert_eq!(reference(&["/nonexistent/text"]).status.code(), Some(2));
}

#[test]
fn the_executable_run_by_hand_explains_itself() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wordcount"));
    let output = command
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        ["split", "count", "merge"]
            .iter()
            .all(|name| message.contains(name)),
        "{message}"
    );
}
