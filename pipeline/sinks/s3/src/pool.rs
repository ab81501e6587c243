//! Large buffers, used again: the memory of one that was uploaded is there, that of a new one is made by the kernel page by page.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// From this size on a buffer is kept. Sizes are rounded up to a multiple of it, so that buffers of like objects fit each other.
const LARGE: usize = 256 * 1024;

/// Most buffers that are kept: one comes back about when the next is asked for.
const KEPT: usize = 2;

/// The buffers of one task.
#[derive(Debug, Clone, Default)]
pub struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    fn free(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty buffer with room for so many bytes.
    pub fn buffer(&self, bytes: usize) -> Vec<u8> {
        if bytes < LARGE {
            return Vec::with_capacity(bytes);
        }
        let mut free = self.free();
        match free.iter().position(|buffer| buffer.capacity() >= bytes) {
            Some(fits) => free.swap_remove(fits),
            None => Vec::with_capacity(bytes.next_multiple_of(LARGE)),
        }
    }

    /// The buffer's bytes, to be shared; with the last of them it comes back.
    pub fn share(&self, buffer: Vec<u8>) -> Bytes {
        if buffer.capacity() < LARGE {
            return buffer.into();
        }
        Bytes::from_owner(Lent { buffer, pool: self.clone() })
    }
}

/// A buffer that is read elsewhere.
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
        let mut free = self.pool.free();
        if free.len() < KEPT {
            self.buffer.clear();
            free.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A buffer comes back with the last of its bytes, and empty; a small one does not.
    #[test]
    fn a_large_buffer_is_used_again() {
        let pool = Pool::default();
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
    fn only_so_many_are_kept() {
        let pool = Pool::default();
        let all: Vec<Bytes> = (0..=KEPT).map(|_| pool.share(pool.buffer(LARGE))).collect();
        drop(all);
        assert_eq!(pool.free().len(), KEPT);
    }
}
