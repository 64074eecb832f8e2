//! How a test says that it cannot run here: one line that scripts/test lists at its end. Nothing is skipped in silence.

/// Prints that the test `name` was not run, and why. The caller returns after it.
#[allow(
    clippy::print_stdout,
    reason = "scripts/test reads the line from the test's output"
)]
pub fn skip(name: &str, reason: &str) {
    println!("SKIPPED: {name}: {reason}");
}
