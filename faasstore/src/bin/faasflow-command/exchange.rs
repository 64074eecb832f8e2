//! A program's streams, all at once: whichever can be written or read is, so that neither side waits for the other. And the
//! word that it is to stop.

use crate::sink::Sink;
use faasstore::{Context, Error};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::{ErrorKind, IoSlice, Read as _, Result as IoResult, Write as _};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ExitStatus};
use std::time::{Duration, Instant};

/// What of standard error is kept: its end, in bytes.
const TAIL_BYTES: usize = 2048;
/// What a pipe is asked to hold, in bytes: the most that an unprivileged process gets, see pipe(7).
const PIPE_BYTES: i32 = 1 << 20;
/// How long what a program has left behind may hold its streams open once it has ended.
const LINGER: Duration = Duration::from_secs(1);
/// Pieces of standard input that are written at once.
const PIECES_MAX: usize = 64;

/// How a program ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The end of its standard error.
    pub(crate) tail: String,
    /// Whether what it has started is to be ended: it holds the program's streams still, or was to stop with it.
    pub(crate) lingers: bool,
}

/// Feeds a program and takes what it says, until it has ended and its streams have. When its activation is to stop
/// `ask_to_end` is called, once; what it leaves behind then is not waited for.
pub(crate) fn exchange(
    child: &mut Child,
    stdin: Option<Vec<&[u8]>>,
    sink: &mut Sink<'_, '_>,
    context: &Context,
    ask_to_end: impl FnOnce(),
) -> Result<Ended, Error> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Error::new("the program has no process id"))?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let mut feed = child.stdin.take().map(|pipe| Feed {
        pipe,
        pieces: stdin.unwrap_or_default(),
        piece: 0,
        offset: 0,
    });
    let mut stdout = child.stdout.take();
    let mut stderr = child.stderr.take();
    if let Some(feed) = &feed {
        prepare(&feed.pipe)?;
    }
    if let Some(stdout) = &stdout {
        prepare(stdout)?;
    }
    if let Some(stderr) = &stderr {
        prepare(stderr)?;
    }
    let mut tail = Tail::default();
    let mut ended: Option<(ExitStatus, Instant)> = None;
    let mut told = Some(context.cancel_descriptor()?);
    let mut ask_to_end = Some(ask_to_end);
    loop {
        let timeout = match ended {
            Some((status, _)) if told.is_none() => return Ok(tail.ended(status, true)),
            Some((status, _)) if stdout.is_none() && stderr.is_none() => {
                return Ok(tail.ended(status, false));
            }
            Some((status, at)) => match LINGER.checked_sub(at.elapsed()) {
                Some(left) => PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO),
                None => return Ok(tail.ended(status, true)),
            },
            None => PollTimeout::NONE,
        };
        let ready = wait(
            [
                ended
                    .is_none()
                    .then(|| PollFd::new(process.as_fd(), PollFlags::POLLIN)),
                feed.as_ref()
                    .map(|feed| PollFd::new(feed.pipe.as_fd(), PollFlags::POLLOUT)),
                stdout
                    .as_ref()
                    .map(|stdout| PollFd::new(stdout.as_fd(), PollFlags::POLLIN)),
                stderr
                    .as_ref()
                    .map(|stderr| PollFd::new(stderr.as_fd(), PollFlags::POLLIN)),
                told.map(|told| PollFd::new(told, PollFlags::POLLIN)),
            ],
            timeout,
        )?;
        let [
            process_ready,
            feed_ready,
            stdout_ready,
            stderr_ready,
            told_ready,
        ] = ready;
        if let Some(pipe) = stdout.as_mut().filter(|_| stdout_ready)
            && !sink.take(pipe)?
        {
            stdout = None;
        }
        if let Some(pipe) = stderr.as_mut().filter(|_| stderr_ready)
            && !tail.take(pipe)?
        {
            stderr = None;
        }
        if let Some(pipe) = feed.as_mut().filter(|_| feed_ready)
            && !pipe.write()?
        {
            feed = None;
        }
        if told_ready && context.is_cancelled() {
            told = None;
            if let Some(ask_to_end) = ask_to_end.take() {
                ask_to_end();
            }
        } else if told_ready {
            // That was for an activation before this one.
            told = Some(context.cancel_descriptor()?);
        }
        if process_ready {
            ended = Some((child.wait()?, Instant::now()));
            feed = None;
        }
    }
}

/// Which of these have something to do.
fn wait<const N: usize>(
    descriptors: [Option<PollFd<'_>>; N],
    timeout: PollTimeout,
) -> Result<[bool; N], Error> {
    let is_there = descriptors.each_ref().map(Option::is_some);
    let mut polled: Vec<PollFd<'_>> = descriptors.into_iter().flatten().collect();
    match poll(&mut polled, timeout) {
        Ok(_) | Err(nix::Error::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut polled = polled.iter();
    Ok(is_there.map(|is_there| {
        let next = if is_there { polled.next() } else { None };
        next.is_some_and(|polled| polled.any().unwrap_or(false))
    }))
}

fn prepare(pipe: &impl AsFd) -> Result<(), Error> {
    fcntl(pipe.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    // Only speed is lost if the kernel refuses, as it does beyond a user's share.
    let _ = fcntl(pipe.as_fd(), FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
    Ok(())
}

/// What is left to write to standard input.
struct Feed<'a> {
    pipe: ChildStdin,
    pieces: Vec<&'a [u8]>,
    piece: usize,
    /// Bytes of that piece that are written.
    offset: usize,
}

impl Feed<'_> {
    /// Writes what the pipe takes; false once there is no more, or nobody reads it.
    fn write(&mut self) -> IoResult<bool> {
        while self.piece < self.pieces.len() {
            let rest = &self.pieces[self.piece..];
            let mut slices = [IoSlice::new(&[]); PIECES_MAX];
            let count = rest.len().min(PIECES_MAX);
            for (slice, piece) in slices.iter_mut().zip(rest) {
                *slice = IoSlice::new(piece);
            }
            slices[0] = IoSlice::new(&rest[0][self.offset..]);
            let written = match self.pipe.write_vectored(&slices[..count]) {
                Ok(written) => written,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::Interrupted => return Ok(true),
                    // A program need not read all of its input: `head` does not.
                    ErrorKind::BrokenPipe => return Ok(false),
                    _ => return Err(error),
                },
            };
            self.advance(written);
        }
        Ok(false)
    }

    fn advance(&mut self, written: usize) {
        self.offset += written;
        while let Some(piece) = self.pieces.get(self.piece)
            && self.offset >= piece.len()
        {
            self.offset -= piece.len();
            self.piece += 1;
        }
    }
}

/// The end of standard error.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    /// Whether there was more.
    cut: bool,
}

impl Tail {
    /// Takes what one read gives; false at the end.
    fn take(&mut self, stderr: &mut std::process::ChildStderr) -> IoResult<bool> {
        let mut buffer = [0; 4096];
        let read = match stderr.read(&mut buffer) {
            Ok(read) => read,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => return Ok(true),
                _ => return Err(error),
            },
        };
        self.bytes.extend_from_slice(&buffer[..read]);
        let more = self.bytes.len().saturating_sub(TAIL_BYTES);
        self.bytes.drain(..more);
        self.cut |= more > 0;
        Ok(read > 0)
    }

    fn ended(self, status: ExitStatus, lingers: bool) -> Ended {
        let text = String::from_utf8_lossy(&self.bytes);
        let cut = if self.cut { "…" } else { "" };
        let tail = format!("{cut}{}", text.trim());
        Ended {
            status,
            tail,
            lingers,
        }
    }
}
