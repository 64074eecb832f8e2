//! The tier `peer`: payloads in the memory of another process, over a stream socket.
//!
//! Payloads go in chunks that take turns, straight from their segment to the socket and from the socket into the host's
//! arena, and come back the same way. A chunk's bytes count as under way until the host has acknowledged it, so that
//! [`Limits::in_flight_bytes_max`] is what a slow host can hold up here. Frames are checked by a CRC-32; one that is damaged
//! ends the connection, and all that waits for it fails by name. (Between engines payloads travel by the links of their
//! lanes; this is for whoever lends memory without being one.)

mod host;
#[cfg(test)]
mod tests;
mod wire;

use super::admission::{Admission, Errand, Limits, Pass};
use super::book::{Book, Claim, lock, store_number};
use super::error::{Again, Speaker};
use super::{Body, Place, Tier, TierError, TierKind, Used};
use crate::segment::{Slice, TargetSlice};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use wire::{Header, Kind, Outgoing, TEXT_BYTES_MAX, Why};

pub use host::PeerHost;

/// Bytes of the largest chunk that is agreed upon, whatever a configuration says.
const CHUNK_BYTES_MAX: u32 = 16 << 20;

const FULL_REMEDY: &str = "let other payloads go, or give the peer more memory";
const LOST_REMEDY: &str = "connect to the peer anew; its log may say why the connection ended";

/// How a [`Peer`] and a [`PeerHost`] work. Each side has its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerConfig {
    /// Bytes of a chunk; the smaller of both sides' counts. From 1 to 16 MiB.
    pub chunk_bytes: u32,
    /// Bytes of payloads that a [`Peer`] may have at its host.
    pub bytes_max: u64,
    /// Payloads that a [`PeerHost`] takes of one connection.
    pub payloads_max: usize,
    /// Operations and bytes under way, and deadlines.
    pub limits: Limits,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            // It still lies in a processor's cache when it is checked, and keeps others waiting for some 100 µs.
            chunk_bytes: 512 << 10,
            bytes_max: u64::MAX,
            payloads_max: 1 << 16,
            limits: Limits::default(),
        }
    }
}

impl PeerConfig {
    fn chunk(&self) -> u64 {
        u64::from(self.chunk_bytes.clamp(1, CHUNK_BYTES_MAX))
    }
}

/// Payloads in the memory of a [`PeerHost`] at the other end of a connection.
#[derive(Debug)]
pub struct Peer {
    book: Book<()>,
    admission: Admission,
    chunk: u64,
    line: Rc<Line>,
    tasks: [JoinHandle<()>; 2],
}

/// What both directions of the connection share.
#[derive(Debug)]
struct Line {
    out: mpsc::UnboundedSender<Outgoing>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_request: u64,
    waiting: HashMap<u64, Waiting>,
    /// Why the connection is no more.
    lost: Option<String>,
}

/// Who waits for an answer, with all that must last until it is there, whether or not somebody still wants it.
#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Result<(), Answer>>,
    /// Where the bytes of a get go.
    into: Option<TargetSlice>,
    /// Of chunks that were sent and have not landed.
    passes: VecDeque<Pass>,
    _claim: Option<Rc<Claim>>,
    _errand: Errand,
}

/// Why not.
#[derive(Debug)]
enum Answer {
    Failed { words: [u64; 3], text: String },
    Lost(String),
}

impl Drop for Peer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Peer {
    /// Puts payloads at the host that is at the other end of `stream`, which errors call `at`.
    ///
    /// # Errors
    /// [`TierError::Broken`] if nobody answers there as a host does.
    pub async fn connect(
        stream: impl AsyncRead + AsyncWrite + 'static,
        at: &str,
        config: PeerConfig,
    ) -> Result<Self, TierError> {
        let speaker = Speaker {
            kind: TierKind::Peer,
            at: at.to_owned(),
        };
        let admission = Admission::new(config.limits);
        let (mut reader, mut writer) = tokio::io::split(stream);
        let hello = async {
            let lost = |error: io::Error| speaker.broken("connect", error, Again::May, LOST_REMEDY);
            let closed = || lost(io::ErrorKind::UnexpectedEof.into());
            let header = Header::read(&mut reader, 0)
                .await
                .map_err(lost)?
                .ok_or_else(closed)?;
            match header.words[0] {
                chunk if header.kind == Kind::Hello && chunk > 0 => Ok(chunk),
                _ => Err(lost(wire::damaged(
                    "it does not greet as a host of the peer tier",
                ))),
            }
        };
        let host_chunk = admission.within(&speaker, "connect", 0, hello).await?;
        let (out, mut queue) = mpsc::unbounded_channel::<Outgoing>();
        let line = Rc::new(Line {
            out,
            state: Mutex::default(),
        });
        let sending = {
            let line = Rc::clone(&line);
            tokio::task::spawn_local(async move {
                while let Some(frame) = queue.recv().await {
                    if let Err(error) = frame.write(&mut writer).await {
                        return line.lose(&error.to_string());
                    }
                }
            })
        };
        let receiving = {
            let line = Rc::clone(&line);
            tokio::task::spawn_local(async move {
                let cause = loop {
                    match line.receive(&mut reader).await {
                        Ok(true) => {}
                        Ok(false) => break "the other side has closed it".to_owned(),
                        Err(error) => break error.to_string(),
                    }
                };
                line.lose(&cause);
            })
        };
        Ok(Self {
            book: Book::new(speaker, store_number(), Body::Kept, config.bytes_max),
            admission,
            chunk: host_chunk.min(config.chunk()),
            line,
            tasks: [sending, receiving],
        })
    }

