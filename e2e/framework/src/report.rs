//! What a run leaves behind: the capsule of a failed one, and a page about all of them.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::calls::Call;
use crate::case::CaseId;
use crate::observe::Counts;
use crate::run::Options;
use crate::schedule::Schedule;
use crate::settle::{self, Goal};
use crate::stack::{Kind, Stack};
use crate::subject::Log;

/// What is known of a run so far, kept where a signal handler's thread finds it.
#[derive(Clone)]
pub(crate) struct Evidence {
    pub id: CaseId,
    /// The command that repeats the run.
    pub repeat: String,
    pub folder: PathBuf,
    pub log: Log,
    started: Instant,
    found: Arc<Mutex<Found>>,
}

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Reading,
    StartingServices,
    Sending,
    StartingSubject,
    AwaitingFailure,
    Draining,
    Stopping,
    Observing,
    Comparing,
}

impl Phase {
    /// After the word while.
    fn text(self) -> &'static str {
        match self {
            Self::Reading => "reading the fixture",
            Self::StartingServices => "starting the services",
            Self::Sending => "sending the messages",
            Self::StartingSubject => "starting the subject",
            Self::AwaitingFailure => "waiting for the expected failure",
            Self::Draining => "waiting until it has drained",
            Self::Stopping => "stopping the subject",
            Self::Observing => "observing the result",
            Self::Comparing => "comparing with the snapshots",
        }
    }
}

/// How long a case took for what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// Its services, topics, tables and buckets.
    pub start: Duration,
    /// Its messages.
    pub send: Duration,
    /// From the subject's start to its end.
    pub settle: Duration,
    /// Reading everything back, and comparing it.
    pub observe: Duration,
}

impl Times {
    /// Each with its name.
    pub fn named(&self) -> [(&'static str, Duration); 4] {
        [("start", self.start), ("send", self.send), ("settle", self.settle), ("observe", self.observe)]
    }
}

impl std::iter::Sum for Times {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| Self {
            start: a.start + b.start,
            send: a.send + b.send,
            settle: a.settle + b.settle,
            observe: a.observe + b.observe,
        })
    }
}

#[derive(Default)]
pub(crate) struct Found {
    /// What the run has done, and since when.
    phases: Vec<(Phase, Instant)>,
    pub stack: Option<Arc<dyn Stack>>,
    pub goal: Option<Goal>,
    pub observed: Option<String>,
    pub diff: Option<String>,
}

impl Found {
    /// What the run is doing.
    pub(crate) fn phase(&self) -> &'static str {
        self.phases.last().map_or("beginning", |(phase, _)| phase.text())
    }
}

/// Runs that have not ended.
static ACTIVE: Mutex<Vec<Evidence>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Evidence {
    pub(crate) fn new(id: &CaseId, options: &Options, repeat: String, target: &Path) -> Self {
        let mut name = id.name.clone();
        if options.stack != Kind::Embedded {
            let _ = write!(name, "@{}", options.stack);
        }
        if !options.schedule.is_plain() {
            name.push_str(&format!("@{}", options.schedule).replace(':', "-"));
        }
        Self {
            id: id.clone(),
            repeat,
            folder: target.join("e2e").join(&id.protocol).join(name),
            log: Log::default(),
            started: Instant::now(),
            found: Arc::default(),
        }
    }

    pub(crate) fn found(&self) -> MutexGuard<'_, Found> {
        lock(&self.found)
    }

    /// What the run does from now on.
    pub(crate) fn phase(&self, phase: Phase) {
        self.found().phases.push((phase, Instant::now()));
    }

    /// How long the phases have taken until now.
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
                Phase::Observing | Phase::Comparing => &mut times.observe,
            };
            *time += end - *begun;
        }
        times
    }

    /// Writes the capsule: all there is, and the command that repeats the run.
    pub(crate) fn write(&self, verdict: &str) -> io::Result<()> {
        let _ = fs::remove_dir_all(&self.folder);
        fs::create_dir_all(&self.folder)?;
        let write = |name: &str, text: &str| fs::write(self.folder.join(name), text);
        write("verdict.txt", &format!("{}\n{verdict}\n\nrun it again:\n{}\n", self.id, self.repeat))?;
        write("worker.log", &self.log.text())?;
        // Cloned, for asking the services takes time and the run may want to note something.
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

    fn calls(&self, stack: &dyn Stack) -> String {
        let mut text = String::new();
        for call in stack.calls().snapshot() {
            let at = call.started.saturating_duration_since(self.started).as_secs_f64();
            let took = match call.finished {
                Some((end, status)) => format!("{status} after {:.1} ms", (end - call.started).as_secs_f64() * 1e3),
                None => "in flight".to_owned(),
            };
            let Call { number, service, operation, target, request_bytes, .. } = call;
            let _ = writeln!(text, "{at:9.3} #{number} {service} {operation} {target} ({request_bytes} bytes): {took}");
        }
        text
    }
}

