//! This project's end-to-end tests: its fixtures, run on the framework `e2e` with `fms connect` as the subject.

pub mod runner;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use e2e::{Program, Suite};

/// Tells this executable to be the pipeline instead of the test.
const ROLE: (&str, &str) = ("FMS_E2E_ROLE", "worker");

/// The fixtures of this project, with `fms connect` as the subject.
pub fn suite() -> Suite {
    Suite::new(root(), Program::Itself { role: ROLE })
}

/// The project's folder: where cargo runs this, else where it was compiled, else where it runs. Checkouts that share a target directory share
/// what is compiled, too.
fn root() -> PathBuf {
    let running = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let folders = running.into_iter().chain([PathBuf::from(env!("CARGO_MANIFEST_DIR"))]);
    let is_root = |folder: &&Path| folder.join("fixtures").join("suite.toml").is_file();
    let root = folders.into_iter().find_map(|folder| folder.ancestors().find(is_root).map(Path::to_path_buf));
    root.unwrap_or_else(|| PathBuf::from("."))
}

/// Runs the pipeline if this process was started as the subject, ends containers if it was started for that, else runs `main`.
pub fn worker_or(main: impl FnOnce() -> ExitCode) -> ExitCode {
    if let Some(status) = e2e::reaper_if_asked() {
        return status;
    }
    if std::env::var(ROLE.0).is_ok_and(|role| role == ROLE.1) {
        return fms::main_with(std::env::args_os());
    }
    main()
}
