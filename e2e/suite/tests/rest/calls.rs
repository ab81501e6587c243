//! The calls that are made, and the shape of their answers: the status, the names and kinds of fields, and of the values
//! those that have a meaning to clients, such as states and error codes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::answers::Answers;

/// How long a state may take to be reached.
const LIMIT: Duration = Duration::from_secs(30);

/// Fields whose values are compared, and not only their kinds.
const COMPARED: [&str; 9] = ["state", "type", "error_code", "name", "connector", "task", "id", "required", "status"];

/// Makes a call. The body is null if it is empty or no JSON.
pub fn ask(address: &str, method: &str, path: &str, body: &str) -> Result<(u16, Value), String> {
    let failed = |error: std::io::Error| format!("{method} {path}: {error}");
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_mins(2))).map_err(failed)?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .map_err(failed)?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(failed)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("{method} {path}: no answer: {text:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| format!("{method} {path}: no status: {head:?}"))?;
    Ok((status, serde_json::from_str(body).unwrap_or_default()))
}

/// Makes a call, again as long as the answer is that the group rebalances.
fn ask_settled(address: &str, method: &str, path: &str, body: &str) -> Result<(u16, Value), String> {
    let deadline = Instant::now() + LIMIT;
    loop {
        match ask(address, method, path, body)? {
            (409, answer) if answer["message"].as_str().is_some_and(|text| text.contains("momentarily")) => {
                if Instant::now() > deadline {
                    return Err(format!("{method} {path}: the group still rebalances: {answer}"));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return Ok(other),
        }
    }
}

/// The calls to one worker.
struct Calls<'c> {
    address: &'c str,
    answers: Answers,
}

impl Calls<'_> {
    /// Makes a call under this name and keeps the shape of its answer.
    fn call(&mut self, name: &str, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.call_with(name, method, path, &text)
    }

    fn call_with(&mut self, name: &str, method: &str, path: &str, body: &str) -> Result<Value, String> {
        let (status, answer) = ask_settled(self.address, method, path, body)?;
        let of = if (method, status) == ("GET", 200) && path.ends_with("/a/config") { "config" } else { "" };
        let shown = if answer.is_null() { String::new() } else { format!(" {}", shape(of, &answer)) };
        self.answers.add(name, format!("{status}{shown}"));
        Ok(answer)
    }

    fn get(&mut self, name: &str, path: &str) -> Result<Value, String> {
        self.call(name, "GET", path, &Value::Null)
    }

    /// Waits until the connector and this number of its tasks are in this state.
    fn reaches(&self, connector: &str, state: &str, tasks: usize) -> Result<(), String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let (_, status) = ask(self.address, "GET", &format!("/connectors/{connector}/status"), "")?;
            let own = status["connector"]["state"] == state;
            let all = status["tasks"]
                .as_array()
                .is_some_and(|all| all.len() == tasks && all.iter().all(|task| task["state"] == state));
            if own && all {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("connector {connector} does not become {state} with {tasks} tasks: {status}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A value by its kind, or itself if it is of a field that is compared.
fn shape(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(fields) if name == "config" && !fields.contains_key("definition") => {
            json!(if fields.values().all(Value::is_string) { "texts" } else { "not only texts" })
        }
        Value::Object(fields) => {
            let mut names: Vec<_> = fields.iter().collect();
            names.sort_by_key(|(name, _)| *name);
            Value::Object(
                names.into_iter().map(|(name, value)| (name.clone(), shape(name, value))).collect::<Map<_, _>>(),
            )
        }
        Value::Array(items) => items.iter().map(|item| shape(name, item)).collect(),
        value if COMPARED.contains(&name) => value.clone(),
        Value::String(_) => json!("text"),
        Value::Number(_) => json!("number"),
        Value::Bool(_) => json!("boolean"),
        Value::Null => json!("null"),
    }
}

/// Makes all calls in order. `config` is right for this worker; without the second of its keys in order, it is wrong.
pub fn made(address: &str, config: &Value) -> Result<Answers, String> {
    let mut calls = Calls { address, answers: Answers::new("no namespace") };
    worker(&mut calls)?;
    creation(&mut calls, config)?;
    reading(&mut calls)?;
    running(&mut calls)?;
    changing(&mut calls, config)?;
    offsets(&mut calls)?;
    plugins(&mut calls, config)?;
    deletion(&mut calls)?;
    Ok(calls.answers)
}

/// The configuration without the key that this kind of sink requires beside the common ones.
fn incomplete(config: &Value) -> Value {
    let mut config = config.clone();
    if let Some(fields) = config.as_object_mut() {
        fields.remove("flush.size");
        fields.remove("table");
    }
    config
}

fn with(config: &Value, key: &str, value: &str) -> Value {
    let mut config = config.clone();
    config[key] = value.into();
    config
}

fn worker(calls: &mut Calls<'_>) -> Result<(), String> {
    calls.get("the worker", "/")?;
    calls.get("its health", "/health")?;
    calls.get("a place that is none", "/nothing")?;
    calls.call("a method that is none", "DELETE", "/connectors", &Value::Null)?;
    calls.get("a logger that is none", "/admin/loggers/none")?;
    let level = |level: &str| json!({"level": level});
    calls.call("set a level", "PUT", "/admin/loggers/example", &level("DEBUG"))?;
    calls.get("read a level", "/admin/loggers/example")?;
    calls.call("set a level everywhere", "PUT", "/admin/loggers/example?scope=cluster", &level("INFO"))?;
    calls.call("set a level that is none", "PUT", "/admin/loggers/example", &level("LOUD"))?;
    calls.call("set no level", "PUT", "/admin/loggers/example", &json!({}))?;
    Ok(())
}

fn creation(calls: &mut Calls<'_>, config: &Value) -> Result<(), String> {
    calls.get("no connectors", "/connectors")?;
    let create = |name: &str, config: &Value| json!({"name": name, "config": config});
    calls.call("create", "POST", "/connectors", &create("a", config))?;
    calls.call("create what is there", "POST", "/connectors", &create("a", config))?;
    calls.call("create without a key", "POST", "/connectors", &create("b", &incomplete(config)))?;
    let unknown = with(config, "connector.class", "Nothing");
    calls.call("create of an unknown class", "POST", "/connectors", &create("b", &unknown))?;
    calls.call("create of no class", "POST", "/connectors", &create("b", &json!({"topics": "t"})))?;
    calls.call("create without a name", "POST", "/connectors", &json!({"config": config}))?;
    calls.call("create without a configuration", "POST", "/connectors", &json!({"name": "b"}))?;
    calls.call("create under two names", "POST", "/connectors", &create("b", &with(config, "name", "c")))?;
    let state = |state: &str| json!({"name": "s", "initial_state": state, "config": config});
    calls.call("create in a state that is none", "POST", "/connectors", &state("SLEEPING"))?;
    calls.call_with("create by what is no JSON", "POST", "/connectors", "{")?;
    calls.call("create stopped", "POST", "/connectors", &with_dir(&state("STOPPED")))?;
    calls.reaches("a", "RUNNING", 1)?;
    calls.reaches("s", "STOPPED", 0)
}

/// The same in another folder, because two connectors do not share one for the same topic.
fn with_dir(creation: &Value) -> Value {
    let mut creation = creation.clone();
    if creation["config"]["connector.class"] == "S3Sink" {
        creation["config"]["topics.dir"] = "other".into();
    }
    creation
}

fn reading(calls: &mut Calls<'_>) -> Result<(), String> {
    for (name, path) in [
        ("connectors", "/connectors"),
        ("connectors with their states", "/connectors?expand=status"),
        ("connectors with both", "/connectors?expand=info&expand=status"),
        ("connectors with something else", "/connectors?expand=other"),
        ("a connector", "/connectors/a"),
        ("no connector", "/connectors/none"),
        ("a configuration", "/connectors/a/config"),
        ("no configuration", "/connectors/none/config"),
        ("a state", "/connectors/a/status"),
        ("the state of what is stopped", "/connectors/s/status"),
        ("no state", "/connectors/none/status"),
        ("tasks", "/connectors/a/tasks"),
        ("no tasks", "/connectors/none/tasks"),
        ("the state of a task", "/connectors/a/tasks/0/status"),
        ("the state of no task", "/connectors/a/tasks/7/status"),
        ("topics", "/connectors/a/topics"),
        ("topics of no connector", "/connectors/none/topics"),
    ] {
        calls.get(name, path)?;
    }
    calls.call("reset topics", "PUT", "/connectors/a/topics/reset", &Value::Null)?;
    Ok(())
}

fn running(calls: &mut Calls<'_>) -> Result<(), String> {
    let none = Value::Null;
    calls.call("pause", "PUT", "/connectors/a/pause", &none)?;
    calls.reaches("a", "PAUSED", 1)?;
    calls.get("the state of what is paused", "/connectors/a/status")?;
    calls.call("pause none", "PUT", "/connectors/none/pause", &none)?;
    calls.call("resume", "PUT", "/connectors/a/resume", &none)?;
    calls.reaches("a", "RUNNING", 1)?;
    // A group restarts after it has answered. This answer alone depends on whether it has already done so.
    let failed = "/connectors/a/restart?includeTasks=true&onlyFailed=true";
    calls.call("restart what has failed", "POST", failed, &none)?;
    calls.call("restart", "POST", "/connectors/a/restart", &none)?;
    calls.call("restart with tasks", "POST", "/connectors/a/restart?includeTasks=true", &none)?;
    calls.call("restart none", "POST", "/connectors/none/restart?includeTasks=true", &none)?;
    calls.call("restart none without tasks", "POST", "/connectors/none/restart", &none)?;
    calls.call("restart a task", "POST", "/connectors/a/tasks/0/restart", &none)?;
    calls.call("stop none", "PUT", "/connectors/none/stop", &none)?;
    Ok(())
}

fn changing(calls: &mut Calls<'_>, config: &Value) -> Result<(), String> {
    calls.call("patch", "PATCH", "/connectors/a/config", &json!({"tasks.max": "2"}))?;
    calls.reaches("a", "RUNNING", 2)?;
    let required = if config.get("table").is_some() { "table" } else { "flush.size" };
    calls.call("patch a key away", "PATCH", "/connectors/a/config", &json!({required: null}))?;
    calls.call("patch none", "PATCH", "/connectors/none/config", &json!({"tasks.max": "2"}))?;
    calls.call("configure", "PUT", "/connectors/a/config", config)?;
    calls.reaches("a", "RUNNING", 1)?;
    let other = with_dir(&json!({"config": config}))["config"].clone();
    let other = if other.get("topics.dir").is_some() { with(&other, "topics.dir", "third") } else { other };
    calls.call("configure what is new", "PUT", "/connectors/n/config", &other)?;
    calls.call("configure under another name", "PUT", "/connectors/a/config", &with(config, "name", "b"))?;
    calls.call("configure without a key", "PUT", "/connectors/a/config", &incomplete(config))?;
    calls.call_with("configure by what is no JSON", "PUT", "/connectors/a/config", "[")?;
    Ok(())
}

fn offsets(calls: &mut Calls<'_>) -> Result<(), String> {
    const PATH: &str = "/connectors/a/offsets";
    let none = Value::Null;
    let alter = |topic: &str, partition: Value, offset: Value| {
        let partition = json!({"kafka_topic": topic, "kafka_partition": partition});
        json!({"offsets": [{"partition": partition, "offset": {"kafka_offset": offset}}]})
    };
    calls.get("offsets before anything was read", PATH)?;
    calls.call("alter offsets of what runs", "PATCH", PATH, &alter("t", json!(0), json!(0)))?;
    calls.call("reset offsets of what runs", "DELETE", PATH, &none)?;
    calls.call("stop", "PUT", "/connectors/a/stop", &none)?;
    calls.reaches("a", "STOPPED", 0)?;
    calls.get("tasks of what is stopped", "/connectors/a/tasks")?;
    calls.call("alter no offsets", "PATCH", PATH, &json!({"offsets": []}))?;
    calls.call("alter nothing", "PATCH", PATH, &json!({}))?;
    let no_partition = json!({"offsets": [{"partition": {"kafka_topic": "t"}, "offset": {"kafka_offset": 0}}]});
    calls.call("alter offsets of no partition", "PATCH", PATH, &no_partition)?;
    calls.call("alter offsets of a word", "PATCH", PATH, &alter("t", json!("x"), json!(0)))?;
    calls.call("alter offsets to a word", "PATCH", PATH, &alter("t", json!(0), json!("x")))?;
    calls.call("alter offsets of a partition that is none", "PATCH", PATH, &alter("t", json!(9), json!(0)))?;
    calls.call("offsets of no connector", "GET", "/connectors/none/offsets", &none)?;
    calls.call("reset offsets of no connector", "DELETE", "/connectors/none/offsets", &none)?;
    Ok(())
}

fn plugins(calls: &mut Calls<'_>, config: &Value) -> Result<(), String> {
    let class = config["connector.class"].as_str().unwrap_or_default();
    // All plugins have the same fields, so the first one stands for them.
    let (status, plugins) = ask(calls.address, "GET", "/connector-plugins", "")?;
    let version = plugins[0]["version"].is_string();
    calls.answers.add("plugins", format!("{status} {} with a version: {version}", plugins[0]["type"]));
    let (status, keys) = ask(calls.address, "GET", &format!("/connector-plugins/{class}/config"), "")?;
    let name = keys.as_array().and_then(|keys| keys.iter().find(|key| key["name"] == "name")).cloned();
    calls.answers.add("keys", format!("{status} {}", shape("", &name.unwrap_or_default())));
    calls.get("keys of no plugin", "/connector-plugins/Nothing/config")?;
    let validate = format!("/connector-plugins/{class}/config/validate");
    for (what, config) in
        [("what is right", with(config, "name", "a")), ("what is incomplete", with(&incomplete(config), "name", "a"))]
    {
        let (status, infos) = ask(calls.address, "PUT", &validate, &config.to_string())?;
        let fields: Vec<_> = infos.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let configs = infos["configs"].as_array();
        let key = configs.and_then(|keys| keys.iter().find(|key| key["definition"]["name"] == "name")).cloned();
        let shown = shape("", &key.unwrap_or_default());
        calls.answers.add(
            &format!("validate {what}"),
            format!("{status} {fields:?} with {} errors: {shown}", infos["error_count"]),
        );
    }
    let other = "/connector-plugins/Nothing/config/validate";
    calls.call("validate of another class", "PUT", other, &with(config, "name", "a"))?;
    // The answer of one that takes it has all keys.
    let (status, _) = ask(calls.address, "PUT", &validate, r#"{"topics": "t"}"#)?;
    calls.answers.add("validate of no class", status.to_string());
    Ok(())
}

fn deletion(calls: &mut Calls<'_>) -> Result<(), String> {
    calls.call("delete", "DELETE", "/connectors/a", &Value::Null)?;
    calls.call("delete again", "DELETE", "/connectors/a", &Value::Null)?;
    calls.get("connectors that are left", "/connectors")?;
    Ok(())
}
