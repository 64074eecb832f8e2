//! The counters that feed the report: one writer each, and any reader.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that one thread writes and any thread reads.
///
/// An increment is a plain load and store, not a locked instruction: with one writer none can be lost, and a lane
/// counts on its hot path. A reader sees a value that was true a moment ago.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; for the one writer alone. Wraps after 2^64.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0
            .store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// Takes away; for the one writer alone. A gauge must not go below zero.
    #[inline]
    pub fn subtract(&self, amount: u64) {
        let now = self.0.load(Relaxed);
        debug_assert!(amount <= now, "a gauge of {now} was lowered by {amount}");
        self.0.store(now.saturating_sub(amount), Relaxed);
    }

    /// Sets a gauge; for the one writer alone.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The value a moment ago.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! counters {
    ($(#[$meta:meta])* $type:ident { $($(#[doc = $doc:literal])+ $name:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct $type { $($(#[doc = $doc])+ pub $name: Counter,)+ }

        impl $type {
            /// The names of all counters, in the order of [`Self::values`].
            pub const NAMES: &[&str] = &[$(stringify!($name)),+];

            /// The values of all counters, each as it was a moment ago.
            #[must_use]
            pub fn values(&self) -> [u64; Self::NAMES.len()] {
                [$(self.$name.get()),+]
            }

            /// Adds all counters to `sums`, by name.
            pub fn add_to(&self, sums: &mut BTreeMap<String, u64>) {
                for (name, value) in Self::NAMES.iter().zip(self.values()) {
                    *sums.entry((*name).to_owned()).or_default() += value;
                }
            }
        }
    };
}