/// Keeps a run among those that are reported when the process is told to end.
pub(crate) struct Active(CaseId);

impl Active {
    pub(crate) fn new(evidence: &Evidence) -> Self {
        lock(&ACTIVE).push(evidence.clone());
        Self(evidence.id.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        lock(&ACTIVE).retain(|evidence| evidence.id != self.0);
    }
}

/// Writes the capsules of all runs that have not ended, for a process that has to go; gives what to print.
pub(crate) fn interrupted(by: &str) -> String {
    let active = lock(&ACTIVE).clone();
    let mut text = String::new();
    for evidence in active {
        let elapsed = evidence.started.elapsed();
        let verdict = format!("ended by {by} after {:.1} s, while {}", elapsed.as_secs_f64(), evidence.found().phase());
        let _ = writeln!(text, "{}: {verdict}{}", evidence.id, keep(&evidence, &verdict));
    }
    text
}

/// Writes the capsule and says where it is, or why it is not.
pub(crate) fn keep(evidence: &Evidence, verdict: &str) -> String {
    match evidence.write(verdict) {
        Ok(()) => format!(
            "\n\n  everything about this run: {}\n  run it again: {}\n",
            evidence.folder.display(),
            evidence.repeat
        ),
        Err(error) => {
            let folder = evidence.folder.display();
            format!(
                "\n\n  the log, offsets and calls of this run could not be kept in {folder}: {error}\n  run it again: {}\n",
                evidence.repeat
            )
        }
    }
}

/// How one case ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Which case.
    pub id: CaseId,
    /// What was sent and observed.
    pub counts: Counts,
    /// From the start of its services to the verdict.
    pub duration: Duration,
    /// What it took it for.
    pub times: Times,
    /// Why it failed, for a person to read; `None` when it passed.
    pub failure: Option<String>,
    /// Whether the services failed, and not the pipeline.
    pub infrastructure: bool,
}

/// The page about a whole run: one file that needs no other.
pub fn html(outcomes: &[Outcome], schedule: Schedule, took: Duration) -> String {
    let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
    let total: Counts = outcomes.iter().map(|outcome| outcome.counts).sum();
    let mut rows = String::new();
    for outcome in outcomes {
        let class = if outcome.failure.is_some() { "failed" } else { "passed" };
        let _ = write!(rows, "<tr class={class}><td>{}", escape(&outcome.id.to_string()));
        if let Some(failure) = &outcome.failure {
            let what = if outcome.infrastructure { "infrastructure" } else { "failed" };
            let _ = write!(rows, "<details open><summary>{what}</summary><pre>{}</pre></details>", coloured(failure));
        }
        let (counts, seconds) = (cells(&outcome.counts), outcome.duration.as_secs_f64());
        let _ = writeln!(rows, "</td>{counts}<td title='{}'>{seconds:.2}</td></tr>", phases(&outcome.times));
    }
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{verdict}</title><style>{STYLE}</style>\n\
         <h1>{verdict}</h1><p>schedule {schedule}, {:.1} s</p>\n<table><thead><tr><th>case</th><th>messages</th><th>rows</th>\
         <th>items</th><th>objects</th><th>dead letters</th><th>seconds</th></tr></thead>\n<tbody>\n{rows}</tbody>\n\
         <tfoot><tr><td>{} case{}</td>{}<td>{:.1}</td></tr></tfoot></table></html>\n",
        took.as_secs_f64(),
        outcomes.len(),
        if outcomes.len() == 1 { "" } else { "s" },
        cells(&total),
        took.as_secs_f64(),
        verdict = if failed == 0 {
            format!("{} passed", outcomes.len())
        } else {
            format!("{failed} of {} failed", outcomes.len())
        },
    )
}

