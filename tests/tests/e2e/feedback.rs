//! Feedback: what running workflows show of themselves, and a workflow whose hints were wrong, which recovers under load.

use engine::status::DeploymentState;
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::load::unbroken;
use faasflow_tests::process::until;
use master::client::{Answered, Invocation, Payload};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};

/// What `source` really gives.
const BYTES: u64 = 16 << 20;

/// Its hints say that `left` and `right` take long, so that they are better apart, and that what they read is next to nothing.
/// It is the other way round. `held` runs as long as a file is there, for whoever wants that.
fn heavy(held: &str) -> String {
    format!(
        r#"
# Figures that somebody has guessed.
workflow: heavy
input:
  text: bytes
  length: {{ kind: value, default: {BYTES} }}
  hold: {{ kind: value, default: false }}
nodes:
  source:   # makes much
    function: test-functions:make
    input: {{ length: input.length }}
    output: {{ out: bytes }}
    resources: {{ memory_mib: 256 }}
    profile: {{ runtime_ms: 1, output_bytes: 10 }}   # a guess
  left: {{ function: test-functions:touch, input: {{ in: source.out }}, output: {{ out: bytes }}, profile: {{ runtime_ms: 300 }} }}
  right:
    function: test-functions:touch
    input: {{ in: source.out }}
    output: {{ out: bytes }}
    profile:
      # measured on another machine
      runtime_ms: 300
      placeholder: true
  join: {{ function: test-functions:join, input: {{ a: left.out, b: right.out }}, output: {{ out: bytes }} }}
  say: {{ function: test-functions:echo, input: {{ in: input.text }}, output: {{ out: bytes }}, after: join }}
  choose:
    switch:
      - {{ when: input.hold == true, then: held }}
    default: []
  held:
    command: ["sh", "-c", "while [ -e {held} ]; do sleep 0.02; done; echo held"]
    output: {{ out: bytes }}
output:
  text: say.out
  held: {{ from: held.out, optional: true }}
"#
    )
}

struct Heavy {
    cluster: Cluster,
    workers: String,
    file: String,
    hold: std::path::PathBuf,
}

impl Heavy {
    /// Two workers that have it.
    fn deployed() -> Self {
        let cluster = Setup::workers(&["a", "b"]).memory("3GiB").start();
        let hold = cluster.path("hold");
        let path = hold.to_str().expect("a temporary folder has a plain name");
        let file = cluster.file("heavy.yaml", heavy(path));
        let workers = cluster.addresses().join(",");
        let heavy = Self {
            cluster,
            workers,
            file,
            hold,
        };
        let _ = heavy.call(&["deploy", &heavy.file]).ok();
        heavy
    }

    fn call(&self, arguments: &[&str]) -> faasflow_tests::process::Finished {
        let arguments = [arguments, &["--workers", &self.workers]].concat();
        self.cluster.faasflow(&arguments)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let done = self.call(&[arguments, &["--json"]].concat()).ok();
        serde_json::from_slice(&done.stdout).expect("it prints one JSON object")
    }

    fn invoke(&self, text: &str) {
        let answered = self.cluster.invoke("a", "heavy", &[("text", bytes(text))]);
        let answered = answered.expect("the worker answers");
        assert_eq!(output(&answered, "text"), text.as_bytes());
    }

    fn count(&self, counter: &str) -> u64 {
        let workers = ["a", "b"].iter();
        workers
            .map(|worker| self.cluster.counter(worker, counter))
            .sum()
    }

    /// Bytes that both workers together send for an invocation.
    fn bytes_of_one(&self) -> u64 {
        const COUNT: u64 = 10;
        let (before, ended) = (self.count("bytes_out"), self.count("invocations_ended"));
        (0..COUNT).for_each(|number| self.invoke(&number.to_string()));
        // A lane shows its counters a moment after it has answered, all of them at once.
        until("all are counted", || {
            (self.count("invocations_ended") == ended + COUNT).then_some(())
        });
        (self.count("bytes_out") - before) / COUNT
    }
}

fn node<'a>(profile: &'a Value, name: &str) -> &'a Value {
    let nodes = profile["nodes"].as_array().expect("a list");
    let mut found = nodes.iter().filter(|node| node["node"] == name);
    found
        .next()
        .unwrap_or_else(|| panic!("no node {name} in {profile}"))
}

/// Calls the workflow without a pause until it is told to end; how many were answered.
fn load(heavy: &Heavy, entry: &str, ends: &AtomicBool) -> u64 {
    let text = |number: u64| format!("{entry}{number}");
    let inputs = |number| vec![("text".to_owned(), bytes(text(number)))];
    let check = |number, answer: &Answered| {
        assert_eq!(output(answer, "text"), text(number).as_bytes());
    };
    unbroken(heavy.cluster.client(entry), "heavy", inputs, check, ends)
}

