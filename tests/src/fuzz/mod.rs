//! Fuzzing: bytes that nobody would write, against everything that reads what comes from outside.
//!
//! A [`Target`] takes any bytes. A *hunt* ([`hunt`]) plays inputs against it in child processes ([`child`]), each of which
//! mutates a corpus ([`seeds`], [`frames`], [`mutation`]), keeps inputs that made the target say something new, and lives within
//! limits that the kernel enforces: CPU time for each input, memory, and the stack of a worker's threads. An input that
//! panics, takes too long or needs too much is written to a file, made smaller, and can be played again alone.
//!
//! What a child plays follows from its seed alone, as long as target and corpus are the same. Instead of the coverage of
//! code, an input is judged by the *answer* that it gets: an error with names and numbers left out, or what was made of
//! it. That needs no instrumented build, and is what scripts/fuzz uses where there is no cargo-fuzz.

pub mod child;
pub mod frames;
pub mod hunt;
pub mod limits;
pub mod mutation;
pub mod seeds;
mod shrink;
pub mod target;
pub mod words;

pub use target::Target;

/// Longest input, in bytes.
pub const INPUT_BYTES_MAX: usize = 256 << 10;
