//! FaaSFlow's worker.
#![deny(unsafe_code)]

pub mod lane;
pub mod plan;
pub mod wire;
