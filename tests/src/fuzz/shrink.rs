//! Makes a find smaller: parts are left out as long as it is the same find.

use std::io;
use std::time::{Duration, Instant};

/// Trials at most.
const TRIALS_MAX: usize = 1500;

/// The smallest input that was found to be alike: parts of half its length are left out, then of a quarter, and on to
/// single bytes, until nothing more can be left out or `time_max` is over.
pub(super) fn shrink(
    input: &[u8],
    time_max: Duration,
    mut is_alike: impl FnMut(&[u8]) -> io::Result<bool>,
) -> io::Result<Vec<u8>> {
    let give_up = Instant::now() + time_max;
    let mut smallest = input.to_vec();
    let mut part = smallest.len().div_ceil(2).max(1);
    let mut trials = 0;
    loop {
        let before = smallest.len();
        let mut at = 0;
        while at < smallest.len() {
            if trials == TRIALS_MAX || Instant::now() > give_up {
                return Ok(smallest);
            }
            trials += 1;
            let end = (at + part).min(smallest.len());
            let candidate = [&smallest[..at], &smallest[end..]].concat();
            if is_alike(&candidate)? {
                smallest = candidate;
            } else {
                at = end;
            }
        }
        if part > 1 {
            part = part.div_ceil(2);
        } else if smallest.len() == before {
            return Ok(smallest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn time_that_is_over_leaves_what_there_is() {
        let left = shrink(b"abc", Duration::ZERO, |_| Ok(true)).unwrap();
        assert!(left.len() >= 2, "{left:?}");
    }

    #[test]
    fn what_matters_is_left_over() {
        let input = b"some text, then a, more text, then b, and the rest of it";
        let matters = |bytes: &[u8]| {
            let a = bytes.iter().position(|byte| *byte == b',');
            Ok(a.is_some_and(|a| bytes[a..].contains(&b'b')))
        };
        assert_eq!(shrink(input, LONG, matters).unwrap(), b",b");
    }

    #[test]
    fn an_input_of_which_all_matters_stays() {
        let input = b"abc";
        assert_eq!(
            shrink(input, LONG, |bytes| Ok(bytes == input)).unwrap(),
            input
        );
        assert_eq!(shrink(input, LONG, |_| Ok(true)).unwrap(), b"");
    }
}
