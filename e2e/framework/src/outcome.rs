//! How one case ended, how long each phase of it took, and what was counted.

use std::path::PathBuf;
use std::time::Duration;

use crate::case::CaseId;
use crate::observe::Counts;

/// How one case ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Which case.
    pub id: CaseId,
    /// What its fixture says that it is about.
    pub description: Option<String>,
    /// What was sent and observed, also by a case that failed.
    pub counts: Counts,
    /// From the start of its services to the verdict.
    pub duration: Duration,
    /// What it took it for.
    pub times: Times,
    /// Why it failed, for a person to read; `None` when it passed.
    pub failure: Option<String>,
    /// Whether the services failed, and not the pipeline.
    pub infrastructure: bool,
    /// The whole difference between what was expected and observed, of which `failure` has the beginning.
    pub difference: Option<String>,
    /// The last lines of the subject's log, if the case failed.
    pub log: Option<String>,
    /// The folder with everything that is known of the run, if that was kept.
    pub evidence: Option<PathBuf>,
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

/// `start 0.1 s, send …`
pub fn phases(times: &Times) -> String {
    let named = times.named().map(|(name, time)| format!("{name} {:.2} s", time.as_secs_f64()));
    named.join(", ")
}
