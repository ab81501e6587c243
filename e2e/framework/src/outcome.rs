//! How one case ended, how long each phase of it took, and what was counted.

use std::path::PathBuf;
use std::time::Duration;

use crate::calls::CallName;
use crate::case::CaseId;
use crate::observe::Counts;
use crate::schedule::Schedule;

/// How one run of one case ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Which case.
    pub id: CaseId,
    /// What its fixture says that it is about.
    pub description: Option<String>,
    /// How it was to be disturbed.
    pub schedule: Schedule,
    /// What was sent and observed, also by a case that failed.
    pub counts: Counts,
    /// From the start of its services to the verdict.
    pub duration: Duration,
    /// How long each phase took.
    pub times: Times,
    /// The AWS calls that the subject made.
    pub calls: Vec<CallName>,
    /// Whether it passed, and if not, why.
    pub verdict: Verdict,
    /// The whole difference between what was expected and observed, of which the verdict has the beginning.
    pub difference: Option<String>,
    /// The last lines of the subject's log, if the case failed.
    pub log: Option<String>,
    /// The folder with everything that is known of the run, if that was kept.
    pub evidence: Option<PathBuf>,
}

/// Whether a run passed. All texts are for a person to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The run was disturbed as its schedule says, and everything that was observed is as it should be.
    Passed,
    /// Everything is as it should be, but the schedule disturbed nothing, so this proves no more than an undisturbed run does. The text
    /// says why.
    Undisturbed(String),
    /// The pipeline or the test is not as it should be.
    Failed(String),
    /// The services failed, and not the pipeline.
    Infrastructure(String),
}

impl Outcome {
    /// The name of the run: the case and, unless it is the plain one, the schedule.
    pub fn name(&self) -> String {
        if self.schedule.is_plain() { self.id.to_string() } else { format!("{} under {}", self.id, self.schedule) }
    }

    /// Why it failed; `None` if it did not.
    pub fn failure(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Failed(why) | Verdict::Infrastructure(why) => Some(why),
            Verdict::Passed | Verdict::Undisturbed(_) => None,
        }
    }

    /// Whether its services failed.
    pub fn is_infrastructure(&self) -> bool {
        matches!(self.verdict, Verdict::Infrastructure(_))
    }

    /// Why its schedule disturbed nothing, if that is so and nothing else is wrong.
    pub fn undisturbed(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Undisturbed(why) => Some(why),
            _ => None,
        }
    }
}

/// How long the phases of a case took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// Starting its services and creating topics, tables and buckets.
    pub start: Duration,
    /// Sending its messages.
    pub send: Duration,
    /// From the subject's start to its end.
    pub settle: Duration,
    /// Reading everything back and comparing it.
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

/// The phases for people: `start 0.10 s, send 0.01 s, …`.
pub fn phases(times: &Times) -> String {
    let named = times.named().map(|(name, time)| format!("{name} {:.2} s", time.as_secs_f64()));
    named.join(", ")
}
