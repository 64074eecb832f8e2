//! Files that describe a cluster: what they say counts, and every mistake is told at its place.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use master::definition::{DefinitionError, Problem};
use master::place::{ClusterError, ClusterFile, Link, Network, WorkerCapacity};
use std::path::Path;

const MIB: f64 = 1_048_576.0;

fn read(text: &str) -> ClusterFile {
    ClusterFile::parse("rack.yaml", text.as_bytes()).unwrap()
}

fn workers(names: &[&str]) -> Vec<WorkerCapacity> {
    let one = |name: &&str| WorkerCapacity::new(*name, 2, 1 << 30);
    names.iter().map(one).collect()
}

fn link(bytes_per_s: f64, latency_us: f64) -> Link {
    Link {
        bytes_per_s,
        latency_ns: latency_us * 1e3,
    }
}

/// Line, column and code of each problem, and what it and its help say.
fn problems(error: &DefinitionError) -> Vec<(usize, usize, &'static str, String)> {
    let problem = |problem: &Problem| {
        let help = problem.help.clone().unwrap_or_default();
        let place = problem.place;
        let said = format!("{problem}; {help}");
        (place.line, place.column, problem.kind.code(), said)
    };
    error.problems.iter().map(problem).collect()
}

#[test]
fn links_are_as_they_are_said_and_otherwise_as_elsewhere() {
    let file = read(
        "link: { bandwidth_mib_per_s: 100, latency_us: 80 }
links:
  - { between: [a, b], bytes_per_s: 5000000, latency_us: 20.5 }
  - { from: a, to: c, latency_us: 7 }
  - { from: c, to: b, bandwidth_mib_per_s: 0.5 }
",
    );
    let network = file.apply(&mut workers(&["a", "b", "c"])).unwrap();
    assert_eq!(network.link(0, 1), link(5e6, 20.5));
    assert_eq!(network.link(1, 0), link(5e6, 20.5));
    assert_eq!(network.link(0, 2), link(100.0 * MIB, 7.0));
    assert_eq!(network.link(2, 0), link(100.0 * MIB, 80.0));
    assert_eq!(network.link(2, 1), link(0.5 * MIB, 80.0));
    // Nothing said is as if there were no file.
    let nothing = read("{}").apply(&mut workers(&["a", "b"])).unwrap();
    assert_eq!(nothing, Network::default());
    let latency = read("link: { latency_us: 0 }").apply(&mut []).unwrap();
    assert_eq!(latency.link(0, 1), link(Link::DEFAULT.bytes_per_s, 0.0));
}

#[test]
fn workers_are_described_whole_or_added_to() {
    let file = read(
        "workers:
  a: { cpus: 4, memory_mib: 8192, lanes: 2, speed: 1.5 }
  b: { cpus: 1, memory_mib: 1024 }
",
    );
    let mut described = file.workers().unwrap();
    let shown = |all: &[WorkerCapacity]| -> Vec<(String, u32, u8, u32, u64, f64)> {
        let one = |of: &WorkerCapacity| {
            let WorkerCapacity {
                name,
                cpus,
                lanes,
                speed,
                executors,
                memory_mib,
            } = of.clone();
            (name, cpus, lanes, executors, memory_mib, speed)
        };
        all.iter().map(one).collect()
    };
    file.apply(&mut described).unwrap();
    // As of a worker that is asked: two executors a CPU, and half of the memory.
    assert_eq!(
        shown(&described),
        [
            ("a".to_owned(), 4, 2, 8, 4096, 1.5),
            ("b".to_owned(), 1, 1, 2, 512, 1.0)
        ]
    );
    // What a worker says of itself counts; its speed, which it does not say, is added. Who is described whole may be missing.
    let mut asked = workers(&["a"]);
    file.apply(&mut asked).unwrap();
    assert_eq!(shown(&asked), [("a".to_owned(), 2, 1, 4, 1024, 1.5)]);
    let speed = read("workers: { a: { speed: 0.5 } }");
    let error = speed.workers().unwrap_err();
    let ClusterError::Problems(error) = error else {
        panic!("{error}");
    };
    assert_eq!(error.problems[0].to_string(), "worker `a` has no `cpus`");
    let nobody = read("links: []").workers().unwrap_err();
    assert_eq!(nobody.to_string(), "rack.yaml describes no workers");
}