/// `start 0.1 s, send …`
pub fn phases(times: &Times) -> String {
    let named = times.named().map(|(name, time)| format!("{name} {:.2} s", time.as_secs_f64()));
    named.join(", ")
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}\
table{border-collapse:collapse;width:100%}th,td{padding:.25rem .75rem;text-align:right;vertical-align:top;border-bottom:1px solid #ddd}\
th:first-child,td:first-child{text-align:left}.passed td:first-child::before{content:'✓ ';color:#187a35}\
.failed td:first-child::before{content:'✗ ';color:#b3202c}tfoot{font-weight:600}pre{white-space:pre-wrap;overflow-wrap:anywhere;\
background:#f6f6f4;padding:.75rem;font-size:13px}.minus{color:#b3202c}.plus{color:#187a35}.tilde{color:#8a5a00}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}pre{background:#242424}th,td{border-color:#3a3a3a}}";

fn cells(counts: &Counts) -> String {
    let Counts { messages, rows, items, objects, dead_letters } = counts;
    format!("<td>{messages}</td><td>{rows}</td><td>{items}</td><td>{objects}</td><td>{dead_letters}</td>")
}

/// A failure's text with the lines of its diff coloured.
fn coloured(text: &str) -> String {
    let mut html = String::new();
    for line in text.lines() {
        let class = match line.trim_start().split(' ').next() {
            Some("-") => "minus",
            Some("+") => "plus",
            Some("~") => "tilde",
            _ => "",
        };
        let _ = match class {
            "" => writeln!(html, "{}", escape(line)),
            class => writeln!(html, "<span class={class}>{}</span>", escape(line)),
        };
    }
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> CaseId {
        CaseId { protocol: "p".into(), name: "c".into() }
    }

    #[test]
    fn a_capsule_says_what_happened_and_how_to_repeat_it() {
        let target = tempfile::tempdir().expect("a folder");
        let schedule = Schedule::Killed { call: 3, carried_out: false };
        let options = Options { schedule, ..Options::default() };
        let evidence = Evidence::new(&id(), &options, "run it".into(), target.path());
        evidence.log.note("a line".into());
        evidence.found().diff = Some("the diff".into());
        let said = keep(&evidence, "it failed");
        let folder = target.path().join("e2e/p/c@killed-3");
        assert!(said.contains(&folder.display().to_string()) && said.contains("run it again: run it"), "{said}");
        let read = |name: &str| fs::read_to_string(folder.join(name)).expect(name);
        assert!(read("verdict.txt").contains("p::c\nit failed"));
        assert!(read("worker.log").ends_with(" a line\n"));
        assert_eq!(read("diff.txt"), "the diff");
    }

    #[test]
    fn a_target_that_cannot_be_written_is_said_beside_the_failure() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let said = keep(&Evidence::new(&id(), &Options::default(), "run it".into(), file.path()), "it failed");
        assert!(said.contains("could not be kept in") && said.contains("run it again: run it"), "{said}");
    }

    #[test]
    fn the_page_escapes_what_pipelines_say() {
        let outcome = Outcome {
            id: id(),
            counts: Counts::default(),
            duration: Duration::ZERO,
            times: Times::default(),
            infrastructure: false,
            failure: Some("- <b>\nx & y".into()),
        };
        let page = html(&[outcome], Schedule::Plain, Duration::from_secs(1));
        assert!(page.contains("<span class=minus>- &lt;b&gt;</span>\nx &amp; y"), "{page}");
        assert!(page.contains("1 of 1 failed"));
    }
}