counters!(
    /// What one lane counts. It alone writes them.
    ///
    /// They lie together, on cache lines that no other writer touches (two lines at a time, as CPUs prefetch them in
    /// pairs): padding each by itself would cost the lane a cache line for every counter that it raises.
    LaneCounters {
        /// Invocations that this lane took at its door; the next one's sequence.
        invocations_taken,
        /// Of those it took, how many were answered with their outputs.
        invocations_ended,
        /// Of those it took, how many were answered with a failure.
        invocations_failed,
        /// Wishes of clients that were refused at the door.
        invocations_refused,
        /// Placements that were looked at for an invocation and could not take it, so that another one did: one of their
        /// workers cannot be reached, or has been started anew, or as many are in flight as may be.
        placements_passed,
        /// What clients have taken back: wishes whose inputs were still coming, and invocations that were taken, which count as
        /// answered with a failure too.
        invocations_cancelled,
        /// Cancels that named nothing under way on their connection: it was answered already, or never asked for.
        cancels_dropped,
        /// Gauge: invocations that this lane took and has not yet answered.
        in_flight,
        /// Gauge: invocations of which this lane keeps any state, its own and its peers'.
        invocations_held,
        /// Activations dispatched to executors, retries included.
        activations,
        /// Of those, the ones that their executors had before the core ordered them, since they were prepared for.
        starts_ahead,
        /// Nodes that became ready; a foreach node counts once, whatever its items.
        triggers,
        /// Nodes that were not to run, by a switch or by what has become of those before them.
        skipped,
        /// Failures of nodes that a catch has taken.
        caught,
        /// State events sent to peers.
        events_sent,
        /// State events that came from peers.
        events_received,
        /// Results and messages that came after what they belong to was decided.
        late_dropped,
        /// Activations that were tried again.
        retries,
        /// Activations that exceeded their timeout.
        timeouts,
        /// Activations that were told to stop, since their invocation was over.
        activations_told,
        /// Of those, how many came back in their grace period: their executors are kept.
        told_returned,
        /// Of those, how many did not, or exceeded their timeout in it: their executors were killed.
        told_killed,
        /// Activations that were told to stop, since they have gone on, and held what they read, for longer than the worker
        /// allows.
        leases_expired,
        /// Executors that were replaced, since they may have kept too much memory that has gone.
        executors_replaced,
        /// Executors that ended without being told to.
        executor_deaths,
        /// Messages of executors that broke the rules of shared memory; each ended its executor.
        corrupt_messages,
        /// Times that a lane was idle and an executor's ring had no room for all memory that it is to have back: the rest
        /// is told once it has read.
        memory_backlogs,
        /// Frames of peers and clients that were no valid frames, or had no place; each ended its connection.
        bad_frames,
        /// Gauge: ranges of segments in use by invocations.
        leases,
        /// Gauge: bytes of those ranges.
        lease_bytes,
        /// Gauge: segments in the lane's table.
        segments,
        /// Gauge: bytes of those segments.
        segment_bytes,
        /// Gauge: bytes of segments that have gone, and that executors may still keep, once for each of these.
        pinned_bytes,
        /// Gauge: executors.
        executors,
        /// Gauge: connections of clients.
        clients,
        /// Gauge: connections to and from peers.
        links,
        /// Gauge: of those, the ones beside which memory is shared with a worker on the same host.
        links_sharing,
        /// Payloads that were lent to a worker on the same host, as they lie.
        loans_out,
        /// Payloads that were borrowed from one.
        loans_in,
        /// Payloads that were streamed to a worker with which memory is shared: what lies in borrowed memory, and what could not
        /// be passed on or mapped.
        loans_streamed,
        /// Gauge: ranges that are lent.
        lent_ranges,
        /// Gauge: bytes of those ranges.
        lent_bytes,
        /// Gauge: segments of workers on the same host that this lane has mapped. They count as segments there alone.
        borrowed_segments,
        /// Gauge: bytes of those segments.
        borrowed_segment_bytes,
        /// Lanes of workers on the same host that broke a rule of what is shared; nothing more was shared with them.
        shares_broken,
        /// Payloads that came in chunks.
        transfers_in,
        /// State events that were taken before all of their lists had come, so that items could be read as they came.
        events_early,
        /// Payloads that were sent in chunks.
        transfers_out,
        /// Bytes received from peers and clients.
        bytes_in,
        /// Bytes sent to peers and clients.
        bytes_out,
        /// Times that a report to the control thread had to wait, since it was behind by a whole queue.
        reports_delayed,
        /// Executors that were ended because the kernel refused to watch them.
        watches_lost,
        /// Executors that were woken by a doorbell.
        doorbells,
        /// Times the lane parked.
        parks,
        /// System calls that the lane made.
        system_calls,
        /// Answers that could not be delivered, because the client was gone.
        answers_dropped,
        /// Messages to peers that had to wait for room on their links.
        messages_held,
        /// Connections of an earlier life of a peer, which came after one of a later life.
        stale_links_refused,
        /// Heartbeats sent to peers that would have heard nothing else.
        heartbeats_sent,
        /// Heartbeats that came from peers.
        heartbeats_received,
        /// Peers' lanes that were given up because nothing was heard of them.
        peers_suspected,
        /// Connections that were closed because what was begun on them did not go on.
        transfers_expired,
        /// Links that were given up because the peer granted nothing while payloads waited for it.
        grants_missed,
        /// Gauge: payloads from peers that wait for memory.
        payloads_waiting,
        /// Payloads from peers that have waited for memory.
        payload_waits,
        /// Of them, those that were refused since none came back in time.
        payload_waits_expired,
        /// The most bytes that ranges in use ever had, of all workflows together, whenever the lane looked.
        lease_bytes_peak,
        /// The most bytes that segments ever had, whenever the lane looked.
        segment_bytes_peak,
        /// What had to wait for room in the lane's arena: activations, for tables of lists or copies of what they returned; and
        /// values that the lane computes.
        room_waits,
        /// Payloads that were not carried out, brought back or thrown away at once, and looks at executors' memory that were left
        /// out, since the store thread had too much to do.
        store_refusals,
    }
);

