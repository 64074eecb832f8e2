//! FaaSFlow's worker.
#![deny(unsafe_code)]

pub mod plan;
pub mod wire;
