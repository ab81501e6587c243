//! What a run leaves behind when it fails: a folder with its log, committed offsets, calls, observation and difference.

mod around;
mod folder;
mod states;

use std::fmt::Write;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use self::states::{Processes, States};
use crate::calls::{Call, KAFKA, numbered};
use crate::case::{CaseId, Weaker};
use crate::drive::Seen;
use crate::ledger::Balance;
use crate::observe::Counts;
use crate::outcome::Times;
use crate::schedule::{CrashPoint, Schedule};
use crate::settle::{self, Goal};
use crate::stack::{Stack, StackError};
use crate::subject::Log;
use crate::suite::Options;

/// What is known of a run so far, shared with the thread that waits for signals.
#[derive(Clone)]
pub(crate) struct Evidence {
    pub id: CaseId,
    /// The command that repeats the run.
    pub repeat: String,
    /// The folder to which the evidence is written. No other run writes to it as long as this value or a clone of it
    /// exists.
    pub folder: PathBuf,
    pub log: Log,
    schedule: Schedule,
    started: Instant,
    found: Arc<Mutex<Found>>,
    /// The lock on the folder, held as long as the folder belongs to this run. It is `None` where no lock file can be
    /// written; evidence cannot be written there either.
    _claim: Option<Arc<File>>,
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Reading,
    StartingServices,
    Sending,
    StartingSubject,
    AwaitingFailure,
    Draining,
    Stopping,
    Afterwards,
    Observing,
    Comparing,
    Balancing,
}

impl Phase {
    /// The phase in words, to stand after `while` in a sentence.
    fn text(self) -> &'static str {
        match self {
            Self::Reading => "reading the fixture",
            Self::StartingServices => "starting the services",
            Self::Sending => "sending the messages",
            Self::StartingSubject => "starting the subject",
            Self::AwaitingFailure => "waiting for the expected failure",
            Self::Draining => "waiting until it has drained",
            Self::Stopping => "stopping the subject",
            Self::Afterwards => "running what follows the pipeline",
            Self::Observing => "observing the result",
            Self::Comparing => "comparing with the snapshots",
            Self::Balancing => "counting the rows",
        }
    }
}

#[derive(Default)]
pub(crate) struct Found {
    /// Every phase so far, and the time at which it began.
    phases: Vec<(Phase, Instant)>,
    pub stack: Option<Arc<dyn Stack>>,
    pub goal: Option<Goal>,
    /// How many calls to AWS, and how many requests to Kafka, there had been each time that the pipeline was started.
    starts: Vec<(usize, usize)>,
    processes: Processes,
    /// What was seen at calls, in the order in which it was seen.
    pub seen: Vec<Seen>,
    /// How many faults there were apart from the calls to AWS that had trouble.
    faults: usize,
    pub observed: Option<String>,
    pub diff: Option<String>,
    pub description: Option<String>,
    /// What the case does not demand.
    pub weaker: Vec<Weaker>,
    /// What was sent and observed so far.
    pub counts: Counts,
    pub ledger: Option<Balance>,
}

impl Found {
    /// Forgets what was found on earlier services, for the run begins on these.
    pub(crate) fn begin_on(&mut self, stack: Arc<dyn Stack>) {
        self.stack = Some(stack);
        self.goal = None;
        self.starts.clear();
        self.processes = Processes::default();
        self.seen.clear();
        self.faults = 0;
    }

    /// How many faults were injected so far.
    pub(crate) fn faults(&self) -> usize {
        self.faults + self.stack.as_ref().map_or(0, |stack| stack.calls().disturbed())
    }

    /// Notes that a process of the pipeline is about to be started.
    pub(crate) fn start_subject(&mut self) -> Result<(), StackError> {
        if let Some(stack) = &self.stack {
            self.starts.push((stack.calls().count(), stack.kafka_requests()?.len()));
        }
        Ok(())
    }

    /// Notes that the process of this name is about to be started.
    pub(crate) fn start_process(&mut self, name: &str) {
        let calls = self.stack.as_ref().map_or(0, |stack| stack.calls().count());
        self.processes.start(name, calls);
    }

