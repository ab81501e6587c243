//! The pipeline under test: a process with the stack's endpoints in its environment, its log, and signals at will.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::marker::PhantomData;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, SigSet, Signal};
use nix::unistd::Pid;

use crate::stack::namespace::take_off;

/// Variables that would lead a subject to other services than the stack's: they are not inherited.
const NOT_INHERITED: [&str; 3] = ["AWS_", "CONNECT_", "KAFKA_"];

/// How often a process is asked whether it has ended while nothing else wakes the wait. Its log's end wakes it at once.
const EXIT_CHECK: Duration = Duration::from_millis(20);

/// What is started as the subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// This executable once more, with a variable in its environment that tells it to be the pipeline: never a stale build.
    Itself {
        /// Name and value of the variable.
        role: (&'static str, &'static str),
    },
    /// A command for the shell.
    Shell(String),
    /// Nothing: the pipeline runs already, with services and names of its own. It is neither started nor stopped.
    Running,
}

impl Program {
    fn command(&self, args: &[String]) -> std::io::Result<Command> {
        match self {
            Self::Itself { role: (name, value) } => {
                let mut command = Command::new(std::env::current_exe()?);
                command.env(name, value).args(args);
                Ok(command)
            }
            Self::Shell(line) => {
                let mut command = Command::new("sh");
                command.arg("-c").arg(format!("exec {line}"));
                Ok(command)
            }
            Self::Running => Err(std::io::Error::other("it runs already, and is not the framework's to start")),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself { role: (name, value) } => write!(f, "this executable with {name}={value}"),
            Self::Shell(line) => write!(f, "`{line}`"),
            Self::Running => f.write_str("the pipeline that runs already"),
        }
    }
}

/// A process that does not outlive this value, nor the thread that made it, nor the test's process, however that ends.
#[derive(Debug)]
pub struct Subject {
    child: Arc<Mutex<Child>>,
    pid: Pid,
    log: Log,
    // Linux ends the process with the thread that started it, so a subject stays on that thread.
    _thread: PhantomData<*const ()>,
}

