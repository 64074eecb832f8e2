//! Running many seeded cases, so that one that fails can be run again alone. `scripts/simulate` sets the variables.

/// Environment variable that names the one seed to run.
pub const SEED_VARIABLE: &str = "FAASFLOW_SIM_SEED";
/// Environment variable that says how many seeds to run.
pub const SEEDS_VARIABLE: &str = "FAASFLOW_SIM_SEEDS";

/// Whether all cases of a test are run: then it may ask whether they have shown what they are to show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cases {
    /// As many as the test wants, or more.
    All,
    /// Fewer.
    Some,
}

/// Runs `case` with the seeds from `first`: `count` of them, or as many as [`SEEDS_VARIABLE`] says, or the one alone that
/// [`SEED_VARIABLE`] names. If a case panics, how to see it again is printed.
///
/// # Panics
/// If a case does, or if a variable holds no number.
pub fn each_seed(first: u64, count: u64, mut case: impl FnMut(u64)) -> Cases {
    let (first, wanted) = match variable(SEED_VARIABLE) {
        Some(seed) => (seed, 1),
        None => (first, variable(SEEDS_VARIABLE).unwrap_or(count)),
    };
    for seed in first..first + wanted {
        let _told = Told(seed);
        case(seed);
    }
    if wanted < count {
        Cases::Some
    } else {
        Cases::All
    }
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Tells of its seed if it is dropped by a panic.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or_default();
            eprintln!(
                "seed {0} failed; to see it again: scripts/simulate --seed {0} {test}",
                self.0
            );
        }
    }
}
