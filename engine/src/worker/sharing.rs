//! Who may share memory with this worker: finding out that a peer is on the same host, and opening the Unix socket over which
//! lanes then pass segments. docs/protocol.md says what is proved by what.
//!
//! It owns the socket that peers on this host connect to, and promises that a stranger gets nothing from it, holds one of
//! `GREETINGS_MAX` places for `GREETING_TIME_MAX` at most, and learns nothing. Sharing is never needed: whatever
//! fails here leaves a link as it is, with the reason in `status`.

use crate::greeting::HostProofs;
use crate::lane::command::{Door, LaneCommand, LendingEnd, LinkNumber};
use crate::wire::HostToken;
use crate::worker::control::Control;
use faasstore::socket::{Received, Socket, SocketError, SocketMessage};
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::geteuid;
use rkyv::{Archive, Deserialize, Serialize};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};

/// Connections that may be greeting at one time; further ones wait in the kernel's backlog.
const GREETINGS_MAX: usize = 64;
/// How long either end waits for the other to greet.
const GREETING_TIME_MAX: Duration = Duration::from_secs(3);
/// Links that may wait for their socket; beyond it the oldest goes without.
const EXPECTED_MAX: usize = 1024;
/// Connections in the kernel's backlog.
const BACKLOG: i32 = 128;
/// Pause after a connection could not be accepted, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What a socket's path may have at most, so that the kernel takes it.
const PATH_BYTES_MAX: usize = 107;

/// With whom memory is shared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HostSharing {
    /// With nobody.
    Off,
    /// With workers of the same user in the same network namespace.
    Namespace,
    /// With workers of the same user that name the same folder, in whichever namespace.
    Folder(PathBuf),
}

/// Why memory is not shared on a link.
#[derive(Debug, Error)]
pub enum Unshared {
    /// This worker was told so.
    #[error("--no-host-sharing")]
    Off,
    /// Its socket could not be made.
    #[error("this worker has no socket for it: {0}")]
    NoSocket(String),
    /// The other worker has not named a socket.
    #[error(
        "the other worker is on another host, in another network namespace (see --host-sharing), of another user, or \
         shares with nobody"
    )]
    Apart,
    /// The socket is not to be reached.
    #[error("the other worker's socket {name} cannot be used: {source}")]
    Connect {
        /// Its name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// Somebody else is there.
    #[error("the socket of the other worker belongs to user {uid}, and this worker to {ours}")]
    User {
        /// Who is there.
        uid: u32,
        /// Who is here.
        ours: u32,
    },
    /// Its end could not be noticed.
    #[error("the other worker's process cannot be watched: {0}")]
    Process(io::Error),
    /// It did not greet.
    #[error("the other worker did not greet on its socket: {0}")]
    Greeting(#[from] SocketError),
    /// It did not prove that it is the one.
    #[error("whoever has the other worker's socket is not the other worker")]
    Impostor,
    /// It was so, and is over.
    #[error("{0}")]
    Ended(String),
}

/// Why a worker could not be told to share by a folder.
#[derive(Debug, Error)]
#[error("--host-sharing {}: {reason}", folder.display())]
pub struct FolderError {
    /// Which.
    pub folder: PathBuf,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// From whoever connects.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
struct HostHello {
    proof: [u8; 32],
}

/// From the worker whose socket it is.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
struct HostWelcome {
    proof: [u8; 32],
}

impl SocketMessage for HostHello {
    const KIND: u16 = 16;
    const NAME: &'static str = "host hello";
}

impl SocketMessage for HostWelcome {
    const KIND: u16 = 17;
    const NAME: &'static str = "host welcome";
}

/// A link that was greeted, and whose caller was told of the socket.
#[derive(Debug)]
struct Expected {
    proofs: HostProofs,
    worker: String,
    epoch: u32,
    from_lane: u8,
    to_lane: u8,
    /// Until when the caller may come.
    until: Instant,
    /// Says which connection it is, once its lane has it.
    linked: oneshot::Receiver<LinkNumber>,
}

/// Which link a caller may share memory on.
#[derive(Debug)]
pub(super) struct Caller<'a> {
    pub(super) worker: &'a str,
    pub(super) epoch: u32,
    pub(super) from_lane: u8,
    pub(super) to_lane: u8,
}

/// By what this worker shares memory.
#[derive(Debug)]
pub struct HostDoor {
    token: HostToken,
    folder: Option<PathBuf>,
    /// What peers are told.
    name: String,
    listener: OwnedFd,
    expected: RefCell<Vec<Expected>>,
}

impl Drop for HostDoor {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            // What is left if it fails is removed by the next start of this worker.
            let _ = std::fs::remove_file(folder.join(&self.name));
        }
    }
}