#[test]
fn a_worker_that_there_is_not_is_told_with_the_nearest() {
    let file = read(
        "workers:
  lft: { speed: 2 }
  spare: { cpus: 1, memory_mib: 64 }
links:
  - { between: [left, rigth], latency_us: 5 }
  - { from: left, to: spare, latency_us: 5 }
",
    );
    let error = file.apply(&mut workers(&["left", "right"])).unwrap_err();
    let told: Vec<_> = problems(&error);
    // Both ways of a link are one problem.
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((told[0].0, told[0].1, told[0].2), (2, 3, "unknown_worker"));
    assert!(told[0].3.contains("did you mean `left`?"), "{told:?}");
    assert_eq!((told[1].0, told[1].1), (5, 23));
    assert_eq!(
        told[1].3,
        "there is no worker `rigth`; did you mean `right`?"
    );
}

#[test]
fn every_mistake_is_told_at_its_place_with_what_would_be_right() {
    for (text, line, column, code, words) in [
        ("", 1, 1, "empty", "begin with `workers:` or `links:`"),
        (
            "a: 1\n---\nb: 2\n",
            2,
            1,
            "second_document",
            "describes one cluster",
        ),
        ("[a, b]", 1, 1, "shape", "a cluster file must be a mapping"),
        (
            "workers: [a]",
            1,
            10,
            "shape",
            "NAME: { cpus: 4, memory_mib: 8192 }",
        ),
        ("worker: {}", 1, 1, "unknown_key", "did you mean `workers`?"),
        (
            "workers: { a: { cpu: 2 } }",
            1,
            17,
            "unknown_key",
            "did you mean `cpus`?",
        ),
        (
            "workers: { a: { memory: 8GiB } }",
            1,
            17,
            "unknown_key",
            "did you mean `memory_mib`?",
        ),
        (
            "workers: { a: { cpus: 0 } }",
            1,
            23,
            "number",
            "from 1 to 4096",
        ),
        (
            "workers: { a: { memory_mib: 8GiB } }",
            1,
            29,
            "number",
            "its unit is in the name of the key",
        ),
        (
            "workers: { a: { speed: 0 } }",
            1,
            24,
            "number",
            "from 0.01 to 100",
        ),
        (
            "workers: { a: { lanes: 300 } }",
            1,
            24,
            "number",
            "from 1 to 255",
        ),
        (
            "workers: { a: { cpus: 1 }, a: { cpus: 2 } }",
            1,
            28,
            "duplicate",
            "`a` is defined twice",
        ),
        (
            "workers: { a: 4 }",
            1,
            15,
            "shape",
            "a worker must be a mapping",
        ),
        (
            "link: { bandwidth_mib_per_s: 0 }",
            1,
            30,
            "number",
            "from 0.001 to 1000000",
        ),
        (
            "link: { bytes_per_s: 999 }",
            1,
            22,
            "number",
            "from 1000 to",
        ),
        (
            "link: { latency_us: -1 }",
            1,
            21,
            "number",
            "from 0 to 60000000",
        ),
        (
            "link: { latency_us: nan }",
            1,
            21,
            "number",
            "from 0 to 60000000",
        ),
        (
            "link: { latency_ms: 1 }",
            1,
            9,
            "unknown_key",
            "did you mean `latency_us`?",
        ),
        (
            "link: {}",
            1,
            7,
            "missing_key",
            "say its `bandwidth_mib_per_s`, its `latency_us` or both",
        ),
        (
            "link: { bytes_per_s: 5000, bandwidth_mib_per_s: 1 }",
            1,
            7,
            "conflict",
            "in one unit",
        ),
        ("links: { a: b }", 1, 8, "shape", "a list of links"),
        (
            "links: [ { between: [a, b] } ]",
            1,
            10,
            "missing_key",
            "or both",
        ),
        (
            "links: [ { between: [a], latency_us: 1 } ]",
            1,
            21,
            "shape",
            "a list of two workers",
        ),
        (
            "links: [ { between: [a, b, c], latency_us: 1 } ]",
            1,
            21,
            "shape",
            "a list of two workers",
        ),
        (
            "links: [ { between: [a, [b]], latency_us: 1 } ]",
            1,
            25,
            "shape",
            "name a worker",
        ),
        (
            "links: [ { between: [a, a], latency_us: 1 } ]",
            1,
            25,
            "link_to_itself",
            "name two workers",
        ),
        (
            "links: [ { from: a, to: a, latency_us: 1 } ]",
            1,
            25,
            "link_to_itself",
            "name two workers",
        ),
        (
            "links: [ { from: a, latency_us: 1 } ]",
            1,
            10,
            "missing_key",
            "a link has no `to`",
        ),
        (
            "links: [ { to: a, latency_us: 1 } ]",
            1,
            10,
            "missing_key",
            "a link has no `from`",
        ),
        (
            "links: [ { latency_us: 1 } ]",
            1,
            10,
            "missing_key",
            "a link has no `between`",
        ),
        (
            "links: [ { between: [a, b], to: b, latency_us: 1 } ]",
            1,
            10,
            "conflict",
            "for both ways",
        ),
        (
            "links:\n- { between: [a, b], latency_us: 1 }\n- { from: b, to: a, latency_us: 2 }\n",
            3,
            11,
            "twice",
            "the link from `b` to `a` is named twice; leave one of the two away",
        ),
        (
            "links: [ { between: [a, b], latency_us: 1 }",
            1,
            43,
            "yaml",
            "brackets",
        ),
    ] {
        let error = ClusterFile::parse("rack.yaml", text.as_bytes()).unwrap_err();
        let told = problems(&error);
        let (line_told, column_told, code_told, said) = &told[0];
        assert_eq!(told.len(), 1, "{text}: {told:?}");
        assert_eq!((*code_told, *line_told), (code, line), "{text}: {told:?}");
        // Where the parser stops for want of more is its own affair.
        if code != "yaml" && code != "empty" {
            assert_eq!(*column_told, column, "{text}: {told:?}");
        }
        assert!(said.contains(words), "{text}: {said}");
    }
    let binary = ClusterFile::parse("rack.yaml", b"\xff").unwrap_err();
    assert_eq!(problems(&binary)[0].2, "not_utf8");
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once() {
    let text = "workers: { a: { cpus: 0, sped: 1 } }\nlink: { latency_us: x }\nlinks: [ { from: a, latency_us: 1 } ]\n";
    let error = ClusterFile::parse("rack.yaml", text.as_bytes()).unwrap_err();
    let codes: Vec<&str> = problems(&error).iter().map(|told| told.2).collect();
    assert_eq!(codes, ["number", "unknown_key", "number", "missing_key"]);
}

#[test]
fn a_worker_is_described_as_one_can_be_started() {
    for (name, good) in [
        ("a/b", false),
        ("'a b'", false),
        ("ü", false),
        ("-a", false),
        ("a.b_c-1", true),
        (&"x".repeat(65), false),
        (&"x".repeat(64), true),
    ] {
        let text = format!("workers: {{ {name}: {{ cpus: 1, memory_mib: 64 }} }}");
        match ClusterFile::parse("rack.yaml", text.as_bytes()) {
            Ok(_) => assert!(good, "{name}"),
            Err(error) => {
                let told = problems(&error);
                assert!(!good && told[0].2 == "name", "{name}: {told:?}");
                assert!(
                    told[0].3.contains("1 to 64 letters, digits"),
                    "{name}: {told:?}"
                );
            }
        }
    }
    let lanes = |cpus: u32, lanes: u32| {
        let text = format!("workers: {{ a: {{ cpus: {cpus}, memory_mib: 64, lanes: {lanes} }} }}");
        ClusterFile::parse("rack.yaml", text.as_bytes())
    };
    assert!(lanes(2, 2).is_ok());
    let told = problems(&lanes(1, 2).unwrap_err());
    assert_eq!(told[0].2, "number");
    assert_eq!(
        told[0].3,
        "`lanes` must be a whole number from 1 to 1, as many as `cpus`, but this is `2`; each lane needs a CPU of its own"
    );
}

#[test]
fn a_file_says_whether_it_knows_one_of_the_workers() {
    let file = read("{ workers: { a: { speed: 2 } }, links: [{ from: b, to: c, latency_us: 1 }] }");
    for (names, any) in [
        (&["a"][..], true),
        (&["b", "x"], true),
        (&["c"], true),
        (&["x", "y"], false),
    ] {
        assert_eq!(file.names_any(&workers(names)), any, "{names:?}");
    }
}

#[test]
fn thousands_of_unknown_workers_are_told_in_no_time() {
    let mut text = "links:\n".to_owned();
    for link in 0..20_000 {
        text += &format!("- {{ from: a, to: unknown-{link}, latency_us: 1 }}\n");
    }
    let file = read(&text);
    let names: Vec<String> = (0..2000).map(|worker| format!("unknown{worker}")).collect();
    let mut known: Vec<&str> = names.iter().map(String::as_str).collect();
    known.push("a");
    let error = file.apply(&mut workers(&known)).unwrap_err();
    assert_eq!(error.problems.len() + error.further, 20_000);
    assert!(error.problems[0].help.is_some());
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = ClusterFile::load(Path::new("/nowhere/rack.yaml")).unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with("cannot read the cluster file /nowhere/rack.yaml"),
        "{said}"
    );
}