impl Subject {
    /// Starts `program` in `folder`, with `environment` over what is inherited, and appends what it prints to `log`.
    pub fn start(
        program: &Program,
        args: &[String],
        environment: &BTreeMap<String, String>,
        folder: &Path,
        log: &Log,
    ) -> Result<Self, SubjectError> {
        let failed = |cause: std::io::Error| SubjectError::Start {
            program: program.to_string(),
            folder: folder.to_owned(),
            cause,
        };
        let mut command = program.command(args).map_err(failed)?;
        for (name, _) in std::env::vars_os() {
            if NOT_INHERITED.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command
            .envs(environment)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.process_group(0);
        end_with_parent(&mut command);
        let mut child = command.spawn().map_err(failed)?;
        let streams: [Option<Box<dyn Read + Send>>; 2] =
            [child.stdout.take().map(|s| Box::new(s) as _), child.stderr.take().map(|s| Box::new(s) as _)];
        for stream in streams.into_iter().flatten() {
            log.follow(stream);
        }
        let pid = Pid::from_raw(child.id().cast_signed());
        Ok(Self { child: Arc::new(Mutex::new(child)), pid, log: log.clone(), _thread: PhantomData })
    }

    /// Its exit status, once it has ended.
    pub fn status(&self) -> Option<ExitStatus> {
        lock(&self.child).try_wait().ok().flatten()
    }

    /// Its process id.
    pub fn id(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Asks it to stop in good order (SIGTERM).
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Freezes it (SIGSTOP).
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Wakes it again (SIGCONT).
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// A handle with which another thread can kill it.
    pub fn killer(&self) -> Killer {
        Killer { child: Arc::clone(&self.child) }
    }

    fn signal(&self, signal: Signal) {
        // Under the lock nobody reaps it, so the pid is still its own.
        let mut child = lock(&self.child);
        if matches!(child.try_wait(), Ok(None)) {
            let _ = signal::kill(self.pid, signal);
        }
    }

    /// Waits until it has ended; `None` at the deadline. All it printed is in the log then.
    pub fn wait(&self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            if let Some(status) = self.status() {
                self.log.wait_for_end(Instant::now() + Duration::from_secs(1));
                return Some(status);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.log.wait_for_change(left.min(EXIT_CHECK));
        }
    }

    /// Waits until its log has a line that contains `text`, it ends, or the deadline passes.
    pub fn wait_for_line(&self, text: &str, deadline: Instant) -> Waited {
        loop {
            if let Some(line) = self.log.find(text) {
                return Waited::Found(line);
            }
            if let Some(status) = self.status() {
                self.log.wait_for_end(Instant::now() + Duration::from_secs(1));
                return self.log.find(text).map_or(Waited::Ended(status), Waited::Found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Waited::TimedOut;
            }
            self.log.wait_for_change(left.min(EXIT_CHECK));
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // The whole group: a command may have started others.
        if self.status().is_none() {
            let _ = signal::killpg(self.pid, Signal::SIGKILL);
        }
        self.killer().kill();
    }
}

/// Kills a subject from any thread.
#[derive(Debug, Clone)]
pub struct Killer {
    child: Arc<Mutex<Child>>,
}

impl Killer {
    /// SIGKILL; returns when the process is gone.
    pub fn kill(&self) {
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// How a wait for a line ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waited {
    /// The line.
    Found(String),
    /// The process ended without it.
    Ended(ExitStatus),
    /// It did not come in time.
    TimedOut,
}

/// Why a subject could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// The operating system refused.
    #[error("cannot start {program} in {}: {cause}", folder.display())]
    Start {
        /// What was to be started.
        program: String,
        /// Its working directory.
        folder: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
    },
}

/// `exit status 1`, `killed by SIGKILL`.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("killed by {signal}"),
            Err(_) => format!("killed by signal {number}"),
        },
        (None, None) => status.to_string(),
    }
}

/// Everything a subject has printed, standard output and error in the order in which lines arrived, each with its time.
///
/// A log outlives the processes that write to it: a case that restarts its subject has one log.
#[derive(Debug, Clone)]
pub struct Log {
    started: Instant,
    shared: Arc<(Mutex<Printed>, Condvar)>,
}

#[derive(Debug, Default)]
struct Printed {
    lines: Vec<(Duration, String)>,
    open_streams: usize,
    /// What is left out when a line is looked for.
    namespace: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { started: Instant::now(), shared: Arc::default() }
    }
}

