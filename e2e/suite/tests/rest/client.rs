//! kafka-connect-py, a client that was written for Kafka Connect, operates the worker, without and with a password over TLS.

use std::process::{Command, Stdio};

use libtest_mimic::Failed;

use super::access;
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
    let open = Worker::start()?;
    run(&python, &format!("http://{}", open.address), &open, &[])?;
    let closed = access::closed(&[])?;
    let authority = access::pem("ca");
    run(&python, &format!("https://{}", closed.address), &closed, &[access::CREDENTIALS, &authority])
}

fn run(python: &str, url: &str, worker: &Worker, access: &[&str]) -> Result<(), Failed> {
    let output = Command::new(python)
        .args(["-c", SCRIPT, url, &worker.config().to_string()])
        .args(access)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}
