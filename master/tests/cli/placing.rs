//! Where nodes run: the options, the files that describe clusters, and what `plan` and `graph` say of it.

use super::{ECHO, Folder, faasflow, refused};
use serde_json::Value;
use std::fmt::Write as _;

/// Two nodes that cannot share a worker, and a third that reads of both.
const APART: &str = "workflow: apart
nodes:
  left: { function: e:f, output: { o: bytes }, apart: right, profile: { runtime_ms: 10, output_bytes: 1048576 } }
  right: { function: e:f, output: { o: bytes }, profile: { runtime_ms: 10, output_bytes: 2097152 } }
  both: { function: e:f, input: { l: left.o, r: right.o }, profile: { runtime_ms: 5 } }
";

const RACK: &str = "workers:
  a: { cpus: 2, memory_mib: 4096 }
  b: { cpus: 2, memory_mib: 4096, speed: 4 }
links:
  - { between: [a, b], bandwidth_mib_per_s: 1000, latency_us: 50 }
";

fn shown(arguments: &[&str]) -> String {
    let output = faasflow(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&shown(&[arguments, &["--json"]].concat())).unwrap()
}

fn workers_of(plan: &Value) -> Vec<&str> {
    let nodes = plan["nodes"].as_array().unwrap().iter();
    nodes.map(|node| node["worker"].as_str().unwrap()).collect()
}

/// Layers of nodes that read two of the layer before.
fn layered(layers: usize, width: usize) -> String {
    let mut text = "workflow: layered\nnodes:\n".to_owned();
    for layer in 0..layers {
        for place in 0..width {
            let input = match layer {
                0 => String::new(),
                _ => format!(
                    "input: {{ x: n{before}-{place}.o, y: n{before}-{next}.o }}, ",
                    before = layer - 1,
                    next = (place + 1) % width
                ),
            };
            let _ = writeln!(
                text,
                "  n{layer}-{place}: {{ function: e{}:f, {input}output: {{ o: bytes }}, profile: {{ runtime_ms: {}, \
                 output_bytes: 100000 }}, resources: {{ memory_mib: 16 }} }}",
                place % 3,
                1 + (layer * 7 + place * 3) % 11
            );
        }
    }
    text
}

