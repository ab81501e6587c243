//! Creates topics, tables and buckets, and waits until they can be used.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, TableStatus,
};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};

use super::{LOOK, MAX_MESSAGE_BYTES, Remote};
use crate::stack::kafka::PATIENCE;
use crate::stack::{StackError, Table, index_name};

/// The longest interval between two checks whether a new resource can be used. AWS needs seconds for what other
/// services do at once.
const SLOWEST_LOOK: Duration = Duration::from_secs(1);

/// The longest name that S3 allows for a bucket.
const BUCKET_NAME: usize = 63;

impl Remote {
    pub(super) async fn create_topics(&self, topics: &BTreeMap<String, i32>) -> Result<(), StackError> {
        if topics.is_empty() {
            return Ok(());
        }
        let names: Vec<(String, i32)> = topics.iter().map(|(name, count)| (self.real(name), *count)).collect();
        let action =
            || format!("creating the topics {}", names.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(", "));
        self.created(|created| created.topics.extend(names.iter().map(|(name, _)| name.clone())));
        let new = names.iter().map(|(name, partitions)| {
            NewTopic::new(name, *partitions, TopicReplication::Fixed(-1))
                // The records of fixtures have their own timestamps, which are older than any retention time.
                .set("retention.ms", "-1")
                .set("max.message.bytes", MAX_MESSAGE_BYTES)
        });
        let new: Vec<NewTopic<'_>> = new.collect();
        let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
        let results =
            self.admin.create_topics(&new, &options).await.map_err(|error| StackError::new(action(), error))?;
        match results.into_iter().find_map(Result::err) {
            Some((topic, code)) => Err(StackError::new(format!("creating topic {topic}"), code)),
            None => Ok(()),
        }
    }

    /// Waits until the broker tells its clients of these topics. It confirms their creation earlier than that.
    pub(super) fn await_topics(&self, topics: &BTreeMap<String, i32>) -> Result<(), StackError> {
        let deadline = Instant::now() + PATIENCE;
        for (topic, partitions) in topics {
            while self.kafka.leaders(&self.real(topic))? < *partitions {
                if Instant::now() > deadline {
                    let problem = format!("not all of its {partitions} partitions have a leader after {PATIENCE:?}");
                    return Err(StackError::new(format!("creating topic {}", self.real(topic)), problem));
                }
                std::thread::sleep(LOOK);
            }
        }
        Ok(())
    }

    pub(super) async fn create_table(&self, table: &Table) -> Result<(), StackError> {
        let name = self.real(&table.name);
        let action = || format!("creating table {name}");
        let is_new = self.created(|created| created.tables.insert(name.clone()));
        let mut request = self.dynamodb.create_table().table_name(&name).billing_mode(BillingMode::PayPerRequest);
        let incomplete = |error: BuildError| StackError::new(action(), error);
        for (attribute, kind) in table.attributes() {
            let kind = ScalarAttributeType::from(kind.as_str());
            let definition = AttributeDefinition::builder().attribute_name(attribute).attribute_type(kind).build();
            request = request.attribute_definitions(definition.map_err(incomplete)?);
        }
        let element = |attribute: &String, role| {
            KeySchemaElement::builder().attribute_name(attribute).key_type(role).build().map_err(incomplete)
        };
        for ((attribute, _), role) in table.key().zip([KeyType::Hash, KeyType::Range]) {
            request = request.key_schema(element(attribute, role)?);
        }
        for (attribute, _) in &table.indexes {
            let index = GlobalSecondaryIndex::builder()
                .index_name(index_name(attribute))
                .key_schema(element(attribute, KeyType::Hash)?)
                .projection(Projection::builder().projection_type(ProjectionType::All).build());
            request = request.global_secondary_indexes(index.build().map_err(incomplete)?);
        }
        let created = request.send().await.map_err(|error| {
            if is_new && error.code() == Some("ResourceInUseException") {
                // The table existed before, so this test must not delete it.
                self.created(|created| created.tables.remove(&name));
            }
            StackError::sdk(action(), error)
        })?;
        let mut status = created.table_description.and_then(|table| table.table_status);
        let (mut look, deadline) = (LOOK, Instant::now() + PATIENCE);
        while status != Some(TableStatus::Active) {
            if Instant::now() > deadline {
                let problem = format!("its status is not ACTIVE after {PATIENCE:?}, but {status:?}");
                return Err(StackError::new(action(), problem));
            }
            tokio::time::sleep(look).await;
            look = (2 * look).min(SLOWEST_LOOK);
            status = match self.dynamodb.describe_table().table_name(&name).send().await {
                Ok(found) => found.table.and_then(|table| table.table_status),
                // The descriptions of tables are eventually consistent.
                Err(error) if error.code() == Some("ResourceNotFoundException") => None,
                Err(error) => return Err(StackError::sdk(action(), error)),
            };
        }
        Ok(())
    }

    pub(super) async fn create_bucket(&self, bucket: &str) -> Result<(), StackError> {
        let name = self.real(bucket);
        let action = || format!("creating bucket {name}");
        if name.len() > BUCKET_NAME {
            let (length, over) = (name.len(), name.len() - BUCKET_NAME);
            let problem = format!(
                "S3 takes names of up to {BUCKET_NAME} characters, and this one has {length} with the namespace; shorten it by {over} in \
                 the fixture"
            );
            return Err(StackError::new(action(), problem));
        }
        let is_new = self.created(|created| created.buckets.insert(name.clone()));
        let elsewhere = (self.region != "us-east-1").then(|| {
            let region = BucketLocationConstraint::from(self.region.as_str());
            CreateBucketConfiguration::builder().location_constraint(region).build()
        });
        let created = self.s3.create_bucket().bucket(&name).set_create_bucket_configuration(elsewhere).send().await;
        created.map_err(|error| {
            if is_new && matches!(error.code(), Some("BucketAlreadyExists" | "BucketAlreadyOwnedByYou")) {
                // All users of S3 share the names of buckets. This bucket belongs to somebody else, so this test must
                // not delete it.
                self.created(|created| created.buckets.remove(&name));
            }
            StackError::sdk(action(), error)
        })?;
        let (mut look, deadline) = (LOOK, Instant::now() + PATIENCE);
        // The creation of a bucket, unlike that of an object, is eventually consistent.
        while let Err(error) = self.s3.head_bucket().bucket(&name).send().await {
            if error.as_service_error().is_none_or(|error| !error.is_not_found()) || Instant::now() > deadline {
                return Err(StackError::sdk(format!("reaching bucket {name}, which was created"), error));
            }
            tokio::time::sleep(look).await;
            look = (2 * look).min(SLOWEST_LOOK);
        }
        Ok(())
    }
}
