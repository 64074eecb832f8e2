//! The control thread's input and output: one seam, with tokio-uring on one side of it and plain tokio on the other.
//!
//! It owns the runtime, the listener, connections and files as the control thread sees them, and knows frames but
//! not what is in them. It promises that every wait for a peer ends: with a deadline, or when the worker ends.
//!
//! A future of tokio-uring that is dropped does not cancel its operation: the kernel goes on reading into the buffer,
//! and a connection accepted after that is lost. So nothing here drops one. A deadline shuts the socket down, and the
//! operation then ends by itself; the listener is closed the same way. Outgoing connections and timers go through
//! tokio's own reactor in both variants: those may be dropped.

use crate::status::Driver;
use crate::wire::{FrameKind, HEADER_BYTES, Header, WireError};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio_uring::buf::BoundedBuf;

/// Entries of the probe's ring; what matters is that one can be made.
const PROBE_ENTRIES: u32 = 8;

/// Bytes that are still read from a connection that was refused, so many at a time.
const PARTING_BYTES_MAX: usize = 8 << 10;
const PARTING_READ_BYTES: usize = 256;

/// Whether io_uring may be used here for all that the control thread does. Nothing of tokio-uring has started then:
/// its runtime cannot be told to do without.
///
/// # Errors
/// Why not: a kernel or container that forbids it, or one too old.
pub fn probe() -> io::Result<()> {
    use io_uring::opcode;
    let ring = io_uring::IoUring::new(PROBE_ENTRIES)?;
    let mut operations = io_uring::Probe::new();
    ring.submitter().register_probe(&mut operations)?;
    let needed = [
        opcode::Accept::CODE,
        opcode::Read::CODE,
        opcode::Write::CODE,
        opcode::OpenAt::CODE,
        opcode::Fsync::CODE,
        opcode::RenameAt::CODE,
        opcode::Close::CODE,
    ];
    if let Some(missing) = needed
        .into_iter()
        .find(|operation| !operations.is_supported(*operation))
    {
        return Err(io::Error::other(format!(
            "this kernel's io_uring lacks operation {missing}"
        )));
    }
    // Connections leave tokio-uring by this call (see `Connection::into_descriptor`); a filter may forbid it alone.
    duplicate(ring.as_raw_fd()).map(drop)
}

/// A second descriptor for one of this process, from its bare number: tokio-uring gives out nothing better.
fn duplicate(descriptor: RawFd) -> io::Result<OwnedFd> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let this_process = pidfd_open(getpid(), PidfdFlags::empty())?;
    Ok(pidfd_getfd(
        this_process,
        descriptor,
        PidfdGetfdFlags::empty(),
    )?)
}

/// Runs a future, and what it spawns with [`tokio::task::spawn_local`], to its end on the calling thread.
///
/// # Errors
/// The kernel does not give what a runtime is built on.
pub fn run<F: Future>(driver: Driver, future: F) -> io::Result<F::Output> {
    match driver {
        Driver::IoUring => Ok(tokio_uring::Runtime::new(&tokio_uring::builder())?.block_on(future)),
        Driver::Epoll => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            Ok(tokio::task::LocalSet::new().block_on(&runtime, future))
        }
    }
}

/// Tells every connection that the worker ends.
#[derive(Debug)]
pub struct Ending(watch::Sender<bool>);

/// By which a connection hears that the worker ends.
pub type EndSignal = watch::Receiver<bool>;

impl Ending {
    /// Not yet.
    #[must_use]
    pub fn new() -> (Self, EndSignal) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), receiver)
    }

    /// Now. Every wait on a connection with its signal ends with [`FrameError::Ending`].
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

async fn ended(signal: &EndSignal) {
    let mut signal = signal.clone();
    // An error means that the sender is gone, and so is who would have told us: that is an end too.
    let _ = signal.wait_for(|ended| *ended).await;
}

/// Takes connections.
#[derive(Debug)]
pub struct Listener(ListenerKind);

enum ListenerKind {
    IoUring(tokio_uring::net::TcpListener),
    Epoll(tokio::net::TcpListener),
}

impl std::fmt::Debug for ListenerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::IoUring(_) => "IoUring",
            Self::Epoll(_) => "Epoll",
        })
    }
}

impl Listener {
    /// Takes over a listening socket; within [`run`] with the same driver.
    ///
    /// # Errors
    /// As setting its blocking mode.
    pub fn new(driver: Driver, socket: std::net::TcpListener) -> io::Result<Self> {
        // io_uring answers "try again" at once on a non-blocking descriptor, instead of waiting as it should.
        socket.set_nonblocking(driver == Driver::Epoll)?;
        Ok(Self(match driver {
            Driver::IoUring => {
                ListenerKind::IoUring(tokio_uring::net::TcpListener::from_std(socket))
            }
            Driver::Epoll => ListenerKind::Epoll(tokio::net::TcpListener::from_std(socket)?),
        }))
    }

