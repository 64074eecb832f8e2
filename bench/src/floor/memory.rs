//! Private memory that another CPU has just written: what it costs to read every byte of it, and to copy it.
//!
//! Private means an anonymous mapping of this process, touched before any time is taken. Readers and writers are threads,
//! since private memory has no other way to two CPUs.

use super::{FloorError, histogram};
use crate::clock::now_ns;
use crate::cpu;
use hdrhistogram::Histogram;
use memmap2::{Advice, MmapMut};
use std::hint::black_box;
use std::ops::{Deref, DerefMut};

/// About how many bytes a figure moves in all: large sizes are repeated less often than small ones.
const FIGURE_BYTES: usize = 1 << 30;
/// Bounds of the repetitions.
const ROUNDS: (usize, usize) = (5, 400);
/// What the kernel says of the caches of a CPU, and what is taken for the last one where it says nothing.
const CACHES: &str = "/sys/devices/system/cpu/cpu0/cache";
const LAST_CACHE_BYTES: usize = 32 << 20;
/// Rounds that are not counted: they fault pages in and warm the reader's translations.
const WARM_UP_ROUNDS: usize = 2;

/// Which pages private memory is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pages {
    /// Those that a program gets that asks for nothing: small ones, unless the kernel gives huge ones to all.
    Ordinary,
    /// Huge ones, where the kernel gives them on request.
    Huge,
}

/// The sum of all bytes.
///
/// Words of eight bytes are added up in four lanes of sixteen bits, which the compiler makes wide vectors of: reading
/// memory, not adding, is to take the time. No lane overflows; they wrap all the same, since a check would undo that.
#[must_use]
pub fn sum_bytes(bytes: &[u8]) -> u64 {
    const LANES: u64 = 0x00ff_00ff_00ff_00ff;
    /// Words until a lane of 16 bits could overflow: 128 × 2 × 255 < 2^16.
    const WORDS_PER_FOLD: usize = 128;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut sum = rest.iter().map(|&byte| u64::from(byte)).sum();
    for block in words.chunks(WORDS_PER_FOLD) {
        let lanes = block.iter().fold(0, |lanes: u64, word| {
            let word = u64::from_ne_bytes(*word);
            lanes
                .wrapping_add(word & LANES)
                .wrapping_add(word >> 8 & LANES)
        });
        sum += (0..4)
            .map(|lane| lanes >> (16 * lane) & 0xffff)
            .sum::<u64>();
    }
    sum
}

/// The time in which a thread on `reader_cpu` sums `bytes` bytes of private memory that one on `writer_cpu` (which may be
/// the same) has just written. A histogram of whole reads; bytes per second are `bytes` over it.
///
/// # Errors
/// If a CPU may not be used, or there is not as much memory.
pub fn read_private(
    bytes: usize,
    pages: Pages,
    writer_cpu: usize,
    reader_cpu: usize,
) -> Result<Histogram<u64>, FloorError> {
    read(bytes, 0, pages, writer_cpu, reader_cpu)
}

/// As [`read_private`], of memory in ordinary pages that no cache holds any more: the writer has written `behind_bytes` bytes
/// of other memory after it, which should be more than the caches hold.
///
/// # Errors
/// As [`read_private`].
pub fn read_cold(
    bytes: usize,
    behind_bytes: usize,
    writer_cpu: usize,
    reader_cpu: usize,
) -> Result<Histogram<u64>, FloorError> {
    read(bytes, behind_bytes, Pages::Ordinary, writer_cpu, reader_cpu)
}

/// Bytes of the largest cache of a CPU, as the kernel tells; 32 MiB where it does not.
#[must_use]
pub fn last_cache_bytes() -> usize {
    let size = |entry: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(entry.ok()?.path().join("size")).ok()?;
        let kib: usize = text.trim().strip_suffix('K')?.parse().ok()?;
        Some(kib << 10)
    };
    let sizes = std::fs::read_dir(CACHES).ok();
    let largest = sizes.and_then(|sizes| sizes.filter_map(size).max());
    largest.unwrap_or(LAST_CACHE_BYTES)
}

