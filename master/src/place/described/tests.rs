use super::*;
use crate::place::{ClusterFile, Network, WorkerCapacity};

/// From, to, MiB a second, microseconds.
type Figures = (&'static str, &'static str, f64, f64);

fn measured(all: &[Figures]) -> Vec<MeasuredLink> {
    let one = |(from, to, mib_per_s, latency_us): &Figures| MeasuredLink {
        from: (*from).to_owned(),
        to: (*to).to_owned(),
        link: Link {
            bytes_per_s: mib_per_s * MIB,
            latency_ns: latency_us * 1e3,
        },
        round_trips: 1,
        bytes: 1,
    };
    all.iter().map(one).collect()
}

/// Three workers, of which c is far away from both others.
const FAR: [Figures; 6] = [
    ("a", "b", 100.0, 50.0),
    ("a", "c", 10.0, 900.0),
    ("b", "a", 100.0, 50.0),
    ("b", "c", 10.0, 900.0),
    ("c", "a", 5.0, 900.0),
    ("c", "b", 10.0, 900.0),
];
/// The same without c.
const NEAR: [Figures; 2] = [("a", "b", 100.0, 50.0), ("b", "a", 100.0, 50.0)];

fn described(before: &str, all: &[Figures]) -> DescribedLinks {
    let described = describe_links("rack.yaml", Some(before.as_bytes()), &measured(all));
    described.unwrap_or_else(|error| panic!("{error:?}"))
}