    fn error(&self, what: &'static str, place: &Place, answer: Answer) -> TierError {
        let speaker = self.book.speaker();
        match answer {
            Answer::Lost(cause) => {
                let cause = format!("the connection was lost: {cause}");
                speaker.broken(what, cause, Again::May, LOST_REMEDY)
            }
            Answer::Failed {
                words: [why, bytes, max],
                text,
            } => match why {
                why if why == Why::Full as u64 => speaker.full(bytes, text, FULL_REMEDY),
                why if why == Why::TooLarge as u64 => speaker.too_large(bytes, max, FULL_REMEDY),
                why if why == Why::Missing as u64 => speaker.missing(place, super::book::GONE),
                why if why == Why::Refused as u64 => speaker.refused(place, text),
                _ => speaker.broken(what, text, Again::Not, "see the peer's log"),
            },
        }
    }

    /// Asks, and waits for the answer.
    async fn ask(
        &self,
        what: &'static str,
        place: &Place,
        frame: impl FnOnce(u64) -> Outgoing,
        waiting: impl FnOnce(oneshot::Sender<Result<(), Answer>>) -> Waiting,
    ) -> Result<(), TierError> {
        let (sender, answer) = oneshot::channel();
        let asked = self.line.ask(frame, waiting(sender));
        asked.map_err(|answer| self.error(what, place, answer))?;
        self.answer(what, place, answer).await
    }

    async fn answer(
        &self,
        what: &'static str,
        place: &Place,
        answer: oneshot::Receiver<Result<(), Answer>>,
    ) -> Result<(), TierError> {
        let answer = answer
            .await
            .unwrap_or_else(|_| Err(Answer::Lost("it was closed here".to_owned())));
        answer.map_err(|answer| self.error(what, place, answer))
    }

    fn waiting(&self, answer: oneshot::Sender<Result<(), Answer>>) -> Waiting {
        Waiting {
            answer,
            into: None,
            passes: VecDeque::new(),
            _claim: None,
            _errand: self.admission.errand(),
        }
    }

    async fn send(
        &self,
        place: &Place,
        payload: &Slice,
        claim: &Rc<Claim>,
    ) -> Result<(), TierError> {
        const WHAT: &str = "put a payload";
        let (sender, answer) = oneshot::channel();
        let mut waiting = self.waiting(sender);
        waiting._claim = Some(Rc::clone(claim));
        let bytes = payload.length();
        let frame = |request| Outgoing::bare(Kind::Put, request, [place.number, bytes, 0]);
        let asked = self.line.ask(frame, waiting);
        let request = asked.map_err(|answer| self.error(WHAT, place, answer))?;
        let mut at = 0;
        // A host that refuses says so while this still sends.
        while at < bytes && answer.is_empty() {
            let end = bytes.min(at + self.chunk);
            let pass = self.admission.pass(end - at).await;
            let words = [place.number, at, 0];
            let chunk = Outgoing::payload(Kind::Chunk, request, words, payload.part(at, end));
            if !self.line.send_chunk(request, chunk, pass) {
                break;
            }
            at = end;
        }
        self.answer(WHAT, place, answer).await
    }
}

/// Takes a payload back at the host, unless it has been taken in here.
struct Unfinished<'a> {
    peer: &'a Peer,
    number: u64,
    claim: Rc<Claim>,
    done: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // Nobody waits for the answer, but what it says is over is not over before.
        let mut waiting = self.peer.waiting(oneshot::channel().0);
        waiting._claim = Some(Rc::clone(&self.claim));
        let number = self.number;
        let release = |request| Outgoing::bare(Kind::Release, request, [number, 0, 0]);
        let _ = self.peer.line.ask(release, waiting);
    }
}

impl Line {
    /// Queues a frame that will be answered. Frames are bounded by the operations under way.
    fn ask(&self, frame: impl FnOnce(u64) -> Outgoing, waiting: Waiting) -> Result<u64, Answer> {
        let mut state = lock(&self.state);
        if let Some(cause) = &state.lost {
            return Err(Answer::Lost(cause.clone()));
        }
        state.last_request += 1;
        let request = state.last_request;
        state.waiting.insert(request, waiting);
        drop(state);
        // An error means that the sender has ended, which has lost the connection before: everybody is told.
        let _ = self.out.send(frame(request));
        Ok(request)
    }

    /// Queues a chunk; false if nobody waits for it any more.
    fn send_chunk(&self, request: u64, chunk: Outgoing, pass: Pass) -> bool {
        let mut state = lock(&self.state);
        let Some(waiting) = state.waiting.get_mut(&request) else {
            return false;
        };
        waiting.passes.push_back(pass);
        drop(state);
        self.out.send(chunk).is_ok()
    }

