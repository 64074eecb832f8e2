//! Which pages segments are made of.
//!
//! A page of 2 MiB takes one fault, one entry of the page table and one of the processor's, where ordinary pages take 512:
//! memory is set aside, mapped, read for the first time and given back several times sooner. The kernel has two kinds:
//! transparent ones, and a pool that an administrator reserves (`vm.nr_hugepages`), often for one program. So transparent ones are used
//! unless they are denied for shared memory, and the pool when this process is told to. Where neither has room, pages are ordinary
//! ones, and nothing is said: what is different is speed alone.
//!
//! Shared memory gets transparent ones when it is touched, if `shmem_enabled` allows that. Mostly it says `never`, the kernel's
//! default, which speaks of faults: a program can still have pages collapsed into huge ones (`MADV_COLLAPSE`, Linux 6.1). One
//! page of each is set aside for that; setting all of them aside and copying them would take thrice as long.

use super::memory::{Access, Advice, Memory};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;
use std::fs::read_to_string;
use std::io;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};

/// Bytes of a huge page: what x86-64 has, and ARM with pages of 4 KiB. Segments of at least this size may be made of them.
pub const HUGE_PAGE_BYTES: u64 = 2 << 20;
/// Of a segment of reserved pages at most this share, one in so many, lies behind what was asked for.
const WASTE: u64 = 16;
const SHMEM_ENABLED: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
/// Huge pages that take longer than this each, and as long once for all that are asked for at a time, had to be searched for: to clear
/// one takes a tenth of it, and the kernel waits for its own threads on all CPUs before it begins.
const COLLAPSE_PATIENCE: Duration = Duration::from_millis(4);
/// How long none is asked for then, or where there was none.
const COLLAPSE_PAUSE: Duration = Duration::from_secs(1);

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
            HugePages::Reserved | HugePages::Auto if transparent().is_some() => Self::Transparent,
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
    let transparent = is_large && transparent().is_some();
    let reserved = reserved.then_some(Pages::Reserved);
    let transparent = transparent.then_some(Pages::Transparent);
    reserved
        .into_iter()
        .chain(transparent)
        .chain([Pages::Ordinary])
}

/// How shared memory gets transparent huge pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Transparent {
    /// When it is touched, if it has asked for them.
    Touched,
    /// When it asks for its pages to be collapsed.
    Collapsed,
}

/// How this process's segments get transparent huge pages, if they may.
pub(super) fn transparent() -> Option<Transparent> {
    if huge_pages() == HugePages::Never {
        return None;
    }
    match allowed(&read_to_string(SHMEM_ENABLED).ok()?)? {
        Transparent::Collapsed if !collapses() => None,
        way => Some(way),
    }
}

/// `always within_size [advise] never deny force`: what the one that is chosen lets through.
fn allowed(text: &str) -> Option<Transparent> {
    let chosen = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    match chosen? {
        "always" | "within_size" | "advise" | "force" => Some(Transparent::Touched),
        "never" => Some(Transparent::Collapsed),
        _ => None,
    }
}

/// Whether this kernel knows how: tried out once.
fn collapses() -> bool {
    static COLLAPSES: OnceLock<bool> = OnceLock::new();
    *COLLAPSES.get_or_init(|| {
        let attempt = || -> io::Result<()> {
            let descriptor = memfd_create(c"huge-page", MFdFlags::MFD_CLOEXEC)?;
            ftruncate(&descriptor, HUGE_PAGE_BYTES as i64)?;
            fallocate(&descriptor, FallocateFlags::empty(), 0, 1)?;
            let memory = Memory::map(&descriptor, HUGE_PAGE_BYTES, Access::ReadWrite, false)?;
            memory.advise(Advice::Collapse, 0, HUGE_PAGE_BYTES)
        };
        // Without memory it would, with some.
        let knows = |error: &io::Error| error.kind() != io::ErrorKind::InvalidInput;
        attempt().map_or_else(|error| knows(&error), |()| true)
    })
}

/// When the kernel is asked to collapse pages: not for a while after it had no huge page at hand.
pub(super) struct Restraint {
    begun: LazyLock<Instant>,
    /// In nanoseconds since then.
    paused_until_ns: AtomicU64,
}

/// Of this process.
pub(super) static RESTRAINT: Restraint = Restraint::new();

impl Restraint {
    const fn new() -> Self {
        Self {
            begun: LazyLock::new(Instant::now),
            paused_until_ns: AtomicU64::new(0),
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn allows(&self) -> bool {
        self.now_ns() >= self.paused_until_ns.load(Ordering::Relaxed)
    }

    /// Collapses pages into so many huge ones, and looks how that went.
    pub(super) fn watch(&self, count: u64, collapse: impl FnOnce() -> io::Result<()>) {
        const PAUSE_NS: u64 = COLLAPSE_PAUSE.as_nanos() as u64;
        let begun_ns = self.now_ns();
        let collapsed = collapse();
        let ended_ns = self.now_ns();
        let patience_ns = COLLAPSE_PATIENCE.as_nanos() as u64 * (1 + count);
        if collapsed.is_err() || ended_ns - begun_ns > patience_ns {
            let until_ns = ended_ns + PAUSE_NS;
            self.paused_until_ns.store(until_ns, Ordering::Relaxed);
        }
    }
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
        let touched = Some(Transparent::Touched);
        let advise = "always within_size [advise] never deny force\n";
        assert_eq!(allowed(advise), touched);
        let always = "[always] within_size advise never deny force\n";
        assert_eq!(allowed(always), touched);
        let never = "always within_size advise [never] deny force\n";
        assert_eq!(allowed(never), Some(Transparent::Collapsed));
        let deny = "always within_size advise never [deny] force\n";
        assert_eq!(allowed(deny), None);
        assert_eq!(allowed(""), None);
    }

    #[test]
    fn where_no_huge_page_was_at_hand_none_is_asked_for_for_a_while() {
        let restraint = Restraint::new();
        restraint.watch(1, || Ok(()));
        assert!(restraint.allows());
        let pause = |restraint: &Restraint| {
            let until_ns = restraint.paused_until_ns.load(Ordering::Relaxed);
            Duration::from_nanos(until_ns.saturating_sub(restraint.now_ns()))
        };
        let slow = || {
            std::thread::sleep(3 * COLLAPSE_PATIENCE);
            Ok(())
        };
        restraint.watch(3, slow);
        assert!(restraint.allows(), "as long as three may take");
        restraint.watch(1, slow);
        assert!(pause(&restraint) > COLLAPSE_PAUSE / 2);
        let restraint = Restraint::new();
        restraint.watch(1, || Err(io::ErrorKind::OutOfMemory.into()));
        assert!(pause(&restraint) > COLLAPSE_PAUSE / 2);
        let now_ns = restraint.now_ns();
        restraint.paused_until_ns.store(now_ns, Ordering::Relaxed);
        assert!(restraint.allows());
    }

    #[test]
    fn small_segments_and_those_that_would_waste_much_are_of_ordinary_pages_at_last() {
        for bytes in [1, HUGE_PAGE_BYTES - 1] {
            assert_eq!(choices(bytes).collect::<Vec<_>>(), [Pages::Ordinary]);
        }
        assert_eq!(choices(1 << 30).last(), Some(Pages::Ordinary));
    }
}
