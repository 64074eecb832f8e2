//! What a lane measures of the workflows that run in it.
//!
//! Activations and failed attempts are counted, each of them: a number is raised, and that is all. Times and bytes are
//! *measured*, and a time is worth something only if the events on both of its sides bring exact ones
//! ([`Core::needs_time`]). So not every invocation is measured. The next one that begins is, once [`PAUSE_NS`] have passed
//! since the last measured one began, and [`PAUSE_FOR_EACH_NS`] for each activation that ended in the lane while that one was
//! there: where little happens nearly every invocation is measured, and where much does, next to no time goes into it. All of it
//! follows from the events and their times.
//!
//! The histograms of a large workflow lie in more memory than a CPU has at hand. So what a measured invocation shows is written
//! down one behind the other ([`Sample`]), and goes into them when the lane has nothing else to do
//! ([`Core::fold_profiles`]), or, if it always has, before the sample is needed again.
//!
//! Executors measure some of it themselves: see [`cpu`].
//!
//! Histograms grow with what is recorded, up to [`HISTOGRAM_BYTES_MAX`](crate::profile::HISTOGRAM_BYTES_MAX) each, and a lane
//! keeps [`HISTOGRAMS_MAX`] of them: of nodes beyond those only counts and sums are kept. A node has its first when it is
//! measured for the first time.

mod cpu;

use super::invocation::Place;
use super::pool::Running;
use super::program::{LocalNode, NO_SCOPE, Program};
use super::{Core, Incoming, Output, Piece};
use crate::plan::DeploymentId;
use crate::profile::{CpuSums, Detail, Distribution, LaneProfile, NodeProfile};
use crate::wire::ITEM_ABSENT;
use cpu::Recent;
use faasstore::descriptor::CpuUse;
use std::collections::VecDeque;

/// From the beginning of one measured invocation of a deployment to that of the next, at least.
const PAUSE_NS: u64 = 1_000_000;
/// As long as that for each activation that ended in the lane while it was there: to read the clock and to write down takes
/// some 40 ns, and to put it where it belongs some hundreds.
const PAUSE_FOR_EACH_NS: u64 = 200_000;
/// Measured invocations of a deployment that are there, or not folded yet, at one time.
const SAMPLES_MAX: usize = 32;
/// Times that a sample writes down, 64 KiB of them; further ones, of lists of many items, go into their histograms at once.
const TIMES_MAX: usize = 4096;
/// Histograms that a lane keeps of all its deployments: 22.5 MiB at most.
pub const HISTOGRAMS_MAX: usize = 8_192;
/// Times of which a node has a histogram: how long it runs, and how long it waits.
const TIMES: usize = 2;

/// What is measured of one deployment.
#[derive(Debug)]
pub(super) struct Profile {
    /// Tells what was begun before all was forgotten.
    era: u32,
    invocations: u64,
    /// Measured invocations whose part here has ended well.
    measured: u64,
    /// By local node: activations begun.
    activations: Vec<u64>,
    /// By local node: attempts that failed.
    failures: Vec<u64>,
    /// By local node.
    recent: Vec<Recent>,
    /// By local node, once it was measured.
    nodes: Vec<Option<Box<Measures>>>,
    /// By scope: how many items the list had, whenever a region began.
    items: Vec<Distribution>,
    /// By local node: the place of its first output among those of all nodes; at the end, how many there are.
    first_outputs: Vec<u32>,
    /// Histograms that it keeps.
    histograms: usize,
    /// When the next invocation may be measured.
    due_ns: u64,
    /// Samples of invocations that are there.
    measuring: usize,
    /// Samples of those that have gone.
    gone: VecDeque<Box<Sample>>,
    /// Memory for those to come.
    #[expect(
        clippy::vec_box,
        reason = "invocations hold them in boxes, which go to and fro"
    )]
    spare: Vec<Box<Sample>>,
}

/// What is measured of one node.
#[derive(Debug)]
struct Measures {
    run_ns: Distribution,
    queued_ns: Distribution,
    /// What its executors have measured.
    cpu: CpuSums,
    /// By output that it returns.
    outputs: Box<[Distribution]>,
    /// Measured invocations in which it ran.
    ran: u64,
}

/// What is kept of an invocation while it is measured.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    era: u32,
    began_ns: u64,
    /// Activations that had ended in the lane when it began.
    activations: u64,
    /// By output of all nodes: its bytes, of all activations together.
    bytes: Vec<u64>,
    /// By local node: whether an activation has ended well.
    ran: Vec<bool>,
    /// Whether all of it has ended well here.
    well: bool,
    times: Vec<Time>,
    /// How much of it has been folded: times, then nodes.
    folded: usize,
}

