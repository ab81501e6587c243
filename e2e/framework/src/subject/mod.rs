//! The pipeline under test: a process that has the stack's endpoints in its environment. This module starts it, keeps
//! its log, and sends signals to all of its processes.

mod clock;
mod environment;
mod log;
mod memory;
mod program;
mod spawn;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

pub(crate) use self::clock::Clock;
pub use self::log::Log;
pub use self::program::Program;
use self::spawn::Root;
use self::tree::{MARK, Tree};

/// The interval at which a process is checked for its end. The end of its log is noticed at once.
const EXIT_CHECK: Duration = Duration::from_millis(20);

/// How long the log of a process that has ended may take to arrive.
const LOG_LIMIT: Duration = Duration::from_secs(1);

/// The subjects that have not been dropped. They are killed when this process has to end.
static LIVE: Mutex<Vec<Killer>> = Mutex::new(Vec::new());

/// A process and all processes that it starts. None of them outlives this value, even if it has left the process
/// group.
///
/// The process itself also ends with the thread that made it and with the test's process, however that ends.
#[derive(Debug)]
pub struct Subject {
    process: Arc<Process>,
    log: Log,
    // Linux ends the process with the thread that started it, so a subject stays on that thread.
    _thread: PhantomData<*const ()>,
}

#[derive(Debug)]
struct Process {
    child: Mutex<Root>,
    tree: Tree,
}

impl Subject {
    /// Starts `program` in `folder` and appends what it prints to `log`. `environment` is added to the inherited
    /// variables, and so is what the AWS SDKs of other languages read beside the stack's own variables.
    pub fn start(
        program: &Program,
        args: &[String],
        environment: &BTreeMap<String, String>,
        folder: &Path,
        log: &Log,
    ) -> Result<Self, SubjectError> {
        let failed = |source| SubjectError::Start { program: program.to_string(), folder: folder.to_owned(), source };
        let mut command = program.command(args).map_err(failed)?;
        for (name, _) in std::env::vars_os().filter(|(name, _)| !environment::is_inherited(name)) {
            command.env_remove(name);
        }
        let mark = tree::new_mark();
        command.envs(environment::for_every_sdk(environment)).env(MARK, &mark).current_dir(folder);
        tree::adopt_orphans();
        let (root, output) = spawn::spawn(&command).map_err(failed)?;
        log.follow(output.stdout);
        log.follow(output.stderr);
        let tree = Tree::new(root.pid, mark);
        let process = Arc::new(Process { child: Mutex::new(root), tree });
        lock(&LIVE).push(Killer(Arc::clone(&process)));
        Ok(Self { process, log: log.clone(), _thread: PhantomData })
    }

    /// The name that tells it from the other processes of the pipeline; empty for the first one.
    pub(crate) fn name(&self) -> &str {
        self.log.label()
    }

    /// The exit status of the process that was started, once it has ended.
    pub fn status(&self) -> Option<ExitStatus> {
        lock(&self.process.child).try_wait()
    }

    /// The number of the process that was started.
    pub fn id(&self) -> i32 {
        self.process.tree.root.as_raw()
    }

    /// Asks all of its processes to stop in good order (SIGTERM).
    pub fn terminate(&self) {
        self.tell(Tree::terminate);
    }

    /// Gives its processes no more memory than they have. False if this system cannot do that.
    pub(crate) fn keep_its_memory(&self) -> bool {
        let members = self.process.tree.members().into_iter();
        members.map(memory::keep).fold(false, |is_any, is_kept| is_any | is_kept)
    }

    /// Whether one of its processes handles SIGTERM already. The answer is true if the system does not tell.
    pub(crate) fn handles_sigterm(&self) -> bool {
        self.process.tree.handles_sigterm()
    }

    /// Freezes all of its processes (SIGSTOP).
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Wakes all of its processes again (SIGCONT).
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// A handle with which another thread can kill it.
    pub fn killer(&self) -> Killer {
        Killer(Arc::clone(&self.process))
    }

    fn signal(&self, signal: Signal) {
        self.tell(|tree| tree.signal(signal));
    }

    fn tell(&self, signal: impl FnOnce(&Tree)) {
        // While the lock is held nobody reaps the process, so the number of its group is still its own.
        let mut child = lock(&self.process.child);
        if child.try_wait().is_none() || !self.process.tree.members().is_empty() {
            signal(&self.process.tree);
        }
    }

    /// Waits until the process that was started has ended and its log is complete. Returns `None` at the deadline.
    pub fn wait(&self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            if let Some(status) = self.status() {
                // Another process of the subject that still runs keeps the log open, so the log is not waited for
                // then.
                if self.process.tree.left().is_empty() {
                    self.log.wait_for_end(Instant::now() + LOG_LIMIT);
                }
                return Some(status);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.log.wait_for_change(left.min(EXIT_CHECK));
        }
    }

    /// Asks all of its processes to stop and waits until they have, see [`Self::stopped`].
    pub fn stop(&self, limit: Duration) -> Result<(), String> {
        self.terminate();
        self.stopped(limit)
    }

