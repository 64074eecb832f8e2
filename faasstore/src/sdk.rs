//! The function SDK: what an executable of functions is written with.
//!
//! This folder owns the executor's side of an activation: from a request in the ring to a borrowed input, from an
//! output in the arena to a completion. It promises that inputs are read in place and outputs are written in place;
//! that a function which fails, panics or forgets an output fails its activation and nothing else; and that what it
//! had written until then comes back. Which activation runs when is the engine's business.
//!
//! - [`serve()`]: an executable's `main`
//! - [`bytes`], [`typed`], [`function`]: code becomes a [`Function`]
//! - [`Call`]: inputs and outputs of one activation, [`Walk`] for lists that are larger than memory; [`Context`]: which activation it is, and whether it is to stop

mod call;
mod context;
mod ear;
mod error;
mod executor;
mod function;
mod input;
mod limits;
mod line;
mod mappings;
mod meter;
mod output;
mod serve;
mod walk;
mod writer;

pub use call::Call;
pub use context::Context;
pub use error::Error;
pub use function::{Function, bytes, function, typed};
pub use input::{Checked, List};
pub use output::{ListOutput, Payload};
pub use serve::serve;
pub use walk::Walk;
pub use writer::OutputWriter;
