//! The greeting: how two parties prove to each other, at the start of a connection, that they hold one cluster key.
//!
//! ```text
//! worker                                        whoever connects
//!   | -- Challenge { nonce W, worker name } ------> |
//!   | <- Hello { role, nonce C, proof } ----------- |  proof = HMAC(key, "faasflow hello 1"   ‖ W ‖ C ‖ name ‖ role)
//!   | -- Welcome { proof, epoch } ----------------> |  proof = HMAC(key, "faasflow welcome 1" ‖ W ‖ C ‖ name ‖ epoch ‖ socket)
//! ```
//!
//! Both nonces are random and in both proofs, so neither can be replayed; each direction has a label of its own, so
//! none can be reflected; and every part of variable length stands behind its length, so that no two greetings have
//! the same bytes. HMAC is HMAC-SHA-256 and proofs are compared in constant time. Without a key the same proofs are
//! made with an empty one: they prove nothing, and a party with a key refuses a party without.
//!
//! Two workers of one host prove to each other with the same nonces that a Unix socket between them belongs to their
//! connection ([`HostProofs`]).
//!
//! This file does no I/O: blocking clients and the worker's control thread send these messages each in their way.
//! Encrypting what follows is left to TLS.

use crate::wire::{Challenge, Hello, HostToken, Role, Welcome};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Bytes that a cluster key file must hold at least.
pub const KEY_BYTES_MIN: usize = 16;
/// Bytes that a cluster key file may hold at most; more is taken for a wrong file.
pub const KEY_BYTES_MAX: usize = 4096;
/// Longest name of a worker, in bytes. Greetings have a small limit, which a name must fit.
pub const WORKER_NAME_BYTES_MAX: usize = 64;

const NONCE_BYTES: usize = 32;
const HELLO_LABEL: &[u8] = b"faasflow hello 1";
const WELCOME_LABEL: &[u8] = b"faasflow welcome 1";
const HOST_HELLO_LABEL: &[u8] = b"faasflow host hello 1";
const HOST_WELCOME_LABEL: &[u8] = b"faasflow host welcome 1";
/// Longest name of a worker's Unix socket, in bytes.
pub const SOCKET_NAME_BYTES_MAX: usize = 64;

/// Why a cluster key could not be loaded.
#[derive(Debug, Error)]
pub enum KeyError {
    /// Not to be read at all.
    #[error("cannot read the cluster key file {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder, device or the like.
    #[error("the cluster key file {path} is not a regular file")]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// Too little to be a secret.
    #[error(
        "the cluster key file {path} holds {bytes} bytes, but a key has at least {KEY_BYTES_MIN}: make one with \
         `head -c 32 /dev/urandom > {path}`"
    )]
    Short {
        /// Which file.
        path: PathBuf,
        /// What it holds.
        bytes: usize,
    },
    /// Too much to be meant.
    #[error(
        "the cluster key file {path} holds more than {KEY_BYTES_MAX} bytes: is it the right file?"
    )]
    Long {
        /// Which file.
        path: PathBuf,
    },
    /// No secret.
    #[error(
        "the cluster key file {path} may be read or written by others (mode {mode:03o}): run `chmod 600 {path}`, and \
         make a new key if others use this host"
    )]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// Why a party was not believed.
#[derive(Debug, Error)]
pub enum GreetingError {
    /// The caller does not hold the worker's key.
    #[error("the caller does not hold this worker's cluster key (see --cluster-key-file)")]
    Caller,
    /// The worker does not hold the caller's key.
    #[error(
        "worker {worker} does not hold the cluster key of this program (see --cluster-key-file)"
    )]
    Worker {
        /// As it calls itself.
        worker: String,
    },
    /// A name that no worker has.
    #[error("a worker's name has 1 to {WORKER_NAME_BYTES_MAX} bytes, not {bytes}")]
    Name {
        /// What came.
        bytes: usize,
    },
    /// No nonce could be drawn.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// The secret that all parties of a cluster share, or none.
///
/// Cloning shares it. It is never printed.
#[derive(Clone)]
pub struct ClusterKey(Option<Arc<[u8]>>);

impl std::fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_some() {
            "ClusterKey(set)"
        } else {
            "ClusterKey(none)"
        })
    }
}

