//! CPUs and links in the simulation: who uses one gets an equal part of it.
//!
//! What each has been given since the beginning is the same for all, so that what is served next does not change when another
//! one comes or goes; only when it will be does.

use super::{Simulator, What};
use crate::place::cost;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Steps in which the sharing of CPUs is found: mostly it takes one to four.
const NEWTON_STEPS_MAX: usize = 16;

/// What many share in equal parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Server {
    /// How much each has been given since the beginning.
    given: f64,
    at_ns: f64,
    /// What each is given a nanosecond.
    rate: f64,
    /// By what must have been given until it is served.
    waiting: BinaryHeap<Reverse<(u64, u32, u32)>>,
    /// Of the event that is foreseen.
    stamp: u32,
    used: bool,
}

impl Server {
    pub(super) fn clear(&mut self) {
        self.given = 0.0;
        self.at_ns = 0.0;
        self.rate = 0.0;
        self.waiting.clear();
        self.stamp = self.stamp.wrapping_add(1);
        self.used = false;
    }

    #[inline]
    fn advance(&mut self, now_ns: f64) {
        self.given += (now_ns - self.at_ns) * self.rate;
        self.at_ns = now_ns;
    }
}

/// How many times as long tasks take for what they have CPUs do, if those of each class need so many CPUs together and there are so
/// many: once, if there are enough. Else so much longer that they keep all CPUs busy and no more than that: a task that waits for
/// something else in between takes less of its time on them the longer that takes.
fn how_much_longer(classes: &[u8], demand: &[f64], cpus: f64) -> f64 {
    let all: f64 = demand.iter().sum();
    if all <= cpus {
        return 1.0;
    }
    // By Newton's method from the left, which never goes beyond the solution of a falling convex function.
    let mut longer = all / cpus;
    for _ in 0..NEWTON_STEPS_MAX {
        let (mut over, mut slope) = (-cpus, 0.0);
        for (class, demand) in classes.iter().zip(demand) {
            let busy = cost::share(*class);
            let lasts = (1.0 - busy) + busy * longer;
            over += demand / lasts;
            slope += demand * busy / (lasts * lasts);
        }
        let step = over / slope;
        longer += step;
        if step <= longer * 1e-9 {
            break;
        }
    }
    longer
}

impl Simulator<'_> {
    /// Something begins to be served that needs so much; whether it is the next that will be done.
    pub(super) fn join(&mut self, server: usize, needs: f64, what: u32) -> bool {
        self.order += 1;
        let order = self.order;
        let of = self.server(server);
        let until = (of.given + needs).to_bits();
        let first = of
            .waiting
            .peek()
            .is_none_or(|Reverse((first, ..))| until < *first);
        of.waiting.push(Reverse((until, order, what)));
        first
    }

    /// A server as it is now, to be changed; the next run begins by clearing those.
    fn server(&mut self, server: usize) -> &mut Server {
        let of = &mut self.servers[server];
        if !of.used {
            of.used = true;
            self.used_servers.push(server as u32);
        }
        of.advance(self.now_ns);
        of
    }

    /// The tasks on a worker get their parts anew; on one server another one may be the next.
    pub(super) fn share_cpus(&mut self, worker: usize, changed: Option<usize>) {
        let of = &self.model.workers[worker];
        let first = worker * self.classes.len();
        let demand = &self.demand[first..first + self.classes.len()];
        let longer = how_much_longer(&self.classes, demand, of.cpus);
        for class in 0..self.classes.len() {
            let busy = cost::share(self.classes[class]);
            let rate = of.speed / ((1.0 - busy) + busy * longer);
            self.set_rate(first + class, rate, changed == Some(first + class));
        }
    }

    fn set_rate(&mut self, server: usize, rate: f64, changed: bool) {
        if self.servers[server].rate == rate && !changed {
            return;
        }
        let of = self.server(server);
        of.rate = rate;
        of.stamp = of.stamp.wrapping_add(1);
        if let Some(Reverse((until, ..))) = of.waiting.peek() {
            let left = (f64::from_bits(*until) - of.given).max(0.0);
            let what = What::Served(server as u32, of.stamp);
            self.foresee(self.now_ns + left / rate, what);
        }
    }

    /// The first of those that share a server has all that it needs.
    pub(super) fn served(&mut self, placed: &[u32], server: u32, stamp: u32) {
        let cpus = self.model.workers.len() * self.classes.len();
        let index = server as usize;
        if self.servers[index].stamp != stamp {
            return;
        }
        let Some(Reverse((_, _, what))) = self.server(index).waiting.pop() else {
            return;
        };
        if index < cpus {
            let worker = index / self.classes.len();
            let (_, of) = self.task(what);
            let demand = &mut self.demand[index];
            *demand -= of.demand();
            if *demand < 1e-9 {
                *demand = 0.0;
            }
            self.share_cpus(worker, Some(index));
            self.task_ended(placed, what);
        } else {
            let link = index - cpus;
            self.sharers[link] -= 1;
            self.share_link(link);
            let (from, to) = (
                link / self.model.workers.len(),
                link % self.model.workers.len(),
            );
            let latency_ns = self.model.link(from, to).latency_ns;
            self.foresee(self.now_ns + latency_ns, What::Arrived(what, to as u32));
        }
    }

    pub(super) fn share_link(&mut self, link: usize) {
        let workers = self.model.workers.len();
        let of = self.model.link(link / workers, link % workers);
        let sharers = f64::from(self.sharers[link].max(1));
        let server = workers * self.classes.len() + link;
        self.set_rate(server, of.bytes_per_s / 1e9 / sharers, true);
    }
}
