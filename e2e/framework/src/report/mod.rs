//! The report of a run as one HTML page: what is on it, kept in a file from which the page is written anew with every case.
//!
//! It knows nothing of how cases are run: it is given facts and texts.

mod html;
mod store;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub(crate) use self::store::Report;

/// What all cases of a run have in common.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct RunFacts {
    /// When it began: milliseconds since the Unix epoch.
    pub started: i64,
    /// The project's folder.
    pub root: String,
    /// The commit that is checked out there, and whether files differ from it; `None` where there is no git.
    pub commit: Option<String>,
    /// The stack on which the cases ran.
    pub stack: String,
    /// How they were disturbed.
    pub schedule: String,
    /// What was started as the pipeline.
    pub subject: String,
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// The pipeline, or the fixture, is not as expected.
    Failed,
    /// The services failed.
    Infrastructure,
    /// As expected, but its schedule disturbed nothing.
    Undisturbed,
    /// As expected.
    Passed,
}

/// One case of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CaseReport {
    /// `protocol::case`.
    pub name: String,
    /// What the fixture says that it is about.
    pub description: Option<String>,
    pub verdict: Verdict,
    /// Why it failed, as a terminal shows it, or why it was not disturbed; empty if it passed.
    pub failure: String,
    /// The whole difference, which a terminal shows the beginning of.
    pub difference: Option<String>,
    /// The last lines of the subject's log.
    pub log: Option<String>,
    /// Files with all that is known of the run, relative to the page.
    pub evidence: Vec<String>,
    /// How many of each noun were sent or observed.
    pub counts: Vec<(String, usize)>,
    /// How long each phase took, in seconds.
    pub phases: Vec<(String, f64)>,
    /// How long all of it took, in seconds.
    pub seconds: f64,
}
