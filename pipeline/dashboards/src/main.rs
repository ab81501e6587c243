//! Writes the dashboards to `deploy/grafana`.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

fn main() -> ExitCode {
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| "pipeline/dashboards".into());
    let folder = Path::new(&package).join("../../deploy/grafana");
    for (name, dashboard) in fms_dashboards::files() {
        let path = folder.join(name);
        if let Err(error) = fs::write(&path, format!("{dashboard:#}\n")) {
            eprintln!("cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