impl HostDoor {
    /// Makes the socket. `hash` is the worker's part of ids, and `epoch` its life.
    ///
    /// # Errors
    /// Why there is none: then nothing is shared.
    pub fn open(sharing: &HostSharing, hash: u32, epoch: u32) -> Result<Self, Unshared> {
        let failed = |error: io::Error| Unshared::NoSocket(error.to_string());
        let folder = match sharing {
            HostSharing::Off => return Err(Unshared::Off),
            HostSharing::Namespace => None,
            HostSharing::Folder(folder) => Some(folder.clone()),
        };
        let token = token_of(folder.as_deref()).map_err(failed)?;
        let name = match &folder {
            None => {
                let mut random = [0; 8];
                getrandom::fill(&mut random)
                    .map_err(|error| Unshared::NoSocket(error.to_string()))?;
                let random = u64::from_le_bytes(random);
                format!("faasflow-{hash:08x}-{epoch}-{random:016x}")
            }
            Some(folder) => {
                remove_earlier(folder, hash);
                format!("{hash:08x}-{epoch}.sock")
            }
        };
        let address = address_of(folder.as_deref(), &name).map_err(failed)?;
        let listener = new_socket().map_err(failed)?;
        bind(&listener, &address).map_err(|error| failed(error.into()))?;
        listen(&listener, BACKLOG).map_err(|error| failed(error.into()))?;
        Ok(Self {
            token,
            folder,
            name,
            listener,
            expected: RefCell::default(),
        })
    }

    /// What this worker has in common with others on its host.
    #[must_use]
    pub const fn token(&self) -> HostToken {
        self.token
    }

    /// The name of the socket, for a caller that has this token.
    pub(super) fn name_for(&self, token: Option<HostToken>) -> Option<&str> {
        (token == Some(self.token)).then_some(self.name.as_str())
    }

    /// The caller of a link was told of the socket. Returns by what to say that its lane has the link; if that is dropped, it goes
    /// without.
    pub(super) fn expect(
        &self,
        proofs: HostProofs,
        caller: &Caller<'_>,
    ) -> oneshot::Sender<LinkNumber> {
        let (linked, receiver) = oneshot::channel();
        let mut expected = self.expected.borrow_mut();
        let now = Instant::now();
        expected.retain(|link| link.until > now);
        if expected.len() >= EXPECTED_MAX {
            expected.remove(0);
        }
        expected.push(Expected {
            proofs,
            worker: caller.worker.to_owned(),
            epoch: caller.epoch,
            from_lane: caller.from_lane,
            to_lane: caller.to_lane,
            until: now + GREETING_TIME_MAX,
            linked: receiver,
        });
        linked
    }

    /// The link that this proof is of. It is of no use a second time.
    fn take_expected(&self, proof: &[u8; 32]) -> Option<Expected> {
        let mut expected = self.expected.borrow_mut();
        let of_proof = |link: &Expected| HostProofs::agree(&link.proofs.hello, proof);
        let place = expected.iter().position(of_proof)?;
        Some(expected.swap_remove(place))
    }

