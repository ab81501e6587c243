//! Watches the requests to Kafka while a pipeline runs, for whoever holds one does not call back when it does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::Drive;
use crate::stack::StackError;

/// How often the broker is asked whether a request has come.
const LOOK: Duration = Duration::from_millis(1);

impl Drive<'_> {
    /// Runs `run`. Meanwhile `held` is called when the broker holds the request of this name that it was asked to hold, and
    /// says whether another one is watched for.
    pub(super) fn watching<T>(
        &self,
        request: &str,
        mut held: impl FnMut() -> Result<bool, StackError> + Send,
        run: impl FnOnce() -> T,
    ) -> Result<T, StackError> {
        let has_ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let watch = scope.spawn(|| {
                while !has_ended.load(Ordering::SeqCst) {
                    if self.stack.holds_kafka_request(request)? && !held()? {
                        break;
                    }
                    thread::sleep(LOOK);
                }
                Ok(())
            });
            let result = run();
            has_ended.store(true, Ordering::SeqCst);
            watch.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok(result)
        })
    }
}
