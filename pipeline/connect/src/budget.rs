//! `buffer.memory`: one byte budget for all that a worker holds between Kafka and its sinks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The worker's budget. Reserving never blocks and never fails: over the limit the runtime flushes, and takes no more records.
#[derive(Debug, Clone)]
pub struct Budget {
    limit: usize,
    used: Arc<AtomicUsize>,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, used: Arc::default() }
    }

    /// An empty reservation to grow.
    pub fn reservation(&self) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }

    /// Bytes reserved by all tasks.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether more is reserved than the limit.
    pub fn is_over(&self) -> bool {
        self.used() > self.limit
    }

    /// Whether so much more leaves it within the limit.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.used().saturating_add(bytes) <= self.limit
    }

    /// Whether records may be taken again: under half of the limit, so that stopping and going on do not alternate.
    pub fn is_relieved(&self) -> bool {
        self.used() <= self.limit / 2
    }
}

/// Bytes held; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    bytes: usize,
}

impl Reservation {
    /// Holds `bytes` in all from now on.
    pub fn resize(&mut self, bytes: usize) {
        if bytes >= self.bytes {
            self.budget.used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.budget.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }

    /// Holds `bytes` more.
    pub fn grow(&mut self, bytes: usize) {
        self.resize(self.bytes + bytes);
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.resize(0);
    }
}
