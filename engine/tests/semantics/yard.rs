//! Workers with a clock between them, and a deployment in several placements: messages take the time of their way, and
//! activations that of their worker.

use super::flow::worker_name;
use engine::core::{
    Action, ClientId, Core, CoreConfig, ExecutorId, Incoming, Outbound, Send, Wanted, worker_hash,
};
use engine::plan::{
    Balance, DeploymentId, ExecutablePlan, Limits, NodeId, NodePlan, Participant, Plan,
    RemoteConsumer, RemoteNode, Replica, Trust, Work, WorkerIndex, WorkerRef,
};
use engine::trace::ClockId;
use engine::wire::{Failure, Load};
use faasstore::descriptor::InvocationId;
use std::collections::BTreeMap;

/// How often lanes say what they have to do, whatever else is said.
const BEAT_NS: u64 = 5_000_000;

/// A chain of nodes in several placements: of each, the worker of every node.
pub(crate) struct Layout<'a> {
    pub(crate) workers: usize,
    pub(crate) placements: &'a [&'a [usize]],
    pub(crate) balance: Balance,
    pub(crate) limits: Limits,
    /// The placement for whose constants worker 0 has no room.
    pub(crate) no_room: Option<u16>,
}

impl<'a> Layout<'a> {
    pub(crate) fn new(workers: usize, placements: &'a [&'a [usize]], balance: Balance) -> Self {
        Self {
            workers,
            placements,
            balance,
            limits: Limits::default(),
            no_room: None,
        }
    }
}

enum Event {
    Arrives {
        from: usize,
        send: Box<Send>,
        load: Option<Load>,
    },
    Done {
        worker: usize,
        executor: ExecutorId,
        activation: u32,
    },
    Beat,
    Hears {
        from: usize,
        to: usize,
        loads: Vec<(DeploymentId, Load)>,
    },
}

/// One invocation.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) door: usize,
    /// The placement that took it, from 1.
    pub(crate) placement: Option<u16>,
    pub(crate) asked_ns: u64,
    pub(crate) answered: Option<(u64, Result<(), Failure>)>,
}

pub(crate) struct Yard {
    pub(crate) cores: Vec<Core>,
    /// How long an activation takes, by worker.
    pub(crate) service_ns: Vec<u64>,
    /// How long a message is on its way.
    pub(crate) way_ns: u64,
    pub(crate) now_ns: u64,
    pub(crate) asked: Vec<Asked>,
    /// Placements that have gone, by worker.
    pub(crate) removed: Vec<(usize, DeploymentId)>,
    /// Whoever has an answer asks again until so many have been asked.
    pub(crate) asks: usize,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    seats: Vec<u32>,
    count: u16,
}

/// The id of a placement of a version.
pub(crate) fn placement_id(version: u32, number: u16) -> DeploymentId {
    DeploymentId(u64::from(version) * 100 + u64::from(number))
}

impl Yard {
    /// Every worker has one lane, which is a door, and each placement one executor on it.
    pub(crate) fn new(layout: &Layout<'_>) -> Self {
        let core = |worker: usize| {
            Core::new(CoreConfig {
                worker_hash: hash(worker),
                epoch: 1,
                lane: 0,
                in_flight_max: 10_000,
                grace_ns: 1_000,
                lease_ns_max: None,
                patience_ns: 1_000,
                keep_alive_ns: u64::MAX / 2,
                clock: ClockId::UNKNOWN,
                store: engine::core::store::StoreRules::default(),
            })
        };
        let workers = layout.workers;
        let mut yard = Self {
            cores: (0..workers).map(core).collect(),
            service_ns: vec![1_000; workers],
            way_ns: 100,
            now_ns: 1,
            asked: Vec::new(),
            removed: Vec::new(),
            asks: 0,
            events: BTreeMap::new(),
            scheduled: 0,
            seats: vec![0; workers],
            count: layout.placements.len() as u16,
        };
        for worker in 0..workers {
            for other in (0..workers).filter(|other| *other != worker) {
                yard.cores[worker].door_opened(door(other, 1), 0);
            }
        }
        yard.deploy(layout, 1);
        yard.activate(1);
        yard
    }

