//! Both ends of a link to a peer, with what lies between them moved step by step.

use super::*;
use std::collections::VecDeque;

/// Of which deployment a message is, by its compartment: two workflows.
pub(super) const ONE: DeploymentId = DeploymentId(1);
pub(super) const OTHER: DeploymentId = DeploymentId(2);
/// Of whose lists the items are read one by one. Its compartment is that of the first.
pub(super) const EARLY: DeploymentId = DeploymentId(3);

/// Takes everything, for each of two workflows into a compartment of its own.
struct Two([Compartment; 2]);

impl Admission for Two {
    fn invoke(&self, workflow: &str, inputs: &[(&str, InputForm)]) -> Result<Admitted, Refusal> {
        Anyone.invoke(workflow, inputs)
    }

    fn deployed(&self, deployment: DeploymentId) -> Option<Admitted> {
        Some(Admitted {
            limits: Limits::default(),
            compartment: self.0[usize::from(deployment == OTHER)],
        })
    }

    fn taken(&self, _invocation: u128, deployment: DeploymentId) -> Option<Admitted> {
        self.deployed(deployment)
    }

    fn is_taken_early(&self, deployment: DeploymentId, _node: NodeId, _output: u16) -> bool {
        deployment == EARLY
    }

    fn schema(&self, _origin: Origin<'_>, _schema: u64) -> Result<(), String> {
        Ok(())
    }
}

/// A chunk that was sent: of which transfer, and its raw bytes.
pub(super) type Sent = (u64, u64);

/// Both ends.
pub(super) struct Pair {
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    pub(super) compartments: [Compartment; 2],
    /// What was sent, and has not come yet.
    messages: VecDeque<Vec<u8>>,
    bulk: VecDeque<Vec<u8>>,
    grants: VecDeque<Vec<u8>>,
    /// Grants that were sent.
    pub(super) granted: u64,
    /// What the sender's end has handed on, which is nothing.
    back: Receiver,
}

impl Pair {
    /// A receiver whose arena may have so many bytes, half of them for each workflow.
    pub(super) fn new(bytes_max: u64) -> Self {
        let mut receiver = Receiver::peer();
        receiver.arena = arena_of(bytes_max);
        let mut open = || receiver.arena.open_compartment(bytes_max / 2);
        let compartments = [open(), open()];
        receiver.door = Box::new(Two(compartments));
        Self {
            sender: Sender::to(LinkRole::PeerOut, LinkLimits::default()),
            receiver,
            compartments,
            messages: VecDeque::new(),
            bulk: VecDeque::new(),
            grants: VecDeque::new(),
            granted: 0,
            back: Receiver::peer(),
        }
    }

    /// Queues an event with one payload. Its number is the event's, the token's, and, if all have one payload, the transfer's.
    pub(super) fn say(&mut self, number: u64, of: DeploymentId, payload: &Payload) {
        let body = self.sender.stream_of(of.0, payload, number);
        let mut event = event(number.into(), vec![(0, body)]);
        event.deployment = of;
        self.sender.link.queue(&event).unwrap();
    }

    /// The sender sends what it has of messages, and the receiver of grants.
    pub(super) fn send_messages(&mut self) {
        self.messages.extend(self.sender.send_on(Stream::Messages));
        let grants = self.receiver.link.next_send(Stream::Messages);
        if let Some(buffer) = grants {
            self.grants
                .push_back(buffer.spans(0).collect::<Vec<_>>().concat());
            let link = &mut self.receiver.link;
            link.sent(Stream::Messages, buffer, &mut Vec::new());
            self.granted += 1;
        }
    }

    /// The sender sends a chunk, if it may.
    pub(super) fn send_chunk(&mut self) -> Option<Sent> {
        let bytes = self.sender.send_on(Stream::Bulk)?;
        let head = bytes[wire::HEADER_BYTES..].first_chunk().unwrap();
        let head = ChunkHead::from_bytes(head);
        let header = wire::Header::parse(bytes.first_chunk().unwrap(), BODY_BYTES_MAX).unwrap();
        self.bulk.push_back(bytes);
        Some((
            head.transfer,
            (header.length - wire::CHUNK_HEAD_BYTES) as u64,
        ))
    }

