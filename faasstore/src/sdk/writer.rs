//! A payload that is filled in place, piece by piece if need be.

use super::Error;
use super::line::Line;
use super::output::{Outputs, Place};
use crate::arena::ArenaError;
use rkyv::rancor::{Error as ArchiveError, Source};
use rkyv::ser::{Positional, Writer};
use std::io;

/// Why an output did not grow.
#[derive(Debug)]
enum Refused {
    Memory(Error),
    /// It is above what the output declares.
    Limit(Error),
}

impl Refused {
    fn into_error(self) -> Error {
        match self {
            Self::Memory(error) | Self::Limit(error) => error,
        }
    }
}

/// An output, or an item of one, that is written in place. Dropped without a commit it was never there.
///
/// **What growing costs.** A payload of up to half an ordinary segment (4 MiB, less in an arena of less than 64 MiB) is moved when
/// it outgrows its place, each time to one twice as large: its bytes are copied at most twice in all. A larger one gets a segment
/// of its own, which grows in place. From then on nothing is copied: memory is set aside in steps that double up to 64 MiB, and
/// what is left of the last one goes back to the kernel at the end. So a stream of any length costs what its bytes cost, and
/// takes no more memory than it has, but for one step, which goes no further than the maximum that the output declares.
#[derive(Debug)]
#[must_use = "nothing is written before `commit` or `finish`"]
pub struct OutputWriter<'c> {
    outputs: &'c mut Outputs,
    place: Place,
    asked: u64,
    written: u64,
    /// By which room is asked for where there is none.
    line: Option<&'c Line>,
}

impl<'c> OutputWriter<'c> {
    pub(super) fn new(
        outputs: &'c mut Outputs,
        place: Place,
        bytes: u64,
        line: Option<&'c Line>,
    ) -> Result<Self, Error> {
        // One that was leaked must not stay in use.
        outputs.close();
        outputs.check(place, bytes)?;
        outputs.open(bytes, line)?;
        Ok(Self {
            outputs,
            place,
            asked: bytes,
            written: 0,
            line,
        })
    }

    /// Bytes that were written by [`io::Write`] so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The reserved bytes. Their content is whatever was there before.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let asked = self.asked as usize;
        match &self.outputs.open {
            Some(open) => &mut self.outputs.arena.growing_mut(open)[..asked],
            None => &mut [],
        }
    }

    /// Makes the first `length` bytes the output; the rest is free again.
    ///
    /// # Errors
    /// If `length` is more than was reserved, or the kernel refuses to make a segment of it; the output is not written
    /// then.
    pub fn commit(mut self, length: usize) -> Result<(), Error> {
        if length as u64 > self.asked {
            let text = format!(
                "{length} bytes committed, where {} were reserved",
                self.asked
            );
            return Err(Error::output(text));
        }
        self.end(length as u64)
            .map_err(|error| Error::memory(&error))
    }

    /// Makes what was written by [`io::Write`] the output. Should the kernel refuse to make a segment of it, the
    /// activation fails when the function returns.
    pub fn finish(mut self) {
        let written = self.written;
        if let Err(error) = self.end(written) {
            self.outputs.refused = Some(Error::memory(&error));
        }
    }

    /// Appends what one read of `source` gives, which is read straight into the arena: 0 at its end, and none if it has
    /// nothing to give yet.
    ///
    /// # Errors
    /// If the read fails, or what it gave is above the maximum that the output declares, or does not fit into the arena.
    pub fn read_from(&mut self, source: &mut impl io::Read) -> Result<Option<usize>, Error> {
        let most = self.outputs.room(self.place);
        let room = match &self.outputs.open {
            Some(open) => {
                let behind = open.capacity().min(most).max(self.written);
                let bytes = self.outputs.arena.growing_mut(open);
                &mut bytes[self.written as usize..behind as usize]
            }
            None => &mut [],
        };
        // With no room left: there may be nothing more either, which needs none.
        let mut first = [0; 512];
        let in_place = !room.is_empty();
        let read = match source.read(if in_place { room } else { &mut first }) {
            Ok(read) => read,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => return Ok(None),
                _ => return Err(error.into()),
            },
        };
        if in_place {
            self.written += read as u64;
            self.asked = self.asked.max(self.written);
        } else {
            self.append(&first[..read]).map_err(Refused::into_error)?;
        }
        Ok(Some(read))
    }

    fn end(&mut self, length: u64) -> Result<(), ArenaError> {
        if let Some(open) = self.outputs.open.take() {
            let output = self.outputs.commit(open, length)?;
            self.outputs.put(self.place, output);
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let end = self.written + bytes.len() as u64;
        self.outputs
            .check(self.place, end)
            .map_err(Refused::Limit)?;
        let most = self.outputs.room(self.place);
        let held = self.outputs.open.as_ref().map(|open| open.capacity());
        if held.is_some_and(|held| end > held) {
            let grown = self.outputs.grow((self.written, end, most), self.line);
            grown.map_err(Refused::Memory)?;
        }
        let Some(open) = &self.outputs.open else {
            return Ok(());
        };
        let start = self.written as usize;
        self.outputs.arena.growing_mut(open)[start..end as usize].copy_from_slice(bytes);
        self.written = end;
        self.asked = self.asked.max(end);
        Ok(())
    }
}

impl Drop for OutputWriter<'_> {
    fn drop(&mut self) {
        self.outputs.close();
    }
}