    /// Deploys a version everywhere; its door stays closed.
    pub(crate) fn deploy(&mut self, layout: &Layout<'_>, version: u32) {
        for worker in 0..layout.workers {
            for (number, parts) in (1..).zip(layout.placements) {
                let plan = plan(layout, version, number, parts, worker);
                plan.check().expect("a plan that is not whole");
                let (id, pools) = (plan.deployment, plan.executables.len());
                let no_room = worker == 0 && layout.no_room == Some(number);
                let refused = no_room.then(|| Incoming::Refused("the arena is full".into()));
                self.cores[worker].deploy(plan, refused.into_iter().collect());
                if pools > 0 {
                    let seat = ExecutorId(self.seats[worker]);
                    self.seats[worker] += 1;
                    self.cores[worker].executor_joined(self.now_ns, seat, id, 0);
                }
            }
            self.act(worker);
        }
    }

    /// Opens the doors of a version.
    pub(crate) fn activate(&mut self, version: u32) {
        for worker in 0..self.cores.len() {
            self.cores[worker].activate(self.now_ns, placement_id(version, 1));
            self.act(worker);
        }
    }

    /// Retires a version.
    pub(crate) fn retire(&mut self, version: u32) {
        for worker in 0..self.cores.len() {
            self.cores[worker].retire(self.now_ns, placement_id(version, 1));
            self.act(worker);
        }
    }

    /// A client comes to a door; the placement that takes it, if one does.
    pub(crate) fn invoke(&mut self, door: usize) -> Option<u16> {
        let request = self.asked.len() as u64;
        self.asked.push(Asked {
            door,
            placement: None,
            asked_ns: self.now_ns,
            answered: None,
        });
        let (client, wanted) = (ClientId(1), Wanted::NOTHING);
        let core = &mut self.cores[door];
        let taken = core.invoke(self.now_ns, client, request, "flow", Vec::new(), wanted);
        let placement = taken.map(|id| (id.0 % 100) as u16);
        self.asked[request as usize].placement = placement;
        self.act(door);
        placement
    }

    /// Those that take so many invocations of one moment.
    pub(crate) fn invoke_all(&mut self, door: usize, count: usize) -> Vec<u16> {
        let taken = (0..count).map(|_| self.invoke(door));
        taken.map(|placement| placement.expect("refused")).collect()
    }

    /// A lane tells another what it has to do for a placement of the first version.
    pub(crate) fn tell(&mut self, to: usize, from: usize, number: u16, load: Load) {
        let id = placement_id(1, number);
        self.cores[to].hear_load(id, hash(from), 0, load);
    }

    /// Both connections between two workers are gone.
    pub(crate) fn disconnect(&mut self, worker: usize, other: usize) {
        for (here, there) in [(worker, other), (other, worker)] {
            let (core, name) = (&mut self.cores[here], worker_name(there));
            core.peer_lost(self.now_ns, &name, 0, "it was cut off");
            core.door_closed(&name, 0);
            core.link_closed(&name, 0);
            self.act(here);
        }
        self.events.retain(|_, event| match event {
            Event::Arrives { from, send, .. } => {
                let ends = [hash(worker), hash(other)];
                !ends.contains(&hash(*from)) || !ends.contains(&send.worker_hash)
            }
            _ => true,
        });
    }

    /// That worker connects to another in this life of its; the other can send to it, too.
    pub(crate) fn connect(&mut self, worker: usize, other: usize, epoch: u32) {
        let next_sequence = self.cores[worker].next_sequence();
        let core = &mut self.cores[other];
        core.door_opened(door(worker, epoch), next_sequence);
        core.door_heard(&worker_name(worker), 0);
        core.link_opened(&worker_name(worker), 0, epoch);
        self.act(other);
    }

    /// From now on lanes say at each beat what they have to do.
    pub(crate) fn beat(&mut self) {
        self.schedule(BEAT_NS, Event::Beat);
    }

    /// Plays until all that was asked for is answered.
    pub(crate) fn run(&mut self) {
        while self.asked.iter().any(|asked| asked.answered.is_none()) {
            let ((at_ns, _), event) = self.events.pop_first().expect("nothing can happen");
            self.now_ns = at_ns;
            self.happens(event);
        }
    }

