//! One activation, as its function sees it: inputs by name. The outputs' half of [`Call`] is in `output`.

use super::function::Archived;
use super::input::{Checked, Inputs, List};
use super::line::Line;
use super::output::Outputs;
use super::{Context, Error};
use crate::binding::{Kind, Port};
use crate::descriptor::{NO_ITEM, OutputRef};
use std::ops::{Bound, RangeBounds};

/// One activation: its inputs to read, its outputs to write, and its [`Context`].
///
/// Inputs borrow from the memory that they lie in and not from the call, so that they can be read while outputs are
/// written.
#[derive(Debug)]
pub struct Call<'a> {
    context: &'a Context,
    inputs: Inputs<'a>,
    pub(super) output_ports: &'a [Port],
    /// What the function declares of them.
    pub(super) written: &'a [Archived],
    pub(super) outputs: &'a mut Outputs,
    /// By which room is asked for where there is none.
    pub(super) line: &'a Line,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        context: &'a Context,
        inputs: Inputs<'a>,
        (output_ports, written): (&'a [Port], &'a [Archived]),
        outputs: &'a mut Outputs,
        line: &'a Line,
    ) -> Self {
        Self {
            context,
            inputs,
            output_ports,
            written,
            outputs,
            line,
        }
    }

    /// Which activation this is.
    #[must_use]
    pub fn context(&self) -> &'a Context {
        self.context
    }

    /// The node's inputs, in the order of their declaration.
    #[must_use]
    pub fn inputs(&self) -> &'a [Port] {
        self.inputs.ports()
    }

    /// The node's outputs, in the order of their declaration.
    #[must_use]
    pub fn outputs(&self) -> &'a [Port] {
        self.output_ports
    }

    /// Whether an input is there: one that is optional is absent if its source was skipped.
    ///
    /// # Errors
    /// If no such input is declared.
    pub fn is_present(&self, name: &str) -> Result<bool, Error> {
        Ok(self.inputs.is_present(self.inputs.index(name)?))
    }

    /// The bytes of an input, where they lie. Of a value this is its JSON text.
    ///
    /// # Errors
    /// If no such input is declared, it is a list, or it is absent.
    pub fn bytes(&self, name: &str) -> Result<&'a [u8], Error> {
        self.inputs.bytes(self.inputs.index(name)?)
    }

    /// As [`Call::bytes`], by the input's place in the declaration.
    pub(super) fn bytes_at(&self, index: usize) -> Result<&'a [u8], Error> {
        self.inputs.bytes(index)
    }

    /// An input as an archive of `T`, validated now and borrowed where it lies.
    ///
    /// # Errors
    /// As [`Call::bytes`], if the bytes are no valid archive of a `T`, and if the function declares another type for it.
    pub fn typed<T>(&self, name: &str) -> Result<&'a T::Archived, Error>
    where
        T: rkyv::Archive<Archived: Checked>,
    {
        self.inputs.archived(self.inputs.index(name)?)
    }

    /// As [`Call::typed`], by the input's place in the declaration.
    pub(super) fn archived_at<A: Checked>(&self, index: usize) -> Result<&'a A, Error> {
        self.inputs.archived(index)
    }

    /// An input that is a list.
    ///
    /// # Errors
    /// If no such input is declared, it is no list, or it is absent.
    pub fn list(&self, name: &str) -> Result<List<'a>, Error> {
        self.inputs.list(self.inputs.index(name)?)
    }

    /// An input that is a value: small JSON.
    ///
    /// # Errors
    /// If no such input is declared as a value, it is absent, or it is no JSON of a `V`.
    pub fn value<V: serde::Deserialize<'a>>(&self, name: &str) -> Result<V, Error> {
        let index = self.inputs.index(name)?;
        if self.inputs.kind(index) != Some(Kind::Value) {
            return Err(Error::input(format!(
                "input {name} is not declared as a value: read it with Call::bytes"
            )));
        }
        serde_json::from_slice(self.inputs.bytes(index)?).map_err(|error| {
            Error::input(format!(
                "input {name} is no JSON of a {}: {error}",
                std::any::type_name::<V>()
            ))
        })
    }

    /// A range of an input, or of an item of one, as an output.
    pub(super) fn aliased(
        &self,
        name: &str,
        item: Option<usize>,
        range: impl RangeBounds<usize>,
    ) -> Result<OutputRef, Error> {
        let input = self.inputs.index(name)?;
        let length = match item {
            None => self.inputs.bytes(input)?.len(),
            Some(item) => {
                let list = self.inputs.list(input)?;
                let length = list.item_len(item).ok_or_else(|| {
                    Error::input(format!("input {name} has no item {item}, or it is absent"))
                })?;
                // What is passed on has to be in memory when this ends.
                if list.items[item].is_away() {
                    list.keep(item)?;
                }
                length
            }
        };
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&end) => end.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => length,
        };
        if start > end || end > length {
            let text = format!("bytes {start}..{end} of input {name}, which has {length}");
            return Err(Error::output(text));
        }
        if start == end {
            return Ok(OutputRef::Empty);
        }
        let too_many = || {
            Error::output(format!(
                "input {name} is too far down the declaration, or list, to be aliased"
            ))
        };
        let item = match item.map(u32::try_from) {
            None => None,
            Some(Ok(item)) if item != NO_ITEM => Some(item),
            Some(_) => return Err(too_many()),
        };
        Ok(OutputRef::Alias {
            input: u16::try_from(input).map_err(|_| too_many())?,
            item,
            offset: start as u64,
            length: (end - start) as u64,
        })
    }
}
