//! The allocator of the worker: mimalloc, told to give back what is free.
//!
//! A row passes a dozen small allocations on its way, in threads that take over from each other: of the C library's
//! allocator they take a sixth of all time. librdkafka goes on using the C library's allocator, which gets fewer heaps.

use std::ffi::c_long;

use libmimalloc_sys::mi_option_t;

/// What an executable that is a worker takes as its global allocator.
pub use mimalloc::MiMalloc as Allocator;

/// `mi_option_purge_delay` of mimalloc.h, which the crate does not name.
const PURGE_DELAY: mi_option_t = 15;

/// How many heaps the C library may make for its threads. Every Kafka client has four threads or more, each of which
/// would take a heap of its own; the heaps of ten clients left 10 MiB unused.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: std::ffi::c_int = 2;

/// Keeps the resident memory close to what the worker has allocated. Call it first of all.
///
/// Free pages go back to the kernel at once instead of after a delay: the worker frees and takes anew as much as it
/// holds within a few hundredths of a second, so with a delay half of its memory would be free pages. And the kernel
/// must not back the heap with transparent huge pages: every thread's small heap would then take 2 MiB, which was a
/// third of the memory of a worker with ten tasks. No throughput was lost without them.
pub fn configure() {
    const AT_ONCE: c_long = 0;
    #[allow(unsafe_code, reason = "an option of the allocator is set by a function of C")]
    // SAFETY: it may be called at any time; the option exists in versions 2 and 3.
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, AT_ONCE);
    }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "an option of the C library's allocator is set by a function of C")]
    // SAFETY: it may be called at any time; no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
    // A kernel that refuses has no such pages; only the memory would be affected.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_thp_disable(true);
}
