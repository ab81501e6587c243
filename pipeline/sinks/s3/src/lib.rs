//! The S3 sink: rows as JSON lines in objects whose names and bytes depend on the records and a committed intent alone.
//!
//! The rows of a record get their folders from the `partitioner` and join the objects of the open generation in their
//! `partition`. An `object` compresses its rows in a `writer`, which cuts them into parts. Parts are uploaded ahead
//! (`uploads`), but an object appears only after the intent of its flush is committed, and never in place of another
//! (`store`, `content`). `rotation` decides when a generation ends. `layout` has everything that names and bytes depend
//! on, `settings` the rest, and `keys` lists what can be configured.
//!
//! ```text
//! <topics.dir>/<topic>/<folders>/<topic>+<partition>+<offset at which the flush starts>.json[.gz|.zst]
//! ```

mod content;
mod extractor;
mod keys;
mod layout;
mod metrics;
mod object;
mod partition;
mod partitioner;
mod pool;
mod recent;
mod rotation;
mod settings;
mod store;
mod task;
mod uploads;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use aws_config::SdkConfig;
use fms_connect::{Config, ConfigError, ExclusiveTarget, Key, SinkConnector, TaskFactory};
use tokio::runtime::Handle;

use crate::keys::KEYS;
use crate::settings::S3Settings;
use crate::task::S3Task;

/// The sink that `connector.class` = `S3Sink` names.
#[derive(Debug, Clone, Default)]
pub struct S3Sink {
    aws: Option<SdkConfig>,
}

impl S3Sink {
    /// A sink with this configuration instead of that of the environment. The SDK's own retries should be off in it.
    pub fn with_aws(aws: SdkConfig) -> Self {
        Self { aws: Some(aws) }
    }
}

impl SinkConnector for S3Sink {
    fn classes(&self) -> &'static [&'static str] {
        &["S3Sink", "io.confluent.connect.s3.S3SinkConnector"]
    }

    fn keys(&self) -> &'static [Key] {
        KEYS
    }

    /// The folder above all topics. Objects are named after their topic and offsets, whoever writes them.
    fn exclusive_target(&self, config: &Config) -> Option<ExclusiveTarget> {
        let (bucket, dir) = (config.text("s3.bucket.name"), config.get("topics.dir").unwrap_or_default());
        Some(ExclusiveTarget { key: "topics.dir", place: format!("s3://{bucket}/{dir}") })
    }

    fn check(&self, config: &Config) -> Result<(), ConfigError> {
        S3Settings::parse(config).map(drop)
    }

    fn start(&self, config: &Config, runtime: &Handle) -> Result<TaskFactory, ConfigError> {
        let settings = S3Settings::parse(config)?;
        let aws = self.aws.clone().unwrap_or_else(|| fms_aws::load(runtime));
        let client = store::client(&aws, &settings.layout);
        runtime
            .block_on(store::check_bucket(&client, &settings.layout.bucket, config.name()))
            .map_err(|(key, problem)| config.error(key, problem))?;
        let config = config.clone();
        Ok(Arc::new(move |context| {
            Box::new(S3Task::new(context, config.clone(), settings.clone(), aws.clone(), client.clone()))
        }))
    }
}
