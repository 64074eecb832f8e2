//! The tier `remote` in Redis.
//!
//! ```text
//! faasflow/NAME/EPOCH/NUMBER/0     │ up to 256 KiB of the payload │ a checksum for every 64 KiB of it │
//! faasflow/NAME/EPOCH/NUMBER/1     │ the next 256 KiB ...
//! ```
//!
//! Pieces go and come several at once over one connection, so a payload may be larger than a string of Redis (512 MiB), and
//! no command keeps others waiting for long. Keys expire unless they are renewed ([`Redis::renew`]), so those of a worker
//! that died go by themselves; a key that was evicted, or whose server was restarted, is a payload that is not there. A
//! connection whose server does not answer in time is given up, and the next operation makes a new one. (The client's own
//! manager of connections keeps one that is silent.)

mod eager;
mod line;

use super::super::admission::{Admission, Errands, Limits, Pass};
use super::super::book::{Book, Claim};
use super::super::checksum::{self, BLOCK_BYTES};
use super::super::error::{Again, Speaker};
use super::super::{Body, Place, RedisUrl, Tier, TierError, TierKind, Used};
use crate::segment::{Slice, TargetSlice};
use ::redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};
use eager::Wait;
use futures_util::{StreamExt, TryStreamExt, stream};
use line::{GoesOn, Line, Piece, late, unlink};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a payload under one key: whole blocks of checksums, and little enough to stay in a processor's cache on its way.
const PIECE_BYTES: u64 = 256 << 10;

/// Pieces of one payload under way.
const DEPTH: usize = 16;

/// Keys named in one command, or commands sent together, where they carry no payload.
const BATCH: usize = 512;

const FULL_REMEDY: &str =
    "let other payloads go, or raise what this worker may keep in remote stores";
const SERVER_FULL_REMEDY: &str = "raise the server's maxmemory, or let fewer payloads live at once";
const LOST_REMEDY: &str =
    "see whether the server runs and can be reached from here; then try again";
const LOGIN_REMEDY: &str =
    "see the user and the password in the store's URL, and what the server lets that user do";
const SERVER_REMEDY: &str = "see the server's log";
const GONE_REMEDY: &str = "it was released, has expired, or was evicted; give the server noeviction, and renew keys in time";
const DAMAGE_REMEDY: &str =
    "somebody else has written there: keep others away from keys that begin with faasflow/";

/// How a [`Redis`] is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RedisConfig {
    /// Where the server is.
    pub url: RedisUrl,
    /// This worker's name, as keys have it: letters, digits, dots, hyphens and underscores.
    pub worker: String,
    /// Which life of that worker this is.
    pub epoch: u32,
    /// Bytes of payloads that it may keep there.
    pub bytes_max: u64,
    /// How long a key lasts without being renewed; at least a second.
    pub expiry: Duration,
    /// Operations and bytes under way, and deadlines.
    pub limits: Limits,
}

/// Payloads in a Redis server.
#[derive(Debug)]
pub struct Redis {
    book: Book<()>,
    admission: Admission,
    line: Arc<Line>,
    expiry_s: u64,
}

/// Takes a payload's keys back, unless it was taken in. By then its own commands must have ended.
struct Unfinished<'a> {
    redis: &'a Redis,
    commands: Errands,
    key: String,
    pieces: u64,
    claim: Option<Claim>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let Some(claim) = self.claim.take() else {
            return;
        };
        // Without a runtime nothing can be sent any more; the keys expire.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let keys = keys(&self.key, self.pieces);
        let (line, commands) = (Arc::clone(&self.redis.line), self.commands.clone());
        let (deadline, errand) = (
            self.redis.admission.deadline(0),
            self.redis.admission.errand(),
        );
        runtime.spawn(async move {
            let _held = (claim, errand);
            let unlink = async {
                commands.settled().await;
                unlink(&line, &keys).await
            };
            // What cannot be taken back expires.
            let _ = tokio::time::timeout(deadline, unlink).await;
        });
    }
}

fn piece_key(key: &str, piece: u64) -> String {
    format!("{key}/{piece}")
}

fn keys(key: &str, pieces: u64) -> Vec<String> {
    (0..pieces).map(|piece| piece_key(key, piece)).collect()
}

/// Even a payload of no bytes has a key.
const fn pieces(bytes: u64) -> u64 {
    let pieces = bytes.div_ceil(PIECE_BYTES);
    if pieces == 0 { 1 } else { pieces }
}

