//! `e2e init` gives a project that has no fixtures a package with an example fixture, a runner and a test target.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::new;
use crate::{Program, hint, machine};

/// The files that are written below `fixtures/`. `PIPELINE` and `DEPENDENCY` are replaced in them.
const FILES: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("../../template/Cargo.toml.txt")),
    ("runner.rs", include_str!("../../template/runner.rs")),
    ("tests.rs", include_str!("../../template/tests.rs")),
    ("suite.toml", include_str!("../../template/suite.toml")),
    (".gitignore", "/target/\n*.snap.new\n"),
];

#[derive(Debug, Args)]
pub(super) struct Init {
    /// The project's folder. The pipeline runs in it, and its fixtures will be in `fixtures/` below it.
    #[arg(value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
    /// The command that starts the pipeline.
    #[arg(long, value_name = "COMMAND")]
    subject: String,
}

impl Init {
    /// Writes the package. It is an error if there are fixtures already, which are then left as they are.
    pub(super) fn write(&self) -> Result<ExitCode, String> {
        Program::shell(&self.subject).map_err(|problem| format!("--subject: {problem}"))?;
        let fixtures = self.folder.join("fixtures");
        if fixtures.exists() {
            return Err(format!("{} exists already; `new` adds a fixture to it", fixtures.display()));
        }
        let command = self.subject.replace('\\', "\\\\").replace('"', "\\\"");
        for (name, text) in FILES {
            let text = text.replace("PIPELINE", &command).replace("DEPENDENCY", &dependency());
            new::write(&fixtures.join(name), text.as_bytes())?;
        }
        new::write(&fixtures.join("example/first/messages.ndjson"), new::EXAMPLE.as_bytes())?;
        new::write(&fixtures.join("example/first/case.toml"), new::CASE.as_bytes())?;
        machine::print(&format!(
            "{}/\n  1. list the topics, tables, buckets and consumer groups of the pipeline in suite.toml\n  \
             2. write messages for it into example/first/messages.ndjson, one a line\n  \
             3. cd {}; cargo run --bin e2e shows what it stores, and --update accepts that\n  \
             4. cargo test, or cargo nextest run, runs every fixture as a test; cargo run --bin e2e -- new PROTOCOL/CASE adds one\n",
            fixtures.display(),
            hint::quoted(&fixtures.display().to_string()),
        ));
        Ok(ExitCode::SUCCESS)
    }
}

/// How the package depends on this crate: by the folder in which the crate was compiled, if that still exists and is a
/// checkout, otherwise by its version.
fn dependency() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_released = folder.components().any(|part| part.as_os_str() == "registry");
    if folder.join("Cargo.toml").is_file() && !is_released {
        format!("{{ path = {:?} }}", folder.display().to_string())
    } else {
        format!("{:?}", env!("CARGO_PKG_VERSION"))
    }
}

// The templates are compiled here as they will be in other projects, except for the command.
#[cfg(test)]
#[path = "../../template/runner.rs"]
#[expect(dead_code, reason = "its `main` is not called")]
mod runner_template;
#[cfg(test)]
#[path = "../../template/tests.rs"]
#[expect(dead_code, reason = "its `main` is not called")]
mod tests_template;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::case::Case;
    use crate::{Suite, discovery};

    #[test]
    fn a_new_project_has_a_package_and_a_case_that_can_be_read() {
        let root = tempfile::tempdir().expect("a folder");
        let init = Init { folder: root.path().to_owned(), subject: r#"python3 -c "print(1)""#.into() };
        init.write().expect("written");
        let suite = Suite::new(root.path(), Program::Running);
        let cases = discovery::list(&suite.fixtures).expect("cases");
        assert_eq!(cases.iter().map(ToString::to_string).collect::<Vec<_>>(), ["example::first"]);
        Case::read(&suite.fixtures, &cases[0]).expect("a case");
        let read = |name: &str| fs::read_to_string(suite.fixtures.join(name)).expect(name);
        let manifest: toml::Table = read("Cargo.toml").parse().expect("a manifest");
        assert!(manifest["dependencies"].get("e2e").is_some());
        for name in ["runner.rs", "tests.rs"] {
            assert!(read(name).contains(r#"Program::Shell("python3 -c \"print(1)\"".into())"#), "{}", read(name));
        }
        assert!(init.write().expect_err("it is there").contains("exists already"));
    }
}
