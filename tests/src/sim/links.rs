//! Connections between simulated lanes: first in, first out, but for payloads that are still streaming in; and what
//! becomes of messages when a connection breaks and is made anew, while each end learns of it in its own time.

use super::lane::Lane;
use super::reads::way_of;
use super::{Cluster, Event};
use engine::core::lease::Payload;
use engine::core::{Incoming, Outbound, Outgoing, Send, worker_hash};
use engine::plan::DeploymentId;
use engine::wire::{self, ITEM_ABSENT, Load};
use faasstore::descriptor::{InvocationId, PayloadRef};
use std::collections::VecDeque;

/// Items of a list that travels lie one behind the other, each padded to a multiple of this.
const ITEM_ALIGN: usize = 16;
/// In a thousand messages with payloads: those whose payloads come later than the messages behind them.
const STREAMED: u32 = 350;
/// In a thousand messages: those for whose payloads there is no memory at first.
const SHORT: u32 = 100;

#[derive(Clone, Debug)]
struct Message {
    invocation: InvocationId,
    deployment: DeploymentId,
    body: Outbound,
    load: Option<Load>,
}

impl Message {
    fn outgoing(&self) -> Vec<&Outgoing> {
        match &self.body {
            Outbound::Begin {
                inputs: numbered, ..
            }
            | Outbound::StateEvent {
                outputs: numbered, ..
            }
            | Outbound::PartDone {
                outputs: numbered, ..
            } => numbered.iter().map(|(_, outgoing)| outgoing).collect(),
            Outbound::PartFailed { .. } | Outbound::Forget { .. } | Outbound::Drained => Vec::new(),
        }
    }
}

/// A connection by which one lane sends to another, and those that took its place.
#[derive(Debug)]
pub(super) struct Link {
    from: usize,
    to: usize,
    /// What is sent arrives.
    intact: bool,
    /// As far as the sender knows.
    sender_up: bool,
    /// As far as the receiver knows.
    receiver_up: bool,
    /// The sender has connected anew, while the receiver has not learned that the earlier connection is gone.
    receiver_stale: bool,
    /// The receiving core was told that a connection is gone, and of none since.
    told_closed: bool,
    /// The sending core was told that it cannot send, and not that it can since.
    told_unreachable: bool,
    /// A new connection that the receiving lane has not been given yet.
    greeting: Option<Greeting>,
    queue: VecDeque<Message>,
    /// Messages whose payloads are streaming in.
    landing: Vec<Message>,
}

#[derive(Clone, Copy, Debug)]
struct Greeting {
    next_sequence: u64,
    step: u64,
}

impl Link {
    pub(super) fn new(from: usize, to: usize) -> Self {
        let (queue, landing) = (VecDeque::new(), Vec::new());
        Self {
            from,
            to,
            intact: false,
            sender_up: false,
            receiver_up: false,
            receiver_stale: false,
            told_closed: false,
            told_unreachable: false,
            greeting: None,
            queue,
            landing,
        }
    }

    pub(super) fn events(
        &self,
        index: usize,
        links: &[Self],
        lanes: &[Lane],
        events: &mut Vec<Event>,
    ) {
        let (sends, receives) = (lanes[self.from].alive, lanes[self.to].alive);
        if self.delivers() {
            if !self.queue.is_empty() {
                events.push(Event::Deliver(index));
            }
            events.extend((0..self.landing.len()).map(|landing| Event::Land {
                link: index,
                index: landing,
            }));
            return;
        }
        if !self.intact && self.sender_up && sends {
            events.push(Event::SenderLearns(index));
        }
        if receives && (self.receiver_stale || (!self.intact && self.receiver_up)) {
            events.push(Event::ReceiverLearns(index));
        }
        if !self.intact && !self.sender_up && self.greeting.is_none() && sends && receives {
            events.push(Event::Connect(index));
        }
        if receives && self.greeting.is_some() && links.iter().all(|other| !other.precedes(self)) {
            events.push(Event::Accept(index));
        }
    }

    /// Whether what is sent arrives, now.
    pub(super) const fn delivers(&self) -> bool {
        self.intact && self.receiver_up
    }

    /// Its ends, if nothing is on its way by it and it stands.
    pub(super) fn is_silent(&self) -> Option<(usize, usize)> {
        let stands = self.intact && self.sender_up && self.receiver_up;
        (stands && self.queue.is_empty()).then_some((self.from, self.to))
    }

