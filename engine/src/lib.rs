//! FaaSFlow's worker.
#![deny(unsafe_code)]

pub mod greeting;
pub mod plan;
pub mod plan_check;
pub mod status;
pub mod wire;
pub mod worker;
