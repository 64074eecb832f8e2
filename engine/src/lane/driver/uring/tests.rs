//! What io_uring alone can do to a watch: end it with an error.

use super::{CANCEL, Completion, Uring, WATCH, Watch};
use io_uring::opcode;
use nix::fcntl::{OFlag, open};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::stat::Mode;
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

const TOKEN: u64 = 7;
/// For a driver that has lost something; far beyond what a slow machine takes.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long nothing is waited for.
const MOMENT: Duration = Duration::from_millis(20);

fn driver() -> Option<Uring> {
    Uring::new()
        .inspect_err(|error| println!("skipped: io_uring is not to be had here: {error}"))
        .ok()
}

/// Has the kernel end the watch with an error, as it may by itself; returns what was reported of that.
fn fail_watch(driver: &mut Uring) -> Vec<Completion> {
    let key = driver.tokens[&TOKEN];
    let cancel = opcode::AsyncCancel::new(key.pack(WATCH)).build();
    driver.backlog.push_back(cancel.user_data(key.pack(CANCEL)));
    let mut seen = Vec::new();
    let start = Instant::now();
    while driver
        .watches
        .get_mut(key)
        .is_some_and(|watched| watched.failures == 0)
    {
        driver.wait(Some(MOMENT), &mut seen);
        assert!(start.elapsed() < DEADLINE, "the watch did not end");
    }
    // Begun anew, with all that is under way.
    for _ in 0..3 {
        driver.poll(&mut seen);
    }
    seen
}

#[test]
fn a_doorbell_whose_watch_ended_with_an_error_is_heard_all_the_same() {
    let Some(mut driver) = driver() else { return };
    let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
    let copy = bell.as_fd().try_clone_to_owned().unwrap();
    driver.watch(copy, TOKEN, Watch::Doorbell).unwrap();
    driver.poll(&mut Vec::new());
    fail_watch(&mut driver);
    bell.write(1).unwrap();
    let (mut seen, start) = (Vec::new(), Instant::now());
    while seen.is_empty() {
        driver.wait(Some(DEADLINE), &mut seen);
        assert!(start.elapsed() < DEADLINE, "the ring was lost");
    }
    assert!(
        matches!(seen[..], [Completion::Watched { token: TOKEN }]),
        "{seen:?}"
    );
}

#[test]
fn an_error_of_a_watch_is_not_taken_for_the_exit_of_a_process() {
    let Some(mut driver) = driver() else { return };
    let own = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    driver.watch(own, TOKEN, Watch::Exit).unwrap();
    driver.poll(&mut Vec::new());
    let seen = fail_watch(&mut driver);
    assert!(seen.is_empty(), "{seen:?}");
    assert!(driver.tokens.contains_key(&TOKEN), "it is watched still");
}

#[test]
fn a_watch_that_the_kernel_refuses_for_ever_is_given_up_by_name() {
    let Some(mut driver) = driver() else { return };
    // A descriptor that stands for a place alone: nothing can be done with what is there.
    let place = open("/", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
    driver.watch(place, TOKEN, Watch::Doorbell).unwrap();
    let (mut seen, start) = (Vec::new(), Instant::now());
    while !seen
        .iter()
        .any(|seen| matches!(seen, Completion::Unwatched { token: TOKEN, .. }))
    {
        driver.wait(Some(MOMENT), &mut seen);
        assert!(
            start.elapsed() < DEADLINE,
            "it is refused in silence: {seen:?}"
        );
    }
    assert!(driver.tokens.is_empty() && driver.watches.len() == 0);
}