    /// Whether something of this link comes before the other one's connection is accepted: a beginning that is under
    /// way to the same lane, or an earlier connection to it.
    ///
    /// The core relies on it: a connection does not break, become known to both ends, and be made anew while the word
    /// of an invocation, sent before all that, is still on its way by a third party's connection.
    fn precedes(&self, other: &Self) -> bool {
        if self.to != other.to || self.from == other.from {
            return false;
        }
        let mut under_way = self.queue.iter().chain(&self.landing);
        let begins = under_way.any(|message| matches!(message.body, Outbound::Begin { .. }));
        let accepted_earlier = match (self.greeting, other.greeting) {
            (Some(mine), Some(theirs)) => mine.step < theirs.step,
            _ => false,
        };
        accepted_earlier || (begins && self.intact && self.receiver_up)
    }
}

impl Cluster {
    /// The sender has connected, and greeted with the number that its next invocation will have.
    pub(super) fn connect(&mut self, link: usize) {
        let next_sequence = self.lanes[self.links[link].from].core.next_sequence();
        let step = self.steps;
        let (from, to) = (self.links[link].from, self.links[link].to);
        let name = self.worker_name(to);
        let Lane {
            worker,
            epoch,
            number,
            ..
        } = self.lanes[to];
        self.lanes[from].known.connected(worker, epoch);
        self.lanes[from].core.link_opened(&name, number, epoch);
        let link = &mut self.links[link];
        link.told_unreachable = false;
        link.greeting = Some(Greeting {
            next_sequence,
            step,
        });
        (link.intact, link.sender_up) = (true, true);
        link.receiver_stale |= std::mem::replace(&mut link.receiver_up, false);
    }

    /// The receiving lane takes a new connection over.
    pub(super) fn accept(&mut self, link: usize) {
        if self.links[link].receiver_stale {
            self.receiver_learns(link);
        }
        let Some(greeting) = self.links[link].greeting.take() else {
            return;
        };
        self.links[link].receiver_up = true;
        self.links[link].told_closed = false;
        let (from, to) = (self.links[link].from, self.links[link].to);
        let door = self.lanes[from].id(0).door();
        let name = self.worker_name(from);
        let Lane {
            worker,
            epoch,
            number,
            ..
        } = self.lanes[from];
        let receiver = &mut self.lanes[to];
        receiver.known.connected(worker, epoch);
        receiver.core.door_opened(door, greeting.next_sequence);
        // The sender has had its end since it connected.
        receiver.core.door_heard(&name, number);
        self.act(to);
    }

    /// A lane knows that an invocation is over: nothing of it starts there any more.
    fn is_over_at(&mut self, lane: usize, invocation: InvocationId) {
        if let Some(asked) = self.by_id.get(&invocation) {
            let since_ns = self.now_ns;
            let forgotten = &mut self.asked[*asked].forgotten;
            forgotten.entry(lane).or_insert(since_ns);
        }
    }

    /// A lane has the word of an invocation.
    fn is_taken_up(&mut self, lane: usize, invocation: InvocationId) {
        let (worker, now) = (self.lanes[lane].worker, self.now());
        if let Some(asked) = self.by_id.get(&invocation) {
            let asked = &mut self.asked[*asked];
            let deployed = &self.scenario.deployments[asked.deployment];
            let entry = &deployed.plans[self.lanes[asked.lane].worker];
            for node in &deployed.plans[worker].nodes {
                // Of several parts the first one says from when on there can be anything.
                let written = deployed.written(node.id);
                let mut at_once = entry.nodes.iter().map(|node| deployed.written(node.id));
                if !at_once.any(|node| node == written) {
                    asked.trace.begun.entry(written).or_insert(now);
                }
            }
        }
    }

