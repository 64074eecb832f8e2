//! Memory beside an arena that counts in it: segments that its owner has made by other means, and that are to stay within
//! the same bound.

use super::{Arena, ArenaError};

impl Arena {
    /// Counts `bytes` more that the owner holds beside the arena, whose own segments make room for them if nothing is left in
    /// them. [`Arena::bring_back`] takes them off again.
    ///
    /// # Errors
    /// [`ArenaError::Full`] if all together were more than the arena may have; nothing changes then, but that segments in
    /// which nothing was left may have been retired.
    pub fn set_aside(&mut self, bytes: u64) -> Result<(), ArenaError> {
        let room = |arena: &Self| arena.config.bytes_max.saturating_sub(arena.bytes_held());
        if room(self) < bytes {
            for compartment in self.compartments() {
                self.flush(compartment);
                while room(self) < bytes && self.retire_one(compartment) {}
            }
        }
        if room(self) < bytes {
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
