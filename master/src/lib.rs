//! FaaSFlow's master: from a definition to a running deployment, and the client's side of an invocation.
//!
//! A definition ([`definition`]) becomes a graph ([`graph`]), which is placed on workers ([`place`]) and turned into
//! one plan for each ([`planner`]); [`deploy`] hands the plans over, if what functions say of their payloads goes together
//! ([`types`]). From then on nothing of this crate is needed: workers trigger each other, and a [`client`] talks to any of
//! them. [`local`] starts workers on this host for a single run; [`import`] makes definitions of what other systems have.
//! Speaking to people is left to the `faasflow` program, all but how diagnostics look ([`diagnostics`]), which the programs
//! have in common.
#![forbid(unsafe_code)]

pub mod certificate;
pub mod client;
pub mod definition;
pub mod deploy;
pub mod diagnostics;
pub mod division;
pub mod draw;
pub mod feedback;
pub mod graph;
pub mod import;
pub mod local;
pub mod memory;
pub mod place;
pub mod planner;
pub mod random;
pub mod trace;
pub mod types;
