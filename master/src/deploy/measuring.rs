//! What lies between the workers of a cluster, measured by them.

use super::{Cluster, DeployError};
use crate::place::{Link, MeasuredLink};
use engine::wire::{Control, ControlReply, LinkWish, MEASURED_BYTES_MAX};

/// How much is sent to measure a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkEffort {
    /// Round trips for its latency, from 1 to [`ROUND_TRIPS_MAX`](engine::wire::ROUND_TRIPS_MAX); half a second of them at most.
    pub round_trips: u32,
    /// Bytes for its bandwidth, from [`MEASURED_BYTES_MIN`](engine::wire::MEASURED_BYTES_MIN) to [`MEASURED_BYTES_MAX`]; half a
    /// second of them at most.
    pub bytes: u64,
}

impl Default for LinkEffort {
    /// 200 round trips and 64 MiB.
    fn default() -> Self {
        Self {
            round_trips: 200,
            bytes: MEASURED_BYTES_MAX,
        }
    }
}

impl Cluster {
    /// Has one worker measure the link from it to another, by their places among the addresses. Workers reach each other by
    /// these addresses, as they do when they run workflows.
    ///
    /// # Errors
    /// If the one cannot be spoken to, or refuses, or cannot reach the other or loses it: [`DeployError::Link`] names both.
    ///
    /// # Panics
    /// If there are not so many workers.
    pub fn measure_link(
        &mut self,
        from: usize,
        to: usize,
        effort: LinkEffort,
    ) -> Result<MeasuredLink, DeployError> {
        let to = &self.members[to];
        let wish = LinkWish {
            worker: to.description.name.clone(),
            address: to.address.clone(),
            round_trips: effort.round_trips,
            bytes: effort.bytes,
        };
        let to = wish.worker.clone();
        let member = &mut self.members[from];
        let from = member.description.name.clone();
        let cause = match member.control.request(&Control::MeasureLink(wish)) {
            Ok(ControlReply::Link(figures)) => {
                return Ok(MeasuredLink {
                    from,
                    to,
                    link: Link {
                        bytes_per_s: figures.bytes_per_s(),
                        latency_ns: figures.latency_ns as f64,
                    },
                    round_trips: figures.round_trips,
                    bytes: figures.bytes,
                });
            }
            Ok(ControlReply::Refused(reason)) => reason,
            Ok(other) => {
                let error = member.control.off_the_point("measure a link", &other);
                return Err(error.into());
            }
            Err(error) => error.to_string(),
        };
        Err(DeployError::Link { from, to, cause })
    }
}
