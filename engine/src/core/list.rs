//! The items of a list that are here, by their places in the list: all of them, or those that a part of a divided region needs.

use super::invocation::{ListId, Lists};
use super::lease::Payload;
use crate::wire::Section;
use std::ops::Range;

/// The items of a list that are here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Items<'a> {
    here: &'a [Payload],
    first: usize,
    whole: usize,
}

impl<'a> Items<'a> {
    /// All items of a list.
    pub(crate) const fn all(items: &'a [Payload]) -> Self {
        Self {
            here: items,
            first: 0,
            whole: items.len(),
        }
    }

    /// Items of the list, those that are elsewhere included.
    pub(crate) const fn whole(&self) -> usize {
        self.whole
    }

    /// The places of those that are here.
    pub(crate) const fn places(&self) -> Range<usize> {
        self.first..self.first + self.here.len()
    }

    /// Which of these places are here; an empty range among them if none is.
    pub(crate) fn common(&self, range: Range<usize>) -> Range<usize> {
        let Range { start, end } = self.places();
        let from = range.start.clamp(start, end);
        from..range.end.clamp(from, end)
    }

    /// The item at a place, if it is here.
    #[inline]
    pub(crate) fn get(&self, place: usize) -> Option<Payload> {
        self.here.get(place.wrapping_sub(self.first)).copied()
    }

    /// Those items of these places that are here.
    #[inline]
    pub(crate) fn range(&self, range: Range<usize>) -> &'a [Payload] {
        let Range { start, end } = self.common(range);
        &self.here[start - self.first..end - self.first]
    }
}

impl Lists {
    /// The items of a list.
    #[inline]
    pub(crate) fn items(&self, id: ListId) -> Items<'_> {
        let here = self.get(id);
        match self.section(id) {
            None => Items::all(here),
            Some(Section { first, whole }) => Items {
                here,
                first: first as usize,
                whole: whole as usize,
            },
        }
    }

    /// The item at a place of a list, if it is here.
    pub(crate) fn item_mut(&mut self, id: ListId, place: usize) -> Option<&mut Payload> {
        let first = self.section(id).map_or(0, |section| section.first as usize);
        self.get_mut(id).get_mut(place.wrapping_sub(first))
    }
}
