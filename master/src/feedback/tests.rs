//! What is made of measured figures: shares, edges, what crosses, and hints in whichever file a node stands.

use super::files::{Hinted, replace};
use super::measured::{Node, Profile, Worker};
use crate::definition::{self, Definition};
use engine::plan::{Balance, DeploymentId, NodeId};
use engine::profile::{Detail, Distribution};
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
    seldom.activations = 1;
    let mut often = node(3, "often", 0, &[]);
    often.activations = 3;
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
