//! What fails, and what comes of it, end to end. One program, as `e2e` is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod functions;
mod host_sharing;
mod limits;
mod store;
mod strangers;
mod workers;
