//! Failures that those who wait for a node bear: which node failed, and why.

use super::by_place::ByPlace;
use super::invocation::Place;

/// A failure, by its number.
pub(crate) type FailureId = u32;

#[derive(Debug)]
struct Failure {
    place: Place,
    node: String,
    cause: String,
}

/// The failures of all invocations. Each goes with what lives in a place: an item, or the invocation.
#[derive(Debug, Default)]
pub(super) struct Borne {
    failures: Vec<Option<Failure>>,
    free: Vec<FailureId>,
    of: ByPlace<FailureId, ()>,
}

impl Borne {
    pub(super) fn add(&mut self, place: Place, node: String, cause: String) -> FailureId {
        let failure = Some(Failure { place, node, cause });
        let id = match self.free.pop() {
            Some(id) => {
                self.failures[id as usize] = failure;
                id
            }
            None => {
                self.failures.push(failure);
                (self.failures.len() - 1) as FailureId
            }
        };
        self.of.insert(place, id, ());
        id
    }

    /// Lets a failure go with what lives in another place.
    pub(super) fn move_to(&mut self, id: FailureId, place: Place) {
        if let Some(failure) = self.failures[id as usize].as_mut() {
            self.of.remove(failure.place, id);
            failure.place = place;
            self.of.insert(place, id, ());
        }
    }

    /// Which node failed, and why.
    pub(super) fn get(&self, id: FailureId) -> (String, String) {
        let failure = self.failures.get(id as usize).and_then(Option::as_ref);
        failure.map_or_else(Default::default, |failure| {
            (failure.node.clone(), failure.cause.clone())
        })
    }

    /// Drops those of what has lived in a place.
    #[inline]
    pub(super) fn end_all(&mut self, place: Place) {
        while let Some((id, ())) = self.of.pop(place) {
            self.failures[id as usize] = None;
            self.free.push(id);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.of.len()
    }
}
