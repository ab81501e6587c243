//! Whether the poller gets messages.

use std::sync::{Arc, Mutex, PoisonError};

/// How the last receive ended. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<Option<String>>>);

impl Health {
    /// The error of the last receive, which is being tried again; none if all is well.
    pub fn problem(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how a receive ended. Gives whether this is news.
    pub(super) fn note(&self, problem: Option<String>) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let news = noted.is_some() != problem.is_some();
        *noted = problem;
        news
    }
}
