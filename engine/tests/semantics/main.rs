//! What the design says that workflows mean, each sentence by a workflow of a few nodes, on the trigger core alone: with all
//! nodes on one worker, and with each on another than the one before.

mod edges;
mod failures;
mod foreach;
mod joins;
mod rig;
