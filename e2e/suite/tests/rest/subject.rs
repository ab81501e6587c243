//! Apache Kafka Connect itself as the pipeline under test: the example of docs/testing-kafka-connect.md.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use libtest_mimic::Failed;

use super::apache::{self, run};

fn example() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/kafka-connect"))
}

/// A worker that was killed when its first object was stored reads its records again. An object that is named by its
/// first offset is replaced then, and one with a random name is there once more, which the report tells of each message.
pub fn killed() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let kafka = apache::distribution(folder.path())?;
    let plugins = folder.path().join("plugins");
    run(Command::new(example().join("build-plugin")).env("APACHE_KAFKA", &kafka).env("PLUGIN_FOLDER", &plugins))?;
    let output = runner(&kafka, &plugins, "offset")?;
    if !output.status.success() {
        return Err(format!("objects that are named by offsets: {}", said(&output)).into());
    }
    let output = runner(&kafka, &plugins, "random")?;
    let said = said(&output);
    for offset in 0..3 {
        let line = format!("once more in archive/: topic orders, partition 1, offset {offset}, the whole message");
        if output.status.code() != Some(1) || !said.contains(&line) {
            return Err(format!("`{line}` is not told: {}: {said}", output.status).into());
        }
    }
    Ok(())
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs the example, killed, without what concerns the outer run in its environment.
fn runner(kafka: &Path, plugins: &Path, names: &str) -> Result<Output, String> {
    let target = tempfile::tempdir().map_err(|error| format!("a folder for the runner: {error}"))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_e2e"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["INSTA_", "NEXTEST", "AWS_"].iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command.current_dir(example()).env("CARGO_TARGET_DIR", target.path()).stdin(Stdio::null());
    command.env("APACHE_KAFKA", kafka).env("PLUGIN_FOLDER", plugins);
    command.args(["--stack", "docker", "--schedule", "killed:s3.PutObject:1:after"]);
    command.args(["--subject", &format!("env NAMES={names} ./connect.sh")]);
    command.output().map_err(|error| format!("cannot start the runner: {error}"))
}