counters!(
    /// What one lane counts of a workflow. It alone writes them.
    WorkflowCounters {
        /// Gauge: ranges of segments in use by its invocations.
        leases,
        /// Gauge: bytes of those ranges.
        lease_bytes,
        /// The most bytes that those ever had.
        lease_bytes_peak,
        /// When the lane saw that they never had more before, in milliseconds of Unix time; 0 until then.
        lease_peak_unix_ms,
        /// Gauge: segments that hold payloads of it, or may.
        segments,
        /// Gauge: bytes of those segments.
        segment_bytes,
        /// The most of those segments, whenever the lane looked.
        segments_peak,
        /// The most bytes that they had, whenever the lane looked.
        segment_bytes_peak,
        /// When it saw that they never had more before, in milliseconds of Unix time; 0 until then.
        segment_peak_unix_ms,
        /// Gauge: bytes that its payloads may have in memory before they are carried elsewhere, or wait to be made.
        quota_bytes,
        /// Gauge: bytes that what may be in flight, by what was proven, needs more than executors have turned out to leave.
        lacking_bytes,
        /// Gauge: payloads that were carried out of memory and are still needed.
        away,
        /// Gauge: bytes of those.
        away_bytes,
        /// Payloads that were spilled to disk.
        spilled,
        /// Bytes of those.
        spilled_bytes,
        /// Payloads that were brought back from disk.
        spill_back,
        /// Bytes of those.
        spill_back_bytes,
        /// Copies that were brought of what is still on disk.
        spill_copied,
        /// Bytes of those.
        spill_copied_bytes,
        /// Payloads that the disk did not take, and that stayed in memory.
        spill_refused,
        /// Payloads that could not be brought back from disk.
        spill_lost,
        /// Payloads that were carried to the remote store.
        stored,
        /// Bytes of those.
        stored_bytes,
        /// Payloads that were brought back from the remote store.
        remote_back,
        /// Bytes of those.
        remote_back_bytes,
        /// Copies that were brought of what is still in the remote store.
        remote_copied,
        /// Bytes of those.
        remote_copied_bytes,
        /// Payloads that the remote store did not take, and that stayed in memory.
        remote_refused,
        /// Payloads that could not be brought back from the remote store.
        remote_lost,
        /// Payloads of peers that could not be taken in.
        arrivals_refused,
        /// Activations that waited for memory though an executor was idle.
        held_back,
        /// Activations that were started, or given an item of a list, beyond the quota, since nothing else of the workflow ran.
        overdrawn,
        /// Activations that were started before all items of their lists were in memory, since these do not fit in.
        windowed,
        /// Gauge: bytes of segments that have gone, and that its executors may still keep, once for each of these.
        pinned_bytes,
    }
);

counters!(
    /// What the control thread counts. It alone writes them.
    ControlCounters {
        /// Connections accepted.
        connections,
        /// Connections that greeted as they should.
        greeted,
        /// Connections refused, for a wrong key or a wrong greeting.
        greetings_refused,
        /// Clients refused because as many are connected as may be.
        clients_refused,
        /// Connections that did not finish their greeting in time.
        greetings_expired,
        /// Times that a connection had to wait because too many others were still to greet.
        greetings_delayed,
        /// Frames on control connections, or instead of a greeting, that were no valid frames or had no place.
        bad_control_frames,
        /// Connections that no lane could take, its queue being full.
        connections_dropped,
        /// Executors that ended, for whatever reason.
        executors_ended,
        /// Connections on this host, to share memory, that were closed without a word: another user's, or for no link.
        shares_refused,
        /// Plans refused.
        plans_refused,
        /// Plans accepted.
        plans_accepted,
        /// Executors started.
        executors_started,
        /// Executors that could not be started.
        executor_starts_failed,
        /// Links to peers that were made anew after they broke.
        links_remade,
        /// Measurements of a link that this worker has begun, at either end of it.
        measurements,
        /// Measurements that it refused: it took part in another, or they were beyond the limits.
        measurements_refused,
        /// Measurements that were begun and came to nothing.
        measurements_broken,
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_listed_under_its_own_name() {
        let counters = LaneCounters::default();
        counters.triggers.add(3);
        counters.leases.add(5);
        counters.leases.subtract(2);
        counters.answers_dropped.set(7);
        let mut sums = BTreeMap::new();
        counters.add_to(&mut sums);
        counters.add_to(&mut sums);
        assert_eq!(sums.len(), LaneCounters::NAMES.len());
        assert_eq!(
            (sums["triggers"], sums["leases"], sums["answers_dropped"]),
            (6, 6, 14)
        );
        assert_eq!(sums["activations"], 0);
    }

    #[test]
    fn lane_and_control_counters_share_no_name() {
        for name in ControlCounters::NAMES {
            assert!(!LaneCounters::NAMES.contains(name), "{name}");
        }
    }
}
