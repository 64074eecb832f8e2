//! A disk that fails, is full, or does not answer; and a process without descriptors.

use super::*;
use crate::tier::conformance::{DEADLINE, payload, read, run, soon};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// What goes wrong with a file next.
#[derive(Debug, Default)]
pub(in crate::tier::spill) struct Faults {
    write: Mutex<Option<(Errno, u32)>>,
    read: Mutex<Option<(Errno, u32)>>,
    allocate: Mutex<Option<(Errno, u32)>>,
    silent: Mutex<bool>,
}

fn take(fault: &Mutex<Option<(Errno, u32)>>) -> io::Result<()> {
    let mut fault = lock(fault);
    match &mut *fault {
        Some((_, after @ 1..)) => {
            *after -= 1;
            Ok(())
        }
        Some((errno, 0)) => Err((*errno).into()),
        None => Ok(()),
    }
}

impl Faults {
    /// All writes fail after so many.
    fn fail_writes(&self, errno: Errno, after: u32) {
        *lock(&self.write) = Some((errno, after));
    }

    fn fail_reads(&self, errno: Errno, after: u32) {
        *lock(&self.read) = Some((errno, after));
    }

    pub(super) fn fail_allocations(&self, errno: Errno, after: u32) {
        *lock(&self.allocate) = Some((errno, after));
    }

    fn heal(&self) {
        *lock(&self.write) = None;
        *lock(&self.read) = None;
        *lock(&self.allocate) = None;
        *lock(&self.silent) = false;
    }

    async fn answer(&self) {
        let silent = *lock(&self.silent);
        if silent {
            std::future::pending::<()>().await;
        }
    }

    pub(in crate::tier::spill) async fn before_write(&self) -> io::Result<()> {
        self.answer().await;
        take(&self.write)
    }

    pub(in crate::tier::spill) async fn before_read(&self) -> io::Result<()> {
        self.answer().await;
        take(&self.read)
    }

    pub(in crate::tier::spill) fn after_allocate(&self) -> io::Result<()> {
        take(&self.allocate)
    }
}

fn each(tier: &Spill, fault: impl Fn(&Faults)) {
    for file in &tier.disk.files {
        fault(&file.faults);
    }
}

#[test]
fn a_disk_that_fails_fails_that_payload_and_no_other() {
    on_both(async |io| {
        let folder = folder();
        let tier = Spill::open(&config(folder.path(), io)).unwrap();
        let kept = soon(tier.put(payload(1, 3 * MIB))).await.unwrap();
        for after in [0, 1, 4] {
            each(&tier, |faults| faults.fail_writes(Errno::EIO, after));
            let error = soon(tier.put(payload(2, 9 * MIB))).await.unwrap_err();
            let text = error.to_string();
            assert!(
                matches!(
                    error,
                    TierError::Broken {
                        again: Again::Not,
                        ..
                    }
                ),
                "{text}"
            );
            assert!(
                text.contains("cannot write") && text.contains("kernel's log"),
                "{text}"
            );
            assert!(text.contains(folder.path().to_str().unwrap()), "{text}");
            each(&tier, Faults::heal);
            assert_eq!(tier.used().count, 1);
        }
        each(&tier, |faults| faults.fail_reads(Errno::EIO, 1));
        let error = read(&tier, &kept, 0, 3 * MIB).await.map(drop).unwrap_err();
        assert!(
            matches!(
                error,
                TierError::Broken {
                    again: Again::Not,
                    ..
                }
            ),
            "{error}"
        );
        each(&tier, Faults::heal);
        assert!(
            read(&tier, &kept, 0, 3 * MIB).await.unwrap().bytes() == payload(1, 3 * MIB).bytes()
        );
        soon(tier.release(kept)).await.unwrap();
        soon(tier.settled()).await;
        assert_eq!((tier.used().bytes, tier.used().count), (0, 0));
    });
}

#[test]
fn a_disk_that_does_not_answer_holds_nobody_up_for_ever() {
    on_both(async |io| {
        let folder = folder();
        let mut config = config(folder.path(), io);
        config.limits.operations_max = 1;
        let mut tier = Spill::open(&config).unwrap();
        let kept = soon(tier.put(payload(1, MIB))).await.unwrap();
        each(&tier, |faults| *lock(&faults.silent) = true);
        tier.admission.set_patience(Duration::from_millis(50));
        // The second waits for its turn, and for no longer.
        let (first, second) =
            futures_util::future::join(tier.put(payload(2, MIB)), tier.put(payload(3, MIB))).await;
        let got = read(&tier, &kept, 0, MIB).await.map(drop);
        for error in [first.unwrap_err(), second.unwrap_err(), got.unwrap_err()] {
            let text = error.to_string();
            assert!(
                matches!(
                    error,
                    TierError::Broken {
                        again: Again::May,
                        ..
                    }
                ),
                "{text}"
            );
            assert!(text.contains("not done within"), "{text}");
        }
        each(&tier, Faults::heal);
        tier.admission.set_patience(DEADLINE);
        assert!(read(&tier, &kept, 0, MIB).await.unwrap().bytes() == payload(1, MIB).bytes());
        soon(tier.release(kept)).await.unwrap();
        soon(tier.settled()).await;
        assert_eq!(tier.used().bytes, 0);
    });
}

