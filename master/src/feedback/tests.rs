//! What is made of measured figures: shares, edges, what crosses, and hints in whichever file a node stands.

use super::files::{Hinted, replace};
use super::measured::{Node, Profile, Worker};
use crate::definition::{self, Definition};
use engine::plan::{Balance, DeploymentId, NodeId};
use engine::profile::{CpuSums, Detail, Distribution};
use std::collections::BTreeMap;
use std::path::Path;

mod parts;
mod present;

fn of(values: &[u64]) -> Distribution {
    let mut all = Distribution::default();
    values.iter().for_each(|value| all.record(*value));
    all
}

/// A node on this worker that ran in each of four invocations, for 2 ms, and gave 100 bytes as `out`.
fn node(id: NodeId, name: &str, worker: usize, reads: &[(NodeId, &[u16])]) -> Node {
    Node {
        id,
        name: name.to_owned(),
        part: None,
        worker,
        has_executor: true,
        reads: reads
            .iter()
            .map(|(node, outputs)| (*node, outputs.to_vec()))
            .collect(),
        over: None,
        activations: 4,
        failures: 0,
        ran: 4,
        run_ns: of(&[2_000_000; 4]),
        queued_ns: of(&[0; 4]),
        cpu: CpuSums::default(),
        outputs: vec![("out".to_owned(), of(&[100; 4]))],
        items: None,
    }
}

fn profile(nodes: Vec<Node>) -> Profile {
    let worker = |name: &str| Worker {
        name: name.to_owned(),
        placement: 1,
        invocations: 4,
        measured: 4,
        speed: 1.0,
    };
    Profile {
        workflow: "w".to_owned(),
        deployment: DeploymentId(1),
        version: 1,
        placements: 1,
        balance: Balance::RoundRobin,
        workers: vec![worker("a"), worker("b")],
        nodes,
        parts_of: BTreeMap::new(),
    }
}

fn parse(text: &str) -> Definition {
    definition::parse("w.yaml", text.as_bytes()).unwrap_or_else(|error| panic!("{error:?}"))
}

#[test]
fn what_several_nodes_of_a_worker_read_crosses_once() {
    let mut first = node(0, "first", 0, &[]);
    first.outputs.push(("wide".to_owned(), of(&[1000, 3000])));
    // It gave that in two of the four.
    first.ran = 2;
    let profile = profile(vec![
        first,
        node(1, "here", 0, &[(0, &[0, 1])]),
        node(2, "there", 1, &[(0, &[1])]),
        node(3, "too", 1, &[(0, &[0, 1])]),
    ]);
    let wholes = profile.whole_nodes();
    let edges = profile.edges(&wholes);
    let told: Vec<_> = edges
        .iter()
        .map(|edge| {
            (
                edge.to,
                edge.outputs.len(),
                edge.mean_bytes,
                edge.crossing_bytes,
            )
        })
        .collect();
    let mean = Some(2000.0);
    assert_eq!(
        told,
        [
            (1, 2, Some(2100.0), 0.0),
            (2, 1, mean, 1000.0),
            (3, 2, Some(2100.0), 1100.0),
        ]
    );
    // Of `wide` 4000 bytes in four invocations, of `out` 400, each to one other worker.
    assert_eq!(profile.crossing_bytes(&wholes), 1100.0);
}

