//! Certificates of workflows with regions, against all runs that there can be: for each way in which choices fall, every
//! switch in every item, over lists of no, one and two items.
//!
//! The rules are read aloud once more, item by item, as docs/language.md has them. What is told of a node in a region is
//! held to each of its items; what is told of others to each run.

mod nested;
mod run;

use super::super::*;
use super::NO_DIAGRAMS;
use super::sketch::Sketch;
use nested::{random, sketch_of};
use proptest::prelude::*;
use run::{Row, Subject, all_rows};
use std::collections::{BTreeMap, BTreeSet};

fn made(choice: Choice) -> (Subject, u16) {
    match choice {
        Choice::Case { switch, case } => (Subject::Switch(switch), case),
        Choice::SomeItem { switch, case, some } => {
            (Subject::SomeItem(switch, case), u16::from(!some))
        }
        Choice::Input { given, .. } => (Subject::Input, u16::from(!given)),
        _ => panic!("{choice:?} without failures"),
    }
}

/// Whether there are rows in which choices fell so, and all of them have the value.
fn settles(rows: &BTreeSet<Row>, choices: &[(Subject, u16)], value: bool) -> bool {
    let fits = |row: &&Row| {
        choices
            .iter()
            .all(|(subject, option)| row.made.get(subject) == Some(option))
    };
    let mut fitting = rows.iter().filter(fits).peekable();
    fitting.peek().is_some() && fitting.all(|row| row.runs == value)
}

/// Whether fewer choices than so many settle it.
fn fewer_settle(rows: &BTreeSet<Row>, below: usize, value: bool) -> bool {
    let options: BTreeSet<(Subject, u16)> = rows
        .iter()
        .flat_map(|row| row.made.iter().map(|(s, o)| (*s, *o)))
        .collect();
    let options: Vec<(Subject, u16)> = options.into_iter().collect();
    let mut sets: Vec<(usize, Vec<(Subject, u16)>)> = vec![(0, Vec::new())];
    for size in 0..below {
        let of_size = sets.iter().filter(|(_, set)| set.len() == size);
        if of_size.clone().any(|(_, set)| settles(rows, set, value)) {
            return true;
        }
        let longer = of_size.flat_map(|(from, set)| {
            (*from..options.len())
                .map(|next| (next + 1, [set.clone(), vec![options[next]]].concat()))
        });
        sets = longer.collect();
    }
    false
}

/// Whether every choice falls in every way whatever the others are.
fn are_free(rows: &BTreeSet<Row>) -> bool {
    let ways: BTreeSet<&BTreeMap<Subject, u16>> = rows.iter().map(|row| &row.made).collect();
    let mut options: BTreeMap<Subject, BTreeSet<u16>> = BTreeMap::new();
    for (subject, option) in ways.iter().flat_map(|way| way.iter()) {
        options.entry(*subject).or_default().insert(*option);
    }
    let product: usize = options.values().map(BTreeSet::len).product();
    ways.len() == product
}

/// What was held to a workflow.
#[derive(Default, Debug)]
struct Held {
    exactly: usize,
    /// Choices of several switches whose cases lead out of one region do not fall freely.
    cautiously: usize,
    witnesses: usize,
    by_some_item: usize,
}

fn agrees(sketch: &Sketch, bounds: Bounds, held: &mut Held) -> Result<(), TestCaseError> {
    let definition = sketch.definition();
    let (rows, complete) = all_rows(&definition);
    let certificates = certify(&definition, bounds);
    // What is refused for a node that can never run may have others of which no more is said than that they may.
    let refused = certificates
        .all()
        .any(|certificate| certificate.verdict == Verdict::Never);
    for (place, (certificate, rows)) in certificates.all().zip(&rows).enumerate() {
        prop_assert!(certificate.decided);
        let (any, all) = (
            rows.iter().any(|row| row.runs),
            rows.iter().all(|row| row.runs),
        );
        match certificate.verdict {
            Verdict::Always => prop_assert!(all, "{} is always to run: {:?}", place, sketch),
            Verdict::Never => prop_assert!(!any, "{} is never to run: {:?}", place, sketch),
            Verdict::May => {}
        }
        if !complete || rows.is_empty() {
            continue;
        }
        let free = !refused && are_free(rows);
        if free {
            held.exactly += 1;
            let may = certificate.verdict == Verdict::May;
            prop_assert_eq!(may, any && !all, "{}: {:?}", place, sketch);
        } else if !refused {
            held.cautiously += 1;
        }
        for (value, witness) in [(true, &certificate.runs), (false, &certificate.skipped)] {
            let Some(witness) = witness else {
                continue;
            };
            held.witnesses += 1;
            let choices: Vec<(Subject, u16)> = witness.choices.iter().copied().map(made).collect();
            let some_item =
                |(subject, _): &(Subject, u16)| matches!(subject, Subject::SomeItem(..));
            held.by_some_item += usize::from(choices.iter().any(some_item));
            let fits = |row: &&Row| {
                choices
                    .iter()
                    .all(|(subject, option)| row.made.get(subject) == Some(option))
            };
            let mut replayed = rows.iter().filter(fits);
            prop_assert!(
                replayed.clone().all(|row| row.runs == value),
                "{} under {:?}: {:?}",
                place,
                choices,
                sketch
            );
            if free {
                prop_assert!(
                    replayed.next().is_some(),
                    "{} under {:?}: {:?}",
                    place,
                    choices,
                    sketch
                );
                if witness.shortest {
                    prop_assert!(
                        !fewer_settle(rows, choices.len(), value),
                        "{} under {:?}: {:?}",
                        place,
                        choices,
                        sketch
                    );
                } else {
                    prop_assert!(bounds != Bounds::default(), "nothing here is large");
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_certificate_holds_in_every_item_of_every_run(sketch in random()) {
        agrees(&sketch, Bounds::default(), &mut Held::default())?;
    }
}

#[test]
fn what_is_looked_at_has_all_there_is_to_look_at() {
    let mut held = Held::default();
    let mut random_bytes = 1_u64;
    let mut byte = || {
        random_bytes = random_bytes
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random_bytes >> 33) as u8
    };
    for _ in 0..300 {
        let numbers: Vec<[u8; 12]> = (0..12).map(|_| std::array::from_fn(|_| byte())).collect();
        let sketch = sketch_of(&numbers, std::array::from_fn(|_| byte()));
        agrees(&sketch, NO_DIAGRAMS, &mut held).unwrap();
    }
    assert!(held.exactly > 4 * held.cautiously, "{held:?}");
    assert!(
        held.cautiously > 5 && held.witnesses > 200 && held.by_some_item > 20,
        "{held:?}"
    );
}
