//! Commands whose answer is looked for until it has come.
//!
//! To sleep until a server next door answers, and to be woken, takes about as long as it takes to answer. So whoever has sent a command
//! lets others send theirs, and if nobody has, does what the connection's task would do, and looks for the answer for a short time. If
//! none has come by then, that task goes on as ever. Where answers take longer, it is tried again now and then only.

use super::super::super::book::lock;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, RedisResult, Value};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionread;
use rustix::net::{RecvFlags, recv};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, unconstrained};

/// How long an answer is looked for: longer than a server next door takes for 64 KiB.
const LOOKS: Duration = Duration::from_micros(100);
/// So many commands are not looked for after one whose answer did not come in that time, and four times as many after the next one, up
/// to the most: then it costs each less than half a microsecond.
const RESTS_MIN: u32 = 4;
const RESTS_MAX: u32 = 256;
/// As many as no connection sends.
const NEVER: u32 = u32::MAX;

/// Pauses of the processor between two looks: half a microsecond or less.
const PAUSES: u32 = 8;
/// Bytes of a buffer that are made ready for what comes without asking how much that is.
const UNASKED_BYTES: usize = 4 << 10;

/// How the answer to a command is awaited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wait {
    /// Looked for at first, as long as no other command is under way: whoever waits so does nothing else.
    Looking,
    /// As answers are that may take a while.
    Asleep,
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection that all commands share, made of a stream and a login.
#[derive(Clone)]
pub(super) struct Connection {
    commands: MultiplexedConnection,
    driver: Arc<Driver>,
    _task: Arc<Task>,
}

/// The task of a connection, which ends with who uses it.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    pub(super) async fn new(
        login: &RedisConnectionInfo,
        stream: TcpStream,
        config: AsyncConnectionConfig,
    ) -> RedisResult<Self> {
        let looks = Arc::new(AtomicBool::new(false));
        let stream = Eager {
            stream,
            looks: Arc::clone(&looks),
        };
        let (commands, work) =
            MultiplexedConnection::new_with_config(login, stream, config).await?;
        let driver = Arc::new(Driver::new(work, looks));
        let task = tokio::spawn({
            let driver = Arc::clone(&driver);
            poll_fn(move |context| driver.poll(context))
        });
        Ok(Self {
            commands,
            driver,
            _task: Arc::new(Task(task)),
        })
    }

    /// Sends a command and waits for its answer.
    pub(super) async fn send(&mut self, command: &Cmd, wait: Wait) -> RedisResult<Value> {
        let sent = self.commands.send_packed_command(command);
        // What is there is to be had, however much its task has been given already.
        unconstrained(self.driver.send(sent, wait)).await
    }

    /// Sends several commands and waits for their answers, which are as many.
    pub(super) async fn send_all(&mut self, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        let sent = self
            .commands
            .send_packed_commands(commands, 0, commands.len());
        unconstrained(self.driver.send(sent, Wait::Asleep)).await
    }
}

/// What moves a connection's bytes: a task, and in between whoever looks for an answer.
struct Driver {
    /// None once the connection has ended.
    work: Mutex<Option<Work>>,
    /// The task's: whoever drives the connection has it woken, and not himself.
    waker: OnceLock<Waker>,
    looks: Arc<AtomicBool>,
    /// Commands that wait for an answer.
    under_way: AtomicU32,
    /// Commands that are not to be looked for yet, and how many they were to be when that began.
    rests: AtomicU32,
    rests_before: AtomicU32,
}

