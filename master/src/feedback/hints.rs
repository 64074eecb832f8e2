//! From what was measured of a node to what its `profile:` is to say.

use super::whole::{Weighted, Whole};
use engine::profile::{CpuSums, Distribution};

/// What a node's `profile:` is to say. What is none stays as it is.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Hints {
    /// Mean run time of one activation, in milliseconds, on a worker of speed 1; where executors have measured it, without waits
    /// for a CPU.
    pub runtime_ms: Option<f64>,
    /// The share of its run time in which it keeps its CPUs busy, 0 to 1 in hundredths, if executors have measured that.
    pub busy: Option<f64>,
    /// Mean bytes of its outputs in an invocation in which it runs.
    pub output_bytes: Option<Bytes>,
    /// Mean number of items of the list that it runs over.
    pub items: Option<u64>,
    /// The share of the invocations in which it runs, 0 to 1.
    pub runs: Option<f64>,
}

/// Bytes of each output by its name, in their order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bytes(pub Vec<(String, u64)>);

/// From which share of the invocations on a node counts as one that always runs: what is under way when it is asked was begun
/// everywhere and has run in some places only.
const ALWAYS: f64 = 0.995;

/// What was measured of one node of a file, wherever the file stands in the workflow.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    run_ns: Weighted,
    cpu: CpuSums,
    outputs: Vec<(String, Weighted)>,
    items: Distribution,
    has_executor: bool,
    ran: u64,
    /// Shares of the invocations, added up, and how many.
    shares: (f64, u32),
}

impl Figures {
    /// Takes in what was measured of a node.
    pub(super) fn add(&mut self, node: &Whole) {
        self.run_ns.add(node.run_normal_ns, node.activations);
        self.cpu.merge(&node.cpu);
        self.outputs
            .resize_with(node.outputs.len(), Default::default);
        for ((name, all), one) in self.outputs.iter_mut().zip(&node.outputs) {
            name.clone_from(&one.name);
            all.add(one.mean_bytes, node.ran);
        }
        if let Some(items) = &node.items {
            self.items.merge(items);
        }
        self.has_executor |= node.has_executor;
        self.ran += node.ran;
        if let Some(share) = node.share {
            self.shares = (self.shares.0 + share, self.shares.1 + 1);
        }
    }

    /// The hints that follow; none if it never ran. `keeps_items` says whether the list is its own, `says_runs` whether a
    /// share of one is worth saying, `cpus` how many an activation may keep busy.
    pub(super) fn hints(&self, keeps_items: Items, always: Always, cpus: u16) -> Option<Hints> {
        if self.ran == 0 {
            return None;
        }
        let (sum, count) = self.shares;
        let share = (count > 0).then(|| sum / f64::from(count));
        let share = share.map(|share| if share >= ALWAYS { 1.0 } else { share });
        let bytes = self.outputs.iter();
        let bytes = bytes.map(|(name, bytes)| (name.clone(), rounded(bytes.mean())));
        Some(Hints {
            runtime_ms: match self.run_ns.mean() {
                Some(run_ns) if self.has_executor => Some(run_ns / 1e6),
                _ => None,
            },
            busy: self.cpu.busy_cpus().map(|busy| {
                let share = busy / f64::from(cpus.max(1));
                (share.min(1.0) * 100.0).round() / 100.0
            }),
            output_bytes: (!self.outputs.is_empty()).then(|| Bytes(bytes.collect())),
            items: match keeps_items {
                Items::Own if self.items.count() > 0 => Some(rounded(self.items.mean())),
                _ => None,
            },
            // Of what always runs no less than that is to be believed: what is under way has not run yet.
            runs: share.filter(|_| always == Always::Said),
        })
    }
}

/// Whether a node's items are for it to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Items {
    /// It has a `foreach` of its own.
    Own,
    /// It has none, or goes on with another one's.
    None,
}

/// Whether a node that always runs says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Always {
    /// It does: its file says a share, or it may be skipped.
    Said,
    /// It goes without saying, since it cannot be skipped.
    Plain,
}

fn rounded(mean: Option<f64>) -> u64 {
    mean.unwrap_or_default().round() as u64
}
