//! What the design says that workflows mean, each sentence by a workflow of a few nodes, on the trigger core alone: with all
//! nodes on one worker, and with each on another than the one before.

#![expect(
    clippy::unwrap_used,
    clippy::field_reassign_with_default,
    reason = "what is played here is whole; a workflow is written down step by step"
)]

mod bounds;
mod cancels;
mod delays;
mod edges;
mod failures;
mod flow;
mod foreach;
mod foresight;
mod joins;
mod lists;
mod outward;
mod profiles;
mod reports;
mod retriers;
mod rig;
mod traces;
