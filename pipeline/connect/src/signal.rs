//! A signal that says that something has changed, for one thread that looks at everything when it is raised.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Counts how often it was raised, so that nothing is missed between two looks.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    count: Mutex<u64>,
    raised: Condvar,
}

impl Signal {
    /// Says that something has changed.
    pub fn raise(&self) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        self.raised.notify_all();
    }

    /// How often it was raised.
    pub fn count(&self) -> u64 {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it was raised more often than `seen`, or until `limit` is over.
    pub fn wait(&self, seen: u64, limit: Duration) {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        // Whether the time is over is of no importance to who looks at everything anyway.
        drop(self.raised.wait_timeout_while(count, limit, |count| *count <= seen));
    }
}
