//! What outputs, and inputs of the workflow, may have at most.

use super::Reader;
use super::values::Fields;
use crate::definition::keys::MAXIMUM_BYTES_MAX;
use crate::definition::problem::ProblemKind;
use crate::definition::tree::{Tree, Value};
use engine::worker::quantities::parse_size;
use faasstore::binding::{Kind, Maximum};

/// What only a list has.
const OF_LISTS: [&str; 2] = ["max_items", "max_total_bytes"];

impl Reader {
    /// The maximum that these keys declare of a payload of that kind.
    pub(super) fn maximum(&mut self, fields: &Fields<'_>, kind: Kind) -> Maximum {
        let mut maximum = Maximum::NONE;
        if let Some(bytes) = self.size(fields, "max_bytes") {
            maximum.bytes = bytes;
        }
        let of_list = OF_LISTS.map(|key| fields.get(key));
        if kind != Kind::List {
            for (key, (name, _)) in OF_LISTS
                .into_iter()
                .zip(of_list)
                .filter_map(|(key, entry)| entry.map(|entry| (key, entry)))
            {
                let problem = ProblemKind::NotHere {
                    what: "what is no list",
                    key,
                };
                let help = "only a list has items; `max_bytes` is for all of it";
                self.problems.add(name.span, problem, Some(help.to_owned()));
            }
            return maximum;
        }
        if let Some(items) = self.whole(fields, "max_items") {
            maximum.items = items;
        }
        if let Some(bytes) = self.size(fields, "max_total_bytes") {
            maximum.total_bytes = bytes;
        }
        maximum
    }

    /// A number of bytes, which may have a unit.
    fn size(&mut self, fields: &Fields<'_>, key: &'static str) -> Option<u64> {
        let (_, tree) = fields.get(key)?;
        let bytes = size_of(tree);
        if bytes.is_none() {
            let found = tree.describe();
            let expected = "bytes from 1 to 16 TiB, with a unit if it suits, as in `64KiB`";
            let kind = ProblemKind::Shape {
                what: format!("`{key}`"),
                expected,
                found,
            };
            let help = "write `1048576`, `1MiB` or `1GiB`";
            self.problems.add(tree.span, kind, Some(help.to_owned()));
        }
        bytes
    }
}

fn size_of(tree: &Tree) -> Option<u64> {
    let Value::Scalar { text, .. } = &tree.value else {
        return None;
    };
    let bytes = parse_size(text).ok()?;
    (1..=MAXIMUM_BYTES_MAX).contains(&bytes).then_some(bytes)
}
