//! Short lists of released blocks by exact size, last in, first out.
//!
//! What comes back first is what the caches still hold. The lists are bounded, so that they delay the joining of
//! neighbours for a bounded amount of memory only.

use super::chain::Block;

/// Sizes up to this many granules (4 KiB) have a list each.
const SMALL_GRANULES_MAX: usize = 64;
/// Blocks that the list of one small size holds.
pub const QUICK_SMALL_MAX: usize = 32;
/// Blocks of larger sizes that are held, all sizes together.
pub const QUICK_LARGE_MAX: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Quick {
    /// By granules less one; empty until the first small block comes back.
    small: Vec<Vec<Block>>,
    large: Vec<Block>,
}

impl Quick {
    /// The block of this size that came back last.
    #[inline]
    pub(super) fn take(&mut self, granules: u32) -> Option<Block> {
        let size = granules as usize;
        if size <= SMALL_GRANULES_MAX {
            return self.small.get_mut(size.checked_sub(1)?)?.pop();
        }
        let place = self
            .large
            .iter()
            .rposition(|block| block.granules == granules)?;
        Some(self.large.remove(place))
    }

    /// Keeps a block; what is returned instead (it, or one that makes room for it) is to be joined with its neighbours.
    #[inline]
    pub(super) fn put(&mut self, block: Block) -> Option<Block> {
        let size = block.granules as usize;
        if size > SMALL_GRANULES_MAX {
            let oldest = (self.large.len() >= QUICK_LARGE_MAX).then(|| self.large.remove(0));
            self.large.push(block);
            return oldest;
        }
        if self.small.is_empty() {
            self.small.resize_with(SMALL_GRANULES_MAX, Vec::new);
        }
        let list = &mut self.small[size - 1];
        if list.len() >= QUICK_SMALL_MAX {
            return Some(block);
        }
        list.push(block);
        None
    }

    /// Any block, until none is left.
    pub(super) fn take_any(&mut self) -> Option<Block> {
        self.large
            .pop()
            .or_else(|| self.small.iter_mut().find_map(Vec::pop))
    }
}
