//! How payloads get from one function to the next.
//!
//! Workers bring them, unless a benchmark has the function bring them itself: then what goes from node to node only says where
//! they are.

use crate::payload;
use faasstore::{Context, Error, OutputWriter};

/// A payload that is to be written.
#[derive(Clone, Copy, Debug)]
pub struct Spot<'a> {
    /// In which activation.
    pub context: &'a Context,
    /// The output.
    pub output: &'a str,
    /// Which item of a list, from 1 on; 0 if the output is no list.
    pub item: u64,
    /// Its length.
    pub bytes: usize,
    /// What its content follows from: see [`payload::fill`].
    pub seed: u64,
}

/// Takes payloads from functions, and brings them.
pub trait Carrier {
    /// An input that tells the carrier something, and is none of the function's.
    fn own_input(&self) -> Option<&'static str> {
        None
    }

    /// The payload for which `input` was passed on.
    ///
    /// # Errors
    /// If it cannot be had.
    fn bring<'p>(&'p mut self, input: &'p [u8]) -> Result<&'p [u8], Error>;

    /// Makes a payload, and passes it on or what stands for it. `room` gives so many bytes of the output as it is asked for.
    ///
    /// # Errors
    /// If it cannot be written.
    fn take<'w>(
        &mut self,
        spot: &Spot<'_>,
        room: impl FnOnce(usize) -> Result<OutputWriter<'w>, Error>,
    ) -> Result<(), Error>;
}

/// Payloads are passed on themselves.
pub(crate) struct Direct;

impl Carrier for Direct {
    fn bring<'p>(&'p mut self, input: &'p [u8]) -> Result<&'p [u8], Error> {
        Ok(input)
    }

    fn take<'w>(
        &mut self,
        spot: &Spot<'_>,
        room: impl FnOnce(usize) -> Result<OutputWriter<'w>, Error>,
    ) -> Result<(), Error> {
        let mut writer = room(spot.bytes)?;
        payload::fill(writer.as_mut_slice(), spot.seed);
        writer.commit(spot.bytes)
    }
}
