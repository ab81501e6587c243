//! The calls to Glue: databases, tables with their versions, partitions in batches, and expressions over partitions.
//!
//! The real service has no stand-in that is right in everything, so the embedded one is compared with moto, whose known
//! mistakes are among the listed differences. Moto is a package of Python: `python3`, or the interpreter that
//! `E2E_PYTHON` names, has to have it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use crate::answers::Answers;

/// The members of answers that differ from run to run, say who made the call, or are chosen by the service.
const VARYING: [&str; 11] = [
    "CatalogId",
    "CreateTime",
    "CreatedBy",
    "CreationTime",
    "IsRegisteredWithLakeFormation",
    "LastAccessTime",
    "Message",
    "ErrorMessage",
    "NextToken",
    "UpdateTime",
    "VersionId",
];

/// The server of moto. It ends with this value, as its standard input is closed then.
pub struct Moto {
    /// Where it serves Glue.
    pub endpoint: String,
    process: Child,
}

impl Moto {
    /// Starts moto. An error says why it cannot be started, in words for whoever runs the tests.
    pub fn start() -> Result<Self, String> {
        const SERVE: &str = "import sys; from moto.server import ThreadedMotoServer as S; \
             s = S(ip_address='127.0.0.1', port=0, verbose=False); s.start(); \
             print('http://%s:%s' % s.get_host_and_port(), flush=True); sys.stdin.read(); s.stop()";
        let python = std::env::var("E2E_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let help = format!(
            "`{python}` cannot run moto; `pip install -r e2e/suite/tests/services/requirements.txt`, or name another interpreter in E2E_PYTHON"
        );
        let mut process = Command::new(&python)
            .args(["-c", SERVE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{help}: {error}"))?;
        let output = process.stdout.take().ok_or("moto has no standard output")?;
        let mut endpoint = String::new();
        // The first line says the address; there is none if Python ended with an error.
        BufReader::new(output).read_line(&mut endpoint).map_err(|error| format!("{help}: {error}"))?;
        let moto = Self { endpoint: endpoint.trim().to_owned(), process };
        if moto.endpoint.is_empty() { Err(help) } else { Ok(moto) }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // It has been told to end; whether it did is of no importance to a test.
        let _ = self.process.wait();
    }
}

/// Makes all calls in order.
pub fn calls(runtime: &Runtime, endpoint: &str) -> Result<Answers, String> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut glue = Glue { client, endpoint: endpoint.to_owned(), answers: Answers::new("no namespace") };
    runtime.block_on(async {
        databases(&mut glue).await?;
        tables(&mut glue).await?;
        partitions(&mut glue).await?;
        expressions(&mut glue).await?;
        changes(&mut glue).await?;
        ends(&mut glue).await
    })?;
    Ok(glue.answers)
}

async fn databases(glue: &mut Glue) -> Result<(), String> {
    let create = json!({"DatabaseInput": {"Name": "fleet", "Description": "vehicles"}});
    glue.call("create a database", "CreateDatabase", create.clone()).await?;
    glue.call("create a database that exists", "CreateDatabase", create).await?;
    glue.call("get a database", "GetDatabase", json!({"Name": "fleet"})).await?;
    glue.call("get a database that does not exist", "GetDatabase", json!({"Name": "none"})).await?;
    glue.call("get all databases", "GetDatabases", json!({})).await
}

/// A table with these columns.
fn table(name: &str, columns: &[(&str, &str)]) -> Value {
    let columns: Vec<_> = columns.iter().map(|(name, kind)| json!({"Name": name, "Type": kind})).collect();
    json!({
        "Name": name,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"classification": "parquet"},
        "PartitionKeys": [{"Name": "ymd", "Type": "string"}, {"Name": "hour", "Type": "string"}],
        "StorageDescriptor": {"Columns": columns, "Location": format!("s3://lake/{name}/")},
    })
}