impl ClusterKey {
    /// No key: whoever reaches the port is believed. For loopback alone.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// The key in a file: all its bytes, but for one newline at the end.
    ///
    /// # Errors
    /// A [`KeyError`] if the file cannot be read, holds too little or too much, or is open to others than its owner
    /// and group.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let read_error = |source| KeyError::Read {
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(read_error)?;
        let metadata = file.metadata().map_err(read_error)?;
        if !metadata.is_file() {
            return Err(KeyError::NotAFile {
                path: path.to_owned(),
            });
        }
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o007 != 0 {
            return Err(KeyError::Open {
                path: path.to_owned(),
                mode,
            });
        }
        let mut bytes = Vec::new();
        file.take(KEY_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(read_error)?;
        if bytes.len() > KEY_BYTES_MAX {
            return Err(KeyError::Long {
                path: path.to_owned(),
            });
        }
        // Editors and `echo` end a file with a newline; `printf` does not. Both hosts' files must mean one key.
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        if bytes.len() < KEY_BYTES_MIN {
            return Err(KeyError::Short {
                path: path.to_owned(),
                bytes: bytes.len(),
            });
        }
        Ok(Self(Some(bytes.into())))
    }

    /// A key of these bytes, for keys that do not come from a file.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(Some(bytes.into()))
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// HMAC-SHA-256 over `label` and `parts`, each behind its length.
    fn mac(&self, label: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
        let key = self.0.as_deref().unwrap_or(&[]);
        let mut mac = match Hmac::<Sha256>::new_from_slice(key) {
            Ok(mac) => mac,
            Err(error) => unreachable!("HMAC takes keys of any length, but: {error}"),
        };
        for part in std::iter::once(&label).chain(parts) {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac
    }

    fn hello_mac(
        &self,
        challenge: &Challenge,
        nonce: &[u8; NONCE_BYTES],
        role: &Role,
    ) -> Hmac<Sha256> {
        let worker = challenge.worker.as_bytes();
        self.mac(
            HELLO_LABEL,
            &[&challenge.nonce, nonce, worker, &role_bytes(role)],
        )
    }

    fn welcome_mac(
        &self,
        challenge: &Challenge,
        nonce: &[u8; NONCE_BYTES],
        epoch: u32,
        socket: Option<&str>,
    ) -> Hmac<Sha256> {
        let worker = challenge.worker.as_bytes();
        // A socket has a name, so an empty one is none.
        let socket = socket.unwrap_or_default().as_bytes();
        self.mac(
            WELCOME_LABEL,
            &[
                &challenge.nonce,
                nonce,
                worker,
                &epoch.to_le_bytes(),
                socket,
            ],
        )
    }

    fn host_proofs(
        &self,
        challenge: &Challenge,
        nonce: &[u8; NONCE_BYTES],
        role: &Role,
    ) -> HostProofs {
        let (worker, role) = (challenge.worker.as_bytes(), role_bytes(role));
        let proof = |label| finish(self.mac(label, &[&challenge.nonce, nonce, worker, &role]));
        HostProofs {
            hello: proof(HOST_HELLO_LABEL),
            welcome: proof(HOST_WELCOME_LABEL),
        }
    }
}

/// A role as its proof covers it: a tag, and each field in order, strings behind their length. Not the archive: that
/// one's padding and pointers are no part of what is meant.
fn role_bytes(role: &Role) -> Vec<u8> {
    match role {
        Role::Control => vec![1],
        Role::Client => vec![2],
        Role::Peer {
            worker,
            epoch,
            from_lane,
            to_lane,
            next_sequence,
            bulk,
            host,
        } => {
            let mut bytes = vec![3];
            bytes.extend_from_slice(&(worker.len() as u64).to_le_bytes());
            bytes.extend_from_slice(worker.as_bytes());
            bytes.extend_from_slice(&epoch.to_le_bytes());
            bytes.extend_from_slice(&[*from_lane, *to_lane]);
            bytes.extend_from_slice(&next_sequence.to_le_bytes());
            bytes.extend_from_slice(&bulk.to_le_bytes());
            let host = host.map_or([0; 32], |HostToken(token)| token);
            bytes.extend_from_slice(&host);
            bytes
        }
        Role::Bulk {
            worker,
            epoch,
            from_lane,
            to_lane,
            bulk,
        } => {
            let mut bytes = vec![5];
            bytes.extend_from_slice(&(worker.len() as u64).to_le_bytes());
            bytes.extend_from_slice(worker.as_bytes());
            bytes.extend_from_slice(&epoch.to_le_bytes());
            bytes.extend_from_slice(&[*from_lane, *to_lane]);
            bytes.extend_from_slice(&bulk.to_le_bytes());
            bytes
        }
        Role::Measurer { worker } => {
            let mut bytes = vec![4];
            bytes.extend_from_slice(&(worker.len() as u64).to_le_bytes());
            bytes.extend_from_slice(worker.as_bytes());
            bytes
        }
    }
}

fn nonce() -> Result<[u8; NONCE_BYTES], GreetingError> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(GreetingError::Random)?;
    Ok(nonce)
}

fn finish(mac: Hmac<Sha256>) -> [u8; 32] {
    mac.finalize().into_bytes().into()
}

