//! Redis by its own client: a plain connection, SET and GET of a payload as one string.

use super::{FloorError, histogram, private_memory, sum_bytes};
use crate::clock::now_ns;
use hdrhistogram::Histogram;
use memmap2::MmapMut;
use redis::{Connection, ConnectionInfo, RedisError};
use std::time::Duration;
use thiserror::Error;

/// The one key that is used, and is gone in the end.
const KEY: &str = "faasflow-bench/bare";
/// How long the server may take to connect.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longest string that a server takes unless it is told otherwise (`proto-max-bulk-len`).
const STRING_BYTES_MAX: usize = 512 << 20;

/// Why Redis cannot be measured.
#[derive(Debug, Error)]
pub enum RedisFloorError {
    /// The client says why.
    #[error(
        "the bare client of {url}: {error}; see whether the server runs, and what its log says"
    )]
    Client {
        /// Which server, without its password.
        url: String,
        /// Why.
        #[source]
        error: RedisError,
    },
    /// More than one string of Redis.
    #[error("{0} bytes are more than one string of Redis takes ({STRING_BYTES_MAX})")]
    TooLong(usize),
    /// It gave something else.
    #[error("the server at {0} gave other bytes than were set; does somebody else write to it?")]
    Changed(String),
    /// There is not as much memory.
    #[error(transparent)]
    Memory(#[from] FloorError),
}

/// A plain connection, and what it has taken so far.
pub struct BareRedis {
    connection: Connection,
    shown: String,
    content: MmapMut,
    rounds: u64,
    /// SET.
    pub set: Histogram<u64>,
    /// GET, into memory of the client's own.
    pub got: Histogram<u64>,
    /// Both, and summing what came.
    pub whole: Histogram<u64>,
}

impl BareRedis {
    /// Connects to a server, which errors call `shown`, with a payload of `bytes` bytes.
    ///
    /// # Errors
    /// If there is no such server, or no such payload.
    pub fn open(
        server: ConnectionInfo,
        shown: &str,
        bytes: usize,
    ) -> Result<Self, RedisFloorError> {
        if bytes > STRING_BYTES_MAX {
            return Err(RedisFloorError::TooLong(bytes));
        }
        let client = redis::Client::open(server);
        let connection = client.and_then(|client| client.get_connection_with_timeout(CONNECT_MAX));
        Ok(Self {
            connection: connection.map_err(|error| failed(shown, error))?,
            shown: shown.to_owned(),
            content: private_memory(bytes)?,
            rounds: 0,
            set: histogram(),
            got: histogram(),
            whole: histogram(),
        })
    }

    /// Sets, gets, sums and removes once. The first time is not counted.
    ///
    /// # Errors
    /// If the server fails, or gives something else than was set.
    pub fn round(&mut self) -> Result<(), RedisFloorError> {
        self.rounds += 1;
        let fill = self.rounds as u8;
        self.content.fill(fill);
        let (mut set, mut get) = (redis::cmd("SET"), redis::cmd("GET"));
        let before_ns = now_ns();
        set.arg(KEY).arg(&self.content[..]);
        let done = set.query::<()>(&mut self.connection);
        let set_ns = now_ns();
        done.map_err(|error| failed(&self.shown, error))?;
        let got = get.arg(KEY).query::<Vec<u8>>(&mut self.connection);
        let got_ns = now_ns();
        let got = got.map_err(|error| failed(&self.shown, error))?;
        let sum = sum_bytes(&got);
        let summed_ns = now_ns();
        if sum != u64::from(fill) * self.content.len() as u64 {
            return Err(RedisFloorError::Changed(self.shown.clone()));
        }
        let gone = redis::cmd("UNLINK")
            .arg(KEY)
            .query::<()>(&mut self.connection);
        gone.map_err(|error| failed(&self.shown, error))?;
        if self.rounds > 1 {
            self.set.saturating_record((set_ns - before_ns).max(1));
            self.got.saturating_record((got_ns - set_ns).max(1));
            self.whole.saturating_record((summed_ns - before_ns).max(1));
        }
        Ok(())
    }
}

fn failed(shown: &str, error: RedisError) -> RedisFloorError {
    RedisFloorError::Client {
        url: shown.to_owned(),
        error,
    }
}