#[test]
fn hints_are_means_and_what_goes_without_saying_is_not_said() {
    let text = "\
workflow: w
input: { list: list, which: value }
nodes:
  always: { function: e:f, output: { out: bytes } }
  pick:
    switch: [{ when: input.which == 1, then: seldom }]
    default: often
  seldom: { function: e:f, output: { out: bytes } }
  often: { function: e:f, output: { out: bytes }, profile: { runs: 0.5 } }
  each: { function: e:f, foreach: input.list, input: { x: item }, output: { out: bytes } }
  next: { function: e:f, foreach: each.out, input: { x: item }, output: { out: bytes, more: bytes } }
  never: { function: e:f, profile: { runtime_ms: 9 } }
";
    let mut seldom = node(2, "seldom", 0, &[]);
    (seldom.activations, seldom.ran) = (1, 1);
    let mut often = node(3, "often", 0, &[]);
    (often.activations, often.ran) = (3, 3);
    let mut each = node(4, "each", 0, &[]);
    each.items = Some(of(&[3, 4, 4, 4]));
    let mut next = node(5, "next", 0, &[]);
    next.items = Some(of(&[3, 4, 4, 4]));
    next.outputs.push(("more".to_owned(), of(&[7, 8])));
    let mut pick = node(1, "pick", 0, &[]);
    (pick.has_executor, pick.outputs, pick.run_ns) = (false, Vec::new(), of(&[]));
    let mut never = node(6, "never", 0, &[]);
    (never.ran, never.activations) = (0, 0);
    let nodes = vec![
        node(0, "always", 0, &[]),
        pick,
        seldom,
        often,
        each,
        next,
        never,
    ];
    let gone = node(7, "gone", 0, &[]);
    let profile = profile(nodes.into_iter().chain([gone]).collect());
    let hinted = Hinted::of(&parse(text), &profile).unwrap();
    let expected = text
        .replace(
            "  always: { function: e:f, output: { out: bytes } }",
            "  always: { function: e:f, output: { out: bytes }, profile: { runtime_ms: 2, output_bytes: 100 } }",
        )
        .replace(
            "seldom: { function: e:f, output: { out: bytes } }",
            "seldom: { function: e:f, output: { out: bytes }, profile: { runtime_ms: 2, output_bytes: 100, runs: 0.25 } }",
        )
        .replace("profile: { runs: 0.5 }", "profile: { runs: 0.75, runtime_ms: 2, output_bytes: 100 }")
        .replace(
            "input.list, input: { x: item }, output: { out: bytes } }",
            "input.list, input: { x: item }, output: { out: bytes }, profile: { runtime_ms: 2, output_bytes: 100, items: 4 } }",
        )
        .replace(
            "more: bytes } }",
            "more: bytes }, profile: { runtime_ms: 2, output_bytes: { out: 100, more: 8 } } }",
        );
    assert_eq!(hinted.files[0].text, expected);
    assert_eq!(hinted.unmeasured, ["never"]);
    assert_eq!(
        hinted.left,
        [("gone".to_owned(), "the file has no such node".to_owned())]
    );
    let profile = &hinted.definition().unwrap().nodes[0].profile;
    assert_eq!((profile.runtime_ms, profile.output_bytes), (2.0, 100));
}

#[test]
fn nodes_of_one_file_share_its_hints_wherever_it_stands() {
    let inner = "{ workflow: inner, nodes: { one: { function: e:f, output: { out: bytes } } } }";
    let middle = "{ workflow: middle, nodes: { deep: { workflow: ../inner.yaml } } }";
    let outer = "{ workflow: w, nodes: { a: { workflow: parts/middle.yaml }, b: { workflow: inner.yaml } } }";
    let mut others = |path: &Path| match path.to_str() {
        Some("flows/parts/middle.yaml") => Ok(middle.as_bytes().to_vec()),
        Some("flows/inner.yaml") => Ok(inner.as_bytes().to_vec()),
        other => panic!("{other:?}"),
    };
    let definition = definition::parse_with("flows/w.yaml", outer.as_bytes(), &mut others).unwrap();
    let mut b = node(1, "b/one", 0, &[]);
    b.run_ns = of(&[4_000_000; 4]);
    let profile = profile(vec![node(0, "a/deep/one", 0, &[]), b]);
    let mut hinted = Hinted::of(&definition, &profile).unwrap();
    let names: Vec<&str> = hinted.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "flows/w.yaml",
            "flows/inner.yaml",
            "flows/parts/middle.yaml"
        ]
    );
    assert_eq!(
        (hinted.files[0].text.as_str(), hinted.files[2].text.as_str()),
        (outer, middle)
    );
    assert!(
        hinted.files[1]
            .text
            .contains("profile: { runtime_ms: 3, output_bytes: 100 }")
    );
    assert_eq!(
        hinted.definition().unwrap().nodes[0].profile.runtime_ms,
        3.0
    );
    // What is not to be written is said by name.
    hinted.leave(|file| file.name == "flows/w.yaml");
    assert_eq!(hinted.changes().count(), 0);
    assert_eq!(
        hinted.left,
        [(
            "one".to_owned(),
            "it stands in flows/inner.yaml: name that with --write, too".to_owned()
        )]
    );
}

