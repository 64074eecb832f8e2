//! That what is kept of a deployment gives it back.

use super::*;
use crate::definition;

fn terms() -> place::Options {
    let mut network = Network::uniform(Link {
        bytes_per_s: 1e6,
        latency_ns: 0.5,
    });
    network.set(0, 1, Link::PUBLISHED);
    network.set(2, 0, Link::DEFAULT);
    place::Options {
        fixed: BTreeMap::from([("n".to_owned(), "b".to_owned())]),
        quota_bytes: Some(7),
        partitioner: Partitioner::Heft,
        effort: Effort {
            steps: Some(9),
            budget: Some(Duration::from_millis(40)),
            seed: 3,
        },
        network,
    }
}

/// Three, of which one is slow.
fn workers() -> Vec<WorkerCapacity> {
    let speeds = [("a", 1.0), ("b", 0.5), ("c", 1.0)];
    let worker = |(name, speed): (&str, f64)| WorkerCapacity {
        speed,
        ..WorkerCapacity::new(name.to_owned(), 4, 1 << 30)
    };
    speeds.into_iter().map(worker).collect()
}

#[test]
fn terms_are_read_as_they_were_written() {
    let definition = definition::parse(
        "w.yaml",
        b"{ workflow: w, nodes: { n: { function: e:f } } }",
    );
    let definition = definition.unwrap();
    for options in [terms(), place::Options::default()] {
        let names = ["a", "b", "c"];
        let replicas = Replicas {
            count: 3,
            balance: Balance::Load,
        };
        let sources = sources_of(&definition, &options, replicas, &workers());
        assert_eq!(options_of(&sources, &names).unwrap(), (options, replicas));
        assert_eq!(
            speeds_of(&sources).unwrap(),
            BTreeMap::from([("b".to_owned(), 0.5)])
        );
        assert_eq!(sources.files.len(), 1);
        assert_eq!(sources.files[0].0, "w.yaml");
    }
    // Workers in another order keep their links; those that are not there have none.
    let sources = sources_of(&definition, &terms(), Replicas::default(), &workers());
    let (read, _) = options_of(&sources, &["b", "d", "a"]).unwrap();
    assert_eq!(read.network.pairs(), [(2, 0, Link::PUBLISHED)]);
    let wrong = Sources {
        terms: sources.terms.replace("heft", "haft"),
        ..sources.clone()
    };
    let error = options_of(&wrong, &[]).unwrap_err();
    assert!(error.to_string().contains("no partitioner haft"), "{error}");
    assert!(options_of(&Sources::default(), &[]).is_err());
    let wrong = Sources {
        terms: sources.terms.replace("0.5}", "0}"),
        ..sources
    };
    assert!(speeds_of(&wrong).is_err(), "{}", wrong.terms);
}

#[test]
fn every_file_is_kept_once_and_gives_the_definition_back() {
    let inner = "{ workflow: inner, nodes: { one: { function: e:f } } }";
    let outer = "{ workflow: outer, nodes: { a: { workflow: parts/in.yaml }, b: { workflow: parts/in.yaml } } }";
    let mut others = |_: &std::path::Path| Ok(inner.as_bytes().to_vec());
    let definition = definition::parse_with("flows/o.yaml", outer.as_bytes(), &mut others).unwrap();
    let sources = sources_of(
        &definition,
        &place::Options::default(),
        Replicas::default(),
        &[],
    );
    let files: Vec<(&str, &str)> = sources
        .files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    assert_eq!(
        files,
        [("flows/o.yaml", outer), ("flows/parts/in.yaml", inner)]
    );
    let read = crate::feedback::files::definition_of(&files).unwrap();
    assert_eq!(read.nodes, definition.nodes);
    let missing = crate::feedback::files::definition_of(&files[..1]).unwrap_err();
    let problems = missing.problems.iter().map(ToString::to_string);
    let problems: Vec<String> = problems.collect();
    assert!(
        problems.iter().any(|one| one.contains("not kept")),
        "{problems:?}"
    );
}
