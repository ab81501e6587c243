//! A model that another engine builds: the calls of Athena and of Redshift's Data API, to a stand-in that refuses what their
//! documentation says that they refuse.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::common::{Ran, program, run};
use crate::request::request;

const MODEL: &str = "/*\ndescription = \"d\"\nowner = \"o\"\ngrain = \"a vehicle on a day\"\nkeys = [\"id\"]\n\
                     columns = \"id bigint the vehicle\"\n[sources.raw]\ncolumns = \"id bigint\"\n[[examples]]\nname = \"e\"\n\
                     expect = \"id\"\n*/\nselect ymd, id from raw group by ymd, id";

/// What a statement is said to be, each time that it is asked for, and the reason in the end.
type States = VecDeque<(&'static str, &'static str)>;

/// An engine that keeps the statements that were begun, each with its id. Those that are not told otherwise succeed at once.
#[derive(Clone, Default)]
struct Stand {
    url: String,
    begun: Arc<Mutex<Vec<Value>>>,
}

impl Stand {
    /// The stand-in of a service. Of the statements that have a text in them, these states are told.
    fn start(service: &'static str, text: &'static str, states: &[(&'static str, &'static str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stand = Self { url: format!("http://{}", listener.local_addr().expect("an address")), ..Self::default() };
        let (begun, mut states) = (Arc::clone(&stand.begun), States::from(states.to_vec()));
        thread::spawn(move || {
            // The call that begins each statement, by its token: one that is repeated begins it once.
            let mut ids: BTreeMap<String, usize> = BTreeMap::new();
            let mut is_lost = true;
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                let Some((head, body)) = request(&stream) else { continue };
                let body: Value = serde_json::from_str(&body).expect("JSON");
                let mut begun = begun.lock().unwrap_or_else(PoisonError::into_inner);
                let (code, answer) = match refused(service, &head, &body) {
                    Some(problem) => (400, json!({"__type": "ValidationException", "message": problem})),
                    None => {
                        if let Some(token) = body["ClientRequestToken"].as_str().or(body["ClientToken"].as_str()) {
                            let id = *ids.entry(token.to_owned()).or_insert(begun.len());
                            if id == begun.len() {
                                begun.push(body.clone());
                            }
                            // The answer to the first call is lost, so that it comes again.
                            if std::mem::take(&mut is_lost) {
                                continue;
                            }
                            (200, json!({"QueryExecutionId": format!("q-{id}"), "Id": format!("q-{id}")}))
                        } else {
                            let id = body["QueryExecutionId"].as_str().or(body["Id"].as_str()).expect("an id");
                            let about = &begun[id.trim_start_matches("q-").parse::<usize>().expect("a number")];
                            let done = if service == "athena" { "SUCCEEDED" } else { "FINISHED" };
                            let is_meant = about.to_string().contains(text);
                            let state = if is_meant { states.pop_front() } else { None };
                            let (state, reason) = state.unwrap_or((done, ""));
                            let of_athena = json!({"Status": {"State": state, "StateChangeReason": reason}});
                            (200, json!({"QueryExecution": of_athena, "Status": state, "Error": reason}))
                        }
                    }
                };
                let answer = answer.to_string();
                let head = format!("HTTP/1.1 {code} Whatever\r\ncontent-type: application/x-amz-json-1.1\r\n");
                let answer = format!("{head}content-length: {}\r\nconnection: close\r\n\r\n{answer}", answer.len());
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        stand
    }

    fn begun(&self) -> Vec<Value> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn run(&self, engine: &str, more: &[&str]) -> Ran {
        let models = tempfile::tempdir().expect("a folder");
        std::fs::write(models.path().join("seen.sql"), MODEL).expect("written");
        let mut command = program();
        command.args([
            "mart",
            "sql",
            "--engine",
            engine,
            "--database",
            "fleet",
            "--mart",
            "s3://lake/mart",
            "--submit",
        ]);
        command.args(["--from", "2023-01-01", "--to", "2023-01-02", "--now", "2023-01-03T02:00:00Z"]).args(more);
        command.arg("--models").arg(models.path());
        command.env("AWS_ENDPOINT_URL", &self.url).env("AWS_REGION", "eu-west-1");
        command.env("AWS_ACCESS_KEY_ID", "K").env("AWS_SECRET_ACCESS_KEY", "S");
        run(&mut command)
    }
}

/// What is wrong with a call, by the documentation of its operation.
fn refused(service: &str, head: &str, body: &Value) -> Option<String> {
    let head = head.to_lowercase();
    let header = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_default().trim().to_owned()
    };
    let signature = header("authorization");
    let is_signed = signature.starts_with("aws4-hmac-sha256 ")
        && signature.contains(&format!("/eu-west-1/{service}/aws4_request"))
        && signature.contains("x-amz-target")
        && !header("x-amz-date").is_empty();
    if !is_signed {
        return Some(format!("it is not signed: {signature}"));
    }
    if header("content-type") != "application/x-amz-json-1.1" {
        return Some("it is no JSON".to_owned());
    }
    let (required, known): (&[&str], &[&str]) = match header("x-amz-target").as_str() {
        "amazonathena.startqueryexecution" => (
            &["QueryString", "ClientRequestToken"],
            &["QueryExecutionContext", "ResultConfiguration", "WorkGroup", "ExecutionParameters"],
        ),
        "amazonathena.getqueryexecution" => (&["QueryExecutionId"], &[]),
        "redshiftdata.executestatement" => (
            &["Sql", "ClientToken"],
            &["Database", "ClusterIdentifier", "WorkgroupName", "DbUser", "SecretArn", "StatementName"],
        ),
        "redshiftdata.describestatement" => (&["Id"], &[]),
        other => return Some(format!("there is no operation {other}")),
    };
    let members = body.as_object().expect("an object");
    if let Some(missing) = required.iter().find(|name| !members.contains_key(**name)) {
        return Some(format!("{missing} is missing"));
    }
    let unknown = members.keys().find(|name| !required.contains(&name.as_str()) && !known.contains(&name.as_str()));
    if let Some(unknown) = unknown {
        return Some(format!("{unknown} is not known"));
    }
    let token = body["ClientRequestToken"].as_str().map(|token| (token, 32..=128));
    let token = token.or(body["ClientToken"].as_str().map(|token| (token, 1..=64)));
    token.filter(|(token, lengths)| !lengths.contains(&token.len())).map(|(token, _)| format!("the token {token}"))
}

#[test]
fn athena_runs_each_statement_once_and_is_asked_until_it_has_ended() {
    let stand = Stand::start("athena", "2023-01-02'", &[("QUEUED", ""), ("RUNNING", "")]);
    let ran = stand.run("athena", &["--workgroup", "fleet", "--results", "s3://ops/athena/"]).done();
    assert_snapshot!(ran, @r"
    seen: the table (query q-0)
    seen 2023-01-01: the rows (query q-1)
    seen 2023-01-01: the partition (query q-2)
    seen 2023-01-01: its place (query q-3)
    seen 2023-01-02: the rows (query q-4)
    seen 2023-01-02: the partition (query q-5)
    seen 2023-01-02: its place (query q-6)
    ");
    let begun = stand.begun();
    assert_eq!(begun.len(), 7);
    for call in &begun {
        assert_eq!(call["QueryExecutionContext"], json!({"Database": "fleet"}));
        assert_eq!(call["ResultConfiguration"], json!({"OutputLocation": "s3://ops/athena/"}));
        assert_eq!(call["WorkGroup"], "fleet");
    }
    // What is run is what is printed.
    let mut text = String::new();
    for call in &begun {
        text.extend([call["QueryString"].as_str().expect("a text"), ";\n\n"]);
    }
    let printed = {
        let models = tempfile::tempdir().expect("a folder");
        std::fs::write(models.path().join("seen.sql"), MODEL).expect("written");
        let mut command = program();
        command.args(["mart", "sql", "--engine", "athena", "--database", "fleet", "--mart", "s3://lake/mart"]);
        command.args(["--from", "2023-01-01", "--to", "2023-01-02", "--now", "2023-01-03T02:00:00Z"]);
        run(command.arg("--models").arg(models.path())).done()
    };
    assert_eq!(printed, format!("-- seen: a vehicle on a day\n{text}"));
}

#[test]
fn redshift_runs_them_in_a_cluster_or_a_workgroup_and_the_table_may_be_there() {
    let there = [("PICKED", ""), ("FAILED", "ERROR: Relation \"seen\" already exists")];
    let stand = Stand::start("redshift-data", "create external table", &there);
    let of = ["--redshift-database", "dev", "--workgroup", "fleet"];
    stand.run("redshift", &of).done();
    let begun = stand.begun();
    assert_eq!(begun.len(), 7);
    assert_eq!((&begun[0]["Database"], &begun[0]["WorkgroupName"]), (&json!("dev"), &json!("fleet")));
    let stand = Stand::start("redshift-data", "none", &[]);
    stand.run("redshift", &["--redshift-database", "dev", "--cluster", "c", "--db-user", "etl"]).done();
    let begun = &stand.begun()[0];
    assert_eq!((&begun["ClusterIdentifier"], &begun["DbUser"]), (&json!("c"), &json!("etl")));
}

#[test]
fn a_statement_that_fails_is_the_last_one_and_is_named_with_its_query_and_the_reason() {
    let stand = Stand::start("athena", "unload", &[("RUNNING", ""), ("FAILED", "HIVE_BAD_DATA: no number")]);
    let ran = stand.run("athena", &[]);
    assert_eq!((ran.status, stand.begun().len()), (Some(2), 2));
    let said = "fms mart: seen 2023-01-01: the rows failed on Athena (query q-1): HIVE_BAD_DATA: no number\n";
    assert!(ran.error.ends_with(said), "{}", ran.error);
    // Another process begins all statements anew, although they are the same to the letter.
    let ran = stand.run("athena", &[]).done();
    assert!(ran.starts_with("seen: the table (query q-2)\nseen 2023-01-01: the rows (query q-3)\n"), "{ran}");
    let begun = stand.begun();
    assert_eq!(begun.len(), 2 + 7);
    assert_eq!(begun[1]["QueryString"], begun[3]["QueryString"]);
    let stand = Stand::start("redshift-data", "add if not exists", &[("ABORTED", "")]);
    let ran = stand.run("redshift", &["--redshift-database", "dev", "--workgroup", "fleet"]);
    assert!(ran.error.contains("(query q-2): ABORTED"), "{}", ran.error);
    stand.run("redshift", &["--redshift-database", "dev", "--workgroup", "fleet"]).done();
    assert_eq!(stand.begun().len(), 3 + 7);
    // What the service does not take is an error of its own.
    let stand = Stand::start("redshift-data", "none", &[]);
    let ran = stand.run("athena", &[]);
    assert!(ran.error.contains("Athena does not take seen: the table: ValidationException"), "{}", ran.error);
}

#[test]
fn where_statements_run_has_to_be_said() {
    let stand = Stand::start("redshift-data", "none", &[]);
    for (engine, more, expected) in [
        ("redshift", &["--workgroup", "w"][..], "--redshift-database"),
        ("redshift", &["--redshift-database", "dev"], "--cluster NAME"),
        (
            "redshift",
            &["--redshift-database", "dev", "--cluster", "c", "--results", "s3://a"],
            "--results is for Athena",
        ),
        ("athena", &["--cluster", "c"], "are for Redshift"),
    ] {
        let ran = stand.run(engine, more);
        assert!(ran.status == Some(2) && ran.error.contains(expected), "{}", ran.error);
    }
    assert_eq!(stand.begun(), [Value::Null; 0]);
}
