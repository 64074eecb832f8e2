//! Bugs planted at the seam between a core and its lane: what a core with a fault of its own would look like from outside.
//! A test of the tests: each must be found.

use super::Cluster;
use super::lane::{InputAt, Run, State};
use crate::trace::Ending;
use engine::core::{Evaluated, Start};
use engine::plan::{Balance, Delay, ErrorClass, Join, NodeId, NodePlan, Plan, Retry, Source};
use engine::wire::Outcome;
use faasstore::Cancelled;
use faasstore::descriptor::{InvocationId, ItemAnswer, ItemName, PayloadRef};

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sabotage {
    /// Nodes do not wait for their delay.
    NoDelay,
    /// Computed delays are half as long.
    HalfDelay,
    /// A delay that fails is none.
    DelaysNeverFail,
    /// The next attempt comes at once.
    NoBackoff,
    /// The next attempt waits for an hour.
    LongBackoff,
    /// Cases and catches decide nothing.
    NoGates,
    /// As many activations run at once as there are executors.
    NoParallelism,
    /// An attempt may take as long as it likes.
    NoNodeTimeout,
    /// An invocation may take as long as it likes.
    NoWorkflowTimeout,
    /// A failed activation is tried once more than planned.
    AttemptMore,
    /// A failed activation is tried once less than planned.
    AttemptLess,
    /// Whatever failed is tried again.
    RetriesAnything,
    /// The last retrier that takes a failure decides.
    LastRetrier,
    /// Only the first retrier is asked.
    OneRetrier,
    /// Whatever failed is caught by the first catch.
    CatchesAnything,
    /// No failure is borne.
    BearsNothing,
    /// A join of some starts an edge too early.
    JoinEarly,
    /// A join of some starts an edge too late.
    JoinLate,
    /// A join of all starts at its first live edge.
    JoinAny,
    /// The last of several alternatives comes first.
    LastAlternative,
    /// A node runs without what it needs.
    AllOptional,
    /// A node is skipped without what it does not need.
    AllNeeded,
    /// Batches have an item more.
    OtherBatch,
    /// A part of a divided region runs for the items of those before it as well.
    PartsOverlap,
    /// What the parts of a divided region have gathered is put together the other way round.
    PartsReversed,
    /// Another constant stands in for an input.
    OtherDefault,
    /// What is optional for the client must be there.
    OutputsNeeded,
    /// `after` is not waited for.
    NoAfter,
    /// A state event is lost.
    EventLost,
    /// An edge from a node that was skipped or failed is live elsewhere.
    DeadIsLive,
    /// An edge from a node that has ended well is dead elsewhere.
    LiveIsDead,
    /// Another case is chosen elsewhere.
    OtherCaseElsewhere,
    /// Another case is chosen.
    OtherCase,
    /// Every failure is of one class.
    OneClass,
    /// An activation is started twice.
    StartedTwice,
    /// An activation is never started.
    StartLost,
    /// A node that is skipped is started.
    SkippedStarts,
    /// A range is never released.
    ReleaseLost,
    /// Two items of a list are in each other's places.
    ItemsSwapped,
    /// A further attempt of a join of some sees what came late.
    LateInput,
    /// An output does not reach the client.
    OutputLost,
    /// What is made for an item is gathered in the place of another one.
    GatheredElsewhere,
    /// The item of the region around is taken for that of the region.
    OwnItem,
    /// A client that cancels is not heard.
    CancelUnheard,
    /// Another worker does not hear that an invocation is over.
    EndUnheard,
    /// What runs of an invocation that is over may go on for ever.
    EndlessGrace,
    /// What runs of an invocation that is over is not told.
    NeverTold,
    /// What is told names another activation than the one that is to stop.
    ToldAnother,
    /// What is told stops whatever runs, also after the one that was to stop has ended.
    ToldWhoeverRuns,
    /// What is told is for another reason.
    ToldOtherwise,
    /// Placements are chosen the other way.
    OtherBalance,
    /// What lanes tell of their loads is not heard.
    LoadUnheard,
    /// Who waits for an item of a list is not answered.
    ItemLost,
    /// Another item is brought than the one that was asked for.
    OtherItem,
    /// An item goes while it is still read.
    ItemGoesEarly,
    /// Who is to stop goes on waiting for an item.
    StoppedWaits,
    /// Who waits for room in its arena is not answered.
    RoomLost,
}

