//! The worker's own threads, beside its lanes: what it is told, what it may do here, who may talk to it, and the
//! processes that it starts.

pub mod calibrate;
pub mod config;
pub mod control_io;
pub mod host;
pub mod placement;
pub mod quantities;
pub mod state;