/// How the answer to one of so many pieces is awaited: the others of a payload are to be on their way by then.
const fn wait_for(pieces: u64) -> Wait {
    if pieces == 1 {
        Wait::Looking
    } else {
        Wait::Asleep
    }
}

/// What is to be read of one piece: bytes of the payload, in whole blocks.
#[derive(Clone, Copy)]
struct Window {
    piece: u64,
    from: u64,
    to: u64,
    /// Bytes of the payload in this piece.
    piece_bytes: u64,
}

impl Redis {
    /// Connects to the server and makes sure that it answers.
    ///
    /// # Errors
    /// [`TierError::Broken`] if it does not, or lets nobody in by that login.
    pub async fn open(config: &RedisConfig) -> Result<Self, TierError> {
        let shown = config.url.to_string();
        let speaker = Speaker {
            kind: TierKind::Remote,
            at: shown.clone(),
        };
        let life = super::life(&config.worker, config.epoch);
        let redis = Self {
            book: Book::new(
                speaker,
                super::store_of(&shown),
                Body::Life(life),
                config.bytes_max,
            ),
            admission: Admission::new(config.limits),
            line: Arc::new(Line::new(&config.url, config.limits.patience)),
            expiry_s: config.expiry.as_secs().max(1),
        };
        let ping = async {
            let answer = redis
                .send(
                    ::redis::cmd("PING"),
                    None,
                    &Errands::default(),
                    Wait::Asleep,
                )
                .await;
            answer
                .map_err(|error| redis.error("connect", 0, error))
                .map(drop)
        };
        redis.within("connect", 0, ping).await?;
        Ok(redis)
    }

    async fn within<T>(
        &self,
        what: &'static str,
        bytes: u64,
        operation: impl Future<Output = Result<T, TierError>>,
    ) -> Result<T, TierError> {
        let result = self
            .admission
            .within(self.book.speaker(), what, bytes, operation)
            .await;
        if let Err(TierError::Broken {
            again: Again::May, ..
        }) = &result
        {
            self.line.give_up();
        }
        result
    }

