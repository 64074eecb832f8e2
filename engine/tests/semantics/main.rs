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
// What divides a workflow is the same for all who play one; it uses nothing but the engine.
#[path = "../../../tests/src/divided.rs"]
#[expect(unreachable_pub, reason = "it is another crate's")]
mod divided;
mod edges;
mod failures;
mod flow;
mod foreach;
mod foresight;
mod full;
mod holding;
mod joins;
mod lists;
mod outward;
mod parts;
mod peers;
mod profiles;
mod quota;
mod reads;
mod replicas;
mod reports;
mod retriers;
mod rig;
mod room;
mod stores;
mod traces;
mod windows;
mod yard;
