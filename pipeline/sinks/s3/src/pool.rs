//! Large buffers that are used again. The kernel provides the memory of a new buffer page by page, while that of a used
//! one is there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use fms_connect::{Budget, Reservation};

/// The size from which on a buffer is kept. Sizes are rounded up to a multiple of it, so that the buffers of similar
/// objects fit each other.
const LARGE: usize = 256 * 1024;

/// The number of buffers that are kept. About one comes back for each one that is taken.
const KEPT: usize = 2;

/// The buffers of one task.
#[derive(Debug, Clone)]
pub struct Pool {
    budget: Budget,
    free: Arc<Mutex<Vec<Free>>>,
}

/// A buffer that is not in use. It counts in `buffer.memory` like any other.
#[derive(Debug)]
struct Free {
    buffer: Vec<u8>,
    _memory: Reservation,
}

impl Pool {
    /// A pool without buffers yet.
    pub fn new(budget: Budget) -> Self {
        Self { budget, free: Arc::default() }
    }

    fn free(&self) -> MutexGuard<'_, Vec<Free>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty buffer with room for this many bytes, and for at most twice as many.
    pub fn buffer(&self, bytes: usize) -> Vec<u8> {
        if bytes < LARGE {
            return Vec::with_capacity(bytes);
        }
        let fits = |free: &Free| (bytes..=2 * bytes).contains(&free.buffer.capacity());
        let mut free = self.free();
        match free.iter().position(fits) {
            Some(fits) => free.swap_remove(fits).buffer,
            None => Vec::with_capacity(bytes.next_multiple_of(LARGE)),
        }
    }

    /// The bytes of the buffer, which can be shared. The buffer comes back when the last share is dropped.
    pub fn share(&self, buffer: Vec<u8>) -> Bytes {
        if buffer.capacity() < LARGE {
            return buffer.into();
        }
        Bytes::from_owner(Lent { buffer, pool: self.clone() })
    }

    /// Frees all buffers that are kept.
    pub fn clear(&self) {
        self.free().clear();
    }

    /// Keeps a buffer unless memory is scarce. If there are too many, the oldest is freed.
    fn keep(&self, mut buffer: Vec<u8>) {
        if !self.budget.is_relieved() {
            return;
        }
        let mut memory = self.budget.reservation();
        memory.resize(buffer.capacity());
        buffer.clear();
        let mut free = self.free();
        if free.len() == KEPT {
            free.remove(0);
        }
        free.push(Free { buffer, _memory: memory });
    }
}

/// A buffer whose bytes are shared.
struct Lent {
    buffer: Vec<u8>,
    pool: Pool,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.pool.keep(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(limit: usize) -> Pool {
        Pool::new(Budget::new(limit))
    }

    /// A buffer comes back with the last of its bytes, and empty; a small one does not.
    #[test]
    fn a_large_buffer_is_used_again() {
        let pool = pool(usize::MAX);
        let mut buffer = pool.buffer(LARGE + 1);
        assert_eq!(buffer.capacity(), 2 * LARGE);
        buffer.extend_from_slice(b"rows");
        let place = buffer.as_ptr();
        let bytes = pool.share(buffer);
        let part = bytes.slice(1..3);
        drop(bytes);
        let other = pool.buffer(LARGE);
        assert_ne!(other.as_ptr(), place, "it is still read");
        assert_eq!(part, &b"ow"[..]);
        drop(part);
        let again = pool.buffer(LARGE);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        drop(pool.share(Vec::with_capacity(10)));
        assert!(pool.free().is_empty());
    }

    #[test]
    fn only_so_many_are_kept_and_they_are_counted() {
        let pool = pool(8 * KEPT * LARGE);
        let all: Vec<Bytes> = (0..=KEPT).map(|_| pool.share(pool.buffer(LARGE))).collect();
        drop(all);
        assert_eq!((pool.free().len(), pool.budget.used()), (KEPT, KEPT * LARGE));
        assert!(pool.buffer(4 * LARGE).capacity() >= 4 * LARGE);
        let _taken = pool.buffer(LARGE);
        assert_eq!(pool.budget.used(), (KEPT - 1) * LARGE);
        pool.clear();
        assert_eq!(pool.budget.used(), 0);
    }

    #[test]
    fn nothing_is_kept_when_memory_is_scarce() {
        let pool = pool(2 * LARGE);
        let mut others = pool.budget.reservation();
        others.resize(LARGE + 1);
        drop(pool.share(pool.buffer(LARGE)));
        assert_eq!((pool.free().len(), pool.budget.used()), (0, LARGE + 1));
    }
}
