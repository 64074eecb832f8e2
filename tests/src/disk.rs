//! Disks that are small, or fail. They are seen in the mount namespace of the thread that has made them alone, by what that
//! thread starts from then on, and go with it. Making one takes root.

use crate::skip::skip;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const NONE: Option<&str> = None;
/// Bytes of a device that fails, and of the memory that it lies in.
const DEVICE_BYTES: u64 = 256 << 20;

/// A file system in memory, of which the size is known.
#[derive(Debug)]
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// One of `bytes` bytes. None if none can be mounted here, which the test `name` then says.
    #[must_use]
    pub fn mount(name: &str, bytes: u64) -> Option<Self> {
        match Self::new(bytes) {
            Ok(disk) => Some(disk),
            Err(error) => {
                skip(name, &format!("no file system can be mounted: {error}"));
                None
            }
        }
    }

    fn new(bytes: u64) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(NONE, "/", NONE, private, NONE))
            .map_err(|error| error.to_string())?;
        let disk = Self { folder };
        disk.sized(bytes, MsFlags::empty())?;
        Ok(disk)
    }

    fn sized(&self, bytes: u64, flags: MsFlags) -> Result<(), String> {
        let options = format!("size={bytes}");
        let (kind, options) = (Some("tmpfs"), Some(options.as_str()));
        mount(kind, self.path(), kind, flags, options).map_err(|error| error.to_string())
    }

    /// Makes it larger, or smaller down to what lies in it.
    ///
    /// # Panics
    /// If the kernel refuses that.
    pub fn resize(&self, bytes: u64) {
        let resized = self.sized(bytes, MsFlags::MS_REMOUNT);
        resized.unwrap_or_else(|error| panic!("a mounted file system is resized: {error}"));
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What is not unmounted goes with the namespace.
        let _ = umount2(self.path(), MntFlags::MNT_DETACH);
    }
}

/// A file system (ext4) on a device that fails when it is told to.
#[derive(Debug)]
pub struct FailingDisk {
    path: PathBuf,
    device: String,
    image: File,
    /// What the image held when the device began to fail.
    kept: Vec<u8>,
    _memory: SmallDisk,
}

impl FailingDisk {
    /// One that works yet. None if none can be made here, which the test `name` then says.
    #[must_use]
    pub fn mount(name: &str) -> Option<Self> {
        let memory = SmallDisk::mount(name, 2 * DEVICE_BYTES)?;
        match Self::new(memory) {
            Ok(disk) => Some(disk),
            Err(error) => {
                skip(name, &format!("no device that fails can be made: {error}"));
                None
            }
        }
    }

    fn new(memory: SmallDisk) -> Result<Self, String> {
        let (name, path) = (memory.path().join("image"), memory.path().join("disk"));
        std::fs::create_dir(&path).map_err(|error| error.to_string())?;
        let image = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&name);
        let image = image.map_err(|error| error.to_string())?;
        image
            .set_len(DEVICE_BYTES)
            .map_err(|error| error.to_string())?;
        let device = run(
            "losetup",
            &["--find", "--show", &name.display().to_string()],
        )?;
        let (lazily, plain) = ("lazy_itable_init=1", "^has_journal");
        let made = run("mkfs.ext4", &["-q", "-E", lazily, "-O", plain, &device]);
        let mounted = made.and_then(|_| {
            let (device, kind) = (Some(device.as_str()), Some("ext4"));
            mount(device, &path, kind, MsFlags::empty(), NONE).map_err(|error| error.to_string())
        });
        // It goes with its last user, which is the mount.
        let _ = run("losetup", &["--detach", &device]);
        mounted.map(|()| Self {
            path,
            device,
            image,
            kept: Vec::new(),
            _memory: memory,
        })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From now on each read and each write of it is an error of the device (EIO): it has shrunk to one block.
    ///
    /// # Panics
    /// If the device cannot be shrunk.
    pub fn fail(&mut self) {
        self.kept = vec![0; DEVICE_BYTES as usize];
        let read = self.image.read_exact_at(&mut self.kept, 0);
        read.expect("it lies in memory");
        self.set_length(4096);
    }

    /// From now on it works again, and holds what it held before.
    ///
    /// # Panics
    /// If the device cannot be made larger, or has not failed.
    pub fn heal(&mut self) {
        let written = self.image.write_all_at(&self.kept, 0);
        written.expect("it lies in memory, which has room");
        self.set_length(DEVICE_BYTES);
    }

    fn set_length(&self, bytes: u64) {
        self.image.set_len(bytes).expect("it lies in memory");
        let told = run("losetup", &["--set-capacity", &self.device]);
        told.unwrap_or_else(|error| panic!("a device is resized: {error}"));
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        // What is not unmounted goes with the namespace.
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}

/// What a program printed.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{program}: {}", said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
