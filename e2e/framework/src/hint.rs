//! The commands that messages tell people to type, in the form in which people type them in their own project.

use std::env;
use std::fmt::Write;
use std::path::Path;

use crate::stack::{Isolation, StackKind};
use crate::suite::Options;

/// The command that starts this runner again, for the same project: `cargo run --bin NAME --` if cargo started it,
/// otherwise the path of the program; then `--root`, if that named the project.
pub(crate) fn runner(root: Option<&Path>) -> String {
    let program = env::args().next().unwrap_or_default();
    let name = Path::new(&program).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut command = if env::var_os("CARGO").is_some() { format!("cargo run --bin {name} --") } else { program };
    if let Some(root) = root {
        let _ = write!(command, " --root {}", quoted(&root.display().to_string()));
    }
    command
}

/// The options of the runner that make a run the same: the schedule, the stack and the isolation, where they are not
/// the usual ones.
pub(crate) fn options(options: &Options) -> String {
    let mut text = String::new();
    if !options.schedule.is_plain() {
        let _ = write!(text, " --schedule {}", quoted(&options.schedule.to_string()));
    }
    if options.stack != StackKind::default() {
        let _ = write!(text, " --stack {}", options.stack);
    }
    if options.isolation != Isolation::default() {
        let _ = write!(text, " --isolation {}", options.isolation);
    }
    text
}

/// The command that runs one test of a test target again: the command is nextest's if nextest runs this test,
/// otherwise cargo's.
pub(crate) fn test(name: &str) -> String {
    if env::var_os("NEXTEST").is_some() {
        format!("cargo nextest run -E 'test(={name})'")
    } else {
        format!("cargo test -- --exact {name}")
    }
}

/// The text, quoted so that a shell reads it as one word.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_the_project_and_everything_that_is_not_usual() {
        assert!(runner(Some(Path::new("/my projects/a"))).ends_with(" --root '/my projects/a'"));
        assert!(!runner(None).contains("--root"));
        assert_eq!(options(&Options::default()), "");
        let unusual = Options {
            schedule: "killed:s3.PutObject:1".parse().expect("a schedule"),
            stack: StackKind::Docker,
            isolation: Isolation::PerTest,
            ..Options::default()
        };
        let expected = " --schedule 'killed:s3.PutObject:1' --stack docker --isolation per-test";
        assert_eq!(options(&unusual), expected);
    }
}
