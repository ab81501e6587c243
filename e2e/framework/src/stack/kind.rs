//! Which stack a test runs on, and how tests are isolated on it, in the words that people write on a command line.

use std::fmt;
use std::str::FromStr;

use super::StackError;

/// Which stack a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StackKind {
    /// Services in the test's own process, without Docker.
    #[default]
    Embedded,
    /// Apache Kafka, DynamoDB Local and LocalStack in containers that the framework starts and ends.
    Docker,
    /// Services that run already. They are found through `KAFKA_BOOTSTRAP_SERVERS` and `AWS_ENDPOINT_URL`; without the
    /// latter, the services are those of AWS itself.
    External,
}

impl StackKind {
    /// An error if this executable was compiled without the stack. The error says how to compile it with the stack.
    pub(crate) fn check(self) -> Result<(), StackError> {
        self.check_with(cfg!(feature = "docker"))
    }

    fn check_with(self, has_docker: bool) -> Result<(), StackError> {
        if self == Self::Docker && !has_docker {
            let problem = "this program was compiled without the Docker stack; enable the feature `docker` of the crate `e2e` in the \
                           Cargo.toml that depends on it: e2e = { …, features = [\"docker\"] }";
            return Err(StackError::new("choosing the stack", problem));
        }
        Ok(())
    }
}

impl fmt::Display for StackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::Docker => "docker",
            Self::External => "external",
        })
    }
}

impl FromStr for StackKind {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_docker_stack_is_refused_only_where_it_was_left_out() {
        assert!(StackKind::Embedded.check().is_ok() && StackKind::External.check().is_ok());
        assert!(StackKind::Docker.check_with(true).is_ok() && StackKind::Embedded.check_with(false).is_ok());
        let error = StackKind::Docker.check_with(false).expect_err("left out").to_string();
        assert!(error.contains(r#"features = ["docker"]"#), "{error}");
    }
}