#[test]
fn a_workflow_whose_hints_were_wrong_recovers_under_load() {
    let heavy = Heavy::deployed();
    assert!(
        heavy.bytes_of_one() > BYTES,
        "what is large crosses workers at first"
    );
    let profile = heavy.json(&["profile", "heavy"]);
    assert!(profile["crossing_per_invocation_bytes"].as_f64().unwrap() >= BYTES as f64);
    assert_eq!(node(&profile, "source")["output_mean_bytes"], BYTES as f64);

    // One is under way, and stays so until a file goes.
    std::fs::write(&heavy.hold, "").unwrap();
    let mut holder = heavy.cluster.client("b");
    let inputs = [
        ("text".to_owned(), bytes("old")),
        ("hold".to_owned(), bytes("true")),
    ];
    let invocation = Invocation {
        workflow: "heavy",
        inputs: &inputs,
        report: false,
        trace: false,
    };
    let held = holder.start(&invocation).expect("the worker takes it");
    until("the held one runs", || {
        let profile = heavy.json(&["profile", "heavy"]);
        (node(&profile, "held")["activations"] == 1).then_some(())
    });

    let ends = AtomicBool::new(false);
    let rebalanced = std::thread::scope(|scope| {
        let loads = ["a", "b"].map(|entry| {
            let (heavy, ends) = (&heavy, &ends);
            scope.spawn(move || load(heavy, entry, ends))
        });
        let taken = || heavy.count("invocations_taken");
        let begun = taken();
        until("the load is on", || (taken() > begun + 6).then_some(()));
        let rebalanced = heavy.json(&["rebalance", "heavy"]);
        let after = taken();
        until("it goes on afterwards", || {
            (taken() > after + 10).then_some(())
        });
        ends.store(true, Ordering::Relaxed);
        let answered = loads.map(|load| {
            load.join()
                .expect("no invocation is lost or answered twice")
        });
        assert!(answered.iter().all(|answered| *answered > 0));
        rebalanced
    });
    assert_eq!(rebalanced["deployed"], true);
    assert_eq!(
        (&rebalanced["version_before"], &rebalanced["version"]),
        (&1.into(), &2.into())
    );
    assert!(
        rebalanced["gain_percent"].as_f64().unwrap() > 5.0,
        "{rebalanced}"
    );
    assert!(!rebalanced["moves"].as_array().unwrap().is_empty());
    assert_eq!(rebalanced["new"]["crossing_bytes"], 0.0);

    // The held one is on the old version, which waits for it and for nothing else.
    let states = |worker: &str| -> Vec<(u32, DeploymentState)> {
        let deployments = heavy.cluster.status(worker).deployments;
        deployments
            .iter()
            .map(|one| (one.version, one.state))
            .collect()
    };
    let both = [(1, DeploymentState::Retiring), (2, DeploymentState::Active)];
    assert!(["a", "b"].iter().all(|worker| states(worker) == both));
    std::fs::remove_file(&heavy.hold).unwrap();
    let answer = holder.next_answer().expect("the worker answers");
    assert_eq!(answer.request, held);
    assert_eq!(
        (output(&answer, "text"), output(&answer, "held")),
        (&b"old"[..], &b"held\n"[..])
    );
    until("the old version is gone", || {
        let gone = |worker: &&str| states(worker) == [(2, DeploymentState::Active)];
        ["a", "b"].iter().all(gone).then_some(())
    });

    // Nothing that is large crosses any more, and there is nothing to gain by another try.
    assert!(heavy.bytes_of_one() < BYTES / 16);
    let profile = heavy.json(&["profile", "heavy"]);
    assert_eq!(
        (
            &profile["version"],
            &profile["crossing_per_invocation_bytes"]
        ),
        (&2.into(), &0.0.into())
    );
    let again = heavy.json(&["rebalance", "heavy"]);
    assert_eq!(again["deployed"], false, "{again}");
    // It is where right hints would have placed it from the beginning.
    let hinted = |entry: &Value, hint: &str| {
        let hints = entry["hints"].as_array().unwrap().clone();
        let mut hints = hints.into_iter();
        hints.find(|change| change["node"] == "source" && change["hint"] == hint)
    };
    assert_eq!(
        hinted(&rebalanced, "output_bytes").unwrap()["new"],
        BYTES.to_string()
    );
    assert!(
        hinted(&again, "output_bytes").is_none(),
        "the files that are kept say so already"
    );
}

