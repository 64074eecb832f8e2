//! Lanes: the engine's threads, each with its own sockets, executors and invocations.

pub mod driver;
pub mod link;
