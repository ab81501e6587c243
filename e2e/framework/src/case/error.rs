//! What is wrong with a fixture: the file, the line, and what to write instead.

use std::fmt;
use std::path::{Path, PathBuf};

/// What is wrong with a fixture. Shown as `path:line: problem`, which editors can open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct FixtureError {
    /// The file, or the folder.
    pub path: PathBuf,
    /// Line, from 1, where one is to blame.
    pub line: Option<usize>,
    /// What is wrong and what to do about it.
    pub problem: String,
}

impl fmt::Display for FixtureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl FixtureError {
    pub(crate) fn new(path: &Path, problem: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, problem: problem.into() }
    }

    pub(crate) fn at(path: &Path, line: usize, problem: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(line), problem: problem.into() }
    }

    pub(crate) fn io(path: &Path, doing: &str, error: &std::io::Error) -> Self {
        Self::new(path, format!("cannot {doing}: {error}"))
    }
}

/// The end of a message about a name that is not known: the candidate that is most like it, or nothing if none is alike.
pub(super) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

/// The candidate that is most like `name`, if one is alike at all.
fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// A serde message with the nearest known key added: "unknown field `a`, expected one of `b`, `c`" names both sides in backquotes.
pub(crate) fn with_nearest_key(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let name = quoted.next().filter(|_| message.starts_with("unknown field"));
    message.to_owned() + &name.map(|name| did_you_mean(name, quoted)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_answered_with_the_nearest_key() {
        let message = with_nearest_key(
            "unknown field `expect_failur`, expected one of `timeout`, `expect_failure`, `expect_nothing`",
        );
        assert!(message.ends_with("did you mean `expect_failure`?"), "{message}");
        assert!(!with_nearest_key("unknown field `zzz`, expected one of `timeout`, `env`").contains("did you mean"));
        assert_eq!(with_nearest_key("invalid type: `a`"), "invalid type: `a`");
    }
}