    /// The sender sends all that it may.
    pub(super) fn send_chunks(&mut self) -> Vec<Sent> {
        std::iter::from_fn(|| self.send_chunk()).collect()
    }

    /// One message, or what was sent with it, comes; false if none is on its way.
    pub(super) fn receive_messages(&mut self) -> Result<bool, LinkError> {
        let Some(bytes) = self.messages.pop_front() else {
            return Ok(false);
        };
        self.receiver
            .feed_on(Stream::Messages, &bytes, &[usize::MAX])?;
        Ok(true)
    }

    /// One chunk comes, if the receiver takes any; false if none is on its way.
    pub(super) fn receive_chunk(&mut self) -> Result<bool, LinkError> {
        let Some(bytes) = self.bulk.pop_front() else {
            return Ok(false);
        };
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            if !self.receiver.link.may_receive(Stream::Bulk) {
                self.bulk.push_front(rest.to_vec());
                return Ok(false);
            }
            let buffer = self.receiver.link.next_receive(Stream::Bulk);
            let count = room(&buffer).min(rest.len());
            let buffer = fill(buffer, &rest[..count]);
            rest = &rest[count..];
            self.receiver.received_on(Stream::Bulk, count, buffer)?;
        }
        Ok(true)
    }

    /// What was granted comes to the sender; false if nothing is on its way.
    pub(super) fn receive_grants(&mut self) -> Result<bool, LinkError> {
        let Some(bytes) = self.grants.pop_front() else {
            return Ok(false);
        };
        std::mem::swap(&mut self.back.link, &mut self.sender.link);
        let fed = self.back.feed_on(Stream::Messages, &bytes, &[usize::MAX]);
        std::mem::swap(&mut self.back.link, &mut self.sender.link);
        fed?;
        Ok(true)
    }

    /// Everything is sent and comes that may. True if anything moved.
    pub(super) fn settle(&mut self) -> bool {
        let mut moved = false;
        loop {
            self.send_messages();
            let sent = !self.send_chunks().is_empty();
            let mut came = false;
            while self.receive_messages().unwrap() {
                came = true;
            }
            while self.receive_chunk().unwrap() {
                came = true;
            }
            while self.receive_grants().unwrap() {
                came = true;
            }
            if !(sent || came) {
                return moved;
            }
            moved = true;
        }
    }

    /// Memory has come back.
    pub(super) fn relieve(&mut self) -> bool {
        let Receiver {
            link,
            arena,
            shortage,
            out,
            ..
        } = &mut self.receiver;
        link.relieve(&mut Room { arena, shortage }, out)
    }

    /// Time has passed, or a compartment is closed.
    pub(super) fn give_up(&mut self, passed: std::time::Duration, closed: Option<Compartment>) {
        let Receiver {
            link,
            arena,
            shortage,
            out,
            ..
        } = &mut self.receiver;
        let passed_ns = passed.as_nanos() as u64;
        link.give_up(passed_ns, closed, &mut Room { arena, shortage }, out);
    }

    /// Events that have come, by number, and whether their payload has landed. They stay.
    pub(super) fn come(&self) -> Vec<(u128, bool)> {
        let landed = |message: &Inbound| match message {
            Inbound::StateEvent {
                invocation,
                outputs,
                ..
            } => (
                *invocation,
                outputs.iter().all(|(_, landing)| landing.is_ok()),
            ),
            other => panic!("{other:?}"),
        };
        self.receiver.out.iter().map(landed).collect()
    }

    /// Gives back what the first event that has come holds.
    pub(super) fn release_first(&mut self) -> bool {
        if self.receiver.out.is_empty() {
            return false;
        }
        let message = self.receiver.out.remove(0);
        message.release(&mut self.receiver.arena);
        true
    }

    /// Ends both; nothing may be left.
    pub(super) fn end(self) -> LinkCounters {
        let Self {
            sender, receiver, ..
        } = self;
        let mut flushed = sender.flushed;
        let mut room = Room {
            arena: &mut arena_of(ARENA_BYTES),
            shortage: &mut Shortage::default(),
        };
        sender
            .link
            .close(&mut room, &mut flushed, &mut Vec::new(), &mut Vec::new());
        receiver.settle()
    }
}
