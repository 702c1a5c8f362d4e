//! Memory that was needed for many requests at once, and is not any more.

/// Held while there is work. Dropped later, it makes the allocator give back what is free.
///
/// mimalloc keeps the pages that become free for some milliseconds, for mostly they are needed
/// again, and looks whether that time is over whenever it gets another one back. After a load none
/// comes, and megabytes stay resident until the next load: so one is held back for that. It is
/// never touched, and costs address space only.
#[derive(Debug)]
pub(crate) struct HeldBack(#[expect(dead_code, reason = "it is there to be freed")] Vec<u8>);

impl HeldBack {
    pub(crate) fn new() -> Self {
        Self(std::hint::black_box(Vec::with_capacity(BYTES)))
    }
}

/// More than what shares its pages with others (128 KiB).
const BYTES: usize = 256 << 10;
