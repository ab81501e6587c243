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
        "name or ARN of the table, which has to exist; the names and types of its key attributes are read from it",
    )
    .required()
    .high(),
    Key::new(
        PARTITION_KEY,
        ValueType::Template,
        "template of the partition key; by default the row's field of that attribute's name. Rows with equal keys become one item: \
         within one owner of the Kafka partition the row with the highest offset stays, but a late call of a former owner can land \
         after the new owner's and leave an older row",
    )
    .high()
    .risk("only a key with `${@digest}` in one of the two templates keeps all rows that differ; `${@offset}` and `${@index}` name a place in Kafka \
          instead, so that what a producer sends twice is two items; `${@key}` and `${@header.NAME}` have to be UTF-8 text, else the row is \
          refused"),
    Key::new(
        SORT_KEY,
        ValueType::Template,
        "template of the sort key, if the table has one; by default the row's field of that attribute's name",
    )
    .high()
    .risk("rows with equal keys become one item, see `dynamodb.partition.key`"),
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
