//! A function that stands for others: it takes the time, holds the memory, reads and writes the bytes, and fails as often as
//! its parameters say. README.md lists them.
//!
//! - [`payload`]: bytes that tell whether they arrived as they were written
//! - [`Parameters`]: what a node tells the function
//! - [`run`]: the function
//! - [`Carrier`]: how payloads get from one function to the next, if it is not the worker that brings them
#![forbid(unsafe_code)]

mod carrier;
mod parameters;
pub mod payload;
mod run;

pub use carrier::{Carrier, Spot};
pub use parameters::{Fail, Items, Output, ParameterError, Parameters};
pub use run::{run, run_carried};
