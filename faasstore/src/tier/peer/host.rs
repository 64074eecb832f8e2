//! The side of the peer tier that lends its memory.

use super::PeerConfig;
use super::wire::{Header, Kind, Outgoing, Why};
use crate::segment::TargetSlice;
use crate::tier::admission::Admission;
use crate::tier::book::Claim;
use crate::tier::memory::Writing;
use crate::tier::{Place, Shared, TierError};
use futures_util::future::{Either, select};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// Takes payloads of other processes into a [`Shared`] of this one, straight from their connections.
#[derive(Clone, Debug)]
pub struct PeerHost {
    memory: Rc<Shared>,
    config: PeerConfig,
}

impl PeerHost {
    /// One that lends `memory`.
    #[must_use]
    pub const fn new(memory: Rc<Shared>, config: PeerConfig) -> Self {
        Self { memory, config }
    }

    /// Serves one connection until its other side closes it. What came by it is let go of then.
    ///
    /// # Errors
    /// The connection broke, or what came by it was no frame, out of order, or damaged.
    pub async fn serve(&self, stream: impl AsyncRead + AsyncWrite) -> io::Result<()> {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let (out, mut queue) = mpsc::unbounded_channel::<Outgoing>();
        let chunk = self.config.chunk();
        let mut guest = Guest {
            memory: Rc::clone(&self.memory),
            chunk,
            landing: HashMap::new(),
            places: HashMap::new(),
            admission: Admission::new(self.config.limits),
            payloads_max: self.config.payloads_max,
            out,
        };
        guest.say(Outgoing::bare(Kind::Hello, 0, [chunk, 0, 0]));
        let writing = async move {
            while let Some(frame) = queue.recv().await {
                frame.write(&mut writer).await?;
            }
            io::Result::Ok(())
        };
        let reading = async move {
            while let Some(header) = Header::read(&mut reader, chunk as usize).await? {
                guest.act(header, &mut reader).await?;
            }
            Ok(())
        };
        // Whoever has closed gets no more answers: what was queued for it need not be written.
        match select(pin!(reading), pin!(writing)).await {
            Either::Left((result, _)) | Either::Right((result, _)) => result,
        }
    }
}

/// A payload that is on its way.
struct Landing {
    request: u64,
    claim: Claim,
    writing: Writing,
    /// What has not come yet.
    rest: TargetSlice,
    at: u64,
}

/// One connection, with the payloads that go with it.
struct Guest {
    memory: Rc<Shared>,
    chunk: u64,
    landing: HashMap<u64, Landing>,
    places: HashMap<u64, Place>,
    admission: Admission,
    payloads_max: usize,
    out: mpsc::UnboundedSender<Outgoing>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        for place in self.places.values() {
            let released = self.memory.let_go(place);
            debug_assert!(released.is_ok(), "what is in the table is there");
        }
    }
}

impl Guest {
    /// Queues a frame. Answers are as many as requests, which the other side bounds by waiting for them; those that carry
    /// a payload wait for their turn before they are queued.
    fn say(&self, frame: Outgoing) {
        // An error means that the writer has ended, and with it this connection.
        let _ = self.out.send(frame);
    }

    fn refuse(&self, request: u64, error: &TierError) {
        let words = match *error {
            TierError::Full { bytes, .. } => [Why::Full as u64, bytes, 0],
            TierError::TooLarge { bytes, max, .. } => [Why::TooLarge as u64, bytes, max],
            TierError::Missing { .. } => [Why::Missing as u64, 0, 0],
            TierError::Refused { .. } => [Why::Refused as u64, 0, 0],
            TierError::Broken { .. } | TierError::Damaged { .. } => [Why::Broken as u64, 0, 0],
        };
        self.say(Outgoing::failed(request, words, error.to_string()));
    }

    fn refuse_as(&self, request: u64, why: Why, text: &str) {
        self.say(Outgoing::failed(
            request,
            [why as u64, 0, 0],
            text.to_owned(),
        ));
    }