    /// Connects to a peer's socket, and proves that it is for the link with these proofs.
    pub(super) async fn connect(
        &self,
        name: &str,
        proofs: &HostProofs,
    ) -> Result<LendingEnd, Unshared> {
        let failed = |source: io::Error| Unshared::Connect {
            name: name.to_owned(),
            source,
        };
        let socket = new_socket().map_err(failed)?;
        let address = address_of(self.folder.as_deref(), name).map_err(failed)?;
        connect(&socket, &address).map_err(|error| failed(error.into()))?;
        let (pid, uid) = who_is(&socket).map_err(failed)?;
        let ours = geteuid().as_raw();
        if uid != ours {
            return Err(Unshared::User { uid, ours });
        }
        // Before it is heard of: a process that greets after this is the one with this number.
        let pid = Pid::from_raw(pid).ok_or_else(|| {
            Unshared::Process(io::Error::other("it is in another process namespace"))
        })?;
        let borrower = pidfd_open(pid, PidfdFlags::empty())
            .map_err(|error| Unshared::Process(error.into()))?;
        let greeting = Greeting::new(socket).map_err(failed)?;
        let hello = HostHello {
            proof: proofs.hello,
        };
        greeting.socket.send(&hello, &[], Duration::ZERO)?;
        let welcome: HostWelcome = greeting.hear().await?;
        if !HostProofs::agree(&proofs.welcome, &welcome.proof) {
            return Err(Unshared::Impostor);
        }
        Ok(LendingEnd {
            socket: greeting.socket,
            borrower,
        })
    }
}

/// A socket on which one message is waited for.
struct Greeting {
    /// The same, as the runtime waits for it. That it keeps messages apart is nothing that it need know.
    waits: UnixStream,
    socket: Socket,
}

