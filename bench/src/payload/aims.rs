//! What must hold of the rows.

use super::row::{Kind, Row};
use serde::Serialize;
use std::fmt;

/// Until the consumer's entry, `shared` is flat in size; and its reading costs what that of private memory does.
const SHARED_MAX: f64 = 1.1;
/// `peer` has 0.9 of the bandwidth of a bare stream.
const PEER_MAX: f64 = 1.0 / 0.9;
/// `spill` has 0.8 of the bandwidth of the disk.
const SPILL_MAX: f64 = 1.0 / 0.8;
/// `remote` takes little more than the bare client.
const REMOTE_MAX: f64 = 1.1;
/// Bandwidths are judged from here on: below, what a message costs is most of it.
const BANDWIDTH_BYTES_MIN: u64 = 1 << 20;

/// Something that must hold of one row, and whether it does.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Aim {
    /// Which tier.
    pub tier: Kind,
    /// At which size.
    pub bytes: u64,
    /// Of which part of the way; `whole`: of all of it.
    pub part: &'static str,
    /// What was measured, over its floor.
    pub ratio: f64,
    /// What that may be at most.
    pub ratio_max: f64,
    /// Whether it is not more.
    pub held: bool,
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tier,
            bytes,
            part,
            ratio,
            ratio_max,
            held,
        } = self;
        let held = if *held { "held" } else { "missed" };
        write!(
            f,
            "{held}: {tier}, {bytes} bytes, {part}: {ratio:.3} of the floor, at most {ratio_max:.3}"
        )
    }
}

/// All that can be judged of these rows.
#[must_use]
pub fn judge(rows: &[Row]) -> Vec<Aim> {
    rows.iter().flat_map(of_row).collect()
}

fn of_row(row: &Row) -> Vec<Aim> {
    let aim = |part: &'static str, ratio: f64, ratio_max: f64| Aim {
        tier: row.tier,
        bytes: row.bytes,
        part,
        ratio,
        ratio_max,
        held: ratio <= ratio_max,
    };
    let parts = |names: &[&'static str], ratio_max: f64| {
        let of = |name: &&'static str| Some(aim(name, row.parts.get(name)?.ratio, ratio_max));
        names.iter().filter_map(of).collect()
    };
    let is_large = row.bytes >= BANDWIDTH_BYTES_MIN;
    match row.tier {
        Kind::Shared if is_large => parts(&["entry", "read"], SHARED_MAX),
        Kind::Peer if is_large => parts(&["entry"], PEER_MAX),
        Kind::Spill if is_large => parts(&["put", "get"], SPILL_MAX),
        Kind::Remote => vec![aim("whole", row.ratio, REMOTE_MAX)],
        Kind::Inline | Kind::Shared | Kind::Peer | Kind::Spill => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::Part;
    use super::*;

    fn row(tier: Kind, bytes: u64, ratio: f64, parts: &[(&'static str, u64)]) -> Row {
        let parts = parts.iter().map(|(name, ns)| (*name, Part::new(*ns, 1000)));
        Row {
            tier,
            bytes,
            samples: 1,
            p50_ns: 1,
            p99_ns: 1,
            bytes_per_s: 1.0,
            floor_ns: 1,
            ratio,
            floor_how: String::new(),
            parts: parts.collect(),
        }
    }

    /// What is judged of a row: the part, and whether it holds.
    fn told(row: Row) -> Vec<(&'static str, bool)> {
        let aims = judge(&[row]).into_iter();
        aims.map(|aim| (aim.part, aim.held)).collect()
    }

    #[test]
    fn each_tier_is_held_to_its_own_aims_and_just_so_far() {
        let mib = 1 << 20;
        let shared = [("entry", 1101), ("read", 1100)];
        assert_eq!(
            told(row(Kind::Shared, mib, 9.0, &shared)),
            [("entry", false), ("read", true)]
        );
        assert_eq!(
            told(row(Kind::Peer, mib, 9.0, &[("entry", 1111)])),
            [("entry", true)]
        );
        assert_eq!(
            told(row(Kind::Peer, mib, 1.0, &[("entry", 1112)])),
            [("entry", false)]
        );
        let spill = [("put", 1250), ("get", 1251)];
        assert_eq!(
            told(row(Kind::Spill, mib, 1.0, &spill)),
            [("put", true), ("get", false)]
        );
        assert_eq!(told(row(Kind::Remote, 64, 1.1, &[])), [("whole", true)]);
        assert_eq!(told(row(Kind::Remote, mib, 1.101, &[])), [("whole", false)]);
        assert!(told(row(Kind::Inline, mib, 9.0, &[("entry", 9000)])).is_empty());
    }

    #[test]
    fn bandwidths_of_small_payloads_are_not_judged() {
        for kind in [Kind::Shared, Kind::Peer, Kind::Spill] {
            let parts = ["entry", "read", "put", "get"].map(|name| (name, 9000));
            assert!(told(row(kind, 65_536, 9.0, &parts)).is_empty(), "{kind}");
        }
    }

    #[test]
    fn a_missed_aim_names_row_and_part() {
        let aims = judge(&[row(Kind::Peer, 1 << 20, 1.0, &[("entry", 2000)])]);
        let text = "missed: peer, 1048576 bytes, entry: 2.000 of the floor, at most 1.111";
        assert_eq!(aims[0].to_string(), text);
    }
}
