//! Grafana's own types read every dashboard and know all that is in it. They are a package of Python: `python3` needs
//! it, or the interpreter that `E2E_PYTHON` names. Without it the test says so and passes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn schema(python: &str, files: &[PathBuf]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schema.py");
    Command::new(python).arg(script).args(files).output().expect("the interpreter starts")
}

#[test]
fn grafana_knows_all_that_is_in_the_dashboards() {
    let python = std::env::var("E2E_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = Command::new(&python).args(["-c", "import grafana_foundation_sdk"]).output();
    if !import.as_ref().is_ok_and(|import| import.status.success()) {
        println!(
            "SKIPPED: `{python}` has no grafana-foundation-sdk: `pip install -r pipeline/dashboards/tests/requirements.txt`, \
             or name another interpreter in E2E_PYTHON"
        );
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/grafana");
    let files: Vec<PathBuf> = fms_dashboards::files().into_iter().map(|(name, _)| folder.join(name)).collect();
    let output = schema(&python, &files);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    // It would say so.
    let (name, mut dashboard) = fms_dashboards::files().swap_remove(0);
    dashboard["panels"][1]["gridPos"]["wdith"] = json!(4);
    dashboard["panels"][2]["fieldConfig"]["defaults"]["unti"] = Value::from("s");
    let broken = tempfile::tempdir().expect("a folder");
    let broken = broken.path().join(name);
    fs::write(&broken, dashboard.to_string()).expect("written");
    let output = schema(&python, &[broken]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("panels[1].gridPos.wdith") && said.contains("panels[2].fieldConfig.defaults.unti"), "{said}");
}
