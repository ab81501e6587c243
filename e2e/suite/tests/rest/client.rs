//! kafka-connect-py, a client that was written for Kafka Connect, operates the worker, without and with a password over TLS.

use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use serde_json::Value;

use super::access;
use super::worker::Worker;

/// What the client does, with what it has to be told. It raises an error for every answer that it does not expect.
const SCRIPT: &str = include_str!("client.py");

/// The interpreter, if it has the client.
fn python() -> Option<String> {
    let python = std::env::var("E2E_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = Command::new(&python).args(["-c", "import kafka_connect"]).stdin(Stdio::null()).output();
    if !import.is_ok_and(|import| import.status.success()) {
        println!(
            "SKIPPED: `{python}` has no kafka-connect-py: `pip install -r e2e/suite/tests/rest/requirements.txt`, or name \
             another interpreter in E2E_PYTHON"
        );
        return None;
    }
    Some(python)
}

pub fn operates() -> Result<(), Failed> {
    let Some(python) = python() else { return Ok(()) };
    let open = Worker::start()?;
    run(&python, &format!("http://{}", open.address), &open.config(), &[])?;
    let closed = access::closed(&[])?;
    let authority = access::pem("ca");
    run(&python, &format!("https://{}", closed.address), &closed.config(), &[access::CREDENTIALS, &authority])
}

/// Operates the worker at this address with a connector of this configuration.
pub fn against(url: &str, config: &Value) -> Result<(), Failed> {
    python().map_or(Ok(()), |python| run(&python, url, config, &[]))
}

fn run(python: &str, url: &str, config: &Value, access: &[&str]) -> Result<(), Failed> {
    let output = Command::new(python)
        .args(["-c", SCRIPT, url, &config.to_string()])
        .args(access)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}