#[test]
fn what_was_measured_is_shown_written_back_and_forgotten() {
    let heavy = Heavy::deployed();
    for number in 0..5 {
        heavy.invoke(&number.to_string());
    }
    let shown = heavy.call(&["profile", "heavy"]).ok().text();
    for words in [
        "heavy version 1",
        "source → left",
        "16 MiB",
        "→",
        "100.0 %",
        "cross workers for each invocation",
    ] {
        assert!(shown.contains(words), "{words:?} is not in\n{shown}");
    }
    let profile = heavy.json(&["profile", "heavy"]);
    let source = node(&profile, "source");
    assert_eq!(
        (&source["activations"], &source["failed_attempts"]),
        (&5.into(), &0.into())
    );
    assert_eq!(source["runs_share"], 1.0);
    assert!(source["run_mean_ns"].as_f64().unwrap() > 0.0);
    assert_eq!(node(&profile, "held")["runs_share"], 0.0);

    let before = std::fs::read_to_string(&heavy.file).unwrap();
    let written = heavy.json(&["profile", "heavy", "--write", &heavy.file]);
    let changes = written["written"].as_array().unwrap();
    assert!(changes.iter().any(|change| {
        change["node"] == "source" && change["hint"] == "output_bytes" && change["old"] == "10"
    }));
    let after = std::fs::read_to_string(&heavy.file).unwrap();
    assert!(
        after.lines().any(|line| {
            let (_, written) = line.split_once("output_bytes: ").unwrap_or_default();
            let bytes = written.strip_prefix(&BYTES.to_string());
            // On a busy machine `busy` is written behind it.
            let ends =
                |rest: &str| rest.starts_with([' ', ',']) && rest.ends_with(" }   # a guess");
            bytes.is_some_and(ends)
        }),
        "{after}"
    );
    assert!(after.contains("      placeholder: false\n"), "{after}");
    // Lines without a hint are what they were, and none has gone.
    let plain = |text: &str| {
        let hints = [
            "profile:",
            "runtime_ms:",
            "output_bytes:",
            "busy:",
            "placeholder:",
        ];
        let lines = text.lines().filter_map(|line| {
            let line = line.split(", profile:").next().unwrap_or_default();
            let is_hint = hints.iter().any(|hint| line.contains(hint));
            (!is_hint).then(|| line.trim_end_matches(" }").to_owned())
        });
        lines.collect::<Vec<_>>()
    };
    assert_eq!(plain(&before), plain(&after));
    assert_eq!(
        heavy.json(&["profile", "heavy", "--write", &heavy.file])["written"],
        Value::Array(Vec::new())
    );
    let _ = heavy.call(&["plan", &heavy.file]).ok();

    let _ = heavy.call(&["profile", "heavy", "--reset"]).ok();
    let profile = heavy.json(&["profile", "heavy"]);
    assert_eq!(node(&profile, "source")["activations"], 0);
    heavy
        .call(&["profile", "heavy", "--write", &heavy.file])
        .refused(&[
            "nothing was measured of workflow heavy yet",
            "invoke version 1",
        ]);
}

#[test]
fn what_cannot_be_placed_anew_is_refused_with_the_remedy() {
    let heavy = Heavy::deployed();
    heavy.call(&["rebalance", "heavy"]).refused(&[
        "nothing was measured of workflow heavy yet",
        "invoke version 1",
    ]);
    heavy.call(&["rebalance", "heavi"]).refused(&[
        "no workflow named heavi is deployed",
        "did you mean `heavy`?",
    ]);
    heavy.invoke("once");
    let alone = ["--workers", heavy.cluster.worker("a").address()];
    heavy
        .cluster
        .faasflow(&[&["rebalance", "heavy"], &alone[..]].concat())
        .refused(&["worker b takes part in workflow heavy", &heavy.workers]);
    heavy
        .cluster
        .faasflow(&[&["profile", "heavy"], &alone[..]].concat())
        .refused(&[
            "worker b takes part in workflow heavy",
            "is none of --workers",
        ]);
    let other = heavy.cluster.file(
        "other.yaml",
        "{ workflow: other, nodes: { n: { function: e:f } } }",
    );
    heavy
        .call(&["rebalance", "heavy", "--file", &other])
        .refused(&["is workflow other, and not heavy"]);
    let less = heavy.cluster.file(
        "less.yaml",
        "{ workflow: heavy, nodes: { source: { function: e:f } } }",
    );
    heavy
        .call(&["rebalance", "heavy", "--file", &less])
        .refused(&["other nodes than what is deployed: it has no choose"]);

    // To look, and to ask for more than can be had, changes nothing.
    let looked = heavy.json(&["rebalance", "heavy", "--dry-run"]);
    assert_eq!(
        (&looked["deployed"], &looked["pays"]),
        (&false.into(), &true.into())
    );
    let most = heavy
        .call(&["rebalance", "heavy", "--min-gain", "100"])
        .ok()
        .text();
    assert!(most.contains("version 1 stays as it is"), "{most}");
    assert!(most.contains("--min-gain asks for 100 %"), "{most}");
    assert_eq!(heavy.cluster.status("a").deployments.len(), 1);
    let forced = heavy.json(&["rebalance", "heavy", "--min-gain", "100", "--force"]);
    assert_eq!(forced["version"], 2);
}

