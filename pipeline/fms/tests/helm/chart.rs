//! The chart as helm renders it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde::Deserialize as _;
use serde_norway::Value;

/// The values with which the chart is rendered: those that it has, and files beside these tests.
pub const VALUES: [(&str, Option<&str>); 4] = [
    ("default", None),
    ("minimal", Some("minimal.yaml")),
    ("group", Some("group.yaml")),
    ("everything", Some("everything.yaml")),
];

/// The version for which objects are rendered.
const KUBERNETES: &str = "1.33.0";

/// The root of the repository.
pub fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo and nextest set it");
    Path::new(&package).join("../..")
}

/// Whether there is helm. If not, says that the test was skipped.
pub fn has_helm() -> bool {
    let found = Command::new(helm()).arg("version").stdin(Stdio::null()).output().is_ok_and(|out| out.status.success());
    if !found {
        println!("SKIPPED: there is no helm in PATH; install it, or name it in HELM");
    }
    found
}

fn helm() -> String {
    std::env::var("HELM").unwrap_or_else(|_| "helm".to_owned())
}

/// What helm does with the chart, without its remarks on links.
pub fn run(command: &[&str], options: &[&str]) -> (Output, String) {
    let chart = root().join("deploy/helm/fms");
    let output = Command::new(helm()).args(command).arg(chart).args(options).stdin(Stdio::null()).output();
    let output = output.expect("helm starts");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let errors = errors.lines().filter(|line| !line.starts_with("walk.go:")).collect::<Vec<_>>().join("\n");
    (output, errors)
}

/// The chart rendered with one of [`VALUES`], as text and as objects.
pub fn rendered(file: Option<&str>) -> (String, Vec<Value>) {
    let file = file.map(|file| root().join("pipeline/fms/tests/helm/values").join(file).display().to_string());
    let mut options = vec!["--kube-version", KUBERNETES, "--namespace", "fleet"];
    options.extend(file.iter().flat_map(|file| ["--values", file]));
    let (output, errors) = run(&["template", "fms"], &options);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let objects = serde_norway::Deserializer::from_str(&text).map(Value::deserialize);
    let objects = objects.collect::<Result<Vec<_>, _>>().expect("YAML");
    (text, objects.into_iter().filter(|object| !object.is_null()).collect())
}

fn errors(setting: &str) -> String {
    let (output, errors) = run(&["template", "fms"], &["--kube-version", KUBERNETES, "--set", setting]);
    assert!(!output.status.success(), "{setting} is accepted");
    errors
}

/// What the chart has against values that do not go together.
pub fn contradiction(setting: &str) -> String {
    let errors = errors(setting);
    let sentence = errors.lines().find_map(|line| line.strip_prefix("Error: execution error at (")?.split_once("): "));
    sentence.map_or_else(|| errors.clone(), |(_, sentence)| sentence.to_owned())
}

/// What the schema has against a value.
pub fn refusal(setting: &str) -> String {
    let errors = errors(setting);
    errors.lines().filter(|line| line.trim_start().starts_with("- at")).map(str::trim).collect::<Vec<_>>().join("\n")
}

/// The text at a path.
pub fn text<'v>(value: &'v Value, path: &[&str]) -> &'v str {
    at(value, path).as_str().unwrap_or_default()
}

/// The value at a path, which is null if there is none.
pub fn at<'v>(value: &'v Value, path: &[&str]) -> &'v Value {
    path.iter().fold(value, |value, key| value.get(*key).unwrap_or(&Value::Null))
}

/// `Kind name`.
pub fn name(object: &Value) -> String {
    format!("{} {}", text(object, &["kind"]), text(object, &["metadata", "name"]))
}

/// The template of the pods of an object, if it makes any.
pub fn pod(object: &Value) -> Option<&Value> {
    match text(object, &["kind"]) {
        "Deployment" => Some(at(object, &["spec", "template"])),
        "CronJob" => Some(at(object, &["spec", "jobTemplate", "spec", "template"])),
        _ => None,
    }
}

/// The only container of a pod.
pub fn container(pod: &Value) -> &Value {
    let containers = at(pod, &["spec", "containers"]).as_sequence().expect("containers");
    assert_eq!(containers.len(), 1);
    &containers[0]
}

/// The words of a list.
pub fn words(value: &Value) -> Vec<String> {
    let list = value.as_sequence().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|word| word.as_str().expect("a text").to_owned()).collect()
}

/// The environment of a container that does not come from secrets. The address of the pod is one that a pod may have.
pub fn environment(container: &Value) -> Vec<(String, String)> {
    let variables = at(container, &["env"]).as_sequence().expect("variables");
    let value = |variable| match text(variable, &["valueFrom", "fieldRef", "fieldPath"]) {
        "status.podIP" => "10.0.0.7".to_owned(),
        _ => text(variable, &["value"]).to_owned(),
    };
    variables.iter().map(|variable| (text(variable, &["name"]).to_owned(), value(variable))).collect()
}
