//! A worker as a real process: who may talk to it, what it starts, and what is left when it ends.
//!
//! Each test runs on both drivers where io_uring is to be had. The executable that is deployed is the example `echo`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is a test"
)]

mod caller;
mod deployments;
mod measuring;
mod process;
mod strangers;