/// What a file says of the links between workers of these names.
fn network(text: &str, names: &[&str]) -> Network {
    let mut workers: Vec<WorkerCapacity> = names
        .iter()
        .map(|name| WorkerCapacity::new(*name, 1, 1 << 30))
        .collect();
    let file = ClusterFile::parse("rack.yaml", text.as_bytes());
    let file = file.unwrap_or_else(|error| panic!("{error}\n{text}"));
    file.apply(&mut workers)
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Whether a file says of each link what was measured, to within the tenth that counts as the same.
#[track_caller]
fn holds(text: &str, all: &[Figures]) {
    let names: BTreeSet<&str> = all.iter().map(|(from, ..)| *from).collect();
    // Others that some of the files here tell of.
    let others = ["c", "d", "e"]
        .into_iter()
        .filter(|name| !names.contains(name));
    let names: Vec<&str> = names.iter().copied().chain(others).collect();
    let found = network(text, &names);
    let place = |name| names.iter().position(|known| *known == name).unwrap();
    for (from, to, mib_per_s, latency_us) in all {
        let link = found.link(place(*from), place(*to));
        let close = |a: f64, b: f64| (a - b).abs() <= 0.1001 * a.min(b);
        assert!(
            close(link.bytes_per_s, mib_per_s * MIB) && close(link.latency_ns, latency_us * 1e3),
            "{from} → {to}: {link:?}\n{text}"
        );
    }
}

#[test]
fn a_new_file_says_what_was_measured_in_few_words() {
    let new = describe_links("rack.yaml", None, &measured(&FAR)).unwrap();
    assert_eq!(
        new.text,
        "# Measured by `faasflow links`.
link: { bandwidth_mib_per_s: 10, latency_us: 900 }
links:
  - { between: [a, b], bandwidth_mib_per_s: 100, latency_us: 50 }
  - { from: c, to: a, bandwidth_mib_per_s: 5, latency_us: 900 }
"
    );
    assert_eq!((new.listed, new.link_stays), (2, false));
    holds(&new.text, &FAR);
    let alike = describe_links("rack.yaml", None, &measured(&NEAR)).unwrap();
    assert!(!alike.text.contains("links:"), "{}", alike.text);
    holds(&alike.text, &NEAR);
}

#[test]
fn names_that_yaml_takes_for_something_else_are_quoted() {
    let all = [
        ("1.5", "null", 100.0, 50.0),
        ("null", "1.5", 1.0, 50.0),
        ("-", "null", 100.0, 50.0),
        ("null", "-", 100.0, 50.0),
        ("-", "1.5", 7.0, 50.0),
        ("1.5", "-", 3.0, 50.0),
    ];
    let new = describe_links("rack.yaml", None, &measured(&all)).unwrap();
    holds(&new.text, &all);
}

#[test]
fn figures_beyond_what_a_file_may_say_are_written_as_the_last_that_it_may() {
    let all = [("a", "b", 1e9, 0.0), ("b", "a", 1e-9, 1e9)];
    let new = describe_links("rack.yaml", None, &measured(&all)).unwrap();
    let link = |text: &str, from, to| network(text, &["a", "b"]).link(from, to);
    assert_eq!(link(&new.text, 0, 1).bytes_per_s, 1e6 * MIB);
    assert_eq!(link(&new.text, 1, 0).bytes_per_s, 1e-3 * MIB);
    assert_eq!(link(&new.text, 1, 0).latency_ns, 60e9);
}

#[test]
fn what_people_wrote_of_workers_stays_byte_for_byte() {
    let before = "# The rack in the cellar.
workers:
  a: { speed: 0.5 }   # an old one
  b: { speed: 2, cpus: 4, memory_mib: 4096 }
  c: {cpus: 2,  memory_mib: 1024}

link:
  latency_us: 1   # a guess
  bytes_per_s: 1000000 # another
# What is slow.
links:
  # the cable along the wall
  - { between: [a, c], latency_us: 5 } # to be replaced
  - from: b
    to: c
    latency_us: 7
# The end.
";
    let after = described(before, &FAR);
    assert_eq!(
        after.text,
        "# The rack in the cellar.
workers:
  a: { speed: 0.5 }   # an old one
  b: { speed: 2, cpus: 4, memory_mib: 4096 }
  c: {cpus: 2,  memory_mib: 1024}

link:
  latency_us: 900   # a guess
  bytes_per_s: 10485760 # another
# What is slow.
links:
  # the cable along the wall
  - { between: [a, b], bandwidth_mib_per_s: 100, latency_us: 50 }
  - { from: c, to: a, bandwidth_mib_per_s: 5, latency_us: 900 }
# The end.
"
    );
    holds(&after.text, &FAR);
    // Once more, nothing changes.
    assert_eq!(described(&after.text, &FAR).text, after.text);
}

#[test]
fn what_is_said_of_workers_that_were_not_measured_stays_and_so_does_what_counts_for_them() {
    let before = "link: { bandwidth_mib_per_s: 10, latency_us: 900 }
links:
- { between: [a, b], latency_us: 1 }
- { between: [a, c], bytes_per_s: 5000001 } # c is moved about
- { from: c, to: d, latency_us: 0.5 }";
    let after = described(before, &NEAR);
    assert!(after.link_stays);
    assert_eq!(
        after.text,
        "link: { bandwidth_mib_per_s: 10, latency_us: 900 }
links:
- { between: [a, c], bytes_per_s: 5000001 } # c is moved about
- { from: c, to: d, latency_us: 0.5 }
- { between: [a, b], bandwidth_mib_per_s: 100, latency_us: 50 }
"
    );
    let names = ["c", "d", "a", "b"];
    let (old, new) = (network(before, &names), network(&after.text, &names));
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2)] {
        assert_eq!(old.link(from, to), new.link(from, to));
    }
    holds(&after.text, &NEAR);
    // A worker that is only described is told of, too. What there is no word for is as it is without a file.
    let before = "workers: { a: { speed: 1 }, e: { cpus: 1, memory_mib: 64 } }\n";
    let after = described(before, &NEAR);
    assert_eq!((after.link, after.link_stays), (Link::DEFAULT, true));
    assert!(!after.text.contains("link:"), "{}", after.text);
    holds(&after.text, &NEAR);
}

