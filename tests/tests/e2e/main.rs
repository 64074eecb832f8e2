//! End to end: real workers, executors and clients, as processes.
//!
//! One program, since each that is linked with all of it takes seconds to build.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod arenas;
mod bad_input;
mod bench;
mod bench_movement;
mod bench_partition;
mod bench_payload;
mod busy;
mod cancel;
mod commands;
mod cost;
mod declared;
mod delays;
mod deployments;
mod divide;
mod fallback;
mod feedback;
mod feedback_load;
mod feedback_parts;
mod holding;
mod host_sharing;
mod imports;
mod interrupt;
mod isolation;
mod large;
mod links;
mod log;
mod new;
mod payloads;
mod peers;
mod quota;
mod replicas;
mod state_machines;
mod stats;
mod steady;
mod streams;
mod subworkflows;
mod told;
mod traces;
mod types;
mod unprivileged;
mod window;
mod wordcount;