    async fn act(
        &mut self,
        header: Header,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<()> {
        let Header {
            kind,
            request,
            words,
            length,
            ..
        } = header;
        let wanted_body = kind == Kind::Chunk;
        if wanted_body != (length > 0) {
            return Err(super::wire::damaged(format!(
                "{kind:?} with {length} bytes"
            )));
        }
        match kind {
            Kind::Put => self.begin(request, words[0], words[1]),
            Kind::Chunk => self.land(header, stream).await?,
            Kind::Get => self.lend(request, words).await,
            Kind::Release => self.release(request, words[0]),
            Kind::Hello | Kind::Landed | Kind::Done | Kind::Failed => {
                return Err(super::wire::damaged(format!(
                    "{kind:?}, which a host does not take"
                )));
            }
        }
        Ok(())
    }

    fn begin(&mut self, request: u64, number: u64, bytes: u64) {
        if self.landing.len() + self.places.len() >= self.payloads_max {
            return self.refuse_as(
                request,
                Why::Full,
                "it has as many payloads of this peer as it may",
            );
        }
        if self.places.contains_key(&number) {
            return self.refuse_as(request, Why::Refused, "it has a payload of that number");
        }
        let memory = &self.memory;
        let begun = memory.claim(bytes).and_then(|claim| {
            let writing = memory.reserve(bytes)?;
            let rest = memory.target(&writing, bytes);
            let rest = rest.unwrap_or_else(|| unreachable!("a reservation lies in its segment"));
            Ok((claim, writing, rest))
        });
        match begun {
            Err(error) => self.refuse(request, &error),
            Ok((claim, writing, rest)) => match self.landing.entry(number) {
                Entry::Occupied(_) => {
                    self.refuse_as(
                        request,
                        Why::Refused,
                        "a payload of that number is on its way",
                    );
                }
                Entry::Vacant(vacant) => {
                    let landing = vacant.insert_entry(Landing {
                        request,
                        claim,
                        writing,
                        rest,
                        at: 0,
                    });
                    if bytes == 0 {
                        let landing = landing.remove();
                        self.landed(number, landing);
                    }
                }
            },
        }
    }

    async fn land(
        &mut self,
        header: Header,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<()> {
        let [number, offset, _] = header.words;
        let length = u64::from(header.length);
        let known = self.landing.remove(&number);
        let known = known.filter(|landing| landing.request == header.request);
        let Some(mut landing) = known else {
            // Of what was refused, or given up, meanwhile: it is read and dropped.
            header.body(stream).await?;
            self.say(Outgoing::bare(Kind::Landed, header.request, [0; 3]));
            return Ok(());
        };
        if landing.at != offset || length > landing.rest.length() {
            let due = landing.at;
            return Err(super::wire::damaged(format!(
                "{length} bytes at {offset}, where {due} was due"
            )));
        }
        let (mut now, rest) = landing.rest.split(length);
        header.body_into(stream, &mut now).await?;
        self.say(Outgoing::bare(Kind::Landed, header.request, [0; 3]));
        landing.rest = rest;
        landing.at += length;
        if landing.rest.length() == 0 {
            self.landed(number, landing);
        } else {
            self.landing.insert(number, landing);
        }
        Ok(())
    }

    fn landed(&mut self, number: u64, landing: Landing) {
        let place = self.memory.commit(landing.claim, landing.writing);
        self.places.insert(number, place);
        self.say(Outgoing::bare(Kind::Done, landing.request, [0; 3]));
    }

    async fn lend(&mut self, request: u64, [number, from, bytes]: [u64; 3]) {
        let Some(place) = self.places.get(&number) else {
            return self.refuse_as(request, Why::Missing, "it has no payload of that number");
        };
        let lies = from
            .checked_add(bytes)
            .is_some_and(|end| end <= place.bytes);
        if !lies || bytes > self.chunk {
            return self.refuse_as(request, Why::Refused, "those bytes do not lie in it");
        }
        match self.memory.view(place) {
            Err(error) => self.refuse(request, &error),
            Ok(view) => {
                // While this waits nothing is read: whoever asks for much and reads nothing waits for itself.
                let pass = self.admission.pass(bytes).await;
                let window = view.part(from, from + bytes).guarded(pass);
                self.say(Outgoing::payload(Kind::Done, request, [0; 3], window));
            }
        }
    }

    fn release(&mut self, request: u64, number: u64) {
        let landing = self.landing.remove(&number);
        if let Some(landing) = &landing {
            self.refuse_as(
                landing.request,
                Why::Refused,
                "it was given up before all of it had come",
            );
        }
        let place = self.places.remove(&number);
        match place.map(|place| self.memory.let_go(&place)) {
            Some(Err(error)) => self.refuse(request, &error),
            None if landing.is_none() => {
                self.refuse_as(request, Why::Missing, "it has no payload of that number");
            }
            _ => self.say(Outgoing::bare(Kind::Done, request, [0; 3])),
        }
    }
}