impl Sabotage {
    /// All there are.
    pub const ALL: [Self; 57] = [
        Self::NoDelay,
        Self::HalfDelay,
        Self::DelaysNeverFail,
        Self::NoBackoff,
        Self::LongBackoff,
        Self::NoGates,
        Self::NoParallelism,
        Self::NoNodeTimeout,
        Self::NoWorkflowTimeout,
        Self::AttemptMore,
        Self::AttemptLess,
        Self::RetriesAnything,
        Self::LastRetrier,
        Self::OneRetrier,
        Self::CatchesAnything,
        Self::BearsNothing,
        Self::JoinEarly,
        Self::JoinLate,
        Self::JoinAny,
        Self::LastAlternative,
        Self::AllOptional,
        Self::AllNeeded,
        Self::OtherBatch,
        Self::PartsOverlap,
        Self::PartsReversed,
        Self::OtherDefault,
        Self::OutputsNeeded,
        Self::NoAfter,
        Self::EventLost,
        Self::DeadIsLive,
        Self::LiveIsDead,
        Self::OtherCaseElsewhere,
        Self::OtherCase,
        Self::OneClass,
        Self::StartedTwice,
        Self::StartLost,
        Self::SkippedStarts,
        Self::ReleaseLost,
        Self::ItemsSwapped,
        Self::LateInput,
        Self::OutputLost,
        Self::GatheredElsewhere,
        Self::OwnItem,
        Self::CancelUnheard,
        Self::EndUnheard,
        Self::EndlessGrace,
        Self::NeverTold,
        Self::ToldAnother,
        Self::ToldWhoeverRuns,
        Self::ToldOtherwise,
        Self::OtherBalance,
        Self::LoadUnheard,
        Self::ItemLost,
        Self::OtherItem,
        Self::ItemGoesEarly,
        Self::StoppedWaits,
        Self::RoomLost,
    ];

    /// The plan that a core follows which ignores a part of the one that it was given.
    pub(super) fn of_plan(self, plan: &mut Plan) {
        match self {
            Self::NoWorkflowTimeout => plan.timeout_ms = None,
            Self::OtherBalance => {
                plan.replica.balance = match plan.replica.balance {
                    Balance::RoundRobin => Balance::Load,
                    Balance::Load => Balance::RoundRobin,
                };
            }
            Self::OtherDefault => {
                for input in &mut plan.inputs {
                    let kind = input.kind;
                    let others = (0..).zip(&plan.constants);
                    let mut others = others.filter(|(_, constant)| constant.kind == kind);
                    let default = input.default;
                    input.default = default.map(|default| {
                        let other = others.find(|(number, _)| *number != default);
                        other.map_or(default, |(number, _)| number)
                    });
                }
            }
            Self::OutputsNeeded => {
                for output in &mut plan.outputs {
                    output.optional = false;
                }
            }
            Self::NoParallelism => {
                for region in &mut plan.regions {
                    region.parallelism = None;
                }
            }
            Self::OtherBatch => {
                for region in &mut plan.regions {
                    region.batch = region.batch.map(|batch| batch + 1);
                }
            }
            Self::PartsOverlap => {
                let parts = plan.regions.iter_mut();
                for part in parts.filter_map(|region| region.part.as_mut()) {
                    part.share.first = 0;
                }
            }
            Self::PartsReversed => {
                for whole in &mut plan.wholes {
                    whole.parts.reverse();
                }
            }
            _ => {
                for node in &mut plan.nodes {
                    self.of_node(node);
                }
            }
        }
    }

    fn of_node(self, node: &mut NodePlan) {
        for retry in &mut node.retriers {
            self.of_retrier(retry);
        }
        match self {
            Self::LastRetrier => node.retriers.reverse(),
            Self::OneRetrier => node.retriers.truncate(1),
            Self::NoDelay => {
                for delay in &mut node.delays {
                    if let Delay::Fixed(delay_ms) = delay {
                        *delay_ms = 0;
                    }
                }
            }
            Self::NoGates => node.gates.clear(),
            Self::NoNodeTimeout => node.timeout_ms = None,
            Self::CatchesAnything => {
                if let Some(first) = node.catches.first_mut() {
                    first.clear();
                }
            }
            Self::BearsNothing => node.tolerated = false,
            Self::JoinEarly => {
                if let Join::AtLeast(needed @ 2..) = node.join {
                    node.join = Join::AtLeast(needed - 1);
                }
            }
            Self::JoinLate => {
                if let Join::AtLeast(needed) = node.join {
                    let edges = node.flow_edges(|_| None).len() as u32;
                    node.join = Join::AtLeast((needed + 1).min(edges));
                }
            }
            Self::JoinAny if node.flow_edges(|_| None).len() > 1 => {
                node.join = Join::AtLeast(1);
            }
            Self::LastAlternative => {
                for input in &mut node.inputs {
                    input.sources.reverse();
                }
            }
            Self::OwnItem => {
                for source in node.inputs.iter_mut().flat_map(|input| &mut input.sources) {
                    if let Source::Item { up } = source {
                        *up = 0;
                    }
                }
            }
            Self::AllOptional => {
                for input in &mut node.inputs {
                    input.optional = true;
                }
            }
            Self::AllNeeded => {
                for input in &mut node.inputs {
                    input.optional = false;
                }
            }
            Self::NoAfter => node.after.clear(),
            _ => {}
        }
    }