    /// Those of these calls that processes have made since they were started. `calls` are all of the run so far.
    pub(crate) fn calls_of<'c>(
        &self,
        calls: &'c [Call],
        is_of: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = &'c Call> {
        self.processes.calls(calls, is_of)
    }

    /// How many calls to AWS and requests to Kafka there were when the pipeline was started for the last time.
    fn last_start(&self) -> (usize, usize) {
        self.starts.last().copied().unwrap_or_default()
    }

    /// The calls to AWS that the pipeline has made since it was started for the last time.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.stack.as_ref().map(|stack| stack.calls().after(self.last_start().0)).unwrap_or_default()
    }

    /// The crash points of all calls that the pipeline has made since it was started for the last time: those to AWS, then
    /// those to Kafka; each with the state that a crash there leaves, as far as it was seen.
    pub(crate) fn crash_points(&self) -> Vec<(CrashPoint, Option<u64>)> {
        let Some(stack) = &self.stack else { return Vec::new() };
        let states = States { seen: &self.seen, calls: &stack.calls().snapshot(), processes: &self.processes };
        let calls = self.calls();
        let at_aws = CrashPoint::at_all(&calls, stack.namespace()).into_iter();
        let at_aws = at_aws.map(|(point, call)| {
            let state = states.at_call(call, point.moment);
            (point, state)
        });
        // A broker that does not answer has been reported before.
        let requests = stack.kafka_requests().unwrap_or_default();
        let first = self.last_start().1;
        let requests = numbered(requests.iter().skip(first).map(|name| (KAFKA, *name)));
        let at_kafka = requests.iter().zip(first + 1..).flat_map(|(call, number)| {
            CrashPoint::around(call).map(|point| {
                let state = states.at_request(number, point.moment);
                (point, state)
            })
        });
        at_aws.chain(at_kafka).collect()
    }

    /// What the run is doing now, in words.
    pub(crate) fn phase(&self) -> &'static str {
        self.phases.last().map_or("beginning", |(phase, _)| phase.text())
    }
}

/// The runs of this process that have not ended.
static ACTIVE: Mutex<Vec<Evidence>> = Mutex::new(Vec::new());

/// Whether the evidence of all runs has been written because the process has to end.
static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Evidence {
    /// The evidence of a run that begins now. Files that an earlier run left in its folder are removed.
    pub(crate) fn new(id: &CaseId, options: &Options, repeat: String, target: &Path) -> Self {
        let (folder, claim) = folder::claim(&target.join("e2e"), &id.protocol, &folder::name(id, options));
        let _ = fs::remove_dir_all(&folder);
        Self {
            id: id.clone(),
            repeat,
            folder,
            log: Log::default(),
            schedule: options.schedule.clone(),
            started: Instant::now(),
            found: Arc::default(),
            _claim: claim.map(Arc::new),
        }
    }

    pub(crate) fn found(&self) -> MutexGuard<'_, Found> {
        lock(&self.found)
    }

    /// Counts a fault that is not a trouble of a call to AWS.
    pub(crate) fn fault(&self) {
        self.found().faults += 1;
    }

    /// Notes that a phase begins.
    pub(crate) fn phase(&self, phase: Phase) {
        self.found().phases.push((phase, Instant::now()));
    }

    /// How long each phase has taken until now.
    pub(crate) fn times(&self) -> Times {
        let mut times = Times::default();
        let found = self.found();
        let ends = found.phases.iter().skip(1).map(|(_, begun)| *begun).chain([Instant::now()]);
        for ((phase, begun), end) in found.phases.iter().zip(ends) {
            let time = match phase {
                Phase::Reading | Phase::StartingServices => &mut times.start,
                Phase::Sending => &mut times.send,
                Phase::StartingSubject | Phase::AwaitingFailure | Phase::Draining | Phase::Stopping => {
                    &mut times.settle
                }
                Phase::Afterwards | Phase::Observing | Phase::Comparing | Phase::Balancing => &mut times.observe,
            };
            *time += end - *begun;
        }
        times
    }

    /// Writes everything that is known of the run to its folder, with the command that repeats the run.
    pub(crate) fn write(&self, verdict: &str) -> io::Result<()> {
        let _ = fs::remove_dir_all(&self.folder);
        fs::create_dir_all(&self.folder)?;
        let write = |name: &str, text: &str| fs::write(self.folder.join(name), text);
        write("verdict.txt", &format!("{}\n{verdict}\n\nrun it again:\n{}\n", self.id, self.repeat))?;
        write("worker.log", &self.log.text())?;
        // These are cloned, because it takes time to ask the services, and the run must be able to note something
        // meanwhile.
        let (stack, goal, observed, diff) = {
            let found = self.found();
            (found.stack.clone(), found.goal.clone(), found.observed.clone(), found.diff.clone())
        };
        if let Some(stack) = stack {
            write("calls.txt", &self.calls(stack.as_ref()))?;
            if let Some(goal) = goal {
                write("offsets.txt", &settle::offsets(stack.as_ref(), &goal))?;
            }
        }
        for (name, text) in [("observed.txt", observed), ("diff.txt", diff)] {
            if let Some(text) = text {
                write(name, &text)?;
            }
        }
        Ok(())
    }

    /// The calls around each time that the pipeline was started again, in words; empty if it was started once.
    fn around(&self) -> String {
        let (stack, starts) = {
            let found = self.found();
            (found.stack.clone(), found.starts.clone())
        };
        let Some(stack) = stack.filter(|_| starts.len() > 1) else { return String::new() };
        // A broker that does not answer has been reported before.
        let requests = stack.kafka_requests().unwrap_or_default();
        around::text(&stack.calls().snapshot(), &requests, &starts, &self.schedule)
    }

    fn calls(&self, stack: &dyn Stack) -> String {
        let mut text = String::new();
        for call in stack.calls().snapshot() {
            let at = call.started.saturating_duration_since(self.started).as_secs_f64();
            let took = match call.finished {
                Some((end, status)) => format!("{status} after {:.1} ms", (end - call.started).as_secs_f64() * 1e3),
                None => "in flight".to_owned(),
            };
            let Call { number, service, operation, target, process, request_bytes, .. } = call;
            let by = if process.is_empty() { String::new() } else { format!(" by {process}") };
            let _ =
                writeln!(text, "{at:9.3} #{number}{by} {service} {operation} {target} ({request_bytes} bytes): {took}");
        }
        text
    }
}