impl Log {
    fn follow(&self, stream: Box<dyn Read + Send>) {
        self.change(|lines| lines.open_streams += 1);
        let log = self.clone();
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                log.note(text);
                line.clear();
            }
            log.change(|lines| lines.open_streams -= 1);
        });
    }

    /// Appends a line of our own, such as a signal that was sent.
    pub fn note(&self, text: String) {
        let at = self.started.elapsed();
        self.change(|lines| lines.lines.push((at, text)));
    }

    fn change(&self, change: impl FnOnce(&mut Printed)) {
        change(&mut lock(&self.shared.0));
        self.shared.1.notify_all();
    }

    fn wait_for_change(&self, at_most: Duration) {
        let lines = lock(&self.shared.0);
        let _ = self.shared.1.wait_timeout(lines, at_most);
    }

    fn wait_for_end(&self, deadline: Instant) {
        let wait = deadline.saturating_duration_since(Instant::now());
        let _ = self.shared.1.wait_timeout_while(lock(&self.shared.0), wait, |lines| lines.open_streams > 0);
    }

    /// Looks for lines from now on as if this did not stand before the names in them.
    pub fn within(&self, namespace: &str) {
        namespace.clone_into(&mut lock(&self.shared.0).namespace);
    }

    /// The first line that contains `text`.
    pub fn find(&self, text: &str) -> Option<String> {
        let Printed { lines, namespace, .. } = &*lock(&self.shared.0);
        lines.iter().map(|(_, line)| line).find(|line| take_off(line, namespace).contains(text)).cloned()
    }

    /// The whole log, a line each with its time since the start.
    pub fn text(&self) -> String {
        self.last(usize::MAX)
    }

    /// The last `count` lines.
    pub fn last(&self, count: usize) -> String {
        use std::fmt::Write;
        let lines = lock(&self.shared.0);
        let skipped = lines.lines.len().saturating_sub(count);
        let mut text = String::new();
        for (at, line) in &lines.lines[skipped..] {
            let _ = writeln!(text, "{:9.3} {line}", at.as_secs_f64());
        }
        text
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the kernel end the process with its parent, and gives it an empty signal mask: the harness blocks signals to wait for them.
#[allow(
    unsafe_code,
    reason = "`pre_exec` runs code between fork and exec; nothing else can set the parent-death signal of a child"
)]
fn end_with_parent(command: &mut Command) {
    let prepare = || {
        SigSet::all().thread_unblock()?;
        #[cfg(target_os = "linux")]
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        Ok(())
    };
    // SAFETY: the closure only makes system calls that are safe after a fork (sigprocmask, prctl); it allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(prepare);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(line: &str, log: &Log) -> Subject {
        Subject::start(&Program::Shell(line.to_owned()), &[], &BTreeMap::new(), Path::new("/"), log).expect("started")
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    fn exists(pid: Pid) -> bool {
        signal::kill(pid, None).is_ok()
    }

    #[test]
    fn both_streams_are_logged_and_the_status_is_known() {
        let log = Log::default();
        let subject = start("sh -c 'echo out; echo err >&2; exit 3'", &log);
        let status = subject.wait(soon()).expect("ended");
        assert_eq!(describe(status), "exit status 3");
        assert!(log.find("out").is_some() && log.find("err").is_some(), "{}", log.text());
    }

    #[test]
    fn a_line_is_waited_for_and_its_absence_is_noticed() {
        let log = Log::default();
        let subject = start("sh -c 'echo ready; sleep 60'", &log);
        assert_eq!(subject.wait_for_line("ready", soon()), Waited::Found("ready".into()));
        assert_eq!(subject.wait_for_line("never", Instant::now()), Waited::TimedOut);
        subject.terminate();
        assert!(matches!(subject.wait_for_line("never", soon()), Waited::Ended(_)));
    }

    #[test]
    fn a_dropped_subject_is_gone_with_all_it_started() {
        let log = Log::default();
        let subject = start("sh -c 'sleep 60 & echo child $!; wait'", &log);
        let Waited::Found(line) = subject.wait_for_line("child ", soon()) else { panic!("{}", log.text()) };
        let child = Pid::from_raw(line["child ".len()..].parse().expect("a pid"));
        drop(subject);
        // The orphan is reaped by init; the log's end says that it has let go of the pipe.
        log.wait_for_end(soon());
        assert_eq!(lock(&log.shared.0).open_streams, 0);
        let _ = exists(child);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_subject_ends_with_the_thread_that_started_it() {
        let log = Log::default();
        let inner = log.clone();
        thread::spawn(move || std::mem::forget(start("sleep 60", &inner))).join().expect("no panic");
        log.wait_for_end(soon());
        assert_eq!(lock(&log.shared.0).open_streams, 0, "the process has ended");
    }

    #[test]
    fn variables_that_lead_elsewhere_are_not_inherited() {
        let log = Log::default();
        let environment = [("AWS_REGION".to_owned(), "here".to_owned())].into();
        let program = Program::Shell("env".to_owned());
        let subject = Subject::start(&program, &[], &environment, Path::new("/"), &log).expect("started");
        subject.wait(soon()).expect("ended");
        let text = log.text();
        assert!(text.contains("AWS_REGION=here"), "{text}");
        // A name begins behind the time of its line; E2E_KAFKA_IMAGE leads nowhere.
        assert_eq!(text.matches(" AWS_").count() + text.matches(" KAFKA_").count(), 1, "{text}");
    }

    #[test]
    fn a_program_that_does_not_exist_says_so() {
        let log = Log::default();
        let subject = start("/no/such/program", &log);
        assert_eq!(subject.wait(soon()).and_then(|status| status.code()), Some(127));
        assert!(log.find("/no/such/program").is_some(), "{}", log.text());
    }
}
