//! The runner names what is missing or wrong in its environment when it cannot use the external services.
//!
//! Each test starts the runner as a process whose environment has only the variables that the test sets.

use std::process::{Command, Output};

/// The runner's exit status when the services failed, and not the pipeline.
const INFRASTRUCTURE: Option<i32> = Some(3);

fn run(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("a home without profiles");
    Command::new(env!("CARGO_BIN_EXE_e2e"))
        .env_clear()
        .env("HOME", home.path())
        .env("CARGO_TARGET_DIR", home.path())
        .env("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
        // On an EC2 instance, the metadata service would provide credentials.
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(variables.iter().copied())
        .args(["--stack", "external", "vehicle-tire::report"])
        .args(arguments)
        .output()
        .expect("the runner")
}

fn says(output: &Output, text: &str) {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.code() == INFRASTRUCTURE && said.contains(text), "{}: {said}", output.status);
}

#[test]
fn aws_without_a_region_is_the_environments_fault() {
    says(&run(&[], &[]), "its region is not known; set AWS_REGION");
}

#[test]
fn aws_without_credentials_is_the_environments_fault() {
    says(
        &run(&[("AWS_REGION", "eu-central-1")], &[]),
        "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    );
}

#[test]
fn a_bundle_of_authorities_that_is_not_there_is_named() {
    let variables = [("AWS_REGION", "eu-central-1"), ("AWS_CA_BUNDLE", "/nowhere/ca.pem")];
    says(&run(&variables, &[]), "/nowhere/ca.pem");
}

#[test]
fn the_tables_of_a_pipeline_that_runs_on_aws_are_not_emptied() {
    let variables = [("AWS_REGION", "eu-central-1"), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    says(&run(&variables, &["--subject-running"]), "which are emptied first, and neither");
}
