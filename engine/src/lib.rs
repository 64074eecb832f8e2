//! FaaSFlow's worker: trigger core, lanes, executor pool, network, and what a plan and a frame are.
#![deny(unsafe_code)]

pub mod core;
pub mod delay;
pub mod expression;
pub mod greeting;
pub mod lane;
pub mod nearest;
pub mod plan;
pub mod plan_check;
pub mod profile;
pub mod reads;
pub mod status;
pub mod trace;
pub mod wire;
pub mod worker;