#[test]
fn each_partitioner_is_called_by_its_name_and_a_misspelt_one_is_none() {
    let folder = Folder::new();
    let file = folder.file("apart.yaml", APART);
    let plan = ["plan", &file, "--workers", "a:2:4GiB,b:2:4GiB"];
    for partitioner in ["hash", "published", "heft", "default"] {
        let arguments = [&plan[..], &["--partitioner", partitioner]].concat();
        let plan = json(&arguments);
        assert_eq!(plan["search"]["partitioner"], partitioner);
        // The contention pair is honoured by each.
        let workers = workers_of(&plan);
        assert_ne!(workers[0], workers[1], "{partitioner}");
        assert_eq!(plan["merges"].is_null(), partitioner != "published");
        assert!(shown(&arguments).contains(&format!("now, by {partitioner}")));
    }
    let with = |more: &[&'static str]| [&plan[..], more].concat();
    refused(
        &with(&["--partitioner", "publised"]),
        &["published", "hash, published, heft, default"],
    );
    refused(&with(&["--steps", "0"]), &["--steps"]);
    refused(&with(&["--budget-ms", "soon"]), &["--budget-ms"]);
    refused(
        &with(&["--quota", "lots"]),
        &["`lots` is not a size", "--quota"],
    );
}

#[test]
fn options_of_placement_without_effect_are_refused() {
    let folder = Folder::new();
    let file = folder.file("apart.yaml", APART);
    for (option, value) in [("--steps", "5"), ("--budget-ms", "5"), ("--seed", "5")] {
        for partitioner in ["hash", "published", "heft"] {
            let workers = [
                "--workers",
                "a:2:4GiB,b:2:4GiB",
                "--partitioner",
                partitioner,
            ];
            refused(
                &[&["plan", &file], &workers[..], &[option, value]].concat(),
                &[&format!(
                    "{option} has no effect with --partitioner {partitioner}"
                )],
            );
        }
    }
    for (option, value) in [
        ("--pin", "left=a"),
        ("--partitioner", "heft"),
        ("--budget-ms", "5"),
        ("--steps", "5"),
        ("--seed", "5"),
        ("--quota", "1M"),
    ] {
        refused(
            &["graph", &file, option, value],
            &[&format!(
                "{option} is about where nodes run, but there are no workers"
            )],
        );
    }
    let (rack, key) = (
        folder.file("rack.yaml", RACK),
        folder.file("key", "0123456789abcdef"),
    );
    refused(
        &[
            "plan",
            &file,
            "--cluster",
            &rack,
            "--cluster-key-file",
            &key,
        ],
        &["--cluster-key-file has no effect"],
    );
    refused(&["plan", &file], &["--workers"]);
    // What is wrong is told before anything is started.
    refused(
        &["run", &file, "--partitioner", "heft", "--seed", "1"],
        &["--seed has no effect with --partitioner heft"],
    );
    refused(
        &["run", &file, "--cluster", "/nowhere"],
        &["cannot read the cluster file /nowhere"],
    );
}

#[test]
fn the_same_seed_and_steps_give_the_same_placement() {
    let folder = Folder::new();
    let file = folder.file("layered.yaml", &layered(8, 10));
    let plan = |seed: &str, steps: &str| {
        let workers = ["--workers", "a:2:4GiB,b:2:4GiB,c:2:4GiB"];
        let plan = json(
            &[
                &["plan", &file],
                &workers[..],
                &["--seed", seed, "--steps", steps],
            ]
            .concat(),
        );
        assert!(plan["search"]["steps"].as_u64().unwrap() <= steps.parse().unwrap());
        (
            workers_of(&plan).join(" "),
            plan["estimate"]["makespan_ns"].as_f64().unwrap(),
        )
    };
    let first = plan("1", "300");
    assert_eq!(plan("1", "300"), first);
    // It is never worse than the published one, and another seed goes another way.
    let published = json(&[
        "plan",
        &file,
        "--workers",
        "a:2:4GiB,b:2:4GiB,c:2:4GiB",
        "--partitioner",
        "published",
    ]);
    assert!(first.1 <= published["estimate"]["makespan_ns"].as_f64().unwrap());
    let others = ["2", "3", "4", "5"].map(|seed| plan(seed, "300").0);
    assert!(others.iter().any(|other| *other != first.0));
}

#[test]
fn a_cluster_file_describes_workers_and_links_and_its_mistakes_are_told() {
    let folder = Folder::new();
    let file = folder.file("echo.yaml", ECHO);
    let rack = folder.file("rack.yaml", RACK);
    let plan = json(&["plan", &file, "--cluster", &rack]);
    // What runs four times as fast gets all of it.
    assert_eq!(workers_of(&plan), ["b", "b"]);
    assert_eq!(plan["workers"][1]["speed"], 4.0);
    assert_eq!(plan["workers"][0]["executors_max"], 4);
    assert_eq!(plan["workers"][0]["memory_max_mib"], 2048);
    // To workers of the command line it adds what they do not say.
    let added = folder.file("added.yaml", "workers: { y: { speed: 9 } }\n");
    let plan = json(&[
        "plan",
        &file,
        "--workers",
        "x:2:4GiB,y:2:4GiB",
        "--cluster",
        &added,
    ]);
    assert_eq!(workers_of(&plan), ["y", "y"]);
    // Links count: what crosses a slow one takes longer.
    let makespan = |rack: &str| {
        let apart = folder.file("apart.yaml", APART);
        let rack = folder.file("links.yaml", rack);
        json(&["plan", &apart, "--cluster", &rack])["estimate"]["makespan_ns"]
            .as_f64()
            .unwrap()
    };
    let fast = makespan(RACK);
    let slow = makespan(&RACK.replace("bandwidth_mib_per_s: 1000", "bandwidth_mib_per_s: 1"));
    assert!(slow > fast + 900e6, "{slow} {fast}");
    refused(
        &[
            "plan",
            &file,
            "--cluster",
            &folder.file("wrong.yaml", &RACK.replace("[a, b]", "[a, c]")),
        ],
        &["there is no worker `c`", "wrong.yaml:5:20"],
    );
    refused(
        &[
            "plan",
            &file,
            "--cluster",
            &folder.file("none.yaml", "links: []"),
        ],
        &["none.yaml describes no workers", "--workers"],
    );
    let output = faasflow(&[
        "plan",
        &file,
        "--json",
        "--cluster",
        &folder.file("zero.yaml", "link: { bytes_per_s: 0 }"),
    ]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(told["error"]["problems"][0]["code"], "number");
    assert_eq!(told["error"]["problems"][0]["line"], 1);
}

/// The keys of an object, in the order of their names.
fn keys(of: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = of.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn the_json_of_a_plan_keeps_its_keys() {
    let folder = Folder::new();
    let file = folder.file("apart.yaml", APART);
    let plan = json(&[
        "plan",
        &file,
        "--workers",
        "a:2:4GiB,b:2:4GiB",
        "--partitioner",
        "published",
    ]);
    for (part, expected) in [
        (
            &plan,
            &[
                "baseline",
                "crossings",
                "edges",
                "estimate",
                "faster",
                "memory",
                "merges",
                "nodes",
                "quota",
                "replicas",
                "search",
                "unprofiled_nodes",
                "workers",
                "workflow",
            ][..],
        ),
        (
            &plan["nodes"][0],
            &[
                "executable",
                "foreach",
                "function",
                "id",
                "node",
                "part",
                "parts",
                "worker",
            ],
        ),
        (
            &plan["edges"][0],
            &[
                "bytes",
                "crosses_workers",
                "from",
                "from_part",
                "outputs",
                "to",
                "to_part",
            ],
        ),
        (
            &plan["workers"][0],
            &[
                "busy_ns",
                "cpus",
                "executors",
                "executors_max",
                "memory_max_mib",
                "memory_mib",
                "nodes",
                "speed",
                "utilisation",
                "worker",
            ],
        ),
        (
            &plan["estimate"],
            &[
                "critical_path",
                "crossing_bytes",
                "lower_bound_ns",
                "lower_bound_ratio",
                "makespan_ns",
                "transfers",
                "ways",
            ],
        ),
        (
            &plan["baseline"],
            &[
                "critical_path",
                "crossing_bytes",
                "lower_bound_ratio",
                "makespan_ns",
                "partitioner",
                "transfers",
                "ways",
            ],
        ),
        (&plan["estimate"]["critical_path"], &["chance", "legs"]),
        (
            &plan["estimate"]["critical_path"]["legs"][0],
            &[
                "began_ns",
                "node",
                "nodes",
                "ran_ns",
                "waited_for",
                "waited_for_node",
                "waited_ns",
                "worker",
            ],
        ),
        (
            &plan["estimate"]["transfers"][0],
            &["bytes", "chance", "from", "readers", "to_worker"],
        ),
        (&plan["quota"], &["held_bytes", "quota_bytes", "unheld"]),
        (
            &plan["search"],
            &[
                "all_tried",
                "first_ns",
                "partitioner",
                "seed",
                "steps",
                "took_ns",
            ],
        ),
        (&plan["crossings"], &["explained", "further"]),
        (
            &plan["merges"],
            &["groups", "held_bytes", "quota_bytes", "refused", "steps"],
        ),
        (
            &plan["merges"]["steps"][0],
            &[
                "executors",
                "from",
                "memory_mib",
                "nodes",
                "path_s",
                "to",
                "weight_s",
                "worker",
            ],
        ),
        (
            &plan["merges"]["refused"][0],
            &["from", "message", "refusal", "to", "weight_s"],
        ),
    ] {
        assert_eq!(keys(part), expected, "{part:#}");
    }
}

#[test]
fn a_plan_says_what_it_comes_to_and_what_stopped_a_merge() {
    let folder = Folder::new();
    let file = folder.file("apart.yaml", APART);
    let plan = ["plan", &file, "--workers", "a:2:4GiB,b:2:4GiB"];
    let said = shown(&plan);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = said.lines().map(words).collect();
    let has = |wanted: &str| {
        assert!(
            lines.iter().any(|line| line.contains(wanted)),
            "no {wanted}: {said}"
        )
    };
    // `right` sends more, so that `both` is where it is.
    has("apart, 3 nodes on 2 workers:");
    has("times the lower bound of");
    has("1 MiB between workers");
    has("all placements were tried, and none is better");
    has("before, by hash");
    has("now, by default");
    has("left → both, 1 MiB");
    has("cannot move to");
    has("it is to be apart from right, which is there");
    has("in shared memory: 2 MiB of a quota of");
    // Each step of the path, whichever worker is which.
    has("what left sends");
    let quota = shown(&[&plan[..], &["--quota", "0"]].concat());
    assert!(
        quota.contains("beyond it, through a store: 2 MiB"),
        "{quota}"
    );
    let full = folder.file(
        "full.yaml",
        "workflow: full
nodes:
  a: { function: e:f, output: { o: bytes }, resources: { scale: 3 }, profile: { output_bytes: 1000 } }
  b: { function: g:f, input: { o: a.o }, resources: { scale: 3 } }
",
    );
    let full = shown(&["plan", &full, "--workers", "a:2:4GiB,b:2:4GiB"]);
    assert!(
        full.contains("6 executors are wanted where worker"),
        "{full}"
    );
    assert!(
        full.contains("1 node has no `profile`, and counts as 1 ms"),
        "{full}"
    );
    let pinned = shown(&[&plan[..], &["--pin", "both=a", "--pin", "left=b"]].concat());
    assert!(
        pinned.contains("both cannot move to b: it is pinned"),
        "{pinned}"
    );
}

#[test]
fn a_plan_of_a_switch_says_how_likely_its_path_is() {
    let folder = Folder::new();
    let file = folder.file(
        "switch.yaml",
        "workflow: w
input: { n: value }
nodes:
  s: { switch: [ { when: input.n > 1, then: a } ], default: [b] }
  a: { function: e:f, profile: { runtime_ms: 100, runs: 0.25 } }
  b: { function: e:f, profile: { runtime_ms: 10 } }
",
    );
    let said = shown(&["plan", &file, "--workers", "a:2:4GiB"]);
    assert!(said.contains("may lead 2 ways"), "{said}");
    assert!(
        said.contains("likeliest way, which is taken 75 %"),
        "{said}"
    );
    let picture = shown(&["graph", &file, "--workers", "a:2:4GiB"]);
    assert!(
        picture.contains("likeliest of 2 ways, taken 75 %"),
        "{picture}"
    );
}

#[test]
fn long_lists_are_cut_with_a_count_and_shown_on_request() {
    let folder = Folder::new();
    let file = folder.file("layered.yaml", &layered(20, 25));
    let plan = [
        "plan",
        &file,
        "--workers",
        "a:4:8GiB,b:4:8GiB,c:4:8GiB",
        "--steps",
        "20",
    ];
    let page = shown(&plan);
    assert!(page.lines().count() < 150, "{}", page.lines().count());
    assert!(page.contains("… 484 more (--all shows them)"), "{page}");
    let all = shown(&[&plan[..], &["--all"]].concat());
    for node in ["n0-0", "n19-24"] {
        let row = |line: &str| line.starts_with(node) && line.ends_with("once");
        assert!(all.lines().any(row), "{node}");
    }
    assert!(!all.contains("(--all shows them)"));
    refused(&[&plan[..], &["--all", "--json"]].concat(), &["--all"]);
}

#[test]
fn the_critical_path_and_what_crosses_show_in_every_format() {
    let folder = Folder::new();
    let file = folder.file("apart.yaml", APART);
    let rack = folder.file("rack.yaml", RACK);
    let draw = |format: &str| shown(&["graph", &file, "--cluster", &rack, "--format", format]);
    let text = draw("text");
    for line in ["(* marks the critical path)", "* both", "* ←", ", 1 MiB]"] {
        assert!(text.contains(line), "no {line}: {text}");
    }
    let svg = draw("svg");
    for part in [
        "class=\"way\"",
        "class=\"caption\"",
        "critical path: what the end hangs on",
        "on the critical path",
    ] {
        assert!(svg.contains(part), "no {part}: {svg}");
    }
    assert!(svg.contains(">1 MiB</text>"), "{svg}");
    let dot = draw("dot");
    assert!(
        dot.contains("penwidth=4") && dot.contains("penwidth=5"),
        "{dot}"
    );
    assert!(
        dot.contains("expected, ") && dot.contains(", 1 MiB\""),
        "{dot}"
    );
    let mermaid = draw("mermaid");
    assert!(
        mermaid.contains("stroke-width:5px") && mermaid.contains("stroke-width:4px"),
        "{mermaid}"
    );
    assert!(mermaid.contains("1 MiB between workers'"), "{mermaid}");
    // Without workers there is nothing of it.
    let plain = shown(&["graph", &file, "--format", "svg"]);
    assert!(
        !plain.contains("critical") && !plain.contains("expected"),
        "{plain}"
    );
}

#[test]
fn a_plan_says_what_is_divided_to_be_faster_and_what_it_would_take_undivided() {
    let folder = Folder::new();
    // Four executors on two CPUs: 100 items of 10 ms, and 10 µs each for a way through the engine.
    let text = "workflow: w
input: { l: list }
nodes:
  each: { function: e:f, foreach: input.l, input: { i: item }, output: { o: bytes }, resources: { scale: 4 }, profile: { runtime_ms: 10, items: 100 } }
";
    let file = folder.file("w.yaml", text);
    let call = ["plan", &file, "--workers", "a:2:4GiB,b:2:4GiB"];
    let said = shown(&call);
    assert!(
        said.contains("divided to be faster: each in 2 parts; undivided: 500 ms"),
        "{said}"
    );
    assert!(
        said.contains("w, 2 nodes on 2 workers: 250 ms expected"),
        "{said}"
    );
    assert!(said.contains("before, by hash    500 ms"), "{said}");
    let plan = json(&call);
    assert_eq!(
        plan["faster"]["divided"],
        serde_json::json!([{ "node": "each", "parts": 2 }])
    );
    let undivided_ns = plan["faster"]["undivided_makespan_ns"].as_f64().unwrap();
    assert!((undivided_ns - 500.5e6).abs() < 1e3, "{undivided_ns}");
    assert_eq!(
        plan["baseline"]["makespan_ns"],
        plan["faster"]["undivided_makespan_ns"]
    );
    assert_ne!(workers_of(&plan)[0], workers_of(&plan)[1]);
    let drawn = shown(&["graph", &file, "--workers", "a:2:4GiB,b:2:4GiB"]);
    assert!(drawn.contains("in 2 parts, on "), "{drawn}");
    for other in ["hash", "published", "heft"] {
        let plan = json(&[&call[..], &["--partitioner", other]].concat());
        assert_eq!(plan["faster"], Value::Null, "{other}");
        assert_eq!(workers_of(&plan).len(), 1, "{other}");
    }
}