    /// The next connection. Not to be dropped before it ends; see [`Listener::close`].
    ///
    /// # Errors
    /// As accept(2): mostly a lack of descriptors, and always after [`Listener::close`].
    pub async fn accept(&self, end: &EndSignal) -> io::Result<Connection> {
        let (stream, peer) = match &self.0 {
            ListenerKind::IoUring(listener) => {
                let (stream, peer) = listener.accept().await?;
                (Stream::IoUring(stream), peer)
            }
            ListenerKind::Epoll(listener) => {
                let (stream, peer) = listener.accept().await?;
                (Stream::Epoll(stream), peer)
            }
        };
        stream.set_nodelay()?;
        Ok(Connection {
            stream,
            peer,
            end: end.clone(),
        })
    }

    /// Lets go of the port, and ends a waiting [`Listener::accept`] with an error.
    pub fn close(&self) {
        let descriptor = match &self.0 {
            ListenerKind::IoUring(listener) => listener.as_raw_fd(),
            ListenerKind::Epoll(listener) => listener.as_raw_fd(),
        };
        shut_down(descriptor);
    }
}

/// Ends whatever waits on a socket. It may be down already, which is as good.
fn shut_down(descriptor: RawFd) {
    let _ = nix::sys::socket::shutdown(descriptor, nix::sys::socket::Shutdown::Both);
}

/// What went wrong with a frame.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The other side closed the connection between frames.
    #[error("the connection was closed")]
    Closed,
    /// The other side closed the connection within a frame.
    #[error("the connection was closed within a frame")]
    Truncated,
    /// Nothing, or not everything, came in time.
    #[error("nothing came within {0:?}")]
    Deadline(Duration),
    /// The worker ends.
    #[error("the worker ends")]
    Ending,
    /// Not a frame that may come here.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
}

/// A frame whose checksum was verified.
#[derive(Debug)]
pub struct ReadFrame {
    /// What the body is.
    pub kind: FrameKind,
    /// The body, without padding.
    pub body: Vec<u8>,
}

/// A TCP connection of the control thread. One task uses it.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    peer: SocketAddr,
    end: EndSignal,
}

enum Stream {
    IoUring(tokio_uring::net::TcpStream),
    Epoll(tokio::net::TcpStream),
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({})", self.as_raw_fd())
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::IoUring(stream) => stream.as_raw_fd(),
            Self::Epoll(stream) => stream.as_raw_fd(),
        }
    }
}

impl Stream {
    fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::IoUring(stream) => stream.set_nodelay(true),
            Self::Epoll(stream) => stream.set_nodelay(true),
        }
    }

    /// Reads until `buffer` is full or the other side has closed; returns it cut to what came.
    async fn read_full(&mut self, mut buffer: Vec<u8>) -> io::Result<Vec<u8>> {
        let wanted = buffer.len();
        let mut done = 0;
        while done < wanted {
            let read = match self {
                Self::IoUring(stream) => {
                    let (read, slice) = stream.read(buffer.slice(done..wanted)).await;
                    buffer = slice.into_inner();
                    read
                }
                Self::Epoll(stream) => stream.read(&mut buffer[done..]).await,
            };
            match read {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(done);
        Ok(buffer)
    }

    async fn write_all(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Self::IoUring(stream) => stream.write_all(bytes).await.0,
            Self::Epoll(stream) => stream.write_all(&bytes).await,
        }
    }
}

impl Connection {
    /// Connects to `address` (`host:port`); within [`run`] with the same driver.
    ///
    /// # Errors
    /// The name has no address, no one listens there, or no one answered in time.
    pub async fn connect(
        driver: Driver,
        address: &str,
        deadline: Duration,
        end: &EndSignal,
    ) -> Result<Self, FrameError> {
        let connecting = tokio::net::TcpStream::connect(address);
        let stream = tokio::time::timeout(deadline, connecting)
            .await
            .map_err(|_| FrameError::Deadline(deadline))??;
        let peer = stream.peer_addr()?;
        let stream = match driver {
            Driver::Epoll => Stream::Epoll(stream),
            Driver::IoUring => {
                let stream = stream.into_std()?;
                stream.set_nonblocking(false)?;
                Stream::IoUring(tokio_uring::net::TcpStream::from_std(stream))
            }
        };
        stream.set_nodelay()?;
        Ok(Self {
            stream,
            peer,
            end: end.clone(),
        })
    }