    fn error(&self, what: &'static str, bytes: u64, error: RedisError) -> TierError {
        use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, NoPerm, TryAgain};
        let speaker = self.book.speaker();
        if error.code() == Some("OOM") {
            return speaker.full(bytes, error, SERVER_FULL_REMEDY);
        }
        // The client says of a server that wants a password that it refused the database.
        let login = matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
            || error.to_string().contains("Authentication required");
        match error.kind() {
            ErrorKind::AuthenticationFailed | ErrorKind::Server(NoPerm) => {
                speaker.broken(what, error, Again::Not, LOGIN_REMEDY)
            }
            _ if login => speaker.broken(what, error, Again::Not, LOGIN_REMEDY),
            ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | TryAgain) => {
                speaker.broken(what, error, Again::May, LOST_REMEDY)
            }
            _ if error.is_io_error()
                || error.is_connection_dropped()
                || error.is_unrecoverable_error() =>
            {
                speaker.broken(what, error, Again::May, LOST_REMEDY)
            }
            _ => speaker.broken(what, error, Again::Not, SERVER_REMEDY),
        }
    }

    /// Sends a command and waits for its answer. It goes on, with its pass, when nobody waits for it any more.
    async fn send(
        &self,
        command: Cmd,
        pass: Option<Pass>,
        commands: &Errands,
        wait: Wait,
    ) -> RedisResult<Value> {
        let mut connection = self.line.connection().await?;
        let (errand, own, deadline) = (
            self.admission.errand(),
            commands.begin(),
            self.admission.deadline(PIECE_BYTES),
        );
        let sent = GoesOn::new(async move {
            let _held = (pass, errand, own);
            let answer = tokio::time::timeout(deadline, connection.send(&command, wait));
            answer.await.unwrap_or_else(|_| Err(late(deadline)))
        });
        sent.await?.extract_error()
    }

    /// As [`Redis::send`], of several commands, whose answers are as many.
    async fn send_all(&self, pipeline: Pipeline, pass: Option<Pass>) -> RedisResult<Vec<Value>> {
        let mut connection = self.line.connection().await?;
        let (errand, deadline) = (
            self.admission.errand(),
            self.admission.deadline(PIECE_BYTES),
        );
        let sent = GoesOn::new(async move {
            let _held = (pass, errand);
            let answers = tokio::time::timeout(deadline, connection.send_all(&pipeline));
            answers.await.unwrap_or_else(|_| Err(late(deadline)))
        });
        sent.await?.into_iter().map(Value::extract_error).collect()
    }

    async fn put_piece(
        &self,
        key: &str,
        number: u64,
        piece: u64,
        content: Slice,
        commands: &Errands,
        wait: Wait,
    ) -> Result<(), TierError> {
        let bytes = content.length();
        let pass = self.admission.pass(bytes).await;
        let sums = checksum::table(number, piece * (PIECE_BYTES / BLOCK_BYTES), content.bytes());
        let sums: Vec<u8> = sums.into_iter().flat_map(u32::to_le_bytes).collect();
        let mut command = Cmd::with_capacity(5, bytes as usize + sums.len() + 128);
        command
            .arg("SET")
            .arg(piece_key(key, piece))
            .arg(Piece {
                content: content.bytes(),
                sums: &sums,
            })
            .arg("EX")
            .arg(self.expiry_s);
        let answer = self.send(command, Some(pass), commands, wait).await;
        answer
            .map_err(|error| self.error("put a payload", bytes, error))
            .map(drop)
    }

    /// Reads a part of a piece, in whole blocks: its bytes, and its checksums.
    async fn get_piece(
        &self,
        place: &Place,
        key: &str,
        window: Window,
    ) -> Result<(Vec<u8>, Vec<u32>), TierError> {
        let failed = |error| self.error("get a payload", 0, error);
        let missing = || self.book.speaker().missing(place, GONE_REMEDY);
        let Window {
            piece,
            from,
            to,
            piece_bytes,
        } = window;
        let (bytes, key) = (to - from, piece_key(key, piece));
        let pass = Some(self.admission.pass(bytes).await);
        let wait = wait_for(pieces(place.bytes));
        let (mut content, sums) = if bytes == piece_bytes {
            let mut command = ::redis::cmd("GET");
            command.arg(key);
            let Some(mut content) = text(
                self.send(command, pass, &Errands::default(), wait)
                    .await
                    .map_err(failed)?,
            ) else {
                return Err(missing());
            };
            let sums = content.split_off(content.len().min(bytes as usize));
            (content, sums)
        } else {
            let first = (from - piece * PIECE_BYTES) / BLOCK_BYTES;
            let sums_from = piece_bytes + first * 4;
            let mut both = Pipeline::with_capacity(2);
            for (from, bytes) in [
                (from - piece * PIECE_BYTES, bytes),
                (sums_from, checksum::blocks(bytes) * 4),
            ] {
                // The last byte is named, not the one behind it.
                both.cmd("GETRANGE")
                    .arg(&key)
                    .arg(from)
                    .arg(from + bytes - 1);
            }
            let answers = self.send_all(both, pass).await.map_err(failed)?;
            let mut answers = answers.into_iter().filter_map(text);
            (
                answers.next().unwrap_or_default(),
                answers.next().unwrap_or_default(),
            )
        };
        if bytes > 0 && content.is_empty() {
            return Err(missing());
        }
        // What is too short differs from what was put, and is found out as that.
        content.resize(bytes as usize, 0);
        let (sums, _) = sums.as_chunks::<4>();
        Ok((
            content,
            sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect(),
        ))
    }

    /// Reads, checks and copies what `into` takes of a piece, from byte `from` of the payload on.
    async fn read(
        &self,
        place: &Place,
        key: &str,
        from: u64,
        mut into: TargetSlice,
    ) -> Result<(), TierError> {
        let piece = from / PIECE_BYTES;
        let begin = piece * PIECE_BYTES;
        let behind = place.bytes.min(begin + PIECE_BYTES);
        let window = Window {
            piece,
            from: from - from % BLOCK_BYTES,
            to: (from + into.length())
                .next_multiple_of(BLOCK_BYTES)
                .min(behind),
            piece_bytes: behind - begin,
        };
        let (content, sums) = self.get_piece(place, key, window).await?;
        let first = window.from / BLOCK_BYTES;
        if let Some(block) = checksum::damaged(place.number, first, &content, &sums) {
            let from = block * BLOCK_BYTES;
            let to = place.bytes.min(from + BLOCK_BYTES);
            return Err(self.book.speaker().damaged(place, from, to, DAMAGE_REMEDY));
        }
        let (skip, length) = ((from - window.from) as usize, into.length() as usize);
        into.bytes_mut()
            .copy_from_slice(&content[skip..skip + length]);
        Ok(())
    }

    /// Lets all payloads of this worker last for another while. To be called at least every third of
    /// [`RedisConfig::expiry`], so that a failure or two are made up for. Says how many keys were gone already.
    ///
    /// # Errors
    /// [`TierError::Broken`] if the server does not answer.
    pub async fn renew(&self) -> Result<u64, TierError> {
        const WHAT: &str = "renew payloads";
        let mut gone = 0;
        let mut all = Vec::new();
        for entry in self.book.entries() {
            let place = self.book.place(&entry.claim);
            all.extend(keys(&super::key(&self.book, &place)?, pieces(place.bytes)));
        }
        for keys in all.chunks(BATCH) {
            let mut pipeline = Pipeline::with_capacity(keys.len());
            for key in keys {
                pipeline.cmd("EXPIRE").arg(key).arg(self.expiry_s);
            }
            let renew = async {
                let answers = self.send_all(pipeline, None).await;
                answers.map_err(|error| self.error(WHAT, 0, error))
            };
            let answers = self.within(WHAT, 0, renew).await?;
            gone += answers
                .iter()
                .filter(|answer| **answer == Value::Int(0))
                .count() as u64;
        }
        Ok(gone)
    }
}