#[test]
fn every_form_of_a_file_is_understood_or_left() {
    let understood = [
        "workers: {}",
        "workers: {}\n",
        "links: []\n",
        "links: [] # none yet\n",
        "link: { latency_us: 3 }\n",
        "link: { bytes_per_s: 1000 }\nlinks: [ { between: [a, b], latency_us: 3 } ]\n",
        "link: {bandwidth_mib_per_s: 3,\n  latency_us: 3}\n",
        "links: [ { from: a, to: b, latency_us: 3 },\n  { latency_us: 3, between: [ b , c ] } ]\nworkers: { a: { speed: 2 } }\n",
        "links:\n    - { between: [a, b], latency_us: 3 }\n\n    - { between: [b, c], latency_us: 3 }\n\n\nworkers: { a: { speed: 2 } }",
        "links:\n  -\n    between: [a, b]\n    latency_us: 3\n  - latency_us: 3\n    between:\n    - b\n    - c\nlink: { latency_us: 1 }\n",
        "links:\n  - { \"between\": [\"a\", 'b'], latency_us: 3 }\n",
        "---\nlink :\n  latency_us : 3\n",
        "link:\r\n  latency_us: 3\r\nlinks:\r\n  - { between: [a, b], latency_us: 3 }\r\n",
        "\u{feff}link: { latency_us: 3 }\n",
    ];
    for before in understood {
        let after = described(before, &FAR);
        holds(&after.text, &FAR);
        assert!(!after.link_stays, "{before}");
        assert_eq!(described(&after.text, &FAR).text, after.text, "{before}");
        // Where all links are alike none is listed, and the list is empty, or is not there.
        let alike = FAR.map(|(from, to, ..)| (from, to, 9.0, 9.0));
        let none = described(&after.text, &alike);
        assert_eq!(none.listed, 0);
        holds(&none.text, &alike);
        let bare_newline = after.text.replace("\r\n", "").contains('\n');
        assert!(
            !before.contains("\r\n") || !bare_newline,
            "{:?}",
            after.text
        );
    }
    let left = [
        "{ link: { latency_us: 3 }, links: [] }",
        "links: [ { between: [a, b], latency_us: 3 } # slow\n]\n",
        "link: &all { latency_us: 3 }\nlinks:\n  - { between: [a, d], latency_us: 3 }\n  - &other { between: [a, b], latency_us: 3 }\n...\n",
        "link: { latency_us: 3 }\n...\n",
    ];
    for before in left {
        match describe_links("rack.yaml", Some(before.as_bytes()), &measured(&FAR)) {
            Err(DescribeError::Form { file }) => assert_eq!(file, "rack.yaml"),
            Err(DescribeError::Problems(error)) => panic!("{error}"),
            Ok(after) => holds(&after.text, &FAR),
        }
    }
    let wrong = describe_links("rack.yaml", Some(b"nodes: {}"), &measured(&FAR)).unwrap_err();
    assert!(matches!(wrong, DescribeError::Problems(_)), "{wrong}");
}

#[test]
fn what_would_change_a_worker_is_no_change_of_links() {
    // The speed is the latency's figure, which is to be another one.
    let before =
        "link: { latency_us: &x 3, bandwidth_mib_per_s: 1 }\nworkers: { a: { speed: *x } }\n";
    let all = NEAR.map(|(from, to, mib_per_s, _)| (from, to, mib_per_s, 9.0));
    match describe_links("rack.yaml", Some(before.as_bytes()), &measured(&all)) {
        Err(DescribeError::Form { .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn measuring_anew_finds_what_it_wrote_before() {
    let first = describe_links("rack.yaml", None, &measured(&FAR)).unwrap();
    let faster =
        FAR.map(|(from, to, mib_per_s, latency_us)| (from, to, mib_per_s * 3.0, latency_us / 3.0));
    let second = described(&first.text, &faster);
    holds(&second.text, &faster);
    assert_eq!(second.text.lines().count(), first.text.lines().count());
}
