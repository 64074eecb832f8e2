//! FaaSFlow's worker.
#![deny(unsafe_code)]

pub mod greeting;
pub mod plan;
pub mod wire;
