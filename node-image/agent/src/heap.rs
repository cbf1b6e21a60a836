//! Keeps the agent's heap small: the machine's memory is for its replicas. One of the two places with unsafe code; it
//! only turns glibc's own knobs.
#![expect(
    unsafe_code,
    reason = "glibc's allocator is tuned through C functions that have no safe wrapper"
)]

use std::time::Duration;

use tokio::time::interval;

/// Heaps that threads share. The default, eight a processor, keeps as many times what each of them once needed.
const ARENAS_MAX: libc::c_int = 1;

/// Larger pieces go back to the kernel as soon as they are freed, in bytes.
const MMAP_FROM_BYTES: libc::c_int = 128 * 1024;

/// How often freed memory is given back.
pub const TRIM_EVERY: Duration = Duration::from_secs(5);

/// Sets the allocator up. Called first thing in `main`, before there are threads.
pub fn limit() {
    // SAFETY: mallopt takes two integers, touches no memory of ours, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS_MAX);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_FROM_BYTES);
    }
}

/// Gives freed memory back to the kernel for as long as the process lives: a pulled image leaves much of it.
pub async fn keep_small() {
    let mut due = interval(TRIM_EVERY);
    loop {
        due.tick().await;
        // SAFETY: malloc_trim may be called from any thread at any time; it only releases pages that nothing uses.
        unsafe { libc::malloc_trim(0) };
    }
}