/// How long something took.
#[derive(Clone, Copy, Debug)]
struct Time {
    node: LocalNode,
    of: TimeOf,
    ns: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum TimeOf {
    Run,
    Queued,
}

impl Profile {
    pub(super) fn new(program: &Program) -> Self {
        let nodes = program.nodes.len();
        let mut first_outputs = Vec::with_capacity(nodes + 1);
        let mut next = 0;
        for node in &program.nodes {
            first_outputs.push(next);
            next += program.outputs(node).len() as u32;
        }
        first_outputs.push(next);
        Self {
            era: 0,
            invocations: 0,
            measured: 0,
            activations: vec![0; nodes],
            failures: vec![0; nodes],
            recent: vec![Recent::default(); nodes],
            nodes: (0..nodes).map(|_| None).collect(),
            items: vec![Distribution::new(Detail::Sums); program.scopes.len()],
            first_outputs,
            histograms: 0,
            due_ns: 0,
            measuring: 0,
            gone: VecDeque::new(),
            spare: Vec::new(),
        }
    }

    /// An activation is handed to an executor, or the lane does it itself.
    #[inline]
    pub(super) fn begun(&mut self, node: LocalNode, attempt: u32) {
        self.activations[node as usize] += u64::from(attempt == 1);
    }

    /// An attempt has failed.
    pub(super) fn failed(&mut self, node: LocalNode) {
        self.failures[node as usize] += 1;
    }

    /// The places of a node's outputs among those of all nodes.
    fn outputs_of(&self, node: LocalNode) -> std::ops::Range<usize> {
        let node = node as usize;
        self.first_outputs[node] as usize..self.first_outputs[node + 1] as usize
    }

    /// What is measured of a node. `room` is what the lane has left for histograms.
    fn measures(&mut self, node: LocalNode, room: &mut usize) -> &mut Measures {
        let outputs = self.outputs_of(node).len();
        let kept = &mut self.histograms;
        self.nodes[node as usize].get_or_insert_with(|| {
            let wanted = TIMES + outputs;
            let detail = if wanted <= *room {
                *room -= wanted;
                *kept += wanted;
                Detail::Whole
            } else {
                Detail::Sums
            };
            Box::new(Measures {
                run_ns: Distribution::new(detail),
                queued_ns: Distribution::new(detail),
                cpu: CpuSums::default(),
                outputs: (0..outputs).map(|_| Distribution::new(detail)).collect(),
                ran: 0,
            })
        })
    }

    fn record(&mut self, time: Time, room: &mut usize) {
        let measures = self.measures(time.node, room);
        match time.of {
            TimeOf::Run => measures.run_ns.record(time.ns),
            TimeOf::Queued => measures.queued_ns.record(time.ns),
        }
    }

    /// Puts up to so much of the oldest sample of what has gone where it belongs; how much was left to be done of `most`.
    fn fold(&mut self, mut most: usize, room: &mut usize) -> usize {
        let Some(mut sample) = self.gone.pop_front() else {
            return most;
        };
        let nodes = if sample.well { sample.ran.len() } else { 0 };
        let all = sample.times.len() + nodes;
        // What was forgotten is not told after all.
        while sample.era == self.era && sample.folded < all && most > 0 {
            match sample.times.get(sample.folded) {
                Some(time) => self.record(*time, room),
                None => {
                    let node = sample.folded - sample.times.len();
                    self.fold_node(node as LocalNode, &sample, room);
                }
            }
            sample.folded += 1;
            most -= 1;
        }
        if sample.era == self.era && sample.folded < all {
            self.gone.push_front(sample);
            return 0;
        }
        self.measured += u64::from(sample.well && sample.era == self.era);
        self.spare.push(sample);
        most.saturating_sub(1)
    }

    fn fold_node(&mut self, node: LocalNode, sample: &Sample, room: &mut usize) {
        if !sample.ran[node as usize] {
            return;
        }
        let places = self.outputs_of(node);
        let measures = self.measures(node, room);
        measures.ran += 1;
        for (output, bytes) in measures.outputs.iter_mut().zip(&sample.bytes[places]) {
            output.record(*bytes);
        }
    }
}

impl Core {
    /// What was measured of a deployment's nodes here, from that local node on and of so many at most; none if there is
    /// no such deployment.
    #[must_use]
    pub fn profile(&self, id: DeploymentId, from: u32, most: usize) -> Option<LaneProfile> {
        let index = *self.deployment_by_id.get(&id)?;
        let deployment = self.deployments[index as usize].as_ref()?;
        let (program, profile) = (&deployment.program, &deployment.profile);
        let local = from..program.nodes.len() as LocalNode;
        let real = |node: &LocalNode| program.nodes[*node as usize].region == NO_SCOPE;
        let mut local = local.filter(real);
        let nodes = local.by_ref().take(most);
        let nodes = nodes.map(|node| {
            let (measures, place) = (profile.nodes[node as usize].as_deref(), node as usize);
            let unmeasured = || Distribution::new(Detail::Whole);
            let scope = program.scope_of(node);
            NodeProfile {
                id: program.nodes[place].id,
                activations: profile.activations[place],
                failures: profile.failures[place],
                ran: measures.map_or(0, |measures| measures.ran),
                run_ns: measures.map_or_else(unmeasured, |measures| measures.run_ns.clone()),
                queued_ns: measures.map_or_else(unmeasured, |measures| measures.queued_ns.clone()),
                cpu: measures.map_or_else(CpuSums::default, |measures| measures.cpu),
                outputs: match measures {
                    Some(measures) => measures.outputs.to_vec(),
                    None => profile.outputs_of(node).map(|_| unmeasured()).collect(),
                },
                items: (scope > 0).then(|| profile.items[usize::from(scope)].clone()),
            }
        });
        Some(LaneProfile {
            invocations: profile.invocations,
            measured: profile.measured,
            nodes: nodes.collect(),
            next: local.next(),
        })
    }

