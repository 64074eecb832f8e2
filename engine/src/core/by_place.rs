//! What goes with what lives in a place: with an item of a region, or with an invocation.

use super::invocation::Place;
use std::collections::BTreeMap;

/// A map by place and by a key that begins at its default. It is in order, so that what is of one place lies beside each
/// other; mostly it is empty.
#[derive(Debug)]
pub(super) struct ByPlace<K, V>(BTreeMap<(Place, K), V>);

impl<K, V> Default for ByPlace<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Copy + Ord + Default, V> ByPlace<K, V> {
    pub(super) fn insert(&mut self, place: Place, key: K, value: V) {
        self.0.insert((place, key), value);
    }

    pub(super) fn or_insert_with(
        &mut self,
        place: Place,
        key: K,
        make: impl FnOnce() -> V,
    ) -> &mut V {
        self.0.entry((place, key)).or_insert_with(make)
    }

    pub(super) fn remove(&mut self, place: Place, key: K) {
        self.0.remove(&(place, key));
    }

    /// Takes one out of those of a place, if it has any.
    #[inline]
    pub(super) fn pop(&mut self, place: Place) -> Option<(K, V)> {
        if self.0.is_empty() {
            return None;
        }
        let (next, _) = self.0.range((place, K::default())..).next()?;
        let key = *next;
        if key.0 != place {
            return None;
        }
        self.0.remove(&key).map(|value| (key.1, value))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
