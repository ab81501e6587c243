//! Tests the example of docs/testing-your-pipeline.md, a Python pipeline on boto3 and confluent-kafka.
//!
//! The tests need a Python with these packages: `python3`, or the interpreter that `E2E_PYTHON` names. Without it the
//! tests print that they were skipped.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn example() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/python"))
}

/// The Python interpreter, if it has the packages that the example requires. Otherwise the reason is printed.
fn python() -> Option<String> {
    let python = std::env::var("E2E_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = Command::new(&python).args(["-c", "import boto3, confluent_kafka"]).stdin(Stdio::null()).output();
    let problem = match import {
        Ok(output) if output.status.success() => return Some(python),
        Ok(output) => String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned(),
        Err(error) => error.to_string(),
    };
    println!(
        "SKIPPED: `{python}` cannot run the example: {problem}. `pip install -r e2e/examples/python/requirements.txt`, or name another \
         interpreter in E2E_PYTHON"
    );
    None
}

/// Runs the example, without the variables of the outer run in its environment.
fn runner(python: &str, arguments: &[&str]) -> Output {
    let target = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_e2e"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["INSTA_", "E2E_", "NEXTEST", "AWS_"].iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command.current_dir(example()).env("CARGO_TARGET_DIR", target.path()).env("INSTA_UPDATE", "no");
    command.env("E2E_PYTHON", python).args(arguments).output().expect("the runner")
}

fn passes(output: &Output) {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("all passed"), "{}: {said}", output.status);
}

#[test]
fn a_python_pipeline_passes_as_it_runs_in_production() {
    let Some(python) = python() else { return };
    passes(&runner(&python, &["--subject", &format!("{python} pipeline.py")]));
}

#[test]
fn a_python_pipeline_that_is_killed_or_restarted_stores_the_same() {
    let Some(python) = python() else { return };
    for schedule in ["restarted", "killed:s3.PutObject:1"] {
        let subject = format!("{python} pipeline.py");
        passes(&runner(&python, &["--subject", &subject, "--schedule", schedule, "orders::placed"]));
    }
}

/// Fails unless the run failed and said all of this.
fn fails(output: &Output, says: &[&str]) {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}");
    for text in says {
        assert!(said.contains(text), "`{text}` is not in:\n{said}");
    }
}

#[test]
fn an_order_that_is_lost_or_stored_twice_is_named() {
    let Some(python) = python() else { return };
    for (defect, schedule, says) in [
        ("commits_early", "killed:s3.PutObject:3", "missing: topic orders, partition 1, offset 2, the whole message"),
        (
            "names_objects_at_random",
            "killed:s3.PutObject:2:after",
            "once more in order-archive/: topic orders, partition 1, offset 1",
        ),
    ] {
        let subject = format!("{python} defects/{defect}.py");
        fails(&runner(&python, &["--subject", &subject, "--schedule", schedule, "orders::placed"]), &[says]);
    }
}

#[test]
fn a_script_that_does_not_exec_the_pipeline_is_killed_with_it() {
    let Some(python) = python() else { return };
    passes(&runner(&python, &["--subject", "./pipeline.sh", "orders::placed"]));
    passes(&runner(&python, &["--subject", "./pipeline.sh", "--schedule", "killed:s3.PutObject:1", "orders::placed"]));
}

/// The documentation page shows lines of the example's settings, and no others.
#[test]
fn the_page_shows_the_settings_of_the_example() {
    let page = std::fs::read_to_string(example().join("../../../docs/testing-your-pipeline.md")).expect("the page");
    let settings = std::fs::read_to_string(example().join("fixtures/suite.toml")).expect("the settings");
    let shown = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of settings");
    for line in shown.lines() {
        assert!(settings.lines().any(|other| other == line), "`{line}` is not in suite.toml");
    }
}