#[test]
fn what_is_too_large_to_be_kept_is_deployed_all_the_same_and_asked_for() {
    let heavy = Heavy::deployed();
    let text = std::fs::read_to_string(&heavy.file).unwrap();
    let padded = format!("{text}{}", format!("# {}\n", "x".repeat(98)).repeat(43_000));
    let large = heavy.cluster.file("large.yaml", padded);
    let said = heavy
        .call(&["deploy", &large, "--pin", "say=b"])
        .ok()
        .text();
    assert!(
        said.contains("`faasflow rebalance` will ask for its file"),
        "{said}"
    );
    heavy.invoke("once");
    heavy
        .call(&["rebalance", "heavy"])
        .refused(&["have not kept the files of workflow heavy", "--file FILE"]);
    let planned = heavy.json(&["rebalance", "heavy", "--file", &large, "--force"]);
    assert_eq!(planned["version"], 3);
    // The terms were kept: what was pinned stays.
    let profile = heavy.json(&["profile", "heavy"]);
    assert_eq!(node(&profile, "say")["worker"], "b");
}

#[test]
fn a_worker_that_was_started_anew_is_told_from_one_that_serves() {
    let mut heavy = Heavy::deployed();
    heavy.invoke("once");
    let _ = heavy.cluster.worker_mut("b").end_by(Signal::SIGKILL);
    heavy.cluster.restart("b");
    heavy.call(&["rebalance", "heavy"]).refused(&[
        "worker b takes part in workflow heavy, but does not serve it",
        "faasflow deploy",
    ]);
}

#[test]
fn nodes_of_another_file_are_left_unless_that_is_named() {
    let cluster = Setup::workers(&["a"]).start();
    let inner = "# Inner.\nworkflow: inner\ninput: { text: bytes }\nnodes:\n  say: { function: test-functions:echo, input: { in: input.text }, output: { out: bytes } } # said\noutput: { out: say.out }\n";
    let outer = "workflow: outer\ninput: { texts: list }\nnodes:\n  all:\n    workflow: parts/inner.yaml\n    foreach: input.texts\n    input: { text: item }\n  own:\n    function: test-functions:echo\n    foreach: input.texts\n    input: { in: item }\n    output: { out: bytes }\noutput: { out: all.out }\n";
    std::fs::create_dir(cluster.path("parts")).unwrap();
    let inner_file = cluster.file("parts/inner.yaml", inner);
    let outer_file = cluster.file("outer.yaml", outer);
    let workers = cluster.addresses().join(",");
    let call =
        |arguments: &[&str]| cluster.faasflow(&[arguments, &["--workers", &workers]].concat());
    let _ = call(&["deploy", &outer_file]).ok();
    let texts = Payload::list(vec![b"one".to_vec(), b"three".to_vec()]);
    let answered = cluster.invoke("a", "outer", &[("texts", texts)]);
    assert!(answered.expect("the worker answers").result.is_ok());

    let said = call(&["profile", "outer", "--write", &outer_file])
        .ok()
        .text();
    assert!(said.contains("say was left: it stands in"), "{said}");
    assert!(
        said.contains("parts/inner.yaml: name that with --write, too"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(&inner_file).unwrap(), inner);
    let text = std::fs::read_to_string(&outer_file).unwrap();
    assert!(text.contains("output_bytes: 8, items: 2 }"), "{text}");
    let _ = call(&[
        "profile",
        "outer",
        "--write",
        &outer_file,
        "--write",
        &inner_file,
    ])
    .ok();
    let text = std::fs::read_to_string(&inner_file).unwrap();
    assert!(
        text.contains("profile: { runtime_ms: ") && text.contains("output_bytes: 8 } } # said\n"),
        "{text}"
    );
    let _ = call(&["deploy", &outer_file]).ok();
    call(&["profile", "outer", "--write", &inner_file])
        .refused(&["is workflow inner, and not outer"]);
    let stray = cluster.file("stray.yaml", inner);
    call(&[
        "profile",
        "outer",
        "--write",
        &outer_file,
        "--write",
        &stray,
    ])
    .refused(&["is no file of the workflow in"]);
}
