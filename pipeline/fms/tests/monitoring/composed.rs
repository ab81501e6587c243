//! The poller of `docker-compose.yml`, with its environment and the storage that `deploy/compose/create-storage` makes
//! for it, on moto instead of LocalStack.
//!
//! moto is a package of Python: `python3` needs it, or the interpreter that `E2E_PYTHON` names. Without it the test
//! says so and passes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_norway::Value;

use crate::process::{Process, free_port, get, until};
use crate::{read, repository};

const ROW: &str =
    r#"{"object":"vehicle","type":"status","command":"report","id":7,"timestamp_iso":"2023-01-01T08:00:00Z"}"#;

/// The services of the file.
fn composed() -> Value {
    let file: Value = serde_norway::from_str(&read("docker-compose.yml")).expect("YAML");
    file["services"].clone()
}

/// The environment of a service, with all services of AWS at this port.
fn environment(service: &Value, port: u16) -> Vec<(String, String)> {
    let all = format!("http://127.0.0.1:{port}");
    let variables = service["environment"].as_mapping().expect("an environment");
    let pair = |(name, value): (&Value, &Value)| {
        let value = value.as_str().expect("a text");
        let value = ["http://localstack:4566", "http://dynamodb:8000", "http://glue:5000"]
            .iter()
            .fold(value.to_owned(), |value, service| value.replace(service, &all));
        (name.as_str().expect("a name").to_owned(), value)
    };
    variables.iter().map(pair).collect()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_sequence().expect("a list").iter().map(|text| text.as_str().expect("a text")).collect()
}

/// moto, if it is there.
fn moto(folder: &Path) -> Option<(Process, u16)> {
    let python = std::env::var("E2E_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = Command::new(&python).args(["-c", "import moto.server, flask, flask_cors"]).output();
    if !import.as_ref().is_ok_and(|import| import.status.success()) {
        println!(
            "SKIPPED: `{python}` has no moto: `pip install -r e2e/suite/tests/services/requirements.txt`, or name another \
             interpreter in E2E_PYTHON"
        );
        return None;
    }
    let port = free_port();
    let mut command = Command::new(python);
    // LocalStack's account.
    command
        .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
        .env("MOTO_ACCOUNT_ID", "000000000000");
    let moto = Process::start(&mut command, folder.join("moto.log"));
    until("moto", || moto.said(), || get(port, "/moto-api/"));
    Some((moto, port))
}

fn put_object(port: u16, path: &str, body: &str) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let signature =
        "AWS4-HMAC-SHA256 Credential=test/20000101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=none";
    let length = body.len();
    let head =
        format!("PUT {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: {length}");
    write!(stream, "{head}\r\nAuthorization: {signature}\r\n\r\n{body}").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains(" 200 "), "{answer}");
}

#[test]
fn the_composed_poller_converts_what_the_composed_storage_tells_it_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some((moto, port)) = moto(folder.path()) else { return };
    let services = composed();
    // Twice, because what is there already is left as it is.
    for name in ["storage", "lake-storage", "lake-storage"] {
        let service = &services[name];
        assert_eq!(texts(&service["entrypoint"]), ["python3", "/create-storage"]);
        let mut command = Command::new("python3");
        command.arg(repository().join("deploy/compose/create-storage")).args(texts(&service["command"]));
        let output = command.envs(environment(service, port)).output().expect("python3 starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}\n{}", moto.said());
    }
    let service = &services["poller"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_fms"));
    command.args(texts(&service["command"])).envs(environment(service, port));
    command.env("FMS_LAKE_LISTEN", "127.0.0.1:0").env("FMS_LAKE_WAIT_TIME", "1");
    let poller = Process::start(&mut command, folder.path().join("poller.log"));
    poller.metrics(&["fms_lake_objects_total{"]);
    put_object(port, "/fms/raw/fms.vehicle.real/a.json", ROW);
    poller.metrics(&["fms_lake_objects_total{outcome=\"converted\"} 1"]);
}