    /// Puts what invocations have shown that are gone where it belongs, so much of it at most; whether there was anything. To be
    /// called when there is nothing else to do.
    #[inline]
    pub fn fold_profiles(&mut self, most: usize) -> bool {
        self.unfolded > 0 && self.fold_some(most)
    }

    #[cold]
    fn fold_some(&mut self, mut most: usize) -> bool {
        let Self {
            deployments,
            histograms_left,
            unfolded,
            ..
        } = self;
        for deployment in deployments.iter_mut().flatten() {
            let profile = &mut deployment.profile;
            while most > 0 && !profile.gone.is_empty() {
                let before = profile.gone.len();
                most = profile.fold(most, histograms_left);
                *unfolded -= before - profile.gone.len();
            }
        }
        true
    }

    /// Forgets what was measured of a deployment, and counts anew.
    pub fn forget_profile(&mut self, id: DeploymentId) {
        let Some(index) = self.deployment_by_id.get(&id).copied() else {
            return;
        };
        self.drop_histograms(index);
        let deployment = self.deployment_mut(index);
        let new = Profile::new(&deployment.program);
        let old = std::mem::replace(&mut deployment.profile, new);
        deployment.profile.era = old.era.wrapping_add(1);
        deployment.profile.measuring = old.measuring;
        deployment.profile.gone = old.gone;
        deployment.profile.spare = old.spare;
    }

    /// The room that a deployment's histograms took is free again: they go.
    fn drop_histograms(&mut self, index: u32) {
        self.histograms_left += std::mem::take(&mut self.deployment_mut(index).profile.histograms);
    }

    /// A deployment goes, with what was measured of it.
    pub(super) fn drop_profile(&mut self, index: u32) {
        self.drop_histograms(index);
        self.unfolded -= self.deployment_mut(index).profile.gone.len();
    }

    /// An invocation begins here. It may be measured.
    pub(super) fn profile_begins(&mut self, now_ns: u64, place: Place, program: &Program) {
        let activations = self.counters.activations;
        let index = self.invocations[place as usize].deployment;
        let profile = &mut self.deployment_mut(index).profile;
        profile.invocations += 1;
        if now_ns < profile.due_ns || profile.measuring == SAMPLES_MAX || !program.has_part() {
            return;
        }
        if profile.measuring + profile.gone.len() == SAMPLES_MAX {
            self.fold_oldest(index);
        }
        let profile = &mut self.deployment_mut(index).profile;
        profile.due_ns = now_ns.saturating_add(PAUSE_NS);
        profile.measuring += 1;
        let mut sample = profile.spare.pop().unwrap_or_default();
        let outputs = profile.first_outputs.last().copied().unwrap_or_default();
        sample.era = profile.era;
        sample.began_ns = now_ns;
        sample.activations = activations;
        sample.bytes.clear();
        sample.bytes.resize(outputs as usize, 0);
        sample.ran.clear();
        sample.ran.resize(program.nodes.len(), false);
        sample.times.clear();
        (sample.well, sample.folded) = (false, 0);
        self.invocations[place as usize].sample = Some(sample);
        self.timed += 1;
    }

    /// The lane has had no time to fold what is needed again.
    #[cold]
    fn fold_oldest(&mut self, index: u32) {
        let Some(deployment) = self.deployments[index as usize].as_mut() else {
            return;
        };
        deployment
            .profile
            .fold(usize::MAX, &mut self.histograms_left);
        self.unfolded -= 1;
    }

    /// An attempt of a measured invocation is handed to an executor, that was ready at `ready_ns`.
    pub(super) fn profile_starts(&mut self, running: &Running, ready_ns: u64) {
        let queued_ns = running.started_ns.saturating_sub(ready_ns);
        self.profile_time(running, TimeOf::Queued, queued_ns);
    }