    /// Queues a core's message.
    pub(super) fn send(&mut self, from: usize, send: Send) {
        let Send {
            worker_hash: hash,
            to_lane,
            invocation,
            deployment,
            body,
        } = send;
        match &body {
            Outbound::PartFailed { .. } => self.is_over_at(from, invocation),
            Outbound::StateEvent {
                node,
                outcome: wire::Outcome::Skipped,
                ..
            } => self.starts_skipped(invocation, *node),
            _ => {}
        }
        let to = self.lanes.iter().position(|lane| {
            worker_hash(&crate::plans::worker_name(lane.worker)) == hash && lane.number == to_lane
        });
        let to = to.expect("a message to a lane that there is not");
        let link = *self
            .link_by_ends
            .get(&(from, to))
            .expect("a message to its own worker");
        if let Some(asked) = self.by_id.get(&invocation) {
            let runs_in = self.scenario.deployments[self.asked[*asked].deployment]
                .name
                .id;
            assert_eq!(deployment, runs_in, "it leaves its placement");
        }
        let load = match body {
            Outbound::StateEvent { .. } | Outbound::PartDone { .. } => {
                self.load_told(from, to, deployment)
            }
            _ => None,
        };
        let message = Message {
            invocation,
            deployment,
            body,
            load,
        };
        let state = &mut self.links[link];
        if state.sender_up {
            state.queue.push_back(message);
            return;
        }
        self.let_go(from, &message);
        let now_ns = self.now_ns;
        self.loses(from, to, now_ns, "there is no connection");
    }

    /// The message at the head arrives, or its payloads begin to.
    pub(super) fn deliver_next(&mut self, link: usize) {
        let Some(message) = self.links[link].queue.pop_front() else {
            return;
        };
        if self.random.chance(SHORT) {
            self.run_out_of_memory(self.links[link].to, message.deployment);
        }
        let heavy = message
            .outgoing()
            .iter()
            .any(|outgoing| !outgoing.payloads().is_empty());
        if !heavy || !self.random.chance(STREAMED) {
            self.arrive(link, message);
            return;
        }
        if matches!(message.body, Outbound::Begin { .. }) {
            let to = self.links[link].to;
            self.lanes[to]
                .core
                .begin_coming(message.deployment, message.invocation);
            self.act(to);
        }
        self.links[link].landing.push(message);
    }

    /// The last payload of a message has streamed in.
    pub(super) fn land(&mut self, link: usize, index: usize) {
        let message = self.links[link].landing.remove(index);
        self.arrive(link, message);
    }

    fn arrive(&mut self, link: usize, message: Message) {
        let (from, to) = (self.links[link].from, self.links[link].to);
        let now_ns = self.lanes[to].exact_ns(self.now_ns);
        let Message {
            invocation,
            deployment,
            body,
            load,
        } = message.clone();
        if let Some(load) = load {
            self.hear_load(from, to, deployment, load);
        }
        match body {
            Outbound::Begin { wanted, inputs } => {
                let inputs = self.numbered(from, to, &message, inputs);
                self.is_taken_up(to, invocation);
                self.lanes[to]
                    .core
                    .begin(now_ns, deployment, invocation, wanted, inputs);
            }
            Outbound::StateEvent {
                node,
                outcome,
                outputs,
            } => {
                let mut first = self.numbered(from, to, &message, outputs.clone());
                for (output, incoming) in &mut first {
                    let core = &self.lanes[to].core;
                    if core.is_taken_early(deployment, node, *output) {
                        let whole = std::mem::replace(incoming, Incoming::Refused(String::new()));
                        *incoming = self.take_early(whole, (link, to), invocation);
                    }
                }
                let Some(outcome) = self.event_taken(invocation, node, outcome) else {
                    self.is_let_go(from, &message);
                    return;
                };
                let core = &mut self.lanes[to].core;
                core.state_event(now_ns, deployment, invocation, node, outcome.clone(), first);
                if self.random.chance(self.scenario.faults.doubles) {
                    self.doubled += 1;
                    let (sender, receiver) = pair(&mut self.lanes, from, to);
                    let carried = outputs
                        .iter()
                        .map(|(n, one)| (*n, carry(one, sender, receiver)));
                    let outputs = carried.collect();
                    let core = &mut self.lanes[to].core;
                    core.state_event(now_ns, deployment, invocation, node, outcome, outputs);
                }
            }
            Outbound::PartDone {
                outputs,
                report,
                trace,
            } => {
                let outputs = self.numbered(from, to, &message, outputs);
                self.lanes[to]
                    .core
                    .part_done(now_ns, invocation, outputs, report, trace);
            }
            Outbound::PartFailed {
                failure,
                report,
                trace,
            } => {
                self.abort(to, invocation);
                self.lanes[to]
                    .core
                    .part_failed(now_ns, invocation, failure, report, trace);
            }
            Outbound::Forget { why } => {
                self.abort(to, invocation);
                self.is_over_at(to, invocation);
                if self.hears_end() {
                    self.lanes[to].core.forget(now_ns, invocation, why);
                }
            }
            Outbound::Drained => {
                let hash = worker_hash(&self.worker_name(from));
                let number = self.lanes[from].number;
                self.lanes[to].core.peer_drained(deployment, hash, number);
            }
        }
        self.is_let_go(from, &message);
        self.act(to);
    }