/// Lets everybody go on who can.
async fn others_first() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        // Not as one who yields to the reactor, which is asked only when nobody can go on.
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A command that waits for an answer.
struct UnderWay<'a>(&'a AtomicU32);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Driver {
    fn new(work: impl Future<Output = ()> + Send + 'static, looks: Arc<AtomicBool>) -> Self {
        // On a machine of one CPU nobody answers while somebody looks.
        let one_cpu = std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() == 1);
        Self {
            work: Mutex::new(Some(Box::pin(work))),
            waker: OnceLock::new(),
            looks,
            under_way: AtomicU32::new(0),
            rests: AtomicU32::new(if one_cpu { NEVER } else { 0 }),
            rests_before: AtomicU32::new(0),
        }
    }

    /// What the task does.
    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let waker = self.waker.get_or_init(|| context.waker().clone());
        debug_assert!(waker.will_wake(context.waker()), "a task has one waker");
        self.go_on(context)
    }

    fn go_on(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut work = lock(&self.work);
        if let Some(work) = work.as_mut() {
            ready!(work.as_mut().poll(context));
        }
        *work = None;
        Poll::Ready(())
    }

    /// Waits for the answer to what is sent over this driver's connection.
    async fn send<T>(&self, sent: impl Future<Output = T>, wait: Wait) -> T {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let _under_way = UnderWay(&self.under_way);
        let mut sent = pin!(sent);
        let Some(waker) = self.waker.get() else {
            return sent.await;
        };
        // At once, and not when the task comes to it.
        let polled = poll_fn(|context| {
            let polled = sent.as_mut().poll(context);
            if polled.is_pending() {
                let _ = self.go_on_for(waker);
            }
            Poll::Ready(polled)
        });
        if let Poll::Ready(answer) = polled.await {
            return answer;
        }
        let looks = matches!(wait, Wait::Looking) && self.is_alone() && !self.rests();
        if looks {
            others_first().await;
            if self.is_alone() {
                let polled =
                    poll_fn(|context| Poll::Ready(self.look(sent.as_mut(), context, waker)));
                if let Poll::Ready(answer) = polled.await {
                    return answer;
                }
            }
        }
        sent.await
    }

    fn is_alone(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 1
    }

    /// Does what the task would do.
    fn go_on_for(&self, task: &Waker) -> Poll<()> {
        let ended = self.go_on(&mut Context::from_waker(task));
        if ended.is_ready() {
            // The task ends as well.
            task.wake_by_ref();
        }
        ended
    }

    /// Drives the connection until the answer to what was sent has come or the time is up.
    fn look<T>(
        &self,
        mut sent: Pin<&mut impl Future<Output = T>>,
        context: &mut Context<'_>,
        task: &Waker,
    ) -> Poll<T> {
        let begun = Instant::now();
        self.looks.store(true, Ordering::Relaxed);
        let answer = loop {
            let ended = self.go_on_for(task);
            let answer = sent.as_mut().poll(context);
            if answer.is_ready() || ended.is_ready() || begun.elapsed() >= LOOKS {
                break answer;
            }
            // Whoever answers may have the other half of this core.
            (0..PAUSES).for_each(|_| std::hint::spin_loop());
        };
        self.looks.store(false, Ordering::Relaxed);
        let rests = match answer {
            Poll::Ready(_) => 0,
            Poll::Pending => {
                let before = self.rests_before.load(Ordering::Relaxed);
                (before * 4).clamp(RESTS_MIN, RESTS_MAX)
            }
        };
        self.rests_before.store(rests, Ordering::Relaxed);
        self.rests.store(rests, Ordering::Relaxed);
        answer
    }

    /// Whether this command is not to be looked for.
    fn rests(&self) -> bool {
        let rests = self.rests.load(Ordering::Relaxed);
        if rests != 0 && rests != NEVER {
            self.rests.store(rests - 1, Ordering::Relaxed);
        }
        rests != 0
    }
}

/// A socket that is looked at itself while `looks`, and else when the kernel says so.
struct Eager {
    stream: TcpStream,
    looks: Arc<AtomicBool>,
}

impl AsyncRead for Eager {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.looks.load(Ordering::Relaxed) {
            // To ask how much there is takes the lock that what comes needs as well; to ask whether there is any does not.
            let mut asked = [PollFd::new(&self.stream, PollFlags::IN)];
            // An end and a failure are left to whom the kernel tells of them.
            if matches!(poll(&mut asked, Some(&Timespec::default())), Ok(1)) {
                let room = buffer.remaining();
                let there = if room <= UNASKED_BYTES {
                    room
                } else {
                    ioctl_fionread(&self.stream).map_or(0, |there| there as usize)
                };
                let there = there.min(room);
                let into = buffer.initialize_unfilled_to(there);
                if let Ok((_, read @ 1..)) = recv(&self.stream, into, RecvFlags::DONTWAIT) {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
            }
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Eager {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
