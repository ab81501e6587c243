//! Deletes what a test has created in services that outlive it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use aws_sdk_sqs::operation::delete_queue::DeleteQueueError;
use futures_util::future::join_all;
use rdkafka::admin::AdminOptions;
use rdkafka::types::RDKafkaErrorCode;

use super::{LOOK, Remote, with_causes};
use crate::stack::StackError;
use crate::stack::kafka::PATIENCE;

/// The longest time for which a member that was killed may keep its group from being deleted.
const SESSION: Duration = Duration::from_secs(10);

/// The real names of what a test has created.
#[derive(Default)]
pub(super) struct Created {
    pub topics: BTreeSet<String>,
    pub tables: BTreeSet<String>,
    pub buckets: BTreeSet<String>,
    pub groups: BTreeSet<String>,
    /// The queues: the names that the test uses, and their URLs.
    pub queues: BTreeMap<String, String>,
}

impl Remote {
    /// Deletes what this test has created, and nothing else. Returns a line for everything that could not be deleted.
    pub(super) async fn clean_up(&self, created: &Created) -> Vec<String> {
        let topics = async {
            let names: Vec<&str> = created.topics.iter().map(String::as_str).collect();
            let options = AdminOptions::new().request_timeout(Some(PATIENCE));
            let mut left = self.delete_groups(&created.groups, &options).await;
            if !names.is_empty() {
                match self.admin.delete_topics(&names, &options).await {
                    Ok(results) => left.extend(results.into_iter().filter_map(|result| match result {
                        Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => None,
                        Err((topic, code)) => Some(format!("topic {topic}: {code}")),
                    })),
                    Err(error) => left.push(format!("topics {}: {error}", names.join(", "))),
                }
            }
            left
        };
        let tables = join_all(created.tables.iter().map(|table| async move {
            match self.dynamodb.delete_table().table_name(table).send().await {
                Ok(_) => None,
                Err(error) if error.code() == Some("ResourceNotFoundException") => None,
                Err(error) => Some(format!("table {table}: {}", with_causes(&error))),
            }
        }));
        let buckets = join_all(created.buckets.iter().map(|bucket| async move {
            self.remove_bucket(bucket).await.err().map(|error| format!("bucket {bucket}: {error}"))
        }));
        let queues = join_all(created.queues.iter().map(|(name, url)| async move {
            match self.sqs.delete_queue().queue_url(url).send().await {
                Ok(_) => None,
                Err(error) if error.as_service_error().is_some_and(DeleteQueueError::is_queue_does_not_exist) => None,
                Err(error) => Some(format!("queue {}: {}", self.real(name), with_causes(&error))),
            }
        }));
        let (mut left, tables, buckets, queues) = tokio::join!(topics, tables, buckets, queues);
        left.extend(tables.into_iter().chain(buckets).chain(queues).flatten());
        left
    }

    /// Deletes consumer groups. A group that has a member cannot be deleted, and a member that was killed counts until
    /// its session times out.
    async fn delete_groups(&self, groups: &BTreeSet<String>, options: &AdminOptions) -> Vec<String> {
        let mut groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let deadline = Instant::now() + SESSION;
        while !groups.is_empty() {
            let results = match self.admin.delete_groups(&groups, options).await {
                Ok(results) => results,
                Err(error) => return vec![format!("groups {}: {error}", groups.join(", "))],
            };
            let gone = |result: &Result<_, (String, RDKafkaErrorCode)>| {
                matches!(result, Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)))
            };
            let failed: Vec<_> = results.into_iter().filter(|result| !gone(result)).filter_map(Result::err).collect();
            if Instant::now() > deadline || failed.iter().any(|(_, code)| *code != RDKafkaErrorCode::NonEmptyGroup) {
                return failed.into_iter().map(|(group, code)| format!("group {group}: {code}")).collect();
            }
            groups.retain(|group| failed.iter().any(|(name, _)| name == group));
            tokio::time::sleep(LOOK).await;
        }
        Vec::new()
    }

    async fn remove_bucket(&self, bucket: &str) -> Result<(), StackError> {
        let action = "deleting it";
        for (key, id) in self.uploads(bucket).await? {
            let abort = self.s3.abort_multipart_upload().bucket(bucket).key(key).upload_id(id).send().await;
            abort.map_err(|error| StackError::sdk(action, error))?;
        }
        // One call deletes at most 1,000 objects.
        for keys in self.keys(bucket).await?.chunks(1000) {
            let objects: Result<Vec<_>, _> =
                keys.iter().map(|key| ObjectIdentifier::builder().key(key).build()).collect();
            let objects = objects.and_then(|objects| Delete::builder().set_objects(Some(objects)).quiet(true).build());
            let delete = objects.map_err(|error| StackError::new(action, error))?;
            self.s3
                .delete_objects()
                .bucket(bucket)
                .delete(delete)
                .send()
                .await
                .map_err(|error| StackError::sdk(action, error))?;
        }
        match self.s3.delete_bucket().bucket(bucket).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("NoSuchBucket") => Ok(()),
            Err(error) => Err(StackError::sdk(action, error)),
        }
    }
}
