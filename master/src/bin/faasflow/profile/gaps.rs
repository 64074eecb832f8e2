//! What a profile does not show, in words.

use super::named;
use crate::print::{Page, counted};
use master::feedback::files::Hinted;
use master::feedback::gaps::Gap;
use master::feedback::measured::Profile;
use master::feedback::whole::Whole;
use serde_json::{Value, json};

/// Parts that are named one by one.
const PARTS_NAMED_MAX: usize = 6;

/// A node, or a part of it: `count (1 of 2)`.
pub(super) fn part_name(node: &str, part: Option<(u16, u16)>) -> String {
    match part {
        None => node.to_owned(),
        Some((number, of)) => format!("{node} ({number} of {of})"),
    }
}

/// Says what is missing, if anything is. Where hints are shown, whole nodes are left to these.
pub(crate) fn show_gaps(page: &mut Page, profile: &Profile, hinted: Option<&Hinted>) {
    if profile.is_empty() {
        page.line(&format!(
            "nothing was measured of version {} yet: invoke it a few times first",
            profile.version
        ));
        return;
    }
    let (mut never, mut unmeasured, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    for gap in profile.gaps(&profile.whole_nodes()) {
        match gap {
            Gap::NeverRun(_) | Gap::Unmeasured(_) if hinted.is_some() => {}
            Gap::Placement(number) => {
                page.line(&format!("no invocation went to placement {number} yet"));
            }
            Gap::NeverRun(node) => never.push(node),
            Gap::Unmeasured(node) => unmeasured.push(node),
            Gap::Part {
                node,
                part,
                placement,
                worker,
            } => {
                let name = part_name(&node, part);
                parts.push(match profile.placements {
                    1 => format!("{name} has run on {worker}"),
                    _ => format!("{name} has run on {worker} in placement {placement}"),
                });
            }
        }
    }
    if !never.is_empty() {
        let count = counted(never.len(), "node");
        page.line(&format!("{count} never ran: {}", named(&never)));
    }
    if !unmeasured.is_empty() {
        let count = counted(unmeasured.len(), "node");
        page.line(&format!(
            "{count} ran in no invocation that was measured and has ended well: {}",
            named(&unmeasured)
        ));
    }
    for part in parts.iter().take(PARTS_NAMED_MAX) {
        page.line(&format!(
            "{part}, where it was not measured: it is taken to be like the rest of the node"
        ));
    }
    if let Some(more @ 1..) = parts.len().checked_sub(PARTS_NAMED_MAX) {
        page.line(&format!("so it is of {more} more"));
    }
}

/// The same, as a list.
pub(crate) fn gaps_json(profile: &Profile, wholes: &[Whole]) -> Value {
    let gaps = profile.gaps(wholes).into_iter().map(|gap| match gap {
        Gap::Placement(number) => {
            json!({ "placement": number, "reason": "no invocation went there" })
        }
        Gap::NeverRun(node) => json!({ "node": node, "reason": "it never ran" }),
        Gap::Unmeasured(node) => json!({ "node": node, "reason": "it ran, but was not measured" }),
        Gap::Part {
            node,
            part,
            placement,
            worker,
        } => json!({
            "node": node,
            "part": part.map(|(number, _)| number),
            "placement": placement,
            "worker": worker,
            "reason": "it ran there, but was not measured",
        }),
    });
    gaps.collect()
}