    /// Payloads of an invocation that is over are not waited for, on whichever connection.
    pub(super) fn abort(&mut self, to: usize, invocation: InvocationId) {
        for link in 0..self.links.len() {
            if self.links[link].to != to {
                continue;
            }
            let landing = std::mem::take(&mut self.links[link].landing);
            let (gone, kept) = landing
                .into_iter()
                .partition(|message| message.invocation == invocation);
            self.links[link].landing = kept;
            let gone: Vec<Message> = gone;
            for message in gone {
                self.is_let_go(self.links[link].from, &message);
            }
        }
    }

    fn numbered(
        &mut self,
        from: usize,
        to: usize,
        message: &Message,
        numbered: Vec<(u16, Outgoing)>,
    ) -> Vec<(u16, Incoming)> {
        let arrived = |(number, outgoing): (u16, Outgoing)| {
            if self.random.chance(self.scenario.faults.refused_payloads) {
                if let Some(asked) = self.by_id.get(&message.invocation) {
                    self.asked[*asked].payload_refused = true;
                }
                return (number, Incoming::Refused("it is too long".into()));
            }
            let (sender, receiver) = pair(&mut self.lanes, from, to);
            let incoming = match lends(from, to) {
                true => lend(&outgoing, sender, receiver),
                false => carry(&outgoing, sender, receiver),
            };
            receiver.has_come(&incoming, way_of(&incoming));
            (number, incoming)
        };
        numbered.into_iter().map(arrived).collect()
    }

    /// A message will be sent no more, or is sent: its payloads are read no more. What follows is carried out later.
    fn let_go(&mut self, lane: usize, message: &Message) {
        if self.lanes[lane].alive {
            for outgoing in message.outgoing() {
                self.lanes[lane].core.let_go_all(outgoing.payloads());
            }
        }
    }

    /// As [`Self::let_go`], by an event of the sender's own.
    fn is_let_go(&mut self, lane: usize, message: &Message) {
        if self.lanes[lane].alive {
            self.let_go(lane, message);
            self.act(lane);
        }
    }

    pub(super) fn a_link_breaks(&mut self) {
        if self.links.is_empty() {
            return;
        }
        let link = self.random.below(self.links.len());
        if self.links[link].intact {
            for lane in [self.links[link].from, self.links[link].to] {
                let name = self.worker_name(lane);
                self.lost_workers.insert(name);
            }
            self.cut(link);
        }
    }

    /// Nothing arrives by this connection any more. What the sender holds for it, it holds until it learns.
    fn cut(&mut self, link: usize) {
        let link = &mut self.links[link];
        link.intact = false;
        link.queue.extend(link.landing.drain(..));
    }

    pub(super) fn sender_learns(&mut self, link: usize) {
        let (from, to) = (self.links[link].from, self.links[link].to);
        self.links[link].sender_up = false;
        let unsent = std::mem::take(&mut self.links[link].queue);
        for message in &unsent {
            self.let_go(from, message);
        }
        let (name, number) = (self.worker_name(to), self.lanes[to].number);
        let now_ns = self.lanes[from].exact_ns(self.now_ns);
        self.loses(from, to, now_ns, "the connection broke");
        self.lanes[from].core.link_closed(&name, number);
        self.links[link].told_unreachable = true;
        self.act(from);
    }

    pub(super) fn receiver_learns(&mut self, link: usize) {
        let (from, to) = (self.links[link].from, self.links[link].to);
        if !std::mem::replace(&mut self.links[link].receiver_stale, false) {
            self.links[link].receiver_up = false;
        }
        self.links[link].told_closed = true;
        let (name, number) = (self.worker_name(from), self.lanes[from].number);
        let now_ns = self.lanes[to].exact_ns(self.now_ns);
        self.loses(to, from, now_ns, "the connection broke");
        self.lanes[to].core.door_closed(&name, number);
        self.arrivals_end(link, to);
        self.act(to);
    }