impl io::Write for OutputWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.append(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(refused) => {
                let kind = match refused {
                    Refused::Memory(_) => io::ErrorKind::OutOfMemory,
                    Refused::Limit(_) => io::ErrorKind::FileTooLarge,
                };
                let error = refused.into_error();
                let told = io::Error::new(kind, error.text());
                self.outputs.exceeded = Some(error);
                Err(told)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Positional for OutputWriter<'_> {
    fn pos(&self) -> usize {
        self.written as usize
    }
}

impl Writer<ArchiveError> for OutputWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        // Archives point from one place to another by 32 bits: none may get so long that a pointer could not reach.
        let (end, max) = (
            self.written + bytes.len() as u64,
            self.outputs.archive_bytes_max,
        );
        if end > max {
            let text = format!(
                "an archive of more than {max} bytes: its 32-bit relative pointers reach no further; write it as raw bytes \
                 (Call::reserve), or part it into a list"
            );
            self.outputs.refused = Some(Error::output(&*text));
            return Err(ArchiveError::new(io::Error::new(
                io::ErrorKind::FileTooLarge,
                text,
            )));
        }
        self.append(bytes).map_err(|refused| {
            let error = refused.into_error();
            let told = io::Error::other(error.text());
            self.outputs.refused = Some(error);
            ArchiveError::new(told)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::{Arena, ArenaConfig};
    use crate::binding::{Kind, Maximum, NodeBinding, Port};
    use crate::descriptor::{FailureCode, OutputRef};
    use crate::sdk::limits::Limits;
    use io::Write;
    use std::sync::Arc;

    fn outputs(archive_bytes_max: u64) -> Outputs {
        let mut outputs = Outputs::new(Arena::new(ArenaConfig {
            name: "test".to_owned(),
            segment_bytes: 1 << 20,
            bytes_max: 64 << 20,
        }));
        outputs.archive_bytes_max = archive_bytes_max;
        outputs.begin(1, None);
        outputs
    }

    #[test]
    fn an_archive_that_is_too_long_for_its_pointers_is_an_error_of_the_producer_and_leaves_nothing()
    {
        let mut outputs = outputs(10_000);
        let long = vec!["a text that does not stand in its pointer".to_owned(); 1000];
        let error = outputs
            .write_typed(Place::Output(0), &long, None)
            .unwrap_err();
        assert_eq!(error.code(), FailureCode::Output);
        for part in ["10000 bytes", "32-bit", "raw bytes", "list"] {
            assert!(error.text().contains(part), "{}", error.text());
        }
        assert_eq!(outputs.arena.bytes_leased(), 0);
        outputs
            .write_typed(Place::Output(0), &long[..100].to_vec(), None)
            .unwrap();
        let mut encoded = Vec::new();
        assert!(outputs.finish(&[], &mut encoded, None).is_ok());
    }

    #[test]
    fn the_guess_for_the_next_archive_is_never_a_segment_of_its_own() {
        let mut outputs = outputs(u64::MAX);
        outputs
            .write_typed(Place::Output(0), &vec![7_u8; 9 << 20], None)
            .unwrap();
        let held = outputs.arena.bytes_held();
        outputs.begin(1, None);
        outputs.write_typed(Place::Output(0), &7_u8, None).unwrap();
        assert!(outputs.arena.bytes_held() <= held + (1 << 20));
    }

    #[test]
    fn what_does_not_fit_fails_as_a_lack_of_memory_and_the_writer_can_be_dropped() {
        let mut outputs = outputs(u64::MAX);
        let mut writer = OutputWriter::new(&mut outputs, Place::Output(0), 0, None).unwrap();
        let piece = vec![1; 5 << 20];
        let error = loop {
            if let Err(error) = writer.write_all(&piece) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        assert!(
            writer.written() >= 55 << 20,
            "almost all of the arena is used"
        );
        drop(writer);
        assert_eq!(outputs.arena.bytes_held(), 0);
    }

    #[test]
    fn what_is_written_in_pieces_takes_no_more_than_its_output_declares_however_large_that_is() {
        for most in [100_000, 10 << 20] {
            let port = Port {
                name: "out".to_owned(),
                kind: Kind::Bytes,
            };
            let node = NodeBinding {
                node: 0,
                name: "node".to_owned(),
                function: "function".to_owned(),
                arguments: Vec::new(),
                inputs: Vec::new(),
                outputs: vec![port],
                maxima: vec![Maximum {
                    bytes: most,
                    ..Maximum::NONE
                }],
            };
            let limits = Limits::of(&node).map(Arc::new);
            let mut outputs = outputs(u64::MAX);
            outputs.begin(1, limits.as_ref());
            let mut writer = OutputWriter::new(&mut outputs, Place::Output(0), 0, None).unwrap();
            let piece = vec![1; 7000];
            while writer.written() + 7000 <= most {
                writer.write_all(&piece).unwrap();
                let taken = writer.outputs.open.as_ref().unwrap().capacity();
                assert!(taken <= most.next_multiple_of(4096), "{taken} of {most}");
            }
            let rest = (most - writer.written()) as usize;
            writer.write_all(&piece[..rest]).unwrap();
            let error = writer.write_all(&[1]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
            assert_eq!(
                writer.read_from(&mut &b""[..]).unwrap(),
                Some(0),
                "nothing more is within"
            );
            let error = writer.read_from(&mut &piece[..]).unwrap_err();
            assert!(
                error.text().contains("above its max_bytes"),
                "{}",
                error.text()
            );
            writer.finish();
            assert!(outputs.take_exceeded().is_some());
            let mut encoded = Vec::new();
            outputs.finish(&node.outputs, &mut encoded, None).unwrap();
            assert!(matches!(encoded[..], [OutputRef::Own(range)] if range.length == most));
        }
    }
}