    fn of_retrier(self, retry: &mut Retry) {
        match self {
            Self::NoBackoff => retry.backoff_ms = 0,
            Self::LongBackoff => {
                let hour_ms = 60 * 60 * 1000;
                (retry.backoff_ms, retry.backoff_max_ms) = (hour_ms, hour_ms);
            }
            Self::AttemptMore => retry.attempts += 1,
            Self::AttemptLess => retry.attempts = (retry.attempts - 1).max(1),
            Self::RetriesAnything => retry.on.clear(),
            _ => {}
        }
    }
}

impl Cluster {
    fn does(&self, sabotage: Sabotage) -> bool {
        self.scenario.sabotage == Some(sabotage)
    }

    /// The plan that a core follows.
    pub(super) fn followed(&self, mut plan: Plan) -> Plan {
        if let Some(sabotage) = self.scenario.sabotage {
            sabotage.of_plan(&mut plan);
        }
        plan
    }

    /// A state event as a core takes it; none if it does not.
    pub(super) fn event_taken(
        &mut self,
        invocation: InvocationId,
        node: NodeId,
        outcome: Outcome,
    ) -> Option<Outcome> {
        let dead = matches!(
            outcome,
            Outcome::Skipped | Outcome::Caught(_) | Outcome::Failed(_)
        );
        match (self.scenario.sabotage, &outcome) {
            (Some(Sabotage::EventLost), _) if self.random.chance(100) => return None,
            (Some(Sabotage::DeadIsLive), _) if dead => return Some(Outcome::Well),
            (Some(Sabotage::LiveIsDead), Outcome::Well) if self.random.chance(100) => {
                return Some(Outcome::Skipped);
            }
            (Some(Sabotage::OtherCaseElsewhere), Outcome::Chose(case)) => {
                let asked = &self.asked[self.by_id[&invocation]];
                let deployed = &self.scenario.deployments[asked.deployment];
                let node = deployed.written(node);
                let cases = deployed.workflow.nodes[node as usize].work.cases() as u16;
                return Some(Outcome::Chose((case + 1) % cases));
            }
            _ => {}
        }
        Some(outcome)
    }

    /// Says that a node which was skipped was started.
    pub(super) fn starts_skipped(&mut self, invocation: InvocationId, node: NodeId) {
        let now = self.now();
        if !self.does(Sabotage::SkippedStarts) {
            return;
        }
        let asked = &mut self.asked[self.by_id[&invocation]];
        let node = self.scenario.deployments[asked.deployment].written(node);
        asked.trace.starts((node, Vec::new()), 1, now, Vec::new());
        asked.trace.ends((node, Vec::new()), 1, now, Ending::Well);
    }

    /// What a core takes from an evaluation.
    pub(super) fn evaluation_taken(&self, evaluated: Evaluated, cases: usize) -> Evaluated {
        match evaluated {
            Evaluated::Case(Some(case)) if self.does(Sabotage::OtherCase) => {
                Evaluated::Case(Some((case + 1) % cases as u16))
            }
            other => other,
        }
    }

    /// What a core takes from what is said of a delay.
    pub(super) fn delay_taken(&self, evaluated: Evaluated) -> Evaluated {
        match evaluated {
            Evaluated::Waits { delay_ns } if self.does(Sabotage::HalfDelay) => Evaluated::Waits {
                delay_ns: delay_ns / 2,
            },
            Evaluated::Failed(_) if self.does(Sabotage::DelaysNeverFail) => {
                Evaluated::Waits { delay_ns: 0 }
            }
            other => other,
        }
    }

    /// The class of a failure as a core takes it.
    pub(super) fn class_taken(&self, class: ErrorClass) -> ErrorClass {
        if self.does(Sabotage::OneClass) {
            ErrorClass::Output
        } else {
            class
        }
    }

