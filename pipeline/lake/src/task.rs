//! What tasks and threads of the runtime give.

use std::io;

use tokio::task::JoinHandle;

/// Waits for a task. A panic of it goes on here; an error says that the runtime ended before the task did.
pub(crate) async fn joined<T>(task: JoinHandle<T>) -> io::Result<T> {
    task.await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => io::Error::other(error),
    })
}