    /// Everybody who waits is told, and whoever comes later.
    fn lose(&self, cause: &str) {
        let waiting = {
            let mut state = lock(&self.state);
            state.lost.get_or_insert_with(|| cause.to_owned());
            std::mem::take(&mut state.waiting)
        };
        for waiting in waiting.into_values() {
            let _ = waiting.answer.send(Err(Answer::Lost(cause.to_owned())));
        }
    }

    /// Acts on one frame; false if the other side has closed.
    async fn receive(&self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<bool> {
        let body_max = (CHUNK_BYTES_MAX as usize).max(TEXT_BYTES_MAX);
        let Some(header) = Header::read(stream, body_max).await? else {
            return Ok(false);
        };
        let request = header.request;
        let unknown = || {
            wire::damaged(format!(
                "{:?} to request {request}, which is not open",
                header.kind
            ))
        };
        match header.kind {
            Kind::Landed => {
                let mut state = lock(&self.state);
                // Of a put that was refused the chunks that were under way land nowhere.
                if let Some(waiting) = state.waiting.get_mut(&request) {
                    waiting.passes.pop_front();
                }
            }
            Kind::Done | Kind::Failed => {
                let waiting = lock(&self.state).waiting.remove(&request);
                let mut waiting = waiting.ok_or_else(unknown)?;
                let answer = match waiting.into.take() {
                    Some(mut into) if header.kind == Kind::Done => {
                        header.body_into(stream, &mut into).await.map(|()| Ok(()))
                    }
                    _ => header.body(stream).await.map(|text| {
                        if header.kind == Kind::Done {
                            return Ok(());
                        }
                        Err(Answer::Failed {
                            words: header.words,
                            text: String::from_utf8_lossy(&text).into_owned(),
                        })
                    }),
                };
                match answer {
                    // Whoever has been dropped hears nothing.
                    Ok(answer) => drop(waiting.answer.send(answer)),
                    Err(error) => {
                        drop(waiting.answer.send(Err(Answer::Lost(error.to_string()))));
                        return Err(error);
                    }
                }
            }
            Kind::Hello | Kind::Put | Kind::Chunk | Kind::Get | Kind::Release => {
                return Err(unknown());
            }
        }
        Ok(true)
    }
}

impl Tier for Peer {
    fn kind(&self) -> TierKind {
        TierKind::Peer
    }

    fn used(&self) -> Used {
        let (bytes, count) = self.book.counts();
        Used {
            bytes,
            count,
            held: bytes,
        }
    }

    async fn put(&self, payload: Slice) -> Result<Place, TierError> {
        let bytes = payload.length();
        let put = async {
            let claim = Rc::new(self.book.claim(bytes, FULL_REMEDY)?);
            let mut unfinished = Unfinished {
                peer: self,
                number: claim.number,
                claim: Rc::clone(&claim),
                done: false,
            };
            let place = self.book.place(&claim);
            self.send(&place, &payload, &claim).await?;
            unfinished.done = true;
            drop(unfinished);
            Ok((place, claim))
        };
        let speaker = self.book.speaker();
        let (place, claim) = self
            .admission
            .within(speaker, "put a payload", bytes, put)
            .await?;
        let claim = Rc::try_unwrap(claim);
        let claim = claim.unwrap_or_else(|_| unreachable!("what was answered is not waited for"));
        self.book.enter(claim, ());
        Ok(place)
    }

    async fn get(&self, place: &Place, from: u64, into: TargetSlice) -> Result<(), TierError> {
        const WHAT: &str = "get a payload";
        let entry = self.book.find(place)?;
        let bytes = into.length();
        self.book.check_window(place, from, bytes)?;
        let get = async {
            let _entry = entry;
            let mut answers = Vec::new();
            let mut rest = into;
            let mut at = from;
            while rest.length() > 0 {
                let length = rest.length().min(self.chunk);
                let (now, later) = rest.split(length);
                rest = later;
                let pass = self.admission.pass(length).await;
                let (sender, answer) = oneshot::channel();
                let mut waiting = self.waiting(sender);
                waiting.into = Some(now);
                waiting.passes.push_back(pass);
                let words = [place.number, at, length];
                let asked = self
                    .line
                    .ask(|request| Outgoing::bare(Kind::Get, request, words), waiting);
                asked.map_err(|answer| self.error(WHAT, place, answer))?;
                answers.push(answer);
                at += length;
            }
            for answer in answers {
                self.answer(WHAT, place, answer).await?;
            }
            Ok(())
        };
        self.admission
            .within(self.book.speaker(), WHAT, bytes, get)
            .await
    }

    async fn release(&self, place: Place) -> Result<(), TierError> {
        const WHAT: &str = "release a payload";
        drop(self.book.remove(&place)?);
        let release = self.ask(
            WHAT,
            &place,
            |request| Outgoing::bare(Kind::Release, request, [place.number, 0, 0]),
            |sender| self.waiting(sender),
        );
        self.admission
            .within(self.book.speaker(), WHAT, 0, release)
            .await
    }

    async fn settled(&self) {
        self.admission.settled().await;
    }
}
