//! How often each retrier of a node has tried an activation again.
//!
//! Of an activation with one retrier, the number of its attempt says it. Only for one with several is anything kept: from
//! its second attempt until it ends, or until what lives in its place does.

use super::by_place::ByPlace;
use super::invocation::Place;
use super::program::LocalNode;
use crate::plan::Retry;
use crate::plan_check::ATTEMPTS_MAX;

/// A retrier's count for one activation.
type Count = u16;

const _: () = assert!(ATTEMPTS_MAX <= Count::MAX as u32);

/// The counts of all activations with several retriers that have been tried again, by retrier.
#[derive(Debug, Default)]
pub(super) struct Retried(ByPlace<LocalNode, Box<[Count]>>);

impl Retried {
    /// Lets one of its `retriers` try an activation again whose attempt of that number has failed: how often it then has, or
    /// none if it may not, having done so as often as it can.
    pub(super) fn again(
        &mut self,
        (place, node): (Place, LocalNode),
        attempt: u32,
        retriers: &[Retry],
        retrier: usize,
    ) -> Option<u32> {
        let most = retriers[retrier].attempts;
        if retriers.len() == 1 {
            return (attempt < most).then_some(attempt);
        }
        if most <= 1 {
            return None;
        }
        let none = || vec![0; retriers.len()].into_boxed_slice();
        let counts = self.0.or_insert_with(place, node, none);
        let again = u32::from(counts[retrier]) + 1;
        if again >= most {
            return None;
        }
        counts[retrier] += 1;
        Some(again)
    }

    /// An activation has ended.
    #[inline]
    pub(super) fn end(&mut self, place: Place, node: LocalNode) {
        self.0.remove(place, node);
    }

    /// All activations in a place have ended.
    #[inline]
    pub(super) fn end_all(&mut self, place: Place) {
        while self.0.pop(place).is_some() {}
    }

    /// How many activations are counted.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}
