//! What cores want done, and what they tell each other.

use super::{Attempt, Rig, Seen, What};
use crate::flow::worker_name;
use engine::core::{Action, Describe, Incoming, Outbound, Outgoing, Send, worker_hash};
use faasstore::descriptor::{ItemAnswer, NO_ITEM};

impl Rig {
    /// Carries out what the cores want, until they want no more.
    pub(super) fn settle(&mut self) {
        loop {
            let mut busy = false;
            for worker in 0..self.cores.len() {
                let mut actions = Vec::new();
                self.cores[worker].take_actions(&mut actions);
                if actions.is_empty() {
                    self.cores[worker].tidy(self.now_ns, &mut actions);
                }
                busy |= !actions.is_empty();
                for action in actions {
                    self.act(worker, action);
                }
            }
            if !busy {
                let Some((from, send)) = self.messages.pop_front() else {
                    return;
                };
                self.deliver(from, *send);
            }
        }
    }

    pub(super) fn act(&mut self, worker: usize, action: Action) {
        match action {
            Action::Start(start) => {
                let mut saw = Vec::new();
                self.cores[worker].inputs(&start, |input| saw.push(self.seen(worker, input)));
                let (node, _) = self.cores[worker].started_node(&start);
                self.starts(Attempt {
                    node: self.name(node),
                    item: (start.item != NO_ITEM).then_some(start.item),
                    attempt: start.attempt,
                    saw,
                    worker,
                    what: What::Start(start),
                });
            }
            Action::Evaluate(evaluate) => {
                let mut saw = Vec::new();
                let core = &self.cores[worker];
                core.evaluation_inputs(&evaluate, |input| saw.push(self.seen(worker, input)));
                self.starts(Attempt {
                    node: self.name(evaluate.node),
                    item: None,
                    attempt: 1,
                    saw,
                    worker,
                    what: What::Evaluate(evaluate),
                });
            }
            Action::Describe(describe) => {
                let Describe { ticket, text, .. } = *describe;
                let text = Incoming::One(self.fresh(&text));
                self.cores[worker].described(self.now_ns, ticket, text);
            }
            Action::Release(range) => {
                assert!(
                    self.held.remove(&range.offset),
                    "given back twice: {range:?}"
                );
                let owner = self.arena.filter(|_| range.segment > 0);
                let owner = owner.map(|arena| arena.owner);
                if let Some(owner) = owner.filter(|owner| self.waiting_for_room.contains(owner)) {
                    self.cores[worker].range_returned(owner);
                }
            }
            Action::Send(send) => self.messages.push_back((worker, send)),
            Action::Answer(answered) => {
                if let Ok(outputs) = &answered.result {
                    for (name, outgoing) in outputs {
                        let seen = self.outgoing(worker, outgoing);
                        self.outputs.insert(name.clone(), seen);
                        self.cores[worker].let_go_all(outgoing.payloads());
                    }
                }
                assert!(self.answer.replace(*answered).is_none(), "a second answer");
            }
            Action::Tell {
                executor,
                activation,
                why,
            } => {
                let is_told = |attempt: &&Attempt| {
                    let start = match &attempt.what {
                        What::Start(start) => {
                            Some((attempt.worker, start.executor, start.activation))
                        }
                        What::Evaluate(_) => None,
                    };
                    start == Some((worker, executor, activation))
                };
                let told = self.running.iter().find(is_told);
                let told =
                    told.unwrap_or_else(|| panic!("{activation} of {executor:?} does not run"));
                self.told.push((told.node.clone(), why));
            }
            Action::Kill { .. } => self.killed += 1,
            Action::CarryOut(order) => self.carrying.push(*order),
            Action::BringBack { ticket, .. } => self.coming.push(ticket),
            Action::Discard(ticket) => assert!(self.away.remove(&ticket).is_some()),
            Action::CopyIn(order) => self.copying.push(*order),
            Action::Item(given) => {
                let text = match given.answer {
                    ItemAnswer::Here(place) => match self.text(place) {
                        Seen::One(text) => text,
                        other => panic!("{other:?}"),
                    },
                    ItemAnswer::NoRoom => "(no room)".to_owned(),
                    ItemAnswer::Stopped => "(stopped)".to_owned(),
                };
                self.given.push((given.name.item, text));
            }
            Action::Room(given) => {
                assert!(self.waiting_for_room.remove(&given.executor), "{given:?}");
                self.rooms.push(given.answer);
            }
            Action::Measure(_) => {}
            Action::Stop(id) => {
                self.stopped += 1;
                self.leaving.push((worker, id));
            }
            Action::ExecutorWanted { .. } => self.wanted += 1,
            Action::Removed(_) => {}
        }
    }

    pub(super) fn deliver(&mut self, from: usize, send: Send) {
        let to = (0..self.cores.len())
            .find(|worker| worker_hash(&worker_name(*worker)) == send.worker_hash)
            .unwrap();
        let (now_ns, id) = (self.now_ns, send.invocation);
        if let Some(cause) = self.unsendable.take() {
            let held = match &send.body {
                Outbound::Begin { inputs: held, .. }
                | Outbound::StateEvent { outputs: held, .. }
                | Outbound::PartDone { outputs: held, .. } => held.as_slice(),
                _ => &[],
            };
            let core = &mut self.cores[from];
            held.iter()
                .for_each(|(_, outgoing)| core.let_go_all(outgoing.payloads()));
            core.untold(now_ns, send.deployment, id, cause.to_owned());
            return;
        }
        let mut copy = |outputs: Vec<(u16, Outgoing)>| -> Vec<(u16, Incoming)> {
            let copied = outputs.iter().map(|(number, outgoing)| {
                let mut incoming = match self.outgoing(from, outgoing) {
                    _ if self.refusing => Incoming::Refused("no memory".into()),
                    Seen::One(text) => Incoming::One(self.fresh(&text)),
                    Seen::List(items) => self.list(&items),
                    Seen::Absent => panic!("what is absent was sent"),
                };
                self.sent += outgoing.payloads().len();
                if let (Outgoing::Section(_, part), Incoming::List { section, .. }) =
                    (outgoing, &mut incoming)
                {
                    *section = Some(*part);
                }
                self.cores[from].let_go_all(outgoing.payloads());
                (*number, incoming)
            });
            copied.collect()
        };
        match send.body {
            Outbound::Begin { wanted, inputs } => {
                let inputs = copy(inputs);
                self.cores[to].begin(now_ns, send.deployment, id, wanted, inputs);
            }
            Outbound::StateEvent {
                node,
                outcome,
                outputs,
            } => {
                let outputs = copy(outputs);
                self.cores[to].state_event(now_ns, send.deployment, id, node, outcome, outputs);
            }
            Outbound::PartDone {
                outputs,
                report,
                trace,
            } => {
                let outputs = copy(outputs);
                self.cores[to].part_done(now_ns, id, outputs, report, trace);
            }
            Outbound::PartFailed {
                failure,
                report,
                trace,
            } => {
                self.cores[to].part_failed(now_ns, id, failure, report, trace);
            }
            Outbound::Forget { why } => self.cores[to].forget(now_ns, id, why),
            Outbound::Drained => {
                let from = worker_hash(&worker_name(from));
                self.cores[to].peer_drained(send.deployment, from, 0);
            }
        }
    }
}
