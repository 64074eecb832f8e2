//! The trigger core: which activation runs when, and which payload is needed how long. Sans-I/O.
//!
//! It takes events ([`Core::invoke`], [`Core::completed`], [`Core::state_event`], ...) and returns [`Action`]s. It has
//! no socket, no thread and no clock: events bring the time where it matters. Its state is a function of the events it
//! was given, so it can be simulated and replayed; nothing in it depends on the order of a hash table.
//!
//! It owns, in private memory, every invocation's counters and payloads, the leases, the pools' queues and the timers.
//! It leaves to the lane: descriptors and memory, processes, and connections. It promises that an invocation taken is
//! answered once, that a payload is let go of when its last reader has ended, and that a late result changes nothing.
//!
//! | file | subject |
//! | --- | --- |
//! | `exchange` | what goes in and comes out |
//! | `program` | what a plan becomes: nodes, edges and slots by dense numbers |
//! | `compile`, `nesting` | how it becomes that; which part lies within which |
//! | `invocation` | what is kept of one invocation |
//! | `lease` | who needs which range |
//! | `store` | what is carried out of memory and back |
//! | `quota`, `gate`, `relief` | workflows that are pressed for memory: who may start, and how room is made |
//! | `victims`, `ways` | which payloads leave, and where each may go |
//! | `room` | the same where memory itself has run out |
//! | `full` | executors whose arena is full while they run something |
//! | `scratch` | what they keep for use again |
//! | `window` | lists that are read item by item, since they do not fit into memory |
//! | `pool` | executors and what waits for them |
//! | `door` | clients: taking or refusing, and telling the participants |
//! | `cancel` | clients that take back what they have asked for |
//! | `peers` | what lanes of peers tell |
//! | `flow` | starting and completion of activations |
//! | `trigger` | edges decide which nodes run, which are skipped, and when |
//! | `outcome` | how nodes end, and which edges are live then |
//! | `region` | foreach: the nodes that run for each item of a list |
//! | `item_start` | what all items of a region have in common |
//! | `whole` | divided regions: what others see of all parts together |
//! | `list` | the items of a list that are here |
//! | `by_place` | what goes with an item or an invocation |
//! | `borne` | failures that nobody but joins of some wait for |
//! | `failure` | retries, catches, and what fails an invocation |
//! | `retried` | how often each of several retriers has tried an activation again |
//! | `evaluate` | what the lane computes itself |
//! | `foresight` | what will start next, said before it is decided |
//! | `inputs` | what activations read |
//! | `outputs` | what activations return |
//! | `payloads` | into slots, out to others, and let go of |
//! | `sending` | what is still being sent of invocations that are over |
//! | `end` | answering, failing, cleaning up |
//! | `holding` | how long what runs may hold what it reads |
//! | `replace` | executors that are replaced |
//! | `timers` | what is due when |
//! | `doors` | peers that come and go |
//! | `retire` | deployments on their way out |
//! | `replicas` | which of several placements takes an invocation |
//! | `reads` | what is read over which edge, and how it came |
//! | `report`, `record` | times and bytes for those who ask; each attempt by itself |
//! | `types` | what payloads from elsewhere are said to be |
//! | `profile` | what is measured of a deployment as it runs |
//! | `holders` | who holds what, since when, for those who ask |

mod borne;
mod by_place;
mod cancel;
mod compile;
mod door;
mod doors;
mod end;
mod evaluate;
mod exchange;
mod failure;
mod flow;
mod foresight;
mod full;
mod gate;
mod holders;
mod holding;
mod inputs;
mod invocation;
mod item_start;
pub mod lease;
mod list;
mod nesting;
mod outcome;
mod outputs;
mod payloads;
mod peers;
mod pool;
mod profile;
mod program;
mod quota;
mod reads;
mod record;
mod region;
mod relief;
mod replace;
mod replicas;
mod report;
mod retire;
mod retried;
mod room;
mod scratch;
mod sending;
pub mod store;
mod timers;
mod trigger;
mod types;
mod victims;
mod ways;
mod whole;
mod window;

