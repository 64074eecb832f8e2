//! What tests that span FaaSFlow's crates stand on.
//!
//! - [`cluster`]: workers as real processes on loopback, what they are asked, and what the kernel says of them
//! - [`disk`]: disks that are small, or fail
//! - [`fuzz`]: inputs that nobody would write, and what they find
//! - [`gate`]: functions held in mid-activation until their test says how they go on
//! - [`group`]: a control group with a memory limit
//! - [`load`]: a client that never pauses, and sees that nothing is lost
//! - [`pattern`]: payloads of any length that both sides can make and check
//! - [`redis`]: a server of a test's own, stopped, killed and restarted
//! - [`served`]: a workflow on two workers, and what the program says of it
//! - [`shared_data`]: where data is that the repository does not hold
//! - [`skip`]: how a test says that it cannot run here
//! - [`sim`]: a simulated cluster around the trigger core, and what it plays: [`workflow`]s at random, their [`plans`],
//!   their [`functions`], what of them is seen (a [`trace`]), and a plain [`reference`](mod@reference) of what they must
//!   come to; [`cases`] runs many of them
#![forbid(unsafe_code)]

pub mod cases;
pub mod cluster;
pub mod disk;
pub mod divided;
pub mod functions;
pub mod fuzz;
pub mod gate;
pub mod group;
pub mod load;
pub mod pattern;
pub mod plans;
pub mod process;
pub mod programs;
pub mod random;
pub mod redis;
pub mod reference;
pub mod served;
pub mod shared_data;
pub mod sim;
pub mod skip;
pub mod trace;
pub mod workflow;