async fn tables(glue: &mut Glue) -> Result<(), String> {
    let of = |table: Value| json!({"DatabaseName": "fleet", "TableInput": table});
    let named = |name: &str| json!({"DatabaseName": "fleet", "Name": name});
    let one = [("id", "bigint"), ("tags", "array<struct<a:string,b:map<string,int>>>")];
    glue.call("create a table", "CreateTable", of(table("tire", &one))).await?;
    glue.call("create a table that exists", "CreateTable", of(table("tire", &one))).await?;
    let elsewhere = json!({"DatabaseName": "none", "TableInput": table("tire", &one)});
    glue.call("create a table in no database", "CreateTable", elsewhere).await?;
    glue.call("create a table of upper case", "CreateTable", of(table("Upper", &one))).await?;
    glue.call("get it by lower case", "GetTable", named("upper")).await?;
    glue.call("create with a column twice", "CreateTable", of(table("twice", &[("a", "int"), ("A", "int")]))).await?;
    glue.call("create with a type that is none", "CreateTable", of(table("odd", &[("a", "array<")]))).await?;
    glue.call("get a table", "GetTable", named("tire")).await?;
    glue.call("get a table that does not exist", "GetTable", named("none")).await?;
    let two = table("tire", &[one[0], one[1], ("pressure", "double")]);
    let update =
        |version: &str| json!({"DatabaseName": "fleet", "TableInput": two, "VersionId": version, "SkipArchive": false});
    let version = glue.version().await?;
    glue.call("update a table", "UpdateTable", update(&version)).await?;
    glue.call("update it by the version before", "UpdateTable", update(&version)).await?;
    let none = json!({"DatabaseName": "fleet", "TableInput": table("none", &one)});
    glue.call("update a table that does not exist", "UpdateTable", none).await?;
    glue.call("get the updated table", "GetTable", named("tire")).await?;
    glue.call("get tables by an expression", "GetTables", json!({"DatabaseName": "fleet", "Expression": "ti.*"})).await
}

/// A partition of the table.
fn partition(day: &str, hour: &str) -> Value {
    json!({"Values": [day, hour], "StorageDescriptor": {
        "Columns": [{"Name": "id", "Type": "bigint"}], "Location": format!("s3://lake/tire/{day}/{hour}/")}})
}

/// The input of a call about the table's partitions, with further members.
fn of_table(more: Value) -> Value {
    let mut input = json!({"DatabaseName": "fleet", "TableName": "tire"});
    if let (Value::Object(input), Value::Object(more)) = (&mut input, more) {
        input.extend(more);
    }
    input
}

async fn partitions(glue: &mut Glue) -> Result<(), String> {
    let batch = |partitions: Vec<Value>| of_table(json!({"PartitionInputList": partitions}));
    let day = |day: &str| (0..4).map(|hour| partition(day, &format!("0{hour}"))).collect::<Vec<_>>();
    glue.call("create partitions", "BatchCreatePartition", batch(day("2023-01-01"))).await?;
    let mut more = day("2023-01-02");
    more.push(partition("2023-01-01", "03"));
    glue.call("create partitions, one of which exists", "BatchCreatePartition", batch(more)).await?;
    let create = |partition: Value| of_table(json!({"PartitionInput": partition}));
    glue.call("create a partition", "CreatePartition", create(partition("타이어", "a/b c"))).await?;
    glue.call("create a partition that exists", "CreatePartition", create(partition("타이어", "a/b c"))).await?;
    let short = json!({"Values": ["2023-01-03"]});
    glue.call("create a partition with too few values", "CreatePartition", create(short)).await?;
    let many = (0..101).map(|hour| partition("2023-01-04", &hour.to_string())).collect();
    glue.call("create 101 partitions", "BatchCreatePartition", batch(many)).await?;
    let get = |day: &str, hour: &str| of_table(json!({"PartitionValues": [day, hour]}));
    glue.call("get a partition", "GetPartition", get("2023-01-01", "03")).await?;
    glue.call("get a partition of odd values", "GetPartition", get("타이어", "a/b c")).await?;
    glue.call("get a partition that does not exist", "GetPartition", get("2023-01-09", "03")).await?;
    let some = json!({"PartitionsToGet": [{"Values": ["2023-01-01", "00"]}, {"Values": ["2023-01-09", "00"]}]});
    glue.call("get partitions, one of which is none", "BatchGetPartition", of_table(some)).await?;
    let none = json!({"DatabaseName": "fleet", "TableName": "none"});
    glue.call("get the partitions of no table", "GetPartitions", none).await
}

/// Which partitions an expression chooses.
async fn expressions(glue: &mut Glue) -> Result<(), String> {
    for expression in [
        "ymd = '2023-01-01'",
        "ymd = '2023-01-01' and hour >= '02'",
        "ymd = '2023-01-01' AND (hour = '00' OR hour = '03')",
        "hour in ('00', '02') and ymd = '2023-01-02'",
        "ymd between '2023-01-01' and '2023-01-01'",
        "ymd like '2023-01-0_' and hour = '01'",
        "hour <> '01' and ymd = '2023-01-02'",
        "not (hour = '01') and ymd = '2023-01-02'",
        "colour = 'red'",
        "ymd = ",
    ] {
        let input = of_table(json!({"Expression": expression}));
        glue.values(&format!("partitions where {expression}"), input).await?;
    }
    Ok(())
}