    /// Plays for so long.
    pub(crate) fn run_for(&mut self, duration_ns: u64) {
        let until_ns = self.now_ns + duration_ns;
        while let Some(entry) = self.events.first_entry()
            && entry.key().0 <= until_ns
        {
            let ((at_ns, _), event) = entry.remove_entry();
            self.now_ns = at_ns;
            self.happens(event);
        }
        self.now_ns = until_ns;
    }

    fn schedule(&mut self, after_ns: u64, event: Event) {
        self.scheduled += 1;
        let at = (self.now_ns + after_ns, self.scheduled);
        self.events.insert(at, event);
    }

    fn happens(&mut self, event: Event) {
        let now_ns = self.now_ns;
        match event {
            Event::Done {
                worker,
                executor,
                activation,
            } => {
                let core = &mut self.cores[worker];
                core.completed(now_ns, executor, activation, &[]).unwrap();
                self.act(worker);
            }
            Event::Arrives { from, send, load } => self.arrives(from, *send, load),
            Event::Hears { from, to, loads } => {
                for (id, load) in loads {
                    self.cores[to].hear_load(id, hash(from), 0, load);
                }
            }
            Event::Beat => {
                let ends = 0..self.cores.len();
                for (from, to) in ends
                    .clone()
                    .flat_map(|from| ends.clone().map(move |to| (from, to)))
                {
                    let loads = self.cores[from].loads_for(hash(to), 0);
                    if from != to && !loads.is_empty() {
                        self.schedule(self.way_ns, Event::Hears { from, to, loads });
                    }
                }
                self.schedule(BEAT_NS, Event::Beat);
            }
        }
    }

    fn arrives(&mut self, from: usize, send: Send, load: Option<Load>) {
        let to = (0..self.cores.len())
            .find(|to| hash(*to) == send.worker_hash)
            .unwrap();
        let (now_ns, id, core) = (self.now_ns, send.invocation, &mut self.cores[to]);
        if let Some(load) = load {
            core.hear_load(send.deployment, hash(from), 0, load);
        }
        match send.body {
            Outbound::Begin { wanted, .. } => {
                core.begin(now_ns, send.deployment, id, wanted, Vec::new());
            }
            Outbound::StateEvent { node, outcome, .. } => {
                core.state_event(now_ns, send.deployment, id, node, outcome, Vec::new());
            }
            Outbound::PartDone { report, trace, .. } => {
                core.part_done(now_ns, id, Vec::new(), report, trace);
            }
            Outbound::PartFailed {
                failure,
                report,
                trace,
            } => core.part_failed(now_ns, id, failure, report, trace),
            Outbound::Forget { why } => core.forget(now_ns, id, why),
            Outbound::Drained => core.peer_drained(send.deployment, hash(from), 0),
        }
        self.act(to);
    }

