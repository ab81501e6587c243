//! The report of a run as one HTML page. Its content is kept in a file, from which the page is written again after
//! every case.
//!
//! The report does not know how cases are run. It gets facts and texts.

mod html;
mod map;
mod rows;
mod store;
#[cfg(test)]
mod tests;
mod weaker;

use serde::{Deserialize, Serialize};

use crate::case::Weaker;
use crate::ledger::Balance;

pub(crate) use self::store::Report;

/// The facts that all cases of a run have in common.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct RunFacts {
    /// The time at which the run began, in milliseconds since the Unix epoch.
    pub started: i64,
    /// The project's folder.
    pub root: String,
    /// The commit that is checked out in the project's folder, and whether files differ from it. It is `None` without
    /// git.
    pub commit: Option<String>,
    /// The stack on which the cases ran.
    pub stack: String,
    /// The schedule, and how it disturbs a run.
    pub schedule: String,
    /// The name or the command of the pipeline.
    pub subject: String,
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CaseVerdict {
    /// The pipeline or the fixture is wrong.
    Failed,
    /// The services failed.
    Infrastructure,
    /// Everything was as expected, but the schedule disturbed nothing.
    Undisturbed,
    /// Another run goes on from the state in which this one ended.
    SameState,
    /// Everything was as expected.
    Passed,
}

impl CaseVerdict {
    /// Whether the page tells of the run in an article of its own, and not only in a line of the table.
    fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Infrastructure)
    }

    /// The mark of a run that ended so.
    fn mark(self) -> &'static str {
        match self {
            Self::Failed | Self::Infrastructure => "✗",
            Self::Undisturbed => "○",
            Self::SameState => "≡",
            Self::Passed => "✓",
        }
    }
}

/// One case of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CaseReport {
    /// The name of the case, `protocol::case`, and the schedule if it is not the plain one.
    pub name: String,
    /// The name of the case alone.
    pub case: String,
    /// The schedule, or the kind of the crash point.
    pub kind: String,
    /// The `description` in the fixture.
    pub description: Option<String>,
    /// What the fixture does not demand.
    #[serde(default)]
    pub weaker: Vec<Weaker>,
    pub verdict: CaseVerdict,
    /// Why the case failed, as a terminal shows it, or why it was not disturbed, or the schedule of the run that goes
    /// on from the same state. It is empty if the case passed.
    pub failure: String,
    /// The whole difference. A terminal shows only its beginning.
    pub difference: Option<String>,
    /// The last lines of the subject's log.
    pub log: Option<String>,
    /// The files of the evidence, relative to the page.
    pub evidence: Vec<String>,
    /// How many messages were sent, and how many rows, items and so on were observed.
    pub counts: Vec<(String, usize)>,
    /// How many faults were injected.
    pub faults: usize,
    /// How many rows were produced and what accounts for them, if the case keeps a ledger.
    pub ledger: Option<Balance>,
    /// How long each phase took, in seconds.
    pub phases: Vec<(String, f64)>,
    /// How long the case took, in seconds.
    pub seconds: f64,
}