pub use evaluate::{Evaluate, Evaluated, Part, Ticket};
pub use exchange::{
    Action, Answered, CarryOut, ClientId, CompletionError, CopyIn, CoreCounters, Held, Incoming,
    InputForm, ItemGiven, Outbound, Outgoing, Output, Piece, Refusal, RoomGiven, Send, Start,
};
pub use failure::Describe;
pub use foresight::{Foreseen, ForeseenInput, Next};
pub use holders::Holder;
pub use inputs::Input;
pub use pool::ExecutorId;
pub use profile::HISTOGRAMS_MAX;
pub use report::Wanted;
pub use types::Origin;

use crate::plan::{DeploymentId, NodeId, Plan, WorkerIndex, executors_on};
use crate::reads::{Reads, Way};
use crate::trace::ClockId;
use crate::wire::Failure;
use borne::Borne;
use by_place::ByPlace;
use cancel::Asked;
use doors::{Doors, LaneKey};
use faasstore::binding::{Kind, Maximum};
use faasstore::descriptor::{InvocationId, NO_ITEM, PayloadRef};
use full::WantsRoom;
use invocation::{Extras, Invocation, Lists, Place, Value};
use lease::{Account, LeaseId, Leases, Payload};
use pool::{Executor, InHand, Pool};
use profile::Profile;
use program::{LocalNode, Program};
use quota::Lost;
use relief::RunTimes;
use replicas::{Loads, Version};
use retried::Retried;
use rustc_hash::FxHashMap;
use scratch::Scratch;
use sending::Sending;
use std::collections::BTreeMap;
use std::rc::Rc;
use store::{Carrier, StoreRules, Unused};
use timers::{Timer, TimerKey};
use trigger::Ended;
use window::Window;

/// What identifies and bounds a lane's core.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// The worker's identity in ids; see [`worker_hash`].
    pub worker_hash: u32,
    /// The worker's restart epoch.
    pub epoch: u32,
    /// This lane.
    pub lane: u8,
    /// Invocations that this lane takes at once from clients, over all deployments.
    pub in_flight_max: u32,
    /// How long an activation that was told to stop may go on before its executor is ended.
    pub grace_ns: u64,
    /// How long an activation may hold what it reads: one that runs for longer is told to stop, and has failed. None: for
    /// ever.
    pub lease_ns_max: Option<u64>,
    /// How long to wait for an executor that was told to end, and for the beginning of an invocation whose entry worker has
    /// no connection.
    pub patience_ns: u64,
    /// How long an executor may idle while its pool has others.
    pub keep_alive_ns: u64,
    /// The clock of the times that events bring.
    pub clock: ClockId,
    /// What is done when a workflow has used up its quota of memory.
    pub store: StoreRules,
}

