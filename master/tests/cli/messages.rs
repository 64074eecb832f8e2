//! What the program says of problems, of options that mean nothing, and of names that are none.

use super::{ECHO, Folder, faasflow, refused};

#[test]
fn problems_in_json_have_a_place_a_code_and_a_help() {
    let folder = Folder::new();
    let json = |arguments: &[&str]| -> serde_json::Value {
        let output = faasflow(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let one = ECHO.replace("input.number", "input.nmuber");
    let file = folder.file("one.yaml", &one);
    let problem = serde_json::json!({
        "file": file, "line": 5, "column": 98, "code": "unknown_input",
        "message": "the workflow has no input `nmuber`", "help": "did you mean `input.number`?",
    });
    let told = json(&["validate", &file, "--json"]);
    assert_eq!(told["error"]["problems"], serde_json::json!([problem]));
    let two = one
        .replace("foreach:", "for_each:")
        .replace("list,", "lsit,");
    let told = json(&["validate", &folder.file("two.yaml", &two), "--json"]);
    let problems = told["error"]["problems"].as_array().unwrap();
    let codes: Vec<&str> = problems
        .iter()
        .map(|one| one["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["kind", "unknown_key", "unknown_input"]);
    // What is suspicious is told with what is found, and where it is not to be.
    let unused = folder.file(
        "unused.yaml",
        &ECHO.replace("text: input.text ", "text: input.number "),
    );
    let output = faasflow(&["validate", &unused, "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["warnings"][0]["code"], "unused");
    let told = json(&["validate", &unused, "--json", "--deny-warnings"]);
    assert_eq!(told["error"]["problems"][0]["line"], 2);
}

#[test]
fn options_that_would_have_no_effect_are_refused() {
    let folder = Folder::new();
    let file = folder.file("echo.yaml", ECHO);
    let any = folder.file("any", "");
    let import = |from, more: &[&'static str], words: &[&str]| {
        let mut arguments = vec!["import", "--from", from, &any];
        arguments.extend(more);
        refused(&arguments, words);
    };
    for from in ["faasflow", "wfformat"] {
        import(
            from,
            &["--payload", "bytes"],
            &["--payload has no effect", from, "--from asl"],
        );
        import(
            from,
            &["--function", "a=b:c"],
            &["--function has no effect"],
        );
    }
    import(
        "asl",
        &["--time-scale", "2"],
        &["--time-scale has no effect"],
    );
    import(
        "asl",
        &["--recorded-resources"],
        &["--recorded-resources has no effect"],
    );
    for command in [
        &["run", &file, "--concurrency", "2"][..],
        &[
            "invoke",
            "echo",
            "--workers",
            "127.0.0.1:1",
            "--concurrency",
            "1",
        ],
    ] {
        refused(command, &["--count <N>"]);
    }
    let key = folder.file("key", "0123456789abcdef0123456789abcdef");
    let key = ["--cluster-key-file", &key];
    let plan = ["plan", &file, "--workers", "a:2:4GiB"];
    refused(
        &[&plan[..], &key].concat(),
        &["--cluster-key-file has no effect"],
    );
    let graph = ["graph", &file];
    refused(
        &[&graph[..], &key].concat(),
        &["--cluster-key-file", "there are none"],
    );
    let workers = ["--workers", "a:2:4GiB"];
    let described = [&graph[..], &workers, &key].concat();
    refused(&described, &["--cluster-key-file has no effect"]);
    let pins = ["--pin", "first=a", "--pin", "first=b"];
    let twice = ["--pin first is given twice", "take one of the two away"];
    refused(&[&plan[..], &pins].concat(), &twice);
    refused(&[&["run", &file][..], &pins].concat(), &twice);
    refused(
        &[&["deploy", &file, "--workers", "127.0.0.1:1"][..], &pins].concat(),
        &twice,
    );
}

#[test]
fn names_that_are_none_are_told_with_what_was_meant() {
    let folder = Folder::new();
    let file = folder.file("echo.yaml", ECHO);
    let out = folder.file("out", "");
    let output = format!("txet=@{out}");
    refused(
        &["run", &file, "--output", &output],
        &["no output `txet`", "did you mean `text`?"],
    );
    let expect = ["validate", &file, "--expect", "frist=always"];
    refused(
        &expect,
        &["no such node or output", "did you mean `first`?"],
    );
    let plan = ["plan", &file, "--workers", "left:2:4GiB", "--pin"];
    refused(
        &[&plan[..], &["frist=left"]].concat(),
        &["did you mean `first`?"],
    );
    refused(
        &[&plan[..], &["first=lfet"]].concat(),
        &["did you mean `left`?"],
    );
}