#[test]
fn where_sums_alone_are_kept_hints_are_made_all_the_same() {
    let mut only = node(0, "only", 0, &[]);
    only.run_ns = Distribution::new(Detail::Sums);
    only.run_ns.record(5_000_000);
    assert!(!only.run_ns.is_whole());
    let text = "{ workflow: w, nodes: { only: { function: e:f, output: { out: bytes } } } }";
    let hinted = Hinted::of(&parse(text), &profile(vec![only])).unwrap();
    assert_eq!(
        hinted.definition().unwrap().nodes[0].profile.runtime_ms,
        5.0
    );
}

#[test]
fn a_file_is_replaced_whole_and_stays_what_it_is() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (
        folder.path().join("w.yaml"),
        folder.path().join("link.yaml"),
    );
    std::fs::write(&file, "\u{feff}old").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    replace(&link, "new").unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "\u{feff}new");
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "nothing is left beside it");
    assert!(replace(&folder.path().join("none.yaml"), "new").is_err());
}

/// So many milliseconds, of four runs together.
fn cpu_ms(run: u64, cpu: u64, waited: u64) -> CpuSums {
    const MS: u64 = 1_000_000;
    CpuSums {
        runs: 4,
        run_ns: run * MS,
        cpu_ns: cpu * MS,
        waited_ns: waited * MS,
    }
}

#[test]
fn hints_say_how_long_a_function_runs_alone_and_how_busy_it_is_then() {
    let text = "\
workflow: w
nodes:
  spins: { function: e:f }
  shares: { function: e:f, profile: { busy: 0.5 } }
  sleeps: { function: e:f }
  wide: { function: e:f, resources: { cpus: 4 } }
  more: { function: e:f }
  short: { function: e:f, profile: { busy: 0.25 } }
  mixed: { function: e:f }
";
    let sums = [
        ("spins", cpu_ms(40, 40, 0)),
        // Four of them at once on one CPU.
        ("shares", cpu_ms(40, 10, 30)),
        ("sleeps", cpu_ms(40, 0, 1)),
        ("wide", cpu_ms(40, 80, 0)),
        // Threads that nobody has asked room for.
        ("more", cpu_ms(40, 80, 0)),
        ("short", CpuSums::default()),
        // Two of the four were measured.
        ("mixed", cpu_ms(20, 5, 10)),
    ];
    let node = |(id, (name, cpu))| {
        let mut node = node(id, name, 0, &[]);
        node.run_ns = of(&[10_000_000; 4]);
        (node.cpu, node.outputs) = (cpu, Vec::new());
        node
    };
    let nodes = (0..).zip(sums).map(node).collect();
    let hinted = Hinted::of(&parse(text), &profile(nodes)).unwrap();
    let definition = hinted.definition().unwrap();
    let hints = definition.nodes.iter();
    let hints = hints.map(|node| (node.profile.runtime_ms, node.profile.busy));
    let expected = [
        (10.0, 1.0),
        (2.5, 1.0),
        (9.75, 0.0),
        (10.0, 0.5),
        (10.0, 1.0),
        (10.0, 0.25),
        (7.5, 0.5),
    ];
    assert_eq!(hints.collect::<Vec<_>>(), expected);
    let busy = hinted.changes().filter(|(_, change)| change.key == "busy");
    let busy: Vec<&str> = busy.map(|(_, change)| change.node.as_str()).collect();
    assert_eq!(
        busy,
        ["shares", "sleeps", "wide", "mixed"],
        "that it is always busy goes without saying"
    );
}

#[test]
fn whatever_a_worker_tells_of_cpu_time_a_hint_is_one_that_may_be_said() {
    let text = "{ workflow: w, nodes: { n: { function: e:f } } }";
    let most = u64::MAX;
    for (run_ns, cpu_ns, waited_ns) in [
        (0, most, 0),
        (most, most, most),
        (1, most, 0),
        (0, 0, most),
        (most, 0, 1),
    ] {
        let mut lies = node(0, "n", 0, &[]);
        lies.cpu = CpuSums {
            runs: most,
            run_ns,
            cpu_ns,
            waited_ns,
        };
        lies.outputs = Vec::new();
        let hinted = Hinted::of(&parse(text), &profile(vec![lies])).unwrap();
        let profile = hinted.definition().unwrap().nodes[0].profile.clone();
        assert!((0.0..=1.0).contains(&profile.busy), "{profile:?}");
        assert!((0.0..=2.0).contains(&profile.runtime_ms), "{profile:?}");
    }
}
