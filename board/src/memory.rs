//! Memory that this process has had stays with it.

/// Blocks up to this size come from memory that was freed before; the greatest that glibc allows.
#[cfg(target_env = "gnu")]
const REUSED_MAX: i32 = 32 << 20;
/// Freed memory up to this much is not given back to the kernel.
#[cfg(target_env = "gnu")]
const KEPT_MAX: i32 = 256 << 20;

/// From now on, freed memory waits in this process for the next frame. By itself glibc gives large blocks back to the
/// kernel, which takes back, clears and hands out anew some 500 pages for every part: half a millisecond, and not
/// always the same. Other C libraries are left as they are.
pub fn keep_freed() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets two numbers of the allocator, under its own lock. It refuses what it cannot do, and then
    // everything is as before.
    #[allow(unsafe_code)]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, REUSED_MAX);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_MAX);
    }
}
