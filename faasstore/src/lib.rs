//! FaaSFlow's store: what every process of a worker links.
//!
//! The shared-memory half, from the bottom up: [`segment`] (sealed memory), [`ring`] (slots), [`doorbell`] (parking),
//! [`told`] (what is to stop), [`channel`] (an engine and one executor), [`arena`] (payloads), [`socket`] (descriptors), with [`descriptor`] and
//! [`binding`] for what is said over them. docs/layout.md draws every byte.
//!
//! What payloads hold is said by [`schema`]; docs/types.md is about types for people.
//!
//! Payloads that are to lie elsewhere go to a `tier`: only a worker is built with that
//! (features `tier`, `spill`, `redis`, `s3`).
//!
//! The function SDK, with which executables are written, is re-exported here; [`serve()`] is where to begin.

/// The README's executable is compiled with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// And so is what the language's reference shows of functions.
#[cfg(doctest)]
#[doc = include_str!("../../docs/language.md")]
struct Language;

/// And what the document of types shows.
#[cfg(doctest)]
#[doc = include_str!("../../docs/types.md")]
struct Types;

// So that what the derive macro writes finds its names in the tests of this crate too.
#[cfg(test)]
extern crate self as faasstore;

/// What `#[derive(Described)]` writes refers to.
#[cfg(not(loom))]
#[doc(hidden)]
pub mod described {
    pub use crate::schema::{Describer, Field, Fields, Type, Variant};
    pub use rkyv::Archive;
    pub use rkyv::with::ArchiveWith;
}

#[cfg(target_endian = "big")]
compile_error!("the shared-memory ABI is little-endian");

// Under loom only what it explores is built: ring, doorbell and the word to stop, and what they rest on.
#[cfg(not(loom))]
pub mod arena;
#[cfg(not(loom))]
pub mod binding;
#[cfg(not(loom))]
pub mod channel;
pub mod descriptor;
pub mod doorbell;
pub mod ring;
#[cfg(not(loom))]
pub mod schema;
#[cfg(not(loom))]
mod sdk;
#[cfg(not(loom))]
pub mod segment;
#[cfg(not(loom))]
pub mod socket;
mod sync;
#[cfg(all(feature = "tier", not(loom)))]
pub mod tier;
pub mod told;

#[cfg(not(loom))]
pub use faasstore_derive::Described;
#[cfg(not(loom))]
pub use schema::{Described, PayloadType};
#[cfg(not(loom))]
pub use sdk::{
    Call, Checked, Context, Error, Function, List, ListOutput, OutputWriter, Payload, Walk, bytes,
    function, serve, typed,
};
pub use told::Cancelled;
