//! Every key of the language: where it stands, what it means, what it holds. The reader takes names and ranges from
//! these tables, and the JSON Schema is made of them, so that neither knows a key which the other does not.

mod cluster;
mod meant;
mod shapes;

pub(super) use cluster::{CLUSTER, CLUSTER_LINK, CLUSTER_PAIR, CLUSTER_WORKER};
pub(super) use meant::Meant;

pub(super) use shapes::*;
pub(crate) use shapes::{
    ATTEMPTS_MAX, FACTOR_MAX, ITEMS_MAX, MAXIMUM_BYTES_MAX, MEMORY_MIB_MAX, PROFILE_BYTES_MAX,
    RETRIERS_MAX, SCALE_MAX, TIME_MS_MAX,
};

/// A key of a mapping.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// What it means, for editors.
    pub(super) about: &'static str,
    pub(super) holds: Holds,
}

/// What may stand under a key.
pub(super) enum Holds {
    /// A name by the rules of names.
    Name,
    /// `EXECUTABLE:FUNCTION`.
    Function,
    /// Any text.
    Text,
    /// A CEL expression; numbers and booleans are expressions too.
    Expression,
    /// A CEL expression that is text, beside a number that stands for itself.
    ExpressionText,
    /// Where a value comes from, in one text.
    Source,
    /// A number or a boolean that stands for itself.
    Plain,
    /// Anything.
    Any,
    /// True or false.
    Flag,
    /// A whole number.
    Whole { least: u64, most: u64 },
    /// A number of bytes, which may have a unit.
    Size,
    /// A number that may have a fraction.
    Number { least: f64, most: f64 },
    /// One of these words.
    Words(&'static [&'static str]),
    /// One of these, or a list of them.
    OneOrMore(&'static Holds),
    /// One of these, or a list of at least one and so many at most.
    OneOrUpTo(u64, &'static Holds),
    /// A list.
    List(&'static Holds),
    /// A mapping of names to these.
    Named(&'static Holds),
    /// A mapping with known keys.
    Keys(&'static Shape),
    /// Any of these.
    Either(&'static [Holds]),
}

/// The keys that a mapping may have.
pub(super) struct Shape {
    /// In the schema, under which name it stands.
    pub(super) slug: &'static str,
    /// As messages call it.
    pub(super) what: &'static str,
    pub(super) keys: &'static [Key],
    /// Keys that it cannot do without.
    pub(super) needs: &'static [&'static str],
    /// Keys of which it needs one at least, if any stand here.
    pub(super) needs_one_of: &'static [&'static str],
    /// Keys that belong elsewhere, and where.
    pub(super) elsewhere: &'static [(&'static str, &'static str)],
    /// Keys of the language that this version does not run.
    pub(super) not_yet: &'static [&'static str],
}

impl Shape {
    const PLAIN: Self = Self {
        slug: "",
        what: "",
        keys: &[],
        needs: &[],
        needs_one_of: &[],
        elsewhere: &[],
        not_yet: &[],
    };

    /// Its keys' names.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.keys.iter().map(|key| key.name).collect()
    }

    /// The range of one of its keys that holds a whole number, or that and something else.
    pub(super) fn whole(&self, name: &str) -> Option<(&'static str, u64, u64)> {
        let key = self.keys.iter().find(|key| key.name == name)?;
        let one = match key.holds {
            Holds::Either([one, ..]) => one,
            ref one => one,
        };
        match *one {
            Holds::Whole { least, most } => Some((key.name, least, most)),
            _ => None,
        }
    }

    /// The range of one of its keys that holds a number.
    pub(super) fn number(&self, name: &str) -> Option<(&'static str, f64, f64)> {
        self.keys.iter().find_map(|key| match key.holds {
            Holds::Number { least, most } if key.name == name => Some((key.name, least, most)),
            _ => None,
        })
    }
}
