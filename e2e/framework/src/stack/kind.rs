//! Which stack a test runs on, and how tests are isolated on it, in the words that people write on a command line.

use std::fmt;
use std::str::FromStr;

/// Which stack a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Services in the test's own process, without Docker.
    #[default]
    Embedded,
    /// Apache Kafka, DynamoDB Local and LocalStack in containers that the framework starts and ends.
    Docker,
    /// Services that run already and are found through environment variables; see [`external`].
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

/// How tests that run at the same time are isolated from each other on the Docker stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// The whole run uses one set of containers, and every test has a namespace of its own.
    #[default]
    Shared,
    /// Every test has a set of containers of its own.
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
