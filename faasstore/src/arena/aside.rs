//! Memory beside an arena that counts in it: segments that its owner has made by other means, and that are to stay within
//! the same bound.

use super::{Arena, ArenaError, Compartment, Ledger};

impl Arena {
    /// Counts `bytes` more that the owner holds beside the arena for a compartment. Segments make room for them if nothing is left
    /// in them. [`Arena::bring_back`] takes them off again.
    ///
    /// # Errors
    /// [`ArenaError::Full`] if all together were more than the arena, or the compartment, may have; nothing changes then, but that
    /// segments in which nothing was left may have been retired.
    ///
    /// # Panics
    /// If the compartment is another arena's.
    pub fn set_aside(&mut self, compartment: Compartment, bytes: u64) -> Result<(), ArenaError> {
        if self.make_room(compartment, bytes) < bytes {
            return Err(self.full(compartment, bytes));
        }
        self.ledgers[compartment.index()].aside_bytes += bytes;
        self.aside_bytes += bytes;
        Ok(())
    }

    /// What was set aside for a compartment is held no longer.
    ///
    /// # Panics
    /// If more comes back than was set aside, or the compartment is another arena's.
    pub fn bring_back(&mut self, compartment: Compartment, bytes: u64) {
        let Ledger {
            aside_bytes,
            closed,
            ..
        } = &mut self.ledgers[compartment.index()];
        assert!(
            bytes <= *aside_bytes,
            "{bytes} bytes come back of {aside_bytes} that were set aside"
        );
        *aside_bytes -= bytes;
        self.aside_bytes -= bytes;
        if *closed && bytes > 0 {
            self.vacate(compartment);
        }
    }
}
