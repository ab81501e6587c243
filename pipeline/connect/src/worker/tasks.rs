//! The running tasks of one connector: each on a thread of its own, told what to do by a channel of its own.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{error, info};

use super::supervise::{fail, supervise};
use crate::status::State;
use crate::task::{TaskError, TaskSpec, Wanted};

/// What runs a task until its end: [`crate::task::run`], except in tests.
pub(super) type Run = fn(TaskSpec) -> Result<(), TaskError>;

/// A task that was started.
pub(super) struct RunningTask {
    name: String,
    task: u32,
    wanted: watch::Sender<Wanted>,
    /// Disconnected once the thread has ended.
    ended: Receiver<()>,
}

impl RunningTask {
    /// Starts the task, which restarts by itself with pauses of at most `longest`. `wanted` is where the task reads
    /// what is wanted of it.
    pub fn start(spec: TaskSpec, wanted: watch::Sender<Wanted>, run: Run, longest: Duration) -> Self {
        let (name, task) = (spec.connector.name.clone(), spec.task);
        let (running, ended) = channel();
        let status = std::sync::Arc::clone(&spec.status);
        status.set(State::Running);
        info!(connector = name, task, topics = ?spec.connector.topics, "task started");
        let thread = thread::Builder::new().name(format!("{name}-{task}")).spawn(move || {
            supervise(&spec, run, longest);
            drop(spec);
            drop(running);
        });
        if let Err(error) = thread {
            fail(&status, &name, task, format!("the operating system does not start a thread for the task: {error}"));
        }
        Self { name, task, wanted, ended }
    }

    /// Tells the task what is wanted of it.
    pub fn want(&self, wanted: Wanted) {
        // Whether the task has ended by itself or not, the new value is there.
        self.wanted.send_replace(wanted);
    }

    /// Waits until the thread has ended, and gives whether it did so before `deadline`.
    fn ends_before(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        self.ended.recv_timeout(left) == Err(RecvTimeoutError::Disconnected)
    }
}

/// Tells all of these tasks to stop, and waits until they have ended. Gives whether they did so within `limit`; the log
/// names those that did not.
pub(super) fn stop_all<'t>(tasks: impl Iterator<Item = &'t RunningTask>, limit: Duration) -> bool {
    let tasks: Vec<_> = tasks.collect();
    for task in &tasks {
        task.want(Wanted::Stopped);
    }
    let deadline = Instant::now() + limit;
    let late: Vec<_> = tasks
        .into_iter()
        .filter(|task| !task.ends_before(deadline))
        .map(|task| format!("{}-{}", task.name, task.task))
        .collect();
    if !late.is_empty() {
        error!(
            "these tasks did not end within task.shutdown.graceful.timeout.ms: {}; the records that they have not \
             committed are read again at the next start",
            late.join(", ")
        );
    }
    late.is_empty()
}
