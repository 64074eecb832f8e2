//! Word count as three pure functions: [`split`] a text, [`count`] each chunk, [`merge`] the counts.
//!
//! The program `wordcount` serves them to a workflow (`workflow.yaml` beside this crate); `faasflow-bench wordcount`
//! calls them directly, to compare. A *word* is a maximal run of ASCII letters, ASCII digits, apostrophes and bytes
//! from 0x80 up, with its ASCII letters in lower case: any bytes are a text, and no encoding is assumed. The module
//! [`reference`](mod@reference) says the same a second time, slowly, so that a test and the demo can compare.
#![forbid(unsafe_code)]

mod chunks;
mod counts;
pub mod reference;
mod tally;
mod totals;

pub use chunks::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNKS_WANTED, split};
pub use counts::{
    ArchivedCounts, CountedWord, CountedWords, Counts, CountsResolver, MalformedCounts, count,
};
pub use totals::{Totals, merge};