/// Runs a test with a small tmpfs as its disk; in a mount namespace of its own, so that nobody else sees it.
fn on_a_small_disk(bytes: u64, test: impl Fn(&Path) + Send + 'static) {
    // Removed when the thread has ended, and its namespace with it.
    let folder = folder();
    let path = folder.path().to_owned();
    let small = std::thread::spawn(move || {
        let none: Option<&str> = None;
        let mounted = unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none))
            .and_then(|()| {
                let options = format!("size={bytes}");
                mount(
                    Some("tmpfs"),
                    &path,
                    Some("tmpfs"),
                    MsFlags::empty(),
                    Some(options.as_str()),
                )
            });
        match mounted {
            Ok(()) => test(&path),
            Err(error) => {
                println!("SKIPPED: a disk that is full: no small one can be mounted here ({error})")
            }
        }
    });
    small.join().unwrap();
}

#[test]
fn a_full_disk_is_told_before_anything_is_written_and_has_room_again() {
    on_a_small_disk(7 * MIB, |path| {
        on_both(async |io| {
            let tier = Spill::open(&SpillConfig {
                keep_bytes: 0,
                ..config(path, io)
            })
            .unwrap();
            // Were it written to, that would be the error.
            let mut places = Vec::new();
            let error = loop {
                match soon(tier.put(payload(places.len() as u64, 2 * MIB))).await {
                    Ok(place) => places.push(place),
                    Err(error) => break error,
                }
                each(&tier, |faults| {
                    faults.fail_writes(Errno::EIO, if places.len() == 3 { 0 } else { 99 })
                });
            };
            let text = error.to_string();
            assert!(matches!(error, TierError::Full { .. }), "{text}");
            assert!(
                text.contains("No space left") && text.contains("free space on that disk"),
                "{text}"
            );
            each(&tier, Faults::heal);
            assert!(places.len() == 3, "{text}");
            for (seed, place) in (0..).zip(&places) {
                assert!(
                    read(&tier, place, 0, 2 * MIB).await.unwrap().bytes()
                        == payload(seed, 2 * MIB).bytes()
                );
            }
            let place = places.swap_remove(0);
            soon(tier.release(place)).await.unwrap();
            let place = soon(tier.put(payload(9, 2 * MIB))).await.unwrap();
            assert!(
                read(&tier, &place, 0, 2 * MIB).await.unwrap().bytes()
                    == payload(9, 2 * MIB).bytes()
            );
            places.push(place);
            for place in places {
                soon(tier.release(place)).await.unwrap();
            }
            soon(tier.settled()).await;
            assert_eq!(tier.used().held, 0);
            assert_eq!(
                disk_bytes(&tier),
                0,
                "what was set aside in vain went back too"
            );
        });
    });
}