async fn changes(glue: &mut Glue) -> Result<(), String> {
    let mut moved = partition("2023-01-01", "00");
    moved["StorageDescriptor"]["Location"] = json!("s3://lake/moved/");
    let one = json!({"PartitionValueList": ["2023-01-01", "00"], "PartitionInput": moved});
    glue.call("update a partition", "UpdatePartition", of_table(one)).await?;
    let get = of_table(json!({"PartitionValues": ["2023-01-01", "00"]}));
    glue.call("get the updated partition", "GetPartition", get).await?;
    let none = json!({"PartitionValueList": ["2023-01-09", "00"], "PartitionInput": partition("2023-01-09", "00")});
    glue.call("update a partition that does not exist", "UpdatePartition", of_table(none.clone())).await?;
    let some = json!({"PartitionValueList": ["2023-01-01", "01"], "PartitionInput": partition("2023-01-01", "01")});
    let entries = of_table(json!({"Entries": [some, none]}));
    glue.call("update partitions, one of which is none", "BatchUpdatePartition", entries).await?;
    let gone = json!({"PartitionsToDelete": [{"Values": ["2023-01-01", "00"]}, {"Values": ["2023-01-09", "00"]}]});
    glue.call("delete partitions, one of which is none", "BatchDeletePartition", of_table(gone)).await?;
    let gone = json!({"PartitionValues": ["2023-01-01", "01"]});
    glue.call("delete a partition", "DeletePartition", of_table(gone.clone())).await?;
    glue.call("delete the partition again", "DeletePartition", of_table(gone)).await?;
    glue.values("the partitions that are left", of_table(json!({"Expression": "ymd = '2023-01-01'"}))).await
}

async fn ends(glue: &mut Glue) -> Result<(), String> {
    let named = json!({"DatabaseName": "fleet", "Name": "tire"});
    glue.call("delete a table", "DeleteTable", named.clone()).await?;
    glue.call("delete the table again", "DeleteTable", named.clone()).await?;
    glue.call("get the deleted table", "GetTable", named).await?;
    glue.call("delete a database", "DeleteDatabase", json!({"Name": "fleet"})).await?;
    glue.call("delete a database that does not exist", "DeleteDatabase", json!({"Name": "none"})).await
}

/// Glue at one endpoint, and its answers so far.
struct Glue {
    client: Client<HttpConnector, Full<Bytes>>,
    endpoint: String,
    answers: Answers,
}

impl Glue {
    /// Makes a call and adds its answer, without what varies.
    async fn call(&mut self, call: &str, operation: &str, input: Value) -> Result<(), String> {
        let answer = match self.send(operation, &input).await? {
            Ok(answer) => format!("ok {}", without_varying(answer)),
            Err(error) => error,
        };
        self.answers.add(call, answer);
        Ok(())
    }

    /// Adds the values of the partitions that a call gives, sorted.
    async fn values(&mut self, call: &str, input: Value) -> Result<(), String> {
        let answer = match self.send("GetPartitions", &input).await? {
            Ok(answer) => {
                let partitions = answer["Partitions"].as_array().cloned().unwrap_or_default();
                let mut values: Vec<String> =
                    partitions.iter().map(|partition| partition["Values"].to_string()).collect();
                values.sort();
                format!("ok {}", values.join(" "))
            }
            Err(error) => error,
        };
        self.answers.add(call, answer);
        Ok(())
    }

    /// The version of the table.
    async fn version(&self) -> Result<String, String> {
        let table = self.send("GetTable", &json!({"DatabaseName": "fleet", "Name": "tire"})).await??;
        Ok(table["Table"]["VersionId"].as_str().unwrap_or_default().to_owned())
    }

    /// Sends a request. The inner error is the one that the service answers.
    async fn send(&self, operation: &str, input: &Value) -> Result<Result<Value, String>, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{operation} at {}: {error}", self.endpoint);
        let request = Request::post(&self.endpoint)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("AWSGlue.{operation}"))
            // Moto tells services apart by the scope of the signature, which it does not check.
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=e2e/20230101/us-east-1/glue/aws4_request, SignedHeaders=host, Signature=0",
            )
            .body(Full::from(input.to_string()))
            .map_err(|error| failed(&error))?;
        let response = self.client.request(request).await.map_err(|error| failed(&error))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| failed(&error))?.to_bytes();
        let answer: Value = if body.is_empty() { json!({}) } else { serde_json::from_slice(&body).unwrap_or_default() };
        if status.is_success() {
            return Ok(Ok(answer));
        }
        let code = answer["__type"].as_str().unwrap_or("without a code");
        Ok(Err(format!("error {} {}", code.rsplit('#').next().unwrap_or(code), status.as_u16())))
    }
}

/// An answer without members that vary, are null or are empty, at every level.
fn without_varying(answer: Value) -> Value {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    match answer {
        Value::Object(members) => {
            let members = members.into_iter().filter(|(name, _)| !VARYING.contains(&name.as_str()));
            let members = members.map(|(name, value)| (name, without_varying(value)));
            Value::Object(members.filter(|(_, value)| !is_empty(value)).collect::<Map<_, _>>())
        }
        Value::Array(list) => list.into_iter().map(without_varying).collect(),
        other => other,
    }
}