    /// How often an order is given.
    pub(super) fn times_started(&mut self) -> usize {
        let now_and_then = self.random.chance(50);
        match self.scenario.sabotage {
            Some(Sabotage::StartLost) if now_and_then => 0,
            Some(Sabotage::StartedTwice) if now_and_then => 2,
            _ => 1,
        }
    }

    /// Says that an activation was started once more.
    pub(super) fn starts_again(&mut self, lane: usize, start: &Start) {
        if let Some(run) = self.running(lane, start.executor.0 as usize) {
            let now = self.now();
            let trace = &mut self.asked[self.by_id[&run.invocation]].trace;
            trace.starts((run.node, run.items), run.attempt, now, run.seen);
        }
    }

    /// The activation whose outputs are taken for those of this one.
    pub(super) fn made_by(&self, lane: usize, run: &Run) -> Run {
        let executors = self.lanes[lane].executors.iter().flatten();
        let running = executors.filter_map(|executor| match &executor.state {
            State::Running(run) => Some(run),
            _ => None,
        });
        let mut others = running.filter(|other| {
            (other.invocation, other.node) == (run.invocation, run.node) && other.items != run.items
        });
        match others.next() {
            Some(other) if self.does(Sabotage::GatheredElsewhere) => other.clone(),
            _ => run.clone(),
        }
    }

    /// Whether a core hears a client that cancels.
    pub(super) fn hears_cancel(&self) -> bool {
        !self.does(Sabotage::CancelUnheard)
    }

    /// Whether a core hears of the end of an invocation that was taken elsewhere.
    pub(super) fn hears_end(&self) -> bool {
        !self.does(Sabotage::EndUnheard)
    }

    /// Whether an executor that is to be ended for this is not.
    pub(super) fn grants_more_grace(&self, cause: &str) -> bool {
        self.does(Sabotage::EndlessGrace) && cause.contains("grace period")
    }

    /// What an executor is told to stop, and why; nothing if it is not told.
    pub(super) fn word_written(&self, activation: u32, why: Cancelled) -> Option<(u32, Cancelled)> {
        match self.scenario.sabotage {
            Some(Sabotage::NeverTold) => None,
            Some(Sabotage::ToldAnother) => Some((activation.wrapping_sub(1), why)),
            Some(Sabotage::ToldOtherwise) => Some((activation, Cancelled::FailedElsewhere)),
            _ => Some((activation, why)),
        }
    }

    /// Whether what was told stops whatever runs.
    pub(super) fn tells_whoever_runs(&self) -> bool {
        self.does(Sabotage::ToldWhoeverRuns)
    }

    /// Whether a core hears what lanes tell of their loads.
    pub(super) fn hears_loads(&self) -> bool {
        !self.does(Sabotage::LoadUnheard)
    }

    /// Whether a release is not ordered.
    pub(super) fn loses_release(&mut self) -> bool {
        self.does(Sabotage::ReleaseLost) && self.random.chance(50)
    }

    /// Whether who waits for an item does not hear of it.
    pub(super) fn loses_item(&self, answer: ItemAnswer) -> bool {
        match answer {
            ItemAnswer::Stopped => self.does(Sabotage::StoppedWaits),
            ItemAnswer::Here(_) | ItemAnswer::NoRoom => self.does(Sabotage::ItemLost),
        }
    }

    /// Whether who waits for room in its arena does not hear of it.
    pub(super) fn loses_room(&self) -> bool {
        self.does(Sabotage::RoomLost)
    }

    /// The item that a core takes for the one that is asked for.
    pub(super) fn item_taken(&self, name: ItemName) -> ItemName {
        if self.does(Sabotage::OtherItem) && name.item > 0 {
            return ItemName {
                item: name.item - 1,
                ..name
            };
        }
        name
    }

    /// Whether a core takes an item that is read for one that is not any more.
    pub(super) fn lets_items_go_early(&self) -> bool {
        self.does(Sabotage::ItemGoesEarly)
    }

    /// Whether an output does not reach a client.
    pub(super) fn loses_output(&self) -> bool {
        self.does(Sabotage::OutputLost)
    }

    /// The inputs that a core orders an activation to read.
    pub(super) fn inputs_ordered(&self, start: &Start, inputs: &mut [InputAt]) {
        for input in inputs {
            match input {
                InputAt::List(items) if self.does(Sabotage::ItemsSwapped) && items.len() > 1 => {
                    items.swap(0, 1);
                }
                InputAt::One(range)
                    if self.does(Sabotage::LateInput) && start.attempt > 1 && range.is_absent() =>
                {
                    *range = PayloadRef::EMPTY;
                }
                _ => {}
            }
        }
    }
}
