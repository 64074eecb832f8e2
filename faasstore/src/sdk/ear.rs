//! How a function hears that it is to stop: by a look, in its sleep, or by a descriptor.
//!
//! One is kept for all nodes of an executor. Only a descriptor costs anything before something is told: a thread, which
//! sleeps on the engine's word and is started by the first function that asks for one.

use crate::channel::ToldWord;
use crate::told::Cancelled;
use rustix::event::{EventfdFlags, eventfd};
use std::io::Result;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// Of the thread, which only sleeps and writes.
const STACK_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Ear {
    word: ToldWord,
    /// Readable since something was told, until it is asked for again.
    bell: OnceLock<Arc<OwnedFd>>,
    /// Held while that is made, so that it is made once.
    making: Mutex<()>,
}

impl Ear {
    pub(super) fn new(word: ToldWord) -> Self {
        Self {
            word,
            bell: OnceLock::new(),
            making: Mutex::new(()),
        }
    }

    /// Whether this activation is to stop, and why.
    #[inline]
    pub(super) fn look(&self, activation: u32) -> Option<Cancelled> {
        self.word.look(activation)
    }

    /// Sleeps until this activation is to stop, or until `deadline`.
    pub(super) fn wait(&self, activation: u32, deadline: Option<Instant>) -> Option<Cancelled> {
        self.word.wait(activation, deadline)
    }

    /// A descriptor that is readable once this activation is to stop.
    pub(super) fn descriptor(&self, activation: u32) -> Result<BorrowedFd<'_>> {
        let bell = self.bell()?;
        let mut count = [0; 8];
        // What it says of an earlier activation is over; that it says nothing is as well.
        let _ = rustix::io::read(bell, &mut count);
        if self.look(activation).is_some() {
            // The thread has rung for it already, or is about to; what was read above may have been that.
            ring(bell);
        }
        Ok(bell.as_fd())
    }

    fn bell(&self) -> Result<&OwnedFd> {
        if let Some(bell) = self.bell.get() {
            return Ok(bell);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = self.bell.get() {
            return Ok(bell);
        }
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (word, rung) = (self.word.clone(), Arc::clone(&bell));
        let ringer = move || {
            let mut last = 0;
            loop {
                last = word.next(last);
                ring(&rung);
            }
        };
        std::thread::Builder::new()
            .name("faasflow-told".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(ringer)?;
        Ok(self.bell.get_or_init(|| bell))
    }
}

fn ring(bell: &OwnedFd) {
    // Fails only if the count is at its maximum, and then it is readable.
    let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
}
