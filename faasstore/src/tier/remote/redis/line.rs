//! The connection to a Redis server: one that all commands share, made when it is needed.

use super::super::super::RedisUrl;
use super::super::super::book::lock;
use super::super::super::error::Late;
use super::BATCH;
use super::eager::{Connection, Wait};
use futures_util::future::select_ok;
use redis::{
    AsyncConnectionConfig, RedisConnectionInfo, RedisError, RedisResult, RedisWrite, ToRedisArgs,
};
use std::io::Write;
use std::iter;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// The connection, while there is one.
pub(super) struct Line {
    /// A host and a port.
    address: (String, u16),
    login: RedisConnectionInfo,
    /// How long connecting may take.
    patience: Duration,
    current: Mutex<Option<Connection>>,
    connecting: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The login has the password.
        f.write_str("Line")
    }
}

impl Line {
    /// To a server that is not asked yet.
    pub(super) fn new(url: &RedisUrl, patience: Duration) -> Self {
        let mut login = RedisConnectionInfo::default().set_db(i64::from(url.database));
        if let Some(user) = &url.user {
            login = login.set_username(user);
        }
        if let Some(password) = &url.password {
            login = login.set_password(password);
        }
        Self {
            address: (url.host.clone(), url.port),
            login,
            patience,
            current: Mutex::new(None),
            connecting: tokio::sync::Mutex::new(()),
        }
    }

    pub(super) async fn connection(&self) -> RedisResult<Connection> {
        if let Some(connection) = lock(&self.current).clone() {
            return Ok(connection);
        }
        let _one_at_a_time = self.connecting.lock().await;
        let current = lock(&self.current).clone();
        if let Some(connection) = current {
            return Ok(connection);
        }
        let made = timeout(self.patience, self.connect()).await;
        let made = made.unwrap_or_else(|_| Err(late(self.patience)))?;
        *lock(&self.current) = Some(made.clone());
        Ok(made)
    }

    async fn connect(&self) -> RedisResult<Connection> {
        let (host, port) = &self.address;
        let addresses = lookup_host((host.as_str(), *port)).await?;
        let mut attempts = addresses.map(|address| Box::pin(TcpStream::connect(address)));
        let first = attempts.next().ok_or_else(|| {
            let nowhere = format!("{host} has no address");
            std::io::Error::new(std::io::ErrorKind::NotFound, nowhere)
        })?;
        // At once: one that does not answer holds up no other.
        let (stream, _) = select_ok(iter::once(first).chain(attempts)).await?;
        stream.set_nodelay(true)?;
        // Deadlines are those of operations.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        Connection::new(&self.login, stream, config).await
    }

    /// Whoever uses the connection still has it.
    pub(super) fn give_up(&self) {
        *lock(&self.current) = None;
    }
}

/// A value of two parts, without putting them together first.
pub(super) struct Piece<'a> {
    pub(super) content: &'a [u8],
    pub(super) sums: &'a [u8],
}

impl ToRedisArgs for Piece<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut writer = out.writer_for_next_arg();
        for part in [self.content, self.sums] {
            let written = writer.write_all(part);
            debug_assert!(written.is_ok(), "memory takes what it is given");
        }
    }
}

/// Removes keys; those that are not there do not matter.
pub(super) async fn unlink(line: &Line, keys: &[String]) -> RedisResult<()> {
    let mut connection = line.connection().await?;
    for keys in keys.chunks(BATCH) {
        let mut command = redis::cmd("UNLINK");
        command.arg(keys);
        connection
            .send(&command, Wait::Asleep)
            .await?
            .extract_error()?;
    }
    Ok(())
}

/// A command that was not answered in time.
pub(super) fn late(deadline: Duration) -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, Late::Done(deadline)).into()
}

/// What goes on, as a task of its own, when nobody waits for it any more. A task from the beginning would cost each command a trip
/// through the runtime's queue.
pub(super) struct GoesOn<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: Send> + Send + 'static> GoesOn<F> {
    pub(super) fn new(work: F) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for GoesOn<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(work) = &mut self.0 else {
            panic!("polled after its end");
        };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for GoesOn<F> {
    fn drop(&mut self) {
        // Without a runtime nothing can be sent any more.
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            drop(runtime.spawn(work));
        }
    }
}