/// A worker's first word to whoever connects; to be used for one connection.
///
/// # Errors
/// [`GreetingError::Random`] if the system gives no random bytes.
pub fn challenge(worker: &str) -> Result<Challenge, GreetingError> {
    Ok(Challenge {
        nonce: nonce()?,
        worker: worker.to_owned(),
    })
}

/// By what both ends of a Unix socket between two workers of one host show that it belongs to a connection that was
/// greeted: only who has said that greeting and holds the key can make them.
#[derive(Clone, PartialEq, Eq)]
pub struct HostProofs {
    /// From whoever connects.
    pub hello: [u8; 32],
    /// From the worker.
    pub welcome: [u8; 32],
}

impl std::fmt::Debug for HostProofs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HostProofs")
    }
}

impl HostProofs {
    /// Those of a connection whose caller has been admitted with this [`Hello`].
    #[must_use]
    pub fn of_caller(key: &ClusterKey, challenge: &Challenge, hello: &Hello) -> Self {
        key.host_proofs(challenge, &hello.nonce, &hello.role)
    }

    /// Whether `proof` is the same as `expected`, in a time that says nothing of where they differ.
    #[must_use]
    pub fn agree(expected: &[u8; 32], proof: &[u8; 32]) -> bool {
        let differs = expected
            .iter()
            .zip(proof)
            .fold(0, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(differs) == 0
    }
}

/// What a caller that has answered a challenge expects of the worker.
#[must_use = "until it is checked, the worker may be anyone"]
pub struct Expectation {
    key: ClusterKey,
    challenge: Challenge,
    nonce: [u8; NONCE_BYTES],
    role: Role,
}

impl std::fmt::Debug for Expectation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expectation")
            .field("worker", &self.challenge.worker)
            .finish_non_exhaustive()
    }
}

impl Expectation {
    /// The worker's name, as it calls itself; believed once [`Expectation::check`] has passed.
    #[must_use]
    pub fn worker(&self) -> &str {
        &self.challenge.worker
    }

    /// Whether the worker has proved that it holds the key.
    ///
    /// # Errors
    /// [`GreetingError::Worker`] if it has not.
    pub fn check(&self, welcome: &Welcome) -> Result<(), GreetingError> {
        let socket = welcome.socket.as_deref();
        self.key
            .welcome_mac(&self.challenge, &self.nonce, welcome.epoch, socket)
            .verify_slice(&welcome.proof)
            .map_err(|_| GreetingError::Worker {
                worker: self.challenge.worker.clone(),
            })
    }

    /// By what a Unix socket to the same worker is bound to this connection.
    #[must_use]
    pub fn host_proofs(&self) -> HostProofs {
        self.key
            .host_proofs(&self.challenge, &self.nonce, &self.role)
    }
}

/// A caller's answer to a worker's challenge, and what the worker must prove in turn.
///
/// # Errors
/// [`GreetingError::Name`] if the challenge holds what can be no worker's name, [`GreetingError::Random`] if the
/// system gives no random bytes.
pub fn answer(
    key: &ClusterKey,
    challenge: &Challenge,
    role: Role,
) -> Result<(Hello, Expectation), GreetingError> {
    check_name(&challenge.worker)?;
    let nonce = nonce()?;
    let proof = finish(key.hello_mac(challenge, &nonce, &role));
    let expectation = Expectation {
        key: key.clone(),
        challenge: challenge.clone(),
        nonce,
        role: role.clone(),
    };
    Ok((Hello { role, nonce, proof }, expectation))
}

/// Whether the caller has proved that it holds the key; if so, the worker's own proof to send back. `challenge` is
/// the one that was sent on this connection, `epoch` the worker's restart epoch, `socket` the name of the Unix socket that
/// this caller is told of, if it is.
///
/// # Errors
/// [`GreetingError::Caller`] if it has not, [`GreetingError::Name`] if a worker calls itself what none is called.
pub fn admit(
    key: &ClusterKey,
    challenge: &Challenge,
    hello: &Hello,
    epoch: u32,
    socket: Option<&str>,
) -> Result<Welcome, GreetingError> {
    key.hello_mac(challenge, &hello.nonce, &hello.role)
        .verify_slice(&hello.proof)
        .map_err(|_| GreetingError::Caller)?;
    if let Role::Peer { worker, .. } | Role::Bulk { worker, .. } | Role::Measurer { worker } =
        &hello.role
    {
        check_name(worker)?;
    }
    let proof = finish(key.welcome_mac(challenge, &hello.nonce, epoch, socket));
    Ok(Welcome {
        proof,
        epoch,
        socket: socket.map(str::to_owned),
    })
}

fn check_name(worker: &str) -> Result<(), GreetingError> {
    if (1..=WORKER_NAME_BYTES_MAX).contains(&worker.len()) {
        return Ok(());
    }
    Err(GreetingError::Name {
        bytes: worker.len(),
    })
}

#[cfg(test)]
mod tests;