fn read(
    bytes: usize,
    behind_bytes: usize,
    pages: Pages,
    writer_cpu: usize,
    reader_cpu: usize,
) -> Result<Histogram<u64>, FloorError> {
    let mut memory = private(bytes, pages)?;
    let mut behind = private(behind_bytes, Pages::Ordinary)?;
    repeat(bytes + behind_bytes, |round| {
        let fill = round as u8;
        cpu::on(writer_cpu, || {
            memory.fill(fill);
            black_box(&mut behind[..behind_bytes]).fill(fill);
        })?;
        let (sum, taken_ns) = cpu::on(reader_cpu, || timed(|| sum_bytes(&memory)))?;
        debug_assert_eq!(sum, u64::from(fill) * bytes as u64);
        black_box(sum);
        Ok(taken_ns)
    })
}

/// The time in which a thread on `copier_cpu` copies `bytes` bytes of private memory that one on `writer_cpu` (which may
/// be the same) has just written.
///
/// # Errors
/// As [`read_private`].
pub fn copy_private(
    bytes: usize,
    pages: Pages,
    writer_cpu: usize,
    copier_cpu: usize,
) -> Result<Histogram<u64>, FloorError> {
    let mut memory = private(bytes, pages)?;
    let mut copy = private(bytes, pages)?;
    repeat(bytes, |round| {
        cpu::on(writer_cpu, || memory.fill(round as u8))?;
        let ((), taken_ns) = cpu::on(copier_cpu, || timed(|| copy.copy_from_slice(&memory)))?;
        black_box(&copy[..]);
        Ok(taken_ns)
    })
}

/// Memory of this process alone, in ordinary pages.
pub(super) fn private_memory(bytes: usize) -> Result<MmapMut, FloorError> {
    private(bytes, Pages::Ordinary)
}

/// Private memory in huge pages, where the kernel gives them: what a device moves is then in one piece.
#[derive(Debug)]
pub(super) struct HugeMemory {
    memory: MmapMut,
    bytes: usize,
}

impl HugeMemory {
    const PAGE_BYTES: usize = 2 << 20;

    pub(super) fn new(bytes: usize) -> Result<Self, FloorError> {
        let memory = private(bytes.next_multiple_of(Self::PAGE_BYTES), Pages::Huge)?;
        Ok(Self { memory, bytes })
    }
}

impl Deref for HugeMemory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[..self.bytes]
    }
}

impl DerefMut for HugeMemory {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[..self.bytes]
    }
}

fn private(bytes: usize, pages: Pages) -> Result<MmapMut, FloorError> {
    let memory =
        MmapMut::map_anon(bytes.max(1)).map_err(FloorError::system("map private memory"))?;
    if pages == Pages::Huge {
        // A kernel without huge pages refuses, and small pages are then what there is.
        let _ = memory.advise(Advice::HugePage);
    }
    Ok(memory)
}

fn repeat(
    bytes: usize,
    mut round: impl FnMut(usize) -> Result<u64, FloorError>,
) -> Result<Histogram<u64>, FloorError> {
    let mut latency = histogram();
    let rounds = (FIGURE_BYTES / bytes.max(1)).clamp(ROUNDS.0, ROUNDS.1);
    for number in 0..WARM_UP_ROUNDS + rounds {
        let taken_ns = round(number)?;
        if number >= WARM_UP_ROUNDS {
            latency.saturating_record(taken_ns.max(1));
        }
    }
    Ok(latency)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before_ns = now_ns();
    let result = black_box(work());
    (result, now_ns() - before_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_counts_every_byte_once() {
        for length in [0, 1, 7, 8, 9, 1023, 1024, 1025, 100_003] {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 7 % 256) as u8).collect();
            assert_eq!(
                sum_bytes(&bytes),
                bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>()
            );
        }
        assert_eq!(sum_bytes(&[255; 4096]), 4096 * 255);
    }

    #[test]
    fn memory_floors_take_a_sample_for_every_round() {
        let cpus = cpu::allowed();
        let (first, last) = (cpus[0], cpus[cpus.len() - 1]);
        assert_eq!(
            read_private(1 << 16, Pages::Ordinary, first, last)
                .unwrap()
                .len(),
            ROUNDS.1 as u64
        );
        let cold = read_cold(1 << 16, 1 << 20, first, last).unwrap();
        assert_eq!(cold.len(), ROUNDS.1 as u64);
        assert_eq!(
            copy_private(1 << 16, Pages::Huge, last, first)
                .unwrap()
                .len(),
            ROUNDS.1 as u64
        );
    }
}
