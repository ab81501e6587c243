//! How one case ended, how long each phase of it took, and what was counted.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::case::{CaseId, Weaker};
use crate::ledger::Balance;
use crate::observe::Counts;
use crate::proof::Proof;
use crate::schedule::{CrashPoint, Schedule};

/// How one run of one case ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The name of the case.
    pub id: CaseId,
    /// The `description` of its fixture.
    pub description: Option<String>,
    /// What its fixture does not demand, each with the reason.
    pub(crate) weaker: Vec<Weaker>,
    /// The schedule under which it was run.
    pub schedule: Schedule,
    /// How much was sent and observed. A case that failed has these counts too.
    pub(crate) counts: Counts,
    /// How many rows were produced and what accounts for them, if the case keeps a ledger.
    pub(crate) ledger: Option<Balance>,
    /// The time from the start of its services to the verdict.
    pub duration: Duration,
    /// How long each phase took.
    pub(crate) times: Times,
    /// The calls at which the pipeline can be killed, since it was started for the last time, each with the state that this
    /// would leave, if it is known.
    pub(crate) crash_points: Vec<(CrashPoint, Option<u64>)>,
    /// The services and operations of those calls that only read.
    pub(crate) reads: BTreeSet<(String, String)>,
    /// How many faults were injected: calls that had trouble, deaths, answers of the broker that were lost and the like.
    pub(crate) faults: usize,
    /// Whether it passed, and if not, why.
    pub verdict: Verdict,
    /// What has found that the pipeline is wrong; nothing if it is right, or if something else failed.
    pub(crate) found_by: Vec<FoundBy>,
    /// The whole difference between what was expected and what was observed. The verdict shows only its beginning.
    pub difference: Option<String>,
    /// The last lines of the subject's log, if the case failed.
    pub log: Option<String>,
    /// The folder with the evidence of the run, if it was kept.
    pub evidence: Option<PathBuf>,
}

/// Whether a run passed. All texts are for a person to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The run was disturbed as its schedule says, and everything that was observed is as expected.
    Passed,
    /// Everything that was observed is as expected, but the schedule disturbed nothing, so this run proves no more than
    /// an undisturbed one. The text says why.
    Undisturbed(String),
    /// The pipeline was killed as its schedule says, which left a state that another run goes on from. The text names the
    /// schedule of that run.
    SameState(String),
    /// The pipeline or the test is wrong.
    Failed(String),
    /// The services failed, and not the pipeline.
    Infrastructure(String),
}

/// The part of the framework that finds a defect of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FoundBy {
    /// Something that is stored differs from its snapshot, or is missing or not expected at all.
    Snapshots,
    /// The count ledger does not balance.
    Ledger,
    /// A redaction matches nothing.
    Redaction,
    /// Offsets are not committed, or a queue is not empty.
    Lag,
    /// A process of the pipeline ended by itself.
    End,
    /// The pipeline did not stop in good order.
    Stop,
    /// A committed offset became lower.
    Commits,
    /// A process changed what is stored when another one had taken over from it.
    Fencing,
    /// Something was written after the commit that covers it.
    WriteAfterCommit,
    /// A failure that the case expects did not happen.
    NoFailure,
}

impl fmt::Display for FoundBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Snapshots => "snapshots",
            Self::Ledger => "ledger",
            Self::Redaction => "redaction",
            Self::Lag => "lag",
            Self::End => "end of the pipeline",
            Self::Stop => "stop",
            Self::Commits => "commits",
            Self::Fencing => "fencing",
            Self::WriteAfterCommit => "write after commit",
            Self::NoFailure => "expected failure",
        })
    }
}

impl Outcome {
    /// The name of the run: the case and, unless it is the plain one, the schedule.
    pub fn name(&self) -> String {
        if self.schedule.is_plain() { self.id.to_string() } else { format!("{} under {}", self.id, self.schedule) }
    }

    /// Why the run failed, or `None` if it did not fail.
    pub fn failure(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Failed(why) | Verdict::Infrastructure(why) => Some(why),
            Verdict::Passed | Verdict::Undisturbed(_) | Verdict::SameState(_) => None,
        }
    }

    /// Whether the services failed.
    pub fn is_infrastructure(&self) -> bool {
        matches!(self.verdict, Verdict::Infrastructure(_))
    }

    /// The schedule whose run goes on from the same state, if this one ended there.
    pub fn same_state(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::SameState(schedule) => Some(schedule),
            _ => None,
        }
    }

    /// What the runs prove together. One that another run goes on from was not compared, so its faults prove nothing.
    pub(crate) fn proof(outcomes: &[Self]) -> Proof {
        let compared = outcomes.iter().filter(|outcome| outcome.same_state().is_none());
        Proof::of(compared.map(|outcome| (outcome.faults, outcome.ledger.as_ref())))
    }

    /// Why the schedule disturbed nothing, if it disturbed nothing and the run did not fail.
    pub fn undisturbed(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Undisturbed(why) => Some(why),
            _ => None,
        }
    }
}

/// How long the phases of a case took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// Reading the fixture, starting the services, and creating topics, tables and buckets.
    pub start: Duration,
    /// Sending the messages.
    pub send: Duration,
    /// From the subject's start to its end.
    pub settle: Duration,
    /// Reading everything back and comparing it.
    pub observe: Duration,
}

impl Times {
    /// Every time with the name of its phase.
    pub(crate) fn named(&self) -> [(&'static str, Duration); 4] {
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

/// The times as one line for people: `start 0.10 s, send 0.01 s, …`.
pub(crate) fn phases(times: &Times) -> String {
    let named = times.named().map(|(name, time)| format!("{name} {:.2} s", time.as_secs_f64()));
    named.join(", ")
}
