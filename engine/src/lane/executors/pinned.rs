//! What an executor may still keep of segments that have gone: their pages are there as long as it maps them, or has their
//! descriptors, and nobody can look.
//!
//! It is told of each (`Unmap`), and reads its ring in order. So one that is believed has let go of all that it was told of
//! before a request, once it answers that; and of all, once it says that it has read all. Of somebody else's executable no
//! word counts: what it was told of it may have kept, until it ends.

use super::{Executor, ExecutorError};
use crate::plan::Trust;

/// Bytes of segments that have gone and that the executor was given, by how much is known of them.
#[derive(Debug, Default)]
pub(super) struct Pinned {
    /// It is still to be told.
    untold: u64,
    /// Told since it has answered last.
    told: u64,
    /// Told before that.
    earlier: u64,
    /// All that it was ever told of.
    ever: u64,
    /// It keeps more than it may.
    beyond: Option<Beyond>,
}

/// Since when an executor that keeps more than it may has not read on, and how far it had read by then.
#[derive(Clone, Copy, Debug)]
struct Beyond {
    since_ns: u64,
    read: u64,
}

impl Pinned {
    pub(super) fn gone(&mut self, bytes: u64) {
        self.untold += bytes;
        self.ever = self.ever.saturating_add(bytes);
    }

    pub(super) fn told(&mut self, bytes: u64) {
        self.untold -= bytes;
        self.told += bytes;
    }

    /// It has answered a request, which it was sent after its answer before this one.
    #[inline]
    pub(super) fn answered(&mut self) {
        self.earlier = std::mem::take(&mut self.told);
        self.beyond = None;
    }

    fn has_read_all(&mut self) {
        (self.told, self.earlier) = (0, 0);
    }
}

impl Executor {
    /// Bytes of segments that have gone, and that it may still keep.
    pub(crate) fn pinned_bytes(&self) -> u64 {
        let Pinned {
            untold,
            told,
            earlier,
            ever,
            ..
        } = self.pinned;
        match self.started.trust {
            Trust::Own => untold + told + earlier,
            Trust::Other => ever,
        }
    }

    /// Whether that is more than is reserved for it.
    pub(crate) fn may_pin_too_much(&self) -> bool {
        !self.stopping && self.pinned_bytes() > self.started.arena_bytes_max
    }

    /// Whether it is to be replaced, since it may keep more of what has gone than is reserved for it: of somebody else's
    /// executable at once, of others if nothing `runs` there and they have read nothing for `patience_ns`, though they were woken.
    pub(crate) fn pins_too_much(
        &mut self,
        now_ns: u64,
        runs: bool,
        patience_ns: u64,
    ) -> Result<bool, ExecutorError> {
        let (read, pushed) = self.started.channel.read_of_pushed()?;
        if read == pushed {
            self.pinned.has_read_all();
        }
        if !self.may_pin_too_much() {
            self.pinned.beyond = None;
            return Ok(false);
        }
        if self.started.trust == Trust::Other {
            return Ok(true);
        }
        if runs {
            // It reads when it has ended that, which has a limit of its own.
            self.pinned.beyond = None;
            return Ok(false);
        }
        // It has its time from when it is woken.
        if self.unmap_unrung {
            self.ring_for_memory();
        }
        // One that has read meanwhile has let go of something; what it keeps now may be what it was told of a moment ago.
        let before = self.pinned.beyond.filter(|beyond| beyond.read == read);
        let since_ns = before.map_or(now_ns, |beyond| beyond.since_ns);
        self.pinned.beyond = Some(Beyond { since_ns, read });
        Ok(since_ns.saturating_add(patience_ns) <= now_ns)
    }

    /// When it is to be looked at again for what it keeps.
    pub(crate) fn pinned_due_ns(&self, patience_ns: u64) -> Option<u64> {
        Some(self.pinned.beyond?.since_ns.saturating_add(patience_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::Pinned;

    #[test]
    fn an_answer_stands_for_what_was_told_before_its_request_and_for_nothing_later() {
        let mut pinned = Pinned::default();
        pinned.gone(5);
        pinned.gone(2);
        pinned.told(5);
        assert_eq!((pinned.untold, pinned.told, pinned.earlier), (2, 5, 0));
        // Whether that was told before the request or while it ran is not known.
        pinned.answered();
        assert_eq!((pinned.untold, pinned.told, pinned.earlier), (2, 0, 5));
        pinned.told(2);
        pinned.answered();
        assert_eq!((pinned.untold, pinned.told, pinned.earlier), (0, 0, 2));
        pinned.answered();
        assert_eq!((pinned.untold, pinned.told, pinned.earlier), (0, 0, 0));
        assert_eq!(pinned.ever, 7);
    }
}
