//! What a task is told to do while it runs.

use tokio::sync::watch;

/// What is wanted of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It takes records and stores them.
    Running,
    /// It keeps its partitions, flushes what it has taken, and takes no more.
    Paused,
    /// It flushes, commits, leaves its group and ends.
    Stopped,
}

/// What is wanted of a task, by who runs its connector, and by the worker as a whole. Whoever is gone wants it stopped.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    /// Becomes true when the worker stops.
    pub worker: watch::Receiver<bool>,
    /// What is wanted of this task.
    pub task: watch::Receiver<Wanted>,
}

impl Orders {
    /// What is wanted now.
    pub fn wanted(&self) -> Wanted {
        if *self.worker.borrow() { Wanted::Stopped } else { *self.task.borrow() }
    }

    /// Waits until the task has to stop.
    pub async fn stopped(&mut self) {
        tokio::select! {
            _ = self.worker.wait_for(|stop| *stop) => {}
            _ = self.task.wait_for(|wanted| *wanted == Wanted::Stopped) => {}
        }
    }
}
