//! The worker's own threads, beside its lanes: what it is told, what it may do here, who may talk to it, and the
//! processes that it starts.

mod bulks;
pub mod calibrate;
pub mod config;
pub mod control;
pub mod control_io;
mod deploy;
pub mod deployments;
mod feedback;
mod functions;
pub mod hello;
pub mod host;
pub mod lanes;
pub mod links;
mod measuring;
pub mod placement;
pub mod quantities;
mod reads;
mod report;
pub mod run;
pub mod sharing;
pub mod state;
pub mod store;
pub mod warden;
