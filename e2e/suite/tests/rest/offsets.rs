//! The offsets of a stopped connector are changed and removed at a real broker. The embedded one removes none.

use e2e::Options;
use e2e::internals::{self, docker};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::calls::ask;
use super::worker::Worker;

/// Makes a call whose answer has to have this status.
fn expect(worker: &Worker, method: &str, path: &str, body: &Value, expected: u16) -> Result<Value, Failed> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    match ask(&worker.address, method, path, &body)? {
        (status, answer) if status == expected => Ok(answer),
        (status, answer) => Err(format!("{method} {path}: {status}, expected {expected}: {answer}").into()),
    }
}

pub fn changed() -> Result<(), Failed> {
    const PATH: &str = "/connectors/a/offsets";
    let options = Options { keep: internals::kept(), ..Options::default() };
    let (stack, _) = docker::start(&options, &fms_e2e::suite().docker_folder())?;
    let worker = Worker::start_on(stack, &[])?;
    let create = json!({"name": "a", "initial_state": "STOPPED", "config": worker.config()});
    expect(&worker, "POST", "/connectors", &create, 201)?;
    let partition = json!({"kafka_topic": format!("{}t", worker.prefix), "kafka_partition": 0});
    let alter = |offset: Value| json!({"offsets": [{"partition": partition, "offset": offset}]});
    let zero = alter(json!({"kafka_offset": 0}));
    let committed = || expect(&worker, "GET", PATH, &Value::Null, 200);
    for removal in ["null", "DELETE"] {
        expect(&worker, "PATCH", PATH, &zero, 200)?;
        if committed()? != zero {
            return Err(format!("committed is {}, expected {zero}", committed()?).into());
        }
        match removal {
            "null" => expect(&worker, "PATCH", PATH, &alter(Value::Null), 200)?,
            _ => expect(&worker, "DELETE", PATH, &Value::Null, 200)?,
        };
        if committed()? != json!({"offsets": []}) {
            return Err(format!("{removal} leaves {}", committed()?).into());
        }
    }
    // There is nothing left to remove, which is no error.
    expect(&worker, "DELETE", PATH, &Value::Null, 200)?;
    Ok(())
}
