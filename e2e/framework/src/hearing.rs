//! Waits until a subject that has just been started is ready to handle SIGTERM.
//!
//! A process that receives SIGTERM before it has installed a handler is ended by it, even if it would have handled the
//! signal later. This matters when a subject is started after its predecessor has already done all the work, because
//! such a subject is asked to stop at once.

use std::time::{Duration, Instant};

use crate::subject::{Log, Subject};

/// The interval at which the subject is checked while it runs.
const LOOK: Duration = Duration::from_millis(5);

/// Remembers how many lines a process had printed in a run before it was started again.
pub(crate) struct Hearing {
    log: Log,
    lines_before: usize,
}

impl Hearing {
    /// Counts the lines that the process of this log has printed so far. It has to be called before the subject is
    /// started.
    pub(crate) fn before_start(log: Log) -> Self {
        Self { lines_before: log.printed(), log }
    }

    /// Waits until the subject handles SIGTERM. If its predecessors printed anything, the subject also has to have
    /// printed something, because the runtimes of some languages handle signals before the program itself does. Returns
    /// early when the subject ends, and at the latest after `limit`: a subject that never handles SIGTERM fails later,
    /// when it is sent the signal.
    pub(crate) fn wait(&self, subject: &Subject, limit: Duration) {
        let deadline = Instant::now() + limit;
        // A process blocks all signals for a moment whenever it starts a thread, and one that blocks SIGTERM may be one that
        // waits for it. So it has to be seen to handle the signal twice in a row.
        let mut heard = 0;
        while heard < 2 && Instant::now() < deadline {
            let has_printed = self.lines_before == 0 || self.log.printed() > self.lines_before;
            heard = if has_printed && subject.handles_sigterm() { heard + 1 } else { 0 };
            if subject.wait(Instant::now() + LOOK).is_some() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::subject::{Program, describe};

    #[cfg(target_os = "linux")]
    #[test]
    fn a_subject_that_is_slow_to_install_its_handler_is_waited_for() {
        let start = |command: &str, log: &Log| {
            let program = Program::Shell(command.to_owned());
            Subject::start(&program, &[], &BTreeMap::new(), Path::new("/"), log).expect("started")
        };
        let log = Log::default();
        log.note("-- SIGKILL".to_owned());
        let earlier = start("echo earlier", &log);
        assert!(earlier.wait(Instant::now() + Duration::from_secs(20)).is_some());
        let hearing = Hearing::before_start(log.clone());
        assert_eq!(hearing.lines_before, 1, "the framework's own lines are none of the subject's");
        let command = "sh -c 'sleep 0.3; trap \"exit 0\" TERM; echo ready; while :; do sleep 0.05; done'";
        let subject = start(command, &log);
        hearing.wait(&subject, Duration::from_secs(20));
        subject.terminate();
        let status = subject.wait(Instant::now() + Duration::from_secs(20)).expect("ended");
        assert_eq!(describe(status), "exit status 0");
    }
}
