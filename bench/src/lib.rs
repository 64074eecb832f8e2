//! Floors and benchmarks of FaaSFlow, as a library for the program `faasflow-bench`.
//!
//! [`floor`] owes nothing to the product.

pub mod clock;
pub mod cpu;
pub mod floor;
