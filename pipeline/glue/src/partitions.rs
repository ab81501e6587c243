//! The operations on partitions. Glue takes a limited number of them in a call; here they may be any number.

use std::fmt;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::ErrorMetadata;
use fms_aws::Error;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::Glue;
use crate::model::{Partition, PartitionInput};
use crate::tables::target;

/// The most partitions that Glue creates or updates in a call.
const WRITTEN: usize = 100;
/// The most partitions that Glue gives by their values in a call.
const READ: usize = 1000;
/// The most partitions that Glue deletes in a call.
const DELETED: usize = 25;

/// A partition that could not be written, while others of the call were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The partition's values.
    pub values: Vec<String>,
    /// Glue's code for the error.
    pub code: String,
    /// What Glue says of it.
    pub message: String,
}

impl Failed {
    /// Whether the partition exists already.
    pub fn already_exists(&self) -> bool {
        self.code == "AlreadyExistsException"
    }

    /// Whether the partition does not exist.
    pub fn missing(&self) -> bool {
        self.code == "EntityNotFoundException"
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.values.join("/"), self.code, self.message)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PartitionsAnswer {
    #[serde(default)]
    partitions: Vec<Partition>,
    next_token: Option<String>,
    #[serde(default)]
    unprocessed_keys: Vec<Values>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Values {
    values: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BatchAnswer {
    #[serde(default)]
    errors: Vec<EntryError>,
}

/// An error as the operations on batches give it: `BatchUpdatePartition` names the list of values differently.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EntryError {
    #[serde(alias = "PartitionValueList", default)]
    partition_values: Vec<String>,
    #[serde(default)]
    error_detail: ErrorDetail,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ErrorDetail {
    error_code: String,
    error_message: String,
}

impl Glue {
    /// The partitions that fit an expression such as `ymd >= '2022-12-25'`, or all.
    pub async fn partitions(
        &self,
        database: &str,
        table: &str,
        expression: Option<&str>,
    ) -> Result<Vec<Partition>, Error> {
        let mut partitions = Vec::new();
        let mut body = json!({ "DatabaseName": database, "TableName": table });
        if let Some(expression) = expression {
            body["Expression"] = expression.into();
        }
        loop {
            let page: PartitionsAnswer = self.call("GetPartitions", &target(database, table), &body).await?;
            partitions.extend(page.partitions);
            match page.next_token {
                Some(token) if !token.is_empty() => body["NextToken"] = token.into(),
                _ => return Ok(partitions),
            }
        }
    }

    /// The partitions with these values, as far as they exist, in any order. If Glue looks for none of them, that is
    /// tried again like a call that failed, and then an error that names the first of them.
    pub async fn partitions_by_values(
        &self,
        database: &str,
        table: &str,
        values: &[Vec<String>],
    ) -> Result<Vec<Partition>, Error> {
        let mut partitions = Vec::new();
        let mut left: Vec<Vec<String>> = values.to_vec();
        while !left.is_empty() {
            let chunk: Vec<_> = left.drain(..left.len().min(READ)).collect();
            let keys: Vec<Value> = chunk.iter().map(|values| json!({ "Values": values })).collect();
            let body = json!({ "DatabaseName": database, "TableName": table, "PartitionsToGet": keys });
            let page = || async {
                let page: PartitionsAnswer = self.call("BatchGetPartition", &target(database, table), &body).await?;
                let is_of_use = !page.partitions.is_empty() || page.unprocessed_keys.is_empty();
                if is_of_use { Ok(page) } else { Err(unprocessed(&page.unprocessed_keys)) }
            };
            let what = format!("BatchGetPartition {}", target(database, table));
            let page = self.retry.run(what, Error::verdict, page).await?;
            // Glue leaves keys for a next call when it gave a part of them.
            left.extend(page.unprocessed_keys.into_iter().map(|key| key.values));
            partitions.extend(page.partitions);
        }
        Ok(partitions)
    }

    /// Creates partitions. Gives those that could not be created, and why; of a partition whose creation was repeated
    /// because the answer was lost, it says that it exists.
    pub async fn create_partitions(
        &self,
        database: &str,
        table: &str,
        partitions: &[PartitionInput],
    ) -> Result<Vec<Failed>, Error> {
        let mut failed = Vec::new();
        for chunk in partitions.chunks(WRITTEN) {
            let body = json!({ "DatabaseName": database, "TableName": table, "PartitionInputList": chunk });
            let answer = self.call("BatchCreatePartition", &target(database, table), &body).await?;
            failed.extend(failures(answer));
        }
        Ok(failed)
    }

    /// Replaces partitions, each by one with the same values. Gives those that could not be replaced, and why.
    pub async fn update_partitions(
        &self,
        database: &str,
        table: &str,
        partitions: &[PartitionInput],
    ) -> Result<Vec<Failed>, Error> {
        let mut failed = Vec::new();
        for chunk in partitions.chunks(WRITTEN) {
            let entry = |input: &PartitionInput| json!({ "PartitionValueList": input.values, "PartitionInput": input });
            let entries: Vec<Value> = chunk.iter().map(entry).collect();
            let body = json!({ "DatabaseName": database, "TableName": table, "Entries": entries });
            let answer = self.call("BatchUpdatePartition", &target(database, table), &body).await?;
            failed.extend(failures(answer));
        }
        Ok(failed)
    }

    /// Deletes partitions, but not their files. Gives those that could not be deleted, and why.
    pub async fn delete_partitions(
        &self,
        database: &str,
        table: &str,
        values: &[Vec<String>],
    ) -> Result<Vec<Failed>, Error> {
        let mut failed = Vec::new();
        for chunk in values.chunks(DELETED) {
            let keys: Vec<Value> = chunk.iter().map(|values| json!({ "Values": values })).collect();
            let body = json!({ "DatabaseName": database, "TableName": table, "PartitionsToDelete": keys });
            let answer = self.call("BatchDeletePartition", &target(database, table), &body).await?;
            failed.extend(failures(answer));
        }
        Ok(failed)
    }
}

/// The error of an answer that has nothing but keys for which Glue did not look. It may pass.
fn unprocessed(keys: &[Values]) -> Error {
    let first = keys.first().map(|key| key.values.join("/")).unwrap_or_default();
    let text =
        format!("Glue has not looked for any of the {} partitions asked for, of which {first} is one", keys.len());
    SdkError::<ErrorMetadata, HttpResponse>::timeout_error(text).into()
}

fn failures(answer: BatchAnswer) -> impl Iterator<Item = Failed> {
    answer.errors.into_iter().map(|error| Failed {
        values: error.partition_values,
        code: error.error_detail.error_code,
        message: error.error_detail.error_message,
    })
}