fn text(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

impl Tier for Redis {
    fn kind(&self) -> TierKind {
        TierKind::Remote
    }

    fn used(&self) -> Used {
        let (bytes, count) = self.book.counts();
        Used {
            bytes,
            count,
            held: bytes + checksum::blocks(bytes) * 4,
        }
    }

    async fn put(&self, payload: Slice) -> Result<Place, TierError> {
        let bytes = payload.length();
        let put = async {
            let claim = self.book.claim(bytes, FULL_REMEDY)?;
            let number = claim.number;
            let mut unfinished = Unfinished {
                redis: self,
                commands: Errands::default(),
                key: super::key(&self.book, &self.book.place(&claim))?,
                pieces: pieces(bytes),
                claim: Some(claim),
            };
            let (key, commands) = (&unfinished.key, &unfinished.commands);
            let wait = wait_for(unfinished.pieces);
            let puts = (0..unfinished.pieces).map(|piece| {
                let from = piece * PIECE_BYTES;
                let content = payload.part(from, bytes.min(from + PIECE_BYTES));
                self.put_piece(key, number, piece, content, commands, wait)
            });
            stream::iter(puts)
                .buffer_unordered(DEPTH)
                .try_collect::<()>()
                .await?;
            let claim = unfinished.claim.take();
            let claim = claim.unwrap_or_else(|| unreachable!("it is taken once"));
            Ok(self.book.enter(claim, ()))
        };
        self.within("put a payload", bytes, put).await
    }

    async fn get(&self, place: &Place, from: u64, into: TargetSlice) -> Result<(), TierError> {
        self.book.check_store(place)?;
        let key = super::key(&self.book, place)?;
        let own = self.book.is_own(place);
        // What another worker has put is known by its place alone.
        let _entry = if own {
            Some(self.book.find(place)?)
        } else {
            None
        };
        let bytes = into.length();
        self.book.check_window(place, from, bytes)?;
        if bytes == 0 && place.bytes > 0 {
            return Ok(());
        }
        let get = async {
            let (mut at, mut rest) = (from, Some(into));
            // Of a payload of no bytes at least its key is asked for.
            let reads = std::iter::from_fn(|| {
                let target = rest
                    .take()
                    .filter(|target| target.length() > 0 || at == from)?;
                let piece_end = (at / PIECE_BYTES + 1) * PIECE_BYTES;
                let (now, later) = {
                    let here = target.length().min(piece_end - at);
                    target.split(here)
                };
                let read = self.read(place, &key, at, now);
                at = piece_end;
                rest = Some(later);
                Some(read)
            });
            stream::iter(reads)
                .buffer_unordered(DEPTH)
                .try_collect::<()>()
                .await
        };
        self.within("get a payload", bytes, get).await
    }

    async fn release(&self, place: Place) -> Result<(), TierError> {
        const WHAT: &str = "release a payload";
        drop(self.book.remove(&place)?);
        let keys = keys(&super::key(&self.book, &place)?, pieces(place.bytes));
        let (line, errand) = (Arc::clone(&self.line), self.admission.errand());
        let deadline = self.admission.deadline(0);
        let release = async {
            let unlinked = GoesOn::new(async move {
                let _errand = errand;
                let unlink = tokio::time::timeout(deadline, unlink(&line, &keys));
                unlink.await.unwrap_or_else(|_| Err(late(deadline)))
            });
            let unlinked = unlinked.await;
            unlinked.map_err(|error| self.error(WHAT, 0, error))
        };
        self.within(WHAT, 0, release).await
    }

    async fn settled(&self) {
        self.admission.settled().await;
    }
}