    /// Has to be called after [`Self::terminate`]. Waits until all of its processes have ended, at most for `limit`. The
    /// error names the processes that have not ended, or the status if it is not 0.
    ///
    /// The signal itself ends a wrapper script that does not `exec` its pipeline. In this case the pipeline's status
    /// counts.
    pub(crate) fn stopped(&self, limit: Duration) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        let mut adopted = Vec::new();
        let status = loop {
            let status = self.wait(deadline.min(Instant::now() + EXIT_CHECK));
            if let Some(status) = status {
                adopted.extend(self.process.tree.reap());
                if self.process.tree.left().is_empty() {
                    adopted.extend(self.process.tree.reap());
                    break status;
                }
                // The process itself has ended, and those that it started have not.
                self.log.wait_for_change(EXIT_CHECK);
            }
            if Instant::now() >= deadline {
                return Err(self.still_runs(status, limit));
            }
        };
        self.log.wait_for_end(Instant::now() + LOG_LIMIT);
        let by_the_signal = status.signal() == Some(Signal::SIGTERM as i32);
        // A helper of the script, such as `tee`, may end by the signal itself while the pipeline exits as it should.
        let has_exited = adopted.iter().any(|status| status.code().is_some());
        let is_sigterm = |status: &ExitStatus| status.signal() == Some(Signal::SIGTERM as i32);
        let failed = adopted.iter().copied().find(|status| !status.success() && (!has_exited || !is_sigterm(status)));
        match failed {
            _ if status.success() => Ok(()),
            None if by_the_signal && !adopted.is_empty() => Ok(()),
            Some(of_child) if by_the_signal => Err(format!("ended with {}, not 0", describe(of_child))),
            _ => Err(format!("ended with {}, not 0", describe(status))),
        }
    }

    fn still_runs(&self, status: Option<ExitStatus>, limit: Duration) -> String {
        let limit = format!("after {:.1} s", limit.as_secs_f64());
        match status {
            None => format!("still runs {limit}"),
            Some(status) => format!("{} still ran {limit}", self.end(status)),
        }
    }

    /// How the process that was started ended, and which of the processes that it started still run.
    pub fn end(&self, status: ExitStatus) -> String {
        let left: Vec<String> = self.process.tree.members().into_iter().map(tree::Member::describe).collect();
        match left.as_slice() {
            [] => describe(status),
            left => format!(
                "{}, and left processes behind: {}; a script that starts the pipeline has to `exec` it or to wait for it, and these",
                describe(status),
                left.join(", ")
            ),
        }
    }

    /// Waits until its log has a line that contains `text`, it ends, or the deadline passes.
    pub fn wait_for_line(&self, text: &str, deadline: Instant) -> Waited {
        loop {
            if let Some(line) = self.log.find(text) {
                return Waited::Found(line);
            }
            if self.status().is_some()
                && let Some(status) = self.wait(Instant::now())
            {
                return self.last_line(text, deadline).map_or(Waited::Ended(status), Waited::Found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Waited::TimedOut;
            }
            self.log.wait_for_change(left.min(EXIT_CHECK));
        }
    }

    /// The line among those that the process had printed when it ended. Where another process keeps the log open, nothing
    /// tells when the last one of them has arrived.
    fn last_line(&self, text: &str, deadline: Instant) -> Option<String> {
        let deadline = deadline.min(Instant::now() + LOG_LIMIT);
        loop {
            let is_complete = self.log.wait_for_end(Instant::now());
            let found = self.log.find(text);
            let left = deadline.saturating_duration_since(Instant::now());
            if found.is_some() || is_complete || left.is_zero() {
                return found;
            }
            self.log.wait_for_change(left.min(EXIT_CHECK));
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.killer().kill();
        lock(&LIVE).retain(|killer| !Arc::ptr_eq(&killer.0, &self.process));
    }
}

/// Kills a subject from any thread.
#[derive(Debug, Clone)]
pub struct Killer(Arc<Process>);

impl Killer {
    /// Kills all of its processes (SIGKILL) and returns when they are gone.
    pub fn kill(&self) {
        let mut child = lock(&self.0.child);
        if child.try_wait().is_none() {
            self.0.tree.signal(Signal::SIGKILL);
        }
        let _ = child.wait();
        self.0.tree.kill_the_rest();
    }
}

/// Kills every subject of this process. A process that is told to end calls this, because it drops no values any more.
pub(crate) fn kill_all() {
    let live = lock(&LIVE).clone();
    live.iter().for_each(Killer::kill);
}

/// How a wait for a line ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waited {
    /// The process printed this line.
    Found(String),
    /// The process ended and had not printed the line.
    Ended(ExitStatus),
    /// The process did not print the line in time.
    TimedOut,
}

/// Why a subject could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// The operating system refused to start it, or the command is not valid.
    #[error("cannot start {program} in {}: {source}", folder.display())]
    Start {
        /// What was to be started.
        program: String,
        /// Its working directory.
        folder: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
}

/// How a process ended, for people: `exit status 1` or `killed by SIGKILL`.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("killed by {signal}"),
            Err(_) => format!("killed by signal {number}"),
        },
        (None, None) => status.to_string(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