    fn act(&mut self, worker: usize) {
        loop {
            let mut actions = Vec::new();
            self.cores[worker].take_actions(&mut actions);
            if actions.is_empty() {
                self.cores[worker].tidy(self.now_ns, &mut actions);
            }
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.act_once(worker, action);
            }
        }
    }

    fn act_once(&mut self, worker: usize, action: Action) {
        match action {
            Action::Start(start) => {
                let event = Event::Done {
                    worker,
                    executor: start.executor,
                    activation: start.activation,
                };
                self.schedule(self.service_ns[worker], event);
            }
            Action::Send(send) => {
                let load = match send.body {
                    Outbound::StateEvent { .. } | Outbound::PartDone { .. } => {
                        self.cores[worker].load_for(send.deployment, send.worker_hash, 0)
                    }
                    _ => None,
                };
                let from = worker;
                self.schedule(self.way_ns, Event::Arrives { from, send, load });
            }
            Action::Answer(answered) => {
                let asked = &mut self.asked[answered.request as usize];
                asked.answered = Some((self.now_ns, answered.result.map(|_| ())));
                let door = asked.door;
                if self.asked.len() < self.asks {
                    self.invoke(door);
                }
            }
            Action::Removed(id) => self.removed.push((worker, id)),
            Action::Stop(executor) => {
                self.cores[worker].executor_left(self.now_ns, executor, "it was told to end");
            }
            Action::Tell { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    /// How many invocations each placement has taken.
    pub(crate) fn shares(&self) -> Vec<usize> {
        let of = |number| {
            self.asked
                .iter()
                .filter(move |asked| asked.placement == Some(number))
        };
        (1..=self.count).map(|number| of(number).count()).collect()
    }

    /// The latency that so many in a thousand of the invocations do not exceed.
    pub(crate) fn latency_ns(&self, per_mille: usize) -> u64 {
        let ended = self.asked.iter().map(|asked| {
            let (answered_ns, result) = asked.answered.as_ref().unwrap();
            assert_eq!(*result, Ok(()));
            answered_ns - asked.asked_ns
        });
        let mut latencies: Vec<u64> = ended.collect();
        latencies.sort_unstable();
        latencies[(latencies.len() - 1) * per_mille / 1000]
    }

    /// Why an invocation has failed.
    pub(crate) fn failure(&self, asked: usize) -> String {
        let answered = self.asked[asked].answered.as_ref();
        let result = &answered.expect("it is not answered").1;
        result.as_ref().expect_err("it ended well").to_string()
    }
}

fn hash(worker: usize) -> u32 {
    worker_hash(&worker_name(worker))
}

fn door(worker: usize, epoch: u32) -> u64 {
    InvocationId::new(hash(worker), epoch, 0, 0).door()
}

fn plan(layout: &Layout<'_>, version: u32, number: u16, parts: &[usize], me: usize) -> Plan {
    let name = |node: usize| format!("n{node}");
    let here = || (0..parts.len()).filter(|node| parts[*node] == me);
    let tells = |node: usize| {
        let next = parts.get(node + 1).filter(|next| **next != me);
        next.map(|next| RemoteConsumer {
            worker: *next as WorkerIndex,
            outputs: Vec::new(),
            sections: Vec::new(),
        })
    };
    let node = |node: usize| NodePlan {
        id: node as NodeId,
        name: name(node),
        work: Work::Function {
            executable: 0,
            function: "f".into(),
            arguments: Vec::new(),
        },
        after: node
            .checked_sub(1)
            .map(|before| before as NodeId)
            .into_iter()
            .collect(),
        remote_consumers: tells(node).into_iter().collect(),
        ..NodePlan::default()
    };
    let before = here().filter_map(|node| node.checked_sub(1));
    let remote = before
        .filter(|before| parts[*before] != me)
        .map(|before| RemoteNode {
            id: before as NodeId,
            name: name(before),
            worker: parts[before] as WorkerIndex,
            outputs: Vec::new(),
            error_output: None,
            cases: 0,
            catches: 0,
            part: None,
        });
    let mut participants: Vec<usize> = parts.to_vec();
    participants.sort_unstable();
    participants.dedup();
    let pool = ExecutablePlan {
        name: "functions".into(),
        scale: 1,
        memory_mib: 1,
        trust: Trust::Own,
    };
    Plan {
        deployment: placement_id(version, number),
        replica: Replica {
            of: placement_id(version, 1),
            number,
            count: layout.placements.len() as u16,
            balance: layout.balance,
        },
        workflow: "flow".into(),
        version,
        me: me as WorkerIndex,
        workers: (0..layout.workers)
            .map(|worker| WorkerRef {
                name: worker_name(worker),
                address: format!("127.0.0.1:{}", 7000 + worker),
                lanes: 1,
                epoch: version,
            })
            .collect(),
        inputs: Vec::new(),
        constants: Vec::new(),
        timeout_ms: None,
        outputs: Vec::new(),
        participants: participants
            .into_iter()
            .map(|worker| Participant {
                worker: worker as WorkerIndex,
                inputs: Vec::new(),
                sections: Vec::new(),
            })
            .collect(),
        regions: Vec::new(),
        nodes: here().map(node).collect(),
        remote_nodes: remote.collect(),
        wholes: Vec::new(),
        executables: here().take(1).map(|_| pool.clone()).collect(),
        types: Vec::new(),
        maxima: Vec::new(),
        memory: None,
        limits: layout.limits,
    }
}
