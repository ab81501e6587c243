//! kafka-connect-py, a client that was written for Kafka Connect, operates the worker.

use std::process::{Command, Stdio};

use libtest_mimic::Failed;

use super::worker::Worker;

/// What the client does, with what it has to be told. It raises an error for every answer that it does not expect.
const SCRIPT: &str = include_str!("client.py");

pub fn operates() -> Result<(), Failed> {
    let python = std::env::var("E2E_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = Command::new(&python).args(["-c", "import kafka_connect"]).stdin(Stdio::null()).output();
    if !import.is_ok_and(|import| import.status.success()) {
        println!(
            "SKIPPED: `{python}` has no kafka-connect-py: `pip install -r e2e/suite/tests/rest/requirements.txt`, or name \
             another interpreter in E2E_PYTHON"
        );
        return Ok(());
    }
    let worker = Worker::start()?;
    let output = Command::new(&python)
        .args(["-c", SCRIPT, &format!("http://{}", worker.address), &worker.config().to_string()])
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}
