//! The sink as `connector.class` names it: its keys, and its start.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use fms_connect::{Config, ConfigError, Key, SinkConnector, TaskFactory, ValueType};
use tokio::runtime::Handle;

use crate::table::{PARTITION_KEY, SORT_KEY, TABLE, Table};
use crate::task::Task;

/// How long one attempt of a call may take. Even a full batch takes well under a second, and a connection that has gone
/// silent should not hold up its keys for long.
const READ: Duration = Duration::from_secs(10);

const KEYS: &[Key] = &[
    Key::new(
        TABLE,
        ValueType::Text,
        "Rows are written to the table of this name or ARN, which has to exist. The names and types of its \
         key attributes are read from it",
    )
    .required()
    .high(),
    Key::new(
        PARTITION_KEY,
        ValueType::Template,
        "This template fills in the partition key. If it is unset, the row's field of the attribute's name is \
         used. Rows with equal keys become one item: as long as one task owns the Kafka partition, the row \
         with the highest offset stays, but after a rebalance a late call of the former owner can leave an \
         older row",
    )
    .high()
    .risk(
        "All rows that differ are kept only if one of the two templates has `${@digest}`. `${@offset}` and \
         `${@index}` name a place in Kafka instead, so a row that the producer sends twice becomes two items. \
         `${@key}` and `${@header.NAME}` have to be UTF-8 text; otherwise the row is refused",
    ),
    Key::new(
        SORT_KEY,
        ValueType::Template,
        "This template fills in the sort key, if the table has one. If it is unset, the row's field of the \
         attribute's name is used",
    )
    .high()
    .risk("Rows with equal keys become one item, see `dynamodb.partition.key`"),
];

/// The DynamoDB sink.
#[derive(Debug, Clone, Default)]
pub struct DynamoDbSink {
    aws: Option<SdkConfig>,
}

impl DynamoDbSink {
    /// A sink with this configuration instead of that of the environment. The SDK's own retries should be off in it.
    pub fn with_aws(aws: SdkConfig) -> Self {
        Self { aws: Some(aws) }
    }
}

impl SinkConnector for DynamoDbSink {
    fn classes(&self) -> &'static [&'static str] {
        &["DynamoDbSink"]
    }

    fn keys(&self) -> &'static [Key] {
        KEYS
    }

    fn start(&self, config: &Config, runtime: &Handle) -> Result<TaskFactory, ConfigError> {
        let aws = self.aws.clone().unwrap_or_else(|| fms_aws::load(runtime));
        let timeouts = aws.timeout_config().map_or_else(TimeoutConfig::builder, TimeoutConfig::to_builder);
        let settings = aws_sdk_dynamodb::config::Builder::from(&aws)
            .timeout_config(timeouts.read_timeout(READ).operation_attempt_timeout(READ).build())
            .build();
        let table = Arc::new(runtime.block_on(Table::describe(config, Client::from_conf(settings)))?);
        Ok(Arc::new(move |context| Box::new(Task::new(Arc::clone(&table), context))))
    }
}
