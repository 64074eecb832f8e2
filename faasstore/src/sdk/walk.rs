//! Walks over a list: items are read one after the other, and let go of when nothing borrows them any more.

use super::Error;
use super::input::{Checked, List, access, check};
use super::line::{Granted, Use};
use crate::descriptor::ItemName;
use std::collections::VecDeque;

/// Items that a walk keeps at most, of which one is read.
const RECENT_MAX: usize = 16;

/// A walk over the items of a list, which holds no more of them than it must: for lists that are larger than memory.
///
/// An item is borrowed from the walk, so until the walk is used next: the compiler refuses a function that keeps one
/// for longer. That is what lets the walk give its memory back. [`Walk::next_item`] gives items in their order, and keeps
/// nothing but the last; those that come next are brought into memory meanwhile. [`Walk::at`] gives any item, and keeps
/// the last ones that were used as far as there is room.
///
/// ```
/// use faasstore::{Call, Error, function};
///
/// fn sum(call: &mut Call) -> Result<(), Error> {
///     let mut sum = 0_u64;
///     let mut walk = call.list("parts")?.walk();
///     while let Some(item) = walk.next_item()? {
///         // One that is absent is an item too.
///         sum += item.unwrap_or_default().iter().map(|byte| u64::from(*byte)).sum::<u64>();
///     }
///     call.write("sum", &sum.to_le_bytes())
/// }
///
/// let sum = function("sum", sum);
/// ```
///
/// Two items at once cannot be had of one walk:
///
/// ```compile_fail,E0499
/// # fn longest<'a>(list: &faasstore::List<'a>) -> Result<usize, faasstore::Error> {
/// let mut walk = list.walk();
/// let first = walk.next_item()?;
/// let second = walk.next_item()?;
/// # Ok(first.flatten().map_or(0, <[u8]>::len) + second.flatten().map_or(0, <[u8]>::len))
/// # }
/// ```
#[derive(Debug)]
pub struct Walk<'a> {
    list: List<'a>,
    next: usize,
    /// Items that were asked for, the last one at the end.
    recent: VecDeque<(usize, Granted)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(list: List<'a>) -> Self {
        Self {
            list,
            next: 0,
            recent: VecDeque::new(),
        }
    }

    /// The next item: its bytes, or none of one that is absent. None at the end of the list.
    ///
    /// It waits until the item is in memory. All others that the walk has given are let go of before.
    ///
    /// # Errors
    /// If there is no memory for the item (class memory), or the activation is to stop.
    pub fn next_item(&mut self) -> Result<Option<Option<&[u8]>>, Error> {
        if self.next >= self.list.len() {
            self.let_go_all();
            return Ok(None);
        }
        let index = self.next;
        self.next += 1;
        self.let_go_all();
        self.read(index, Use::Walking).map(Some)
    }

    /// As [`Walk::next_item`], as an archive that is validated now.
    ///
    /// # Errors
    /// As [`Walk::next_item`], and if the item is no valid `T`, or the function declares another type for it.
    pub fn next_typed<T>(&mut self) -> Result<Option<Option<&T::Archived>>, Error>
    where
        T: rkyv::Archive<Archived: Checked>,
    {
        check::<T::Archived>(self.list.declared, self.list.name)?;
        let (index, name) = (self.next, self.list.name);
        let Some(item) = self.next_item()? else {
            return Ok(None);
        };
        let archive = item.map(|bytes| access(bytes, &format_args!("{name}[{index}]")));
        archive.transpose().map(Some)
    }

    /// Any item: its bytes; none of one that is absent, or beyond the end. [`Walk::next_item`] goes on where it was.
    ///
    /// It waits until the item is in memory. What was used least of late is let go of before, as room requires.
    ///
    /// # Errors
    /// As [`Walk::next_item`].
    pub fn at(&mut self, index: usize) -> Result<Option<&[u8]>, Error> {
        self.read(index, Use::Passing)
    }

    /// Where [`Walk::next_item`] is: the number of the item that it gives next.
    #[must_use]
    pub fn position(&self) -> usize {
        self.next
    }

    fn read(&mut self, index: usize, usage: Use) -> Result<Option<&[u8]>, Error> {
        let Some(item) = self.list.items.get(index).filter(|item| !item.is_absent()) else {
            return Ok(None);
        };
        let Some(window_bytes) = item.window_bytes() else {
            return Ok(self.list.get(index));
        };
        let known = self.recent.iter().position(|(known, _)| *known == index);
        match known.and_then(|place| self.recent.remove(place)) {
            Some(used) => self.recent.push_back(used),
            None => {
                self.make_room(item.length, window_bytes);
                let granted = self.list.take(index, usage)?;
                self.recent.push_back((index, granted));
            }
        }
        Ok(self.recent.back().map(|(_, granted)| granted.bytes()))
    }

    /// Lets go of what was used least of late, until so many bytes fit beside what is kept.
    fn make_room(&mut self, bytes: u64, window_bytes: u64) {
        let kept_bytes = |recent: &VecDeque<(usize, Granted)>| -> u64 {
            let bytes = recent.iter().map(|(_, granted)| granted.bytes().len());
            bytes.sum::<usize>() as u64
        };
        while self.recent.len() >= RECENT_MAX
            || kept_bytes(&self.recent).saturating_add(bytes) > window_bytes
        {
            let Some((index, granted)) = self.recent.pop_front() else {
                return;
            };
            drop(granted);
            self.let_go(index);
        }
    }

    fn let_go_all(&mut self) {
        while let Some((index, granted)) = self.recent.pop_front() {
            drop(granted);
            self.let_go(index);
        }
    }

    fn let_go(&self, index: usize) {
        self.list.line.let_go(ItemName {
            input: self.list.input,
            item: index as u32,
        });
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        self.let_go_all();
    }
}
