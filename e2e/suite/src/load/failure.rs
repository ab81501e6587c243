//! Why a run has no report: whether the pipeline is to blame.

use std::fmt;

/// Why a run has no report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The pipeline did not do what it has to: a process ended by itself, or it did not store everything in time.
    Pipeline(String),
    /// Something else went wrong, such as a service, so the run says nothing of the pipeline.
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Pipeline(problem) | Self::Other(problem)) = self;
        problem.fmt(f)
    }
}

impl From<String> for Failure {
    fn from(problem: String) -> Self {
        Self::Other(problem)
    }
}

impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        let (Failure::Pipeline(problem) | Failure::Other(problem)) = failure;
        problem
    }
}
