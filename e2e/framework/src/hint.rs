//! The commands that messages tell people to type, in the form in which people type them in their own project.

use std::env;
use std::path::Path;

/// The command that starts this runner again: `cargo run --bin NAME --` if cargo started it, otherwise the path of the
/// program.
pub(crate) fn runner() -> String {
    let program = env::args().next().unwrap_or_default();
    let name = Path::new(&program).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if env::var_os("CARGO").is_some() { format!("cargo run --bin {name} --") } else { program }
}

/// The command that runs one test of a test target again: the command is nextest's if nextest runs this test, otherwise
/// cargo's.
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
