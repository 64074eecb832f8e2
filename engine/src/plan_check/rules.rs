//! The rules that many parts of a plan share: indices, bounds, names, order and kinds.

use super::NAME_BYTES_MAX;
use super::error::PlanError;
use faasstore::binding::Kind;
use std::collections::HashSet;

pub(super) type Check = Result<(), PlanError>;

/// Whether what a source gives may be taken as `takes`: a value is bytes too, but bytes are no value.
pub(super) fn fits(place: impl Fn() -> String, takes: Kind, gives: Kind) -> Check {
    if takes == gives || (takes, gives) == (Kind::Bytes, Kind::Value) {
        return Ok(());
    }
    Err(PlanError::Kind {
        place: place(),
        takes,
        gives,
    })
}

pub(super) fn index(
    place: impl Fn() -> String,
    what: &'static str,
    index: usize,
    count: usize,
) -> Check {
    if index < count {
        return Ok(());
    }
    Err(PlanError::Index {
        place: place(),
        what,
        index,
        count,
    })
}

pub(super) fn in_range(
    place: impl Fn() -> String,
    what: &'static str,
    given: u64,
    min: u64,
    max: u64,
) -> Check {
    if (min..=max).contains(&given) {
        return Ok(());
    }
    Err(PlanError::Range {
        place: place(),
        what,
        given,
        min,
        max,
    })
}

pub(super) fn check_name(place: impl Fn() -> String, what: &'static str, name: &str) -> Check {
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(PlanError::Name {
        place: place(),
        what,
        name: name.chars().take(NAME_BYTES_MAX).collect(),
    })
}

/// Names must be names, and none may stand there twice.
pub(super) fn unique<'a>(
    place: impl Fn() -> String,
    what: &'static str,
    names: impl Iterator<Item = &'a str>,
) -> Check {
    let mut seen = HashSet::new();
    for name in names {
        check_name(&place, what, name)?;
        if !seen.insert(name) {
            return Err(PlanError::Twice {
                place: place(),
                what,
                name: name.to_owned(),
            });
        }
    }
    Ok(())
}

pub(super) fn distinct<T: Copy + Eq + std::hash::Hash + ToString>(
    place: impl Fn() -> String,
    what: &'static str,
    numbers: &[T],
) -> Check {
    let mut seen = HashSet::with_capacity(numbers.len());
    match numbers.iter().find(|number| !seen.insert(**number)) {
        Some(number) => Err(PlanError::Twice {
            place: place(),
            what,
            name: number.to_string(),
        }),
        None => Ok(()),
    }
}

pub(super) fn rising(
    place: impl Fn() -> String,
    what: &'static str,
    mut numbers: impl Iterator<Item = u64>,
) -> Check {
    let Some(mut before) = numbers.next() else {
        return Ok(());
    };
    for index in numbers {
        if index <= before {
            return Err(PlanError::Rising {
                place: place(),
                what,
                index,
                before,
            });
        }
        before = index;
    }
    Ok(())
}
