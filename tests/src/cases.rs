//! Running many seeded cases, so that one that fails can be run again alone.

/// Environment variable that names one seed to run.
pub const SEED_VARIABLE: &str = "FAASFLOW_SIM_SEED";
/// Environment variable that multiplies the number of cases.
pub const SCALE_VARIABLE: &str = "FAASFLOW_SIM_SCALE";

/// Runs `case` with `count` seeds, or with the one that [`SEED_VARIABLE`] names. The seed of a case that panics is
/// printed with what to type to see it again.
///
/// # Panics
/// If a case does, or if a variable holds no number.
pub fn each_seed(first: u64, count: u64, mut case: impl FnMut(u64)) {
    if let Some(seed) = variable(SEED_VARIABLE) {
        let _told = Told(seed);
        case(seed);
        return;
    }
    let count = count * variable(SCALE_VARIABLE).unwrap_or(1);
    for seed in first..first + count {
        let _told = Told(seed);
        case(seed);
    }
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
    )
}

struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "the case of seed {0} failed; run it alone with {SEED_VARIABLE}={0}",
                self.0
            );
        }
    }
}
