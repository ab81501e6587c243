//! Which stack a test runs on, and how tests are kept apart on it: the words that people write on a command line.

use std::fmt;
use std::str::FromStr;

/// Which stack a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// In the test's own process, without Docker.
    #[default]
    Embedded,
    /// Apache Kafka, DynamoDB Local and LocalStack in containers that the framework starts and ends.
    Docker,
    /// Services that run already, found through the environment; see [`external`].
    External,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::Docker => "docker",
            Self::External => "external",
        })
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "embedded" => Ok(Self::Embedded),
            "docker" => Ok(Self::Docker),
            "external" => Ok(Self::External),
            _ => Err(format!("stack `{text}`: there are embedded, docker and external")),
        }
    }
}

/// How tests that run at once are kept apart on the Docker stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// One set of containers for the whole run; every test has a namespace of its own.
    #[default]
    Shared,
    /// Containers of its own for every test.
    PerTest,
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Shared { "shared" } else { "per-test" })
    }
}

impl FromStr for Isolation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "shared" => Ok(Self::Shared),
            "per-test" => Ok(Self::PerTest),
            _ => Err(format!("isolation `{text}`: there are shared and per-test")),
        }
    }
}
