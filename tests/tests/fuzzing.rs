//! What `scripts/fuzz` promises: faults of every kind are found, kept small, and found again; the same seed plays the same.

use faasflow_tests::fuzz::Target;
use faasflow_tests::fuzz::hunt::{Bag, Fault, Plan, hunt, replay};
use std::path::Path;
use std::time::Duration;

/// CPU time that an input may take: enough to fill the memory that it may have.
const CPU_TIME_MAX: Duration = Duration::from_secs(1);
/// For what is never to be reached.
const LONG: Duration = Duration::from_secs(300);

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_faasflow-fuzz"))
}

fn hunted(target: Target, inputs_max: u64, folder: &Path) -> Bag {
    let plan = Plan {
        target,
        seed: 1,
        inputs_max,
        time_max: LONG,
        cpu_time_max: CPU_TIME_MAX,
        shrink_time_max: Duration::from_secs(5),
        finds_max: 4,
        corpus: None,
        folder: folder.to_owned(),
        program: program().to_owned(),
    };
    hunt(&plan).expect("children can be started")
}

#[test]
fn a_fault_of_every_kind_is_found_made_small_and_found_again() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let bag = hunted(Target::Planted, u64::MAX, folder.path());
    let mut words = Vec::new();
    for find in &bag.finds {
        let kept = std::fs::read(&find.path).expect("it was kept");
        words.push((
            find.fault.to_string(),
            String::from_utf8_lossy(&kept).into_owned(),
        ));
        let again = replay(program(), Target::Planted, &find.path, CPU_TIME_MAX);
        assert_eq!(
            again.expect("a child can be started").as_ref(),
            Some(&find.fault)
        );
    }
    for (fault, word) in [(Fault::Memory, "grow"), (Fault::Stack, "dive")] {
        let expected = (fault.to_string(), word.to_owned());
        assert!(words.contains(&expected), "{word}: {words:?}");
    }
    // Each trial of one that never ends takes all the time that it may have: it stays longer than the others.
    let spins = |(fault, kept): &(String, String)| {
        *fault == Fault::Time.to_string() && kept.contains("spin")
    };
    assert!(words.iter().any(spins), "{words:?}");
    let panic = words.iter().find(|(_, word)| word == "panic");
    let said = panic.map_or("", |(said, _)| said);
    assert!(
        said.contains("target.rs") && said.contains("a fault that was planted"),
        "{words:?}"
    );
}

#[test]
fn what_is_no_fault_is_none_when_it_is_played_again() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let input = folder.path().join("planted-0");
    std::fs::write(&input, "nothing").expect("the folder is new");
    let fault = replay(program(), Target::Planted, &input, CPU_TIME_MAX);
    assert_eq!(fault.expect("a child can be started"), None);
}

#[test]
fn a_hunt_plays_the_same_for_the_same_seed() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let bags: Vec<Bag> = (0..2)
        .map(|_| hunted(Target::Expression, 2000, folder.path()))
        .collect();
    assert_eq!(bags[0], bags[1]);
    assert_eq!(bags[0].played.inputs, 2000);
    assert!(bags[0].played.accepted > 200, "{bags:?}");
    assert!(bags[0].played.answers > 50, "{bags:?}");
    assert!(bags[0].finds.is_empty(), "{bags:?}");
}