    /// Where the other side is.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Reads one frame with a body of up to `limit` bytes. Not a byte after it is read.
    ///
    /// # Errors
    /// A [`FrameError`]; but for [`FrameError::Closed`] the connection is of no further use.
    pub async fn read_frame(
        &mut self,
        limit: usize,
        deadline: Duration,
    ) -> Result<ReadFrame, FrameError> {
        self.bounded(deadline, async |stream| {
            let header = stream.read_full(vec![0; HEADER_BYTES]).await?;
            let Ok(bytes) = <&[u8; HEADER_BYTES]>::try_from(header.as_slice()) else {
                return Err(if header.is_empty() {
                    FrameError::Closed
                } else {
                    FrameError::Truncated
                });
            };
            let header = Header::parse(bytes, limit)?;
            // The length was checked against what this connection may send before memory is set aside.
            let mut body = stream.read_full(vec![0; header.padded_length()]).await?;
            if body.len() < header.padded_length() {
                return Err(FrameError::Truncated);
            }
            body.truncate(header.length);
            header.verify_body(&body)?;
            Ok(ReadFrame {
                kind: header.kind,
                body,
            })
        })
        .await
    }

    /// Writes frames as [`crate::wire::encode`] made them.
    ///
    /// # Errors
    /// A [`FrameError`]; the connection is then of no further use.
    pub async fn write(&mut self, frames: Vec<u8>, deadline: Duration) -> Result<(), FrameError> {
        self.bounded(deadline, async move |stream| {
            Ok(stream.write_all(frames).await?)
        })
        .await
    }

    /// Does `work` on the stream until it ends; after the deadline, or when the worker ends, the socket is shut down
    /// and the work with it.
    async fn bounded<T>(
        &mut self,
        deadline: Duration,
        work: impl AsyncFnOnce(&mut Stream) -> Result<T, FrameError>,
    ) -> Result<T, FrameError> {
        let descriptor = self.stream.as_raw_fd();
        let mut work = pin!(work(&mut self.stream));
        let mut expired = pin!(tokio::time::sleep(deadline));
        let mut ended = pin!(ended(&self.end));
        let outcome = poll_fn(|context| {
            if let Poll::Ready(result) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(result));
            }
            if expired.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(FrameError::Deadline(deadline)));
            }
            ended
                .as_mut()
                .poll(context)
                .map(|()| Err(FrameError::Ending))
        })
        .await;
        match outcome {
            Ok(result) => result,
            Err(cut_short) => {
                shut_down(descriptor);
                let _ = work.await;
                Err(cut_short)
            }
        }
    }

    /// Says that nothing more will be sent, and reads what is still under way, so that what was sent last arrives:
    /// a socket closed on unread bytes takes its own last words back.
    pub async fn part(mut self, deadline: Duration) {
        let _ =
            nix::sys::socket::shutdown(self.stream.as_raw_fd(), nix::sys::socket::Shutdown::Write);
        let unread = self.bounded(deadline, async |stream| {
            for _ in 0..PARTING_BYTES_MAX / PARTING_READ_BYTES {
                let read = stream.read_full(vec![0; PARTING_READ_BYTES]).await?;
                if read.len() < PARTING_READ_BYTES {
                    break;
                }
            }
            Ok(())
        });
        let _ = unread.await;
    }

    /// The connection's descriptor, for a lane: blocking from io_uring, non-blocking from epoll, each as its driver
    /// there needs it.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn into_descriptor(self) -> io::Result<OwnedFd> {
        match self.stream {
            Stream::IoUring(stream) => duplicate(stream.as_raw_fd()),
            Stream::Epoll(stream) => Ok(stream.into_std()?.into()),
        }
    }
}

/// Writes a file so that after a crash at any moment it holds either what it held or `bytes`; within [`run`] with the
/// same driver.
///
/// # Errors
/// As writing, syncing and renaming in the file's folder.
pub async fn write_atomically(driver: Driver, path: &Path, bytes: Vec<u8>) -> io::Result<()> {
    let new = path.with_extension("new");
    let folder = path
        .parent()
        .ok_or_else(|| io::Error::other("a file without a folder"))?;
    match driver {
        Driver::IoUring => {
            let file = tokio_uring::fs::File::create(&new).await?;
            file.write_all_at(bytes, 0).await.0?;
            file.sync_all().await?;
            file.close().await?;
            tokio_uring::fs::rename(&new, path).await?;
            // The rename itself lives in the folder.
            let folder = tokio_uring::fs::File::open(folder).await?;
            folder.sync_all().await?;
            folder.close().await
        }
        Driver::Epoll => {
            let mut file = std::fs::File::create(&new)?;
            io::Write::write_all(&mut file, &bytes)?;
            file.sync_all()?;
            std::fs::rename(&new, path)?;
            std::fs::File::open(folder)?.sync_all()
        }
    }
}

#[cfg(test)]
mod tests;
