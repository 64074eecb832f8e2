//! What tests that span FaaSFlow's crates share: random workflows, plans of them, a plain reference interpreter, and a
//! simulated cluster around the trigger core.
//!
//! A simulation is a function of its seed. A test that fails prints the seed; `FAASFLOW_SIM_SEED=<seed>` runs that
//! case alone, and `FAASFLOW_SIM_SCALE=<factor>` multiplies the number of cases.
#![forbid(unsafe_code)]

pub mod cases;
pub mod functions;
pub mod plans;
pub mod random;
pub mod reference;
pub mod sim;
pub mod workflow;
