//! Atomics: the standard library's, or loom's in a build with `--cfg loom`, so that the ring and the doorbell that
//! ship are those that are model-checked. Nothing else in this crate names an atomic type.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