    /// Whether a participant cannot be heard by a lane that would take an invocation, or not be told of it, as far as that
    /// lane knows.
    pub(super) fn is_cut_off(&self, lane: usize, deployment: usize) -> bool {
        let taker = &self.lanes[lane];
        let plan = &self.scenario.deployments[deployment].plans[taker.worker];
        let takes_part = |sender: &Lane| {
            let mut workers = plan
                .participants
                .iter()
                .map(|part| usize::from(part.worker));
            let lanes = self.scenario.lanes[sender.worker];
            workers.any(|worker| worker == sender.worker) && sender.number == taker.number % lanes
        };
        let mut links = self.links.iter();
        links.any(|link| {
            let unheard = link.to == lane && link.told_closed;
            let untold = link.from == lane && link.told_unreachable;
            unheard && takes_part(&self.lanes[link.from])
                || untold && takes_part(&self.lanes[link.to])
        })
    }

    /// The ends of all connections of a worker that has died.
    pub(super) fn cut_off(&mut self, worker: usize) {
        for index in 0..self.links.len() {
            let (from, to) = (self.links[index].from, self.links[index].to);
            let (sends, receives) = (
                self.lanes[from].worker == worker,
                self.lanes[to].worker == worker,
            );
            if !sends && !receives {
                continue;
            }
            self.cut(index);
            let link = &mut self.links[index];
            link.greeting = None;
            if sends {
                link.queue.clear();
                link.sender_up = false;
                link.told_unreachable = false;
            } else {
                (link.receiver_up, link.receiver_stale) = (false, false);
                link.told_closed = false;
            }
        }
    }
}

/// Copies a payload from one lane's memory into another's.
fn carry(outgoing: &Outgoing, from: &Lane, to: &mut Lane) -> Incoming {
    match outgoing {
        Outgoing::One(payload) => Incoming::One(
            to.memory
                .commit(from.memory.read(from.core.locate(*payload))),
        ),
        Outgoing::List(payloads) | Outgoing::Section(payloads, _) => {
            let section = match outgoing {
                Outgoing::Section(_, section) => Some(*section),
                Outgoing::One(_) | Outgoing::List(_) => None,
            };
            let mut bytes = Vec::new();
            let mut items = Vec::new();
            for payload in payloads {
                if payload.is_absent() {
                    items.push((bytes.len() as u64, ITEM_ABSENT));
                    continue;
                }
                let item = from.memory.read(from.core.locate(*payload));
                items.push((bytes.len() as u64, item.len() as u64));
                bytes.extend(item);
                bytes.resize(bytes.len().next_multiple_of(ITEM_ALIGN), 0);
            }
            Incoming::List {
                range: to.memory.commit(bytes),
                items,
                section,
            }
        }
    }
}

/// Whether two lanes are of workers on one host: what one sends the other comes piece by piece, each a range of its own.
const fn lends(from: usize, to: usize) -> bool {
    !(from + to).is_multiple_of(2)
}

/// As [`carry`], as one worker lends it to another. Where the bytes lie is nothing that a core could see.
fn lend(outgoing: &Outgoing, from: &Lane, to: &mut Lane) -> Incoming {
    let mut piece = |payload: &Payload| match (payload.is_absent(), payload.length()) {
        (true, _) => PayloadRef::ABSENT,
        (false, 0) => PayloadRef::EMPTY,
        (false, _) => to
            .memory
            .commit(from.memory.read(from.core.locate(*payload))),
    };
    match outgoing {
        Outgoing::One(payload) => Incoming::Lent(piece(payload)),
        Outgoing::List(payloads) => Incoming::LentList {
            items: payloads.iter().map(piece).collect(),
            section: None,
        },
        Outgoing::Section(payloads, section) => Incoming::LentList {
            items: payloads.iter().map(piece).collect(),
            section: Some(*section),
        },
    }
}

fn pair(lanes: &mut [Lane], from: usize, to: usize) -> (&Lane, &mut Lane) {
    let [from, to] = lanes.get_disjoint_mut([from, to]).expect("two lanes");
    (from, to)
}
