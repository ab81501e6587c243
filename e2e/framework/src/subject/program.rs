//! The program that is started as the subject.

use std::fmt;
use std::process::Command;

/// The pipeline under test, and how it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// This executable once more, with a variable in its environment that tells it to be the pipeline. The pipeline is
    /// therefore always of the same build as the tests.
    Itself {
        /// What messages and the report call the pipeline.
        name: &'static str,
        /// The name and the value of the variable.
        role: (&'static str, &'static str),
    },
    /// A command for the shell, which runs in the project's folder; see [`Program::shell`].
    Shell(String),
    /// A pipeline that runs already, with services and names of its own. It is neither started nor stopped.
    Running,
}

impl Program {
    /// Checks a command for the shell. The error says why the shell would not start a pipeline with it.
    pub fn shell(line: &str) -> Result<Self, String> {
        let first = line.split_whitespace().next().ok_or("the command is empty; write what starts the pipeline")?;
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if first.split_once('=').is_some_and(|(name, _)| is_name(name)) {
            return Err(format!(
                "`{line}` begins with a variable, and the shell takes the first word for the program; write `env {line}`, \
                 or set the variable in `env` of suite.toml"
            ));
        }
        Ok(Self::Shell(line.to_owned()))
    }

    /// The command that starts the program. `args` are for [`Program::Itself`]; a command for the shell has its own.
    pub(super) fn command(&self, args: &[String]) -> std::io::Result<Command> {
        match self {
            Self::Itself { role: (name, value), .. } => {
                let mut command = Command::new(std::env::current_exe()?);
                command.env(name, value).args(args);
                Ok(command)
            }
            Self::Shell(line) => {
                Self::shell(line).map_err(std::io::Error::other)?;
                let mut command = Command::new("sh");
                command.arg("-c").arg(format!("exec {line}"));
                Ok(command)
            }
            Self::Running => {
                Err(std::io::Error::other("the pipeline runs already, and the framework does not start it"))
            }
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself { name, .. } => f.write_str(name),
            Self::Shell(line) => write!(f, "`{line}`"),
            Self::Running => f.write_str("the pipeline that runs already"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_the_shell_would_misunderstand_is_refused_with_what_to_write() {
        let error = Program::shell("FOO=1 python3 -m app").expect_err("a variable");
        assert!(error.contains("write `env FOO=1 python3 -m app`"), "{error}");
        assert!(Program::shell("  ").expect_err("empty").contains("the command is empty"));
        for line in ["env FOO=1 cmd", "./run --x=1", "python3 -c 'a=1'"] {
            assert_eq!(Program::shell(line), Ok(Program::Shell(line.to_owned())));
        }
    }
}
