//! How a spill is set up, and why it cannot be.

use super::SpillIo;
use crate::segment::SegmentError;
use crate::tier::Limits;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// How a [`Spill`](super::Spill) is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpillConfig {
    /// The folder of its files, of which one worker at a time has the use.
    pub folder: PathBuf,
    /// Bytes of disk space that it may take.
    pub bytes_max: u64,
    /// Bytes of disk space, within that, that are kept ready when payloads have gone.
    pub keep_bytes: u64,
    /// Payloads of at least so many bytes go to the disk directly, if that is possible there.
    pub direct_bytes_min: u64,
    /// What carries out reads and writes.
    pub io: SpillIo,
    /// Operations and bytes under way, and deadlines.
    pub limits: Limits,
}

impl SpillConfig {
    /// What suits a worker that may spill `bytes_max` bytes to `folder`.
    #[must_use]
    pub fn new(folder: PathBuf, bytes_max: u64, io: SpillIo) -> Self {
        Self {
            folder,
            bytes_max,
            keep_bytes: (bytes_max / 8).min(256 << 20),
            direct_bytes_min: 256 << 10,
            io,
            limits: Limits::default(),
        }
    }
}

/// Why a folder cannot be spilled to.
#[derive(Debug, Error)]
pub enum SpillError {
    /// It cannot be made or used.
    #[error(
        "spill: cannot {what} {path}: {source}; name a folder that this user may write, with space left"
    )]
    Access {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another worker has it.
    #[error(
        "spill: another worker uses {path}; give each worker of a host its own state directory"
    )]
    Locked {
        /// Which.
        path: PathBuf,
    },
    /// Space cannot be set aside, or given back.
    #[error(
        "spill: the file system of {path} cannot set space aside and give it back (fallocate); name a folder on ext4, xfs, \
         btrfs or tmpfs"
    )]
    FileSystem {
        /// Which.
        path: PathBuf,
    },
    /// No memory for buffers.
    #[error("spill: no memory for buffers: {source}")]
    Memory {
        /// Why not.
        source: SegmentError,
    },
}
