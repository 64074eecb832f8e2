//! The counts of all chunks as one text: the most frequent word first, and words as frequent as each other in the order
//! of their bytes.

use crate::counts::{CountedWords, MalformedCounts};
use crate::tally::Tally;
use std::cmp::Reverse;
use std::io::{self, Write};
use std::ops::Range;

/// What [`merge`] makes: counts of distinct words, ordered.
#[derive(Debug)]
pub struct Totals {
    words: Vec<u8>,
    entries: Vec<(Range<usize>, u64)>,
}

/// Adds up counts, of archives or of [`Counts`](crate::Counts) in memory.
///
/// # Errors
/// If one of them was not made by [`count`](crate::count).
pub fn merge<'a, C: CountedWords + 'a>(
    counts: impl IntoIterator<Item = &'a C>,
) -> Result<Totals, MalformedCounts> {
    let mut tally = Tally::with_capacity(1 << 14);
    for counts in counts {
        for word in counts.words()? {
            let (word, count) = word?;
            tally.add(count, |words| words.extend_from_slice(word));
        }
    }
    let (words, mut entries) = tally.into_parts();
    entries.sort_unstable_by(|(a, a_count), (b, b_count)| {
        (Reverse(a_count), &words[a.clone()]).cmp(&(Reverse(b_count), &words[b.clone()]))
    });
    Ok(Totals { words, entries })
}

impl Totals {
    /// Distinct words.
    #[must_use]
    pub fn distinct(&self) -> usize {
        self.entries.len()
    }

    /// Writes a line `word TAB count` for each word.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let mut digits = [0; LINE_END_BYTES_MAX];
        for (range, count) in &self.entries {
            out.write_all(&self.words[range.clone()])?;
            out.write_all(line_end(*count, &mut digits))?;
        }
        Ok(())
    }

    /// Bytes that [`Totals::write_to`] writes.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let mut digits = [0; LINE_END_BYTES_MAX];
        let ends: usize = self
            .entries
            .iter()
            .map(|(_, count)| line_end(*count, &mut digits).len())
            .sum();
        self.words.len() + ends
    }
}

/// A tab, the twenty digits of the largest count, a newline.
const LINE_END_BYTES_MAX: usize = 22;

/// `TAB count NEWLINE`, written to the end of `buffer`: formatting through `fmt` would take most of the merge's time.
fn line_end(mut count: u64, buffer: &mut [u8; LINE_END_BYTES_MAX]) -> &[u8] {
    let mut at = LINE_END_BYTES_MAX - 1;
    buffer[at] = b'\n';
    loop {
        at -= 1;
        buffer[at] = b'0' + (count % 10) as u8;
        count /= 10;
        if count == 0 {
            break;
        }
    }
    buffer[at - 1] = b'\t';
    &buffer[at - 1..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_written_in_decimal() {
        let mut buffer = [0; LINE_END_BYTES_MAX];
        for count in [0, 9, 10, 12_345, u64::MAX] {
            assert_eq!(
                line_end(count, &mut buffer),
                format!("\t{count}\n").as_bytes()
            );
        }
    }
}
