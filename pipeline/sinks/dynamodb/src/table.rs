//! The table that rows are written to, and its key as DynamoDB describes it.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, KeyType as Role, ScalarAttributeType, TableDescription, TableStatus,
};
use fms_aws::Verdict;
use fms_connect::{Config, ConfigError, RetryLimits};
use fms_record::Template;

use crate::key::{KeyAttribute, KeySchema, KeyType};
use crate::write;

/// How long describing the table is retried, because the service or the table may be just being created.
const PATIENCE: Duration = Duration::from_secs(5);

/// Name of the table's configuration key.
pub const TABLE: &str = "dynamodb.table";
/// Name of the partition key's configuration key.
pub const PARTITION_KEY: &str = "dynamodb.partition.key";
/// Name of the sort key's configuration key.
pub const SORT_KEY: &str = "dynamodb.sort.key";

/// A table and the client for it.
#[derive(Debug, Clone)]
pub struct Table {
    /// Name or ARN.
    pub name: String,
    /// Its key.
    pub key: KeySchema,
    /// The client that calls it.
    pub client: Client,
}

/// Why the table cannot be used.
#[derive(Debug, thiserror::Error)]
enum DescribeError {
    #[error("{0}")]
    Call(#[from] fms_aws::Error),
    #[error("the table is {0}")]
    Status(TableStatus),
    #[error("the answer describes no table")]
    Empty,
}

impl DescribeError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Call(error) => error.verdict_at_start(),
            Self::Status(TableStatus::Creating) => Verdict::Transient("table-creating"),
            Self::Status(_) | Self::Empty => Verdict::Permanent,
        }
    }

    fn advice(&self) -> &'static str {
        match self {
            Self::Call(error) => match (error.code(), error.verdict_at_start()) {
                (Some("ResourceNotFoundException"), _) => {
                    "create the table, or correct the name, the region (`AWS_REGION`) or the endpoint"
                }
                (Some("AccessDeniedException"), _) => {
                    "allow dynamodb:DescribeTable and dynamodb:BatchWriteItem on it for these credentials"
                }
                (Some("ValidationException"), _) => "a table's name has 3 to 255 of the characters a-z A-Z 0-9 _ - .",
                (
                    Some(
                        "UnrecognizedClientException"
                        | "InvalidSignatureException"
                        | "MissingAuthenticationTokenException"
                        | "IncompleteSignatureException"
                        | "ExpiredTokenException",
                    ),
                    _,
                ) => "check the AWS credentials (environment, profile or role)",
                (None, Verdict::Permanent) => "check the region (`AWS_REGION`) and the endpoint (`AWS_ENDPOINT_URL`)",
                (None, Verdict::Transient("dispatch")) => {
                    "check the AWS credentials: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, a profile, or the \
                     role of the machine"
                }
                (_, Verdict::Throttled(_) | Verdict::Transient(_)) => {
                    "check that the endpoint (`AWS_ENDPOINT_URL`, `AWS_REGION`) can be reached from here"
                }
                (Some(_), Verdict::Permanent) => "repair what DynamoDB names",
            },
            Self::Status(_) => "wait until it is ACTIVE",
            Self::Empty => "check that the endpoint is DynamoDB's",
        }
    }
}

impl Table {
    /// Describes the table that the configuration names, and combines its key with the configured templates.
    pub async fn describe(config: &Config, client: Client) -> Result<Self, ConfigError> {
        let name = config.text(TABLE).to_owned();
        let retry = write::retry(
            config.name(),
            0,
            RetryLimits { timeout: Some(PATIENCE), delay_max: Duration::from_millis(500) },
        );
        let described = retry
            .run(format_args!("DescribeTable of `{name}`"), DescribeError::verdict, || describe(&client, &name))
            .await
            .map_err(|error| config.error(TABLE, format!("cannot look at the table: {error}; {}", error.advice())))?;
        let key = key_schema(config, &described)?;
        Ok(Self { name, key, client })
    }
}

async fn describe(client: &Client, name: &str) -> Result<TableDescription, DescribeError> {
    let output = client.describe_table().table_name(name).send().await.map_err(fms_aws::Error::from)?;
    let table = output.table.ok_or(DescribeError::Empty)?;
    match &table.table_status {
        Some(TableStatus::Active | TableStatus::Updating) | None => Ok(table),
        Some(status) => Err(DescribeError::Status(status.clone())),
    }
}

fn key_schema(config: &Config, table: &TableDescription) -> Result<KeySchema, ConfigError> {
    let attribute = |role: &Role| table.key_schema().iter().find(|element| element.key_type() == role);
    let Some(partition) = attribute(&Role::Hash) else {
        return Err(config.error(TABLE, "the table has no partition key; check that the endpoint is DynamoDB's"));
    };
    let partition = key_attribute(config, table, PARTITION_KEY, partition.attribute_name(), 2048)?;
    let sort = match attribute(&Role::Range) {
        Some(sort) => Some(key_attribute(config, table, SORT_KEY, sort.attribute_name(), 1024)?),
        None if config.get(SORT_KEY).is_some() => {
            return Err(config.error(
                SORT_KEY,
                format!(
                    "table `{}` has no sort key (its partition key is `{}`); remove the key, or create the table with \
                     a sort key",
                    config.text(TABLE),
                    partition.name
                ),
            ));
        }
        None => None,
    };
    Ok(KeySchema { partition, sort })
}

/// A key attribute with its template: the configured one, or else that of the row's field with the attribute's name.
fn key_attribute(
    config: &Config,
    table: &TableDescription,
    key: &'static str,
    name: &str,
    limit: usize,
) -> Result<KeyAttribute, ConfigError> {
    let definition = table.attribute_definitions().iter().find(|definition| definition.attribute_name() == name);
    let kind = match definition.map(AttributeDefinition::attribute_type) {
        Some(ScalarAttributeType::S) => KeyType::Text,
        Some(ScalarAttributeType::N) => KeyType::Number,
        other => {
            let kind = other.map_or("unknown", ScalarAttributeType::as_str);
            return Err(config.error(
                TABLE,
                format!(
                    "its key attribute `{name}` is of type {kind}; rows are JSON and can fill in the types S and \
                     N: create the table with one of these"
                ),
            ));
        }
    };
    let source = config.get(key).map_or_else(|| format!("${{{name}}}"), Into::into);
    let template = Template::parse(&source).map_err(|problem| config.error(key, problem))?;
    if config.get(key).is_none() && !template.fields().eq([name]) {
        return Err(config.error(
            key,
            format!("the name of key attribute `{name}` does not stand for a row's field: set a template"),
        ));
    }
    Ok(KeyAttribute { name: name.into(), kind, limit, template, setting: key })
}
