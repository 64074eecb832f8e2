//! Taking requests back, from any thread: what is under way on a connection, and whose turn it is to write to it.
//!
//! Frames of two threads must not get into each other. So one thread writes at a time, frame by frame, and a cancel that
//! comes meanwhile is left to it: whoever cancels never waits for inputs that are being sent.

use super::ClientError;
use engine::wire::{Cancel, encode};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How long a worker may take nothing at all before a cancel is given up, and the connection with it.
const TAKES_NOTHING_MAX: Duration = Duration::from_secs(5);

/// Cancels requests of a [`Client`](super::Client) from any thread, as from one that waits for signals, while another
/// waits for their answers. It may be cloned, and does not keep the connection.
///
/// A request that is cancelled still has one answer: [`Failure::Cancelled`](engine::wire::Failure::Cancelled), or how it
/// ended if that was sooner. What has not started never starts then; a function that runs may go on for a second before
/// its executor is killed, so that its effects may or may not have happened.
///
/// ```no_run
/// use master::client::{Client, Invocation, Options};
///
/// let mut client = Client::connect("127.0.0.1:7001", &Options::default())?;
/// let canceller = client.canceller();
/// std::thread::spawn(move || {
///     std::thread::sleep(std::time::Duration::from_secs(10));
///     canceller.cancel_all()
/// });
/// let inputs = [];
/// let invocation = Invocation { workflow: "slow", inputs: &inputs, report: false, trace: false };
/// let answered = client.invoke(&invocation)?;
/// # Ok::<(), master::client::ClientError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Canceller(pub(super) Weak<Outlet>);

impl Canceller {
    /// Cancels the request of this number, as [`Client::start`](super::Client::start) gave it. Nothing happens if it has
    /// its answer, or there is none such.
    ///
    /// What is still to be sent of its inputs is sent all the same, and thrown away.
    ///
    /// # Errors
    /// If the connection is lost, or the worker takes nothing for five seconds; it is of no more use then.
    pub fn cancel(&self, request: u64) -> Result<(), ClientError> {
        let Some(outlet) = self.0.upgrade() else {
            return Ok(());
        };
        let state = outlet.state();
        let requests: Vec<u64> = state.under_way.get(&request).copied().into_iter().collect();
        outlet.cancel(state, &requests)
    }

    /// Cancels all that is under way, and has the client start nothing more: [`Client::start`](super::Client::start) fails
    /// with [`ClientError::Cancelled`] from now on.
    ///
    /// # Errors
    /// As [`Canceller::cancel`].
    pub fn cancel_all(&self) -> Result<(), ClientError> {
        let Some(outlet) = self.0.upgrade() else {
            return Ok(());
        };
        let mut state = outlet.state();
        state.closed = true;
        let requests: Vec<u64> = state.under_way.iter().copied().collect();
        outlet.cancel(state, &requests)
    }
}

/// The sending end of a client's connection.
#[derive(Debug)]
pub(super) struct Outlet {
    socket: Arc<TcpStream>,
    label: String,
    state: Mutex<State>,
    /// Told when nobody writes any more.
    free: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Requests whose answer has not come.
    under_way: BTreeSet<u64>,
    /// A thread is in the middle of a frame, or about to send what waits.
    writing: bool,
    /// Whole frames for whoever writes, to be sent behind its own.
    waiting: Vec<u8>,
    /// Nothing more may be started.
    closed: bool,
    /// The connection is of no more use.
    broken: bool,
}

impl Outlet {
    pub(super) fn new(socket: Arc<TcpStream>, label: &str) -> Self {
        Self {
            socket,
            label: label.to_owned(),
            state: Mutex::default(),
            free: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) -> MutexGuard<'_, State> {
        let free = self.free.wait_while(self.state(), |state| state.writing);
        free.unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is about to be sent, by the caller, who has the turn then.
    pub(super) fn begin(&self, request: u64) -> Result<(), ClientError> {
        let mut state = self.turn();
        if state.closed {
            return Err(ClientError::Cancelled);
        }
        state.under_way.insert(request);
        state.writing = true;
        Ok(())
    }

    /// Waits for the turn to write a frame.
    pub(super) fn take_turn(&self) {
        self.turn().writing = true;
    }

    /// A frame is sent whole: what is to be sent before the turn may go on, if there is anything.
    pub(super) fn end_turn(&self) -> Option<Vec<u8>> {
        let mut state = self.state();
        if !state.waiting.is_empty() {
            return Some(std::mem::take(&mut state.waiting));
        }
        state.writing = false;
        self.free.notify_all();
        None
    }

    /// Whoever has the turn could not send.
    pub(super) fn broke(&self) {
        let mut state = self.state();
        (state.broken, state.writing) = (true, false);
        self.free.notify_all();
    }

    /// Nothing more comes by the connection.
    pub(super) fn is_lost(&self) {
        self.state().broken = true;
    }

    /// The answer of a request is here; whether one was owed.
    pub(super) fn answered(&self, request: u64) -> bool {
        self.state().under_way.remove(&request)
    }

    /// Requests whose answer has not come.
    pub(super) fn outstanding(&self) -> usize {
        self.state().under_way.len()
    }

    fn cancel(
        &self,
        mut state: MutexGuard<'_, State>,
        requests: &[u64],
    ) -> Result<(), ClientError> {
        if requests.is_empty() {
            return Ok(());
        }
        if state.broken {
            return Err(self.lost(ErrorKind::NotConnected.into()));
        }
        for request in requests {
            encode(&Cancel { request: *request }, &mut state.waiting);
        }
        if state.writing {
            return Ok(());
        }
        state.writing = true;
        drop(state);
        while let Some(frames) = self.end_turn() {
            if let Err(error) = self.write(&frames) {
                // The rest of a frame may be missing, so that nothing else can follow.
                let _ = self.socket.shutdown(Shutdown::Both);
                self.broke();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Sends bytes without taking what comes meanwhile: that is another thread's.
    fn write(&self, mut bytes: &[u8]) -> Result<(), ClientError> {
        let timeout = PollTimeout::try_from(TAKES_NOTHING_MAX).unwrap_or(PollTimeout::MAX);
        while !bytes.is_empty() {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.socket.as_raw_fd(), bytes, flags) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
                    match poll(&mut fds, timeout) {
                        Ok(0) => {
                            return Err(ClientError::Silent {
                                worker: self.label.clone(),
                                waited: TAKES_NOTHING_MAX,
                            });
                        }
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(error) => return Err(self.lost(error.into())),
                    }
                }
                Err(error) => return Err(self.lost(error.into())),
            }
        }
        Ok(())
    }

    fn lost(&self, source: std::io::Error) -> ClientError {
        ClientError::Lost {
            worker: self.label.clone(),
            source,
        }
    }
}
