//! Redis by its own client: SET and GET of a payload as one string, over a connection that blocks its thread, and over one that
//! does not. The first is the floor; a worker has one thread for all that it stores, and so can only have the second.

use super::{FloorError, histogram, private_memory, sum_bytes};
use crate::clock::now_ns;
use hdrhistogram::Histogram;
use memmap2::MmapMut;
use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, Connection, ConnectionInfo, RedisError, RedisResult};
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

/// What one connection has taken so far.
#[derive(Debug)]
pub struct Times {
    /// SET.
    pub set: Histogram<u64>,
    /// GET, into memory of the client's own.
    pub got: Histogram<u64>,
    /// Both, and summing what came.
    pub whole: Histogram<u64>,
}

impl Times {
    fn new() -> Self {
        Self {
            set: histogram(),
            got: histogram(),
            whole: histogram(),
        }
    }

    fn record(&mut self, [begun_ns, set_ns, got_ns, summed_ns]: [u64; 4]) {
        self.set.saturating_record((set_ns - begun_ns).max(1));
        self.got.saturating_record((got_ns - set_ns).max(1));
        self.whole.saturating_record((summed_ns - begun_ns).max(1));
    }
}

/// Both connections, and a payload.
pub struct BareRedis {
    blocking: Connection,
    shared: MultiplexedConnection,
    shown: String,
    content: MmapMut,
    rounds: u64,
    /// Of the connection that blocks its thread.
    pub when_blocking: Times,
    /// Of the other one.
    pub when_shared: Times,
}

impl BareRedis {
    /// Connects to a server, which errors call `shown`, with a payload of `bytes` bytes; within a runtime of tokio.
    ///
    /// # Errors
    /// If there is no such server, or no such payload.
    pub async fn open(
        server: ConnectionInfo,
        shown: &str,
        bytes: usize,
    ) -> Result<Self, RedisFloorError> {
        if bytes > STRING_BYTES_MAX {
            return Err(RedisFloorError::TooLong(bytes));
        }
        let connect = async {
            let client = Client::open(server)?;
            // No deadlines, as for the connection that blocks.
            let config = redis::AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECT_MAX))
                .set_response_timeout(None);
            let shared = client.get_multiplexed_async_connection_with_config(&config);
            RedisResult::Ok((
                client.get_connection_with_timeout(CONNECT_MAX)?,
                shared.await?,
            ))
        };
        let (blocking, shared) = connect.await.map_err(|error| failed(shown, error))?;
        Ok(Self {
            blocking,
            shared,
            shown: shown.to_owned(),
            content: private_memory(bytes)?,
            rounds: 0,
            when_blocking: Times::new(),
            when_shared: Times::new(),
        })
    }

    /// Sets, gets, sums and removes once over each connection. The first time is not counted.
    ///
    /// # Errors
    /// If the server fails, or gives something else than was set.
    pub async fn round(&mut self) -> Result<(), RedisFloorError> {
        self.rounds += 1;
        self.content.fill(self.rounds as u8);
        let blocking = self.round_blocking();
        let blocking = blocking.map_err(|error| failed(&self.shown, error))?;
        let shared = self.round_shared().await;
        let shared = shared.map_err(|error| failed(&self.shown, error))?;
        let written = u64::from(self.rounds as u8) * self.content.len() as u64;
        for (times, (sum, at)) in [
            (&mut self.when_blocking, blocking),
            (&mut self.when_shared, shared),
        ] {
            if sum != written {
                return Err(RedisFloorError::Changed(self.shown.clone()));
            }
            if self.rounds > 1 {
                times.record(at);
            }
        }
        Ok(())
    }

    fn round_blocking(&mut self) -> RedisResult<(u64, [u64; 4])> {
        let begun_ns = now_ns();
        set(&self.content).query::<()>(&mut self.blocking)?;
        let set_ns = now_ns();
        let got = get().query::<Vec<u8>>(&mut self.blocking)?;
        let got_ns = now_ns();
        let sum = sum_bytes(&got);
        let summed_ns = now_ns();
        unlink().query::<()>(&mut self.blocking)?;
        Ok((sum, [begun_ns, set_ns, got_ns, summed_ns]))
    }

    async fn round_shared(&mut self) -> RedisResult<(u64, [u64; 4])> {
        let begun_ns = now_ns();
        set(&self.content)
            .query_async::<()>(&mut self.shared)
            .await?;
        let set_ns = now_ns();
        let got = get().query_async::<Vec<u8>>(&mut self.shared).await?;
        let got_ns = now_ns();
        let sum = sum_bytes(&got);
        let summed_ns = now_ns();
        unlink().query_async::<()>(&mut self.shared).await?;
        Ok((sum, [begun_ns, set_ns, got_ns, summed_ns]))
    }
}

fn set(content: &[u8]) -> Cmd {
    let mut set = redis::cmd("SET");
    set.arg(KEY).arg(content);
    set
}

fn get() -> Cmd {
    let mut get = redis::cmd("GET");
    get.arg(KEY);
    get
}

fn unlink() -> Cmd {
    let mut unlink = redis::cmd("UNLINK");
    unlink.arg(KEY);
    unlink
}

fn failed(shown: &str, error: RedisError) -> RedisFloorError {
    RedisFloorError::Client {
        url: shown.to_owned(),
        error,
    }
}
