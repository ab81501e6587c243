//! One call: it is retried, and its answer read.

use aws_config::SdkConfig;
use fms_aws::{Error, Json, Retry, Service};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The catalog's service.
const GLUE: Service = Service { id: "Glue", name: "glue", target: "AWSGlue" };

/// A client for the catalog. Every call is retried; an error is that of the last attempt.
#[derive(Debug, Clone)]
pub struct Glue {
    json: Json,
    pub(crate) retry: Retry,
    count: Option<Count>,
}

/// Is told of the end of every attempt of a call.
type Count = fn(operation: &'static str, answer: Result<(), &Error>);

impl Glue {
    /// A client with the HTTP client, credentials, region, endpoint and timeouts of `config`. A region or credentials
    /// that are missing are an error of the first call.
    pub fn new(config: &SdkConfig, retry: Retry) -> Self {
        Self { json: Json::new(config, GLUE), retry, count: None }
    }

    /// The same client, which calls `count` after every attempt of a call, with the operation and what came of it.
    #[must_use]
    pub fn counting(self, count: fn(&'static str, Result<(), &Error>)) -> Self {
        Self { count: Some(count), ..self }
    }

    /// Calls an operation on something, such as a table, which the log names.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        target: &str,
        body: &Value,
    ) -> Result<T, Error> {
        let call = || async {
            let answer = self.json.call(operation, body).await;
            if let Some(count) = self.count {
                count(operation, answer.as_ref().map(drop));
            }
            answer
        };
        let answer = self.retry.run(format!("{operation} {target}"), Error::verdict, call).await?;
        self.json.read(answer)
    }
}

/// Whether the error says that a database, table or partition does not exist.
pub fn missing(error: &Error) -> bool {
    error.code() == Some("EntityNotFoundException")
}

/// Whether the error says that what was to be created exists.
pub fn already_exists(error: &Error) -> bool {
    error.code() == Some("AlreadyExistsException")
}

/// Whether the error says that somebody has changed the table since the version was read that was to be replaced.
pub fn modified_meanwhile(error: &Error) -> bool {
    error.code() == Some("ConcurrentModificationException")
}

#[cfg(test)]
pub(crate) mod tests;