/// As long as this value exists, its run is among those that are reported when the process is told to end.
pub(crate) struct Active(PathBuf);

impl Active {
    pub(crate) fn new(evidence: &Evidence) -> Self {
        lock(&ACTIVE).push(evidence.clone());
        Self(evidence.folder.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        lock(&ACTIVE).retain(|evidence| evidence.folder != self.0);
    }
}

/// Writes the evidence of all runs that have not ended, before the process ends. Returns the text to print.
pub(crate) fn interrupted(by: &str) -> String {
    let active = lock(&ACTIVE).clone();
    let mut text = String::new();
    for evidence in active {
        let elapsed = evidence.started.elapsed();
        let verdict = format!("ended by {by} after {:.1} s, while {}", elapsed.as_secs_f64(), evidence.found().phase());
        let _ = writeln!(text, "{}: {verdict}{}", evidence.id, keep(&evidence, &verdict));
    }
    IS_INTERRUPTED.store(true, Ordering::SeqCst);
    text
}

/// Writes the evidence, unless the process ends: its subjects are then killed, and what becomes of their runs would replace
/// what was written. The returned text says where it is, or why it could not be written.
pub(crate) fn keep(evidence: &Evidence, verdict: &str) -> String {
    if IS_INTERRUPTED.load(Ordering::SeqCst) {
        return String::new();
    }
    let around = evidence.around();
    match evidence.write(&format!("{verdict}{around}")) {
        Ok(()) => format!(
            "{around}\n\n  everything about this run: {}\n  run it again: {}\n",
            evidence.folder.display(),
            evidence.repeat
        ),
        Err(error) => {
            let folder = evidence.folder.display();
            format!(
                "{around}\n\n  the log, offsets and calls of this run could not be kept in {folder}: {error}\n  run it again: {}\n",
                evidence.repeat
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> CaseId {
        CaseId { protocol: "p".into(), name: "c".into() }
    }

    fn evidence(schedule: &str, target: &Path) -> Evidence {
        let options = Options { schedule: schedule.parse().expect("a schedule"), ..Options::default() };
        Evidence::new(&id(), &options, "run it".into(), target)
    }

    #[test]
    fn evidence_says_what_happened_and_how_to_repeat_it() {
        let target = tempfile::tempdir().expect("a folder");
        let evidence = evidence("killed:s3.PutObject:2:after@raw/a b", target.path());
        evidence.log.note("a line".into());
        evidence.found().diff = Some("the diff".into());
        let said = keep(&evidence, "it failed");
        let folder = target.path().join("e2e/p/c@killed-s3.PutObject-2-after@raw-a-b");
        assert!(said.contains(&folder.display().to_string()) && said.contains("run it again: run it"), "{said}");
        let read = |name: &str| fs::read_to_string(folder.join(name)).expect(name);
        assert!(read("verdict.txt").contains("p::c\nit failed"));
        assert!(read("worker.log").ends_with(" a line\n"));
        assert_eq!(read("diff.txt"), "the diff");
    }

    #[test]
    fn two_runs_of_one_case_at_the_same_time_have_folders_of_their_own() {
        let target = tempfile::tempdir().expect("a folder");
        let first = evidence("plain", target.path());
        keep(&first, "the first one failed");
        let second = evidence("plain", target.path());
        assert_eq!(second.folder, target.path().join("e2e/p/c~2"));
        assert!(first.folder.join("verdict.txt").exists(), "it is not the second run's to remove");
        let folder = first.folder.clone();
        drop(first);
        let third = evidence("plain", target.path());
        assert_eq!(third.folder, folder, "nobody has it any more");
        assert!(!folder.exists());
    }

    #[test]
    fn a_target_that_cannot_be_written_is_said_beside_the_failure() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let said = keep(&evidence("plain", file.path()), "it failed");
        assert!(said.contains("could not be kept in") && said.contains("run it again: run it"), "{said}");
    }
}