/// Runs a program, and gives what it says.
fn program(name: &str, arguments: &[&str]) -> Result<String, String> {
    let output = std::process::Command::new(name).args(arguments).output();
    let output = output.map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(format!(
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    }
}

/// A file system on a device that cannot write most of its blocks: what it lies on is smaller than it says.
fn thin_device(folder: &Path) -> Result<PathBuf, String> {
    let (image, disk) = (folder.join("image"), folder.join("disk"));
    std::fs::create_dir(&disk).map_err(|error| error.to_string())?;
    let file = File::create(&image).map_err(|error| error.to_string())?;
    file.set_len(256 * MIB).map_err(|error| error.to_string())?;
    let device = program(
        "losetup",
        &["--find", "--show", &image.display().to_string()],
    )?;
    // It goes with its last user, which is the mount in this thread's namespace.
    let made = program(
        "mkfs.ext4",
        &[
            "-q",
            "-E",
            "lazy_itable_init=1",
            "-O",
            "^has_journal",
            &device,
        ],
    )
    .and_then(|_| {
        let none: Option<&str> = None;
        let mounted = mount(
            Some(device.as_str()),
            &disk,
            Some("ext4"),
            MsFlags::empty(),
            none,
        );
        mounted.map_err(|error| format!("mount: {error}"))
    });
    let _ = program("losetup", &["--detach", &device]);
    made.map(|()| disk)
}

#[test]
fn a_disk_that_promised_more_than_it_has_is_an_error_by_name_and_nothing_false_is_read() {
    on_a_small_disk(24 * MIB, |path| {
        let disk = match thin_device(path) {
            Ok(disk) => disk,
            Err(why) => {
                return println!(
                    "SKIPPED: a disk that promised more than it has: none can be made here ({why})"
                );
            }
        };
        run(async {
            let tier = Spill::open(&SpillConfig {
                keep_bytes: 0,
                ..config(&disk, SpillIo::Threads)
            })
            .unwrap();
            assert!(tier.is_direct());
            let mut places = Vec::new();
            let error = loop {
                match soon(tier.put(payload(places.len() as u64, 2 * MIB))).await {
                    Ok(place) => places.push(place),
                    Err(error) => break error,
                }
            };
            let text = error.to_string();
            // Older kernels call it an error of the device.
            assert!(
                matches!(
                    error,
                    TierError::Full { .. }
                        | TierError::Broken {
                            again: Again::Not,
                            ..
                        }
                ),
                "{text}"
            );
            assert!(text.contains(disk.to_str().unwrap()), "{text}");
            assert!(text.contains("that disk"), "{text}");
            assert!(!places.is_empty());
            // Such a device may have said that it had written what it had not.
            for (seed, place) in (0..).zip(&places) {
                match read(&tier, place, 0, 2 * MIB).await {
                    Ok(back) => assert!(back.bytes() == payload(seed, 2 * MIB).bytes()),
                    Err(TierError::Damaged { .. } | TierError::Broken { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            for place in places {
                soon(tier.release(place)).await.unwrap();
            }
            soon(tier.settled()).await;
            assert_eq!((tier.used().bytes, tier.used().held), (0, 0));
        });
    });
}

#[test]
fn space_that_cannot_be_had_leaves_nothing_half_set_aside() {
    on_both(async |io| {
        let folder = folder();
        let tier = Spill::open(&config(folder.path(), io)).unwrap();
        each(&tier, |faults| faults.fail_allocations(Errno::ENOSPC, 0));
        for bytes in [1, 5 * MIB] {
            let error = soon(tier.put(payload(1, bytes))).await.unwrap_err();
            assert!(matches!(error, TierError::Full { .. }), "{error}");
        }
        soon(tier.settled()).await;
        assert_eq!((tier.used().bytes, tier.used().held), (0, 0));
        // An error may come when some of it was set aside.
        assert_eq!(disk_bytes(&tier), 0);
        each(&tier, Faults::heal);
        let place = soon(tier.put(payload(1, 5 * MIB))).await.unwrap();
        assert!(
            read(&tier, &place, 0, 5 * MIB).await.unwrap().bytes() == payload(1, 5 * MIB).bytes()
        );
    });
}

/// Set in the child that has no descriptors left.
const CHILD: &str = "FAASSTORE_TEST_WITHOUT_DESCRIPTORS";

#[test]
fn without_descriptors_a_spill_is_refused_and_an_open_one_goes_on() {
    if std::env::var_os(CHILD).is_none() {
        let this = std::env::current_exe().unwrap();
        let name = "tier::spill::tests::faults::without_descriptors_a_spill_is_refused_and_an_open_one_goes_on";
        let child = std::process::Command::new(this)
            .args([name, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success() && said.contains("1 passed"),
            "{said}{}",
            String::from_utf8_lossy(&child.stderr)
        );
        return;
    }
    run(async {
        let (first, second) = (folder(), folder());
        let open = Spill::open(&config(first.path(), SpillIo::Threads)).unwrap();
        // A put and a get first: what they need besides, as buffers and threads, is there then.
        let place = soon(open.put(payload_at(1, 3 * MIB, 64))).await.unwrap();
        read(&open, &place, 1, 2 * MIB).await.unwrap();
        let (content, target) = (
            payload_at(2, 3 * MIB, 64),
            crate::tier::conformance::watched(3 * MIB, 64),
        );
        let limit = nix::sys::resource::Resource::RLIMIT_NOFILE;
        let (_, hard) = nix::sys::resource::getrlimit(limit).unwrap();
        nix::sys::resource::setrlimit(limit, 3, hard).unwrap();
        let error = Spill::open(&config(second.path(), SpillIo::Threads))
            .unwrap_err()
            .to_string();
        let place = soon(open.put(content.clone())).await.unwrap();
        soon(open.get(&place, 0, target.0)).await.unwrap();
        assert!(target.1.bytes() == content.bytes());
        soon(open.release(place)).await.unwrap();
        nix::sys::resource::setrlimit(limit, hard.min(1024), hard).unwrap();
        assert!(error.contains("Too many open files"), "{error}");
    });
}
