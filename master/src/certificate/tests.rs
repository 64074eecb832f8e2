//! Certificates against what enumeration finds, and of workflows as people write them.

mod enumerate;
mod items;
mod known;
mod large;
mod regions;
mod sketch;

use super::*;
use enumerate::Enumerated;
use proptest::prelude::*;
use sketch::{Sketch, random};

/// So little that every diagram is too large at once.
const NO_DIAGRAMS: Bounds = Bounds {
    diagram_steps: 0,
    diagram_steps_all: 0,
    search_steps: u64::MAX,
    search_steps_all: u64::MAX,
};
/// Diagrams, but hardly a witness on them.
const FEW_STEPS: Bounds = Bounds {
    diagram_steps: 8,
    diagram_steps_all: u64::MAX,
    search_steps: u64::MAX,
    search_steps_all: u64::MAX,
};

fn agrees(sketch: &Sketch, bounds: Bounds) -> Result<(), TestCaseError> {
    let definition = sketch.definition();
    let enumerated = Enumerated::of(&definition);
    let certificates = certify(&definition, bounds);
    let nodes = certificates.nodes.iter().zip(&enumerated.nodes);
    let outputs = certificates.outputs.iter().zip(&enumerated.outputs);
    for (certificate, truth) in nodes.chain(outputs) {
        prop_assert!(certificate.decided);
        let (all, any) = (
            truth.iter().all(|runs| *runs),
            truth.iter().any(|runs| *runs),
        );
        let verdict = match (any, all) {
            (false, _) => Verdict::Never,
            (true, true) => Verdict::Always,
            (true, false) => Verdict::May,
        };
        prop_assert_eq!(certificate.verdict, verdict);
        for (value, witness) in [(true, &certificate.runs), (false, &certificate.skipped)] {
            prop_assert_eq!(witness.is_some(), verdict == Verdict::May);
            let Some(witness) = witness else {
                continue;
            };
            prop_assert!(
                enumerated.settles(truth, value, &witness.choices),
                "{:?}",
                witness
            );
            if witness.shortest {
                let smallest = enumerated.smallest(truth, value);
                prop_assert_eq!(witness.choices.len(), smallest, "{:?}", witness);
            } else {
                prop_assert!(bounds != Bounds::default(), "nothing here is large");
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_certificate_is_what_enumeration_finds(sketch in random()) {
        agrees(&sketch, Bounds::default())?;
    }

    #[test]
    fn a_search_finds_the_same_as_diagrams(sketch in random()) {
        agrees(&sketch, NO_DIAGRAMS)?;
        agrees(&sketch, FEW_STEPS)?;
    }

    #[test]
    fn bounds_make_certificates_cautious_but_not_wrong(sketch in random(), steps in 0_u64..200) {
        let definition = sketch.definition();
        let bounds = Bounds { diagram_steps: steps % 7, diagram_steps_all: steps, search_steps: steps, search_steps_all: 3 * steps };
        let cautious = certify(&definition, bounds);
        let exact = certify(&definition, Bounds::default());
        for (cautious, exact) in cautious.nodes.iter().zip(&exact.nodes) {
            prop_assert!(cautious.verdict == exact.verdict || (cautious.verdict == Verdict::May && !cautious.decided));
        }
    }
}
