//! A control group with a memory limit, for what a test starts in it. Making one takes root.

use crate::skip::skip;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Groups that this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);
/// How long the processes of a group may take to be gone.
const GONE_MAX: Duration = Duration::from_secs(5);

/// A group of processes that have so much memory together, and no more.
#[derive(Debug)]
pub struct MemoryGroup {
    folder: PathBuf,
}

impl MemoryGroup {
    /// One with `bytes` bytes, below the root of its hierarchy. None if none can be made here, which the test `name` then says.
    #[must_use]
    pub fn new(name: &str, bytes: u64) -> Option<Self> {
        match Self::make(bytes) {
            Ok(group) => Some(group),
            Err(error) => {
                skip(name, &format!("no control group can be made: {error}"));
                None
            }
        }
    }

    fn make(bytes: u64) -> std::io::Result<Self> {
        let second = Path::new("/sys/fs/cgroup");
        let is_second = second.join("cgroup.controllers").exists();
        let (root, limit) = if is_second {
            // It is so already, or this fails and so does the limit.
            let _ = std::fs::write(second.join("cgroup.subtree_control"), "+memory");
            (second.to_owned(), "memory.max")
        } else {
            (second.join("memory"), "memory.limit_in_bytes")
        };
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = root.join(format!("faasflow-test-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let group = Self { folder };
        std::fs::write(group.folder.join(limit), bytes.to_string())?;
        Ok(group)
    }

    /// The same command, in the group.
    #[must_use]
    pub fn within(&self, command: &Command) -> Command {
        let mut within = Command::new("sh");
        within.args(["-c", r#"echo $$ >"$0" && exec "$@""#]);
        within.arg(self.folder.join("cgroup.procs"));
        within.arg(command.get_program()).args(command.get_args());
        within
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // As long as a process of it has not quite gone it cannot be removed.
        let deadline = Instant::now() + GONE_MAX;
        while std::fs::remove_dir(&self.folder).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