impl Greeting {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        let waits = std::os::unix::net::UnixStream::from(socket.as_fd().try_clone_to_owned()?);
        Ok(Self {
            waits: UnixStream::from_std(waits)?,
            socket: Socket::from_fd(socket).map_err(io::Error::other)?,
        })
    }

    /// The next message, within [`GREETING_TIME_MAX`].
    async fn hear<M: SocketMessage>(&self) -> Result<M, SocketError> {
        let heard = tokio::time::timeout(GREETING_TIME_MAX, self.next()).await;
        heard.unwrap_or(Err(SocketError::Timeout {
            what: "waiting for a message",
            milliseconds: GREETING_TIME_MAX.as_millis(),
        }))
    }

    async fn next<M: SocketMessage>(&self) -> Result<M, SocketError> {
        let failed = |source| SocketError::System {
            what: "waiting for a message",
            source,
        };
        loop {
            self.waits.readable().await.map_err(failed)?;
            let received = self.waits.try_io(Interest::READABLE, || {
                let received = self.socket.try_receive::<M>().transpose();
                received.ok_or_else(|| io::ErrorKind::WouldBlock.into())
            });
            match received {
                Ok(received) => return received.map(|Received { message, .. }| message),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

impl Control {
    /// Greets peers on this host, until it is dropped.
    pub(super) async fn share_with_hosts(self: Rc<Self>) {
        let Some(door) = self.host_door.clone() else {
            return;
        };
        let listener = door.listener.as_fd().try_clone_to_owned();
        let listener = listener.and_then(|it| UnixListener::from_std(it.into()));
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => return tracing::warn!(%error, "memory is shared with nobody"),
        };
        let places = Arc::new(Semaphore::new(GREETINGS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let accepted = listener.accept().await;
            match accepted.and_then(|(stream, _)| stream.into_std()) {
                Ok(socket) => {
                    let (control, door) = (Rc::clone(&self), Rc::clone(&door));
                    tokio::task::spawn_local(async move {
                        if control.greet_on_host(&door, socket.into()).await.is_none() {
                            control.counters.shares_refused.add(1);
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a worker on this host");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Hears who has connected to the socket, and gives it to its link's lane. None if it is closed without a word.
    async fn greet_on_host(&self, door: &HostDoor, socket: OwnedFd) -> Option<()> {
        let (_, uid) = who_is(&socket).ok()?;
        if uid != geteuid().as_raw() {
            return None;
        }
        let greeting = Greeting::new(socket).ok()?;
        let HostHello { proof } = greeting.hear().await.ok()?;
        let Expected {
            proofs,
            worker,
            epoch,
            from_lane,
            to_lane,
            linked,
            ..
        } = door.take_expected(&proof)?;
        let number = tokio::time::timeout(GREETING_TIME_MAX, linked).await;
        let number = number.ok()?.ok()?;
        let socket = greeting.socket;
        let ours = Socket::from_fd(socket.as_fd().try_clone_to_owned().ok()?).ok()?;
        let command = LaneCommand::ShareIn {
            door: Door {
                worker,
                epoch,
                lane: from_lane,
            },
            number,
            socket,
        };
        // Before the peer is told, so that nothing comes by the link of which the lane does not know how it was lent.
        self.lanes[usize::from(to_lane)].try_send(command).ok()?;
        let welcome = HostWelcome {
            proof: proofs.welcome,
        };
        ours.send(&welcome, &[], Duration::ZERO).ok()
    }
}

/// A hash of the kernel's boot id, of the network namespace or the folder, and of the user.
fn token_of(folder: Option<&Path>) -> io::Result<HostToken> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let (kind, path) = match folder {
        None => ("namespace", Path::new("/proc/self/ns/net")),
        Some(folder) => ("folder", folder),
    };
    let place = std::fs::metadata(path)?;
    let (device, inode, uid) = (place.dev(), place.ino(), geteuid());
    let text = format!(
        "faasflow host 1\n{}\n{kind} {device} {inode}\n{uid}",
        boot.trim()
    );
    Ok(HostToken(Sha256::digest(text).into()))
}

/// Removes the socket files that earlier lives of this worker have left.
fn remove_earlier(folder: &Path, hash: u32) {
    let prefix = format!("{hash:08x}-");
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let of_ours = name.to_str().is_some_and(|name| {
            let epoch = name.strip_prefix(&prefix);
            let epoch = epoch.and_then(|name| name.strip_suffix(".sock"));
            epoch.is_some_and(|epoch| epoch.parse::<u32>().is_ok())
        });
        if of_ours {
            // What cannot be removed is in nobody's way: a later life has another name.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Whether a folder can hold the sockets of workers that share by it; as an absolute path.
pub(super) fn check_folder(given: &Path) -> Result<PathBuf, FolderError> {
    let wrong = |reason: String| FolderError {
        folder: given.to_owned(),
        reason,
    };
    let folder = std::fs::canonicalize(given).map_err(|error| {
        wrong(format!(
            "{error}; name a folder that all workers which are to share have in common"
        ))
    })?;
    let metadata = std::fs::metadata(&folder).map_err(|error| wrong(error.to_string()))?;
    if !metadata.is_dir() {
        return Err(wrong("it is no folder".to_owned()));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(wrong(format!(
            "others may write to it (mode {:03o}), and so replace sockets: run `chmod go-w`",
            metadata.mode() & 0o777
        )));
    }
    // `/xxxxxxxx-NNNNNNNN.sock`
    let bytes = folder.as_os_str().len() + 23;
    if bytes > PATH_BYTES_MAX {
        return Err(wrong(format!(
            "the path of a socket in it would have {bytes} bytes, and the kernel takes {PATH_BYTES_MAX}: take a shorter one"
        )));
    }
    Ok(folder)
}

fn address_of(folder: Option<&Path>, name: &str) -> io::Result<SocketAddrUnix> {
    Ok(match folder {
        None => SocketAddrUnix::new_abstract_name(name.as_bytes())?,
        Some(folder) => {
            // A name that leads elsewhere is none of a worker's.
            if name.contains('/') {
                return Err(io::Error::from(io::ErrorKind::InvalidInput));
            }
            SocketAddrUnix::new(folder.join(name))?
        }
    })
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

/// Process and user at the other end of a connection.
fn who_is(socket: &OwnedFd) -> io::Result<(i32, u32)> {
    let credentials = getsockopt(socket, sockopt::PeerCredentials)?;
    Ok((credentials.pid(), credentials.uid()))
}
