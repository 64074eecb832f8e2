//! Memory beside an arena that counts in it: segments that its owner has made by other means, and that are to stay within
//! the same bound.

use super::{Arena, ArenaError, Compartment};

impl Arena {
    /// Counts `bytes` more that the owner holds beside the arena, whose own segments make room for them if nothing is left in
    /// them. [`Arena::bring_back`] takes them off again.
    ///
    /// # Errors
    /// [`ArenaError::Full`] if all together were more than the arena may have; nothing changes then, but that segments in
    /// which nothing was left may have been retired.
    pub fn set_aside(&mut self, bytes: u64) -> Result<(), ArenaError> {
        // The first compartment has no limit but the arena's.
        if self.make_room(Compartment::FIRST, bytes) < bytes {
            return Err(ArenaError::Full {
                bytes,
                held: self.bytes_held(),
                leased: self.bytes_leased() + self.aside_bytes,
                max: self.config.bytes_max,
            });
        }
        self.aside_bytes += bytes;
        Ok(())
    }

    /// What was set aside is held no longer.
    ///
    /// # Panics
    /// If more comes back than was set aside.
    pub fn bring_back(&mut self, bytes: u64) {
        assert!(
            bytes <= self.aside_bytes,
            "{bytes} bytes come back of {} that were set aside",
            self.aside_bytes
        );
        self.aside_bytes -= bytes;
    }
}
