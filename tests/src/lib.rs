//! What tests that span FaaSFlow's crates stand on.
//!
//! - [`cluster`]: workers as real processes on loopback, what they are asked, and what the kernel says of them
//! - [`gate`]: functions held in mid-activation until their test says how they go on
//! - [`pattern`]: payloads of any length that both sides can make and check
//! - [`skip`]: how a test says that it cannot run here
#![forbid(unsafe_code)]

pub mod cluster;
pub mod gate;
pub mod pattern;
pub mod process;
pub mod programs;
pub mod skip;
