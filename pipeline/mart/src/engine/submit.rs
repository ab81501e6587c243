//! The statements run on the engine: a call begins each, and others ask for it until it has ended.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use aws_config::SdkConfig;
use fms_aws::{Error, Json, Retry, Service};
use fms_query::program::retry;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{Engine, Statement};

/// The Data API of Redshift, and Athena.
const REDSHIFT: Service = Service { id: "Redshift Data", name: "redshift-data", target: "RedshiftData" };
const ATHENA: Service = Service { id: "Athena", name: "athena", target: "AmazonAthena" };

/// The shortest and the longest time between two questions for a statement.
const WAIT: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Where statements run.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// In a workgroup of Athena, whose results go to a folder of S3. If one of both is not given, it is as the other one, or
    /// the account's own workgroup, says.
    Athena { database: String, workgroup: Option<String>, results: Option<String> },
    /// In a database of Redshift.
    Redshift { database: String, of: Redshift },
}

/// Whose database it is.
#[derive(Debug, Clone)]
pub(crate) enum Redshift {
    /// Of a cluster, as this user or as the one of a secret; as that of the caller if neither is given.
    Cluster { name: String, user: Option<String>, secret: Option<String> },
    /// Of a workgroup of Redshift Serverless, as the caller or as the user of a secret.
    Workgroup { name: String, secret: Option<String> },
}

/// A connection to an engine.
#[derive(Debug)]
pub(crate) struct Session {
    engine: Engine,
    json: Json,
    retry: Retry,
    /// A number of its own, random. The engines answer a token that they know with the statement that it began, also if that
    /// has failed long ago.
    number: u128,
    /// What each call that begins a statement says besides it.
    about: Map<String, Value>,
}

/// How a statement is.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Running,
    Done,
    Failed(String),
}

impl Session {
    /// The statements of this place.
    pub fn new(aws: &SdkConfig, place: &Place) -> Self {
        let (engine, about) = match place {
            Place::Athena { database, workgroup, results } => {
                let results = results.as_ref().map(|folder| json!({ "OutputLocation": folder }));
                let context = Some(json!({ "Database": database }));
                let workgroup = workgroup.as_deref().map(Value::from);
                let about =
                    [("QueryExecutionContext", context), ("WorkGroup", workgroup), ("ResultConfiguration", results)];
                (Engine::Athena, about.to_vec())
            }
            Place::Redshift { database, of } => {
                let text = |text: &Option<String>| text.as_deref().map(Value::from);
                let mut about = vec![("Database", Some(Value::from(database.as_str())))];
                about.extend(match of {
                    Redshift::Cluster { name, user, secret } => {
                        vec![
                            ("ClusterIdentifier", Some(name.as_str().into())),
                            ("DbUser", text(user)),
                            ("SecretArn", text(secret)),
                        ]
                    }
                    Redshift::Workgroup { name, secret } => {
                        vec![("WorkgroupName", Some(name.as_str().into())), ("SecretArn", text(secret))]
                    }
                });
                (Engine::Redshift, about)
            }
        };
        let about = about.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        let service = if engine == Engine::Athena { ATHENA } else { REDSHIFT };
        Self { engine, json: Json::new(aws, service), retry: retry("fms mart"), number: fastrand::u128(..), about }
    }

    /// Runs a statement to its end, and gives the id of its query. A call that is repeated begins it once, for it says in which
    /// session the statement is.
    ///
    /// # Errors
    ///
    /// The engine does not take it, or it fails there. The error names the query.
    pub async fn run(&self, statement: &Statement) -> anyhow::Result<String> {
        let Statement { what, sql, .. } = statement;
        let token = hex::encode(Sha256::digest(format!("{} {sql}", self.number)));
        let (begin, ask, sql_of, token_of, id_of) = match self.engine {
            Engine::Athena => {
                ("StartQueryExecution", "GetQueryExecution", "QueryString", "ClientRequestToken", "QueryExecutionId")
            }
            Engine::Redshift => ("ExecuteStatement", "DescribeStatement", "Sql", "ClientToken", "Id"),
        };
        let mut body = self.about.clone();
        body.extend([(sql_of.to_owned(), sql.as_str().into()), (token_of.to_owned(), token.into())]);
        let answer = self.call(begin, what, &Value::Object(body)).await;
        let answer = answer.map_err(|error| anyhow!("{} does not take {what}: {error}", self.engine.name()))?;
        let id = answer[id_of].as_str().with_context(|| format!("the answer to {begin} has no {id_of}"))?;
        let mut wait = WAIT;
        loop {
            let answer = self.call(ask, what, &json!({ id_of: id })).await;
            let answer = answer.map_err(|error| {
                anyhow!("it is not known what became of {what}: {} says of the query {id}: {error}", self.engine.name())
            })?;
            match self.state(&answer).with_context(|| format!("the query {id} of {what}"))? {
                State::Done => return Ok(id.to_owned()),
                State::Failed(reason) if statement.may_be_there && reason.contains("already exists") => {
                    return Ok(id.to_owned());
                }
                State::Failed(reason) => {
                    bail!("{what} failed on {} (query {id}): {reason}", self.engine.name())
                }
                State::Running => tokio::time::sleep(wait).await,
            }
            wait = (wait * 2).min(WAIT_MAX);
        }
    }

    async fn call(&self, operation: &str, what: &str, body: &Value) -> Result<Value, Error> {
        let call = || self.json.call(operation, body);
        self.retry.run(format!("{operation} of {what}"), Error::verdict_at_start, call).await
    }

    fn state(&self, answer: &Value) -> anyhow::Result<State> {
        let (state, reason) = match self.engine {
            Engine::Athena => {
                let status = &answer["QueryExecution"]["Status"];
                (&status["State"], &status["StateChangeReason"])
            }
            Engine::Redshift => (&answer["Status"], &answer["Error"]),
        };
        let state = state.as_str().with_context(|| format!("{} does not say how it is", self.engine.name()))?;
        let failed = || State::Failed(reason.as_str().filter(|reason| !reason.is_empty()).unwrap_or(state).to_owned());
        Ok(match state {
            "QUEUED" | "RUNNING" | "SUBMITTED" | "PICKED" | "STARTED" => State::Running,
            "SUCCEEDED" | "FINISHED" => State::Done,
            "FAILED" | "CANCELLED" | "ABORTED" => failed(),
            other => bail!("{} says that it is {other}, which is not known here", self.engine.name()),
        })
    }
}
