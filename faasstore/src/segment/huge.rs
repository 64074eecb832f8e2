//! Which pages segments are made of.
//!
//! A page of 2 MiB takes one fault, one entry of the page table and one of the processor's, where ordinary pages take 512:
//! memory is set aside, mapped, read for the first time and given back several times sooner. The kernel has two kinds:
//! transparent ones, which an administrator allows for shared memory in `shmem_enabled`, and a pool that he reserves
//! (`vm.nr_hugepages`), often for one program. So transparent ones are used where they are allowed, and the pool when this process is
//! told to. Where neither has room, pages are ordinary ones, and nothing is said: what is different is speed alone.

use std::fs::read_to_string;
use std::sync::atomic::{AtomicU8, Ordering};

/// Bytes of a huge page: what x86-64 has, and ARM with pages of 4 KiB. Segments of at least this size may be made of them.
pub const HUGE_PAGE_BYTES: u64 = 2 << 20;
/// Of a segment of reserved pages at most this share, one in so many, lies behind what was asked for.
const WASTE: u64 = 16;
const SHMEM_ENABLED: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";

/// Which huge pages a process may take for the segments that it makes.
#[derive(
    Clone, Copy, PartialEq, Eq, Default, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub enum HugePages {
    /// None.
    Never,
    /// Transparent ones, where the kernel allows them for shared memory.
    #[default]
    Auto,
    /// From the reserved pool, while it has room, else transparent ones.
    Reserved,
}

/// What a segment is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pages {
    /// From the pool.
    Reserved,
    /// Huge where the kernel finds them.
    Transparent,
    /// Of the machine's usual size.
    Ordinary,
}

impl Pages {
    /// What large segments of this process are made of, as it is now: for reports. A pool that is empty now may have room later.
    #[must_use]
    pub fn of_large_segments() -> Self {
        match huge_pages() {
            HugePages::Reserved if pool_bytes() >= HUGE_PAGE_BYTES => Self::Reserved,
            HugePages::Reserved | HugePages::Auto if is_transparent() => Self::Transparent,
            _ => Self::Ordinary,
        }
    }

    /// As reports name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reserved => "reserved huge pages",
            Self::Transparent => "transparent huge pages",
            Self::Ordinary => "ordinary pages",
        }
    }
}

/// What the process has been told; [`HugePages`] as a number. It concerns speed alone, so it is no part of what makes segments.
static CHOSEN: AtomicU8 = AtomicU8::new(HugePages::Auto as u8);

/// Says which huge pages this process may take from now on.
pub fn set_huge_pages(wanted: HugePages) {
    CHOSEN.store(wanted as u8, Ordering::Relaxed);
}

/// Which huge pages this process may take.
#[must_use]
pub fn huge_pages() -> HugePages {
    match CHOSEN.load(Ordering::Relaxed) {
        0 => HugePages::Never,
        1 => HugePages::Auto,
        _ => HugePages::Reserved,
    }
}

/// What to try for a segment of `bytes` bytes, in this order; ordinary pages last.
pub(super) fn choices(bytes: u64) -> impl Iterator<Item = Pages> {
    let is_large = bytes >= HUGE_PAGE_BYTES;
    let waste = bytes.next_multiple_of(HUGE_PAGE_BYTES) - bytes;
    let reserved = is_large
        && huge_pages() == HugePages::Reserved
        && waste <= bytes / WASTE
        && pool_bytes() >= bytes;
    let transparent = is_large && is_transparent();
    let reserved = reserved.then_some(Pages::Reserved);
    let transparent = transparent.then_some(Pages::Transparent);
    reserved
        .into_iter()
        .chain(transparent)
        .chain([Pages::Ordinary])
}

/// Whether this process may take transparent huge pages, and the kernel gives them to shared memory that asks for them.
pub(super) fn is_transparent() -> bool {
    huge_pages() != HugePages::Never
        && read_to_string(SHMEM_ENABLED).is_ok_and(|text| allows_transparent(&text))
}

/// `always within_size [advise] never deny force`: which one is chosen.
fn allows_transparent(text: &str) -> bool {
    let chosen = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    matches!(chosen, Some("always" | "within_size" | "advise" | "force"))
}

/// Bytes that the pool has left.
fn pool_bytes() -> u64 {
    let free = read_to_string(POOL).ok();
    let pages: Option<u64> = free.and_then(|text| text.trim().parse().ok());
    pages.unwrap_or(0).saturating_mul(HUGE_PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_allows_is_what_stands_in_brackets() {
        assert!(allows_transparent(
            "always within_size [advise] never deny force\n"
        ));
        assert!(allows_transparent(
            "[always] within_size advise never deny force\n"
        ));
        assert!(!allows_transparent(
            "always within_size advise [never] deny force\n"
        ));
        assert!(!allows_transparent(
            "always within_size advise never [deny] force\n"
        ));
        assert!(!allows_transparent(""));
    }

    #[test]
    fn small_segments_and_those_that_would_waste_much_are_of_ordinary_pages_at_last() {
        for bytes in [1, HUGE_PAGE_BYTES - 1] {
            assert_eq!(choices(bytes).collect::<Vec<_>>(), [Pages::Ordinary]);
        }
        assert_eq!(choices(1 << 30).last(), Some(Pages::Ordinary));
    }
}