    /// An attempt of a measured invocation has ended well.
    pub(super) fn profile_ends(
        &mut self,
        now_ns: u64,
        running: &Running,
        outputs: &[Output],
        cpu: Option<CpuUse>,
    ) {
        let run_ns = now_ns.saturating_sub(running.started_ns);
        self.profile_time(running, TimeOf::Run, run_ns);
        self.profile_cpu(running, run_ns, cpu);
        self.profile_outputs(
            running.place,
            running.node,
            outputs.iter().map(output_bytes),
        );
    }

    fn profile_time(&mut self, running: &Running, of: TimeOf, ns: u64) {
        let root = self.invocations[running.place as usize].root;
        let invocation = &mut self.invocations[root as usize];
        let Some(sample) = invocation.sample.as_mut() else {
            return;
        };
        let time = Time {
            node: running.node,
            of,
            ns,
        };
        if sample.times.len() < TIMES_MAX {
            sample.times.push(time);
            return;
        }
        let (era, index) = (sample.era, invocation.deployment);
        if let Some(deployment) = self.deployments[index as usize].as_mut()
            && deployment.profile.era == era
        {
            deployment.profile.record(time, &mut self.histograms_left);
        }
    }

    /// A node has returned, or the lane has computed, outputs of so many bytes.
    pub(super) fn profile_outputs(
        &mut self,
        place: Place,
        node: LocalNode,
        outputs: impl Iterator<Item = u64>,
    ) {
        let Self {
            invocations,
            deployments,
            ..
        } = self;
        let root = invocations[place as usize].root;
        let invocation = &mut invocations[root as usize];
        let Some(sample) = invocation.sample.as_mut() else {
            return;
        };
        sample.ran[node as usize] = true;
        let Some(deployment) = deployments[invocation.deployment as usize].as_ref() else {
            return;
        };
        let places = deployment.profile.outputs_of(node);
        for (sum, bytes) in sample.bytes[places].iter_mut().zip(outputs) {
            *sum = sum.saturating_add(bytes);
        }
    }

    /// A region begins, over a list of so many items.
    pub(super) fn profile_region(&mut self, place: Place, number: u16, items: usize) {
        let Self {
            invocations,
            deployments,
            histograms_left,
            ..
        } = self;
        let invocation = &invocations[place as usize];
        let Some(sample) = &invocations[invocation.root as usize].sample else {
            return;
        };
        let Some(deployment) = deployments[invocation.deployment as usize].as_mut() else {
            return;
        };
        let profile = &mut deployment.profile;
        if sample.era != profile.era {
            return;
        }
        let distribution = &mut profile.items[usize::from(number)];
        if distribution.count() == 0 && *histograms_left > 0 {
            *distribution = Distribution::new(Detail::Whole);
            *histograms_left -= 1;
            profile.histograms += 1;
        }
        distribution.record(items as u64);
    }

    /// All of an invocation has ended well here: what its nodes have made counts.
    pub(super) fn profile_part_ends(&mut self, place: Place) {
        if let Some(sample) = self.invocations[place as usize].sample.as_mut() {
            sample.well = true;
        }
    }

    /// An invocation goes, measured or not; the next one to be measured may not come too soon.
    pub(super) fn profile_gone(&mut self, place: Place) {
        let Some(sample) = self.invocations[place as usize].sample.take() else {
            return;
        };
        self.timed -= 1;
        self.unfolded += 1;
        let seen = self.counters.activations.wrapping_sub(sample.activations);
        let pause_ns = seen.saturating_mul(PAUSE_FOR_EACH_NS);
        let index = self.invocations[place as usize].deployment;
        let profile = &mut self.deployment_mut(index).profile;
        let due_ns = sample.began_ns.saturating_add(pause_ns);
        profile.due_ns = profile.due_ns.max(due_ns);
        profile.measuring -= 1;
        profile.gone.push_back(sample);
    }
}

fn output_bytes(output: &Output) -> u64 {
    match output {
        Output::One(piece) => piece_bytes(piece),
        Output::List(pieces) => pieces.iter().map(piece_bytes).sum(),
    }
}

fn piece_bytes(piece: &Piece) -> u64 {
    match piece {
        Piece::Empty => 0,
        Piece::Own(range) => range.length,
        Piece::Alias { length, .. } => *length,
    }
}

/// The bytes of what the lane has computed.
pub(super) fn incoming_bytes(incoming: &Incoming) -> u64 {
    match incoming {
        Incoming::One(range) | Incoming::Lent(range) => range.length,
        Incoming::List { items, .. } => {
            let there = items.iter().filter(|(_, bytes)| *bytes != ITEM_ABSENT);
            there.map(|(_, bytes)| bytes).sum()
        }
        Incoming::LentList { items, .. } => items.iter().map(|item| item.length).sum(),
        Incoming::Refused(_) => 0,
    }
}
