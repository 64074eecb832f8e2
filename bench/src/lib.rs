//! Floors and benchmarks of FaaSFlow, as a library for the program `faasflow-bench`.
//!
//! [`floor`] owes nothing to the product, and [`floors`] is its report; [`report`] is how every benchmark says what it found.

pub mod chain;
pub mod chain_session;
pub mod clock;
pub mod cpu;
pub mod floor;
pub mod floors;
pub mod foreach;
pub mod hop;
pub mod hop_beside;
pub mod hop_floor;
pub mod hop_payload;
pub mod movement;
pub mod partition;
pub mod payload;
pub mod peak;
pub mod process;
pub mod replicas;
pub mod report;
pub mod run;
pub mod session;
pub mod stamp;
pub mod switch;
pub mod tally;
pub mod words;