/// A worker's identity in invocation ids. Two workers of a deployment must differ in it, which the master checks.
#[must_use]
pub fn worker_hash(name: &str) -> u32 {
    crc32fast::hash(name.as_bytes())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum DeploymentState {
    /// Takes part, but its door is closed.
    Prepared,
    Active,
    /// The door is closed for good.
    Retiring,
}

#[derive(Debug)]
struct Deployment {
    program: Rc<Program>,
    /// Its constants, held until it goes.
    constants: Vec<Value>,
    /// Why nothing of it can run here: a constant could not be placed.
    refused: Option<String>,
    pools: Vec<Pool>,
    keep_alive_armed: Vec<bool>,
    profile: Profile,
    state: DeploymentState,
    /// Invocations here, taken or taken part in.
    instances: u32,
    /// Of those, taken here.
    taken: u32,
    /// Taken here and answered, while something of them still runs here in its grace.
    ending: u32,
    /// Taken here and over, of which something is still being sent, where memory is proven.
    leaving: u32,
    /// This lane has told its peers that it takes and has none any more.
    drained_told: bool,
    /// Peers' lanes that have told so, or cannot any more.
    drained: Vec<LaneKey>,
    /// A worker that takes part and has been started anew since the plan was made: it does not have it any more.
    outlived_by: Option<WorkerIndex>,
    loads: Loads,
    /// What it adds to its workflow's quota.
    unused: Unused,
    /// By executable: the most memory that one of its executors has been seen to have for itself.
    own_bytes: Vec<u64>,
    /// By node: the most bytes that one activation of it has made here.
    made_bytes: Vec<u64>,
    run_ns: RunTimes,
    /// By site of its program: what was read there.
    reads: Vec<Reads>,
}

/// One lane's trigger core.
#[derive(Debug)]
pub struct Core {
    config: CoreConfig,
    deployments: Vec<Option<Deployment>>,
    deployment_by_id: FxHashMap<DeploymentId, u32>,
    /// Open doors, by the workflow's name.
    versions: FxHashMap<String, Version>,
    invocations: Vec<Invocation>,
    free: Vec<Place>,
    /// Invocations of which other workers may speak.
    place_by_id: FxHashMap<InvocationId, Place>,
    asked: Asked,
    sending: Sending,
    doors: Doors,
    /// Failures of pending invocations, told once they begin.
    pending_failures: FxHashMap<Place, Failure>,
    /// Nodes that have failed, which those who wait for them bear, and why.
    borne: Borne,
    retried: Retried,
    extras: Extras,
    executors: Vec<Option<Executor>>,
    /// The executor whose activation has just ended, while what that triggers is handled: it may take that at once.
    in_hand: Option<InHand>,
    leases: Leases,
    carriers: Vec<Carrier>,
    /// How many workflows are pressed for memory.
    pressed: usize,
    /// What is to fail before the workflow that is looked after is looked at again.
    lost: Option<Lost>,
    scratch: Scratch,
    /// Of executors whose activations read lists item by item.
    windows: BTreeMap<ExecutorId, Window>,
    /// Executors that have found their arenas full.
    fulls: BTreeMap<ExecutorId, WantsRoom>,
    lists: Lists,
    /// By when they are due, then in the order in which they were set.
    timers: BTreeMap<TimerKey, Timer>,
    /// Those that go with what lives in a place.
    timers_of: ByPlace<TimerKey, ()>,
    timers_set: u64,
    /// Nodes that ended while another one was being handled.
    ended: Vec<Ended>,
    /// Nodes whose successors have been triggered, that still hold what they read: see [`Core::tidy`].
    triggered: Vec<(Place, u32, LocalNode)>,
    /// What has started, and of which it is not counted yet what it reads: see [`Core::count_reads`].
    reading: Vec<(Place, LocalNode)>,
    actions: Vec<Action>,
    next_sequence: u64,
    in_flight: u32,
    /// How many deployments and invocations need exact times with their events.
    timed: u32,
    /// How many invocations are recorded.
    traced: u32,
    /// Histograms for which there is room.
    histograms_left: usize,
    /// Samples of invocations that have gone, and that are still to be folded: see [`Core::fold_profiles`].
    unfolded: usize,
    counters: CoreCounters,
    /// See [`Core::revision`].
    revision: u64,
}

impl Core {
    /// A core without deployments.
    #[must_use]
    pub fn new(config: CoreConfig) -> Self {
        let carriers = config
            .store
            .tiers
            .iter()
            .copied()
            .map(Carrier::new)
            .collect();
        let leases = Leases::new(config.store.moved_bytes_min);
        Self {
            config,
            carriers,
            pressed: 0,
            lost: None,
            scratch: Scratch::default(),
            windows: BTreeMap::new(),
            fulls: BTreeMap::new(),
            deployments: Vec::new(),
            deployment_by_id: FxHashMap::default(),
            versions: FxHashMap::default(),
            invocations: Vec::new(),
            free: Vec::new(),
            place_by_id: FxHashMap::default(),
            asked: Asked::default(),
            sending: Sending::default(),
            doors: Doors::default(),
            pending_failures: FxHashMap::default(),
            borne: Borne::default(),
            retried: Retried::default(),
            extras: Extras::default(),
            executors: Vec::new(),
            in_hand: None,
            leases,
            lists: Lists::default(),
            timers: BTreeMap::new(),
            timers_of: ByPlace::default(),
            timers_set: 0,
            ended: Vec::new(),
            triggered: Vec::new(),
            reading: Vec::new(),
            actions: Vec::new(),
            next_sequence: 0,
            in_flight: 0,
            timed: 0,
            traced: 0,
            histograms_left: HISTOGRAMS_MAX,
            unfolded: 0,
            counters: CoreCounters::default(),
            revision: 0,
        }
    }

    /// What is to be done since the last call, in order. `into` must be empty; its memory is used again. To be called
    /// after every event until it yields nothing.
    #[inline]
    pub fn take_actions(&mut self, into: &mut Vec<Action>) {
        debug_assert!(into.is_empty());
        self.revision += 1;
        std::mem::swap(&mut self.actions, into);
    }

    /// Whether [`Core::take_actions`] would yield anything.
    #[inline]
    #[must_use]
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// How many nodes have ended, told their successors, and are still to be tidied up after, and one more if workflows are to
    /// be looked after that are pressed for memory: see [`Core::tidy`].
    #[inline]
    #[must_use]
    pub fn untidied(&self) -> usize {
        self.triggered.len() + usize::from(self.leases.is_alarmed())
    }

    /// Lets go of what nodes that have ended have read, begins further items of regions, and ends invocations of which
    /// nothing is left to do. What an event has triggered need not wait for this, nor the next event, but it must come
    /// before long: until then payloads are held, and clients wait. `into` must be empty and gets what is to be done, as
    /// from [`Core::take_actions`]; whether what was foreseen stays true [`Core::revision`] tells.
    pub fn tidy(&mut self, now_ns: u64, into: &mut Vec<Action>) {
        debug_assert!(into.is_empty() && self.actions.is_empty());
        self.settle_triggered(now_ns);
        self.look_after(now_ns);
        std::mem::swap(&mut self.actions, into);
    }

    /// Whether the times that events bring must be exact; otherwise the last one known will do.
    #[inline]
    #[must_use]
    pub fn needs_time(&self) -> bool {
        self.timed > 0
    }

    /// When [`Core::tick`] wants to be called next, on the clock of the events.
    #[must_use]
    pub fn next_timer_ns(&self) -> Option<u64> {
        self.timers.first_key_value().map(|((due, _), _)| *due)
    }

    /// Counts so far.
    #[must_use]
    pub fn counters(&self) -> CoreCounters {
        self.counters
    }

    /// There is a segment of that number in the lane's table: in the arena of an executor, if an owner is said. What is lent is
    /// not told of.
    pub fn segment_known(&mut self, number: u32, bytes: u64, owner: Option<ExecutorId>) {
        self.leases.know_segment(number, bytes, owner);
    }

    /// The segment of that number has left the table.
    pub fn segment_gone(&mut self, number: u32) {
        self.leases.forget_segment(number);
    }

    /// The executor has gone in whose arena the segment of that number lies, which stays as long as anything in it is held.
    pub fn segment_disowned(&mut self, number: u32) {
        self.leases.disown_segment(number);
    }

    /// The leases, for counting.
    #[must_use]
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Where payloads of a deployment are counted; none if there is no such deployment.
    #[must_use]
    pub fn account_of(&self, deployment: DeploymentId) -> Option<Account> {
        let index = self.deployment_by_id.get(&deployment)?;
        Some(self.program(*index).account)
    }

    /// From now on payloads of a workflow that are brought back may take so much memory.
    pub fn set_memory(&mut self, bytes: u64) {
        self.config.store.memory_bytes = bytes;
    }

    /// What is kept here of invocations.
    #[must_use]
    pub fn held(&self) -> Held {
        Held {
            invocations: self.invocations.len() - self.free.len(),
            lists: self.lists.count(),
            notes: self.extras.count()
                + self.pending_failures.len()
                + self.borne.count()
                + self.asked.len()
                + self.sending.count(),
            timers: self.timers_of.len(),
            retried: self.retried.count(),
            waiting: self
                .deployments
                .iter()
                .flatten()
                .flat_map(|deployment| &deployment.pools)
                .map(|pool| pool.waiting.len())
                .sum(),
        }
    }

    /// Invocations taken here and not answered.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// The number that the next invocation taken here will have.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Takes in a checked plan, with its constants as they lie in the lane's arena, in their order. Its door stays closed
    /// until [`Core::activate`]. If one of the constants is refused, so are all invocations, with that reason.
    ///
    /// # Panics
    /// If the plan was not checked.
    pub fn deploy(&mut self, plan: Plan, constants: Vec<Incoming>) {
        let (id, executables) = (plan.deployment, plan.executables.len());
        let lane = self.config.lane;
        let lanes = plan.workers[usize::from(plan.me)].lanes;
        let scales = plan.executables.iter();
        let scales: Vec<u32> = scales
            .map(|executable| executors_on(lane, executable.scale, lanes).into())
            .collect();
        let account = self.leases.open(&plan.workflow);
        let own_bytes = vec![0; executables];
        let unused = Unused::of(&plan, lane, &own_bytes);
        let program = Rc::new(Program::compile(plan, account));
        self.timed += u32::from(program.timed);
        let refused = constants.iter().find_map(|constant| match constant {
            Incoming::Refused(reason) => Some(format!(
                "a constant of the workflow found no room in this worker's memory ({reason}); deploy it again once there is more"
            )),
            _ => None,
        });
        let constants: Vec<Value> = constants
            .into_iter()
            .map(|constant| self.take_incoming(account, constant, Way::Shared))
            .collect();
        for constant in &constants {
            self.keep_here(*constant);
        }
        let deployment = Deployment {
            outlived_by: self.doors.outlived_by(&program),
            loads: Loads::new(&program, self.config.lane),
            profile: Profile::new(&program),
            unused,
            own_bytes,
            made_bytes: vec![0; program.nodes.len()],
            run_ns: RunTimes::default(),
            reads: vec![Reads::default(); program.sites()],
            program,
            constants,
            refused,
            pools: scales
                .into_iter()
                .map(|scale| Pool {
                    scale,
                    ..Pool::default()
                })
                .collect(),
            keep_alive_armed: vec![false; executables],
            state: DeploymentState::Prepared,
            instances: 0,
            taken: 0,
            ending: 0,
            leaving: 0,
            drained_told: false,
            drained: Vec::new(),
        };
        let index = self
            .deployments
            .iter()
            .position(Option::is_none)
            .unwrap_or_else(|| {
                self.deployments.push(None);
                self.deployments.len() - 1
            });
        self.deployments[index] = Some(deployment);
        self.deployment_by_id.insert(id, index as u32);
        self.set_quota(account);
    }

    /// Opens the door of a deployment, to all of its placements; one of the same name that was open retires.
    pub fn activate(&mut self, now_ns: u64, id: DeploymentId) {
        let mut placements = self.placements_of(id);
        placements.retain(|index| self.deployment_mut(*index).state != DeploymentState::Retiring);
        let Some(first) = placements.first().copied() else {
            return;
        };
        for index in &placements {
            self.deployment_mut(*index).state = DeploymentState::Active;
            let program = Rc::clone(self.program(*index));
            self.doors_heard_of(&program);
        }
        let plan = &self.program(first).plan;
        let (name, turn) = (plan.workflow.clone(), self.first_turn(plan));
        let version = Version {
            of: id,
            placements,
            turn,
        };
        let earlier = self.versions.insert(name, version);
        let earlier = earlier.filter(|earlier| earlier.of != id);
        for index in earlier.into_iter().flat_map(|earlier| earlier.placements) {
            self.retire_at(now_ns, index);
        }
    }

    /// The node that `start` runs: its number in the deployment, its name, and its invocation.
    #[inline]
    #[must_use]
    pub fn started_node(&self, start: &Start) -> (NodeId, InvocationId) {
        let invocation = &self.invocations[start.place as usize];
        let program = self.program(invocation.deployment);
        (program.nodes[start.node as usize].id, invocation.id)
    }

    /// The numbers of the items that `start` is for, the innermost region's first; none outside of all regions.
    /// For those who judge what a core does.
    pub fn started_items(&self, start: &Start) -> impl Iterator<Item = u32> + '_ {
        self.items_of_place(start.place)
    }

    fn items_of_place(&self, place: Place) -> impl Iterator<Item = u32> + '_ {
        let around = |place: &Place| Some(self.invocations[*place as usize].parent);
        let places = std::iter::successors(Some(place), around);
        let items = places.map(|place| self.invocations[place as usize].item);
        items.take_while(|item| *item != NO_ITEM)
    }

    /// The kinds of the outputs that the executor's current activation has to return, or none if it runs nothing.
    #[inline]
    #[must_use]
    pub fn output_kinds(
        &self,
        executor: ExecutorId,
    ) -> Option<impl ExactSizeIterator<Item = Kind> + '_> {
        let state = self.executors.get(executor.0 as usize)?.as_ref()?;
        let node = state.running?.node;
        let program = self.program(state.deployment);
        Some(
            program
                .outputs(&program.nodes[node as usize])
                .iter()
                .map(|output| output.kind),
        )
    }

    /// Of the outputs that the executor's current activation has to return: their kinds, and what each may have at most.
    #[must_use]
    pub fn declared_outputs(
        &self,
        executor: ExecutorId,
    ) -> Option<impl ExactSizeIterator<Item = (Kind, Maximum)> + '_> {
        let state = self.executors.get(executor.0 as usize)?.as_ref()?;
        let node = state.running?.node;
        let program = self.program(state.deployment);
        let outputs = program.outputs(&program.nodes[node as usize]).iter();
        Some(outputs.map(|output| (output.kind, output.maximum)))
    }

    /// What one of those outputs is called.
    #[must_use]
    pub fn output_name(&self, executor: ExecutorId, output: usize) -> Option<&str> {
        let state = self.executors.get(executor.0 as usize)?.as_ref()?;
        let program = self.program(state.deployment);
        let id = program.nodes[state.running?.node as usize].id;
        let nodes = &program.plan.nodes;
        let place = nodes.binary_search_by_key(&id, |node| node.id).ok()?;
        let output = nodes[place].outputs.get(output)?;
        Some(&output.name)
    }

    /// Where a payload lies.
    #[inline]
    #[must_use]
    pub fn locate(&self, payload: Payload) -> PayloadRef {
        self.leases.locate(payload)
    }

    /// Lets go of what an [`Outgoing`] holds, once it has been sent or dropped.
    pub fn let_go_all(&mut self, payloads: &[Payload]) {
        for payload in payloads {
            if let Some(lease) = self.leases.sent(*payload) {
                self.places_left(lease);
            }
            self.let_go(*payload);
        }
    }

    /// Nothing of a lease is to be sent any more: invocations that are over and waited for no more than that leave their places
    /// at the door.
    fn places_left(&mut self, lease: LeaseId) {
        while let Some(id) = self.sending.next_sent(lease) {
            // It may have gone before the last of what it sent.
            if let Some(index) = self.deployment_by_id.get(&id).copied() {
                self.deployment_mut(index).leaving -= 1;
            }
        }
    }

    #[inline]
    fn let_go(&mut self, payload: Payload) {
        if let Some(freed) = self.leases.let_go(payload) {
            self.actions.push(freed.into());
        }
    }

    #[inline]
    fn program(&self, deployment: u32) -> &Rc<Program> {
        match self.deployments[deployment as usize].as_ref() {
            Some(deployment) => &deployment.program,
            None => unreachable!("a deployment stays while it has invocations or executors"),
        }
    }

    /// Why nothing of a deployment can run here, if that is so.
    fn refusal_of(&self, deployment: u32) -> Option<&str> {
        let deployment = self.deployments[deployment as usize].as_ref()?;
        deployment.refused.as_deref()
    }

    #[inline]
    fn deployment_mut(&mut self, deployment: u32) -> &mut Deployment {
        match self.deployments[deployment as usize].as_mut() {
            Some(deployment) => deployment,
            None => unreachable!("a deployment stays while it has invocations or executors"),
        }
    }
}
